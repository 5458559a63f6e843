//! `aegis-bench` measures the event store on this machine. Each value is compared with its own baseline, the
//! same work done by a bare driver in the same run, because absolute figures of different machines are not
//! comparable.
//!
//! A benchmark is a [`benchmark::Benchmark`] in a file of its own below `benchmarks`, which lists it.
//! `rounds` has subject and baseline alternate, and `result` takes the median round. `scratch` creates
//! databases and removes them, with `mongod`; `registrations` is the subject's
//! workload; `raw` does the same work without Aegis.
//!
//! What does not belong here: tests. A missed target is reported, and is no failure.

mod benchmark;
mod benchmarks;
mod error;
mod event_stream;
mod load_generator;
mod load_thread;
mod mongod;
mod open_loop;
mod raw;
mod registrations;
mod report;
mod result;
mod rounds;
mod scale;
mod scratch;
mod serve_process;
mod service;
mod target;
#[cfg(test)]
mod tests;
mod time_slice;
mod users;
mod webhook_receiver;

use std::error::Error;
use std::io::{self, ErrorKind, Write};
use std::path::PathBuf;
use std::pin::pin;
use std::process::ExitCode;
use std::time::Duration;

use aegis::cli::process::{Signals, start_logging};
use aegis::config::{BenchSettings, ConfigSources, load};
use clap::builder::PossibleValuesParser;
use clap::{Parser, Subcommand};
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::benchmark::Benchmark;
use crate::benchmarks::BENCHMARKS;
use crate::error::BenchError;
use crate::report::Report;
use crate::result::BenchmarkResult;
use crate::rounds::Rounds;
use crate::scale::ScaleArguments;
use crate::scratch::{MongoServer, ScratchDatabases, ScratchFolder, StoreKind};

/// The longest that one benchmark may take.
const MAX_DURATION: Duration = Duration::from_hours(1);

/// Measures the Aegis event store on this machine, in scratch databases, against bare database drivers.
#[derive(Debug, Parser)]
#[command(name = "aegis-bench", version, max_term_width = 110)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Print one JSON object: `{"figures": […]}`
    #[arg(long)]
    json: bool,
    /// Measure this store only
    #[arg(long, global = true)]
    store: Option<StoreKind>,
    /// Measure this benchmark only; may be given more than once
    #[arg(long, value_name = "BENCHMARK")]
    #[arg(value_parser = PossibleValuesParser::new(BENCHMARKS.map(|benchmark| benchmark.name)))]
    only: Vec<String>,
    /// How long each subject works, all rounds together
    #[arg(long, default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Measure everything within two minutes; the figures vary more
    #[arg(long, conflicts_with = "seconds")]
    quick: bool,
    /// Where the scratch folder is created, on the disk to be measured; by default where temporary files go
    #[arg(long, global = true)]
    folder: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
enum Command {
    Scale(ScaleArguments),
}

/// A store, and its scratch databases or why there are none.
type StoreSite = (StoreKind, Result<ScratchDatabases, String>);

fn main() -> ExitCode {
    match measure_in_runtime(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if is_closed_output(&*error) => ExitCode::SUCCESS,
        Err(error) => {
            print_line(&format!("aegis-bench: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn measure_in_runtime(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let runtime = Runtime::new()?;
    let done = runtime.block_on(run(arguments));
    // Shutting the runtime down would cancel the background tasks of the MongoDB driver one by one, and those
    // that are left would panic. The end of the process ends all of them at once.
    std::mem::forget(runtime);
    done
}

async fn run(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    let settings = load::for_bench(&ConfigSources::from_process()?)?;
    start_logging(&settings.log);
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let rounds = if arguments.quick {
        Rounds::quick(stop.clone())
    } else {
        Rounds::new(arguments.seconds, stop.clone())
    };
    let conditions = report::conditions(&rounds);
    let folder = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
    let mut scratch = ScratchFolder::create_in(&folder)?;
    let sites = tokio::select! {
        sites = find_sites(arguments.store, &settings, &mut scratch) => sites,
        _ = signals.next() => return Err(BenchError::Interrupted.into()),
    };
    let mut measuring = pin!(async {
        if let Some(Command::Scale(scale)) = &arguments.command {
            return scale::run(scale, &sites, &stop, &print_line).await;
        }
        let report = Report { figures: measure_all(&arguments.only, &sites, &rounds).await? };
        if arguments.json {
            report.json().map_err(BenchError::invalid)
        } else {
            Ok(report.table(&conditions))
        }
    });
    let measured = tokio::select! {
        measured = &mut measuring => measured,
        _ = signals.next() => {
            // The round in progress is ended in an orderly way; a second signal does not wait for that.
            stop.cancel();
            tokio::select! {
                measured = measuring => measured,
                _ = signals.next() => Err(BenchError::Interrupted),
            }
        }
    };
    drop_scratch_databases(&sites).await;
    drop(scratch);
    Ok(io::stdout().lock().write_all(measured?.as_bytes())?)
}

/// Where each store can be measured.
async fn find_sites(
    only: Option<StoreKind>,
    settings: &BenchSettings,
    scratch: &mut ScratchFolder,
) -> Vec<StoreSite> {
    let mut found = Vec::new();
    for store in StoreKind::ALL {
        if only.is_none_or(|only| only == *store) {
            let databases = match store {
                StoreKind::Sqlite => Ok(scratch.sqlite()),
                StoreKind::Mongodb => scratch.mongodb(&server(settings)).await,
            };
            found.push((*store, databases.map_err(|error| with_setup_hint(&error))));
        }
    }
    found
}

/// The configured MongoDB, or else one that is started.
fn server(settings: &BenchSettings) -> MongoServer {
    match &settings.mongodb_url {
        Some(url) => MongoServer::Existing(url.clone()),
        None => MongoServer::Temporary(settings.mongod.clone().unwrap_or_else(|| PathBuf::from("mongod"))),
    }
}

fn with_setup_hint(error: &BenchError) -> String {
    format!(
        "{error}. Set MONGODB_URL to a replica set (scratch databases are created in it and removed), or \
         AEGIS_MONGOD to the path of a `mongod`, which is then started for the benchmark"
    )
}

async fn measure_all(
    only: &[String],
    sites: &[StoreSite],
    rounds: &Rounds,
) -> Result<Vec<BenchmarkResult>, BenchError> {
    let selected =
        |benchmark: &&&Benchmark| only.is_empty() || only.iter().any(|name| name == benchmark.name);
    let mut results = Vec::new();
    for (store, site) in sites {
        for benchmark in BENCHMARKS.iter().filter(selected).filter(|row| row.stores.contains(store)) {
            results.push(match site {
                Ok(scratch) => measure(benchmark, scratch, rounds).await?,
                Err(reason) => BenchmarkResult::not_measured(benchmark, *store, reason),
            });
        }
    }
    Ok(results)
}

/// A result, or why there is none; only an interruption ends the whole run.
async fn measure(
    benchmark: &Benchmark,
    scratch: &ScratchDatabases,
    rounds: &Rounds,
) -> Result<BenchmarkResult, BenchError> {
    let (name, store, seconds) = (benchmark.name, scratch.store(), rounds.round_duration().as_secs_f64());
    print_line(&format!(
        "measuring {name} on {}: {} rounds of {seconds:.1} s and the baseline",
        store.as_str(),
        rounds.count()
    ));
    match rounds.measure(benchmark, scratch).await {
        Err(BenchError::Interrupted) => Err(BenchError::Interrupted),
        Err(error) => Ok(BenchmarkResult::not_measured(benchmark, store, &error)),
        Ok(result) => Ok(result),
    }
}

async fn drop_scratch_databases(sites: &[StoreSite]) {
    for scratch in sites.iter().filter_map(|(_, site)| site.as_ref().ok()) {
        if let Err(error) = scratch.clear().await {
            print_line(&format!(
                "aegis-bench: warning: scratch databases `aegis_bench_…` could not be removed: {error}"
            ));
        }
    }
}

/// Prints to stderr: stdout is for the results.
fn print_line(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// Whether the reader of the output has closed it, as `| head` does: that is no failure.
fn is_closed_output(error: &(dyn Error + 'static)) -> bool {
    error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let fits = |length: &Duration| !length.is_zero() && *length <= MAX_DURATION;
    parsed.filter(fits).ok_or_else(|| "expected a number of seconds above 0 and up to 3600".to_owned())
}
