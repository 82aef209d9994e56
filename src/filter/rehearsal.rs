//! For tests: runs of the decision that nothing follows from, and a view of all that is known.
//!
//! They make it visible that a run is a function of the facts, and leaves them as they were.

use super::Filter;
use super::ends::{Grant, Halt};
use super::facts::Facts;
use super::need::Learnt;
use super::trail::Trail;
use crate::config::Policy;
use crate::http::Request;
use crate::jose::jwt::AccessToken;
use crate::time::Timestamp;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

impl Filter {
    /// What a decision about this request, by its policy and by the candidate for it, would rest on and end with. Nothing if it has
    /// no policy.
    #[doc(hidden)]
    pub fn rehearse(&self, request: &Request, now: Timestamp) -> Vec<String> {
        let Ok(policy) = self.policy(request) else { return Vec::new() };
        let learnt = Learnt::default();
        let policies = [Some(&policy), policy.shadow.as_ref()];
        policies.into_iter().flatten().map(|policy| self.facts.rehearse(request, policy, &learnt, now)).collect()
    }

    /// The same for each request that waits, with what it has learnt.
    #[doc(hidden)]
    pub fn rehearse_waiting(&self, now: Timestamp) -> Vec<String> {
        let run = |case: &crate::decision::Case, learnt: &Learnt| {
            self.facts.rehearse(&case.request, &case.policy, learnt, now)
        };
        self.waiting.parked().map(|parked| run(&parked.case, &parked.learnt)).collect()
    }

    /// A number for all that is known, down to the order in which caches drop what they hold.
    #[doc(hidden)]
    pub fn fingerprint_of_facts(&self) -> u64 {
        self.facts.fingerprint()
    }
}

impl Facts {
    fn rehearse(&self, request: &Request, policy: &Policy, learnt: &Learnt, now: Timestamp) -> String {
        let (found, trail) = self.authorize(request, policy, learnt, now);
        told(&found, &trail)
    }

    fn fingerprint(&self) -> u64 {
        let mut all = DefaultHasher::new();
        for provider in self.providers() {
            format!("{provider:?}").hash(&mut all);
        }
        format!("{:?}", self.newcomers).hash(&mut all);
        self.validated.iter().for_each(|(key, _)| key.hash(&mut all));
        self.inactive.iter().for_each(|(key, reason)| (key, reason.as_str()).hash(&mut all));
        self.postponed.iter().for_each(|entry| entry.hash(&mut all));
        self.authorizations.iter().for_each(|(key, answer)| (key, format!("{answer:?}")).hash(&mut all));
        all.finish()
    }
}

/// A run in words: its end, its trail, and a number for the claims, which no `Debug` shows.
fn told(found: &Result<Grant, Halt>, trail: &Trail) -> String {
    let mut told = format!("{found:?} {trail:?}");
    let granted = found.as_ref().ok().and_then(Grant::token).map(AccessToken::claims);
    let kept = [&trail.kept, &trail.lessons.validated].into_iter().flatten().map(|token| &*token.claims);
    for claims in granted.into_iter().chain(kept) {
        let mut number = DefaultHasher::new();
        format!("{:?}", claims.object()).hash(&mut number);
        // Writing to a String can't fail.
        let _ = write!(told, " {:x}", number.finish());
    }
    told
}
