//! What is counted: the names of the metrics, and the numbers that Envoy gave them.

use super::abi::{self, MetricKind};
use crate::decision::{Outcome, Tally};
use crate::filter::FetchOutcome;
use crate::jwk::Algorithm;
use crate::verifier::Backend;
use std::collections::HashMap;
use std::time::Duration;

/// The metrics of this worker by what they count. Envoy adds up those of all workers.
///
/// Labels stand in the name behind semicolons, from where `stats_config.stats_tags` takes them.
#[derive(Default)]
pub struct Metrics {
    requests: HashMap<Outcome, Option<u32>>,
    fetches: HashMap<FetchOutcome, Option<u32>>,
    verifications: HashMap<(Algorithm, Backend), Option<u32>>,
    cache: HashMap<bool, Option<u32>>,
    gauges: HashMap<String, Option<u32>>,
}

impl Metrics {
    pub fn request(&mut self, outcome: &Outcome) {
        let id = match self.requests.get(outcome) {
            Some(id) => *id,
            None => {
                let (result, provider) = (outcome.result.word(), label(outcome));
                let reason = outcome.reason.map_or("none", |reason| reason.word());
                let name = format!("oidc_requests_total;result={result};reason={reason};provider={provider}");
                *self.requests.entry(outcome.clone()).or_insert(abi::define_metric(MetricKind::Counter, &name))
            }
        };
        if let Some(id) = id {
            abi::increment(id);
        }
    }

    pub fn tally(&mut self, tally: Tally) {
        if let Some((algorithm, backend)) = tally.verification {
            let define = || {
                let (alg, backend) = (algorithm.name(), backend.word());
                abi::define_metric(
                    MetricKind::Counter,
                    &format!("oidc_verifications_total;alg={alg};backend={backend}"),
                )
            };
            if let Some(id) = *self.verifications.entry((algorithm, backend)).or_insert_with(define) {
                abi::increment(id);
            }
        }
        if let Some(cached) = tally.cached {
            let define = || {
                let result = if cached { "hit" } else { "miss" };
                abi::define_metric(MetricKind::Counter, &format!("oidc_token_cache_total;result={result}"))
            };
            if let Some(id) = *self.cache.entry(cached).or_insert_with(define) {
                abi::increment(id);
            }
        }
    }

    pub fn fetched(&mut self, outcome: &FetchOutcome) {
        let define = || {
            let FetchOutcome { provider, kind, result } = outcome;
            let name = format!("oidc_fetches_total;provider={provider};kind={kind};result={result}");
            abi::define_metric(MetricKind::Counter, &name)
        };
        if let Some(id) = *self.fetches.entry(outcome.clone()).or_insert_with(define) {
            abi::increment(id);
        }
    }

    pub fn keys(&mut self, provider: &str, count: usize, age: Option<Duration>) {
        self.gauge(format!("oidc_jwks_keys;provider={provider}"), count as u64);
        self.gauge(format!("oidc_jwks_age_seconds;provider={provider}"), age.unwrap_or_default().as_secs());
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
