//! `aegis events export`: the log, or a stretch of it, in a file.

use std::path::PathBuf;

use base64::prelude::{BASE64_STANDARD, Engine};
use store::Position;
use store::checkpoint::{SignedHead, VerifierKey};

use crate::cli::failure::Failure;
use crate::cli::output::Output;
use crate::cli::progress::{Progress, per_second};
use crate::cli::session::Session;
use crate::export::lines::Format;
use crate::export::manifest::{Manifest, VERSION, encoded};
use crate::export::part::{Asked, Part, Plan};
use crate::export::write::write;
use crate::query::AsOf;

#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// The file; a manifest is written beside it. Run again after an interruption, it goes on where it was
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// One JSON object per line, which can be proved, or a table for spreadsheets
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// From this position on, or from the first event at or after this moment (RFC 3339)
    #[arg(long, value_name = "POSITION|TIME")]
    from: Option<AsOf>,
    /// Up to this position, or up to this moment; without it, up to the head
    #[arg(long, value_name = "POSITION|TIME")]
    to: Option<AsOf>,
    /// Only events of these types, between commas; what is left out cannot be proved then
    #[arg(long, value_name = "TYPES", value_delimiter = ',')]
    types: Vec<String>,
    /// Take the place of a file that is there
    #[arg(long)]
    force: bool,
    /// Print the manifest as one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(arguments: &Arguments, session: &Session, out: &mut Output) -> Result<(), Failure> {
    let plan = plan(arguments, session).await?;
    let mut part = Part::open(&arguments.out, plan, arguments.force).map_err(Failure::because)?;
    if part.position() >= part.plan().from {
        let (at, to) = (part.position(), part.plan().to);
        tracing::warn!(
            "going on from position {at} of {to}, as the log was when this export was begun; remove its `.part` to begin anew"
        );
    }
    let mut progress = Progress::new("events");
    let begun = part.count();
    let (first, last) = (part.plan().from, part.plan().to);
    let each = &mut |position| progress.at(position + 1 - first, last + 1 - first);
    let written = write(&session.node.store, &mut part, each).await;
    let took = progress.finish();
    written.map_err(Failure::because)?;
    let rate = per_second(part.count() - begun, took);
    let manifest = finish(part, session).await?;
    if arguments.json {
        out.json(&manifest)?;
    } else {
        let Manifest { count, from, to, .. } = &manifest;
        let file = arguments.out.display();
        out.line(&format!("{count} events of positions {from} to {to} are in {file} ({rate} per second)"))?;
        if !manifest.complete {
            out.line("it cannot be proved against a checkpoint: only a `jsonl` without `--types` can")?;
        }
    }
    out.flush()
}

/// Settles what is to be exported. The head is read once, so that its signature covers all of it.
async fn plan(arguments: &Arguments, session: &Session) -> Result<Plan, Failure> {
    let (store, history) = (&session.node.store, &session.node.history);
    let checkpoint = store.checkpoint().await?;
    let end = Position::new(signed_head(session, &checkpoint)?.size);
    let from = match arguments.from {
        None => 1,
        Some(AsOf::Position(position)) => position.get(),
        Some(AsOf::Time(time)) => store.last_before(time, Position::START, end).await?.next().get(),
    };
    let to = match arguments.to {
        None => end.get(),
        Some(to) => history.position_before(to, end).await.map_err(Failure::because)?.get(),
    };
    if from == 0 || from > to {
        return Err(Failure::Failed(format!(
            "there is nothing from position {from} to {to}: positions begin with 1"
        )));
    }
    let asked = Asked {
        log: store.signer().origin().to_owned(),
        format: arguments.format,
        from: arguments.from.map(|from| from.to_string()),
        to: arguments.to.map(|to| to.to_string()),
        types: arguments.types.clone(),
    };
    Ok(Plan { asked, from, to, checkpoint })
}

/// What a checkpoint of this log says.
fn signed_head(session: &Session, checkpoint: &str) -> Result<SignedHead, Failure> {
    let key: VerifierKey = session.node.store.signer().verifier_key().parse().map_err(Failure::because)?;
    key.open(checkpoint).map_err(|why| Failure::Found(format!("the head of the log {why}")))
}

async fn finish(part: Part, session: &Session) -> Result<Manifest, Failure> {
    let plan = part.plan();
    let (before, to) = (Position::new(plan.from).previous(), Position::new(plan.to));
    let head = signed_head(session, &plan.checkpoint)?;
    let proved = session.node.proofs.stretch(before, to, &head).await.map_err(Failure::because)?;
    let manifest = part.finish(|plan, count, sha256| Manifest {
        version: VERSION,
        log: plan.asked.log.clone(),
        format: plan.asked.format,
        from: plan.from,
        to: plan.to,
        types: plan.asked.types.clone(),
        count,
        complete: plan.asked.format == Format::Jsonl && plan.asked.types.is_empty(),
        sha256,
        root: BASE64_STANDARD.encode(proved.root),
        before: BASE64_STANDARD.encode(proved.before.to_bytes()),
        checkpoint: plan.checkpoint.clone(),
        consistency: encoded(&proved.consistency),
    });
    manifest.map_err(Failure::because)
}
