//! Messages to the interactive user who started the service.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

pub(super) fn startup_message(address: SocketAddr) -> String {
    let url = url(address);
    format!("Aegis {} listens on {url}\nDocumentation: {url}/docs", env!("CARGO_PKG_VERSION"))
}

/// Commands to copy: sign up, log in, read the own account.
pub(super) fn quick_start(address: SocketAddr, api_prefix: &str, min_length: usize) -> String {
    let api = format!("{}{api_prefix}", url(address));
    let password = password(min_length);
    format!(
        "\nTry it:\n\
         curl -sS -w '\\n' {api}/auth/signup -H 'Content-Type: application/json' \
         -d '{{\"email\":\"ada@example.com\",\"username\":\"ada\",\"password\":\"{password}\"}}'\n\
         TOKEN=$(curl -sS {api}/auth/login/access-token -d username=ada@example.com -d password={password} \
         | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\
         curl -sS -w '\\n' {api}/users/me -H \"Authorization: Bearer $TOKEN\"\n"
    )
}

/// The URL of the service on this machine.
fn url(address: SocketAddr) -> String {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, address.port()))
}

/// A sample password of the required minimum length that needs no quoting.
fn password(min_length: usize) -> String {
    const WORDS: &str = "correct-horse-battery-staple-";
    let length = min_length.max(21);
    WORDS.chars().cycle().take(length).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::definitions;

    #[test]
    fn url_is_reachable_locally() {
        for (address, url) in [
            ("127.0.0.1:8000", "http://127.0.0.1:8000"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:80", "http://[::1]:80"),
            ("10.1.2.3:80", "http://10.1.2.3:80"),
        ] {
            assert!(startup_message(address.parse().unwrap()).contains(&format!("{url}/docs")));
        }
    }

    #[test]
    fn quick_start_uses_the_settings() {
        let lines = quick_start("127.0.0.1:9".parse().unwrap(), "/v2", 40);
        assert_eq!(lines.matches("http://127.0.0.1:9/v2/").count(), 3);
        assert_eq!(lines.lines().filter(|line| line.contains("curl -sS")).count(), 3);
        assert_eq!(password(40).len(), 40);
        assert_eq!(password(1), "correct-horse-battery");
    }

    #[test]
    fn readme_contains_the_quick_start() {
        let default = |setting: &definitions::Definition| match setting.default {
            definitions::DefaultValue::Text(text) => text,
            other => panic!("{} has no default: {other:?}", setting.name),
        };
        let address = default(&definitions::LISTEN).parse().unwrap();
        let min_length = default(&definitions::PASSWORD_MIN_LENGTH).parse().unwrap();
        let printed = quick_start(address, default(&definitions::API_V1_STR), min_length);
        let (_, lines) = printed.split_once("Try it:\n").unwrap();
        assert!(
            include_str!("../../../README.md").contains(&format!("```sh\n{lines}```\n")),
            "README.md does not show {lines}"
        );
    }
}
