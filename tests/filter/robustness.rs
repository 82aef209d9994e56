//! Whatever comes, nothing breaks, and what was broken heals. The events are random and the same on every run.
//!
//! `tests/fuzz` has more of this: there, every event of a whole world is random, and every decision is held to a proof.

use crate::scene::*;
use crate::support::Noise;
use oidc_filter::http::{Headers, Response};
use oidc_filter::time::Timestamp;
use serde_json::json;
use std::time::Duration;

fn nonsense(noise: &mut Noise) -> Response {
    let status = [200, 200, 200, 0, 204, 302, 401, 403, 404, 500, 503, 999][noise.below(12)];
    let media_type = ["application/json", "text/html", "", "\u{e9}"][noise.below(4)];
    let control = ["max-age=0", "max-age=99999999999", "no-store", "max-age=x"][noise.below(4)];
    let headers = Headers::from_pairs([("content-type", media_type), ("cache-control", control)]);
    Response { status, headers, body: NONSENSE[noise.below(NONSENSE.len())].to_vec() }
}

/// After any outage, a provider that is well again serves again.
#[test]
fn whatever_came_it_heals() {
    for seed in 1..=100 {
        let noise = &mut Noise(u64::wrapping_mul(seed, 0xd134_2543_de82_ef95));
        let mut scene = Scene::cold(auto(json!({}), json!({})));
        let jwt = token(json!({"exp": 4_000_000_000_u64, "iat": null}));
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({"exp": null})));
        for _ in 0..60 {
            match noise.below(4) {
                0 => drop(scene.begin(bearer(["opaque", "worthless"][noise.below(2)]))),
                1 => drop(scene.begin(bearer(&jwt))),
                2 => {
                    scene.set_clock(scene.now().saturating_add(Duration::from_secs(noise.below(300) as u64)));
                    scene.only_tick();
                }
                _ => {
                    let (open, _) = scene.open_and_ended();
                    if open > 0 {
                        let answer = nonsense(noise);
                        scene.answer(noise.below(open), Some(answer).filter(|_| noise.below(3) > 0));
                    }
                }
            }
        }
        scene.pass_seconds(120);
        let (open, _) = scene.open_and_ended();
        assert_eq!((scene.waiting(), open), (0, 0), "seed {seed}");
        scene.send(bearer(&jwt)).allowed();
        scene.send(bearer("opaque")).allowed();
        scene.send(bearer("worthless")).refused(401, "inactive");
    }
}

/// A clock that goes back must not make those who wait wait for the clock.
#[test]
fn nobody_waits_for_a_clock_that_went_back() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    scene.provider.at("/.well-known/openid-configuration", Answer::IsLost);
    let stream = scene.begin(bearer(&good()));
    scene.settle();
    scene.set_clock(Timestamp::from_unix_seconds(NOW - 86_400));
    scene.pass_seconds(300);
    scene.seen(stream).refused(503, "provider_unavailable");
}

/// EXT-10, PTH-12: bytes that are no text.
#[test]
fn any_bytes_in_any_header() {
    let mut scene = Scene::of(stripping_everywhere());
    let mut noise = Noise(7);
    let mut went_on = 0;
    for round in 0..3_000 {
        let mut bytes = |limit: usize| -> Vec<u8> {
            let alphabet = b"t=;&?#%who[]+/ \"\\,.\0\r\n\xff\x80abcBearer";
            (0..noise.below(limit)).map(|_| alphabet[noise.below(alphabet.len())]).collect()
        };
        let ask = get(bytes(60))
            .header("cookie", bytes(60))
            .header("authorization", [b"Bearer ", &bytes(20)[..]].concat())
            .header(bytes(12), bytes(12))
            .metadata(Some(&*String::from_utf8_lossy(&bytes(9))).filter(|_| round % 2 == 0));
        let upstream = match scene.send(ask) {
            Seen::Upstream(upstream) => upstream,
            // A query that can be read in two ways.
            other => {
                other.refused(400, "invalid_request");
                continue;
            }
        };
        assert_eq!(upstream.result, "stripped");
        went_on += 1;
        let clean = |value: &str| !value.split(['?', '&', ';', ' ']).any(|part| part.starts_with("who="));
        let cookies = upstream.headers.iter().filter(|(name, _)| name == "cookie").all(|(_, value)| clean(value));
        let path = upstream.path().split('#').next().unwrap_or_default();
        assert!(cookies && path.split_once('?').is_none_or(|(_, query)| clean(query)), "{upstream:?}");
    }
    assert!(went_on > 1_000, "{went_on}");
}

/// ENC-06, EXT-07: much of everything, in linear time.
#[test]
fn much_of_everything() {
    let sources =
        json!([{"location": "cookie", "key": "t"}, {"location": "query_string", "key": "t"}, {"key": "authorization"}]);
    let output = json!({"location": "cookie", "key": "who"});
    let config = jwt(json!({}), json!({"enforce": false, "access_token": sources, "user_info": output}));
    let mut scene = Scene::of(config);
    let many = "a=1; ".repeat(10_000);
    let upstream = scene.send(bare().header("cookie", format!("{many}t=x; who=y"))).stripped("malformed_token");
    assert_eq!(upstream.cookie().unwrap().len(), many.len() - 2);
    let many = "a&".repeat(10_000);
    scene.send(get(format!("/p?{many}t=x"))).stripped("malformed_token");
    for token in [".".repeat(60_000), "a.".repeat(8_000), "e30.".repeat(4_000), "=".repeat(60_000)] {
        scene.send(bearer(&token)).stripped("malformed_token");
    }
    let many = (0..1_000).fold(bare(), |ask, index| ask.header(format!("x-{index}"), "y").header("cookie", "who=x"));
    assert_eq!(scene.send(many).stripped("missing_token").cookie(), None);
}
