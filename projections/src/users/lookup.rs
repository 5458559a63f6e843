//! Decides whether the row of a user may be trusted: it must include every event of its user that was committed
//! before the lookup began, because one of them may have deactivated the user or revoked a token.

use store::{
    Corruption, EventStore, HeadConfirmation, Position, ProjectionCheckpoint, Row, RowPage, StoreError,
    StreamId,
};

use super::UserRow;

/// What rows say about a user.
#[derive(Clone, Debug, PartialEq)]
pub enum UserLookup {
    /// The row, with every event of its user, and the checkpoint of the rows.
    Found(Box<UserRow>, ProjectionCheckpoint),
    /// There is no row in rows of that checkpoint. It proves nothing if they are behind the log.
    NotFound(ProjectionCheckpoint),
    /// The row lacks the event at this position.
    Behind(Position),
    /// The answers took so long that a replaced server may have given them.
    Unconfirmed,
}

/// Evaluates rows that were read after `confirmation`. Rows that are behind the log may lack a deactivation, so
/// the log decides.
///
/// # Errors
/// [`StoreError::Corrupt`] if the row cannot be parsed, and errors of reading the log.
pub async fn evaluate(
    events: &EventStore,
    page: &RowPage,
    confirmation: HeadConfirmation,
) -> Result<UserLookup, StoreError> {
    let Some(row) = page.rows.first() else { return Ok(UserLookup::NotFound(page.checkpoint)) };
    let row = parse(row)?;
    if !page.is_current() {
        let stream = StreamId::from_trusted(row.id.stream())?;
        let newer = events.first_newer_event(&stream, row.version, page.checkpoint.position).await?;
        if let Some(position) = newer {
            return Ok(UserLookup::Behind(position));
        }
    }
    if !events.is_confirmed(confirmation) {
        return Ok(UserLookup::Unconfirmed);
    }
    Ok(UserLookup::Found(Box::new(row), page.checkpoint))
}

fn parse(row: &Row) -> Result<UserRow, StoreError> {
    UserRow::from_row(row).map_err(|error| Corruption::invalid("a row of `users`", error).into())
}
