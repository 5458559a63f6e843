//! Settings of the testkit, which are environment variables only.

use std::path::{Path, PathBuf};

/// The value of an environment variable, unless it is unset or empty.
#[expect(
    clippy::disallowed_methods,
    reason = "the testkit's settings are these variables; it has no other configuration"
)]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// `target` of this workspace, or `CARGO_TARGET_DIR`.
pub(crate) fn target_folder() -> PathBuf {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    workspace.join(variable("CARGO_TARGET_DIR").unwrap_or_else(|| "target".to_owned()))
}
