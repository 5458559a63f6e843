//! Where benchmarks run: a scratch folder, and scratch databases on a MongoDB. Existing databases are never
//! touched, and everything is removed at the end.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use aegis::config::{DatabaseSettings, Secret};
use clap::ValueEnum;
use mongodb::Client;
use serde::{Deserialize, Serialize};
use store::Env;
use testkit::ResourceReaper;

use crate::error::BenchError;
use crate::mongod::Mongod;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum StoreKind {
    Sqlite,
    Mongodb,
}

impl StoreKind {
    pub(crate) const ALL: &'static [Self] = &[Self::Sqlite, Self::Mongodb];

    /// Its name in results.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Mongodb => "mongodb",
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum MongoServer {
    /// A running one; its other databases are not touched.
    Existing(Secret),
    /// One that is started for the benchmark and removed afterwards.
    Temporary(PathBuf),
}

/// The scratch folder, and the server started in it. Both are removed when dropped, or when this process
/// ends.
pub(crate) struct ScratchFolder {
    // Dropped in this order: the reaper removes the folder last.
    mongod: Option<Mongod>,
    reaper: ResourceReaper,
    folder: PathBuf,
    /// Unique.
    name: String,
}

impl ScratchFolder {
    /// Creates a scratch folder below `folder`.
    pub(crate) fn create_in(folder: &Path) -> Result<Self, BenchError> {
        let name = Env::system().uuid().simple().to_string();
        let folder = folder.join(format!("aegis-bench-{name}"));
        let made = DirBuilder::new().mode(0o700).create(&folder);
        made.map_err(BenchError::io(format!("creating the scratch folder {}", folder.display())))?;
        let reaper =
            ResourceReaper::owning_folder(&folder).map_err(BenchError::io("starting the reaper (sh)"))?;
        Ok(Self { mongod: None, reaper, folder, name })
    }

    pub(crate) fn sqlite(&self) -> ScratchDatabases {
        ScratchDatabases::new(Location::Folder, &self.folder)
    }

    /// Fails with [`BenchError::MongodUnavailable`] if a server that has to be started does not run.
    pub(crate) async fn mongodb(&mut self, server: &MongoServer) -> Result<ScratchDatabases, BenchError> {
        let (url, remove) = match server {
            MongoServer::Existing(url) => (url.clone(), true),
            MongoServer::Temporary(executable) => {
                let started = Mongod::start(executable, &self.folder, &mut self.reaper).await?;
                (Secret::new(self.mongod.insert(started).url()), false)
            }
        };
        let prefix = format!("aegis_bench_{}", self.name);
        Ok(ScratchDatabases::new(Location::Server { url, prefix, remove }, &self.folder))
    }
}

/// Creates scratch databases of one kind.
pub(crate) struct ScratchDatabases {
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

    /// An unused path. A file created there is removed at the end.
    pub(crate) fn file(&self) -> PathBuf {
        self.folder.join(self.next_name("file"))
    }

    pub(crate) fn store(&self) -> StoreKind {
        match self.kind {
            Location::Folder => StoreKind::Sqlite,
            Location::Server { .. } => StoreKind::Mongodb,
        }
    }

    /// Creates a new database.
    pub(crate) async fn database(&self) -> Result<ScratchDatabase, BenchError> {
        match &self.kind {
            Location::Folder => {
                let data_dir = self.folder.join(self.next_name("database"));
                let made = tokio::fs::create_dir(&data_dir).await;
                made.map_err(BenchError::io("creating a folder for a database"))?;
                Ok(ScratchDatabase(DatabaseSettings::Embedded { data_dir }))
            }
            Location::Server { url, prefix, .. } => Ok(ScratchDatabase(DatabaseSettings::Mongo {
                url: url.clone(),
                name: self.next_name(prefix),
            })),
        }
    }

    /// Drops every database that was created on a server that outlives the benchmark.
    pub(crate) async fn clear(&self) -> Result<(), BenchError> {
        let made = std::mem::take(&mut *self.made());
        match &self.kind {
            Location::Server { url, prefix, remove: true } if !made.is_empty() => {
                let client = Client::with_uri_str(url.expose()).await?;
                for name in made.iter().filter(|name| name.starts_with(prefix)) {
                    client.database(name).drop().await?;
                }
            }
            // Removed with the folder.
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

/// The database of one benchmark.
pub(crate) struct ScratchDatabase(DatabaseSettings);

impl ScratchDatabase {
    pub(crate) fn settings(&self) -> &DatabaseSettings {
        &self.0
    }
}
