//! A replica set of several servers, for tests of failover and network partitions.

use mongodb::bson::doc;
use tokio::task::JoinSet;

use crate::admin_connection::AdminConnection;
use crate::network::{Endpoint, Network};
use crate::or_fail;
use crate::server::{Kind, MongodServer, SET};

/// Seconds for which a member that stepped down does not stand for election.
const STEP_DOWN_SECONDS: i32 = 11;
/// Seconds in which a secondary must catch up before the primary steps down.
const CATCH_UP_SECONDS: i32 = 10;

/// Members on this machine, with elections within a few seconds. Clients and members reach each member
/// through a proxy that can simulate a network partition. Dropping the set ends the servers and removes their
/// data.
#[derive(Debug)]
pub struct ReplicaSet {
    members: Vec<MongodServer>,
    network: Network,
}

impl ReplicaSet {
    /// Starts a set of `size` members and waits for a primary.
    ///
    /// # Panics
    /// If no `mongod` is found or no primary is elected; the message lists what was tried.
    pub async fn of(size: usize) -> Self {
        let mut starting: JoinSet<_> =
            (0..size).map(|_| MongodServer::on_any_port(Kind::MemberOfSet)).collect();
        let mut members = Vec::with_capacity(size);
        while let Some(started) = starting.join_next().await {
            members.push(or_fail(started));
        }
        let ports: Vec<u16> = members.iter().map(MongodServer::port).collect();
        let network = or_fail(Network::in_front_of(&ports).await);
        let first = or_fail(members.first().ok_or("a replica set needs a member"));
        or_fail(AdminConnection::new(first.address()).initiate(SET, &network.addresses()).await);
        let set = Self { members, network };
        set.primary().await;
        set
    }

    /// The connection URL with every member and without a database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mongodb://{}/?replicaSet={SET}", self.network.addresses().join(","))
    }

    /// The members, to be killed, paused and restarted.
    pub fn members(&mut self) -> &mut [MongodServer] {
        &mut self.members
    }

    /// Waits until a running member is primary; returns its index.
    ///
    /// # Panics
    /// If there is none within a minute.
    pub async fn primary(&self) -> usize {
        or_fail(crate::admin_connection::find_primary(self.running()).await)
    }

    /// Waits until a running member other than `old` is primary; returns its index.
    ///
    /// # Panics
    /// As [`ReplicaSet::primary`].
    pub async fn wait_for_new_primary(&self, old: usize) -> usize {
        let mut others = self.running();
        others.retain(|(index, _)| *index != old);
        or_fail(crate::admin_connection::find_primary(others).await)
    }

    /// Waits until one member is primary and every other running member replicates from it; returns the
    /// primary's index.
    ///
    /// # Panics
    /// If that takes longer than about two minutes.
    pub async fn wait_until_healthy(&self) -> usize {
        let running = self.running();
        let count = running.len();
        let primary = or_fail(crate::admin_connection::find_primary_of_healthy_set(running).await);
        or_fail(self.admin_connection(primary).write_replicated_to(count).await);
        primary
    }

    /// Kills the current primary (SIGKILL); returns its index.
    ///
    /// # Panics
    /// As [`ReplicaSet::primary`].
    pub async fn kill_primary(&mut self) -> usize {
        let primary = self.primary().await;
        if let Some(member) = self.members.get_mut(primary) {
            member.kill();
        }
        primary
    }

    /// Makes the current primary step down; returns its index.
    ///
    /// # Panics
    /// As [`ReplicaSet::primary`], and if no secondary catches up within ten seconds.
    pub async fn step_down(&self) -> usize {
        let primary = self.primary().await;
        let step_down =
            doc! { "replSetStepDown": STEP_DOWN_SECONDS, "secondaryCatchUpPeriodSecs": CATCH_UP_SECONDS };
        or_fail(self.admin_connection(primary).command(step_down).await);
        primary
    }

    /// Partitions a member from clients and other members.
    pub fn isolate(&self, index: usize) {
        self.isolate_from_members(index);
        self.network.partition(Endpoint::Member(index), Endpoint::Client);
    }

    /// Partitions a member from the other members; clients still reach it.
    pub fn isolate_from_members(&self, index: usize) {
        for other in (0..self.members.len()).filter(|other| *other != index) {
            self.network.partition(Endpoint::Member(index), Endpoint::Member(other));
        }
    }

    /// Ends all partitions; delayed bytes are delivered.
    pub fn heal(&self) {
        self.network.heal();
    }

    fn admin_connection(&self, index: usize) -> AdminConnection {
        AdminConnection::new(self.members.get(index).map(MongodServer::address).unwrap_or_default())
    }

    fn running(&self) -> Vec<(usize, String)> {
        let running = self.members.iter().enumerate().filter(|(_, member)| member.pid().is_some());
        running.map(|(index, member)| (index, member.address())).collect()
    }
}
