//! The one clock of the filter: a point in time, handed in by whoever has a clock.
//!
//! Nothing below the host edge asks what time it is. Arithmetic saturates: a hostile `exp` or a clock
//! that jumps can make an answer wrong by its own amount, but can never overflow.

use std::time::{Duration, SystemTime};

/// A point in time: the Duration since 1970-01-01T00:00:00Z, leap seconds ignored (RFC 7519, section 2).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(Duration);

impl Timestamp {
    /// The last point in time that can be told.
    pub const MAX: Self = Self(Duration::MAX);

    /// Nanoseconds since 1970, in the range that a host's clock has.
    pub fn unix_nanos(self) -> u64 {
        u64::try_from(self.0.as_nanos()).unwrap_or(u64::MAX)
    }

    /// From nanoseconds since the epoch, as the host tells them.
    pub const fn from_unix_nanos(nanos: u64) -> Self {
        Self(Duration::from_nanos(nanos))
    }

    /// From whole seconds since the epoch.
    pub const fn from_unix_seconds(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// Whole seconds since the epoch, rounded down.
    pub fn unix_seconds(self) -> u64 {
        self.0.as_secs()
    }

    /// Milliseconds since the epoch, rounded down.
    pub fn unix_millis(self) -> i64 {
        i64::try_from(self.0.as_millis()).unwrap_or(i64::MAX)
    }

    /// As RFC 3339 writes it, in whole seconds.
    pub fn to_rfc3339(self) -> String {
        let time = SystemTime::UNIX_EPOCH.checked_add(self.0.min(END_OF_9999)).unwrap_or(SystemTime::UNIX_EPOCH);
        humantime::format_rfc3339_seconds(time).to_string()
    }

    /// This point in time plus `duration`, at most [`Timestamp::MAX`].
    pub const fn saturating_add(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration))
    }

    /// This point in time minus `duration`, at least the epoch.
    pub const fn saturating_sub(self, duration: Duration) -> Self {
        Self(self.0.saturating_sub(duration))
    }

    /// How long ago `earlier` was; zero if it lies in the future.
    pub const fn saturating_since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// When waiting ends: after so long, or when the clock turns out to have gone back to before it began.
#[derive(Clone, Copy, Debug)]
pub struct Deadline {
    since: Timestamp,
    patience: Duration,
}

impl Deadline {
    /// After `patience` from `since`.
    pub const fn after(patience: Duration, since: Timestamp) -> Self {
        Self { since, patience }
    }

    /// Whether it is over.
    pub fn is_over(self, now: Timestamp) -> bool {
        now < self.since || now.saturating_since(self.since) > self.patience
    }
}

/// The last second that RFC 3339 can write.
const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3339() {
        assert_eq!(Timestamp::from_unix_seconds(1_800_000_000).to_rfc3339(), "2027-01-15T08:00:00Z");
        assert_eq!(Timestamp::default().to_rfc3339(), "1970-01-01T00:00:00Z");
        assert_eq!(Timestamp::MAX.to_rfc3339(), "9999-12-31T23:59:59Z");
    }
}
