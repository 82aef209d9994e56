//! Tokens among the protocols that a WebSocket handshake offers: as good as in a header, and nothing that a service chooses.

use crate::scene::*;
use crate::support::with;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::{Value, json};

const HEADER: &str = "sec-websocket-protocol";

fn settings(top: Value) -> Value {
    let source = json!({"access_token": [{}, {"location": "websocket_protocol"}], "claim_headers": [
        {"header": "x-user", "claim": "sub"}, {"header": "x-place", "attribute": "location"},
    ]});
    jwt(json!({}), with(source, top))
}

fn scene(top: Value) -> Scene {
    Scene::of(settings(top))
}

fn handshake(offered: &str) -> Ask {
    bare().header("connection", "Upgrade").header("upgrade", "websocket").header(HEADER, offered)
}

fn kubernetes(token: &str) -> String {
    format!("base64url.bearer.authorization.k8s.io.{}", BASE64_URL_SAFE_NO_PAD.encode(token))
}

/// EXT-13.
#[test]
fn a_token_among_protocols() {
    for forward in [true, false] {
        let mut scene = scene(json!({"forward": forward}));
        for (offered, left) in [
            (format!("bearer, {}, chat", good()), Some("chat")),
            (format!("chat,Bearer,{},superchat", good()), Some("chat, superchat")),
            (format!("bearer, {}", good()), Some("bearer")),
            (format!("{}, chat", kubernetes(&good())), Some("chat")),
            (format!("v4.channel.k8s.io, {}", kubernetes(&good())), Some("v4.channel.k8s.io")),
            (kubernetes(&good()), None),
        ] {
            let upstream = scene.send(handshake(&offered)).allowed();
            assert_eq!(
                (upstream.header("x-user"), upstream.header("x-place")),
                (Some("ann"), Some("websocket_protocol"))
            );
            assert_eq!(upstream.header(HEADER), left, "{offered}");
        }
        // Without a token in it, it is somebody else's.
        let upstream = scene.send(handshake("chat, superchat").bearer(&good())).allowed();
        assert_eq!(upstream.header(HEADER), Some("chat, superchat"));
        scene.send(handshake("chat")).refused(401, "missing_token");
    }
}

/// EXT-13.
#[test]
fn the_marker_can_be_another() {
    let source = json!({"location": "websocketProtocol", "key": "access_token"});
    let mut scene = scene(json!({"access_token": source}));
    assert_eq!(scene.send(handshake(&format!("access_token, {}, a", good()))).allowed().header(HEADER), Some("a"));
    scene.send(handshake(&format!("bearer, {}", good()))).refused(401, "missing_token");
}

/// EXT-01.
#[test]
fn one_token_among_protocols_or_none() {
    let good = good();
    let mut scene = scene(json!({}));
    for offered in [
        "bearer".to_owned(),
        "bearer, ".to_owned(),
        format!("bearer, , {good}"),
        format!("bearer {good}"),
        format!("chat bearer, {good}"),
        format!("bearer, {good}, bearer, {good}"),
        format!("bearer, {good}, {}", kubernetes(&good)),
        format!("{}, {}", kubernetes(&good), kubernetes(&good)),
        format!("{}==, chat", kubernetes(&good)),
        "base64url.bearer.authorization.k8s.io., chat".to_owned(),
    ] {
        scene.send(handshake(&offered)).refused(400, "invalid_request");
    }
    let token = format!("bearer, {good}");
    scene.send(handshake(&token).header(HEADER, "chat")).refused(400, "invalid_request");
    scene.send(handshake("bearer").header(HEADER, &good)).refused(400, "invalid_request");
    scene.send(handshake(&token).bearer(&good)).refused(400, "invalid_request");
    scene.send(handshake("bearer, no.t.oken")).refused(401, "malformed_token");
    let spaces = kubernetes("a b");
    scene.send(handshake(&spaces)).refused(400, "invalid_request");
    let control = kubernetes("a\0b");
    scene.send(handshake(&control)).refused(401, "malformed_token");
}

/// EXT-11: Another spelling of the header is one that a service could read a token from that nobody proved.
#[test]
fn other_spellings_of_the_header() {
    let mut scene = scene(json!({}));
    for other in ["sec_websocket_protocol", "sec-websocket.protocol"] {
        let sent = handshake(&format!("bearer, {}, chat", good())).header(other, "bearer, x");
        scene.send(sent).refused(400, "invalid_request");
        assert!(scene.filter.is_own_header(other.as_bytes()));
    }
    assert!(!scene.filter.is_own_header(HEADER.as_bytes()) && scene.filter.is_own_trailer(HEADER.as_bytes()));
}

/// EXT-13: whatever is not proved leaves, and what is not clear leaves as a whole.
#[test]
fn a_bad_token_is_stripped_from_the_protocols() {
    let expired = token(json!({"exp": NOW - 3600}));
    let mut scene = scene(json!({"enforce": false}));
    for (offered, reason, left) in [
        (format!("chat, bearer, {expired}"), "expired", Some("chat")),
        (format!("{}, chat", kubernetes(&expired)), "expired", Some("chat")),
        (format!("bearer, {expired}"), "expired", Some("bearer")),
        (format!("chat, bearer, bearer, {expired}"), "invalid_request", None),
        (format!("chat, bearer {expired}"), "invalid_request", None),
        ("chat".to_owned(), "missing_token", Some("chat")),
    ] {
        assert_eq!(scene.send(handshake(&offered)).stripped(reason).header(HEADER), left, "{offered}");
    }
    // A token in another place doesn't make this one good.
    let sent = handshake(&format!("chat, bearer, {expired}")).bearer(&good());
    assert_eq!(scene.send(sent).stripped("invalid_request").header(HEADER), Some("chat"));
    let rules = json!({"rules": {"match": {"path_prefix": "/things"}, "bypass": true}});
    let bypassed = Scene::of(settings(rules)).send(handshake(&format!("bearer, {expired}"))).bypassed();
    assert_eq!(bypassed.header(HEADER), Some(&*format!("bearer, {expired}")), "it is nobody's business here");
}

#[test]
fn settings_of_a_websocket_s_token() {
    use oidc_filter::config::Config;
    let refused = |top: Value| {
        let configuration = settings(top).to_string();
        Config::read(configuration.as_bytes(), &|_: &str| None).unwrap_err().to_string()
    };
    let place = |more: Value| json!({"access_token": [with(json!({"location": "websocket_protocol"}), more)]});
    assert!(refused(place(json!({"key": "a b"}))).starts_with("access_token[0].key: "));
    assert!(refused(place(json!({"key": ""}))).starts_with("access_token[0].key: "));
    assert!(refused(place(json!({"scheme": "Bearer"}))).starts_with("access_token[0].scheme: "));
    assert!(refused(place(json!({"metadata_filter": "n"}))).starts_with("access_token[0].metadata_filter: "));
    assert!(refused(place(json!({"provider": "nobody"}))).starts_with("access_token[0].provider: "));
    let twice =
        json!({"access_token": [{"location": "websocket_protocol"}, {"location": "websocket_protocol", "key": "b"}]});
    assert!(refused(twice).starts_with("access_token[1]: "));
    let output = json!({"claim_headers": {"header": "Sec-WebSocket-Protocol", "claim": "sub"}});
    assert!(refused(output).starts_with("claim_headers"));
    let output = json!({"user_info": {"location": "websocket_protocol", "key": "x"}});
    assert!(refused(output).starts_with("user_info"));
}
