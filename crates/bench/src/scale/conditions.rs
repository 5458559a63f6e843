//! When, where and of which commit something was measured.

use std::fs;
use std::num::NonZero;

use serde::{Deserialize, Serialize};
use store::Env;
use tokio::process::Command;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Conditions {
    pub(super) date: String,
    /// Abbreviated; `unknown` outside a repository.
    pub(super) commit: String,
    pub(super) machine: String,
    /// Of one minute, at the start.
    pub(super) load_average: f64,
}

impl Conditions {
    pub(super) async fn now() -> Self {
        let now = Env::system().now().to_string();
        Self {
            date: now.split('T').next().unwrap_or_default().to_owned(),
            commit: commit().await.unwrap_or_else(|| "unknown".to_owned()),
            machine: machine(),
            load_average: load_average().unwrap_or_default(),
        }
    }
}

async fn commit() -> Option<String> {
    let output = Command::new("git").args(["rev-parse", "--short=10", "HEAD"]).output().await.ok()?;
    output.status.success().then_some(())?;
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let value = |file: &str, name: &str| {
        let text = fs::read_to_string(file).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        Some(line.trim_start_matches([' ', '\t', ':']).trim().to_owned())
    };
    let model = value("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = value("/proc/meminfo", "MemTotal").and_then(|memory| {
        let kib: f64 = memory.strip_suffix("kB")?.trim().parse().ok()?;
        Some(format!(", {:.0} GB of memory", kib * 1024.0 / 1e9))
    });
    format!("{cores} cores of {model}{}", memory.unwrap_or_default())
}

fn load_average() -> Option<f64> {
    fs::read_to_string("/proc/loadavg").ok()?.split(' ').next()?.parse().ok()
}
