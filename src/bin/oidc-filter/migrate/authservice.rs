//! Arrikto's OIDC AuthService: `docs/migrate/authservice.md`.

use super::settings::Settings;
use super::{Notes, bypass, header_source, quoted, source, texts};
use crate::file::File;
use crate::yaml::{self, Node};

pub fn migrate(files: &[File], notes: &Notes) -> Result<Node, String> {
    let theirs = Settings::read(files, "", notes)?;
    let is_opaque = theirs.one("access_token_authn").as_deref() == Some("opaque");
    let mut provider = provider(&theirs, is_opaque, notes)?;
    let mut groups = theirs.one_or("groups_claim", "groups");
    let allowed: Vec<String> = theirs.list("groups_allowlist").into_iter().filter(|group| group != "*").collect();
    // The allow-list looks at `groups`.
    if !allowed.is_empty() && groups != "groups" {
        provider.put("claim_mapping", Node::object([("groups", Node::from(groups.as_str()))]));
        groups = "groups".to_owned();
    }
    let mut configuration = Node::object([("providers", Node::from_iter([provider]))]);
    if let Some(header) = theirs.one("id_token_header") {
        let mut place = source("header", &header);
        place.put("scheme", "");
        configuration.put("access_token", Node::from_iter([header_source("Authorization", "Bearer"), place]));
    }
    let user = theirs.one_or("userid_claim", "email");
    configuration.put("claim_headers", headers(&theirs, &user, &groups, is_opaque));
    if !allowed.is_empty() {
        configuration.put("require", Node::object([("groups_allowlist", texts(allowed))]));
    }
    if let Some(uri) = theirs.one("external_authz_url") {
        let asked =
            Node::object([("uri", uri.into()), ("cluster", "authorizer".into()), ("user", user.as_str().into())]);
        configuration.put("external_authorization", asked);
    }
    configuration.put("response_body", "text");
    configuration.put("allow_preflight", true);
    let prefix = theirs.one_or("authservice_url_prefix", "/authservice/");
    let verify = theirs.one("verify_auth_url").unwrap_or_else(|| format!("{}/verify", prefix.trim_end_matches('/')));
    configuration.put("verify_path", verify);
    let skipped = [theirs.list("skip_auth_urls"), theirs.words("skip_auth_uri")].concat();
    if !skipped.is_empty() {
        configuration.put("rules", skipped.iter().map(|path| skip(path)).collect::<Node>());
    }
    LOST.iter().for_each(|(names, why)| theirs.lose(names, why));
    theirs.finish();
    Ok(configuration)
}

/// Who issues their tokens. Opaque ones its userinfo endpoint knows; all others are proved by signature.
fn provider(theirs: &Settings<'_>, is_opaque: bool, notes: &Notes) -> Result<Node, String> {
    let issuer =
        theirs.one("oidc_provider").ok_or("expected the environment of AuthService: OIDC_PROVIDER is not there")?;
    let mut provider = Node::object([
        ("issuer", Node::from(issuer)),
        ("cluster", "idp".into()),
        ("validation", if is_opaque { "userinfo" } else { "jwt" }.into()),
    ]);
    let mut audiences = theirs.list("audiences");
    if audiences.is_empty() && !is_opaque {
        notes.add("audiences: AuthService takes JWTs for istio-ingressgateway.istio-system.svc.cluster.local where nothing else is said: add that if your clients have such");
    }
    audiences.extend(theirs.one("client_id"));
    if is_opaque {
        let minutes = theirs.one("cache_expiration_minutes").filter(|_| theirs.flag("cache_enabled"));
        let cache = minutes.map_or_else(|| Node::from(0), |minutes| format!("{minutes}m").into());
        provider.put("userinfo", Node::object([("cache", cache)]));
        return Ok(provider);
    }
    theirs.lose(&["cache_*"], "a JWT is proved by its signature; what is proved is always kept until `exp`");
    if audiences.is_empty() {
        notes.add("audiences: required here: the value of `aud` that names your service");
    }
    provider.put("audiences", texts(audiences));
    Ok(provider)
}

/// What the service reads: the user, the groups, and how the user was authenticated.
fn headers(theirs: &Settings<'_>, user: &str, groups: &str, is_opaque: bool) -> Node {
    let mut user_header = Node::object([
        ("header", Node::from(theirs.one_or("userid_header", "kubeflow-userid"))),
        ("claim", user.into()),
        ("required", true.into()),
    ]);
    if let Some(prefix) = theirs.one("userid_prefix") {
        user_header.put("prefix", prefix);
    }
    if let Some(list) = theirs.one("userid_transformers").and_then(|text| yaml::read(&text).ok()?.pop()) {
        user_header.put("transformers", list);
    }
    let mut groups_header = Node::object([
        ("header", Node::from(theirs.one_or("groups_header", "kubeflow-groups"))),
        ("claim", groups.into()),
    ]);
    if is_opaque {
        groups_header.put("required", true);
    } else {
        groups_header.put("default", "");
    }
    let method = Node::object([
        ("header", Node::from(theirs.one_or("auth_method_header", "Auth-Method"))),
        ("attribute", "location".into()),
    ]);
    Node::from_iter([user_header, groups_header, method])
}

/// `/dex/` is not for `/dex`.
fn skip(path: &str) -> Node {
    if path.len() > 1 && path.ends_with('/') {
        bypass("path_pattern", format!("{}.*", quoted(path)).into())
    } else {
        bypass("path_prefix", path.into())
    }
}

/// What does not carry over, and why nothing is lost by it or what is to be done.
const LOST: &[(&[&str], &str)] = &[
    (
        &[
            "client_secret",
            "redirect_url",
            "oidc_auth_url",
            "oidc_scopes",
            "after_login_url",
            "homepage_url",
            "after_logout_url",
            "application_secret",
            "oidc_redirect_uri",
            "static_destination_url",
        ],
        "login: put Envoy's oauth2 filter before this one, with forward_bearer_token: true",
    ),
    (
        &["session_*", "store_path", "oidc_state_store_path", "strict_session_validation", "auth_header"],
        "sessions: Envoy's oauth2 filter keeps them in cookies",
    ),
    (&["kubernetes_authn_enabled"], "a provider of its own, by signature: docs/kubernetes.md"),
    (&["idtoken_authn_enabled"], "ID tokens pass where `aud` is right; `token_type: at+jwt` excludes them"),
    (&["ca_bundle"], "belongs to the transport_socket of the cluster"),
    (
        &["server_*", "web_server_port", "readiness_probe_port", "port"],
        "Envoy's listeners, and /ready of its admin interface",
    ),
    (&["userid_token_header"], "no counterpart: `forward` leaves the client's token on the request"),
    (&["log_level"], "Envoy's, for the component wasm"),
    (&["client_name", "themes_url", "theme", "template_*"], "pages: no counterpart"),
];
