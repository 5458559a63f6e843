//! Out of disk space: the file system is full, or a file size limit is reached. Clients get errors, no
//! acknowledged write is lost, and the service recovers by itself once there is space.

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
use testkit::service::{eventually, run_test};

use crate::clients::{ClientContext, Clients};
use crate::cluster::{Cluster, await_writes};
use crate::crash_test::CrashTest;
use crate::journal::WriteOutcome;
use crate::summary;
use crate::test_config::TestConfig;
use crate::user_namespace;

const TIMEOUT: Duration = Duration::from_secs(10);
/// Writes acknowledged before space runs out, and again after it is back.
const WRITES_BEFORE: usize = 60;
/// Writes that have to fail while there is no space.
const FAILED_WRITES: usize = 40;
/// Less than the size of any database file.
const FILE_SIZE_LIMIT: u64 = 4096;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn file_size_limit_is_reported_and_survived() {
    run_test(async {
        let data = TempDir::new().unwrap();
        survives_no_space("embedded, file size limit", data.path(), |service| {
            limit_files(service, Some(FILE_SIZE_LIMIT));
            move || limit_files(service, None)
        })
        .await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn full_file_system_is_reported_and_survived() {
    run_test(async {
        let test = "embedded, full file system";
        let folder = TempDir::new().unwrap();
        let Some(mounted) = SmallFileSystem::mount(folder.path()) else {
            return user_namespace::rerun_as_root("full_disk::full_file_system_is_reported_and_survived")
                .await;
        };
        survives_no_space(test, folder.path(), |_| {
            let filler = Filler::start(folder.path().join("filler"));
            move || filler.stop()
        })
        .await;
        drop(mounted);
    })
    .await;
}

/// Lets clients write, takes the space away and gives it back. `take` gets the process of the service and
/// returns the function that frees the space again.
async fn survives_no_space<F: FnOnce()>(test: &str, data: &Path, take: impl FnOnce(Pid) -> F) {
    let mut rng = TestConfig::rng(test);
    let mut cluster = Cluster::embedded(data);
    let context = cluster.start_all(TIMEOUT).await;
    let crash_test = CrashTest::start(context.clone(), Clients::start(&context, &mut rng));
    await_writes(&context, WRITES_BEFORE, Duration::ZERO).await;

    let give_back = take(cluster.service(0).pid());
    let taken = context.journal.now();
    eventually("writes to fail for lack of space", async || {
        cluster.assert_running();
        (failed_writes(&context, taken).len() >= FAILED_WRITES).then_some(())
    })
    .await;
    let failed = failed_writes(&context, taken);
    for code in &failed {
        assert!(["unavailable", "outcome_unknown", "busy"].contains(&code.as_str()), "{failed:?}");
    }
    // Reads still work.
    let _me = context.services[0].me(&context.token).await.expect(200);

    give_back();
    await_writes(&context, WRITES_BEFORE, context.journal.now()).await;
    cluster.assert_running();
    let output = cluster.service(0).output();
    assert!(output.contains("free some space") || output.contains("check the disk"), "{output}");
    let log = crash_test.finish(test, &cluster).await;

    // The acknowledged writes are on disk.
    cluster.kill(0);
    cluster.start(0).await;
    assert_eq!(crate::log::Log::read(cluster.command_line()).await.events(), log.events());
    crate::log::verify(cluster.command_line()).await;
    summary::print(&format!("{test}: {} writes failed for lack of space", failed.len()));
}

/// The codes of all writes sent after `since` that were not executed, or whose outcome is unknown.
fn failed_writes(context: &ClientContext, since: Duration) -> Vec<String> {
    let records = context.journal.records();
    let attempts = records.iter().flat_map(|record| &record.attempts).filter(|attempt| attempt.sent > since);
    let code = |outcome: &WriteOutcome| match outcome {
        WriteOutcome::NotExecuted { code } | WriteOutcome::Unknown { reason: code } => Some(code.clone()),
        _ => None,
    };
    attempts.filter_map(|attempt| code(&attempt.outcome)).collect()
}

/// Limits the file size of the process (`RLIMIT_FSIZE`, as `ulimit -f`).
fn limit_files(service: Pid, bytes: Option<u64>) {
    // The hard limit is unchanged: only root could raise it again.
    let maximum = getrlimit(Resource::Fsize).maximum;
    prlimit(Some(service), Resource::Fsize, Rlimit { current: bytes.or(maximum), maximum }).unwrap();
}

/// A file system of a few megabytes, unmounted on drop or when the test process ends.
struct SmallFileSystem {
    shell: Child,
}

impl SmallFileSystem {
    /// `None` if this user may not mount.
    fn mount(folder: &Path) -> Option<Self> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m,mode=700", "aegis-test"])
            .arg(folder)
            .stderr(Stdio::null())
            .status();
        if !mounted.is_ok_and(|status| status.success()) {
            return None;
        }
        // The shell waits for the end of a pipe of which only this process holds the other side.
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

/// Occupies all free space, also what becomes free later.
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
