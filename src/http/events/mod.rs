//! `/events`: the event log, as pages with optional long polling (`list`) and as a server-sent event stream
//! (`stream`). Each open stream is a `subscriber`.

mod list;
mod stream;
mod subscriber;

use utoipa_axum::routes;

use super::state::Routes;

pub(super) fn routes() -> Routes {
    vec![routes!(list::list_events), routes!(stream::follow_events)]
}
