//! An Envoy proxy-wasm filter that proves OAuth 2.0 and OpenID Connect access tokens.
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a trap takes a worker's VM down: no byte from a client, a provider or an operator may cause one"
)]
#![cfg_attr(
    test,
    allow(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::unwrap_used
    )
)]
#![deny(unsafe_code)]
#![warn(missing_docs)]

pub mod cache;
pub mod client_assertion;
pub mod config;
pub mod cookie;
pub mod credentials;
pub mod filter;
pub mod host;
pub mod http;
pub mod identity;
pub mod introspection;
pub mod json;
pub mod jwk;
pub mod jws;
pub mod jwt;
pub mod metadata;
pub mod policy;
pub mod protobuf;
pub mod provider;
pub mod query;
pub mod reply;
pub mod rewrite;
pub mod time;
pub mod userinfo;
