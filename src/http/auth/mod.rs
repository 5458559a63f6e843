//! `/auth`: coming in.

mod credentials;
pub(crate) mod login;
pub(crate) mod signup;
