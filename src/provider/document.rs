//! Something that is fetched ahead of its need, kept fresh, served through an outage, and asked for ever more rarely while that
//! lasts.

use crate::http::MAX_RETRY_AFTER;
use crate::time::Timestamp;
use std::time::Duration;

/// One document that is fetched and kept.
#[derive(Debug)]
pub(super) struct KeptDocument<T> {
    pub(super) held: Option<Held<T>>,
    pub(super) refresh_at: Timestamp,
    pub(super) retry_at: Timestamp,
    /// From the last failure to `retry_at`.
    pause: Duration,
    pub(super) attempted_at: Option<Timestamp>,
    pub(super) failures: u32,
    /// It is being fetched.
    pub(super) is_under_way: bool,
}

#[derive(Debug)]
pub(super) struct Held<T> {
    pub(super) value: T,
    /// `None` for what came with the configuration and never becomes stale.
    pub(super) fetched_at: Option<Timestamp>,
    pub(super) usable_until: Timestamp,
}

impl<T> Default for KeptDocument<T> {
    fn default() -> Self {
        let epoch = Timestamp::default();
        Self {
            held: None,
            refresh_at: epoch,
            retry_at: epoch,
            pause: Duration::ZERO,
            attempted_at: None,
            failures: 0,
            is_under_way: false,
        }
    }
}

impl<T> KeptDocument<T> {
    pub(super) fn starting_with(value: Option<T>) -> Self {
        let held = value.map(|value| Held { value, fetched_at: None, usable_until: Timestamp::MAX });
        Self { held, ..Self::default() }
    }

    pub(super) fn get(&self, now: Timestamp) -> Option<&T> {
        let held = self.held.as_ref()?;
        (now < held.usable_until).then_some(&held.value)
    }

    /// Lets what was fetched serve for so much longer.
    pub(super) fn prolong(&mut self, time: Duration) {
        if let Some(held) = &mut self.held {
            held.usable_until = held.usable_until.saturating_add(time);
        }
    }

    /// Whether to try on behalf of a request: the last attempt is long enough ago, or the clock went back.
    pub(super) fn may_try(&self, cooldown: Duration, now: Timestamp) -> bool {
        let has_rested = self.attempted_at.is_none_or(|at| now < at || now.saturating_since(at) >= cooldown);
        !self.pauses(now) && (self.get(now).is_none() || has_rested)
    }

    pub(super) fn due_at(&self, now: Timestamp) -> Timestamp {
        let from_the_future = self.held.as_ref().and_then(|held| held.fetched_at).is_some_and(|fetched| now < fetched);
        match (self.pauses(now), from_the_future) {
            (true, _) => self.retry_at,
            (false, true) => now,
            (false, false) => self.refresh_at,
        }
    }

    /// Whether a failure is too recent to try again. A pause longer than any comes of a clock that went back.
    pub(super) fn pauses(&self, now: Timestamp) -> bool {
        self.failures > 0 && now < self.retry_at && self.retry_at.saturating_since(now) <= self.pause
    }

    pub(super) fn renew(&mut self, value: T, lifetime: Duration, max_stale: Duration, now: Timestamp) {
        let margin = lifetime.checked_div(10).unwrap_or_default().min(MAX_REFRESH_MARGIN);
        let usable_until = now.saturating_add(lifetime).saturating_add(max_stale);
        self.held = Some(Held { value, fetched_at: Some(now), usable_until });
        self.refresh_at = now.saturating_add(lifetime.saturating_sub(margin));
        self.retry_at = Timestamp::default();
        self.failures = 0;
    }

    /// A provider may ask for a longer pause than it would get, but for none beyond the time that what it said before is good for.
    pub(super) fn failed(&mut self, wait: Duration, now: Timestamp) {
        let pause = MIN_PAUSE.saturating_mul(2_u32.saturating_pow(self.failures)).min(MAX_PAUSE);
        let end = self.held.as_ref().map(|held| held.usable_until).filter(|end| now < *end);
        let most = end.map_or(MAX_RETRY_AFTER, |end| end.saturating_since(now).saturating_sub(MAX_PAUSE));
        self.pause = pause.max(wait.min(most));
        self.retry_at = now.saturating_add(self.pause);
        self.failures = self.failures.saturating_add(1);
    }
}

/// How long before its end a document is fetched again, at most.
const MAX_REFRESH_MARGIN: Duration = Duration::from_secs(30);

/// The pause after a first failure; each further one doubles it.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause: a provider that is back should be noticed soon, without help.
const MAX_PAUSE: Duration = Duration::from_secs(16);
