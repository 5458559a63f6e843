//! Validates a record. Users who exist elsewhere keep their usernames: the policy for new ones does not apply.

use std::collections::BTreeSet;

use base64::prelude::{BASE64_STANDARD, Engine};
use domain::{EmailAddress, Moment, PasswordHash, Role, UserId, Username};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::refusal::{HashProblem, NoticeReason};
use super::times;
use crate::command::UserToImport;
use crate::crypto::{StoredHash, UnsupportedHash};

const ID_FORM: &str = "an ObjectId or a UUID; leave it out to give the user a new one";
const TIME_FORM: &str = "a time such as 2024-05-01T12:00:00Z";

/// What is not in the records.
#[derive(Clone, Copy, Debug)]
pub(super) struct RecordRules {
    /// A user whose hash cannot be used is imported without a password.
    pub(super) without_password: bool,
    /// The time of registration of users without one.
    pub(super) now: Moment,
}

/// A valid record, and what is to be reported about it if it is imported.
pub(super) struct ValidRecord {
    pub(super) user: UserToImport,
    pub(super) hash_problem: Option<HashProblem>,
}

impl RecordRules {
    pub(super) fn validate(self, fields: &Map<String, Value>) -> Result<ValidRecord, NoticeReason> {
        let id = present(fields, &["_id", "id"]).map(id).transpose()?;
        let email = text(fields, "email")?;
        let email = EmailAddress::parse(email).map_err(NoticeReason::InvalidEmail)?;
        let username = text(fields, "username")?;
        let username = Username::parse_existing(username).map_err(NoticeReason::InvalidUsername)?;
        let is_active = present(fields, &["is_active"]).map(boolean).transpose()?.unwrap_or(true);
        let created_at = present(fields, &["created_at"]).map(created_at).transpose()?;
        let created_at = created_at.or_else(|| id.and_then(times::of_object_id)).unwrap_or(self.now);
        let roles = present(fields, &["roles"]).map(roles).transpose()?.unwrap_or_default();
        let (password_hash, hash_problem) = match password_hash(fields)? {
            Ok(hash) => (Some(hash), None),
            Err(problem) if self.without_password => (None, Some(problem)),
            Err(problem) => return Err(NoticeReason::PasswordHash(problem)),
        };
        let user = UserToImport { id, email, username, password_hash, is_active, created_at, roles };
        Ok(ValidRecord { user, hash_problem })
    }
}

/// The e-mail address as written, for reports.
pub(super) fn email_text(fields: &Map<String, Value>) -> Option<String> {
    fields.get("email")?.as_str().map(ToOwned::to_owned)
}

/// The text of an id, also in MongoDB's Extended JSON.
pub(super) fn id_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) if object.len() == 1 => {
            if let Some(binary) = object.get("$binary") {
                return binary_uuid(binary);
            }
            object.get("$oid").or_else(|| object.get("$uuid"))?.as_str().map(ToOwned::to_owned)
        }
        Value::Null => None,
        other => Some(other.to_string()),
    }
}

/// A UUID as `mongoexport` writes it, with the base64 of its bytes. The bytes of other subtypes have another order.
fn binary_uuid(binary: &Value) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(binary.get("base64")?.as_str()?).ok()?;
    let uuid = Uuid::from_slice(&bytes).ok()?;
    let is_uuid = binary.get("subType")?.as_str()?.trim_start_matches('0') == "4";
    is_uuid.then(|| uuid.hyphenated().to_string())
}

/// The first field of these names that has a value.
fn present<'a>(fields: &'a Map<String, Value>, names: &[&str]) -> Option<&'a Value> {
    names.iter().filter_map(|name| fields.get(*name)).find(|value| !value.is_null())
}

fn text<'a>(fields: &'a Map<String, Value>, field: &'static str) -> Result<&'a str, NoticeReason> {
    let text = present(fields, &[field]).and_then(Value::as_str);
    text.ok_or(NoticeReason::Field { field, expected: "a text" })
}

fn id(value: &Value) -> Result<UserId, NoticeReason> {
    let text = id_text(value).and_then(|text| UserId::parse(&text).ok());
    text.ok_or(NoticeReason::Field { field: "id", expected: ID_FORM })
}

fn boolean(value: &Value) -> Result<bool, NoticeReason> {
    let text = match value {
        Value::Bool(is) => return Ok(*is),
        Value::String(text) => text.trim().to_ascii_lowercase(),
        other => other.to_string(),
    };
    match text.as_str() {
        "true" | "t" | "1" | "yes" => Ok(true),
        "false" | "f" | "0" | "no" => Ok(false),
        _ => Err(NoticeReason::Field { field: "is_active", expected: "true or false" }),
    }
}

fn created_at(value: &Value) -> Result<Moment, NoticeReason> {
    times::moment(value).ok_or(NoticeReason::Field { field: "created_at", expected: TIME_FORM })
}

/// A list, or a text with commas between the roles.
fn roles(value: &Value) -> Result<BTreeSet<Role>, NoticeReason> {
    let expected = || NoticeReason::Field { field: "roles", expected: "a list of roles" };
    let names: Vec<_> = match value {
        Value::String(text) => text.split(',').map(str::trim).filter(|name| !name.is_empty()).collect(),
        Value::Array(names) => {
            names.iter().map(Value::as_str).collect::<Option<Vec<_>>>().ok_or_else(expected)?
        }
        _ => return Err(expected()),
    };
    names.into_iter().map(|name| name.parse().map_err(|_| NoticeReason::UnknownRole)).collect()
}

/// The hash, if passwords can be verified with it.
fn password_hash(fields: &Map<String, Value>) -> Result<Result<PasswordHash, HashProblem>, NoticeReason> {
    let Some(value) = present(fields, &["password_hash", "hashed_password"]) else {
        return Ok(Err(HashProblem::Missing));
    };
    let text = value.as_str().ok_or(NoticeReason::Field { field: "password_hash", expected: "a text" })?;
    if text.is_empty() {
        return Ok(Err(HashProblem::Missing));
    }
    // The second check fails for nothing that the first accepts.
    let hash = StoredHash::parse(text)
        .and_then(|_| PasswordHash::new(text.to_owned()).map_err(|_| UnsupportedHash::UnknownForm));
    Ok(hash.map_err(HashProblem::Unsupported))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const HASH: &str = include_str!("../crypto/hashes/argon2_cffi_hash.txt");
    const ID: &str = "65a1b2c3d4e5f60718293a4b";

    fn rules() -> RecordRules {
        RecordRules { without_password: false, now: Moment::from_millisecond(7).unwrap() }
    }

    /// A valid record with other fields in addition, or in their place.
    fn record(other: &Value) -> Map<String, Value> {
        let fields = json!({"email": "Ada@example.com", "username": " ada ", "password_hash": HASH.trim()});
        let mut fields = fields.as_object().unwrap().clone();
        fields.extend(other.as_object().unwrap().clone());
        fields
    }

    #[track_caller]
    fn user(other: &Value) -> UserToImport {
        rules().validate(&record(other)).map_or_else(|refused| panic!("{refused}"), |valid| valid.user)
    }

    #[track_caller]
    fn refusal(other: &Value) -> NoticeReason {
        rules().validate(&record(other)).err().expect("a refusal")
    }

    #[test]
    fn optional_fields_have_defaults() {
        let ada =
            user(&json!({"id": null, "is_active": null, "created_at": null, "roles": null, "other": 7}));
        assert_eq!((ada.id, ada.is_active, ada.created_at), (None, true, rules().now));
        assert_eq!((ada.email.as_str(), ada.username.as_str()), ("Ada@example.com", "ada"));
        assert!(ada.roles.is_empty() && ada.password_hash.is_some());
    }

    #[test]
    fn ids_are_kept_and_date_users_without_a_time() {
        for id in [json!({"_id": {"$oid": ID}}), json!({"id": ID}), json!({"_id": ID})] {
            let ada = user(&id);
            assert_eq!(ada.id.unwrap().to_string(), ID);
            assert_eq!(ada.created_at.to_string(), "2024-01-12T21:44:35.000Z");
        }
        let uuid = "01930000-0000-7000-8000-00000000002a";
        assert_eq!(user(&json!({"_id": {"$uuid": uuid}})).id.unwrap().to_string(), uuid);
        let binary = |base64: &str, subtype: &str| json!({"$binary": {"base64": base64, "subType": subtype}});
        let exported = binary("AZMAAAAAcACAAAAAAAAAKg==", "04");
        assert_eq!(user(&json!({"_id": exported})).id.unwrap().to_string(), uuid);
        let (legacy, short) = (binary("AZMAAAAAcACAAAAAAAAAKg==", "03"), binary("AZMAAAAA", "04"));
        let others =
            [json!(7), json!("ada"), json!({"$unsupported": true}), json!(""), json!({"$binary": {}})];
        for other in others.into_iter().chain([legacy, short]) {
            assert!(
                matches!(refusal(&json!({"id": other})), NoticeReason::Field { field: "id", .. }),
                "{other}"
            );
        }
    }

    #[test]
    fn states_and_roles_have_the_spellings_of_other_systems() {
        for (value, is_active) in
            [(json!("t"), true), (json!("False"), false), (json!(0), false), (json!("1"), true)]
        {
            assert_eq!(user(&json!({"is_active": value})).is_active, is_active);
        }
        assert!(matches!(
            refusal(&json!({"is_active": "maybe"})),
            NoticeReason::Field { field: "is_active", .. }
        ));
        let both = BTreeSet::from([Role::Admin, Role::Auditor]);
        for roles in [json!(["admin", "auditor"]), json!("auditor, admin")] {
            assert_eq!(user(&json!({"roles": roles})).roles, both);
        }
        assert_eq!(refusal(&json!({"roles": ["king"]})), NoticeReason::UnknownRole);
        assert!(matches!(refusal(&json!({"roles": [7]})), NoticeReason::Field { field: "roles", .. }));
    }

    #[test]
    fn existing_usernames_need_not_follow_the_policy_for_new_ones() {
        for name in ["аda", "O´Brien", "ada 🦀"] {
            user(&json!({"username": name}));
        }
        let too_long = "x".repeat(65);
        for name in ["", "a\u{202E}b", too_long.as_str()] {
            assert!(
                matches!(refusal(&json!({"username": name})), NoticeReason::InvalidUsername(_)),
                "{name}"
            );
        }
        assert!(matches!(refusal(&json!({"username": null})), NoticeReason::Field { field: "username", .. }));
    }

    #[test]
    fn unusable_hash_is_refused_or_left_out() {
        let too_costly = "$argon2id$v=19$m=4194304,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAA";
        let too_long = "x".repeat(2000);
        let unsupported = |text: &str| HashProblem::Unsupported(StoredHash::parse(text).err().unwrap());
        assert!(matches!(
            unsupported(too_costly),
            HashProblem::Unsupported(UnsupportedHash::TooCostly { cost: _, found: 4_194_304, limit: _ })
        ));
        for (hash, problem) in [
            (json!(null), HashProblem::Missing),
            (json!(""), HashProblem::Missing),
            (json!("!unusable"), HashProblem::Unsupported(UnsupportedHash::UnknownForm)),
            (json!(too_costly), unsupported(too_costly)),
            (json!(too_long), unsupported(&too_long)),
        ] {
            let other = json!({"password_hash": hash});
            assert_eq!(refusal(&other), NoticeReason::PasswordHash(problem.clone()));
            let lenient = RecordRules { without_password: true, ..rules() };
            let valid = lenient.validate(&record(&other)).ok().unwrap();
            assert_eq!((valid.user.password_hash, valid.hash_problem), (None, Some(problem)));
        }
        let legacy = json!({"password_hash": null, "hashed_password": HASH.trim()});
        assert!(user(&legacy).password_hash.is_some());
        assert!(matches!(refusal(&json!({"password_hash": 7})), NoticeReason::Field { .. }));
    }

    #[test]
    fn messages_repeat_no_personal_data() {
        let address = refusal(&json!({"email": "ada.lovelace@localhost"}));
        assert!(!address.to_string().contains("lovelace"), "{address}");
        let renamed = NoticeReason::Renamed(Username::from_stored("lovelace-2"));
        assert!(!renamed.to_string().contains("lovelace"), "{renamed}");
    }
}
