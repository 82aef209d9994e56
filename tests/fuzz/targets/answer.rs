//! Answers of a provider, to every question: what vouches for a token says so plainly.

use super::lines;
use super::script::Script;
use crate::scene::{ISSUER, active, key, metadata};
use oidc_filter::config::Activity;
use oidc_filter::http::{Headers, Response};
use oidc_filter::jose::jwk::{JwkSet, KeySetOrigin};
use oidc_filter::jose::jwt::Claims;
use oidc_filter::oauth::introspection::{self, Answer};
use oidc_filter::oauth::metadata::Metadata;
use oidc_filter::oauth::userinfo;
use oidc_filter::policy::external;
use serde_json::{Value, json};

/// The first octets choose status and headers, the rest is the body.
pub fn run(octets: &[u8]) {
    let (choices, body) = octets.split_at(octets.len().min(3));
    let mut script = Script::of(choices);
    let status = *script.one_of(&[200, 401, 403, 404, 204, 500, 302, 0]);
    let types = ["application/json", "application/token-introspection+jwt", "text/html", "", "a/b+json; charset=x"];
    let media_type = *script.one_of(&types);
    let control = *script.one_of(&["", "max-age=60, no-cache", "max-age=99999999999999999999", "MAX-AGE=7,max-age=x"]);
    let headers = Headers::from_pairs([("content-type", media_type), ("cache-control", control)]);
    let response = Response { status, headers, body: body.to_vec() };

    let document: Option<Value> = serde_json::from_slice(body).ok();
    let member = |name: &str| document.as_ref().and_then(|document| document.get(name));
    if let Some(Answer::Active(object)) = introspection::answer(&response, &Activity::default()) {
        assert_eq!((status, member("active")), (200, Some(&Value::Bool(true))));
        checked(object);
    }
    if let Some(Answer::Active(object)) = userinfo::answer(&response, None) {
        assert!(status == 200 && member("sub").and_then(Value::as_str).is_some_and(|sub| !sub.is_empty()));
        checked(object);
    }
    match external::answer(&response) {
        Some(external::Answer::Allowed) => assert!((200..300).contains(&status), "{status}"),
        // The reason is written between the quotes of a challenge.
        Some(external::Answer::Denied(Some(why))) => {
            assert!(
                !why.is_empty() && why.bytes().all(|byte| matches!(byte, b' '..=b'~' if !b"\"\\".contains(&byte))),
                "{why}"
            );
        }
        Some(external::Answer::Denied(None)) | None => {}
    }
    if let Ok(found) = Metadata::parse(body, ISSUER) {
        assert_eq!(member("issuer").and_then(Value::as_str), Some(ISSUER));
        assert_eq!(found.jwks_uri.as_deref(), member("jwks_uri").and_then(Value::as_str));
    }
    let is_of_certificates =
        || document.as_ref().and_then(Value::as_object).is_some_and(|map| map.values().any(is_pem));
    let has_keys = member("keys").map_or_else(is_of_certificates, Value::is_array);
    assert!(JwkSet::parse(body, KeySetOrigin::Remote).is_err() || has_keys);
    let _ = response.max_age();
    let _ = response.headers.media_type();
}

fn is_pem(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim_start().starts_with("-----BEGIN "))
}

/// Claims of an answer have the types that they should have, or there are none.
fn checked(object: oidc_filter::json::Object) {
    let Ok(claims) = Claims::from_answer(object) else { return };
    let is_text = |name: &str| claims.object().get(name).is_none_or(Value::is_string);
    assert!(["iss", "sub", "jti", "azp", "client_id"].into_iter().all(is_text));
    let is_number = |name: &str| claims.object().get(name).is_none_or(Value::is_number);
    assert!(["exp", "nbf", "iat"].into_iter().all(is_number));
    assert_eq!(claims.expires_at().is_some(), claims.object().contains_key("exp"));
    let _ = claims.scopes().count();
}

pub fn seeds() -> Vec<Vec<u8>> {
    let documents = [
        active(json!({"scope": "read write", "client_id": "c", "nbf": 1.5, "token_type": "Bearer"})),
        json!({"active": false}),
        json!({"sub": "ann", "email": "ann@example.com", "aud": ["a", "b"]}),
        metadata(ISSUER),
        json!({"keys": [key("k1").jwk()]}),
    ];
    let mut seeds: Vec<_> = documents.iter().map(|d| [b"\0\0\0", d.to_string().as_bytes()].concat()).collect();
    seeds.extend(lines(&[
        "\0\0\0{\"active\":true,\"active\":false}",
        "\u{1}\0\0{}",
        "\0\u{2}\u{1}<html>",
        "\u{2}\0\0not \"you\"\r\nx: y\\ \u{e9}",
    ]));
    seeds
}
