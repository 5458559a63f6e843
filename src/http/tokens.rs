//! `GET` and `POST /tokens`, `DELETE /tokens/{id}`: machine tokens, for administrators.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use domain::{Moment, Role, TokenName};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use utoipa::openapi::schema::ArrayBuilder;
use utoipa::openapi::{RefOr, Schema};
use utoipa_axum::routes;

use super::api_error::{ApiError, Loc, ValidationError};
use super::extract::{
    Admin, FieldReader, FromFields, JsonBody, Limit, MAX_POSITION, NoBody, QueryParams, TokenPath,
};
use super::headers::position_header;
use super::idempotency::{Idempotent, WriteAttempt};
use super::openapi::builders::{integer, one_of};
use super::openapi::parameters::{document_extractors, query_parameter};
use super::state::Routes;
use crate::app::App;
use crate::command::{CommandContext, MachineToken, NewToken, TokenStatus};
use crate::config::Settings;

const MAX_LIMIT: u64 = 100;
const DEFAULT_LIMIT: usize = 100;

pub(super) fn routes() -> Routes {
    vec![routes!(list_tokens, issue_token), routes!(revoke_token)]
}

/// A page of machine tokens.
#[derive(Serialize, ToSchema)]
#[schema(as = TokenPage)]
pub(crate) struct TokenPage {
    /// In the order of their issue, revoked and expired ones included.
    tokens: Vec<TokenStatus>,
    /// The next page's `after`; left out of the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<u64>,
}

/// Documents the parameter `after`.
pub(crate) struct AfterToken;

document_extractors! {
    AfterToken: [query_parameter("after",
        integer("Only tokens that were issued after this position of the log").maximum(Some(MAX_POSITION)))];
}

/// Lists machine tokens, without their secrets.
#[utoipa::path(
    get, path = "/tokens",
    params(AfterToken, Limit<MAX_LIMIT>),
    responses(
        (status = 200, description = "A page of tokens", body = TokenPage),
        Admin,
        (status = 422, description = "Invalid parameters"),
    ),
)]
pub(crate) async fn list_tokens(
    State(app): State<Arc<App>>,
    _: Admin,
    mut params: QueryParams,
) -> Result<Json<TokenPage>, ApiError> {
    let limit = params.limit(MAX_LIMIT, DEFAULT_LIMIT);
    let after = params.position("after").unwrap_or_default();
    params.finish(())?;
    let (page, next) = app.services()?.tokens.page(after, limit).await?;
    let now = app.env.now();
    let tokens = page.iter().map(|token| TokenStatus::new(token, now)).collect();
    Ok(Json(TokenPage { tokens, next: next.map(store::Position::get) }))
}

/// A new machine token. Unknown fields are ignored.
#[derive(ToSchema)]
#[schema(as = NewToken)]
pub(crate) struct NewTokenBody {
    /// What it is for. Not personal: it is stored in the log as it is.
    #[schema(
        value_type = String, min_length = 1, max_length = 64,
        pattern = r"^[^\u0000-\u001F\u007F-\u009F\u2028\u2029\u202A-\u202E\u2066-\u2069]*$",
        examples("billing"),
    )]
    name: TokenName,
    /// At least one.
    #[schema(schema_with = roles_schema)]
    roles: BTreeSet<Role>,
    /// The time from which it is void, in RFC 3339; it does not expire by default.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Moment>,
}

fn roles_schema() -> RefOr<Schema> {
    let roles = ArrayBuilder::new().items(one_of(Role::ALL.map(Role::as_str), "A role")).min_items(Some(1));
    roles.description(Some("The roles that its bearer holds.")).into()
}

impl FromFields for NewTokenBody {
    fn from_fields(fields: &mut FieldReader, _: &Settings) -> Option<Self> {
        let name = fields.token_name("name");
        let roles = fields.required_roles("roles");
        let expires_at = fields.optional_time("expires_at");
        Some(Self { name: name?, roles: roles?, expires_at })
    }
}

/// A machine token, and in the answer to its issue the token itself.
#[derive(Serialize, ToSchema)]
#[schema(as = IssuedToken)]
pub(crate) struct IssuedTokenView {
    #[serde(flatten)]
    status: TokenStatus,
    /// Send it as `Authorization: Bearer …`. Store it: it is not shown again, nor in the answer to a repetition.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, pattern = "^aegis_[0-9A-Za-z]{22}_[0-9A-Za-z]{32}$")]
    token: Option<String>,
}

/// Issues a machine token.
#[utoipa::path(
    post, path = "/tokens",
    params(WriteAttempt),
    request_body = NewTokenBody,
    responses(
        (status = 201, description = "The issued token", body = IssuedTokenView,
            headers(("Aegis-Position" = u64))),
        Admin,
        (status = 422, description = "Missing or invalid fields"),
    ),
)]
pub(crate) async fn issue_token(
    Admin(admin): Admin,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<NewTokenBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let app = &attempt.state.app;
    let tokens = &app.services()?.tokens;
    let issue = async |context: CommandContext| {
        let NewTokenBody { name, roles, expires_at } = body;
        if let Some(end) = expires_at.filter(|end| event_codec::timestamp(*end) <= app.env.now()) {
            let error =
                ValidationError::not_in_future(Loc::Field("expires_at"), Value::from(end.to_string()));
            return Err(ApiError::invalid(error));
        }
        Ok(tokens.issue(&context, NewToken { name, roles, expires_at }).await?)
    };
    let issued = attempt.execute(&admin.actor(), issue).await?;
    let status = TokenStatus::new(&issued, app.env.now());
    let view = IssuedTokenView { status, token: issued.bearer.as_ref().map(MachineToken::expose) };
    Ok((StatusCode::CREATED, position_header(issued.position), Json(view)))
}

/// Revokes a machine token: it is void at once. A repetition changes nothing.
#[utoipa::path(
    delete, path = "/tokens/{id}",
    params(TokenPath, WriteAttempt),
    responses(
        (status = 204, description = "The token is revoked", headers(("Aegis-Position" = u64))),
        Admin,
        TokenPath,
    ),
)]
pub(crate) async fn revoke_token(
    Admin(admin): Admin,
    TokenPath(id): TokenPath,
    Idempotent { attempt, body: NoBody }: Idempotent<NoBody>,
) -> Result<impl IntoResponse, ApiError> {
    let tokens = &attempt.state.app.services()?.tokens;
    let revoke = async |context: CommandContext| Ok(tokens.revoke(&context, id).await?);
    let revoked = attempt.execute(&admin.actor(), revoke).await?;
    Ok((StatusCode::NO_CONTENT, position_header(revoked.position), ()))
}
