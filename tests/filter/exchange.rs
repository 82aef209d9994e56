//! The token that a provider makes for the service behind: RFC 8693.

use crate::scene::*;
use crate::support::with;
use oidc_filter::config::Config;
use serde_json::{Value, json};
use std::time::Duration;

const ENDPOINT: &str = "https://idp.example.com/token";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

fn exchange(change: Value) -> Value {
    let base = json!({"client_id": "edge", "client_secret": "${SECRET}", "audience": "orders"});
    with(base, change)
}

fn made(token: &str, change: Value) -> Answer {
    let base =
        json!({"access_token": token, "issued_token_type": ACCESS_TOKEN, "token_type": "Bearer", "expires_in": 300});
    says_json(with(base, change))
}

fn scene(change: Value, top: Value) -> Scene {
    let configuration = jwt(json!({}), with(json!({"forward": false, "token_exchange": exchange(change)}), top));
    let mut scene = Scene::cold(configuration);
    scene.provider.metadata(json!({"token_endpoint": ENDPOINT}));
    scene.provider.serve(ENDPOINT, made("for.the.service", json!({})));
    scene.tick();
    scene
}

fn sent(scene: &Scene) -> usize {
    scene.calls.iter().filter(|call| call.url == ENDPOINT).count()
}

/// XCH-01: the service gets the token that was made for it, and not the client's.
#[test]
fn the_service_gets_a_token_of_its_own() {
    let change = json!({"audience": ["orders", "billing"], "resource": "https://orders.internal/", "scopes": ["read", "write"],
                        "requested_token_type": ACCESS_TOKEN});
    let mut scene = scene(change, json!({}));
    let upstream = scene.send(bearer(&good())).allowed();
    assert_eq!(upstream.header("authorization"), Some("Bearer for.the.service"));
    assert!(!upstream.headers.iter().any(|(_, value)| value.contains(&good())));
    let call = scene.calls.iter().find(|call| call.url == ENDPOINT).unwrap();
    assert_eq!((call.method, call.header("content-type")), ("POST", Some("application/x-www-form-urlencoded")));
    assert!(call.header("authorization").unwrap().starts_with("Basic "));
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(call.body.as_bytes()).into_owned().collect();
    let expected = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", &*good()),
        ("subject_token_type", ACCESS_TOKEN),
        ("requested_token_type", ACCESS_TOKEN),
        ("audience", "orders"),
        ("audience", "billing"),
        ("resource", "https://orders.internal/"),
        ("scope", "read write"),
    ];
    assert_eq!(pairs, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
}

/// XCH-02: it is kept until shortly before its end, for this token and this service alone.
#[test]
fn one_exchange_for_one_token_and_service() {
    let rules = json!([{"match": {"path": "/b"}, "token_exchange": exchange(json!({"audience": "b"}))}]);
    let mut scene = scene(json!({}), json!({"rules": rules}));
    for _ in 0..10 {
        scene.send(bearer(&good())).allowed();
    }
    assert_eq!(sent(&scene), 1);
    scene.provider.serve(ENDPOINT, made("other", json!({})));
    assert_eq!(scene.send(get("/b").bearer(&good())).allowed().header("authorization"), Some("Bearer other"));
    assert_eq!(scene.send(bearer(&token(json!({"jti": "2"})))).allowed().header("authorization"), Some("Bearer other"));
    assert_eq!(scene.send(bearer(&good())).allowed().header("authorization"), Some("Bearer for.the.service"));
    assert_eq!(sent(&scene), 3);
    scene.pass_seconds(269);
    scene.send(bearer(&good())).allowed();
    assert_eq!(sent(&scene), 3);
    scene.pass_seconds(2);
    assert_eq!(scene.send(bearer(&good())).allowed().header("authorization"), Some("Bearer other"));
    assert_eq!(sent(&scene), 4);
}

/// DOS-03: one user who comes with ever other tokens while they are made slowly leaves room for everybody else.
#[test]
fn the_tokens_of_one_user_leave_room_for_others() {
    let mut scene = scene(json!({}), json!({}));
    let of = |subject: &str, number: usize| bearer(&token(json!({"sub": subject, "jti": number.to_string()})));
    let asked: Vec<_> = (0..1001).map(|number| scene.begin(of("ann", number))).collect();
    assert_eq!(scene.waiting(), 1000);
    scene.seen(asked[1000]).refused(503, "overloaded");
    let other = scene.begin(of("bob", 0));
    assert!(scene.seen(other).is_waiting());
    scene.settle();
    scene.seen(other).allowed();
    scene.seen(asked[0]).allowed();
}

/// XCH-03: never beyond the client's own token, nor beyond `cache`; one that ends at once serves those who asked.
#[test]
fn how_long_it_is_kept() {
    for (answer, change, token_end, kept) in [
        (json!({"expires_in": 3600}), json!({}), 100, 100),
        (json!({"expires_in": null}), json!({}), 3600, 300),
        (json!({"expires_in": 3600}), json!({"cache": "10s"}), 3600, 10),
        (json!({"expires_in": "90"}), json!({}), 3600, 60),
        (json!({"expires_in": 10}), json!({}), 3600, 0),
        // What is odd says that it ends, and not when.
        (json!({"expires_in": -1}), json!({}), 3600, 0),
        (json!({"expires_in": 90.5}), json!({}), 3600, 0),
        (json!({"expires_in": "soon"}), json!({}), 3600, 0),
        (json!({"expires_in": [90]}), json!({}), 3600, 0),
        // A JWT tells by itself, and is believed where it says less.
        (json!({"expires_in": null, "access_token": token(json!({"exp": NOW + 90}))}), json!({}), 3600, 60),
        (json!({"expires_in": 300, "access_token": token(json!({"exp": NOW + 90}))}), json!({}), 3600, 60),
        (json!({"expires_in": 90, "access_token": token(json!({"exp": NOW + 300}))}), json!({}), 3600, 60),
        (json!({"expires_in": null, "access_token": token(json!({"exp": NOW - 90}))}), json!({}), 3600, 0),
        (json!({"expires_in": 90, "access_token": token(json!({"exp": "x"}))}), json!({}), 3600, 60),
    ] {
        let mut scene = scene(change, json!({}));
        scene.provider.serve(ENDPOINT, made("t", answer));
        let token = token(json!({"exp": NOW + token_end}));
        let streams: Vec<_> = (0..5).map(|_| scene.begin(bearer(&token))).collect();
        scene.settle();
        streams.into_iter().for_each(|stream| drop(scene.seen(stream).allowed()));
        assert_eq!(sent(&scene), 1, "one for all who waited");
        scene.pass_seconds(kept);
        scene.send(bearer(&token)).allowed();
        assert_eq!(sent(&scene), 1, "kept for {kept} s");
        scene.pass_seconds(1);
        scene.send(bearer(&token)).allowed();
        assert_eq!(sent(&scene), 2, "and no longer");
    }
}

/// XCH-04: no is 403, and anything else is no answer; nothing is sent twice.
#[test]
fn what_the_provider_says_instead() {
    let error = |word: &str| says(400, "application/json", json!({"error": word}).to_string());
    for (answer, status_, reason) in [
        (error("invalid_grant"), 403, "insufficient_claims"),
        (error("invalid_target"), 403, "insufficient_claims"),
        (error("invalid_token"), 403, "insufficient_claims"),
        (error("invalid_client"), 503, "provider_unavailable"),
        (error("invalid_request"), 503, "provider_unavailable"),
        (error("unsupported_grant_type"), 503, "provider_unavailable"),
        (status(500), 503, "provider_unavailable"),
        (status(302), 503, "provider_unavailable"),
        (Answer::Refuses, 503, "provider_unavailable"),
        (Answer::TimesOut, 503, "provider_unavailable"),
        (made("t", json!({"token_type": "DPoP"})), 503, "provider_unavailable"),
        (
            made("t", json!({"issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"})),
            503,
            "provider_unavailable",
        ),
        (made("a b", json!({})), 503, "provider_unavailable"),
        (made("t", json!({"error": "temporarily_unavailable"})), 503, "provider_unavailable"),
        (made("a\r\nx: y", json!({})), 503, "provider_unavailable"),
        (says(200, "text/html", "<html>"), 503, "provider_unavailable"),
    ] {
        for enforce in [true, false] {
            let mut scene = scene(json!({}), json!({"enforce": enforce}));
            scene.provider.serve(ENDPOINT, answer.clone());
            let stream = scene.begin(bearer(&good()));
            scene.settle();
            scene.pass_seconds(6);
            scene.seen(stream).refused(status_, reason);
            assert_eq!(sent(&scene), 1);
        }
    }
    // For a while, nobody sends it again.
    let mut scene = scene(json!({}), json!({}));
    scene.provider.serve(ENDPOINT, status(500));
    scene.send(bearer(&good())).refused(503, "provider_unavailable");
    scene.send(bearer(&good())).refused(503, "provider_unavailable");
    assert_eq!(sent(&scene), 1);
    scene.provider.serve(ENDPOINT, made("t", json!({})));
    scene.pass_seconds(6);
    scene.send(bearer(&good())).allowed();
}

/// XCH-05: what is not allowed is not exchanged, and a candidate policy sends nothing.
#[test]
fn only_a_grant_is_exchanged() {
    let mut scene = scene(json!({}), json!({"require": {"scopes": "admin"}}));
    scene.send(bearer(&good())).refused(403, "insufficient_scope");
    scene.send(bearer(&token(json!({"exp": NOW - 3600})))).refused(401, "expired");
    scene.send(bare()).refused(401, "missing_token");
    assert_eq!(sent(&scene), 0);
    let shadow = json!({"shadow": {"token_exchange": exchange(json!({"header": "x-token"}))}});
    let mut scene = Scene::cold(jwt(json!({}), shadow));
    scene.provider.metadata(json!({"token_endpoint": ENDPOINT}));
    scene.tick();
    for _ in 0..2 {
        assert_eq!(scene.send(bearer(&good())).allowed().shadow.unwrap().as_str(), "undecided");
    }
    assert_eq!(sent(&scene), 0);
}

/// XCH-06: a client's own header of that name never goes on.
#[test]
fn the_header_is_the_filter_s_own() {
    let rules = json!([{"match": {"path": "/open"}, "bypass": true}]);
    let mut scene = scene(json!({"header": "X-Service-Token"}), json!({"rules": rules, "forward": true}));
    let forged = |path: &str| get(path).header("x-service-token", "forged").header("x_service_token", "forged");
    let upstream = scene.send(forged("/").bearer(&good())).allowed();
    assert_eq!(upstream.header("x-service-token"), Some("for.the.service"));
    let upstream = scene.send(forged("/open")).bypassed();
    assert!(!upstream.headers.iter().any(|(_, value)| value == "forged"));
}

/// A provider other than the token's own may make it, at an endpoint that the operator names.
#[test]
fn another_provider() {
    let other =
        json!({"issuer": "https://other.example.com", "audiences": ["x"], "name": "other", "validation": "jwt"});
    let own = json!({"issuer": ISSUER, "audiences": [AUDIENCE], "validation": "jwt"});
    let change = json!({"provider": "other", "endpoint": "https://sts.example.com/x", "cluster": "sts"});
    let top = json!({"providers": [own, other], "forward": false, "token_exchange": exchange(change)});
    let mut scene = Scene::cold(top);
    scene.provider.add_issuer("https://other.example.com", &[key("k2").jwk()]);
    scene.provider.serve("https://sts.example.com/x", made("t", json!({})));
    scene.tick();
    assert_eq!(scene.send(bearer(&good())).allowed().header("authorization"), Some("Bearer t"));
    let call = scene.calls.iter().find(|call| call.url == "https://sts.example.com/x").unwrap();
    assert_eq!(call.cluster, "sts");
}

#[test]
fn a_provider_without_a_token_endpoint() {
    let mut scene = Scene::of(jwt(json!({}), json!({"forward": false, "token_exchange": exchange(json!({}))})));
    scene.send(bearer(&good())).refused(503, "misconfigured");
    assert_eq!(sent(&scene), 0);
}

#[test]
fn what_an_exchange_may_say() {
    let read = |change: Value, top: Value| {
        let configuration =
            jwt(json!({}), with(json!({"forward": false, "token_exchange": exchange(change)}), top)).to_string();
        let environment = |name: &str| (name == "SECRET").then(|| "s3cr3t".to_owned());
        Config::read(configuration.as_bytes(), &environment).map_err(|error| error.to_string())
    };
    assert!(read(json!({}), json!({})).is_ok());
    assert!(read(json!({"client_id": null, "client_secret": null}), json!({})).is_ok());
    for (change, top, path, word) in [
        (json!({"audience": null}), json!({}), "token_exchange.audience", "required"),
        (json!({"audience": ""}), json!({}), "token_exchange.audience", "1 to 8"),
        (json!({"resource": "orders"}), json!({}), "token_exchange.resource", "absolute"),
        (json!({"resource": "https://a/#b"}), json!({}), "token_exchange.resource", "fragment"),
        (json!({"scopes": "a b"}), json!({}), "token_exchange.scopes", "one in each"),
        (json!({"provider": "nobody"}), json!({}), "token_exchange.provider", "no provider"),
        (json!({"endpoint": "x"}), json!({}), "token_exchange.endpoint", "URL"),
        (json!({"cluster": "x"}), json!({}), "token_exchange.cluster", "endpoint"),
        (json!({"header": "cookie"}), json!({}), "token_exchange.header", "steers"),
        (json!({"scheme": "a b"}), json!({}), "token_exchange.scheme", "scheme"),
        (json!({"requested_token_type": "jwt"}), json!({}), "token_exchange.requested_token_type", "urn:"),
        (json!({"client_secret": null}), json!({}), "token_exchange.client_secret", "required"),
        (json!({}), json!({"forward": true}), "token_exchange.header", "forward: false"),
        (
            json!({"header": "x-user"}),
            json!({"claim_headers": {"header": "x_user", "claim": "sub"}}),
            "token_exchange.header",
            "another output",
        ),
    ] {
        let error = read(change.clone(), top).err().unwrap_or_else(|| panic!("accepted: {change}"));
        assert!(error.starts_with(&format!("{path}: ")) && error.contains(word), "{path}, {word} expected: {error}");
        assert!(!error.contains("s3cr3t"));
    }
    let printed = format!("{:?}", read(json!({}), json!({})).unwrap());
    assert!(!printed.contains("s3cr3t"));
}

/// XCH-07: one opaque token that two providers know is exchanged with each, for its own subject alone.
#[test]
fn what_one_provider_made_is_not_another_s() {
    const OTHER: &str = "https://other.example";
    let provider = |issuer: &str| json!({"issuer": issuer, "audiences": AUDIENCE, "validation": "introspection"});
    let mut scene = Scene::cold(json!({
        "providers": [provider(ISSUER), provider(OTHER)],
        "access_token": [
            {"key": "x-one", "provider": "idp.example.com"}, {"key": "x-two", "provider": "other.example"},
        ],
        "forward": false,
        "token_exchange": exchange(json!({})),
    }));
    scene.provider.add_issuer(OTHER, &[]);
    scene.provider.metadata(json!({"token_endpoint": ENDPOINT}));
    let metadata = with(metadata(OTHER), json!({"token_endpoint": "https://other.example/token"}));
    scene.provider.serve(&format!("{OTHER}/.well-known/openid-configuration"), says_json(metadata));
    scene.provider.serve(ENDPOINT, made("one", json!({})));
    scene.provider.serve("https://other.example/token", made("two", json!({})));
    scene.provider.at("/introspect", says_json(active(json!({}))));
    scene.provider.serve(&format!("{OTHER}/introspect"), says_json(active(json!({"iss": OTHER}))));
    scene.tick();
    for (place, made) in [("x-one", "Bearer one"), ("x-two", "Bearer two"), ("x-one", "Bearer one")] {
        let upstream = scene.send(bare().header(place, "t")).allowed();
        assert_eq!(upstream.header("authorization"), Some(made), "{place}");
    }
}

/// XCH-08: an answer that is good for this moment only is there when the place of the token endpoint is known.
#[test]
fn an_answer_that_is_not_kept_outlives_the_search() {
    let endpoint = json!({"cache": 0, "endpoint": format!("{ISSUER}/introspect")});
    let top = json!({"forward": false, "token_exchange": exchange(json!({}))});
    let mut scene = Scene::cold(introspection(json!({"introspection": endpoint}), top));
    scene.provider.metadata(json!({"token_endpoint": ENDPOINT}));
    scene.provider.serve(ENDPOINT, made("for.the.service", json!({})));
    scene.provider.tokens.insert("t".to_owned(), active(json!({})));
    let stream = scene.begin(bearer("t"));
    scene.settle_slowly();
    let upstream = scene.seen(stream).allowed();
    assert_eq!(upstream.header("authorization"), Some("Bearer for.the.service"));
    assert_eq!((sent(&scene), scene.count("/introspect")), (1, 1));
}

/// By default an authorizer's answer is about one request and this moment: it is there when the token endpoint is known, and when the
/// token has been exchanged, and the authorizer is asked once.
#[test]
fn an_authorizer_s_answer_outlives_the_exchange() {
    let authorizer = "https://authz.example/decide";
    let configured = |cache: u32| {
        let authorization = json!({"uri": authorizer, "cluster": "authz", "cache": cache});
        let top =
            json!({"forward": false, "token_exchange": exchange(json!({})), "external_authorization": authorization});
        let mut scene = Scene::cold(jwt(json!({}), top));
        scene.provider.metadata(json!({"token_endpoint": ENDPOINT}));
        scene.provider.serve(ENDPOINT, made("for.the.service", json!({})));
        scene.provider.serve(authorizer, status(200));
        scene
    };
    for (cache, asked) in [(0, 2), (60, 1)] {
        let mut scene = configured(cache);
        for _ in 0..2 {
            let stream = scene.begin(bearer(&good()));
            scene.settle_slowly();
            let upstream = scene.seen(stream).allowed();
            assert_eq!(upstream.header("authorization"), Some("Bearer for.the.service"));
        }
        assert_eq!((scene.count("/decide"), sent(&scene)), (asked, 1));
    }
    // It is this request's alone: who comes while the token is exchanged is asked about anew.
    let mut scene = configured(0);
    scene.tick();
    scene.settle_slowly();
    let first = scene.begin(bearer(&good()));
    let answer = scene.honest_answer(0);
    scene.answer(0, answer);
    assert_eq!(scene.open_call(0).url, ENDPOINT);
    scene.provider.serve(authorizer, status(403));
    scene.set_clock(scene.now().saturating_add(Duration::from_millis(20)));
    let second = scene.begin(bearer(&good()));
    scene.settle_slowly();
    scene.seen(first).allowed();
    scene.seen(second).refused(403, "insufficient_claims");
}
