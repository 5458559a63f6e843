//! The schema of [`CloudEvent`], which is not an HTTP view: webhooks and the command line write the same
//! JSON.

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{KnownFormat, ObjectBuilder, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

use crate::cloud_event::CloudEvent;

impl ToSchema for CloudEvent {}

impl PartialSchema for CloudEvent {
    fn schema() -> RefOr<Schema> {
        let date_time = SchemaFormat::KnownFormat(KnownFormat::DateTime);
        let data = "The fields of the event. Subscribers do not get personal values; erased ones are left out, \
                    and `erased` is true.";
        let properties = [
            ("specversion", string("Always `1.0`.").examples(["1.0"])),
            ("id", string("The id of the event.")),
            ("source", string("The log: `/aegis/` and its id.")),
            ("type", string("The type of the event.").examples(["UserRegistered"])),
            ("subject", string("The id of the user concerned, or else the stream.")),
            ("time", string("When, in RFC 3339, UTC.").format(Some(date_time))),
            ("datacontenttype", string("Always `application/json`.")),
            ("position", integer(KnownFormat::Int64, "The position in the log: 1, 2, 3 … without gaps.")),
            ("streamversion", integer(KnownFormat::Int64, "The version in the stream.")),
            ("schemaversion", integer(KnownFormat::Int32, "The version of the schema of the event type.")),
            ("actor", string("Who caused it.")),
            ("data", property(Type::Object, data)),
        ];
        let description = "A `CloudEvent` 1.0, see <https://cloudevents.io>.";
        let schema = ObjectBuilder::new().schema_type(Type::Object).description(Some(description));
        let add = |schema: ObjectBuilder, (name, property)| schema.property(name, property).required(name);
        properties.into_iter().fold(schema, add).into()
    }
}

fn property(schema_type: Type, description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(schema_type).description(Some(description))
}

fn string(description: &str) -> ObjectBuilder {
    property(Type::String, description)
}

fn integer(format: KnownFormat, description: &str) -> ObjectBuilder {
    let integer = property(Type::Integer, description);
    integer.format(Some(SchemaFormat::KnownFormat(format))).minimum(Some(0))
}
