//! One fault at a time: each member that says something about a token, in each place that says it, with a value of every other kind.
//! What passes is listed here, to the value; whatever isn't listed is refused.

use crate::scene::*;
use crate::support::sign;
use serde_json::{Value, json};

/// JSON of every kind, and of what some readers take for another kind: numbers in quotes, words for booleans, times in milliseconds.
const ODD: [&str; 24] = [
    "null",
    "true",
    "false",
    "0",
    "1",
    "-1",
    "1.5",
    "1e400",
    "18446744073709551616",
    "1800000000000",
    "1800003600.5",
    "18000036e2",
    r#""""#,
    r#"" ""#,
    r#""\u0000""#,
    r#""0""#,
    r#""true""#,
    r#""x""#,
    r#""1800003600""#,
    "[]",
    "[null]",
    r#"["x"]"#,
    "{}",
    r#"{"":null}"#,
];

/// Texts that say nothing of their own, where any text may stand.
const TEXTS: &[&str] = &[r#""""#, r#"" ""#, r#""\u0000""#, r#""0""#, r#""true""#, r#""x""#, r#""1800003600""#];

/// The text of an object, with this member first and never twice.
fn with_member(object: &Value, name: &str, value: &str) -> String {
    let mut object = object.clone();
    object.as_object_mut().unwrap().remove(name);
    let rest = object.to_string();
    format!("{{{}:{value},{}", Value::from(name), &rest[1..])
}

/// Of all values, these pass in the member of this name, and no others.
#[track_caller]
fn passes(name: &str, expected: &[&[&str]], mut send: impl FnMut(&str) -> Seen) {
    for odd in ODD {
        let seen = send(odd);
        let has_passed = matches!(seen, Seen::Upstream(_));
        assert_eq!(has_passed, expected.concat().contains(&odd), "{name}: {odd}: {seen:?}");
    }
}

fn signed(header: String, claims: String) -> Seen {
    let key = key("k1");
    Scene::of(jwt(json!({}), json!({}))).send(bearer(&sign(&key.signing, key.alg, header, claims)))
}

fn good_header() -> Value {
    json!({"alg": key("k1").alg, "kid": "k1", "typ": "at+jwt"})
}

/// RFC 7519, section 4.1; RFC 7800; RFC 8693. `null` is no absence in what was signed.
#[test]
fn claims_of_a_jwt() {
    let list: &[&str] = &["[]", r#"["x"]"#];
    let past: &[&str] = &["0", "1", "1.5"];
    for (name, expected) in [
        ("iss", &[][..]),
        ("aud", &[]),
        ("sub", &[TEXTS]),
        ("jti", &[TEXTS]),
        ("client_id", &[TEXTS]),
        ("azp", &[TEXTS]),
        ("exp", &[&["1800003600.5", "18000036e2"][..]]),
        ("nbf", &[past]),
        ("iat", &[past]),
        ("scope", &[TEXTS, list]),
        ("scp", &[TEXTS, list]),
        ("cnf", &[]),
        // Janssen's, where there is no binding.
        ("x5t#S256", &[&["null", r#""""#][..]]),
        ("email_verified", &[&["null", "true", "false", r#""true""#][..]]),
        ("act", &[&ODD]),
        ("may_act", &[&ODD]),
        ("authorization_details", &[&ODD]),
    ] {
        passes(name, expected, |odd| signed(good_header().to_string(), with_member(&good_claims(), name, odd)));
    }
}

/// RFC 7515, section 4.1: a hint may say anything.
#[test]
fn the_header_of_a_jwt() {
    for (name, expected) in [
        ("alg", &[][..]),
        ("kid", &[]),
        ("typ", &[]),
        ("cty", &[TEXTS]),
        ("crit", &[]),
        ("b64", &[]),
        ("zip", &[]),
        ("enc", &[]),
        ("jwk", &[&ODD]),
        ("jku", &[&ODD]),
        ("x5u", &[&ODD]),
        ("x5c", &[&ODD]),
        ("x5t", &[&ODD]),
        ("x5t#S256", &[&ODD]),
    ] {
        passes(name, expected, |odd| signed(with_member(&good_header(), name, odd), good_claims().to_string()));
    }
}

/// RFC 7517, section 4: what describes a key is true of it, or says nothing.
#[test]
fn members_of_a_key() {
    let nothing: &[&str] = &["null", r#""""#, "[]"];
    for (name, expected) in [
        ("kty", &[][..]),
        ("crv", &[]),
        ("x", &[]),
        ("use", &[nothing]),
        ("key_ops", &[nothing]),
        ("alg", &[nothing]),
        ("kid", &[nothing]),
        ("revoked", &[nothing, &["false"]]),
        ("x5c", &[&ODD]),
        ("x5t", &[&ODD]),
        ("d", &[&ODD]),
    ] {
        passes(name, expected, |odd| {
            let mut scene = Scene::cold(jwt(json!({}), json!({})));
            let keys = format!("{{\"keys\":[{}]}}", with_member(&key("k1").jwk(), name, odd));
            scene.provider.at("/jwks", says(200, "application/json", keys));
            scene.send(bearer(&good()))
        });
    }
}

/// RFC 7662, section 2.2. Some servers write `null` for what they have nothing to say about, and times as text.
#[test]
fn members_of_an_answer() {
    let list: &[&str] = &["[]", r#"["x"]"#];
    let past: &[&str] = &["null", "0", "1", "1.5", r#""0""#];
    let null: &[&str] = &["null"];
    for (name, expected) in [
        ("active", &[&["true"][..]][..]),
        ("iss", &[null]),
        ("aud", &[]),
        ("sub", &[null, TEXTS]),
        ("jti", &[null, TEXTS]),
        ("client_id", &[null, TEXTS]),
        ("exp", &[null, &["1800003600.5", "18000036e2", r#""1800003600""#]]),
        ("nbf", &[past]),
        ("iat", &[past]),
        ("scope", &[null, TEXTS, list]),
        ("cnf", &[null]),
        ("token_type", &[null]),
        ("token_use", &[null]),
        ("error", &[null, &["false", "0", r#""""#, "[]", "{}"]]),
        (
            "revoked",
            &[
                null,
                list,
                &["false", "0", r#""""#, r#"" ""#, r#""\u0000""#, r#""0""#, r#""x""#, "[null]", "{}", r#"{"":null}"#],
            ],
        ),
    ] {
        passes(name, expected, |odd| {
            let mut scene = Scene::of(introspection(json!({}), json!({})));
            let answer = with_member(&active(json!({"client_id": "client"})), name, odd);
            scene.provider.at("/introspect", says(200, "application/json", answer));
            scene.send(bearer("opaque"))
        });
    }
}
