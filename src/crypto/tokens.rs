//! Access tokens: JWTs (RFC 7519) signed with HMAC-SHA-2 under the service's secret. `sub` is the user's id,
//! `ver` the version of the user's stream at issue. An event that revokes tokens sets the version below which
//! they are void: revocation is exact and needs no clock.

use domain::UserId;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use serde::{Deserialize, Serialize};
use store::Env;

use crate::config::TokenSettings;

/// Issues and verifies access tokens.
pub struct Tokens {
    algorithm: Algorithm,
    signing: EncodingKey,
    verifying: Vec<DecodingKey>,
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

/// The claims of a valid token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerifiedToken {
    pub user: UserId,
    /// The version of the user's stream at issue; zero for tokens of the legacy service, which have no such
    /// claim.
    pub version: u64,
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
}

#[derive(Deserialize)]
struct ReadClaims {
    sub: String,
    /// Fractions are allowed (RFC 7519 §2, `NumericDate`).
    exp: f64,
    #[serde(default)]
    ver: u64,
}

impl Tokens {
    #[must_use]
    pub fn new(settings: &TokenSettings, env: Env) -> Self {
        let keys = std::iter::once(&settings.secret_key).chain(&settings.previous_key);
        Self {
            algorithm: settings.algorithm,
            signing: EncodingKey::from_secret(settings.secret_key.expose().as_bytes()),
            verifying: keys.map(|key| DecodingKey::from_secret(key.expose().as_bytes())).collect(),
            lifetime_seconds: i64::try_from(settings.lifetime.as_secs()).unwrap_or(i64::MAX),
            env,
        }
    }

    /// Issues a token to a user whose stream is at `version`.
    ///
    /// # Errors
    /// [`InvalidToken`] if the library cannot sign, which cannot happen with an HMAC key.
    pub fn issue(&self, user: UserId, version: u64) -> Result<IssuedToken, InvalidToken> {
        let iat = self.env.now().as_second();
        let claims = IssuedClaims {
            sub: user.to_string(),
            exp: iat.saturating_add(self.lifetime_seconds),
            iat,
            jti: self.env.uuid().hyphenated().to_string(),
            ver: version,
        };
        let token = encode(&Header::new(self.algorithm), &claims, &self.signing).map_err(|_| InvalidToken)?;
        Ok(IssuedToken { token, expires_in: self.lifetime_seconds })
    }

    /// Checks signature, algorithm and expiry. The caller checks that the user exists, is active and has not
    /// revoked the token since.
    ///
    /// # Errors
    /// [`InvalidToken`] for anything but a valid token of this service.
    pub fn verify(&self, token: &str) -> Result<VerifiedToken, InvalidToken> {
        let mut validation = Validation::new(self.algorithm);
        validation.set_required_spec_claims(&["exp", "sub"]);
        // Expiry is compared below with the injected clock; the legacy service ignored the audience.
        validation.validate_exp = false;
        validation.validate_aud = false;
        let decoded = |key| decode::<ReadClaims>(token, key, &validation).ok();
        let claims = self.verifying.iter().find_map(decoded).ok_or(InvalidToken)?.claims;
        if !is_unexpired(claims.exp, self.env.now()) {
            return Err(InvalidToken);
        }
        let user = UserId::parse(&claims.sub).map_err(|_| InvalidToken)?;
        Ok(VerifiedToken { user, version: claims.ver })
    }
}

fn is_unexpired(exp: f64, now: Timestamp) -> bool {
    exp > now.as_duration().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};
    use std::time::Duration;

    use serde_json::json;
    use store::{Clock, Entropy};

    use super::*;
    use crate::config::Secret;

    struct Fixed(Mutex<Timestamp>);
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

    const KEY: &str = "0123456789abcdef0123456789abcdef";

    fn settings(key: &str) -> TokenSettings {
        TokenSettings {
            secret_key: Secret::new(key.to_owned()),
            previous_key: None,
            algorithm: Algorithm::HS256,
            lifetime: Duration::from_hours(1),
        }
    }

    fn at(second: i64) -> (Arc<Fixed>, Env) {
        let fixed = Arc::new(Fixed(Mutex::new(Timestamp::from_second(second).unwrap())));
        (fixed.clone(), Env::new(fixed.clone(), fixed))
    }

    fn user() -> UserId {
        UserId::parse("0193e2b4-0000-7000-8000-000000000001").unwrap()
    }

    fn signed(claims: &serde_json::Value, algorithm: Algorithm) -> String {
        encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(KEY.as_bytes())).unwrap()
    }

    #[test]
    fn token_is_valid_until_its_expiry_second() {
        let (clock, env) = at(1_000_000);
        let tokens = Tokens::new(&settings(KEY), env);
        let issued = tokens.issue(user(), 3).unwrap();
        assert_eq!(issued.expires_in, 3600);
        assert_eq!(tokens.verify(&issued.token), Ok(VerifiedToken { user: user(), version: 3 }));
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
    fn previous_key_verifies_but_never_signs() {
        let env = at(1_000_000).1;
        let old = Tokens::new(&settings(KEY), env.clone());
        let new_key = "another key of at least 32 bytes…";
        let both = TokenSettings { previous_key: Some(Secret::new(KEY.to_owned())), ..settings(new_key) };
        let both = Tokens::new(&both, env);
        assert!(both.verify(&old.issue(user(), 1).unwrap().token).is_ok());
        assert!(old.verify(&both.issue(user(), 1).unwrap().token).is_err());
    }
}
