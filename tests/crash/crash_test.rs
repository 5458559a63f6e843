//! What must hold in between, and in the end.

use crate::clients::{ClientContext, Clients};
use crate::cluster::Cluster;
use crate::feed_observer::FeedObserver;
use crate::history_checker;
use crate::log::{self, Log};
use crate::resend::resend_unsettled;
use crate::summary;

/// A test while it is under way: clients that write, readers that look.
pub(crate) struct CrashTest {
    pub(crate) context: ClientContext,
    clients: Clients,
    observers: Vec<FeedObserver>,
    /// What has been read of the log so far.
    log: Log,
}

impl CrashTest {
    /// Sets clients and readers to work.
    pub(crate) fn start(context: ClientContext, clients: Clients) -> Self {
        let observer =
            |service: &testkit::service::Client| FeedObserver::at(service.clone(), context.token.clone());
        let observers = context.services.iter().map(observer).collect();
        Self { context, clients, observers, log: Log::default() }
    }

    /// What holds at any moment: the log verifies, and nobody was told what is not so.
    pub(crate) async fn check(&mut self, cluster: &Cluster) {
        // First what was told, then the log: whatever was told by then has to be in it.
        let records = self.context.journal.records();
        self.log.catch_up(cluster.command_line()).await;
        history_checker::assert_no_violations(&history_checker::violations(&records, &self.log));
        log::verify(cluster.command_line()).await;
    }

    /// What holds in the end, once all services are well and everything unknown was sent again. Gives the whole log.
    pub(crate) async fn finish(mut self, test: &str, cluster: &Cluster) -> Log {
        self.clients.stop().await;
        resend_unsettled(&self.context).await;
        let mut seen = Vec::new();
        for observer in self.observers {
            seen.extend(observer.stop().await);
        }
        let records = self.context.journal.records();
        self.log.catch_up(cluster.command_line()).await;
        let whole = Log::read(cluster.command_line()).await;
        assert_eq!(self.log.events(), whole.events(), "what was read bit by bit, and what is there now");
        history_checker::assert_no_violations(&history_checker::violations(&records, &whole));
        history_checker::assert_no_violations(&history_checker::feed_violations(&seen, &whole));
        log::verify(cluster.command_line()).await;
        log::assert_rows_follow(cluster.command_line(), &whole).await;
        summary::print_totals(test, &records, &whole);
        whole
    }
}
