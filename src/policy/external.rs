//! A service of the operator's that decides about valid tokens: what AuthService calls `EXTERNAL_AUTHZ_URL`.
//!
//! The invariant: only claims that were proved are told to it, with who proved them; it decides about the one path, host and
//! method that every reader finds in the request, and only its 2xx allows.

use crate::cache::Identical;
use crate::config::{ExternalAuthorization, ProviderConfig};
use crate::http::path::Path;
use crate::http::query::Target;
use crate::http::{Fetch, Request, Response};
use crate::jose::claims::{look_up_first, text};
use crate::jose::jwt::Claims;
use crate::json::{self, Object, Value};
use crate::policy::rules;
use crate::time::Timestamp;
use std::fmt;
use std::rc::Rc;

/// What one authorizer is asked: the same question gets the same answer, for a while.
#[derive(Clone, Eq, Hash, PartialEq)]
pub struct AuthorizationQuestion {
    authorizer: Identical<ExternalAuthorization>,
    /// Everything but the time: the user, who vouches for him, and the request line, as JSON members.
    about: Rc<str>,
}

/// What it said.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Answer {
    /// The request may pass.
    Allowed,
    /// It may not, for this reason.
    Denied(Option<Rc<str>>),
}

impl AuthorizationQuestion {
    /// Whether whoever has these claims by this provider may do what this request wants. `target` is its own without tokens and
    /// forgeries. `None` if its path, its host or its method can be read in two ways: then the service behind could do another
    /// thing than what was decided about.
    pub fn new(
        authorizer: &Rc<ExternalAuthorization>,
        provider: &ProviderConfig,
        claims: &Claims,
        request: &Request,
        target: Option<&[u8]>,
    ) -> Option<Self> {
        let claims = claims.object();
        let name = look_up_first(claims, &authorizer.user).map(|name| text(name).into_owned()).unwrap_or_default();
        let groups = match look_up_first(claims, &authorizer.groups) {
            Some(Value::Array(groups)) => groups.iter().map(|group| Value::from(&*text(group))).collect(),
            Some(group) => vec![Value::from(&*text(group))],
            None => Vec::new(),
        };
        let id = claims.get("sub").map(text).unwrap_or_default();
        let user = json::object_value([
            ("claims", Value::Object(claims.clone())),
            ("extra", Value::Object(Object::new())),
            ("groups", Value::Array(groups)),
            ("id", Value::from(&*id)),
            ("name", Value::from(name)),
        ]);
        let method = request.method().filter(|method| !method.iter().any(u8::is_ascii_lowercase))?;
        let authority = request.authority().unwrap_or_default();
        let target = target.unwrap_or_default();
        let port = authority.rsplit(|byte| *byte == b':').next().filter(|port| port.len() < authority.len());
        let port = port.filter(|port| !port.is_empty() && port.iter().all(u8::is_ascii_digit)).map(written);
        let line = json::object_value([
            ("host", Value::from(written(&rules::host(authority)?))),
            ("method", Value::from(written(method))),
            ("path", Value::from(written(&folded(target)?))),
            ("port", Value::from(port.as_deref().unwrap_or(request.default_port()))),
        ]);
        let sent =
            json::object_value([("host", Value::from(written(authority))), ("path", Value::from(written(target)))]);
        let provider =
            json::object_value([("issuer", Value::from(&*provider.issuer)), ("name", Value::from(&*provider.name))]);
        let about = format!("\"provider\":{provider},\"request\":{line},\"sent\":{sent},\"user\":{user}");
        Some(Self { authorizer: authorizer.into(), about: Rc::from(about) })
    }

    /// Who is asked.
    pub fn authorizer(&self) -> &ExternalAuthorization {
        &self.authorizer
    }

    /// How much memory it takes, in bytes.
    pub fn memory_size(&self) -> usize {
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

/// A request target with its path as rules see it; `None` if there is more than one way to see it. What has no path (CONNECT,
/// `OPTIONS *`) stays as it is.
fn folded(target: &[u8]) -> Option<Vec<u8>> {
    let Target { path, query, fragment } = Target::parse(target);
    let read = Path::read(path);
    let mut readings = read.readings()?;
    let mut folded = readings.next().unwrap_or(path).to_vec();
    if readings.next().is_some() || !fragment.is_empty() || !read.has_certain_letters() {
        return None;
    }
    if let Some(query) = query {
        folded.push(b'?');
        folded.extend_from_slice(query);
    }
    Some(folded)
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
impl fmt::Debug for AuthorizationQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthorizationQuestion").field("authorizer", &self.authorizer.endpoint).finish_non_exhaustive()
    }
}

/// Reads an answer; `None` if it is neither yes nor no.
pub fn answer(response: &Response) -> Option<Answer> {
    match response.status {
        200..=299 => Some(Answer::Allowed),
        401 | 403 => Some(Answer::Denied(reason(&response.body))),
        _ => None,
    }
}

/// The body as a text that may stand in an `error_description` (RFC 6750, section 3): one short line.
fn reason(body: &[u8]) -> Option<Rc<str>> {
    let start = String::from_utf8_lossy(body.get(..MAX_REASON_BYTES).unwrap_or(body));
    let line = start.replace(|c: char| !matches!(c, ' '..='~') || matches!(c, '"' | '\\'), " ");
    let words: Vec<&str> = line.split(' ').filter(|word| !word.is_empty()).collect();
    (!words.is_empty()).then(|| Rc::from(words.join(" ")))
}

/// A sentence or two.
const MAX_REASON_BYTES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    /// AR-82, RSP-05.
    #[test]
    fn a_reason_is_one_plain_line() {
        let read = |body: &str| reason(body.as_bytes()).map(|reason| reason.to_string());
        assert_eq!(read("not yours\r\nSet-Cookie: x=\"y\"").as_deref(), Some("not yours Set-Cookie: x= y"));
        assert_eq!(read("\n\t "), None);
        assert_eq!(read(&"é".repeat(300)), None);
        assert_eq!(read(&"a".repeat(300)).map(|reason| reason.len()), Some(MAX_REASON_BYTES));
    }
}
