//! How long one append takes while nobody else appends.

use async_trait::async_trait;

use super::figure::{Round, Target, median};
use super::ground::{Place, StoreKind};
use super::raw::{self, Raw};
use super::registrations::Registrations;
use super::rounds::Slice;
use super::{BenchError, Contest, Row};

pub(super) struct AppendAlone;

#[async_trait]
impl Row for AppendAlone {
    fn name(&self) -> &'static str {
        "append_alone"
    }

    fn unit(&self) -> &'static str {
        "ms"
    }

    fn meaning(&self) -> &'static str {
        "one registration after the other: how long the event store takes for each; the limit is a bare transaction \
         that writes the same documents (head, vault entry, event)"
    }

    fn target(&self, _: StoreKind) -> Target {
        Target::RatioAtMost(1.5)
    }

    async fn prepare(&self, place: &Place, _: &Slice) -> Result<Box<dyn Contest>, BenchError> {
        let database = place.database().await?;
        let subject = Registrations::open(&database).await?;
        Ok(Box::new(Alone { raw: raw::beside(&database).await?, subject }))
    }
}

struct Alone {
    subject: Registrations,
    raw: Box<dyn Raw>,
}

#[async_trait]
impl Contest for Alone {
    async fn round(&mut self, slice: &Slice) -> Result<Round, BenchError> {
        let (written, took) = self.subject.one_by_one(slice).await?;
        let bare = self.raw.transactions(written, slice).await?;
        let middle = |took: Vec<std::time::Duration>| {
            let milliseconds = took.iter().map(|took| took.as_secs_f64() * 1000.0).collect();
            median(milliseconds).ok_or_else(|| BenchError::Void("not a single append".to_owned()))
        };
        Ok(Round { value: middle(took)?, limit: middle(bare)? })
    }

    async fn finish(self: Box<Self>) {
        self.subject.close().await;
    }
}
