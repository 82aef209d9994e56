//! Those who wait, and what they wait for: one call for all who lack the same fact. All of it is bounded.

use super::need::{Learnt, Need, User};
use super::{CallId, StreamId, WATCH_INTERVAL};
use crate::decision::Case;
use crate::http::{Fetch, Response};
use crate::ordered;
use crate::provider::ProviderId;
use crate::table::Table;
use crate::time::{Deadline, Timestamp};
use std::collections::{HashMap, VecDeque};
use std::mem::Discriminant;
use std::time::Duration;

/// Calls that are under way, and requests that wait for them.
#[derive(Default)]
pub(super) struct Waiting {
    flights: HashMap<Need, InFlight>,
    calls: ordered::Map<CallId, Need>,
    last_call: u64,
    parked: Table<StreamId, Parked>,
    parked_bytes: usize,
    /// Those whose document has come, or can't be had, and whose turn has not.
    ready: VecDeque<StreamId>,
}

/// A fetch on its way, and who waits for it.
pub(super) struct InFlight {
    /// The endpoints of its list that were tried. A call to the last one may be under way.
    pub(super) tried: Vec<usize>,
    /// Where the call went, for the operator.
    pub(super) target: String,
    /// In order, as they came.
    pub(super) waiters: Vec<StreamId>,
    /// For whom it began, if that was known.
    user: Option<User>,
    deadline: Deadline,
    /// How long the endpoints that were tried want to be left alone; zero if one of them did not say.
    pub(super) wait: Option<Duration>,
}

impl InFlight {
    fn new(user: Option<User>, now: Timestamp) -> Self {
        let (tried, target, waiters) = (Vec::new(), String::new(), Vec::new());
        Self { tried, target, waiters, user, deadline: Deadline::after(MAX_WAIT, now), wait: None }
    }

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
    pub(super) learnt: Learnt,
    pub(super) deadline: Deadline,
    /// Its part of `parked_bytes`.
    size: usize,
}

impl Parked {
    /// A request that has asked for its last need just now.
    pub(super) fn new(case: Case, learnt: Learnt, deadline: Deadline) -> Self {
        let size = case.request.headers.size().saturating_add(learnt.memory_size());
        Self { case, learnt, deadline, size }
    }
}

impl Waiting {
    /// Whether nobody waits, and nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.flights.is_empty() && self.parked.is_empty()
    }

    pub(super) fn is_under_way(&self, need: &Need) -> bool {
        self.flights.contains_key(need)
    }

    /// How many fetches are under way.
    pub(super) fn under_way(&self) -> usize {
        self.flights.len()
    }

    pub(super) fn flight(&self, need: &Need) -> Option<&InFlight> {
        self.flights.get(need)
    }

    pub(super) fn flight_mut(&mut self, need: &Need) -> Option<&mut InFlight> {
        self.flights.get_mut(need)
    }

    /// Begins a fetch, which no call is made for yet.
    pub(super) fn begin(&mut self, need: Need, user: Option<User>, now: Timestamp) {
        self.flights.insert(need, InFlight::new(user, now));
    }

    /// Ends a fetch.
    pub(super) fn end(&mut self, need: &Need) -> Option<InFlight> {
        self.flights.remove(need)
    }

    /// Notes the call that is made for a fetch.
    pub(super) fn call(&mut self, need: &Need, fetch: &Fetch, now: Timestamp) -> CallId {
        if let Some(flight) = self.flights.get_mut(need) {
            let time = fetch.timeout.saturating_mul(2).saturating_add(WATCH_INTERVAL);
            flight.deadline = Deadline::after(time, now);
            flight.target = format!("{fetch:?} by cluster {:?}", fetch.endpoint.cluster);
        }
        self.last_call = self.last_call.wrapping_add(1);
        let call = CallId(self.last_call);
        self.calls.insert(call, need.clone());
        call
    }

    /// What an open call is for.
    pub(super) fn need_of(&self, call: CallId) -> Option<&Need> {
        self.calls.get(&call)
    }

    /// Ends a call, and says what it was for.
    pub(super) fn end_call(&mut self, call: CallId) -> Option<Need> {
        self.calls.remove(&call)
    }

    /// Gives up the fetches whose calls are never answered, or whose answers got lost.
    pub(super) fn give_up_lost(&mut self, now: Timestamp) -> Vec<Need> {
        let lost = self.flights.iter().filter(|(_, flight)| flight.deadline.is_over(now));
        let lost: Vec<Need> = lost.map(|(need, _)| need.clone()).collect();
        for need in &lost {
            self.calls.retain(|_, other| other != need);
        }
        lost
    }

    /// The same need as the fetch under way for it has it, if there is one: a question holds all claims of a token, and many
    /// may wait for one answer.
    pub(super) fn shared(&self, need: Need) -> Need {
        self.flights.get_key_value(&need).map_or(need, |(known, _)| known.clone())
    }

    /// Whether this fetch may be begun or joined. Questions about single tokens are bounded, since anybody can make up tokens;
    /// documents are few.
    pub(super) fn has_room_for(&self, need: &Need, room: Room) -> bool {
        // Who floods one provider takes no room from another, nor from authorizers, sources and makers of tokens.
        let (most, most_of_all) = (room.of(MAX_FLIGHTS), room.of(MAX_ALL_FLIGHTS));
        let is_free = match self.flights.len() {
            all if all < most => true,
            all if all < most_of_all => self.flights.keys().filter(|other| asked(other) == asked(need)).count() < most,
            _ => false,
        };
        // A question to an authorizer holds all claims, and one about a token holds the token. Both stay when those who waited have
        // left. All other needs are small.
        need.is_document() || self.flights.contains_key(need) || is_free && self.has_memory_for(need, room)
    }

    /// Whether this user has so many requests waiting for facts of this kind that the reserved room is not for him.
    pub(super) fn is_much_waited_for(&self, need: &Need, user: User) -> bool {
        let of_user =
            self.flights.iter().filter(|(other, flight)| flight.user == Some(user) && asked(other) == asked(need));
        let waiters = of_user.map(|(_, flight)| flight.waiters.len().max(1));
        waiters.fold(0, usize::saturating_add) >= MAX_WAITING_FOR_ONE
    }

    fn has_memory_for(&self, need: &Need, room: Room) -> bool {
        let (size, most) = (need.memory_size(), room.of(MAX_QUESTION_BYTES));
        size == 0 || self.flights.keys().map(Need::memory_size).fold(size, usize::saturating_add) <= most
    }

    /// Whether a request may wait.
    pub(super) fn has_place_for(&self, parked: &Parked, room: Room) -> bool {
        let bytes = self.parked_bytes.saturating_add(parked.size);
        self.parked.len() < room.of(MAX_PARKED) && bytes <= room.of(MAX_PARKED_BYTES)
    }

    /// Lets a request wait for the fetch of what it lacks.
    pub(super) fn park(&mut self, stream: StreamId, parked: Parked) {
        self.parked_bytes = self.parked_bytes.saturating_add(parked.size);
        if let Some(flight) = parked.learnt.last_need().and_then(|need| self.flights.get_mut(need)) {
            ordered::insert(&mut flight.waiters, stream);
        }
        self.parked.insert(stream, parked);
    }

    /// A request waits no more. What it waited for goes on: it belongs to everyone.
    pub(super) fn unpark(&mut self, stream: StreamId) -> Option<Parked> {
        let parked = self.parked.remove(&stream)?;
        self.parked_bytes = self.parked_bytes.saturating_sub(parked.size);
        if let Some(flight) = parked.learnt.last_need().and_then(|need| self.flights.get_mut(need)) {
            ordered::remove(&mut flight.waiters, &stream);
        }
        Some(parked)
    }

    /// Those who have waited for too long.
    pub(super) fn late(&self, now: Timestamp) -> Vec<StreamId> {
        let late = self.parked.iter().filter(|(_, parked)| parked.deadline.is_over(now));
        late.map(|(stream, _)| *stream).collect()
    }

    /// Those who waited may be decided about, in turn.
    pub(super) fn make_ready(&mut self, waiters: impl IntoIterator<Item = StreamId>) {
        self.ready.extend(waiters);
    }

    pub(super) fn next_ready(&mut self) -> Option<StreamId> {
        self.ready.pop_front()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// The requests that wait.
    pub(super) fn parked(&self) -> impl Iterator<Item = &Parked> {
        self.parked.values()
    }
}

/// What room a request may take.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Room {
    /// What anybody can fill: tokens can be made up, and one user can be asked about with many paths.
    Common,
    /// That, and what is left to those who have not filled it: a fifth of it all.
    Reserved,
}

impl Room {
    /// How much there is, if there is so much of the common room.
    const fn of(self, common: usize) -> usize {
        match self {
            Self::Common => common,
            Self::Reserved => common.saturating_add(common / 4),
        }
    }
}

/// Who is asked: a provider, or whom it is asked beside.
fn asked(need: &Need) -> (ProviderId, Option<Discriminant<Need>>) {
    let is_not_the_provider = matches!(need, Need::Authorization(..) | Need::Enrichment(..) | Need::Exchange(..));
    (need.provider(), is_not_the_provider.then(|| std::mem::discriminant(need)))
}

/// Requests that may wait in the common room at a time; beyond, the provider is too slow for more to be of any use.
const MAX_PARKED: usize = 10_000;

/// What they may weigh together: their headers, and what was answered to them.
const MAX_PARKED_BYTES: usize = 64 << 20;

/// What the questions that are open at a time may weigh together: those to authorizers, and those about long tokens.
const MAX_QUESTION_BYTES: usize = 64 << 20;

/// How many calls about tokens one worker has open at most, where so many are asked: providers, and beside each of them an authorizer, a
/// source of claims, and a maker of tokens.
pub fn max_calls(asked: usize) -> usize {
    Room::Reserved.of(MAX_FLIGHTS).saturating_mul(asked).min(Room::Reserved.of(MAX_ALL_FLIGHTS))
}

/// As many requests of one user wait before he loses the reserved room.
const MAX_WAITING_FOR_ONE: usize = 100;

/// Questions that anybody can cause, and that may be open at a time with one provider: Envoy's default circuit breaker lets 1024
/// through to a cluster.
pub(super) const MAX_FLIGHTS: usize = 1000;

/// Those that may be open at a time with all providers together.
const MAX_ALL_FLIGHTS: usize = 4000;

/// A request needs at most metadata, keys and an answer, each over a list of endpoints; a client gives up sooner.
pub(super) const MAX_WAIT: Duration = Duration::from_secs(60);
