//! `migrate`: what the pages of `docs/migrate` show as ours is what the command makes of what they show as theirs.

use crate::{here, printed, root, run};
use serde_json::Value;

fn blocks(page: &str, language: &str) -> Vec<String> {
    let text = std::fs::read_to_string(root().join("docs/migrate").join(page)).unwrap();
    let mark = format!("```{language}\n");
    text.split(mark.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
}

fn migrated(system: &str, theirs: &str) -> (Value, Vec<String>) {
    let made: Value = serde_json::from_str(&printed(&["migrate", system, "-", "--json"], theirs)).unwrap();
    let listed = ["widened", "notes"].into_iter().flat_map(|name| made[name].as_array().unwrap());
    let notes = listed.map(|note| note.as_str().unwrap().to_owned()).collect();
    (made["configuration"].clone(), notes)
}

#[test]
fn the_pages_show_what_the_command_makes() {
    let istio = blocks("istio.md", "yaml");
    let (jwt, toolbox) = (blocks("envoy-jwt-authn.md", "yaml"), blocks("mcp-toolbox.md", "yaml"));
    let opaque = "OIDC_PROVIDER=https://idp.example.com\nACCESS_TOKEN_AUTHN=opaque\n";
    for (system, theirs, page, block) in [
        ("jwt_authn", jwt[0].clone(), "envoy-jwt-authn.md", 0),
        ("request-authentication", istio[..2].join("---\n"), "istio.md", 0),
        ("request-authentication", alone(&istio[0]), "istio.md", 1),
        ("authservice", blocks("authservice.md", "sh")[0].clone(), "authservice.md", 0),
        ("authservice", opaque.to_owned(), "authservice.md", 1),
        ("toolbox", toolbox[0].clone(), "mcp-toolbox.md", 0),
        ("toolbox", toolbox[2].clone(), "mcp-toolbox.md", 2),
        ("oauth2-proxy", blocks("oauth2-proxy.md", "toml")[0].clone(), "oauth2-proxy.md", 0),
    ] {
        let (made, notes) = migrated(system, &theirs);
        let ours: Value = serde_json::from_str(&blocks(page, "json")[block]).unwrap();
        assert_eq!(made, ours, "{page}, block {block}: {notes:?}\n{made:#}");
        assert!(!notes.iter().any(|note| note.contains("does not take this yet")), "{notes:?}");
    }
}

/// The second block of the page on Istio is about a RequestAuthentication with nothing but an issuer and an audience.
fn alone(theirs: &str) -> String {
    let keep = ["apiVersion", "kind", "metadata", "spec", "jwtRules", "issuer", "audiences"];
    theirs
        .lines()
        .filter(|line| keep.iter().any(|name| line.trim_start_matches([' ', '-']).starts_with(name)))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// Nothing of theirs is left out in silence: whatever is added to their example is told.
#[test]
fn what_does_not_carry_over_is_told() {
    let jwt = &blocks("envoy-jwt-authn.md", "yaml")[0];
    let istio = &blocks("istio.md", "yaml")[..2].join("---\n");
    let toolbox = &blocks("mcp-toolbox.md", "yaml")[0];
    let service = &blocks("authservice.md", "sh")[0];
    let proxy = &blocks("oauth2-proxy.md", "toml")[0];
    for (system, theirs, find, put, told) in [
        (
            "jwt_authn",
            jwt,
            "issuer: https://idp",
            "frobnicate: 1\n        issuer: https://idp",
            "providers.main.frobnicate",
        ),
        (
            "jwt_authn",
            jwt,
            "forward: true\n        forward_payload",
            "header_in_metadata: h\n        forward_payload",
            "header_in_metadata",
        ),
        (
            "jwt_authn",
            jwt,
            "provider_name: main }\n",
            "provider_name: main }\n    filter_state_rules: { name: a }\n",
            "filter_state_rules",
        ),
        (
            "jwt_authn",
            jwt,
            "match: { path: /healthz }",
            "match: { path: /healthz, query_parameters: [{ name: a }] }",
            "query_parameters",
        ),
        ("jwt_authn", jwt, "audiences: [https://api.example.com]\n        remote", "remote", "audiences"),
        (
            "jwt_authn",
            jwt,
            "      - match: { prefix: / }\n        requires: { provider_name: main }\n",
            "",
            "passes without a token",
        ),
        ("request-authentication", istio, "timeout: 5s", "frobnicate: a", "spec.jwtRules[0].frobnicate"),
        ("request-authentication", istio, "action: ALLOW", "action: CUSTOM", "CUSTOM"),
        (
            "request-authentication",
            istio,
            "requestPrincipals: [\"*\"] } }]\n      to: [{ operation: { notPaths",
            "ipBlocks: [10.0.0.0/8] } }]\n      to: [{ operation: { notPaths",
            "ipBlocks",
        ),
        ("request-authentication", istio, "request.auth.claims[groups]", "source.namespace", "source.namespace"),
        ("toolbox", toolbox, "mcpEnabled: true", "mcpEnabled: true\nfrobnicate: 1", "frobnicate"),
        (
            "authservice",
            service,
            "CLIENT_ID=kubeflow",
            "CLIENT_ID=kubeflow\nCLIENT_SECRET=x\nFROBNICATE=1",
            "frobnicate",
        ),
        ("authservice", service, "CLIENT_ID=kubeflow", "CLIENT_ID=kubeflow\nSESSION_MAX_AGE=1", "session_max_age"),
        ("oauth2-proxy", proxy, "skip_auth_preflight", "frobnicate", "frobnicate"),
        ("oauth2-proxy", proxy, "skip_auth_preflight", "cookie_refresh", "cookie_refresh"),
    ] {
        assert!(theirs.contains(find), "{system}: {find}");
        let (_, notes) = migrated(system, &theirs.replacen(find, put, 1));
        assert!(notes.iter().any(|note| note.contains(told)), "{system}: {put}: {notes:#?}");
    }
}

/// Settings come in many clothes.
#[test]
fn settings_are_read_in_every_form() {
    let file = "oidc_issuer_url = \"https://idp.example.com\"\nclient_id = \"shop\"\nskip_jwt_bearer_tokens = true\nallowed_groups = [\"a\", \"b\"]\n";
    let (expected, _) = migrated("oauth2-proxy", file);
    for theirs in [
        "--oidc-issuer-url=https://idp.example.com\n--client-id=shop\n--skip-jwt-bearer-tokens\n--allowed-group=a\n--allowed-group=b\n",
        "OAUTH2_PROXY_OIDC_ISSUER_URL=https://idp.example.com\nOAUTH2_PROXY_CLIENT_ID='shop'\nexport OAUTH2_PROXY_SKIP_JWT_BEARER_TOKENS=true\nOAUTH2_PROXY_ALLOWED_GROUPS=a,b\n",
        "containers:\n  - args:\n      - --oidc-issuer-url=https://idp.example.com\n      - --client-id=shop\n      - --skip-jwt-bearer-tokens=true\n      - --allowed-group=a,b\n",
        "env:\n  - { name: OAUTH2_PROXY_OIDC_ISSUER_URL, value: https://idp.example.com }\n  - { name: OAUTH2_PROXY_CLIENT_ID, value: shop }\n  - { name: OAUTH2_PROXY_SKIP_JWT_BEARER_TOKENS, value: \"true\" }\n  - { name: OAUTH2_PROXY_ALLOWED_GROUPS, value: \"a,b\" }\n",
    ] {
        assert_eq!(migrated("oauth2-proxy", theirs).0, expected, "{theirs}");
    }
    let service =
        "kind: ConfigMap\napiVersion: v1\ndata:\n  OIDC_PROVIDER: https://idp.example.com\n  CLIENT_ID: kubeflow\n";
    assert_eq!(
        migrated("authservice", service).0,
        migrated("authservice", "OIDC_PROVIDER=https://idp.example.com\nCLIENT_ID=kubeflow\n").0
    );
}

/// What matches anywhere in a path there opens a door; it is told, and not opened.
#[test]
fn a_pattern_without_a_beginning_opens_nothing() {
    let theirs = "oidc_issuer_url = \"https://idp.example.com\"\nclient_id = \"shop\"\nskip_auth_routes = [\"health\", \"!=^/admin\", \"GET=^/a/b$\"]\n";
    let (made, notes) = migrated("oauth2-proxy", theirs);
    let rules = made["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 1, "{made:#}");
    assert_eq!(rules[0]["match"]["path"], "/a/b");
    assert_eq!(notes.iter().filter(|note| note.starts_with("skip_auth_routes")).count(), 2, "{notes:?}");
}

#[test]
fn another_file_than_theirs_is_said_so() {
    for system in ["jwt_authn", "request-authentication", "oauth2-proxy", "authservice", "toolbox"] {
        let ended = run(&["migrate", system, "-"], "a: b\n");
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{system}");
        assert!(ended.err.contains("expected"), "{system}: {}", ended.err);
    }
    // Ours has fields with the names of theirs.
    let ours = std::fs::read_to_string(here("good/keycloak.yaml")).unwrap();
    let ended = run(&["migrate", "jwt_authn", "-"], &ours);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{}", ended.err);
}

/// What theirs refuses, ours refuses: shapes in which a condition could get lost.
#[test]
fn nothing_passes_that_theirs_refuses() {
    let jwt = |rules: &str| {
        format!(
            "providers: {{ main: {{ issuer: https://idp.example.com, audiences: [api], remote_jwks: {{ http_uri: {{ uri: https://idp.example.com/jwks, cluster: idp, timeout: {{ seconds: 5 }} }} }} }} }}\nrules:\n{rules}"
        )
    };
    let all = "  - { match: { prefix: / }, requires: { provider_name: main } }\n";
    let istio = |spec: &str| {
        format!(
            "kind: RequestAuthentication\nspec: {{ jwtRules: [{{ issuer: https://idp.example.com, audiences: [api] }}] }}\n---\nkind: AuthorizationPolicy\nmetadata: {{ name: p }}\nspec: {spec}\n"
        )
    };
    let anybody = "from: [{ source: { requestPrincipals: [\"*\"] } }]";
    let mail = "oidc_issuer_url = \"https://idp.example.com\"\nclient_id = \"api\"\nskip_jwt_bearer_tokens = true\n";
    let verified = r#"{ "sub": "a", "email": "ann@example.com", "email_verified": true }"#;
    let service = "OIDC_PROVIDER=https://idp.example.com\nCLIENT_ID=api\n";
    let in_groups = r#"{ "sub": "a", "email": "ann@example.com", "groups": ["admins"], "roles": ["users"] }"#;
    for (system, theirs, request, claims, result) in [
        // `/api` is for `/apis`, too, and what needs no token is no more than theirs.
        (
            "jwt_authn",
            jwt("  - { match: { prefix: /api }, requires: { provider_name: main } }\n"),
            "/apis",
            "",
            "denied",
        ),
        (
            "jwt_authn",
            jwt("  - { match: { prefix: /api, case_sensitive: false }, requires: { provider_name: main } }\n"),
            "/API/x",
            "",
            "denied",
        ),
        ("jwt_authn", jwt(&format!("  - match: {{ prefix: /public/ }}\n{all}")), "/public", "", "denied"),
        ("jwt_authn", jwt(&format!("  - match: {{ prefix: /public/ }}\n{all}")), "/public/a", "", "bypassed"),
        (
            "jwt_authn",
            jwt(&format!(
                "  - match: {{ prefix: /, headers: [{{ name: x-key, string_match: {{ prefix: a }} }}] }}\n{all}"
            )),
            "/",
            "",
            "denied",
        ),
        (
            "jwt_authn",
            jwt(&format!(
                "  - match: {{ prefix: /, headers: [{{ name: x-key, string_match: {{ exact: a }}, invert_match: true }}] }}\n{all}"
            )),
            "/",
            "",
            "denied",
        ),
        (
            "jwt_authn",
            jwt(
                "  - { match: { prefix: /r }, requires: { provider_and_audiences: { provider_name: main, audiences: [reports] } } }\n  - { match: { prefix: / }, requires: { provider_name: main } }\n",
            ),
            "/reports",
            r#"{ "sub": "a" }"#,
            "denied",
        ),
        (
            "jwt_authn",
            jwt(all).replace("audiences: [api]", "audiences: [api], subjects: { prefix: \"job:\" }"),
            "/",
            r#"{ "sub": "ann" }"#,
            "denied",
        ),
        // A condition on all paths, what no rule names, and conditions without a counterpart.
        (
            "request-authentication",
            istio(&format!(
                "{{ rules: [{{ {anybody}, when: [{{ key: \"request.auth.claims[groups]\", values: [admin] }}] }}] }}"
            )),
            "/",
            r#"{ "sub": "a" }"#,
            "denied",
        ),
        (
            "request-authentication",
            istio(&format!(
                "{{ rules: [{{ {anybody}, when: [{{ key: \"request.auth.claims[groups]\", values: [admin] }}] }}] }}"
            )),
            "/",
            r#"{ "sub": "a", "groups": ["admin"] }"#,
            "allowed",
        ),
        (
            "request-authentication",
            istio(&format!("{{ rules: [{{ {anybody}, to: [{{ operation: {{ paths: [\"/api/*\"] }} }}] }}] }}")),
            "/other",
            r#"{ "sub": "a" }"#,
            "denied",
        ),
        (
            "request-authentication",
            istio(&format!("{{ rules: [{{ {anybody}, to: [{{ operation: {{ paths: [\"/api/*\"] }} }}] }}] }}")),
            "/api/x",
            r#"{ "sub": "a" }"#,
            "allowed",
        ),
        (
            "request-authentication",
            istio(&format!("{{ rules: [{{ {anybody}, to: [{{ operation: {{ notPaths: [/admin] }} }}] }}] }}")),
            "/admin",
            r#"{ "sub": "a" }"#,
            "denied",
        ),
        (
            "request-authentication",
            istio("{ rules: [{ to: [{ operation: { paths: [/x], notMethods: [GET] } }] }] }"),
            "/x",
            "",
            "denied",
        ),
        (
            "request-authentication",
            istio("{ rules: [{ to: [{ operation: { paths: [\"*/info\", \"/v1/{*}/open\"] } }] }] }"),
            "/v1/a/b/open",
            "",
            "denied",
        ),
        (
            "request-authentication",
            istio("{ rules: [{ to: [{ operation: { paths: [\"*/info\", \"/v1/{*}/open\"] } }] }] }"),
            "/v1/a/open",
            "",
            "bypassed",
        ),
        (
            "request-authentication",
            istio("{ rules: [{ from: [{ source: { requestPrincipals: [https://idp.example.com/ann] } }] }] }"),
            "/",
            r#"{ "sub": "bob" }"#,
            "denied",
        ),
        (
            "request-authentication",
            istio("{ action: DENY, rules: [{ to: [{ operation: { paths: [\"/internal/*\"] } }] }] }"),
            "/internal/x",
            "",
            "denied",
        ),
        (
            "oauth2-proxy",
            format!("{mail}email_domains = [\"example.com\"]\n"),
            "/",
            r#"{ "sub": "a", "email": "ann@example.com", "email_verified": false }"#,
            "denied",
        ),
        ("authservice", format!("{service}SKIP_AUTH_URLS=/dex/\n"), "/dex", "", "denied"),
        ("authservice", format!("{service}SKIP_AUTH_URLS=/dex/\n"), "/dex/auth", "", "bypassed"),
        ("authservice", format!("{service}GROUPS_CLAIM=roles\nGROUPS_ALLOWLIST=admins\n"), "/", in_groups, "denied"),
        ("oauth2-proxy", format!("{mail}email_domains = [\"example.com\"]\n"), "/", verified, "allowed"),
        (
            "oauth2-proxy",
            format!("{mail}email_domains = [\"*\"]\nallowed_roles = [\"admin\"]\n"),
            "/",
            verified,
            "denied",
        ),
        (
            "oauth2-proxy",
            format!("{mail}email_domains = [\"*\"]\nskip_auth_routes = [\"^/public/\"]\n"),
            "/public",
            "",
            "denied",
        ),
    ] {
        let (made, notes) = migrated(system, &theirs);
        let claims: Value = serde_json::from_str(claims).unwrap_or(Value::Null);
        let mut test = serde_json::json!({"request": request, "expect": result});
        if !claims.is_null() {
            test["claims"] = claims;
        }
        let table = serde_json::json!({"configuration": made, "tests": [test]});
        let path = std::env::temp_dir().join(format!("oidc-filter-migrated-{}.json", std::process::id()));
        std::fs::write(&path, table.to_string()).unwrap();
        let ended = run(&["test", path.to_str().unwrap()], "");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(ended.code, 0, "{system}: {theirs}\n{made:#}\n{notes:?}\n{}{}", ended.out, ended.err);
    }
}

/// The newer form of oauth2-proxy's configuration.
#[test]
fn an_alpha_configuration_is_read() {
    let theirs = "injectRequestHeaders:\n- { name: X-User, values: [{ claim: preferred_username }] }\n- { name: Authorization, values: [{ claim: id_token }] }\nproviders:\n- id: kc\n  provider: oidc\n  clientID: app\n  clientSecret: s3cr3t\n  allowedGroups: [admins]\n  oidcConfig: { issuerURL: https://idp.example.com, extraAudiences: [api], groupsClaim: realm_access.roles }\n";
    let (made, notes) = migrated("oauth2-proxy", theirs);
    let provider = &made["providers"][0];
    assert_eq!(provider["issuer"], "https://idp.example.com");
    assert_eq!(provider["audiences"], serde_json::json!(["app", "api"]));
    assert_eq!(made["claim_headers"], serde_json::json!([{"header": "X-User", "claim": "preferred_username"}]));
    assert_eq!(made["require"]["groups_allowlist"], serde_json::json!(["admins"]));
    for told in ["providers[0].clientSecret", "injectRequestHeaders: Authorization"] {
        assert!(notes.iter().any(|note| note.contains(told)), "{told}: {notes:?}");
    }
    assert!(!notes.iter().any(|note| note.contains("s3cr3t")), "{notes:?}");
}

/// What is told in a comment stays in it, and a text in quotes is the same to every reader of YAML.
#[test]
fn no_name_of_theirs_becomes_a_line_of_ours() {
    for end in ["\\n", "\\r", "\\u0085", "\\u2028"] {
        let proxy = blocks("oauth2-proxy.md", "toml")[0].clone();
        let theirs = format!("\"evil{end}enforce: false #\" = 1\nrealm = \"a{end}b\"\n{proxy}");
        let ours = printed(&["migrate", "oauth2-proxy", "-"], &theirs);
        assert!(ours.contains("# - evil\\"), "{ours}");
        let is_plain = ours.chars().all(|sign| sign == '\n' || !sign.is_control() && sign != '\u{2028}');
        assert!(is_plain && !ours.lines().any(|line| line.starts_with("enforce")), "{ours:?}");
    }
    let theirs = "{\"providers\": {\"p\": {\"issuer\": \"https://idp.example.com\", \"audiences\": [\"a\\u0085b\\u007f\"], \"remote_jwks\": {\"http_uri\": {\"uri\": \"https://idp.example.com/k\", \"cluster\": \"c\"}}}}, \"rules\": []}";
    let ours = printed(&["migrate", "jwt_authn", "-"], theirs);
    assert!(ours.contains(r#"audiences: ["a\u0085b\u007f"]"#), "{ours}");
}
