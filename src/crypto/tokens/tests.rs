//! Valid, forged, confused and foreign tokens.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use store::{Clock, Entropy, FIRST_EPOCH};

use super::*;
use crate::config::Secret;

pub(in crate::crypto) struct Fixed(pub(in crate::crypto) Mutex<Timestamp>);
impl Clock for Fixed {
    fn now(&self) -> Timestamp {
        *self.0.lock().unwrap()
    }
}
impl Entropy for Fixed {
    fn fill(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }
}

pub(in crate::crypto) const KEY: &str = "0123456789abcdef0123456789abcdef";

pub(in crate::crypto) fn settings(key: &str) -> TokenSettings {
    TokenSettings {
        secret_key: Some(Secret::new(key.to_owned())),
        previous_key: None,
        algorithm: Algorithm::HS256,
        previous_algorithm: None,
        lifetime: Duration::from_hours(1),
    }
}

pub(in crate::crypto) fn at(second: i64) -> (Arc<Fixed>, Env) {
    let fixed = Arc::new(Fixed(Mutex::new(Timestamp::from_second(second).unwrap())));
    (fixed.clone(), Env::new(fixed.clone(), fixed))
}

pub(in crate::crypto) fn user() -> UserId {
    UserId::parse("0193e2b4-0000-7000-8000-000000000001").unwrap()
}

fn signed(claims: &serde_json::Value, algorithm: Algorithm) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(KEY.as_bytes())).unwrap()
}

#[test]
fn token_is_valid_until_its_expiry_second() {
    let (clock, env) = at(1_000_000);
    let tokens = Tokens::new(&settings(KEY), env);
    let issued = tokens.issue(user(), 3, FIRST_EPOCH).unwrap();
    assert_eq!(issued.expires_in, 3600);
    let access = tokens.verify(&issued.token).unwrap();
    assert_eq!((access.user, access.version), (user(), 3));
    *clock.0.lock().unwrap() = Timestamp::from_second(1_003_599).unwrap();
    assert!(tokens.verify(&issued.token).is_ok());
    *clock.0.lock().unwrap() = Timestamp::from_second(1_003_600).unwrap();
    assert_eq!(tokens.verify(&issued.token), Err(InvalidToken));
}

#[test]
fn what_can_change_of_a_verified_token_is_checked_each_time() {
    let (clock, env) = at(1_000_000);
    let tokens = Tokens::new(&settings(KEY), env.clone());
    let later =
        signed(&json!({"sub": user().to_string(), "exp": 2_000_000, "nbf": 1_000_000}), Algorithm::HS256);
    assert!(tokens.verify(&later).is_ok());
    // The clock is set back.
    *clock.0.lock().unwrap() = Timestamp::from_second(999_999).unwrap();
    assert_eq!(tokens.verify(&later), Err(InvalidToken));
    *clock.0.lock().unwrap() = Timestamp::from_second(1_000_000).unwrap();
    assert!(tokens.verify(&later).is_ok());

    let tokens = with_keys(Algorithm::EdDSA, None, &env);
    let issued = tokens.issue(user(), 3, FIRST_EPOCH).unwrap().token;
    assert!(tokens.verify(&issued).is_ok());
    tokens.set_keys(TokenKeys::default());
    assert_eq!(tokens.verify(&issued), Err(InvalidToken));
}

#[test]
fn legacy_tokens_with_sub_and_exp_only_are_valid() {
    let tokens = Tokens::new(&settings(KEY), at(1_000_000).1);
    let token = signed(&json!({"sub": "65a1b2c3d4e5f60718293a4b", "exp": 1_000_001}), Algorithm::HS256);
    let access = tokens.verify(&token).unwrap();
    assert_eq!((access.user.to_string().as_str(), access.version), ("65a1b2c3d4e5f60718293a4b", 0));
}

#[test]
fn malformed_and_forged_tokens_are_invalid() {
    let tokens = Tokens::new(&settings(KEY), at(1_000_000).1);
    let (sub, exp) = (user().to_string(), 1_000_001);
    let good = signed(&json!({"sub": sub, "exp": exp}), Algorithm::HS256);
    assert!(tokens.verify(&good).is_ok());
    let (unsigned, signature) = good.rsplit_once('.').unwrap();
    assert!(!signature.starts_with('A'), "otherwise the bad signature below would be valid");
    for (what, bad) in [
        ("empty", String::new()),
        ("malformed", "a.b.c".to_owned()),
        ("no exp", signed(&json!({"sub": sub}), Algorithm::HS256)),
        ("no sub", signed(&json!({"exp": exp}), Algorithm::HS256)),
        ("sub no id", signed(&json!({"sub": "ada", "exp": exp}), Algorithm::HS256)),
        ("another algorithm", signed(&json!({"sub": sub, "exp": exp}), Algorithm::HS512)),
        ("no algorithm", format!("eyJhbGciOiJub25lIn0.{}.", good.split('.').nth(1).unwrap())),
        ("bad signature", format!("{unsigned}.A{}", &signature[1..])),
    ] {
        assert_eq!(tokens.verify(&bad), Err(InvalidToken), "{what}");
    }
}

#[test]
fn tokens_belong_to_the_epoch_they_were_issued_in() {
    let restored = 1_000_000;
    let tokens = Tokens::new(&settings(KEY), at(900_000).1);
    let of_epoch = |extra: serde_json::Value, epoch| {
        let mut claims = json!({"sub": user().to_string(), "exp": 2_000_000});
        claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        tokens.verify(&signed(&claims, Algorithm::HS256)).unwrap().is_of_epoch(epoch)
    };
    for (claims, before, after) in [
        (json!({"epoch": FIRST_EPOCH}), true, false),
        (json!({"epoch": restored}), false, true),
        (json!({"epoch": restored, "iat": 1}), false, true),
        (json!({"iat": 999_999}), true, false),
        (json!({"iat": 1_000_000.5}), true, true),
        (json!({"iat": -1}), true, false),
        (json!({}), true, true),
    ] {
        let found = (of_epoch(claims.clone(), FIRST_EPOCH), of_epoch(claims.clone(), restored));
        assert_eq!(found, (before, after), "{claims}");
    }
    let issued = tokens.issue(user(), 1, restored).unwrap();
    assert!(tokens.verify(&issued.token).unwrap().is_of_epoch(restored));
}

#[test]
fn tokens_for_another_audience_time_or_purpose_are_invalid() {
    let tokens = Tokens::new(&settings(KEY), at(1_000_000).1);
    let with = |extra: serde_json::Value| {
        let mut claims = json!({"sub": user().to_string(), "exp": 1_000_001});
        claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        tokens.verify(&signed(&claims, Algorithm::HS256)).is_ok()
    };
    for good in [
        json!({}),
        json!({"nbf": 1_000_000}),
        json!({"nbf": 999_999.5, "iat": 999_999, "jti": "x", "email": "ada@example.com"}),
        json!({"type": "access", "token_type": "access", "token_use": "access", "purpose": "access"}),
        json!({"token_type": "bearer"}),
    ] {
        assert!(with(good.clone()), "{good}");
    }
    for bad in [
        json!({"aud": "another service"}),
        json!({"aud": ["aegis"]}),
        json!({"aud": null}),
        json!({"nbf": 1_000_001}),
        json!({"nbf": "999999"}),
        json!({"nbf": null}),
        json!({"type": "refresh"}),
        json!({"type": null}),
        json!({"token_type": "refresh"}),
        json!({"token_use": "id"}),
        json!({"purpose": "password-reset"}),
    ] {
        assert!(!with(bad.clone()), "{bad}");
    }
}

#[test]
fn tokens_with_critical_or_foreign_header_parameters_are_invalid() {
    let tokens = Tokens::new(&settings(KEY), at(1_000_000).1);
    let claims = json!({"sub": user().to_string(), "exp": 1_000_001}).to_string();
    let is_valid = |header: serde_json::Value| {
        let parts = [header.to_string(), claims.clone()].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let message = parts.join(".");
        let key = EncodingKey::from_secret(KEY.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        tokens.verify(&format!("{message}.{signature}")).is_ok()
    };
    for good in [json!({"alg": "HS256"}), json!({"alg": "HS256", "typ": "jwt", "kid": "1", "x": 1})] {
        assert!(is_valid(good.clone()), "{good}");
    }
    for bad in [
        json!({"alg": "HS256", "crit": ["exp"], "exp": 1}),
        json!({"alg": "HS256", "crit": []}),
        json!({"alg": "HS256", "crit": null}),
        json!({"alg": "HS256", "typ": "refresh+jwt"}),
    ] {
        assert!(!is_valid(bad.clone()), "{bad}");
    }
}

#[test]
fn previous_key_verifies_but_never_signs() {
    let env = at(1_000_000).1;
    let old = Tokens::new(&settings(KEY), env.clone());
    let new_key = "another key of at least 32 bytes…";
    let both = TokenSettings { previous_key: Some(Secret::new(KEY.to_owned())), ..settings(new_key) };
    let both = Tokens::new(&both, env);
    assert!(both.verify(&old.issue(user(), 1, FIRST_EPOCH).unwrap().token).is_ok());
    assert!(old.verify(&both.issue(user(), 1, FIRST_EPOCH).unwrap().token).is_err());
}

pub(in crate::crypto) fn with_keys(algorithm: Algorithm, previous: Option<Algorithm>, env: &Env) -> Tokens {
    let settings = TokenSettings { algorithm, previous_algorithm: previous, ..settings(KEY) };
    let tokens = Tokens::new(&settings, env.clone());
    let mut keys = TokenKeys::default();
    for algorithm in [KeyAlgorithm::EdDSA, KeyAlgorithm::ES256] {
        keys.prepare(algorithm, 3600, env.now().as_second()).unwrap();
    }
    tokens.set_keys(keys);
    tokens
}

fn raw(header: &serde_json::Value, sign: impl FnOnce(&str) -> String) -> String {
    let claims = json!({"sub": user().to_string(), "exp": 1_000_001});
    let parts = [header, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
    let message = parts.join(".");
    format!("{message}.{}", sign(&message))
}

#[test]
fn keys_of_the_service_sign_and_name_themselves() {
    for (algorithm, other) in [(Algorithm::EdDSA, Algorithm::ES256), (Algorithm::ES256, Algorithm::EdDSA)] {
        let tokens = with_keys(algorithm, None, &at(1_000_000).1);
        let issued = tokens.issue(user(), 1, FIRST_EPOCH).unwrap().token;
        assert_eq!(tokens.verify(&issued).unwrap().user, user());
        let header = decode_header(&issued).unwrap();
        let published = tokens.published_keys();
        assert_eq!((header.alg, header.kid), (algorithm, Some(published[0].id.clone())));
        assert_eq!(published.len(), 1, "only of the accepted algorithm");
        let foreign = with_keys(algorithm, None, &at(1_000_000).1);
        assert_eq!(foreign.verify(&issued), Err(InvalidToken));
        assert!(foreign.has_unknown_key(&issued) && !tokens.has_unknown_key(&issued));
        let another = with_keys(other, None, &at(1_000_000).1);
        another.set_keys(TokenKeys::from_bytes(&tokens.keys().to_bytes()).unwrap());
        assert_eq!(another.verify(&issued), Err(InvalidToken), "not the configured algorithm");
        let changed = with_keys(other, Some(algorithm), &at(1_000_000).1);
        changed.set_keys(TokenKeys::from_bytes(&tokens.keys().to_bytes()).unwrap());
        assert!(changed.verify(&issued).is_ok(), "the previous algorithm");
    }
}

#[test]
fn tokens_of_the_previous_algorithm_are_valid_both_ways() {
    let shared = Tokens::new(&settings(KEY), at(1_000_000).1).issue(user(), 1, FIRST_EPOCH).unwrap().token;
    assert_eq!(decode_header(&shared).unwrap().kid, None);
    let alone = with_keys(Algorithm::EdDSA, None, &at(1_000_000).1);
    assert_eq!(alone.verify(&shared), Err(InvalidToken));
    let changed = with_keys(Algorithm::EdDSA, Some(Algorithm::HS256), &at(1_000_000).1);
    assert!(changed.verify(&shared).is_ok());
    let own = changed.issue(user(), 1, FIRST_EPOCH).unwrap().token;
    let back = with_keys(Algorithm::HS256, Some(Algorithm::EdDSA), &at(1_000_000).1);
    back.set_keys(TokenKeys::from_bytes(&changed.keys().to_bytes()).unwrap());
    assert!(back.verify(&own).is_ok());
    assert_eq!(back.published_keys(), changed.published_keys());
    assert_eq!(decode_header(back.issue(user(), 1, FIRST_EPOCH).unwrap().token).unwrap().kid, None);
}

/// Every token is signed by someone who knows the public keys and has a key pair of their own.
#[test]
fn confused_algorithms_and_keys_are_invalid() {
    let tokens = with_keys(Algorithm::EdDSA, Some(Algorithm::HS256), &at(1_000_000).1);
    let keys = tokens.keys();
    let own = keys.signing(KeyAlgorithm::EdDSA, 1_000_000).unwrap();
    let es256 = keys.signing(KeyAlgorithm::ES256, 1_000_000).unwrap();
    let foreign = with_keys(Algorithm::EdDSA, None, &at(1_000_000).1);
    let attacker = foreign.keys();
    let attacker = attacker.signing(KeyAlgorithm::EdDSA, 1_000_000).unwrap();
    let id = own.public.id.as_str();
    let sign = |key: &EncodingKey, algorithm| {
        let key = key.clone();
        move |message: &str| jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm).unwrap()
    };
    let eddsa =
        |header: serde_json::Value, key: &TokenKey| raw(&header, sign(&key.signing, Algorithm::EdDSA));
    assert!(tokens.verify(&eddsa(json!({"alg": "EdDSA", "kid": id}), own)).is_ok());

    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": attacker.public.x});
    let header = |extra: serde_json::Value| {
        let mut header = json!({"alg": "EdDSA", "kid": id});
        header.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        header
    };
    let x = &own.public.x;
    let public = BASE64_URL_SAFE_NO_PAD.decode(x).unwrap();
    let mut spki = hex::decode("302a300506032b6570032100").unwrap();
    spki.extend(&public);
    let mut bad = vec![
        ("no algorithm", raw(&json!({"alg": "none", "kid": id}), |_| String::new())),
        ("no signature", raw(&json!({"alg": "EdDSA", "kid": id}), |_| String::new())),
        ("another curve", raw(&json!({"alg": "ES256", "kid": id}), sign(&es256.signing, Algorithm::ES256))),
        (
            "a key that is not accepted",
            raw(&json!({"alg": "ES256", "kid": es256.public.id}), sign(&es256.signing, Algorithm::ES256)),
        ),
        (
            "the algorithm of another key",
            raw(&json!({"alg": "EdDSA", "kid": es256.public.id}), sign(&own.signing, Algorithm::EdDSA)),
        ),
        ("no key id", eddsa(json!({"alg": "EdDSA"}), own)),
        ("another key", eddsa(json!({"alg": "EdDSA", "kid": id}), attacker)),
        ("unknown key", eddsa(json!({"alg": "EdDSA", "kid": attacker.public.id}), attacker)),
        ("embedded key", eddsa(header(json!({"jwk": jwk})), attacker)),
        ("embedded key and its id", eddsa(header(json!({"jwk": jwk, "kid": attacker.public.id})), attacker)),
        ("key URL", eddsa(header(json!({"jku": "https://attacker.example/keys"})), attacker)),
        ("certificate URL", eddsa(header(json!({"x5u": "https://attacker.example/cert"})), attacker)),
        ("key id is no text", eddsa(header(json!({"kid": [id]})), own)),
    ];
    for secret in [public.as_slice(), x.as_bytes(), &spki, id.as_bytes(), b""] {
        let key = EncodingKey::from_secret(secret);
        for header in [json!({"alg": "HS256", "kid": id}), json!({"alg": "HS256"})] {
            bad.push(("signed with a public value", raw(&header, sign(&key, Algorithm::HS256))));
        }
    }
    for kid in
        ["../../etc/passwd", "/dev/null", "' OR '1'='1", "\0", "*", "", &id.to_lowercase(), &format!("{id} ")]
    {
        bad.push(("another key id", eddsa(json!({"alg": "EdDSA", "kid": kid}), own)));
        assert!(!tokens.has_unknown_key(&bad.last().unwrap().1) || kid.len() == id.len(), "{kid}");
    }
    for (what, token) in bad {
        assert_eq!(tokens.verify(&token), Err(InvalidToken), "{what}: {token}");
    }
}
