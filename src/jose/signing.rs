//! Private keys, and what they sign: RFC 7515 (JWS) and RFC 7519 (JWT), with ES256, EdDSA, RS256 and HS256 (RFC 7518,
//! section 3; RFC 8037, section 3.1).
//!
//! With keys of Ed25519, and with shared secrets, this module signs by itself. With P-256 the host does, which takes a tenth of
//! the time, if it has been seen to do it right; else this module. With RSA only the host does: RSA's private-key operations in
//! software leak time (RUSTSEC-2023-0071), and here such a key is only read and handed on.
//!
//! The invariants: a [`SigningKey`] exists only if its two halves fit. Nothing private is ever printed, and the public half is
//! all that [`SigningKey::verifying`] gives. A host's signature that is no signature never leaves.

mod mint;
mod private;
mod uses;

pub use private::{Secrets, UnusableKey};
pub use uses::{AssertionResult, AssertionUse, AssertionUses, MAX_USES};

use crate::jose::jwk::{Algorithm, Jwk};
use crate::jose::verifier::{Backend, Verifier};
use crate::json::Object;
use ed25519_dalek::Signer as _;
use std::fmt;

/// A private key. Never printed.
pub struct SigningKey {
    kid: Option<String>,
    secret: PrivateKey,
    verifying: Jwk,
}

enum PrivateKey {
    /// By the module, and by the host, to which it is PKCS#8 in DER.
    P256 {
        key: Box<p256::ecdsa::SigningKey>,
        pkcs8: Vec<u8>,
    },
    Ed25519(Box<ed25519_dalek::SigningKey>),
    Rsa {
        pkcs8: Vec<u8>,
    },
    /// It is what verifies, too.
    Symmetric,
}

/// A signed JWT, and who signed it.
pub struct Signed {
    /// The compact serialisation.
    pub jwt: String,
    /// Who did the arithmetic.
    pub backend: Backend,
}

impl SigningKey {
    /// What its signatures are called. It has one algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match &self.secret {
            PrivateKey::P256 { .. } => Algorithm::Es256,
            PrivateKey::Ed25519(_) => Algorithm::EdDsa,
            PrivateKey::Rsa { .. } => Algorithm::Rs256,
            PrivateKey::Symmetric => Algorithm::Hs256,
        }
    }

    /// The name that was given to it.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The same with a name for the key, if it has none.
    pub fn named(self, kid: &str) -> Option<Self> {
        self.kid.is_none().then(|| Self { kid: Some(kid.to_owned()), ..self })
    }

    /// The key that verifies what this one signs: the public half, or for a shared secret the same.
    pub fn verifying(&self) -> &Jwk {
        &self.verifying
    }

    /// Whether there is somebody to sign with it, as a signature shows that verifies. With an RSA key this takes a host.
    pub fn can_sign(&self, verifier: &Verifier) -> bool {
        let signed = self.sign(TRIAL, verifier);
        signed.is_some_and(|(signature, _)| self.verifying.verify(self.algorithm(), TRIAL, &signature).is_ok())
    }

    /// A JWT of these claims. `None` if nobody can sign it.
    pub fn jwt(&self, token_type: &str, claims: &Object, verifier: &Verifier) -> Option<Signed> {
        mint::mint(self, token_type, claims, verifier)
    }

    /// The signature in the form of RFC 7518, section 3, and who made it.
    fn sign(&self, message: &[u8], verifier: &Verifier) -> Option<(Vec<u8>, Backend)> {
        let own = match &self.secret {
            PrivateKey::P256 { key, pkcs8 } => {
                if let Some(signature) = verifier.sign_es256(pkcs8, message) {
                    return Some((signature, Backend::Host));
                }
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            PrivateKey::Ed25519(key) => key.sign(message).to_bytes().to_vec(),
            PrivateKey::Rsa { pkcs8 } => {
                let signature = verifier.sign_by_host("sha256", pkcs8, message)?;
                // RFC 8017, section 8.2.1: as long as the modulus.
                let is_whole = self.verifying.modulus_size() == Some(signature.len());
                return is_whole.then_some((signature, Backend::Host));
            }
            PrivateKey::Symmetric => self.verifying.authenticate(message)?,
        };
        Some((own, Backend::Own))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("kid", &self.kid).finish_non_exhaustive()
    }
}

/// What is signed to see whether a key signs.
const TRIAL: &[u8; 32] = b"oidc-filter tries a private key.";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::jwk::{JwkSet, KeySetOrigin};
    use crate::jose::jws::CompactJws;
    use crate::json::{self, Value};
    use crate::ports::Cryptography;
    use p256::pkcs8::DecodePrivateKey as _;
    use rsa::Pkcs1v15Sign;
    use sha2::{Digest as _, Sha256};
    use std::cell::Cell;
    use std::rc::Rc;

    const P256: &str = r#"{"kty":"EC","crv":"P-256","kid":"k","d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}"#;
    const ED25519: &str =
        r#"{"kty":"OKP","crv":"Ed25519","kid":"k","d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"}"#;
    const OCT: &str = r#"{"kty":"oct","kid":"k","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow"}"#;
    const RSA: &str = include_str!("../../tests/keys/rsa.jwk.json");

    fn key(jwk: &str) -> Result<SigningKey, UnusableKey> {
        SigningKey::from_jwk(&json::parse_object(jwk.as_bytes()).unwrap(), Secrets::SharedToo)
    }

    fn jwt(key: &SigningKey, verifier: &Verifier) -> Option<Signed> {
        let claims = json::parse_object(br#"{"sub":"me","n":1e400,"big":9223372036854775808}"#).unwrap();
        key.jwt("JWT", &claims, verifier)
    }

    /// Whether the JWT is the key's, and what is in it.
    fn payload(key: &SigningKey, signed: &Signed) -> Option<String> {
        let jws = CompactJws::parse(&signed.jwt).unwrap();
        let payload = jws.verify([key.verifying()].into_iter(), &Verifier::default()).ok()?;
        Some(String::from_utf8(payload.octets().to_vec()).unwrap())
    }

    /// What is made of a good signature.
    type Instead = fn(Vec<u8>) -> Option<Vec<u8>>;

    /// A host that signs as Envoy does, in DER, until it is told what to answer instead.
    #[derive(Clone, Default)]
    struct Signs {
        instead: Rc<Cell<Option<Instead>>>,
    }

    impl Cryptography for Signs {
        fn verify(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            None
        }

        fn sign(&self, hash: &str, pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
            assert_eq!(hash, "sha256");
            let signature = match p256::ecdsa::SigningKey::from_pkcs8_der(pkcs8) {
                Ok(key) => {
                    let signature: p256::ecdsa::Signature = key.sign(message);
                    signature.to_der().as_bytes().to_vec()
                }
                Err(_) => {
                    let key = rsa::RsaPrivateKey::from_pkcs8_der(pkcs8).unwrap();
                    key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message)).unwrap()
                }
            };
            self.instead.get().map_or(Some(signature.clone()), |instead| instead(signature))
        }
    }

    #[test]
    fn each_kind_of_key_signs_what_its_public_half_verifies() {
        let host = Verifier::with_host(Box::new(Signs::default()));
        for (jwk, verifier, algorithm, backend) in [
            (P256, &Verifier::default(), "ES256", Backend::Own),
            (P256, &host, "ES256", Backend::Host),
            (ED25519, &Verifier::default(), "EdDSA", Backend::Own),
            (ED25519, &host, "EdDSA", Backend::Own),
            (OCT, &host, "HS256", Backend::Own),
            (RSA, &host, "RS256", Backend::Host),
        ] {
            let key = key(jwk).unwrap();
            assert!(key.can_sign(verifier), "{algorithm}");
            let signed = jwt(&key, verifier).unwrap();
            assert_eq!((key.algorithm().name(), signed.backend), (algorithm, backend));
            // Numbers with all their digits, members in order.
            let payload = payload(&key, &signed).unwrap();
            assert_eq!(payload, r#"{"big":9223372036854775808,"n":1e400,"sub":"me"}"#.replace("1e400", "1e+400"));
            let jws = CompactJws::parse(&signed.jwt).unwrap();
            assert_eq!((jws.algorithm().name(), jws.key_id()), (algorithm, key.kid()));
        }
        let rsa = key(RSA).unwrap();
        assert!(!rsa.can_sign(&Verifier::default()) && jwt(&rsa, &Verifier::default()).is_none());
    }

    /// A host that doesn't sign, or that signs wrongly from the start, or later.
    #[test]
    fn a_host_s_bad_signature_never_leaves() {
        let wrong: [Instead; 6] = [
            |_| None,
            |_| Some(Vec::new()),
            |_| Some(vec![0x30, 6, 2, 1, 0, 2, 1, 1]),
            |signature| Some([signature, vec![0]].concat()),
            |_| Some(vec![1; 64]),
            |mut signature| signature.pop().map(|_| signature),
        ];
        for (number, wrong) in wrong.into_iter().enumerate() {
            let host = Signs::default();
            host.instead.set(Some(wrong));
            let verifier = Verifier::with_host(Box::new(host));
            assert!(!key(RSA).unwrap().can_sign(&verifier), "{number}");
            assert!(key(P256).unwrap().can_sign(&verifier), "{number}");
            // It was right when the configuration was read.
            let host = Signs::default();
            let verifier = Verifier::with_host(Box::new(host.clone()));
            assert!(key(P256).unwrap().can_sign(&verifier) && key(RSA).unwrap().can_sign(&verifier));
            host.instead.set(Some(wrong));
            let key_ = key(P256).unwrap();
            let signed = jwt(&key_, &verifier).unwrap();
            assert_eq!(signed.backend, Backend::Own, "{number}");
            assert!(payload(&key_, &signed).is_some(), "{number}");
            assert!(jwt(&key(RSA).unwrap(), &verifier).is_none(), "{number}");
        }
        // A signature of another message has the form of one: it is seen when the host is tried.
        let other: Instead = |_| {
            let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
            let signature: p256::ecdsa::Signature = key.sign(b"other");
            Some(signature.to_der().as_bytes().to_vec())
        };
        let host = Signs::default();
        host.instead.set(Some(other));
        let verifier = Verifier::with_host(Box::new(host));
        assert_eq!(jwt(&key(P256).unwrap(), &verifier).unwrap().backend, Backend::Own);
    }

    /// Numbers with leading zeros, and with a high first bit: 68 octets and fewer, 72 and everything between.
    #[test]
    fn der_signatures_of_every_length_become_64_octets() {
        let verifier = Verifier::with_host(Box::new(Signs::default()));
        let key = key(P256).unwrap();
        for number in 0..2_000u32 {
            let message = number.to_be_bytes();
            let (signature, backend) = key.sign(&message, &verifier).unwrap();
            assert_eq!((signature.len(), backend), (64, Backend::Host));
            if number % 10 == 0 {
                assert!(key.verifying.verify(Algorithm::Es256, &message, &signature).is_ok());
            }
        }
    }

    #[test]
    fn what_cannot_sign_is_refused() {
        use UnusableKey::*;
        let with = |jwk: &str, member: &str| jwk.replacen('{', &format!("{{{member},"), 1);
        for (jwk, expected) in [
            ("{}".to_owned(), Unknown),
            (r#"{"kty":"RSA","d":"AQ"}"#.to_owned(), Unknown),
            (r#"{"kty":"EC","crv":"P-256","d":"AA"}"#.to_owned(), Unknown),
            (r#"{"kty":"EC","crv":"P-256"}"#.to_owned(), Unknown),
            // Zero, the order, and more.
            (format!(r#"{{"kty":"EC","crv":"P-256","d":"{}"}}"#, "A".repeat(43)), Unknown),
            (r#"{"kty":"EC","crv":"P-256","d":"_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE"}"#.to_owned(), Unknown),
            (r#"{"kty":"EC","crv":"P-256","d":"__________________________________________8"}"#.to_owned(), Unknown),
            // A number of another curve's length.
            (format!(r#"{{"kty":"EC","crv":"P-256","d":"{}"}}"#, "B".repeat(64)), Unknown),
            (P256.replace("P-256", "P-384"), Unknown),
            (P256.replace("P-256", "secp256k1"), Unknown),
            (P256.replace(r#""d":"#, r#""x":"#), Public),
            (RSA.replace(r#""d""#, r#""D""#), Public),
            (with(RSA, r#""oth":[]"#), Unknown),
            (with(P256, r#""alg":"ES384""#), Algorithm),
            (with(P256, r#""alg":null"#), Algorithm),
            (with(RSA, r#""alg":"PS256""#), Algorithm),
            (with(OCT, r#""alg":"HS512""#), Algorithm),
            (with(P256, r#""use":"enc""#), Use),
            (with(P256, r#""key_ops":["verify"]"#), Use),
            (with(P256, r#""key_ops":"sign""#), Use),
            (P256.replace(r#""k""#, "1"), KeyId),
            (with(P256, r#""x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEX""#), Halves),
            (with(P256, r#""y":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU""#), Halves),
            (with(ED25519, r#""x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU""#), Halves),
            (r#"{"kty":"oct","k":"AAAA"}"#.to_owned(), Unsound),
            (r#"{"kty":"oct"}"#.to_owned(), Unsound),
        ] {
            assert_eq!(key(&jwk).err(), Some(expected), "{jwk}");
        }
        for good in
            [with(P256, r#""alg":"ES256","use":"sig","key_ops":["sign","verify"]"#), with(OCT, r#""alg":"HS256""#)]
        {
            assert!(key(&good).is_ok(), "{good}");
        }
        assert_eq!(SigningKey::parse(OCT.as_bytes()).err(), Some(Unknown), "a shared secret proves no client");
        for text in [
            "",
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
            r#"{"key":"x","keyId":"1"}"#,
        ] {
            assert_eq!(SigningKey::parse(text.as_bytes()).err(), Some(Unknown), "{text}");
        }
    }

    #[test]
    fn keys_in_pem() {
        let ed25519 = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let p256 = include_str!("../../tests/keys/p256.pem");
        let pkcs8 = include_str!("../../tests/keys/rsa-pkcs8.pem");
        let pkcs1 = include_str!("../../tests/keys/rsa-pkcs1.pem");
        let zitadel = Value::Object(Object::from_iter([
            ("type".to_owned(), "application".into()),
            ("keyId".to_owned(), "k".into()),
            ("key".to_owned(), pkcs1.into()),
        ]));
        let zitadel = zitadel.to_string();
        let verifier = Verifier::with_host(Box::new(Signs::default()));
        for (text, algorithm, is_named) in [
            (ed25519, "EdDSA", false),
            (p256, "ES256", false),
            (pkcs8, "RS256", false),
            (pkcs1, "RS256", false),
            (pkcs1.replace('\n', "\r\n").as_str(), "RS256", false),
            (RSA, "RS256", true),
            (zitadel.as_str(), "RS256", true),
        ] {
            let key = SigningKey::parse(text.as_bytes()).unwrap();
            assert_eq!(key.kid().is_some(), is_named);
            let key = if is_named { key } else { key.named("k").unwrap() };
            assert!(key.can_sign(&verifier));
            let signed = jwt(&key, &verifier).unwrap();
            let jws = CompactJws::parse(&signed.jwt).unwrap();
            assert_eq!((jws.algorithm().name(), jws.key_id()), (algorithm, Some("k")));
            assert!(key.named("other").is_none());
        }
        let public = json::parse_object(RSA.as_bytes()).unwrap();
        let member = |name: &str| public[name].as_str().unwrap();
        let set = format!(r#"{{"keys":[{{"kty":"RSA","kid":"k","n":"{}","e":"{}"}}]}}"#, member("n"), member("e"));
        let set = JwkSet::parse(set.as_bytes(), KeySetOrigin::Remote).unwrap();
        let signed = jwt(&key(RSA).unwrap(), &verifier).unwrap();
        let jws = CompactJws::parse(&signed.jwt).unwrap();
        assert!(jws.verify(set.candidates(jws.key_id(), jws.algorithm()), &Verifier::default()).is_ok());
    }

    #[test]
    fn a_key_prints_its_name_only() {
        for jwk in [P256, ED25519, OCT, RSA] {
            let key = key(jwk).unwrap();
            let printed = format!("{key:?} {key:#?} {:?}", key.verifying());
            assert!(printed.contains("SigningKey"));
            let jwk = json::parse_object(jwk.as_bytes()).unwrap();
            for private in ["d", "k", "p", "q", "dp", "dq", "qi"].iter().filter_map(|name| jwk.get(*name)) {
                assert!(!printed.contains(private.as_str().unwrap()));
            }
        }
    }
}
