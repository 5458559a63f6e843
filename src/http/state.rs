//! What every handler can reach.

use std::sync::{Arc, OnceLock};

use axum::extract::FromRef;
use tokio_util::sync::CancellationToken;

use super::events::{Feed, Subscribers};
use super::extract::RequestIds;
use super::problem::Problem;
use super::repeat::Running;
use crate::app::App;

/// The service, and whether it is about to stop.
#[derive(Clone)]
pub(crate) struct HttpState {
    pub(crate) app: Arc<App>,
    pub(crate) ids: Arc<RequestIds>,
    /// Writes under idempotency keys.
    pub(crate) running: Running,
    /// Who follows the log.
    pub(crate) subscribers: Subscribers,
    feed: Arc<OnceLock<Arc<Feed>>>,
    /// Cancelled when the server stops: answers without an end are to end then.
    pub(crate) shutdown: CancellationToken,
}

impl HttpState {
    pub(super) fn new(app: Arc<App>, shutdown: CancellationToken) -> Self {
        let ids = Arc::new(RequestIds::new(&app.ambient));
        let (running, subscribers) = (Running::default(), Subscribers::default());
        Self { app, ids, running, subscribers, feed: Arc::default(), shutdown }
    }

    /// The log as it grows.
    pub(crate) fn feed(&self) -> Result<&Arc<Feed>, Problem> {
        let store = &self.app.node()?.store;
        Ok(self.feed.get_or_init(|| Feed::new(store.clone())))
    }
}

impl FromRef<HttpState> for Arc<App> {
    fn from_ref(state: &HttpState) -> Self {
        Arc::clone(&state.app)
    }
}
