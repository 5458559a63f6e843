//! Why mails cannot be sent as the settings say.

use std::path::PathBuf;

use super::templates::TemplateError;

/// Why mails cannot be sent as the settings say.
#[derive(Debug, thiserror::Error)]
pub enum MailSetupError {
    #[error("AEGIS_MAIL_TEMPLATES: {0}")]
    Template(#[from] TemplateError),
    #[error("AEGIS_SMTP_CA: no certificates in PEM form can be read from {}: {reason}", path.display())]
    Ca { path: PathBuf, reason: String },
    #[error("TLS cannot be set up for the relay in AEGIS_SMTP_URL: {0}")]
    Tls(String),
}
