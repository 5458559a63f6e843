//! `aegis users import`: users of another system, from a MongoDB collection or a file. Refused records are printed to
//! stderr without their personal data, which only the file of `--report` has.

use std::fs::{File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use store::Position;
use tokio::time::{Instant, sleep};

use crate::app::LegacyUsers;
use crate::cli::error::{CliError, CliResult, warn};
use crate::cli::output::Output;
use crate::cli::progress::{ProgressReporter, per_second};
use crate::cli::session::Session;
use crate::config::Secret;
use crate::import::{
    CsvFile, ImportListener, ImportMode, ImportSummary, JsonLines, LegacyCollection, Notice, RecordOrigin,
    RecordSource, count_lines, import,
};

/// How often the position of the read models is read.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// How long read models may make no progress before their status is checked: longer than a leader election takes.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The report contains personal data.
const REPORT_MODE: u32 = 0o600;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("source").required(true).args(["file", "from_mongodb"])))]
pub(crate) struct Arguments {
    /// A file of JSON lines (.jsonl, .ndjson, .json) or a CSV file (.csv) with `email`, `username` and `password_hash`,
    /// and optionally `id`, `is_active`, `created_at` and `roles`
    file: Option<PathBuf>,
    /// Read the collection `users` of a MongoDB database, as the FastAPI service has written it
    #[arg(long, value_name = "URL", requires = "database")]
    from_mongodb: Option<String>,
    /// The name of that database
    #[arg(long, value_name = "NAME", requires = "from_mongodb")]
    database: Option<String>,
    /// Import nothing: report what would be refused or changed
    #[arg(long)]
    dry_run: bool,
    /// Write what was refused or changed to a new file, one JSON object per line; it contains e-mail addresses
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Exit with code 1 if a record was refused
    #[arg(long)]
    strict: bool,
    /// Import users whose password hash is missing or cannot be used; they have to set a password before they can log
    /// in
    #[arg(long)]
    without_password: bool,
}

pub(super) async fn run(arguments: Arguments, session: &Session, out: &mut Output) -> CliResult {
    let Arguments { file, from_mongodb, database, dry_run, report, strict, without_password } = arguments;
    let (mut source, total) = match (file, from_mongodb.zip(database)) {
        (_, Some((url, database))) => open_database(url, &database).await?,
        (Some(file), None) => open_file(&file)?,
        (None, None) => return Err(CliError::NoImportSource),
    };
    let report = report.map(|path| create_report(&path)).transpose()?;
    let mut listener = Listener { progress: ProgressReporter::new("users"), total, report };
    let mode = ImportMode { is_dry_run: dry_run, without_password };
    let runner = (!dry_run).then(|| session.run_projector());
    let begun = Instant::now();
    let (users, context) = (&session.services.users, &session.context);
    let result = import(&mut *source, mode, users, context, &session.env, &mut listener).await;
    let listener_result = listener.finish();
    let applied = match (&result, &runner) {
        (Ok(summary), Some(_)) if summary.imported > 0 => wait_for_read_models(session).await,
        _ => Ok(()),
    };
    let elapsed = begun.elapsed();
    if let Some(runner) = runner {
        runner.stop().await;
    }
    let summary = result?;
    listener_result?;
    out.line(&describe(&summary, dry_run, elapsed))?;
    out.flush()?;
    if let Err(error) = applied {
        warn(&format!("the users are imported, but the read models do not show all of them yet: {error}"));
    }
    if strict && summary.refused > 0 { Err(CliError::RecordsRefused(summary.refused)) } else { Ok(()) }
}

async fn open_database(url: String, database: &str) -> CliResult<(Box<dyn RecordSource>, u64)> {
    // Registers the password, so that no message shows it.
    let url = Secret::new(url);
    let users = LegacyUsers::open(url.expose(), database).await?;
    let users = users.ok_or_else(|| CliError::NoLegacyUsers(database.to_owned()))?;
    let count = users.count();
    Ok((Box::new(LegacyCollection::new(users)), count))
}

fn open_file(path: &Path) -> CliResult<(Box<dyn RecordSource>, u64)> {
    let failed = |error| CliError::File { path: path.to_owned(), error };
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let is_csv = extension.eq_ignore_ascii_case("csv");
    if !is_csv && !["jsonl", "ndjson", "json"].iter().any(|known| extension.eq_ignore_ascii_case(known)) {
        return Err(CliError::UnknownImportFormat(path.to_owned()));
    }
    let file = File::open(path).map_err(failed)?;
    // A pipe can be read only once.
    let is_regular = file.metadata().map_err(failed)?.is_file();
    let lines = if is_regular { count_lines(File::open(path).map_err(failed)?).map_err(failed)? } else { 0 };
    let reader = BufReader::with_capacity(1 << 20, file);
    Ok(if is_csv {
        (Box::new(CsvFile::new(reader)?), lines.saturating_sub(1))
    } else {
        (Box::new(JsonLines::new(reader)), lines)
    })
}

fn create_report(path: &Path) -> CliResult<BufWriter<File>> {
    // A file that exists may be the source, the report of an earlier run, a link, or readable by others.
    let created = OpenOptions::new().write(true).create_new(true).mode(REPORT_MODE).open(path);
    created.map(BufWriter::new).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CliError::ReportExists(path.to_owned()),
        _ => CliError::ReportFile { path: path.to_owned(), error },
    })
}

/// Prints notices and progress, and writes the report.
struct Listener {
    progress: ProgressReporter,
    total: u64,
    report: Option<BufWriter<File>>,
}

/// A line of the report.
#[derive(Serialize)]
struct ReportLine<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u64>,
    #[serde(rename = "_id", skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    email: Option<&'a str>,
    /// Whether the user is imported all the same.
    imported: bool,
    code: &'static str,
    reason: String,
}

impl ImportListener for Listener {
    fn notice(&mut self, notice: &Notice) -> io::Result<()> {
        let Notice { origin, email, reason } = notice;
        if let Some(report) = &mut self.report {
            let (line, id) = match origin {
                RecordOrigin::Line(line) => (Some(*line), None),
                RecordOrigin::Document { id, number: _ } => (None, Some(id.as_str())),
            };
            let (imported, code) = (!reason.is_refusal(), reason.code());
            let line =
                ReportLine { line, id, email: email.as_deref(), imported, code, reason: notice.detail() };
            serde_json::to_writer(&mut *report, &line)?;
            report.write_all(b"\n")?;
        }
        let refused = if reason.is_refusal() { "refused: " } else { "" };
        self.progress.message(&format!("{origin}: {refused}{reason}"));
        Ok(())
    }

    /// Also writes the report to the disk: what a repeated import finds is not reported again.
    fn progress(&mut self, summary: &ImportSummary) -> io::Result<()> {
        self.progress.update(summary.records(), self.total.max(summary.records()));
        if let Some(report) = self.report.as_mut().filter(|report| !report.buffer().is_empty()) {
            report.flush()?;
            report.get_ref().sync_data()?;
        }
        Ok(())
    }
}

impl Listener {
    fn finish(self) -> CliResult {
        self.progress.finish();
        if let Some(mut report) = self.report {
            report.flush()?;
            report.into_inner().map_err(|error| CliError::Io(error.into_error()))?.sync_all()?;
        }
        Ok(())
    }
}

/// Waits until the read models of this process, or of a running service, show what the log contains now.
async fn wait_for_read_models(session: &Session) -> CliResult {
    let store = &session.services.store;
    let head = store.head().await?.position;
    let mut progress = ProgressReporter::new("events in the read models");
    let (mut before, mut stalled_since) = (Position::START, Instant::now());
    let result = loop {
        let reached = slowest(session).await?;
        if reached >= head {
            break Ok(());
        }
        progress.update(reached.get(), head.get());
        if before != reached {
            (before, stalled_since) = (reached, Instant::now());
        }
        if stalled_since.elapsed() > STALL_TIMEOUT {
            break Err(CliError::ReadModelsBehind { reached, head });
        }
        sleep(POLL_INTERVAL).await;
    };
    progress.finish();
    result
}

/// The position that all live read models have reached.
async fn slowest(session: &Session) -> CliResult<Position> {
    let rows = &session.services.projection_context.rows;
    let mut slowest = Position::new(u64::MAX);
    for projection in projections::all() {
        let versions = rows.versions(projection.name()).await?;
        let table = projection.live_table(versions.as_ref());
        slowest = slowest.min(rows.checkpoint(&table).await?.position);
    }
    Ok(slowest)
}

fn describe(summary: &ImportSummary, is_dry_run: bool, elapsed: Duration) -> String {
    let ImportSummary { imported, renamed, without_password, already_present, refused } = summary;
    let details = format!(
        "{renamed} under another username, {without_password} without a password; {already_present} had been imported \
         already, {refused} refused"
    );
    if is_dry_run {
        return format!("dry run: {imported} users would be imported, {details}; nothing was written");
    }
    let (seconds, rate) = (elapsed.as_secs_f64(), per_second(*imported, elapsed));
    format!("{imported} users imported in {seconds:.1} s ({rate} per second), {details}")
}
