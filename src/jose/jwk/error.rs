//! Why a document, or one key of it, is of no use.

use super::{MAX_DOCUMENT_BYTES, MAX_MEMBERS};
use crate::json;
use std::fmt;

/// Why a document is not a key set that can be used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SetError {
    /// Not a JSON object, or one with two members `keys`.
    Json(json::Error),
    /// No member `keys`, or not an array; nor a map of certificates.
    NoKeysMember,
    /// None of its members is a key that can be used.
    NoUsableKey(Vec<Unusable>),
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
            Self::NoUsableKey(unusable) if unusable.is_empty() => f.write_str("the key set is empty"),
            Self::NoUsableKey(_) => f.write_str("no key of the set can be used"),
            Self::TooLarge => write!(f, "the key set is larger than {MAX_DOCUMENT_BYTES} bytes"),
            Self::TooManyMembers => write!(f, "the key set has more than {MAX_MEMBERS} keys"),
        }
    }
}

impl std::error::Error for SetError {}

/// A key that is not used. Displays as a sentence for the log: which one, and why not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unusable {
    /// Its place in the set, from 0.
    pub place: usize,
    /// Its name, if it has one that can be told.
    pub kid: Option<String>,
    /// Why.
    pub error: KeyError,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "keys[{}]", self.place)?;
        if let Some(kid) = &self.kid {
            let shown: String = kid.chars().take(MAX_SHOWN_CHARACTERS).collect();
            let more = if shown.len() < kid.len() { "…" } else { "" };
            write!(f, " ({shown:?}{more})")?;
        }
        write!(f, " is not used: {}", self.error)
    }
}

/// Why one key cannot be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum KeyError {
    /// Its `kid` also names another key for the same algorithm.
    AmbiguousKeyId,
    /// It should be in a certificate, and that cannot be read.
    Certificate,
    /// Its certificate (`x5c`) holds another key.
    CertificateOfAnother,
    /// A parameter is no base64url as RFC 7515, section 2, has it.
    Encoding,
    /// It cannot be read without doubt: a member that is given twice, or nested too deep.
    Json(json::Error),
    /// Its `kid` is not a string, or longer than [`MAX_KEY_ID_BYTES`](super::MAX_KEY_ID_BYTES).
    KeyId,
    /// A parameter is missing, ill-formed, or not a valid key: a point off its curve, an even modulus.
    Material,
    /// Not a JSON object.
    NotAnObject,
    /// Its `use` or `key_ops` leave no room for verifying.
    NotForVerifying,
    /// A symmetric key in a published set.
    PublishedSecret,
    /// Its `revoked` says that it is good no more.
    Revoked,
    /// Its `alg` is not one of [`Algorithm`](super::Algorithm).
    UnsupportedAlgorithm,
    /// A key type, a curve or a number of primes that is not supported.
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
            Self::Certificate => "its certificate cannot be read",
            Self::CertificateOfAnother => "its certificate (x5c) holds another key than its parameters",
            Self::Encoding => "a parameter is no base64url, which has `-` and `_`, and no `+`, `/` or padding (`=`)",
            Self::Json(error) => return error.fmt(f),
            Self::KeyId => "its kid is not a short string",
            Self::Material => "its parameters do not make a valid key",
            Self::NotAnObject => "it is not a JSON object",
            Self::NotForVerifying => "it is not meant for verifying signatures",
            Self::PublishedSecret => "it is a symmetric key in a published set",
            Self::Revoked => "it was revoked",
            Self::UnsupportedAlgorithm => "its alg is not supported",
            Self::UnsupportedType => "its kty or crv is not supported",
            Self::UnsuitableSize => "its size is not acceptable",
            Self::WrongAlgorithm => "its alg does not fit its type",
        })
    }
}

impl std::error::Error for KeyError {}

/// As much of a `kid` as a line of the log has room for: a thumbprint, or a UUID.
const MAX_SHOWN_CHARACTERS: usize = 64;
