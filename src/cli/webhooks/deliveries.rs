//! `aegis webhooks deliveries`: what was tried last.

use domain::{WebhookId, WebhookRejection};
use serde_json::Value;
use store::StreamId;

use super::id;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::Table;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The webhook
    #[arg(value_name = "ID", value_parser = id)]
    webhook: WebhookId,
    /// At most so many attempts; the last 1,000 are kept
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    let services = &session.services;
    // So that one that does not exist is told from one to which nothing was sent yet.
    if services.webhooks.state(arguments.webhook).await?.webhook.is_none() {
        return Err(CliError::because(WebhookRejection::Unknown));
    }
    let attempts = services
        .deliveries
        .attempts(&StreamId::from_trusted(arguments.webhook.stream())?, None, arguments.limit)
        .await?;
    let mut table = Table::new(["NUMBER", "AT", "POSITION", "TYPE", "ATTEMPT", "STATUS", "MS", "ERROR"]);
    for attempt in attempts {
        let mut report = attempt.report;
        if arguments.json {
            if let Some(report) = report.as_object_mut() {
                report.insert("number".to_owned(), attempt.number.into());
            }
            out.json(&report)?;
            continue;
        }
        let text = |field: &str| match report.get(field) {
            None | Some(Value::Null) => "-".to_owned(),
            Some(Value::String(text)) => text.clone(),
            Some(other) => other.to_string(),
        };
        let [at, position, kind, tried, status, latency, error] =
            ["at", "position", "type", "attempt", "status", "latency_ms", "error"].map(text);
        table.row([attempt.number.to_string(), at, position, kind, tried, status, latency, error]);
    }
    table.print(out)
}
