//! The read models of Aegis, and the runner that keeps them.
//!
//! A projection ([`Projection`]) is a name, a version, a key and a pure fold; [`projector`] owns all I/O: it reads the
//! log from the checkpoint, folds, and writes rows and checkpoint in one transaction. To add a read model, write one
//! file like [`users`] and add it to [`all`].

pub mod decode;
mod folding;
mod projection;
pub mod projector;
pub mod rebuild;
pub mod users;

#[cfg(test)]
mod tests;

pub use projection::{Poison, Projection};
pub use projector::{Halt, Health, Progress, Projector, ProjectorHandle};
pub use rebuild::{RebuildError, rebuild};
pub use users::{USERS, UserRow, Users};

/// Every projection there is.
#[must_use]
pub fn all() -> [&'static dyn Projection; 1] {
    [&Users]
}
