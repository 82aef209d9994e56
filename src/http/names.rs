//! The names in a request that are the filter's own: every one that it can write, under any policy, and every place that a
//! token is read from.
//!
//! Services read requests in many ways, and some search where others parse. So a name is searched for here, in every
//! spelling, and only then is asked what it is part of. The invariant: what goes on holds none of these names where a reader
//! could find it, but for the filter's own writing and the places of tokens as the operator spells them.

use crate::http::cookie::{Cookie, cookies};
use crate::http::escapes::without_unit_escapes;
use crate::http::query::{Parameter, Target};
use crate::http::{Headers, Request};
use percent_encoding::percent_decode;
use std::borrow::Cow;
use std::ops::Range;
use std::rc::Rc;

/// The filter's own names. What a client sends under one that the filter writes is a forgery; what it sends under another
/// spelling of a token's place is a token that nobody proved.
#[derive(Debug)]
pub struct ReservedNames {
    headers: Names,
    cookies: Names,
    parameters: Names,
}

/// What a parameter of the query is to the filter.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Nothing.
    Foreign,
    /// Named by one of the filter's own names: it is removed.
    Own,
    /// Somebody else's to some readers, while others find one of the filter's names in it.
    Mixed,
}

/// Where something stands: the four locations of the configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Placement {
    /// A header.
    Header,
    /// A cookie.
    Cookie,
    /// A parameter of the query.
    QueryString,
    /// Envoy's dynamic metadata.
    Metadata,
}

impl ReservedNames {
    /// The names that the filter writes under, and those of the places that tokens are read from.
    pub fn new<'n>(
        written: impl IntoIterator<Item = (Placement, &'n str)>,
        read: impl IntoIterator<Item = (Placement, &'n str)>,
    ) -> Self {
        // Rack, qs and PHP begin an index at a bracket, PHP ends a name at a NUL; for parameters, qs and picoquery can be told
        // to begin one at a dot, and query-string at a colon.
        let mut own =
            Self { headers: Names::new(b""), cookies: Names::new(b"[]\0"), parameters: Names::new(b"[].:\0") };
        written.into_iter().for_each(|(placement, name)| own.add(placement, name, true));
        read.into_iter().for_each(|(placement, name)| own.add(placement, name, false));
        own
    }

    fn add(&mut self, placement: Placement, name: &str, is_written: bool) {
        match placement {
            Placement::Header => self.headers.add(name, is_written),
            Placement::Cookie => self.cookies.add(name, is_written),
            Placement::QueryString => self.parameters.add(name, is_written),
            // Its header is one of those that `is_own_header` knows by their beginning.
            Placement::Metadata => {}
        }
    }

    /// These, and the names of what goes from every request, for which nothing is written.
    pub fn and<'n>(mut self, removed: impl IntoIterator<Item = (Placement, &'n str)>) -> Self {
        removed.into_iter().for_each(|(placement, name)| self.add(placement, name, true));
        self
    }

    /// The headers that the filter alone may write.
    pub fn written_headers(&self) -> impl Iterator<Item = &str> {
        self.headers.all.iter().filter(|own| own.is_written).map(|own| &*own.text)
    }

    /// Whether the filter writes cookies to requests.
    pub fn writes_cookies(&self) -> bool {
        self.cookies.all.iter().any(|own| own.is_written)
    }

    /// Whether a header of this name is removed from every request.
    pub fn is_own_header(&self, name: &[u8]) -> bool {
        is_handoff(name) || self.headers.like(name).any(|own| own.is_written || !self.headers.is_place(name))
    }

    /// Whether a trailer of this name is removed: an upstream that merges trailers into headers would read an identity,
    /// a token, cookies or an operation that nobody looked at.
    pub fn is_own_trailer(&self, name: &[u8]) -> bool {
        is_handoff(name)
            || name == b"cookie"
            || is_unproved_token(name)
            || tells_operation(name)
            || self.headers.like(name).next().is_some()
    }

    /// Whether any cookie may have to be removed. Cheap: nothing is parsed.
    pub fn may_be_in_cookies(&self, headers: &Headers) -> bool {
        !self.cookies.all.is_empty() && headers.all("cookie").any(|field| self.cookies.may_be_in(field))
    }

    /// Whether a pair of a `Cookie` header is removed from every request.
    ///
    /// A pair of RFC 6265 is its name's; but a value with one of the filter's names before a `=` is one to a reader that
    /// searches. Anything else is read by each in his own way: WebOb's expression begins a name behind any sign that no name
    /// has (`a"identity=x`), .NET at a comma, Python at white space.
    pub fn is_own_cookie(&self, cookie: &Cookie) -> bool {
        let own = &self.cookies;
        if !own.may_be_in(cookie.pair) {
            return false;
        }
        let is_place = own.is_place(cookie.name);
        own.are_alike(cookie.name, |name| name.is_written || !is_place)
            || own.are_behind_encoded_semicolons(cookie, is_place)
            || if cookie.is_well_formed() {
                own.names_a_part_of(cookie.value)
            } else {
                own.are_held_by(if is_place { cookie.value } else { cookie.pair })
            }
    }

    /// Whether any of them is a parameter's.
    pub fn has_parameters(&self) -> bool {
        !self.parameters.all.is_empty()
    }

    /// Whether any parameter of a query may have to be removed. Cheap: nothing is parsed.
    pub fn may_be_in_query(&self, query: &[u8]) -> bool {
        self.has_parameters() && self.parameters.may_be_in(query)
    }

    /// What is to be done with this parameter, as it was sent.
    pub fn standing(&self, sent: &[u8]) -> Standing {
        let own = &self.parameters;
        if !own.may_be_in(sent) {
            return Standing::Foreign;
        }
        if sent.contains(&b';') {
            // To some readers, each part is a parameter; to others, one of the names may hold the semicolon.
            let is_whole = own.are_alike(Parameter::parse(sent).raw_name(), |_| true);
            let mut parts = sent.split(|byte| *byte == b';');
            let is_mixed = is_whole || parts.any(|part| self.could_be_own(part) || self.are_behind_commas(part));
            return if is_mixed { Standing::Mixed } else { Standing::Foreign };
        }
        let parameter = Parameter::parse(sent);
        if self.are_behind_commas(sent) {
            return Standing::Mixed;
        }
        let is_place = own.is_place(&parameter.name());
        if own.are_alike(parameter.raw_name(), |name| name.is_written || !is_place) {
            Standing::Own
        } else if self.are_hidden_in(&parameter) {
            Standing::Mixed
        } else {
            Standing::Foreign
        }
    }

    /// Whether two readers could find different parameters in a request target, of which one has a name of the filter's.
    pub fn are_ambiguous_in(&self, target: &[u8]) -> bool {
        if !self.has_parameters() {
            return false;
        }
        let Target { query, fragment, .. } = Target::parse(target);
        // RFC 9112, section 3.2: no target has a fragment. To most services, its parameters are the query's.
        let mut behind = fragment.split(|byte| *byte == b'&');
        let first =
            behind.next().filter(|_| query.is_none()).and_then(|first| first.splitn(2, |byte| *byte == b'?').nth(1));
        query.is_some_and(|query| self.may_be_in_query(query) && self.are_mixed_into(query))
            || first.into_iter().chain(behind).any(|sent| self.could_be_own(sent))
    }

    fn are_mixed_into(&self, query: &[u8]) -> bool {
        query.split(|byte| *byte == b'&').any(|sent| self.standing(sent) == Standing::Mixed)
    }

    /// Whether a comma parts one of the names from the rest of a parameter: qs can be told that parameters end there. A list of
    /// words is everybody's, and none in a value names anything without a `=`.
    fn are_behind_commas(&self, sent: &[u8]) -> bool {
        let length_of_name = Parameter::parse(sent).raw_name().len();
        let mut start = 0_usize;
        sent.contains(&b',')
            && sent.split(|byte| *byte == b',').enumerate().any(|(index, part)| {
                let end = start.saturating_add(part.len());
                let is_of_name = end < length_of_name || index > 0 && start <= length_of_name;
                let is_parameter = is_of_name || index > 0 && part.contains(&b'=');
                start = end.saturating_add(1);
                is_parameter && self.could_be_own(part)
            })
    }

    /// Whether a reader could find one of the names in what is no parameter by itself.
    fn could_be_own(&self, part: &[u8]) -> bool {
        let parameter = Parameter::parse(part);
        self.parameters.are_alike(parameter.raw_name(), |_| true) || self.are_hidden_in(&parameter)
    }

    /// Whether one of the names stands in a parameter that is none of RFC 3986.
    fn are_hidden_in(&self, parameter: &Parameter) -> bool {
        let (name, value) = (parameter.raw_name(), parameter.raw_value());
        // What has no name of its own may get that of its value.
        let signs = value.iter().position(|byte| *byte != b'=').unwrap_or(value.len());
        let behind = value.get(signs..).filter(|behind| name.is_empty() && !behind.is_empty());
        !is_plain_name(name) && self.parameters.are_held_by(name)
            || !value.iter().all(is_query_byte) && self.parameters.are_held_by(value)
            || behind.is_some_and(|behind| self.could_be_own(behind))
    }

    /// Whether something stands under another spelling of a token's place: a token, to services that take one for the other.
    pub fn hold_a_misspelled_token(&self, request: &Request) -> bool {
        self.misspell_a_header(&request.headers)
            || self.cookies.reads() && self.misspell_a_cookie(&request.headers)
            || self.parameters.reads() && self.misspell_a_parameter(&Target::parse(request.path().unwrap_or_default()))
    }

    fn misspell_a_header(&self, headers: &Headers) -> bool {
        self.headers.all.iter().filter(|own| !own.is_written && own.has_spellings()).any(|own| {
            headers.iter().any(|(name, _)| same_spelling(own.text.as_bytes(), name) && !self.headers.is_place(name))
        })
    }

    fn misspell_a_cookie(&self, headers: &Headers) -> bool {
        self.may_be_in_cookies(headers)
            && cookies(headers).any(|cookie| {
                !self.cookies.is_place(cookie.name) && self.cookies.are_alike(cookie.name, |name| !name.is_written)
            })
    }

    fn misspell_a_parameter(&self, target: &Target) -> bool {
        self.may_be_in_query(target.query.unwrap_or_default())
            && target.parameters().any(|parameter| {
                !self.parameters.is_place(&parameter.name())
                    && self.parameters.are_alike(parameter.raw_name(), |name| !name.is_written)
            })
    }
}

/// Whether a header is one in which proxies hand on a token that they have proved, or that is for them: a service may
/// believe it unproved.
pub fn is_unproved_token(header: &[u8]) -> bool {
    UNPROVED_TOKENS.iter().any(|name| same_spelling(name.as_bytes(), header))
}

/// RFC 9110, section 11.7.2; mod_auth_openidc's; those of the plugins of Kong and APISIX; oauth2-proxy's; those of Amazon's load
/// balancer and of Azure's App Service; and where API gateways (Google's) and proxies put a client's `Authorization`.
const UNPROVED_TOKENS: [&str; 17] = [
    "proxy-authorization",
    "oidc-access-token",
    "oidc-id-token",
    "oidc-refresh-token",
    "x-access-token",
    "x-amzn-oidc-accesstoken",
    "x-auth-request-access-token",
    "x-auth-request-id-token",
    "x-forwarded-access-token",
    "x-forwarded-id-token",
    "x-id-token",
    "x-ms-token-aad-access-token",
    "x-ms-token-aad-id-token",
    "x-ms-token-aad-refresh-token",
    "x-refresh-token",
    "x-forwarded-authorization",
    "x-original-authorization",
];

/// The names of one kind of place.
#[derive(Debug)]
struct Names {
    all: Vec<Name>,
    /// Of each byte, whether a spelling of one of them can begin with it.
    firsts: Vec<bool>,
    /// Of each length below 64, whether one of them has it; the last bit is for all others.
    lengths: u64,
    /// What ends the name of a list or an object of which one element is named.
    indices: &'static [u8],
}

/// A name, and whether the filter writes it; if not, it is a token's place, and its exact spelling is good.
#[derive(Debug, Eq, PartialEq)]
struct Name {
    text: Rc<str>,
    is_written: bool,
    /// Whether this is how another reader writes the name: `x.y` for `x[y]`, and `list` for `list[]`.
    is_alias: bool,
}

impl Name {
    /// Whether it can be spelled otherwise: Envoy hands over names in lower case.
    fn has_spellings(&self) -> bool {
        self.text.bytes().any(|byte| !byte.is_ascii_alphanumeric())
    }

    /// Where it ends in a text, in some spelling, if it begins there.
    fn span_from(&self, start: usize, text: &[u8]) -> Option<Range<usize>> {
        let span = start..start.checked_add(self.text.len())?;
        same_spelling(self.text.as_bytes(), text.get(span.clone())?).then_some(span)
    }
}

impl Names {
    fn new(indices: &'static [u8]) -> Self {
        Self { all: Vec::new(), firsts: vec![false; 256], lengths: 0, indices }
    }

    /// Adds a name that is not there yet: many policies write under the same ones.
    fn add(&mut self, text: &str, is_written: bool) {
        self.insert(Name { text: Rc::from(text), is_written, is_alias: false });
        let dotted = self.dotted(text.as_bytes()).and_then(|dotted| String::from_utf8(dotted).ok());
        let alias = dotted.as_deref().map(|dotted| dotted.trim_matches('.')).filter(|dotted| !dotted.is_empty());
        if let Some(alias) = alias {
            self.insert(Name { text: Rc::from(alias), is_written, is_alias: true });
        }
    }

    fn insert(&mut self, name: Name) {
        if self.all.contains(&name) {
            return;
        }
        let first = name.text.as_bytes().get(..1);
        for (can_begin, byte) in self.firsts.iter_mut().zip(0..=u8::MAX) {
            *can_begin |= first.is_some_and(|first| same_spelling(first, &[byte]));
        }
        self.lengths |= bit_of_length(name.text.as_bytes());
        self.all.push(name);
    }

    /// Those that a text could be a spelling of: none, for nearly all texts.
    fn like(&self, text: &[u8]) -> impl Iterator<Item = &Name> {
        let could_be = self.lengths & bit_of_length(text) != 0 && text.first().is_none_or(|byte| self.can_begin(*byte));
        let all = if could_be { self.all.as_slice() } else { &[] };
        all.iter().filter(move |own| same_spelling(own.text.as_bytes(), text))
    }

    fn can_begin(&self, byte: u8) -> bool {
        self.firsts.get(usize::from(byte)).copied().unwrap_or_default()
    }

    fn is_place(&self, name: &[u8]) -> bool {
        self.all.iter().any(|own| !own.is_written && !own.is_alias && own.text.as_bytes() == name)
    }

    /// A name with brackets as a reader has it to whom dots mean the same: qs with `allowDots` makes one object of `x[y]` and
    /// `x.y`.
    fn dotted(&self, name: &[u8]) -> Option<Vec<u8>> {
        (self.indices.contains(&b'.') && name.iter().any(is_bracket)).then(|| {
            let opening = name.iter().filter(|byte| **byte != b']');
            opening.map(|byte| if *byte == b'[' { b'.' } else { *byte }).collect()
        })
    }

    fn reads(&self) -> bool {
        self.all.iter().any(|own| !own.is_written)
    }

    /// Whether a text must be read with care.
    fn may_be_in(&self, text: &[u8]) -> bool {
        text.contains(&b'%')
            || !text.is_ascii()
            || self.are_in(text)
            || self.dotted(text).is_some_and(|text| self.are_in(&text))
    }

    fn are_in(&self, text: &[u8]) -> bool {
        self.found_in(text).next().is_some()
    }

    /// Wherever one of them stands in a text, in some spelling.
    fn found_in<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = (&'t Name, Range<usize>)> {
        let starts = text.iter().enumerate().filter(|(_, byte)| self.can_begin(**byte)).map(|(start, _)| start);
        starts.flat_map(move |start| self.all.iter().filter_map(move |own| Some((own, own.span_from(start, text)?))))
    }

    /// Whether an upstream could read a whole name as one of those that are `meant`, or as an element of it. Python and
    /// JavaScript trim what Unicode calls white space, also where it is one byte of Latin-1; PHP passes over spaces before a name;
    /// PHP 7 decodes `+` in a cookie's; Rack and qs take brackets around a name for nothing, `URLSearchParams` passes over a
    /// second `?`, and qs over a dot if told to read dots. Spring binds `!name` where there is no `name`. ASP.NET takes upper case for
    /// lower case.
    fn are_alike(&self, text: &[u8], meant: impl Fn(&Name) -> bool) -> bool {
        let mut texts = readings(text).flat_map(|text| {
            let dotted = self.dotted(&text).map(Cow::Owned);
            [Some(text), dotted].into_iter().flatten()
        });
        texts.any(|text| {
            let mut begin = behind_edge(&text, 0);
            while let Some(end) = self.end_of_inherited(&text, begin) {
                begin = behind_edge(&text, end);
            }
            let last = text.iter().rposition(|byte| !is_edge(byte)).unwrap_or_default();
            self.found_in(&text).any(|(own, span)| {
                meant(own) && span.start <= begin && (span.end > last || self.begins_index(&text, span.end))
            })
        })
    }

    /// Where the index behind a name begins that all of JavaScript's objects have: picoquery passes over it, and makes a
    /// parameter of its own of what is named behind it.
    fn end_of_inherited(&self, text: &[u8], start: usize) -> Option<usize> {
        let behind = text.get(start..)?;
        let inherited = INHERITED.iter().find(|inherited| behind.starts_with(inherited.as_bytes()))?;
        let end = start.checked_add(inherited.len())?;
        self.begins_index(text, end).then_some(end)
    }

    /// Whether the name of a list or an object ends here.
    fn begins_index(&self, text: &[u8], at: usize) -> bool {
        text.get(at).is_some_and(|byte| self.indices.contains(byte))
    }

    /// Whether one of them stands in a text as a word, or where a reader that has just ended a value begins a name. To WebOb,
    /// a date is a value that can end within a word: `a=Thu, 01-Jan-2026 00:00:00 GMTidentity=x`.
    fn are_held_by(&self, text: &[u8]) -> bool {
        readings(text).any(|text| {
            self.found_in(&text).any(|(_, span)| {
                let behind = text.get(span.end..).unwrap_or_default();
                !behind.first().is_some_and(is_of_word)
                    && (begins_word(&text, span.start) || behind.trim_ascii_start().starts_with(b"="))
            })
        })
    }

    /// Whether one of them names a pair of a cookie whose escapes are decoded before it is parted: the way of a script that
    /// many have copied, `decodeURIComponent(cookie).split(';')`.
    fn are_behind_encoded_semicolons(&self, cookie: &Cookie, is_place: bool) -> bool {
        cookie.pair.contains(&b'%')
            && readings(cookie.pair).skip(1).any(|pair| {
                let mut names =
                    pair.split(|byte| *byte == b';').map(|pair| Parameter::parse(pair.trim_ascii()).raw_name());
                let first = names.next().filter(|_| !is_place);
                first.into_iter().chain(names).any(|name| self.are_alike(name, |_| true))
            })
    }

    /// Whether one of them stands before a `=` in a value.
    fn names_a_part_of(&self, value: &[u8]) -> bool {
        let mut parts = value.split(|byte| *byte == b'=');
        let behind_last = parts.next_back();
        behind_last.is_some() && parts.any(|part| self.are_at_the_end_of(part))
    }

    /// Whether the last word of a text is one of them.
    fn are_at_the_end_of(&self, text: &[u8]) -> bool {
        readings(text).any(|text| {
            let last = text.iter().rposition(is_of_word).unwrap_or_default();
            self.found_in(&text).any(|(_, span)| span.end > last && begins_word(&text, span.start))
        })
    }
}

/// What every object of JavaScript inherits.
const INHERITED: [&str; 3] = ["__proto__", "prototype", "constructor"];

/// A text as it is, and decoded once and twice, if that makes a difference: `%uXXXX` is read by Perl's CGI and by IIS. Each also
/// with letters for those that are ASCII to whoever ignores case: to Java, `ı` is an `i`.
fn readings(text: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    std::iter::successors(Some(Cow::Borrowed(text)), |text| decoded(text).map(Cow::Owned)).take(3).flat_map(|text| {
        let letters = with_ascii_letters(&text).map(Cow::Owned);
        [Some(text), letters].into_iter().flatten()
    })
}

fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    text.contains(&b'%').then(|| {
        let read = without_unit_escapes(text);
        percent_decode(read.as_deref().unwrap_or(text)).collect()
    })
}

/// A text with the letters of ASCII that some make of others when they ignore case, as Java's `equalsIgnoreCase` does.
fn with_ascii_letters(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_ascii() {
        return None;
    }
    let mut letters = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let folds = FOLDED.iter().find_map(|(from, to)| Some((to.as_bytes(), rest.strip_prefix(from.as_bytes())?)));
        let (folded, behind) = folds.unwrap_or((std::slice::from_ref(byte), after));
        letters.extend_from_slice(folded);
        rest = behind;
    }
    (letters != text).then_some(letters)
}

/// Unicode's `CaseFolding.txt` and `SpecialCasing.txt`, and what upper or lower case makes of a dotless and a dotted i. JavaScript and
/// Python make two letters of one: `"acceß".toUpperCase()` is `"ACCESS"`.
const FOLDED: [(&str, &str); 13] = [
    ("\u{131}", "i"),
    ("\u{130}", "i"),
    ("\u{17f}", "s"),
    ("\u{212a}", "k"),
    ("\u{df}", "ss"),
    ("\u{1e9e}", "ss"),
    ("\u{fb00}", "ff"),
    ("\u{fb01}", "fi"),
    ("\u{fb02}", "fl"),
    ("\u{fb03}", "ffi"),
    ("\u{fb04}", "ffl"),
    ("\u{fb05}", "st"),
    ("\u{fb06}", "st"),
];

fn bit_of_length(text: &[u8]) -> u64 {
    1_u64.wrapping_shl(u32::try_from(text.len()).unwrap_or(u32::MAX).min(63))
}

/// Where a name can begin that stands from here on: behind what some pass over.
fn behind_edge(text: &[u8], start: usize) -> usize {
    let behind = text.get(start..).unwrap_or_default();
    behind.iter().position(|byte| !is_edge(byte)).map_or(text.len(), |at| at.saturating_add(start))
}

fn is_edge(byte: &u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b'[' | b']' | b'+' | b'?' | b'.' | b'!')
}

fn begins_word(text: &[u8], start: usize) -> bool {
    !start.checked_sub(1).and_then(|before| text.get(before)).is_some_and(is_of_word)
}

fn is_of_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

/// RFC 3986, section 3.4, and the brackets that everybody sends.
fn is_query_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/?[]%".contains(byte)
}

/// Whether a parameter's name is one to every reader: no byte in it that ends one, even when it is decoded twice, and no bracket that
/// has no other.
fn is_plain_name(name: &[u8]) -> bool {
    name.iter().all(is_query_byte)
        && readings(name).all(|name| !name.iter().any(is_separator) && has_pairs_of_brackets(&name))
}

fn is_separator(byte: &u8) -> bool {
    byte.is_ascii_control() || b"&;=?#\"\\<>{}|^`".contains(byte)
}

fn is_bracket(byte: &u8) -> bool {
    matches!(byte, b'[' | b']')
}

fn has_pairs_of_brackets(name: &[u8]) -> bool {
    let mut brackets = name.iter().filter(|byte| is_bracket(byte));
    while let Some(bracket) = brackets.next() {
        if *bracket != b'[' || brackets.next() != Some(&b']') {
            return false;
        }
    }
    true
}

/// Whether an upstream could read two names as one: CGI and its heirs upper-case letters and make one sign of
/// everything that is neither letter nor digit (RFC 3875, section 4.1.18).
pub fn same_spelling(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(o, n)| o == n || folded(*o) == folded(*n))
}

const fn folded(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' }
}

/// Whether a header of this name tells an operation of MCP, in whatever spelling: CGI and its heirs know no difference between a
/// dash and an underscore.
pub fn tells_operation(name: &[u8]) -> bool {
    ["mcpmethod", "mcpname", "mcpprotocolversion"].iter().any(|known| letters(name).eq(known.bytes()))
}

/// Letters and digits in lower case: CGI and its heirs tell names apart by nothing else (RFC 3875, section 4.1.18).
pub fn letters(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase)
}

/// Whether this is a header that Envoy's `header_to_metadata` filter may read, for whichever key.
pub fn is_handoff(name: &[u8]) -> bool {
    let beginning = name.get(..HANDOFF_PREFIX.len());
    beginning.is_some_and(|beginning| same_spelling(HANDOFF_PREFIX.as_bytes(), beginning))
}

/// The header that hands metadata over is this and the key.
pub const HANDOFF_PREFIX: &str = "x-oidc-metadata-";

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A header, a cookie and a parameter that are written, and as many that tokens are read from; empty for none.
    pub(crate) fn names(written: [&str; 3], read: [&str; 3]) -> ReservedNames {
        let placed = |names| {
            let placements = [Placement::Header, Placement::Cookie, Placement::QueryString];
            placements.into_iter().zip(names).filter(|(_, name): &(Placement, &str)| !name.is_empty())
        };
        ReservedNames::new(placed(written), placed(read))
    }

    /// HDR-04: what rules most names out at a glance rules out none that is one.
    #[test]
    fn a_name_is_known_whatever_its_length() {
        let long = "x-".repeat(300);
        for own in ["a", "x-user", "X-User", "-x-", &long[..62], &long[..63], &long[..64], &long[..65], &long] {
            let names = names([own, "", ""], [""; 3]);
            for sent in [own.to_owned(), own.to_uppercase(), own.to_lowercase(), own.replace('-', "_")] {
                assert!(names.is_own_header(sent.as_bytes()) && names.is_own_trailer(sent.as_bytes()), "{sent}");
            }
            for other in [String::new(), "y".repeat(own.len()), format!("{own}x"), own[..own.len() - 1].to_owned()] {
                assert!(!names.is_own_header(other.as_bytes()), "{own}: {other}");
            }
        }
    }
}
