//! The tokens in mails, by which users verify their e-mail address or set a password. They are signed with the keys of
//! access tokens. Their `typ` and `aud` are those of no access token, so that neither is accepted as the other, also by
//! services that verify access tokens by the published keys. `ver` is the version of the event that the mail was sent
//! for: which later events void the token is decided in [`domain::user::decide`], against the log.

use std::time::Duration;

use domain::UserId;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::tokens::{InvalidToken, Tokens};

/// `typ` (RFC 8725 §3.11).
const MAIL_TYPE: &str = "mail+jwt";
const VERIFY_EMAIL: &str = "aegis:verify-email";
const RESET_PASSWORD: &str = "aegis:reset-password";
const INVITATION: &str = "aegis:invitation";

/// What a mail token permits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MailPurpose {
    /// To verify the e-mail address that the mail was sent to.
    VerifyEmail,
    /// To set another password.
    ResetPassword,
    /// To set the first password of a user whom an administrator created.
    Invitation,
}

impl MailPurpose {
    pub const ALL: [Self; 3] = [Self::VerifyEmail, Self::ResetPassword, Self::Invitation];
    /// The longest lifetime of a mail token; keys verify for at least that long.
    pub const LONGEST_LIFETIME: Duration = Self::Invitation.lifetime();

    /// The lifetime of a token.
    #[must_use]
    pub const fn lifetime(self) -> Duration {
        match self {
            // Mail may be read the next day; the token gives no access.
            Self::VerifyEmail => Duration::from_hours(24),
            // The user waits for this mail. One who reads it later, in an old mailbox, must not get the account.
            Self::ResetPassword => Duration::from_mins(30),
            // Comes without a request of the user, perhaps on a Friday evening. There is nothing in the account yet.
            Self::Invitation => Duration::from_hours(72),
        }
    }

    /// `aud`: one for each purpose, as each is accepted by an endpoint of its own.
    const fn audience(self) -> &'static str {
        match self {
            Self::VerifyEmail => VERIFY_EMAIL,
            Self::ResetPassword => RESET_PASSWORD,
            Self::Invitation => INVITATION,
        }
    }
}

/// The content of a mail token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MailToken {
    pub purpose: MailPurpose,
    pub user: UserId,
    /// The version of the event that the mail is sent for: the request, or the registration of an invited user.
    pub version: u64,
    /// The epoch of the log: after a restore, a version may stand for another event.
    pub epoch: u64,
}

#[derive(Serialize, Deserialize)]
struct MailClaims {
    sub: String,
    aud: String,
    exp: i64,
    ver: u64,
    epoch: u64,
}

impl MailToken {
    /// Signs the token. The same token with the same expiry is the same text, if the key is the same and the signature
    /// has no random part (ES256): a mail that is sent again can be recognised.
    ///
    /// # Errors
    /// [`InvalidToken`] if there is no key that signs, which cannot happen once the service is ready.
    pub fn issue(&self, tokens: &Tokens, expires_at: Timestamp) -> Result<String, InvalidToken> {
        let claims = MailClaims {
            sub: self.user.to_string(),
            aud: self.purpose.audience().to_owned(),
            exp: expires_at.as_second(),
            ver: self.version,
            epoch: self.epoch,
        };
        tokens.encode(MAIL_TYPE, &claims)
    }

    /// Checks signature, header, time and purpose. The caller compares the epoch, and decides against the log whether
    /// a later event has voided the token.
    ///
    /// # Errors
    /// [`InvalidToken`] for anything but a mail token of this service that has not expired.
    pub fn verify(tokens: &Tokens, token: &str) -> Result<Self, InvalidToken> {
        let claims: MailClaims = tokens.decode(token, |kind| kind == Some(MAIL_TYPE))?.claims;
        let purpose = MailPurpose::ALL.into_iter().find(|purpose| purpose.audience() == claims.aud);
        let expires_at = Timestamp::from_second(claims.exp).map_err(|_| InvalidToken)?;
        if tokens.seconds() >= expires_at.as_duration().as_secs_f64() {
            return Err(InvalidToken);
        }
        Ok(Self {
            purpose: purpose.ok_or(InvalidToken)?,
            user: UserId::parse(&claims.sub).map_err(|_| InvalidToken)?,
            version: claims.ver,
            epoch: claims.epoch,
        })
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
    use jsonwebtoken::{Algorithm, EncodingKey};
    use serde_json::{Value, json};
    use store::FIRST_EPOCH;

    use super::*;
    use crate::config::{Secret, TokenSettings};
    use crate::crypto::tokens::tests::{KEY, at, settings, user, with_keys};

    const NOW: i64 = 1_000_000;

    fn token(purpose: MailPurpose) -> MailToken {
        MailToken { purpose, user: user(), version: 7, epoch: FIRST_EPOCH }
    }

    fn expiry() -> Timestamp {
        Timestamp::from_second(NOW + 60).unwrap()
    }

    /// A token signed under [`KEY`] with this header and these claims.
    fn raw(header: &Value, claims: &Value) -> String {
        let parts = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part.to_string()));
        let message = parts.join(".");
        let key = EncodingKey::from_secret(KEY.as_bytes());
        let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, Algorithm::HS256).unwrap();
        format!("{message}.{signature}")
    }

    #[test]
    fn token_names_purpose_user_and_version_until_it_expires() {
        let (clock, env) = at(NOW);
        let tokens = Tokens::new(&settings(KEY), env);
        for purpose in MailPurpose::ALL {
            *clock.0.lock().unwrap() = Timestamp::from_second(NOW).unwrap();
            let issued = token(purpose).issue(&tokens, expiry()).unwrap();
            assert_eq!(MailToken::verify(&tokens, &issued), Ok(token(purpose)));
            assert_eq!(token(purpose).issue(&tokens, expiry()).unwrap(), issued, "deterministic");
            *clock.0.lock().unwrap() = Timestamp::from_second(NOW + 59).unwrap();
            assert!(MailToken::verify(&tokens, &issued).is_ok());
            *clock.0.lock().unwrap() = expiry();
            assert_eq!(MailToken::verify(&tokens, &issued), Err(InvalidToken));
        }
    }

    #[test]
    fn access_tokens_and_mail_tokens_are_not_accepted_as_each_other() {
        for algorithm in [Algorithm::HS256, Algorithm::EdDSA, Algorithm::ES256] {
            let tokens = with_keys(algorithm, None, &at(NOW).1);
            let access = tokens.issue(user(), 7, FIRST_EPOCH).unwrap().token;
            assert_eq!(MailToken::verify(&tokens, &access), Err(InvalidToken));
            for purpose in MailPurpose::ALL {
                let issued = token(purpose).issue(&tokens, expiry()).unwrap();
                assert_eq!(MailToken::verify(&tokens, &issued), Ok(token(purpose)));
                assert_eq!(tokens.verify(&issued), Err(InvalidToken), "{algorithm:?} {purpose:?}");
            }
        }
    }

    /// Each of `typ` and `aud` alone keeps a mail token from being an access token, and the other way round.
    #[test]
    fn type_and_audience_are_both_required() {
        let tokens = Tokens::new(&settings(KEY), at(NOW).1);
        let claims = |extra: Value| {
            let mut claims = json!({"sub": user().to_string(), "exp": NOW + 60, "ver": 7, "epoch": 1});
            claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
            claims
        };
        let typed = |kind: Value| json!({"alg": "HS256", "typ": kind});
        let good = claims(json!({"aud": RESET_PASSWORD}));
        assert!(MailToken::verify(&tokens, &raw(&typed(json!(MAIL_TYPE)), &good)).is_ok());
        for header in
            [json!({"alg": "HS256"}), typed(json!("JWT")), typed(json!("at+jwt")), typed(json!(null))]
        {
            let token = raw(&header, &good);
            assert_eq!(MailToken::verify(&tokens, &token), Err(InvalidToken), "{header}");
            assert_eq!(tokens.verify(&token), Err(InvalidToken), "{header}");
        }
        for bad in [
            json!({}),
            json!({"aud": "aegis"}),
            json!({"aud": [RESET_PASSWORD]}),
            json!({"aud": null}),
            json!({"aud": RESET_PASSWORD, "sub": "ada"}),
            json!({"aud": RESET_PASSWORD, "ver": -1}),
            json!({"aud": RESET_PASSWORD, "ver": "7"}),
            json!({"aud": RESET_PASSWORD, "exp": NOW}),
            json!({"aud": RESET_PASSWORD, "exp": i64::MAX}),
            json!({"aud": RESET_PASSWORD, "epoch": null}),
        ] {
            let token = raw(&typed(json!(MAIL_TYPE)), &claims(bad.clone()));
            assert_eq!(MailToken::verify(&tokens, &token), Err(InvalidToken), "{bad}");
            assert_eq!(tokens.verify(&token), Err(InvalidToken), "{bad}");
        }
        let critical = json!({"alg": "HS256", "typ": MAIL_TYPE, "crit": ["exp"]});
        assert_eq!(MailToken::verify(&tokens, &raw(&critical, &good)), Err(InvalidToken));
    }

    #[test]
    fn previous_key_and_algorithm_verify_and_foreign_keys_do_not() {
        let env = at(NOW).1;
        let old = Tokens::new(&settings(KEY), env.clone());
        let issued = token(MailPurpose::ResetPassword).issue(&old, expiry()).unwrap();
        let new_key = "another key of at least 32 bytes…";
        let rotated = TokenSettings { previous_key: Some(Secret::new(KEY.to_owned())), ..settings(new_key) };
        assert!(MailToken::verify(&Tokens::new(&rotated, env.clone()), &issued).is_ok());
        assert!(MailToken::verify(&Tokens::new(&settings(new_key), env.clone()), &issued).is_err());
        assert!(
            MailToken::verify(&with_keys(Algorithm::EdDSA, Some(Algorithm::HS256), &env), &issued).is_ok()
        );
        assert!(MailToken::verify(&with_keys(Algorithm::EdDSA, None, &env), &issued).is_err());
        let own = with_keys(Algorithm::EdDSA, None, &env);
        let issued = token(MailPurpose::ResetPassword).issue(&own, expiry()).unwrap();
        assert!(MailToken::verify(&own, &issued).is_ok());
        assert!(MailToken::verify(&with_keys(Algorithm::EdDSA, None, &env), &issued).is_err());
    }

    #[test]
    fn no_token_lives_longer_than_the_keys_are_kept_for() {
        assert!(MailPurpose::ALL.iter().all(|it| it.lifetime() <= MailPurpose::LONGEST_LIFETIME));
    }
}
