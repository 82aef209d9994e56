//! oauth2-proxy: `docs/migrate/oauth2-proxy.md`. What it does for bearer tokens carries over; its login does not.

mod alpha;

use super::settings::Settings;
use super::{Notes, claim, quoted, texts};
use crate::file::File;
use crate::yaml::Node;
use alpha::Alpha;

pub fn migrate(files: &[File], notes: &Notes) -> Result<Node, String> {
    let mut theirs = Settings::read(files, "oauth2_proxy_", notes)?;
    let alpha = Alpha::take(&mut theirs, notes);
    let mut provider = provider(&theirs, notes)?;
    let allowed: Vec<String> = [theirs.list("allowed_groups"), theirs.list("allowed_group")].concat();
    let email = theirs.one_or("oidc_email_claim", "email");
    let mut groups = theirs.one_or("oidc_groups_claim", "groups");
    if !allowed.is_empty() && groups != "groups" {
        // A path is an object; a name stands by itself.
        let lookup = if groups.contains('.') { Node::object([claim(&groups)]) } else { groups.into() };
        provider.put("claim_mapping", Node::object([("groups", lookup)]));
        groups = "groups".to_owned();
    }
    let providers: Node = std::iter::once(provider).chain(other_providers(&theirs, notes)).collect();
    let mut configuration = Node::object([("providers", providers)]);
    configuration.put("forward", theirs.flag("pass_authorization_header") || theirs.flag("pass_access_token"));
    if theirs.flag("skip_auth_preflight") {
        configuration.put("allow_preflight", true);
    }
    let headers = match &alpha {
        Some(alpha) => alpha.headers(&email, &groups),
        None => headers(&theirs, &email, &groups),
    };
    put_list(&mut configuration, "claim_headers", headers);
    let removed = alpha.map(|alpha| alpha.removed).unwrap_or_default();
    if !removed.is_empty() {
        configuration.put("remove", Node::object([("header", texts(removed))]));
    }
    let require = requirements(&theirs, &email, allowed, notes);
    if !require.is_empty() {
        configuration.put("require", require);
    }
    put_list(&mut configuration, "rules", rules(&theirs, notes));
    if !theirs.flag("skip_jwt_bearer_tokens") {
        notes.add("skip_jwt_bearer_tokens is not set: their clients bring cookies, not tokens; put Envoy's oauth2 filter before this one, with forward_bearer_token: true");
    }
    LOST.iter().for_each(|(names, why)| theirs.lose(names, why));
    LOST_LIMITS.iter().for_each(|(names, why)| theirs.lose_limit(names, why));
    theirs.finish();
    Ok(configuration)
}

fn put_list(node: &mut Node, name: &str, elements: Vec<Node>) {
    if !elements.is_empty() {
        node.put(name, elements.into_iter().collect::<Node>());
    }
}

/// The provider that logs users in there.
fn provider(theirs: &Settings<'_>, notes: &Notes) -> Result<Node, String> {
    let mut provider = Node::object([("issuer", Node::from(issuer(theirs)?)), ("cluster", "idp".into())]);
    let mut audiences: Vec<String> = theirs.one("client_id").into_iter().collect();
    audiences.extend(["oidc_extra_audiences", "oidc_extra_audience"].iter().flat_map(|name| theirs.list(name)));
    if audiences.is_empty() {
        notes.add("client_id: required here as an audience: the value of `aud` that names your service");
    }
    provider.put("audiences", texts(audiences));
    provider.put("validation", "jwt");
    if let Some(uri) = theirs.one("oidc_jwks_url") {
        provider.put("jwks", Node::object([("uri", Node::from(uri))]));
    }
    let algorithms = [theirs.list("oidc_enabled_signing_algs"), theirs.list("oidc_enabled_signing_alg")].concat();
    if !algorithms.is_empty() {
        provider.put("algorithms", texts(algorithms));
    }
    theirs
        .lose(&["oidc_audience_claim", "oidc_audience_claims"], "a token is for whom `aud` names, and for nobody else");
    Ok(provider)
}

/// Those whose tokens are taken beside: `https://issuer.example.com=audience`.
fn other_providers(theirs: &Settings<'_>, notes: &Notes) -> Vec<Node> {
    let mut providers = Vec::new();
    for extra in theirs.list("extra_jwt_issuers") {
        let Some((issuer, audience)) = extra.split_once('=') else { continue };
        providers.push(Node::object([
            ("issuer", issuer.into()),
            ("audiences", texts([audience])),
            ("validation", "jwt".into()),
        ]));
        notes.add(format!("extra_jwt_issuers: {issuer} needs a cluster called as its host, or `cluster`"));
    }
    providers
}

/// Who gets in: by the domain of the e-mail address, by roles, and by groups.
fn requirements(theirs: &Settings<'_>, email: &str, allowed: Vec<String>, notes: &Notes) -> Node {
    let mut require = Node::object::<&str>([]);
    let mut claims: Vec<Node> = Vec::new();
    let domains: Vec<String> = [theirs.list("email_domains"), theirs.list("email_domain")].concat();
    if !domains.is_empty() && !domains.contains(&"*".to_owned()) {
        let patterns: Vec<String> = domains.iter().map(|domain| email_pattern(domain)).collect();
        claims.push(Node::object([claim(email), ("matches", patterns.join("|").into())]));
        if !theirs.flag("insecure_oidc_allow_unverified_email") {
            claims.push(Node::object([("claim", "email_verified".into()), ("any_of", texts(["true"]))]));
            notes.add("email_domains: a token without the claim email_verified passes there; leave that requirement out if your provider does not say it");
        }
        notes.add("email_domains: a token needs the claim for it; oauth2-proxy may have asked userinfo");
    } else if !theirs.flag("insecure_oidc_allow_unverified_email") {
        notes.widen("email_verified: a token that has it as false is refused there; write a requirement on it if e-mail addresses count for you");
    }
    claims.extend(roles(theirs, notes));
    put_list(&mut require, "claims", claims);
    if !allowed.is_empty() {
        require.put("groups_allowlist", texts(allowed));
    }
    require
}

/// Roles of Keycloak. One of them is enough there, as is one of the groups; of roles of clients, whoever has one of the realm may not have it.
fn roles(theirs: &Settings<'_>, notes: &Notes) -> Option<Node> {
    let allowed = [theirs.list("allowed_roles"), theirs.list("allowed_role")].concat();
    let path = match allowed.first()?.split_once(':') {
        None if !allowed.iter().any(|role| role.contains(':')) => texts(["realm_access", "roles"]),
        Some((client, _)) if allowed.iter().all(|role| role.starts_with(&format!("{client}:"))) => {
            texts(["resource_access", client, "roles"])
        }
        _ => {
            notes.widen("allowed_roles: of the realm and of clients: write a requirement on realm_access.roles or resource_access by hand; without it, any role will do");
            return None;
        }
    };
    let names = allowed.iter().map(|role| role.split_once(':').map_or(role.as_str(), |(_, name)| name));
    notes.add(
        "allowed_roles: wanted beside `allowed_groups` here, where there are both; one of the two is enough there",
    );
    Some(Node::object([("path", path), ("any_of", texts(names))]))
}

/// Who issues their tokens.
fn issuer(theirs: &Settings<'_>) -> Result<String, String> {
    let provider = theirs.one("provider");
    match (theirs.one("oidc_issuer_url"), provider.as_deref()) {
        (Some(issuer), _) => Ok(issuer),
        (None, Some("google")) => Ok("https://accounts.google.com".to_owned()),
        (None, Some(other)) => Err(format!(
            "expected oidc_issuer_url, whose tokens are to be proved: the provider is {other}, and nothing says its issuer"
        )),
        (None, None) => Err("expected the settings of oauth2-proxy: oidc_issuer_url is not there; with --alpha-config, give that file, too".to_owned()),
    }
}

/// The e-mail addresses of a domain; of those below it, too, if it begins with a dot.
fn email_pattern(domain: &str) -> String {
    match domain.strip_prefix('.') {
        Some(parent) => format!(".+@(.+[.])?{}", quoted(parent)),
        None => format!(".+@{}", quoted(domain)),
    }
}

fn headers(theirs: &Settings<'_>, email: &str, groups: &str) -> Vec<Node> {
    // On by default there.
    let forwarded = theirs.one("pass_user_headers").is_none_or(|value| value == "true").then_some("X-Forwarded");
    let auth_request = theirs.flag("set_xauthrequest").then_some("X-Auth-Request");
    let mut headers = Vec::new();
    for prefix in forwarded.into_iter().chain(auth_request) {
        for (name, theirs) in
            [("User", "sub"), ("Email", email), ("Groups", groups), ("Preferred-Username", "preferred_username")]
        {
            headers.push(Node::object([("header", format!("{prefix}-{name}").into()), claim(theirs)]));
        }
    }
    headers
}

/// Whether a pattern means nothing but itself.
fn is_plain(pattern: &str) -> bool {
    pattern.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_~".contains(&byte))
}

/// `GET=^/health$`, `!=^/admin`, `^/public`.
fn rules(theirs: &Settings<'_>, notes: &Notes) -> Vec<Node> {
    let mut rules = Vec::new();
    let routes = ["skip_auth_routes", "skip_auth_route", "skip_auth_regex"].iter().flat_map(|name| theirs.all(name));
    for route in routes {
        let (method, pattern) = match route.split_once('=') {
            Some((method, pattern)) if method.bytes().all(|byte| byte.is_ascii_uppercase()) => (method, pattern),
            _ => ("", route.as_str()),
        };
        if pattern.starts_with("!=") || method.ends_with('!') || route.contains("!=") {
            notes.add(format!("skip_auth_routes: {route}: all but this has no counterpart; write what needs no token"));
            continue;
        }
        // Each alternative has a beginning of its own.
        let is_simple = !pattern.contains(['(', '[', '{', '\\']);
        let alternatives = if is_simple { pattern.split('|').collect() } else { vec![pattern] };
        rules.extend(alternatives.into_iter().filter_map(|pattern| rule(&route, method, pattern, notes)));
    }
    rules
}

/// A rule for what a pattern matches from the beginning of the path.
fn rule(route: &str, method: &str, pattern: &str, notes: &Notes) -> Option<Node> {
    let Some(rest) = pattern.strip_prefix('^').filter(|rest| rest.starts_with('/')) else {
        notes.add(format!("skip_auth_routes: {route}: is found anywhere in a path, so that `/admin?/x{pattern}` passes; write a rule for what was meant"));
        return None;
    };
    let mut matching = Node::object::<&str>([]);
    match rest.strip_suffix('$') {
        Some(exact) if is_plain(exact) => matching.put("path", exact),
        Some(whole) => matching.put("path_pattern", whole),
        // `/public/` is not for `/public`.
        None if is_plain(rest) && rest.ends_with('/') && rest.len() > 1 => {
            matching.put("path_pattern", format!("{}.*", quoted(rest)));
        }
        None if is_plain(rest) => {
            matching.put("path_prefix", rest);
            notes.add(format!(
                "skip_auth_routes: {route}: is for {rest} and all that begins so; `path_prefix` is for whole segments"
            ));
        }
        None => matching.put("path_pattern", format!("{rest}.*")),
    }
    if !method.is_empty() {
        matching.put("methods", texts([method]));
    }
    Some(Node::object([("match", matching), ("bypass", true.into())]))
}

/// What does not carry over, and why nothing is lost by it or what is to be done.
const LOST: &[(&[&str], &str)] = &[
    (
        &[
            "cookie_*",
            "redirect_url",
            "client_secret",
            "client_secret_file",
            "login_url",
            "redeem_url",
            "validate_url",
            "scope",
            "prompt",
            "approval_prompt",
            "session_*",
            "redis_*",
            "code_challenge_method",
            "skip_provider_button",
            "whitelist_domains",
            "whitelist_domain",
            "logout_url",
            "backend_logout_url",
            "sign_out_*",
        ],
        "login and sessions: put Envoy's oauth2 filter before this one, with forward_bearer_token: true",
    ),
    (
        &[
            "upstreams",
            "upstream",
            "upstream_timeout",
            "pass_host_header",
            "proxy_websockets",
            "ssl_upstream_insecure_skip_verify",
        ],
        "Envoy's routes and clusters",
    ),
    (
        &[
            "http_address",
            "https_address",
            "tls_*",
            "metrics_*",
            "ping_path",
            "ready_path",
            "reverse_proxy",
            "real_client_ip_header",
            "trusted_ip*",
            "trusted_proxy_ip*",
        ],
        "Envoy's listeners and connection manager",
    ),
    (
        &["provider", "provider_display_name", "provider_ca_files", "ssl_insecure_skip_verify"],
        "TLS to the provider belongs to the cluster; metadata say the rest",
    ),
    (&["insecure_*"], "is left out: issuers and audiences are always checked"),
    (
        &["htpasswd_*", "basic_auth_*", "pass_basic_auth", "prefer_email_to_user", "set_basic_auth"],
        "basic authentication: no counterpart",
    ),
    (
        &["custom_templates_dir", "custom_sign_in_logo", "footer", "banner", "show_debug_on_error"],
        "pages: no counterpart",
    ),
    (
        &[
            "logging_*",
            "standard_logging*",
            "auth_logging*",
            "request_logging*",
            "silence_ping_logging",
            "exclude_logging_paths",
            "errors_to_info_log",
        ],
        "Envoy's access log",
    ),
    (
        &[
            "api_routes",
            "api_route",
            "force_json_errors",
            "proxy_prefix",
            "bearer_token_login_fallback",
            "skip_claims_from_profile_url",
            "profile_url",
            "allow_query_semicolons",
            "relative_redirect_url",
            "encode_state",
            "force_https",
            "gcp_healthchecks",
            "user_id_claim",
            "skip_oidc_discovery",
            "extra_jwt_issuers_*",
            "set_authorization_header",
            "oidc_scope",
            "cookie",
            "config",
            "alpha_config",
        ],
        "no counterpart, or always so: see docs/migrate/oauth2-proxy.md",
    ),
];

/// The same of what decides there who gets in.
const LOST_LIMITS: &[(&[&str], &str)] = &[
    (
        &["authenticated_emails_file"],
        "a module can't read files: whoever is not in it is refused there; write `require.claims` with `any_of`",
    ),
    (
        &[
            "github_*",
            "gitlab_*",
            "bitbucket_*",
            "google_*",
            "keycloak_group",
            "keycloak_groups",
            "entra_id_allowed_tenant*",
            "azure_tenant",
        ],
        "who may log in by this is no claim of a token: write a requirement on one that says it",
    ),
];
