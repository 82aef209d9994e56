//! What is remembered of tokens, for how long, and for whom (CCH, AR-30 to AR-34, INT-13, INT-14).

use crate::scene::*;
use crate::support::with;
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

fn scene(settings: Value) -> Scene {
    let mut scene = Scene::of(introspection(json!({"introspection": settings}), json!({})));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene
}

/// AR-30, AR-31.
#[test]
fn an_answer_is_believed_for_a_minute() {
    let mut scene = scene(json!({}));
    for _ in 0..3 {
        scene.send(bearer("opaque")).allowed();
    }
    scene.pass_seconds(59);
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.count("/introspect"), 1);
    scene.pass_seconds(2);
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.count("/introspect"), 2);
}

#[test]
fn the_time_is_the_operators() {
    let mut scene = scene(json!({"cache": "5m"}));
    scene.send(bearer("opaque")).allowed();
    scene.pass_seconds(299);
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.count("/introspect"), 1);
    scene.pass_seconds(2);
    scene.provider.tokens.clear();
    scene.send(bearer("opaque")).refused(401, "inactive");
}

/// MV-07: without a cache, a token that was revoked ends at once.
#[test]
fn no_cache() {
    let mut scene = scene(json!({"cache": 0}));
    scene.send(bearer("opaque")).allowed();
    scene.pass(Duration::from_millis(1));
    scene.provider.tokens.clear();
    scene.send(bearer("opaque")).refused(401, "inactive");
    assert_eq!(scene.count("/introspect"), 2);
}

/// WSM-06: an earlier yes, long over, must not be back with the clock.
#[test]
fn a_token_that_was_revoked_stays_revoked_when_the_clock_goes_back() {
    let mut scene = scene(json!({}));
    scene.send(bearer("opaque")).allowed();
    scene.pass_seconds(61);
    scene.provider.tokens.clear();
    scene.send(bearer("opaque")).refused(401, "inactive");
    scene.set_clock(Timestamp::from_unix_seconds(NOW + 30));
    scene.send(bearer("opaque")).refused(401, "inactive");
}

/// CCH-01, AR-32: RFC 7662, section 4, forbids to believe an answer beyond `exp`.
#[test]
fn nothing_is_remembered_beyond_exp() {
    let mut scene = scene(json!({"cache": "1h"}));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"exp": NOW + 10})));
    scene.send(bearer("opaque")).allowed();
    scene.pass_seconds(10);
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.count("/introspect"), 1);
    scene.pass(Duration::from_millis(1));
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.count("/introspect"), 2, "the skew is for tokens, not for answers");
    scene.pass_seconds(60);
    scene.send(bearer("opaque")).refused(401, "expired");
    // A token that is over is asked about each time, and never passes.
    scene.pass(Duration::from_millis(1));
    scene.send(bearer("opaque")).refused(401, "expired");
}

/// CCH-07: a no is remembered for a moment, so that a token that becomes good is soon good here.
#[test]
fn a_no_is_remembered_for_a_moment() {
    let mut scene = scene(json!({}));
    scene.send(bearer("late")).refused(401, "inactive");
    scene.provider.tokens.insert("late".to_owned(), active(json!({})));
    scene.pass_seconds(4);
    scene.send(bearer("late")).refused(401, "inactive");
    assert_eq!(scene.count("/introspect"), 1);
    scene.pass_seconds(2);
    scene.send(bearer("late")).allowed();
    let mut scene = self::scene(json!({"negative_cache": "1m"}));
    scene.send(bearer("late")).refused(401, "inactive");
    scene.pass_seconds(59);
    scene.send(bearer("late")).refused(401, "inactive");
    assert_eq!(scene.count("/introspect"), 1);
}

/// CCH-02, CCH-03: what is remembered of a token is so for its provider.
#[test]
fn answers_are_the_providers_own() {
    let provider = |issuer: &str| json!({"issuer": issuer, "audiences": AUDIENCE, "validation": "introspection"});
    let mut scene = Scene::of(json!({
        "providers": [provider(ISSUER), provider("https://other.example")],
        "access_token": [
            {"key": "x-one", "provider": "idp.example.com"}, {"key": "x-two", "provider": "other.example"},
        ],
    }));
    scene.provider.add_issuer("https://other.example", &[]);
    scene.provider.serve("https://other.example/introspect", says_json(json!({"active": false})));
    scene.pass_seconds(20);
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene.send(bare().header("x-one", "opaque")).allowed();
    scene.send(bare().header("x-two", "opaque")).refused(401, "inactive");
    scene.send(bare().header("x-one", "opaque")).allowed();
    assert_eq!(scene.count("/introspect"), 2);
}

/// CCH-04: near misses are other tokens.
#[test]
fn only_the_very_same_token() {
    let mut scene = scene(json!({}));
    scene.send(bearer("opaque")).allowed();
    for near in ["opaqu", "opaque=", "Opaque", "opaque.", "xopaque"] {
        scene.send(bearer(near)).refused(401, "inactive");
    }
}

/// INT-14: a thousand requests, one question.
#[test]
fn a_thousand_wait_for_one_answer() {
    let mut scene = scene(json!({"cache": 0}));
    let streams: Vec<_> = (0..1000).map(|_| scene.begin(bearer("opaque"))).collect();
    let strangers: Vec<_> = (0..10).map(|_| scene.begin(bearer("stranger"))).collect();
    assert_eq!((scene.waiting(), scene.count("/introspect")), (1010, 2));
    scene.leave(streams[0]);
    scene.settle();
    assert_eq!((scene.waiting(), scene.count("/introspect")), (0, 2));
    for stream in &streams[1..] {
        scene.seen(*stream).allowed();
    }
    for stream in strangers {
        scene.seen(stream).refused(401, "inactive");
    }
}

/// INT-13, CCH-08, DOS-03: a flood of made-up tokens is bounded, and takes nothing from those who hold good ones.
#[test]
fn a_flood_of_tokens() {
    let mut scene = Scene::of(auto(json!({}), json!({})));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene.send(bearer("opaque")).allowed();
    let streams: Vec<_> = (0..1500).map(|index| scene.begin(bearer(&format!("flood-{index}")))).collect();
    assert_eq!((scene.waiting(), scene.count("/introspect")), (1000, 1001));
    let refusal = scene.seen(streams[1499]).refused(503, "overloaded");
    assert_eq!((refusal.header("retry-after"), refusal.challenge()), (Some("1"), None));
    scene.send(bearer("opaque")).allowed();
    let signed = scene.begin(bearer(&good()));
    scene.seen(signed).allowed();
    scene.settle();
    assert_eq!(scene.waiting(), 0);
    scene.seen(streams[999]).refused(401, "inactive");
    // CCH-08: what was remembered of worthless tokens drove no good one out.
    for round in 0..10 {
        for index in 0..1000 {
            scene.send(bearer(&format!("flood-{round}-{index}"))).refused(401, "inactive");
        }
    }
    let calls = scene.calls.len();
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.calls.len(), calls);
}

/// INT-13, DOS-03: what a slow provider was asked about made-up tokens leaves room for those that were proved before, and about
/// which it must be asked again.
#[test]
fn a_flood_of_tokens_leaves_room_for_proved_ones() {
    let mut scene = Scene::of(introspection(json!({}), json!({})));
    let proved: Vec<String> = (0..300).map(|number| format!("proved-{number}")).collect();
    for token in &proved {
        scene.provider.tokens.insert(token.clone(), active(json!({"sub": token})));
        scene.send(bearer(token)).allowed();
    }
    scene.pass_seconds(61);
    scene.provider.tokens.remove("proved-299");
    scene.send(bearer("proved-299")).refused(401, "inactive");
    scene.pass_seconds(6);
    let flood: Vec<_> = (0..1001).map(|number| scene.begin(bearer(&format!("flood-{number}")))).collect();
    scene.seen(flood[1000]).refused(503, "overloaded");
    let revoked = scene.begin(bearer("proved-299"));
    scene.seen(revoked).refused(503, "overloaded");
    let asked: Vec<_> = proved[..299].iter().map(|token| scene.begin(bearer(token))).collect();
    assert_eq!(scene.waiting(), 1250, "that room has an end, too");
    scene.seen(asked[250]).refused(503, "overloaded");
    scene.settle();
    asked[..250].iter().for_each(|stream| drop(scene.seen(*stream).allowed()));
    // Nor do those who wait with made-up tokens take all the places.
    scene.pass_seconds(61);
    let heavy = || bearer("made-up").header("x", vec![b'x'; 1 << 20]);
    let flood: Vec<_> = (0..64).map(|_| scene.begin(heavy())).collect();
    scene.seen(flood[63]).refused(503, "overloaded");
    let known = scene.begin(bearer(&proved[0]).header("x", vec![b'x'; 1 << 20]));
    assert!(scene.seen(known).is_waiting());
    scene.settle();
    scene.seen(known).allowed();
}

/// WSM-07, DOS-03: those who wait are bounded too.
#[test]
fn not_more_than_can_wait() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    let good = good();
    let streams: Vec<_> = (0..10_001).map(|_| scene.begin(bearer(&good))).collect();
    assert_eq!((scene.waiting(), scene.calls.len()), (10_000, 1));
    scene.seen(streams[10_000]).refused(503, "overloaded");
    scene.leave(streams[0]);
    let another = scene.begin(bearer(&good));
    assert!(scene.seen(another).is_waiting());
    scene.settle();
    scene.pass_seconds(5);
    scene.seen(another).allowed();
    // By weight: 64 MiB of headers.
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    let heavy = || bearer(&good).header("x", vec![b'x'; 1 << 20]);
    let streams: Vec<_> = (0..64).map(|_| scene.begin(heavy())).collect();
    assert_eq!(scene.waiting(), 63);
    scene.seen(streams[63]).refused(503, "overloaded");
    // Who waits no longer weighs no longer.
    scene.provider.at("/.well-known/openid-configuration", Answer::Refuses);
    scene.settle();
    assert_eq!(scene.waiting(), 0);
    scene.set_clock(scene.now().saturating_add(Duration::from_secs(2)));
    for _ in 0..64 {
        scene.begin(heavy());
    }
    assert_eq!(scene.waiting(), 63);
}

/// CCH-08: what is remembered is bounded by what it takes, not by how many there are: an answer of 60 kB can take
/// megabytes.
#[test]
fn heavy_answers_make_room_for_each_other() {
    for (elements, others, asked_again) in [(1, 200, 0), (15_000, 200, 1)] {
        let mut scene = scene(json!({"cache": "1h"}));
        let heavy = active(json!({"exp": null, "x": vec![1; elements]}));
        scene.provider.tokens.insert("first".to_owned(), heavy.clone());
        scene.send(bearer("first")).allowed();
        for number in 0..others {
            let token = format!("token-{number}");
            scene.provider.tokens.insert(token.clone(), heavy.clone());
            scene.send(bearer(&token)).allowed();
        }
        let calls = scene.count("/introspect");
        scene.send(bearer("first")).allowed();
        assert_eq!(scene.count("/introspect") - calls, asked_again, "{elements}");
    }
}

/// CCH-06: a cached answer is judged anew each time: only who vouched for it is remembered.
#[test]
fn what_is_remembered_is_still_checked() {
    let mut scene = scene(json!({"cache": "1h"}));
    let not_before = json!({"nbf": NOW + 100, "exp": NOW + 4000});
    scene.provider.tokens.insert("opaque".to_owned(), active(with(not_before, json!({"sub": "x"}))));
    scene.send(bearer("opaque")).refused(401, "not_yet_valid");
    scene.pass_seconds(41);
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.count("/introspect"), 1);
}

/// CCH-01: a signature is proved once; all else is looked at each time.
#[test]
fn a_jwt_that_was_proved_is_known() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    let token = token(json!({"exp": NOW + 100}));
    let first = scene.send(bearer(&token)).allowed();
    let second = scene.send(bearer(&token)).allowed();
    assert_eq!((first.cached, first.verified), (Some(false), true));
    assert_eq!((second.cached, second.verified), (Some(true), false));
    // To the end of its time, with the skew, and no longer.
    scene.pass(Duration::from_millis(159_999));
    scene.send(bearer(&token)).allowed();
    scene.pass(Duration::from_millis(1));
    scene.send(bearer(&token)).refused(401, "expired");
}

/// JWK-14, CCH-06: with its key, what the key proved is gone.
#[test]
fn a_known_token_ends_with_its_key() {
    let mut scene = Scene::of(jwt(json!({"jwks": {"max_stale": "1h"}}), json!({})));
    let token = token(json!({"exp": NOW + 100_000}));
    scene.send(bearer(&token)).allowed();
    scene.provider.keys(&[key("k2").jwk()]);
    scene.pass_seconds(571);
    scene.send(bearer(&token)).refused(401, "unknown_key");
    // And while nobody knows whether it is gone, what was proved holds as long as the key does.
    scene.provider.keys(&[key("k1").jwk()]);
    scene.pass_seconds(600);
    scene.send(bearer(&token)).allowed();
    scene.provider.at("/jwks", status(503));
    scene.pass_seconds(4000);
    assert_eq!(scene.send(bearer(&token)).allowed().cached, Some(true));
    scene.pass_seconds(700);
    scene.send(bearer(&token)).refused(503, "provider_unavailable");
}

/// JWK-14: a key that comes back under its name, but is another, proves nothing of what the first did.
#[test]
fn a_known_token_and_another_key_of_that_name() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    let token = token(json!({"exp": NOW + 100_000}));
    scene.send(bearer(&token)).allowed();
    scene.provider.keys(&[Key { kid: "k1", ..key("another") }.jwk()]);
    scene.pass_seconds(571);
    scene.send(bearer(&token)).refused(401, "bad_signature");
}

/// CCH-04, CCH-11: twins of one token are different tokens, each proved for itself.
#[test]
fn a_known_token_s_damaged_twin_is_not_known() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    let token = good();
    scene.send(bearer(&token)).allowed();
    let (message, _) = token.rsplit_once('.').unwrap();
    let (_, signature) =
        key("k1").token(json!({"jti": "2"})).rsplit_once('.').map(|(m, s)| (m.to_owned(), s.to_owned())).unwrap();
    scene.send(bearer(&format!("{message}.{signature}"))).refused(401, "bad_signature");
    for (twin, status, reason) in [
        (format!("{token}="), 401, "malformed_token"),
        (format!("{token}\0"), 401, "malformed_token"),
        (format!("{token}é"), 401, "malformed_token"),
        (format!("{token} "), 400, "invalid_request"),
        (format!("{token},"), 400, "invalid_request"),
        (format!("{token},{token}"), 400, "invalid_request"),
    ] {
        scene.send(bearer(&twin)).refused(status, reason);
    }
    scene.send(bearer(&token)).allowed();
}

/// CCH-02: what a source says of its provider holds for tokens that are known, too.
#[test]
fn a_known_token_at_another_source() {
    let provider = |issuer: &str| json!({"issuer": issuer, "audiences": AUDIENCE, "validation": "introspection"});
    let mut scene = Scene::of(json!({
        "providers": [provider(ISSUER), provider("https://other.example")],
        "access_token": [{"key": "x-one", "provider": "idp.example.com"}, {"key": "authorization"}],
    }));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene.send(bearer("opaque")).refused(401, "unknown_issuer");
    scene.send(bare().header("x-one", "opaque")).allowed();
    scene.send(bearer("opaque")).refused(401, "unknown_issuer");
}
