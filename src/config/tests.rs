//! Loading settings from sources, end to end.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use store::Env;

use super::definitions::DefaultValue;
use super::load::{for_command, for_service};
use super::redaction::MASK;
use super::show::{ShownSetting, show_all};
use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const MASTER: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn environment(pairs: &[(&str, &str)]) -> ConfigSources {
    let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    ConfigSources { environment, ..ConfigSources::default() }
}

/// A service on MongoDB, which needs no data directory.
fn mongo(pairs: &[(&str, &str)]) -> ConfigSources {
    let base =
        [("MONGODB_URL", "mongodb://h/?replicaSet=rs0"), ("SECRET_KEY", KEY), ("AEGIS_MASTER_KEY", MASTER)];
    environment(&[&base, pairs].concat())
}

fn embedded(folder: &Path) -> ConfigSources {
    environment(&[("AEGIS_DATA_DIR", folder.to_str().unwrap())])
}

fn load(sources: &ConfigSources) -> Result<Settings, ConfigError> {
    for_service(sources, &Env::system()).map(|loaded| loaded.settings)
}

#[track_caller]
fn invalid(result: Result<impl Sized, ConfigError>) -> Vec<InvalidSetting> {
    match result.map(drop).unwrap_err() {
        ConfigError::InvalidSettings(invalid) => invalid.0,
        other @ ConfigError::DataFolder(_) => panic!("{other}"),
    }
}

/// The only invalid setting.
#[track_caller]
fn only_invalid(sources: &ConfigSources) -> InvalidSetting {
    let [only] = invalid(load(sources)).try_into().unwrap();
    only
}

#[test]
fn defaults_apply_without_settings() {
    let folder = tempfile::tempdir().unwrap();
    let settings = load(&embedded(folder.path())).unwrap();
    assert!(matches!(settings.database, DatabaseSettings::Embedded { .. }));
    assert_eq!(settings.http.listen, "127.0.0.1:8000");
    assert_eq!(settings.http.api_prefix, "/api/v1");
    assert_eq!(settings.http.cors_origins, [""; 0]);
    assert_eq!(settings.http.trusted_proxies, []);
    assert_eq!(settings.tokens.lifetime.as_secs(), 7 * 24 * 60 * 60);
    let PasswordSettings { memory_kib, iterations, parallelism, threads, queue, min_length, min_score } =
        settings.passwords;
    assert_eq!((memory_kib, iterations, parallelism, queue), (19456, 2, 1, 256));
    assert_eq!((min_length, min_score), (8, 2));
    assert!(threads >= 1);
    assert_eq!((settings.log.filter.as_str(), settings.log.format), ("info", LogFormat::Text));
    assert!(settings.administrator.is_none() && settings.tokens.previous_key.is_none());
}

#[test]
fn every_default_is_valid() {
    for (definition, parse) in definitions::ALL.iter().zip(definitions::PARSERS) {
        if let DefaultValue::Text(text) = definition.default {
            assert_eq!(parse(text), Ok(()), "{}", definition.name);
        }
    }
}

#[test]
fn environment_overrides_dotenv_overrides_toml() {
    let sources = ConfigSources {
        dotenv: Some("PROJECT_NAME=two\nDATABASE_NAME=two\n".to_owned()),
        toml: Some("PROJECT_NAME = 'three'\nDATABASE_NAME = 'three'\nAEGIS_HASH_QUEUE = 3\n".to_owned()),
        ..mongo(&[("PROJECT_NAME", "one")])
    };
    let settings = load(&sources).unwrap();
    let DatabaseSettings::Mongo { name, .. } = &settings.database else { panic!("not MongoDB") };
    assert_eq!(
        (settings.http.project_name.as_str(), name.as_str(), settings.passwords.queue),
        ("one", "two", 3)
    );
}

#[test]
fn empty_value_means_unset_and_overrides_files() {
    let folder = tempfile::tempdir().unwrap();
    let mut sources = embedded(folder.path());
    sources.environment.insert("MONGODB_URL".to_owned(), "".into());
    sources.dotenv = Some("MONGODB_URL=mongodb://h\n".to_owned());
    assert!(matches!(load(&sources).unwrap().database, DatabaseSettings::Embedded { .. }));
}

#[test]
fn secrets_are_read_from_files() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("key"), format!("{KEY}\n")).unwrap();
    let mut sources = mongo(&[("SECRET_KEY_FILE", "key"), ("SECRET_KEY", "")]);
    folder.path().clone_into(&mut sources.folder);
    assert_eq!(load(&sources).unwrap().tokens.secret_key.unwrap().expose(), KEY);
    fs::write(folder.path().join("key"), format!("\u{feff}{KEY} \r\n")).unwrap();
    assert_eq!(load(&sources).unwrap().tokens.secret_key.unwrap().expose(), KEY, "as editors write it");

    sources.environment.insert("SECRET_KEY".to_owned(), KEY.into());
    let both = SettingProblem::ConflictsWith("SECRET_KEY_FILE".to_owned());
    assert_eq!(only_invalid(&sources), InvalidSetting::new("SECRET_KEY", SettingSource::Environment, both));

    sources.environment.insert("SECRET_KEY".to_owned(), "".into());
    sources.environment.insert("SECRET_KEY_FILE".to_owned(), "missing".into());
    let missing = only_invalid(&sources);
    assert_eq!((missing.subject.as_str(), &missing.source), ("SECRET_KEY_FILE", &SettingSource::Environment));
    assert!(matches!(missing.problem, SettingProblem::Unreadable { .. }), "{missing}");
}

#[test]
fn every_key_that_verifies_tokens_must_be_strong() {
    for name in ["SECRET_KEY", "AEGIS_SECRET_KEY_PREVIOUS"] {
        let invalid = only_invalid(&mongo(&[(name, "x")]));
        assert_eq!(invalid.subject, name);
        assert!(invalid.to_string().contains("has 1 bytes, at least 32 are required"), "{invalid}");
    }
    assert!(load(&mongo(&[("AEGIS_SECRET_KEY_PREVIOUS", KEY)])).unwrap().tokens.previous_key.is_some());
}

#[test]
fn unknown_name_suggests_the_closest_one() {
    let unknown = |subject: &str, source, closest: &str| {
        InvalidSetting::new(subject, source, SettingProblem::Unknown { closest: closest.to_owned() })
    };
    let environment = only_invalid(&mongo(&[("AEGIS_LISTN", "x")]));
    assert_eq!(environment, unknown("AEGIS_LISTN", SettingSource::Environment, "AEGIS_LISTEN"));
    let dotenv = only_invalid(&ConfigSources { dotenv: Some("AEGIS_DATADIR=x".to_owned()), ..mongo(&[]) });
    assert_eq!(dotenv, unknown("AEGIS_DATADIR", SettingSource::DotEnv, "AEGIS_DATA_DIR"));
    let toml = only_invalid(&ConfigSources { toml: Some("algoritm = 'HS256'".to_owned()), ..mongo(&[]) });
    assert_eq!(toml, unknown("algoritm", SettingSource::Toml, "ALGORITHM"));
    assert!(toml.to_string().contains("did you mean ALGORITHM?"));
}

#[test]
fn foreign_names_are_ignored() {
    let others = [
        ("PATH", "/bin"),
        ("AEGIS_TEST_RUN", "1"),
        ("AEGIS_PORT_8000_TCP", "tcp://x"),
        ("AEGIS_SERVICE_HOST", "y"),
    ];
    let sources = ConfigSources { dotenv: Some("BACKEND_CORS_ORIGINS=[]".to_owned()), ..mongo(&others) };
    load(&sources).unwrap();
    load(&mongo(&[("AEGIS_MONGOD", "/usr/bin/mongod")])).unwrap();
}

#[test]
fn all_errors_are_reported_at_once() {
    let sources = ConfigSources {
        dotenv: Some("ALGORITHM=RS256\n='\nAEGIS_NOPE=1".to_owned()),
        toml: Some("API_V1_STR = 'api/'\nAEGIS_HASH_QUEUE = 1.5".to_owned()),
        ..environment(&[
            ("MONGODB_URL", "postgres://u:s3cret@h"),
            ("SECRET_KEY", "s3cret"),
            ("AEGIS_LISTEN", "8000"),
            ("AEGIS_ARGON2_PARALLELISM", "4"),
            ("AEGIS_ARGON2_MEMORY_KIB", "16"),
            ("AEGIS_ADMIN_EMAIL", "ada"),
            ("AEGIS_ADMIN_PASSWORD", "s3cret"),
            ("AEGIS_LOG", "verbose"),
            ("AEGIS_TRUSTED_PROXIES", "10.0.0.0/8, proxy"),
        ])
    };
    let error = load(&sources).map(drop).unwrap_err().to_string();
    for part in [
        "MONGODB_URL (environment): not a MongoDB URL",
        "SECRET_KEY (environment): has 6 bytes, at least 32 are required: `openssl rand -base64 32`",
        "AEGIS_MASTER_KEY: not set, but required with MongoDB",
        "ALGORITHM (.env): `RS256` is not supported",
        "line 2 (.env): cannot be parsed",
        "AEGIS_NOPE (.env): unknown setting",
        "AEGIS_LISTEN (environment): `8000` is not an address and port",
        "API_V1_STR (aegis.toml): `api/` must start with a slash",
        "AEGIS_HASH_QUEUE (aegis.toml): not a string",
        "AEGIS_ARGON2_MEMORY_KIB (environment): 16 KiB is too little for 4 lanes",
        "AEGIS_ADMIN_EMAIL (environment): not an e-mail address",
        "AEGIS_ADMIN_PASSWORD (environment): ",
        "AEGIS_LOG (environment): `verbose` is not a level",
        "AEGIS_TRUSTED_PROXIES (environment): `proxy` is not a network",
        "14 invalid settings:",
    ] {
        assert!(error.contains(part), "{part} is missing from: {error}");
    }
    assert!(!error.contains("s3cret"), "{error}");
}

#[test]
fn invalid_toml_is_not_quoted() {
    let toml = "SECRET_KEY = 'x'\nSECRET_KEY = s3cret\n".to_owned();
    let error = only_invalid(&ConfigSources { toml: Some(toml), ..mongo(&[]) });
    assert_eq!((error.subject.as_str(), &error.source), ("line 2", &SettingSource::Toml));
    assert!(matches!(&error.problem, SettingProblem::Syntax(text) if !text.contains("s3cret")), "{error}");
}

#[test]
fn administrator_needs_email_and_password() {
    let both =
        load(&mongo(&[("AEGIS_ADMIN_EMAIL", "Ada@Example.com"), ("AEGIS_ADMIN_PASSWORD", "long enough")]));
    assert_eq!(both.unwrap().administrator.unwrap().email.as_str(), "Ada@example.com");
    for (set, value, missing) in [
        ("AEGIS_ADMIN_EMAIL", "a@b.example", "AEGIS_ADMIN_PASSWORD"),
        ("AEGIS_ADMIN_PASSWORD", "long enough", "AEGIS_ADMIN_EMAIL"),
    ] {
        let expected =
            InvalidSetting::new(missing, SettingSource::Default, SettingProblem::RequiredWith(set));
        assert_eq!(only_invalid(&mongo(&[(set, value)])), expected);
    }
}

#[test]
fn service_generates_keys_and_commands_find_them() {
    let folder = tempfile::tempdir().unwrap();
    let sources = embedded(&folder.path().join("data"));
    let none = for_command(&sources).map(drop).unwrap_err();
    assert!(matches!(none, ConfigError::DataFolder(DataFolderError::NoDatabase(_))), "{none}");

    let settings = load(&sources).unwrap();
    let again = load(&sources).unwrap();
    assert_eq!(settings.tokens.secret_key, again.tokens.secret_key);
    assert!(settings.tokens.secret_key.unwrap().expose().len() >= 32);
    fs::write(folder.path().join("data/aegis.db"), "").unwrap();
    let command = for_command(&sources).unwrap().settings;
    assert_eq!(command.master_key.keys().current(), settings.master_key.keys().current());

    fs::remove_file(folder.path().join("data/master.key")).unwrap();
    for error in [load(&sources).map(drop).unwrap_err(), for_command(&sources).map(drop).unwrap_err()] {
        assert!(
            matches!(error, ConfigError::DataFolder(DataFolderError::MasterKeyMissing { .. })),
            "{error}"
        );
    }
    let mut given = sources;
    given.environment.insert("AEGIS_MASTER_KEY".to_owned(), MASTER.into());
    load(&given).unwrap();
    for_command(&given).unwrap();
}

#[test]
fn configured_keys_are_not_written_to_disk() {
    let folder = tempfile::tempdir().unwrap();
    let mut sources = embedded(folder.path());
    sources.environment.insert("SECRET_KEY".to_owned(), KEY.into());
    sources.environment.insert("AEGIS_MASTER_KEY".to_owned(), MASTER.into());
    load(&sources).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn commands_on_mongodb_need_no_secret_key() {
    let required =
        |name: &str| InvalidSetting::new(name, SettingSource::Default, SettingProblem::RequiredWithMongo);
    let url = ("MONGODB_URL", "mongodb://h");
    for_command(&environment(&[url, ("AEGIS_MASTER_KEY", MASTER)])).unwrap();
    let for_command = invalid(for_command(&environment(&[url])));
    assert_eq!(for_command, [required("AEGIS_MASTER_KEY")]);
    assert!(for_command[0].to_string().contains("openssl rand -base64 32"));
    assert_eq!(invalid(load(&environment(&[url]))), [required("SECRET_KEY"), required("AEGIS_MASTER_KEY")]);
}

#[test]
fn shown_settings_mask_secrets_and_name_sources() {
    let sources = ConfigSources {
        dotenv: Some(format!("AEGIS_SECRET_KEY_PREVIOUS=s3cret-{KEY}")),
        toml: Some("DATABASE_NAME = 'other'".to_owned()),
        ..mongo(&[("MONGODB_URL", "mongodb://ada:s3cret@h/?replicaSet=rs0")])
    };
    let (shown, invalid) = show_all(&sources);
    assert_eq!(invalid, None);
    let find = |name: &str| {
        let shown = shown.iter().find(|shown| shown.name == name).unwrap();
        (shown.value.as_deref(), shown.source.as_str())
    };
    assert_eq!(find("MONGODB_URL"), (Some("mongodb://ada:********@h/?replicaSet=rs0"), "environment"));
    assert_eq!(find("AEGIS_SECRET_KEY_PREVIOUS"), (Some(MASK), ".env"));
    assert_eq!(find("DATABASE_NAME"), (Some("other"), "aegis.toml"));
    assert_eq!(find("ALGORITHM"), (Some("HS256"), "default"));
    assert_eq!(find("AEGIS_CORS_ORIGINS"), (None, "not set"));
    assert_eq!(find("AEGIS_HASH_THREADS").1, "default: one per core");
    let all = format!("{shown:?}");
    assert!(!all.contains("s3cret") && !all.contains(KEY) && !all.contains(MASTER), "{all}");
}

#[test]
fn shown_settings_name_key_files_and_errors() {
    let folder = tempfile::tempdir().unwrap();
    let sources = embedded(folder.path());
    let secret_key = |(shown, _): (Vec<ShownSetting>, _)| {
        shown.into_iter().find(|setting| setting.name == "SECRET_KEY").unwrap()
    };
    assert!(secret_key(show_all(&sources)).source.starts_with("generated at first start: "));
    load(&sources).unwrap();
    let stored = secret_key(show_all(&sources));
    assert!(stored.value.as_deref() == Some(MASK) && stored.source.ends_with("secret.key"), "{stored:?}");
    let (shown, invalid) = show_all(&environment(&[("MONGODB_URL", "mongodb://h"), ("ALGORITHM", "none")]));
    assert_eq!((shown.len(), invalid.unwrap().0.len()), (definitions::ALL.len(), 3));
}

#[test]
fn relay_needs_a_sender_and_working_links() {
    let relay = ("AEGIS_SMTP_URL", "smtps://svc:hunter22@mail.example.org");
    let invalid = invalid(load(&mongo(&[relay])));
    let texts: Vec<_> = invalid.iter().map(ToString::to_string).collect();
    assert_eq!(
        texts,
        [
            "AEGIS_MAIL_FROM: not set, but AEGIS_SMTP_URL is: set it, as in AEGIS_MAIL_FROM=no-reply@example.org",
            "AEGIS_PUBLIC_URL: not set, but AEGIS_SMTP_URL is: set it, as in AEGIS_PUBLIC_URL=https://example.org",
        ]
    );
    let complete =
        [relay, ("AEGIS_MAIL_FROM", "no-reply@example.org"), ("AEGIS_PUBLIC_URL", "https://example.org/x/")];
    let mail = load(&mongo(&complete)).unwrap().mail;
    assert!(matches!(mail.transport, MailTransportSetting::Smtp(_)));
    assert_eq!(mail.public_url, "https://example.org/x");
    assert!(!format!("{mail:?}").contains("hunter22"));
    let shown = show_all(&mongo(&complete)).0;
    let url = shown.iter().find(|setting| setting.name == "AEGIS_SMTP_URL").unwrap();
    assert_eq!(url.value.as_deref(), Some("smtps://svc:********@mail.example.org"));
}

#[test]
fn without_a_relay_mails_stay_in_the_data_directory() {
    let folder = tempfile::tempdir().unwrap();
    let mail = load(&embedded(folder.path())).unwrap().mail;
    let outbox = folder.path().join("outbox");
    assert!(matches!(&mail.transport, MailTransportSetting::Outbox(path) if *path == outbox));
    assert_eq!((mail.from.to_string().as_str(), mail.language), ("aegis@localhost", MailLanguage::English));
    let mail = load(&mongo(&[("AEGIS_MAIL_LANGUAGE", "de")])).unwrap().mail;
    assert!(matches!(mail.transport, MailTransportSetting::Off) && mail.language == MailLanguage::German);
}

/// Regenerates the table in docs/settings.md; a difference fails, here and in CI.
#[test]
fn settings_documentation_is_current() {
    const MARKS: [&str; 2] = ["<!-- settings: generated -->\n", "<!-- end -->"];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/settings.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(MARKS[0]).unwrap();
    let (_, after) = rest.split_once(MARKS[1]).unwrap();
    let mut table = "| name | default | meaning |\n|---|---|---|\n".to_owned();
    for setting in definitions::ALL {
        let default = match setting.default {
            DefaultValue::Unset => "not set".to_owned(),
            DefaultValue::Text(text) => format!("`{text}`"),
            DefaultValue::Computed(how) => how.to_owned(),
        };
        let file = setting.file_name().map(|name| format!(", `{name}`")).unwrap_or_default();
        writeln!(table, "| `{}`{file} | {default} | {} |", setting.name, setting.description).unwrap();
    }
    let current = format!("{before}{}{table}{}{after}", MARKS[0], MARKS[1]);
    if current != text {
        fs::write(&path, &current).unwrap();
        panic!("docs/settings.md was out of date and has been regenerated: commit it");
    }
}
