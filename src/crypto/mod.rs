//! Password hashing on its own thread pool, and access tokens. Envelope encryption belongs to the store.

mod argon;
mod pool;
mod tokens;

pub use argon::{HashParameters, PasswordHashError};
pub use pool::{HashingError, HashingPool, Password};
pub use tokens::{InvalidToken, IssuedToken, Tokens, VerifiedToken};
