//! Of what Istio makes clusters: ServiceEntries name hosts and ports, DestinationRules say how they are spoken to.

use super::clusters::{is_called_by_https, mistyped};
use super::{Report, breakers};
use crate::report::Level;
use crate::site::{Site, SiteKind};
use crate::words::nearest;
use crate::yaml::Node;
use oidc_filter::config::Config;

/// What the files say of it.
pub struct Mesh<'n> {
    /// The `spec` of each ServiceEntry.
    entries: Vec<&'n Node>,
    /// The `spec` of each DestinationRule, and its file.
    rules: Vec<(&'n str, &'n Node)>,
}

impl<'n> Mesh<'n> {
    pub fn of(documents: &[(&'n str, &'n Node)]) -> Self {
        let is_of = |kind: &'static str| move |(_, document): &&(&str, &Node)| document.word("kind") == Some(kind);
        let entries = documents.iter().filter(is_of("ServiceEntry")).filter_map(|(_, entry)| entry.get("spec"));
        let rules = documents.iter().filter(is_of("DestinationRule"));
        let rules = rules.filter_map(|(file, rule)| Some((*file, rule.get("spec")?)));
        Self { entries: entries.collect(), rules: rules.collect() }
    }

    /// Whether these files should tell of a host: they tell of some, and this is none of the cluster's own services.
    fn is_told_of(&self, host: &str) -> bool {
        !self.entries.is_empty() && !host.ends_with(".cluster.local") && !host.ends_with(".svc")
    }

    /// Whether what is sent to a port of a host arrives at another.
    fn leads_elsewhere(&self, host: &str, port: u16) -> bool {
        self.entries.iter().filter(|entry| has_host(entry, host)).any(|entry| {
            let is_it = |node: &&Node| node.get("number").and_then(Node::number) == Some(f64::from(port));
            entry.elements("ports").iter().filter(is_it).any(|node| node.get("target_port").is_some())
                || entry.elements("endpoints").iter().any(|endpoint| endpoint.get("ports").is_some())
        })
    }

    fn has_subset(&self, host: &str, subset: &str) -> bool {
        let rules = self.rules.iter().filter(|(_, rule)| rule.word("host").is_some_and(|name| covers(name, host)));
        rules.flat_map(|(_, rule)| rule.elements("subsets")).any(|node| node.word("name") == Some(subset))
    }
}

/// Looks at each cluster that the configuration names.
pub fn check(site: &Site<'_>, config: &Config, mesh: &Mesh<'_>, workers: Option<f64>, report: &mut Report<'_>) {
    if matches!(site.kind, SiteKind::WasmPlugin | SiteKind::TrafficExtension) {
        for (path, cluster) in config.clusters() {
            check_cluster(site, &path, &cluster, config, (mesh, workers), report);
        }
    }
}

/// Whether Istio makes a cluster of this name, and whether that speaks TLS and checks with whom.
fn check_cluster(
    site: &Site<'_>,
    path: &str,
    cluster: &str,
    config: &Config,
    (mesh, workers): (&Mesh<'_>, Option<f64>),
    report: &mut Report<'_>,
) {
    let parts: Vec<&str> = cluster.split('|').collect();
    let (port, subset, host) = match parts.as_slice() {
        ["outbound", port, subset, host] if !host.is_empty() => (port.parse::<u16>().ok(), *subset, *host),
        _ => (None, "", ""),
    };
    let fault = match port {
        Some(port) => missing_entry(mesh, host, port),
        None => Some(format!(
            "Istio has no cluster `{cluster}`: its names are like `outbound|443||idp.example.com`, of a ServiceEntry's or a Service's \
             port and host"
        )),
    };
    if let Some(text) = fault {
        report.add(site.place(path), Level::Warning, "unknown_cluster", path, text);
        return;
    }
    let Some(port) = port.filter(|_| mesh.is_told_of(host)) else { return };
    unresolved(site, path, host, mesh, report);
    if !subset.is_empty() && !mesh.has_subset(host, subset) {
        let text = format!(
            "no DestinationRule in these files has the subset `{subset}` of {host}, of which Istio would make the cluster: write \
             `outbound|{port}||{host}`, or add it"
        );
        report.add(site.place(path), Level::Warning, "unknown_cluster", path, text);
    }
    let rules: Vec<_> = mesh
        .rules
        .iter()
        .filter(|(_, rule)| rule.word("host").is_some_and(|name| covers(name, host)))
        .flat_map(|(file, rule)| policies(rule, port, subset).into_iter().map(move |policy| (*file, policy)))
        .collect();
    for (file, policy) in &rules {
        let limits = [
            (&["connection_pool", "tcp"], "max_connections"),
            (&["connection_pool", "http"], "http1_max_pending_requests"),
            (&["connection_pool", "http"], "http2_max_requests"),
        ];
        let limits = limits.iter().filter_map(|(steps, field)| policy.at(*steps)?.entry(field));
        let called = breakers::Cluster { name: cluster, called: host, config, workers };
        breakers::check(file, limits, &called, report);
    }
    if is_called_by_https(cluster, config) {
        tls(site, path, host, &rules, report);
        if port == 80 && !mesh.leads_elsewhere(host, port) {
            other_port(site, path, host, &rules, report);
        }
    }
}

/// TLS that begins at the port where others speak plain text.
fn other_port(site: &Site<'_>, path: &str, host: &str, rules: &[(&str, &Node)], report: &mut Report<'_>) {
    let mut modes = rules.iter().filter_map(|(_, policy)| policy.at(&["tls", "mode"]));
    if modes.any(|mode| !mode.is_value("DISABLE", 0)) {
        let text = format!(
            "TLS to {host} begins at port 80, where others speak plain text: write `outbound|443||{host}`, or `targetPort: 443` beside the \
             port in the ServiceEntry"
        );
        report.add(site.place(path), Level::Warning, "other_port", path, text);
    }
}

/// A host that nobody looks up: the filter's calls have no address to go to.
fn unresolved(site: &Site<'_>, path: &str, host: &str, mesh: &Mesh<'_>, report: &mut Report<'_>) {
    let Some(entry) = mesh.entries.iter().find(|entry| has_host(entry, host)) else { return };
    if entry.word("resolution").is_none_or(|resolution| resolution == "NONE") {
        let text = format!(
            "the ServiceEntry of `{host}` has no `resolution`: Istio then sends requests to where the client meant them, and the filter's calls \
             nowhere; write `resolution: DNS`"
        );
        report.add(site.place(path), Level::Warning, "unresolved_host", path, text);
    }
}

/// Why the files have no ServiceEntry that makes a cluster for this host and port, if they tell of such hosts.
fn missing_entry(mesh: &Mesh<'_>, host: &str, port: u16) -> Option<String> {
    if !mesh.is_told_of(host) {
        return None;
    }
    let Some(entry) = mesh.entries.iter().find(|entry| has_host(entry, host)) else {
        let known = mesh.entries.iter().flat_map(|entry| entry.elements("hosts")).filter_map(Node::text);
        let known: Vec<&str> = known.collect();
        let meant = nearest(host, &known).map(|meant| format!("; did you mean `{meant}`?")).unwrap_or_default();
        return Some(format!(
            "no ServiceEntry in these files has the host `{host}`, of which Istio would make the cluster{meant}"
        ));
    };
    let ports: Vec<f64> =
        entry.elements("ports").iter().filter_map(|port| port.get("number").and_then(Node::number)).collect();
    if ports.is_empty() || ports.contains(&f64::from(port)) {
        return None;
    }
    let ports: Vec<String> = ports.iter().map(f64::to_string).collect();
    Some(format!(
        "the ServiceEntry of `{host}` has no port {port}, of which Istio would make the cluster; it has {}",
        ports.join(", ")
    ))
}

fn has_host(entry: &Node, host: &str) -> bool {
    entry.elements("hosts").iter().filter_map(Node::text).any(|name| covers(name, host))
}

/// Whether TLS is begun for a host, and the certificate checked.
fn tls(site: &Site<'_>, path: &str, host: &str, rules: &[(&str, &Node)], report: &mut Report<'_>) {
    let settings: Vec<_> = rules.iter().filter_map(|(file, policy)| Some((*file, policy.entry("tls")?))).collect();
    // The most special one is the last.
    let Some((file, (key, tls))) = settings.last() else {
        let text = format!(
            "no DestinationRule in these files begins TLS to {host}: the filter's calls go out in plain text, tokens and secrets among \
             them; add one with `tls: {{ mode: SIMPLE, sni: {host}, subjectAltNames: [{host}] }}`"
        );
        report.add(site.place(path), Level::Warning, "cluster_without_tls", path, text);
        return;
    };
    if tls.word("mode").is_none_or(|mode| mode == "DISABLE") {
        let text = format!(
            "calls to {host}, whose URL says https, go out in plain text, tokens and secrets among them: write `mode: SIMPLE`"
        );
        report.warn_in(file, key.place, "cluster_without_tls", path, text);
    } else if let Some((key, _)) = tls.entry("insecure_skip_verify").filter(|(_, node)| node.is_true()) {
        let text = format!(
            "nobody checks whose certificate {host} shows: whoever stands between can sign tokens; leave `insecureSkipVerify` out"
        );
        report.warn_in(file, key.place, "cluster_without_check", path, text);
    }
    let host = [host.to_owned()];
    for name in tls.get("sni").into_iter().chain(tls.elements("subject_alt_names")) {
        if let Some(meant) = name.text().and_then(|text| mistyped(text, &host)) {
            let text = format!("this is not the host that is called, which is {meant}");
            report.warn_in(file, name.place, "misspelt_host", path, text);
        }
    }
}

/// The traffic policies of a rule for a port and a subset, from the general to the special.
fn policies<'n>(rule: &'n Node, port: u16, subset: &str) -> Vec<&'n Node> {
    let of_subset =
        rule.elements("subsets").iter().filter(|node| !subset.is_empty() && node.word("name") == Some(subset));
    let policies = std::iter::once(rule).chain(of_subset).filter_map(|node| node.get("traffic_policy"));
    let is_it = |node: &&Node| node.at(&["port", "number"]).and_then(Node::number) == Some(f64::from(port));
    policies
        .flat_map(|policy| std::iter::once(policy).chain(policy.elements("port_level_settings").iter().filter(is_it)))
        .collect()
}

/// Whether a name stands for a host: `*.example.com` for all below it.
fn covers(name: &str, host: &str) -> bool {
    name == host || name.strip_prefix('*').is_some_and(|end| host.ends_with(end))
}
