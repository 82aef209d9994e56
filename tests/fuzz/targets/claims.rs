//! Claims on their way to the upstream: whatever they hold, it gets those claims, and one value in each place.

use super::lines;
use crate::scene::{ISSUER, Scene, bearer, good_claims, introspection};
use oidc_filter::json;
use oidc_filter::protobuf;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// The octets are what an introspection endpoint says, beside what makes the token a good one.
pub fn run(octets: &[u8]) {
    let Ok(mut said) = json::parse_object(octets) else { return };
    said.extend(json!({"active": true, "iss": ISSUER}).as_object().unwrap().clone());
    said.remove("cnf");
    for name in ["aud", "exp", "nbf", "iat"] {
        said.remove(name);
    }
    said.insert("aud".to_owned(), good_claims()["aud"].clone());
    let mut scene = Scene::of(introspection(
        json!({}),
        json!({
            "claim_headers": [
                {"header": "x-user", "claim": "sub"},
                {"header": "x-roles", "path": "realm_access.roles", "separator": " "},
                {"header": "x-any", "claims": ["a", "b"], "prefix": "p:"},
            ],
            "user_info": [
                {"key": "identity"},
                {"key": "identity64", "encoding": "base64url"},
                {"key": "identityjson", "encoding": "json"},
                {"location": "cookie", "key": "who", "claims": ["sub", "a"]},
                {"location": "query_string", "key": "who", "claims": ["sub", "a"]},
                {"location": "metadata", "key": "who", "claims": ["sub", "a", "b"]},
            ],
        }),
    ));
    scene.provider.tokens.insert("opaque".to_owned(), Value::Object(said.clone()));
    // The scene checks that every header that is written is printable, and the only one of its name.
    let Some(upstream) = scene.send(bearer("opaque")).upstream_or_none() else { return };
    said.remove("active");
    let whole = Value::Object(said.clone());
    let header = |name: &str| upstream.header(name).unwrap().to_owned();
    assert_eq!(read(&percent_decode_str(&header("identity")).decode_utf8().unwrap()), whole);
    assert_eq!(read(&header("identityjson")), whole);
    let some: json::Object = said.iter().filter(|(name, _)| ["sub", "a"].contains(&name.as_str())).map(owned).collect();
    let some = Value::Object(some);
    let cookie = header("cookie");
    assert!(!cookie.contains([';', ' ', ',']), "{cookie}");
    assert_eq!(read(&percent_decode_str(cookie.strip_prefix("who=").unwrap()).decode_utf8().unwrap()), some);
    let path = upstream.path();
    let query: Vec<_> = url::form_urlencoded::parse(path.split_once('?').unwrap().1.as_bytes()).collect();
    assert_eq!((query.len(), &*query[0].0, read(&query[0].1)), (1, "who", some));
    if let Some(subject) = said.get("sub").and_then(Value::as_str) {
        assert_eq!(percent_decode_str(&header("x-user")).decode_utf8().unwrap(), subject);
    }
    let [(_, state)] = upstream.filter_state.as_slice() else { panic!("{:?}", upstream.filter_state) };
    assert!(protobuf::read_struct(state).is_some());
    let [cookie] = upstream.response_cookies.as_slice() else { panic!("{:?}", upstream.response_cookies) };
    assert_eq!(cookie.matches(';').count(), 4, "{cookie}");
}

fn read(text: &str) -> Value {
    json::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

pub fn seeds() -> Vec<Vec<u8>> {
    lines(&[
        r#"{"sub":"ann","realm_access":{"roles":["a b","c"]},"a":[1,{"b":null}],"b":true}"#,
        r#"{"sub":"a;b=c, d\r\nx: y\u0000%41+ \u00e9\ud83d\ude00\"\\","a":"&who=x#?"}"#,
        r#"{"sub":" white space ","a":18446744073709551616,"b":-0.0,"a.b":[]}"#,
        r#"{"sub":"ann","realm_access":{"roles":["","a b",""]},"b":""}"#,
        r#"{"a":{},"b":"","realm_access":{"roles":"one"}}"#,
    ])
}
