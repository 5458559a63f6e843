//! `/users`: accounts, for their owners (`me`) and for administrators and auditors.

mod commands;
mod list;
mod logins;
mod me;
mod own_identity;
mod sessions;
mod show;
pub(super) mod view;

use utoipa_axum::routes;

use super::state::Routes;

pub(super) fn routes() -> Routes {
    vec![
        routes!(me::show_me, me::erase_me, own_identity::change_me),
        routes!(own_identity::change_password),
        routes!(me::deactivate_me),
        routes!(me::export_me),
        routes!(sessions::my_sessions),
        routes!(sessions::end_session),
        routes!(list::list_users, list::create_user),
        routes!(logins::my_logins),
        routes!(show::show_user),
        routes!(show::user_history),
        routes!(logins::user_logins),
        routes!(sessions::user_sessions),
        routes!(commands::deactivate_user),
        routes!(commands::reactivate_user),
        routes!(commands::unlock_user),
        routes!(commands::revoke_sessions),
        routes!(commands::erase_user),
        routes!(commands::grant_role, commands::revoke_role),
    ]
}
