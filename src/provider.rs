//! One issuer's live state: its metadata and its keys, how fresh they are, and when they are fetched again.
//!
//! A document is fetched before it is needed and again before it is stale; it serves on through an outage, up to a
//! bound; and a fetch that fails is not repeated before a pause that grows.

mod document;
mod keys;

use crate::config::{self, ABOUT_THE_MOMENT, Endpoints, UnreachableUrl, Validation};
use crate::http::{Endpoint, Fetch, MAX_ANSWER_BYTES, Response};
use crate::jose::jwk::{Algorithm, Fingerprint, JwkSet, Keys, Origin};
use crate::jose::jwt::{self, Audiences, Claims};
use crate::jose::verifier::Verifier;
use crate::json;
use crate::oauth::credentials::Token;
use crate::oauth::diagnosis;
use crate::oauth::introspection::{self, Answer};
use crate::oauth::metadata::Metadata;
use crate::oauth::userinfo;
use crate::time::Timestamp;
use document::Document;
use keys::SourceOfKeys;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// One of the filter's providers, by its place in the configuration.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProviderId(pub usize);

impl ProviderId {
    /// The first of the configuration.
    pub const FIRST: Self = Self(0);
}

/// One issuer.
pub struct Provider {
    /// Which one it is.
    pub id: ProviderId,
    /// What the operator said about it.
    pub config: Rc<config::Provider>,
    /// Its name, for metrics.
    pub label: Rc<str>,
    metadata: Document<Metadata>,
    /// How many of the places for metadata answered that there are none, since the last success.
    silences: usize,
    /// Which of the places the metadata at hand came from.
    place: usize,
    sources: Vec<SourceOfKeys>,
    /// When its introspection endpoint said that it doesn't answer strangers.
    turned_us_away: Option<Timestamp>,
    /// It has answered a question of ours, where it is: what it refuses then is the token, or the moment.
    has_answered: bool,
    /// Of each kind of call to a configured list of endpoints, how these are.
    health: Vec<(Kind, Vec<Health>)>,
    /// It is not one of many tenants, or a token of its has been proved: its documents are kept fresh.
    is_live: bool,
    /// When it was last looked up without being live.
    admitted_at: Option<Timestamp>,
}

/// The calls that may go to one of several configured endpoints.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// RFC 7517, of the source at this place.
    Keys(usize),
    /// RFC 7662.
    Introspection,
    /// OpenID Connect Core, section 5.3.
    Userinfo,
}

impl Kind {
    /// The word for it in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keys(_) => "jwks",
            Self::Introspection => "introspection",
            Self::Userinfo => "userinfo",
        }
    }
}

/// What a provider is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call<'t> {
    /// Its metadata.
    Metadata,
    /// Its keys, from the source at this place.
    Keys(usize),
    /// Whether a token is active.
    Introspection(&'t Token),
    /// Whose a token is.
    Userinfo(&'t Token),
}

impl Call<'_> {
    fn kind(self) -> Option<Kind> {
        match self {
            Self::Metadata => None,
            Self::Keys(source) => Some(Kind::Keys(source)),
            Self::Introspection(_) => Some(Kind::Introspection),
            Self::Userinfo(_) => Some(Kind::Userinfo),
        }
    }
}

/// Why a call can't be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoRoute {
    /// The metadata that name the endpoint are not there yet.
    NoMetadata,
    /// The metadata name no such endpoint.
    NoEndpoint,
    /// The metadata name one that the filter doesn't call.
    Refused(UnreachableUrl),
    /// Every endpoint was tried.
    Exhausted,
    /// The host did not sign what tells the provider who asks.
    CannotSign,
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMetadata => f.write_str("the provider's metadata are not at hand"),
            Self::NoEndpoint => f.write_str("the provider's metadata name no such endpoint; configure it"),
            Self::Refused(UnreachableUrl::NotAUrl) => {
                f.write_str("the provider's metadata name something that is no URL")
            }
            Self::Refused(UnreachableUrl::NoCluster(host)) => {
                write!(f, "no cluster for the host {host:?}; if you trust it, add it to `clusters`")
            }
            Self::Exhausted => f.write_str("every endpoint was tried"),
            Self::CannotSign => f.write_str("the host does not sign with the RSA key of `client_key`"),
        }
    }
}

/// Why a fetched document is not used. Shown to the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FetchError {
    /// There was no answer: refused, reset, timed out, or no such cluster.
    NoAnswer,
    /// The answer's status is not 200.
    Status(u16),
    /// The endpoint doesn't answer us, or not about this token.
    Refused(u16),
    /// The answer is larger than the filter reads.
    TooLarge,
    /// The answer is Envoy's own, for this reason.
    Local(String),
    /// The answer is a page for people.
    Html,
    /// The document is not what it should be.
    Document(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("no answer (no such cluster or no host in it, reset, or timed out)"),
            Self::Status(504) => f.write_str("status 504 (or Envoy's own: the call timed out)"),
            Self::Status(503) => f.write_str("status 503 (or Envoy's own: no connection)"),
            Self::Status(status @ (301 | 302 | 303 | 307 | 308)) => {
                write!(f, "status {status}: redirects are not followed; configure the final URL")
            }
            Self::Status(status) => write!(f, "status {status}"),
            Self::Refused(status) => {
                write!(f, "status {status}: client_id or client_secret are not accepted, or this token is not")
            }
            Self::TooLarge => write!(f, "the answer is larger than {MAX_ANSWER_BYTES} bytes"),
            Self::Local(why) => write!(f, "Envoy could not call it: {why}"),
            Self::Html => f.write_str("the answer is an HTML page, not JSON"),
            Self::Document(problem) => f.write_str(problem),
        }
    }
}

impl Provider {
    /// A provider that knows nothing yet but what the configuration holds.
    pub fn new(id: ProviderId, config: Rc<config::Provider>) -> Self {
        let label = Rc::from(config.name.as_str());
        let keys = config.jwks.iter().enumerate().map(|(index, source)| (Kind::Keys(index), &source.uri));
        let others =
            [(Kind::Introspection, &config.introspection.endpoints), (Kind::Userinfo, &config.userinfo.endpoints)];
        let health = keys.chain(others).filter_map(|(kind, endpoints)| match endpoints {
            Endpoints::Configured(list) if list.len() > 1 => Some((kind, vec![Health::default(); list.len()])),
            _ => None,
        });
        Self {
            id,
            health: health.collect(),
            sources: config.jwks.iter().map(SourceOfKeys::new).collect(),
            is_live: !config.on_demand,
            admitted_at: None,
            config,
            label,
            metadata: Document::default(),
            silences: 0,
            place: 0,
            turned_us_away: None,
            has_answered: false,
        }
    }

    /// The keys of all sources that may be used at this time.
    pub fn keys(&self, now: Timestamp) -> Keys<'_> {
        Keys::of(self.sources.iter().filter_map(|source| source.keys.get(now)).map(Rc::as_ref))
    }

    /// Whether this very key is at hand, and may verify this algorithm.
    pub fn holds(&self, key: Fingerprint, algorithm: Algorithm, now: Timestamp) -> bool {
        let mut at_hand = self.sources.iter().filter_map(|source| source.keys.get(now));
        at_hand.any(|keys| keys.holds(key, algorithm))
    }

    /// The sources whose keys may be asked for because those at hand don't serve: never sooner than the cooldown allows.
    pub fn sources_to_fetch(&self, now: Timestamp) -> impl Iterator<Item = usize> {
        let sources = self.sources.iter().zip(&self.config.jwks).enumerate();
        let may_fetch = move |source: &SourceOfKeys, config: &config::KeySource| {
            config.remote && source.keys.may_try(config.cooldown, now)
        };
        sources.filter(move |(_, (source, config))| may_fetch(source, config)).map(|(index, _)| index)
    }

    /// How many sources of keys there are.
    pub fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// Notes that a token of its has been proved. Whether it is the first.
    pub fn come_alive(&mut self) -> bool {
        let is_first = !std::mem::replace(&mut self.is_live, true);
        if is_first {
            self.metadata.prolong(self.longest_stale());
            for (source, config) in self.sources.iter_mut().zip(&self.config.jwks) {
                source.keys.prolong(config.max_stale);
            }
        }
        is_first
    }

    /// Notes that a document is being fetched.
    pub fn begin(&mut self, call: Call) {
        self.set_under_way(call, true);
    }

    /// Notes that the fetch of a document has ended.
    pub fn end(&mut self, call: Call) {
        self.set_under_way(call, false);
    }

    fn set_under_way(&mut self, call: Call, is_under_way: bool) {
        match call {
            Call::Metadata => self.metadata.is_under_way = is_under_way,
            Call::Keys(source) => {
                if let Some(source) = self.sources.get_mut(source) {
                    source.keys.is_under_way = is_under_way;
                }
            }
            Call::Introspection(_) | Call::Userinfo(_) => {}
        }
    }

    /// Whether a document is being fetched.
    pub fn is_fetching(&self, call: Call) -> bool {
        match call {
            Call::Metadata => self.metadata.is_under_way,
            Call::Keys(source) => self.sources.get(source).is_some_and(|source| source.keys.is_under_way),
            Call::Introspection(_) | Call::Userinfo(_) => false,
        }
    }

    /// Whether looking it up now would be for a token that anybody may have made up, and isn't paid for yet.
    pub fn needs_admission(&self, now: Timestamp) -> bool {
        let is_recent = |at: Timestamp| at <= now && now.saturating_since(at) < self.config.cooldown();
        !self.is_live && !self.admitted_at.is_some_and(is_recent)
    }

    /// Notes that it is looked up.
    pub fn admit(&mut self, now: Timestamp) {
        self.admitted_at = Some(now);
    }

    /// Whether a source has no keys, or has failed to renew them: a key that isn't among those at hand may be there.
    pub fn lacks_keys(&self, now: Timestamp) -> bool {
        self.lacking(now).next().is_some()
    }

    fn lacking(&self, now: Timestamp) -> impl Iterator<Item = &Document<Rc<JwkSet>>> {
        let remote = self.sources.iter().zip(&self.config.jwks).filter(|(_, config)| config.remote);
        remote.map(|(source, _)| &source.keys).filter(move |keys| keys.failures > 0 || keys.get(now).is_none())
    }

    /// Whether metadata are wanted for this kind of call, and not at hand.
    pub fn lacks_metadata(&self, call: Call, now: Timestamp) -> bool {
        matches!(self.configured(call), Some(Endpoints::Discovered)) && self.metadata.get(now).is_none()
    }

    /// Whether the provider has answered that it has none, or never will, since only its keys are configured.
    pub fn has_no_metadata(&self) -> bool {
        self.silences >= self.config.discovery.len() || !self.config.is_online()
    }

    /// Takes in that introspection was refused. Without credentials of ours (RFC 7662, section 2.1, wants some), a
    /// discovered endpoint that never answered is of no use: it is left alone for a while. But only what it says about us
    /// counts: clients choose the tokens that we ask about.
    pub fn introspection_refused(&mut self, refusal: &Response, now: Timestamp) -> bool {
        let introspection = &self.config.introspection;
        let is_stranger = self.config.validation == Validation::Auto
            && introspection.client.is_none()
            && introspection.endpoints == Endpoints::Discovered;
        let turned_away = is_stranger && !self.has_answered && introspection::is_about_us(refusal);
        if turned_away && self.turned_us_away.is_none() {
            log::warn!(
                "{}: opaque tokens are refused: the introspection endpoint wants credentials; set \
                 introspection.client_id, or validation to jwt",
                self.label
            );
        }
        if turned_away {
            self.turned_us_away = Some(now);
        }
        turned_away
    }

    /// Takes in that introspection was answered.
    pub fn introspection_worked(&mut self) {
        self.has_answered = true;
        self.turned_us_away = None;
    }

    /// What an introspection endpoint says about a token.
    pub fn introspected(&self, response: &Response) -> Option<Answer> {
        introspection::answer(response, &self.config.introspection.activity)
    }

    /// What a userinfo endpoint says about a token.
    pub fn told_of_user(&self, response: &Response) -> Option<Answer> {
        userinfo::answer(response, self.config.userinfo.subject.as_ref())
    }

    /// Claims of a token of this provider, with its ways of writing lists undone, and under the names that they have here.
    pub fn in_our_terms(&self, claims: Claims) -> Result<Claims, jwt::Error> {
        let config = &self.config;
        claims.separated(config.audience_separator, config.scope_separator).mapped(&config.claim_mapping)
    }

    /// Whether introspection was refused lately.
    pub fn is_refused_recently(&self, now: Timestamp) -> bool {
        self.turned_us_away.is_some_and(|at| at <= now && now.saturating_since(at) < REFUSAL_PAUSE)
    }

    /// Whether metadata may be asked for now.
    pub fn may_fetch_metadata(&self, now: Timestamp) -> bool {
        self.metadata.may_try(Duration::ZERO, now)
    }

    /// Whether opaque tokens go to introspection: always, or where there is an endpoint for it.
    pub fn introspects(&self, now: Timestamp) -> bool {
        match (self.config.validation, &self.config.introspection.endpoints) {
            (Validation::Introspection, _) | (Validation::Auto, Endpoints::Configured(_)) => true,
            (Validation::Auto, Endpoints::Discovered) => {
                self.metadata.get(now).is_some_and(|metadata| metadata.introspection_endpoint.is_some())
            }
            (Validation::Jwt | Validation::Userinfo, _) => false,
        }
    }

    /// How long a client should wait before it tries again.
    pub fn retry_after(&self, now: Timestamp) -> Duration {
        let keys = self.lacking(now).map(|keys| keys.retry_at).min().unwrap_or_default();
        keys.max(self.metadata.retry_at).saturating_since(now).max(Duration::from_secs(1))
    }

    /// The endpoint of its list that a call goes to after it was at these: first those that were not given up, each in the
    /// order of the configuration.
    pub fn choice(&self, call: Call, tried: &[usize]) -> usize {
        let Some(health) = self.health_of(call) else { return tried.len() };
        let (down, up): (Vec<_>, Vec<_>) = health.iter().enumerate().partition(|(_, health)| health.is_down);
        let mut left = up.iter().chain(&down).map(|(index, _)| *index).filter(|index| !tried.contains(index));
        left.next().unwrap_or(health.len())
    }

    /// Notes how a call to one of several endpoints ended. Whether there are several.
    pub fn note(&mut self, call: Call, endpoint: usize, error: Option<&FetchError>, now: Timestamp) -> bool {
        let sign = match (call, error) {
            (_, None) => Sign::Well,
            // A client has chosen the token: that this one is refused says nothing about the next one.
            (Call::Introspection(_) | Call::Userinfo(_), Some(error)) if error.may_be_about_token() => Sign::Doubtful,
            (_, Some(_)) => Sign::Failing,
        };
        self.note_sign(call, endpoint, sign, now)
    }

    fn note_sign(&mut self, call: Call, endpoint: usize, sign: Sign, now: Timestamp) -> bool {
        let failover = self.config.failover;
        let kind = call.kind();
        let health =
            self.health.iter_mut().find(|(k, _)| Some(*k) == kind).and_then(|(_, list)| list.get_mut(endpoint));
        let Some(health) = health else { return false };
        let was_down = health.is_down;
        health.note(sign, failover, now);
        if was_down != health.is_down {
            let word = kind.map(Kind::as_str).unwrap_or_default();
            let state = if was_down { "is back" } else { "is given up; it is tried again from time to time" };
            log::warn!("{}: endpoint {endpoint} of {word} {state}", self.label);
        }
        true
    }

    /// The endpoints that were given up or are in doubt, and when each is to be tried. A pause longer than any comes of a clock
    /// that went back.
    pub fn probes(&self, now: Timestamp) -> impl Iterator<Item = (Kind, usize, Timestamp)> {
        let latest = now.saturating_add(self.config.failover.interval);
        let lists = self.health.iter().filter(|_| self.is_live);
        lists.flat_map(move |(kind, list)| {
            let probed = list.iter().enumerate().filter(|(_, health)| health.is_down || health.is_doubtful);
            let due = move |health: &Health| if health.probe_at > latest { now } else { health.probe_at };
            probed.map(move |(index, health)| (*kind, index, due(health)))
        })
    }

    /// A call that shows whether an endpoint answers, about nobody's token.
    pub fn probe(&self, kind: Kind, endpoint: usize, now: Timestamp, verifier: &Verifier) -> Result<Fetch, NoRoute> {
        let token = Token::nobodys();
        self.fetch(kind.call(&token), endpoint, now, verifier)
    }

    /// Notes that a probe is sent.
    pub fn probing(&mut self, kind: Kind, endpoint: usize, now: Timestamp) {
        let interval = self.config.failover.interval;
        let lists = self.health.iter_mut().filter(|(k, _)| *k == kind);
        lists.filter_map(|(_, list)| list.get_mut(endpoint)).for_each(|health| {
            health.probe_at = now.saturating_add(interval);
        });
    }

    /// Takes in the answer to a probe. What wouldn't do as an answer to a request is no sign of health. Userinfo says 401
    /// to nobody.
    pub fn take_probe(&mut self, kind: Kind, endpoint: usize, response: Option<&Response>, now: Timestamp) {
        let is_well = match kind {
            Kind::Keys(_) => document(response).is_ok_and(|body| JwkSet::parse(body, Origin::Remote).is_ok()),
            Kind::Introspection => response.and_then(|response| self.introspected(response)).is_some(),
            Kind::Userinfo => response.and_then(|response| self.told_of_user(response)).is_some(),
        };
        let sign = match (is_well, response.map(|response| response.status)) {
            (true, _) => Sign::Well,
            // So it answers about any token that it doesn't know.
            (false, Some(400 | 422)) if !matches!(kind, Kind::Keys(_)) => Sign::Alive,
            (false, _) => Sign::Failing,
        };
        let token = Token::nobodys();
        self.note_sign(kind.call(&token), endpoint, sign, now);
    }

    /// Of each endpoint of a list, whether it is in use. Those of several sources of keys are numbered on.
    pub fn endpoint_facts(&self) -> impl Iterator<Item = (Kind, usize, bool)> {
        let mut keys = 0_usize;
        self.health.iter().flat_map(move |(kind, list)| {
            let first = if let Kind::Keys(_) = kind { keys } else { 0 };
            keys = keys.saturating_add(list.len());
            list.iter().enumerate().map(move |(index, health)| (*kind, first.saturating_add(index), !health.is_down))
        })
    }

    fn health_of(&self, call: Call) -> Option<&[Health]> {
        let kind = call.kind()?;
        self.health.iter().find(|(k, _)| *k == kind).map(|(_, list)| list.as_slice())
    }

    /// The call to an endpoint of the list for it.
    pub fn fetch(&self, call: Call, endpoint: usize, now: Timestamp, verifier: &Verifier) -> Result<Fetch, NoRoute> {
        let endpoint = self.endpoint(call, endpoint, now)?;
        let timeout = self.config.timeout;
        Ok(match call {
            Call::Metadata | Call::Keys(_) => {
                let accept = "application/jwk-set+json, application/json";
                let headers = vec![("accept", accept.to_owned()), ("accept-encoding", "identity".to_owned())];
                Fetch { endpoint, method: "GET", headers, body: Vec::new(), timeout }
            }
            Call::Introspection(token) => {
                introspection::request(&self.config, endpoint, token, now, verifier).ok_or(NoRoute::CannotSign)?
            }
            Call::Userinfo(token) => userinfo::request(endpoint, token, timeout),
        })
    }

    /// Whether all places for metadata before this one have answered that there are none.
    fn is_only_place(&self, place: usize) -> bool {
        self.silences >= place
    }

    /// Takes in a metadata document from one of the places for it.
    pub fn take_metadata(
        &mut self,
        response: Option<&Response>,
        place: usize,
        now: Timestamp,
    ) -> Result<(), FetchError> {
        let is_for_want_of_another = !self.is_only_place(place);
        self.silences = match response.is_some_and(|response| matches!(response.status, 404 | 410)) {
            true => self.silences.saturating_add(1),
            false => 0,
        };
        let body = document(response)?;
        let metadata = Metadata::parse(body, &self.config.issuer).map_err(|error| {
            FetchError::Document(match error {
                crate::oauth::metadata::Error::Malformed => unusable("the metadata are malformed", response),
                crate::oauth::metadata::Error::WrongIssuer => wrong_issuer(body, &self.config.issuer),
            })
        })?;
        let was_introspected =
            self.metadata.held.as_ref().is_none_or(|held| held.value.introspection_endpoint.is_some());
        if self.falls_back_to_userinfo(&metadata) && was_introspected {
            log::warn!(
                "{}: the provider has no introspection endpoint: opaque tokens go to userinfo, which proves no audience; \
                 `validation: jwt` leaves that out",
                self.label
            );
        }
        self.turned_us_away = None;
        let held = self.metadata.held.as_ref().map(|held| &held.value.introspection_endpoint);
        self.has_answered &= held == Some(&metadata.introspection_endpoint);
        self.place = place;
        let lifetime = if is_for_want_of_another { MAKESHIFT_LIFETIME } else { METADATA_LIFETIME };
        let max_stale = self.longest_stale();
        self.metadata.renew(metadata, lifetime, max_stale, now);
        Ok(())
    }

    /// Takes in the key set of one of its sources. One that holds no usable key is an error: the keys at hand stay.
    pub fn take_keys(&mut self, source: usize, response: Option<&Response>, now: Timestamp) -> Result<(), FetchError> {
        let max_stale = self.max_stale(source);
        let (Some(config), Some(keys)) = (self.config.jwks.get(source), self.sources.get_mut(source)) else {
            return Err(FetchError::NoAnswer);
        };
        keys.take(&self.config.name, config, max_stale, response, now)
    }

    /// How long a document serves that can't be had anew. What isn't kept fresh must not become stale.
    fn max_stale(&self, source: usize) -> Duration {
        let configured = self.config.jwks.get(source).filter(|_| self.is_live);
        configured.map(|source| source.max_stale).unwrap_or_default()
    }

    fn longest_stale(&self) -> Duration {
        (0..self.sources.len()).map(|source| self.max_stale(source)).max().unwrap_or_default()
    }

    /// Notes that a document could not be had by any way, and how long the provider wants to be left alone.
    pub fn failed(&mut self, call: Call, wait: Duration, now: Timestamp) {
        match call {
            Call::Metadata => self.metadata.failed(wait, now),
            Call::Keys(source) => {
                if let Some(source) = self.sources.get_mut(source) {
                    source.keys.failed(wait, now);
                }
                // The provider may have moved its keys: look up where they are before the next try.
                self.metadata.refresh_at = self.metadata.refresh_at.min(now);
                if !self.is_live {
                    self.metadata.held = None;
                }
            }
            Call::Introspection(_) | Call::Userinfo(_) => {}
        }
    }

    /// Notes that keys are fetched for the sake of a key that is not among those at hand: anybody can name one.
    pub fn trying(&mut self, call: Call, now: Timestamp) {
        let Call::Keys(source) = call else { return };
        if let Some(source) = self.sources.get_mut(source)
            && (source.keys.get(now).is_some() || !self.is_live)
        {
            source.keys.attempted_at = Some(now);
        }
    }

    /// The documents that are kept fresh, and when each is to be fetched next, needed or not.
    pub fn schedule(&self, now: Timestamp) -> impl Iterator<Item = (Call<'static>, Timestamp)> {
        let metadata = self.is_live && self.wants_metadata();
        let metadata = metadata.then(|| (Call::Metadata, self.metadata.due_at(now)));
        let is_fetched = move |source: &usize| {
            self.is_live && self.wants_keys_of(*source) && !self.lacks_metadata(Call::Keys(*source), now)
        };
        let sources = self.sources.iter().enumerate().filter(move |(index, _)| is_fetched(index));
        metadata.into_iter().chain(sources.map(move |(index, source)| (Call::Keys(index), source.keys.due_at(now))))
    }

    /// Whether there is a way to make a call, now that the metadata are at hand.
    pub fn can_call(&self, call: Call, now: Timestamp) -> Result<(), NoRoute> {
        self.endpoint(call, 0, now).map(|_| ())
    }

    /// How many keys are at hand, and when the oldest of them came.
    pub fn key_facts(&self) -> Option<(usize, Option<Timestamp>)> {
        let held = || self.sources.iter().filter_map(|source| source.keys.held.as_ref());
        held().next()?;
        let count = held().map(|held| held.value.len()).fold(0, usize::saturating_add);
        Some((count, held().filter_map(|held| held.fetched_at).min()))
    }

    /// Whether the keys of all its sources are there, or none are fetched before a token of its own comes.
    pub fn awaits_no_keys(&self, now: Timestamp) -> bool {
        let mut sources = self.sources.iter().enumerate();
        let is_awaited =
            |(index, source): (usize, &SourceOfKeys)| self.wants_keys_of(index) && source.keys.get(now).is_none();
        !self.is_live || !sources.any(is_awaited)
    }

    fn falls_back_to_userinfo(&self, metadata: &Metadata) -> bool {
        self.config.validation == Validation::Auto
            && self.config.introspection.endpoints == Endpoints::Discovered
            && metadata.introspection_endpoint.is_none()
            && self.config.audiences != Audiences::Any
    }

    fn wants_metadata(&self) -> bool {
        let discovers = |endpoints: &Endpoints| *endpoints == Endpoints::Discovered;
        let config = &self.config;
        match config.validation {
            Validation::Auto => {
                let keys = self.wants_discovered_keys();
                config.is_online() && (keys || discovers(&config.introspection.endpoints))
            }
            Validation::Jwt => self.wants_discovered_keys(),
            Validation::Introspection => discovers(&config.introspection.endpoints),
            Validation::Userinfo => discovers(&config.userinfo.endpoints),
        }
    }

    fn wants_discovered_keys(&self) -> bool {
        self.config.jwks.iter().enumerate().any(|(index, source)| source.is_discovered() && self.wants_keys_of(index))
    }

    fn wants_keys_of(&self, source: usize) -> bool {
        let verifies = matches!(self.config.validation, Validation::Auto | Validation::Jwt);
        verifies && self.config.jwks.get(source).is_some_and(|source| source.remote)
    }

    fn configured(&self, call: Call) -> Option<&Endpoints> {
        match call {
            Call::Metadata => None,
            Call::Keys(source) => self.config.jwks.get(source).map(|source| &source.uri),
            Call::Introspection(_) => Some(&self.config.introspection.endpoints),
            Call::Userinfo(_) => Some(&self.config.userinfo.endpoints),
        }
    }

    fn endpoint(&self, call: Call, index: usize, now: Timestamp) -> Result<Endpoint, NoRoute> {
        let nth = |list: &[Endpoint]| list.get(index).cloned().ok_or(NoRoute::Exhausted);
        match self.configured(call) {
            // What stands at the other places is another document, which may say less (RFC 8414 knows no userinfo): it is for
            // an issuer that has none here, not for an outage.
            None if index > self.place && self.metadata.get(now).is_some() && !self.is_only_place(index) => {
                Err(NoRoute::Exhausted)
            }
            None => nth(&self.config.discovery),
            Some(Endpoints::Configured(list)) => nth(list),
            Some(Endpoints::Discovered) if index > 0 => Err(NoRoute::Exhausted),
            Some(Endpoints::Discovered) => {
                let metadata = self.metadata.get(now).ok_or(NoRoute::NoMetadata)?;
                let url = match call {
                    Call::Metadata => None,
                    Call::Keys(_) => metadata.jwks_uri.as_deref(),
                    Call::Introspection(_) => metadata.introspection_endpoint.as_deref(),
                    Call::Userinfo(_) => metadata.userinfo_endpoint.as_deref(),
                };
                let url = url.ok_or(NoRoute::NoEndpoint)?;
                self.config.clusters.discovered(url).map_err(NoRoute::Refused)
            }
        }
    }
}

impl Kind {
    fn call(self, token: &Token) -> Call<'_> {
        match self {
            Self::Keys(source) => Call::Keys(source),
            Self::Introspection => Call::Introspection(token),
            Self::Userinfo => Call::Userinfo(token),
        }
    }
}

impl FetchError {
    /// Whether the endpoint is there, and may have refused just the token that it was asked about.
    fn may_be_about_token(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Status(status) => (400..500).contains(status) && !ABOUT_THE_MOMENT.contains(status),
            Self::NoAnswer | Self::TooLarge | Self::Local(_) | Self::Html | Self::Document(_) => false,
        }
    }
}

/// What the end of a call says about the endpoint.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Sign {
    /// It does what it should.
    Well,
    /// It answers.
    Alive,
    /// It refuses one token. Whether it refuses others is for a probe to say.
    Doubtful,
    /// It does not.
    Failing,
}

/// How one of several endpoints is.
#[derive(Clone, Copy, Default)]
struct Health {
    failures: u32,
    successes: u32,
    is_down: bool,
    is_doubtful: bool,
    probe_at: Timestamp,
}

impl Health {
    fn note(&mut self, sign: Sign, failover: config::Failover, now: Timestamp) {
        match sign {
            Sign::Well => (self.successes, self.failures) = (self.successes.saturating_add(1), 0),
            Sign::Failing => (self.successes, self.failures) = (0, self.failures.saturating_add(1)),
            Sign::Alive | Sign::Doubtful => {}
        }
        if sign == Sign::Doubtful && !self.is_doubtful && !self.is_down {
            // Not sooner than an interval after the last probe, however many tokens are refused.
            self.is_doubtful = true;
            self.probe_at = self.probe_at.max(now);
        }
        self.is_doubtful &= sign != Sign::Well && sign != Sign::Alive;
        if self.is_down && self.successes >= failover.healthy_threshold {
            self.is_down = false;
        } else if !self.is_down && self.failures >= failover.unhealthy_threshold {
            self.is_down = true;
            self.is_doubtful = false;
            self.probe_at = now.saturating_add(failover.interval);
        }
    }
}

/// The body of an answer that may hold a JSON document.
fn document(response: Option<&Response>) -> Result<&[u8], FetchError> {
    let response = response.ok_or(FetchError::NoAnswer)?;
    match response.status {
        200 if response.body.len() > MAX_ANSWER_BYTES => Err(FetchError::TooLarge),
        // Key sets come under many media types, an error page of some portal under this one.
        200 if response.media_type() == "text/html" => Err(match response.body.trim_ascii_start().first() {
            Some(b'{') => FetchError::Document(
                "the answer is JSON, but its `content-type` is text/html, that of an error page; the provider should say \
                 application/json"
                    .to_owned(),
            ),
            _ => FetchError::Html,
        }),
        200 => Ok(&response.body),
        _ => Err(FetchError::of_status(response)),
    }
}

impl FetchError {
    /// For an answer whose status is the fault.
    pub fn of_status(response: &Response) -> Self {
        match (response.status, diagnosis::of_envoys_answer(response)) {
            (0, _) => Self::NoAnswer,
            (_, Some(why)) => Self::Local(why),
            (status, None) => Self::Status(status),
        }
    }
}

/// What is wrong with a document, and what it is instead.
fn unusable(problem: &str, response: Option<&Response>) -> String {
    match response.and_then(diagnosis::of_body) {
        Some(what) => format!("{problem}: {what}"),
        None => problem.to_owned(),
    }
}

fn wrong_issuer(document: &[u8], expected: &str) -> String {
    let named = json::parse_object(document).ok().and_then(|mut metadata| metadata.remove("issuer"));
    let named = match named.as_ref().and_then(json::Value::as_str) {
        // What is no URL may be anything, and is none of the log's business.
        Some(issuer) if issuer.contains("://") => format!("the issuer {}", diagnosis::quoted(issuer)),
        Some(_) => "an issuer that is no URL".to_owned(),
        None => "no issuer".to_owned(),
    };
    let expected = diagnosis::quoted(expected);
    format!("the metadata name {named}, not {expected}; `issuer` must be what the provider calls itself, to the letter")
}

/// Endpoints move seldom, and a fetch of keys that fails asks for the metadata anew.
const METADATA_LIFETIME: Duration = Duration::from_secs(3600);

/// What a later place says while an earlier one can't be asked is good until that can be.
const MAKESHIFT_LIFETIME: Duration = Duration::from_secs(60);

/// How long an endpoint that doesn't answer strangers is left alone.
const REFUSAL_PAUSE: Duration = Duration::from_secs(60);
