//! Compresses the files of the web console, which `src/http/console/files.rs` embeds.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

/// The kinds of files that browsers load; others are for those who work on the console.
const SERVED: [&str; 4] = ["css", "html", "js", "svg"];
const FOLDERS: [&str; 5] = ["app", "components", "pages", "style", "vendor"];

#[expect(clippy::disallowed_methods, reason = "the variable is cargo's, not a setting")]
fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let console = Path::new(env!("CARGO_MANIFEST_DIR")).join("console");
    let mut files = files(&console, false)?;
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed=console/{folder}");
        files.extend(self::files(&console.join(folder), true)?);
    }
    files.sort();
    let mut table = String::from("&[\n");
    for (index, file) in files.iter().enumerate() {
        println!("cargo::rerun-if-changed={}", file.display());
        let compressed = format!("console-{index}.gz");
        fs::write(out.join(&compressed), gzip(&fs::read(file)?)?)?;
        let name = file.strip_prefix(&console)?.to_str().ok_or("a file name is not UTF-8")?;
        writeln!(table, "    ({name:?}, include_bytes!(concat!(env!(\"OUT_DIR\"), \"/{compressed}\"))),")?;
    }
    table.push_str("]\n");
    fs::write(out.join("console_files.rs"), table)?;
    Ok(())
}

fn files(folder: &Path, with_folders: bool) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() && with_folders {
            found.extend(files(&path, true)?);
        } else if path.extension().and_then(|kind| kind.to_str()).is_some_and(|kind| SERVED.contains(&kind)) {
            found.push(path);
        }
    }
    Ok(found)
}

/// The same bytes for the same file: no name and no time in the header.
fn gzip(bytes: &[u8]) -> Result<Vec<u8>, std::io::Error> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}
