//! `GET /users/me/export`: the data subject's right of access (GDPR, article 15).

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_DISPOSITION;
use axum::response::IntoResponse;
use serde::Serialize;
use utoipa::ToSchema;

use crate::app::App;
use crate::http::api_error::ApiError;
use crate::http::extract::CurrentUser;
use crate::http::users::history::UserChangeView;
use crate::http::users::view::UserAtView;
use crate::query::{OwnedWebhook, PersonalRecord, StoredPassword, UserAction};

const ATTACHMENT: &str = "attachment; filename=\"my-data.json\"";

/// All data stored about one person.
#[derive(Serialize, ToSchema)]
#[schema(as = PersonalRecord)]
pub(crate) struct PersonalRecordView {
    /// When the export was created: RFC 3339, UTC.
    #[schema(format = DateTime)]
    exported_at: String,
    /// The export covers the log up to this position.
    position: u64,
    /// The account; null if it is erased.
    account: Option<UserAtView>,
    /// How the password is stored; null if it is erased.
    password: Option<StoredPasswordView>,
    /// The events of the account, oldest first. Actors other than the person are reduced to their kind:
    /// `administrator`, `token`, `operator` or `system`.
    events: Vec<UserChangeView>,
    /// What the person did to other accounts or to the service.
    acts: Vec<UserActionView>,
    /// The person's webhooks.
    webhooks: Vec<OwnedWebhookView>,
}

/// How the password is stored.
#[derive(Serialize, ToSchema)]
#[schema(as = KeptPassword)]
pub(crate) struct StoredPasswordView {
    /// The hash algorithm. The password itself is not stored, and its hash is never shown.
    #[schema(examples("argon2id"))]
    hash: String,
    /// When the password was set: RFC 3339, UTC.
    #[schema(format = DateTime)]
    set_at: String,
}

/// An action of the person. Its target is left out, as another person's data.
#[derive(Serialize, ToSchema)]
#[schema(as = Act)]
pub(crate) struct UserActionView {
    /// The event's position in the log.
    position: u64,
    /// When: RFC 3339, UTC.
    #[schema(format = DateTime)]
    at: String,
    /// The type of the event.
    #[schema(examples("UserDeactivated"))]
    r#type: String,
    /// The id of the request that caused the event, as in the logs.
    request_id: String,
}

/// A webhook of the person.
#[derive(Serialize, ToSchema)]
#[schema(as = HeldWebhook)]
pub(crate) struct OwnedWebhookView {
    /// A UUID.
    id: String,
    /// Where events are delivered.
    url: String,
    /// The event types; empty: all.
    types: Vec<String>,
    /// The description that the person gave; null if none.
    description: Option<String>,
    /// When it was registered: RFC 3339, UTC.
    #[schema(format = DateTime)]
    created_at: String,
}

/// Exports all data stored about the caller: the account, its events, the caller's actions and webhooks.
#[utoipa::path(
    get, path = "/users/me/export",
    responses(
        (status = 200, description = "All data stored about the caller", body = PersonalRecordView),
        CurrentUser,
        (status = 404, description = "The token's user does not exist, or is erased"),
    ),
)]
pub(crate) async fn export_me(
    State(app): State<Arc<App>>,
    user: CurrentUser,
) -> Result<impl IntoResponse, ApiError> {
    let record = app.services()?.history.record(user.row.id, app.env.now()).await?;
    let record = record.map(PersonalRecordView::from).ok_or(ApiError::UserNotFound)?;
    Ok(([(CONTENT_DISPOSITION, ATTACHMENT)], Json(record)))
}

impl From<PersonalRecord> for PersonalRecordView {
    fn from(record: PersonalRecord) -> Self {
        let PersonalRecord { exported_at, position, account, password, events, acts, webhooks } = record;
        Self {
            exported_at,
            position,
            account: account.map(Into::into),
            password: password.map(|StoredPassword { hash, set_at }| StoredPasswordView { hash, set_at }),
            events: events.into_iter().map(Into::into).collect(),
            acts: acts.into_iter().map(Into::into).collect(),
            webhooks: webhooks.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<UserAction> for UserActionView {
    fn from(action: UserAction) -> Self {
        let UserAction { position, at, r#type, request_id } = action;
        Self { position, at, r#type, request_id }
    }
}

impl From<OwnedWebhook> for OwnedWebhookView {
    fn from(webhook: OwnedWebhook) -> Self {
        let OwnedWebhook { id, url, types, description, created_at } = webhook;
        Self { id, url, types, description, created_at }
    }
}
