//! `/webhooks`: webhook endpoints and their deliveries, for their owners and for administrators.

mod actions;
pub(super) mod deliveries;
mod endpoints;
mod managed_webhook;

use utoipa_axum::routes;

use super::state::Routes;

pub(super) fn routes() -> Routes {
    vec![
        routes!(endpoints::list_webhooks, endpoints::register_webhook),
        routes!(endpoints::show_webhook, endpoints::delete_webhook),
        routes!(deliveries::list_deliveries),
        routes!(actions::test_webhook),
        routes!(actions::rotate_webhook_secret),
        routes!(actions::replay_webhook),
        routes!(actions::cancel_webhook_replays),
        routes!(actions::resume_webhook),
    ]
}
