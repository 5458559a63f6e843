//! Who types: the actor of what is done on the command line.

use std::fs;

use rustix::process::getuid;
use store::Ambient;

use crate::command::Cause;
use crate::config::Sources;

/// Where the machine's own users are named.
const USERS_FILE: &str = "/etc/passwd";
/// Longer names are cut.
const MAX_NAME: usize = 32;

/// The operator as the cause of a command: `operator:<os user>`, under a request id of its own.
pub(super) fn cause(sources: &Sources, ambient: &Ambient) -> Cause {
    let name = ["USER", "LOGNAME"].iter().find_map(|variable| sources.variable(variable)).and_then(sanitised);
    let uid = getuid().as_raw();
    let name = name.or_else(|| sanitised(&name_in(&fs::read_to_string(USERS_FILE).ok()?, uid)?));
    let name = name.unwrap_or_else(|| format!("uid-{uid}"));
    Cause { actor: format!("operator:{name}"), request_id: format!("cli-{}", ambient.uuid().hyphenated()) }
}

/// The name of a user in a file in the form of passwd(5).
fn name_in(users: &str, uid: u32) -> Option<String> {
    let fields = users.lines().map(|line| line.split(':').collect::<Vec<_>>());
    fields
        .filter_map(|fields| Some((fields.first()?.to_string(), fields.get(2)?.parse().ok()?)))
        .find_map(|(name, number): (_, u32)| (number == uid).then_some(name))
}

/// A name that can stand in an event and a log line: of letters, digits and a few signs.
fn sanitised(name: &str) -> Option<String> {
    let fits = |character: &char| character.is_ascii_alphanumeric() || matches!(character, '-' | '_' | '.');
    let name: String = name.chars().filter(fits).take(MAX_NAME).collect();
    (!name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn actor(variables: &[(&str, &str)]) -> String {
        let environment =
            variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect();
        cause(&Sources { environment, ..Sources::default() }, &Ambient::system()).actor
    }

    #[test]
    fn an_operator_is_named_by_the_operating_system() {
        assert_eq!(actor(&[("USER", "ada"), ("LOGNAME", "bob")]), "operator:ada");
        assert_eq!(actor(&[("LOGNAME", "DOMAIN\\bob smith\n")]), "operator:DOMAINbobsmith");
        assert_eq!(actor(&[("USER", &"x".repeat(99))]), format!("operator:{}", "x".repeat(32)));
        assert_eq!(actor(&[("USER", "\u{202e}")]), actor(&[]));
    }

    #[test]
    fn without_an_environment_the_users_file_or_the_number_says_it() {
        let users = "root:x:0:0:root:/root:/bin/sh\n\nada:x:1000:1000::/home/ada:/bin/sh\n";
        assert_eq!(name_in(users, 1000).as_deref(), Some("ada"));
        assert_eq!(name_in(users, 1), None);
    }
}
