//! `aegis events replay`: what every user was at some point of the log. It folds the events themselves and asks no
//! read model, so that the two can be compared.

use std::collections::BTreeMap;

use domain::{EmailAddress, User, UserId};
use store::{EventQuery, StoreError, StoredEvent};

use super::{PAGE, stream};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::user_row::{UserOutput, UserPrinter};
use crate::query::{AsOf, ReplayedUser};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Stop after this position, or after the events up to this moment (RFC 3339); without it, at the head
    #[arg(long, value_name = "POSITION|TIME")]
    until: Option<AsOf>,
    /// Only this user, by id or by the e-mail address they had then
    #[arg(long, value_name = "EMAIL|ID")]
    user: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// Whom to show.
enum UserFilter {
    All,
    Id(UserId),
    Email(String),
    None,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    let wanted = UserFilter::parse(arguments.user.as_deref());
    let users = fold(session, arguments.until, &wanted).await?;
    let mut lines = UserPrinter::new(arguments.json);
    let mut found = false;
    for (index, (id, user)) in users.iter().enumerate() {
        let (User::Present(account), Some(past)) = (&user.state, user.account_as_of(*id)) else { continue };
        if wanted.matches(*id, account) {
            found = true;
            lines.add(&UserOutput::from(past), out)?;
        }
        if index % PAGE == 0 {
            lines.print(out)?;
        }
    }
    lines.print(out)?;
    match &arguments.user {
        Some(user) if !found => {
            Err(CliError::Failed(format!("there was no user with e-mail address or id `{user}` then")))
        }
        _ => Ok(()),
    }
}

async fn fold(
    session: &Session,
    until: Option<AsOf>,
    wanted: &UserFilter,
) -> Result<BTreeMap<UserId, ReplayedUser>, CliError> {
    let store = &session.services.store;
    let last = match until {
        Some(until) => session.services.history.position(until).await.map_err(CliError::because)?,
        None => store.head().await?.position,
    };
    let mut query = EventQuery { until: Some(last), limit: PAGE, ..EventQuery::default() };
    if let UserFilter::Id(id) = wanted {
        query.stream = Some(stream(&id.stream()).map_err(StoreError::corrupt)?);
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

fn apply(users: &mut BTreeMap<UserId, ReplayedUser>, event: &StoredEvent) -> Result<(), CliError> {
    let envelope = &event.envelope;
    let Some(id) = UserId::from_stream(envelope.stream.as_str()) else { return Ok(()) };
    let fact = event_codec::decode_user_event(event)
        .map_err(|error| CliError::Failed(format!("stopped at position {}: {error}", envelope.position)))?;
    users.entry(id).or_default().apply(envelope, &fact);
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
