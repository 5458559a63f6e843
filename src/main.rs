//! Aegis, an event-sourced identity service. Everything is in the library; `aegis --help` explains the commands.

use std::process::ExitCode;

fn main() -> ExitCode {
    aegis::cli::run(std::env::args_os())
}
