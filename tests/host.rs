//! The whole filter behind the proxy-wasm ABI: the SDK and the edge as they are, with a small Envoy around them.
//!
//! The other tests ask what the filter decides; these ask what becomes of it. The ids (`WSM-09`, `HTP-08`, …) name
//! the attack or the failure: WSM the VM and its host, HTP the course of a request, OUT calls to providers, HDR
//! headers, EXT finding the token.

#[path = "host/envoy.rs"]
mod envoy;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use ed25519_dalek::{Signer as _, SigningKey};
use envoy::*;
use oidc_filter::http::MAX_ANSWER_BYTES;
use oidc_filter::{json, protobuf};
use p256::ecdsa::signature::Verifier as _;
use p256::pkcs8::{DecodePrivateKey as _, DecodePublicKey as _};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::LazyLock;
use std::time::Duration;

const NOW: u64 = 1_800_000_000;

/// Longer than any request may wait.
const A_WHILE: Duration = Duration::from_secs(70);

// ---------------------------------------------------------------------------------------------- the provider

fn config() -> Value {
    json!({
        "providers": [{
            "name": "idp", "issuer": "https://idp.example.com", "audiences": "api",
            "introspection": {"client_id": "gateway", "client_secret": "s3cret"},
        }],
        "claim_headers": [{"header": "x-user", "claim": "sub"}],
        "user_info": [
            {"location": "cookie", "key": "who", "claims": "sub"},
            {"location": "metadata", "key": "claims", "claims": "sub"},
        ],
    })
}

/// The members of `change` in place of those of the configuration.
fn config_with(change: Value) -> String {
    let mut config = config();
    config.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    config.to_string()
}

fn token(change: Value) -> String {
    let key = SigningKey::from_bytes(&KEY);
    signed("EdDSA", change, |message| key.sign(message).to_bytes().to_vec())
}

/// A token whose signature Envoy's own library can verify.
fn es256_token(change: Value) -> String {
    let key = p256::ecdsa::SigningKey::from_slice(&KEY).unwrap();
    let sign = |message: &[u8]| -> p256::ecdsa::Signature { key.sign(message) };
    signed("ES256", change, |message| sign(message).to_bytes().to_vec())
}

fn signed(algorithm: &str, change: Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let mut claims = json!({"iss": "https://idp.example.com", "aud": "api", "sub": "ann", "exp": NOW + 3600});
    claims.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
    let header = json!({"alg": algorithm, "kid": algorithm, "typ": "at+jwt"}).to_string();
    let message = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(claims.to_string()));
    format!("{message}.{}", BASE64URL.encode(sign(message.as_bytes())))
}

/// The provider's private key, for either curve.
const KEY: [u8; 32] = [7; 32];

static GOOD: LazyLock<String> = LazyLock::new(|| token(json!({})));
static EXPIRED: LazyLock<String> = LazyLock::new(|| token(json!({"exp": NOW - 3600})));

/// What the provider answers.
fn provider(call: &Call) -> Option<(Fields, Vec<u8>)> {
    assert_eq!(call.cluster, "idp.example.com");
    assert!((1..=60_000).contains(&call.timeout), "Envoy takes 0 for never");
    let document = match call.path().as_str() {
        "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server" => json!({
            "issuer": "https://idp.example.com",
            "jwks_uri": "https://idp.example.com/keys",
            "introspection_endpoint": "https://idp.example.com/introspect",
        }),
        "/keys" => {
            let ed25519 = BASE64URL.encode(SigningKey::from_bytes(&KEY).verifying_key().as_bytes());
            let p256 = p256::ecdsa::SigningKey::from_slice(&KEY).unwrap().verifying_key().to_sec1_point(false);
            let (x, y) = p256.as_bytes()[1..].split_at(32);
            json!({"keys": [
                {"kid": "EdDSA", "kty": "OKP", "crv": "Ed25519", "x": ed25519},
                {"kid": "ES256", "kty": "EC", "crv": "P-256", "x": BASE64URL.encode(x), "y": BASE64URL.encode(y)},
            ]})
        }
        "/introspect" => json!({"active": true, "sub": "ann", "aud": "api", "exp": NOW + 3600}),
        _ => return answer(404, "nothing is here"),
    };
    answer(200, &document.to_string())
}

fn answer(status: u16, body: &str) -> Option<(Fields, Vec<u8>)> {
    Some((fields([(":status", status.to_string())]), body.as_bytes().to_vec()))
}

// ---------------------------------------------------------------------------------------------- the client

/// A request with this token, from a client that would like to be somebody else.
fn request(token: &str) -> Fields {
    fields([
        (":method", "POST"),
        (":path", "/orders"),
        (":authority", "shop.example.com"),
        ("x-user", "mallory"),
        ("x_user", "mallory"),
        ("x-oidc-metadata-claims", "mallory"),
        ("cookie", "theme=dark; who=mallory"),
        ("authorization", &format!("Bearer {token}")),
    ])
}

fn plain_request() -> Fields {
    fields([(":method", "GET"), (":path", "/"), (":authority", "shop.example.com")])
}

/// A worker with a configured filter that knows its provider.
fn warm() -> Envoy {
    let envoy = cold();
    envoy.tick();
    envoy.answer_all(provider);
    host(Host::trace);
    envoy
}

/// A worker with a configured filter that knows nothing yet.
fn cold() -> Envoy {
    configured(config().to_string())
}

fn configured(config: String) -> Envoy {
    let envoy = Envoy::at(NOW);
    assert!(envoy.configure(config));
    host(Host::trace);
    envoy
}

fn upstream(stream: Stream) -> Fields {
    match stream.fate() {
        Fate::Forwarded(fields) => fields,
        fate => panic!("{fate:?}"),
    }
}

fn reply(stream: Stream) -> Reply {
    match stream.fate() {
        Fate::Answered(reply) => reply,
        fate => panic!("{fate:?}"),
    }
}

// ---------------------------------------------------------------------------------------------- the operator

/// Each VM of a process reads the same configuration: one of them says what there is to say of it.
#[test]
fn a_warning_is_said_once_for_all_workers() {
    let odd = config_with(json!({"enforce": false, "require": {"scopes": "a"}}));
    let envoy = configured(odd.clone());
    let count = |words: &str| log().matches(words).count();
    assert_eq!(count("others pass"), 1);
    assert!(envoy.configure(&odd));
    assert_eq!(count("others pass"), 1);
    // Another configuration, and the same one later.
    assert!(envoy.configure(config_with(json!({"enforce": false, "require": {"scopes": "b"}}))));
    assert_eq!(count("others pass"), 2);
    envoy.pass(Duration::from_secs(40));
    assert!(envoy.configure(&odd));
    assert_eq!(count("others pass"), 3);
    // Where VMs share nothing, each says it.
    fail("shared", INTERNAL_FAILURE);
    assert!(envoy.configure(&odd));
    assert_eq!(count("others pass"), 4);
}

#[test]
fn a_start_that_went_well_is_one_line() {
    let envoy = cold();
    assert!(!log().contains("ready: "), "{}", log());
    envoy.tick();
    envoy.answer_all(provider);
    envoy.pass(A_WHILE);
    assert_eq!(log().matches("ready: providers, 1: idp (2 keys); no rules").count(), 1, "{}", log());
}

/// What nobody has any more is not at hand: Envoy keeps the gauge, and shows its last value for ever.
#[test]
fn gauges_of_a_provider_that_is_gone_become_zero() {
    let keys = || metric("oidc_jwks_keys;provider=idp");
    let envoy = warm();
    envoy.pass(A_WHILE);
    assert_eq!((keys(), metric("oidc_jwks_age_seconds;provider=idp") > 0), (2, true));
    // A provider that stays keeps its gauge.
    assert!(envoy.configure(config_with(json!({"realm": "other"}))));
    assert_eq!(keys(), 2);
    let other = config().to_string().replace("\"idp\"", "\"new\"");
    assert!(envoy.configure(other));
    assert_eq!((keys(), metric("oidc_jwks_age_seconds;provider=idp")), (0, 0));
    envoy.tick();
    envoy.answer_all(provider);
    assert_eq!((keys(), metric("oidc_jwks_keys;provider=new")), (0, 2));
    envoy.end();
    assert_eq!(metric("oidc_jwks_keys;provider=new"), 0);
}

/// CCH-08: Envoy keeps the root of an old configuration for as long as its connections are drained, and all take their memory from one VM:
/// with ten of them full, it ended.
#[test]
fn the_filters_of_a_vm_share_what_one_may_remember() {
    let mut provider_entry = config()["providers"][0].clone();
    provider_entry["introspection"]["cache"] = json!("1h");
    let old = configured(config_with(json!({"providers": [provider_entry]})));
    old.tick();
    old.answer_all(provider);
    let heavy =
        json!({"active": true, "sub": "ann", "aud": "api", "exp": NOW + 3600, "x": vec![1; 15_000]}).to_string();
    // Whether the provider was asked about the token.
    let is_asked = |envoy: &Envoy, number: usize| {
        let stream = envoy.request(request(&format!("opaque-{number}")));
        let is_asked = !calls().is_empty();
        envoy.answer_all(|_| answer(200, &heavy));
        upstream(stream);
        stream.end();
        is_asked
    };
    let asked = |envoy: &Envoy, numbers: Range<usize>| numbers.filter(|number| is_asked(envoy, *number)).count();
    assert_eq!(asked(&old, 0..70), 70);
    old.tick();
    assert_eq!(asked(&old, 0..70), 0, "alone, it has room for all");
    let new = old.another();
    assert!(new.configure(config_with(json!({"realm": "new"}))));
    new.tick();
    new.answer_all(provider);
    old.tick();
    assert_eq!((is_asked(&old, 69), is_asked(&old, 0)), (false, true), "each has half of the room");
    // The one that nobody asks for a minute is in nobody's way.
    host(|host| host.clock += 61 * 1_000_000_000);
    assert!(is_asked(&new, 0));
    new.tick();
    assert_eq!((asked(&new, 0..70), asked(&new, 0..70)), (69, 0));
    new.end();
    old.tick();
    assert!((20..50).contains(&asked(&old, 0..70)), "those that it has kept are known");
    assert_eq!(asked(&old, 0..70), 0, "and there is room for all again");
}

/// The reply's status and the reason in its details.
fn refusal(stream: Stream) -> (u32, String) {
    let Reply { status, details, .. } = reply(stream);
    let (what, _filter) = details.split_once(";filter=").unwrap_or((&details, ""));
    let reason = what.strip_prefix("oidc_denied{").and_then(|rest| rest.strip_suffix('}'));
    (status, reason.expect("details have a form").to_owned())
}

fn metric(name: &str) -> u64 {
    host(|host| host.metrics.iter().find(|(other, _)| other == name).map_or(0, |(_, value)| *value))
}

fn calls() -> Vec<String> {
    host(|host| host.calls.values().map(Call::path).collect())
}

fn trace() -> Vec<String> {
    host(Host::trace)
}

fn log() -> String {
    host(|host| host.log.join("\n"))
}

/// From now on, host calls whose names begin so fail.
fn fail(name: &'static str, status: u32) {
    host(|host| host.fault = Some(Box::new(move |_, called| called.starts_with(name).then_some(status))));
}

fn heal() {
    host(|host| host.fault = None);
}

// ---------------------------------------------------------------------------------------------- configuration

#[test]
fn every_form_of_the_configuration_is_taken() {
    assert!(Envoy::at(NOW).configure(config().to_string()));
    assert!(
        Envoy::at(NOW).configure(protobuf::write_struct(&json::parse_object(config().to_string().as_bytes()).unwrap()))
    );
}

/// WSM-04.
#[test]
fn a_bad_configuration_is_refused_by_its_path_and_everything_with_it() {
    for (bad, path) in [
        ("", "the configuration is empty"),
        ("{", "neither a JSON object nor"),
        ("\u{1}", "neither a JSON object nor"),
        (&config_with(json!({"audiances": "api"})), "audiances: "),
        (&config_with(json!({"providers": [{"issuer": "s3cret", "any_audience": true}]})), "providers[0].issuer: "),
        (&config_with(json!({"realm": "${S3CRET}"})), "realm: "),
    ] {
        let envoy = Envoy::at(NOW);
        assert!(!envoy.configure(bad), "{bad}");
        assert!(log().contains("the configuration is refused: ") && log().contains(path), "{}", log());
        assert!(!log().contains("s3cret"), "{}", log());
        assert_eq!(refusal(envoy.request(request(&GOOD))), (503, "misconfigured".to_owned()));
    }
}

/// WSM-04.
#[test]
fn whatever_fails_beside_the_configuration_it_is_taken() {
    let calls = {
        let envoy = Envoy::at(NOW);
        assert!(envoy.configure(config().to_string()));
        let mut trace = trace();
        trace.dedup();
        trace
    };
    assert_eq!(
        calls,
        [
            "log level",
            "read configuration",
            "property plugin_name",
            "foreign verify_signature",
            "foreign declare_property",
            "tick 1",
        ]
    );
    for name in calls.into_iter().chain(["clock".to_owned(), "define".to_owned()]) {
        for status in 1..=12 {
            let envoy = Envoy::at(NOW);
            fail(String::leak(name.clone()), status);
            assert!(envoy.configure(config().to_string()), "{name} {status}");
            // A configuration that can't be read doesn't let anything through.
            heal();
            let stream = envoy.request(request(&GOOD));
            match name.as_str() {
                "read configuration" => assert_eq!(refusal(stream), (503, "misconfigured".to_owned())),
                _ => assert_eq!(stream.fate(), Fate::Waits, "{name} {status}"),
            }
        }
    }
    for clock in [0, u64::MAX / 1_000_000_000] {
        assert!(Envoy::at(clock).configure(config().to_string()));
    }
}

/// WSM-10.
#[test]
fn a_second_configuration_begins_anew() {
    let envoy = cold();
    let waiting = envoy.request(request(&GOOD));
    assert_eq!(calls(), ["/.well-known/openid-configuration"]);
    let other = json!({"providers": [{"issuer": "https://other.example.com", "audiences": "api"}]});
    assert!(envoy.configure(config_with(other)));
    assert_eq!(refusal(waiting), (503, "misconfigured".to_owned()));
    // The other provider's call has the same number in the new filter as this one had in the old.
    envoy.tick();
    assert_eq!(calls().len(), 2);
    let first = host(|host| *host.calls.first_key_value().unwrap().0);
    envoy.answer(first, answer(200, &json!({"issuer": "https://other.example.com"}).to_string()));
    assert_eq!(metric("oidc_fetches_total;provider=other.example.com;kind=metadata;result=ok"), 0);
    assert_eq!(calls().len(), 1);
}

/// CCH-09: what was decided under one configuration is nothing under the next.
#[test]
fn a_second_configuration_remembers_no_decision() {
    let envoy = warm();
    let opaque = "0paque";
    upstream(envoy.request(request(&GOOD)));
    let asked = envoy.request(request(opaque));
    envoy.answer_all(provider);
    upstream(asked);
    upstream(envoy.request(request(opaque)));
    let with_provider = |change: Value| {
        let mut provider = config()["providers"][0].clone();
        provider.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        config_with(json!({"providers": [provider]}))
    };
    for (change, status, reason) in [
        (with_provider(json!({"audiences": "other"})), 401, "wrong_audience"),
        (with_provider(json!({"algorithms": "ES256"})), 401, "unsupported_token"),
        (config_with(json!({"require": {"scopes": "admin"}})), 403, "insufficient_scope"),
    ] {
        assert!(envoy.configure(&change));
        envoy.tick();
        envoy.answer_all(provider);
        assert_eq!(refusal(envoy.request(request(&GOOD))), (status, reason.to_owned()));
        // Nor is the provider's word of before: it is asked again.
        let asked = envoy.request(request(opaque));
        assert_eq!((asked.fate(), calls()), (Fate::Waits, vec!["/introspect".to_owned()]));
        envoy.answer_all(|_| answer(200, r#"{"active":false}"#));
        assert_eq!(refusal(asked), (401, "inactive".to_owned()));
    }
}

// ---------------------------------------------------------------------------------------------- refusing

/// WSM-04.
#[test]
fn before_its_configuration_the_filter_refuses() {
    let envoy = Envoy::at(NOW);
    let stream = envoy.request(request(&GOOD));
    let Reply { fields, body, .. } = reply(stream);
    assert_eq!((values(&fields, "cache-control"), body), (vec!["no-store".to_owned()], String::new()));
    assert_eq!(refusal(stream), (503, "misconfigured".to_owned()));
    assert_eq!(stream.body(), PAUSE);
    assert_eq!(metric("oidc_requests_total;result=denied;reason=misconfigured;provider=none"), 1);
}

/// WSM-06.
#[test]
fn without_a_clock_nothing_is_judged() {
    let envoy = warm();
    let good = request(&GOOD);
    fail("clock", INTERNAL_FAILURE);
    assert_eq!(refusal(envoy.request(good.clone())), (503, "misconfigured".to_owned()));
    envoy.tick();
    assert!(envoy.period() >= 100, "no busy loop: {}", envoy.period());
    heal();
    host(|host| host.clock = 0);
    assert_eq!(refusal(envoy.request(good.clone())), (503, "misconfigured".to_owned()));
    host(|host| host.clock = u64::MAX);
    assert_eq!(envoy.request(good.clone()).fate(), Fate::Waits, "the keys are too old");
    host(|host| host.clock = NOW * 1_000_000_000);
    upstream(envoy.request(good));
}

/// HTP-09, HDR-19: what the client made up leaves, for whoever logs the request.
#[test]
fn a_denial_is_one_reply_and_nothing_else() {
    let envoy = warm();
    let forged = [
        "remove request x-user",
        "remove request x_user",
        "remove request x-oidc-metadata-claims",
        "set request cookie",
    ];
    for (fields, cleared, status, reason, provider) in [
        (plain_request(), &[][..], 401, "missing_token", "none"),
        (request("two words"), &forged, 400, "invalid_request", "none"),
        (request(&EXPIRED), &forged, 401, "expired", "idp"),
        (request(&token(json!({"aud": "other"}))), &forged, 401, "wrong_audience", "idp"),
        (request(&token(json!({"iss": "https://evil.example.com"}))), &forged, 401, "unknown_issuer", "none"),
    ] {
        trace();
        let stream = envoy.request(fields);
        assert_eq!(refusal(stream), (status, reason.to_owned()));
        let metric = format!("oidc_requests_total;result=denied;reason={reason};provider={provider}");
        let others = ["oidc_verifications_total", "oidc_token_cache_total"];
        let trace_of_it: Vec<String> =
            trace().into_iter().filter(|name| !others.iter().any(|other| name.contains(other))).collect();
        let (define, count) = (format!("define counter {metric}"), format!("count {metric}"));
        let reply_to_it = format!("reply {status} oidc_denied{{{reason}}}");
        assert_eq!(trace_of_it, [&["list request", "clock", &define, &count], cleared, &[&*reply_to_it]].concat());
        // Envoy shows the filter its own reply.
        let shown = vec![(b":status".to_vec(), status.to_string().into_bytes())];
        assert_eq!(stream.response(shown), CONTINUE);
        assert_eq!(trace(), ["list response"]);
        assert_eq!((stream.body(), stream.trailers(fields_of_trailers())), (PAUSE, PAUSE));
        stream.end();
    }
    // A reply may have been given another status on the way, but no success where there was none.
    for (shown, left) in [("404", "404"), ("302", "302"), ("200", "401"), ("204", "401")] {
        let stream = envoy.request(plain_request());
        assert_eq!(stream.response(fields([(":status", shown)])), CONTINUE);
        assert_eq!(stream.look(|exchange| values(&exchange.response, ":status")), [left]);
    }
}

/// ATK-14: an access log is written when the request has been answered.
#[test]
fn a_token_leaves_before_the_answer() {
    let sources = json!([{"key": "authorization"}, {"location": "query_string", "key": "token"}]);
    let envoy = configured(config_with(json!({"forward": false, "access_token": sources})));
    envoy.tick();
    envoy.answer_all(provider);
    let asked = |path: &str| {
        let sent = [(":method", "GET"), (":path", path), (":authority", "shop.example.com")];
        trace();
        envoy.request(fields(sent))
    };
    let stream = asked(&format!("/p?a=1&token={}", *EXPIRED));
    assert_eq!(refusal(stream), (401, "expired".to_owned()));
    let trace_of_it = trace();
    let place = |name: &str| trace_of_it.iter().position(|call| call.starts_with(name));
    assert!(place("set request :path").unwrap() < place("reply 401").unwrap(), "{trace_of_it:?}");
    // A host that can't do it answers all the same.
    fail("set request", INTERNAL_FAILURE);
    assert_eq!(refusal(asked("/p?a=1&token=a&token=b")), (400, "invalid_request".to_owned()));
    assert!(log().contains("access logs may show it"), "{}", log());
}

/// EXT-10.
#[test]
fn bytes_that_are_no_text() {
    let envoy = warm();
    let good = request(&GOOD);
    for byte in [0, b'\n', 0x7f, 0x80, 0xa1, 0xff] {
        let mut anywhere = good.clone();
        anywhere.push((b"user-agent".to_vec(), vec![byte]));
        anywhere.push((vec![b'x', byte], vec![byte; 3]));
        anywhere.push((vec![b'x', byte, b'u', b's', b'e', b'r'], b"mallory".to_vec()));
        let forwarded = upstream(envoy.request(anywhere));
        assert!(forwarded.contains(&(vec![b'x', byte], vec![byte; 3])), "{byte}");
        for name in ["authorization", "cookie", ":path"] {
            let mut there = good.clone();
            there.iter_mut().filter(|(other, _)| other == name.as_bytes()).for_each(|(_, value)| value.push(byte));
            match (name, envoy.request(there)) {
                ("authorization", stream) => assert!(matches!(refusal(stream).0, 400 | 401)),
                (_, stream) => drop(upstream(stream)),
            }
        }
        let mut unknown_method = good.clone();
        unknown_method[0].1 = vec![byte];
        upstream(envoy.request(unknown_method));
    }
    let strange = [(":status", &b"\xff"[..]), ("content-type", b"\xff"), ("\u{e9}", b"\xff")];
    let cold = cold();
    let waiting = cold.request(good);
    cold.answer_all(|_| Some((fields(strange), vec![0xff; 100])));
    assert_eq!(refusal(waiting), (503, "provider_unavailable".to_owned()));
}

/// HDR-01.
#[test]
fn what_cannot_be_seen_cannot_be_let_through() {
    let envoy = configured(config_with(json!({"enforce": false})));
    let many = |count: usize| fields((0..count).map(|index| (format!("h{index}"), "v")));
    for fields in [Fields::new(), many(3), [request("x"), many(1024)].concat()] {
        assert_eq!(refusal(envoy.request(fields)), (400, "invalid_request".to_owned()));
    }
    upstream(envoy.request([request("two words"), many(1000)].concat()));
    // CONNECT has no path.
    let envoy = configured(config_with(json!({"enforce": false, "rules": [{"match": {"methods": ["CONNECT"]}}]})));
    upstream(envoy.request(fields([(":method", "CONNECT"), (":authority", "shop.example.com:443")])));
}

/// DOS-01: whatever can be told without arithmetic is told first: a flood of such tokens costs no signature.
#[test]
fn what_is_cheap_comes_before_the_signature() {
    let envoy = warm();
    let verified = || {
        host(|host| {
            let all = host.metrics.iter().filter(|(name, _)| name.starts_with("oidc_verifications_total"));
            all.map(|(_, value)| value).sum::<u64>()
        })
    };
    let sign = |header: Value, claims: Value| {
        let message = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        format!("{message}.{}", BASE64URL.encode([0x2a; 64]))
    };
    let good = json!({"iss": "https://idp.example.com", "aud": "api", "sub": "ann", "exp": NOW + 3600});
    let ours = json!({"alg": "EdDSA", "kid": "EdDSA"});
    for (token, reason) in [
        (format!("{}.x", *GOOD), "malformed_token"),
        (format!("{}{}", *GOOD, "A".repeat(20_000)), "malformed_token"),
        (sign(json!({"alg": "PS1024", "kid": "EdDSA"}), good.clone()), "unsupported_token"),
        (sign(json!({"alg": "HS256", "kid": "EdDSA"}), good.clone()), "unsupported_token"),
        (sign(json!({"alg": "EdDSA", "kid": "EdDSA", "crit": ["x"]}), good.clone()), "unsupported_token"),
        (sign(json!({"alg": "RS256", "kid": "EdDSA"}), good.clone()), "unknown_key"),
        (sign(json!({"alg": "EdDSA", "kid": "another"}), good.clone()), "unknown_key"),
        (sign(ours.clone(), json!({"iss": "https://evil.example.com", "aud": "api"})), "unknown_issuer"),
        (sign(ours.clone(), json!({"aud": "api"})), "invalid_claims"),
        (sign(ours.clone(), json!([])), "malformed_token"),
    ] {
        let stream = envoy.request(request(&token));
        envoy.answer_all(provider);
        assert_eq!(refusal(stream), (401, reason.to_owned()));
        assert_eq!(verified(), 0, "{reason}");
    }
    assert_eq!(refusal(envoy.request(request(&sign(ours, good)))), (401, "bad_signature".to_owned()));
    assert_eq!(verified(), 1);
}

// ---------------------------------------------------------------------------------------------- letting pass

/// What the upstream may see of [`request`] with a good token, apart from the token.
fn identity(fields: &Fields) -> Vec<String> {
    let names = ["x-user", "x_user", "x-oidc-metadata-claims", "cookie"];
    names.iter().flat_map(|name| values(fields, name)).collect()
}

const ANN: [&str; 3] = ["ann", "Kg4KDAoDc3ViEgUaA2Fubg==", "who=%7B%22sub%22:%22ann%22%7D; theme=dark"];

fn fields_of_trailers() -> Fields {
    fields([("grpc-status", "0"), ("x-user", "mallory"), ("X_User", "mallory"), ("x-oidc-metadata-claims", "mallory")])
}

#[test]
fn a_warm_request_costs_these_host_calls() {
    let envoy = warm();
    let allowed = "oidc_requests_total;result=allowed;reason=none;provider=idp";
    upstream(envoy.request(request(&GOOD)));
    upstream(envoy.request(request(&GOOD)));
    assert_eq!(trace().iter().filter(|name| name.starts_with("define")).count(), 4);

    let stream = envoy.request(request(&GOOD));
    assert_eq!(identity(&upstream(stream)), ANN);
    assert_eq!(
        trace(),
        [
            "list request",
            "clock",
            "remove request x_user",
            "set request cookie",
            "set request x-user",
            "set request x-oidc-metadata-claims",
            "state oidc.claims",
            "property oidc.result",
            "state oidc.result",
            &format!("count {allowed}"),
            "count oidc_token_cache_total;result=hit",
        ]
    );
    assert_eq!((stream.body(), stream.body()), (CONTINUE, CONTINUE));
    assert_eq!(trace(), [""; 0]);
    assert_eq!(stream.response(fields([(":status", "200")])), CONTINUE);
    assert_eq!(trace(), ["list response", "set response cache-control", "add response set-cookie"]);
    let cookies = stream.look(|exchange| values(&exchange.response, "set-cookie"));
    assert_eq!(cookies, ["who=%7B%22sub%22:%22ann%22%7D; Path=/; HttpOnly; Secure; SameSite=Lax"]);
    stream.end();
    assert_eq!(trace(), [""; 0]);
    assert_eq!(metric(allowed), 3);
    assert_eq!(metric("oidc_token_cache_total;result=hit"), 2);
    assert_eq!(metric("oidc_token_cache_total;result=miss"), 1);
    assert_eq!(metric("oidc_verifications_total;alg=EdDSA;backend=wasm"), 1);
}

#[test]
fn the_decision_is_filter_state() {
    let envoy = configured(config_with(json!({"allow_missing": true})));
    let stream = envoy.request(plain_request());
    upstream(stream);
    let state = stream.look(|exchange| exchange.filter_state.clone());
    let expected = [("oidc.reason", "missing_token"), ("oidc.result", "bypassed")];
    assert_eq!(state, expected.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into());
    assert_eq!(metric("oidc_requests_total;result=bypassed;reason=missing_token;provider=none"), 1);
}

#[test]
fn the_filter_s_own_name_is_the_namespace() {
    let envoy = Envoy::at(NOW);
    host(|host| host.properties.insert("plugin_name".to_owned(), b"gate".to_vec()));
    assert!(envoy.configure(config().to_string()));
    envoy.tick();
    envoy.answer_all(provider);
    let stream = envoy.request(request(&GOOD));
    upstream(stream);
    assert!(stream.look(|exchange| exchange.filter_state.contains_key("gate.claims")));
}

/// Route metadata name rules under the filter's own name. Without it, a rule that asks for more would not be found.
#[test]
fn rules_with_names_need_the_filter_s_own() {
    for (status, reason) in [(None, "insufficient_scope"), (Some(1), "misconfigured"), (Some(10), "misconfigured")] {
        let envoy = Envoy::at(NOW);
        host(|host| {
            host.properties.insert("plugin_name".to_owned(), b"gate".to_vec());
            host.properties.insert("xds.route_metadata.filter_metadata.gate.rule".to_owned(), b"admin".to_vec());
        });
        if let Some(status) = status {
            fail("property plugin_name", status);
        }
        let rule = json!({"name": "admin", "require": {"scopes": "admin"}});
        assert!(envoy.configure(config_with(json!({"rules": [rule]}))));
        heal();
        envoy.tick();
        envoy.answer_all(provider);
        assert_eq!(refusal(envoy.request(request(&GOOD))).1, reason, "{status:?}");
    }
}

/// A filter of this name, with this configuration, that knows its provider.
fn named(name: Option<&str>, config: String) -> Envoy {
    let envoy = Envoy::at(NOW);
    if let Some(name) = name {
        host(|host| host.properties.insert("plugin_name".to_owned(), name.as_bytes().to_vec()));
    }
    assert!(envoy.configure(config));
    envoy.tick();
    envoy.answer_all(provider);
    envoy
}

fn marks(stream: Stream) -> Vec<(String, String)> {
    let text = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).into_owned();
    stream.look(|exchange| exchange.filter_state.iter().map(|(key, value)| (key.clone(), text(value))).collect())
}

fn state(marks: &[(&str, &str)]) -> FilterState {
    marks.iter().map(|(key, value)| ((*key).to_owned(), value.as_bytes().to_vec())).collect()
}

/// ATK-07: two filters in one chain: what one says is never taken for the other's word.
#[test]
fn marks_metrics_and_details_bear_the_filter_s_name() {
    let strip = json!({"claim_headers": [], "user_info": [], "enforce": false});
    let told = |name: &'static str, result: &'static str| (format!("{name}.result"), result.to_owned());
    for (name, key, suffix) in [
        (Some("users"), "users", ";filter=users"),
        (Some("istio-system.oidc"), "istio-system.oidc", ";filter=istio-system.oidc"),
        (Some("a;b c"), "a;b c", ";filter=a_b_c"),
        (Some("oidc"), "oidc", ""),
        (Some(""), "oidc", ""),
        (None, "oidc", ""),
    ] {
        let envoy = named(name, config_with(strip.clone()));
        // Behind a filter of another name, whose marks stay as they are.
        let others = [("service.reason", "expired"), ("service.result", "stripped")];
        let allowed = envoy.request_marked(request(&GOOD), state(&others));
        upstream(allowed);
        let mut expected: Vec<(String, String)> =
            others.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).chain([told(key, "allowed")]).collect();
        expected.sort();
        assert_eq!(marks(allowed), expected, "{name:?}");
        assert_eq!(metric(&format!("oidc_requests_total;result=allowed;reason=none;provider=idp{suffix}")), 1);
        assert_eq!(metric(&format!("oidc_token_cache_total;result=miss{suffix}")), 1);
        assert_eq!(metric(&format!("oidc_verifications_total;alg=EdDSA;backend=wasm{suffix}")), 1);
        assert_eq!(metric(&format!("oidc_fetches_total;provider=idp;kind=jwks;result=ok{suffix}")), 1);
        assert_eq!(metric(&format!("oidc_jwks_keys;provider=idp{suffix}")), 2);
        let named_metrics = |(name, _): &(String, u64)| name.ends_with(suffix);
        assert!(host(|host| host.metrics.iter().all(named_metrics)), "{name:?}");
        let envoy = named(name, config_with(json!({"claim_headers": [], "user_info": []})));
        assert_eq!(reply(envoy.request(request(&EXPIRED))).details, format!("oidc_denied{{expired}}{suffix}"));
        let verifying = named(name, config_with(json!({"verify_path": "/orders"})));
        assert_eq!(reply(verifying.request(request(&GOOD))).details, format!("oidc_confirmed{suffix}"));
    }
}

/// ATK-07: two filters of one name: the last verdict stands, without what belonged to the first, and the operator is
/// told once.
#[test]
fn a_reason_never_outlives_its_verdict() {
    let envoy = named(None, config_with(json!({"claim_headers": [], "user_info": [], "allow_missing": true})));
    let earlier = [
        ("oidc.reason", "malformed_token"),
        ("oidc.result", "stripped"),
        ("oidc.shadow_reason", "expired"),
        ("oidc.shadow_result", "denied"),
    ];
    for _ in 0..3 {
        let stream = envoy.request_marked(request(&GOOD), state(&earlier));
        upstream(stream);
        let cleared =
            [("oidc.reason", ""), ("oidc.result", "allowed"), ("oidc.shadow_reason", ""), ("oidc.shadow_result", "")];
        assert_eq!(marks(stream), cleared.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }
    assert_eq!(log().matches("give each filter a `name` of its own").count(), 1, "{}", log());
    let stream = envoy.request_marked(plain_request(), state(&earlier[..2]));
    upstream(stream);
    let bypassed = [("oidc.reason", "missing_token"), ("oidc.result", "bypassed")];
    assert_eq!(marks(stream), bypassed.map(|(key, value)| (key.to_owned(), value.to_owned())));
    // What cannot be cleared must not stay: the request is refused.
    host(|host| host.fault = Some(Box::new(|_, name| (name == "state oidc.reason").then_some(BAD_ARGUMENT))));
    assert_eq!(refusal(envoy.request_marked(request(&GOOD), state(&earlier))), (503, "misconfigured".to_owned()));
}

/// ATK-07: a filter that was alone of its name for long still finds another one, and then looks for it in each request.
#[test]
fn a_filter_that_seems_alone_looks_for_others_of_its_name_now_and_then() {
    let envoy = named(None, config_with(json!({"claim_headers": [], "user_info": []})));
    let earlier = [("oidc.reason", "malformed_token"), ("oidc.result", "stripped")];
    let looks = |marked: &[(&str, &str)], count: usize| {
        trace();
        for _ in 0..count {
            let stream = envoy.request_marked(request(&GOOD), state(marked));
            upstream(stream);
            stream.end();
        }
        trace().iter().filter(|name| *name == "property oidc.result").count()
    };
    assert_eq!(looks(&[], 1024), 1024);
    assert_eq!(looks(&[], 640), 10);
    assert!(looks(&earlier, 64) > 0);
    assert_eq!(looks(&earlier, 100), 100);
    let stream = envoy.request_marked(request(&GOOD), state(&earlier));
    upstream(stream);
    let cleared = [("oidc.reason", ""), ("oidc.result", "allowed")];
    assert_eq!(marks(stream), cleared.map(|(key, value)| (key.to_owned(), value.to_owned())));
}

#[test]
fn marks_can_be_left_out() {
    let rules = json!([{"match": {"route_name": "b"}, "require": {"scopes": "admin"}}]);
    let top = json!({"marks": false, "user_info": [], "rules": rules, "shadow": {"require": {"scopes": "x"}}, "enforce": false});
    let envoy = named(None, config_with(top));
    trace();
    for fields in [request(&GOOD), request(&EXPIRED), plain_request()] {
        let stream = envoy.request(fields);
        upstream(stream);
        assert_eq!(marks(stream), []);
    }
    assert!(!trace().iter().any(|name| name.starts_with("state")));
    assert!(log().contains("nothing can refuse it before the service has seen it"), "{}", log());
}

/// ATK-03: one request that takes another route than the one decided on gets nothing. It changes nothing for any
/// other.
#[test]
fn one_request_throws_no_switch_for_others() {
    let route = |name: &[u8]| host(|host| host.properties.insert("xds.route_name".to_owned(), name.to_vec()));
    let rule = json!({"match": {"route_name": "b"}, "require": {"scopes": "admin"}});
    for outputs in [json!({}), json!({"claim_headers": [], "user_info": []})] {
        let envoy = Envoy::at(NOW);
        route(b"a");
        let mut top = json!({"rules": [rule]});
        top.as_object_mut().unwrap().extend(outputs.as_object().unwrap().clone());
        assert!(envoy.configure(config_with(top)));
        assert_eq!(log().matches("put the RBAC of envoy/routes.yaml behind").count(), 1, "{}", log());
        envoy.tick();
        envoy.answer_all(provider);
        for _ in 0..50 {
            route(b"a");
            let trigger = envoy.request(request(&GOOD));
            let other = envoy.request(request(&GOOD));
            upstream(trigger);
            route(b"b");
            assert_eq!(trigger.response(fields([(":status", "200")])), PAUSE);
            route(b"a");
            assert_eq!(other.response(fields([(":status", "200")])), CONTINUE);
            upstream(other);
        }
        assert_eq!(metric("oidc_requests_total;result=denied;reason=misconfigured;provider=none"), 50);
        assert_eq!(log().matches("its response is withheld").count(), 1, "{}", log());
    }
}

/// What the client gets is what is counted, also when a response is withheld.
#[test]
fn a_response_that_is_withheld_is_counted() {
    let envoy = Envoy::at(NOW);
    let route = |name: &[u8]| host(|host| host.properties.insert("xds.route_name".to_owned(), name.to_vec()));
    route(b"a");
    let rule = json!({"match": {"route_name": "b"}, "require": {"scopes": "admin"}});
    assert!(envoy.configure(config_with(json!({"rules": [rule]}))));
    envoy.tick();
    envoy.answer_all(provider);
    let stream = envoy.request(request(&GOOD));
    route(b"b");
    stream.response(fields([(":status", "200")]));
    assert_eq!(metric("oidc_requests_total;result=denied;reason=misconfigured;provider=none"), 1);
}

#[test]
fn a_token_in_dynamic_metadata_is_found_or_refused() {
    let place = json!({"access_token": {"location": "metadata", "key": "token", "metadata_filter": "jwt"}});
    let envoy = configured(config_with(place));
    envoy.tick();
    envoy.answer_all(provider);
    assert_eq!(refusal(envoy.request(plain_request())), (401, "missing_token".to_owned()));
    let set = |value: &[u8]| {
        host(|host| host.properties.insert("metadata.filter_metadata.jwt.token".to_owned(), value.to_vec()));
    };
    set(GOOD.as_bytes());
    upstream(envoy.request(plain_request()));
    set(b"\xff");
    assert_eq!(refusal(envoy.request(plain_request())), (401, "malformed_token".to_owned()));
    set(GOOD.as_bytes());
    for status in 2..=12 {
        fail("property", status);
        assert_eq!(refusal(envoy.request(plain_request())), (400, "invalid_request".to_owned()), "{status}");
    }
}

/// HDR-05.
#[test]
fn trailers_are_cleaned_as_headers_are() {
    let envoy = warm();
    let stream = envoy.request(request(&GOOD));
    assert_eq!(stream.trailers(fields_of_trailers()), CONTINUE);
    assert_eq!(stream.look(|exchange| exchange.trailers.clone()), fields([("grpc-status", "0")]));
    upstream(stream);

    let none = envoy.request(request(&GOOD));
    assert_eq!(none.trailers(Fields::new()), CONTINUE);
    upstream(none);

    // More than Envoy hands over: they can't be cleaned.
    let many = fields((0..1024).map(|index| (format!("t{index}"), "v")));
    let stream = envoy.request(request(&GOOD));
    assert_eq!(stream.trailers([many, fields_of_trailers()].concat()), PAUSE);
    assert_eq!(refusal(stream), (503, "misconfigured".to_owned()));
}

/// The fields of a message that has nothing but texts.
fn length_delimited<const COUNT: usize>(message: &[u8]) -> [&[u8]; COUNT] {
    let mut fields: [&[u8]; COUNT] = [b""; COUNT];
    let mut rest = message;
    while let [tag, more @ ..] = rest {
        let (mut length, mut at) = (0, 0);
        while at == 0 || more[at - 1] & 0x80 != 0 {
            length |= usize::from(more[at] & 0x7f) << (7 * at);
            at += 1;
        }
        (fields[usize::from(tag >> 3) - 1], rest) = more[at..].split_at(length);
    }
    fields
}

/// What Envoy's function does, for one curve: it takes and gives protobuf.
fn verify_signature(arguments: &[u8]) -> Vec<u8> {
    let [hash, key, signature, message] = length_delimited(arguments);
    let verifies = |key: p256::ecdsa::VerifyingKey| {
        p256::ecdsa::DerSignature::from_bytes(signature).is_ok_and(|signature| key.verify(message, &signature).is_ok())
    };
    let key = p256::ecdsa::VerifyingKey::from_public_key_der(key).ok().filter(|_| hash == b"sha256");
    if key.is_some_and(verifies) { vec![0x08, 1] } else { b"\x12\x05wrong".to_vec() }
}

/// SIG-09.
#[test]
fn a_host_verifies_what_it_has_been_seen_to_get_right() {
    let functions: [(Function, _); 4] =
        [(verify_signature, "host"), (|_| vec![0x08, 1], "wasm"), (|_| vec![], "wasm"), (|_| vec![0xff; 9], "wasm")];
    for (function, backend) in functions {
        let envoy = Envoy::at(NOW);
        host(|host| host.functions.insert("verify_signature", function));
        assert!(envoy.configure(config().to_string()));
        envoy.tick();
        envoy.answer_all(provider);
        assert_eq!(identity(&upstream(envoy.request(request(&es256_token(json!({})))))), ANN);
        let (ann, bob) = (es256_token(json!({})), es256_token(json!({"sub": "bob"})));
        let forged = format!("{}.{}", bob.rsplit_once('.').unwrap().0, ann.rsplit_once('.').unwrap().1);
        assert_eq!(refusal(envoy.request(request(&forged))), (401, "bad_signature".to_owned()));
        assert_eq!(metric(&format!("oidc_verifications_total;alg=ES256;backend={backend}")), 2);
        // Where the host stops to answer, the filter does it alone.
        fail("foreign", INTERNAL_FAILURE);
        assert_eq!(identity(&upstream(envoy.request(request(&bob))))[0], "bob");
    }
}

/// What Envoy's function does with an RSA key.
fn sign_with_rsa(arguments: &[u8]) -> Vec<u8> {
    let [_hash, key, message] = length_delimited(arguments);
    let key = rsa::RsaPrivateKey::from_pkcs8_der(key).unwrap();
    let signature = key.sign(rsa::Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message)).unwrap();
    [&[0x08, 1, 0x12, 0x80, 0x02], signature.as_slice()].concat()
}

/// Where the host doesn't sign, or signs something else, the configuration is refused, and not each request.
#[test]
fn an_rsa_key_needs_a_host_that_signs() {
    let client = json!({
        "client_id": "rs", "client_auth": "private_key_jwt", "client_key": include_str!("keys/rsa-pkcs8.pem"),
    });
    let config = json!({"providers": {
        "issuer": "https://idp.example.com", "audiences": "a", "validation": "introspection", "introspection": client,
    }});
    let functions: [(Option<Function>, bool); 5] = [
        (Some(sign_with_rsa), true),
        (None, false),
        (Some(|_| vec![]), false),
        (Some(|_| vec![0xff; 9]), false),
        (Some(|_| [&[0x08, 1, 0x12, 0x80, 0x02], [1; 256].as_slice()].concat()), false),
    ];
    for (function, is_taken) in functions {
        let envoy = Envoy::at(NOW);
        if let Some(function) = function {
            host(|host| host.functions.insert("sign", function));
        }
        assert_eq!(envoy.configure(config.to_string()), is_taken);
    }
}

// ---------------------------------------------------------------------------------------------- waiting

/// HDR-14.
#[test]
fn a_cold_request_waits_for_two_calls_and_goes_on_once() {
    let envoy = cold();
    let stream = envoy.request(request(&GOOD));
    assert_eq!(stream.fate(), Fate::Waits);
    assert_eq!(
        trace(),
        ["list request", "clock", "clock", "call GET /.well-known/openid-configuration", "clock", "clock", "tick 1000"]
    );
    envoy.answer_all(|call| {
        // Others join, and nothing is sent twice.
        let joined = envoy.request(request(&GOOD));
        assert_eq!((joined.fate(), calls()), (Fate::Waits, vec![call.path()]));
        joined.end();
        trace();
        provider(call)
    });
    assert_eq!(identity(&upstream(stream)), ANN);
    let trace = trace();
    let of_the_request =
        |name: &&String| !["clock", "define", "record", "share", "tick"].iter().any(|other| name.starts_with(other));
    assert_eq!(
        trace.iter().filter(of_the_request).collect::<Vec<_>>(),
        [
            "list answer",
            "read answer",
            "count oidc_fetches_total;provider=idp;kind=jwks;result=ok",
            "act on a stream",
            "remove request x_user",
            "set request cookie",
            "set request x-user",
            "set request x-oidc-metadata-claims",
            "state oidc.claims",
            "property oidc.result",
            "state oidc.result",
            "count oidc_requests_total;result=allowed;reason=none;provider=idp",
            "count oidc_verifications_total;alg=EdDSA;backend=wasm",
            "count oidc_token_cache_total;result=miss",
            "continue",
        ]
    );
    assert_eq!((stream.body(), stream.trailers(fields_of_trailers())), (CONTINUE, CONTINUE));
    assert_eq!(metric("oidc_fetches_total;provider=idp;kind=metadata;result=ok"), 1);
    assert_eq!(metric("oidc_fetches_total;provider=idp;kind=jwks;result=ok"), 1);
    assert_eq!(metric("oidc_jwks_keys;provider=idp"), 2);
}

/// HTP-06, HTP-07.
#[test]
fn nothing_passes_before_the_decision() {
    let envoy = cold();
    let stream = envoy.request(request(&GOOD));
    assert_eq!((stream.body(), stream.body()), (PAUSE, PAUSE));
    assert_eq!(stream.trailers(fields_of_trailers()), PAUSE);
    assert_eq!(stream.fate(), Fate::Waits);
    envoy.answer_all(provider);
    assert_eq!(identity(&upstream(stream)), ANN);
    assert_eq!(stream.look(|exchange| exchange.trailers.clone()), fields([("grpc-status", "0")]));
}

/// HTP-08.
#[test]
fn a_client_that_left_is_let_go() {
    let envoy = cold();
    let first = envoy.request(request(&GOOD));
    let second = envoy.request(request(&GOOD));
    let third = envoy.request(request(&token(json!({"aud": "other"}))));
    first.end();
    trace();
    envoy.answer_all(provider);
    assert_eq!(identity(&upstream(second)), ANN);
    assert_eq!(refusal(third), (401, "wrong_audience".to_owned()));
    assert_eq!(trace().iter().filter(|name| *name == "act on a stream").count(), 2);
    // The filter looks every second while anybody waits.
    envoy.tick();
    assert_eq!(envoy.period(), 10_000);
    for stream in [second, third] {
        stream.response(fields([(":status", "200")]));
        stream.end();
    }
}

/// ATK-19.
#[test]
fn no_shared_cache_keeps_one_users_cookie() {
    let envoy = warm();
    let answered = |sent: Fields| {
        let stream = envoy.request(request(&GOOD));
        assert_eq!(stream.response(sent), CONTINUE);
        stream.look(|exchange| exchange.response.clone())
    };
    let sent = fields([
        (":status", "200"),
        ("cache-control", "public, max-age=60"),
        ("cdn-cache-control", "max-age=600"),
        ("set-cookie", "theme=dark"),
        ("cache-control", "s-maxage=600"),
    ]);
    let response = answered(sent);
    assert_eq!(values(&response, "cache-control"), ["private, max-age=60"]);
    assert_eq!(values(&response, "cdn-cache-control"), [""; 0]);
    assert_eq!(values(&response, "set-cookie").len(), 2);
    for status in ["304", "404", "503"] {
        let response = answered(fields([(":status", status)]));
        assert_eq!(
            (values(&response, "cache-control"), values(&response, "set-cookie").len()),
            (vec!["private".to_owned()], 1)
        );
    }
    // Where no cookie is set, the response is the upstream's alone.
    let envoy = configured(config_with(json!({"user_info": []})));
    envoy.tick();
    envoy.answer_all(provider);
    let stream = envoy.request(request(&GOOD));
    stream.response(fields([(":status", "200"), ("cache-control", "public")]));
    assert_eq!(stream.look(|exchange| values(&exchange.response, "cache-control")), ["public"]);
}

/// ATK-19: neither does one keep a nonce, whatever else the upstream says to caches.
#[test]
fn no_shared_cache_keeps_a_nonce() {
    let envoy = configured(config_with(json!({"user_info": [], "dpop": {"origins": ["https://shop.example.com"]}})));
    envoy.tick();
    envoy.answer_all(provider);
    let key = SigningKey::from_bytes(&[9; 32]);
    let x = BASE64URL.encode(key.verifying_key().as_bytes());
    let jkt = BASE64URL.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)));
    let token = token(json!({"cnf": {"jkt": jkt}}));
    let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": {"crv": "Ed25519", "kty": "OKP", "x": x}});
    let ath = BASE64URL.encode(Sha256::digest(&token));
    let claims = json!({"jti": "1", "htm": "POST", "htu": "https://shop.example.com/orders", "iat": NOW, "ath": ath});
    let message = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
    let proof = format!("{message}.{}", BASE64URL.encode(key.sign(message.as_bytes()).to_bytes()));
    let stream = envoy.request(fields([
        (":method", "POST"),
        (":path", "/orders"),
        (":authority", "shop.example.com"),
        ("authorization", &format!("DPoP {token}")),
        ("dpop", &proof),
    ]));
    stream.response(fields([(":status", "200"), ("cache-control", "public"), ("cdn-cache-control", "max-age=600")]));
    let response = stream.look(|exchange| exchange.response.clone());
    assert_eq!(values(&response, "dpop-nonce").len(), 1);
    assert_eq!(values(&response, "cache-control"), ["no-store"]);
    assert_eq!(values(&response, "cdn-cache-control"), [""; 0]);
}

/// ATK-19: a response that could be kept for others has no cookie.
#[test]
fn no_cookie_without_its_cache_control() {
    for fault in ["list response", "set response cache-control", "remove response"] {
        let envoy = warm();
        let stream = envoy.request(request(&GOOD));
        fail(fault, INTERNAL_FAILURE);
        let sent = fields([(":status", "200"), ("cache-control", "public"), ("surrogate-control", "max-age=600")]);
        assert_eq!(stream.response(sent), CONTINUE);
        heal();
        assert_eq!(stream.look(|exchange| values(&exchange.response, "set-cookie")), [""; 0], "{fault}");
        assert!(log().contains("a header could not be set on a response"));
    }
}

/// ATK-20: Envoy makes 200 of every local reply to what looks like a gRPC call: to a proxy that asks, that would be a
/// yes.
#[test]
fn a_no_to_another_proxy_stays_one() {
    let ask = |envoy: &Envoy, token: Option<&str>, media_type: &str| {
        let mut asked = fields([
            (":method", "GET"),
            (":path", "/verify/orders"),
            (":authority", "shop.example.com"),
            ("content-type", media_type),
        ]);
        asked.extend(token.map(|token| (b"authorization".to_vec(), format!("Bearer {token}").into_bytes())));
        envoy.request(asked)
    };
    let as_envoy_answers = |stream: Stream| {
        let answered = stream.response(fields([(":status", "200"), ("grpc-status", "16")]));
        (answered, stream.look(|exchange| values(&exchange.response, ":status")).concat())
    };
    let envoy = configured(config_with(json!({"verify_path": "/verify"})));
    envoy.tick();
    envoy.answer_all(provider);
    for media_type in ["application/grpc", "application/grpc+proto", "application/json"] {
        assert_eq!(as_envoy_answers(ask(&envoy, None, media_type)), (CONTINUE, "401".to_owned()));
        assert_eq!(as_envoy_answers(ask(&envoy, Some(&EXPIRED), media_type)), (CONTINUE, "401".to_owned()));
        assert_eq!(as_envoy_answers(ask(&envoy, Some(&GOOD), media_type)), (CONTINUE, "204".to_owned()));
        // Envoy's own answer to one that waits.
        assert_eq!(as_envoy_answers(ask(&envoy, Some("0paque"), media_type)), (CONTINUE, "503".to_owned()));
    }
    let stream = ask(&envoy, None, "application/grpc");
    fail("set response :status", INTERNAL_FAILURE);
    assert_eq!(as_envoy_answers(stream).0, PAUSE, "no answer is no yes");
    heal();
    // Without a filter nobody knows what a question is.
    let envoy = Envoy::at(NOW);
    assert_eq!(as_envoy_answers(ask(&envoy, None, "application/grpc")), (CONTINUE, "503".to_owned()));
}

/// A gRPC call, on the other hand, has its status in `grpc-status`.
#[test]
fn grpc_calls_are_answered_as_grpc() {
    let envoy = warm();
    let mut call = plain_request();
    call.push((b"content-type".to_vec(), b"application/grpc".to_vec()));
    let stream = envoy.request(call);
    let Reply { status, grpc_status, body, fields: sent, .. } = reply(stream);
    assert_eq!((status, grpc_status, &*body), (401, 16, "missing_token: no access token was sent"));
    assert_eq!(values(&sent, "content-type"), [""; 0]);
    assert_eq!(stream.response(fields([(":status", "200"), ("grpc-status", "16")])), CONTINUE);
    assert_eq!(stream.look(|exchange| values(&exchange.response, ":status")), ["200"]);
    assert_eq!(reply(envoy.request(plain_request())).grpc_status, -1);
}

/// OUT-06.
#[test]
fn an_answer_outlives_the_request_that_asked() {
    let envoy = cold();
    envoy.request(request(&GOOD)).end();
    assert_eq!(calls().len(), 1);
    envoy.answer_all(provider);
    trace();
    upstream(envoy.request(request(&GOOD)));
    assert_eq!(calls(), [""; 0]);
}

#[test]
fn a_stream_that_ended_unannounced_is_passed_over() {
    let envoy = cold();
    let gone = envoy.request(request(&GOOD));
    let other = envoy.request(request(&GOOD));
    gone.vanish();
    envoy.answer_all(provider);
    upstream(other);
}

/// OUT-05.
#[test]
fn a_call_that_cannot_be_sent_ends_the_request_at_once() {
    for status in [BAD_ARGUMENT, INTERNAL_FAILURE] {
        let envoy = cold();
        fail("call", status);
        let stream = envoy.request(request(&GOOD));
        assert_eq!(refusal(stream), (503, "provider_unavailable".to_owned()));
        let retry = values(&reply(stream).fields, "retry-after");
        assert_eq!(retry, ["1"]);
        assert_eq!(metric("oidc_fetches_total;provider=idp;kind=metadata;result=failed"), 1);
        assert!(log().contains("could not be sent to the cluster \"idp.example.com\""), "{}", log());
        assert!((1..=1000).contains(&envoy.period()), "{}", envoy.period());
        heal();
        envoy.pass(Duration::from_secs(2));
        assert_eq!(calls(), ["/.well-known/openid-configuration"]);
        envoy.answer_all(provider);
        upstream(envoy.request(request(&GOOD)));
    }
}

/// OUT-05.
#[test]
fn without_enforcement_such_a_request_goes_on_without_an_identity() {
    let envoy = configured(config_with(json!({"enforce": false})));
    fail("call", BAD_ARGUMENT);
    let forwarded = upstream(envoy.request(request(&GOOD)));
    assert_eq!(identity(&forwarded), ["theme=dark"]);
    assert_eq!(values(&forwarded, "authorization"), [""; 0]);
    assert_eq!(trace().last().map(String::as_str), Some("tick 1000"));
}

/// OUT-06, ATK-22: Envoy tells of a stream of HTTP/2 that broke a rule amid its codec. A call that is sent there crashes it, and so does
/// a request that goes on there.
#[test]
fn nothing_follows_from_a_failure_before_the_next_tick() {
    for failure in [None, answer(503, "upstream connect error"), answer(404, ""), answer(302, "")] {
        let envoy = cold();
        let stream = envoy.request(request(&GOOD));
        assert_eq!(calls(), ["/.well-known/openid-configuration"]);
        envoy.answer(host(|host| *host.calls.first_key_value().unwrap().0), failure.clone());
        assert_eq!((calls().len(), envoy.period()), (0, 1));
        envoy.tick();
        assert_eq!(calls(), ["/.well-known/oauth-authorization-server"]);
        envoy.answer(host(|host| *host.calls.first_key_value().unwrap().0), failure);
        assert!(matches!(stream.fate(), Fate::Waits));
        envoy.tick();
        assert_eq!(refusal(stream), (503, "provider_unavailable".to_owned()));
    }
}

/// OUT-06.
#[test]
fn a_call_without_an_answer() {
    let envoy = cold();
    let stream = envoy.request(request(&GOOD));
    // Reset after the headers: Envoy hands over neither headers nor body.
    envoy.answer_all(|_| None);
    assert_eq!(refusal(stream), (503, "provider_unavailable".to_owned()));
    assert!(!trace().iter().any(|name| name.contains("answer")), "nothing is there to be read");

    // Never answered at all.
    envoy.pass(Duration::from_secs(20));
    let stream = envoy.request(request(&GOOD));
    envoy.pass(A_WHILE);
    assert_eq!(refusal(stream).0, 503);
}

/// OUT-09.
#[test]
fn no_more_of_an_answer_is_read_than_is_of_use() {
    let envoy = cold();
    let stream = envoy.request(request(&GOOD));
    envoy.answer_all(|call| match call.path().as_str() {
        "/keys" => answer(200, &" ".repeat(32 << 20)),
        _ => provider(call),
    });
    assert_eq!(host(|host| host.largest), MAX_ANSWER_BYTES + 1);
    assert_eq!(refusal(stream), (503, "provider_unavailable".to_owned()));
    assert!(log().contains("the answer is larger than"), "{}", log());
}

/// INT-11, LOG-01.
#[test]
fn a_token_is_asked_about_with_the_secret_and_the_log_holds_neither() {
    let envoy = warm();
    let stream = envoy.request(request("0paque"));
    assert_eq!(calls(), ["/introspect"]);
    let call = host(|host| host.calls.values().next().cloned()).unwrap();
    assert_eq!(String::from_utf8_lossy(&call.body), "token=0paque&token_type_hint=access_token");
    assert_eq!(values(&call.fields, "authorization"), ["Basic Z2F0ZXdheTpzM2NyZXQ="]);
    envoy.answer_all(|_| answer(500, "0paque s3cret"));
    assert_eq!(refusal(stream), (503, "provider_unavailable".to_owned()));
    fail("call", BAD_ARGUMENT);
    envoy.request(request("0paque"));
    heal();
    assert!(["0paque", "s3cret", "Z2F0ZXdheTpzM2NyZXQ"].iter().all(|secret| !log().contains(secret)), "{}", log());
    assert!(log().contains("could not be sent"), "{}", log());

    let stream = envoy.request(request("0paque"));
    envoy.answer_all(provider);
    assert_eq!(identity(&upstream(stream)), ANN);
    assert_eq!(metric("oidc_fetches_total;provider=idp;kind=introspection;result=ok"), 1);
    assert_eq!(metric("oidc_fetches_total;provider=idp;kind=introspection;result=failed"), 2);
}

/// UIF-04: Userinfo proves less than introspection. Where the provider leaves no choice, the operator is told.
#[test]
fn the_operator_is_told_that_userinfo_decides() {
    let told = "opaque tokens go to userinfo, which proves no audience";
    let userinfo = json!({"userinfo_endpoint": "https://idp.example.com/userinfo"});
    for (validation, own, is_told) in
        [("auto", &userinfo, true), ("jwt", &userinfo, false), ("auto", &json!({}), false)]
    {
        let without_introspection = |call: &Call| match call.path().as_str() {
            "/.well-known/openid-configuration" => {
                let mut metadata = own.clone();
                metadata["issuer"] = json!("https://idp.example.com");
                metadata["jwks_uri"] = json!("https://idp.example.com/keys");
                answer(200, &metadata.to_string())
            }
            _ => provider(call),
        };
        let only = json!({"issuer": "https://idp.example.com", "audiences": "api", "validation": validation});
        let envoy = configured(config_with(json!({"providers": [only]})));
        envoy.tick();
        envoy.answer_all(without_introspection);
        assert_eq!(log().contains(told), is_told, "{validation} with {own}: {}", log());
    }
    let envoy = warm();
    upstream(envoy.request(request(&GOOD)));
    assert!(!log().contains(told), "{}", log());
}

// ---------------------------------------------------------------------------------------------- time

#[test]
fn ticks_come_when_there_is_something_to_do() {
    let envoy = cold();
    assert_eq!(envoy.period(), 1);
    envoy.tick();
    assert_eq!((envoy.period(), calls().len()), (1000, 1), "a call is under way");
    envoy.answer_all(provider);
    envoy.tick();
    assert_eq!(envoy.period(), 10_000, "nothing to do");
    trace();
    envoy.pass(Duration::from_secs(569));
    assert_eq!(trace().iter().filter(|name| name.starts_with("tick")).count(), 56);
    assert_eq!(calls(), [""; 0]);
    envoy.pass(Duration::from_secs(2));
    assert_eq!(calls(), ["/keys"], "half a minute before they are stale");
    assert_eq!(metric("oidc_jwks_age_seconds;provider=idp"), 571);
    envoy.answer_all(|_| None);
    for pause in [1, 2, 4, 8, 16, 16] {
        trace();
        envoy.pass(Duration::from_millis(pause * 1000 - 1));
        assert!(!calls().contains(&"/keys".to_owned()), "before {pause} s");
        envoy.pass(Duration::from_millis(1));
        assert!(calls().contains(&"/keys".to_owned()), "after {pause} s");
        assert!(trace().iter().filter(|name| name.starts_with("tick")).count() < 20);
        envoy.answer_all(|call| provider(call).filter(|_| call.path() != "/keys"));
    }
    assert_eq!(metric("oidc_jwks_keys;provider=idp"), 2);
    upstream(envoy.request(request(&GOOD)));
}

#[test]
fn ticks_come_however_much_else_happens() {
    let envoy = warm();
    let lost = envoy.request(request("lost"));
    let token = host(|host| *host.calls.first_key_value().unwrap().0);
    for index in 0..60 {
        envoy.pass(Duration::from_millis(500));
        let other = envoy.request(request(&format!("other{index}")));
        let others: Vec<u32> = host(|host| host.calls.keys().copied().filter(|other| *other != token).collect());
        others.into_iter().for_each(|other| envoy.answer(other, answer(200, r#"{"active":false}"#)));
        assert_eq!(refusal(other), (401, "inactive".to_owned()));
    }
    assert_eq!(refusal(lost), (503, "provider_unavailable".to_owned()));
}

// ---------------------------------------------------------------------------------------------- failing hosts

/// One worker's day, from its configuration on: requests that wait, are let go on, are refused, and leave.
struct Day {
    envoy: Envoy,
    streams: Vec<Stream>,
    /// What had become of a request before its client left.
    left: Fate,
}

impl Day {
    fn new(config: &str, fault: Option<Fault>) -> Self {
        let envoy = Envoy::at(NOW);
        host(|host| host.fault = fault);
        assert!(envoy.configure(config));
        let mut streams: Vec<Stream> =
            [&GOOD, &EXPIRED, "opaque"].iter().map(|token| envoy.request(request(token))).collect();
        let leaving = envoy.request(request(&GOOD));
        let left = leaving.fate();
        leaving.end();
        streams[0].body();
        streams[2].trailers(fields_of_trailers());
        envoy.answer_all(provider);
        streams.extend([&GOOD, "two words"].iter().map(|token| envoy.request(request(token))));
        streams.push(envoy.request(plain_request()));
        for stream in &streams {
            if matches!(stream.fate(), Fate::Forwarded(_)) && stream.look(|exchange| exchange.trailers.is_empty()) {
                stream.body();
                stream.trailers(fields_of_trailers());
            }
        }
        for _ in 0..A_WHILE.as_secs() {
            // Where the timer can't be set any more, a thousand ticks in a second would show no more than one.
            host(|host| host.slow_timer());
            envoy.pass(Duration::from_secs(1));
            envoy.answer_all(provider);
        }
        Self { envoy, streams, left }
    }

    fn fates(&self) -> Vec<(Fate, FilterState)> {
        self.streams.iter().map(|s| (s.fate(), s.look(|exchange| exchange.filter_state.clone()))).collect()
    }
}

/// A day on which one host call fails, or all of some kind, beside one on which none does.
fn compare(config: &str, undisturbed: &[(Fate, FilterState)], failing: &str, fault: Fault) {
    let day = Day::new(config, Some(fault));
    let lenient = config.contains("\"enforce\":false");
    // What can't be answered, and what can't even be acted on, stays on hold.
    let may_hang = failing.contains("reply") || failing.contains("act on") || failing.contains("everything");
    let mut refused = u64::from(matches!(day.left, Fate::Answered(_)));
    for (index, ((fate, state), (proper, proper_state))) in day.fates().iter().zip(undisturbed).enumerate() {
        let context = format!("request {index}, failing {failing}");
        match fate {
            Fate::Waits => assert!(may_hang, "{context}: still waits"),
            Fate::Answered(reply) if proper == fate => assert!(reply.status >= 400),
            Fate::Answered(reply) => assert!(matches!(reply.status, 400 | 503), "{context}: {reply:?}"),
            Fate::Forwarded(fields) if lenient && (fate, state) != (proper, proper_state) => {
                assert_eq!((identity(fields), values(fields, "authorization")), (vec!["theme=dark".into()], vec![]));
                assert_eq!(state.get("oidc.result").unwrap(), b"stripped", "{context}");
            }
            Fate::Forwarded(_) => assert_eq!((fate, state), (proper, proper_state), "{context}"),
        }
        refused += u64::from(matches!(fate, Fate::Answered(_)));
        let trailers = day.streams[index].look(|exchange| exchange.trailers.clone());
        assert!(trailers.is_empty() || trailers == fields([("grpc-status", "0")]), "{context}: {trailers:?}");
    }
    let counted = host(|host| {
        let denied = |(name, _): &&(String, u64)| name.starts_with("oidc_requests_total;result=denied");
        host.metrics.iter().filter(denied).map(|(_, value)| value).sum::<u64>()
    });
    let miscounts = ["define", "count", "continue", "trailers"].iter().any(|name| failing.contains(name));
    assert!(may_hang || miscounts || counted == refused, "failing {failing}: {counted} of {refused} counted");
    let can_tick = !["tick", "everything"].iter().any(|name| failing.contains(name));
    assert!(!can_tick || day.envoy.period() >= 100, "failing {failing}: every {} ms", day.envoy.period());
}

/// WSM-09.
#[test]
fn no_failing_host_call_opens_the_gate() {
    compare_all(&config_with(json!({})));
}

/// WSM-09.
#[test]
fn no_failing_host_call_makes_an_identity() {
    compare_all(&config_with(json!({"enforce": false})));
}

/// Makes each host call of a day fail with what Envoy may answer; then every call of a kind with whatever a host may
/// answer; then all from one on.
fn compare_all(config: &str) {
    let (undisturbed, names) = {
        let day = Day::new(config, None);
        (day.fates(), trace())
    };
    assert!(undisturbed.iter().any(|(fate, _)| matches!(fate, Fate::Forwarded(_))));
    assert!(!undisturbed.iter().any(|(fate, _)| *fate == Fate::Waits));
    // Without the configuration, which is read first but one, there is nothing to compare. The host's cryptography
    // plays no part on this day.
    let names = || names.iter().enumerate().skip(2).filter(|(_, name)| *name != "foreign verify_signature");
    // The SDK itself makes calls to clusters, and knows only these two ways in which they fail.
    let is_possible =
        |name: &str, status| !name.starts_with("call") || [BAD_ARGUMENT, INTERNAL_FAILURE].contains(&status);
    for (at, name) in names() {
        for status in
            [NOT_FOUND, BAD_ARGUMENT, INTERNAL_FAILURE].into_iter().filter(|status| is_possible(name, *status))
        {
            let fault = move |count, _: &str| (count == at).then_some(status);
            compare(config, &undisturbed, &format!("{name} ({at}, {status})"), Box::new(fault));
        }
    }
    let kinds: BTreeSet<String> =
        names().map(|(_, name)| name.split(' ').take(2).collect::<Vec<_>>().join(" ")).collect();
    for kind in kinds {
        for status in (1..=12).filter(|status| is_possible(&kind, *status)) {
            let failing = kind.clone();
            let fault = move |_, name: &str| name.starts_with(&failing).then_some(status);
            compare(config, &undisturbed, &format!("{kind}, always ({status})"), Box::new(fault));
        }
    }
    for (at, _) in names() {
        let fault = move |count, _: &str| (count >= at).then_some(INTERNAL_FAILURE);
        compare(config, &undisturbed, &format!("everything from {at} on"), Box::new(fault));
    }
}

/// WSM-09.
#[test]
fn a_host_without_a_log() {
    let envoy = Envoy::at(NOW);
    host(|host| host.mute = true);
    assert!(!envoy.configure("{"));
    assert!(envoy.configure(config().to_string()));
    fail("call", BAD_ARGUMENT);
    assert_eq!(refusal(envoy.request(request("opaque"))), (503, "provider_unavailable".to_owned()));
}
