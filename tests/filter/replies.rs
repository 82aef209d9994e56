//! What a refused client gets: status, challenge and body for each row of the table (RSP, RFC 6750, RFC 9110).

use crate::scene::*;
use crate::support::with;
use serde_json::{Value, json};

/// One request for each kind of refusal, with what is said in its challenge and in the body's `error`.
fn rows() -> Vec<(Ask, u16, &'static str, Option<&'static str>)> {
    let expired = token(json!({"exp": NOW - 3600}));
    vec![
        (bare(), 401, "missing_token", None),
        (bare().header("authorization", "Basic dTpw"), 401, "unsupported_token", None),
        (bearer("a").bearer("b"), 400, "invalid_request", Some("invalid_request")),
        (bearer(&expired), 401, "expired", Some("invalid_token")),
        (bearer(&token(json!({"scope": "x"}))), 403, "insufficient_scope", Some("insufficient_scope")),
    ]
}

fn scene(top: Value) -> Scene {
    Scene::of(jwt(json!({}), with(json!({"require": {"scopes": ["read", "write"]}, "realm": "things"}), top)))
}

#[test]
fn rsp_01_and_02_challenges() {
    let mut scene = scene(json!({}));
    for (ask, status, reason, error) in rows() {
        let refusal = scene.send(ask).refused(status, reason);
        let challenge = refusal.challenge().unwrap();
        assert_eq!((&*challenge["realm"], challenge.get("error").map(String::as_str)), ("things", error));
        assert_eq!(challenge.contains_key("error_description"), error.is_some());
        let scope = matches!(reason, "missing_token" | "unsupported_token" | "insufficient_scope");
        assert_eq!(challenge.get("scope").map(String::as_str), scope.then_some("read write"), "{reason}");
    }
    assert_eq!(
        Scene::of(jwt(json!({}), json!({}))).send(bare()).refused(401, "missing_token").challenge().unwrap()["realm"],
        "oidc"
    );
}

/// The words of the contract, and no others.
const REASONS: [&str; 21] = [
    "missing_token",
    "invalid_request",
    "malformed_token",
    "unsupported_token",
    "unknown_issuer",
    "unknown_key",
    "bad_signature",
    "expired",
    "not_yet_valid",
    "wrong_audience",
    "wrong_type",
    "invalid_claims",
    "inactive",
    "insufficient_scope",
    "insufficient_claims",
    "not_bound",
    "invalid_dpop_proof",
    "use_dpop_nonce",
    "provider_unavailable",
    "overloaded",
    "misconfigured",
];

#[test]
fn rsp_08_bodies() {
    for (ask, status, reason, error) in rows() {
        assert!(REASONS.contains(&reason));
        let error = error.unwrap_or(reason);
        let refusal = |form: &str| scene(json!({"response_body": form})).send(ask.clone()).refused(status, reason);

        let json = refusal("json");
        assert_eq!(json.header("content-type"), Some("application/json"));
        let body = json.json();
        let description = body["error_description"].as_str().unwrap();
        assert_eq!((&body["error"], body.as_object().unwrap().len()), (&json!(error), 2));
        assert!(description.starts_with(reason), "{description}");
        assert_eq!(scene(json!({})).send(ask.clone()).refused(status, reason).body, json.body, "the default");
        if let Some(challenge) = json.challenge().filter(|challenge| challenge.contains_key("error")) {
            assert_eq!(challenge["error_description"], description);
        }

        let problem = refusal("problem"); // RFC 9457, section 3.1
        assert_eq!(problem.header("content-type"), Some("application/problem+json"));
        let body = problem.json();
        assert_eq!((&body["status"], &body["error"]), (&json!(status), &json!(error)));
        assert!(body["title"].is_string() && body["detail"].is_string());

        let rpc = refusal("jsonrpc"); // JSON-RPC 2.0, section 5
        assert_eq!(rpc.header("content-type"), Some("application/json"));
        let body = rpc.json();
        assert_eq!((&body["jsonrpc"], &body["id"]), (&json!("2.0"), &json!(null)));
        assert_eq!(body["error"]["code"], json!(-i32::from(status)));
        assert!(body["error"]["message"].is_string() && body.get("result").is_none());

        let text = refusal("text");
        assert_eq!(text.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(text.body, format!("{description}\n"));

        let none = refusal("none");
        assert_eq!((none.header("content-type"), &*none.body), (None, ""));
        for refusal in [problem, rpc, text, none] {
            assert_eq!(refusal.header("www-authenticate"), json.header("www-authenticate"));
        }
    }
}

/// One status for what the client sent wrongly; a good token that isn't enough, and an outage, keep theirs.
#[test]
fn enforce_response_code() {
    for code in [302, 401, 403, 404, 503] {
        let mut scene = scene(json!({"enforce_response_code": code}));
        for (ask, status, reason, error) in rows() {
            let expected = if reason == "insufficient_scope" { status } else { code };
            if code == 503 && expected == 503 {
                continue;
            }
            let refusal = scene.send(ask).refused(expected, reason);
            // A challenge belongs to 401; RFC 6750 has it with 400 and 403, too.
            let challenge = refusal.challenge();
            match matches!(expected, 400 | 401 | 403) {
                true => assert_eq!(challenge.unwrap().get("error").map(String::as_str), error),
                false => assert_eq!(challenge, None),
            }
        }
    }
    let mut down = Scene::cold(jwt(json!({}), json!({"enforce_response_code": 404})));
    down.provider.at("/jwks", Answer::Refuses);
    down.send(bearer(&good())).refused(503, "provider_unavailable");
}

/// RSP-03, RSP-08: nothing that a client or a provider said comes back.
#[test]
fn rsp_03_08_nothing_is_echoed() {
    let hostile = "\"<script>\r\nx-evil: 1\\";
    let mut scene = scene(json!({}));
    let tokens = [
        token(json!({"iss": hostile})),
        token(json!({"aud": hostile})),
        token(json!({"scope": hostile})),
        token(json!({"sub": 1, "x": hostile})),
        key("k1").token_with(json!({"kid": hostile}), json!({})),
        key("k1").token_with(json!({"alg": hostile}), json!({})),
        key("k1").token_with(json!({"typ": hostile}), json!({})),
    ];
    for token in &tokens {
        let Seen::Refused(refusal) = scene.send(bearer(token)) else { panic!() };
        let told = format!("{:?} {}", refusal.headers, refusal.body);
        assert!(!told.contains("<script") && !told.contains("evil") && !told.contains(&**token), "{told}");
    }
    let mut asked = Scene::of(introspection(json!({}), json!({})));
    asked.provider.at("/introspect", says(400, "application/json", json!({"error": hostile}).to_string()));
    let refusal = asked.send(get(format!("/{hostile}")).bearer("secret-token")).refused(503, "provider_unavailable");
    let told = format!("{refusal:?}");
    assert!(!told.contains("<script") && !told.contains("secret-token"), "{told}");
}

/// LOG-01: what is shown when something is printed.
#[test]
fn log_01_secrets_are_not_printed() {
    use oidc_filter::config::Config;
    use oidc_filter::filter::{Effect, Filter, StreamId};
    use oidc_filter::http::{Headers, Request};
    use oidc_filter::time::Timestamp;
    use std::rc::Rc;
    let settings = json!({
        "client_id": "client", "client_secret": "${SECRET}", "method": "GET", "endpoint": "https://idp.example.com/i",
    });
    let config = introspection(json!({"introspection": settings}), json!({})).to_string();
    let environment = |_: &str| Some("hunter2".to_owned());
    let config = Config::read(config.as_bytes(), &environment).unwrap();
    assert!(!format!("{config:?} {config:#?}").contains("hunter2"));
    let mut filter = Filter::new(Rc::new(config), "oidc");
    let headers = Headers::from_pairs([(":method", "GET"), (":path", "/"), ("authorization", "Bearer secret-token")]);
    let request = Request { headers, ..Request::default() };
    assert!(!format!("{request:?}").contains("secret-token"));
    filter.on_request(StreamId(1), request, Timestamp::from_unix_seconds(NOW));
    let effects = filter.take_effects();
    assert!(matches!(effects.as_slice(), [Effect::Fetch(..)]), "{effects:?}");
    let told = format!("{effects:?}");
    assert!(!told.contains("secret-token") && !told.contains("hunter2") && told.contains("idp.example.com"), "{told}");
}

/// What metrics count.
#[test]
fn outcomes_and_fetches() {
    let mut scene = Scene::of(auto(json!({"name": "main"}), json!({})));
    scene.send(bearer("opaque")).refused(401, "inactive");
    scene.provider.at("/introspect", status(500));
    scene.send(bearer("other")).refused(503, "provider_unavailable");
    let ends: Vec<_> = scene.fetched.iter().map(|end| (&*end.provider, end.kind, end.result)).collect();
    let expected = [("metadata", "ok"), ("jwks", "ok"), ("introspection", "ok"), ("introspection", "failed")];
    assert_eq!(ends, expected.map(|(kind, result)| ("main", kind, result)));
}
