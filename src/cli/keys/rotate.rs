//! `aegis keys rotate`: from the master keys of before to the current one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use store::rotation::RotationSummary;
use store::{Env, Rotation};

use super::removal_advice;
use super::status::problems;
use crate::app::Database;
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::progress::{ProgressReporter, per_second};
use crate::config::{CommandSettings, KeyFiles, MasterKeySetting};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Delete the files of master keys of before, once nothing in the database needs them; backups made before do, and
    /// cannot be read without them
    #[arg(long)]
    delete_old: bool,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
}

/// What was done.
#[derive(Debug, Serialize)]
struct RotationOutput {
    /// The master key that wraps now.
    id: String,
    /// How many keys of streams were wrapped anew.
    streams: u64,
    service_keys: Vec<&'static str>,
    /// Whether it wraps all there is.
    complete: bool,
    /// Files that were deleted.
    deleted: Vec<String>,
    /// What to do next.
    next: Vec<String>,
}

pub(super) async fn run(
    arguments: &Arguments,
    settings: CommandSettings,
    database: &Database,
    out: &mut Output,
) -> Result<(), CliError> {
    let env = Env::system();
    let mut masters = settings.master_key;
    if let Some(renewed) = keys_to_rotate_to(&masters, database, &env).await? {
        masters = renewed;
    } else if arguments.delete_old {
        let why = "--delete-old is for keys in files of the data folder; settings name the master key here";
        return Err(CliError::because(why));
    }
    let rotation = rotation(&masters, database, &env);
    let begun_done = rotation.is_done().await?;
    let mut progress = ProgressReporter::new("streams");
    let rotated = rotation.run(&mut |done, all| progress.update(done, all)).await;
    let took = progress.finish();
    let rotated = rotated?;
    let deleted = if arguments.delete_old { delete_old(&masters, &rotated)? } else { Vec::new() };
    let report = report(&rotated, &masters, deleted, begun_done);
    if arguments.json {
        out.json(&report)?;
    } else {
        print(&report, took, out)?;
    }
    out.flush()?;
    fault(&rotated, &masters).map_or(Ok(()), |what| Err(CliError::VerificationFailed(what)))
}

fn rotation(masters: &MasterKeySetting, database: &Database, env: &Env) -> Rotation {
    Rotation::new(Arc::clone(&database.keys), Arc::new(masters.keys()), env.clone())
}

/// The keys of the data folder: a new one among them, unless a rotation to the present one is not done yet. `None` if
/// settings name the keys.
async fn keys_to_rotate_to(
    masters: &MasterKeySetting,
    database: &Database,
    env: &Env,
) -> Result<Option<MasterKeySetting>, CliError> {
    let Some(files) = KeyFiles::lock(masters).map_err(CliError::because)? else { return Ok(None) };
    // Only now: whoever had them until then may have made a new one.
    let present = files.load().map_err(CliError::because)?;
    if !rotation(&present, database, env).is_done().await? {
        return Ok(Some(present));
    }
    files.rotate(env).map_err(CliError::because)?;
    files.load().map(Some).map_err(CliError::because)
}

/// Deletes the files of keys that nothing in the database needs; gives their paths.
fn delete_old(masters: &MasterKeySetting, rotated: &RotationSummary) -> Result<Vec<String>, CliError> {
    let mut deleted = Vec::new();
    let Some(files) = KeyFiles::lock(masters).map_err(CliError::because)? else { return Ok(deleted) };
    if !rotated.left.is_wrapped_only_by(rotated.master) {
        return Ok(deleted);
    }
    let shown = |file: &Path| file.display().to_string();
    for id in masters.keys().ids().filter(|id| *id != rotated.master) {
        deleted.extend(files.delete(id).map_err(CliError::because)?.as_deref().map(shown));
    }
    Ok(deleted)
}

fn report(
    rotated: &RotationSummary,
    masters: &MasterKeySetting,
    deleted: Vec<String>,
    begun_done: bool,
) -> RotationOutput {
    let keys = masters.keys();
    let mut previous = keys.ids().filter(|id| *id != rotated.master).peekable();
    let next = if begun_done && previous.peek().is_none() {
        vec![
            "there was nothing to rotate. To replace the master key, make a new one (`openssl rand -base64 32`), give it \
             to every service in AEGIS_MASTER_KEY and the present one in AEGIS_MASTER_KEY_PREVIOUS, restart them, and \
             run this again"
                .to_owned(),
        ]
    } else if deleted.is_empty() {
        let free = previous.filter(|id| !rotated.left.wraps.contains_key(id));
        free.filter_map(|id| removal_advice(id, masters)).collect()
    } else {
        Vec::new()
    };
    RotationOutput {
        id: rotated.master.to_string(),
        streams: rotated.streams,
        service_keys: rotated.service_keys.clone(),
        complete: rotated.left.is_wrapped_only_by(rotated.master),
        deleted,
        next,
    }
}

fn print(report: &RotationOutput, took: Duration, out: &mut Output) -> Result<(), CliError> {
    let RotationOutput { id, streams, service_keys, complete, .. } = report;
    let all = if *complete { "everything" } else { "what could be opened" };
    let rate = per_second(*streams, took);
    out.line(&format!(
        "master key {id} wraps {all} now: {streams} keys of streams and {} service keys were wrapped anew in {:.1} s \
         ({rate} per second)",
        service_keys.len(),
        took.as_secs_f64(),
    ))?;
    report.deleted.iter().try_for_each(|file| out.line(&format!("deleted {file}")))?;
    report.next.iter().try_for_each(|text| out.line(text))
}

/// What could not be wrapped anew.
fn fault(rotated: &RotationSummary, masters: &MasterKeySetting) -> Option<String> {
    let damaged = rotated.damaged.as_ref().map(|stream| {
        format!(
            "the key of stream {stream} does not open, though its master key was given: it was left as it is, and master \
             keys of before stay needed. `aegis events verify` says what else is wrong"
        )
    });
    damaged.or_else(|| problems(&rotated.left, masters))
}
