//! `aegis webhooks register`: a webhook for a user.

use domain::{Reason, WebhookUrl, known_schemas};

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::users;
use crate::command::{CommandContext, NewWebhook};
use crate::webhooks::encode_secret;
use crate::webhooks::{MAX_WEBHOOKS_PER_USER, may_own};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Where events are sent
    #[arg(value_parser = WebhookUrl::parse)]
    url: WebhookUrl,
    /// Whose it is: the e-mail address or the id of a subscriber or an administrator
    #[arg(long, value_name = "USER")]
    owner: String,
    /// The types of events, between commas; all unless some are named
    #[arg(long, value_name = "TYPES", value_delimiter = ',', value_parser = event_type)]
    types: Vec<String>,
    /// What it is for
    #[arg(long, value_name = "WORDS", value_parser = Reason::parse)]
    description: Option<Reason>,
    /// Begin after this position; at the head unless one is named
    #[arg(long, value_name = "POSITION")]
    after: Option<u64>,
}

pub(super) async fn run(
    arguments: Arguments,
    session: &Session,
    context: &CommandContext,
    out: &mut Output,
) -> Result<(), CliError> {
    let Arguments { url, owner, types, description, after } = arguments;
    let services = &session.services;
    let owner = users::find(session, &owner).await?;
    if !may_own(&owner) {
        return Err(CliError::Failed(format!(
            "user {} may not have webhooks: they have to be active, and `aegis users grant {} subscriber` gives them the \
             role",
            owner.id, owner.id
        )));
    }
    session.sender.check(&url, None).await.map_err(|error| {
        CliError::Failed(format!(
            "nothing may be sent there: {error}. AEGIS_WEBHOOK_ALLOW_PRIVATE names networks that may be reached all the same"
        ))
    })?;
    if services.webhook_rows.of(owner.id).await.map_err(CliError::because)?.len() >= MAX_WEBHOOKS_PER_USER {
        return Err(CliError::Failed(format!(
            "user {} has {MAX_WEBHOOKS_PER_USER} webhooks; delete one of those first",
            owner.id
        )));
    }
    let head = services.store.head().await?.position.get();
    let after = after.unwrap_or(head);
    if after > head {
        return Err(CliError::Failed(format!("the log ends at position {head}, before {after}")));
    }
    let new = NewWebhook { owner: owner.id, url, types, description, after };
    let registered = services.webhooks.register(context, new).await?;
    out.line(&format!("webhook {} is registered; it begins after position {after}", registered.id))?;
    let secret = registered.webhook.as_ref().and_then(|webhook| webhook.secret.known());
    secret.map_or(Ok(()), |secret| {
        out.line(&format!("secret {}, which is not shown again", encode_secret(secret)))
    })
}

fn event_type(text: &str) -> Result<String, String> {
    let known = known_schemas().any(|(known, _)| known == text);
    if known { Ok(text.to_owned()) } else { Err("there is no event of that type".to_owned()) }
}
