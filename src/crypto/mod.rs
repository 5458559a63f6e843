//! Password hashing on its own thread pool, and access tokens. Envelope encryption belongs to the store.

mod argon;
mod costs;
mod job_queue;
mod password;
mod pool;
mod tokens;

pub use argon::{HashKind, HashParameters, PasswordHashError};
pub use costs::{CostsInUse, HashSurvey};
pub use password::Password;
pub use pool::{HashSource, HashingError, HashingPool, Verification};
pub use tokens::{InvalidToken, IssuedToken, Tokens, VerifiedToken};
