//! A filter that makes the host calls of the oidc-filter's warm request and nothing else, for `make bench`: what a filter in
//! WebAssembly costs that reads the headers, looks at the clock and leaves a mark, however fast it thinks. It exports the
//! same callbacks.

#![allow(unsafe_code, reason = "the host's functions")]

use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;
use std::ptr::null_mut;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_current_time_nanoseconds(nanos: *mut u64) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, data: *const u8, size: usize) -> u32;
}

struct Calls;

impl Context for Calls {}

impl HttpContext for Calls {
    fn on_http_request_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let (mut data, mut size, mut now) = (null_mut(), 0, 0);
        let (key, value) = ("oidc.result", "allowed");
        // The host writes where it is told to, and hands over a buffer from this module's own allocator.
        unsafe {
            if proxy_get_header_map_pairs(0, &raw mut data, &raw mut size) == 0 && !data.is_null() {
                drop(Vec::from_raw_parts(data, size, size));
            }
            proxy_get_current_time_nanoseconds(&raw mut now);
            proxy_set_property(key.as_ptr(), key.len(), value.as_ptr(), value.len());
        }
        Action::Continue
    }
}

/// The module's entry points.
#[allow(missing_docs, unsafe_code, reason = "the SDK's macro writes `_initialize`")]
mod entry {
    proxy_wasm::main! {{
        proxy_wasm::set_http_context(|_, _| Box::new(super::Calls));
    }}
}
