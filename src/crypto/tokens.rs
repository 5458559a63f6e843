//! Access tokens: JWTs (RFC 7519) signed with HMAC-SHA-2 under the service's secret, or with the keys that the
//! service makes, which other services verify by the key set that it publishes. `sub` is the user's id,
//! `ver` the version of the user's stream at issue. An event that revokes tokens sets the version below which
//! they are void: revocation is exact and needs no clock. `epoch` is that of the log: after a restore, a version
//! may stand for other events than those that the token was issued after.

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use domain::{SessionId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::{Env, FIRST_EPOCH};

use super::token_keys::{KeyAlgorithm, PublicKey, TokenKey, TokenKeys};
use crate::config::TokenSettings;

/// Claims that state the purpose of a token, and the values of an access token. Other services sign tokens
/// for refreshing or for e-mail links with the same secret.
const PURPOSE_CLAIMS: [(&str, &[&str]); 4] = [
    ("type", &["access"]),
    ("token_type", &["access", "bearer"]),
    ("token_use", &["access"]),
    ("purpose", &["access"]),
];
/// Values of the header parameter `typ` (RFC 7519 §5.1, RFC 9068 §2.1), in lower case.
const TOKEN_TYPES: [&str; 3] = ["jwt", "at+jwt", "application/at+jwt"];
/// The `typ` of the access tokens that are issued.
const ISSUED_TYPE: &str = "JWT";

/// Issues and verifies access tokens.
pub struct Tokens {
    algorithm: Algorithm,
    /// Verifies only.
    previous_algorithm: Option<Algorithm>,
    secret: Option<EncodingKey>,
    /// The secrets that verify.
    secrets: Vec<DecodingKey>,
    keys: RwLock<Arc<TokenKeys>>,
    lifetime_seconds: i64,
    env: Env,
}

#[derive(Clone)]
pub struct IssuedToken {
    /// A secret.
    pub token: String,
    /// In seconds.
    pub expires_in: i64,
}

/// The session that a token belongs to.
#[derive(Clone, Copy, Debug)]
pub struct SessionGrant {
    pub id: SessionId,
    /// Of the token.
    pub lifetime_seconds: i64,
}

/// The claims of a valid token.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VerifiedToken {
    pub user: UserId,
    /// The version of the user's stream at issue; zero for tokens of the legacy service, which have no such
    /// claim.
    pub version: u64,
    /// The session that it belongs to. The caller checks that it is still open.
    pub session: Option<SessionId>,
    /// In seconds since 1970.
    pub expires_at: f64,
    /// In seconds since 1970.
    pub issued_at: Option<f64>,
    /// The epoch of the log at issue.
    epoch: Option<u64>,
}

impl VerifiedToken {
    /// Whether the token was issued in that epoch of the log, that is since the last restore. A token that names
    /// no epoch, such as one of the legacy service, is compared by the time of its issue if it has one: an
    /// epoch that was raised is not below the time of the restore.
    #[must_use]
    pub fn is_of_epoch(&self, epoch: u64) -> bool {
        match (self.epoch, self.issued_at) {
            (Some(issued_in), _) => issued_in == epoch,
            (None, Some(issued_at)) if epoch > FIRST_EPOCH => {
                Duration::try_from_secs_f64(issued_at).is_ok_and(|at| at.as_secs() >= epoch)
            }
            (None, _) => true,
        }
    }
}

/// The token is not valid. Clients do not learn the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the access token is not valid")]
pub struct InvalidToken;

#[derive(Serialize)]
struct IssuedClaims {
    sub: String,
    exp: i64,
    iat: i64,
    jti: String,
    ver: u64,
    epoch: u64,
    /// As in `OpenID` Connect Front-Channel Logout.
    #[serde(skip_serializing_if = "Option::is_none")]
    sid: Option<String>,
}

#[derive(Deserialize)]
struct ReadClaims {
    sub: String,
    /// Fractions are allowed (RFC 7519 §2, `NumericDate`).
    exp: f64,
    #[serde(default)]
    ver: u64,
    epoch: Option<u64>,
    #[serde(flatten)]
    other: Map<String, Value>,
}

impl ReadClaims {
    /// Whether the token is valid at that time (in seconds) as an access token of this service. There is no
    /// audience that it could be meant for (RFC 7519 §4.1.3).
    fn permits_access(&self, now: f64) -> bool {
        let is_current = |nbf: &Value| nbf.as_f64().is_some_and(|nbf| nbf <= now);
        let is_access =
            |claim: &Value, values: &[&str]| claim.as_str().is_some_and(|text| values.contains(&text));
        self.exp > now
            && !self.other.contains_key("aud")
            && self.other.get("nbf").is_none_or(is_current)
            && PURPOSE_CLAIMS
                .iter()
                .all(|(name, values)| self.other.get(*name).is_none_or(|claim| is_access(claim, values)))
    }
}

impl Tokens {
    #[must_use]
    pub fn new(settings: &TokenSettings, env: Env) -> Self {
        let secrets = settings.secret_key.iter().chain(&settings.previous_key);
        let secret = settings.secret_key.as_ref();
        Self {
            algorithm: settings.algorithm,
            previous_algorithm: settings.previous_algorithm,
            secret: secret.map(|key| EncodingKey::from_secret(key.expose().as_bytes())),
            secrets: secrets.map(|key| DecodingKey::from_secret(key.expose().as_bytes())).collect(),
            keys: RwLock::default(),
            lifetime_seconds: i64::try_from(settings.lifetime.as_secs()).unwrap_or(i64::MAX),
            env,
        }
    }

    /// Issues a token to a user whose stream is at `version`, in that epoch of the log.
    ///
    /// # Errors
    /// [`InvalidToken`] if there is no key that signs, which cannot happen once the service is ready.
    pub fn issue(&self, user: UserId, version: u64, epoch: u64) -> Result<IssuedToken, InvalidToken> {
        self.sign(user, version, epoch, None)
    }

    /// Issues a token that belongs to a session.
    ///
    /// # Errors
    /// As [`Tokens::issue`].
    pub fn issue_for_session(
        &self,
        user: UserId,
        version: u64,
        epoch: u64,
        session: SessionGrant,
    ) -> Result<IssuedToken, InvalidToken> {
        self.sign(user, version, epoch, Some(session))
    }

    fn sign(
        &self,
        user: UserId,
        version: u64,
        epoch: u64,
        session: Option<SessionGrant>,
    ) -> Result<IssuedToken, InvalidToken> {
        let lifetime = session.map_or(self.lifetime_seconds, |session| session.lifetime_seconds);
        let iat = self.env.now().as_second();
        let claims = IssuedClaims {
            sub: user.to_string(),
            exp: iat.saturating_add(lifetime),
            iat,
            jti: self.env.uuid().hyphenated().to_string(),
            ver: version,
            epoch,
            sid: session.map(|session| session.id.to_string()),
        };
        let token = self.encode(ISSUED_TYPE, &claims)?;
        Ok(IssuedToken { token, expires_in: lifetime })
    }

    /// Checks signature, header, time and purpose. The caller checks that the user exists, is active and has
    /// not revoked the token since.
    ///
    /// # Errors
    /// [`InvalidToken`] for anything but a valid token of this service.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, InvalidToken> {
        let claims: ReadClaims = self.decode(token, |kind| {
            kind.is_none_or(|kind| TOKEN_TYPES.contains(&&*kind.to_ascii_lowercase()))
        })?;
        if !claims.permits_access(self.seconds()) {
            return Err(InvalidToken);
        }
        let user = UserId::parse(&claims.sub).map_err(|_| InvalidToken)?;
        let session = match claims.other.get("sid") {
            None => None,
            Some(sid) => {
                let session = sid.as_str().and_then(|sid| SessionId::parse(sid).ok());
                Some(session.ok_or(InvalidToken)?)
            }
        };
        let issued_at = claims.other.get("iat").and_then(Value::as_f64);
        Ok(VerifiedToken {
            user,
            version: claims.ver,
            session,
            expires_at: claims.exp,
            issued_at,
            epoch: claims.epoch,
        })
    }

    /// Whether any token may be signed with a key that the service makes.
    #[must_use]
    pub fn uses_keys(&self) -> bool {
        self.key_algorithms().next().is_some()
    }

    /// The algorithm with which the service signs, if it makes the keys itself.
    #[must_use]
    pub fn key_algorithm(&self) -> Option<KeyAlgorithm> {
        KeyAlgorithm::of(self.algorithm)
    }

    /// Replaces the keys that sign and verify.
    pub fn set_keys(&self, keys: TokenKeys) {
        *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
    }

    /// Whether the token names a key that is not known, which another node may have added.
    #[must_use]
    pub fn has_unknown_key(&self, token: &str) -> bool {
        if !self.uses_keys() {
            return false;
        }
        let Ok(Header { alg, kid: Some(id), .. }) = decode_header(token) else { return false };
        let algorithm = KeyAlgorithm::of(alg).filter(|_| self.accepts(alg) && is_thumbprint(&id));
        algorithm.is_some_and(|algorithm| self.keys().verifying(algorithm, &id, self.now()).is_none())
    }

    /// The public keys by which other services verify the tokens, of the accepted algorithms only.
    #[must_use]
    pub fn published_keys(&self) -> Vec<PublicKey> {
        let keys = self.keys();
        let accepted: Vec<_> = self.key_algorithms().collect();
        let published = keys.published(self.now()).map(|(key, _)| &key.public);
        published.filter(|key| accepted.contains(&key.algorithm)).cloned().collect()
    }

    fn keys(&self) -> Arc<TokenKeys> {
        Arc::clone(&self.keys.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn key_algorithms(&self) -> impl Iterator<Item = KeyAlgorithm> {
        std::iter::once(self.algorithm).chain(self.previous_algorithm).filter_map(KeyAlgorithm::of)
    }

    fn accepts(&self, algorithm: Algorithm) -> bool {
        algorithm == self.algorithm || Some(algorithm) == self.previous_algorithm
    }

    fn now(&self) -> i64 {
        self.env.now().as_second()
    }

    /// The claims of a token that a key of this service has signed, whose header has a supported `typ` and demands no
    /// extension (RFC 7515 §4.1.11). The caller checks time and purpose.
    pub(super) fn decode<C: DeserializeOwned>(
        &self,
        token: &str,
        is_supported_type: impl FnOnce(Option<&str>) -> bool,
    ) -> Result<C, InvalidToken> {
        let header = decode_header(token).map_err(|_| InvalidToken)?;
        if !self.accepts(header.alg) {
            return Err(InvalidToken);
        }
        let mut validation = Validation::new(header.alg);
        validation.set_required_spec_claims(&["exp", "sub"]);
        // Compared by the caller, with the injected clock and whatever the type of the claim.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = |key| decode::<C>(token, key, &validation).ok();
        let decoded = match KeyAlgorithm::of(header.alg) {
            None => self.secrets.iter().find_map(decoded),
            Some(algorithm) => {
                let (keys, id, now) = (self.keys(), header.kid.unwrap_or_default(), self.now());
                keys.verifying(algorithm, &id, now).and_then(|key| decoded(&key.verifying))
            }
        };
        let decoded = decoded.ok_or(InvalidToken)?;
        let is_supported = has_supported_header(token, is_supported_type);
        if is_supported { Ok(decoded.claims) } else { Err(InvalidToken) }
    }

    /// The time in seconds since 1970.
    pub(super) fn seconds(&self) -> f64 {
        self.env.now().as_duration().as_secs_f64()
    }

    /// Signs claims as a token of that `typ`.
    pub(super) fn encode(&self, kind: &str, claims: &impl Serialize) -> Result<String, InvalidToken> {
        let mut header = Header::new(self.algorithm);
        header.typ = Some(kind.to_owned());
        let token = match KeyAlgorithm::of(self.algorithm) {
            None => encode(&header, claims, self.secret.as_ref().ok_or(InvalidToken)?),
            Some(algorithm) => {
                let keys = self.keys();
                let TokenKey { public, signing, .. } =
                    keys.signing(algorithm, self.now()).ok_or(InvalidToken)?;
                header.kid = Some(public.id.clone());
                encode(&header, claims, signing)
            }
        };
        token.map_err(|_| InvalidToken)
    }
}

/// Whether a key id has the form of those of this service: SHA-256 in base64url.
fn is_thumbprint(id: &str) -> bool {
    BASE64_URL_SAFE_NO_PAD.decode(id).is_ok_and(|hash| hash.len() == 32)
}

/// Whether the header demands no extension and its `typ`, if it is text or missing, is supported.
fn has_supported_header(token: &str, is_supported_type: impl FnOnce(Option<&str>) -> bool) -> bool {
    let header = token.split('.').next().and_then(|part| BASE64_URL_SAFE_NO_PAD.decode(part).ok());
    let Some(header) = header.and_then(|json| serde_json::from_slice::<Map<String, Value>>(&json).ok())
    else {
        return false;
    };
    let is_supported = match header.get("typ") {
        None => is_supported_type(None),
        Some(kind) => kind.as_str().is_some_and(|kind| is_supported_type(Some(kind))),
    };
    !header.contains_key("crit") && is_supported
}

#[cfg(test)]
pub(super) mod tests {
    use std::sync::{Arc, Mutex};

    use jiff::Timestamp;
    use serde_json::json;
    use store::{Clock, Entropy};

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

    pub(in crate::crypto) fn with_keys(
        algorithm: Algorithm,
        previous: Option<Algorithm>,
        env: &Env,
    ) -> Tokens {
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
        for (algorithm, other) in [(Algorithm::EdDSA, Algorithm::ES256), (Algorithm::ES256, Algorithm::EdDSA)]
        {
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
        let shared =
            Tokens::new(&settings(KEY), at(1_000_000).1).issue(user(), 1, FIRST_EPOCH).unwrap().token;
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
            (
                "another curve",
                raw(&json!({"alg": "ES256", "kid": id}), sign(&es256.signing, Algorithm::ES256)),
            ),
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
            (
                "embedded key and its id",
                eddsa(header(json!({"jwk": jwk, "kid": attacker.public.id})), attacker),
            ),
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
        for kid in [
            "../../etc/passwd",
            "/dev/null",
            "' OR '1'='1",
            "\0",
            "*",
            "",
            &id.to_lowercase(),
            &format!("{id} "),
        ] {
            bad.push(("another key id", eddsa(json!({"alg": "EdDSA", "kid": kid}), own)));
            assert!(!tokens.has_unknown_key(&bad.last().unwrap().1) || kid.len() == id.len(), "{kid}");
        }
        for (what, token) in bad {
            assert_eq!(tokens.verify(&token), Err(InvalidToken), "{what}: {token}");
        }
    }
}
