//! A document of the filter's own, which anybody may read: RFC 9110, sections 9.3.1, 13.1.2 and 15.5.6; Fetch standard,
//! section 3.2.
//!
//! The invariant: its answer depends on the method and on `If-None-Match` alone, so that any cache may keep it, and a page of
//! any origin may read it.

use super::{Answer, Request};
use std::time::Duration;

/// A document, made once.
#[derive(Debug)]
pub struct Document {
    media_type: &'static str,
    body: Vec<u8>,
    tag: String,
    max_age: Duration,
}

impl Document {
    /// A document that readers may keep for so long.
    pub fn new(media_type: &'static str, body: Vec<u8>, max_age: Duration) -> Self {
        let digest = blake3::hash(&body).to_hex();
        let tag = format!("\"{}\"", digest.get(..TAG_DIGITS).unwrap_or(&digest));
        Self { media_type, body, tag, max_age }
    }

    /// What a request for it gets. Envoy leaves out the body of an answer to HEAD, and keeps its length.
    pub fn answer(&self, request: &Request) -> Answer {
        match request.method() {
            Some(b"GET" | b"HEAD") if self.is_known_to(request) => self.described(304),
            Some(b"GET" | b"HEAD") => {
                let mut answer = self.described(200);
                answer.add("content-type", self.media_type);
                Answer { body: self.body.clone(), ..answer }
            }
            Some(b"OPTIONS") => {
                let mut answer = readable_by_pages(Answer::unstored(204));
                answer.add("allow", METHODS);
                answer.add("access-control-allow-methods", METHODS);
                // Clients of protocols on top tell their version in a header, which makes a browser ask first.
                answer.add("access-control-allow-headers", "*");
                answer.add("access-control-max-age", PREFLIGHT_MAX_AGE);
                answer
            }
            _ => {
                let mut answer = readable_by_pages(Answer::unstored(405));
                answer.add("allow", METHODS);
                answer
            }
        }
    }

    fn described(&self, status: u16) -> Answer {
        let mut answer = readable_by_pages(Answer { status, ..Answer::default() });
        answer.add("cache-control", format!("public, max-age={}", self.max_age.as_secs()));
        answer.add("etag", self.tag.as_str());
        answer
    }

    /// Whether the client has it already, by the weak comparison.
    fn is_known_to(&self, request: &Request) -> bool {
        let members = request.headers.all("if-none-match").flat_map(|field| field.split(|byte| *byte == b','));
        let mut tags = members.map(<[u8]>::trim_ascii).map(|member| member.strip_prefix(b"W/").unwrap_or(member));
        tags.any(|tag| tag == b"*" || tag == self.tag.as_bytes())
    }
}

fn readable_by_pages(mut answer: Answer) -> Answer {
    answer.add("access-control-allow-origin", "*");
    answer
}

const METHODS: &str = "GET, HEAD, OPTIONS";

/// A day, in seconds: browsers keep the answer to a preflight for two hours at most, some for a day.
const PREFLIGHT_MAX_AGE: &str = "86400";

/// 128 bits: nobody but the operator writes documents.
const TAG_DIGITS: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn ask(method: &str, fields: &[(&str, &str)]) -> Answer {
        let document = Document::new("application/json", b"{}".to_vec(), Duration::from_secs(300));
        let line = [(":method", method), (":path", "/document")];
        let headers = Headers::from_pairs(line.iter().chain(fields).copied());
        document.answer(&Request { headers, ..Request::default() })
    }

    fn texts(answer: &Answer) -> Vec<String> {
        let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
        answer.headers.iter().map(|(name, value)| format!("{name}: {}", text(value))).collect()
    }

    #[test]
    fn anybody_may_read_it_and_keep_it() {
        let answer = ask("GET", &[("authorization", "Bearer x")]);
        assert_eq!((answer.status, answer.body.as_slice(), answer.grpc_status), (200, &b"{}"[..], None));
        let tag = texts(&answer)[2].clone();
        assert_eq!(tag.len(), "etag: \"\"".len() + 32);
        let expected = [
            "access-control-allow-origin: *",
            "cache-control: public, max-age=300",
            &tag,
            "content-type: application/json",
        ];
        assert_eq!(texts(&answer), expected);
        assert_eq!(texts(&ask("HEAD", &[])), expected);
    }

    #[test]
    fn who_has_it_gets_no_body() {
        let tag = ask("GET", &[]).header("etag").map(|tag| String::from_utf8(tag.to_vec()).unwrap()).unwrap();
        for (fields, status) in [
            (vec![tag.clone()], 304),
            (vec![format!("W/{tag}")], 304),
            (vec![format!("\"a\" ,{tag}, \"b\"")], 304),
            (vec!["\"a\"".to_owned(), tag.clone()], 304),
            (vec!["*".to_owned()], 304),
            (vec!["\"a\"".to_owned()], 200),
            (vec![tag.trim_matches('"').to_owned()], 200),
            (vec![format!("w/{tag}")], 200),
            (vec![String::new()], 200),
        ] {
            let fields: Vec<_> = fields.iter().map(|field| ("if-none-match", field.as_str())).collect();
            let answer = ask("GET", &fields);
            assert_eq!((answer.status, answer.body.is_empty()), (status, status == 304), "{fields:?}");
            assert_eq!(answer.header("etag"), Some(tag.as_bytes()), "{fields:?}");
            assert_eq!(ask("POST", &fields).status, 405, "a condition changes no other method");
        }
    }

    #[test]
    fn other_methods_are_told_which_there_are() {
        for method in ["POST", "PUT", "DELETE", "TRACE", "get", "GET ", ""] {
            let answer = ask(method, &[]);
            let expected = ["cache-control: no-store", "access-control-allow-origin: *", "allow: GET, HEAD, OPTIONS"];
            assert_eq!((answer.status, texts(&answer).as_slice()), (405, &expected.map(str::to_owned)[..]), "{method}");
        }
    }

    #[test]
    fn a_page_that_asks_first_may_send_any_header() {
        let answer = ask("OPTIONS", &[("origin", "https://a"), ("access-control-request-method", "GET")]);
        assert_eq!((answer.status, answer.body.len()), (204, 0));
        assert_eq!(answer.header("access-control-allow-headers"), Some(&b"*"[..]));
        assert_eq!(answer.header("access-control-allow-methods"), Some(METHODS.as_bytes()));
    }
}
