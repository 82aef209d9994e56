//! Why a decision was as it was, for whoever asks: what each run of it noticed, in the words of the configuration.
//!
//! Nothing of this changes what is decided. While nobody asks, a decision costs two looks at whether somebody does.

use super::commit::Granted;
use super::ends::Halt;
use super::need::{ValidatedBy, ValidatedToken};
use super::operator_log::Detail;
use super::trail::{Trail, UsedEntry};
use super::{CallId, Filter};
use crate::decision::Case;
use crate::http::Request;
use crate::json::Object;
use crate::oauth::credentials::{self, Token};
use crate::provider::ProviderId;
use crate::time::Timestamp;
use std::cell::RefCell;
use std::fmt;

/// Why a request was decided as it was.
#[derive(Clone, Debug, Default)]
pub struct Explanation {
    /// The rule that it falls under, by its number; `None` for the policy of the top level.
    pub rule: Option<usize>,
    /// The runs of the decision: the first, and one more for each fact that was lacking.
    pub runs: Vec<ExplainedRun>,
    /// What the decision rests on beyond its reason: a field of the configuration, a claim, a part of a proof.
    pub detail: Option<String>,
}

/// One run of the decision.
#[derive(Clone)]
pub struct ExplainedRun {
    /// The checks that were made, in order, each with whether it passed: the last may have ended the run.
    pub checks: Vec<(&'static str, bool)>,
    /// The place that the token was in, by its number in `access_token`.
    pub source: Option<usize>,
    /// The provider whose token it is.
    pub provider: Option<ProviderId>,
    /// The algorithm of the signature that was good.
    pub signature: Option<&'static str>,
    /// The provider's answer that vouched for the token: `introspection` or `userinfo`.
    pub answer: Option<&'static str>,
    /// What the token says, once somebody has vouched for it, under the names that the configuration gives to it.
    pub claims: Option<Object>,
    /// The fact that was lacking, by the word for its call as metrics have it: `jwks`, `introspection`, `enrichment`.
    pub lacks: Option<&'static str>,
}

/// Without the claims.
impl fmt::Debug for ExplainedRun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Run").field("checks", &self.checks).field("lacks", &self.lacks).finish_non_exhaustive()
    }
}

/// What a call is for.
#[derive(Clone, Debug)]
pub struct CallPurpose {
    /// The word for it as metrics have it: `jwks`, `introspection`, `enrichment`.
    pub kind: &'static str,
    /// Whom it is about.
    pub provider: ProviderId,
    /// The token that a provider is asked about.
    pub token: Option<Token>,
}

/// What was noted of the decisions since the last call of [`Filter::take_explanation`].
pub(super) type Notes = RefCell<Explanation>;

impl Filter {
    /// The same filter, which notes why it decides as it does. It is for those who bring one request after the other.
    pub fn explaining(mut self) -> Self {
        self.notes = Some(Notes::default());
        self
    }

    /// Why the decisions since the last call were as they were.
    pub fn take_explanation(&mut self) -> Explanation {
        self.notes.as_ref().map(RefCell::take).unwrap_or_default()
    }

    /// What an open call is for.
    pub fn purpose(&self, call: CallId) -> Option<CallPurpose> {
        let need = self.waiting.need_of(call)?;
        Some(CallPurpose { kind: need.as_str(), provider: need.provider(), token: need.token().cloned() })
    }

    /// The token of a request, if it has one that can be looked at.
    pub fn token_of(&self, request: &Request) -> Option<Token> {
        let places = self.facts.places();
        credentials::find(request, &places).ok()??.token().ok()
    }

    /// What is noted while somebody asks. Nobody does within Envoy: the module has nothing of this.
    fn notes(&self) -> Option<&Notes> {
        if cfg!(target_family = "wasm") { None } else { self.notes.as_ref() }
    }

    /// Notes what a run noticed.
    pub(super) fn note_run(&self, found: &Result<Granted, Halt>, trail: &Trail, now: Timestamp) {
        let Some(notes) = self.notes() else { return };
        let validated = self.vouched_for(trail, now);
        let by = validated.map(|validated| validated.validated_by);
        let run = ExplainedRun {
            checks: trail.checks().map(|(check, passed)| (check.as_str(), passed)).collect(),
            source: trail.source,
            provider: trail.provider.or(validated.map(|validated| validated.provider)),
            signature: match (by, trail.verification) {
                (Some(ValidatedBy::Signature { algorithm, .. }), _) => Some(algorithm.name()),
                (_, Some((algorithm, _))) if trail.proved.is_some() => Some(algorithm.name()),
                _ => None,
            },
            answer: by.and_then(ValidatedBy::answer),
            claims: validated.map(|validated| validated.claims.object().clone()),
            lacks: match found {
                Err(Halt::Need(need)) => Some(need.as_str()),
                _ => None,
            },
        };
        notes.borrow_mut().runs.push(run);
    }

    /// Notes what a decision rests on.
    pub(super) fn note_decision(&self, case: &Case, detail: Option<&Detail>) {
        let Some(notes) = self.notes() else { return };
        let rule = self.rule_of(&case.policy);
        let mut notes = notes.borrow_mut();
        notes.rule = rule;
        notes.detail = detail.map(|detail| self.place_of(&case.policy, rule, "", detail));
    }

    /// The token of a run as somebody vouched for it.
    fn vouched_for<'t>(&'t self, trail: &'t Trail, now: Timestamp) -> Option<&'t ValidatedToken> {
        let digest = trail.token?;
        let answered = match trail.used {
            Some(UsedEntry::Answer(provider)) => Some(provider),
            _ => None,
        };
        let kept = trail.kept.as_ref().or(trail.lessons.validated.as_ref());
        kept.or_else(|| self.facts.validated.get(&(answered, digest), now))
    }
}
