//! Configures the driver. The settings that the log's guarantees depend on (majority, journal, primary) are
//! fixed here and override the URL; timeouts and pool sizes may be set in the URL.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{
    Acknowledgment, ClientOptions, DatabaseOptions, ReadConcern, ReadPreference, SelectionCriteria,
    SessionOptions, TransactionOptions, WriteConcern,
};
use mongodb::{Client, ClientSession, Collection, Database};
use store::{DatabaseClock, RefusalReason, RetryCounter, StoreError};

use crate::causal_token::CausalToken;
use crate::connection_string;
use crate::error::from_driver_error;
use crate::primaries::Primaries;

/// Application name in the server's logs and `currentOp`, unless the URL sets `appName`.
const DEFAULT_APP_NAME: &str = "aegis";
/// Appended to the application name of connections that watch for changes.
const WATCH_APP_SUFFIX: &str = "-watch";
/// The server's limit for application names.
const MAX_APP_NAME_BYTES: usize = 128;
/// How long the driver searches for a primary.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Server selection timeout of the extra connection that finds out why there is no primary.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long connecting may take. The driver has no socket timeout; this and [`HEARTBEAT_INTERVAL`] bound how
/// long a server may be silent before the driver closes its connections.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the driver checks each server.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// How long a write waits for a majority before its outcome counts as unknown.
const WRITE_CONCERN_TIMEOUT: Duration = Duration::from_secs(5);
/// Pool size for reads and writes.
const MAX_WORK_CONNECTIONS: u32 = 64;
/// Pool size for watching: an open change stream occupies one connection.
const MAX_WATCH_CONNECTIONS: u32 = 4;

/// The collection of projection checkpoints.
pub(crate) const CHECKPOINTS: &str = "checkpoints";

/// Collections that must exist; the progress tracker reports when one is dropped.
pub(crate) const COLLECTIONS: [&str; 12] = [
    "meta",
    "keys",
    "head",
    "events",
    "vault",
    "idempotency",
    CHECKPOINTS,
    "read_models",
    "leases",
    "delivery_progress",
    "delivery_attempts",
    "sessions",
];

/// Two clients with a pool each, so that reads and writes never wait for the change stream or the other way
/// round.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) work: Db,
    pub(crate) watched: Db,
    /// The primaries that `work` has had.
    pub(crate) primaries: Primaries,
    /// The configured addresses, for error messages.
    pub(crate) hosts: String,
    direct: ClientOptions,
}

impl Connection {
    /// Parses the URL and creates the clients, which connect in the background.
    pub(crate) async fn new(url: &str, database: &str) -> Result<Self, StoreError> {
        check_database_name(database)?;
        let mut options = connection_string::parse(url).await?;
        options.app_name.get_or_insert_with(|| DEFAULT_APP_NAME.to_owned());
        options.server_selection_timeout.get_or_insert(SERVER_SELECTION_TIMEOUT);
        options.connect_timeout.get_or_insert(CONNECT_TIMEOUT);
        options.heartbeat_freq.get_or_insert(HEARTBEAT_INTERVAL);
        let hosts: Vec<_> = options.hosts.iter().map(ToString::to_string).collect();
        let mut watching = options.clone();
        watching.max_pool_size = Some(MAX_WATCH_CONNECTIONS);
        watching.min_pool_size = None;
        watching.app_name = watching.app_name.map(|name| with_suffix(name, WATCH_APP_SUFFIX));
        options.max_pool_size.get_or_insert(MAX_WORK_CONNECTIONS);
        let (direct, primaries) = (direct(options.clone()), Primaries::default());
        options.sdam_event_handler = Some(primaries.handler());
        let (causal_token, clock) = (CausalToken::default(), DatabaseClock::default());
        Ok(Self {
            work: Db::new(options, database, &causal_token, &clock)?,
            watched: Db::new(watching, database, &causal_token, &clock)?,
            primaries,
            hosts: hosts.join(","),
            direct,
        })
    }

    /// The `hello` answer of the first configured server, whatever its state; `None` without an answer.
    pub(crate) async fn hello_from_first_host(&self) -> Option<Document> {
        let client = Client::with_options(self.direct.clone()).ok()?;
        client.database("admin").run_command(doc! { "hello": 1 }).await.ok()
    }
}

/// The database, with majority reads from the primary and journalled majority writes.
#[derive(Clone)]
pub(crate) struct Db {
    database: Database,
    app_name: Arc<str>,
    causal_token: CausalToken,
    clock: DatabaseClock,
    retries: RetryCounter,
}

impl Db {
    fn new(
        options: ClientOptions,
        name: &str,
        causal_token: &CausalToken,
        clock: &DatabaseClock,
    ) -> Result<Self, StoreError> {
        let app_name = options.app_name.as_deref().unwrap_or(DEFAULT_APP_NAME).into();
        let client = Client::with_options(options).map_err(|error| bad_options(&error))?;
        let options = DatabaseOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(write_concern())
            .selection_criteria(primary())
            .build();
        Ok(Self {
            database: client.database_with_options(name, options),
            app_name,
            causal_token: causal_token.clone(),
            clock: clock.clone(),
            retries: RetryCounter::default(),
        })
    }

    pub(crate) fn handle(&self) -> &Database {
        &self.database
    }

    /// The clock of the primary.
    pub(crate) fn clock(&self) -> &DatabaseClock {
        &self.clock
    }

    /// Counts transaction retries.
    pub(crate) fn retries(&self) -> &RetryCounter {
        &self.retries
    }

    /// The application name of this process.
    pub(crate) fn app_name(&self) -> &str {
        &self.app_name
    }

    /// Format version and identity of the log.
    pub(crate) fn meta(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("meta")
    }

    /// Service keys, wrapped by the master key.
    pub(crate) fn keys(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("keys")
    }

    /// The single document that every commit writes to.
    pub(crate) fn head(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("head")
    }

    /// The events of the log.
    pub(crate) fn events(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("events")
    }

    /// Data keys and claims of streams.
    pub(crate) fn vault(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("vault")
    }

    /// Recorded results of idempotency keys.
    pub(crate) fn idempotency(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("idempotency")
    }

    /// Tiles of the log's Merkle tree.
    pub(crate) fn tiles(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("tiles")
    }

    /// Projection checkpoints.
    pub(crate) fn checkpoints(&self) -> Collection<RawDocumentBuf> {
        self.database.collection(CHECKPOINTS)
    }

    /// Projection versions.
    pub(crate) fn read_models(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("read_models")
    }

    /// Leases of the leader election.
    pub(crate) fn leases(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("leases")
    }

    /// Delivery cursors of webhooks.
    pub(crate) fn delivery_progress(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("delivery_progress")
    }

    /// Recent delivery attempts of webhooks.
    pub(crate) fn sessions(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("sessions")
    }

    pub(crate) fn delivery_attempts(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("delivery_attempts")
    }

    /// The rows of a read-model table.
    pub(crate) fn table(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.database.collection(name)
    }

    /// A session that reads nothing older than what this process has observed. Its transactions use snapshot
    /// reads and journalled majority writes on the primary.
    pub(crate) async fn session(&self) -> Result<ClientSession, Error> {
        let mut session = self.session_without_token().await?;
        self.causal_token.apply_to(&mut session);
        Ok(session)
    }

    /// A session without the causal token, as linearizable reads require.
    pub(crate) async fn session_without_token(&self) -> Result<ClientSession, Error> {
        let transaction = TransactionOptions::builder()
            .read_concern(ReadConcern::snapshot())
            .write_concern(write_concern())
            .selection_criteria(primary())
            .max_commit_time(WRITE_CONCERN_TIMEOUT)
            .build();
        let options = SessionOptions::builder()
            .default_transaction_options(transaction)
            .causal_consistency(true)
            .build();
        self.database.client().start_session().with_options(options).await
    }

    /// Later sessions of this process will see what this session has read or committed.
    pub(crate) fn observe(&self, session: &ClientSession) {
        self.causal_token.advance_from(session);
    }

    /// Later sessions of this process will see the change of this time.
    pub(crate) fn observe_change(&self, change: Option<Timestamp>) {
        self.causal_token.advance_to(change);
    }
}

/// The name with the suffix, unless the result exceeds [`MAX_APP_NAME_BYTES`].
fn with_suffix(name: String, suffix: &str) -> String {
    if name.len() + suffix.len() > MAX_APP_NAME_BYTES { name } else { name + suffix }
}

/// Options for a direct connection to the first server, regardless of its replica set.
fn direct(mut options: ClientOptions) -> ClientOptions {
    options.hosts.truncate(1);
    options.direct_connection = Some(true);
    options.repl_set_name = None;
    options.server_selection_timeout = Some(DIAGNOSIS_TIMEOUT);
    options
}

fn write_concern() -> WriteConcern {
    WriteConcern::builder().w(Acknowledgment::Majority).journal(true).w_timeout(WRITE_CONCERN_TIMEOUT).build()
}

fn primary() -> SelectionCriteria {
    SelectionCriteria::ReadPreference(ReadPreference::Primary)
}

/// Combinations of options that the driver rejects. The message names options, never their values.
fn bad_options(error: &Error) -> StoreError {
    match &*error.kind {
        ErrorKind::InvalidArgument { message, .. } => {
            RefusalReason::InvalidUrl { reason: message.clone() }.into()
        }
        _ => from_driver_error("reading the MongoDB URL", error.clone()),
    }
}

/// Databases of the server itself.
const RESERVED_DATABASES: [&str; 3] = ["admin", "config", "local"];

/// MongoDB's limits for database names on all platforms. Names that differ only in case are the same database to
/// the server.
pub(crate) fn check_database_name(database: &str) -> Result<(), StoreError> {
    if RESERVED_DATABASES.iter().any(|reserved| database.eq_ignore_ascii_case(reserved)) {
        return Err(RefusalReason::ReservedDatabaseName { name: database.to_owned() }.into());
    }
    let fits = (1..64).contains(&database.len());
    if fits && !database.contains(['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0']) {
        Ok(())
    } else {
        Err(RefusalReason::InvalidDatabaseName { name: database.to_owned() }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str, database: &str) -> String {
        match Connection::new(url, database).await {
            Err(StoreError::Refused(why)) => why.to_string(),
            Err(other) => panic!("{url}: expected `Refused`, got {other}"),
            Ok(_) => panic!("{url}: expected `Refused`, was accepted"),
        }
    }

    #[tokio::test]
    async fn invalid_url_or_name_is_refused_without_leaking_the_password() {
        for url in
            ["", "localhost:27017", "mongodb://", "mongodb://u:s3cr3t/@h", "mongodb://u:s3cr3t@h:port/"]
        {
            let why = refusal(url, "aegis").await;
            assert!(!why.contains("s3cr3t"), "{why}");
        }
        for name in ["", "a.b", "a b", "a$b", &"x".repeat(64), "admin", "config", "Local"] {
            refusal("mongodb://127.0.0.1:1", name).await;
        }
    }

    #[tokio::test]
    async fn unreachable_server_is_accepted() {
        assert!(Connection::new("mongodb://127.0.0.1:1/?replicaSet=rs0", "aegis").await.is_ok());
    }
}
