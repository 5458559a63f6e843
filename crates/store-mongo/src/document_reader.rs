//! Reads stored documents field by field, with errors that name the document and the field; and builds BSON
//! values.

use jiff::Timestamp;
use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, DateTime, Document, RawBsonRef, RawDocument, RawDocumentBuf};
use store::key_store::ClaimHash;
use store::{Corruption, InternalError, Position, StoreError};
use uuid::Uuid;

/// A stored document and its name in error messages.
pub(crate) struct DocumentReader<'a> {
    document: &'a RawDocument,
    name: &'a str,
}

impl<'a> DocumentReader<'a> {
    pub(crate) fn new(document: &'a RawDocument, name: &'a str) -> Self {
        Self { document, name }
    }

    pub(crate) fn text(&self, key: &str) -> Result<&'a str, StoreError> {
        self.get(key, "a string", RawBsonRef::as_str)
    }

    pub(crate) fn number<T: TryFrom<i64>>(&self, key: &str) -> Result<T, StoreError> {
        self.get(key, "a number within its range", |value| T::try_from(integer(value)?).ok())
    }

    pub(crate) fn position(&self, key: &str) -> Result<Position, StoreError> {
        self.number(key).map(Position::new)
    }

    pub(crate) fn timestamp(&self, key: &str) -> Result<Timestamp, StoreError> {
        self.get(key, "a date", |value| timestamp(value.as_datetime()?))
    }

    pub(crate) fn uuid(&self, key: &str) -> Result<Uuid, StoreError> {
        self.get(key, "a UUID of subtype 4", |value| {
            let binary = value.as_binary().filter(|binary| binary.subtype == BinarySubtype::Uuid)?;
            Uuid::from_slice(binary.bytes).ok()
        })
    }

    pub(crate) fn bytes(&self, key: &str) -> Result<&'a [u8], StoreError> {
        self.get(key, "binary", |value| value.as_binary().map(|binary| binary.bytes))
    }

    pub(crate) fn hash(&self, key: &str) -> Result<[u8; 32], StoreError> {
        self.get(key, "32 bytes", |value| value.as_binary()?.bytes.try_into().ok())
    }

    pub(crate) fn object(&self, key: &str) -> Result<&'a RawDocument, StoreError> {
        self.get(key, "a document", RawBsonRef::as_document)
    }

    pub(crate) fn documents(&self, key: &str) -> Result<Vec<&'a RawDocument>, StoreError> {
        self.get(key, "a list of documents", |value| {
            value.as_array()?.into_iter().map(|value| value.ok()?.as_document()).collect()
        })
    }

    /// The field, or `None` if it is absent.
    pub(crate) fn optional(&self, key: &str) -> Result<Option<RawBsonRef<'a>>, StoreError> {
        self.document.get(key).map_err(|error| Corruption::invalid(self.name, error).into())
    }

    pub(crate) fn get<T>(
        &self,
        key: &str,
        kind: &'static str,
        read: impl FnOnce(RawBsonRef<'a>) -> Option<T>,
    ) -> Result<T, StoreError> {
        self.optional(key)?.and_then(read).ok_or_else(|| self.invalid(key, kind))
    }

    pub(crate) fn invalid(&self, key: &str, kind: &str) -> StoreError {
        Corruption::field(self.name, key, kind).into()
    }
}

/// An int32 or int64: shells and imports store small numbers as int32.
pub(crate) fn integer(value: RawBsonRef<'_>) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}

pub(crate) fn binary(bytes: &[u8]) -> Binary {
    Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }
}

/// Claim hashes as BSON binaries.
pub(crate) fn hashes(claims: &[ClaimHash]) -> Vec<Bson> {
    claims.iter().map(|claim| Bson::Binary(binary(claim.as_bytes()))).collect()
}

pub(crate) fn uuid(id: Uuid) -> Binary {
    Binary { subtype: BinarySubtype::Uuid, bytes: id.as_bytes().to_vec() }
}

/// `None` outside of the years 1 to 9999.
pub(crate) fn timestamp(date: DateTime) -> Option<Timestamp> {
    Timestamp::from_millisecond(date.timestamp_millis()).ok()
}

pub(crate) fn date(at: Timestamp) -> DateTime {
    DateTime::from_millis(at.as_millisecond())
}

pub(crate) fn raw(document: &Document) -> Result<RawDocumentBuf, StoreError> {
    RawDocumentBuf::try_from(document).map_err(|error| InternalError::encoding("a document", error).into())
}
