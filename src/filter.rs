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
//! a header costs three. At the edge it costs six host calls beyond those for the claims: the headers, the clock, two
//! counters, the result as filter state, and a look at whether another filter has put one there. Tests hold these figures.

mod authorize;
mod cases;
mod fetches;
mod need;
mod newcomers;
mod own;
mod told;

use crate::cache::{Bounds, Cache};
use crate::config::{Config, Rule, Source, SourceLocation, listed};
use crate::decision::{Answered, Case, Decision, Disposition, Forward, Meaning, Outcome, Tally};
use crate::http::names::ReservedNames;
use crate::http::{Answer, Document, Edit, Fetch, Request, Response};
use crate::jose::verifier::Verifier;
use crate::oauth::credentials::TokenDigest;
use crate::policy::external::{self, CheckRequest};
use crate::policy::rules::RuleIndex;
use crate::provider::{Call, Kind, Provider};
use crate::reply::{Denial, Reason};
use crate::time::Timestamp;
use crate::upstream::identity::{self, Identity, ResponseOutputs};
use crate::upstream::rewrite::Rewrite;
use authorize::{Exemption, Grant, Halt, Refusal};
use fetches::{InFlight, Parked};
use need::{Learnt, Need, ValidatedToken, document};
use newcomers::Newcomers;
use own::Own;
use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;
use told::Detail;

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
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct FetchOutcome {
    /// Who was called.
    pub provider: Rc<str>,
    /// `metadata`, `jwks`, `introspection`, `userinfo` or `authorization`.
    pub kind: &'static str,
    /// `ok`, `failed`, or `failed_over` if another endpoint of a list is tried.
    pub result: &'static str,
}

/// The filter of one worker.
pub struct Filter {
    config: Rc<Config>,
    name: String,
    own: ReservedNames,
    /// What it serves itself, by the one reading of the path.
    documents: HashMap<Box<[u8]>, Document>,
    /// Whether any policy keeps tokens from going on. Found out once: there may be thousands of rules.
    takes_tokens_off: bool,
    rules: Option<RuleIndex>,
    /// The rules that route metadata can name.
    named_rules: HashMap<String, usize>,
    /// Whether any rule looks at routes. Found out once: there may be thousands of rules.
    reads_routes: bool,
    providers: Vec<Provider>,
    /// Providers by their issuers.
    issuers: HashMap<String, usize>,
    verifier: Verifier,
    /// Tokens by who vouched for them: a signature, or an answer of this provider. Rules, places and candidates may ask several
    /// about one token.
    vouched: Cache<(Option<usize>, TokenDigest), ValidatedToken>,
    /// Tokens that are none by a provider's answer, and why.
    inactive: Cache<(usize, TokenDigest), Reason>,
    /// Tokens about which the provider wants to be asked later, and when. That is between it and them: one client's token must not
    /// keep us from asking about another's.
    postponed: Cache<(usize, TokenDigest), Timestamp>,
    newcomers: Newcomers,
    verdicts: Cache<CheckRequest, external::Answer>,
    tally: Cell<Tally>,
    flights: HashMap<Need, InFlight>,
    calls: HashMap<CallId, Need>,
    last_call: u64,
    parked: HashMap<StreamId, Parked>,
    parked_bytes: usize,
    /// Those whose document has come, or can't be had, and whose turn has not.
    ready: VecDeque<StreamId>,
    complained_at: Vec<Cell<Timestamp>>,
    /// When a request was last written about whose route has another policy than the one that was decided on.
    rerouted_at: Cell<Timestamp>,
    effects: Vec<Effect>,
}

impl Filter {
    /// A filter that knows nothing yet. `name` is its own name in Envoy's configuration.
    pub fn new(config: Rc<Config>, name: &str) -> Self {
        let rules = &config.rules;
        let named = rules.iter().enumerate();
        let issuers = config.providers.iter().enumerate();
        let takes_tokens_off = config.policies().any(|policy| !policy.forward);
        let on_demand = config.providers.iter().filter(|provider| provider.on_demand);
        let patience = on_demand.map(|provider| provider.cooldown()).max().unwrap_or_default();
        Self {
            own: config.own_names().and(config.removal.names()),
            documents: HashMap::new(),
            takes_tokens_off,
            rules: (!rules.is_empty()).then(|| RuleIndex::new(rules, &config.policy)),
            named_rules: named.filter_map(|(index, rule)| Some((rule.name.clone()?, index))).collect(),
            reads_routes: rules.iter().any(Rule::reads_route),
            issuers: issuers.map(|(index, provider)| (provider.issuer.clone(), index)).collect(),
            providers: config.providers.iter().cloned().map(Provider::new).collect(),
            complained_at: config.providers.iter().map(|_| Cell::default()).collect(),
            rerouted_at: Cell::default(),
            config,
            name: name.to_owned(),
            verifier: Verifier::default(),
            vouched: Cache::new(VOUCHED_BOUNDS),
            inactive: Cache::new(INACTIVE_BOUNDS),
            postponed: Cache::new(INACTIVE_BOUNDS),
            newcomers: Newcomers::new(patience),
            verdicts: Cache::new(VERDICT_BOUNDS),
            tally: Cell::default(),
            flights: HashMap::new(),
            calls: HashMap::new(),
            last_call: 0,
            parked: HashMap::new(),
            parked_bytes: 0,
            ready: VecDeque::new(),
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
            let unseen = Case { request, policy: Rc::clone(&self.config.policy), is_check: false };
            return self.refuse_without_policy(&unseen, Denial::InvalidRequest);
        }
        let question = match self.own(&request) {
            Some(Own::Document(document)) => return self.serve(request, document),
            Some(Own::Question(asked_about)) => Some(asked_about),
            None => None,
        };
        let (case, fault) = self.case(request, question, now);
        if let Err(denial) = fault {
            return self.refuse_without_policy(&case, denial);
        }
        if let Some(answer) = self.on_preflight(&case) {
            let outcome = self.outcome(Disposition::Bypassed, None, None);
            self.tell(&case, &outcome, Some(answer.status), None);
            let (edits, meaning) = (Vec::new(), Meaning::Preflight);
            return Decision::Answer(Answered { edits, answer, meaning, outcome, tally: Tally::default() });
        }
        match self.authorize(&case.request, &case.policy, &Learnt::default(), now) {
            Err(Halt::Need(need, answer)) => {
                // Its tally is that of when it is decided.
                self.tally.take();
                self.park(stream, case, need, answer, now)
            }
            Ok(grant) => self.decide(case, Ok(grant), now),
            Err(Halt::Deny(refusal)) => self.decide(case, Err(refusal), now),
        }
    }

    /// A call could not even be sent, for this reason.
    pub fn on_unsent(&mut self, call: CallId, why: &'static str, now: Timestamp) {
        self.end_call(call, None, Some(why), now);
    }

    /// A call ended: with an answer, or without one.
    pub fn on_fetched(&mut self, call: CallId, response: Option<Response>, now: Timestamp) {
        self.end_call(call, response, None, now);
    }

    fn end_call(&mut self, call: CallId, response: Option<Response>, unsent: Option<&'static str>, now: Timestamp) {
        let Some(need) = self.calls.remove(&call) else { return };
        let endpoint = self.flights.get(&need).and_then(|flight| flight.tried.last().copied()).unwrap_or_default();
        let taken = self.take(&need, endpoint, response.as_ref(), now);
        let is_one_of_several = need.call().zip(self.providers.get_mut(need.provider()));
        let is_one_of_several =
            is_one_of_several.is_some_and(|(call, provider)| provider.note(call, endpoint, &taken, now));
        match taken {
            Ok(()) => self.conclude(&need, true, now),
            Err(fault) => {
                let target = self.flights.get(&need).map(|flight| flight.target.as_str()).unwrap_or_default();
                let why: &dyn std::fmt::Display = match &unsent {
                    Some(why) => why,
                    None => &fault,
                };
                self.complain(need.provider(), format_args!("{}: {target}: {why}", need.as_str()), now);
                if let Some(flight) = self.flights.get_mut(&need) {
                    flight.note_wait(&need, response.as_ref(), now);
                }
                self.attempt(&need, now);
                if is_one_of_several && self.flights.contains_key(&need) {
                    self.count_fetch(&need, "failed_over");
                }
            }
        }
    }

    /// A request is over, answered or not. What it waited for goes on: it belongs to everyone.
    pub fn on_closed(&mut self, stream: StreamId) {
        if let Some(parked) = self.unpark(stream)
            && let Some(flight) = parked.asked.needs.last().and_then(|need| self.flights.get_mut(need))
        {
            flight.waiters.remove(&stream);
        }
    }

    /// Time has passed.
    pub fn on_tick(&mut self, now: Timestamp) {
        self.resume_some(now);
        let due: Vec<Need> = self.due(now).collect();
        for need in due {
            self.start(need, None, now);
        }
        // A call that is never answered, or an answer that got lost, ends here.
        let lost = |(_, flight): &(&Need, &InFlight)| flight.deadline.is_over(now);
        let lost: Vec<Need> = self.flights.iter().filter(lost).map(|(need, _)| need.clone()).collect();
        for need in lost {
            self.calls.retain(|_, other| *other != need);
            self.conclude(&need, false, now);
        }
        let late = |(_, parked): &(&StreamId, &Parked)| parked.deadline.is_over(now);
        let late: Vec<StreamId> = self.parked.iter().filter(late).map(|(stream, _)| *stream).collect();
        for stream in late {
            if let Some(parked) = self.unpark(stream) {
                // A good token that its authorizer has no word on is not one that can't be proved.
                let denial = match parked.asked.needs.last() {
                    Some(Need::Authorization(..)) => Denial::AuthorizerUnavailable,
                    _ => Denial::ProviderUnavailable(RETRY_AFTER),
                };
                let refusal = Refusal::new(denial, None);
                let decision = self.decide(parked.case, Err(refusal), now);
                self.effects.push(Effect::Resolve(stream, decision));
            }
        }
    }

    /// When [`Filter::on_tick`] should be called next. Ask after every other call.
    pub fn next_tick(&self, now: Timestamp) -> Duration {
        if !self.ready.is_empty() {
            return MIN_TICK;
        }
        let schedules = self.providers.iter().enumerate();
        let times = schedules.flat_map(|(index, provider)| {
            let idle = move |(call, _): &(Call, Timestamp)| !self.flights.contains_key(&document(index, *call));
            let documents = provider.schedule(now).filter(idle).map(|(_, due)| due);
            // A probe may take longer than the interval.
            let idle = move |(kind, endpoint, _): &(Kind, usize, Timestamp)| {
                !self.flights.contains_key(&Need::Probe(index, *kind, *endpoint))
            };
            let probes = provider.probes(now).filter(idle).map(|(_, _, due)| due);
            documents.chain(probes).map(move |due| due.saturating_since(now))
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
        let policies = self.config.policies();
        let keys: BTreeSet<String> =
            policies.flat_map(|policy| policy.filter_state_keys(&self.name).collect::<Vec<_>>()).collect();
        keys.into_iter().collect()
    }

    /// Whether rules look at the route that Envoy has chosen: at its name, or at its metadata.
    pub fn reads_routes(&self) -> bool {
        self.reads_routes
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

    /// Each provider's name with the number of its keys, all tenants together, and the age of the oldest.
    pub fn key_facts(&self, now: Timestamp) -> BTreeMap<&str, (usize, Duration)> {
        let mut facts: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
        for provider in &self.providers {
            let Some((count, fetched)) = provider.key_facts() else { continue };
            let age = fetched.map(|fetched| now.saturating_since(fetched)).unwrap_or_default();
            let (keys, oldest) = facts.entry(&provider.label).or_default();
            *keys = keys.saturating_add(count);
            *oldest = age.max(*oldest);
        }
        facts
    }

    /// Who vouches for tokens here, by which keys, and under which rules: once all keys are there that are fetched without
    /// a token.
    pub fn summary(&self, now: Timestamp) -> Option<String> {
        let is_ready = |provider: &Provider| provider.awaits_no_keys(now);
        self.providers.iter().all(is_ready).then(|| {
            let keys = self.key_facts(now);
            let mut providers: Vec<String> = Vec::new();
            for provider in &self.providers {
                let said = match keys.get(&*provider.label) {
                    Some((1, _)) => format!("{} (1 key)", provider.label),
                    Some((count, _)) => format!("{} ({count} keys)", provider.label),
                    None => format!("{} (no keys)", provider.label),
                };
                // Tenants have one name.
                if providers.last() != Some(&said) {
                    providers.push(said);
                }
            }
            let rules = self.config.rules.iter().enumerate().map(|(index, rule)| match &rule.name {
                Some(name) => name.escape_default().to_string(),
                None => format!("rules[{index}]"),
            });
            let rules: Vec<String> = rules.collect();
            let (count, providers) = (providers.len(), listed(&providers));
            match rules.is_empty() {
                true => format!("providers, {count}: {providers}; no rules"),
                false => format!("providers, {count}: {providers}; rules, {}: {}", rules.len(), listed(&rules)),
            }
        })
    }

    /// The names of all providers.
    pub fn provider_names(&self) -> BTreeSet<Rc<str>> {
        self.providers.iter().map(|provider| Rc::clone(&provider.label)).collect()
    }

    /// Of each endpoint that is one of several: its provider's name, the kind of call, its place in the list, and whether it
    /// is in use.
    pub fn endpoint_facts(&self) -> impl Iterator<Item = (&str, Kind, usize, bool)> {
        self.providers.iter().flat_map(|provider| {
            provider.endpoint_facts().map(|(kind, index, is_up)| (&*provider.label, kind, index, is_up))
        })
    }

    /// Makes a decision of what [`Filter::authorize`] found.
    fn decide(&mut self, case: Case, found: Result<Grant, Refusal>, now: Timestamp) -> Decision {
        if case.policy.shadow.is_some() {
            self.judge_shadow(&case, now);
        }
        match found {
            Ok(grant) => self.pass(case, grant, now),
            Err(refusal) if case.policy.enforce || !refusal.denial.is_strippable() => self.refuse_for(&case, refusal),
            Err(refusal) => {
                let mut rewrite = Rewrite::default();
                rewrite.strip(&self.config.sources);
                let outcome = self.outcome(Disposition::Stripped, Some(refusal.denial.reason()), refusal.provider);
                self.forward(&case, rewrite, ResponseOutputs::default(), outcome)
            }
        }
    }

    fn pass(&self, case: Case, grant: Grant, now: Timestamp) -> Decision {
        let mut rewrite = Rewrite::default();
        match grant {
            Grant::Exempt(exemption) => {
                match exemption {
                    Exemption::Preflight => rewrite.strip(&self.config.sources),
                    Exemption::Bypass | Exemption::Missing if !case.policy.forward => {
                        rewrite.strip_tokens(&self.config.sources, &case.request);
                    }
                    Exemption::Bypass | Exemption::Missing => {}
                }
                let outcome = self.outcome(Disposition::Bypassed, exemption.reason(), None);
                self.forward(&case, rewrite, ResponseOutputs::default(), outcome)
            }
            Grant::Token { token, provider, source } => {
                let source = self.config.sources.get(source);
                // A service would choose a token among the protocols as the one to speak, and say so in its response.
                let leaves = |source: &&Source| {
                    !case.policy.forward || matches!(source.location, SourceLocation::WebSocketProtocol { .. })
                };
                if let Some(source) = source.filter(leaves) {
                    rewrite.strip_one(source);
                }
                let location = source.map(|source| source.location.as_str()).unwrap_or_default();
                let label = self.providers.get(provider).map(|provider| &*provider.label).unwrap_or_default();
                let identity = Identity { claims: token.claims(), provider: label, location };
                match identity::write(&case.policy, identity, &self.name, &mut rewrite) {
                    Ok(aside) => {
                        let outcome = self.outcome(Disposition::Allowed, None, Some(provider));
                        self.forward(&case, rewrite, aside, outcome)
                    }
                    Err(error) => {
                        if let identity::Error::TooLarge(place) = &error {
                            let problem = format_args!(
                                "{place}: what is to be written is too long, or nested too deep; name fewer claims in \
                                 `user_info`, or leave this one out of `claim_headers`"
                            );
                            self.complain(provider, problem, now);
                        }
                        let detail = match &error {
                            identity::Error::Missing(header) => Some(Detail::Header(Rc::clone(header))),
                            identity::Error::TooLarge(_) => None,
                        };
                        self.refuse_for(&case, Refusal { detail, ..Refusal::new(error.into(), Some(provider)) })
                    }
                }
            }
        }
    }

    /// Forwards a request, or tells the proxy that asks about it that it may pass.
    fn forward(&self, case: &Case, rewrite: Rewrite, aside: ResponseOutputs, outcome: Outcome) -> Decision {
        let ResponseOutputs { response_edits, filter_state } = aside;
        if case.is_check {
            let stripped: Vec<&str> = rewrite.stripped_headers(&case.request).collect();
            let headers = rewrite.into_headers();
            let removed = self.to_be_removed(&case.request, &stripped, &headers);
            let mut answer = Answer::unstored(self.config.verify.as_ref().map_or(204, |verify| verify.response_code));
            answer.headers.extend(headers);
            if let Some(names) = removed {
                answer.add(REMOVED_BY_EXT_AUTHZ, names);
            }
            answer.edit(response_edits);
            let edits = if case.policy.forward { Vec::new() } else { self.hide_tokens(case) };
            self.tell(case, &outcome, None, None);
            let (meaning, tally) = (Meaning::Confirmed, self.tally.take());
            return Decision::Answer(Answered { edits, answer, meaning, outcome, tally });
        }
        let edits = rewrite.edits(&case.request, &self.own);
        self.tell(case, &outcome, None, None);
        let route = self.reads_routes.then(|| case.request.route.name.clone().unwrap_or_default());
        // Also where nothing is written here: a filter behind this one may write, and so choose another route.
        let case = self.reads_routes.then(|| Box::new(self.matched(case)));
        Decision::Forward(Forward {
            edits,
            response_edits,
            filter_state,
            outcome,
            tally: self.tally.take(),
            route,
            case,
        })
    }

    /// The answer to a preflight from a listed origin. Who asks would take it for a yes to the request itself; and where no token
    /// is needed, it is the service that knows what it lets pages read.
    fn on_preflight(&self, case: &Case) -> Option<Answer> {
        let cors = self.config.cors.as_ref().filter(|_| !case.is_check && !case.policy.bypass)?;
        let mut answer = Answer::unstored(204);
        answer.headers.extend(cors.on_preflight(&case.request)?);
        Some(answer)
    }

    fn refuse_case(&self, case: &Case, denial: Denial, provider: Option<usize>) -> Decision {
        self.refuse_for(case, Refusal::new(denial, provider))
    }

    fn refuse_for(&self, case: &Case, refusal: Refusal) -> Decision {
        let Refusal { denial, provider, detail } = refusal;
        let refused = self.refused(case, &denial, provider);
        self.tell(case, &refused.outcome, Some(refused.answer.status), detail.as_ref());
        Decision::Answer(Answered { tally: self.tally.take(), ..refused })
    }

    fn refuse_without_policy(&self, case: &Case, denial: Denial) -> Decision {
        let refused = self.refused(case, &denial, None);
        self.tell_without_policy(case, &refused.outcome, refused.answer.status);
        Decision::Answer(Answered { tally: self.tally.take(), ..refused })
    }

    fn refused(&self, case: &Case, denial: &Denial, provider: Option<usize>) -> Answered {
        let Case { request, policy, is_check } = case;
        let mut answer = match request.grpc() {
            // Who asks understands 401 and 403 only, and takes all else for a fault (ngx_http_auth_request_module), but 200
            // for a yes: whatever its client speaks, it is answered in HTTP.
            _ if *is_check => denial.answer(policy, Some(401)),
            None => denial.answer(policy, policy.enforce_response_code),
            Some(grpc) => denial.grpc_answer(policy, policy.enforce_response_code, grpc),
        };
        if let Some(cors) = &self.config.cors {
            answer.headers.extend(cors.on_answer(request));
        }
        // Some proxies are told to go on all the same, without an identity.
        if let Some(names) = is_check.then(|| self.to_be_removed(request, &[], &[])).flatten() {
            answer.add(REMOVED_BY_EXT_AUTHZ, names);
        }
        let reason = denial.reason();
        let outcome = self.outcome(Disposition::Denied, Some(reason), provider);
        let edits = if self.takes_tokens_off { self.hide_tokens(case) } else { Vec::new() };
        Answered { edits, answer, meaning: Meaning::Denied(reason), outcome, tally: Tally::default() }
    }

    /// Takes the tokens off a request that is answered here: its headers go into the access log.
    fn hide_tokens(&self, case: &Case) -> Vec<Edit> {
        let mut rewrite = Rewrite::default();
        rewrite.strip_tokens(&self.config.sources, &case.request);
        let mut edits = rewrite.edits(&case.request, &self.own);
        if let Some(verify) = self.config.verify.as_ref().filter(|_| case.is_check) {
            edits.iter_mut().for_each(|edit| verify.put_back(edit));
        }
        edits
    }

    fn outcome(&self, result: Disposition, reason: Option<Reason>, provider: Option<usize>) -> Outcome {
        Outcome { result, reason, provider: self.label(provider) }
    }

    /// Tells the operator, but for each provider not more than once a second: clients decide how often there is cause.
    fn complain(&self, index: usize, problem: std::fmt::Arguments, now: Timestamp) {
        if let Some(provider) = self.providers.get(index).filter(|_| self.may_complain(index, now)) {
            log::warn!("{}: {problem}", provider.label);
        }
    }

    fn may_complain(&self, index: usize, now: Timestamp) -> bool {
        self.complained_at.get(index).is_some_and(|last| is_due(last, now))
    }

    fn label(&self, provider: Option<usize>) -> Option<Rc<str>> {
        provider.and_then(|index| self.providers.get(index)).map(|provider| Rc::clone(&provider.label))
    }
}

/// Tells Envoy's `ext_authz` which headers to take off the request that it asks about.
const REMOVED_BY_EXT_AUTHZ: &str = "x-envoy-auth-headers-to-remove";

/// Whether something may be written about again; if so, it is noted that it was.
fn is_due(last: &Cell<Timestamp>, now: Timestamp) -> bool {
    let is_due = now < last.get() || now.saturating_since(last.get()) >= WATCH_INTERVAL;
    if is_due {
        last.set(now);
    }
    is_due
}

/// Tokens that somebody vouched for: as many as a busy gateway has users at a time, in a tenth of what Envoy gives
/// a VM (1 GiB).
///
/// The numbers of entries are a little less than 7/16 of a power of two. A table of Rust's that removals have worn out is
/// rebuilt, with twice the room if it was more than half full: with just a power of two, full caches would take their last
/// doubling at some moment after a million requests.
const VOUCHED_BOUNDS: Bounds = Bounds { entries: 56_000, bytes: 96 << 20 };

/// Answers about worthless tokens live apart, so that a flood of these can't drive out good ones.
const INACTIVE_BOUNDS: Bounds = Bounds { entries: 3_500, bytes: 4 << 20 };

/// Answers of authorizers: a user has several pages open.
const VERDICT_BOUNDS: Bounds = Bounds { entries: 14_000, bytes: 32 << 20 };

/// What a client is told to wait when nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How often lost calls are looked for, and at most how often a failing provider is written about.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The longest sleep.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest: Envoy's timers count milliseconds.
const MIN_TICK: Duration = Duration::from_millis(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// CCH-08: Found by ten million requests: memory grew by five megabytes, once, long after all caches were full.
    #[test]
    fn a_full_cache_needs_no_larger_table() {
        for Bounds { entries, .. } in [VOUCHED_BOUNDS, INACTIVE_BOUNDS, VERDICT_BOUNDS] {
            // What `lru` keeps its entries in.
            let mut table = HashMap::new();
            let mut most_room = |rounds: std::ops::Range<usize>| {
                let keys = rounds.start * entries..rounds.end * entries;
                let room = keys.map(|key| {
                    table.insert(key, ());
                    if table.len() > entries {
                        table.remove(&(key - entries));
                    }
                    table.capacity()
                });
                room.max()
            };
            let (full, later) = (most_room(0..3), most_room(3..20));
            assert!(later <= full, "{entries} entries: room for {full:?}, and later for {later:?}");
        }
    }
}
