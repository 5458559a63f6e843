//! Measures everything with one number of users on one store.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aegis::config::{DATABASE_FILE, DatabaseSettings};
use domain::UserId;
use mongodb::Client;
use mongodb::bson::{Bson, doc};
use projections::{Projection, UserRow, Users};
use rusqlite::Connection;
use store::Env;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::conditions::Conditions;
use super::point::{Figures, Point};
use crate::benchmarks::{LoginsWithoutHash, rebuild, users_me};
use crate::error::BenchError;
use crate::load_generator::{Requests, latencies, requests_per_second};
use crate::scratch::{ScratchDatabase, ScratchDatabases};
use crate::serve_process::ServeProcess;
use crate::service::Service;
use crate::target::{p99_ms, per_second};
use crate::time_slice::TimeSlice;

/// How long each of them is measured.
const SLICE: Duration = Duration::from_secs(5);
/// 20,000 users make requests, twice as many as a node keeps in memory, unless there are fewer.
const NEIGHBOURS: usize = 50;
const PAGES: u128 = 400;
/// `GET /users/me` per second where its latency is measured.
const RATE: u32 = 500;
/// Sign-ups in progress.
const CONCURRENCY: u64 = 128;

pub(super) async fn measure(
    users: u64,
    scratch: &ScratchDatabases,
    conditions: Conditions,
    stop: &CancellationToken,
) -> Result<Point, BenchError> {
    let slice = || TimeSlice::new(SLICE, stop.clone());
    let database = scratch.database().await?;
    let service = Service::start(&database).await?;
    let begun = Instant::now();
    service.import_users(0, users, &slice()).await?;
    service.wait_for_rows().await?;
    let imported_per_second = per_second(users, begun.elapsed());
    service.stop().await;
    let disk_bytes_per_user = disk_bytes(&database).await? / as_f64(users);

    let service = Arc::new(Service::start(&database).await?);
    let active = active_users(&service).await?;
    let ids: Arc<[UserId]> = active.iter().map(|user| user.id).collect();
    let requests = users_me(service.tokens(active.iter().map(|user| (user.id, user.version)))?);
    let in_process = InProcess { service: Arc::clone(&service), requests: Arc::clone(&requests), ids };
    let measured = in_process.measure(users, &slice).await;
    drop(in_process);
    if let Ok(service) = Arc::try_unwrap(service) {
        service.stop().await;
    }
    let measured = measured?;

    let process = ServeProcess::start(&database).await?;
    requests_per_second(process.address(), &requests, &slice()).await?;
    let figures = Figures {
        imported_per_second,
        disk_bytes_per_user,
        start_up_ms: process.start_up().as_secs_f64() * 1000.0,
        resident_mb: process.resident_mb()?,
        ..measured
    };
    drop(process);
    remove(&database).await?;
    Ok(Point { store: scratch.store(), users, figures, conditions })
}

/// A service in this process, and the users who make requests.
struct InProcess {
    service: Arc<Service>,
    requests: Requests,
    ids: Arc<[UserId]>,
}

impl InProcess {
    /// Everything but what needs a process of its own.
    async fn measure(&self, users: u64, slice: &impl Fn() -> TimeSlice) -> Result<Figures, BenchError> {
        let address = self.service.address();
        let services = self.service.services()?;
        let rebuild_begun = services.store.head().await?.position.get();
        let (_, took) = rebuild(&services.projection_context).await?;
        let rebuilt_rows_per_second = per_second(rebuild_begun, took);
        // Fills the caches.
        requests_per_second(address, &self.requests, &slice()).await?;
        let users_me_per_second = requests_per_second(address, &self.requests, &slice()).await?;
        let until = slice();
        let took = latencies(address, &self.requests, RATE, move || until.is_over()).await?;
        Ok(Figures {
            users_me_per_second,
            users_me_p99_ms: p99_ms(took),
            logins_per_second: self.logins_per_second(&slice()).await?,
            sign_ups_per_second: self.sign_ups_per_second(users, &slice()).await?,
            rebuilt_rows_per_second,
            imported_per_second: 0.0,
            start_up_ms: 0.0,
            resident_mb: 0.0,
            disk_bytes_per_user: 0.0,
        })
    }

    async fn logins_per_second(&self, slice: &TimeSlice) -> Result<f64, BenchError> {
        let services = self.service.services()?;
        let users: &dyn Projection = &Users;
        let logins = LoginsWithoutHash {
            rows: Arc::clone(&services.projection_context.rows),
            table: users.table(services.store.progress().live_version(Users.name())),
            ids: Arc::clone(&self.ids),
        };
        let begun = Instant::now();
        let count = logins.log_in(Some(&services.logins), slice, u64::MAX).await?;
        Ok(per_second(count, begun.elapsed()))
    }

    async fn sign_ups_per_second(&self, first: u64, slice: &TimeSlice) -> Result<f64, BenchError> {
        let (mut clients, next) = (JoinSet::new(), Arc::new(AtomicU64::new(first)));
        let begun = Instant::now();
        for _ in 0..CONCURRENCY {
            let (service, next, slice) = (Arc::clone(&self.service), Arc::clone(&next), slice.clone());
            clients.spawn(async move {
                let mut count = 0_u64;
                while count == 0 || !slice.is_over() {
                    slice.check()?;
                    Arc::clone(&service).register(next.fetch_add(1, Ordering::Relaxed)).await?;
                    count += 1;
                }
                Ok::<_, BenchError>(count)
            });
        }
        let mut count = 0;
        while let Some(done) = clients.join_next().await {
            count += done.map_err(BenchError::invalid)??;
        }
        Ok(per_second(count, begun.elapsed()))
    }
}

/// Users of all times of the import, so that caches of the database gain little from neighbours: ids begin with the
/// time.
async fn active_users(service: &Service) -> Result<Vec<UserRow>, BenchError> {
    let rows = &service.services()?.user_rows;
    let first = rows.page(None, 1).await.map_err(BenchError::invalid)?;
    let first = first.first().ok_or_else(|| BenchError::invalid("there are no users"))?.id.as_uuid();
    let step = (Env::system().uuid().as_u128() - first.as_u128()) / PAGES;
    let mut found = BTreeMap::new();
    for page in 0..PAGES {
        let after = UserId::from_uuid(Uuid::from_u128(first.as_u128() + page * step));
        let page = rows.page(Some(after), NEIGHBOURS).await.map_err(BenchError::invalid)?;
        found.extend(page.into_iter().map(|user| (user.id, user)));
    }
    Ok(found.into_values().collect())
}

/// The size of the database while no service runs on it; on MongoDB without journal and oplog.
async fn disk_bytes(database: &ScratchDatabase) -> Result<f64, BenchError> {
    match database.settings() {
        DatabaseSettings::Embedded { data_dir } => {
            // What is only in the write-ahead log would count twice later.
            let connection = Connection::open(data_dir.join(DATABASE_FILE))?;
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
            drop(connection);
            files_bytes(data_dir).map(as_f64)
        }
        DatabaseSettings::Mongo { url, name } => {
            let client = Client::with_uri_str(url.expose()).await?;
            // Sizes are those of the last checkpoint.
            client.database("admin").run_command(doc! { "fsync": 1 }).await?;
            let stats = client.database(name).run_command(doc! { "dbStats": 1 }).await?;
            let size = match stats.get("totalSize") {
                Some(Bson::Double(size)) => Some(*size),
                Some(Bson::Int32(size)) => Some(f64::from(*size)),
                Some(Bson::Int64(size)) => u64::try_from(*size).ok().map(as_f64),
                _ => None,
            };
            size.ok_or_else(|| BenchError::invalid("`dbStats` does not report `totalSize`"))
        }
    }
}

fn files_bytes(folder: &Path) -> Result<u64, BenchError> {
    let failed = || BenchError::io("reading the size of the database");
    let mut bytes = 0;
    for entry in std::fs::read_dir(folder).map_err(failed())? {
        bytes += entry.and_then(|entry| entry.metadata()).map_err(failed())?.len();
    }
    Ok(bytes)
}

/// At once: a million users are gigabytes.
async fn remove(database: &ScratchDatabase) -> Result<(), BenchError> {
    match database.settings() {
        DatabaseSettings::Embedded { data_dir } => {
            std::fs::remove_dir_all(data_dir).map_err(BenchError::io("removing a database"))
        }
        DatabaseSettings::Mongo { url, name } => {
            Ok(Client::with_uri_str(url.expose()).await?.database(name).drop().await?)
        }
    }
}

fn as_f64(number: u64) -> f64 {
    // Exact for whole kilobytes up to terabytes, which is more than enough.
    f64::from(u32::try_from(number >> 10).unwrap_or(u32::MAX)) * 1024.0
        + f64::from(u32::try_from(number & 1023).unwrap_or_default())
}
