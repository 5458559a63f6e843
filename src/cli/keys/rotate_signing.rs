//! `aegis keys rotate --signing`: adds a key that signs access tokens.

use serde::Serialize;
use store::Env;

use super::rotate;
use super::status::{SigningKeyOutput, signing_keys};
use crate::app::{Database, rotate_token_keys, token_key_entry};
use crate::cli::error::{CliError, CliResult};
use crate::cli::output::Output;
use crate::config::CommandSettings;
use crate::crypto::KeyAlgorithm;

#[derive(Debug, Serialize)]
struct SigningRotationOutput {
    /// The id of the new key, the `kid` of its tokens.
    id: String,
    signing_keys: Vec<SigningKeyOutput>,
}

pub(super) async fn run(
    arguments: &rotate::Arguments,
    settings: &CommandSettings,
    database: &Database,
    out: &mut Output,
) -> CliResult {
    let env = Env::system();
    let algorithm = KeyAlgorithm::of(settings.algorithm).ok_or(CliError::NoSigningKeys)?;
    let entry = token_key_entry(database, &settings.master_key, &env);
    let (added, keys) = rotate_token_keys(&entry, algorithm, arguments.now, &env).await?;
    let signing_keys = signing_keys(&keys, &env);
    if arguments.json {
        out.json(&SigningRotationOutput { id: added.id, signing_keys })?;
        return out.flush();
    }
    for key in &signing_keys {
        out.line(&key.to_string())?;
    }
    out.flush()
}
