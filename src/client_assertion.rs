//! How the filter proves to a provider who it is with a private key: RFC 7523, section 2.2 (`private_key_jwt` of OpenID
//! Connect Core, section 9).
//!
//! Keys are P-256 (ES256) or Ed25519 (EdDSA). RSA is left out: its private-key operations in software leak time
//! (RUSTSEC-2023-0071).

use crate::json::{self, Object, Value};
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ed25519_dalek::Signer as _;
use std::fmt;

/// A private key that signs assertions. Never printed.
pub struct AssertionKey {
    header: String,
    signer: Signer,
}

enum Signer {
    Es256(p256::ecdsa::SigningKey),
    EdDsa(ed25519_dalek::SigningKey),
}

/// Why a private JWK can't sign assertions.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UnusableKey;

impl fmt::Display for UnusableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a private JWK: EC with P-256, or OKP with Ed25519")
    }
}

impl AssertionKey {
    /// Reads a private JWK (RFC 7517; RFC 7518, section 6.2.2; RFC 8037, section 2).
    pub fn parse(jwk: &[u8]) -> Result<Self, UnusableKey> {
        let jwk = json::parse_object(jwk).map_err(|_| UnusableKey)?;
        let text = |name: &str| jwk.get(name).and_then(Value::as_str);
        let secret = text("d").and_then(|d| URL_SAFE_NO_PAD.decode(d).ok()).ok_or(UnusableKey)?;
        let (algorithm, signer) = match (text("kty"), text("crv")) {
            (Some("EC"), Some("P-256")) => {
                ("ES256", Signer::Es256(p256::ecdsa::SigningKey::from_slice(&secret).map_err(|_| UnusableKey)?))
            }
            (Some("OKP"), Some("Ed25519")) => {
                let secret = secret.as_slice().try_into().map_err(|_| UnusableKey)?;
                ("EdDSA", Signer::EdDsa(ed25519_dalek::SigningKey::from_bytes(secret)))
            }
            _ => return Err(UnusableKey),
        };
        let mut header = Object::new();
        header.insert("alg".to_owned(), algorithm.into());
        header.insert("typ".to_owned(), "JWT".into());
        if let Some(kid) = text("kid") {
            header.insert("kid".to_owned(), kid.into());
        }
        Ok(Self { header: Value::Object(header).to_string(), signer })
    }

    /// An assertion of `client` for `audience`, good for a minute (section 3). `jti` must not have been used before.
    pub fn assertion(&self, client: &str, audience: &str, jti: &str, now: Timestamp) -> String {
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
        let signature = match &self.signer {
            Signer::Es256(key) => {
                let signature: p256::ecdsa::Signature = key.sign(input.as_bytes());
                encode(&signature.to_bytes())
            }
            Signer::EdDsa(key) => encode(&key.sign(input.as_bytes()).to_bytes()),
        };
        format!("{input}.{signature}")
    }
}

impl fmt::Debug for AssertionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AssertionKey")
    }
}

/// Long enough for clocks that differ a little, short enough to be worthless when it is found.
const LIFETIME_SECONDS: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jwk::{JwkSet, Origin};
    use crate::jws::CompactJws;
    use crate::verifier::Verifier;

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
            let assertion = key.assertion("me", "https://op", "once", Timestamp::from_unix_seconds(1_000_000));
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
        ] {
            assert_eq!(AssertionKey::parse(jwk.as_bytes()).err(), Some(UnusableKey), "{jwk}");
        }
    }
}
