//! Paths: however a service reads one that needs no token here, it is one that needs none; and none that it reads as one
//! that needs more than a token passes with less.

use super::{lines, unheard};
use crate::scene::{get, good, jwt};
use percent_encoding::percent_decode;
use serde_json::json;

/// The octets are the path of a request without a token.
pub fn run(octets: &[u8]) {
    let rules = json!([
        {"match": {"path_prefix": "/public"}, "bypass": true},
        {"match": {"path": "/favicon.ico"}, "bypass": true},
        {"match": {"path_pattern": "/v[0-9]+/open"}, "bypass": true},
        {"match": {"path_prefix": "/admin"}, "require": {"scopes": "admin"}},
    ]);
    let mut scene = unheard(jwt(json!({}), json!({"rules": rules})));
    let sent = octets.split(|octet| matches!(octet, b'?' | b'#')).next().unwrap_or_default();
    if scene.send(get(octets).bearer(&good())).upstream_or_none().is_some_and(|upstream| upstream.result == "allowed") {
        let is_admin = |reading: &Vec<Vec<u8>>| reading.first().is_some_and(|first| first == b"admin");
        assert!(!readings(sent).iter().any(is_admin), "{} may be read as /admin", octets.escape_ascii());
    }
    let Some(upstream) = scene.send(get(octets)).upstream_or_none() else { return };
    assert_eq!(upstream.result, "bypassed");
    for reading in readings(sent) {
        let is_open = reading.first().is_some_and(|first| first == b"public")
            || reading == [b"favicon.ico".to_vec()]
            || matches!(&reading[..], [version, open] if version.starts_with(b"v") && open == b"open");
        let reading: Vec<_> = reading.iter().map(|segment| segment.escape_ascii().to_string()).collect();
        assert!(is_open, "{} may be read as {reading:?}", octets.escape_ascii());
    }
}

/// The segments of a path, as readers of every kind see them.
fn readings(path: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let decoded: Vec<u8> = percent_decode(path).collect();
    let twice: Vec<u8> = percent_decode(&decoded).collect();
    let mut readings = Vec::new();
    for text in [path.to_vec(), decoded, twice] {
        for has_backslashes in [false, true] {
            for has_parameters in [false, true] {
                let is_separator = |octet: &u8| *octet == b'/' || (has_backslashes && *octet == b'\\');
                let mut segments: Vec<Vec<u8>> = Vec::new();
                for segment in text.split(is_separator) {
                    let end = segment.iter().position(|octet| has_parameters && *octet == b';');
                    match &segment[..end.unwrap_or(segment.len())] {
                        b"" | b"." => {}
                        b".." => drop(segments.pop()),
                        segment => segments.push(segment.to_vec()),
                    }
                }
                readings.push(segments);
            }
        }
    }
    readings
}

pub fn seeds() -> Vec<Vec<u8>> {
    lines(&[
        "/public",
        "/public/a/b?c",
        "/public/../admin",
        "/public/%2e%2e/admin",
        "/public/..;/admin",
        "/public%2fadmin",
        "/public\\..\\admin",
        "//public",
        "/./public",
        "/v12/open",
        "/favicon.ico#x",
        "/%70ublic/a",
        "/public/%252e%252e/admin",
        "/favicon.ico;x=/../admin",
        "/publicity",
        "/public;a/b",
        "/admin;x=%2F..",
        "/x/../admin/..%5c",
        "/x/..;/admin//..",
        "/public/a%00",
        "http://host/public",
        "/admin?x=error_description",
    ])
}
