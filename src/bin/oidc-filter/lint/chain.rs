//! What stands before and behind the filter: hand-offs, and filters in an order that defeats it.

use super::Report;
use crate::report::Level;
use crate::site::{self, Site, SiteKind};
use crate::yaml::{Key, Node};
use oidc_filter::config::{Config, Rule, TokenLocation};
use oidc_filter::http::names::Placement;

/// The filters around this one.
pub struct Chain<'n> {
    before: Vec<Entry<'n>>,
    pub behind: Vec<Entry<'n>>,
    /// Whether they stand in this order. What patches bring, a mesh puts somewhere behind.
    pub is_ordered: bool,
}

/// A filter in a chain.
#[derive(Clone, Copy)]
pub struct Entry<'n> {
    /// The file of the patch that brings it; nothing for what stands in the chain itself.
    pub file: Option<&'n str>,
    pub node: &'n Node,
    /// Whether a patch puts it before all others.
    is_first: bool,
}

impl<'n> Chain<'n> {
    /// Of manifests, what patches beside them bring.
    pub fn of(site: &Site<'n>, patches: &[Entry<'n>]) -> Option<Self> {
        let entry = |node| Entry { file: None, node, is_first: false };
        if let Some((manager, index)) = site.chain {
            let filters = manager.get("http_filters")?.list();
            let before = filters.get(..index)?.iter().map(entry).collect();
            let behind = filters.get(index.saturating_add(1)..)?.iter().map(entry).collect();
            return Some(Self { before, behind, is_ordered: true });
        }
        let is_patched = match site.kind {
            SiteKind::WasmPlugin | SiteKind::TrafficExtension | SiteKind::EnvoyExtensionPolicy => true,
            SiteKind::Envoy => site.resource.word("kind") == Some("EnvoyFilter"),
            SiteKind::Bare => false,
        };
        // Where this filter is a patch itself, which of them comes first can't be told.
        let is_patch = site.kind == SiteKind::Envoy;
        let (before, behind) = patches.iter().copied().partition(|patch| patch.is_first && !is_patch);
        is_patched.then_some(Self { before, behind, is_ordered: false })
    }

    /// Whether another Wasm filter is there, whose marks these may be.
    pub fn has_another(&self) -> bool {
        self.before.iter().chain(&self.behind).any(|filter| filter.kind().starts_with("wasm."))
    }
}

impl<'n> Entry<'n> {
    /// The type of a filter, without its package: `rbac.v3.RBAC`. A filter that is discovered says it of what may come.
    pub fn kind(self) -> &'n str {
        let typed = self.node.get("typed_config");
        let packed = typed.and_then(|typed| typed.word("type_url").or_else(|| typed.word("@type")));
        let discovered =
            self.node.at(&["config_discovery", "type_urls"]).and_then(|names| names.list().first()?.text());
        let name = packed.or(discovered).unwrap_or_default();
        name.rsplit_once("extensions.filters.http.").map_or("", |(_, rest)| rest)
    }

    /// What it is configured with, also as a TypedStruct.
    pub fn settings(self) -> Option<&'n Node> {
        let typed = self.node.get("typed_config")?;
        if typed.get("type_url").is_some() { typed.get("value") } else { Some(typed) }
    }

    /// Whether it is in the chain, and not only for routes that ask for it.
    pub fn is_on(self) -> bool {
        !self.node.get("disabled").is_some_and(Node::is_true)
    }

    /// The rules by which `header_to_metadata` takes over headers of requests.
    fn request_rules(self) -> &'n [Node] {
        let is_it = self.is_on() && self.kind().starts_with("header_to_metadata.");
        self.settings().filter(|_| is_it).map_or(&[], |settings| settings.elements("request_rules"))
    }
}

/// The filters that EnvoyFilters of Istio and EnvoyPatchPolicies of Envoy Gateway bring.
pub fn patches<'n>(documents: &[(&'n str, &'n Node)]) -> Vec<Entry<'n>> {
    let mut found = Vec::new();
    for &(file, document) in documents {
        let (list, value): (&[&str], &[&str]) = match document.word("kind") {
            Some("EnvoyFilter") => (&["spec", "config_patches"], &["patch", "value"]),
            Some("EnvoyPatchPolicy") => (&["spec", "json_patches"], &["operation", "value"]),
            _ => continue,
        };
        for patch in document.at(list).map_or(&[][..], Node::list) {
            let is_first = patch.at(&["patch", "operation"]).and_then(Node::text) == Some("INSERT_FIRST");
            let entry = patch.at(value).map(|node| Entry { file: Some(file), node, is_first });
            found.extend(entry.filter(|entry| !entry.kind().is_empty()));
        }
    }
    found
}

/// Answers of RDS.
pub fn routes<'n>(documents: &[(&'n str, &'n Node)]) -> Vec<Entry<'n>> {
    let mut found = Vec::new();
    for &(file, document) in documents {
        for node in document.elements("resources") {
            if node.word("@type").is_some_and(|name| name.ends_with(".route.v3.RouteConfiguration")) {
                found.push(Entry { file: Some(file), node, is_first: false });
            }
        }
    }
    found
}

/// What routes say of a filter by its name.
pub fn per_route<'n>(site: &Site<'n>, routes: &[Entry<'n>], filter: &str) -> Vec<(Option<&'n str>, &'n Key, &'n Node)> {
    in_routes(site, routes, "typed_per_filter_config", filter)
}

/// The members of this name of objects of that name, here and in the answers of RDS that this chain asks for; with the file of the latter.
fn in_routes<'n>(
    site: &Site<'n>,
    routes: &[Entry<'n>],
    object: &str,
    name: &str,
) -> Vec<(Option<&'n str>, &'n Key, &'n Node)> {
    let Some((manager, _)) = site.chain else { return Vec::new() };
    let asked = manager.at(&["rds", "route_config_name"]).and_then(Node::text);
    let answers = routes.iter().copied().filter(|answer| asked.is_some() && answer.node.word("name") == asked);
    let mut found = Vec::new();
    for place in std::iter::once(Entry { file: None, node: manager, is_first: false }).chain(answers) {
        place.node.walk(&mut |node| {
            let said = node.get(object).and_then(|object| object.entry(name));
            found.extend(said.map(|(key, node)| (place.file, key, node)));
        });
    }
    found
}

pub fn check<'n>(site: &Site<'n>, chain: &Chain<'n>, routes: &[Entry<'n>], config: &Config, report: &mut Report<'_>) {
    order(chain, config, report);
    hand_off(site, chain, config, report);
    disabled(site, routes, report);
    stale_route(chain, config, report);
    upgrade_filters(site, report);
    post_tunnel(site, routes, report);
    shared_name(site, chain, report);
}

/// Rules by routes are for the route that Envoy had chosen when somebody last asked.
fn stale_route(chain: &Chain<'_>, config: &Config, report: &mut Report<'_>) {
    let Some(filter) = chain.before.last().filter(|filter| chain.is_ordered && filter.is_on()) else { return };
    let kind = filter.kind().split('.').next().unwrap_or_default();
    if REROUTING.contains(&kind) && config.rules.iter().any(Rule::reads_route) {
        let text = format!(
            "rules look at routes, and {kind} right before the filter may make Envoy choose another one, of which Envoy tells the filter \
             nothing before somebody has asked for it; put cors or an rbac without rules in between"
        );
        report.warn_around(filter.node.place, "stale_route", "http_filters", text);
    }
}

/// Upgrades may have a chain of filters of their own, which takes the place of the one for requests.
fn upgrade_filters(site: &Site<'_>, report: &mut Report<'_>) {
    let Some((manager, _)) = site.chain else { return };
    let is_ours = |node| Entry { file: None, node, is_first: false }.kind().starts_with("wasm.");
    for upgrade in manager.elements("upgrade_configs") {
        let Some((key, filters)) = upgrade.entry("filters").filter(|(_, filters)| !filters.is_empty()) else {
            continue;
        };
        if !filters.list().iter().any(is_ours) {
            let text = "takes the place of http_filters for this upgrade, and the filter is not in it: a handshake needs no token, and brings \
                        the identity that its client has written; leave it out";
            report.warn_around(key.place, "upgrade_filters", "upgrade_configs.filters", text);
        }
    }
}

/// What looks like any other request to the filter, and is a tunnel.
fn post_tunnel<'n>(site: &Site<'n>, routes: &[Entry<'n>], report: &mut Report<'_>) {
    for (file, key, _) in
        in_routes(site, routes, "connect_config", "allow_post").iter().filter(|found| found.2.is_true())
    {
        let text = "the body of a POST goes to the service as it is, past the rules and with any identity in it: for the filter, this tunnel \
                    is a request like any other; leave it out";
        report.warn_at(*file, key.place, "post_tunnel", "connect_config.allow_post", text);
    }
}

/// Two filters of one name write the same marks, of which the last one remains.
fn shared_name(site: &Site<'_>, chain: &Chain<'_>, report: &mut Report<'_>) {
    let name = site.filter_name();
    let mut before = chain.before.iter().flat_map(|filter| site::sites(filter.node));
    if before.any(|other| other.filter_name() == name) {
        let place = site.plugin.entry("name").map_or(site.plugin.place, |(key, _)| key.place);
        let text = format!(
            "another filter of this chain is called {name}, too: of two that share a name only the marks of the last one remain; give each \
             a `name` of its own"
        );
        report.add(place, Level::Warning, "shared_name", "config.name", text);
    }
}

/// Filters whose place decides whether they, or this one, are worth anything.
fn order(chain: &Chain<'_>, config: &Config, report: &mut Report<'_>) {
    for filter in chain.behind.iter().filter(|_| chain.is_ordered) {
        if filter.kind().starts_with("cors.") && config.cors.is_none() {
            let text = "Envoy's cors stands behind the filter: preflights need a token, which no browser sends with them, and pages \
                        can't read refusals; put it before, or say `cors` in the filter's own configuration";
            report.warn_around(filter.node.place, "cors_behind", "http_filters", text);
        }
        if filter.kind().starts_with("oauth2.") {
            let text = "Envoy's oauth2 stands behind the filter: whoever has not logged in is refused before it can send them to the \
                        provider; put it before, with forward_bearer_token: true";
            report.warn_around(filter.node.place, "oauth2_behind", "http_filters", text);
        }
        if is_cache(filter.kind()) && hides_users(config) {
            let text = "the cache stands behind the filter, and requests get to it without a token in `Authorization`: it takes them for \
                        anybody's, and gives one user what the service has answered to another; leave it out, or let the service say \
                        `Cache-Control: private`";
            report.warn_around(filter.node.place, "cache_behind", "http_filters", text);
        }
    }
    for filter in &chain.before {
        let text = match filter.kind() {
            name if name.starts_with("ext_authz.") => {
                "ext_authz stands before the filter: its service sees what the client has sent, also under the names that the \
                 filter writes, and no verified identity; put it behind"
            }
            name if name.starts_with("ext_proc.") => {
                "ext_proc stands before the filter: its service sees what the client has sent, also under the names that the \
                 filter writes, and no verified identity; put it behind"
            }
            name if name.starts_with("jwt_authn.") => {
                "jwt_authn stands before the filter: it answers for tokens that this filter would judge otherwise, and may take \
                 them off the request; leave one of the two out, or put it behind"
            }
            name if name.starts_with("rbac.") => {
                "rbac stands before the filter: it decides by headers and metadata that the client can send; put it behind"
            }
            name if is_cache(name) => {
                "the cache stands before the filter: whatever it may keep, it asks the service for itself, past all filters behind it, \
                 without a token and with any identity that the client has written; leave it out (docs/beside.md)"
            }
            name if name.starts_with("credential_injector.") => {
                "credential_injector stands before the filter: what it injects is judged in place of what the client has sent; \
                 put it behind"
            }
            name if name.starts_with("router.") => {
                "the router stands before the filter, which then sees no request; put it last"
            }
            _ if takes_over(*filter, config) => {
                "header_to_metadata stands before the filter: what it takes over is what the client has sent, and stands as \
                 metadata before anybody was proved; put it right behind"
            }
            _ => continue,
        };
        report.warn_at(filter.file, filter.node.place, "order", "http_filters", text);
    }
}

fn is_cache(kind: &str) -> bool {
    kind.starts_with("cache.") || kind.starts_with("cache_v2.")
}

/// Whether a user's request may go on without the one header by which caches know that it is a user's (RFC 9111, section 3.5).
fn hides_users(config: &Config) -> bool {
    let mut elsewhere = config
        .sources
        .iter()
        .filter(|source| !matches!(&source.location, TokenLocation::Header { name, .. } if &**name == "authorization"));
    elsewhere.next().is_some() || config.policies().any(|policy| !policy.forward && !policy.bypass)
}

/// Whether `header_to_metadata` takes over a header that only the filter may write.
fn takes_over(filter: Entry<'_>, config: &Config) -> bool {
    filter.request_rules().iter().filter_map(|rule| rule.word("header")).any(|name| {
        config.policies().any(|policy| {
            let outputs = policy.user_info.iter();
            outputs
                .filter(|output| output.placement == Placement::Header)
                .any(|output| output.key.eq_ignore_ascii_case(name))
                || policy.user_info.iter().any(|output| output.handoff_header().eq_ignore_ascii_case(name))
                || policy.claim_headers.iter().any(|output| output.header.eq_ignore_ascii_case(name))
        })
    })
}

/// What the filter hands over for metadata, Envoy's `header_to_metadata` has to take.
fn hand_off(site: &Site<'_>, chain: &Chain<'_>, config: &Config, report: &mut Report<'_>) {
    let mut told: Vec<String> = Vec::new();
    for (base, policy) in config.policies_with_paths() {
        for (index, output) in policy.user_info.iter().enumerate() {
            let header = output.handoff_header();
            if output.placement != Placement::Metadata || told.contains(&header) {
                continue;
            }
            told.push(header.clone());
            let path = format!("{base}user_info[{index}]");
            let namespace = output.metadata_namespace.clone().or_else(|| site.known_name());
            let rules = chain.behind.iter().enumerate().flat_map(|(position, filter)| {
                filter.request_rules().iter().map(move |rule| (position, filter.file, rule))
            });
            let mut taking =
                rules.filter(|(.., rule)| rule.word("header").is_some_and(|name| name.eq_ignore_ascii_case(&header)));
            let Some((position, file, rule)) = taking.next() else {
                let by = match (chain.is_ordered, site.kind) {
                    (true, _) => "",
                    (_, SiteKind::EnvoyExtensionPolicy) => ", by an EnvoyPatchPolicy in these files",
                    _ => ", by an EnvoyFilter in these files",
                };
                let text = format!(
                    "nothing takes over {header}: put Envoy's header_to_metadata right behind the filter{by}, with a rule for this header; \
                     without it there is no metadata, and the header goes on to the service"
                );
                report.add(site.place(&path), Level::Warning, "hand_off_missing", &path, text);
                continue;
            };
            let problems = faults_of(rule, namespace.as_deref(), &output.key);
            if !problems.is_empty() {
                let text = format!("the rule for {header} is not what the filter hands over: {}", problems.join("; "));
                report.warn_at(file, rule.place, "hand_off_wrong", "request_rules", text);
            }
            // What stands between sees a header in place of metadata.
            if position > 0 && chain.is_ordered {
                let text = format!(
                    "header_to_metadata, which takes over {header}, must come next behind the filter: what stands between can read no metadata"
                );
                report.warn_around(rule.place, "hand_off_late", "http_filters", text);
            }
        }
    }
}

fn faults_of(rule: &Node, namespace: Option<&str>, key: &str) -> Vec<String> {
    let Some(present) = rule.get("on_header_present") else { return vec!["it needs `on_header_present`".to_owned()] };
    let mut problems = Vec::new();
    for (field, wanted) in [("metadata_namespace", namespace), ("key", Some(key))] {
        if let Some(wanted) = wanted.filter(|wanted| present.word(field) != Some(wanted)) {
            problems.push(format!("write `{field}: {wanted}`"));
        }
    }
    // Protobuf's JSON takes the number of a word, too.
    for (field, wanted, number) in [("type", "PROTOBUF_VALUE", 2), ("encode", "BASE64", 1)] {
        if !present.get(field).is_some_and(|node| node.is_value(wanted, number)) {
            problems.push(format!("write `{field}: {wanted}`"));
        }
    }
    for field in ["value", "regex_value_rewrite"] {
        if present.get(field).is_some() {
            problems.push(format!("leave `{field}` out, which stands in place of what is handed over"));
        }
    }
    if !rule.get("remove").is_some_and(Node::is_true) {
        problems.push("write `remove: true`, or the service gets the header".to_owned());
    }
    problems
}

/// Whether paths reach the filter as they were sent, as a verify endpoint needs them.
pub fn leaves_paths(site: &Site<'_>) -> bool {
    let Some((manager, _)) = site.chain else { return false };
    manager.get("normalize_path").is_some_and(Node::is_false)
        && manager.get("merge_slashes").is_none_or(Node::is_false)
        && manager.word("path_with_escaped_slashes_action") == Some("KEEP_UNCHANGED")
}

/// A route that takes the filter off lets clients write the identity.
fn disabled<'n>(site: &Site<'n>, routes: &[Entry<'n>], report: &mut Report<'_>) {
    let Some((manager, index)) = site.chain else { return };
    let Some(entry) = manager.get("http_filters").and_then(|filters| filters.list().get(index)) else { return };
    let Some(name) = entry.word("name") else { return };
    if let Some((key, _)) = entry.entry("disabled").filter(|(_, node)| node.is_true()) {
        let text = "the filter is off unless a route turns it on: on all others a client writes its own identity; leave this out, and \
                    write a rule with `bypass` for what needs no token";
        report.warn_around(key.place, "disabled", "http_filters.disabled", text);
    }
    if let Some((key, _)) = entry.entry("is_optional").filter(|(_, node)| node.is_true()) {
        let text = "an Envoy that knows no Wasm leaves the filter out and takes the rest: everybody would be let in, with identities of their \
                    own making; leave this out";
        report.warn_around(key.place, "fail_open", "http_filters.is_optional", text);
    }
    if let Some((key, _)) = entry.get("typed_config").and_then(matcher) {
        report.warn_around(key.place, "disabled", "http_filters.xds_matcher", MATCHED);
    }
    for (file, key, node) in per_route(site, routes, name) {
        if matcher(node).is_some() {
            report.warn_at(file, key.place, "disabled", "typed_per_filter_config", MATCHED);
        }
        if node.get("disabled").is_some_and(Node::is_true) {
            let text = "takes the filter off this route: then a client writes its own identity; write a rule with `bypass` instead, which \
                        needs no token either";
            report.warn_at(file, key.place, "disabled", "typed_per_filter_config", text);
        }
    }
}

/// What says for which requests Envoy runs a filter, in an ExtensionWithMatcher.
fn matcher(node: &Node) -> Option<(&Key, &Node)> {
    node.entry("xds_matcher").or_else(|| node.entry("matcher"))
}

const MATCHED: &str = "says for which requests the filter runs: the others need no token, and a client writes its own identity in them; \
                       leave it out, and write rules";

/// Filters that change headers by which routes are found, and then have Envoy choose anew.
const REROUTING: [&str; 6] = ["dynamic_modules", "ext_proc", "golang", "lua", "transform", "wasm"];
