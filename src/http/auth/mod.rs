//! `/auth`: sign-up, tokens for passwords and refresh tokens, and their revocation.

pub(super) mod login;
pub(super) mod logout;
mod sign_up;
pub(super) mod token;

use utoipa_axum::routes;

use crate::http::state::Routes;

pub(super) fn routes() -> Routes {
    vec![
        routes!(sign_up::sign_up),
        routes!(login::log_in),
        routes!(token::issue_tokens),
        routes!(logout::log_out),
        routes!(logout::log_out_everywhere),
        routes!(logout::revoke_user_token),
    ]
}
