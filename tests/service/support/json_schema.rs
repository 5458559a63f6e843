//! Validates JSON against the schemas of the API's description. Only the keywords that they use are known; any
//! other one is an error.

use serde_json::{Value, json};

/// Keywords that do not restrict values, or that this does not check.
const IGNORED: [&str; 7] =
    ["description", "examples", "format", "pattern", "minLength", "maxLength", "maximum"];

pub(crate) struct JsonSchema<'a> {
    document: &'a Value,
}

impl<'a> JsonSchema<'a> {
    pub(crate) fn of(document: &'a Value) -> Self {
        Self { document }
    }

    /// What is wrong with `value`; nothing if it conforms.
    pub(crate) fn violations(&self, schema: &Value, value: &Value) -> Vec<String> {
        let keywords = schema.as_object().unwrap().iter();
        let of_keyword = |(keyword, rule): (&String, &Value)| match keyword.as_str() {
            "$ref" => self.violations(self.resolve(rule), value),
            "type" => violated(!has_type(rule, value), || format!("{value} is no {rule}")),
            "enum" => {
                violated(!rule.as_array().unwrap().contains(value), || format!("{value} is none of {rule}"))
            }
            "required" => rule.as_array().unwrap().iter().flat_map(|name| missing(name, value)).collect(),
            "properties" => self.of_members(rule, schema, value),
            "additionalProperties" => Vec::new(),
            "items" => {
                let elements = value.as_array().into_iter().flatten();
                elements.flat_map(|element| self.violations(rule, element)).collect()
            }
            "oneOf" => {
                let options = rule.as_array().unwrap().iter();
                let matching = options.filter(|option| self.violations(option, value).is_empty()).count();
                violated(matching != 1, || format!("{value} matches {matching} of {rule}"))
            }
            "allOf" => {
                let all = rule.as_array().unwrap().iter();
                all.flat_map(|part| self.violations(part, value)).collect()
            }
            "minimum" => {
                let is_less = value.as_i64().is_some_and(|number| number < rule.as_i64().unwrap());
                violated(is_less, || format!("{value} is less than {rule}"))
            }
            "minItems" => {
                let is_short =
                    value.as_array().is_some_and(|list| json!(list.len()).as_u64() < rule.as_u64());
                violated(is_short, || format!("{value} is too short"))
            }
            other => violated(!IGNORED.contains(&other), || format!("unknown keyword {other}")),
        };
        keywords.flat_map(of_keyword).collect()
    }

    /// A member that the schema does not list is undocumented. `allOf` lists members in several schemas.
    fn of_members(&self, properties: &Value, schema: &Value, value: &Value) -> Vec<String> {
        let members = value.as_object().into_iter().flatten();
        let of_member = |(name, member): (&String, &Value)| match properties.get(name) {
            Some(schema) => self.violations(schema, member),
            None => violated(schema["additionalProperties"] != true && !self.is_part(properties), || {
                format!("undocumented: {name}")
            }),
        };
        members.flat_map(of_member).collect()
    }

    /// Whether these properties are one part of a schema with `allOf`.
    fn is_part(&self, properties: &Value) -> bool {
        let schemas = self.document["components"]["schemas"].as_object().unwrap().values();
        let mut composed = schemas.filter_map(|schema| schema["allOf"].as_array()).flatten();
        composed.any(|part| {
            part["properties"] == *properties
                || part.get("$ref").is_some_and(|name| self.resolve(name)["properties"] == *properties)
        })
    }

    fn resolve(&self, reference: &Value) -> &'a Value {
        let pointer = reference.as_str().unwrap().strip_prefix('#').unwrap();
        self.document.pointer(pointer).unwrap_or_else(|| panic!("no {reference}"))
    }
}

fn violated(is_violated: bool, text: impl FnOnce() -> String) -> Vec<String> {
    if is_violated { vec![text()] } else { Vec::new() }
}

fn missing(name: &Value, value: &Value) -> Vec<String> {
    let is_missing = value.as_object().is_some_and(|members| !members.contains_key(name.as_str().unwrap()));
    violated(is_missing, || format!("missing: {name}"))
}

fn has_type(expected: &Value, value: &Value) -> bool {
    let is = |expected: &Value| match expected.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("unknown type {other}"),
    };
    expected.as_array().map_or_else(|| is(expected), |options| options.iter().any(is))
}
