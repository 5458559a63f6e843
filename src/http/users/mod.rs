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
        routes!(me::show_me, me::erase_me),
        routes!(me::deactivate_me),
        routes!(me::export::export_me),
        routes!(show::show_user),
        routes!(history::user_history),
        routes!(account_status::deactivate_user),
        routes!(account_status::reactivate_user),
        routes!(erase::erase_user),
        routes!(roles::grant_role, roles::revoke_role),
    ]
}
