//! Commits a run of the decision: keeps what it found, and spends, once, what its grant costs.
//!
//! [`authorize`](super::authorize) reads and returns; it may run many times for one request, and for candidate policies. Whatever is
//! written because of it is written here: facts that it proved, the order of caches, the operator's log, and what a grant spends.
//! The invariant: a grant passes a request only as [`Granted`], and only [`Filter::commit`] makes one of it.

use super::Filter;
use super::ends::{Grant, Halt, Refusal, TokenGrant};
use super::need::ENTRY_SIZE;
use super::operator_log::{Detail, Topic};
use super::trail::{Trail, UsedEntry};
use crate::oauth::dpop::replay::Spent;
use crate::reply::Denial;
use crate::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

/// A grant whose cost is paid.
#[derive(Debug)]
pub(super) struct Granted(Grant);

impl Granted {
    pub(super) fn into_grant(self) -> Grant {
        self.0
    }
}

impl Filter {
    /// Keeps what a run found, and spends what its grant costs. If another request has spent that in the meantime, there is no grant.
    pub(super) fn commit(
        &mut self,
        found: Result<Grant, Halt>,
        trail: &mut Trail,
        now: Timestamp,
    ) -> Result<Granted, Halt> {
        self.note(trail, now);
        let grant = found?;
        self.spend(&grant, trail, now)?;
        Ok(Granted(grant))
    }

    /// Spends the proof that a grant rests on. Of all grants with this proof, one stays.
    fn spend(&self, grant: &Grant, trail: &mut Trail, now: Timestamp) -> Result<(), Halt> {
        let Grant::Token(TokenGrant { proof: Some(proof), provider, label, .. }) = grant else { return Ok(()) };
        let spent = self.facts.proofs.spend(proof, now);
        trail.spent = Some(spent);
        if let Some(problem) = spent.problem() {
            self.complain(*provider, Topic::Proofs, format_args!("{problem}"), now);
        }
        let denial = match spent {
            Spent::First | Spent::FirstOfTooMany => return Ok(()),
            Spent::Again | Spent::TooOld => Denial::InvalidDpopProof,
            Spent::NoRoom | Spent::Unknown => Denial::Overloaded,
        };
        let refusal = Refusal::new(denial, Some(Rc::clone(label)));
        Err(Halt::Deny(Refusal { detail: Some(Detail::Spent(spent)), ..refusal }))
    }

    /// Keeps what a run noticed, whatever its result, also for a candidate policy. It spends nothing.
    pub(super) fn note(&mut self, trail: &Trail, now: Timestamp) {
        self.facts.note(trail, now);
        if let Some(complaint) = &trail.complaint {
            self.complain(complaint.provider(), complaint.topic(), format_args!("{complaint}"), now);
        }
    }
}

impl super::facts::Facts {
    fn note(&mut self, trail: &Trail, now: Timestamp) {
        if let (Some(digest), Some(used)) = (trail.token, trail.used) {
            match used {
                UsedEntry::Signature => self.validated.touch(&(None, digest)),
                UsedEntry::Answer(provider) => self.validated.touch(&(Some(provider), digest)),
                UsedEntry::Inactive(provider) => self.inactive.touch(&(provider, digest)),
                UsedEntry::Postponed(provider) => self.postponed.touch(&(provider, digest)),
            }
        }
        if let Some((question, _)) = &trail.lessons.authorized {
            self.authorizations.touch(question);
        }
        for (question, _) in &trail.lessons.enriched {
            self.enrichments.touch(question);
        }
        if let Some((key, _)) = &trail.lessons.exchanged {
            self.exchanges.touch(key);
        }
        if let Some(provider) = trail.proved {
            self.become_live(provider);
        }
        if let Some(header) = &trail.header {
            self.headers.keep(header);
        }
        // What a provider answered was kept when it came.
        if let (Some(digest), Some(validated)) = (trail.token, &trail.kept) {
            let skew = self.provider(validated.provider).map(|provider| provider.config.clock_skew).unwrap_or_default();
            let end = validated.claims.expires_at().map(|end| end.saturating_add(skew).saturating_since(now));
            let size = validated.claims.memory_size().saturating_add(ENTRY_SIZE);
            let lifetime = end.unwrap_or(ENDLESS_TOKEN_LIFETIME);
            self.validated.insert((None, digest), validated.clone(), size, lifetime, now);
        }
    }
}

/// A token that never expires is verified again from time to time all the same.
const ENDLESS_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
