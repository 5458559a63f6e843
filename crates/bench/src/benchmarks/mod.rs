//! The benchmarks, one file for each subject.

mod append;
mod commit_to_visible;
mod export;
mod footprint;
mod hashed_requests;
mod hashing;
mod idle_commands;
mod import;
mod login_event;
mod proof;
mod rebuild;
mod row_authentication;
mod session_renewal;
mod sign_up_cost;
mod sse_subscribers;
mod users_me;
mod users_me_during_rebuild;
mod verify;
mod webhooks;

#[cfg(test)]
pub(crate) use self::append::APPEND_GROUPED;
pub(crate) use self::login_event::LoginsWithoutHash;
pub(crate) use self::rebuild::rebuild;
pub(crate) use self::users_me::users_me;
use crate::benchmark::Benchmark;

/// All benchmarks, in the order in which they are measured.
pub(crate) static BENCHMARKS: [&Benchmark; 25] = [
    &append::APPEND_ALONE,
    &append::APPEND_GROUPED,
    &hashing::HASHING,
    &import::IMPORT,
    &rebuild::REBUILD,
    &row_authentication::AUTHENTICATED_READ,
    &row_authentication::AUTHENTICATED_REBUILD,
    &commit_to_visible::COMMIT_TO_VISIBLE,
    &sign_up_cost::SIGN_UP_COMMANDS,
    &sign_up_cost::SIGN_UP_TRANSACTIONS,
    &users_me::USERS_ME,
    &users_me_during_rebuild::USERS_ME_DURING_REBUILD,
    &hashed_requests::LOGINS,
    &hashed_requests::SIGN_UPS,
    &idle_commands::IDLE_COMMANDS,
    &sse_subscribers::SSE_SUBSCRIBERS,
    &webhooks::WEBHOOK_DELAY,
    &webhooks::WEBHOOK_PACE,
    &login_event::LOGIN_EVENT,
    &session_renewal::SESSION_RENEWAL,
    &verify::VERIFY,
    &proof::PROOF,
    &export::EXPORT,
    &footprint::BINARY_SIZE,
    &footprint::IDLE_MEMORY,
];
