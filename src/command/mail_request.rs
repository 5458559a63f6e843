//! Requests for mails to a user, which are events. The stream of a user has at most [`MAX_MAIL_REQUESTS`] of each type
//! in [`MAIL_REQUEST_WINDOW`]: they are counted by the times in the log, at the version at which the next one is
//! appended, so that neither a restart nor another node permits more. The mails are sent by a worker that reads the
//! log.

use std::time::Duration;

use domain::{User, UserCommand, UserEvent, UserId, user};
use jiff::Timestamp;
use store::{Appended, Env, EventStore, StoredEvent, StreamId};

use super::executor::{Decider, Decision, Loaded, execute, fold};
use super::user::{UserCommands, UserState, present};
use super::{Aggregate, CommandContext, CommandError};

/// How many mails of one kind a user can be sent in [`MAIL_REQUEST_WINDOW`].
pub const MAX_MAIL_REQUESTS: usize = 3;
/// The time in which the requests of a user are counted.
pub const MAIL_REQUEST_WINDOW: Duration = Duration::from_hours(1);

/// A mail that can be requested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailRequest {
    EmailVerification,
    PasswordReset,
}

impl MailRequest {
    fn command(self) -> UserCommand {
        match self {
            Self::EmailVerification => UserCommand::RequestEmailVerification,
            Self::PasswordReset => UserCommand::RequestPasswordReset,
        }
    }

    fn event_type(self) -> &'static str {
        match self {
            Self::EmailVerification => UserEvent::VERIFICATION_REQUESTED_TYPE,
            Self::PasswordReset => UserEvent::RESET_REQUESTED_TYPE,
        }
    }
}

impl UserCommands {
    /// Requests a mail to a user. Nothing is recorded if the user is deactivated, or the e-mail address verified
    /// already.
    ///
    /// # Errors
    /// [`CommandError::TooManyMailRequests`]; [`domain::Rejection::Unknown`] or [`domain::Rejection::Erased`] if there
    /// is no such user.
    pub async fn request_mail(
        &self,
        context: &CommandContext,
        id: UserId,
        request: MailRequest,
    ) -> Result<UserState, CommandError> {
        let decider = MailRequestDecider { id, request, store: &self.store };
        execute(&self.store, &self.env, context, &decider).await
    }
}

struct MailRequestDecider<'a> {
    id: UserId,
    request: MailRequest,
    /// Its clock stamps the events.
    store: &'a EventStore,
}

/// The user, and the times of the earlier requests, oldest first.
struct RequestingUser {
    user: Loaded<User>,
    requests: Vec<Timestamp>,
}

impl MailRequestDecider<'_> {
    /// The times of the earlier requests.
    fn requests(&self, events: &[StoredEvent]) -> Vec<Timestamp> {
        let envelopes = events.iter().map(|event| &event.envelope);
        envelopes.filter(|it| it.event_type == self.request.event_type()).map(|it| it.at).collect()
    }
}

impl Decider for MailRequestDecider<'_> {
    type State = RequestingUser;
    type Output = UserState;

    fn aggregate(&self) -> Aggregate {
        Aggregate::User(self.id)
    }

    fn command(&self) -> &'static str {
        match self.request {
            MailRequest::EmailVerification => "request_email_verification",
            MailRequest::PasswordReset => "request_password_reset",
        }
    }

    async fn load(&self, store: &EventStore) -> Result<RequestingUser, CommandError> {
        let events = store.read_stream(&StreamId::from_trusted(self.id.stream())?).await?;
        let evolve = |user, event: &_| Ok(user::evolve(user, &event_codec::decode_user_event(event)?));
        Ok(RequestingUser { user: fold(&events, u64::MAX, evolve)?, requests: self.requests(&events) })
    }

    fn version(&self, state: &RequestingUser) -> Option<u64> {
        matches!(state.user.state, User::Present(_)).then_some(state.user.version)
    }

    fn decide(&self, state: RequestingUser, env: &Env) -> Result<Decision<UserState>, CommandError> {
        let RequestingUser { user, requests } = state;
        let events = user::decide(&user.state, self.request.command())?;
        let mut writes = Vec::new();
        if !events.is_empty() {
            if let Some(retry_after) = wait_before_next(&requests, self.store.clock().now()) {
                return Err(CommandError::TooManyMailRequests { retry_after });
            }
            let encoded = events.iter().map(UserEvent::encode);
            writes.push(event_codec::stream_write(env, &self.id.stream(), user.version, encoded)?);
        }
        let output = present(self.id, user, None).ok_or(domain::Rejection::Unknown)?;
        Ok(Decision { writes, guards: Vec::new(), output })
    }

    fn complete(output: &mut UserState, appended: &Appended) {
        output.version = appended.versions.first().copied().unwrap_or(output.version);
        output.position = Some(appended.position);
    }
}

/// How long to wait until the next request is permitted; `None` if it is now. Times in the future, after a clock was
/// wrong, count as now.
fn wait_before_next(requests: &[Timestamp], now: Timestamp) -> Option<Duration> {
    let first_counted = requests.len().checked_sub(MAX_MAIL_REQUESTS)?;
    let age = now.duration_since(*requests.get(first_counted)?).try_into().unwrap_or_default();
    MAIL_REQUEST_WINDOW.checked_sub(age).filter(|wait| !wait.is_zero())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(minute: i64) -> Timestamp {
        Timestamp::from_second(1_000_000 + minute * 60).unwrap()
    }

    #[test]
    fn fourth_request_waits_until_the_third_last_is_an_hour_old() {
        let wait = |minutes: &[i64], now| {
            let requests: Vec<_> = minutes.iter().map(|minute| at(*minute)).collect();
            wait_before_next(&requests, at(now)).map(|wait| wait.as_secs() / 60)
        };
        assert_eq!(wait(&[], 0), None);
        assert_eq!(wait(&[0, 0], 0), None);
        assert_eq!(wait(&[0, 10, 20], 20), Some(40));
        assert_eq!(wait(&[0, 10, 20], 59), Some(1));
        assert_eq!(wait(&[0, 10, 20], 60), None);
        assert_eq!(wait(&[0, 10, 20, 60], 60), Some(10));
        assert_eq!(wait(&[0, 10, 20, 60], 70), None);
        assert_eq!(wait(&[90, 100, 110], 0), Some(60), "the clock was wrong");
    }
}
