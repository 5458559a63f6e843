//! `aegis events verify`: proves the log, and that nothing has run ahead of it.

use std::path::PathBuf;

use projections::Sources;
use serde::Serialize;
use store::checkpoint::{SignedHead, VerifierKey};
use store::{Finding, Position, Verified, VerifyError};

use super::offline::{Offline, read, read_key};
use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::session::Session;
use crate::export::hex;
use crate::query::claims_of;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Also prove that nothing before this checkpoint was changed or cut off: a file with one that was kept elsewhere
    #[arg(long, value_name = "FILE", conflicts_with = "export")]
    since: Option<PathBuf>,
    /// Prove this export instead, without any database
    #[arg(long, value_name = "FILE", requires = "checkpoint", requires = "key")]
    export: Option<PathBuf>,
    /// A checkpoint that was kept elsewhere: one that comes with the export would prove nothing
    #[arg(long, value_name = "FILE", requires = "export")]
    checkpoint: Option<PathBuf>,
    /// The key of the log, as it was once fetched from `GET /log/key` and kept
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// The proof of an export, if that is what is asked for.
    pub(super) fn offline(&self) -> Option<Offline<'_>> {
        let Self { export, checkpoint, key, json, .. } = self;
        Some(Offline {
            export: export.as_ref()?,
            checkpoint: checkpoint.as_ref()?,
            key: key.as_ref()?,
            json: *json,
        })
    }
}

/// What was verified.
#[derive(Serialize)]
struct Report {
    position: u64,
    root: String,
    streams: usize,
    claims: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let since = kept(arguments, session)?;
    let mut progress = Progress::new("events");
    let mut each_page = |position: Position, head: Position| progress.at(position.get(), head.get());
    let verified = session.node.proofs.verify(claims_of, since.as_ref(), &mut each_page).await;
    progress.finish();
    let verified = verified.map_err(|error| match error {
        VerifyError::Found(finding) => found(&finding),
        VerifyError::Store(error) => error.into(),
    })?;
    check_projections(session).await?;
    report(arguments, &verified, since.map(|head| head.size), out)
}

/// The checkpoint that was kept, its signature checked with the key that was kept, or with that of the log.
fn kept(arguments: &Arguments, session: &Session) -> Result<Option<SignedHead>, Failure> {
    let own: VerifierKey = session.node.store.signer().verifier_key().parse().map_err(Failure::because)?;
    if let Some(path) = &arguments.key
        && read_key(path)? != own
    {
        return Err(Failure::Found(format!(
            "the log is signed with another key than that of {}",
            path.display()
        )));
    }
    let Some(path) = &arguments.since else { return Ok(None) };
    let head = own.open(&read(path)?);
    head.map(Some).map_err(|error| Failure::Found(format!("{} {error}", path.display())))
}

/// A table that is further than the log has seen events that are no more.
async fn check_projections(session: &Session) -> Result<(), Failure> {
    let Sources { events, rows, .. } = &session.node.sources;
    for projection in projections::all() {
        let Some(versions) = rows.versions(projection.name()).await? else { continue };
        for version in &versions.kept {
            let table = projection.table(version.number);
            let checkpoint = rows.checkpoint(&table).await?;
            // In this order: the log moves on and never back.
            let head = events.head().await?.position;
            if checkpoint.position > head {
                let what = format!("the read model `{}` is there, though the head is at {head}", table.name);
                return Err(found(&Finding { position: checkpoint.position, what }));
            }
        }
    }
    Ok(())
}

fn found(finding: &Finding) -> Failure {
    Failure::Found(format!("the log does not verify: {finding}"))
}

fn report(
    arguments: &Arguments,
    verified: &Verified,
    since: Option<u64>,
    out: &mut Output,
) -> Result<(), Failure> {
    let Verified { position, root, streams, claims } = *verified;
    let report = Report { position: position.get(), root: hex(&root), streams, claims, since };
    if arguments.json {
        out.json(&report)?;
    } else {
        let Report { position, root, .. } = &report;
        out.line(&format!(
            "verified up to position {position}: streams {streams}, claims {claims}, root {root}"
        ))?;
        if let Some(since) = since {
            out.line(&format!("it begins with the {since} events that the checkpoint was signed for"))?;
        }
    }
    out.flush()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use domain::{Command, EmailAddress, ErasureReason, PasswordHash, Username};
    use store::memory::Memory;
    use store::{Ambient, EventStore, MasterKey};

    use super::*;
    use crate::command::{Cause, SignUp, UserCommands};

    #[tokio::test]
    async fn a_log_with_erased_users_and_their_heirs_verifies() {
        let ambient = Ambient::system();
        let master = MasterKey::generate(&ambient);
        let store = EventStore::open(Arc::new(Memory::default()), master, ambient.clone()).await.unwrap();
        let users = UserCommands::new(store.clone(), ambient);
        let ada = || SignUp {
            email: EmailAddress::parse("ada@example.com").unwrap(),
            username: Username::parse("ada").unwrap(),
            password_hash: PasswordHash::new("$argon2id$".to_owned()).unwrap(),
        };
        let erase = Command::Erase { reason: ErasureReason::Other };
        let id = users.sign_up("r", None, ada()).await.unwrap().id;
        users.execute(&Cause::new("system", "r"), id, &erase, None).await.unwrap();
        users.sign_up("r", None, ada()).await.unwrap();
        let verified = store.verify(claims_of, &mut |_, _| {}).await.unwrap();
        assert_eq!((verified.position.get(), verified.claims), (4, 2));
    }
}
