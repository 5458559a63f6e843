//! Records logins as events. Failures are only counted by the request that sees them; one task per node records
//! them, a batch at a time, so that a flood neither delays logins nor queues up appends.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::{LoginClient, LoginCommand, SYSTEM_ACTOR, UserId};
use futures::future::join_all;
use store::Env;
use store::key_store::ClaimHash;
use tokio::sync::Notify;
use tokio::time::timeout;

use super::spells::{Due, FailedLogin, Spell, Spells};
use crate::command::{CommandContext, CommandError, LoginCommands};
use crate::config::LoginEventSetting;
use crate::limits::LimitClock;

/// The number of events that are appended at once.
const BATCH: usize = 64;
/// How often spells are searched for those that have ended.
const SWEEP_INTERVAL: Duration = Duration::from_secs(1);
/// How long a success waits for the beginning of its user's spell, so that the events are in order.
const BEGINNING_WAIT: Duration = Duration::from_secs(1);
/// How long a stopping node takes to record the ends of spells.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// The logins that this node has seen and not yet recorded.
pub(crate) struct LoginRecorder {
    setting: LoginEventSetting,
    clock: LimitClock,
    spells: Mutex<Spells>,
    /// Notified when the beginning of a spell is to be recorded.
    pending: Notify,
    /// Notified when a batch was recorded.
    recorded: Notify,
}

impl LoginRecorder {
    pub(crate) fn new(setting: LoginEventSetting, env: &Env) -> Self {
        Self {
            setting,
            clock: LimitClock::new(env),
            spells: Mutex::default(),
            pending: Notify::new(),
            recorded: Notify::new(),
        }
    }

    /// Counts a failed login, which is recorded in the background.
    pub(crate) fn failed(&self, login: FailedLogin) {
        if self.setting == LoginEventSetting::Off {
            return;
        }
        let account = login.account;
        let mut spells = self.spells();
        spells.fail(login, self.clock.now());
        if spells.is_beginning(&account) {
            self.pending.notify_one();
        }
    }

    /// Counts a login that a limit refused, if it belongs to a spell.
    pub(crate) fn refused(&self, account: &ClaimHash) {
        self.spells().refuse(account, self.clock.now());
    }

    /// Records a successful login. Once this has returned, it is in the log.
    ///
    /// # Errors
    /// [`store::AppendError::Erased`] if the user was erased meanwhile; errors of the store.
    pub(crate) async fn succeeded(
        &self,
        commands: &LoginCommands,
        request_id: &str,
        account: &ClaimHash,
        user: UserId,
        client: LoginClient,
    ) -> Result<(), CommandError> {
        match self.setting {
            LoginEventSetting::Off => return Ok(()),
            LoginEventSetting::Failures => {
                self.spells().finish(account);
                self.pending.notify_one();
                return Ok(());
            }
            LoginEventSetting::All => {}
        }
        drop(timeout(BEGINNING_WAIT, self.wait_for_beginning(account)).await);
        let failures = self.spells().count(account);
        let context = CommandContext::new(user.stream(), request_id);
        commands.execute(&context, user, LoginCommand::Succeed { failures, client }).await?;
        self.spells().end(account, failures);
        Ok(())
    }

    /// Records failures as they come, and the ends of spells. Runs until it is aborted.
    pub(crate) async fn run(&self, commands: &LoginCommands) {
        loop {
            if self.spells().is_empty() {
                self.pending.notified().await;
            } else {
                drop(timeout(SWEEP_INTERVAL, self.pending.notified()).await);
            }
            while self.record_due(commands).await == BATCH {}
        }
    }

    /// Records the ends of the spells before the node stops, as many as it can in [`FLUSH_TIMEOUT`].
    pub(crate) async fn flush(&self, commands: &LoginCommands) {
        let flush = async {
            loop {
                let spells = self.spells().take(BATCH);
                if spells.is_empty() {
                    return;
                }
                join_all(spells.into_iter().map(|spell| async {
                    let (user, request_id) = (spell.user, spell.request_id.clone());
                    let command = if spell.count > 1 { end(spell, true) } else { begin(spell) };
                    log_failure(user, record(commands, request_id, user, command).await);
                }))
                .await;
            }
        };
        if timeout(FLUSH_TIMEOUT, flush).await.is_err() {
            tracing::warn!("failed logins not counted in the log: the service stops");
        }
    }

    /// Records what is due of up to [`BATCH`] spells; returns of how many.
    async fn record_due(&self, commands: &LoginCommands) -> usize {
        let due = self.spells().due(self.clock.now(), BATCH);
        let count = due.len();
        join_all(due.into_iter().map(|(account, spell, due)| self.record(commands, account, spell, due)))
            .await;
        self.recorded.notify_waiters();
        count
    }

    async fn record(&self, commands: &LoginCommands, account: ClaimHash, spell: Spell, due: Due) {
        let (user, count, request_id) = (spell.user, spell.count, spell.request_id.clone());
        let command = match due {
            Due::Beginning => begin(spell),
            Due::End { is_early } => end(spell, is_early),
        };
        let recorded = record(commands, request_id, user, command).await;
        let mut spells = self.spells();
        match (&recorded, due) {
            // The log has had it before, or just now.
            (Ok(_), Due::Beginning) => spells.begun(&account),
            (Ok(true), Due::End { .. }) => spells.end(&account, count),
            (Err(error), _) if error.is_erased() => spells.forget(&account),
            (Ok(false), Due::End { .. }) | (Err(_), _) => spells.postpone(&account, self.clock.now()),
        }
        drop(spells);
        log_failure(user, recorded);
    }

    async fn wait_for_beginning(&self, account: &ClaimHash) {
        loop {
            let recorded = self.recorded.notified();
            if !self.spells().is_beginning(account) {
                return;
            }
            recorded.await;
        }
    }

    fn spells(&self) -> MutexGuard<'_, Spells> {
        self.spells.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begin(spell: Spell) -> LoginCommand {
    LoginCommand::BeginSpell { reason: spell.reason, client: spell.client }
}

fn end(spell: Spell, is_early: bool) -> LoginCommand {
    let Spell { reason, count, client, .. } = spell;
    LoginCommand::EndSpell { reason, count, client, is_early }
}

/// Returns whether there is a new event.
async fn record(
    commands: &LoginCommands,
    request_id: String,
    user: UserId,
    command: LoginCommand,
) -> Result<bool, CommandError> {
    let context = CommandContext::new(SYSTEM_ACTOR, request_id);
    Ok(commands.execute(&context, user, command).await?.is_some())
}

fn log_failure(user: UserId, recorded: Result<bool, CommandError>) {
    if let Err(error) = recorded
        && !error.is_erased()
    {
        tracing::warn!(%user, %error, "failed login not recorded");
    }
}
