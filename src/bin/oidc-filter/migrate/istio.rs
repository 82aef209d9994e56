//! Istio's `RequestAuthentication` and `AuthorizationPolicy`: `docs/migrate/istio.md`.

use super::policies::Policies;
use super::{Notes, Theirs, claim, header_source, push_new, put_keys, source, texts};
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
        if ours.reads_standard {
            push_new(&mut ours.places, source("header", "Authorization"));
        }
        configuration.put("access_token", ours.places.into_iter().collect::<Node>());
    }
    if ours.reads_standard {
        notes.add("fromParams: Istio looks for a token in the parameter access_token, too; name it in access_token if somebody uses it");
    }
    configuration.put("forward", ours.forward);
    for (name, mut nodes) in [("user_info", ours.user_info), ("claim_headers", ours.claim_headers)] {
        match (nodes.len(), nodes.pop()) {
            (1, Some(one)) if name == "user_info" => configuration.put(name, one),
            (_, Some(last)) => configuration.put(name, nodes.into_iter().chain([last]).collect::<Node>()),
            _ => {}
        }
    }
    let mut policies = Policies::of(ours.issuers);
    for policy in denying.into_iter().chain(others) {
        policies.add(policy, notes);
    }
    if !policies.asks_for_tokens {
        configuration.put("allow_missing", true);
    }
    let rules = policies.into_rules(notes);
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
    /// Whether a rule of theirs names no place.
    reads_standard: bool,
    issuers: Vec<String>,
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
            self.issuers.push(issuer.to_owned());
        }
        let keys = theirs.word("jwksUri").or_else(|| theirs.word("jwks_uri"));
        if let Some(cluster) = keys.or(issuer).and_then(cluster) {
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
        if let Some(uri) = keys {
            provider.put("jwks", Node::object([("uri", Node::from(uri))]));
        }
        if let Some(keys) = theirs.word("jwks") {
            put_keys(&mut provider, keys, &theirs.at("jwks"), notes);
        }
        if let Some(timeout) = theirs.word("timeout") {
            provider.put("timeout", timeout);
        }
        let names_places =
            ["fromHeaders", "fromParams", "fromCookies"].iter().any(|field| theirs.node.get(field).is_some());
        self.reads_standard |= !names_places;
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

/// Istio's cluster for a URL.
fn cluster(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    Some(format!("outbound|{}||{}", url.port_or_known_default()?, url.host_str()?))
}
