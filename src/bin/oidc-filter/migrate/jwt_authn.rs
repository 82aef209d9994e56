//! Envoy's `jwt_authn`: `docs/migrate/envoy-jwt-authn.md`.

use super::{Notes, Theirs, bypass, claim, header_source, key_set, push_new, quoted, source, texts};
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
    let mut ours = Ours::default();
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
    configuration.put("rules", rules(&theirs, &names));
    theirs
        .lose("filter_state_rules", "no counterpart; use rules, or rules with a `name` that the route's metadata call");
    theirs.skip(&["stat_prefix"]);
    theirs.finish();
    Ok(configuration)
}

/// Their rules, then those that routes name.
fn rules(theirs: &Theirs<'_>, names: &[&str]) -> Node {
    let notes = theirs.notes;
    let requirements = theirs.take("requirement_map").map_or(&[][..], Node::members);
    let mut rules = Vec::new();
    let mut is_for_all = false;
    for (index, node) in theirs.elements("rules").iter().enumerate() {
        let path = format!("rules[{index}]");
        let fields = Theirs::of(node, &path, notes);
        let matching = fields.take("match").map(|node| matcher(&Theirs::of(node, &format!("{path}.match"), notes)));
        let named = fields.word("requirement_name");
        let required =
            named.and_then(|name| requirements.iter().find(|(key, _)| key.name == name)).map(|(_, node)| node);
        let mut rule = Node::object([("match", matching.clone().unwrap_or_else(|| prefix("/")))]);
        is_for_all |= matching.is_none_or(|matching| matching.to_json() == prefix("/").to_json());
        requirement(&mut rule, fields.take("requires").or(required), names, &format!("{path}.requires"), notes);
        fields.finish();
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
        if let Some(cache) = remote.word("cache_duration") {
            keys.put("cache", cache);
        }
        provider.put("jwks", keys);
        remote.skip(&["async_fetch", "retry_policy"]);
    }
    if let Some(local) = theirs.take("local_jwks") {
        match local.word("inline_string") {
            Some(text) => provider.put("jwks", Node::object([("inline", key_set(text))])),
            None => notes.add(format!(
                "{}: a module can't read files; write the keys into jwks.inline",
                theirs.at("local_jwks")
            )),
        }
    }
    if let Some(skew) = theirs.take("clock_skew_seconds").and_then(Node::number) {
        provider.put("clock_skew", format!("{skew}s"));
    }
    if let Some(timeout) = call.and_then(|call| call.word("timeout")) {
        provider.put("timeout", timeout);
    }
    if let Some(lifetime) = theirs.word("max_lifetime") {
        provider.put("max_lifetime", lifetime);
        notes.add(format!("{}: counts from `iat` to `exp` here, theirs from now to `exp`", theirs.at("max_lifetime")));
    }
    // Off by default there, and on here; a token without `exp` never ends.
    theirs.skip(&["require_expiration"]);
    if let Some(remote) = remote {
        remote.finish();
    }
    subjects(theirs);
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

fn subjects(theirs: &Theirs<'_>) {
    let Some(matcher) = theirs.take("subjects") else { return };
    let pattern = ["exact", "prefix", "suffix"].iter().find_map(|kind| {
        let text = quoted(matcher.word(kind)?);
        Some(match *kind {
            "exact" => text,
            "prefix" => format!("{text}.*"),
            _ => format!(".*{text}"),
        })
    });
    let pattern = pattern.or_else(|| matcher.at(&["safe_regex", "regex"]).and_then(Node::text).map(str::to_owned));
    let requirement = pattern.map_or("a requirement on `sub`".to_owned(), |pattern| {
        format!("require: {{claims: [{{claim: sub, matches: {pattern:?}}}]}}")
    });
    theirs.notes.add(format!(
        "{}: belongs to one provider there; write it where this provider's tokens are judged: {requirement}",
        theirs.at("subjects")
    ));
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

fn matcher(theirs: &Theirs<'_>) -> Node {
    let mut matching = Node::object::<&str>([]);
    if let Some(path) = theirs.word("prefix").or_else(|| theirs.word("path_separated_prefix")) {
        let bare = path.strip_suffix('/').filter(|bare| !bare.is_empty()).unwrap_or(path);
        matching.put("path_prefix", bare);
    }
    if let Some(path) = theirs.word("path") {
        matching.put("path", path);
    }
    if let Some(pattern) = theirs.take("safe_regex").and_then(|node| node.word("regex")) {
        matching.put("path_pattern", pattern);
    }
    for header in theirs.elements("headers") {
        let exact = header.at(&["string_match", "exact"]).and_then(Node::text).or_else(|| header.word("exact_match"));
        match (header.word("name"), exact) {
            (Some(":method"), Some(method)) => matching.put("methods", texts([method])),
            (Some(name), Some(value)) => {
                let mut headers = matching.get("headers").cloned().unwrap_or_else(|| Node::object::<&str>([]));
                headers.put(name, value);
                matching.put("headers", headers);
            }
            (name, _) => {
                let name = name.unwrap_or("a header");
                theirs.notes.add(format!(
                    "{}: only exact values carry over; write the match of {name} by hand",
                    theirs.at("headers")
                ));
            }
        }
    }
    for field in ["query_parameters", "runtime_fraction", "connect_matcher", "path_match_policy"] {
        theirs.lose(field, "no counterpart: without it the rule is for more requests");
    }
    theirs.skip(&["case_sensitive"]);
    matching
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
