//! The keys that one provider publishes, or an operator writes: RFC 7517, section 5.
//!
//! A key that is of no use is skipped, and does no harm to its neighbours.

use super::certificate::Pem;
use super::{Algorithm, Fingerprint, Jwk, KeyError, KeyHint, KeySetOrigin, Keys, SetError, Unusable};
use crate::json::{self, Members, Value};

/// The usable keys of one provider (RFC 7517, section 5).
#[derive(Debug)]
pub struct JwkSet {
    keys: Vec<Jwk>,
    refused: Vec<Unusable>,
}

impl JwkSet {
    /// Reads a JWK Set, or a map of certificates as Google publishes it. Members of no use are listed in [`JwkSet::refused`]; it
    /// takes one good key to succeed.
    pub fn parse(document: &[u8], origin: KeySetOrigin) -> Result<Self, SetError> {
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

    /// The keys that may verify a token with this `kid` and algorithm: see [`Keys::candidates`].
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
    fn take_jwk(&mut self, member: &str, origin: KeySetOrigin) {
        match json::parse(member.as_bytes()) {
            Ok(jwk) => {
                let key = Jwk::parse(&jwk, origin);
                if matches!(key, Err(KeyError::Encoding | KeyError::Material)) {
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

/// The largest key set. The largest known public ones, with certificate chains, are below 100 kB.
pub const MAX_DOCUMENT_BYTES: usize = 1024 * 1024;

/// The most keys in a set. A multi-tenant provider publishes some dozens.
pub const MAX_MEMBERS: usize = 512;
