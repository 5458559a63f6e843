//! An opened database, for one command.

use std::sync::Arc;
use std::time::Duration;

use domain::{EmailAddress, UserId, Username, UsernamePolicy};
use projections::{ProjectionHandle, UserRow};
use store::checkpoint::VerifierKey;
use store::{Env, Position};
use tokio::time::timeout;

use super::error::{CliError, CliResult};
use super::operator;
use super::process::{forbid_core_dumps, start_logging};
use crate::app::{Database, ProjectionMode, Services, node_name, start_projector};
use crate::command::CommandContext;
use crate::config::show::mask_url;
use crate::config::{CommandSettings, ConfigSources, DatabaseSettings, Loaded, PasswordSettings, load};
use crate::webhooks::WebhookSender;

/// How long a command waits for the database.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(9);

pub(super) struct Session {
    pub(super) services: Services,
    pub(super) env: Env,
    /// The operator as the actor, and the request id.
    pub(super) context: CommandContext,
    /// Checks the URLs of webhooks.
    pub(super) sender: WebhookSender,
    pub(super) passwords: PasswordSettings,
    /// Which usernames are accepted.
    pub(super) usernames: UsernamePolicy,
}

impl Session {
    async fn open(sources: &ConfigSources) -> Result<Self, CliError> {
        let (settings, env) = (load_settings(sources)?, Env::system());
        let services = with_timeout(&settings, open_services(&settings, &env)).await?;
        let (context, sender) = (operator::command_context(&env), WebhookSender::new(&settings.webhooks));
        let CommandSettings { passwords, usernames, .. } = settings;
        Ok(Self { services, env, context, sender, passwords, usernames })
    }

    /// Runs a command on an opened database and waits for its pending writes.
    pub(super) async fn run(
        sources: &ConfigSources,
        command: impl AsyncFnOnce(&Self) -> CliResult,
    ) -> CliResult {
        // Opening is the largest of these futures by far.
        let session = Box::pin(Self::open(sources)).await?;
        let result = command(&session).await;
        session.services.close().await;
        result
    }

    /// Brings all projections up to date, so that rows are current without a running service. Returns their
    /// position.
    pub(super) async fn catch_up(&self) -> Result<Position, CliError> {
        let mut reached = Position::START;
        for projection in projections::all() {
            reached = projections::catch_up(projection, &self.services.projection_context).await?;
        }
        Ok(reached)
    }

    /// Runs the projector in this process, unless another node is the leader.
    pub(super) fn run_projector(&self) -> ProjectionHandle {
        start_projector(&self.services.projection_context, &self.env, &node_name(&self.env))
    }

    /// The key with which the log's checkpoints are verified.
    pub(super) fn verifier_key(&self) -> Result<VerifierKey, CliError> {
        let key = self.services.store.signer().verifier_key().parse();
        key.map_err(|error| CliError::VerifierKey { of: "the key of the log".to_owned(), error })
    }

    /// The current row of the user with that id or e-mail address or, if there is none, with that username.
    pub(super) async fn user(&self, text: &str) -> CliResult<UserRow> {
        self.catch_up().await?;
        let rows = &self.services.user_rows;
        let row = match (UserId::parse(text), EmailAddress::parse(text)) {
            (Ok(id), _) => rows.by_id(id).await?.map(Arc::unwrap_or_clone),
            (Err(_), Ok(email)) => rows.by_email(&email).await?,
            (Err(_), Err(_)) => None,
        };
        let row = match (row, Username::parse(text)) {
            (None, Ok(username)) => rows.by_username(&username).await?,
            (row, _) => row,
        };
        row.ok_or_else(|| CliError::UserNotFound(text.to_owned()))
    }

    /// The id itself, which need not belong to a user and needs no row, or the id of the user who has that
    /// e-mail address or username now.
    pub(super) async fn user_id(&self, text: &str) -> CliResult<UserId> {
        match UserId::parse(text) {
            Ok(id) => Ok(id),
            Err(_) => Ok(self.user(text).await?.id),
        }
    }
}

/// The settings and their database, for commands that must work even if the log cannot be opened.
pub(super) async fn connect(sources: &ConfigSources) -> Result<(CommandSettings, Database), CliError> {
    let settings = load_settings(sources)?;
    let database = with_timeout(&settings, connect_existing(&settings)).await?;
    Ok((settings, database))
}

/// Loads the settings of a command and starts logging.
fn load_settings(sources: &ConfigSources) -> Result<CommandSettings, CliError> {
    let core_dumps = forbid_core_dumps();
    let Loaded { settings, warnings } = load::for_command(sources)?;
    start_logging(&settings.log);
    for warning in warnings.into_iter().chain(core_dumps) {
        tracing::warn!("{warning}");
    }
    Ok(settings)
}

/// Connects or opens within [`CONNECT_TIMEOUT`]. An error names the MongoDB database.
async fn with_timeout<T>(
    settings: &CommandSettings,
    opening: impl Future<Output = Result<T, CliError>>,
) -> Result<T, CliError> {
    let opened = timeout(CONNECT_TIMEOUT, opening).await;
    let opened = opened.unwrap_or(Err(CliError::DatabaseTimeout(CONNECT_TIMEOUT)));
    opened.map_err(|error| match &settings.database {
        DatabaseSettings::Embedded { .. } => error,
        DatabaseSettings::Mongo { url, name } => {
            CliError::Database { name: name.clone(), url: mask_url(url.expose()), error: Box::new(error) }
        }
    })
}

async fn open_services(settings: &CommandSettings, env: &Env) -> Result<Services, CliError> {
    let database = connect_existing(settings).await?;
    Ok(Services::open(&database, &settings.master_key, env, ProjectionMode::Disabled).await?)
}

async fn connect_existing(settings: &CommandSettings) -> Result<Database, CliError> {
    let database = Database::connect(&settings.database).await?;
    // A mistyped name must not leave an empty log behind.
    if database.log.exists().await? { Ok(database) } else { Err(CliError::NoLog) }
}
