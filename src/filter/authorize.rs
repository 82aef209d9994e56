//! The only procedure that decides.
//!
//! It is pure: [`Facts::authorize`] is a function of the facts, the request, its policy, what the request has learnt, and the time. It
//! writes nothing; what it noticed is in its [`Trail`]. So it can be run again when a lacking fact has come, for a candidate policy,
//! or to explain a decision, and two runs over the same facts are equal.

use super::ends::{
    Exemption, Grant, Halt, ShownToken, TokenEntry, TokenGrant, deny, deny_claims, deny_for, deny_unmet,
};
use super::facts::Facts;
use super::need::{Learnt, Need, ValidatedBy, ValidatedToken};
use super::operator_log::Detail;
use super::trail::{Check, Complaint, Trail, UsedEntry};
use crate::config::{ExternalAuthorization, Policy};
use crate::http::{Request, only};
use crate::jose::confirmation::Confirmation;
use crate::jose::jwt::{self, Audiences, CheckedClaims, Expected, Issuer};
use crate::oauth::credentials::{self, Credentials, Places};
use crate::policy::external::{self, AuthorizationQuestion};
use crate::provider::{Provider, ProviderId};
use crate::reply::Denial;
use crate::time::Timestamp;
use crate::upstream::rewrite::Rewrite;
use std::ops::Range;
use std::rc::Rc;

impl Facts {
    /// Decides about a request under a policy, or names the one fact that is lacking.
    pub(super) fn authorize(
        &self,
        request: &Request,
        policy: &Policy,
        learnt: &Learnt,
        now: Timestamp,
    ) -> (Result<Grant, Halt>, Trail) {
        let mut run = Run { facts: self, request, policy, learnt, now, claimed: None, trail: Trail::default() };
        let found = run.decide();
        (found, run.trail)
    }
}

/// One run of the decision: what it rests on, and what it has noticed so far.
pub(super) struct Run<'f> {
    pub(super) facts: &'f Facts,
    pub(super) request: &'f Request,
    pub(super) policy: &'f Policy,
    pub(super) learnt: &'f Learnt,
    pub(super) now: Timestamp,
    /// What the token itself says of its binding, where its provider is asked about it.
    pub(super) claimed: Option<Confirmation>,
    pub(super) trail: Trail,
}

/// A token that is valid for its provider.
pub(super) type Validated<'f> = (ValidatedToken, &'f Provider);

impl<'f> Run<'f> {
    fn decide(&mut self) -> Result<Grant, Halt> {
        let policy = self.policy;
        if policy.bypass {
            return Ok(Grant::Exempt(Exemption::Bypass));
        }
        self.trail.enter(Check::Credentials);
        if policy.mcp.is_some() {
            self.check_page()?;
        }
        let credentials = match self.credentials()? {
            Ok(credentials) => credentials,
            Err(exemption) => {
                self.trail.end();
                return Ok(Grant::Exempt(exemption));
            }
        };
        self.trail.enter(Check::Validation);
        let (validated, provider) = self.validated(&credentials)?;
        self.trail.enter(Check::Claims);
        let checked = self.check(&validated, provider).map_err(|error| deny_claims(provider, error))?;
        // What a provider answered was kept when it came, and what is known already is kept.
        if self.trail.proved.is_some() {
            self.trail.kept = Some(validated.clone());
        }
        self.trail.enter(Check::Binding);
        let ShownToken { token, proof, needs_nonce } = self.bind(&credentials, checked, provider)?;
        let (token, basis) = self.enrich(token, &validated, provider, &credentials)?;
        self.trail.enter(Check::Requirements);
        let required = policy.require.check(&token, &policy.implied_scopes, self.now);
        required.map_err(|unmet| deny_unmet(provider, self.all_scopes(unmet)))?;
        if let Some(authorizer) = &policy.authorization {
            self.trail.enter(Check::Authorization);
            self.consult(authorizer, &validated, provider)?;
        }
        let exchanged = self.exchange(&validated, provider, &credentials)?;
        self.trail.end();
        let by = validated.validated_by.is_answer().then_some(provider.id);
        let entry =
            TokenEntry { key: (by, credentials.digest), assertions: validated.assertions, outputs: validated.outputs };
        Ok(Grant::Token(TokenGrant {
            token,
            provider: provider.id,
            config: Rc::clone(&provider.config),
            label: Rc::clone(&provider.label),
            source: Rc::clone(credentials.source),
            scheme: credentials.scheme,
            proof: proof.map(Box::new),
            needs_nonce,
            entry,
            basis,
            exchanged,
        }))
    }

    /// The token of the request, or why it needs none.
    fn credentials(&mut self) -> Result<Result<Credentials<'f>, Exemption>, Halt> {
        let Self { facts, request, policy, .. } = *self;
        match credentials::find(request, &Places { takes_dpop: policy.takes_dpop(), ..facts.places() }) {
            Ok(Some(credentials)) => {
                self.trail.token = Some(credentials.digest);
                self.trail.source = Some(credentials.source.index);
                Ok(Ok(credentials))
            }
            Ok(None) if policy.allow_preflight && request.is_cors_preflight() => Ok(Err(Exemption::Preflight)),
            Ok(None) if policy.lets_missing_pass(request) => Ok(Err(Exemption::Missing)),
            Ok(None) if policy.mcp.is_some() => Err(self.missing_token().into()),
            Ok(None) => Err(Denial::MissingToken.into()),
            Err(error) => {
                if error == credentials::Error::TooLong {
                    self.trail.complaint = Some(Complaint::TokenTooLong(facts.config.max_token_size));
                }
                Err(Denial::from(error).into())
            }
        }
    }

    /// The token as somebody vouches for it: as it is known from an earlier request, or as it is validated now.
    fn validated(&mut self, credentials: &Credentials<'f>) -> Result<Validated<'f>, Halt> {
        let trusted = Trusted::of(self.facts, credentials, self.policy);
        let known = self.known(credentials, &trusted);
        self.trail.cached = Some(known.is_some());
        if let Some(known) = known {
            return Ok(known);
        }
        let token = credentials.token().map_err(Denial::from)?;
        self.validate(&token, credentials.digest, &trusted)
    }

    /// A token whose signature was verified, if its key is still the provider's.
    fn known(&mut self, credentials: &Credentials, trusted: &Trusted) -> Option<Validated<'f>> {
        let validated = self.facts.validated.get(&(None, credentials.digest), self.now)?;
        let ValidatedBy::Signature { key, algorithm } = validated.validated_by else { return None };
        let provider = self.facts.provider(validated.provider)?;
        let holds = trusted.has(provider.id) && provider.holds(key, algorithm, self.now);
        if holds {
            self.trail.provider = Some(provider.id);
            self.trail.used = Some(UsedEntry::Signature);
        }
        holds.then(|| (validated.clone(), provider))
    }

    /// What the claims must be, given who vouches for them.
    fn check(&self, validated: &ValidatedToken, provider: &Provider) -> Result<CheckedClaims, jwt::Error> {
        let config = &provider.config;
        let by_signature = !validated.validated_by.is_answer();
        // Userinfo says nothing about the audience, as a rule; where it does, or where a rule asks for one, it is held to it.
        let silent = validated.validated_by == ValidatedBy::Userinfo && !validated.claims.has_audience();
        let audiences = match &self.policy.audiences {
            Some(audiences) => audiences,
            None if silent => &Audiences::Any,
            None => &config.audiences,
        };
        let expected = Expected {
            issuer: if by_signature { Issuer::Exactly(&config.issuer) } else { Issuer::IfPresent(&config.issuer) },
            audiences,
            token_types: &config.token_types,
            refuse_id_tokens: config.refuse_id_tokens,
            clock_skew: config.clock_skew,
            require_expiration: by_signature && config.require_expiration,
            max_lifetime: config.max_lifetime.filter(|_| by_signature),
        };
        validated.claims.check(&expected, self.now)
    }

    /// Asks the authorizer, unless it has said lately what it thinks.
    fn consult(
        &mut self,
        authorizer: &Rc<ExternalAuthorization>,
        validated: &ValidatedToken,
        provider: &Provider,
    ) -> Result<(), Halt> {
        // The authorizer is not who the token is for, and must not see an identity that the client has made up.
        let mut rewrite = Rewrite::default();
        rewrite.strip(&self.facts.config.sources);
        let target = rewrite.target(self.request, &self.facts.own);
        let question = AuthorizationQuestion::new(
            authorizer,
            &provider.config,
            &validated.claims,
            self.request,
            target.as_deref(),
        );
        let question = question.ok_or_else(|| deny(provider, Denial::AmbiguousTarget))?;
        let known =
            self.learnt.authorized(&question).or_else(|| self.facts.authorizations.get(&question, self.now).cloned());
        if let Some(answer) = known {
            self.trail.lessons.authorized = Some((question, answer.clone()));
            return match answer {
                external::Answer::Allowed => Ok(()),
                external::Answer::Denied(reason) => {
                    Err(deny_for(provider, Denial::NotAuthorized(reason), Some(Detail::Authorizer)))
                }
            };
        }
        let need = Need::Authorization(provider.id, question);
        if self.learnt.has_asked(&need) {
            return Err(deny_for(provider, Denial::AuthorizerUnavailable, Some(Detail::Authorizer)));
        }
        self.trail.lessons.validated = Some(validated.clone());
        Err(Halt::Need(need))
    }
}

/// Whose tokens are good for a request: in the place that its token was in, under its policy.
pub(super) struct Trusted<'f> {
    facts: &'f Facts,
    by_source: Option<&'f Range<usize>>,
    by_policy: Option<&'f [usize]>,
}

impl<'f> Trusted<'f> {
    fn of(facts: &'f Facts, credentials: &Credentials<'f>, policy: &'f Policy) -> Self {
        let by_source = credentials.source.providers.as_ref();
        Self { facts, by_source, by_policy: policy.providers.as_deref() }
    }

    pub(super) fn has(&self, provider: ProviderId) -> bool {
        self.by_source.is_none_or(|range| range.contains(&provider.0))
            && self.by_policy.is_none_or(|indices| indices.contains(&provider.0))
    }

    pub(super) fn providers(&self) -> impl Iterator<Item = &'f Provider> {
        self.facts.providers().filter(|provider| self.has(provider.id))
    }

    /// The only provider that is trusted.
    pub(super) fn only(&self) -> Option<&'f Provider> {
        only(self.providers())
    }
}
