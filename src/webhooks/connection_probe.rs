//! Detects whether a request went out on a new connection or on one of the pool, which the receiver may have
//! closed meanwhile. The HTTP client does not tell; but it connects within the task of the request.

use std::cell::Cell;
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use tower::{Layer, Service};

tokio::task_local! {
    static HAS_CONNECTED: Cell<bool>;
}

/// Awaits a request; also returns whether it went out on a new connection.
pub(super) async fn observe<T>(request: impl Future<Output = T>) -> (T, bool) {
    let observed = async { (request.await, HAS_CONNECTED.with(Cell::get)) };
    HAS_CONNECTED.scope(Cell::new(false), observed).await
}

/// Wraps the connector of a client whose requests are [observed](observe).
#[derive(Clone, Copy, Debug)]
pub(super) struct ConnectionProbe;

impl<S> Layer<S> for ConnectionProbe {
    type Service = ProbedConnector<S>;

    fn layer(&self, connector: S) -> ProbedConnector<S> {
        ProbedConnector(connector)
    }
}

#[derive(Clone, Debug)]
pub(super) struct ProbedConnector<S>(S);

impl<S, R> Service<R> for ProbedConnector<S>
where
    S: Service<R>,
    S::Future: Send + 'static,
    S::Response: 'static,
    S::Error: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<S::Response, S::Error>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let connecting = self.0.call(request);
        Box::pin(async move {
            let connected = connecting.await;
            if connected.is_ok() {
                // A connection that a request did not wait for is completed in another task, for the pool.
                let _is_observed = HAS_CONNECTED.try_with(|has_connected| has_connected.set(true));
            }
            connected
        })
    }
}
