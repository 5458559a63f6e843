//! The slots of an owner's webhooks. Each webhook holds one as a unique claim, so the limit per owner holds at
//! the commit, and the claims of an owner are the index of their webhooks.

use crate::value::UserId;

/// One of the [`LIMIT`](WebhookSlot::LIMIT) places for webhooks that each user has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WebhookSlot(u8);

impl WebhookSlot {
    /// The kind of the unique claim.
    pub const CLAIM_KIND: &'static str = "webhook";
    /// How many webhooks one user may own.
    pub const LIMIT: u8 = 100;

    /// All slots of a user, in order.
    pub fn all() -> impl Iterator<Item = Self> {
        (1..=Self::LIMIT).map(Self)
    }

    /// The slot with that number, from 1.
    #[must_use]
    pub fn new(number: u64) -> Option<Self> {
        u8::try_from(number).ok().filter(|number| (1..=Self::LIMIT).contains(number)).map(Self)
    }

    /// Its number, from 1.
    #[must_use]
    pub fn number(self) -> u64 {
        u64::from(self.0)
    }

    /// The value of the unique claim for that owner.
    #[must_use]
    pub fn claim(self, owner: UserId) -> String {
        format!("{owner}/{}", self.0)
    }

    /// Selects one of the free slots, if any. `random` spreads concurrent registrations over them, so that few
    /// collide.
    #[must_use]
    pub fn select(free: &[Self], random: u32) -> Option<Self> {
        let index = usize::try_from(random).unwrap_or_default().checked_rem(free.len())?;
        free.get(index).copied()
    }
}
