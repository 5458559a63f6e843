//! `aegis serve`: the service, from the settings to its last answer.

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

use super::error::CliError;
use super::logging;
use super::output::Output;
use super::signals::Signals;
use crate::app::{App, ProjectionMode};
use crate::config::{ConfigSources, Loaded, load};
use crate::http;

/// When requests are cut off once the service was told to end. The server does that itself after
/// [`http::DRAIN_TIMEOUT`]; this is for one that does not.
const REQUEST_DRAIN_TIMEOUT: Duration = Duration::from_millis(7_500);
/// When writes that were handed over are no longer waited for: orchestrators kill after ten seconds.
const WRITE_DRAIN_TIMEOUT: Duration = Duration::from_millis(8_500);

type Serving = JoinHandle<std::io::Result<()>>;

pub(super) async fn run(sources: &ConfigSources, out: &mut Output) -> Result<(), CliError> {
    let env = Env::system();
    let Loaded { settings, warnings } = load::for_service(sources, &env)?;
    logging::start(&settings.log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut signals = Signals::listen()?;
    let listener = bind(&settings.http.listen).await?;
    let address = listener.local_addr()?;
    let app = Arc::new(App::new(settings, env).map_err(CliError::because)?);
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    print(out, &banner::startup_message(address));

    let stop = CancellationToken::new();
    let mut serving: Serving = tokio::spawn(http::serve(listener, Arc::clone(&app), stop.clone()));
    let outcome = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "ending: requests that have begun are finished, no more are taken");
            Ok(())
        }
        failure = open(&app, address, out) => Err(failure),
        ended = &mut serving => return Err(CliError::Failed(format!("the server has ended by itself: {ended:?}"))),
    };
    stop.cancel();
    tokio::select! {
        () = drain(&app, serving) => {}
        signal = signals.next() => tracing::warn!(signal, "ending at once"),
    }
    tracing::info!("ended");
    outcome
}

/// Listens before anything else is tried: a service that waits for its database answers `/health` meanwhile.
async fn bind(listen: &str) -> Result<TcpListener, CliError> {
    TcpListener::bind(listen).await.map_err(|error| {
        CliError::Failed(format!(
            "cannot listen on {listen}: {error}. Set AEGIS_LISTEN to another address or port"
        ))
    })
}

/// Opens the database, for as long as that takes; ends only with what trying again cannot mend.
async fn open(app: &App, address: SocketAddr, out: &mut Output) -> CliError {
    match try_open(app, address, out).await {
        Ok(()) => std::future::pending().await,
        Err(failure) => failure,
    }
}

async fn try_open(app: &App, address: SocketAddr, out: &mut Output) -> Result<(), CliError> {
    let services = app.connect(ProjectionMode::Enabled).await?;
    let first_start = services.store.head().await.is_ok_and(|head| head.position == Position::START);
    // Before anything is served: whoever waits until the service is ready can log in as the administrator.
    administrator::ensure(app, &services).await?;
    let services = app.publish(services);
    tracing::info!(log = %services.store.log_id(), "ready");
    if first_start {
        let settings = &app.settings;
        print(out, &banner::quick_start(address, &settings.http.api_prefix, settings.passwords.min_length));
    }
    Ok(())
}

/// Prints for whoever started the service by hand. A service goes on without anybody reading.
fn print(out: &mut Output, text: &str) {
    drop(out.line(text).and_then(|()| out.flush()));
}

/// Lets what has begun end well, within the time there is.
async fn drain(app: &App, mut serving: Serving) {
    let begun = Instant::now();
    match timeout_at(begun + REQUEST_DRAIN_TIMEOUT, &mut serving).await {
        Ok(Ok(Ok(()))) => {}
        Ok(ended) => tracing::warn!(?ended, "the server did not end well"),
        Err(_) => {
            tracing::warn!("requests were still going on after {REQUEST_DRAIN_TIMEOUT:?}: they are cut off")
        }
    }
    serving.abort();
    if timeout_at(begun + WRITE_DRAIN_TIMEOUT, app.close()).await.is_err() {
        tracing::warn!("writes were still under way: they may or may not have happened");
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
