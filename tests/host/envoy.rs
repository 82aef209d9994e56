//! A small Envoy: a host for the proxy-wasm ABI 0.2.1, in one thread, without a network, with a clock of its own.
//!
//! The `proxy_*` functions below are what the SDK and the filter import; [`Envoy`] and [`Stream`] call what they
//! export. So the SDK, the edge and the filter run natively, all of them and unchanged.
//!
//! What Envoy refuses is refused here. Two things differ. A panic aborts the whole test binary, as it would take down
//! a worker's VM: it can't unwind through `extern "C"`. And a host call may be told to fail, by [`Host::fault`].
//!
//! The SDK panics by itself if Envoy breaks its word: on the answer to a call that was never made, on a token that was
//! given twice, if the root can't be made the effective context, if a call to a cluster fails with another status than
//! the two that Envoy knows. No filter on this SDK can help that, and nothing here does such a thing.

use oidc_filter::edge::wire;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::slice;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

unsafe extern "C" {
    safe fn _initialize();
    safe fn proxy_on_memory_allocate(size: usize) -> *mut u8;
    safe fn proxy_on_context_create(context: u32, root: u32);
    safe fn proxy_on_vm_start(root: u32, size: usize) -> bool;
    safe fn proxy_on_configure(root: u32, size: usize) -> bool;
    safe fn proxy_on_tick(root: u32);
    safe fn proxy_on_done(context: u32) -> bool;
    safe fn proxy_on_request_headers(context: u32, count: usize, end: bool) -> u32;
    safe fn proxy_on_request_body(context: u32, size: usize, end: bool) -> u32;
    safe fn proxy_on_request_trailers(context: u32, count: usize) -> u32;
    safe fn proxy_on_response_headers(context: u32, count: usize, end: bool) -> u32;
    safe fn proxy_on_http_call_response(root: u32, token: u32, headers: usize, body: usize, trailers: usize);
    safe fn proxy_on_delete(context: u32);
}

pub const OK: u32 = 0;
pub const NOT_FOUND: u32 = 1;
const CAS_MISMATCH: u32 = 8;
pub const BAD_ARGUMENT: u32 = 2;
pub const INTERNAL_FAILURE: u32 = 10;

/// What a callback answers.
pub const CONTINUE: u32 = 0;
pub const PAUSE: u32 = 1;

const REQUEST: u32 = 0;
const TRAILERS: u32 = 1;
const RESPONSE: u32 = 2;
const ANSWER: u32 = 6;

/// Header fields in order.
pub type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// Header fields from text.
pub fn fields<N: AsRef<[u8]>, V: AsRef<[u8]>>(pairs: impl IntoIterator<Item = (N, V)>) -> Fields {
    pairs.into_iter().map(|(name, value)| (name.as_ref().to_vec(), value.as_ref().to_vec())).collect()
}

/// The values of a field.
pub fn values(fields: &Fields, name: &str) -> Vec<String> {
    let named = fields.iter().filter(|(other, _)| other == name.as_bytes());
    named.map(|(_, value)| String::from_utf8_lossy(value).into_owned()).collect()
}

/// A call to a provider.
#[derive(Clone, Debug)]
pub struct Call {
    pub cluster: String,
    pub fields: Fields,
    pub body: Vec<u8>,
    pub timeout: u32,
}

impl Call {
    pub fn path(&self) -> String {
        values(&self.fields, ":path").concat()
    }
}

/// A local reply.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    pub status: u32,
    pub details: String,
    pub fields: Fields,
    pub body: String,
    /// -1 for what goes with the status.
    pub grpc_status: i32,
}

/// What the filter has told others, by key.
pub type FilterState = BTreeMap<String, Vec<u8>>;

/// What has become of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    Waits,
    Forwarded(Fields),
    Answered(Reply),
}

/// One request, as Envoy keeps it.
#[derive(Default)]
pub struct Exchange {
    /// The header lists that the filter may touch at this time.
    open: HashMap<u32, Fields>,
    upstream: Fields,
    passes: usize,
    replies: Vec<Reply>,
    pub trailers: Fields,
    pub response: Fields,
    pub filter_state: FilterState,
}

impl Exchange {
    /// Envoy sends the request on, as it is now.
    fn pass(&mut self) {
        self.passes += 1;
        self.upstream.extend(self.open.remove(&REQUEST).unwrap_or_default());
        self.trailers.extend(self.open.remove(&TRAILERS).unwrap_or_default());
    }
}

/// Tells by a call's number and name whether it fails, and with which status.
pub type Fault = Box<dyn Fn(usize, &str) -> Option<u32>>;

/// A foreign function: from its arguments to its answer.
pub type Function = fn(&[u8]) -> Vec<u8>;

/// Everything that Envoy knows.
#[derive(Default)]
pub struct Host {
    /// Nanoseconds since 1970.
    pub clock: u64,
    /// Properties by their path.
    pub properties: HashMap<String, Vec<u8>>,
    /// Functions beyond the ABI.
    pub functions: HashMap<&'static str, Function>,
    /// Calls to providers that are not answered yet, by their token.
    pub calls: BTreeMap<u32, Call>,
    /// Metrics by name; a metric's number is its place.
    pub metrics: Vec<(String, u64)>,
    pub log: Vec<String>,
    /// What all VMs share: values with their versions.
    pub shared: HashMap<String, (Vec<u8>, u32)>,
    /// Every line for the log is refused.
    pub mute: bool,
    /// Which host calls fail.
    pub fault: Option<Fault>,
    /// The most bytes of an answer that were read at once.
    pub largest: usize,
    /// How many host calls there were.
    pub count: usize,
    trace: Vec<String>,
    configuration: Vec<u8>,
    streams: HashMap<u32, Exchange>,
    answer: Option<(Fields, Vec<u8>)>,
    period: u32,
    due: u64,
    current: u32,
    effective: u32,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

/// Looks at the host of this thread, or changes it.
pub fn host<T>(act: impl FnOnce(&mut Host) -> T) -> T {
    HOST.with_borrow_mut(act)
}

impl Host {
    /// The names of the host calls since this was asked for the last time.
    pub fn trace(&mut self) -> Vec<String> {
        std::mem::take(&mut self.trace)
    }

    /// Delays the next tick by a second if it is due at once.
    pub fn slow_timer(&mut self) {
        if self.period == 1 {
            self.due = self.due.max(self.clock + 1_000_000_000);
        }
    }

    /// The stream that a host call acts on.
    fn stream(&mut self) -> Result<&mut Exchange, u32> {
        let id = if self.effective == 0 { self.current } else { self.effective };
        self.streams.get_mut(&id).ok_or(BAD_ARGUMENT)
    }

    /// A header list that the filter may change.
    fn map(&mut self, map: u32) -> Result<&mut Fields, u32> {
        self.stream()?.open.get_mut(&map).ok_or(BAD_ARGUMENT)
    }
}

/// Contexts and calls are numbered through all tests: the SDK remembers them for as long as the thread lives.
fn number() -> u32 {
    static LAST: AtomicU32 = AtomicU32::new(0);
    LAST.fetch_add(1, Ordering::Relaxed) + 1
}

/// Calls into the module on behalf of a context.
fn enter<T>(context: u32, callback: impl FnOnce() -> T) -> T {
    host(|host| (host.current, host.effective) = (context, 0));
    let answer = callback();
    host(|host| (host.current, host.effective) = (0, 0));
    answer
}

/// Loads the module into this thread.
fn load() {
    // The module sends its last words to the host's log; here a failed assertion belongs on the terminal.
    static TERMINAL: Once = Once::new();
    TERMINAL.call_once(|| {
        let hook = std::panic::take_hook();
        _initialize();
        std::panic::set_hook(hook);
    });
    _initialize();
}

/// A worker of Envoy with the module loaded.
pub struct Envoy {
    root: u32,
}

impl Envoy {
    /// A worker at this time. The module is loaded but not configured.
    pub fn at(seconds: u64) -> Self {
        let root = number();
        host(|host| *host = Host { clock: seconds * 1_000_000_000, ..Host::default() });
        load();
        enter(root, || proxy_on_context_create(root, 0));
        assert!(enter(root, || proxy_on_vm_start(root, 0)));
        Self { root }
    }

    /// Another root of this worker's VM, for another configuration; it is to be configured.
    pub fn another(&self) -> Self {
        let root = number();
        enter(root, || proxy_on_context_create(root, 0));
        assert!(enter(root, || proxy_on_vm_start(root, 0)));
        Self { root }
    }

    pub fn configure(&self, configuration: impl AsRef<[u8]>) -> bool {
        let configuration = configuration.as_ref().to_vec();
        let size = configuration.len();
        host(|host| host.configuration = configuration);
        enter(self.root, || proxy_on_configure(self.root, size))
    }

    /// The last request of this configuration is over.
    pub fn end(&self) {
        assert!(enter(self.root, || proxy_on_done(self.root)));
    }

    /// How many milliseconds there are between two ticks; 0 for never.
    pub fn period(&self) -> u32 {
        host(|host| host.period)
    }

    pub fn tick(&self) {
        enter(self.root, || proxy_on_tick(self.root));
        host(|host| host.due = host.clock.saturating_add(u64::from(host.period) * 1_000_000));
    }

    /// Lets time pass, with its ticks.
    pub fn pass(&self, time: Duration) {
        let end = host(|host| host.clock) + time.as_nanos() as u64;
        while let Some(due) = host(|host| Some(host.due.max(host.clock)).filter(|due| host.period > 0 && *due <= end)) {
            host(|host| host.clock = due);
            self.tick();
        }
        host(|host| host.clock = end);
    }

    /// A request's headers come.
    pub fn request(&self, fields: Fields) -> Stream {
        self.request_marked(fields, FilterState::new())
    }

    /// The same, behind filters that have left this as filter state.
    pub fn request_marked(&self, fields: Fields, filter_state: FilterState) -> Stream {
        let (stream, count) = (Stream(number()), fields.len());
        let exchange = Exchange { open: HashMap::from([(REQUEST, fields)]), filter_state, ..Exchange::default() };
        host(|host| host.streams.insert(stream.0, exchange));
        enter(stream.0, || proxy_on_context_create(stream.0, self.root));
        stream.settle(enter(stream.0, || proxy_on_request_headers(stream.0, count, false)));
        stream
    }

    /// Answers a call; without an answer it was reset. The call is the root's: streams may come and go meanwhile.
    pub fn answer(&self, token: u32, answer: Option<(Fields, Vec<u8>)>) {
        let call = host(|host| host.calls.remove(&token));
        assert!(call.is_some(), "the SDK would panic on the answer to a call that was not made");
        let sizes = answer.as_ref().map_or((0, 0), |(fields, body)| (fields.len(), body.len()));
        host(|host| host.answer = answer);
        enter(self.root, || proxy_on_http_call_response(self.root, token, sizes.0, sizes.1, 0));
        host(|host| host.answer = None);
    }

    /// Answers every call, and those that come of it, until none is left. What comes of a failure comes with the tick that is due then.
    pub fn answer_all(&self, provider: impl Fn(&Call) -> Option<(Fields, Vec<u8>)>) {
        while let Some((token, call)) = host(|host| host.calls.first_key_value().map(|(t, c)| (*t, c.clone()))) {
            self.answer(token, provider(&call));
            if self.period() == 1 {
                self.tick();
            }
        }
    }
}

impl Drop for Envoy {
    fn drop(&mut self) {
        enter(self.root, || proxy_on_delete(self.root));
    }
}

/// One request, as its client sees it.
#[derive(Clone, Copy)]
pub struct Stream(u32);

impl Stream {
    /// What the callback about headers answered was Continue: Envoy sends them on.
    fn settle(self, action: u32) -> u32 {
        let see = |exchange: &mut Exchange| {
            if action == CONTINUE && exchange.open.contains_key(&REQUEST) {
                exchange.pass();
            }
        };
        self.look(see);
        action
    }

    /// A part of the body comes. Also while the filter waits: `allow_on_headers_stop_iteration` makes Envoy do so.
    pub fn body(self) -> u32 {
        self.settle(enter(self.0, || proxy_on_request_body(self.0, 4, false)))
    }

    pub fn trailers(self, fields: Fields) -> u32 {
        let count = fields.len();
        self.look(|exchange| exchange.open.insert(TRAILERS, fields));
        let action = self.settle(enter(self.0, || proxy_on_request_trailers(self.0, count)));
        if action == CONTINUE {
            self.look(|exchange| exchange.trailers.extend(exchange.open.remove(&TRAILERS).unwrap_or_default()));
        }
        // Otherwise they go when the request goes on, and the filter doesn't see them again.
        action
    }

    /// The response's headers come: the upstream's, or those of a local reply.
    pub fn response(self, fields: Fields) -> u32 {
        let count = fields.len();
        self.look(|exchange| exchange.open = HashMap::from([(RESPONSE, fields)]));
        let action = enter(self.0, || proxy_on_response_headers(self.0, count, true));
        self.look(|exchange| exchange.response = exchange.open.remove(&RESPONSE).unwrap_or_default());
        action
    }

    /// The stream ends, after its response or before.
    pub fn end(self) {
        enter(self.0, || proxy_on_delete(self.0));
        self.vanish();
    }

    /// What has become of the request, which can only be one thing.
    #[track_caller]
    pub fn fate(self) -> Fate {
        let (passes, replies, upstream) =
            self.look(|exchange| (exchange.passes, exchange.replies.clone(), exchange.upstream.clone()));
        match (passes, replies.as_slice()) {
            (0, []) => Fate::Waits,
            (1, []) => Fate::Forwarded(upstream),
            (0, [reply]) => Fate::Answered(reply.clone()),
            _ => panic!("let go on {passes} times and answered with {replies:?}"),
        }
    }

    /// The stream ends without a word.
    pub fn vanish(self) {
        host(|host| host.streams.remove(&self.0));
    }

    pub fn look<T>(self, act: impl FnOnce(&mut Exchange) -> T) -> T {
        host(|host| act(host.streams.get_mut(&self.0).expect("the stream has ended")))
    }
}

// ---------------------------------------------------------------------------------------------- the ABI

/// A host call: it is written down, and fails if it is told to.
fn call(name: &str, act: impl FnOnce(&mut Host) -> Result<(), u32>) -> u32 {
    host(|host| {
        let fault = host.fault.as_ref().and_then(|fault| fault(host.count, name));
        host.count += 1;
        host.trace.push(name.to_owned());
        fault.map_or_else(|| act(host), Err).err().unwrap_or(OK)
    })
}

/// The module's bytes.
fn bytes(data: *const u8, size: usize) -> Vec<u8> {
    if size == 0 { Vec::new() } else { unsafe { slice::from_raw_parts(data, size) }.to_vec() }
}

fn text(data: *const u8, size: usize) -> String {
    String::from_utf8(bytes(data, size)).expect("the module names things in UTF-8")
}

fn shown(data: *const u8, size: usize) -> String {
    String::from_utf8_lossy(&bytes(data, size)).into_owned()
}

fn put<T>(place: *mut T, value: T) {
    unsafe { place.write(value) }
}

/// Hands bytes over in the module's own memory; for none, Envoy gives no memory.
fn hand_over(bytes: &[u8], data: *mut *mut u8, size: *mut usize) {
    let memory = if bytes.is_empty() { std::ptr::null_mut() } else { proxy_on_memory_allocate(bytes.len()) };
    if !memory.is_null() {
        unsafe { memory.copy_from_nonoverlapping(bytes.as_ptr(), bytes.len()) }
    }
    put(data, memory);
    put(size, bytes.len());
}

fn wire(fields: &Fields) -> Vec<u8> {
    let length = |bytes: &Vec<u8>| (bytes.len() as u32).to_le_bytes();
    let mut wire = (fields.len() as u32).to_le_bytes().to_vec();
    wire.extend(fields.iter().flat_map(|(name, value)| [length(name), length(value)].concat()));
    wire.extend(fields.iter().flat_map(|(name, value)| [name, &b"\0"[..], value, b"\0"].concat()));
    wire
}

fn unwired(data: *const u8, size: usize) -> Fields {
    fields(wire::headers(bytes(data, size)).expect("pairs").iter())
}

fn map_name(map: u32) -> &'static str {
    match map {
        REQUEST => "request",
        TRAILERS => "trailers",
        RESPONSE => "response",
        ANSWER => "answer",
        _ => panic!("map {map}"),
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_log(_level: u32, data: *const u8, size: usize) -> u32 {
    let line = text(data, size);
    host(|host| {
        if host.mute {
            INTERNAL_FAILURE
        } else {
            host.log.push(line);
            OK
        }
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_log_level(level: *mut u32) -> u32 {
    // The tests share one process and so one level; at this one nothing is left out.
    call("log level", |_| {
        put(level, 0);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_current_time_nanoseconds(nanos: *mut u64) -> u32 {
    call("clock", |host| {
        put(nanos, host.clock);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_tick_period_milliseconds(period: u32) -> u32 {
    call(&format!("tick {period}"), |host| {
        host.period = period;
        host.due = host.clock.saturating_add(u64::from(period) * 1_000_000);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_buffer_bytes(
    kind: u32,
    start: usize,
    most: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let name = match kind {
        4 => "read answer",
        7 => "read configuration",
        _ => panic!("buffer {kind}"),
    };
    call(name, |host| {
        let answer = host.answer.as_ref().map(|(_, body)| body);
        let buffer = if kind == 4 { answer.ok_or(NOT_FOUND)? } else { &host.configuration };
        let end = start.checked_add(most).ok_or(BAD_ARGUMENT)?.min(buffer.len());
        hand_over(buffer.get(start..end).unwrap_or_default(), data, size);
        host.largest = host.largest.max(if kind == 4 { end } else { 0 });
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32 {
    call(&format!("list {}", map_name(map)), |host| {
        let fields = match map {
            ANSWER => host.answer.as_ref().map(|(fields, _)| fields),
            _ => host.map(map).ok().map(|fields| &*fields),
        };
        // What isn't there is empty, and so is what is too long to be handed over.
        let fields = fields.filter(|fields| (1..=1024).contains(&fields.len()));
        hand_over(&fields.map(wire).unwrap_or_default(), data, size);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32 {
    let removed = bytes(name, name_size);
    call(&format!("remove {} {}", map_name(map), shown(name, name_size)), |host| {
        host.map(map)?.retain(|(name, _)| *name != removed);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_replace_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    let field = (bytes(name, name_size), bytes(value, value_size));
    call(&format!("set {} {}", map_name(map), shown(name, name_size)), |host| {
        let fields = host.map(map)?;
        fields.retain(|(name, _)| *name != field.0);
        fields.push(field);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_add_header_map_value(
    map: u32,
    name: *const u8,
    name_size: usize,
    value: *const u8,
    value_size: usize,
) -> u32 {
    let field = (bytes(name, name_size), bytes(value, value_size));
    call(&format!("add {} {}", map_name(map), shown(name, name_size)), |host| {
        host.map(map)?.push(field);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32 {
    let path = text(path, path_size).replace('\0', ".");
    call(&format!("property {path}"), |host| {
        let marked = host.stream().ok().and_then(|exchange| exchange.filter_state.get(&path).cloned());
        let value = marked.or_else(|| host.properties.get(&path).cloned()).ok_or(NOT_FOUND)?;
        hand_over(&value, data, size);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32 {
    let (path, value) = (text(path, path_size), bytes(value, value_size));
    call(&format!("state {path}"), |host| {
        host.stream()?.filter_state.insert(path, value);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_continue_stream(kind: u32) -> u32 {
    assert_eq!(kind, 0, "only requests are ever held");
    call("continue", |host| {
        host.stream()?.pass();
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_send_local_response(
    status: u32,
    details: *const u8,
    details_size: usize,
    body: *const u8,
    body_size: usize,
    headers: *const u8,
    headers_size: usize,
    grpc_status: i32,
) -> u32 {
    let (fields, body) = (unwired(headers, headers_size), text(body, body_size));
    let reply = Reply { status, details: text(details, details_size), fields, body, grpc_status };
    call(&format!("reply {status} {}", reply.details), |host| {
        let exchange = host.stream()?;
        if exchange.open.contains_key(&TRAILERS) {
            // Envoy takes back what the upstream has not got in whole.
            (exchange.passes, exchange.upstream) = (0, Fields::new());
        }
        exchange.replies.push(reply);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_effective_context(context: u32) -> u32 {
    let act = |host: &mut Host| {
        host.effective = context;
        Ok(())
    };
    // The SDK itself enters the root so before it brings an answer, and must be able to.
    if host(|host| host.current == context) {
        return host(act).map_or_else(|status: u32| status, |()| OK);
    }
    call("act on a stream", |host| {
        if !host.streams.contains_key(&context) {
            return Err(BAD_ARGUMENT);
        }
        act(host)
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_call_foreign_function(
    name: *const u8,
    name_size: usize,
    arguments: *const u8,
    arguments_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
) -> u32 {
    let (name, arguments) = (text(name, name_size), bytes(arguments, arguments_size));
    call(&format!("foreign {name}"), |host| {
        hand_over(&host.functions.get(name.as_str()).ok_or(NOT_FOUND)?(&arguments), data, size);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32 {
    let (name, kind) = (text(name, name_size), ["counter", "gauge"][kind as usize]);
    call(&format!("define {kind} {name}"), |host| {
        // One name is one metric, whoever defines it.
        let known = host.metrics.iter().position(|(other, _)| *other == name);
        put(id, known.unwrap_or(host.metrics.len()) as u32);
        if known.is_none() {
            host.metrics.push((name, 0));
        }
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_increment_metric(id: u32, offset: i64) -> u32 {
    let name = host(|host| host.metrics[id as usize].0.clone());
    call(&format!("count {name}"), |host| {
        host.metrics[id as usize].1 += u64::try_from(offset).map_err(|_| BAD_ARGUMENT)?;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_record_metric(id: u32, value: u64) -> u32 {
    let name = host(|host| host.metrics[id as usize].0.clone());
    call(&format!("record {name}"), |host| {
        host.metrics[id as usize].1 = value;
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_get_shared_data(
    key: *const u8,
    key_size: usize,
    data: *mut *mut u8,
    size: *mut usize,
    version: *mut u32,
) -> u32 {
    let key = text(key, key_size);
    call("shared", |host| {
        let (value, written) = host.shared.get(&key).ok_or(NOT_FOUND)?;
        put(version, *written);
        hand_over(&value.clone(), data, size);
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_set_shared_data(
    key: *const u8,
    key_size: usize,
    data: *const u8,
    size: usize,
    version: u32,
) -> u32 {
    let (key, value) = (text(key, key_size), bytes(data, size));
    call("share", |host| {
        // As Envoy has it: where there is nothing, any version will do.
        let known = host.shared.get(&key).map(|(_, written)| *written);
        if known.is_some_and(|known| version != 0 && version != known) {
            return Err(CAS_MISMATCH);
        }
        host.shared.insert(key, (value, known.unwrap_or_default() + 1));
        Ok(())
    })
}

#[unsafe(no_mangle)]
extern "C" fn proxy_http_call(
    cluster: *const u8,
    cluster_size: usize,
    headers: *const u8,
    headers_size: usize,
    body: *const u8,
    body_size: usize,
    _trailers: *const u8,
    _trailers_size: usize,
    timeout: u32,
    token: *mut u32,
) -> u32 {
    let (cluster, fields) = (text(cluster, cluster_size), unwired(headers, headers_size));
    let mut name = "call".to_owned();
    for part in [":method", ":path"] {
        let _ = write!(name, " {}", values(&fields, part).concat());
    }
    let sent = Call { cluster, fields, body: bytes(body, body_size), timeout };
    call(&name, |host| {
        if [":method", ":path", ":authority"].iter().any(|name| values(&sent.fields, name).is_empty()) {
            return Err(BAD_ARGUMENT);
        }
        let number = number();
        put(token, number);
        host.calls.insert(number, sent);
        Ok(())
    })
}

/// What the SDK imports and the filter never calls.
macro_rules! unused {
    ($($name:ident)*) => {
        $(
            #[unsafe(no_mangle)]
            extern "C" fn $name() -> u32 {
                panic!("{} is not for this filter", stringify!($name))
            }
        )*
    };
}

unused! {
    proxy_close_stream proxy_dequeue_shared_queue proxy_done proxy_enqueue_shared_queue proxy_get_header_map_value
    proxy_get_metric proxy_get_status proxy_grpc_call proxy_grpc_cancel proxy_grpc_close
    proxy_grpc_send proxy_grpc_stream proxy_register_shared_queue proxy_resolve_shared_queue proxy_set_buffer_bytes
    proxy_set_header_map_pairs
}
