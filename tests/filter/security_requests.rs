//! Attacks by the shape of a request, and what must not become of them upstream: see `docs/security/cases.md`.

use crate::scene::*;
use crate::support::{sign, with};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use oidc_filter::config::Config;
use serde_json::{Value, json};

// ---------------------------------------------------------------------------------------------- credentials

/// EXT-02: RFC 9110, section 5.3: a proxy may have joined two headers. Neither of them is chosen.
#[test]
fn two_credentials_in_one_header() {
    let good = good();
    for top in [json!({}), json!({"allow_missing": true})] {
        let mut scene = Scene::of(jwt(json!({}), top));
        for joined in [
            format!("Bearer {good}, Bearer {good}"),
            format!("Bearer {good},Bearer x"),
            format!("Bearer x, Bearer {good}"),
            format!("Bearer {good}, Basic dTpw"),
            format!("Bearer {good},{good}"),
            format!("Bearer {good},"),
            format!("Bearer ,{good}"),
        ] {
            scene.send(bare().header("authorization", joined)).refused(400, "invalid_request");
        }
        for other_first in [format!("Basic dTpw, Bearer {good}"), format!("Negotiate x,Bearer {good}")] {
            scene.send(bare().header("authorization", other_first)).refused(401, "unsupported_token");
        }
    }
}

/// EXT-09, EXT-11: what an upstream might read as `Authorization`, or what other proxies use, is no place of ours.
#[test]
fn places_that_are_nearly_ours() {
    let value = format!("Bearer {}", good());
    let mut scene = Scene::of(jwt(
        json!({}),
        json!({"allow_missing": true, "claim_headers": {"header": "x-user", "claim": "sub"}}),
    ));
    for name in [
        "authorization_",
        "authorization.",
        "authorization-",
        "_authorization",
        "x-authorization",
        "X_AUTHORIZATION",
        "http_authorization",
        "HTTP-AUTHORIZATION",
        "proxy-authorization",
        "x-forwarded-authorization",
        "x-forwarded-access-token",
        "x-auth-request-access-token",
        "x-original-authorization",
    ] {
        let upstream = scene.send(bare().header(name, &value)).upstream();
        assert_eq!((upstream.result, upstream.header("x-user")), ("bypassed", None), "{name}");
    }
    for place in ["cookie", "x-cookie"] {
        let ask = bare().header(place, format!("authorization={value}; access_token={}; token={}", good(), good()));
        assert_eq!(scene.send(ask).upstream().result, "bypassed", "{place}");
    }
}

// ---------------------------------------------------------------------------------------------- identities

/// HDR-11: Numbers as they were written: 2^53 + 1 is no other number.
#[test]
fn numbers_to_the_digit() {
    let mut scene = Scene::of(jwt(json!({}), json!({"claim_headers": {"header": "x-c", "claim": "c"}})));
    let header = json!({"alg": "EdDSA", "kid": "k1"}).to_string();
    for (written, header_text) in [
        ("9007199254740993", Some("9007199254740993")),
        ("-9223372036854775809", Some("-9223372036854775809")),
        ("123456789012345678901234567890", Some("123456789012345678901234567890")),
        ("0.10000000000000000001", Some("0.10000000000000000001")),
        ("-0", Some("-0")),
        ("true", Some("true")),
        ("null", None),
        (r#"{"b":{"c":[1,null]},"a":9007199254740993}"#, Some(r#"{"a":9007199254740993%2C"b":{"c":[1%2Cnull]}}"#)),
        ("[9007199254740993,false]", Some("9007199254740993,false")),
    ] {
        let claims = with(good_claims(), json!({"c": "@"})).to_string().replace("\"@\"", written);
        let token = sign(&key("k1").signing, "EdDSA", &header, claims);
        let upstream = scene.send(bearer(&token).header("x-c", "forged")).allowed();
        assert_eq!(upstream.header("x-c"), header_text, "{written}");
    }
    // However it is written, it is the same number.
    let claims = with(good_claims(), json!({"c": "@"})).to_string().replace("\"@\"", "1e3");
    let upstream = scene.send(bearer(&sign(&key("k1").signing, "EdDSA", &header, claims))).allowed();
    assert_eq!(upstream.header("x-c").unwrap().parse(), Ok(1000.0));
}

/// HDR-12: what steers the message, the connection or Envoy is nothing that a claim may say.
#[test]
fn headers_that_claims_may_not_write() {
    let read = |top: Value| Config::read(jwt(json!({}), top).to_string().as_bytes(), &|_: &str| None);
    for name in [
        ":path",
        ":authority",
        ":method",
        ":scheme",
        ":protocol",
        "host",
        "Host",
        "connection",
        "content-length",
        "Content_Length",
        "transfer-encoding",
        "te",
        "trailer",
        "upgrade",
        "keep-alive",
        "expect",
        "proxy-connection",
        "x-envoy-original-path",
        "x-envoy-internal",
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-host",
    ] {
        let claim_header = json!({"claim_headers": {"header": name, "claim": "c"}});
        let error = read(claim_header).err().unwrap_or_else(|| panic!("{name}"));
        assert!(error.to_string().starts_with("claim_headers.header: "), "{name}: {error}");
        let user_info = json!({"user_info": {"location": "header", "key": name}});
        let error = read(user_info).err().unwrap_or_else(|| panic!("{name}"));
        assert!(error.to_string().starts_with("user_info.key: "), "{name}: {error}");
    }
    assert!(read(json!({"claim_headers": {"header": "x-user", "claim": ":path"}})).is_ok());
}

/// HDR-13: all claims in one header, as other filters hand on the payload.
#[test]
fn a_whole_payload_in_a_header() {
    let output = json!({"user_info": {"key": "x-payload", "encoding": "base64url"}, "allow_missing": true});
    let mut scene = Scene::of(jwt(json!({}), output));
    let forged = |ask: Ask| ["x-payload", "X_Payload", "x.payload"].iter().fold(ask, |ask, n| ask.header(n, "e30"));
    let upstream = scene.send(forged(bare())).upstream();
    assert!(upstream.headers.iter().all(|(_, value)| value != "e30"), "{:?}", upstream.headers);
    for name in ["a", "ab", "abc"] {
        let upstream = scene.send(forged(bearer(&token(json!({"sub": name}))))).allowed();
        let written = upstream.header("x-payload").unwrap();
        assert!(!written.contains('='), "without padding: {written}");
        let claims: Value = serde_json::from_slice(&BASE64URL.decode(written).unwrap()).unwrap();
        assert_eq!((&claims["sub"], &claims["iss"]), (&json!(name), &json!(ISSUER)));
    }
}

// ---------------------------------------------------------------------------------------------- refusals

/// RSP-02: an outage has no challenge: the client can do nothing about it.
#[test]
fn an_outage_is_nobodys_invalid_token() {
    for config in [jwt(json!({}), json!({})), introspection(json!({}), json!({})), userinfo(json!({}), json!({}))] {
        let mut scene = Scene::cold(config);
        for path in ["/.well-known/openid-configuration", "/jwks", "/introspect", "/userinfo"] {
            scene.provider.at(path, status(503));
        }
        let refusal = scene.send(bearer(&good())).refused(503, "provider_unavailable");
        assert_eq!((refusal.challenge(), refusal.header("retry-after").is_some()), (None, true));
    }
}

// ---------------------------------------------------------------------------------------------- doors that are open

fn open_doors() -> Scene {
    let bypass = |matching: Value| json!({"match": matching, "bypass": true});
    let rules = json!([bypass(json!({"path_prefix": "/public"})), bypass(json!({"path": ["/", "/healthz"]}))]);
    Scene::of(jwt(json!({}), json!({"rules": rules})))
}

/// PTH-10: whoever calls himself a prober is none by that.
#[test]
fn no_word_of_a_client_opens_a_door() {
    let mut scene = open_doors();
    assert_eq!(scene.send(get("/healthz")).upstream().result, "bypassed");
    for (name, value) in [
        ("user-agent", "kube-probe/1.33"),
        ("user-agent", "ELB-HealthChecker/2.0"),
        ("user-agent", "GoogleHC/1.0"),
        ("user-agent", "Envoy/HC"),
        ("x-envoy-healthchecked-cluster", "api"),
        ("x-health-check", "true"),
        ("x-forwarded-for", "127.0.0.1"),
        ("x-envoy-internal", "true"),
    ] {
        scene.send(get("/admin").set(name, Some(value))).refused(401, "missing_token");
    }
}

/// PTH-11: Targets that have no path, or one that doesn't begin as paths do: none of them is an open door.
#[test]
fn targets_of_other_forms() {
    let mut scene = open_doors();
    assert_eq!(scene.send(get("/")).upstream().result, "bypassed");
    for path in
        ["*", "", "public", "public/a", "pkg.Service/Method", "?/public", "#/public", "http://h/public", " /public"]
    {
        for method in ["GET", "OPTIONS", "POST", "CONNECT"] {
            let ask = get(path).set(":method", Some(method)).set("content-type", Some("application/grpc"));
            let Seen::Refused(refusal) = scene.send(ask) else { panic!("{method} {path}") };
            assert!(matches!(refusal.status, 400 | 401), "{method} {path}: {refusal:?}");
        }
    }
    for method in ["CONNECT", "GET", "OPTIONS"] {
        let ask = bare().set(":method", Some(method)).set(":path", None);
        let Seen::Refused(refusal) = scene.send(ask) else { panic!("{method} without a path") };
        assert!(matches!(refusal.status, 400 | 401), "{method}: {refusal:?}");
    }
}

/// HTP-02: a form that a method override makes something else of is no question whether one may ask.
#[test]
fn a_preflight_has_no_body() {
    let mut scene = Scene::of(jwt(json!({}), json!({"allow_preflight": true})));
    let ask = || {
        bare()
            .set(":method", Some("OPTIONS"))
            .header("origin", "https://web.example")
            .header("access-control-request-method", "POST")
    };
    scene.send(ask()).bypassed();
    scene.send(ask().with_body().header("x-http-method-override", "DELETE")).refused(401, "missing_token");
}

/// HDR-05: RFC 9110, section 7.6.1: what `Connection` names, the next hop drops.
#[test]
fn nobody_takes_an_identity_cookie_away_by_naming_cookies() {
    let up = |ask: Ask| ask.header("connection", "Upgrade, Cookie").header("upgrade", "websocket");
    let cookie = json!({"user_info": {"location": "cookie", "key": "who", "claims": "sub"}});
    let upstream = Scene::of(jwt(json!({}), cookie)).send(up(bearer(&good()))).allowed();
    assert_eq!(upstream.header("connection"), Some("Upgrade"));
    let upstream = Scene::of(jwt(json!({}), json!({}))).send(up(bearer(&good()))).allowed();
    assert_eq!(upstream.header("connection"), Some("Upgrade, Cookie"));
}

/// HDR-01: PHP passes over spaces before a name, and makes `_` of a dot in it.
#[test]
fn names_that_begin_with_an_underscore() {
    let outputs = json!([{"location": "query_string", "key": "_id"}, {"location": "cookie", "key": "_id"}]);
    let rules = json!([{"match": {"path": "/p"}, "bypass": true}]);
    let mut scene = Scene::of(jwt(json!({}), json!({"user_info": outputs, "rules": rules})));
    for query in [".id=f", "%20.id=f", "+.id=f", "%20%20_id[x]=f", "+.id[=f", "[id=f"] {
        assert_eq!(scene.send(get(format!("/p?{query}"))).upstream().path(), "/p", "{query}");
        let cookies = format!("{query}; a=1");
        assert_eq!(scene.send(get("/p").header("cookie", cookies)).upstream().cookie(), Some("a=1"), "{query}");
    }
}
