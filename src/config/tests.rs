//! What sources make of settings, from end to end.

use std::fs;
use std::path::Path;

use store::Env;

use super::definitions;
use super::load::{for_command, for_service};
use super::show::{MASK, survey};
use super::*;

const KEY: &str = "0123456789abcdef0123456789abcdef";
const MASTER: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

fn environment(pairs: &[(&str, &str)]) -> ConfigSources {
    let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
    ConfigSources { environment, ..ConfigSources::default() }
}

/// A service on MongoDB: needs no folder.
fn mongo(pairs: &[(&str, &str)]) -> ConfigSources {
    let base =
        [("MONGODB_URL", "mongodb://h/?replicaSet=rs0"), ("SECRET_KEY", KEY), ("AEGIS_MASTER_KEY", MASTER)];
    environment(&[&base, pairs].concat())
}

fn embedded(folder: &Path) -> ConfigSources {
    environment(&[("AEGIS_DATA_DIR", folder.to_str().unwrap())])
}

fn load(sources: &ConfigSources) -> Result<Settings, String> {
    for_service(sources, &Env::system()).map(|loaded| loaded.settings).map_err(|error| error.to_string())
}

#[track_caller]
fn fault(sources: &ConfigSources) -> String {
    load(sources).map(drop).unwrap_err()
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
    let PasswordSettings { memory_kib, iterations, parallelism, threads, queue, min_length } =
        settings.passwords;
    assert_eq!((memory_kib, iterations, parallelism, queue, min_length), (19456, 2, 1, 256, 8));
    assert!(threads >= 1);
    assert_eq!((settings.log.filter.as_str(), settings.log.format), ("info", LogFormat::Text));
    assert!(settings.administrator.is_none() && settings.tokens.previous_key.is_none());
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
    sources.folder = folder.path().to_owned();
    assert_eq!(load(&sources).unwrap().tokens.secret_key.expose(), KEY);

    sources.environment.insert("SECRET_KEY".to_owned(), KEY.into());
    let both = fault(&sources);
    assert!(both.contains("SECRET_KEY (environment): set together with SECRET_KEY_FILE"), "{both}");

    sources.environment.insert("SECRET_KEY".to_owned(), "".into());
    sources.environment.insert("SECRET_KEY_FILE".to_owned(), "missing".into());
    let missing = fault(&sources);
    assert!(
        missing.contains("SECRET_KEY_FILE (environment): ") && missing.contains("cannot be read"),
        "{missing}"
    );
    assert!(!missing.contains("is not set"), "one fault is enough: {missing}");
}

#[test]
fn unknown_name_suggests_the_closest_one() {
    let environment = fault(&mongo(&[("AEGIS_LISTN", "x")]));
    assert!(
        environment.contains("AEGIS_LISTN (environment): ")
            && environment.contains("did you mean AEGIS_LISTEN?")
    );
    let dotenv = fault(&ConfigSources { dotenv: Some("AEGIS_DATADIR=x".to_owned()), ..mongo(&[]) });
    assert!(
        dotenv.contains("AEGIS_DATADIR (.env): ") && dotenv.contains("did you mean AEGIS_DATA_DIR?"),
        "{dotenv}"
    );
    let toml = fault(&ConfigSources { toml: Some("algoritm = 'HS256'".to_owned()), ..mongo(&[]) });
    assert!(toml.contains("algoritm (aegis.toml): ") && toml.contains("did you mean ALGORITHM?"), "{toml}");
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
    let told = fault(&sources);
    for part in [
        "MONGODB_URL (environment): is no MongoDB URL",
        "SECRET_KEY (environment): has 6 bytes, at least 32 are needed: `openssl rand -base64 32`",
        "AEGIS_MASTER_KEY: is not set; with MongoDB it is required",
        "ALGORITHM (.env): `RS256` is not supported",
        "line 2 (.env): cannot be read",
        "AEGIS_NOPE (.env): there is no such setting",
        "AEGIS_LISTEN (environment): `8000` is no address and port",
        "API_V1_STR (aegis.toml): `api/` must begin with a slash",
        "AEGIS_HASH_QUEUE (aegis.toml): must be a text",
        "AEGIS_ARGON2_MEMORY_KIB (environment): 16 KiB is too little for 4 lanes",
        "AEGIS_ADMIN_EMAIL (environment): is no e-mail address",
        "AEGIS_ADMIN_PASSWORD (environment): a password has at least 8 characters",
        "AEGIS_LOG (environment): `verbose` is no level",
        "AEGIS_TRUSTED_PROXIES (environment): `proxy` is no network",
        ", 14 faults:",
    ] {
        assert!(told.contains(part), "{part} is missing from: {told}");
    }
    assert!(!told.contains("s3cret"), "{told}");
}

#[test]
fn invalid_toml_is_not_quoted() {
    let told = fault(&ConfigSources {
        toml: Some("SECRET_KEY = 'x'\nSECRET_KEY = s3cret\n".to_owned()),
        ..mongo(&[])
    });
    assert!(told.contains("line 2 (aegis.toml): is no TOML") && !told.contains("s3cret"), "{told}");
}

#[test]
fn administrator_needs_email_and_password() {
    let both =
        load(&mongo(&[("AEGIS_ADMIN_EMAIL", "Ada@Example.com"), ("AEGIS_ADMIN_PASSWORD", "long enough")]));
    assert_eq!(both.unwrap().administrator.unwrap().email.as_str(), "Ada@example.com");
    assert!(
        fault(&mongo(&[("AEGIS_ADMIN_EMAIL", "a@b.example")])).contains("AEGIS_ADMIN_PASSWORD: is not set")
    );
    assert!(
        fault(&mongo(&[("AEGIS_ADMIN_PASSWORD", "long enough")])).contains("AEGIS_ADMIN_EMAIL: is not set")
    );
}

#[test]
fn service_generates_keys_and_commands_find_them() {
    let folder = tempfile::tempdir().unwrap();
    let sources = embedded(&folder.path().join("data"));
    let none = for_command(&sources).map(drop).unwrap_err().to_string();
    assert!(none.contains("no database at"), "{none}");

    let settings = load(&sources).unwrap();
    let again = load(&sources).unwrap();
    assert_eq!(settings.tokens.secret_key.expose(), again.tokens.secret_key.expose());
    assert!(settings.tokens.secret_key.expose().len() >= 32);
    fs::write(folder.path().join("data/aegis.db"), "").unwrap();
    let command = for_command(&sources).unwrap().settings;
    assert_eq!(command.master_key.keys().current(), settings.master_key.keys().current());

    fs::remove_file(folder.path().join("data/master.key")).unwrap();
    for lost in [fault(&sources), for_command(&sources).map(drop).unwrap_err().to_string()] {
        assert!(lost.contains("master.key is missing"), "{lost}");
    }
    let given = ConfigSources {
        environment: [sources.environment, environment(&[("AEGIS_MASTER_KEY", MASTER)]).environment]
            .into_iter()
            .flatten()
            .collect(),
        ..ConfigSources::default()
    };
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
    let url = ("MONGODB_URL", "mongodb://h");
    for_command(&environment(&[url, ("AEGIS_MASTER_KEY", MASTER)])).unwrap();
    let told = for_command(&environment(&[url])).map(drop).unwrap_err().to_string();
    assert!(
        told.contains("AEGIS_MASTER_KEY: is not set") && told.contains("openssl rand -base64 32"),
        "{told}"
    );
    let told = fault(&environment(&[url]));
    assert!(
        told.contains("SECRET_KEY: is not set") && told.contains("AEGIS_MASTER_KEY: is not set"),
        "{told}"
    );
}

#[test]
fn shown_settings_mask_secrets_and_name_sources() {
    let sources = ConfigSources {
        dotenv: Some("AEGIS_SECRET_KEY_PREVIOUS=s3cret".to_owned()),
        toml: Some("DATABASE_NAME = 'other'".to_owned()),
        ..mongo(&[("MONGODB_URL", "mongodb://ada:s3cret@h/?replicaSet=rs0")])
    };
    let (shown, faults) = survey(&sources);
    assert_eq!(faults, None);
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
    let source = |(shown, _): (Vec<show::ShownSetting>, _)| {
        shown.into_iter().find(|one| one.name == "SECRET_KEY").unwrap()
    };
    assert!(source(survey(&sources)).source.starts_with("made at first start: "));
    load(&sources).unwrap();
    let kept = source(survey(&sources));
    assert!(kept.value.as_deref() == Some(MASK) && kept.source.ends_with("secret.key"), "{kept:?}");
    let (shown, faults) = survey(&environment(&[("MONGODB_URL", "mongodb://h"), ("ALGORITHM", "none")]));
    assert_eq!((shown.len(), faults.unwrap().0.len()), (definitions::ALL.len(), 3));
}
