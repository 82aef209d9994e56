//! Whether circuit breakers let out what the filter may ask at once. Each of Envoy's limits holds for all workers of a process together.

use super::Report;
use crate::report::Level;
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
    let thresholds = ["thresholds", "per_host_thresholds"].into_iter().flat_map(|list| thresholds(cluster, list));
    let fields = ["max_connections", "max_pending_requests", "max_requests"];
    thresholds.flat_map(|threshold| fields.into_iter().filter_map(|field| threshold.entry(field))).collect()
}

/// The thresholds of a list that hold for requests of the default priority, as the filter's calls are.
fn thresholds<'n>(cluster: &'n Node, list: &str) -> impl Iterator<Item = &'n Node> {
    let thresholds = cluster.get("circuit_breakers").map_or(&[][..], |breakers| breakers.elements(list));
    thresholds.iter().filter(|threshold| !threshold.get("priority").is_some_and(|node| node.is_value("HIGH", 1)))
}

/// Warns of limits that are smaller than what the filter may ask of a cluster at once: they turn tokens away that nobody has looked at.
pub(super) fn check<'n>(
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

/// Notes limits that nobody has written, where Envoy's own are smaller than what the filter may ask at once. Calls wait for connections, of
/// which there may be fewer.
pub(super) fn check_defaults(file: &str, node: &Node, cluster: &Cluster<'_>, report: &mut Report<'_>) {
    let (wanted, why) = cluster.wanted();
    // Of several thresholds of one priority, Envoy takes the first.
    let threshold = thresholds(node, "thresholds").next();
    let is_open = |field: &&str| threshold.and_then(|threshold| threshold.get(field)?.number()).is_none();
    let open: Vec<&str> = ["max_pending_requests", "max_requests"].into_iter().filter(is_open).collect();
    if wanted <= ENVOYS_DEFAULT || open.is_empty() {
        return;
    }
    let name = cluster.called;
    let place = threshold.map_or(node.place, |threshold| threshold.place);
    let open = open.join("` and `");
    let text = format!("{name} leaves `{open}` to Envoy, whose {ENVOYS_DEFAULT} is less than what may be asked: {why}");
    let path = format!("{name}.circuit_breakers");
    report.add_in(file, place, Level::Note, "circuit_breaker", &path, text);
}

/// How many requests a cluster must let out for a few workers; nothing if it is asked about no token.
pub fn wanted(name: &str, config: &Config) -> Option<i64> {
    let calls = max_calls(Cluster { name, called: name, config, workers: None }.asked());
    let calls = i64::try_from(calls).ok().filter(|calls| *calls > 0)?;
    Some(calls.saturating_mul(i64::from(A_FEW_WORKERS)))
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
            let wanted = CALLS_FOR_KEYS * self.workers.unwrap_or(A_FEW_WORKERS.into());
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
                format!(
                    "{why}. Write {calls} or more for each worker (`--concurrency`): {} for four",
                    calls * f64::from(A_FEW_WORKERS)
                ),
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

/// As many requests go out to a cluster, and wait for it, where its `circuit_breakers` don't say otherwise.
const ENVOYS_DEFAULT: f64 = 1024.0;

/// Metadata, keys and their like, of a provider or two.
const CALLS_FOR_KEYS: f64 = 4.0;

/// Where no file says how many there are.
const A_FEW_WORKERS: u16 = 4;
