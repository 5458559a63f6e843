//! Node names: unique, and precise enough to see that a node has died. Only nodes of the same machine, boot
//! and PID namespace can be checked.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};

use store::Env;

/// `host:pid:<PID namespace><random>`; the last part since containers may share the first two.
#[must_use]
pub fn node_name(env: &Env) -> String {
    let random = u32::from_be_bytes(env.bytes());
    format!("{}:{}:{:08x}{random:08x}", host(), std::process::id(), process_namespace().unwrap_or_default())
}

/// Whether that node ran in the PID namespace of this one and its process has exited. Unknown, hence `false`,
/// for other namespaces and without `/proc`.
#[must_use]
pub fn is_dead_node(name: &str) -> bool {
    let mut parts = name.rsplitn(3, ':');
    let (Some(rest), Some(process), Some(there)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Some(namespace) = process_namespace() else { return false };
    let here = there == host() && rest.len() == 16 && rest.starts_with(&format!("{namespace:08x}"));
    here && process.parse().is_ok_and(has_exited)
}

fn host() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if host.trim().is_empty() { "node".to_owned() } else { host.trim().to_owned() }
}

/// Equal for two processes that see each other in `/proc`.
fn process_namespace() -> Option<u32> {
    let started = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    // Another compiler release may hash differently: then the namespaces differ, and the lease expires by
    // itself.
    let mut hasher = DefaultHasher::new();
    (started.trim(), namespace).hash(&mut hasher);
    u32::try_from(hasher.finish() >> 32).ok()
}

/// An exited process that its parent has not reaped is listed as a zombie (`proc_pid_stat(5)`).
fn has_exited(process: u32) -> bool {
    match fs::read_to_string(format!("/proc/{process}/stat")) {
        Ok(stat) => stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with(['Z', 'X'])),
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_an_exited_process_in_this_namespace_is_a_dead_node() {
        let name = node_name(&Env::system());
        assert!(!is_dead_node(&name), "{name}");
        let mut ended = Command::new("true").spawn().unwrap();
        let named =
            |process: u32| name.replacen(&format!(":{}:", std::process::id()), &format!(":{process}:"), 1);
        let gone = named(ended.id());
        ended.wait().unwrap();
        assert!(is_dead_node(&gone), "{gone}");
        let (known, _) = gone.rsplit_once(':').unwrap();
        for elsewhere in
            [format!("other-{gone}"), format!("{known}:00000000deadbeef"), format!("{known}:deadbeef")]
        {
            assert!(!is_dead_node(&elsewhere), "{elsewhere}");
        }
        for nonsense in ["", "node", "a:b", "a:b:c"] {
            assert!(!is_dead_node(nonsense), "{nonsense}");
        }
    }

    #[test]
    fn a_zombie_process_counts_as_exited() {
        let mut killed = Command::new("sleep").arg("600").spawn().unwrap();
        assert!(!has_exited(killed.id()));
        killed.kill().unwrap();
        while !has_exited(killed.id()) {
            std::thread::yield_now();
        }
        killed.wait().unwrap();
    }
}
