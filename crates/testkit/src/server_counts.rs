//! What a MongoDB has executed, from `serverStatus`: numbers that do not depend on how busy the machine is.

use std::collections::BTreeMap;

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};
use mongodb::error::Error;

/// Commands of the monitoring by drivers and members of the replica set, and the one that counts.
const NOT_COUNTED: [&str; 9] = [
    "hello",
    "isMaster",
    "ping",
    "endSessions",
    "serverStatus",
    "saslStart",
    "saslContinue",
    "buildInfo",
    "replSetUpdatePosition",
];

/// What a server has executed since it started.
#[derive(Clone, Debug, Default)]
pub struct ServerCounts {
    /// Executed commands by name, without those of monitoring.
    pub commands: BTreeMap<String, i64>,
    /// Committed transactions.
    pub transactions: i64,
    /// Documents returned by queries.
    pub documents_returned: i64,
}

impl ServerCounts {
    /// Reads the counts of a server.
    ///
    /// # Errors
    /// The error of the driver, or one that names a number which the server does not report.
    pub async fn read(server: &Client) -> Result<Self, Error> {
        let status = server.database("admin").run_command(doc! { "serverStatus": 1 }).await?;
        let metrics = document(&status, "metrics")?;
        let total = |(name, counter): (&String, &Bson)| {
            let total = counter.as_document()?.get("total").and_then(number)?;
            (!NOT_COUNTED.contains(&name.as_str())).then(|| (name.clone(), total))
        };
        Ok(Self {
            commands: document(metrics, "commands")?.iter().filter_map(total).collect(),
            transactions: required(document(&status, "transactions")?, "totalCommitted")?,
            documents_returned: required(document(metrics, "document")?, "returned")?,
        })
    }

    /// All commands together.
    #[must_use]
    pub fn total(&self) -> i64 {
        self.commands.values().sum()
    }

    /// What was executed since an earlier reading.
    #[must_use]
    pub fn since(&self, before: &Self) -> Self {
        let more = |(name, total): (&String, &i64)| {
            let more = total - before.commands.get(name).copied().unwrap_or_default();
            (more > 0).then(|| (name.clone(), more))
        };
        Self {
            commands: self.commands.iter().filter_map(more).collect(),
            transactions: self.transactions - before.transactions,
            documents_returned: self.documents_returned - before.documents_returned,
        }
    }
}

fn document<'a>(parent: &'a Document, name: &str) -> Result<&'a Document, Error> {
    parent.get_document(name).map_err(|_| missing(name))
}

fn required(parent: &Document, name: &str) -> Result<i64, Error> {
    parent.get(name).and_then(number).ok_or_else(|| missing(name))
}

fn number(value: &Bson) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}

fn missing(name: &str) -> Error {
    Error::custom(format!("`serverStatus` does not report `{name}`"))
}
