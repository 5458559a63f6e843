//! What every handler can reach.

use std::sync::Arc;

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use super::extract::RequestIds;
use super::repeat::Running;
use crate::app::App;

/// The service, and whether it is about to stop.
#[derive(Clone)]
pub(crate) struct HttpState {
    pub(crate) app: Arc<App>,
    pub(crate) ids: Arc<RequestIds>,
    /// Writes under idempotency keys.
    pub(crate) running: Running,
    /// Cancelled when the server stops: answers without an end are to end then.
    pub(crate) shutdown: CancellationToken,
}

impl FromRef<HttpState> for Arc<App> {
    fn from_ref(state: &HttpState) -> Self {
        Arc::clone(&state.app)
    }
}
