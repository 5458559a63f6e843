use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::samples::{config, stored, token_event};
use crate::value::{Erasable, Moment, Role, TokenName, TokenSecretHash};

fn at(text: &str) -> Moment {
    Moment::parse(text).unwrap()
}

fn issue() -> TokenCommand {
    TokenCommand::Issue {
        name: TokenName::parse("billing").unwrap(),
        roles: BTreeSet::from([Role::Operator, Role::Service]),
        expires_at: Some(at("2027-01-01T00:00:00.000Z")),
        secret_hash: TokenSecretHash::new([7; 32]),
    }
}

fn after(commands: impl IntoIterator<Item = TokenCommand>) -> Token {
    commands.into_iter().fold(Token::default(), |token, command| match decide(&token, command).unwrap() {
        Some(event) => evolve(token, &event),
        None => token,
    })
}

#[test]
fn token_is_valid_until_it_expires_or_is_revoked() {
    let (before, end) = (at("2026-12-31T23:59:59.999Z"), at("2027-01-01T00:00:00.000Z"));
    let token = after([issue()]);
    assert!(token.valid_at(before).is_some());
    assert!(token.valid_at(end).is_none());
    assert!(after([issue(), TokenCommand::Revoke]).valid_at(before).is_none());
    assert!(Token::Absent.valid_at(before).is_none());
}

#[test]
fn repetitions_change_nothing_and_revoked_tokens_stay_revoked() {
    let revoked = after([issue(), TokenCommand::Revoke]);
    assert_eq!(decide(&revoked, TokenCommand::Revoke), Ok(None));
    assert_eq!(decide(&revoked, TokenCommand::RecordUse { is_recorded: false }), Ok(None));
    assert_eq!(decide(&revoked, issue()), Err(TokenRejection::AlreadyIssued));
    let active = after([issue()]);
    assert_eq!(decide(&active, TokenCommand::RecordUse { is_recorded: true }), Ok(None));
    assert_eq!(
        decide(&active, TokenCommand::RecordUse { is_recorded: false }),
        Ok(Some(TokenEvent::TokenUsed))
    );
    assert_eq!(decide(&Token::Absent, TokenCommand::Revoke), Err(TokenRejection::Unknown));
}

#[test]
fn wire_format() {
    let issued = decide(&Token::Absent, issue()).unwrap().unwrap();
    let secret = "07".repeat(32);
    assert_eq!(
        stored(issued.encode()),
        format!(
            r#"TokenIssued 1
data {{
  "expires_at": "2027-01-01T00:00:00.000Z",
  "name": "billing",
  "roles": "operator,service"
}}
personal {{
  "secret_hash": "{secret}"
}}"#
        )
    );
    assert_eq!(stored(TokenEvent::TokenUsed.encode()), "TokenUsed 1\ndata {}\npersonal {}");
    assert_eq!(stored(TokenEvent::TokenRevoked.encode()), "TokenRevoked 1\ndata {}\npersonal {}");
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn stored_form_round_trips(event in token_event()) {
        let encoded = event.encode();
        let personal = Erasable::Known(&encoded.personal);
        let decoded = TokenEvent::decode(encoded.event_type, encoded.schema, &encoded.data, personal);
        prop_assert_eq!(decoded, Ok(event));
    }
}
