//! How the server is spoken to. What the log's promises rest on (majority, journal, primary) is set here explicitly,
//! whatever the URL says; timeouts and pool sizes may be set in the URL.

use std::sync::Arc;
use std::time::Duration;

use mongodb::bson::{Document, RawDocumentBuf, Timestamp, doc};
use mongodb::error::{Error, ErrorKind};
use mongodb::options::{
    Acknowledgment, ClientOptions, DatabaseOptions, ReadConcern, ReadPreference, SelectionCriteria,
    SessionOptions, TransactionOptions, WriteConcern,
};
use mongodb::{Client, ClientSession, Collection, Database};
use store::{RetryCounter, StoreError};

use crate::causal_token::CausalToken;
use crate::error::from_driver_error;

/// Under which name the server knows this process, unless the URL says another.
const DEFAULT_APP_NAME: &str = "aegis";
/// What is added to it on connections for following, so that those who look at the server can tell them apart.
const WATCH_APP_SUFFIX: &str = "-watch";
/// The longest name that a server takes.
const MAX_APP_NAME_BYTES: usize = 128;
/// How long to look for a primary.
const SERVER_SELECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to look for a server of which no more is wanted than why there is no primary.
const DIAGNOSIS_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection may take to be made. Together with [`HEARTBEAT_INTERVAL`] it bounds how long a server may be silent
/// before the driver breaks the connections to it: the driver knows no socket timeout.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How often the driver hears from each server.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(2);
/// How long a write may wait for a majority before its outcome counts as unknown.
const WRITE_CONCERN_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections for work.
const MAX_WORK_CONNECTIONS: u32 = 64;
/// Connections for following: a change stream keeps one busy for as long as it is open.
const MAX_WATCH_CONNECTIONS: u32 = 4;

/// The server, as work and as following it see it. Each has its own connections, so that neither waits for the other.
#[derive(Clone)]
pub(crate) struct Connection {
    pub(crate) work: Db,
    pub(crate) watched: Db,
    /// The configured addresses, for messages.
    pub(crate) hosts: String,
    direct: ClientOptions,
}

impl Connection {
    /// Reads the URL and starts the clients, which look for the server in the background.
    pub(crate) async fn new(url: &str, database: &str) -> Result<Self, StoreError> {
        check_database_name(database)?;
        let mut options = ClientOptions::parse(url).await.map_err(|error| bad_url(&error))?;
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
        let direct = direct(options.clone());
        let causal_token = CausalToken::default();
        Ok(Self {
            work: Db::new(options, database, &causal_token)?,
            watched: Db::new(watching, database, &causal_token)?,
            hosts: hosts.join(","),
            direct,
        })
    }

    /// What the first configured server says of itself, whatever state it is in; nothing if it says nothing.
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
    retries: RetryCounter,
}

impl Db {
    fn new(options: ClientOptions, name: &str, causal_token: &CausalToken) -> Result<Self, StoreError> {
        let app_name = options.app_name.as_deref().unwrap_or(DEFAULT_APP_NAME).into();
        let client = Client::with_options(options).map_err(|error| bad_url(&error))?;
        let options = DatabaseOptions::builder()
            .read_concern(ReadConcern::majority())
            .write_concern(write_concern())
            .selection_criteria(primary())
            .build();
        Ok(Self {
            database: client.database_with_options(name, options),
            app_name,
            causal_token: causal_token.clone(),
            retries: RetryCounter::default(),
        })
    }

    pub(crate) fn handle(&self) -> &Database {
        &self.database
    }

    /// Counts the transactions that are tried again.
    pub(crate) fn retries(&self) -> &RetryCounter {
        &self.retries
    }

    /// Under which name the server knows this process.
    pub(crate) fn app_name(&self) -> &str {
        &self.app_name
    }

    /// Format version and identity of the log.
    pub(crate) fn meta(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("meta")
    }

    /// Wrapped service keys.
    pub(crate) fn keys(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("keys")
    }

    /// The one document that every commit touches.
    pub(crate) fn head(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("head")
    }

    /// The log.
    pub(crate) fn events(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("events")
    }

    /// Keys and claims of streams.
    pub(crate) fn vault(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("vault")
    }

    /// First results under idempotency keys.
    pub(crate) fn idempotency(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("idempotency")
    }

    /// The log's tree in tiles.
    pub(crate) fn tiles(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("tiles")
    }

    /// Checkpoints of read models.
    pub(crate) fn checkpoints(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("checkpoints")
    }

    /// Versions of read models.
    pub(crate) fn read_models(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("read_models")
    }

    /// Who works on what.
    pub(crate) fn leases(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("leases")
    }

    /// How far subscribers are.
    pub(crate) fn delivery_progress(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("delivery_progress")
    }

    /// What was tried to deliver last.
    pub(crate) fn delivery_attempts(&self) -> Collection<RawDocumentBuf> {
        self.database.collection("delivery_attempts")
    }

    /// The rows of a read model.
    pub(crate) fn table(&self, name: &str) -> Collection<RawDocumentBuf> {
        self.database.collection(name)
    }

    /// A session that reads nothing older than what this process has seen. Its transactions have snapshot reads and
    /// journalled majority writes, on the primary.
    pub(crate) async fn session(&self) -> Result<ClientSession, Error> {
        let mut session = self.session_without_token().await?;
        self.causal_token.apply_to(&mut session);
        Ok(session)
    }

    /// A session that knows of nothing yet.
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

    /// What was read in this session, or committed, is not missed by later ones.
    pub(crate) fn observe(&self, session: &ClientSession) {
        self.causal_token.advance_from(session);
    }

    /// A change of this time was heard of: later sessions do not miss it.
    pub(crate) fn observe_change(&self, change: Option<Timestamp>) {
        self.causal_token.advance_to(change);
    }
}

/// The name with the suffix, if that is not too long.
fn with_suffix(name: String, suffix: &str) -> String {
    if name.len() + suffix.len() > MAX_APP_NAME_BYTES { name } else { name + suffix }
}

/// Options to speak to the first server alone, without regard to the set it may belong to.
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

/// The URL itself is not repeated: it may hold a password.
fn bad_url(error: &Error) -> StoreError {
    match &*error.kind {
        ErrorKind::InvalidArgument { message, .. } => {
            StoreError::Refused(format!("the MongoDB URL cannot be used: {message}"))
        }
        _ => from_driver_error("reading the MongoDB URL", error.clone()),
    }
}

/// MongoDB's own limits, of all platforms.
fn check_database_name(database: &str) -> Result<(), StoreError> {
    let fits = (1..64).contains(&database.len());
    if fits && !database.contains(['/', '\\', '.', ' ', '"', '$', '*', '<', '>', ':', '|', '?', '\0']) {
        Ok(())
    } else {
        Err(StoreError::Refused(format!(
            "`{database}` cannot name a MongoDB database: up to 63 bytes without / \\ . \" $ * < > : | ? and spaces can"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str, database: &str) -> String {
        match Connection::new(url, database).await {
            Err(StoreError::Refused(why)) => why,
            Err(other) => panic!("{url} gave {other}"),
            Ok(_) => panic!("{url} was accepted"),
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
        for name in ["", "a.b", "a b", "a$b", &"x".repeat(64)] {
            refusal("mongodb://127.0.0.1:1", name).await;
        }
    }

    #[tokio::test]
    async fn unreachable_server_is_accepted() {
        assert!(Connection::new("mongodb://127.0.0.1:1/?replicaSet=rs0", "aegis").await.is_ok());
    }
}
