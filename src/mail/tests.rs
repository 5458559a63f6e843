//! The mailer on the in-memory backend, in simulated time, and the words of mails.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use domain::{EmailAddress, ErasureReason, PasswordHash, UserCommand, UserId, Username};
use jiff::{SignedDuration, Timestamp};
use jsonwebtoken::Algorithm;
use store::memory::Memory;
use store::{
    Attempt, Clock, DeliveryProgress, DeliveryRecord, DeliveryStore, Entropy, Env, EventStore, MasterKey,
    StoreError, StreamId,
};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use super::attempt::{MailSender, recipient_limit};
use super::composer::Composer;
use super::content::{Link, Mail, MailKind};
use super::mailer::Mailer;
use super::message;
use super::metrics::{MailMetrics, MailOutcome};
use super::progress::{MAX_PENDING, ProgressRecord};
use super::templates::{Origin, TemplateError, Templates};
use super::transport::{Handover, MailTransport, Outgoing, SendError};
use crate::command::{CommandContext, UserCommands, UserToImport, UsernameNumbers};
use crate::config::{MailLanguage, Secret, TokenSettings};
use crate::crypto::{MailPurpose, MailToken, Tokens};
use crate::leader_job::LeaderJob;

/// A clock that shows the simulated time of tokio.
struct SimulatedClock(Instant);

impl Clock for SimulatedClock {
    fn now(&self) -> Timestamp {
        let start: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
        start + SignedDuration::try_from(self.0.elapsed()).unwrap()
    }

    fn monotonic(&self) -> Option<Duration> {
        None
    }
}

impl Entropy for SimulatedClock {
    fn fill(&self, bytes: &mut [u8]) {
        let random: [u8; 32] = Env::system().bytes();
        for (byte, random) in bytes.iter_mut().zip(random.iter().cycle()) {
            *byte = *random;
        }
    }
}

/// A relay that answers by the name of the recipient, and keeps what it was given.
#[derive(Default)]
struct Relay {
    attempts: Mutex<Vec<(String, Instant)>>,
    accepted: Mutex<Vec<String>>,
}

#[async_trait]
impl MailTransport for Relay {
    async fn send(&self, mail: &Outgoing) -> Result<Handover, SendError> {
        let to = mail.message.envelope().to()[0].user().to_owned();
        self.attempts.lock().unwrap().push((to.clone(), Instant::now()));
        match to.split('-').next().unwrap() {
            "hanging" => std::future::pending::<()>().await,
            "busy" => return Err(SendError::Postponed { code: 451 }),
            "unknown" => return Err(SendError::Refused { code: 550 }),
            _ => {}
        }
        self.accepted.lock().unwrap().push(String::from_utf8(mail.message.formatted()).unwrap());
        Ok(Handover::Sent)
    }

    fn kind(&self) -> &'static str {
        "test"
    }
}

struct World {
    env: Env,
    store: EventStore,
    users: UserCommands,
    deliveries: Arc<dyn DeliveryStore>,
    tokens: Arc<Tokens>,
    relay: Arc<Relay>,
    metrics: MailMetrics,
}

impl World {
    async fn new() -> Self {
        let clock = Arc::new(SimulatedClock(Instant::now()));
        let env = Env::new(clock.clone(), clock);
        let (memory, master) = (Memory::default(), MasterKey::generate(&env));
        let store = EventStore::open(Arc::new(memory.clone()), master, env.clone()).await.unwrap();
        let deliveries = store.authenticate_deliveries(Arc::new(memory), Arc::new(|| false));
        let settings = TokenSettings {
            secret_key: Some(Secret::new("0123456789abcdef0123456789abcdef".to_owned())),
            previous_key: None,
            algorithm: Algorithm::HS256,
            previous_algorithm: None,
            lifetime: Duration::from_hours(1),
        };
        let tokens = Arc::new(Tokens::new(&settings, env.clone()));
        let users = UserCommands::new(store.clone(), env.clone());
        Self { env, store, users, deliveries, tokens, relay: Arc::default(), metrics: MailMetrics::default() }
    }

    /// A node that sends from now on.
    async fn node(&self) -> AbortOnDropHandle<()> {
        // The record of the first start.
        drop(self.open_record().await);
        let mailer = self.mailer();
        AbortOnDropHandle::new(tokio::spawn(async move { mailer.lead(0, &CancellationToken::new()).await }))
    }

    async fn open_record(&self) -> ProgressRecord {
        ProgressRecord::open(&self.deliveries, &self.store).await.unwrap()
    }

    fn mailer(&self) -> Mailer {
        let composer = Composer {
            store: self.store.clone(),
            tokens: Arc::clone(&self.tokens),
            env: self.env.clone(),
            public_url: "https://example.org".to_owned(),
        };
        let sender = MailSender {
            composer,
            templates: Arc::new(templates(MailLanguage::English)),
            transport: self.relay.clone(),
            from: "no-reply@example.org".parse().unwrap(),
            recipients: recipient_limit(&self.env),
        };
        let (deliveries, metrics) = (Arc::clone(&self.deliveries), self.metrics.clone());
        Mailer { sender: Arc::new(sender), deliveries, metrics, search_page_size: SEARCH_PAGE_SIZE }
    }

    async fn invite(&self, name: &str) -> UserId {
        let registration = UserCommand::Register {
            email: EmailAddress::parse(&format!("{name}@example.com")).unwrap(),
            username: Username::parse(name).unwrap(),
            password_hash: None,
        };
        let context = CommandContext::new("operator:test", "r");
        self.users.create(&context, registration, &std::collections::BTreeSet::new()).await.unwrap().id
    }

    async fn sign_up(&self, email: &str, username: &str) -> UserId {
        let registration = UserCommand::Register {
            email: EmailAddress::parse(email).unwrap(),
            username: Username::parse(username).unwrap(),
            password_hash: Some(hash("first")),
        };
        self.users.register("r", None, registration).await.unwrap().id
    }

    async fn execute(&self, id: UserId, command: UserCommand) {
        self.users.execute(&CommandContext::new("operator:test", "r"), id, &command).await.unwrap();
    }

    async fn execute_as_user(&self, id: UserId, command: UserCommand) {
        self.users.execute(&CommandContext::new(id.stream(), "r"), id, &command).await.unwrap();
    }

    fn attempts(&self, name: &str) -> Vec<Duration> {
        let attempts = self.relay.attempts.lock().unwrap();
        let of_name: Vec<_> = attempts.iter().filter(|(to, _)| to == name).map(|(_, at)| *at).collect();
        of_name.iter().map(|at| *at - of_name[0]).collect()
    }

    fn accepted(&self) -> Vec<String> {
        self.relay.accepted.lock().unwrap().clone()
    }

    fn counted(&self, outcome: MailOutcome) -> u64 {
        self.metrics.counted(outcome)
    }
}

fn templates(language: MailLanguage) -> Templates {
    Templates::load(None, language, "Aegis").unwrap()
}

fn hash(text: &str) -> PasswordHash {
    PasswordHash::new(format!("$argon2id${text}")).unwrap()
}

#[tokio::test(start_paused = true)]
async fn hanging_mail_holds_up_no_other_and_is_retried_until_its_token_expires() {
    let world = World::new().await;
    let _node = world.node().await;
    world.invite("hanging").await;
    for name in ["ada", "bob", "eve"] {
        world.invite(name).await;
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(world.accepted().len(), 3);
    sleep(Duration::from_hours(80)).await;
    let attempts = world.attempts("hanging");
    // 30 s until each time-out, and a delay that doubles up to five minutes.
    let pauses: Vec<_> = attempts.windows(2).map(|pair| pair[1].saturating_sub(pair[0]).as_secs()).collect();
    assert!((31..=32).contains(&pauses[0]) && pauses[1] > pauses[0] && pauses[4] > 45, "{pauses:?}");
    assert!(pauses[12..].iter().all(|pause| (320..=331).contains(pause)), "{pauses:?}");
    let last = attempts.last().unwrap().as_secs();
    let lifetime = MailPurpose::Invitation.lifetime().as_secs();
    assert!((lifetime - 340..lifetime).contains(&last), "{last}");
    assert_eq!((world.counted(MailOutcome::GivenUp), world.counted(MailOutcome::Sent)), (1, 3));
}

#[tokio::test(start_paused = true)]
async fn refused_mail_is_not_retried() {
    let world = World::new().await;
    let _node = world.node().await;
    world.invite("unknown").await;
    sleep(Duration::from_hours(1)).await;
    assert_eq!((world.attempts("unknown").len(), world.counted(MailOutcome::GivenUp)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn each_mail_goes_to_the_right_address_and_void_ones_to_none() {
    let world = World::new().await;
    let id = world.invite("ada").await;
    let node = world.node().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.accepted().len(), 0, "what happened before the first start has no mail");
    world.execute(id, UserCommand::RequestPasswordReset).await;
    sleep(Duration::from_secs(1)).await;
    let [reset] = world.accepted().try_into().unwrap();
    assert!(reset.contains("To: ada@example.com\r\n"), "{reset}");

    // The node stops. The password is changed, and so is the address; then the first request is void.
    drop(node);
    world.execute(id, UserCommand::RequestPasswordReset).await;
    world.execute(id, UserCommand::ChangePassword { confirmed: None, password_hash: hash("a") }).await;
    world.execute(id, UserCommand::ChangePassword { confirmed: None, password_hash: hash("b") }).await;
    let email = Some(EmailAddress::parse("new@example.com").unwrap());
    world.execute(id, UserCommand::ChangeIdentity { email, username: None, confirmed: None }).await;
    world.execute(id, UserCommand::RequestEmailVerification).await;
    let _node = world.node().await;
    sleep(Duration::from_secs(1)).await;
    let sent = world.accepted();
    let to = |part: &str, address: &str| {
        let is_it = |mail: &&String| mail.contains(part) && mail.contains(&format!("To: {address}\r\n"));
        sent.iter().skip(1).filter(is_it).count()
    };
    assert_eq!(to("Your password for Aegis was changed", "ada@example.com"), 1, "the first one is no change");
    assert_eq!(to("The e-mail address of your account", "ada@example.com"), 1);
    assert_eq!(to("Confirm your e-mail address", "new@example.com"), 1);
    assert_eq!((sent.len(), world.counted(MailOutcome::Void)), (4, 1));

    world.execute(id, UserCommand::Deactivate { reason: None }).await;
    world.execute(id, UserCommand::Erase { reason: ErasureReason::Request }).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(world.accepted().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn token_counts_from_the_request_and_an_expired_one_is_not_sent() {
    let world = World::new().await;
    let node = world.node().await;
    let id = world.invite("ada").await;
    sleep(Duration::from_secs(1)).await;
    drop(node);
    world.execute(id, UserCommand::RequestPasswordReset).await;
    world.execute(id, UserCommand::RequestEmailVerification).await;
    sleep(Duration::from_mins(31)).await;
    let _node = world.node().await;
    sleep(Duration::from_secs(1)).await;
    let sent = world.accepted();
    assert_eq!((sent.len(), world.counted(MailOutcome::Expired)), (2, 1));
    let body = sent[1].replace("=\r\n", "").replace("=3D", "=");
    let token = body.split("verify-email#token=").nth(1).unwrap().split_whitespace().next().unwrap();
    let verified = MailToken::verify(&world.tokens, token).unwrap();
    assert_eq!((verified.purpose, verified.user, verified.version), (MailPurpose::VerifyEmail, id, 3));
    sleep(Duration::from_hours(24) - Duration::from_mins(32)).await;
    assert!(MailToken::verify(&world.tokens, token).is_ok());
    sleep(Duration::from_mins(1)).await;
    assert!(MailToken::verify(&world.tokens, token).is_err());
}

#[tokio::test(start_paused = true)]
async fn more_mails_than_the_record_holds_are_all_sent() {
    let world = World::new().await;
    let node = world.node().await;
    let count = MAX_PENDING + 20;
    for number in 0..count {
        world.invite(&format!("user{number}")).await;
        if number == count / 2 {
            // Another node continues.
            world.node().await.abort();
        }
    }
    sleep(Duration::from_secs(5)).await;
    drop(node);
    let _node = world.node().await;
    sleep(Duration::from_mins(1)).await;
    let mut ids: Vec<_> = world.accepted().iter().map(|mail| message_id(mail)).collect();
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), count);
}

fn message_id(mail: &str) -> String {
    mail.lines().find(|line| line.starts_with("Message-ID: ")).unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn postponed_mails_fill_the_record_and_the_rest_waits() {
    let world = World::new().await;
    let _node = world.node().await;
    let mut busy = Vec::new();
    for number in 0..MAX_PENDING {
        busy.push(world.invite(&format!("busy-{number}")).await);
    }
    sleep(Duration::from_secs(20)).await;
    assert_eq!(world.metrics.pending(), MAX_PENDING);
    world.invite("ada").await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!((world.accepted().len(), world.metrics.pending()), (0, MAX_PENDING));
    // One of them ends, and makes room.
    world.execute(busy[0], UserCommand::Deactivate { reason: None }).await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!((world.accepted().len(), world.counted(MailOutcome::Void)), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn one_of_two_writers_of_the_record_stops() {
    let world = World::new().await;
    let open = async || ProgressRecord::open(&world.deliveries, &world.store).await.unwrap();
    let (mut one, mut two) = (open().await, open().await);
    world.invite("ada").await;
    (one.state.cursor, two.state.cursor) = (1, 1);
    one.write().await.unwrap();
    one.write().await.unwrap();
    assert!(matches!(two.write().await, Err(store::WriteError::Conflict)));
    assert_eq!(open().await.state, one.state);
}

#[tokio::test(start_paused = true)]
async fn after_a_restore_mails_begin_at_the_head() {
    let world = World::new().await;
    let node = world.node().await;
    world.invite("busy").await;
    sleep(Duration::from_secs(2)).await;
    drop(node);
    let mut record = ProgressRecord::open(&world.deliveries, &world.store).await.unwrap();
    assert_eq!((record.state.cursor, record.state.pending.len()), (1, 1));
    record.state.epoch += 1;
    record.write().await.unwrap();
    let reopened = ProgressRecord::open(&world.deliveries, &world.store).await.unwrap();
    assert_eq!((reopened.state.cursor, reopened.state.pending.len()), (1, 0));
    // Without `aegis events restored`, only a cursor beyond the end of the log shows it.
    record = reopened;
    record.state.cursor = 7;
    record.write().await.unwrap();
    let reopened = ProgressRecord::open(&world.deliveries, &world.store).await.unwrap();
    assert_eq!(reopened.state.cursor, 1);
}

#[tokio::test(start_paused = true)]
async fn unusable_record_is_replaced_and_mails_begin_at_the_head() {
    let world = World::new().await;
    world.invite("ada").await;
    let stream = StreamId::new("mailer").unwrap();
    let state = serde_json::json!({"epoch": "one"});
    let record = DeliveryProgress { revision: 1, attempts: 0, state };
    world.deliveries.record(&stream, &record, &[]).await.unwrap();
    let _node = world.node().await;
    world.invite("bob").await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(world.accepted().len(), 1);
}

/// Deliveries of a database that is out of reach.
struct Unreachable;

fn unreachable() -> StoreError {
    StoreError::Unavailable { what: "an injected failure".to_owned(), source: None }
}

#[async_trait]
impl DeliveryStore for Unreachable {
    async fn progress(&self, _: &StreamId) -> Result<Option<DeliveryProgress>, StoreError> {
        Err(unreachable())
    }

    async fn record_all(&self, _: &[DeliveryRecord]) -> Result<Vec<bool>, StoreError> {
        Err(unreachable())
    }

    async fn attempts(&self, _: &StreamId, _: Option<u64>, _: usize) -> Result<Vec<Attempt>, StoreError> {
        Err(unreachable())
    }

    async fn forget(&self, _: &StreamId) -> Result<(), StoreError> {
        Err(unreachable())
    }
}

/// The lines of a log.
#[derive(Clone, Default)]
struct LogLines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for LogLines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn failures_before_the_first_mail_are_warned_of_once() {
    let world = World { deliveries: Arc::new(Unreachable), ..World::new().await };
    let lines = LogLines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt().with_writer(move || writer.clone()).finish();
    let logged = tracing::subscriber::set_default(subscriber);
    let search = tokio::time::timeout(Duration::from_mins(1), world.mailer().wait_until_needed()).await;
    drop(logged);
    assert!(search.is_err());
    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    assert_eq!(text.matches("reading the record of mails failed; retrying").count(), 1, "{text}");
    assert!(text.contains("WARN"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn search_for_a_first_mail_pauses_only_at_the_end_of_the_log() {
    let world = World::new().await;
    drop(world.open_record().await);
    for number in 0..4 * SEARCH_PAGE_SIZE {
        world.sign_up(&format!("u{number}@example.com"), &format!("user {number}")).await;
    }
    world.invite("ada").await;
    let began = Instant::now();
    world.mailer().wait_until_needed().await;
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn search_records_how_far_it_has_read_unless_another_node_does() {
    let world = World::new().await;
    drop(world.open_record().await);
    world.sign_up("eve@example.com", "eve").await;
    let mailer = world.mailer();
    let search = AbortOnDropHandle::new(tokio::spawn(async move { mailer.wait_until_needed().await }));
    sleep(Duration::from_mins(5)).await;
    let mut record = world.open_record().await;
    assert_eq!(record.state.cursor, 1);
    // A node that records its own cursor is not disturbed: a second writer would be a conflict.
    for (cursor, name) in [(2, "bob"), (3, "dora")] {
        world.sign_up(&format!("{name}@example.com"), name).await;
        record.state.cursor = cursor;
        record.write().await.unwrap();
        sleep(Duration::from_mins(5)).await;
    }
    assert_eq!(world.open_record().await.state, record.state);
    let id = world.sign_up("cy@example.com", "cy").await;
    assert!(!search.is_finished());
    world.execute(id, UserCommand::RequestPasswordReset).await;
    sleep(Duration::from_secs(1)).await;
    assert!(search.is_finished());
}

/// The mails to an address, without the soft line breaks of quoted-printable.
fn mails_to(world: &World, address: &str) -> Vec<String> {
    let mails = world.accepted().into_iter().map(|mail| mail.replace("=\r\n", ""));
    mails.filter(|mail| mail.contains(&format!("To: {address}\r\n"))).collect()
}

#[tokio::test(start_paused = true)]
async fn address_that_may_be_that_of_another_person_gets_no_text_of_the_user() {
    let world = World::new().await;
    let _node = world.node().await;
    let own = "claim it: https://evil.example/x";
    let id = world.sign_up("victim@example.com", own).await;
    let change = |name: &str| UserCommand::ChangeIdentity {
        email: Some(EmailAddress::parse(&format!("{name}@example.com")).unwrap()),
        username: None,
        confirmed: None,
    };
    world.execute_as_user(id, UserCommand::RequestEmailVerification).await;
    world.execute_as_user(id, UserCommand::RequestPasswordReset).await;
    world
        .execute_as_user(id, UserCommand::ChangePassword { confirmed: None, password_hash: hash("b") })
        .await;
    sleep(Duration::from_secs(1)).await;
    world.execute_as_user(id, change("second")).await;
    world.execute_as_user(id, change("own")).await;
    sleep(Duration::from_secs(1)).await;
    let sent = world.accepted();
    assert_eq!(
        (sent.len(), mails_to(&world, "victim@example.com").len()),
        (2, 2),
        "no notices of the changes"
    );
    assert!(mails_to(&world, "victim@example.com").iter().all(|mail| !mail.contains("evil")), "{sent:?}");

    // The user verifies the own address.
    world.execute_as_user(id, UserCommand::RequestEmailVerification).await;
    let token_version = world.users.state(id).await.unwrap().unwrap().version;
    world.execute_as_user(id, UserCommand::VerifyEmail { token_version }).await;
    world.execute_as_user(id, UserCommand::RequestPasswordReset).await;
    sleep(Duration::from_secs(1)).await;
    world.execute_as_user(id, change("last")).await;
    sleep(Duration::from_secs(1)).await;
    let with_name = |address| mails_to(&world, address).iter().filter(|mail| mail.contains("evil")).count();
    assert_eq!((with_name("own@example.com"), with_name("last@example.com")), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn addresses_of_imports_and_invitations_are_known_until_their_users_change_them() {
    let world = World::new().await;
    let invited = world.invite("ivy").await;
    let imported = UserId::parse("65a1b2c3d4e5f60718293a4b").unwrap();
    let import = UserToImport {
        id: Some(imported),
        email: EmailAddress::parse("ada@example.com").unwrap(),
        username: Username::parse("ada").unwrap(),
        password_hash: None,
        is_active: true,
        created_at: domain::Moment::from_millisecond(7).unwrap(),
        roles: std::collections::BTreeSet::new(),
    };
    let (context, numbers) = (CommandContext::new("operator:test", "r"), UsernameNumbers::default());
    world.users.import(&context, &[import], &numbers).await.unwrap();
    let _node = world.node().await;
    for (id, name) in [(invited, "ivy"), (imported, "ada")] {
        let first = format!("{name}@example.com");
        for (address, is_known) in [(format!("{name}-2@example.com"), true), (first.clone(), false)] {
            world.execute_as_user(id, UserCommand::RequestPasswordReset).await;
            sleep(Duration::from_secs(1)).await;
            let email = Some(EmailAddress::parse(&address).unwrap());
            let change = UserCommand::ChangeIdentity { email, username: None, confirmed: None };
            world.execute_as_user(id, change).await;
            sleep(Duration::from_secs(1)).await;
            let (to, count) = if is_known { (&first, 2) } else { (&format!("{name}-2@example.com"), 1) };
            let mails = mails_to(&world, to);
            let named = mails.iter().filter(|mail| mail.contains(&format!("Hello {name},"))).count();
            assert_eq!((mails.len(), named), (count, if is_known { 2 } else { 0 }), "{to}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn mails_to_one_address_are_limited() {
    let world = World::new().await;
    let (ada, bob) = (world.invite("ada").await, world.invite("bob").await);
    let _node = world.node().await;
    for _ in 0..12 {
        world.execute(ada, UserCommand::RequestPasswordReset).await;
    }
    world.execute(bob, UserCommand::RequestPasswordReset).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(mails_to(&world, "ada@example.com").len(), 10);
    assert_eq!(mails_to(&world, "bob@example.com").len(), 1);
    assert_eq!((world.counted(MailOutcome::Limited), world.counted(MailOutcome::GivenUp)), (2, 0));
    sleep(Duration::from_mins(6)).await;
    for _ in 0..2 {
        world.execute(ada, UserCommand::RequestPasswordReset).await;
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(mails_to(&world, "ada@example.com").len(), 11);
    assert_eq!(world.counted(MailOutcome::Limited), 3);
}

#[test]
fn internationalised_domain_is_written_in_ascii() {
    let mut mail = mail(MailKind::ResetPassword, "eve");
    mail.to = EmailAddress::parse("Ada@BÜCHER.example").unwrap();
    let rendered = templates(MailLanguage::English).render(&mail).unwrap();
    let from = "no-reply@example.org".parse().unwrap();
    let message = message::build("1-1-1", &from, &mail, rendered, mail.at).unwrap();
    assert_eq!(message.envelope().to()[0].to_string(), "Ada@xn--bcher-kva.example");
    let formatted = String::from_utf8(message.formatted()).unwrap();
    assert!(formatted.contains("To: Ada@xn--bcher-kva.example\r\n"), "{formatted}");
}

/// Events read at once by the search for a first mail.
const SEARCH_PAGE_SIZE: usize = 20;
const HOSTILE: &str = "Eve\r\nBcc: all@example.com\r\n\r\n<script>alert(\"1\")</script>&";

fn mail(kind: MailKind, username: &str) -> Mail {
    let at: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    let url = "https://example.org/reset-password#token=abc".to_owned();
    let expires_at = at + SignedDuration::from_mins(30);
    let link = kind.purpose().map(|_| Link { url, expires_at });
    let (to, username) =
        (EmailAddress::from_stored("eve@example.com"), Some(Username::from_stored(username)));
    Mail { kind, to, username, at, link }
}

#[test]
fn reset_mail_in_english() {
    let rendered = templates(MailLanguage::English).render(&mail(MailKind::ResetPassword, "eve")).unwrap();
    assert_eq!(rendered.subject, "Set a new password for Aegis");
    insta::assert_snapshot!(rendered.text, @r"
    Hello eve,

    a new password was requested for your account. Set it here:

    https://example.org/reset-password#token=abc

    The link can be used once, until 2026-01-01 12:30 UTC. All devices are then logged out.

    If you did not ask for this mail, you can ignore it: your password stays as it is.
    ");
}

#[test]
fn notice_in_german() {
    let rendered = templates(MailLanguage::German).render(&mail(MailKind::EmailChanged, "eve")).unwrap();
    assert_eq!(rendered.subject, "Die E-Mail-Adresse Ihres Kontos für Aegis wurde geändert");
    insta::assert_snapshot!(rendered.text, @r"
    Hallo eve,

    Ihr Konto hatte die E-Mail-Adresse eve@example.com. Sie wurde am 01.01.2026 12:00 UTC durch eine andere ersetzt.

    Wenn Sie das nicht waren, wenden Sie sich sofort an den Betreiber von Aegis: Eine andere Person kennt vielleicht Ihr Passwort.
    ");
}

#[test]
fn mails_without_the_username_greet_without_it() {
    for (language, greeting) in [(MailLanguage::English, "Hello,"), (MailLanguage::German, "Hallo,")] {
        for kind in MailKind::ALL {
            let rendered = templates(language).render(&Mail { username: None, ..mail(kind, "") }).unwrap();
            assert!(rendered.text.starts_with(greeting), "{}", rendered.text);
            assert!(rendered.html.contains(&format!("<p>{greeting}</p>")), "{}", rendered.html);
        }
    }
}

#[test]
fn hostile_names_add_neither_headers_nor_markup() {
    let service = Templates::load(None, MailLanguage::English, HOSTILE).unwrap();
    for kind in MailKind::ALL {
        let mail = mail(kind, HOSTILE);
        let rendered = service.render(&mail).unwrap();
        assert!(!rendered.subject.contains(['\r', '\n']), "{}", rendered.subject);
        assert!(!rendered.html.contains("<script>") && rendered.html.contains("&lt;script&gt;"), "{kind:?}");
        let from = "no-reply@example.org".parse().unwrap();
        let message = message::build("1-1-1", &from, &mail, rendered, mail.at).unwrap();
        assert_eq!(message.envelope().to().len(), 1);
        let formatted = String::from_utf8(message.formatted()).unwrap();
        let head = formatted.split("\r\n\r\n").next().unwrap();
        assert!(!head.lines().any(|line| line.to_ascii_lowercase().starts_with("bcc")), "{head}");
        assert!(formatted.is_ascii());
    }
}

#[test]
fn broken_templates_name_file_and_line() {
    let folder = tempfile::tempdir().unwrap();
    let load = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let loaded = Templates::load(Some(folder.path()), MailLanguage::English, "Aegis").map(drop);
        std::fs::remove_file(path).unwrap();
        loaded
    };
    let origin = |name: &str| Origin::File(folder.path().join(name));
    let (text, html) = ("reset_password.en.txt", "reset_password.en.html");
    load(text, "Subject: A\n\n{{ link }}").unwrap();
    for (name, broken, line) in [
        (text, "Subject: A\n\nHello\n{{ lnik }}\n", 4),
        (text, "Subject: A\n\n{% if link %}\n", 3),
        (html, "<p>\n{{ username\n</p>", 3),
        (html, "<p>\n{{ username|shout }}\n</p>", 2),
        ("verify_email.de.html", "{{ }}", 1),
    ] {
        let error = load(name, broken).unwrap_err();
        let is_it = matches!(&error, TemplateError::Invalid { origin: o, line: l, .. } if *o == origin(name) && *l == line);
        assert!(is_it, "{error}");
    }
    for broken in ["Hello\n\nworld", "Subject: \n\nHello", "Subject: A\nHello\n", ""] {
        assert_eq!(load(text, broken), Err(TemplateError::NoSubject { origin: origin(text) }), "{broken}");
    }
    let misspelt = load("reset-password.en.txt", "Subject: A\n\n").unwrap_err();
    assert!(misspelt.to_string().contains("did you mean reset_password.en.txt?"), "{misspelt}");
    let missing = folder.path().join("none");
    let unreadable = Templates::load(Some(&missing), MailLanguage::English, "Aegis").map(drop);
    assert!(matches!(unreadable, Err(TemplateError::Unreadable { path, .. }) if path == missing));
}
