//! An opened database for one command.

use std::time::Duration;

use projections::{Projection, RunnerHandle};
use store::{Ambient, Position, StoreError};
use tokio::time::timeout;

use super::failure::Failure;
use super::logging;
use crate::app::{Database, Node, Projecting, node_name, runner};
use crate::config::show::mask_url;
use crate::config::{CommandSettings, DatabaseSettings, Loaded, Sources, load};
use crate::webhooks::Sender;

/// How long a command looks for the database; somebody waits at the keyboard.
const PATIENCE: Duration = Duration::from_secs(9);

/// An opened database.
pub(super) struct Session {
    /// The store, commands and queries.
    pub(super) node: Node,
    /// Time and chance.
    pub(super) ambient: Ambient,
    /// Where webhooks may send to.
    pub(super) sender: Sender,
}

impl Session {
    /// Opens the database that the settings name.
    pub(super) async fn open(sources: &Sources) -> Result<Self, Failure> {
        let (settings, ambient) = (settings(sources)?, Ambient::system());
        let node = in_time(&settings, open(&settings, &ambient)).await?;
        let sender = Sender::new(&settings.webhooks);
        Ok(Self { node, ambient, sender })
    }

    /// Projects what there is, so that rows are true now, whether a service runs or not. Gives how far they are.
    pub(super) async fn catch_up(&self) -> Result<Position, Failure> {
        let mut reached = Position::START;
        for projection in projections::all() {
            reached = projections::catch_up(projection, &self.node.sources).await?;
        }
        Ok(reached)
    }

    /// Does the work on a read model from here, as long as no other node does.
    pub(super) fn run(&self, projection: &'static dyn Projection) -> RunnerHandle {
        runner(projection, &self.node.sources, &self.ambient, &node_name(&self.ambient))
    }

    /// Finishes what was written.
    pub(super) async fn close(self) {
        self.node.close().await;
    }
}

/// The settings, and the database that they name, for a command that has to work without opening the log.
pub(super) async fn connect(sources: &Sources) -> Result<(CommandSettings, Database), Failure> {
    let settings = settings(sources)?;
    let database = in_time(&settings, reach(&settings)).await?;
    Ok((settings, database))
}

/// The settings of a command, which logs from here on.
fn settings(sources: &Sources) -> Result<CommandSettings, Failure> {
    let Loaded { settings, warnings } = load::for_command(sources)?;
    logging::start(&settings.log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}

/// What comes of the database, if it answers in time.
async fn in_time<T>(
    settings: &CommandSettings,
    opening: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, Failure> {
    let opened = timeout(PATIENCE, opening).await;
    let opened = opened.unwrap_or_else(|_| Err(StoreError::Unavailable { what: no_answer(), source: None }));
    opened.map_err(|error| match &settings.database {
        DatabaseSettings::Embedded { .. } => error.into(),
        DatabaseSettings::Mongo { url, name } => {
            let url = mask_url(url.expose());
            Failure::Failed(format!("the database `{name}` at {url} cannot be used: {error}"))
        }
    })
}

async fn open(settings: &CommandSettings, ambient: &Ambient) -> Result<Node, StoreError> {
    let database = reach(settings).await?;
    Node::open(&database, &settings.master_key, ambient, Projecting::No).await
}

async fn reach(settings: &CommandSettings) -> Result<Database, StoreError> {
    let database = Database::connect(&settings.database).await?;
    if !database.log.exists().await? {
        // A mistyped name must not leave an empty log behind.
        let what = "it holds no log of Aegis: start the service on it once, or name another";
        return Err(StoreError::Refused(what.to_owned()));
    }
    Ok(database)
}

fn no_answer() -> String {
    format!("it has not answered for {} s", PATIENCE.as_secs())
}
