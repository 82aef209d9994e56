//! What an operator reads who looks for the reason of something: lines in the log, and warnings.

use crate::listener::heard;
use crate::scene::*;
use crate::support::with;
use oidc_filter::config::Config;
use oidc_filter::filter::StreamId;
use oidc_filter::http::{Headers, Response};
use serde_json::{Value, json};

const DISCOVERY: &str = "/.well-known/openid-configuration";

/// What is said of one more request to a scene that is warm.
fn line_about(scene: &mut Scene, ask: Ask) -> String {
    scene.send(ask.clone());
    heard();
    scene.filter.on_request(StreamId(7_000_000), ask.request(), scene.now);
    scene.filter.on_closed(StreamId(7_000_000));
    heard().join("\n")
}

fn from(path: &str, token: &str) -> Ask {
    get(path).bearer(token).header("x-request-id", "0b0fd3d6-4d4c-4bb0-8e0c-b4b8f5ab1ff1")
}

fn rules() -> Value {
    json!({
        "require": {"claims": [{"claim": "sub", "any_of": ["alice", "bob"]}]},
        "rules": [
            {"name": "health", "match": {"path": "/healthz"}, "bypass": true},
            {"match": {"path_prefix": "/admin"}, "require": {
                "scopes": ["a"], "claims": [{"claim": "iss", "any_of": [ISSUER]}, {"claim": "dept", "any_of": ["secret-unit"]}],
            }},
            {"match": {"path_prefix": "/groups"}, "require": {"groups_allowlist": ["staff"]}},
            {"match": {"path_prefix": "/any"}, "require": {"scopes_any": ["x", "y"]}},
            {"match": {"path_prefix": "/output"}, "claim_headers": [
                {"header": "x-a", "claim": "sub"}, {"header": "x-b", "claim": "nope", "required": true},
            ]},
            {"match": {"path_prefix": "/top"}, "allow_missing": true},
            {"match": {"path_prefix": "/candidate"}, "shadow": {"require": {"scopes": ["z"]}}},
        ],
    })
}

#[test]
fn a_debug_line_tells_request_rule_and_requirement() {
    let mut scene = Scene::of(jwt(json!({"name": "main"}), rules()));
    let with = |claims: Value| token(with(json!({"sub": "alice"}), claims));
    for (ask, line) in [
        (
            from("/healthz?a=b", &with(json!({}))),
            "GET /healthz [x-request-id 0b0fd3d6-4d4c-4bb0-8e0c-b4b8f5ab1ff1]: bypassed (rules[0] health, no provider)",
        ),
        (from("/x", &with(json!({}))), ": allowed (no rule, provider main)"),
        (
            from("/x", &with(json!({"sub": "mallory"}))),
            "denied with 403: insufficient_claims (no rule, provider main): require.claims[0] is not fulfilled",
        ),
        (
            from("/admin/x", &with(json!({"scope": "a"}))),
            "denied with 403: insufficient_claims (rules[1], provider main): rules[1].require.claims[1] is not fulfilled",
        ),
        (
            from("/admin/x", &with(json!({"scope": "b"}))),
            "denied with 403: insufficient_scope (rules[1], provider main): rules[1].require.scopes is not fulfilled",
        ),
        (from("/groups", &with(json!({}))), ": rules[2].require.groups_allowlist is not fulfilled"),
        (from("/any", &with(json!({}))), ": rules[3].require.scopes_any is not fulfilled"),
        (
            from("/output", &with(json!({}))),
            "insufficient_claims (rules[4], provider main): rules[4].claim_headers[1] (x-b): the token lacks what is required",
        ),
        // What a rule has from the top level is told as the top level's.
        (
            from("/top", &with(json!({"sub": "mallory"}))),
            "(rules[5], provider main): require.claims[0] is not fulfilled",
        ),
        (get("/top"), "GET /top [x-request-id none]: bypassed: missing_token (rules[5], no provider)"),
        (from("/candidate", &with(json!({}))), "the candidate policy: rules[6].shadow.require.scopes is not fulfilled"),
        (from("/x", &with(json!({"exp": 1}))), "denied with 401: expired (no rule, provider main)"),
        (
            from("/x", &with(json!({"nbf": "soon"}))),
            "denied with 401: invalid_claims (no rule, provider main): the claim nbf is not what it must be",
        ),
        (
            from("/x", &with(json!({"iss": 1}))),
            "denied with 401: invalid_claims (no rule, provider main): the claim iss is not what it must be",
        ),
        (from("/admin/..%2fx", &with(json!({}))), "GET /admin/..%2fx ["),
        (
            from("/admin/..%2fx", &with(json!({}))),
            ": denied with 400: invalid_request (no rule, no provider): no rule could be chosen",
        ),
    ] {
        let said = line_about(&mut scene, ask);
        assert!(said.contains(line), "{line}\n{said}");
        for secret in ["secret-unit", "mallory", "alice", "soon", "a=b"] {
            assert!(!said.contains(secret), "{secret} is told: {said}");
        }
    }
}

/// A token that is not taken for its sender's has one reason for its client, and several for its operator.
#[test]
fn a_binding_that_is_not_shown_is_told_of() {
    let thumbprint = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";
    let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    let by_key = token(json!({"cnf": {"jkt": thumbprint}}));
    let by_certificate = token(json!({"cnf": {"x5t#S256": thumbprint}}));
    let dpop = |token: &str| bare().header("authorization", format!("DPoP {token}"));
    let required =
        |what: &str| json!({what: with(json!({"mode": "required"}), json!({"origins": ["https://a.example"]}))});
    let (proofs, shown) = (required("dpop"), json!({"certificate_bound": {"mode": "required"}}));
    let header = json!({"certificate_bound": {"header": "x-client-cert"}});
    for (top, ask, words) in [
        (json!({}), bearer(&token(json!({"cnf": {"kid": "1"}}))), "cnf is malformed, or of a kind that is not known"),
        (json!({}), bearer(&by_key), "there is no `dpop` here"),
        (json!({}), bearer(&by_certificate), "there is no `certificate_bound` here"),
        (proofs.clone(), bearer(&by_key), "comes not under the scheme DPoP"),
        (proofs.clone(), bearer(&good()), "has no cnf.jkt"),
        (proofs, dpop(&good()), "has no cnf.jkt"),
        (shown.clone(), bearer(&good()).certificate(hex), "has no cnf.x5t#S256"),
        (shown.clone(), bearer(&by_certificate), "the connection shows no certificate"),
        (shown, bearer(&by_certificate).certificate(hex.replace('e', "f")), "the connection shows another certificate"),
        (header.clone(), bearer(&by_certificate).certificate(hex), "the header x-client-cert shows no certificate"),
        (header.clone(), bearer(&by_certificate).header("x-client-cert", "(null)"), "in a form that is read"),
        (header, bearer(&by_certificate).header("x-client-cert", "MIIB"), "x-client-cert shows another certificate"),
    ] {
        let mut scene = Scene::of(jwt(json!({"name": "main"}), top));
        let said = line_about(&mut scene, ask);
        assert!(said.contains("not_bound (no rule, provider main): ") && said.contains(words), "{words}: {said}");
        assert!(!said.contains(thumbprint) && !said.contains("MIIB"), "{said}");
    }
    // Where the provider is asked about a JWT, both may speak of it.
    let mut asked = Scene::of(introspection(json!({"name": "main"}), json!({"certificate_bound": {}})));
    asked
        .provider
        .tokens
        .insert(by_certificate.clone(), active(json!({"cnf": {"x5t#S256": thumbprint.replace('4', "8")}})));
    let said = line_about(&mut asked, bearer(&by_certificate).certificate(hex));
    assert!(said.contains("the token's cnf is not what its provider says of it"), "{said}");
}

#[test]
fn a_line_is_short_and_one() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    let path = format!("/{}\u{1b}[31m\n?token=abcdefghijklmnop", "x".repeat(5000));
    let said = line_about(&mut scene, get(path).header("x-request-id", format!("a\nb{}", "c".repeat(5000))));
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.len() < 600 && said.contains("…") && !said.contains("abcdefghijklmnop"), "{said}");
    for odd in ["/a;jsessionid=abcdefghijklmnop", "/a#abcdefghijklmnop"] {
        let said = line_about(&mut scene, get(odd));
        assert!(said.contains("GET /a [") && !said.contains("abcdefghijklmnop"), "{said}");
    }
}

/// A refusal as an object, with the same words; what a client sends ends neither the line nor a string of it.
#[test]
fn a_refusal_is_told_as_json_where_that_is_wanted() {
    let mut scene = Scene::of(jwt(json!({"name": "main"}), with(rules(), json!({"refusal_log": "json"}))));
    let told = |said: &str| serde_json::from_str::<Value>(said).unwrap_or_else(|error| panic!("{error}: {said}"));
    let id = "0b0fd3d6-4d4c-4bb0-8e0c-b4b8f5ab1ff1";
    let said = line_about(&mut scene, from("/admin/x?a=b", &token(json!({"sub": "alice", "scope": "b"}))));
    assert_eq!(
        told(&said),
        json!({
            "event": "oidc_denied", "request_id": id, "method": "GET", "path": "/admin/x", "status": 403,
            "reason": "insufficient_scope", "provider": "main", "rule": "rules[1]",
            "requirement": "rules[1].require.scopes is not fulfilled",
        })
    );
    let said = line_about(&mut scene, get("/x\"\n\\"));
    assert_eq!(
        told(&said),
        json!({
            "event": "oidc_denied", "method": "GET", "path": r#"/x\"\n\\"#, "status": 400, "reason": "invalid_request",
            "requirement": "no rule could be chosen",
        })
    );
    let said = line_about(&mut scene, from("/admin/..%2fx", &good()));
    assert_eq!(told(&said)["requirement"], "no rule could be chosen");
    let said = line_about(&mut scene, from("/x", &token(json!({"sub": "alice"}))));
    assert!(said.contains(": allowed"), "what passes is told at debug level, in words: {said}");
}

/// What looks like a JWT is cut off, wherever in a line a client puts it.
#[test]
fn a_token_in_a_path_or_an_id_is_not_told() {
    for form in ["text", "json"] {
        let mut scene = Scene::of(jwt(json!({}), json!({"refusal_log": form})));
        let token = good();
        let said = line_about(&mut scene, get(format!("/reset/{token}")).header("x-request-id", format!("a{token}")));
        assert!(said.contains("/reset/…") && !said.contains("eyJ"), "{said}");
    }
}

#[test]
fn the_form_of_refusals_is_a_closed_word() {
    for (wrong, problem) in [(json!("yaml"), "expected text, json or none"), (json!(true), "expected a string")] {
        let configuration = jwt(json!({}), json!({"refusal_log": wrong}));
        let error = Config::read(configuration.to_string().as_bytes(), &|_: &str| None).unwrap_err();
        assert_eq!(error.path(), "refusal_log");
        assert!(error.problem().contains(problem), "{error}");
    }
}

/// The verify endpoint: the request that is asked about.
#[test]
fn a_question_is_told_by_the_request_that_it_is_about() {
    let top = json!({
        "verify_path": "/verify",
        "verify_request": {"method_header": "x-original-method", "uri_header": "x-original-uri"},
        "rules": [{"name": "admin", "match": {"path_prefix": "/admin"}, "require": {"scopes": "a"}}],
    });
    let mut scene = Scene::of(jwt(json!({"name": "main"}), top));
    let ask = from("/verify", &good()).header("x-original-method", "PUT").header("x-original-uri", "/admin/1?t=x");
    let said = line_about(&mut scene, ask);
    assert!(said.contains("asked about PUT /admin/1 ["), "{said}");
    assert!(said.contains("insufficient_scope (rules[0] admin, provider main): rules[0].require.scopes"), "{said}");
}

/// What a provider's answer is, where it is not what it should be.
#[test]
fn a_fault_of_a_provider_says_what_its_answer_is() {
    let keys = json!({"keys": [key("k1").jwk()]}).to_string();
    let said_of = |place: &str, answer: Answer| {
        let mut scene = Scene::cold(jwt(json!({"name": "main"}), json!({})));
        scene.provider.at(place, answer);
        heard();
        scene.tick();
        heard().join("\n")
    };
    let named = |issuer: &str| says_json(with(metadata(ISSUER), json!({"issuer": issuer})));
    for (place, answer, words) in [
        (
            DISCOVERY,
            named("https://idp.example.com/"),
            r#"the metadata name the issuer "https://idp.example.com/", not "https://idp.example.com";"#,
        ),
        (DISCOVERY, named("http://keycloak:8080\n\u{1b}"), r#"the issuer "http://keycloak:8080\n\u{1b}", not"#),
        (DISCOVERY, says_json(json!({})), "the metadata name no issuer, not"),
        (DISCOVERY, says(200, "application/json", "\u{feff}{}"), "byte order mark"),
        (DISCOVERY, says(200, "application/json", "<!DOCTYPE html>"), "the metadata are malformed: it is an HTML page"),
        ("/jwks", says(200, "text/html", keys.clone()), "the answer is JSON, but its `content-type` is text/html"),
        ("/jwks", says(200, "text/html", "<html>"), "the answer is an HTML page"),
        (
            "/jwks",
            says(200, "application/json", "\u{feff}{}"),
            "the key set can't be read: it begins with a byte order mark",
        ),
        ("/jwks", says(200, "application/json", b"\x1f\x8b\x08".to_vec()), "compressed with gzip"),
        ("/jwks", says(200, "application/json", &keys[..20]), "not a JSON text: line 1, column"),
        ("/jwks", says(200, "application/json", ""), "it is empty"),
        ("/jwks", says(200, "text/plain", "-----BEGIN CERTIFICATE-----"), "it is PEM"),
        (
            "/jwks",
            says(
                503,
                "text/plain",
                "upstream connect error or disconnect/reset before headers. reset reason: overflow",
            ),
            "overflow: more calls or connections",
        ),
        ("/jwks", says(503, "text/plain", "no healthy upstream"), "Envoy could not call it: no healthy upstream"),
    ] {
        let said = said_of(place, answer);
        assert!(said.contains(words), "{words}\n{said}");
    }
    let overloaded =
        Response { status: 503, headers: Headers::from_pairs([("x-envoy-overloaded", "true")]), body: Vec::new() };
    assert!(said_of("/jwks", Answer::Says(overloaded)).contains("overflow"));
}

/// docs/providers.md: which places take the tokens of whom.
#[test]
fn opaque_tokens_with_odd_characters_have_their_places() {
    let places = json!([
        {"key": "authorization"}, {"key": "x-api-token", "scheme": ""}, {"location": "cookie", "key": "t"},
        {"location": "query_string", "key": "t"}, {"location": "metadata", "key": "t", "metadata_filter": "early"},
    ]);
    for token in ["12|abcdefghij", "00D!abcdefghij", "a:b:cdefghij", "{abcdefghij}"] {
        let mut scene = Scene::of(introspection(json!({}), json!({"access_token": places})));
        scene.provider.tokens.insert(token.to_owned(), active(json!({})));
        scene.send(bearer(token)).refused(401, "malformed_token");
        scene.send(bare().header("x-api-token", token)).allowed();
        scene.send(bare().header("cookie", format!("t={token}"))).allowed();
        let encoded = url::form_urlencoded::byte_serialize(token.as_bytes()).collect::<String>();
        scene.send(get(format!("/?t={encoded}"))).allowed();
        scene.send(bare().metadata(Some(token))).allowed();
    }
}

// ------------------------------------------------------------------------------------ warnings

fn warnings(configuration: &Value) -> Vec<String> {
    let environment = |_: &str| None;
    let config = Config::read(configuration.to_string().as_bytes(), &environment);
    let config = config.unwrap_or_else(|error| panic!("{error}\n{configuration}"));
    config.warnings.iter().map(ToString::to_string).collect()
}

#[test]
fn one_fact_about_several_providers_is_one_warning() {
    let provider = |name: &str| json!({"name": name, "issuer": format!("http://{name}.example.com"), "audiences": "a"});
    let three = warnings(&json!({"providers": [provider("a"), provider("b"), provider("c")]}));
    assert_eq!(three, ["a, b, c: the issuer is not https; only a cluster with TLS protects tokens and keys"]);
    let tenants: Vec<String> = (0..100).map(|number| format!("t{number}")).collect();
    let issuer = json!({"issuer": "http://login.example.com/{tenant}", "tenants": tenants, "any_audience": true});
    assert_eq!(warnings(&json!({"providers": issuer})).len(), 2);
}

#[test]
fn a_claim_with_dots_that_none_can_have_is_warned_of() {
    let places = |top: Value| -> Vec<String> {
        let warnings = warnings(&jwt(json!({}), top));
        assert!(warnings.iter().all(|warning| warning.contains("told by `path`")), "{warnings:?}");
        warnings.into_iter().map(|warning| warning.split(':').next().unwrap().to_owned()).collect()
    };
    let claim = |name: &str| json!({"claim": name, "any_of": ["x"]});
    let header = |name: &str| json!({"header": "x-a", "claim": name});
    assert_eq!(
        places(json!({"require": {"claims": [claim("sub"), claim("realm_access.roles")]}})),
        ["require.claims[1].claim"]
    );
    assert_eq!(places(json!({"claim_headers": header("org.tenant")})), ["claim_headers[0].claim"]);
    assert_eq!(places(json!({"user_info": {"key": "x-a", "claims": ["sub", "a.b"]}})), ["user_info[0].claims"]);
    let rule = json!({"match": {"path": "/"}, "require": {"claims": claim("a.b")}, "claim_headers": header("a.b")});
    assert_eq!(
        places(json!({"rules": [rule]})),
        ["rules[0].require.claims[0].claim", "rules[0].claim_headers[0].claim"]
    );
    // A rule that says nothing of it is not blamed for it.
    assert_eq!(places(json!({"claim_headers": header("a.b"), "rules": [{"match": {"path": "/"}}]})).len(), 1);
    let authorizer = json!({"uri": "https://authorizer.example.com", "user": "a.b"});
    assert_eq!(places(json!({"external_authorization": authorizer})), ["external_authorization.user"]);
    for name in ["https://example.com/roles", "urn:x:a.b", "kubernetes.io", "example.com", "sub", "a..b", ".a", "a b.c"]
    {
        assert_eq!(places(json!({"claim_headers": header(name)})), Vec::<String>::new(), "{name}");
    }
    assert_eq!(places(json!({"claim_headers": {"header": "x-a", "path": "a.b"}})), Vec::<String>::new());
    // A mapping makes one.
    let mapped = jwt(json!({"claim_mapping": {"a.b": {"path": "a.b"}}}), json!({"claim_headers": header("a.b")}));
    assert_eq!(warnings(&mapped), Vec::<String>::new());
    let mapped = jwt(json!({"name": "main", "claim_mapping": {"roles": "realm_access.roles"}}), json!({}));
    assert!(warnings(&mapped)[0].starts_with("main: claim_mapping.roles: "), "{:?}", warnings(&mapped));
}

/// The pairs of rules of which the second is never found, as warnings tell them.
fn unreachable(matches: Value) -> Vec<String> {
    let rules: Vec<Value> = matches.as_array().unwrap().iter().map(|matching| json!({"match": matching})).collect();
    let warnings = warnings_but_for_routes(json!({"rules": rules}));
    let pair = |warning: &String| {
        let numbers: Vec<&str> = warning.split("rules[").skip(1).map(|rest| rest.split(']').next().unwrap()).collect();
        numbers.join(" by ")
    };
    warnings.iter().map(pair).collect()
}

/// The warnings about a configuration, but for the one that rules look at routes.
fn warnings_but_for_routes(configuration: Value) -> Vec<String> {
    let mut warnings = warnings(&jwt(json!({}), configuration));
    warnings.retain(|warning| !warning.contains("envoy/routes.yaml"));
    warnings
}

#[test]
fn rules_that_an_earlier_one_leaves_nothing_to() {
    for (matches, found) in [
        (json!([{"path_prefix": "/"}, {"path": "/a"}]), vec!["1 by 0"]),
        (json!([{"path_prefix": "/a"}, {"path_prefix": "/a/b"}]), vec!["1 by 0"]),
        (json!([{"path_prefix": "/a/"}, {"path": "/a"}]), vec!["1 by 0"]),
        (json!([{"path_prefix": "/a"}, {"path_prefix": "/ab"}]), vec![]),
        (json!([{"path_prefix": "/a/b"}, {"path_prefix": "/a"}]), vec![]),
        (json!([{"path_prefix": ["/a", "/b"]}, {"path": ["/a/1", "/b/2"]}, {"path": ["/a/1", "/c"]}]), vec!["1 by 0"]),
        (json!([{"path": ["/a", "/b"]}, {"path": "/b"}]), vec!["1 by 0"]),
        (json!([{"path_prefix": "/a"}, {"path_pattern": "/a/[0-9]+"}, {"path_pattern": "/[ab]/x"}]), vec!["1 by 0"]),
        (json!([{"path_pattern": "/a/[0-9]+"}, {"path": "/a/17"}, {"path": "/a/x"}]), vec!["1 by 0"]),
        (json!([{"path_pattern": "/a/.*"}, {"path_pattern": "/a/.*"}]), vec!["1 by 0"]),
        (
            json!([{"path_prefix": "/a", "methods": ["GET", "PUT"]}, {"path": "/a", "methods": "GET"}, {"path": "/a"}]),
            vec!["1 by 0"],
        ),
        (json!([{"methods": "GET"}, {"path": "/a", "methods": "GET"}]), vec!["1 by 0"]),
        (
            json!([{"hosts": "*.example.com"}, {"hosts": "a.example.com"}, {"hosts": "*.a.example.com"}, {"hosts": "example.com"}, {"hosts": "badexample.com"}]),
            vec!["1 by 0", "2 by 0"],
        ),
        (
            json!([{"hosts": ["a.example", "b.example"], "path_prefix": "/"}, {"hosts": "b.example", "path": "/x"}]),
            vec!["1 by 0"],
        ),
        (json!([{"route_name": ["a", "b"]}, {"route_name": "b"}, {"route_name": ["b", "c"]}]), vec!["1 by 0"]),
        (
            json!([{"headers": {"x-a": "1"}}, {"headers": {"x-a": "1", "x-b": "2"}}, {"headers": {"x-a": "2"}}]),
            vec!["1 by 0"],
        ),
        (
            json!([{"headers": {"name": "x-a", "prefix": "v"}}, {"headers": {"x-a": "v1"}}, {"headers": {"name": "x-a", "present": true}}]),
            vec!["1 by 0"],
        ),
        (
            json!([{"headers": {"name": "x-a", "present": true}}, {"headers": {"name": "x-a", "pattern": "[0-9]"}}, {"headers": {"name": "x-a", "present": false}}]),
            vec!["1 by 0"],
        ),
        (
            json!([{"headers": {"name": "x-a", "pattern": "[0-9]+"}}, {"headers": {"x-a": "12"}}, {"headers": {"x-a": "x"}}]),
            vec!["1 by 0"],
        ),
        // OPTIONS * has no path.
        (json!([{"path_prefix": "/"}, {"methods": "OPTIONS"}]), vec![]),
        (
            json!([{"path": "/a"}, {"path": "/b"}, {"path": "/a"}, {"path": "/b", "methods": "GET"}]),
            vec!["2 by 0", "3 by 1"],
        ),
    ] {
        assert_eq!(unreachable(matches.clone()), found, "{matches}");
    }
    let named =
        json!({"rules": [{"match": {"path_prefix": "/"}}, {"name": "a", "match": {"path": "/a"}}, {"name": "b"}]});
    let [named] = &warnings_but_for_routes(named)[..] else { panic!("one") };
    assert!(named.contains("unless a route's metadata name it"), "{named}");
    let bypass = json!({"rules": [{"match": {"path_prefix": "/"}, "bypass": true}, {"match": {"path": "/a"}}]});
    assert!(warnings(&jwt(json!({}), bypass))[0].contains("but for paths that can be read in two ways"));
}

/// Thousands of rules, in the ways in which they are alike.
#[test]
fn unreachable_rules_are_found_among_thousands() {
    type Matching = fn(usize) -> Value;
    let ways: [Matching; 4] = [
        |number| json!({"path_prefix": format!("/service{number}")}),
        |number| json!({"hosts": format!("h{number}.example.com"), "path_prefix": "/"}),
        |number| json!({"hosts": format!("h{number}.example.com")}),
        |number| json!({"path": "/a", "headers": {"x-tenant": number.to_string()}}),
    ];
    for way in ways {
        let mut matches: Vec<Value> = (0..5000).map(way).collect();
        matches.push(way(0));
        let found = unreachable(Value::Array(matches));
        let is_bounded = way(0).get("headers").is_some();
        assert!(found == ["5000 by 0"] || is_bounded && found.is_empty(), "{found:?}");
    }
    // All of them: some are told, the others counted.
    let same: Vec<Value> = (0..5000).map(|_| json!({"path": "/a"})).collect();
    assert_eq!(unreachable(Value::Array(same)).len(), 9);
}

/// One line that tells a start that went well.
#[test]
fn a_filter_tells_when_it_is_ready() {
    let mut scene = Scene::cold(jwt(json!({"name": "main"}), rules()));
    assert_eq!(scene.filter.summary(scene.now), None);
    scene.tick();
    let ready =
        "providers, 1: main (1 key); rules, 7: health, rules[1], rules[2], rules[3], rules[4], rules[5], rules[6]";
    assert_eq!(scene.filter.summary(scene.now).as_deref(), Some(ready));
    let scene = Scene::of(introspection(json!({"name": "main"}), json!({})));
    assert_eq!(scene.filter.summary(scene.now).as_deref(), Some("providers, 1: main (no keys); no rules"));
}
