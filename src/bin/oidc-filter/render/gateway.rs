//! An EnvoyExtensionPolicy of Envoy Gateway, with the clusters of the providers and the hand-off of metadata in EnvoyPatchPolicies, and the
//! tags of the metrics in an EnvoyProxy.

use super::envoy::{filter, stats_tags};
use super::{Parts, Reach, documents, manifest};
use crate::emit;
use crate::yaml::Node;

pub fn render(parts: &Parts<'_>) -> String {
    let options = parts.options;
    let namespace = options.namespace.as_deref().unwrap_or("default");
    let name = options.name.as_str();
    let mut image = Node::object([("url", parts.image().into())]);
    if let Some(digest) = &options.sha256 {
        image.put("sha256", digest.as_str());
    }
    let mut wasm = Node::object([
        ("name", name.into()),
        ("rootID", name.into()),
        ("code", Node::object([("type", "Image".into()), ("image", image), ("pullPolicy", "IfNotPresent".into())])),
        ("failOpen", false.into()),
    ]);
    if !parts.variables.is_empty() {
        let names = parts.variables.iter().map(|name| name.as_str().into()).collect();
        wasm.put("env", Node::object([("hostKeys", names)]));
    }
    wasm.put("config", parts.written.clone());
    let target = Node::object([
        ("group", "gateway.networking.k8s.io".into()),
        ("kind", "Gateway".into()),
        ("name", options.gateway.as_str().into()),
    ]);
    let policy = Node::object([("targetRefs", Node::from_iter([target.clone()])), ("wasm", Node::from_iter([wasm]))]);
    let mut comment = "Made by `oidc-filter render envoy-gateway`. examples/envoy-gateway.yaml of oidc-filter says why each line is there. An\n\
                       EnvoyExtensionPolicy of a route replaces this one: repeat the `wasm` entry in it."
        .to_owned();
    if !parts.variables.is_empty() {
        comment.push_str("\nAn EnvoyProxy resource puts the variables below `hostKeys` into the proxy's environment.");
    }
    let policy = manifest(VERSION, "EnvoyExtensionPolicy", name, namespace, policy);
    let mut found = vec![(comment.trim_end().to_owned(), policy)];
    // What begins with httproute/ is a cluster that the gateway makes of a route.
    let own: Vec<&Reach> = parts.reaches.iter().filter(|reach| !reach.cluster.contains('/')).collect();
    if !own.is_empty() {
        let spec = patches(&target, own.into_iter().map(|reach| patch(parts, reach)).collect());
        let clusters = manifest(VERSION, "EnvoyPatchPolicy", &format!("{name}-clusters"), namespace, spec);
        found.push((MUST_BE_ENABLED.to_owned(), clusters));
    }
    if !parts.metadata.is_empty() {
        let comment = format!(
            "Envoy's header_to_metadata, right before the router, makes metadata of what the filter hands over. One patch for each\n\
             listener of the Gateway. {MUST_BE_ENABLED}"
        );
        let listener = format!("{namespace}/{}/{}", options.gateway, options.listener);
        let spec = patches(&target, Node::from_iter([hand_off(parts, name, &listener)]));
        found.push((comment, manifest(VERSION, "EnvoyPatchPolicy", &format!("{name}-metadata"), namespace, spec)));
    }
    let bootstrap = Node::object([("stats_config", Node::object([("stats_tags", stats_tags())]))]);
    let bootstrap = Node::object([("type", "Merge".into()), ("value", emit::block(&bootstrap, 0).into())]);
    let comment = "Labels in metrics: name this in `infrastructure.parametersRef` of the Gateway, or in `parametersRef` of its class.".to_owned();
    let proxy = manifest(VERSION, "EnvoyProxy", name, namespace, Node::object([("bootstrap", bootstrap)]));
    found.push((comment, proxy));
    documents(&found)
}

/// The part of an EnvoyPatchPolicy that adds a cluster.
fn patch(parts: &Parts<'_>, reach: &Reach) -> Node {
    let operation = Node::object([("op", "add".into()), ("path", "".into()), ("value", parts.cluster(reach))]);
    Node::object([
        ("type", "type.googleapis.com/envoy.config.cluster.v3.Cluster".into()),
        ("name", reach.cluster.as_str().into()),
        ("operation", operation),
    ])
}

/// The part of an EnvoyPatchPolicy that adds what makes metadata of what the filter hands over.
fn hand_off(parts: &Parts<'_>, name: &str, listener: &str) -> Node {
    let rules = parts.request_rules(name);
    // What is added at the place of an element comes before it.
    let operation = Node::object([
        ("op", "add".into()),
        ("jsonPath", "$..http_filters[?(@.name == 'envoy.filters.http.router')]".into()),
        ("value", filter("oidc-metadata", "header_to_metadata.v3.Config", [("request_rules", rules)])),
    ]);
    Node::object([
        ("type", "type.googleapis.com/envoy.config.listener.v3.Listener".into()),
        ("name", listener.into()),
        ("operation", operation),
    ])
}

fn patches(target: &Node, patches: Node) -> Node {
    Node::object([("targetRef", target.clone()), ("type", "JSONPatch".into()), ("jsonPatches", patches)])
}

const MUST_BE_ENABLED: &str = "Needs extensionApis.enableEnvoyPatchPolicy: true in the configuration of Envoy Gateway.";

const VERSION: &str = "gateway.envoyproxy.io/v1alpha1";
