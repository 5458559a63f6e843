//! How fast webhooks are delivered while most of them have nothing to deliver.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use aegis::command::{CommandContext, NewWebhook};
use async_trait::async_trait;
use domain::{UserEvent, UserId, WebhookUrl};
use futures::future::try_join_all;
use tokio::time::Instant;

use crate::benchmark::{Benchmark, Comparison, prepared};
use crate::error::BenchError;
use crate::open_loop::at_fixed_rate;
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::service::Service;
use crate::target::{Round, Target, p99_ms, per_second};
use crate::time_slice::TimeSlice;
use crate::webhook_receiver::{Delivery, WebhookReceiver};

/// Owners of webhooks, each with as many.
const OWNERS: u64 = 20;
const WEBHOOKS_PER_OWNER: usize = 50;
/// Of these 1,000, one webhook of every other owner subscribes to registrations: 1 % match each event.
const MATCHING: usize = 10;
/// The interval between registrations.
const ARRIVAL_INTERVAL: Duration = Duration::from_millis(20);
/// Registrations in progress where the throughput is measured.
const REGISTERED_TOGETHER: u64 = 25;
const PROMISED_EVENTS_PER_SECOND: f64 = 50.0;
const PROMISED_DELAY_MS: f64 = 1000.0;
/// Generous: the delay is reported, however long.
const DELIVERY_TIMEOUT: Duration = Duration::from_mins(1);

pub(crate) static WEBHOOK_DELAY: Benchmark = Benchmark {
    name: "webhook_delay",
    unit: "ms",
    meaning: "1,000 webhooks, of which 1 % match each event, and 50 registrations a second at a fixed rate (open loop): \
         the time from the acknowledged commit until an endpoint has received the event (p99); the baseline is the \
         promised second",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtMost(1.0),
    prepare: |scratch, slice| {
        Box::pin(async move { prepared(Delays(Delivering::prepare(scratch, slice).await?)) })
    },
};

pub(crate) static WEBHOOK_PACE: Benchmark = Benchmark {
    name: "webhook_pace",
    unit: "events/s",
    meaning: "the same webhooks, and 25 concurrent registrations, the next 25 once all are delivered (closed loop): \
         events per second that have reached all matching endpoints; the baseline is the promised 50",
    stores: StoreKind::ALL,
    target: |_| Target::RatioAtLeast(1.0),
    prepare: |scratch, slice| {
        Box::pin(async move { prepared(Throughput(Delivering::prepare(scratch, slice).await?)) })
    },
};

struct Delivering {
    service: Arc<Service>,
    receiver: WebhookReceiver,
    next_user: AtomicU64,
}

struct Delays(Delivering);

struct Throughput(Delivering);

impl Delivering {
    async fn prepare(scratch: &ScratchDatabases, slice: &TimeSlice) -> Result<Self, BenchError> {
        let service = Service::start(&scratch.database().await?).await?;
        let receiver = WebhookReceiver::start().await?;
        let owners = service.create_subscribers(0, OWNERS).await?;
        let after = service.services()?.store.head().await?.position.get();
        let url = WebhookUrl::parse(&receiver.url()).map_err(BenchError::invalid)?;
        let owned = owners.iter().enumerate().map(|(number, owner)| {
            let first = number * WEBHOOKS_PER_OWNER;
            register_webhooks(&service, owner.id, first, url.clone(), after, slice)
        });
        try_join_all(owned).await?;
        Ok(Self { service: Arc::new(service), receiver, next_user: AtomicU64::new(OWNERS) })
    }

    /// Registers the next user; returns the position of the event, and when it was committed.
    fn register(&self) -> impl Future<Output = Result<(u64, Instant), BenchError>> + Send + use<> {
        let number = self.next_user.fetch_add(1, Ordering::Relaxed);
        let registering = Arc::clone(&self.service).register(number);
        async move { Ok((registering.await?.get(), Instant::now())) }
    }

    /// Waits until all matching endpoints have received these events, each once; returns the times since the commits.
    async fn delivered(
        &mut self,
        committed: Vec<(u64, Instant)>,
        slice: &TimeSlice,
    ) -> Result<Vec<Duration>, BenchError> {
        let expected = committed.len() * MATCHING;
        let mut missing: HashMap<_, _> =
            committed.into_iter().map(|(position, at)| (position, (at, MATCHING))).collect();
        let mut delays = Vec::with_capacity(expected);
        while delays.len() < expected {
            slice.check()?;
            let Delivery { position, at } = self.receiver.next(DELIVERY_TIMEOUT).await?;
            let Some((committed_at, count @ 1..)) = missing.get_mut(&position) else {
                return Err(BenchError::invalid(format!("unexpected delivery of event {position}")));
            };
            *count -= 1;
            delays.push(at.saturating_duration_since(*committed_at));
        }
        Ok(delays)
    }

    async fn stop(self) {
        if let Ok(service) = Arc::try_unwrap(self.service) {
            service.stop().await;
        }
    }
}

/// One after the other: each takes a slot of the owner, so concurrent ones would conflict.
async fn register_webhooks(
    service: &Service,
    owner: UserId,
    first: usize,
    url: WebhookUrl,
    after: u64,
    slice: &TimeSlice,
) -> Result<(), BenchError> {
    for number in first..first + WEBHOOKS_PER_OWNER {
        slice.check()?;
        let is_matching = number % (2 * WEBHOOKS_PER_OWNER) == 0;
        let event_type = if is_matching { UserEvent::REGISTERED_TYPE } else { UserEvent::UNLOCKED_TYPE };
        let types = vec![event_type.to_owned()];
        let new = NewWebhook { owner, url: url.clone(), types, description: None, after, batch: None };
        let context = CommandContext::new("operator:bench", "bench");
        service.services()?.webhooks.register(&context, new).await?;
    }
    Ok(())
}

#[async_trait]
impl Comparison for Delays {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let committed = at_fixed_rate(ARRIVAL_INTERVAL, slice, || self.0.register()).await?;
        let delays = self.0.delivered(committed, slice).await?;
        Ok(Round { value: p99_ms(delays), baseline: PROMISED_DELAY_MS })
    }

    async fn finish(self: Box<Self>) {
        self.0.stop().await;
    }
}

#[async_trait]
impl Comparison for Throughput {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let (begun, mut events) = (Instant::now(), 0);
        while events == 0 || !slice.is_over() {
            let committed = try_join_all((0..REGISTERED_TOGETHER).map(|_| self.0.register())).await?;
            self.0.delivered(committed, slice).await?;
            events += REGISTERED_TOGETHER;
        }
        Ok(Round { value: per_second(events, begun.elapsed()), baseline: PROMISED_EVENTS_PER_SECOND })
    }

    async fn finish(self: Box<Self>) {
        self.0.stop().await;
    }
}
