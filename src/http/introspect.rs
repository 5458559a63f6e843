//! `POST /auth/introspect`: token introspection (RFC 7662) for other services, of access tokens,
//! refresh tokens and machine tokens.

use std::sync::Arc;

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::routes;
use uuid::Uuid;

use super::api_error::ApiError;
use super::extract::{CurrentUser, Form, FormValue, Introspector};
use super::sessions;
use super::state::{HttpState, Routes};
use super::time_limit::TimeLimit;
use super::token_view::OFFLINE_ACCESS;
use crate::app::App;
use crate::command::{Authentication, MachineToken};

pub(super) fn routes() -> Routes {
    vec![routes!(introspect)]
}

/// The token to introspect. `token_type_hint` is accepted and ignored: the kinds of tokens differ in form.
pub(crate) struct IntrospectionForm {
    token: String,
}

impl FromRequest<HttpState> for IntrospectionForm {
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &HttpState) -> Result<Self, ApiError> {
        match Form::from_request(request, state).await?.take("token") {
            Some(FormValue::Text(token)) => Ok(Self { token }),
            Some(FormValue::File) | None => Err(ApiError::OAuth {
                error: "invalid_request",
                detail: "The form field `token` is missing".to_owned(),
            }),
        }
    }
}

/// What a token is worth now. All fields but `active` are left out if the token is not active.
#[derive(Default, Serialize, ToSchema)]
#[schema(as = Introspection)]
pub(crate) struct IntrospectionView {
    /// Whether the token is accepted now.
    active: bool,
    /// The id of the user, or the actor `token-…`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    sub: Option<String>,
    /// The roles, separated by spaces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    scope: Option<String>,
    /// `Bearer`, or `refresh_token`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    token_type: Option<&'static str>,
    /// When it expires, in seconds since 1970; left out if it does not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    exp: Option<i64>,
    /// When it was issued, in seconds since 1970; left out if the token does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    iat: Option<i64>,
    /// The name of a machine token.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    client_id: Option<String>,
}

/// Introspects a token (RFC 7662). Unknown, foreign, expired and revoked tokens are not distinguished.
#[utoipa::path(
    post, path = "/auth/introspect",
    request_body(content(
        (IntrospectionForm = "application/x-www-form-urlencoded"),
    )),
    responses(
        (status = 200, description = "The state of the token", body = IntrospectionView),
        (status = 400, description = "`invalid_request`: no token"),
        Introspector,
        (status = 503, description = "`unavailable` or `projection_behind`"),
    ),
)]
pub(crate) async fn introspect(
    State(app): State<Arc<App>>,
    _: Introspector,
    form: IntrospectionForm,
) -> Result<Json<IntrospectionView>, ApiError> {
    // From now, when the form has arrived.
    TimeLimit::from_now().read("the token", inspect(&app, &form.token)).await.map(Json)
}

async fn inspect(app: &App, token: &str) -> Result<IntrospectionView, ApiError> {
    if let Some((id, generation)) = app.services()?.sessions.parse_refresh_token(token) {
        return refresh_token(app, id, generation).await;
    }
    if MachineToken::is_claimed(token) {
        return machine_token(app, token).await;
    }
    match access_token(app, token).await {
        Err(error) if error.is_void_token() => Ok(IntrospectionView::default()),
        answer => answer,
    }
}

/// One that was used up is not active, although it is answered for some seconds.
async fn refresh_token(app: &App, id: Uuid, generation: u64) -> Result<IntrospectionView, ApiError> {
    let found = sessions::find_renewable(app.services()?, id).await?;
    let Some((session, row)) = found.filter(|(session, _)| session.generation == generation) else {
        return Ok(IntrospectionView::default());
    };
    Ok(IntrospectionView {
        active: true,
        sub: Some(row.id.to_string()),
        scope: Some(OFFLINE_ACCESS.to_owned()),
        token_type: Some("refresh_token"),
        exp: Some(session.expires_at.as_second()),
        iat: Some(session.refreshed_at.as_second()),
        client_id: None,
    })
}

async fn access_token(app: &App, token: &str) -> Result<IntrospectionView, ApiError> {
    let user = CurrentUser::from_token(app, token).await?.confirmed(app).await?;
    let claims = app.tokens.verify(token)?;
    Ok(IntrospectionView {
        active: true,
        sub: Some(user.row.id.to_string()),
        scope: Some(joined(user.row.roles.iter().map(|role| role.as_str()))),
        token_type: Some("Bearer"),
        exp: Some(seconds(claims.expires_at)),
        iat: claims.issued_at.map(seconds),
        client_id: None,
    })
}

async fn machine_token(app: &App, token: &str) -> Result<IntrospectionView, ApiError> {
    let Authentication::Valid(token) = app.services()?.tokens.authenticate(token).await? else {
        return Ok(IntrospectionView::default());
    };
    Ok(IntrospectionView {
        active: true,
        sub: Some(token.id.stream()),
        scope: Some(joined(token.issued.roles.iter().map(|role| role.as_str()))),
        token_type: Some("Bearer"),
        exp: token.issued.expires_at.map(|end| end.as_millisecond().div_euclid(1000)),
        iat: Some(token.issued_at.as_second()),
        client_id: Some(token.issued.name.as_str().to_owned()),
    })
}

fn joined<'a>(roles: impl Iterator<Item = &'a str>) -> String {
    roles.collect::<Vec<_>>().join(" ")
}

/// Whole seconds, which JSON shows without a fraction. Tokens state times beyond those of RFC 3339 too.
fn seconds(time: f64) -> i64 {
    let whole = format!("{:.0}", time.floor());
    whole.parse().unwrap_or(if time < 0.0 { i64::MIN } else { i64::MAX })
}
