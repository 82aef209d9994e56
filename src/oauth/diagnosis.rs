//! What is wrong with a provider's answer, in words for the operator. Nothing here decides anything.

use crate::config::path_of;
use crate::http::Response;
use crate::json;
use std::borrow::Cow;

/// What a body is, where it is not the JSON object that was asked for; `None` if it is one.
pub fn of_body(response: &Response) -> Option<Cow<'static, str>> {
    let body = response.body.as_slice();
    let encoding = response.headers.first("content-encoding").unwrap_or(b"identity").trim_ascii();
    let text = body.trim_ascii_start();
    let begins = |with: &[u8]| text.get(..with.len()).is_some_and(|start| start.eq_ignore_ascii_case(with));
    Some(Cow::Borrowed(if body.starts_with(b"\x1f\x8b") {
        "it is compressed with gzip, although `accept-encoding: identity` asked for it as it is"
    } else if !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity") {
        "it has a `content-encoding`, although `accept-encoding: identity` asked for it as it is"
    } else if body.starts_with(b"\xef\xbb\xbf") {
        "it begins with a byte order mark, which JSON must not have (RFC 8259, section 8.1)"
    } else if body.starts_with(b"\xff\xfe") || body.starts_with(b"\xfe\xff") {
        "it is UTF-16; JSON is UTF-8 (RFC 8259, section 8.1)"
    } else if text.is_empty() {
        "it is empty"
    } else if begins(b"<!doctype html") || begins(b"<html") {
        "it is an HTML page"
    } else if begins(b"<") {
        "it is XML or an HTML page"
    } else if begins(b"-----BEGIN ") {
        "it is PEM"
    } else if begins(b"eyJ") {
        "it is a JWT: signed and encrypted documents are not read"
    } else if begins(b"[") {
        "it is a list, not an object"
    } else {
        return json::find_fault(body).map(|fault| {
            let text =
                if fault.path.is_empty() { fault.to_string() } else { format!("{}: {fault}", path_of(&fault.path)) };
            Cow::Owned(text)
        });
    }))
}

/// Why Envoy could not bring a call about, if it was Envoy that answered: this one, or one before the provider.
pub fn of_envoys_answer(response: &Response) -> Option<String> {
    if !matches!(response.status, 503 | 504) {
        return None;
    }
    let said = String::from_utf8_lossy(response.body.get(..MAX_SAID).unwrap_or(&response.body)).into_owned();
    let overflows = response.headers.first("x-envoy-overloaded").is_some() || said.contains("reset reason: overflow");
    if overflows {
        return Some(
            "overflow: more calls or connections at a time than the `circuit_breakers` of the cluster allow".to_owned(),
        );
    }
    let is_envoys = ["upstream connect error", "no healthy upstream", "upstream request timeout"];
    is_envoys.iter().any(|words| said.starts_with(words)).then(|| said.chars().flat_map(char::escape_default).collect())
}

/// A text of the provider's, in one short line.
pub fn quoted(text: &str) -> String {
    let escaped: String = text.chars().take(MAX_SAID).flat_map(char::escape_default).collect();
    format!("\"{escaped}\"")
}

/// How much of what a provider says is told.
const MAX_SAID: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn response(status: u16, headers: &[(&str, &str)], body: &[u8]) -> Response {
        let pairs = headers.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.as_bytes().to_vec()));
        Response { status, headers: Headers::from_pairs(pairs), body: body.to_vec() }
    }

    #[test]
    fn a_body_is_told_by_how_it_begins() {
        for (body, words) in [
            (b"\x1f\x8b\x08\0".as_slice(), "gzip"),
            (b"\xef\xbb\xbf{}", "byte order mark"),
            (b"\xff\xfe{\0}\0", "UTF-16"),
            (b" \r\n", "empty"),
            (b"\n<!DOCTYPE HTML>", "HTML page"),
            (b"<?xml?>", "XML"),
            (b"-----BEGIN CERTIFICATE-----", "PEM"),
            (b"eyJhbGciOiJSUzI1NiJ9.e30.", "JWT"),
            (b"[]", "list"),
            (b"{\"keys\":[", "line 1, column 9"),
            (b"{\"a\":{\"b\":1,\"b\":1}}", "a.b: two members"),
        ] {
            let said = of_body(&response(200, &[], body)).unwrap();
            assert!(said.contains(words), "{words}: {said}");
        }
        assert_eq!(of_body(&response(200, &[], b"{}")), None);
        let encoded = response(200, &[("content-encoding", "br")], b"\x0b\x02");
        assert!(of_body(&encoded).unwrap().contains("content-encoding"));
    }

    #[test]
    fn what_a_provider_says_is_one_short_line() {
        let said = of_envoys_answer(&response(503, &[], b"upstream connect error\n\x1b[31m\xff")).unwrap();
        assert!(said.is_ascii() && !said.contains(['\n', '\x1b']), "{said}");
        assert!(of_envoys_answer(&response(503, &[("x-envoy-overloaded", "true")], b"")).unwrap().contains("overflow"));
        assert_eq!(of_envoys_answer(&response(503, &[], b"busy")), None);
        assert_eq!(of_envoys_answer(&response(200, &[], b"upstream connect error")), None);
        assert_eq!(quoted(&"\n".repeat(1000)).len(), 2 * MAX_SAID + 2);
    }
}
