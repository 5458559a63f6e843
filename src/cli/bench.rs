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

use super::failure::{Failure, warn};
use super::logging;
use super::output::Output;
use super::signals::Signals;
use super::table::Table;
use crate::bench::figure::Figure;
use crate::bench::ground::{Ground, Place, Server, StoreKind};
use crate::bench::{BenchError, ROUNDS, ROWS, Rounds, Row, measure};
use crate::config::{BenchSettings, Sources, load};

/// The longest a figure may take.
const LONGEST: Duration = Duration::from_hours(1);

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Print one JSON object: `{"figures": […]}`
    #[arg(long)]
    json: bool,
    /// Measure on this store alone
    #[arg(long)]
    store: Option<StoreKind>,
    /// Measure this figure alone; may be given more than once
    #[arg(long, value_name = "FIGURE", value_parser = PossibleValuesParser::new(ROWS.map(Row::name)))]
    only: Vec<String>,
    /// For how long each subject works, all rounds together
    #[arg(long, default_value = "10", value_parser = seconds)]
    seconds: Duration,
    /// Where the scratch folder is made, on the disk to be measured; if not given, where temporary files go
    #[arg(long)]
    folder: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    figures: Vec<Figure>,
}

/// A store, and where to measure it or why that is not possible.
type Found = (StoreKind, Result<Place, String>);

pub(super) async fn run(arguments: &Arguments, sources: &Sources, out: &mut Output) -> Result<(), Failure> {
    let settings = load::for_bench(sources)?;
    logging::start(&settings.log);
    let mut signals = Signals::listen()?;
    let stop = CancellationToken::new();
    let rounds = Rounds::new(arguments.seconds, stop.clone());
    let conditions = conditions(&rounds);
    let folder = arguments.folder.clone().unwrap_or_else(std::env::temp_dir);
    let mut ground = Ground::within(&folder).map_err(Failure::because)?;
    let places = tokio::select! {
        places = find(arguments.store, &settings, &mut ground) => places,
        _ = signals.next() => return Err(Failure::because(BenchError::Interrupted)),
    };
    let mut measuring = pin!(measure_all(&arguments.only, &places, &rounds));
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
    clear(&places).await;
    drop(ground);
    let report = Report { figures: measured.map_err(Failure::because)? };
    if arguments.json { out.json(&report) } else { tell(&report.figures, &conditions, out) }
}

/// Where each store can be measured.
async fn find(only: Option<StoreKind>, settings: &BenchSettings, ground: &mut Ground) -> Vec<Found> {
    let mut found = Vec::new();
    for store in StoreKind::value_variants() {
        if only.is_none_or(|only| only == *store) {
            let place = match store {
                StoreKind::Sqlite => Ok(ground.embedded()),
                StoreKind::Mongodb => ground.mongodb(&server(settings)).await,
            };
            found.push((*store, place.map_err(|error| how_to_get_one(&error))));
        }
    }
    found
}

/// The MongoDB that is configured, else one that is started.
fn server(settings: &BenchSettings) -> Server {
    match &settings.mongodb_url {
        Some(url) => Server::Running(url.clone()),
        None => Server::Throwaway(settings.mongod.clone().unwrap_or_else(|| PathBuf::from("mongod"))),
    }
}

fn how_to_get_one(error: &BenchError) -> String {
    format!(
        "{error}. Set MONGODB_URL to a replica set (scratch databases are made in it and removed), or AEGIS_MONGOD to \
         the path of a `mongod`, which is then started for the purpose"
    )
}

async fn measure_all(only: &[String], places: &[Found], rounds: &Rounds) -> Result<Vec<Figure>, BenchError> {
    let mut figures = Vec::new();
    for (store, place) in places {
        for row in ROWS.iter().filter(|row| only.is_empty() || only.iter().any(|name| name == row.name())) {
            figures.push(match place {
                Ok(place) => figure(*row, place, rounds).await?,
                Err(why) => Figure::missing(*row, *store, why),
            });
        }
    }
    Ok(figures)
}

/// A figure, or why there is none; only being called off ends it all.
async fn figure(row: &dyn Row, place: &Place, rounds: &Rounds) -> Result<Figure, BenchError> {
    let (name, store, each) = (row.name(), place.store(), rounds.each().as_secs_f64());
    progress(&format!(
        "measuring {name} on {}: {ROUNDS} rounds of {each:.1} s and its limit",
        store.as_str()
    ));
    match measure(row, place, rounds).await {
        Err(BenchError::Interrupted) => Err(BenchError::Interrupted),
        Err(error) => Ok(Figure::missing(row, store, &error)),
        Ok(figure) => Ok(figure),
    }
}

async fn clear(places: &[Found]) {
    for place in places.iter().filter_map(|(_, place)| place.as_ref().ok()) {
        if let Err(error) = place.clear().await {
            warn(&format!("scratch databases, named `aegis_bench_…`, are left behind: {error}"));
        }
    }
}

/// Says on stderr what is being done.
fn progress(text: &str) {
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// A table, and below it what its rows mean.
fn tell(figures: &[Figure], conditions: &str, out: &mut Output) -> Result<(), Failure> {
    let mut table =
        Table::new(["FIGURE", "STORE", "VALUE", "LIMIT", "UNIT", "RATIO", "TARGET", "PASS", "SPREAD"]);
    for figure in figures {
        let pass = figure.pass.map_or("not measured", |pass| if pass { "yes" } else { "no" });
        let spread = figure.spread.map(|[least, most]| format!("{} to {}", number(least), number(most)));
        table.row([
            figure.name.to_owned(),
            figure.store.to_owned(),
            figure.value.map(number).unwrap_or_default(),
            figure.limit.map(number).unwrap_or_default(),
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
    for row in ROWS.iter().filter(|row| figures.iter().any(|figure| figure.name == row.name())) {
        out.line(&format!("{}: {}.", row.name(), row.meaning()))?;
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
        rounds.each().as_secs_f64()
    )
}

fn number(number: f64) -> String {
    if number >= 1000.0 { format!("{number:.0}") } else { format!("{number:.3}") }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let parsed = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    let fits = |length: &Duration| !length.is_zero() && *length <= LONGEST;
    parsed.filter(fits).ok_or_else(|| "a number of seconds is, more than none and at most 3600".to_owned())
}
