//! JSON Web Keys: what a provider publishes, made into keys that can verify.
//!
//! RFC 7517 (keys and sets), RFC 7518 (section 3: algorithms; section 6: key parameters), RFC 8037 and
//! RFC 9864 (Ed25519). RFC 8725 (sections 3.1, 3.4 and 3.5) says what to refuse.
//!
//! The invariant: a [`Jwk`] exists only if it can verify signatures soundly, and it verifies only with
//! algorithms that fit its type, its curve and its own `alg`. A token's header can ask for one of those; it can
//! never change them. A key that is of no use is skipped and does no harm to its neighbours (RFC 7517, section 5).

mod certificate;
mod choice;
mod error;
mod material;
mod public;
mod thumbprint;

pub use choice::{KeyHint, Keys};
pub use error::{KeyError, SetError, Unusable};
pub use public::{NotPublic, PublicJwk};
pub use thumbprint::Thumbprint;

use crate::json::{self, Members, Object, Value};
use crate::time::Timestamp;
use certificate::{Certificate, Pem};
use material::Material;
use std::fmt;

/// The usable keys of one provider (RFC 7517, section 5).
#[derive(Debug)]
pub struct JwkSet {
    keys: Vec<Jwk>,
    refused: Vec<Unusable>,
}

impl JwkSet {
    /// Reads a JWK Set, or a map of certificates as Google publishes it. Members of no use are listed in [`JwkSet::refused`]; it
    /// takes one good key to succeed.
    pub fn parse(document: &[u8], origin: Origin) -> Result<Self, SetError> {
        if document.len() > MAX_DOCUMENT_BYTES {
            return Err(SetError::TooLarge);
        }
        let document = Members::parse(document).map_err(SetError::Json)?;
        let mut reading = Reading::default();
        match document.one("keys").map_err(SetError::Json)? {
            Some(keys) => {
                let members = json::elements(keys).map_err(|_| SetError::NoKeysMember)?;
                if members.len() > MAX_MEMBERS {
                    return Err(SetError::TooManyMembers);
                }
                members.into_iter().for_each(|member| reading.take_jwk(member, origin));
            }
            None => {
                let certificates: Vec<_> =
                    document.iter().filter_map(as_pem).take(MAX_MEMBERS.saturating_add(1)).collect();
                match certificates.len() {
                    0 => return Err(SetError::NoKeysMember),
                    1..=MAX_MEMBERS => {}
                    _ => return Err(SetError::TooManyMembers),
                }
                certificates.into_iter().for_each(|(kid, pem)| reading.take(Some(kid), Jwk::from_pem(kid, &pem)));
            }
        }
        reading.end()
    }

    /// Whether this very key is in the set, and may verify this algorithm.
    pub fn holds(&self, key: Fingerprint, algorithm: Algorithm) -> bool {
        self.keys.iter().any(|other| other.fingerprint == key && other.permits(algorithm))
    }

    /// The keys that may verify a token with this `kid` and algorithm, at most [`MAX_CANDIDATES`]: see [`Keys::candidates`].
    pub fn candidates<'s>(&'s self, kid: Option<&'s str>, algorithm: Algorithm) -> impl Iterator<Item = &'s Jwk> + 's {
        let hint = KeyHint { kid, ..KeyHint::default() };
        Keys::of([self]).candidates(&hint, algorithm).collect::<Vec<_>>().into_iter()
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &Jwk> {
        self.keys.iter()
    }

    /// Takes the secrets out of the set, as a set of their own if there are any.
    pub fn take_secrets(&mut self) -> Option<Self> {
        let (secrets, others) = std::mem::take(&mut self.keys).into_iter().partition(Jwk::is_symmetric);
        self.keys = others;
        let secrets = Self { keys: secrets, refused: Vec::new() };
        (!secrets.is_empty()).then_some(secrets)
    }

    /// How many keys are usable.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether no key is usable, which [`JwkSet::parse`] never lets happen.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Why the other members are of no use, for lines in the log. At most [`MAX_MEMBERS`].
    pub fn refused(&self) -> &[Unusable] {
        &self.refused
    }
}

/// A set that is being read.
#[derive(Default)]
struct Reading {
    /// Each with its place.
    keys: Vec<(usize, Jwk)>,
    refused: Vec<Unusable>,
    /// `kid` and `kty` of keys whose parameters are none.
    broken: Vec<(String, String)>,
    members: usize,
}

impl Reading {
    /// Takes in a member of `keys`, which is read as a document of its own.
    fn take_jwk(&mut self, member: &str, origin: Origin) {
        match json::parse(member.as_bytes()) {
            Ok(jwk) => {
                let key = Jwk::parse(&jwk, origin);
                if matches!(key, Err(KeyError::Material)) {
                    self.broken.extend(named(&jwk));
                }
                self.take(jwk.get("kid").and_then(Value::as_str), key);
            }
            Err(error) => self.take(first_kid(member).as_deref(), Err(KeyError::Json(error))),
        }
    }

    fn take(&mut self, kid: Option<&str>, key: Result<Jwk, KeyError>) {
        let place = self.members;
        self.members = place.saturating_add(1);
        match key {
            Ok(key) => self.keys.push((place, key)),
            Err(error) => {
                // Who publishes a secret may have named it after itself.
                let kid = kid.filter(|_| error != KeyError::PublishedSecret);
                self.refused.push(Unusable { place, kid: kid.map(str::to_owned), error });
            }
        }
    }

    fn is_ambiguous(&self, key: &Jwk) -> bool {
        self.keys.iter().any(|(_, other)| key.is_rival_of(other))
            || self.broken.iter().any(|(kid, kty)| key.kid() == Some(kid.as_str()) && key.material.kty() == *kty)
    }

    /// Refuses keys whose `kid` also names a different key for the same algorithm: which of them verified
    /// a token would depend on their order. One that is broken is different: it may be the one that is meant.
    fn end(mut self) -> Result<JwkSet, SetError> {
        let is_ambiguous: Vec<bool> = self.keys.iter().map(|(_, key)| self.is_ambiguous(key)).collect();
        let mut keys = Vec::with_capacity(self.keys.len());
        for ((place, key), is_ambiguous) in self.keys.into_iter().zip(is_ambiguous) {
            if is_ambiguous {
                self.refused.push(Unusable { place, kid: key.kid, error: KeyError::AmbiguousKeyId })
            } else {
                keys.push(key)
            }
        }
        if keys.is_empty() {
            Err(SetError::NoUsableKey(self.refused))
        } else {
            Ok(JwkSet { keys, refused: self.refused })
        }
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
    /// What its certificate is called in `x5t` and in `x5t#S256`: as the JWK says, and as it is.
    x5t: Vec<String>,
    x5t_s256: Vec<String>,
    certificate_end: Option<Timestamp>,
}

impl Jwk {
    /// Reads one JWK (RFC 7517, section 4). Members that are not understood, private ones among them, are ignored, and so is a
    /// certificate that can't be read, unless it is all there is.
    pub fn parse(member: &Value, origin: Origin) -> Result<Self, KeyError> {
        let Value::Object(jwk) = member else {
            return Err(KeyError::NotAnObject);
        };
        let kid = match said(jwk, "kid") {
            None => None,
            Some(Value::String(kid)) if kid.len() <= MAX_KEY_ID_BYTES => Some(kid.clone()),
            Some(_) => return Err(KeyError::KeyId),
        };
        // RFC 7517, sections 4.2 and 4.3.
        let for_signatures = match said(jwk, "use") {
            None => true,
            // SPIFFE Trust Domain and Bundle, section 4.2.2, has a word of its own for the keys of JWT-SVIDs.
            Some(key_use) => key_use == "sig" || key_use == "jwt-svid",
        };
        let for_verifying = match said(jwk, "key_ops") {
            None => true,
            Some(Value::Array(operations)) => operations.iter().any(|name| name == "verify"),
            Some(_) => false,
        };
        if !for_signatures || !for_verifying {
            return Err(KeyError::NotForVerifying);
        }
        let algorithm = match said(jwk, "alg") {
            None => None,
            Some(Value::String(name)) => Some(Algorithm::from_name(name).ok_or(KeyError::UnsupportedAlgorithm)?),
            Some(_) => return Err(KeyError::UnsupportedAlgorithm),
        };
        let certificate = Certificate::of_jwk(jwk);
        let is_in_certificate = said(jwk, "x5c").is_some() && !Material::is_in(jwk);
        let material = match (&certificate, is_in_certificate) {
            (_, false) => Material::parse(jwk, origin)?,
            (None, true) => return Err(KeyError::Certificate),
            (Some(certificate), true) if !certificate.material.is_described_by(jwk) => return Err(KeyError::Material),
            (Some(certificate), true) => certificate.material.clone(),
        };
        // RFC 7517, section 4.7: the key in the first certificate MUST be this one.
        if certificate.as_ref().is_some_and(|certificate| certificate.material != material) {
            return Err(KeyError::CertificateOfAnother);
        }
        if algorithm.is_some_and(|algorithm| !material.fits(algorithm)) {
            return Err(KeyError::WrongAlgorithm);
        }
        let mut key = Self::of(material)?;
        let written = |name: &str| said(jwk, name).and_then(Value::as_str).map(str::to_owned);
        key.kid = kid;
        key.algorithm = algorithm;
        key.x5t.extend(written("x5t"));
        key.x5t_s256.extend(written("x5t#S256"));
        if let Some(certificate) = certificate {
            key.certificate_end = certificate.expires.filter(|_| is_in_certificate);
            key.x5t.push(certificate.x5t);
            key.x5t_s256.push(certificate.x5t_s256);
        }
        Ok(key)
    }

    /// Reads a certificate, or a public key, in PEM.
    fn from_pem(kid: &str, pem: &str) -> Result<Self, KeyError> {
        if kid.len() > MAX_KEY_ID_BYTES {
            return Err(KeyError::KeyId);
        }
        let kid = Some(kid.to_owned());
        match Pem::parse(pem)? {
            Pem::Key(material) => Ok(Self { kid, ..Self::of(material)? }),
            Pem::Certificate(Certificate { material, expires, x5t, x5t_s256 }) => Ok(Self {
                kid,
                x5t: vec![x5t],
                x5t_s256: vec![x5t_s256],
                certificate_end: expires,
                ..Self::of(material)?
            }),
        }
    }

    /// A key without a name, for whatever fits it.
    fn of(material: Material) -> Result<Self, KeyError> {
        let spki = material.spki()?;
        let fingerprint = material.fingerprint(&spki);
        let (x5t, x5t_s256) = (Vec::new(), Vec::new());
        Ok(Self { kid: None, algorithm: None, material, spki, fingerprint, x5t, x5t_s256, certificate_end: None })
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

    /// When the certificate ends that the key was taken from: nothing ends with it, but its operator may want to know.
    pub fn certificate_end(&self) -> Option<Timestamp> {
        self.certificate_end
    }

    /// Whether one secret both signs and verifies.
    pub fn is_symmetric(&self) -> bool {
        matches!(self.material, Material::Symmetric(_))
    }

    /// The tag of a message of this filter's own, by a shared secret.
    pub(in crate::jose) fn authenticate(&self, message: &[u8]) -> Option<Vec<u8>> {
        self.material.authenticate(message)
    }

    /// How many octets a signature by the private half of this RSA key has; `None` for a key of another type.
    pub fn modulus_size(&self) -> Option<usize> {
        self.material.modulus_size()
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

/// A member that says something. `null` and what is empty, as .NET writes them, are as good as none.
fn said<'j>(jwk: &'j Object, name: &str) -> Option<&'j Value> {
    jwk.get(name).filter(|value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        _ => true,
    })
}

/// The `kid` and `kty` of a JWK that has both.
fn named(member: &Value) -> Option<(String, String)> {
    Some((member.get("kid")?.as_str()?.to_owned(), member.get("kty")?.as_str()?.to_owned()))
}

/// The first `kid` of a JWK that can't be read, for the log.
fn first_kid(member: &str) -> Option<String> {
    let members = Members::parse(member.as_bytes()).ok()?;
    let (_, text) = members.iter().find(|(name, _)| *name == "kid")?;
    Some(json::parse(text.as_bytes()).ok()?.as_str()?.to_owned())
}

/// A member of a map of certificates: its name, and its PEM text.
fn as_pem<'d>((name, text): (&'d str, &str)) -> Option<(&'d str, String)> {
    match json::parse(text.as_bytes()) {
        Ok(Value::String(pem)) if Pem::is_begun_by(&pem) => Some((name, pem)),
        _ => None,
    }
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

/// How many keys may be tried for one token that names none. Each try is a public-key operation that anybody can make us do:
/// with RSA, sixteen take half a millisecond where the host verifies, five where this module does.
pub const MAX_CANDIDATES: usize = 16;

/// The largest key set. The largest known public ones, with certificate chains, are below 100 kB.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// The longest `kid`. Thumbprints and UUIDs need 43 and 36 bytes.
pub const MAX_KEY_ID_BYTES: usize = 1024;

/// The most keys in a set. A multi-tenant provider publishes some dozens.
pub const MAX_MEMBERS: usize = 512;
