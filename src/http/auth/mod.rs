//! `/auth`: sign-up and login.

mod login;
mod signup;

use utoipa_axum::routes;

use super::state::Routes;

pub(super) fn routes() -> Routes {
    vec![routes!(signup::sign_up), routes!(login::log_in)]
}
