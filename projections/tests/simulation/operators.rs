//! Operators: they rebuild read models, cancel, roll back, and drop versions.

use std::sync::atomic::Ordering;

use projections::{ChangeError, Projection, lifecycle};
use store::ProjectionVersions;
use tokio::time::sleep;

use crate::node::Node;
use crate::shared_state::Simulation;

/// Changes versions now and then, for the lifetime of the process.
pub(crate) async fn change_versions(simulation: &Simulation, slot: usize, node: &Node) {
    let left = &simulation.slots[slot].changes;
    while left.load(Ordering::Relaxed) > 0 {
        sleep(simulation.random.millis(0..=1500)).await;
        left.fetch_sub(1, Ordering::Relaxed);
        let projection = *simulation.random.pick(&node.projections);
        let changed = match simulation.random.below(100) {
            0..45 => rebuild(simulation, node, projection).await,
            45..55 => lifecycle::cancel(projection, &node.context).await,
            55..80 => {
                let to =
                    simulation.random.permille(500).then(|| random_version(simulation, node, projection));
                lifecycle::roll_back(projection, &node.context, to).await
            }
            _ => {
                lifecycle::drop(projection, &node.context, random_version(simulation, node, projection)).await
            }
        };
        simulation.trace.log(|| format!("an operator of `{}` receives {changed:?}", projection.name()));
        match changed {
            Ok(_) => simulation.coverage.count("version changes done"),
            Err(ChangeError::Refused(..) | ChangeError::Unknown(..)) => {
                simulation.coverage.count("version changes rejected");
            }
            Err(ChangeError::Behind(..)) => simulation.coverage.count("version changes rejected as behind"),
            Err(ChangeError::Store(error)) if error.is_transient() => {
                simulation.coverage.count("version changes with unknown outcome");
            }
            Err(ChangeError::Store(error)) => {
                simulation.report_violation(format!("an operator received: {error}"));
            }
        }
    }
}

/// Starts a rebuild.
pub(crate) async fn rebuild(
    simulation: &Simulation,
    node: &Node,
    projection: &'static dyn Projection,
) -> Result<ProjectionVersions, ChangeError> {
    simulation.coverage.count("rebuilds requested");
    lifecycle::rebuild(projection, &node.context, "operator:ada", node.env.now()).await
}

/// A present or former version number.
fn random_version(simulation: &Simulation, node: &Node, projection: &dyn Projection) -> u64 {
    let progress = node.context.events.progress();
    let last = progress.versions.get(projection.name()).map_or(1, |versions| versions.last);
    simulation.random.within(1..=last)
}
