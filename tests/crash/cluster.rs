//! A cluster under test: one or more service processes on one database, at fixed addresses, that can be
//! killed, frozen and restarted.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use testkit::service::{Client, Deployment, ServiceProcess, eventually};
use testkit::{MachineClock, reserve_port};

use crate::clients::ClientContext;
use crate::journal::Journal;
use crate::test_config::env_number;

/// The e-mail address of the first administrator.
pub(crate) const ADMIN_EMAIL: &str = "root@example.com";
const ADMIN_PASSWORD: &str = "the first of all administrators";
pub(crate) const EXECUTABLE: &str = env!("CARGO_BIN_EXE_aegis");

/// The service, or another build of it (`AEGIS_TEST_EXECUTABLE`), such as a release build.
fn executable() -> String {
    env_number("AEGIS_TEST_EXECUTABLE").unwrap_or_else(|| EXECUTABLE.to_owned())
}

/// Services by index, running or not.
pub(crate) struct Cluster {
    nodes: Vec<ClusterNode>,
}

struct ClusterNode {
    deployment: Deployment,
    address: String,
    service: Option<ServiceProcess>,
}

impl Cluster {
    /// One service on the embedded database in this folder.
    pub(crate) fn embedded(data: &Path) -> Self {
        Self::of(1, || Deployment::embedded(&executable(), data))
    }

    /// Several services on one MongoDB database.
    pub(crate) fn on_mongodb(services: usize, url: &str, database: &str) -> Self {
        Self::of(services, || Deployment::on_mongodb(&executable(), url, database))
    }

    fn of(services: usize, deployment: impl Fn() -> Deployment) -> Self {
        let node = |_| {
            let address = format!("127.0.0.1:{}", reserve_port());
            let deployment = deployment()
                .with("AEGIS_LISTEN", &address)
                .with("AEGIS_ARGON2_MEMORY_KIB", "8")
                // Every client has the same address, and sends as much as the service takes.
                .with("AEGIS_RATE_LIMITS", "off")
                .with("AEGIS_LOG", "info")
                .with("AEGIS_WEBHOOK_ALLOW_PRIVATE", "127.0.0.0/8")
                .with("AEGIS_ADMIN_EMAIL", ADMIN_EMAIL)
                .with("AEGIS_ADMIN_PASSWORD", ADMIN_PASSWORD);
            ClusterNode { deployment, address, service: None }
        };
        Self { nodes: (0..services).map(node).collect() }
    }

    /// Gives a service the clock of another machine, which has to outlive it.
    pub(crate) fn with_clock(mut self, node: usize, clock: &MachineClock) -> Self {
        let node_with_clock = self.nodes.remove(node);
        let deployment = node_with_clock.deployment.with_clock(clock);
        self.nodes.insert(node, ClusterNode { deployment, ..node_with_clock });
        self
    }

    /// Extends the time limit of commands.
    pub(crate) fn with_timeout(self, timeout: Duration) -> Self {
        self.map_deployments(|deployment| deployment.with_timeout(timeout))
    }

    /// Changes a setting of every service.
    pub(crate) fn with(self, name: &str, value: &str) -> Self {
        self.map_deployments(|deployment| deployment.with(name, value))
    }

    fn map_deployments(self, change: impl Fn(Deployment) -> Deployment) -> Self {
        let changed = |node: ClusterNode| ClusterNode { deployment: change(node.deployment), ..node };
        Self { nodes: self.nodes.into_iter().map(changed).collect() }
    }

    pub(crate) fn size(&self) -> usize {
        self.nodes.len()
    }

    /// The command line on the same database.
    pub(crate) fn command_line(&self) -> &Deployment {
        &self.nodes[0].deployment
    }

    /// The status of the projection `users`, from the command line.
    pub(crate) async fn users_status(&self) -> Value {
        let found = self.command_line().json(&["projections", "status"]).await;
        found.into_iter().find(|status| status["name"] == "users").unwrap()
    }

    /// Verifies every read model against the log.
    pub(crate) async fn verify_read_models(&self) {
        for name in ["users", "daily", "webhooks"] {
            self.command_line().run_ok(&["projections", "verify", name]).await;
        }
    }

    /// Starts all services and returns the context for clients.
    pub(crate) async fn start_all(&mut self, timeout: Duration) -> ClientContext {
        for node in 0..self.size() {
            self.start(node).await;
        }
        let services: Vec<_> = self.nodes.iter().map(|node| Client::new(&node.address)).collect();
        // An existing log may have to be projected first.
        let token = eventually("the administrator to log in", async || {
            let answer = services[0].log_in(ADMIN_EMAIL, ADMIN_PASSWORD).await;
            if answer.status() == 503 {
                return None;
            }
            Some(answer.expect(200).json()["access_token"].as_str().unwrap().to_owned())
        })
        .await;
        ClientContext { services, token, timeout, journal: Arc::new(Journal::new()) }
    }

    /// Starts a service and waits until it is ready.
    pub(crate) async fn start(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        node.service = Some(node.deployment.serve().await);
    }

    /// Starts a service and kills it after this time, ready or not.
    pub(crate) async fn start_and_kill(&mut self, node: usize, time: Duration) {
        let service = self.nodes[node].deployment.start(&["serve"]);
        tokio::time::sleep(time).await;
        service.kill();
    }

    /// Shuts a service down gracefully.
    pub(crate) async fn stop(&mut self, node: usize) {
        let mut service = self.nodes[node].service.take().unwrap();
        let status = service.terminate().await;
        assert!(status.success(), "{status}: {}", service.output());
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, node: usize) {
        self.nodes[node].service.take().unwrap().kill();
    }

    /// The index of the service with this process id.
    pub(crate) fn index_of_process(&self, process: i32) -> Option<usize> {
        let is_it = |node: &ClusterNode| {
            node.service.as_ref().is_some_and(|service| service.pid().as_raw_nonzero().get() == process)
        };
        self.nodes.iter().position(is_it)
    }

    /// A running service.
    pub(crate) fn service(&mut self, node: usize) -> &mut ServiceProcess {
        self.nodes[node].service.as_mut().unwrap()
    }

    /// Asserts that no service has exited by itself.
    pub(crate) fn assert_running(&mut self) {
        for service in self.nodes.iter_mut().filter_map(|node| node.service.as_mut()) {
            service.assert_running();
        }
    }
}

/// Waits until every service has acknowledged `count` writes that were sent after `since`.
pub(crate) async fn await_writes(context: &ClientContext, count: usize, since: Duration) {
    eventually("that every service acknowledges writes", async || {
        let acknowledged = context.journal.acknowledgements(since);
        let works = |service| acknowledged.iter().filter(|(at, _)| *at == service).count() >= count;
        (0..context.services.len()).all(works).then_some(())
    })
    .await;
}
