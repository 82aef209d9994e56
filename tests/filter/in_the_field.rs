//! Providers in the field, and what a bad hour of one does to others.

use crate::listener::heard;
use crate::scene::*;
use crate::support::with;
use serde_json::{Value, json};

const OTHER: &str = "https://other.example";
const OIDC: &str = "/.well-known/openid-configuration";
const OAUTH: &str = "/.well-known/oauth-authorization-server";

/// What an introspection endpoint says, with members that are `null`.
fn told(change: Value) -> Seen {
    let mut answer = active(json!({}));
    for (name, value) in change.as_object().unwrap() {
        answer[name] = value.clone();
    }
    let mut scene = Scene::of(introspection(json!({}), json!({})));
    scene.provider.tokens.insert("opaque".to_owned(), answer);
    scene.send(bearer("opaque"))
}

/// RFC 8414 knows no userinfo endpoint: the second document of Okta and Spring says less than the first. A bad moment of the
/// first place must not make it the only one for an hour.
#[test]
fn an_outage_of_the_first_place_for_metadata_loses_nothing() {
    for is_cold in [false, true] {
        let mut scene = Scene::cold(userinfo(json!({}), json!({})));
        scene.provider.users.insert("good".to_owned(), json!({"sub": "1"}));
        scene.provider.at(OAUTH, says_json(with(metadata(ISSUER), json!({"userinfo_endpoint": null}))));
        if !is_cold {
            scene.tick();
        }
        scene.provider.at(OIDC, status(503));
        scene.tick();
        scene.pass_seconds(if is_cold { 1 } else { 3571 });
        scene.provider.metadata(json!({}));
        if is_cold {
            scene.pass_seconds(60);
        }
        scene.send(bearer("good")).allowed();
    }
}

/// An issuer that has only the second place, and doesn't say 404 at the first, is read all the same, again and again.
#[test]
fn an_oauth_server_that_says_something_else_at_the_first_place() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    scene.provider.at(OIDC, says(200, "text/html", "<html>"));
    scene.provider.at(OAUTH, says_json(metadata(ISSUER)));
    scene.send(bearer(&good())).allowed();
    scene.pass_seconds(30 * 3600);
    scene.send(bearer(&token(json!({"exp": NOW + 31 * 3600})))).allowed();
    // If the issuer has moved its document there, that is found, too.
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    scene.provider.at(OIDC, status(404));
    scene.provider.at(OAUTH, says_json(with(metadata(ISSUER), json!({"jwks_uri": "https://idp.example.com/moved"}))));
    scene.provider.at("/moved", says_json(json!({"keys": [key("k2").jwk()]})));
    scene.pass_seconds(3 * 3600);
    scene.send(bearer(&key("k2").token(json!({"exp": NOW + 31 * 3600})))).allowed();
}

/// One token that a firewall before the provider doesn't like (this one is a b64token) is no reason to refuse everybody's.
#[test]
fn one_token_that_is_refused_shuts_out_nobody_else() {
    for refusal in [400, 401, 403] {
        let mut scene = Scene::of(auto(json!({}), json!({})));
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
        scene.provider.tokens.insert("another".to_owned(), active(json!({})));
        scene.send(bearer("opaque")).allowed();
        scene.provider.at("/introspect", status(refusal));
        scene.send(bearer("../../../etc/passwd")).refused(503, "provider_unavailable");
        scene.provider.at("/introspect", Answer::Introspects("token"));
        scene.send(bearer("another")).allowed();
        // Nor after the metadata were fetched again.
        scene.pass_seconds(3600);
        scene.provider.at("/introspect", status(refusal));
        scene.send(bearer("../../../etc/passwd")).refused(503, "provider_unavailable");
        scene.provider.at("/introspect", Answer::Introspects("token"));
        scene.provider.tokens.insert("third".to_owned(), active(json!({"exp": null})));
        scene.send(bearer("third")).allowed();
        // Nor if it is the very first, for long; nor at all, unless it may be us whom the provider minds.
        let mut scene = Scene::of(auto(json!({}), json!({})));
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
        scene.provider.at("/introspect", status(refusal));
        let is_about_us = refusal == 401;
        if is_about_us {
            scene.send(bearer("../../../etc/passwd")).refused(401, "unsupported_token")
        } else {
            scene.send(bearer("../../../etc/passwd")).refused(503, "provider_unavailable")
        };
        scene.provider.at("/introspect", Answer::Introspects("token"));
        scene.pass_seconds(if is_about_us { 61 } else { 0 });
        scene.send(bearer("opaque")).allowed();
    }
}

/// Who floods one slow provider takes no room from another one's tokens.
#[test]
fn a_flood_of_one_provider_is_not_anothers() {
    let provider = |issuer: &str, prefix: &str| json!({"issuer": issuer, "audiences": AUDIENCE, "validation": "introspection", "token_prefixes": prefix});
    let mut scene = Scene::cold(json!({"providers": [provider(ISSUER, "a_"), provider(OTHER, "b_")]}));
    scene.provider.add_issuer(OTHER, &[key("k1").jwk()]);
    scene.tick();
    scene.provider.tokens.insert("b_good".to_owned(), active(json!({"iss": OTHER})));
    let flood: Vec<_> = (0..1001).map(|number| scene.begin(bearer(&format!("a_{number}")))).collect();
    scene.seen(flood[1000]).refused(503, "overloaded");
    let good = scene.begin(bearer("b_good"));
    assert!(scene.seen(good).is_waiting());
    scene.settle();
    scene.seen(good).allowed();
}

/// And however many providers there are, there is a bound for all.
#[test]
fn a_flood_of_many_providers_is_bounded() {
    let issuer = |number: usize| format!("https://idp{number}.example.com");
    let provider = |number| {
        let prefix = format!("{number}_");
        json!({"issuer": issuer(number), "audiences": AUDIENCE, "validation": "introspection", "token_prefixes": prefix})
    };
    let mut scene = Scene::cold(json!({"providers": (0..5).map(provider).collect::<Vec<_>>()}));
    (0..5).for_each(|number| scene.provider.add_issuer(&issuer(number), &[key("k1").jwk()]));
    scene.tick();
    let mut begin = |provider, number| scene.begin(bearer(&format!("{provider}_{number}")));
    for number in 0..4000 {
        begin(number / 1000, number);
    }
    let beyond = begin(4, 0);
    scene.seen(beyond).refused(503, "overloaded");
    assert_eq!(scene.waiting(), 4000);
}

/// Oracle's IDCS says `"token_type": "JWT"` of its access tokens; Gluu `"jti": null` of its opaque ones.
#[test]
fn answers_of_oracle_and_gluu() {
    told(json!({"token_type": "JWT", "sub_type": "client", "client_guid": "x"})).allowed();
    told(json!({"jti": null, "token_type": "bearer", "scope": [], "acr_values": "simple_password_auth"})).allowed();
    told(json!({"azp": null})).allowed();
    told(json!({"sub": null, "iss": null})).allowed();
    told(json!({"aud": null})).refused(401, "wrong_audience");
}

/// RFC 9110, section 10.1.5: each request SHOULD have a User-Agent. AWS's and Azure's rules refuse those without.
#[test]
fn every_call_says_who_calls() {
    let authorizer = json!({"external_authorization": {"uri": "https://authz.example.com/"}});
    let mut scene = Scene::of(auto(json!({}), authorizer));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene.send(bearer("opaque"));
    assert_eq!(scene.calls.len(), 4);
    for call in &scene.calls {
        let agent = call.header("user-agent").unwrap_or_default();
        assert!(agent.starts_with("oidc-filter/"), "{call:?}");
    }
}

/// SPIFFE Trust Domain and Bundle, section 4.2.2.
#[test]
fn a_bundle_of_spiffe() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    let authority = with(key("k2").jwk(), json!({"use": "x509-svid", "x5c": ["MIIB"]}));
    scene.provider.keys(&[authority, with(key("k1").jwk(), json!({"use": "jwt-svid", "alg": null}))]);
    scene.send(bearer(&good())).allowed();
    scene.send(bearer(&key("k2").token(json!({})))).refused(401, "unknown_key");
}

/// `docs/limitations.md`: "a warning says where it happens".
#[test]
fn a_provider_that_loses_its_introspection_endpoint_is_told_of() {
    let mut scene = Scene::of(auto(json!({}), json!({})));
    scene.provider.metadata(json!({"introspection_endpoint": null}));
    heard();
    scene.pass_seconds(3600);
    assert!(heard().iter().any(|line| line.contains("proves no audience")));
}

/// The sample answer on docs.jans.io, "Introspection Endpoint".
#[test]
fn an_answer_of_janssen() {
    let answer = format!(
        r#"{{"sub":"","iss":"{ISSUER}","active":true,"token_type":"Bearer","client_id":"1800.df1b","aud":"{AUDIENCE}","nbf":null,"scope":"read","acr_values":null,"cnf":null,"exp":{},"iat":{},"jti":null,"username":null}}"#,
        NOW + 300,
        NOW
    );
    let mut scene = Scene::of(introspection(json!({}), json!({})));
    scene.provider.at("/introspect", says(200, "application/json", answer));
    scene.send(bearer("opaque")).allowed();
}
