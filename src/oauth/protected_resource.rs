//! RFC 9728: what a client that has no token yet must know to get one: the metadata of a protected resource.
//!
//! The invariant: the document says what the filter holds requests to. Issuers and scopes come from the same configuration, so
//! that a scope which an operation needs is never missing, and `resource` is the identifier from which the location was built
//! (section 3.3).

use crate::config::{AUTHORIZATION_SERVER, Config, Dpop, Mcp, OFFLINE_ACCESS, Policy, TokenLocation, WELL_KNOWN};
use crate::http::{Document, path};
use crate::json::{Object, Value};
use crate::ordered;
use std::time::Duration;

/// A protected resource, as its clients find it.
#[derive(Debug)]
pub struct ProtectedResource {
    authority: String,
    /// Where the document is, behind the string that all such places begin with, and without a slash at the end.
    locations: Vec<Vec<u8>>,
    /// The document.
    pub document: Document,
    /// The provider, by its place in the configuration, whose own metadata are served beside it.
    pub authorization_server: Option<usize>,
}

/// What a path is the place of.
#[derive(Clone, Copy, Debug)]
pub enum WellKnown<'r> {
    /// The resource itself.
    Resource(&'r ProtectedResource),
    /// The provider at this place of the configuration.
    AuthorizationServer(usize),
}

/// Every resource that the configuration names, each once.
pub fn all(config: &Config) -> Vec<ProtectedResource> {
    let mut resources: Vec<(&Mcp, Vec<&Policy>)> = Vec::new();
    for policy in config.policies() {
        let Some(mcp) = &policy.mcp else { continue };
        match resources.iter_mut().find(|(other, _)| other.resource == mcp.resource) {
            Some((_, policies)) => policies.push(policy),
            None => resources.push((mcp, vec![policy])),
        }
    }
    let counted: Vec<&str> = resources.iter().map(|(mcp, _)| mcp.resource.authority()).collect();
    let described = resources.iter().map(|(mcp, policies)| {
        let authority = mcp.resource.authority();
        let is_only_one = counted.iter().filter(|other| **other == authority).count() == 1;
        ProtectedResource {
            authority: authority.to_owned(),
            locations: locations(mcp, is_only_one),
            authorization_server: policies.iter().find_map(|policy| policy.published_provider(config.providers.len())),
            document: Document::new(
                "application/json",
                document(config, mcp, policies).to_string().into_bytes(),
                MAX_AGE,
            ),
        }
    });
    described.collect()
}

/// Whose metadata are at this path of this host.
pub fn at<'r>(resources: &'r [ProtectedResource], path: &[u8], authority: &[u8]) -> Option<WellKnown<'r>> {
    let path = path.strip_suffix(b"/").unwrap_or(path);
    if let Some(place) = path.strip_prefix(WELL_KNOWN.as_bytes()) {
        return resource_at(resources, place, authority).map(WellKnown::Resource);
    }
    // Where clients of 2025-03-26 look for them, and those that know no protected resources.
    let place = path.strip_prefix(AUTHORIZATION_SERVER.as_bytes())?;
    resource_at(resources, place, authority)?.authorization_server.map(WellKnown::AuthorizationServer)
}

fn resource_at<'r>(resources: &'r [ProtectedResource], path: &[u8], authority: &[u8]) -> Option<&'r ProtectedResource> {
    if resources.iter().any(|resource| resource.is_at(authority)) {
        return resources.iter().find(|resource| resource.is_at(authority) && resource.has_place(path));
    }
    // A proxy before this one may have changed the host: where the path says it all, it counts for nothing.
    let mut here = resources.iter().filter(|resource| resource.has_place(path));
    here.next().filter(|_| here.next().is_none())
}

impl ProtectedResource {
    fn has_place(&self, path: &[u8]) -> bool {
        self.locations.iter().any(|place| place == path)
    }

    fn is_at(&self, authority: &[u8]) -> bool {
        // A client may write the port of its scheme, too.
        let host = [&b":443"[..], b":80"].iter().find_map(|port| authority.strip_suffix(*port)).unwrap_or(authority);
        [authority, host].iter().any(|host| host.eq_ignore_ascii_case(self.authority.as_bytes()))
    }
}

/// The string before the path of the resource, and before the path that the endpoint has here; and alone, for the only resource
/// of a host (section 3.1; MCP, "Protected Resource Metadata Discovery Requirements").
fn locations(mcp: &Mcp, is_only_one: bool) -> Vec<Vec<u8>> {
    // As the paths of requests are read.
    let inserted = path::canonical(mcp.resource.path().trim_end_matches('/'));
    let mut locations: Vec<Vec<u8>> = inserted.into_iter().chain(mcp.path.as_deref().map(<[u8]>::to_vec)).collect();
    if is_only_one || mcp.resource.path().is_empty() {
        locations.push(Vec::new());
    }
    locations
}

/// Section 2. Members without a value are left out (section 3.2).
fn document(config: &Config, first: &Mcp, policies: &[&Policy]) -> Value {
    let mut document = Object::new();
    let mcps: Vec<&Mcp> = policies.iter().filter_map(|policy| policy.mcp.as_deref()).collect();
    document.insert("resource".to_owned(), first.resource.as_str().into());
    for (name, text) in &first.description {
        document.insert((*name).to_owned(), text.as_str().into());
    }
    let configured = mcps.iter().flat_map(|mcp| &mcp.authorization_servers).map(String::as_str);
    let mut servers = each_once(configured);
    if servers.is_empty() {
        let trusted = policies.iter().flat_map(|policy| policy.trusted_of(&config.providers));
        servers = each_once(trusted.map(|provider| provider.issuer.as_str()));
    }
    let supported: Vec<&str> =
        mcps.iter().filter_map(|mcp| mcp.scopes_supported.as_ref()).flatten().map(String::as_str).collect();
    let demanded = policies.iter().flat_map(|policy| policy.require.all_scopes());
    let demanded = demanded.chain(mcps.iter().flat_map(|mcp| mcp.scopes()));
    let scopes = if supported.is_empty() { each_once(demanded) } else { each_once(supported.into_iter()) };
    let scopes: Vec<&str> = scopes.into_iter().filter(|scope| *scope != OFFLINE_ACCESS).collect();
    let in_header = config.sources.iter().any(|source| matches!(source.location, TokenLocation::Header { .. }));
    let methods = if in_header { vec!["header"] } else { Vec::new() };
    for (name, list) in
        [("authorization_servers", servers), ("scopes_supported", scopes), ("bearer_methods_supported", methods)]
    {
        if !list.is_empty() {
            document.insert(name.to_owned(), list.into());
        }
    }
    for (name, value) in bindings(policies) {
        document.insert(name.to_owned(), value);
    }
    Value::Object(document)
}

/// How tokens may be bound, or must be. An algorithm is told if a proof that is made with it is good for the whole resource, and
/// a need if nothing of it can be had otherwise.
fn bindings(policies: &[&Policy]) -> Vec<(&'static str, Value)> {
    let accepted: Vec<&Dpop> =
        policies.iter().filter(|policy| policy.takes_dpop()).filter_map(|policy| policy.dpop.as_deref()).collect();
    let of_one = accepted.first().into_iter().flat_map(|dpop| dpop.algorithms.iter());
    let of_all = of_one.filter(|algorithm| accepted.iter().all(|dpop| dpop.algorithms.contains(algorithm)));
    let algorithms: Vec<&str> = of_all.map(|algorithm| algorithm.name()).collect();
    let mut members = Vec::new();
    if !algorithms.is_empty() {
        members.push(("dpop_signing_alg_values_supported", algorithms.into()));
    }
    let mut judged = policies.iter().filter(|policy| !policy.bypass).peekable();
    if judged.peek().is_some() && judged.all(|policy| policy.needs_dpop()) {
        members.push(("dpop_bound_access_tokens_required", true.into()));
    }
    if policies.iter().any(|policy| policy.takes_certificates()) {
        members.push(("tls_client_certificate_bound_access_tokens", true.into()));
    }
    members
}

fn each_once<'t>(texts: impl Iterator<Item = &'t str>) -> Vec<&'t str> {
    let mut seen = Vec::new();
    texts.filter(|text| ordered::insert(&mut seen, *text)).collect()
}

/// How long clients may keep it: a configuration that asks for another scope reaches them within minutes.
const MAX_AGE: Duration = Duration::from_secs(300);
