use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::*;

const MIN_PASSWORD_LENGTH: usize = 12;
/// Any value of them is accepted: what is no entity tag matches nothing, and what is no preference is ignored.
const UNBOUNDED: [&str; 2] = ["If-None-Match", "Prefer"];

fn document() -> Value {
    let settings = HttpSettings {
        listen: String::new(),
        api_prefix: "/api/v1".to_owned(),
        project_name: "Aegis".to_owned(),
        cors_origins: Vec::new(),
        trusted_proxies: Vec::new(),
        max_connections: 16,
        metrics_listen: None,
        console: true,
    };
    let (_, mut document) = documented_routes(&settings);
    openapi::set_min_password_length(&mut document, MIN_PASSWORD_LENGTH);
    serde_json::from_str(&document.to_pretty_json().unwrap()).unwrap()
}

/// Every operation by method and path.
fn operations(document: &Value) -> BTreeMap<String, &Value> {
    let paths = document["paths"].as_object().unwrap().iter();
    let named = paths.flat_map(|(path, item)| {
        item.as_object()
            .unwrap()
            .iter()
            .map(move |(method, operation)| (format!("{method} {path}"), operation))
    });
    named.collect()
}

fn parameters(operation: &Value) -> impl Iterator<Item = &Value> {
    operation["parameters"].as_array().into_iter().flatten()
}

fn has_parameter(operation: &Value, name: &str) -> bool {
    parameters(operation).any(|parameter| parameter["name"] == name)
}

/// Every value below `value` under this key.
fn values<'a>(value: &'a Value, key: &str, found: &mut Vec<&'a Value>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                if name == key {
                    found.push(member);
                }
                values(member, key, found);
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| values(element, key, found)),
        _ => {}
    }
}

#[track_caller]
fn assert_text(value: &Value, what: &str) {
    assert!(value.as_str().is_some_and(|text| !text.trim().is_empty()), "{what} is not described");
}

#[test]
fn every_route_is_described() {
    let document = document();
    let operations = operations(&document);
    assert_eq!(operations.len(), 66);
    let mut ids = BTreeSet::new();
    for (name, operation) in operations {
        assert!(ids.insert(operation["operationId"].to_string()), "{name}: another operation has its id");
        assert_text(&operation["summary"], &name);
        assert_text(&operation["operationId"], &name);
        assert_text(&operation["tags"][0], &name);
        for parameter in parameters(operation) {
            assert_text(&parameter["description"], &format!("{name}: {}", parameter["name"]));
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert_text(&response["description"], &format!("{name}: {status}"));
        }
    }
}

#[test]
fn references_in_the_document_resolve() {
    let document = document();
    let mut references = Vec::new();
    values(&document, "$ref", &mut references);
    assert!(references.len() > 100, "{}", references.len());
    for reference in references {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some_and(Value::is_object), "no {reference}");
    }
}

#[test]
fn operations_describe_what_all_of_their_kind_answer() {
    let document = document();
    for (name, operation) in operations(&document) {
        let mut expected = vec!["500", "503"];
        if operation["responses"]["401"].is_object() {
            expected.extend(["403", "404", "422", "429"]);
            let security = operation["security"].as_array().unwrap();
            let is_optional = security.contains(&json!({}));
            assert!(has_parameter(operation, "Aegis-Min-Position") != is_optional, "{name}");
        }
        if operation["requestBody"].is_object() {
            expected.extend(["400", "408", "413", "422"]);
        }
        if operation["parameters"].is_array() {
            expected.push("422");
        }
        let is_keyed = has_parameter(operation, "Idempotency-Key");
        if is_keyed {
            expected.extend(["400", "408", "409", "410", "413", "422"]);
        }
        for status in expected {
            assert!(operation["responses"][status].is_object(), "{name} does not describe {status}");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            assert!(response["headers"]["X-Request-Id"].is_object(), "{name}: {status}");
            let schema = &response["content"]["application/json"]["schema"];
            let of_keys = schema.to_string().contains("IdempotencyKeyReused");
            assert_eq!(of_keys, is_keyed && status == "422", "{name}: {status}: {schema}");
            if matches!(status.as_str(), "429" | "503") {
                assert!(response["headers"]["Retry-After"].is_object(), "{name}: {status}");
            }
        }
    }
}

/// A client may rely on every value that the description allows, within the state of the service.
#[test]
fn parameters_are_bounded_and_never_null() {
    let document = document();
    for (name, operation) in operations(&document) {
        for parameter in parameters(operation) {
            let schema = &parameter["schema"];
            let options = schema["oneOf"].as_array().map_or(vec![schema], |options| options.iter().collect());
            for schema in options {
                let item = if schema["type"] == "array" { &schema["items"] } else { schema };
                let is_bounded = match item["type"].as_str() {
                    Some("integer") => item["minimum"].is_number() && item["maximum"].is_number(),
                    Some("string") => ["pattern", "enum", "format", "minLength"]
                        .iter()
                        .any(|rule| item[*rule] != json!(null)),
                    _ => false,
                };
                let is_unbounded = UNBOUNDED.iter().any(|name| parameter["name"] == *name);
                assert!(is_bounded || is_unbounded, "{name}: {parameter}");
            }
        }
    }
}

#[test]
fn fields_of_request_bodies_are_bounded() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    for name in [
        "SignUp",
        "NewUser",
        "IdentityChange",
        "PasswordChange",
        "EmailVerification",
        "ForgottenPassword",
        "PasswordReset",
        "ChangeReason",
        "Erasure",
        "NewWebhook",
        "Replay",
        "Rollback",
        "DropVersion",
        "Skip",
    ] {
        for (field, schema) in schemas[name]["properties"].as_object().unwrap() {
            let kind = schema["type"].to_string();
            let rules: &[&str] = if kind.contains("integer") {
                &["minimum", "maximum"]
            } else if kind.contains("array") {
                &["items"]
            } else if schema["enum"].is_array() {
                &[]
            } else {
                &["maxLength"]
            };
            for rule in rules {
                assert!(schema[*rule] != json!(null), "{name}.{field} has no {rule}: {schema}");
            }
        }
    }
    for (name, field) in [
        ("SignUp", "password"),
        ("NewUser", "password"),
        ("PasswordChange", "new_password"),
        ("PasswordReset", "new_password"),
    ] {
        assert_eq!(schemas[name]["properties"][field]["minLength"], MIN_PASSWORD_LENGTH);
    }
}

/// Generated clients name a variable after the schema, beside those of its fields.
#[test]
fn no_field_is_named_like_its_schema() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        for field in schema["properties"].as_object().into_iter().flat_map(|fields| fields.keys()) {
            assert_ne!(field.replace('_', ""), name.to_lowercase(), "{name}");
        }
    }
}

/// Generated clients make of an object without fields a type that holds nothing.
#[test]
fn objects_list_their_fields_or_say_that_they_have_others() {
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        let mut properties = vec![schema];
        values(schema, "items", &mut properties);
        let mut named = Vec::new();
        values(schema, "properties", &mut named);
        properties.extend(named.into_iter().flat_map(|fields| fields.as_object().unwrap().values()));
        for schema in
            properties.into_iter().filter(|schema| schema["type"].to_string().contains("\"object\""))
        {
            let is_known = schema["properties"].is_object() || schema["additionalProperties"] == true;
            assert!(is_known, "{name}: {schema}");
        }
    }
}

#[test]
fn values_in_a_history_have_types() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let reference = |name: &str| json!(format!("#/components/schemas/{name}"));
    assert_eq!(schemas["UserChange"]["properties"]["reason"]["$ref"], reference("ErasableText"));
    assert_eq!(schemas["FieldChange"]["properties"]["to"]["$ref"], reference("FieldValue"));
    let from = &schemas["FieldChange"]["properties"]["from"]["oneOf"];
    assert_eq!((&from[0]["$ref"], &from[1]["type"]), (&reference("FieldValue"), &json!("null")));
    let types = schemas["FieldValue"]["oneOf"].as_array().unwrap().iter();
    let types: Vec<_> = types.map(|option| option.get("type").unwrap_or(&option["$ref"])).collect();
    assert_eq!(types, [&json!("string"), &json!("boolean"), &json!("array"), &reference("ErasedValue")]);
}
