//! Fault injection through MongoDB's fail points, which its own tests use (`configureFailPoint`).

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};

use crate::or_fail;
use crate::server::MongodServer;

/// Upper bound for a loaded machine; the wait ends with the hit.
const HIT_TIMEOUT: Duration = Duration::from_mins(1);

/// A fail point that is active on one server until it is cleared. A server has one fail point of each name.
#[derive(Debug)]
pub struct FailPoint {
    client: Client,
    name: &'static str,
    /// The hit count of the server before the fail point was set.
    before: i64,
}

/// How often a fail point triggers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPointMode {
    /// The first `n` times only.
    Times(i32),
    /// Every time until it is cleared.
    Always,
}

impl FailPoint {
    /// Sets `failCommand`. `data` selects the commands (`failCommands`, `appName`, `namespace`) and the
    /// effect (`errorCode`, `errorLabels`, `closeConnection`, `writeConcernError`, `blockConnection` and
    /// `blockTimeMS`).
    ///
    /// # Panics
    /// If the server rejects the command.
    pub async fn command(server: &MongodServer, failing: FailPointMode, data: Document) -> Self {
        Self::named("failCommand", server, failing, data).await
    }

    /// Sets the fail point `name`.
    ///
    /// # Panics
    /// If the server rejects the command.
    pub async fn named(
        name: &'static str,
        server: &MongodServer,
        failing: FailPointMode,
        data: Document,
    ) -> Self {
        // A direct connection: a replica set URL would set the fail point on the primary instead.
        let client = or_fail(crate::admin_connection::direct(&server.address()));
        let mode = match failing {
            FailPointMode::Times(times) => Bson::from(doc! { "times": times }),
            FailPointMode::Always => "alwaysOn".into(),
        };
        let before = or_fail(configure(&client, name, mode, data).await);
        Self { client, name, before }
    }

    /// Waits until the fail point was hit `times` times.
    ///
    /// # Panics
    /// If that takes longer than a minute.
    pub async fn wait_for_hits(&self, times: i64) {
        let wanted = doc! {
            "waitForFailPoint": self.name,
            "timesEntered": self.before + times,
            "maxTimeMS": i64::try_from(HIT_TIMEOUT.as_millis()).unwrap_or(i64::MAX),
        };
        or_fail(self.client.database("admin").run_command(wanted).await);
    }

    /// Clears the fail point; returns how often it was hit.
    ///
    /// # Panics
    /// If the server does not answer.
    pub async fn clear(self) -> i64 {
        or_fail(configure(&self.client, self.name, "off".into(), Document::new()).await) - self.before
    }
}

/// Configures a fail point; returns its hit count since the start of the server.
async fn configure(client: &Client, name: &str, mode: Bson, data: Document) -> mongodb::error::Result<i64> {
    let command = doc! { "configureFailPoint": name, "mode": mode, "data": data };
    let answer = client.database("admin").run_command(command).await?;
    Ok(match answer.get("count") {
        Some(Bson::Int32(count)) => i64::from(*count),
        Some(Bson::Int64(count)) => *count,
        _ => 0,
    })
}
