//! `/projections`: the read models and their versions, for operators.

mod skip;
mod status;
mod versions;
mod view;

use utoipa_axum::routes;

use super::state::Routes;

pub(super) fn routes() -> Routes {
    vec![
        routes!(status::list),
        routes!(status::show),
        routes!(versions::rebuild),
        routes!(versions::cancel),
        routes!(versions::roll_back),
        routes!(versions::drop),
        routes!(skip::skip),
    ]
}
