//! Whatever comes, in whatever order: nobody passes who must not, everybody is answered once, and nothing breaks.
//! The events are random and the same on every run.

use crate::scene::*;
use crate::support::{Noise, with};
use oidc_filter::filter::StreamId;
use oidc_filter::http::{Headers, Response};
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::sync::LazyLock;
use std::time::Duration;

const OTHER: &str = "https://other.example";

/// Credentials, and whether they are good for anything.
static CREDENTIALS: LazyLock<Vec<(String, bool)>> = LazyLock::new(|| {
    let long = json!({"exp": 4_000_000_000_u64, "iat": null, "email": "ann@example.com"});
    let k1 = |change: Value| key("k1").token(with(long.clone(), change));
    let other = Key { kid: "k1", ..key("other") };
    let forged = key("foreign").token_with(json!({"kid": "k1"}), long.clone());
    vec![
        (format!("Bearer {}", k1(json!({}))), true),
        (format!("Bearer {}", k1(json!({"jti": "second"}))), true),
        (format!("Bearer {}", other.token(with(long.clone(), json!({"iss": OTHER})))), true),
        ("Bearer opaque".to_owned(), true),
        ("Bearer opaque2".to_owned(), true),
        (format!("Bearer {}", k1(json!({"iss": OTHER}))), false),
        (format!("Bearer {}", other.token(long.clone())), false),
        (format!("Bearer {forged}"), false),
        (format!("Bearer {}", key("k9").token(long.clone())), false),
        (format!("Bearer {}", k1(json!({"exp": NOW - 100 * 86_400}))), false),
        (format!("Bearer {}", k1(json!({"aud": "other"}))), false),
        (format!("Bearer {}", k1(json!({"cnf": {"jkt": "x"}}))), false),
        (format!("Bearer {}", k1(json!({"iss": "https://evil.example"}))), false),
        ("Bearer worthless".to_owned(), false),
        ("Bearer a.b.c".to_owned(), false),
        ("Bearer ".to_owned(), false),
        ("Basic dTpw".to_owned(), false),
    ]
});

/// A chaotic scene: what is said about tokens is the truth or nonsense, never a lie.
fn scene(noise: &mut Noise) -> Scene {
    let kinds = ["auto", "jwt", "introspection", "userinfo"];
    let provider = |noise: &mut Noise, issuer: &str| {
        let kind = kinds[noise.below(4)];
        let jwks =
            json!({"cache": 30 + noise.below(100), "max_stale": noise.below(200), "cooldown": 1 + noise.below(30)});
        let provider = json!({"issuer": issuer, "audiences": AUDIENCE, "validation": kind, "jwks": jwks});
        match kind {
            "introspection" => {
                let cache = json!({"cache": noise.below(3), "negative_cache": noise.below(3)});
                with(provider, json!({"introspection": cache}))
            }
            "userinfo" => with(provider, json!({"userinfo": {"cache": noise.below(3)}})),
            _ => provider,
        }
    };
    let mut providers = vec![provider(noise, ISSUER)];
    if noise.below(2) == 0 {
        providers.push(provider(noise, OTHER));
    }
    let mut scene = Scene::cold(json!({
        "providers": providers,
        "enforce": noise.below(2) == 0,
        "allow_missing": noise.below(3) == 0,
        "allow_preflight": noise.below(2) == 0,
        "forward": noise.below(2) == 0,
        "claim_headers": [{"header": "x-user", "claim": "sub"}, {"header": "x-mail", "claim": "email"}],
        "user_info": [
            {"key": "identity"}, {"location": "cookie", "key": "who", "claims": "sub"},
            {"location": "query_string", "key": "who", "claims": "sub"}, {"location": "metadata", "key": "who"},
        ],
    }));
    scene.provider.add_issuer(OTHER, &[Key { kid: "k1", ..key("other") }.jwk()]);
    for (credentials, good) in CREDENTIALS.iter() {
        if let Some(token) = credentials.strip_prefix("Bearer ").filter(|_| *good) {
            scene.provider.tokens.insert(token.to_owned(), active(json!({"iss": null, "exp": 4_000_000_000_u64})));
            scene.provider.users.insert(token.to_owned(), json!({"sub": "ann", "email": "ann@example.com"}));
        }
    }
    scene
}

fn request(noise: &mut Noise) -> (Ask, bool) {
    let path = ["/p", "/p?who=forged&a", "/p?WH%4f[]=forged", "/"][noise.below(4)];
    let mut ask = get(path);
    for forgery in ["x-user", "X_USER", "x.mail", "identity", "x-oidc-metadata-who"] {
        if noise.below(3) == 0 {
            ask = ask.header(forgery, "forged");
        }
    }
    if noise.below(3) == 0 {
        ask = ask.header("cookie", "a=1; who=forged; b");
    }
    if noise.below(5) == 0 {
        ask = ask.set(":method", Some("OPTIONS")).header("origin", "o").header("access-control-request-method", "GET");
    }
    let (credentials, good) = &CREDENTIALS[noise.below(CREDENTIALS.len())];
    match noise.below(10) {
        0 => (ask, false),
        1 => (ask.header("authorization", credentials).header("authorization", credentials), false),
        2 => {
            let damaged = noise.damage(credentials.as_bytes(), b"ABCabc019-_.= ,");
            let same = damaged == credentials.as_bytes();
            // A scheme in other letters is the same, and so are two spaces.
            let text = String::from_utf8_lossy(&damaged).to_ascii_lowercase().replace("  ", " ");
            let good = *good && (same || CREDENTIALS.iter().any(|(c, good)| *good && c.to_ascii_lowercase() == text));
            (ask.header("authorization", damaged), good)
        }
        _ => (ask.header("authorization", credentials), *good),
    }
}

fn nonsense(noise: &mut Noise) -> Response {
    let bodies: [&[u8]; 12] = [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe\0",
        b"<html>",
        b"{\"keys\":[]}",
        b"{\"active\":\"true\"}",
        b"{\"sub\":\"\"}",
        b"{\"issuer\":\"https://evil.example\",\"jwks_uri\":\"https://evil.example/k\"}",
        b"{\"active\":true,\"active\":true}",
        b"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k1\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
    ];
    let status = [200, 200, 200, 0, 204, 302, 401, 403, 404, 500, 503, 999][noise.below(12)];
    let media_type = ["application/json", "text/html", "", "\u{e9}"][noise.below(4)];
    let control = ["max-age=0", "max-age=99999999999", "no-store", "max-age=x"][noise.below(4)];
    let headers = Headers::from_pairs([("content-type", media_type), ("cache-control", control)]);
    Response { status, headers, body: bodies[noise.below(12)].to_vec() }
}

/// An honest answer, a damaged one, nonsense, or none.
fn some_answer(noise: &mut Noise, scene: &Scene, index: usize) -> Option<Response> {
    match noise.below(8) {
        0 => None,
        1 => Some(nonsense(noise)),
        2 => scene.honest_answer(index).map(|mut response| {
            response.body = noise.damage(&response.body, b"{}[]\",:\\u0019.e ");
            response
        }),
        _ => scene.honest_answer(index),
    }
}

#[test]
fn wsm_02_whatever_comes() {
    let (mut allowed, mut refused, mut stripped) = (0, 0, 0);
    for seed in 1..=200 {
        let noise = &mut Noise(u64::wrapping_mul(seed, 0x9e37_79b9_7f4a_7c15));
        let mut scene = scene(noise);
        let mut streams: Vec<(StreamId, bool)> = Vec::new();
        let mut latest = scene.now();
        for _ in 0..120 {
            let (open, ended) = scene.open_and_ended();
            match noise.below(12) {
                0..=4 => {
                    let (ask, good) = request(noise);
                    streams.push((scene.begin(ask), good));
                }
                5..=7 if open > 0 => {
                    let index = noise.below(open);
                    let answer = some_answer(noise, &scene, index);
                    scene.answer(index, answer);
                }
                8 if ended > 0 => {
                    let answer = nonsense(noise);
                    scene.answer_again(noise.below(ended), Some(answer));
                }
                9 if !streams.is_empty() => {
                    let (stream, _) = streams[noise.below(streams.len())];
                    if scene.seen(stream).is_waiting() {
                        scene.leave(stream);
                        streams.retain(|(other, _)| *other != stream);
                    }
                }
                10 => {
                    let step = Duration::from_millis([1, 100, 1_000, 7_000, 40_000, 400_000][noise.below(6)]);
                    scene.set_clock(match noise.below(6) {
                        0 => scene.now().saturating_sub(step),
                        _ => scene.now().saturating_add(step),
                    });
                    latest = latest.max(scene.now());
                    scene.only_tick();
                }
                _ => scene.only_tick(),
            }
        }
        // Nobody answers any more, and time goes by.
        scene.set_clock(latest);
        for url in ["/.well-known/openid-configuration", "/jwks", "/introspect", "/userinfo"] {
            for issuer in [ISSUER, OTHER] {
                scene.provider.serve(&format!("{issuer}{url}"), Answer::IsLost);
            }
        }
        scene.pass_seconds(130);
        assert_eq!(scene.waiting(), 0, "seed {seed}: somebody still waits");
        for (stream, good) in streams {
            match scene.seen(stream) {
                Seen::Upstream(upstream) => {
                    assert!(upstream.result != "allowed" || good, "seed {seed}: {upstream:?}");
                    let forged = upstream.headers.iter().any(|(_, value)| value.contains("forged"));
                    assert!(!forged, "seed {seed}: {upstream:?}");
                    match upstream.result {
                        "allowed" => allowed += 1,
                        _ => stripped += 1,
                    }
                }
                Seen::Refused(_) => refused += 1,
                Seen::Confirmed(_) | Seen::Waiting => unreachable!(),
            }
        }
    }
    // It would prove little if all went one way.
    assert!(allowed > 400 && refused > 2_000 && stripped > 2_000, "{allowed} {refused} {stripped}");
}

/// After any outage, a provider that is well again serves again.
#[test]
fn whatever_came_it_heals() {
    for seed in 1..=100 {
        let noise = &mut Noise(u64::wrapping_mul(seed, 0xd134_2543_de82_ef95));
        let mut scene = Scene::cold(auto(json!({}), json!({})));
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({"exp": null})));
        for _ in 0..60 {
            match noise.below(4) {
                0 => drop(scene.begin(bearer(["opaque", "worthless"][noise.below(2)]))),
                1 => drop(scene.begin(bearer(&CREDENTIALS[0].0["Bearer ".len()..]))),
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
        scene.send(bearer(&CREDENTIALS[0].0["Bearer ".len()..])).allowed();
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

/// PTH-12, EXT-10: bytes that are no text.
#[test]
fn ext_10_any_bytes_in_any_header() {
    let sources = json!([
        {"key": "authorization"}, {"location": "cookie", "key": "t"}, {"location": "query_string", "key": "t"},
        {"location": "metadata", "key": "t", "metadata_filter": "n"},
    ]);
    let outputs = json!([
        {"key": "identity"}, {"location": "cookie", "key": "who"}, {"location": "query_string", "key": "who"},
    ]);
    let config = jwt(json!({}), json!({"enforce": false, "access_token": sources, "user_info": outputs}));
    let mut scene = Scene::of(config);
    let mut noise = Noise(7);
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
        let upstream = scene.send(ask).upstream();
        assert_eq!(upstream.result, "stripped");
        let clean = |value: &str| !value.split(['?', '&', ';', ' ']).any(|part| part.starts_with("who="));
        let cookies = upstream.headers.iter().filter(|(name, _)| name == "cookie").all(|(_, value)| clean(value));
        let path = upstream.path().split('#').next().unwrap_or_default();
        assert!(cookies && path.split_once('?').is_none_or(|(_, query)| clean(query)), "{upstream:?}");
    }
}

/// EXT-07, ENC-06: much of everything, in linear time.
#[test]
fn enc_06_ext_07_much_of_everything() {
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
