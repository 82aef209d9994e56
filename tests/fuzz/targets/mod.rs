//! What is fuzzed, and what must be true of it. Each target takes any octets, and panics if it finds a promise broken.
//!
//! Two drivers share them: `tests/fuzz/main.rs`, a part of `make test`, with the same inputs on every run; and
//! `tests/fuzz/libfuzzer`, which `make fuzz` runs, with inputs that coverage leads to.

mod answer;
mod claims;
mod config;
mod json;
mod keys;
mod mcp;
pub mod memory;
mod path;
mod request;
mod script;
mod signing;
mod token;
pub mod whole;

use crate::scene::Scene;
use oidc_filter::config::Config;
use serde_json::Value;
use std::rc::Rc;

/// A target.
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Does what the octets say.
    pub run: fn(&[u8]),
    /// Octets that are worth beginning with.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// What its inputs are often made of.
    pub alphabet: &'static [u8],
}

/// Every target.
pub const TARGETS: [Target; 11] = [
    Target { name: "answer", run: answer::run, seeds: answer::seeds, alphabet: JSON },
    Target { name: "claims", run: claims::run, seeds: claims::seeds, alphabet: JSON },
    Target { name: "config", run: config::run, seeds: config::seeds, alphabet: JSON },
    Target { name: "json", run: json::run, seeds: json::seeds, alphabet: JSON },
    Target { name: "keys", run: keys::run, seeds: keys::seeds, alphabet: JSON },
    Target { name: "mcp", run: mcp::run, seeds: mcp::seeds, alphabet: JSON },
    Target { name: "path", run: path::run, seeds: path::seeds, alphabet: b"/.%2ef5c\\;?#v0publicopen" },
    Target { name: "request", run: request::run, seeds: request::seeds, alphabet: b"t=;&?#%who[]+/ \"\\,.\0\r\n\xff" },
    Target { name: "signing", run: signing::run, seeds: signing::seeds, alphabet: JSON },
    Target { name: "token", run: token::run, seeds: token::seeds, alphabet: b"ABCabc019-_.= ey" },
    Target { name: "whole", run: whole::run, seeds: whole::seeds, alphabet: b"\0\x01\x02\x03\x07\x10\x40\xff" },
];

const JSON: &[u8] = b"{}[]\",:\\u0019.e- tfn";

/// Lines of text as seeds.
fn lines(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}

/// A filter that has had time to fetch what it wants, and that nobody listens to: a token or a query that is noise may
/// hold the very words of a refusal, and then it isn't the refusal that tells them.
fn unheard(configuration: Value) -> Scene {
    let config = Config::read(configuration.to_string().as_bytes(), &|_: &str| None).unwrap();
    let mut scene = Scene::with(Rc::new(config));
    scene.tick();
    scene
}
