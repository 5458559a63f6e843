//! The throughput of an export.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use aegis::export::format::ExportFormat;
use aegis::export::partial::{ExportPlan, ExportRequest, PartialExport};
use aegis::export::writer::write_export;
use async_trait::async_trait;

use crate::benchmark::{Benchmark, Comparison};
use crate::error::BenchError;
use crate::raw::{self, RawDriver};
use crate::registrations::{EventRange, Registrations};
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

/// The number of events in the log.
const LOG_SIZE: u64 = 50_000;

pub(crate) struct Export;

#[async_trait]
impl Benchmark for Export {
    fn name(&self) -> &'static str {
        "export"
    }

    fn unit(&self) -> &'static str {
        "events/s"
    }

    fn meaning(&self) -> &'static str {
        "`events export` of a log of 50,000 registrations (fewer if SECONDS are too few to create them), \
         decrypted and rendered into a file that is synced to disk; the baseline is the bare driver, which \
         reads the same events and discards them"
    }

    fn target(&self, _: StoreKind) -> Target {
        Target::ValueAtLeast(50_000.0)
    }

    async fn prepare(
        &self,
        scratch: &ScratchDatabases,
        slice: &TimeSlice,
    ) -> Result<Box<dyn Comparison>, BenchError> {
        let database = scratch.database().await?;
        let subject = Registrations::open(&database).await?;
        subject.fill(LOG_SIZE, slice).await?;
        let written = subject.whole_log().await?;
        let (file, raw) = (scratch.file(), raw::open(&database).await?);
        Ok(Box::new(Exporting { subject, raw, written, file }))
    }
}

struct Exporting {
    subject: Registrations,
    raw: Box<dyn RawDriver>,
    written: EventRange,
    file: PathBuf,
}

#[async_trait]
impl Comparison for Exporting {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        slice.check()?;
        let begun = Instant::now();
        let void = |error: &dyn std::fmt::Display| BenchError::InvalidMeasurement(error.to_string());
        let mut part = PartialExport::open(&self.file, self.plan(), true).map_err(|error| void(&error))?;
        let store = &self.subject.sources().events;
        write_export(store, &mut part, &mut |_| {}).await.map_err(|error| void(&error))?;
        let written = part.save_and_close().map_err(|error| void(&error))?;
        let took = begun.elapsed().as_secs_f64();
        if written != self.written.events() {
            return Err(BenchError::InvalidMeasurement(format!("{written} events were exported")));
        }
        let part = fs::remove_file(PartialExport::path(&self.file));
        part.map_err(BenchError::io("removing an export"))?;
        let events = u32::try_from(self.written.events()).unwrap_or(u32::MAX);
        let baseline = self.raw.read(self.written, slice).await?;
        Ok(Round { value: f64::from(events) / took, baseline })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}

impl Exporting {
    fn plan(&self) -> ExportPlan {
        let asked = ExportRequest {
            log: String::new(),
            format: ExportFormat::Jsonl,
            from: None,
            to: None,
            types: Vec::new(),
        };
        ExportPlan { request: asked, from: 1, to: self.written.until.get(), checkpoint: String::new() }
    }
}
