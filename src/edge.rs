//! The edge: the only module that speaks proxy-wasm. It turns what Envoy calls into events, and decisions and effects
//! into host calls. It holds no policy.
//!
//! Three things of Envoy shape it. A request may go on upstream as soon as one callback says so: while a decision is
//! pending, every callback says Pause. A call to a provider must belong to the root context, or its answer is lost
//! when the client leaves. And a header can be changed only before the request is resumed.
//!
//! The invariant: a request that no decision was carried out for in full does not go on.

mod abi;
mod boringssl;
mod instance;
mod metrics;

use crate::config::{Config, SourceLocation};
use crate::decision::{Answered, Case, Decision, Forward};
use crate::filter::{CallId, Effect, Filter, StreamId};
use crate::http::caching;
use crate::http::{Answer, Edit, Fetch, Headers, MAX_ANSWER_BYTES, Request, Response, Route};
use crate::jose::verifier::Verifier;
use crate::protobuf;
use crate::time::Timestamp;
use abi::{Buffer, Failed, Map};
pub use boringssl::BoringSsl;
use instance::Instance;
use proxy_wasm::hostcalls;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType, Status};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

/// The module's entry points.
#[allow(missing_docs, unsafe_code, reason = "the SDK's macro writes `_initialize`")]
mod entry {
    proxy_wasm::main! {{ super::start(); }}
}

/// Tells the SDK who we are. Called once, when the module is loaded.
fn start() {
    abi::log_to_host();
    proxy_wasm::set_root_context(|id| {
        Box::new(Root {
            id,
            shared: Rc::default(),
            calls: HashMap::new(),
            decided: VecDeque::new(),
            wakes_at: None,
            unsaid: None,
        })
    });
}

/// What the root context and its requests share. One worker has one thread, and no callback runs within another but
/// [`abi::enter_root`], before which nothing is borrowed.
#[derive(Default)]
struct Shared {
    /// `None` before the configuration is there: everything is refused.
    filter: Option<Filter>,
    metadata_sources: Vec<(String, String)>,
    instance: Instance,
    waiting: BTreeMap<StreamId, Rc<RefCell<Progress>>>,
}

/// How far a request has come.
#[derive(Default)]
enum Progress {
    /// Nothing is decided, or what was decided is not carried out.
    #[default]
    Held,
    /// It goes on. These changes are made on its response, and if the decision rests on the route, this is what it was about.
    Forwarded { response_edits: Vec<Edit>, case: Option<Box<Case>> },
    /// It is answered: with this status of HTTP, unless in the terms of gRPC.
    Answered { status: Option<u16> },
}

/// The context that owns the filter of this worker, and all its calls.
struct Root {
    id: u32,
    shared: Rc<RefCell<Shared>>,
    calls: HashMap<u32, CallId>,
    /// Decided, but not carried out yet.
    decided: VecDeque<(StreamId, Decision)>,
    wakes_at: Option<Timestamp>,
    /// Under which this process notes what was said of the configuration; `None` if all is said.
    unsaid: Option<String>,
}

impl Context for Root {
    fn on_done(&mut self) -> bool {
        self.end();
        true
    }

    fn on_http_call_response(&mut self, token: u32, headers: usize, body_size: usize, _trailers: usize) {
        let Some(call) = self.calls.remove(&token) else { return };
        let response = (headers > 0).then(|| response(body_size));
        self.with_filter(|filter, now| filter.on_fetched(call, response, now));
        self.perform();
    }
}

impl RootContext for Root {
    /// A pure function of the configuration's bytes, and of what this host can do for every worker alike: whatever else fails leads to a filter that refuses, never to
    /// `false`, which would make Envoy leave the filter out on a worker.
    fn on_configure(&mut self, _size: usize) -> bool {
        adopt_log_level();
        let Some(bytes) = abi::buffer(Buffer::PluginConfiguration, usize::MAX) else {
            log::error!("the configuration cannot be read: every request is refused");
            return true;
        };
        let environment = |name: &str| std::env::var(name).ok();
        let config = match Config::read(&bytes, &environment) {
            Ok(config) => Rc::new(config),
            Err(error) => {
                log::error!("the configuration is refused: {error}");
                return false;
            }
        };
        let name = abi::property(&["plugin_name"]).ok().flatten().and_then(|name| String::from_utf8(name).ok());
        let configuration = blake3::hash(&[name.as_deref().unwrap_or_default().as_bytes(), b"\0", &bytes].concat());
        if !config.warnings.is_empty() && is_first_to_say(&format!("oidc_filter.warned.{configuration}")) {
            config.warnings.iter().for_each(|warning| log::warn!("{warning}"));
        }
        self.unsaid = Some(format!("oidc_filter.ready.{configuration}"));
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
        for key in filter.filter_state_keys() {
            declare(&key, &FilterStateType::Message("type.googleapis.com/google.protobuf.Struct"));
        }
        let instance = Instance::named(&name, config.marks);
        if let Some(key) = instance.route_mark().filter(|_| filter.reads_routes()) {
            declare(key, &FilterStateType::String);
        }
        let sources = config.sources.iter().filter_map(|source| match &source.location {
            SourceLocation::Metadata { namespace, key } => Some((namespace.clone(), key.clone())),
            _ => None,
        });
        let sources = sources.collect();
        self.begin_anew(Some(filter), instance, sources);
        // The first fetches are made on the first tick: no cluster may be there yet.
        abi::set_tick_period(1);
        true
    }

    fn on_tick(&mut self) {
        adopt_log_level();
        self.wakes_at = None;
        self.with_filter(Filter::on_tick);
        self.perform();
        if let Ok(mut shared) = self.shared.try_borrow_mut() {
            shared.instance.metrics.flush();
        }
    }

    /// A request entered here because it has made calls necessary.
    fn on_queue_ready(&mut self, _queue: u32) {
        self.perform();
    }

    fn create_http_context(&self, context_id: u32) -> Option<Box<dyn HttpContext>> {
        let (shared, progress) = (Rc::clone(&self.shared), Rc::default());
        Some(Box::new(Stream { id: StreamId(context_id), root: self.id, shared, progress }))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

/// Envoy deletes a root whose filter chain is drained without a word before. A test's thread has no host left by then.
#[cfg(target_family = "wasm")]
impl Drop for Root {
    fn drop(&mut self) {
        self.end();
    }
}

impl Root {
    /// Another configuration has taken its place, and its last request is over.
    fn end(&self) {
        if let Ok(mut shared) = self.shared.try_borrow_mut() {
            shared.instance.metrics.are_about(BTreeSet::new());
        }
    }

    /// Puts a filter in force, or none. What the one before it waited for, this one knows nothing of.
    fn begin_anew(&mut self, filter: Option<Filter>, instance: Instance, metadata_sources: Vec<(String, String)>) {
        self.decided.clear();
        self.calls.clear();
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
        }
    }

    fn with_filter(&self, act: impl FnOnce(&mut Filter, Timestamp)) {
        if let (Ok(mut shared), Some(now)) = (self.shared.try_borrow_mut(), abi::now())
            && let Some(filter) = &mut shared.filter
        {
            act(filter, now);
        }
    }

    /// Carries out what the filter wants done, and what comes of that, until nothing is left.
    fn perform(&mut self) {
        loop {
            let mut effects = Vec::new();
            self.with_filter(|filter, _| effects = filter.take_effects());
            if effects.is_empty() {
                break;
            }
            for effect in effects {
                match effect {
                    Effect::Fetch(call, fetch) => match dispatch(&fetch) {
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
        let Shared { filter: Some(filter), instance: Instance { metrics, .. }, .. } = &mut *shared else { return };
        // Without a clock, look for one again soon.
        let Some(now) = abi::now() else { return abi::set_tick_period(TICK_WITHOUT_CLOCK) };
        for (provider, (count, age)) in filter.key_facts(now) {
            metrics.keys(provider, count, age);
        }
        for (provider, kind, index, is_up) in filter.endpoint_facts() {
            metrics.endpoint(provider, kind.as_str(), index, is_up);
        }
        if self.unsaid.is_some()
            && let Some(summary) = filter.summary(now)
            && let Some(key) = self.unsaid.take()
            && is_first_to_say(&key)
        {
            log::info!("ready: {summary}");
        }
        let next = if self.decided.is_empty() { filter.next_tick(now) } else { Duration::ZERO };
        let wakes_at = now.saturating_add(next);
        if self.wakes_at.is_none_or(|armed| wakes_at < armed || armed < now) {
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
        carry_out(decision, &progress, &mut shared.instance);
        let is_forwarded = progress.try_borrow().is_ok_and(|progress| matches!(*progress, Progress::Forwarded { .. }));
        if is_forwarded && abi::resume_request().is_err() {
            log::error!("a request could not be resumed");
            if let Ok(mut progress) = progress.try_borrow_mut() {
                *progress = Progress::Held;
            }
            refuse_misconfigured(&mut shared.instance);
        }
    }
}

/// One request.
struct Stream {
    id: StreamId,
    root: u32,
    shared: Rc<RefCell<Shared>>,
    progress: Rc<RefCell<Progress>>,
}

impl Context for Stream {}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

impl HttpContext for Stream {
    fn on_http_request_headers(&mut self, _count: usize, end_of_stream: bool) -> Action {
        let Some(needs_root) = self.decide(!end_of_stream) else {
            self.refuse_misconfigured();
            return Action::Pause;
        };
        let action = self.action();
        if needs_root {
            abi::enter_root(self.root);
        }
        action
    }

    fn on_http_request_body(&mut self, _size: usize, _end_of_stream: bool) -> Action {
        self.action()
    }

    fn on_http_request_trailers(&mut self, count: usize) -> Action {
        // At once, even while a decision is pending: this is the only call for them.
        if self.scrub_trailers(count).is_err() {
            log::error!("the trailers of a request could not be read or changed; it is refused");
            self.abandon();
        }
        self.action()
    }

    fn on_http_response_headers(&mut self, _count: usize, _end_of_stream: bool) -> Action {
        let Ok(mut progress) = self.progress.try_borrow_mut() else { return Action::Pause };
        match &mut *progress {
            Progress::Forwarded { response_edits, case } => {
                if let Some(case) = case.take()
                    && !self.stays_true(&case)
                {
                    self.refuse_misconfigured();
                    return Action::Pause;
                }
                if edit_response(std::mem::take(response_edits)).is_err() {
                    log::error!("a header could not be set on a response");
                }
            }
            Progress::Answered { status: None } => {}
            Progress::Answered { status: Some(status) } if set_status(*status).is_ok() => {}
            Progress::Held if !looks_like_success() || set_status(503).is_ok() => {}
            _ => {
                log::error!("the status of an answer could not be set; it is withheld");
                return Action::Pause;
            }
        }
        Action::Continue
    }
}

impl Stream {
    /// Hands the request to the filter. Whether the root has something to do now; `None` if there is no filter, or
    /// no clock to judge by.
    fn decide(&self, has_body: bool) -> Option<bool> {
        let mut shared = self.shared.try_borrow_mut().ok()?;
        let Shared { filter, metadata_sources, instance, waiting } = &mut *shared;
        let filter = filter.as_mut()?;
        let headers = Headers::from_wire(abi::pairs(Map::RequestHeaders)?).unwrap_or_default();
        let metadata = metadata_sources.iter().map(|(namespace, key)| metadata(namespace, key)).collect();
        let request = Request { headers, metadata, route: route(filter), has_body };
        match filter.on_request(self.id, request, abi::now()?) {
            Decision::Wait => {
                waiting.insert(self.id, Rc::clone(&self.progress));
            }
            decision => carry_out(decision, &self.progress, instance),
        }
        Some(filter.has_effects())
    }

    fn action(&self) -> Action {
        match self.progress.try_borrow().as_deref() {
            Ok(Progress::Forwarded { .. }) => Action::Continue,
            _ => Action::Pause,
        }
    }

    /// A trailer can be read as a header by an upstream that merges them (RFC 9110, section 6.5.1).
    fn scrub_trailers(&self, count: usize) -> Result<(), Failed> {
        if count == 0 {
            return Ok(());
        }
        let shared = self.shared.try_borrow().map_err(|_| Failed)?;
        let filter = shared.filter.as_ref().ok_or(Failed)?;
        let trailers = abi::pairs(Map::RequestTrailers).and_then(Headers::from_wire).ok_or(Failed)?;
        if trailers.iter().count() < count {
            return Err(Failed);
        }
        let mut own = trailers.iter().map(|(name, _)| name).filter(|name| filter.is_own_trailer(name));
        own.try_for_each(|name| abi::remove(Map::RequestTrailers, name))
    }

    /// Whether the route that was taken has the policy that was decided on. Every change of a header makes Envoy choose the
    /// route anew, but it tells nobody which before somebody native has asked for it: the router, or an RBAC, which may have
    /// refused the request for that very reason.
    fn stays_true(&self, case: &Case) -> bool {
        let Ok(shared) = self.shared.try_borrow() else { return false };
        let Some(filter) = &shared.filter else { return false };
        let holds = filter.holds(case, route(filter)) || is_refused_by_rbac();
        if !holds {
            filter.complain_of_route(abi::now().unwrap_or_default());
        }
        holds
    }

    /// Answers a request that waits or has gone on. One that is answered already stays so.
    fn abandon(&self) {
        let progress = self.progress.try_borrow_mut().map(|mut progress| std::mem::take(&mut *progress));
        let had_gone_on = matches!(progress, Ok(Progress::Forwarded { .. }));
        if self.close() || had_gone_on {
            self.refuse_misconfigured();
        }
    }

    fn refuse_misconfigured(&self) {
        match self.shared.try_borrow_mut() {
            Ok(mut shared) => refuse_misconfigured(&mut shared.instance),
            Err(_) => send(&Answered::misconfigured(), &Instance::default()),
        }
    }

    /// Ends the wait; whether there was one.
    fn close(&self) -> bool {
        let Ok(mut shared) = self.shared.try_borrow_mut() else { return false };
        let waited = shared.waiting.remove(&self.id).is_some();
        if let Some(filter) = shared.filter.as_mut().filter(|_| waited) {
            filter.on_closed(self.id);
        }
        waited
    }
}

/// Makes a decision true for the request of the effective context.
fn carry_out(decision: Decision, progress: &RefCell<Progress>, instance: &mut Instance) {
    match decision {
        Decision::Forward(forward) => match apply(&forward, instance) {
            Ok(()) => {
                instance.count(&forward.outcome, forward.tally);
                if let Ok(mut progress) = progress.try_borrow_mut() {
                    let Forward { response_edits, case, .. } = forward;
                    *progress = Progress::Forwarded { response_edits, case };
                }
            }
            // Half a change could be a forged identity.
            Err(Failed) => {
                log::error!("a request could not be changed as decided");
                refuse_misconfigured(instance);
            }
        },
        Decision::Answer(answered) => {
            let Answer { status, grpc_status, .. } = answered.answer;
            if let Ok(mut progress) = progress.try_borrow_mut() {
                *progress = Progress::Answered { status: Some(status).filter(|_| grpc_status.is_none()) };
            }
            answer(&answered, instance);
        }
        Decision::Wait => {}
    }
}

/// Gives an answer its status back. Envoy makes 200 of every reply to what looks like a gRPC call, and to a proxy that asks
/// at `verify_path` that is a yes: its client needs only say `content-type: application/grpc`.
fn set_status(status: u16) -> Result<(), Failed> {
    abi::set(Map::ResponseHeaders, b":status", status.to_string().as_bytes())
}

/// Whether a request that nothing was decided for, or that was lost, is answered as if all were well.
fn looks_like_success() -> bool {
    let response = abi::pairs(Map::ResponseHeaders).and_then(Headers::from_wire);
    response.is_none_or(|response| response.first(":status").is_none_or(|status| status.starts_with(b"2")))
}

fn apply(forward: &Forward, instance: &Instance) -> Result<(), Failed> {
    carry_out_edits(Map::RequestHeaders, &forward.edits)?;
    for (key, value) in &forward.filter_state {
        abi::set_filter_state(key, value)?;
    }
    instance.mark(&forward.outcome, forward.route.as_deref())
}

/// Changes a response; one that sets a cookie is then kept by no cache for others. If that can't be had, nothing is changed.
fn edit_response(edits: Vec<Edit>) -> Result<(), Failed> {
    if edits.iter().any(|edit| matches!(edit, Edit::Add(name, _) if **name == *"set-cookie")) {
        let response = abi::pairs(Map::ResponseHeaders).and_then(Headers::from_wire).ok_or(Failed)?;
        carry_out_edits(Map::ResponseHeaders, &caching::private(&response))?;
    }
    carry_out_edits(Map::ResponseHeaders, &edits)
}

fn carry_out_edits(map: Map, edits: &[Edit]) -> Result<(), Failed> {
    edits.iter().try_for_each(|edit| match edit {
        Edit::Remove(name) => abi::remove(map, name),
        Edit::Set(name, value) => abi::set(map, name.as_bytes(), value),
        Edit::Add(name, value) => abi::add(map, name.as_bytes(), value),
    })
}

/// What is answered goes nowhere but into logs.
fn hide(edits: &[Edit]) {
    if carry_out_edits(Map::RequestHeaders, edits).is_err() {
        log::error!("a token could not be taken off a request that is answered; access logs may show it");
    }
}

/// Answers the request of the effective context.
fn answer(answered: &Answered, instance: &mut Instance) {
    instance.count(&answered.outcome, answered.tally);
    hide(&answered.edits);
    send(answered, instance);
}

fn send(answered: &Answered, instance: &Instance) {
    if abi::send_reply(&answered.answer, &instance.details(answered.meaning)).is_err() {
        log::error!("a request could not be answered; it stays on hold");
    }
}

fn refuse_misconfigured(instance: &mut Instance) {
    answer(&Answered::misconfigured(), instance);
}

/// Sends a call, which the SDK books on the context that was entered last: the root. An error says why it could not be sent.
fn dispatch(fetch: &Fetch) -> Result<u32, &'static str> {
    let Fetch { endpoint, method, headers, body, timeout } = fetch;
    let mut all = vec![
        (":method", *method),
        (":scheme", endpoint.scheme),
        (":authority", &endpoint.authority),
        (":path", &endpoint.path),
    ];
    all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
    let body = Some(body.as_slice()).filter(|body| !body.is_empty());
    #[expect(clippy::disallowed_methods, reason = "only through the SDK does the answer find its way back")]
    let sent = hostcalls::dispatch_http_call(&endpoint.cluster, all, body, Vec::new(), *timeout);
    sent.map_err(|status| {
        log::debug!("{fetch:?} could not be sent to the cluster {:?}: {status:?}", endpoint.cluster);
        match status {
            Status::BadArgument => "there is no such cluster",
            // Envoy's own answer came before the call was out: it tells a module of it, and not what it was.
            Status::InternalFailure => {
                "it ended at once: the cluster's `circuit_breakers` let no more through (overflow), or no host is healthy"
            }
            _ => "Envoy does not take it",
        }
    })
}

/// The answer that is at hand now.
fn response(body_size: usize) -> Response {
    let headers = abi::pairs(Map::CallResponseHeaders).and_then(Headers::from_wire).unwrap_or_default();
    let status = headers.first(":status").and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
    let most = body_size.min(MAX_ANSWER_BYTES.saturating_add(1));
    let body = if most == 0 { None } else { abi::buffer(Buffer::CallResponseBody, most) };
    Response { status: status.unwrap_or(0), headers, body: body.unwrap_or_default() }
}

/// A string in dynamic metadata. What can't be read is not absent: it is a value that no token looks like.
fn metadata(namespace: &str, key: &str) -> Option<Vec<u8>> {
    abi::property(&["metadata", "filter_metadata", namespace, key]).unwrap_or_else(|Failed| Some(Vec::new()))
}

/// What the rules look at of the route that Envoy has chosen, under the names of this Envoy or of older ones. What
/// can't be read is not absent: it is a name that no rule has.
fn route(filter: &Filter) -> Route {
    let read = |path: &[&str]| {
        let rooted: Vec<&str> = ["xds"].into_iter().chain(path.iter().copied()).collect();
        match abi::property(&rooted) {
            Ok(None) => abi::property(path).unwrap_or_else(|Failed| Some(Vec::new())),
            Ok(value) => value,
            Err(Failed) => Some(Vec::new()),
        }
    };
    let rule = |namespace: &str| read(&["route_metadata", "filter_metadata", namespace, "rule"]);
    Route {
        name: if filter.reads_routes() { read(&["route_name"]) } else { None },
        rule: filter.rule_namespace().and_then(rule),
    }
}

/// Whether Envoy's own RBAC has answered, behind this filter.
fn is_refused_by_rbac() -> bool {
    matches!(abi::property(&["response", "code_details"]), Ok(Some(details)) if details.starts_with(b"rbac_access_denied"))
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

/// How many requests that waited are let go or answered in one call of Envoy; the others follow a millisecond later. Its
/// stack has been seen to end at some 250, where refusals or direct responses followed.
const MAX_RESOLUTIONS: usize = 32;

/// Workers start within seconds; an operator who loads a configuration again wants to hear of it again.
const SAID_ONCE_IN: Duration = Duration::from_secs(30);

/// A second, in milliseconds.
const TICK_WITHOUT_CLOCK: u32 = 1000;

/// `WasmType::String` and `WasmType::Protobuf` of `declare_property`.
const TYPE_STRING: u64 = 1;
const TYPE_PROTOBUF: u64 = 3;
