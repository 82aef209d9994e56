//! A filter that does nothing, for `make bench`: what WebAssembly in Envoy costs before a filter does anything.
//!
//! The SDK calls every callback of every request, as it does for the real filter; each says Continue.

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
