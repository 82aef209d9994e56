//! What a client gets instead: the answer to a request that does not pass, and what is done to the request for those who log it.
//!
//! The invariant: no answer says more of a token than why it was refused. On a request that is logged stays no identity that its
//! client made up, and no token unless every policy lets tokens go on.

use super::ends::Refusal;
use super::{Filter, REMOVED_BY_EXT_AUTHZ, permit};
use crate::decision::{Answered, Case, Decision, Disposition, Meaning, Outcome, Tally};
use crate::http::{Answer, Edit};
use crate::oauth::credentials;
use crate::oauth::dpop::NONCE_HEADER;
use crate::reply::{Denial, RefusalContext};
use crate::time::Timestamp;
use crate::upstream::rewrite::Rewrite;
use std::rc::Rc;

impl Filter {
    /// The answer to a preflight from a listed origin. A proxy that asks gets none, since it would take that for a yes to the request
    /// itself; and where no token is needed, the service knows what it lets pages read.
    pub(super) fn on_preflight(&self, case: &Case) -> Option<Answered> {
        let cors = self.config.cors.as_ref().filter(|_| !case.is_check && !case.policy.bypass)?;
        let mut answer = Answer::unstored(204);
        answer.headers.extend(cors.on_preflight(&case.request)?);
        let outcome = Outcome { result: Disposition::Bypassed, reason: None, provider: None };
        self.tell(case, &outcome, Some(answer.status), None, Tally::default());
        // A page asks with the very target that it wants to ask for, tokens and all.
        let edits = self.clear(case);
        Some(Answered::new(edits, answer, Meaning::Preflight, outcome))
    }

    /// Refuses a request, with what its policy says of refusals.
    pub(super) fn refuse_for(&self, case: &Case, refusal: Refusal, tally: Tally, now: Timestamp) -> Decision {
        let Refusal { denial, provider, detail } = refusal;
        let refused = self.refused(case, &denial, provider, None, now);
        self.tell(case, &refused.outcome, Some(refused.answer.status), detail.as_ref(), tally);
        Decision::Answer(Answered { tally, ..refused })
    }

    /// Refuses a request that no policy could be found for.
    pub(super) fn refuse_without_policy(&self, case: &Case, denial: Denial, now: Timestamp) -> Decision {
        let refused = self.refused(case, &denial, None, None, now);
        self.tell_without_policy(case, &refused.outcome, refused.answer.status);
        Decision::Answer(refused)
    }

    /// The answer to a refused request, or to the message in its body that has this `id`.
    pub(super) fn refused(
        &self,
        case: &Case,
        denial: &Denial,
        provider: Option<Rc<str>>,
        id: Option<&str>,
        now: Timestamp,
    ) -> Answered {
        let Case { request, policy, is_check } = case;
        let uses_dpop = policy.takes_dpop() && credentials::uses_dpop(request, &self.config.sources);
        let about = RefusalContext { policy, mcp: permit::server(policy, request).map(|mcp| &**mcp), id, uses_dpop };
        let mut answer = match request.grpc() {
            // A proxy that asks takes 200 for a yes, 401 and 403 for a no, and all else for a fault
            // (ngx_http_auth_request_module): whatever its client speaks, it is answered in HTTP.
            _ if *is_check => denial.answer(&about, Some(401)),
            None => denial.answer(&about, policy.enforce_response_code),
            Some(grpc) => denial.grpc_answer(&about, policy.enforce_response_code, grpc),
        };
        // A client that is challenged gets a nonce, which saves it a try. A browser that speaks gRPC is challenged with 200.
        let is_challenge = answer.status == 401 || *denial == Denial::UseDpopNonce;
        let offers_nonce = is_challenge && policy.dpop.as_ref().is_some_and(|dpop| dpop.offers_nonces());
        if let Some(nonce) = self.facts.proofs.nonce(now).filter(|_| offers_nonce) {
            answer.add(NONCE_HEADER, nonce);
        }
        if let Some(cors) = &self.config.cors {
            answer.headers.extend(cors.on_answer(request));
        }
        // Some proxies are told to go on all the same, without an identity.
        if let Some(names) = is_check.then(|| self.to_be_removed(request, &[], &[])).flatten() {
            answer.add(REMOVED_BY_EXT_AUTHZ, names);
        }
        let reason = denial.reason();
        let outcome = Outcome { result: Disposition::Denied, reason: Some(reason), provider };
        let edits = self.clear(case);
        Answered::new(edits, answer, Meaning::Denied(reason), outcome)
    }

    /// Takes off a request that is answered here what its client made up under the filter's own names, and its tokens unless every
    /// policy lets them go on: its headers go into the access log.
    pub(super) fn clear(&self, case: &Case) -> Vec<Edit> {
        self.cleared(case, self.facts.uses.takes_tokens_off)
    }

    /// The same, with its tokens or without.
    pub(super) fn cleared(&self, case: &Case, takes_tokens_off: bool) -> Vec<Edit> {
        let mut rewrite = Rewrite::default();
        if takes_tokens_off {
            rewrite.strip_tokens(&self.config.sources, &case.request);
        }
        let mut edits = rewrite.edits(&case.request, &self.own);
        if let Some(verify) = self.config.verify.as_ref().filter(|_| case.is_check) {
            edits.iter_mut().for_each(|edit| verify.put_back(edit));
        }
        edits
    }
}
