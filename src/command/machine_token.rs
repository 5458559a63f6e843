//! Machine tokens as their bearers present them: `aegis_`, the id in 22 base-62 digits, `_`, and a secret of 32
//! base-62 digits. Base 62 has no `_`, so that the parts are unambiguous.

use domain::{TokenId, TokenSecretHash};
use store::{Env, EventStore};
use uuid::Uuid;

const PREFIX: &str = "aegis_";
const SEPARATOR: char = '_';
const DIGITS: [char; 62] = [
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K',
    'L', 'M', 'N', 'O', 'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'a', 'b', 'c', 'd', 'e', 'f',
    'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z',
];
const BASE: u128 = 62;
/// 62²² is more than 2¹²⁸.
const ID_DIGITS: usize = 22;
/// Each half of the secret is drawn from 2¹²⁸ numbers, and keeps the lower 16 of its digits: 95 bits.
const HALF_SECRET_DIGITS: usize = 16;

/// A machine token with its secret. It has no `Debug`.
#[derive(Clone)]
pub struct MachineToken {
    pub id: TokenId,
    secret: String,
}

impl MachineToken {
    /// A new token.
    #[must_use]
    pub fn generate(env: &Env) -> Self {
        let half = || digits(u128::from_be_bytes(env.bytes()), HALF_SECRET_DIGITS);
        Self { id: TokenId::from_uuid(env.uuid()), secret: half() + &half() }
    }

    /// Whether a bearer token claims to be a machine token, valid or not. No JWT does: it begins with `{` in base 64.
    #[must_use]
    pub fn is_claimed(text: &str) -> bool {
        text.starts_with(PREFIX)
    }

    /// Parses a token as presented; `None` unless it is exactly of the form of [`MachineToken::expose`].
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX)?.split_once(SEPARATOR)?;
        let is_secret = secret.len() == 2 * HALF_SECRET_DIGITS && secret.chars().all(|c| DIGITS.contains(&c));
        (id.len() == ID_DIGITS && is_secret).then_some(())?;
        let id = TokenId::from_uuid(Uuid::from_u128(number(id)?));
        Some(Self { id, secret: secret.to_owned() })
    }

    /// The token as its bearer presents it.
    #[must_use]
    pub fn expose(&self) -> String {
        let id = digits(self.id.as_uuid().as_u128(), ID_DIGITS);
        format!("{PREFIX}{id}{SEPARATOR}{}", self.secret)
    }

    /// The stored form of the secret, which all nodes compute alike.
    #[must_use]
    pub fn secret_hash(&self, store: &EventStore) -> TokenSecretHash {
        let id = self.id.as_uuid();
        let parts = [id.as_bytes().as_slice(), self.secret.as_bytes()];
        TokenSecretHash::new(store.keyed_hash("machine-token", &parts).to_octets())
    }

    /// Whether the secret is the one of that stored form, compared in constant time.
    #[must_use]
    pub fn has_secret(&self, stored: &TokenSecretHash, store: &EventStore) -> bool {
        let own = self.secret_hash(store);
        aws_lc_rs::constant_time::verify_slices_are_equal(own.expose(), stored.expose()).is_ok()
    }
}

/// The lowest `count` digits of a number, the highest of them first.
fn digits(mut number: u128, count: usize) -> String {
    let mut lowest_first: Vec<&char> = Vec::with_capacity(count);
    for _ in 0..count {
        let digit = usize::try_from(number % BASE).unwrap_or_default();
        lowest_first.extend(DIGITS.get(digit));
        number /= BASE;
    }
    lowest_first.into_iter().rev().collect()
}

/// `None` if a character is not a digit, or the number does not fit.
fn number(text: &str) -> Option<u128> {
    text.chars().try_fold(0_u128, |number, character| {
        let digit = DIGITS.iter().position(|digit| *digit == character)?;
        number.checked_mul(BASE)?.checked_add(u128::try_from(digit).ok()?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        let env = Env::system();
        for id in [Uuid::nil(), Uuid::max(), env.uuid()] {
            let token = MachineToken { id: TokenId::from_uuid(id), ..MachineToken::generate(&env) };
            let text = token.expose();
            assert_eq!(text.len(), "aegis_".len() + 22 + 1 + 32);
            let parsed = MachineToken::parse(&text).unwrap();
            assert_eq!((parsed.id, parsed.expose()), (token.id, text));
        }
    }

    #[test]
    fn other_texts_are_no_tokens() {
        let good = MachineToken { id: TokenId::from_uuid(Uuid::nil()), secret: "x".repeat(32) }.expose();
        assert!(MachineToken::parse(&good).is_some());
        let too_large = format!("aegis_{}_{}", "z".repeat(22), "x".repeat(32));
        for bad in [
            String::new(),
            "aegis_".to_owned(),
            "aegis__".to_owned(),
            too_large,
            format!("{good}x"),
            format!(" {good}"),
            good.replace("aegis", "AEGIS"),
            good.replacen('0', "-", 1),
            good.replacen('x', "é", 1),
            good.replacen('x', "_", 1),
        ] {
            assert!(MachineToken::parse(&bad).is_none(), "{bad}");
        }
    }
}
