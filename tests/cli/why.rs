//! `explain`: what stands behind a refusal, for those who wonder.

use crate::printed;
use serde_json::{Value, json};

/// The sentence about a refusal, with a token of these claims or with none.
#[track_caller]
fn why(configuration: &Value, arguments: &[&str]) -> String {
    let arguments: Vec<&str> = ["explain", "-", "--json"].into_iter().chain(arguments.iter().copied()).collect();
    let story: Value = serde_json::from_str(&printed(&arguments, &configuration.to_string())).unwrap();
    story["why"].as_str().unwrap_or_default().to_owned()
}

fn configuration() -> Value {
    json!({"providers": [{
        "issuer": "https://idp.example.com", "audiences": ["api"], "validation": "jwt",
    }]})
}

/// Three parts, of which the first begins as a header of JSON does: it needs no more to look like one.
const JWT: &str = "eyJhbGciOiJFUzI1NiJ9.e30.c2lnbmF0dXJl";

#[test]
fn a_token_where_nobody_looks() {
    let query = format!("/orders?a=b&access_token={JWT}");
    let (cookie, other) = (format!("Cookie: a=b; session={JWT}"), format!("X-Token: {JWT}"));
    let websocket = format!("Sec-WebSocket-Protocol: bearer, {JWT}");
    for (arguments, said) in [
        (&[query.as_str()][..], "in the parameter access_token, which"),
        (&["/", "-H", &cookie], "in the cookie session, which"),
        (&["/", "-H", &other], "in the header x-token, which"),
        (&["/", "-H", &websocket], "in the header sec-websocket-protocol, which"),
    ] {
        let why = why(&configuration(), arguments);
        assert!(why.starts_with("no token is in the header authorization") && why.contains(said), "{why}");
        assert!(!why.contains(JWT), "{why}");
    }
    assert_eq!(why(&configuration(), &["/", "-H", "X-Token: eyJ"]), why(&configuration(), &["/"]));
}

#[test]
fn a_preflight_has_no_token() {
    let preflight =
        ["/", "-X", "OPTIONS", "-H", "Origin: https://a.example.com", "-H", "Access-Control-Request-Method: PUT"];
    assert!(why(&configuration(), &preflight).contains("`allow_preflight` lets it pass"));
    assert!(!why(&configuration(), &["/", "-X", "OPTIONS"]).contains("preflight"));
}

#[test]
fn an_opaque_token_where_jwts_are_wanted() {
    assert!(
        why(&configuration(), &["/", "--token", "2YotnFZFEjr1zCsicMWpAA"])
            .contains("`validation: jwt` takes nothing else")
    );
}

/// A role that is not where it is looked for, and where it is instead.
#[test]
fn a_role_that_is_elsewhere() {
    let mut configuration = configuration();
    configuration["require"] = json!({"claims": [{"claim": "sub"}, {"claim": "roles", "any_of": ["shop-admin"]}]});
    let table = |claims: Value| {
        let tests = json!([{"request": "/", "claims": claims, "expect": "allowed"}]);
        let table = json!({"configuration": configuration, "tests": tests}).to_string();
        let ended = crate::run(&["test", "-"], &table);
        assert_eq!(ended.code, 1, "{}", ended.err);
        ended.out
    };
    let out = table(json!({"sub": "ann", "realm_access": {"roles": ["shop-admin"]}}));
    assert!(
        out.contains("its `roles` is nothing, where shop-admin is asked for; it is in realm_access.roles"),
        "{out}"
    );
    let out = table(json!({"sub": "ann", "roles": ["user"]}));
    assert!(out.contains("its `roles` is [\"user\"], where shop-admin is asked for\n"), "{out}");
}
