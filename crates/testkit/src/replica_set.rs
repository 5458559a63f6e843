//! Several servers as one replica set, to lose its primary in every way there is.

use mongodb::bson::doc;
use tokio::task::JoinSet;

use crate::admin_connection::AdminConnection;
use crate::network::{Endpoint, Network};
use crate::or_fail;
use crate::server::{Kind, MongodServer, SET};

/// How many seconds a member that has stepped down stays out of elections.
const STEPPED_DOWN: i32 = 11;
/// How many seconds the others have to catch up before.
const CAUGHT_UP: i32 = 10;

/// Members on one machine, elections within a few seconds. Each is reached, by clients and by the others, through a
/// proxy, so that it can be cut off. Ended and removed when dropped.
#[derive(Debug)]
pub struct ReplicaSet {
    members: Vec<MongodServer>,
    network: Network,
}

impl ReplicaSet {
    /// A set of `size` members with a primary.
    ///
    /// # Panics
    /// When there is no `mongod` to be had, or no primary is elected; the message says what was tried.
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

    /// How a client reaches it; names every member and no database.
    #[must_use]
    pub fn url(&self) -> String {
        format!("mongodb://{}/?replicaSet={SET}", self.network.addresses().join(","))
    }

    /// The members, to be killed, frozen and started again.
    pub fn members(&mut self) -> &mut [MongodServer] {
        &mut self.members
    }

    /// Waits until one of the running members is primary: its place among the members.
    ///
    /// # Panics
    /// When there is none within a minute.
    pub async fn primary(&self) -> usize {
        or_fail(crate::admin_connection::find_primary(self.running()).await)
    }

    /// Waits until another running member than this one is primary: its place among the members.
    ///
    /// # Panics
    /// As [`ReplicaSet::primary`].
    pub async fn wait_for_new_primary(&self, of: usize) -> usize {
        let mut others = self.running();
        others.retain(|(place, _)| *place != of);
        or_fail(crate::admin_connection::find_primary(others).await)
    }

    /// Waits until one member is primary, and every other running one follows and copies from it: the primary's place.
    ///
    /// # Panics
    /// When that is not so within a minute or two.
    pub async fn wait_until_healthy(&self) -> usize {
        let running = self.running();
        let everybody = running.len();
        let primary = or_fail(crate::admin_connection::find_primary_of_healthy_set(running).await);
        or_fail(self.probe(primary).write_replicated_to(everybody).await);
        primary
    }

    /// SIGKILL for the current primary: its place among the members.
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

    /// Makes the current primary hand over to another member: its place among the members.
    ///
    /// # Panics
    /// As [`ReplicaSet::primary`], and when no other member has caught up with it within ten seconds.
    pub async fn step_down(&self) -> usize {
        let primary = self.primary().await;
        let give_way = doc! { "replSetStepDown": STEPPED_DOWN, "secondaryCatchUpPeriodSecs": CAUGHT_UP };
        or_fail(self.probe(primary).command(give_way).await);
        primary
    }

    /// Cuts a member off from everybody.
    pub fn isolate(&self, place: usize) {
        self.isolate_from_members(place);
        self.network.partition(Endpoint::Member(place), Endpoint::Client);
    }

    /// Cuts a member off from all others; clients reach it still.
    pub fn isolate_from_members(&self, place: usize) {
        for other in (0..self.members.len()).filter(|other| *other != place) {
            self.network.partition(Endpoint::Member(place), Endpoint::Member(other));
        }
    }

    /// Mends what was cut. What has waited arrives.
    pub fn heal(&self) {
        self.network.heal();
    }

    fn probe(&self, place: usize) -> AdminConnection {
        AdminConnection::new(self.members.get(place).map(MongodServer::address).unwrap_or_default())
    }

    fn running(&self) -> Vec<(usize, String)> {
        let running = self.members.iter().enumerate().filter(|(_, member)| member.pid().is_some());
        running.map(|(place, member)| (place, member.address())).collect()
    }
}
