//! Authentication of delivery cursors: each carries a message authentication code (MAC), so that a cursor
//! which was planted in the database skips no event. The attempts beside it are only shown, and carry none.

use std::sync::Arc;

use async_trait::async_trait;
use serde_json::Value;

use crate::deliveries::{Attempt, DeliveryProgress, DeliveryRecord, DeliveryStore};
use crate::error::{Corruption, StoreError};
use crate::event::StreamId;
use crate::key_store::ClaimKey;
use crate::mac::{MacKey, push_bytes, push_value};
use crate::metrics::TamperingCounter;

/// The field of the state with the code.
const MAC: &str = "mac";

/// Whether cursors without a code are accepted: while the database still has what an earlier release has
/// written.
pub type AcceptsUnsigned = Arc<dyn Fn() -> bool + Send + Sync>;

/// The delivery cursors of a database, authenticated.
pub(crate) struct AuthenticatedDeliveries {
    inner: Arc<dyn DeliveryStore>,
    key: MacKey,
    accepts_unsigned: AcceptsUnsigned,
    tampering: TamperingCounter,
}

impl AuthenticatedDeliveries {
    pub(crate) fn new(
        inner: Arc<dyn DeliveryStore>,
        claims: &ClaimKey,
        accepts_unsigned: AcceptsUnsigned,
        tampering: TamperingCounter,
    ) -> Self {
        let key = MacKey::derive(claims, "delivery-cursor-key");
        Self { inner, key, accepts_unsigned, tampering }
    }

    fn signed(&self, record: &DeliveryRecord) -> DeliveryRecord {
        let mut record = record.clone();
        let mac = self.key.sign(&encode(&record.stream, &record.to));
        if let Value::Object(state) = &mut record.to.state {
            state.insert(MAC.to_owned(), mac.into());
        }
        record
    }

    /// Checks the code of a cursor and removes it.
    fn check(&self, stream: &StreamId, progress: &mut DeliveryProgress) -> Result<(), StoreError> {
        let stored = progress.state.as_object_mut().and_then(|state| state.remove(MAC));
        let is_authentic = match stored {
            Some(Value::String(stored)) => self.key.is_code_of(&stored, &encode(stream, progress)),
            Some(_) => false,
            None => (self.accepts_unsigned)(),
        };
        if is_authentic { Ok(()) } else { Err(self.tampering.cursor_tampered(stream)) }
    }
}

/// Encodes what the code of a cursor covers.
fn encode(stream: &StreamId, progress: &DeliveryProgress) -> Vec<u8> {
    let mut buffer = Vec::new();
    push_bytes(&mut buffer, stream.as_str().as_bytes());
    buffer.extend(progress.revision.to_be_bytes());
    buffer.extend(progress.attempts.to_be_bytes());
    push_value(&mut buffer, &progress.state);
    buffer
}

#[async_trait]
impl DeliveryStore for AuthenticatedDeliveries {
    async fn progress(&self, stream: &StreamId) -> Result<Option<DeliveryProgress>, StoreError> {
        let Some(mut progress) = self.inner.progress(stream).await? else { return Ok(None) };
        self.check(stream, &mut progress)?;
        Ok(Some(progress))
    }

    async fn record_all(&self, records: &[DeliveryRecord]) -> Result<Vec<bool>, StoreError> {
        let signed: Vec<_> = records.iter().map(|record| self.signed(record)).collect();
        self.inner.record_all(&signed).await
    }

    async fn attempts(
        &self,
        stream: &StreamId,
        below: Option<u64>,
        limit: usize,
    ) -> Result<Vec<Attempt>, StoreError> {
        self.inner.attempts(stream, below, limit).await
    }

    async fn forget(&self, stream: &StreamId) -> Result<(), StoreError> {
        self.inner.forget(stream).await
    }
}

impl TamperingCounter {
    /// Counts and logs a delivery cursor that was changed, and returns the error for it.
    fn cursor_tampered(&self, stream: &StreamId) -> StoreError {
        self.report("delivery_cursor", Corruption::CursorTampered { stream: stream.clone() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::memory::Memory;

    fn stream(name: &str) -> StreamId {
        StreamId::new(name).unwrap()
    }

    fn progress(revision: u64, position: u64) -> DeliveryProgress {
        let state = json!({"position": position, "failing": null, "replay": {"position": 1, "previous": 0}});
        DeliveryProgress { revision, attempts: 0, state }
    }

    fn authenticated(memory: &Arc<Memory>, is_upgrading: bool) -> AuthenticatedDeliveries {
        let (key, inner) = (ClaimKey::new(&[7; 32]), Arc::<Memory>::clone(memory));
        AuthenticatedDeliveries::new(inner, &key, Arc::new(move || is_upgrading), TamperingCounter::default())
    }

    #[tokio::test]
    async fn recorded_cursor_is_read_back() {
        let memory = Arc::new(Memory::default());
        let deliveries = authenticated(&memory, false);
        assert_eq!(deliveries.progress(&stream("webhook-1")).await.unwrap(), None);
        deliveries.record(&stream("webhook-1"), &progress(1, 5), &[]).await.unwrap();
        assert_eq!(deliveries.progress(&stream("webhook-1")).await.unwrap(), Some(progress(1, 5)));
    }

    #[tokio::test]
    async fn planted_cursor_is_refused() {
        let memory = Arc::new(Memory::default());
        let deliveries = authenticated(&memory, false);
        deliveries.record(&stream("webhook-1"), &progress(1, 5), &[]).await.unwrap();
        let stored = memory.progress(&stream("webhook-1")).await.unwrap().unwrap();
        let mut moved = DeliveryProgress { revision: 2, ..stored.clone() };
        moved.state["position"] = json!(500);
        let copied = DeliveryProgress { revision: 1, ..stored.clone() };
        let unsigned = progress(3, 500);
        for (name, planted) in [("webhook-1", moved), ("webhook-2", copied), ("webhook-1", unsigned)] {
            memory.record(&stream(name), &planted, &[]).await.unwrap();
            let refused = deliveries.progress(&stream(name)).await;
            let expected = Corruption::CursorTampered { stream: stream(name) };
            assert!(matches!(&refused, Err(StoreError::Corrupt(found)) if *found == expected), "{refused:?}");
        }
        assert_eq!(deliveries.tampering.counted("delivery_cursor"), 3);
    }

    #[tokio::test]
    async fn cursor_without_a_code_is_accepted_while_upgrading_and_signed_by_the_next_write() {
        let memory = Arc::new(Memory::default());
        memory.record(&stream("webhook-1"), &progress(1, 5), &[]).await.unwrap();
        let upgrading = authenticated(&memory, true);
        assert_eq!(upgrading.progress(&stream("webhook-1")).await.unwrap(), Some(progress(1, 5)));
        upgrading.record(&stream("webhook-1"), &progress(2, 6), &[]).await.unwrap();
        let upgraded = authenticated(&memory, false);
        assert_eq!(upgraded.progress(&stream("webhook-1")).await.unwrap(), Some(progress(2, 6)));
    }
}
