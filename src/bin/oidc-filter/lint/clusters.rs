//! Whether the clusters that a configuration names are there, and are large enough.

use super::Report;
use crate::report::Level;
use crate::site::{Site, SiteKind};
use crate::yaml::{Key, Node};
use oidc_filter::config::{Config, Validation};

/// The clusters that the files define, each with its file.
pub struct Known<'n> {
    clusters: Vec<(&'n str, &'n Node)>,
    /// Hosts of ServiceEntries and Services, by which Istio names clusters.
    hosts: Vec<&'n str>,
    /// A file names all clusters: a bootstrap without CDS, or answers of CDS.
    is_complete: bool,
}

impl<'n> Known<'n> {
    pub fn of(documents: &[(&'n str, &'n Node)]) -> Self {
        let mut known = Self { clusters: Vec::new(), hosts: Vec::new(), is_complete: false };
        for &(file, document) in documents {
            if let Some(fixed) = document.get("static_resources") {
                known.clusters.extend(fixed.elements("clusters").iter().map(|cluster| (file, cluster)));
                let is_dynamic = document.at(&["dynamic_resources", "cds_config"]).is_some();
                known.is_complete |= !is_dynamic;
            }
            for resource in document.elements("resources") {
                if is_cluster(resource) {
                    known.clusters.push((file, resource));
                    known.is_complete = true;
                }
            }
            match document.word("kind") {
                Some("ServiceEntry") => {
                    let hosts = document.at(&["spec", "hosts"]).map_or(&[][..], Node::list);
                    known.hosts.extend(hosts.iter().filter_map(Node::text));
                }
                Some("EnvoyPatchPolicy") => {
                    for patch in document.at(&["spec", "jsonPatches"]).map_or(&[][..], Node::list) {
                        known.clusters.extend(patch.at(&["operation", "value"]).map(|cluster| (file, cluster)));
                    }
                }
                _ => {}
            }
        }
        known
    }

    fn names(&self) -> Vec<&'n str> {
        self.clusters.iter().filter_map(|(_, cluster)| cluster.word("name")).collect()
    }
}

fn is_cluster(resource: &Node) -> bool {
    resource.word("@type").is_some_and(|name| name.ends_with(".cluster.v3.Cluster"))
}

/// Whether a document is there for its clusters.
pub fn is_of_clusters(document: &Node) -> bool {
    document.elements("resources").iter().any(is_cluster)
        || matches!(document.word("kind"), Some("ServiceEntry" | "EnvoyPatchPolicy" | "DestinationRule"))
}

pub fn check(site: &Site<'_>, config: &Config, known: &Known<'_>, report: &mut Report<'_>) {
    for (path, cluster) in config.clusters() {
        let place = site.place(&path);
        match site.kind {
            SiteKind::WasmPlugin | SiteKind::TrafficExtension => {
                if let Some(problem) = unknown_to_istio(&cluster, known) {
                    report.add(place, Level::Warning, "unknown_cluster", &path, problem);
                }
            }
            SiteKind::Envoy | SiteKind::EnvoyExtensionPolicy => {
                let names = known.names();
                let is_told = match site.kind {
                    SiteKind::Envoy => known.is_complete,
                    // The gateway's own clusters are in no file.
                    _ => !names.is_empty() && !cluster.contains('/'),
                };
                if is_told && !names.contains(&cluster.as_str()) {
                    let remedy = match nearest(&cluster, &names) {
                        Some(meant) => format!("did you mean `{meant}`?"),
                        None if names.is_empty() => "there is none: add one".to_owned(),
                        None => format!("there is {}; add it, or name another", listed(&names)),
                    };
                    let text = format!(
                        "no cluster is called `{cluster}`: every call to it fails, and requests get 503; {remedy}"
                    );
                    report.add(place, Level::Warning, "unknown_cluster", &path, text);
                }
            }
            SiteKind::Bare => {}
        }
        if let Some(found) = known.clusters.iter().find(|(_, node)| node.word("name") == Some(&cluster)) {
            breakers(*found, &cluster, config, report);
            plain_text(*found, &cluster, &path, config, report);
        }
    }
}

/// Istio makes clusters of hosts that it knows: `outbound|443||idp.example.com`.
fn unknown_to_istio(cluster: &str, known: &Known<'_>) -> Option<String> {
    let parts: Vec<&str> = cluster.split('|').collect();
    let host = match parts.as_slice() {
        ["outbound", port, _, host] if port.parse::<u16>().is_ok() && !host.is_empty() => *host,
        _ => {
            let problem = format!(
                "Istio has no cluster `{cluster}`: its names are like `outbound|443||idp.example.com`, of a ServiceEntry's \
                 or a Service's port and host"
            );
            return Some(problem);
        }
    };
    let is_service = host.ends_with(".cluster.local") || host.ends_with(".svc");
    if known.hosts.is_empty() || is_service || known.hosts.contains(&host) {
        return None;
    }
    let meant = nearest(host, &known.hosts).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
    Some(format!("no ServiceEntry in these files has the host `{host}`, of which Istio would make the cluster{meant}"))
}

/// A cluster that lets fewer calls out than the filter may have open at once turns tokens away that nobody has looked at.
fn breakers((file, cluster): (&str, &Node), name: &str, config: &Config, report: &mut Report<'_>) {
    let asks_for_tokens =
        config.providers.iter().any(|provider| provider.is_online() && provider.validation != Validation::Jwt)
            || config.policies().any(|policy| policy.authorization.is_some());
    let wanted = if asks_for_tokens { CALLS_ABOUT_TOKENS } else { CALLS_FOR_KEYS };
    for threshold in cluster.at(&["circuit_breakers", "thresholds"]).map_or(&[][..], Node::list) {
        let fields = ["max_connections", "max_pending_requests", "max_requests"];
        let small: Vec<(&Key, f64)> = fields
            .iter()
            .filter_map(|field| threshold.entry(field))
            .filter_map(|(key, node)| node.number().map(|number| (key, number)))
            .filter(|(_, number)| *number < wanted)
            .collect();
        for (key, number) in small {
            let why = if asks_for_tokens {
                "each token that is not known costs a call, and a worker has up to 1000 of them open"
            } else {
                "each worker fetches metadata and keys, all at once when Envoy starts"
            };
            let text = format!(
                "{name}: {number} is less than what may be asked: {why}; what is beyond gets 503. Write {wanted} or more"
            );
            report.warn_in(file, key.place, "circuit_breaker", &format!("{name}.circuit_breakers"), text);
        }
    }
}

/// `https` is what the provider is called by; whether it is spoken is the cluster's business.
fn plain_text((file, cluster): (&str, &Node), name: &str, path: &str, config: &Config, report: &mut Report<'_>) {
    let is_tls = cluster.get("transport_socket").is_some() || cluster.get("transport_socket_matches").is_some();
    let is_https = config.endpoints().any(|(_, endpoint)| endpoint.cluster == name && endpoint.scheme == "https");
    if is_https && !is_tls {
        let text = format!(
            "{name} has no `transport_socket`: calls to an https provider go out in plain text, tokens and secrets among them"
        );
        report.warn_in(file, cluster.place, "cluster_without_tls", path, text);
    } else if is_https && is_tls && !checks_names(cluster) {
        let text = format!(
            "{name} does not check whose certificate it is shown: whoever stands between can sign tokens; set `trusted_ca` and \
             `match_typed_subject_alt_names` in its validation_context"
        );
        report.warn_in(file, cluster.place, "cluster_without_check", path, text);
    }
}

fn checks_names(cluster: &Node) -> bool {
    let mut checks = false;
    cluster.walk(&mut |node| {
        checks |= node.get("trusted_ca").is_some()
            || node.get("validation_context_sds_secret_config").is_some()
            || node.get("combined_validation_context").is_some()
            || node.get("custom_validator_config").is_some()
            || node.get("system_root_certs").is_some();
    });
    checks
}

fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let distances = known.iter().map(|known| (strsim::osa_distance(word, known), *known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance > 0 && distance <= nearest.len().div_ceil(3)).then_some(nearest)
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    oidc_filter::config::listed(&quoted)
}

/// As many calls about tokens as one worker has open.
const CALLS_ABOUT_TOKENS: f64 = 1000.0;

/// Metadata, keys and their like, of a provider or two, for each of a few workers.
const CALLS_FOR_KEYS: f64 = 16.0;
