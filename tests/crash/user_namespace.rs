//! Root privileges for tests that mount a file system: the test runs itself again in a user namespace, where
//! it is root (`user_namespaces(7)`).

use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;

use crate::summary;
use crate::test_config::env_number;

/// Set for a test that already runs in a namespace: without root there, it fails.
const IN_NAMESPACE_VARIABLE: &str = "AEGIS_TEST_IN_NAMESPACE";

const REQUIREMENTS: &str = "This test mounts a small file system. It needs root (in a container: --cap-add SYS_ADMIN), or \
    util-linux's `unshare` and a kernel that lets every user make namespaces (on Ubuntu: \
    sysctl -w kernel.apparmor_restrict_unprivileged_userns=0).";

/// Runs the named test as root of a new namespace, in a child process, and passes its result on.
pub(crate) async fn rerun_as_root(test: &'static str) {
    assert!(env_number::<u8>(IN_NAMESPACE_VARIABLE).is_none(), "{REQUIREMENTS}");
    let run = move || {
        Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "--"])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(IN_NAMESPACE_VARIABLE, "1")
            .stdin(Stdio::null())
            .output()
    };
    let output = spawn_blocking(run).await.unwrap();
    let output = output.unwrap_or_else(|error| panic!("{REQUIREMENTS}\nunshare: {error}"));
    let printed = [output.stdout, output.stderr].map(|text| String::from_utf8_lossy(&text).into_owned());
    for line in printed[0].lines().filter_map(|line| line.strip_prefix("crash: ")) {
        summary::print(line);
    }
    // A run that finds no test succeeds as well.
    assert!(printed[0].contains("running 1 test\n"), "{REQUIREMENTS}\n{}", printed.concat());
    assert!(output.status.success(), "in the user namespace:\n{}", printed.concat());
}
