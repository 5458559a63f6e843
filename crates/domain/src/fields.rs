//! Reads the fields of a stored event. Errors never contain values.

use serde_json::{Map, Value};

use crate::payload::{DecodeError, DecodeProblem};
use crate::value::Erasable;

/// The fields of a stored event.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a> {
    pub(crate) event_type: &'a str,
    pub(crate) schema: u32,
    pub(crate) data: &'a Map<String, Value>,
    pub(crate) personal: Erasable<&'a Map<String, Value>>,
}

impl Fields<'_> {
    /// A required text.
    pub(crate) fn text(&self, field: &'static str) -> Result<String, DecodeError> {
        self.text_in(self.data, field).map(ToOwned::to_owned)
    }

    /// A required text, parsed by `parse`.
    pub(crate) fn parsed<T, E>(
        &self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, DecodeError> {
        let text = self.text_in(self.data, field)?;
        parse(text).map_err(|_| self.error(DecodeProblem::IllTyped { field }))
    }

    /// An optional boolean; absent means false.
    pub(crate) fn flag(&self, field: &'static str) -> Result<bool, DecodeError> {
        match self.data.get(field) {
            None => Ok(false),
            Some(value) => value.as_bool().ok_or_else(|| self.error(DecodeProblem::IllTyped { field })),
        }
    }

    /// A required boolean.
    pub(crate) fn boolean(&self, field: &'static str) -> Result<bool, DecodeError> {
        self.value(self.data, field)?.as_bool().ok_or_else(|| self.error(DecodeProblem::IllTyped { field }))
    }

    /// A required non-negative integer.
    pub(crate) fn integer(&self, field: &'static str) -> Result<u64, DecodeError> {
        self.value(self.data, field)?.as_u64().ok_or_else(|| self.error(DecodeProblem::IllTyped { field }))
    }

    /// An optional non-negative integer, parsed by `parse`.
    pub(crate) fn optional_parsed<T>(
        &self,
        field: &'static str,
        parse: impl FnOnce(u64) -> Option<T>,
    ) -> Result<Option<T>, DecodeError> {
        let Some(value) = self.data.get(field) else { return Ok(None) };
        let parsed = value.as_u64().and_then(parse);
        parsed.map(Some).ok_or_else(|| self.error(DecodeProblem::IllTyped { field }))
    }

    /// A personal text, required unless personal data was erased.
    pub(crate) fn personal<T>(
        &self,
        field: &'static str,
        read: impl FnOnce(&str) -> T,
    ) -> Result<Erasable<T>, DecodeError> {
        match self.personal {
            Erasable::Known(personal) => {
                let text = self.text_in(personal, field)?;
                Ok(Erasable::Known(read(text)))
            }
            Erasable::Erased => Ok(Erasable::Erased),
        }
    }

    /// A personal text, required unless personal data was erased, parsed by `parse`.
    pub(crate) fn parsed_personal<T, E>(
        &self,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Erasable<T>, DecodeError> {
        match self.personal(field, parse)? {
            Erasable::Known(Ok(value)) => Ok(Erasable::Known(value)),
            Erasable::Known(Err(_)) => Err(self.error(DecodeProblem::IllTyped { field })),
            Erasable::Erased => Ok(Erasable::Erased),
        }
    }

    /// A personal text that is present if its flag `has_<field>` is set.
    pub(crate) fn optional_personal<T>(
        &self,
        flag: &'static str,
        field: &'static str,
        read: impl FnOnce(&str) -> T,
    ) -> Result<Option<Erasable<T>>, DecodeError> {
        if self.flag(flag)? { self.personal(field, read).map(Some) } else { Ok(None) }
    }

    /// A personal text that is present if its flag `has_<field>` is set, parsed by `parse`.
    pub(crate) fn optional_parsed_personal<T, E>(
        &self,
        flag: &'static str,
        field: &'static str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<Option<Erasable<T>>, DecodeError> {
        if self.flag(flag)? { self.parsed_personal(field, parse).map(Some) } else { Ok(None) }
    }

    fn text_in<'m>(&self, map: &'m Map<String, Value>, field: &'static str) -> Result<&'m str, DecodeError> {
        self.value(map, field)?.as_str().ok_or_else(|| self.error(DecodeProblem::IllTyped { field }))
    }

    fn value<'m>(&self, map: &'m Map<String, Value>, field: &'static str) -> Result<&'m Value, DecodeError> {
        map.get(field).ok_or_else(|| self.error(DecodeProblem::Missing { field }))
    }

    /// Creates the error for this event.
    pub(crate) fn error(&self, problem: DecodeProblem) -> DecodeError {
        DecodeError { event_type: self.event_type.to_owned(), schema: self.schema, problem }
    }
}
