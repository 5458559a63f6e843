//! The services under fire: one or two processes on one database, at addresses that stay, to be killed, frozen and
//! started again.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use testkit::reserve_port;
use testkit::service::{Client, Installation, Service, until};

use crate::journal::Journal;
use crate::plan::variable;
use crate::swarm::Desk;

/// The e-mail address of the first administrator.
pub(crate) const ADMIN_EMAIL: &str = "root@example.com";
const ADMIN_PASSWORD: &str = "the first of all administrators";
/// The service itself.
pub(crate) const EXECUTABLE: &str = env!("CARGO_BIN_EXE_aegis");

/// The service, or another build of it (`AEGIS_TEST_EXECUTABLE`), such as one that was made for speed.
fn executable() -> String {
    variable("AEGIS_TEST_EXECUTABLE").unwrap_or_else(|| EXECUTABLE.to_owned())
}

/// A service by its place, running or not.
pub(crate) struct Fleet {
    places: Vec<Place>,
}

struct Place {
    installation: Installation,
    address: String,
    service: Option<Service>,
}

impl Fleet {
    /// One service on the embedded database in this folder.
    pub(crate) fn embedded(data: &Path) -> Self {
        Self::of(1, || Installation::embedded(&executable(), data))
    }

    /// So many services on a database of a MongoDB.
    pub(crate) fn on_mongodb(services: usize, url: &str, database: &str) -> Self {
        Self::of(services, || Installation::on_mongodb(&executable(), url, database))
    }

    fn of(services: usize, installation: impl Fn() -> Installation) -> Self {
        let place = |_| {
            let address = format!("127.0.0.1:{}", reserve_port());
            let installation = installation()
                .with("AEGIS_LISTEN", &address)
                .with("AEGIS_ARGON2_MEMORY_KIB", "8")
                .with("AEGIS_LOG", "info")
                .with("AEGIS_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8")
                .with("AEGIS_ADMIN_EMAIL", ADMIN_EMAIL)
                .with("AEGIS_ADMIN_PASSWORD", ADMIN_PASSWORD);
            Place { installation, address, service: None }
        };
        Self { places: (0..services).map(place).collect() }
    }

    /// For work that takes longer than in other tests.
    pub(crate) fn patient(self, patience: Duration) -> Self {
        let patient = |place: Place| Place { installation: place.installation.patient(patience), ..place };
        Self { places: self.places.into_iter().map(patient).collect() }
    }

    /// How many services there are.
    pub(crate) fn size(&self) -> usize {
        self.places.len()
    }

    /// The command line on the same database.
    pub(crate) fn command_line(&self) -> &Installation {
        &self.places[0].installation
    }

    /// How `users` is doing, as the command line says.
    pub(crate) async fn users_status(&self) -> Value {
        let found = self.command_line().json(&["projections", "status"]).await;
        found.into_iter().find(|status| status["name"] == "users").unwrap()
    }

    /// The rows of every read model are what the log says.
    pub(crate) async fn verify_read_models(&self) {
        for name in ["users", "user_activity", "daily", "webhooks"] {
            self.command_line().done(&["projections", "verify", name]).await;
        }
    }

    /// Starts all services, and gives clients what they need.
    pub(crate) async fn open(&mut self, patience: Duration) -> Desk {
        for place in 0..self.size() {
            self.start(place).await;
        }
        let services: Vec<_> = self.places.iter().map(|place| Client::new(&place.address)).collect();
        // A log that was there before may have to be projected first.
        let token = until("the administrator to log in", async || {
            let answer = services[0].log_in(ADMIN_EMAIL, ADMIN_PASSWORD).await;
            if answer.status() == 503 {
                return None;
            }
            Some(answer.expect(200).json()["access_token"].as_str().unwrap().to_owned())
        })
        .await;
        Desk { services, token, patience, journal: Arc::new(Journal::new()) }
    }

    /// Starts a service and waits until it is ready.
    pub(crate) async fn start(&mut self, place: usize) {
        let place = &mut self.places[place];
        place.service = Some(place.installation.serve().await);
    }

    /// Starts a service, gives it this time, and kills it, whatever it was about.
    pub(crate) async fn start_in_vain(&mut self, place: usize, time: Duration) {
        let service = self.places[place].installation.start(&["serve"]);
        tokio::time::sleep(time).await;
        service.kill();
    }

    /// Ends a service in good order.
    pub(crate) async fn stop(&mut self, place: usize) {
        let mut service = self.places[place].service.take().unwrap();
        let status = service.terminate().await;
        assert!(status.success(), "{status}: {}", service.said());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, place: usize) {
        self.places[place].service.take().unwrap().kill();
    }

    /// The place of the service whose process has this number.
    pub(crate) fn place_of(&self, process: i32) -> Option<usize> {
        let is_it = |place: &Place| {
            place.service.as_ref().is_some_and(|service| service.pid().as_raw_nonzero().get() == process)
        };
        self.places.iter().position(is_it)
    }

    /// A service that runs.
    pub(crate) fn service(&mut self, place: usize) -> &mut Service {
        self.places[place].service.as_mut().unwrap()
    }

    /// No service has ended by itself.
    pub(crate) fn assert_running(&mut self) {
        for service in self.places.iter_mut().filter_map(|place| place.service.as_mut()) {
            service.assert_running();
        }
    }
}

/// Waits until every service has acknowledged so many writes that were sent after `since`.
pub(crate) async fn works_again(desk: &Desk, count: usize, since: Duration) {
    until("that every service acknowledges writes", async || {
        let acknowledged = desk.journal.acknowledgements(since);
        let works = |service| acknowledged.iter().filter(|(at, _)| *at == service).count() >= count;
        (0..desk.services.len()).all(works).then_some(())
    })
    .await;
}
