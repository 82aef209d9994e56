//! Several endpoints for one kind of call: which of them are up, and which is next.

use super::call::{Call, CallKind};
use crate::config::Failover;
use crate::time::Timestamp;

/// Of each kind of call to a configured list of endpoints, how these are.
#[derive(Debug)]
pub(super) struct EndpointLists(Vec<(CallKind, Vec<Health>)>);

impl EndpointLists {
    /// Lists of so many endpoints, all of them up. One endpoint is no list.
    pub(super) fn new(lists: impl Iterator<Item = (CallKind, usize)>) -> Self {
        let several = lists.filter(|(_, length)| *length > 1);
        Self(several.map(|(kind, length)| (kind, vec![Health::default(); length])).collect())
    }

    /// The endpoint that a call goes to after it was at these: first those that were not given up, each in the order of the
    /// configuration.
    pub(super) fn choice(&self, call: Call, tried: &[usize]) -> usize {
        let kind = call.kind();
        let Some((_, health)) = self.0.iter().find(|(k, _)| Some(*k) == kind) else { return tried.len() };
        let (down, up): (Vec<_>, Vec<_>) = health.iter().enumerate().partition(|(_, health)| health.is_down);
        let mut left = up.iter().chain(&down).map(|(index, _)| *index).filter(|index| !tried.contains(index));
        left.next().unwrap_or(health.len())
    }

    /// Notes what the end of a call says. Whether the endpoint is one of several, and its state before, if that has changed.
    pub(super) fn note(
        &mut self,
        kind: CallKind,
        endpoint: usize,
        sign: HealthSign,
        failover: Failover,
        now: Timestamp,
    ) -> HealthChange {
        let Some(health) = self.find(kind, endpoint) else { return HealthChange::Single };
        let was_down = health.is_down;
        health.note(sign, failover, now);
        match (was_down, health.is_down) {
            (true, false) => HealthChange::Back,
            (false, true) => HealthChange::GivenUp,
            _ => HealthChange::Unchanged,
        }
    }

    fn find(&mut self, kind: CallKind, endpoint: usize) -> Option<&mut Health> {
        self.0.iter_mut().find(|(k, _)| *k == kind).and_then(|(_, list)| list.get_mut(endpoint))
    }

    /// The endpoints that were given up or are in doubt, and when each is to be tried. A pause longer than any comes of a clock
    /// that went back.
    pub(super) fn probes(&self, failover: Failover, now: Timestamp) -> Vec<(CallKind, usize, Timestamp)> {
        let latest = now.saturating_add(failover.interval);
        let mut probes = Vec::new();
        for (kind, list) in &self.0 {
            let probed = list.iter().enumerate().filter(|(_, health)| health.is_down || health.is_doubtful);
            for (index, health) in probed {
                let due = if health.probe_at > latest { now } else { health.probe_at };
                probes.push((*kind, index, due));
            }
        }
        probes
    }

    /// Notes that a probe is sent.
    pub(super) fn probing(&mut self, kind: CallKind, endpoint: usize, failover: Failover, now: Timestamp) {
        if let Some(health) = self.find(kind, endpoint) {
            health.probe_at = now.saturating_add(failover.interval);
        }
    }

    /// Of each endpoint, whether it is in use. Those of several sources of keys are numbered on.
    pub(super) fn facts(&self) -> Vec<(CallKind, usize, bool)> {
        let (mut facts, mut keys) = (Vec::new(), 0_usize);
        for (kind, list) in &self.0 {
            let first = if let CallKind::Keys(_) = kind { keys } else { 0 };
            keys = keys.saturating_add(list.len());
            for (index, health) in list.iter().enumerate() {
                facts.push((*kind, first.saturating_add(index), !health.is_down));
            }
        }
        facts
    }
}

/// What has become of an endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HealthChange {
    /// There is no other.
    Single,
    /// It is one of several, and its state has not changed.
    Unchanged,
    /// It is given up.
    GivenUp,
    /// It is in use again.
    Back,
}

/// What the end of a call says about the endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HealthSign {
    /// It does what it should.
    Well,
    /// It answers.
    Alive,
    /// It refuses one token. Whether it refuses others is for a probe to say.
    Doubtful,
    /// It fails over one token, which a client has chosen. Whether it fails over others is for a probe to say, too; if it does, this
    /// counts.
    Suspect,
    /// It does not.
    Failing,
}

/// How one of several endpoints is.
#[derive(Clone, Copy, Debug, Default)]
struct Health {
    failures: u32,
    /// One of the failures was over what no client has chosen.
    is_confirmed: bool,
    successes: u32,
    is_down: bool,
    is_doubtful: bool,
    probe_at: Timestamp,
}

impl Health {
    fn note(&mut self, sign: HealthSign, failover: Failover, now: Timestamp) {
        match sign {
            HealthSign::Well | HealthSign::Alive => {
                (self.failures, self.is_confirmed, self.is_doubtful) = (0, false, false);
                self.successes = self.successes.saturating_add(1);
            }
            HealthSign::Failing | HealthSign::Suspect => {
                (self.failures, self.successes) = (self.failures.saturating_add(1), 0);
                self.is_confirmed |= sign == HealthSign::Failing;
            }
            HealthSign::Doubtful => {}
        }
        if matches!(sign, HealthSign::Doubtful | HealthSign::Suspect) && !self.is_doubtful && !self.is_down {
            // Not sooner than an interval after the last probe, however many tokens are refused.
            self.is_doubtful = true;
            self.probe_at = self.probe_at.max(now);
        }
        if self.is_down && self.successes >= failover.healthy_threshold {
            self.is_down = false;
        } else if !self.is_down && self.is_confirmed && self.failures >= failover.unhealthy_threshold {
            self.is_down = true;
            self.is_doubtful = false;
            self.probe_at = now.saturating_add(failover.interval);
        }
    }
}
