//! Counts the changes of the primary that the driver observes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use mongodb::ServerType;
use mongodb::event::EventHandler;
use mongodb::event::sdam::SdamEvent;

/// The changes so far. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Primaries(Arc<AtomicU64>);

impl Primaries {
    /// How often the primary has changed.
    pub(crate) fn changes(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    /// Observes the servers of a client.
    pub(crate) fn handler(&self) -> EventHandler<SdamEvent> {
        let changes = Arc::clone(&self.0);
        EventHandler::callback(move |event| {
            if let SdamEvent::ServerDescriptionChanged(change) = event {
                let types =
                    [change.previous_description, change.new_description].map(|server| server.server_type());
                if types[0] != types[1] && types.contains(&ServerType::RsPrimary) {
                    changes.fetch_add(1, Ordering::AcqRel);
                }
            }
        })
    }
}
