//! Several servers as one replica set, to lose its primary.

use mongodb::bson::doc;

use crate::or_fail;
use crate::probe::{Probe, direct};
use crate::server::{Kind, MongodServer, SET};

/// Members on one machine, elections within a few seconds. Ended and removed when dropped.
#[derive(Debug)]
pub struct ReplicaSet {
    members: Vec<MongodServer>,
}

impl ReplicaSet {
    /// A set of `size` members with a primary.
    ///
    /// # Panics
    /// When there is no `mongod` to be had, or no primary is elected; the message says what was tried.
    pub async fn of(size: usize) -> Self {
        let mut members = Vec::with_capacity(size);
        for _ in 0..size {
            members.push(MongodServer::on_any_port(Kind::MemberOfSet).await);
        }
        let addresses: Vec<String> = members.iter().map(MongodServer::address).collect();
        let first = or_fail(addresses.first().ok_or("a replica set needs a member"));
        or_fail(Probe::new(first).initiate(SET, &addresses).await);
        let set = Self { members };
        set.primary().await;
        set
    }

    /// How a client reaches it; names every member and no database.
    #[must_use]
    pub fn url(&self) -> String {
        let addresses: Vec<String> = self.members.iter().map(MongodServer::address).collect();
        format!("mongodb://{}/?replicaSet={SET}", addresses.join(","))
    }

    /// The members, to be killed and started again.
    pub fn members(&mut self) -> &mut [MongodServer] {
        &mut self.members
    }

    /// Waits until one of the running members is primary: its place among the members.
    ///
    /// # Panics
    /// When there is none within a minute.
    pub async fn primary(&self) -> usize {
        or_fail(crate::probe::primary_of(self.running()).await)
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

    /// Makes the current primary give way to another member, in good order: its place among the members. Elections
    /// begin at once; [`ReplicaSet::primary`] waits for their end.
    ///
    /// # Panics
    /// As [`ReplicaSet::primary`], and when no other member has what the primary has within ten seconds.
    pub async fn step_down(&self) -> usize {
        let primary = self.primary().await;
        if let Some(member) = self.members.get(primary) {
            let client = or_fail(direct(&member.address()));
            let give_way = doc! { "replSetStepDown": 11, "secondaryCatchUpPeriodSecs": 10 };
            or_fail(client.database("admin").run_command(give_way).await);
        }
        primary
    }

    fn running(&self) -> Vec<(usize, String)> {
        let running = self.members.iter().enumerate().filter(|(_, member)| member.pid().is_some());
        running.map(|(place, member)| (place, member.address())).collect()
    }
}
