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
//! A warm request, one with a token that is known, costs one digest of the token here, and no allocation; the first claim in
//! a header costs three. At the edge it costs five host calls beyond those for the claims: the headers, the clock, two counters, and
//! the result as filter state. The first thousand requests, and one of 64 after them, are also looked at for what another filter of
//! this name may have put there. Tests hold these figures.
//!
//! [`AccessToken`]: crate::jose::jwt::AccessToken

mod assertions;
mod authorize;
mod binding;
mod binding_fault;
mod calls;
mod case;
mod commit;
mod ends;
mod enrich;
mod enrichment_question;
mod exchange;
mod exchange_question;
mod explain;
mod facts;
mod need;
mod newcomers;
mod operator_log;
mod own;
mod pass;
mod permit;
mod proofs;
mod refusal_log;
mod refuse;
mod rehearsal;
mod shadow;
mod status;
mod trail;
mod uses;
mod validate;
mod waiting;

use crate::config::Config;
use crate::decision::{Case, Decision};
use crate::http::names::ReservedNames;
use crate::http::{Document, Fetch, Request, Response};
use crate::jose::verifier::Verifier;
use crate::oauth::protected_resource::{self, ProtectedResource};
use crate::ordered;
use crate::policy::rules::RuleIndex;
use crate::ports::{Randomness, SharedMemory};
use crate::provider::ProviderId;
use crate::reply::Denial;
use crate::table::Table;
use crate::time::{Deadline, Timestamp};
use crate::upstream::key_set;
use assertions::Assertions;
use commit::Granted;
use ends::{Grant, Halt, Refusal};
pub use explain::{CallPurpose, ExplainedRun, Explanation};
use facts::Facts;
use need::{Learnt, Need, User};
use operator_log::{Complaints, Topic};
use own::OwnEndpoint;
pub use permit::Body;
use std::rc::Rc;
use std::time::Duration;
use trail::Trail;
pub use waiting::max_calls;
use waiting::{MAX_WAIT, Parked, Room, Waiting};

/// One request, by the number that the host gave it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(pub u32);

/// One call to a provider, by the number that the filter gave it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
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
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FetchOutcome {
    /// Who was called.
    pub provider: Rc<str>,
    /// `metadata`, `jwks`, `introspection`, `userinfo`, `authorization`, `enrichment` or `token_exchange`.
    pub kind: &'static str,
    /// `ok`, `failed`, or `failed_over` if another endpoint of a list is tried.
    pub result: &'static str,
}

/// The filter of one worker: what is known, who waits, and the events.
pub struct Filter {
    config: Rc<Config>,
    name: String,
    own: Rc<ReservedNames>,
    /// The documents that it serves itself, each by its path as every reader finds it.
    documents: ordered::Map<Box<[u8]>, Document>,
    /// The MCP servers behind it, whose metadata it serves.
    resources: Vec<ProtectedResource>,
    rules: Option<RuleIndex>,
    /// The rules that route metadata can name.
    named_rules: Table<String, usize>,
    facts: Facts,
    waiting: Waiting,
    complaints: Complaints,
    assertions: Assertions,
    /// For whoever asks why; `None` where nobody does.
    notes: Option<explain::Notes>,
    effects: Vec<Effect>,
}

impl Filter {
    /// A filter that knows nothing yet. `name` is its own name in Envoy's configuration.
    pub fn new(config: Rc<Config>, name: &str) -> Self {
        let rules = &config.rules;
        let named = rules.iter().enumerate();
        let own = Rc::new(config.own_names().and(config.removal.names()));
        let resources = protected_resource::all(&config);
        let mut facts = Facts::new(Rc::clone(&config), Rc::clone(&own), name);
        for published in resources.iter().filter_map(|resource| resource.authorization_server) {
            if let Some(provider) = facts.provider_mut(ProviderId(published)) {
                provider.publish_metadata();
            }
        }
        Self {
            documents: ordered::map(key_set::documents(&config)),
            assertions: Assertions::default(),
            resources,
            rules: (!rules.is_empty()).then(|| RuleIndex::new(rules, &config.policy)),
            named_rules: named.filter_map(|(index, rule)| Some((rule.name.clone()?, index))).collect(),
            complaints: Complaints::default(),
            facts,
            own,
            config,
            name: name.to_owned(),
            waiting: Waiting::default(),
            notes: None,
            effects: Vec::new(),
        }
    }

    /// The same filter, with a host to help with signatures.
    pub fn with_verifier(mut self, verifier: Verifier) -> Self {
        self.facts.verifier = verifier;
        self
    }

    /// The same filter, with what a host lends beside events.
    pub fn with_host(mut self, shared: Box<dyn SharedMemory>, randomness: Box<dyn Randomness>) -> Self {
        if self.facts.uses.signs {
            self.assertions = Assertions::by(randomness.octets());
        }
        self.facts.proofs.lend(shared, randomness);
        if self.facts.uses.takes_dpop && !self.facts.proofs.prepare() {
            log::error!(
                "the host keeps no shared data, or has no randomness: tokens that are bound to keys are refused"
            );
        }
        self
    }

    /// Whether a policy looks at the certificate of Envoy's own connection.
    pub fn reads_certificates(&self) -> bool {
        self.facts.uses.reads_certificates
    }

    /// A request's headers have come.
    pub fn on_request(&mut self, stream: StreamId, request: Request, now: Timestamp) -> Decision {
        if self.facts.uses.takes_dpop {
            // What could not be had at the start may be there now.
            self.facts.proofs.prepare();
        }
        self.complaints.refusals.time_is(now);
        if request.method().is_none() {
            // The host had more headers than it hands over: what isn't seen can't be removed.
            let unseen = self.case_without_rule(request);
            return self.refuse_without_policy(&unseen, Denial::InvalidRequest, now);
        }
        let check = match self.own_endpoint(&request, now) {
            Some(OwnEndpoint::Document(document)) => return self.serve(request, document),
            Some(OwnEndpoint::Missing(wait)) => {
                let case = self.case_without_rule(request);
                return self.refuse_without_policy(&case, Denial::ProviderUnavailable(wait), now);
            }
            Some(OwnEndpoint::Check(asked_about)) => Some(asked_about),
            None => None,
        };
        let (case, fault) = self.case(request, check, now);
        if let Err(denial) = fault {
            return self.refuse_without_policy(&case, denial, now);
        }
        if let Some(answered) = self.on_preflight(&case) {
            return Decision::Answer(answered);
        }
        self.decide_or_wait(stream, case, Learnt::default(), Deadline::after(MAX_WAIT, now), now)
    }

    /// A call could not even be sent, for this reason.
    pub fn on_unsent(&mut self, call: CallId, why: &'static str, now: Timestamp) {
        self.end_call(call, None, Some(why), now);
    }

    /// A call ended: with an answer, or without one.
    pub fn on_fetched(&mut self, call: CallId, response: Option<Response>, now: Timestamp) {
        self.end_call(call, response, None, now);
    }

    /// A request is over, answered or not. What it waited for goes on: it belongs to everyone.
    pub fn on_closed(&mut self, stream: StreamId) {
        self.waiting.unpark(stream);
    }

    /// There are so many filters in the memory of this one: what it keeps may take that part of what one alone may keep.
    pub fn share_memory(&mut self, among: usize) {
        self.facts.share(among);
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Timestamp) {
        self.tell_held_back(now);
        self.resume_some(now);
        self.start_due(now);
        for need in self.waiting.give_up_lost(now) {
            self.conclude(&need, false, now);
        }
        self.refuse_late(now);
    }

    /// When [`Filter::on_tick`] should be called next. Ask after every other call.
    pub fn next_tick(&self, now: Timestamp) -> Duration {
        if self.waiting.has_ready() {
            return MIN_TICK;
        }
        let times = self.schedule(now).map(|(_, due)| due.saturating_since(now));
        let watch = (!self.waiting.is_idle()).then_some(WATCH_INTERVAL);
        times.chain(watch).min().unwrap_or(IDLE_INTERVAL).clamp(MIN_TICK, IDLE_INTERVAL)
    }

    /// What the host is to do, in order.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// Whether there is something for the host to do.
    pub fn has_effects(&self) -> bool {
        !self.effects.is_empty()
    }

    /// The keys of filter state that hold objects: claims, and what was asked of an MCP server.
    pub fn filter_state_keys(&self) -> Vec<String> {
        let policies = self.config.policies();
        let keys = ordered::set(policies.flat_map(|policy| policy.filter_state_keys(&self.name).collect::<Vec<_>>()));
        let audited = (self.config.marks && !self.resources.is_empty()).then(|| self.audit_key());
        keys.into_iter().chain(audited).collect()
    }

    /// Whether rules look at the route that Envoy has chosen: at its name, or at its metadata.
    pub fn reads_routes(&self) -> bool {
        self.facts.uses.reads_routes
    }

    /// Whether any policy takes an operation from what Envoy's own filter for MCP has read.
    pub fn reads_mcp_metadata(&self) -> bool {
        self.facts.uses.reads_mcp_metadata
    }

    /// The namespace of the route metadata in which rules are named; `None` if no rule has a name.
    pub fn rule_namespace(&self) -> Option<&str> {
        (!self.named_rules.is_empty()).then_some(&self.name)
    }

    /// Whether a header of this name is removed from every request.
    pub fn is_own_header(&self, name: &[u8]) -> bool {
        self.own.is_own_header(name)
    }

    /// Whether a trailer of this name must not reach the upstream.
    pub fn is_own_trailer(&self, name: &[u8]) -> bool {
        self.own.is_own_trailer(name)
    }

    /// Runs the decision until it has one, or lacks a fact that can be fetched. Each fact is asked for once, so this ends.
    fn decide_or_wait(
        &mut self,
        stream: StreamId,
        mut case: Case,
        mut learnt: Learnt,
        deadline: Deadline,
        now: Timestamp,
    ) -> Decision {
        loop {
            let (found, mut trail) = self.facts.authorize(&case.request, &case.policy, &learnt, now);
            let found = self.commit(found, &mut trail, now);
            self.note_run(&found, &trail, now);
            let need = match found {
                Ok(granted) => return self.decide(case, Ok(granted), &trail, now),
                Err(Halt::Deny(refusal)) => return self.decide(case, Err(refusal), &trail, now),
                Err(Halt::Need(need)) => self.waiting.shared(need),
            };
            learnt.note(need.clone(), std::mem::take(&mut trail.lessons), now);
            let parked = Parked::new(case, learnt, deadline);
            let user = self.facts.user(&need, &parked.learnt);
            let room = self.room_for(&need, user);
            if !self.waiting.has_room_for(&need, room) || !self.waiting.has_place_for(&parked, room) {
                let refusal = Refusal::new(Denial::Overloaded, self.facts.label(need.provider()));
                return self.refuse_for(&parked.case, refusal, trail.tally(None), now);
            }
            if self.start_for_a_waiter(&need, user, now) {
                self.waiting.park(stream, parked);
                return Decision::Wait;
            }
            // What can't even be sent can't be had: it is decided without.
            Parked { case, learnt, .. } = parked;
        }
    }

    /// What room a request may take that lacks this, and is from this user.
    fn room_for(&self, need: &Need, user: Option<User>) -> Room {
        match user {
            Some(user) if !self.waiting.is_much_waited_for(need, user) => Room::Reserved,
            _ => Room::Common,
        }
    }

    /// Runs the decision again for a request that waited.
    fn resume(&mut self, stream: StreamId, now: Timestamp) {
        let Some(Parked { case, learnt, deadline, .. }) = self.waiting.unpark(stream) else { return };
        match self.decide_or_wait(stream, case, learnt, deadline, now) {
            Decision::Wait => {}
            decision => self.effects.push(Effect::Resolve(stream, decision)),
        }
    }

    /// Runs the decision again for those who are ready, as many as a worker can do at a time.
    fn resume_some(&mut self, now: Timestamp) {
        for _ in 0..MAX_RESUMED {
            let Some(stream) = self.waiting.next_ready() else { break };
            self.resume(stream, now);
        }
    }

    /// Refuses the requests that have waited for too long.
    fn refuse_late(&mut self, now: Timestamp) {
        for stream in self.waiting.late(now) {
            let Some(parked) = self.waiting.unpark(stream) else { continue };
            // A token that waits for its authorizer is valid.
            let denial = match parked.learnt.last_need() {
                Some(Need::Authorization(..) | Need::Enrichment(..) | Need::Exchange(..)) => {
                    Denial::AuthorizerUnavailable
                }
                _ => Denial::ProviderUnavailable(RETRY_AFTER),
            };
            let refusal = Refusal::new(denial, None);
            let decision = self.decide(parked.case, Err(refusal), &Trail::default(), now);
            self.effects.push(Effect::Resolve(stream, decision));
        }
    }

    /// Makes a decision of what was found.
    fn decide(&mut self, case: Case, found: Result<Granted, Refusal>, trail: &Trail, now: Timestamp) -> Decision {
        let learnt = case.policy.shadow.as_ref().map(|_| Learnt::of_proof(trail.lessons.proof.clone()));
        let shadow = learnt.and_then(|learnt| self.judge_shadow(&case, &learnt, now));
        let tally = trail.tally(shadow);
        let found = match found {
            Ok(granted) => Ok(granted.into_grant()),
            Err(refusal) if !(case.policy.strips(&case.request) && refusal.denial.is_strippable()) => {
                return self.refuse_for(&case, refusal, tally, now);
            }
            Err(refusal) => Err(refusal),
        };
        if case.policy.mcp.is_none() {
            return self.pass(&case, found, tally, now);
        }
        let grant = found.as_ref().ok();
        let (asked, judged) = self.judge_head(&case, grant, now);
        let token = grant.and_then(Grant::token).cloned();
        let decision = match judged {
            Ok(None) => {
                let decision = self.pass(&case, found, tally, now);
                permit::with_lists(&case, asked.as_ref(), token.as_ref(), decision)
            }
            Ok(Some(unread)) => {
                let decision = self.pass(&case, found, tally, now);
                return permit::hold_body(&case, asked.as_ref(), unread, token, decision);
            }
            Err(refusal) => self.refuse_for(&case, refusal, tally, now),
        };
        self.audited(&case, asked, token.as_ref(), decision)
    }

    /// Tells the operator, but of one topic and provider not more than once a second.
    fn complain(&self, id: ProviderId, topic: Topic, problem: std::fmt::Arguments, now: Timestamp) {
        if let Some(provider) = self.facts.provider(id).filter(|_| self.complaints.is_due(id, topic, now)) {
            log::warn!("{}: {problem}", provider.label);
        }
    }
}

/// Tells Envoy's `ext_authz` which headers to take off the request that it asks about.
const REMOVED_BY_EXT_AUTHZ: &str = "x-envoy-auth-headers-to-remove";

/// What a client is told to wait when nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How many requests are decided in one call of the host: with signatures that the host verifies, some ten milliseconds;
/// a tenth of a second with those that the module has to.
const MAX_RESUMED: usize = 256;

/// How often lost calls are looked for.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The longest sleep.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest: Envoy's timers count milliseconds.
const MIN_TICK: Duration = Duration::from_millis(1);
