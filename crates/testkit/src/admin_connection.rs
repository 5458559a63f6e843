//! An administrative connection to one `mongod`: reads its role, initiates a replica set, finds the primary.

use std::time::{Duration, Instant};

use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::options::{ClientOptions, ServerAddress};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::error::Error;

/// Upper bound for a loaded machine; polling ends as soon as the server is ready.
const READY_TIMEOUT: Duration = Duration::from_mins(1);
const POLL_INTERVAL: Duration = Duration::from_millis(25);
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(5);
const ALREADY_INITIALIZED: i32 = 23;

/// The role of a server, from its answer to `hello`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServerRole {
    /// Accepts writes and belongs to no replica set.
    Standalone,
    /// Started with `--replSet`, but the set is not initiated or the configuration is not loaded yet.
    Uninitiated,
    /// Belongs to a replica set and is neither primary nor secondary, for example while it starts.
    Member,
    /// Replicates from the primary.
    Secondary,
    Primary,
    /// The router of a sharded cluster.
    Router,
}

/// A direct connection to the server at `host:port`, whatever replica set it belongs to.
#[derive(Debug)]
pub(crate) struct AdminConnection {
    address: String,
    client: Option<Client>,
}

impl AdminConnection {
    pub(crate) fn new(address: impl Into<String>) -> Self {
        Self { address: address.into(), client: None }
    }

    /// Polls until the role is `wanted`. Between polls, an error from `gone` ends the wait; the timeout error
    /// includes `log`.
    pub(crate) async fn wait_until(
        &mut self,
        wanted: impl Fn(ServerRole) -> bool,
        mut gone: impl FnMut() -> Option<Error>,
        log: impl Fn() -> String,
    ) -> Result<ServerRole, Error> {
        let started = Instant::now();
        loop {
            let last = match self.role().await {
                Ok(role) if wanted(role) => return Ok(role),
                Ok(role) => format!("{role:?}"),
                Err(problem) => problem,
            };
            if let Some(error) = gone() {
                return Err(error);
            }
            if started.elapsed() > READY_TIMEOUT {
                let address = self.address.clone();
                return Err(Error::NotReady { address, seconds: READY_TIMEOUT.as_secs(), last, log: log() });
            }
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Initiates a replica set of these members, unless it is already initiated.
    pub(crate) async fn initiate(&mut self, set: &str, members: &[String]) -> Result<(), String> {
        let members: Vec<Document> =
            (0_i32..).zip(members).map(|(id, host)| doc! { "_id": id, "host": host }).collect();
        // Shorter than the defaults, so that a lost primary is replaced quickly. As in the defaults both
        // timeouts are equal: a new primary waits for the answer of every member that it believes to be up.
        let settings = doc! {
            "electionTimeoutMillis": 2_000, "heartbeatTimeoutSecs": 2, "heartbeatIntervalMillis": 500,
        };
        let config = doc! { "_id": set, "members": members, "settings": settings };
        match self.command(doc! { "replSetInitiate": config }).await {
            Err(error) if code(&error) != Some(ALREADY_INITIALIZED) => Err(error.to_string()),
            _ => Ok(()),
        }
    }

    /// Writes a document and waits until `members` members have replicated it.
    pub(crate) async fn write_replicated_to(&mut self, members: usize) -> Result<(), String> {
        let timeout_ms = i64::try_from(READY_TIMEOUT.as_millis()).unwrap_or(i64::MAX);
        let concern = doc! { "w": i64::try_from(members).unwrap_or(i64::MAX), "wtimeout": timeout_ms };
        let insert = doc! { "insert": "copied", "documents": [{}], "writeConcern": concern };
        let answer = self.run("testkit", insert).await.map_err(|error| error.to_string())?;
        match answer.get("writeConcernError") {
            None => Ok(()),
            Some(error) => Err(format!("not every member replicates from the primary: {error}")),
        }
    }

    async fn role(&mut self) -> Result<ServerRole, String> {
        if self.client.is_none() {
            // The driver waits half a second between connection attempts; a plain socket does not.
            let connected = timeout(RESPONSE_TIMEOUT, TcpStream::connect(&self.address)).await;
            connected
                .map_err(|_| "timed out while connecting".to_owned())?
                .map_err(|error| error.to_string())?;
        }
        let answer = self.command(doc! { "hello": 1 }).await.map_err(|error| {
            self.client = None;
            error.to_string()
        })?;
        Ok(role_in(&answer))
    }

    pub(crate) async fn command(&mut self, command: Document) -> mongodb::error::Result<Document> {
        self.run("admin", command).await
    }

    async fn run(&mut self, database: &str, command: Document) -> mongodb::error::Result<Document> {
        let client = if let Some(client) = &self.client {
            client.clone()
        } else {
            self.client.insert(direct(&self.address)?).clone()
        };
        client.database(database).run_command(command).await
    }
}

/// The role of the server that accepts the writes for `url`, which may name a whole cluster.
pub(crate) async fn role_of_server_at(url: &str) -> mongodb::error::Result<ServerRole> {
    let mut options = ClientOptions::parse(url).await?;
    options.server_selection_timeout = Some(2 * RESPONSE_TIMEOUT);
    let answer = Client::with_options(options)?.database("admin").run_command(doc! { "hello": 1 }).await?;
    Ok(role_in(&answer))
}

/// Waits until one of `servers` is primary; returns its index.
pub(crate) async fn find_primary(servers: Vec<(usize, String)>) -> Result<usize, Error> {
    find_primary_where(servers, |_| true).await
}

/// Like [`find_primary`], but also waits until all other `servers` are secondaries.
pub(crate) async fn find_primary_of_healthy_set(servers: Vec<(usize, String)>) -> Result<usize, Error> {
    find_primary_where(servers, |others| others.iter().all(|role| role == &Ok(ServerRole::Secondary))).await
}

/// The index of the primary among `servers`, once the roles of the others are as wanted.
async fn find_primary_where(
    servers: Vec<(usize, String)>,
    wanted: impl Fn(&[Result<ServerRole, String>]) -> bool,
) -> Result<usize, Error> {
    let mut connections: Vec<_> =
        servers.into_iter().map(|(index, address)| (index, AdminConnection::new(address))).collect();
    let started = Instant::now();
    let mut last = String::new();
    while started.elapsed() < READY_TIMEOUT {
        let (mut primary, mut others) = (None, Vec::new());
        for (index, connection) in &mut connections {
            match connection.role().await {
                Ok(ServerRole::Primary) if primary.is_none() => primary = Some(*index),
                role => others.push(role),
            }
        }
        match primary {
            Some(index) if wanted(&others) => return Ok(index),
            _ => last = format!("primary: {primary:?}, others: {others:?}"),
        }
        sleep(POLL_INTERVAL).await;
    }
    let address =
        connections.into_iter().map(|(_, connection)| connection.address).collect::<Vec<_>>().join(",");
    Err(Error::NotReady { address, seconds: READY_TIMEOUT.as_secs(), last, log: "none".into() })
}

/// A client for this server only, whatever replica set it belongs to.
pub(crate) fn direct(address: &str) -> mongodb::error::Result<Client> {
    let options = ClientOptions::builder()
        .hosts(vec![ServerAddress::parse(address)?])
        .direct_connection(true)
        .connect_timeout(RESPONSE_TIMEOUT)
        .server_selection_timeout(RESPONSE_TIMEOUT)
        .build();
    Client::with_options(options)
}

fn role_in(hello: &Document) -> ServerRole {
    let writable = hello.get_bool("isWritablePrimary").unwrap_or(false);
    if hello.get_str("msg").is_ok_and(|message| message == "isdbgrid") {
        ServerRole::Router
    } else if hello.get_bool("isreplicaset").unwrap_or(false) {
        ServerRole::Uninitiated
    } else if hello.contains_key("setName") {
        match hello.get_bool("secondary") {
            _ if writable => ServerRole::Primary,
            Ok(true) => ServerRole::Secondary,
            _ => ServerRole::Member,
        }
    } else {
        ServerRole::Standalone
    }
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match error.kind.as_ref() {
        mongodb::error::ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}
