//! Key sets: whatever a provider publishes, what comes of it is bounded, and verifies nothing that it shouldn't.

use super::lines;
use crate::scene::key;
use crate::support::{Signing, p521_key, rsa_key};
use oidc_filter::jose::jwk::{Algorithm, JwkSet, KeySetOrigin, MAX_CANDIDATES, MAX_MEMBERS};
use oidc_filter::jose::signing::SigningKey;
use oidc_filter::jose::verifier::Verifier;
use oidc_filter::oauth::client_assertion::client_assertion;
use serde_json::{Value, json};

pub fn run(octets: &[u8]) {
    for origin in [KeySetOrigin::Remote, KeySetOrigin::Inline] {
        let Ok(set) = JwkSet::parse(octets, origin) else { continue };
        assert!((1..=MAX_MEMBERS).contains(&set.len()) && set.refused().len() <= MAX_MEMBERS);
        let symmetric: Vec<_> =
            ["HS256", "HS384", "HS512"].iter().filter_map(|name| Algorithm::from_name(name)).collect();
        for algorithm in &symmetric {
            let count = set.candidates(None, *algorithm).count();
            assert!(origin == KeySetOrigin::Inline || count == 0, "a secret that is published");
        }
        for algorithm in Algorithm::ASYMMETRIC.iter().chain(&symmetric) {
            let candidates: Vec<_> = set.candidates(None, *algorithm).collect();
            assert!(candidates.len() <= MAX_CANDIDATES);
            for key in candidates {
                assert!(key.permits(*algorithm) && set.holds(key.fingerprint(), *algorithm));
                // Of one `kid`, only one key is ever in question.
                let named = key.kid().map(|kid| set.candidates(Some(kid), *algorithm));
                named.into_iter().flatten().for_each(|other| assert_eq!(other.fingerprint(), key.fingerprint()));
                for signature in TRIVIAL {
                    let verified = Verifier::default().verify(key, *algorithm, b"message", signature);
                    assert!(verified.is_err(), "{} verifies a signature that nobody made", algorithm.name());
                }
            }
        }
    }
    if let Ok(key) = SigningKey::parse(octets) {
        let now = oidc_filter::time::Timestamp::default();
        // With an RSA key, nobody here can sign.
        let assertion = client_assertion(&key, "client", "audience", "jti", now, &Verifier::default());
        assert!(assertion.is_none_or(|assertion| assertion.split('.').count() == 3));
    }
}

/// What a key that is broken on purpose may take: zeros, ones, and the neutral point of Ed25519.
const TRIVIAL: [&[u8]; 9] = [
    &[],
    &[0; 32],
    &[0; 64],
    &[1; 64],
    &[0; 96],
    &[0; 132],
    &[0; 256],
    b"\0\x01\xff\xff\xff\xff\xff\xff\xff\xff\0",
    b"\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
];

pub fn seeds() -> Vec<Vec<u8>> {
    let p256 = Signing::P256(p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap());
    let p384 = Signing::P384(p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap());
    let each = [p256, p384, Signing::P521(p521_key()), Signing::Rsa(Box::new(rsa_key())), Signing::Hmac(vec![7; 64])];
    let mut keys: Vec<Value> = each.iter().map(|key| key.jwk("k")).collect();
    keys.push(key("k1").jwk());
    let mut seeds: Vec<_> = keys.iter().map(|key| json!({"keys": [key]}).to_string().into_bytes()).collect();
    seeds.push(json!({"keys": keys}).to_string().into_bytes());
    seeds.extend(lines(&[
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]}"#,
        r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQ","use":"sig","key_ops":["verify"],"alg":"RS256","kid":"a"}]}"#,
        r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        r#"{"kty":"EC","crv":"P-256","d":"BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc","kid":"a"}"#,
    ]));
    seeds
}
