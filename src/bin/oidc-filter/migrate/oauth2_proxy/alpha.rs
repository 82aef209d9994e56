//! The newer form of oauth2-proxy's configuration (`--alpha-config`), by the names of the older one; and its headers for the service.

use super::super::settings::Settings;
use super::super::{Notes, Theirs, claim};
use crate::yaml::Node;

pub struct Alpha {
    /// Headers for the service, each with the field of a session that it has, and what stands before that.
    injected: Vec<(String, String, Option<String>)>,
    /// Headers that are taken off.
    pub removed: Vec<String>,
}

impl Alpha {
    /// What a document in this form says, if there is one.
    pub fn take(theirs: &mut Settings<'_>, notes: &Notes) -> Option<Self> {
        let documents = theirs.take_alpha();
        let document = documents.first()?;
        if documents.len() > 1 {
            notes.add("several files with providers: only the first one carries over");
        }
        provider(document, theirs, notes);
        let fields = Theirs::of(document, "", notes);
        fields.skip(&["providers"]);
        for name in ["upstreamConfig", "server", "metricsServer", "upstreams"] {
            fields.lose(name, "Envoy's listeners, routes and clusters");
        }
        fields.lose("injectResponseHeaders", "no counterpart: what the client learns of itself it has in its token");
        let mut found = Self { injected: Vec::new(), removed: Vec::new() };
        for header in fields.elements("injectRequestHeaders") {
            found.inject(header, notes);
        }
        fields.finish();
        Some(found)
    }

    fn inject(&mut self, header: &Node, notes: &Notes) {
        let name = header.word("name").unwrap_or_default();
        let values = header.elements("values");
        let is_kept = header.get("preserveRequestValue").is_some_and(Node::is_true);
        if values.is_empty() && !is_kept {
            if ["authorization", "cookie"].contains(&name.to_ascii_lowercase().as_str()) {
                notes.add(format!("injectRequestHeaders: {name}: is taken off there; `forward: false` and `remove.cookie` take off what holds tokens"));
            } else {
                self.removed.push(name.to_owned());
            }
        }
        for value in values {
            let source = value.get("claimSource").unwrap_or(value);
            match source.word("claim") {
                Some("id_token" | "access_token" | "refresh_token" | "created_at" | "expires_on") | None => {
                    notes.add(format!("injectRequestHeaders: {name}: only claims carry over; `forward` leaves the token on the request"));
                }
                Some(_) if source.get("basicAuthPassword").is_some() => {
                    notes.add(format!("injectRequestHeaders: {name}: basic authentication has no counterpart"));
                }
                Some(field) => {
                    let prefix = source.word("prefix").map(str::to_owned);
                    self.injected.push((name.to_owned(), field.to_owned(), prefix));
                }
            }
        }
    }

    /// The headers for the service: fields of a session are claims, of which some have other names.
    pub fn headers(&self, email: &str, groups: &str) -> Vec<Node> {
        let headers = self.injected.iter().map(|(name, field, prefix)| {
            let claimed = match field.as_str() {
                "user" => "sub",
                "email" => email,
                "groups" => groups,
                other => other,
            };
            let mut ours = Node::object([("header", Node::from(name.as_str())), claim(claimed)]);
            if let Some(prefix) = prefix {
                ours.put("prefix", prefix.as_str());
            }
            ours
        });
        headers.collect()
    }
}

/// The first provider, by the names that its settings have elsewhere.
fn provider(document: &Node, theirs: &mut Settings<'_>, notes: &Notes) {
    let listed = document.elements("providers");
    if listed.len() > 1 {
        notes.add("providers: only the first one carries over");
    }
    let Some(provider) = listed.first() else { return };
    let parts = [(provider, FIELDS)].into_iter().chain(provider.get("oidcConfig").map(|config| (config, OIDC_FIELDS)));
    for (node, names) in parts {
        for (key, inner) in node.members() {
            let lower = key.name.to_ascii_lowercase();
            match names.iter().find(|(name, _)| name.to_ascii_lowercase() == lower) {
                Some((_, "")) => {}
                Some((_, name)) => theirs.put(name, inner),
                None => notes.add(format!("providers[0].{}: has no counterpart here", key.name)),
            }
        }
    }
    if let Some(roles) = provider.at(&["keycloakConfig", "roles"]) {
        theirs.put("allowed_roles", roles);
    }
    for (part, field) in LIMITS {
        if provider.at(&[part, field]).is_some_and(|node| !node.is_empty()) {
            notes.widen(format!(
                "providers[0].{part}.{field}: who may log in by this is no claim of a token: write a requirement on one that says it"
            ));
        }
    }
}

/// Fields of a provider, each with its older name; none for what is looked at elsewhere, or says nothing of tokens.
const FIELDS: &[(&str, &str)] = &[
    ("clientID", "client_id"),
    ("allowedGroups", "allowed_groups"),
    ("allowedRoles", "allowed_roles"),
    ("provider", "provider"),
    ("id", ""),
    ("name", ""),
    ("oidcConfig", ""),
    ("keycloakConfig", ""),
];

const OIDC_FIELDS: &[(&str, &str)] = &[
    ("issuerURL", "oidc_issuer_url"),
    ("jwksURL", "oidc_jwks_url"),
    ("extraAudiences", "oidc_extra_audiences"),
    ("audienceClaims", "oidc_audience_claims"),
    ("emailClaim", "oidc_email_claim"),
    ("groupsClaim", "oidc_groups_claim"),
    ("enabledSigningAlgs", "oidc_enabled_signing_algs"),
    ("insecureAllowUnverifiedEmail", "insecure_oidc_allow_unverified_email"),
];

/// What keeps somebody out there.
const LIMITS: [(&str, &str); 8] = [
    ("keycloakConfig", "groups"),
    ("microsoftEntraIDConfig", "allowedTenants"),
    ("githubConfig", "org"),
    ("githubConfig", "users"),
    ("gitlabConfig", "group"),
    ("gitlabConfig", "projects"),
    ("googleConfig", "group"),
    ("bitbucketConfig", "team"),
];
