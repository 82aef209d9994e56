//! Envoy's `jwt_authn`: `docs/migrate/envoy-jwt-authn.md`.

mod provider;

use super::matching::Matching;
use super::merging::Merged;
use super::{Notes, Theirs, bypass, texts};
use crate::yaml::Node;
use provider::Ours;

pub fn migrate(documents: &[Node], notes: &Notes) -> Result<Node, String> {
    let node = found(documents)?;
    let theirs = Theirs::of(node, "", notes);
    theirs.skip(&["@type"]);
    let listed = theirs.take("providers").map_or(&[][..], Node::members);
    let names: Vec<&str> = listed.iter().map(|(key, _)| key.name.as_str()).collect();
    let mut ours = Ours::of(names.len());
    let mut providers = Vec::new();
    for (key, node) in listed {
        let fields = Theirs::of(node, &format!("providers.{}", key.name), notes);
        providers.push(provider::read(&key.name, &fields, &mut ours));
        fields.finish();
    }
    ours.tell_outputs(&names, notes);
    let merged = Merged::of(providers, notes);
    let mut configuration = Node::object([("providers", merged.providers.iter().cloned().collect::<Node>())]);
    configuration.put("access_token", ours.sources(&merged));
    ours.tell_places(&names, &merged, notes);
    let forwards: Vec<bool> = ours.forward.clone();
    configuration.put("forward", forwards.iter().all(|forward| *forward));
    if forwards.iter().any(|forward| *forward) && !forwards.iter().all(|forward| *forward) {
        notes.add(
            "forward: some providers forward the token and some don't; here it is one for all, or per rule: false",
        );
    }
    if theirs.flag("bypass_cors_preflight") {
        configuration.put("allow_preflight", true);
    }
    if theirs.flag("strip_failure_response") {
        configuration.put("response_body", "none");
    }
    for (name, nodes) in [("user_info", ours.user_info), ("claim_headers", ours.claim_headers)] {
        if !nodes.is_empty() {
            configuration.put(name, nodes.into_iter().collect::<Node>());
        }
    }
    if let Some(require) = ours.require {
        configuration.put("require", require);
    }
    configuration.put("rules", rules(&theirs, &names, &merged));
    about_routes(documents, notes);
    theirs
        .lose("filter_state_rules", "no counterpart; use rules, or rules with a `name` that the route's metadata call");
    theirs.skip(&["stat_prefix"]);
    theirs.finish();
    Ok(configuration)
}

/// The filter's configuration in these documents, as an entry of `http_filters`, an answer of LDS, or by itself. Envoy's older names of
/// it (`v2alpha`, `config`) have the same fields.
fn found(documents: &[Node]) -> Result<&Node, String> {
    let mut found: Vec<&Node> = Vec::new();
    for document in documents {
        document.walk(&mut |node| {
            let is_named = node.word("name") == Some("envoy.filters.http.jwt_authn");
            let untyped = node.get("config").filter(|config| is_named && config.get("@type").is_none());
            found.extend(untyped.or_else(|| node.word("@type").is_some_and(is_type).then_some(node)));
        });
        if found.is_empty() && document.get("providers").is_some_and(|providers| !providers.members().is_empty()) {
            found.push(document);
        }
    }
    let mut different: Vec<&Node> = Vec::new();
    for node in found {
        if !different.iter().any(|other| other.to_json() == node.to_json()) {
            different.push(node);
        }
    }
    match different.as_slice() {
        [node] => Ok(node),
        [] => Err("expected a jwt_authn filter, found none: give its entry in http_filters, or the file that has it"
            .to_owned()),
        several => {
            let places: Vec<String> = several.iter().map(|node| node.place.to_string()).collect();
            Err(format!(
                "expected one jwt_authn filter, found {}, which differ, at {}: give each in a file of its own",
                several.len(),
                places.join(", ")
            ))
        }
    }
}

/// Whether a type is the filter's, in whatever version of it.
fn is_type(name: &str) -> bool {
    let version = name.strip_suffix(".JwtAuthentication").and_then(|rest| rest.rsplit_once(".jwt_authn.v"));
    version
        .is_some_and(|(_, version)| version.starts_with(|first: char| first.is_ascii_digit()) && !version.contains('.'))
}

/// What routes say themselves.
fn about_routes(documents: &[Node], notes: &Notes) {
    for document in documents {
        document.walk(&mut |node| {
            if !node.word("@type").is_some_and(|name| name.ends_with(".jwt_authn.v3.PerRouteConfig")) {
                return;
            }
            let place = node.place;
            notes.add(match node.word("requirement_name") {
                Some(name) => format!("PerRouteConfig at {place}: give this route metadata with rule: {name}"),
                None => format!(
                    "PerRouteConfig at {place}: a route without the filter there; here it needs a token unless a rule with `bypass` has its \
                     path or its `route_name`"
                ),
            });
        });
    }
}

/// Their rules, then those that routes name.
fn rules(theirs: &Theirs<'_>, names: &[&str], merged: &Merged) -> Node {
    let notes = theirs.notes;
    let requirements = theirs.take("requirement_map").map_or(&[][..], Node::members);
    let named = |name: &str| requirements.iter().find(|(key, _)| key.name == name).map(|(_, node)| node);
    let listed = theirs.elements("rules");
    let required =
        |node: &'_ Node| node.get("requires").cloned().or_else(|| named(node.word("requirement_name")?).cloned());
    let mut rules = Vec::new();
    let mut is_for_all = false;
    for (index, node) in listed.iter().enumerate() {
        let path = format!("rules[{index}]");
        let fields = Theirs::of(node, &path, notes);
        fields.skip(&["requires", "requirement_name"]);
        let asked = required(node);
        let later = listed.get(index.saturating_add(1)..).unwrap_or_default();
        let opens = is_open(node, asked.as_ref());
        let asks_the_same =
            |node: &Node| required(node).map(|asked| asked.to_json()) == asked.as_ref().map(Node::to_json);
        let is_covered = later.iter().all(asks_the_same) && later.iter().any(is_for_every_path);
        let place = format!("{path}.match");
        let matched = fields.take("match").map(|node| {
            let matching = Matching { theirs: Theirs::of(node, &place, notes), opens, is_covered };
            matching.read()
        });
        fields.finish();
        let (matching, is_whole) = matched.unwrap_or_else(|| (prefix("/"), true));
        let matching = if matching.is_empty() { prefix("/") } else { matching };
        if opens && !is_whole {
            notes.add(format!("{path}: left out, since it would let more requests pass without a token than theirs"));
            continue;
        }
        // What is for more requests than theirs takes some from later rules, which may ask for more.
        if !is_whole && !later.iter().all(asks_the_same) {
            notes.widen(format!("{path}: is for more requests here, before rules that ask for something else: write its condition by hand"));
        }
        let mut rule = Node::object([("match", matching.clone())]);
        is_for_all |= matching.to_json() == prefix("/").to_json();
        if asked.is_none() && node.get("requirement_name").is_some() {
            notes.add(format!("{path}.requirement_name: is not in requirement_map; here a valid token is needed"));
        } else {
            requirement(&mut rule, asked.as_ref(), &Named { names, merged }, &format!("{path}.requires"), notes);
        }
        rules.push(rule);
    }
    for (key, node) in requirements {
        let mut rule = Node::object([("name", Node::from(key.name.as_str()))]);
        requirement(&mut rule, Some(node), &Named { names, merged }, &format!("requirement_map.{}", key.name), notes);
        rules.push(rule);
        notes.add(format!(
            "requirement_map.{}: in place of PerRouteConfig, the route's metadata name the rule, in the namespace of the filter's \
             name: rule: {}",
            key.name, key.name
        ));
    }
    if !is_for_all {
        notes.add("rules: what falls under none of theirs passes without a token, so the last rule here has `bypass`; leave it out if that was not meant");
        rules.push(bypass("path_prefix", "/".into()));
    }
    rules.into_iter().collect()
}

fn prefix(path: &str) -> Node {
    Node::object([("path_prefix", Node::from(path))])
}

/// Whether a rule lets requests pass without a valid token.
fn is_open(rule: &Node, required: Option<&Node>) -> bool {
    let Some(required) = required else { return rule.get("requirement_name").is_none() };
    let mut is_open = false;
    required.walk(&mut |node| {
        is_open |= node.get("allow_missing").is_some() || node.get("allow_missing_or_failed").is_some();
    });
    is_open
}

fn is_for_every_path(rule: &Node) -> bool {
    let matching = rule.get("match");
    matching.is_none_or(|matching| matching.word("prefix") == Some("/") && matching.members().len() == 1)
}

/// The names of their providers, and what became of these.
struct Named<'n> {
    names: &'n [&'n str],
    merged: &'n Merged,
}

impl Named<'_> {
    /// Puts the providers and the audiences of a rule for these of theirs.
    fn put(&self, rule: &mut Node, theirs: &[&str], path: &str, notes: &Notes) {
        let mut ours: Vec<&str> = Vec::new();
        for name in theirs.iter().filter_map(|name| self.merged.name(name)) {
            if !ours.contains(&name) {
                ours.push(name);
            }
        }
        let is_all = self.names.iter().all(|name| theirs.contains(name));
        if !(ours.is_empty() || is_all && self.names.len() > 1) && self.merged.providers.len() > 1 {
            rule.put("providers", texts(ours));
        }
        if rule.get("audiences").is_some() {
            return;
        }
        match self.merged.audiences(theirs) {
            (None, _) => {}
            (Some(audiences), true) => rule.put("audiences", texts(audiences)),
            (Some(audiences), false) => {
                rule.put("audiences", texts(audiences));
                notes.widen(format!(
                    "{path}: its providers have other audiences each, and one list holds for all here: write a rule for each of them"
                ));
            }
        }
    }
}

/// What a rule asks for.
fn requirement(rule: &mut Node, required: Option<&Node>, named: &Named<'_>, path: &str, notes: &Notes) {
    let Some(required) = required else {
        rule.put("bypass", true);
        return;
    };
    let theirs = Theirs::of(required, path, notes);
    let mut providers: Vec<&str> = Vec::new();
    let mut audiences: Vec<&str> = Vec::new();
    let mut passes: Vec<(&str, bool)> = Vec::new();
    let mut asked = vec![theirs];
    let mut are_narrowed = 0_usize;
    while let Some(theirs) = asked.pop() {
        providers.extend(theirs.word("provider_name"));
        if let Some(both) = theirs.take("provider_and_audiences") {
            providers.extend(both.word("provider_name"));
            audiences.extend(both.elements("audiences").iter().filter_map(Node::text));
            are_narrowed = are_narrowed.saturating_add(1);
        }
        if let Some(any) = theirs.take("requires_any") {
            let inner = any.elements("requirements").iter().rev();
            asked.extend(inner.map(|one| Theirs::of(one, &format!("{path}.requires_any"), notes)));
        }
        if theirs.take("allow_missing").is_some() {
            passes.push(("allow_missing", true));
        }
        if theirs.take("allow_missing_or_failed").is_some() {
            passes.push(("enforce", false));
        }
        if theirs.take("extract_only_without_validation").is_some() {
            notes.add(format!("{path}.extract_only_without_validation: no counterpart: nothing is written of a token that nobody has proved"));
        }
        theirs.lose("requires_all", "no counterpart: it wants two tokens in one request");
        theirs.finish();
    }
    if !audiences.is_empty() {
        rule.put("audiences", texts(&audiences));
        if are_narrowed > 1 || are_narrowed < providers.len() {
            notes.widen(format!(
                "{path}: asks one of its providers for audiences, and one list holds for all here: write a rule for each of them"
            ));
        }
    }
    named.put(rule, &providers, path, notes);
    passes.into_iter().for_each(|(name, value)| rule.put(name, value));
    if providers.is_empty() && rule.get("allow_missing").is_none() && rule.get("enforce").is_none() {
        notes.add(format!("{path}: asks for nothing that carries over; here a valid token is needed"));
    }
}
