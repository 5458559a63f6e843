//! An opened database for one command.

use std::time::Duration;

use projections::{Projection, ProjectionHandle};
use store::{Env, Position, StoreError};
use tokio::time::timeout;

use super::error::CliError;
use super::logging;
use crate::app::{Database, ProjectionMode, Services, node_name, start_projector};
use crate::config::show::mask_url;
use crate::config::{CommandSettings, ConfigSources, DatabaseSettings, Loaded, load};
use crate::webhooks::WebhookSender;

/// How long a command looks for the database; somebody waits at the keyboard.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(9);

/// An opened database.
pub(super) struct Session {
    /// The store, commands and queries.
    pub(super) services: Services,
    /// Time and chance.
    pub(super) env: Env,
    /// Where webhooks may send to.
    pub(super) sender: WebhookSender,
}

impl Session {
    /// Opens the database that the settings name.
    pub(super) async fn open(sources: &ConfigSources) -> Result<Self, CliError> {
        let (settings, env) = (settings(sources)?, Env::system());
        let services = with_timeout(&settings, open(&settings, &env)).await?;
        let sender = WebhookSender::new(&settings.webhooks);
        Ok(Self { services, env, sender })
    }

    /// Projects what there is, so that rows are true now, whether a service runs or not. Gives how far they are.
    pub(super) async fn catch_up(&self) -> Result<Position, CliError> {
        let mut reached = Position::START;
        for projection in projections::all() {
            reached = projections::catch_up(projection, &self.services.projection_context).await?;
        }
        Ok(reached)
    }

    /// Does the work on a read model from here, as long as no other node does.
    pub(super) fn run(&self, projection: &'static dyn Projection) -> ProjectionHandle {
        start_projector(projection, &self.services.projection_context, &self.env, &node_name(&self.env))
    }

    /// Finishes what was written.
    pub(super) async fn close(self) {
        self.services.close().await;
    }
}

/// The settings, and the database that they name, for a command that has to work without opening the log.
pub(super) async fn connect(sources: &ConfigSources) -> Result<(CommandSettings, Database), CliError> {
    let settings = settings(sources)?;
    let database = with_timeout(&settings, reach(&settings)).await?;
    Ok((settings, database))
}

/// The settings of a command, which logs from here on.
fn settings(sources: &ConfigSources) -> Result<CommandSettings, CliError> {
    let Loaded { settings, warnings } = load::for_command(sources)?;
    logging::start(&settings.log);
    for warning in warnings {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}

/// What comes of the database, if it answers in time.
async fn with_timeout<T>(
    settings: &CommandSettings,
    opening: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, CliError> {
    let opened = timeout(CONNECT_TIMEOUT, opening).await;
    let opened =
        opened.unwrap_or_else(|_| Err(StoreError::Unavailable { what: timeout_message(), source: None }));
    opened.map_err(|error| match &settings.database {
        DatabaseSettings::Embedded { .. } => error.into(),
        DatabaseSettings::Mongo { url, name } => {
            let url = mask_url(url.expose());
            CliError::Failed(format!("the database `{name}` at {url} cannot be used: {error}"))
        }
    })
}

async fn open(settings: &CommandSettings, env: &Env) -> Result<Services, StoreError> {
    let database = reach(settings).await?;
    Services::open(&database, &settings.master_key, env, ProjectionMode::Disabled).await
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

fn timeout_message() -> String {
    format!("it has not answered for {} s", CONNECT_TIMEOUT.as_secs())
}
