//! Istio's AuthorizationPolicies, as rules.

use super::{Notes, Theirs, quoted, texts};
use crate::yaml::Node;

/// What the AuthorizationPolicies come to.
#[derive(Default)]
pub struct Policies {
    issuers: Vec<String>,
    rules: Vec<Node>,
    /// Those that are for all paths, and stand behind the others.
    last: Vec<Node>,
    /// Matches of what one rule leaves out, which no other allows.
    closed: Vec<Node>,
    /// Whether a token is wanted where no rule says otherwise.
    pub asks_for_tokens: bool,
    /// Whether there are ALLOW policies, and none of their rules is for all paths.
    is_closed: bool,
    /// Whether one of their rules is.
    is_for_all: bool,
}

impl Policies {
    /// None yet, for tokens of these issuers.
    pub fn of(issuers: Vec<String>) -> Self {
        Self { issuers, ..Self::default() }
    }

    pub fn add(&mut self, policy: &Node, notes: &Notes) {
        let name = policy.at(&["metadata", "name"]).and_then(Node::text).unwrap_or("AuthorizationPolicy");
        let action = policy.at(&["spec", "action"]).and_then(Node::text).unwrap_or("ALLOW");
        let listed = policy.at(&["spec", "rules"]).map_or(&[][..], Node::list);
        if let Some(spec) = policy.get("spec") {
            let spec = Theirs::of(spec, &format!("{name}: spec"), notes);
            spec.skip(&["action", "rules", "selector", "targetRef", "targetRefs", "provider"]);
            spec.finish();
        }
        let annotations = policy.at(&["metadata", "annotations"]).map_or(&[][..], Node::members);
        let is_tried = |node: &Node| node.is_true() || node.text() == Some("true");
        if annotations.iter().any(|(key, node)| key.name == "istio.io/dry-run" && is_tried(node)) {
            notes.add(format!(
                "{name}: istio.io/dry-run: decides nothing there, and is left out; a candidate is written as `shadow`"
            ));
            return;
        }
        match action {
            "ALLOW" => self.allow(name, listed, notes),
            "DENY" => self.deny(name, listed, notes),
            "CUSTOM" => {
                notes.widen(format!("{name}: a CUSTOM policy runs before the filter in Istio; let the filter ask the service by `external_authorization`"));
            }
            "AUDIT" => notes.add(format!("{name}: AUDIT has no counterpart: see `refusal_log` and Envoy's access log")),
            other => notes.widen(format!("{name}: {other} has no counterpart")),
        }
    }

    fn allow(&mut self, name: &str, listed: &[Node], notes: &Notes) {
        self.asks_for_tokens = true;
        self.is_closed = true;
        for (index, rule) in listed.iter().enumerate() {
            let path = format!("{name}: rules[{index}]");
            let source = from(rule, &path, notes);
            let (requirement, keeps_when) = requirement(rule, &path, &self.issuers, notes);
            let opens = !source.wants_token && requirement.is_none();
            let matches = matches(rule, &path, true, notes);
            let fields = Theirs::of(rule, &path, notes);
            fields.skip(&["from", "to", "when"]);
            if !fields.finish() || !source.is_whole || !matches.is_whole || !keeps_when {
                notes.add(format!("{path}: left out, since without what is lost it would allow more than theirs"));
                continue;
            }
            self.closed.extend(matches.but);
            let is_for_all = matches.is_for_all;
            let all = is_for_all.then(|| Node::object([("path_prefix", Node::from("/"))]));
            // What holds at the top level needs no rule: a valid token.
            let all = all.filter(|_| opens || requirement.is_some());
            for (matching, is_last) in
                matches.list.into_iter().map(|matching| (matching, false)).chain(all.map(|matching| (matching, true)))
            {
                let mut ours = Node::object([("match", matching)]);
                match &requirement {
                    Some(requirement) => ours.put("require", requirement.clone()),
                    None if opens => ours.put("allow_missing", true),
                    None => {}
                }
                let rules = if is_last { &mut self.last } else { &mut self.rules };
                rules.push(ours);
            }
            self.is_for_all |= is_for_all;
        }
    }

    /// `DENY` for whoever has no identity is a demand for a token; for everybody, a closed path.
    fn deny(&mut self, name: &str, listed: &[Node], notes: &Notes) {
        for (index, rule) in listed.iter().enumerate() {
            let path = format!("{name}: rules[{index}]");
            let sources = rule.elements("from");
            let is_of_nobody = !sources.is_empty() && sources.iter().all(is_nobody);
            if rule.get("when").is_some() || !(sources.is_empty() || is_of_nobody) {
                notes.widen(format!("{path}: only `notRequestPrincipals: [\"*\"]` of a DENY policy carries over, and what is denied to all; write a rule with a requirement before the others, or leave the policy in Istio"));
                continue;
            }
            let matches = matches(rule, &path, false, notes);
            for but in matches.but.iter().filter_map(|but| serde_json::to_string(&but.to_json()).ok()) {
                notes.add(format!("{path}: all but {but} there; here these need a token, too, unless a rule with `allow_missing` says otherwise"));
            }
            self.asks_for_tokens |= matches.is_for_all && is_of_nobody;
            if matches.is_for_all && !is_of_nobody {
                notes.widen(format!("{path}: denies everything to everybody: leave the policy in Istio"));
            }
            for matching in matches.list {
                self.rules.push(if is_of_nobody {
                    Node::object([("match", matching), ("allow_missing", false.into())])
                } else {
                    closed(matching, &self.issuers)
                });
            }
        }
    }

    /// The rules, with those at the end that close what theirs leave out.
    pub fn into_rules(mut self, notes: &Notes) -> Vec<Node> {
        if self.is_closed && !self.is_for_all {
            notes.add("what none of their rules allows is 403 there: so the last rule here asks for what no token has; leave it out if a valid token is enough");
            self.closed = vec![Node::object([("path_prefix", Node::from("/"))])];
        }
        let is_known = |matching: &Node| {
            self.rules.iter().any(|rule| rule.get("match").is_some_and(|known| known.to_json() == matching.to_json()))
        };
        let closing: Vec<Node> = self.closed.iter().filter(|matching| !is_known(matching)).cloned().collect();
        let closing: Vec<Node> = closing.into_iter().map(|matching| closed(matching, &self.issuers)).collect();
        if self.last.len() > 1 {
            notes.add("several of their rules are for all paths, and one is enough there; here the first one holds: write them as one");
        }
        let mut rules: Vec<Node> = self.rules.into_iter().chain(closing).chain(self.last).collect();
        // Where a token may be missing, it may not be where something is asked of it.
        for rule in rules.iter_mut().filter(|rule| !self.asks_for_tokens && rule.get("require").is_some()) {
            rule.put("allow_missing", false);
        }
        rules
    }
}

/// A rule that nobody can fulfil: each token has the issuer of its provider.
fn closed(matching: Node, issuers: &[String]) -> Node {
    let claim = Node::object([("claim", "iss".into()), ("none_of", texts(issuers))]);
    Node::object([("match", matching), ("require", Node::object([("claims", Node::from_iter([claim]))]))])
}

/// Whether a source is whoever has no identity.
fn is_nobody(source: &Node) -> bool {
    let principals = source.at(&["source", "notRequestPrincipals"]).map_or(&[][..], Node::list);
    principals.iter().any(|one| one.text() == Some("*"))
}

/// The requests of a rule.
#[derive(Default)]
struct Matches {
    list: Vec<Node>,
    /// Those that it is not for.
    but: Vec<Node>,
    is_for_all: bool,
    /// Whether all of its conditions carry over.
    is_whole: bool,
}

/// What is allowed must be no more than theirs; what is denied may be a path more.
fn matches(rule: &Node, path: &str, allows: bool, notes: &Notes) -> Matches {
    let mut found = Matches { is_whole: true, ..Matches::default() };
    let operations: Vec<&Node> = rule.elements("to").iter().filter_map(|one| one.get("operation")).collect();
    found.is_for_all = operations.is_empty();
    for operation in operations {
        let theirs = Theirs::of(operation, &format!("{path}.to"), notes);
        let mut listed = paths(&theirs.words("paths"), allows);
        if listed.is_empty() && theirs.node.get("paths").is_none() {
            listed.push(Node::object::<&str>([]));
        }
        for matching in &mut listed {
            found.is_whole &= methods_and_hosts(&theirs, matching, allows);
        }
        found.but.extend(paths(&theirs.words("notPaths"), false));
        let is_all_but = theirs.node.get("notPaths").is_some() && listed.iter().any(|matching| !matching.is_empty());
        let lost = ["notMethods", "notHosts", "ports", "notPorts"].iter().any(|field| theirs.node.get(field).is_some());
        if lost || is_all_but {
            found.is_whole = false;
        }
        if is_all_but {
            notes.add(format!(
                "{path}.to.notPaths: beside other conditions it has no counterpart: write a rule before this one"
            ));
        }
        if !theirs.finish() {
            found.is_whole = false;
        }
        found.is_for_all |= listed.iter().any(Node::is_empty);
        found.list.extend(listed.into_iter().filter(|matching| !matching.is_empty()));
    }
    found
}

/// Istio's paths: to the letter, with a `*` at the beginning or the end, or a template.
fn paths(listed: &[&str], is_exact: bool) -> Vec<Node> {
    let mut exact: Vec<&str> = Vec::new();
    let mut prefixes: Vec<&str> = Vec::new();
    let mut patterns: Vec<String> = Vec::new();
    let mut is_all = false;
    for one in listed {
        match (one.strip_suffix("/*"), one.strip_suffix('*'), one.strip_prefix('*')) {
            _ if *one == "*" => is_all = true,
            _ if one.contains('{') => patterns.push(template(one)),
            (Some(""), ..) => prefixes.push("/"),
            // A prefix is for the path before the slash, too, which is another pattern there.
            (Some(prefix), ..) if !prefix.contains('*') && (!is_exact || listed.contains(&prefix)) => {
                prefixes.push(prefix)
            }
            (_, Some(begin), _) if !begin.contains('*') => patterns.push(format!("{}.*", quoted(begin))),
            (_, _, Some(end)) if !end.contains('*') => patterns.push(if end.starts_with('/') {
                format!("(/.*)?{}", quoted(end))
            } else {
                format!("/.*{}", quoted(end))
            }),
            _ => exact.push(one),
        }
    }
    if is_all {
        return vec![Node::object::<&str>([])];
    }
    // A prefix is for the path itself, too.
    exact.retain(|one| !prefixes.contains(one));
    let mut found = Vec::new();
    for (field, list) in [("path_prefix", &prefixes), ("path", &exact)] {
        if !list.is_empty() {
            found.push(Node::object([(field, one_or_several(list))]));
        }
    }
    if !patterns.is_empty() {
        found.push(Node::object([("path_pattern", patterns.join("|").into())]));
    }
    found
}

/// `{*}` is for one segment, `{**}` for any number of them.
fn template(path: &str) -> String {
    let segment = |part: &str| match part {
        "{*}" => "[^/]+".to_owned(),
        "{**}" => ".*".to_owned(),
        part => quoted(part),
    };
    path.split('/').map(segment).collect::<Vec<_>>().join("/")
}

/// A text, or a list of texts.
fn one_or_several(list: &[&str]) -> Node {
    match list {
        [one] => Node::from(*one),
        several => texts(several),
    }
}

/// Puts the methods and hosts of an operation; and whether they carry over. What is allowed must be no more than theirs; of what is denied,
/// a condition less is more.
fn methods_and_hosts(theirs: &Theirs<'_>, matching: &mut Node, allows: bool) -> bool {
    let mut is_whole = true;
    for field in ["methods", "hosts"] {
        let words = theirs.words(field);
        if words.is_empty() || words.contains(&"*") {
            continue;
        }
        let is_plain = |word: &&str| {
            let rest = if field == "hosts" { word.strip_prefix("*.").unwrap_or(word) } else { word };
            !rest.contains(['*', ':'])
        };
        if words.iter().all(is_plain) {
            matching.put(field, texts(words));
            continue;
        }
        theirs.notes.add(format!(
            "{}: {}: only whole names carry over, and hosts that begin with `*.`, without a port",
            theirs.at(field),
            words.join(", ")
        ));
        is_whole &= !allows;
    }
    is_whole
}

/// Who may send the requests of a rule.
struct Source {
    wants_token: bool,
    /// Whether all of its conditions carry over, or stay in Istio.
    is_whole: bool,
}

fn from(rule: &Node, path: &str, notes: &Notes) -> Source {
    let sources = rule.elements("from");
    let mut is_whole = true;
    for source in sources.iter().filter_map(|one| one.get("source")) {
        let theirs = Theirs::of(source, &format!("{path}.from"), notes);
        theirs.skip(&["requestPrincipals"]);
        if theirs.take("notRequestPrincipals").is_some() {
            notes.add(format!("{path}.from.notRequestPrincipals: write `none_of` for `sub` in a requirement"));
            is_whole = false;
        }
        for field in OF_WORKLOADS {
            if theirs.take(field).is_some() {
                notes.widen(format!(
                    "{}: no counterpart: leave the policy in Istio beside the filter",
                    theirs.at(field)
                ));
            }
        }
        is_whole &= theirs.finish();
    }
    Source { wants_token: !sources.is_empty(), is_whole }
}

/// What a source says of workloads and addresses.
const OF_WORKLOADS: [&str; 10] = [
    "ipBlocks",
    "remoteIpBlocks",
    "principals",
    "namespaces",
    "serviceAccounts",
    "notIpBlocks",
    "notRemoteIpBlocks",
    "notPrincipals",
    "notNamespaces",
    "notServiceAccounts",
];

/// The principals and the `when` of a rule; and whether all of it carries over.
fn requirement(rule: &Node, path: &str, issuers: &[String], notes: &Notes) -> (Option<Node>, bool) {
    let mut claims = Vec::new();
    let sources = rule.elements("from").iter().filter_map(|one| one.get("source"));
    let listed: Vec<&str> =
        sources.flat_map(|source| source.elements("requestPrincipals")).filter_map(Node::text).collect();
    let (of_principals, mut is_whole) = principals(&listed, path, issuers, notes);
    claims.extend(of_principals);
    // Where any principal will do, nothing but a token is wanted.
    let mut wants_token = false;
    for condition in rule.elements("when") {
        let fields = Theirs::of(condition, &format!("{path}.when"), notes);
        fields.skip(&["key", "values", "notValues"]);
        is_whole &= fields.finish();
        let key = condition.word("key").unwrap_or_default();
        if key == "request.auth.principal" && condition.get("notValues").is_none() {
            let values: Vec<&str> = condition.elements("values").iter().filter_map(Node::text).collect();
            let (of_principals, is_readable) = principals(&values, path, issuers, notes);
            claims.extend(of_principals);
            is_whole &= is_readable;
            wants_token = true;
            continue;
        }
        let names: Option<Vec<&str>> = key
            .strip_prefix("request.auth.claims[")
            .and_then(|rest| rest.strip_suffix(']'))
            .map(|names| names.split("][").collect());
        let mut claim = match (names.as_deref(), key) {
            (Some([one]), _) => Node::object([("claim", Node::from(*one))]),
            (Some(several), _) if several.iter().any(|name| name.contains('.')) => {
                Node::object([("path", texts(several))])
            }
            (Some(several), _) => Node::object([("path", several.join(".").into())]),
            (None, "request.auth.presenter") => Node::object([("claim", "azp".into())]),
            (None, "request.auth.audiences") => Node::object([("claim", "aud".into())]),
            (None, _) => {
                notes.add(format!("{path}.when: {key} has no counterpart"));
                is_whole = false;
                continue;
            }
        };
        let values: Vec<&str> = condition.elements("values").iter().filter_map(Node::text).collect();
        let others: Vec<&str> = condition.elements("notValues").iter().filter_map(Node::text).collect();
        if values.iter().any(|value| value.contains('*')) && values != ["*"] {
            let patterns: Vec<String> = values.iter().map(|value| quoted(value).replace("[*]", ".*")).collect();
            claim.put("matches", patterns.join("|"));
        } else if !values.is_empty() && values != ["*"] {
            claim.put("any_of", texts(values));
        }
        if !others.is_empty() {
            claim.put("none_of", texts(others));
            notes.add(format!("{path}.when: {key} must be there here, as something else than `notValues`"));
        }
        claims.push(claim);
    }
    if claims.is_empty() && wants_token {
        // Each token has the issuer of its provider.
        claims.push(Node::object([("claim", Node::from("iss"))]));
    }
    ((!claims.is_empty()).then(|| Node::object([("claims", claims.into_iter().collect::<Node>())])), is_whole)
}

/// What principals, `<iss>/<sub>`, ask of a token; and whether all of that carries over.
fn principals(listed: &[&str], path: &str, issuers: &[String], notes: &Notes) -> (Vec<Node>, bool) {
    if listed.is_empty() || listed.contains(&"*") {
        return (Vec::new(), true);
    }
    let pairs: Vec<(&str, &str)> = listed.iter().filter_map(|one| one.rsplit_once('/')).collect();
    let (mut of, mut subjects): (Vec<&str>, Vec<&str>) = pairs.iter().copied().unzip();
    of.sort_unstable();
    of.dedup();
    subjects.sort_unstable();
    subjects.dedup();
    let is_readable = pairs.len() == listed.len()
        && of.iter().all(|issuer| !issuer.contains('*'))
        && (subjects == ["*"] || of.len() == 1 && subjects.iter().all(|subject| !subject.contains('*')));
    if !is_readable {
        notes.add(format!(
            "{path}.from: {} are issuers and `sub`s: write `providers` and a requirement on `sub`",
            listed.join(", ")
        ));
        return (Vec::new(), false);
    }
    let mut claims = Vec::new();
    if !issuers.iter().all(|issuer| of.contains(&issuer.as_str())) {
        claims.push(Node::object([("claim", "iss".into()), ("any_of", texts(of))]));
    }
    if subjects != ["*"] {
        claims.push(Node::object([("claim", "sub".into()), ("any_of", texts(subjects))]));
    }
    (claims, true)
}
