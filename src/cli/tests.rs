//! Parsing of the command line. What the commands do is tested with the real binary.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use clap::CommandFactory;

use super::error::CliError;
use super::*;

/// The captured output of a command.
#[derive(Clone, Default)]
pub(super) struct CapturedOutput(Arc<Mutex<Vec<u8>>>);

impl CapturedOutput {
    pub(super) fn output(&self) -> Output {
        Output::new(self.clone())
    }

    pub(super) fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

impl Write for CapturedOutput {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn exit_code(line: &str) -> i32 {
    match Arguments::try_parse_from(line.split(' ')) {
        Ok(_) => 0,
        Err(error) => error.exit_code(),
    }
}

#[test]
fn clap_definition_is_valid() {
    Arguments::command().debug_assert();
}

#[test]
fn valid_command_lines_parse() {
    for line in [
        "aegis serve",
        "aegis config --json",
        "aegis events list --after 3 --limit 5 --type UserRegistered --type RoleGranted --actor system --json",
        "aegis events list --stream user-0193e2b4-0000-7000-8000-000000000001",
        "aegis events list --type WebhookSuspended --type WebhookParked",
        "aegis events list --stream 65a1b2c3d4e5f60718293a4b",
        "aegis events tail --after 0 --json",
        "aegis events replay --until 42 --user ada@example.com --json",
        "aegis events replay --until 2026-11-22T08:03:14Z",
        "aegis projections status --json",
        "aegis projections rebuild users",
        "aegis users list --limit 1 --after 0193e2b4-0000-7000-8000-000000000001 --json",
        "aegis users list --q ada --role admin --active false",
        "aegis users create ada@example.com ada --role admin --role auditor --password --json",
        "aegis users set-password ada",
        "aegis users show ada@example.com --json",
        "aegis users grant ada@example.com admin",
        "aegis users revoke 65a1b2c3d4e5f60718293a4b auditor",
        "aegis users deactivate ada@example.com --reason spam",
        "aegis users reactivate ada@example.com",
        "aegis keys status --json",
        "aegis keys rotate --delete-old --json",
        "aegis --help",
        "aegis users grant --help",
        "aegis --version",
    ] {
        assert_eq!(exit_code(line), 0, "{line}");
    }
}

#[test]
fn invalid_command_lines_exit_with_2() {
    for line in [
        "aegis",
        "aegis nonsense",
        "aegis serve now",
        "aegis events",
        "aegis events list --limit many",
        "aegis events list --type UserPromoted",
        "aegis events list --stream User!",
        "aegis events replay --until yesterday",
        "aegis projections rebuild accounts",
        "aegis users show",
        "aegis users list --after ada@example.com",
        "aegis users list --q ada --after 0193e2b4-0000-7000-8000-000000000001",
        "aegis users list --active maybe",
        "aegis users create ada@example.com",
        "aegis users create ada ada",
        "aegis users set-password ada secret",
        "aegis users grant ada@example.com king",
        "aegis users deactivate ada@example.com --reason= ",
        "aegis keys",
        "aegis keys rotate now",
    ] {
        assert_eq!(exit_code(line), 2, "{line}");
    }
}

#[test]
fn help_names_every_command() {
    let help = Arguments::command().render_long_help().to_string();
    for word in [
        "serve",
        "config",
        "events",
        "projections",
        "keys",
        "users",
        "Exit codes: 0 done, 1 failed, 2 wrong usage",
    ] {
        assert!(help.contains(word), "{word} is missing from {help}");
    }
    for mut command in Arguments::command().get_subcommands().cloned() {
        for sub in command.clone().get_subcommands() {
            assert!(sub.get_about().is_some(), "{} {} is not explained", command.get_name(), sub.get_name());
        }
        assert!(command.render_help().to_string().contains("Usage"));
    }
}

#[test]
fn closed_stdout_is_not_an_error() {
    struct Closed;
    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    assert!(matches!(Output::new(Closed).line("x"), Err(CliError::OutputClosed)));
}
