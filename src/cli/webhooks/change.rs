//! `aegis webhooks delete`, `replay`, `resume` and `rotate-secret`.

use domain::{WebhookCommand, WebhookId};
use store::StreamId;

use super::id;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::command::Cause;
use crate::webhooks::signature::shown;
use crate::webhooks::until_both_end;

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
    cause: &Cause,
    out: &mut Output,
) -> Result<(), Failure> {
    let (node, webhook) = (&session.node, arguments.webhook);
    node.webhooks.execute(cause, webhook, &WebhookCommand::Delete).await?;
    node.deliveries.forget(&StreamId::known(webhook.stream())?).await?;
    out.line(&format!("webhook {webhook} is deleted"))
}

pub(super) async fn replay(
    arguments: &ReplayArguments,
    session: &Session,
    cause: &Cause,
    out: &mut Output,
) -> Result<(), Failure> {
    let ReplayArguments { webhook, from, to } = *arguments;
    let head = session.node.store.head().await?.position.get();
    if from > to || to > head {
        return Err(Failure::Failed(format!(
            "no events stand from {from} to {to}: the log ends at position {head}"
        )));
    }
    session.node.webhooks.execute(cause, webhook, &WebhookCommand::Replay { from, to }).await?;
    out.line(&format!("the service sends webhook {webhook} the events from {from} to {to} once more"))
}

pub(super) async fn resume(
    arguments: &Arguments,
    session: &Session,
    cause: &Cause,
    out: &mut Output,
) -> Result<(), Failure> {
    session.node.webhooks.execute(cause, arguments.webhook, &WebhookCommand::Resume).await?;
    out.line(&format!("the service delivers to webhook {} again", arguments.webhook))
}

pub(super) async fn rotate_secret(
    arguments: &Arguments,
    session: &Session,
    cause: &Cause,
    out: &mut Output,
) -> Result<(), Failure> {
    let webhooks = &session.node.webhooks;
    let previous_until = until_both_end(session.ambient.now()).map_err(Failure::because)?;
    let secret = webhooks.new_secret();
    let shown = shown(&secret);
    webhooks
        .execute(cause, arguments.webhook, &WebhookCommand::RotateSecret { secret, previous_until })
        .await?;
    out.line(&format!(
        "secret {shown}, which is not shown again; the one before is valid until {previous_until}"
    ))
}
