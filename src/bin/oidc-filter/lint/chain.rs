//! What stands before and behind the filter: hand-offs, safety nets, and filters in an order that defeats it.

use super::Report;
use crate::report::Level;
use crate::site::Site;
use crate::yaml::Node;
use oidc_filter::config::Config;
use oidc_filter::http::names::Placement;

/// The filters around this one.
struct Chain<'n> {
    before: &'n [Node],
    behind: &'n [Node],
}

impl<'n> Chain<'n> {
    fn of(site: &Site<'n>) -> Option<Self> {
        let (manager, index) = site.chain?;
        let filters = manager.get("http_filters")?.list();
        Some(Self { before: filters.get(..index)?, behind: filters.get(index.saturating_add(1)..)? })
    }
}

/// The type of a filter, without its package: `RBAC`, `Cors`.
fn type_of(filter: &Node) -> &str {
    let name = filter.at(&["typed_config", "@type"]).and_then(Node::text).unwrap_or_default();
    name.rsplit_once("extensions.filters.http.").map_or("", |(_, rest)| rest)
}

pub fn check(site: &Site<'_>, config: &Config, report: &mut Report<'_>) {
    let Some(chain) = Chain::of(site) else { return };
    order(&chain, config, report);
    hand_off(site, &chain, config, report);
    safety_net(site, &chain, config, report);
    disabled(site, report);
}

/// Filters whose place decides whether they, or this one, are worth anything.
fn order(chain: &Chain<'_>, config: &Config, report: &mut Report<'_>) {
    for filter in chain.behind {
        if type_of(filter).starts_with("cors.") && config.cors.is_none() {
            let text = "Envoy's cors stands behind the filter: preflights need a token, which no browser sends with them, and pages \
                        can't read refusals; put it before, or say `cors` in the filter's own configuration";
            report.warn_around(filter.place, "cors_behind", "http_filters", text);
        }
        if type_of(filter).starts_with("oauth2.") {
            let text = "Envoy's oauth2 stands behind the filter: whoever has not logged in is refused before it can send them to the \
                        provider; put it before, with forward_bearer_token: true";
            report.warn_around(filter.place, "oauth2_behind", "http_filters", text);
        }
    }
    for filter in chain.before {
        let text = match type_of(filter) {
            name if name.starts_with("ext_authz.") => {
                "ext_authz stands before the filter: its service sees what the client has sent, also under the names that the \
                 filter writes, and no verified identity; put it behind"
            }
            name if name.starts_with("jwt_authn.") => {
                "jwt_authn stands before the filter: it answers for tokens that this filter would judge otherwise, and may take \
                 them off the request; leave one of the two out, or put it behind"
            }
            name if name.starts_with("rbac.") => {
                "rbac stands before the filter: it decides by headers and metadata that the client can send; put it behind"
            }
            name if name.starts_with("router.") => {
                "the router stands before the filter, which then sees no request; put it last"
            }
            _ => continue,
        };
        report.warn_around(filter.place, "order", "http_filters", text);
    }
}

/// What the filter hands over for metadata, Envoy's `header_to_metadata` has to take.
fn hand_off(site: &Site<'_>, chain: &Chain<'_>, config: &Config, report: &mut Report<'_>) {
    let mut told: Vec<String> = Vec::new();
    for (base, policy) in super::policies(config) {
        for (index, output) in policy.user_info.iter().enumerate() {
            let header = output.handoff_header();
            if output.placement != Placement::Metadata || told.contains(&header) {
                continue;
            }
            told.push(header.clone());
            let path = format!("{base}user_info[{index}]");
            let namespace = output.metadata_namespace.as_deref().unwrap_or(site.filter_name());
            let rules = chain.behind.iter().enumerate().flat_map(|(position, filter)| {
                let rules = filter.at(&["typed_config", "request_rules"]).map_or(&[][..], Node::list);
                rules.iter().map(move |rule| (position, rule))
            });
            let mut taking =
                rules.filter(|(_, rule)| rule.word("header").is_some_and(|name| name.eq_ignore_ascii_case(&header)));
            let Some((position, rule)) = taking.next() else {
                let text = format!(
                    "nothing takes over {header}: put Envoy's header_to_metadata right behind the filter, with a rule for this header; \
                     without it there is no metadata, and the header goes on to the service"
                );
                report.add(site.place(&path), Level::Warning, "hand_off_missing", &path, text);
                continue;
            };
            let problems = faults_of(rule, namespace, &output.key);
            if !problems.is_empty() {
                let text = format!("the rule for {header} is not what the filter hands over: {}", problems.join("; "));
                report.warn_around(rule.place, "hand_off_wrong", "request_rules", text);
            }
            // What stands between sees a header in place of metadata.
            if position > 0 {
                let text = format!(
                    "header_to_metadata, which takes over {header}, must come next behind the filter: what stands between can read no metadata"
                );
                report.warn_around(rule.place, "hand_off_late", "http_filters", text);
            }
        }
    }
}

fn faults_of(rule: &Node, namespace: &str, key: &str) -> Vec<String> {
    let Some(present) = rule.get("on_header_present") else { return vec!["it needs `on_header_present`".to_owned()] };
    let mut problems = Vec::new();
    for (field, wanted) in
        [("metadata_namespace", namespace), ("key", key), ("type", "PROTOBUF_VALUE"), ("encode", "BASE64")]
    {
        if present.word(field) != Some(wanted) {
            problems.push(format!("write `{field}: {wanted}`"));
        }
    }
    if !rule.get("remove").is_some_and(Node::is_true) {
        problems.push("write `remove: true`, or the service gets the header".to_owned());
    }
    problems
}

/// Envoy may leave a wasm filter out: something behind it must refuse what it has not marked.
fn safety_net(site: &Site<'_>, chain: &Chain<'_>, config: &Config, report: &mut Report<'_>) {
    let name = site.filter_name();
    if !config.marks
        || looks_at(chain.behind, &format!("wasm.{name}.result"))
        || has_route_check(site)
        || leads_nowhere(site)
    {
        return;
    }
    let others: Vec<&str> =
        states(chain.behind).into_iter().filter(|key| key.starts_with("wasm.") && key.ends_with(".result")).collect();
    if let Some(other) = others.first()
        && chain.before.iter().chain(chain.behind).filter(|filter| type_of(filter).starts_with("wasm.")).count() == 0
    {
        let text = format!(
            "the RBAC behind asks for {other}, and this filter marks wasm.{name}.result: every request is refused; the name is that of \
             `config`, not of the entry in http_filters"
        );
        report.add(site.plugin.place, Level::Warning, "safety_net_wrong", "config.name", text);
        return;
    }
    let text = format!(
        "nothing behind the filter refuses what it has not seen: Envoy leaves a wasm filter out when its module fails to load on a \
         worker. Put the RBAC of envoy/safety-net.yaml behind it, which asks for wasm.{name}.result"
    );
    let level = if others.is_empty() { Level::Note } else { Level::Warning };
    report.add(site.plugin.place, level, "no_safety_net", "http_filters", text);
}

/// Whether an RBAC holds requests to the route that was decided on.
pub fn has_route_check(site: &Site<'_>) -> bool {
    Chain::of(site).is_some_and(|chain| looks_at(chain.behind, &format!("wasm.{}.route", site.filter_name())))
}

/// Whether paths reach the filter as they were sent, as a verify endpoint needs them.
pub fn leaves_paths(site: &Site<'_>) -> bool {
    let Some((manager, _)) = site.chain else { return false };
    manager.get("normalize_path").is_some_and(Node::is_false)
        && manager.get("merge_slashes").is_none_or(Node::is_false)
        && manager.word("path_with_escaped_slashes_action") == Some("KEEP_UNCHANGED")
}

/// Whether no route leads to a service: then there is nothing to be kept safe.
fn leads_nowhere(site: &Site<'_>) -> bool {
    let hosts = site.chain.and_then(|(manager, _)| manager.at(&["route_config", "virtual_hosts"]));
    let mut routes =
        hosts.map(Node::list).unwrap_or_default().iter().flat_map(|host| host.elements("routes")).peekable();
    routes.peek().is_some() && routes.all(|route| route.get("direct_response").is_some())
}

fn looks_at(filters: &[Node], key: &str) -> bool {
    states(filters).iter().any(|state| state.contains(key))
}

/// All texts in RBAC filters by which they may name filter state: a key of a matcher, or within a format.
fn states(filters: &[Node]) -> Vec<&str> {
    let mut found = Vec::new();
    for filter in filters.iter().filter(|filter| type_of(filter).starts_with("rbac.")) {
        filter.walk(&mut |node| found.extend(node.text().filter(|text| text.contains("wasm."))));
    }
    found
}

/// A route that takes the filter off lets clients write the identity.
fn disabled(site: &Site<'_>, report: &mut Report<'_>) {
    let Some((manager, index)) = site.chain else { return };
    let Some(entry) = manager.get("http_filters").and_then(|filters| filters.list().get(index)) else { return };
    let Some(name) = entry.word("name") else { return };
    if let Some((key, _)) = entry.entry("disabled").filter(|(_, node)| node.is_true()) {
        let text = "the filter is off unless a route turns it on: on all others a client writes its own identity; leave this out, and \
                    write a rule with `bypass` for what needs no token";
        report.warn_around(key.place, "disabled", "http_filters.disabled", text);
    }
    manager.walk(&mut |node| {
        let Some(per_filter) = node.get("typed_per_filter_config") else { return };
        let Some((key, _)) = per_filter.entry(name).filter(|(_, node)| node.get("disabled").is_some_and(Node::is_true)) else {
            return;
        };
        let text = "takes the filter off this route: then a client writes its own identity; write a rule with `bypass` instead, which \
                    needs no token either";
        report.warn_around(key.place, "disabled", "typed_per_filter_config", text);
    });
}
