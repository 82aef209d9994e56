//! What is written about an identity: made anew for a token that is new, and kept for one that comes again.
//!
//! The invariant: all that is kept counts as a part of its token's entry, and goes with it.

use super::Filter;
use super::ends::TokenEntry;
use crate::config::Policy;
use crate::upstream::identity::{self, Identity};
use crate::upstream::outputs::Outputs;
use std::rc::Rc;

impl Filter {
    /// What a policy writes about an identity; `None` if it writes nothing. With `may_keep`, that is kept for the next time: the token
    /// has come before, and nothing of the identity is from elsewhere.
    pub(super) fn outputs(
        &mut self,
        policy: &Policy,
        identity: Identity,
        entry: &TokenEntry,
        may_keep: bool,
    ) -> Result<Option<Rc<Outputs>>, identity::Error> {
        if policy.claim_headers.is_empty() && policy.user_info.is_empty() {
            return Ok(None);
        }
        // Most tokens of a flood come once: to keep what was made for them would take room from those that come again.
        let kept = entry.outputs.as_deref().filter(|_| may_keep);
        if let Some(outputs) = kept.and_then(|kept| kept.get(policy, identity.location)) {
            return Ok(Some(outputs));
        }
        let outputs = Rc::new(identity::write(policy, identity, &self.name)?);
        if let Some(kept) = kept {
            let grown = kept.put(policy, identity.location, &outputs);
            self.facts.validated.grow(&entry.key, grown);
        }
        Ok(Some(outputs))
    }
}
