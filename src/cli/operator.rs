//! The actor recorded for CLI commands: the OS user.

use nix::unistd::{Uid, User};
use rustix::process::getuid;
use store::Env;

use crate::command::CommandContext;

/// Longer names are truncated.
const MAX_NAME_LENGTH: usize = 32;

/// The actor `operator:<OS user>` and a new request id. The name comes from the user database of the system and
/// never from the environment, which the user can set to any name.
pub(super) fn command_context(env: &Env) -> CommandContext {
    let name = operator(getuid().as_raw());
    CommandContext::new(format!("operator:{name}"), format!("cli-{}", env.uuid().hyphenated()))
}

fn operator(uid: u32) -> String {
    let user = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    user.and_then(|user| sanitised(&user.name)).unwrap_or_else(|| format!("uid-{uid}"))
}

/// The ASCII letters, digits and `-_.` of a name, which is stored in events and logged.
fn sanitised(name: &str) -> Option<String> {
    let fits = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let name: String = name.chars().filter(fits).take(MAX_NAME_LENGTH).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operator_is_the_name_of_the_uid_or_its_number() {
        assert_eq!(operator(0), "root");
        assert_eq!(operator(4_000_000_007), "uid-4000000007");
        assert_eq!(sanitised("DOMAIN\\bob smith\n").as_deref(), Some("DOMAINbobsmith"));
        assert_eq!(sanitised("\u{202e}"), None);
    }

    #[test]
    fn long_names_are_truncated() {
        assert_eq!(sanitised(&"x".repeat(99)), Some("x".repeat(32)));
    }
}
