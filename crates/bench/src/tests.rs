//! Parsing of the command line.

use clap::{CommandFactory, Parser};

use crate::Arguments;

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
        "aegis-bench",
        "aegis-bench --json --store mongodb --seconds 0.5 --only append_alone --only export --folder /tmp",
        "aegis-bench --quick",
        "aegis-bench scale --users 1000,10000 --store sqlite --document docs/performance.md",
        "aegis-bench scale --render",
        "aegis-bench --help",
        "aegis-bench --version",
    ] {
        assert_eq!(exit_code(line), 0, "{line}");
    }
}

#[test]
fn invalid_command_lines_exit_with_2() {
    for line in [
        "aegis-bench --store postgres",
        "aegis-bench --only appends",
        "aegis-bench scale --users 10",
        "aegis-bench scale --quick",
        "aegis-bench --seconds 0",
        "aegis-bench --quick --seconds 1",
        "aegis-bench --seconds -1",
        "aegis-bench --seconds 3601",
        "aegis-bench --seconds nan",
    ] {
        assert_eq!(exit_code(line), 2, "{line}");
    }
}
