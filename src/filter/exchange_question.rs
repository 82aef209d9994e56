//! A token that is to be exchanged for one of the service behind, and what came of that.
//!
//! The invariant: what a provider made for one token and one exchange of the configuration is found under these three alone.

use crate::cache::Identical;
use crate::config::TokenExchange;
use crate::http::{Endpoint, Fetch};
use crate::jose::verifier::Verifier;
use crate::oauth::credentials::{Token, TokenDigest};
use crate::oauth::token_exchange::{self, Answer};
use crate::provider::{NoRoute, Provider, ProviderId};
use crate::time::Timestamp;
use std::fmt;

/// A token, and what it is to be exchanged for.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct ExchangeQuestion {
    pub(super) exchange: Identical<TokenExchange>,
    pub(super) token: Token,
    /// When the client's own token ends.
    pub(super) ends: Option<Timestamp>,
}

/// The key under which what came of an exchange is kept.
#[derive(Clone, Eq, Hash, PartialEq)]
pub(super) struct ExchangeKey {
    pub(super) exchange: Identical<TokenExchange>,
    /// Who made it: several providers may know one opaque token.
    pub(super) maker: ProviderId,
    pub(super) token: TokenDigest,
}

/// What came of it: a token, a no, or nothing.
pub(super) type Exchanged = Option<Answer>;

impl ExchangeQuestion {
    /// The key under which what comes of it is kept.
    pub(super) fn key(&self, maker: ProviderId) -> ExchangeKey {
        ExchangeKey { exchange: self.exchange.clone(), maker, token: self.token.digest() }
    }

    /// How much memory it takes, in bytes.
    pub(super) fn memory_size(&self) -> usize {
        self.token.as_str().len()
    }

    /// The call that exchanges.
    pub(super) fn fetch(&self, provider: &Provider, now: Timestamp, verifier: &Verifier) -> Result<Fetch, NoRoute> {
        let endpoint = endpoint(&self.exchange, provider, now)?;
        let issuer = &provider.config.issuer;
        let fetch = token_exchange::request(&self.exchange, issuer, endpoint, &self.token, now, verifier);
        fetch.ok_or(NoRoute::CannotSign)
    }
}

/// Where the token is sent.
pub(super) fn endpoint(exchange: &TokenExchange, provider: &Provider, now: Timestamp) -> Result<Endpoint, NoRoute> {
    exchange.endpoint.clone().map_or_else(|| provider.token_endpoint(now), Ok)
}

/// Without the token.
impl fmt::Debug for ExchangeQuestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExchangeQuestion")
    }
}

/// Without the digest, by which a short token could be guessed.
impl fmt::Debug for ExchangeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ExchangeKey")
    }
}
