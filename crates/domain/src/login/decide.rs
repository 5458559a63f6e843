//! Decides which events of a login are recorded. How often that can be is bounded here, by the newest event in
//! the log: what nodes remember of failures is lost when they stop.

use std::time::Duration;

use super::{LoginClient, LoginEvent, LoginFailure};

/// A spell of failures ends when none has come for this long.
pub const SPELL_TIMEOUT: Duration = Duration::from_mins(15);

/// What is to be recorded of the logins of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoginCommand {
    /// The user logged in, after this many failures.
    Succeed {
        /// As in the event.
        failures: u64,
        /// Where from.
        client: LoginClient,
    },
    /// The first failure of a spell.
    BeginSpell {
        /// Why it failed.
        reason: LoginFailure,
        /// Where from.
        client: LoginClient,
    },
    /// A spell ended without a success.
    EndSpell {
        /// Why the last attempt failed.
        reason: LoginFailure,
        /// The failures of the spell.
        count: u64,
        /// Where the last attempt came from.
        client: LoginClient,
        /// The spell has not timed out: the node stops, or records no successes.
        is_early: bool,
    },
}

/// The newest event of the logins of a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LatestLogin {
    /// The event, which may be without its personal data.
    pub event: LoginEvent,
    /// The time since then.
    pub age: Duration,
}

/// The event to append; `None` if the log has it already, or has had one too recently.
///
/// Between two successes at most one beginning and one end of a spell are recorded in any [`SPELL_TIMEOUT`],
/// whatever number of nodes sees the failures.
#[must_use]
pub fn decide(latest: Option<&LatestLogin>, command: LoginCommand) -> Option<LoginEvent> {
    let recent = latest.filter(|latest| latest.age < SPELL_TIMEOUT).map(|latest| &latest.event);
    match command {
        LoginCommand::Succeed { failures, client } => Some(LoginEvent::LoginSucceeded { failures, client }),
        LoginCommand::BeginSpell { reason, client } => {
            // Another node, or this one before it was restarted, has recorded that the spell began.
            let has_begun = matches!(recent, Some(LoginEvent::LoginFailed { count: None, .. }));
            (!has_begun).then_some(LoginEvent::LoginFailed { reason, count: None, client })
        }
        LoginCommand::EndSpell { reason, count, client, is_early } => {
            let is_too_recent = match recent {
                Some(LoginEvent::LoginFailed { count: Some(_), .. }) => true,
                Some(LoginEvent::LoginFailed { count: None, .. }) => !is_early,
                Some(LoginEvent::LoginSucceeded { .. }) | None => false,
            };
            (!is_too_recent).then_some(LoginEvent::LoginFailed { reason, count: Some(count), client })
        }
    }
}
