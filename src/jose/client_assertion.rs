//! How the filter proves to a provider who it is with a private key: RFC 7523, section 2.2 (`private_key_jwt` of OpenID
//! Connect Core, section 9).
//!
//! With keys of P-256 (ES256) and Ed25519 (EdDSA), this module signs by itself. With RSA keys (RS256) the host signs: RSA's
//! private-key operations in software leak time (RUSTSEC-2023-0071), and here they are only read and handed on.

use crate::jose::verifier::Verifier;
use crate::json::{self, Object, Value};
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use p256::pkcs8::DecodePrivateKey as _;
use rsa::pkcs1::RsaPrivateKeyRef;
use rsa::pkcs8::der::asn1::{OctetStringRef, UintRef};
use rsa::pkcs8::der::{Decode as _, Encode as _, pem};
use rsa::pkcs8::{PrivateKeyInfo, PrivateKeyInfoRef};
use rsa::{BoxedUint, Pkcs1v15Sign, RsaPublicKey};
use sha2::{Digest as _, Sha256};
use std::fmt;

/// A private key that signs assertions. Never printed.
pub struct AssertionKey {
    header: String,
    signer: Signer,
}

enum Signer {
    Es256(p256::ecdsa::SigningKey),
    EdDsa(ed25519_dalek::SigningKey),
    Rs256 { pkcs8: Vec<u8>, public: RsaPublicKey },
}

/// Why a private key can't sign assertions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnusableKey;

impl fmt::Display for UnusableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "expected a private key that is not encrypted, as a JWK or in PEM (PKCS#8 or PKCS#1): EC with P-256, OKP with \
             Ed25519, or RSA with 2048 bits or more, for RS256",
        )
    }
}

impl AssertionKey {
    /// Reads a private JWK (RFC 7517; RFC 7518, sections 6.2.2 and 6.3.2; RFC 8037, section 2), a PEM text (RFC 7468,
    /// section 10; RFC 8017, appendix A.1.2), or Zitadel's key file, which has a PEM text in it.
    pub fn parse(text: &[u8]) -> Result<Self, UnusableKey> {
        if text.trim_ascii_start().starts_with(b"-----") {
            return Self::new(from_pem(text.trim_ascii())?, None);
        }
        let object = json::parse_object(text).map_err(|_| UnusableKey)?;
        let member = |name: &str| object.get(name).and_then(Value::as_str);
        match (member("kty"), member("key")) {
            (None, Some(key)) => Self::new(from_pem(key.trim().as_bytes())?, member("keyId")),
            _ => {
                let signer = from_jwk(&object)?;
                if member("alg").is_some_and(|alg| alg != signer.algorithm()) {
                    return Err(UnusableKey);
                }
                Self::new(signer, member("kid"))
            }
        }
    }

    fn new(signer: Signer, kid: Option<&str>) -> Result<Self, UnusableKey> {
        let mut header = Object::new();
        header.insert("alg".to_owned(), signer.algorithm().into());
        header.insert("typ".to_owned(), "JWT".into());
        if let Some(kid) = kid {
            header.insert("kid".to_owned(), kid.into());
        }
        Ok(Self { header: Value::Object(header).to_string(), signer })
    }

    /// The same with a name for the key, which a PEM text has not.
    pub fn named(mut self, kid: &str) -> Option<Self> {
        let mut header = json::parse_object(self.header.as_bytes()).ok()?;
        match header.insert("kid".to_owned(), kid.into()) {
            Some(_) => None,
            None => {
                self.header = Value::Object(header).to_string();
                Some(self)
            }
        }
    }

    /// Whether there is somebody to sign with it: with an RSA key, a host that has been seen to do so.
    pub fn can_sign(&self, verifier: &Verifier) -> bool {
        let Signer::Rs256 { public, .. } = &self.signer else { return true };
        let message = b"oidc-filter";
        let verifies = |signature: String| {
            URL_SAFE_NO_PAD.decode(signature).is_ok_and(|signature| {
                public.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), &signature).is_ok()
            })
        };
        self.signer.sign(message, verifier).is_some_and(verifies)
    }

    /// An assertion of `client` for `audience`, good for a minute (section 3). `jti` must not have been used before. `None`
    /// if nobody can sign it.
    pub fn assertion(
        &self,
        client: &str,
        audience: &str,
        jti: &str,
        now: Timestamp,
        verifier: &Verifier,
    ) -> Option<String> {
        let issued = now.unix_millis().div_euclid(1000);
        let mut claims = Object::new();
        claims.insert("iss".to_owned(), client.into());
        claims.insert("sub".to_owned(), client.into());
        claims.insert("aud".to_owned(), audience.into());
        claims.insert("jti".to_owned(), jti.into());
        claims.insert("iat".to_owned(), issued.into());
        claims.insert("exp".to_owned(), issued.saturating_add(LIFETIME_SECONDS).into());
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let input =
            format!("{}.{}", encode(self.header.as_bytes()), encode(Value::Object(claims).to_string().as_bytes()));
        let signature = self.signer.sign(input.as_bytes(), verifier)?;
        Some(format!("{input}.{signature}"))
    }
}

impl Signer {
    const fn algorithm(&self) -> &'static str {
        match self {
            Self::Es256(_) => "ES256",
            Self::EdDsa(_) => "EdDSA",
            Self::Rs256 { .. } => "RS256",
        }
    }

    fn sign(&self, message: &[u8], verifier: &Verifier) -> Option<String> {
        let signature = match self {
            Self::Es256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(message);
                signature.to_bytes().to_vec()
            }
            Self::EdDsa(key) => key.sign(message).to_bytes().to_vec(),
            Self::Rs256 { pkcs8, .. } => verifier.sign_by_host("sha256", pkcs8, message)?,
        };
        Some(URL_SAFE_NO_PAD.encode(signature))
    }
}

fn from_jwk(jwk: &Object) -> Result<Signer, UnusableKey> {
    let text = |name: &str| jwk.get(name).and_then(Value::as_str);
    let octets = |name: &str| text(name).and_then(|text| URL_SAFE_NO_PAD.decode(text).ok()).ok_or(UnusableKey);
    match (text("kty"), text("crv")) {
        (Some("EC"), Some("P-256")) => es256(&octets("d")?),
        (Some("OKP"), Some("Ed25519")) => ed25519(&octets("d")?),
        (Some("RSA"), _) if !jwk.contains_key("oth") => {
            let [n, e, d, p, q, dp, dq, qi] = ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(octets);
            let (n, e, d, p, q, dp, dq, qi) = (n?, e?, d?, p?, q?, dp?, dq?, qi?);
            let number = |octets| UintRef::new(octets).map_err(|_| UnusableKey);
            rs256(&RsaPrivateKeyRef {
                modulus: number(&n)?,
                public_exponent: number(&e)?,
                private_exponent: number(&d)?,
                prime1: number(&p)?,
                prime2: number(&q)?,
                exponent1: number(&dp)?,
                exponent2: number(&dq)?,
                coefficient: number(&qi)?,
                other_prime_infos: None,
            })
        }
        _ => Err(UnusableKey),
    }
}

fn from_pem(text: &[u8]) -> Result<Signer, UnusableKey> {
    let (label, der) = pem::decode_vec(text).map_err(|_| UnusableKey)?;
    match label {
        "RSA PRIVATE KEY" => rs256(&RsaPrivateKeyRef::from_der(&der).map_err(|_| UnusableKey)?),
        "PRIVATE KEY" => {
            let info = PrivateKeyInfoRef::from_der(&der).map_err(|_| UnusableKey)?;
            let octets = info.private_key.as_bytes();
            if info.algorithm.oid == rsa::pkcs1::ALGORITHM_OID {
                return rs256(&RsaPrivateKeyRef::from_der(octets).map_err(|_| UnusableKey)?);
            }
            match octets.strip_prefix(&[0x04, 0x20]) {
                // RFC 8410, section 7: an octet string within the octet string.
                Some(secret) if info.algorithm.oid == ED25519 => ed25519(secret),
                _ => p256::ecdsa::SigningKey::from_pkcs8_der(&der).map(Signer::Es256).map_err(|_| UnusableKey),
            }
        }
        _ => Err(UnusableKey),
    }
}

fn es256(secret: &[u8]) -> Result<Signer, UnusableKey> {
    p256::ecdsa::SigningKey::from_slice(secret).map(Signer::Es256).map_err(|_| UnusableKey)
}

fn ed25519(secret: &[u8]) -> Result<Signer, UnusableKey> {
    let secret = secret.try_into().map_err(|_| UnusableKey)?;
    Ok(Signer::EdDsa(ed25519_dalek::SigningKey::from_bytes(secret)))
}

/// The key as the host takes it: PKCS#8 in DER.
fn rs256(key: &RsaPrivateKeyRef) -> Result<Signer, UnusableKey> {
    let modulus = BoxedUint::from_be_slice_vartime(key.modulus.as_bytes());
    let exponent = BoxedUint::from_be_slice_vartime(key.public_exponent.as_bytes());
    // RFC 7518, section 3.3: 2048 bits or more.
    let public = RsaPublicKey::new(modulus, exponent).map_err(|_| UnusableKey)?;
    let is_small = key.modulus.as_bytes().len() < MIN_RSA_BYTES;
    let pkcs1 = key.to_der().map_err(|_| UnusableKey)?;
    let octets = OctetStringRef::new(&pkcs1).map_err(|_| UnusableKey)?;
    let info: PrivateKeyInfoRef = PrivateKeyInfo::new(rsa::pkcs1::ALGORITHM_ID, octets);
    let pkcs8 = info.to_der().map_err(|_| UnusableKey)?;
    if is_small { Err(UnusableKey) } else { Ok(Signer::Rs256 { pkcs8, public }) }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AssertionKey")
    }
}

/// Long enough for clocks that differ a little, short enough to be worthless when it is found.
const LIFETIME_SECONDS: i64 = 60;

/// 2048 bits.
const MIN_RSA_BYTES: usize = 256;

/// RFC 8410, section 3.
const ED25519: rsa::pkcs8::ObjectIdentifier = rsa::pkcs8::ObjectIdentifier::new_unwrap("1.3.101.112");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::jwk::{JwkSet, Origin};
    use crate::jose::jws::CompactJws;
    use crate::jose::verifier::Verifier;

    /// RFC 7515, appendix A.3.1, and RFC 8037, appendix A.1: the private keys and their public halves.
    const KEYS: [(&str, &str); 2] = [
        (
            r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#,
            r#""d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI""#,
        ),
        (
            r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#,
            r#""d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A""#,
        ),
    ];

    #[test]
    fn an_assertion_verifies_with_the_public_half() {
        for (public, private) in KEYS {
            let key = AssertionKey::parse(format!("{{{public},{private},\"kid\":\"k\"}}").as_bytes()).unwrap();
            let now = Timestamp::from_unix_seconds(1_000_000);
            let assertion = key.assertion("me", "https://op", "once", now, &Verifier::default()).unwrap();
            let set =
                JwkSet::parse(format!("{{\"keys\":[{{{public},\"kid\":\"k\"}}]}}").as_bytes(), Origin::Remote).unwrap();
            let jws = CompactJws::parse(&assertion).unwrap();
            let payload = jws.verify(set.candidates(Some("k"), jws.algorithm()), &Verifier::default()).unwrap();
            let expected = r#"{"aud":"https://op","exp":1000060,"iat":1000000,"iss":"me","jti":"once","sub":"me"}"#;
            assert_eq!(std::str::from_utf8(payload.octets()), Ok(expected));
        }
    }

    #[test]
    fn what_cannot_sign_is_refused() {
        for jwk in [
            "",
            "{}",
            r#"{"kty":"RSA","d":"AQ"}"#,
            r#"{"kty":"EC","crv":"P-256","d":"AA"}"#,
            r#"{"kty":"EC","crv":"P-256"}"#,
            "-----BEGIN PRIVATE KEY-----",
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAA=\n-----END ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nMAA=\n-----END RSA PRIVATE KEY-----\n",
            "-----BEGIN PRIVATE KEY-----\nMAA=\n-----END PRIVATE KEY-----\n",
            r#"{"key":"x","keyId":"1"}"#,
        ] {
            assert_eq!(AssertionKey::parse(jwk.as_bytes()).err(), Some(UnusableKey), "{jwk}");
        }
    }

    /// A host that signs as Envoy does.
    struct Signs;

    impl crate::jose::verifier::Host for Signs {
        fn verify(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            None
        }

        fn sign(&self, hash: &str, pkcs8: &[u8], message: &[u8]) -> Option<Vec<u8>> {
            assert_eq!(hash, "sha256");
            let key = rsa::RsaPrivateKey::from_pkcs8_der(pkcs8).unwrap();
            key.sign(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message)).ok()
        }
    }

    /// A host that signs everything alike.
    struct Lies;

    impl crate::jose::verifier::Host for Lies {
        fn verify(&self, _: &str, _: &[u8], _: &[u8], _: &[u8]) -> Option<bool> {
            None
        }

        fn sign(&self, _: &str, _: &[u8], _: &[u8]) -> Option<Vec<u8>> {
            Some(vec![1; 256])
        }
    }

    #[test]
    fn rsa_keys_are_for_the_host_to_sign_with() {
        let pkcs8 = include_str!("../../tests/keys/rsa-pkcs8.pem");
        let pkcs1 = include_str!("../../tests/keys/rsa-pkcs1.pem");
        let jwk = include_str!("../../tests/keys/rsa.jwk.json");
        let zitadel = Value::Object(Object::from_iter([
            ("type".to_owned(), "application".into()),
            ("keyId".to_owned(), "k".into()),
            ("key".to_owned(), pkcs1.into()),
        ]));
        let zitadel = zitadel.to_string();
        let public = json::parse_object(jwk.as_bytes()).unwrap();
        let member = |name: &str| public[name].as_str().unwrap();
        let set = format!(r#"{{"keys":[{{"kty":"RSA","kid":"k","n":"{}","e":"{}"}}]}}"#, member("n"), member("e"));
        let set = JwkSet::parse(set.as_bytes(), Origin::Remote).unwrap();
        let signs = Verifier::with_host(Box::new(Signs));
        for (text, names_key) in [
            (pkcs8, false),
            (pkcs1, false),
            (pkcs1.replace('\n', "\r\n").as_str(), false),
            (jwk, true),
            (zitadel.as_str(), true),
        ] {
            let key = AssertionKey::parse(text.as_bytes()).unwrap();
            let key = if names_key { key } else { key.named("k").unwrap() };
            assert!(key.can_sign(&signs));
            let assertion = key.assertion("me", "https://op", "once", Timestamp::default(), &signs).unwrap();
            let jws = CompactJws::parse(&assertion).unwrap();
            assert_eq!((jws.algorithm().name(), jws.key_id()), ("RS256", Some("k")));
            assert!(jws.verify(set.candidates(Some("k"), jws.algorithm()), &Verifier::default()).is_ok());
            for other in [Verifier::default(), Verifier::with_host(Box::new(Lies))] {
                assert!(!key.can_sign(&other));
            }
            assert_eq!(key.assertion("me", "https://op", "once", Timestamp::default(), &Verifier::default()), None);
        }
        let other = jwk.replacen('{', "{\"alg\":\"PS256\",", 1);
        assert_eq!(AssertionKey::parse(other.as_bytes()).err(), Some(UnusableKey));
    }

    #[test]
    fn other_keys_in_pem() {
        let ed25519 = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEINTuctv5E1hK1bbY8fdp+K06/nwoy/HU++CXqI9EdVhC\n-----END PRIVATE KEY-----\n";
        let p256 = include_str!("../../tests/keys/p256.pem");
        for (text, algorithm) in [(ed25519, "EdDSA"), (p256, "ES256")] {
            let key = AssertionKey::parse(text.as_bytes()).unwrap();
            assert!(key.can_sign(&Verifier::default()));
            let assertion =
                key.assertion("me", "https://op", "once", Timestamp::default(), &Verifier::default()).unwrap();
            assert_eq!(CompactJws::parse(&assertion).unwrap().algorithm().name(), algorithm);
        }
    }
}
