//! What it costs that logins are events, apart from verifying the password.

use std::sync::Arc;
use std::time::Instant;

use aegis::command::{CommandContext, LoginCommands};
use async_trait::async_trait;
use domain::{Erasable, LoginClient, LoginCommand, UserAgent, UserId};
use store::{Env, ReadModelStore, Table};
use tokio::task::JoinSet;

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::registrations::Registrations;
use crate::scratch::StoreKind;
use crate::target::{Round, Target, per_second};
use crate::time_slice::TimeSlice;

/// Users who log in.
const USERS: usize = 1000;
/// Logins in progress.
const CONCURRENCY: usize = 128;

pub(crate) static LOGIN_EVENT: Benchmark = Benchmark {
    name: "login_event",
    unit: "logins/s",
    meaning: "128 logins at a time without their password hash: the row of the user is found, and the login is \
         appended before it is answered; the baseline finds the rows only, as with `AEGIS_LOGIN_EVENTS=off`",
    stores: StoreKind::ALL,
    // A read against a durable write. The hash of a password costs several times as much as either.
    target: |_| Target::RatioAtLeast(0.05),
    prepare: |scratch, slice| {
        Box::pin(async move {
            let (subject, table, ids) = Registrations::with_rows(scratch, slice, USERS).await?;
            let commands = LoginCommands::new(subject.sources().events.clone(), Env::system());
            let rows = Arc::clone(&subject.sources().rows);
            prepared(Logins { subject, commands, work: LoginsWithoutHash { rows, table, ids } })
        })
    },
};

struct Logins {
    subject: Registrations,
    commands: LoginCommands,
    work: LoginsWithoutHash,
}

/// Users who log in, in turn.
pub(crate) struct LoginsWithoutHash {
    pub(crate) rows: Arc<dyn ReadModelStore>,
    pub(crate) table: Table,
    pub(crate) ids: Arc<[UserId]>,
}

#[async_trait]
impl Comparison for Logins {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let begun = Instant::now();
        let count = self.work.log_in(Some(&self.commands), slice, u64::MAX).await?;
        let value = per_second(count, begun.elapsed());
        let begun = Instant::now();
        let each = count.div_ceil(u64::try_from(CONCURRENCY).unwrap_or(1));
        let count = self.work.log_in(None, slice, each).await?;
        Ok(Round { value, baseline: per_second(count, begun.elapsed()) })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}

impl LoginsWithoutHash {
    /// Each client logs in that many times or, if events are recorded, until the slice is over; returns the logins.
    pub(crate) async fn log_in(
        &self,
        commands: Option<&LoginCommands>,
        slice: &TimeSlice,
        each: u64,
    ) -> Result<u64, BenchError> {
        let mut clients = JoinSet::new();
        for client in 0..CONCURRENCY {
            let (rows, table) = (Arc::clone(&self.rows), self.table.clone());
            let (ids, commands, slice) = (Arc::clone(&self.ids), commands.cloned(), slice.clone());
            clients.spawn(async move {
                let mut count = 0_u64;
                for user in ids.iter().cycle().skip(client).step_by(CONCURRENCY) {
                    slice.check()?;
                    if count >= each || commands.is_some() && count > 0 && slice.is_over() {
                        break;
                    }
                    rows.find(&table, table.key(), &user.to_string()).await?;
                    if let Some(commands) = &commands {
                        let context = CommandContext::new(user.stream(), "bench");
                        commands.execute(&context, *user, login()).await?;
                    }
                    count += 1;
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
}

pub(super) fn login() -> LoginCommand {
    let client = LoginClient {
        address: Some(Erasable::Known([203, 0, 113, 9].into())),
        user_agent: UserAgent::from_untrusted("Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101")
            .map(Erasable::Known),
    };
    LoginCommand::Succeed { failures: 0, client }
}
