//! What specifications ask that no other test is about: see `docs/conformance.md`.

use crate::scene::*;
use crate::support::with;
use oidc_filter::jose::signing::SigningKey;
use oidc_filter::jose::verifier::Verifier;
use oidc_filter::oauth::client_assertion::client_assertion;
use oidc_filter::time::Timestamp;
use serde_json::json;

/// OpenID Connect Discovery, section 4.1, and RFC 8414, section 3.1: where the metadata of an issuer are, whose last slash is
/// not part of it. What isn't understood in them is ignored.
#[test]
fn metadata_are_where_the_specifications_say() {
    let connect = ".well-known/openid-configuration";
    let oauth = ".well-known/oauth-authorization-server";
    for (issuer, expected) in [
        ("https://idp.example.com", [format!("/{connect}"), format!("/{oauth}")]),
        ("https://idp.example.com/", [format!("/{connect}"), format!("/{oauth}")]),
        ("https://idp.example.com/a", [format!("/a/{connect}"), format!("/{oauth}/a")]),
        ("https://idp.example.com/a/", [format!("/a/{connect}"), format!("/{oauth}/a")]),
        ("https://idp.example.com/a/b", [format!("/a/b/{connect}"), format!("/{oauth}/a/b")]),
        ("https://idp.example.com:8443/a", [format!("/a/{connect}"), format!("/{oauth}/a")]),
    ] {
        let host = issuer.split('/').take(3).collect::<Vec<_>>().join("/");
        let urls = expected.map(|path| format!("{host}{path}"));
        for place in &urls {
            let mut scene = Scene::cold(jwt(json!({"issuer": issuer}), json!({})));
            urls.iter().for_each(|url| scene.provider.serve(url, status(404)));
            let change = json!({
                "jwks_uri": format!("{host}/keys"), "signed_metadata": "e30.e30.e30", "unknown": {"a": [null]},
                "response_types_supported": 7, "token_endpoint": "not a URL",
            });
            scene.provider.serve(place, says_json(with(metadata(issuer), change)));
            scene.provider.serve(&format!("{host}/keys"), says_json(json!({"keys": [key("k1").jwk()]})));
            // The slash that is left out of the address is still part of the name.
            scene.send(bearer(&token(json!({"iss": issuer})))).allowed();
            let called: Vec<&str> =
                scene.calls.iter().map(|call| &*call.url).filter(|url| url.contains("well-known")).collect();
            let tried: Vec<&String> = urls.iter().take_while(|url| *url != place).chain([place]).collect();
            assert_eq!(called, tried, "{issuer}");
        }
    }
}

/// RFC 7519, section 5.3: whoever copies claims into the header has not changed the claims.
#[test]
fn copies_of_claims_in_the_header_mean_nothing() {
    let mut scene = Scene::of(jwt(json!({}), json!({"claim_headers": {"header": "x-user", "claim": "sub"}})));
    let copies = json!({"iss": "https://other.example", "sub": "admin", "aud": "other", "exp": NOW - 3600, "cnf": {}});
    let upstream = scene.send(bearer(&key("k1").token_with(copies, json!({})))).allowed();
    assert_eq!(upstream.header("x-user"), Some("ann"));
    let copies = json!({"aud": AUDIENCE, "exp": NOW + 3600});
    let refused = |claims| key("k1").token_with(copies.clone(), claims);
    scene.send(bearer(&refused(json!({"aud": "other"})))).refused(401, "wrong_audience");
    scene.send(bearer(&refused(json!({"exp": null})))).refused(401, "invalid_claims");
}

/// RFC 8725, section 3.2: a number that is drawn badly for ECDSA gives the key away, so that none is drawn.
#[test]
fn the_filter_s_own_signatures_need_no_chance() {
    let key = json!({"kty": "EC", "crv": "P-256", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}).to_string();
    let signed = |jti: &str| {
        let key = SigningKey::parse(key.as_bytes()).unwrap();
        client_assertion(&key, "rs", ISSUER, jti, Timestamp::from_unix_seconds(NOW), &Verifier::default()).unwrap()
    };
    assert_eq!(signed("a"), signed("a"));
    assert_ne!(signed("a"), signed("b"));
}
