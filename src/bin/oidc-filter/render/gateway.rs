//! An EnvoyExtensionPolicy of Envoy Gateway, with the clusters of the providers in an EnvoyPatchPolicy, and the tags of the metrics in an
//! EnvoyProxy.

use super::envoy::stats_tags;
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
    if !parts.metadata.is_empty() {
        comment.push_str(
            "\nOutputs to metadata need Envoy's header_to_metadata behind the filter: patch it into the listener, for\n",
        );
        comment.push_str(&emit::block(&parts.request_rules(name), 2));
    }
    let policy = manifest(VERSION, "EnvoyExtensionPolicy", name, namespace, policy);
    let mut found = vec![(comment.trim_end().to_owned(), policy)];
    // What begins with httproute/ is a cluster that the gateway makes of a route.
    let own: Vec<&Reach> = parts.reaches.iter().filter(|reach| !reach.cluster.contains('/')).collect();
    if !own.is_empty() {
        let spec = Node::object([
            ("targetRef", target),
            ("type", "JSONPatch".into()),
            ("jsonPatches", own.into_iter().map(patch).collect()),
        ]);
        let comment =
            "Needs extensionApis.enableEnvoyPatchPolicy: true in the configuration of Envoy Gateway.".to_owned();
        found.push((comment, manifest(VERSION, "EnvoyPatchPolicy", &format!("{name}-clusters"), namespace, spec)));
    }
    let bootstrap = Node::object([("stats_config", Node::object([("stats_tags", stats_tags())]))]);
    let bootstrap = Node::object([("type", "Merge".into()), ("value", emit::block(&bootstrap, 0).into())]);
    let comment = "Labels in metrics: name this in `infrastructure.parametersRef` of the Gateway, or in `parametersRef` of its class.".to_owned();
    let proxy = manifest(VERSION, "EnvoyProxy", name, namespace, Node::object([("bootstrap", bootstrap)]));
    found.push((comment, proxy));
    documents(&found)
}

/// The part of an EnvoyPatchPolicy that adds a cluster.
fn patch(reach: &Reach) -> Node {
    let operation = Node::object([("op", "add".into()), ("path", "".into()), ("value", reach.to_cluster())]);
    Node::object([
        ("type", "type.googleapis.com/envoy.config.cluster.v3.Cluster".into()),
        ("name", reach.cluster.as_str().into()),
        ("operation", operation),
    ])
}

const VERSION: &str = "gateway.envoyproxy.io/v1alpha1";
