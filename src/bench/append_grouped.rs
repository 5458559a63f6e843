//! How many appends a second there are when many wait at once.

use async_trait::async_trait;

use super::figure::{Round, Target};
use super::ground::{Place, StoreKind};
use super::raw::{self, Raw};
use super::registrations::Registrations;
use super::rounds::Slice;
use super::{BenchError, Contest, Row};

/// How many registrations are under way at any time.
const IN_FLIGHT: usize = 512;

pub(super) struct AppendGrouped;

#[async_trait]
impl Row for AppendGrouped {
    fn name(&self) -> &'static str {
        "append_grouped"
    }

    fn unit(&self) -> &'static str {
        "appends/s"
    }

    fn meaning(&self) -> &'static str {
        "512 registrations under way at any time, passwords hashed before: how many the event store takes in. The \
         limit on mongodb is a bare insertMany of 1,000 of the same event documents at a time into a collection with \
         the same indexes; on sqlite bare inserts of the same rows (event, vault entry, claims), 1,000 registrations \
         a transaction"
    }

    fn target(&self, store: StoreKind) -> Target {
        match store {
            StoreKind::Mongodb => Target::RatioAtLeast(0.28),
            StoreKind::Sqlite => Target::ValueAtLeast(20_000.0),
        }
    }

    async fn prepare(&self, place: &Place, _: &Slice) -> Result<Box<dyn Contest>, BenchError> {
        let database = place.database().await?;
        let subject = Registrations::open(&database).await?;
        Ok(Box::new(Grouped { raw: raw::beside(&database).await?, subject }))
    }
}

struct Grouped {
    subject: Registrations,
    raw: Box<dyn Raw>,
}

#[async_trait]
impl Contest for Grouped {
    async fn round(&mut self, slice: &Slice) -> Result<Round, BenchError> {
        let (written, value) = self.subject.in_flight(IN_FLIGHT, slice).await?;
        let limit = self.raw.batches(written, slice).await?;
        Ok(Round { value, limit })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
