use std::collections::BTreeSet;

use proptest::prelude::{Strategy, any, prop_assert, prop_assert_eq, proptest};
use serde::Deserialize;

use super::*;

const CHEAP: HashParameters = HashParameters { memory_kib: 64, iterations: 1, parallelism: 1 };

/// Hashes made by the libraries whose forms are accepted; the file names their versions and the calls.
#[derive(Deserialize)]
struct KnownAnswers {
    hashes: Vec<KnownAnswer>,
}

#[derive(Deserialize)]
struct KnownAnswer {
    form: String,
    password: String,
    hash: String,
}

fn known_answers() -> Vec<KnownAnswer> {
    serde_json::from_str::<KnownAnswers>(include_str!("known_answers.json")).unwrap().hashes
}

#[track_caller]
fn parse(text: &str) -> StoredHash {
    StoredHash::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn verify(password: &[u8], text: &str) -> bool {
    Hasher::new(CHEAP).verify(password, &parse(text)).unwrap()
}

#[track_caller]
fn assert_refused(text: &str, reason: &str) {
    let refused = StoredHash::parse(text).err().map(|error| error.to_string());
    assert_eq!(refused.as_deref(), Some(reason), "{text}");
}

#[test]
fn password_verifies_only_against_its_own_hash() {
    let mut hasher = Hasher::new(CHEAP);
    let hash = hasher.hash(b"correct horse", &[1; 16]).unwrap();
    assert!(hash.expose().starts_with("$argon2id$v=19$m=64,t=1,p=1$"));
    let stored = parse(hash.expose());
    assert!(hasher.is_current(&stored));
    assert_eq!(hasher.verify(b"correct horse", &stored), Ok(true));
    assert_eq!(hasher.verify(b"correct hors", &stored), Ok(false));
}

#[test]
fn legacy_argon2_cffi_hashes_verify() {
    // Made by argon2-cffi 23.1, `PasswordHasher().hash("correct horse battery")`: m=65536, t=3, p=4.
    let hash = include_str!("argon2_cffi_hash.txt").trim();
    assert!(verify(b"correct horse battery", hash));
    assert!(!verify(b"wrong", hash));
}

#[test]
fn hashes_of_other_systems_verify_their_password_alone() {
    let mut hasher = Hasher::new(CHEAP);
    let answers = known_answers();
    let passwords: BTreeSet<_> = answers.iter().map(|answer| answer.password.as_str()).collect();
    assert_eq!(passwords.len(), 4);
    for KnownAnswer { form, password, hash } in &answers {
        let stored = parse(hash);
        assert_eq!(hasher.verify(password.as_bytes(), &stored), Ok(true), "{form}: {hash}");
        assert!(!hasher.is_current(&stored), "{form}");
        let changed = format!("{}!", password.chars().rev().collect::<String>());
        for wrong in [changed.as_str(), "", "wrong"] {
            assert_eq!(hasher.verify(wrong.as_bytes(), &stored), Ok(false), "{form}: {hash}");
        }
    }
}

#[test]
fn every_accepted_form_has_known_answers() {
    let answers = known_answers();
    for (prefix, _) in FORMS {
        assert!(answers.iter().any(|answer| answer.hash.starts_with(prefix)), "{prefix}");
    }
    for argon2 in ["$argon2i$", "$argon2d$", "$argon2id$", "argon2$argon2id$"] {
        assert!(answers.iter().any(|answer| answer.hash.starts_with(argon2)), "{argon2}");
    }
}

#[test]
fn plain_bcrypt_ignores_what_follows_72_bytes_and_prehashed_bcrypt_does_not() {
    for KnownAnswer { form, password, hash } in known_answers() {
        if password.len() != 80 || !form.contains("bcrypt") {
            continue;
        }
        let truncates = !form.contains("sha256");
        for (number, same) in [(72, truncates), (71, false)] {
            assert_eq!(verify(&password.as_bytes()[..number], &hash), same, "{form}: {number} bytes");
        }
        let other_end = format!("{}other end", &password[..72]);
        assert_eq!(verify(other_end.as_bytes(), &hash), truncates, "{form}");
    }
}

#[test]
fn zero_bytes_are_part_of_the_password_of_bcrypt() {
    // Made by pyca/bcrypt 5.0.0, which does not end a password at a zero byte.
    let salt = "$2b$04$abcdefghijklmnopqrstuu";
    let hash = |digest| format!("{salt}{digest}");
    let (with_zero, without) = ("o18IGPhAd/HzW4M2PTaBFRFTK9llj.O", "0CkeIeZLJOlOL1QPPhfXulLNPdFqJBW");
    assert!(verify(b"ab\0cd", &hash(with_zero)));
    assert!(!verify(b"ab\0ce", &hash(with_zero)));
    assert!(!verify(b"ab", &hash(with_zero)));
    assert!(verify(b"ab", &hash(without)));
    assert!(!verify(b"ab\0cd", &hash(without)));
    assert!(verify(b"", &hash("byCG3zY1GIXMyxfivm.ClDiInHzxjiq")));
}

#[test]
fn unused_bits_of_bcrypt_salts_are_ignored_except_where_the_salt_is_a_key() {
    assert!(verify(b"ab", "$2b$04$abcdefghijklmnopqrstuv0CkeIeZLJOlOL1QPPhfXulLNPdFqJBW"));
    let digest = "YCHMvp9DX9gVZvyprR/dB2pITZ/4rKG";
    assert_refused(
        &format!("$bcrypt-sha256$v=2,t=2b,r=4$7plW4XvV4n.nb2pSAmSuGv${digest}"),
        "the salt of the bcrypt hash is malformed",
    );
}

#[test]
fn costs_above_a_limit_are_refused_with_the_limit() {
    let argon2 = |costs: &str| {
        format!("$argon2id$v=19${costs}$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA")
    };
    let memory = "Argon2 memory (KiB) 4194304 is above the limit of 1048576";
    assert_refused(&argon2("m=4194304,t=1,p=1"), memory);
    assert_refused(&format!("argon2{}", argon2("m=4194304,t=1,p=1")), memory);
    let iterations = "Argon2 iterations 4294967295 is above the limit of 64";
    assert_refused(&argon2("m=64,t=4294967295,p=1"), iterations);
    assert_refused(&argon2("m=1048576,t=1,p=65"), "Argon2 parallelism 65 is above the limit of 64");
    parse(&argon2("m=1048576,t=64,p=64"));

    let bcrypt = |cost: &str| format!("$2b${cost}$abcdefghijklmnopqrstuu0CkeIeZLJOlOL1QPPhfXulLNPdFqJBW");
    assert_refused(&bcrypt("31"), "bcrypt cost 31 is above the limit of 16");
    assert_refused(&format!("bcrypt${}", bcrypt("17")), "bcrypt cost 17 is above the limit of 16");
    assert_refused(
        "$bcrypt-sha256$v=2,t=2b,r=31$7plW4XvV4n.nb2pSAmSuGu$YCHMvp9DX9gVZvyprR/dB2pITZ/4rKG",
        "bcrypt cost 31 is above the limit of 16",
    );
    parse(&bcrypt("16"));

    let scrypt = |costs: &str| format!("scrypt:{costs}$salt${}", "00".repeat(64));
    assert_refused(&scrypt("2097152:8:1"), "scrypt memory (KiB) 2097153 is above the limit of 1048640");
    // Memory that depends on the lanes, not on N.
    assert_refused(&scrypt("2:1:16777216"), "scrypt memory (KiB) 2097152 is above the limit of 1048640");
    assert_refused(&scrypt("2:8:2097152"), "scrypt memory (KiB) 2097154 is above the limit of 1048640");
    assert_refused(&scrypt("1048576:8:5"), "scrypt work (N*r*p) 41943040 is above the limit of 33554432");
    for huge in ["ln=64,r=8,p=1", "ln=20,r=18446744073709551616,p=1", "ln=99999999999999999999,r=8,p=1"] {
        let text =
            format!("$scrypt${huge}$vZdSqlWqlZKSEmJsTQmBcA$qk3Rixll+n3zkT5OGMiWsGLtSLbJuz2/KdDgK0SX8a8");
        let refused = StoredHash::parse(&text).err();
        assert!(matches!(refused, Some(UnsupportedHash::TooCostly { .. })), "{huge}: {refused:?}");
    }
    parse(&scrypt("1048576:8:4"));

    let pbkdf2 = |iterations: &str| format!("pbkdf2_sha1${iterations}$salt$nRMNYBNuTwzVvYJRJAQAUChnDlI=");
    for iterations in ["10000001", "18446744073709551615"] {
        let reason = format!("PBKDF2 iteration count {iterations} is above the limit of 10000000");
        assert_refused(&pbkdf2(iterations), &reason);
    }
    parse(&pbkdf2("10000000"));
}

/// Which of two values counts differs between parsers, so that the one that is checked may not be the one that is used.
#[test]
fn repeated_argon2_costs_are_refused() {
    let costs = |m: &str, t: &str, p: &str| {
        format!(
            "$argon2id$v=19${m},{t},{p}$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
        )
    };
    parse(&costs("m=19456", "t=2", "p=1"));
    for repeated in [
        costs("m=19456,m=4294967295", "t=2", "p=1"),
        costs("m=4294967295,m=19456", "t=2", "p=1"),
        costs("m=19456", "t=2,t=4294967295", "p=1"),
        costs("m=19456", "t=2", "p=1,p=2000"),
        costs("m=19456", "t=2", "p=1,m=19456"),
    ] {
        assert_refused(&repeated, "the costs of the Argon2 hash is malformed");
    }
}

#[test]
fn malformed_hashes_are_refused_with_the_part() {
    let bcrypt = |part: &str| format!("the {part} of the bcrypt hash is malformed");
    assert_refused("$2b$03$abcdefghijklmnopqrstuu0CkeIeZLJOlOL1QPPhfXulLNPdFqJBW", &bcrypt("cost"));
    assert_refused("$2b$4$abcdefghijklmnopqrstuu0CkeIeZLJOlOL1QPPhfXulLNPdFqJBW", &bcrypt("cost"));
    assert_refused("$2b$04$abcdefghijklmnopqrstuu0CkeIeZLJOlOL1QPPhfXulLNPdFqJB", &bcrypt("digest"));
    assert_refused("$2b$04$abcdefghijklmnopqrst", &bcrypt("salt"));
    assert_refused("$2b$04", &bcrypt("structure"));
    assert_refused("bcrypt$$2x$04$abcdefghijklmnopqrstuu0CkeIeZLJOlOL1QPPhfXulLNPdFqJBW", &bcrypt("version"));

    let scrypt = |part: &str| format!("the {part} of the scrypt hash is malformed");
    let digest = "00".repeat(64);
    for costs in ["1000:8:1", "1:8:1", "0:8:1", "1024:0:1", "1024:8:0", "-1024:8:1", "1024:8", "1_024:8:1"] {
        assert_refused(&format!("scrypt:{costs}$salt${digest}"), &scrypt("costs"));
    }
    assert_refused("scrypt:1024:8:1$salt$00", &scrypt("digest"));
    assert_refused("scrypt:1024:8:1$salt", &scrypt("structure"));

    let pbkdf2 = |part: &str| format!("the {part} of the PBKDF2 hash is malformed");
    let digest = "339cb4caa284c779239d4814be9751fe7bf0428d";
    assert_refused(&format!("pbkdf2:sha1:0$salt${digest}"), &pbkdf2("iteration count"));
    assert_refused(&format!("pbkdf2:sha1:+1$salt${digest}"), &pbkdf2("iteration count"));
    assert_refused(&format!("pbkdf2:sha1$salt${digest}"), &pbkdf2("structure"));
    assert_refused(&format!("pbkdf2:sha256:1000$salt${digest}"), &pbkdf2("digest"));
    assert_refused(&format!("pbkdf2:sha1:1000$salt${digest}{digest}"), &pbkdf2("digest"));

    let argon2 = |part: &str| format!("the {part} of the Argon2 hash is malformed");
    let hash = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    assert_refused(&format!("$argon2id$v=19$m=4,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA${hash}"), &argon2("costs"));
    assert_refused("$argon2id$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA", &argon2("digest"));
    assert_refused("$argon2id$plain", &argon2("structure"));
}

#[test]
fn other_forms_are_unknown() {
    let digest = "00".repeat(16);
    for text in [
        "",
        "plain text",
        "$1$salt$hash",
        "$6$salt$hash",
        "$2x$04$abcdefghijklmnopqrstuu0CkeIeZLJOlOL1QPPhfXulLNPdFqJBW",
        "md5$salt$hash",
        "argon2$bcrypt",
        "$argon2x$v=19$m=64,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "$pbkdf2-md5$1000$salt$hash",
        "$pbkdf2-sha1$1000$salt$hash",
        &format!("pbkdf2:md5:1000$salt${digest}"),
    ] {
        assert_refused(text, "the password hash is of no supported form");
    }
    assert_refused(&"x".repeat(1025), "the password hash is longer than 1024 bytes");
}

#[test]
fn decoys_are_of_their_kind_and_match_no_password() {
    let mut hasher = Hasher::new(CHEAP);
    let mut kinds = BTreeSet::from([HashKind::current(CHEAP).unwrap()]);
    for KnownAnswer { password, hash, .. } in known_answers() {
        let stored = parse(&hash);
        let decoy = StoredHash::decoy(stored.kind(), &[7; 32]);
        assert!(decoy.kind() == stored.kind() && decoy.digest.len() == stored.digest.len());
        if kinds.insert(decoy.kind()) {
            for password in [password.as_str(), "", "\u{7}"] {
                assert_eq!(hasher.verify(password.as_bytes(), &decoy), Ok(false), "{}", decoy.kind());
            }
        }
    }
    let labels: BTreeSet<_> = kinds.iter().map(HashKind::to_string).collect();
    for label in ["bcrypt,cost=4", "bcrypt-sha256,cost=4", "scrypt,ln=15,r=8,p=1", "pbkdf2-sha256,i=29000"] {
        assert!(labels.contains(label), "{labels:?}");
    }
}

/// A known answer with a character replaced, inserted or removed, or an end cut off.
fn mutated() -> impl Strategy<Value = (String, String)> {
    let edit = (any::<proptest::sample::Index>(), any::<proptest::sample::Index>(), 0..4, any::<char>());
    edit.prop_map(|(answer, place, edit, inserted)| {
        let answers = known_answers();
        let KnownAnswer { password, hash, .. } = answer.get(&answers);
        let mut chars: Vec<char> = hash.chars().collect();
        let place = place.index(chars.len());
        match edit {
            0 => chars[place] = inserted,
            1 => chars.insert(place, inserted),
            2 => drop(chars.remove(place)),
            _ => chars.truncate(place),
        }
        (password.clone(), chars.into_iter().collect())
    })
}

proptest! {
    #[test]
    fn any_text_is_parsed_or_refused(text in any::<String>(), form in any::<proptest::sample::Index>()) {
        prop_assert!(StoredHash::parse(&text).is_err());
        let (prefix, _) = form.get(&FORMS);
        for text in [format!("{prefix}{text}"), format!("$argon2id${text}"), format!("{prefix}1${text}$1$2$3")] {
            prop_assert!(StoredHash::parse(&text).is_err());
        }
    }

    #[test]
    fn mutated_hashes_are_refused_or_can_be_verified((password, hash) in mutated()) {
        if let Ok(stored) = StoredHash::parse(&hash)
            && known_answers().iter().any(|answer| parse(&answer.hash).kind() == stored.kind())
        {
            let mut hasher = Hasher::new(CHEAP);
            prop_assert!(hasher.verify(password.as_bytes(), &stored).is_ok());
            prop_assert_eq!(hasher.verify(b"wrong", &stored), Ok(false));
        }
    }
}
