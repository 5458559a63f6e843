//! The real binary on the database of a test.

use std::ops::Deref;

use super::Store;

/// A database and the environment to run the binary in.
pub(crate) struct Deployment {
    installed: testkit::service::Deployment,
    store: Store,
}

impl Deployment {
    pub(crate) fn of(store: Store) -> Self {
        let executable = env!("CARGO_BIN_EXE_aegis");
        let installed = match store.mongo_address() {
            Some((url, name)) => testkit::service::Deployment::on_mongodb(executable, url, name),
            None => testkit::service::Deployment::embedded(executable, store.folder()),
        };
        Self { installed, store }
    }

    /// Adds a setting.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        Self { installed: self.installed.with(name, value), ..self }
    }

    /// Removes a setting.
    pub(crate) fn without(self, name: &str) -> Self {
        Self { installed: self.installed.without(name), ..self }
    }

    /// The database, for direct access.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }
}

impl Deref for Deployment {
    type Target = testkit::service::Deployment;

    fn deref(&self) -> &Self::Target {
        &self.installed
    }
}
