//! JSON Web Signatures: the compact form of a token, taken apart and proved.
//!
//! RFC 7515 (sections 4, 5.2 and 7.1), with the refusals of RFC 8725 (sections 3.1, 3.2 and 3.10). The JSON
//! serializations, unencoded payloads (RFC 7797), compression, extensions (`crit`) and nesting are not supported.
//!
//! The invariant: what a token says is either called unverified, or it is a [`VerifiedPayload`], which only
//! [`CompactJws::verify`] can make. A key or an address that a token carries (`jwk`, `jku`, `x5c`, `x5u`) is never used
//! for it, but for the `jwk` of a DPoP proof; the thumbprints (`x5t`, `x5t#S256`) choose among the keys at hand.

mod header;

pub use header::{Header, KnownHeaders, unsupported};

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;

use crate::jose::jwk::{Algorithm, BadSignature, Fingerprint, Jwk, KeyHint, MAX_CANDIDATES};
use crate::jose::verifier::Verifier;
use crate::json::{self, Object, Value};

/// A token in the compact form of RFC 7515 (section 7.1), well-formed, of which nothing is proved yet.
pub struct CompactJws<'t> {
    header: Rc<Header>,
    /// The header and the payload as they were sent: what the signature signs.
    signing_input: &'t str,
    payload: Vec<u8>,
    /// The payload as JSON, once somebody has wanted it: parsing is what takes the most time here.
    claims: RefCell<Option<Object>>,
    signature: Vec<u8>,
}

impl<'t> CompactJws<'t> {
    /// Takes a token apart.
    pub fn parse(token: &'t str) -> Result<Self, Error> {
        Self::parse_with(token, &KnownHeaders::default())
    }

    /// Takes a token apart whose header may be known.
    pub fn parse_with(token: &'t str, known: &KnownHeaders) -> Result<Self, Error> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Error::Malformed);
        }
        // With a fourth part, the payload has a dot, which base64url does not know: no need to count.
        let (signing_input, signature) = token.rsplit_once('.').ok_or(Error::Malformed)?;
        let (header, payload) = signing_input.split_once('.').ok_or(Error::Malformed)?;
        let header = match known.get(header) {
            Some(known) => known,
            None => Rc::new(Header::parse(header)?),
        };
        let payload = base64url(payload)?;
        let signature = base64url(signature)?;
        if signature.is_empty() {
            return Err(Error::Malformed);
        }
        Ok(Self { header, signing_input, payload, claims: RefCell::default(), signature })
    }

    /// All that the header says.
    pub fn header(&self) -> &Rc<Header> {
        &self.header
    }

    /// The algorithm that the header names (`alg`). Whether it is wanted is for the provider's list and the key to say.
    pub fn algorithm(&self) -> Algorithm {
        self.header.algorithm
    }

    /// The name of the key that the header names (`kid`): a hint, of any length and content.
    pub fn key_id(&self) -> Option<&str> {
        self.header.key_id.as_deref()
    }

    /// All that the header says of the key: its name, and what its certificate is called (`x5t`, `x5t#S256`).
    pub fn key_hint(&self) -> KeyHint<'_> {
        let [x5t, x5t_s256] = &self.header.certificate;
        KeyHint { kid: self.key_id(), x5t: x5t.as_deref(), x5t_s256: x5t_s256.as_deref() }
    }

    /// The key that the header holds (`jwk`), where it holds or points to no other. It proves nothing but that its owner made
    /// this.
    pub fn own_key(&self) -> Option<&Value> {
        self.header.own_key()
    }

    /// The media type of the whole that the header names (`typ`), not proved yet.
    pub fn token_type(&self) -> Option<&str> {
        self.header.token_type.as_deref()
    }

    /// The payload before any proof: good for choosing whose keys to try, and for nothing else.
    pub fn unverified_payload(&self) -> &[u8] {
        &self.payload
    }

    /// Shows the payload as a JSON object, before any proof.
    pub fn with_unverified_claims<T>(&self, look: impl FnOnce(&Object) -> T) -> Result<T, json::Error> {
        let claims = self.take_claims()?;
        let seen = look(&claims);
        self.claims.replace(Some(claims));
        Ok(seen)
    }

    fn take_claims(&self) -> Result<Object, json::Error> {
        match self.claims.take() {
            Some(claims) => Ok(claims),
            None => json::parse_object(&self.payload),
        }
    }

    /// Proves that one of `keys` signed this token with the algorithm of its header. Tries [`MAX_CANDIDATES`] at most.
    pub fn verify<'k>(
        &self,
        keys: impl Iterator<Item = &'k Jwk>,
        verifier: &Verifier,
    ) -> Result<VerifiedPayload<'_>, BadSignature> {
        let message = self.signing_input.as_bytes();
        let signer = keys
            .take(MAX_CANDIDATES)
            .find(|key| verifier.verify(key, self.algorithm(), message, &self.signature).is_ok())
            .ok_or(BadSignature)?;
        Ok(VerifiedPayload { jws: self, key: signer.fingerprint() })
    }
}

/// What a token says, proved by a signature: its payload, and the `typ` that was signed with it.
pub struct VerifiedPayload<'j> {
    jws: &'j CompactJws<'j>,
    key: Fingerprint,
}

impl<'j> VerifiedPayload<'j> {
    /// The payload.
    pub fn octets(&self) -> &'j [u8] {
        &self.jws.payload
    }

    /// The payload as a JSON object.
    pub fn claims(&self) -> Result<Object, json::Error> {
        self.jws.take_claims()
    }

    /// The key that signed it.
    pub fn key(&self) -> Fingerprint {
        self.key
    }

    /// The media type of the whole token (`typ`).
    pub fn token_type(&self) -> Option<&'j str> {
        self.jws.token_type()
    }
}

/// What a token looks like, and so who should look at it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// Encrypted (RFC 7516): five parts, and a header with `enc`.
    Jwe,
    /// Signed (RFC 7515): three parts, and a header with `alg`.
    Jws,
    /// Anything else: only the provider that issued it can read it.
    Opaque,
}

/// Tells the form of a token by its header: what has one is never opaque, however many parts follow.
///
/// A header in a spelling that is refused here (with padding, with a member given twice) still makes a JWS or JWE: it
/// will be refused as such. As an opaque token it would be sent on to a reader that may be less strict.
pub fn form(token: &str) -> Form {
    let header = token.split_once('.').map_or(token, |(header, _)| header);
    let Some(header) = forgivingly_decoded(header) else { return Form::Opaque };
    // Some readers mind no case in names.
    let has = |header: &Object, name: &str| header.keys().any(|other| other.eq_ignore_ascii_case(name));
    match json::parse_object(&header) {
        Ok(header) if has(&header, "enc") => Form::Jwe,
        Ok(header) if has(&header, "alg") => Form::Jws,
        Err(json::Error::DuplicateMember | json::Error::TooDeep) => Form::Jws,
        // A byte order mark, a comma too many, a comment: readers there are that take that.
        Err(json::Error::Malformed) if token.contains('.') && begins_like_an_object(&header) => Form::Jws,
        _ => Form::Opaque,
    }
}

/// Whether octets begin as a JSON object does, with whatever before it some readers pass over.
pub(crate) fn begins_like_an_object(octets: &[u8]) -> bool {
    let mut octets = octets.iter().filter(|octet| !is_passed_over(octet));
    octets.next() == Some(&b'{') && matches!(octets.next(), Some(b'"' | b'\'' | b'/'))
}

fn is_passed_over(octet: &u8) -> bool {
    octet.is_ascii_whitespace() || matches!(octet, 0x0b | 0xef | 0xbb | 0xbf | 0xfe | 0xff | 0)
}

/// What a reader that forgives more than [`CompactJws::parse`] may find in a part: padding, either alphabet, stray bits, and
/// characters too many, of any kind, which Python, PHP and Node.js pass over.
pub(crate) fn forgivingly_decoded(part: &str) -> Option<Vec<u8>> {
    let letters = part.replace('+', "-").replace('/', "_");
    let mut letters: String =
        letters.chars().filter(|letter| letter.is_ascii_alphanumeric() || "-_".contains(*letter)).collect();
    // One alone holds no octet.
    if letters.len() % 4 == 1 {
        letters.pop();
    }
    FORGIVING.decode(letters).ok()
}

/// Why a token could not be taken apart.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// Not a JWS in compact form, or longer than [`MAX_TOKEN_BYTES`].
    Malformed,
    /// A JWS that uses what this filter does not do: another algorithm, an extension, compression, nesting.
    Unsupported,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the token is not a JWS in compact form",
            Self::Unsupported => "the token uses a JWS feature that is not supported",
        })
    }
}

impl std::error::Error for Error {}

/// base64url as RFC 7515 (section 2) has it: no padding, no white space, no stray bits, one text for any octets.
fn base64url(text: &str) -> Result<Vec<u8>, Error> {
    BASE64URL.decode(text).map_err(|_| Error::Malformed)
}

/// The longest token that is ever looked at, as much as Envoy takes of headers by default. What is looked at without a word
/// of the operator is less.
pub const MAX_TOKEN_BYTES: usize = 60 * 1024;

const FORGIVING: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::URL_SAFE,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &str) -> String {
        format!("{}.e30.AA", BASE64URL.encode(header))
    }

    #[test]
    fn tells_the_form_of_a_token() {
        let encrypted = format!("{}.a.b.c.d", BASE64URL.encode(r#"{"alg":"dir","enc":"A128GCM"}"#));
        for (token, expected) in [
            (token(r#"{"alg":"RS256"}"#), Form::Jws),
            (token(r#"{"alg":"none"}"#), Form::Jws),
            (token(r#"{"alg":"a","alg":"b"}"#), Form::Jws),
            (token(r#"{"alg":"RS256"}"#) + ".", Form::Jws),
            (token(r#"{"alg":"RS256"}"#) + "=", Form::Jws),
            (BASE64URL.encode(r#"{"alg":"RS256"}"#) + "==.a", Form::Jws),
            (token(r#"{"alg":"RS256"}"#).replacen('h', "~h", 2), Form::Jws),
            (token(r#"{"alg":"RS256" }"#).replacen('.', "A.", 1), Form::Jws),
            (token(r#"{"Alg":"RS256"}"#), Form::Jws),
            (token(r#"{"ALG":"dir","Enc":"A128GCM"}"#), Form::Jwe),
            (token(r#"{"typ":"JWT"}"#), Form::Opaque),
            (token("[]"), Form::Opaque),
            ("a.b.c".to_owned(), Form::Opaque),
            ("2YotnFZFEjr1zCsicMWpAA".to_owned(), Form::Opaque),
            (encrypted, Form::Jwe),
            (token(r#"{"alg":"RS256"/**/}"#), Form::Jws),
            (token("{'alg':'RS256'}"), Form::Jws),
            (token("{a"), Form::Opaque),
            (token("x\"alg"), Form::Opaque),
            (".".repeat(60_000), Form::Opaque),
            (String::new(), Form::Opaque),
        ] {
            assert_eq!(form(&token), expected, "{token:.80}");
        }
    }

    #[test]
    fn refuses_oversize_before_looking_inside() {
        let long = token(&format!(r#"{{"alg":"RS256","x":"{}"}}"#, "a".repeat(MAX_TOKEN_BYTES)));
        assert_eq!(CompactJws::parse(&long).err(), Some(Error::Malformed));
    }
}
