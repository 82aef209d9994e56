//! oauth2-proxy: `docs/migrate/oauth2-proxy.md`. What it does for bearer tokens carries over; its login does not.

use super::settings::Settings;
use super::{Notes, claim, quoted, texts};
use crate::yaml::Node;

pub fn migrate(text: &str, notes: &Notes) -> Result<Node, String> {
    let theirs = Settings::read(text, "oauth2_proxy_", notes);
    let issuer =
        theirs.one("oidc_issuer_url").ok_or("expected the settings of oauth2-proxy: oidc_issuer_url is not there")?;
    let mut provider = Node::object([("issuer", Node::from(issuer)), ("cluster", "idp".into())]);
    let mut audiences: Vec<String> = theirs.one("client_id").into_iter().collect();
    audiences.extend(theirs.list("oidc_extra_audiences"));
    if audiences.is_empty() {
        notes.add("client_id: required here as an audience: the value of `aud` that names your service");
    }
    provider.put("audiences", texts(audiences));
    provider.put("validation", "jwt");
    if let Some(uri) = theirs.one("oidc_jwks_url") {
        provider.put("jwks", Node::object([("uri", Node::from(uri))]));
    }
    let algorithms = theirs.list("oidc_enabled_signing_algs");
    if !algorithms.is_empty() {
        provider.put("algorithms", texts(algorithms));
    }
    theirs
        .lose(&["oidc_audience_claim", "oidc_audience_claims"], "a token is for whom `aud` names, and for nobody else");
    let mut groups = theirs.one_or("oidc_groups_claim", "groups");
    let email = theirs.one_or("oidc_email_claim", "email");
    let allowed: Vec<String> = [theirs.list("allowed_groups"), theirs.list("allowed_group")].concat();
    if !allowed.is_empty() && groups != "groups" {
        // A path is an object; a name stands by itself.
        let lookup = if groups.contains('.') { Node::object([claim(&groups)]) } else { groups.into() };
        provider.put("claim_mapping", Node::object([("groups", lookup)]));
        groups = "groups".to_owned();
    }
    let mut providers = vec![provider];
    for extra in theirs.list("extra_jwt_issuers") {
        let Some((issuer, audience)) = extra.split_once('=') else { continue };
        providers.push(Node::object([
            ("issuer", issuer.into()),
            ("audiences", texts([audience])),
            ("validation", "jwt".into()),
        ]));
        notes.add(format!("extra_jwt_issuers: {issuer} needs a cluster called as its host, or `cluster`"));
    }
    let mut configuration = Node::object([("providers", providers.into_iter().collect::<Node>())]);
    configuration.put("forward", theirs.flag("pass_authorization_header") || theirs.flag("pass_access_token"));
    if theirs.flag("skip_auth_preflight") {
        configuration.put("allow_preflight", true);
    }
    let headers = headers(&theirs, &email, &groups);
    if !headers.is_empty() {
        configuration.put("claim_headers", headers.into_iter().collect::<Node>());
    }
    let mut require = Node::object::<&str>([]);
    let domains: Vec<String> = [theirs.list("email_domains"), theirs.list("email_domain")].concat();
    if !domains.is_empty() && !domains.contains(&"*".to_owned()) {
        let patterns: Vec<String> = domains.iter().map(|domain| email_pattern(domain)).collect();
        let required = Node::object([claim(&email), ("matches", patterns.join("|").into())]);
        require.put("claims", Node::from_iter([required]));
        notes.add("email_domains: a token needs the claim for it; oauth2-proxy may have asked userinfo");
    }
    if !allowed.is_empty() {
        require.put("groups_allowlist", texts(allowed));
    }
    if !require.is_empty() {
        configuration.put("require", require);
    }
    let rules = rules(&theirs, notes);
    if !rules.is_empty() {
        configuration.put("rules", rules.into_iter().collect::<Node>());
    }
    if !theirs.flag("skip_jwt_bearer_tokens") {
        notes.add("skip_jwt_bearer_tokens is not set: their clients bring cookies, not tokens; put Envoy's oauth2 filter before this one, with forward_bearer_token: true");
    }
    losses(&theirs);
    theirs.finish();
    Ok(configuration)
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
        let Some(rest) = pattern.strip_prefix('^').filter(|rest| rest.starts_with('/')) else {
            notes.add(format!("skip_auth_routes: {route}: is found anywhere in a path, so that `/admin?/x{pattern}` passes; write a rule for what was meant"));
            continue;
        };
        let mut matching = Node::object::<&str>([]);
        match rest.strip_suffix('$') {
            Some(exact) if is_plain(exact) => matching.put("path", exact),
            Some(whole) => matching.put("path_pattern", whole),
            None if is_plain(rest) => {
                let bare = rest.strip_suffix('/').filter(|bare| !bare.is_empty()).unwrap_or(rest);
                matching.put("path_prefix", bare);
                notes.add(format!("skip_auth_routes: {route}: is for {rest} and all that begins so; `path_prefix` is for whole segments"));
            }
            None => matching.put("path_pattern", format!("{rest}.*")),
        }
        if !method.is_empty() {
            matching.put("methods", texts([method]));
        }
        rules.push(Node::object([("match", matching), ("bypass", true.into())]));
    }
    rules
}

fn losses(theirs: &Settings<'_>) {
    theirs.lose(
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
    );
    theirs.lose(
        &[
            "upstreams",
            "upstream",
            "upstream_timeout",
            "pass_host_header",
            "proxy_websockets",
            "ssl_upstream_insecure_skip_verify",
        ],
        "Envoy's routes and clusters",
    );
    theirs.lose(
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
    );
    theirs.lose(
        &["provider", "provider_display_name", "provider_ca_files", "ssl_insecure_skip_verify"],
        "TLS to the provider belongs to the cluster; metadata say the rest",
    );
    theirs.lose(&["insecure_*"], "is left out: the check is always made");
    theirs.lose(
        &["htpasswd_*", "basic_auth_*", "pass_basic_auth", "prefer_email_to_user", "set_basic_auth"],
        "basic authentication: no counterpart",
    );
    theirs.lose(
        &["authenticated_emails_file"],
        "no counterpart: a module can't read files; write `require.claims` with `any_of`",
    );
    theirs.lose(
        &["custom_templates_dir", "custom_sign_in_logo", "footer", "banner", "show_debug_on_error"],
        "pages: no counterpart",
    );
    theirs.lose(
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
    );
    theirs.lose(
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
        ],
        "no counterpart, or always so: see docs/migrate/oauth2-proxy.md",
    );
}
