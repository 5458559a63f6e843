//! `aegis bench`: measures, and says what each figure means. A missed target is told and is no failure.

use std::io::{self, Write};
use std::num::NonZero;
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use clap::ValueEnum;
use clap::builder::PossibleValuesParser;
use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::error::{CliError, warn};
use super::logging;
use super::output::Output;
use super::signals::Signals;
use super::table::Table;
use crate::bench::result::BenchmarkResult;
use crate::bench::scratch::{MongoServer, ScratchDatabases, ScratchFolder, StoreKind};
use crate::bench::{BENCHMARKS, BenchError, Benchmark, ROUNDS, Rounds, measure};
use crate::config::{BenchSettings, ConfigSources, load};

/// The longest a figure may take.
const MAX_DURATION: Duration = Duration::from_hours(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print one JSON object: `{"figures": […]}`
    #[arg(long)]
    json: bool,
    /// Measure on this store alone
    #[arg(long)]
    store: Option<StoreKind>,
    /// Measure this figure alone; may be given more than once
    #[arg(long, value_name = "FIGURE", value_parser = PossibleValuesParser::new(BENCHMARKS.map(Benchmark::name)))]
    only: Vec<String>,
    /// For how long each subject works, all rounds together
    #[arg(long, default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Where the scratch folder is made, on the disk to be measured; if not given, where temporary files go
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[derive(Serialize)]
struct BenchReport {
    figures: Vec<BenchmarkResult>,
}

/// A store, and where to measure it or why that is not possible.
type StoreSite = (StoreKind, Result<ScratchDatabases, String>);

pub(super) async fn run(
    arguments: &Arguments,
    sources: &ConfigSources,
    out: &mut Output,
) -> Result<(), CliError> {
    let settings = load::for_bench(sources)?;
    logging::start(&settings.log);
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let rounds = Rounds::new(arguments.seconds, stop.clone());
    let conditions = conditions(&rounds);
    let folder = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
    let mut scratch = ScratchFolder::create_in(&folder).map_err(CliError::because)?;
    let sites = tokio::select! {
        sites = find_sites(arguments.store, &settings, &mut scratch) => sites,
        _ = signals.next() => return Err(CliError::because(BenchError::Interrupted)),
    };
    let mut measuring = pin!(measure_all(&arguments.only, &sites, &rounds));
    let measured = tokio::select! {
        measured = &mut measuring => measured,
        _ = signals.next() => {
            // What is under way is ended in order; who asks twice does not wait for that.
            stop.cancel();
            tokio::select! {
                measured = measuring => measured,
                _ = signals.next() => Err(BenchError::Interrupted),
            }
        }
    };
    drop_scratch_databases(&sites).await;
    drop(scratch);
    let report = BenchReport { figures: measured.map_err(CliError::because)? };
    if arguments.json { out.json(&report) } else { print_report(&report.figures, &conditions, out) }
}

/// Where each store can be measured.
async fn find_sites(
    only: Option<StoreKind>,
    settings: &BenchSettings,
    scratch: &mut ScratchFolder,
) -> Vec<StoreSite> {
    let mut found = Vec::new();
    for store in StoreKind::value_variants() {
        if only.is_none_or(|only| only == *store) {
            let scratch = match store {
                StoreKind::Sqlite => Ok(scratch.sqlite()),
                StoreKind::Mongodb => scratch.mongodb(&server(settings)).await,
            };
            found.push((*store, scratch.map_err(|error| with_setup_hint(&error))));
        }
    }
    found
}

/// The MongoDB that is configured, else one that is started.
fn server(settings: &BenchSettings) -> MongoServer {
    match &settings.mongodb_url {
        Some(url) => MongoServer::Existing(url.clone()),
        None => MongoServer::Temporary(settings.mongod.clone().unwrap_or_else(|| PathBuf::from("mongod"))),
    }
}

fn with_setup_hint(error: &BenchError) -> String {
    format!(
        "{error}. Set MONGODB_URL to a replica set (scratch databases are made in it and removed), or AEGIS_MONGOD to \
         the path of a `mongod`, which is then started for the purpose"
    )
}

async fn measure_all(
    only: &[String],
    sites: &[StoreSite],
    rounds: &Rounds,
) -> Result<Vec<BenchmarkResult>, BenchError> {
    let mut figures = Vec::new();
    for (store, scratch) in sites {
        for benchmark in BENCHMARKS
            .iter()
            .filter(|benchmark| only.is_empty() || only.iter().any(|name| name == benchmark.name()))
        {
            figures.push(match scratch {
                Ok(scratch) => measure_one(*benchmark, scratch, rounds).await?,
                Err(why) => BenchmarkResult::not_measured(*benchmark, *store, why),
            });
        }
    }
    Ok(figures)
}

/// A figure, or why there is none; only being called off ends it all.
async fn measure_one(
    benchmark: &dyn Benchmark,
    scratch: &ScratchDatabases,
    rounds: &Rounds,
) -> Result<BenchmarkResult, BenchError> {
    let (name, store, seconds) = (benchmark.name(), scratch.store(), rounds.round_duration().as_secs_f64());
    progress(&format!(
        "measuring {name} on {}: {ROUNDS} rounds of {seconds:.1} s and its limit",
        store.as_str()
    ));
    match measure(benchmark, scratch, rounds).await {
        Err(BenchError::Interrupted) => Err(BenchError::Interrupted),
        Err(error) => Ok(BenchmarkResult::not_measured(benchmark, store, &error)),
        Ok(figure) => Ok(figure),
    }
}

async fn drop_scratch_databases(sites: &[StoreSite]) {
    for scratch in sites.iter().filter_map(|(_, scratch)| scratch.as_ref().ok()) {
        if let Err(error) = scratch.clear().await {
            warn(&format!("scratch databases, named `aegis_bench_…`, are left behind: {error}"));
        }
    }
}

/// Says on stderr what is being done.
fn progress(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// A table, and below it what its rows mean.
fn print_report(figures: &[BenchmarkResult], conditions: &str, out: &mut Output) -> Result<(), CliError> {
    let mut table =
        Table::new(["FIGURE", "STORE", "VALUE", "LIMIT", "UNIT", "RATIO", "TARGET", "PASS", "SPREAD"]);
    for figure in figures {
        let pass = figure.pass.map_or("not measured", |pass| if pass { "yes" } else { "no" });
        let spread = figure.spread.map(|[least, most]| format!("{} to {}", number(least), number(most)));
        table.row([
            figure.name.to_owned(),
            figure.store.to_owned(),
            figure.value.map(number).unwrap_or_default(),
            figure.baseline.map(number).unwrap_or_default(),
            figure.unit.to_owned(),
            figure.ratio.map(number).unwrap_or_default(),
            figure.rule.clone(),
            pass.to_owned(),
            spread.unwrap_or_default(),
        ]);
    }
    table.print(out)?;
    out.line("")?;
    out.line(conditions)?;
    for benchmark in
        BENCHMARKS.iter().filter(|benchmark| figures.iter().any(|figure| figure.name == benchmark.name()))
    {
        out.line(&format!("{}: {}.", benchmark.name(), benchmark.meaning()))?;
    }
    for figure in figures {
        if let Some(why) = &figure.note {
            out.line(&format!("{} on {} was not measured: {why}.", figure.name, figure.store))?;
        }
    }
    Ok(())
}

/// How it was measured, and on what.
fn conditions(rounds: &Rounds) -> String {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let load = std::fs::read_to_string("/proc/loadavg").ok();
    let load = load.as_deref().and_then(|load| load.split(' ').next());
    let load = load.map(|load| format!(", load average {load} before it began")).unwrap_or_default();
    format!(
        "{ROUNDS} rounds each: {:.1} s of the subject, then its limit does the same work. Shown is the round in the \
         middle; SPREAD is the least and the greatest of the number that TARGET judges. {cores} cores{load}.",
        rounds.round_duration().as_secs_f64()
    )
}

fn number(number: f64) -> String {
    if number >= 1000.0 { format!("{number:.0}") } else { format!("{number:.3}") }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let fits = |length: &Duration| !length.is_zero() && *length <= MAX_DURATION;
    parsed.filter(fits).ok_or_else(|| "a number of seconds is, more than none and at most 3600".to_owned())
}
