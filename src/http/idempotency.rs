//! Writes that may have been sent before: the first result is rendered anew, whatever has changed since.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use domain::Rejection;
use store::key_store::ClaimHash;
use store::{IdempotencyKey, Position, RecordedResult};

use super::api_error::ApiError;
use super::extract::WriteAttempt;
use super::state::HttpState;
use super::time_limit::TimeLimit;
use crate::app::Services;
use crate::command::{CommandError, UserState, WebhookState};

/// What is read under a key, for messages.
const RECORDED_RESULT: &str = "whether it was done before";

/// What a write leaves, and what its repetition is answered with.
pub(super) trait ReplayableWrite: Sized + Send {
    /// What an earlier write has left, as it was then.
    async fn replay(services: &Services, first: &RecordedResult) -> Result<Self, ApiError>;

    /// The position of the last event that was appended; `None` if nothing was.
    fn position(&self) -> Option<Position>;

    /// Waits, within bounds, until whoever asked can read it back.
    async fn wait_until_visible(services: &Services, position: Position);
}

impl ReplayableWrite for UserState {
    async fn replay(services: &Services, first: &RecordedResult) -> Result<Self, ApiError> {
        let user = match services.users.state_after(first).await {
            Err(CommandError::Rejected(Rejection::Erased)) => return Err(ApiError::ResourceErased),
            user => user?,
        };
        if user.account.email.known().is_none() {
            return Err(ApiError::ResourceErased);
        }
        Ok(user)
    }

    fn position(&self) -> Option<Position> {
        self.position
    }

    async fn wait_until_visible(services: &Services, position: Position) {
        services.user_rows.wait_until_visible(position).await;
    }
}

impl ReplayableWrite for WebhookState {
    async fn replay(services: &Services, first: &RecordedResult) -> Result<Self, ApiError> {
        let state = services.webhooks.state_after(first).await?;
        let is_erased = state.webhook.as_ref().is_some_and(|webhook| webhook.url.known().is_none());
        if is_erased { Err(ApiError::ResourceErased) } else { Ok(state) }
    }

    fn position(&self) -> Option<Position> {
        self.position
    }

    async fn wait_until_visible(services: &Services, position: Position) {
        // It stands all the same.
        drop(services.webhook_rows.wait_for_position(position).await);
    }
}

/// Does a write, unless it is a repetition; then gives what the first came to. Waits until whoever asked can read it
/// back.
pub(super) async fn execute_once<T: ReplayableWrite>(
    state: &HttpState,
    caller: &str,
    attempt: &WriteAttempt,
    write: impl AsyncFnOnce(Option<IdempotencyKey>) -> Result<T, ApiError>,
) -> Result<T, ApiError> {
    let (services, limit) = (state.app.services()?, attempt.limit);
    let outcome = match attempt.idempotency_key(caller, &services.store) {
        None => limit.write(write(None)).await?,
        Some(key) => {
            let _guard = state.in_flight.begin(&key).ok_or(ApiError::RequestInProgress)?;
            if let Some(first) = limit.read(RECORDED_RESULT, recorded_result(services, &key)).await? {
                first
            } else {
                let done = limit.write(write(Some(key))).await;
                recheck(services, &key, done, limit).await?
            }
        }
    };
    if let Some(position) = outcome.position() {
        // It stands, whether its author can read it back by then or not.
        limit.within(T::wait_until_visible(services, position)).await;
    }
    Ok(outcome)
}

/// A write that was refused, or changed nothing, may find things so because the first, sent to another node, has just
/// been done; one of unknown outcome may have been done itself.
async fn recheck<T: ReplayableWrite>(
    services: &Services,
    key: &IdempotencyKey,
    done: Result<T, ApiError>,
    limit: TimeLimit,
) -> Result<T, ApiError> {
    if done.as_ref().is_ok_and(|outcome| outcome.position().is_some()) {
        return done;
    }
    match limit.read(RECORDED_RESULT, recorded_result(services, key)).await {
        Ok(Some(first)) => Ok(first),
        Ok(None) => done,
        Err(error) => done.and(Err(error)),
    }
}

async fn recorded_result<T: ReplayableWrite>(
    services: &Services,
    key: &IdempotencyKey,
) -> Result<Option<T>, ApiError> {
    let Some(first) = services.store.recorded_result(key).await? else { return Ok(None) };
    if !first.is_for(key) {
        return Err(ApiError::IdempotencyKeyReused);
    }
    T::replay(services, &first).await.map(Some)
}

/// The keys of writes that this process has begun and not answered.
#[derive(Clone, Default)]
pub(crate) struct InFlightKeys(Arc<Mutex<HashSet<ClaimHash>>>);

/// A write that is under way.
struct InFlightGuard {
    in_flight: InFlightKeys,
    key: ClaimHash,
}

impl InFlightKeys {
    /// `None` if a write under that key is under way.
    fn begin(&self, key: &IdempotencyKey) -> Option<InFlightGuard> {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.hash());
        fresh.then(|| InFlightGuard { in_flight: self.clone(), key: key.hash() })
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        self.in_flight.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
