//! A provider of `jwt_authn`, and what is said with it there and once for all here.

use crate::migrate::merging::Merged;
use crate::migrate::{
    Notes, Theirs, claim, duration, header_source, of_others, push_new, put_audiences, put_keys, quoted, source,
};
use crate::yaml::Node;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;

/// What is said with each provider there, and once for all here.
#[derive(Default)]
pub struct Ours {
    /// Places, each with the providers that read it.
    places: Vec<(Node, Vec<String>)>,
    pub forward: Vec<bool>,
    pub user_info: Vec<Node>,
    pub claim_headers: Vec<Node>,
    /// What is written, each with the providers whose tokens it is written of there.
    written: Vec<(String, Vec<String>)>,
    /// Whether there is one provider and no other.
    is_alone: bool,
    pub require: Option<Node>,
}

impl Ours {
    /// None yet, of so many providers.
    pub fn of(count: usize) -> Self {
        Self { is_alone: count == 1, ..Self::default() }
    }

    fn place(&mut self, place: Node, provider: &str) {
        match self.places.iter_mut().find(|(other, _)| other.to_json() == place.to_json()) {
            Some((_, providers)) => providers.push(provider.to_owned()),
            None => self.places.push((place, vec![provider.to_owned()])),
        }
    }

    /// The places, each bound to a provider where no other reads it.
    pub fn sources(&self, merged: &Merged) -> Node {
        let sources = self.places.iter().map(|(place, providers)| {
            let mut place = place.clone();
            let mut names = providers.iter().filter_map(|name| merged.name(name));
            if let Some(one) = names.next()
                && names.all(|name| name == one)
                && merged.providers.len() > 1
            {
                place.put("provider", one);
            }
            place
        });
        sources.collect()
    }

    /// Tells where a token is read in a place that its provider did not read there: one binding is all that a place has here.
    pub fn tell_places(&self, names: &[&str], merged: &Merged, notes: &Notes) {
        for (place, providers) in &self.places {
            let mut ours: Vec<&str> = providers.iter().filter_map(|name| merged.name(name)).collect();
            ours.sort_unstable();
            ours.dedup();
            let is_read = |name: &&str| ours.len() > 1 || merged.name(name).is_some_and(|name| ours.contains(&name));
            let is_others = |name: &&str| !providers.iter().any(|provider| provider == name);
            let others: Vec<&str> = names.iter().copied().filter(|name| is_others(name) && is_read(name)).collect();
            if !others.is_empty() {
                notes.widen(of_others(place, &providers.join(", "), &others.join(", ")));
            }
        }
    }

    fn write(&mut self, what: String, provider: &str) {
        match self.written.iter_mut().find(|(other, _)| *other == what) {
            Some((_, providers)) => providers.push(provider.to_owned()),
            None => self.written.push((what, vec![provider.to_owned()])),
        }
    }

    /// Tells what is written of the tokens of all here, and of some there: somebody may take it for a proof of whose the token is.
    pub fn tell_outputs(&self, names: &[&str], notes: &Notes) {
        for (what, providers) in self.written.iter().filter(|(_, providers)| providers.len() < names.len()) {
            notes.widen(format!(
                "{what}: written for the tokens of {} alone there, and of every provider here: whoever reads it (RBAC, the service) must \
                 look at `iss`, too; or give each rule its own `user_info` and `claim_headers`",
                providers.join(", ")
            ));
        }
    }
}

pub fn read(name: &str, theirs: &Theirs<'_>, ours: &mut Ours) -> Node {
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
    put_audiences(&mut provider, theirs);
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
        local_keys(name, local, &theirs.at("local_jwks"), &mut provider, notes);
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
    outputs(name, theirs, ours);
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

/// Keys in the configuration, in the environment or in a file, which a module can't read.
fn local_keys(name: &str, local: &Node, path: &str, provider: &mut Node, notes: &Notes) {
    let bytes = local.word("inline_bytes").and_then(|text| String::from_utf8(BASE64.decode(text).ok()?).ok());
    if let Some(text) = bytes.as_deref().or_else(|| local.word("inline_string")) {
        put_keys(provider, text, path, notes);
        return;
    }
    let variable = local.word("environment_variable").map_or_else(
        || format!("{}_JWKS", name.to_ascii_uppercase().replace(|letter: char| !letter.is_ascii_alphanumeric(), "_")),
        str::to_owned,
    );
    if local.word("environment_variable").is_none() {
        notes.add(format!(
            "{path}: a module can't read files; write the keys into jwks.inline, or into Envoy's variable {variable}"
        ));
    }
    provider.put("jwks", Node::object([("inline", Node::from(format!("${{{variable}}}")))]));
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
            theirs.notes.widen(format!(
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

fn outputs(provider: &str, theirs: &Theirs<'_>, ours: &mut Ours) {
    if let Some(header) = theirs.word("forward_payload_header") {
        ours.write(format!("the header {header}"), provider);
        let mut output = source("header", header);
        output.put("encoding", "base64url");
        push_new(&mut ours.user_info, output);
    }
    if let Some(key) = theirs.word("payload_in_metadata") {
        ours.write(format!("metadata {key}"), provider);
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
        ours.write(format!("the header {name}"), provider);
        push_new(&mut ours.claim_headers, Node::object([("header", name.into()), claim(theirs)]));
    }
}
