//! The filter as a program, for `tests/readers`: what leaves it is read by those who read requests behind it.
//!
//! The first line of its output holds a key set and a token by one of these keys. Then it answers each line of its input with a
//! line. An object is a configuration; a list is requests, each with the index of its configuration, and the answer a list of
//! what became of them. A character stands for an octet, so that any octet can stand in JSON.

#[path = "../support/mod.rs"]
mod support;

use oidc_filter::config::Config;
use oidc_filter::decision::{Decision, Forward, Meaning};
use oidc_filter::filter::{Filter, StreamId};
use oidc_filter::http::{Edit, Headers, Request};
use oidc_filter::time::Timestamp;
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::io::{BufRead as _, Write as _, stdin, stdout};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use support::{Signing, sign};

const NOW: u64 = 1_800_000_000;

fn main() {
    let mut filters: Vec<Filter> = Vec::new();
    say(&greeting());
    for line in stdin().lock().lines() {
        let line: Value = serde_json::from_str(&line.unwrap()).unwrap();
        match line {
            Value::Array(requests) => {
                let answers: Vec<Value> = requests.iter().map(|request| answer(&mut filters, request)).collect();
                say(&Value::Array(answers));
            }
            configuration => match Config::read(configuration.to_string().as_bytes(), &no_variable) {
                Ok(config) => {
                    filters.push(Filter::new(Rc::new(config), "oidc"));
                    say(&json!(filters.len() - 1));
                }
                Err(error) => say(&json!({"error": error.to_string()})),
            },
        }
    }
}

fn say(line: &Value) {
    let mut out = stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

fn greeting() -> Value {
    let key = Signing::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[7; 32]));
    let claims = json!({
        "iss": "https://idp.example.com", "aud": "https://api.example.com", "sub": "ann", "name": "Ann Lee", "email": "ann+b@c.d",
        "client_id": "client", "jti": "1", "iat": NOW - 60, "exp": NOW + 3600,
    });
    let header = json!({"alg": "EdDSA", "kid": "k1", "typ": "at+jwt"});
    json!({"keys": [key.jwk("k1")], "token": sign(&key, "EdDSA", header.to_string(), claims.to_string())})
}

fn answer(filters: &mut [Filter], asked: &Value) -> Value {
    let filter = &mut filters[usize::deserialize(&asked["filter"]).unwrap()];
    let headers: Vec<(String, String)> = Vec::deserialize(&asked["headers"]).unwrap();
    let headers: Vec<(Vec<u8>, Vec<u8>)> = headers.iter().map(|(name, value)| (octets(name), octets(value))).collect();
    let request = Request { headers: Headers::from_pairs(headers.iter().cloned()), ..Request::default() };
    let stream = StreamId(1);
    let decided =
        catch_unwind(AssertUnwindSafe(|| filter.on_request(stream, request, Timestamp::from_unix_seconds(NOW))));
    filter.on_closed(stream);
    filter.take_effects();
    match decided {
        Ok(Decision::Forward(forward)) => forwarded(headers, forward),
        Ok(Decision::Answer(answered)) => match answered.meaning {
            Meaning::Denied(reason) => {
                json!({"result": "denied", "status": answered.answer.status, "reason": reason.as_str()})
            }
            Meaning::Confirmed => {
                let of_caches = |name: &str| name == "cache-control";
                let headers = answered.answer.headers.iter().filter(|(name, _)| !of_caches(name));
                let headers = headers.map(|(name, value)| json!([&**name, characters(value)]));
                json!({"result": "confirmed", "headers": headers.collect::<Vec<_>>()})
            }
            Meaning::Preflight => json!({"result": "preflight"}),
            Meaning::Document => json!({"result": "document"}),
        },
        Ok(Decision::Wait) => json!({"result": "waits"}),
        Err(_) => json!({"result": "panics"}),
    }
}

/// The request as the upstream gets it.
fn forwarded(mut headers: Vec<(Vec<u8>, Vec<u8>)>, forward: Forward) -> Value {
    for edit in forward.edits {
        match edit {
            Edit::Remove(name) => headers.retain(|(n, _)| *n != name),
            Edit::Set(name, value) => {
                headers.retain(|(n, _)| n != name.as_bytes());
                headers.push((name.as_bytes().to_vec(), value));
            }
            Edit::Add(name, value) => headers.push((name.as_bytes().to_vec(), value)),
        }
    }
    let headers = headers.iter().map(|(name, value)| json!([characters(name), characters(value)]));
    json!({"result": forward.outcome.result.as_str(), "headers": headers.collect::<Vec<_>>()})
}

fn octets(text: &str) -> Vec<u8> {
    text.chars().map(|character| u8::try_from(character).unwrap()).collect()
}

fn characters(octets: &[u8]) -> String {
    octets.iter().copied().map(char::from).collect()
}

fn no_variable(_: &str) -> Option<String> {
    None
}
