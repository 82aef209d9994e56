//! Istio's `RequestAuthentication` and `AuthorizationPolicy`: `docs/migrate/istio.md`.

use super::merging::Merged;
use super::policies::Policies;
use super::{Notes, Theirs, claim, header_source, of_others, push_new, put_audiences, put_keys, source};
use crate::yaml::Node;

pub fn migrate(documents: &[Node], notes: &Notes) -> Result<Node, String> {
    let authentications = of_kind(documents, "RequestAuthentication");
    let (denying, others): (Vec<&Node>, Vec<&Node>) =
        of_kind(documents, "AuthorizationPolicy").into_iter().partition(|policy| denies(policy));
    if authentications.is_empty() {
        return Err("expected a RequestAuthentication; give its file and those of its policies together".to_owned());
    }
    tell_workloads(documents, notes);
    let mut ours = Ours::of(&authentications, notes);
    ours.tell_outputs(notes);
    ours.tell_places(notes);
    let merged = Merged::of(std::mem::take(&mut ours.providers), notes);
    if merged.has_united_audiences() {
        notes.widen("audiences: one issuer has other audiences in another rule there, and all of them everywhere here: write `audiences` in rules");
    }
    let mut configuration = Node::object([("providers", merged.providers.into_iter().collect::<Node>())]);
    let mut policies = Policies::of(std::mem::take(&mut ours.issuers));
    ours.write_to(&mut configuration, notes);
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

/// Policies of several workloads are put together here, where each would open doors of the others.
fn tell_workloads(documents: &[Node], notes: &Notes) {
    let mut workloads: Vec<String> = Vec::new();
    let security = documents.iter().filter(|document| {
        document.word("kind").is_some_and(|kind| ["RequestAuthentication", "AuthorizationPolicy"].contains(&kind))
    });
    for document in security {
        let namespace = document.at(&["metadata", "namespace"]).and_then(Node::text).unwrap_or("the same namespace");
        let spec = document.get("spec");
        let chosen = ["selector", "targetRef", "targetRefs"].iter().find_map(|field| spec?.get(field));
        let workload =
            format!("{namespace}: {}", chosen.map(|chosen| chosen.to_json().to_string()).unwrap_or_default());
        if chosen.is_some() && !workloads.contains(&workload) {
            workloads.push(workload);
        }
    }
    if workloads.len() > 1 {
        notes.widen(format!(
            "these are for {} workloads, and what one of them allows is allowed for all here: give each workload's in a run of its own: {}",
            workloads.len(),
            workloads.join("; ")
        ));
    }
}

fn denies(policy: &Node) -> bool {
    policy.at(&["spec", "action"]).and_then(Node::text) == Some("DENY")
}

#[derive(Default)]
struct Ours {
    providers: Vec<Node>,
    places: Vec<Node>,
    /// The same with the issuers that read them.
    read: Vec<(Node, String)>,
    /// Whether a rule of theirs names no place.
    reads_standard: bool,
    issuers: Vec<String>,
    forward: Vec<bool>,
    /// What is written, and for how many of theirs.
    written: Vec<(String, usize)>,
    user_info: Vec<Node>,
    claim_headers: Vec<Node>,
}

impl Ours {
    /// What their rules say, all of them together.
    fn of(authentications: &[&Node], notes: &Notes) -> Self {
        let mut ours = Self::default();
        for document in authentications {
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
        ours
    }

    /// Writes where tokens are, whether they go on, and what the service reads of them.
    fn write_to(mut self, configuration: &mut Node, notes: &Notes) {
        if !self.places.is_empty() {
            if self.reads_standard {
                push_new(&mut self.places, source("header", "Authorization"));
            }
            configuration.put("access_token", self.places.into_iter().collect::<Node>());
        }
        if self.reads_standard {
            notes.add("fromParams: Istio looks for a token in the parameter access_token, too; name it in access_token if somebody uses it");
        }
        configuration.put("forward", !self.forward.contains(&false));
        if self.forward.contains(&true) && self.forward.contains(&false) {
            notes.add("forwardOriginalToken: some of theirs forward the token and some don't; here it is one for all, or per rule: false");
        }
        for (name, mut nodes) in [("user_info", self.user_info), ("claim_headers", self.claim_headers)] {
            match (nodes.len(), nodes.pop()) {
                (1, Some(one)) if name == "user_info" => configuration.put(name, one),
                (_, Some(last)) => configuration.put(name, nodes.into_iter().chain([last]).collect::<Node>()),
                _ => {}
            }
        }
    }

    fn write(&mut self, what: String) {
        match self.written.iter_mut().find(|(other, _)| *other == what) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => self.written.push((what, 1)),
        }
    }

    /// A place of the tokens of an issuer.
    fn place(&mut self, place: Node, issuer: &str) {
        self.read.push((place.clone(), issuer.to_owned()));
        push_new(&mut self.places, place);
    }

    /// Tells which places are read for all here, and for some there.
    fn tell_places(&self, notes: &Notes) {
        let standard = source("header", "Authorization");
        let standard = Some(&standard).filter(|_| self.reads_standard && !self.places.is_empty());
        for place in self.places.iter().chain(standard) {
            let reads = |issuer: &&String| {
                self.read.iter().any(|(other, by)| by == *issuer && other.to_json() == place.to_json())
            };
            let (those, others): (Vec<&String>, Vec<&String>) = self.issuers.iter().partition(reads);
            let listed = |issuers: Vec<&String>| issuers.into_iter().cloned().collect::<Vec<_>>().join(", ");
            if !others.is_empty() {
                notes.widen(of_others(place, &listed(those), &listed(others)));
            }
        }
    }

    /// Tells what is written of the tokens of all here, and of some there.
    fn tell_outputs(&self, notes: &Notes) {
        for (header, _) in self.written.iter().filter(|(_, count)| *count < self.providers.len()) {
            notes.widen(format!(
                "the header {header}: written for the tokens of some issuers alone there, and of every one here: whoever reads it must look at \
                 `iss`, too"
            ));
        }
    }

    fn provider(&mut self, theirs: &Theirs<'_>) {
        let notes = theirs.notes;
        let mut provider = Node::object::<&str>([]);
        let issuer = theirs.word("issuer");
        if let Some(issuer) = issuer {
            provider.put("issuer", issuer);
            if !self.issuers.contains(&issuer.to_owned()) {
                self.issuers.push(issuer.to_owned());
            }
        }
        let keys = theirs.word("jwksUri").or_else(|| theirs.word("jwks_uri"));
        if let Some(cluster) = keys.or(issuer).and_then(cluster) {
            provider.put("cluster", cluster);
        }
        put_audiences(&mut provider, theirs);
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
        self.places_of(theirs, issuer.unwrap_or_default());
        self.outputs_of(theirs);
        self.forward.push(theirs.flag("forwardOriginalToken"));
        theirs.lose("spaceDelimitedClaims", "scopes are read as a list always; other claims: `matches`");
        self.providers.push(provider);
    }

    /// Where tokens of an issuer are.
    fn places_of(&mut self, theirs: &Theirs<'_>, issuer: &str) {
        let names_places =
            ["fromHeaders", "fromParams", "fromCookies"].iter().any(|field| theirs.node.get(field).is_some());
        if !names_places {
            self.reads_standard = true;
            self.read.push((source("header", "Authorization"), issuer.to_owned()));
        }
        for header in theirs.elements("fromHeaders") {
            let scheme = header.word("prefix").unwrap_or_default().trim();
            self.place(header_source(header.word("name").unwrap_or("Authorization"), scheme), issuer);
        }
        for (field, location) in [("fromParams", "query_string"), ("fromCookies", "cookie")] {
            for key in theirs.words(field) {
                self.place(source(location, key), issuer);
            }
        }
    }

    /// What the service reads of these tokens.
    fn outputs_of(&mut self, theirs: &Theirs<'_>) {
        if let Some(header) = theirs.word("outputPayloadToHeader") {
            let mut output = source("header", header);
            output.put("encoding", "base64url");
            self.write(header.to_owned());
            push_new(&mut self.user_info, output);
        }
        for header in theirs.elements("outputClaimToHeaders") {
            if let (Some(name), Some(theirs)) = (header.word("header"), header.word("claim")) {
                self.write(name.to_owned());
                push_new(&mut self.claim_headers, Node::object([("header", name.into()), claim(theirs)]));
            }
        }
    }
}

/// Istio's cluster for a URL.
fn cluster(url: &str) -> Option<String> {
    let url = url::Url::parse(url).ok()?;
    Some(format!("outbound|{}||{}", url.port_or_known_default()?, url.host_str()?))
}
