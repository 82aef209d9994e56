//! What a decision can lack, and what a request has learnt.

use crate::config::DEFAULT_MAX_TOKEN_SIZE;
use crate::jose::jwk::{Algorithm, Fingerprint};
use crate::jose::jwt::Claims;
use crate::oauth::credentials::Token;
use crate::policy::external::CheckRequest;
use crate::provider::{Call, Kind};
use crate::time::Timestamp;
use std::rc::Rc;

/// A fact that can be fetched: the key under which those who wait for it are gathered.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Need {
    Metadata(usize),
    /// Those of one of its sources.
    Keys(usize, usize),
    Introspection(usize, Token),
    Userinfo(usize, Token),
    /// What the external authorizer says about a token of this provider.
    Authorization(usize, CheckRequest),
    /// Whether an endpoint that was given up is back. Nobody waits for it.
    Probe(usize, Kind, usize),
}

impl Need {
    pub(super) fn provider(&self) -> usize {
        match self {
            Self::Metadata(provider) | Self::Keys(provider, _) => *provider,
            Self::Introspection(provider, _) | Self::Userinfo(provider, _) => *provider,
            Self::Authorization(provider, _) | Self::Probe(provider, ..) => *provider,
        }
    }

    /// The call of the provider's that it takes; `None` for one of another kind.
    pub(super) fn call(&self) -> Option<Call<'_>> {
        match self {
            Self::Metadata(_) => Some(Call::Metadata),
            Self::Keys(_, source) => Some(Call::Keys(*source)),
            Self::Introspection(_, token) => Some(Call::Introspection(token)),
            Self::Userinfo(_, token) => Some(Call::Userinfo(token)),
            Self::Authorization(..) | Self::Probe(..) => None,
        }
    }

    /// How much memory it holds beyond that of a token of the usual size, in bytes.
    pub(super) fn memory_size(&self) -> usize {
        match self {
            Self::Authorization(_, question) => question.memory_size(),
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
            Self::Probe(_, kind, _) => kind.as_str(),
        }
    }
}

pub(super) fn document(provider: usize, call: Call) -> Need {
    match call {
        Call::Keys(source) => Need::Keys(provider, source),
        _ => Need::Metadata(provider),
    }
}

/// What a request has asked for already.
#[derive(Default)]
pub(super) struct Learnt {
    pub(super) needs: Vec<Need>,
    /// What its provider said of its token, and from when on it was waited for an authorizer with that: a cache may not keep it
    /// for so long, and it is not asked again.
    pub(super) answer: Option<(ValidatedToken, Timestamp)>,
}

impl Learnt {
    /// The provider's answer. A signature is looked at again: its key may have gone.
    pub(super) fn answer(&self, now: Timestamp) -> Option<ValidatedToken> {
        let (vouched, since) = self.answer.as_ref()?;
        let is_answer = matches!(vouched.validated_by, ValidatedBy::Introspection | ValidatedBy::Userinfo);
        (is_answer && *since <= now).then(|| vouched.clone())
    }

    /// How much memory the answer takes, in bytes. Needs are shared with the fetches.
    pub(super) fn memory_size(&self) -> usize {
        self.answer.as_ref().map_or(0, |(vouched, _)| vouched.claims.memory_size())
    }
}

/// A token that somebody vouched for. It holds nothing that depends on a request or a policy: those are judged each
/// time.
#[derive(Clone, Debug)]
pub(super) struct ValidatedToken {
    pub(super) claims: Rc<Claims>,
    pub(super) provider: usize,
    pub(super) validated_by: ValidatedBy,
}

/// Who vouched.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ValidatedBy {
    Introspection,
    Signature { key: Fingerprint, algorithm: Algorithm },
    Userinfo,
}

/// A cache entry without its claims, rounded up.
pub(super) const ENTRY_SIZE: usize = 512;
