//! JSON Web Keys: what a provider publishes, made into keys that can verify.
//!
//! RFC 7517 (keys and sets), RFC 7518 (section 3: algorithms; section 6: key parameters), RFC 8037 and
//! RFC 9864 (Ed25519). RFC 8725 (sections 3.1, 3.4 and 3.5) says what to refuse.
//!
//! The invariant: a [`Jwk`] exists only if it can verify signatures soundly, and it verifies only with
//! algorithms that fit its type, its curve and its own `alg`. A token's header can ask for one of those; it can
//! never change them. A key that is of no use is skipped and does no harm to its neighbours (RFC 7517, section 5).

mod material;

use std::fmt;

use crate::json::{self, Value};
use material::Material;

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
        let mut broken = Vec::new();
        for member in members {
            match Jwk::parse(member, origin) {
                Ok(key) => set.keys.push(key),
                Err(error) => {
                    set.refused.push(error);
                    broken.extend((error == KeyError::Material).then(|| named(member)).flatten());
                }
            }
        }
        set.refuse_ambiguous(&broken);
        if set.is_empty() {
            return Err(SetError::NoUsableKey);
        }
        Ok(set)
    }

    /// Whether this very key is in the set, and may verify this algorithm.
    pub fn holds(&self, key: Fingerprint, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|other| other.fingerprint == key && other.permits(algorithm))
    }

    /// Whether a key of the set has this `kid`.
    pub fn names(&self, kid: Option<&str>) -> bool {
        kid.is_some() && self.keys.iter().any(|key| key.kid() == kid)
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
        let is_known = self.names(kid);
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
    /// a token would depend on their order. One that is broken is different: it may be the one that is meant.
    fn refuse_ambiguous(&mut self, broken: &[(&str, &str)]) {
        let is_twin = |key: &Jwk| broken.iter().any(|(kid, kty)| key.kid() == Some(kid) && key.material.kty() == *kty);
        let is_rival = |key: &Jwk| self.keys.iter().any(|other| key.is_rival_of(other));
        let is_ambiguous: Vec<bool> = self.keys.iter().map(|key| is_rival(key) || is_twin(key)).collect();
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
    /// The public key as SubjectPublicKeyInfo in DER, for others that verify. Empty for a symmetric key.
    spki: Vec<u8>,
    fingerprint: Fingerprint,
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
            // SPIFFE Trust Domain and Bundle, section 4.2.2, has a word of its own for the keys of JWT-SVIDs.
            Some(key_use) => key_use == "sig" || key_use == "jwt-svid",
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
        let spki = material.spki()?;
        let fingerprint = material.fingerprint(&spki);
        Ok(Self { kid, algorithm, material, spki, fingerprint })
    }

    /// The name of the key in its set.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// Whether this key may verify signatures of this algorithm: decided by its type, its curve and its `alg`.
    pub fn permits(&self, algorithm: Algorithm) -> bool {
        self.algorithm.is_none_or(|own| own == algorithm) && self.material.fits(algorithm)
    }

    /// What tells this key from every other, whatever it is called.
    pub fn fingerprint(&self) -> Fingerprint {
        self.fingerprint
    }

    /// The public key as SubjectPublicKeyInfo (RFC 5280, section 4.1) in DER; empty for a symmetric key.
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }

    /// Verifies one signature in the form of RFC 7518, section 3, in this module's own code.
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

/// The `kid` and `kty` of a JWK that has both.
fn named(member: &Value) -> Option<(&str, &str)> {
    Some((member.get("kid")?.as_str()?, member.get("kty")?.as_str()?))
}

/// The SHA-256 of a key's material. Never printed: a secret may be guessed by it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Fingerprint([u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// A JWS algorithm (RFC 7518, section 3.1; RFC 8037, section 3.1). A closed list: `none` cannot be said.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
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

/// How many keys may be tried for one token. Each try is a public-key operation, paid for by whoever sends a token.
pub const MAX_CANDIDATES: usize = 8;

/// The largest key set. The largest known public ones, with certificate chains, are below 100 kB.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// The longest `kid`. Thumbprints and UUIDs need 43 and 36 bytes.
pub const MAX_KEY_ID_BYTES: usize = 1024;

/// The most keys in a set. A multi-tenant provider publishes some dozens.
pub const MAX_MEMBERS: usize = 512;
