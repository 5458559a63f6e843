//! The throughput of an export.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use aegis::export::format::ExportFormat;
use aegis::export::partial::{ExportPlan, ExportRequest, PartialExport};
use aegis::export::writer::write_export;
use async_trait::async_trait;

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::raw::{self, RawDriver};
use crate::registrations::{EventRange, Registrations};
use crate::scratch::StoreKind;
use crate::target::{Round, Target, per_second};
use crate::time_slice::TimeSlice;

pub(crate) static EXPORT: Benchmark = Benchmark {
    name: "export",
    unit: "events/s",
    meaning: "`events export` of a log of 50,000 registrations (fewer if SECONDS are too few to create them), \
         decrypted and rendered into a file that is synced to disk; the baseline is the bare driver, which \
         reads the same events and discards them",
    stores: StoreKind::ALL,
    target: |_| Target::ValueAtLeast(50_000.0),
    prepare: |scratch, slice| {
        Box::pin(async move {
            let (database, subject) = Registrations::filled(scratch, slice).await?;
            let written = subject.whole_log().await?;
            let (file, raw) = (scratch.file(), raw::open(&database).await?);
            prepared(Exporting { subject, raw, written, file })
        })
    },
};

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
        let mut part = PartialExport::open(&self.file, self.plan(), true).map_err(BenchError::invalid)?;
        let store = &self.subject.sources().events;
        write_export(store, &mut part, &mut |_| {}).await.map_err(BenchError::invalid)?;
        let written = part.save_and_close().map_err(BenchError::invalid)?;
        let took = begun.elapsed();
        if written != self.written.events() {
            return Err(BenchError::InvalidMeasurement(format!("{written} events were exported")));
        }
        let part = fs::remove_file(PartialExport::path(&self.file));
        part.map_err(BenchError::io("removing an export"))?;
        let baseline = self.raw.read(self.written, slice).await?;
        Ok(Round { value: per_second(self.written.events(), took), baseline })
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
