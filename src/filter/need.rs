//! What a decision can lack, and what a request has learnt.

use super::enrichment_question::{EnrichmentQuestion, SourceAnswer};
use super::exchange_question::{ExchangeKey, ExchangeQuestion, Exchanged};
use crate::config::{DEFAULT_MAX_TOKEN_SIZE, Dpop};
use crate::jose::claims::text;
use crate::jose::jwk::{Algorithm, Fingerprint};
use crate::jose::jwt::Claims;
use crate::oauth::credentials::Token;
use crate::oauth::dpop::{self, Proof};
use crate::policy::external::{self, AuthorizationQuestion};
use crate::provider::{Call, CallKind, ProviderId};
use crate::time::Timestamp;
use crate::upstream::assertion::KeptAssertions;
use crate::upstream::outputs::KeptOutputs;
use std::rc::Rc;

/// A fact that can be fetched: the key under which those who wait for it are gathered.
///
/// The answer to each of these is a fact for all ([`Facts::take`](super::facts::Facts::take)). One that is only for the request that
/// asks bears the number of its stream, so that nobody else can wait for it, and goes into what that request has [`Learnt`].
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Need {
    Metadata(ProviderId),
    /// Those of one of its sources.
    Keys(ProviderId, usize),
    Introspection(ProviderId, Token),
    Userinfo(ProviderId, Token),
    /// What the external authorizer says about a token of this provider.
    Authorization(ProviderId, AuthorizationQuestion),
    /// What a source knows about the subject of a token of this provider.
    Enrichment(ProviderId, EnrichmentQuestion),
    /// A token for the service, made by this provider.
    Exchange(ProviderId, ExchangeQuestion),
    /// Whether an endpoint that was given up is back. Nobody waits for it.
    Probe(ProviderId, CallKind, usize),
}

impl Need {
    /// The provider's document that a call is for.
    pub(super) fn document(provider: ProviderId, call: Call) -> Self {
        match call {
            Call::Keys(source) => Self::Keys(provider, source),
            _ => Self::Metadata(provider),
        }
    }

    pub(super) fn provider(&self) -> ProviderId {
        match self {
            Self::Metadata(provider) | Self::Keys(provider, _) => *provider,
            Self::Introspection(provider, _) | Self::Userinfo(provider, _) => *provider,
            Self::Authorization(provider, _) | Self::Probe(provider, ..) => *provider,
            Self::Enrichment(provider, _) | Self::Exchange(provider, _) => *provider,
        }
    }

    /// The call of the provider's that it takes; `None` for one of another kind.
    pub(super) fn call(&self) -> Option<Call<'_>> {
        match self {
            Self::Metadata(_) => Some(Call::Metadata),
            Self::Keys(_, source) => Some(Call::Keys(*source)),
            Self::Introspection(_, token) => Some(Call::Introspection(token)),
            Self::Userinfo(_, token) => Some(Call::Userinfo(token)),
            Self::Authorization(..) | Self::Enrichment(..) | Self::Exchange(..) | Self::Probe(..) => None,
        }
    }

    /// The token that its provider is asked about.
    pub(super) fn token(&self) -> Option<&Token> {
        match self {
            Self::Introspection(_, token) | Self::Userinfo(_, token) => Some(token),
            _ => None,
        }
    }

    /// Whether another endpoint may be asked when one has not answered. That is for questions only: what spends something where
    /// it is sent, as a code or a refresh token does, may have been spent there.
    pub(super) const fn may_be_repeated(&self) -> bool {
        match self {
            Self::Metadata(_) | Self::Keys(..) | Self::Introspection(..) | Self::Userinfo(..) => true,
            // There is but one endpoint for each.
            Self::Authorization(..) | Self::Enrichment(..) | Self::Probe(..) => false,
            Self::Exchange(..) => false,
        }
    }

    /// Whether it is a document of its provider's: there are few, and each serves all tokens.
    pub(super) const fn is_document(&self) -> bool {
        matches!(self, Self::Metadata(_) | Self::Keys(..))
    }

    /// How much memory it holds beyond that of a token of the usual size, in bytes.
    pub(super) fn memory_size(&self) -> usize {
        match self {
            Self::Authorization(_, question) => question.memory_size(),
            Self::Enrichment(_, question) => question.memory_size(),
            Self::Exchange(_, question) => question.memory_size(),
            Self::Introspection(_, token) | Self::Userinfo(_, token) => {
                Some(token.as_str().len()).filter(|size| *size > DEFAULT_MAX_TOKEN_SIZE).unwrap_or_default()
            }
            Self::Metadata(_) | Self::Keys(..) | Self::Probe(..) => 0,
        }
    }

    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Metadata(_) => "metadata",
            Self::Keys(..) => "jwks",
            Self::Introspection(..) => "introspection",
            Self::Userinfo(..) => "userinfo",
            Self::Authorization(..) => "authorization",
            Self::Enrichment(..) => "enrichment",
            Self::Exchange(..) => "token_exchange",
            Self::Probe(_, kind, _) => kind.as_str(),
        }
    }
}

/// What one request has asked for, and what it was told. It is that request's alone: a decision that is run again for it rests on
/// this and on the facts.
#[derive(Debug, Default)]
pub(super) struct Learnt {
    /// What it has asked for already, in order.
    needs: Vec<Need>,
    /// What its provider said of its token, and since when the request has waited for others with that answer. A cache may not keep
    /// the answer for so long, and the provider is not asked again.
    validated: Option<(ValidatedToken, Timestamp)>,
    /// What its DPoP proof is, under the settings by which it was checked.
    proof: Option<CheckedProof>,
    /// What sources said, or that they said nothing.
    enriched: Vec<(EnrichmentQuestion, SourceAnswer)>,
    /// What its authorizer said.
    authorized: Option<(AuthorizationQuestion, external::Answer)>,
    /// What came of an exchange.
    exchanged: Option<(ExchangeKey, Exchanged)>,
}

impl Learnt {
    /// Notes what a run of the decision found out on its way to a need.
    pub(super) fn note(&mut self, need: Need, lessons: Lessons, now: Timestamp) {
        self.needs.push(need);
        let Lessons { validated, proof, enriched, authorized, exchanged } = lessons;
        self.proof = proof.or(self.proof.take());
        for lesson in enriched {
            if self.enriched(&lesson.0).is_none() {
                self.enriched.push(lesson);
            }
        }
        self.authorized = authorized.or(self.authorized.take());
        self.exchanged = exchanged.or(self.exchanged.take());
        if let Some(validated) = validated {
            self.validated = Some((validated, now));
        }
    }

    pub(super) fn has_asked(&self, need: &Need) -> bool {
        self.needs.contains(need)
    }

    /// What a source said to this request.
    pub(super) fn enriched(&self, question: &EnrichmentQuestion) -> Option<SourceAnswer> {
        self.enriched.iter().find(|(asked, _)| asked == question).map(|(_, answer)| answer.clone())
    }

    /// What the authorizer said about this request.
    pub(super) fn authorized(&self, question: &AuthorizationQuestion) -> Option<external::Answer> {
        self.authorized.as_ref().filter(|(asked, _)| asked == question).map(|(_, answer)| answer.clone())
    }

    /// What came of an exchange for this request.
    pub(super) fn exchanged(&self, key: &ExchangeKey) -> Option<Exchanged> {
        self.exchanged.as_ref().filter(|(asked, _)| asked == key).map(|(_, answer)| answer.clone())
    }

    /// Whose token it has, once somebody has vouched for that.
    pub(super) fn user(&self) -> Option<User> {
        self.validated.as_ref().map(|(validated, _)| validated.user())
    }

    /// What it waits for.
    pub(super) fn last_need(&self) -> Option<&Need> {
        self.needs.last()
    }

    /// The provider's answer. A signature is looked at again: its key may have gone.
    pub(super) fn answer(&self, now: Timestamp) -> Option<&ValidatedToken> {
        let (validated, since) = self.validated.as_ref()?;
        (validated.validated_by.is_answer() && *since <= now).then_some(validated)
    }

    /// What a run has found out about the proof, for a candidate policy.
    pub(super) fn of_proof(proof: Option<CheckedProof>) -> Self {
        Self { proof, ..Self::default() }
    }

    /// What its proof is, if that was found out under these settings.
    pub(super) fn proof(&self, settings: &Rc<Dpop>) -> Option<&Result<Proof, dpop::Error>> {
        self.proof.as_ref().filter(|(by, _)| Rc::ptr_eq(by, settings)).map(|(_, proof)| proof)
    }

    /// How much memory the answers take that bear claims, in bytes. Needs are shared with the fetches.
    pub(super) fn memory_size(&self) -> usize {
        let validated = self.validated.as_ref().map_or(0, |(validated, _)| validated.claims.memory_size());
        let enriched = self.enriched.iter().map(|(_, answer)| answer.memory_size());
        enriched.fold(validated, usize::saturating_add)
    }
}

/// What a run of the decision found out about the request, and a later run for the same request must not have to find out anew: the
/// facts may be gone by then, or it cost much.
#[derive(Clone, Debug, Default)]
pub(super) struct Lessons {
    /// Its token is good; only what others say is lacking. The answer that proved it may be gone when they have spoken.
    pub(super) validated: Option<ValidatedToken>,
    /// Its DPoP proof was looked at: a signature each time.
    pub(super) proof: Option<CheckedProof>,
    /// What sources said: it may be gone when the next one has spoken.
    pub(super) enriched: Vec<(EnrichmentQuestion, SourceAnswer)>,
    /// What its authorizer said: it may be gone when the token has been exchanged.
    pub(super) authorized: Option<(AuthorizationQuestion, external::Answer)>,
    /// What came of an exchange.
    pub(super) exchanged: Option<(ExchangeKey, Exchanged)>,
}

/// What a proof is, and the settings by which it was checked.
pub(super) type CheckedProof = (Rc<Dpop>, Result<Proof, dpop::Error>);

/// A token that somebody vouched for. It holds nothing that depends on a request or a policy: those are judged each
/// time. Beside it is kept what policies have made of its claims.
#[derive(Clone, Debug)]
pub(super) struct ValidatedToken {
    pub(super) claims: Rc<Claims>,
    pub(super) provider: ProviderId,
    pub(super) validated_by: ValidatedBy,
    /// What was signed about it; `None` where nothing ever is.
    pub(super) assertions: Option<Rc<KeptAssertions>>,
    /// What was written about it; `None` where nothing ever is.
    pub(super) outputs: Option<Rc<KeptOutputs>>,
}

impl ValidatedToken {
    /// Whose it is.
    pub(super) fn user(&self) -> User {
        let subject = self.claims.object().get("sub").map(text).unwrap_or_default();
        User(self.provider, blake3::hash(subject.as_bytes()).into())
    }
}

/// The subject of a token: its provider, and a digest of what that calls it. Tokens without one are taken for one user's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct User(ProviderId, [u8; 32]);

/// Who vouched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ValidatedBy {
    Introspection,
    Signature { key: Fingerprint, algorithm: Algorithm },
    Userinfo,
}

impl ValidatedBy {
    /// Whether a provider answered.
    pub(super) const fn is_answer(&self) -> bool {
        matches!(self, Self::Introspection | Self::Userinfo)
    }

    /// The word for the answer.
    pub(super) const fn answer(self) -> Option<&'static str> {
        match self {
            Self::Introspection => Some("introspection"),
            Self::Userinfo => Some("userinfo"),
            Self::Signature { .. } => None,
        }
    }
}

/// A cache entry without its claims, rounded up.
pub(super) const ENTRY_SIZE: usize = 512;
