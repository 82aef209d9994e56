//! What a browser is told of the filter's own answers: Fetch standard, section 3.2 (CORS).
//!
//! Behind the filter, the service or Envoy's own `cors` filter tells what it tells of theirs; but an answer of the filter's
//! never gets there, and a page that may not read a 401 doesn't know that it needs a token.
//!
//! The invariant: an origin is told that it may read only if the configuration lists it.

use crate::config::{Cors, OriginPattern};
use crate::http::{Request, all_bytes, only};

/// Header fields of an answer.
pub type Fields = Vec<(&'static str, String)>;

impl Cors {
    /// What every answer to this request has. One to a request from an origin that is not listed depends on the origin, too.
    pub fn on_answer(&self, request: &Request) -> Fields {
        let mut fields = self.on_any(request);
        if self.listed(request).is_some() {
            fields.push(("access-control-expose-headers", self.expose_headers.clone()));
        }
        fields
    }

    /// The answer to a preflight; `None` if this is none, or comes from an origin that is not listed.
    pub fn on_preflight(&self, request: &Request) -> Option<Fields> {
        if !request.is_cors_preflight() || self.listed(request).is_none() {
            return None;
        }
        let wanted = only(request.headers.all("access-control-request-method"))?;
        let wanted = std::str::from_utf8(wanted).ok().filter(|method| all_bytes(method.as_bytes(), is_of_method))?;
        let mut fields = self.on_any(request);
        fields.push(("access-control-allow-methods", self.allow_methods.clone().unwrap_or_else(|| wanted.to_owned())));
        fields.push(("access-control-allow-headers", self.allow_headers.clone()));
        fields.extend(self.max_age.map(|age| ("access-control-max-age", age.to_string())));
        Some(fields)
    }

    fn on_any(&self, request: &Request) -> Fields {
        let mut fields = Vec::new();
        if let Some(origin) = self.listed(request) {
            fields.push(("access-control-allow-origin", origin.to_owned()));
            if self.allow_credentials {
                fields.push(("access-control-allow-credentials", "true".to_owned()));
            }
        }
        if !self.origins.contains(&OriginPattern::Any) {
            fields.push(("vary", "origin".to_owned()));
        }
        fields
    }

    /// The origin of the page as the answer names it, if it may read.
    fn listed<'r>(&self, request: &'r Request) -> Option<&'r str> {
        let origin = std::str::from_utf8(only(request.headers.all("origin"))?).ok()?;
        match self.origins.contains(&OriginPattern::Any) {
            true => Some("*"),
            false => Some(origin).filter(|origin| self.origins.iter().any(|listed| listed.matches(origin))),
        }
    }
}

/// RFC 9110, section 5.6.2: what is told back is nothing but a method.
fn is_of_method(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() | b"!#$%&'*+-.^_`|~".contains(&byte)
}
