//! All that is known: the configuration, the providers with their documents, the tokens that they vouched for, the answers of
//! authorizers.
//!
//! The invariant: reading is `&self` and leaves everything as it was, down to what a cache drops next. What is written comes from
//! outside, as an answer ([`Facts::take`]), or from a decision when it is committed ([`commit`](super::commit)).

use super::enrichment_question::{EnrichmentQuestion, SourceAnswer};
use super::exchange_question::{ExchangeKey, Exchanged};
use super::need::{ENTRY_SIZE, Learnt, Need, User, ValidatedBy, ValidatedToken};
use super::newcomers::{Lookup, Newcomers};
use super::proofs::Proofs;
use super::uses::Uses;
use crate::cache::{Bounds, Cache, DigestCache};
use crate::config::Config;
use crate::http::Response;
use crate::http::names::{Placement, ReservedNames};
use crate::jose::jws::{CompactJws, KnownHeaders};
use crate::jose::jwt::{Claims, Unverified};
use crate::jose::verifier::Verifier;
use crate::oauth::credentials::{Places, Token, TokenDigest};
use crate::oauth::diagnosis;
use crate::oauth::introspection::{Answer, Unfit};
use crate::ordered;
use crate::policy::external::{self, AuthorizationQuestion};
use crate::provider::{Call, FetchError, Provider, ProviderId};
use crate::reply::Reason;
use crate::time::Timestamp;
use crate::upstream::assertion::KeptAssertions;
use crate::upstream::outputs::KeptOutputs;
use std::rc::Rc;

/// What decisions rest on.
pub(super) struct Facts {
    pub(super) config: Rc<Config>,
    /// What its policies make use of.
    pub(super) uses: Uses,
    pub(super) own: Rc<ReservedNames>,
    /// Where clients put tokens in queries (RFC 6750, section 2.3), in the spellings of the name: none may stand there that is for an
    /// MCP server.
    pub(super) token_parameter: Option<ReservedNames>,
    pub(super) verifier: Verifier,
    /// Each at the index that its [`ProviderId`] holds.
    providers: Vec<Provider>,
    /// Providers by their issuers.
    issuers: ordered::Map<String, ProviderId>,
    /// Tokens by who vouched for them: a signature, or an answer of this provider. Rules, places and candidates may ask several
    /// about one token.
    pub(super) validated: DigestCache<(Option<ProviderId>, TokenDigest), ValidatedToken>,
    /// Headers of tokens that were verified lately.
    pub(super) headers: KnownHeaders,
    /// Tokens that a provider calls inactive, or that its answer makes no token good for, and why.
    pub(super) inactive: DigestCache<(ProviderId, TokenDigest), Reason>,
    /// Tokens about which the provider wants to be asked later, and when. This holds for each token by itself: one client's must not
    /// keep us from asking about another's.
    pub(super) postponed: DigestCache<(ProviderId, TokenDigest), Timestamp>,
    pub(super) newcomers: Newcomers,
    /// The memory of proofs that were seen, and nonces.
    pub(super) proofs: Proofs,
    /// What sources said about subjects lately.
    pub(super) enrichments: Cache<EnrichmentQuestion, SourceAnswer>,
    /// Tokens for services.
    pub(super) exchanges: Cache<ExchangeKey, Exchanged>,
    /// What authorizers said.
    pub(super) authorizations: Cache<AuthorizationQuestion, external::Answer>,
}

impl Facts {
    /// Nothing but what the configuration holds.
    pub(super) fn new(config: Rc<Config>, own: Rc<ReservedNames>, filter_name: &str) -> Self {
        let ids = (0..).map(ProviderId);
        let on_demand = config.providers.iter().filter(|provider| provider.on_demand);
        let cooldowns = on_demand.map(|provider| provider.cooldown());
        let newcomers = Newcomers::new(cooldowns.clone().count(), cooldowns.max().unwrap_or_default());
        let issuers = config.providers.iter().zip(ids.clone());
        let has_mcp = config.judged_policies().any(|policy| policy.mcp.is_some());
        let token_parameter = has_mcp.then(|| {
            let names = ["access_token", "accesstoken"].map(|name| (Placement::QueryString, name));
            ReservedNames::new(names, [])
        });
        Self {
            issuers: ordered::map(issuers.map(|(provider, id)| (provider.issuer.clone(), id))),
            providers: config
                .providers
                .iter()
                .cloned()
                .zip(ids)
                .map(|(config, id)| Provider::new(id, config))
                .collect(),
            proofs: Proofs::new(filter_name, &config),
            uses: Uses::of(&config),
            token_parameter,
            config,
            own,
            verifier: Verifier::default(),
            validated: DigestCache::new(VALIDATED_BOUNDS),
            headers: KnownHeaders::default(),
            inactive: DigestCache::new(INACTIVE_BOUNDS),
            postponed: DigestCache::new(INACTIVE_BOUNDS),
            newcomers,
            enrichments: Cache::new(ENRICHMENT_BOUNDS),
            exchanges: Cache::new(EXCHANGE_BOUNDS),
            authorizations: Cache::new(AUTHORIZATION_BOUNDS),
        }
    }

    /// From now on this is one of so many filters that share the room for answers.
    pub(super) fn share(&mut self, among: usize) {
        self.validated.share(among);
        self.inactive.share(among);
        self.postponed.share(among);
        self.enrichments.share(among);
        self.exchanges.share(among);
        self.authorizations.share(among);
    }

    /// Where tokens are looked for under any policy.
    pub(super) fn places(&self) -> Places<'_> {
        let Config { sources, max_token_size, .. } = &*self.config;
        Places { sources, own: &self.own, max_size: *max_token_size, takes_dpop: self.uses.takes_dpop }
    }

    pub(super) fn providers(&self) -> impl Iterator<Item = &Provider> {
        self.providers.iter()
    }

    pub(super) fn provider(&self, id: ProviderId) -> Option<&Provider> {
        self.providers.get(id.0)
    }

    pub(super) fn provider_mut(&mut self, id: ProviderId) -> Option<&mut Provider> {
        self.providers.get_mut(id.0)
    }

    /// The provider with this issuer.
    pub(super) fn issuer(&self, issuer: &str) -> Option<&Provider> {
        self.issuers.get(issuer).and_then(|id| self.provider(*id))
    }

    /// A provider's name, for metrics.
    pub(super) fn label(&self, id: ProviderId) -> Option<Rc<str>> {
        self.provider(id).map(|provider| Rc::clone(&provider.label))
    }

    /// Room for what is signed about a token, if anything ever is.
    pub(super) fn new_assertions(&self) -> Option<Rc<KeptAssertions>> {
        self.uses.signs.then(Rc::default)
    }

    /// Room for what is written about a token, if anything ever is.
    pub(super) fn new_outputs(&self) -> Option<Rc<KeptOutputs>> {
        self.uses.writes.then(Rc::default)
    }

    /// Notes that a token of this provider has been proved.
    pub(super) fn become_live(&mut self, id: ProviderId) {
        if self.provider_mut(id).is_some_and(Provider::become_live) {
            self.newcomers.welcome();
        }
    }

    /// Notes that a fact is about to be fetched for a request that waits for it: a cooldown begins, and an issuer that nobody knows yet
    /// takes a place.
    pub(super) fn admit(&mut self, need: &Need, now: Timestamp) {
        let Some(provider) = self.providers.get_mut(need.provider().0) else { return };
        let Some(call) = need.call() else { return };
        provider.trying(call, now);
        if need.is_document() && provider.needs_admission(now) {
            provider.admit(now);
            self.newcomers.admit(Lookup::of(provider, call, now), now);
        }
    }

    /// Notes that a fact is being fetched.
    pub(super) fn begin(&mut self, need: &Need, now: Timestamp) {
        let Some(provider) = self.providers.get_mut(need.provider().0) else { return };
        if let Need::Probe(_, kind, endpoint) = need {
            provider.probing(*kind, *endpoint, now);
        }
        if let Some(call) = need.call() {
            provider.begin(call);
        }
    }

    /// Whose token a request has that lacks this, if somebody has vouched for it, however long ago: then nobody has made it up.
    pub(super) fn user(&self, need: &Need, learnt: &Learnt) -> Option<User> {
        match need {
            Need::Introspection(provider, token) | Need::Userinfo(provider, token) => {
                self.validated.last(&(Some(*provider), token.digest())).map(ValidatedToken::user)
            }
            Need::Authorization(..) | Need::Enrichment(..) | Need::Exchange(..) => learnt.user(),
            Need::Metadata(_) | Need::Keys(..) | Need::Probe(..) => None,
        }
    }

    /// Notes that the fetch of a fact has ended, and how long the provider wants to be left alone if it was of no use.
    pub(super) fn end(&mut self, need: &Need, succeeded: bool, wait: std::time::Duration, now: Timestamp) {
        match need {
            Need::Enrichment(_, question) if !succeeded => self.miss_enrichment(question, now),
            Need::Exchange(maker, question) if !succeeded => self.miss_exchange(*maker, question, now),
            _ => {}
        }
        let Some(provider) = self.providers.get_mut(need.provider().0) else { return };
        let Some(call) = need.call() else { return };
        provider.end(call);
        if succeeded {
            return;
        }
        provider.failed(call, wait, now);
        if let Call::Introspection(token) | Call::Userinfo(token) = call
            && !wait.is_zero()
        {
            let key = (provider.id, token.digest());
            self.postponed.insert(key, now.saturating_add(wait), ENTRY_SIZE, wait, now);
        }
    }

    /// Takes in the answer of the endpoint that was tried last. An answer about a token may be one that makes no token good, for this
    /// reason.
    pub(super) fn take(
        &mut self,
        need: &Need,
        endpoint: usize,
        response: Option<&Response>,
        now: Timestamp,
    ) -> Result<Option<Unfit>, FetchError> {
        let Some(provider) = self.providers.get_mut(need.provider().0) else { return Err(FetchError::NoAnswer) };
        match need {
            Need::Metadata(_) => provider.take_metadata(response, endpoint, now)?,
            Need::Keys(_, source) => provider.take_keys(*source, response, now)?,
            Need::Introspection(id, token) => {
                let answer = response.and_then(|response| provider.read_introspection(response));
                if let Some(answer) = answer {
                    // By its status alone, an answer may be about us.
                    if response.is_some_and(|response| response.status == 200) {
                        provider.introspection_worked();
                    }
                    return Ok(self.take_answer(*id, token, ValidatedBy::Introspection, answer, now));
                }
                if !response.is_some_and(|response| provider.introspection_refused(response, now)) {
                    return Err(no_answer(response));
                }
            }
            Need::Userinfo(id, token) => match response.and_then(|response| provider.read_userinfo(response)) {
                Some(answer) => return Ok(self.take_answer(*id, token, ValidatedBy::Userinfo, answer, now)),
                None => return Err(no_answer(response)),
            },
            Need::Authorization(_, question) => {
                let answer = response.and_then(external::answer);
                let answer = answer.ok_or_else(|| response.map_or(FetchError::NoAnswer, FetchError::of_status))?;
                let size = question.memory_size().saturating_add(ENTRY_SIZE);
                self.authorizations.insert(question.clone(), answer, size, question.authorizer().cache, now);
            }
            Need::Enrichment(_, question) => self.take_enrichment(need, question, response, now)?,
            Need::Exchange(maker, question) => self.take_exchange(*maker, question, response, now)?,
            Need::Probe(_, kind, endpoint) => provider.take_probe(*kind, *endpoint, response, now),
        }
        Ok(None)
    }

    /// Takes in what a provider says about a token.
    fn take_answer(
        &mut self,
        id: ProviderId,
        token: &Token,
        validated_by: ValidatedBy,
        answer: Answer,
        now: Timestamp,
    ) -> Option<Unfit> {
        let provider = self.providers.get(id.0)?;
        let is_about_token = validated_by == ValidatedBy::Introspection;
        let claims = match answer {
            Answer::Active(object) => Claims::from_answer(object)
                .and_then(|claims| provider.in_our_terms(claims.ending(now, is_about_token)))
                .map_err(|error| Some(Unfit::Claims(error))),
            Answer::Inactive => Err(None),
            Answer::Unfit(unfit) => Err(Some(unfit)),
        };
        let digest = token.digest();
        match claims {
            Ok(claims) => {
                let cache = match validated_by {
                    ValidatedBy::Userinfo => provider.config.userinfo.cache,
                    _ => provider.config.introspection.cache,
                };
                // RFC 7662, section 4: an answer must not be believed beyond `exp`, nor beyond that of the token itself.
                let jws = CompactJws::parse_with(token.as_str(), &self.headers).ok();
                let told = jws.as_ref().and_then(Unverified::expires_at);
                let end = claims.expires_at().into_iter().chain(told).min();
                let left = end.map_or(std::time::Duration::MAX, |end| end.saturating_since(now));
                let size = claims.memory_size().saturating_add(ENTRY_SIZE);
                let assertions = self.new_assertions();
                let outputs = self.new_outputs();
                let validated =
                    ValidatedToken { claims: Rc::new(claims), provider: id, validated_by, assertions, outputs };
                self.validated.insert((Some(id), digest), validated, size, cache.min(left), now);
                self.become_live(id);
                None
            }
            Err(unfit) => {
                let cache = provider.config.introspection.negative_cache;
                let reason = unfit.as_ref().map_or(Reason::Inactive, Reason::from);
                self.validated.forget(&(Some(id), digest));
                self.inactive.insert((id, digest), reason, ENTRY_SIZE, cache, now);
                unfit
            }
        }
    }
}

/// Why an answer about a token holds none.
fn no_answer(response: Option<&Response>) -> FetchError {
    let Some(response) = response else { return FetchError::NoAnswer };
    match response.status {
        0 => FetchError::NoAnswer,
        // A page of some portal is about nobody's token.
        200 if response.body.trim_ascii_start().starts_with(b"<") => FetchError::Html,
        200 => FetchError::Unusable(not_an_object(response)),
        status @ (401 | 403) => FetchError::Refused(status),
        _ => FetchError::of_status(response),
    }
}

/// What is told of an answer about a token that holds none.
fn not_an_object(response: &Response) -> String {
    let what = match diagnosis::of_body(response) {
        Some(what) => what.into_owned(),
        None => {
            format!("its `content-type` is {}, or it is too long", diagnosis::quoted(&response.headers.media_type()))
        }
    };
    format!("the answer is not the JSON object that it should be: {what}")
}

/// Tokens that somebody vouched for: as many as a busy gateway has users at a time, in a tenth of what Envoy gives
/// a VM (1 GiB).
///
/// The numbers of entries are a little less than 7/16 of a power of two. A table of Rust's that removals have worn out is
/// rebuilt, with twice the room if it was more than half full: with just a power of two, full caches would take their last
/// doubling at some moment after a million requests.
const VALIDATED_BOUNDS: Bounds = Bounds { entries: 56_000, bytes: 96 << 20 };

/// Answers about worthless tokens live apart, so that a flood of these can't drive out good ones.
const INACTIVE_BOUNDS: Bounds = Bounds { entries: 3_500, bytes: 4 << 20 };

/// Answers about subjects, and tokens for services: as many as a quarter of the tokens that are kept.
const ENRICHMENT_BOUNDS: Bounds = Bounds { entries: 14_000, bytes: 32 << 20 };
const EXCHANGE_BOUNDS: Bounds = Bounds { entries: 14_000, bytes: 32 << 20 };

/// Answers of authorizers: a user has several pages open.
const AUTHORIZATION_BOUNDS: Bounds = Bounds { entries: 14_000, bytes: 32 << 20 };

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    /// CCH-08: Found by ten million requests: memory grew by five megabytes, once, long after all caches were full.
    #[test]
    fn a_full_cache_needs_no_larger_table() {
        for Bounds { entries, .. } in
            [VALIDATED_BOUNDS, INACTIVE_BOUNDS, ENRICHMENT_BOUNDS, EXCHANGE_BOUNDS, AUTHORIZATION_BOUNDS]
        {
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
