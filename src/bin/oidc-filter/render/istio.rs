//! A WasmPlugin, or the TrafficExtension that follows it, with what makes clusters of the hosts that the filter calls: a ServiceEntry,
//! and a DestinationRule that begins TLS and checks the certificate.

use super::envoy::filter;
use super::{Parts, Reach, TAGS, Target, documents, manifest};
use crate::urls;
use crate::yaml::{Data, Node};
use oidc_filter::config::snake_case;
use std::net::IpAddr;

pub fn render(parts: &Parts<'_>) -> String {
    let options = parts.options;
    let namespace = options.namespace.as_deref().unwrap_or("istio-system");
    let is_plugin = options.target == Target::Istio;
    let name = options.name.as_str();
    let reference = match &options.sha256 {
        // A tag beside a digest is of no effect.
        Some(digest) => {
            let untagged = parts.image().rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
            format!("oci://{}@sha256:{digest}", untagged.map_or(parts.image(), |(image, _)| image))
        }
        None => format!("oci://{}", parts.image()),
    };
    let (label, value) = options.selector.split_once('=').unwrap_or((&options.selector, ""));
    let selector = Node::object([("matchLabels", Node::object([(label, value.into())]))]);
    let mut wasm = Node::object([
        ("url", reference.into()),
        ("imagePullPolicy", "IfNotPresent".into()),
        ("failStrategy", "FAIL_RELOAD".into()),
        ("pluginName", name.into()),
    ]);
    if !parts.variables.is_empty() {
        let names = parts.variables.iter();
        let env = names.map(|name| Node::object([("name", name.as_str().into()), ("valueFrom", "HOST".into())]));
        wasm.put("vmConfig", Node::object([("env", env.collect())]));
    }
    wasm.put("pluginConfig", with_clusters_of_istio(parts));
    let mut spec = Node::object([("selector", selector.clone()), ("phase", "AUTHN".into())]);
    match (is_plugin, wasm.data) {
        (true, Data::Map(members)) => members.into_iter().for_each(|(key, node)| spec.put(&key.name, node)),
        (_, data) => spec.put("wasm", Node { data, ..Node::from("") }),
    }
    let kind = if is_plugin { "WasmPlugin" } else { "TrafficExtension" };
    let comment = format!(
        "Made by `oidc-filter render {}`. examples/istio-wasmplugin.yaml of oidc-filter says why each line is there. `env` is read from\n\
         the environment of the proxy. Where your Istio does not know FAIL_RELOAD yet, write FAIL_CLOSE.\n\n\
         For labels in metrics, the proxy needs the annotation proxy.istio.io/config with\n\
         \x20 proxyStatsMatcher: {{ inclusionRegexps: [\"wasmcustom.*oidc_.*\"] }}\n\
         \x20 extraStatTags: [{}]",
        if is_plugin { "istio" } else { "traffic-extension" },
        TAGS.join(", "),
    );
    let mut found = vec![(comment, manifest("extensions.istio.io/v1alpha1", kind, name, namespace, spec))];
    for (host, reaches) in by_host(&parts.reaches) {
        let label = host.replace('.', "-");
        let is_tls = reaches.iter().any(|reach| reach.is_tls);
        let why = "http, although it is TLS: the proxy itself begins it, by the DestinationRule.";
        let why = if is_tls { why.to_owned() } else { String::new() };
        found.push((why, manifest(VERSION, "ServiceEntry", &label, namespace, service_entry(&host, &reaches))));
        if is_tls {
            let rule = destination_rule(&host, &reaches, options.trusted_ca.as_deref());
            found.push((String::new(), manifest(VERSION, "DestinationRule", &label, namespace, rule)));
        }
    }
    found.extend(behind(parts, namespace, name, &selector));
    documents(&found)
}

/// What is to be reached at each host that Istio does not know yet, each port once.
fn by_host(reaches: &[Reach]) -> Vec<(String, Vec<&Reach>)> {
    let mut hosts: Vec<(String, Vec<&Reach>)> = Vec::new();
    for reach in reaches.iter().filter(|reach| !is_of_the_mesh(reach)) {
        let name = host_in_istio(reach);
        match hosts.iter_mut().find(|(host, _)| *host == name) {
            Some((_, there)) if there.iter().any(|other| other.port == reach.port) => {}
            Some((_, there)) => there.push(reach),
            None => hosts.push((name, vec![reach])),
        }
    }
    hosts
}

/// The name of a host. Istio takes no address for one: an address gets a name, which nobody looks up.
fn host_in_istio(reach: &Reach) -> String {
    let parts: Vec<String> = match reach.address() {
        None => return reach.host.clone(),
        Some(IpAddr::V4(address)) => address.octets().iter().map(u8::to_string).collect(),
        Some(IpAddr::V6(address)) => address.segments().iter().map(|segment| format!("{segment:x}")).collect(),
    };
    format!("ip-{}.internal", parts.join("-"))
}

/// By which Istio makes clusters of a host.
fn service_entry(host: &str, reaches: &[&Reach]) -> Node {
    let ports = reaches.iter().map(|reach| {
        let name = if reach.is_tls { "http-tls" } else { "http" };
        // Each name is there once.
        let name = if reaches.len() > 1 { format!("{name}-{}", reach.port) } else { name.to_owned() };
        Node::object([("number", i64::from(reach.port).into()), ("name", name.into()), ("protocol", "HTTP".into())])
    });
    let address = reaches.iter().find_map(|reach| reach.address());
    let mut entry = Node::object([
        ("hosts", Node::from_iter([host.into()])),
        ("exportTo", Node::from_iter([".".into()])),
        ("location", "MESH_EXTERNAL".into()),
        ("resolution", if address.is_some() { "STATIC" } else { "DNS" }.into()),
        ("ports", ports.collect()),
    ]);
    if let Some(address) = address {
        entry.put("endpoints", Node::from_iter([Node::object([("address", address.to_string().into())])]));
    }
    entry
}

/// By which those clusters speak TLS, and check the certificate: at every port, or at those whose URLs say https.
fn destination_rule(host: &str, reaches: &[&Reach], trusted_ca: Option<&str>) -> Node {
    let policy = match reaches {
        [first, ..] if reaches.iter().all(|reach| reach.is_tls) => Node::object([("tls", tls(first, trusted_ca))]),
        _ => {
            let ports = reaches.iter().filter(|reach| reach.is_tls).map(|reach| {
                let port = Node::object([("number", i64::from(reach.port).into())]);
                Node::object([("port", port), ("tls", tls(reach, trusted_ca))])
            });
            Node::object([("portLevelSettings", ports.collect())])
        }
    };
    Node::object([("host", host.into()), ("exportTo", Node::from_iter([".".into()])), ("trafficPolicy", policy)])
}

fn tls(reach: &Reach, trusted_ca: Option<&str>) -> Node {
    let mut tls = Node::object([("mode", "SIMPLE".into())]);
    // An address is no name (RFC 6066, section 3).
    if reach.address().is_none() {
        tls.put("sni", reach.host.as_str());
    }
    tls.put("subjectAltNames", Node::from_iter([reach.host.as_str().into()]));
    if let Some(file) = trusted_ca {
        tls.put("caCertificates", file);
    }
    tls
}

/// Istio has a cluster for each Service already.
fn is_of_the_mesh(reach: &Reach) -> bool {
    reach.host.ends_with(".cluster.local") || reach.host.ends_with(".svc")
}

/// Envoy's own filters behind the plugin: the hand-off, and the safety net.
fn behind(parts: &Parts<'_>, namespace: &str, name: &str, selector: &Node) -> Option<(String, Node)> {
    let filter_name = format!("{namespace}.{name}");
    let mut filters = Vec::new();
    if !parts.metadata.is_empty() {
        filters.push(filter(
            "oidc-metadata",
            "header_to_metadata.v3.Config",
            [("request_rules", parts.request_rules(&filter_name))],
        ));
    }
    if parts.config.marks {
        filters.push(filter("oidc-safety-net", "rbac.v3.RBAC", [("rules", parts.safety_net(&filter_name))]));
    }
    if filters.is_empty() {
        return None;
    }
    let spec = Node::object([
        ("workloadSelector", Node::object([("labels", selector.get("matchLabels")?.clone())])),
        ("configPatches", filters.into_iter().map(before_router).collect()),
    ]);
    let comment = "The filter's name in Istio is <namespace>.<name of the plugin>. RBAC refuses what the filter has not let through.";
    Some((comment.to_owned(), manifest("networking.istio.io/v1alpha3", "EnvoyFilter", name, namespace, spec)))
}

/// The part of an EnvoyFilter that puts a filter before the router.
fn before_router(filter: Node) -> Node {
    let router = Node::object([("name", "envoy.filters.http.router".into())]);
    let manager =
        Node::object([("name", "envoy.filters.network.http_connection_manager".into()), ("subFilter", router)]);
    let place = Node::object([("filterChain", Node::object([("filter", manager)]))]);
    Node::object([
        ("applyTo", "HTTP_FILTER".into()),
        ("match", Node::object([("listener", place)])),
        ("patch", Node::object([("operation", "INSERT_BEFORE".into()), ("value", filter)])),
    ])
}

/// Istio's name for a cluster, unless it is one already.
fn name_in_istio(reaches: &[Reach], cluster: &str) -> Option<String> {
    let reach = reaches.iter().find(|reach| reach.cluster == cluster && !cluster.starts_with("outbound|"))?;
    Some(format!("outbound|{}||{}", reach.port, host_in_istio(reach)))
}

/// The configuration with Istio's names for the clusters.
fn with_clusters_of_istio(parts: &Parts<'_>) -> Node {
    let reaches = parts.reaches.as_slice();
    let mut written = parts.written.clone();
    rename(&mut written, reaches);
    // A cluster that nobody named is called as its host.
    if let Some(providers) = written.get_mut("providers") {
        let list = match &mut providers.data {
            Data::List(nodes) => nodes.iter_mut().collect::<Vec<_>>(),
            _ => vec![providers],
        };
        for provider in list.into_iter().filter(|provider| provider.get("cluster").is_none()) {
            let host = provider.word("issuer").and_then(urls::host);
            if let Some(cluster) = host.and_then(|host| name_in_istio(reaches, &host)) {
                provider.put("cluster", cluster);
            }
        }
    }
    written
}

fn rename(node: &mut Node, reaches: &[Reach]) {
    match &mut node.data {
        Data::List(nodes) => nodes.iter_mut().for_each(|node| rename(node, reaches)),
        Data::Map(members) => {
            for (key, inner) in members {
                match (key.name.as_str(), &mut inner.data) {
                    ("cluster", Data::Text(text, _)) => {
                        *text = name_in_istio(reaches, text).unwrap_or_else(|| text.clone())
                    }
                    ("clusters", Data::Map(hosts)) => {
                        for (_, host) in hosts {
                            if let Some(cluster) = host.text().and_then(|host| name_in_istio(reaches, host)) {
                                *host = cluster.into();
                            }
                        }
                    }
                    (caller, _) if CALLERS.contains(&snake_case(caller).as_str()) => {
                        name_clusters(inner, reaches);
                        rename(inner, reaches);
                    }
                    _ => rename(inner, reaches),
                }
            }
        }
        _ => {}
    }
}

/// Names the cluster of each object that calls a URL; one that nobody named is called as its host.
fn name_clusters(node: &mut Node, reaches: &[Reach]) {
    if let Data::List(nodes) = &mut node.data {
        nodes.iter_mut().for_each(|node| name_clusters(node, reaches));
        return;
    }
    let url = node.word("uri").or_else(|| node.word("endpoint")).filter(|_| node.get("cluster").is_none());
    if let Some(cluster) = url.and_then(urls::host).and_then(|host| name_in_istio(reaches, &host)) {
        node.put("cluster", cluster);
    }
}

/// What calls a URL of its own.
const CALLERS: [&str; 3] = ["external_authorization", "enrich", "token_exchange"];

const VERSION: &str = "networking.istio.io/v1";
