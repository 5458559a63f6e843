//! `GET /users`: the search of a support desk, and `POST /users`: users that administrators create.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use domain::{EmailAddress, Role, SearchTerm, UserCommand, Username};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa::openapi::schema::{ArrayBuilder, SchemaType, Type};
use utoipa::openapi::{RefOr, Schema};

use super::view::{UserDetail, current_user};
use crate::app::App;
use crate::command::CommandContext;
use crate::config::Settings;
use crate::crypto::{NewPassword, Password};
use crate::http::api_error::ApiError;
use crate::http::conditional::entity_tag;
use crate::http::credentials::hash_new_password;
use crate::http::extract::{
    Admin, Auditor, FieldReader, FromFields, JsonBody, Limit, MinPosition, QueryParams,
};
use crate::http::headers::position_header;
use crate::http::idempotency::{Idempotent, WriteAttempt};
use crate::http::openapi::builders::{one_of, string};
use crate::http::openapi::parameters::{document_extractors, query_parameter};
use crate::http::password_client::PasswordClient;
use crate::query::{SearchCursor, UserAt, UserSearch};

const MAX_LIMIT: u64 = 100;
const DEFAULT_LIMIT: usize = 100;
const CURSOR_PATTERN: &str = "^[A-Za-z0-9_-]+$";

/// A page of users.
#[derive(Serialize, ToSchema)]
#[schema(as = UserPage)]
pub(crate) struct UserPageView {
    /// The users that match; a page may have fewer than `limit`, or none, before the last one.
    users: Vec<UserAt>,
    /// The next page's `after`; left out of the last page.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next: Option<String>,
}

/// Documents the parameters of a search.
pub(crate) struct SearchParameters;

document_extractors! {
    SearchParameters: [
        query_parameter("q", string("The beginning of the e-mail address or of the username, in any case").min_length(Some(1))),
        query_parameter("email", string("The e-mail address").min_length(Some(1))),
        query_parameter("username", string("The username").min_length(Some(1))),
        query_parameter("role", one_of(Role::ALL.map(Role::as_str), "A role that the user holds")),
        query_parameter("active", one_of(["true", "false"], "Whether the user may log in")),
        query_parameter("after", string("`next` of the previous page of the same search").pattern(Some(CURSOR_PATTERN)))
    ];
}

/// Lists the users whom all of the parameters apply to. With `q`, those whose e-mail address matches come first, each in
/// the order of what matches; otherwise users are in the order of their ids. An invalid `email` or `username` is that of
/// no user.
#[utoipa::path(
    get, path = "/users",
    params(SearchParameters, Limit<MAX_LIMIT>, MinPosition),
    responses(
        (status = 200, description = "A page of users", body = UserPageView),
        Auditor,
        (status = 422, description = "Invalid parameters"),
        (status = 503, description = "`unavailable` or `projection_behind`"),
    ),
)]
pub(crate) async fn list_users(
    State(app): State<Arc<App>>,
    _: Auditor,
    mut params: QueryParams,
) -> Result<Json<UserPageView>, ApiError> {
    let limit = params.limit(MAX_LIMIT, DEFAULT_LIMIT);
    let after = params.parsed::<SearchCursor>("after", CURSOR_PATTERN);
    let search = search(&mut params);
    let search = params.finish(search)?;
    let rows = &app.services()?.user_rows;
    rows.wait_for_head().await?;
    let Some(search) = search else { return Ok(Json(UserPageView { users: Vec::new(), next: None })) };
    let page = rows.search(&search, after, limit).await?;
    let users = page.users.iter().map(current_user).collect();
    Ok(Json(UserPageView { users, next: page.next.map(|next| next.to_string()) }))
}

/// The search; `None` if no user can match.
fn search(params: &mut QueryParams) -> Option<UserSearch> {
    let term = params.text("q").map(|text| SearchTerm::new(&text));
    let email = params.text("email").map(|text| EmailAddress::parse(&text).ok());
    let username = params.text("username").map(|text| Username::parse(&text).ok());
    let role = params.choice("role", &Role::ALL.map(|role| (role.as_str(), role)));
    let is_active = params.choice("active", &[("true", true), ("false", false)]);
    let exact = |is_given: bool, is_valid: bool| !is_given || is_valid;
    let is_possible = exact(email.is_some(), email.as_ref().is_some_and(Option::is_some))
        && exact(username.is_some(), username.as_ref().is_some_and(Option::is_some));
    is_possible.then(|| UserSearch {
        term,
        email: email.flatten(),
        username: username.flatten(),
        role,
        is_active,
    })
}

/// A user to create. Unknown fields are ignored.
#[derive(ToSchema)]
#[schema(as = NewUser)]
pub(crate) struct NewUserBody {
    /// Trimmed; the domain is shown in lower case.
    #[schema(value_type = String, format = IdnEmail, max_length = 254, examples("ada@example.com"))]
    email: EmailAddress,
    /// Trimmed and normalised (NFKC), with single spaces; as for sign-up.
    #[schema(
        value_type = String, min_length = 1, max_length = 64,
        pattern = r"^[^\u0000-\u001F\u007F-\u009F\u2028\u2029\u202A-\u202E\u2066-\u2069]*$",
        examples("ada"),
    )]
    username: Username,
    /// As for sign-up. A user without a password cannot log in before one is set.
    #[schema(
        value_type = Option<String>, format = Password, min_length = 8, max_length = 1024, pattern = r"^[^\u0000]*$",
        examples("correct horse battery"),
    )]
    password: Option<Password>,
    /// None by default.
    #[schema(schema_with = roles_schema)]
    roles: Option<BTreeSet<Role>>,
}

/// The list may be null.
fn roles_schema() -> RefOr<Schema> {
    let roles = ArrayBuilder::new().items(one_of(Role::ALL.map(Role::as_str), "A role"));
    let roles = roles.description(Some("The roles that the user holds; none by default."));
    roles.schema_type(SchemaType::from_iter([Type::Array, Type::Null])).into()
}

impl FromFields for NewUserBody {
    fn from_fields(fields: &mut FieldReader, settings: &Settings) -> Option<Self> {
        let email = fields.email("email");
        let username = fields.username("username", settings.usernames);
        let password = fields.optional_new_password("password", settings.passwords.min_length);
        let roles = fields.roles("roles");
        Some(Self { email: email?, username: username?, password, roles: Some(roles) })
    }
}

/// Creates a user, with roles in the same step. Without a password the user cannot log in before one is set.
#[utoipa::path(
    post, path = "/users",
    params(WriteAttempt),
    request_body = NewUserBody,
    responses(
        (status = 201, description = "The created user", body = UserDetail,
            headers(("Location" = String, description = "The path of the user"), ("ETag" = String),
                ("Aegis-Position" = u64))),
        (status = 400, description = "`email_taken`, `username_taken`, or `username_confusable`: it looks like another"),
        Admin,
        (status = 422, description = "Missing or invalid fields, or a weak password"),
        (status = 429, description = "`rate_limited`, with `Retry-After`"),
    ),
)]
pub(crate) async fn create_user(
    Admin(admin): Admin,
    client: PasswordClient,
    Idempotent { attempt, body: JsonBody(body) }: Idempotent<JsonBody<NewUserBody>>,
) -> Result<impl IntoResponse, ApiError> {
    let app = &attempt.state.app;
    let users = &app.services()?.users;
    let create = async |context: CommandContext| {
        let NewUserBody { email, username, password, roles } = body;
        let mut password_hash = None;
        if let Some(password) = password {
            let password = NewPassword::new(password, &email, &username);
            let admission = client.admit(app)?;
            password_hash = Some(hash_new_password(app, "password", password, admission.source).await?);
        }
        let registration = UserCommand::Register { email, username, password_hash };
        Ok(users.create(&context, registration, &roles.unwrap_or_default()).await?)
    };
    let user = attempt.execute(&admin.actor(), create).await?;
    let location = [(header::LOCATION, app.settings.http.path(&format!("/users/{}", user.id)))];
    let view = UserDetail::from_state(&user)?;
    Ok((StatusCode::CREATED, location, entity_tag(user.version), position_header(user.position), Json(view)))
}
