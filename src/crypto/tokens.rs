//! Access tokens: JWTs (RFC 7519) signed with HMAC-SHA-2 under the service's secret, or with the keys that the
//! service makes, which other services verify by the key set that it publishes. `sub` is the user's id,
//! `ver` the version of the user's stream at issue. An event that revokes tokens sets the version below which
//! they are void: revocation is exact and needs no clock. `epoch` is that of the log: after a restore, a version
//! may stand for other events than those that the token was issued after.

use std::sync::{Arc, PoisonError, RwLock};

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use domain::{SessionId, UserId};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, decode_header, encode};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use store::Env;

use super::token_keys::{KeyAlgorithm, PublicKey, TokenKey, TokenKeys};
use super::verified_tokens::{SigningKeyId, Verified, VerifiedToken, VerifiedTokens};
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
    verified: VerifiedTokens,
    env: Env,
}

/// The claims of a token with a valid signature, and the key that has signed it, if the service makes the keys.
pub(super) struct Decoded<C> {
    pub(super) claims: C,
    key: Option<SigningKeyId>,
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
            verified: VerifiedTokens::default(),
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
        if let Some(known) = self.verified.get(token) {
            return if self.is_current(&known) { Ok(known.token) } else { Err(InvalidToken) };
        }
        let verified = self.verify_signed(token)?;
        let known = verified.token;
        self.verified.insert(token, verified);
        Ok(known)
    }

    /// Whether a token that was valid is still valid: its time, and the key that has signed it.
    fn is_current(&self, known: &Verified) -> bool {
        let now = self.seconds();
        let has_key = |SigningKeyId { algorithm, id }: &SigningKeyId| {
            self.keys().verifying(*algorithm, id, self.now()).is_some()
        };
        known.token.expires_at > now
            && known.not_before.is_none_or(|not_before| not_before <= now)
            && known.key.as_ref().is_none_or(has_key)
    }

    fn verify_signed(&self, token: &str) -> Result<Verified, InvalidToken> {
        let Decoded { claims, key } = self.decode::<ReadClaims>(token, |kind| {
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
        let token = VerifiedToken {
            user,
            version: claims.ver,
            session,
            expires_at: claims.exp,
            issued_at,
            epoch: claims.epoch,
        };
        let not_before = claims.other.get("nbf").and_then(Value::as_f64);
        Ok(Verified { token, not_before, key })
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
    ) -> Result<Decoded<C>, InvalidToken> {
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
        let (decoded, key) = match KeyAlgorithm::of(header.alg) {
            None => (self.secrets.iter().find_map(decoded), None),
            Some(algorithm) => {
                let key = SigningKeyId { algorithm, id: header.kid.unwrap_or_default() };
                let keys = self.keys();
                let verifying = keys.verifying(algorithm, &key.id, self.now());
                (verifying.and_then(|key| decoded(&key.verifying)), Some(key))
            }
        };
        let claims = decoded.ok_or(InvalidToken)?.claims;
        let is_supported = has_supported_header(token, is_supported_type);
        if is_supported { Ok(Decoded { claims, key }) } else { Err(InvalidToken) }
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
pub(super) mod tests;
