//! Whether circuit breakers let out what the filter may ask at once. Each of Envoy's limits holds for all workers of a process together.

use super::Report;
use crate::yaml::{Key, Node};
use oidc_filter::config::{Config, Endpoints, EnrichmentSource, ProviderConfig, Validation};
use oidc_filter::filter::max_calls;
use oidc_filter::http::Endpoint;

/// How many workers an Envoy has, where a file says it: a ProxyConfig of Istio, an EnvoyProxy of Envoy Gateway, or the command line in
/// a manifest. Of several, the most.
pub fn workers(documents: &[(&str, &Node)]) -> Option<f64> {
    let mut told = Vec::new();
    for (_, document) in documents {
        if matches!(document.word("kind"), Some("ProxyConfig" | "EnvoyProxy")) {
            told.extend(document.at(&["spec", "concurrency"]).and_then(Node::number));
        }
        document.walk(&mut |node| {
            let arguments = node.list().iter().zip(node.list().iter().skip(1));
            let values = arguments.filter(|(name, _)| name.text() == Some("--concurrency"));
            told.extend(values.filter_map(|(_, value)| value.number()));
        });
    }
    // An Envoy that is told 0, or nothing, has one for each core.
    told.into_iter().filter(|number| *number >= 1.0).max_by(f64::total_cmp)
}

/// The limits of a cluster that hold for the filter's calls.
pub fn of_cluster(cluster: &Node) -> Vec<(&Key, &Node)> {
    let breakers = cluster.get("circuit_breakers");
    let is_for_us = |threshold: &&Node| {
        let priority = threshold.get("priority");
        !priority.is_some_and(|priority| priority.is_value("HIGH", 1))
    };
    let lists = ["thresholds", "per_host_thresholds"];
    let thresholds = lists.iter().filter_map(|list| Some(breakers?.elements(list))).flatten().filter(is_for_us);
    let fields = ["max_connections", "max_pending_requests", "max_requests"];
    thresholds.flat_map(|threshold| fields.into_iter().filter_map(|field| threshold.entry(field))).collect()
}

/// Warns of limits that are smaller than what the filter may ask of a cluster at once: they turn tokens away that nobody has looked at.
pub fn check<'n>(
    file: &str,
    limits: impl IntoIterator<Item = (&'n Key, &'n Node)>,
    cluster: &Cluster<'_>,
    report: &mut Report<'_>,
) {
    let name = cluster.called;
    let (wanted, why) = cluster.wanted();
    for (key, number) in limits.into_iter().filter_map(|(key, node)| Some((key, node.number()?))) {
        if number < wanted {
            let text = format!("{name}: {number} is less than what may be asked: {why}");
            report.warn_in(file, key.place, "circuit_breaker", &format!("{name}.circuit_breakers"), text);
        }
    }
}

/// A cluster that the filter calls.
pub struct Cluster<'c> {
    /// As the configuration names it.
    pub name: &'c str,
    /// As it is called where its limits stand.
    pub called: &'c str,
    pub config: &'c Config,
    /// How many workers call it, if a file says so.
    pub workers: Option<f64>,
}

impl Cluster<'_> {
    /// The least that lets through all that may be asked, and why.
    fn wanted(&self) -> (f64, String) {
        let calls = max_calls(self.asked()) as f64;
        if calls == 0.0 {
            let wanted = CALLS_FOR_KEYS * self.workers.unwrap_or(A_FEW_WORKERS);
            let why = "each worker fetches metadata and keys, all at once when Envoy starts; what is beyond gets 503";
            return (wanted, format!("{why}. Write {wanted} or more"));
        }
        let why = format!(
            "each token that is not known costs a call, a worker has up to {calls} of them open, and this limit holds for all workers of \
             an Envoy together; what is beyond gets 503"
        );
        match self.workers {
            Some(workers) => {
                (calls * workers, format!("{why}. Write {} or more, for {workers} workers", calls * workers))
            }
            None => (
                calls,
                format!("{why}. Write {calls} or more for each worker (`--concurrency`): {} for four", calls * 4.0),
            ),
        }
    }

    /// How many ask this cluster about tokens, as the filter counts them: providers, and for each of them an authorizer, a source of
    /// claims, and a maker of tokens.
    fn asked(&self) -> usize {
        let providers = self.config.providers.iter().filter(|provider| self.is_asked_by(provider)).count();
        let is_here = |endpoint: &Endpoint| endpoint.cluster == self.name;
        let policies = || self.config.judged_policies();
        let beside = [
            policies().any(|policy| policy.authorization.as_ref().is_some_and(|service| is_here(&service.endpoint))),
            policies().any(|policy| {
                policy.enrich.iter().any(|enrichment| match &enrichment.source {
                    EnrichmentSource::Service(service) => is_here(&service.endpoint),
                    EnrichmentSource::Userinfo => {
                        self.config.providers.iter().any(|provider| self.is_of(&provider.userinfo.endpoints, provider))
                    }
                })
            }),
            policies().any(|policy| {
                policy.token_exchange.as_ref().is_some_and(|exchange| match &exchange.endpoint {
                    Some(endpoint) => is_here(endpoint),
                    None => self.config.providers.iter().any(|provider| self.is_of(&Endpoints::Discovered, provider)),
                })
            }),
        ];
        let beside = beside.into_iter().filter(|is_asked| *is_asked).count();
        providers.saturating_add(beside.saturating_mul(self.config.providers.len()))
    }

    /// Whether tokens of a provider are asked about here.
    fn is_asked_by(&self, provider: &ProviderConfig) -> bool {
        provider.is_online()
            && provider.validation != Validation::Jwt
            && [&provider.introspection.endpoints, &provider.userinfo.endpoints]
                .iter()
                .any(|endpoints| self.is_of(endpoints, provider))
    }

    /// Whether some of these endpoints of a provider are here, or may be.
    fn is_of(&self, endpoints: &Endpoints, provider: &ProviderConfig) -> bool {
        match endpoints {
            Endpoints::Configured(endpoints) => endpoints.iter().any(|endpoint| endpoint.cluster == self.name),
            Endpoints::Discovered => {
                provider.discovery.iter().any(|endpoint| endpoint.cluster == self.name)
                    || provider.clusters.others().iter().any(|(_, cluster)| cluster == self.name)
            }
        }
    }
}

/// Metadata, keys and their like, of a provider or two.
const CALLS_FOR_KEYS: f64 = 4.0;

/// Where no file says how many there are.
const A_FEW_WORKERS: f64 = 4.0;
