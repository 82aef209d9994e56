//! JSON Web Keys: what a provider publishes, made into keys that can verify.
//!
//! RFC 7517 (keys and sets), RFC 7518 (section 3: algorithms; section 6: key parameters), RFC 8037 and
//! RFC 9864 (Ed25519). RFC 8725 (sections 3.1, 3.4 and 3.5) says what to refuse.
//!
//! The invariant: a [`Jwk`] exists only if it can verify signatures soundly, and it verifies only with
//! algorithms that fit its type, its curve and its own `alg`. A token's header can ask for one of those; it can
//! never change them. A key that is of no use is skipped and does no harm to its neighbours (RFC 7517, section 5).

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use hmac::{Hmac, KeyInit, Mac};
use p256::ecdsa::signature::Verifier;
use rsa::pkcs1v15::Pkcs1v15Sign;
use rsa::pss::Pss;
use rsa::{BoxedUint, RsaPublicKey};
use sha2::{Digest, Sha256, Sha384, Sha512};

use crate::json::{self, Object, Value};

/// The usable keys of one provider (RFC 7517, section 5).
#[derive(Debug)]
pub struct JwkSet {
    keys: Vec<Jwk>,
    refused: Vec<KeyError>,
}

impl JwkSet {
    /// Reads a JWK Set. Members of no use are listed in [`JwkSet::refused`]; it takes one good key to succeed.
    pub fn parse(document: &[u8], origin: Origin) -> Result<Self, SetError> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(SetError::TooLarge);
        }
        let object = json::parse_object(document).map_err(SetError::Json)?;
        let Some(Value::Array(members)) = object.get("keys") else {
            return Err(SetError::NoKeysMember);
        };
        if members.len() > MAX_MEMBERS {
            return Err(SetError::TooManyMembers);
        }
        let mut set = Self { keys: Vec::new(), refused: Vec::new() };
        for member in members {
            match Jwk::parse(member, origin) {
                Ok(key) => set.keys.push(key),
                Err(error) => set.refused.push(error),
            }
        }
        set.refuse_ambiguous();
        if set.is_empty() {
            return Err(SetError::NoUsableKey);
        }
        Ok(set)
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable, which [`JwkSet::parse`] never lets happen.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why the other members are of no use, for a line in the log. At most [`MAX_MEMBERS`].
    pub fn refused(&self) -> &[KeyError] {
        &self.refused
    }

    /// The keys that may verify a token with this `kid` and algorithm, at most [`MAX_CANDIDATES`].
    ///
    /// With a `kid`: the keys of that `kid` or, if the set has none, the keys that have no `kid` at all.
    /// Without: all keys that fit the algorithm, as RFC 7515 (section 4.1.4) makes `kid` a mere hint.
    pub fn candidates<'s>(&'s self, kid: Option<&'s str>, algorithm: Algorithm) -> impl Iterator<Item = &'s Jwk> + 's {
        let is_known = kid.is_some() && self.keys.iter().any(|key| key.kid() == kid);
        self.keys
            .iter()
            .filter(move |key| match kid {
                Some(_) if is_known => key.kid() == kid,
                Some(_) => key.kid().is_none(),
                None => true,
            })
            .filter(move |key| key.permits(algorithm))
            .take(MAX_CANDIDATES)
    }

    /// Refuses keys whose `kid` also names a different key for the same algorithm: which of them verified
    /// a token would depend on their order.
    fn refuse_ambiguous(&mut self) {
        let is_ambiguous: Vec<bool> =
            self.keys.iter().map(|key| self.keys.iter().any(|other| key.is_rival_of(other))).collect();
        let mut is_ambiguous = is_ambiguous.into_iter();
        self.keys.retain(|_| {
            let is_ambiguous = is_ambiguous.next().unwrap_or(true);
            if is_ambiguous {
                self.refused.push(KeyError::AmbiguousKeyId);
            }
            !is_ambiguous
        });
    }
}

/// One key, parsed once into what verifies.
#[derive(Clone, Debug)]
pub struct Jwk {
    kid: Option<String>,
    /// The one algorithm that the key is meant for, where its `alg` says so.
    algorithm: Option<Algorithm>,
    material: Material,
}

impl Jwk {
    /// Reads one JWK (RFC 7517, section 4). Members that are not understood, private ones and certificates
    /// among them, are ignored.
    pub fn parse(member: &Value, origin: Origin) -> Result<Self, KeyError> {
        let Value::Object(jwk) = member else {
            return Err(KeyError::NotAnObject);
        };
        let kid = match jwk.get("kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= MAX_KEY_ID_BYTES => Some(kid.clone()),
            Some(_) => return Err(KeyError::KeyId),
        };
        // RFC 7517, sections 4.2 and 4.3.
        let for_signatures = match jwk.get("use") {
            None => true,
            Some(key_use) => key_use == "sig",
        };
        let for_verifying = match jwk.get("key_ops") {
            None => true,
            Some(Value::Array(operations)) => operations.iter().any(|name| name == "verify"),
            Some(_) => false,
        };
        if !for_signatures || !for_verifying {
            return Err(KeyError::NotForVerifying);
        }
        let algorithm = match jwk.get("alg") {
            None => None,
            Some(Value::String(name)) => Some(Algorithm::from_name(name).ok_or(KeyError::UnsupportedAlgorithm)?),
            Some(_) => return Err(KeyError::UnsupportedAlgorithm),
        };
        let material = Material::parse(jwk, origin)?;
        if algorithm.is_some_and(|algorithm| !material.fits(algorithm)) {
            return Err(KeyError::WrongAlgorithm);
        }
        Ok(Self { kid, algorithm, material })
    }

    /// The name of the key in its set.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether this key may verify signatures of this algorithm: decided by its type, its curve and its `alg`.
    pub fn permits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.material.fits(algorithm)
    }

    /// Verifies one signature in the form of RFC 7518, section 3. The one way to all the cryptography.
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        if !self.permits(algorithm) {
            return Err(BadSignature);
        }
        self.material.verify(algorithm, message, signature)
    }

    fn is_rival_of(&self, other: &Self) -> bool {
        let mut algorithms = Algorithm::ALL.iter().copied();
        self.kid.is_some()
            && self.kid == other.kid
            && self.material != other.material
            && algorithms.any(|algorithm| self.permits(algorithm) && other.permits(algorithm))
    }
}

/// A JWS algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1). A closed list: `none` cannot be said.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
#[allow(missing_docs, reason = "the names of RFC 7518, section 3.1")]
pub enum Algorithm {
    /// EdDSA on Ed25519, the only curve of RFC 8037 that is supported.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// ECDSA on P-521 with SHA-512.
    Es512,
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
}

impl Algorithm {
    /// The algorithms whose keys can be published.
    pub const ASYMMETRIC: &[Self] = &[
        Self::EdDsa,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    const ALL: &[Self] = &[
        Self::EdDsa,
        Self::Es256,
        Self::Es384,
        Self::Es512,
        Self::Hs256,
        Self::Hs384,
        Self::Hs512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
    ];

    /// The algorithm of this exact name. `Ed25519` is the name of RFC 9864 for the only `EdDSA` there is here.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "Ed25519" {
            return Some(Self::EdDsa);
        }
        let mut all = Self::ALL.iter().copied();
        all.find(|algorithm| algorithm.name() == name)
    }

    /// The value of `alg`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Hs256 => "HS256",
            Self::Hs384 => "HS384",
            Self::Hs512 => "HS512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
        }
    }

    /// Whether one secret both signs and verifies.
    pub fn is_symmetric(self) -> bool {
        matches!(self, Self::Hs256 | Self::Hs384 | Self::Hs512)
    }
}

/// Where a key set came from, and so what its keys may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Origin {
    /// The operator's own configuration.
    Inline,
    /// A provider's published document. A symmetric key that is published is no secret: it is refused.
    Remote,
}

/// The signature is not that key's signature of that message. There is no more to know (RFC 8725, section 3.3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct BadSignature;

impl fmt::Display for BadSignature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the signature does not match")
    }
}

impl std::error::Error for BadSignature {}

/// Why a document is not a key set that can be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SetError {
    /// Not a JSON object.
    Json(json::Error),
    /// No member `keys`, or not an array.
    NoKeysMember,
    /// None of its members is a key that can be used.
    NoUsableKey,
    /// More than [`MAX_DOCUMENT_BYTES`].
    TooLarge,
    /// More than [`MAX_MEMBERS`].
    TooManyMembers,
}

impl fmt::Display for SetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(error) => error.fmt(f),
            Self::NoKeysMember => f.write_str("the key set has no array `keys`"),
            Self::NoUsableKey => f.write_str("no key of the set can be used"),
            Self::TooLarge => f.write_str("the key set is too large"),
            Self::TooManyMembers => f.write_str("the key set has too many keys"),
        }
    }
}

impl std::error::Error for SetError {}

/// Why one key cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyError {
    /// Its `kid` also names another key for the same algorithm.
    AmbiguousKeyId,
    /// Its `kid` is not a string, or longer than [`MAX_KEY_ID_BYTES`].
    KeyId,
    /// A parameter is missing, ill-formed, or not a valid key: a point off its curve, an even modulus.
    Material,
    /// Not a JSON object.
    NotAnObject,
    /// Its `use` or `key_ops` leave no room for verifying.
    NotForVerifying,
    /// A symmetric key in a published set.
    PublishedSecret,
    /// Its `alg` is not one of [`Algorithm`].
    UnsupportedAlgorithm,
    /// A key type or a curve that is not supported.
    UnsupportedType,
    /// Shorter than what RFC 7518 demands, or longer than what is safe to compute with.
    UnsuitableSize,
    /// Its `alg` does not fit its type, its curve or its size.
    WrongAlgorithm,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AmbiguousKeyId => "its kid also names a different key",
            Self::KeyId => "its kid is not a short string",
            Self::Material => "its parameters do not make a valid key",
            Self::NotAnObject => "it is not a JSON object",
            Self::NotForVerifying => "it is not meant for verifying signatures",
            Self::PublishedSecret => "it is a symmetric key in a published set",
            Self::UnsupportedAlgorithm => "its alg is not supported",
            Self::UnsupportedType => "its kty or crv is not supported",
            Self::UnsuitableSize => "its size is not acceptable",
            Self::WrongAlgorithm => "its alg does not fit its type",
        })
    }
}

impl std::error::Error for KeyError {}

/// What the parameters of a key make: a verifier, prepared once.
///
/// The public kinds keep their modulus or point within reach, so that another implementation of the
/// arithmetic can be put to work in [`Material::verify`] without a change elsewhere.
#[derive(Clone, PartialEq)]
enum Material {
    Ed25519(ed25519_dalek::VerifyingKey),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
    P521(p521::ecdsa::VerifyingKey),
    Rsa(RsaPublicKey),
    Symmetric(Vec<u8>),
}

impl Material {
    fn parse(jwk: &Object, origin: Origin) -> Result<Self, KeyError> {
        match (string(jwk, "kty")?, origin) {
            ("EC", _) => match string(jwk, "crv")? {
                "P-256" => p256::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, 32)?)
                    .map(Self::P256)
                    .map_err(|_| KeyError::Material),
                "P-384" => p384::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, 48)?)
                    .map(Self::P384)
                    .map_err(|_| KeyError::Material),
                "P-521" => p521::ecdsa::VerifyingKey::from_sec1_bytes(&point(jwk, 66)?)
                    .map(Self::P521)
                    .map_err(|_| KeyError::Material),
                _ => Err(KeyError::UnsupportedType),
            },
            ("OKP", _) => match string(jwk, "crv")? {
                "Ed25519" => ed25519(&octets(jwk, "x")?).map(Self::Ed25519),
                _ => Err(KeyError::UnsupportedType),
            },
            ("RSA", _) => rsa(&octets(jwk, "n")?, &octets(jwk, "e")?).map(Self::Rsa),
            ("oct", Origin::Inline) => {
                let secret = octets(jwk, "k")?;
                if secret.len() < MIN_SECRET_BYTES {
                    return Err(KeyError::UnsuitableSize);
                }
                Ok(Self::Symmetric(secret))
            }
            ("oct", Origin::Remote) => Err(KeyError::PublishedSecret),
            _ => Err(KeyError::UnsupportedType),
        }
    }

    fn fits(&self, algorithm: Algorithm) -> bool {
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

    fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
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

/// An uncompressed SEC 1 point, whose coordinates must have their full length (RFC 7518, section 6.2.1.2).
fn point(jwk: &Object, coordinate_bytes: usize) -> Result<Vec<u8>, KeyError> {
    let x = octets(jwk, "x")?;
    let y = octets(jwk, "y")?;
    if x.len() != coordinate_bytes || y.len() != coordinate_bytes {
        return Err(KeyError::Material);
    }
    Ok([&[0x04][..], &x, &y].concat())
}

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

fn without_leading_zeros(octets: &[u8]) -> &[u8] {
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
    BASE64URL.decode(text).map_err(|_| KeyError::Material)
}

/// How many keys may be tried for one token. Each try is a public-key operation, paid for by whoever sends a token.
pub const MAX_CANDIDATES: usize = 8;

/// The largest key set. The largest known public ones, with certificate chains, are below 100 kB.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// The longest `kid`. Thumbprints and UUIDs need 43 and 36 bytes.
pub const MAX_KEY_ID_BYTES: usize = 1024;

/// The most keys in a set. A multi-tenant provider publishes some dozens.
pub const MAX_MEMBERS: usize = 512;

/// RFC 7518, section 3.2: at least as long as the shortest hash, SHA-256.
const MIN_SECRET_BYTES: usize = 32;

/// RFC 7518, sections 3.3 and 3.5, say 2048 or more. The upper bound keeps a hostile key from buying seconds of CPU.
const RSA_BITS: std::ops::RangeInclusive<usize> = 2048..=8192;

/// With 1, every message is its own signature. Above 33 bits no key is honest, and verification becomes slow.
const RSA_EXPONENTS: std::ops::RangeInclusive<u64> = 3..=(1 << 33) - 1;
