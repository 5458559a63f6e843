//! `aegis users create` and `set-password`. Passwords are read from the terminal or from stdin, never from arguments,
//! which other users of the machine can see.

use std::collections::BTreeSet;
use std::io::{self, BufRead, IsTerminal, Read};

use domain::{EmailAddress, PasswordHash, PasswordPolicy, Role, UserCommand, Username};

use super::change::{self, RequestedChange, report_lag};
use crate::cli::arguments::one_of;
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::cli::session::Session;
use crate::cli::user_output::UserOutput;
use crate::config::PasswordSettings;
use crate::crypto::{HashSource, HashingPool, NewPassword, NewPasswordError, Password};

/// Bytes that are read from stdin at most.
const MAX_INPUT: u64 = 64 * 1024;

#[derive(Debug, clap::Args)]
pub(crate) struct CreateArguments {
    /// The e-mail address
    #[arg(value_parser = EmailAddress::parse)]
    email: EmailAddress,
    /// The username
    #[arg(value_parser = Username::parse)]
    username: Username,
    /// A role that the user holds; may be repeated
    #[arg(long, value_parser = one_of::<Role>(Role::ALL.map(Role::as_str)))]
    role: Vec<Role>,
    /// Set a password, which is asked for or read from stdin; without one the user cannot log in
    #[arg(long)]
    password: bool,
    /// Print a JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct SetPasswordArguments {
    /// The user's username, e-mail address or id
    #[arg(value_name = "USERNAME|EMAIL|ID")]
    user: String,
}

pub(super) async fn create(arguments: CreateArguments, session: &Session, out: &mut Output) -> CliResult {
    let CreateArguments { email, username, role, password, json } = arguments;
    session.usernames.check(&username).map_err(CliError::UsernameNotAccepted)?;
    let password_hash = if password { Some(new_hash(session, &email, &username).await?) } else { None };
    let registration = UserCommand::Register { email, username, password_hash };
    let roles = BTreeSet::from_iter(role);
    let created = session.services.users.create(&session.context, registration, &roles).await?;
    let output = UserOutput::from(&created);
    let printed = if json { out.json(&output) } else { output.print(out) }.and_then(|()| out.flush());
    report_lag(session).await;
    printed
}

/// Sets the password of a user, whose access tokens become invalid.
pub(super) async fn set_password(
    arguments: SetPasswordArguments,
    session: &Session,
    out: &mut Output,
) -> CliResult {
    let user = session.user(&arguments.user).await?;
    let password_hash = new_hash(session, &user.email, &user.username).await?;
    let command = UserCommand::ChangePassword { confirmed: None, password_hash };
    let change =
        RequestedChange::new(user.id.to_string(), command, "has a new password", "has this password already");
    change::run(change, session, out).await
}

/// The hash of a password that is read now, if it is accepted.
async fn new_hash(session: &Session, email: &EmailAddress, username: &Username) -> CliResult<PasswordHash> {
    let password = tokio::task::block_in_place(read_password)?;
    check(&password, &session.passwords)?;
    let settings = PasswordSettings { threads: 1, ..session.passwords };
    let pool = HashingPool::start(&settings, &session.env)?;
    let password = NewPassword::new(password, email, username);
    pool.hash_new(password, HashSource::Unlimited).await.map_err(|error| match error {
        NewPasswordError::Weak(weak) => CliError::PasswordNotAccepted(weak.to_string()),
        NewPasswordError::Hashing(error) => error.into(),
    })
}

fn check(password: &Password, settings: &PasswordSettings) -> CliResult {
    if password.expose().contains('\0') {
        return Err(CliError::PasswordNotAccepted("it contains a zero byte".to_owned()));
    }
    let policy = PasswordPolicy { min_length: settings.min_length };
    policy.check(password.expose()).map_err(|error| CliError::PasswordNotAccepted(error.to_string()))
}

/// Asks for the password twice, or reads the first line of stdin if that is no terminal.
fn read_password() -> CliResult<Password> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        let ask = |prompt: &str| rpassword::prompt_password(prompt).map(Password::new);
        let (first, second) = (ask("New password: ")?, ask("Repeat it: ")?);
        if first.expose() != second.expose() {
            return Err(CliError::PasswordNotAccepted("the two entries differ".to_owned()));
        }
        return Ok(first);
    }
    let mut line = String::new();
    stdin.lock().take(MAX_INPUT).read_line(&mut line)?;
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(Password::new(line))
}
