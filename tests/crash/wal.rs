//! What a crash of the whole machine can leave of the embedded database: its file as it was, and of the write-ahead log
//! (WAL) as much as the disk had written. Every such copy opens as the log it was at some earlier moment.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tempfile::TempDir;
use testkit::service::{Installation, until, within_limit};
use tokio::time::sleep;

use crate::chance::Chance;
use crate::check::Siege;
use crate::fleet::{ADMIN_EMAIL, EXECUTABLE, Fleet, works_again};
use crate::journal::{Journal, Record};
use crate::log::{self, Log};
use crate::plan::Plan;
use crate::summary;
use crate::swarm::Swarm;

const PATIENCE: Duration = Duration::from_secs(10);
/// How many writes are acknowledged at least before the crash.
const WRITES: usize = 150;

/// Sizes in a WAL file (<https://sqlite.org/fileformat2.html#the_write_ahead_log>).
const HEADER: u64 = 32;
const FRAME_HEADER: u64 = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_crash_leaves_of_the_wal_opens_as_an_earlier_log() {
    let plan = Plan::of_this_process();
    within_limit(Plan::limit(plan.copies), damage_copies(plan)).await;
}

async fn damage_copies(plan: Plan) {
    let test = "embedded, damaged WAL";
    let mut chance = Plan::chance(test);
    let data = TempDir::new().unwrap();
    let marks = crash(data.path(), &mut chance).await;
    let wal = Wal::read(data.path());
    let whole = Copied::of(data.path(), wal.bytes.clone()).open_and_go_on(None).await;
    assert!(whole.head() >= marks.last().unwrap().position);
    let (mut cuts, mut shortest) = (Vec::new(), whole.head());
    for copy in 0..plan.copies {
        let (bytes, kept) = if copy % 3 == 2 { wal.flipped(&mut chance) } else { wal.cut(&mut chance) };
        let copied = Copied::of(data.path(), bytes).open_and_go_on(Some(&whole)).await;
        let held = marks.iter().filter(|mark| mark.wal <= kept).map(|mark| mark.position).max().unwrap_or(0);
        assert!(
            copied.head() >= held,
            "{kept} bytes are whole, and of {held} events {} are left",
            copied.head()
        );
        shortest = shortest.min(copied.head());
        cuts.push((kept, copied.head()));
    }
    cuts.sort_unstable();
    assert!(cuts.is_sorted_by_key(|(_, head)| *head), "more bytes hold fewer events: {cuts:?}");
    assert!(shortest < whole.head(), "no copy has lost anything: {cuts:?}");
    summary::say(&format!(
        "{test}: {} copies of a log of {} events, the shortest with {shortest}",
        plan.copies,
        whole.head()
    ));
}

/// How far the log was acknowledged when the WAL had this length.
#[derive(Clone, Copy)]
struct Mark {
    position: u64,
    wal: u64,
}

/// Lets clients write, and kills the service in the midst of it. The database then holds a log of its own, and the WAL
/// what came after it.
async fn crash(data: &Path, chance: &mut Chance) -> Vec<Mark> {
    let mut fleet = Fleet::embedded(data);
    fleet.open(PATIENCE).await;
    fleet.stop(0).await;
    let desk = fleet.open(PATIENCE).await;
    let siege = Siege::lay(desk.clone(), Swarm::start(&desk, chance));
    let marks = Arc::<Mutex<Vec<Mark>>>::default();
    let marking =
        tokio::spawn(mark(data.join("aegis.db-wal"), Arc::clone(&desk.journal), Arc::clone(&marks)));
    works_again(&desk, WRITES, Duration::ZERO).await;
    // Enough to cut: the service empties the WAL every few seconds.
    until("a WAL with something in it", async || {
        let marks = marks.lock().unwrap();
        let (first, last) = (marks.first()?, marks.last()?);
        (last.position > first.position + 60).then_some(())
    })
    .await;
    fleet.kill(0);
    marking.abort();
    drop(siege);
    marks.lock().unwrap().clone()
}

/// Notes again and again how far the log is acknowledged, and then how long the WAL is.
async fn mark(wal: PathBuf, journal: Arc<Journal>, marks: Arc<Mutex<Vec<Mark>>>) {
    loop {
        let position = journal.records().iter().filter_map(Record::acknowledged).max().unwrap_or(0);
        let wal = fs::metadata(&wal).map_or(0, |file| file.len());
        note(&mut marks.lock().unwrap(), Mark { position, wal });
        sleep(Duration::from_millis(5)).await;
    }
}

fn note(marks: &mut Vec<Mark>, mark: Mark) {
    if marks.last().is_some_and(|last| mark.wal < last.wal) {
        // It was emptied: what it held is in the database file.
        marks.clear();
    }
    marks.push(mark);
}

/// A WAL that a crash has left.
struct Wal {
    bytes: Vec<u8>,
    /// Where a transaction ends, each of them.
    commits: Vec<u64>,
    /// Where something may be missing or wrong: behind what was already moved into the database file. That was synced
    /// before, so no crash takes it away.
    frail: Range<u64>,
}

impl Wal {
    fn read(data: &Path) -> Self {
        let bytes = fs::read(data.join("aegis.db-wal")).unwrap();
        let page = u64::from(u32::from_be_bytes(bytes[8..12].try_into().unwrap()));
        // `nBackfillAttempted`, in the byte order of the machine (<https://sqlite.org/walformat.html#the_wal_index_file_format>).
        let index = fs::read(data.join("aegis.db-shm")).unwrap();
        let moved = u64::from(u32::from_ne_bytes(index[128..132].try_into().unwrap()));
        let frame = FRAME_HEADER + page;
        let frail = HEADER + moved * frame..u64::try_from(bytes.len()).unwrap();
        assert!(!frail.is_empty(), "nothing can be lost any more: {frail:?}");
        // A frame that ends a transaction has the size of the database in its header.
        let frames = bytes[usize::try_from(HEADER).unwrap()..].chunks_exact(usize::try_from(frame).unwrap());
        let ends = (1..).zip(frames).filter(|(_, frame)| frame[4..8] != [0; 4]);
        let commits =
            ends.map(|(number, _)| HEADER + number * frame).filter(|end| frail.contains(end)).collect();
        Self { bytes, commits, frail }
    }

    /// Cut off somewhere, and how many bytes are as they were.
    fn cut(&self, chance: &mut Chance) -> (Vec<u8>, u64) {
        let kept = self.somewhere(chance);
        (self.bytes[..usize::try_from(kept).unwrap()].to_vec(), kept)
    }

    /// With one bit turned over.
    fn flipped(&self, chance: &mut Chance) -> (Vec<u8>, u64) {
        let place = self.somewhere(chance);
        let mut bytes = self.bytes.clone();
        bytes[usize::try_from(place).unwrap()] ^= 1 << chance.below(8);
        (bytes, place)
    }

    /// Anywhere, near the end, or just behind a transaction.
    fn somewhere(&self, chance: &mut Chance) -> u64 {
        let length = usize::try_from(self.frail.end - self.frail.start).unwrap();
        let end = match chance.below(3) {
            0 => length,
            1 => (length / 10).max(1),
            _ => return self.commits[chance.below(self.commits.len())],
        };
        self.frail.end - 1 - u64::try_from(chance.below(end)).unwrap()
    }
}

/// A copy of a database with another WAL, as another machine finds it.
struct Copied(TempDir);

impl Copied {
    fn of(data: &Path, wal: Vec<u8>) -> Self {
        let copy = TempDir::new().unwrap();
        for name in ["aegis.db", "master.key"] {
            fs::copy(data.join(name), copy.path().join(name)).unwrap();
        }
        fs::write(copy.path().join("aegis.db-wal"), wal).unwrap();
        Self(copy)
    }

    /// Opens it. What it holds verifies and is the beginning of `whole`, the rows follow it, and it can be written to.
    async fn open_and_go_on(&self, whole: Option<&Log>) -> Log {
        let installation = Installation::embedded(EXECUTABLE, self.0.path());
        let log = Log::read(&installation).await;
        if let Some(whole) = whole {
            assert!(whole.events().starts_with(log.events()), "it is not the beginning of the log");
        }
        log::verify(&installation).await;
        log::assert_rows_follow(&installation, &log).await;
        installation.done(&["users", "grant", ADMIN_EMAIL, "auditor"]).await;
        let mut longer = log.clone();
        longer.catch_up(&installation).await;
        assert_eq!(longer.head(), log.head() + 1);
        log::verify(&installation).await;
        log
    }
}
