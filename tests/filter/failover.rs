//! Several endpoints for one thing: which is asked, when one is given up, and when it is taken again.

use crate::scene::*;
use serde_json::{Value, json};
use std::time::Duration;

fn introspecting(settings: Value) -> Scene {
    let endpoints = json!({"endpoint": ["https://idp.example.com/a", "https://idp.example.com/b"], "cache": 0, "negative_cache": 0});
    let provider = json!({"introspection": endpoints, "failover": settings});
    let mut scene = Scene::of(introspection(provider, json!({})));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene.provider.at("/a", Answer::Introspects("token"));
    scene.provider.at("/b", Answer::Introspects("token"));
    scene
}

/// A request to its end, with all timeouts.
fn patiently(scene: &mut Scene, token: &str) -> Seen {
    scene.pass(Duration::from_millis(10));
    let stream = scene.begin(bearer(token));
    scene.settle();
    while scene.seen(stream).is_waiting() {
        scene.pass_seconds(1);
    }
    scene.seen(stream)
}

fn counts(scene: &Scene) -> (usize, usize) {
    (scene.count("/a"), scene.count("/b"))
}

fn is_up(scene: &Scene) -> Vec<bool> {
    scene.filter.endpoint_facts().map(|(.., is_up)| is_up).collect()
}

/// MV-51, MV-52: the next endpoint is for when the first has no answer, not for another opinion.
#[test]
fn the_next_one_for_an_outage_only() {
    for outage in
        [status(500), status(503), status(429), says(200, "text/html", "<html>"), Answer::Refuses, Answer::TimesOut]
    {
        let mut scene = introspecting(json!({}));
        patiently(&mut scene, "opaque").allowed();
        patiently(&mut scene, "unknown").refused(401, "inactive");
        assert_eq!(counts(&scene), (2, 0));
        scene.provider.at("/a", outage);
        patiently(&mut scene, "opaque").allowed();
        patiently(&mut scene, "unknown").refused(401, "inactive");
        assert_eq!(scene.count("/b"), 2);
        scene.provider.at("/b", status(503));
        patiently(&mut scene, "opaque").refused(503, "provider_unavailable");
    }
}

/// MV-53: two failures in a row, one of them of a probe, mark an endpoint down, two successes mark it up, and it is probed at the
/// interval.
#[test]
fn down_and_up_by_counts() {
    let mut scene = introspecting(json!({}));
    scene.provider.at("/a", status(503));
    patiently(&mut scene, "opaque").allowed();
    assert_eq!((counts(&scene), is_up(&scene)), ((1, 1), vec![true, true]));
    // A success in between, here the probe's, begins the count anew.
    scene.provider.at("/a", Answer::Introspects("token"));
    patiently(&mut scene, "opaque").allowed();
    assert_eq!((counts(&scene), is_up(&scene)), ((3, 1), vec![true, true]));
    scene.provider.at("/a", status(503));
    for _ in 0..3 {
        patiently(&mut scene, "opaque").allowed();
    }
    assert_eq!((counts(&scene), is_up(&scene)), ((6, 4), vec![true, true]), "no probe was due yet");
    scene.pass_seconds(30);
    assert_eq!((counts(&scene), is_up(&scene)), ((7, 4), vec![false, true]));
    // Given up: nobody waits for it any more.
    for _ in 0..5 {
        patiently(&mut scene, "opaque").allowed();
    }
    assert_eq!(counts(&scene), (7, 9));
    // It is probed every 30 seconds, with no token of anybody.
    scene.pass_seconds(29);
    assert_eq!(counts(&scene), (7, 9));
    scene.pass_seconds(62);
    assert_eq!((counts(&scene), is_up(&scene)), ((10, 9), vec![false, true]));
    let probe = scene.calls_to("/a").pop().unwrap().form();
    assert!(!probe["token"].contains("opaque"), "{probe:?}");
    // Back: after two probes.
    scene.provider.at("/a", Answer::Introspects("token"));
    scene.pass_seconds(31);
    assert_eq!((counts(&scene), is_up(&scene)), ((11, 9), vec![false, true]));
    patiently(&mut scene, "opaque").allowed();
    assert_eq!(counts(&scene), (11, 10));
    scene.pass_seconds(31);
    assert_eq!((counts(&scene), is_up(&scene)), ((12, 10), vec![true, true]));
    // MV-54: it is preferred again.
    patiently(&mut scene, "opaque").allowed();
    assert_eq!(counts(&scene), (13, 10));
    scene.pass_seconds(120);
    assert_eq!(counts(&scene), (13, 10), "what is well is not probed");
}

/// ATK-12: a client's bad token that an endpoint refuses, or fails over, says nothing about the endpoint; a probe does.
#[test]
fn a_bad_token_takes_no_endpoint_down() {
    let refusals = [400, 401, 403, 404, 413, 422].map(status);
    let failures = [status(500), status(503), status(429), says(200, "text/html", "<html>"), Answer::Refuses];
    for (place, refusal) in refusals.into_iter().chain(failures).enumerate() {
        let mut scene = introspecting(json!({}));
        scene.provider.at("/a", refusal.clone());
        scene.provider.at("/b", refusal.clone());
        for number in 0..5 {
            let stream = scene.begin(bearer(&format!("~garbage{number}")));
            // Before the first probe.
            scene.settle();
            scene.seen(stream).refused(503, "provider_unavailable");
        }
        assert_eq!((counts(&scene), is_up(&scene)), ((5, 5), vec![true, true]), "{place}");
        scene.provider.at("/a", Answer::Introspects("token"));
        scene.provider.at("/b", Answer::Introspects("token"));
        patiently(&mut scene, "opaque").allowed();
        // One probe each, and then none: it is well.
        scene.pass_seconds(300);
        assert_eq!((counts(&scene), is_up(&scene)), ((7, 6), vec![true, true]), "{place}");
        // Garbage makes no more probes than one in an interval.
        scene.provider.at("/b", status(500));
        let before = counts(&scene).0;
        scene.provider.at("/a", refusal.clone());
        for number in 0..10 {
            scene.send(bearer(&format!("~more{number}")));
            scene.pass(Duration::from_millis(100));
        }
        assert!(counts(&scene).0 <= before + 10 + 2, "{place}");
    }
    // What is not there for nobody's token either is given up.
    for refusal in [401, 403, 404, 410] {
        let mut scene = introspecting(json!({}));
        scene.provider.at("/a", status(refusal));
        patiently(&mut scene, "opaque").allowed();
        assert_eq!(is_up(&scene), [true, true]);
        scene.pass_seconds(31);
        assert_eq!(is_up(&scene), [false, true], "{refusal}");
        scene.provider.at("/a", Answer::Introspects("token"));
        scene.pass_seconds(62);
        assert_eq!(is_up(&scene), [true, true], "{refusal}");
    }
    // Nor does one whose answer is more than is read: whose it is has chosen what it says.
    let long = active(json!({"groups": vec!["a".repeat(1000); 70]}));
    for useless in [says_json(long), says(200, "application/json", b"{\"name\":\"Ren\xe9\"}")] {
        let mut scene = introspecting(json!({}));
        for path in ["/a", "/b"] {
            scene.provider.at(path, useless.clone());
        }
        for number in 0..5 {
            scene.send(bearer(&format!("~garbage{number}"))).refused(503, "provider_unavailable");
        }
        assert_eq!(is_up(&scene), [true, true]);
        scene.provider.at("/a", Answer::Introspects("token"));
        scene.provider.at("/b", Answer::Introspects("token"));
        scene.pass_seconds(300);
        patiently(&mut scene, "opaque").allowed();
        assert_eq!(is_up(&scene), [true, true]);
    }
    // An endpoint that refuses all tokens that it doesn't know is there.
    let mut scene = introspecting(json!({}));
    scene.provider.at("/a", status(400));
    patiently(&mut scene, "opaque").allowed();
    scene.pass_seconds(300);
    assert_eq!((counts(&scene).0, is_up(&scene)), (2, vec![true, true]));
}

#[test]
fn the_counts_and_the_interval_are_configured() {
    let mut scene = introspecting(json!({"unhealthy_threshold": 3, "healthy_threshold": 1, "interval": "5s"}));
    scene.provider.at("/a", status(500));
    for _ in 0..2 {
        assert_eq!(is_up(&scene), [true, true]);
        patiently(&mut scene, "opaque").allowed();
    }
    // Two requests and a probe.
    assert_eq!((counts(&scene), is_up(&scene)), ((3, 2), vec![false, true]));
    scene.provider.at("/a", Answer::Introspects("token"));
    scene.pass_seconds(6);
    assert_eq!((counts(&scene), is_up(&scene)), ((4, 2), vec![true, true]));
}

/// One that refuses whatever it doesn't know is back when it does so again.
#[test]
fn an_endpoint_that_refuses_probes_comes_back() {
    let mut scene = introspecting(json!({}));
    scene.provider.at("/a", status(503));
    for _ in 0..2 {
        patiently(&mut scene, "opaque").allowed();
    }
    assert_eq!(is_up(&scene), [false, true]);
    scene.provider.at("/a", status(400));
    scene.pass_seconds(61);
    assert_eq!(is_up(&scene), [true, true]);
}

/// A probe that takes longer than the interval is waited for, not looked for a thousand times a second.
#[test]
fn a_slow_probe_does_not_make_the_timer_run_hot() {
    let mut scene = introspecting(json!({"interval": "1s"}));
    scene.provider.at("/a", Answer::TimesOut);
    for _ in 0..2 {
        patiently(&mut scene, "opaque").allowed();
    }
    assert_eq!(is_up(&scene), [false, true]);
    // The scene itself counts the ticks.
    scene.pass_seconds(30);
    assert_eq!(is_up(&scene), [false, true]);
}

/// WSM-06: a clock that goes back by a year doesn't put off the probes by one.
#[test]
fn a_clock_that_goes_back() {
    let mut scene = introspecting(json!({}));
    scene.provider.at("/a", status(503));
    for _ in 0..2 {
        patiently(&mut scene, "opaque").allowed();
    }
    assert_eq!(is_up(&scene), [false, true]);
    scene.provider.at("/a", Answer::Introspects("token"));
    scene.set_clock(scene.now().saturating_sub(Duration::from_secs(365 * 24 * 3600)));
    scene.pass_seconds(61);
    assert_eq!(is_up(&scene), [true, true]);
}

/// What would fail a request doesn't bring an endpoint back: a page of a portal, a document without keys.
#[test]
fn garbage_brings_no_endpoint_back() {
    for garbage in [says(200, "text/html", "<html>"), says(200, "application/json", "[]"), status(200)] {
        let mut scene = introspecting(json!({}));
        scene.provider.at("/a", garbage.clone());
        for _ in 0..2 {
            patiently(&mut scene, "opaque").allowed();
        }
        scene.pass_seconds(200);
        assert_eq!(is_up(&scene), [false, true]);

        let uris = json!(["https://idp.example.com/a", "https://idp.example.com/b"]);
        let mut scene = Scene::cold(jwt(json!({"jwks": {"uri": uris, "cache": "10s"}}), json!({})));
        scene.provider.at("/a", garbage.clone());
        scene.provider.at("/b", says_json(json!({"keys": [key("k1").jwk()]})));
        scene.tick();
        scene.pass_seconds(200);
        assert_eq!(is_up(&scene), [false, true]);

        let both = json!({"endpoint": ["https://idp.example.com/a", "https://idp.example.com/b"], "cache": 0});
        let mut scene = Scene::of(userinfo(json!({"userinfo": both}), json!({})));
        scene.provider.users.insert("opaque".to_owned(), json!({"sub": "ann"}));
        scene.provider.at("/b", Answer::TellsUser);
        scene.provider.at("/a", status(503));
        for _ in 0..2 {
            patiently(&mut scene, "opaque").allowed();
        }
        scene.provider.at("/a", garbage);
        scene.pass_seconds(200);
        assert_eq!(is_up(&scene), [false, true]);
    }
}

/// When all are given up, each is tried all the same: one of them may be back.
#[test]
fn all_down_is_not_the_end() {
    let mut scene = introspecting(json!({}));
    scene.provider.at("/a", status(503));
    scene.provider.at("/b", status(503));
    for _ in 0..4 {
        patiently(&mut scene, "opaque").refused(503, "provider_unavailable");
    }
    assert_eq!((counts(&scene), is_up(&scene)), ((5, 5), vec![false, false]));
    scene.provider.at("/b", Answer::Introspects("token"));
    patiently(&mut scene, "opaque").allowed();
    assert_eq!(counts(&scene), (6, 6));
    // What requests show of health counts as much as what probes show.
    patiently(&mut scene, "opaque").allowed();
    assert_eq!(is_up(&scene), [false, true]);
    patiently(&mut scene, "opaque").allowed();
    assert_eq!(counts(&scene), (7, 8));
}

/// What failed over is counted, and so is what failed.
#[test]
fn failovers_are_counted() {
    let mut scene = introspecting(json!({}));
    scene.provider.at("/a", status(503));
    patiently(&mut scene, "opaque").allowed();
    scene.provider.at("/b", Answer::Refuses);
    patiently(&mut scene, "opaque").refused(503, "provider_unavailable");
    let results: Vec<_> = scene.fetched.iter().map(|outcome| (outcome.kind, outcome.result)).collect();
    let expected = [
        ("introspection", "failed_over"),
        ("introspection", "ok"),
        ("introspection", "failed_over"),
        ("introspection", "failed"),
    ];
    assert_eq!(results, expected);
}

#[test]
fn userinfo_endpoints() {
    let settings =
        json!({"userinfo": {"endpoint": ["https://idp.example.com/a", "https://idp.example.com/b"], "cache": 0}});
    let mut scene = Scene::of(userinfo(settings, json!({})));
    scene.provider.users.insert("opaque".to_owned(), json!({"sub": "ann"}));
    scene.provider.at("/a", Answer::TimesOut);
    scene.provider.at("/b", Answer::TellsUser);
    for _ in 0..3 {
        patiently(&mut scene, "opaque").allowed();
    }
    assert_eq!((counts(&scene), is_up(&scene)), ((3, 3), vec![false, true]), "two requests and a probe");
    // To nobody's token a healthy endpoint says 401.
    scene.provider.at("/a", Answer::TellsUser);
    scene.pass_seconds(61);
    assert_eq!(is_up(&scene), [true, true]);
    patiently(&mut scene, "opaque").allowed();
    assert_eq!(scene.count("/b"), 3);
    patiently(&mut scene, "unknown").refused(401, "inactive");
    assert_eq!(scene.count("/b"), 3);
}

#[test]
fn key_sets_of_several_places() {
    let uris = json!(["https://idp.example.com/a", "https://cdn.example/b"]);
    let provider = json!({"jwks": {"uri": uris, "cache": "1m"}, "clusters": {"cdn.example": "cdn"}});
    let mut scene = Scene::cold(jwt(provider, json!({})));
    scene.provider.serve("https://cdn.example/b", says_json(json!({"keys": [key("k1").jwk()]})));
    scene.provider.at("/a", says(200, "application/json", "not keys"));
    scene.tick();
    scene.send(bearer(&good())).allowed();
    assert_eq!(scene.the_call_to("/b").cluster, "cdn");
    scene.pass_seconds(60);
    assert_eq!((counts(&scene), is_up(&scene)), ((2, 2), vec![false, true]));
    // Down: refreshes go to the other one, and probes to this.
    scene.provider.at("/a", says_json(json!({"keys": [key("k1").jwk(), key("k2").jwk()]})));
    scene.pass_seconds(65);
    assert_eq!(is_up(&scene), [true, true]);
    scene.pass_seconds(60);
    scene.send(bearer(&key("k2").token(json!({})))).allowed();
}

/// With nothing to fail over to, nothing is given up, and nobody is probed.
#[test]
fn a_single_endpoint_is_always_asked() {
    let endpoint = json!({"introspection": {"endpoint": ["https://idp.example.com/a"]}});
    let mut scene = Scene::of(introspection(endpoint, json!({})));
    scene.provider.at("/a", status(503));
    for _ in 0..5 {
        patiently(&mut scene, "opaque").refused(503, "provider_unavailable");
    }
    scene.pass_seconds(100);
    assert_eq!((scene.count("/a"), is_up(&scene).len()), (5, 0));
}

#[test]
fn settings_that_are_refused() {
    for (settings, path) in [
        (json!({"unhealthy_threshold": 0}), "providers[0].failover.unhealthy_threshold"),
        (json!({"healthy_threshold": 1.5}), "providers[0].failover.healthy_threshold"),
        (json!({"interval": "10ms"}), "providers[0].failover.interval"),
        (json!({"interval": "1s", "x": 1}), "providers[0].failover.x"),
    ] {
        let config = jwt(json!({"failover": settings}), json!({}));
        let error = oidc_filter::config::Config::read(config.to_string().as_bytes(), &|_: &str| None).expect_err(path);
        assert!(error.to_string().starts_with(&format!("{path}: ")), "{error}");
    }
}
