//! JSON Web Keys: what a provider publishes, made into keys that can verify.
//!
//! RFC 7517 (keys and sets), RFC 7518 (section 3: algorithms; section 6: key parameters), RFC 8037 and
//! RFC 9864 (Ed25519). RFC 8725 (sections 3.1, 3.4 and 3.5) says what to refuse.
//!
//! The invariant: a [`Jwk`] exists only if it can verify signatures soundly, and it verifies only with
//! algorithms that fit its type, its curve and its own `alg`. A token's header can ask for one of those; it can
//! never change them. A key that is of no use is skipped and does no harm to its neighbours (RFC 7517, section 5).

mod algorithm;
mod certificate;
mod choice;
mod error;
mod material;
mod public;
mod set;
mod thumbprint;

pub use algorithm::Algorithm;
pub use choice::{KeyHint, Keys};
pub use error::{KeyError, SetError, Unusable};
pub use public::{NotPublic, PublicJwk};
pub use set::{JwkSet, MAX_DOCUMENT_BYTES, MAX_MEMBERS};
pub use thumbprint::Thumbprint;

use crate::json::{Object, Value, text_of};
use crate::time::Timestamp;
use certificate::{Certificate, Pem};
use material::Material;
use std::fmt;

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
    pub fn parse(member: &Value, origin: KeySetOrigin) -> Result<Self, KeyError> {
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
        // OpenID Federation 1.0, section 8.7.2.
        if said(jwk, "revoked").is_some_and(|revoked| *revoked != false) {
            return Err(KeyError::Revoked);
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
        key.kid = kid;
        key.algorithm = algorithm;
        key.x5t.extend(text_of(jwk, "x5t").filter(|text| !text.is_empty()).map(str::to_owned));
        key.x5t_s256.extend(text_of(jwk, "x5t#S256").filter(|text| !text.is_empty()).map(str::to_owned));
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

/// The SHA-256 of a key's material. Never printed: a secret may be guessed by it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Fingerprint([u8; 32]);

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint")
    }
}

/// Where a key set came from, and so what its keys may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeySetOrigin {
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

/// The longest `kid`. Thumbprints and UUIDs need 43 and 36 bytes.
pub const MAX_KEY_ID_BYTES: usize = 1024;
