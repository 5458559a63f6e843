//! The speed of refresh tokens.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aegis::command::{CommandContext, LoginCommands};
use aegis::query::UserQueries;
use async_trait::async_trait;
use domain::UserId;
use store::{Env, NewSession, Session, Sessions, StreamId, Table, WriteError};
use tokio::task::JoinSet;

use super::login_event::login;
use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::registrations::Registrations;
use crate::scratch::StoreKind;
use crate::target::{Round, Target, per_second};
use crate::time_slice::TimeSlice;

/// Users with sessions.
const USERS: usize = 1000;
/// Sessions that are open while some of them are renewed; fewer if the time is too short to open them.
const SESSIONS: usize = 100_000;
/// How long they stay open.
const LIFETIME: Duration = Duration::from_hours(720);
/// Renewals in progress.
const CONCURRENCY: usize = 128;

pub(crate) static SESSION_RENEWAL: Benchmark = Benchmark {
    name: "session_renewal",
    unit: "renewals/s",
    meaning: "128 renewals of sessions at a time, of 100,000 that are open (fewer if SECONDS are too few to open \
         them): the session and the row of its user are found, and its next generation is stored; the baseline is \
         logins without their password hash, whose event is appended",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtLeast(0.5),
    prepare: |scratch, slice| {
        Box::pin(async move {
            let (subject, table, ids) = Registrations::with_rows(scratch, slice, USERS).await?;
            let sessions = Sessions::new(subject.sources().events.clone(), subject.sessions());
            let open = open_all(&sessions, &ids, slice).await?;
            let logins = LoginCommands::new(subject.sources().events.clone(), Env::system());
            let users =
                UserQueries::new(subject.sources().events.clone(), Arc::clone(&subject.sources().rows));
            let users = users.with_cache(USERS);
            prepared(Renewals { subject, users, sessions, logins, table, ids, open: open.into() })
        })
    },
};

struct Renewals {
    subject: Registrations,
    users: UserQueries,
    sessions: Sessions,
    logins: LoginCommands,
    table: Table,
    ids: Arc<[UserId]>,
    open: Arc<[Session]>,
}

/// Opens sessions of the users in turn; at least one of each client.
async fn open_all(
    sessions: &Sessions,
    ids: &[UserId],
    slice: &TimeSlice,
) -> Result<Vec<Session>, BenchError> {
    let now = Env::system().now();
    let expires_at = now.checked_add(LIFETIME).unwrap_or(now);
    let mut clients = JoinSet::new();
    for client in 0..CONCURRENCY {
        let (sessions, slice) = (sessions.clone(), slice.clone());
        let users: Vec<_> = ids
            .iter()
            .cycle()
            .skip(client)
            .step_by(CONCURRENCY)
            .take(SESSIONS / CONCURRENCY)
            .copied()
            .collect();
        clients.spawn(async move {
            let mut open = Vec::new();
            for user in users {
                slice.check()?;
                if !open.is_empty() && slice.is_over() {
                    break;
                }
                let stream = StreamId::new(user.stream()).map_err(BenchError::invalid)?;
                let (address, user_agent) = (Some("203.0.113.9".to_owned()), Some("Mozilla/5.0".to_owned()));
                let new =
                    NewSession { stream, version: 1, ends_at: expires_at, expires_at, address, user_agent };
                open.push(sessions.open(new).await.map_err(BenchError::invalid)?);
            }
            Ok::<_, BenchError>(open)
        });
    }
    let mut open = Vec::new();
    while let Some(done) = clients.join_next().await {
        open.extend(done.map_err(BenchError::invalid)??);
    }
    Ok(open)
}

#[async_trait]
impl Comparison for Renewals {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let begun = Instant::now();
        let count = self.renew(slice).await?;
        let value = per_second(count, begun.elapsed());
        let begun = Instant::now();
        let count = self.log_in(count.div_ceil(u64::try_from(CONCURRENCY).unwrap_or(1)), slice).await?;
        Ok(Round { value, baseline: per_second(count, begun.elapsed()) })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}

impl Renewals {
    /// Each client renews its sessions until the slice is over; returns the renewals.
    async fn renew(&self, slice: &TimeSlice) -> Result<u64, BenchError> {
        let mut clients = JoinSet::new();
        for client in 0..CONCURRENCY {
            let (users, sessions) = (self.users.clone(), self.sessions.clone());
            let (open, slice) = (Arc::clone(&self.open), slice.clone());
            clients.spawn(async move {
                let mut count = 0_u64;
                for session in open.iter().skip(client).step_by(CONCURRENCY).cycle() {
                    slice.check()?;
                    if count > 0 && slice.is_over() {
                        break;
                    }
                    let Some(session) = sessions.find(session.id).await? else { continue };
                    if let Some(user) = UserId::from_stream(session.stream.as_str()) {
                        users.by_id(user).await.map_err(BenchError::invalid)?;
                    }
                    match sessions.renew(&session, session.generation, session.expires_at).await {
                        Ok(_) => count += 1,
                        Err(WriteError::Conflict) => {}
                        Err(WriteError::Store(error)) => return Err(error.into()),
                    }
                }
                Ok::<_, BenchError>(count)
            });
        }
        let mut count = 0;
        while let Some(done) = clients.join_next().await {
            count += done.map_err(BenchError::invalid)??;
        }
        Ok(count)
    }

    /// Each client logs in that many times; returns the logins.
    async fn log_in(&self, each: u64, slice: &TimeSlice) -> Result<u64, BenchError> {
        let mut clients = JoinSet::new();
        for client in 0..CONCURRENCY {
            let (rows, table) = (Arc::clone(&self.subject.sources().rows), self.table.clone());
            let (ids, logins, slice) = (Arc::clone(&self.ids), self.logins.clone(), slice.clone());
            clients.spawn(async move {
                let users = ids.iter().cycle().skip(client).step_by(CONCURRENCY);
                for (_, user) in (0..each).zip(users) {
                    slice.check()?;
                    rows.find(&table, table.key(), &user.to_string()).await?;
                    logins.execute(&CommandContext::new(user.stream(), "bench"), *user, login()).await?;
                }
                Ok::<_, BenchError>(each)
            });
        }
        let mut count = 0;
        while let Some(done) = clients.join_next().await {
            count += done.map_err(BenchError::invalid)??;
        }
        Ok(count)
    }
}
