//! Verification of credentials, in a time that does not disclose whether the e-mail address or the password
//! is wrong.

use domain::{EmailAddress, MAX_PASSWORD_LENGTH};
use projections::UserRow;

use crate::app::App;
use crate::crypto::{HashingError, Password};
use crate::http::api_error::ApiError;

/// The active user with this e-mail address and password.
pub(crate) async fn authenticate(app: &App, email: &str, password: Password) -> Result<UserRow, ApiError> {
    let Ok(email) = EmailAddress::parse(email) else { return reject_login(app, password).await };
    let row = match app.services()?.user_rows.find_by_email(&email).await? {
        Some(row) => row,
        None => find_or_confirm_absent(app, &email, password.clone()).await?,
    };
    // Passwords of this length cannot be registered, so it is wrong.
    if password.expose().chars().count() > MAX_PASSWORD_LENGTH {
        return reject_login(app, password).await;
    }
    match verify_password(app, password, &row).await? {
        false => Err(ApiError::InvalidCredentials),
        true if !row.is_active => Err(ApiError::InactiveLogin),
        true => Ok(row),
    }
}

/// Whether the password is the user's. A stored hash of an unknown algorithm matches no password, which is
/// not disclosed.
pub(crate) async fn verify_password(
    app: &App,
    password: Password,
    row: &UserRow,
) -> Result<bool, HashingError> {
    match app.hashing.verify(password.clone(), row.password_hash.clone()).await {
        Err(HashingError::Hash(error)) => {
            tracing::warn!(user = %row.id, %error, "stored password hash not usable: the user cannot log in");
            app.hashing.verify_decoy(password).await.map(|()| false)
        }
        verified => verified,
    }
}

/// Searches the user again, this time waiting for the read model, while hashing the password: the hash hides
/// the additional time of the search, which only happens for unknown users.
async fn find_or_confirm_absent(
    app: &App,
    email: &EmailAddress,
    password: Password,
) -> Result<UserRow, ApiError> {
    let rows = &app.services()?.user_rows;
    let (row, hashed) = tokio::join!(rows.by_email(email), app.hashing.verify_decoy(password));
    hashed?;
    row?.ok_or(ApiError::InvalidCredentials)
}

async fn reject_login(app: &App, password: Password) -> Result<UserRow, ApiError> {
    app.hashing.verify_decoy(password).await?;
    Err(ApiError::InvalidCredentials)
}
