//! Whole scenarios on the pure filter: a configuration, a provider that answers from memory, a clock that is set.
//!
//! The ids name where a case comes from: TB, AR and GM are systems whose users this filter serves (`TB-01`), the others
//! are attacks: `docs/security/cases.md` lists them with their tests.

mod assertions;
mod authorization;
mod bound;
mod caches;
mod certificates;
mod clauses;
mod config;
mod enrichment;
mod exchange;
mod failover;
mod identities;
mod in_examples;
mod in_the_field;
mod jwt;
mod keys;
mod listener;
mod lists;
mod mcp;
mod one_fault;
mod opaque;
mod operations;
mod outputs;
mod providers;
mod readers;
mod recipes;
mod replies;
mod robustness;
mod rules;
mod runs;
mod scene;
mod security_limits;
mod security_requests;
mod security_tokens;
mod shapes;
mod silence;
mod strictness;
mod strip;
mod userinfo;
mod websocket;
mod words;

#[path = "../support/process.rs"]
mod process;
#[path = "../support/mod.rs"]
mod support;
