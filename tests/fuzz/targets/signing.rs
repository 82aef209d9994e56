//! What the filter signs: whatever a private key, a host or a claim is, what leaves is a JWT that its public half verifies, or nothing.

use super::{lines, unheard};
use crate::scene::{ISSUER, bearer, good_claims, introspection};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use oidc_filter::jose::jws::CompactJws;
use oidc_filter::jose::signing::{Secrets, SigningKey};
use oidc_filter::jose::verifier::{Backend, Verifier};
use oidc_filter::json;
use oidc_filter::ports::Cryptography;
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;

/// The octets are a private JWK, a host's signature, or what a provider says about a token.
pub fn run(octets: &[u8]) {
    as_key(octets);
    as_signature(octets);
    as_claims(octets);
}

fn as_key(octets: &[u8]) {
    let Ok(jwk) = json::parse_object(octets) else { return };
    for secrets in [Secrets::Private, Secrets::SharedToo] {
        let Ok(key) = SigningKey::from_jwk(&jwk, secrets) else { continue };
        let public = key.verifying().public_members().map(|members| Value::Object(members).to_string());
        let printed = format!("{key:?} {key:#?} {public:?}");
        for name in ["d", "p", "q", "dp", "dq", "qi", "k"] {
            // What is public, or the key's name, may hold the same letters if these are few.
            let private = jwk.get(name).and_then(Value::as_str).filter(|text| text.len() > 20);
            let is_name = |text: &str| key.kid().is_some_and(|kid| kid.contains(text));
            let is_public =
                |text: &str| ["n", "x", "y"].iter().any(|name| jwk.get(*name).is_some_and(|value| value == text));
            assert!(
                private.is_none_or(|text| is_name(text) || is_public(text) || !printed.contains(text)),
                "{printed}"
            );
        }
        let signed = key.jwt("JWT", &json::Object::new(), &Verifier::default());
        assert_eq!(signed.is_some(), key.can_sign(&Verifier::default()), "only the host signs with RSA");
        if let Some(signed) = signed {
            let jws = CompactJws::parse(&signed.jwt).unwrap();
            assert!(jws.verify(std::iter::once(key.verifying()), &Verifier::default()).is_ok());
        }
    }
}

/// A host that is right when it is tried, and then answers with these octets.
struct Turns {
    octets: Vec<u8>,
    asked: Rc<Cell<usize>>,
}

impl Cryptography for Turns {
    fn verify(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
        None
    }

    fn sign(&self, _: &str, pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
        use p256::ecdsa::signature::Signer as _;
        use p256::pkcs8::DecodePrivateKey as _;
        self.asked.set(self.asked.get() + 1);
        if self.asked.get() > 1 {
            return Some(self.octets.clone());
        }
        let key = p256::ecdsa::SigningKey::from_pkcs8_der(pkcs8).unwrap();
        let signature: p256::ecdsa::Signature = key.sign(message);
        Some(signature.to_der().as_bytes().to_vec())
    }
}

fn as_signature(octets: &[u8]) {
    let asked = Rc::new(Cell::new(0));
    let verifier = Verifier::with_host(Box::new(Turns { octets: octets.to_vec(), asked: Rc::clone(&asked) }));
    let key = SigningKey::parse(P256.as_bytes()).unwrap();
    let signed = key.jwt("JWT", &json::Object::new(), &verifier).unwrap();
    assert_eq!(asked.get(), 2);
    let signature = BASE64URL.decode(signed.jwt.rsplit('.').next().unwrap()).unwrap();
    assert_eq!(signature.len(), 64);
    if signed.backend == Backend::Own {
        let jws = CompactJws::parse(&signed.jwt).unwrap();
        assert!(jws.verify(std::iter::once(key.verifying()), &Verifier::default()).is_ok());
    }
}

fn as_claims(octets: &[u8]) {
    let Ok(mut said) = json::parse_object(octets) else { return };
    said.extend(
        json!({"active": true, "iss": ISSUER, "aud": good_claims()["aud"], "sub": "ann"}).as_object().unwrap().clone(),
    );
    for name in ["cnf", "exp", "nbf", "iat"] {
        said.remove(name);
    }
    let names: Vec<&String> = said.keys().filter(|name| is_free(name)).take(64).collect();
    let assertion = json!({"issuer": "https://edge", "audience": "b", "keys": P256, "claims": names});
    let mut scene = unheard(introspection(json!({}), json!({"assertion": assertion})));
    scene.provider.tokens.insert("opaque".to_owned(), Value::Object(said.clone()));
    let Some(upstream) = scene.send(bearer("opaque")).upstream_or_none() else { return };
    let key = SigningKey::parse(P256.as_bytes()).unwrap();
    let jws = CompactJws::parse(upstream.header("x-oidc-assertion").unwrap()).unwrap();
    let payload = jws.verify(std::iter::once(key.verifying()), &Verifier::default()).ok().unwrap();
    // Two readers find the same: ours, which is strict, and one that isn't.
    let strict = Value::Object(json::parse_object(payload.octets()).unwrap());
    assert_eq!(serde_json::from_slice::<Value>(payload.octets()).unwrap(), strict);
    for name in names {
        assert_eq!(strict.get(name), said.get(name).filter(|value| !value.is_null()), "{name}");
    }
    assert_eq!((&strict["sub"], &strict["iss"], &strict["aud"]), (&json!("ann"), &json!("https://edge"), &json!("b")));
}

/// Whether the configuration lets a member have this name.
fn is_free(name: &str) -> bool {
    const FIXED: [&str; 14] =
        ["", "iss", "aud", "sub", "iat", "exp", "nbf", "jti", "idp", "auth", "anonymous", "cnf", "act", "active"];
    !FIXED.contains(&name) && !name.contains("${")
}

const P256: &str = r#"{"kty":"EC","crv":"P-256","kid":"k","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = lines(&[
        P256,
        r#"{"kty":"OKP","crv":"Ed25519","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#,
        r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T","alg":"HS256","use":"sig","key_ops":["sign"]}"#,
        include_str!("../../keys/rsa.jwk.json"),
        r#"{"groups":["a\"\\\u0000\u2028","é"],"big":18446744073709551616,"deep":[[[{"a":null}]]],"exp":1e400,"no":false}"#,
    ]);
    // SEQUENCE { INTEGER 1, INTEGER 1 }, and numbers with a zero before them.
    seeds.push(vec![0x30, 6, 2, 1, 1, 2, 1, 1]);
    seeds.push([&[0x30, 0x46, 2, 0x21, 0, 0xff], [1; 31].as_slice(), &[2, 0x21, 0, 0xfe], [1; 31].as_slice()].concat());
    seeds
}
