//! What Envoy tells of a request, its route, and its response.
//!
//! The invariant: what can't be read is not taken for absent.

use super::abi::{self, Buffer, Failed, HeaderMap};
use super::wire;
use crate::filter::Filter;
use crate::http::{MAX_ANSWER_BYTES, McpMetadata, Response, Route};

/// The answer that is at hand now.
pub(super) fn response(body_size: usize) -> Response {
    let headers = abi::pairs(HeaderMap::CallResponseHeaders).and_then(wire::headers).unwrap_or_default();
    let status = headers.first(":status").and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    let most = body_size.min(MAX_ANSWER_BYTES.saturating_add(1));
    let body = if most == 0 { None } else { abi::buffer(Buffer::CallResponseBody, most) };
    Response { status: status.unwrap_or(0), headers, body: body.unwrap_or_default() }
}

/// A string in dynamic metadata. What can't be read is not absent: it is a value that no token looks like.
pub(super) fn metadata(namespace: &str, key: &str) -> Option<Vec<u8>> {
    abi::property(&["metadata", "filter_metadata", namespace, key]).unwrap_or_else(|Failed| Some(Vec::new()))
}

/// What Envoy's own filter for MCP has read in the body. What can't be read is not absent: it is a name that fits nothing.
pub(super) fn mcp() -> Option<McpMetadata> {
    let is_mcp = matches!(mcp_value(&["is_mcp_request"]), Ok(Some(value)) if value == [1]);
    is_mcp.then(|| McpMetadata {
        method: mcp_text(&["method"]),
        name: mcp_text(&["params", "name"]),
        uri: mcp_text(&["params", "uri"]),
    })
}

fn mcp_value(path: &[&str]) -> Result<Option<Vec<u8>>, Failed> {
    abi::property(&[&["metadata", "filter_metadata", MCP_NAMESPACE], path].concat())
}

fn mcp_text(path: &[&str]) -> Option<Box<str>> {
    match mcp_value(path) {
        Ok(value) => value.map(|value| String::from_utf8(value).unwrap_or_default().into_boxed_str()),
        Err(Failed) => Some(Box::default()),
    }
}

/// The SHA-256 of the client's certificate on this connection, which nobody but Envoy can say. One that can't be read is none.
pub(super) fn certificate() -> Option<Vec<u8>> {
    abi::property(&["connection", "sha256_peer_certificate_digest"]).ok().flatten()
}

/// What the rules look at of the route that Envoy has chosen, under the names of this Envoy or of older ones. What
/// can't be read is not absent: it is a name that no rule has.
pub(super) fn route(filter: &Filter) -> Route {
    let namespace = filter.rule_namespace();
    Route {
        name: if filter.reads_routes() { route_value(&["route_name"]) } else { None },
        rule: namespace.and_then(|name| route_value(&["route_metadata", "filter_metadata", name, "rule"])),
    }
}

fn route_value(path: &[&str]) -> Option<Vec<u8>> {
    match abi::property(&[&["xds"], path].concat()) {
        Ok(None) => abi::property(path).unwrap_or_else(|Failed| Some(Vec::new())),
        Ok(value) => value,
        Err(Failed) => Some(Vec::new()),
    }
}

/// Whether Envoy's own RBAC has answered, behind this filter.
pub(super) fn is_refused_by_rbac() -> bool {
    matches!(abi::property(&["response", "code_details"]), Ok(Some(details)) if details.starts_with(b"rbac_access_denied"))
}

/// Whether a request that nothing was decided for, or that was lost, is answered as if all were well.
pub(super) fn is_success() -> bool {
    let response = abi::pairs(HeaderMap::ResponseHeaders).and_then(wire::headers);
    response.is_none_or(|response| response.first(":status").is_none_or(|status| status.starts_with(b"2")))
}

/// Where `envoy.filters.http.mcp` leaves what it has read.
const MCP_NAMESPACE: &str = "envoy.filters.http.mcp";
