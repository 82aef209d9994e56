//! Whether the clusters that a configuration names are there, and check whom they speak to.

use super::{Report, breakers, net};
use crate::report::Level;
use crate::site::{Site, SiteKind};
use crate::urls;
use crate::words::nearest;
use crate::yaml::{Data, Node};
use oidc_filter::config::Config;
use std::net::IpAddr;

/// The clusters that the files define, each with its file.
pub struct Known<'n> {
    clusters: Vec<(&'n str, &'n Node)>,
    /// A file names all clusters: a bootstrap without CDS, or answers of CDS.
    is_complete: bool,
}

impl<'n> Known<'n> {
    pub fn of(documents: &[(&'n str, &'n Node)]) -> Self {
        let mut known = Self { clusters: Vec::new(), is_complete: false };
        for &(file, document) in documents {
            if let Some(fixed) = document.get("static_resources") {
                known.clusters.extend(fixed.elements("clusters").iter().map(|cluster| (file, cluster)));
                let is_dynamic = document.at(&["dynamic_resources", "cds_config"]).is_some();
                known.is_complete |= !is_dynamic;
            }
            // What /config_dump of the admin interface answers.
            for dump in document.elements("configs") {
                for list in ["static_clusters", "dynamic_active_clusters"] {
                    let found = dump.elements(list).iter().filter_map(|entry| entry.get("cluster"));
                    let found: Vec<_> = found.map(|cluster| (file, cluster)).collect();
                    known.is_complete |= !found.is_empty();
                    known.clusters.extend(found);
                }
            }
            for resource in document.elements("resources") {
                if is_cluster(resource) {
                    known.clusters.push((file, resource));
                    known.is_complete = true;
                }
            }
            if document.word("kind") == Some("EnvoyPatchPolicy") {
                for patch in document.at(&["spec", "jsonPatches"]).map_or(&[][..], Node::list) {
                    let is_cluster = patch.word("type").is_none_or(|name| name.ends_with(".cluster.v3.Cluster"));
                    let value = patch.at(&["operation", "value"]).filter(|_| is_cluster);
                    known.clusters.extend(value.map(|cluster| (file, cluster)));
                }
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

pub fn check(site: &Site<'_>, config: &Config, known: &Known<'_>, workers: Option<f64>, report: &mut Report<'_>) {
    for (path, cluster) in config.clusters() {
        let place = site.place(&path);
        match site.kind {
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
            // Istio makes clusters of other things.
            SiteKind::WasmPlugin | SiteKind::TrafficExtension | SiteKind::Bare => {}
        }
        if let Some(found) = known.clusters.iter().find(|(_, node)| node.word("name") == Some(&cluster)) {
            let (file, node) = *found;
            let called = breakers::Cluster { name: &cluster, called: &cluster, config, workers };
            breakers::check(file, breakers::of_cluster(node), &called, report);
            breakers::check_defaults(file, node, &called, report);
            other_port(*found, &cluster, &path, config, report);
            plain_text(*found, &cluster, &path, config, report);
        }
    }
}

/// `https` is what the provider is called by; whether it is spoken is the cluster's business.
fn plain_text((file, cluster): (&str, &Node), name: &str, path: &str, config: &Config, report: &mut Report<'_>) {
    let hosts = https_hosts(name, config);
    if hosts.is_empty() {
        return;
    }
    if !speaks_tls(cluster) {
        let text = format!(
            "{name} has no `transport_socket` of TLS: calls to an https provider go out in plain text, tokens and secrets among them"
        );
        report.warn_in(file, cluster.place, "cluster_without_tls", path, text);
    } else if !checks_trust(cluster) {
        let text = format!(
            "{name} does not check whose certificate it is shown: whoever stands between can sign tokens; set `trusted_ca` and \
             `match_typed_subject_alt_names` in its validation_context, and no ACCEPT_UNTRUSTED or `allow_expired_certificate`"
        );
        report.warn_in(file, cluster.place, "cluster_without_check", path, text);
    } else if !checks_names(cluster) {
        let text = format!(
            "{name} takes every certificate of an authority that it trusts, whoever's it is: whoever has one and stands between can sign \
             tokens; set `match_typed_subject_alt_names` in its validation_context, or `auto_sni_san_validation: true`"
        );
        report.warn_in(file, cluster.place, "cluster_without_check", path, text);
    } else if let Some(matcher) = hosts.iter().find_map(|host| takes_others(cluster, host)) {
        let text = format!(
            "{name} takes certificates of others for that of {}: whoever has one and stands between can sign tokens; write `exact`, or a \
             `suffix` that begins with a dot",
            hosts.join(", ")
        );
        report.warn_in(file, matcher.place, "cluster_without_check", path, text);
    }
    if speaks_tls(cluster) && !names_host(cluster) {
        for host in hosts.iter().filter(|host| host.parse::<IpAddr>().is_err()) {
            let text = format!(
                "{name} begins TLS without saying for which host: a provider that shares its address with others, as behind a CDN, \
                 ends it or shows another's certificate, and requests get 503; set `sni: {host}`"
            );
            report.warn_in(file, cluster.place, "cluster_without_sni", path, text);
        }
    }
    if let Some((node, wrong, meant)) = misspelt(cluster, &hosts) {
        let text = format!("{name}: {wrong} is not the host that is called by it: did you mean `{meant}`?");
        report.warn_in(file, node.place, "misspelt_host", path, text);
    }
}

/// Whether TLS begins with the name of a host (RFC 6066, section 3), of which Envoy says none by itself.
fn names_host(cluster: &Node) -> bool {
    let switches = ["auto_host_sni", "auto_sni"];
    let is_automatic = |node: &Node| switches.iter().any(|field| node.get(field).is_some_and(Node::is_true));
    // Sockets of other kinds, or by discovery, may name it elsewhere.
    let is_nameless = |node: &Node| {
        node.word("@type").is_some_and(|name| name.ends_with(".UpstreamTlsContext"))
            && node.word("sni").is_none_or(str::is_empty)
    };
    cluster.any(is_automatic) || !cluster.any(is_nameless)
}

/// A port at which the other of `http` and `https` is spoken everywhere, unless a URL names it.
fn other_port((file, cluster): (&str, &Node), name: &str, path: &str, config: &Config, report: &mut Report<'_>) {
    let (port, problem) = match (is_called_by_https(name, config), speaks_tls(cluster)) {
        (_, true) => (80, "begins TLS at port 80, where others speak plain text: write 443"),
        (false, false) => {
            (443, "speaks plain text to port 443, where others begin TLS: write 80, or add a `transport_socket` of TLS")
        }
        // Told by what is said of TLS.
        (true, false) => return,
    };
    let called = config.endpoints().filter(|(_, endpoint)| endpoint.cluster == name);
    let is_named = called.into_iter().any(|(_, endpoint)| urls::host_and_port(&endpoint.authority, 0).1 == port);
    if is_named || cluster.get("transport_socket_matches").is_some() {
        return;
    }
    cluster.walk(&mut |node| {
        let found = node.get("socket_address").and_then(|address| address.entry("port_value"));
        if let Some((key, _)) = found.filter(|(_, found)| found.number() == Some(f64::from(port))) {
            report.warn_in(file, key.place, "other_port", path, format!("{name} {problem}"));
        }
    });
}

/// The hosts that the filter calls by https through a cluster.
fn https_hosts(cluster: &str, config: &Config) -> Vec<String> {
    let called = config.endpoints().filter(|(_, endpoint)| endpoint.cluster == cluster && endpoint.scheme == "https");
    let mut hosts: Vec<String> = called.map(|(_, endpoint)| urls::host_and_port(&endpoint.authority, 443).0).collect();
    hosts.dedup();
    hosts
}

/// Whether the filter calls an https URL through a cluster.
pub fn is_called_by_https(cluster: &str, config: &Config) -> bool {
    !https_hosts(cluster, config).is_empty()
}

fn speaks_tls(cluster: &Node) -> bool {
    let matches = cluster.elements("transport_socket_matches").iter().filter_map(|node| node.get("transport_socket"));
    let is_plain = |socket: &Node| {
        let kind = socket.at(&["typed_config", "@type"]).and_then(Node::text).or(socket.word("name"));
        kind.is_some_and(|kind| kind.contains("raw_buffer"))
    };
    cluster.get("transport_socket").into_iter().chain(matches).any(|socket| !is_plain(socket))
}

/// Whether a certificate must be one that somebody trusted has signed, or a certain one.
fn checks_trust(cluster: &Node) -> bool {
    let fields = [
        "trusted_ca",
        "system_root_certs",
        "validation_context_sds_secret_config",
        "combined_validation_context",
        "custom_validator_config",
        "verify_certificate_spki",
        "verify_certificate_hash",
    ];
    let is_lenient = cluster.any(|node| {
        let verification = node.get("trust_chain_verification");
        verification.is_some_and(|node| node.is_value("ACCEPT_UNTRUSTED", 1))
            || node.get("allow_expired_certificate").is_some_and(Node::is_true)
    });
    !is_lenient && has_any(cluster, &fields)
}

/// Whether a certificate must be that of the provider. What comes by SDS is not in these files.
fn checks_names(cluster: &Node) -> bool {
    let fields = [
        "match_typed_subject_alt_names",
        "match_subject_alt_names",
        "verify_certificate_spki",
        "verify_certificate_hash",
        "validation_context_sds_secret_config",
        "custom_validator_config",
    ];
    let is_automatic = cluster.any(|node| {
        let switches = ["auto_san_validation", "auto_sni_san_validation"];
        switches.iter().any(|field| node.get(field).is_some_and(Node::is_true))
    });
    is_automatic || has_any(cluster, &fields)
}

/// Where a cluster takes the names of others for that of a host, too: what anybody can get a certificate for.
fn takes_others<'n>(cluster: &'n Node, host: &str) -> Option<&'n Node> {
    let domain = host.rsplitn(3, '.').take(2).collect::<Vec<_>>();
    let beside = if let [top, name] = domain.as_slice() { format!("attacker-{name}.{top}") } else { String::new() };
    let others = ["attacker.example".to_owned(), format!("{host}.attacker.example"), beside];
    let mut found = None;
    cluster.walk(&mut |node| {
        let typed = node.elements("match_typed_subject_alt_names").iter().filter_map(|name| name.get("matcher"));
        let mut names = typed.chain(node.elements("match_subject_alt_names"));
        let is_open = |name: &&Node| others.iter().any(|other| net::fits(name, other) == Some(true));
        found = found.or(names.find(is_open));
    });
    found
}

/// Where a cluster has a name that is nearly that of one of the hosts that are called by it.
fn misspelt<'n, 'h>(cluster: &'n Node, hosts: &'h [String]) -> Option<(&'n Node, &'n str, &'h str)> {
    let mut found = None;
    cluster.walk(&mut |node| {
        let address = ["socket_address", "address"];
        let names = [node.get("sni"), node.at(&address), node.at(&["matcher", "exact"])];
        let mut names = names.into_iter().flatten().filter_map(|node| Some((node, node.text()?)));
        found = found.or(names.find_map(|(node, name)| Some((node, name, mistyped(name, hosts)?))));
    });
    found
}

/// The host that a name is meant to be, if one letter is wrong in it, or two have changed places. Names that differ in a digit may be two
/// hosts, and a pattern is no name.
pub fn mistyped<'h>(name: &str, hosts: &'h [String]) -> Option<&'h str> {
    let digits = |text: &str| text.chars().filter(char::is_ascii_digit).collect::<String>();
    // As names are looked up: in any case, and complete with a dot at the end.
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let is_known = name.contains('*') || hosts.contains(&name);
    let is_meant = |host: &&String| strsim::osa_distance(&name, host) == 1 && digits(&name) == digits(host);
    hosts.iter().filter(|_| !is_known).find(is_meant).map(String::as_str)
}

/// Whether one of these fields is somewhere in it, and not empty.
fn has_any(node: &Node, fields: &[&str]) -> bool {
    let holds = |value: &Node| !matches!(&value.data, Data::List(nodes) if nodes.is_empty());
    node.any(|node| fields.iter().any(|field| node.get(field).is_some_and(holds)))
}

fn listed(names: &[&str]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    oidc_filter::config::listed(&quoted)
}
