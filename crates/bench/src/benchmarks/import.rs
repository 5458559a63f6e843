//! The speed of an import of users, with their rows.

use std::time::Instant;

use aegis::command::CommandContext;
use aegis::import::{
    ImportError, ImportListener, ImportMode, ImportSummary, Notice, RecordOrigin, RecordSource, SourceRecord,
    import,
};
use async_trait::async_trait;
use projections::ProjectionHandle;
use serde_json::{Map, Value, json};
use store::Env;

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::raw::{self, RawDriver};
use crate::registrations::{EventRange, PASSWORD_HASH, Registrations};
use crate::scratch::StoreKind;
use crate::target::{Round, Target, per_second};
use crate::time_slice::TimeSlice;

pub(crate) static IMPORT: Benchmark = Benchmark {
    name: "import",
    unit: "users/s",
    meaning: "users with ready hashes are imported until SECONDS are over: users per second, until the last one \
         is in the rows of `users`; the baseline is that of `append_grouped`",
    stores: StoreKind::ALL,
    target: |store| match store {
        StoreKind::Mongodb => Target::ValueAtLeast(8000.0),
        StoreKind::Sqlite => Target::ValueAtLeast(15_000.0),
    },
    prepare: |scratch, _| {
        Box::pin(async move {
            let database = scratch.database().await?;
            let subject = Registrations::open(&database).await?;
            let raw = raw::open(&database).await?;
            let projectors = subject.start_projectors().await?;
            prepared(Importing { subject, raw, projectors, next: 0 })
        })
    },
};

struct Importing {
    subject: Registrations,
    raw: Box<dyn RawDriver>,
    projectors: ProjectionHandle,
    /// The number of the next user.
    next: u64,
}

#[async_trait]
impl Comparison for Importing {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let after = self.subject.whole_log().await?.until;
        let mut source = Generated { first: self.next, next: self.next, slice: slice.clone() };
        let begun = Instant::now();
        let context = CommandContext::new("import".to_owned(), "bench");
        let (mode, env) = (ImportMode::default(), Env::system());
        let summary = import(&mut source, mode, self.subject.users(), &context, &env, &mut AllImported)
            .await
            .map_err(BenchError::invalid)?;
        let until = self.subject.whole_log().await?.until;
        self.subject.wait_until_visible(until).await?;
        let value = per_second(summary.imported, begun.elapsed());
        if summary.imported != source.next - self.next {
            return Err(BenchError::invalid(format!("not all users were imported: {summary:?}")));
        }
        self.next = source.next;
        slice.check()?;
        Ok(Round { value, baseline: self.raw.batches(EventRange { after, until }, slice).await? })
    }

    async fn finish(self: Box<Self>) {
        self.projectors.stop().await;
        self.subject.close().await;
    }
}

/// New users until the slice is over; at least one batch.
struct Generated {
    first: u64,
    next: u64,
    slice: TimeSlice,
}

#[async_trait]
impl RecordSource for Generated {
    async fn next_batch(&mut self, limit: usize) -> Result<Vec<SourceRecord>, ImportError> {
        if self.next > self.first && self.slice.is_over() {
            return Ok(Vec::new());
        }
        let first = self.next;
        self.next += u64::try_from(limit).unwrap_or_default();
        Ok((first..self.next).map(record).collect())
    }
}

fn record(number: u64) -> SourceRecord {
    let fields = [
        ("email", json!(format!("user-{number}@example.com"))),
        ("username", json!(format!("User {number}"))),
        ("password_hash", json!(PASSWORD_HASH)),
        ("created_at", json!("2024-05-01T12:00:00Z")),
    ];
    let fields: Map<String, Value> =
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    SourceRecord { origin: RecordOrigin::Line(number + 1), fields: Ok(fields) }
}

/// Fails on the first notice: all users are valid and new.
struct AllImported;

impl ImportListener for AllImported {
    fn notice(&mut self, notice: &Notice) -> std::io::Result<()> {
        Err(std::io::Error::other(notice.detail()))
    }

    fn progress(&mut self, _: &ImportSummary) -> std::io::Result<()> {
        Ok(())
    }
}
