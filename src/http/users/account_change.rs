//! An administrator closes or reopens somebody's account: what both requests bring, and how both are answered.

use axum::Json;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::response::{IntoResponse, Response};
use domain::{Command, Reason, UserId};

use super::{ReasonBody, UserDetail, carry_out};
use crate::command::Cause;
use crate::http::extract::{Admin, IfMatch, MaybeValid, Once, RequestId, Sent, UserPath};
use crate::http::headers::{Version, Written};
use crate::http::problem::Problem;
use crate::http::state::HttpState;

/// A change that an administrator wants made to an account.
pub(crate) struct AccountChange {
    state: HttpState,
    sent: Sent,
    cause: Cause,
    id: UserId,
    if_match: Option<u64>,
    reason: Option<Reason>,
}

impl FromRequest<HttpState> for AccountChange {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Admin(admin) = Admin::from_request_parts(&mut parts, state).await?;
        let UserPath(id) = UserPath::from_request_parts(&mut parts, state).await?;
        let IfMatch(if_match) = IfMatch::from_request_parts(&mut parts, state).await?;
        let cause = match RequestId::from_request_parts(&mut parts, state).await {
            Ok(request_id) => admin.cause(&request_id),
            Err(never) => match never {},
        };
        let request = Request::from_parts(parts, body);
        let Once { sent, body: MaybeValid(body) } =
            Once::<MaybeValid<ReasonBody>>::from_request(request, state).await?;
        let reason = body.and_then(|body| body.reason);
        Ok(Self { state: state.clone(), sent, cause, id, if_match, reason })
    }
}

impl AccountChange {
    /// Makes the change, and answers with the user.
    pub(super) async fn carry_out(
        self,
        command: impl FnOnce(Option<Reason>) -> Command,
    ) -> Result<Response, Problem> {
        let Self { state, sent, cause, id, if_match, reason } = self;
        let user = carry_out(&state, &sent, cause, id, &command(reason), if_match).await?;
        let detail = UserDetail::of_state(&user)?;
        Ok((Version(user.version), Written(user.position), Json(detail)).into_response())
    }
}
