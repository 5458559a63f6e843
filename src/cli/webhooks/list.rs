//! `aegis webhooks list`: all webhooks, by id.

use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::table::Table;
use crate::webhooks::WebhookView;

/// Rows read at once.
const PAGE: usize = 100;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    session.catch_up().await?;
    let services = &session.services;
    let mut table = Table::new(["ID", "STATE", "POSITION", "OWNER", "URL"]);
    let mut after = None;
    loop {
        let page = services.webhook_rows.page(after, PAGE).await.map_err(CliError::because)?;
        for row in &page {
            let state = services.webhooks.state(row.id).await?;
            match WebhookView::of(&*services.deliveries, &state).await? {
                Some(view) if arguments.json => out.json(&view)?,
                Some(view) => table.row(cells(view)),
                // Deleted this moment.
                None => {}
            }
        }
        table.print(out)?;
        after = page.last().map(|row| row.id);
        if page.len() < PAGE {
            return Ok(());
        }
    }
}

fn cells(view: WebhookView) -> [String; 5] {
    let why = view.suspended.map(ToOwned::to_owned).or_else(|| Some(view.failing?.error));
    let state = why.map_or_else(|| view.state.to_owned(), |why| format!("{} ({why})", view.state));
    [view.id, state, view.position.to_string(), view.owner, view.url]
}
