//! `aegis events verify`: proves the log, and that nothing has run ahead of it.

use std::path::PathBuf;

use projections::ProjectionContext;
use serde::Serialize;
use store::checkpoint::{SignedHead, VerifierKey};
use store::{Finding, Position, Verified, VerifyError};

use super::offline::{ExportProof, read, read_key};
use crate::cli::error::CliError;
use crate::cli::output::Output;
use crate::cli::progress::ProgressReporter;
use crate::cli::session::Session;
use crate::export::hex;
use crate::query::claim_change;

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
    pub(super) fn offline(&self) -> Option<ExportProof<'_>> {
        let Self { export, checkpoint, key, json, .. } = self;
        Some(ExportProof {
            export: export.as_ref()?,
            checkpoint: checkpoint.as_ref()?,
            key: key.as_ref()?,
            json: *json,
        })
    }
}

/// What was verified.
#[derive(Serialize)]
struct VerificationOutput {
    position: u64,
    root: String,
    streams: usize,
    claims: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), CliError> {
    let since = trusted_checkpoint(arguments, session)?;
    let mut progress = ProgressReporter::new("events");
    let mut each_page = |position: Position, head: Position| progress.update(position.get(), head.get());
    let verified = session.services.proofs.verify(claim_change, since.as_ref(), &mut each_page).await;
    progress.finish();
    let verified = verified.map_err(|error| match error {
        VerifyError::Found(finding) => verification_failed(&finding),
        VerifyError::Store(error) => error.into(),
    })?;
    check_projections(session).await?;
    print(arguments, &verified, since.map(|head| head.size), out)
}

/// The checkpoint that was kept, its signature checked with the key that was kept, or with that of the log.
fn trusted_checkpoint(arguments: &Arguments, session: &Session) -> Result<Option<SignedHead>, CliError> {
    let own: VerifierKey =
        session.services.store.signer().verifier_key().parse().map_err(CliError::because)?;
    if let Some(path) = &arguments.key
        && read_key(path)? != own
    {
        return Err(CliError::VerificationFailed(format!(
            "the log is signed with another key than that of {}",
            path.display()
        )));
    }
    let Some(path) = &arguments.since else { return Ok(None) };
    let head = own.open(&read(path)?);
    head.map(Some).map_err(|error| CliError::VerificationFailed(format!("{} {error}", path.display())))
}

/// A table that is further than the log has seen events that are no more.
async fn check_projections(session: &Session) -> Result<(), CliError> {
    let ProjectionContext { events, rows, .. } = &session.services.projection_context;
    for projection in projections::all() {
        let Some(versions) = rows.versions(projection.name()).await? else { continue };
        for version in &versions.kept {
            let table = projection.table(version.number);
            let checkpoint = rows.checkpoint(&table).await?;
            // In this order: the log moves on and never back.
            let head = events.head().await?.position;
            if checkpoint.position > head {
                let what = format!("the read model `{}` is there, though the head is at {head}", table.name);
                return Err(verification_failed(&Finding { position: checkpoint.position, what }));
            }
        }
    }
    Ok(())
}

fn verification_failed(finding: &Finding) -> CliError {
    CliError::VerificationFailed(format!("the log does not verify: {finding}"))
}

fn print(
    arguments: &Arguments,
    verified: &Verified,
    since: Option<u64>,
    out: &mut Output,
) -> Result<(), CliError> {
    let Verified { position, root, streams, claims } = *verified;
    let report = VerificationOutput { position: position.get(), root: hex(&root), streams, claims, since };
    if arguments.json {
        out.json(&report)?;
    } else {
        let VerificationOutput { position, root, .. } = &report;
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

    use domain::{EmailAddress, ErasureReason, PasswordHash, UserCommand, Username};
    use store::memory::Memory;
    use store::{Env, EventStore, MasterKey};

    use super::*;
    use crate::command::{CommandContext, UserCommands};

    #[tokio::test]
    async fn log_with_erased_users_and_reused_claims_verifies() {
        let env = Env::system();
        let master = MasterKey::generate(&env);
        let store = EventStore::open(Arc::new(Memory::default()), master, env.clone()).await.unwrap();
        let users = UserCommands::new(store.clone(), env);
        let ada = || UserCommand::Register {
            email: EmailAddress::parse("ada@example.com").unwrap(),
            username: Username::parse("ada").unwrap(),
            password_hash: PasswordHash::new("$argon2id$".to_owned()).unwrap(),
        };
        let erase = UserCommand::Erase { reason: ErasureReason::Other };
        let id = users.register("r", None, ada()).await.unwrap().id;
        users.execute(&CommandContext::new("system", "r"), id, &erase, None).await.unwrap();
        users.register("r", None, ada()).await.unwrap();
        let verified = store.verify(claim_change, &mut |_, _| {}).await.unwrap();
        assert_eq!((verified.position.get(), verified.claims), (4, 2));
    }
}
