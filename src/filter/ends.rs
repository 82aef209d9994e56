//! How a run of the decision can end: with a grant, or halted by a refusal or a need.

use super::binding_fault::BindingFault;
use super::need::Need;
use super::operator_log::Detail;
use crate::config::{ProviderConfig, TokenSource};
use crate::jose::jws;
use crate::jose::jwt::{self, AccessToken};
use crate::oauth::credentials::{self, AuthScheme, TokenDigest};
use crate::oauth::dpop::Proof;
use crate::oauth::introspection::Unfit;
use crate::policy::requirement::Unmet;
use crate::provider::{Provider, ProviderId};
use crate::reply::{Denial, Reason};
use crate::upstream::assertion::{Basis, KeptAssertions};
use crate::upstream::identity;
use crate::upstream::outputs::KeptOutputs;
use std::fmt;
use std::rc::Rc;

/// The right to pass. Made from an access token, or from a policy that asks for none.
pub(super) enum Grant {
    /// None is needed.
    Exempt(Exemption),
    /// There is a good one.
    Token(TokenGrant),
}

/// What a good token gives a right to, and what that costs.
pub(super) struct TokenGrant {
    pub(super) token: AccessToken,
    pub(super) provider: ProviderId,
    pub(super) config: Rc<ProviderConfig>,
    /// The provider's name.
    pub(super) label: Rc<str>,
    /// The place that the token was in.
    pub(super) source: Rc<TokenSource>,
    /// The scheme that it was sent under.
    pub(super) scheme: AuthScheme,
    /// What it spends: a proof that can be shown once.
    pub(super) proof: Option<Box<Proof>>,
    /// The client has no nonce of ours, or an old one.
    pub(super) needs_nonce: bool,
    pub(super) entry: TokenEntry,
    /// What the claims rest on beside the token.
    pub(super) basis: Basis,
    /// The token for the service.
    pub(super) exchanged: Option<Rc<str>>,
}

impl Grant {
    /// The token, if there is one.
    pub(super) fn token(&self) -> Option<&AccessToken> {
        match self {
            Self::Token(granted) => Some(&granted.token),
            Self::Exempt(_) => None,
        }
    }
}

/// A token with what its sender has shown.
pub(super) struct ShownToken {
    pub(super) token: AccessToken,
    /// The proof, which can be shown once.
    pub(super) proof: Option<Proof>,
    /// The client has no nonce of ours, or an old one.
    pub(super) needs_nonce: bool,
}

/// Without the tokens.
impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exempt(exemption) => f.debug_tuple("Exempt").field(exemption).finish(),
            Self::Token(TokenGrant { token, provider, source, .. }) => {
                let mut grant = f.debug_struct("Token");
                grant
                    .field("token", token)
                    .field("provider", provider)
                    .field("source", &source.index)
                    .finish_non_exhaustive()
            }
        }
    }
}

/// Where what is known of a token is kept.
pub(super) struct TokenEntry {
    pub(super) key: (Option<ProviderId>, TokenDigest),
    /// What was signed about it; `None` where nothing ever is.
    pub(super) assertions: Option<Rc<KeptAssertions>>,
    /// What was written about it; `None` where nothing ever is.
    pub(super) outputs: Option<Rc<KeptOutputs>>,
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
    /// The reason that is told for it, if any.
    pub(super) const fn reason(self) -> Option<Reason> {
        match self {
            Self::Missing => Some(Reason::MissingToken),
            Self::Bypass | Self::Preflight => None,
        }
    }
}

/// Why a run ended without a grant.
#[derive(Debug)]
pub(super) enum Halt {
    Deny(Refusal),
    /// A fact is lacking.
    Need(Need),
}

impl From<Denial> for Halt {
    fn from(denial: Denial) -> Self {
        Self::Deny(Refusal::new(denial, None))
    }
}

/// A denial, and whose token it is about.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) denial: Denial,
    /// The provider's name, if it was found out.
    pub(super) provider: Option<Rc<str>>,
    /// For the log.
    pub(super) detail: Option<Detail>,
}

impl Refusal {
    pub(super) fn new(denial: Denial, provider: Option<Rc<str>>) -> Self {
        Self { denial, provider, detail: None }
    }
}

/// Refuses a token of this provider.
pub(super) fn deny(provider: &Provider, denial: Denial) -> Halt {
    deny_for(provider, denial, None)
}

pub(super) fn deny_for(provider: &Provider, denial: Denial, detail: Option<Detail>) -> Halt {
    Halt::Deny(Refusal { detail, ..Refusal::new(denial, Some(Rc::clone(&provider.label))) })
}

pub(super) fn deny_claims(provider: &Provider, error: jwt::Error) -> Halt {
    deny_for(provider, error.into(), told_of(error))
}

/// What of a token's claims the log names.
pub(super) fn told_of(error: jwt::Error) -> Option<Detail> {
    match error {
        jwt::Error::InvalidClaims(name) => Some(Detail::Claim(name)),
        jwt::Error::NotBound => Some(Detail::Binding(BindingFault::Unreadable)),
        _ => None,
    }
}

pub(super) fn deny_unmet(provider: &Provider, unmet: Unmet) -> Halt {
    let field = unmet.field();
    deny_for(provider, unmet.into(), Some(Detail::RequirementField(field)))
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

impl From<&Unfit> for Reason {
    fn from(unfit: &Unfit) -> Self {
        match unfit {
            // Only `true`, said once, is a yes.
            Unfit::ActiveIsNoBoolean | Unfit::DuplicateMember => Self::Inactive,
            Unfit::AnotherKind(_) => Self::WrongType,
            Unfit::Claims(error) => (*error).into(),
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
            Unmet::Authentication(step_up, _) => Self::InsufficientAuthentication(step_up),
        }
    }
}
