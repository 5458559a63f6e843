//! Clients that open sessions, renew them and end them while services and databases fail, and go on presenting the
//! tokens of ended sessions to every service.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use futures::future::join_all;
use serde_json::Value;
use testkit::service::{Request, Response, eventually};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::client_write::{PASSWORD, sign_up};
use crate::clients::ClientContext;
use crate::seeded_rng::SeededRng;
use crate::session_journal::{SessionAction, SessionAnswer, SessionEnd, SessionJournal, SessionRecord};

/// The longest number of renewals in a row.
const MAX_RENEWALS: usize = 8;
/// The longest pause of a client between two requests.
const MAX_PAUSE: Duration = Duration::from_millis(30);
/// The pause after a failure.
const RETRY_PAUSE: Duration = Duration::from_millis(60);
/// How long a client repeats a request: a repeated refresh has to be processed within the retry window.
const MAX_RETRY_TIME: Duration = Duration::from_secs(15);
/// How long tokens are presented to every service before and after an end of the session, unless it takes longer.
const PRESENTED: Duration = Duration::from_millis(300);
/// One in this many sessions is not ended, but renewed until the end of the test.
const KEPT_ONE_IN: usize = 4;
/// How many ended sessions of each client are presented to every service at the end of the test.
const PRESENTED_AT_THE_END: usize = 30;

/// Running clients, one for each service.
pub(crate) struct SessionClients {
    stop: Arc<AtomicBool>,
    clients: JoinSet<SessionClient>,
    journal: Arc<SessionJournal>,
}

impl SessionClients {
    pub(crate) fn start(context: &ClientContext, rng: &mut SeededRng) -> Self {
        let (stop, journal) = (Arc::<AtomicBool>::default(), Arc::<SessionJournal>::default());
        let mut clients = JoinSet::new();
        for number in 0..context.services.len() {
            let client = SessionClient {
                context: context.clone(),
                journal: Arc::clone(&journal),
                name: format!("session{number}"),
                rng: rng.fork(),
                kept: Vec::new(),
                ended: Vec::new(),
                unsettled: Vec::new(),
            };
            clients.spawn(client.work(Arc::clone(&stop)));
        }
        Self { stop, clients, journal }
    }

    /// All requests so far.
    pub(crate) fn records(&self) -> Vec<SessionRecord> {
        self.journal.records()
    }

    /// Waits until a session was ended and the clients have finished with their current ones. Then ends the sessions
    /// whose end is not known, renews those that were not ended, and presents the tokens of ended ones. All services
    /// must be healthy.
    pub(crate) async fn stop(mut self) -> Vec<SessionRecord> {
        eventually("a session to be ended", async || {
            self.records().iter().any(|record| record.ended_at().is_some()).then_some(())
        })
        .await;
        self.stop.store(true, Ordering::Relaxed);
        while let Some(stopped) = self.clients.join_next().await {
            stopped.unwrap().finish().await;
        }
        self.journal.records()
    }
}

/// The tokens of one generation.
#[derive(Clone)]
struct Tokens {
    access: String,
    refresh: String,
}

impl Tokens {
    fn of(answer: &Response) -> Self {
        let body = answer.json();
        let text = |field: &str| body[field].as_str().unwrap().to_owned();
        Self { access: text("access_token"), refresh: text("refresh_token") }
    }

    /// The id of the session.
    fn session(&self) -> String {
        let claims = self.access.split('.').nth(1).unwrap();
        let claims: Value = serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap();
        claims["sid"].as_str().unwrap().to_owned()
    }
}

/// A session as its client knows it. Clones share its tokens.
#[derive(Clone)]
struct ClientSession {
    context: ClientContext,
    journal: Arc<SessionJournal>,
    index: usize,
    user: String,
    id: String,
    /// By generation.
    tokens: Arc<Mutex<Vec<Tokens>>>,
}

impl ClientSession {
    /// Sends a request, records the answer, and keeps the tokens of the next generation.
    async fn send(&self, service: usize, action: SessionAction) -> SessionAnswer {
        let request = self.request(service, action).timeout(self.context.timeout);
        let index = self.journal.send(self.index, service, self.context.journal.now(), action);
        let answer = request.try_send().await;
        let answered = self.context.journal.now();
        let known = SessionAnswer::of(action, &answer);
        if let (SessionAction::Refresh { generation }, SessionAnswer::Renewed { .. }, Ok(answer)) =
            (action, &known, &answer)
        {
            let mut tokens = self.tokens.lock().unwrap();
            if tokens.len() == generation + 1 {
                tokens.push(Tokens::of(answer));
            }
        }
        self.journal.answer(self.index, index, answered, known.clone());
        known
    }

    fn request(&self, service: usize, action: SessionAction) -> Request {
        let (service, tokens) = (&self.context.services[service], self.tokens.lock().unwrap());
        let last = tokens.last().unwrap();
        match action {
            SessionAction::Use { generation } => service.get("/users/me").bearer(&tokens[generation].access),
            SessionAction::Refresh { generation } => {
                let token = &*tokens[generation].refresh;
                service.post("/auth/token").form(&[("grant_type", "refresh_token"), ("refresh_token", token)])
            }
            SessionAction::End(SessionEnd::Logout) => service.post("/auth/logout").bearer(&last.access),
            SessionAction::End(SessionEnd::LogoutEverywhere) => {
                service.post("/auth/logout-all").bearer(&last.access)
            }
            SessionAction::End(SessionEnd::FromList) => {
                let path = format!("/users/me/sessions/{}", self.id);
                service.request(reqwest::Method::DELETE, &path).bearer(&last.access)
            }
            SessionAction::End(SessionEnd::ByClient) => {
                service.post("/auth/revoke").form(&[("token", &last.refresh)])
            }
            SessionAction::End(SessionEnd::ByAdministrator) => {
                let path = format!("/users/{}/sessions/revoke", self.user);
                service.post(&path).bearer(&self.context.token)
            }
        }
    }

    fn last_generation(&self) -> usize {
        self.tokens.lock().unwrap().len() - 1
    }

    /// Sends a request until it is answered, to any service. `None` if that took too long. Also returns whether a
    /// frozen service may still process an earlier attempt.
    async fn send_until_answered(
        &self,
        rng: &mut SeededRng,
        action: SessionAction,
    ) -> (Option<SessionAnswer>, bool) {
        let (started, mut is_pending) = (self.context.journal.now(), false);
        while self.context.journal.now().saturating_sub(started) < MAX_RETRY_TIME {
            let answer = self.send(rng.below(self.context.services.len()), action).await;
            if !answer.is_lost() {
                return (Some(answer), is_pending);
            }
            is_pending |= answer == SessionAnswer::TimedOut;
            sleep(RETRY_PAUSE).await;
        }
        (None, is_pending)
    }

    /// Renews the session once; breaks if it must not be renewed again.
    async fn renew(&self, rng: &mut SeededRng) -> ControlFlow<()> {
        let action = SessionAction::Refresh { generation: self.last_generation() };
        match self.send_until_answered(rng, action).await {
            (Some(SessionAnswer::Renewed { .. }), false) => ControlFlow::Continue(()),
            // Used after its successor, the pending refresh token would be taken for a copy.
            _ => ControlFlow::Break(()),
        }
    }

    /// Presents tokens to a service until the end of the session is over; before it, refresh tokens of one generation
    /// only, if it is renewed.
    async fn present_while_ending(
        &self,
        service: usize,
        renewed: Option<usize>,
        progress: &EndProgress,
        mut rng: SeededRng,
    ) {
        while !progress.is_over.load(Ordering::Relaxed) {
            sleep(rng.duration_between(Duration::ZERO, MAX_PAUSE)).await;
            // Known before the request is sent.
            if progress.has_ended.load(Ordering::Relaxed) {
                self.present_any(service, &mut rng).await;
            } else if let Some(generation) = renewed.filter(|_| rng.one_in(2)) {
                self.send(service, SessionAction::Refresh { generation }).await;
            } else {
                let generation = rng.below(self.last_generation() + 1);
                self.send(service, SessionAction::Use { generation }).await;
            }
        }
    }

    /// Presents a token of any generation.
    async fn present_any(&self, service: usize, rng: &mut SeededRng) {
        let last = self.last_generation();
        // The last generation is as likely as all earlier ones.
        let generation = if rng.one_in(2) { last } else { rng.below(last + 1) };
        let is_use = rng.one_in(2);
        let action =
            if is_use { SessionAction::Use { generation } } else { SessionAction::Refresh { generation } };
        self.send(service, action).await;
    }
}

/// How far the end of a session is.
#[derive(Default)]
struct EndProgress {
    has_ended: AtomicBool,
    is_over: AtomicBool,
}

struct SessionClient {
    context: ClientContext,
    journal: Arc<SessionJournal>,
    name: String,
    rng: SeededRng,
    kept: Vec<ClientSession>,
    ended: Vec<ClientSession>,
    /// Sessions whose end was not acknowledged yet.
    unsettled: Vec<(ClientSession, SessionEnd)>,
}

impl SessionClient {
    async fn work(mut self, stop: Arc<AtomicBool>) -> Self {
        for number in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let Some(session) = self.open(number).await else {
                sleep(RETRY_PAUSE).await;
                continue;
            };
            let is_renewable = self.renew(&session).await.is_continue();
            if is_renewable && self.rng.one_in(KEPT_ONE_IN) {
                self.kept.push(session);
            } else {
                self.end(session, is_renewable).await;
            }
            self.revisit().await;
        }
        self
    }

    /// Signs a user up and opens a session; `None` if a step failed.
    async fn open(&mut self, number: usize) -> Option<ClientSession> {
        let (timeout, name) = (self.context.timeout, format!("{}-{number}", self.name));
        let service = self.service();
        let signed_up =
            sign_up(&self.context.services[service], &name).timeout(timeout).try_send().await.ok()?;
        let user =
            (signed_up.status() == 201).then(|| signed_up.json()["id"].as_str().unwrap().to_owned())?;
        let email = format!("{name}@example.com");
        let form = [
            ("grant_type", "password"),
            ("username", &*email),
            ("password", PASSWORD),
            ("scope", "offline_access"),
        ];
        let service = self.service();
        let opened = self.context.services[service].post("/auth/token").form(&form).timeout(timeout);
        let opened = opened.try_send().await.ok().filter(|answer| answer.status() == 200)?;
        let tokens = Tokens::of(&opened);
        let id = tokens.session();
        Some(ClientSession {
            context: self.context.clone(),
            index: self.journal.begin(user.clone(), id.clone()),
            journal: Arc::clone(&self.journal),
            user,
            id,
            tokens: Arc::new(Mutex::new(vec![tokens])),
        })
    }

    /// Renews a session several times, now and then at every service at once, as several tabs do.
    async fn renew(&mut self, session: &ClientSession) -> ControlFlow<()> {
        for _ in 0..self.rng.below(MAX_RENEWALS) {
            self.pause().await;
            let generation = session.last_generation();
            if self.rng.one_in(4) {
                let presenting = (0..self.context.services.len())
                    .map(|service| session.send(service, SessionAction::Refresh { generation }));
                if join_all(presenting).await.contains(&SessionAnswer::TimedOut) {
                    return ControlFlow::Break(());
                }
            }
            if session.last_generation() == generation {
                session.renew(&mut self.rng).await?;
            }
            let generation = self.rng.below(session.last_generation() + 1);
            session.send(self.service(), SessionAction::Use { generation }).await;
        }
        ControlFlow::Continue(())
    }

    /// Ends a session, while its tokens are presented to every service.
    async fn end(&mut self, session: ClientSession, is_renewable: bool) {
        let end = SessionEnd::ALL[self.rng.below(SessionEnd::ALL.len())];
        let pause = self.rng.duration_between(Duration::ZERO, PRESENTED);
        let progress = EndProgress::default();
        let mut rng = self.rng.fork();
        let ending = async {
            sleep(pause).await;
            let (answer, _) = session.send_until_answered(&mut rng, SessionAction::End(end)).await;
            progress.has_ended.store(answer.is_some(), Ordering::Relaxed);
            sleep(PRESENTED).await;
            progress.is_over.store(true, Ordering::Relaxed);
        };
        let renewed = is_renewable.then(|| session.last_generation());
        let presenting = (0..self.context.services.len())
            .map(|service| session.present_while_ending(service, renewed, &progress, self.rng.fork()));
        tokio::join!(ending, join_all(presenting));
        if progress.has_ended.into_inner() {
            self.ended.push(session);
        } else {
            self.unsettled.push((session, end));
        }
    }

    /// Renews a session that was not ended, and presents the tokens of one that was.
    async fn revisit(&mut self) {
        if !self.kept.is_empty() {
            let index = self.rng.below(self.kept.len());
            if self.kept[index].renew(&mut self.rng).await.is_break() {
                // It is not renewed again before a frozen service has answered.
                let session = self.kept.swap_remove(index);
                self.end(session, false).await;
            }
        }
        if !self.ended.is_empty() {
            let index = self.rng.below(self.ended.len());
            for _ in 0..4 {
                let service = self.service();
                self.ended[index].present_any(service, &mut self.rng).await;
            }
        }
    }

    async fn finish(mut self) {
        for (session, end) in std::mem::take(&mut self.unsettled) {
            session.send_until_answered(&mut self.rng, SessionAction::End(end)).await.0.unwrap();
            self.ended.push(session);
        }
        for session in &self.kept {
            for _ in 0..2 {
                let action = SessionAction::Refresh { generation: session.last_generation() };
                session.send_until_answered(&mut self.rng, action).await.0.unwrap();
            }
        }
        for session in self.ended.iter().rev().take(PRESENTED_AT_THE_END) {
            for service in 0..self.context.services.len() {
                session.present_any(service, &mut self.rng).await;
                session.present_any(service, &mut self.rng).await;
            }
        }
    }

    fn service(&mut self) -> usize {
        self.rng.below(self.context.services.len())
    }

    async fn pause(&mut self) {
        sleep(self.rng.duration_between(Duration::ZERO, MAX_PAUSE)).await;
    }
}
