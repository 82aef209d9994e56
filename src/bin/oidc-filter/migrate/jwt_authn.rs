//! Envoy's `jwt_authn`: `docs/migrate/envoy-jwt-authn.md`.

use super::matching::Matching;
use super::{Notes, Theirs, bypass, claim, duration, header_source, push_new, put_keys, quoted, source, texts};
use crate::yaml::Node;

pub fn migrate(documents: &[Node], notes: &Notes) -> Result<Node, String> {
    let mut found: Vec<&Node> = Vec::new();
    for document in documents {
        document.walk(&mut |node| {
            if node.word("@type").is_some_and(|name| name.ends_with(".jwt_authn.v3.JwtAuthentication")) {
                found.push(node);
            }
        });
        if found.is_empty() && document.get("providers").is_some() {
            found.push(document);
        }
    }
    let [node] = found.as_slice() else {
        return Err(format!("expected one jwt_authn filter, found {}", found.len()));
    };
    let theirs = Theirs::of(node, "", notes);
    theirs.skip(&["@type"]);
    let listed = theirs.take("providers").map_or(&[][..], Node::members);
    let names: Vec<&str> = listed.iter().map(|(key, _)| key.name.as_str()).collect();
    let mut ours = Ours { is_alone: names.len() == 1, ..Ours::default() };
    let mut providers = Vec::new();
    for (key, node) in listed {
        let fields = Theirs::of(node, &format!("providers.{}", key.name), notes);
        providers.push(provider(&key.name, &fields, &mut ours));
        fields.finish();
    }
    let mut configuration = Node::object([("providers", providers.into_iter().collect::<Node>())]);
    configuration.put("access_token", ours.sources(&names));
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
    configuration.put("rules", rules(&theirs, &names));
    about_routes(documents, notes);
    theirs
        .lose("filter_state_rules", "no counterpart; use rules, or rules with a `name` that the route's metadata call");
    theirs.skip(&["stat_prefix"]);
    theirs.finish();
    Ok(configuration)
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
fn rules(theirs: &Theirs<'_>, names: &[&str]) -> Node {
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
        if opens && !is_whole {
            notes.add(format!("{path}: left out, since it would let more requests pass without a token than theirs"));
            continue;
        }
        let mut rule = Node::object([("match", matching.clone())]);
        is_for_all |= matching.to_json() == prefix("/").to_json();
        if asked.is_none() && node.get("requirement_name").is_some() {
            notes.add(format!("{path}.requirement_name: is not in requirement_map; here a valid token is needed"));
        } else {
            requirement(&mut rule, asked.as_ref(), names, &format!("{path}.requires"), notes);
        }
        rules.push(rule);
    }
    for (key, node) in requirements {
        let mut rule = Node::object([("name", Node::from(key.name.as_str()))]);
        requirement(&mut rule, Some(node), names, &format!("requirement_map.{}", key.name), notes);
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

/// What is said with each provider there, and once for all here.
#[derive(Default)]
struct Ours {
    /// Places, each with the providers that read it.
    places: Vec<(Node, Vec<String>)>,
    forward: Vec<bool>,
    user_info: Vec<Node>,
    claim_headers: Vec<Node>,
    /// Whether there is one provider and no other.
    is_alone: bool,
    require: Option<Node>,
}

impl Ours {
    fn place(&mut self, place: Node, provider: &str) {
        match self.places.iter_mut().find(|(other, _)| other.to_json() == place.to_json()) {
            Some((_, providers)) => providers.push(provider.to_owned()),
            None => self.places.push((place, vec![provider.to_owned()])),
        }
    }

    fn sources(&self, names: &[&str]) -> Node {
        let sources = self.places.iter().map(|(place, providers)| {
            let mut place = place.clone();
            if let [one] = providers.as_slice()
                && names.len() > 1
            {
                place.put("provider", one.as_str());
            }
            place
        });
        sources.collect()
    }
}

fn provider(name: &str, theirs: &Theirs<'_>, ours: &mut Ours) -> Node {
    let notes = theirs.notes;
    let mut provider = Node::object([("name", Node::from(name))]);
    match theirs.word("issuer") {
        Some(issuer) => provider.put("issuer", issuer),
        None => notes.add(format!("{}: required here: the exact value of `iss`", theirs.at("issuer"))),
    }
    let remote = theirs.take("remote_jwks").map(|node| Theirs::of(node, &theirs.at("remote_jwks"), notes));
    let call = remote.as_ref().and_then(|remote| remote.take("http_uri"));
    if let Some(cluster) = call.and_then(|call| call.word("cluster")) {
        provider.put("cluster", cluster);
    }
    let audiences = theirs.words("audiences");
    if audiences.is_empty() {
        provider.put("any_audience", true);
        notes.add(format!("{}: nobody's: tokens for other services pass, too; name yours", theirs.at("audiences")));
    } else {
        provider.put("audiences", texts(audiences))
    }
    provider.put("validation", "jwt");
    if let Some(remote) = &remote {
        let mut keys = Node::object::<&str>([]);
        if let Some(uri) = call.and_then(|call| call.word("uri")) {
            keys.put("uri", uri);
        }
        if let Some(cache) = remote.duration("cache_duration") {
            keys.put("cache", cache);
        }
        provider.put("jwks", keys);
        remote.skip(&["async_fetch", "retry_policy"]);
    }
    if let Some(local) = theirs.take("local_jwks") {
        match local.word("inline_string") {
            Some(text) => put_keys(&mut provider, text, &theirs.at("local_jwks"), notes),
            None => notes.add(format!(
                "{}: a module can't read files; write the keys into jwks.inline",
                theirs.at("local_jwks")
            )),
        }
    }
    if let Some(skew) = theirs.take("clock_skew_seconds").and_then(Node::number) {
        provider.put("clock_skew", format!("{skew}s"));
    }
    if let Some(timeout) = call.and_then(|call| duration(call.get("timeout")?)) {
        provider.put("timeout", timeout);
    }
    if let Some(lifetime) = theirs.duration("max_lifetime") {
        provider.put("max_lifetime", lifetime);
        notes.add(format!("{}: counts from `iat` to `exp` here, theirs from now to `exp`", theirs.at("max_lifetime")));
    }
    // Off by default there, and on here; a token without `exp` never ends.
    theirs.skip(&["require_expiration"]);
    if let Some(remote) = remote {
        remote.finish();
    }
    subjects(theirs, ours);
    places(name, theirs, ours);
    outputs(theirs, ours);
    ours.forward.push(theirs.flag("forward"));
    theirs.skip(&["clear_route_cache", "jwt_cache_config"]);
    theirs.lose("pad_forward_payload_header", "no counterpart: base64url has no padding here");
    theirs.lose("header_in_metadata", "no counterpart");
    theirs.lose("normalize_payload_in_metadata", "no counterpart: give a claim another name by `claim_mapping`");
    theirs.lose(
        "failed_status_in_metadata",
        "the reason is in %RESPONSE_CODE_DETAILS%, and in filter state wasm.<name>.reason",
    );
    provider
}

/// Whose tokens a provider's are: of one provider alone, that holds for all tokens.
fn subjects(theirs: &Theirs<'_>, ours: &mut Ours) {
    let Some(matcher) = theirs.take("subjects") else { return };
    let pattern = ["exact", "prefix", "suffix", "contains"].iter().find_map(|kind| {
        let text = quoted(matcher.word(kind)?);
        Some(match *kind {
            "exact" => text,
            "prefix" => format!("{text}.*"),
            "suffix" => format!(".*{text}"),
            _ => format!(".*{text}.*"),
        })
    });
    let pattern = pattern.or_else(|| matcher.at(&["safe_regex", "regex"]).and_then(Node::text).map(str::to_owned));
    match pattern.filter(|_| !matcher.get("ignore_case").is_some_and(Node::is_true)) {
        Some(pattern) if ours.is_alone => {
            let claim = Node::object([("claim", "sub".into()), ("matches", pattern.into())]);
            ours.require = Some(Node::object([("claims", Node::from_iter([claim]))]));
        }
        pattern => {
            let requirement = pattern.map_or("a requirement on `sub`".to_owned(), |pattern| {
                format!("require: {{claims: [{{claim: sub, matches: {pattern:?}}}]}}")
            });
            theirs.notes.add(format!(
                "{}: belongs to one provider there; write it where this provider's tokens are judged: {requirement}",
                theirs.at("subjects")
            ));
        }
    }
}

fn places(name: &str, theirs: &Theirs<'_>, ours: &mut Ours) {
    let (headers, parameters, cookies) =
        (theirs.elements("from_headers"), theirs.words("from_params"), theirs.words("from_cookies"));
    if headers.is_empty() && parameters.is_empty() && cookies.is_empty() {
        ours.place(source("header", "Authorization"), name);
        ours.place(source("query_string", "access_token"), name);
    }
    for header in headers {
        let prefix = header.word("value_prefix").unwrap_or_default();
        let place = header_source(header.word("name").unwrap_or("Authorization"), prefix.trim());
        if place.get("scheme").is_some() && !prefix.ends_with(' ') && !prefix.is_empty() {
            theirs.notes.add(format!(
                "{}: {prefix:?} is no scheme with a space behind it: it has no counterpart",
                theirs.at("from_headers")
            ));
        }
        ours.place(place, name);
    }
    parameters.iter().for_each(|key| ours.place(source("query_string", key), name));
    cookies.iter().for_each(|key| ours.place(source("cookie", key), name));
}

fn outputs(theirs: &Theirs<'_>, ours: &mut Ours) {
    if let Some(header) = theirs.word("forward_payload_header") {
        let mut output = source("header", header);
        output.put("encoding", "base64url");
        push_new(&mut ours.user_info, output);
    }
    if let Some(key) = theirs.word("payload_in_metadata") {
        let mut output = source("metadata", key);
        output.put("metadata_namespace", "envoy.filters.http.jwt_authn");
        push_new(&mut ours.user_info, output);
        theirs.notes.add(format!(
            "{}: put Envoy's header_to_metadata right behind the filter; `oidc-filter render envoy` shows it",
            theirs.at("payload_in_metadata")
        ));
    }
    for header in theirs.elements("claim_to_headers") {
        let (Some(name), Some(theirs)) = (header.word("header_name"), header.word("claim_name")) else { continue };
        push_new(&mut ours.claim_headers, Node::object([("header", name.into()), claim(theirs)]));
    }
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

/// What a rule asks for.
fn requirement(rule: &mut Node, required: Option<&Node>, names: &[&str], path: &str, notes: &Notes) {
    let Some(required) = required else {
        rule.put("bypass", true);
        return;
    };
    let theirs = Theirs::of(required, path, notes);
    let mut providers: Vec<&str> = theirs.word("provider_name").into_iter().collect();
    if let Some(both) = theirs.take("provider_and_audiences") {
        providers.extend(both.word("provider_name"));
        rule.put("audiences", texts(both.elements("audiences").iter().filter_map(Node::text)));
    }
    if let Some(any) = theirs.take("requires_any") {
        for one in any.elements("requirements") {
            let inner = Theirs::of(one, &format!("{path}.requires_any"), notes);
            providers.extend(inner.word("provider_name"));
            if let Some(both) = inner.take("provider_and_audiences") {
                providers.extend(both.word("provider_name"));
                notes.add(format!(
                    "{path}.requires_any: audiences of one provider in it do not carry over: write rules"
                ));
            }
            if inner.take("allow_missing").is_some() {
                rule.put("allow_missing", true);
            }
            if inner.take("allow_missing_or_failed").is_some() {
                rule.put("enforce", false);
            }
            inner.finish();
        }
    }
    if theirs.take("allow_missing").is_some() {
        rule.put("allow_missing", true);
    }
    if theirs.take("allow_missing_or_failed").is_some() {
        rule.put("enforce", false);
    }
    if theirs.take("extract_only_without_validation").is_some() {
        notes.add(format!("{path}.extract_only_without_validation: no counterpart: nothing is written of a token that nobody has proved"));
    }
    theirs.lose("requires_all", "no counterpart: it wants two tokens in one request");
    let is_all = names.iter().all(|name| providers.contains(name));
    let outputs = [("allow_missing", rule.get("allow_missing").cloned()), ("enforce", rule.get("enforce").cloned())];
    let names_some = !(providers.is_empty() || is_all && providers.len() > 1);
    if names_some && names.len() > 1 {
        // The providers stand before what else a rule says.
        let audiences = rule.get("audiences").cloned();
        let mut ordered = Node::object([("match", Node::from(""))]);
        if let Some(matching) = rule.get("match") {
            ordered.put("match", matching.clone());
        } else if let Some(name) = rule.get("name") {
            ordered = Node::object([("name", name.clone())]);
        }
        ordered.put("providers", texts(&providers));
        for (name, node) in [("audiences", audiences)].into_iter().chain(outputs) {
            if let Some(node) = node {
                ordered.put(name, node);
            }
        }
        *rule = ordered;
    }
    if providers.is_empty() && rule.get("allow_missing").is_none() && rule.get("enforce").is_none() {
        notes.add(format!("{path}: asks for nothing that carries over; here a valid token is needed"));
    }
    theirs.finish();
}
