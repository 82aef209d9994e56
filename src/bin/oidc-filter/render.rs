//! `render`: complete manifests from a bare configuration, with what belongs around the filter: clusters with TLS whose certificate is
//! checked, the hand-off of metadata, a safety net, the tags of its metrics.

mod envoy;
mod gateway;
mod istio;
mod words;

use crate::emit;
use crate::file::File;
use crate::lint::breakers;
use crate::marks;
use crate::site::{self, SiteKind};
use crate::urls;
use crate::yaml::{self, Data, Node};
use clap::builder::NonEmptyStringValueParser as Filled;
use clap::{Args, ValueEnum};
use oidc_filter::config::{Config, Error, snake_case};
use oidc_filter::http::names::Placement;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum Target {
    /// A whole bootstrap of Envoy
    Envoy,
    /// A WasmPlugin, with ServiceEntry and DestinationRule
    Istio,
    /// A TrafficExtension, which follows the WasmPlugin, with the same beside it
    TrafficExtension,
    /// An EnvoyExtensionPolicy, with the clusters in an EnvoyPatchPolicy
    EnvoyGateway,
}

#[derive(Args, Debug)]
pub struct Options {
    /// For what
    #[arg(value_enum)]
    pub target: Target,
    /// The bare configuration, YAML or JSON
    pub file: PathBuf,
    /// What the filter is called
    #[arg(long, default_value = "oidc", value_parser = words::name)]
    pub name: String,
    /// Envoy: where the module is [default: /etc/envoy/oidc_filter.wasm, or oidc_filter_lists.wasm beside it for `filter_lists`]
    #[arg(long, value_parser = Filled::new())]
    pub module: Option<String>,
    /// The file with the certificates of those who may vouch for a provider, where the proxy runs [default: Debian's, and of Istio those
    /// that its proxy believes]
    #[arg(long, value_name = "FILE", value_parser = Filled::new())]
    pub trusted_ca: Option<String>,
    /// Envoy: the port to listen at
    #[arg(long, default_value_t = 10000, value_parser = clap::value_parser!(u16).range(1..))]
    pub port: u16,
    /// Envoy: host and port of the service behind
    #[arg(long, default_value = "127.0.0.1:8080", value_parser = words::authority)]
    pub upstream: String,
    /// The others: the image of the module [default: registry.example.com/oidc-filter:0.1.0, or oidc-filter-lists there]
    #[arg(long, value_parser = words::image)]
    pub image: Option<String>,
    /// The digest of the image, or of the module: what is run is then what was meant
    #[arg(long, value_parser = words::digest)]
    pub sha256: Option<String>,
    /// The namespace of the manifests [default: istio-system, or default]
    #[arg(long, value_parser = words::name)]
    pub namespace: Option<String>,
    /// Istio: the label of the workloads that get the filter
    #[arg(long, default_value = "istio=ingressgateway", value_parser = words::label)]
    pub selector: String,
    /// Envoy Gateway: the Gateway that gets the filter
    #[arg(long, default_value = "eg", value_parser = words::name)]
    pub gateway: String,
    /// Envoy Gateway: the listener of that Gateway which gets the hand-off of metadata
    #[arg(long, default_value = "http", value_parser = words::name)]
    pub listener: String,
}

/// What a manifest is made of.
struct Parts<'o> {
    options: &'o Options,
    config: Config,
    /// As it was written.
    written: Node,
    reaches: Vec<Reach>,
    /// The variables that the configuration uses.
    variables: Vec<String>,
    /// The objects that go into metadata: key and namespace.
    metadata: Vec<(String, Option<String>)>,
}

/// What a cluster has to reach.
#[derive(Clone, Debug, PartialEq)]
struct Reach {
    cluster: String,
    host: String,
    port: u16,
    is_tls: bool,
}

/// The manifests, or why there are none.
pub fn render(options: &Options, file: &File) -> Result<String, String> {
    let told = |problem: &str| format!("{}: {problem}", file.name);
    let mut documents = yaml::read(&file.text).map_err(|fault| fault.told(&file.name))?;
    let written = documents.pop().filter(|_| documents.is_empty());
    let written = written.ok_or_else(|| told("expected one configuration, and nothing else"))?;
    let variables = yaml::variables(&written);
    let config = match site::sites(&written).as_slice() {
        [site] if site.kind != SiteKind::Bare => {
            return Err(told(
                "holds more than the configuration: write what the filter gets of it into a file of its own",
            ));
        }
        [site] => {
            let told = |error: Error| site.place(error.path()).told(&file.name, &error.to_string());
            site.config().map_err(told)?
        }
        _ => return Err(told("expected a configuration, with `providers` or `provider`")),
    };
    let written = spelled_out(written);
    let reaches = reaches(&config).map_err(|problem| told(&problem))?;
    words::check(options, &reaches)?;
    let metadata = metadata(&config);
    let parts = Parts { options, config, written, reaches, variables, metadata };
    Ok(match options.target {
        Target::Envoy => envoy::render(&parts),
        Target::Istio | Target::TrafficExtension => istio::render(&parts),
        Target::EnvoyGateway => gateway::render(&parts),
    })
}

/// The compact form has no place for a cluster.
fn spelled_out(written: Node) -> Node {
    let Some(issuer) = written.get("provider").cloned() else { return written };
    let Data::Map(members) = written.data else { return written };
    let provider = Node::object([("issuer", issuer), ("validation", "userinfo".into())]);
    let mut full = Node::object([("providers", Node::from_iter([provider]))]);
    for (name, standard) in [("enforce", Node::from(false)), ("enforce_response_code", Node::from(403))] {
        if !members.iter().any(|(key, _)| snake_case(&key.name) == name) {
            full.put(name, standard);
        }
    }
    for (key, node) in members.into_iter().filter(|(key, _)| key.name != "provider") {
        full.put(&key.name, node);
    }
    full
}

/// What the clusters have to reach, each once.
fn reaches(config: &Config) -> Result<Vec<Reach>, String> {
    let mut reaches: Vec<Reach> = Vec::new();
    for (_, endpoint) in config.endpoints() {
        let is_tls = endpoint.scheme == "https";
        let (host, port) = urls::host_and_port(&endpoint.authority, if is_tls { 443 } else { 80 });
        add_reach(&mut reaches, Reach { cluster: endpoint.cluster.clone(), host, port, is_tls })?;
    }
    for provider in &config.providers {
        for (authority, cluster) in provider.clusters.others() {
            let (host, port) = urls::host_and_port(authority, 443);
            // What is called there already says how.
            if !reaches.iter().any(|reach| reach.cluster == *cluster && reach.host == host) {
                add_reach(&mut reaches, Reach { cluster: cluster.to_owned(), host, port, is_tls: true })?;
            }
        }
    }
    Ok(reaches)
}

/// A cluster leads to one place: with two, half of what is asked would come to the wrong one.
fn add_reach(reaches: &mut Vec<Reach>, reach: Reach) -> Result<(), String> {
    match reaches.iter().find(|other| other.cluster == reach.cluster) {
        Some(other) if *other == reach => {}
        Some(other) => {
            return Err(format!(
                "the cluster `{}` would have to lead to {other} and to {reach}: name another for one of them, by `cluster` or in `clusters`",
                reach.cluster
            ));
        }
        None => reaches.push(reach),
    }
    Ok(())
}

fn metadata(config: &Config) -> Vec<(String, Option<String>)> {
    let mut found: Vec<(String, Option<String>)> = Vec::new();
    let outputs = config.policies().flat_map(|policy| policy.user_info.iter());
    for output in outputs.filter(|output| output.placement == Placement::Metadata) {
        let place = (output.key.to_string(), output.metadata_namespace.clone());
        if !found.contains(&place) {
            found.push(place);
        }
    }
    found
}

impl Parts<'_> {
    /// Which of the two modules filters lists, as `make wasm` and `make wasm-lists` call them.
    fn sees_lists(&self) -> bool {
        self.config.policies().any(|policy| policy.mcp.as_ref().is_some_and(|mcp| mcp.filter_lists))
    }

    fn module(&self) -> &str {
        let own = if self.sees_lists() { "/etc/envoy/oidc_filter_lists.wasm" } else { "/etc/envoy/oidc_filter.wasm" };
        self.options.module.as_deref().unwrap_or(own)
    }

    fn image(&self) -> &str {
        let own = if self.sees_lists() {
            concat!("registry.example.com/oidc-filter-lists:", env!("CARGO_PKG_VERSION"))
        } else {
            concat!("registry.example.com/oidc-filter:", env!("CARGO_PKG_VERSION"))
        };
        self.options.image.as_deref().unwrap_or(own)
    }

    /// The cluster of a provider, which lets out all that the filter may ask.
    fn cluster(&self, reach: &Reach) -> Node {
        let mut cluster = reach.to_cluster(self.options.trusted_ca.as_deref());
        if let Some(wanted) = breakers::wanted(&reach.cluster, &self.config) {
            let limits = ["max_connections", "max_pending_requests", "max_requests"];
            let limits = Node::object(limits.map(|name| (name, Node::from(wanted))));
            cluster.put("circuit_breakers", Node::object([("thresholds", Node::from_iter([limits]))]));
        }
        cluster
    }

    fn reads_routes(&self) -> bool {
        self.config.marks && self.config.rules.iter().any(oidc_filter::config::Rule::reads_route)
    }

    /// The rules of `header_to_metadata`.
    fn request_rules(&self, filter_name: &str) -> Node {
        let places = self.metadata.iter();
        places.map(|(key, namespace)| hand_off_rule(key, namespace.as_deref().unwrap_or(filter_name))).collect()
    }

    /// Envoy's RBAC behind the filter: it refuses what the filter has not let through, and what takes another route than was decided on.
    fn safety_net(&self, filter_name: &str) -> Node {
        let results = marks::that_go_on(&self.config);
        let matcher = match results.as_slice() {
            [one] => Node::object([("exact", (*one).into())]),
            several => Node::object([("safe_regex", Node::object([("regex", several.join("|").into())]))]),
        };
        let state = Node::object([("key", format!("wasm.{filter_name}.result").into()), ("string_match", matcher)]);
        let any = Node::object([("any", true.into())]);
        let mut policy = Node::object([
            ("permissions", Node::from_iter([any])),
            ("principals", Node::from_iter([Node::object([("filter_state", state)])])),
        ]);
        if self.reads_routes() {
            policy.put("condition", route_check(filter_name));
        }
        Node::object([("action", "ALLOW".into()), ("policies", Node::object([("decided-by-the-filter", policy)]))])
    }
}

/// A rule of `header_to_metadata` that takes over what the filter hands it for this key.
fn hand_off_rule(key: &str, namespace: &str) -> Node {
    let present = Node::object([
        ("metadata_namespace", namespace.into()),
        ("key", key.into()),
        ("type", "PROTOBUF_VALUE".into()),
        ("encode", "BASE64".into()),
    ]);
    let header = format!("x-oidc-metadata-{}", key.to_ascii_lowercase());
    Node::object([("header", header.into()), ("on_header_present", present), ("remove", true.into())])
}

/// CEL, parsed: `filter_state["wasm.<name>.route"] == xds.route_name`.
fn route_check(filter_name: &str) -> Node {
    let key = Node::object([("string_value", format!("wasm.{filter_name}.route").into())]);
    let decided = call("_[_]", [identifier("filter_state"), Node::object([("const_expr", key)])]);
    let select = Node::object([("operand", identifier("xds")), ("field", "route_name".into())]);
    call("_==_", [decided, Node::object([("select_expr", select)])])
}

/// A name in parsed CEL.
fn identifier(name: &str) -> Node {
    Node::object([("ident_expr", Node::object([("name", name.into())]))])
}

/// A call of an operator in parsed CEL.
fn call(operator: &str, operands: [Node; 2]) -> Node {
    let call = Node::object([("function", operator.into()), ("args", Node::from_iter(operands))]);
    Node::object([("call_expr", call)])
}

/// A manifest of Kubernetes.
fn manifest(version: &str, kind: &str, name: &str, namespace: &str, spec: Node) -> Node {
    Node::object([
        ("apiVersion", version.into()),
        ("kind", kind.into()),
        ("metadata", Node::object([("name", name.into()), ("namespace", namespace.into())])),
        ("spec", spec),
    ])
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_tls { "https" } else { "http" };
        match self.address() {
            Some(IpAddr::V6(address)) => write!(f, "{scheme}://[{address}]:{}", self.port),
            _ => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl Reach {
    /// The host, if it is an address: then it has no name to ask for.
    fn address(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The cluster, with the check of the certificate.
    fn to_cluster(&self, trusted_ca: Option<&str>) -> Node {
        let is_address = self.address().is_some();
        let address =
            Node::object([("address", self.host.as_str().into()), ("port_value", i64::from(self.port).into())]);
        let endpoint =
            Node::object([("endpoint", Node::object([("address", Node::object([("socket_address", address)]))]))]);
        let endpoints = Node::object([("lb_endpoints", Node::from_iter([endpoint]))]);
        let mut cluster = Node::object([
            ("name", self.cluster.as_str().into()),
            ("type", if is_address { "STATIC" } else { "STRICT_DNS" }.into()),
            ("connect_timeout", "5s".into()),
            (
                "load_assignment",
                Node::object([
                    ("cluster_name", self.cluster.as_str().into()),
                    ("endpoints", Node::from_iter([endpoints])),
                ]),
            ),
        ]);
        if self.is_tls {
            let name = Node::object([
                ("san_type", if is_address { "IP_ADDRESS" } else { "DNS" }.into()),
                ("matcher", Node::object([("exact", self.host.as_str().into())])),
            ]);
            let validation = Node::object([
                ("trusted_ca", Node::object([("filename", trusted_ca.unwrap_or(CERTIFICATES).into())])),
                ("match_typed_subject_alt_names", Node::from_iter([name])),
            ]);
            let kind = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";
            let mut context = Node::object([("@type", kind.into())]);
            // An address is no name (RFC 6066, section 3).
            if !is_address {
                context.put("sni", self.host.as_str());
            }
            context.put("common_tls_context", Node::object([("validation_context", validation)]));
            let socket = Node::object([("name", "envoy.transport_sockets.tls".into()), ("typed_config", context)]);
            cluster.put("transport_socket", socket);
        }
        cluster
    }
}

/// Where Debian, Ubuntu and Envoy's own image have them.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// The labels of the filter's metrics, which stand in their names.
const TAGS: [&str; 8] = ["result", "reason", "provider", "kind", "alg", "backend", "endpoint", "filter"];

/// One document behind the other.
fn documents(documents: &[(String, Node)]) -> String {
    let documents = documents.iter().map(|(comment, node)| {
        let comment: String = comment.lines().map(|line| format!("{}\n", format!("# {line}").trim_end())).collect();
        format!("{comment}{}", emit::block(node, 0))
    });
    documents.collect::<Vec<_>>().join("---\n")
}
