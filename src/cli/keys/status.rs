//! `aegis keys status`: which master key wraps what.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde::Serialize;
use store::rotation::Survey;
use store::vault::KeyId;
use store::{Ambient, Rotation};

use super::unneeded;
use crate::app::Database;
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::config::{CommandSettings, MasterKeySetting};

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// A master key as it is shown.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Line {
    id: String,
    /// `current`, `previous`, or `missing`: it wraps something and was not given.
    state: &'static str,
    /// Where it comes from.
    from: Option<String>,
    /// Whether the keys of new users are wrapped by it.
    wraps_new: bool,
    streams: u64,
    service_keys: Vec<String>,
}

/// What is shown.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Report {
    keys: Vec<Line>,
    /// Streams whose key is no wrapped key.
    damaged: u64,
    /// What to do next.
    next: Vec<String>,
}

pub(super) async fn run(
    arguments: &Arguments,
    settings: &CommandSettings,
    database: &Database,
    out: &mut Output,
) -> Result<(), Failure> {
    let masters = &settings.master_key;
    let keys = Arc::new(masters.keys());
    let survey = Rotation::new(Arc::clone(&database.keys), keys, Ambient::system()).survey().await?;
    let report = report(&survey, masters);
    if arguments.json {
        out.json(&report)?;
    } else {
        print(&report, out)?;
    }
    out.flush()?;
    wrong(&survey, masters).map_or(Ok(()), |what| Err(Failure::Found(what)))
}

fn report(survey: &Survey, masters: &MasterKeySetting) -> Report {
    let (keys, missing) = (masters.keys(), missing(survey, masters));
    let line = |id: KeyId| {
        let wraps = survey.of(id);
        Line {
            id: id.to_string(),
            state: match keys.get(id) {
                None => "missing",
                Some(_) if id == keys.current() => "current",
                Some(_) => "previous",
            },
            from: masters.origin(id).map(ToString::to_string),
            wraps_new: survey.wrapping == Some(id),
            streams: wraps.streams,
            service_keys: wraps.service_keys,
        }
    };
    Report {
        keys: keys.ids().chain(missing).map(line).collect(),
        damaged: survey.damaged,
        next: next(survey, masters),
    }
}

/// The master keys that wrap something and were not given.
fn missing(survey: &Survey, masters: &MasterKeySetting) -> Vec<KeyId> {
    survey.wraps.keys().copied().filter(|id| masters.origin(*id).is_none()).collect()
}

/// What to do, where nothing is wrong.
fn next(survey: &Survey, masters: &MasterKeySetting) -> Vec<String> {
    let keys = masters.keys();
    let previous: Vec<_> = keys.ids().filter(|id| *id != keys.current()).collect();
    let left: u64 = previous.iter().map(|id| survey.of(*id).streams).sum();
    if previous.iter().any(|id| survey.wraps.contains_key(id)) {
        let then = "run `aegis keys rotate` once every service has the current one as well";
        return vec![format!("master keys of before still wrap the keys of {left} streams: {then}")];
    }
    previous.into_iter().filter_map(|id| unneeded(id, masters)).collect()
}

/// What is wrong, if anything is.
pub(super) fn wrong(survey: &Survey, masters: &MasterKeySetting) -> Option<String> {
    let missing = missing(survey, masters).into_iter().map(|id| {
        let wraps = survey.of(id);
        let keys: BTreeSet<_> = wraps.service_keys.iter().map(|name| format!("`{name}`")).collect();
        let keys = keys.into_iter().collect::<Vec<_>>().join(", ");
        let service = if keys.is_empty() { String::new() } else { format!(" and the service keys {keys}") };
        format!(
            "master key {id} is missing: the keys of {} streams{service} cannot be opened. Give it in \
             AEGIS_MASTER_KEY_PREVIOUS, or put its file back into the data folder",
            wraps.streams
        )
    });
    let damaged = (survey.damaged > 0).then(|| {
        format!("{} streams have no wrapped key where it should be: `aegis events verify`", survey.damaged)
    });
    let wrong: Vec<_> = missing.chain(damaged).collect();
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

fn print(report: &Report, out: &mut Output) -> Result<(), Failure> {
    let mut table = Table::new(["MASTER KEY", "STATE", "WRAPS NEW", "STREAMS", "SERVICE KEYS", "FROM"]);
    for line in &report.keys {
        let service_keys =
            if line.service_keys.is_empty() { "-".to_owned() } else { line.service_keys.join(", ") };
        table.row([
            line.id.clone(),
            line.state.to_owned(),
            if line.wraps_new { "yes" } else { "-" }.to_owned(),
            line.streams.to_string(),
            service_keys,
            line.from.clone().unwrap_or_else(|| "-".to_owned()),
        ]);
    }
    table.print(out)?;
    report.next.iter().try_for_each(|text| out.line(text))
}
