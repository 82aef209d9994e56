//! The safety net: something behind the filter that refuses what it has not let through, should Envoy leave the filter out.

use super::Report;
use super::chain::{Chain, Entry, per_route};
use crate::marks;
use crate::report::Level;
use crate::site::Site;
use crate::words::nearest;
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
    let policies = rules.get("policies").map_or(&[][..], Node::members);
    let mut asked = Asked::default();
    for (_, policy) in policies {
        asked.gather(policy, mark, false);
    }
    let Some(place) = asked.place() else {
        return match of_another_key(rules, mark) {
            // What stands in a condition is not followed.
            Net::Other if mentions(rules, mark) => Net::Holds,
            net => net,
        };
    };
    if is_denying(rules) { denying(rules, mark, place, config) } else { allowing(rules, mark, &asked, place, config) }
}

/// One that denies what meets a policy.
fn denying(rules: &Node, mark: &str, place: Place, config: &Config) -> Net {
    let policies = || rules.get("policies").map_or(&[][..], Node::members).iter().map(|(_, policy)| policy);
    // Whatever a condition asks for beside the mark, it is no reason to deny what has one.
    let denies = |word: &&str| any(policies().map(|policy| is_met_but_for_conditions(policy, mark, Some(word))));
    let denied: Vec<&str> = marks::that_go_on(config).into_iter().filter(|word| denies(word) == Some(true)).collect();
    if denied.is_empty() {
        let denies_others = any(policies().map(|policy| is_met(policy, mark, None)));
        return if denies_others == Some(false) { Net::Other } else { Net::Holds };
    }
    let text =
        format!("this RBAC denies what the filter has let through ({}): write `action: ALLOW`", denied.join(", "));
    Net::Wrong(place, text)
}

/// One that allows what meets a policy, and nothing else.
fn allowing(rules: &Node, mark: &str, asked: &Asked<'_>, place: Place, config: &Config) -> Net {
    let policies = rules.get("policies").map_or(&[][..], Node::members);
    if asked.with.is_empty() {
        let text = "this RBAC allows whatever has no mark, too, which is all that the filter has not seen: ask for the words that may go \
                    on, without `not_id`";
        return Net::Wrong(place, text.to_owned());
    }
    if let Some((key, _)) = policies.iter().find(|(_, policy)| is_met(policy, mark, None) == Some(true)) {
        let text = format!(
            "the policy `{}` of this RBAC lets everything through, also what the filter has not seen: one of `principals` is enough, \
             and so is one policy",
            key.name
        );
        return Net::Wrong(key.place, text);
    }
    let results = marks::that_go_on(config);
    let allows = |word: &&str| any(policies.iter().map(|(_, policy)| is_met(policy, mark, Some(word))));
    let refused: Vec<&str> = results.iter().copied().filter(|word| allows(word) == Some(false)).collect();
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

/// An RBAC that looks for the mark under a name that the filter does not write.
fn of_another_key(rules: &Node, mark: &str) -> Net {
    let mut found = None;
    let own = mark.strip_suffix("result").unwrap_or(mark);
    rules.walk(&mut |node| {
        let key = node.get("filter_state").and_then(|state| state.entry("key"));
        let is_meant = |key: &str| {
            let is_own = key.strip_prefix(own).is_some_and(|rest| rest != "route" && !rest.starts_with("shadow_"));
            // A mark of another filter is told where this one says its name.
            let is_others = key.starts_with("wasm.") && key.ends_with(".result");
            is_own || !is_others && nearest(key, &[mark]).is_some()
        };
        found = found.or(key.and_then(|(name, key)| Some((name.place, key.text().filter(|key| is_meant(key))?))));
    });
    found.map_or(Net::Other, |(place, key)| {
        let text = format!(
            "this RBAC asks for {key}, in which the filter does not say that a request may go on: ask for {mark}"
        );
        Net::Wrong(place, text)
    })
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

    fn place(&self) -> Option<Place> {
        self.with.first().or(self.without.first()).map(|state| state.place)
    }
}

/// Whether a policy is met by a request with this mark, or by one without; `None` if the rest of the request decides that.
fn is_met(policy: &Node, mark: &str, word: Option<&str>) -> Option<bool> {
    let has_condition = ["condition", "checked_condition"].iter().any(|field| policy.get(field).is_some());
    all([is_met_but_for_conditions(policy, mark, word), (!has_condition).then_some(true)])
}

fn is_met_but_for_conditions(policy: &Node, mark: &str, word: Option<&str>) -> Option<bool> {
    let one_of = |field: &str| any(policy.elements(field).iter().map(|node| holds(node, mark, word)));
    all([one_of("permissions"), one_of("principals")])
}

/// The same for a permission or a principal.
fn holds(node: &Node, mark: &str, word: Option<&str>) -> Option<bool> {
    let inner = |field: &str, list: &str| {
        let nodes = node.get(field)?.elements(list).iter();
        Some(nodes.map(|node| holds(node, mark, word)).collect::<Vec<_>>())
    };
    if let Some(alternatives) = inner("or_ids", "ids").or_else(|| inner("or_rules", "rules")) {
        return any(alternatives);
    }
    if let Some(parts) = inner("and_ids", "ids").or_else(|| inner("and_rules", "rules")) {
        return all(parts);
    }
    if let Some(opposite) = node.get("not_id").or_else(|| node.get("not_rule")) {
        return holds(opposite, mark, word).map(|holds| !holds);
    }
    if let Some(state) = node.get("filter_state").filter(|state| state.word("key") == Some(mark)) {
        return word.map_or(Some(false), |word| fits(state.get("string_match")?, word));
    }
    if node.at(&["url_path", "path", "prefix"]).and_then(Node::text) == Some("/") {
        return Some(true);
    }
    node.get("any").map(Node::is_true)
}

/// Whether one is so; `None` if that can't be told.
fn any(parts: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut is_sure = true;
    for part in parts {
        match part {
            Some(true) => return part,
            Some(false) => {}
            None => is_sure = false,
        }
    }
    is_sure.then_some(false)
}

/// Whether all are so; `None` if that can't be told.
fn all(parts: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    any(parts.into_iter().map(|part| part.map(|part| !part))).map(|is_one_not| !is_one_not)
}

/// Whether a `StringMatcher` takes a word; `None` for one that is not known.
pub fn fits(matcher: &Node, word: &str) -> Option<bool> {
    if let Some(expression) = matcher.at(&["safe_regex", "regex"]).and_then(Node::text) {
        return Regex::new(&format!("^(?:{expression})$")).ok().map(|regex| regex.is_match(word));
    }
    let ignores_case = matcher.get("ignore_case").is_some_and(Node::is_true);
    let told = |field: &str| {
        let text = matcher.word(field)?;
        Some(if ignores_case { text.to_ascii_lowercase() } else { text.to_owned() })
    };
    None.or(told("exact").map(|exact| exact == word))
        .or_else(|| told("prefix").map(|prefix| word.starts_with(&prefix)))
        .or_else(|| told("suffix").map(|suffix| word.ends_with(&suffix)))
        .or_else(|| told("contains").map(|part| word.contains(&part)))
}

/// `action`; ALLOW stands for what is not there.
fn is_denying(rules: &Node) -> bool {
    rules.get("action").is_some_and(|action| action.is_value("DENY", 1))
}

/// Whether an RBAC refuses anything: one that is off, only logs or only tries rules out does not.
fn is_enforced(filter: Entry<'_>) -> bool {
    let logs = |rules: &Node| rules.get("action").is_some_and(|action| action.is_value("LOG", 2));
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
