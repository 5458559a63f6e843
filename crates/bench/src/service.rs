//! The whole service in this process, on a scratch database, for clients over HTTP.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use aegis::app::{App, ProjectionMode, Services};
use aegis::config::{ConfigSources, DatabaseSettings, load};
use aegis::http;
use store::Env;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::error::BenchError;
use crate::scratch::ScratchDatabase;

/// The keys of a scratch database; 32 bytes in base64, and any text.
const MASTER_KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";
const SECRET_KEY: &str = "the secret of a scratch database";

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

    pub(crate) async fn stop(self) {
        self.stop.cancel();
        // An error of the server would have failed the measurement.
        drop(self.serving.await);
        self.app.close().await;
    }
}

/// The settings of a service on that database, without limits for clients.
fn sources(database: &DatabaseSettings) -> ConfigSources {
    let mut environment: BTreeMap<_, _> = BTreeMap::from([
        ("AEGIS_RATE_LIMITS".to_owned(), "off".into()),
        ("AEGIS_LOG".to_owned(), "off".into()),
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
    ConfigSources { environment, ..ConfigSources::default() }
}
