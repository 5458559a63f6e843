//! Users in the collection of the legacy service, in the order of their `_id`.

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::error::ImportError;
use super::origin::RecordOrigin;
use super::record::id_text;
use super::source::{RecordSource, SourceRecord};
use crate::app::LegacyUsers;

#[async_trait]
impl RecordSource for LegacyUsers {
    async fn next_batch(&mut self, limit: usize) -> Result<Vec<SourceRecord>, ImportError> {
        let documents = self.next_documents(limit).await.map_err(ImportError::MongoDb)?;
        Ok(documents.into_iter().map(record).collect())
    }
}

fn record(document: Map<String, Value>) -> SourceRecord {
    let id = document.get("_id").and_then(id_text);
    SourceRecord { origin: RecordOrigin::Id(id.unwrap_or_default()), fields: Ok(document) }
}
