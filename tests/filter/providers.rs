//! Several providers: whose a token is, whose keys prove it, and who ever gets to see it (ISS, JWK-22, ALG-08, MV-50).

use crate::scene::*;
use crate::support::{Signing, sign, with};
use serde_json::{Value, json};

const OTHER: &str = "https://other.example";

/// Two issuers with a key of the same name each.
fn scene(first: Value, second: Value, top: Value) -> Scene {
    let provider = |issuer: &str, change: Value| with(json!({"issuer": issuer, "audiences": AUDIENCE}), change);
    let providers = json!([provider(ISSUER, first), provider(OTHER, second)]);
    let mut scene = Scene::cold(with(json!({"providers": providers}), top));
    scene.provider.add_issuer(OTHER, &[other_key().jwk()]);
    scene.tick();
    scene
}

fn other_key() -> Key {
    Key { kid: "k1", ..key("other") }
}

fn calls_to_host(scene: &Scene, issuer: &str) -> usize {
    scene.calls.iter().filter(|call| call.url.starts_with(issuer)).count()
}

fn jwt_only() -> Value {
    json!({"validation": "jwt"})
}

fn asked() -> Value {
    json!({"validation": "introspection"})
}

/// ISS-01, ISS-02, JWK-22, MV-50.
#[test]
fn keys_are_never_crossed() {
    let mut scene = scene(jwt_only(), jwt_only(), json!({}));
    let ours = scene.send(bearer(&good())).allowed();
    let theirs = scene.send(bearer(&other_key().token(json!({"iss": OTHER})))).allowed();
    assert_eq!(
        (ours.provider.as_deref(), theirs.provider.as_deref()),
        (Some("idp.example.com"), Some("other.example"))
    );
    scene.send(bearer(&other_key().token(json!({})))).refused(401, "bad_signature");
    scene.send(bearer(&token(json!({"iss": OTHER})))).refused(401, "bad_signature");
    // Without a name of a key, all keys of that issuer are tried, and no others.
    let nameless = other_key().token_with(json!({"kid": null}), json!({}));
    scene.send(bearer(&nameless)).refused(401, "bad_signature");
}

/// ALG-08.
#[test]
fn each_provider_has_its_algorithms() {
    let p256 = || Signing::P256(p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap());
    let mut scene = scene(
        with(jwt_only(), json!({"algorithms": ["EdDSA"]})),
        with(jwt_only(), json!({"algorithms": "ES256"})),
        json!({}),
    );
    let keys = [key("k1").jwk(), p256().jwk("p256")];
    scene.provider.keys(&keys);
    scene.provider.serve(&format!("{OTHER}/jwks"), says_json(json!({"keys": keys})));
    scene.pass_seconds(600);
    let es256 = |issuer: &str| {
        let header = json!({"alg": "ES256", "kid": "p256"}).to_string();
        sign(&p256(), "ES256", header, with(good_claims(), json!({"iss": issuer})).to_string())
    };
    scene.send(bearer(&good())).allowed();
    scene.send(bearer(&es256(OTHER))).allowed();
    scene.send(bearer(&es256(ISSUER))).refused(401, "unsupported_token");
    scene.send(bearer(&token(json!({"iss": OTHER})))).refused(401, "unsupported_token");
}

/// ISS-03, ISS-05: an issuer that nobody named is refused before anybody is called.
#[test]
fn an_unknown_issuer_causes_no_call() {
    for kind in [jwt_only(), asked(), json!({}), json!({"validation": "userinfo"})] {
        let mut scene = scene(kind.clone(), kind, json!({}));
        let calls = scene.calls.len();
        for issuer in [
            "https://evil.example",
            "https://idp.example.com/tenant",
            "https://idp.example.com ",
            "https://idp.example.com\0",
            "https://idp.example.com/../",
            "https://IDP.example.com",
            "http://idp.example.com",
            "https://idp.example.com:443",
            "https://idp-example.com",
            "",
        ] {
            let refusal = scene.send(bearer(&token(json!({"iss": issuer})))).refused(401, "unknown_issuer");
            assert_eq!(refusal.provider, None);
        }
        assert_eq!(scene.calls.len(), calls);
    }
}

/// ISS-07: what fails here is not shown to somebody who might be less strict.
#[test]
fn a_refused_token_gets_no_second_opinion() {
    let mut scene = scene(json!({}), json!({}), json!({}));
    let tokens = [
        key("foreign").token_with(json!({"kid": "k1"}), json!({})),
        token(json!({"exp": NOW - 3600})),
        token(json!({"aud": "x"})),
        key("k1").token_with(json!({"alg": "none"}), json!({})),
        key("k1").token_with(json!({"crit": ["x"]}), json!({})),
        key("k1").token_with(json!({"alg": "ES256K"}), json!({})),
        format!("{}x", good()),
    ];
    for token in &tokens {
        scene.provider.tokens.insert(token.clone(), active(json!({})));
        scene.provider.users.insert(token.clone(), json!({"sub": "x"}));
        let Seen::Refused(refusal) = scene.send(bearer(token)) else { panic!("{token}") };
        assert_eq!(refusal.status, 401, "{token}");
    }
    assert_eq!((scene.count("/introspect"), scene.count("/userinfo")), (0, 0));
}

/// ISS-08: an opaque token that could be anybody's is shown to nobody.
#[test]
fn an_opaque_token_between_two_takers() {
    let mut scene = scene(asked(), asked(), json!({}));
    let calls = scene.calls.len();
    for token in ["opaque", "a.b.c"] {
        scene.provider.tokens.insert(token.to_owned(), active(json!({})));
        scene.send(bearer(token)).refused(401, "unknown_issuer");
    }
    assert_eq!(scene.calls.len(), calls);
}

/// MV-08: where only one provider takes opaque tokens, they are its.
#[test]
fn an_opaque_token_goes_to_the_only_taker() {
    let mut scene = scene(jwt_only(), asked(), json!({}));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"iss": OTHER})));
    let upstream = scene.send(bearer("opaque")).allowed();
    assert_eq!(upstream.provider.as_deref(), Some("other.example"));
    scene.send(bearer(&good())).allowed();
    assert_eq!(scene.the_call_to("/introspect").url, format!("{OTHER}/introspect"));
}

/// ISS-01: where tokens stand says whose they are.
#[test]
fn a_source_names_its_provider() {
    let sources = json!([
        {"key": "authorization", "provider": "idp.example.com"},
        {"key": "x-partner", "provider": "other.example"},
    ]);
    let top = json!({"access_token": sources});
    let mut scene = scene(asked(), json!({}), top);
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"iss": null})));
    let ours = scene.send(bearer("opaque")).allowed();
    let theirs = scene.send(bare().header("x-partner", "opaque")).allowed();
    assert_eq!(
        (ours.provider.as_deref(), theirs.provider.as_deref()),
        (Some("idp.example.com"), Some("other.example"))
    );
    let urls: Vec<&str> = scene.calls_to("/introspect").iter().map(|call| &*call.url).collect();
    assert_eq!(urls, [format!("{ISSUER}/introspect"), format!("{OTHER}/introspect")]);
    // A JWT of the other issuer is a stranger there.
    let calls = scene.calls.len();
    scene.send(bare().header("x-partner", good())).refused(401, "unknown_issuer");
    scene.send(bearer(&other_key().token(json!({"iss": OTHER})))).refused(401, "unknown_issuer");
    scene.send(bare().header("x-partner", other_key().token(json!({"iss": OTHER})))).allowed();
    assert_eq!(scene.calls.len(), calls);
}

#[test]
fn a_source_of_a_provider_that_takes_no_opaque_tokens() {
    let top = json!({"access_token": {"key": "authorization", "provider": "idp.example.com"}});
    let mut scene = scene(jwt_only(), asked(), top);
    let calls = scene.calls.len();
    scene.send(bearer("opaque")).refused(401, "malformed_token");
    assert_eq!(scene.calls.len(), calls);
}

/// ISS-08: a JWT that says whose it is isn't shown to anybody else, even if it can't be verified here.
#[test]
fn a_jwt_that_is_not_supported_stays_with_its_issuer() {
    for header in [json!({"alg": "ES256K"}), json!({"alg": "none"}), json!({"zip": "DEF"}), json!({"crit": ["x"]})] {
        let mut scene = scene(jwt_only(), asked(), json!({}));
        let token = key("k1").token_with(header.clone(), json!({}));
        scene.provider.tokens.insert(token.clone(), active(json!({"iss": null})));
        scene.send(bearer(&token)).refused(401, "unsupported_token");
        assert_eq!(scene.count("/introspect"), 0, "{header}");
    }
}

/// INT-06: an answer of one provider that names another as the issuer vouches for nothing.
#[test]
fn an_answer_about_somebody_elses_token() {
    let mut scene = scene(asked(), jwt_only(), json!({}));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"iss": OTHER})));
    scene.send(bearer("opaque")).refused(401, "unknown_issuer");
}

/// One provider that is down is no reason for the other's tokens to wait.
#[test]
fn one_provider_down() {
    let mut scene = scene(jwt_only(), jwt_only(), json!({}));
    scene.provider.serve(&format!("{OTHER}/jwks"), Answer::Refuses);
    scene.pass_seconds(100 * 3600);
    let late = json!({"exp": NOW + 101 * 3600});
    scene.send(bearer(&token(late.clone()))).allowed();
    let theirs = other_key().token(with(late, json!({"iss": OTHER})));
    scene.send(bearer(&theirs)).refused(503, "provider_unavailable");
    assert!(calls_to_host(&scene, OTHER) > calls_to_host(&scene, ISSUER));
}
