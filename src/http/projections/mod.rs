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
use store::ProjectionVersions;

use super::api_error::ApiError;
use super::extract::WriteAttempt;
use super::state::HttpState;
use crate::query::projections::{ProjectionStatus, one};

/// Changes the versions of a read model, and says how it is doing then.
async fn change(
    state: &HttpState,
    attempt: &WriteAttempt,
    projection: &'static dyn Projection,
    change: impl Future<Output = Result<ProjectionVersions, ChangeError>>,
) -> Result<ProjectionStatus, ApiError> {
    attempt.limit.write(async { Ok(change.await?) }).await?;
    attempt.limit.read("how the read model is doing", status(state, projection)).await
}

async fn status(
    state: &HttpState,
    projection: &'static dyn Projection,
) -> Result<ProjectionStatus, ApiError> {
    Ok(one(projection, &state.app.services()?.projection_context, state.app.env.now()).await?)
}
