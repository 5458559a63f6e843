//! Operators at work: they have read models rebuilt, change their minds, go back, and drop what is kept.

use std::sync::atomic::Ordering;

use projections::{ChangeError, Projection, models};
use store::Versions;
use tokio::time::sleep;

use crate::node::Node;
use crate::world::World;

/// Changes the versions of a read model now and then, for as long as the process lives.
pub(crate) async fn change_versions(world: &World, place: usize, node: &Node) {
    let left = &world.places[place].changes;
    while left.load(Ordering::Relaxed) > 0 {
        sleep(world.chance.millis(0..=1500)).await;
        left.fetch_sub(1, Ordering::Relaxed);
        let projection = *world.chance.pick(&node.projections);
        let changed = match world.chance.below(100) {
            0..45 => rebuild(world, node, projection).await,
            45..55 => models::cancel(projection, &node.sources).await,
            55..80 => {
                let to = world.chance.happens(500).then(|| some_number(world, node, projection));
                models::roll_back(projection, &node.sources, to).await
            }
            _ => models::drop(projection, &node.sources, some_number(world, node, projection)).await,
        };
        world.trace.say(|| format!("an operator of `{}` is told {changed:?}", projection.name()));
        match changed {
            Ok(_) => world.tally.count("changes done"),
            Err(ChangeError::Refused(..) | ChangeError::Unknown(..)) => world.tally.count("changes refused"),
            Err(ChangeError::Behind(..)) => world.tally.count("changes that would go back in time"),
            Err(ChangeError::Store(error)) if error.is_transient() => {
                world.tally.count("changes with an unknown end");
            }
            Err(ChangeError::Store(error)) => world.broken(format!("an operator was told: {error}")),
        }
    }
}

/// Asks for a rebuild.
pub(crate) async fn rebuild(
    world: &World,
    node: &Node,
    projection: &'static dyn Projection,
) -> Result<Versions, ChangeError> {
    world.tally.count("rebuilds asked for");
    models::rebuild(projection, &node.sources, "operator:ada", node.ambient.now()).await
}

/// One of the numbers there are, or were.
fn some_number(world: &World, node: &Node, projection: &dyn Projection) -> u64 {
    let signal = node.sources.events.signal();
    let last = signal.versions.get(projection.name()).map_or(1, |versions| versions.last);
    world.chance.within(1..=last)
}
