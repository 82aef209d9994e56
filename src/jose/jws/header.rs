//! The header of a JWS: which algorithm, which key, which kind of token (RFC 7515, section 4.1).
//!
//! All tokens that one key of a provider signs begin alike, as a rule. What was read once, of a token that was then proved, is
//! not read again.

use super::{Error, base64url};
use crate::jose::jwk::Algorithm;
use crate::json::{self, Object, Value};
use std::rc::Rc;

/// What a header says.
pub struct Header {
    /// As it was sent.
    text: Box<str>,
    pub(super) algorithm: Algorithm,
    pub(super) key_id: Option<String>,
    /// `x5t` and `x5t#S256`.
    pub(super) certificate: [Option<String>; 2],
    pub(super) token_type: Option<String>,
    carried: Carried,
}

/// What a header says of a key that comes with the token. A token is never verified with it; a proof of possession (RFC 9449,
/// section 4.2) with nothing else.
struct Carried {
    jwk: Option<Value>,
    /// `jku`, `x5u` or `x5c`.
    others: bool,
}

impl Header {
    /// Reads the first part of a token.
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut header = json::parse_object(&base64url(text)?).map_err(|_| Error::Malformed)?;
        let name = string(&header, "alg")?.ok_or(Error::Malformed)?;
        let key_id = string(&header, "kid")?.map(str::to_owned);
        // Mere hints, of no use but for choosing a key: what is no text says nothing.
        let certificate = ["x5t", "x5t#S256"].map(|name| header.get(name).and_then(Value::as_str).map(str::to_owned));
        let token_type = string(&header, "typ")?.map(str::to_owned);
        string(&header, "cty")?;
        if unsupported(&header).next().is_some() {
            return Err(Error::Unsupported);
        }
        let algorithm = Algorithm::from_name(name).ok_or(Error::Unsupported)?;
        let others = CARRIED_OTHERWISE.iter().any(|name| header.contains_key(*name));
        let carried = Carried { jwk: header.remove("jwk"), others };
        Ok(Self { text: text.into(), algorithm, key_id, certificate, token_type, carried })
    }

    /// The key that it holds (`jwk`), where it holds or points to no other.
    pub(super) fn own_key(&self) -> Option<&Value> {
        self.carried.jwk.as_ref().filter(|_| !self.carried.others)
    }
}

/// Headers of tokens that were proved lately: a few, none of them long. No client can put one here, nor keep out another's.
#[derive(Default)]
pub struct KnownHeaders(Vec<Rc<Header>>);

impl KnownHeaders {
    /// What the first part of a token says, if that is known. The whole of it is compared.
    pub(super) fn get(&self, text: &str) -> Option<Rc<Header>> {
        self.0.iter().find(|known| *known.text == *text).cloned()
    }

    /// Keeps the header of a token that was proved.
    pub fn keep(&mut self, header: &Rc<Header>) {
        if header.text.len() > MAX_KNOWN_BYTES || self.0.iter().any(|known| known.text == header.text) {
            return;
        }
        self.0.truncate(MAX_KNOWN.saturating_sub(1));
        self.0.insert(0, Rc::clone(header));
    }
}

/// The names of what in a header changes the meaning of the rest, and is not supported.
pub fn unsupported(header: &Object) -> impl Iterator<Item = &'static str> {
    UNSUPPORTED.into_iter().filter(|name| match (*name, header.get(*name)) {
        (_, None) => false,
        ("cty", Some(content_type)) => content_type.as_str().is_some_and(is_jwt),
        // ForgeRock and PingAM write into every token that nothing is compressed.
        ("zip", Some(zip)) => zip != "NONE",
        _ => true,
    })
}

/// A header parameter that must be a string where it is present: `null` is not absence.
fn string<'h>(header: &'h Object, name: &str) -> Result<Option<&'h str>, Error> {
    match header.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Error::Malformed),
    }
}

/// Whether a content type says that the payload is itself a JWT (RFC 7519, section 5.2).
fn is_jwt(content_type: &str) -> bool {
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    let subtype = essence.rsplit('/').next().unwrap_or_default();
    let subtype = subtype.to_ascii_lowercase();
    subtype == "jwt" || subtype.ends_with("+jwt")
}

/// How many headers are known: as many as providers have keys in use at one time.
const MAX_KNOWN: usize = 16;

/// How long one may be. A longer one holds a chain of certificates.
const MAX_KNOWN_BYTES: usize = 1024;

/// Header parameters that change what the other parts mean. `crit` says "refuse me if you do not understand this"
/// (RFC 7515, section 4.1.11), and no extension is understood.
const UNSUPPORTED: [&str; 5] = ["b64", "crit", "cty", "enc", "zip"];

/// Header parameters that hold a key, or say where it is, in other ways than `jwk` (RFC 7515, section 4.1).
const CARRIED_OTHERWISE: &[&str] = &["jku", "x5c", "x5u"];

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;

    #[test]
    fn content_types_that_say_jwt() {
        for nested in ["JWT", "jwt", "application/jwt", "Application/JWT", "at+jwt", "jwt;x=y", " JWT "] {
            assert!(is_jwt(nested), "{nested}");
        }
        for plain in ["", "json", "application/json", "jwts", "text/plain"] {
            assert!(!is_jwt(plain), "{plain}");
        }
    }

    fn header(text: &str) -> Rc<Header> {
        Rc::new(Header::parse(&BASE64URL.encode(text)).unwrap())
    }

    /// CCH-08: what is known of headers is bounded, and is known by the whole of the text.
    #[test]
    fn the_latest_headers_are_known_by_every_letter() {
        let mut known = KnownHeaders::default();
        for number in 0..MAX_KNOWN * 2 {
            let latest = header(&format!(r#"{{"alg":"RS256","kid":"{number}"}}"#));
            known.keep(&latest);
            known.keep(&latest);
            let found = known.get(&latest.text).unwrap();
            assert_eq!(found.key_id.as_deref(), Some(number.to_string().as_str()));
            assert!(known.get(latest.text.strip_suffix(|_| true).unwrap()).is_none());
        }
        assert_eq!(known.0.len(), MAX_KNOWN);
        let first = header(r#"{"alg":"RS256","kid":"0"}"#);
        assert!(known.get(&first.text).is_none());
        let long = header(&format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "a".repeat(MAX_KNOWN_BYTES)));
        known.keep(&long);
        assert!(known.get(&long.text).is_none());
    }
}
