//! `/auth`: coming in.

pub(crate) mod credentials;
pub(crate) mod login;
pub(crate) mod signup;
