//! The speed of an import of users, with their rows.

use std::time::Instant;

use async_trait::async_trait;
use projections::ProjectionHandle;

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::raw::{self, RawDriver};
use crate::registrations::{EventRange, Registrations};
use crate::scratch::StoreKind;
use crate::target::{Round, Target, per_second};
use crate::time_slice::TimeSlice;
use crate::users::{ImportLimit, ImportedUsers};

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
        let begun = Instant::now();
        let source = ImportedUsers::new(self.next, ImportLimit::Slice(slice.clone()));
        let imported = source.import(self.subject.users()).await?;
        let until = self.subject.whole_log().await?.until;
        self.subject.wait_until_visible(until).await?;
        let value = per_second(imported, begun.elapsed());
        self.next += imported;
        slice.check()?;
        Ok(Round { value, baseline: self.raw.batches(EventRange { after, until }, slice).await? })
    }

    async fn finish(self: Box<Self>) {
        self.projectors.stop().await;
        self.subject.close().await;
    }
}
