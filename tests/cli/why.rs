//! `explain`: what stands behind a refusal, for those who wonder.

use crate::printed;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
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

/// What nobody signed, and what is signed otherwise: nothing here says to allow the one, and only what the filter knows can be named.
#[test]
fn what_is_not_supported_of_a_token() {
    let told = |scheme: &str, header: Value| {
        let part = |value: Value| BASE64URL.encode(value.to_string());
        let claims = part(json!({"iss": "https://idp.example.com", "aud": "api", "exp": 4_000_000_000_u64}));
        let header = format!("Authorization: {scheme} {}.{claims}.c2lnbmF0dXJl", part(header));
        printed(&["explain", "-", "/", "-H", &header], &configuration().to_string())
    };
    for (scheme, header, said) in [
        ("Bearer", json!({"alg": "none"}), "it is not signed (its `alg` is \"none\"), and taken are "),
        ("Bearer", json!({"alg": "NONE"}), "it is not signed (its `alg` is \"NONE\"), and taken are "),
        ("Bearer", json!({"alg": "ES256K"}), "its `alg` is \"ES256K\", and taken are "),
        ("Bearer", json!({"alg": "HS256"}), "its `alg` is \"HS256\", and taken are "),
        (
            "Bearer",
            json!({"alg": "Ed25519", "crit": ["x"], "zip": "NONE", "cty": "json"}),
            "its header has `crit`, which",
        ),
        ("Bearer", json!({"alg": "ES256", "zip": "DEF", "cty": "JWT"}), "its header has `cty`, `zip`, which"),
        ("DPoP", json!({"alg": "ES256"}), "the credentials are of a scheme that is not taken here"),
    ] {
        let out = told(scheme, header);
        assert!(out.contains(&format!("unsupported_token\n  {said}")), "{said}: {out}");
        assert!(!out.contains("allow the alg") && !out.contains("may name it") && !out.contains("``"), "{out}");
    }
    let mut configuration = configuration();
    configuration["providers"][0]["algorithms"] = json!(["ES256"]);
    let rsa = JWT
        .replace("eyJhbGciOiJFUzI1NiJ9", "eyJhbGciOiJSUzI1NiJ9")
        .replace("e30", "eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSJ9");
    // Where the provider is asked, and does not know who asks, nothing is wrong with the token.
    let document = std::env::temp_dir().join(format!("oidc-filter-why-{}.json", std::process::id()));
    let endpoint = "https://idp.example.com/i";
    std::fs::write(
        &document,
        json!({"issuer": "https://idp.example.com", "introspection_endpoint": endpoint}).to_string(),
    )
    .unwrap();
    let mut asked = configuration.clone();
    asked["providers"][0]["validation"] = json!("auto");
    let metadata = format!("https://idp.example.com/.well-known/openid-configuration={}", document.display());
    let refused = format!("{endpoint}=401");
    let said = why(&asked, &["/", "--token", "2YotnFZFEjr1zCsicMWpAA", "--answer", &metadata, "--answer", &refused]);
    std::fs::remove_file(&document).unwrap();
    assert_eq!(said, "its provider has no answer for us about opaque tokens");
    assert_eq!(
        why(&configuration, &["/", "--token", &rsa]),
        "its `alg` is \"RS256\", and taken are ES256; if its provider signs so, `algorithms` may name it"
    );
}

#[test]
fn what_keeps_a_jwt_from_being_read() {
    let part = |text: &str| BASE64URL.encode(text);
    let (header, claims) = (part(r#"{"alg":"ES256"}"#), part(r#"{"iss":"https://idp.example.com"}"#));
    for (token, said) in [
        (format!("{header}.{claims}"), "it is cut in 2 by its dots, and a signed JWT in three"),
        (format!("{header}.{claims}."), "its signature is empty, or not base64url without padding"),
        (format!("{header}+.{claims}.c2ln"), "its header is empty, or not base64url without padding"),
        (format!("{header}.{claims}.c2lnbg=="), "its signature is empty, or not base64url without padding"),
        (format!("{header}.{}.c2ln", part("[]")), "its payload can't be read: not a JSON object"),
        (
            format!("{header}.{}.c2ln", part(r#"{"iss":"https://idp.example.com","a":1,"a":2}"#)),
            "its payload can't be read: two members of one JSON object have the same name",
        ),
        (format!("{}.{claims}.c2ln", part(r#"{"alg":"ES256","kid":1}"#)), "`kid` in its header is missing or no text"),
        (format!("{}.{claims}.c2ln", part(r#"{"alg":null}"#)), "`alg` in its header is missing or no text"),
    ] {
        assert_eq!(why(&configuration(), &["/", "--token", &token]), said, "{token}");
    }
}
