//! Those who wait, and what they wait for: one call for all who lack the same fact.

use super::authorize::Halt;
use super::need::{ENTRY_SIZE, Learnt, Need, ValidatedBy, ValidatedToken, document};
use super::{CallId, Decision, Effect, FetchOutcome, Filter, StreamId, WATCH_INTERVAL};
use crate::decision::Case;
use crate::http::Response;
use crate::jose::jwt::Claims;
use crate::oauth::diagnosis;
use crate::oauth::introspection::{Answer, Unfit};
use crate::policy::external;
use crate::provider::{Call, FetchError, NoRoute};
use crate::reply::{Denial, Reason};
use crate::time::{Deadline, Timestamp};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// A fetch on its way, and who waits for it.
pub(super) struct InFlight {
    /// The endpoints of the list for it that it was at, the last of which it may still be at.
    pub(super) tried: Vec<usize>,
    /// Where the call went, for the operator.
    pub(super) target: String,
    pub(super) waiters: BTreeSet<StreamId>,
    pub(super) deadline: Deadline,
    /// How long the endpoints that it was at want to be left alone: none if one of them said nothing of that.
    wait: Option<Duration>,
}

impl InFlight {
    /// Notes what an answer that was of no use says about the next try. Of several endpoints the first that is ready counts; the
    /// places for metadata are one server's, and what isn't there says nothing.
    pub(super) fn note_wait(&mut self, need: &Need, response: Option<&Response>, now: Timestamp) {
        let wait = response.and_then(|response| response.retry_after(now)).unwrap_or_default();
        self.wait = Some(match (need, self.wait) {
            (_, None) => wait,
            (Need::Metadata(_), Some(before)) => before.max(wait),
            (_, Some(before)) => before.min(wait),
        });
    }
}

/// A request that waits.
pub(super) struct Parked {
    pub(super) case: Case,
    pub(super) asked: Learnt,
    pub(super) deadline: Deadline,
    /// What it is counted for in `parked_bytes`.
    weight: usize,
}

impl Filter {
    pub(super) fn park(
        &mut self,
        stream: StreamId,
        case: Case,
        need: Need,
        answer: Option<ValidatedToken>,
        now: Timestamp,
    ) -> Decision {
        let need = self.shared(need);
        let asked = Learnt { needs: vec![need.clone()], answer: answer.map(|answer| (answer, now)) };
        if let Some(case) = self.keep(stream, case, asked, Deadline::after(MAX_WAIT, now)) {
            return self.refuse_case(&case, Denial::Overloaded, Some(need.provider()));
        }
        self.start(need, Some(stream), now);
        // What can't even be sent is decided already.
        let resolved = |effect: &Effect| matches!(effect, Effect::Resolve(resolved, _) if *resolved == stream);
        match self.effects.iter().position(resolved).map(|position| self.effects.remove(position)) {
            Some(Effect::Resolve(_, decision)) => decision,
            _ => Decision::Wait,
        }
    }

    pub(super) fn unpark(&mut self, stream: StreamId) -> Option<Parked> {
        let parked = self.parked.remove(&stream)?;
        self.parked_bytes = self.parked_bytes.saturating_sub(parked.weight);
        Some(parked)
    }

    /// Keeps a request that has asked for its last need just now; gives its case back if there is no room for it.
    fn keep(&mut self, stream: StreamId, case: Case, asked: Learnt, deadline: Deadline) -> Option<Case> {
        let weight = case.request.headers.size().saturating_add(asked.memory_size());
        let bytes = self.parked_bytes.saturating_add(weight);
        let has_room = asked.needs.last().is_some_and(|need| self.has_room_for(need));
        if self.parked.len() >= MAX_PARKED || bytes > MAX_PARKED_BYTES || !has_room {
            return Some(case);
        }
        self.parked_bytes = bytes;
        self.parked.insert(stream, Parked { case, asked, deadline, weight });
        None
    }

    /// The same need as the fetch under way for it has it, if there is one: a question holds all claims of a token, and many
    /// may wait for one answer.
    fn shared(&self, need: Need) -> Need {
        self.flights.get_key_value(&need).map_or(need, |(known, _)| known.clone())
    }

    /// Runs the decision again for a request that waited.
    fn resume(&mut self, stream: StreamId, now: Timestamp) {
        let Some(Parked { case, mut asked, deadline, .. }) = self.unpark(stream) else { return };
        let decision = match self.authorize(&case.request, &case.policy, &asked, now) {
            Ok(grant) => self.decide(case, Ok(grant), now),
            Err(Halt::Deny(refusal)) => self.decide(case, Err(refusal), now),
            Err(Halt::Need(need, answer)) => {
                let need = self.shared(need);
                asked.needs.push(need.clone());
                asked.answer = answer.map(|answer| (answer, now)).or(asked.answer);
                match self.keep(stream, case, asked, deadline) {
                    None => return self.start(need, Some(stream), now),
                    Some(case) => self.refuse_case(&case, Denial::Overloaded, Some(need.provider())),
                }
            }
        };
        self.effects.push(Effect::Resolve(stream, decision));
    }

    /// Runs the decision again for those who are ready, as many as a worker can do at a time.
    pub(super) fn resume_some(&mut self, now: Timestamp) {
        for _ in 0..MAX_RESUMED {
            let Some(stream) = self.ready.pop_front() else { break };
            self.resume(stream, now);
        }
    }

    /// Questions about single tokens are bounded, since anybody can make up tokens; documents are few.
    pub(super) fn has_room_for(&self, need: &Need) -> bool {
        let is_document = matches!(need, Need::Metadata(_) | Need::Keys(..));
        // Who floods one provider takes no room from another, nor from the authorizers.
        let whom = |need: &Need| (need.provider(), matches!(need, Need::Authorization(..)));
        let of_the_same = || self.flights.keys().filter(|other| whom(other) == whom(need)).count();
        let is_free = match self.flights.len() {
            0..MAX_FLIGHTS => true,
            MAX_FLIGHTS..MAX_ALL_FLIGHTS => of_the_same() < MAX_FLIGHTS,
            _ => false,
        };
        // A question to an authorizer holds all claims, one about a long token that: they stay when those who waited have left.
        // All else is small.
        let weights = || self.flights.keys().map(Need::memory_size).fold(need.memory_size(), usize::saturating_add);
        let fits = || need.memory_size() == 0 || weights() <= MAX_CHECK_BYTES;
        is_document || self.flights.contains_key(need) || is_free && fits()
    }

    /// Joins the fetch that is under way, or begins it.
    pub(super) fn start(&mut self, need: Need, waiter: Option<StreamId>, now: Timestamp) {
        if let Some(flight) = self.flights.get_mut(&need) {
            flight.waiters.extend(waiter);
            return;
        }
        let flight = InFlight {
            tried: Vec::new(),
            target: String::new(),
            waiters: waiter.into_iter().collect(),
            deadline: Deadline::after(MAX_WAIT, now),
            wait: None,
        };
        self.flights.insert(need.clone(), flight);
        if let (Need::Probe(_, kind, endpoint), Some(provider)) = (&need, self.providers.get_mut(need.provider())) {
            provider.probing(*kind, *endpoint, now);
        }
        if let (Some(provider), Some(call)) = (self.providers.get_mut(need.provider()), need.call())
            && waiter.is_some()
        {
            provider.trying(call, now);
            if matches!(need, Need::Metadata(_) | Need::Keys(..)) && provider.needs_admission(now) {
                provider.admit(now);
                self.newcomers.admit(now);
            }
        }
        self.attempt(&need, now);
        if let (Need::Keys(index, _), Some(_)) = (&need, waiter) {
            self.start_other_sources(*index, now);
        }
    }

    /// Fetches the keys of a provider's other sources along with those that a request waits for: any may hold the one it needs.
    fn start_other_sources(&mut self, index: usize, now: Timestamp) {
        let Some(provider) = self.providers.get(index).filter(|provider| provider.source_count() > 1) else { return };
        let can_be_called = |source: &usize| !provider.lacks_metadata(Call::Keys(*source), now);
        let sources: Vec<usize> = provider.sources_to_fetch(now).filter(can_be_called).collect();
        for source in sources {
            let need = Need::Keys(index, source);
            if !self.flights.contains_key(&need) {
                if let Some(provider) = self.providers.get_mut(index) {
                    provider.trying(Call::Keys(source), now);
                }
                self.start(need, None, now);
            }
        }
    }

    /// Sends the call to the endpoint whose turn it is; if there is none left, the need can't be met.
    pub(super) fn attempt(&mut self, need: &Need, now: Timestamp) {
        let Some(flight) = self.flights.get_mut(need) else { return };
        let Some(provider) = self.providers.get(need.provider()) else { return };
        let choice = need.call().map_or(0, |call| provider.choice(call, &flight.tried));
        let fetch = match (need, need.call()) {
            (_, None) if !flight.tried.is_empty() => Err(NoRoute::Exhausted),
            (Need::Authorization(_, question), _) => Ok(question.fetch(now)),
            (Need::Probe(_, kind, endpoint), _) => provider.probe(*kind, *endpoint, now, &self.verifier),
            (_, Some(call)) => provider.fetch(call, choice, now, &self.verifier),
            (_, None) => Err(NoRoute::Exhausted),
        };
        flight.tried.push(choice);
        match fetch {
            Ok(mut fetch) => {
                // RFC 9110, section 10.1.5: SHOULD. Firewalls before providers refuse calls without (AWS: NoUserAgent_HEADER).
                fetch.headers.push(("user-agent", USER_AGENT.to_owned()));
                flight.deadline = Deadline::after(fetch.timeout.saturating_mul(2).saturating_add(WATCH_INTERVAL), now);
                flight.target = format!("{fetch:?} by cluster {:?}", fetch.endpoint.cluster);
                self.last_call = self.last_call.wrapping_add(1);
                let call = CallId(self.last_call);
                self.calls.insert(call, need.clone());
                self.effects.push(Effect::Fetch(call, fetch));
            }
            Err(NoRoute::Exhausted) => self.conclude(need, false, now),
            Err(unreachable @ NoRoute::CannotSign) => {
                self.complain(need.provider(), format_args!("{}: {unreachable}", need.as_str()), now);
                self.conclude(need, false, now);
            }
            Err(unreachable) => {
                // Only for documents, of which few are fetched: a call about a token is not begun without a way.
                log::error!("{}: {} cannot be fetched: {unreachable}", provider.label, need.as_str());
                self.conclude(need, false, now);
            }
        }
    }

    /// Ends a fetch, and runs those who waited for it.
    pub(super) fn conclude(&mut self, need: &Need, succeeded: bool, now: Timestamp) {
        let Some(flight) = self.flights.remove(need) else { return };
        let wait = flight.wait.unwrap_or_default();
        if let (Some(provider), Some(call)) = (self.providers.get_mut(need.provider()), need.call())
            && !succeeded
        {
            provider.failed(call, wait, now);
        }
        if let (Need::Introspection(provider, token) | Need::Userinfo(provider, token), false) = (need, succeeded)
            && wait > Duration::ZERO
        {
            let key = (*provider, token.digest());
            self.postponed.insert(key, now.saturating_add(wait), ENTRY_SIZE, wait, now);
        }
        if !matches!(need, Need::Probe(..)) {
            self.count_fetch(need, if succeeded { "ok" } else { "failed" });
        }
        match need {
            // Each brings a token of its own, which takes a signature: the worker has other work, too.
            Need::Metadata(_) | Need::Keys(..) => {
                self.ready.extend(flight.waiters);
                self.resume_some(now);
            }
            // All bring the same token, and the answer may be good for this moment only.
            _ => flight.waiters.into_iter().for_each(|stream| self.resume(stream, now)),
        }
        if succeeded && matches!(need, Need::Metadata(_)) {
            // The keys whose place has just become known need not wait for the next tick.
            let due: Vec<Need> = self.due(now).collect();
            for need in due {
                self.start(need, None, now);
            }
        }
    }

    pub(super) fn count_fetch(&mut self, need: &Need, result: &'static str) {
        if let Some(provider) = self.providers.get(need.provider()) {
            let outcome = FetchOutcome { provider: Rc::clone(&provider.label), kind: need.as_str(), result };
            self.effects.push(Effect::Fetched(outcome));
        }
    }

    /// Takes in the answer of the endpoint that was tried last.
    pub(super) fn take(
        &mut self,
        need: &Need,
        endpoint: usize,
        response: Option<&Response>,
        now: Timestamp,
    ) -> Result<(), FetchError> {
        let Some(provider) = self.providers.get_mut(need.provider()) else { return Err(FetchError::NoAnswer) };
        let config = Rc::clone(&provider.config);
        let (token, answer, introspected) = match need {
            Need::Metadata(_) => return provider.take_metadata(response, endpoint, now),
            Need::Keys(_, source) => return provider.take_keys(*source, response, now),
            Need::Introspection(_, token) => {
                (token, response.and_then(|response| provider.introspected(response)), true)
            }
            Need::Userinfo(_, token) => (token, response.and_then(|response| provider.told_of_user(response)), false),
            Need::Authorization(_, question) => {
                let verdict = response.and_then(external::verdict);
                let verdict = verdict.ok_or_else(|| response.map_or(FetchError::NoAnswer, FetchError::of_status))?;
                let weight = question.memory_size().saturating_add(ENTRY_SIZE);
                self.verdicts.insert(question.clone(), verdict, weight, question.authorizer().cache, now);
                return Ok(());
            }
            Need::Probe(_, kind, endpoint) => {
                provider.take_probe(*kind, *endpoint, response, now);
                return Ok(());
            }
        };
        let Some(answer) = answer else {
            if introspected && response.is_some_and(|response| provider.introspection_refused(response, now)) {
                return Ok(());
            }
            return Err(match response.map_or(0, |response| response.status) {
                0 => FetchError::NoAnswer,
                200 => FetchError::Document(response.map(not_an_object).unwrap_or_default()),
                status @ (401 | 403) => FetchError::Refused(status),
                _ => response.map_or(FetchError::NoAnswer, FetchError::of_status),
            });
        };
        // By its status alone, an answer may be about us.
        if introspected && response.is_some_and(|response| response.status == 200) {
            provider.introspection_worked();
        }
        let claims = match answer {
            Answer::Active(object) => Claims::from_answer(object)
                .and_then(|claims| provider.in_our_terms(claims))
                .map_err(|error| Some(Unfit::Claims(error))),
            Answer::Inactive => Err(None),
            Answer::Unfit(unfit) => Err(Some(unfit)),
        };
        let key = (need.provider(), token.digest());
        match claims {
            Ok(claims) => {
                let cache = if introspected { config.introspection.cache } else { config.userinfo.cache };
                // RFC 7662, section 4: an answer must not be believed beyond `exp`.
                let left = claims.expires_at().map(|end| end.saturating_since(now)).unwrap_or(Duration::MAX);
                let weight = claims.memory_size().saturating_add(ENTRY_SIZE);
                let validated_by = if introspected { ValidatedBy::Introspection } else { ValidatedBy::Userinfo };
                let vouched = ValidatedToken { claims: Rc::new(claims), provider: need.provider(), validated_by };
                self.vouched.insert((Some(need.provider()), token.digest()), vouched, weight, cache.min(left), now);
                if provider.come_alive() {
                    self.newcomers.welcome();
                }
            }
            Err(unfit) => {
                if let Some(unfit) = unfit {
                    self.complain(
                        key.0,
                        format_args!("{}: an answer makes no token good: {unfit}", need.as_str()),
                        now,
                    );
                }
                self.vouched.forget(&(Some(key.0), key.1), |_| true);
                let reason = unfit.map_or(Reason::Inactive, Reason::from);
                self.inactive.insert(key, reason, ENTRY_SIZE, config.introspection.negative_cache, now);
            }
        }
        Ok(())
    }

    pub(super) fn due(&self, now: Timestamp) -> impl Iterator<Item = Need> {
        self.providers.iter().enumerate().flat_map(move |(index, provider)| {
            let due = provider.schedule(now).filter(move |(_, due)| *due <= now);
            let documents = due.map(move |(call, _)| document(index, call));
            let probes = provider.probes(now).filter(move |(.., due)| *due <= now);
            let probes = probes.map(move |(kind, endpoint, _)| Need::Probe(index, kind, endpoint));
            documents.chain(probes).filter(|need| !self.flights.contains_key(need))
        })
    }
}

/// What is told of an answer about a token that holds none.
fn not_an_object(response: &Response) -> String {
    let what = match diagnosis::of_body(response) {
        Some(what) => what.into_owned(),
        None => format!("its `content-type` is {}, or it is too long", diagnosis::quoted(&response.media_type())),
    };
    format!("the answer is not the JSON object that it should be: {what}")
}

/// Who calls.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Requests that may wait at a time; beyond, the provider is too slow for more to be of any use.
const MAX_PARKED: usize = 10_000;

/// How many requests are decided in one call of the host: with signatures that the host verifies, some ten milliseconds;
/// a tenth of a second with those that the module has to.
const MAX_RESUMED: usize = 256;

/// What they may weigh together: their headers, and what was answered to them.
const MAX_PARKED_BYTES: usize = 64 << 20;

/// What the questions that are open at a time may weigh together: those to authorizers, and those about long tokens.
const MAX_CHECK_BYTES: usize = 64 << 20;

/// Questions about tokens that may be open at a time with one provider, or with its authorizers: Envoy's default circuit
/// breaker lets 1024 through to a cluster.
pub(super) const MAX_FLIGHTS: usize = 1000;

/// And with all of them.
const MAX_ALL_FLIGHTS: usize = 4000;

/// A request needs at most metadata, keys and an answer, each over a list of endpoints; a client gives up sooner.
const MAX_WAIT: Duration = Duration::from_secs(60);
