//! `POST /users/{id}/deactivate` and `POST /users/{id}/reactivate`

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use domain::{Reason, UserCommand, UserId};
use utoipa::ToSchema;

use super::command::execute;
use super::view::UserDetail;
use crate::command::CommandContext;
use crate::config::Settings;
use crate::http::api_error::ApiError;
use crate::http::extract::{Admin, FieldReader, FromFields, IfMatch, OptionalJsonBody, UserPath};
use crate::http::headers::{EntityTag, PositionHeader};
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::request_id::RequestId;
use crate::http::state::HttpState;

/// Why the account is changed.
#[derive(ToSchema)]
#[schema(as = Reason)]
pub(crate) struct ReasonBody {
    /// Stored with the event, encrypted as personal data of the user.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 500, examples("asked for it by mail"))]
    reason: Option<Reason>,
}

impl FromFields for ReasonBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        Some(Self { reason: fields.reason("reason") })
    }
}

/// Deactivates a user: logins are rejected and every token of the user becomes invalid. A repetition changes
/// nothing.
#[utoipa::path(
    post, path = "/users/{id}/deactivate",
    params(UserPath, IfMatch, WriteAttempt),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "The deactivated user", body = UserDetail,
            headers(("ETag" = String, description = "The version of the user's stream"), ("Aegis-Position" = u64))),
        Admin,
        UserPath,
        (status = 409, description = "`last_admin`"),
        IfMatch,
        (status = 422, description = "The reason is not valid"),
    ),
)]
pub(crate) async fn deactivate_user(change: AccountChange) -> Result<Response, ApiError> {
    change.execute(|reason| UserCommand::Deactivate { reason }).await
}

/// Reactivates a user, who can log in again; earlier tokens stay invalid. A repetition changes nothing.
#[utoipa::path(
    post, path = "/users/{id}/reactivate",
    params(UserPath, IfMatch, WriteAttempt),
    request_body = Option<ReasonBody>,
    responses(
        (status = 200, description = "The active user", body = UserDetail,
            headers(("ETag" = String, description = "The version of the user's stream"), ("Aegis-Position" = u64))),
        Admin,
        UserPath,
        IfMatch,
        (status = 422, description = "The reason is not valid"),
    ),
)]
pub(crate) async fn reactivate_user(change: AccountChange) -> Result<Response, ApiError> {
    change.execute(|reason| UserCommand::Reactivate { reason }).await
}

/// What both requests consist of.
pub(crate) struct AccountChange {
    state: HttpState,
    attempt: WriteAttempt,
    context: CommandContext,
    id: UserId,
    if_match: Option<u64>,
    reason: Option<Reason>,
}

impl FromRequest<HttpState> for AccountChange {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, ApiError> {
        let (mut parts, body) = request.into_parts();
        let Admin(admin) = Admin::from_request_parts(&mut parts, state).await?;
        let UserPath(id) = UserPath::from_request_parts(&mut parts, state).await?;
        let IfMatch(if_match) = IfMatch::from_request_parts(&mut parts, state).await?;
        let context = admin.command_context(&RequestId::of(&parts.extensions));
        let request = Request::from_parts(parts, body);
        let Idempotent { attempt, body: OptionalJsonBody(body) } =
            Idempotent::<OptionalJsonBody<ReasonBody>>::from_request(request, state).await?;
        let reason = body.and_then(|body| body.reason);
        Ok(Self { state: state.clone(), attempt, context, id, if_match, reason })
    }
}

impl AccountChange {
    async fn execute(
        self,
        command: impl FnOnce(Option<Reason>) -> UserCommand,
    ) -> Result<Response, ApiError> {
        let Self { state, attempt, context, id, if_match, reason } = self;
        let user = execute(&state, &attempt, context, id, &command(reason), if_match).await?;
        let detail = UserDetail::from_state(&user)?;
        Ok((EntityTag(user.version), PositionHeader(user.position), Json(detail)).into_response())
    }
}
