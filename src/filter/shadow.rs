//! What a candidate policy would have done with a request. Nothing of that changes what is done with it, and no request waits for it.

use super::Filter;
use super::assertions::refusal;
use super::ends::{Grant, Halt};
use super::need::{Learnt, Need};
use crate::decision::{Case, Disposition, Shadow};
use crate::reply::Denial;
use crate::time::Timestamp;
use crate::upstream::assertion;
use crate::upstream::identity::{self, Identity};

impl Filter {
    /// What the candidate policy would have done. A fact that is lacking is fetched for the next request.
    pub(super) fn judge_shadow(&mut self, case: &Case, learnt: &Learnt, now: Timestamp) -> Option<Shadow> {
        let candidate = case.policy.shadow.as_ref()?;
        let (found, trail) = self.facts.authorize(&case.request, candidate, learnt, now);
        // What the run noticed holds for every policy. Its grant lets nothing pass, and spends nothing.
        self.note(&trail, now);
        Some(match found {
            Ok(Grant::Exempt(exemption)) => Shadow::Decided(Disposition::Bypassed, exemption.reason()),
            Ok(Grant::Token(granted)) => {
                let identity = Identity { claims: granted.token.claims(), provider: "", issuer: "", location: "" };
                match identity::write(candidate, identity, &self.name) {
                    Ok(_) => match assertion::check(&candidate.assertions, identity) {
                        Ok(()) => Shadow::Decided(Disposition::Allowed, None),
                        Err(error) => Shadow::Decided(Disposition::Denied, Some(refusal(&error).denial.reason())),
                    },
                    Err(error) => Shadow::Decided(Disposition::Denied, Some(Denial::from(error).reason())),
                }
            }
            Err(Halt::Deny(refusal)) => {
                self.tell_unmet_by_shadow(case, candidate, refusal.detail.as_ref());
                let strips = candidate.strips(&case.request) && refusal.denial.is_strippable();
                let disposition = if strips { Disposition::Stripped } else { Disposition::Denied };
                Shadow::Decided(disposition, Some(refusal.denial.reason()))
            }
            Err(Halt::Need(need)) => {
                // What spends something is not sent for the sake of a candidate.
                if !matches!(need, Need::Exchange(..)) {
                    self.start_for_nobody(&need, now);
                }
                Shadow::Undecided
            }
        })
    }
}
