//! `/projections`: the read models, for operators: how they are doing (`list`, `show`), and what is done with their
//! versions, one file each.

pub(crate) mod cancel;
pub(crate) mod drop;
pub(crate) mod list;
pub(crate) mod rebuild;
pub(crate) mod rollback;
pub(crate) mod show;
pub(crate) mod skip;

use projections::{ChangeError, Projection};
use store::Versions;

use super::extract::Sent;
use super::problem::Problem;
use super::state::HttpState;
use crate::query::projections::{ProjectionStatus, one};

/// Changes the versions of a read model, and says how it is doing then.
async fn change(
    state: &HttpState,
    sent: &Sent,
    projection: &'static dyn Projection,
    change: impl Future<Output = Result<Versions, ChangeError>>,
) -> Result<ProjectionStatus, Problem> {
    sent.limit.write(async { Ok(change.await?) }).await?;
    sent.limit.read("how the read model is doing", status(state, projection)).await
}

async fn status(state: &HttpState, projection: &'static dyn Projection) -> Result<ProjectionStatus, Problem> {
    Ok(one(projection, &state.app.node()?.sources, state.app.ambient.now()).await?)
}
