//! The middle of the decision: is the token valid? A signature by a key of its own provider vouches for it, or that provider's
//! answer, and nothing else.

use super::authorize::{Run, Trusted, Validated};
use super::binding::not_bound;
use super::binding_fault::BindingFault;
use super::ends::{Halt, Refusal, deny, deny_claims, deny_for, told_of};
use super::need::{Need, ValidatedBy, ValidatedToken};
use super::newcomers::Lookup;
use super::trail::{Complaint, UsedEntry};
use crate::config::Validation;
use crate::http::only;
use crate::jose::confirmation::Confirmation;
use crate::jose::jwk::MAX_CANDIDATES;
use crate::jose::jws::{self, CompactJws, Form};
use crate::jose::jwt::{Claims, Hint, Unverified};
use crate::oauth::credentials::{Token, TokenDigest};
use crate::provider::{Call, NoRoute, Provider};
use crate::reply::{Denial, Reason};
use crate::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// Who can vouch for a token.
enum Voucher<'f, 't> {
    /// The keys of this provider.
    Keys(&'f Provider, Box<CompactJws<'t>>),
    /// An answer of this provider. The token says this of its binding.
    Answer(&'f Provider, Option<Confirmation>),
}

impl<'f> Run<'f> {
    /// Validates a token: finds who can vouch for it, and asks.
    pub(super) fn validate(
        &mut self,
        token: &Token,
        digest: TokenDigest,
        trusted: &Trusted<'f>,
    ) -> Result<Validated<'f>, Halt> {
        let voucher = self.voucher(token, trusted)?;
        let (Voucher::Keys(provider, _) | Voucher::Answer(provider, _)) = voucher;
        self.trail.provider = Some(provider.id);
        match voucher {
            Voucher::Keys(provider, jws) => self.verify(provider, &jws),
            Voucher::Answer(provider, claimed) => {
                self.claimed = claimed;
                match self.answered(provider, digest) {
                    Some(validated) => Ok((validated, provider)),
                    None => Err(self.ask(provider, token, digest)),
                }
            }
        }
    }

    /// What this provider answered about a token: lately, or to this request.
    fn answered(&mut self, provider: &Provider, digest: TokenDigest) -> Option<ValidatedToken> {
        let known = self.facts.validated.get(&(Some(provider.id), digest), self.now);
        if known.is_some() {
            self.trail.used = Some(UsedEntry::Answer(provider.id));
        }
        let validated =
            known.or_else(|| self.learnt.answer(self.now).filter(|answer| answer.provider == provider.id))?;
        self.trail.cached = Some(true);
        Some(validated.clone())
    }

    /// Who can vouch for a token. What says that it is a JWT is never taken for something else.
    fn voucher<'t>(&self, token: &'t Token, trusted: &Trusted<'f>) -> Result<Voucher<'f, 't>, Halt> {
        let (denial, detail) = match CompactJws::parse_with(token.as_str(), &self.facts.headers) {
            Err(error) => match jws::form(token.as_str()) {
                Form::Opaque => return self.voucher_of_opaque(token, trusted),
                Form::Jwe => (Denial::InvalidToken(Reason::UnsupportedToken), None),
                Form::Jws => (error.into(), None),
            },
            Ok(jws) => match Unverified::read(&jws) {
                Err(error) => (error.into(), told_of(error)),
                Ok(claimed) => return self.voucher_of_jwt(jws, &claimed, trusted),
            },
        };
        // What can't be read here may still be good to a provider that is always asked; but a reader that forgives
        // more must not find in it what would be refused if it were well-formed.
        let hint = Hint::read(token.as_str());
        let provider = match &hint.issuer {
            Some(issuer) => self.issued_by(issuer, trusted)?,
            None => match trusted.only() {
                Some(provider) => provider,
                None => return Err(Halt::Deny(Refusal { denial, provider: None, detail })),
            },
        };
        let is_of_another_kind = hint.is_of_another_kind || hint.is_id_token && provider.config.refuse_id_tokens;
        if asks_always(provider) && !hint.is_bound && !is_of_another_kind {
            return Ok(Voucher::Answer(provider, None));
        }
        Err(deny_for(provider, denial, detail))
    }

    fn voucher_of_jwt<'t>(
        &self,
        jws: CompactJws<'t>,
        claimed: &Unverified,
        trusted: &Trusted<'f>,
    ) -> Result<Voucher<'f, 't>, Halt> {
        let provider = self.issued_by(&claimed.issuer, trusted)?;
        if !asks_always(provider) {
            return Ok(Voucher::Keys(provider, Box::new(jws)));
        }
        if Unverified::is_of_another_kind(&jws) || provider.config.refuse_id_tokens && Unverified::is_id_token(&jws) {
            return Err(deny(provider, Denial::InvalidToken(Reason::WrongType)));
        }
        let confirmation = claimed.confirmation.map_err(|_| not_bound(provider, BindingFault::Unreadable))?;
        // Nobody is asked about a token that the answer could not make good.
        self.checks(confirmation).map_err(|fault| not_bound(provider, fault))?;
        Ok(Voucher::Answer(provider, confirmation))
    }

    fn voucher_of_opaque<'t>(&self, token: &Token, trusted: &Trusted<'f>) -> Result<Voucher<'f, 't>, Halt> {
        let provider = self.opaque_provider(token, trusted).ok_or(Denial::InvalidToken(Reason::UnknownIssuer))?;
        if provider.config.validation == Validation::Jwt {
            return Err(deny(provider, Denial::InvalidToken(Reason::MalformedToken)));
        }
        if token.is_of_another_kind() {
            return Err(deny(provider, Denial::InvalidToken(Reason::WrongType)));
        }
        Ok(Voucher::Answer(provider, None))
    }

    /// The provider with this issuer, if it is trusted here.
    fn issued_by(&self, issuer: &str, trusted: &Trusted) -> Result<&'f Provider, Halt> {
        let provider = self.facts.issuer(issuer).filter(|provider| trusted.has(provider.id));
        provider.ok_or_else(|| Denial::InvalidToken(Reason::UnknownIssuer).into())
    }

    /// The provider that takes tokens which don't say whose they are: the one whose tokens begin like this one, or the only
    /// one that is trusted here and takes any.
    fn opaque_provider(&self, token: &Token, trusted: &Trusted<'f>) -> Option<&'f Provider> {
        if let Some(length) = self.facts.providers().filter_map(|provider| longest_prefix(provider, token)).max() {
            // Tenants of one issuer begin their tokens alike: which of them is meant is for a rule or a place to say.
            return only(trusted.providers().filter(|provider| longest_prefix(provider, token) == Some(length)));
        }
        let asked = trusted.providers().filter(|provider| provider.config.validation != Validation::Jwt);
        // With one provider there is no doubt whose a token claims to be.
        only(asked.filter(|provider| takes_any_opaque(provider)))
            .or_else(|| trusted.only().filter(|provider| takes_any_opaque(provider)))
    }

    /// By signature, with the keys of this provider only.
    fn verify(&mut self, provider: &'f Provider, jws: &CompactJws) -> Result<Validated<'f>, Halt> {
        let algorithm = jws.algorithm();
        if !provider.config.algorithms.contains(&algorithm) {
            return Err(deny(provider, Denial::InvalidToken(Reason::UnsupportedToken)));
        }
        let verifier = &self.facts.verifier;
        let (keys, hint) = (provider.keys(self.now), jws.key_hint());
        let mut candidates = keys.candidates(&hint, algorithm).peekable();
        let error = if candidates.peek().is_none() {
            Reason::UnknownKey
        } else {
            self.trail.verification = Some((algorithm, verifier.backend(algorithm)));
            match jws.verify(candidates, verifier) {
                Ok(payload) => {
                    self.trail.proved = Some(provider.id);
                    self.trail.header = Some(Rc::clone(jws.header()));
                    let validated_by = ValidatedBy::Signature { key: payload.key(), algorithm };
                    let claims = Claims::from_jwt(payload).and_then(|claims| provider.in_our_terms(claims));
                    let claims = Rc::new(claims.map_err(|error| deny_claims(provider, error))?);
                    let assertions = self.facts.new_assertions();
                    let outputs = self.facts.new_outputs();
                    let token = ValidatedToken { claims, provider: provider.id, validated_by, assertions, outputs };
                    return Ok((token, provider));
                }
                Err(_) if keys.fitting(&hint, algorithm).nth(MAX_CANDIDATES).is_some() => {
                    self.trail.complaint = Some(Complaint::TooManyKeys(provider.id));
                    Reason::UnknownKey
                }
                Err(_) if keys.names(&hint) => {
                    return Err(deny(provider, Denial::InvalidToken(Reason::BadSignature)));
                }
                // Keys without a name were tried for want of the one that the token names.
                Err(_) if hint.kid.is_some() => Reason::UnknownKey,
                Err(_) => Reason::BadSignature,
            }
        };
        // A secret is the operator's own: there are no newer ones.
        if algorithm.is_symmetric() {
            return Err(deny(provider, Denial::InvalidToken(error)));
        }
        // Newer keys may be there; if they can't be had, the token isn't to blame.
        let denial =
            if provider.lacks_keys(self.now) { unavailable(provider, self.now) } else { Denial::InvalidToken(error) };
        Err(self.need_keys(provider, denial))
    }

    /// By asking the provider: what is to be asked, or why that is of no use.
    fn ask(&mut self, provider: &Provider, token: &Token, digest: TokenDigest) -> Halt {
        let (facts, now) = (self.facts, self.now);
        if let Some(reason) = facts.inactive.get(&(provider.id, digest), now) {
            self.trail.used = Some(UsedEntry::Inactive(provider.id));
            return deny(provider, Denial::InvalidToken(*reason));
        }
        if let Some(until) = facts.postponed.get(&(provider.id, digest), now) {
            self.trail.used = Some(UsedEntry::Postponed(provider.id));
            return deny(provider, Denial::ProviderUnavailable(until.saturating_since(now)));
        }
        if provider.is_refused_recently(now) {
            return deny(provider, Denial::InvalidToken(Reason::UnsupportedToken));
        }
        // Where the metadata decide between introspection and userinfo, they come first.
        let is_auto = provider.config.validation == Validation::Auto;
        let is_silent = is_auto && provider.has_no_metadata();
        let is_undecided = is_auto && !is_silent && provider.lacks_metadata(Call::Introspection(token), now);
        let (need, call) = if provider.introspects(now) {
            (Need::Introspection(provider.id, token.clone()), Call::Introspection(token))
        } else {
            (Need::Userinfo(provider.id, token.clone()), Call::Userinfo(token))
        };
        if is_undecided || provider.lacks_metadata(call, now) {
            if is_silent {
                return unsupported(provider);
            }
            return self.need_metadata(provider, unavailable(provider, now));
        }
        match provider.can_call(call, now) {
            Ok(()) if self.learnt.has_asked(&need) => deny(provider, unavailable(provider, now)),
            Ok(()) => Halt::Need(need),
            Err(NoRoute::NoEndpoint) if is_auto => unsupported(provider),
            Err(unreachable) => {
                self.trail.complaint = Some(Complaint::NoRoute(provider.id, need.as_str(), unreachable));
                deny(provider, Denial::Misconfigured)
            }
        }
    }

    /// Asks for keys of a source that wasn't asked yet, or gives `denial` if there is none that may be asked now.
    fn need_keys(&self, provider: &Provider, denial: Denial) -> Halt {
        for source in 0..provider.source_count() {
            let (need, call) = (Need::Keys(provider.id, source), Call::Keys(source));
            let in_flight = provider.is_fetching(call);
            let may_fetch = in_flight || provider.sources_to_fetch(self.now).any(|other| other == source);
            if self.learnt.has_asked(&need) || !may_fetch {
                continue;
            }
            if in_flight || !provider.lacks_metadata(call, self.now) {
                return self.need_document(provider, call, denial);
            }
            if self.may_ask_for_metadata(provider) {
                return self.need_document(provider, Call::Metadata, denial);
            }
        }
        deny(provider, denial)
    }

    pub(super) fn need_metadata(&self, provider: &Provider, denial: Denial) -> Halt {
        if self.may_ask_for_metadata(provider) {
            return self.need_document(provider, Call::Metadata, denial);
        }
        deny(provider, denial)
    }

    fn may_ask_for_metadata(&self, provider: &Provider) -> bool {
        !self.learnt.has_asked(&Need::Metadata(provider.id))
            && (provider.may_fetch_metadata(self.now) || provider.is_fetching(Call::Metadata))
    }

    /// Asks for a document, unless that is of an issuer whom nobody knows yet, and too many of these were looked up lately.
    fn need_document(&self, provider: &Provider, call: Call, denial: Denial) -> Halt {
        let wait = self.facts.newcomers.wait(Lookup::of(provider, call, self.now), self.now);
        let is_newcomer = provider.needs_admission(self.now) && !provider.is_fetching(call);
        if !is_newcomer || wait == Duration::ZERO {
            return Halt::Need(Need::document(provider.id, call));
        }
        match denial {
            Denial::ProviderUnavailable(_) => deny(provider, Denial::ProviderUnavailable(wait)),
            denial => deny(provider, denial),
        }
    }
}

/// The length of the longest beginning of this provider's tokens that a token has.
fn longest_prefix(provider: &Provider, token: &Token) -> Option<usize> {
    let prefixes = provider.config.token_prefixes.iter().filter(|prefix| token.as_str().starts_with(*prefix));
    prefixes.map(String::len).max()
}

/// Whether opaque tokens of this provider may begin as they like.
fn takes_any_opaque(provider: &Provider) -> bool {
    provider.config.token_prefixes.is_empty()
}

/// For when nobody can say anything about opaque tokens of this provider.
fn unsupported(provider: &Provider) -> Halt {
    deny(provider, Denial::InvalidToken(Reason::UnsupportedToken))
}

fn unavailable(provider: &Provider, now: Timestamp) -> Denial {
    Denial::ProviderUnavailable(provider.retry_after(now))
}

fn asks_always(provider: &Provider) -> bool {
    matches!(provider.config.validation, Validation::Introspection | Validation::Userinfo)
}
