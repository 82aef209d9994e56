//! An Envoy proxy-wasm filter that proves OAuth 2.0 and OpenID Connect access tokens.
#![forbid(unsafe_op_in_unsafe_fn)]

pub mod json;
pub mod jwk;
pub mod jws;
pub mod jwt;
pub mod time;
