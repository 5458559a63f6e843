//! Whether an e-mail address and a password belong together, in a time that does not tell which of them is wrong.

use domain::{EmailAddress, MAX_PASSWORD_LENGTH};
use projections::UserRow;

use crate::app::App;
use crate::crypto::{HashingError, Password};
use crate::http::problem::Problem;

/// The user who has this e-mail address and this password, and may log in.
pub(super) async fn check(app: &App, email: &str, password: Password) -> Result<UserRow, Problem> {
    let Ok(email) = EmailAddress::parse(email) else { return nobody(app, password).await };
    let row = match app.node()?.user_rows.shown_by_email(&email).await? {
        Some(row) => row,
        None => sought(app, &email, password.clone()).await?,
    };
    // Nobody can have chosen so long a password: it is wrong without a look.
    if password.expose().chars().count() > MAX_PASSWORD_LENGTH {
        return nobody(app, password).await;
    }
    match belong_together(app, password, &row).await? {
        false => Err(Problem::WrongCredentials),
        true if !row.is_active => Err(Problem::InactiveLogin),
        true => Ok(row),
    }
}

/// Whether the password is the user's. A stored hash of a kind that is not known here has no password; who asks is
/// not told so.
pub(crate) async fn belong_together(
    app: &App,
    password: Password,
    row: &UserRow,
) -> Result<bool, HashingError> {
    match app.hashing.verify(password.clone(), row.password_hash.clone()).await {
        Err(HashingError::Unusable(error)) => {
            tracing::warn!(user = %row.id, %error, "nobody can log in as this user");
            app.hashing.verify_nobody(password).await.map(|()| false)
        }
        verified => verified,
    }
}

/// Makes sure that there is no such user, and meanwhile spends what checking their password would: the time that the
/// search takes is hidden behind the hash.
async fn sought(app: &App, email: &EmailAddress, password: Password) -> Result<UserRow, Problem> {
    let rows = &app.node()?.user_rows;
    let (row, hashed) = tokio::join!(rows.by_email(email), app.hashing.verify_nobody(password));
    hashed?;
    row?.ok_or(Problem::WrongCredentials)
}

async fn nobody(app: &App, password: Password) -> Result<UserRow, Problem> {
    app.hashing.verify_nobody(password).await?;
    Err(Problem::WrongCredentials)
}
