//! What clients send, and what other proxies ask.

use super::World;
use super::setting::{Lawless, Verify, Way};
use super::tokens::{MINTED, OPAQUE, favourite};
use crate::scene::{Ask, get};
use crate::targets::script::Script;
use oidc_filter::filter::StreamId;
use oidc_filter::time::Timestamp;
use percent_encoding::percent_decode;
use serde_json::{Value, json};

/// A request as the client sent it.
pub struct Sent {
    /// All that may hold a token, decoded.
    pub text: Vec<u8>,
    /// The token, if there is one, in one piece.
    pub token: Option<String>,
    pub has_credentials: bool,
    /// The providers whose tokens may be where these were.
    pub bound_to: Vec<Option<String>>,
    pub is_preflight: bool,
    /// The request line: of the request that is asked about, if this is a question.
    pub method: &'static str,
    pub host: &'static str,
    pub path: Vec<u8>,
    pub way: Way,
    /// Another proxy asks.
    pub is_check: bool,
    /// It doesn't say what it is about.
    pub is_garbled: bool,
    /// Which policy is for it.
    pub law: Result<usize, Lawless>,
    /// How much had been said about tokens by then.
    pub began: usize,
    pub began_at: Timestamp,
    /// How often the clock had gone back.
    pub set_backs: usize,
    /// How much of that had been told to authorizers.
    pub consulted: usize,
}

impl Sent {
    /// Whether its path can be read in two ways: it is none, or has a fragment.
    pub fn is_odd(&self) -> bool {
        !self.path.starts_with(b"/") || self.path.contains(&b'#')
    }

    /// The request line as an authorizer is told: without the token and what the client has made up. It hears only of good
    /// tokens, so that no damaged one is in the query.
    pub fn line(&self) -> Value {
        let path = String::from_utf8_lossy(&self.path);
        let is_told = |parameter: &&str| !["t=", "who=", "WH%4f[]="].iter().any(|name| parameter.starts_with(name));
        let path = match path.split_once('?') {
            None => path.into_owned(),
            Some((path, query)) => {
                let told: Vec<&str> = query.split('&').filter(is_told).collect();
                if told.is_empty() { path.to_owned() } else { format!("{path}?{}", told.join("&")) }
            }
        };
        json!({"method": self.method, "host": self.host, "port": "443", "path": path})
    }
}

const HOST: &str = "api.example.com";
const OTHER_HOST: &str = "other.example.com";

impl World {
    pub fn some_token(&self, script: &mut Script) -> String {
        // Some come again and again, so that what is kept about them is of use.
        if script.once_in(3) {
            let last = if script.once_in(2) { 1 } else { OPAQUE.len() };
            return script.one_of(&OPAQUE[..last]).to_string();
        }
        if script.once_in(2) {
            let issuer = script.below(self.issuers.len());
            return favourite(self.issuers[issuer].home).text.clone();
        }
        let is_stranger = script.once_in(8);
        let known = |home: usize| self.issuers.iter().any(|issuer| issuer.home == home);
        let choice: Vec<_> = MINTED.iter().filter(|minted| is_stranger || known(minted.issuer)).collect();
        script.one_of(&choice).text.clone()
    }

    pub fn request(&mut self, script: &mut Script) {
        let verify = self.verify.filter(|_| script.once_in(3));
        let paths: &[&str] =
            &["/p", "/p?who=forged&a", "/p?WH%4f[]=forged", "/", "/admin", "/public/a?who=forged", "*"];
        // Behind the path of a question, `*` would make another path of it.
        let paths = if verify.is_some() { &paths[..paths.len() - 1] } else { paths };
        let path = *script.one_of(paths);
        let mut ask = get(path);
        for forgery in ["x-user", "x_user", "X.User", "identity", "x-oidc-metadata-who"] {
            if script.once_in(4) {
                ask = ask.header(forgery, "forged");
            }
        }
        let has_cookie = script.once_in(4);
        if has_cookie {
            ask = ask.header("cookie", "a=1; who=forged; b");
        }
        let is_preflight = script.once_in(6);
        let method = if is_preflight { "OPTIONS" } else { "GET" };
        if is_preflight {
            ask = ask.header("origin", "o").header("access-control-request-method", "GET");
        }
        let (mut ask, mut sent) = self.with_tokens(script, ask, path);
        // A browser sends neither cookies nor credentials with one.
        (sent.is_preflight, sent.method) = (is_preflight && !has_cookie && !sent.has_credentials, method);
        if self.laws.reads_routes() {
            sent.way = self.some_way(script);
            ask = sent.way.name.map_or(ask.clone(), |name| ask.route(name));
            ask = sent.way.rule.map_or(ask.clone(), |name| ask.rule(name));
        }
        let stream = match verify {
            None => self.scene.begin(ask.set(":method", Some(method)).set(":path", None).header(":path", &sent.path)),
            Some(verify) => self.ask_about(script, verify, ask, &mut sent),
        };
        sent.law = self.laws.find(&sent.path, sent.way);
        self.lines.insert(sent.line().to_string());
        if self.scene.seen(stream).is_waiting() {
            self.may_wait(&sent);
        }
        self.undecided.insert(stream, sent);
    }

    /// Puts tokens where they may be, or damaged ones, or two.
    fn with_tokens(&mut self, script: &mut Script, mut ask: Ask, path: &str) -> (Ask, Sent) {
        let count = *script.one_of(&[1, 1, 1, 1, 1, 1, 2, 0]);
        let mut text = Vec::new();
        let mut metadata = None;
        let mut bound_to = Vec::new();
        let mut only = None;
        let mut path = path.as_bytes().to_vec();
        for _ in 0..count {
            let token = self.some_token(script);
            only = (count == 1).then(|| token.clone());
            let mut token = token.into_bytes();
            if script.once_in(8) {
                token = script.damage(&token);
                only = None;
            }
            text.extend_from_slice(&token);
            text.push(b'\n');
            let source = script.one_of(&self.sources).clone();
            let name = source["key"].as_str().unwrap();
            bound_to.push(source["provider"].as_str().map(str::to_owned));
            ask = match source["location"].as_str() {
                Some("cookie") => ask.header("cookie", [b"a=b; t=", &*token].concat()),
                Some("query_string") => {
                    let bare = path.split(|octet| *octet == b'?').next().unwrap();
                    path = [bare, b"?a=b&t=", &*token].concat();
                    ask
                }
                Some("metadata") => {
                    metadata = Some(String::from_utf8_lossy(&token).into_owned());
                    ask
                }
                _ if name == "authorization" => {
                    let scheme = *script.one_of(&["Bearer ", "bearer  ", "Bearer ", "Basic "]);
                    only = only.filter(|_| scheme != "Basic ");
                    ask.header(name, [scheme.as_bytes(), &*token].concat())
                }
                _ => ask.header(name, token),
            };
        }
        if self.sources.iter().any(|source| source["location"] == "metadata") {
            ask = ask.metadata(metadata.as_deref());
        }
        let sent = Sent {
            text: percent_decode(&text).collect(),
            token: only,
            has_credentials: count > 0,
            bound_to,
            is_preflight: false,
            method: "GET",
            host: HOST,
            path,
            way: Way::default(),
            is_check: false,
            is_garbled: false,
            law: Err(Lawless),
            began: self.sayings,
            began_at: self.scene.now(),
            set_backs: self.set_backs,
            consulted: self.consulted.len(),
        };
        (ask, sent)
    }

    /// Asks about the request instead of sending it, as a proxy does; or as one that is not set up for it.
    fn ask_about(&mut self, script: &mut Script, verify: Verify, ask: Ask, sent: &mut Sent) -> StreamId {
        sent.is_check = true;
        let path = sent.path.clone();
        if !verify.by_headers {
            let ask = ask.set(":method", Some(sent.method)).set(":path", None);
            if script.once_in(6) {
                // About itself, which is nobody's rule.
                sent.is_garbled = !self.laws.is_empty();
                let query = path.iter().position(|octet| *octet == b'?').unwrap_or(path.len());
                sent.path = [b"/verify", &path[query..]].concat();
                return self.scene.begin(ask.header(":path", &sent.path));
            }
            return self.scene.begin(ask.header(":path", [b"/verify", &*path].concat()));
        }
        let asked = *script.one_of(&["/verify", "/verify/", "/verify/public", "/verify?a"]);
        let mut ask = ask.set(":method", Some("GET")).set(":path", Some(asked));
        let mut told = vec![("x-original-method", sent.method.as_bytes()), ("x-original-uri", &path)];
        if verify.with_host {
            sent.host = OTHER_HOST;
            told.push(("x-original-host", OTHER_HOST.as_bytes()));
        }
        match script.below(12) {
            0 => drop(told.remove(script.below(told.len()))),
            1 => told.push(told[script.below(told.len())]),
            2 => told[1].1 = b"",
            _ => {}
        }
        let once = |name: &str| told.iter().filter(|(n, value)| *n == name && !value.is_empty()).count() == 1;
        let all = ["x-original-method", "x-original-uri", "x-original-host"];
        let wanted = if verify.with_host { &all[..] } else { &all[..2] };
        sent.is_garbled = !wanted.iter().all(|name| once(name)) || told.len() > wanted.len();
        for (name, value) in told {
            ask = ask.header(name, value);
        }
        self.scene.begin(ask)
    }

    pub fn some_way(&self, script: &mut Script) -> Way {
        let name = *script.one_of(&[None, Some("r1"), Some("r2")]);
        let rule = match script.below(6) {
            0 if self.laws.has_names() => Some("named"),
            1 if self.laws.has_names() && script.once_in(4) => Some("nobody's"),
            _ => None,
        };
        Way { name, rule }
    }
}
