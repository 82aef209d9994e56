//! The few HTTP words that the filter needs: a request's headers, a call to a provider, its answer.
//!
//! Header names and values are bytes (RFC 9110, section 5.5, allows obs-text): nothing here assumes UTF-8,
//! and nothing from the wire can make it panic.

mod answer;
pub mod caching;
pub mod cookie;
mod document;
pub mod escapes;
pub mod names;
pub mod path;
mod preflight;
pub mod query;
pub mod uri;
pub mod websocket;

pub use answer::{Answer, Field, FieldName};
pub use document::Document;

use crate::time::Timestamp;
use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::time::{Duration, SystemTime};

/// A request or answer's header list, as the host hands it over: lower-case names, order and repetition kept.
#[derive(Clone, Default)]
pub struct Headers {
    bytes: Vec<u8>,
    fields: Vec<(Range<usize>, Range<usize>)>,
    /// The marks of all names. A request is asked for many headers that it doesn't have: whose mark is not here, no field has.
    marks: u64,
}

impl Headers {
    /// From a buffer in which so many fields lie, of which `next` tells where the next name and value are; `None` if it can't, or
    /// if that is beyond the end.
    pub fn from_spans(
        bytes: Vec<u8>,
        count: usize,
        mut next: impl FnMut(&[u8]) -> Option<(Range<usize>, Range<usize>)>,
    ) -> Option<Self> {
        let (mut fields, mut marks) = (Vec::with_capacity(count), 0);
        for _ in 0..count {
            let (name, value) = next(&bytes)?;
            marks |= mark(bytes.get(name.clone())?);
            fields.push((name, value));
        }
        Some(Self { bytes, fields, marks })
    }

    /// From names and values in order.
    pub fn from_pairs<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut headers = Self::default();
        for (name, value) in pairs {
            let name = headers.append(name.as_ref());
            let value = headers.append(value.as_ref());
            headers.marks |= mark(headers.slice(&name));
            headers.fields.push((name, value));
        }
        headers
    }

    /// Every name and value, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|(name, value)| (self.slice(name), self.slice(value)))
    }

    /// The values of every field called `name` (lower case), in order.
    pub fn all<'h>(&'h self, name: &'h str) -> impl Iterator<Item = &'h [u8]> {
        let name = name.as_bytes();
        let fields = if self.marks & mark(name) == 0 { &[] } else { self.fields.as_slice() };
        Named { headers: self, fields: fields.iter(), name }
    }

    /// The value of the first field called `name` (lower case).
    pub fn first<'h>(&'h self, name: &'h str) -> Option<&'h [u8]> {
        self.all(name).next()
    }

    /// The value of a header, as Envoy sees one that was sent more than once: joined by commas (RFC 9110, section 5.3).
    pub fn joined<'h>(&'h self, name: &'h str) -> Option<Cow<'h, [u8]>> {
        let mut values = self.all(name);
        let mut joined = Cow::Borrowed(values.next()?);
        for value in values {
            let joined = joined.to_mut();
            joined.push(b',');
            joined.extend_from_slice(value);
        }
        Some(joined)
    }

    /// The media type without parameters, in lower case; empty if there is none. Several fields of `content-type` that say the same
    /// are one, also where somebody has joined them with a comma; and some write a comma before a parameter.
    pub fn media_type(&self) -> String {
        let value = self.joined("content-type").unwrap_or_default();
        let essence = value.split(|byte| *byte == b';').next().unwrap_or_default();
        let essence = String::from_utf8_lossy(essence.trim_ascii()).to_ascii_lowercase();
        match essence.split_once(',').map(|(first, rest)| (first.trim(), rest)) {
            Some((first, rest)) if rest.split(',').all(|other| other.trim() == first || !other.contains('/')) => {
                first.to_owned()
            }
            _ => essence,
        }
    }

    /// How much memory the list holds, in bytes.
    pub fn size(&self) -> usize {
        self.bytes.len().saturating_add(self.fields.len().saturating_mul(size_of::<(Range<usize>, Range<usize>)>()))
    }

    fn append(&mut self, bytes: &[u8]) -> Range<usize> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        start..self.bytes.len()
    }

    fn slice(&self, span: &Range<usize>) -> &[u8] {
        self.bytes.get(span.clone()).unwrap_or_default()
    }
}

/// The values of the fields of one name. It is a type of its own so that there is one loop for all who ask.
struct Named<'h> {
    headers: &'h Headers,
    fields: std::slice::Iter<'h, (Range<usize>, Range<usize>)>,
    name: &'h [u8],
}

impl<'h> Iterator for Named<'h> {
    type Item = &'h [u8];

    fn next(&mut self) -> Option<&'h [u8]> {
        for (name, value) in self.fields.by_ref() {
            if name.len() == self.name.len() && self.headers.slice(name) == self.name {
                return Some(self.headers.slice(value));
            }
        }
        None
    }
}

/// One bit of sixty-four for each name: other names may have the same.
fn mark(name: &[u8]) -> u64 {
    let (first, last) = (name.first().copied().unwrap_or_default(), name.last().copied().unwrap_or_default());
    let length = u32::try_from(name.len()).unwrap_or(u32::MAX);
    1_u64.wrapping_shl(u32::from(first).wrapping_add(u32::from(last) << 1).wrapping_add(length))
}

/// Names only: a value may be a credential.
impl fmt::Debug for Headers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| String::from_utf8_lossy(name))).finish()
    }
}

/// What the filter sees of one request.
#[derive(Clone, Default)]
pub struct Request {
    /// The header list with its pseudo headers.
    pub headers: Headers,
    /// Envoy's dynamic metadata: one value for each metadata source of the configuration, in its order.
    pub metadata: Vec<Option<Vec<u8>>>,
    /// What Envoy says of the client's certificate on its connection, if the configuration asks about it: its SHA-256 in
    /// hexadecimal digits.
    pub certificate: Option<Vec<u8>>,
    /// The route that Envoy has chosen, if the configuration asks about it.
    pub route: Route,
    /// Whether something follows the headers.
    pub has_body: bool,
    /// What Envoy's own filter for the Model Context Protocol read in the body, if the configuration asks about it.
    pub mcp: Option<McpMetadata>,
}

/// The metadata of `envoy.filters.http.mcp` for a request that it took for one of MCP.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct McpMetadata {
    /// `method`.
    pub method: Option<Box<str>>,
    /// `params.name`.
    pub name: Option<Box<str>>,
    /// `params.uri`.
    pub uri: Option<Box<str>>,
}

/// A form of gRPC. A refusal has the same words in each, in other places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Grpc {
    /// Over HTTP/2. Envoy makes a reply of it.
    Native,
    /// From a browser, in octets.
    Web,
    /// From a browser, in base64.
    WebText,
}

/// What is known of a route.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Route {
    /// Its name.
    pub name: Option<Vec<u8>>,
    /// The rule that its metadata name.
    pub rule: Option<Vec<u8>>,
}

impl Request {
    /// `:method`, if there is exactly one.
    pub fn method(&self) -> Option<&[u8]> {
        only(self.headers.all(":method"))
    }

    /// Whether it opens a tunnel, in which nobody sees what its client says: by `CONNECT` (RFC 9110, section 9.3.6), or by an upgrade,
    /// of which Envoy leaves the header only where it carries it out. It makes one of an extended `CONNECT` (RFC 8441), too.
    pub fn opens_tunnel(&self) -> bool {
        self.method() == Some(TUNNEL_METHOD.as_bytes()) || self.headers.all("upgrade").any(is_tunnel_protocol)
    }

    /// `:authority`, which holds the host (RFC 9113, section 8.3.1).
    pub fn authority(&self) -> Option<&[u8]> {
        only(self.headers.all(":authority"))
    }

    /// `:path` with its query, if there is one. A CONNECT request has none.
    pub fn path(&self) -> Option<&[u8]> {
        self.headers.first(":path")
    }

    /// The port of a host that names none, by `:scheme` (RFC 9110, sections 4.2.1 and 4.2.2).
    pub fn default_port(&self) -> &'static str {
        match only(self.headers.all(":scheme")) {
            Some(b"https") => "443",
            _ => "80",
        }
    }

    /// The same with only the headers whose names are wanted, and without what its token may have come from elsewhere.
    pub fn with_headers(&self, is_wanted: impl Fn(&[u8]) -> bool) -> Self {
        let headers = Headers::from_pairs(self.headers.iter().filter(|(name, _)| is_wanted(name)));
        let (metadata, certificate, mcp) = (Vec::new(), None, None);
        Self { headers, metadata, certificate, mcp, route: self.route.clone(), has_body: self.has_body }
    }

    /// The same with another request line: what a proxy asks about.
    pub fn with_line(&self, method: &[u8], authority: &[u8], path: &[u8]) -> Self {
        let line: [(&[u8], &[u8]); 3] = [(b":method", method), (b":authority", authority), (b":path", path)];
        let others = self.headers.iter().filter(|(name, _)| !line.iter().any(|(replaced, _)| replaced == name));
        Self { headers: Headers::from_pairs(line.into_iter().chain(others)), ..self.clone() }
    }

    /// In which form of gRPC the client speaks, if it does. Envoy goes by the same field, to the letter.
    pub fn grpc(&self) -> Option<Grpc> {
        let form = self.headers.first("content-type")?.strip_prefix(b"application/grpc")?;
        match form {
            b"" | [b'+', ..] => Some(Grpc::Native),
            _ if form.starts_with(b"-web-text") => Some(Grpc::WebText),
            _ if form.starts_with(b"-web") => Some(Grpc::Web),
            _ => None,
        }
    }
}

/// Header names only: any value may be a credential.
impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request").field("headers", &self.headers).finish_non_exhaustive()
    }
}

/// The method that opens a tunnel.
pub const TUNNEL_METHOD: &str = "CONNECT";

/// Whether an upgrade to this protocol opens a tunnel. Behind all that are registered but WebSocket, a client speaks to any host, or
/// HTTP under any path: `connect-udp`, `connect-ip`, `TLS/1.0`, `h2c`. Nobody knows of others.
pub fn is_tunnel_protocol(protocol: &[u8]) -> bool {
    !protocol.trim_ascii().eq_ignore_ascii_case(b"websocket")
}

/// RFC 9110, section 5.6.2.
pub fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The one of them; `None` if there are more, or none.
pub fn only<T>(mut items: impl Iterator<Item = T>) -> Option<T> {
    let first = items.next()?;
    items.next().is_none().then_some(first)
}

/// One change of a header list on its way: of the request to the upstream, or of its response.
#[derive(Clone, Eq, PartialEq)]
pub enum Edit {
    /// Removes every field of this name.
    Remove(Vec<u8>),
    /// Makes this the only field of this name.
    Set(FieldName, Vec<u8>),
    /// Adds a field to those of this name: `Set-Cookie`, where each is its own.
    Add(FieldName, Vec<u8>),
}

/// Names only: a value may be a claim, or hold what else the client sent.
impl fmt::Debug for Edit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Remove(name) => write!(f, "Remove({:?})", String::from_utf8_lossy(name)),
            Self::Set(name, _) => write!(f, "Set({name:?})"),
            Self::Add(name, _) => write!(f, "Add({name:?})"),
        }
    }
}

/// Where a call to a provider goes: an Envoy cluster, and the request target for it.
#[derive(Clone, Eq, PartialEq)]
pub struct Endpoint {
    /// Name of the Envoy cluster.
    pub cluster: String,
    /// `https` or `http`.
    pub scheme: &'static str,
    /// Host, with the port unless it is the scheme's own.
    pub authority: String,
    /// Path, with the query if the URL has one.
    pub path: String,
}

/// Without the query, where `GET` puts the token.
impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.split('?').next().unwrap_or_default();
        write!(f, "{}://{}{path}", self.scheme, self.authority)
    }
}

/// One call to a provider.
#[derive(Clone)]
pub struct Fetch {
    /// Where it goes.
    pub endpoint: Endpoint,
    /// `GET` or `POST`.
    pub method: &'static str,
    /// Header fields beside the pseudo headers. They may hold credentials.
    pub headers: Vec<(&'static str, String)>,
    /// The body; may hold credentials.
    pub body: Vec<u8>,
    /// When Envoy gives up.
    pub timeout: Duration,
}

/// Neither headers nor body: both may hold credentials.
impl fmt::Debug for Fetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", self.method, self.endpoint)
    }
}

/// The answer to a [`Fetch`].
#[derive(Clone, Default)]
pub struct Response {
    /// Status code; 0 if there was none.
    pub status: u16,
    /// Header list.
    pub headers: Headers,
    /// The body, or its first [`MAX_ANSWER_BYTES`] + 1 bytes.
    pub body: Vec<u8>,
}

impl Response {
    /// `Cache-Control: max-age` (RFC 9111, section 5.2.2.1), zero for `no-cache` and `no-store`; `None` if the
    /// answer doesn't say.
    pub fn max_age(&self) -> Option<Duration> {
        let mut shortest = None;
        for value in self.headers.all("cache-control") {
            for directive in value.split(|byte| *byte == b',') {
                let directive = directive.trim_ascii().to_ascii_lowercase();
                let seconds = match directive.as_slice() {
                    b"no-cache" | b"no-store" => Some(0),
                    other => other.strip_prefix(b"max-age=").and_then(decimal),
                };
                let age = seconds.map(Duration::from_secs);
                shortest = [shortest, age].into_iter().flatten().min();
            }
        }
        shortest
    }

    /// How long not to ask again, by the `Retry-After` of a 429 or a 503 (RFC 9110, section 10.2.3; RFC 6585, section 4): at
    /// least a second, at most [`MAX_RETRY_AFTER`].
    pub fn retry_after(&self, now: Timestamp) -> Option<Duration> {
        if !matches!(self.status, 429 | 503) {
            return None;
        }
        let text = std::str::from_utf8(only(self.headers.all("retry-after"))?).ok()?.trim();
        let wait = if text.bytes().all(|byte| byte.is_ascii_digit()) {
            Duration::from_secs(text.parse().ok()?)
        } else {
            let date = httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::UNIX_EPOCH).ok()?;
            Timestamp::from_unix_seconds(date.as_secs()).saturating_since(now)
        };
        Some(wait.clamp(Duration::from_secs(1), MAX_RETRY_AFTER))
    }
}

/// Without the body, which may hold claims.
impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response").field("status", &self.status).finish_non_exhaustive()
    }
}

fn decimal(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The largest answer of a provider that is read: far above any honest key set (the largest public ones have
/// 100 kB with certificates), far below what Envoy would buffer (32 MiB).
pub const MAX_ANSWER_BYTES: usize = 1 << 20;

/// A provider that is back should be noticed soon, and one that says "in an hour" has been restarted by then.
pub const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

#[cfg(test)]
mod tests {
    use super::*;

    /// A mark says which names are not there; it never says so of one that is.
    #[test]
    fn no_header_is_overlooked() {
        let names: Vec<String> = (0..2_000_u32)
            .map(|number| format!("{}{}", number.wrapping_mul(2_654_435_761), "-x".repeat(number as usize % 40)))
            .chain(["".to_owned(), "\u{ff}".to_owned(), "a".repeat(70_000)])
            .collect();
        for name in &names {
            let headers = Headers::from_pairs([(name, "1"), (name, "2")]);
            let mut spans = headers.fields.iter().cloned();
            let rebuilt = Headers::from_spans(headers.bytes.clone(), headers.fields.len(), |_| spans.next()).unwrap();
            for headers in [headers, rebuilt] {
                assert_eq!(headers.all(name).collect::<Vec<_>>(), [b"1", b"2"], "{name}");
                assert_eq!(headers.first("another"), None);
            }
        }
        let all = Headers::from_pairs(names.iter().map(|name| (name, name)));
        for name in &names {
            assert_eq!(all.all(name).collect::<Vec<_>>(), [name.as_bytes()]);
        }
        assert_eq!((all.first("another"), Headers::default().first("")), (None, None));
    }

    #[test]
    fn media_types_without_what_is_beside_them() {
        for (value, expected) in [
            ("", ""),
            ("application/json", "application/json"),
            (" Application/JSON ;charset=UTF-8", "application/json"),
            ("application/json;charset=utf-8,application/json", "application/json"),
            ("application/json,application/json", "application/json"),
            ("application/json, Application/JSON; charset=utf-8", "application/json"),
            ("application/json, charset=utf-8", "application/json"),
            ("application/json,text/html", "application/json,text/html"),
            ("application/json,charset=utf-8,text/html", "application/json,charset=utf-8,text/html"),
            (",", ""),
        ] {
            let headers = Headers::from_pairs([("content-type", value)]);
            assert_eq!(headers.media_type(), expected, "{value}");
        }
        assert_eq!(Headers::default().media_type(), "");
        let twice = [("content-type", "application/json; charset=utf-8"), ("content-type", "application/json")];
        assert_eq!(Headers::from_pairs(twice).media_type(), "application/json");
        let both = [("content-type", "application/json"), ("content-type", "text/html")];
        assert_eq!(Headers::from_pairs(both).media_type(), "application/json,text/html");
    }

    #[test]
    fn retry_after_in_seconds_or_as_a_date() {
        let now = Timestamp::from_unix_seconds(784_111_777); // RFC 9110, section 5.6.7
        let wait = |status: u16, value: &str| {
            let headers = Headers::from_pairs([("retry-after", value)]);
            Response { status, headers, ..Response::default() }.retry_after(now).map(|wait| wait.as_secs())
        };
        for (value, expected) in [
            ("120", Some(120)),
            (" 7 ", Some(7)),
            ("0", Some(1)),
            ("86400", Some(300)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sunday, 06-Nov-94 08:50:37 GMT", Some(60)),
            ("Sun Nov  6 08:50:37 1994", Some(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(1)),
            ("Sun, 06 Nov 2094 08:49:37 GMT", None), // a Saturday
            ("Sat, 06 Nov 2094 08:49:37 GMT", Some(300)),
            ("99999999999999999999999", None),
            ("-1", None),
            ("+5", None),
            ("1.5", None),
            ("", None),
            ("soon", None),
        ] {
            assert_eq!(wait(429, value), expected, "{value}");
            assert_eq!(wait(503, value), expected, "{value}");
            assert_eq!(wait(500, value), None);
            assert_eq!(wait(200, value), None);
        }
        let twice = Headers::from_pairs([("retry-after", "5"), ("retry-after", "6")]);
        assert_eq!(Response { status: 429, headers: twice, ..Response::default() }.retry_after(now), None);
    }

    #[test]
    fn the_shortest_max_age_counts() {
        let age = |value: &str| {
            Response { headers: Headers::from_pairs([("cache-control", value)]), ..Response::default() }.max_age()
        };
        assert_eq!(age("public, max-age=60"), Some(Duration::from_secs(60)));
        assert_eq!(age("max-age=60, no-cache"), Some(Duration::ZERO));
        assert_eq!(age("max-age=99999999999999999999"), None);
        assert_eq!(age("private"), None);
    }
}
