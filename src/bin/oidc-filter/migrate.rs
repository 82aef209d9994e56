//! `migrate`: what another filter was configured with, as a configuration of this one, and all that does not carry over.
//!
//! A field that nobody has asked for is told, too: nothing of theirs is left out in silence. The pages of `docs/migrate` show each
//! system's example; what they show as ours is what this makes of it, held by `tests/cli`.

mod authservice;
mod istio;
mod jwt_authn;
mod matching;
mod merging;
mod oauth2_proxy;
mod policies;
mod settings;
mod toolbox;

use crate::emit;
use crate::file::File;
use crate::packed::unpacked;
use crate::words::plain;
use crate::yaml::{self, Data, Node};
use clap::ValueEnum;
use oidc_filter::config::Config;
use serde_json::json;
use std::cell::RefCell;

#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
pub enum System {
    /// Envoy's filter: its entry in http_filters, or a whole bootstrap
    #[value(name = "jwt_authn")]
    JwtAuthn,
    /// Istio's RequestAuthentication, with AuthorizationPolicies
    RequestAuthentication,
    /// oauth2-proxy: its configuration file, its flags, or its environment
    #[value(name = "oauth2-proxy")]
    OAuth2Proxy,
    /// Arrikto's OIDC AuthService: its environment
    #[value(name = "authservice")]
    AuthService,
    /// MCP Toolbox: an authService of the type generic
    Toolbox,
}

/// What came of it.
pub struct Migration {
    pub configuration: Node,
    /// What lets more pass than theirs, until somebody writes it by hand.
    pub widened: Vec<String>,
    /// What else does not carry over, or is to be looked at.
    pub notes: Vec<String>,
}

/// Makes a configuration of files that belong together.
pub fn migrate(system: System, files: &[File]) -> Result<Migration, String> {
    let notes = Notes::default();
    let configuration = match system {
        System::JwtAuthn => jwt_authn::migrate(&documents(files)?, &notes),
        System::RequestAuthentication => istio::migrate(&documents(files)?, &notes),
        System::OAuth2Proxy => oauth2_proxy::migrate(files, &notes),
        System::AuthService => authservice::migrate(files, &notes),
        System::Toolbox => toolbox::migrate(&documents(files)?, &notes),
    };
    let configuration = configuration.map_err(|problem| match files {
        // What was not found is in none of several.
        [file] if !problem.starts_with(file.name.as_str()) => format!("{}: {problem}", file.name),
        _ => problem,
    })?;
    let read = Config::read(configuration.to_json().to_string().as_bytes(), &|_: &str| Some("variable".to_owned()));
    if let Err(error) = read {
        notes.add(format!("the filter does not take this yet: {error}"));
    }
    Ok(Migration { configuration, widened: sorted(notes.widened), notes: sorted(notes.others) })
}

/// All documents of these files, and what is packed in them.
fn documents(files: &[File]) -> Result<Vec<Node>, String> {
    let mut found = Vec::new();
    for file in files {
        found.extend(unpacked(yaml::read(&file.text).map_err(|fault| fault.told(&file.name))?));
    }
    Ok(found)
}

fn sorted(notes: RefCell<Vec<String>>) -> Vec<String> {
    let mut notes = notes.into_inner();
    notes.sort();
    notes.dedup();
    notes
}

impl Migration {
    pub fn to_yaml(&self) -> String {
        let listed = |head: &str, notes: &[String]| {
            let lines: String = notes.iter().map(|note| format!("# - {}\n", plain(note))).collect();
            if notes.is_empty() { String::new() } else { format!("# {head}:\n{lines}") }
        };
        let widened = listed("Lets pass what theirs refuses, until it is written by hand", &self.widened);
        let notes = listed("Not carried over, or to be looked at", &self.notes);
        format!("{widened}{notes}{}", emit::block(&self.configuration, 0))
    }

    pub fn to_json(&self) -> serde_json::Value {
        json!({"configuration": self.configuration.to_json(), "widened": self.widened, "notes": self.notes})
    }
}

#[derive(Default)]
struct Notes {
    widened: RefCell<Vec<String>>,
    others: RefCell<Vec<String>>,
}

impl Notes {
    fn add(&self, note: impl Into<String>) {
        self.others.borrow_mut().push(note.into());
    }

    /// Of something without which more passes than with theirs.
    fn widen(&self, note: impl Into<String>) {
        self.widened.borrow_mut().push(note.into());
    }
}

/// An object of theirs: what is asked for is used, and the rest is told.
struct Theirs<'n> {
    node: &'n Node,
    path: String,
    notes: &'n Notes,
    used: RefCell<Vec<String>>,
}

impl<'n> Theirs<'n> {
    fn of(node: &'n Node, path: &str, notes: &'n Notes) -> Self {
        Self { node, path: path.to_owned(), notes, used: RefCell::default() }
    }

    fn take(&self, name: &str) -> Option<&'n Node> {
        let (key, node) = self.node.entry(name)?;
        self.used.borrow_mut().push(key.name.clone());
        Some(node)
    }

    fn word(&self, name: &str) -> Option<&'n str> {
        self.take(name)?.text()
    }

    /// A text, or each text of a list.
    fn words(&self, name: &str) -> Vec<&'n str> {
        match self.take(name) {
            None => Vec::new(),
            Some(node) => node.text().into_iter().chain(node.list().iter().filter_map(Node::text)).collect(),
        }
    }

    fn flag(&self, name: &str) -> bool {
        self.take(name).is_some_and(Node::is_true)
    }

    fn duration(&self, name: &str) -> Option<String> {
        self.take(name).and_then(duration)
    }

    fn elements(&self, name: &str) -> &'n [Node] {
        self.take(name).map_or(&[], Node::list)
    }

    /// What is of no meaning here, or always so.
    fn skip(&self, names: &[&str]) {
        for name in names {
            self.take(name);
        }
    }

    /// What has no counterpart, with what to do instead.
    fn lose(&self, name: &str, remedy: &str) {
        if self.take(name).is_some() {
            self.notes.add(format!("{}: {remedy}", self.at(name)));
        }
    }

    fn at(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    /// Tells what nobody has asked for; and whether all was asked for.
    fn finish(self) -> bool {
        let mut is_whole = true;
        for (key, _) in self.node.members() {
            if !self.used.borrow().contains(&key.name) {
                self.notes.add(format!("{}: has no counterpart here", self.at(&key.name)));
                is_whole = false;
            }
        }
        is_whole
    }
}

/// A duration of Envoy: a text, or an object with seconds and nanoseconds.
fn duration(node: &Node) -> Option<String> {
    let part = |name: &str| node.get(name).and_then(Node::number);
    match (node.text(), part("seconds"), part("nanos")) {
        (Some(text), ..) => Some(text.to_owned()),
        (None, None, None) => None,
        (None, seconds, nanos) => {
            let milliseconds = seconds.unwrap_or(0.0) * 1e3 + nanos.unwrap_or(0.0) / 1e6;
            Some(format!("{}ms", milliseconds.round()))
        }
    }
}

/// A list of texts.
fn texts<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> Node {
    texts.into_iter().map(|text| Node::from(text.as_ref())).collect()
}

/// A place of tokens.
fn source(location: &str, key: &str) -> Node {
    Node::object([("location", location.into()), ("key", key.into())])
}

/// That tokens of some are read in a place where only those of others are read there: a cookie, say, which a rule for headers keeps out.
fn of_others(place: &Node, theirs: &str, others: &str) -> String {
    let (location, key) = (place.word("location").unwrap_or_default(), place.word("key").unwrap_or_default());
    format!("the {location} {key}: read for the tokens of {theirs} alone there, and for those of {others} here, too")
}

/// A claim by its name, or by the way to it where its name has dots: the field that says so, and what it says.
fn claim(name: &str) -> (&'static str, Node) {
    (if name.contains('.') { "path" } else { "claim" }, name.into())
}

/// Puts a node at the end of a list that does not have it yet.
fn push_new(list: &mut Vec<Node>, node: Node) {
    if !list.iter().any(|other| other.to_json() == node.to_json()) {
        list.push(node);
    }
}

/// A rule for paths that need no token: the field of `match`, and the paths.
fn bypass(field: &str, paths: Node) -> Node {
    Node::object([("match", Node::object([(field, paths)])), ("bypass", true.into())])
}

/// A place of tokens in a header, with its scheme unless that is what the header has by itself.
fn header_source(header: &str, scheme: &str) -> Node {
    let mut place = source("header", header);
    if scheme != if header.eq_ignore_ascii_case("authorization") { "Bearer" } else { "" } {
        place.put("scheme", scheme);
    }
    place
}

/// The audiences of a provider of Envoy or Istio, who take any where none is named.
fn put_audiences(provider: &mut Node, theirs: &Theirs<'_>) {
    let (audiences, path) = (theirs.words("audiences"), theirs.at("audiences"));
    if audiences.is_empty() {
        provider.put("any_audience", true);
        theirs.notes.add(format!("{path}: nobody's: tokens for other services pass, too; name yours"));
    } else {
        tell_spelling(&audiences, &path, theirs.notes);
        provider.put("audiences", texts(audiences));
    }
}

/// Their proxies drop a scheme and a last slash before they compare audiences, which is not done here.
fn tell_spelling(audiences: &[&str], path: &str, notes: &Notes) {
    let is_dropped = |one: &&&str| one.starts_with("http://") || one.starts_with("https://") || one.ends_with('/');
    if let Some(one) = audiences.iter().find(is_dropped) {
        notes.add(format!(
            "{path}: {one} is compared to the letter here; there, `https://`, `http://` and a last slash count for nothing: name each \
             spelling that your tokens have (docs/migrate/envoy-jwt-authn.md)"
        ));
    }
}

/// A text for a regular expression of `regex-lite`: letters of theirs, not signs.
fn quoted(text: &str) -> String {
    text.chars().fold(String::new(), |mut quoted, letter| {
        if ".+*?()|[]{}^$\\".contains(letter) {
            quoted.push_str(&format!("[{letter}]"));
        } else {
            quoted.push(letter);
        }
        quoted
    })
}

/// A key set written as text becomes the object that it is. Algorithms of symmetric keys have to be named.
fn put_keys(provider: &mut Node, text: &str, path: &str, notes: &Notes) {
    let parsed = yaml::read(text).ok().and_then(|mut documents| documents.pop());
    let keys = parsed.filter(|node| matches!(node.data, Data::Map(_))).unwrap_or_else(|| text.into());
    let listed = keys.elements("keys");
    if listed.iter().any(|key| key.word("kty") == Some("oct")) {
        let mut algorithms: Vec<&str> = listed.iter().filter_map(|key| key.word("alg")).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        if listed.iter().all(|key| key.word("alg").is_some()) {
            provider.put("algorithms", texts(algorithms));
        } else {
            notes.add(format!("{path}: a symmetric key: name its algorithm in `algorithms`, such as HS256"));
        }
    }
    provider.put("jwks", Node::object([("inline", keys)]));
}
