//! `/projections`: the read models and their versions, for operators.

mod skip;
mod status;
mod versions;

use utoipa_axum::routes;

use super::state::Routes;

pub(super) fn routes() -> Routes {
    vec![
        routes!(status::list_projections),
        routes!(status::get_projection),
        routes!(versions::rebuild_projection),
        routes!(versions::cancel_rebuild),
        routes!(versions::roll_back_projection),
        routes!(versions::drop_version),
        routes!(skip::skip_event),
    ]
}
