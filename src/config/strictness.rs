//! Which of two policies asks for more.
//!
//! A request that can be read in two ways must not be judged by the weaker of two policies. Many pairs have no weaker one:
//! each asks for something that the other doesn't.

use super::binding::{BindingMode, CertificateBound, Dpop};
use super::output::{ClaimHeader, ClaimSource};
use super::policy::Policy;
use super::requirement::{ClaimRequirement, Requirement};
use crate::jose::jwt::Audiences;
use regex_lite::Regex;
use std::rc::Rc;

impl Policy {
    /// Whether the other policy lets pass whatever this one lets pass. In doubt, no.
    pub fn asks_no_less_than(&self, other: &Self) -> bool {
        // Each field is named: whoever adds one says here whether it asks for something.
        let Self {
            bypass,
            enforce,
            allow_missing,
            allow_preflight,
            // Which rules are looked at for a tunnel, the index decides.
            means_tunnels: _,
            enforce_response_code: _,
            response_body: _,
            realm: _,
            forward: _,
            providers,
            audiences,
            require,
            implied_scopes,
            dpop,
            certificate_bound,
            authorization,
            user_info: _,
            claim_headers,
            mcp,
            enrich,
            token_exchange,
            assertions,
            shadow: _,
        } = self;
        let lets_nobody_pass = other.allow_missing || !other.enforce;
        other.bypass
            || !bypass
                && (*enforce || !other.enforce)
                && (!allow_missing || lets_nobody_pass)
                && (!allow_preflight || other.allow_preflight || lets_nobody_pass)
                && among(providers.as_deref(), other.providers.as_deref())
                && are_among(audiences.as_deref(), other.audiences.as_deref())
                && require.asks_no_less_than(&other.require)
                && (Rc::ptr_eq(implied_scopes, &other.implied_scopes) || other.asks_no_scopes())
                && Dpop::asks_no_less_than(dpop.as_deref(), other.dpop.as_deref())
                && CertificateBound::asks_no_less_than(certificate_bound.as_deref(), other.certificate_bound.as_deref())
                && other
                    .authorization
                    .as_ref()
                    .is_none_or(|asked| authorization.as_ref().is_some_and(|authorizer| Rc::ptr_eq(authorizer, asked)))
                && other.mcp.as_ref().is_none_or(|asked| mcp.as_ref().is_some_and(|mcp| Rc::ptr_eq(mcp, asked)))
                // What a source brings may be what is required.
                && (Rc::ptr_eq(enrich, &other.enrich) || enrich.is_empty() && other.enrich.is_empty())
                && other
                    .token_exchange
                    .as_ref()
                    .is_none_or(|asked| token_exchange.as_ref().is_some_and(|exchange| Rc::ptr_eq(exchange, asked)))
                // An assertion needs a subject at least.
                && (Rc::ptr_eq(assertions, &other.assertions) || other.assertions.is_empty())
                && (Rc::ptr_eq(claim_headers, &other.claim_headers)
                    || required(&other.claim_headers).all(|claim| required(claim_headers).any(|held| held == claim)))
    }

    /// Whether no request needs a scope, whatever operation it asks for.
    fn asks_no_scopes(&self) -> bool {
        let of_operations = self.mcp.iter().flat_map(|mcp| mcp.scopes());
        self.require.all_scopes().chain(of_operations).next().is_none()
    }
}

/// Whether all of these are among those; `None` is all that there are.
fn among<T: PartialEq>(these: Option<&[T]>, those: Option<&[T]>) -> bool {
    those.is_none_or(|those| these.is_some_and(|these| these.iter().all(|one| those.contains(one))))
}

/// Audiences of a rule stand in place of the provider's own, so that they ask for something else.
fn are_among(these: Option<&Audiences>, those: Option<&Audiences>) -> bool {
    match (these, those) {
        (None, None) => true,
        (Some(Audiences::AnyOf(these)), Some(Audiences::AnyOf(those))) => among(Some(these), Some(those)),
        (_, Some(Audiences::Any)) => true,
        _ => false,
    }
}

/// The claims that a token must have to be written.
fn required(headers: &[ClaimHeader]) -> impl Iterator<Item = &ClaimSource> {
    headers.iter().filter(|header| header.required).map(|header| &header.source)
}

impl Dpop {
    fn asks_no_less_than(this: Option<&Self>, other: Option<&Self>) -> bool {
        modes_ask_no_less(this.map(|this| this.mode), other.map(|other| other.mode), || {
            let as_other = this.zip(other).map(|(this, other)| Self { mode: other.mode, ..this.clone() });
            as_other.as_ref() == other
        })
    }
}

impl CertificateBound {
    fn asks_no_less_than(this: Option<&Self>, other: Option<&Self>) -> bool {
        modes_ask_no_less(this.map(|this| this.mode), other.map(|other| other.mode), || {
            let as_other = this.zip(other).map(|(this, other)| Self { mode: other.mode, ..this.clone() });
            as_other.as_ref() == other
        })
    }
}

/// Where no binding is checked, only tokens without one pass.
fn modes_ask_no_less(
    this: Option<BindingMode>,
    other: Option<BindingMode>,
    check_alike: impl FnOnce() -> bool,
) -> bool {
    match (this.unwrap_or_default(), other.unwrap_or_default()) {
        (BindingMode::Off, other) => other != BindingMode::Required,
        (_, BindingMode::Off) | (BindingMode::Opportunistic, BindingMode::Required) => false,
        _ => check_alike(),
    }
}

impl Requirement {
    fn asks_no_less_than(self: &Rc<Self>, other: &Rc<Self>) -> bool {
        if Rc::ptr_eq(self, other) {
            return true;
        }
        let Self { scopes, scopes_any, claims, groups_allowlist, acr, max_age } = &**self;
        other.scopes.iter().all(|wanted| scopes.contains(wanted))
            && (other.scopes_any.is_empty()
                || scopes.iter().any(|scope| other.scopes_any.contains(scope))
                || !scopes_any.is_empty() && among(Some(scopes_any), Some(&other.scopes_any)))
            && other.claims.iter().all(|wanted| claims.iter().any(|claim| claim.is(wanted)))
            && (other.takes_any_group()
                || !self.takes_any_group() && among(Some(groups_allowlist), Some(&other.groups_allowlist)))
            && (other.acr.is_empty() || !acr.is_empty() && among(Some(acr), Some(&other.acr)))
            && other.max_age.is_none_or(|wanted| max_age.is_some_and(|age| age <= wanted))
    }
}

impl ClaimRequirement {
    fn is(&self, other: &Self) -> bool {
        let Self { claim, absent, any_of, all_of, none_of, matches } = self;
        (claim, absent, any_of, all_of, none_of)
            == (&other.claim, &other.absent, &other.any_of, &other.all_of, &other.none_of)
            && matches.as_ref().map(Regex::as_str) == other.matches.as_ref().map(Regex::as_str)
    }
}
