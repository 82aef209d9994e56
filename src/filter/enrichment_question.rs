//! What a source of further claims is asked about the subject of a token, and what is taken of its answer.
//!
//! The invariant: no answer brings a claim that the token is judged by.

use crate::cache::Identical;
use crate::config::{Enrichment, EnrichmentService, EnrichmentSource};
use crate::http::{Fetch, Response};
use crate::jose::claims::{VERDICTS, look_up_first};
use crate::jose::verifier::Verifier;
use crate::json::{self, Object, Value};
use crate::oauth::credentials::Token;
use crate::oauth::introspection::{self, Answer};
use crate::provider::{Call, NoRoute, Provider, ProviderId};
use crate::time::Timestamp;
use crate::upstream::assertion::Basis;
use std::fmt;
use std::rc::Rc;

/// What one source is asked: the same question gets the same answer, for a while.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct EnrichmentQuestion {
    pub(super) enrichment: Identical<Enrichment>,
    query: Query,
}

/// What is sent, and to whom.
#[derive(Clone, Eq, Hash, PartialEq)]
enum Query {
    /// To this service: an object of JSON that names a subject.
    Service(Identical<EnrichmentService>, Rc<str>),
    /// To the userinfo endpoint of this provider: a token. Several providers may know one opaque token.
    Userinfo(ProviderId, Token),
}

/// What is known of a source's answer.
#[derive(Clone, Debug)]
pub(super) enum SourceAnswer {
    Claims(Rc<FoundClaims>),
    /// The token's own provider does not take it for a token of its own that is still good.
    Inactive,
    /// The token gives nobody a right to ask (RFC 6750, section 3.1).
    Forbidden,
    Nothing,
}

/// The claims that an answer brings.
pub(super) struct FoundClaims {
    pub(super) claims: Object,
    /// Of userinfo, whom it is about.
    pub(super) subject: Option<String>,
    /// The addresses of the answer whose verdicts are brought without them.
    judged: Object,
    pub(super) basis: Basis,
}

impl EnrichmentQuestion {
    pub(super) fn new(enrichment: &Rc<Enrichment>, provider: &Provider, subject: &str, token: &Token) -> Self {
        let query = match &enrichment.source {
            EnrichmentSource::Userinfo => Query::Userinfo(provider.id, token.clone()),
            EnrichmentSource::Service(service) => {
                let members = [("issuer", provider.config.issuer.as_str()), ("subject", subject)];
                let question = json::object_value(members.map(|(name, text)| (name, Value::from(text))));
                Query::Service(service.into(), Rc::from(question.to_string()))
            }
        };
        Self { enrichment: enrichment.into(), query }
    }

    /// How much memory it takes, in bytes.
    pub(super) fn memory_size(&self) -> usize {
        match &self.query {
            Query::Service(_, question) => question.len(),
            Query::Userinfo(_, token) => token.as_str().len(),
        }
    }

    /// The call that asks.
    pub(super) fn fetch(&self, provider: &Provider, now: Timestamp, verifier: &Verifier) -> Result<Fetch, NoRoute> {
        match &self.query {
            Query::Service(service, question) => {
                let headers = vec![
                    ("accept", "application/json".to_owned()),
                    ("accept-encoding", "identity".to_owned()),
                    ("content-type", "application/json".to_owned()),
                ];
                let EnrichmentService { endpoint, timeout } = &**service;
                let body = question.as_bytes().to_vec();
                Ok(Fetch { endpoint: endpoint.clone(), method: "POST", headers, body, timeout: *timeout })
            }
            Query::Userinfo(_, token) => provider.fetch(Call::Userinfo(token), 0, now, verifier),
        }
    }

    /// Reads an answer. A service's 404 says that there is nothing about this subject.
    pub(super) fn read(&self, provider: &Provider, response: &Response) -> Option<SourceAnswer> {
        let answer = match self.query {
            Query::Userinfo(..) if response.status == 403 => return Some(SourceAnswer::Forbidden),
            Query::Userinfo(..) => match provider.read_userinfo(response)? {
                Answer::Inactive => return Some(SourceAnswer::Inactive),
                other => other,
            },
            Query::Service(..) if response.status == 404 => Answer::Active(Object::new()),
            Query::Service(..) => introspection::json_object(response).filter(|answer| !went_wrong(answer))?,
        };
        let Answer::Active(answer) = answer else { return None };
        let claims = match &self.enrichment.claims {
            Some(wanted) => {
                let found = wanted
                    .iter()
                    .filter_map(|(name, lookups)| Some((name.clone(), look_up_first(&answer, lookups)?.clone())));
                json::object(found)
            }
            None => json::object(answer.iter().filter(|(name, _)| Enrichment::may_bring(name)).map(owned)),
        };
        let subject = match self.query {
            Query::Userinfo(..) => Some(answer.get("sub")?.as_str()?.to_owned()),
            Query::Service(..) => None,
        };
        let judged = judged_elsewhere(&answer, &claims);
        let basis = basis(&self.enrichment, Some((&claims, &judged)));
        Some(SourceAnswer::Claims(Rc::new(FoundClaims { claims, subject, judged, basis })))
    }
}

impl SourceAnswer {
    /// How much memory its claims take, in bytes, rounded up.
    pub(super) fn memory_size(&self) -> usize {
        match self {
            Self::Claims(found) => found.memory_size(),
            Self::Inactive | Self::Forbidden | Self::Nothing => 0,
        }
    }
}

impl FoundClaims {
    /// Whether these claims are about the subject that a token names (OpenID Connect Core, section 5.3.2).
    pub(super) fn is_about(&self, subject: Option<&str>) -> bool {
        self.subject.as_deref().is_none_or(|other| subject == Some(other))
    }

    /// The claims for a token that has these: an address of its own has no verdict from what is said of another.
    pub(super) fn claims_beside(&self, own: &Object) -> Object {
        let mut claims = self.claims.clone();
        for (about, verdict) in VERDICTS {
            if self.judged.get(about).is_some_and(|judged| own.get(about) != Some(judged)) {
                claims.remove(verdict);
            }
        }
        claims
    }

    /// How much memory the claims take, in bytes, rounded up.
    fn memory_size(&self) -> usize {
        json::memory_size(&self.claims).saturating_add(json::memory_size(&self.judged))
    }
}

/// Whether an answer says that something went wrong: then nobody knows whether the subject has the claims that it lacks.
fn went_wrong(answer: &Answer) -> bool {
    matches!(answer, Answer::Active(object) if introspection::is_error(object))
}

/// The addresses of an answer that its verdicts are about, where these are brought and the addresses are not.
fn judged_elsewhere(answer: &Object, brought: &Object) -> Object {
    let lonely =
        VERDICTS.iter().filter(|(about, verdict)| brought.contains_key(*verdict) && !brought.contains_key(*about));
    json::object(lonely.filter_map(|(about, _)| Some((*about, answer.get(*about)?.clone()))))
}

/// What an identity rests on once a source was asked: which claims it was asked for, and what it said, if anything.
pub(super) fn basis(enrichment: &Enrichment, said: Option<(&Object, &Object)>) -> Basis {
    let asked = enrichment.claims.as_ref().map(|claims| claims.iter().map(|(name, _)| Value::from(name.as_str())));
    let asked = asked.map_or(Value::Null, |names| Value::Array(names.collect()));
    let said = said.map_or(Value::Null, |(claims, judged)| {
        Value::Array(vec![Value::Object(claims.clone()), Value::Object(judged.clone())])
    });
    Basis::of(Value::Array(vec![asked, said]).to_string().as_bytes())
}

fn owned((name, value): (&String, &Value)) -> (String, Value) {
    (name.clone(), value.clone())
}

/// Without what it is about.
impl fmt::Debug for EnrichmentQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EnrichmentQuestion")
    }
}

/// Without the claims.
impl fmt::Debug for FoundClaims {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FoundClaims")
    }
}
