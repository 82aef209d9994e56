//! What is always true, by the driver's own account.

use super::answers::{Said, is_at, is_authorizer, question_of, token_of, told_claims};
use super::requests::Sent;
use super::tokens::{ISSUERS, MINTED, Minted, signer};
use super::{Issuer, World};
use crate::scene::*;
use oidc_filter::filter::StreamId;
use oidc_filter::jose::jwk::{Algorithm, Jwk, KeySetOrigin};
use oidc_filter::time::Timestamp;
use percent_encoding::percent_decode;
use serde_json::{Value, json};
use std::time::Duration;

/// Whoever may go on: to the upstream, or as the answer to a proxy says.
struct Passed<'s> {
    result: &'static str,
    reason: Option<&'static str>,
    provider: Option<&'s str>,
    user: Option<Vec<u8>>,
}

impl World {
    pub fn look(&mut self) {
        let next = self.scene.filter.next_tick(self.scene.now());
        let is_busy = self.scene.waiting() > 0;
        let longest = Duration::from_secs(if is_busy { 1 } else { 10 });
        assert!((Duration::from_millis(1)..=longest).contains(&next), "{next:?}, {} wait", self.scene.waiting());

        let calls = self.scene.calls[self.calls_seen..].to_vec();
        for call in &calls {
            if is_authorizer(call) { self.look_at_question(call) } else { look_at_call(call) }
        }
        self.calls_seen = self.scene.calls.len();

        let streams: Vec<StreamId> = self.undecided.keys().copied().collect();
        for stream in streams {
            let seen = self.scene.seen(stream);
            if !seen.is_waiting() {
                let sent = self.undecided.remove(&stream).unwrap();
                self.judge(sent, seen);
            }
        }
    }

    /// An authorizer hears of requests that were sent, and of claims that are proved at this very time.
    fn look_at_question(&mut self, call: &Call) {
        let about = question_of(call);
        assert!(self.lines.contains(&about["request"].to_string()), "{call:?}");
        assert!(call.header("authorization").is_none(), "{call:?}");
        let claims = &about["user"]["claims"];
        let numbers = 0..self.issuers.len();
        let by_answer = |((asked, _), said): &(&(usize, String), &Said)| {
            told_claims(said) == *claims && self.still_holds(said, *asked, None)
        };
        let answers: Vec<usize> = self.said.iter().filter(by_answer).map(|(_, said)| said.number).collect();
        let by_key =
            |minted: &Minted| minted.claims == *claims && numbers.clone().any(|number| self.is_signed(minted, number));
        assert!(!answers.is_empty() || MINTED.iter().any(by_key), "{call:?}");
        let question = (call.url.clone(), about["request"].to_string());
        self.consulted.extend(answers.into_iter().map(|number| (question.clone(), number)));
    }

    /// Nobody waits without need, and nobody for a candidate.
    pub fn may_wait(&self, sent: &Sent) {
        let law = self.laws.policy(sent.law.expect("without a policy nothing is waited for"));
        assert!(!sent.is_garbled && !self.is_exempt(sent), "{law} {}", String::from_utf8_lossy(&sent.text));
        assert!(law.get("external_authorization").is_some() || !self.is_known(sent), "{law} {:?}", sent.token);
    }

    /// Whether the policy asks for no token.
    fn is_exempt(&self, sent: &Sent) -> bool {
        let law = sent.law.map(|law| self.laws.policy(law));
        law.is_ok_and(|law| {
            law["bypass"] == true
                || law["allow_preflight"] == true && sent.is_preflight
                || law["allow_missing"] == true && !sent.has_credentials
        })
    }

    fn judge(&mut self, sent: Sent, seen: Seen) {
        match seen {
            Seen::Waiting | Seen::Preflight(..) | Seen::Document(..) => unreachable!(),
            Seen::Refused(refusal) => {
                self.ends.refused += 1;
                self.judge_refusal(&sent, &refusal);
            }
            Seen::Confirmed(confirmation) => {
                assert!(sent.is_check, "{confirmation:?}");
                self.ends.confirmed += 1;
                self.judge_confirmation(&sent, &confirmation);
            }
            Seen::Upstream(upstream) => {
                assert!(!sent.is_check, "a question goes on: {upstream:?}");
                self.judge_upstream(&sent, &upstream);
                if let Some(case) = upstream.case {
                    self.forwarded = Some((case, sent));
                }
            }
        }
    }

    fn judge_refusal(&mut self, sent: &Sent, refusal: &Refusal) {
        let told = |what: &str| format!("{what}: {refusal:?}\nfor {}", String::from_utf8_lossy(&sent.text));
        if sent.is_check {
            assert!(matches!(refusal.status, 401 | 403 | 503), "{}", told("who asks knows no such status"));
        }
        if sent.is_garbled {
            assert_eq!((refusal.status, refusal.reason), (401, "invalid_request"), "{refusal:?}");
            return;
        }
        let Ok(number) = sent.law else { return assert_eq!(refusal.reason, "misconfigured", "{refusal:?}") };
        // What can be read in two ways is refused under each policy that asks for less than another.
        if sent.is_odd() && refusal.reason == "invalid_request" && !self.laws.is_empty() {
            return;
        }
        let law = self.laws.policy(number);
        assert!(!self.is_exempt(sent), "{}", told("the policy lets it pass"));
        let has_authorizer = law.get("external_authorization").is_some();
        match refusal.reason {
            "insufficient_scope" => assert!(law.get("require").is_some(), "{}", told("no scope is wanted")),
            "insufficient_claims" => {
                let says_no = self.verdicts_about(sent, law).any(|(allows, _)| !allows);
                assert!(says_no, "{}", told("nobody said so"));
                self.ends.forbidden += 1;
            }
            "provider_unavailable" if has_authorizer => {}
            // Metadata may name what is not to be called.
            "misconfigured" => assert!(!self.is_known(sent), "{}", told("the token is good")),
            reason => {
                assert!(law["enforce"] == true, "{}", told("it is stripped here"));
                assert!(!self.is_known(sent), "{}", told("the token is good"));
                assert_ne!(reason, "overloaded", "{refusal:?}");
            }
        }
    }

    fn judge_confirmation(&mut self, sent: &Sent, confirmation: &Confirmation) {
        for (name, value) in &confirmation.headers {
            assert!(["x-user", "identity", "set-cookie"].contains(&&**name), "{confirmation:?}");
            assert!(!value.contains("forged"), "{confirmation:?}");
        }
        let user = confirmation.header("x-user").map(decoded);
        are_one(user.as_deref(), confirmation.header("identity"));
        let passed = Passed {
            result: confirmation.result,
            reason: confirmation.reason,
            provider: confirmation.provider.as_deref(),
            user,
        };
        assert!(!sent.is_garbled, "{confirmation:?}");
        if confirmation.result != "allowed" {
            assert!(confirmation.headers.is_empty(), "{confirmation:?}");
        }
        self.judge_passed(sent, &passed);
    }

    fn judge_upstream(&mut self, sent: &Sent, upstream: &Upstream) {
        let forged = upstream.headers.iter().any(|(_, value)| value.contains("forged"));
        assert!(!forged, "{upstream:?}");
        let user = upstream.header("x-user").map(decoded);
        are_one(user.as_deref(), upstream.header("identity"));
        let passed =
            Passed { result: upstream.result, reason: upstream.reason, provider: upstream.provider.as_deref(), user };
        self.judge_passed(sent, &passed);
        let law = self.laws.policy(sent.law.unwrap());
        let is_untouched = upstream.result == "allowed" && law["forward"] == true || law["bypass"] == true;
        let is_missing = upstream.result == "bypassed" && upstream.reason.is_some();
        if !is_untouched && !is_missing {
            self.no_token_is_left(upstream);
        }
        // What may make Envoy choose another route can be held against that one.
        let rests_on_route = self.laws.reads_routes();
        assert_eq!(upstream.route.as_deref(), rests_on_route.then_some(sent.way.name.unwrap_or_default()));
        assert_eq!(upstream.case.is_some(), rests_on_route, "{upstream:?}");
    }

    fn judge_passed(&mut self, sent: &Sent, passed: &Passed) {
        let Passed { result, reason, provider, user } = passed;
        let law = self.laws.policy(sent.law.expect("without a policy nothing passes"));
        let told = |what: &str| {
            format!(
                "{what}: {result} {reason:?} {provider:?} {user:?}\nfor {}\nby {law}",
                String::from_utf8_lossy(&sent.text)
            )
        };
        match *result {
            "allowed" => {
                self.ends.allowed += 1;
                assert!(!self.is_exempt(sent), "{}", told("no token was needed"));
                // No token has the scope for that.
                assert!(law.get("require").is_none(), "{}", told("a scope is wanted"));
                let label = provider.expect("who allows has a name");
                assert!(self.is_proved(sent, law, user.as_deref(), label), "{}", told("nobody vouches for that"));
                if law.get("external_authorization").is_some() {
                    self.ends.authorized += 1;
                    let is_user = |subject: &Value| subject.as_str().map(str::as_bytes) == user.as_deref();
                    let says_yes = self.verdicts_about(sent, law).any(|(allows, subject)| allows && is_user(&subject));
                    assert!(says_yes, "{}", told("the authorizer doesn't say so"));
                }
            }
            "stripped" => {
                self.ends.stripped += 1;
                assert_eq!(law["enforce"], false, "{}", told("nothing is stripped here"));
                assert!(!self.is_exempt(sent), "{}", told("no token was needed"));
                assert!(!self.is_known(sent), "{}", told("the token is good"));
            }
            "bypassed" => {
                self.ends.bypassed += 1;
                assert!(self.is_exempt(sent), "{}", told("a token is needed"));
                let is_missing = law["bypass"] != true && !(law["allow_preflight"] == true && sent.is_preflight);
                assert_eq!(*reason, is_missing.then_some("missing_token"), "{}", told("another reason"));
            }
            other => panic!("{other}"),
        }
    }

    /// What the policy's authorizer says at this time about this request line, and about whose token it says that.
    pub(super) fn verdicts_about(&self, sent: &Sent, law: &Value) -> impl Iterator<Item = (bool, Value)> {
        let authorizer = law["external_authorization"].clone();
        let cache = Duration::from_secs(authorizer["cache"].as_u64().unwrap_or_default());
        let (line, now) = (sent.line(), self.scene.now());
        self.verdicts.iter().filter_map(move |((url, about), verdict)| {
            let about: Value = serde_json::from_str(about).unwrap();
            let is_fresh = verdict.at <= now && now <= verdict.at.saturating_add(cache);
            let is_this = authorizer["uri"] == **url && about["request"] == line && is_fresh;
            is_this.then(|| (verdict.allows, about["user"]["claims"]["sub"].clone()))
        })
    }

    // ------------------------------------------------------------------ proofs

    /// Whether somebody who may vouch for the token in this request does so now, for this identity.
    fn is_proved(&self, sent: &Sent, law: &Value, user: Option<&[u8]>, label: &str) -> bool {
        let is_user = |subject: Option<&str>| user == subject.map(str::as_bytes);
        let holds = |token: &str| contains(&sent.text, token.as_bytes());
        let of_that_name = |number: &usize| self.issuers[*number].config.name == label;
        (0..self.issuers.len()).filter(of_that_name).any(|number| {
            let by_key = |minted: &Minted| {
                is_user(Some(&minted.subject)) && holds(&minted.text) && self.is_signed(minted, number)
            };
            let by_answer = |(key, said): &((usize, String), Said)| {
                let is_last = self.said.get(key).is_some_and(|last| last.number == said.number);
                key.0 == number
                    && is_user(said.claims["sub"].as_str())
                    && holds(&key.1)
                    && (is_last || self.is_consulted(sent))
                    && self.still_holds(said, number, Some(sent))
            };
            let is_at_home = sent.bound_to.iter().any(|bound| self.is_trusted(number, bound.as_deref(), law));
            is_at_home && (MINTED.iter().any(by_key) || self.history.iter().any(by_answer))
        })
    }

    fn is_trusted(&self, number: usize, bound: Option<&str>, law: &Value) -> bool {
        let name = self.issuers[number].config.name.as_str();
        bound.is_none_or(|bound| bound == name)
            && law["providers"].as_array().is_none_or(|list| list.contains(&json!(name)))
    }

    /// Whether these may be the claims of a token of this request.
    pub fn is_proved_for(&self, sent: &Sent, claims: &Value) -> bool {
        let holds = |token: &str| contains(&sent.text, token.as_bytes());
        MINTED.iter().any(|minted| minted.claims == *claims && holds(&minted.text))
            || self.history.iter().any(|((_, token), said)| told_claims(said) == *claims && holds(token))
    }

    /// Whether the filter has all that it takes to find the token of this request good, and needs to ask nobody; or had it
    /// since the request came.
    pub fn is_known(&self, sent: &Sent) -> bool {
        let (Some(token), Ok(law)) = (&sent.token, sent.law) else { return false };
        // Who waits while the clock goes back is sent away: what is known then was not before.
        if sent.set_backs != self.set_backs {
            return false;
        }
        let law = self.laws.policy(law);
        let bound = sent.bound_to[0].as_deref();
        let trusted: Vec<usize> =
            (0..self.issuers.len()).filter(|number| self.is_trusted(*number, bound, law)).collect();
        let is_said = |number: usize| {
            let key = (number, token.clone());
            // Who waits for an authorizer goes by the answer that came for it, which may be an older one.
            let since = self.history.iter().filter(|(about, said)| *about == key && said.number >= sent.began);
            let is_clear = !self.is_consulted(sent) || since.count() <= 1;
            let said = self.said.get(&key);
            is_clear && said.is_some_and(|said| said.is_plain && self.still_holds(said, number, Some(sent)))
        };
        if let Some(minted) = MINTED.iter().find(|minted| minted.text == *token) {
            let number = trusted.into_iter().find(|number| self.issuers[*number].home == minted.issuer);
            return number.is_some_and(|number| match self.issuers[number].kind() {
                "auto" | "jwt" => {
                    let is_fresh = self.issuers[number].fresh_until.is_none_or(|until| self.scene.now() < until);
                    is_fresh && self.is_signed(minted, number) && self.is_named(minted, number)
                }
                _ => !minted.is_bound && is_said(number),
            });
        }
        token.starts_with("opaque") && self.taker(&trusted).is_some_and(is_said)
    }

    /// Who is asked about an opaque token, if that is clear.
    pub fn taker(&self, trusted: &[usize]) -> Option<usize> {
        let takers: Vec<usize> =
            trusted.iter().copied().filter(|number| self.issuers[*number].kind() != "jwt").collect();
        match takers.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    fn is_signed(&self, minted: &Minted, number: usize) -> bool {
        let issuer = &self.issuers[number];
        minted.issuer == issuer.home
            && minted.is_sound
            && self.is_in_time(Some(minted.expires_at), Some(minted.not_before))
            && self.believes(issuer, minted.signer)
    }

    fn believes(&self, issuer: &Issuer, (signer_of, number): (usize, usize)) -> bool {
        let Some((keys, until)) = &issuer.believed else { return false };
        let jwk = Jwk::parse(&signer(signer_of, number).jwk(), KeySetOrigin::Remote).unwrap();
        keys.holds(jwk.fingerprint(), Algorithm::EdDsa) && until.is_none_or(|until| self.scene.now() < until)
    }

    /// Whether the key is found by the name that the token gives it.
    fn is_named(&self, minted: &Minted, number: usize) -> bool {
        let Some((keys, _)) = &self.issuers[number].believed else { return false };
        let jwk = Jwk::parse(&signer(minted.signer.0, minted.signer.1).jwk(), KeySetOrigin::Remote).unwrap();
        let mut candidates = keys.candidates(minted.key_id.as_deref(), Algorithm::EdDsa);
        candidates.any(|candidate| candidate.fingerprint() == jwk.fingerprint())
    }

    fn is_consulted(&self, sent: &Sent) -> bool {
        sent.law.is_ok_and(|law| self.laws.policy(law).get("external_authorization").is_some())
    }

    /// Which authorizer is asked about a request, and how it is told which.
    fn question(&self, sent: &Sent) -> (String, String) {
        let authorizer = sent.law.ok().and_then(|law| self.laws.policy(law)["external_authorization"]["uri"].as_str());
        (authorizer.unwrap_or_default().to_owned(), sent.line().to_string())
    }

    /// Whether an answer may still be believed: for as long as it is kept, or as an authorizer takes for this request.
    fn still_holds(&self, said: &Said, number: usize, sent: Option<&Sent>) -> bool {
        let claims = &said.claims;
        let now = self.scene.now();
        // RFC 7662, section 4: from a cache, never beyond `exp`, be it the answer's or the token's own.
        let is_fresh = |time: Timestamp| {
            let end = claims["exp"].as_u64().map_or(Timestamp::MAX, Timestamp::from_unix_seconds);
            let kept_until = said.at.saturating_add(said.cache).min(end).min(said.token_ends);
            said.at == time || said.at <= time && time <= kept_until
        };
        let is_for_us = match &claims["aud"] {
            Value::Null => !said.by_introspection,
            Value::Array(list) => list.contains(&json!(AUDIENCE)),
            one => *one == AUDIENCE,
        };
        let is_theirs = claims.get("iss").is_none_or(|iss| iss == ISSUERS[self.issuers[number].home]);
        let times = (claims["exp"].as_u64(), claims["nbf"].as_u64());
        // Who waits for an authorizer has been proved once, and is not again.
        let was_fresh = sent.filter(|sent| self.is_consulted(sent)).is_some_and(|sent| {
            let since = said.number > sent.began
                && self.consulted[sent.consulted..].contains(&(self.question(sent), said.number));
            said.at <= now && (is_fresh(sent.began_at) || since)
        });
        (is_fresh(now) || was_fresh)
            && is_for_us
            && is_theirs
            && claims.get("cnf").is_none()
            && self.is_in_time(times.0, times.1)
    }

    fn is_in_time(&self, expires_at: Option<u64>, not_before: Option<u64>) -> bool {
        let skew = Duration::from_secs(60);
        let time = Timestamp::from_unix_seconds;
        let now = self.scene.now();
        expires_at.is_none_or(|end| now < time(end).saturating_add(skew))
            && not_before.is_none_or(|start| time(start) <= now.saturating_add(skew))
    }

    fn no_token_is_left(&self, upstream: &Upstream) {
        for source in &self.sources {
            let name = source["key"].as_str().unwrap();
            let all = |header: &str| {
                let values = upstream.headers.iter().filter(move |(n, _)| n == header);
                values.map(|(_, value)| value.clone()).collect::<Vec<_>>().join(";")
            };
            let is_left = match source["location"].as_str() {
                Some("cookie") => all("cookie").split(';').any(|pair| pair.trim().starts_with("t=")),
                Some("query_string") => all(":path").split(['?', '&']).any(|pair| pair.starts_with("t=")),
                Some("metadata") => false,
                _ => upstream.headers.iter().any(|(header, _)| header == name),
            };
            assert!(!is_left, "{source}: {upstream:?}");
        }
    }
}

/// A provider hears of no token but its own; and nobody else is called.
fn look_at_call(call: &Call) {
    let shown = token_of(call).and_then(|token| MINTED.iter().find(|minted| minted.text == token));
    if let Some(minted) = shown {
        assert!(is_at(call, minted.issuer), "{} gets another's token", call.url);
    }
    assert!((0..ISSUERS.len()).any(|home| is_at(call, home)), "{} is called", call.url);
}

/// The identity is one and the same, wherever it is written.
fn are_one(user: Option<&[u8]>, identity: Option<&str>) {
    let identity: Option<Value> = identity.map(|text| serde_json::from_slice(&decoded(text)).unwrap());
    let subject = identity.as_ref().and_then(|identity| identity["sub"].as_str());
    if identity.as_ref().is_none_or(|identity| identity["sub"].is_string()) {
        assert_eq!(user, subject.map(str::as_bytes), "{identity:?}");
    }
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode(text.as_bytes()).collect()
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
