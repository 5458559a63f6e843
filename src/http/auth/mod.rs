//! `/auth`: sign-up, tokens for passwords and refresh tokens and their revocation, and what links in mails do.

mod forgot_password;
pub(super) mod login;
pub(super) mod logout;
mod reset_password;
mod sign_up;
pub(super) mod token;
mod verify_email;

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
        routes!(verify_email::request_email_verification),
        routes!(verify_email::verify_email),
        routes!(forgot_password::forgot_password),
        routes!(reset_password::reset_password),
    ]
}
