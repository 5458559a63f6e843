//! What an idle node costs a MongoDB.

use std::time::{Duration, Instant};

use aegis::config::DatabaseSettings;
use async_trait::async_trait;
use mongodb::Client;
use testkit::ServerCounts;
use tokio::time::sleep;

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::scratch::StoreKind;
use crate::service::Service;
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

const PROMISED: f64 = 5.0;
/// How often it is checked whether the time is over.
const STEP: Duration = Duration::from_millis(50);

pub(crate) static IDLE_COMMANDS: Benchmark = Benchmark {
    name: "idle_commands",
    unit: "commands/s",
    meaning: "commands that the server executes for a whole service without requests; the baseline is the promised 5",
    stores: &[StoreKind::Mongodb],
    target: |_| Target::RatioAtMost(1.0),
    prepare: |scratch, _| {
        Box::pin(async move {
            let database = scratch.database().await?;
            let DatabaseSettings::Mongo { url, .. } = database.settings() else {
                return Err(BenchError::invalid("only a MongoDB counts its commands"));
            };
            let server = Client::with_uri_str(url.expose()).await?;
            prepared(Idle { service: Service::start(&database).await?, server })
        })
    },
};

struct Idle {
    service: Service,
    server: Client,
}

#[async_trait]
impl Comparison for Idle {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let (before, begun) = (ServerCounts::read(&self.server).await?, Instant::now());
        while !slice.is_over() {
            sleep(STEP).await;
        }
        slice.check()?;
        let executed = ServerCounts::read(&self.server).await?.since(&before).total();
        let executed = f64::from(i32::try_from(executed).map_err(BenchError::invalid)?);
        Ok(Round { value: executed / begun.elapsed().as_secs_f64(), baseline: PROMISED })
    }

    async fn finish(self: Box<Self>) {
        self.service.stop().await;
    }
}
