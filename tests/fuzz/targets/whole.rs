//! The whole filter: clients, other proxies, providers, authorizers and a clock that do what a script says, and what is always
//! true all the same.
//!
//! The octets choose a configuration, and then one event after the other: requests with good, bad and damaged tokens;
//! answers that are honest, damaged, nonsense, late, twice or never; keys and tokens that are withdrawn; endpoints that fail
//! and come back; clients that leave; routes that are not those that were decided on; a clock that jumps. The driver keeps its
//! own, much simpler account of what was said, and holds every decision to it:
//!
//! - A request is allowed only with a proof that holds at this very time: a token signed with a key of its issuer's last
//!   key set, or one that its issuer's last answer about it calls active. The identity is that of this proof. Tenants are
//!   issuers, each of its own.
//! - One without a token passes only where the configuration says so, and then it always does.
//! - A token that is stripped, or that is not to be forwarded, doesn't reach the upstream. A good one is not stripped.
//! - A token is shown to no provider but its own, and to no authorizer; claims are told to it only when they are proved.
//! - Where there is an authorizer, nothing is allowed without its word about this user and this request line; its no is 403,
//!   anything else 503, and neither is ever stripped away.
//! - A question of another proxy is never forwarded. Who asks gets the headers of the one proof, or 401, 403 or 503.
//! - Candidates change nothing: the driver doesn't even know them. Nobody waits for one, or for what is known.
//! - What rests on a route can be held against another, and isn't decided any more once that was of use.
//! - Every request is decided once: the scene checks that, and that no forged identity gets through. When nobody answers
//!   any more, each is decided in the end.
//! - The next tick is never far off, and never so near that the timer runs hot.
//! - When the providers are well again, good tokens pass again, and every endpoint is in use.

mod answers;
mod end;
mod judge;
mod requests;
mod setting;
mod tokens;

use super::script::Script;
use crate::scene::*;
use crate::support::Noise;
use answers::{Said, Verdict, json_answer};
use oidc_filter::config::Config;
use oidc_filter::decision::Case;
use oidc_filter::filter::StreamId;
use oidc_filter::http::Route;
use oidc_filter::jose::jwk::JwkSet;
use oidc_filter::time::Timestamp;
use requests::Sent;
use serde_json::{Value, json};
use setting::{Laws, Setting, Verify};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use tokens::{ISSUERS, KEY_IDS, inline_keys, key_set};

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
    /// Those that another proxy may let pass.
    pub confirmed: usize,
    /// Those that an authorizer allowed, and those that it forbade.
    pub authorized: usize,
    pub forbidden: usize,
    /// Those that were refused because routes are not what they were.
    pub distrusted: usize,
}

impl std::ops::AddAssign for Ends {
    fn add_assign(&mut self, other: Self) {
        self.allowed += other.allowed;
        self.bypassed += other.bypassed;
        self.stripped += other.stripped;
        self.refused += other.refused;
        self.healed += other.healed;
        self.confirmed += other.confirmed;
        self.authorized += other.authorized;
        self.forbidden += other.forbidden;
        self.distrusted += other.distrusted;
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

struct World {
    scene: Scene,
    issuers: Vec<Issuer>,
    sources: Vec<Value>,
    laws: Laws,
    verify: Option<Verify>,
    /// Tokens that an honest answer calls inactive.
    revoked: BTreeSet<String>,
    /// What issuers last said about tokens, if that was a yes.
    said: BTreeMap<(usize, String), Said>,
    /// Every yes.
    history: Vec<((usize, String), Said)>,
    sayings: usize,
    /// What authorizers were asked, each by its URL and the request line, and on the strength of which answer, by its number.
    consulted: Vec<((String, String), usize)>,
    /// How often the clock went back.
    set_backs: usize,
    /// What authorizers last said about questions, each by its URL and its body without the time.
    verdicts: BTreeMap<(String, String), Verdict>,
    /// The request lines that were sent or asked about.
    lines: BTreeSet<String>,
    undecided: BTreeMap<StreamId, Sent>,
    /// The last request that went on and rests on its route.
    forwarded: Option<(Box<Case>, Sent)>,
    calls_seen: usize,
    ends: Ends,
}

struct Issuer {
    /// Which of [`ISSUERS`] it is.
    home: usize,
    config: Rc<oidc_filter::config::ProviderConfig>,
    /// The keys that an honest answer lists.
    published: BTreeSet<usize>,
    /// The places whose endpoints fail.
    down: BTreeSet<&'static str>,
    /// The last key set that the filter took, and until when it may serve; `None` is for ever.
    believed: Option<(JwkSet, Option<Timestamp>)>,
    /// Until when it is fresh: those of a tenant may serve no longer, if nobody had a good token of it.
    fresh_until: Option<Timestamp>,
}

impl Issuer {
    fn kind(&self) -> &'static str {
        use oidc_filter::config::Validation;
        match self.config.validation {
            Validation::Auto => "auto",
            Validation::Introspection => "introspection",
            Validation::Jwt => "jwt",
            Validation::Userinfo => "userinfo",
        }
    }
}

impl World {
    fn new(script: &mut Script) -> Self {
        let Setting { configuration, sources, homes, laws, verify } = Setting::new(script);
        let configuration = configuration.to_string();
        let config = Config::read(configuration.as_bytes(), &|_: &str| None);
        let config = Rc::new(config.unwrap_or_else(|error| panic!("{error}\n{configuration}")));
        let issuers = config.providers.iter().zip(homes).map(|(config, home)| {
            assert_eq!(config.issuer, ISSUERS[home]);
            Issuer {
                home,
                believed: config.jwks[0].inline.is_some().then(|| (key_set(&inline_keys(home)), None)),
                fresh_until: None,
                config: Rc::clone(config),
                published: BTreeSet::from([0]),
                down: if script.once_in(2) { BTreeSet::from(["first"]) } else { BTreeSet::new() },
            }
        });
        Self {
            issuers: issuers.collect(),
            scene: Scene::with(config),
            sources,
            laws,
            verify,
            revoked: BTreeSet::new(),
            said: BTreeMap::new(),
            history: Vec::new(),
            sayings: 0,
            consulted: Vec::new(),
            set_backs: 0,
            verdicts: BTreeMap::new(),
            lines: BTreeSet::new(),
            undecided: BTreeMap::new(),
            forwarded: None,
            calls_seen: 0,
            ends: Ends::default(),
        }
    }

    fn event(&mut self, script: &mut Script) {
        let (open, ended) = self.scene.open_and_ended();
        match script.below(20) {
            0..=6 => self.request(script),
            7..=11 if open > 0 => self.answer(script.below(open.min(256)), script),
            12 if ended > 0 => {
                // What comes a second time says nothing, whatever it says.
                let lie = json!({"active": true, "sub": "twice", "aud": AUDIENCE, "keys": [key("stranger").jwk()]});
                self.scene.answer_again(script.below(ended.min(256)), Some(json_answer(&lie)));
            }
            13 if !self.undecided.is_empty() => {
                let stream = *self.undecided.keys().nth(script.below(self.undecided.len().min(256))).unwrap();
                self.undecided.remove(&stream);
                self.scene.leave(stream);
            }
            14 => {
                let step = Duration::from_millis(*script.one_of(&[1, 999, 5_000, 31_000, 61_000, 400_000, 90_000_000]));
                let now = self.scene.now();
                self.scene.set_clock(match script.below(16) {
                    0..=3 => now.saturating_sub(step),
                    4 => Timestamp::from_unix_seconds(NOW),
                    5 if script.once_in(4) => Timestamp::MAX,
                    6 if script.once_in(4) => Timestamp::default(),
                    _ => now.saturating_add(step),
                });
                self.set_backs += usize::from(self.scene.now() < now);
                if script.below(4) > 0 {
                    self.scene.only_tick();
                }
            }
            15 => {
                let issuer = script.below(self.issuers.len());
                let number = script.below(KEY_IDS.len());
                let published = &mut self.issuers[issuer].published;
                if !published.remove(&number) {
                    published.insert(number);
                }
            }
            16 => {
                let token = self.some_token(script);
                if !self.revoked.remove(&token) {
                    self.revoked.insert(token);
                }
            }
            17 => {
                let issuer = script.below(self.issuers.len());
                let place = *script.one_of(&["first", "second"]);
                let down = &mut self.issuers[issuer].down;
                if !down.remove(place) {
                    down.insert(place);
                }
            }
            18 if self.forwarded.is_some() => self.take_a_route(script),
            _ => {
                let next = self.scene.filter.next_tick(self.scene.now());
                self.scene.set_clock(self.scene.now().saturating_add(next));
                self.scene.only_tick();
            }
        }
    }

    /// The response to a request comes: it says which route was taken, and whether that has the policy that was decided on.
    fn take_a_route(&mut self, script: &mut Script) {
        let Some((case, sent)) = self.forwarded.take() else { return };
        let way = if script.once_in(4) { self.some_way(script) } else { sent.way };
        let bytes = |text: Option<&str>| text.map(|text| text.as_bytes().to_vec());
        let holds = self.scene.filter.holds(&case, Route { name: bytes(way.name), rule: bytes(way.rule) });
        let law = self.laws.find(&sent.path, way);
        assert_eq!(holds, law.is_ok() && law == sent.law, "{law:?} {:?}", sent.law);
        if !holds {
            self.scene.filter.complain_of_route(self.scene.now());
            self.ends.distrusted += 1;
        }
    }
}

const HOUR: Duration = Duration::from_secs(3600);

pub fn seeds() -> Vec<Vec<u8>> {
    (1..=24).map(scribbled).collect()
}

/// A script that is the same on every run.
pub fn scribbled(seed: u64) -> Vec<u8> {
    let mut noise = Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let length = 200 + noise.below(1200);
    (0..length).map(|_| noise.below(256) as u8).collect()
}
