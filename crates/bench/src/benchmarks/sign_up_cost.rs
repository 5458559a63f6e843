//! What a lone sign-up costs a MongoDB, as the server counts it: numbers that do not depend on how busy the
//! machine is.

use aegis::config::DatabaseSettings;
use async_trait::async_trait;
use mongodb::Client;
use projections::ProjectionHandle;
use testkit::ServerCounts;

use crate::benchmark::{Benchmark, Comparison, Prepared, prepared};
use crate::error::BenchError;
use crate::registrations::Registrations;
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

const PROMISED_COMMANDS: f64 = 14.0;
const PROMISED_TRANSACTIONS: f64 = 2.0;

pub(crate) static SIGN_UP_COMMANDS: Benchmark = Benchmark {
    name: "sign_up_commands",
    unit: "commands",
    meaning: "one registration after the other, each awaited until it is in the rows of `users`: commands that the \
         server has executed per registration, those of idle projectors included; the baseline is the promised 14",
    stores: &[StoreKind::Mongodb],
    target: |_| Target::RatioAtMost(1.0),
    prepare: |scratch, _| Box::pin(prepare(scratch, ServerCounts::total, PROMISED_COMMANDS)),
};

pub(crate) static SIGN_UP_TRANSACTIONS: Benchmark = Benchmark {
    name: "sign_up_transactions",
    unit: "transactions",
    meaning: "the same registrations: transactions that the server has committed per registration; the baseline is \
         the promised 2",
    stores: &[StoreKind::Mongodb],
    target: |_| Target::RatioAtMost(1.0),
    prepare: |scratch, _| Box::pin(prepare(scratch, |counts| counts.transactions, PROMISED_TRANSACTIONS)),
};

type Counter = fn(&ServerCounts) -> i64;

struct SignUpCost {
    subject: Registrations,
    projectors: ProjectionHandle,
    server: Client,
    counter: Counter,
    promised: f64,
}

async fn prepare(scratch: &ScratchDatabases, counter: Counter, promised: f64) -> Prepared {
    let database = scratch.database().await?;
    let DatabaseSettings::Mongo { url, .. } = database.settings() else {
        return Err(BenchError::InvalidMeasurement("only a MongoDB counts its commands".to_owned()));
    };
    let server = Client::with_uri_str(url.expose()).await?;
    let subject = Registrations::open(&database).await?;
    let projectors = subject.start_projectors().await?;
    prepared(SignUpCost { subject, projectors, server, counter, promised })
}

#[async_trait]
impl Comparison for SignUpCost {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let before = self.count().await?;
        let mut registrations = 0_u32;
        while registrations == 0 || !slice.is_over() {
            let position = self.subject.register_one().await?;
            self.subject.wait_until_visible(position).await?;
            registrations += 1;
        }
        slice.check()?;
        let counted = i32::try_from(self.count().await? - before).map_err(BenchError::invalid)?;
        Ok(Round { value: f64::from(counted) / f64::from(registrations), baseline: self.promised })
    }

    async fn finish(self: Box<Self>) {
        self.projectors.stop().await;
        self.subject.close().await;
    }
}

impl SignUpCost {
    async fn count(&self) -> Result<i64, BenchError> {
        Ok((self.counter)(&ServerCounts::read(&self.server).await?))
    }
}
