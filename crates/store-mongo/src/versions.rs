//! Projection versions, stored as JSON in `read_models`.

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::{RawDocument, doc};
use store::{Corruption, InternalError, Position, ProjectionVersions, StoreError, Table};

use crate::connection::Db;
use crate::document_reader::{DocumentReader, raw};
use crate::error::MongoError;
use crate::find::find;
use crate::row_document::to_checkpoint;
use crate::transaction::TransactionBody;

/// The versions of one projection.
pub(crate) async fn read(db: &Db, projection: &str) -> Result<Option<ProjectionVersions>, StoreError> {
    let by_name = doc! { "_id": projection };
    let found =
        find(db, &db.read_models(), "reading projection versions", by_name, doc! {}, 1, to_versions).await?;
    Ok(found.into_iter().next().map(|(_, versions)| versions))
}

/// Decodes the versions and the name of the projection.
pub(crate) fn to_versions(document: &RawDocument) -> Result<(String, ProjectionVersions), StoreError> {
    let name = DocumentReader::new(document, "projection versions").text("_id")?.to_owned();
    let what = format!("the versions of `{name}`");
    let stored = DocumentReader::new(document, &what).text("versions")?;
    let versions = serde_json::from_str(stored).map_err(|error| Corruption::invalid(&*what, error))?;
    Ok((name, versions))
}

/// Replaces the versions of a projection by compare-and-set on their revision.
pub(crate) struct ChangeVersions {
    pub(crate) projection: String,
    pub(crate) to: ProjectionVersions,
    /// The first table must have reached the checkpoint of the second.
    pub(crate) behind: Option<(Table, Table)>,
}

#[async_trait]
impl TransactionBody for ChangeVersions {
    /// Whether the change was applied.
    type Output = bool;

    fn description(&self) -> String {
        format!("changing the versions of {}", self.projection)
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<bool, MongoError> {
        let Self { projection, to, behind } = self;
        let by_name = doc! { "_id": projection };
        let stored = db.read_models().find_one(by_name.clone()).session(&mut *session).await?;
        let revision = match stored {
            Some(stored) => to_versions(&stored)?.1.revision,
            None => 0,
        };
        if revision + 1 != to.revision {
            return Ok(false);
        }
        if let Some((one, other)) = behind
            && position(db, session, one).await? < position(db, session, other).await?
        {
            return Ok(false);
        }
        let encoded = serde_json::to_string(to).map_err(|error| {
            StoreError::from(InternalError::encoding(format!("the versions of `{projection}`"), error))
        })?;
        // A replacement, not an update: the change event then contains the whole document.
        let entry = raw(&doc! { "_id": projection, "versions": encoded })?;
        db.read_models().replace_one(by_name, entry).upsert(true).session(&mut *session).await?;
        Ok(true)
    }
}

/// The position of a table. The update makes concurrent writers of the checkpoint conflict. A table under
/// reset is at the start.
async fn position(db: &Db, session: &mut ClientSession, table: &Table) -> Result<Position, MongoError> {
    let (by_name, touch) = (doc! { "_id": &*table.name }, doc! { "$inc": { "touched": 1_i64 } });
    let found = db.checkpoints().find_one_and_update(by_name, touch).session(&mut *session).await?;
    Ok(match found {
        Some(found) => to_checkpoint(&found)?.1.position,
        None => Position::START,
    })
}
