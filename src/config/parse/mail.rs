//! Parsers of the settings of mails.

use lettre::Address;
use lettre::message::Mailbox;
use percent_encoding::percent_decode_str;
use url::Url;

use crate::config::redaction;
use crate::config::settings::{MailLanguage, Secret, SmtpCredentials, SmtpSettings};

/// The message repeats no part of the URL, which may contain a password.
pub(in crate::config) fn smtp_url(text: &str) -> Result<SmtpSettings, String> {
    redaction::register(text);
    let invalid = |problem: &str| {
        format!(
            "{problem}: write smtps://USER:PASSWORD@HOST:PORT or smtp://USER:PASSWORD@HOST:PORT, with reserved \
                 characters of the password percent-encoded"
        )
    };
    let url = Url::parse(text).map_err(|error| invalid(&format!("not a URL ({error})")))?;
    let (is_implicit_tls, default_port) = match url.scheme() {
        "smtps" => (true, 465),
        "smtp" => (false, 587),
        _ => return Err(invalid("neither smtp:// nor smtps://")),
    };
    if !matches!(url.path(), "" | "/") || url.query().is_some() || url.fragment().is_some() {
        return Err(invalid("something follows the port"));
    }
    let host = url.host_str().filter(|host| !host.is_empty()).ok_or_else(|| invalid("no host"))?;
    let decode = |text: &str| percent_decode_str(text).decode_utf8().map(String::from);
    let credentials = match (url.username(), url.password()) {
        ("", None) => None,
        (user, Some(password)) if !user.is_empty() => {
            let decoded = decode(user).and_then(|user| Ok((user, decode(password)?)));
            let (user, password) = decoded.map_err(|_| invalid("user or password are not UTF-8"))?;
            Some(SmtpCredentials { user, password: Secret::new(password) })
        }
        _ => return Err(invalid("user or password is missing")),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    Ok(SmtpSettings {
        host,
        port: url.port().unwrap_or(default_port),
        is_implicit_tls,
        credentials,
        ca: None,
    })
}

pub(in crate::config) fn mailbox(text: &str) -> Result<Mailbox, String> {
    text.parse().map_err(|error| {
        format!(
            "`{text}` is not a sender ({error}): write no-reply@example.org or `Name <no-reply@example.org>`"
        )
    })
}

/// The sender of mails that do not leave this machine.
pub(in crate::config) fn local_sender() -> Mailbox {
    Mailbox::new(None, Address::new_dangerous("aegis", "localhost"))
}

pub(in crate::config) fn public_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).ok().filter(|url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    match url {
        Some(url) => Ok(url.as_str().trim_end_matches('/').to_owned()),
        None => Err(format!(
            "`{text}` is not the URL of a website: write for example https://example.org or https://example.org/account"
        )),
    }
}

pub(in crate::config) fn mail_language(text: &str) -> Result<MailLanguage, String> {
    let languages = [MailLanguage::English, MailLanguage::German];
    languages
        .into_iter()
        .find(|language| language.as_str() == text)
        .ok_or_else(|| format!("`{text}` is not supported: use en or de"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn relay_is_read_from_its_url() {
        let relay = smtp_url("smtps://svc%40example.org:p%2Fa%3Ass@mail.example.org").unwrap();
        assert_eq!((relay.host.as_str(), relay.port, relay.is_implicit_tls), ("mail.example.org", 465, true));
        let SmtpCredentials { user, password } = relay.credentials.unwrap();
        assert_eq!((user.as_str(), password.expose()), ("svc@example.org", "p/a:ss"));
        let relay = smtp_url("smtp://[::1]:2525/").unwrap();
        assert_eq!((relay.host.as_str(), relay.port, relay.is_implicit_tls), ("::1", 2525, false));
        assert!(relay.credentials.is_none());
        assert_eq!(smtp_url("smtp://mail").unwrap().port, 587);
    }

    #[test]
    fn invalid_url_of_a_relay_is_not_repeated() {
        for url in [
            "mail.example.org",
            "https://svc:hunter22@mail",
            "smtp://svc:hunter22@mail/path",
            "smtp://svc:hunter22@mail?tls=no",
            "smtp://svc@mail",
            "smtp://:hunter22@mail",
            "smtp://svc:hunter22@",
            "smtp://svc:hun/ter22@mail",
            "smtp://svc:hunter22@mail:port",
        ] {
            let error = smtp_url(url).unwrap_err();
            assert!(!error.contains("hun") && error.contains("write smtps://USER"), "{url}: {error}");
        }
    }

    #[test]
    fn sender_and_public_url() {
        let sender = mailbox("Example <no-reply@example.org>").unwrap();
        assert_eq!((sender.name.as_deref(), sender.email.domain()), (Some("Example"), "example.org"));
        for text in
            ["example.org", "a@b\nBcc: c@d", "Example no-reply@example.org", "a@example.org, b@example.org"]
        {
            assert!(mailbox(text).is_err(), "{text}");
        }
        for (text, expected) in [
            ("https://example.org/", "https://example.org"),
            ("http://localhost:3000/account/", "http://localhost:3000/account"),
        ] {
            assert_eq!(public_url(text).as_deref(), Ok(expected));
        }
        for text in [
            "example.org",
            "ftp://example.org",
            "https://a:b@example.org",
            "https://example.org/#x",
            "https:",
        ] {
            assert!(public_url(text).is_err(), "{text}");
        }
    }
}
