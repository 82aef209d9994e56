//! A filter that does nothing, for `make bench`: what WebAssembly in Envoy costs before a filter does anything.
//!
//! Envoy calls every callback that the SDK exports, for every request; each says Continue.

use proxy_wasm::traits::{Context, HttpContext};

struct Nothing;

impl Context for Nothing {}
impl HttpContext for Nothing {}

/// The module's entry points.
#[allow(missing_docs, unsafe_code, reason = "the SDK's macro writes `_initialize`")]
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_http_context(|_, _| Box::new(super::Nothing));
    }}
}
