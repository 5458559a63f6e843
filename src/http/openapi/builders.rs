//! Building blocks of schemas, for what is documented by hand.

use utoipa::openapi::schema::{
    AdditionalProperties, ArrayBuilder, KnownFormat, Object, ObjectBuilder, OneOfBuilder, Schema,
    SchemaFormat, SchemaType, Type,
};
use utoipa::openapi::{Ref, RefOr};

/// The name of a field, whether it is always present, and its schema.
pub(crate) type Field = (&'static str, bool, RefOr<Schema>);

pub(crate) fn object<const N: usize>(description: &str, fields: [Field; N]) -> RefOr<Schema> {
    let object = property(Type::Object, description);
    let add = |object: ObjectBuilder, (name, is_required, schema)| {
        let object = object.property(name, schema);
        if is_required { object.required(name) } else { object }
    };
    fields.into_iter().fold(object, add).into()
}

pub(crate) fn required(name: &'static str, schema: impl Into<RefOr<Schema>>) -> Field {
    (name, true, schema.into())
}

pub(crate) fn optional(name: &'static str, schema: impl Into<RefOr<Schema>>) -> Field {
    (name, false, schema.into())
}

fn property(schema_type: Type, description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(schema_type).description(Some(description))
}

fn formatted(schema_type: Type, format: KnownFormat, description: &str) -> ObjectBuilder {
    property(schema_type, description).format(Some(SchemaFormat::KnownFormat(format)))
}

/// A value of any type.
pub(crate) fn any(description: &str) -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::AnyValue).description(Some(description))
}

/// An object with fields that are not listed.
pub(crate) fn map(description: &str) -> ObjectBuilder {
    property(Type::Object, description).additional_properties(Some(AdditionalProperties::FreeForm(true)))
}

pub(crate) fn string(description: &str) -> ObjectBuilder {
    property(Type::String, description)
}

/// A string that is always one of these.
pub(crate) fn one_of<'a>(values: impl IntoIterator<Item = &'a str>, description: &str) -> ObjectBuilder {
    string(description).enum_values(Some(values))
}

/// Addresses and their domains may contain any letters.
pub(crate) fn email(description: &str) -> ObjectBuilder {
    formatted(Type::String, KnownFormat::IdnEmail, description)
}

pub(crate) fn password(description: &str) -> ObjectBuilder {
    formatted(Type::String, KnownFormat::Password, description)
}

pub(crate) fn date(description: &str) -> ObjectBuilder {
    formatted(Type::String, KnownFormat::Date, description)
}

pub(crate) fn time(description: &str) -> ObjectBuilder {
    formatted(Type::String, KnownFormat::DateTime, description)
}

pub(crate) fn boolean(description: &str) -> ObjectBuilder {
    property(Type::Boolean, description)
}

/// A whole number that is not negative, as all are here.
pub(crate) fn integer(description: &str) -> ObjectBuilder {
    formatted(Type::Integer, KnownFormat::Int64, description).minimum(Some(0))
}

pub(crate) fn small_integer(description: &str) -> ObjectBuilder {
    formatted(Type::Integer, KnownFormat::Int32, description).minimum(Some(0))
}

pub(crate) fn number(description: &str) -> ObjectBuilder {
    formatted(Type::Number, KnownFormat::Double, description)
}

pub(crate) fn strings(description: &str) -> ArrayBuilder {
    ArrayBuilder::new().items(Object::with_type(Type::String)).description(Some(description))
}

pub(crate) fn list(items: &str, description: &str) -> ArrayBuilder {
    ArrayBuilder::new().items(Ref::from_schema_name(items)).description(Some(description))
}

pub(crate) fn reference(name: &str, description: &str) -> Ref {
    Ref::builder().ref_location_from_schema_name(name).description(Some(description)).build()
}

/// A field that is always present, and may be null. A field that is left out instead is [`optional`].
pub(crate) fn nullable(schema: ObjectBuilder) -> Object {
    let mut schema = schema.build();
    if let SchemaType::Type(schema_type) = schema.schema_type {
        schema.schema_type = SchemaType::from_iter([schema_type, Type::Null]);
    }
    schema
}

pub(crate) fn nullable_reference(name: &str, description: &str) -> OneOfBuilder {
    let options = either([Ref::from_schema_name(name).into(), Object::with_type(Type::Null).into()]);
    options.description(Some(description))
}

/// Exactly one of these, which exclude each other.
pub(crate) fn either<const N: usize>(options: [RefOr<Schema>; N]) -> OneOfBuilder {
    options.into_iter().fold(OneOfBuilder::new(), OneOfBuilder::item)
}
