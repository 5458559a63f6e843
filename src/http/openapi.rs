//! The description of the API (OpenAPI 3.1), made from the handlers and the types they answer with.

use serde::Serialize;
use utoipa::openapi::security::{Flow, OAuth2, Password, Scopes, SecurityScheme};
use utoipa::openapi::{Components, InfoBuilder};
use utoipa::{OpenApi, ToSchema};

use super::{auth, events, health, log, metrics, projections, root, stats, users, webhooks};
use crate::config::HttpSettings;

/// What stands outside the prefix.
#[derive(OpenApi)]
#[openapi(paths(root::root), tags((name = "service", description = "The service itself")))]
struct Outside;

/// What stands under the prefix.
#[derive(OpenApi)]
#[openapi(
    paths(
        auth::signup::sign_up,
        auth::login::log_in,
        users::me::me,
        users::me::deactivate::deactivate,
        users::me::erase::erase,
        users::me::export::export,
        users::show::show,
        users::history::history,
        users::deactivate::deactivate,
        users::reactivate::reactivate,
        users::erase::erase,
        users::roles::grant,
        users::roles::revoke,
        events::list::list,
        events::stream::stream,
        webhooks::register::register,
        webhooks::list::list,
        webhooks::show::show,
        webhooks::delete::delete,
        webhooks::deliveries::deliveries,
        webhooks::test::test,
        webhooks::rotate_secret::rotate_secret,
        webhooks::replay::replay,
        webhooks::resume::resume,
        log::checkpoint::checkpoint,
        log::key::key,
        log::tile::tile,
        log::proof::proof,
        log::consistency::consistency,
        projections::list::list,
        projections::show::show,
        projections::rebuild::rebuild,
        projections::cancel::cancel,
        projections::rollback::roll_back,
        projections::drop::drop,
        projections::skip::skip,
        stats::stats,
        health::health,
        health::ready::ready,
        metrics::metrics,
    ),
    tags(
        (name = "auth", description = "Coming in"),
        (name = "users", description = "Accounts"),
        (name = "events", description = "What happened: the event log, for auditors and subscribers"),
        (name = "webhooks", description = "Events sent to whoever asks for them"),
        (name = "log", description = "Proofs that nobody has edited the log"),
        (name = "projections", description = "Read models: how they are doing, and their versions"),
    ),
)]
struct Endpoints;

/// An answer that is no success.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct ErrorBody {
    /// For people.
    detail: String,
    /// For programs; stable.
    #[schema(examples("email_taken"))]
    code: String,
    /// As in the header `X-Request-Id` and in the logs.
    request_id: String,
    /// Of a login only: the error code of RFC 6749.
    error: Option<String>,
    /// Of a login only.
    error_description: Option<String>,
}

/// An answer to a request whose fields, parameters or headers are not what they have to be.
#[derive(Serialize, ToSchema)]
#[schema(as = ValidationError)]
pub(crate) struct ValidationErrorBody {
    /// One entry per fault.
    detail: Vec<ValidationErrorDetail>,
    /// For programs; stable.
    #[schema(examples("validation_error"))]
    code: String,
    /// As in the header `X-Request-Id` and in the logs.
    request_id: String,
    /// Of a login only: the error code of RFC 6749.
    error: Option<String>,
    /// Of a login only.
    error_description: Option<String>,
}

/// One thing that is wrong with a request.
#[derive(Serialize, ToSchema)]
#[schema(as = Fault)]
struct ValidationErrorDetail {
    /// What kind of fault it is.
    #[schema(examples("missing"))]
    r#type: String,
    /// Where it is: `body`, `query`, `header` or `path`, then the name, or the character of the body's text.
    #[schema(value_type = Vec<serde_json::Value>)]
    loc: Vec<serde_json::Value>,
    /// For people.
    #[schema(examples("Field required"))]
    msg: String,
    /// What was given, but for passwords.
    input: serde_json::Value,
    /// The numbers and words in `msg`.
    ctx: Option<serde_json::Value>,
}

/// Where the description is served.
pub(super) fn path(settings: &HttpSettings) -> String {
    settings.path("/openapi.json")
}

/// The description of the API, as JSON for people and programs.
#[must_use]
pub fn openapi(settings: &HttpSettings) -> String {
    let prefix = settings.api_prefix.trim_end_matches('/');
    let mut document = Outside::openapi().nest(prefix, Endpoints::openapi());
    document.info = InfoBuilder::new()
        .title(&settings.project_name)
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "Sign-up, login, and an event log of both that can be replayed, audited and followed.",
        ))
        .build();
    let login = Flow::Password(Password::new(format!("{prefix}/auth/login/access-token"), Scopes::new()));
    document
        .components
        .get_or_insert_with(Components::new)
        .add_security_scheme("OAuth2PasswordBearer", SecurityScheme::OAuth2(OAuth2::new([login])));
    // Maps of text to text always serialise.
    document.to_pretty_json().unwrap_or_default()
}
