//! What tells a node from all others, and whether the node of a name still runs. Only a node in the same place can be
//! told to be gone: on the same machine since it was last started, and in the same namespace of processes.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};

use store::Ambient;

/// The machine, the process, and both the place and something random, since containers share the first two.
#[must_use]
pub fn node_name(ambient: &Ambient) -> String {
    let random = u32::from_be_bytes(ambient.bytes());
    format!("{}:{}:{:08x}{random:08x}", host(), std::process::id(), place().unwrap_or_default())
}

/// Whether the node of that name ran in the place where this one runs, and its process has ended. Nobody can tell of
/// other places, and not where `/proc` is missing: those are not gone.
#[must_use]
pub fn is_gone(name: &str) -> bool {
    let mut parts = name.rsplitn(3, ':');
    let (Some(rest), Some(process), Some(there)) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    let Some(place) = place() else { return false };
    let here = there == host() && rest.len() == 16 && rest.starts_with(&format!("{place:08x}"));
    here && process.parse().is_ok_and(has_ended)
}

fn host() -> String {
    let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if host.trim().is_empty() { "node".to_owned() } else { host.trim().to_owned() }
}

/// What two processes have in common that see each other in `/proc`.
fn place() -> Option<u32> {
    let started = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let namespace = fs::read_link("/proc/self/ns/pid").ok()?;
    // Another release of the compiler may hash otherwise: then the places differ, and the lease runs out by itself.
    let mut hasher = DefaultHasher::new();
    (started.trim(), namespace).hash(&mut hasher);
    u32::try_from(hasher.finish() >> 32).ok()
}

/// One that has ended and that its parent has not asked after yet is still listed, as a zombie (`proc_pid_stat(5)`).
fn has_ended(process: u32) -> bool {
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
    fn only_a_node_of_the_same_place_whose_process_has_ended_is_gone() {
        let name = node_name(&Ambient::system());
        assert!(!is_gone(&name), "{name}");
        let mut ended = Command::new("true").spawn().unwrap();
        let named =
            |process: u32| name.replacen(&format!(":{}:", std::process::id()), &format!(":{process}:"), 1);
        let gone = named(ended.id());
        ended.wait().unwrap();
        assert!(is_gone(&gone), "{gone}");
        let (known, _) = gone.rsplit_once(':').unwrap();
        for elsewhere in
            [format!("other-{gone}"), format!("{known}:00000000deadbeef"), format!("{known}:deadbeef")]
        {
            assert!(!is_gone(&elsewhere), "{elsewhere}");
        }
        for nonsense in ["", "node", "a:b", "a:b:c"] {
            assert!(!is_gone(nonsense), "{nonsense}");
        }
    }

    #[test]
    fn a_process_that_nobody_has_asked_after_has_ended_all_the_same() {
        let mut killed = Command::new("sleep").arg("600").spawn().unwrap();
        assert!(!has_ended(killed.id()));
        killed.kill().unwrap();
        while !has_ended(killed.id()) {
            std::thread::yield_now();
        }
        killed.wait().unwrap();
    }
}
