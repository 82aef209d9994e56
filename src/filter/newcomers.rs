//! How many issuers that nobody has proved a token of may be looked up: anybody can write the name of one into a token.
//!
//! An issuer with tenants may have a thousand, and each would be sent two calls for a token that nobody signed. So all
//! of them together are admitted at a rate (the generic cell rate algorithm of ITU-T I.371), and who turns out to have a good
//! token gives its place back: those who start with many tenants at a time wait for one another, not for the rate.
//!
//! The invariant: whoever makes up tokens takes no tenant's turn. Each may be looked up once in a cooldown, and what is found is
//! kept for a while; the rate is such that there is a place for each within that time. To look for newer keys of a tenant that has
//! some takes a place of another kind, of which there are fewer.

use crate::provider::{Call, Provider};
use crate::time::Timestamp;
use std::time::Duration;

/// What a lookup is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Lookup {
    /// Nothing of the kind is at hand.
    First,
    /// A newer document than the one at hand.
    Again,
}

impl Lookup {
    /// What this call to a provider would be.
    pub(super) fn of(provider: &Provider, call: Call, now: Timestamp) -> Self {
        if provider.has_at_hand(call, now) { Self::Again } else { Self::First }
    }
}

/// The places for those who are not known yet.
#[derive(Debug)]
pub(super) struct Newcomers {
    first: Places,
    again: Places,
}

impl Newcomers {
    /// For so many issuers, each of which may be looked up once in such a time.
    pub(super) fn new(issuers: usize, cooldown: Duration) -> Self {
        let issuers = u32::try_from(issuers).unwrap_or(u32::MAX);
        let interval = cooldown.checked_div(issuers).unwrap_or_default().max(MIN_INTERVAL).min(cooldown);
        Self { first: Places::one_each(interval), again: Places::one_each(cooldown) }
    }

    /// How long the next one has to wait for a place; zero if there is one.
    pub(super) fn wait(&self, lookup: Lookup, now: Timestamp) -> Duration {
        match lookup {
            Lookup::First => self.first.wait(now),
            Lookup::Again => self.again.wait(now),
        }
    }

    /// Takes a place.
    pub(super) fn admit(&mut self, lookup: Lookup, now: Timestamp) {
        match lookup {
            Lookup::First => self.first.admit(now),
            Lookup::Again => self.again.admit(now),
        }
    }

    /// Gives a place back: an issuer has turned out to have a good token.
    pub(super) fn welcome(&mut self) {
        self.first.give_back();
    }
}

#[derive(Debug)]
struct Places {
    /// For how long one takes a place.
    interval: Duration,
    /// Until when the places are taken, had there been but one at a time.
    taken_until: Timestamp,
}

impl Places {
    fn one_each(interval: Duration) -> Self {
        Self { interval, taken_until: Timestamp::default() }
    }

    fn wait(&self, now: Timestamp) -> Duration {
        self.taken(now).saturating_sub(self.interval.saturating_mul(AT_ONCE.saturating_sub(1)))
    }

    fn admit(&mut self, now: Timestamp) {
        self.taken_until = now.saturating_add(self.taken(now)).saturating_add(self.interval);
    }

    fn give_back(&mut self) {
        self.taken_until = self.taken_until.saturating_sub(self.interval);
    }

    /// More than all places can only be taken by a clock that went back.
    fn taken(&self, now: Timestamp) -> Duration {
        let taken = self.taken_until.saturating_since(now);
        if taken > self.interval.saturating_mul(AT_ONCE) { Duration::ZERO } else { taken }
    }
}

/// How many are looked up at a time: eight calls at once for who makes them up, and forty tenants a second that have users,
/// if their issuer takes 50 ms for each of two answers.
const AT_ONCE: u32 = 4;

/// After those, four are looked up each second at most: eight calls, however many tenants are made up tokens of. A thousand have
/// their turn in four minutes, and what was found by then is kept for ten, unless it says otherwise.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    #[test]
    fn a_few_at_once_and_then_one_after_another() {
        let mut places = Places::one_each(MINUTE);
        for _ in 0..AT_ONCE {
            assert_eq!(places.wait(START), Duration::ZERO);
            places.admit(START);
        }
        assert_eq!(places.wait(START), MINUTE);
        let later = START.saturating_add(MINUTE);
        assert_eq!(places.wait(later), Duration::ZERO);
        places.admit(later);
        assert_eq!(places.wait(later), MINUTE);
        places.give_back();
        assert_eq!(places.wait(later), Duration::ZERO);
        places.admit(later);
        assert_eq!(places.wait(START.saturating_sub(MINUTE * 10)), Duration::ZERO, "the clock went back");
    }

    #[test]
    fn each_has_its_turn_within_a_cooldown_but_few_at_a_time() {
        for (issuers, interval) in [(1, MINUTE), (60, MINUTE / 60), (1000, MIN_INTERVAL)] {
            let mut newcomers = Newcomers::new(issuers, MINUTE);
            for _ in 0..AT_ONCE {
                newcomers.admit(Lookup::First, START);
                newcomers.admit(Lookup::Again, START);
            }
            let waits = [Lookup::First, Lookup::Again].map(|lookup| newcomers.wait(lookup, START));
            assert_eq!(waits, [interval, MINUTE], "{issuers}");
        }
        let hasty = Newcomers::new(10, Duration::from_millis(1));
        assert_eq!(hasty.first.interval, Duration::from_millis(1));
    }
}
