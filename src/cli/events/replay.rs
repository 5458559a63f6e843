//! `aegis events replay`: what every user was at some point of the log. It folds the events themselves and asks no
//! read model, so that the two can be compared.

use std::collections::BTreeMap;

use domain::{EmailAddress, User, UserId};
use projections::decode;
use store::{EventQuery, Recorded, StoreError};

use super::{PAGE, stream};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::user_line::{UserLine, UserLines};
use crate::query::{AsOf, Life};

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
enum Wanted {
    Everybody,
    Id(UserId),
    Email(String),
    Nobody,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let wanted = Wanted::parse(arguments.user.as_deref());
    let users = fold(session, arguments.until, &wanted).await?;
    let mut lines = UserLines::new(arguments.json);
    let mut found = false;
    for (index, (id, life)) in users.iter().enumerate() {
        let (User::Present(account), Some(past)) = (&life.user, life.told(*id)) else { continue };
        if wanted.is_met_by(*id, account) {
            found = true;
            lines.add(&UserLine::from(past), out)?;
        }
        if index % PAGE == 0 {
            lines.print(out)?;
        }
    }
    lines.print(out)?;
    match &arguments.user {
        Some(user) if !found => {
            Err(Failure::Failed(format!("there was no user with e-mail address or id `{user}` then")))
        }
        _ => Ok(()),
    }
}

async fn fold(
    session: &Session,
    until: Option<AsOf>,
    wanted: &Wanted,
) -> Result<BTreeMap<UserId, Life>, Failure> {
    let store = &session.node.store;
    let last = match until {
        Some(until) => session.node.history.position(until).await.map_err(Failure::because)?,
        None => store.head().await?.position,
    };
    let mut query = EventQuery { until: Some(last), limit: PAGE, ..EventQuery::default() };
    if let Wanted::Id(id) = wanted {
        query.stream = Some(stream(&id.stream()).map_err(StoreError::corrupt)?);
    }
    let mut users = BTreeMap::new();
    while query.after < last {
        let page = store.page(&query).await?;
        for event in &page.events {
            take_in(&mut users, event)?;
        }
        query.after = page.next;
    }
    Ok(users)
}

fn take_in(users: &mut BTreeMap<UserId, Life>, event: &Recorded) -> Result<(), Failure> {
    let envelope = &event.envelope;
    let Some(id) = UserId::from_stream(envelope.stream.as_str()) else { return Ok(()) };
    let fact = decode::user_event(event)
        .map_err(|error| Failure::Failed(format!("stopped at position {}: {error}", envelope.position)))?;
    users.entry(id).or_default().take(envelope, &fact);
    Ok(())
}

impl Wanted {
    fn parse(text: Option<&str>) -> Self {
        let Some(text) = text else { return Self::Everybody };
        match (UserId::parse(text), EmailAddress::parse(text)) {
            (Ok(id), _) => Self::Id(id),
            (Err(_), Ok(email)) => Self::Email(email.key()),
            (Err(_), Err(_)) => Self::Nobody,
        }
    }

    fn is_met_by(&self, id: UserId, account: &domain::Account) -> bool {
        match self {
            Self::Everybody => true,
            Self::Id(wanted) => *wanted == id,
            Self::Email(key) => account.email.known().is_some_and(|email| email.key() == *key),
            Self::Nobody => false,
        }
    }
}
