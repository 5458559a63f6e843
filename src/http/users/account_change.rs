//! An administrator closes or reopens somebody's account: what both requests bring, and how both are answered.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use domain::{Reason, UserCommand, UserId};

use super::{ReasonBody, UserDetail, execute};
use crate::command::CommandContext;
use crate::http::api_error::ApiError;
use crate::http::extract::{Admin, Idempotent, IfMatch, OptionalJsonBody, RequestId, UserPath, WriteAttempt};
use crate::http::headers::{EntityTag, PositionHeader};
use crate::http::state::HttpState;

/// A change that an administrator wants made to an account.
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
        let context = match RequestId::from_request_parts(&mut parts, state).await {
            Ok(request_id) => admin.command_context(&request_id),
            Err(never) => match never {},
        };
        let request = Request::from_parts(parts, body);
        let Idempotent { attempt, body: OptionalJsonBody(body) } =
            Idempotent::<OptionalJsonBody<ReasonBody>>::from_request(request, state).await?;
        let reason = body.and_then(|body| body.reason);
        Ok(Self { state: state.clone(), attempt, context, id, if_match, reason })
    }
}

impl AccountChange {
    /// Makes the change, and answers with the user.
    pub(super) async fn execute(
        self,
        command: impl FnOnce(Option<Reason>) -> UserCommand,
    ) -> Result<Response, ApiError> {
        let Self { state, attempt, context, id, if_match, reason } = self;
        let user = execute(&state, &attempt, context, id, &command(reason), if_match).await?;
        let detail = UserDetail::from_state(&user)?;
        Ok((EntityTag(user.version), PositionHeader(user.position), Json(detail)).into_response())
    }
}
