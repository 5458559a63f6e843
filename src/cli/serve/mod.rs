//! `aegis serve`: runs the service from startup to graceful shutdown.

mod administrator;
mod banner;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use store::{Env, Position};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::error::{CliError, CliResult};
use super::output::Output;
use super::process::{Signals, forbid_core_dumps, raise_file_limit, start_logging};
use crate::app::{App, ProjectionMode};
use crate::config::{ConfigSources, Loaded, load};
use crate::http::{self, Listeners};

/// How long after the first signal requests may run. The server itself stops after [`http::DRAIN_TIMEOUT`];
/// this bounds a server that does not.
const REQUEST_DRAIN_TIMEOUT: Duration = Duration::from_millis(7_500);
/// How long after the first signal pending writes may run: orchestrators kill after ten seconds.
const WRITE_DRAIN_TIMEOUT: Duration = Duration::from_millis(8_500);

/// Open files beside those of HTTP connections: the database, webhooks, logs.
const RESERVED_FILES: usize = 256;
const MIN_CONNECTIONS: usize = 16;

type Serving = JoinHandle<std::io::Result<()>>;

pub(super) async fn run(sources: &ConfigSources, out: &mut Output) -> CliResult {
    let env = Env::system();
    let core_dumps = forbid_core_dumps();
    let Loaded { mut settings, warnings } = load::for_service(sources, &env)?;
    start_logging(&settings.log);
    for warning in warnings.into_iter().chain(core_dumps) {
        tracing::warn!("{warning}");
    }
    let mut signals = Signals::listen()?;
    settings.http.max_connections = allowed_connections(settings.http.max_connections);
    let listeners = Listeners {
        api: bind(&settings.http.listen).await?,
        metrics: match &settings.http.metrics_listen {
            Some(address) => Some(bind(address).await?),
            None => None,
        },
    };
    let address = listeners.api.local_addr()?;
    let app = Arc::new(App::new(settings, env)?);
    if let Some(metrics) = &listeners.metrics {
        tracing::info!(address = %metrics.local_addr()?, "serving metrics");
    }
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    let stop = CancellationToken::new();
    let mut serving: Serving = tokio::spawn(http::serve(listeners, Arc::clone(&app), stop.clone()));
    let result = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "shutting down: draining requests");
            Ok(())
        }
        error = open(&app, address, out) => Err(error),
        result = &mut serving => return Err(CliError::ServerExited(format!("{result:?}"))),
    };
    stop.cancel();
    tokio::select! {
        () = drain(&app, serving) => {}
        signal = signals.next() => tracing::warn!(signal, "second signal: shutting down immediately"),
    }
    tracing::info!("shut down");
    result
}

/// The connections that the limit of open files leaves room for.
fn allowed_connections(configured: usize) -> usize {
    let Some(files) = raise_file_limit() else { return configured };
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    let allowed = files.saturating_sub(RESERVED_FILES).max(MIN_CONNECTIONS);
    if allowed < configured {
        tracing::info!(
            "at most {allowed} HTTP connections are served instead of {configured}: the limit of open files \
             is {files}, of which {RESERVED_FILES} are reserved; raise it (ulimit -n, LimitNOFILE)"
        );
    }
    allowed.min(configured)
}

/// Called before the database is opened, so that `/health` is answered while the service waits for the
/// database.
async fn bind(listen: &str) -> Result<TcpListener, CliError> {
    let bound = TcpListener::bind(listen).await;
    bound.map_err(|error| CliError::Listen { address: listen.to_owned(), error })
}

/// Opens the database, retrying as long as necessary. Returns only on an error that a retry cannot resolve.
async fn open(app: &App, address: SocketAddr, out: &mut Output) -> CliError {
    match try_open(app, address, out).await {
        Ok(()) => std::future::pending().await,
        Err(error) => error,
    }
}

async fn try_open(app: &App, address: SocketAddr, out: &mut Output) -> CliResult {
    let services = app.connect(ProjectionMode::Enabled).await?;
    let first_start = services.store.head().await.is_ok_and(|head| head.position == Position::START);
    // Before the service becomes ready, so that the administrator can log in as soon as it is.
    administrator::ensure(app, &services).await?;
    let services = app.publish(services);
    tracing::info!(log = %services.store.log_id(), "ready");
    print(out, &banner::startup_message(address));
    if first_start {
        let settings = &app.settings;
        print(out, &banner::quick_start(address, &settings.http.api_prefix, settings.passwords.min_length));
    }
    Ok(())
}

/// Prints for an interactive user. The service runs on if stdout is closed.
fn print(out: &mut Output, text: &str) {
    drop(out.line(text).and_then(|()| out.flush()));
}

/// Waits for running requests and pending writes, within the shutdown timeouts.
async fn drain(app: &App, mut serving: Serving) {
    let start = Instant::now();
    match timeout_at(start + REQUEST_DRAIN_TIMEOUT, &mut serving).await {
        Ok(Ok(Ok(()))) => {}
        Ok(result) => tracing::warn!(?result, "the HTTP server failed during shutdown"),
        Err(_) => {
            tracing::warn!(
                "requests still running after {REQUEST_DRAIN_TIMEOUT:?}: closing their connections"
            );
        }
    }
    serving.abort();
    if timeout_at(start + WRITE_DRAIN_TIMEOUT, app.close()).await.is_err() {
        tracing::warn!("writes still pending at shutdown: their outcome is unknown");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shutdown_fits_into_ten_seconds() {
        assert!(http::DRAIN_TIMEOUT < REQUEST_DRAIN_TIMEOUT && REQUEST_DRAIN_TIMEOUT < WRITE_DRAIN_TIMEOUT);
        assert!(WRITE_DRAIN_TIMEOUT < Duration::from_secs(10), "{WRITE_DRAIN_TIMEOUT:?}");
    }
}
