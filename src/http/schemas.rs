//! The schemas of what queries, webhooks and the event log answer with. They are serialised as they are, for
//! the command line too, so their JSON is documented here instead of on a second set of types.

use std::borrow::Cow;

use utoipa::openapi::schema::{ArrayBuilder, Schema};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::api_error::{ErrorBody, ValidationError};
use super::auth::login::LoginForm;
use super::auth::logout::Revocation;
use super::auth::token::TokenRequest;
use super::health::{NotReady, ReadyView};
use super::introspect::IntrospectionForm;
use super::openapi::builders::{
    any, boolean, date, either, email, integer, list, map, nullable, nullable_reference, number, object,
    one_of, optional, password, reference, required, small_integer, string, strings, time,
};
use super::webhooks::deliveries::Attempt;
use crate::cloud_event::CloudEvent;
use crate::command::TokenStatus;
use crate::query::projections::{ProjectionStatus, VersionStatus};
use crate::query::{
    DayStats, FieldChange, HeldSession, LoginPage, LoginRecord, OwnedWebhook, PersonalRecord, Stats,
    StoredPassword, UserAction, UserAt, UserChange,
};
use crate::webhooks::{FailingDelivery, WebhookStatus};

/// Schemas by name.
type Schemas = Vec<(String, RefOr<Schema>)>;

/// A type, the name of its schema, the types that it refers to, and the schema.
macro_rules! schema {
    ($type:ty = $name:literal, [$($nested:ty),*], $schema:expr) => {
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn schemas(schemas: &mut Schemas) {
                let nested: &[fn(&mut Schemas)] = &[$(add::<$nested>),*];
                for add in nested {
                    add(schemas);
                }
            }
        }

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                $schema
            }
        }
    };
}

/// A type, the name of its schema, its description, the types that it refers to, and its fields.
macro_rules! schemas {
    ($($type:ty = $name:literal, $description:literal, [$($nested:ty),*], { $($field:expr,)* })*) => {$(
        schema! { $type = $name, [$($nested),*], object($description, [$($field),*]) }
    )*};
}

schemas! {
    ErrorBody<'_, str> = "ApiError", "An error answer.", [], {
        required("detail", string("A message for people.")),
        optional("error", string("At endpoints of OAuth only: the error code of RFC 6749.")),
        optional("error_description", string("At endpoints of OAuth only.")),
        required("code", string("A stable code for programs.").examples(["email_taken"])),
        required("request_id", string("The id in the header `X-Request-Id` and in the logs.")),
    }
    ErrorBody<'_, [ValidationError]> = "ValidationError",
        "The answer to a request with invalid fields, parameters or headers.", [ValidationError], {
        required("detail", list("Fault", "One entry per error.")),
        optional("error", string("Logins only: the error code of RFC 6749.")),
        optional("error_description", string("Logins only.")),
        required("code", one_of(["validation_error"], "A stable code for programs.")),
        required("request_id", string("The id in the header `X-Request-Id` and in the logs.")),
    }
    IdempotencyKeyReused = "IdempotencyKeyReused",
        "The answer to a request whose `Idempotency-Key` was used for another request.", [], {
        required("detail", string("A message for people.")),
        required("code", one_of(["idempotency_key_reused"], "A stable code for programs.")),
        required("request_id", string("The id in the header `X-Request-Id` and in the logs.")),
    }
    ValidationError = "Fault", "An invalid field, parameter or header.", [], {
        required("type", string("The kind of error.").examples(["missing"])),
        required("loc", ArrayBuilder::new()
            .items(either([string("A name.").into(), integer("A character offset in the body.").into()]))
            .min_items(Some(1))
            .description(Some(
                "The location: `body`, `query`, `header` or `path`, then the name, or the character offset in \
                 the body."))),
        required("msg", string("A message for people.").examples(["Field required"])),
        required("input", any("The invalid value, without passwords.")),
        optional("ctx", map("The values that `msg` mentions.")),
    }
    LoginForm = "Login", "Credentials. Other fields are ignored.", [], {
        required("username", string("The e-mail address.").min_length(Some(1)).examples(["ada@example.com"])),
        required("password",
            password("The password.").min_length(Some(1)).examples(["correct horse battery"])),
        optional("grant_type", string("`password`, if it is given.").pattern(Some("^(password)?$"))),
        optional("scope", string("Opens a session if it contains `offline_access`; the rest is ignored.")),
        optional("client_id", string("Accepted and ignored.")),
        optional("client_secret", password("Accepted and ignored.")),
    }
    TokenRequest = "TokenRequest", "A password or a refresh token. Other fields are ignored.", [], {
        required("grant_type", one_of(["password", "refresh_token"], "What is exchanged for tokens.")),
        optional("username", string("With `password`: the e-mail address.").min_length(Some(1))),
        optional("password", password("With `password`: the password.").min_length(Some(1))),
        optional("scope", string("Opens a session if it contains `offline_access`; the rest is ignored.")),
        optional("refresh_token", password("With `refresh_token`: the one of the last answer.").min_length(Some(1))),
        optional("client_id", string("Accepted and ignored.")),
        optional("client_secret", password("Accepted and ignored.")),
    }
    Revocation = "Revocation", "A token to be revoked.", [], {
        required("token", password("A refresh token or an access token.").min_length(Some(1))),
        optional("token_type_hint", string("Accepted and ignored.")),
    }
    IntrospectionForm = "IntrospectionRequest", "The token to introspect.", [], {
        required("token", string("An access token or a machine token.").min_length(Some(1))),
        optional("token_type_hint", string("Accepted and ignored.")),
    }
    TokenStatus = "MachineToken", "A machine token, without its secret.", [], {
        required("id", string("A UUID.")),
        required("name", string("What it is for.")),
        required("roles", strings("The roles that its bearer holds.")),
        required("state", one_of(["active", "expired", "revoked"], "Whether it is accepted.")),
        required("issued_at", time("When: RFC 3339, UTC.")),
        required("issued_by", string("Who issued it.")),
        required("expires_at", nullable(time("From when it is void; null if it does not expire."))),
        required("last_used_on", nullable(date("The day in UTC of the latest use; null if there was none."))),
        required("revoked_at", nullable(time("When it was revoked; null if it was not."))),
    }
    CloudEvent = "CloudEvent", "A `CloudEvent` 1.0, see <https://cloudevents.io>.", [], {
        required("specversion", one_of(["1.0"], "The version of the specification.")),
        required("id", string("The id of the event.")),
        required("source", string("The log: `/aegis/` and its id.")),
        required("type", string("The type of the event.").examples(["UserRegistered"])),
        required("subject", string("The id of the user concerned, or else the stream.")),
        required("time", time("When, in RFC 3339, UTC.")),
        required("datacontenttype", one_of(["application/json"], "The media type of `data`.")),
        required("position", integer("The position in the log: 1, 2, 3 … without gaps.")),
        required("epoch", integer("The epoch of the log: raised when it was restored from a backup.")),
        required("streamversion", integer("The version in the stream.")),
        required("schemaversion", small_integer("The version of the schema of the event type.")),
        required("actor", string("Who caused it.")),
        required("data", map(
            "The fields of the event. Subscribers do not get personal values; erased ones are left out, \
             and `erased` is true.")),
    }
    UserAt = "ShownUser",
        "A user, now or at an earlier point of the log. Personal values are null only there, if they were \
         erased since.", [], {
        required("id", string("A UUID, or the 24 hex digits of an imported `ObjectId`.")),
        required("email", nullable(email("The e-mail address; null if it was erased since."))),
        required("username", nullable(string("The username; null if it was erased since."))),
        required("is_active", boolean("Whether the user could log in.")),
        required("email_verified", boolean("Whether the user had proved to receive mail at the address.")),
        required("created_at", time("When the user registered: RFC 3339, UTC.")),
        required("roles", strings("The user's roles.")),
        required("version", integer("The version of the user's stream; also the `ETag`.")),
        required("position", integer("The position of the user's last event.")),
    }
    UserChange = "UserChange", "An event of a user, and the fields that it changed.", [FieldChange, ErasableText], {
        required("position", integer("The event's position in the log.")),
        required("version", integer("The event's version in the user's stream.")),
        required("type", string("The type of the event.").examples(["UserDeactivated"])),
        required("at", time("When: RFC 3339, UTC.")),
        required("actor", string("Who caused it.")),
        required("request_id", string("The id of the request that caused it, as in the logs.")),
        optional("reason", reference("ErasableText", "The reason, if one was given.")),
        required("changes", list("FieldChange", "The changed fields.")),
    }
    FieldChange = "FieldChange", "A field, before and after the event.", [FieldValue], {
        required("field",
            string("`email`, `email_verified`, `username`, `password`, `is_active`, `roles` or `is_locked`.")
                .examples(["is_active"])),
        optional("from", nullable_reference("FieldValue",
            "The value before; null if there was none. Left out for passwords.")),
        optional("to", reference("FieldValue", "The value after. Left out for passwords.")),
    }
    ErasedValue = "ErasedValue", "A personal value that was erased.", [], {
        required("erased", boolean("Always true.")),
    }
    PersonalRecord = "PersonalRecord", "All data stored about one person.",
        [UserAt, StoredPassword, UserChange, UserAction, LoginRecord, HeldSession, OwnedWebhook], {
        required("exported_at", time("When the export was created: RFC 3339, UTC.")),
        required("position", integer("The export covers the log up to this position.")),
        required("account", nullable_reference("ShownUser", "The account; null if it is erased.")),
        required("password",
            nullable_reference("KeptPassword", "How the password is stored; null if it is erased, or if there is none yet.")),
        required("events", list("UserChange",
            "The events of the account, oldest first. Actors other than the person are reduced to their \
             kind:\n`administrator`, `token`, `operator` or `system`.")),
        required("acts", list("Act", "What the person did to other accounts or to the service.")),
        required("logins", list("LoginRecord", "The person's logins, oldest first.")),
        required("sessions", list("HeldSession",
            "The person's open sessions at the time of the export, the last used one first.")),
        required("webhooks", list("HeldWebhook", "The person's webhooks.")),
    }
    LoginPage = "LoginPage", "A page of the logins of a user.", [LoginRecord], {
        required("logins", list("LoginRecord", "Newest first.")),
        optional("next", integer("The next page's `before`; left out of the last page.")),
    }
    LoginRecord = "LoginRecord", "A login, or failed logins of up to 15 minutes without one.", [], {
        required("number", integer("Counted from 1 for each user.")),
        required("position", integer("The event's position in the log.")),
        required("at", time("When: RFC 3339, UTC.")),
        required("succeeded", boolean("Whether the user logged in.")),
        optional("failures", integer(
            "Of a success: how many attempts failed before, since the last success or `count`.")),
        optional("reason", one_of(["wrong_password", "inactive_user"],
            "Of a failure: the password was wrong, or right and the user deactivated.")),
        optional("count", integer(
            "How many attempts failed, once none has for 15 minutes. Left out of the first failure.")),
        required("address", nullable(string("Where from; null if it is unknown or was erased."))),
        required("user_agent",
            nullable(string("What the client calls itself; null if it is unknown or was erased."))),
        required("request_id", string("The id of the request, as in the logs.")),
    }
    StoredPassword = "KeptPassword", "How the password is stored.", [], {
        required("hash", string(
            "The hash algorithm. The password itself is not stored, and its hash is never shown.",
        ).examples(["argon2id"])),
        required("set_at", time("When the password was set: RFC 3339, UTC.")),
    }
    UserAction = "Act",
        "An action of the person. Its target is left out, as another person's data.", [], {
        required("position", integer("The event's position in the log.")),
        required("at", time("When: RFC 3339, UTC.")),
        required("type", string("The type of the event.").examples(["UserDeactivated"])),
        required("request_id", string("The id of the request that caused the event, as in the logs.")),
    }
    HeldSession = "HeldSession", "An open session of the person.", [], {
        required("id", string("A UUID.")),
        required("created_at", time("When the person logged in: RFC 3339, UTC.")),
        required("last_used_at", time("When its tokens were last renewed: RFC 3339, UTC.")),
        required("expires_at", time("When it ends unless it is refreshed: RFC 3339, UTC.")),
        required("address", nullable(string("The address that the person logged in from; null if unknown."))),
        required("user_agent", nullable(string("What the client called itself; null if unknown."))),
    }
    OwnedWebhook = "HeldWebhook", "A webhook of the person.", [], {
        required("id", string("A UUID.")),
        required("url", string("Where events are delivered.")),
        required("types", strings("The event types; empty: all.")),
        required("description", nullable(string("The description that the person gave; null if none."))),
        required("created_at", time("When it was registered: RFC 3339, UTC.")),
    }
    Stats = "Stats", "Counts of users.", [DayStats], {
        required("registered", integer("Users who ever registered.")),
        required("active", integer("Users who are active now.")),
        required("deactivated", integer("Users who are deactivated now, and not erased.")),
        required("erased", integer("Users who were erased.")),
        required("position", integer("The position of the log up to which events are counted.")),
        required("days", list("DayStats", "The days with events, by date.")),
    }
    DayStats = "DayStats", "Counts of one day, in UTC.", [], {
        required("day", date("The date.")),
        required("registered", integer("Users who registered.")),
        required("deactivated", integer("Users who were deactivated.")),
        required("reactivated", integer("Users who were reactivated.")),
        required("erased", integer("Users who were erased.")),
        required("active", integer("Users who were active at the end of the day.")),
        required("logins", integer("Logins that succeeded, if they are recorded.")),
        required("failed_logins", integer("Logins that failed, if they are recorded.")),
    }
    ProjectionStatus = "ProjectionStatus", "A read model and its versions.", [VersionStatus], {
        required("name", string("The name of the read model.")),
        required("live", integer("The number of the live version, which queries read.")),
        optional("owner", string("The node whose projector holds the lease; left out if none does.")),
        required("head", integer("The head of the log.")),
        required("versions", list("VersionStatus", "The stored versions, by ascending number.")),
    }
    VersionStatus = "VersionStatus", "A version of a read model.", [], {
        required("version", integer("The number, with which the name of its table ends.")),
        required("fold", small_integer("The version of the projection code that computes its rows.")),
        required("role", string("`live`, `kept` (for a rollback), `building` or `dropping`.")),
        required("state", string(
            "`current`, `catching up`, `failing`, `halted`, `unknown` (this program lacks its projection \
             code) or\n`stopped` (no projector runs).")),
        optional("error", string("Why it is not current.")),
        required("position", integer("The position up to which events are applied.")),
        required("lag", integer("The number of events that are not applied yet.")),
        required("lag_seconds", number("The age of the oldest event that is not applied yet, in seconds.")),
        required("rate", integer("The current rate, in events per second.")),
        optional("percent", number("The progress of a rebuild, in percent.")),
        optional("eta_seconds",
            integer("The seconds until a rebuild reaches the head at the current rate.")),
        required("by", string("Who requested the version.")),
        required("since", time("When it was requested.")),
        optional("differed",
            boolean("Whether its rows differed from those of the version that it replaced.")),
    }
    WebhookStatus = "Webhook", "A webhook.", [FailingDelivery], {
        required("id", string("A UUID.")),
        required("owner", string("The id of the user who owns it.")),
        optional("url", string("Where events are delivered; left out if it is `unreadable`.")
            .examples(["https://example.com/events"])),
        required("types", strings("The event types that are delivered; empty: all.")),
        optional("description", string("What it is for.")),
        optional("batch", small_integer(
            "The largest number of events in one delivery; left out if each is delivered by itself.")),
        required("state", string(
            "`active`; `waiting`: deliveries continue once a read model includes the webhook or its owner;\n\
             `failing`: an event could not be delivered and is retried; `suspended`: nothing is delivered\n\
             until the webhook is resumed; `ahead_of_log`: the log was restored from a backup that ends\n\
             before the webhook's position; `unreadable`: it is damaged, or cannot be decrypted.",
        ).examples(["active"])),
        optional("suspended", string(
            "Why it is suspended: `failing` for three days, `gone` (the receiver answered 410), or \
             `owner` (the\nowner lost the right to read events).")),
        optional("waiting", string("The read model that deliveries wait for: `users` or `webhooks`.")),
        optional("unreadable", string("Why it is unreadable.")),
        optional("failing", reference("FailingDelivery", "The event that could not be delivered.")),
        required("position", integer("The delivery cursor: matching events up to this position are delivered.")),
        required("previous", integer("The position of the last delivered event.")),
        required("replays", integer("The number of pending replays.")),
        required("created_at",
            time("When it was registered: RFC 3339, UTC.").examples(["2026-11-22T08:03:14.680Z"])),
    }
    FailingDelivery = "FailingDelivery", "An event that could not be delivered.", [], {
        required("position", integer("The event's position in the log.")),
        required("since", time("When the first attempt failed.")),
        required("attempts", small_integer("The number of failed attempts.")),
        required("next_attempt_at", time("When the next attempt is due.")),
        required("error", string("Why the last attempt failed.")),
    }
    Attempt = "DeliveryAttempt", "One attempt to deliver one event, or a batch.", [], {
        required("number", integer("Counted from 1 for each webhook.")),
        required("at", time("When the attempt began.")),
        required("position", integer("The event's position in the log; of a batch, that of its first event.")),
        required("event", string("The event's id; of a batch, that of its first event.")),
        required("type", string("The type of the event; of a batch, that of its first event.")),
        optional("batch", small_integer("The number of events in the batch; left out if it is none.")),
        required("attempt", small_integer("The number of attempts for this event so far, this one included.")),
        required("replay", boolean("Whether the delivery is part of a replay.")),
        required("delivered", boolean("Whether the receiver accepted the event.")),
        required("status",
            nullable(small_integer("The HTTP status of the receiver's answer; null if there was none."))),
        required("error", nullable(string("Why the delivery failed; null if it succeeded."))),
        required("latency_ms", integer("The duration of the attempt in milliseconds.")),
    }
}

/// Names the schema of a value that was, or may be, erased.
enum ErasedValue {}
/// Names the schema of the text of a reason.
enum ErasableText {}
/// Names the schema of the value of a field in the history of a user.
enum FieldValue {}
/// Names the schema of the 422 for a key that was used before.
enum IdempotencyKeyReused {}

/// A type, the name of its schema, its description, the types that it refers to, and its alternatives.
macro_rules! alternatives {
    ($($type:ty = $name:literal, $description:literal, [$($nested:ty),*], [$($option:expr),*];)*) => {$(
        schema! {
            $type = $name, [$($nested),*],
            either([$($option.into()),*]).description(Some($description)).into()
        }
    )*};
}

alternatives! {
    ErasableText = "ErasableText", "A text, unless it was erased.", [ErasedValue], [
        string("The text."),
        Ref::from_schema_name("ErasedValue")
    ];
    FieldValue = "FieldValue", "The value of a field, unless it was erased.", [ErasedValue], [
        string("`email` and `username`."),
        boolean("`is_active`, `is_locked` and `email_verified`."),
        strings("`roles`."),
        Ref::from_schema_name("ErasedValue")
    ];
    NotReady = "NotReady", "The component that is not `ok`, or that too many requests are in progress.",
        [ReadyView], [Ref::from_schema_name("Readiness"), Ref::from_schema_name("ApiError")];
}

/// The bodies of error answers, which all operations share.
pub(super) fn errors() -> Schemas {
    let mut schemas = Vec::new();
    add::<ErrorBody<'_, str>>(&mut schemas);
    add::<ErrorBody<'_, [ValidationError]>>(&mut schemas);
    add::<IdempotencyKeyReused>(&mut schemas);
    schemas
}

/// Adds the schema of a type, and of those that it refers to.
fn add<T: ToSchema>(schemas: &mut Schemas) {
    schemas.push((T::name().into_owned(), T::schema()));
    T::schemas(schemas);
}
