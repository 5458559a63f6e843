//! The users of the workloads: valid, all different, with ready password hashes.

use aegis::command::{CommandContext, UserCommands};
use aegis::import::{
    ImportError, ImportListener, ImportMode, ImportSummary, Notice, RecordOrigin, RecordSource, SourceRecord,
    import,
};
use async_trait::async_trait;
use domain::{EmailAddress, PasswordHash, UserCommand, Username};
use serde_json::{Map, Value, json};
use store::Env;

use crate::error::BenchError;
use crate::time_slice::TimeSlice;

/// As long as a real hash with the default parameters.
pub(crate) const PASSWORD_HASH: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$Zm9ydHktdGhyZWUgY2hhcmFjdGVycyBvZiBhIGhhc2ghIQ";

pub(crate) fn email(number: u64) -> String {
    format!("user-{number}@example.com")
}

pub(crate) fn username(number: u64) -> String {
    format!("User {number}")
}

/// The registration of the user with that number.
pub(crate) fn registration(number: u64, password_hash: PasswordHash) -> Result<UserCommand, BenchError> {
    let invalid = |fault: String| BenchError::invalid(format!("user {number} is invalid: {fault}"));
    Ok(UserCommand::Register {
        email: EmailAddress::parse(&email(number)).map_err(|fault| invalid(fault.to_string()))?,
        username: Username::parse(&username(number)).map_err(|fault| invalid(fault.to_string()))?,
        password_hash: Some(password_hash),
    })
}

/// Users to import, with ascending numbers.
pub(crate) struct ImportedUsers {
    first: u64,
    next: u64,
    limit: ImportLimit,
}

pub(crate) enum ImportLimit {
    /// At least one batch.
    Slice(TimeSlice),
    /// Exactly as many, unless the benchmark is interrupted.
    Count(u64, TimeSlice),
}

impl ImportedUsers {
    pub(crate) fn new(first: u64, limit: ImportLimit) -> Self {
        Self { first, next: first, limit }
    }

    /// Imports all of them; returns how many they were.
    pub(crate) async fn import(mut self, users: &UserCommands) -> Result<u64, BenchError> {
        let context = CommandContext::new("import".to_owned(), "bench");
        let (mode, env) = (ImportMode::default(), Env::system());
        let summary = import(&mut self, mode, users, &context, &env, &mut AllImported).await;
        let summary = summary.map_err(BenchError::invalid)?;
        if summary.imported != self.next - self.first {
            return Err(BenchError::invalid(format!("not all users were imported: {summary:?}")));
        }
        Ok(summary.imported)
    }
}

#[async_trait]
impl RecordSource for ImportedUsers {
    async fn next_batch(&mut self, limit: usize) -> Result<Vec<SourceRecord>, ImportError> {
        let first = self.next;
        let batch = u64::try_from(limit).unwrap_or_default();
        self.next += match &self.limit {
            ImportLimit::Slice(slice) if first > self.first && slice.is_over() => 0,
            ImportLimit::Slice(_) => batch,
            ImportLimit::Count(_, slice) if slice.check().is_err() => 0,
            ImportLimit::Count(count, _) => batch.min(self.first + count - first),
        };
        Ok((first..self.next).map(record).collect())
    }
}

fn record(number: u64) -> SourceRecord {
    let fields = [
        ("email", json!(email(number))),
        ("username", json!(username(number))),
        ("password_hash", json!(PASSWORD_HASH)),
        ("created_at", json!("2024-05-01T12:00:00Z")),
    ];
    let fields: Map<String, Value> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    SourceRecord { origin: RecordOrigin::Line(number + 1), fields: Ok(fields) }
}

/// Fails on the first notice: all users are valid and new.
struct AllImported;

impl ImportListener for AllImported {
    fn notice(&mut self, notice: &Notice) -> std::io::Result<()> {
        Err(std::io::Error::other(notice.detail()))
    }

    fn progress(&mut self, _: &ImportSummary) -> std::io::Result<()> {
        Ok(())
    }
}
