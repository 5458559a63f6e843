//! Which logins become events. Successes are recorded before they are answered; failures in the background, by one
//! task of bounded speed, coalesced into `spells`. Verifying passwords belongs to `http`, the limits of failures
//! to `limits`.

mod recorder;
mod spells;

pub(crate) use recorder::LoginRecorder;
pub(crate) use spells::FailedLogin;
