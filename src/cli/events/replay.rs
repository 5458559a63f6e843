//! `aegis events replay`: what every user was at some point of the log. It folds the events themselves and asks no
//! read model, so that the two can be compared.

use std::collections::BTreeMap;
use std::str::FromStr;

use domain::{EmailAddress, User, UserId, user};
use jiff::Timestamp;
use projections::decode;
use store::{EventQuery, Position, Recorded, StoreError};

use super::{PAGE, stream};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::user_line::{UserLine, UserLines};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Stop after this position, or after the events up to this moment (RFC 3339); without it, at the head
    #[arg(long, value_name = "POSITION|TIME")]
    until: Option<Until>,
    /// Only this user, by id or by the e-mail address they had then
    #[arg(long, value_name = "EMAIL|ID")]
    user: Option<String>,
    /// Print one JSON object per line
    #[arg(long)]
    json: bool,
}

/// A point in the log. Times never fall as positions rise, so each moment is one.
#[derive(Clone, Copy, Debug)]
enum Until {
    Position(Position),
    Time(Timestamp),
}

impl FromStr for Until {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(position) = text.parse() {
            return Ok(Self::Position(Position::new(position)));
        }
        let time =
            text.parse().map_err(|_| "it is neither a position nor a time like 2026-11-22T08:03:14Z")?;
        Ok(Self::Time(time))
    }
}

/// Whom to show.
enum Wanted {
    Everybody,
    Id(UserId),
    Email(String),
    Nobody,
}

/// What is kept of a user while the log passes by.
struct Replayed {
    user: User,
    /// When their first event was appended.
    first: Timestamp,
    version: u64,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let wanted = Wanted::parse(arguments.user.as_deref());
    let users = fold(session, arguments.until, &wanted).await?;
    let mut lines = UserLines::new(arguments.json);
    let mut found = false;
    for (index, (id, Replayed { user, first, version })) in users.iter().enumerate() {
        let User::Present(account) = user else { continue };
        if wanted.is_met_by(*id, account) {
            found = true;
            lines.add(&UserLine::folded(*id, account, decode::created_at(account, *first), *version), out)?;
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
    until: Option<Until>,
    wanted: &Wanted,
) -> Result<BTreeMap<UserId, Replayed>, Failure> {
    let store = &session.node.store;
    let head = store.head().await?.position;
    let (last, moment) = match until {
        Some(Until::Position(position)) if position > head => {
            return Err(Failure::Failed(format!(
                "position {position} is beyond the head of the log, which is at {head}"
            )));
        }
        Some(Until::Position(position)) => (position, Timestamp::MAX),
        Some(Until::Time(moment)) => (head, moment),
        None => (head, Timestamp::MAX),
    };
    let mut query = EventQuery { until: Some(last), limit: PAGE, ..EventQuery::default() };
    if let Wanted::Id(id) = wanted {
        query.stream = Some(stream(&id.stream()).map_err(StoreError::corrupt)?);
    }
    let mut users = BTreeMap::new();
    while query.after < last {
        let page = store.page(&query).await?;
        for event in &page.events {
            if event.envelope.at > moment {
                return Ok(users);
            }
            take_in(&mut users, event)?;
        }
        query.after = page.next;
    }
    Ok(users)
}

fn take_in(users: &mut BTreeMap<UserId, Replayed>, event: &Recorded) -> Result<(), Failure> {
    let envelope = &event.envelope;
    let Some(id) = UserId::from_stream(envelope.stream.as_str()) else { return Ok(()) };
    let fact = decode::user_event(event)
        .map_err(|error| Failure::Failed(format!("stopped at position {}: {error}", envelope.position)))?;
    let replayed =
        users.entry(id).or_insert_with(|| Replayed { user: User::Absent, first: envelope.at, version: 0 });
    replayed.user = user::evolve(std::mem::take(&mut replayed.user), &fact);
    replayed.version = envelope.version;
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
