//! The frame of a crash test: clients and feed observers, and the invariants checked during the test and at
//! its end.

use crate::clients::{ClientContext, Clients};
use crate::cluster::Cluster;
use crate::feed_observer::FeedObserver;
use crate::history_checker;
use crate::log::{self, Log};
use crate::resend::resend_unsettled;
use crate::revoked_tokens::{TokenResults, TokenWatch};
use crate::seeded_rng::SeededRng;
use crate::session_clients::SessionClients;
use crate::session_journal::SessionRecord;
use crate::summary;

/// A running crash test.
pub(crate) struct CrashTest {
    pub(crate) context: ClientContext,
    clients: Clients,
    tokens: Option<TokenWatch>,
    sessions: Option<SessionClients>,
    observers: Vec<FeedObserver>,
    /// The part of the log read so far.
    log: Log,
}

impl CrashTest {
    /// Starts the feed observers.
    pub(crate) fn start(context: ClientContext, clients: Clients) -> Self {
        let observer =
            |service: &testkit::service::Client| FeedObserver::at(service.clone(), context.token.clone());
        let observers = context.services.iter().map(observer).collect();
        Self { context, clients, tokens: None, sessions: None, observers, log: Log::default() }
    }

    /// Also revokes tokens and presents them to every service.
    pub(crate) fn watching_tokens(self, rng: &mut SeededRng) -> Self {
        Self { tokens: Some(TokenWatch::start(&self.context, rng)), ..self }
    }

    /// Also opens, renews and ends sessions.
    pub(crate) fn with_sessions(self, rng: &mut SeededRng) -> Self {
        Self { sessions: Some(SessionClients::start(&self.context, rng)), ..self }
    }

    /// Checks the invariants that hold at any moment: the log verifies and agrees with every response.
    pub(crate) async fn check(&mut self, cluster: &Cluster) {
        // Responses first: the log read afterwards has to contain everything acknowledged by then.
        let records = self.context.journal.records();
        let sessions = self.sessions.as_ref().map(SessionClients::records).unwrap_or_default();
        self.log.catch_up(cluster.command_line()).await;
        history_checker::assert_no_violations(&history_checker::violations(&records, &self.log));
        history_checker::assert_no_violations(&history_checker::session_violations(&sessions, &self.log));
        log::verify(cluster.command_line()).await;
    }

    /// Resolves all indeterminate writes and checks the final invariants. All services must be healthy.
    /// Returns the log.
    pub(crate) async fn finish(mut self, test: &str, cluster: &Cluster) -> Log {
        self.clients.stop().await;
        if let Some(tokens) = self.tokens {
            assert_none_accepted(test, tokens.stop().await);
        }
        let sessions = match self.sessions {
            Some(sessions) => sessions.stop().await,
            None => Vec::new(),
        };
        resend_unsettled(&self.context).await;
        let mut seen = Vec::new();
        for observer in self.observers {
            seen.extend(observer.stop().await);
        }
        let records = self.context.journal.records();
        self.log.catch_up(cluster.command_line()).await;
        let whole = Log::read(cluster.command_line()).await;
        assert_eq!(
            self.log.events(),
            whole.events(),
            "the log read incrementally differs from the log read at once"
        );
        history_checker::assert_no_violations(&history_checker::violations(&records, &whole));
        assert_no_session_violations(test, &sessions, &whole);
        history_checker::assert_no_violations(&history_checker::feed_violations(&seen, &whole));
        log::verify(cluster.command_line()).await;
        log::assert_rows_follow(cluster.command_line(), &whole).await;
        summary::print_totals(test, &records, &whole);
        whole
    }
}

fn assert_no_session_violations(test: &str, sessions: &[SessionRecord], log: &Log) {
    let violations = history_checker::session_violations(sessions, log);
    if !sessions.is_empty() {
        summary::print_sessions(test, sessions, &violations);
    }
    history_checker::assert_no_violations(&violations);
}

fn assert_none_accepted(test: &str, results: TokenResults) {
    let TokenResults { revoked, refused, unavailable, accepted } = results;
    summary::print(&format!(
        "{test}: {revoked} tokens revoked and then refused {refused} times, {} times accepted; {unavailable} requests with tokens \
         answered 503",
        accepted.len()
    ));
    assert!(
        accepted.is_empty(),
        "a revoked token was accepted: {:?}",
        accepted.iter().take(5).collect::<Vec<_>>()
    );
}
