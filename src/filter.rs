//! The filter itself, pure: events in, decisions and effects out. It knows no clock, no socket and no Envoy.
//!
//! One procedure decides, `Filter::authorize`. It either decides, or names the one fact that it lacks. A request that
//! lacks a fact is parked; when the fact comes, or can't be had, the same procedure runs again from the top. Each
//! request asks for each fact at most once, so that it ends. What several requests lack is fetched once for all.
//!
//! The invariant: a request is forwarded with an identity only by a `Grant` that holds an [`AccessToken`], and
//! an access token exists only if every check passed. Everything else that comes from the client under a name that the
//! filter writes is removed, whatever is decided.
//!
//! A warm request, one with a token that is known, costs one allocation here (the token's text), three more for the first
//! claim in a header, and one digest of the token. At the edge it costs five host calls beyond those for the claims: the
//! headers, the clock, two counters, and the result as filter state. Tests hold these figures.

mod authorize;
mod fetches;

use crate::cache::{Bounds, Cache};
use crate::config::{Config, Policy};
use crate::credentials::{Token, TokenDigest};
use crate::decision::{Decision, Forward, Outcome, Refused, Tally, Verdict};
use crate::http::{Fetch, Request, Response};
use crate::identity;
use crate::provider::{Call, Provider};
use crate::reply::{Denial, Reason};
use crate::rewrite::{OwnNames, Rewrite};
use crate::time::Timestamp;
use crate::verifier::Verifier;
use authorize::{Grant, Halt, Refusal, Vouched};
use fetches::{Flight, Parked};
use std::cell::Cell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// One request, by the number that the host gave it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(pub u32);

/// One call to a provider, by the number that the filter gave it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CallId(pub u64);

/// What the host is to do.
#[derive(Debug)]
pub enum Effect {
    /// Call a provider, and bring the answer to [`Filter::on_fetched`].
    Fetch(CallId, Fetch),
    /// Let a waiting request go on or answer it.
    Resolve(StreamId, Decision),
    /// Count a call that ended.
    Fetched(FetchOutcome),
}

/// How a call ended, for metrics.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct FetchOutcome {
    /// Who was called.
    pub provider: Rc<str>,
    /// `metadata`, `jwks`, `introspection` or `userinfo`.
    pub kind: &'static str,
    /// `ok` or `failed`.
    pub result: &'static str,
}

/// A fact that can be fetched: the key under which those who wait for it are gathered.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
enum Need {
    Metadata(usize),
    Keys(usize),
    Introspection(usize, Token),
    Userinfo(usize, Token),
}

impl Need {
    fn provider(&self) -> usize {
        match self {
            Self::Metadata(provider) | Self::Keys(provider) => *provider,
            Self::Introspection(provider, _) | Self::Userinfo(provider, _) => *provider,
        }
    }

    fn call(&self) -> Call<'_> {
        match self {
            Self::Metadata(_) => Call::Metadata,
            Self::Keys(_) => Call::Keys,
            Self::Introspection(_, token) => Call::Introspection(token),
            Self::Userinfo(_, token) => Call::Userinfo(token),
        }
    }

    fn word(&self) -> &'static str {
        match self {
            Self::Metadata(_) => "metadata",
            Self::Keys(_) => "jwks",
            Self::Introspection(..) => "introspection",
            Self::Userinfo(..) => "userinfo",
        }
    }
}

/// The filter of one worker.
pub struct Filter {
    config: Rc<Config>,
    name: String,
    own: OwnNames,
    providers: Vec<Provider>,
    verifier: Verifier,
    vouched: Cache<TokenDigest, Vouched>,
    inactive: Cache<(usize, TokenDigest), ()>,
    tally: Cell<Tally>,
    flights: HashMap<Need, Flight>,
    calls: HashMap<CallId, Need>,
    last_call: u64,
    parked: HashMap<StreamId, Parked>,
    parked_bytes: usize,
    complained_at: Vec<Cell<Timestamp>>,
    effects: Vec<Effect>,
}

impl Filter {
    /// A filter that knows nothing yet. `name` is its own name in Envoy's configuration.
    pub fn new(config: Rc<Config>, name: &str) -> Self {
        Self {
            own: OwnNames::of([&config.policy], &config.sources),
            providers: config.providers.iter().cloned().map(Provider::new).collect(),
            complained_at: config.providers.iter().map(|_| Cell::default()).collect(),
            config,
            name: name.to_owned(),
            verifier: Verifier::default(),
            vouched: Cache::new(VOUCHED_BOUNDS),
            inactive: Cache::new(INACTIVE_BOUNDS),
            tally: Cell::default(),
            flights: HashMap::new(),
            calls: HashMap::new(),
            last_call: 0,
            parked: HashMap::new(),
            parked_bytes: 0,
            effects: Vec::new(),
        }
    }

    /// The same filter, with a host to help with signatures.
    pub fn with_verifier(self, verifier: Verifier) -> Self {
        Self { verifier, ..self }
    }

    /// A request's headers have come.
    pub fn on_request(&mut self, stream: StreamId, request: Request, now: Timestamp) -> Decision {
        if request.method().is_none() {
            // The host had more headers than it hands over: what isn't seen can't be removed.
            return self.refuse(Denial::InvalidRequest, None);
        }
        match self.authorize(&request, &[], now) {
            Ok(grant) => self.forward(&request, grant, now),
            Err(Halt::Deny(refusal)) => self.refuse_or_strip(&request, refusal),
            Err(Halt::Need(need)) => self.park(stream, request, need, now),
        }
    }

    /// A call ended: with an answer, or without one.
    pub fn on_fetched(&mut self, call: CallId, response: Option<Response>, now: Timestamp) {
        let Some(need) = self.calls.remove(&call) else { return };
        match self.take(&need, response.as_ref(), now) {
            Ok(()) => self.conclude(&need, true, now),
            Err(fault) => {
                let target = self.flights.get(&need).map(|flight| flight.target.as_str()).unwrap_or_default();
                self.complain(need.provider(), format_args!("{}: {target}: {fault}", need.word()), now);
                if let Some(flight) = self.flights.get_mut(&need) {
                    flight.attempt = flight.attempt.saturating_add(1);
                }
                self.attempt(&need, now);
            }
        }
    }

    /// A request is over, answered or not. What it waited for goes on: it belongs to everyone.
    pub fn on_closed(&mut self, stream: StreamId) {
        if let Some(parked) = self.unpark(stream)
            && let Some(flight) = parked.asked.last().and_then(|need| self.flights.get_mut(need))
        {
            flight.waiters.remove(&stream);
        }
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Timestamp) {
        let due: Vec<Need> = self.due(now).collect();
        for need in due {
            self.start(need, None, now);
        }
        // A call that is never answered, or an answer that got lost, ends here.
        let lost = |(_, flight): &(&Need, &Flight)| flight.deadline.is_over(now);
        let lost: Vec<Need> = self.flights.iter().filter(lost).map(|(need, _)| need.clone()).collect();
        for need in lost {
            self.calls.retain(|_, other| *other != need);
            self.conclude(&need, false, now);
        }
        let late = |(_, parked): &(&StreamId, &Parked)| parked.deadline.is_over(now);
        let late: Vec<StreamId> = self.parked.iter().filter(late).map(|(stream, _)| *stream).collect();
        for stream in late {
            if let Some(parked) = self.unpark(stream) {
                let refusal = Refusal { denial: Denial::ProviderUnavailable(RETRY_AFTER), provider: None };
                let decision = self.refuse_or_strip(&parked.request, refusal);
                self.effects.push(Effect::Resolve(stream, decision));
            }
        }
    }

    /// When [`Filter::on_tick`] should be called next. Ask after every other call.
    pub fn next_tick(&self, now: Timestamp) -> Duration {
        let schedules = self.providers.iter().enumerate();
        let times = schedules.flat_map(|(index, provider)| {
            let idle = move |(call, _): &(Call, Timestamp)| !self.flights.contains_key(&document(index, *call));
            provider.schedule(now).filter(idle).map(|(_, due)| due.saturating_since(now))
        });
        let busy = !self.flights.is_empty() || !self.parked.is_empty();
        times.chain(busy.then_some(WATCH_INTERVAL)).min().unwrap_or(IDLE_INTERVAL).clamp(MIN_TICK, IDLE_INTERVAL)
    }

    /// What the host is to do, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether there is something for the host to do.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The keys of filter state that hold claims.
    pub fn filter_state_keys(&self) -> Vec<String> {
        identity::filter_state_keys(&self.config.policy, &self.name).collect()
    }

    /// Whether a header of this name is removed from every request.
    pub fn is_own_header(&self, name: &[u8]) -> bool {
        self.own.is_own_header(name)
    }

    /// Whether a trailer of this name must not reach the upstream.
    pub fn is_own_trailer(&self, name: &[u8]) -> bool {
        self.own.is_own_trailer(name)
    }

    /// Each provider's name with the number of its keys and their age.
    pub fn key_facts(&self, now: Timestamp) -> impl Iterator<Item = (&str, usize, Option<Duration>)> {
        self.providers.iter().filter_map(move |provider| {
            let (count, fetched) = provider.key_facts()?;
            Some((provider.config.name.as_str(), count, fetched.map(|fetched| now.saturating_since(fetched))))
        })
    }

    fn forward(&self, request: &Request, grant: Grant, now: Timestamp) -> Decision {
        let policy = &self.config.policy;
        match grant {
            Grant::Missing => {
                self.pass(request, Rewrite::default(), Verdict::Bypassed, Some(Reason::MissingToken), None)
            }
            Grant::Preflight => {
                let mut rewrite = Rewrite::default();
                rewrite.strip(&self.config.sources);
                self.pass(request, rewrite, Verdict::Bypassed, None, None)
            }
            Grant::Token { token, provider, source } => {
                let mut rewrite = Rewrite::default();
                if !policy.forward
                    && let Some(source) = self.config.sources.get(source)
                {
                    rewrite.strip_one(source);
                }
                let aside = match identity::write(policy, token.claims(), &self.name, &mut rewrite) {
                    Ok(aside) => aside,
                    Err(identity::Error::Missing(_)) => return self.refuse(Denial::InsufficientClaims, Some(provider)),
                    Err(identity::Error::TooLong(place)) => {
                        let problem =
                            format_args!("{place}: the claims are longer than it holds; name fewer in `claims`");
                        self.complain(provider, problem, now);
                        return self.refuse(Denial::Misconfigured, Some(provider));
                    }
                };
                let mut decision = self.pass(request, rewrite, Verdict::Allowed, None, Some(provider));
                if let Decision::Forward(forward) = &mut decision {
                    forward.response_cookies = aside.response_cookies;
                    forward.filter_state = aside.filter_state;
                }
                decision
            }
        }
    }

    fn pass(
        &self,
        request: &Request,
        rewrite: Rewrite,
        result: Verdict,
        reason: Option<Reason>,
        provider: Option<usize>,
    ) -> Decision {
        let edits = rewrite.edits(request, &self.own);
        let outcome = Outcome { result, reason, provider: self.label(provider) };
        let tally = self.tally.take();
        Decision::Forward(Forward { edits, response_cookies: Vec::new(), filter_state: Vec::new(), outcome, tally })
    }

    fn refuse_or_strip(&self, request: &Request, refusal: Refusal) -> Decision {
        match self.config.policy.enforce || !refusal.denial.is_strippable() {
            true => self.refuse(refusal.denial, refusal.provider),
            false => {
                let mut rewrite = Rewrite::default();
                rewrite.strip(&self.config.sources);
                let reason = Some(refusal.denial.reason());
                self.pass(request, rewrite, Verdict::Stripped, reason, refusal.provider)
            }
        }
    }

    fn refuse(&self, denial: Denial, provider: Option<usize>) -> Decision {
        let Policy { require, enforce_response_code, .. } = &self.config.policy;
        let outcome =
            Outcome { result: Verdict::Denied, reason: Some(denial.reason()), provider: self.label(provider) };
        let reply = denial.reply(&self.config, require.scope_hint(), *enforce_response_code);
        Decision::Deny(Refused { reply, outcome, tally: self.tally.take() })
    }

    /// Tells the operator, but for each provider not more than once a second: clients decide how often there is cause.
    fn complain(&self, index: usize, problem: std::fmt::Arguments, now: Timestamp) {
        let (Some(provider), Some(last)) = (self.providers.get(index), self.complained_at.get(index)) else { return };
        if now < last.get() || now.saturating_since(last.get()) >= WATCH_INTERVAL {
            last.set(now);
            log::warn!("{}: {problem}", provider.label);
        }
    }

    fn label(&self, provider: Option<usize>) -> Option<Rc<str>> {
        provider.and_then(|index| self.providers.get(index)).map(|provider| Rc::clone(&provider.label))
    }
}

fn document(provider: usize, call: Call) -> Need {
    match call {
        Call::Keys => Need::Keys(provider),
        _ => Need::Metadata(provider),
    }
}

/// Tokens that somebody vouched for: as many as a busy gateway has users at a time, in a tenth of what Envoy gives
/// a VM (1 GiB).
const VOUCHED_BOUNDS: Bounds = Bounds { entries: 64 * 1024, bytes: 96 << 20 };

/// Answers about worthless tokens live apart, so that a flood of these can't drive out good ones.
const INACTIVE_BOUNDS: Bounds = Bounds { entries: 4 * 1024, bytes: 4 << 20 };

/// What a client is told to wait when nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How often lost calls are looked for, and at most how often a failing provider is written about.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The longest sleep.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest: Envoy's timers count milliseconds.
const MIN_TICK: Duration = Duration::from_millis(1);
