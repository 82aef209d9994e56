//! Reading private keys: as JWKs (RFC 7517; RFC 7518, sections 6.2.2, 6.3.2 and 6.4; RFC 8037, section 2), and in PEM (RFC 7468,
//! section 10; RFC 8017, appendix A.1.2; RFC 8410, section 7).

use super::{PrivateKey, SigningKey};
use crate::jose::jwk::{Jwk, KeyError, KeySetOrigin, MAX_KEY_ID_BYTES};
use crate::json::{self, Object, Value};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use p256::pkcs8::{DecodePrivateKey as _, EncodePrivateKey as _};
use rsa::pkcs1::RsaPrivateKeyRef;
use rsa::pkcs8::der::asn1::{OctetStringRef, UintRef};
use rsa::pkcs8::der::{Decode as _, Encode as _, pem};
use rsa::pkcs8::{PrivateKeyInfo, PrivateKeyInfoRef};
use std::fmt;

/// Why a private key can't sign. Tells nothing of the key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum UnusableKey {
    /// It is none, or one of a type that doesn't sign here.
    Unknown,
    /// It is a public key.
    Public,
    /// Its `alg` is not the one that it signs with.
    Algorithm,
    /// Its `use`, or its `key_ops`, is not that of signatures.
    Use,
    /// Its `kid` is no string, or too long a one.
    KeyId,
    /// What it says of its public half is not what follows from its private half.
    Halves,
    /// Its public half can't verify.
    Unsound,
}

impl fmt::Display for UnusableKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unknown => {
                "expected a private key that is not encrypted, as a JWK or in PEM (PKCS#8 or PKCS#1): EC with P-256, OKP with \
                 Ed25519, or RSA with 2048 bits or more, for RS256"
            }
            Self::Public => "is a public key; what signs is a private one, which has `d`",
            Self::Algorithm => "has an `alg` that this key doesn't sign with: ES256, EdDSA, RS256 or HS256, by its type",
            Self::Use => "is not for signatures, by its `use` (sig) or its `key_ops` (sign)",
            Self::KeyId => "has a `kid` that is no string, or a very long one",
            Self::Halves => "has a public half (x, y) that is not that of its private half (d)",
            Self::Unsound => "is no sound key: a number of it is out of range, or too small",
        })
    }
}

impl SigningKey {
    /// Reads a private JWK, a PEM text, or Zitadel's key file, which has a PEM text in it.
    pub fn parse(text: &[u8]) -> Result<Self, UnusableKey> {
        if text.trim_ascii_start().starts_with(b"-----") {
            return from_pem(text.trim_ascii());
        }
        let object = json::parse_object(text).map_err(|_| UnusableKey::Unknown)?;
        match (member(&object, "kty"), member(&object, "key")) {
            (None, Some(key)) => {
                let key = from_pem(key.trim().as_bytes())?;
                Ok(Self { kid: member(&object, "keyId").map(str::to_owned), ..key })
            }
            _ => Self::from_jwk(&object, Secrets::Private),
        }
    }

    /// Reads a private JWK. A shared secret (`oct`) is none, unless it is asked for.
    pub fn from_jwk(jwk: &Object, secrets: Secrets) -> Result<Self, UnusableKey> {
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= MAX_KEY_ID_BYTES => Some(kid.clone()),
            Some(_) => return Err(UnusableKey::KeyId),
        };
        // RFC 7517, sections 4.2 and 4.3.
        let is_for_signing = match jwk.get("key_ops") {
            None => true,
            Some(Value::Array(operations)) => operations.iter().any(|name| name == "sign"),
            Some(_) => false,
        };
        if !is_for_signing || jwk.get("use").is_some_and(|key_use| key_use != "sig") {
            return Err(UnusableKey::Use);
        }
        if ["n", "x"].iter().any(|public| jwk.contains_key(*public)) && !jwk.contains_key("d") {
            return Err(UnusableKey::Public);
        }
        let key = match (member(jwk, "kty"), member(jwk, "crv")) {
            (Some("EC"), Some("P-256")) => {
                p256(p256::ecdsa::SigningKey::from_slice(&octets(jwk, "d")?).map_err(|_| UnusableKey::Unknown)?)?
            }
            (Some("OKP"), Some("Ed25519")) => ed25519(&octets(jwk, "d")?)?,
            (Some("RSA"), _) if !jwk.contains_key("oth") => {
                let [n, e, d, p, q, dp, dq, qi] =
                    ["n", "e", "d", "p", "q", "dp", "dq", "qi"].map(|name| octets(jwk, name));
                let (n, e, d, p, q, dp, dq, qi) = (n?, e?, d?, p?, q?, dp?, dq?, qi?);
                rsa(&RsaPrivateKeyRef {
                    modulus: number(&n)?,
                    public_exponent: number(&e)?,
                    private_exponent: number(&d)?,
                    prime1: number(&p)?,
                    prime2: number(&q)?,
                    exponent1: number(&dp)?,
                    exponent2: number(&dq)?,
                    coefficient: number(&qi)?,
                    other_prime_infos: None,
                })?
            }
            (Some("oct"), _) if secrets == Secrets::SharedToo => {
                let verifying =
                    verifying([("kty", "oct".to_owned()), ("k", member(jwk, "k").unwrap_or_default().to_owned())])?;
                SigningKey { kid: None, secret: PrivateKey::Symmetric, verifying }
            }
            _ => return Err(UnusableKey::Unknown),
        };
        if member(jwk, "alg") != Some(key.algorithm().name()) && jwk.contains_key("alg") {
            return Err(UnusableKey::Algorithm);
        }
        let public = key.verifying.public_members().unwrap_or_default();
        let is_its_own = public.iter().all(|(name, value)| jwk.get(name).is_none_or(|said| said == value));
        // Of an RSA key both halves were read; whether they fit, a signature will tell.
        if matches!(key.secret, PrivateKey::Rsa { .. }) || is_its_own {
            Ok(Self { kid, ..key })
        } else {
            Err(UnusableKey::Halves)
        }
    }
}

/// Which keys a JWK may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Secrets {
    /// One with a public half.
    Private,
    /// A secret that is shared with whoever verifies, too.
    SharedToo,
}

fn member<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    object.get(name).and_then(Value::as_str)
}

fn octets(jwk: &Object, name: &str) -> Result<Vec<u8>, UnusableKey> {
    let text = member(jwk, name).ok_or(UnusableKey::Unknown)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| UnusableKey::Unknown)
}

fn number(octets: &[u8]) -> Result<UintRef<'_>, UnusableKey> {
    UintRef::new(octets).map_err(|_| UnusableKey::Unknown)
}

fn from_pem(text: &[u8]) -> Result<SigningKey, UnusableKey> {
    let (label, der) = pem::decode_vec(text).map_err(|_| UnusableKey::Unknown)?;
    match label {
        "RSA PRIVATE KEY" => rsa(&RsaPrivateKeyRef::from_der(&der).map_err(|_| UnusableKey::Unknown)?),
        "PRIVATE KEY" => {
            let info = PrivateKeyInfoRef::from_der(&der).map_err(|_| UnusableKey::Unknown)?;
            let octets = info.private_key.as_bytes();
            if info.algorithm.oid == rsa::pkcs1::ALGORITHM_OID {
                return rsa(&RsaPrivateKeyRef::from_der(octets).map_err(|_| UnusableKey::Unknown)?);
            }
            match octets.strip_prefix(&[0x04, 0x20]) {
                // RFC 8410, section 7: an octet string within the octet string.
                Some(secret) if info.algorithm.oid == ED25519 => ed25519(secret),
                _ => p256(p256::ecdsa::SigningKey::from_pkcs8_der(&der).map_err(|_| UnusableKey::Unknown)?),
            }
        }
        _ => Err(UnusableKey::Unknown),
    }
}

fn p256(key: p256::ecdsa::SigningKey) -> Result<SigningKey, UnusableKey> {
    let point = key.verifying_key().to_sec1_point(false);
    let (_, coordinates) = point.as_bytes().split_first().ok_or(UnusableKey::Unsound)?;
    let (x, y) = coordinates.split_at_checked(32).ok_or(UnusableKey::Unsound)?;
    let verifying = verifying([
        ("kty", "EC".to_owned()),
        ("crv", "P-256".to_owned()),
        ("x", URL_SAFE_NO_PAD.encode(x)),
        ("y", URL_SAFE_NO_PAD.encode(y)),
    ])?;
    let pkcs8 = key.to_pkcs8_der().map_err(|_| UnusableKey::Unsound)?.as_bytes().to_vec();
    Ok(SigningKey { kid: None, secret: PrivateKey::P256 { key: Box::new(key), pkcs8 }, verifying })
}

fn ed25519(secret: &[u8]) -> Result<SigningKey, UnusableKey> {
    let secret = secret.try_into().map_err(|_| UnusableKey::Unknown)?;
    let key = ed25519_dalek::SigningKey::from_bytes(secret);
    let x = URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    let verifying = verifying([("kty", "OKP".to_owned()), ("crv", "Ed25519".to_owned()), ("x", x)])?;
    Ok(SigningKey { kid: None, secret: PrivateKey::Ed25519(Box::new(key)), verifying })
}

/// The key as the host takes it: PKCS#8 in DER.
fn rsa(key: &RsaPrivateKeyRef) -> Result<SigningKey, UnusableKey> {
    let n = URL_SAFE_NO_PAD.encode(key.modulus.as_bytes());
    let e = URL_SAFE_NO_PAD.encode(key.public_exponent.as_bytes());
    let verifying = verifying([("kty", "RSA".to_owned()), ("n", n), ("e", e)])?;
    let unsound = |_| UnusableKey::Unsound;
    let pkcs1 = key.to_der().map_err(unsound)?;
    let octets = OctetStringRef::new(&pkcs1).map_err(unsound)?;
    let info: PrivateKeyInfoRef = PrivateKeyInfo::new(rsa::pkcs1::ALGORITHM_ID, octets);
    let pkcs8 = info.to_der().map_err(unsound)?;
    Ok(SigningKey { kid: None, secret: PrivateKey::Rsa { pkcs8 }, verifying })
}

/// The half that verifies, held to all that is demanded of a key of a provider's.
fn verifying<const N: usize>(members: [(&str, String); N]) -> Result<Jwk, UnusableKey> {
    let jwk = json::object(members.map(|(name, text)| (name, Value::from(text))));
    Jwk::parse(&Value::Object(jwk), KeySetOrigin::Inline).map_err(|error| match error {
        KeyError::UnsupportedType => UnusableKey::Unknown,
        _ => UnusableKey::Unsound,
    })
}

/// RFC 8410, section 3.
const ED25519: rsa::pkcs8::ObjectIdentifier = rsa::pkcs8::ObjectIdentifier::new_unwrap("1.3.101.112");
