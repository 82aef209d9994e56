//! The external authorizer, and the verify endpoint: other services that decide, and other services that ask.

use crate::scene::*;
use crate::support::with;
use serde_json::{Value, json};
use std::time::Duration;

const AUTHORIZER: &str = "https://authz.example/decide";

fn authorized(settings: Value) -> Scene {
    let authorization = with(json!({"uri": AUTHORIZER, "cluster": "authz"}), settings);
    let mut scene = Scene::of(jwt(json!({}), json!({"external_authorization": authorization})));
    scene.provider.serve(AUTHORIZER, status(200));
    scene
}

/// AR-82.
#[test]
fn what_the_authorizer_is_asked() {
    let mut scene = authorized(json!({"user": ["email", "sub"]}));
    let token = token(json!({"email": "ann@example.com", "groups": ["a", "b"]}));
    scene.send(get("/things?a=b").bearer(&token)).allowed();
    let call = scene.the_call_to("/decide");
    assert_eq!((call.method, &*call.cluster, call.header("content-type")), ("POST", "authz", Some("application/json")));
    let body: Value = serde_json::from_str(&call.body).unwrap();
    assert_eq!(body["timestamp"], "2027-01-15T08:00:00Z");
    assert_eq!(
        body["request"],
        json!({"host": "api.example.com", "port": "443", "path": "/things?a=b", "method": "GET"})
    );
    let claims = with(good_claims(), json!({"email": "ann@example.com", "groups": ["a", "b"]}));
    assert_eq!(
        body["user"],
        json!({"name": "ann@example.com", "id": "ann", "groups": ["a", "b"], "extra": {}, "claims": claims})
    );
    // The port is the request's, or that of its scheme.
    for (host, scheme, expected) in [
        ("h:443", "http", ("h", "443")),
        ("h", "http", ("h", "80")),
        ("h", "https", ("h", "443")),
        ("[::1]:8080", "http", ("[::1]", "8080")),
    ] {
        scene.pass_seconds(1);
        let ask = get("/p").set(":authority", Some(host)).set(":scheme", Some(scheme)).bearer(&good());
        scene.send(ask).allowed();
        let body: Value = serde_json::from_str(&scene.calls_to("/decide").pop().unwrap().body).unwrap();
        assert_eq!((&body["request"]["host"], &body["request"]["port"]), (&json!(expected.0), &json!(expected.1)));
    }
    // One group is a list of one, none is an empty one, and no user is an empty name.
    for (groups, expected) in
        [(json!("a"), json!(["a"])), (json!(null), json!([])), (json!(["a", 1]), json!(["a", "1"]))]
    {
        scene.send(bearer(&crate::scene::token(json!({"groups": groups})))).allowed();
        let body: Value = serde_json::from_str(&scene.calls_to("/decide").pop().unwrap().body).unwrap();
        assert_eq!((&body["user"]["groups"], &body["user"]["name"]), (&expected, &json!("ann")));
    }
}

/// DOS-03: one user who asks for ever other paths while the authorizer is slow leaves room for everybody else.
#[test]
fn questions_about_one_user_leave_room_for_others() {
    let mut scene = authorized(json!({}));
    let (ann, bob) = (good(), token(json!({"sub": "bob"})));
    let asked: Vec<_> = (0..1001).map(|number| scene.begin(get(format!("/{number}")).bearer(&ann))).collect();
    assert_eq!(scene.waiting(), 1000);
    scene.seen(asked[1000]).refused(503, "overloaded");
    // Another token of hers is hers, and whoever waits for what is asked already takes a place among those who wait only.
    let again = scene.begin(get("/other").bearer(&token(json!({"jti": "another"}))));
    scene.seen(again).refused(503, "overloaded");
    let joined = scene.begin(get("/1").bearer(&ann));
    assert!(scene.seen(joined).is_waiting());
    let others: Vec<_> = (0..101).map(|number| scene.begin(get(format!("/{number}")).bearer(&bob))).collect();
    assert!(scene.seen(others[99]).is_waiting());
    scene.seen(others[100]).refused(503, "overloaded");
    scene.settle();
    scene.seen(others[99]).allowed();
    scene.seen(joined).allowed();
}

/// AR-82: 2xx allows, 401 and 403 deny with their reason, anything else fails closed.
#[test]
fn what_the_authorizer_says() {
    for good_status in [200, 204, 299] {
        let mut scene = authorized(json!({}));
        scene.provider.serve(AUTHORIZER, status(good_status));
        scene.send(bearer(&good())).allowed();
    }
    for bad in [401, 403] {
        let mut scene = authorized(json!({}));
        scene.provider.serve(AUTHORIZER, says(bad, "text/plain", "not on \"Sundays\"\r\nx: y"));
        let refusal = scene.send(bearer(&good())).refused(403, "insufficient_claims");
        assert_eq!(refusal.json()["error_description"], "insufficient_claims: not on Sundays x: y");
        assert!(refusal.challenge().is_none());
        scene.provider.serve(AUTHORIZER, says(bad, "text/plain", ""));
        scene.pass_seconds(1);
        let refusal = scene.send(bearer(&good())).refused(403, "insufficient_claims");
        assert_eq!(
            refusal.json()["error_description"],
            "insufficient_claims: the access token does not permit this request"
        );
    }
    for bad in [status(500), status(503), status(302), status(404), status(429), status(100), Answer::Refuses] {
        let mut scene = authorized(json!({}));
        scene.provider.serve(AUTHORIZER, bad);
        scene.send(bearer(&good())).refused(503, "provider_unavailable");
    }
    let mut scene = authorized(json!({"timeout": "2s"}));
    scene.provider.serve(AUTHORIZER, Answer::TimesOut);
    let stream = scene.begin(bearer(&good()));
    scene.settle();
    assert_eq!(scene.the_call_to("/decide").timeout.as_secs(), 2);
    scene.pass_seconds(3);
    scene.seen(stream).refused(503, "provider_unavailable");
}

/// An authorizer that is down is never better than one that says no, also where what is invalid is stripped.
#[test]
fn an_authorizer_is_never_stripped_away() {
    for answer in [status(403), status(500), Answer::Refuses] {
        let settings = json!({"enforce": false, "external_authorization": {"uri": AUTHORIZER}});
        let mut scene = Scene::of(jwt(json!({}), settings));
        scene.provider.serve(AUTHORIZER, answer);
        assert!(matches!(scene.send(bearer(&good())), Seen::Refused(_)));
        scene.send(bearer("bad")).stripped("malformed_token");
    }
    assert_eq!(authorized(json!({})).send(bare()).refused(401, "missing_token").status, 401);
}

/// Only valid tokens that are enough are asked about; and each time, unless answers may be kept.
#[test]
fn when_the_authorizer_is_asked() {
    let settings = json!({"require": {"scopes": "read"}, "external_authorization": {"uri": AUTHORIZER}});
    let mut scene = Scene::of(jwt(json!({}), settings));
    scene.provider.serve(AUTHORIZER, status(200));
    for bad in
        [token(json!({"exp": NOW - 100})), token(json!({"scope": "x"})), token(json!({"aud": "x"})), "x".to_owned()]
    {
        assert!(matches!(scene.send(bearer(&bad)), Seen::Refused(_)));
    }
    assert_eq!(scene.count("/decide"), 0);
    for _ in 0..3 {
        scene.send(bearer(&good())).allowed();
        scene.pass_seconds(1);
    }
    assert_eq!(scene.count("/decide"), 3);

    let mut scene = authorized(json!({"cache": "10s"}));
    for ask in
        [bearer(&good()), bearer(&good()), get("/other").bearer(&good()), bearer(&good()).set(":method", Some("POST"))]
    {
        scene.send(ask).allowed();
    }
    scene.send(bearer(&token(json!({"jti": "2"})))).allowed();
    assert_eq!(scene.count("/decide"), 4, "by user and request line");
    scene.provider.serve(AUTHORIZER, status(403));
    scene.pass_seconds(9);
    scene.send(bearer(&good())).allowed();
    scene.pass_seconds(2);
    scene.send(bearer(&good())).refused(403, "insufficient_claims");
    scene.provider.serve(AUTHORIZER, status(200));
    scene.send(bearer(&good())).refused(403, "insufficient_claims");
    assert_eq!(scene.count("/decide"), 5);
    // One question for all who ask the same at a time.
    let mut scene = authorized(json!({}));
    let streams: Vec<_> = (0..10).map(|_| scene.begin(bearer(&good()))).collect();
    scene.settle();
    for stream in streams {
        scene.seen(stream).allowed();
    }
    assert_eq!(scene.count("/decide"), 1);
}

/// A provider whose answers are not kept, or not for as long as the authorizer thinks, is asked once for each request all the
/// same: the answer was about this request.
#[test]
fn an_answer_serves_its_request_while_the_authorizer_thinks() {
    let decided = |enforce: bool, kind: &str, answer: Answer| {
        let top = json!({"enforce": enforce, "external_authorization": {"uri": AUTHORIZER}});
        let settings = json!({"cache": 0});
        let configuration = match kind {
            "userinfo" => userinfo(json!({"userinfo": settings}), top),
            _ => introspection(json!({"introspection": settings}), top),
        };
        let mut scene = Scene::of(configuration);
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
        scene.provider.users.insert("opaque".to_owned(), json!({"sub": "ann"}));
        scene.provider.serve(AUTHORIZER, answer);
        let stream = scene.begin(bearer("opaque"));
        // The provider's answer, and later the authorizer's.
        let answer = scene.honest_answer(0);
        scene.answer(0, answer);
        scene.set_clock(scene.now().saturating_add(Duration::from_millis(20)));
        scene.settle();
        assert_eq!(scene.count(&format!("/{}", if kind == "userinfo" { "userinfo" } else { "introspect" })), 1);
        scene.seen(stream)
    };
    for kind in ["introspection", "userinfo"] {
        for enforce in [true, false] {
            decided(enforce, kind, status(200)).allowed();
            decided(enforce, kind, status(403)).refused(403, "insufficient_claims");
            decided(enforce, kind, status(500)).refused(503, "provider_unavailable");
        }
    }
    // For this request only, and not once the token itself is over.
    let provider = json!({"introspection": {"cache": 0}, "clock_skew": 0});
    let mut scene = Scene::of(introspection(provider, json!({"external_authorization": {"uri": AUTHORIZER}})));
    scene.provider.serve(AUTHORIZER, status(200));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"exp": NOW + 1})));
    let stream = scene.begin(bearer("opaque"));
    let answer = scene.honest_answer(0);
    scene.answer(0, answer);
    scene.set_clock(scene.now().saturating_add(Duration::from_secs(2)));
    let late = scene.begin(bearer("opaque"));
    scene.settle();
    scene.seen(stream).refused(401, "expired");
    scene.seen(late).refused(401, "expired");
    assert_eq!(scene.count("/introspect"), 2);
}

/// The claims that are told are those that were proved, under their mapped names.
#[test]
fn the_authorizer_gets_mapped_claims_and_a_rule_its_own() {
    let provider = json!({"claim_mapping": {"groups": {"path": "realm_access.roles"}}});
    let other = "https://other.example/";
    let rules = json!([{"match": {"path": "/b"}, "external_authorization": {"uri": other}}, {"match": {"path": "/c"}, "bypass": true}]);
    let mut scene = Scene::of(jwt(provider, json!({"external_authorization": {"uri": AUTHORIZER}, "rules": rules})));
    scene.provider.serve(AUTHORIZER, status(403));
    scene.provider.serve(other, status(200));
    let token = token(json!({"groups": ["forged"], "realm_access": {"roles": ["a"]}}));
    scene.send(get("/b").bearer(&token)).allowed();
    scene.send(get("/a").bearer(&token)).refused(403, "insufficient_claims");
    scene.send(get("/c").bearer(&token)).bypassed();
    let body: Value = serde_json::from_str(&scene.the_call_to("/decide").body).unwrap();
    assert_eq!(body["user"]["groups"], json!(["a"]));
}

/// A good token is not enough where an authorizer must agree: without its word nothing passes, not even without an identity.
#[test]
fn a_slow_authorizer_is_no_reason_to_strip() {
    for (timeout, answer) in [("5s", Answer::TimesOut), ("60s", Answer::TimesOut), ("60s", Answer::IsLost)] {
        let authorization = json!({"uri": AUTHORIZER, "timeout": timeout});
        let mut scene = Scene::of(jwt(json!({}), json!({"external_authorization": authorization, "enforce": false})));
        scene.provider.serve(AUTHORIZER, answer);
        let stream = scene.begin(bearer(&good()));
        scene.settle();
        scene.pass_seconds(70);
        scene.seen(stream).refused(503, "provider_unavailable");
    }
}

/// RFC 9700, section 4.9.3: the authorizer is not who the token is for. And it decides about the path that is served.
#[test]
fn the_authorizer_gets_neither_token_nor_forgery() {
    for forward in [true, false] {
        let mut scene = Scene::of(jwt(
            json!({}),
            json!({
                "forward": forward, "access_token": {"location": "query_string", "key": "t"},
                "external_authorization": {"uri": "https://az.example/check"},
                "user_info": {"location": "query_string", "key": "who", "claims": "sub"},
            }),
        ));
        scene.provider.serve("https://az.example/check", says_json(json!({})));
        scene.send(get(format!("/p?a=1&t={}&who=forged", good()))).allowed();
        let body: serde_json::Value = serde_json::from_str(&scene.calls.last().unwrap().body).unwrap();
        assert_eq!(body["request"]["path"], "/p?a=1");
    }
}

/// ATK-09: two providers may know two people by one name. Who vouches for him is part of the question, and of what is
/// remembered.
#[test]
fn an_authorizer_is_asked_about_each_provider_s_alice() {
    let other = "https://other.example.com";
    let providers = json!([
        {"issuer": ISSUER, "name": "staff", "validation": "userinfo", "token_prefixes": "s-"},
        {"issuer": other, "name": "guests", "validation": "userinfo", "token_prefixes": "g-"},
    ]);
    let authorization = json!({"uri": AUTHORIZER, "cluster": "authz", "cache": "60s"});
    let mut scene = Scene::cold(json!({"providers": providers, "external_authorization": authorization}));
    scene.provider.add_issuer(other, &[]);
    scene.tick();
    for token in ["s-1", "g-1"] {
        scene.provider.users.insert(token.to_owned(), json!({"sub": "alice"}));
    }
    scene.provider.serve(AUTHORIZER, status(200));
    scene.send(bearer("s-1")).allowed();
    scene.provider.serve(AUTHORIZER, status(403));
    scene.send(bearer("g-1")).refused(403, "insufficient_claims");
    // Each keeps its own verdict.
    scene.send(bearer("s-1")).allowed();
    scene.send(bearer("g-1")).refused(403, "insufficient_claims");
    let told: Vec<Value> = scene.calls_to("/decide").iter().map(|call| body(call)["provider"].clone()).collect();
    assert_eq!(told, [json!({"issuer": ISSUER, "name": "staff"}), json!({"issuer": other, "name": "guests"})]);
}

fn body(call: &Call) -> Value {
    serde_json::from_str(&call.body).unwrap()
}

/// ATK-09: the authorizer decides about the path and the host that rules would look at; beside them it gets what was
/// sent.
#[test]
fn an_authorizer_decides_about_one_path_and_one_host() {
    let mut scene = authorized(json!({}));
    for (path, host, told_path, told_host) in [
        ("/things?a=b", "api.example.com", "/things?a=b", "api.example.com"),
        ("/%74hings/caf%C3%A9?x=%41", "API.Example.com:443", "/things/caf\u{e9}?x=%41", "api.example.com"),
        ("/a", "api.example.com.", "/a", "api.example.com"),
        ("/a?b=/../c//d;e%2f", "[::1]:8080", "/a?b=/../c//d;e%2f", "[::1]"),
        ("/a%20b", "h:8", "/a b", "h"),
        ("/stra%C3%9Fe/kullan%C4%B1c%C4%B1", "h", "/stra\u{df}e/kullan\u{131}c\u{131}", "h"),
        ("*", "h", "*", "h"),
    ] {
        scene.pass_seconds(1);
        scene.send(get(path).set(":authority", Some(host)).bearer(&good())).allowed();
        let body = body(scene.calls_to("/decide").pop().unwrap());
        assert_eq!((&body["request"]["path"], &body["request"]["host"]), (&json!(told_path), &json!(told_host)));
        assert_eq!(body["sent"], json!({"path": path, "host": host}));
    }
    // What can be read in two ways, no authorizer can decide about; and nothing goes on for want of enforcement.
    let ambiguous = [
        "/public/../admin",
        "/public/..%2fadmin",
        "//admin",
        "/a//b",
        "/public/..;/admin",
        "/a;x",
        "/a%2fb",
        "/a%5cb",
        "/%2561dmin",
        "/a%00b",
        "/ad%09min",
        "/a#b",
        "/a?b#c",
        "/a%3fb",
        "/a%0d",
        "/%u0061",
        "/a\\b",
        "x",
        "/a/./b",
        // Latin-1; a decomposed letter; signs that are others to whoever normalizes; what nobody sees.
        "/caf%E9",
        "/cafe%CC%81",
        "/public%EF%BC%8Fadmin",
        "/public/%EF%BC%8E%EF%BC%8E/admin",
        "/%EF%AC%81le",
        "/ad%E2%80%8Bmin",
        "/ad%C2%ADmin",
        "/%ff",
        "/%C0%AE",
    ];
    for enforce in [true, false] {
        for by_rule in [true, false] {
            let authorization = json!({"external_authorization": {"uri": AUTHORIZER, "cluster": "authz"}});
            // Also where no rule looks at paths.
            let rules = json!([with(json!({"match": {"methods": ["GET", "DELETE"]}}), authorization.clone())]);
            let top = if by_rule { json!({"rules": rules}) } else { authorization };
            let mut scene = Scene::of(jwt(json!({}), with(top, json!({"enforce": enforce}))));
            scene.provider.serve(AUTHORIZER, status(200));
            for path in ambiguous {
                scene.send(get(path).bearer(&good())).refused(400, "invalid_request");
            }
            for host in ["", "a/b", "a@b", "a..", "[x]", "a b"] {
                scene.send(bare().set(":authority", Some(host)).bearer(&good())).refused(400, "invalid_request");
            }
            for method in ["delete", "Get"] {
                let ask = bare().set(":method", Some(method)).bearer(&good());
                scene.send(ask).refused(400, "invalid_request");
            }
            assert_eq!(scene.count("/decide"), 0);
            // Who has no good token learns nothing new.
            let refusal = scene.send(get("/a//b"));
            assert!(!enforce || matches!(refusal, Seen::Refused(Refusal { status: 401, .. })), "{refusal:?}");
        }
    }
}

/// ATK-09: an authorizer is told what the client of the proxy that asks has asked for, never what the proxy itself
/// has.
#[test]
fn an_authorizer_behind_the_verify_endpoint_hears_of_the_client_s_request() {
    let authorization = json!({"external_authorization": {"uri": AUTHORIZER, "cluster": "authz"}});
    let mut scene = verifying(authorization.clone());
    scene.provider.serve(AUTHORIZER, status(200));
    scene.send(get("/verify").bearer(&good())).refused(401, "invalid_request");
    scene.send(get("/verify/a/../b").bearer(&good())).refused(401, "invalid_request");
    assert_eq!(scene.count("/decide"), 0);
    scene.send(get("/verify/%61").bearer(&good())).confirmed();
    let told = json!({"method_header": "x-m", "uri_header": "x-u", "host_header": "x-h"});
    let mut scene = verifying(with(authorization, json!({"verify_request": told})));
    scene.provider.serve(AUTHORIZER, status(200));
    let ask = get("/verify").header("x-m", "PUT").header("x-u", "/%62?c").header("x-h", "Shop.example:1");
    scene.send(ask.bearer(&good())).confirmed();
    let body = body(scene.the_call_to("/decide"));
    assert_eq!(body["request"], json!({"host": "shop.example", "method": "PUT", "path": "/b?c", "port": "1"}));
}

// ---------------------------------------------------------------------------------------------- the verify endpoint

fn verifying(top: Value) -> Scene {
    let base = json!({"verify_path": "/verify", "claim_headers": {"header": "x-user", "claim": "sub"}});
    Scene::of(jwt(json!({}), with(base, top)))
}

/// AR-50.
#[test]
fn a_question_is_answered() {
    let mut scene = verifying(json!({"require": {"scopes": "read"}}));
    for path in ["/verify", "/verify/", "/verify/a/b?c=d", "/verify?x"] {
        let confirmation = scene.send(get(path).bearer(&good())).confirmed();
        assert_eq!((confirmation.header("x-user"), confirmation.result), (Some("ann"), "allowed"));
        let refusal = scene.send(get(path)).refused(401, "missing_token");
        assert!(refusal.challenge().is_some());
        scene.send(get(path).bearer(&token(json!({"scope": "x"})))).refused(403, "insufficient_scope");
        // Who asks knows 401 and 403 only.
        scene.send(get(path).bearer(&good()).bearer(&good())).refused(401, "invalid_request");
        scene.send(get(path).bearer("a.b")).refused(401, "malformed_token");
    }
    // AR-51: whatever the method.
    for method in ["POST", "OPTIONS", "HEAD", "DELETE"] {
        scene.send(get("/verify").set(":method", Some(method))).refused(401, "missing_token");
        scene.send(get("/verify").set(":method", Some(method)).bearer(&good())).confirmed();
    }
    // What is no question is a request like any other.
    for path in ["/verifyx", "/", "/x/verify", "/VERIFY"] {
        scene.send(get(path).bearer(&good())).allowed();
        scene.send(get(path)).refused(401, "missing_token");
    }
    for path in ["//verify", "/x/../verify", "/%76erify", "/verify;x", "/verify%2fa", "/verify*"] {
        scene.send(get(path)).refused(401, "missing_token");
        scene.send(get(path).bearer(&good())).allowed();
    }
    let mut scene = verifying(json!({"enforce_response_code": 404}));
    scene.send(get("/verify")).refused(401, "missing_token");
    scene.send(get("/a")).refused(404, "missing_token");
}

/// The answer holds what the upstream would get, but for what only Envoy's next filter may see.
#[test]
fn a_confirmation_holds_the_identity() {
    let outputs = json!([
        {"location": "header", "key": "x-info", "claims": "sub"}, {"location": "cookie", "key": "info", "claims": "sub"},
        {"location": "metadata", "key": "info", "claims": "sub"}, {"location": "query_string", "key": "q", "claims": "sub"},
    ]);
    let mut scene = verifying(json!({"user_info": outputs}));
    let confirmation = scene.send(get("/verify").bearer(&good()).header("x-user", "forged")).confirmed();
    let names: Vec<&str> = confirmation.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["x-user", "x-info", "set-cookie"]);
    assert_eq!(confirmation.header("x-user"), Some("ann"));
    assert_eq!((confirmation.status, confirmation.removed.len()), (204, 0));
    // Without a valid token, no identity.
    let mut scene = verifying(json!({"enforce": false}));
    for ask in [get("/verify"), get("/verify").bearer("a.b.c")] {
        let confirmation = scene.send(ask.header("x-user", "forged")).confirmed();
        assert_eq!((confirmation.headers.len(), confirmation.result), (0, "stripped"));
        // What is stripped of a request that goes on, who asks must strip.
        assert_eq!(confirmation.removed, ["x-user", "authorization"]);
        assert!(matches!(confirmation.reason, Some("missing_token" | "malformed_token")));
    }
    let sources = json!([{"location": "cookie", "key": "t"}, {"key": "x-token"}]);
    let mut scene = verifying(json!({"forward": false, "access_token": sources}));
    assert_eq!(scene.send(get("/verify").header("x-token", good())).confirmed().removed, ["x-token"]);
    let mut scene = verifying(json!({"forward": false}));
    assert_eq!(scene.send(get("/verify").bearer(&good())).confirmed().removed, ["authorization"]);
}

/// ATK-06: a service that reads CGI's names takes `x_user` for `x-user`. Who asks knows neither which names are ours
/// nor how they can be written: the answer says it, in the spelling that the question carried, and a refusal says it
/// too.
#[test]
fn an_answer_names_every_spelling_that_the_question_carried() {
    let outputs = json!([{"key": "x-info-1", "claims": "sub"}, {"location": "metadata", "key": "m", "claims": "sub"}]);
    let settings = json!({"user_info": outputs, "access_token": [{"key": "authorization"}, {"key": "x-token"}]});
    let told = json!({"method_header": "x-m", "uri_header": "x-u"});
    let forged = ["x_user", "x.user", "x~user", "x-user", "x_info.1", "x-oidc_metadata-other"];
    let forge = |ask: Ask| {
        let others = ["user", "x-users", "x--user", "xuser"].map(|name| (name, "mine"));
        let forged = forged.iter().chain(&forged).map(|name| (*name, "root"));
        others.into_iter().chain(forged).fold(ask, |ask, (n, v)| ask.header(n, v))
    };
    let sorted = |mut names: Vec<String>| {
        names.sort();
        names
    };
    let listed = |refusal: &Refusal| {
        let names = refusal.header("x-envoy-auth-headers-to-remove").unwrap_or_default();
        names.split(',').map(str::to_owned).collect::<Vec<_>>()
    };
    let spelled = ["x-oidc_metadata-other", "x.user", "x_info.1", "x_user", "x~user"];
    let all = sorted(spelled.iter().chain(&["x-user", "x-info-1"]).map(|name| (*name).to_owned()).collect());
    for request in [None, Some(&told)] {
        let verify = request.map_or(json!({}), |told| json!({"verify_request": told}));
        let mut scene = verifying(with(with(settings.clone(), verify), json!({"enforce": true})));
        let ask = |scene: &mut Scene, ask: Ask| scene.send(forge(ask.header("x-m", "GET").header("x-u", "/a")));
        let allowed = ask(&mut scene, get("/verify/a").bearer(&good())).confirmed();
        assert_eq!(allowed.removed, spelled, "beside what is written");
        for (bad, status, reason) in [
            (get("/verify/a"), 401, "missing_token"),
            (get("/verify/a").bearer("a.b"), 401, "malformed_token"),
            (get("/verify/a").bearer(&good()).bearer(&good()), 401, "invalid_request"),
        ] {
            let refusal = ask(&mut scene, bad).refused(status, reason);
            assert_eq!(sorted(listed(&refusal)), all);
        }
    }
    // Stripped, let pass without a token, by a bypass, as a preflight: nothing is written, and every name is said.
    let preflight = |ask: Ask| {
        ask.set(":method", Some("OPTIONS")).header("origin", "https://a").header("access-control-request-method", "PUT")
    };
    let rules = json!([{"match": {"path": "/open"}, "bypass": true}]);
    for (change, path) in [
        (json!({"enforce": false}), "/verify/a"),
        (json!({"allow_missing": true}), "/verify/a"),
        (json!({"allow_preflight": true}), "/verify/a"),
        (json!({"rules": rules}), "/verify/open"),
    ] {
        let mut scene = verifying(with(settings.clone(), change));
        let removed = scene.send(forge(preflight(get(path)))).confirmed().removed;
        assert!(all.iter().all(|name| removed.contains(name)), "{removed:?}");
    }
    // A question that doesn't say what it is about is refused, and names them all the same.
    let mut scene = verifying(with(settings.clone(), json!({"verify_request": told})));
    assert_eq!(sorted(listed(&scene.send(forge(get("/verify"))).refused(401, "invalid_request"))), all);
    // What is no name can't be named in a list: such a question is refused.
    let mut scene = verifying(settings);
    for name in [&b"x,user"[..], b"x user", b"x\xffuser"] {
        let refusal = scene.send(get("/verify/a").bearer(&good()).header(name, "root")).refused(401, "invalid_request");
        assert_eq!(sorted(listed(&refusal)), ["x-info-1", "x-user"]);
    }
    // A request that goes on by itself has no such list.
    let refusal = scene.send(forge(get("/a"))).refused(401, "missing_token");
    assert_eq!(refusal.header("x-envoy-auth-headers-to-remove"), None);
}

/// DOS-03: what waits for an authorizer holds what its provider answered, and that can weigh a megabyte.
#[test]
fn who_waits_for_an_authorizer_weighs_what_was_answered() {
    let mut scene = Scene::of(introspection(
        json!({"introspection": {"cache": "0"}}),
        json!({"external_authorization": {"uri": AUTHORIZER}}),
    ));
    scene.provider.serve(AUTHORIZER, Answer::TimesOut);
    let streams: Vec<_> = (0..100)
        .map(|number| {
            let token = format!("token-{number}");
            scene.provider.tokens.insert(token.clone(), active(json!({"x": vec![1; 15_000]})));
            let stream = scene.begin(bearer(&token));
            scene.settle();
            stream
        })
        .collect();
    assert!((20..90).contains(&scene.waiting()), "{}", scene.waiting());
    scene.seen(streams[99]).refused(503, "overloaded");
    scene.pass_seconds(70);
    assert_eq!(scene.waiting(), 0);
    scene.provider.serve(AUTHORIZER, status(200));
    scene.send(bearer("token-99")).allowed();
}

/// DOS-03: a question stays open when its client has left. It holds all claims, and the groups twice.
#[test]
fn open_questions_are_bounded_by_what_they_weigh() {
    let mut scene = Scene::of(introspection(
        json!({"introspection": {"cache": "0"}}),
        json!({"external_authorization": {"uri": AUTHORIZER, "timeout": "60s"}}),
    ));
    scene.provider.serve(AUTHORIZER, Answer::IsLost);
    let groups = json!(["g".repeat(59_000)]);
    let mut ask = |number: u32| {
        let token = format!("token-{number}");
        scene.provider.tokens.insert(token.clone(), active(json!({"sub": token, "groups": groups})));
        let stream = scene.begin(bearer(&token));
        scene.settle();
        let seen = scene.seen(stream);
        scene.leave(stream);
        seen
    };
    let asked = (0..1_000).take_while(|number| ask(*number).is_waiting()).count();
    assert!((650..750).contains(&asked), "{asked}");
    ask(1_000).refused(503, "overloaded");
}

/// Two targets that differ are never one question, also where their queries are no text.
#[test]
fn a_verdict_is_about_one_target() {
    let top = json!({"external_authorization": {"uri": AUTHORIZER, "cache": "60s"}});
    let mut scene = Scene::of(jwt(json!({}), top));
    scene.provider.serve(AUTHORIZER, status(200));
    let paths: [(&[u8], &str); 3] =
        [(b"/x?\xff", "/x?%FF"), (b"/x?\xfe", "/x?%FE"), ("/x?\u{fffd}".as_bytes(), "/x?\u{fffd}")];
    for (calls, (path, told)) in paths.into_iter().enumerate() {
        scene.send(get(path).bearer(&good())).allowed();
        scene.send(get(path).bearer(&good())).allowed();
        assert_eq!(scene.calls_to("/decide").len(), calls + 1);
        let body: Value = serde_json::from_str(&scene.calls_to("/decide").pop().unwrap().body).unwrap();
        assert_eq!(body["request"]["path"], told);
    }
}

/// Envoy's `ext_authz` takes nothing but 200 for a yes.
#[test]
fn the_status_of_a_yes() {
    for status in [200, 204] {
        let mut scene = verifying(json!({"verify_response_code": status}));
        assert_eq!(scene.send(get("/verify").bearer(&good())).confirmed().status, status);
    }
    for (field, top) in [
        ("verify_response_code", json!({"verify_path": "/v", "verify_response_code": 201})),
        ("verify_response_code", json!({"verify_response_code": 200})),
        ("verify_request", json!({"verify_request": {"method_header": "a", "uri_header": "b"}})),
    ] {
        let error = oidc_filter::config::Config::read(jwt(json!({}), top).to_string().as_bytes(), &|_: &str| None);
        assert!(error.unwrap_err().to_string().starts_with(&format!("{field}: ")));
    }
}

/// Behind the path of the question stands the path that it is about: it chooses the rule.
#[test]
fn a_question_about_a_path() {
    let rules = json!([{"match": {"path_prefix": "/open"}, "bypass": true}, {"match": {"path_prefix": "/admin"}, "require": {"scopes": "admin"}}]);
    let mut scene = verifying(json!({"rules": rules}));
    scene.send(get("/verify/open/x")).confirmed();
    scene.send(get("/verify/other")).refused(401, "missing_token");
    scene.send(get("/verify/admin").bearer(&good())).refused(403, "insufficient_scope");
    scene.send(get("/verify/openx")).refused(401, "missing_token");
    // The client of the proxy that asks writes it as it likes. An answer of the service must not be taken for one of the
    // filter.
    for path in
        ["/verify//open", "/verify/open/../admin", "/verify/open/..%2fadmin", "/verify//admin", "/verify/x/../admin"]
    {
        scene.send(get(path)).refused(401, "invalid_request");
    }
    for path in ["/verify//admin", "/verify/../admin", "/verify/x/..;/admin", "/verify/admin;x", "/verify/%2e%2e/admin"]
    {
        scene.send(get(path).bearer(&good())).refused(401, "invalid_request");
    }
    // Under no rule that asks for less than that for /admin.
    let odd = ["/verify/../a", "/verify//a", "/verify/a%2fb", "/verify/a#b", "/verify/?a#b"];
    let mut open = verifying(json!({"rules": {"match": {"path_prefix": "/open"}, "bypass": true}}));
    for path in odd {
        scene.send(get(path).bearer(&good())).refused(401, "invalid_request");
        open.send(get(path).bearer(&good())).confirmed();
    }
    // A question without a path could be about any rule: nginx's `auth_request` asks so, whatever it was asked for. No header is
    // believed that nobody was told to set.
    for path in ["/verify", "/verify?a"] {
        scene.send(get(path).bearer(&good())).refused(401, "invalid_request");
        for name in ["x-original-uri", "x-forwarded-uri"] {
            scene.send(get(path).header(name, "/open")).refused(401, "invalid_request");
        }
    }
    scene.send(get("/verify/").bearer(&good())).confirmed();
}

/// nginx and Traefik tell the request in headers. Only where the operator says so are they believed, and then all of them.
#[test]
fn a_question_with_the_request_in_headers() {
    let rules = json!([
        {"match": {"path_prefix": "/open", "methods": "GET"}, "bypass": true},
        {"match": {"hosts": "admin.example"}, "require": {"scopes": "admin"}},
    ]);
    let told = json!({"method_header": "X-Forwarded-Method", "uri_header": "x-forwarded-uri", "host_header": "x-forwarded-host"});
    let query = json!([{"location": "query_string", "key": "token"}, {"key": "authorization"}]);
    let mut scene = verifying(json!({"rules": rules, "verify_request": told, "access_token": query}));
    let ask = |method: &str, uri: &str, host: &str| {
        get("/verify")
            .header("x-forwarded-method", method)
            .header("x-forwarded-uri", uri)
            .header("x-forwarded-host", host)
    };
    scene.send(ask("GET", "/open/x", "h")).confirmed();
    for (method, uri) in
        [("POST", "/open"), ("GET", "/openx"), ("GET", "/x?/open"), ("GET", "//open"), ("GET", "/open/../x")]
    {
        scene.send(ask(method, uri, "h")).refused(401, "missing_token");
    }
    scene.send(ask("GET", "/a", "admin.example").bearer(&good())).refused(403, "insufficient_scope");
    scene.send(ask("GET", &format!("/a?token={}", good()), "h")).confirmed();
    // What stands behind the path of the question is not believed then, and a header that is missing or there twice is a
    // fault of the proxy.
    scene.send(get("/verify/open")).refused(401, "invalid_request");
    scene.send(ask("GET", "/open", "h").set("x-forwarded-method", None)).refused(401, "invalid_request");
    scene.send(ask("GET", "/open", "h").set("x-forwarded-host", None)).refused(401, "invalid_request");
    scene.send(ask("GET", "/open", "h").header("x-forwarded-uri", "/open")).refused(401, "invalid_request");
    scene.send(ask("GET", "", "h")).refused(401, "invalid_request");
}

/// ATK-10: nginx asks with a `Host` of its own: a rule by hosts would never match, and what it asks for would never
/// be asked.
#[test]
fn where_hosts_are_looked_at_the_client_s_host_must_be_told() {
    let read = |top: Value| {
        let base = json!({"verify_path": "/verify"});
        oidc_filter::config::Config::read(jwt(json!({}), with(base, top)).to_string().as_bytes(), &|_: &str| None)
    };
    let blind = json!({"method_header": "x-original-method", "uri_header": "x-original-uri"});
    let by_host = json!([{"match": {"path": "/a"}, "realm": "a"}, {"match": {"hosts": "*.example.com"}, "realm": "b"}]);
    let by_path = json!([{"match": {"path": "/a"}, "realm": "a"}]);
    let authorization = json!({"uri": AUTHORIZER});
    for (top, who) in [
        (json!({"rules": by_host}), "rules[1].match.hosts"),
        (json!({"external_authorization": authorization}), "external_authorization"),
        (
            json!({"rules": [{"match": {"path": "/a"}, "external_authorization": authorization}]}),
            "external_authorization",
        ),
        (json!({"shadow": {"external_authorization": authorization}}), "external_authorization"),
    ] {
        let error = read(with(top.clone(), json!({"verify_request": blind}))).expect_err(who).to_string();
        assert!(error.starts_with("verify_request.host_header: required") && error.contains(who), "{error}");
        assert!(error.contains("proxy_set_header x-original-host $host"), "{error}");
        let seeing = with(blind.clone(), json!({"host_header": "x-original-host"}));
        read(with(top.clone(), json!({"verify_request": seeing}))).unwrap();
        // Without `verify_request`, a question is the client's request itself, but for its path.
        read(top).unwrap();
    }
    read(json!({"rules": by_path, "verify_request": blind})).unwrap();
    // Nor is the route of a question that of the request.
    for rule in [json!({"match": {"route_name": "admin"}, "realm": "a"}), json!({"name": "admin", "realm": "a"})] {
        let config = read(json!({"rules": [rule], "verify_request": blind})).unwrap();
        let is_told = |warning: &oidc_filter::config::Warning| {
            warning.text.starts_with("rules[0]: a question at verify_path takes")
        };
        assert!(config.warnings.iter().any(is_told), "{rule}");
    }
    // It is that host which rules look at, however it is spelled.
    let told = with(blind, json!({"host_header": "x-original-host"}));
    let rules = json!([{"match": {"hosts": "admin.example"}, "require": {"scopes": "admin"}}]);
    let mut scene = verifying(json!({"rules": rules, "verify_request": told}));
    let ask = |host: &str| {
        let ask = get("/verify").set(":authority", Some("envoy:10000")).header("x-original-method", "GET");
        ask.header("x-original-uri", "/").header("x-original-host", host).bearer(&good())
    };
    for host in ["admin.example", "Admin.Example:443", "admin.example."] {
        scene.send(ask(host)).refused(403, "insufficient_scope");
    }
    scene.send(ask("other.example")).confirmed();
    for host in ["", "admin.example,other.example", "a/b"] {
        scene.send(ask(host)).refused(401, "invalid_request");
    }
    scene.send(ask("other.example").header("x-original-host", "admin.example")).refused(401, "invalid_request");
    scene.send(ask("x").set("x-original-host", None)).refused(401, "invalid_request");
}

#[test]
fn settings_that_are_refused() {
    for (top, path) in [
        (json!({"external_authorization": {}}), "external_authorization.uri"),
        (json!({"external_authorization": {"uri": "decide"}}), "external_authorization.uri"),
        (json!({"external_authorization": {"uri": AUTHORIZER, "cluster": ""}}), "external_authorization.cluster"),
        (json!({"external_authorization": {"uri": AUTHORIZER, "timeout": 0}}), "external_authorization.timeout"),
        (json!({"external_authorization": {"uri": AUTHORIZER, "user": []}}), "external_authorization.user"),
        (json!({"external_authorization": {"uri": AUTHORIZER, "groups": {"x": 1}}}), "external_authorization.groups"),
        (json!({"verify_path": "verify"}), "verify_path"),
        (json!({"verify_path": "/"}), "verify_path"),
        (json!({"verify_path": "/a/../b"}), "verify_path"),
        (json!({"verify_request": {"method_header": "a", "uri_header": "b"}}), "verify_request"),
        (json!({"verify_path": "/v", "verify_request": {"method_header": "a"}}), "verify_request.uri_header"),
        (json!({"marks": "no"}), "marks"),
        (
            json!({"verify_path": "/v", "verify_request": {"method_header": "a b", "uri_header": "b"}}),
            "verify_request.method_header",
        ),
    ] {
        let config = jwt(json!({}), top);
        let error = oidc_filter::config::Config::read(config.to_string().as_bytes(), &|_: &str| None).expect_err(path);
        assert!(error.to_string().starts_with(path), "{path}: {error}");
    }
}
