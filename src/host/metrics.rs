//! What is counted: the names of the metrics, and the numbers that Envoy gave them.

use super::abi::{self, MetricKind};
use crate::decision::{Outcome, Shadow, Tally};
use crate::filter::FetchOutcome;
use crate::jwk::Algorithm;
use crate::verifier::Backend;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// The metrics of this worker by what they count. Envoy adds up those of all workers.
///
/// Labels stand in the name behind semicolons, from where `stats_config.stats_tags` takes them.
#[derive(Default)]
pub struct Metrics {
    requests: HashMap<Outcome, Counter>,
    fetches: HashMap<FetchOutcome, Counter>,
    verifications: HashMap<(Algorithm, Backend), Counter>,
    cache: HashMap<bool, Counter>,
    shadows: HashMap<(Option<Rc<str>>, Shadow), Counter>,
    gauges: HashMap<String, Option<u32>>,
}

impl Metrics {
    pub fn request(&mut self, outcome: &Outcome) {
        if let Some(counter) = self.requests.get_mut(outcome) {
            return counter.count();
        }
        let (result, provider) = (outcome.result.word(), label(outcome));
        let reason = outcome.reason.map_or("none", |reason| reason.word());
        let name = format!("oidc_requests_total;result={result};reason={reason};provider={provider}");
        self.requests.entry(outcome.clone()).or_insert(Counter::new(&name)).count();
    }

    pub fn tally(&mut self, tally: Tally) {
        if let Some((algorithm, backend)) = tally.verification {
            let (alg, by) = (algorithm.name(), backend.word());
            let name = || format!("oidc_verifications_total;alg={alg};backend={by}");
            self.verifications.entry((algorithm, backend)).or_insert_with(|| Counter::new(&name())).count();
        }
        if let Some(cached) = tally.cached {
            let name = if cached { "oidc_token_cache_total;result=hit" } else { "oidc_token_cache_total;result=miss" };
            self.cache.entry(cached).or_insert_with(|| Counter::new(name)).count();
        }
    }

    pub fn fetched(&mut self, outcome: &FetchOutcome) {
        let FetchOutcome { provider, kind, result } = outcome;
        let name = || format!("oidc_fetches_total;provider={provider};kind={kind};result={result}");
        self.fetches.entry(outcome.clone()).or_insert_with(|| Counter::new(&name())).count();
    }

    pub fn shadow(&mut self, provider: Option<&Rc<str>>, shadow: Shadow) {
        let name = || {
            let (result, reason) = (shadow.word(), shadow.reason().map_or("none", |reason| reason.word()));
            let provider = provider.map_or("none", |provider| provider);
            format!("oidc_shadow_requests_total;result={result};reason={reason};provider={provider}")
        };
        self.shadows.entry((provider.cloned(), shadow)).or_insert_with(|| Counter::new(&name())).count();
    }

    pub fn endpoint(&mut self, provider: &str, kind: &str, index: usize, is_up: bool) {
        self.gauge(format!("oidc_endpoint_up;provider={provider};kind={kind};endpoint={index}"), u64::from(is_up));
    }

    /// Tells Envoy what it was not told yet.
    pub fn flush(&mut self) {
        let counters = self.requests.values_mut().chain(self.fetches.values_mut());
        let counters = counters.chain(self.verifications.values_mut()).chain(self.cache.values_mut());
        let counters = counters.chain(self.shadows.values_mut());
        counters.for_each(Counter::flush);
    }

    pub fn keys(&mut self, provider: &str, count: usize, age: Duration) {
        self.gauge(format!("oidc_jwks_keys;provider={provider}"), count as u64);
        self.gauge(format!("oidc_jwks_age_seconds;provider={provider}"), age.as_secs());
    }

    fn gauge(&mut self, name: String, value: u64) {
        let id = match self.gauges.get(&name) {
            Some(id) => *id,
            None => {
                let id = abi::define_metric(MetricKind::Gauge, &name);
                *self.gauges.entry(name).or_insert(id)
            }
        };
        if let Some(id) = id {
            abi::record(id, value);
        }
    }
}

fn label(outcome: &Outcome) -> &str {
    outcome.provider.as_deref().unwrap_or("none")
}

/// One counter. Telling Envoy costs as much as finding a token in the cache: a counter that runs fast tells its count in
/// lots, and what is left with the next tick.
struct Counter {
    id: Option<u32>,
    total: u64,
    untold: i64,
}

impl Counter {
    fn new(name: &str) -> Self {
        Self { id: abi::define_metric(MetricKind::Counter, name), total: 0, untold: 0 }
    }

    fn count(&mut self) {
        self.total = self.total.saturating_add(1);
        self.untold = self.untold.saturating_add(1);
        if self.total <= TOLD_AT_ONCE || self.untold >= LOT {
            self.flush();
        }
    }

    fn flush(&mut self) {
        let untold = std::mem::take(&mut self.untold);
        if let Some(id) = self.id.filter(|_| untold > 0) {
            abi::increment(id, untold);
        }
    }
}

/// Someone who watches a handful of requests sees each of them counted.
const TOLD_AT_ONCE: u64 = 1000;

/// What is lost of a count, at most, if the VM dies.
const LOT: i64 = 32;
