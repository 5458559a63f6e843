//! The real service in this process, on its own port and database.

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;

use aegis::app::{App, Database, ProjectionMode, Services};
use aegis::config::Settings;
use aegis::crypto::MailToken;
use jiff::Timestamp;
use store::{Clock, Env};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::{Client, DEFAULT_TIMEOUT, Store, TestClock, logs, settings};

/// A running service. Requests are sent through the [`Client`] that it dereferences to.
pub(crate) struct TestApp {
    pub(crate) clock: Arc<TestClock>,
    app: Arc<App>,
    client: Client,
    settings: Settings,
    stop: CancellationToken,
    served: Option<JoinHandle<()>>,
    opened: JoinHandle<()>,
    /// The last field: the database has to be dropped after its users.
    store: Store,
}

impl TestApp {
    /// A service on this database, ready.
    pub(crate) async fn start(store: Store) -> Self {
        Self::start_with(store, |_| {}).await
    }

    /// A service with changed settings, ready.
    pub(crate) async fn start_with(store: Store, change: impl FnOnce(&mut Settings)) -> Self {
        let mut settings = settings::settings(&store);
        change(&mut settings);
        let app = Self::launch(store, settings, ProjectionMode::Enabled, Arc::default()).await;
        app.opened().await
    }

    /// A service without projectors.
    pub(crate) async fn start_without_projector(store: Store) -> Self {
        let settings = settings::settings(&store);
        Self::launch(store, settings, ProjectionMode::Disabled, Arc::default()).await.opened().await
    }

    /// A service whose database may still be unreachable.
    pub(crate) async fn start_without_waiting(store: Store) -> Self {
        let settings = settings::settings(&store);
        Self::launch(store, settings, ProjectionMode::Enabled, Arc::default()).await
    }

    /// A second service on the same database.
    pub(crate) async fn start_second_node(&self) -> Self {
        self.start_second_node_with_clock(Arc::clone(&self.clock)).await
    }

    /// A second service on the same database, on a machine with another clock.
    pub(crate) async fn start_second_node_with_clock(&self, clock: Arc<TestClock>) -> Self {
        let (store, settings) = (self.store.clone(), self.settings.clone());
        Self::launch(store, settings, ProjectionMode::Enabled, clock).await.opened().await
    }

    /// The settings of a service on this database.
    pub(crate) fn settings_of(store: &Store) -> Settings {
        settings::settings(store)
    }

    /// The database, for direct access.
    pub(crate) fn store(&self) -> &Store {
        &self.store
    }

    /// The services behind the router.
    pub(crate) fn services(&self) -> &Services {
        self.app.services().unwrap()
    }

    /// The time that the clock of the service shows.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The text of a mail token, signed with the keys of the service.
    pub(crate) fn mail_token(&self, token: MailToken, expires_at: Timestamp) -> String {
        token.issue(&self.app.tokens, expires_at).unwrap()
    }

    /// The position of the last event.
    pub(crate) async fn head(&self) -> u64 {
        self.services().store.head().await.unwrap().position.get()
    }

    /// Starts the shutdown; [`TestApp::stopped`] waits for its end.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }

    /// Shuts down and waits until the service has stopped.
    pub(crate) async fn stopped(mut self) {
        self.stop();
        let served = self.served.take().unwrap();
        let ended = tokio::time::timeout(DEFAULT_TIMEOUT, served).await;
        ended.expect("the service has not stopped").unwrap();
        self.app.close().await;
    }

    async fn launch(store: Store, settings: Settings, mode: ProjectionMode, clock: Arc<TestClock>) -> Self {
        logs::capture();
        let env = Env::new(clock.clone(), clock.clone());
        let app = Arc::new(App::new(settings.clone(), env).unwrap());
        let database = Database::connect(&settings.database).await.unwrap();
        let opening = Arc::clone(&app);
        let opened = tokio::spawn(async move {
            match opening.open(&database, mode).await {
                Ok(services) => opening.publish(services),
                Err(error) => panic!("the database was refused: {error}"),
            };
        });
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let stop = CancellationToken::new();
        let served = tokio::spawn({
            let (app, stop) = (Arc::clone(&app), stop.clone());
            async move { aegis::http::serve(listener, app, stop).await.unwrap() }
        });
        Self { clock, app, client: Client::new(address), settings, stop, served: Some(served), opened, store }
    }

    async fn opened(mut self) -> Self {
        let opened = tokio::time::timeout(DEFAULT_TIMEOUT, &mut self.opened).await;
        opened.expect("the database was not opened").unwrap();
        self
    }
}

impl Deref for TestApp {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        self.stop.cancel();
        self.opened.abort();
        if let Some(served) = &self.served {
            served.abort();
        }
    }
}
