//! The benchmarks, one file for each subject.

mod append;
mod commit_to_visible;
mod export;
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
mod users_me;
mod verify;

#[cfg(test)]
pub(crate) use self::append::APPEND_GROUPED;
use crate::benchmark::Benchmark;

/// All benchmarks, in the order in which they are measured.
pub(crate) static BENCHMARKS: [&Benchmark; 19] = [
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
    &hashed_requests::LOGINS,
    &hashed_requests::SIGN_UPS,
    &idle_commands::IDLE_COMMANDS,
    &login_event::LOGIN_EVENT,
    &session_renewal::SESSION_RENEWAL,
    &verify::VERIFY,
    &proof::PROOF,
    &export::EXPORT,
];
