//! `migrate`: shapes that configurations have where people run them, rather than in manuals.

use crate::{printed, run};
use serde_json::{Value, json};

struct Made {
    configuration: Value,
    /// What lets more pass than theirs.
    widened: String,
    notes: String,
}

#[track_caller]
fn made(system: &str, theirs: &str) -> Made {
    let made: Value = serde_json::from_str(&printed(&["migrate", system, "-", "--json"], theirs)).unwrap();
    let lines = |name: &str| {
        made[name].as_array().unwrap().iter().map(|note| note.as_str().unwrap()).collect::<Vec<_>>().join("\n")
    };
    Made { configuration: made["configuration"].clone(), widened: lines("widened"), notes: lines("notes") }
}

/// What a configuration does with a request, with a token of these claims or with none.
#[track_caller]
fn plays(configuration: &Value, request: &str, claims: Value, expected: &str) {
    let mut test = json!({"request": request, "expect": expected});
    if !claims.is_null() {
        test["claims"] = claims;
    }
    let table = json!({"configuration": configuration, "tests": [test]});
    let name = format!("oidc-filter-shape-{}-{:?}.json", std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, table.to_string()).unwrap();
    let ended = run(&["test", path.to_str().unwrap()], "");
    std::fs::remove_file(&path).unwrap();
    assert_eq!(ended.code, 0, "{configuration:#}\n{}{}", ended.out, ended.err);
}

fn jwt_authn(providers: &str, rules: &str) -> String {
    format!("providers:\n{providers}rules:\n{rules}")
}

/// One provider of theirs, whose keys stand at a URL.
fn provider(name: &str, issuer: &str, rest: &str) -> String {
    format!(
        "  {name}: {{ issuer: {issuer}, remote_jwks: {{ http_uri: {{ uri: https://idp.example.com/jwks, cluster: idp, timeout: 5s }} }}, {rest} }}\n"
    )
}

const ALL: &str = "  - { match: { prefix: / }, requires: { provider_name: a } }\n";

#[test]
fn an_older_or_a_second_name_of_the_filter_is_one() {
    let fields = "providers: { a: { issuer: https://idp.example.com, audiences: [api], remote_jwks: { http_uri: { uri: https://idp.example.com/jwks, cluster: idp } } } }, rules: [{ match: { prefix: / }, requires: { provider_name: a } }]";
    let expected = made("jwt_authn", &format!("{{ {fields} }}")).configuration;
    let typed = |version: &str| {
        format!(
            "name: envoy.filters.http.jwt_authn, typed_config: {{ \"@type\": \"type.googleapis.com/x.jwt_authn.{version}.JwtAuthentication\", {fields} }}"
        )
    };
    for theirs in [
        format!("http_filters: [{{ {} }}]", typed("v3")),
        format!("http_filters: [{{ {} }}]", typed("v2alpha")),
        format!("http_filters: [{{ name: envoy.filters.http.jwt_authn, config: {{ {fields} }} }}]"),
        // Two listeners with one and the same.
        format!("- http_filters: [{{ {0} }}]\n- http_filters: [{{ {0} }}]", typed("v3")),
        format!(
            "kind: List\nitems:\n- kind: ConfigMap\n  data:\n    envoy.yaml: |\n      static_resources: {{ listeners: [{{ {} }}] }}\n",
            typed("v3")
        ),
    ] {
        assert_eq!(made("jwt_authn", &theirs).configuration, expected, "{theirs}");
    }
    let other = typed("v3").replace("audiences: [api]", "audiences: [other]");
    let ended = run(&["migrate", "jwt_authn", "-"], &format!("- {{ {} }}\n- {{ {other} }}\n", typed("v3")));
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("found 2") && ended.err.contains("1:") && ended.err.contains("2:"), "{}", ended.err);
}

/// Gateways write a provider for each place or audience, with one issuer.
#[test]
fn providers_of_one_issuer_are_one() {
    let issuer = "https://idp.example.com";
    let providers = provider("a", issuer, "audiences: [shop]")
        + &provider("b", issuer, "audiences: [admin], from_cookies: [session]")
        + &provider("c", issuer, "audiences: [shop], from_headers: [{ name: x-token }]");
    let rules = "  - { match: { path_separated_prefix: /admin }, requires: { provider_name: b } }\n  - { match: { path_separated_prefix: /both }, requires: { requires_any: { requirements: [{ provider_name: a }, { provider_name: b }] } } }\n";
    let Made { configuration, notes, widened } = made("jwt_authn", &jwt_authn(&providers, &format!("{rules}{ALL}")));
    assert_eq!(configuration["providers"].as_array().unwrap().len(), 1, "{configuration:#}");
    assert!(notes.contains("c: is one provider with a"), "{notes}");
    plays(&configuration, "/", json!({"aud": "shop"}), "allowed");
    plays(&configuration, "/", json!({"aud": "admin"}), "denied");
    plays(&configuration, "/admin", json!({"aud": "admin"}), "allowed");
    plays(&configuration, "/admin", json!({"aud": "shop"}), "denied");
    plays(&configuration, "/both", json!({"aud": "admin"}), "allowed");
    // What one of them read in its cookie alone is read for all under each rule.
    for told in
        ["the cookie session: read for the tokens of b alone there, and for those of a, c here", "the header x-token"]
    {
        assert!(widened.contains(told), "{told}: {widened}");
    }
    // Other keys can't be put together.
    let other =
        providers + "  d: { issuer: https://idp.example.com, local_jwks: { inline_string: '{\"keys\":[]}' } }\n";
    let Made { notes, .. } = made("jwt_authn", &jwt_authn(&other, ALL));
    assert!(notes.contains("d: its issuer is that of another provider"), "{notes}");
}

#[test]
fn what_is_narrower_there_is_told_first() {
    let two = provider(
        "a",
        "https://idp.example.com",
        "audiences: [a], payload_in_metadata: who, claim_to_headers: [{ header_name: x-user, claim_name: sub }]",
    ) + &provider("b", "https://partner.example.com", "audiences: [b]");
    let rules = "  - match: { prefix: / }\n    requires: { requires_any: { requirements: [{ provider_name: b }, { provider_and_audiences: { provider_name: a, audiences: [c] } }] } }\n";
    let Made { widened, .. } = made("jwt_authn", &jwt_authn(&two, rules));
    for told in ["metadata who", "the header x-user", "asks one of its providers for audiences"] {
        assert!(widened.contains(told), "{told}: {widened}");
    }
    let text = printed(&["migrate", "jwt_authn", "-"], &jwt_authn(&two, rules));
    assert!(text.starts_with("# Lets pass what theirs refuses"), "{text}");
    // A requirement within a requirement is one, too, and what nobody knows opens nothing.
    let nested = "  - match: { prefix: / }\n    requires: { requires_any: { requirements: [{ requires_any: { requirements: [{ provider_name: a }, { allow_missing: {} }] } }] } }\n";
    let one = provider("a", "https://idp.example.com", "audiences: [a]");
    let Made { configuration, .. } = made("jwt_authn", &jwt_authn(&one, nested));
    plays(&configuration, "/", Value::Null, "bypassed");
    // Without its condition, a rule takes requests from later ones that ask for more.
    let before = "  - { match: { prefix: /, headers: [{ name: x-key, present_match: true }] }, requires: { provider_name: a } }\n";
    let lost = |later: &str| made("jwt_authn", &jwt_authn(&two, &format!("{before}{later}"))).widened;
    assert!(
        lost("  - { match: { prefix: /admin }, requires: { provider_name: b } }\n")
            .contains("rules[0]: is for more requests here")
    );
    assert!(!lost(ALL).contains("rules[0]"));
    let policy = "  - { match: { path_match_policy: { name: x } }, requires: { provider_name: a } }\n";
    let Made { configuration, .. } = made("jwt_authn", &jwt_authn(&one, policy));
    plays(&configuration, "/", Value::Null, "denied");
    let unknown = format!("  - match: {{ path: /open, some_condition: {{}} }}\n{ALL}");
    let Made { configuration, .. } = made("jwt_authn", &jwt_authn(&one, &unknown));
    plays(&configuration, "/open", Value::Null, "denied");
}

#[test]
fn keys_from_files_and_the_environment_are_variables() {
    let theirs = |local: &str| {
        jwt_authn(&format!("  my-key: {{ issuer: eq, audiences: [a], local_jwks: {{ {local} }} }}\n"), "")
    };
    let inline = |made: Made| made.configuration["providers"][0]["jwks"]["inline"].clone();
    assert_eq!(inline(made("jwt_authn", &theirs("environment_variable: KEYS"))), "${KEYS}");
    let file = made("jwt_authn", &theirs("filename: /etc/jwks.json"));
    assert!(file.notes.contains("MY_KEY_JWKS"), "{}", file.notes);
    assert_eq!(inline(file), "${MY_KEY_JWKS}");
    // `{"keys":[]}`
    assert_eq!(inline(made("jwt_authn", &theirs("inline_bytes: eyJrZXlzIjpbXX0="))), json!({"keys": []}));
}

fn istio(policies: &[&str]) -> String {
    let policies: String = policies
        .iter()
        .map(|policy| format!("---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n{policy}\n"))
        .collect();
    format!(
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {{ name: r }}\nspec: {{ jwtRules: [{{ issuer: https://idp.example.com, audiences: [api] }}] }}\n{policies}"
    )
}

/// A condition that does not carry over never opens what it kept shut.
#[test]
fn a_lost_condition_of_istio_opens_nothing() {
    let ann = json!({"sub": "ann"});
    for (rule, request, claims) in [
        (
            "{ from: [{ source: { notRequestPrincipals: [https://idp.example.com/ann] } }], to: [{ operation: { paths: [/x] } }] }",
            "/x",
            &ann,
        ),
        ("{ to: [{ operation: { paths: [/x], verbs: [GET] } }] }", "/x", &Value::Null),
        ("{ to: [{ operation: { paths: [/x] } }], unless: [{ a: b }] }", "/x", &Value::Null),
        (
            "{ to: [{ operation: { paths: [/x] } }], when: [{ key: request.auth.presenter, values: [a], unless: [b] }] }",
            "/x",
            &json!({"azp": "a"}),
        ),
        (
            "{ to: [{ operation: { paths: [/x] } }], when: [{ key: request.auth.principal, values: [https://idp.example.com/ann] }] }",
            "/x",
            &json!({"sub": "bob"}),
        ),
    ] {
        let Made { configuration, notes, .. } =
            made("request-authentication", &istio(&[&format!("spec: {{ rules: [{rule}] }}")]));
        plays(&configuration, request, claims.clone(), "denied");
        assert!(!notes.is_empty(), "{rule}");
    }
    // A pattern of methods or hosts is no name of one: what is denied by it stays shut, and what is allowed does not open.
    for (policy, request, expected) in [
        (
            "spec: { action: DENY, rules: [{ to: [{ operation: { paths: [/x], methods: [\"*\"] } }] }] }",
            "DELETE /x",
            "denied",
        ),
        (
            "spec: { action: DENY, rules: [{ to: [{ operation: { paths: [/x], methods: [\"P*\"] } }] }] }",
            "POST /x",
            "denied",
        ),
        (
            "spec: { action: DENY, rules: [{ to: [{ operation: { paths: [/x], hosts: [\"api.*\"] } }] }] }",
            "https://api.example.com/x",
            "denied",
        ),
        (
            "spec: { action: DENY, rules: [{ to: [{ operation: { paths: [/x], hosts: [\"api.example.com:8443\"] } }] }] }",
            "https://api.example.com:8443/x",
            "denied",
        ),
        ("spec: { rules: [{ to: [{ operation: { paths: [/x], methods: [\"*\"] } }] }] }", "DELETE /x", "bypassed"),
        ("spec: { rules: [{ to: [{ operation: { paths: [/x], methods: [\"P*\"] } }] }] }", "GET /x", "denied"),
        (
            "spec: { rules: [{ to: [{ operation: { paths: [/x], hosts: [\"*.example.com\"] } }] }] }",
            "https://a.example.com/x",
            "bypassed",
        ),
        (
            "spec: { rules: [{ to: [{ operation: { paths: [/x], hosts: [\"api.*\"] } }] }] }",
            "https://api.example.com/x",
            "denied",
        ),
    ] {
        let Made { configuration, .. } = made("request-authentication", &istio(&[policy]));
        plays(&configuration, request, Value::Null, expected);
    }
    let any = "spec: { rules: [{ to: [{ operation: { paths: [/x] } }], when: [{ key: request.auth.principal, values: [\"*\"] }] }] }";
    let Made { configuration, .. } = made("request-authentication", &istio(&[any]));
    plays(&configuration, "/x", ann, "allowed");
    plays(&configuration, "/x", Value::Null, "denied");
}

#[test]
fn a_policy_that_is_tried_decides_nothing() {
    let dry = "metadata: { name: tried, annotations: { istio.io/dry-run: \"true\" } }\nspec: { rules: [{ to: [{ operation: { paths: [/open] } }] }] }";
    let real = "metadata: { name: real }\nspec: { rules: [{ from: [{ source: { requestPrincipals: [\"*\"] } }] }] }";
    let Made { configuration, notes, .. } = made("request-authentication", &istio(&[dry, real]));
    plays(&configuration, "/open", Value::Null, "denied");
    assert!(notes.contains("tried: istio.io/dry-run"), "{notes}");
}

#[test]
fn policies_of_several_workloads_are_told() {
    let of = |app: &str| {
        format!(
            "metadata: {{ name: {app} }}\nspec: {{ selector: {{ matchLabels: {{ app: {app} }} }}, rules: [{{ to: [{{ operation: {{ paths: [/{app}] }} }}] }}] }}"
        )
    };
    let both = made("request-authentication", &istio(&[&of("shop"), &of("admin")])).widened;
    assert!(both.contains("2 workloads") && both.contains("shop") && both.contains("admin"), "{both}");
    assert!(!made("request-authentication", &istio(&[&of("shop")])).widened.contains("workloads"));
    for (policy, told) in [
        ("spec: { action: DENY, rules: [{ when: [{ key: source.ip, values: [10.0.0.1] }] }] }", "of a DENY policy"),
        ("spec: { action: CUSTOM, provider: { name: opa }, rules: [{}] }", "CUSTOM"),
        ("spec: { rules: [{ from: [{ source: { principals: [cluster.local/ns/a/sa/b] } }] }] }", "principals"),
    ] {
        let widened = made("request-authentication", &istio(&[policy])).widened;
        assert!(widened.contains(told), "{told}: {widened}");
    }
}

#[test]
fn what_kubectl_prints_of_several_is_read() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: security.istio.io/v1\n  kind: RequestAuthentication\n  metadata: { name: r, namespace: shop }\n  spec:\n    jwtRules:\n    - { issuer: https://idp.example.com, audiences: [api], forwardOriginalToken: true, outputPayloadToHeader: x-payload }\n    - { issuer: https://partner.example.com, audiences: [api], fromCookies: [session] }\n- apiVersion: security.istio.io/v1\n  kind: RequestAuthentication\n  metadata: { name: again, namespace: shop }\n  spec: { jwtRules: [{ issuer: https://idp.example.com, audiences: [other] }] }\n";
    let Made { configuration, widened, notes } = made("request-authentication", list);
    assert_eq!(configuration["providers"].as_array().unwrap().len(), 2, "{configuration:#}");
    assert_eq!(configuration["forward"], false);
    assert!(notes.contains("forwardOriginalToken"), "{notes}");
    for told in [
        "the header x-payload",
        "audiences: one issuer has other audiences",
        "the cookie session: read for the tokens of https://partner.example.com alone there",
        "the header Authorization: read for the tokens of https://idp.example.com alone there",
    ] {
        assert!(widened.contains(told), "{told}: {widened}");
    }
}

/// A comment behind a list swallows no other setting, as a reader of lines would have it.
#[test]
fn the_file_of_oauth2_proxy_is_toml() {
    let theirs = "oidc_issuer_url = \"https://idp.example.com\" # ours\nclient_id = \"shop\"\nskip_jwt_bearer_tokens = true\nemail_domains = [\"*\"]  # anybody\nallowed_groups = [\n  \"staff\", # those\n  \"a,b\",\n]\ninsecure_oidc_allow_unverified_email = true\n";
    let Made { configuration, .. } = made("oauth2-proxy", theirs);
    assert_eq!(configuration["providers"][0]["issuer"], "https://idp.example.com");
    plays(&configuration, "/", json!({"groups": ["guests"]}), "denied");
    plays(&configuration, "/", json!({"groups": ["staff"]}), "allowed");
    let broken =
        run(&["migrate", "oauth2-proxy", "-"], "client_id = \"shop\"\nallowed_groups = [\n  \"staff\"\n  \"ops\"\n]\n");
    assert_eq!(broken.code, 2);
    assert!(broken.err.starts_with("oidc-filter: -:4:3: is no TOML"), "{}", broken.err);
}

/// What keeps somebody out there, and is no claim of a token, stands first.
#[test]
fn limits_that_do_not_carry_over_are_told_first() {
    let theirs = "oidc_issuer_url = \"https://idp.example.com\"\nclient_id = \"shop\"\nauthenticated_emails_file = \"/etc/emails\"\ngithub_org = \"shop\"\ncookie_name = \"a\"\ncookie_expire = \"1h\"\n";
    let Made { widened, notes, .. } = made("oauth2-proxy", theirs);
    assert!(widened.contains("authenticated_emails_file") && widened.contains("github_org"), "{widened}");
    assert!(notes.contains("cookie_expire, cookie_name: login and sessions"), "{notes}");
}

/// `^/a|^/b` is two paths, and what has no beginning is still none.
#[test]
fn alternatives_of_a_route_are_rules_of_their_own() {
    let theirs = "oidc_issuer_url = \"https://idp.example.com\"\nclient_id = \"shop\"\nskip_auth_regex = [\"^/healthz|^/ping$|static\"]\n";
    let Made { configuration, notes, .. } = made("oauth2-proxy", theirs);
    for (path, expected) in
        [("/healthz/live", "bypassed"), ("/ping", "bypassed"), ("/ping/x", "denied"), ("/static", "denied")]
    {
        plays(&configuration, path, Value::Null, expected);
    }
    assert!(notes.contains("is found anywhere in a path"), "{notes}");
}

/// Of several programs in one file, the settings of the others are no settings.
#[test]
fn other_containers_say_nothing() {
    let compose = "services:\n  api:\n    image: example.com/api\n    environment: { CLIENT_ID: other, OIDC_ISSUER_URL: https://other.example.com }\n  auth:\n    image: quay.io/oauth2-proxy/oauth2-proxy:v7\n    command: --oidc-issuer-url https://idp.example.com --skip-jwt-bearer-tokens\n    environment:\n      - OAUTH2_PROXY_CLIENT_ID=${SHOP_CLIENT:-shop}\n";
    let Made { configuration, notes, .. } = made("oauth2-proxy", compose);
    assert_eq!(configuration["providers"][0]["audiences"], json!(["${SHOP_CLIENT}"]));
    assert_eq!(configuration["providers"][0]["issuer"], "https://idp.example.com");
    assert!(notes.contains("SHOP_CLIENT is not set") && !notes.contains("skip_jwt_bearer_tokens"), "{notes}");
    let twice = compose.replace("  auth:\n", "  other:\n    image: quay.io/oauth2-proxy/oauth2-proxy:v7\n  auth:\n");
    assert!(made("oauth2-proxy", &twice).widened.contains("these are 2 containers"), "told");
    let kustomized = "apiVersion: apps/v1\nkind: StatefulSet\nspec: { template: { spec: { containers: [{ name: authservice, env: [{ name: OIDC_PROVIDER, value: https://idp.example.com }, { name: CLIENT_ID, value: $(client-id) }] }] } } }\n";
    assert_eq!(made("authservice", kustomized).configuration["providers"][0]["audiences"], json!(["${client_id}"]));
    let deployment = "apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: shop, labels: { client_id: label } }\nspec:\n  template:\n    spec:\n      containers:\n      - { name: app, image: example.com/app, env: [{ name: OAUTH2_PROXY_CLIENT_ID, value: app }] }\n      - name: proxy\n        image: example.com/oauth2-proxy\n        args: [--oidc-issuer-url=https://idp.example.com, \"--client-id=$(CLIENT_ID)\"]\n        env: [{ name: CLIENT_ID, valueFrom: { secretKeyRef: { name: s, key: k } } }]\n";
    let Made { configuration, notes, .. } = made("oauth2-proxy", deployment);
    assert_eq!(configuration["providers"][0]["audiences"], json!(["${CLIENT_ID}"]));
    assert!(!notes.contains("apiversion") && !notes.contains("replicas"), "{notes}");
}

#[test]
fn settings_of_kubernetes_are_unpacked() {
    let file = "oidc_issuer_url = \"https://idp.example.com\"\nclient_id = \"shop\"\nskip_jwt_bearer_tokens = true\n";
    let expected = made("oauth2-proxy", file).configuration;
    let indented = file.replace('\n', "\n    ");
    for theirs in [
        format!("apiVersion: v1\nkind: ConfigMap\ndata:\n  oauth2_proxy.cfg: |\n    {indented}\n"),
        // The chart's values, as they are and below its name.
        format!("config:\n  configFile: |\n    {indented}\nreplicaCount: 2\nimage: {{ tag: v7 }}\n"),
        "oauth2-proxy:\n  config: { clientID: shop, clientSecret: x }\n  extraArgs: { oidc-issuer-url: https://idp.example.com, skip-jwt-bearer-tokens: true }\n".to_owned(),
        "apiVersion: v1\nkind: Secret\ndata:\n  OAUTH2_PROXY_CLIENT_ID: c2hvcA==\nstringData:\n  OAUTH2_PROXY_OIDC_ISSUER_URL: https://idp.example.com\n  OAUTH2_PROXY_SKIP_JWT_BEARER_TOKENS: \"true\"\n".to_owned(),
    ] {
        assert_eq!(made("oauth2-proxy", &theirs).configuration, expected, "{theirs}");
    }
    let service = made(
        "authservice",
        "OIDC_PROVIDER=https://idp.example.com\nCLIENT_ID=kubeflow\nSKIP_AUTH_URI=/dex/ /.well-known/\n",
    );
    plays(&service.configuration, "/.well-known/x", Value::Null, "bypassed");
    plays(&service.configuration, "/dex", Value::Null, "denied");
    for theirs in [
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nconfigMapGenerator:\n- name: p\n  literals: [oidc_provider=https://idp.example.com, client_id=kubeflow, skip_auth_uri=/dex/ /.well-known/]\n",
        "apiVersion: kfdef.apps.kubeflow.org/v1\nkind: KfDef\nspec:\n  applications:\n  - kustomizeConfig:\n      parameters:\n      - { name: oidc_provider, value: https://idp.example.com }\n      - { name: client_id, value: kubeflow }\n      - { name: skip_auth_uri, value: /dex/ /.well-known/ }\n",
    ] {
        assert_eq!(made("authservice", theirs).configuration, service.configuration, "{theirs}");
    }
}

/// Fields of a session are claims by other names; and a header without values is one that is taken off.
#[test]
fn headers_of_the_alpha_configuration_are_read() {
    let theirs = "upstreamConfig: { upstreams: [{ id: a, path: /, uri: http://a }] }\ninjectRequestHeaders:\n- { name: X-User, values: [{ claimSource: { claim: user } }] }\n- { name: X-Mail, values: [{ claimSource: { claim: email, prefix: \"m:\" } }] }\n- { name: X-Groups, values: [{ claim: groups }] }\n- { name: X-Forwarded-User, values: [] }\nproviders:\n- id: kc\n  provider: keycloak-oidc\n  clientID: shop\n  clientSecretFile: /x\n  keycloakConfig: { roles: [admin] }\n  oidcConfig: { issuerUrl: https://idp.example.com, emailClaim: upn, groupsClaim: roles }\n";
    let Made { configuration, .. } = made("oauth2-proxy", theirs);
    assert_eq!(
        configuration["claim_headers"],
        json!([
            {"header": "X-User", "claim": "sub"},
            {"header": "X-Mail", "claim": "upn", "prefix": "m:"},
            {"header": "X-Groups", "claim": "roles"},
        ])
    );
    assert_eq!(configuration["remove"]["header"], json!(["X-Forwarded-User"]));
    plays(&configuration, "/", json!({"realm_access": {"roles": ["user"]}}), "denied");
    plays(&configuration, "/", json!({"realm_access": {"roles": ["admin"]}}), "allowed");
}

#[test]
fn services_of_toolbox_by_each_of_their_names() {
    let google = made("toolbox", "authServices:\n  web: { kind: google, clientId: shop.apps }\n");
    assert_eq!(google.configuration["providers"][0]["issuer"], "https://accounts.google.com");
    assert_eq!(google.configuration["access_token"]["key"], "web_token");
    assert_eq!(
        made("toolbox", "kind: authServices\nname: web\ntype: google\nclientId: shop.apps\n").configuration,
        google.configuration
    );
    let two = "kind: authService\nname: a\ntype: generic\naudience: api\nauthorizationServer: https://idp.example.com\nscopesRequired: [read]\n---\nkind: authService\nname: b\ntype: google\nclientId: web\n---\nkind: authService\nname: c\ntype: google\nclientId: phone\n";
    let Made { configuration, widened, .. } = made("toolbox", two);
    assert_eq!(configuration["providers"].as_array().unwrap().len(), 2, "{configuration:#}");
    assert_eq!(configuration["access_token"].as_array().unwrap().len(), 3);
    assert!(widened.contains("scopesRequired") && widened.contains("one issuer"), "{widened}");
    let mcp = format!(
        "{two}---\nkind: authService\nname: m\ntype: generic\nmcpEnabled: true\naudience: api\nauthorizationServer: https://idp.example.com\n"
    );
    assert!(made("toolbox", &mcp).notes.contains("authServices.b: stands beside"), "told");
}

/// Several files of one system, and which of them is broken.
#[test]
fn files_that_belong_together_are_read_together() {
    let folder = std::env::temp_dir().join(format!("oidc-filter-together-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let core = write(
        "core.cfg",
        "email_domains = [\"*\"]\nskip_auth_routes = [\"^/healthz$\"]\nskip_jwt_bearer_tokens = true\n",
    );
    let alpha = write(
        "alpha.yaml",
        "providers:\n- { id: a, provider: oidc, clientID: shop, oidcConfig: { issuerURL: https://idp.example.com } }\n",
    );
    let both = printed(&["migrate", "oauth2-proxy", &core, &alpha], "");
    assert!(both.contains("/healthz") && both.contains("https://idp.example.com"), "{both}");
    let alone = run(&["migrate", "oauth2-proxy", &core], "");
    assert!(alone.code == 2 && alone.err.contains("--alpha-config") && alone.err.contains(&core), "{}", alone.err);
    let broken = write("broken.yaml", "a: [\n");
    let ended = run(&["migrate", "request-authentication", &alpha, &broken], "");
    assert!(ended.code == 2 && ended.err.contains(&format!("{broken}:")), "{}", ended.err);
    std::fs::remove_dir_all(&folder).unwrap();
}
