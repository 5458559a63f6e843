//! No room: the file system is full, or a file may not grow. Clients are told so, nothing that was acknowledged is
//! lost, and once there is room the service goes on by itself.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit};
use tempfile::TempDir;
use testkit::service::{until, within};

use crate::check::Siege;
use crate::fleet::{Fleet, works_again};
use crate::journal::Outcome;
use crate::namespace;
use crate::plan::Plan;
use crate::summary;
use crate::swarm::{Desk, Swarm};

const PATIENCE: Duration = Duration::from_secs(10);
/// How many writes are acknowledged before the room ends.
const BEFORE: usize = 60;
/// How many writes must be told that there is none.
const IN_VAIN: usize = 40;
/// Less than any file of the database is long.
const SMALL: u64 = 4096;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_may_not_grow_is_told_and_survived() {
    within(async {
        let data = TempDir::new().unwrap();
        run_out_of_room("embedded, file size limit", data.path(), |service| {
            limit_files(service, Some(SMALL));
            move || limit_files(service, None)
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_system_that_is_full_is_told_and_survived() {
    within(async {
        let test = "embedded, full file system";
        let folder = TempDir::new().unwrap();
        let Some(mounted) = SmallFileSystem::mount(folder.path()) else {
            return namespace::run_again("full_disk::a_file_system_that_is_full_is_told_and_survived").await;
        };
        run_out_of_room(test, folder.path(), |_| {
            let filler = Filler::start(folder.path().join("filler"));
            move || filler.stop()
        })
        .await;
        drop(mounted);
    })
    .await;
}

/// Lets clients write, takes the room away, gives it back. `take` gets the process of the service, and gives what makes
/// room again.
async fn run_out_of_room<F: FnOnce()>(test: &str, data: &Path, take: impl FnOnce(Pid) -> F) {
    let mut chance = Plan::chance(test);
    let mut fleet = Fleet::embedded(data);
    let desk = fleet.open(PATIENCE).await;
    let siege = Siege::lay(desk.clone(), Swarm::start(&desk, &mut chance));
    works_again(&desk, BEFORE, Duration::ZERO).await;

    let give_back = take(fleet.service(0).pid());
    let taken = desk.journal.now();
    until("that writes are told there is no room", async || {
        fleet.assert_running();
        (refusals(&desk, taken).len() >= IN_VAIN).then_some(())
    })
    .await;
    let told = refusals(&desk, taken);
    for code in &told {
        assert!(["unavailable", "outcome_unknown", "busy"].contains(&code.as_str()), "{told:?}");
    }
    // What is there can still be read.
    let _there = desk.services[0].me(&desk.token).await.expect(200);

    give_back();
    works_again(&desk, BEFORE, desk.journal.now()).await;
    fleet.assert_running();
    let said = fleet.service(0).said();
    assert!(said.contains("free some space") || said.contains("see to the disk"), "{said}");
    let log = siege.raise(test, &fleet).await;

    // All of it is on the disk, too.
    fleet.kill(0);
    fleet.start(0).await;
    assert_eq!(crate::log::Log::read(fleet.command_line()).await.events(), log.events());
    crate::log::verify(fleet.command_line()).await;
    summary::say(&format!("{test}: {} writes were told that there is no room", told.len()));
}

/// The codes of all writes sent after `since` that came to nothing, or to nobody knows what.
fn refusals(desk: &Desk, since: Duration) -> Vec<String> {
    let records = desk.journal.records();
    let attempts = records.iter().flat_map(|record| &record.attempts).filter(|attempt| attempt.sent > since);
    let code = |outcome: &Outcome| match outcome {
        Outcome::NotDone { code } | Outcome::Unknown { why: code } => Some(code.clone()),
        _ => None,
    };
    attempts.filter_map(|attempt| code(&attempt.outcome)).collect()
}

/// As `ulimit -f` does it (`RLIMIT_FSIZE`): no file of the process may be written beyond so many bytes.
fn limit_files(service: Pid, bytes: Option<u64>) {
    // The hard limit, which the service has inherited, stays: only root may raise it.
    let maximum = getrlimit(Resource::Fsize).maximum;
    prlimit(Some(service), Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

/// A file system of a few megabytes; gone when this is dropped, or when the test process ends.
struct SmallFileSystem {
    shell: Child,
}

impl SmallFileSystem {
    /// `None` if this user may not mount any.
    fn mount(folder: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=700", "aegis-test"])
            .arg(folder)
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            return None;
        }
        // The shell waits for the end of a pipe whose other side only this process holds.
        let shell = Command::new("sh")
            .args(["-c", r#"read -r never; umount --lazy "$1""#, "unmount"])
            .arg(folder)
            .stdin(Stdio::piped())
            .spawn()
            .unwrap();
        Some(Self { shell })
    }
}

impl Drop for SmallFileSystem {
    fn drop(&mut self) {
        drop(self.shell.stdin.take());
        let _unmounted = self.shell.wait();
    }
}

/// Takes all room there is, and whatever becomes free again.
struct Filler {
    file: PathBuf,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Filler {
    fn start(file: PathBuf) -> Self {
        let stop = Arc::<AtomicBool>::default();
        let (stopped, mut filler) =
            (Arc::clone(&stop), OpenOptions::new().create(true).append(true).open(&file).unwrap());
        fill(&mut filler);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                fill(&mut filler);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        Self { file, stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        std::fs::remove_file(self.file).unwrap();
    }
}

fn fill(file: &mut File) {
    for size in [1 << 20, 1 << 12] {
        let block = vec![0; size];
        while file.write_all(&block).is_ok() {}
    }
}
