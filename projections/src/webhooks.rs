//! `webhooks`: one row per webhook, without personal data. URL and secrets stay encrypted in the webhook's
//! stream.

use domain::{UserId, WebhookEvent, WebhookId};
use jiff::Timestamp;
use serde_json::{Value, json};
use store::{
    Column, ColumnKind, Corruption, Envelope, MAC, Row, StoreError, StoredEvent, TableSchema, without_mac,
};

use crate::previous_version::{self, PreviousVersion};
use crate::projection::{PoisonEvent, Projection};

static SCHEMA: TableSchema = TableSchema { columns: COLUMNS, indexes: INDEXES };
/// Its rows have no authentication codes.
static VERSION_1: PreviousVersion<Webhooks> = PreviousVersion {
    current: Webhooks,
    version: 1,
    schema: &TableSchema { columns: without_mac(COLUMNS), indexes: INDEXES },
    ignores: previous_version::none,
    previous: None,
};

const INDEXES: &[&str] = &["owner"];
const COLUMNS: &[Column] = &[
    Column { name: "id", kind: ColumnKind::Text },
    Column { name: "owner", kind: ColumnKind::Text },
    Column { name: "parked", kind: ColumnKind::Text },
    Column { name: "created_at", kind: ColumnKind::Time },
    Column { name: "version", kind: ColumnKind::Integer },
    Column { name: "position", kind: ColumnKind::Integer },
    MAC,
];

/// The projection.
#[derive(Clone, Copy, Debug)]
pub struct Webhooks;

/// The row of one webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRow {
    /// The webhook.
    pub id: WebhookId,
    /// Its owner.
    pub owner: UserId,
    /// Why it is suspended, if it is. The column is named `parked`, the former name of the state.
    pub suspended: Option<String>,
    /// When it was registered.
    pub created_at: Timestamp,
    /// The stream version of the row.
    pub version: u64,
}

impl WebhookRow {
    /// A stored row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] if a field is missing or of another kind.
    pub fn from_row(row: &Row) -> Result<Self, StoreError> {
        let text = |field: &str| row.get(field).and_then(Value::as_str);
        let read = || {
            Some(Self {
                id: WebhookId::parse(text("id")?).ok()?,
                owner: UserId::parse(text("owner")?).ok()?,
                suspended: text("parked").map(ToOwned::to_owned),
                created_at: Timestamp::from_millisecond(row.get("created_at")?.as_i64()?).ok()?,
                version: row.get("version")?.as_u64()?,
            })
        };
        read().ok_or_else(|| {
            let id = text("id").unwrap_or("?");
            Corruption::invalid(format!("the row of webhook {id}"), "rebuild the projection `webhooks`")
                .into()
        })
    }
}

impl Projection for Webhooks {
    fn name(&self) -> &'static str {
        "webhooks"
    }

    fn version(&self) -> u32 {
        2
    }

    fn schema(&self) -> &'static TableSchema {
        &SCHEMA
    }

    fn reads_personal(&self) -> bool {
        false
    }

    fn key(&self, event: &Envelope) -> Option<String> {
        WebhookId::from_stream(event.stream.as_str()).map(|id| id.to_string())
    }

    fn stream_of(&self, key: &str) -> Option<String> {
        WebhookId::parse(key).ok().map(|id| id.stream())
    }

    fn creates_row(&self, event: &Envelope) -> bool {
        event.version == 1
    }

    fn fold(&self, row: Option<Row>, event: &StoredEvent) -> Result<Option<Row>, PoisonEvent> {
        let decoded =
            event_codec::decode_webhook_event(event).map_err(|error| PoisonEvent::new(event, &error))?;
        let envelope = &event.envelope;
        let mut row = match (&decoded, row) {
            (WebhookEvent::WebhookDeleted, _) => return Ok(None),
            (WebhookEvent::WebhookRegistered { owner, .. }, _) => {
                let (id, at) = (self.key(envelope), envelope.at.as_millisecond());
                let opened = json!({"id": id, "owner": owner.to_string(), "created_at": at});
                opened.as_object().cloned().unwrap_or_default()
            }
            (_, Some(row)) => row,
            (_, None) => return Err(PoisonEvent::new(event, &"it was never registered")),
        };
        match &decoded {
            WebhookEvent::WebhookSuspended { reason, .. } => {
                row.insert("parked".to_owned(), reason.as_str().into());
            }
            WebhookEvent::WebhookResumed => {
                row.remove("parked");
            }
            WebhookEvent::WebhookRegistered { .. }
            | WebhookEvent::WebhookSecretRotated { .. }
            | WebhookEvent::WebhookReplayRequested { .. }
            | WebhookEvent::WebhookReplaysCancelled
            | WebhookEvent::WebhookDeleted => {}
        }
        row.insert("version".to_owned(), envelope.version.into());
        row.insert("position".to_owned(), envelope.position.get().into());
        Ok(Some(row))
    }

    fn previous(&self) -> Option<&'static dyn Projection> {
        Some(&VERSION_1)
    }
}
