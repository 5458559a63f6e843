//! `aegis events replay`: the state of every user at a position of the log. It folds the events and reads no
//! read model, so that the two can be compared.

use std::collections::BTreeMap;

use domain::{EmailAddress, User, UserId};
use store::{EventQuery, StoredEvent, StreamId};

use super::output::PAGE_SIZE;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::user_output::UserOutput;
use crate::query::{AsOf, ReplayedUser};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Stop after this position or time (RFC 3339); default: the head of the log
    #[arg(long, value_name = "POSITION|TIME")]
    until: Option<AsOf>,
    /// Print only this user, by id or by the e-mail address at that position
    #[arg(long, value_name = "EMAIL|ID")]
    user: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Which users to print.
enum UserFilter {
    All,
    Id(UserId),
    Email(String),
    None,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let filter = UserFilter::parse(arguments.user.as_deref());
    let users = fold(session, arguments.until, &filter).await?;
    let mut table = UserOutput::table(arguments.json);
    let mut is_found = false;
    for (index, (id, user)) in users.iter().enumerate() {
        let (User::Present(account), Some(state)) = (&user.state, user.account_as_of(*id)) else { continue };
        if filter.matches(*id, account) {
            is_found = true;
            table.add(&UserOutput::from(state), UserOutput::row, out)?;
        }
        if index % PAGE_SIZE == 0 {
            table.print_page(out)?;
        }
    }
    match &arguments.user {
        Some(user) if !is_found => Err(CliError::UserNotFound(user.clone())),
        _ => table.finish(out),
    }
}

async fn fold(
    session: &Session,
    until: Option<AsOf>,
    filter: &UserFilter,
) -> Result<BTreeMap<UserId, ReplayedUser>, CliError> {
    let store = &session.services.store;
    let last = match until {
        Some(until) => session.services.history.position(until).await?,
        None => store.head().await?.position,
    };
    let mut query = EventQuery { until: Some(last), limit: PAGE_SIZE, ..EventQuery::default() };
    if let UserFilter::Id(id) = filter {
        query.stream = Some(StreamId::from_trusted(id.stream())?);
    }
    let mut users = BTreeMap::new();
    while query.after < last {
        let page = store.page(&query).await?;
        for event in &page.events {
            apply(&mut users, event)?;
        }
        query.after = page.next;
    }
    Ok(users)
}

fn apply(users: &mut BTreeMap<UserId, ReplayedUser>, event: &StoredEvent) -> CliResult {
    let envelope = &event.envelope;
    let Some(id) = UserId::from_stream(envelope.stream.as_str()) else { return Ok(()) };
    let user_event = event_codec::decode_user_event(event)
        .map_err(|error| CliError::Undecodable { position: envelope.position, error: error.to_string() })?;
    users.entry(id).or_default().apply(envelope, &user_event);
    Ok(())
}

impl UserFilter {
    fn parse(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::All };
        match (UserId::parse(text), EmailAddress::parse(text)) {
            (Ok(id), _) => Self::Id(id),
            (Err(_), Ok(email)) => Self::Email(email.key()),
            (Err(_), Err(_)) => Self::None,
        }
    }

    fn matches(&self, id: UserId, account: &domain::Account) -> bool {
        match self {
            Self::All => true,
            Self::Id(wanted) => *wanted == id,
            Self::Email(key) => account.email.known().is_some_and(|email| email.key() == *key),
            Self::None => false,
        }
    }
}
