//! Certificates as envelopes of keys: `x5c` (RFC 7517, section 4.7), and the maps of PEM texts that Google publishes.
//!
//! No chain is checked, no name and no date: whoever publishes the key set vouches for the key, with or without a certificate
//! around it. Only the way to the key is read; a library for all of X.509 would also read, and refuse, what is of no concern here.

use super::material::Material;
use super::{KeyError, said};
use crate::json::Object;
use crate::time::Timestamp;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD_NO_PAD as BASE64, BASE64_URL_SAFE_NO_PAD as BASE64URL};
use p256::pkcs8::der::asn1::{AnyRef, GeneralizedTime, UtcTime};
use p256::pkcs8::der::{self, Decode as _, Reader as _, SliceReader, Tag, TagNumber};
use sha1::Sha1;
use sha2::{Digest as _, Sha256};

/// The key in a certificate, and what the certificate is called.
pub(super) struct Certificate {
    pub(super) material: Material,
    /// When it ends (RFC 5280, section 4.1.2.5), which ends nothing for the key.
    pub(super) expires: Option<Timestamp>,
    /// Its SHA-1, which is a name here and proves nothing (RFC 7515, section 4.1.7).
    pub(super) x5t: String,
    /// Its SHA-256 (section 4.1.8).
    pub(super) x5t_s256: String,
}

impl Certificate {
    /// The first of a JWK's `x5c`, which holds the key itself. `None` if there is none that can be read.
    pub(super) fn of_jwk(jwk: &Object) -> Option<Self> {
        let first = said(jwk, "x5c")?.as_array()?.first()?.as_str()?;
        if Pem::is_begun_by(first) {
            match Pem::parse(first).ok()? {
                Pem::Certificate(certificate) => Some(certificate),
                Pem::Key(_) => None,
            }
        } else {
            Self::parse(&forgiving_base64(first)?).ok()
        }
    }

    fn parse(certificate: &[u8]) -> Result<Self, KeyError> {
        let (spki, expires) = key_and_end(certificate).map_err(|_| KeyError::Certificate)?;
        Ok(Self {
            material: Material::from_spki(spki)?,
            expires,
            x5t: BASE64URL.encode(Sha1::digest(certificate)),
            x5t_s256: BASE64URL.encode(Sha256::digest(certificate)),
        })
    }
}

/// What a PEM text (RFC 7468) holds: a certificate, or a public key as it is.
pub(super) enum Pem {
    Certificate(Certificate),
    Key(Material),
}

impl Pem {
    /// Whether a text is to be read as PEM.
    pub(super) fn is_begun_by(text: &str) -> bool {
        text.trim_start().starts_with("-----BEGIN ")
    }

    /// Reads the first block of a text: in a chain, that of the key itself.
    pub(super) fn parse(text: &str) -> Result<Self, KeyError> {
        match (block(text, "CERTIFICATE"), block(text, "PUBLIC KEY")) {
            (Some(certificate), _) => Certificate::parse(&certificate).map(Self::Certificate),
            (None, Some(spki)) => Material::from_spki(&spki).map(Self::Key),
            (None, None) => Err(KeyError::Certificate),
        }
    }
}

/// What the first block with this label holds.
fn block(text: &str, label: &str) -> Option<Vec<u8>> {
    let (_, block) = text.split_once(&format!("-----BEGIN {label}-----"))?;
    let (block, _) = block.split_once(&format!("-----END {label}-----"))?;
    forgiving_base64(block)
}

/// RFC 7468, section 2, breaks lines; RFC 7517 doesn't, but some who publish do, and some write base64url or leave padding out.
fn forgiving_base64(text: &str) -> Option<Vec<u8>> {
    let letters = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).map(|byte| match byte {
        b'-' => b'+',
        b'_' => b'/',
        other => other,
    });
    let letters: Vec<u8> = letters.collect();
    let padding = letters.iter().rev().take_while(|byte| **byte == b'=').take(2).count();
    let (letters, _) = letters.split_at_checked(letters.len().saturating_sub(padding))?;
    BASE64.decode(letters).ok()
}

/// The SubjectPublicKeyInfo of a certificate in DER, and when the certificate ends (RFC 5280, section 4.1).
fn key_and_end(certificate: &[u8]) -> der::Result<(&[u8], Option<Timestamp>)> {
    let mut reader = SliceReader::new(certificate)?;
    reader.sequence(|certificate| {
        let found = certificate.sequence(|signed| {
            let _version = signed.context_specific::<u8>(TagNumber(0), der::TagMode::Explicit)?;
            for _ in ["serialNumber", "signature", "issuer"] {
                signed.tlv_bytes()?;
            }
            let expires = signed.sequence(|validity| {
                validity.tlv_bytes()?;
                AnyRef::decode(validity).map(end)
            })?;
            let _subject = signed.tlv_bytes()?;
            let spki = signed.tlv_bytes()?;
            while !signed.is_finished() {
                signed.tlv_bytes()?;
            }
            Ok::<_, der::Error>((spki, expires))
        })?;
        for _ in ["signatureAlgorithm", "signatureValue"] {
            certificate.tlv_bytes()?;
        }
        Ok(found)
    })
}

/// A `Time` (RFC 5280, section 4.1); `None` for one in a form that it doesn't have there.
fn end(time: AnyRef) -> Option<Timestamp> {
    let since_epoch = match time.header().tag() {
        Tag::UtcTime => time.decode_as::<UtcTime>().ok()?.to_unix_duration(),
        _ => time.decode_as::<GeneralizedTime>().ok()?.to_unix_duration(),
    };
    Some(Timestamp::from_unix_seconds(since_epoch.as_secs()))
}
