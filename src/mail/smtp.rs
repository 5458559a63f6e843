//! Hands mails over to a relay by SMTP. Signing them (DKIM) and finding the servers of recipients is the task of the
//! relay.
//!
//! Connections are kept for the next mail by this module, not by the pool of `lettre`, which takes back a connection
//! whose conversation was abandoned half-way: the next mail would get the answers to the previous one.

use std::fs;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use lettre::transport::smtp::Error as SmtpError;
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS};
use lettre::transport::smtp::client::{AsyncSmtpConnection, Certificate, TlsParameters};
use lettre::transport::smtp::extension::ClientId;
use tokio::time::Instant;

use super::MAX_IN_HAND;
use super::setup_error::MailSetupError;
use super::transport::{Handover, MailTransport, Outgoing, SendError};
use crate::config::{SmtpCredentials, SmtpSettings};

/// How long a connection is kept. Relays close idle ones after minutes.
const KEEP_IDLE: Duration = Duration::from_secs(20);
/// How long connecting may take: shorter than the whole attempt.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A relay that wants an authentication which it does not get, or not that one (RFC 4954 §6).
const AUTHENTICATION_CODES: [u16; 4] = [530, 534, 535, 538];

pub(super) struct SmtpTransport {
    host: String,
    port: u16,
    encryption: Encryption,
    credentials: Option<Credentials>,
    hello: ClientId,
    idle: Mutex<Vec<(AsyncSmtpConnection, Instant)>>,
}

enum Encryption {
    /// From the first byte.
    Implicit(TlsParameters),
    /// Required before anything else is sent.
    StartTls(TlsParameters),
    /// To a relay on this machine.
    None,
}

impl SmtpTransport {
    /// Introduces itself by `domain`, that of the sender.
    pub(super) fn new(settings: &SmtpSettings, domain: &str) -> Result<Self, MailSetupError> {
        let SmtpSettings { host, port, is_implicit_tls, credentials, ca } = settings;
        let encryption = if *is_implicit_tls {
            Encryption::Implicit(tls_parameters(host, ca.as_deref())?)
        } else if is_loopback(host) && ca.is_none() {
            Encryption::None
        } else {
            Encryption::StartTls(tls_parameters(host, ca.as_deref())?)
        };
        let credentials = credentials.as_ref().map(|SmtpCredentials { user, password }| {
            Credentials::new(user.clone(), password.expose().to_owned())
        });
        let (host, hello, idle) = (host.clone(), ClientId::Domain(domain.to_owned()), Mutex::default());
        Ok(Self { host, port: *port, encryption, credentials, hello, idle })
    }

    /// A connection on which a mail can be sent at once.
    async fn connection(&self) -> Result<AsyncSmtpConnection, SendError> {
        while let Some(mut connection) = self.take_idle() {
            if connection.test_connected().await {
                return Ok(connection);
            }
        }
        let at_start = match &self.encryption {
            Encryption::Implicit(parameters) => Some(parameters.clone()),
            Encryption::StartTls(_) | Encryption::None => None,
        };
        let server = (self.host.as_str(), self.port);
        let mut connection =
            AsyncSmtpConnection::connect_tokio1(server, Some(CONNECT_TIMEOUT), &self.hello, at_start, None)
                .await
                .map_err(|error| unreachable("connecting to the relay", &error))?;
        if let Encryption::StartTls(parameters) = &self.encryption {
            let encrypted = connection.starttls(parameters.clone(), &self.hello).await;
            encrypted.map_err(|error| unreachable("STARTTLS", &error))?;
        }
        if let Some(credentials) = &self.credentials {
            connection.auth(DEFAULT_MECHANISMS, credentials).await.map_err(|error| match code(&error) {
                Some(code) => SendError::Unauthenticated { code },
                None => unreachable("the authentication", &error),
            })?;
        }
        Ok(connection)
    }

    /// The connection that was used last, unless it has been idle for too long.
    fn take_idle(&self) -> Option<AsyncSmtpConnection> {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(|(_, since)| since.elapsed() < KEEP_IDLE);
        idle.pop().map(|(connection, _)| connection)
    }

    fn keep(&self, connection: AsyncSmtpConnection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < MAX_IN_HAND && !connection.has_broken() {
            idle.push((connection, Instant::now()));
        }
    }
}

#[async_trait]
impl MailTransport for SmtpTransport {
    async fn send(&self, mail: &Outgoing) -> Result<Handover, SendError> {
        let mut connection = self.connection().await?;
        match connection.send(mail.message.envelope(), &mail.message.formatted()).await {
            Ok(_) => {
                self.keep(connection);
                Ok(Handover::Sent)
            }
            Err(error) => Err(send_error(&error)),
        }
    }

    fn kind(&self) -> &'static str {
        "smtp"
    }
}

fn send_error(error: &SmtpError) -> SendError {
    match code(error) {
        Some(code) if AUTHENTICATION_CODES.contains(&code) => SendError::Unauthenticated { code },
        Some(code) if error.is_permanent() => SendError::Refused { code },
        Some(code) => SendError::Postponed { code },
        // Everything but the address is encoded as ASCII.
        None if error.is_client() => SendError::UnsupportedAddress,
        None => unreachable("the conversation with the relay", error),
    }
}

/// What went wrong, without what the relay has said.
fn unreachable(what: &str, error: &SmtpError) -> SendError {
    if let Some(code) = code(error) {
        return SendError::Unreachable(format!("{what} failed: the relay answers with code {code}"));
    }
    if error.is_response() {
        // The parser quotes the answer, which may contain the address.
        return SendError::Unreachable(format!("{what} failed: the relay does not answer as in SMTP"));
    }
    let (mut message, mut source) = (format!("{what} failed: {error}"), std::error::Error::source(error));
    while let Some(error) = source {
        let text = error.to_string();
        if !message.ends_with(&text) {
            message = format!("{message}: {text}");
        }
        source = error.source();
    }
    SendError::Unreachable(message)
}

fn code(error: &SmtpError) -> Option<u16> {
    error.status().map(u16::from)
}

fn is_loopback(host: &str) -> bool {
    let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || literal.is_ok_and(|address| address.is_loopback())
}

/// The authorities of the system are trusted, and those in `ca`.
fn tls_parameters(host: &str, ca: Option<&Path>) -> Result<TlsParameters, MailSetupError> {
    let mut builder = TlsParameters::builder(host.to_owned());
    if let Some(path) = ca {
        let invalid = |reason: String| MailSetupError::Ca { path: path.to_owned(), reason };
        let pem = fs::read(path).map_err(|error| invalid(error.to_string()))?;
        let certificates = Certificate::from_pem(&pem).map_err(|error| invalid(error.to_string()))?;
        builder = builder.add_root_certificate(certificates);
    }
    builder.build_rustls().map_err(|error| MailSetupError::Tls(error.to_string()))
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// A relay that answers as in SMTP until a recipient is named.
    async fn malformed_relay() -> u16 {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        tokio::spawn(async move {
            let mut connection = BufReader::new(listener.accept().await.unwrap().0);
            connection.write_all(b"220 relay\r\n").await.unwrap();
            let mut line = String::new();
            while connection.read_line(&mut line).await.unwrap() > 0 {
                let answer =
                    if line.starts_with("RCPT") { "no such user: ada@example.com" } else { "250 ok" };
                connection.write_all(format!("{answer}\r\n").as_bytes()).await.unwrap();
                line.clear();
            }
        });
        port
    }

    #[tokio::test]
    async fn malformed_answer_of_the_relay_is_not_quoted() {
        let (host, port) = ("127.0.0.1".to_owned(), malformed_relay().await);
        let settings = SmtpSettings { host, port, ..SmtpSettings::default() };
        let transport = SmtpTransport::new(&settings, "example.org").unwrap();
        let message = lettre::Message::builder()
            .from("no-reply@example.org".parse().unwrap())
            .to("ada@example.com".parse().unwrap())
            .body("Hello".to_owned())
            .unwrap();
        let refused = transport.send(&Outgoing { name: "1".to_owned(), message }).await.unwrap_err();
        assert!(!refused.to_string().contains("ada"), "{refused}");
        assert!(refused.to_string().contains("does not answer as in SMTP"), "{refused}");
    }

    #[test]
    fn only_this_machine_is_loopback() {
        for host in ["localhost", "LocalHost", "127.0.0.1", "127.8.0.1", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in ["mail.example", "localhost.example", "10.0.0.1", "127.0.0.1.example", "[::2]"] {
            assert!(!is_loopback(host), "{host}");
        }
    }
}
