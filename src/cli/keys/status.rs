//! `aegis keys status`: which master key wraps what.

use std::sync::Arc;

use serde::Serialize;
use store::key_store::KeyId;
use store::rotation::{MasterKeyUsage, WrappedCount};
use store::{Env, Rotation};

use super::removal_advice;
use crate::app::Database;
use crate::cli::error::CliError;
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
struct KeyOutput {
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
struct StatusOutput {
    keys: Vec<KeyOutput>,
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
) -> Result<(), CliError> {
    let masters = &settings.master_key;
    let keys = Arc::new(masters.keys());
    let usage = Rotation::new(Arc::clone(&database.keys), keys, Env::system()).master_key_usage().await?;
    let report = report(&usage, masters);
    if arguments.json {
        out.json(&report)?;
    } else {
        print(&report, out)?;
    }
    out.flush()?;
    problems(&usage, masters).map_or(Ok(()), |what| Err(CliError::VerificationFailed(what)))
}

fn report(usage: &MasterKeyUsage, masters: &MasterKeySetting) -> StatusOutput {
    let (keys, missing) = (masters.keys(), missing(usage, masters));
    let line = |id: KeyId| {
        let wraps = usage.wrapped_by(id);
        KeyOutput {
            id: id.to_string(),
            state: match keys.get(id) {
                None => "missing",
                Some(_) if id == keys.current() => "current",
                Some(_) => "previous",
            },
            from: masters.source(id).map(ToString::to_string),
            wraps_new: usage.wrapping_key == Some(id),
            streams: wraps.streams,
            service_keys: wraps.service_keys,
        }
    };
    StatusOutput {
        keys: keys.ids().chain(missing).map(line).collect(),
        damaged: usage.damaged,
        next: next(usage, masters),
    }
}

/// The master keys that wrap something and were not given.
fn missing(usage: &MasterKeyUsage, masters: &MasterKeySetting) -> Vec<KeyId> {
    usage.wraps.keys().copied().filter(|id| masters.source(*id).is_none()).collect()
}

/// What to do, where nothing is wrong.
fn next(usage: &MasterKeyUsage, masters: &MasterKeySetting) -> Vec<String> {
    let keys = masters.keys();
    let previous: Vec<_> = keys.ids().filter(|id| *id != keys.current()).collect();
    let left = usage.wrapped_by_any(previous.iter().copied());
    if left != WrappedCount::default() {
        let then = "run `aegis keys rotate` once every service has the current one as well";
        return vec![format!("master keys of before still wrap {left}: {then}")];
    }
    previous.into_iter().filter_map(|id| removal_advice(id, masters)).collect()
}

/// What is wrong, if anything is.
pub(super) fn problems(usage: &MasterKeyUsage, masters: &MasterKeySetting) -> Option<String> {
    let missing = missing(usage, masters).into_iter().map(|id| {
        format!(
            "master key {id} is missing: it wraps {}, which cannot be opened. Give it in AEGIS_MASTER_KEY_PREVIOUS, or \
             put its file back into the data folder",
            usage.wrapped_by(id)
        )
    });
    let damaged = (usage.damaged > 0).then(|| {
        format!("{} vault entries hold no wrapped key: `aegis events verify` says which", usage.damaged)
    });
    let wrong: Vec<_> = missing.chain(damaged).collect();
    (!wrong.is_empty()).then(|| wrong.join("\n"))
}

fn print(report: &StatusOutput, out: &mut Output) -> Result<(), CliError> {
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
    use crate::config::{LoadedKey, SettingSource};

    fn keys() -> [MasterKey; 3] {
        [(); 3].map(|()| MasterKey::generate(&Env::system()))
    }

    fn usage(wrapping: &MasterKey, wraps: &[(&MasterKey, u64, &[&str])]) -> MasterKeyUsage {
        let wraps = wraps.iter().map(|(key, streams, service_keys)| {
            let service_keys = service_keys.iter().map(|name| (*name).to_owned()).collect();
            (key.id(), WrappedCount { streams: *streams, service_keys })
        });
        MasterKeyUsage { wrapping_key: Some(wrapping.id()), wraps: wraps.collect(), damaged: 0 }
    }

    fn given(current: &MasterKey, previous: &[&MasterKey]) -> MasterKeySetting {
        let held = |key: &MasterKey| LoadedKey { key: key.clone(), source: SettingSource::Environment };
        MasterKeySetting::configured(held(current), previous.iter().map(|key| held(key)).collect())
    }

    fn states(report: &StatusOutput) -> Vec<(&str, bool)> {
        report.keys.iter().map(|line| (line.state, line.wraps_new)).collect()
    }

    #[test]
    fn each_rotation_step_names_the_next_one() {
        let [old, new, _] = keys();
        let (one, both) = (given(&old, &[]), given(&new, &[&old]));
        let before = usage(&old, &[(&old, 3, &["claims", "signing"])]);
        assert_eq!(report(&before, &one).next, [""; 0]);
        let begun = report(&before, &both);
        assert_eq!(states(&begun), [("current", false), ("previous", true)]);
        assert!(
            begun.next[0]
                .contains("3 stream keys and the service keys claims, signing: run `aegis keys rotate`")
        );
        let halfway = usage(&new, &[(&old, 1, &["claims"]), (&new, 2, &["signing"])]);
        let halfway = report(&halfway, &both);
        assert_eq!(states(&halfway), [("current", true), ("previous", false)]);
        assert!(
            halfway.next[0].contains("1 stream key and the service key claims: run"),
            "{:?}",
            halfway.next
        );
        let after = usage(&new, &[(&new, 3, &["claims", "signing"])]);
        let next = report(&after, &both).next;
        assert!(
            next[0].contains(&old.id().to_string()) && next[0].contains("AEGIS_MASTER_KEY_PREVIOUS"),
            "{next:?}"
        );
        assert_eq!(problems(&after, &both), None);
    }

    #[test]
    fn missing_keys_are_named() {
        let [old, new, stranger] = keys();
        let usage = usage(&new, &[(&new, 3, &["claims", "signing"]), (&stranger, 2, &[])]);
        let both = given(&new, &[&old]);
        assert_eq!(states(&report(&usage, &both)).last(), Some(&("missing", false)));
        let what = problems(&usage, &both).unwrap();
        assert!(what.contains(&stranger.id().to_string()) && what.contains("2 stream keys"), "{what}");
        let damaged = MasterKeyUsage { damaged: 7, ..MasterKeyUsage::default() };
        assert!(problems(&damaged, &both).unwrap().contains("7 vault entries"));
    }
}
