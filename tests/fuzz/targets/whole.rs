//! The whole filter: clients, providers and a clock that do what a script says, and what is always true all the same.
//!
//! The octets choose a configuration, and then one event after the other: requests with good, bad and damaged tokens;
//! answers that are honest, damaged, nonsense, late, twice or never; keys and tokens that are withdrawn; clients that
//! leave; a clock that jumps. The driver keeps its own, much simpler account of what providers said, and holds every
//! decision to it:
//!
//! - A request is allowed only with a proof that holds at this very time: a token signed with a key of its issuer's last
//!   key set, or one that its issuer's last answer about it calls active. The identity is that of this proof.
//! - One without a token passes only where the configuration says so.
//! - A token that is stripped, or that is not to be forwarded, doesn't reach the upstream.
//! - A token is shown to no provider but its own.
//! - Every request is decided once: the scene checks that, and that no forged identity gets through. When nobody answers
//!   any more, each is decided in the end.
//! - The next tick is never far off, and never so near that the timer runs hot.
//! - When the providers are well again, good tokens pass again.

use super::script::Script;
use crate::scene::*;
use crate::support::{Noise, with};
use oidc_filter::config::Config;
use oidc_filter::filter::StreamId;
use oidc_filter::http::{Headers, Response};
use oidc_filter::jwk::{Algorithm, Jwk, JwkSet, Origin};
use oidc_filter::time::Timestamp;
use percent_encoding::percent_decode;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

pub fn run(octets: &[u8]) {
    play(octets);
}

/// How many requests ended in which way.
#[derive(Debug, Default)]
pub struct Ends {
    pub allowed: usize,
    pub bypassed: usize,
    pub stripped: usize,
    pub refused: usize,
    /// Those that were allowed only when all was well again.
    pub healed: usize,
}

impl std::ops::AddAssign for Ends {
    fn add_assign(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.bypassed += other.bypassed;
        self.stripped += other.stripped;
        self.refused += other.refused;
        self.healed += other.healed;
    }
}

/// Plays a script to its end.
pub fn play(octets: &[u8]) -> Ends {
    let mut script = Script::of(octets);
    let mut world = World::new(&mut script);
    for _ in 0..MOST_EVENTS {
        if script.is_over() {
            break;
        }
        world.event(&mut script);
        world.look();
    }
    world.nobody_answers_any_more();
    world.all_is_well_again();
    world.ends
}

const MOST_EVENTS: usize = 400;

// ---------------------------------------------------------------------------------------------- tokens

const ISSUERS: [&str; 3] = [ISSUER, "https://other.example", "https://third.example"];

/// The names of each issuer's keys; the names under which they are published are the same for all.
const SIGNERS: [[&str; 3]; 3] = [["a1", "a2", "a3"], ["b1", "b2", "b3"], ["c1", "c2", "c3"]];
const KEY_IDS: [&str; 3] = ["k1", "k2", "k3"];

fn signer(issuer: usize, number: usize) -> Key {
    Key { kid: KEY_IDS[number], ..key(SIGNERS[issuer][number]) }
}

/// A JWT that was signed, and what is known about it.
struct Minted {
    text: String,
    /// The issuer that it names, and the key that signed it: another's, perhaps.
    issuer: usize,
    signer: (usize, usize),
    subject: String,
    not_before: u64,
    expires_at: u64,
    /// Nothing but its time and its key can be wrong with it.
    is_sound: bool,
}

static MINTED: LazyLock<Vec<Minted>> = LazyLock::new(|| {
    let mut minted: Vec<Minted> = Vec::new();
    let mut mint = |issuer: usize, signer_of: usize, number: usize, header: Value, claims: Value| {
        let subject = format!("jwt{}", minted.len());
        let base = json!({"iss": ISSUERS[issuer], "sub": subject, "iat": null, "exp": FAR_FUTURE});
        let claims = with(base, claims);
        let time = |name: &str| claims.get(name).and_then(Value::as_u64).unwrap_or_default();
        minted.push(Minted {
            issuer,
            signer: (signer_of, number),
            subject,
            not_before: time("nbf"),
            expires_at: time("exp"),
            is_sound: claims.get("aud").is_none() && claims.get("cnf").is_none() && header.get("typ").is_none(),
            text: signer(signer_of, number).token_with(header, claims),
        });
    };
    for issuer in 0..ISSUERS.len() {
        for number in 0..KEY_IDS.len() {
            mint(issuer, issuer, number, json!({}), json!({}));
            mint(issuer, issuer, number, json!({"kid": null}), json!({"exp": NOW + 300}));
            mint(issuer, (issuer + 1) % ISSUERS.len(), number, json!({}), json!({}));
        }
        mint(issuer, issuer, 0, json!({}), json!({"nbf": NOW + 200}));
        mint(issuer, issuer, 0, json!({}), json!({"exp": NOW - 10}));
        mint(issuer, issuer, 0, json!({}), json!({"aud": "other"}));
        mint(issuer, issuer, 0, json!({}), json!({"cnf": {"jkt": "x"}}));
        mint(issuer, issuer, 0, json!({"typ": "logout+jwt"}), json!({}));
        mint(issuer, issuer, 0, json!({"kid": "unheard-of"}), json!({}));
    }
    minted
});

const FAR_FUTURE: u64 = 4_000_000_000;

const OPAQUE: [&str; 6] = ["opaque0", "opaque1", "opaque2", "opaque3", "a.b.c", "worthless"];

// ---------------------------------------------------------------------------------------------- the world

struct World {
    scene: Scene,
    issuers: Vec<Issuer>,
    sources: Vec<Value>,
    policy: Value,
    /// Tokens that an honest answer calls inactive.
    revoked: BTreeSet<String>,
    /// What issuers last said about tokens, if that was a yes.
    said: BTreeMap<(usize, String), Said>,
    sayings: usize,
    undecided: BTreeMap<StreamId, Sent>,
    calls_seen: usize,
    ends: Ends,
}

struct Issuer {
    url: &'static str,
    config: Rc<oidc_filter::config::Provider>,
    /// The keys that an honest answer lists.
    published: BTreeSet<usize>,
    /// The last key set that the filter took, and until when it may serve; `None` is for ever.
    believed: Option<(JwkSet, Option<Timestamp>)>,
}

/// An answer that calls a token active.
struct Said {
    claims: Value,
    at: Timestamp,
    cache: Duration,
    by_introspection: bool,
}

/// A request as the client sent it.
struct Sent {
    /// All that may hold a token, decoded.
    text: Vec<u8>,
    has_credentials: bool,
    /// The providers whose tokens may be where these were.
    bound_to: Vec<Option<String>>,
    is_preflight: bool,
    path: &'static str,
}

impl World {
    fn new(script: &mut Script) -> Self {
        let count = 1 + script.below(ISSUERS.len());
        let providers: Vec<Value> = (0..count).map(|index| provider(script, index)).collect();
        let name = |index: usize| ISSUERS[index].trim_start_matches("https://");
        let sources = match script.below(5) {
            0 | 1 => json!([{"key": "authorization"}]),
            2 => {
                json!([{"key": "authorization"}, {"location": "cookie", "key": "t"}, {"location": "query_string", "key": "t"}])
            }
            3 => json!([{"key": "x-token"}, {"location": "metadata", "key": "t", "metadata_filter": "n"}]),
            _ => json!([
                {"key": "authorization", "provider": name(0)}, {"location": "cookie", "key": "t", "provider": name(count - 1)},
            ]),
        };
        let policy = json!({
            "enforce": !script.once_in(3),
            "allow_missing": script.once_in(3),
            "allow_preflight": script.once_in(3),
            "forward": !script.once_in(3),
        });
        let outputs = json!({
            "claim_headers": [{"header": "x-user", "claim": "sub"}],
            "user_info": [
                {"key": "identity"}, {"location": "cookie", "key": "who", "claims": "sub"},
                {"location": "query_string", "key": "who", "claims": "sub"}, {"location": "metadata", "key": "who"},
            ],
            "providers": providers, "access_token": sources,
            "rules": [
                {"match": {"path_prefix": "/public"}, "bypass": true},
                {"match": {"path_prefix": "/admin"}, "require": {"scopes": "admin"}},
            ],
        });
        let configuration = with(policy.clone(), outputs).to_string();
        let config = Config::read(configuration.as_bytes(), &|_: &str| None);
        let config = Rc::new(config.unwrap_or_else(|error| panic!("{error}\n{configuration}")));
        let issuers = config.providers.iter().enumerate().map(|(index, config)| Issuer {
            url: ISSUERS[index],
            believed: config.jwks.inline.is_some().then(|| (key_set(&inline_keys(index)), None)),
            config: Rc::clone(config),
            published: BTreeSet::from([0]),
        });
        Self {
            issuers: issuers.collect(),
            scene: Scene::with(config),
            sources: sources.as_array().unwrap().clone(),
            policy,
            revoked: BTreeSet::new(),
            said: BTreeMap::new(),
            sayings: 0,
            undecided: BTreeMap::new(),
            calls_seen: 0,
            ends: Ends::default(),
        }
    }

    fn event(&mut self, script: &mut Script) {
        let (open, ended) = self.scene.open_and_ended();
        match script.below(16) {
            0..=5 => self.request(script),
            6..=9 if open > 0 => self.answer(script.below(open.min(256)), script),
            10 if ended > 0 => {
                // What comes a second time says nothing, whatever it says.
                let lie = json!({"active": true, "sub": "twice", "aud": AUDIENCE, "keys": [key("stranger").jwk()]});
                self.scene.answer_again(script.below(ended.min(256)), Some(json_answer(&lie)));
            }
            11 if !self.undecided.is_empty() => {
                let stream = *self.undecided.keys().nth(script.below(self.undecided.len().min(256))).unwrap();
                self.undecided.remove(&stream);
                self.scene.leave(stream);
            }
            12 => {
                let step = Duration::from_millis(*script.one_of(&[1, 999, 5_000, 31_000, 61_000, 400_000, 90_000_000]));
                let now = self.scene.now();
                self.scene.set_clock(match script.below(16) {
                    0..=3 => now.saturating_sub(step),
                    4 => Timestamp::from_unix_seconds(NOW),
                    5 if script.once_in(4) => Timestamp::MAX,
                    6 if script.once_in(4) => Timestamp::default(),
                    _ => now.saturating_add(step),
                });
                if script.below(4) > 0 {
                    self.scene.only_tick();
                }
            }
            13 => {
                let issuer = script.below(self.issuers.len());
                let number = script.below(KEY_IDS.len());
                let published = &mut self.issuers[issuer].published;
                if !published.remove(&number) {
                    published.insert(number);
                }
            }
            14 => {
                let token = self.some_token(script);
                if !self.revoked.remove(&token) {
                    self.revoked.insert(token);
                }
            }
            _ => {
                let next = self.scene.filter.next_tick(self.scene.now());
                self.scene.set_clock(self.scene.now().saturating_add(next));
                self.scene.only_tick();
            }
        }
    }

    fn some_token(&self, script: &mut Script) -> String {
        match script.once_in(3) {
            true => script.one_of(&OPAQUE).to_string(),
            false => script.one_of(&MINTED).text.clone(),
        }
    }

    // ------------------------------------------------------------------ requests

    fn request(&mut self, script: &mut Script) {
        let path =
            *script.one_of(&["/p", "/p?who=forged&a", "/p?WH%4f[]=forged", "/", "*", "/admin", "/public/a?who=forged"]);
        let mut ask = get(path);
        for forgery in ["x-user", "x_user", "X.User", "identity", "x-oidc-metadata-who"] {
            if script.once_in(4) {
                ask = ask.header(forgery, "forged");
            }
        }
        if script.once_in(4) {
            ask = ask.header("cookie", "a=1; who=forged; b");
        }
        let is_preflight = script.once_in(6);
        if is_preflight {
            ask = ask.set(":method", Some("OPTIONS"));
            ask = ask.header("origin", "o").header("access-control-request-method", "GET");
        }
        let count = *script.one_of(&[1, 1, 1, 1, 1, 1, 2, 0]);
        let mut text = Vec::new();
        let mut metadata = None;
        let mut bound_to = Vec::new();
        for _ in 0..count {
            let mut token = self.some_token(script).into_bytes();
            if script.once_in(8) {
                token = script.damage(&token);
            }
            text.extend_from_slice(&token);
            text.push(b'\n');
            let source = script.one_of(&self.sources).clone();
            let name = source["key"].as_str().unwrap();
            bound_to.push(source["provider"].as_str().map(str::to_owned));
            ask = match source["location"].as_str() {
                Some("cookie") => ask.header("cookie", [b"a=b; t=", &*token].concat()),
                Some("query_string") => ask
                    .set(":path", None)
                    .header(":path", [path.split('?').next().unwrap().as_bytes(), b"?a=b&t=", &*token].concat()),
                Some("metadata") => {
                    metadata = Some(String::from_utf8_lossy(&token).into_owned());
                    ask
                }
                _ if name == "authorization" => {
                    let scheme: &[u8] = script.one_of(&["Bearer ", "bearer  ", "Bearer ", "Basic "]).as_bytes();
                    ask.header(name, [scheme, &*token].concat())
                }
                _ => ask.header(name, token),
            };
        }
        if self.sources.iter().any(|source| source["location"] == "metadata") {
            ask = ask.metadata(metadata.as_deref());
        }
        let stream = self.scene.begin(ask);
        let text = percent_decode(&text).collect();
        self.undecided.insert(stream, Sent { text, has_credentials: count > 0, bound_to, is_preflight, path });
    }

    // ------------------------------------------------------------------ answers

    fn answer(&mut self, index: usize, script: &mut Script) {
        let call = self.scene.open_call(index).clone();
        let honest = self.honest_answer(&call);
        let response = match script.below(12) {
            0 => None,
            1 => Some(nonsense(script)),
            2 => Some(Response { body: script.damage(&honest.body), ..honest }),
            3 => {
                // A true word about something else.
                let other = script.below(self.scene.open_and_ended().0.min(256));
                let other = self.scene.open_call(other).clone();
                Some(self.honest_answer(&other))
            }
            _ => Some(honest),
        };
        self.deliver(index, response);
    }

    /// Ends a call, and notes what the filter takes from the answer. It says itself for whom and what it was.
    fn deliver(&mut self, index: usize, response: Option<Response>) {
        let call = self.scene.open_call(index).clone();
        let told_before = self.scene.fetched.len();
        self.scene.answer(index, response.clone());
        let taken = self.scene.fetched[told_before..].iter().find(|outcome| outcome.result == "ok").cloned();
        let (Some(outcome), Some(response)) = (taken, response) else { return };
        let now = self.scene.now();
        let number = self.issuers.iter().position(|issuer| *issuer.config.name == *outcome.provider).unwrap();
        let issuer = &mut self.issuers[number];
        assert!(is_at(&call, issuer.url), "{} was asked at {}", outcome.provider, call.url);
        let config = &issuer.config;
        match outcome.kind {
            "jwks" => {
                let settings = &config.jwks;
                let keys = JwkSet::parse(&response.body, Origin::Remote).expect("the filter has taken it");
                let (least, most) = (settings.cooldown.min(settings.cache), settings.cache.max(HOUR));
                let fresh = response.max_age().unwrap_or(settings.cache).max(least).min(most);
                issuer.believed = Some((keys, Some(now.saturating_add(fresh).saturating_add(settings.max_stale))));
            }
            "introspection" | "userinfo" => {
                let by_introspection = outcome.kind == "introspection";
                if by_introspection && response.status != 200 {
                    // It refuses strangers, which says nothing about the token.
                    return;
                }
                let claims: Value = serde_json::from_slice(&response.body).unwrap_or_default();
                let is_yes = match by_introspection {
                    true => claims["active"] == true,
                    false => claims["sub"].as_str().is_some_and(|subject| !subject.is_empty()),
                };
                let cache = if by_introspection { config.introspection.cache } else { config.userinfo.cache };
                let key = (number, token_of(&call).expect("a question about a token has one"));
                match response.status == 200 && is_yes {
                    true => drop(self.said.insert(key, Said { claims, at: now, cache, by_introspection })),
                    false => drop(self.said.remove(&key)),
                }
            }
            _ => {}
        }
    }

    fn honest_answer(&mut self, call: &Call) -> Response {
        let Some(issuer) = self.issuers.iter().position(|issuer| call.url.starts_with(issuer.url)) else {
            return Response { status: 404, ..Response::default() };
        };
        let Issuer { url, published, .. } = &self.issuers[issuer];
        self.sayings += 1;
        let subject = format!("said{}", self.sayings);
        let exp = NOW + [100_000, 100, 1_000][self.sayings % 3];
        let token = token_of(call).unwrap_or_default();
        let is_known = OPAQUE[..5].contains(&&*token) || MINTED.iter().any(|minted| minted.text == token);
        let is_active = is_known && !self.revoked.contains(&token);
        match call.url.trim_start_matches(url) {
            "/.well-known/openid-configuration" => json_answer(&metadata(url)),
            "/jwks" => {
                let keys: Vec<Value> = published.iter().map(|number| signer(issuer, *number).jwk()).collect();
                json_answer(&json!({"keys": keys}))
            }
            "/introspect" => match is_active {
                true => json_answer(&active(json!({"iss": url, "sub": subject, "exp": exp}))),
                false => json_answer(&json!({"active": false})),
            },
            "/userinfo" => match is_active {
                true => json_answer(&json!({"sub": subject})),
                false => Response { status: 401, ..Response::default() },
            },
            _ => Response { status: 404, ..Response::default() },
        }
    }

    // ------------------------------------------------------------------ what is always true

    fn look(&mut self) {
        let next = self.scene.filter.next_tick(self.scene.now());
        let is_busy = self.scene.waiting() > 0;
        let longest = Duration::from_secs(if is_busy { 1 } else { 10 });
        assert!((Duration::from_millis(1)..=longest).contains(&next), "{next:?}, {} wait", self.scene.waiting());

        for call in &self.scene.calls[self.calls_seen..] {
            let shown = token_of(call).and_then(|token| MINTED.iter().find(|minted| minted.text == token));
            if let Some(minted) = shown {
                assert!(is_at(call, ISSUERS[minted.issuer]), "{} gets another's token", call.url);
            }
            assert!(ISSUERS.iter().any(|issuer| is_at(call, issuer)), "{} is called", call.url);
        }
        self.calls_seen = self.scene.calls.len();

        let streams: Vec<StreamId> = self.undecided.keys().copied().collect();
        for stream in streams {
            let seen = self.scene.seen(stream);
            if !seen.is_waiting() {
                let sent = self.undecided.remove(&stream).unwrap();
                self.judge(&sent, seen);
            }
        }
    }

    fn judge(&mut self, sent: &Sent, seen: Seen) {
        let Seen::Upstream(upstream) = seen else {
            self.ends.refused += 1;
            return;
        };
        let forged = upstream.headers.iter().any(|(_, value)| value.contains("forged"));
        assert!(!forged, "{upstream:?}");
        match upstream.result {
            "allowed" => {
                self.ends.allowed += 1;
                // No token has the scope for that.
                assert_ne!(sent.path, "/admin", "{upstream:?}");
                assert!(self.is_proved(sent, &upstream), "{upstream:?}\nfor {}", String::from_utf8_lossy(&sent.text));
            }
            "stripped" => {
                self.ends.stripped += 1;
                assert_eq!(self.policy["enforce"], false);
            }
            "bypassed" if upstream.reason.is_some() => {
                self.ends.bypassed += 1;
                assert!(self.policy["allow_missing"] == true && !sent.has_credentials, "{upstream:?}");
            }
            "bypassed" => {
                self.ends.bypassed += 1;
                let is_preflight = self.policy["allow_preflight"] == true && sent.is_preflight;
                assert!(is_preflight || sent.path.starts_with("/public"), "{upstream:?}");
                if sent.path.starts_with("/public") {
                    return;
                }
            }
            other => panic!("{other}"),
        }
        if upstream.result != "allowed" || self.policy["forward"] == false {
            self.no_token_is_left(&upstream);
        }
    }

    /// Whether somebody who may vouch for the token in this request does so now, for this identity.
    fn is_proved(&self, sent: &Sent, upstream: &Upstream) -> bool {
        let user = upstream.header("x-user").map(|user| percent_decode(user.as_bytes()).collect::<Vec<u8>>());
        let is_user = |subject: Option<&str>| user.as_deref() == subject.map(str::as_bytes);
        let holds = |token: &str| sent.text.split(|octet| *octet == b'\n').any(|sent| contains(sent, token.as_bytes()));
        let (number, issuer) = self
            .issuers
            .iter()
            .enumerate()
            .find(|(_, issuer)| upstream.provider.as_deref() == Some(&*issuer.config.name))
            .expect("who allows has a name");
        let is_at_home = |bound: &Option<String>| bound.as_ref().is_none_or(|bound| *bound == issuer.config.name);
        assert!(sent.bound_to.iter().any(is_at_home), "{upstream:?}");
        let by_key = MINTED.iter().any(|minted| {
            is_user(Some(&minted.subject))
                && holds(&minted.text)
                && minted.issuer == number
                && minted.is_sound
                && self.is_in_time(Some(minted.expires_at), Some(minted.not_before))
                && self.believes(issuer, minted.signer)
        });
        let by_answer = self.said.iter().any(|((asked, token), said)| {
            *asked == number
                && is_user(said.claims["sub"].as_str())
                && holds(token)
                && self.still_holds(said, issuer.url)
        });
        by_key || by_answer
    }

    fn believes(&self, issuer: &Issuer, (signer_of, number): (usize, usize)) -> bool {
        let Some((keys, until)) = &issuer.believed else { return false };
        let jwk = Jwk::parse(&signer(signer_of, number).jwk(), Origin::Remote).unwrap();
        keys.holds(jwk.fingerprint(), Algorithm::EdDsa) && until.is_none_or(|until| self.scene.now() < until)
    }

    fn still_holds(&self, said: &Said, issuer: &str) -> bool {
        let claims = &said.claims;
        let now = self.scene.now();
        let is_fresh = said.at <= now && now <= said.at.saturating_add(said.cache);
        let is_for_us = match &claims["aud"] {
            Value::Null => !said.by_introspection,
            Value::Array(list) => list.contains(&json!(AUDIENCE)),
            one => *one == AUDIENCE,
        };
        let is_theirs = claims.get("iss").is_none_or(|iss| iss == issuer);
        let times = (claims["exp"].as_u64(), claims["nbf"].as_u64());
        // RFC 7662, section 4: from a cache, never beyond `exp`.
        let is_fresh =
            is_fresh && (now == said.at || times.0.is_none_or(|end| now <= Timestamp::from_unix_seconds(end)));
        is_fresh && is_for_us && is_theirs && claims.get("cnf").is_none() && self.is_in_time(times.0, times.1)
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

    // ------------------------------------------------------------------ the end

    fn nobody_answers_any_more(&mut self) {
        // Near the end of time no time goes by.
        if self.scene.now() > Timestamp::from_unix_seconds(FAR_FUTURE - 1_000_000) {
            self.scene.set_clock(Timestamp::from_unix_seconds(NOW));
        }
        let end = self.scene.now().saturating_add(Duration::from_secs(130));
        let mut ticks = 0;
        while self.scene.now() < end {
            let next = self.scene.filter.next_tick(self.scene.now());
            self.scene.set_clock(self.scene.now().saturating_add(next));
            self.scene.only_tick();
            self.look();
            ticks += 1;
            assert!(ticks < 500, "the timer runs hot");
        }
        assert!(self.undecided.is_empty(), "somebody still waits");
    }

    fn all_is_well_again(&mut self) {
        for (number, issuer) in ISSUERS.iter().enumerate() {
            self.scene.provider.add_issuer(issuer, &[signer(number, 0).jwk()]);
        }
        // What a provider said of its keys, and of its dislike for strangers, is believed for so long.
        self.scene.set_clock(self.scene.now().saturating_add(HOUR * 2));
        // Two pauses: keys are not found before the metadata say anew where they are.
        self.scene.pass_seconds(40);
        for number in 0..self.issuers.len() {
            let issuer = &self.issuers[number];
            let (source, bound) = match self.sources[0]["provider"].as_str() {
                Some(_) if number == 0 => (0, Some(0)),
                Some(_) if number == self.issuers.len() - 1 => (1, Some(number)),
                Some(_) => continue,
                None => (0, None),
            };
            let jwt = &MINTED.iter().find(|minted| minted.issuer == number).unwrap().text;
            let takers = self.issuers.iter().filter(|issuer| kind(issuer) != "jwt").count();
            let is_sole_taker = bound.is_some() || self.issuers.len() == 1 || takers == 1;
            let opaque = (kind(issuer) != "jwt" && is_sole_taker && issuer.config.is_online()).then_some("opaque0");
            let heard = active(json!({"iss": issuer.url, "exp": FAR_FUTURE}));
            for token in [Some(jwt.as_str()), opaque].into_iter().flatten() {
                self.scene.provider.tokens.insert(token.to_owned(), heard.clone());
                self.scene.provider.users.insert(token.to_owned(), json!({"sub": "ann"}));
                let ask = match (source, self.sources[0]["key"].as_str()) {
                    (1, _) => get("/").header("cookie", format!("t={token}")),
                    (_, Some("x-token")) => get("/").header("x-token", token).metadata(None),
                    _ => bearer(token),
                };
                let seen = self.scene.send(ask);
                let Seen::Upstream(upstream) = &seen else { panic!("{}: {token}: {seen:?}", issuer.url) };
                assert_eq!(upstream.result, "allowed", "{}: {token}: {upstream:?}", issuer.url);
                self.ends.healed += 1;
            }
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

fn kind(issuer: &Issuer) -> &'static str {
    use oidc_filter::config::Validation;
    match issuer.config.validation {
        Validation::Auto => "auto",
        Validation::Introspection => "introspection",
        Validation::Jwt => "jwt",
        Validation::Userinfo => "userinfo",
    }
}

fn provider(script: &mut Script, index: usize) -> Value {
    let kind = *script.one_of(&["auto", "jwt", "introspection", "userinfo"]);
    let issuer = ISSUERS[index];
    let base = json!({"issuer": issuer, "audiences": AUDIENCE, "validation": kind});
    let times = [0, 1, 5, 60, 4000];
    let seconds = |script: &mut Script| *script.one_of(&times);
    match kind {
        "introspection" => {
            let introspection = json!({"cache": seconds(script), "negative_cache": seconds(script).min(60)});
            let endpoints = json!([format!("{issuer}/first"), format!("{issuer}/introspect")]);
            let more = match script.below(4) {
                0 => json!({"endpoint": endpoints, "client_id": "c", "client_secret": "s"}),
                1 => json!({"method": "GET"}),
                _ => json!({}),
            };
            with(base, json!({"introspection": with(introspection, more)}))
        }
        "userinfo" => with(base, json!({"userinfo": {"cache": seconds(script)}})),
        _ => {
            let jwks = json!({"cache": seconds(script).max(1), "max_stale": seconds(script), "cooldown": seconds(script).clamp(1, 60)});
            let more = match script.below(6) {
                0 => json!({"inline": {"keys": inline_keys(index)}}),
                1 => json!({"inline": {"keys": inline_keys(index)}, "uri": format!("{issuer}/jwks")}),
                _ => json!({}),
            };
            with(base, json!({"jwks": with(jwks, more)}))
        }
    }
}

fn inline_keys(issuer: usize) -> Vec<Value> {
    vec![signer(issuer, 0).jwk()]
}

fn key_set(keys: &[Value]) -> JwkSet {
    JwkSet::parse(json!({"keys": keys}).to_string().as_bytes(), Origin::Inline).unwrap()
}

/// Whether a call goes to this issuer's host, by whatever scheme: it is the cluster that says how it is reached.
fn is_at(call: &Call, issuer: &str) -> bool {
    let host = |url: &str| url.split('/').nth(2).map(str::to_owned);
    host(&call.url) == host(issuer)
}

/// The token that a call is about.
fn token_of(call: &Call) -> Option<String> {
    let bearer = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
    bearer.map(str::to_owned).or_else(|| call.form().remove("token")).or_else(|| call.query().remove("token"))
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn json_answer(document: &Value) -> Response {
    let headers = Headers::from_pairs([("content-type", "application/json")]);
    Response { status: 200, headers, body: document.to_string().into_bytes() }
}

fn nonsense(script: &mut Script) -> Response {
    let foreign_keys = json!({"keys": [signer(1, 0).jwk()]}).to_string();
    let bodies: [&[u8]; 14] = [
        b"",
        b"{}",
        b"[]",
        b"null",
        b"\xff\xfe\0",
        b"<html>",
        b"{\"keys\":[]}",
        b"{\"active\":\"true\",\"sub\":\"x\"}",
        b"{\"sub\":\"\"}",
        b"{\"issuer\":\"https://evil.example\",\"jwks_uri\":\"https://evil.example/k\"}",
        b"{\"issuer\":\"https://idp.example.com\",\"jwks_uri\":\"https://other.example/jwks\"}",
        b"{\"active\":true,\"active\":true,\"sub\":\"x\"}",
        b"{\"active\":true,\"sub\":\"x\",\"aud\":\"https://api.example.com\",\"exp\":1e300}",
        foreign_keys.as_bytes(),
    ];
    let status = *script.one_of(&[200, 200, 200, 200, 0, 204, 302, 400, 401, 403, 404, 500, 503, 999]);
    let media_type = *script.one_of(&["application/json", "application/json", "text/html", "", "\u{e9}"]);
    let control = *script.one_of(&["", "max-age=0", "max-age=99999999999", "no-store", "max-age=x"]);
    let headers = Headers::from_pairs([("content-type", media_type), ("cache-control", control)]);
    let body = match script.once_in(4) {
        true => script.octets(100).to_vec(),
        false => script.one_of(&bodies).to_vec(),
    };
    Response { status, headers, body }
}

pub fn seeds() -> Vec<Vec<u8>> {
    (1..=24).map(scribbled).collect()
}

/// A script that is the same on every run.
pub fn scribbled(seed: u64) -> Vec<u8> {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let length = 200 + noise.below(1200);
    (0..length).map(|_| noise.below(256) as u8).collect()
}
