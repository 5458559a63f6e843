//! Compares results with those of `email-validator` 2.4 under Pydantic 2.14.

use proptest::prelude::*;

use super::*;
use crate::samples;

#[track_caller]
fn shown(text: &str) -> String {
    EmailAddress::parse(text).unwrap().as_str().to_owned()
}

#[track_caller]
fn key(text: &str) -> String {
    EmailAddress::parse(text).unwrap().key()
}

#[track_caller]
fn reason(text: &str) -> String {
    EmailAddress::parse(text).unwrap_err().reason
}

#[test]
fn local_part_is_kept_and_domain_normalised() {
    for (given, expected) in [
        ("ada@example.com", "ada@example.com"),
        ("  Ada.Lovelace+news@Example.COM \n", "Ada.Lovelace+news@example.com"),
        ("Ada <ada@example.com>", "ada@example.com"),
        ("ada@mail.example", "ada@mail.example"),
        ("用户@例子.广告", "用户@例子.广告"),
        ("e\u{301}@example.com", "é@example.com"),
        ("ada@MÜNCHEN.de", "ada@münchen.de"),
        ("ada@xn--mnchen-3ya.de", "ada@münchen.de"),
        ("ada@XN--MNCHEN-3YA.de", "ada@münchen.de"),
        ("ada@ｅｘａｍｐｌｅ。com", "ada@example.com"),
        ("ada@faß.de", "ada@faß.de"),
    ] {
        assert_eq!(shown(given), expected, "{given}");
    }
}

#[test]
fn equivalent_spellings_share_a_key() {
    assert_eq!(key("ADA@example.com"), key(" ada@EXAMPLE.com"));
    assert_eq!(key("ada@münchen.de"), key("Ada@xn--mnchen-3ya.de"));
    assert_eq!(key("ａｄａ@example.com"), key("ada@example.com"));
    assert_eq!(key("STRASSE@example.com"), key("straße@example.com"));
    assert_eq!(key("ada@münchen.de"), "ada@xn--mnchen-3ya.de");
}

#[test]
fn distinct_domains_have_distinct_keys() {
    assert_ne!(key("ada@faß.de"), key("ada@fass.de"));
    assert_ne!(key("ada@example.com"), key("ada@example.org"));
}

#[test]
fn rejection_messages_match_email_validator() {
    for (text, expected) in [
        ("", "An email address must have an @-sign."),
        ("ada", "An email address must have an @-sign."),
        (
            "ada＠example.com",
            "The email address has the \"full-width\" at-sign (@) character instead of a regular at-sign.",
        ),
        ("@example.com", "There must be something before the @-sign."),
        ("ada@", "There must be something after the @-sign."),
        ("a(d)a@example.com", "The email address contains invalid characters before the @-sign: '(', ')'."),
        ("a da@example.com", "The email address contains invalid characters before the @-sign: SPACE."),
        ("ada\0@example.com", "The email address contains invalid characters before the @-sign: U+0000."),
        ("ad\u{200D}a@example.com", "The email address contains unsafe characters: ZERO WIDTH JOINER."),
        (
            "a\u{37E}da@example.com",
            "After Unicode normalization: The email address contains invalid characters before the @-sign: \
             ';'.",
        ),
        (".ada@example.com", "An email address cannot start with a period."),
        ("ada.@example.com", "An email address cannot have a period immediately before the @-sign."),
        ("a..da@example.com", "An email address cannot have two periods in a row."),
        ("\"a da\"@example.com", "Quoting the part before the @-sign is not allowed here."),
        ("ada\n@example.com", "Carriage return and line feed characters are not allowed"),
        (
            "a<b@example.com",
            "An open angle bracket at the start of the email address has to be followed by a close angle \
             bracket at the end.",
        ),
        ("a<b@example.com>c", "There can't be anything after the email address."),
    ] {
        assert_eq!(reason(text), expected, "{text:?}");
    }
}

#[test]
fn domain_rejection_messages_match_email_validator() {
    for (text, expected) in [
        ("a@b@example.com", "The part after the @-sign contains invalid characters: '@'."),
        ("a@x_y.com", "The part after the @-sign contains invalid characters: '_'."),
        ("a@1…com", "The part after the @-sign contains invalid characters: '…'."),
        ("a@.example.com", "An email address cannot have a period immediately after the @-sign."),
        ("a@example.com.", "An email address cannot end with a period."),
        ("a@example..com", "An email address cannot have two periods in a row."),
        ("a@-example.com", "An email address cannot have a hyphen immediately after the @-sign."),
        ("a@example.com-", "An email address cannot end with a hyphen."),
        ("a@example-.com", "An email address cannot have a period and a hyphen next to each other."),
        (
            "a@ab--c.com",
            "An email address cannot have two letters followed by two dashes immediately after the @-sign or \
             after a period, except Punycode.",
        ),
        ("a@example", "The part after the @-sign is not valid. It should have a period."),
        ("a@127.0.0.1", "The part after the @-sign is not valid. It is not within a valid top-level domain."),
        ("a@[127.0.0.1]", "A bracketed IP address after the @-sign is not allowed here."),
        (
            "a@💩.la",
            "The part after the @-sign is invalid (Codepoint U+1F4A9 at position 1 of '💩' not allowed).",
        ),
        ("a@xn--zzzzzzzz99999.com", "The part after the @-sign is not valid IDNA."),
        ("a@1.אב.com", "The part after the @-sign is not valid IDNA."),
    ] {
        assert_eq!(reason(text), expected, "{text:?}");
    }
}

#[test]
fn special_use_domains_are_rejected() {
    for domain in ["x.test", "x.local", "x.localhost", "x.invalid", "x.onion", "1.in-addr.arpa"] {
        assert_eq!(
            reason(&format!("ada@{domain}")),
            "The part after the @-sign is a special-use or reserved name that cannot be used with email."
        );
    }
    for domain in ["example.com", "example.net", "x.example", "test.com", "mylocal.io"] {
        assert_eq!(shown(&format!("ada@{domain}")), format!("ada@{domain}"));
    }
}

#[test]
fn address_has_at_most_254_octets() {
    let domain = "example.com";
    let longest = format!("{}@{domain}", "a".repeat(242));
    assert_eq!(shown(&longest).len(), MAX_EMAIL_OCTETS);
    for (text, expected) in [
        (format!("a{longest}"), "The email address is too long (1 character too many)."),
        (format!("{}@{domain}", "é".repeat(124)), "The email address is too long (3-6 characters too many)."),
        (
            format!("{}@{}com", "a".repeat(190), "é.".repeat(15)),
            "The email address is too long when the part after the @-sign is converted to IDNA ASCII (60 \
             bytes too many).",
        ),
        (
            format!("a@{}.com", "x".repeat(64)),
            "After the @-sign, periods cannot be separated by so many characters (1 character too many).",
        ),
        (
            format!("a@{}com", "x.".repeat(126)),
            "The email address is too long after the @-sign (2 characters too many).",
        ),
        ("a".repeat(2049), "Length must not exceed 2048 characters"),
    ] {
        assert_eq!(reason(&text), expected);
    }
}

#[test]
fn address_for_mail_servers_has_an_ascii_domain() {
    for (text, ascii) in [
        ("Ada@BÜCHER.example", "Ada@xn--bcher-kva.example"),
        ("Ada@xn--bcher-kva.example", "Ada@xn--bcher-kva.example"),
        ("zoë@example.com", "zoë@example.com"),
    ] {
        assert_eq!(EmailAddress::parse(text).unwrap().with_ascii_domain(), ascii);
    }
    assert_eq!(EmailAddress::from_stored("Ada").with_ascii_domain(), "Ada");
}

#[test]
fn stored_address_keeps_its_key_under_stricter_rules() {
    let recorded = EmailAddress::from_stored("Ada@Intranet.Test");
    assert_eq!(recorded.as_str(), "Ada@Intranet.Test");
    assert_eq!(recorded.key(), "ada@intranet.test");
    assert_eq!(EmailAddress::from_stored("Ada").key(), "ada");
}

proptest! {
    #![proptest_config(samples::config())]

    #[test]
    fn parsing_is_idempotent(text in samples::address_text()) {
        if let Ok(address) = EmailAddress::parse(&text) {
            let again = EmailAddress::parse(address.as_str());
            prop_assert_eq!(again.as_ref(), Ok(&address));
            prop_assert_eq!(again.map(|again| again.key()), Ok(address.key()));
        }
    }

    #[test]
    fn address_key_is_case_insensitive(address in samples::email()) {
        let shouted = EmailAddress::parse(&address.as_str().to_uppercase());
        prop_assert_eq!(shouted.map(|shouted| shouted.key()), Ok(address.key()));
    }

    #[test]
    fn any_text_parses_or_is_rejected_without_panic(text in ".{0,300}") {
        if let Ok(address) = EmailAddress::parse(&text) {
            prop_assert!(address.as_str().len() <= MAX_EMAIL_OCTETS);
        }
    }
}

#[test]
fn quoted_at_sign_does_not_split() {
    assert_eq!(split(r#""a\"@b"@example.com"#).unwrap(), (r#""a\"@b""#, "example.com"));
}

#[test]
fn display_name_before_angle_brackets_is_dropped() {
    for text in ["<a@b.c>", "Ada <a@b.c>", "Ada  King-Noël < a@b.c >", r#""King, Ada" <a@b.c>"#] {
        assert_eq!(split(text), Ok(("a", "b.c")), "{text}");
    }
}
