//! The filter on a stage: a request is played to its end, and what the filter would call answers from files.
//!
//! It is the filter itself, with a clock that stands still, and memory and randomness of this process for what workers share. Nothing is
//! called unless somebody says so: what has no answer is told, and counts as a provider that does not answer.

mod answers;
mod host;
mod live;
mod request;
mod signer;

pub use answers::{A_STATUS, Answers, answer, is_status};
pub use request::Ask;
pub use signer::Signer;

use crate::urls::{self, without_query};
use oidc_filter::config::{Config, ProviderConfig};
use oidc_filter::decision::{Decision, Forward};
use oidc_filter::filter::{Body, CallPurpose, Effect, Explanation, Filter, StreamId};
use oidc_filter::http::{Edit, Fetch, Request, Response};
use oidc_filter::time::Timestamp;
use std::rc::Rc;

/// A configuration, and what stands where it calls.
pub struct Stage<'s> {
    pub config: &'s Rc<Config>,
    /// What the filter is called in Envoy's configuration.
    pub name: &'s str,
    pub answers: &'s Answers,
    /// Whose tokens are made here.
    pub signer: Option<&'s Signer>,
    pub now: Timestamp,
    /// Whether providers are asked where nothing is given for them.
    pub is_live: bool,
}

/// A request that was played.
pub struct Played {
    pub request: Request,
    /// Its token, if it has one that can be looked at.
    pub token: Option<String>,
    /// `Wait` if there was no end.
    pub decision: Decision,
    pub explanation: Explanation,
    pub calls: Vec<Called>,
    /// What the filter would warn of.
    pub warnings: Vec<String>,
}

/// A call that the filter makes.
pub struct Called {
    /// `metadata`, `jwks`, `introspection`, `userinfo` or `authorization`.
    pub kind: &'static str,
    /// The provider's name.
    pub provider: String,
    pub method: &'static str,
    /// Without its query, which may hold a token.
    pub url: String,
    pub cluster: String,
    /// The status of what stands there; or why there is no answer.
    pub status: Result<u16, String>,
}

impl Stage<'_> {
    pub fn play(&self, ask: &Ask) -> Result<Played, String> {
        let request = ask.request(self.config)?;
        let filter = Filter::new(Rc::clone(self.config), self.name);
        let mut filter = filter.with_host(Box::new(host::Memory::default()), Box::new(host::Random)).explaining();
        let token = filter.token_of(&request).map(|token| token.as_str().to_owned());
        host::hear();
        let mut calls = Vec::new();
        let decision = filter.on_request(STREAM, request.clone(), self.now);
        let decision = self.wait(&mut filter, decision, &mut calls);
        let decision = match decision {
            Decision::Forward(forward) => self.body(&filter, forward, &ask.body),
            decision => decision,
        };
        let explanation = filter.take_explanation();
        Ok(Played { request, token, decision, explanation, calls, warnings: host::heard() })
    }

    /// Brings answers, and lets time pass where there are none to bring, until there is a decision.
    fn wait(&self, filter: &mut Filter, mut decision: Decision, calls: &mut Vec<Called>) -> Decision {
        let mut now = self.now;
        for _ in 0..MAX_ROUNDS {
            if decision != Decision::Wait {
                break;
            }
            let effects = filter.take_effects();
            if effects.is_empty() {
                now = now.saturating_add(filter.next_tick(now));
                filter.on_tick(now);
            }
            for effect in effects {
                match effect {
                    Effect::Fetch(call, fetch) => {
                        let purpose = filter.purpose(call);
                        let answer = purpose.as_ref().ok_or_else(String::new);
                        let answer = answer.and_then(|purpose| self.answer(purpose, &fetch));
                        calls.extend(purpose.map(|purpose| Called {
                            kind: purpose.kind,
                            provider: self.provider(&purpose).map(|provider| provider.name.clone()).unwrap_or_default(),
                            method: fetch.method,
                            url: without_query(&urls::of_endpoint(&fetch.endpoint)).to_owned(),
                            cluster: fetch.endpoint.cluster.clone(),
                            status: answer.as_ref().map(|answer| answer.status).map_err(String::clone),
                        }));
                        filter.on_fetched(call, answer.ok(), now);
                    }
                    Effect::Resolve(_, resolved) => decision = resolved,
                    Effect::Fetched(_) => {}
                }
            }
        }
        decision
    }

    /// Brings the body, if it is judged: what that gives stands in the place of what the head gave.
    fn body(&self, filter: &Filter, mut forward: Forward, body: &[u8]) -> Decision {
        let Some(held) = forward.body.take() else { return Decision::Forward(forward) };
        let body = if body.len() > held.max_size() { Body::TooLong } else { Body::Whole(body) };
        match filter.on_body(*held, body, self.now) {
            Ok(passed) => {
                forward.filter_state.extend(passed.filter_state);
                Decision::Forward(forward)
            }
            Err(refused) => Decision::Answer(*refused),
        }
    }

    fn provider(&self, purpose: &CallPurpose) -> Option<&ProviderConfig> {
        self.config.providers.get(purpose.provider.0).map(Rc::as_ref)
    }

    /// What stands where a call goes, or why nothing does.
    fn answer(&self, purpose: &CallPurpose, fetch: &Fetch) -> Result<Response, String> {
        let given = self.provider(purpose).and_then(|provider| self.given(purpose, provider, fetch));
        let is_of_provider = ["metadata", "jwks", "introspection", "userinfo"].contains(&purpose.kind);
        match given {
            Some(answer) => Ok(answer),
            None if self.is_live && is_of_provider => live::ask(fetch),
            None if is_of_provider => {
                Err("no answer is given for it (--live, --answer URL=FILE, --keys FILE)".to_owned())
            }
            None => Err("no answer is given for it (--answer URL=FILE)".to_owned()),
        }
    }

    fn given(&self, purpose: &CallPurpose, provider: &ProviderConfig, fetch: &Fetch) -> Option<Response> {
        let url = urls::of_endpoint(&fetch.endpoint);
        let written = self.answers.at(&url).or_else(|| self.answers.at(without_query(&url)));
        let given = written.or_else(|| self.answers.of(purpose, provider));
        let is_told = purpose.kind == "metadata" && self.answers.tells_metadata_of(provider);
        given.or_else(|| self.signer.filter(|_| !is_told)?.answer(purpose, provider))
    }
}

impl Played {
    /// The request's headers as the service gets them; `None` if it does not get the request.
    pub fn service(&self) -> Option<Vec<(String, String)>> {
        let Decision::Forward(forward) = &self.decision else { return None };
        let mut headers: Vec<(Vec<u8>, Vec<u8>)> =
            self.request.headers.iter().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
        for edit in &forward.edits {
            apply(edit, &mut headers);
        }
        Some(headers.iter().map(|(name, value)| (text(name), text(value))).collect())
    }

    /// The request's headers as the client has sent them.
    pub fn sent(&self) -> Vec<(String, String)> {
        self.request.headers.iter().map(|(name, value)| (text(name), text(value))).collect()
    }

    /// What the client gets: the status, unless the service has it, and the headers that the filter writes.
    pub fn client(&self) -> (Option<u16>, Vec<(String, String)>) {
        match &self.decision {
            Decision::Answer(answered) => {
                let headers = &answered.answer.headers;
                let headers = headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
                (Some(answered.answer.status), headers)
            }
            Decision::Forward(forward) => {
                let mut headers = Vec::new();
                forward.response_edits.iter().for_each(|edit| apply(edit, &mut headers));
                (None, headers.iter().map(|(name, value)| (text(name), text(value))).collect())
            }
            Decision::Wait => (None, Vec::new()),
        }
    }

    /// The calls that nothing answers.
    pub fn unanswered(&self) -> impl Iterator<Item = &Called> {
        self.calls.iter().filter(|call| call.status.is_err())
    }
}

/// Changes a header list as Envoy does.
fn apply(edit: &Edit, headers: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    match edit {
        Edit::Remove(name) => headers.retain(|(other, _)| other != name),
        Edit::Add(name, value) => headers.push((name.as_bytes().to_vec(), value.clone())),
        Edit::Set(name, value) => {
            let at = headers.iter().position(|(other, _)| other == name.as_bytes()).unwrap_or(headers.len());
            headers.retain(|(other, _)| other != name.as_bytes());
            headers.insert(at.min(headers.len()), (name.as_bytes().to_vec(), value.clone()));
        }
    }
}

/// Bytes as they are shown.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const STREAM: StreamId = StreamId(1);

/// A request waits a minute at most, and each call has its turn.
const MAX_ROUNDS: usize = 10_000;
