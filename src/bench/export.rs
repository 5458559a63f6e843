//! How fast a log gets into a file.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use async_trait::async_trait;

use super::figure::{Round, Target};
use super::ground::{Place, StoreKind};
use super::raw::{self, Raw};
use super::registrations::{Registrations, Written};
use super::rounds::Slice;
use super::{BenchError, Contest, Row};
use crate::export::lines::Format;
use crate::export::part::{Asked, Part, Plan};
use crate::export::write::write;

/// How many events there are.
const EVENTS: u64 = 50_000;

pub(super) struct Export;

#[async_trait]
impl Row for Export {
    fn name(&self) -> &'static str {
        "export"
    }

    fn unit(&self) -> &'static str {
        "events/s"
    }

    fn meaning(&self) -> &'static str {
        "`events export` of a log of 50,000 registrations (fewer where SECONDS are too few to make them), unsealed and \
         rendered into a file that is on the disk in the end; the limit is the bare driver, reading the same events and \
         doing nothing with them"
    }

    fn target(&self, _: StoreKind) -> Target {
        Target::ValueAtLeast(50_000.0)
    }

    async fn prepare(&self, place: &Place, slice: &Slice) -> Result<Box<dyn Contest>, BenchError> {
        let database = place.database().await?;
        let subject = Registrations::open(&database).await?;
        subject.fill(EVENTS, slice).await?;
        let written = subject.all().await?;
        let (file, raw) = (place.file(), raw::beside(&database).await?);
        Ok(Box::new(Exporting { subject, raw, written, file }))
    }
}

struct Exporting {
    subject: Registrations,
    raw: Box<dyn Raw>,
    written: Written,
    file: PathBuf,
}

#[async_trait]
impl Contest for Exporting {
    async fn round(&mut self, slice: &Slice) -> Result<Round, BenchError> {
        slice.check()?;
        let begun = Instant::now();
        let void = |error: &dyn std::fmt::Display| BenchError::Void(error.to_string());
        let mut part = Part::open(&self.file, self.plan(), true).map_err(|error| void(&error))?;
        let store = &self.subject.sources().events;
        write(store, &mut part, &mut |_| {}).await.map_err(|error| void(&error))?;
        let written = part.noted().map_err(|error| void(&error))?;
        let took = begun.elapsed().as_secs_f64();
        if written != self.written.events() {
            return Err(BenchError::Void(format!("{written} events were exported")));
        }
        let part = fs::remove_file(Part::path(&self.file));
        part.map_err(BenchError::io("removing an export"))?;
        let events = u32::try_from(self.written.events()).unwrap_or(u32::MAX);
        let limit = self.raw.read(self.written, slice).await?;
        Ok(Round { value: f64::from(events) / took, limit })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}

impl Exporting {
    fn plan(&self) -> Plan {
        let asked =
            Asked { log: String::new(), format: Format::Jsonl, from: None, to: None, types: Vec::new() };
        Plan { asked, from: 1, to: self.written.until.get(), checkpoint: String::new() }
    }
}
