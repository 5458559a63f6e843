//! How fast the event feed reaches many subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;
use tokio::sync::{oneshot, watch};

use crate::benchmark::{Benchmark, Comparison, Prepared, prepared};
use crate::error::BenchError;
use crate::event_stream::EventStream;
use crate::load_thread;
use crate::open_loop::at_fixed_rate;
use crate::scratch::{ScratchDatabases, StoreKind};
use crate::service::Service;
use crate::target::{Round, Target};
use crate::time_slice::TimeSlice;

/// Readers of the feed, each with a connection.
const SUBSCRIBERS: usize = 100;
/// Users whose tokens they use: one may open at most 100 streams on a node, and those of the last round may still end.
const USERS: u64 = 4;
/// The interval between registrations.
const ARRIVAL_INTERVAL: Duration = Duration::from_millis(1);
const PROMISED_PER_SECOND: f64 = 1000.0;

pub(crate) static SSE_SUBSCRIBERS: Benchmark = Benchmark {
    name: "sse_subscribers",
    unit: "events/s",
    meaning: "1,000 registrations a second at a fixed rate (open loop), with 100 subscribers of GET /events/stream, each \
         of whom has to receive every event once and in order: the events per second that the slowest has received, \
         from the first to the last; the baseline is the promised 1,000",
    stores: StoreKind::ALL,
    // Of a pace that is held, a round of a second measures up to a twentieth less if its last event is 50 ms late.
    target: |_| Target::RatioAtLeast(0.95),
    prepare: |scratch, _| Box::pin(prepare(scratch)),
};

struct Subscribers {
    service: Arc<Service>,
    tokens: Vec<String>,
    next_user: AtomicU64,
}

async fn prepare(scratch: &ScratchDatabases) -> Prepared {
    let service = Service::start(&scratch.database().await?).await?;
    let users = service.create_subscribers(0, USERS).await?;
    let tokens = service.tokens(users.iter().map(|user| (user.id, user.version)))?;
    prepared(Subscribers { service: Arc::new(service), tokens, next_user: AtomicU64::new(USERS) })
}

#[async_trait]
impl Comparison for Subscribers {
    async fn round(&mut self, slice: &TimeSlice) -> Result<Round, BenchError> {
        let after = self.service.services()?.store.head().await?.position.get();
        let (connected, are_connected) = oneshot::channel();
        let (last, last_position) = watch::channel(None);
        let (address, tokens) = (self.service.address(), self.tokens.clone());
        let receiving = load_thread::run(move || async move {
            let tokens = tokens.iter().cycle().take(SUBSCRIBERS);
            let open = tokens.map(|token| EventStream::open(address, token, after));
            let streams = try_join_all(open).await?;
            // The receiver is gone if the benchmark was interrupted.
            let _sent = connected.send(());
            let receive = |stream: EventStream| stream.receive_until(last_position.clone());
            try_join_all(streams.into_iter().map(receive)).await
        });
        let appending = async {
            are_connected.await.map_err(|_| BenchError::invalid("subscribers could not connect"))?;
            // As long a round as the connections leave.
            let positions = at_fixed_rate(ARRIVAL_INTERVAL, &slice.again(), || {
                Arc::clone(&self.service).register(self.next_user.fetch_add(1, Ordering::Relaxed))
            })
            .await;
            // Without one the subscribers end at once.
            let until = positions.as_ref().ok().and_then(|all| all.iter().max().copied());
            last.send_replace(Some(until.map_or(0, store::Position::get)));
            positions
        };
        let (positions, rates) = tokio::join!(appending, receiving);
        // Why the subscribers failed says more.
        let rates = rates?;
        positions?;
        let slowest = rates.into_iter().min_by(f64::total_cmp);
        let value = slowest.ok_or_else(|| BenchError::invalid("no subscriber"))?;
        Ok(Round { value, baseline: PROMISED_PER_SECOND })
    }

    async fn finish(self: Box<Self>) {
        if let Ok(service) = Arc::try_unwrap(self.service) {
            service.stop().await;
        }
    }
}
