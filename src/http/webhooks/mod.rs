//! `/webhooks`: webhook endpoints and their deliveries, for their owners and for administrators.

mod actions;
mod by_id;
mod deliveries;
mod list;
mod managed_webhook;
mod register;
mod view;

use utoipa_axum::routes;

use super::state::Routes;

pub(super) fn routes() -> Routes {
    vec![
        routes!(list::list_webhooks, register::register_webhook),
        routes!(by_id::show_webhook, by_id::delete_webhook),
        routes!(deliveries::list_deliveries),
        routes!(actions::test_webhook),
        routes!(actions::rotate_webhook_secret),
        routes!(actions::replay_webhook),
        routes!(actions::resume_webhook),
    ]
}
