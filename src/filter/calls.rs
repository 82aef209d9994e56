//! The calls that facts take: when they are made, where they go, and what happens when they end.

use super::need::{Need, User};
use super::operator_log::Topic;
use super::waiting::{MAX_FLIGHTS, Room};
use super::{CallId, Effect, FetchOutcome, Filter};
use crate::http::Response;
use crate::provider::{Call, NoRoute, ProviderId};
use crate::time::Timestamp;
use std::fmt;

impl Filter {
    /// A call has ended: with a response, or without one. `unsent` says why it could not even be made.
    pub(super) fn end_call(
        &mut self,
        call: CallId,
        response: Option<Response>,
        unsent: Option<&'static str>,
        now: Timestamp,
    ) {
        self.complaints.refusals.time_is(now);
        let Some(need) = self.waiting.end_call(call) else { return };
        let flight = self.waiting.flight(&need);
        let endpoint = flight.and_then(|flight| flight.tried.last().copied()).unwrap_or_default();
        let taken = self.facts.take(&need, endpoint, response.as_ref(), now);
        let is_one_of_several = need
            .call()
            .zip(self.facts.provider_mut(need.provider()))
            .is_some_and(|(call, provider)| provider.note(call, endpoint, taken.as_ref().err(), now));
        match taken {
            Ok(unfit) => {
                if let Some(unfit) = unfit {
                    let problem = format_args!("{}: an answer makes no token good: {unfit}", need.as_str());
                    self.complain(need.provider(), Topic::Answer(need.as_str()), problem, now);
                }
                self.conclude(&need, true, now);
            }
            Err(error) => {
                let target = self.waiting.flight(&need).map(|flight| flight.target.as_str()).unwrap_or_default();
                let why: &dyn fmt::Display = match &unsent {
                    Some(why) => why,
                    None => &error,
                };
                let problem = format_args!("{}: {target}: {why}", need.as_str());
                self.complain(need.provider(), Topic::Call(need.as_str()), problem, now);
                if let Some(flight) = self.waiting.flight_mut(&need) {
                    flight.note_wait(&need, response.as_ref(), now);
                }
                self.attempt(&need, now);
                if is_one_of_several && self.waiting.is_under_way(&need) {
                    self.count_fetch(&need, "failed_over");
                }
            }
        }
    }

    /// Begins to fetch a fact that a request waits for, unless that is under way already. Whether it is now: if not, the fact
    /// can't be had.
    pub(super) fn start_for_a_waiter(&mut self, need: &Need, user: Option<User>, now: Timestamp) -> bool {
        if !self.waiting.is_under_way(need) {
            self.facts.admit(need, now);
            self.start(need, user, now);
            if let Need::Keys(provider, _) = need {
                self.start_other_sources(*provider, now);
            }
        }
        self.waiting.is_under_way(need)
    }

    /// Begins to fetch a fact, for this user if for any, unless that is under way already.
    fn start(&mut self, need: &Need, user: Option<User>, now: Timestamp) {
        if !self.waiting.is_under_way(need) {
            self.waiting.begin(need.clone(), user, now);
            self.facts.begin(need, now);
            self.attempt(need, now);
        }
    }

    /// Fetches what a candidate policy lacks, for the next request.
    pub(super) fn start_for_nobody(&mut self, need: &Need, now: Timestamp) {
        // Half of the room is left to those who wait.
        let has_room =
            self.waiting.has_room_for(need, Room::Common) && self.waiting.under_way() < MAX_FLIGHTS_WITH_SHADOWS;
        if has_room && !self.waiting.is_under_way(need) {
            // It is for the sake of a request all the same: a cooldown holds for that, too.
            if let (Some(provider), Some(call)) = (self.facts.provider_mut(need.provider()), need.call()) {
                provider.trying(call, now);
            }
            self.start(need, None, now);
        }
    }

    /// Begins to fetch what is due: documents that are kept fresh, and looks at endpoints that were given up.
    pub(super) fn start_due(&mut self, now: Timestamp) {
        let due = self.schedule(now).filter(|(_, due)| *due <= now).map(|(need, _)| need);
        let due: Vec<Need> = due.collect();
        for need in due {
            self.start(&need, None, now);
        }
    }

    /// What is to be fetched next without a request, and when.
    pub(super) fn schedule(&self, now: Timestamp) -> impl Iterator<Item = (Need, Timestamp)> {
        let all = self.facts.providers().flat_map(move |provider| {
            let id = provider.id;
            let documents = provider.schedule(now).map(move |(call, due)| (Need::document(id, call), due));
            let probes = provider.probes(now);
            documents.chain(probes.into_iter().map(move |(kind, endpoint, due)| (Need::Probe(id, kind, endpoint), due)))
        });
        // A probe may take longer than the interval.
        all.filter(|(need, _)| !self.waiting.is_under_way(need))
    }

    /// Fetches the keys of a provider's other sources along with those that a request waits for: any may hold the one it needs.
    fn start_other_sources(&mut self, id: ProviderId, now: Timestamp) {
        let Some(provider) = self.facts.provider(id).filter(|provider| provider.source_count() > 1) else { return };
        let sources =
            provider.sources_to_fetch(now).filter(|source| !provider.lacks_metadata(Call::Keys(*source), now));
        for source in sources.collect::<Vec<usize>>() {
            let need = Need::Keys(id, source);
            if !self.waiting.is_under_way(&need) {
                if let Some(provider) = self.facts.provider_mut(id) {
                    provider.trying(Call::Keys(source), now);
                }
                self.start(&need, None, now);
            }
        }
    }

    /// Sends the call to the endpoint whose turn it is; if there is none left, the need can't be met.
    fn attempt(&mut self, need: &Need, now: Timestamp) {
        let Some(flight) = self.waiting.flight_mut(need) else { return };
        let Some(provider) = self.facts.provider(need.provider()) else { return };
        let verifier = &self.facts.verifier;
        let choice = need.call().map_or(0, |call| provider.choice(call, &flight.tried));
        let fetch = match need {
            _ if !flight.tried.is_empty() && !need.may_be_repeated() => Err(NoRoute::Exhausted),
            Need::Authorization(_, question) => Ok(question.fetch(now)),
            Need::Enrichment(_, question) => question.fetch(provider, now, verifier),
            Need::Exchange(_, question) => question.fetch(provider, now, verifier),
            Need::Probe(_, kind, endpoint) => provider.probe(*kind, *endpoint, now, verifier),
            Need::Metadata(_) => provider.fetch(Call::Metadata, choice, now, verifier),
            Need::Keys(_, source) => provider.fetch(Call::Keys(*source), choice, now, verifier),
            Need::Introspection(_, token) => provider.fetch(Call::Introspection(token), choice, now, verifier),
            Need::Userinfo(_, token) => provider.fetch(Call::Userinfo(token), choice, now, verifier),
        };
        flight.tried.push(choice);
        match fetch {
            Ok(mut fetch) => {
                // RFC 9110, section 10.1.5: SHOULD. Firewalls before providers refuse calls without (AWS: NoUserAgent_HEADER).
                fetch.headers.push(("user-agent", USER_AGENT.to_owned()));
                let call = self.waiting.call(need, &fetch, now);
                self.effects.push(Effect::Fetch(call, fetch));
            }
            Err(NoRoute::Exhausted) => self.conclude(need, false, now),
            Err(unreachable @ NoRoute::CannotSign) => {
                let problem = format_args!("{}: {unreachable}", need.as_str());
                self.complain(need.provider(), Topic::Route(need.as_str()), problem, now);
                self.conclude(need, false, now);
            }
            Err(unreachable) => {
                // Few lines: this happens to documents only. A call about a token is not begun without a way to make it.
                log::error!("{}: {} cannot be fetched: {unreachable}", provider.label, need.as_str());
                self.conclude(need, false, now);
            }
        }
    }

    /// Ends a fetch, and runs those who waited for it.
    pub(super) fn conclude(&mut self, need: &Need, succeeded: bool, now: Timestamp) {
        let Some(flight) = self.waiting.end(need) else { return };
        self.facts.end(need, succeeded, flight.wait.unwrap_or_default(), now);
        if !matches!(need, Need::Probe(..)) {
            self.count_fetch(need, if succeeded { "ok" } else { "failed" });
        }
        if need.is_document() {
            // Each brings a token of its own, which takes a signature: the worker has other work, too.
            self.waiting.make_ready(flight.waiters);
            self.resume_some(now);
        } else {
            // All bring the same token, and the answer may be good for this moment only.
            flight.waiters.into_iter().for_each(|stream| self.resume(stream, now));
        }
        if succeeded && matches!(need, Need::Metadata(_)) {
            // The keys whose place has just become known need not wait for the next tick.
            self.start_due(now);
        }
    }

    fn count_fetch(&mut self, need: &Need, result: &'static str) {
        if let Some(provider) = self.facts.label(need.provider()) {
            self.effects.push(Effect::Fetched(FetchOutcome { provider, kind: need.as_str(), result }));
        }
    }
}

/// Who calls.
const USER_AGENT: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Calls that may be under way when one is made for the sake of a candidate.
const MAX_FLIGHTS_WITH_SHADOWS: usize = MAX_FLIGHTS / 2;
