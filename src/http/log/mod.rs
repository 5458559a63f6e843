//! `/log`: the event log as a transparency log (c2sp.org/tlog-tiles), with which auditors can prove that it
//! was not edited: the signed checkpoint and its key, tiles and entries, and inclusion and consistency
//! proofs.

mod checkpoint;
mod consistency;
mod proof;
mod tile;

use utoipa_axum::routes;

use super::state::Routes;

pub(super) fn routes() -> Routes {
    vec![
        routes!(checkpoint::log_checkpoint),
        routes!(checkpoint::log_key),
        routes!(tile::log_tile),
        routes!(proof::log_proof),
        routes!(consistency::log_consistency),
    ]
}
