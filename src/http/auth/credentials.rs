//! Whether an e-mail address and a password belong together, in a time that does not tell which of them is wrong.

use domain::{EmailAddress, MAX_PASSWORD_LENGTH};
use projections::UserRow;

use crate::app::App;
use crate::crypto::{HashingError, Password};
use crate::http::api_error::ApiError;

/// The user who has this e-mail address and this password, and may log in.
pub(super) async fn authenticate(app: &App, email: &str, password: Password) -> Result<UserRow, ApiError> {
    let Ok(email) = EmailAddress::parse(email) else { return reject_login(app, password).await };
    let row = match app.services()?.user_rows.find_by_email(&email).await? {
        Some(row) => row,
        None => find_or_confirm_absent(app, &email, password.clone()).await?,
    };
    // Nobody can have chosen so long a password: it is wrong without a look.
    if password.expose().chars().count() > MAX_PASSWORD_LENGTH {
        return reject_login(app, password).await;
    }
    match verify_password(app, password, &row).await? {
        false => Err(ApiError::InvalidCredentials),
        true if !row.is_active => Err(ApiError::InactiveLogin),
        true => Ok(row),
    }
}

/// Whether the password is the user's. A stored hash of a kind that is not known here has no password; who asks is
/// not told so.
pub(crate) async fn verify_password(
    app: &App,
    password: Password,
    row: &UserRow,
) -> Result<bool, HashingError> {
    match app.hashing.verify(password.clone(), row.password_hash.clone()).await {
        Err(HashingError::Hash(error)) => {
            tracing::warn!(user = %row.id, %error, "nobody can log in as this user");
            app.hashing.verify_decoy(password).await.map(|()| false)
        }
        verified => verified,
    }
}

/// Makes sure that there is no such user, and meanwhile spends what checking their password would: the time that the
/// search takes is hidden behind the hash.
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
