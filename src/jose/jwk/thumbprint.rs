//! The public half of a key as a JWK, and the name that follows from it: RFC 7638 (JWK Thumbprint); RFC 8037, section 2, for
//! Ed25519.
//!
//! The invariant: nothing private is ever written. A symmetric key has no public half, and so neither of the two: its
//! thumbprint would be a hash to try guesses on (RFC 7638, section 7).

use super::Jwk;
use super::material::{Material, without_leading_zeros};
use crate::json::{self, Object, Value};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use rsa::traits::PublicKeyParts as _;
use sha2::{Digest as _, Sha256};
use std::fmt;

/// What a public key is called after itself, with SHA-256.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// Reads one as it stands in `jkt` and in many a `kid`: 32 octets in base64url, in the one way there is to write them.
    pub fn parse(text: &str) -> Option<Self> {
        BASE64URL.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// That of these octets: the DER of a certificate (RFC 8705, section 3.1), or a token (RFC 9449, section 4.2).
    pub fn of(octets: &[u8]) -> Self {
        Self(Sha256::digest(octets).into())
    }

    /// Reads one in hexadecimal digits, as Envoy writes that of a certificate.
    pub fn from_hex(text: &[u8]) -> Option<Self> {
        let (pairs, rest) = text.as_chunks::<2>();
        let octets: Option<Vec<u8>> =
            pairs.iter().map(|[high, low]| Some((hex_digit(*high)? << 4) | hex_digit(*low)?)).collect();
        octets.filter(|_| rest.is_empty())?.try_into().ok().map(Self)
    }

    /// The octets.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&BASE64URL.encode(self.0))
    }
}

impl Jwk {
    /// The members of the public key that make it this key and no other (RFC 7638, section 3.2). `None` for a symmetric one.
    pub fn public_members(&self) -> Option<Object> {
        self.material.public_members()
    }

    /// The thumbprint of the public key. `None` for a symmetric one.
    pub fn thumbprint(&self) -> Option<Thumbprint> {
        // RFC 7638, section 3: the required members in the order of their names, without white space. Their values need no
        // escape.
        let members = Value::Object(self.public_members()?).to_string();
        Some(Thumbprint(Sha256::digest(members).into()))
    }
}

impl Material {
    fn public_members(&self) -> Option<Object> {
        let members: Vec<(&str, Value)> = match self {
            Self::Ed25519(key) => {
                vec![("crv", "Ed25519".into()), ("kty", "OKP".into()), ("x", encoded(key.as_bytes()))]
            }
            Self::P256(key) => of_point("P-256", key.to_sec1_point(false).as_bytes())?,
            Self::P384(key) => of_point("P-384", key.to_sec1_point(false).as_bytes())?,
            Self::P521(key) => of_point("P-521", key.to_sec1_point(false).as_bytes())?,
            Self::Rsa(key) => {
                let (e, n) = (key.e_bytes(), key.n_bytes());
                let (e, n) = (encoded(without_leading_zeros(&e)), encoded(without_leading_zeros(&n)));
                vec![("e", e), ("kty", "RSA".into()), ("n", n)]
            }
            Self::Symmetric(_) => return None,
        };
        Some(json::object(members))
    }
}

fn of_point(curve: &str, point: &[u8]) -> Option<Vec<(&'static str, Value)>> {
    // SEC 1, section 2.3.3: 04, x, y.
    let (_, coordinates) = point.split_first()?;
    let (x, y) = coordinates.split_at_checked(coordinates.len().checked_div(2)?)?;
    Some(vec![("crv", curve.into()), ("kty", "EC".into()), ("x", encoded(x)), ("y", encoded(y))])
}

fn encoded(octets: &[u8]) -> Value {
    Value::from(BASE64URL.encode(octets))
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::jwk::KeySetOrigin;
    use crate::json;

    fn thumbprint(jwk: &str) -> Option<String> {
        let jwk = Jwk::parse(&json::parse(jwk.as_bytes()).unwrap(), KeySetOrigin::Inline).unwrap();
        jwk.thumbprint().map(|thumbprint| thumbprint.to_string())
    }

    /// RFC 7638, section 3.1, and RFC 8037, appendix A.3; the others by the same rule, computed elsewhere.
    #[test]
    fn thumbprints_are_those_of_the_rfcs() {
        let rsa = r#"{"kty":"RSA","n":"0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw","e":"AQAB","alg":"RS256","kid":"2011-04-29"}"#;
        assert_eq!(thumbprint(rsa).as_deref(), Some("NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"));
        let ed25519 = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
        assert_eq!(thumbprint(ed25519).as_deref(), Some("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"));
        let p256 = r#"{"kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0","use":"sig"}"#;
        assert_eq!(thumbprint(p256).as_deref(), Some("oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U"));
    }

    /// A key that is written otherwise is the same key; a secret has no name.
    #[test]
    fn what_is_written_otherwise_has_the_same_thumbprint() {
        let canonical = |n: &str, e: &str| thumbprint(&format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#)).unwrap();
        let n = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";
        let padded = BASE64URL.encode([&[0], &*BASE64URL.decode(n).unwrap()].concat());
        assert_eq!(canonical(n, "AQAB"), canonical(&padded, "AAEAAQ"));
        assert_eq!(thumbprint(r#"{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#), None);
    }

    #[test]
    fn one_digest_in_hexadecimal_and_in_base64url() {
        let empty = Thumbprint::of(b"");
        let hex = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(empty.to_string(), "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU");
        assert_eq!(Thumbprint::from_hex(hex.as_bytes()), Some(empty));
        assert_eq!(Thumbprint::from_hex(hex.to_uppercase().as_bytes()), Some(empty));
        for bad in ["", "e3", &hex[1..], &format!("{hex}0"), &format!("{hex}00"), &hex.replace('e', "g")] {
            assert_eq!(Thumbprint::from_hex(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Thumbprint::parse(hex), None);
    }

    #[test]
    fn a_thumbprint_is_read_in_one_form_only() {
        let text = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs";
        assert_eq!(Thumbprint::parse(text).unwrap().to_string(), text);
        for other in ["", "NzbL", &format!("{text}="), &text.replace('-', "+"), &format!("{}t", &text[..42])] {
            assert_eq!(Thumbprint::parse(other), None, "{other}");
        }
    }
}
