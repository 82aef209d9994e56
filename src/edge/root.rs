//! The root context: it owns the filter of this worker, and all its calls to providers.
//!
//! The invariant: nothing but the configuration's bytes decides whether it takes a configuration.

use super::abi::{self, Buffer};
use super::boringssl::BoringSsl;
use super::instance::Instance;
use super::outgoing::{carry_out, refuse_misconfigured};
use super::shared::{HostRandomness, ProcessMemory};
use super::stream::Stream;
use super::{Arrived, DEFAULT_NAME, Progress, Worker, body, calls, incoming, neighbours};
use crate::config::{Config, TokenLocation};
use crate::decision::Decision;
use crate::filter::{CallId, Effect, Filter, StreamId};
use crate::http::Response;
use crate::jose::verifier::Verifier;
use crate::ordered;
use crate::protobuf;
use crate::time::Timestamp;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

/// The context that owns the filter of this worker, and all its calls.
pub(super) struct Root {
    id: u32,
    shared: Rc<RefCell<Worker>>,
    calls: ordered::Map<u32, CallId>,
    /// Calls that ended badly, and how. What follows from that has to wait for the next tick.
    failed: Vec<(CallId, Option<Response>)>,
    /// Decided, but not carried out yet.
    decided: VecDeque<(StreamId, Decision)>,
    wakes_at: Option<Timestamp>,
    /// The key of shared data under which a worker notes that it has logged that this configuration is ready; `None` once that is done.
    ready_key: Option<String>,
}

impl Root {
    /// The root context of this number.
    pub(super) fn new(id: u32) -> Self {
        Self {
            id,
            shared: Rc::default(),
            calls: ordered::Map::new_vec(),
            failed: Vec::new(),
            decided: VecDeque::new(),
            wakes_at: None,
            ready_key: None,
        }
    }

    /// A request's context.
    pub(super) fn stream(&self, id: u32) -> Stream {
        Stream::new(StreamId(id), self.id, Rc::clone(&self.shared))
    }

    /// A pure function of the configuration's bytes, and of what this host can do for every worker alike: whatever else fails
    /// leads to a filter that refuses, never to `false`, which would make Envoy leave the filter out on a worker.
    pub(super) fn on_configure(&mut self) -> bool {
        super::adopt_log_level();
        let Some(bytes) = abi::buffer(Buffer::PluginConfiguration, usize::MAX) else {
            log::error!("the configuration cannot be read: every request is refused");
            return true;
        };
        let config = match Config::read(&bytes, &|name: &str| std::env::var(name).ok()) {
            Ok(config) => Rc::new(config),
            Err(error) => {
                log::error!("the configuration is refused: {error}");
                return false;
            }
        };
        if !SEES_LISTS && config.policies().any(|policy| policy.mcp.as_ref().is_some_and(|mcp| mcp.filter_lists)) {
            log::error!(
                "the configuration is refused: mcp.filter_lists: this module sees no bodies of responses, which would cost every \
                 request; use oidc_filter_lists.wasm, which `make wasm-lists` builds"
            );
            return false;
        }
        let name = plugin_name();
        let configuration = blake3::hash(&[name.as_deref().unwrap_or_default().as_bytes(), b"\0", &bytes].concat());
        if !config.warnings.is_empty() && is_first_to_say(&format!("oidc_filter.warned.{configuration}")) {
            config.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        }
        self.ready_key = Some(format!("oidc_filter.ready.{configuration}"));
        let name = name.filter(|name| !name.is_empty());
        if name.is_none() && config.rules.iter().any(|rule| rule.name.is_some()) {
            log::error!(
                "the filter's name in Envoy's configuration cannot be read, under which routes name rules: every request is refused"
            );
            self.begin_anew(None, Instance::default(), Vec::new());
            return true;
        }
        let name = name.unwrap_or_else(|| DEFAULT_NAME.to_owned());
        let verifier = Verifier::with_host(Box::new(BoringSsl));
        if let Err(error) = config.check_signers(&verifier) {
            log::error!("the configuration is refused: {error}");
            return false;
        }
        let filter = Filter::new(Rc::clone(&config), &name).with_verifier(verifier);
        let filter = filter.with_host(Box::new(ProcessMemory), Box::new(HostRandomness));
        let instance = Instance::named(&name, config.marks);
        declare_filter_state(&filter, &instance);
        let sources = config.sources.iter().filter_map(|source| match &source.location {
            TokenLocation::Metadata { namespace, key } => Some((namespace.clone(), key.clone())),
            _ => None,
        });
        let sources = sources.collect();
        self.begin_anew(Some(filter), instance, sources);
        // The first fetches are made on the first tick: no cluster may be there yet.
        abi::set_tick_period(1);
        true
    }

    /// Time has passed.
    pub(super) fn on_tick(&mut self) {
        super::adopt_log_level();
        self.wakes_at = None;
        for (call, response) in std::mem::take(&mut self.failed) {
            self.with_filter(|filter, now| filter.on_fetched(call, response, now));
        }
        self.share_memory();
        self.with_filter(Filter::on_tick);
        self.perform();
        if let Ok(mut shared) = self.shared.try_borrow_mut() {
            shared.instance.metrics.flush();
        }
    }

    /// A call to a provider ended: with this many header fields, none if it failed.
    ///
    /// Envoy 1.40 tells of a stream of HTTP/2 that breaks a rule, as by a 204 with a body, from within the codec of its connection,
    /// by an answer of its own. A call that is sent there and then, or a request that goes on to the same cluster, crashes the
    /// process. So nothing follows from whatever may be such an answer before the next tick.
    pub(super) fn on_call_ended(&mut self, token: u32, headers: usize, body_size: usize) {
        let Some(call) = self.calls.remove(&token) else { return };
        let response = (headers > 0).then(|| incoming::response(body_size));
        if response.as_ref().is_some_and(|response| (200..300).contains(&response.status)) {
            self.with_filter(|filter, now| filter.on_fetched(call, response, now));
            self.perform();
        } else {
            self.failed.push((call, response));
            self.arm_timer();
        }
    }

    /// Another configuration has taken its place, and its last request is over.
    pub(super) fn end(&self) {
        neighbours::gone(self.id);
        if let Ok(mut shared) = self.shared.try_borrow_mut() {
            shared.instance.metrics.are_about(Vec::new());
        }
    }

    /// Puts a filter in force, or none. What the one before it waited for, this one knows nothing of.
    fn begin_anew(&mut self, filter: Option<Filter>, instance: Instance, metadata_sources: Vec<(String, String)>) {
        self.decided.clear();
        self.calls.clear();
        self.failed.clear();
        self.wakes_at = None;
        if let Ok(mut shared) = self.shared.try_borrow_mut() {
            for (stream, _) in std::mem::take(&mut shared.waiting) {
                if abi::act_on(stream.0).is_ok() {
                    refuse_misconfigured(&mut shared.instance);
                }
            }
            shared.instance = instance.configured(std::mem::take(&mut shared.instance));
            let providers = filter.as_ref().map(Filter::provider_names).unwrap_or_default();
            shared.instance.metrics.are_about(providers);
            shared.metadata_sources = metadata_sources;
            shared.filter = filter;
            // The first tick tells the other filters of this one.
            shared.was_asked = true;
        }
    }

    /// Leaves room for the other filters of this VM.
    fn share_memory(&self) {
        let was_asked = self.shared.try_borrow_mut().is_ok_and(|mut shared| std::mem::take(&mut shared.was_asked));
        self.with_filter(|filter, now| {
            if was_asked {
                neighbours::asked(self.id, now);
            }
            filter.share_memory(neighbours::parts(self.id, now));
        });
    }

    fn with_filter(&self, act: impl FnOnce(&mut Filter, Timestamp)) {
        if let (Ok(mut shared), Some(now)) = (self.shared.try_borrow_mut(), abi::now())
            && let Some(filter) = &mut shared.filter
        {
            act(filter, now);
        }
    }

    /// Carries out what the filter wants done, and what comes of that, until nothing is left.
    pub(super) fn perform(&mut self) {
        loop {
            let mut effects = Vec::new();
            self.with_filter(|filter, _| effects = filter.take_effects());
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Fetch(call, fetch) => match calls::dispatch(&fetch) {
                        Ok(token) => {
                            self.calls.insert(token, call);
                        }
                        Err(why) => self.with_filter(|filter, now| filter.on_unsent(call, why, now)),
                    },
                    Effect::Resolve(stream, decision) => self.decided.push_back((stream, decision)),
                    Effect::Fetched(outcome) => {
                        if let Ok(mut shared) = self.shared.try_borrow_mut() {
                            shared.instance.metrics.fetched(&outcome);
                        }
                    }
                }
            }
        }
        // Envoy resumes and answers when this call ends, one request within the other: each takes of its stack what the
        // whole chain of filters needs for a response. A few hundred are too many.
        let now = self.decided.len().min(MAX_RESOLUTIONS);
        let decided: Vec<_> = self.decided.drain(..now).collect();
        for (stream, decision) in decided {
            self.resolve(stream, decision);
        }
        self.arm_timer();
    }

    /// Sees to it that `on_tick` comes when the filter wants it. Setting the period begins it anew: done at each event,
    /// it would put the tick off for as long as there are events.
    fn arm_timer(&mut self) {
        let Ok(mut shared) = self.shared.try_borrow_mut() else { return };
        let Worker { filter: Some(filter), instance: Instance { metrics, .. }, .. } = &mut *shared else { return };
        // Without a clock, look for one again soon.
        let Some(now) = abi::now() else { return abi::set_tick_period(TICK_WITHOUT_CLOCK) };
        for (provider, (count, age)) in filter.key_facts(now) {
            metrics.keys(provider, count, age);
        }
        for (provider, kind, index, is_up) in filter.endpoint_facts() {
            metrics.endpoint(provider, kind.as_str(), index, is_up);
        }
        if self.ready_key.is_some()
            && let Some(summary) = filter.summary(now)
            && let Some(key) = self.ready_key.take()
            && is_first_to_say(&key)
        {
            log::info!("ready: {summary}");
        }
        let is_idle = self.decided.is_empty() && self.failed.is_empty();
        let next = if is_idle { filter.next_tick(now) } else { Duration::ZERO };
        let wakes_at = now.saturating_add(next);
        // A tick that is due comes by itself, unless the clock was set.
        if self.wakes_at.is_none_or(|armed| wakes_at < armed || armed.saturating_add(TICK_DELAY) < now) {
            self.wakes_at = Some(wakes_at);
            abi::set_tick_period(u32::try_from(next.as_millis()).unwrap_or(u32::MAX).max(1));
        }
    }

    fn resolve(&self, stream: StreamId, decision: Decision) {
        let Ok(mut shared) = self.shared.try_borrow_mut() else { return };
        let Some(progress) = shared.waiting.remove(&stream) else { return };
        // The client may have left.
        if abi::act_on(stream.0).is_err() {
            return;
        }
        let arrived = match progress.try_borrow().as_deref() {
            Ok(Progress::Held { arrived }) => *arrived,
            _ => Arrived::Nothing,
        };
        carry_out(decision, &progress, &mut shared.instance);
        let Worker { filter, instance, .. } = &mut *shared;
        let goes_on = body::on_resolved(arrived, &progress, filter.as_ref(), instance);
        if goes_on && abi::resume_request().is_err() {
            log::error!("a request could not be resumed");
            if let Ok(mut progress) = progress.try_borrow_mut() {
                *progress = Progress::default();
            }
            refuse_misconfigured(instance);
        }
    }
}

/// Envoy deletes a root whose filter chain is drained without a word before. A test's thread has no host left by then.
#[cfg(target_family = "wasm")]
impl Drop for Root {
    fn drop(&mut self) {
        self.end();
    }
}

/// The filter's name in Envoy's configuration; empty if it has none, `None` if it can't be read.
fn plugin_name() -> Option<String> {
    abi::property(&["plugin_name"]).ok().flatten().and_then(|name| String::from_utf8(name).ok())
}

/// Tells Envoy what the filter's keys of filter state hold.
fn declare_filter_state(filter: &Filter, instance: &Instance) {
    for key in filter.filter_state_keys() {
        declare(&key, &FilterStateType::Message("type.googleapis.com/google.protobuf.Struct"));
    }
    if let Some(key) = instance.route_mark().filter(|_| filter.reads_routes()) {
        declare(key, &FilterStateType::String);
    }
}

/// What filter state holds, other than bytes.
enum FilterStateType {
    String,
    /// A serialised message of this type.
    Message(&'static str),
}

/// Tells Envoy what a key of filter state holds, so that CEL and access logs can look into it. An Envoy that doesn't know
/// of it keeps bytes there.
fn declare(key: &str, holds: &FilterStateType) {
    let mut arguments = Vec::new();
    protobuf::write_bytes(&mut arguments, 1, key.as_bytes());
    match holds {
        FilterStateType::String => protobuf::write_unsigned(&mut arguments, 3, TYPE_STRING),
        FilterStateType::Message(schema) => {
            protobuf::write_unsigned(&mut arguments, 3, TYPE_PROTOBUF);
            protobuf::write_bytes(&mut arguments, 4, schema.as_bytes());
        }
    }
    if abi::call_foreign("declare_property", &arguments).is_err() {
        log::debug!("the host has no declare_property: {key} is bytes");
    }
}

/// Whether no other VM of this process has said this lately: Envoy has one for each worker and one or two more, and each
/// reads the same configuration. Where that can't be told, it is said.
fn is_first_to_say(key: &str) -> bool {
    let (Ok((said, version)), Some(now)) = (abi::shared(key), abi::now()) else { return true };
    let last = said.as_slice().try_into().map(u64::from_le_bytes).map(Timestamp::from_unix_nanos);
    let is_recent = last.is_ok_and(|last| last <= now && now.saturating_since(last) < SAID_ONCE_IN);
    !is_recent && abi::share(key, &now.unix_nanos().to_le_bytes(), version).is_ok()
}

/// How many requests that waited are let go or answered in one call of Envoy; the others follow a millisecond later. Its
/// stack has been seen to end at some 250, where refusals or direct responses followed.
const MAX_RESOLUTIONS: usize = 32;

/// Whether the host calls this module with the bodies of responses: scripts/wasm-ld.
const SEES_LISTS: bool = cfg!(feature = "lists");

/// Workers start within seconds; an operator who loads a configuration again wants to hear of it again.
const SAID_ONCE_IN: Duration = Duration::from_secs(30);

/// How late a tick may come on a worker that has much to do.
const TICK_DELAY: Duration = Duration::from_millis(100);

/// A second, in milliseconds.
const TICK_WITHOUT_CLOCK: u32 = 1000;

/// `WasmType::String` and `WasmType::Protobuf` of `declare_property`.
const TYPE_STRING: u64 = 1;
const TYPE_PROTOBUF: u64 = 3;
