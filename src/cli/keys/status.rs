//! `aegis keys status`: which master key wraps what.

use std::sync::Arc;

use serde::Serialize;
use store::rotation::{Survey, Wraps};
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
    let left = survey.of_all(previous.iter().copied());
    if left != Wraps::default() {
        let then = "run `aegis keys rotate` once every service has the current one as well";
        return vec![format!("master keys of before still wrap {left}: {then}")];
    }
    previous.into_iter().filter_map(|id| unneeded(id, masters)).collect()
}

/// What is wrong, if anything is.
pub(super) fn wrong(survey: &Survey, masters: &MasterKeySetting) -> Option<String> {
    let missing = missing(survey, masters).into_iter().map(|id| {
        format!(
            "master key {id} is missing: it wraps {}, which cannot be opened. Give it in AEGIS_MASTER_KEY_PREVIOUS, or \
             put its file back into the data folder",
            survey.of(id)
        )
    });
    let damaged = (survey.damaged > 0).then(|| {
        format!("{} vault entries hold no wrapped key: `aegis events verify` says which", survey.damaged)
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

#[cfg(test)]
mod tests {
    use store::MasterKey;

    use super::*;
    use crate::config::{HeldKey, Origin};

    fn keys() -> [MasterKey; 3] {
        [(); 3].map(|()| MasterKey::generate(&Ambient::system()))
    }

    fn survey(wrapping: &MasterKey, wraps: &[(&MasterKey, u64, &[&str])]) -> Survey {
        let wraps = wraps.iter().map(|(key, streams, service_keys)| {
            let service_keys = service_keys.iter().map(|name| (*name).to_owned()).collect();
            (key.id(), Wraps { streams: *streams, service_keys })
        });
        Survey { wrapping: Some(wrapping.id()), wraps: wraps.collect(), damaged: 0 }
    }

    fn given(current: &MasterKey, previous: &[&MasterKey]) -> MasterKeySetting {
        let held = |key: &MasterKey| HeldKey { key: key.clone(), origin: Origin::Environment };
        MasterKeySetting::named(held(current), previous.iter().map(|key| held(key)).collect())
    }

    fn states(report: &Report) -> Vec<(&str, bool)> {
        report.keys.iter().map(|line| (line.state, line.wraps_new)).collect()
    }

    #[test]
    fn each_step_of_a_rotation_says_what_comes_next() {
        let [old, new, _] = keys();
        let (one, both) = (given(&old, &[]), given(&new, &[&old]));
        let before = survey(&old, &[(&old, 3, &["claims", "signing"])]);
        assert_eq!(report(&before, &one).next, [""; 0]);
        let begun = report(&before, &both);
        assert_eq!(states(&begun), [("current", false), ("previous", true)]);
        assert!(
            begun.next[0]
                .contains("3 stream keys and the service keys claims, signing: run `aegis keys rotate`")
        );
        let halfway = survey(&new, &[(&old, 1, &["claims"]), (&new, 2, &["signing"])]);
        let halfway = report(&halfway, &both);
        assert_eq!(states(&halfway), [("current", true), ("previous", false)]);
        assert!(
            halfway.next[0].contains("1 stream key and the service key claims: run"),
            "{:?}",
            halfway.next
        );
        let after = survey(&new, &[(&new, 3, &["claims", "signing"])]);
        let next = report(&after, &both).next;
        assert!(
            next[0].contains(&old.id().to_string()) && next[0].contains("AEGIS_MASTER_KEY_PREVIOUS"),
            "{next:?}"
        );
        assert_eq!(wrong(&after, &both), None);
    }

    #[test]
    fn what_is_missing_is_named() {
        let [old, new, stranger] = keys();
        let survey = survey(&new, &[(&new, 3, &["claims", "signing"]), (&stranger, 2, &[])]);
        let both = given(&new, &[&old]);
        assert_eq!(states(&report(&survey, &both)).last(), Some(&("missing", false)));
        let what = wrong(&survey, &both).unwrap();
        assert!(what.contains(&stranger.id().to_string()) && what.contains("2 stream keys"), "{what}");
        let damaged = Survey { damaged: 7, ..Survey::default() };
        assert!(wrong(&damaged, &both).unwrap().contains("7 vault entries"));
    }
}
