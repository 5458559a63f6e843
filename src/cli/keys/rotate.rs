//! `aegis keys rotate`: re-wraps all stored keys with the current master key.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use store::rotation::RotationSummary;
use store::{Env, Rotation};

use super::status::{check, problems, removal_advice};
use crate::app::Database;
use crate::cli::error::{CliError, CliResult, KeyProblem};
use crate::cli::output::Output;
use crate::cli::progress::{ProgressReporter, per_second};
use crate::config::{CommandSettings, KeyFiles, MasterKeySetting};

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "each is a switch of the command line")]
pub(crate) struct Arguments {
    /// Rotate the key that signs access tokens, not the master key
    #[arg(long, conflicts_with = "delete_old")]
    pub(super) signing: bool,
    /// Let the new signing key sign at once; services that cache the published keys refuse its tokens until they
    /// fetch them again
    #[arg(long, requires = "signing")]
    pub(super) now: bool,
    /// Delete the files of previous master keys that wrap nothing in the database any more; older backups
    /// cannot be read without them
    #[arg(long)]
    delete_old: bool,
    /// Print one JSON object at the end
    #[arg(long)]
    pub(super) json: bool,
}

#[derive(Debug, Serialize)]
struct RotationOutput {
    /// The current master key.
    id: String,
    /// How many stream keys were re-wrapped.
    streams: u64,
    service_keys: Vec<&'static str>,
    /// Whether it wraps all stored keys.
    complete: bool,
    /// Deleted key files.
    deleted: Vec<String>,
    /// What to do next.
    next: Vec<String>,
}

pub(super) async fn run(
    arguments: &Arguments,
    settings: CommandSettings,
    database: &Database,
    out: &mut Output,
) -> CliResult {
    let env = Env::system();
    let masters = match rotate_key_files(&settings.master_key, database, &env).await? {
        Some(rotated) => rotated,
        None if arguments.delete_old => return Err(CliError::NoKeyFiles),
        None => settings.master_key,
    };
    let rotation = rotation(&masters, database, &env);
    let was_complete = rotation.is_done().await?;
    let mut progress = ProgressReporter::new("streams");
    let summary = rotation.run(&mut |done, total| progress.update(done, total)).await;
    let elapsed = progress.finish();
    let summary = summary?;
    let deleted = if arguments.delete_old { delete_old(&masters, &summary)? } else { Vec::new() };
    let output = output(&summary, &masters, deleted, was_complete);
    if arguments.json {
        out.json(&output)?;
    } else {
        print(&output, elapsed, out)?;
    }
    out.flush()?;
    check(match &summary.damaged {
        Some(stream) => vec![KeyProblem::NotRewrapped(stream.to_string())],
        None => problems(&summary.left, &masters),
    })
}

fn rotation(masters: &MasterKeySetting, database: &Database, env: &Env) -> Rotation {
    Rotation::new(Arc::clone(&database.keys), Arc::new(masters.keys()), env.clone())
}

/// The keys of the data directory, after a new one was generated unless an earlier rotation is incomplete.
/// `None` if the current key comes from settings.
async fn rotate_key_files(
    masters: &MasterKeySetting,
    database: &Database,
    env: &Env,
) -> Result<Option<MasterKeySetting>, CliError> {
    let Some(files) = KeyFiles::lock(masters)? else { return Ok(None) };
    // Loaded again under the lock: another process may have rotated the key before.
    let current = files.load()?;
    if !rotation(&current, database, env).is_done().await? {
        return Ok(Some(current));
    }
    files.rotate(env)?;
    Ok(Some(files.load()?))
}

/// Deletes the files of previous keys once they wrap nothing; returns their paths.
fn delete_old(masters: &MasterKeySetting, summary: &RotationSummary) -> Result<Vec<String>, CliError> {
    let mut deleted = Vec::new();
    let Some(files) = KeyFiles::lock(masters)? else { return Ok(deleted) };
    if !summary.left.is_wrapped_only_by(summary.master) {
        return Ok(deleted);
    }
    let display = |file: &Path| file.display().to_string();
    for id in masters.keys().ids().filter(|id| *id != summary.master) {
        deleted.extend(files.delete(id)?.as_deref().map(display));
    }
    Ok(deleted)
}

fn output(
    summary: &RotationSummary,
    masters: &MasterKeySetting,
    deleted: Vec<String>,
    was_complete: bool,
) -> RotationOutput {
    let keys = masters.keys();
    let mut previous = keys.ids().filter(|id| *id != summary.master).peekable();
    let next = if was_complete && previous.peek().is_none() {
        vec![
            "there was nothing to rotate. To replace the master key, generate a new one (`openssl rand \
             -base64 32`), set it as AEGIS_MASTER_KEY and the current one as AEGIS_MASTER_KEY_PREVIOUS in \
             every service, restart them, and run this command again"
                .to_owned(),
        ]
    } else if deleted.is_empty() {
        let unused = previous.filter(|id| !summary.left.wraps.contains_key(id));
        unused.filter_map(|id| removal_advice(id, masters)).collect()
    } else {
        Vec::new()
    };
    RotationOutput {
        id: summary.master.to_string(),
        streams: summary.streams,
        service_keys: summary.service_keys.clone(),
        complete: summary.left.is_wrapped_only_by(summary.master),
        deleted,
        next,
    }
}

fn print(output: &RotationOutput, elapsed: Duration, out: &mut Output) -> CliResult {
    let RotationOutput { id, streams, service_keys, complete, .. } = output;
    let scope = if *complete { "all stored keys" } else { "all keys that could be unwrapped" };
    out.line(&format!(
        "master key {id} now wraps {scope}: {streams} stream keys and {} service keys were re-wrapped in \
         {:.1} s ({} per second)",
        service_keys.len(),
        elapsed.as_secs_f64(),
        per_second(*streams, elapsed),
    ))?;
    output.deleted.iter().try_for_each(|file| out.line(&format!("deleted {file}")))?;
    output.next.iter().try_for_each(|step| out.line(step))
}
