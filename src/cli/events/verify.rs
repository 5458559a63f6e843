//! `aegis events verify`: proves the log, and that nothing has run ahead of it.

use projections::Sources;
use serde::Serialize;
use store::merkle::Hash;
use store::{Finding, Position, Verified, VerifyError};

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::progress::Progress;
use crate::cli::session::Session;
use crate::query::claims_of;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What was verified.
#[derive(Serialize)]
struct Report {
    position: u64,
    root: String,
    streams: usize,
    claims: usize,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let mut progress = Progress::new("events");
    let mut each_page = |position: Position, head: Position| progress.at(position.get(), head.get());
    let verified = session.node.proofs.verify(claims_of, &mut each_page).await;
    progress.finish();
    let verified = verified.map_err(|error| match error {
        VerifyError::Found(finding) => found(&finding),
        VerifyError::Store(error) => error.into(),
    })?;
    check_projections(session).await?;
    report(arguments, &verified, out)
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

fn report(arguments: &Arguments, verified: &Verified, out: &mut Output) -> Result<(), Failure> {
    let Verified { position, root, streams, claims } = *verified;
    let report = Report { position: position.get(), root: hex(&root), streams, claims };
    if arguments.json {
        out.json(&report)?;
    } else {
        let Report { position, root, .. } = &report;
        out.line(&format!(
            "verified up to position {position}: streams {streams}, claims {claims}, root {root}"
        ))?;
    }
    out.flush()
}

fn hex(hash: &Hash) -> String {
    hash.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
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
