//! The life of a provider's keys: fetched before they are needed, refreshed before they end, kept through an outage,
//! gone when they are withdrawn. TB-13, TB-65, MV-02 to MV-05, JWK-01 to JWK-22, OUT.

use crate::listener::heard;
use crate::scene::*;
use crate::support::{Signing, certificate, pem, with};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use oidc_filter::config::Config;
use oidc_filter::filter::StreamId;
use oidc_filter::http::{Headers, MAX_ANSWER_BYTES, Response};
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

const DISCOVERY: &str = "/.well-known/openid-configuration";
const OAUTH_DISCOVERY: &str = "/.well-known/oauth-authorization-server";

fn scene() -> Scene {
    scene_with(json!({}))
}

fn scene_with(jwks: Value) -> Scene {
    Scene::of(jwt(json!({"jwks": jwks}), json!({})))
}

/// What comes of a token by the key of this name.
fn send_by(scene: &mut Scene, kid: &'static str) -> Seen {
    scene.send(bearer(&long_lived(kid)))
}

fn long_lived(kid: &'static str) -> String {
    key(kid).token(json!({"exp": NOW + 100 * 24 * 3600}))
}

#[test]
fn keys_are_there_before_the_first_request() {
    let mut scene = scene();
    assert_eq!((scene.count(DISCOVERY), scene.count("/jwks"), scene.calls.len()), (1, 1, 2));
    for call in &scene.calls {
        assert_eq!((call.method, &*call.body), ("GET", ""));
        assert_eq!(call.header("authorization"), None);
    }
    send_by(&mut scene, "k1").allowed();
    assert_eq!(scene.calls.len(), 2);
    let facts: Vec<_> = scene.filter.key_facts(scene.now()).into_iter().collect();
    assert_eq!(facts, [("idp.example.com", (1, Duration::ZERO))]);
}

#[test]
fn a_request_that_comes_first_waits() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    let stream = scene.begin(bearer(&good()));
    assert!(scene.seen(stream).is_waiting());
    scene.settle();
    scene.seen(stream).allowed();
    assert_eq!((scene.count(DISCOVERY), scene.count("/jwks")), (1, 1));
}

#[test]
fn keys_are_refreshed_ahead_of_their_end() {
    let mut scene = scene();
    scene.pass_seconds(569);
    assert_eq!(scene.count("/jwks"), 1);
    scene.pass_seconds(2);
    assert_eq!(scene.count("/jwks"), 2, "30 seconds before the end of 10 minutes");
    scene.pass_seconds(3600);
    assert_eq!(scene.count("/jwks"), 8);
    assert!(scene.count(DISCOVERY) <= 3);
}

#[test]
fn cache_control_counts_within_bounds() {
    for (cache_control, refreshed_after) in [
        ("max-age=120", 108),
        ("public, max-age=120, must-revalidate", 108),
        ("max-age=1", 27),
        ("no-store", 27),
        ("max-age=1800", 1770),
        ("max-age=31536000", 3570),
        ("max-age=99999999999999999999", 570),
        ("max-age=-1", 570),
        ("nonsense", 570),
    ] {
        let mut scene = Scene::cold(jwt(json!({}), json!({})));
        scene.provider.at("/jwks", says_keys(&[key("k1").jwk()], cache_control));
        scene.tick();
        scene.pass_seconds(refreshed_after - 1);
        assert_eq!(scene.count("/jwks"), 1, "{cache_control}");
        scene.pass_seconds(2);
        assert_eq!(scene.count("/jwks"), 2, "{cache_control}");
    }
}

/// TB-13, JWK-15, MV-03.
#[test]
fn an_unknown_key_is_fetched_once_per_cooldown() {
    let mut scene = scene();
    scene.pass_seconds(60);
    scene.provider.keys(&[key("k1").jwk(), key("k2").jwk()]);
    send_by(&mut scene, "k2").allowed();
    assert_eq!(scene.count("/jwks"), 2);
    for round in 0..3 {
        for index in 0..100 {
            let kid = format!("made-up-{round}-{index}");
            let forged = key("k1").token_with(json!({"kid": kid}), json!({}));
            scene.send(bearer(&forged)).refused(401, "unknown_key");
        }
        scene.pass_seconds(30);
    }
    assert_eq!(scene.count("/jwks"), 2 + 2, "once per cooldown");
    send_by(&mut scene, "k1").allowed();
}

#[test]
fn the_cooldown_is_the_operators() {
    let mut scene = scene_with(json!({"cooldown": "5m"}));
    scene.pass_seconds(1);
    send_by(&mut scene, "k2").refused(401, "unknown_key");
    scene.provider.keys(&[key("k1").jwk(), key("k2").jwk()]);
    scene.pass_seconds(298);
    send_by(&mut scene, "k2").refused(401, "unknown_key");
    scene.pass_seconds(2);
    send_by(&mut scene, "k2").allowed();
}

/// JWK-16: a thousand requests, one fetch of each document, one answer to each request.
#[test]
fn many_wait_for_one_fetch() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    let good = good();
    let foreign = key("foreign").token_with(json!({"kid": "k1"}), json!({}));
    let streams: Vec<_> =
        (0..1000).map(|index| scene.begin(bearer(if index % 2 == 0 { &good } else { &foreign }))).collect();
    assert_eq!((scene.waiting(), scene.calls.len()), (1000, 1));
    scene.settle();
    scene.pass(Duration::from_millis(10));
    assert_eq!((scene.waiting(), scene.calls.len()), (0, 2));
    for (index, stream) in streams.into_iter().enumerate() {
        match index % 2 {
            0 => drop(scene.seen(stream).allowed()),
            _ => drop(scene.seen(stream).refused(401, "bad_signature")),
        }
    }
}

/// OUT-06: what one client asked for belongs to all.
#[test]
fn a_client_that_leaves_takes_nothing_with_it() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    let (first, second) = (scene.begin(bearer(&good())), scene.begin(bearer(&good())));
    scene.leave(first);
    scene.settle();
    scene.seen(second).allowed();
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    let only = scene.begin(bearer(&good()));
    scene.leave(only);
    scene.leave(only);
    scene.settle();
    scene.send(bearer(&good())).allowed();
    assert_eq!((scene.count("/jwks"), scene.waiting()), (1, 0));
}

/// JWK-17, MV-04: keys serve through an outage, but not for ever.
#[test]
fn stale_keys_serve_up_to_max_stale() {
    let mut scene = scene_with(json!({"max_stale": "1h"}));
    scene.provider.at("/jwks", status(503));
    scene.pass_seconds(600 + 3599);
    send_by(&mut scene, "k1").allowed();
    scene.pass_seconds(2);
    let refusal = send_by(&mut scene, "k1").refused(503, "provider_unavailable");
    assert!(refusal.header("retry-after").unwrap().parse::<u64>().unwrap() <= 16);
    scene.provider.keys(&[key("k1").jwk()]);
    scene.pass_seconds(17);
    send_by(&mut scene, "k1").allowed();
}

#[test]
fn nothing_stale_where_that_is_wanted() {
    let mut scene = scene_with(json!({"max_stale": 0}));
    scene.provider.at("/jwks", status(503));
    scene.pass_seconds(599);
    send_by(&mut scene, "k1").allowed();
    scene.pass_seconds(1);
    send_by(&mut scene, "k1").refused(503, "provider_unavailable");
}

/// With an outage behind it, a key that is unknown may be new: the token isn't to blame.
#[test]
fn an_unknown_key_during_an_outage_is_no_bad_token() {
    let mut scene = scene();
    scene.provider.at("/jwks", status(503));
    scene.pass_seconds(60);
    send_by(&mut scene, "k2").refused(503, "provider_unavailable");
    send_by(&mut scene, "k1").allowed();
    // What the keys at hand can tell is told all the same.
    let forged = key("foreign").token_with(json!({"kid": "k1"}), json!({}));
    scene.send(bearer(&forged)).refused(401, "bad_signature");
    scene.provider.keys(&[key("k2").jwk()]);
    scene.pass_seconds(30);
    send_by(&mut scene, "k2").allowed();
}

/// JWK-14: the set is replaced, never added to.
#[test]
fn a_withdrawn_key_is_gone() {
    let mut scene = scene();
    scene.provider.keys(&[key("k2").jwk()]);
    scene.pass_seconds(571);
    send_by(&mut scene, "k1").refused(401, "unknown_key");
    send_by(&mut scene, "k2").allowed();
}

/// MV-02.
#[test]
fn old_and_new_keys_side_by_side() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    scene.provider.keys(&[key("new").jwk(), key("k1").jwk()]);
    send_by(&mut scene, "k1").allowed();
    send_by(&mut scene, "new").allowed();
}

/// JWK-01: one key that can't be used does no harm to its neighbours.
#[test]
fn one_bad_key_among_good_ones() {
    let good = key("k1").jwk();
    for bad in [
        json!({"kty": "unknown"}),
        json!(7),
        json!({}),
        with(key("k2").jwk(), json!({"use": "enc"})),
        with(key("k2").jwk(), json!({"crv": "X25519"})),
        with(key("k2").jwk(), json!({"x": "?"})),
        with(key("k2").jwk(), json!({"kid": 7})),
        json!({"kty": "oct", "kid": "k2", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}),
        json!({"kty": "RSA", "kid": "k2", "n": "AQAB", "e": "AQAB"}),
    ] {
        for keys in [[good.clone(), bad.clone()], [bad.clone(), good.clone()]] {
            let mut scene = Scene::cold(jwt(json!({}), json!({})));
            scene.provider.keys(&keys);
            send_by(&mut scene, "k1").allowed();
            send_by(&mut scene, "k2").refused(401, "unknown_key");
        }
    }
}

/// What is wrong with each key of a set is told, once, until that changes.
#[test]
fn keys_that_are_not_used_are_told_of() {
    let heard = || -> Vec<String> { heard().into_iter().filter(|line| line.contains("keys[")).collect() };
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    let nameless = with(key("k2").jwk(), json!({"kid": null, "use": "enc"}));
    let padded = with(key("k4").jwk(), json!({"x": "AA=="}));
    scene.provider.keys(&[with(key("k1").jwk(), json!({"x": "AA"})), nameless.clone(), json!({"kid": "k3"}), padded]);
    scene.tick();
    let lines = heard();
    assert_eq!(
        lines,
        [
            "idp.example.com: keys[0] (\"k1\") is not used: its parameters do not make a valid key",
            "idp.example.com: keys[1] is not used: it is not meant for verifying signatures",
            "idp.example.com: keys[2] (\"k3\") is not used: its parameters do not make a valid key",
            "idp.example.com: keys[3] (\"k4\") is not used: a parameter is no base64url, which has `-` and `_`, and no `+`, `/` \
             or padding (`=`)",
        ]
    );
    scene.pass_seconds(60);
    assert_eq!(heard(), [""; 0], "nothing has changed");
    scene.provider.keys(&[nameless.clone(), key("k1").jwk()]);
    scene.pass_seconds(60);
    assert_eq!(heard(), ["idp.example.com: keys[0] is not used: it is not meant for verifying signatures"]);
    // A name is the provider's, of any length and content.
    scene.provider.keys(&[json!({"kid": format!("\n{}", "x".repeat(1000))}), key("k1").jwk()]);
    scene.pass_seconds(600);
    let lines = heard();
    assert!(lines.len() == 1 && lines[0].len() < 200 && !lines[0].contains('\n'), "{lines:?}");
    // And there may be many.
    scene.provider.keys(&[&vec![json!({}); 400][..], &[key("k1").jwk()]].concat());
    scene.pass_seconds(600);
    assert_eq!(heard().len(), 16);
}

/// Firebase: a map of certificates. Who signs with keys of certificates that have ended is believed, with a warning.
#[test]
fn a_map_of_certificates_serves() {
    let Signing::Ed25519(signing) = key("k1").signing else { unreachable!() };
    let spki = [&b"\x30\x2a\x30\x05\x06\x03\x2b\x65\x70\x03\x21\x00"[..], signing.verifying_key().as_bytes()].concat();
    for (not_after, warnings) in [("20491231235959Z", 0), ("20200101000000Z", 1)] {
        let mut scene = Scene::cold(jwt(json!({}), json!({})));
        scene.provider.at("/jwks", says_json(json!({"k1": pem("CERTIFICATE", &certificate(&spki, not_after))})));
        scene.tick();
        scene.pass_seconds(1200);
        let lines = heard();
        send_by(&mut scene, "k1").allowed();
        send_by(&mut scene, "k2").refused(401, "unknown_key");
        assert_eq!(lines.iter().filter(|line| line.contains("certificate of the key \"k1\" ended")).count(), warnings);
    }
}

/// ADFS names the key by its certificate. Without any name not all of a large set is tried, and the log says so.
#[test]
fn a_large_set_and_a_token_that_names_no_key() {
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m", "n", "o", "p", "q", "k1"];
    let keys = names.map(|name| with(key(name).jwk(), json!({"x5t": format!("sha1-of-{name}")})));
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    scene.provider.keys(&keys);
    let by = |header: Value| key("k1").token_with(with(json!({"kid": null}), header), json!({}));
    scene.send(bearer(&by(json!({"x5t": "sha1-of-k1"})))).allowed();
    scene.send(bearer(&by(json!({"x5t": "sha1-of-a"})))).refused(401, "bad_signature");
    scene.send(bearer(&by(json!({})))).refused(401, "unknown_key");
    scene.pass_seconds(60);
    scene.filter.on_request(StreamId(1000), bearer(&by(json!({}))).request(), scene.now());
    let lines = heard();
    assert!(lines.iter().any(|line| line.contains("more keys fit a token than are tried (16)")), "{lines:?}");
    scene.filter.on_closed(StreamId(1000));
    scene.provider.keys(&keys[2..]);
    scene.pass_seconds(600);
    scene.send(bearer(&by(json!({})))).allowed();
}

fn useless_documents() -> Vec<Answer> {
    let keys = json!({"keys": [key("k1").jwk()]}).to_string();
    let mut answers = vec![
        Answer::Refuses,
        Answer::TimesOut,
        Answer::IsLost,
        says_json(json!({"keys": []})),
        says_json(json!({"keys": null})),
        says_json(json!({"keys": {}})),
        says_json(json!({})),
        says_json(json!([key("k1").jwk()])),
        says_json(json!({"keys": [{"kty": "unknown"}]})),
        says_json(json!({"keys": [{"kty": "oct", "k": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]})),
        says(200, "application/json", ""),
        says(200, "application/json", &keys[..keys.len() - 1]),
        says(200, "application/json", keys.replace('}', ",}")),
        says(200, "application/json", format!("\u{feff}{keys}")),
        says(200, "application/json", format!("{{\"keys\":[],{}", &keys[1..])),
        says(200, "application/json", "[".repeat(50_000)),
        says(200, "application/json", vec![0xff; 64]),
        says(200, "application/json", format!("{keys}{}", " ".repeat(MAX_ANSWER_BYTES))),
        says(200, "text/html", keys.clone()),
        Answer::Says(Response { status: 0, headers: Headers::default(), body: keys.clone().into_bytes() }),
    ];
    for status in [204, 301, 302, 304, 307, 308, 400, 401, 403, 404, 410, 429, 500, 502, 503, 504] {
        answers.push(says(status, "application/json", keys.clone()));
    }
    answers
}

/// JWK-11, JWK-12: what can't be used leaves what there is.
#[test]
fn useless_answers_leave_the_keys_at_hand() {
    for (index, answer) in useless_documents().into_iter().enumerate() {
        let mut scene = scene();
        scene.provider.at("/jwks", answer);
        scene.pass_seconds(1200);
        let stream = scene.begin(bearer(&long_lived("k1")));
        scene.settle();
        scene.seen(stream).allowed();
        assert!(scene.count("/jwks") > 10, "{index}: it is tried again");
        scene.provider.keys(&[key("k2").jwk()]);
        scene.pass_seconds(30);
        send_by(&mut scene, "k2").allowed();
    }
}

/// JWK-13, MV-05, AR-04, WSM-04: without keys nobody passes, and a token is not to blame.
#[test]
fn no_keys_at_all() {
    for (index, answer) in useless_documents().into_iter().enumerate() {
        let mut scene = Scene::cold(jwt(json!({}), json!({})));
        scene.provider.at("/jwks", answer);
        let stream = scene.begin(bearer(&good()));
        scene.settle();
        scene.pass_seconds(12);
        scene.seen(stream).refused(503, "provider_unavailable");
        scene.provider.keys(&[key("k1").jwk()]);
        scene.pass_seconds(30);
        scene.send(bearer(&good())).allowed();
        assert_eq!(scene.waiting(), 0, "{index}");
    }
}

/// TB-65, OUT-01, OUT-03, OUT-09: a provider that can't be read is not there; it is asked again.
#[test]
fn useless_metadata_verify_nothing() {
    let metadata = metadata(ISSUER);
    let text = metadata.to_string();
    for (index, answer) in [
        status(302),
        status(404),
        status(500),
        Answer::Refuses,
        Answer::TimesOut,
        says_json(json!({})),
        says_json(with(metadata.clone(), json!({"issuer": null}))),
        says_json(with(metadata.clone(), json!({"issuer": "https://idp.example.com/"}))),
        says_json(with(metadata.clone(), json!({"issuer": "https://evil.example"}))),
        says_json(with(metadata.clone(), json!({"issuer": [ISSUER]}))),
        says_json(with(metadata.clone(), json!({"jwks_uri": null}))),
        says_json(with(metadata.clone(), json!({"jwks_uri": 7}))),
        says_json(with(metadata.clone(), json!({"jwks_uri": ""}))),
        says_json(with(metadata.clone(), json!({"jwks_uri": "/jwks"}))),
        says_json(with(metadata.clone(), json!({"jwks_uri": "https://evil.example/jwks"}))),
        says_json(with(metadata.clone(), json!({"jwks_uri": "http://127.0.0.1/jwks"}))),
        says(200, "application/json", text.replacen('{', &format!("{{\"issuer\":\"{ISSUER}\","), 1)),
        says(200, "text/html", text.clone()),
        says(200, "application/json", "[".repeat(50_000)),
        says(200, "application/json", format!("{text}{}", " ".repeat(MAX_ANSWER_BYTES))),
    ]
    .into_iter()
    .enumerate()
    {
        let mut scene = Scene::cold(jwt(json!({}), json!({})));
        scene.provider.at(DISCOVERY, answer);
        let stream = scene.begin(bearer(&good()));
        scene.settle();
        scene.pass_seconds(12);
        let refusal = scene.seen(stream).refused(503, "provider_unavailable");
        assert_eq!(refusal.provider.as_deref(), Some("idp.example.com"));
        assert_eq!(scene.count("/jwks"), 0, "{index}");
        let hosts = scene.calls.iter().all(|call| call.url.starts_with("https://idp.example.com/.well-known/"));
        assert!(hosts, "{index}: {:?}", scene.calls);
        scene.provider.metadata(json!({}));
        scene.pass_seconds(30);
        scene.send(bearer(&good())).allowed();
    }
}

/// RFC 8414, section 3.1: a server of OAuth alone has its metadata elsewhere, with the issuer's path behind.
#[test]
fn metadata_of_an_oauth_server() {
    let issuer = "https://idp.example.com/realms/a";
    let mut scene = Scene::cold(jwt(json!({"issuer": issuer}), json!({})));
    scene.provider.at(&format!("{OAUTH_DISCOVERY}/realms/a"), says_json(metadata(issuer)));
    scene.provider.at("/realms/a/jwks", says_json(json!({"keys": [key("k1").jwk()]})));
    scene.send(bearer(&token(json!({"iss": issuer})))).allowed();
    let urls: Vec<&str> = scene.calls.iter().map(|call| &*call.url).collect();
    assert_eq!(
        urls,
        [
            "https://idp.example.com/realms/a/.well-known/openid-configuration",
            "https://idp.example.com/.well-known/oauth-authorization-server/realms/a",
            "https://idp.example.com/realms/a/jwks",
        ]
    );
    assert!(scene.fetched.iter().all(|end| end.result == "ok"));
}

/// Keys that move are found: a fetch that fails asks for the metadata anew.
#[test]
fn moved_keys_are_found() {
    let mut scene = scene();
    scene.provider.metadata(json!({"jwks_uri": "https://idp.example.com/moved"}));
    scene.provider.at("/moved", says_json(json!({"keys": [key("k2").jwk()]})));
    scene.provider.at("/jwks", status(404));
    scene.pass_seconds(60);
    // While nobody knows better, the old place is asked; then the metadata; then the new place.
    let stream = scene.begin(bearer(&long_lived("k2")));
    scene.settle();
    scene.seen(stream).refused(503, "provider_unavailable");
    scene.pass_seconds(540);
    assert!(scene.count("/moved") >= 1);
    send_by(&mut scene, "k2").allowed();
    send_by(&mut scene, "k1").refused(401, "unknown_key");
}

/// A provider that is down is asked less and less often, and found again soon.
#[test]
fn pauses_grow_and_end() {
    let mut scene = Scene::cold(jwt(json!({"jwks": {"uri": "https://idp.example.com/jwks"}}), json!({})));
    scene.provider.at("/jwks", status(503));
    scene.tick();
    let mut seen = Vec::new();
    for second in 1..=64 {
        scene.pass_seconds(1);
        if scene.count("/jwks") > seen.len() + 1 {
            seen.push(second);
        }
    }
    assert_eq!(seen, [1, 3, 7, 15, 31, 47, 63]);
    assert_eq!(scene.count(DISCOVERY), 0);
    // During a pause nobody waits, and nobody is asked.
    let calls = scene.calls.len();
    for _ in 0..100 {
        scene.send(bearer(&good())).refused(503, "provider_unavailable");
    }
    assert_eq!(scene.calls.len(), calls);
    scene.provider.keys(&[key("k1").jwk()]);
    scene.pass_seconds(16);
    scene.send(bearer(&good())).allowed();
    scene.provider.at("/jwks", status(503));
    scene.pass_seconds(570);
    let calls = scene.calls.len();
    scene.pass_seconds(1);
    assert!(scene.calls.len() <= calls + 1, "the pauses begin anew");
}

fn says_later(status: u16, retry_after: &str) -> Answer {
    let headers = Headers::from_pairs([("retry-after", retry_after)]);
    Answer::Says(Response { status, headers, body: Vec::new() })
}

/// RFC 9110, section 10.2.3: a provider that says when to come again is asked then, and the client told so.
#[test]
fn a_provider_says_when_to_come_again() {
    for place in ["/jwks", DISCOVERY] {
        for (status, retry_after, seconds) in [
            (429, "60", 60),
            (503, "60", 60),
            (503, "Fri, 15 Jan 2027 08:01:00 GMT", 60), // a minute from `NOW`
            (429, "86400", 300),
            (429, "0", 1),
            (500, "60", 1),
        ] {
            let mut scene = Scene::cold(jwt(json!({}), json!({})));
            scene.provider.at(place, says_later(status, retry_after));
            let refusal = scene.send(bearer(&good())).refused(503, "provider_unavailable");
            assert_eq!(refusal.header("retry-after"), Some(&*seconds.to_string()), "{place} {status} {retry_after}");
            let calls = scene.count(place);
            scene.pass_seconds(seconds - 1);
            assert_eq!(scene.count(place), calls, "{place} {status} {retry_after}");
            scene.provider.add_issuer(ISSUER, &[key("k1").jwk()]);
            scene.pass_seconds(1);
            send_by(&mut scene, "k1").allowed();
        }
    }
}

/// But not so long that keys go which could be had anew.
#[test]
fn nobody_waits_beyond_the_end_of_keys() {
    let mut scene = scene_with(json!({"cache": "60s", "max_stale": "60s"}));
    scene.provider.at("/jwks", says_later(429, "300"));
    scene.pass_seconds(60);
    assert_eq!(scene.count("/jwks"), 2);
    scene.provider.keys(&[key("k1").jwk()]);
    for _ in 0..10 {
        scene.pass_seconds(12);
        send_by(&mut scene, "k1").allowed();
    }
    assert!(scene.count("/jwks") > 2);
}

/// Of several places the first that is ready counts.
#[test]
fn several_places_that_say_when_to_come_again() {
    const OTHER: &str = "https://other.example/jwks";
    for (other, seconds) in
        [(says_later(503, "20"), 20), (says_later(503, "120"), 60), (status(503), 1), (Answer::Refuses, 1)]
    {
        let uris = json!({"uri": ["https://idp.example.com/jwks", OTHER]});
        let mut scene = Scene::cold(jwt(json!({"jwks": uris}), json!({})));
        scene.provider.at("/jwks", says_later(429, "60"));
        scene.provider.serve(OTHER, other);
        let refusal = scene.send(bearer(&good())).refused(503, "provider_unavailable");
        assert_eq!(refusal.header("retry-after"), Some(&*seconds.to_string()));
    }
}

/// Operators write keys into the configuration where there is no way to fetch them.
#[test]
fn inline_keys() {
    let set = json!({"keys": [key("k1").jwk()]});
    for inline in [set.clone(), json!(set.to_string())] {
        let mut scene = scene_with(json!({"inline": inline}));
        send_by(&mut scene, "k1").allowed();
        send_by(&mut scene, "k2").refused(401, "unknown_key");
        scene.pass_seconds(100_000);
        send_by(&mut scene, "k1").allowed();
        assert!(scene.calls.is_empty());
        let facts: Vec<_> = scene.filter.key_facts(scene.now()).into_iter().collect();
        assert_eq!(facts, [("idp.example.com", (1, Duration::ZERO))]);
    }
    // Beside a place to fetch them from, they serve until there are newer ones.
    let mut scene =
        Scene::cold(jwt(json!({"jwks": {"inline": set, "uri": "https://idp.example.com/jwks"}}), json!({})));
    scene.provider.keys(&[key("k2").jwk()]);
    send_by(&mut scene, "k1").allowed();
    assert_eq!(scene.count("/jwks"), 0);
    send_by(&mut scene, "k2").allowed();
    send_by(&mut scene, "k1").refused(401, "unknown_key");
}

/// CFG-03: one who may verify with a secret may sign with it, too: it must be the operator's own.
#[test]
fn shared_secrets() {
    use crate::support::sign;
    let secret = vec![7; 32];
    let set = json!({"keys": [{"kty": "oct", "kid": "s", "alg": "HS256", "k": BASE64URL.encode(&secret)}]});
    let header = json!({"alg": "HS256", "kid": "s"}).to_string();
    let token = sign(&Signing::Hmac(secret), "HS256", header, good_claims().to_string());
    let mut scene = Scene::of(jwt(json!({"jwks": {"inline": set}, "algorithms": "HS256"}), json!({})));
    scene.send(bearer(&token)).allowed();
    let mut scene = scene_with(json!({"inline": set}));
    scene.send(bearer(&token)).refused(401, "unsupported_token");
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    scene.provider.keys(&[set["keys"][0].clone(), key("k1").jwk()]); // JWK-08, ALG-07
    scene.send(bearer(&token)).refused(401, "unsupported_token");
    send_by(&mut scene, "k1").allowed();
}

/// ALG-07: Supabase: old tokens by a secret, new ones by published keys. A secret serves as long as the configuration
/// says so, and for its own algorithm only.
#[test]
fn a_secret_beside_published_keys() {
    use crate::support::sign;
    let secret = Signing::Hmac(vec![7; 32]);
    let by_secret = |alg: &str, kid: Value| {
        sign(&secret, "HS256", with(json!({"alg": alg}), json!({"kid": kid})).to_string(), good_claims().to_string())
    };
    let inline = json!({"keys": [with(secret.jwk("s"), json!({"alg": "HS256"}))]});
    for jwks in [
        json!([{"inline": inline}, {}]),
        json!([{}, {"inline": inline}]),
        json!([{"inline": inline}, {"uri": "https://idp.example.com/jwks"}]),
        json!({"inline": inline, "uri": "https://idp.example.com/jwks"}),
    ] {
        let provider = json!({"jwks": jwks, "algorithms": ["HS256", "EdDSA"]});
        let mut scene = Scene::cold(jwt(provider, json!({})));
        scene.provider.at("/jwks", Answer::Refuses);
        scene.tick();
        // While the published keys can't be had, a secret is enough for its own tokens.
        scene.send(bearer(&by_secret("HS256", json!("s")))).allowed();
        scene.send(bearer(&by_secret("HS256", json!(null)))).allowed();
        scene.send(bearer(&good())).refused(503, "provider_unavailable");
        let calls = scene.calls.len();
        scene.send(bearer(&by_secret("HS256", json!("other")))).refused(401, "unknown_key");
        assert_eq!(scene.calls.len(), calls, "no document has secrets");
        scene.provider.keys(&[key("k1").jwk()]);
        scene.pass_seconds(60);
        scene.send(bearer(&good())).allowed();
        scene.send(bearer(&by_secret("HS256", json!("s")))).allowed();
        // Neither passes for the other.
        scene.send(bearer(&by_secret("EdDSA", json!("s")))).refused(401, "unknown_key");
        let public = BASE64URL.decode(key("k1").jwk()["x"].as_str().unwrap()).unwrap();
        for kid in [json!("k1"), json!("s"), json!(null)] {
            let header = with(json!({"alg": "HS256"}), json!({"kid": kid})).to_string();
            let forged = sign(&Signing::Hmac(public.clone()), "HS256", header, good_claims().to_string());
            let reason = if kid == "k1" { "unknown_key" } else { "bad_signature" };
            scene.send(bearer(&forged)).refused(401, reason);
        }
        // A secret that is published is none.
        scene.provider.keys(&[with(Signing::Hmac(vec![9; 32]).jwk("p"), json!({"alg": "HS256"})), key("k1").jwk()]);
        scene.pass_seconds(600);
        let header = json!({"alg": "HS256", "kid": "p"}).to_string();
        let published = sign(&Signing::Hmac(vec![9; 32]), "HS256", header, good_claims().to_string());
        scene.send(bearer(&published)).refused(401, "unknown_key");
    }
    // Without its name in `algorithms`, it is of no use.
    let mut scene = Scene::of(jwt(json!({"jwks": [{"inline": inline}, {}]}), json!({})));
    scene.send(bearer(&by_secret("HS256", json!("s")))).refused(401, "unsupported_token");
    scene.send(bearer(&good())).allowed();
}

/// Azure AD B2C: one issuer, a key set for each of its policies. They are one set, and each has its own good and bad hours.
#[test]
fn several_key_sets_of_one_issuer() {
    const FIRST: &str = "https://idp.example.com/first";
    const SECOND: &str = "https://idp.example.com/second";
    let configuration = || jwt(json!({"jwks": [{"uri": FIRST}, {"uri": SECOND, "cache": "1h"}]}), json!({}));
    let set = |kid: &'static str| says_json(json!({"keys": [key(kid).jwk()]}));
    let prepared = |scene: &mut Scene| {
        scene.provider.serve(FIRST, set("k1"));
        scene.provider.serve(SECOND, set("k2"));
    };
    // A token that comes first finds its key wherever it is, with one call of each.
    for kid in ["k1", "k2"] {
        let mut scene = Scene::cold(configuration());
        prepared(&mut scene);
        send_by(&mut scene, kid).allowed();
        assert_eq!((scene.count("/first"), scene.count("/second"), scene.calls.len()), (1, 1, 2));
    }
    let mut scene = Scene::cold(configuration());
    prepared(&mut scene);
    scene.tick();
    send_by(&mut scene, "k1").allowed();
    send_by(&mut scene, "k2").allowed();
    let facts: Vec<_> = scene.filter.key_facts(scene.now()).into_iter().collect();
    assert_eq!(facts, [("idp.example.com", (2, Duration::ZERO))]);
    // Each is renewed by its own schedule.
    scene.pass_seconds(1200);
    assert_eq!((scene.count("/first"), scene.count("/second")), (3, 1));
    // An unknown key may be in any of them: one call of each per cooldown.
    for _ in 0..10 {
        send_by(&mut scene, "k3").refused(401, "unknown_key");
    }
    assert_eq!((scene.count("/first"), scene.count("/second")), (4, 2));
    scene.pass_seconds(30);
    scene.provider.serve(SECOND, set("k3"));
    send_by(&mut scene, "k3").allowed();
    send_by(&mut scene, "k2").refused(401, "unknown_key");
    // One that is down takes down nobody else's keys; but a token by a key that nobody knows may be by one of its.
    scene.provider.serve(SECOND, Answer::Refuses);
    scene.pass_seconds(30);
    send_by(&mut scene, "k4").refused(503, "provider_unavailable");
    send_by(&mut scene, "k1").allowed();
    send_by(&mut scene, "k3").allowed();
    let forged = key("foreign").token_with(json!({"kid": "k1"}), json!({}));
    scene.send(bearer(&forged)).refused(401, "bad_signature");
    // From the start, too.
    let mut scene = Scene::cold(configuration());
    prepared(&mut scene);
    scene.provider.serve(SECOND, status(500));
    scene.tick();
    send_by(&mut scene, "k1").allowed();
    send_by(&mut scene, "k2").refused(503, "provider_unavailable");
    scene.provider.serve(SECOND, set("k2"));
    scene.pass_seconds(30);
    send_by(&mut scene, "k2").allowed();
    // A `kid` that two sets have names both keys: each set is somebody else's.
    let mut scene = Scene::cold(configuration());
    scene.provider.serve(FIRST, set("k1"));
    scene.provider.serve(SECOND, says_json(json!({"keys": [with(key("k2").jwk(), json!({"kid": "k1"}))]})));
    scene.tick();
    send_by(&mut scene, "k1").allowed();
    scene.send(bearer(&key("k2").token_with(json!({"kid": "k1"}), json!({})))).allowed();
}

/// Keys of the configuration are one more source in a list; beside a `uri` they serve until the first fetch.
#[test]
fn inline_keys_among_several_sources() {
    let inline = |kid: &'static str| json!({"inline": {"keys": [key(kid).jwk()]}});
    let mut scene = Scene::of(jwt(json!({"jwks": [inline("k2"), {}, inline("k3")]}), json!({})));
    for kid in ["k1", "k2", "k3"] {
        send_by(&mut scene, kid).allowed();
    }
    for (jwks, path) in [
        (json!([]), "providers[0].jwks"),
        (json!([{}, {}]), "providers[0].jwks"),
        (json!([{}, {"cache": "5m"}]), "providers[0].jwks"),
        (json!(vec![json!({"uri": "https://a"}); 17]), "providers[0].jwks"),
        (json!([{}, {"uri": "a"}]), "providers[0].jwks[1].uri"),
        (json!([{"url": "https://a"}]), "providers[0].jwks[0].url"),
        (json!("https://a"), "providers[0].jwks"),
    ] {
        let configuration = jwt(json!({"jwks": jwks}), json!({})).to_string();
        let error = Config::read(configuration.as_bytes(), &|_: &str| None).err().unwrap().to_string();
        assert!(error.starts_with(&format!("{path}:")), "{error}");
    }
    for (jwks, path) in [
        (json!({"uri": "https://a"}), "providers[0].algorithms[0]"),
        (json!([inline("k1"), {}]), "providers[0].algorithms[0]"),
    ] {
        let configuration = jwt(json!({"jwks": jwks, "algorithms": ["HS256"]}), json!({})).to_string();
        let error = Config::read(configuration.as_bytes(), &|_: &str| None).err().unwrap().to_string();
        assert!(error.starts_with(path), "{error}");
    }
}

/// A provider that names no keys can change one without a sign.
#[test]
fn a_nameless_key_that_changes() {
    let nameless = |kid: &'static str| with(key(kid).jwk(), json!({"kid": null}));
    let by = |kid: &'static str| key(kid).token_with(json!({"kid": null}), json!({}));
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    scene.provider.keys(&[nameless("k1")]);
    scene.send(bearer(&by("k1"))).allowed();
    scene.provider.keys(&[nameless("k2")]);
    scene.send(bearer(&by("k2"))).allowed();
    scene.send(bearer(&by("k1"))).refused(401, "bad_signature");
    assert_eq!(scene.count("/jwks"), 2);
}

/// JWK-18, OUT-04, ALG-11: nothing of a token reaches a URL.
#[test]
fn hostile_key_names_lead_nowhere() {
    let mut scene = scene();
    for kid in ["../../etc/passwd", "' OR 1=1", "\0", "\r\nx: y", "https://evil.example/k", "é", &"k".repeat(8192)] {
        scene.pass_seconds(31);
        let token = key("k1").token_with(json!({"kid": kid}), json!({}));
        let refusal = scene.send(bearer(&token)).refused(401, "unknown_key");
        assert!(!format!("{refusal:?}").contains(kid));
    }
    for header in [json!({"jku": "https://evil.example/jwks"}), json!({"x5u": "https://evil.example/x"})] {
        let token = key("foreign").token_with(header, json!({}));
        scene.send(bearer(&token)).refused(401, "unknown_key");
    }
    assert!(scene.calls.iter().all(|call| call.url.starts_with(ISSUER) && call.raw_query.is_empty()));
}

/// OUT-05: a call that can't even be sent ends like one that wasn't answered.
#[test]
fn a_missing_cluster_is_an_outage() {
    let mut scene = Scene::cold(jwt(json!({"jwks": {"uri": "https://idp.example.com/jwks"}}), json!({})));
    scene.provider.at("/jwks", Answer::Refuses);
    scene.send(bearer(&good())).refused(503, "provider_unavailable");
    assert_eq!(scene.fetched.iter().map(|end| (end.kind, end.result)).collect::<Vec<_>>(), [("jwks", "failed")]);
}

/// OUT-06: an answer that never comes, not even as an error, ends all the same; one that comes after that is too
/// late.
#[test]
fn a_lost_answer_is_an_outage() {
    let mut scene = Scene::cold(jwt(json!({"timeout": "2s"}), json!({})));
    scene.provider.at("/jwks", Answer::IsLost);
    let stream = scene.begin(bearer(&good()));
    scene.settle();
    scene.pass_seconds(4);
    assert!(scene.seen(stream).is_waiting());
    scene.pass_seconds(4);
    scene.seen(stream).refused(503, "provider_unavailable");
}

/// WSM-06: a clock that is set makes nothing worse than it was.
#[test]
fn the_clock_is_set() {
    let token = key("k1").token(json!({"iat": null, "exp": 4_000_000_000_u64}));
    let mut scene = scene();
    for (unix, exp_is_over) in
        [(0, false), (NOW - 86_400, false), (NOW + 10 * 86_400, false), (5_000_000_000, true), (NOW, false)]
    {
        scene.set_clock(Timestamp::from_unix_seconds(unix));
        scene.pass_seconds(40);
        if exp_is_over {
            scene.send(bearer(&token)).refused(401, "expired");
        } else {
            scene.send(bearer(&token)).allowed();
        }
    }
    scene.set_clock(Timestamp::from_unix_nanos(u64::MAX));
    scene.tick();
    scene.send(bearer(&token)).refused(401, "expired");
    assert!(scene.filter.next_tick(scene.now()) > Duration::ZERO);
}

/// A pause that a clock made endless by going back is none.
#[test]
fn a_clock_that_goes_back_ends_pauses_and_cooldowns() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    scene.provider.at(DISCOVERY, status(503));
    scene.tick();
    scene.provider.metadata(json!({}));
    scene.set_clock(Timestamp::from_unix_seconds(NOW - 86_400));
    let token = token(json!({"iat": null}));
    scene.send(bearer(&token)).allowed();
    // Keys of the future are fetched anew.
    let calls = scene.count("/jwks");
    scene.set_clock(Timestamp::from_unix_seconds(NOW - 86_400 - 3_600));
    scene.tick();
    assert_eq!(scene.count("/jwks"), calls + 1);
    scene.set_clock(Timestamp::from_unix_seconds(NOW - 2 * 86_400));
    scene.provider.keys(&[key("k1").jwk(), key("k2").jwk()]);
    let token = key("k2").token(json!({"iat": null}));
    scene.send(bearer(&token)).allowed();
}

/// DOS: those who waited for keys are decided in portions, so that a worker is never away for long; and all of them are.
#[test]
fn those_who_waited_are_decided_in_portions() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    let streams: Vec<_> =
        (0..1000).map(|number| scene.begin(bearer(&token(json!({"jti": number.to_string()}))))).collect();
    scene.settle();
    let waiting = scene.waiting();
    assert!((500..1000).contains(&waiting), "{waiting} wait still");
    scene.leave(streams[999]);
    scene.pass(Duration::from_millis(10));
    assert_eq!(scene.waiting(), 0);
    for stream in &streams[..999] {
        scene.seen(*stream).allowed();
    }
}

/// CLM-07: Google signs as `accounts.google.com`, a service account as its mail address: names without an address
/// (RFC 7519, section 4.1.1). Where the keys are is configured then, and nothing else is called.
#[test]
fn an_issuer_that_is_no_url() {
    const KEYS: &str = "https://keys.example.com/certs";
    for name in
        ["accounts.google.com", "robot@project.iam.gserviceaccount.com", "kubernetes/serviceaccount", "urn:idp:1"]
    {
        let signed = |issuer: &str| token(json!({"iss": issuer}));
        let provider = json!({"issuer": name, "jwks": {"uri": KEYS}, "cluster": "google"});
        let mut scene = Scene::cold(jwt(provider, json!({})));
        scene.provider.serve(KEYS, says_json(json!({"keys": [key("k1").jwk()]})));
        scene.tick();
        let upstream = scene.send(bearer(&signed(name))).allowed();
        assert_eq!(upstream.provider.as_deref(), Some(name));
        for other in [ISSUER, "", "accounts.google.com.", "Accounts.google.com", "https://accounts.google.com"] {
            scene.send(bearer(&signed(other))).refused(401, "unknown_issuer");
        }
        scene.send(bearer("opaque")).refused(401, "malformed_token");
        scene.provider.serve(KEYS, Answer::Refuses);
        scene.pass_seconds(3660);
        scene.send(bearer(&signed(name))).refused(401, "expired");
        assert!(scene.calls.iter().all(|call| call.url == KEYS && call.cluster == "google"));
        let inline = json!({"issuer": name, "jwks": {"inline": {"keys": [key("k1").jwk()]}}});
        let mut scene = Scene::cold(jwt(inline, json!({})));
        scene.tick();
        scene.send(bearer(&signed(name))).allowed();
        assert!(scene.calls.is_empty());
    }
}
