//! What providers and authorizers answer, and the driver's own account of it.

use super::tokens::{FIRST_TENANT, ISSUERS, MINTED, OPAQUE, TENANTS, signer};
use super::{HOUR, Issuer, World};
use crate::scene::*;
use crate::support::with;
use crate::targets::script::Script;
use oidc_filter::filter::StreamId;
use oidc_filter::http::{Headers, Response};
use oidc_filter::jose::jwk::{JwkSet, KeySetOrigin};
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

/// An answer that calls a token active.
#[derive(Clone)]
pub struct Said {
    pub claims: Value,
    pub at: Timestamp,
    /// How many had been said before.
    pub number: usize,
    /// When the token says that it ends.
    pub token_ends: Timestamp,
    pub cache: Duration,
    pub by_introspection: bool,
    /// It is what a provider says, with nothing in it that two readers could read differently.
    pub is_plain: bool,
}

/// What an authorizer said.
pub struct Verdict {
    pub allows: bool,
    pub at: Timestamp,
}

impl World {
    pub fn answer(&mut self, index: usize, script: &mut Script) {
        let call = self.scene.open_call(index).clone();
        if is_authorizer(&call) {
            let status = *script.one_of(&[200, 200, 204, 299, 401, 403, 403, 500, 302, 100, 999, 0]);
            let body = script.one_of(&["", "not yours", "{\"allowed\":true}", "a\r\nx-user: forged\"\\"]);
            let response = Response { status, body: body.as_bytes().to_vec(), ..Response::default() };
            return self.deliver_verdict(index, (!script.once_in(8)).then_some(response));
        }
        let honest = self.honest_answer(&call);
        // Damage must not make one tenant's metadata name what is another's.
        let is_fragile = call.url.contains("/.well-known/") && is_tenant(&call);
        let (response, is_plain) = match script.below(12) {
            0 => (None, false),
            1 => (Some(nonsense(script)), false),
            2 if !is_fragile => (Some(Response { body: script.damage(&honest.body), ..honest }), false),
            3 => {
                // A true word about something else.
                let other = script.below(self.scene.open_and_ended().0.min(256));
                let other = self.scene.open_call(other).clone();
                (Some(self.honest_answer(&other)), true)
            }
            _ => (Some(honest), true),
        };
        self.deliver(index, response, is_plain);
    }

    /// Ends a call, and notes what the filter takes from the answer. It says itself for whom and what it was.
    fn deliver(&mut self, index: usize, response: Option<Response>, is_plain: bool) {
        let call = self.scene.open_call(index).clone();
        let told_before = self.scene.fetched.len();
        let called_before = self.scene.calls.len();
        self.scene.answer(index, response.clone());
        let taken = self.scene.fetched[told_before..].iter().find(|outcome| outcome.result == "ok").cloned();
        let (Some(outcome), Some(response)) = (taken, response) else { return };
        let now = self.scene.now();
        let number = self.issuers.iter().position(|issuer| is_at(&call, issuer.home));
        let number = number.unwrap_or_else(|| panic!("{} is nobody's", call.url));
        let issuer = &mut self.issuers[number];
        assert_eq!(*issuer.config.name, *outcome.provider, "{}", call.url);
        let config = &issuer.config;
        match outcome.kind {
            "jwks" => {
                let settings = &config.jwks[0];
                let keys = JwkSet::parse(&response.body, KeySetOrigin::Remote).expect("the filter has taken it");
                let (least, most) = (settings.cooldown.min(settings.cache), settings.cache.max(HOUR));
                let fresh = response.max_age().unwrap_or(settings.cache).max(least).min(most);
                issuer.fresh_until = config.on_demand.then(|| now.saturating_add(fresh));
                issuer.believed = Some((keys, Some(now.saturating_add(fresh).saturating_add(settings.max_stale))));
            }
            "introspection" | "userinfo" => {
                let token = token_of(&call).expect("a question about a token has one");
                // An answer is final, whatever it says: no other endpoint is asked.
                let again = self.scene.calls[called_before..].iter().find(|again| {
                    is_at(again, issuer.home) && again.url != call.url && token_of(again).as_ref() == Some(&token)
                });
                assert!(again.is_none(), "{again:?} after {call:?}");
                let by_introspection = outcome.kind == "introspection";
                if by_introspection && response.status != 200 {
                    // It refuses strangers, which says nothing about the token.
                    return;
                }
                let claims: Value = serde_json::from_slice(&response.body).unwrap_or_default();
                let is_yes = if by_introspection {
                    claims["active"] == true
                } else {
                    claims["sub"].as_str().is_some_and(|subject| !subject.is_empty())
                };
                let cache = if by_introspection { config.introspection.cache } else { config.userinfo.cache };
                let minted = MINTED.iter().find(|minted| minted.text == token);
                let token_ends =
                    minted.map_or(Timestamp::MAX, |minted| Timestamp::from_unix_seconds(minted.expires_at));
                let key = (number, token);
                self.said.remove(&key);
                if response.status == 200 && is_yes {
                    self.sayings += 1;
                    let said =
                        Said { claims, at: now, number: self.sayings, token_ends, cache, by_introspection, is_plain };
                    self.said.insert(key.clone(), said.clone());
                    self.history.push((key, said));
                }
            }
            _ => {}
        }
    }

    /// Ends a call of an authorizer. Who waits for it is decided as it says, if the token still holds.
    fn deliver_verdict(&mut self, index: usize, response: Option<Response>) {
        let call = self.scene.open_call(index).clone();
        let about = question_of(&call);
        let asks_this = |sent: &super::Sent| {
            let law = sent.law.ok().map(|law| self.laws.policy(law));
            let is_asked = law.is_some_and(|law| law["external_authorization"]["uri"] == *call.url);
            is_asked && sent.line() == about["request"] && self.is_proved_for(sent, &about["user"]["claims"])
        };
        let waiting: Vec<StreamId> =
            self.undecided.iter().filter(|(_, sent)| asks_this(sent)).map(|(stream, _)| *stream).collect();
        let told_before = self.scene.fetched.len();
        self.scene.answer(index, response.clone());
        let status = response.map_or(0, |response| response.status);
        let is_word = matches!(status, 200..=299 | 401 | 403);
        let taken = self.scene.fetched[told_before..].iter().any(|outcome| outcome.result == "ok");
        if taken {
            assert!(is_word, "{status} is no word");
            let verdict = Verdict { allows: status < 300, at: self.scene.now() };
            self.verdicts.insert((call.url.clone(), about.to_string()), verdict);
        }
        for stream in waiting {
            let sent = &self.undecided[&stream];
            // When the clock goes back, the same is asked again; when it goes on, the earlier word is in force again.
            let law = sent.law.ok().map(|law| self.laws.policy(law));
            let has_spoken = law.is_some_and(|law| self.verdicts_about(sent, law).next().is_some());
            if !self.is_known(sent) || has_spoken && !is_word {
                continue;
            }
            match (self.scene.seen(stream), status) {
                // For another call, or the answer came too late for this one.
                (Seen::Waiting, _) => {}
                (_, 200..=299) if !taken => {}
                (Seen::Upstream(upstream), 200..=299) => assert_eq!(upstream.result, "allowed", "{upstream:?}"),
                (Seen::Confirmed(confirmation), 200..=299) => {
                    assert_eq!(confirmation.result, "allowed", "{confirmation:?}");
                }
                (Seen::Refused(refusal), 401 | 403) => {
                    assert_eq!((refusal.status, refusal.reason), (403, "insufficient_claims"), "{refusal:?}");
                }
                (Seen::Refused(refusal), 0..=199 | 300..) => {
                    assert_eq!((refusal.status, refusal.reason), (503, "provider_unavailable"), "{refusal:?}");
                }
                (seen, status) => panic!("the authorizer says {status}, and {seen:?}"),
            }
        }
    }

    fn honest_answer(&mut self, call: &Call) -> Response {
        let nothing = Response { status: 404, ..Response::default() };
        let Some(number) = self.issuers.iter().position(|issuer| is_at(call, issuer.home)) else { return nothing };
        let Issuer { home, published, down, .. } = &self.issuers[number];
        let url = ISSUERS[*home];
        self.sayings += 1;
        let subject = format!("said{}", self.sayings);
        let exp = NOW + [100_000, 100, 1_000][self.sayings % 3];
        let token = token_of(call).unwrap_or_default();
        let is_known = OPAQUE[..5].contains(&&*token) || MINTED.iter().any(|minted| minted.text == token);
        let is_active = is_known && !self.revoked.contains(&token);
        let path = call.url.strip_prefix(url).unwrap_or_default();
        let (place, path) = match path.strip_prefix("/first") {
            Some(rest) => ("first", rest),
            None => ("second", path),
        };
        if down.contains(place) && !path.starts_with("/.well-known") {
            return Response { status: 503, ..Response::default() };
        }
        match path {
            "/.well-known/openid-configuration" => json_answer(&metadata(url)),
            "/jwks" => {
                let keys: Vec<Value> = published.iter().map(|number| signer(*home, *number).jwk()).collect();
                json_answer(&json!({"keys": keys}))
            }
            "/introspect" if is_active => json_answer(&active(json!({"iss": url, "sub": subject, "exp": exp}))),
            "/introspect" => json_answer(&json!({"active": false})),
            "/userinfo" if is_active => json_answer(&json!({"sub": subject})),
            "/userinfo" => Response { status: 401, ..Response::default() },
            _ => nothing,
        }
    }
}

/// The claims as an authorizer is told them.
pub fn told_claims(said: &Said) -> Value {
    let active = if said.by_introspection { json!({"active": null}) } else { json!({}) };
    with(said.claims.clone(), active)
}

pub fn is_authorizer(call: &Call) -> bool {
    host(&call.url).is_some_and(|host| host.starts_with("authz"))
}

/// What an authorizer is asked, but for the time.
pub fn question_of(call: &Call) -> Value {
    let body: Value = serde_json::from_str(&call.body).expect("JSON");
    with(body, json!({"timestamp": null}))
}

fn is_tenant(call: &Call) -> bool {
    ISSUERS[FIRST_TENANT..].iter().any(|issuer| host(&call.url) == host(issuer))
}

/// Whether a call goes to this issuer: to its host, by whatever scheme, for it is the cluster that says how it is reached. Of
/// tenants, which share a host, the path says which.
pub fn is_at(call: &Call, home: usize) -> bool {
    let segments = |url: &str| url.split('/').skip(3).map(str::to_owned).collect::<Vec<_>>();
    let is_own = match home.checked_sub(FIRST_TENANT) {
        None => true,
        Some(tenant) => {
            let path = segments(&call.url);
            let is_metadata = path.first().is_some_and(|first| first == ".well-known");
            path.get(if is_metadata { 2 } else { 0 }).is_some_and(|segment| segment == TENANTS[tenant])
        }
    };
    host(&call.url) == host(ISSUERS[home]) && is_own
}

fn host(url: &str) -> Option<&str> {
    url.split('/').nth(2)
}

/// The token that a call is about.
pub fn token_of(call: &Call) -> Option<String> {
    let bearer = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    bearer.map(str::to_owned).or_else(|| call.form().remove("token")).or_else(|| call.query().remove("token"))
}

pub fn json_answer(document: &Value) -> Response {
    let headers = Headers::from_pairs([("content-type", "application/json")]);
    Response { status: 200, headers, body: document.to_string().into_bytes() }
}

fn nonsense(script: &mut Script) -> Response {
    let status = *script.one_of(&[200, 200, 200, 200, 0, 204, 302, 400, 401, 403, 404, 500, 503, 999]);
    let media_type = *script.one_of(&["application/json", "application/json", "text/html", "", "\u{e9}"]);
    let control = *script.one_of(&["", "max-age=0", "max-age=99999999999", "no-store", "max-age=x"]);
    let headers = Headers::from_pairs([("content-type", media_type), ("cache-control", control)]);
    let body = match script.below(20) {
        0..5 => script.octets(100).to_vec(),
        5 => json!({"keys": [signer(1, 0).jwk()]}).to_string().into_bytes(),
        _ => script.one_of(&NONSENSE).to_vec(),
    };
    Response { status, headers, body }
}
