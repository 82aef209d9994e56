//! Where a token is in a request: RFC 6750, section 2, and the places beyond it that the configuration names.
//!
//! The invariant: at most one token is ever taken from a request. Two of them, wherever they are, or one in a form that
//! two readers could read differently, are a malformed request, never a choice.

mod digest;

pub use digest::TokenDigest;

use crate::config::{TokenLocation, TokenSource};
use crate::http::Request;
use crate::http::cookie::{cookies, unquoted};
use crate::http::names::ReservedNames;
use crate::http::query::Target;
use crate::http::websocket::{self, Unclear};
use std::borrow::Cow;
use std::fmt;
use std::rc::Rc;

/// An access token as it was sent. Never printed.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct Token(Rc<str>);

impl Token {
    /// A text to ask a provider about that is nobody's token.
    pub fn nobodys() -> Self {
        Self(Rc::from("oidc-filter-health-check"))
    }

    /// The token's text, which proves nothing yet.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it begins as refresh tokens and codes do at providers that say so in how each kind begins.
    pub fn is_of_another_kind(&self) -> bool {
        REFRESH_TOKENS.iter().any(|beginning| self.0.starts_with(beginning)) || is_ticket_of_cas(&self.0)
    }

    /// What a cache knows the token by.
    pub fn digest(&self) -> TokenDigest {
        TokenDigest::of(self.0.as_bytes())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}

/// What stands where a token belongs, and the place that it was found in.
///
/// Its characters are looked at only when somebody asks for the token. One that is known by its digest alone is a JWT whose
/// signature was verified: that it is made of base64url and dots, which is good in any place, has been seen then.
#[derive(Clone, Eq, PartialEq)]
pub struct Credentials<'r> {
    text: Cow<'r, [u8]>,
    syntax: Syntax,
    /// The scheme that it was sent under.
    pub scheme: AuthScheme,
    /// The token's digest.
    pub digest: TokenDigest,
    /// Its source in the configuration.
    pub source: &'r Rc<TokenSource>,
}

/// The authentication scheme that a token was sent under.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum AuthScheme {
    /// That of RFC 6750, or another that the configuration names.
    Bearer,
    /// That of RFC 9449, section 7.1.
    Dpop,
    /// None: the place says that it is a token.
    None,
}

/// What a token is made of, in a kind of place.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Syntax {
    /// Behind a scheme: RFC 6750, section 2.1.
    Token68,
    /// Alone: visible ASCII, and no comma, with which proxies join two values of one header.
    Plain,
}

impl Syntax {
    fn at(location: &TokenLocation) -> Self {
        match location {
            TokenLocation::Header { scheme: Some(_), .. } => Self::Token68,
            _ => Self::Plain,
        }
    }
}

impl Credentials<'_> {
    /// The token, for those whom the digest doesn't tell enough; or why this is none.
    pub fn token(&self) -> Result<Token, Error> {
        let is_token = match self.syntax {
            Syntax::Token68 => {
                let end = self.text.iter().rposition(|byte| *byte != b'=');
                let characters = end.and_then(|end| self.text.get(..=end));
                characters.is_some_and(|characters| characters.iter().all(is_token68))
            }
            Syntax::Plain => self.text.iter().all(|byte| byte.is_ascii_graphic() && *byte != b','),
        };
        match std::str::from_utf8(&self.text) {
            Ok(text) if is_token => Ok(Token(Rc::from(text))),
            _ => Err(not_a_token(&self.text)),
        }
    }
}

/// Without the digest, by which a short token could be guessed.
impl fmt::Debug for Credentials<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("source", &self.source.index).finish_non_exhaustive()
    }
}

/// Why a request has no usable token although something stands where tokens are looked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// What stands there is empty, or may be more than one token.
    Malformed,
    /// What stands there can't be a token: it has characters that no token has.
    NoToken,
    /// What stands there is longer than a token may be.
    TooLong,
    /// There is more than one.
    Several,
    /// The header has an authentication scheme that is not ours (RFC 9110, section 11.4).
    UnsupportedScheme,
}

/// Where tokens are looked for, and which.
pub struct Places<'p> {
    /// The places.
    pub sources: &'p [Rc<TokenSource>],
    /// Their names: a token in one of them under another spelling is a second one.
    pub own: &'p ReservedNames,
    /// How long a token may be, in bytes.
    pub max_size: usize,
    /// Where bearer tokens are looked for, tokens come under the scheme DPoP, too.
    pub takes_dpop: bool,
}

/// What may be the only token of the request; `None` if nothing stands in any of the places.
pub fn find<'r>(request: &'r Request, places: &Places<'r>) -> Result<Option<Credentials<'r>>, Error> {
    let mut found: Option<Credentials> = None;
    let mut unsupported = Vec::new();
    let mut metadata = request.metadata.iter();
    for source in places.sources {
        let (scheme, text) = match read(request, &mut metadata, &source.location, places) {
            Ok(Some(read)) => read,
            Ok(None) => continue,
            Err(Error::UnsupportedScheme) => {
                unsupported.push(source);
                continue;
            }
            Err(error) => return Err(error),
        };
        if found.is_some() {
            return Err(Error::Several);
        }
        check_size(&text, places.max_size)?;
        let (digest, syntax) = (TokenDigest::of(&text), Syntax::at(&source.location));
        found = Some(Credentials { digest, text, syntax, scheme, source });
    }
    // A header that one source can't read may be another one's: the same name with another scheme.
    if unsupported.iter().any(|source| !found.as_ref().is_some_and(|found| is_same_header(source, found.source))) {
        return Err(Error::UnsupportedScheme);
    }
    if found.is_some() && places.own.hold_a_misspelled_token(request) {
        return Err(Error::Several);
    }
    Ok(found)
}

/// What stands in a place, and the scheme that it was sent under.
type Sent<'r> = (AuthScheme, Cow<'r, [u8]>);

/// What stands in one place; `None` if nothing does. Of the metadata, each place takes the next.
fn read<'r>(
    request: &'r Request,
    metadata: &mut impl Iterator<Item = &'r Option<Vec<u8>>>,
    location: &'r TokenLocation,
    places: &Places,
) -> Result<Option<Sent<'r>>, Error> {
    let text = match location {
        TokenLocation::Header { name, scheme: Some(expected) } => {
            let takes_dpop = places.takes_dpop && !has_place_for_dpop(places.sources, name);
            let schemes = if takes_dpop { with_dpop(expected) } else { [&**expected; 2] };
            let found = behind_scheme(request, name, schemes)?;
            return Ok(found.map(|(scheme, text)| (scheme, Cow::Borrowed(text))));
        }
        TokenLocation::Header { name, scheme: None } => one(request.headers.all(name))?.map(Cow::Borrowed),
        TokenLocation::Cookie { name } => in_cookie(request, name)?.map(Cow::Borrowed),
        TokenLocation::Query { name } => in_query(request, name)?,
        TokenLocation::WebSocketProtocol { marker } => {
            websocket::read(&request.headers, marker)?.map(|offer| offer.token)
        }
        TokenLocation::Metadata { .. } => metadata.next().and_then(Option::as_deref).map(Cow::Borrowed),
    };
    Ok(text.map(|text| (AuthScheme::None, text)))
}

fn check_size(text: &[u8], max_size: usize) -> Result<(), Error> {
    if text.is_empty() {
        return Err(Error::Malformed);
    }
    if text.len() <= max_size {
        return Ok(());
    }
    // Two tokens that are one text are two tokens, however long they are.
    Err(match not_a_token(text) {
        Error::NoToken => Error::TooLong,
        other => other,
    })
}

/// Whether two sources read headers of one name.
fn is_same_header(one: &TokenSource, other: &TokenSource) -> bool {
    match (&one.location, &other.location) {
        (TokenLocation::Header { name, .. }, TokenLocation::Header { name: other, .. }) => name == other,
        _ => false,
    }
}

/// The credentials of a header with the token under the scheme Bearer.
pub fn as_bearer(request: &Request, name: &str) -> Option<Vec<u8>> {
    let value = one(request.headers.all(name)).ok()??;
    let (_, token) = value.split_at_checked(value.iter().position(|byte| *byte == b' ')?)?;
    Some([BEARER.as_bytes(), b" ", token.trim_ascii_start()].concat())
}

/// The scheme of the request's own credentials, whether or not they are taken: what a challenge answers.
pub fn uses_dpop(request: &Request, sources: &[Rc<TokenSource>]) -> bool {
    sources.iter().any(|source| match &source.location {
        TokenLocation::Header { name, scheme: Some(expected) } => {
            let found = behind_scheme(request, name, with_dpop(expected));
            matches!(found, Ok(Some((AuthScheme::Dpop, _))))
        }
        _ => false,
    })
}

/// Whether somebody has written down that a header is looked at for the scheme DPoP, too.
fn has_place_for_dpop(sources: &[Rc<TokenSource>], header: &str) -> bool {
    sources.iter().any(|source| match &source.location {
        TokenLocation::Header { name, scheme: Some(scheme) } => **name == *header && scheme.eq_ignore_ascii_case(DPOP),
        _ => false,
    })
}

/// The schemes that tokens come under where they are looked for under this one.
fn with_dpop(scheme: &str) -> [&str; 2] {
    [scheme, if scheme.eq_ignore_ascii_case(BEARER) { DPOP } else { scheme }]
}

fn behind_scheme<'r>(
    request: &'r Request,
    name: &'r str,
    schemes: [&str; 2],
) -> Result<Option<(AuthScheme, &'r [u8])>, Error> {
    let Some(value) = one(request.headers.all(name))? else { return Ok(None) };
    // RFC 9110, section 11.4: scheme 1*SP token68. A comma would begin another challenge's credentials.
    let split = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
    let (given, token) = value.split_at(split);
    if given.is_empty() || !given.iter().all(u8::is_ascii_graphic) {
        return Err(Error::Malformed);
    }
    let is_dpop = given.eq_ignore_ascii_case(DPOP.as_bytes());
    if !schemes.iter().any(|scheme| given.eq_ignore_ascii_case(scheme.as_bytes())) {
        return Err(Error::UnsupportedScheme);
    }
    let scheme = if is_dpop { AuthScheme::Dpop } else { AuthScheme::Bearer };
    let spaces = token.iter().position(|byte| *byte != b' ').unwrap_or(token.len());
    Ok(Some((scheme, token.get(spaces..).unwrap_or_default())))
}

fn in_cookie<'r>(request: &'r Request, name: &str) -> Result<Option<&'r [u8]>, Error> {
    let values = cookies(&request.headers).filter(|cookie| cookie.name == name.as_bytes()).map(|cookie| cookie.value);
    Ok(one(values)?.map(unquoted))
}

fn in_query<'r>(request: &'r Request, name: &str) -> Result<Option<Cow<'r, [u8]>>, Error> {
    let target = Target::parse(request.path().unwrap_or_default());
    let named = target.parameters().filter(|parameter| *parameter.name() == *name.as_bytes());
    Ok(one(named)?.map(|parameter| parameter.value()))
}

impl From<Unclear> for Error {
    fn from(unclear: Unclear) -> Self {
        match unclear {
            Unclear::Several => Self::Several,
            Unclear::Malformed => Self::Malformed,
        }
    }
}

fn one<T>(mut items: impl Iterator<Item = T>) -> Result<Option<T>, Error> {
    match (items.next(), items.next()) {
        (_, Some(_)) => Err(Error::Several),
        (first, None) => Ok(first),
    }
}

/// Nothing, or what may be two things, is a fault of the request (RFC 6750, section 3.1: `invalid_request`); one thing
/// that is no token is a fault of the token.
fn not_a_token(value: &[u8]) -> Error {
    if value.is_empty() || value.iter().any(|byte| byte.is_ascii_whitespace() || *byte == b',') {
        Error::Malformed
    } else {
        Error::NoToken
    }
}

/// CAS puts the kind of a ticket before its number: `RT-12-…` is a refresh token, `OC-12-…` a code. Its introspection calls them active.
fn is_ticket_of_cas(text: &str) -> bool {
    let mut parts = text.split('-');
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    matches!(parts.next(), Some("RT" | "OC")) && parts.next().is_some_and(is_number) && parts.next().is_some()
}

/// Those of Ory's Fosite, and of Authelia, whose introspection says of them what it says of access tokens. No access token of theirs, nor
/// of others who draw theirs by lot, begins so.
const REFRESH_TOKENS: [&str; 2] = ["ory_rt_", "authelia_rt_"];

/// RFC 6750, section 2.1.
const BEARER: &str = "Bearer";

/// RFC 9449, section 7.1.
const DPOP: &str = "DPoP";

/// RFC 6750, section 2.1, but for the padding.
fn is_token68(byte: &u8) -> bool {
    TOKEN68.get(usize::from(*byte)).is_some_and(|is_one| *is_one)
}

/// Of each byte, whether it is one of those characters: a look takes a fraction of the time of comparisons, of which a token of a
/// thousand characters would need some thousands.
#[allow(clippy::indexing_slicing, reason = "a table of 256 has a place for each byte")]
const TOKEN68: [bool; 256] = {
    let mut table = [false; 256];
    let mut rest: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~+/";
    while let [character, others @ ..] = rest {
        table[*character as usize] = true;
        rest = others;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DEFAULT_MAX_TOKEN_SIZE;
    use crate::http::Headers;

    fn header(name: &str, scheme: Option<&str>) -> TokenSource {
        let location = TokenLocation::Header { name: Rc::from(name), scheme: scheme.map(str::to_owned) };
        source(location)
    }

    fn source(location: TokenLocation) -> TokenSource {
        TokenSource { index: 0, location, providers: None }
    }

    fn places<'p>(sources: &'p [Rc<TokenSource>], own: &'p ReservedNames) -> Places<'p> {
        Places { sources, own, max_size: DEFAULT_MAX_TOKEN_SIZE, takes_dpop: false }
    }

    fn found(source: TokenSource, headers: &[(&str, &str)]) -> Result<Option<String>, Error> {
        let request = Request { headers: Headers::from_pairs(headers.iter().copied()), ..Request::default() };
        let sources = [Rc::new(source)];
        let [source] = &sources;
        let own = ReservedNames::new([], source.location.in_request());
        let found = find(&request, &places(&sources, &own))?;
        found.map(|credentials| credentials.token().map(|token| token.as_str().to_owned())).transpose()
    }

    fn bearer(value: &str) -> Result<Option<String>, Error> {
        found(header("authorization", Some("Bearer")), &[("authorization", value)])
    }

    /// EXT-03.
    #[test]
    fn a_bearer_credential_has_one_syntax() {
        for good in ["Bearer a.b-c", "bearer a.b-c", "BEARER a.b-c", "Bearer    a.b-c"] {
            assert_eq!(bearer(good), Ok(Some("a.b-c".to_owned())), "{good}");
        }
        assert_eq!(bearer("Bearer ab+/~_=="), Ok(Some("ab+/~_==".to_owned())));
        for bad in ["", " ", "Bearer", "Bearer ", "Bearer a b", "Bearer a ", " Bearer a", "Bearer \ta"] {
            assert_eq!(bearer(bad), Err(Error::Malformed), "{bad:?}");
        }
        for joined in ["Bearer a,Bearer b", "Bearer a, Bearer b", "Bearer a,b", "Bearer\ta"] {
            assert_eq!(bearer(joined), Err(Error::Malformed), "{joined:?}");
        }
        for strange in ["Bearer =", "Bearer a=b", "Bearer \"a\"", "Bearer ä", "Bearer a\u{0}", "Bearer a%20b"] {
            assert_eq!(bearer(strange), Err(Error::NoToken), "{strange:?}");
        }
        for other in ["Basic dTpw", "BearerX abc", "BearerX", "Token abc", "Negotiate abc", "DPoP abc"] {
            assert_eq!(bearer(other), Err(Error::UnsupportedScheme), "{other}");
        }
    }

    /// EXT-01.
    #[test]
    fn two_values_are_never_a_choice() {
        let twice = [("authorization", "Bearer a"), ("authorization", "Bearer a")];
        assert_eq!(found(header("authorization", Some("Bearer")), &twice), Err(Error::Several));
        assert_eq!(found(header("x-token", None), &[("x-token", "a"), ("x-token", "b")]), Err(Error::Several));
        assert_eq!(found(header("x-token", None), &[("x-token", "a,b")]), Err(Error::Malformed));
    }

    /// EXT-07.
    #[test]
    fn a_cookie_holds_one_token_by_its_exact_name() {
        let cookie = || source(TokenLocation::Cookie { name: "t".to_owned() });
        assert_eq!(found(cookie(), &[("cookie", "a=b; t=\"x=\"; c")]), Ok(Some("x=".to_owned())));
        assert_eq!(found(cookie(), &[("cookie", "T=x; tt=y; =t=z")]), Ok(None));
        assert_eq!(found(cookie(), &[("cookie", "t=x; t=x")]), Err(Error::Several));
        assert_eq!(found(cookie(), &[("cookie", "t=x"), ("cookie", "t=y")]), Err(Error::Several));
        assert_eq!(found(cookie(), &[("cookie", "t=")]), Err(Error::Malformed));
    }

    /// EXT-06.
    #[test]
    fn a_query_parameter_holds_one_token_by_its_exact_name() {
        let query = || source(TokenLocation::Query { name: "access_token".to_owned() });
        let path = |path: &str| found(query(), &[(":path", path)]);
        assert_eq!(path("/p?a=1&access%5Ftoken=x%2By&b"), Ok(Some("x+y".to_owned())));
        assert_eq!(path("/p?Access_Token=x"), Ok(None));
        assert_eq!(path("/p?access_token=x&access_token=x"), Err(Error::Several));
        for bad in ["/p?access_token=", "/p?access_token", "/p?access_token=a+b", "/p?access_token=a%2Cb"] {
            assert_eq!(path(bad), Err(Error::Malformed), "{bad}");
        }
        for strange in ["/p?access_token=%00", "/p?access_token=%ff"] {
            assert_eq!(path(strange), Err(Error::NoToken), "{strange}");
        }
    }

    /// EXT-05.
    #[test]
    fn a_token_has_one_place() {
        let sources = [header("authorization", Some("Bearer")), header("x-token", None)].map(Rc::new);
        let headers = Headers::from_pairs([("authorization", "Bearer a"), ("x-token", "a")]);
        let own = ReservedNames::new([], sources.iter().filter_map(|source| source.location.in_request()));
        let find = |headers| {
            let request = Request { headers, ..Request::default() };
            find(&request, &places(&sources, &own)).err()
        };
        assert_eq!(find(headers), Some(Error::Several));
        let headers = Headers::from_pairs([("authorization", "Basic a"), ("x-token", "a")]);
        assert_eq!(find(headers), Some(Error::UnsupportedScheme));
    }

    /// ENC-14.
    #[test]
    fn a_token_too_long_to_be_one() {
        let longest = "a".repeat(DEFAULT_MAX_TOKEN_SIZE);
        assert_eq!(bearer(&format!("Bearer {longest}")), Ok(Some(longest.clone())));
        assert_eq!(bearer(&format!("Bearer {longest}a")), Err(Error::TooLong));
        assert_eq!(bearer(&format!("Bearer {longest},Bearer a")), Err(Error::Malformed));
    }
}
