//! A whole bootstrap of Envoy around a configuration: `envoy/minimal.yaml` and `envoy/safety-net.yaml` say why each line is there.

use super::{Parts, Reach, TAGS, documents};
use crate::urls;
use crate::yaml::Node;

pub fn render(parts: &Parts<'_>) -> String {
    let bootstrap = Node::object([
        ("admin", Node::object([("address", socket("127.0.0.1", 9901))])),
        ("stats_config", Node::object([("stats_tags", stats_tags())])),
        ("overload_manager", overload_manager()),
        (
            "static_resources",
            Node::object([("listeners", Node::from_iter([listener(parts)])), ("clusters", clusters(parts))]),
        ),
    ]);
    let comment = "Made by `oidc-filter render envoy`. envoy/minimal.yaml and envoy/safety-net.yaml of oidc-filter say why each line is\n\
                   there. Check it with `envoy --mode validate -c <this file>` and `oidc-filter lint <this file>`.";
    documents(&[(comment.to_owned(), bootstrap)])
}

fn socket(host: &str, port: u16) -> Node {
    let address = Node::object([("address", host.into()), ("port_value", i64::from(port).into())]);
    Node::object([("socket_address", address)])
}

/// proxy-wasm knows no labels: they stand in the names of metrics, and these rules take them out.
pub fn stats_tags() -> Node {
    let tags = TAGS.into_iter().map(|name| {
        let regex = format!("^wasmcustom\\.oidc_.*?(;{name}=([^;]*))");
        Node::object([("tag_name", name.into()), ("regex", regex.into())])
    });
    tags.collect()
}

fn overload_manager() -> Node {
    let limit = Node::object([
        (
            "@type",
            "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig".into(),
        ),
        ("max_active_downstream_connections", 20000.into()),
    ]);
    let monitor = Node::object([
        ("name", "envoy.resource_monitors.global_downstream_max_connections".into()),
        ("typed_config", limit),
    ]);
    Node::object([("resource_monitors", Node::from_iter([monitor]))])
}

fn listener(parts: &Parts<'_>) -> Node {
    // At verify_path Envoy must leave paths as they are: it asks about another proxy's requests.
    let asks = parts.config.verify.as_ref().is_some_and(|verify| verify.request.is_none());
    let mut manager = Node::object([
        (
            "@type",
            "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
                .into(),
        ),
        ("stat_prefix", "ingress".into()),
        ("use_remote_address", true.into()),
        ("normalize_path", (!asks).into()),
        ("merge_slashes", (!asks).into()),
        ("path_with_escaped_slashes_action", if asks { "KEEP_UNCHANGED" } else { "UNESCAPE_AND_REDIRECT" }.into()),
        (
            "common_http_protocol_options",
            Node::object([
                ("idle_timeout", "3600s".into()),
                ("headers_with_underscores_action", "REJECT_REQUEST".into()),
            ]),
        ),
        (
            "http2_protocol_options",
            Node::object([
                ("max_concurrent_streams", 100.into()),
                ("initial_stream_window_size", 65536.into()),
                ("initial_connection_window_size", 1_048_576.into()),
            ]),
        ),
        ("stream_idle_timeout", "300s".into()),
        ("request_headers_timeout", "10s".into()),
    ]);
    manager.put("http_filters", filters(parts));
    let route = Node::object([
        ("match", Node::object([("prefix", "/".into())])),
        ("route", Node::object([("cluster", UPSTREAM.into())])),
    ]);
    let all = Node::object([
        ("name", "all".into()),
        ("domains", Node::from_iter(["*".into()])),
        ("routes", Node::from_iter([route])),
    ]);
    manager.put("route_config", Node::object([("virtual_hosts", Node::from_iter([all]))]));
    let network =
        Node::object([("name", "envoy.filters.network.http_connection_manager".into()), ("typed_config", manager)]);
    Node::object([
        ("name", "ingress".into()),
        ("address", socket("0.0.0.0", parts.options.port)),
        ("per_connection_buffer_limit_bytes", 32768.into()),
        ("filter_chains", Node::from_iter([Node::object([("filters", Node::from_iter([network]))])])),
    ])
}

fn filters(parts: &Parts<'_>) -> Node {
    let name = parts.options.name.as_str();
    let mut vm = Node::object([
        ("vm_id", name.into()),
        ("runtime", "envoy.wasm.runtime.v8".into()),
        ("code", Node::object([("local", Node::object([("filename", parts.module().into())]))])),
    ]);
    if !parts.variables.is_empty() {
        let names = parts.variables.iter().map(|name| name.as_str().into()).collect();
        vm.put("environment_variables", Node::object([("host_env_keys", names)]));
    }
    let configuration = Node::object([
        ("@type", "type.googleapis.com/google.protobuf.Struct".into()),
        ("value", parts.written.clone()),
    ]);
    let config = Node::object([
        ("name", name.into()),
        ("failure_policy", "FAIL_RELOAD".into()),
        ("vm_config", vm),
        ("configuration", configuration),
    ]);
    let mut filters = vec![filter(name, "wasm.v3.Wasm", [("config", config)])];
    if !parts.metadata.is_empty() {
        let rules = parts.request_rules(name);
        filters.push(filter("metadata", "header_to_metadata.v3.Config", [("request_rules", rules)]));
    }
    if parts.config.marks {
        filters.push(filter("safety-net", "rbac.v3.RBAC", [("rules", parts.safety_net(name))]));
    }
    filters.push(filter("envoy.filters.http.router", "router.v3.Router", []));
    filters.into_iter().collect()
}

pub fn filter<const N: usize>(name: &str, kind: &str, members: [(&str, Node); N]) -> Node {
    let mut typed =
        Node::object([("@type", Node::from(format!("type.googleapis.com/envoy.extensions.filters.http.{kind}")))]);
    for (name, node) in members {
        typed.put(name, node);
    }
    Node::object([("name", name.into()), ("typed_config", typed)])
}

fn clusters(parts: &Parts<'_>) -> Node {
    let (host, port) = urls::host_and_port(&parts.options.upstream, 80);
    let upstream = Reach { cluster: UPSTREAM.to_owned(), host, port, is_tls: false };
    parts.reaches.iter().chain([&upstream]).map(|reach| parts.cluster(reach)).collect()
}

pub const UPSTREAM: &str = "upstream";
