//! How many issuers that nobody has proved a token of may be looked up: anybody can write the name of one into a token.
//!
//! An issuer with tenants may have a thousand, and each would be sent two calls for a token that nobody signed. So all
//! of them together are admitted at a rate (the generic cell rate algorithm of ITU-T I.371), and who turns out to have a good
//! token gives its place back: those who start with many tenants at a time wait for one another, not for the rate.

use crate::time::Timestamp;
use std::time::Duration;

/// The places for those who are not known yet.
#[derive(Debug)]
pub(super) struct Newcomers {
    /// For how long one takes a place.
    interval: Duration,
    /// Until when the places are taken, had there been but one at a time.
    taken_until: Timestamp,
}

impl Newcomers {
    pub(super) fn new(interval: Duration) -> Self {
        Self { interval, taken_until: Timestamp::default() }
    }

    /// How long the next one has to wait for a place; zero if there is one.
    pub(super) fn wait(&self, now: Timestamp) -> Duration {
        self.taken(now).saturating_sub(self.interval.saturating_mul(AT_ONCE.saturating_sub(1)))
    }

    /// Takes a place.
    pub(super) fn admit(&mut self, now: Timestamp) {
        self.taken_until = now.saturating_add(self.taken(now)).saturating_add(self.interval);
    }

    /// Gives a place back.
    pub(super) fn welcome(&mut self) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const START: Timestamp = Timestamp::from_unix_seconds(1_000_000);

    #[test]
    fn a_few_at_once_and_then_one_after_another() {
        let mut newcomers = Newcomers::new(MINUTE);
        for _ in 0..AT_ONCE {
            assert_eq!(newcomers.wait(START), Duration::ZERO);
            newcomers.admit(START);
        }
        assert_eq!(newcomers.wait(START), MINUTE);
        let later = START.saturating_add(MINUTE);
        assert_eq!(newcomers.wait(later), Duration::ZERO);
        newcomers.admit(later);
        assert_eq!(newcomers.wait(later), MINUTE);
        newcomers.welcome();
        assert_eq!(newcomers.wait(later), Duration::ZERO);
        newcomers.admit(later);
        assert_eq!(newcomers.wait(START.saturating_sub(MINUTE * 10)), Duration::ZERO, "the clock went back");
    }
}
