//! The actor recorded for CLI commands: the OS user.

use std::fs;

use rustix::process::getuid;
use store::Env;

use crate::command::CommandContext;
use crate::config::ConfigSources;

const PASSWD_FILE: &str = "/etc/passwd";
/// Longer names are truncated.
const MAX_NAME_LENGTH: usize = 32;

/// The actor `operator:<OS user>` and a new request id. The name comes from the operating system if possible,
/// because the user can change the environment.
pub(super) fn command_context(sources: &ConfigSources, env: &Env) -> CommandContext {
    let uid = getuid().as_raw();
    let users = fs::read_to_string(PASSWD_FILE).unwrap_or_default();
    let name = operator(&users, uid, |variable| sources.variable(variable));
    CommandContext::new(format!("operator:{name}"), format!("cli-{}", env.uuid().hyphenated()))
}

fn operator<'a>(users: &str, uid: u32, variable: impl Fn(&'static str) -> Option<&'a str>) -> String {
    let from_system = name_of_uid(users, uid).and_then(|name| sanitised(&name));
    let from_environment = || ["USER", "LOGNAME"].into_iter().find_map(variable).and_then(sanitised);
    from_system.or_else(from_environment).unwrap_or_else(|| format!("uid-{uid}"))
}

/// Looks a user up in a file in passwd(5) format.
fn name_of_uid(users: &str, uid: u32) -> Option<String> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields
        .filter_map(|fields| Some((fields.first()?.to_string(), fields.get(2)?.parse().ok()?)))
        .find_map(|(name, number): (_, u32)| (number == uid).then_some(name))
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

    const USERS: &str = "root:x:0:0:root:/root:/bin/sh\n\nada:x:1000:1000::/home/ada:/bin/sh\n";

    fn named(uid: u32, variables: &[(&str, &'static str)]) -> String {
        let variable = |name| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        operator(USERS, uid, variable)
    }

    #[test]
    fn operating_system_overrides_environment() {
        assert_eq!(named(1000, &[("USER", "mallory")]), "ada");
        assert_eq!(named(7, &[("USER", "bob"), ("LOGNAME", "eve")]), "bob");
        assert_eq!(named(7, &[("LOGNAME", "DOMAIN\\bob smith\n")]), "DOMAINbobsmith");
        assert_eq!(named(7, &[("USER", "\u{202e}")]), "uid-7");
        assert_eq!(named(7, &[]), "uid-7");
    }

    #[test]
    fn long_names_are_truncated() {
        assert_eq!(sanitised(&"x".repeat(99)), Some("x".repeat(32)));
    }
}
