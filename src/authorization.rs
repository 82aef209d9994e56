//! A service of the operator's that decides about valid tokens: what AuthService calls `EXTERNAL_AUTHZ_URL`.
//!
//! The invariant: only claims that were proved are told to it, and only its 2xx allows.

use crate::config::{ExternalAuthorization, Lookup};
use crate::http::{Fetch, Request, Response};
use crate::identity::{look_up, text};
use crate::json::{Object, Value};
use crate::jwt::Claims;
use crate::time::Timestamp;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::rc::Rc;

/// What one authorizer is asked: the same question gets the same answer, for a while.
#[derive(Clone)]
pub struct Question {
    authorizer: Rc<ExternalAuthorization>,
    /// Everything but the time: the user and the request line, as JSON members.
    about: Rc<str>,
}

/// What it said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The request may pass.
    Allowed,
    /// It may not, for this reason.
    Denied(Option<Rc<str>>),
}

impl Question {
    /// Whether whoever has these claims may do what this request wants. `target` is its own without tokens and forgeries.
    pub fn new(
        authorizer: &Rc<ExternalAuthorization>,
        claims: &Claims,
        request: &Request,
        target: Option<&[u8]>,
    ) -> Self {
        let claims = claims.object();
        let value = |lookups: &[Lookup]| lookups.iter().find_map(|lookup| look_up(claims, lookup));
        let name = value(&authorizer.user).map(|name| text(name).into_owned()).unwrap_or_default();
        let groups = match value(&authorizer.groups) {
            Some(Value::Array(groups)) => groups.iter().map(|group| Value::from(&*text(group))).collect(),
            Some(group) => vec![Value::from(&*text(group))],
            None => Vec::new(),
        };
        let id = claims.get("sub").map(|id| text(id).into_owned()).unwrap_or_default();
        let user = object([
            ("claims", Value::Object(claims.clone())),
            ("extra", Value::Object(Object::new())),
            ("groups", Value::Array(groups)),
            ("id", Value::from(id)),
            ("name", Value::from(name)),
        ]);
        let sent = |bytes: Option<&[u8]>| written(bytes.unwrap_or_default());
        let authority = sent(request.authority());
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()) => (host, port),
            _ => (authority.as_str(), request.default_port()),
        };
        let line = object([
            ("host", Value::from(host)),
            ("method", Value::from(sent(request.method()))),
            ("path", Value::from(sent(target))),
            ("port", Value::from(port)),
        ]);
        let about = format!("\"request\":{line},\"user\":{user}");
        Self { authorizer: Rc::clone(authorizer), about: Rc::from(about) }
    }

    /// Who is asked.
    pub fn authorizer(&self) -> &ExternalAuthorization {
        &self.authorizer
    }

    /// How much memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        self.about.len()
    }

    /// The call that asks.
    pub fn fetch(&self, now: Timestamp) -> Fetch {
        let body = format!("{{\"timestamp\":\"{}\",{}}}", now.to_rfc3339(), self.about);
        let headers = vec![("content-type", "application/json".to_owned()), ("accept-encoding", "identity".to_owned())];
        let endpoint = self.authorizer.endpoint.clone();
        Fetch { endpoint, method: "POST", headers, body: body.into_bytes(), timeout: self.authorizer.timeout }
    }
}

/// Octets as text: what is no UTF-8 is percent-encoded, so that two questions are never one.
fn written(octets: &[u8]) -> String {
    let mut text = String::new();
    for chunk in octets.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|octet| format!("%{octet:02X}")));
    }
    text
}

/// Without what it is about: claims and the request's query.
impl fmt::Debug for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("authorizer", &self.authorizer.endpoint).finish_non_exhaustive()
    }
}

impl PartialEq for Question {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.authorizer, &other.authorizer) && self.about == other.about
    }
}

impl Eq for Question {}

impl Hash for Question {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.about.hash(state);
    }
}

/// Reads an answer; `None` if it is neither yes nor no.
pub fn verdict(response: &Response) -> Option<Verdict> {
    match response.status {
        200..=299 => Some(Verdict::Allowed),
        401 | 403 => Some(Verdict::Denied(reason(&response.body))),
        _ => None,
    }
}

/// The body as a text that may stand in an `error_description` (RFC 6750, section 3): one short line.
fn reason(body: &[u8]) -> Option<Rc<str>> {
    let start = String::from_utf8_lossy(body.get(..MAX_REASON_BYTES).unwrap_or(body)).into_owned();
    let fits = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
    let line: String = start.chars().map(|c| if fits(c) { c } else { ' ' }).collect();
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| Rc::from(words.join(" ")))
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}

/// A sentence or two.
const MAX_REASON_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ar_82_rsp_05_a_reason_is_one_plain_line() {
        let read = |body: &str| reason(body.as_bytes()).map(|reason| reason.to_string());
        assert_eq!(read("not yours\r\nSet-Cookie: x=\"y\"").as_deref(), Some("not yours Set-Cookie: x= y"));
        assert_eq!(read("\n\t "), None);
        assert_eq!(read(&"é".repeat(300)), None);
        assert_eq!(read(&"a".repeat(300)).map(|reason| reason.len()), Some(MAX_REASON_BYTES));
    }
}
