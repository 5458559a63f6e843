//! The command that records an export of password hashes.

use domain::{SYSTEM_STREAM, System, SystemEvent, system};
use store::{Appended, Env, EventStore, Position};

use super::executor::{Decider, Decision, Loaded, execute, load};
use super::{Aggregate, CommandContext, CommandError};

/// Records that the password hashes of all users are exported, and by which operator. Returns the position of the
/// event.
///
/// # Errors
/// [`CommandError`] if it cannot be recorded: then nothing may be exported.
pub async fn record_hash_export(
    store: &EventStore,
    env: &Env,
    context: &CommandContext,
) -> Result<Position, CommandError> {
    execute(store, env, context, &HashExport).await
}

struct HashExport;

impl Decider for HashExport {
    type State = Loaded<System>;
    type Output = Position;

    fn aggregate(&self) -> Aggregate {
        Aggregate::System
    }

    fn command(&self) -> &'static str {
        "record_hash_export"
    }

    async fn load(&self, store: &EventStore) -> Result<Loaded<System>, CommandError> {
        load(store, SYSTEM_STREAM, u64::MAX, |state, event| {
            Ok(system::evolve(state, &event_codec::decode_system_event(event)?))
        })
        .await
    }

    fn decide(&self, loaded: Loaded<System>, env: &Env) -> Result<Decision<Position>, CommandError> {
        let events = [SystemEvent::PasswordHashesExported];
        let writes = vec![event_codec::system_write(env, loaded.version, &events)?];
        Ok(Decision { writes, guards: Vec::new(), output: Position::START })
    }

    fn complete(output: &mut Position, appended: &Appended) {
        *output = appended.position;
    }
}
