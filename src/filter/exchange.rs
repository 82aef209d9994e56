//! The token for the service behind, made by a provider of the client's own: RFC 8693.
//!
//! The invariants: only a token that passed every check, and the authorizer, is exchanged; each is sent once, and never a second time
//! for want of an answer.

use super::authorize::Run;
use super::ends::{Halt, deny_for};
use super::exchange_question::{ExchangeKey, ExchangeQuestion, endpoint};
use super::facts::Facts;
use super::need::{ENTRY_SIZE, Need, ValidatedToken};
use super::operator_log::Detail;
use super::trail::Complaint;
use crate::http::Response;
use crate::oauth::credentials::Credentials;
use crate::oauth::token_exchange::{self, Answer};
use crate::provider::{FetchError, NoRoute, Provider, ProviderId};
use crate::reply::Denial;
use crate::time::Timestamp;
use std::rc::Rc;
use std::time::Duration;

impl Run<'_> {
    /// The token for the service, if the policy wants another one than the client's.
    pub(super) fn exchange(
        &mut self,
        validated: &ValidatedToken,
        own: &Provider,
        credentials: &Credentials,
    ) -> Result<Option<Rc<str>>, Halt> {
        let policy = self.policy;
        let Some(exchange) = &policy.token_exchange else { return Ok(None) };
        let maker = exchange.provider.map_or(Some(own), |index| self.facts.provider(ProviderId(index)));
        let maker = maker.ok_or(Denial::Misconfigured)?;
        let key = ExchangeKey { exchange: exchange.into(), maker: maker.id, token: credentials.digest };
        let known = self.learnt.exchanged(&key).or_else(|| self.facts.exchanges.get(&key, self.now).cloned());
        if let Some(known) = known {
            self.trail.lessons.exchanged = Some((key, known.clone()));
            return match known {
                Some(Answer::Token(token, _)) => Ok(Some(token)),
                Some(Answer::Refused) => Err(deny_for(own, Denial::InsufficientClaims, Some(Detail::Exchange))),
                None => Err(deny_for(own, Denial::AuthorizerUnavailable, Some(Detail::Exchange))),
            };
        }
        // What proved the token may be gone when what is asked for now has come.
        self.trail.lessons.validated = Some(validated.clone());
        match endpoint(exchange, maker, self.now) {
            Ok(_) => {}
            Err(NoRoute::NoMetadata) => return Err(self.need_metadata(maker, Denial::AuthorizerUnavailable)),
            Err(unreachable) => {
                self.trail.complaint = Some(Complaint::NoRoute(maker.id, "token exchange", unreachable));
                return Err(deny_for(own, Denial::Misconfigured, Some(Detail::Exchange)));
            }
        }
        let token = credentials.token().map_err(Denial::from)?;
        let ends = validated.claims.expires_at();
        let need = Need::Exchange(maker.id, ExchangeQuestion { exchange: exchange.into(), token, ends });
        if self.learnt.has_asked(&need) {
            return Err(deny_for(own, Denial::AuthorizerUnavailable, Some(Detail::Exchange)));
        }
        Err(Halt::Need(need))
    }
}

impl Facts {
    /// Takes in what came of an exchange.
    pub(super) fn take_exchange(
        &mut self,
        maker: ProviderId,
        question: &ExchangeQuestion,
        response: Option<&Response>,
        now: Timestamp,
    ) -> Result<(), FetchError> {
        let response = response.ok_or(FetchError::NoAnswer)?;
        let requested = question.exchange.requested_token_type.as_deref();
        let answer = token_exchange::answer(response, requested, now);
        let answer = answer.ok_or_else(|| match response.status {
            200 => FetchError::Unusable("the answer holds no bearer token of the requested type".to_owned()),
            _ => FetchError::of_status(response),
        })?;
        let (size, lifetime) = match &answer {
            Answer::Token(token, lifetime) => {
                let most = lifetime.map_or(question.exchange.cache, |lifetime| lifetime.saturating_sub(MARGIN));
                let left = question.ends.map_or(Duration::MAX, |end| end.saturating_since(now));
                (token.len(), most.min(question.exchange.cache).min(left))
            }
            Answer::Refused => (0, PAUSE),
        };
        self.exchanges.insert(question.key(maker), Some(answer), size.saturating_add(ENTRY_SIZE), lifetime, now);
        Ok(())
    }

    /// Notes that an exchange has come to nothing: it is not tried again at once.
    pub(super) fn miss_exchange(&mut self, maker: ProviderId, question: &ExchangeQuestion, now: Timestamp) {
        self.exchanges.insert(question.key(maker), None, ENTRY_SIZE, PAUSE, now);
    }
}

/// A service sees at least this much of the token's life, unless that is shorter.
const MARGIN: Duration = Duration::from_secs(30);

/// How long an exchange that has come to nothing is not tried again.
const PAUSE: Duration = Duration::from_secs(5);
