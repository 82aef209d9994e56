//! The part of the configuration that holds the keys which sign assertions: of a list, the first signs, and the public halves of
//! all are published, so that one can take the place of another without a service that doesn't know it.

use super::Error;
use super::fields::Fields;
use crate::jose::jwk::{Algorithm, Fingerprint, Jwk, KeySetOrigin, Thumbprint};
use crate::jose::signing::{Secrets, SigningKey, UnusableKey};
use crate::json::{Object, Value};
use crate::ordered;

/// The keys of an assertion.
#[derive(Debug)]
pub struct AssertionKeys {
    /// What signs.
    pub signing: SigningKey,
    /// Private keys that wait for their turn, or had it.
    others: Vec<(usize, SigningKey)>,
    /// All public halves: their names, and what is published.
    published: Vec<PublishedKey>,
    /// The field that holds them.
    path: String,
}

/// A public key, under its name.
#[derive(Clone, Debug)]
pub struct PublishedKey {
    /// Which key of the field's it is.
    index: usize,
    /// `kid`.
    pub kid: String,
    /// The whole JWK.
    pub jwk: Object,
    fingerprint: Fingerprint,
}

impl AssertionKeys {
    /// `keys`; `None` if there are none.
    pub(super) fn from_fields(fields: &mut Fields) -> Result<Option<Self>, Error> {
        let path = fields.path("keys");
        let Some(documents) = fields.json_objects("keys")? else { return Ok(None) };
        if !(1..=MAX_KEYS).contains(&documents.len()) {
            return Err(Error::at(
                &path,
                format!("must be 1 to {MAX_KEYS} keys; leave it out for those of another assertion"),
            ));
        }
        let mut signing = None;
        let mut others = Vec::new();
        let mut published: Vec<PublishedKey> = Vec::new();
        for (index, jwk) in documents.iter().enumerate() {
            let at = |problem: &str| Error::at(&format!("{path}[{index}]"), problem);
            let (key, public) = match SigningKey::from_jwk(jwk, Secrets::SharedToo) {
                Ok(key) => {
                    let public = key.verifying().clone();
                    (Some(key), public)
                }
                Err(UnusableKey::Public) if index > 0 => (None, public(jwk).map_err(at)?),
                Err(UnusableKey::Public) => {
                    return Err(at("is a public key; the first one signs, and must be private"));
                }
                Err(UnusableKey::Unknown) => return Err(at(EXPECTED)),
                Err(error) => return Err(at(&error.to_string())),
            };
            check_rsa(&public).map_err(at)?;
            let algorithm = key.as_ref().map(SigningKey::algorithm).or_else(|| algorithm_of(&public));
            let algorithm = algorithm.ok_or_else(|| at(EXPECTED))?;
            let given = jwk.get("kid").and_then(Value::as_str).map(str::to_owned);
            let kid =
                given.clone().or_else(|| public.thumbprint().map(|thumbprint: Thumbprint| thumbprint.to_string()));
            let key = match (key, &kid, given) {
                (Some(key), Some(kid), None) => key.named(kid),
                (key, ..) => key,
            };
            if let (Some(mut members), Some(kid)) = (public.public_members(), kid) {
                if published.iter().any(|other| other.kid == kid) {
                    return Err(at("has the `kid` of another one; of two keys under one name, a service takes either"));
                }
                members.insert("kid".to_owned(), kid.clone().into());
                members.insert("use".to_owned(), "sig".into());
                members.insert("alg".to_owned(), algorithm.name().into());
                published.push(PublishedKey { index, kid, jwk: members, fingerprint: public.fingerprint() });
            }
            match (signing.is_none(), key) {
                (true, key) => signing = key,
                (false, Some(key)) => others.push((index, key)),
                (false, None) => {}
            }
        }
        let signing = signing.ok_or_else(|| Error::at(&path, EXPECTED))?;
        Ok(Some(Self { signing, others, published, path }))
    }

    /// What is published of these keys.
    pub fn published(&self) -> &[PublishedKey] {
        &self.published
    }

    /// Every private key, each with the path of its field.
    pub(super) fn private(&self) -> impl Iterator<Item = (String, &SigningKey)> {
        let first = std::iter::once((0, &self.signing));
        let all = first.chain(self.others.iter().map(|(index, key)| (*index, key)));
        all.map(|(index, key)| (format!("{}[{index}]", self.path), key))
    }
}

/// Refuses two different keys under one `kid`, which would be published together.
pub(super) fn check_names<'k>(all: impl Iterator<Item = &'k AssertionKeys>) -> Result<(), Error> {
    let mut names: ordered::Map<&str, (Fingerprint, String)> = ordered::Map::new_vec();
    for keys in all {
        for key in &keys.published {
            let path = format!("{}[{}]", keys.path, key.index);
            let (fingerprint, earlier) = names.entry(&key.kid).or_insert_with(|| (key.fingerprint, path.clone()));
            if *fingerprint != key.fingerprint {
                return Err(Error::at(&path, format!("has the `kid` of another key, {earlier}; both are published")));
            }
        }
    }
    Ok(())
}

/// A public key that is published only.
fn public(jwk: &Object) -> Result<Jwk, &'static str> {
    let jwk = Jwk::parse(&Value::Object(jwk.clone()), KeySetOrigin::Remote);
    jwk.map_err(|_| "is no usable public key")
}

/// The one algorithm that a key of this type signs with here.
fn algorithm_of(public: &Jwk) -> Option<Algorithm> {
    [Algorithm::Es256, Algorithm::EdDsa, Algorithm::Rs256].into_iter().find(|algorithm| public.permits(*algorithm))
}

/// NIST SP 800-56B; FIPS 186-5, section 5.1: what every library takes.
fn check_rsa(public: &Jwk) -> Result<(), &'static str> {
    let is_usual = public.public_members().is_none_or(|members| members.get("e").is_none_or(|e| e == "AQAB"));
    match public.modulus_size() {
        Some(_) if !is_usual => Err("is an RSA key with another public exponent than 65537"),
        Some(size) if !RSA_BYTES.contains(&size) => Err("is an RSA key of less than 2048 bits, or of more than 4096"),
        _ => Ok(()),
    }
}

const EXPECTED: &str = "expected a private JWK: EC with P-256, OKP with Ed25519, RSA of 2048 to 4096 bits with all its numbers, or \
                        oct with 32 bytes or more";

/// 2048 to 4096 bits: signing takes 1.3 ms with the larger.
const RSA_BYTES: std::ops::RangeInclusive<usize> = 256..=512;

/// Two take turns; more are of several services.
const MAX_KEYS: usize = 8;
