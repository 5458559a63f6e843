//! The schemas of what queries, webhooks and the event log answer with. They are serialised as they are, for
//! the command line too, so their JSON is documented here instead of on a second set of types.

use std::borrow::Cow;

use utoipa::openapi::schema::{
    ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, Schema, SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};
use utoipa::{PartialSchema, ToSchema};

use super::api_error::{ErrorBody, ValidationError};
use super::webhooks::deliveries::Attempt;
use crate::cloud_event::CloudEvent;
use crate::query::projections::{ProjectionStatus, VersionStatus};
use crate::query::{
    DayStats, FieldChange, OwnedWebhook, PersonalRecord, Stats, StoredPassword, UserAction, UserAt,
    UserChange,
};
use crate::webhooks::{FailingDelivery, WebhookStatus};

/// A type, the name of its schema, its description, the types that it refers to, and its fields.
macro_rules! schemas {
    ($($type:ty = $name:literal, $description:literal, [$($nested:ty),*], { $($field:expr,)* })*) => {$(
        impl ToSchema for $type {
            fn name() -> Cow<'static, str> {
                Cow::Borrowed($name)
            }

            fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
                schemas.extend([$((<$nested>::name().into_owned(), <$nested>::schema())),*]);
                $(<$nested>::schemas(schemas);)*
            }
        }

        impl PartialSchema for $type {
            fn schema() -> RefOr<Schema> {
                object($description, [$($field),*])
            }
        }
    )*};
}

schemas! {
    ErrorBody<'_, str> = "Error", "An error answer.", [], {
        required("detail", string("A message for people.")),
        optional("error", nullable(string("Failed logins only: the error code of RFC 6749."))),
        optional("error_description", nullable(string("Failed logins only."))),
        required("code", string("A stable code for programs.").examples(["email_taken"])),
        required("request_id", string("The id in the header `X-Request-Id` and in the logs.")),
    }
    ErrorBody<'_, [ValidationError]> = "ValidationError",
        "The answer to a request with invalid fields, parameters or headers.", [ValidationError], {
        required("detail", list("Fault", "One entry per error.")),
        optional("error", nullable(string("Logins only: the error code of RFC 6749."))),
        optional("error_description", nullable(string("Logins only."))),
        required("code", string("A stable code for programs.").examples(["validation_error"])),
        required("request_id", string("The id in the header `X-Request-Id` and in the logs.")),
    }
    CloudEvent = "CloudEvent", "A `CloudEvent` 1.0, see <https://cloudevents.io>.", [], {
        required("specversion", string("Always `1.0`.").examples(["1.0"])),
        required("id", string("The id of the event.")),
        required("source", string("The log: `/aegis/` and its id.")),
        required("type", string("The type of the event.").examples(["UserRegistered"])),
        required("subject", string("The id of the user concerned, or else the stream.")),
        required("time", time("When, in RFC 3339, UTC.")),
        required("datacontenttype", string("Always `application/json`.")),
        required("position", u64("The position in the log: 1, 2, 3 … without gaps.")),
        required("epoch", u64("The epoch of the log: raised when it was restored from a backup.")),
        required("streamversion", u64("The version in the stream.")),
        required("schemaversion", u32("The version of the schema of the event type.")),
        required("actor", string("Who caused it.")),
        required("data", property(Type::Object,
            "The fields of the event. Subscribers do not get personal values; erased ones are left out, \
             and `erased` is true.")),
    }
    UserAt = "PastUser",
        "A user at an earlier point of the log. Personal values that were erased since are null.", [], {
        required("id", string("A UUID, or the 24 hex digits of an imported `ObjectId`.")),
        optional("email", nullable(email("The e-mail address at that point; null if it was erased since."))),
        optional("username", nullable(string("The username at that point; null if it was erased since."))),
        required("is_active", boolean("Whether the user could log in.")),
        required("created_at", time("When the user registered: RFC 3339, UTC.")),
        required("roles", strings("The user's roles at that point.")),
        required("version", u64("The version of the user's stream at that point.")),
        required("position", u64("The position of the user's last event at that point.")),
    }
    UserChange = "UserChange", "An event of a user, and the fields that it changed.", [FieldChange], {
        required("position", u64("The event's position in the log.")),
        required("version", u64("The event's version in the user's stream.")),
        required("type", string("The type of the event.").examples(["UserDeactivated"])),
        required("at", time("When: RFC 3339, UTC.")),
        required("actor", string("Who caused it.")),
        required("request_id", string("The id of the request that caused it, as in the logs.")),
        optional("reason", property(Type::Object,
            "The reason, if one was given: text, or `{\"erased\": true}` after an erasure.")),
        required("changes", list("FieldChange", "The changed fields.")),
    }
    FieldChange = "FieldChange",
        "A field, before and after the event. Erased values are `{\"erased\": true}`.", [], {
        required("field", string("`email`, `username`, `password`, `is_active` or `roles`.")),
        optional("from", nullable(property(Type::Object,
            "The value before; null if there was none. Left out for passwords."))),
        optional("to", nullable(property(Type::Object, "The value after. Left out for passwords."))),
    }
    PersonalRecord = "PersonalRecord", "All data stored about one person.",
        [UserAt, StoredPassword, UserChange, UserAction, OwnedWebhook], {
        required("exported_at", time("When the export was created: RFC 3339, UTC.")),
        required("position", u64("The export covers the log up to this position.")),
        optional("account", nullable_reference("PastUser", "The account; null if it is erased.")),
        optional("password",
            nullable_reference("KeptPassword", "How the password is stored; null if it is erased.")),
        required("events", list("UserChange",
            "The events of the account, oldest first. Actors other than the person are reduced to their \
             kind:\n`administrator`, `token`, `operator` or `system`.")),
        required("acts", list("Act", "What the person did to other accounts or to the service.")),
        required("webhooks", list("HeldWebhook", "The person's webhooks.")),
    }
    StoredPassword = "KeptPassword", "How the password is stored.", [], {
        required("hash", string(
            "The hash algorithm. The password itself is not stored, and its hash is never shown.",
        ).examples(["argon2id"])),
        required("set_at", time("When the password was set: RFC 3339, UTC.")),
    }
    UserAction = "Act",
        "An action of the person. Its target is left out, as another person's data.", [], {
        required("position", u64("The event's position in the log.")),
        required("at", time("When: RFC 3339, UTC.")),
        required("type", string("The type of the event.").examples(["UserDeactivated"])),
        required("request_id", string("The id of the request that caused the event, as in the logs.")),
    }
    OwnedWebhook = "HeldWebhook", "A webhook of the person.", [], {
        required("id", string("A UUID.")),
        required("url", string("Where events are delivered.")),
        required("types", strings("The event types; empty: all.")),
        optional("description", nullable(string("The description that the person gave; null if none."))),
        required("created_at", time("When it was registered: RFC 3339, UTC.")),
    }
    Stats = "Stats", "Counts of users.", [DayStats], {
        required("registered", i64("Users who ever registered.")),
        required("active", i64("Users who are active now.")),
        required("deactivated", i64("Users who are deactivated now, and not erased.")),
        required("erased", i64("Users who were erased.")),
        required("position", u64("The position of the log up to which events are counted.")),
        required("days", list("DayStats", "The days with events, by date.")),
    }
    DayStats = "DayStats", "Counts of one day, in UTC.", [], {
        required("day", string("The date.").format(Some(SchemaFormat::KnownFormat(KnownFormat::Date)))),
        required("registered", i64("Users who registered.")),
        required("deactivated", i64("Users who were deactivated.")),
        required("reactivated", i64("Users who were reactivated.")),
        required("erased", i64("Users who were erased.")),
        required("active", i64("Users who were active at the end of the day.")),
    }
    ProjectionStatus = "ProjectionStatus", "A read model and its versions.", [VersionStatus], {
        required("name", string("The name of the read model.")),
        required("live", u64("The number of the live version, which queries read.")),
        optional("owner",
            nullable(string("The node whose projector holds the lease; left out if none does."))),
        required("head", u64("The head of the log.")),
        required("versions", list("VersionStatus", "The stored versions, by ascending number.")),
    }
    VersionStatus = "VersionStatus", "A version of a read model.", [], {
        required("version", u64("The number, with which the name of its table ends.")),
        required("fold", u32("The version of the projection code that computes its rows.")),
        required("role", string("`live`, `kept` (for a rollback), `building` or `dropping`.")),
        required("state", string(
            "`current`, `catching up`, `failing`, `halted`, `unknown` (this program lacks its projection \
             code) or\n`stopped` (no projector runs).")),
        optional("error", nullable(string("Why it is not current."))),
        required("position", u64("The position up to which events are applied.")),
        required("lag", u64("The number of events that are not applied yet.")),
        required("lag_seconds", f64("The age of the oldest event that is not applied yet, in seconds.")),
        required("rate", u64("The current rate, in events per second.")),
        optional("percent", nullable(f64("The progress of a rebuild, in percent."))),
        optional("eta_seconds",
            nullable(u64("The seconds until a rebuild reaches the head at the current rate."))),
        required("by", string("Who requested the version.")),
        required("since", time("When it was requested.")),
        optional("differed",
            nullable(boolean("Whether its rows differed from those of the version that it replaced."))),
    }
    WebhookStatus = "Webhook", "A webhook.", [FailingDelivery], {
        required("id", string("A UUID.")),
        required("owner", string("The id of the user who owns it.")),
        optional("url", string("Where events are delivered; left out if it is `unreadable`.")
            .examples(["https://example.com/events"])),
        required("types", strings("The event types that are delivered; empty: all.")),
        optional("description", string("What it is for.")),
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
        required("position", u64("The delivery cursor: matching events up to this position are delivered.")),
        required("previous", u64("The position of the last delivered event.")),
        required("replays", property(Type::Integer, "The number of pending replays.").minimum(Some(0))),
        required("created_at",
            time("When it was registered: RFC 3339, UTC.").examples(["2026-11-22T08:03:14.680Z"])),
    }
    FailingDelivery = "FailingDelivery", "An event that could not be delivered.", [], {
        required("position", u64("The event's position in the log.")),
        required("since", time("When the first attempt failed.")),
        required("attempts", u32("The number of failed attempts.")),
        required("next_attempt_at", time("When the next attempt is due.")),
        required("error", string("Why the last attempt failed.")),
    }
    Attempt = "DeliveryAttempt", "One attempt to deliver one event.", [], {
        required("number", u64("Counted from 1 for each webhook.")),
        required("at", time("When the attempt began.")),
        required("position", u64("The event's position in the log.")),
        required("event", string("The event's id, which is also the header `webhook-id`.")),
        required("type", string("The type of the event.")),
        required("attempt", u32("The number of attempts for this event so far, this one included.")),
        required("replay", boolean("Whether the delivery is part of a replay.")),
        required("delivered", boolean("Whether the receiver accepted the event.")),
        optional("status",
            nullable(u32("The HTTP status of the receiver's answer; null if there was none."))),
        optional("error", nullable(string("Why the delivery failed; null if it succeeded."))),
        required("latency_ms", u64("The duration of the attempt in milliseconds.")),
    }
}

/// The name of a field, whether it is always present, and its schema.
type Field = (&'static str, bool, RefOr<Schema>);

fn object<const N: usize>(description: &str, fields: [Field; N]) -> RefOr<Schema> {
    let object = property(Type::Object, description);
    let add = |object: ObjectBuilder, (name, is_required, schema)| {
        let object = object.property(name, schema);
        if is_required { object.required(name) } else { object }
    };
    fields.into_iter().fold(object, add).into()
}

fn required(name: &'static str, schema: impl Into<RefOr<Schema>>) -> Field {
    (name, true, schema.into())
}

fn optional(name: &'static str, schema: impl Into<RefOr<Schema>>) -> Field {
    (name, false, schema.into())
}

fn property(schema_type: Type, description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(schema_type).description(Some(description))
}

fn formatted(schema_type: Type, format: KnownFormat, description: &str) -> ObjectBuilder {
    property(schema_type, description).format(Some(SchemaFormat::KnownFormat(format)))
}

fn string(description: &str) -> ObjectBuilder {
    property(Type::String, description)
}

fn email(description: &str) -> ObjectBuilder {
    formatted(Type::String, KnownFormat::Email, description)
}

fn time(description: &str) -> ObjectBuilder {
    formatted(Type::String, KnownFormat::DateTime, description)
}

fn boolean(description: &str) -> ObjectBuilder {
    property(Type::Boolean, description)
}

fn i64(description: &str) -> ObjectBuilder {
    formatted(Type::Integer, KnownFormat::Int64, description)
}

fn u64(description: &str) -> ObjectBuilder {
    i64(description).minimum(Some(0))
}

fn u32(description: &str) -> ObjectBuilder {
    formatted(Type::Integer, KnownFormat::Int32, description).minimum(Some(0))
}

fn f64(description: &str) -> ObjectBuilder {
    formatted(Type::Number, KnownFormat::Double, description)
}

fn strings(description: &str) -> ArrayBuilder {
    ArrayBuilder::new().items(Object::with_type(Type::String)).description(Some(description))
}

fn list(items: &str, description: &str) -> ArrayBuilder {
    ArrayBuilder::new().items(Ref::from_schema_name(items)).description(Some(description))
}

fn reference(name: &str, description: &str) -> Ref {
    Ref::builder().ref_location_from_schema_name(name).description(Some(description)).build()
}

fn nullable(schema: ObjectBuilder) -> Object {
    let mut schema = schema.build();
    if let SchemaType::Type(schema_type) = schema.schema_type {
        schema.schema_type = SchemaType::from_iter([schema_type, Type::Null]);
    }
    schema
}

fn nullable_reference(name: &str, description: &str) -> OneOfBuilder {
    OneOfBuilder::new().item(reference(name, description)).item(Object::with_type(Type::Null))
}
