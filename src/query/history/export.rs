//! The export of everything stored about one person, as JSON in parts: what may be long, logins and acts, is read page
//! by page while the parts before it are sent, so that the memory of an export does not grow with it.

use std::future::ready;
use std::mem;

use domain::UserId;
use futures::stream::{Stream, TryStreamExt, try_unfold};
use serde::Serialize;
use store::{EventQuery, EventStore, InternalError, Position, StoreError};

use super::record::{PersonalRecord, UserAction};
use crate::query::QueryError;
use crate::query::logins::LoginQueries;

/// The number of events in one read.
const PAGE: usize = 500;
/// The indentation of entries.
const INDENT: &str = "\n    ";

/// An export that has begun: all but the long lists has been read.
pub struct PersonalExport {
    pub(super) store: EventStore,
    pub(super) logins: LoginQueries,
    pub(super) id: UserId,
    pub record: PersonalRecord,
}

/// What comes next. Lists have the number of entries so far.
enum Next {
    Record,
    Logins { after: u64, entries: usize },
    Acts { after: Position, entries: usize },
    End,
}

impl PersonalExport {
    /// The JSON object, in parts of a bounded number of entries.
    pub fn into_json(self) -> impl Stream<Item = Result<String, QueryError>> + Send + 'static {
        let parts = try_unfold((self, Next::Record), |(export, next)| async move {
            let part = export.part(next).await?;
            Ok(part.map(|(text, next)| (text, (export, next))))
        });
        parts.try_filter(|text| ready(!text.is_empty()))
    }

    async fn part(&self, next: Next) -> Result<Option<(String, Next)>, QueryError> {
        match next {
            Next::Record => {
                let text = json(&self.record)?;
                // The object goes on.
                let fields = text.strip_suffix("\n}").unwrap_or(&text);
                let text = format!("{fields},\n  \"logins\": [");
                Ok(Some((text, Next::Logins { after: 0, entries: 0 })))
            }
            Next::Logins { after, entries } => self.logins(after, entries).await.map(Some),
            Next::Acts { after, entries } => self.acts(after, entries).await.map(Some),
            Next::End => Ok(None),
        }
    }

    async fn logins(&self, after: u64, mut entries: usize) -> Result<(String, Next), QueryError> {
        let mut page = self.logins.page_after(self.id, after, PAGE).await?;
        if page.is_erased && self.record.account.is_some() {
            return Err(QueryError::ErasedMeanwhile);
        }
        page.logins.retain(|login| login.position <= self.record.position);
        let mut text = String::new();
        for login in &page.logins {
            push(&mut text, login, &mut entries)?;
        }
        match page.logins.last() {
            Some(last) if page.logins.len() == PAGE => {
                Ok((text, Next::Logins { after: last.number, entries }))
            }
            _ => {
                text.push_str(list_end(entries));
                text.push_str(",\n  \"acts\": [");
                Ok((text, Next::Acts { after: Position::START, entries: 0 }))
            }
        }
    }

    async fn acts(&self, after: Position, mut entries: usize) -> Result<(String, Next), QueryError> {
        let until = Position::new(self.record.position);
        let own = [self.id.stream(), self.id.logins_stream()];
        let actor = Some(self.id.stream());
        let query = EventQuery { after, until: Some(until), limit: PAGE, actor, ..EventQuery::default() };
        let page = self.store.page(&query).await?;
        let mut text = String::new();
        for event in &page.events {
            if !own.iter().any(|own| own == event.envelope.stream.as_str()) {
                push(&mut text, &UserAction::new(&event.envelope), &mut entries)?;
            }
        }
        if page.next < until {
            return Ok((text, Next::Acts { after: page.next, entries }));
        }
        text.push_str(list_end(entries));
        text.push_str("\n}\n");
        Ok((text, Next::End))
    }
}

/// Appends an entry of a list.
fn push(text: &mut String, entry: &impl Serialize, entries: &mut usize) -> Result<(), QueryError> {
    if mem::replace(entries, *entries + 1) > 0 {
        text.push(',');
    }
    text.push_str(INDENT);
    // Line breaks in strings are escaped.
    text.push_str(&json(entry)?.replace('\n', INDENT));
    Ok(())
}

const fn list_end(entries: usize) -> &'static str {
    if entries == 0 { "]" } else { "\n  ]" }
}

fn json(value: &impl Serialize) -> Result<String, StoreError> {
    serde_json::to_string_pretty(value).map_err(|error| {
        InternalError::Encoding { what: "an export".to_owned(), reason: error.to_string() }.into()
    })
}
