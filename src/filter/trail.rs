//! What a decision noticed on its way: the only thing that a run of it gives beside its result.
//!
//! A run writes nothing. Metrics, the debug lines and candidate policies read the trail, and [`commit`](super::commit) writes, once,
//! what it names: which entries of caches were of use, which token is to be kept, what the operator is to be told. It holds a
//! fixed number of things, and nothing that a warm request would need memory for.

use super::need::{Lessons, ValidatedToken};
use super::operator_log::Topic;
use crate::decision::{Shadow, Tally};
use crate::jose::jwk::{Algorithm, MAX_CANDIDATES};
use crate::jose::jws::Header;
use crate::jose::verifier::Backend;
use crate::oauth::credentials::TokenDigest;
use crate::oauth::dpop::replay::Spent;
use crate::provider::{NoRoute, ProviderId};
use std::fmt;
use std::rc::Rc;

/// What a run of the decision noticed.
#[derive(Clone, Default)]
pub(super) struct Trail {
    /// The token that was found, by its digest.
    pub(super) token: Option<TokenDigest>,
    /// The place that it was in, by its number in the configuration.
    pub(super) source: Option<usize>,
    /// The provider whose token it is.
    pub(super) provider: Option<ProviderId>,
    /// Whether the token was known already.
    pub(super) cached: Option<bool>,
    /// The signature that was looked at, and who did the arithmetic.
    pub(super) verification: Option<(Algorithm, Backend)>,
    checks: Checks,
    /// The entry about the token that was of use.
    pub(super) used: Option<UsedEntry>,
    /// What became of its proof when the grant was committed.
    pub(super) spent: Option<Spent>,
    /// A signature of this provider's was good, whatever is wrong with the claims.
    pub(super) proved: Option<ProviderId>,
    /// What the header of that token says.
    pub(super) header: Option<Rc<Header>>,
    /// A token that was not known and is to be kept, whatever follows: one that lacks a scope must not cost a signature each time.
    pub(super) kept: Option<ValidatedToken>,
    /// What a later run for this request needs not find out anew.
    pub(super) lessons: Lessons,
    /// What the operator is to be told.
    pub(super) complaint: Option<Complaint>,
}

impl Trail {
    /// A check begins, which means that the one before it has passed.
    pub(super) fn enter(&mut self, check: Check) {
        self.checks.enter(check);
    }

    /// All checks have passed.
    pub(super) fn end(&mut self) {
        self.checks.end();
    }

    /// What is counted of it.
    pub(super) fn tally(&self, shadow: Option<Shadow>) -> Tally {
        let replay = self.spent.map(Spent::as_str);
        Tally { verification: self.verification, cached: self.cached, shadow, replay, ..Tally::default() }
    }

    /// The checks that were made, in order, each with whether it passed. The last one may have halted for want of a fact.
    pub(super) fn checks(&self) -> impl Iterator<Item = (Check, bool)> {
        let Checks { passed, at } = self.checks;
        let passed = Check::ALL.into_iter().filter(move |check| passed & check.bit() != 0).map(|check| (check, true));
        passed.chain(at.map(|check| (check, false)))
    }
}

/// Without the token's digest, by which a short token could be guessed.
impl fmt::Debug for Trail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let checks: Vec<_> = self.checks().collect();
        let mut trail = f.debug_struct("Trail");
        trail.field("source", &self.source).field("provider", &self.provider).field("cached", &self.cached);
        trail.field("verification", &self.verification).field("checks", &checks).field("used", &self.used);
        trail.field("spent", &self.spent).field("proved", &self.proved).field("kept", &self.kept);
        trail.field("lessons", &self.lessons).field("complaint", &self.complaint).finish_non_exhaustive()
    }
}

/// A check that a decision is made of. Those that a request needs are made in this order, and the first that fails ends it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Check {
    /// There is one token, in one place.
    Credentials,
    /// Somebody vouches for it: a signature, or its provider's answer.
    Validation,
    /// Its claims are right at this time, for this filter.
    Claims,
    /// Its sender is the one that it is bound to.
    Binding,
    /// It has what the policy requires.
    Requirements,
    /// The external authorizer lets it pass.
    Authorization,
}

impl Check {
    const ALL: [Self; 6] =
        [Self::Credentials, Self::Validation, Self::Claims, Self::Binding, Self::Requirements, Self::Authorization];

    /// The word for it.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Credentials => "credentials",
            Self::Validation => "validation",
            Self::Claims => "claims",
            Self::Binding => "binding",
            Self::Requirements => "requirements",
            Self::Authorization => "authorization",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Credentials => 1,
            Self::Validation => 2,
            Self::Claims => 4,
            Self::Binding => 8,
            Self::Requirements => 16,
            Self::Authorization => 32,
        }
    }
}

/// The checks that passed, and the one at which the run ended, if one did not.
#[derive(Clone, Copy, Default)]
struct Checks {
    passed: u8,
    at: Option<Check>,
}

impl Checks {
    fn enter(&mut self, check: Check) {
        self.end();
        self.at = Some(check);
    }

    fn end(&mut self) {
        self.passed |= self.at.take().map_or(0, Check::bit);
    }
}

/// Which entry about a token was of use.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum UsedEntry {
    /// That of its signature.
    Signature,
    /// That of what this provider answered.
    Answer(ProviderId),
    /// That of this provider's answer that it is none.
    Inactive(ProviderId),
    /// That of this provider's wish to be asked later.
    Postponed(ProviderId),
}

/// What the operator is told of.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Complaint {
    /// A token is longer than this.
    TokenTooLong(usize),
    /// More keys of this provider fit a token than are tried.
    TooManyKeys(ProviderId),
    /// What is needed of this provider can't be fetched.
    NoRoute(ProviderId, &'static str, NoRoute),
}

impl Complaint {
    /// Whom it is about. What is about no provider is told as the first one's.
    pub(super) fn provider(&self) -> ProviderId {
        match self {
            Self::TokenTooLong(_) => ProviderId::FIRST,
            Self::TooManyKeys(provider) | Self::NoRoute(provider, ..) => *provider,
        }
    }

    /// What it is about.
    pub(super) fn topic(&self) -> Topic {
        match self {
            Self::TokenTooLong(_) => Topic::TokenSize,
            Self::TooManyKeys(_) => Topic::Keys,
            Self::NoRoute(_, what, _) => Topic::Route(what),
        }
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TokenTooLong(most) => write!(f, "a token is longer than `max_token_size`, {most} bytes"),
            Self::TooManyKeys(_) => write!(
                f,
                "more keys fit a token than are tried ({MAX_CANDIDATES}): its header names none of them by kid, x5t or x5t#S256"
            ),
            Self::NoRoute(_, what, unreachable) => write!(f, "{what} cannot be fetched: {unreachable}"),
        }
    }
}
