//! What a JWK's parameters make: RFC 7518, section 6, and RFC 8037, section 2; and the arithmetic with it.

use super::{Algorithm, BadSignature, Fingerprint, KeyError, KeySetOrigin, said};
use crate::json::{Object, Value};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Verifier;
use p256::pkcs8::der::Decode as _;
use p256::pkcs8::{EncodePublicKey as _, ObjectIdentifier, SubjectPublicKeyInfoRef};
use rsa::pkcs1::RsaPublicKeyRef;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pss::Pss;
use rsa::traits::PublicKeyParts as _;
use rsa::{BoxedUint, RsaPublicKey};
use sha2::{Digest, Sha256, Sha384, Sha512};
use std::fmt;

/// What the parameters of a key make: a verifier, prepared once.
#[derive(Clone, PartialEq)]
pub(super) enum Material {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    Rsa(RsaPublicKey),
    Symmetric(Vec<u8>),
}

impl Material {
    pub(super) fn parse(jwk: &Object, origin: KeySetOrigin) -> Result<Self, KeyError> {
        match (string(jwk, "kty")?, origin) {
            ("EC", _) => match string(jwk, "crv")? {
                "P-256" => p256::ecdsa::VerifyingKey::from_sec1_bytes(&point::<32>(jwk)?)
                    .map(Self::P256)
                    .map_err(|_| KeyError::Material),
                "P-384" => p384::ecdsa::VerifyingKey::from_sec1_bytes(&point::<48>(jwk)?)
                    .map(Self::P384)
                    .map_err(|_| KeyError::Material),
                "P-521" => p521::ecdsa::VerifyingKey::from_sec1_bytes(&point::<66>(jwk)?)
                    .map(Self::P521)
                    .map_err(|_| KeyError::Material),
                _ => Err(KeyError::UnsupportedType),
            },
            ("OKP", _) => match string(jwk, "crv")? {
                "Ed25519" => ed25519(&octets(jwk, "x")?).map(Self::Ed25519),
                _ => Err(KeyError::UnsupportedType),
            },
            // RFC 7518, section 6.3.2.7: who doesn't know more than two primes MUST NOT use a key that has them.
            ("RSA", _) if said(jwk, "oth").is_some() => Err(KeyError::UnsupportedType),
            ("RSA", _) => rsa(&octets(jwk, "n")?, &octets(jwk, "e")?).map(Self::Rsa),
            ("oct", KeySetOrigin::Inline) => {
                let secret = octets(jwk, "k")?;
                if secret.len() < MIN_SECRET_BYTES {
                    return Err(KeyError::UnsuitableSize);
                }
                Ok(Self::Symmetric(secret))
            }
            ("oct", KeySetOrigin::Remote) => Err(KeyError::PublishedSecret),
            _ => Err(KeyError::UnsupportedType),
        }
    }

    /// From a SubjectPublicKeyInfo in DER (RFC 5280, section 4.1; RFC 5480, RFC 8410), with the same demands as on a JWK.
    pub(super) fn from_spki(spki: &[u8]) -> Result<Self, KeyError> {
        let spki = SubjectPublicKeyInfoRef::from_der(spki).map_err(|_| KeyError::Material)?;
        let key = spki.subject_public_key.as_bytes().ok_or(KeyError::Material)?;
        match spki.algorithm.oid {
            RSA_ENCRYPTION => {
                let key = RsaPublicKeyRef::from_der(key).map_err(|_| KeyError::Material)?;
                rsa(key.modulus.as_bytes(), key.public_exponent.as_bytes()).map(Self::Rsa)
            }
            ED25519 => ed25519(key).map(Self::Ed25519),
            EC_PUBLIC_KEY => match spki.algorithm.parameters_oid().map_err(|_| KeyError::Material)? {
                P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(key).map(Self::P256),
                P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(key).map(Self::P384),
                P521 => p521::ecdsa::VerifyingKey::from_sec1_bytes(key).map(Self::P521),
                _ => return Err(KeyError::UnsupportedType),
            }
            .map_err(|_| KeyError::Material),
            _ => Err(KeyError::UnsupportedType),
        }
    }

    /// Whether a JWK holds parameters of a key, and not only what describes one.
    pub(super) fn is_in(jwk: &Object) -> bool {
        ["n", "e", "x", "y", "k"].iter().any(|parameter| said(jwk, parameter).is_some())
    }

    /// Whether what a JWK says of its type and its curve, if anything, is true of this key.
    pub(super) fn is_described_by(&self, jwk: &Object) -> bool {
        let curve = format!("{self:?}");
        said(jwk, "kty").is_none_or(|kty| kty == self.kty())
            && said(jwk, "crv").is_none_or(|crv| matches!(self, Self::Rsa(_)) || *crv == *curve)
    }

    pub(super) fn fits(&self, algorithm: Algorithm) -> bool {
        use Algorithm::*;
        match self {
            Self::Ed25519(_) => algorithm == EdDsa,
            Self::P256(_) => algorithm == Es256,
            Self::P384(_) => algorithm == Es384,
            Self::P521(_) => algorithm == Es512,
            Self::Rsa(_) => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256 | Ps384 | Ps512),
            // RFC 7518, section 3.2: a key at least as long as the output of the hash.
            Self::Symmetric(secret) => match algorithm {
                Hs256 => secret.len() >= 32,
                Hs384 => secret.len() >= 48,
                Hs512 => secret.len() >= 64,
                _ => false,
            },
        }
    }

    pub(super) fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        use Algorithm::*;
        match (self, algorithm) {
            (Self::Ed25519(key), EdDsa) => ed25519_dalek::Signature::from_slice(signature)
                .and_then(|signature| key.verify_strict(message, &signature))
                .map_err(|_| BadSignature),
            (Self::P256(key), Es256) => verify_ecdsa::<p256::ecdsa::Signature>(key, message, signature),
            (Self::P384(key), Es384) => verify_ecdsa::<p384::ecdsa::Signature>(key, message, signature),
            (Self::P521(key), Es512) => verify_ecdsa::<p521::ecdsa::Signature>(key, message, signature),
            (Self::Rsa(key), _) => {
                // `Pss::new` wants a salt as long as the hash, and guesses nothing (RFC 7518, section 3.5).
                match algorithm {
                    Rs256 => key.verify(Pkcs1v15Sign::new::<Sha256>(), &Sha256::digest(message), signature),
                    Rs384 => key.verify(Pkcs1v15Sign::new::<Sha384>(), &Sha384::digest(message), signature),
                    Rs512 => key.verify(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(message), signature),
                    Ps256 => key.verify(Pss::<Sha256>::new(), &Sha256::digest(message), signature),
                    Ps384 => key.verify(Pss::<Sha384>::new(), &Sha384::digest(message), signature),
                    Ps512 => key.verify(Pss::<Sha512>::new(), &Sha512::digest(message), signature),
                    _ => return Err(BadSignature),
                }
                .map_err(|_| BadSignature)
            }
            (Self::Symmetric(secret), Hs256) => verify_hmac::<Hmac<Sha256>>(secret, message, signature),
            (Self::Symmetric(secret), Hs384) => verify_hmac::<Hmac<Sha384>>(secret, message, signature),
            (Self::Symmetric(secret), Hs512) => verify_hmac::<Hmac<Sha512>>(secret, message, signature),
            _ => Err(BadSignature),
        }
    }

    /// The tag of a message by a shared secret, with HMAC and SHA-256. Only for what this filter says itself: what comes is
    /// compared, in constant time, by `verify`.
    pub(super) fn authenticate(&self, message: &[u8]) -> Option<Vec<u8>> {
        let Self::Symmetric(secret) = self else { return None };
        let mac = <Hmac<Sha256> as KeyInit>::new_from_slice(secret).ok()?;
        Some(mac.chain_update(message).finalize().into_bytes().to_vec())
    }

    /// How many octets the modulus of an RSA key has.
    pub(super) fn modulus_size(&self) -> Option<usize> {
        match self {
            Self::Rsa(key) => Some(without_leading_zeros(&key.n_bytes()).len()),
            _ => None,
        }
    }

    /// RFC 7518, section 6.1.
    pub(super) fn kty(&self) -> &'static str {
        match self {
            Self::Ed25519(_) => "OKP",
            Self::P256(_) | Self::P384(_) | Self::P521(_) => "EC",
            Self::Rsa(_) => "RSA",
            Self::Symmetric(_) => "oct",
        }
    }

    /// The public key as others take it.
    pub(super) fn spki(&self) -> Result<Vec<u8>, KeyError> {
        let der = match self {
            Self::Ed25519(_) => return Ok(Vec::new()),
            Self::P256(key) => key.to_public_key_der(),
            Self::P384(key) => key.to_public_key_der(),
            Self::P521(key) => key.to_public_key_der(),
            Self::Rsa(key) => key.to_public_key_der(),
            Self::Symmetric(_) => return Ok(Vec::new()),
        };
        der.map(|der| der.as_bytes().to_vec()).map_err(|_| KeyError::Material)
    }

    pub(super) fn fingerprint(&self, spki: &[u8]) -> Fingerprint {
        let material = match self {
            Self::Ed25519(key) => key.as_bytes(),
            Self::Symmetric(secret) => secret.as_slice(),
            Self::P256(_) | Self::P384(_) | Self::P521(_) | Self::Rsa(_) => spki,
        };
        // The kind keeps the octets of one from being read as another's.
        Fingerprint(Sha256::new().chain_update(format!("{self:?}:")).chain_update(material).finalize().into())
    }
}

impl fmt::Debug for Material {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ed25519(_) => "Ed25519",
            Self::P256(_) => "P-256",
            Self::P384(_) => "P-384",
            Self::P521(_) => "P-521",
            Self::Rsa(_) => "RSA",
            Self::Symmetric(_) => "oct",
        })
    }
}

/// `r || s`, both of the full length of the curve's order (RFC 7518, section 3.4). A high `s` is as good as a low one.
fn verify_ecdsa<S>(key: &impl Verifier<S>, message: &[u8], signature: &[u8]) -> Result<(), BadSignature>
where
    S: for<'s> TryFrom<&'s [u8]>,
{
    let signature = S::try_from(signature).map_err(|_| BadSignature)?;
    key.verify(message, &signature).map_err(|_| BadSignature)
}

/// Compares in constant time, and the whole tag only.
fn verify_hmac<M: KeyInit + Mac>(secret: &[u8], message: &[u8], tag: &[u8]) -> Result<(), BadSignature> {
    let mac = <M as KeyInit>::new_from_slice(secret).map_err(|_| BadSignature)?;
    mac.chain_update(message).verify_slice(tag).map_err(|_| BadSignature)
}

/// An uncompressed SEC 1 point. RFC 7518 (section 6.2.1.2) wants coordinates of full length; but who writes them as numbers
/// loses a leading zero octet now and then, or adds one for a sign, as Java does. The number is the same: one key in 128 has it.
fn point<const COORDINATE_BYTES: usize>(jwk: &Object) -> Result<Vec<u8>, KeyError> {
    let mut point = vec![0x04];
    for name in ["x", "y"] {
        let written = octets(jwk, name)?;
        let digits = without_leading_zeros(&written);
        let padding = COORDINATE_BYTES.checked_sub(digits.len()).filter(|_| !written.is_empty());
        point.resize(point.len().saturating_add(padding.ok_or(KeyError::Material)?), 0);
        point.extend_from_slice(digits);
    }
    Ok(point)
}

/// The octets are those of RFC 8032, and no number: one that lacks an octet isn't known to lack the first or the last.
/// A point of small order verifies any message, and one written in two ways is two keys: both are refused.
fn ed25519(x: &[u8]) -> Result<ed25519_dalek::VerifyingKey, KeyError> {
    let x: &[u8; 32] = x.try_into().map_err(|_| KeyError::Material)?;
    let key = ed25519_dalek::VerifyingKey::from_bytes(x).map_err(|_| KeyError::Material)?;
    if key.is_weak() || key.to_edwards().compress().as_bytes() != x {
        return Err(KeyError::Material);
    }
    Ok(key)
}

/// Leading zeros, which RFC 7518 (section 6.3.1.1) tells implementers of, do not change the numbers and are dropped.
fn rsa(n: &[u8], e: &[u8]) -> Result<RsaPublicKey, KeyError> {
    let n = without_leading_zeros(n);
    let e = without_leading_zeros(e);
    let bits = n.first().map_or(0, |first| {
        let bits = n.len().saturating_mul(8);
        bits.saturating_sub(first.leading_zeros() as usize)
    });
    if !RSA_BITS.contains(&bits) {
        return Err(KeyError::UnsuitableSize);
    }
    if e.len() > size_of::<u64>() {
        return Err(KeyError::UnsuitableSize);
    }
    let e = e.iter().fold(0u64, |e, octet| (e << 8) | u64::from(*octet));
    if e % 2 == 0 || !RSA_EXPONENTS.contains(&e) {
        return Err(KeyError::Material);
    }
    // Refuses an even modulus, too.
    RsaPublicKey::new(BoxedUint::from_be_slice_vartime(n), BoxedUint::from(e)).map_err(|_| KeyError::Material)
}

pub(super) fn without_leading_zeros(octets: &[u8]) -> &[u8] {
    let mut octets = octets;
    while let [0, rest @ ..] = octets {
        octets = rest;
    }
    octets
}

fn string<'j>(jwk: &'j Object, name: &str) -> Result<&'j str, KeyError> {
    jwk.get(name).and_then(Value::as_str).ok_or(KeyError::Material)
}

fn octets(jwk: &Object, name: &str) -> Result<Vec<u8>, KeyError> {
    let text = string(jwk, name)?;
    BASE64URL.decode(text).map_err(|_| KeyError::Encoding)
}

/// RFC 3279, section 2.3.1: what all of PKCS #1 is called in a certificate.
const RSA_ENCRYPTION: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.1");

/// RFC 8410, section 3.
const ED25519: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.101.112");

/// RFC 5480, section 2.1.1; its curves.
const EC_PUBLIC_KEY: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.2.1");
const P256: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.10045.3.1.7");
const P384: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.34");
const P521: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.132.0.35");

/// RFC 7518, section 3.2: at least as long as the shortest hash, SHA-256.
const MIN_SECRET_BYTES: usize = 32;

/// RFC 7518, sections 3.3 and 3.5, say 2048 or more. The upper bound keeps a hostile key from buying seconds of CPU.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// With 1, every message is its own signature. Above 33 bits no key is honest, and verification becomes slow.
const RSA_EXPONENTS: std::ops::RangeInclusive<u64> = 3..=(1 << 33) - 1;
