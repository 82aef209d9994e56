//! What a browser is told of the filter's own answers: Fetch standard, section 3.2 (CORS).
//!
//! Behind the filter, the service or Envoy's own `cors` filter tells what it tells of theirs; but an answer of the filter's
//! never gets there, and a page that may not read a 401 doesn't know that it needs a token.
//!
//! The invariant: an origin is told that it may read only if the configuration lists it.

use crate::config::{Cors, OriginPattern};
use crate::http::{Field, Request, is_token_byte, only};

impl Cors {
    /// What every answer to this request has. One to a request from an origin that is not listed depends on the origin, too.
    pub fn on_answer(&self, request: &Request) -> Vec<Field> {
        let mut fields = self.on_any(request);
        if self.listed(request).is_some() {
            fields.push(field("access-control-expose-headers", self.expose_headers.as_str()));
        }
        fields
    }

    /// The answer to a preflight; `None` if this is none, or comes from an origin that is not listed.
    pub fn on_preflight(&self, request: &Request) -> Option<Vec<Field>> {
        if !request.is_cors_preflight() || self.listed(request).is_none() {
            return None;
        }
        let wanted = only(request.headers.all("access-control-request-method"))?;
        let wanted = std::str::from_utf8(wanted).ok().filter(|method| method.bytes().all(is_token_byte))?;
        let mut fields = self.on_any(request);
        fields.push(field("access-control-allow-methods", self.allow_methods.as_deref().unwrap_or(wanted)));
        fields.push(field("access-control-allow-headers", self.allow_headers.as_str()));
        fields.extend(self.max_age.map(|age| field("access-control-max-age", age.to_string())));
        Some(fields)
    }

    fn on_any(&self, request: &Request) -> Vec<Field> {
        let mut fields = Vec::new();
        if let Some(origin) = self.listed(request) {
            fields.push(field("access-control-allow-origin", origin));
            if self.allow_credentials {
                fields.push(field("access-control-allow-credentials", "true"));
            }
        }
        if !self.origins.contains(&OriginPattern::Any) {
            fields.push(field("vary", "origin"));
        }
        fields
    }

    /// The origin of the page as the answer names it, if it may read.
    fn listed<'r>(&self, request: &'r Request) -> Option<&'r str> {
        let origin = std::str::from_utf8(only(request.headers.all("origin"))?).ok()?;
        if self.origins.contains(&OriginPattern::Any) {
            Some("*")
        } else {
            Some(origin).filter(|origin| self.origins.iter().any(|listed| listed.matches(origin)))
        }
    }
}

fn field(name: &'static str, value: impl Into<Vec<u8>>) -> Field {
    (name.into(), value.into())
}
