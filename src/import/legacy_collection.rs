//! Users in the collection of the legacy service, in the order of their `_id`.

use async_trait::async_trait;

use super::error::ImportError;
use super::origin::RecordOrigin;
use super::record::id_text;
use super::refusal::NoticeReason;
use super::source::{RecordSource, SourceRecord};
use crate::app::{LegacyDocument, LegacyUsers};

/// Reads the collection.
pub struct LegacyCollection {
    users: LegacyUsers,
    /// How many documents were read.
    read: u64,
}

impl LegacyCollection {
    #[must_use]
    pub fn new(users: LegacyUsers) -> Self {
        Self { users, read: 0 }
    }

    fn record(&mut self, document: LegacyDocument) -> SourceRecord {
        let LegacyDocument { id, fields } = document;
        self.read += 1;
        let id = id.as_ref().and_then(id_text).unwrap_or_default();
        let origin = RecordOrigin::Document { id, number: self.read };
        SourceRecord { origin, fields: fields.ok_or(NoticeReason::NotDecodable) }
    }
}

#[async_trait]
impl RecordSource for LegacyCollection {
    async fn next_batch(&mut self, limit: usize) -> Result<Vec<SourceRecord>, ImportError> {
        let documents = self.users.next_documents(limit).await.map_err(ImportError::MongoDb)?;
        Ok(documents.into_iter().map(|document| self.record(document)).collect())
    }
}
