//! Writes that may have been sent before: the first result is rendered anew, whatever has changed since.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use domain::Refusal;
use store::vault::ClaimHash;
use store::{FirstResult, IdempotencyKey, Position};

use super::extract::Sent;
use super::problem::Problem;
use super::state::HttpState;
use super::time_limit::TimeLimit;
use crate::app::Node;
use crate::command::{CommandError, UserState, WebhookState};

/// What is read under a key, for messages.
const FIRST: &str = "whether it was done before";

/// What a write leaves, and what its repetition is answered with.
pub(super) trait Outcome: Sized + Send {
    /// What an earlier write has left, as it was then.
    async fn after(node: &Node, first: &FirstResult) -> Result<Self, Problem>;

    /// The position of the last event that was appended; `None` if nothing was.
    fn position(&self) -> Option<Position>;

    /// Waits, within bounds, until whoever asked can read it back.
    async fn settle(node: &Node, position: Position);
}

impl Outcome for UserState {
    async fn after(node: &Node, first: &FirstResult) -> Result<Self, Problem> {
        let user = match node.users.state_after(first).await {
            Err(CommandError::Refused(Refusal::Erased)) => return Err(Problem::Erased),
            user => user?,
        };
        if user.account.email.known().is_none() {
            return Err(Problem::Erased);
        }
        Ok(user)
    }

    fn position(&self) -> Option<Position> {
        self.position
    }

    async fn settle(node: &Node, position: Position) {
        node.user_rows.settle(position).await;
    }
}

impl Outcome for WebhookState {
    async fn after(node: &Node, first: &FirstResult) -> Result<Self, Problem> {
        let state = node.webhooks.state_after(first).await?;
        let is_erased = state.webhook.as_ref().is_some_and(|webhook| webhook.url.known().is_none());
        if is_erased { Err(Problem::Erased) } else { Ok(state) }
    }

    fn position(&self) -> Option<Position> {
        self.position
    }

    async fn settle(node: &Node, position: Position) {
        // It stands all the same.
        drop(node.webhook_rows.reach(position).await);
    }
}

/// Does a write, unless it is a repetition; then gives what the first came to. Waits until whoever asked can read it
/// back.
pub(super) async fn once<T: Outcome>(
    state: &HttpState,
    caller: &str,
    sent: &Sent,
    write: impl AsyncFnOnce(Option<IdempotencyKey>) -> Result<T, Problem>,
) -> Result<T, Problem> {
    let (node, limit) = (state.app.node()?, sent.limit);
    let outcome = match sent.key(caller, &node.store) {
        None => limit.write(write(None)).await?,
        Some(key) => {
            let _running = state.running.begin(&key).ok_or(Problem::StillRunning)?;
            if let Some(first) = limit.read(FIRST, first_result(node, &key)).await? {
                first
            } else {
                let done = limit.write(write(Some(key))).await;
                settled(node, &key, done, limit).await?
            }
        }
    };
    if let Some(position) = outcome.position() {
        // It stands, whether its author can read it back by then or not.
        limit.within(T::settle(node, position)).await;
    }
    Ok(outcome)
}

/// A write that was refused, or changed nothing, may find things so because the first, sent to another node, has just
/// been done; one of unknown outcome may have been done itself.
async fn settled<T: Outcome>(
    node: &Node,
    key: &IdempotencyKey,
    done: Result<T, Problem>,
    limit: TimeLimit,
) -> Result<T, Problem> {
    if done.as_ref().is_ok_and(|outcome| outcome.position().is_some()) {
        return done;
    }
    match limit.read(FIRST, first_result(node, key)).await {
        Ok(Some(first)) => Ok(first),
        Ok(None) => done,
        Err(problem) => done.and(Err(problem)),
    }
}

async fn first_result<T: Outcome>(node: &Node, key: &IdempotencyKey) -> Result<Option<T>, Problem> {
    let Some(first) = node.store.first_result(key).await? else { return Ok(None) };
    if !first.is_of(key) {
        return Err(Problem::KeyReused);
    }
    T::after(node, &first).await.map(Some)
}

/// The keys of writes that this process has begun and not answered.
#[derive(Clone, Default)]
pub(crate) struct Running(Arc<Mutex<HashSet<ClaimHash>>>);

/// A write that is under way.
struct Begun {
    running: Running,
    key: ClaimHash,
}

impl Running {
    /// `None` if a write under that key is under way.
    fn begin(&self, key: &IdempotencyKey) -> Option<Begun> {
        let fresh = self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(key.hash());
        fresh.then(|| Begun { running: self.clone(), key: key.hash() })
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.running.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.key);
    }
}
