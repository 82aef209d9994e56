//! What becomes of a request that passes: what is taken off it, what is written to it, and whether it goes on or a proxy that asks
//! about it is told so.
//!
//! The invariant: an identity is written only for a grant with a token, and every request loses what a client has written in its
//! place.

use super::assertions;
use super::ends::{Exemption, Grant, Refusal, TokenEntry, TokenGrant};
use super::operator_log::{Detail, Topic};
use super::{Filter, REMOVED_BY_EXT_AUTHZ};
use crate::config::{Policy, TokenLocation, TokenSource};
use crate::decision::{Answered, Case, Decision, Disposition, Forward, Meaning, Outcome, Tally};
use crate::http::{Answer, Edit};
use crate::oauth::credentials::{self, AuthScheme};
use crate::oauth::dpop::NONCE_HEADER;
use crate::provider::ProviderId;
use crate::reply::Denial;
use crate::time::Timestamp;
use crate::upstream::assertion::{Basis, Principal};
use crate::upstream::identity::{self, Identity};
use crate::upstream::outputs::{Outputs, ResponseOutputs};
use crate::upstream::rewrite::Rewrite;
use std::rc::Rc;

/// Whom a request is from, and what that rests on.
struct Subject<'s> {
    identity: Identity<'s>,
    provider: ProviderId,
    label: &'s Rc<str>,
    entry: &'s TokenEntry,
    basis: Basis,
    /// The token that the provider made for the service.
    exchanged: Option<&'s str>,
}

impl Filter {
    /// Lets a request pass with its grant, or without an identity.
    pub(super) fn pass(
        &mut self,
        case: &Case,
        found: Result<Grant, Refusal>,
        tally: Tally,
        now: Timestamp,
    ) -> Decision {
        match found {
            Ok(Grant::Exempt(exemption)) => self.pass_exempt(case, exemption, tally, now),
            Ok(Grant::Token(granted)) => self.pass_token(case, granted, tally, now),
            Err(refusal) => self.pass_stripped(case, refusal, tally, now),
        }
    }

    /// Lets a request pass without what was not valid in it.
    fn pass_stripped(&mut self, case: &Case, refusal: Refusal, mut tally: Tally, now: Timestamp) -> Decision {
        let mut rewrite = Rewrite::default();
        rewrite.strip(&self.config.sources);
        if let Err(refusal) = self.assert_nobody(&case.policy, &mut tally, &mut rewrite, now) {
            return self.refuse_for(case, refusal, tally, now);
        }
        let mut aside = ResponseOutputs::default();
        // Whoever lacks nothing but a nonce would never get one otherwise.
        let is_about_proof = matches!(refusal.denial, Denial::UseDpopNonce | Denial::InvalidDpopProof);
        if is_about_proof && case.policy.dpop.as_ref().is_some_and(|dpop| dpop.offers_nonces()) {
            self.offer_nonce(&mut aside, now);
        }
        let reason = Some(refusal.denial.reason());
        let outcome = Outcome { result: Disposition::Stripped, reason, provider: refusal.provider };
        self.forward(case, rewrite, aside, outcome, tally)
    }

    /// Gives the client a nonce with the response. What carries one is nobody else's (RFC 9449, section 8.2).
    fn offer_nonce(&self, aside: &mut ResponseOutputs, now: Timestamp) {
        if let Some(nonce) = self.facts.proofs.nonce(now) {
            aside.response_edits.push(Edit::Set(NONCE_HEADER.into(), nonce.into_bytes()));
            aside.response_edits.push(Edit::Set("cache-control".into(), b"no-store".to_vec()));
        }
    }

    /// Lets a request pass that needs no token.
    fn pass_exempt(&mut self, case: &Case, exemption: Exemption, mut tally: Tally, now: Timestamp) -> Decision {
        let mut rewrite = Rewrite::default();
        match exemption {
            Exemption::Preflight => rewrite.strip(&self.config.sources),
            Exemption::Bypass | Exemption::Missing if !case.policy.forward => {
                rewrite.strip_tokens(&self.config.sources, &case.request);
            }
            Exemption::Bypass | Exemption::Missing => {}
        }
        let is_somebody = exemption != Exemption::Preflight;
        if is_somebody && let Err(refusal) = self.assert_nobody(&case.policy, &mut tally, &mut rewrite, now) {
            return self.refuse_for(case, refusal, tally, now);
        }
        let outcome = Outcome { result: Disposition::Bypassed, reason: exemption.reason(), provider: None };
        self.forward(case, rewrite, ResponseOutputs::default(), outcome, tally)
    }

    /// Lets a request pass with the identity that its token proves.
    fn pass_token(&mut self, case: &Case, granted: TokenGrant, mut tally: Tally, now: Timestamp) -> Decision {
        let TokenGrant { token, provider, config, label, source, scheme, needs_nonce, entry, basis, exchanged, .. } =
            granted;
        let mut rewrite = Rewrite::default();
        place_token(&source, scheme, case, &mut rewrite);
        let (location, issuer) = (source.location.as_str(), &*config.issuer);
        let identity = Identity { claims: token.claims(), provider: &label, issuer, location };
        let exchanged = exchanged.as_deref();
        let subject = Subject { identity, provider, label: &label, entry: &entry, basis, exchanged };
        let mut aside = match self.write_identity(case, &subject, &mut tally, &mut rewrite, now) {
            Ok(aside) => aside,
            Err(refusal) => return self.refuse_for(case, refusal, tally, now),
        };
        if needs_nonce {
            self.offer_nonce(&mut aside, now);
        }
        let outcome = Outcome { result: Disposition::Allowed, reason: None, provider: Some(label) };
        self.forward(case, rewrite, aside, outcome, tally)
    }

    /// Writes what the policy says of a subject: claims, a token for the service, signed identities.
    fn write_identity(
        &mut self,
        case: &Case,
        subject: &Subject,
        tally: &mut Tally,
        rewrite: &mut Rewrite,
        now: Timestamp,
    ) -> Result<ResponseOutputs, Refusal> {
        let Subject { identity, provider, label, entry, basis, exchanged } = *subject;
        // What sources say is not the token's, and may be other things the next time.
        let may_keep = tally.cached == Some(true) && case.policy.enrich.is_empty();
        let outputs = self.outputs(&case.policy, identity, entry, may_keep);
        let outputs = outputs.map_err(|error| self.unwritten(error, provider, label, now))?;
        let aside = outputs.map(|outputs| outputs.write(rewrite)).unwrap_or_default();
        if let (Some(token), Some(exchange)) = (exchanged, &case.policy.token_exchange) {
            let value = match &exchange.scheme {
                Some(scheme) => format!("{scheme} {token}"),
                None => token.to_owned(),
            };
            rewrite.set_header(&exchange.header, value);
        }
        let principal = Principal::Subject(identity, basis);
        self.assert_subject(&case.policy, principal, entry, tally, rewrite, now).map_err(|error| {
            self.complain_of_assertion(provider, &error, now);
            Refusal { provider: Some(Rc::clone(label)), ..assertions::refusal(&error) }
        })?;
        Ok(aside)
    }

    /// What a policy writes about an identity; `None` if it writes nothing. With `may_keep`, that is kept for the next time, as a
    /// part of its token's entry: the token has come before, and nothing of the identity is from elsewhere.
    fn outputs(
        &mut self,
        policy: &Policy,
        identity: Identity,
        entry: &TokenEntry,
        may_keep: bool,
    ) -> Result<Option<Rc<Outputs>>, identity::Error> {
        if policy.claim_headers.is_empty() && policy.user_info.is_empty() {
            return Ok(None);
        }
        // Most tokens of a flood come once: to keep what was made for them would take room from those that come again.
        let kept = entry.outputs.as_deref().filter(|_| may_keep);
        if let Some(outputs) = kept.and_then(|kept| kept.get(policy, identity.location)) {
            return Ok(Some(outputs));
        }
        let outputs = Rc::new(identity::write(policy, identity, &self.name)?);
        if let Some(kept) = kept {
            let grown = kept.put(policy, identity.location, &outputs);
            self.facts.validated.grow(&entry.key, grown);
        }
        Ok(Some(outputs))
    }

    /// Why a request is refused whose identity can't be written.
    fn unwritten(&self, error: identity::Error, provider: ProviderId, label: &Rc<str>, now: Timestamp) -> Refusal {
        let detail = match &error {
            identity::Error::Missing(header) => Some(Detail::Header(Rc::clone(header))),
            identity::Error::TooLarge(place) => {
                let problem = format_args!(
                    "{place}: what is to be written is too long, or nested too deep; name fewer claims in \
                     `user_info`, or leave this one out of `claim_headers`"
                );
                self.complain(provider, Topic::Output, problem, now);
                None
            }
        };
        Refusal { detail, ..Refusal::new(error.into(), Some(Rc::clone(label))) }
    }

    /// Forwards a request, or tells the proxy that asks about it that it may pass.
    fn forward(
        &self,
        case: &Case,
        mut rewrite: Rewrite,
        aside: ResponseOutputs,
        outcome: Outcome,
        tally: Tally,
    ) -> Decision {
        let takes_proofs = case.policy.dpop.as_ref().is_some_and(|dpop| !dpop.forward_proof);
        // Where no token is looked at, it goes on with its proof, or neither does.
        if takes_proofs && !(case.policy.bypass && case.policy.forward) {
            rewrite.strip_proof();
        }
        let ResponseOutputs { response_edits, filter_state } = aside;
        if case.is_check {
            let stripped: Vec<&str> = rewrite.stripped_headers(&case.request).collect();
            let headers = rewrite.into_headers();
            let removed = self.to_be_removed(&case.request, &stripped, &headers);
            let mut answer = Answer::unstored(self.config.verify.as_ref().map_or(204, |verify| verify.response_code));
            answer.headers.extend(headers);
            if let Some(names) = removed {
                answer.add(REMOVED_BY_EXT_AUTHZ, names);
            }
            answer.edit(response_edits);
            let edits = self.cleared(case, !case.policy.forward);
            self.tell(case, &outcome, None, None, tally);
            return Decision::Answer(Answered { tally, ..Answered::new(edits, answer, Meaning::Confirmed, outcome) });
        }
        let edits = rewrite.edits(&case.request, &self.own);
        self.tell(case, &outcome, None, None, tally);
        let route = self.facts.uses.reads_routes.then(|| case.request.route.name.clone().unwrap_or_default());
        // Also where nothing is written here: a filter behind this one may write, and so choose another route.
        let case = self.facts.uses.reads_routes.then(|| Box::new(self.matched(case)));
        let (body, lists) = (None, None);
        Decision::Forward(Forward { edits, response_edits, filter_state, outcome, tally, route, case, body, lists })
    }
}

/// What becomes of the token itself: it goes on as it came, in another form, or not at all.
fn place_token<'s>(source: &'s TokenSource, scheme: AuthScheme, case: &Case, rewrite: &mut Rewrite<'s>) {
    // A service would choose a token among the protocols as the one to speak, and say so in its response.
    if !case.policy.forward || matches!(source.location, TokenLocation::WebSocketProtocol { .. }) {
        rewrite.strip_one(source);
    }
    if let TokenLocation::Header { name, .. } = &source.location
        && scheme == AuthScheme::Dpop
        && case.policy.forward
        && case.policy.dpop.as_ref().is_some_and(|dpop| dpop.forward_as_bearer)
        && let Some(credentials) = credentials::as_bearer(&case.request, name)
    {
        rewrite.set_header(name, credentials);
    }
}
