//! A crash of the whole machine leaves the embedded database with its file, and as much of the write-ahead
//! log (WAL) as the disk had written. Every such copy opens as a prefix of the event log.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use testkit::service::{Deployment, eventually, run_test_with_timeout};
use tokio::time::sleep;

use crate::clients::Clients;
use crate::cluster::{ADMIN_EMAIL, Cluster, EXECUTABLE, await_writes};
use crate::crash_test::CrashTest;
use crate::journal::{Journal, WriteRecord};
use crate::log::{self, Log};
use crate::seeded_rng::SeededRng;
use crate::summary;
use crate::test_config::TestConfig;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Writes acknowledged before the crash, at least.
const WRITES: usize = 150;

/// Sizes in a WAL file (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
const HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_wal_opens_as_a_prefix_of_the_log() {
    let config = TestConfig::from_env();
    run_test_with_timeout(TestConfig::timeout(config.copies), damage_copies(config)).await;
}

async fn damage_copies(config: TestConfig) {
    let test = "embedded, damaged WAL";
    let mut rng = TestConfig::rng(test);
    let data = TempDir::new().unwrap();
    let marks = crash(data.path(), &mut rng).await;
    let wal = Wal::read(data.path());
    let whole = DatabaseCopy::of(data.path(), wal.bytes.clone()).verify_and_append(None).await;
    assert!(whole.head() >= marks.last().unwrap().position);
    let (mut cuts, mut shortest) = (Vec::new(), whole.head());
    for copy in 0..config.copies {
        let (bytes, intact) =
            if copy % 3 == 2 { wal.with_flipped_bit(&mut rng) } else { wal.truncated(&mut rng) };
        let copied = DatabaseCopy::of(data.path(), bytes).verify_and_append(Some(&whole)).await;
        let acknowledged =
            marks.iter().filter(|mark| mark.wal <= intact).map(|mark| mark.position).max().unwrap_or(0);
        assert!(
            copied.head() >= acknowledged,
            "with {intact} intact bytes and {acknowledged} acknowledged events, {} events are left",
            copied.head()
        );
        shortest = shortest.min(copied.head());
        cuts.push((intact, copied.head()));
    }
    cuts.sort_unstable();
    assert!(cuts.is_sorted_by_key(|(_, head)| *head), "more bytes hold fewer events: {cuts:?}");
    assert!(shortest < whole.head(), "no copy has lost anything: {cuts:?}");
    summary::print(&format!(
        "{test}: {} copies of a log of {} events, the shortest with {shortest}",
        config.copies,
        whole.head()
    ));
}

/// The last acknowledged position when the WAL had this length.
#[derive(Clone, Copy)]
struct WalMark {
    position: u64,
    wal: u64,
}

/// Kills the service while clients write. The database file then holds an earlier log, and the WAL the events
/// after it.
async fn crash(data: &Path, rng: &mut SeededRng) -> Vec<WalMark> {
    let mut cluster = Cluster::embedded(data);
    cluster.start_all(TIMEOUT).await;
    cluster.stop(0).await;
    let context = cluster.start_all(TIMEOUT).await;
    let crash_test = CrashTest::start(context.clone(), Clients::start(&context, rng));
    let marks = Arc::<Mutex<Vec<WalMark>>>::default();
    let marking = tokio::spawn(record_marks(
        data.join("aegis.db-wal"),
        Arc::clone(&context.journal),
        Arc::clone(&marks),
    ));
    await_writes(&context, WRITES, Duration::ZERO).await;
    // The service checkpoints the WAL every few seconds: wait until it holds enough to be cut.
    eventually("the WAL to grow", async || {
        let marks = marks.lock().unwrap();
        let (first, last) = (marks.first()?, marks.last()?);
        (last.position > first.position + 60).then_some(())
    })
    .await;
    cluster.kill(0);
    marking.abort();
    drop(crash_test);
    marks.lock().unwrap().clone()
}

/// Records the last acknowledged position and, after that, the length of the WAL, repeatedly.
async fn record_marks(wal: PathBuf, journal: Arc<Journal>, marks: Arc<Mutex<Vec<WalMark>>>) {
    loop {
        let position = journal.records().iter().filter_map(WriteRecord::acknowledged).max().unwrap_or(0);
        let wal = fs::metadata(&wal).map_or(0, |file| file.len());
        push_mark(&mut marks.lock().unwrap(), WalMark { position, wal });
        sleep(Duration::from_millis(5)).await;
    }
}

fn push_mark(marks: &mut Vec<WalMark>, mark: WalMark) {
    if marks.last().is_some_and(|last| mark.wal < last.wal) {
        // A checkpoint has moved its content into the database file.
        marks.clear();
    }
    marks.push(mark);
}

/// The WAL left by a crash.
struct Wal {
    bytes: Vec<u8>,
    /// The end of each transaction.
    commits: Vec<u64>,
    /// What a crash can damage: the part not yet checkpointed into the database file. The part before was
    /// synced.
    unsynced: Range<u64>,
}

impl Wal {
    fn read(data: &Path) -> Self {
        let bytes = fs::read(data.join("aegis.db-wal")).unwrap();
        let page = u64::from(u32::from_be_bytes(bytes[8..12].try_into().unwrap()));
        // `nBackfillAttempted`, in the byte order of the machine
        // (<https://sqlite.org/walformat.html#the_wal_index_file_format>).
        let index = fs::read(data.join("aegis.db-shm")).unwrap();
        let moved = u64::from(u32::from_ne_bytes(index[128..132].try_into().unwrap()));
        let frame = FRAME_HEADER + page;
        let unsynced = HEADER + moved * frame..u64::try_from(bytes.len()).unwrap();
        assert!(!unsynced.is_empty(), "nothing is left to damage: {unsynced:?}");
        // A frame that ends a transaction has the size of the database in its header.
        let frames = bytes[usize::try_from(HEADER).unwrap()..].chunks_exact(usize::try_from(frame).unwrap());
        let ends = (1..).zip(frames).filter(|(_, frame)| frame[4..8] != [0; 4]);
        let commits =
            ends.map(|(number, _)| HEADER + number * frame).filter(|end| unsynced.contains(end)).collect();
        Self { bytes, commits, unsynced }
    }

    /// Truncated at a random offset; also returns the number of intact bytes.
    fn truncated(&self, rng: &mut SeededRng) -> (Vec<u8>, u64) {
        let intact = self.random_offset(rng);
        (self.bytes[..usize::try_from(intact).unwrap()].to_vec(), intact)
    }

    /// With one bit flipped; also returns the number of intact bytes before it.
    fn with_flipped_bit(&self, rng: &mut SeededRng) -> (Vec<u8>, u64) {
        let offset = self.random_offset(rng);
        let mut bytes = self.bytes.clone();
        bytes[usize::try_from(offset).unwrap()] ^= 1 << rng.below(8);
        (bytes, offset)
    }

    /// Anywhere, near the end, or at the end of a transaction.
    fn random_offset(&self, rng: &mut SeededRng) -> u64 {
        let length = usize::try_from(self.unsynced.end - self.unsynced.start).unwrap();
        let end = match rng.below(3) {
            0 => length,
            1 => (length / 10).max(1),
            _ => return self.commits[rng.below(self.commits.len())],
        };
        self.unsynced.end - 1 - u64::try_from(rng.below(end)).unwrap()
    }
}

/// A copy of a database with another WAL.
struct DatabaseCopy(TempDir);

impl DatabaseCopy {
    fn of(data: &Path, wal: Vec<u8>) -> Self {
        let copy = TempDir::new().unwrap();
        for name in ["aegis.db", "master.key"] {
            fs::copy(data.join(name), copy.path().join(name)).unwrap();
        }
        fs::write(copy.path().join("aegis.db-wal"), wal).unwrap();
        Self(copy)
    }

    /// Asserts that the copy verifies, is a prefix of `whole`, agrees with its read model and accepts writes.
    async fn verify_and_append(&self, whole: Option<&Log>) -> Log {
        let deployment = Deployment::embedded(EXECUTABLE, self.0.path());
        let log = Log::read(&deployment).await;
        if let Some(whole) = whole {
            assert!(whole.events().starts_with(log.events()), "the copy is not a prefix of the log");
        }
        log::verify(&deployment).await;
        log::assert_rows_follow(&deployment, &log).await;
        deployment.run_ok(&["users", "grant", ADMIN_EMAIL, "auditor"]).await;
        let mut longer = log.clone();
        longer.catch_up(&deployment).await;
        assert_eq!(longer.head(), log.head() + 1);
        log::verify(&deployment).await;
        log
    }
}
