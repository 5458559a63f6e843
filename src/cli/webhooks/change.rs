//! `aegis webhooks delete`, `replay`, `resume` and `rotate-secret`.

use domain::{WebhookCommand, WebhookId};
use store::StreamId;

use super::id;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::command::CommandContext;
use crate::webhooks::encode_secret;
use crate::webhooks::previous_secret_expiry;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The webhook
    #[arg(value_name = "ID", value_parser = id)]
    webhook: WebhookId,
}

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct ReplayArguments {
    /// The webhook
    #[arg(value_name = "ID", value_parser = id)]
    webhook: WebhookId,
    /// The first position
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    from: u64,
    /// The last position
    #[arg(long, value_name = "POSITION", value_parser = clap::value_parser!(u64).range(1..))]
    to: u64,
}

pub(super) async fn delete(
    arguments: &Arguments,
    session: &Session,
    context: &CommandContext,
    out: &mut Output,
) -> Result<(), CliError> {
    let (services, webhook) = (&session.services, arguments.webhook);
    services.webhooks.execute(context, webhook, &WebhookCommand::Delete).await?;
    services.deliveries.forget(&StreamId::from_trusted(webhook.stream())?).await?;
    out.line(&format!("webhook {webhook} is deleted"))
}

pub(super) async fn replay(
    arguments: &ReplayArguments,
    session: &Session,
    context: &CommandContext,
    out: &mut Output,
) -> Result<(), CliError> {
    let ReplayArguments { webhook, from, to } = *arguments;
    let head = session.services.store.head().await?.position.get();
    if from > to || to > head {
        return Err(CliError::Failed(format!(
            "no events stand from {from} to {to}: the log ends at position {head}"
        )));
    }
    session.services.webhooks.execute(context, webhook, &WebhookCommand::Replay { from, to }).await?;
    out.line(&format!("the service sends webhook {webhook} the events from {from} to {to} once more"))
}

pub(super) async fn resume(
    arguments: &Arguments,
    session: &Session,
    context: &CommandContext,
    out: &mut Output,
) -> Result<(), CliError> {
    session.services.webhooks.execute(context, arguments.webhook, &WebhookCommand::Resume).await?;
    out.line(&format!("the service delivers to webhook {} again", arguments.webhook))
}

pub(super) async fn rotate_secret(
    arguments: &Arguments,
    session: &Session,
    context: &CommandContext,
    out: &mut Output,
) -> Result<(), CliError> {
    let webhooks = &session.services.webhooks;
    let previous_until = previous_secret_expiry(session.env.now()).map_err(CliError::because)?;
    let secret = webhooks.new_secret();
    let shown = encode_secret(&secret);
    webhooks
        .execute(context, arguments.webhook, &WebhookCommand::RotateSecret { secret, previous_until })
        .await?;
    out.line(&format!(
        "secret {shown}, which is not shown again; the one before is valid until {previous_until}"
    ))
}
