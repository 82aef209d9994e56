//! Where signed identities are written to a request that goes on: after the grant, or for those who need none.

use super::Filter;
use super::ends::{Refusal, TokenEntry};
use super::operator_log::{Detail, Topic};
use crate::config::Policy;
use crate::decision::Tally;
use crate::provider::ProviderId;
use crate::reply::Denial;
use crate::time::Timestamp;
use crate::upstream::assertion::{self, Error, JwtIds, KeptAssertions, Principal, Signer};
use crate::upstream::rewrite::Rewrite;
use std::rc::Rc;

/// What signs for this worker, beside the keys.
#[derive(Default)]
pub(super) struct Assertions {
    ids: JwtIds,
    /// Those about nobody in particular.
    of_nobody: KeptAssertions,
}

impl Assertions {
    /// With ids by this seed, which no other worker has.
    pub(super) fn by(seed: Option<[u8; 32]>) -> Self {
        Self { ids: JwtIds::of(seed), of_nobody: KeptAssertions::default() }
    }
}

impl Filter {
    /// Writes the assertions of a policy about the subject of a token, which are kept where the token is.
    pub(super) fn assert_subject(
        &mut self,
        policy: &Policy,
        principal: Principal,
        entry: &TokenEntry,
        tally: &mut Tally,
        rewrite: &mut Rewrite,
        now: Timestamp,
    ) -> Result<(), Error> {
        if policy.assertions.is_empty() {
            return Ok(());
        }
        let of_nothing = KeptAssertions::default();
        let kept = entry.assertions.as_deref().unwrap_or(&of_nothing);
        let grown = self.write_assertions(policy, principal, kept, tally, rewrite, now)?;
        self.facts.validated.grow(&entry.key, grown);
        Ok(())
    }

    /// Writes the assertions of a policy about somebody who needed no token.
    pub(super) fn assert_nobody(
        &self,
        policy: &Policy,
        tally: &mut Tally,
        rewrite: &mut Rewrite,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        if policy.assertions.is_empty() {
            return Ok(());
        }
        let written =
            self.write_assertions(policy, Principal::Anonymous, &self.assertions.of_nobody, tally, rewrite, now);
        written.map(|_| ()).map_err(|error| {
            self.complain_of_assertion(ProviderId::FIRST, &error, now);
            refusal(&error)
        })
    }

    fn write_assertions(
        &self,
        policy: &Policy,
        principal: Principal,
        kept: &KeptAssertions,
        tally: &mut Tally,
        rewrite: &mut Rewrite,
        now: Timestamp,
    ) -> Result<usize, Error> {
        let signer = Signer { verifier: &self.facts.verifier, ids: &self.assertions.ids, now };
        let (written, result) = assertion::write(&policy.assertions, principal, kept, &signer, rewrite);
        tally.assertions = written.uses;
        result.map(|()| written.grown)
    }

    /// Tells the operator what keeps an assertion from being written, where it is not for the token to mend.
    pub(super) fn complain_of_assertion(&self, provider: ProviderId, error: &Error, now: Timestamp) {
        if let Some(problem) = error.problem() {
            self.complain(provider, Topic::Assertion, format_args!("{problem}"), now);
        }
    }
}

/// What becomes of a request whose assertion can't be written.
pub(super) fn refusal(error: &Error) -> Refusal {
    match error {
        Error::Missing(claim) => {
            let detail = Some(Detail::AssertionClaim(Rc::from(claim.as_str())));
            Refusal { detail, ..Refusal::new(Denial::InsufficientClaims, None) }
        }
        Error::TooLarge { .. } | Error::CannotSign(_) | Error::NoRandomness(_) => {
            Refusal::new(Denial::Misconfigured, None)
        }
    }
}
