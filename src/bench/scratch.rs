//! Where is measured: a scratch folder, and scratch databases on a MongoDB. Nothing is done to any database that was
//! there before, and nothing is left behind.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use clap::ValueEnum;
use mongodb::Client;
use store::Env;

use super::BenchError;
use super::mongod::Mongod;
use super::watchdog::Watchdog;
use crate::config::{DatabaseSettings, Secret};

/// A kind of store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StoreKind {
    /// The embedded one.
    Sqlite,
    /// A MongoDB replica set.
    Mongodb,
}

impl StoreKind {
    /// Its name in figures.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Mongodb => "mongodb",
        }
    }
}

/// How a MongoDB is found.
#[derive(Clone, Debug)]
pub enum MongoServer {
    /// One that runs already; its other databases are left alone.
    Existing(Secret),
    /// One that is started for the purpose and removed afterwards.
    Temporary(PathBuf),
}

/// The scratch folder, and the server started in it. Removed when dropped, or when this process ends.
pub struct ScratchFolder {
    // In the order in which they go: the watchdog removes the folder last.
    mongod: Option<Mongod>,
    watchdog: Watchdog,
    folder: PathBuf,
    /// Unlike any other's.
    name: String,
}

impl ScratchFolder {
    /// Makes a scratch folder within another.
    ///
    /// # Errors
    /// [`BenchError::Io`] if it cannot be made.
    pub fn create_in(folder: &Path) -> Result<Self, BenchError> {
        let name = Env::system().uuid().simple().to_string();
        let folder = folder.join(format!("aegis-bench-{name}"));
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(BenchError::io(format!("making the scratch folder {}", folder.display())))?;
        let watchdog = Watchdog::over(&folder).map_err(BenchError::io("starting the watchdog (sh)"))?;
        Ok(Self { mongod: None, watchdog, folder, name })
    }

    /// A place for embedded databases.
    #[must_use]
    pub fn sqlite(&self) -> ScratchDatabases {
        ScratchDatabases::new(Location::Folder, &self.folder)
    }

    /// A place on a MongoDB.
    ///
    /// # Errors
    /// [`BenchError::MongodUnavailable`] if a server that has to be started does not run.
    pub async fn mongodb(&mut self, server: &MongoServer) -> Result<ScratchDatabases, BenchError> {
        let (url, remove) = match server {
            MongoServer::Existing(url) => (url.clone(), true),
            MongoServer::Temporary(executable) => {
                let started = Mongod::start(executable, &self.folder, &mut self.watchdog).await?;
                (Secret::new(self.mongod.insert(started).url()), false)
            }
        };
        let prefix = format!("aegis_bench_{}", self.name);
        Ok(ScratchDatabases::new(Location::Server { url, prefix, remove }, &self.folder))
    }
}

/// Where scratch databases of one kind are made.
pub struct ScratchDatabases {
    kind: Location,
    folder: PathBuf,
    made: Mutex<Vec<String>>,
}

enum Location {
    Folder,
    Server {
        url: Secret,
        prefix: String,
        /// Whether the server outlives its scratch databases.
        remove: bool,
    },
}

impl ScratchDatabases {
    fn new(kind: Location, folder: &Path) -> Self {
        Self { kind, folder: folder.to_owned(), made: Mutex::default() }
    }

    /// A path that nothing is at. Whatever is put there is removed in the end.
    pub(super) fn file(&self) -> PathBuf {
        self.folder.join(self.next_name("file"))
    }

    /// The kind of store that is measured here.
    #[must_use]
    pub fn store(&self) -> StoreKind {
        match self.kind {
            Location::Folder => StoreKind::Sqlite,
            Location::Server { .. } => StoreKind::Mongodb,
        }
    }

    /// A database that was not there before.
    pub(super) async fn database(&self) -> Result<ScratchDatabase, BenchError> {
        match &self.kind {
            Location::Folder => {
                let data_dir = self.folder.join(self.next_name("database"));
                let made = tokio::fs::create_dir(&data_dir).await;
                made.map_err(BenchError::io("making a folder for a database"))?;
                Ok(ScratchDatabase(DatabaseSettings::Embedded { data_dir }))
            }
            Location::Server { url, prefix, .. } => Ok(ScratchDatabase(DatabaseSettings::Mongo {
                url: url.clone(),
                name: self.next_name(prefix),
            })),
        }
    }

    /// Removes every database that was made here, whatever became of the measuring.
    ///
    /// # Errors
    /// [`BenchError::Mongo`] if a server does not do it.
    pub async fn clear(&self) -> Result<(), BenchError> {
        let made = std::mem::take(&mut *self.made());
        match &self.kind {
            Location::Server { url, prefix, remove: true } if !made.is_empty() => {
                let client = Client::with_uri_str(url.expose()).await?;
                for name in made.iter().filter(|name| name.starts_with(prefix)) {
                    client.database(name).drop().await?;
                }
            }
            // They go with the folder.
            Location::Server { .. } | Location::Folder => {}
        }
        Ok(())
    }

    fn next_name(&self, prefix: &str) -> String {
        let mut made = self.made();
        let name = format!("{prefix}_{}", made.len());
        made.push(name.clone());
        name
    }

    fn made(&self) -> std::sync::MutexGuard<'_, Vec<String>> {
        self.made.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// A database of one figure's own.
pub(super) struct ScratchDatabase(DatabaseSettings);

impl ScratchDatabase {
    /// How it is opened.
    pub(super) fn settings(&self) -> &DatabaseSettings {
        &self.0
    }
}
