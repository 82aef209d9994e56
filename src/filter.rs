//! The filter itself, pure: events in, decisions and effects out. It knows no clock, no socket and no Envoy.
//!
//! One procedure decides, `Filter::authorize`. It either decides, or names the one fact that it lacks. A request that
//! lacks a fact is parked; when the fact comes, or can't be had, the same procedure runs again from the top. Each
//! request asks for each fact at most once, so that it ends. What several requests lack is fetched once for all.
//!
//! The invariant: a request is forwarded with an identity only by a [`Grant`] that holds an [`AccessToken`], and
//! an access token exists only if every check passed. Everything else that comes from the client under a name that the
//! filter writes is removed, whatever is decided.

use crate::cache::{Bounds, Cache};
use crate::config::{Config, Policy, Validation};
use crate::credentials::{self, Credentials, Token, TokenDigest};
use crate::http::{Edit, Fetch, Request, Response};
use crate::identity;
use crate::introspection::{self, Answer};
use crate::jws::{self, CompactJws, Form};
use crate::jwt::{self, AccessToken, Audiences, Claims, Expected, Issuer, Unverified};
use crate::policy::Lack;
use crate::provider::{Call, Fault, Provider, Unreachable};
use crate::reply::{Denial, Reason, Reply};
use crate::rewrite::{OwnNames, Rewrite};
use crate::time::Timestamp;
use crate::userinfo;
use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;
use std::time::Duration;

/// One request, by the number that the host gave it.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StreamId(pub u32);

/// One call to a provider, by the number that the filter gave it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub struct CallId(pub u64);

/// What becomes of a request.
#[derive(Debug, Eq, PartialEq)]
pub enum Decision {
    /// It goes on to the upstream, changed.
    Forward(Forward),
    /// It is answered.
    Deny(Refused),
    /// It waits; an [`Effect::Resolve`] will follow.
    Wait,
}

/// How a request goes on.
#[derive(Debug, Eq, PartialEq)]
pub struct Forward {
    /// Changes of its headers.
    pub edits: Vec<Edit>,
    /// `Set-Cookie` values for the response.
    pub response_cookies: Vec<String>,
    /// Filter state: key and serialised `google.protobuf.Struct`.
    pub filter_state: Vec<(String, Vec<u8>)>,
    /// What to count.
    pub outcome: Outcome,
}

/// How a request is answered.
#[derive(Debug, Eq, PartialEq)]
pub struct Refused {
    /// The answer.
    pub reply: Reply,
    /// What to count.
    pub outcome: Outcome,
}

/// What a decision was, for logs and metrics.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Outcome {
    /// What was done.
    pub result: Verdict,
    /// Why, unless a valid token was all there was to it.
    pub reason: Option<Reason>,
    /// Whose token it was, if that was found out.
    pub provider: Option<Rc<str>>,
}

/// What was done with a request.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Verdict {
    /// A valid token let it pass.
    Allowed,
    /// No token was needed.
    Bypassed,
    /// It was refused.
    Denied,
    /// What was not valid was taken off it, and it went on without an identity.
    Stripped,
}

impl Verdict {
    /// The word for it in metrics, logs and filter state.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Bypassed => "bypassed",
            Self::Denied => "denied",
            Self::Stripped => "stripped",
        }
    }
}

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

/// The right to pass. Made from an access token, or from a policy that asks for none.
#[derive(Debug)]
enum Grant {
    NoneNeeded(Option<Reason>),
    Token { token: AccessToken, provider: usize, source: usize },
}

/// Why [`Filter::authorize`] ended without a grant.
#[derive(Debug)]
enum Halt {
    Deny(Refusal),
    Need(Need),
}

#[derive(Debug)]
struct Refusal {
    denial: Denial,
    provider: Option<usize>,
}

impl From<Denial> for Halt {
    fn from(denial: Denial) -> Self {
        Self::Deny(Refusal { denial, provider: None })
    }
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

/// A fetch on its way, and who waits for it.
struct Flight {
    attempt: usize,
    waiters: BTreeSet<StreamId>,
    deadline: Timestamp,
}

/// A request that waits.
struct Parked {
    request: Request,
    asked: Vec<Need>,
    deadline: Timestamp,
}

/// What somebody vouched for, and who did.
struct Proof {
    claims: Rc<Claims>,
    provider: usize,
    witness: Witness,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Witness {
    Introspection,
    Signature,
    Userinfo,
}

type TokenKey = (usize, TokenDigest);

/// The filter of one worker.
pub struct Filter {
    config: Rc<Config>,
    name: String,
    own: OwnNames,
    providers: Vec<Provider>,
    active: Cache<TokenKey, (Rc<Claims>, bool)>,
    inactive: Cache<TokenKey, ()>,
    flights: HashMap<Need, Flight>,
    calls: HashMap<CallId, Need>,
    last_call: u64,
    parked: HashMap<StreamId, Parked>,
    parked_bytes: usize,
    warned_at: Timestamp,
    effects: Vec<Effect>,
}

impl Filter {
    /// A filter that knows nothing yet. `name` is its own name in Envoy's configuration.
    pub fn new(config: Rc<Config>, name: &str) -> Self {
        Self {
            own: OwnNames::of([&config.policy]),
            providers: config.providers.iter().cloned().map(Provider::new).collect(),
            config,
            name: name.to_owned(),
            active: Cache::new(ACTIVE_BOUNDS),
            inactive: Cache::new(INACTIVE_BOUNDS),
            flights: HashMap::new(),
            calls: HashMap::new(),
            last_call: 0,
            parked: HashMap::new(),
            parked_bytes: 0,
            warned_at: Timestamp::default(),
            effects: Vec::new(),
        }
    }

    /// A request's headers have come.
    pub fn on_request(&mut self, stream: StreamId, request: Request, now: Timestamp) -> Decision {
        if request.method().is_none() {
            // The host had more headers than it hands over: what isn't seen can't be removed.
            return self.refuse(Denial::InvalidRequest, None);
        }
        match self.authorize(&request, &[], now) {
            Ok(grant) => self.forward(&request, grant),
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
                self.warn(&need, &fault, now);
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
        let lost = |(_, flight): &(&Need, &Flight)| now > flight.deadline;
        let lost: Vec<Need> = self.flights.iter().filter(lost).map(|(need, _)| need.clone()).collect();
        for need in lost {
            self.calls.retain(|_, other| *other != need);
            self.conclude(&need, false, now);
        }
        let late = |(_, parked): &(&StreamId, &Parked)| now > parked.deadline;
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

    /// Whether an upstream could read this header or trailer as one that only the filter writes.
    pub fn is_own_header(&self, name: &[u8]) -> bool {
        self.own.is_own_header(name)
    }

    /// Each provider's name with the number of its keys and their age.
    pub fn key_facts(&self, now: Timestamp) -> impl Iterator<Item = (&str, usize, Option<Duration>)> {
        self.providers.iter().filter_map(move |provider| {
            let (count, fetched) = provider.key_facts()?;
            Some((provider.config.name.as_str(), count, fetched.map(|fetched| now.saturating_since(fetched))))
        })
    }

    // ------------------------------------------------------------------ deciding

    /// The only procedure that decides. `asked` is what this request has asked for already.
    fn authorize(&self, request: &Request, asked: &[Need], now: Timestamp) -> Result<Grant, Halt> {
        let policy = &self.config.policy;
        if policy.allow_preflight && request.is_cors_preflight() {
            return Ok(Grant::NoneNeeded(None));
        }
        let credentials = match credentials::find(request, &self.config.sources) {
            Ok(Some(credentials)) => credentials,
            Ok(None) if policy.allow_missing => return Ok(Grant::NoneNeeded(Some(Reason::MissingToken))),
            Ok(None) => return Err(Denial::MissingToken.into()),
            Err(credentials::Error::UnsupportedScheme) => return Err(Denial::UnsupportedScheme.into()),
            Err(credentials::Error::Malformed | credentials::Error::Several) => {
                return Err(Denial::InvalidRequest.into());
            }
        };
        let proof = self.prove(&credentials, asked, now)?;
        let provider = proof.provider;
        let refused = |denial| Halt::Deny(Refusal { denial, provider: Some(provider) });
        let token = self.check(&proof, now).map_err(|error| refused(error.into()))?;
        policy.require.check(&token).map_err(|lack| refused(lack.into()))?;
        Ok(Grant::Token { token, provider, source: credentials.source })
    }

    /// Finds who vouches for the token: a signature or an answer of its own provider, and of no other.
    fn prove(&self, credentials: &Credentials, asked: &[Need], now: Timestamp) -> Result<Proof, Halt> {
        let token = &credentials.token;
        let bound = self.config.sources.get(credentials.source).and_then(|source| source.provider);
        let error = match jws::form(token.as_str()) {
            Form::Jws => match CompactJws::parse(token.as_str()) {
                Ok(jws) => match Unverified::read(&jws) {
                    Ok(claimed) => return self.prove_issued(&claimed, &jws, token, bound, asked, now),
                    Err(error) => Denial::from(error),
                },
                Err(error) => Denial::from(error),
            },
            Form::Jwe => Denial::InvalidToken(Reason::UnsupportedToken),
            Form::Opaque => {
                let index = self.opaque_provider(bound).ok_or(Denial::InvalidToken(Reason::UnknownIssuer))?;
                return match self.validation(index) {
                    Some(Validation::Jwt) => Err(deny(index, Denial::InvalidToken(Reason::MalformedToken))),
                    _ => self.ask(index, token, asked, now),
                };
            }
        };
        // A JWT or JWE that can't be read here may still be an opaque token to a provider that is always asked.
        match self.opaque_provider(bound) {
            Some(index) if matches!(self.validation(index), Some(Validation::Introspection | Validation::Userinfo)) => {
                self.ask(index, token, asked, now)
            }
            index => Err(Halt::Deny(Refusal { denial: error, provider: index })),
        }
    }

    /// For a JWT that names its issuer.
    fn prove_issued(
        &self,
        claimed: &Unverified,
        jws: &CompactJws,
        token: &Token,
        bound: Option<usize>,
        asked: &[Need],
        now: Timestamp,
    ) -> Result<Proof, Halt> {
        let index = self.providers.iter().position(|provider| provider.config.issuer == claimed.issuer);
        let index = index.filter(|index| bound.is_none_or(|bound| bound == *index));
        let index = index.ok_or(Denial::InvalidToken(Reason::UnknownIssuer))?;
        match self.validation(index) {
            Some(Validation::Auto | Validation::Jwt) => self.verify(index, jws, asked, now),
            // A provider's answer need not repeat what the token says of its binding (RFC 9449, section 6.2).
            _ if claimed.is_bound => Err(deny(index, Denial::InvalidToken(Reason::NotBound))),
            _ => self.ask(index, token, asked, now),
        }
    }

    /// By signature, with the keys of this provider only.
    fn verify(&self, index: usize, jws: &CompactJws, asked: &[Need], now: Timestamp) -> Result<Proof, Halt> {
        let provider = self.providers.get(index).ok_or(Denial::Misconfigured)?;
        if !provider.config.algorithms.contains(&jws.algorithm()) {
            return Err(deny(index, Denial::InvalidToken(Reason::UnsupportedToken)));
        }
        let Some(keys) = provider.keys(now) else {
            let denial = Denial::ProviderUnavailable(provider.retry_after(now));
            return Err(self.need_keys(index, asked, denial, now));
        };
        let mut candidates = keys.candidates(jws.key_id(), jws.algorithm()).peekable();
        let error = match candidates.peek() {
            None => Reason::UnknownKey,
            Some(_) => match jws.verify(candidates) {
                Ok(payload) => {
                    let claims = Claims::from_jwt(payload).map_err(|error| deny(index, error.into()))?;
                    return Ok(Proof { claims: Rc::new(claims), provider: index, witness: Witness::Signature });
                }
                // A provider that names no keys can change one without a sign.
                Err(_) if jws.key_id().is_none() => Reason::BadSignature,
                Err(_) => return Err(deny(index, Denial::InvalidToken(Reason::BadSignature))),
            },
        };
        // Newer keys may be there; if they can't be had, the token isn't to blame.
        let denial = match provider.is_failing() {
            true => Denial::ProviderUnavailable(provider.retry_after(now)),
            false => Denial::InvalidToken(error),
        };
        Err(self.need_keys(index, asked, denial, now))
    }

    /// By asking the provider.
    fn ask(&self, index: usize, token: &Token, asked: &[Need], now: Timestamp) -> Result<Proof, Halt> {
        let provider = self.providers.get(index).ok_or(Denial::Misconfigured)?;
        let key = (index, token.digest());
        if let Some((claims, introspected)) = self.active.get(&key, now) {
            let witness = if introspected { Witness::Introspection } else { Witness::Userinfo };
            return Ok(Proof { claims, provider: index, witness });
        }
        if self.inactive.get(&key, now).is_some() {
            return Err(deny(index, Denial::InvalidToken(Reason::Inactive)));
        }
        let unavailable = || Denial::ProviderUnavailable(provider.retry_after(now));
        // Where the metadata decide between introspection and userinfo, they come first.
        let undecided =
            provider.config.validation == Validation::Auto && provider.lacks_metadata(Call::Introspection(token), now);
        let need = match provider.introspects(now) {
            true => Need::Introspection(index, token.clone()),
            false => Need::Userinfo(index, token.clone()),
        };
        if undecided || provider.lacks_metadata(need.call(), now) {
            return Err(self.need_metadata(index, asked, unavailable(), now));
        }
        match provider.can_call(need.call(), now) {
            Ok(()) if asked.contains(&need) => Err(deny(index, unavailable())),
            Ok(()) => Err(Halt::Need(need)),
            Err(Unreachable::NoEndpoint) if provider.config.validation == Validation::Auto => {
                // Nobody can say anything about opaque tokens of this provider.
                Err(deny(index, Denial::InvalidToken(Reason::UnsupportedToken)))
            }
            Err(_) => Err(deny(index, Denial::Misconfigured)),
        }
    }

    /// What the claims must be, given who vouches for them.
    fn check(&self, proof: &Proof, now: Timestamp) -> Result<AccessToken, jwt::Error> {
        let Some(provider) = self.providers.get(proof.provider) else { return Err(jwt::Error::WrongIssuer) };
        let config = &provider.config;
        let by_signature = proof.witness == Witness::Signature;
        // Userinfo says nothing about the audience, as a rule; where it does, it is held to it.
        let silent = proof.witness == Witness::Userinfo && proof.claims.audience().is_empty();
        let expected = Expected {
            issuer: if by_signature { Issuer::Exactly(&config.issuer) } else { Issuer::IfPresent(&config.issuer) },
            audiences: if silent { &Audiences::Any } else { &config.audiences },
            token_types: &config.token_types,
            clock_skew: config.clock_skew,
            require_expiration: by_signature && config.require_expiration,
            max_lifetime: config.max_lifetime.filter(|_| by_signature),
        };
        proof.claims.check(&expected, now)
    }

    /// The provider that takes tokens which don't say whose they are.
    fn opaque_provider(&self, bound: Option<usize>) -> Option<usize> {
        let takers = || {
            let all = self.providers.iter().enumerate();
            all.filter(|(_, provider)| provider.config.validation != Validation::Jwt).map(|(index, _)| index)
        };
        let only = |mut indices: Box<dyn Iterator<Item = usize> + '_>| match (indices.next(), indices.next()) {
            (Some(index), None) => Some(index),
            _ => None,
        };
        // With one provider there is no doubt whose a token claims to be.
        bound.or_else(|| only(Box::new(takers()))).or_else(|| only(Box::new(0..self.providers.len())))
    }

    fn validation(&self, index: usize) -> Option<Validation> {
        self.providers.get(index).map(|provider| provider.config.validation)
    }

    /// Asks for keys, or gives `denial` if they were asked for, or may not be asked for now.
    fn need_keys(&self, index: usize, asked: &[Need], denial: Denial, now: Timestamp) -> Halt {
        let Some(provider) = self.providers.get(index) else { return deny(index, denial) };
        let need = Need::Keys(index);
        let in_flight = self.flights.contains_key(&need);
        if asked.contains(&need) || !(in_flight || provider.may_fetch_keys(now)) {
            return deny(index, denial);
        }
        match provider.lacks_metadata(Call::Keys, now) {
            true if !in_flight => self.need_metadata(index, asked, denial, now),
            _ => Halt::Need(need),
        }
    }

    fn need_metadata(&self, index: usize, asked: &[Need], denial: Denial, now: Timestamp) -> Halt {
        let need = Need::Metadata(index);
        let allowed = self.providers.get(index).is_some_and(|provider| provider.may_fetch_metadata(now));
        match !asked.contains(&need) && (allowed || self.flights.contains_key(&need)) {
            true => Halt::Need(need),
            false => deny(index, denial),
        }
    }

    // ------------------------------------------------------------------ acting on a decision

    fn forward(&self, request: &Request, grant: Grant) -> Decision {
        let policy = &self.config.policy;
        match grant {
            Grant::NoneNeeded(reason) => self.pass(request, Rewrite::default(), Verdict::Bypassed, reason, None),
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
                        log::error!("{place}: the claims are longer than it holds; name fewer in `claims`");
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
        Decision::Forward(Forward { edits, response_cookies: Vec::new(), filter_state: Vec::new(), outcome })
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
        Decision::Deny(Refused { reply, outcome })
    }

    fn label(&self, provider: Option<usize>) -> Option<Rc<str>> {
        provider.and_then(|index| self.providers.get(index)).map(|provider| Rc::clone(&provider.label))
    }

    // ------------------------------------------------------------------ waiting and fetching

    fn park(&mut self, stream: StreamId, request: Request, need: Need, now: Timestamp) -> Decision {
        let size = request.headers.size();
        let full = self.parked.len() >= MAX_PARKED || self.parked_bytes.saturating_add(size) > MAX_PARKED_BYTES;
        if full || !self.has_room_for(&need) {
            return self.refuse(Denial::Overloaded, Some(need.provider()));
        }
        let deadline = now.saturating_add(MAX_WAIT);
        self.parked_bytes = self.parked_bytes.saturating_add(size);
        self.parked.insert(stream, Parked { request, asked: vec![need.clone()], deadline });
        self.start(need, Some(stream), now);
        // What can't even be sent is decided already.
        let resolved = |effect: &Effect| matches!(effect, Effect::Resolve(resolved, _) if *resolved == stream);
        match self.effects.iter().position(resolved).map(|position| self.effects.remove(position)) {
            Some(Effect::Resolve(_, decision)) => decision,
            _ => Decision::Wait,
        }
    }

    fn unpark(&mut self, stream: StreamId) -> Option<Parked> {
        let parked = self.parked.remove(&stream)?;
        self.parked_bytes = self.parked_bytes.saturating_sub(parked.request.headers.size());
        Some(parked)
    }

    /// Runs the decision again for a request that waited.
    fn resume(&mut self, stream: StreamId, now: Timestamp) {
        let Some(mut parked) = self.unpark(stream) else { return };
        let decision = match self.authorize(&parked.request, &parked.asked, now) {
            Ok(grant) => self.forward(&parked.request, grant),
            Err(Halt::Deny(refusal)) => self.refuse_or_strip(&parked.request, refusal),
            Err(Halt::Need(need)) if !self.has_room_for(&need) => {
                self.refuse(Denial::Overloaded, Some(need.provider()))
            }
            Err(Halt::Need(need)) => {
                parked.asked.push(need.clone());
                self.parked_bytes = self.parked_bytes.saturating_add(parked.request.headers.size());
                self.parked.insert(stream, parked);
                self.start(need, Some(stream), now);
                return;
            }
        };
        self.effects.push(Effect::Resolve(stream, decision));
    }

    /// Questions about single tokens are bounded, since anybody can make up tokens; documents are few.
    fn has_room_for(&self, need: &Need) -> bool {
        let is_document = matches!(need, Need::Metadata(_) | Need::Keys(_));
        is_document || self.flights.contains_key(need) || self.flights.len() < MAX_FLIGHTS
    }

    /// Joins the fetch that is under way, or begins it.
    fn start(&mut self, need: Need, waiter: Option<StreamId>, now: Timestamp) {
        if let Some(flight) = self.flights.get_mut(&need) {
            flight.waiters.extend(waiter);
            return;
        }
        let flight = Flight { attempt: 0, waiters: waiter.into_iter().collect(), deadline: Timestamp::MAX };
        self.flights.insert(need.clone(), flight);
        if let Some(provider) = self.providers.get_mut(need.provider())
            && waiter.is_some()
        {
            provider.trying(need.call(), now);
        }
        self.attempt(&need, now);
    }

    /// Sends the call to the endpoint whose turn it is; if there is none left, the need can't be met.
    fn attempt(&mut self, need: &Need, now: Timestamp) {
        let Some(flight) = self.flights.get_mut(need) else { return };
        let Some(provider) = self.providers.get(need.provider()) else { return };
        match provider.fetch(need.call(), flight.attempt, now) {
            Ok(fetch) => {
                flight.deadline = now.saturating_add(fetch.timeout.saturating_mul(2)).saturating_add(WATCH_INTERVAL);
                self.last_call = self.last_call.wrapping_add(1);
                let call = CallId(self.last_call);
                self.calls.insert(call, need.clone());
                self.effects.push(Effect::Fetch(call, fetch));
            }
            Err(Unreachable::Exhausted) => self.conclude(need, false, now),
            Err(unreachable) => {
                log::error!("{}: {} cannot be fetched: {unreachable}", provider.config.name, need.word());
                self.conclude(need, false, now);
            }
        }
    }

    /// Ends a fetch, and runs those who waited for it.
    fn conclude(&mut self, need: &Need, succeeded: bool, now: Timestamp) {
        let Some(flight) = self.flights.remove(need) else { return };
        if let Some(provider) = self.providers.get_mut(need.provider()) {
            if !succeeded {
                provider.failed(need.call(), now);
            }
            let result = if succeeded { "ok" } else { "failed" };
            let outcome = FetchOutcome { provider: Rc::clone(&provider.label), kind: need.word(), result };
            self.effects.push(Effect::Fetched(outcome));
        }
        for stream in flight.waiters {
            self.resume(stream, now);
        }
        if succeeded && matches!(need, Need::Metadata(_)) {
            // The keys whose place has just become known need not wait for the next tick.
            let due: Vec<Need> = self.due(now).collect();
            for need in due {
                self.start(need, None, now);
            }
        }
    }

    /// Takes in an answer.
    fn take(&mut self, need: &Need, response: Option<&Response>, now: Timestamp) -> Result<(), Fault> {
        let Some(provider) = self.providers.get_mut(need.provider()) else { return Err(Fault::NoAnswer) };
        let (token, answer, introspected) = match need {
            Need::Metadata(_) => return provider.take_metadata(response, now),
            Need::Keys(_) => return provider.take_keys(response, now),
            Need::Introspection(_, token) => (token, response.and_then(introspection::answer), true),
            Need::Userinfo(_, token) => (token, response.and_then(userinfo::answer), false),
        };
        let Some(answer) = answer else {
            let status = response.map_or(0, |response| response.status);
            return Err(match status {
                0 => Fault::NoAnswer,
                200 => Fault::Document("the answer is not the JSON object that it should be".to_owned()),
                401 | 403 => Fault::Document(format!("status {status}: client_id or client_secret are not accepted")),
                status => Fault::Status(status),
            });
        };
        let config = &provider.config;
        let key = (need.provider(), token.digest());
        let size = response.map_or(0, |response| response.body.len());
        let claims = match answer {
            Answer::Active(object) => Claims::from_answer(object).ok(),
            Answer::Inactive => None,
        };
        match claims {
            Some(claims) => {
                let cache = if introspected { config.introspection.cache } else { config.userinfo.cache };
                // RFC 7662, section 4: an answer must not be believed beyond `exp`.
                let left = claims.expires_at().map(|end| end.saturating_since(now)).unwrap_or(Duration::MAX);
                let weight = size.saturating_mul(CLAIMS_WEIGHT).saturating_add(ENTRY_WEIGHT);
                self.active.insert(key, (Rc::new(claims), introspected), weight, cache.min(left), now);
            }
            None => {
                self.inactive.insert(key, (), ENTRY_WEIGHT, config.introspection.negative_cache, now);
            }
        }
        Ok(())
    }

    fn due(&self, now: Timestamp) -> impl Iterator<Item = Need> {
        self.providers.iter().enumerate().flat_map(move |(index, provider)| {
            let due = provider.schedule(now).filter(move |(_, due)| *due <= now);
            due.map(move |(call, _)| document(index, call)).filter(|need| !self.flights.contains_key(need))
        })
    }

    /// Tells the operator, but not more than once a second: clients decide how often this happens.
    fn warn(&mut self, need: &Need, fault: &Fault, now: Timestamp) {
        if now < self.warned_at || now.saturating_since(self.warned_at) >= WATCH_INTERVAL {
            self.warned_at = now;
            if let Some(provider) = self.providers.get(need.provider()) {
                log::warn!("{}: {}: {fault}", provider.config.name, need.word());
            }
        }
    }
}

fn deny(provider: usize, denial: Denial) -> Halt {
    Halt::Deny(Refusal { denial, provider: Some(provider) })
}

fn document(provider: usize, call: Call) -> Need {
    match call {
        Call::Keys => Need::Keys(provider),
        _ => Need::Metadata(provider),
    }
}

impl From<jws::Error> for Denial {
    fn from(error: jws::Error) -> Self {
        Self::InvalidToken(match error {
            jws::Error::Malformed => Reason::MalformedToken,
            jws::Error::Unsupported => Reason::UnsupportedToken,
        })
    }
}

impl From<jwt::Error> for Denial {
    fn from(error: jwt::Error) -> Self {
        Self::InvalidToken(match error {
            jwt::Error::Expired => Reason::Expired,
            jwt::Error::InvalidClaims(_) => Reason::InvalidClaims,
            jwt::Error::Malformed => Reason::MalformedToken,
            jwt::Error::NotBound => Reason::NotBound,
            jwt::Error::NotYetValid => Reason::NotYetValid,
            jwt::Error::WrongAudience => Reason::WrongAudience,
            jwt::Error::WrongIssuer => Reason::UnknownIssuer,
            jwt::Error::WrongType => Reason::WrongType,
        })
    }
}

impl From<Lack> for Denial {
    fn from(lack: Lack) -> Self {
        match lack {
            Lack::Scopes(scopes) => Self::InsufficientScope(scopes),
            Lack::Claims => Self::InsufficientClaims,
            Lack::Unreadable(error) => error.into(),
        }
    }
}

/// Believed answers: as many as a busy gateway has users at a time, in a tenth of what Envoy gives a VM (1 GiB).
const ACTIVE_BOUNDS: Bounds = Bounds { entries: 16 * 1024, bytes: 96 << 20 };

/// Answers about worthless tokens live apart, so that a flood of these can't drive out good ones.
const INACTIVE_BOUNDS: Bounds = Bounds { entries: 4 * 1024, bytes: 4 << 20 };

/// Claims take about this many times the memory of their JSON text.
const CLAIMS_WEIGHT: usize = 4;

/// A cache entry without its claims, rounded up.
const ENTRY_WEIGHT: usize = 512;

/// Requests that may wait at a time; beyond, the provider is too slow for more to be of any use.
const MAX_PARKED: usize = 10_000;

/// What their headers may weigh together.
const MAX_PARKED_BYTES: usize = 64 << 20;

/// Questions about tokens that may be open at a time: Envoy's default circuit breaker lets 1024 through to a cluster.
const MAX_FLIGHTS: usize = 1000;

/// A request needs at most metadata, keys and an answer, each over a list of endpoints; a client gives up sooner.
const MAX_WAIT: Duration = Duration::from_secs(60);

/// What a client is told to wait when nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How often lost calls are looked for, and at most how often a failing provider is written about.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// The longest sleep.
const IDLE_INTERVAL: Duration = Duration::from_secs(10);

/// The shortest: Envoy's timers count milliseconds.
const MIN_TICK: Duration = Duration::from_millis(1);
