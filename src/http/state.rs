//! Shared handler state.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;
use utoipa_axum::router::UtoipaMethodRouter;

use super::api_error::ApiError;
use super::event_feed::broadcaster::Broadcaster;
use super::event_feed::reader_slots::ReaderSlots;
use super::idempotency::in_flight::InFlightKeys;
use super::metrics::connections::ConnectionMetrics;
use super::metrics::requests::RequestMetrics;
use super::request_id::RequestIds;
use crate::app::App;

/// The documented routes of a module, each registered once for the router and for the OpenAPI document.
pub(super) type Routes = Vec<UtoipaMethodRouter<HttpState>>;

/// What handlers and middleware share. Each request clones it several times, so it is one pointer.
#[derive(Clone)]
pub(crate) struct HttpState(Arc<SharedState>);

pub(crate) struct SharedState {
    pub(crate) app: Arc<App>,
    pub(crate) ids: Arc<RequestIds>,
    pub(crate) request_metrics: RequestMetrics,
    pub(crate) connection_metrics: ConnectionMetrics,
    pub(crate) reader_slots: ReaderSlots,
    pub(super) in_flight: InFlightKeys,
    broadcaster: OnceLock<Arc<Broadcaster>>,
    /// Cancelled when the server stops, to end event streams and long polls.
    pub(crate) shutdown: CancellationToken,
}

impl HttpState {
    pub(super) fn new(app: Arc<App>, shutdown: CancellationToken) -> Self {
        Self(Arc::new(SharedState {
            ids: Arc::new(RequestIds::new(&app.env)),
            request_metrics: RequestMetrics::default(),
            connection_metrics: ConnectionMetrics::default(),
            reader_slots: ReaderSlots::default(),
            in_flight: InFlightKeys::default(),
            broadcaster: OnceLock::new(),
            app,
            shutdown,
        }))
    }

    pub(crate) fn broadcaster(&self) -> Result<&Arc<Broadcaster>, ApiError> {
        let store = &self.app.services()?.store;
        Ok(self.broadcaster.get_or_init(|| Broadcaster::new(store.clone())))
    }
}

impl Deref for HttpState {
    type Target = SharedState;

    fn deref(&self) -> &SharedState {
        &self.0
    }
}

impl FromRef<HttpState> for Arc<App> {
    fn from_ref(state: &HttpState) -> Self {
        Arc::clone(&state.app)
    }
}
