//! What every handler can reach.

use std::sync::{Arc, OnceLock};

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use super::api_error::ApiError;
use super::events::{Broadcaster, ReaderSlots};
use super::extract::RequestIds;
use super::idempotency::InFlightKeys;
use crate::app::App;

/// The service, and whether it is about to stop.
#[derive(Clone)]
pub(crate) struct HttpState {
    pub(crate) app: Arc<App>,
    pub(crate) ids: Arc<RequestIds>,
    /// Writes under idempotency keys.
    pub(crate) in_flight: InFlightKeys,
    /// Who follows the log.
    pub(crate) reader_slots: ReaderSlots,
    broadcaster: Arc<OnceLock<Arc<Broadcaster>>>,
    /// Cancelled when the server stops: answers without an end are to end then.
    pub(crate) shutdown: CancellationToken,
}

impl HttpState {
    pub(super) fn new(app: Arc<App>, shutdown: CancellationToken) -> Self {
        let ids = Arc::new(RequestIds::new(&app.env));
        let (in_flight, reader_slots) = (InFlightKeys::default(), ReaderSlots::default());
        Self { app, ids, in_flight, reader_slots, broadcaster: Arc::default(), shutdown }
    }

    /// The log as it grows.
    pub(crate) fn broadcaster(&self) -> Result<&Arc<Broadcaster>, ApiError> {
        let store = &self.app.services()?.store;
        Ok(self.broadcaster.get_or_init(|| Broadcaster::new(store.clone())))
    }
}

impl FromRef<HttpState> for Arc<App> {
    fn from_ref(state: &HttpState) -> Self {
        Arc::clone(&state.app)
    }
}
