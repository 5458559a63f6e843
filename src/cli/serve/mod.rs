//! `aegis serve`: the service, from the settings to its last answer.

mod administrator;
mod banner;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use store::{Ambient, Position};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

use super::failure::Failure;
use super::logging;
use super::output::Output;
use super::signals::Signals;
use crate::app::{App, Projecting};
use crate::config::{Loaded, Sources, load};
use crate::http;

/// When requests are cut off once the service was told to end. The server does that itself after
/// [`http::DRAIN_BOUND`]; this is for one that does not.
const LAST_REQUESTS: Duration = Duration::from_millis(7_500);
/// When writes that were handed over are no longer waited for: orchestrators kill after ten seconds.
const LAST_WRITES: Duration = Duration::from_millis(8_500);

type Serving = JoinHandle<std::io::Result<()>>;

pub(super) async fn run(sources: &Sources, out: &mut Output) -> Result<(), Failure> {
    let ambient = Ambient::system();
    let Loaded { settings, warnings } = load::for_service(sources, &ambient)?;
    logging::start(&settings.log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    let mut signals = Signals::listen()?;
    let listener = bind(&settings.http.listen).await?;
    let address = listener.local_addr()?;
    let app = Arc::new(App::new(settings, ambient).map_err(Failure::because)?);
    tracing::info!(%address, version = env!("CARGO_PKG_VERSION"), "listening");
    say(out, &banner::greeting(address));

    let stop = CancellationToken::new();
    let mut serving: Serving = tokio::spawn(http::serve(listener, Arc::clone(&app), stop.clone()));
    let outcome = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "ending: requests that have begun are finished, no more are taken");
            Ok(())
        }
        failure = open(&app, address, out) => Err(failure),
        ended = &mut serving => return Err(Failure::Failed(format!("the server has ended by itself: {ended:?}"))),
    };
    stop.cancel();
    tokio::select! {
        () = finish(&app, serving) => {}
        signal = signals.next() => tracing::warn!(signal, "ending at once"),
    }
    tracing::info!("ended");
    outcome
}

/// Listens before anything else is tried: a service that waits for its database answers `/health` meanwhile.
async fn bind(listen: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(listen).await.map_err(|error| {
        Failure::Failed(format!(
            "cannot listen on {listen}: {error}. Set AEGIS_LISTEN to another address or port"
        ))
    })
}

/// Opens the database, for as long as that takes; ends only with what trying again cannot mend.
async fn open(app: &App, address: SocketAddr, out: &mut Output) -> Failure {
    match try_open(app, address, out).await {
        Ok(()) => std::future::pending().await,
        Err(failure) => failure,
    }
}

async fn try_open(app: &App, address: SocketAddr, out: &mut Output) -> Result<(), Failure> {
    let node = app.reach(Projecting::Yes).await?;
    let first_start = node.store.head().await.is_ok_and(|head| head.position == Position::START);
    // Before anything is served: whoever waits until the service is ready can log in as the administrator.
    administrator::ensure(app, &node).await?;
    let node = app.publish(node);
    tracing::info!(log = %node.store.log_id(), "ready");
    if first_start {
        let settings = &app.settings;
        say(out, &banner::first_steps(address, &settings.http.api_prefix, settings.passwords.min_length));
    }
    Ok(())
}

/// Prints for whoever started the service by hand. A service goes on without anybody reading.
fn say(out: &mut Output, text: &str) {
    drop(out.line(text).and_then(|()| out.flush()));
}

/// Lets what has begun end well, within the time there is.
async fn finish(app: &App, mut serving: Serving) {
    let begun = Instant::now();
    match timeout_at(begun + LAST_REQUESTS, &mut serving).await {
        Ok(Ok(Ok(()))) => {}
        Ok(ended) => tracing::warn!(?ended, "the server did not end well"),
        Err(_) => tracing::warn!("requests were still going on after {LAST_REQUESTS:?}: they are cut off"),
    }
    serving.abort();
    if timeout_at(begun + LAST_WRITES, app.close()).await.is_err() {
        tracing::warn!("writes were still under way: they may or may not have happened");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_fits_into_the_ten_seconds_that_orchestrators_give() {
        assert!(http::DRAIN_BOUND < LAST_REQUESTS && LAST_REQUESTS < LAST_WRITES);
        assert!(LAST_WRITES < Duration::from_secs(10), "{LAST_WRITES:?}");
    }
}
