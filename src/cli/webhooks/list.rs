//! `aegis webhooks list` and `deliveries`.

use domain::{WebhookId, WebhookRejection};
use projections::Webhooks;
use serde_json::Value;
use store::StreamId;

use crate::cli::error::CliResult;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::Table;
use crate::command::CommandError;
use crate::webhooks::WebhookStatus;

const PAGE_SIZE: usize = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct DeliveriesArguments {
    /// The id of the webhook
    #[arg(value_name = "ID", value_parser = WebhookId::parse)]
    webhook: WebhookId,
    /// Print at most this many attempts; the last 1,000 are stored
    #[arg(long, value_name = "COUNT", default_value_t = 100)]
    limit: usize,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    // Not `users`: a webhook that waits for it is listed as such.
    projections::catch_up(&Webhooks, &session.services.projection_context).await?;
    let services = &session.services;
    let mut table = Table::new("webhooks", ["ID", "STATE", "POSITION", "OWNER", "URL"], arguments.json);
    let mut after = None;
    loop {
        let page = services.webhook_rows.page(after, PAGE_SIZE).await?;
        for row in &page {
            let state = services.webhooks.state(row.id).await?;
            // None if the webhook was deleted after the page was read.
            if let Some(view) = services.delivery_context.status(&state).await? {
                table.add(&view, cells, out)?;
            }
        }
        table.print_page(out)?;
        after = page.last().map(|row| row.id);
        if page.len() < PAGE_SIZE {
            return table.finish(out);
        }
    }
}

fn cells(view: &WebhookStatus) -> [String; 5] {
    let reason = view.suspended.or(view.waiting).or(view.unreadable.as_deref());
    let reason = reason.or_else(|| Some(view.failing.as_ref()?.error.as_str()));
    let state = reason.map_or_else(|| view.state.to_owned(), |reason| format!("{} ({reason})", view.state));
    let url = view.url.clone().unwrap_or_else(|| "-".to_owned());
    [view.id.clone(), state, view.position.to_string(), view.owner.clone(), url]
}

pub(super) async fn deliveries(
    arguments: &DeliveriesArguments,
    session: &Session,
    out: &mut Output,
) -> CliResult {
    let services = &session.services;
    // An unknown webhook is an error, one without deliveries is not.
    if services.webhooks.state(arguments.webhook).await?.webhook.is_none() {
        return Err(CommandError::from(WebhookRejection::Unknown).into());
    }
    let stream = StreamId::from_trusted(arguments.webhook.stream())?;
    let columns = ["NUMBER", "AT", "POSITION", "TYPE", "ATTEMPT", "STATUS", "MS", "ERROR"];
    let mut table = Table::new("deliveries", columns, arguments.json);
    for attempt in services.deliveries.attempts(&stream, None, arguments.limit).await? {
        let mut report = attempt.report;
        if let Some(report) = report.as_object_mut() {
            report.insert("number".to_owned(), attempt.number.into());
        }
        table.add(&report, attempt_cells, out)?;
    }
    table.finish(out)
}

fn attempt_cells(report: &Value) -> [String; 8] {
    let fields = ["number", "at", "position", "type", "attempt", "status", "latency_ms", "error"];
    fields.map(|field| match report.get(field) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    })
}
