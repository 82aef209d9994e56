//! The edge: the only module that speaks proxy-wasm. It turns what Envoy calls into events, and decisions and effects
//! into host calls. It holds no policy. Without the feature `edge`, the crate is the core alone.
//!
//! Three things of Envoy shape it. A request may go on upstream as soon as one callback says so: while a decision is
//! pending, every callback says Pause. A call to a provider must belong to the root context, or its answer is lost
//! when the client leaves. And a header can be changed only before the request is resumed.
//!
//! The invariant: a request that no decision was carried out for in full does not go on.

mod abi;
mod body;
mod boringssl;
mod calls;
mod incoming;
mod instance;
mod lists;
mod metrics;
mod neighbours;
mod outgoing;
mod root;
mod sdk;
mod shared;
mod stream;
pub mod wire;

pub use boringssl::BoringSsl;

use crate::decision::{Case, HeldBody};
use crate::filter::{Filter, StreamId};
use crate::http::Edit;
use crate::table::Table;
use instance::Instance;
use lists::Listing;
use std::cell::RefCell;
use std::rc::Rc;

/// What the root context and its requests share. One worker has one thread, and no callback runs within another but
/// [`abi::enter_root`], before which nothing is borrowed.
#[derive(Default)]
struct Worker {
    /// `None` before the configuration is there: everything is refused.
    filter: Option<Filter>,
    metadata_sources: Vec<(String, String)>,
    instance: Instance,
    waiting: Table<StreamId, Rc<RefCell<Progress>>>,
    /// Whether a request has come since the last tick.
    was_asked: bool,
}

/// How far a request has come.
enum Progress {
    /// Nothing is decided, or the decision is not carried out. This much of its body has come.
    Held { arrived: Arrived },
    /// It goes on.
    Forwarded {
        /// Changes of its response.
        response_edits: Vec<Edit>,
        /// What the decision was about, if it rests on the route.
        case: Option<Box<Case>>,
        /// Its body, if that is judged before it goes on.
        body: Option<Box<HeldBody>>,
        /// What becomes of a list in its response.
        listing: Listing,
    },
    /// It is answered: with this status of HTTP, unless in the terms of gRPC.
    Answered { status: Option<u16> },
}

impl Default for Progress {
    fn default() -> Self {
        Self::Held { arrived: Arrived::Nothing }
    }
}

/// How much of a body has come while its head is held. With `allow_on_headers_stop_iteration`, Envoy hands it over meanwhile.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Arrived {
    Nothing,
    Part,
    All,
}

/// Formats no line that Envoy would drop.
fn adopt_log_level() {
    let level = match abi::log_level() {
        Some(0) => log::LevelFilter::Trace,
        Some(1) => log::LevelFilter::Debug,
        Some(2) | None => log::LevelFilter::Info,
        Some(3) => log::LevelFilter::Warn,
        Some(_) => log::LevelFilter::Error,
    };
    log::set_max_level(level);
}

/// The name of a filter without one.
const DEFAULT_NAME: &str = "oidc";
