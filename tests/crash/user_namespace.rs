//! Root for a test that has to mount something: in a user namespace of their own everybody is root
//! (`user_namespaces(7)`), and so the test runs itself again in one.

use std::process::{Command, Stdio};

use tokio::task::spawn_blocking;

use crate::summary;
use crate::test_config::env_number;

/// Set for a test that runs in a namespace: if it is no root there either, there is no other way left.
const IN_NAMESPACE_VARIABLE: &str = "AEGIS_TEST_IN_NAMESPACE";

const REQUIREMENTS: &str = "This test mounts a small file system. It needs root (in a container: --cap-add SYS_ADMIN), or \
    util-linux's `unshare` and a kernel that lets every user make namespaces (on Ubuntu: \
    sysctl -w kernel.apparmor_restrict_unprivileged_userns=0).";

/// Runs the test of that name, in a process of its own that is root of a namespace, and fails as it does.
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
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned());
    for line in said[0].lines().filter_map(|line| line.strip_prefix("crash: ")) {
        summary::print(line);
    }
    // A test that is not found passes, too.
    assert!(said[0].contains("running 1 test\n"), "{REQUIREMENTS}\n{}", said.concat());
    assert!(output.status.success(), "in a namespace of its own:\n{}", said.concat());
}
