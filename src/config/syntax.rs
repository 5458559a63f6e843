//! How single settings are written. Each function gives the value, or what is wrong and what to do.

use std::net::IpAddr;
use std::ops::RangeInclusive;

use jsonwebtoken::Algorithm;
use tracing_subscriber::EnvFilter;
use url::Url;

use super::network::Network;
use super::settings::LogFormat;

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

pub(super) fn number(text: &str, range: &RangeInclusive<u64>) -> Result<u64, String> {
    let (least, most) = (range.start(), range.end());
    text.trim()
        .parse()
        .ok()
        .filter(|number| range.contains(number))
        .ok_or_else(|| format!("`{text}` is no whole number from {least} to {most}"))
}

pub(super) fn algorithm(text: &str) -> Result<Algorithm, String> {
    match text {
        "HS256" => Ok(Algorithm::HS256),
        "HS384" => Ok(Algorithm::HS384),
        "HS512" => Ok(Algorithm::HS512),
        _ => Err(format!("`{text}` is not supported: HS256, HS384 and HS512 are")),
    }
}

pub(super) fn log_format(text: &str) -> Result<LogFormat, String> {
    match text {
        "text" => Ok(LogFormat::Text),
        "json" => Ok(LogFormat::Json),
        _ => Err(format!("`{text}` is no format: text and json are")),
    }
}

/// A filter of `tracing`. It would take any word for a target and log all of it: a misspelt level is refused.
pub(super) fn log_filter(text: &str) -> Result<String, String> {
    let words = text.split(',').map(str::trim);
    if let Some(word) = words.clone().find(|word| {
        let bare = !word.contains(['=', '[', ']', '{', '}']);
        bare && !LEVELS.contains(&word.to_ascii_lowercase().as_str())
    }) {
        return Err(format!(
            "`{word}` is no level: {} are; for one target write target=level",
            LEVELS.join(", ")
        ));
    }
    let text = words.collect::<Vec<_>>().join(",");
    match EnvFilter::builder().parse(&text) {
        Ok(_) => Ok(text),
        Err(error) => Err(format!("`{text}` is no filter ({error}); write for example info,aegis=debug")),
    }
}

pub(super) fn listen(text: &str) -> Result<String, String> {
    let problem =
        || format!("`{text}` is no address and port: write for example 127.0.0.1:8000 or [::1]:8000");
    let (host, port) = text.rsplit_once(':').ok_or_else(problem)?;
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let named = |host: &str| {
        host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'))
            && !host.is_empty()
    };
    let host_fits = match bracketed {
        Some(host) => host.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6()),
        None => named(host),
    };
    if host_fits && port.parse::<u16>().is_ok() { Ok(text.to_owned()) } else { Err(problem()) }
}

/// `/api/v1` and its like: literal segments, so that it can be put before every route.
pub(super) fn api_prefix(text: &str) -> Result<String, String> {
    let literal = |segment: &str| {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
        !matches!(segment, "" | "." | "..") && segment.bytes().all(plain)
    };
    match text.strip_prefix('/') {
        None => Err(format!("`{text}` must begin with a slash, as in /api/v1")),
        Some(rest) if rest.ends_with('/') || rest.is_empty() => {
            Err(format!("`{text}` must not end in a slash: write it as in /api/v1"))
        }
        Some(rest) if rest.split('/').all(literal) => Ok(text.to_owned()),
        Some(_) => Err(format!("`{text}` may hold letters, digits and - . _ ~ between single slashes only")),
    }
}

pub(super) fn networks(text: &str) -> Result<Vec<Network>, String> {
    text.split(',').map(str::trim).filter(|network| !network.is_empty()).map(str::parse).collect()
}

/// `*`, or origins as browsers send them (RFC 6454 §6.2), since they are compared as text.
pub(super) fn cors_origins(text: &str) -> Result<Vec<String>, String> {
    let origins: Vec<_> = text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).collect();
    if origins == ["*"] {
        return Ok(vec!["*".to_owned()]);
    }
    origins.into_iter().map(cors_origin).collect()
}

fn cors_origin(text: &str) -> Result<String, String> {
    if text == "*" {
        return Err("`*` allows every origin: it stands alone".to_owned());
    }
    let no_origin =
        || format!("`{text}` is no origin: scheme, host and port are, as in https://app.example.com");
    let url = Url::parse(text).map_err(|_| no_origin())?;
    let bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.fragment().is_none();
    if !bare || !url.has_host() || !url.username().is_empty() || url.password().is_some() {
        return Err(no_origin());
    }
    // Only web schemes have an origin in the sense of the standard; others, such as those of apps, stay as they are.
    let origin = url.origin();
    let sent =
        if origin.is_tuple() { origin.ascii_serialization() } else { text.trim_end_matches('/').to_owned() };
    if sent == text { Ok(sent) } else { Err(format!("`{text}` is not how browsers send it: write {sent}")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listen_address_needs_host_and_port() {
        for good in ["127.0.0.1:8000", "0.0.0.0:0", "[::]:80", "localhost:8000", "api.example.com:1"] {
            assert_eq!(listen(good), Ok(good.to_owned()));
        }
        for bad in
            ["8000", ":8000", "127.0.0.1", "127.0.0.1:", "::1:8000", "[1.2.3.4]:1", "a b:1", "h:65536", ""]
        {
            assert!(listen(bad).is_err(), "{bad}");
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
            ("*,https://a.example", "stands alone"),
            ("app.example.com", "is no origin"),
            ("https://u:p@a.example", "is no origin"),
            ("https://a.example/path", "is no origin"),
            ("null", "is no origin"),
        ] {
            let problem = cors_origins(bad).unwrap_err();
            assert!(problem.contains(advice), "{bad}: {problem}");
        }
    }

    #[test]
    fn networks_are_comma_separated() {
        assert_eq!(networks(""), Ok(vec![]));
        let shown =
            |text: &str| networks(text).map(|all| all.iter().map(Network::to_string).collect::<Vec<_>>());
        assert_eq!(shown("10.0.0.0/8 , ::1,").unwrap(), ["10.0.0.0/8", "::1/128"]);
        assert!(networks("10.0.0.0/8,proxy.example").unwrap_err().contains("`proxy.example` is no network"));
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
    fn numbers_are_range_checked() {
        assert_eq!(number("8", &(1..=8)), Ok(8));
        for bad in ["9", "0", "-1", "1.5", "", "eight"] {
            assert!(number(bad, &(1..=8)).is_err(), "{bad}");
        }
    }
}
