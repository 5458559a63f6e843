//! `aegis webhooks register`, `delete`, `replay`, `cancel-replays`, `resume` and `rotate-secret`.

use domain::{BatchSize, Reason, WebhookCommand, WebhookId, WebhookUrl};
use store::Position;

use crate::cli::arguments::event_type;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::command::NewWebhook;
use crate::webhooks::{completed_replays, encode_secret, may_own, previous_secret_expiry};

const PRIVATE_NETWORK_HINT: &str =
    ". AEGIS_WEBHOOK_ALLOW_PRIVATE names non-public networks that may be reached";

#[derive(Debug, clap::Args)]
pub(crate) struct RegisterArguments {
    /// The URL to which events are delivered
    #[arg(value_parser = WebhookUrl::parse)]
    url: WebhookUrl,
    /// The owner: e-mail address or id of a subscriber or an administrator
    #[arg(long, value_name = "USER")]
    owner: String,
    /// Event types to deliver, comma-separated; default: all
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = event_type())]
    types: Vec<String>,
    /// A description of the webhook
    #[arg(long, value_name = "WORDS", value_parser = Reason::parse)]
    description: Option<Reason>,
    /// Deliver events after this position; default: the head of the log
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
    /// Deliver up to this many events in one request, in the batch format of `CloudEvents`; default: each by itself
    #[arg(long, value_name = "EVENTS", value_parser = batch_size)]
    batch: Option<BatchSize>,
}

fn batch_size(text: &str) -> Result<BatchSize, String> {
    let size = text.parse().ok().and_then(BatchSize::new);
    size.ok_or_else(|| format!("not a number of events from 1 to {}", BatchSize::MAX))
}

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// The id of the webhook
    #[arg(value_name = "ID", value_parser = WebhookId::parse)]
    webhook: WebhookId,
}

#[derive(Debug, clap::Args)]
pub(crate) struct ReplayArguments {
    /// The id of the webhook
    #[arg(value_name = "ID", value_parser = WebhookId::parse)]
    webhook: WebhookId,
    /// The first position
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
    /// The last position
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    to: u64,
}

pub(super) async fn register(arguments: RegisterArguments, session: &Session, out: &mut Output) -> CliResult {
    let RegisterArguments { url, owner, types, description, after, batch } = arguments;
    let services = &session.services;
    let owner = session.user(&owner).await?;
    if !may_own(&owner) {
        return Err(CliError::NotASubscriber(owner.id));
    }
    let allowed = session.sender.check(&url, None).await;
    allowed.map_err(|error| {
        let hint = if error.is_forbidden() { PRIVATE_NETWORK_HINT } else { "" };
        CliError::UrlNotAllowed { error: error.to_string(), hint }
    })?;
    let head = services.store.head().await?.position;
    let position = after.map_or(head, Position::new);
    if position > head {
        return Err(CliError::BeyondHead { position, head, hint: "" });
    }
    let new = NewWebhook { owner: owner.id, url, types, description, after: position.get(), batch };
    let registered = services.webhooks.register(&session.context, new).await?;
    out.line(&format!("webhook {} is registered; it starts after position {position}", registered.id))?;
    let secret = registered.webhook.as_ref().and_then(|webhook| webhook.secret.known());
    secret.map_or(Ok(()), |secret| {
        out.line(&format!("secret {}, which is not shown again", encode_secret(secret)))
    })
}

pub(super) async fn delete(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let (services, webhook) = (&session.services, arguments.webhook);
    services.webhooks.execute(&session.context, webhook, &WebhookCommand::Delete).await?;
    out.line(&format!("webhook {webhook} is deleted"))
}

pub(super) async fn replay(arguments: &ReplayArguments, session: &Session, out: &mut Output) -> CliResult {
    let ReplayArguments { webhook, from, to } = *arguments;
    let head = session.services.store.head().await?.position.get();
    if from > to || to > head {
        return Err(CliError::InvalidRange { from, to, head });
    }
    let completed = completed(session, webhook).await?;
    let command = WebhookCommand::Replay { from, to, completed };
    session.services.webhooks.execute(&session.context, webhook, &command).await?;
    out.line(&format!("the service will deliver the events from {from} to {to} to webhook {webhook} again"))
}

pub(super) async fn cancel_replays(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let webhook = arguments.webhook;
    let command = WebhookCommand::CancelReplays { completed: completed(session, webhook).await? };
    let cancelled = session.services.webhooks.execute(&session.context, webhook, &command).await?;
    out.line(&match cancelled.position {
        Some(_) => format!("the replays of webhook {webhook} are cancelled"),
        None => format!("webhook {webhook} has no replays: nothing was done"),
    })
}

/// How many replays of the webhook are complete.
async fn completed(session: &Session, webhook: WebhookId) -> CliResult<usize> {
    let services = &session.services;
    let state = services.webhooks.state(webhook).await?;
    Ok(completed_replays(&*services.deliveries, &state).await?)
}

pub(super) async fn resume(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let (services, webhook) = (&session.services, arguments.webhook);
    let state = services.webhooks.state(webhook).await?;
    let is_stalled = services.delivery_context.is_stalled(&state).await;
    services.webhooks.execute(&session.context, webhook, &WebhookCommand::Resume { is_stalled }).await?;
    out.line(&format!("delivery to webhook {} is resumed", arguments.webhook))
}

pub(super) async fn rotate_secret(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let webhooks = &session.services.webhooks;
    let previous_until = previous_secret_expiry(session.env.now())?;
    let secret = webhooks.new_secret();
    let shown = encode_secret(&secret);
    webhooks
        .execute(
            &session.context,
            arguments.webhook,
            &WebhookCommand::RotateSecret { secret, previous_until },
        )
        .await?;
    out.line(&format!(
        "secret {shown}, which is not shown again; the previous one is valid until {previous_until}"
    ))
}
