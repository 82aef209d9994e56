//! Envoy Gateway puts the filters of its policies in an order of its own, unless an EnvoyProxy says another: what stands before the module.

use crate::yaml::{Key, Node};

/// A filter that a policy puts before the module.
pub struct Early<'n> {
    pub file: &'n str,
    /// The policy.
    policy: &'n Node,
    /// The field that asks for it.
    pub key: &'n Key,
    /// What Envoy calls it.
    pub filter: &'static str,
}

impl Early<'_> {
    /// Whether the policy may be for what another one is for: a Gateway has all routes, but one route is not another.
    pub fn is_beside(&self, other: &Node) -> bool {
        let (ours, theirs) = (targets(self.policy), targets(other));
        let is_one = |one: &(&str, &str), other: &(&str, &str)| one.0 != other.0 || one.1 == other.1;
        ours.is_empty() || theirs.is_empty() || ours.iter().any(|one| theirs.iter().any(|other| is_one(one, other)))
    }

    pub fn told(&self) -> String {
        format!(
            "Envoy Gateway puts {0} before the module: it sees what the client has sent, also under the names that the filter writes, and no \
             verified identity; put it behind by `filterOrder` of an EnvoyProxy: `{{ name: envoy.filters.http.wasm, before: \
             envoy.filters.http.{0} }}`",
            self.filter
        )
    }
}

/// What a policy is for: kinds and names.
fn targets(policy: &Node) -> Vec<(&str, &str)> {
    let Some(spec) = policy.get("spec") else { return Vec::new() };
    let targets = spec.elements("targetRefs").iter().chain(spec.get("targetRef"));
    targets.filter_map(|target| Some((target.word("kind")?, target.word("name")?))).collect()
}

/// All such filters that the policies in these documents ask for.
pub fn early<'n>(documents: &[(&'n str, &'n Node)]) -> Vec<Early<'n>> {
    let is_ordered = |document: &Node| {
        document.word("kind") == Some("EnvoyProxy") && document.at(&["spec", "filterOrder"]).is_some()
    };
    // Whoever writes an order has looked at it.
    if documents.iter().any(|(_, document)| is_ordered(document)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for &(file, document) in documents {
        let kind = document.word("kind");
        for (of, field, filter) in FIELDS.iter().filter(|(of, ..)| kind == Some(of)) {
            let asked = document.get("spec").and_then(|spec| spec.entry(field));
            let asked = asked.filter(|(_, node)| *of == "SecurityPolicy" || !node.list().is_empty());
            found.extend(asked.map(|(key, _)| Early { file, policy: document, key, filter }));
        }
    }
    found
}

/// The policies whose filters read what only the module has proved.
const FIELDS: [(&str, &str, &str); 3] = [
    ("SecurityPolicy", "extAuth", "ext_authz"),
    ("SecurityPolicy", "jwt", "jwt_authn"),
    ("EnvoyExtensionPolicy", "extProc", "ext_proc"),
];
