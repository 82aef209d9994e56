//! Where a call to a provider goes, and what its end says about the endpoint.

use super::Provider;
use super::call::{Call, CallKind, FetchError, NoRoute, document};
use super::endpoints::{HealthChange, HealthSign};
use crate::config::Endpoints;
use crate::http::{Endpoint, Fetch, Response};
use crate::jose::jwk::{JwkSet, KeySetOrigin};
use crate::jose::verifier::Verifier;
use crate::oauth::credentials::Token;
use crate::oauth::{introspection, userinfo};
use crate::time::Timestamp;

impl Provider {
    /// Whether metadata are wanted for this kind of call, and not at hand.
    pub fn lacks_metadata(&self, call: Call, now: Timestamp) -> bool {
        matches!(self.configured(call), Some(Endpoints::Discovered)) && self.metadata.get(now).is_none()
    }

    /// Whether there is a way to make a call, now that the metadata are at hand.
    pub fn can_call(&self, call: Call, now: Timestamp) -> Result<(), NoRoute> {
        self.endpoint(call, 0, now).map(|_| ())
    }

    /// The endpoint of its list that a call goes to after it was at these.
    pub fn choice(&self, call: Call, tried: &[usize]) -> usize {
        self.endpoints.choice(call, tried)
    }

    /// Notes how a call to one of several endpoints ended. Whether there are several.
    pub fn note(&mut self, call: Call, endpoint: usize, error: Option<&FetchError>, now: Timestamp) -> bool {
        let sign = match (call, error) {
            (_, None) => HealthSign::Well,
            // A client has chosen the token: that this one is refused, or more than the endpoint can take, says nothing about the
            // next one.
            (Call::Introspection(_) | Call::Userinfo(_), Some(error)) if error.may_be_about_token() => {
                HealthSign::Doubtful
            }
            (Call::Introspection(_) | Call::Userinfo(_), Some(_)) => HealthSign::Suspect,
            (_, Some(_)) => HealthSign::Failing,
        };
        call.kind().is_some_and(|kind| self.note_sign(kind, endpoint, sign, now))
    }

    fn note_sign(&mut self, kind: CallKind, endpoint: usize, sign: HealthSign, now: Timestamp) -> bool {
        let state = match self.endpoints.note(kind, endpoint, sign, self.config.failover, now) {
            HealthChange::Single => return false,
            HealthChange::Unchanged => return true,
            HealthChange::GivenUp => "is given up; it is tried again from time to time",
            HealthChange::Back => "is back",
        };
        log::warn!("{}: endpoint {endpoint} of {} {state}", self.label, kind.as_str());
        true
    }

    /// The endpoints that are to be looked at without a request, and when.
    pub fn probes(&self, now: Timestamp) -> Vec<(CallKind, usize, Timestamp)> {
        if self.is_live { self.endpoints.probes(self.config.failover, now) } else { Vec::new() }
    }

    /// Notes that a probe is sent.
    pub fn probing(&mut self, kind: CallKind, endpoint: usize, now: Timestamp) {
        self.endpoints.probing(kind, endpoint, self.config.failover, now);
    }

    /// A call that shows whether an endpoint answers, about nobody's token.
    pub fn probe(
        &self,
        kind: CallKind,
        endpoint: usize,
        now: Timestamp,
        verifier: &Verifier,
    ) -> Result<Fetch, NoRoute> {
        let token = Token::nobodys();
        self.fetch(kind.call(&token), endpoint, now, verifier)
    }

    /// Takes in the answer to a probe. What wouldn't do as an answer to a request is no sign of health. Userinfo says 401
    /// to nobody.
    pub fn take_probe(&mut self, kind: CallKind, endpoint: usize, response: Option<&Response>, now: Timestamp) {
        let is_well = match kind {
            CallKind::Keys(_) => document(response).is_ok_and(|body| JwkSet::parse(body, KeySetOrigin::Remote).is_ok()),
            CallKind::Introspection => response.and_then(|response| self.read_introspection(response)).is_some(),
            CallKind::Userinfo => response.and_then(|response| self.read_userinfo(response)).is_some(),
        };
        let sign = match (is_well, response.map(|response| response.status)) {
            (true, _) => HealthSign::Well,
            // So it answers about any token that it doesn't know.
            (false, Some(400 | 422)) if !matches!(kind, CallKind::Keys(_)) => HealthSign::Alive,
            (false, _) => HealthSign::Failing,
        };
        self.note_sign(kind, endpoint, sign, now);
    }

    /// Of each endpoint of a list, whether it is in use.
    pub fn endpoint_facts(&self) -> Vec<(CallKind, usize, bool)> {
        self.endpoints.facts()
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

    /// Where its metadata say that tokens are made.
    pub fn token_endpoint(&self, now: Timestamp) -> Result<Endpoint, NoRoute> {
        let metadata = self.metadata.get(now).ok_or(NoRoute::NoMetadata)?;
        let url = metadata.token_endpoint.as_deref().ok_or(NoRoute::NoEndpoint)?;
        self.config.clusters.discovered(url).map_err(NoRoute::Refused)
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
