//! When one of several endpoints is given up, and when it is taken again.

use super::Error;
use super::fields::Fields;
use std::time::Duration;

/// When an endpoint of several is given up, and when it is taken again.
#[derive(Clone, Copy, Debug)]
pub struct Failover {
    /// After so many failures in a row, it is given up.
    pub unhealthy_threshold: u32,
    /// After so many successes in a row, it is taken again.
    pub healthy_threshold: u32,
    /// How often one that was given up is tried.
    pub interval: Duration,
}

impl Failover {
    /// What holds where nothing is said.
    pub(super) fn standard() -> Self {
        Self { unhealthy_threshold: 2, healthy_threshold: 2, interval: Duration::from_secs(30) }
    }

    /// The fields of `failover`.
    pub(super) fn read(&mut self, mut fields: Fields) -> Result<(), Error> {
        fields.allow_only(&["unhealthy_threshold", "healthy_threshold", "interval"])?;
        for (field, threshold) in
            [("unhealthy_threshold", &mut self.unhealthy_threshold), ("healthy_threshold", &mut self.healthy_threshold)]
        {
            if let Some(count) = fields.integer(field)? {
                let count = u32::try_from(count).ok().filter(|count| (1..=1000).contains(count));
                *threshold = count.ok_or_else(|| fields.error(field, "must be from 1 to 1000"))?;
            }
        }
        if let Some(interval) = fields.duration("interval")? {
            self.interval = interval;
        }
        if self.interval < Duration::from_secs(1) {
            return Err(fields.error("interval", "must be at least 1s"));
        }
        fields.finish()
    }
}
