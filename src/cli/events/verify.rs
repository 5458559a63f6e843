//! `aegis events verify`: verifies the log, and that no read model is ahead of it.

use std::path::PathBuf;

use projections::ProjectionContext;
use serde::Serialize;
use store::checkpoint::SignedHead;
use store::{Finding, FindingKind, Position, Verified, VerifyError};

use super::export_proof::{ExportProof, read, read_key};
use crate::authority;
use crate::cli::error::{CliError, CliResult, VerificationFailure};
use crate::cli::output::Output;
use crate::cli::progress::ProgressReporter;
use crate::cli::session::Session;
use crate::query::claim_change;

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Also verify that the log still contains everything that this trusted checkpoint was signed for
    #[arg(long, value_name = "FILE", conflicts_with = "export")]
    since: Option<PathBuf>,
    /// Verify this export instead, without a database
    #[arg(long, value_name = "FILE", requires = "checkpoint", requires = "key")]
    export: Option<PathBuf>,
    /// A trusted checkpoint from elsewhere: the one inside the export proves nothing
    #[arg(long, value_name = "FILE", requires = "export")]
    checkpoint: Option<PathBuf>,
    /// The trusted verifier key of the log, stored when it was fetched from `GET /log/key`
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Arguments {
    /// The verification of an export, if `--export` was given.
    pub(super) fn export_proof(&self) -> Option<ExportProof<'_>> {
        let Self { export, checkpoint, key, json, .. } = self;
        Some(ExportProof {
            export: export.as_ref()?,
            checkpoint: checkpoint.as_ref()?,
            key: key.as_ref()?,
            json: *json,
        })
    }
}

#[derive(Serialize)]
struct VerificationOutput {
    position: u64,
    root: String,
    streams: usize,
    claims: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<u64>,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> CliResult {
    let since = trusted_checkpoint(arguments, session)?;
    let mut progress = ProgressReporter::new("events");
    let mut on_progress = |position: Position, head: Position| progress.update(position.get(), head.get());
    let verified = session.services.proofs.verify(claim_change, since.as_ref(), &mut on_progress).await;
    progress.finish();
    let verified = verified.map_err(|error| match error {
        VerifyError::Found(finding) => VerificationFailure::Log(finding).into(),
        VerifyError::Store(error) => CliError::from(error),
    })?;
    authority::verify(&session.services.store).await.map_err(|error| match error {
        VerifyError::Found(finding) => VerificationFailure::Log(finding).into(),
        VerifyError::Store(error) => CliError::from(error),
    })?;
    check_projections(session).await?;
    print(arguments, &verified, since.map(|head| head.size), out)
}

/// The checkpoint of `--since`. Its signature is verified with the key of `--key`, or with that of the log.
fn trusted_checkpoint(arguments: &Arguments, session: &Session) -> Result<Option<SignedHead>, CliError> {
    let own = session.verifier_key()?;
    if let Some(path) = &arguments.key
        && read_key(path)? != own
    {
        return Err(VerificationFailure::OtherSigningKey(path.clone()).into());
    }
    let Some(path) = &arguments.since else { return Ok(None) };
    let failure = |error| VerificationFailure::Checkpoint { of: path.display().to_string(), error };
    Ok(Some(own.open(&read(path)?).map_err(failure)?))
}

/// A projection checkpoint beyond the head of the log has applied events that were removed from it.
async fn check_projections(session: &Session) -> CliResult {
    let ProjectionContext { events, rows, .. } = &session.services.projection_context;
    for projection in projections::all() {
        let Some(versions) = rows.versions(projection.name()).await? else { continue };
        for version in &versions.kept {
            let table = projection.table(version.number);
            let position = rows.checkpoint(&table).await?.position;
            // After the checkpoint: the head only moves forward.
            let head = events.head().await?.position;
            if position > head {
                let kind = FindingKind::ProjectionAheadOfLog { table: table.name.to_string(), head };
                return Err(VerificationFailure::Log(Finding::new(position, kind)).into());
            }
        }
    }
    Ok(())
}

fn print(arguments: &Arguments, verified: &Verified, since: Option<u64>, out: &mut Output) -> CliResult {
    let Verified { position, root, streams, claims } = *verified;
    let output =
        VerificationOutput { position: position.get(), root: hex::encode(root), streams, claims, since };
    if arguments.json {
        out.json(&output)?;
    } else {
        let VerificationOutput { position, root, .. } = &output;
        out.line(&format!(
            "verified up to position {position}: streams {streams}, claims {claims}, root {root}"
        ))?;
        if let Some(since) = since {
            out.line(&format!("the log starts with the {since} events that the checkpoint was signed for"))?;
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
            password_hash: Some(PasswordHash::new("$argon2id$".to_owned()).unwrap()),
        };
        let erase = UserCommand::Erase { reason: ErasureReason::Other };
        let id = users.register("r", None, ada()).await.unwrap().id;
        users.execute(&CommandContext::new("system", "r"), id, &erase).await.unwrap();
        users.register("r", None, ada()).await.unwrap();
        let verified = store.verify(claim_change, &mut |_, _| {}).await.unwrap();
        assert_eq!((verified.position.get(), verified.claims), (4, 2));
    }
}
