//! What a host lends to the core beside events: cryptography, memory that all its workers share, and randomness.
//!
//! The invariant: whoever is told that bytes were replaced was the only one to replace that version of them.

/// Signatures, verified and made by the host.
pub trait Cryptography {
    /// Whether `signature` (for ECDSA in DER) is that of `message`, hashed with `hash` (`sha256`, `sha384`, `sha512`), by
    /// the key with this SubjectPublicKeyInfo in DER. `None` if the host can't tell.
    fn verify(&self, hash: &str, spki: &[u8], message: &[u8], signature: &[u8]) -> Option<bool>;

    /// The signature of `message`, hashed with `hash`, by the key in PKCS#8 and DER (for RSA: PKCS#1 v1.5; for ECDSA, in DER).
    /// `None` if the host doesn't sign.
    fn sign(&self, _hash: &str, _pkcs8: &[u8], _message: &[u8]) -> Option<Vec<u8>> {
        None
    }
}

/// Memory that all workers of a process share, under few keys.
pub trait SharedMemory {
    /// What stands under a key; `None` if the host can't tell.
    fn read(&self, key: &str) -> Option<Shared>;

    /// Puts a value in the place of the version that was read.
    fn replace(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict>;
}

/// What was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shared {
    /// The bytes; none if nobody has put any.
    pub value: Vec<u8>,
    /// Which version of them it is.
    pub version: Version,
}

/// A version of the bytes under one key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    /// Nobody has put any.
    Absent,
    /// That of this number, which the host gave it.
    Number(u32),
}

/// Another worker was faster, or the host failed: what was to be put is not there.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Conflict;

/// Octets that nobody can predict.
pub trait Randomness {
    /// Thirty-two of them; `None` if there are none to be had.
    fn octets(&self) -> Option<[u8; 32]>;
}
