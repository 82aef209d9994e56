//! Attacks on what the filter remembers, whom it calls and what it costs: see `docs/security/cases.md`.

use crate::listener::heard;
use crate::scene::*;
use oidc_filter::config::Config;
use oidc_filter::decision::Decision;
use oidc_filter::filter::{Filter, StreamId};
use oidc_filter::http::{Headers, Response};
use oidc_filter::json;
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

/// Ten seconds, in which nothing but a loop within a loop does not come to its end, on the slowest machine.
#[track_caller]
pub fn in_linear_time(what: &str, work: impl FnOnce()) {
    let taken = time_of(work);
    assert!(taken < Duration::from_secs(10), "{what}: {taken:?}");
}

#[expect(clippy::disallowed_methods, reason = "what is measured is this machine, not the filter's time")]
pub fn time_of(work: impl FnOnce()) -> Duration {
    let begun = std::time::Instant::now();
    work();
    begun.elapsed()
}

fn answers(body: Value) -> Option<Response> {
    let headers = Headers::from_pairs([("content-type", "application/json")]);
    Some(Response { status: 200, headers, body: body.to_string().into_bytes() })
}

// ---------------------------------------------------------------------------------------------- memory

/// CCH-03: a provider and a token, joined, must not be another provider and another token.
#[test]
fn names_and_tokens_that_join_to_the_same_text() {
    let provider = |issuer: &str, name: &str| json!({"issuer": issuer, "name": name, "audiences": AUDIENCE, "validation": "introspection"});
    let other = "https://other.example";
    let sources = json!([{"key": "x-one", "provider": "a"}, {"key": "x-two", "provider": "a:b"}]);
    for (first, second) in [("b:c", "c"), ("bc", "c"), (":b:c", "c"), ("t", "t")] {
        let mut scene =
            Scene::cold(json!({"providers": [provider(ISSUER, "a"), provider(other, "a:b")], "access_token": sources}));
        scene.provider.add_issuer(other, &[]);
        scene.provider.serve(&format!("{other}/introspect"), says_json(json!({"active": false})));
        scene.tick();
        scene.provider.tokens.insert(first.to_owned(), active(json!({})));
        for _ in 0..2 {
            scene.send(bare().header("x-one", first)).allowed();
            scene.send(bare().header("x-two", second)).refused(401, "inactive");
        }
        assert_eq!(scene.count("/introspect"), 2, "{first} {second}: each is remembered for itself");
    }
}

/// CCH-10: what was true when the request came is looked at again when it goes on.
#[test]
fn the_end_of_a_token_while_its_request_waits() {
    let end = Timestamp::from_unix_seconds(NOW + 10);
    let mut scene = Scene::cold(jwt(json!({"clock_skew": 0}), json!({})));
    let stream = scene.begin(bearer(&token(json!({"exp": NOW + 10}))));
    assert!(scene.seen(stream).is_waiting());
    scene.set_clock(end);
    scene.settle();
    scene.seen(stream).refused(401, "expired");

    let mut scene = Scene::of(introspection(json!({"clock_skew": 0}), json!({})));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"exp": NOW + 10})));
    let stream = scene.begin(bearer("opaque"));
    scene.set_clock(end);
    scene.settle();
    scene.seen(stream).refused(401, "expired");
    scene.send(bearer("opaque")).refused(401, "expired");

    // Known, and over in the same instant in which it is asked for.
    let mut scene = Scene::of(jwt(json!({"clock_skew": 0}), json!({})));
    let token = token(json!({"exp": NOW + 10}));
    scene.send(bearer(&token)).allowed();
    scene.set_clock(end.saturating_sub(Duration::from_nanos(1)));
    assert_eq!(scene.send(bearer(&token)).allowed().cached, Some(true));
    scene.set_clock(end);
    scene.send(bearer(&token)).refused(401, "expired");
}

/// Whoever sends tokens that are too long, again and again, hides no outage from the operator.
#[test]
fn one_complaint_hides_no_other() {
    let mut scene = Scene::of(introspection(json!({}), json!({})));
    scene.provider.at("/introspect", status(500));
    heard();
    for second in 0..3 {
        for _ in 0..10 {
            scene.send(bearer(&"x".repeat(17_000))).refused(401, "malformed_token");
            scene.send(bearer(&format!("opaque-{second}"))).refused(503, "provider_unavailable");
        }
        let lines = heard();
        let count = |text: &str| lines.iter().filter(|line| line.contains(text)).count();
        assert_eq!((count("is longer than `max_token_size`"), count("introspection: POST")), (1, 1), "{lines:?}");
        scene.pass_seconds(1);
    }
}

/// ENC-14: Tokens that hold groups by the hundred: the limit says its name, and can be raised.
#[test]
fn the_longest_token_is_for_the_operator_to_say() {
    let of_size = |size: usize| {
        let base = token(json!({"x": ""})).len();
        token(json!({"x": "x".repeat((size - base) * 3 / 4)}))
    };
    let mut usual = Scene::of(jwt(json!({}), json!({})));
    usual.send(bearer(&of_size(16_000))).allowed();
    heard();
    usual.send(bearer(&of_size(17_000))).refused(401, "malformed_token");
    assert!(heard().iter().any(|line| line.contains("`max_token_size`, 16384 bytes")));

    let raised = |validation: &str, size: usize| {
        let provider = json!({"validation": validation});
        let source = json!([{"key": "authorization"}, {"location": "cookie", "key": "t"}, {"location": "query_string", "key": "t"}]);
        Scene::of(auto(provider, json!({"max_token_size": size, "access_token": source})))
    };
    for validation in ["jwt", "introspection", "userinfo", "auto"] {
        for size in [1024, 20_000, 61_440] {
            let mut scene = raised(validation, size);
            let longest = of_size(size);
            assert!(longest.len() > size - 4 && longest.len() <= size, "{}", longest.len());
            let opaque = "~".repeat(size);
            for token in [&longest, &opaque] {
                scene.provider.tokens.insert(token.clone(), active(json!({})));
                scene.provider.users.insert(token.clone(), json!({"sub": "ann"}));
            }
            scene.send(bearer(&longest)).allowed();
            scene.send(bare().header("cookie", format!("t={longest}"))).allowed();
            scene.send(get(format!("/p?t={longest}"))).allowed();
            if validation != "jwt" {
                scene.send(bearer(&opaque)).allowed();
            }
            scene.send(bearer(&format!("{opaque}~"))).refused(401, "malformed_token");
            scene.send(bearer(&of_size(size + 8))).refused(401, "malformed_token");
        }
    }
}

/// DOS-06: Questions about long tokens take no more memory than those about usual ones.
#[test]
fn questions_about_long_tokens_are_weighed() {
    let config = json!({"max_token_size": 61_440, "providers": (0..3).map(|number| json!({
        "issuer": format!("https://idp{number}.example.com"), "audiences": AUDIENCE, "validation": "introspection",
        "token_prefixes": format!("{number}_"),
        "introspection": {"endpoint": format!("https://idp{number}.example.com/introspect")},
    })).collect::<Vec<_>>()});
    let config = Config::read(config.to_string().as_bytes(), &|_: &str| None).unwrap();
    let mut filter = Filter::new(Rc::new(config), "oidc");
    let now = Timestamp::from_unix_seconds(NOW);
    let mut begin = |number: u32, token: &str| {
        let stream = StreamId(number);
        let decision = filter.on_request(stream, bearer(token).request(), now);
        filter.take_effects();
        filter.on_closed(stream);
        decision
    };
    let most = (64 << 20) / 60_000;
    for number in 0..most {
        let token = format!("{}_{number:04}{}", number % 3, "a".repeat(59_994));
        assert_eq!(begin(number, &token), Decision::Wait, "{number}");
    }
    assert!(matches!(begin(most, &format!("0_{}", "b".repeat(59_998))), Decision::Answer(_)));
    // The usual ones have their own room.
    assert_eq!(begin(most + 1, "0_usual"), Decision::Wait);
}

/// DOS-06: what is remembered of worthless tokens has an end: the first makes room for the last.
#[test]
fn worthless_tokens_take_no_more_than_their_room() {
    let mut scene = Scene::of(introspection(json!({"introspection": {"negative_cache": "1h"}}), json!({})));
    let ask = |scene: &mut Scene, token: &str| {
        let before = scene.count("/introspect");
        scene.send(bearer(token)).refused(401, "inactive");
        scene.count("/introspect") - before
    };
    assert_eq!((ask(&mut scene, "first"), ask(&mut scene, "first")), (1, 0));
    for number in 0..4_096 {
        ask(&mut scene, &format!("worthless-{number}"));
    }
    assert_eq!(ask(&mut scene, "worthless-4095"), 0, "the last is still known");
    assert_eq!(ask(&mut scene, "first"), 1, "the first is forgotten");
}

// ---------------------------------------------------------------------------------------------- calls

/// WSM-10, OUT-06: an answer to a call that has ended already is nobody's.
#[test]
fn an_answer_that_comes_again() {
    let mut scene = Scene::of(introspection(json!({"introspection": {"negative_cache": 0}}), json!({})));
    let stream = scene.begin(bearer("opaque"));
    scene.answer(0, None);
    scene.seen(stream).refused(503, "provider_unavailable");
    // Too late, and twice: it vouches for nobody, neither now nor later.
    scene.answer_again(0, answers(active(json!({}))));
    scene.answer_again(0, answers(active(json!({}))));
    scene.send(bearer("opaque")).refused(401, "inactive");
    assert_eq!(scene.count("/introspect"), 2);
    let stream = scene.begin(bearer("another"));
    scene.answer_again(0, answers(active(json!({}))));
    assert!(scene.seen(stream).is_waiting(), "it is no answer to another call either");
    scene.settle();
    scene.seen(stream).refused(401, "inactive");
}

/// OUT-02: each endpoint that metadata may name: called only where the operator's clusters lead.
#[test]
fn no_endpoint_leads_elsewhere() {
    type Kind = fn(Value, Value) -> Value;
    let cold = |member: &str, kind: Kind, url: &str| {
        let mut scene = Scene::cold(kind(json!({"cluster": "idp"}), json!({})));
        scene.provider.metadata(json!({member: url}));
        scene.tick();
        scene
    };
    let kinds: [(&str, Kind); 3] =
        [("jwks_uri", jwt), ("introspection_endpoint", introspection), ("userinfo_endpoint", userinfo)];
    for (member, kind) in kinds {
        for url in [
            "https://evil.example/x",
            "https://idp.example.com:8443/x",
            "https://idp.example.com@evil.example/x",
            "https://evil@idp.example.com/x",
            "https://idp.example.com.evil.example/x",
            "https://evil.example#idp.example.com/x",
            "https://evil.example\\@idp.example.com/x",
            "http://127.0.0.1/x",
            "http://[::1]/x",
            "http://[::ffff:169.254.169.254]/x",
            "http://169.254.169.254/latest/meta-data/",
            "http://0x7f000001/x",
            "ftp://idp.example.com/x",
            "file:///etc/passwd",
            "//evil.example/x",
            "x",
        ] {
            let mut scene = cold(member, kind, url);
            let Seen::Refused(refusal) = scene.send(bearer(&good())) else { panic!("{member} {url}") };
            assert_eq!(refusal.status, 503, "{member} {url}");
            let known = |call: &Call| call.url.starts_with(&format!("{ISSUER}/.well-known/")) && call.cluster == "idp";
            assert!(scene.calls.iter().all(known), "{member} {url}: {:?}", scene.calls);
        }
        // `http` on the issuer's own host: Envoy's cluster decides about TLS, and it is the same cluster.
        let mut scene = cold(member, kind, "http://idp.example.com/x");
        scene.send(bearer(&good()));
        assert!(scene.calls.iter().all(|call| call.cluster == "idp"), "{member}");
    }
}

/// OUT-07: While keys are on their way, a request with two tokens is malformed at once, and waits for nothing.
#[test]
fn two_tokens_while_keys_are_fetched() {
    let mut scene = Scene::cold(jwt(json!({}), json!({"allow_missing": true})));
    let first = scene.begin(bearer(&good()));
    assert!(scene.seen(first).is_waiting());
    for ask in [bearer(&good()).bearer(&good()), bearer(&good()).bearer("x"), bearer("x").bearer(&good())] {
        let stream = scene.begin(ask);
        scene.seen(stream).refused(400, "invalid_request");
    }
    assert_eq!(scene.waiting(), 1);
    scene.settle();
    scene.seen(first).allowed();
}

// ---------------------------------------------------------------------------------------------- time

/// DOS-04: a hundred thousand members, all of whose names begin alike.
#[test]
fn many_members_take_linear_time() {
    let member = |number: usize| format!("\"{}{number}\":{number}", "a".repeat(20));
    let text = format!("{{{}}}", (0..100_000).map(member).collect::<Vec<_>>().join(","));
    in_linear_time("a hundred thousand members", || {
        let object = json::parse_object(text.as_bytes()).unwrap();
        assert_eq!(object.len(), 100_000);
        let twice = format!("{},{}}}", text.strip_suffix('}').unwrap(), member(7));
        assert_eq!(json::parse_object(twice.as_bytes()), Err(json::Error::DuplicateMember));
        assert!(json::memory_size(&object) > text.len());
    });
    // No answer about one token is that large.
    let mut scene = Scene::of(introspection(json!({}), json!({})));
    scene.provider.at("/introspect", says(200, "application/json", text.replacen('{', "{\"active\":true,", 1)));
    scene.send(bearer("opaque")).refused(503, "provider_unavailable");
}

/// DOS-05: Patterns of the operator on text of the client: those that make other engines run for ever.
#[test]
fn patterns_take_linear_time() {
    let hostile = format!("{}!", "a".repeat(8_000));
    for pattern in ["(a+)+", "(a|a)*", "(a*)*b", "(.*)(.*)(.*)(.*)x", "(a|aa)+$", "^(([a-z])+.)+[A-Z]"] {
        let require = json!({"require": {"claims": {"claim": "c", "matches": pattern}}});
        let mut scene = Scene::of(jwt(json!({}), require));
        in_linear_time(pattern, || {
            scene.send(bearer(&token(json!({"c": hostile})))).refused(403, "insufficient_claims");
            let transformers = json!({"matches": pattern, "replaces": "$1"});
            let output = json!({"claim_headers": {"header": "h", "claim": "c", "transformers": transformers}});
            Scene::of(jwt(json!({}), output)).send(bearer(&token(json!({"c": hostile})))).allowed();
        });
    }
    let too_large = "(?:(?:(?:a{100}){100}){100}){100}";
    let require = json!({"require": {"claims": {"claim": "c", "matches": too_large}}});
    let error = Config::read(jwt(json!({}), require).to_string().as_bytes(), &|_: &str| None).unwrap_err();
    assert!(error.to_string().starts_with("require.claims.matches: "), "{error}");
}
