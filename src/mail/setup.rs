//! Prepares from the settings what mails need, before the database is opened.

use std::sync::Arc;

use domain::EmailAddress;
use lettre::message::Mailbox;
use store::{DeliveryStore, Env, EventStore};

use super::attempt::{MailSender, recipient_limit};
use super::composer::Composer;
use super::mailer::Mailer;
use super::metrics::MailMetrics;
use super::outbox::Outbox;
use super::setup_error::MailSetupError;
use super::smtp::SmtpTransport;
use super::templates::Templates;
use super::transport::{MailTransport, NoTransport};
use crate::config::{MailSettings, MailTransportSetting};
use crate::crypto::Tokens;

/// Events read at once by the search for a first mail.
const SEARCH_PAGE_SIZE: usize = 500;

/// Templates and transport, checked.
pub struct MailService {
    templates: Arc<Templates>,
    transport: Arc<dyn MailTransport>,
    from: Mailbox,
    public_url: String,
    metrics: MailMetrics,
}

impl MailService {
    /// Reads the templates, and the authorities of the relay. `service` is how mails name the service.
    ///
    /// # Errors
    /// [`MailSetupError`] if one of them cannot be used.
    pub fn new(settings: &MailSettings, service: &str) -> Result<Self, MailSetupError> {
        let MailSettings { transport, from, public_url, templates, language } = settings;
        let from = with_ascii_domain(from);
        let transport: Arc<dyn MailTransport> = match transport {
            MailTransportSetting::Smtp(relay) => Arc::new(SmtpTransport::new(relay, from.email.domain())?),
            MailTransportSetting::Outbox(folder) => Arc::new(Outbox::new(folder.clone())),
            MailTransportSetting::Off => Arc::new(NoTransport),
        };
        Ok(Self {
            templates: Arc::new(Templates::load(templates.as_deref(), *language, service)?),
            transport,
            from,
            public_url: public_url.clone(),
            metrics: MailMetrics::default(),
        })
    }

    pub(crate) fn mailer(
        &self,
        store: EventStore,
        deliveries: Arc<dyn DeliveryStore>,
        tokens: Arc<Tokens>,
        env: Env,
    ) -> Mailer {
        let sender = MailSender {
            recipients: recipient_limit(&env),
            composer: Composer { store, tokens, env, public_url: self.public_url.clone() },
            templates: Arc::clone(&self.templates),
            transport: Arc::clone(&self.transport),
            from: self.from.clone(),
        };
        let metrics = self.metrics.clone();
        Mailer { sender: Arc::new(sender), deliveries, metrics, search_page_size: SEARCH_PAGE_SIZE }
    }

    pub(crate) fn metrics(&self) -> &MailMetrics {
        &self.metrics
    }

    /// What becomes of mails: `smtp`, `outbox` or `off`.
    pub(crate) fn transport(&self) -> &'static str {
        self.transport.kind()
    }
}

/// The sender as recipients are written: many relays accept no other characters in the domain.
fn with_ascii_domain(sender: &Mailbox) -> Mailbox {
    let address = EmailAddress::from_stored(sender.email.as_ref()).with_ascii_domain();
    let address = address.parse().unwrap_or_else(|_| sender.email.clone());
    Mailbox::new(sender.name.clone(), address)
}
