//! Listens to what a scene says, at trace level, for secrets in it; and holds every refusal to RFC 6750's alphabet. What
//! this is for: `silence.rs`.

#![allow(dead_code, reason = "several test programs use this file, each a part of it")]

use crate::scene::challenges;
use log::{LevelFilter, Log, Metadata, Record};
use memchr::memmem::Finder;
use oidc_filter::http::{Answer, Fetch, Request};
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Once;

thread_local! {
    /// Each test has a thread of its own, and so has what is said in it.
    static SAID: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    /// What was said and is no secret, for tests that want to hear something.
    static HARMLESS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
    pub static LINES: Cell<usize> = const { Cell::new(0) };
}

struct Listener;

impl Log for Listener {
    fn enabled(&self, _: &Metadata) -> bool {
        true
    }

    fn log(&self, record: &Record) {
        SAID.with(|said| said.borrow_mut().push(record.args().to_string()));
        LINES.set(LINES.get() + 1);
    }

    fn flush(&self) {}
}

fn listen() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&Listener).unwrap();
        log::set_max_level(LevelFilter::Trace);
    });
}

/// What was said since the last time.
pub fn heard() -> Vec<String> {
    let mut lines = HARMLESS.take();
    lines.extend(SAID.take());
    lines
}

/// A long test says much that nobody wants to hear.
const MOST_LINES: usize = 100;

/// What must not be said: what requests and calls carry where credentials are.
pub struct Secrets {
    /// Each with what finds it, as a text and as a list of bytes.
    texts: BTreeMap<String, [Finder<'static>; 2]>,
    /// Words of the configuration, which tests use in tokens too.
    known: String,
    is_listening: bool,
}

impl Secrets {
    /// Those of a scene with this configuration, which is listened to from now on.
    pub fn of(configuration: &Value) -> Self {
        listen();
        heard();
        Self { texts: BTreeMap::new(), known: configuration.to_string(), is_listening: true }
    }

    /// Those of a scene that nobody listens to: one whose requests are noise, in which any word is somebody's.
    pub fn unknown() -> Self {
        Self { texts: BTreeMap::new(), known: String::new(), is_listening: false }
    }

    /// One more.
    pub fn insert(&mut self, secret: &str) {
        self.texts.insert(secret.to_owned(), finders(secret));
    }

    /// Everything in a request that may be a credential: the values of its headers, and its query.
    pub fn learn_request(&mut self, request: &Request) {
        for (name, value) in request.headers.iter() {
            match name {
                b":path" | b"cookie" => self.learn_values(value),
                b"user-agent" | b"origin" | b"connection" | b"content-type" | b"x-request-id" => {}
                name if name.starts_with(b":") => {}
                _ => self.learn(value),
            }
        }
        request.metadata.iter().flatten().for_each(|value| self.learn(value));
    }

    /// The credentials of a call: its query, its body, and its header Authorization.
    pub fn learn_call(&mut self, fetch: &Fetch) {
        self.learn_values(fetch.endpoint.path.as_bytes());
        for (_, value) in url::form_urlencoded::parse(&fetch.body).filter(|(name, _)| name.contains("secret")) {
            self.texts.insert(value.to_string(), finders(&value));
        }
        for (name, value) in &fetch.headers {
            if *name == "authorization" {
                self.learn(value.as_bytes());
            }
        }
    }

    /// What stands behind each name of a query, or of cookies.
    fn learn_values(&mut self, text: &[u8]) {
        for pair in text.split(|byte| b"?&;".contains(byte)) {
            pair.splitn(2, |byte| *byte == b'=').skip(1).for_each(|value| self.learn(value));
        }
    }

    /// The words of a text, and the parts of a token: long enough to be told from others.
    pub fn learn(&mut self, text: &[u8]) {
        if !self.is_listening {
            return;
        }
        let is_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
        for word in text.split(|byte| !is_token(byte)) {
            let word = str::from_utf8(word).unwrap();
            for part in word.split('.').chain([word]) {
                if part.len() >= 16 && !self.known.contains(part) {
                    self.texts.entry(part.to_owned()).or_insert_with(|| finders(part));
                }
            }
        }
    }

    #[track_caller]
    pub fn are_not_in(&self, text: &str) {
        for (secret, finders) in &self.texts {
            let is_told = finders.iter().any(|finder| finder.find(text.as_bytes()).is_some());
            assert!(!is_told, "{secret} is told: {text}");
        }
    }

    /// Looks at what was said since the last time.
    #[track_caller]
    pub fn were_not_said(&self) {
        for line in SAID.take() {
            self.are_not_in(&line);
            assert!(line.chars().all(|character| !character.is_control()), "a line that is two: {line:?}");
            HARMLESS.with_borrow_mut(|lines| {
                lines.truncate(MOST_LINES);
                lines.insert(0, line);
            });
        }
    }
}

/// Whether a text tells another, as text or as a list of bytes.
pub fn holds(text: &str, secret: &str) -> bool {
    text.contains(secret) || text.contains(&as_bytes(secret))
}

/// Made once: some scenes know thousands of secrets, and every line is held against each.
fn finders(secret: &str) -> [Finder<'static>; 2] {
    [secret.to_owned(), as_bytes(secret)].map(|text| Finder::new(text.as_bytes()).into_owned())
}

fn as_bytes(secret: &str) -> String {
    format!("{:?}", secret.as_bytes()).trim_matches(['[', ']']).to_owned()
}

/// RFC 6750, section 3: what each word of a refusal is made of. Every refusal of every scene is held to it.
#[track_caller]
pub fn check_alphabets(answer: &Answer) {
    let is_text = |byte: u8| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
    let mut names = BTreeSet::new();
    for (name, value) in &answer.headers {
        assert!(names.insert(&**name), "{name} is there twice");
        assert!(value.iter().all(|byte| matches!(byte, 0x20..=0x7e)), "{name}: {value:?}");
    }
    for (name, value) in answer.headers.iter().filter(|(name, _)| **name == *"www-authenticate") {
        let value = std::str::from_utf8(value).unwrap();
        let challenges = challenges(value);
        assert!((1..=2).contains(&challenges.len()), "{name}: {value}");
        for (scheme, parameters) in &challenges {
            assert!(["Bearer", "DPoP"].contains(&scheme.as_str()) && parameters.contains_key("realm"), "{value}");
            assert_eq!(parameters.contains_key("algs"), scheme == "DPoP", "{value}");
            check_parameters(parameters, &is_text, value);
        }
    }
    // gRPC-Web's trailers come behind five octets.
    let is_grpc_web = answer.headers.iter().any(|(_, value)| value == b"application/grpc-web");
    let text = if is_grpc_web { &answer.body[5..] } else { &answer.body };
    assert!(text.iter().all(|byte| matches!(byte, 0x20..=0x7e | b'\r' | b'\n')), "{answer:?}");
}

fn check_parameters(parameters: &BTreeMap<String, String>, is_text: &dyn Fn(u8) -> bool, value: &str) {
    const KNOWN: [&str; 8] =
        ["realm", "scope", "error", "error_description", "algs", "acr_values", "max_age", "resource_metadata"];
    for (name, text) in parameters {
        assert!(name == "realm" || value.matches(&format!(" {name}=\"")).count() == 1, "{value}");
        assert!(KNOWN.contains(&name.as_str()), "{value}");
        let is_allowed = |byte: u8| is_text(byte) && (name != "error" || byte != b' ');
        assert!(!text.is_empty() || name == "realm", "{value}");
        assert!(text.bytes().all(is_allowed), "{value}");
    }
    // One space between scopes, and none around them.
    let scopes = parameters.get("scope").map(|scope| scope.split(' ').any(str::is_empty));
    assert_ne!(scopes, Some(true), "{value}");
}
