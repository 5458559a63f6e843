//! The latency of `GET /users/me` while its read model is rebuilt.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use domain::PasswordHash;

use super::rebuild::rebuild;
use super::users_me::users_me;
use crate::benchmark::{Benchmark, Comparison, Prepared, prepared};
use crate::error::BenchError;
use crate::load_generator::{Requests, latencies};
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::service::Service;
use crate::target::{Round, Target, p99_ms};
use crate::time_slice::TimeSlice;
use crate::users::PASSWORD_HASH;

/// Requests per second, whether earlier ones are answered or not: far less than the service can answer.
const RATE: u32 = 500;
/// Users whose tokens are used in turn.
const USERS: u64 = 1000;
/// Users whose rows are rebuilt; fewer if the time is too short to import them.
const REBUILT: u64 = 50_000;
/// How many of them are imported before the time is looked at.
const IMPORTED_TOGETHER: u64 = 2000;
/// What a rebuild may make of the usual latency.
const PROMISED_FACTOR: f64 = 5.0;
/// What is promised if that is less, in milliseconds.
const PROMISED_MS: f64 = 10.0;

pub(crate) static USERS_ME_DURING_REBUILD: Benchmark = Benchmark {
    name: "users_me_during_rebuild",
    unit: "ms",
    meaning: "GET /users/me, 500 a second at a fixed rate (open loop), while `users` is rebuilt from a log of 50,000 \
         users (fewer if SECONDS are too few to import them): the time from when each was due until its answer (p99); \
         the baseline is what is promised, five times the p99 of the same requests without a rebuild, or 10 ms if that \
         is more",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtMost(1.0),
    prepare: |scratch, slice| Box::pin(prepare(scratch, slice)),
};

struct DuringRebuild {
    service: Service,
    requests: Requests,
}

async fn prepare(scratch: &ScratchDatabases, slice: &TimeSlice) -> Prepared {
    let service = Service::start(&scratch.database().await?).await?;
    let users = service.register_users(USERS, &PasswordHash::from_stored(PASSWORD_HASH)).await?;
    let mut imported = 0;
    while imported == 0 || imported < REBUILT && !slice.is_over() {
        service.import_users(USERS + imported, IMPORTED_TOGETHER, slice).await?;
        imported += IMPORTED_TOGETHER;
    }
    let requests = users_me(service.tokens(users.iter().map(|user| (user.id, user.version)))?);
    prepared(DuringRebuild { service, requests })
}

#[async_trait]
impl Comparison for DuringRebuild {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let (address, usual_slice) = (self.service.address(), slice.clone());
        let usual = latencies(address, &self.requests, RATE, move || usual_slice.is_over()).await?;
        slice.check()?;
        let is_rebuilt = Arc::new(AtomicBool::new(false));
        let (rebuilt, ended) = (Arc::clone(&is_rebuilt), slice.clone());
        let is_done = move || rebuilt.load(Ordering::Relaxed) || ended.check().is_err();
        let rebuilding = async {
            let rebuilt = rebuild(&self.service.services()?.projection_context).await;
            is_rebuilt.store(true, Ordering::Relaxed);
            rebuilt
        };
        let (rebuilt, meanwhile) =
            tokio::join!(rebuilding, latencies(address, &self.requests, RATE, is_done));
        rebuilt?;
        let baseline = (p99_ms(usual) * PROMISED_FACTOR).max(PROMISED_MS);
        Ok(Round { value: p99_ms(meanwhile?), baseline })
    }

    async fn finish(self: Box<Self>) {
        self.service.stop().await;
    }
}
