//! The only procedure that decides, and the checks that it is made of.

use super::need::{ENTRY_SIZE, Learnt, Need, ValidatedBy, ValidatedToken};
use super::told::Detail;
use super::{Filter, Tally};
use crate::config::{ExternalAuthorization, Policy, Validation};
use crate::http::{Request, only};
use crate::jose::jwk::MAX_CANDIDATES;
use crate::jose::jws::{self, CompactJws, Form};
use crate::jose::jwt::{self, AccessToken, Audiences, Claims, Expected, Hint, Issuer, Unverified};
use crate::oauth::credentials::{self, Credentials, Token, TokenDigest};
use crate::oauth::introspection::Unfit;
use crate::policy::external::{self, CheckRequest};
use crate::policy::requirement::Unmet;
use crate::provider::{Call, NoRoute, Provider};
use crate::reply::{Denial, Reason};
use crate::time::Timestamp;
use crate::upstream::identity;
use crate::upstream::rewrite::Rewrite;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

/// The right to pass. Made from an access token, or from a policy that asks for none.
#[derive(Debug)]
pub(super) enum Grant {
    /// None is needed.
    Exempt(Exemption),
    /// There is a good one.
    Token { token: AccessToken, provider: usize, source: usize },
}

/// Why a request needs no token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Exemption {
    /// The policy looks at none.
    Bypass,
    /// There is none, and the policy lets that pass.
    Missing,
    /// A browser asks whether it may ask (Fetch standard, section 3.2.2). It sends no token.
    Preflight,
}

impl Exemption {
    /// What is told of it.
    pub(super) const fn reason(self) -> Option<Reason> {
        match self {
            Self::Missing => Some(Reason::MissingToken),
            Self::Bypass | Self::Preflight => None,
        }
    }
}

/// Why [`Filter::authorize`] ended without a grant.
#[derive(Debug)]
pub(super) enum Halt {
    Deny(Refusal),
    /// A fact is lacking. Where only its authorizer's word is, the token is good already: the answer that proved it may be
    /// gone when that has spoken.
    Need(Need, Option<ValidatedToken>),
}

impl From<Need> for Halt {
    fn from(need: Need) -> Self {
        Self::Need(need, None)
    }
}

/// A denial, and whose token it is about.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) denial: Denial,
    pub(super) provider: Option<usize>,
    /// For the log.
    pub(super) detail: Option<Detail>,
}

impl Refusal {
    pub(super) fn new(denial: Denial, provider: Option<usize>) -> Self {
        Self { denial, provider, detail: None }
    }
}

impl From<Denial> for Halt {
    fn from(denial: Denial) -> Self {
        Self::Deny(Refusal::new(denial, None))
    }
}

/// How a token is proved.
enum Route<'t> {
    /// By this provider's keys.
    Verify(usize, Box<CompactJws<'t>>),
    /// By an answer of this provider.
    Ask(usize),
}

impl Filter {
    /// The only procedure that decides. `asked` is what this request has asked for already.
    pub(super) fn authorize(
        &self,
        request: &Request,
        policy: &Policy,
        asked: &Learnt,
        now: Timestamp,
    ) -> Result<Grant, Halt> {
        self.tally.take();
        if policy.bypass {
            return Ok(Grant::Exempt(Exemption::Bypass));
        }
        let found = credentials::find(request, &self.config.sources, &self.own, self.config.max_token_size);
        if found == Err(credentials::Error::TooLong) {
            let problem = format_args!("a token is longer than `max_token_size`, {} bytes", self.config.max_token_size);
            self.complain(0, problem, now);
        }
        if policy.allow_preflight && matches!(found, Ok(None)) && request.is_cors_preflight() {
            return Ok(Grant::Exempt(Exemption::Preflight));
        }
        let credentials = match found.map_err(Denial::from)? {
            Some(credentials) => credentials,
            None if policy.allow_missing => return Ok(Grant::Exempt(Exemption::Missing)),
            None => return Err(Denial::MissingToken.into()),
        };
        let trusted = self.trusted(&credentials, policy);
        let known = self.known(&credentials, &trusted, now);
        let is_known = known.is_some();
        let vouched = match known {
            Some(vouched) => {
                self.count(|tally| tally.cached = Some(true));
                vouched
            }
            None => {
                let token = credentials.token().map_err(Denial::from)?;
                self.count(|tally| tally.cached = Some(false));
                self.prove(&token, credentials.digest, &trusted, asked, now)?
            }
        };
        let provider = vouched.provider;
        let token = self.check(&vouched, policy, now).map_err(|error| deny_claims(provider, error))?;
        if !is_known {
            self.remember(credentials.digest, &vouched, now);
        }
        policy.require.check(&token, &policy.implied_scopes).map_err(|lack| deny_lack(provider, lack))?;
        if let Some(authorizer) = &policy.authorization {
            self.consult(authorizer, request, &vouched, &asked.needs, now)?;
        }
        Ok(Grant::Token { token, provider, source: credentials.source })
    }

    /// A token whose signature was verified, if its key is still the provider's.
    fn known(&self, credentials: &Credentials, trusted: &Trusted, now: Timestamp) -> Option<ValidatedToken> {
        let vouched = self.vouched.get(&(None, credentials.digest), now)?;
        let ValidatedBy::Signature { key, algorithm } = vouched.validated_by else { return None };
        let holds = trusted.has(vouched.provider) && self.providers.get(vouched.provider)?.holds(key, algorithm, now);
        holds.then_some(vouched)
    }

    /// What this provider answered about a token: lately, or to this request.
    fn answered(&self, index: usize, digest: TokenDigest, asked: &Learnt, now: Timestamp) -> Option<ValidatedToken> {
        let vouched = self.vouched.get(&(Some(index), digest), now);
        let vouched = vouched.or_else(|| asked.answer(now).filter(|answer| answer.provider == index))?;
        self.count(|tally| tally.cached = Some(true));
        Some(vouched)
    }

    /// Keeps what a signature proved. What a provider answered was kept when it came.
    fn remember(&self, digest: TokenDigest, vouched: &ValidatedToken, now: Timestamp) {
        if let ValidatedBy::Signature { .. } = vouched.validated_by {
            let skew =
                self.providers.get(vouched.provider).map(|provider| provider.config.clock_skew).unwrap_or_default();
            let end = vouched.claims.expires_at().map(|end| end.saturating_add(skew).saturating_since(now));
            let weight = vouched.claims.memory_size().saturating_add(ENTRY_SIZE);
            self.vouched.insert((None, digest), vouched.clone(), weight, end.unwrap_or(ENDLESS_TOKEN_LIFETIME), now);
        }
    }

    /// Whose tokens are good in the place that this one was in, under this policy.
    fn trusted<'c>(&'c self, credentials: &Credentials, policy: &'c Policy) -> Trusted<'c> {
        let source = self.config.sources.get(credentials.source);
        Trusted {
            by_source: source.and_then(|source| source.providers.clone()),
            by_policy: policy.providers.as_deref(),
            count: self.providers.len(),
        }
    }

    /// Asks the authorizer, unless it has said lately what it thinks.
    fn consult(
        &self,
        authorizer: &Rc<ExternalAuthorization>,
        request: &Request,
        vouched: &ValidatedToken,
        asked: &[Need],
        now: Timestamp,
    ) -> Result<(), Halt> {
        let provider = vouched.provider;
        let issuer = self.providers.get(provider).ok_or(Denial::Misconfigured)?;
        // The authorizer is not who the token is for, and must not see an identity that the client has made up.
        let mut rewrite = Rewrite::default();
        rewrite.strip(&self.config.sources);
        let target = rewrite.target(request, &self.own);
        let question = CheckRequest::new(authorizer, &issuer.config, &vouched.claims, request, target.as_deref());
        let question = question.ok_or_else(|| deny(provider, Denial::AmbiguousTarget))?;
        let need = match self.verdicts.get(&question, now) {
            Some(external::Answer::Allowed) => return Ok(()),
            Some(external::Answer::Denied(reason)) => {
                return Err(deny_for(provider, Denial::NotAuthorized(reason), Some(Detail::Authorizer)));
            }
            None => Need::Authorization(provider, question),
        };
        match asked.contains(&need) {
            true => Err(deny_for(provider, Denial::AuthorizerUnavailable, Some(Detail::Authorizer))),
            false => Err(Halt::Need(need, Some(vouched.clone()))),
        }
    }

    fn count(&self, count: impl FnOnce(&mut Tally)) {
        let mut tally = self.tally.get();
        count(&mut tally);
        self.tally.set(tally);
    }

    /// Finds who vouches for the token: a signature or an answer of its own provider, and of no other.
    fn prove(
        &self,
        token: &Token,
        digest: TokenDigest,
        trusted: &Trusted,
        asked: &Learnt,
        now: Timestamp,
    ) -> Result<ValidatedToken, Halt> {
        match self.route(token, trusted)? {
            Route::Verify(index, jws) => self.verify(index, &jws, &asked.needs, now),
            Route::Ask(index) => match self.answered(index, digest, asked, now) {
                Some(vouched) => Ok(vouched),
                None => self.ask(index, token, digest, &asked.needs, now),
            },
        }
    }

    /// Whose the token is, and how that can be proved. What says that it is a JWT is never taken for something else.
    fn route<'t>(&self, token: &'t Token, trusted: &Trusted) -> Result<Route<'t>, Halt> {
        let unreadable = match CompactJws::parse(token.as_str()) {
            Err(error) => match jws::form(token.as_str()) {
                Form::Opaque => return self.route_opaque(token, trusted),
                Form::Jwe => Denial::InvalidToken(Reason::UnsupportedToken),
                Form::Jws => error.into(),
            },
            Ok(jws) => match Unverified::read(&jws) {
                Err(error) => error.into(),
                Ok(claimed) => {
                    let index = self.issued_by(&claimed.issuer, trusted)?;
                    return match self.asks_always(index) {
                        false => Ok(Route::Verify(index, Box::new(jws))),
                        true if Unverified::is_of_another_kind(&jws)
                            || self.refuses_id_tokens(index) && Unverified::is_id_token(&jws) =>
                        {
                            Err(deny(index, Denial::InvalidToken(Reason::WrongType)))
                        }
                        // An answer need not repeat what the token says of its binding (RFC 9449, section 6.2).
                        true if claimed.is_bound => Err(deny(index, Denial::InvalidToken(Reason::NotBound))),
                        true => Ok(Route::Ask(index)),
                    };
                }
            },
        };
        // What can't be read here may still be good to a provider that is always asked; but a reader that forgives
        // more must not find in it what would be refused if it were well-formed.
        let hint = Hint::read(token.as_str());
        let index = match &hint.issuer {
            Some(issuer) => self.issued_by(issuer, trusted)?,
            None => trusted.only().ok_or(unreadable.clone())?,
        };
        let is_of_another_kind = hint.is_of_another_kind || hint.is_id_token && self.refuses_id_tokens(index);
        match self.asks_always(index) && !hint.is_bound && !is_of_another_kind {
            true => Ok(Route::Ask(index)),
            false => Err(deny(index, unreadable)),
        }
    }

    fn route_opaque(&self, token: &Token, trusted: &Trusted) -> Result<Route<'static>, Halt> {
        let index = self.opaque_provider(token, trusted).ok_or(Denial::InvalidToken(Reason::UnknownIssuer))?;
        match self.validation(index) {
            Some(Validation::Jwt) => Err(deny(index, Denial::InvalidToken(Reason::MalformedToken))),
            _ => Ok(Route::Ask(index)),
        }
    }

    /// The provider with this issuer, if it is trusted here.
    fn issued_by(&self, issuer: &str, trusted: &Trusted) -> Result<usize, Halt> {
        let index = self.issuers.get(issuer).copied().filter(|index| trusted.has(*index));
        index.ok_or_else(|| Denial::InvalidToken(Reason::UnknownIssuer).into())
    }

    fn asks_always(&self, index: usize) -> bool {
        matches!(self.validation(index), Some(Validation::Introspection | Validation::Userinfo))
    }

    fn refuses_id_tokens(&self, index: usize) -> bool {
        self.providers.get(index).is_some_and(|provider| provider.config.refuse_id_tokens)
    }

    /// By signature, with the keys of this provider only.
    fn verify(&self, index: usize, jws: &CompactJws, asked: &[Need], now: Timestamp) -> Result<ValidatedToken, Halt> {
        let provider = self.providers.get(index).ok_or(Denial::Misconfigured)?;
        if !provider.config.algorithms.contains(&jws.algorithm()) {
            return Err(deny(index, Denial::InvalidToken(Reason::UnsupportedToken)));
        }
        let (keys, hint) = (provider.keys(now), jws.key_hint());
        let mut candidates = keys.candidates(&hint, jws.algorithm()).peekable();
        if candidates.peek().is_some() {
            let backend = self.verifier.backend(jws.algorithm());
            self.count(|tally| tally.verification = Some((jws.algorithm(), backend)));
        }
        let error = match candidates.peek() {
            None => Reason::UnknownKey,
            Some(_) => match jws.verify(candidates, &self.verifier) {
                Ok(payload) => {
                    if provider.come_alive() {
                        self.newcomers.welcome();
                    }
                    let validated_by = ValidatedBy::Signature { key: payload.key(), algorithm: jws.algorithm() };
                    let claims = Claims::from_jwt(payload).and_then(|claims| provider.in_our_terms(claims));
                    let claims = claims.map_err(|error| deny_claims(index, error))?;
                    return Ok(ValidatedToken { claims: Rc::new(claims), provider: index, validated_by });
                }
                Err(_) if keys.fitting(&hint, jws.algorithm()).nth(MAX_CANDIDATES).is_some() => {
                    let problem = format_args!(
                        "more keys fit a token than are tried ({MAX_CANDIDATES}): its header names none of them by kid, x5t or \
                         x5t#S256"
                    );
                    self.complain(index, problem, now);
                    Reason::UnknownKey
                }
                Err(_) if keys.names(&hint) => return Err(deny(index, Denial::InvalidToken(Reason::BadSignature))),
                // Keys without a name were tried for want of the one that the token names.
                Err(_) if hint.kid.is_some() => Reason::UnknownKey,
                Err(_) => Reason::BadSignature,
            },
        };
        // A secret is the operator's own: there are no newer ones.
        if jws.algorithm().is_symmetric() {
            return Err(deny(index, Denial::InvalidToken(error)));
        }
        // Newer keys may be there; if they can't be had, the token isn't to blame.
        let denial = match provider.lacks_keys(now) {
            true => Denial::ProviderUnavailable(provider.retry_after(now)),
            false => Denial::InvalidToken(error),
        };
        Err(self.need_keys(index, asked, denial, now))
    }

    /// By asking the provider.
    fn ask(
        &self,
        index: usize,
        token: &Token,
        digest: TokenDigest,
        asked: &[Need],
        now: Timestamp,
    ) -> Result<ValidatedToken, Halt> {
        let provider = self.providers.get(index).ok_or(Denial::Misconfigured)?;
        if let Some(reason) = self.inactive.get(&(index, digest), now) {
            return Err(deny(index, Denial::InvalidToken(reason)));
        }
        if let Some(until) = self.postponed.get(&(index, digest), now) {
            return Err(deny(index, Denial::ProviderUnavailable(until.saturating_since(now))));
        }
        if provider.is_refused_recently(now) {
            return Err(deny(index, Denial::InvalidToken(Reason::UnsupportedToken)));
        }
        let unavailable = || Denial::ProviderUnavailable(provider.retry_after(now));
        // Where the metadata decide between introspection and userinfo, they come first.
        let is_auto = provider.config.validation == Validation::Auto;
        let is_silent = is_auto && provider.has_no_metadata();
        let is_undecided = is_auto && !is_silent && provider.lacks_metadata(Call::Introspection(token), now);
        let (need, call) = match provider.introspects(now) {
            true => (Need::Introspection(index, token.clone()), Call::Introspection(token)),
            false => (Need::Userinfo(index, token.clone()), Call::Userinfo(token)),
        };
        // For when nobody can say anything about opaque tokens of this provider.
        let unsupported = || deny(index, Denial::InvalidToken(Reason::UnsupportedToken));
        if is_undecided || provider.lacks_metadata(call, now) {
            return Err(match is_silent {
                true => unsupported(),
                false => self.need_metadata(index, asked, unavailable(), now),
            });
        }
        match provider.can_call(call, now) {
            Ok(()) if asked.contains(&need) => Err(deny(index, unavailable())),
            Ok(()) => Err(need.into()),
            Err(NoRoute::NoEndpoint) if is_auto => Err(unsupported()),
            Err(unreachable) => {
                self.complain(index, format_args!("{} cannot be fetched: {unreachable}", need.as_str()), now);
                Err(deny(index, Denial::Misconfigured))
            }
        }
    }

    /// What the claims must be, given who vouches for them.
    fn check(&self, vouched: &ValidatedToken, policy: &Policy, now: Timestamp) -> Result<AccessToken, jwt::Error> {
        let Some(provider) = self.providers.get(vouched.provider) else { return Err(jwt::Error::WrongIssuer) };
        let config = &provider.config;
        let by_signature = matches!(vouched.validated_by, ValidatedBy::Signature { .. });
        // Userinfo says nothing about the audience, as a rule; where it does, or where a rule asks for one, it is held to it.
        let silent = vouched.validated_by == ValidatedBy::Userinfo && !vouched.claims.has_audience();
        let audiences = match &policy.audiences {
            Some(audiences) => audiences,
            None if silent => &Audiences::Any,
            None => &config.audiences,
        };
        let expected = Expected {
            issuer: if by_signature { Issuer::Exactly(&config.issuer) } else { Issuer::IfPresent(&config.issuer) },
            audiences,
            token_types: &config.token_types,
            refuse_id_tokens: config.refuse_id_tokens,
            clock_skew: config.clock_skew,
            require_expiration: by_signature && config.require_expiration,
            max_lifetime: config.max_lifetime.filter(|_| by_signature),
        };
        vouched.claims.check(&expected, now)
    }

    /// The provider that takes tokens which don't say whose they are: the one whose tokens begin like this one, or the only
    /// one that is trusted here and takes any.
    fn opaque_provider(&self, token: &Token, trusted: &Trusted) -> Option<usize> {
        let all = || self.providers.iter().enumerate();
        let longest = |provider: &Provider| {
            let prefixes = provider.config.token_prefixes.iter().filter(|prefix| token.as_str().starts_with(*prefix));
            prefixes.map(String::len).max()
        };
        if let Some(length) = all().filter_map(|(_, provider)| longest(provider)).max() {
            // Tenants of one issuer begin their tokens alike: which of them is meant is for a rule or a place to say.
            let prefixed = all().filter(|(index, provider)| longest(provider) == Some(length) && trusted.has(*index));
            return only(prefixed.map(|(index, _)| index));
        }
        let takes_any = |index: &usize| {
            self.providers.get(*index).is_some_and(|provider| provider.config.token_prefixes.is_empty())
        };
        let asked = |index: &usize| takes_any(index) && self.validation(*index) != Some(Validation::Jwt);
        // With one provider there is no doubt whose a token claims to be.
        only(trusted.indices().filter(asked)).or_else(|| trusted.only().filter(takes_any))
    }

    fn validation(&self, index: usize) -> Option<Validation> {
        self.providers.get(index).map(|provider| provider.config.validation)
    }

    /// Asks for keys of a source that wasn't asked yet, or gives `denial` if there is none that may be asked now.
    fn need_keys(&self, index: usize, asked: &[Need], denial: Denial, now: Timestamp) -> Halt {
        let Some(provider) = self.providers.get(index) else { return deny(index, denial) };
        for source in 0..provider.source_count() {
            let need = Need::Keys(index, source);
            let in_flight = self.flights.contains_key(&need);
            let may_fetch = || provider.sources_to_fetch(now).any(|other| other == source);
            if asked.contains(&need) || !(in_flight || may_fetch()) {
                continue;
            }
            if in_flight || !provider.lacks_metadata(Call::Keys(source), now) {
                return self.need_document(need, denial, now);
            }
            if self.may_ask_for_metadata(index, asked, now) {
                return self.need_document(Need::Metadata(index), denial, now);
            }
        }
        deny(index, denial)
    }

    fn need_metadata(&self, index: usize, asked: &[Need], denial: Denial, now: Timestamp) -> Halt {
        match self.may_ask_for_metadata(index, asked, now) {
            true => self.need_document(Need::Metadata(index), denial, now),
            false => deny(index, denial),
        }
    }

    fn may_ask_for_metadata(&self, index: usize, asked: &[Need], now: Timestamp) -> bool {
        let need = Need::Metadata(index);
        let allowed = self.providers.get(index).is_some_and(|provider| provider.may_fetch_metadata(now));
        !asked.contains(&need) && (allowed || self.flights.contains_key(&need))
    }

    /// Asks for a document, unless that is of an issuer whom nobody knows yet, and too many of these were looked up lately.
    fn need_document(&self, need: Need, denial: Denial, now: Timestamp) -> Halt {
        let index = need.provider();
        let is_newcomer = self.providers.get(index).is_some_and(|provider| provider.needs_admission(now));
        let wait = self.newcomers.wait(now);
        match is_newcomer && !self.flights.contains_key(&need) && wait > Duration::ZERO {
            false => need.into(),
            true => match denial {
                Denial::ProviderUnavailable(_) => deny(index, Denial::ProviderUnavailable(wait)),
                denial => deny(index, denial),
            },
        }
    }
}

/// Whose tokens are good for a request.
struct Trusted<'c> {
    by_source: Option<Range<usize>>,
    by_policy: Option<&'c [usize]>,
    count: usize,
}

impl Trusted<'_> {
    fn has(&self, index: usize) -> bool {
        self.by_source.as_ref().is_none_or(|range| range.contains(&index))
            && self.by_policy.is_none_or(|indices| indices.contains(&index))
    }

    fn indices(&self) -> impl Iterator<Item = usize> {
        (0..self.count).filter(|index| self.has(*index))
    }

    /// The only provider that is trusted.
    fn only(&self) -> Option<usize> {
        only(self.indices())
    }
}

fn deny(provider: usize, denial: Denial) -> Halt {
    Halt::Deny(Refusal::new(denial, Some(provider)))
}

fn deny_for(provider: usize, denial: Denial, detail: Option<Detail>) -> Halt {
    Halt::Deny(Refusal { detail, ..Refusal::new(denial, Some(provider)) })
}

fn deny_claims(provider: usize, error: jwt::Error) -> Halt {
    let detail = match error {
        jwt::Error::InvalidClaims(name) => Some(Detail::Claim(name)),
        _ => None,
    };
    deny_for(provider, error.into(), detail)
}

fn deny_lack(provider: usize, lack: Unmet) -> Halt {
    let unmet = lack.field();
    deny_for(provider, lack.into(), Some(Detail::RequirementField(unmet)))
}

impl From<credentials::Error> for Denial {
    fn from(error: credentials::Error) -> Self {
        match error {
            credentials::Error::Malformed | credentials::Error::Several => Self::InvalidRequest,
            credentials::Error::NoToken | credentials::Error::TooLong => Self::InvalidToken(Reason::MalformedToken),
            credentials::Error::UnsupportedScheme => Self::UnsupportedScheme,
        }
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

impl From<jwt::Error> for Reason {
    fn from(error: jwt::Error) -> Self {
        match error {
            jwt::Error::Expired => Self::Expired,
            jwt::Error::InvalidClaims(_) => Self::InvalidClaims,
            jwt::Error::Malformed => Self::MalformedToken,
            jwt::Error::NotBound => Self::NotBound,
            jwt::Error::NotYetValid => Self::NotYetValid,
            jwt::Error::WrongAudience => Self::WrongAudience,
            jwt::Error::WrongIssuer => Self::UnknownIssuer,
            jwt::Error::WrongType => Self::WrongType,
        }
    }
}

impl From<jwt::Error> for Denial {
    fn from(error: jwt::Error) -> Self {
        Self::InvalidToken(error.into())
    }
}

impl From<Unfit> for Reason {
    fn from(unfit: Unfit) -> Self {
        match unfit {
            // Only `true`, said once, is a yes.
            Unfit::ActiveIsNoBoolean | Unfit::DuplicateMember => Self::Inactive,
            Unfit::AnotherKind(_) => Self::WrongType,
            Unfit::Claims(error) => error.into(),
            Unfit::NoSubject | Unfit::OddSubject => Self::InvalidClaims,
        }
    }
}

impl From<identity::Error> for Denial {
    fn from(error: identity::Error) -> Self {
        match error {
            identity::Error::Missing(_) => Self::InsufficientClaims,
            identity::Error::TooLarge(_) => Self::Misconfigured,
        }
    }
}

impl From<Unmet> for Denial {
    fn from(lack: Unmet) -> Self {
        match lack {
            Unmet::Scopes(scopes, _) => Self::InsufficientScope(scopes),
            Unmet::Claims(_) => Self::InsufficientClaims,
        }
    }
}

/// A token that never expires is verified again from time to time all the same.
const ENDLESS_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);
