//! Istio's `RequestAuthentication` and `AuthorizationPolicy`: `docs/migrate/istio.md`.

use super::{Notes, Theirs, claim, header_source, key_set, push_new, source, texts};
use crate::urls;
use crate::yaml::Node;

pub fn migrate(documents: &[Node], notes: &Notes) -> Result<Node, String> {
    let authentications = of_kind(documents, "RequestAuthentication");
    let (denying, others): (Vec<&Node>, Vec<&Node>) =
        of_kind(documents, "AuthorizationPolicy").into_iter().partition(|policy| denies(policy));
    if authentications.is_empty() {
        return Err("expected a RequestAuthentication".to_owned());
    }
    let mut ours = Ours::default();
    for document in &authentications {
        let Some(spec) = document.get("spec") else { continue };
        let spec = Theirs::of(spec, "spec", notes);
        spec.skip(&["selector", "targetRef", "targetRefs"]);
        for (index, rule) in spec.elements("jwtRules").iter().enumerate() {
            let rule = Theirs::of(rule, &format!("spec.jwtRules[{index}]"), notes);
            ours.provider(&rule);
            rule.finish();
        }
        spec.finish();
    }
    let mut configuration = Node::object([("providers", ours.providers.into_iter().collect::<Node>())]);
    if !ours.places.is_empty() {
        configuration.put("access_token", ours.places.into_iter().collect::<Node>());
        configuration.put("forward", ours.forward);
    }
    for (name, mut nodes) in [("user_info", ours.user_info), ("claim_headers", ours.claim_headers)] {
        match (nodes.len(), nodes.pop()) {
            (1, Some(one)) if name == "user_info" => configuration.put(name, one),
            (_, Some(last)) => configuration.put(name, nodes.into_iter().chain([last]).collect::<Node>()),
            _ => {}
        }
    }
    let mut rules = Vec::new();
    let mut asks_for_tokens = false;
    for policy in denying.into_iter().chain(others) {
        asks_for_tokens |= authorization(policy, &mut rules, notes);
    }
    if !asks_for_tokens {
        configuration.put("allow_missing", true);
    }
    if !rules.is_empty() {
        configuration.put("rules", rules.into_iter().collect::<Node>());
    }
    Ok(configuration)
}

fn of_kind<'n>(documents: &'n [Node], kind: &str) -> Vec<&'n Node> {
    documents.iter().filter(|document| document.word("kind") == Some(kind)).collect()
}

fn denies(policy: &Node) -> bool {
    policy.at(&["spec", "action"]).and_then(Node::text) == Some("DENY")
}

#[derive(Default)]
struct Ours {
    providers: Vec<Node>,
    places: Vec<Node>,
    forward: bool,
    user_info: Vec<Node>,
    claim_headers: Vec<Node>,
}

impl Ours {
    fn provider(&mut self, theirs: &Theirs<'_>) {
        let notes = theirs.notes;
        let mut provider = Node::object::<&str>([]);
        let issuer = theirs.word("issuer");
        if let Some(issuer) = issuer {
            provider.put("issuer", issuer);
        }
        let keys = theirs.word("jwksUri");
        if let Some(host) = keys.or(issuer).and_then(urls::host) {
            provider.put("cluster", format!("outbound|443||{host}"));
        }
        let audiences = theirs.words("audiences");
        if audiences.is_empty() {
            provider.put("any_audience", true);
            notes.add(format!("{}: nobody's: tokens for other services pass, too; name yours", theirs.at("audiences")));
        } else {
            provider.put("audiences", texts(audiences))
        }
        provider.put("validation", "jwt");
        if let Some(uri) = keys {
            provider.put("jwks", Node::object([("uri", Node::from(uri))]));
        }
        if let Some(keys) = theirs.word("jwks") {
            provider.put("jwks", Node::object([("inline", key_set(keys))]));
        }
        if let Some(timeout) = theirs.word("timeout") {
            provider.put("timeout", timeout);
        }
        for header in theirs.elements("fromHeaders") {
            let scheme = header.word("prefix").unwrap_or_default().trim();
            push_new(&mut self.places, header_source(header.word("name").unwrap_or("Authorization"), scheme));
        }
        for (field, location) in [("fromParams", "query_string"), ("fromCookies", "cookie")] {
            for key in theirs.words(field) {
                push_new(&mut self.places, source(location, key));
            }
        }
        if let Some(header) = theirs.word("outputPayloadToHeader") {
            let mut output = source("header", header);
            output.put("encoding", "base64url");
            self.user_info.push(output);
        }
        for header in theirs.elements("outputClaimToHeaders") {
            if let (Some(name), Some(theirs)) = (header.word("header"), header.word("claim")) {
                self.claim_headers.push(Node::object([("header", name.into()), claim(theirs)]));
            }
        }
        self.forward |= theirs.flag("forwardOriginalToken");
        theirs.lose("spaceDelimitedClaims", "scopes are read as a list always; other claims: `matches`");
        self.providers.push(provider);
    }
}

/// The rules of a policy; whether it wants a token where no rule says otherwise.
fn authorization(policy: &Node, rules: &mut Vec<Node>, notes: &Notes) -> bool {
    let name = policy.at(&["metadata", "name"]).and_then(Node::text).unwrap_or("AuthorizationPolicy");
    let action = policy.at(&["spec", "action"]).and_then(Node::text).unwrap_or("ALLOW");
    let listed = policy.at(&["spec", "rules"]).map_or(&[][..], Node::list);
    match action {
        "ALLOW" => {}
        "DENY" => return deny(name, listed, rules, notes),
        "CUSTOM" => {
            notes.add(format!("{name}: a CUSTOM policy runs before the filter in Istio; let the filter ask the service by `external_authorization`"));
            return false;
        }
        other => {
            notes.add(format!("{name}: {other} has no counterpart"));
            return false;
        }
    }
    let mut is_for_all = false;
    for (index, rule) in listed.iter().enumerate() {
        let path = format!("{name}: rules[{index}]");
        let matches = matches(rule, &path, notes);
        let wants_token = wants_token(rule, &path, notes);
        let requirement = requirement(rule, &path, notes);
        is_for_all |= matches.as_ref().is_none_or(Vec::is_empty);
        let Some(matches) = matches.filter(|matches| !matches.is_empty()) else {
            if requirement.is_some() {
                notes.add(format!("{path}: holds for all paths: write its `when` as `require` at the top level"));
            }
            continue;
        };
        for matching in matches {
            let mut ours = Node::object([("match", matching)]);
            match (&requirement, wants_token) {
                (Some(requirement), _) => ours.put("require", requirement.clone()),
                (None, true) => {}
                (None, false) => ours.put("allow_missing", true),
            }
            rules.push(ours);
        }
    }
    if !is_for_all {
        notes.add(format!(
            "{name}: what none of its rules allows is 403 there; here a valid token is enough where no rule says more"
        ));
    }
    true
}

/// `DENY` for whoever has no identity is a demand for a token.
fn deny(name: &str, listed: &[Node], rules: &mut Vec<Node>, notes: &Notes) -> bool {
    let mut is_for_all = false;
    for (index, rule) in listed.iter().enumerate() {
        let path = format!("{name}: rules[{index}]");
        let sources = rule.elements("from");
        if sources.is_empty() || !sources.iter().all(is_nobody) || rule.get("when").is_some() {
            notes.add(format!("{path}: only `notRequestPrincipals: [\"*\"]` of a DENY policy carries over; write a rule with a requirement before the others"));
            continue;
        }
        match matches(rule, &path, notes).filter(|matches| !matches.is_empty()) {
            None => is_for_all = true,
            Some(matches) => rules.extend(
                matches
                    .into_iter()
                    .map(|matching| Node::object([("match", matching), ("allow_missing", false.into())])),
            ),
        }
    }
    is_for_all
}

/// Whether a source is whoever has no identity.
fn is_nobody(source: &Node) -> bool {
    let principals = source.at(&["source", "notRequestPrincipals"]).map_or(&[][..], Node::list);
    principals.iter().any(|one| one.text() == Some("*"))
}

/// The requests of a rule; none for all, and an empty list for all but some, which other rules are for.
fn matches(rule: &Node, path: &str, notes: &Notes) -> Option<Vec<Node>> {
    let operations = rule.get("to")?.list();
    let mut found = Vec::new();
    for operation in operations.iter().filter_map(|one| one.get("operation")) {
        let theirs = Theirs::of(operation, &format!("{path}.to"), notes);
        let mut matching = Node::object::<&str>([]);
        let (mut exact, mut prefixes): (Vec<&str>, Vec<&str>) = (Vec::new(), Vec::new());
        for one in theirs.words("paths") {
            match one.strip_suffix("/*") {
                Some(prefix) => prefixes.push(if prefix.is_empty() { "/" } else { prefix }),
                None if one == "*" => {}
                None if one.contains(['*', '{']) => {
                    notes.add(format!(
                        "{path}.to: {one} is no path and no prefix of whole segments; write a path_pattern"
                    ));
                }
                None => exact.push(one),
            }
        }
        // A prefix is for the path itself, too.
        exact.retain(|one| !prefixes.contains(one));
        if !prefixes.is_empty() {
            matching.put("path_prefix", one_or_several(&prefixes));
            if !exact.is_empty() {
                let mut other = Node::object([("path", one_or_several(&exact))]);
                methods_and_hosts(&theirs, &mut other);
                found.push(other);
            }
        } else if !exact.is_empty() {
            matching.put("path", one_or_several(&exact));
        }
        methods_and_hosts(&theirs, &mut matching);
        // All but what other rules say is what holds at the top level.
        theirs.skip(&["notPaths"]);
        theirs.finish();
        if !matching.is_empty() {
            found.push(matching);
        }
    }
    Some(found)
}

/// A text, or a list of texts.
fn one_or_several(list: &[&str]) -> Node {
    match list {
        [one] => Node::from(*one),
        several => texts(several),
    }
}

fn methods_and_hosts(theirs: &Theirs<'_>, matching: &mut Node) {
    for field in ["methods", "hosts"] {
        let words = theirs.words(field);
        if !words.is_empty() {
            matching.put(field, texts(words));
        }
    }
}

fn wants_token(rule: &Node, path: &str, notes: &Notes) -> bool {
    let sources = rule.elements("from");
    for source in sources.iter().filter_map(|one| one.get("source")) {
        let theirs = Theirs::of(source, &format!("{path}.from"), notes);
        for principal in theirs.words("requestPrincipals").into_iter().filter(|principal| *principal != "*") {
            notes.add(format!(
                "{path}.from: {principal} is an issuer and a `sub`: write `providers` and a requirement on `sub`"
            ));
        }
        for field in [
            "ipBlocks",
            "remoteIpBlocks",
            "principals",
            "namespaces",
            "serviceAccounts",
            "notIpBlocks",
            "notPrincipals",
            "notNamespaces",
        ] {
            theirs.lose(field, "no counterpart: leave it in Istio");
        }
        theirs.finish();
    }
    !sources.is_empty()
}

/// The `when` of a rule.
fn requirement(rule: &Node, path: &str, notes: &Notes) -> Option<Node> {
    let mut claims = Vec::new();
    for condition in rule.elements("when") {
        let key = condition.word("key").unwrap_or_default();
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
            (None, _) => {
                notes.add(format!("{path}.when: {key} has no counterpart"));
                continue;
            }
        };
        let values: Vec<&str> = condition.elements("values").iter().filter_map(Node::text).collect();
        let others: Vec<&str> = condition.elements("notValues").iter().filter_map(Node::text).collect();
        if values.iter().any(|value| value.contains('*')) && values != ["*"] {
            let patterns: Vec<String> = values.iter().map(|value| super::quoted(value).replace("[*]", ".*")).collect();
            claim.put("matches", patterns.join("|"));
        } else if !values.is_empty() && values != ["*"] {
            claim.put("any_of", texts(values));
        }
        if !others.is_empty() {
            claim.put("none_of", texts(others));
        }
        claims.push(claim);
    }
    (!claims.is_empty()).then(|| Node::object([("claims", claims.into_iter().collect::<Node>())]))
}
