//! `aegis keys status`: which master key wraps which keys, and which keys sign access tokens.

use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use store::key_store::KeyId;
use store::rotation::{MasterKeyUsage, WrappedCount};
use store::{Env, Rotation, StoreError};

use crate::app::{Database, stored_token_keys, token_key_entry};
use crate::cli::error::{CliResult, KeyProblem, VerificationFailure};
use crate::cli::output::Output;
use crate::cli::table::Table;
use crate::config::{CommandSettings, MasterKeySetting, SettingSource};
use crate::crypto::TokenKeys;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct KeyOutput {
    id: String,
    /// `current`, `previous`, or `missing`: it wraps something, but is not configured.
    state: &'static str,
    /// Its source.
    from: Option<String>,
    /// Whether it wraps the keys of new users.
    wraps_new: bool,
    streams: u64,
    service_keys: Vec<String>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct StatusOutput {
    keys: Vec<KeyOutput>,
    /// The keys of access tokens; empty if they are signed with a shared secret.
    signing_keys: Vec<SigningKeyOutput>,
    /// Key store entries that contain no wrapped key.
    damaged: u64,
    /// What to do next.
    next: Vec<String>,
}

/// A key that signs access tokens, or has signed them.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub(super) struct SigningKeyOutput {
    /// The `kid` of its tokens.
    id: String,
    algorithm: String,
    /// `signs`, `published` before it signs, or `verifies` after that.
    state: &'static str,
    signs_from: Option<Timestamp>,
    /// When its last token expires; not known before another key signs.
    verifies_until: Option<Timestamp>,
}

/// As in "signing key … (`EdDSA`) signs since 2026-11-30T08:00:00Z".
impl fmt::Display for SigningKeyOutput {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, algorithm, state, signs_from, verifies_until } = self;
        write!(out, "signing key {id} ({algorithm})")?;
        match (*state, signs_from, verifies_until) {
            ("published", Some(at), _) => write!(out, " is published and signs from {at}"),
            ("verifies", _, Some(at)) => write!(out, " no longer signs and verifies until {at}"),
            (_, Some(at), Some(end)) => write!(out, " signs since {at} and verifies until {end}"),
            (_, Some(at), None) => write!(out, " signs since {at}"),
            (state, None, _) => write!(out, " {state}"),
        }
    }
}

pub(super) fn signing_keys(keys: &TokenKeys, env: &Env) -> Vec<SigningKeyOutput> {
    let now = env.now().as_second();
    let time = |second: i64| Timestamp::from_second(second).ok();
    let published = keys.published(now).map(|(key, end)| {
        let signing = keys.signing(key.public.algorithm, now).map(|signing| &signing.public.id);
        SigningKeyOutput {
            id: key.public.id.clone(),
            algorithm: key.public.algorithm.to_string(),
            state: if signing == Some(&key.public.id) {
                "signs"
            } else if key.signs_from > now {
                "published"
            } else {
                "verifies"
            },
            signs_from: time(key.signs_from),
            verifies_until: end.and_then(time),
        }
    });
    published.collect()
}

pub(super) async fn run(
    arguments: &Arguments,
    settings: &CommandSettings,
    database: &Database,
    out: &mut Output,
) -> CliResult {
    let masters = &settings.master_key;
    let env = Env::system();
    let rotation = Rotation::new(Arc::clone(&database.keys), Arc::new(masters.keys()), env.clone());
    let usage = rotation.master_key_usage().await?;
    let mut status = status(&usage, masters);
    // Without their master key they are not known, which is reported below.
    match stored_token_keys(&token_key_entry(database, masters, &env)).await {
        Err(StoreError::KeyMissing(_)) => {}
        stored => status.signing_keys = signing_keys(&stored?, &env),
    }
    if arguments.json {
        out.json(&status)?;
    } else {
        print(&status, out)?;
    }
    out.flush()?;
    check(problems(&usage, masters))
}

fn status(usage: &MasterKeyUsage, masters: &MasterKeySetting) -> StatusOutput {
    let keys = masters.keys();
    let key = |id: KeyId| {
        let wrapped = usage.wrapped_by(id);
        KeyOutput {
            id: id.to_string(),
            state: match keys.get(id) {
                None => "missing",
                Some(_) if id == keys.current() => "current",
                Some(_) => "previous",
            },
            from: masters.source(id).map(ToString::to_string),
            wraps_new: usage.wrapping_key == Some(id),
            streams: wrapped.streams,
            service_keys: wrapped.service_keys,
        }
    };
    StatusOutput {
        keys: keys.ids().chain(missing(usage, masters)).map(key).collect(),
        signing_keys: Vec::new(),
        damaged: usage.damaged,
        next: next_steps(usage, masters),
    }
}

/// The master keys that wrap something but are not configured.
fn missing(usage: &MasterKeyUsage, masters: &MasterKeySetting) -> Vec<KeyId> {
    usage.wraps.keys().copied().filter(|id| masters.source(*id).is_none()).collect()
}

fn next_steps(usage: &MasterKeyUsage, masters: &MasterKeySetting) -> Vec<String> {
    let keys = masters.keys();
    let previous: Vec<_> = keys.ids().filter(|id| *id != keys.current()).collect();
    let remaining = usage.wrapped_by_any(previous.iter().copied());
    if remaining == WrappedCount::default() {
        return previous.into_iter().filter_map(|id| removal_advice(id, masters)).collect();
    }
    let command = "run `aegis keys rotate` once every service has the current one";
    vec![format!("previous master keys still wrap {remaining}: {command}")]
}

/// What to do with a previous key that wraps nothing any more.
pub(super) fn removal_advice(id: KeyId, masters: &MasterKeySetting) -> Option<String> {
    let advice = match masters.source(id)? {
        SettingSource::DataFolder(file) => {
            format!("keep {} as long as one of these backups exists, then delete it", file.display())
        }
        source => format!(
            "remove it from AEGIS_MASTER_KEY_PREVIOUS ({source}), and keep it elsewhere, apart from these \
             backups, as long as one of them exists"
        ),
    };
    Some(format!(
        "master key {id} wraps nothing in this database any more; only backups from before the rotation need \
         it: {advice}"
    ))
}

pub(super) fn problems(usage: &MasterKeyUsage, masters: &MasterKeySetting) -> Vec<KeyProblem> {
    let missing = missing(usage, masters).into_iter();
    let missing = missing.map(|id| KeyProblem::Missing { id, wrapped: usage.wrapped_by(id) });
    missing.chain((usage.damaged > 0).then_some(KeyProblem::CorruptEntries(usage.damaged))).collect()
}

pub(super) fn check(problems: Vec<KeyProblem>) -> CliResult {
    if problems.is_empty() { Ok(()) } else { Err(VerificationFailure::MasterKeys(problems).into()) }
}

fn print(status: &StatusOutput, out: &mut Output) -> CliResult {
    let columns = ["MASTER KEY", "STATE", "WRAPS NEW", "STREAMS", "SERVICE KEYS", "FROM"];
    let mut table = Table::new("master keys", columns, false);
    let or_dash = |text: String| if text.is_empty() { "-".to_owned() } else { text };
    for key in &status.keys {
        table.add_row([
            key.id.clone(),
            key.state.to_owned(),
            if key.wraps_new { "yes" } else { "-" }.to_owned(),
            key.streams.to_string(),
            or_dash(key.service_keys.join(", ")),
            or_dash(key.from.clone().unwrap_or_default()),
        ]);
    }
    table.finish(out)?;
    status.signing_keys.iter().try_for_each(|key| out.line(&key.to_string()))?;
    status.next.iter().try_for_each(|step| out.line(step))
}

#[cfg(test)]
mod tests {
    use store::MasterKey;

    use super::*;
    use crate::config::LoadedKey;

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

    fn configured(current: &MasterKey, previous: &[&MasterKey]) -> MasterKeySetting {
        let loaded = |key: &MasterKey| LoadedKey { key: key.clone(), source: SettingSource::Environment };
        MasterKeySetting::configured(loaded(current), previous.iter().map(|key| loaded(key)).collect())
    }

    fn states(status: &StatusOutput) -> Vec<(&str, bool)> {
        status.keys.iter().map(|key| (key.state, key.wraps_new)).collect()
    }

    #[test]
    fn each_rotation_step_names_the_next_one() {
        let [old, new, _] = keys();
        let (one, both) = (configured(&old, &[]), configured(&new, &[&old]));
        let before = usage(&old, &[(&old, 3, &["claims", "signing"])]);
        assert_eq!(status(&before, &one).next, [""; 0]);
        let begun = status(&before, &both);
        assert_eq!(states(&begun), [("current", false), ("previous", true)]);
        assert!(
            begun.next[0]
                .contains("3 stream keys and the service keys claims, signing: run `aegis keys rotate`")
        );
        let halfway = usage(&new, &[(&old, 1, &["claims"]), (&new, 2, &["signing"])]);
        let halfway = status(&halfway, &both);
        assert_eq!(states(&halfway), [("current", true), ("previous", false)]);
        assert!(
            halfway.next[0].contains("1 stream key and the service key claims: run"),
            "{:?}",
            halfway.next
        );
        let after = usage(&new, &[(&new, 3, &["claims", "signing"])]);
        let next = status(&after, &both).next;
        assert!(
            next[0].contains(&old.id().to_string()) && next[0].contains("AEGIS_MASTER_KEY_PREVIOUS"),
            "{next:?}"
        );
        assert_eq!(problems(&after, &both), []);
    }

    #[test]
    fn missing_keys_are_named() {
        let [old, new, unknown] = keys();
        let usage = usage(&new, &[(&new, 3, &["claims", "signing"]), (&unknown, 2, &[])]);
        let both = configured(&new, &[&old]);
        assert_eq!(states(&status(&usage, &both)).last(), Some(&("missing", false)));
        let wrapped = WrappedCount { streams: 2, service_keys: Vec::new() };
        assert_eq!(problems(&usage, &both), [KeyProblem::Missing { id: unknown.id(), wrapped }]);
        let damaged = MasterKeyUsage { damaged: 7, ..MasterKeyUsage::default() };
        assert_eq!(problems(&damaged, &both), [KeyProblem::CorruptEntries(7)]);
    }
}
