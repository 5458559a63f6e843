//! Making the idle table of a pair the live one. How often that was done stands in `projections` under the pair's name.

use async_trait::async_trait;
use mongodb::ClientSession;
use mongodb::bson::doc;
use store::{Checkpoint, Pair, Position};

use crate::connect::Db;
use crate::failure::Failure;
use crate::fields::raw;
use crate::row_document::{from_checkpoint, to_checkpoint};
use crate::transaction::Work;

/// One switch, from where the caller believes the pair to be.
pub(crate) struct Switch {
    pub(crate) pair: &'static Pair,
    pub(crate) switches: u64,
}

#[async_trait]
impl Work for Switch {
    /// How the pair stands now; `None` if it was not switched.
    type Answer = Option<Checkpoint>;

    fn what(&self) -> String {
        format!("switching {}", self.pair.name)
    }

    async fn attempt(&self, db: &Db, session: &mut ClientSession) -> Result<Self::Answer, Failure> {
        let Self { pair, switches } = self;
        if switches_of(db, session, pair).await? != *switches {
            return Ok(None);
        }
        let (live, _) = held(db, session, pair.live(*switches).name).await?;
        let (idle, clearing) = held(db, session, pair.idle(*switches).name).await?;
        if clearing || idle < live {
            return Ok(None);
        }
        let switched = Checkpoint { rebuilds: switches + 1, position: Position::START };
        // Replaced, not updated: the change stream then carries it whole.
        let entry = raw(&from_checkpoint(pair.name, switched))?;
        let by_name = doc! { "_id": pair.name };
        db.projections().replace_one(by_name, entry).upsert(true).session(&mut *session).await?;
        Ok(Some(switched))
    }
}

/// How often the pair was switched, as this transaction sees it.
pub(crate) async fn switches_of(db: &Db, session: &mut ClientSession, pair: &Pair) -> Result<u64, Failure> {
    let found = db.projections().find_one(doc! { "_id": pair.name }).session(&mut *session).await?;
    Ok(match found {
        Some(found) => to_checkpoint(&found)?.1.rebuilds,
        None => 0,
    })
}

/// How far a table is, and whether it is being emptied. It is touched, so that whoever moves it meanwhile conflicts.
async fn held(db: &Db, session: &mut ClientSession, table: &str) -> Result<(Position, bool), Failure> {
    let touch = doc! { "$inc": { "touched": 1_i64 } };
    let touched =
        db.projections().find_one_and_update(doc! { "_id": table }, touch).session(&mut *session).await?;
    Ok(match touched {
        Some(found) => {
            let (_, checkpoint, clearing) = to_checkpoint(&found)?;
            (checkpoint.position, clearing)
        }
        None => (Position::START, false),
    })
}
