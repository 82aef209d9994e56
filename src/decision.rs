//! What comes out of the filter for one request: data, which the edge carries out.

use crate::http::Edit;
use crate::jwk::Algorithm;
use crate::reply::{Reason, Reply};
use crate::verifier::Backend;
use std::rc::Rc;

/// What becomes of a request.
#[derive(Debug, Eq, PartialEq)]
pub enum Decision {
    /// It goes on to the upstream, changed.
    Forward(Forward),
    /// It is answered.
    Deny(Refused),
    /// It waits; an [`Effect::Resolve`](crate::filter::Effect::Resolve) will follow.
    Wait,
}

/// How a request goes on.
#[derive(Debug, Eq, PartialEq)]
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
}

/// How a request is answered.
#[derive(Debug, Eq, PartialEq)]
pub struct Refused {
    /// The answer.
    pub reply: Reply,
    /// What to count.
    pub outcome: Outcome,
    /// What else to count.
    pub tally: Tally,
}

/// What a decision was, for logs and metrics.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Outcome {
    /// What was done.
    pub result: Verdict,
    /// Why, unless a valid token was all there was to it.
    pub reason: Option<Reason>,
    /// Whose token it was, if that was found out.
    pub provider: Option<Rc<str>>,
}

/// What was done with a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// A valid token let it pass.
    Allowed,
    /// No token was needed.
    Bypassed,
    /// It was refused.
    Denied,
    /// What was not valid was taken off it, and it went on without an identity.
    Stripped,
}

impl Verdict {
    /// The word for it in metrics, logs and filter state.
    pub const fn word(self) -> &'static str {
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
}
