//! Whole scenarios on the pure filter: a configuration, a provider that answers from memory, a clock that is set.
//!
//! The ids name where a case comes from: TB, AR and GM are systems whose users this filter serves (`TB-01`), the others
//! are attacks by subject: ISS choice of the provider, INT introspection, UIF userinfo, CCH caches, OUT calls, EXT
//! tokens in requests, HDR identities for the upstream, RSP replies, CFG configuration, JWK keys.

mod authorization;
mod caches;
mod clauses;
mod config;
mod failover;
mod identities;
mod jwt;
mod keys;
mod opaque;
mod outputs;
mod providers;
mod replies;
mod robustness;
mod rules;
mod scene;
mod silence;
mod strip;
mod userinfo;

#[path = "../support/mod.rs"]
mod support;
