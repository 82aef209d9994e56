//! What others know about the subject of a valid token: attribute services of the operator's, and the userinfo endpoint of its own
//! provider (OpenID Connect Core, section 5.3).
//!
//! The invariants: only a token that passed every check is asked about, and only by what it proves. A claim that a source is asked
//! for comes from there or from nowhere: the token's own is gone when the source is silent. An answer of userinfo about another
//! subject is none (section 5.3.2). A token that its own provider calls invalid there passes under no policy that asks.

use super::authorize::Run;
use super::ends::{Halt, deny_for};
use super::enrichment_question::{self, EnrichmentQuestion, FoundClaims, SourceAnswer};
use super::facts::Facts;
use super::need::{ENTRY_SIZE, Need, ValidatedToken};
use super::operator_log::Detail;
use super::trail::Complaint;
use crate::config::{Enrichment, EnrichmentSource};
use crate::http::Response;
use crate::jose::claims::VERDICTS;
use crate::jose::jwt::AccessToken;
use crate::json::{Object, Value};
use crate::oauth::credentials::{Credentials, Token};
use crate::provider::{Call, FetchError, Provider};
use crate::reply::{Denial, Reason};
use crate::time::Timestamp;
use crate::upstream::assertion::Basis;
use std::rc::Rc;
use std::time::Duration;

impl<'f> Run<'f> {
    /// A valid token with what others know about its subject, and what that rests on.
    pub(super) fn enrich(
        &mut self,
        token: AccessToken,
        validated: &ValidatedToken,
        provider: &'f Provider,
        credentials: &Credentials,
    ) -> Result<(AccessToken, Basis), Halt> {
        if self.policy.enrich.is_empty() {
            return Ok((token, Basis::default()));
        }
        let bearer = credentials.token().map_err(Denial::from)?;
        let subject = token.claims().object().get("sub").and_then(Value::as_str).filter(|subject| !subject.is_empty());
        let subject = subject.map(str::to_owned);
        let mut claims = token.claims().object().clone();
        let mut basis = Basis::default();
        let policy = self.policy;
        for enrichment in policy.enrich.iter() {
            let asked = || enrichment.claims.iter().flatten().map(|(name, _)| name);
            asked().for_each(|name| drop(claims.remove(name)));
            forget_verdicts(&mut claims, asked());
            let found = match &subject {
                Some(subject) => self.ask_about(enrichment, provider, validated, subject, &bearer)?,
                None => None,
            };
            match found {
                Some(found) => {
                    forget_verdicts(&mut claims, found.claims.keys());
                    let brought = found.claims_beside(&claims);
                    claims.extend(brought);
                    basis = basis.and(&found.basis);
                }
                None if enrichment.optional => basis = basis.and(&enrichment_question::basis(enrichment, None)),
                // Nobody can be asked about nobody.
                None if subject.is_none() => {
                    return Err(deny_for(provider, Denial::InsufficientClaims, Some(Detail::Enrichment)));
                }
                None => return Err(deny_for(provider, Denial::AuthorizerUnavailable, Some(Detail::Enrichment))),
            }
        }
        Ok((token.enriched(claims), basis))
    }

    /// What a source says; `None` if it can't be had.
    fn ask_about(
        &mut self,
        enrichment: &Rc<Enrichment>,
        provider: &Provider,
        validated: &ValidatedToken,
        subject: &str,
        bearer: &Token,
    ) -> Result<Option<Rc<FoundClaims>>, Halt> {
        let question = EnrichmentQuestion::new(enrichment, provider, subject, bearer);
        let known =
            self.learnt.enriched(&question).or_else(|| self.facts.enrichments.get(&question, self.now).cloned());
        if let Some(answer) = known {
            self.trail.lessons.enriched.push((question, answer.clone()));
            return match answer {
                SourceAnswer::Claims(found) => {
                    Ok(Some(found).filter(|found| found.is_about(validated.claims.subject())))
                }
                // It was sent as what it is not: userinfo must refuse it then (RFC 9449, section 7.2).
                SourceAnswer::Inactive if self.is_bound(validated) => Ok(None),
                SourceAnswer::Inactive => {
                    let denial = Denial::InvalidToken(Reason::Inactive);
                    Err(deny_for(provider, denial, Some(Detail::Userinfo)))
                }
                SourceAnswer::Forbidden if !enrichment.optional => {
                    Err(deny_for(provider, Denial::InsufficientClaims, Some(Detail::Userinfo)))
                }
                SourceAnswer::Forbidden | SourceAnswer::Nothing => Ok(None),
            };
        }
        let is_userinfo = matches!(enrichment.source, EnrichmentSource::Userinfo);
        let call = Call::Userinfo(bearer);
        let halt = if is_userinfo && provider.lacks_metadata(call, self.now) {
            self.need_metadata(provider, Denial::AuthorizerUnavailable)
        } else {
            match provider.can_call(call, self.now) {
                Err(unreachable) if is_userinfo => {
                    self.trail.complaint = Some(Complaint::NoRoute(provider.id, "userinfo", unreachable));
                    deny_for(provider, Denial::Misconfigured, Some(Detail::Enrichment))
                }
                _ => Halt::Need(Need::Enrichment(provider.id, question)),
            }
        };
        match halt {
            Halt::Need(need) if !self.learnt.has_asked(&need) => {
                self.trail.lessons.validated = Some(validated.clone());
                Err(Halt::Need(need))
            }
            Halt::Deny(refusal) if !enrichment.optional => Err(Halt::Deny(refusal)),
            _ => Ok(None),
        }
    }
}

impl Run<'_> {
    /// Whether the token is bound to somebody, as it says itself or as its provider does.
    fn is_bound(&self, validated: &ValidatedToken) -> bool {
        self.claimed.is_some() || !matches!(validated.claims.confirmation(), Ok(None))
    }
}

impl Facts {
    /// Takes in what a source said.
    pub(super) fn take_enrichment(
        &mut self,
        need: &Need,
        question: &EnrichmentQuestion,
        response: Option<&Response>,
        now: Timestamp,
    ) -> Result<(), FetchError> {
        let provider = self.provider(need.provider()).ok_or(FetchError::NoAnswer)?;
        let response = response.ok_or(FetchError::NoAnswer)?;
        let said = question.read(provider, response).ok_or_else(|| match response.status {
            200 => FetchError::Unusable("the answer is not the JSON object that it should be".to_owned()),
            _ => FetchError::of_status(response),
        })?;
        let cache = match &said {
            SourceAnswer::Claims(_) => question.enrichment.cache,
            SourceAnswer::Inactive | SourceAnswer::Forbidden | SourceAnswer::Nothing => {
                provider.config.introspection.negative_cache
            }
        };
        let size = said.memory_size().saturating_add(question.memory_size()).saturating_add(ENTRY_SIZE);
        self.enrichments.insert(question.clone(), said, size, cache, now);
        Ok(())
    }

    /// Notes that a source has not answered: it is not asked the same again at once.
    pub(super) fn miss_enrichment(&mut self, question: &EnrichmentQuestion, now: Timestamp) {
        let size = question.memory_size().saturating_add(ENTRY_SIZE);
        self.enrichments.insert(question.clone(), SourceAnswer::Nothing, size, PAUSE, now);
    }
}

/// Takes off what the token says of claims that come from elsewhere: its own address may be verified, and another's is not.
fn forget_verdicts<'n>(claims: &mut Object, brought: impl Iterator<Item = &'n String>) {
    for name in brought {
        for (_, verdict) in VERDICTS.iter().filter(|(about, _)| about == name) {
            claims.remove(*verdict);
        }
    }
}

/// How long a source that has not answered is left alone with the same question.
const PAUSE: Duration = Duration::from_secs(5);
