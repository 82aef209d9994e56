//! What a configuration has Envoy call: each place that it names, and the cluster that is to reach it.

use super::enrichment::EnrichmentSource;
use super::provider::{ProviderConfig, Validation};
use super::{Config, Endpoints, Policy};
use crate::http::Endpoint;

impl Config {
    /// The endpoints that are called, or may be, each with the field that names its cluster. Those that only a provider's metadata
    /// name are not known before they are fetched.
    pub fn endpoints(&self) -> impl Iterator<Item = (String, &Endpoint)> {
        let providers = self.providers.iter().flat_map(|provider| provider.called());
        providers.chain(self.judged_policies().flat_map(Policy::called))
    }

    /// The clusters that are named, each once, with the field that names it.
    pub fn clusters(&self) -> Vec<(String, String)> {
        let mut named: Vec<(String, String)> = Vec::new();
        let endpoints = self.endpoints().map(|(path, endpoint)| (path, endpoint.cluster.clone()));
        let others = self.providers.iter().flat_map(|provider| {
            let path = provider.path();
            provider
                .clusters
                .others
                .iter()
                .map(move |(host, cluster)| (format!("{path}.clusters.{host}"), cluster.clone()))
        });
        for (path, cluster) in endpoints.chain(others) {
            if !named.iter().any(|(_, other)| *other == cluster) {
                named.push((path, cluster));
            }
        }
        named
    }
}

impl Policy {
    fn called(&self) -> impl Iterator<Item = (String, &Endpoint)> {
        let authorizer = self.authorization.iter().map(|service| ("external_authorization", &service.endpoint));
        let sources = self.enrich.iter().filter_map(|enrichment| match &enrichment.source {
            EnrichmentSource::Service(service) => Some(("enrich", &service.endpoint)),
            EnrichmentSource::Userinfo => None,
        });
        let exchange = self.token_exchange.iter().filter_map(|exchange| exchange.endpoint.as_ref());
        let exchange = exchange.map(|endpoint| ("token_exchange", endpoint));
        authorizer.chain(sources).chain(exchange).map(|(path, endpoint)| (path.to_owned(), endpoint))
    }
}

impl ProviderConfig {
    fn called(&self) -> Vec<(String, &Endpoint)> {
        let mut called = Vec::new();
        let mut is_discovered = self.jwks.iter().any(super::KeySource::is_discovered);
        let by_keys = matches!(self.validation, Validation::Auto | Validation::Jwt);
        let asks = matches!(self.validation, Validation::Auto | Validation::Introspection);
        for source in self.jwks.iter().filter(|source| by_keys && source.remote) {
            if let Endpoints::Configured(endpoints) = &source.uri {
                called.extend(endpoints.iter().map(|endpoint| (self.path_of("jwks.uri"), endpoint)));
            }
        }
        for (field, endpoints, is_used) in [
            ("introspection.endpoint", &self.introspection.endpoints, asks),
            ("userinfo.endpoint", &self.userinfo.endpoints, self.validation != Validation::Jwt),
        ] {
            match endpoints {
                Endpoints::Configured(endpoints) if is_used => {
                    called.extend(endpoints.iter().map(|endpoint| (self.path_of(field), endpoint)));
                }
                _ => {}
            }
        }
        let needs_introspection = self.validation == Validation::Introspection;
        let needs_userinfo = self.validation == Validation::Userinfo;
        is_discovered &= by_keys;
        is_discovered |= needs_introspection && self.introspection.endpoints == Endpoints::Discovered;
        is_discovered |= needs_userinfo && self.userinfo.endpoints == Endpoints::Discovered;
        if is_discovered && let Some(metadata) = self.discovery.first() {
            let field = if self.clusters.named { "cluster" } else { "issuer" };
            called.insert(0, (self.path_of(field), metadata));
        }
        called
    }
}
