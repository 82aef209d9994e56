//! An HTTP filter for Envoy that lets a request through only with a valid OAuth 2.0 access token, and tells the upstream who
//! is asking. It is a proxy-wasm module; this crate is all of it.
//!
//! ```text
//!                    Envoy
//!                      │  bytes in, host calls out
//!   ┌──────────────────▼───────────────────┐
//!   │ edge      proxy-wasm                 │   the only module with a clock, a socket, `unsafe`
//!   └──────────────────┬───────────────────┘
//!        events, time  │  decisions, effects
//!   ┌──────────────────▼───────────────────┐
//!   │ filter    decides, waits, fetches    │   pure: the same events give the same decisions
//!   └──┬─────────┬──────────┬──────────┬───┘
//!      ▼         ▼          ▼          ▼
//!   oauth     provider   policy    upstream, reply
//!   finds     has keys   says what what the service
//!   the token and        a request or the client
//!             answers    needs     gets
//!
//!   provider ──▶ oauth ──▶ config ──▶ jose ──▶ json, time
//! ```
//!
//! | module | what it is about |
//! |---|---|
//! | [`edge`] | proxy-wasm 0.2.1 |
//! | [`edge::wire`] | its form of header lists |
//! | [`filter`], [`decision`] | the decision, and those who wait for one |
//! | [`config`] | what the operator writes |
//! | [`policy::rules`] | which rule a request falls under |
//! | [`policy::operation`] | which operation of an MCP server a request asks for, and what that needs |
//! | [`policy::operation::head`], [`policy::operation::message`], [`policy::operation::fault`] | its headers, its JSON-RPC body, what is wrong with them |
//! | [`policy::operation::uri`] | what the URI of a resource can mean |
//! | [`policy::operation::lists`] | what the server lists, less what the token may not use |
//! | [`policy::requirement`], [`policy::external`] | what a valid token must also have; a service that has the last word |
//! | [`oauth::credentials`] | RFC 6750, section 2: where a token is in a request |
//! | [`oauth::metadata`] | OpenID Connect Discovery, RFC 8414 |
//! | [`oauth::protected_resource`] | RFC 9728 |
//! | [`oauth::introspection`] | RFC 7662 |
//! | [`oauth::dpop`], [`oauth::dpop::replay`], [`oauth::dpop::nonce`] | RFC 9449: that the sender has the key |
//! | [`oauth::certificate`] | RFC 8705: which certificate the sender has |
//! | [`oauth::userinfo`] | OpenID Connect Core, section 5.3 |
//! | [`oauth::diagnosis`] | what is wrong with a provider's answer, in words |
//! | [`provider`] | one issuer's live state |
//! | [`jose::jwt`], [`jose::claims`] | RFC 7519, RFC 8725, RFC 9068; where a value is in claims |
//! | [`jose::jws`] | RFC 7515 |
//! | [`jose::jwk`], [`jose::verifier`] | RFC 7517, RFC 7518, RFC 8037; who does the arithmetic |
//! | [`jose::confirmation`] | RFC 7800: to whose key a token is bound |
//! | [`jose::signing`] | private keys, and what they sign |
//! | [`oauth::client_assertion`], [`oauth::client_authentication`] | RFC 7523; RFC 6749, section 2.3: who we are to a provider |
//! | [`oauth::token_exchange`] | RFC 8693: a token for the service behind |
//! | [`upstream::assertion`], [`upstream::key_set`] | a short signed JWT for the service; what it is checked by |
//! | [`upstream::identity`] | claims into headers, cookies, parameters, metadata |
//! | [`upstream::outputs`] | what came of that, kept with the token |
//! | [`upstream::rewrite`] | what changes on a request, to the byte |
//! | [`reply`] | RFC 6750, section 3: what a refused client gets |
//! | [`reply::cors`] | Fetch standard, section 3.2: what a browser may read of that |
//! | [`http`] | RFC 9110: requests, responses, edits |
//! | [`http::path`], [`http::escapes`], [`http::uri`] | RFC 3986, section 6 |
//! | [`http::names`], [`http::cookie`], [`http::query`] | the filter's own names in a request, wherever a reader could find one |
//! | [`http::websocket`] | RFC 6455, section 11.3.4 |
//! | [`http::caching`] | RFC 9111: who may keep a response that sets a cookie |
//! | [`json`] | RFC 8259, strictly |
//! | [`cache`], [`ordered`], [`table`], [`ports`], [`protobuf`], [`time`] | the few things that all need |
//!
//! # The walk of a request
//!
//! Envoy calls [`edge`] with headers; it hands them to [`Filter::on_request`](filter::Filter::on_request) with the time. Then:
//!
//! | what happens | where |
//! |---|---|
//! | A request for one of the filter's own endpoints is answered | `filter/own.rs` |
//! | The rule is matched, and with it the policy is found | `filter/case.rs`, [`policy::rules`] |
//! | The decision is run: find one token, validate it, check its claims and its binding, what the policy requires, and the authorizer's answer | `filter/authorize.rs` |
//! | A token is validated, by a signature of its issuer's key or by that issuer's answer | `filter/validate.rs` |
//! | What the run noticed is kept, and what a grant costs is spent | `filter/commit.rs` |
//! | A fact is lacking: it is fetched, and the request waits | `filter/waiting.rs`, `filter/calls.rs` |
//! | The fact comes, and is kept for all | `filter/facts.rs`, [`provider`] |
//! | What a candidate policy would have done is found out | `filter/shadow.rs` |
//! | A request passes: the identity is written | `filter/pass.rs`, [`upstream::identity`], [`upstream::rewrite`] |
//! | A refusal becomes a reply | `filter/refuse.rs`, [`reply`] |
//! | The decision is carried out, and counted | [`edge`], `edge/metrics.rs` |
//!
//! Each check gives a value that only it can make: [`oauth::credentials::Credentials`], [`jose::jws::VerifiedPayload`],
//! [`jose::jwt::Claims`], [`jose::jwt::AccessToken`], then a `Grant`, and once that is committed a `Granted`, without which nothing
//! passes.
//!
//! A run of the decision only reads. It is a function of the facts, the request, its policy, what the request has learnt, and the
//! time. It gives a grant, a refusal or a need, and a trail of what it noticed, which metrics, debug lines and candidate policies
//! read. If a fact is lacking (metadata, keys, an answer about a token), it is fetched once for all who lack it. When it
//! comes, or can't be had, the decision is run again from the top. A request asks for each fact once.
//!
//! # What it refuses to do
//!
//! To guess. A token in two places, a JSON member given twice, a claim of the wrong type, a second credential in one
//! header: each is refused, because two readers could read it differently.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a trap takes a worker's VM down: no byte from a client, a provider or an operator may cause one"
)]
#![cfg_attr(test, allow(clippy::arithmetic_side_effects, reason = "tests may count"))]
#![deny(unsafe_code)]
#![warn(missing_docs, unreachable_pub)]

pub mod cache;
pub mod config;
pub mod decision;
#[cfg(feature = "edge")]
pub mod edge;
pub mod filter;
pub mod http;
pub mod jose;
pub mod json;
pub mod oauth;
pub mod ordered;
pub mod policy;
pub mod ports;
pub mod protobuf;
pub mod provider;
pub mod reply;
pub mod table;
pub mod time;
pub mod upstream;
