//! Writes mails as files, where the embedded database has no relay: `outbox/` in the data directory. A mail that is
//! written again replaces its file.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use tokio::task::spawn_blocking;

use super::transport::{Handover, MailTransport, Outgoing, SendError};

pub(super) struct Outbox {
    folder: PathBuf,
}

impl Outbox {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self { folder }
    }
}

#[async_trait]
impl MailTransport for Outbox {
    async fn send(&self, mail: &Outgoing) -> Result<Handover, SendError> {
        let (folder, name, content) =
            (self.folder.clone(), format!("{}.eml", mail.name), mail.message.formatted());
        let file = folder.join(&name).display().to_string();
        let written = spawn_blocking(move || write(&folder, &name, &content)).await;
        match written.unwrap_or_else(|stopped| Err(io::Error::other(stopped))) {
            Ok(()) => Ok(Handover::Sent),
            Err(error) => Err(SendError::Outbox { file, reason: error.to_string() }),
        }
    }

    fn kind(&self) -> &'static str {
        "outbox"
    }
}

/// Writes a file that only its owner can read, atomically and durably.
fn write(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let (file, temporary) = (folder.join(name), folder.join(format!(".{name}.new")));
    // A crash may have left one behind.
    match fs::remove_file(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut out = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    out.write_all(content)?;
    out.sync_all()?;
    fs::rename(&temporary, &file)?;
    File::open(folder)?.sync_all()
}
