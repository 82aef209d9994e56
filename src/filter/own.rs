//! The filter's own endpoints: which of them a request is for. They are looked for before any rule.
//!
//! The invariant: a document is served only where every reader finds its path. A path that can be read in two ways is nobody's
//! here: it goes on to the rules, as any request.

use super::Filter;
use crate::config::VerifiedRequest;
use crate::decision::{Answered, Decision, Disposition, Meaning, Outcome};
use crate::http::path::Path;
use crate::http::query::Target;
use crate::http::{Document, Request, only};
use crate::oauth::protected_resource::{self, WellKnown};
use crate::provider::ProviderId;
use crate::reply::Denial;
use crate::time::Timestamp;
use std::time::Duration;

/// The filter's own endpoint that a request is for.
pub(super) enum OwnEndpoint<'f> {
    /// The verify endpoint: another proxy asks about this request, if it tells it.
    Check(Result<Request, Denial>),
    /// A document that anybody may read.
    Document(&'f Document),
    /// A document that its provider has not given yet, and how long to wait before asking again.
    Missing(Duration),
}

impl Filter {
    /// The filter's own endpoint that this request is for; `None` for a request that is for the service.
    pub(super) fn own_endpoint(&self, request: &Request, now: Timestamp) -> Option<OwnEndpoint<'_>> {
        self.document(request, now).or_else(|| self.check(request).map(OwnEndpoint::Check))
    }

    fn document(&self, request: &Request, now: Timestamp) -> Option<OwnEndpoint<'_>> {
        if self.documents.is_empty() && self.resources.is_empty() {
            return None;
        }
        let path = Path::read(Target::parse(request.path()?).path);
        let reading = only(path.readings().filter(|_| path.is_normal())?)?;
        if let Some(document) = self.documents.get(reading) {
            return Some(OwnEndpoint::Document(document));
        }
        let authority = request.authority().unwrap_or_default();
        match protected_resource::at(&self.resources, reading, authority)? {
            WellKnown::Resource(resource) => Some(OwnEndpoint::Document(&resource.document)),
            WellKnown::AuthorizationServer(provider) => {
                let provider = self.facts.provider(ProviderId(provider))?;
                let document = provider.published_metadata(now).map(OwnEndpoint::Document);
                Some(document.unwrap_or_else(|| OwnEndpoint::Missing(provider.retry_after(now))))
            }
        }
    }

    /// Answers a request for a document. It falls under no policy: nobody is asked for a token there.
    pub(super) fn serve(&self, request: Request, document: &Document) -> Decision {
        let answer = document.answer(&request);
        let case = self.case_without_rule(request);
        let outcome = Outcome { result: Disposition::Bypassed, reason: None, provider: None };
        self.tell_served(&case, &outcome, answer.status);
        let edits = self.clear(&case);
        Decision::Answer(Answered::new(edits, answer, Meaning::Document, outcome))
    }

    /// The request that another proxy asks about; `None` if this is no such question.
    fn check(&self, request: &Request) -> Option<Result<Request, Denial>> {
        let verify = self.config.verify.as_ref()?;
        let sent = request.path()?;
        let target = Target::parse(sent);
        // What stands behind is whatever a client of the proxy sent: in no form that comes here does it make a question a request
        // that goes on. The listener must bring it here as it is: Envoy can follow `..` out of it before.
        let behind = target.path.strip_prefix(&*verify.path)?;
        if !behind.is_empty() && !behind.starts_with(b"/") {
            return None;
        }
        let method = request.method().unwrap_or_default();
        let authority = request.authority().unwrap_or_default();
        Some(match &verify.request {
            Some(told) => Self::asked_about(request, told, authority),
            None => {
                // What the proxy has put behind the path of the question is its own request's path.
                let rest = sent.get(verify.path.len()..).filter(|rest| rest.starts_with(b"/"));
                match rest {
                    Some(rest) => Ok(request.with_line(method, authority, rest)),
                    None if self.rules.is_none() && self.config.policy.authorization.is_none() => Ok(request.clone()),
                    // It could be under any of them; or an authorizer would hear of a path that nobody has asked for.
                    None => Err(Denial::InvalidRequest),
                }
            }
        })
    }

    fn asked_about(request: &Request, told: &VerifiedRequest, authority: &[u8]) -> Result<Request, Denial> {
        let host = match &told.host {
            Some(name) => one(request, name)?,
            None => authority,
        };
        Ok(request.with_line(one(request, &told.method)?, host, one(request, &told.uri)?))
    }
}

/// The only value of a header that a proxy must have set.
fn one<'r>(request: &'r Request, name: &'r str) -> Result<&'r [u8], Denial> {
    only(request.headers.all(name)).filter(|value| !value.is_empty()).ok_or(Denial::InvalidRequest)
}

#[cfg(test)]
mod tests {
    use super::super::StreamId;
    use super::*;
    use crate::config::Config;
    use crate::http::Headers;
    use std::rc::Rc;

    fn filter() -> Filter {
        let config = br#"{"providers": [{"issuer": "https://idp.example.com", "audiences": "a", "validation": "jwt", "jwks": {"uri": "https://idp.example.com/jwks"}}],
                          "forward": false, "verify_path": "/verify"}"#;
        let config = Config::read(config, &|_: &str| None).unwrap();
        let mut filter = Filter::new(Rc::new(config), "oidc");
        let document = Document::new("application/json", b"{}".to_vec(), Duration::from_secs(60));
        filter.documents.insert(b"/.well-known/caf\xc3\xa9".as_slice().into(), document);
        filter
    }

    fn decide(method: &str, path: &str) -> Answered {
        let sent = [(":method", method), (":path", path), (":authority", "a"), ("authorization", "Bearer x")];
        let request = Request { headers: Headers::from_pairs(sent), ..Request::default() };
        match filter().on_request(StreamId(1), request, Timestamp::from_unix_seconds(1_800_000_000)) {
            Decision::Answer(answered) => answered,
            other => panic!("{path}: {other:?}"),
        }
    }

    #[test]
    fn a_document_is_where_every_reader_finds_it() {
        for path in ["/.well-known/caf%C3%A9", "/.well-known/caf%c3%a9?a=b"] {
            let answered = decide("GET", path);
            assert_eq!((answered.meaning, answered.answer.status), (Meaning::Document, 200), "{path}");
            assert_eq!(answered.outcome.result, Disposition::Bypassed);
            assert!(!answered.edits.is_empty(), "no access log gets a token");
        }
        assert_eq!(decide("POST", "/.well-known/caf%C3%A9").answer.status, 405);
    }

    #[test]
    fn nowhere_else() {
        for path in [
            "/.well-known/cafe",
            "/.well-known/caf\u{e9}",
            "/.well-known/caf%C3%A9/",
            "/.well-known/caf%C3%A9/x",
            "/.well-known//caf%C3%A9",
            "/.well-known/./caf%C3%A9",
            "/x/../.well-known/caf%C3%A9",
            "/.well-known%2Fcaf%C3%A9",
            "/.well-known/caf%C3%A9;x",
            "/.well-known/caf%25C3%25A9",
            "/.well-known\\caf%C3%A9",
            "/.WELL-KNOWN/caf%C3%A9",
            "/verify/.well-known/caf%C3%A9",
            "http://a/.well-known/caf%C3%A9",
            "*",
        ] {
            let answered = decide("GET", path);
            assert!(matches!(answered.meaning, Meaning::Denied(_)), "{path}: {:?}", answered.answer);
        }
    }
}
