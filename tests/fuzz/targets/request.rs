//! Requests as the host hands them over: whatever stands in them, nothing of it reaches the upstream as an identity or
//! as a token, once it was stripped.

use super::script::Script;
use crate::scene::{Ask, Scene, get, stripping_everywhere};
use oidc_filter::edge::wire;
use percent_encoding::percent_decode;

/// The first octets say what stands in which header; if that is nothing, all of them are a header list on the wire.
pub fn run(octets: &[u8]) {
    if let Some(headers) = wire::headers(octets.to_vec()) {
        assert!(headers.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= octets.len());
        let ask = headers.iter().fold(Ask::empty(), |ask, (name, value)| ask.header(name, value));
        stripped(ask);
        return;
    }
    let mut script = Script::of(octets);
    let mut ask = get([b"/p?", script.octets(60)].concat());
    while !script.is_over() {
        ask = match script.below(5) {
            0 => ask.header("cookie", script.octets(60)),
            1 => ask.header("authorization", [b"Bearer ", script.octets(40)].concat()),
            2 => ask.header("connection", script.octets(20)),
            3 => ask.metadata(std::str::from_utf8(script.octets(20)).ok()),
            _ => ask.header(script.octets(14), script.octets(20)),
        };
    }
    stripped(ask);
}

fn stripped(ask: Ask) {
    // The scene checks that no header of the filter's own reaches the upstream.
    let Some(upstream) = Scene::of(stripping_everywhere()).send(ask).upstream_or_none() else { return };
    assert_eq!(upstream.result, "stripped");
    assert!(!upstream.headers.iter().any(|(name, _)| name == "authorization"));
    let names = |text: &str, separators: &[char]| -> Vec<Vec<u8>> {
        let pairs = text.split(separators).map(|pair| pair.split('=').next().unwrap_or_default().trim_ascii());
        pairs.map(|name| percent_decode(name.as_bytes()).collect()).collect()
    };
    let is_ours = |name: &Vec<u8>| name.eq_ignore_ascii_case(b"who") || name == b"t";
    for (_, value) in upstream.headers.iter().filter(|(name, _)| name == "cookie") {
        let found = names(value, &[';']);
        assert!(!found.iter().any(is_ours), "{value:?}");
    }
    let path = upstream.headers.iter().find(|(name, _)| name == ":path").map(|(_, path)| path.as_str());
    let path = path.unwrap_or_default().split('#').next().unwrap_or_default();
    if let Some((_, query)) = path.split_once('?') {
        assert!(!names(query, &['&', ';']).iter().any(is_ours), "{path:?}");
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let wire = |pairs: &[(&str, &str)]| {
        let length = |text: &str| u32::try_from(text.len()).unwrap().to_le_bytes();
        let mut octets = u32::try_from(pairs.len()).unwrap().to_le_bytes().to_vec();
        pairs.iter().for_each(|(name, value)| octets.extend([length(name), length(value)].concat()));
        pairs.iter().for_each(|(name, value)| octets.extend(format!("{name}\0{value}\0").bytes()));
        octets
    };
    vec![
        wire(&[
            (":method", "GET"),
            (":path", "/p?who=x&t=a.b&%77ho=y;WHO=z#who=f"),
            ("cookie", "a=1; who=x; t=a.b; \"who\"=y"),
            ("authorization", "Bearer a.b.c"),
            ("identity", "forged"),
            ("Identity", "forged"),
            ("connection", "identity, close"),
        ]),
        wire(&[(":method", "OPTIONS"), (":path", "*"), ("origin", "o"), ("access-control-request-method", "GET")]),
        b"\x13who=x&t[]=y&w%68o;t=z\0\x09who=1; t=x\x01\x05a.b.c\x04\x08identity\x06forged".to_vec(),
        b"\x08who[a]=x\0\x0ct=\"x\",who=y\x02\x08identity\x03\x01t".to_vec(),
    ]
}
