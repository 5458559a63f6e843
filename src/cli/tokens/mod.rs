//! `aegis tokens`: machine tokens.

use clap::Subcommand;
use domain::{Moment, Role, TokenId, TokenName};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde::Serialize;
use serde_json::json;
use store::Position;

use super::error::CliResult;
use super::output::Output;
use super::session::Session;
use super::table::{Table, printable};
use crate::command::{MachineToken, NewToken, TokenStatus};
use crate::config::ConfigSources;

const PAGE_SIZE: usize = 100;
const MAX_LIFETIME_SECONDS: i64 = 1_000 * 366 * 24 * 60 * 60;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Issue a token and print it, which is shown only once
    Issue(IssueArguments),
    /// Print all tokens, revoked and expired ones included
    List(ListArguments),
    /// Revoke a token: it is void at once
    Revoke(RevokeArguments),
}

#[derive(Debug, clap::Args)]
pub(super) struct IssueArguments {
    /// What the token is for; not personal
    #[arg(long, value_parser = TokenName::parse)]
    name: TokenName,
    /// A role of the bearer; may be repeated
    #[arg(long = "role", value_name = "ROLE", required = true)]
    roles: Vec<Role>,
    /// After what time the token expires, such as 90d or 12h; default: it does not expire
    #[arg(long, value_name = "TIME", value_parser = lifetime)]
    expires: Option<Span>,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArguments {
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct RevokeArguments {
    /// The id of the token
    #[arg(value_name = "ID", value_parser = TokenId::parse)]
    token: TokenId,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

/// A token right after its issue.
#[derive(Serialize)]
struct Issued {
    #[serde(flatten)]
    status: TokenStatus,
    token: String,
}

pub(super) async fn run(command: Command, sources: &ConfigSources, out: &mut Output) -> CliResult {
    Session::run(sources, async |session| match command {
        Command::Issue(arguments) => issue(arguments, session, out).await,
        Command::List(arguments) => list(&arguments, session, out).await,
        Command::Revoke(arguments) => revoke(&arguments, session, out).await,
    })
    .await
}

async fn issue(arguments: IssueArguments, session: &Session, out: &mut Output) -> CliResult {
    let IssueArguments { name, roles, expires, json } = arguments;
    // A clock that is centuries ahead makes a token void, not one without an end.
    let end =
        |span| after(session.env.now(), span).and_then(moment).or_else(|| moment(Timestamp::UNIX_EPOCH));
    let expires_at = expires.and_then(end);
    let new = NewToken { name, roles: roles.into_iter().collect(), expires_at };
    let issued = session.services.tokens.issue(&session.context, new).await?;
    let Some(token) = issued.bearer.as_ref().map(MachineToken::expose) else { return Ok(()) };
    if json {
        let status = TokenStatus::new(&issued, session.env.now());
        return out.json(&Issued { status, token });
    }
    let id = issued.id;
    let end =
        expires_at.map_or_else(|| "it does not expire".to_owned(), |end| format!("it expires at {end}"));
    out.line(&format!("token {id} is issued; {end}"))?;
    out.line(&format!("{token}, which is not shown again"))
}

async fn list(arguments: &ListArguments, session: &Session, out: &mut Output) -> CliResult {
    let header = ["ID", "STATE", "NAME", "ROLES", "ISSUED", "EXPIRES", "LAST USED"];
    let mut table = Table::new("tokens", header, arguments.json);
    let mut after = Position::START;
    loop {
        let (page, next) = session.services.tokens.page(after, PAGE_SIZE).await?;
        for token in &page {
            table.add(&TokenStatus::new(token, session.env.now()), cells, out)?;
        }
        table.print_page(out)?;
        let Some(next) = next else { return table.finish(out) };
        after = next;
    }
}

fn cells(token: &TokenStatus) -> [String; 7] {
    let shown = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        token.id.clone(),
        token.state.to_owned(),
        printable(&token.name),
        token.roles.join(","),
        token.issued_at.clone(),
        shown(&token.expires_at),
        shown(&token.last_used_on),
    ]
}

async fn revoke(arguments: &RevokeArguments, session: &Session, out: &mut Output) -> CliResult {
    let RevokeArguments { token, json } = *arguments;
    let revoked = session.services.tokens.revoke(&session.context, token).await?;
    let is_changed = revoked.position.is_some();
    if json {
        return out.json(&json!({"id": token.to_string(), "changed": is_changed}));
    }
    out.line(&if is_changed {
        format!("token {token} is revoked")
    } else {
        format!("token {token} was revoked before: nothing was done")
    })
}

/// A time span above zero, of at most 1,000 years.
fn lifetime(text: &str) -> Result<Span, String> {
    let span: Span = text.parse().map_err(|error: jiff::Error| error.to_string())?;
    let end = after(Timestamp::UNIX_EPOCH, span);
    let is_usable = span.is_positive() && end.is_some_and(|end| end.as_second() < MAX_LIFETIME_SECONDS);
    if is_usable { Ok(span) } else { Err("a token expires within 1,000 years".to_owned()) }
}

fn after(now: Timestamp, span: Span) -> Option<Timestamp> {
    Some(now.to_zoned(TimeZone::UTC).checked_add(span).ok()?.timestamp())
}

fn moment(at: Timestamp) -> Option<Moment> {
    Moment::from_millisecond(at.as_millisecond()).ok()
}
