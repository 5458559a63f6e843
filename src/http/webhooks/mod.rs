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
        routes!(list::list, register::register),
        routes!(by_id::show, by_id::delete),
        routes!(deliveries::deliveries),
        routes!(actions::test),
        routes!(actions::rotate_secret),
        routes!(actions::replay),
        routes!(actions::resume),
    ]
}
