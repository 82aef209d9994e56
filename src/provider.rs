//! One issuer's live state: its metadata and its keys, how fresh they are, and when they are fetched again.
//!
//! A document is fetched before it is needed and again before it is stale; it serves on through an outage, up to a
//! bound; and a fetch that fails is not repeated before a pause that grows.

mod call;
mod document;
mod endpoints;
mod keys;
mod route;

use crate::config::{self, Endpoints, Validation};
use crate::http::{Document, Response};
use crate::jose::jwk::{Algorithm, Fingerprint, JwkSet, Keys};
use crate::jose::jwt::{self, Audiences, Claims};
use crate::json;
use crate::oauth::diagnosis;
use crate::oauth::introspection::{self, Answer};
use crate::oauth::metadata::Metadata;
use crate::oauth::userinfo;
use crate::time::Timestamp;
pub use call::{Call, CallKind, FetchError, NoRoute};
use call::{document, unusable};
use document::KeptDocument;
use endpoints::EndpointLists;
use keys::SourceKeys;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// One of the filter's providers, by its place in the configuration: for what outlives the run of a decision, as entries of caches,
/// needs and trails do. Within a run, a provider is a reference.
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
    pub config: Rc<config::ProviderConfig>,
    /// Its name, for metrics.
    pub label: Rc<str>,
    metadata: KeptDocument<Metadata>,
    /// Its metadata as it gave them, if clients find them here, too.
    published: Option<Document>,
    publishes: bool,
    /// How many of the places for metadata answered that there are none, since the last success.
    missing_documents: usize,
    /// Which of the places the metadata at hand came from.
    place: usize,
    sources: Vec<SourceKeys>,
    /// When its introspection endpoint said that it doesn't answer strangers.
    refused_us_at: Option<Timestamp>,
    /// It has answered a question of ours, where it is: what it refuses then is the token, or the moment.
    has_answered: bool,
    /// Of each kind of call to a configured list of endpoints, how these are.
    endpoints: EndpointLists,
    /// It is not one of many tenants, or a token of its has been proved: its documents are kept fresh.
    is_live: bool,
    /// When it was last looked up without being live.
    admitted_at: Option<Timestamp>,
}

impl Provider {
    /// A provider that knows nothing yet but what the configuration holds.
    pub fn new(id: ProviderId, config: Rc<config::ProviderConfig>) -> Self {
        let label = Rc::from(config.name.as_str());
        let keys = config.jwks.iter().enumerate().map(|(index, source)| (CallKind::Keys(index), &source.uri));
        let others = [
            (CallKind::Introspection, &config.introspection.endpoints),
            (CallKind::Userinfo, &config.userinfo.endpoints),
        ];
        let lists = keys.chain(others).filter_map(|(kind, endpoints)| match endpoints {
            Endpoints::Configured(list) => Some((kind, list.len())),
            Endpoints::Discovered => None,
        });
        Self {
            id,
            endpoints: EndpointLists::new(lists),
            sources: config.jwks.iter().map(SourceKeys::new).collect(),
            is_live: !config.on_demand,
            admitted_at: None,
            config,
            label,
            metadata: KeptDocument::default(),
            published: None,
            publishes: false,
            missing_documents: 0,
            place: 0,
            refused_us_at: None,
            has_answered: false,
        }
    }

    /// Keeps the metadata as they are given from now on, to be served.
    pub fn publish_metadata(&mut self) {
        self.publishes = true;
    }

    /// The metadata as they were given, as long as they may be used.
    pub fn published_metadata(&self, now: Timestamp) -> Option<&Document> {
        self.published.as_ref().filter(|_| self.metadata.get(now).is_some())
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
        sources
            .filter(move |(_, (source, config))| config.remote && source.keys.may_try(config.cooldown, now))
            .map(|(index, _)| index)
    }

    /// How many sources of keys there are.
    pub fn source_count(&self) -> usize {
        self.sources.len()
    }

    /// Notes that a token of its has been proved. Whether it is the first.
    pub fn become_live(&mut self) -> bool {
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

    /// Whether the document that a call fetches is at hand.
    pub fn has_at_hand(&self, call: Call, now: Timestamp) -> bool {
        match call {
            Call::Metadata => self.metadata.get(now).is_some(),
            Call::Keys(source) => self.sources.get(source).is_some_and(|source| source.keys.get(now).is_some()),
            Call::Introspection(_) | Call::Userinfo(_) => false,
        }
    }

    /// Whether looking it up now would be for a token that anybody may have made up, and isn't paid for yet.
    pub fn needs_admission(&self, now: Timestamp) -> bool {
        !self.is_live && !self.admitted_at.is_some_and(|at| is_within(self.config.cooldown(), at, now))
    }

    /// Notes that it is looked up.
    pub fn admit(&mut self, now: Timestamp) {
        self.admitted_at = Some(now);
    }

    /// Whether a source has no keys, or has failed to renew them: a key that isn't among those at hand may be there.
    pub fn lacks_keys(&self, now: Timestamp) -> bool {
        self.lacking(now).next().is_some()
    }

    fn lacking(&self, now: Timestamp) -> impl Iterator<Item = &KeptDocument<Rc<JwkSet>>> {
        let remote = self.sources.iter().zip(&self.config.jwks).filter(|(_, config)| config.remote);
        remote.map(|(source, _)| &source.keys).filter(move |keys| keys.failures > 0 || keys.get(now).is_none())
    }

    /// Whether the provider has answered that it has none, or never will, since only its keys are configured.
    pub fn has_no_metadata(&self) -> bool {
        self.missing_documents >= self.config.discovery.len() || !self.config.is_online()
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
        if turned_away && self.refused_us_at.is_none() {
            log::warn!(
                "{}: opaque tokens are refused: the introspection endpoint wants credentials; set \
                 introspection.client_id, or validation to jwt",
                self.label
            );
        }
        if turned_away {
            self.refused_us_at = Some(now);
        }
        turned_away
    }

    /// Takes in that introspection was answered.
    pub fn introspection_worked(&mut self) {
        self.has_answered = true;
        self.refused_us_at = None;
    }

    /// What an introspection endpoint says about a token.
    pub fn read_introspection(&self, response: &Response) -> Option<Answer> {
        introspection::answer(response, &self.config.introspection.activity)
    }

    /// What a userinfo endpoint says about a token.
    pub fn read_userinfo(&self, response: &Response) -> Option<Answer> {
        userinfo::answer(response, self.config.userinfo.subject.as_ref())
    }

    /// Claims of a token of this provider, with its ways of writing lists undone, and under the names that they have here.
    pub fn in_our_terms(&self, claims: Claims) -> Result<Claims, jwt::Error> {
        let config = &self.config;
        claims.separated(config.audience_separator, config.scope_separator).mapped(&config.claim_mapping)
    }

    /// Whether introspection was refused lately.
    pub fn is_refused_recently(&self, now: Timestamp) -> bool {
        self.refused_us_at.is_some_and(|at| is_within(REFUSAL_PAUSE, at, now))
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

    /// Whether all places for metadata before this one have answered that there are none.
    fn is_only_place(&self, place: usize) -> bool {
        self.missing_documents >= place
    }

    /// Takes in a metadata document from one of the places for it.
    pub fn take_metadata(
        &mut self,
        response: Option<&Response>,
        place: usize,
        now: Timestamp,
    ) -> Result<(), FetchError> {
        let is_for_want_of_another = !self.is_only_place(place);
        self.missing_documents = if response.is_some_and(|response| matches!(response.status, 404 | 410)) {
            self.missing_documents.saturating_add(1)
        } else {
            0
        };
        let body = document(response)?;
        let metadata = Metadata::parse(body, &self.config.issuer).map_err(|error| {
            FetchError::Unusable(match error {
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
        self.refused_us_at = None;
        let held = self.metadata.held.as_ref().map(|held| &held.value.introspection_endpoint);
        self.has_answered &= held == Some(&metadata.introspection_endpoint);
        self.place = place;
        let lifetime = if is_for_want_of_another { MAKESHIFT_LIFETIME } else { METADATA_LIFETIME };
        let max_stale = self.longest_stale();
        self.published = self.publishes.then(|| Document::new("application/json", body.to_vec(), PUBLISHED_LIFETIME));
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
        let sources = self.sources.iter().enumerate().filter(move |(index, _)| {
            self.is_live && self.wants_keys_of(*index) && !self.lacks_metadata(Call::Keys(*index), now)
        });
        metadata.into_iter().chain(sources.map(move |(index, source)| (Call::Keys(index), source.keys.due_at(now))))
    }

    /// How many keys are at hand, and when the oldest of them came.
    pub fn key_facts(&self) -> Option<(usize, Option<Timestamp>)> {
        let held = self.sources.iter().filter_map(|source| source.keys.held.as_ref());
        held.clone().next()?;
        let count = held.clone().map(|held| held.value.len()).fold(0, usize::saturating_add);
        Some((count, held.filter_map(|held| held.fetched_at).min()))
    }

    /// Whether the keys of all its sources are there, or none are fetched before a token of its own comes.
    pub fn awaits_no_keys(&self, now: Timestamp) -> bool {
        let mut sources = self.sources.iter().enumerate();
        !self.is_live || !sources.any(|(index, source)| self.wants_keys_of(index) && source.keys.get(now).is_none())
    }

    fn falls_back_to_userinfo(&self, metadata: &Metadata) -> bool {
        let has_userinfo =
            self.config.userinfo.endpoints != Endpoints::Discovered || metadata.userinfo_endpoint.is_some();
        self.config.validation == Validation::Auto
            && self.config.introspection.endpoints == Endpoints::Discovered
            && metadata.introspection_endpoint.is_none()
            && has_userinfo
            && self.config.audiences != Audiences::Any
    }

    fn wants_metadata(&self) -> bool {
        let config = &self.config;
        let discovers_introspection = config.introspection.endpoints == Endpoints::Discovered;
        if self.publishes {
            return true;
        }
        match config.validation {
            Validation::Auto => config.is_online() && (self.wants_discovered_keys() || discovers_introspection),
            Validation::Jwt => self.wants_discovered_keys(),
            Validation::Introspection => discovers_introspection,
            Validation::Userinfo => config.userinfo.endpoints == Endpoints::Discovered,
        }
    }

    fn wants_discovered_keys(&self) -> bool {
        self.config.jwks.iter().enumerate().any(|(index, source)| source.is_discovered() && self.wants_keys_of(index))
    }

    fn wants_keys_of(&self, source: usize) -> bool {
        let verifies = matches!(self.config.validation, Validation::Auto | Validation::Jwt);
        verifies && self.config.jwks.get(source).is_some_and(|source| source.remote)
    }
}

/// Whether something was lately: not longer ago than this, and not in a future that a clock set back has made.
fn is_within(span: Duration, at: Timestamp, now: Timestamp) -> bool {
    at <= now && now.saturating_since(at) < span
}

/// What is known of it, without what the operator said.
impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut provider = f.debug_struct("Provider");
        provider
            .field("id", &self.id)
            .field("metadata", &self.metadata)
            .field("missing_documents", &self.missing_documents);
        provider.field("place", &self.place).field("sources", &self.sources).field("endpoints", &self.endpoints);
        provider.field("refused_us_at", &self.refused_us_at).field("has_answered", &self.has_answered);
        provider.field("is_live", &self.is_live).field("admitted_at", &self.admitted_at).finish_non_exhaustive()
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

/// How long clients may keep metadata that they find here.
const PUBLISHED_LIFETIME: Duration = Duration::from_secs(300);

/// How long an endpoint that doesn't answer strangers is left alone.
const REFUSAL_PAUSE: Duration = Duration::from_secs(60);
