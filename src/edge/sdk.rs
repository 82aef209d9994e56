//! Where the SDK ends. It calls [`Root`] and [`Stream`] by its traits, and from here on nothing knows them: most of what they
//! offer panics on a status of the host that they don't expect, and takes down the VM with all its streams.
//!
//! Two of its habits are undone elsewhere. It books a call to a provider on the context that it entered last: `abi::enter_root`
//! enters the root. And it exports every callback of the ABI, each of which Envoy then calls for each request: `scripts/wasm-ld`
//! leaves out those that do nothing here.
//!
//! The invariant: of the SDK, nothing is called here but what starts it.

use super::root::Root;
use super::stream::Stream;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};

/// The module's entry points.
#[allow(missing_docs, unsafe_code, reason = "the SDK's macro writes `_initialize`")]
mod entry {
    proxy_wasm::main! {{ super::start(); }}
}

/// Tells the SDK who we are. Called once, when the module is loaded.
fn start() {
    super::abi::log_to_host();
    proxy_wasm::set_root_context(|id| Box::new(SdkRoot(Root::new(id))));
}

struct SdkRoot(Root);

impl Context for SdkRoot {
    fn on_done(&mut self) -> bool {
        self.0.end();
        true
    }

    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        self.0.on_call_ended(token, headers, body_size);
    }
}

impl RootContext for SdkRoot {
    fn on_configure(&mut self, _size: usize) -> bool {
        self.0.on_configure()
    }

    fn on_tick(&mut self) {
        self.0.on_tick();
    }

    /// A request entered here because it has made calls necessary.
    fn on_queue_ready(&mut self, _queue: u32) {
        self.0.perform();
    }

    fn create_http_context(&self, context: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(SdkStream(self.0.stream(context))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct SdkStream(Stream);

impl Context for SdkStream {}

impl HttpContext for SdkStream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        action(self.0.on_request_headers(end_of_stream))
    }

    fn on_http_request_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        action(self.0.on_request_body(size, end_of_stream))
    }

    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        action(self.0.on_request_trailers(count))
    }

    fn on_http_response_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        action(self.0.on_response_headers(end_of_stream))
    }

    fn on_http_response_body(&mut self, size: usize, end_of_stream: bool) -> Action {
        action(self.0.on_response_body(size, end_of_stream))
    }

    fn on_http_response_trailers(&mut self, _count: usize) -> Action {
        action(self.0.on_response_trailers())
    }
}

fn action(goes_on: bool) -> Action {
    if goes_on { Action::Continue } else { Action::Pause }
}
