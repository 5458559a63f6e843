//! Parsers of single values. An error says what is wrong and how to write the value.

mod mail;

use std::net::IpAddr;
use std::ops::RangeInclusive;

use domain::{EmailAddress, RestrictionLevel};
use ipnet::IpNet;
use jsonwebtoken::Algorithm;
use store::MasterKey;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::error::KEY_HINT;
use super::redaction;
use super::settings::{LogFormat, LoginEventSetting, Secret};

pub(super) use mail::{local_sender, mail_language, mailbox, public_url, smtp_url};

/// Shorter secrets can be guessed; RFC 7518 §3.2 demands as much for HS256.
const MIN_SECRET_BYTES: usize = 32;
const LOG_LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(super) fn number<T: TryFrom<u64>>(text: &str, range: &RangeInclusive<u64>) -> Result<T, String> {
    let number = text.trim().parse().ok().filter(|number| range.contains(number));
    let number = number.and_then(|number| T::try_from(number).ok());
    number.ok_or_else(|| format!("`{text}` is not a whole number from {} to {}", range.start(), range.end()))
}

pub(super) fn mongodb_url(text: &str) -> Result<Secret, String> {
    if ["mongodb://", "mongodb+srv://"].iter().any(|scheme| text.starts_with(scheme)) {
        return Ok(Secret::new(text.to_owned()));
    }
    Err("not a MongoDB URL: write mongodb://HOST:PORT/?replicaSet=NAME, or unset it to use the embedded \
     database"
        .to_owned())
}

pub(super) fn restriction_level(text: &str) -> Result<RestrictionLevel, String> {
    let names = || RestrictionLevel::ALL.map(RestrictionLevel::as_str).join("`, `");
    text.parse().map_err(|error| format!("`{text}` is {error}: write one of `{}`", names()))
}

pub(super) fn secret_key(text: &str) -> Result<Secret, String> {
    match text.len() {
        MIN_SECRET_BYTES.. => Ok(Secret::new(text.to_owned())),
        bytes => Err(format!("has {bytes} bytes, at least {MIN_SECRET_BYTES} are required: {KEY_HINT}")),
    }
}

pub(super) fn master_key(text: &str) -> Result<MasterKey, String> {
    redaction::register(text);
    MasterKey::from_base64(text).map_err(|error| error.to_string())
}

pub(super) fn master_keys(text: &str) -> Result<Vec<MasterKey>, String> {
    let numbered = (1..).zip(list(text));
    let parse = |(number, key): (usize, &str)| {
        redaction::register(key);
        MasterKey::from_base64(key).map_err(|error| format!("its key no. {number} {error}"))
    };
    numbered.map(parse).collect()
}

pub(super) fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "HS256" => Ok(Algorithm::HS256),
        "HS384" => Ok(Algorithm::HS384),
        "HS512" => Ok(Algorithm::HS512),
        "EdDSA" => Ok(Algorithm::EdDSA),
        "ES256" => Ok(Algorithm::ES256),
        _ => Err(format!("`{text}` is not supported: use HS256, HS384, HS512, EdDSA or ES256")),
    }
}

pub(super) fn email(text: &str) -> Result<EmailAddress, String> {
    EmailAddress::parse(text).map_err(|error| format!("not an e-mail address: {error}"))
}

pub(super) fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(format!("`{text}` is neither `on` nor `off`")),
    }
}

pub(super) fn login_events(text: &str) -> Result<LoginEventSetting, String> {
    match text {
        "all" => Ok(LoginEventSetting::All),
        "failures" => Ok(LoginEventSetting::Failures),
        "off" => Ok(LoginEventSetting::Off),
        _ => Err(format!("`{text}` is not supported: use all, failures or off")),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is not a log format: use text or json")),
    }
}

/// A filter of `tracing`, which would take any word as a target and log all of it: a misspelt level is an
/// error.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let words = text.split(',').map(str::trim);
    let is_level = |word: &str| LOG_LEVELS.contains(&word.to_ascii_lowercase().as_str());
    if let Some(word) =
        words.clone().find(|word| !word.contains(['=', '[', ']', '{', '}']) && !is_level(word))
    {
        let levels = LOG_LEVELS.join(", ");
        return Err(format!("`{word}` is not a level: use {levels}; for one target write target=level"));
    }
    let filter = words.collect::<Vec<_>>().join(",");
    match EnvFilter::builder().parse(&filter) {
        Ok(_) => Ok(filter),
        Err(error) => {
            Err(format!("`{filter}` is not a log filter ({error}): write for example info,aegis=debug"))
        }
    }
}

pub(super) fn listen_address(text: &str) -> Result<String, String> {
    let is_host = |host: &str| {
        if let Some(address) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6())
        } else {
            let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-');
            !host.is_empty() && host.bytes().all(is_allowed)
        }
    };
    match text.rsplit_once(':') {
        Some((host, port)) if is_host(host) && port.parse::<u16>().is_ok() => Ok(text.to_owned()),
        _ => Err(format!(
            "`{text}` is not an address and port: write for example 127.0.0.1:8000 or [::1]:8000"
        )),
    }
}

/// Literal segments, so that the prefix can be put before every route.
pub(super) fn api_prefix(text: &str) -> Result<String, String> {
    let is_literal = |segment: &str| {
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        !matches!(segment, "" | "." | "..") && segment.bytes().all(is_allowed)
    };
    match text.strip_prefix('/') {
        None => Err(format!("`{text}` must start with a slash, as in /api/v1")),
        Some(rest) if rest.ends_with('/') || rest.is_empty() => {
            Err(format!("`{text}` must not end with a slash: write it as in /api/v1"))
        }
        Some(rest) if rest.split('/').all(is_literal) => Ok(text.to_owned()),
        Some(_) => {
            Err(format!("`{text}` may contain only letters, digits and - . _ ~ between single slashes"))
        }
    }
}

pub(super) fn networks(text: &str) -> Result<Vec<IpNet>, String> {
    list(text).map(network).collect()
}

/// A network in CIDR notation, or a single address.
fn network(text: &str) -> Result<IpNet, String> {
    let parsed = text.parse().or_else(|_| text.parse().map(|address: IpAddr| address.into()));
    let network: IpNet =
        parsed.map_err(|_| format!("`{text}` is not a network: write for example 10.0.0.0/8 or fd00::/8"))?;
    // Either the address or the prefix is a mistake, and guessing which could trust half the internet.
    if network == network.trunc() {
        Ok(network)
    } else {
        Err(format!("`{text}` has bits beyond its prefix: write {}, or a longer prefix", network.trunc()))
    }
}

/// `*`, or origins as browsers send them (RFC 6454 §6.2), because they are compared as text.
pub(super) fn cors_origins(text: &str) -> Result<Vec<String>, String> {
    match list(text).collect::<Vec<_>>().as_slice() {
        ["*"] => Ok(vec!["*".to_owned()]),
        origins => origins.iter().map(|origin| cors_origin(origin)).collect(),
    }
}

fn cors_origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Err("`*` allows every origin: it must be the only entry".to_owned());
    }
    let invalid =
        || format!("`{text}` is not an origin: write scheme, host and port, as in https://app.example.com");
    let url = Url::parse(text).map_err(|_| invalid())?;
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !is_bare || !url.has_host() || !url.username().is_empty() || url.password().is_some() {
        return Err(invalid());
    }
    // Only web schemes have a tuple origin; others, such as those of mobile apps, are compared as they are.
    let origin = url.origin();
    let sent =
        if origin.is_tuple() { origin.ascii_serialization() } else { text.trim_end_matches('/').to_owned() };
    if sent == text {
        Ok(sent)
    } else {
        Err(format!("`{text}` is not the form that browsers send: write {sent}"))
    }
}

/// The non-empty entries of a comma-separated list.
fn list(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_address_needs_host_and_port() {
        for good in ["127.0.0.1:8000", "0.0.0.0:0", "[::]:80", "localhost:8000", "api.example.com:1"] {
            assert_eq!(listen_address(good), Ok(good.to_owned()));
        }
        for bad in
            ["8000", ":8000", "127.0.0.1", "127.0.0.1:", "::1:8000", "[1.2.3.4]:1", "a b:1", "h:65536", ""]
        {
            assert!(listen_address(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn api_prefix_starts_but_does_not_end_with_a_slash() {
        for good in ["/api/v1", "/api", "/a-b/c.d/~e_f"] {
            assert_eq!(api_prefix(good), Ok(good.to_owned()));
        }
        for bad in ["api/v1", "/api/", "/", "//api", "/a//b", "/{id}", "/a/*", "/a b", "/a?b", "/..", "/é"] {
            assert!(api_prefix(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn cors_origins_are_in_browser_form() {
        assert_eq!(cors_origins(""), Ok(vec![]));
        assert_eq!(cors_origins("*"), Ok(vec!["*".to_owned()]));
        let two = cors_origins("https://app.example.com , http://localhost:3000,").unwrap();
        assert_eq!(two, ["https://app.example.com", "http://localhost:3000"]);
        assert!(cors_origins("capacitor://localhost").is_ok());
        for (bad, advice) in [
            ("https://app.example.com/", "write https://app.example.com"),
            ("https://APP.example.com:443", "write https://app.example.com"),
            ("https://bücher.example", "write https://xn--bcher-kva.example"),
            ("*,https://a.example", "only entry"),
            ("app.example.com", "is not an origin"),
            ("https://u:p@a.example", "is not an origin"),
            ("https://a.example/path", "is not an origin"),
            ("null", "is not an origin"),
        ] {
            let problem = cors_origins(bad).unwrap_err();
            assert!(problem.contains(advice), "{bad}: {problem}");
        }
    }

    #[test]
    fn networks_are_comma_separated() {
        assert_eq!(networks(""), Ok(vec![]));
        let shown =
            |text: &str| networks(text).map(|all| all.iter().map(IpNet::to_string).collect::<Vec<_>>());
        assert_eq!(shown("10.0.0.0/8 , ::1,").unwrap(), ["10.0.0.0/8", "::1/128"]);
        for bad in
            ["10", "10.0.0.0/", "10.0.0.0/33", "10.0.0.0/-1", "fd00::/129", "[::1]", "all", "10.0.0.0/8/8"]
        {
            let problem = networks(bad).unwrap_err();
            assert!(problem.contains("is not a network"), "{bad}: {problem}");
        }
        assert!(networks("10.1.2.3/8").unwrap_err().contains("write 10.0.0.0/8"));
    }

    #[test]
    fn misspelt_log_level_is_rejected() {
        for good in
            ["info", "WARN", "off", "info,aegis=debug", "warn, store_mongo=trace", "aegis[{user}]=debug"]
        {
            assert!(log_filter(good).is_ok(), "{good}");
        }
        for bad in ["verbose", "infoo", "info,debg", "aegis=loud", "info,"] {
            assert!(log_filter(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn switches_are_on_or_off() {
        assert_eq!((on_or_off("on"), on_or_off("off")), (Ok(true), Ok(false)));
        for bad in ["", "ON", "true", "0"] {
            assert!(on_or_off(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_range_checked() {
        assert_eq!(number::<u32>("8", &(1..=8)), Ok(8));
        for bad in ["9", "0", "-1", "1.5", "", "eight"] {
            assert!(number::<u32>(bad, &(1..=8)).is_err(), "{bad}");
        }
    }
}
