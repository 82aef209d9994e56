//! The filter with a way to make it trap, for tests of what happens then. No input is known to crash the shipped one.
//!
//! It is that filter as it stands, and one entry point more, which the SDK doesn't have: Envoy calls it when an HTTP/2
//! METADATA frame comes.

use oidc_filter as _;

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_metadata(_context: u32, _elements: u32) -> u32 {
    panic!("a trap on purpose")
}
