//! What comes out of the filter for one request: data, which the edge carries out.

use crate::config::Policy;
use crate::http::{Edit, Request};
use crate::jose::jwk::Algorithm;
use crate::jose::verifier::Backend;
use crate::reply::cors;
use crate::reply::{Reason, Reply};
use std::fmt;
use std::rc::Rc;

/// What becomes of a request.
#[derive(Debug, Eq, PartialEq)]
pub enum Decision {
    /// It goes on to the upstream, changed.
    Forward(Forward),
    /// It is answered.
    Deny(Refused),
    /// Another proxy asked about it: it may pass, with these headers.
    Confirm(Confirmed),
    /// A browser asked whether it may ask: it is told.
    Preflight(Answered),
    /// It waits; an [`Effect::Resolve`](crate::filter::Effect::Resolve) will follow.
    Wait,
}

/// How a request goes on.
#[derive(Eq, PartialEq)]
pub struct Forward {
    /// Changes of its headers.
    pub edits: Vec<Edit>,
    /// `Set-Cookie` values for the response.
    pub response_cookies: Vec<String>,
    /// Filter state: key and serialised `google.protobuf.Struct`.
    pub filter_state: Vec<(String, Vec<u8>)>,
    /// What to count.
    pub outcome: Outcome,
    /// What else to count.
    pub tally: Tally,
    /// The name of the route that this was decided for, if rules look at routes: a filter behind this one can hold it against
    /// that of the route to be taken.
    pub route: Option<Vec<u8>>,
    /// What the decision was about, if it rests on the route, which these edits can change: to be held against the route
    /// that is taken, by [`Filter::holds`](crate::filter::Filter::holds).
    pub case: Option<Box<Case>>,
}

/// What a decision is about: a request, and the policy that it falls under.
#[derive(Clone, Debug)]
pub struct Case {
    /// The request.
    pub request: Request,
    /// The policy.
    pub policy: Rc<Policy>,
    /// Another proxy asks about the request: it is answered, not forwarded.
    pub is_check: bool,
}

impl PartialEq for Case {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.policy, &other.policy) && self.is_check == other.is_check
    }
}

impl Eq for Case {}

/// The answer to a proxy that asked.
#[derive(Eq, PartialEq)]
pub struct Confirmed {
    /// Changes of the question's own headers, for whoever logs them.
    pub edits: Vec<Edit>,
    /// The status.
    pub status: u16,
    /// The identity, as headers, and which of the filter's own names are not among them.
    pub headers: Vec<(Rc<str>, Vec<u8>)>,
    /// What to count.
    pub outcome: Outcome,
    /// What else to count.
    pub tally: Tally,
}

/// The answer to a CORS preflight.
#[derive(Debug, Eq, PartialEq)]
pub struct Answered {
    /// Header fields.
    pub headers: cors::Fields,
    /// What to count.
    pub outcome: Outcome,
    /// What else to count.
    pub tally: Tally,
}

/// Names of headers only: their values are claims.
impl fmt::Debug for Confirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| &**name).collect();
        let mut confirmed = f.debug_struct("Confirmed");
        confirmed
            .field("edits", &self.edits)
            .field("headers", &names)
            .field("outcome", &self.outcome)
            .field("tally", &self.tally)
            .finish()
    }
}

/// Without cookies and filter state: they hold claims.
impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { edits, response_cookies: _, filter_state: _, outcome, tally, route: _, case: _ } = self;
        let mut forward = f.debug_struct("Forward");
        forward.field("edits", edits).field("outcome", outcome).field("tally", tally).finish_non_exhaustive()
    }
}

/// How a request is answered.
#[derive(Debug, Eq, PartialEq)]
pub struct Refused {
    /// Changes of the request's headers, for whoever logs them.
    pub edits: Vec<Edit>,
    /// The answer.
    pub reply: Reply,
    /// What to count.
    pub outcome: Outcome,
    /// What else to count.
    pub tally: Tally,
}

/// What a decision was, for logs and metrics.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Outcome {
    /// What was done.
    pub result: Disposition,
    /// Why, unless a valid token was all there was to it.
    pub reason: Option<Reason>,
    /// Whose token it was, if that was found out.
    pub provider: Option<Rc<str>>,
}

/// What was done with a request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Disposition {
    /// A valid token let it pass.
    Allowed,
    /// No token was needed.
    Bypassed,
    /// It was refused.
    Denied,
    /// What was not valid was taken off it, and it went on without an identity.
    Stripped,
}

impl Disposition {
    /// The word for it in metrics, logs and filter state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Bypassed => "bypassed",
            Self::Denied => "denied",
            Self::Stripped => "stripped",
        }
    }
}

/// What it took to decide.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Tally {
    /// The signature that was verified, and by whom.
    pub verification: Option<(Algorithm, Backend)>,
    /// Whether the token was known already.
    pub cached: Option<bool>,
    /// What the candidate policy would have done.
    pub shadow: Option<Shadow>,
}

/// What a candidate policy would have done with a request.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Shadow {
    /// This, for this reason.
    Decided(Disposition, Option<Reason>),
    /// It lacks a fact, for which no request waits.
    Undecided,
}

impl Shadow {
    /// The word for it in metrics, logs and filter state.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Decided(verdict, _) => verdict.as_str(),
            Self::Undecided => "undecided",
        }
    }

    /// Why.
    pub const fn reason(self) -> Option<Reason> {
        match self {
            Self::Decided(_, reason) => reason,
            Self::Undecided => None,
        }
    }

    /// The words for both, as they are told side by side: `none` where there is no reason.
    pub fn words(self) -> (&'static str, &'static str) {
        (self.as_str(), self.reason().map_or("none", Reason::as_str))
    }
}
