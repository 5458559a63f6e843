//! Making a server fail on purpose, through the fail points that MongoDB has for its own tests.

use std::time::Duration;

use mongodb::Client;
use mongodb::bson::{Bson, Document, doc};

use crate::or_fail;
use crate::server::MongodServer;

/// Generous: a loaded machine may take long, and nothing waits once it has happened.
const HIT_TIMEOUT: Duration = Duration::from_mins(1);

/// A fail point that is set on one server, until it is cleared. Of each name a server has one.
#[derive(Debug)]
pub struct FailPoint {
    client: Client,
    name: &'static str,
    /// How often the server had met it before it was set.
    before: i64,
}

/// How often a fail point takes effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FailPointMode {
    /// Only the first so many times.
    Times(i32),
    /// Each time, until it is cleared.
    Always,
}

impl FailPoint {
    /// Sets `failCommand`. `data` says which commands it meets (`failCommands`, `appName`, `namespace`) and what happens
    /// to them (`errorCode`, `errorLabels`, `closeConnection`, `writeConcernError`, `blockConnection` and `blockTimeMS`).
    ///
    /// # Panics
    /// When the server does not take it.
    pub async fn command(server: &MongodServer, failing: FailPointMode, data: Document) -> Self {
        Self::named("failCommand", server, failing, data).await
    }

    /// Sets the fail point of that name.
    ///
    /// # Panics
    /// When the server does not take it.
    pub async fn named(
        name: &'static str,
        server: &MongodServer,
        failing: FailPointMode,
        data: Document,
    ) -> Self {
        // Spoken to alone: through its set, the primary would be made to fail instead.
        let client = or_fail(crate::admin_connection::direct(&server.address()));
        let mode = match failing {
            FailPointMode::Times(times) => Bson::from(doc! { "times": times }),
            FailPointMode::Always => "alwaysOn".into(),
        };
        let before = or_fail(configure(&client, name, mode, data).await);
        Self { client, name, before }
    }

    /// Waits until it has taken effect so often.
    ///
    /// # Panics
    /// When it does not within a minute.
    pub async fn wait_for_hits(&self, times: i64) {
        let wanted = doc! {
            "waitForFailPoint": self.name,
            "timesEntered": self.before + times,
            "maxTimeMS": i64::try_from(HIT_TIMEOUT.as_millis()).unwrap_or(i64::MAX),
        };
        or_fail(self.client.database("admin").run_command(wanted).await);
    }

    /// Takes it away. Says how often it has taken effect.
    ///
    /// # Panics
    /// When the server does not answer.
    pub async fn clear(self) -> i64 {
        or_fail(configure(&self.client, self.name, "off".into(), Document::new()).await) - self.before
    }
}

/// Says how often the server has met the fail point in its life.
async fn configure(client: &Client, name: &str, mode: Bson, data: Document) -> mongodb::error::Result<i64> {
    let command = doc! { "configureFailPoint": name, "mode": mode, "data": data };
    let answer = client.database("admin").run_command(command).await?;
    Ok(match answer.get("count") {
        Some(Bson::Int32(count)) => i64::from(*count),
        Some(Bson::Int64(count)) => *count,
        _ => 0,
    })
}
