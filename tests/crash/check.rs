//! What must hold in between, and in the end.

use crate::fleet::Fleet;
use crate::log::{self, Log};
use crate::resolve::resolve;
use crate::summary;
use crate::swarm::{Desk, Swarm};
use crate::verdict;
use crate::witness::Witness;

/// A test while it is under way: clients that write, readers that look.
pub(crate) struct Siege {
    pub(crate) desk: Desk,
    swarm: Swarm,
    witnesses: Vec<Witness>,
    /// What has been read of the log so far.
    log: Log,
}

impl Siege {
    /// Sets clients and readers to work.
    pub(crate) fn lay(desk: Desk, swarm: Swarm) -> Self {
        let witness = |service: &testkit::service::Client| Witness::at(service.clone(), desk.token.clone());
        let witnesses = desk.services.iter().map(witness).collect();
        Self { desk, swarm, witnesses, log: Log::default() }
    }

    /// What holds at any moment: the log verifies, and nobody was told what is not so.
    pub(crate) async fn check(&mut self, fleet: &Fleet) {
        // First what was told, then the log: whatever was told by then has to be in it.
        let records = self.desk.journal.records();
        self.log.catch_up(fleet.command_line()).await;
        verdict::assert_none(&verdict::faults(&records, &self.log));
        log::verify(fleet.command_line()).await;
    }

    /// What holds in the end, once all services are well and everything unknown was sent again. Gives the whole log.
    pub(crate) async fn raise(mut self, test: &str, fleet: &Fleet) -> Log {
        self.swarm.stop().await;
        resolve(&self.desk).await;
        let mut seen = Vec::new();
        for witness in self.witnesses {
            seen.extend(witness.stop().await);
        }
        let records = self.desk.journal.records();
        self.log.catch_up(fleet.command_line()).await;
        let whole = Log::read(fleet.command_line()).await;
        assert_eq!(self.log.events(), whole.events(), "what was read bit by bit, and what is there now");
        verdict::assert_none(&verdict::faults(&records, &whole));
        verdict::assert_none(&verdict::faults_of_sightings(&seen, &whole));
        log::verify(fleet.command_line()).await;
        log::assert_rows_follow(fleet.command_line(), &whole).await;
        summary::tell(test, &records, &whole);
        whole
    }
}
