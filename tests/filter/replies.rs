//! What a refused client gets: status, challenge and body for each row of the table (RSP, RFC 6750, RFC 9110).

use crate::scene::*;
use crate::support::with;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
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

/// RSP-01, RSP-02.
#[test]
fn each_refusal_has_its_challenge() {
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

/// RSP-08.
#[test]
fn each_refusal_has_its_body() {
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
            if matches!(expected, 400 | 401 | 403) {
                assert_eq!(challenge.unwrap().get("error").map(String::as_str), error);
            } else {
                assert_eq!(challenge, None);
            }
        }
    }
    let mut down = Scene::cold(jwt(json!({}), json!({"enforce_response_code": 404})));
    down.provider.at("/jwks", Answer::Refuses);
    down.send(bearer(&good())).refused(503, "provider_unavailable");
}

/// RSP-03, RSP-08: nothing that a client or a provider said comes back.
#[test]
fn nothing_is_echoed() {
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
fn secrets_are_not_printed() {
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

// ---------------------------------------------------------------------------------------------- gRPC

const GRPC: [&str; 3] = ["application/grpc", "application/grpc+proto", "application/grpc+json"];
const GRPC_WEB: [(&str, &str); 4] = [
    ("application/grpc-web", "application/grpc-web"),
    ("application/grpc-web+proto", "application/grpc-web"),
    ("application/grpc-web-text", "application/grpc-web-text"),
    ("application/grpc-web-text+proto", "application/grpc-web-text"),
];

/// What gRPC calls each kind of refusal: it doesn't depend on the code that the policy has for HTTP, nor on the form of its
/// bodies.
#[test]
fn grpc_calls_are_refused_in_their_own_terms() {
    for code in [json!(null), json!(302), json!(443), json!(503)] {
        for form in ["json", "problem", "jsonrpc", "text", "none"] {
            let mut scene = scene(json!({"enforce_response_code": code, "response_body": form}));
            for (ask, _, reason, _) in rows() {
                let expected = if reason == "insufficient_scope" { 7 } else { 16 };
                for media_type in GRPC {
                    let Seen::Refused(refusal) = scene.send(ask.clone().header("content-type", media_type)) else {
                        panic!()
                    };
                    assert_eq!((refusal.reason, refusal.grpc_status), (reason, Some(expected)), "{code} {form}");
                    assert!(refusal.body.starts_with(&format!("{reason}: ")) && !refusal.body.contains(['{', '\n']));
                    assert_eq!(refusal.header("content-type"), None, "Envoy's own");
                }
                for (media_type, answer) in GRPC_WEB {
                    let refusal = scene.send(ask.clone().header("content-type", media_type)).refused(200, reason);
                    assert_eq!(refusal.header("content-type"), Some(answer));
                    assert_eq!(refusal.header("grpc-status"), Some(&*expected.to_string()));
                    assert!(refusal.header("grpc-message").unwrap().starts_with(&format!("{reason}: ")));
                    assert_eq!(refusal.grpc_status, None);
                    let body = match answer {
                        "application/grpc-web" => refusal.body.into_bytes(),
                        _ => BASE64_STANDARD.decode(refusal.body).unwrap(),
                    };
                    let trailers = format!("grpc-status: {expected}\r\ngrpc-message: {reason}: ");
                    assert!(String::from_utf8_lossy(&body).contains(&trailers));
                }
            }
        }
    }
}

#[test]
fn grpc_statuses_of_what_is_not_the_tokens_fault() {
    let grpc = |ask: Ask| ask.header("content-type", "application/grpc");
    let mut down = Scene::cold(jwt(json!({}), json!({"enforce_response_code": 404})));
    down.provider.at("/jwks", Answer::Refuses);
    let refusal = down.send(grpc(bearer(&good()))).refused(503, "provider_unavailable");
    assert_eq!((refusal.grpc_status, refusal.header("retry-after").is_some()), (Some(14), true));
    let rules = json!({"rules": [{"match": {"path_prefix": "/b"}, "require": {"scopes": "admin"}}]});
    let ambiguous = grpc(get("/a/..%2fb").bearer(&good()));
    assert_eq!(Scene::of(jwt(json!({}), rules)).send(ambiguous).refused(400, "invalid_request").grpc_status, Some(3));
    let required = json!({"claim_headers": {"header": "h", "claim": "nope", "required": true}});
    let refusal = Scene::of(jwt(json!({}), required)).send(grpc(bearer(&good()))).refused(403, "insufficient_claims");
    assert_eq!(refusal.grpc_status, Some(7));
}

/// What only looks like gRPC is HTTP, as it is for Envoy.
#[test]
fn what_is_no_grpc_call() {
    let mut scene = scene(json!({}));
    for media_type in
        ["application/grpcx", "application/grpc; charset=utf-8", "Application/gRPC", "application/json", ""]
    {
        let refusal = scene.send(bare().header("content-type", media_type)).refused(401, "missing_token");
        assert_eq!((refusal.grpc_status, refusal.header("content-type")), (None, Some("application/json")));
    }
}

/// ATK-20: Envoy makes 200 of every answer to a gRPC call; to who asks, that is a yes. So it is answered in HTTP, and
/// the edge keeps the status.
#[test]
fn a_question_is_never_answered_in_grpc() {
    let mut scene = scene(json!({"verify_path": "/verify", "enforce_response_code": 302}));
    for media_type in GRPC.into_iter().chain(GRPC_WEB.map(|(sent, _)| sent)) {
        let ask = get("/verify/things").header("content-type", media_type);
        let refusal = scene.send(ask).refused(401, "missing_token");
        assert_eq!((refusal.grpc_status, refusal.header("content-type")), (None, Some("application/json")));
    }
}

// ---------------------------------------------------------------------------------------------- CORS

const APP: &str = "https://app.example.com";

fn cors(change: Value) -> Value {
    let listed = json!([APP, "https://*.apps.example.com", "http://*.dev.example.com:8080", "capacitor://localhost"]);
    with(json!({"allow_origins": listed}), change)
}

fn of_page(ask: Ask, origin: &str) -> Ask {
    ask.header("origin", origin)
}

fn preflight(origin: &str, method: &str) -> Ask {
    of_page(bare().set(":method", Some("OPTIONS")), origin).header("access-control-request-method", method)
}

const LISTED: [&str; 6] = [
    APP,
    "https://a.apps.example.com",
    "https://a.b-1.apps.example.com",
    "https://_x.apps.example.com",
    "http://a.dev.example.com:8080",
    "capacitor://localhost",
];

const UNLISTED: [&str; 20] = [
    "https://evil.example",
    "https://app.example.com.evil.example",
    "https://app.example.com:8443",
    "http://app.example.com",
    "https://APP.example.com",
    "https://app.example.com/",
    "https://app.example.com, https://evil.example",
    "https://evil.example https://app.example.com",
    "https://apps.example.com",
    "https://.apps.example.com",
    "https://a..apps.example.com",
    "https://evilapps.example.com",
    "https://evil.example/.apps.example.com",
    "https://evil.example?.apps.example.com",
    "https://evil.example#@a.apps.example.com",
    "https://a:1.apps.example.com",
    "https://a.apps.example.com:443",
    "http://a.dev.example.com",
    "null",
    "",
];

/// A page may read why it was refused: every refusal, whatever the reason, on every way to it.
#[test]
fn cors_on_every_refusal() {
    let read = ["access-control-allow-origin", "access-control-expose-headers", "vary"];
    for (ask, status, reason, _) in rows() {
        let refused = |origin: &str| {
            let mut scene = scene(json!({"cors": cors(json!({}))}));
            scene.send(of_page(ask.clone(), origin)).refused(status, reason)
        };
        for origin in LISTED {
            let refusal = refused(origin);
            let expected = [Some(origin), Some("www-authenticate, retry-after"), Some("origin")];
            assert_eq!(read.map(|name| refusal.header(name)), expected, "{reason}");
        }
        for origin in UNLISTED {
            let refusal = refused(origin);
            assert_eq!(read.map(|name| refusal.header(name)), [None, None, Some("origin")], "{origin}");
        }
        // Two origins are nobody's; a request of no page gets the same answer as one of a page that is not listed.
        let mut scene = scene(json!({"cors": cors(json!({}))}));
        let twice = of_page(of_page(ask.clone(), APP), APP);
        assert_eq!(scene.send(twice).refused(status, reason).header(read[0]), None);
        assert_eq!(scene.send(ask).refused(status, reason).header("vary"), Some("origin"));
    }
    let mut down = Scene::cold(jwt(json!({}), json!({"cors": cors(json!({}))})));
    down.provider.at("/jwks", Answer::Refuses);
    let refusal = down.send(of_page(bearer(&good()), APP)).refused(503, "provider_unavailable");
    assert_eq!(refusal.header(read[0]), Some(APP));
    let rules = json!([{"match": {"path_prefix": "/b"}, "require": {"scopes": "admin"}}]);
    let mut ruled = Scene::of(jwt(json!({}), json!({"cors": cors(json!({})), "rules": rules})));
    let ambiguous = of_page(get("/a/..%2fb"), APP);
    assert_eq!(ruled.send(ambiguous).refused(400, "invalid_request").header(read[0]), Some(APP));
}

#[test]
fn cors_for_everybody_and_with_credentials() {
    let refused = |settings: Value, origin: &str| {
        scene(json!({"cors": settings})).send(of_page(bare(), origin)).refused(401, "missing_token")
    };
    let refusal = refused(json!({"allow_origins": "*"}), "https://any.example");
    assert_eq!((refusal.header("access-control-allow-origin"), refusal.header("vary")), (Some("*"), None));
    let settings =
        json!({"allow_origins": APP, "allow_credentials": true, "expose_headers": ["x-request-id", "Retry-After"]});
    let refusal = refused(settings.clone(), APP);
    assert_eq!(refusal.header("access-control-allow-credentials"), Some("true"));
    assert_eq!(refusal.header("access-control-expose-headers"), Some("www-authenticate, retry-after, x-request-id"));
    assert_eq!(refused(settings, "https://evil.example").header("access-control-allow-credentials"), None);
    // What isn't configured isn't said.
    let refusal = scene(json!({})).send(of_page(bare(), APP)).refused(401, "missing_token");
    assert!(!refusal.headers.iter().any(|(name, _)| name.starts_with("access-control") || *name == "vary"));
}

#[test]
fn cors_preflights_are_answered() {
    let answer = |settings: Value, ask: Ask| scene(json!({"cors": cors(settings)})).send(ask).preflight();
    for origin in LISTED {
        let expected = [
            &*format!("access-control-allow-origin: {origin}"),
            "vary: origin",
            "access-control-allow-methods: DELETE",
            "access-control-allow-headers: authorization, content-type",
        ];
        assert_eq!(answer(json!({}), preflight(origin, "DELETE")), expected);
    }
    let settings = json!({
        "allow_methods": ["GET", "PUT"], "allow_headers": ["X-Tenant", "authorization"], "max_age": "2h", "allow_credentials": true,
    });
    let expected = [
        &*format!("access-control-allow-origin: {APP}"),
        "access-control-allow-credentials: true",
        "vary: origin",
        "access-control-allow-methods: GET, PUT",
        "access-control-allow-headers: x-tenant, authorization",
        "access-control-max-age: 7200",
    ];
    assert_eq!(answer(settings, preflight(APP, "PUT")), expected);
    let everybody =
        answer(json!({"allow_origins": "*", "allow_headers": "*"}), preflight("https://any.example", "GET"));
    let expected = [
        "access-control-allow-origin: *",
        "access-control-allow-methods: GET",
        "access-control-allow-headers: *, authorization",
    ];
    assert_eq!(everybody, expected);
    // Where tokens are read from elsewhere, pages may send that.
    let places =
        json!({"cors": cors(json!({})), "access_token": [{"key": "X-Token"}, {"location": "cookie", "key": "t"}]});
    let told = scene(places).send(preflight(APP, "PUT")).preflight();
    assert!(told.contains(&"access-control-allow-headers: x-token, content-type".to_owned()), "{told:?}");
}

/// What no listed page's browser sends is a request like any other.
#[test]
fn cors_what_is_no_preflight_of_a_listed_page() {
    let mut scene = scene(json!({"cors": cors(json!({}))}));
    for origin in UNLISTED {
        let refusal = scene.send(preflight(origin, "PUT")).refused(401, "missing_token");
        assert_eq!(refusal.header("access-control-allow-origin"), None);
    }
    for ask in [
        preflight(APP, ""),
        preflight(APP, "PUT, GET"),
        preflight(APP, "PUT\r\nx: y"),
        preflight(APP, "P\u{e9}T"),
        preflight(APP, "PUT").header("access-control-request-method", "PUT"),
        preflight(APP, "PUT").with_body(),
        preflight(APP, "PUT").header("cookie", "a=b"),
        preflight(APP, "PUT").set(":method", Some("GET")),
        preflight(APP, "PUT").set(":method", Some("options")),
        of_page(bare().set(":method", Some("OPTIONS")), APP),
    ] {
        scene.send(ask).refused(401, "missing_token");
    }
}

/// Who else may answer a preflight.
#[test]
fn cors_beside_rules_and_allow_preflight() {
    let rules =
        json!([{"match": {"path_prefix": "/open"}, "bypass": true}, {"match": {"path_prefix": "/v"}, "realm": "v"}]);
    let settings = json!({"cors": cors(json!({})), "allow_preflight": true, "rules": rules, "claim_headers": {"header": "x-user", "claim": "sub"}});
    let mut scene = scene(settings);
    // The service's own, where no token is needed and where the origin is not listed.
    let at = |path: &str, origin: &str| preflight(origin, "PUT").set(":path", Some(path)).header("x-user", "forged");
    assert_eq!(scene.send(at("/open/a", APP)).bypassed().header("x-user"), None);
    assert_eq!(scene.send(at("/v/a", "https://evil.example")).bypassed().header("x-user"), None);
    for path in ["/", "/v/a"] {
        scene.send(at(path, APP)).preflight();
    }
    // In strip mode, nobody is refused: the answer comes from here all the same.
    let strips = json!({"cors": cors(json!({})), "enforce": false});
    Scene::of(jwt(json!({}), strips)).send(preflight(APP, "PUT")).preflight();
}

/// To a proxy that asks, an answer of 204 would be a yes to the request itself.
#[test]
fn cors_and_questions_of_other_proxies() {
    let asked = |ask: Ask| ask.set(":path", Some("/verify/things"));
    let settings = |more: Value| with(json!({"cors": cors(json!({})), "verify_path": "/verify"}), more);
    let mut strict = scene(settings(json!({})));
    let refusal = strict.send(asked(preflight(APP, "PUT"))).refused(401, "missing_token");
    assert_eq!(refusal.header("access-control-allow-origin"), Some(APP));
    scene(settings(json!({"allow_preflight": true}))).send(asked(preflight(APP, "PUT"))).confirmed();
}

#[test]
fn cors_settings_that_mean_something_else() {
    use oidc_filter::config::Config;
    let refused = |settings: Value| {
        let configuration = jwt(json!({}), json!({"cors": settings})).to_string();
        Config::read(configuration.as_bytes(), &|_: &str| None).unwrap_err().to_string()
    };
    for origin in [
        "",
        "app.example.com",
        "https://",
        "https://app.example.com/",
        "https://app.example.com/x",
        "https://App.example.com",
        "https://app.example.com:443",
        "http://app.example.com:80",
        "https://u@app.example.com",
        "https://*",
        "https://*.",
        "https://*example.com",
        "https://a.*.example.com",
        "https://caf\u{e9}.example",
        "*.example.com",
        "null",
    ] {
        assert!(refused(json!({"allow_origins": [origin]})).starts_with("cors.allow_origins: "), "{origin}");
    }
    assert!(refused(json!({})).starts_with("cors.allow_origins: "));
    assert!(refused(json!({"allow_origins": []})).starts_with("cors.allow_origins: "));
    let everybody = json!({"allow_origins": "*", "allow_credentials": true});
    assert!(refused(everybody).starts_with("cors.allow_credentials: "));
    let any_header = json!({"allow_origins": APP, "allow_credentials": true, "allow_headers": "*"});
    assert!(refused(any_header).starts_with("cors.allow_headers: "));
    assert!(refused(json!({"allow_origins": APP, "allow_methods": "PUT, GET"})).starts_with("cors.allow_methods: "));
    assert!(refused(json!({"allow_origins": APP, "expose_headers": "a b"})).starts_with("cors.expose_headers"));
}
