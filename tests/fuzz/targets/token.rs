//! Tokens: whatever is sent, only what a key has signed is proved, and nothing that looks signed is taken for opaque.

use super::{lines, unheard};
use crate::scene::{AUDIENCE, ISSUER, NOW, auto, bearer, good_claims, key};
use crate::support::{Signing, sign, with};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use oidc_filter::jose::jwk::{JwkSet, KeySetOrigin};
use oidc_filter::jose::jws::{self, CompactJws, Form};
use oidc_filter::jose::jwt::{Audiences, Claims, Expected, Hint, Issuer, Unverified};
use oidc_filter::jose::verifier::Verifier;
use oidc_filter::time::Timestamp;
use serde_json::json;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

struct Published {
    keys: JwkSet,
    /// The header and payload of every token that was ever signed.
    signed: BTreeSet<String>,
}

static PUBLISHED: LazyLock<Published> = LazyLock::new(|| {
    let p256 = Signing::P256(p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap());
    let keys = json!({"keys": [key("k1").jwk(), p256.jwk("k2")]});
    Published {
        keys: JwkSet::parse(keys.to_string().as_bytes(), KeySetOrigin::Remote).unwrap(),
        signed: signed().iter().map(|token| token.rsplit_once('.').unwrap().0.to_owned()).collect(),
    }
});

pub fn run(octets: &[u8]) {
    let Ok(token) = std::str::from_utf8(octets) else { return };
    let form = jws::form(token);
    let hint = Hint::read(token);
    let Ok(jws) = CompactJws::parse(token) else {
        refused(token);
        return;
    };
    assert_eq!(form, Form::Jws);
    // One token, one text: written again, the parts are what was sent.
    let (signing_input, signature) = token.rsplit_once('.').unwrap();
    let (header, payload) = signing_input.split_once('.').unwrap();
    assert_eq!(BASE64URL.encode(jws.unverified_payload()), payload);
    for part in [header, signature] {
        assert_eq!(BASE64URL.encode(BASE64URL.decode(part).unwrap()), part);
    }
    if let Ok(claimed) = Unverified::read(&jws) {
        // Who forgives more sees the same issuer.
        assert_eq!(hint.issuer.as_ref(), Some(&claimed.issuer));
        assert!(!hint.is_bound || claimed.confirmation != Ok(None));
    }
    let published = &*PUBLISHED;
    let candidates = published.keys.candidates(jws.key_id(), jws.algorithm());
    let Ok(payload) = jws.verify(candidates, &Verifier::default()) else {
        refused(token);
        return;
    };
    assert!(published.signed.contains(signing_input), "nobody signed that: {token}");
    let Ok(claims) = Claims::from_jwt(payload) else { return };
    let claims = Rc::new(claims);
    let expected = Expected {
        issuer: Issuer::Exactly(ISSUER),
        audiences: &Audiences::AnyOf(vec![AUDIENCE.to_owned()]),
        token_types: &[],
        refuse_id_tokens: false,
        clock_skew: Duration::ZERO,
        require_expiration: true,
        max_lifetime: None,
    };
    let checked = claims.check(&expected, Timestamp::from_unix_seconds(NOW));
    assert!(checked.is_err() || token.starts_with(SIGNED_AND_GOOD.as_str()), "{token}");
}

/// By a whole filter that has keys and is asked about everything else.
fn refused(token: &str) {
    let mut scene = unheard(auto(json!({}), json!({})));
    assert!(scene.send(bearer(token)).upstream_or_none().is_none(), "{token}");
}

static SIGNED_AND_GOOD: LazyLock<String> = LazyLock::new(|| signed()[0].rsplit_once('.').unwrap().0.to_owned());

/// One that is good, and then others that are signed just as well.
fn signed() -> Vec<String> {
    let k1 = key("k1");
    let p256 = Signing::P256(p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap());
    let claims = |change| with(good_claims(), change).to_string();
    vec![
        k1.token(json!({})),
        k1.token(json!({"exp": NOW - 3600})),
        k1.token(json!({"aud": ["other"]})),
        k1.token(json!({"iss": "https://evil.example"})),
        k1.token_with(json!({"typ": "dpop+jwt"}), json!({"cnf": {"jkt": "x"}})),
        sign(&p256, "ES256", r#"{"alg":"ES256","kid":"k2"}"#, claims(json!({"nbf": NOW + 60}))),
        sign(&k1.signing, "EdDSA", r#"{"alg":"EdDSA","kid":"k1"}"#, r#"{"iss":"a","iss":"b"}"#),
    ]
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds: Vec<_> = signed().into_iter().map(String::into_bytes).collect();
    let with_header = |header: &str| format!("{}.e30.AA", BASE64URL.encode(header)).into_bytes();
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS256","kid":"k1"}"#,
        r#"{"alg":"EdDSA","crit":["exp"],"b64":false}"#,
        r#"{"alg":"dir","enc":"A128GCM","zip":"DEF"}"#,
        r#"{"alg":"EdDSA","alg":"none"}"#,
        r#"{"alg":"EdDSA","cty":"JWT","jwk":{},"jku":"x"}"#,
    ] {
        seeds.push(with_header(header));
    }
    seeds.extend(lines(&["2YotnFZFEjr1zCsicMWpAA", "a.b.c", "eyJhbGciOiJub25lIn0.e30.", "a.error_description.c"]));
    seeds
}
