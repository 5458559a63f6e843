//! `/users`: accounts, for their owners (`me`) and for administrators and auditors.

mod account_status;
mod command;
mod erase;
mod history;
mod me;
mod roles;
mod show;
pub(super) mod view;

use utoipa_axum::routes;

use super::state::Routes;

pub(super) fn routes() -> Routes {
    vec![
        routes!(me::show, me::erase),
        routes!(me::deactivate),
        routes!(me::export::export),
        routes!(show::show),
        routes!(history::history),
        routes!(account_status::deactivate),
        routes!(account_status::reactivate),
        routes!(erase::erase),
        routes!(roles::grant, roles::revoke),
    ]
}
