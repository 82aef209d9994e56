//! A WasmPlugin, or the TrafficExtension that follows it, with what makes clusters of the hosts that the filter calls: a ServiceEntry,
//! and a DestinationRule that begins TLS and checks the certificate.

use super::envoy::filter;
use super::{Parts, Reach, TAGS, Target, documents};
use crate::yaml::{Data, Node};
use oidc_filter::config::snake_case;

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
        let variable = |name: &String| Node::object([("name", name.as_str().into()), ("valueFrom", "HOST".into())]);
        wasm.put("vmConfig", Node::object([("env", parts.variables.iter().map(variable).collect())]));
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
    for reach in parts.reaches.iter().filter(|reach| !is_of_the_mesh(reach)) {
        let label = reach.host.replace('.', "-");
        let protocol = Node::object([
            ("number", i64::from(reach.port).into()),
            ("name", if reach.is_tls { "http-tls" } else { "http" }.into()),
            ("protocol", "HTTP".into()),
        ]);
        let entry = Node::object([
            ("hosts", Node::from_iter([reach.host.as_str().into()])),
            ("exportTo", Node::from_iter([".".into()])),
            ("location", "MESH_EXTERNAL".into()),
            ("resolution", "DNS".into()),
            ("ports", Node::from_iter([protocol])),
        ]);
        let why = "http, although it is TLS: the proxy itself begins it, by the DestinationRule.";
        let why = if reach.is_tls { why.to_owned() } else { String::new() };
        found.push((why, manifest("networking.istio.io/v1", "ServiceEntry", &label, namespace, entry)));
        if reach.is_tls {
            let tls = Node::object([
                ("mode", "SIMPLE".into()),
                ("sni", reach.host.as_str().into()),
                ("subjectAltNames", Node::from_iter([reach.host.as_str().into()])),
            ]);
            let rule = Node::object([
                ("host", reach.host.as_str().into()),
                ("exportTo", Node::from_iter([".".into()])),
                ("trafficPolicy", Node::object([("tls", tls)])),
            ]);
            found.push((String::new(), manifest("networking.istio.io/v1", "DestinationRule", &label, namespace, rule)));
        }
    }
    found.extend(behind(parts, namespace, name, &selector));
    documents(&found)
}

fn manifest(version: &str, kind: &str, name: &str, namespace: &str, spec: Node) -> Node {
    Node::object([
        ("apiVersion", version.into()),
        ("kind", kind.into()),
        ("metadata", Node::object([("name", name.into()), ("namespace", namespace.into())])),
        ("spec", spec),
    ])
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
    let patch = |filter: Node| {
        let router = Node::object([("name", "envoy.filters.http.router".into())]);
        let manager =
            Node::object([("name", "envoy.filters.network.http_connection_manager".into()), ("subFilter", router)]);
        let place = Node::object([("filterChain", Node::object([("filter", manager)]))]);
        Node::object([
            ("applyTo", "HTTP_FILTER".into()),
            ("match", Node::object([("listener", place)])),
            ("patch", Node::object([("operation", "INSERT_BEFORE".into()), ("value", filter)])),
        ])
    };
    if filters.is_empty() {
        return None;
    }
    let spec = Node::object([
        ("workloadSelector", Node::object([("labels", selector.get("matchLabels")?.clone())])),
        ("configPatches", filters.into_iter().map(patch).collect()),
    ]);
    let comment = "The filter's name in Istio is <namespace>.<name of the plugin>. RBAC refuses what the filter has not let through.";
    Some((comment.to_owned(), manifest("networking.istio.io/v1alpha3", "EnvoyFilter", name, namespace, spec)))
}

/// The configuration with Istio's names for the clusters.
fn with_clusters_of_istio(parts: &Parts<'_>) -> Node {
    let name = |cluster: &str| {
        let reach = parts.reaches.iter().find(|reach| reach.cluster == cluster);
        reach
            .filter(|_| !cluster.starts_with("outbound|"))
            .map(|reach| format!("outbound|{}||{}", reach.port, reach.host))
    };
    let mut written = parts.written.clone();
    rename(&mut written, &name);
    // A cluster that nobody named is called as its host.
    if let Some(providers) = written.get_mut("providers") {
        let list = match &mut providers.data {
            Data::List(nodes) => nodes.iter_mut().collect::<Vec<_>>(),
            _ => vec![providers],
        };
        for provider in list.into_iter().filter(|provider| provider.get("cluster").is_none()) {
            let host = provider.word("issuer").and_then(host_of).and_then(|host| name(&host));
            if let Some(cluster) = host {
                provider.put("cluster", cluster);
            }
        }
    }
    written
}

fn rename(node: &mut Node, name: &dyn Fn(&str) -> Option<String>) {
    match &mut node.data {
        Data::List(nodes) => nodes.iter_mut().for_each(|node| rename(node, name)),
        Data::Map(members) => {
            for (key, inner) in members {
                match (key.name.as_str(), &mut inner.data) {
                    ("cluster", Data::Text(text, _)) => *text = name(text).unwrap_or_else(|| text.clone()),
                    ("clusters", Data::Map(hosts)) => {
                        for (_, host) in hosts {
                            if let Some(cluster) = host.text().and_then(name) {
                                *host = cluster.into();
                            }
                        }
                    }
                    (caller, _) if CALLERS.contains(&snake_case(caller).as_str()) => {
                        name_clusters(inner, name);
                        rename(inner, name);
                    }
                    _ => rename(inner, name),
                }
            }
        }
        _ => {}
    }
}

/// Names the cluster of each object that calls a URL; one that nobody named is called as its host.
fn name_clusters(node: &mut Node, name: &dyn Fn(&str) -> Option<String>) {
    if let Data::List(nodes) = &mut node.data {
        nodes.iter_mut().for_each(|node| name_clusters(node, name));
        return;
    }
    let url = node.word("uri").or_else(|| node.word("endpoint")).filter(|_| node.get("cluster").is_none());
    if let Some(cluster) = url.and_then(host_of).and_then(|host| name(&host)) {
        node.put("cluster", cluster);
    }
}

/// What calls a URL of its own.
const CALLERS: [&str; 3] = ["external_authorization", "enrich", "token_exchange"];

fn host_of(url: &str) -> Option<String> {
    url::Url::parse(url).ok()?.host_str().map(str::to_owned)
}
