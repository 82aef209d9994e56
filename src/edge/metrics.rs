//! What is counted: the names of the metrics, and the numbers that Envoy gave them.

use super::abi::{self, MetricKind};
use crate::decision::{Outcome, Shadow, Tally};
use crate::filter::FetchOutcome;
use crate::jose::jwk::Algorithm;
use crate::jose::signing::AssertionUse;
use crate::jose::verifier::Backend;
use crate::ordered;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

/// The metrics of this worker by what they count. Envoy adds up those of all workers.
///
/// Labels stand in the name behind semicolons, from where `stats_config.stats_tags` takes them.
#[derive(Default)]
pub(super) struct Metrics {
    requests: Counters<Outcome>,
    fetches: Counters<FetchOutcome>,
    verifications: Counters<(Algorithm, Backend)>,
    cache: Counters<bool>,
    assertions: Counters<AssertionUse>,
    shadows: Counters<(Option<Rc<str>>, Shadow)>,
    proofs: Counters<&'static str>,
    gauges: ordered::Map<String, Option<u32>>,
    /// The last label of every name: whose metrics these are, where a chain may have several filters.
    suffix: String,
    /// Whose gauges these may be.
    providers: Vec<Rc<str>>,
}

thread_local! {
    /// The gauges of each provider of each filter's name, with the number of filters in this VM that have it: Envoy keeps one
    /// root for each configuration in force, an old one until its last connection is closed.
    static PROVIDERS: RefCell<ordered::Map<Owner, ProviderGauges>> = const { RefCell::new(ordered::Map::new_vec()) };
}

/// A provider, and the last label of the metrics that are about it.
type Owner = (Rc<str>, String);

/// What is shown of one provider.
#[derive(Default)]
struct ProviderGauges {
    /// How many filters of this VM have it.
    filters: usize,
    /// Their names, in order.
    gauges: Vec<String>,
}

impl Metrics {
    /// Those of one of several filters, whose names all end so.
    pub(super) fn of(suffix: &str) -> Self {
        Self { suffix: suffix.to_owned(), ..Self::default() }
    }

    pub(super) fn request(&mut self, outcome: &Outcome) {
        let suffix = &self.suffix;
        self.requests.count(outcome, || {
            let (result, provider) = (outcome.result.as_str(), label(outcome));
            let reason = outcome.reason.map_or("none", |reason| reason.as_str());
            format!("oidc_requests_total;result={result};reason={reason};provider={provider}{suffix}")
        });
    }

    pub(super) fn tally(&mut self, tally: Tally) {
        let suffix = &self.suffix;
        if let Some((algorithm, backend)) = tally.verification {
            let (alg, by) = (algorithm.name(), word(backend));
            self.verifications
                .count(&(algorithm, backend), || format!("oidc_verifications_total;alg={alg};backend={by}{suffix}"));
        }
        if let Some(result) = tally.replay {
            self.proofs.count(&result, || format!("oidc_dpop_proofs_total;result={result}{suffix}"));
        }
        for used in tally.assertions.into_iter().flatten() {
            let (alg, by, result) = (used.algorithm.name(), word(used.backend), used.result.as_str());
            self.assertions
                .count(&used, || format!("oidc_assertions_total;alg={alg};backend={by};result={result}{suffix}"));
        }
        if let Some(cached) = tally.cached {
            let result = if cached { "hit" } else { "miss" };
            self.cache.count(&cached, || format!("oidc_token_cache_total;result={result}{suffix}"));
        }
    }

    pub(super) fn fetched(&mut self, outcome: &FetchOutcome) {
        let FetchOutcome { provider, kind, result } = outcome;
        let suffix = &self.suffix;
        self.fetches
            .count(outcome, || format!("oidc_fetches_total;provider={provider};kind={kind};result={result}{suffix}"));
    }

    pub(super) fn shadow(&mut self, provider: Option<&Rc<str>>, shadow: Shadow) {
        let suffix = &self.suffix;
        self.shadows.count(&(provider.cloned(), shadow), || {
            let (result, reason) = shadow.words();
            let provider = provider.map_or("none", |provider| provider);
            format!("oidc_shadow_requests_total;result={result};reason={reason};provider={provider}{suffix}")
        });
    }

    /// From now on the gauges are about these providers. Those of a provider that no filter has any more become 0, since a
    /// module cannot take a metric away.
    pub(super) fn are_about(&mut self, providers: Vec<Rc<str>>) {
        let before = std::mem::replace(&mut self.providers, providers);
        let gone = PROVIDERS.with_borrow_mut(|shown| {
            for provider in &self.providers {
                let shown = shown.entry((Rc::clone(provider), self.suffix.clone())).or_default();
                shown.filters = shown.filters.saturating_add(1);
            }
            let mut gone = Vec::new();
            for provider in before {
                let owner = (provider, self.suffix.clone());
                let Some(entry) = shown.get_mut(&owner) else { continue };
                entry.filters = entry.filters.saturating_sub(1);
                if entry.filters == 0 {
                    gone.append(&mut entry.gauges);
                    shown.remove(&owner);
                }
            }
            gone
        });
        for name in gone {
            if let Some(id) = abi::define_metric(MetricKind::Gauge, &name) {
                abi::record(id, 0);
            }
            self.gauges.remove(&name);
        }
    }

    pub(super) fn endpoint(&mut self, provider: &str, kind: &str, index: usize, is_up: bool) {
        let name = format!("oidc_endpoint_up;provider={provider};kind={kind};endpoint={index}");
        self.gauge(provider, name, u64::from(is_up));
    }

    /// Tells Envoy what it was not told yet.
    pub(super) fn flush(&mut self) {
        self.requests.flush();
        self.fetches.flush();
        self.verifications.flush();
        self.cache.flush();
        self.proofs.flush();
        self.assertions.flush();
        self.shadows.flush();
    }

    pub(super) fn keys(&mut self, provider: &str, count: usize, age: Duration) {
        self.gauge(provider, format!("oidc_jwks_keys;provider={provider}"), count as u64);
        self.gauge(provider, format!("oidc_jwks_age_seconds;provider={provider}"), age.as_secs());
    }

    fn gauge(&mut self, provider: &str, name: String, value: u64) {
        let name = name + &self.suffix;
        let id = match self.gauges.get(&name) {
            Some(id) => *id,
            None => {
                let owner = (Rc::from(provider), self.suffix.clone());
                PROVIDERS.with_borrow_mut(|shown| {
                    shown.get_mut(&owner).map(|shown| ordered::insert(&mut shown.gauges, name.clone()));
                });
                let id = abi::define_metric(MetricKind::Gauge, &name);
                *self.gauges.entry(name).or_insert(id)
            }
        };
        if let Some(id) = id {
            abi::record(id, value);
        }
    }
}

fn word(backend: Backend) -> &'static str {
    match backend {
        Backend::Host => "host",
        Backend::Own => "wasm",
    }
}

fn label(outcome: &Outcome) -> &str {
    outcome.provider.as_deref().unwrap_or("none")
}

/// Counters by what they count: there are few, and each request looks two of them up.
struct Counters<K>(ordered::Map<K, Counter>);

impl<K: Clone + Ord> Counters<K> {
    /// Counts one more of this kind. Its name is asked for once.
    fn count(&mut self, key: &K, name: impl FnOnce() -> String) {
        if let Some(counter) = self.0.get_mut(key) {
            return counter.count();
        }
        let mut counter = Counter::new(&name());
        counter.count();
        self.0.insert(key.clone(), counter);
    }

    fn flush(&mut self) {
        self.0.iter_mut().for_each(|(_, counter)| counter.flush());
    }
}

impl<K> Default for Counters<K> {
    fn default() -> Self {
        Self(ordered::Map::new_vec())
    }
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
