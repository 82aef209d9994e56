//! The safety net: something behind the filter that refuses what it has not let through, should Envoy leave the filter out.

use super::Report;
use super::chain::{Chain, Entry, per_route};
use crate::marks;
use crate::report::Level;
use crate::site::Site;
use crate::yaml::{Node, Place};
use oidc_filter::config::Config;
use regex_lite::Regex;

/// What an RBAC makes of the filter's mark.
enum Net {
    /// It refuses what has no mark.
    Holds,
    /// It looks at the mark, and does something else than somebody means.
    Wrong(Place, String),
    /// It does not look at the mark.
    Other,
}

/// Envoy may leave a wasm filter out: something behind it must refuse what it has not marked.
pub fn check<'n>(site: &Site<'n>, chain: &Chain<'n>, routes: &[Entry<'n>], config: &Config, report: &mut Report<'_>) {
    let Some(name) = site.known_name() else { return };
    let mark = format!("wasm.{name}.result");
    let mut holds = has_route_check(site, chain);
    let mut is_told = false;
    for filter in chain.behind.iter().filter(|filter| is_enforced(**filter)) {
        let net = if config.marks { of(*filter, &mark, config) } else { without_marks(*filter, &mark) };
        match net {
            Net::Holds => {
                holds = true;
                taken_off(site, *filter, routes, &mark, report);
            }
            Net::Wrong(place, text) => {
                report.warn_at(filter.file, place, "safety_net_wrong", "rules", text);
                is_told = true;
            }
            Net::Other => {}
        }
    }
    if holds || is_told || !config.marks || leads_nowhere(site) {
        return;
    }
    let others: Vec<&str> = states(&chain.behind)
        .into_iter()
        .filter(|key| key.starts_with("wasm.") && key.ends_with(".result"))
        .filter(|key| *key != mark)
        .collect();
    if let Some(other) = others.first()
        && !chain.has_another()
    {
        let text = format!(
            "the RBAC behind asks for {other}, and this filter marks {mark}: every request is refused; the name is {}",
            if chain.is_ordered {
                "that of `config`, not of the entry in http_filters"
            } else {
                "<namespace>.<name> of the resource"
            }
        );
        report.add(site.plugin.place, Level::Warning, "safety_net_wrong", "config.name", text);
        return;
    }
    // What a mesh puts behind may stand in other files.
    if !chain.is_ordered {
        return;
    }
    let text = format!(
        "nothing behind the filter refuses what it has not seen: Envoy leaves a wasm filter out when its module fails to load on a \
         worker. Put the RBAC of envoy/safety-net.yaml behind it, which asks for {mark}"
    );
    let level = if others.is_empty() { Level::Note } else { Level::Warning };
    report.add(site.plugin.place, level, "no_safety_net", "http_filters", text);
}

/// Routes that take the net off, or put something else in its place.
fn taken_off<'n>(site: &Site<'n>, net: Entry<'n>, routes: &[Entry<'n>], mark: &str, report: &mut Report<'_>) {
    let Some(name) = net.node.word("name") else { return };
    for (file, key, node) in per_route(site, routes, name) {
        let is_replaced =
            node.word("@type").is_some_and(|name| name.ends_with(".RBACPerRoute")) && !mentions(node, mark);
        if is_replaced || node.get("disabled").is_some_and(Node::is_true) {
            let text = "takes the safety net off this route: what the filter has not seen passes here; leave it out, and put rules of the \
                        route's own into another RBAC";
            report.warn_at(file, key.place, "safety_net_wrong", "typed_per_filter_config", text);
        }
    }
}

/// Whether an RBAC holds requests to the route that was decided on.
pub fn has_route_check(site: &Site<'_>, chain: &Chain<'_>) -> bool {
    let Some(name) = site.known_name() else { return false };
    let key = format!("wasm.{name}.route");
    states(&chain.behind).iter().any(|state| state.contains(&key))
}

/// What an RBAC that is enforced makes of the mark.
fn of(filter: Entry<'_>, mark: &str, config: &Config) -> Net {
    let Some(settings) = filter.settings() else { return Net::Other };
    let Some(rules) = settings.get("rules") else {
        // A tree of matchers is not followed.
        return if mentions(settings, mark) { Net::Holds } else { Net::Other };
    };
    let results = marks::that_go_on(config);
    let mut asked = Asked::default();
    for (_, policy) in rules.get("policies").map_or(&[][..], Node::members) {
        asked.gather(policy, mark, false);
    }
    if asked.is_empty() {
        return if mentions(rules, mark) { Net::Holds } else { Net::Other };
    }
    let refused: Vec<&str> = results.iter().copied().filter(|word| !asked.takes(word)).collect();
    let place = asked.place().unwrap_or(rules.place);
    if is_denying(rules) {
        let denied: Vec<&str> = results.iter().copied().filter(|word| asked.takes(word)).collect();
        return match (asked.without.is_empty(), denied.is_empty()) {
            (false, _) => Net::Holds,
            (true, true) => Net::Other,
            (true, false) => Net::Wrong(
                place,
                format!(
                    "this RBAC denies what the filter has let through ({}): write `action: ALLOW`",
                    denied.join(", ")
                ),
            ),
        };
    }
    if asked.with.is_empty() {
        let text = "this RBAC allows whatever has no mark, too, which is all that the filter has not seen: ask for the words that may \
                    go on, without `not_id`";
        return Net::Wrong(place, text.to_owned());
    }
    let open = rules.get("policies").map_or(&[][..], Node::members).iter().find(|(_, policy)| lets_all_through(policy));
    if let Some((key, _)) = open {
        let text = format!(
            "the policy `{}` of this RBAC lets everything through, also what the filter has not seen: one of `principals` is enough, \
             and so is one policy",
            key.name
        );
        return Net::Wrong(key.place, text);
    }
    if refused.is_empty() {
        return Net::Holds;
    }
    let text = format!(
        "this RBAC refuses what the filter lets through as {}, which this configuration can do: let {mark} be {}",
        refused.join(" and "),
        results.join("|")
    );
    Net::Wrong(place, text)
}

/// Without marks, whoever asks for one refuses everything.
fn without_marks(filter: Entry<'_>, mark: &str) -> Net {
    let mut place = None;
    filter.node.walk(&mut |node| place = place.or(node.text().filter(|text| text.contains(mark)).map(|_| node.place)));
    let text = "with `marks: false` the filter leaves no mark, and this RBAC refuses every request: leave `marks` out";
    place.map_or(Net::Other, |place| Net::Wrong(place, text.to_owned()))
}

/// Where an RBAC asks for the mark: so that it must be there, or under a `not_id`.
#[derive(Default)]
struct Asked<'n> {
    with: Vec<&'n Node>,
    without: Vec<&'n Node>,
}

impl<'n> Asked<'n> {
    fn gather(&mut self, node: &'n Node, mark: &str, is_inverted: bool) {
        if let Some(state) = node.get("filter_state").filter(|state| state.word("key") == Some(mark)) {
            if is_inverted { self.without.push(state) } else { self.with.push(state) }
        }
        for element in node.list() {
            self.gather(element, mark, is_inverted);
        }
        for (key, member) in node.members() {
            let inverts = ["not_id", "notId", "not_rule", "notRule"].contains(&key.name.as_str());
            self.gather(member, mark, is_inverted != inverts);
        }
    }

    fn is_empty(&self) -> bool {
        self.with.is_empty() && self.without.is_empty()
    }

    fn place(&self) -> Option<Place> {
        self.with.first().or(self.without.first()).map(|state| state.place)
    }

    /// Whether one of them takes this word for the mark.
    fn takes(&self, word: &str) -> bool {
        self.with.iter().any(|state| state.get("string_match").is_none_or(|matcher| fits(matcher, word)))
    }
}

/// Whether a `StringMatcher` takes a word; one that is not known is taken to do so.
fn fits(matcher: &Node, word: &str) -> bool {
    let text = |field: &str| matcher.word(field);
    if let Some(expression) = matcher.at(&["safe_regex", "regex"]).and_then(Node::text) {
        return Regex::new(&format!("^(?:{expression})$")).map_or(true, |regex| regex.is_match(word));
    }
    None.or(text("exact").map(|exact| exact == word))
        .or_else(|| text("prefix").map(|prefix| word.starts_with(prefix)))
        .or_else(|| text("suffix").map(|suffix| word.ends_with(suffix)))
        .or_else(|| text("contains").map(|part| word.contains(part)))
        .unwrap_or(true)
}

/// Whether a policy asks for nothing.
fn lets_all_through(policy: &Node) -> bool {
    let takes_any = |field: &str| policy.elements(field).iter().any(|node| node.get("any").is_some_and(Node::is_true));
    let has_condition = ["condition", "checked_condition"].iter().any(|field| policy.get(field).is_some());
    takes_any("permissions") && takes_any("principals") && !has_condition
}

/// `action`; ALLOW stands for what is not there.
fn is_denying(rules: &Node) -> bool {
    rules.get("action").is_some_and(|action| action.text() == Some("DENY") || action.number() == Some(1.0))
}

/// Whether an RBAC refuses anything: one that is off, only logs or only tries rules out does not.
fn is_enforced(filter: Entry<'_>) -> bool {
    let logs = |rules: &Node| {
        rules.get("action").is_some_and(|action| action.text() == Some("LOG") || action.number() == Some(2.0))
    };
    let settings = filter.settings();
    filter.kind().starts_with("rbac.")
        && filter.is_on()
        && settings.is_some_and(|settings| match settings.get("rules") {
            Some(rules) => !logs(rules),
            None => settings.get("matcher").is_some(),
        })
}

/// Whether no route leads to a service: then there is nothing to be kept safe.
fn leads_nowhere(site: &Site<'_>) -> bool {
    let hosts = site.chain.and_then(|(manager, _)| manager.at(&["route_config", "virtual_hosts"]));
    let mut routes =
        hosts.map(Node::list).unwrap_or_default().iter().flat_map(|host| host.elements("routes")).peekable();
    routes.peek().is_some() && routes.all(|route| route.get("direct_response").is_some())
}

fn mentions(node: &Node, key: &str) -> bool {
    node.any(|inner| inner.text().is_some_and(|text| text.contains(key)))
}

/// All texts in RBAC filters by which they may name filter state: a key of a matcher, or within a format.
fn states<'n>(filters: &[Entry<'n>]) -> Vec<&'n str> {
    let mut found = Vec::new();
    for filter in filters.iter().filter(|filter| is_enforced(**filter)) {
        for field in ["rules", "matcher"] {
            let rules = filter.settings().and_then(|settings| settings.get(field));
            if let Some(rules) = rules {
                rules.walk(&mut |node| found.extend(node.text().filter(|text| text.contains("wasm."))));
            }
        }
    }
    found
}
