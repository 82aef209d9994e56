//! Whether a request is a browser's question before a request of another origin: a CORS preflight.

use super::{Request, names, only};
use crate::http::escapes::without_unit_escapes;
use percent_encoding::percent_decode;

impl Request {
    /// Whether this is a CORS preflight (Fetch standard, sections 3.3.2 and 4.8): OPTIONS without a body, with both headers, each
    /// once, and with nothing that no browser sends there: neither credentials, nor what makes another method of OPTIONS.
    pub fn is_cors_preflight(&self) -> bool {
        !self.has_body
            && self.method() == Some(b"OPTIONS")
            && only(self.headers.all("origin")).is_some_and(is_one)
            && only(self.headers.all("access-control-request-method")).is_some_and(is_one)
            && !self.headers.iter().any(|(name, value)| is_of_no_preflight(name, value))
            && !self.path().is_some_and(tells_another_method)
    }
}

/// Whether a header has one value. A comma is what a proxy joins two of them with.
fn is_one(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|byte| byte.is_ascii_graphic() && *byte != b',')
}

/// Whether no preflight has this header, in whatever spelling. Proxies on the way add others, so that there is no list of
/// those that it may have.
fn is_of_no_preflight(name: &[u8], value: &[u8]) -> bool {
    if name.starts_with(b":") {
        return false;
    }
    match letters(name).as_slice() {
        // A proxy may say so of a request without a body: Envoy does, over HTTP/1.1.
        b"contentlength" => value != b"0",
        b"secfetchmode" => value != b"cors",
        b"authorization"
        | b"cookie"
        | b"cookie2"
        | b"expect"
        | b"method"
        | b"proxyauthorization"
        | b"trailer"
        | b"transferencoding"
        | b"upgrade"
        | b"xmethod" => true,
        b"accesscontrolrequestmethod" => false,
        // A proxy may tell the method of the request that it has got: `X-Forwarded-Method`.
        other if has(other, METHOD) && value != b"OPTIONS" => true,
        other => {
            other.starts_with(b"content")
                || [&b"methodoverride"[..], b"httpmethod", b"override", b"verb"].iter().any(|part| has(other, part))
                || CREDENTIALS.iter().any(|end| other.ends_with(end))
        }
    }
}

/// How the names of headers end in which a client shows who it is, with other names before them. Proxies add none to a request
/// that has no credentials.
const CREDENTIALS: [&[u8]; 6] = [b"accesstoken", b"apikey", b"authorization", b"authtoken", b"cookie", b"idtoken"];

/// Whether the query holds a name by which frameworks take another method from it: `_method`, `X-HTTP-Method-Override`. It is
/// searched, not parsed: frameworks differ in what separates parameters.
fn tells_another_method(target: &[u8]) -> bool {
    let Some(path_ends) = target.iter().position(|byte| matches!(byte, b'?' | b'#')) else { return false };
    let query = read_twice(target.get(path_ends..).unwrap_or_default()).to_ascii_lowercase();
    let mut places = query.windows(METHOD.len()).enumerate().filter(|(_, found)| *found == METHOD);
    places.any(|(start, _)| {
        let (before, name) = query.split_at_checked(start).unwrap_or_default();
        let is_marked = match before {
            // PHP reads a dot, a space and a bracket in a name as `_`.
            [.., before, b'_' | b'.' | b' ' | b'+' | b'['] => !before.is_ascii_alphanumeric(),
            _ => false,
        };
        is_marked || letters(before).ends_with(b"http") || letters(name).starts_with(b"methodoverride")
    }) || query.split(|byte| !is_of_pair(*byte)).any(is_name_with_method)
}

/// Whether this is `method=DELETE`, or `verb`, or `override`, within a longer name or not. A payment has a method, too: `method=card`.
fn is_name_with_method(pair: &[u8]) -> bool {
    let Some(sign) = pair.iter().position(|byte| *byte == b'=') else { return false };
    let (name, value) = pair.split_at_checked(sign).unwrap_or_default();
    [METHOD, b"verb", b"override"].iter().any(|word| has(name, word)) && METHODS.contains(&letters(value).as_slice())
}

/// What parts pairs in a query, to whomever.
fn is_of_pair(byte: u8) -> bool {
    byte.is_ascii_graphic() && !b"&;,?#".contains(&byte)
}

/// Those that a service does something else for than for OPTIONS (RFC 9110, section 9.3; RFC 5789), in lower case.
const METHODS: [&[u8]; 8] = [b"connect", b"delete", b"get", b"head", b"patch", b"post", b"put", b"trace"];

/// With its escapes decoded as often as anybody does.
fn read_twice(query: &[u8]) -> Vec<u8> {
    let mut read = query.to_vec();
    for _ in 0..2 {
        read = percent_decode(&without_unit_escapes(&read).unwrap_or(read)).collect();
    }
    read
}

fn letters(name: &[u8]) -> Vec<u8> {
    names::letters(name).collect()
}

fn has(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|found| found == part)
}

const METHOD: &[u8] = b"method";
