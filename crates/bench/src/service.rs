//! The whole service in this process, on a scratch database, for clients over HTTP.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aegis::app::{App, ProjectionMode, Services};
use aegis::command::{CommandContext, UserState};
use aegis::config::{ConfigSources, DatabaseSettings, load};
use aegis::crypto::InvalidToken;
use aegis::http;
use domain::{PasswordHash, Role, UserId};
use futures::future::try_join_all;
use projections::{Projection, Users};
use store::{Env, Position};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::BenchError;
use crate::scratch::ScratchDatabase;
use crate::time_slice::TimeSlice;
use crate::users::{ImportLimit, ImportedUsers, PASSWORD_HASH, registration};

/// The keys of a scratch database; 32 bytes in base64, and any text.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const SECRET_KEY: &str = "the secret of a scratch database";

/// Generous: a million imported users are projected after their import.
const PROJECTION_TIMEOUT: Duration = Duration::from_mins(30);

pub(crate) struct Service {
    app: Arc<App>,
    address: SocketAddr,
    stop: CancellationToken,
    serving: JoinHandle<io::Result<()>>,
}

impl Service {
    pub(crate) async fn start(scratch: &ScratchDatabase) -> Result<Self, BenchError> {
        let env = Env::system();
        let settings = load::for_service(&sources(scratch.settings()), &env);
        let settings = settings.map_err(BenchError::invalid)?.settings;
        let app = Arc::new(App::new(settings, env).map_err(BenchError::invalid)?);
        app.publish(app.connect(ProjectionMode::Enabled).await?);
        let listener = TcpListener::bind("127.0.0.1:0").await.map_err(BenchError::io("listening"))?;
        let address = listener.local_addr().map_err(BenchError::io("listening"))?;
        let stop = CancellationToken::new();
        let serving = tokio::spawn(http::serve(listener, Arc::clone(&app), stop.clone()));
        Ok(Self { app, address, stop, serving })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn services(&self) -> Result<&Services, BenchError> {
        self.app.services().map_err(BenchError::invalid)
    }

    /// Registers users with that hash, from number 0, and waits for their rows.
    pub(crate) async fn register_users(
        &self,
        count: u64,
        hash: &PasswordHash,
    ) -> Result<Vec<UserState>, BenchError> {
        let services = self.services()?;
        let register = async |number| {
            Ok::<_, BenchError>(
                services.users.register("bench", None, registration(number, hash.clone())?).await?,
            )
        };
        let users = try_join_all((0..count).map(register)).await?;
        self.wait_for_rows().await?;
        Ok(users)
    }

    /// Imports users with ascending numbers, from `first`, and waits for their rows.
    pub(crate) async fn import_users(
        &self,
        first: u64,
        count: u64,
        slice: &TimeSlice,
    ) -> Result<(), BenchError> {
        let services = self.services()?;
        let users = ImportedUsers::new(first, ImportLimit::Count(count, slice.clone()));
        users.import(&services.users).await?;
        slice.check()?;
        self.wait_for_rows().await
    }

    /// Creates users who may follow the event feed and own webhooks, with numbers from `first`.
    pub(crate) async fn create_subscribers(
        &self,
        first: u64,
        count: u64,
    ) -> Result<Vec<UserState>, BenchError> {
        let services = self.services()?;
        let hash = PasswordHash::from_stored(PASSWORD_HASH);
        let create = async |number| {
            let context = CommandContext::new("operator:bench", "bench");
            let roles = BTreeSet::from([Role::Subscriber]);
            let user = registration(number, hash.clone())?;
            Ok::<_, BenchError>(services.users.create(&context, user, &roles).await?)
        };
        let users = try_join_all((first..first + count).map(create)).await?;
        self.wait_for_rows().await?;
        Ok(users)
    }

    /// Registers the user with that number; returns the position of the event.
    pub(crate) async fn register(self: Arc<Self>, number: u64) -> Result<Position, BenchError> {
        let user = registration(number, PasswordHash::from_stored(PASSWORD_HASH))?;
        let registered = self.services()?.users.register("bench", None, user).await?;
        registered.position.ok_or_else(|| BenchError::invalid("a registration has no position"))
    }

    /// An access token of each user, who has that version.
    pub(crate) fn tokens(
        &self,
        users: impl IntoIterator<Item = (UserId, u64)>,
    ) -> Result<Vec<String>, BenchError> {
        let epoch = self.services()?.store.identity().epoch;
        let token = |(id, version)| Ok(self.app.tokens.issue(id, version, epoch)?.token);
        users.into_iter().map(token).collect::<Result<_, InvalidToken>>().map_err(BenchError::invalid)
    }

    /// Waits until the rows include everything that is committed now.
    pub(crate) async fn wait_for_rows(&self) -> Result<(), BenchError> {
        let store = &self.services()?.store;
        let users: &dyn Projection = &Users;
        let table = users.table(store.progress().live_version(Users.name()));
        if store.wait_until_applied(&table.name, store.head().await?.position, PROJECTION_TIMEOUT).await {
            return Ok(());
        }
        Err(BenchError::invalid("the projectors do not catch up"))
    }

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // An error of the server would have failed the measurement.
        drop(self.serving.await);
        self.app.close().await;
    }
}

fn sources(database: &DatabaseSettings) -> ConfigSources {
    ConfigSources { environment: environment(database), ..ConfigSources::default() }
}

/// The settings of a service on that database, without limits for clients, and with webhooks to this machine.
pub(crate) fn environment(database: &DatabaseSettings) -> BTreeMap<String, OsString> {
    let mut environment: BTreeMap<_, _> = BTreeMap::from([
        ("AEGIS_RATE_LIMITS".to_owned(), "off".into()),
        ("AEGIS_LOG".to_owned(), "off".into()),
        ("AEGIS_WEBHOOK_ALLOW_PRIVATE".to_owned(), "127.0.0.0/8".into()),
    ]);
    match database {
        DatabaseSettings::Embedded { data_dir } => {
            environment.insert("AEGIS_DATA_DIR".to_owned(), data_dir.clone().into_os_string());
        }
        DatabaseSettings::Mongo { url, name } => {
            for (setting, value) in [
                ("MONGODB_URL", url.expose().to_owned()),
                ("DATABASE_NAME", name.clone()),
                ("SECRET_KEY", SECRET_KEY.to_owned()),
                ("AEGIS_MASTER_KEY", MASTER_KEY.to_owned()),
            ] {
                environment.insert(setting.to_owned(), value.into());
            }
        }
    }
    environment
}
