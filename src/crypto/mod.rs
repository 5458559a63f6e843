//! Secrets of users at work: password hashing on a pool of its own, and access tokens. The keys of the store are the
//! store's own business.

mod argon;
mod pool;
mod tokens;

pub use argon::{HashParameters, PasswordHashError};
pub use pool::{HashingError, HashingPool, Password};
pub use tokens::{InvalidToken, IssuedToken, Tokens, VerifiedToken};
