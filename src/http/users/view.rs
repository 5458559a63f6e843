//! Users in HTTP answers.

use domain::{EmailAddress, Role, Username};
use projections::UserRow;
use serde::Serialize;
use store::canonical::rfc3339;
use utoipa::ToSchema;

use crate::command::UserState;
use crate::http::api_error::ApiError;
use crate::query::UserAt;

/// A user, as shown to themselves.
#[derive(Serialize, ToSchema)]
#[schema(as = User)]
pub(crate) struct UserView {
    /// A UUID, or the 24 hex digits of an imported `ObjectId`.
    #[schema(examples("0193e2b4-0000-7000-8000-000000000001"))]
    id: String,
    /// The e-mail address.
    #[schema(format = IdnEmail, examples("ada@example.com"))]
    email: String,
    /// The username.
    #[schema(examples("ada"))]
    username: String,
    /// Whether the user may log in.
    is_active: bool,
    /// When the user registered: RFC 3339, UTC.
    #[schema(format = DateTime, examples("2026-11-22T08:03:14.680Z"))]
    created_at: String,
    /// Whether the user has proved to receive mail at the address; only with `fields=all`.
    #[schema(nullable = false)]
    #[serde(skip_serializing_if = "Option::is_none")]
    email_verified: Option<bool>,
}

/// The caller, as shown to themselves.
#[derive(Serialize, ToSchema)]
#[schema(as = OwnUser)]
pub(crate) struct OwnUserView {
    #[serde(flatten)]
    user: UserView,
    /// The caller's roles; only with `fields=all`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    roles: Option<Vec<&'static str>>,
}

impl OwnUserView {
    /// The five fields of the legacy service.
    pub(crate) fn from_row(row: &UserRow) -> Self {
        Self { user: UserView::from_row(row), roles: None }
    }

    pub(crate) fn with_all_fields(row: &UserRow) -> Self {
        let user = UserView { email_verified: Some(row.is_email_verified), ..UserView::from_row(row) };
        Self { user, roles: Some(names(&row.roles)) }
    }
}

impl UserView {
    /// The five fields of the legacy service.
    pub(crate) fn from_row(row: &UserRow) -> Self {
        Self {
            id: row.id.to_string(),
            email: row.email.as_str().to_owned(),
            username: row.username.as_str().to_owned(),
            is_active: row.is_active,
            created_at: rfc3339(row.created_at),
            email_verified: None,
        }
    }

    /// # Errors
    /// [`ApiError::UserNotFound`] if the user was erased meanwhile.
    pub(crate) fn from_state(user: &UserState) -> Result<Self, ApiError> {
        let email = user.account.email.known().map(EmailAddress::as_str).ok_or(ApiError::UserNotFound)?;
        let username = user.account.username.known().map(Username::as_str).ok_or(ApiError::UserNotFound)?;
        Ok(Self {
            id: user.id.to_string(),
            email: email.to_owned(),
            username: username.to_owned(),
            is_active: user.account.is_active,
            created_at: rfc3339(user.created_at),
            email_verified: None,
        })
    }
}

/// A user that was just changed, as shown to administrators.
#[derive(Serialize, ToSchema)]
#[schema(as = UserDetail)]
pub(crate) struct UserDetail {
    #[serde(flatten)]
    user: UserView,
    /// The user's roles.
    roles: Vec<&'static str>,
    /// The version of the user's stream; also the `ETag`.
    version: u64,
}

impl UserDetail {
    pub(crate) fn from_state(user: &UserState) -> Result<Self, ApiError> {
        Ok(Self {
            user: UserView {
                email_verified: Some(user.account.is_email_verified),
                ..UserView::from_state(user)?
            },
            roles: names(&user.account.roles),
            version: user.version,
        })
    }
}

/// A user as of now, as shown to administrators and auditors.
pub(super) fn current_user(row: &UserRow) -> UserAt {
    UserAt {
        id: row.id.to_string(),
        email: Some(row.email.as_str().to_owned()),
        username: Some(row.username.as_str().to_owned()),
        is_active: row.is_active,
        email_verified: row.is_email_verified,
        created_at: rfc3339(row.created_at),
        roles: names(&row.roles),
        version: row.version,
        position: row.position.get(),
    }
}

fn names<'a>(roles: impl IntoIterator<Item = &'a Role>) -> Vec<&'static str> {
    roles.into_iter().map(|role| role.as_str()).collect()
}
