//! What comes out of the filter for one request: data, which the edge carries out.

use crate::config::{Mcp, Policy};
use crate::http::{Answer, Edit, Request};
use crate::jose::jwk::Algorithm;
use crate::jose::jwt::AccessToken;
use crate::jose::signing::AssertionUses;
use crate::jose::verifier::Backend;
use crate::policy::operation::head::Head;
pub use crate::policy::operation::lists::{ListReader, Lists};
use crate::reply::Reason;
use std::fmt;
use std::rc::Rc;

/// What becomes of a request.
#[derive(Debug, Eq, PartialEq)]
pub enum Decision {
    /// It goes on to the upstream, changed.
    Forward(Forward),
    /// The filter answers it.
    Answer(Answered),
    /// It waits; an [`Effect::Resolve`](crate::filter::Effect::Resolve) will follow.
    Wait,
}

/// How a request goes on.
#[derive(Eq, PartialEq)]
pub struct Forward {
    /// Changes of its headers.
    pub edits: Vec<Edit>,
    /// Changes of the response's headers.
    pub response_edits: Vec<Edit>,
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
    /// The body is judged before a byte of it goes on: it is to be brought to
    /// [`Filter::on_body`](crate::filter::Filter::on_body), and what that decides is counted in place of this.
    pub body: Option<Box<HeldBody>>,
    /// What its response may list, which goes on without what its token may not use.
    pub lists: Option<Lists>,
}

/// A body that is held while its head goes on, and all that it is judged by.
#[derive(Clone)]
pub struct HeldBody {
    /// Of the request, what is needed to answer it and to tell which it was.
    pub(crate) case: Case,
    pub(crate) mcp: Rc<Mcp>,
    pub(crate) head: Head,
    pub(crate) token: Option<AccessToken>,
    /// What was decided about the head.
    pub(crate) outcome: Outcome,
    pub(crate) tally: Tally,
}

impl HeldBody {
    /// The longest that is read, in bytes.
    pub fn max_size(&self) -> usize {
        self.mcp.max_body_size
    }

    /// Whether the head does not go on before the body was judged: the host hands over the body of a request whose head it holds.
    pub fn holds_head(&self) -> bool {
        self.mcp.hold_head
    }
}

/// Nothing but the case and the head tell two apart, and whoever compares decisions knows the token.
impl PartialEq for HeldBody {
    fn eq(&self, other: &Self) -> bool {
        self.case == other.case && self.head == other.head && self.outcome == other.outcome
    }
}

impl Eq for HeldBody {}

/// Without what the client has sent.
impl fmt::Debug for HeldBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max_size, holds_head) = (self.max_size(), self.holds_head());
        let mut held = f.debug_struct("HeldBody");
        held.field("max_size", &max_size).field("holds_head", &holds_head).finish_non_exhaustive()
    }
}

/// What is done with a request whose body was judged, and may go on.
#[derive(Debug)]
pub struct PassedBody {
    /// Filter state: key and serialised `google.protobuf.Struct`.
    pub filter_state: Vec<(String, Vec<u8>)>,
    /// What to count.
    pub outcome: Outcome,
    /// What else to count.
    pub tally: Tally,
    /// What its response may list, which goes on without what its token may not use.
    pub lists: Option<Lists>,
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

/// How a request is answered.
#[derive(Eq, PartialEq)]
pub struct Answered {
    /// Changes of the request's own headers, for whoever logs them.
    pub edits: Vec<Edit>,
    /// The answer.
    pub answer: Answer,
    /// What the answer says.
    pub meaning: Meaning,
    /// Filter state: key and serialised `google.protobuf.Struct`.
    pub filter_state: Vec<(String, Vec<u8>)>,
    /// What to count.
    pub outcome: Outcome,
    /// What else to count.
    pub tally: Tally,
}

impl Answered {
    /// An answer that took nothing to decide.
    pub fn new(edits: Vec<Edit>, answer: Answer, meaning: Meaning, outcome: Outcome) -> Self {
        Self { edits, answer, meaning, filter_state: Vec::new(), outcome, tally: Tally::default() }
    }

    /// For when there is nothing to judge by: no filter, no clock, or a host that doesn't do what it is told.
    pub fn misconfigured() -> Self {
        let reason = Reason::Misconfigured;
        let outcome = Outcome { result: Disposition::Denied, reason: Some(reason), provider: None };
        Self::new(Vec::new(), Answer::unstored(503), Meaning::Denied(reason), outcome)
    }
}

/// What an answer says. Its words are those of `%RESPONSE_CODE_DETAILS%`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Meaning {
    /// No, for this reason.
    Denied(Reason),
    /// Another proxy asked about a request: it may pass, with these headers.
    Confirmed,
    /// A browser asked whether it may ask.
    Preflight,
    /// It is a document of the filter's own, which anybody may read.
    Document,
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Denied(reason) => write!(f, "oidc_denied{{{}}}", reason.as_str()),
            Self::Confirmed => f.write_str("oidc_confirmed"),
            Self::Preflight => f.write_str("oidc_preflight"),
            Self::Document => f.write_str("oidc_document"),
        }
    }
}

/// Without filter state, which holds claims.
impl fmt::Debug for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { edits, answer, meaning, filter_state: _, outcome, tally } = self;
        let mut answered = f.debug_struct("Answered");
        answered.field("edits", edits).field("answer", answer).field("meaning", meaning);
        answered.field("outcome", outcome).field("tally", tally).finish_non_exhaustive()
    }
}

/// Without filter state, which holds claims.
impl fmt::Debug for Forward {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { edits, response_edits, filter_state: _, outcome, tally, route: _, case: _, body, lists } = self;
        let mut forward = f.debug_struct("Forward");
        forward.field("edits", edits).field("response_edits", response_edits);
        forward
            .field("body", body)
            .field("lists", lists)
            .field("outcome", outcome)
            .field("tally", tally)
            .finish_non_exhaustive()
    }
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
    /// What the memory of DPoP proofs said of this one.
    pub replay: Option<&'static str>,
    /// What was signed, or written again.
    pub assertions: AssertionUses,
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
            Self::Decided(disposition, _) => disposition.as_str(),
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
