//! The proxy-wasm 0.2.1 host calls that the edge makes, each in a form that cannot trap.
//!
//! The SDK's own wrappers panic on a status that they don't expect and on a value that isn't UTF-8: both can come from
//! outside. Here every status but Ok is a value, and every value is bytes. All `unsafe` of the crate is in this file;
//! each block hands the host pointers and lengths of live Rust values, and takes buffers that the host allocated with
//! this module's own allocator, as the ABI says.

#![allow(unsafe_code)]

use super::wire;
use crate::http::Answer;
use crate::time::Timestamp;
use std::ptr::null_mut;

/// A header list of the stream, by its number in the ABI.
#[derive(Clone, Copy)]
pub(super) enum HeaderMap {
    RequestHeaders = 0,
    RequestTrailers = 1,
    ResponseHeaders = 2,
    CallResponseHeaders = 6,
}

/// A buffer, by its number in the ABI.
#[derive(Clone, Copy)]
pub(super) enum Buffer {
    RequestBody = 0,
    ResponseBody = 1,
    CallResponseBody = 4,
    PluginConfiguration = 7,
}

/// A kind of metric, by its number in the ABI.
#[derive(Clone, Copy)]
pub(super) enum MetricKind {
    Counter = 0,
    Gauge = 1,
}

/// The host said no, or has no such thing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failed;

#[link(wasm_import_module = "env")]
unsafe extern "C" {
    fn proxy_log(level: u32, message: *const u8, size: usize) -> u32;
    fn proxy_get_log_level(level: *mut u32) -> u32;
    fn proxy_get_current_time_nanoseconds(nanos: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, most: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_buffer_bytes(kind: u32, start: usize, most: usize, data: *const u8, size: usize) -> u32;
    fn proxy_get_header_map_pairs(map: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_remove_header_map_value(map: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_replace_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_add_header_map_value(
        map: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, data: *const u8, size: usize) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        version: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, data: *const u8, size: usize, version: u32) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, offset: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

unsafe extern "C" {
    /// Not the host's: the SDK's own entry point, in this module.
    fn proxy_on_queue_ready(root: u32, queue: u32);
}

/// Sends the filter's lines to Envoy's log, and what a panic has to say. The SDK would panic over a line that the host
/// refuses.
pub(super) fn log_to_host() {
    if log::set_logger(&HostLog).is_ok() {
        log::set_max_level(log::LevelFilter::Info);
        std::panic::set_hook(Box::new(|panic| write_line(LOG_CRITICAL, &panic.to_string())));
    }
}

struct HostLog;

impl log::Log for HostLog {
    fn enabled(&self, metadata: &log::Metadata) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &log::Record) {
        let level = match record.level() {
            log::Level::Trace => 0,
            log::Level::Debug => 1,
            log::Level::Info => 2,
            log::Level::Warn => 3,
            log::Level::Error => 4,
        };
        write_line(level, &record.args().to_string());
    }

    fn flush(&self) {}
}

fn write_line(level: u32, line: &str) {
    // There is no other place to say that it was lost.
    let _ = unsafe { proxy_log(level, line.as_ptr(), line.len()) };
}

/// Envoy's log level for wasm: 0 for trace to 5 for critical.
pub(super) fn log_level() -> Option<u32> {
    let mut level = 0;
    let status = unsafe { proxy_get_log_level(&raw mut level) };
    done(status).ok().map(|()| level)
}

/// The time. `None` if the host has none, or one before this filter was written: with such a clock nothing expires.
pub(super) fn now() -> Option<Timestamp> {
    let mut nanos = 0;
    let status = unsafe { proxy_get_current_time_nanoseconds(&raw mut nanos) };
    let now = done(status).ok().map(|()| Timestamp::from_unix_nanos(nanos))?;
    (now >= EARLIEST).then_some(now)
}

/// Calls `on_tick` of the root context every so many milliseconds.
pub(super) fn set_tick_period(millis: u32) {
    // A host without timers leaves nothing to do about it.
    let _ = unsafe { proxy_set_tick_period_milliseconds(millis) };
}

/// At most `most` bytes of a buffer.
pub(super) fn buffer(kind: Buffer, most: usize) -> Option<Vec<u8>> {
    owned(|data, size| unsafe { proxy_get_buffer_bytes(kind as u32, 0, most, data, size) }).ok()
}

/// How many bytes are in a buffer, or `most` if there are more. The host tells it only with the bytes themselves.
pub(super) fn buffer_size(kind: Buffer, most: usize) -> usize {
    buffer(kind, most).map_or(0, |bytes| bytes.len())
}

/// Makes this all that is in a buffer.
pub(super) fn set_buffer(kind: Buffer, bytes: &[u8]) -> Result<(), Failed> {
    done(unsafe { proxy_set_buffer_bytes(kind as u32, 0, usize::MAX, bytes.as_ptr(), bytes.len()) })
}

/// A whole header list in its wire form.
pub(super) fn pairs(map: HeaderMap) -> Option<Vec<u8>> {
    owned(|data, size| unsafe { proxy_get_header_map_pairs(map as u32, data, size) }).ok()
}

/// Removes every field of this name.
pub(super) fn remove(map: HeaderMap, name: &[u8]) -> Result<(), Failed> {
    done(unsafe { proxy_remove_header_map_value(map as u32, name.as_ptr(), name.len()) })
}

/// Makes this the only field of this name.
pub(super) fn set(map: HeaderMap, name: &[u8], value: &[u8]) -> Result<(), Failed> {
    let (name_size, value_size) = (name.len(), value.len());
    done(unsafe { proxy_replace_header_map_value(map as u32, name.as_ptr(), name_size, value.as_ptr(), value_size) })
}

/// Adds a field.
pub(super) fn add(map: HeaderMap, name: &[u8], value: &[u8]) -> Result<(), Failed> {
    let (name_size, value_size) = (name.len(), value.len());
    done(unsafe { proxy_add_header_map_value(map as u32, name.as_ptr(), name_size, value.as_ptr(), value_size) })
}

/// A property of the stream or the plugin. `Ok(None)` if there is none; an error if it can't be told.
pub(super) fn property(path: &[&str]) -> Result<Option<Vec<u8>>, Failed> {
    let path = path.join("\0");
    owned_if_there(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Sets filter state: Envoy calls it `wasm.<key>`.
pub(super) fn set_filter_state(key: &str, value: &[u8]) -> Result<(), Failed> {
    done(unsafe { proxy_set_property(key.as_ptr(), key.len(), value.as_ptr(), value.len()) })
}

/// Lets the request of the effective context go on.
pub(super) fn resume_request() -> Result<(), Failed> {
    done(unsafe { proxy_continue_stream(0) })
}

/// Answers the request of the effective context. `details` become `%RESPONSE_CODE_DETAILS%`. Of the answer to what looks like a
/// gRPC call, Envoy makes a 200 with a gRPC status, by itself the one that goes with the status of HTTP.
pub(super) fn send_reply(answer: &Answer, details: &str) -> Result<(), Failed> {
    let Answer { status, headers, body, grpc_status } = answer;
    let headers = wire::serialized(headers);
    done(unsafe {
        proxy_send_local_response(
            u32::from(*status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            grpc_status.map_or(NO_GRPC_STATUS, i32::from),
        )
    })
}

/// Makes the calls that follow act on this context; an error if it is gone.
pub(super) fn act_on(context: u32) -> Result<(), Failed> {
    done(unsafe { proxy_set_effective_context(context) })
}

/// Calls a function of the host that is not in the ABI.
pub(super) fn call_foreign(name: &str, arguments: &[u8]) -> Result<Vec<u8>, Failed> {
    owned(|data, size| unsafe {
        proxy_call_foreign_function(name.as_ptr(), name.len(), arguments.as_ptr(), arguments.len(), data, size)
    })
}

/// Bytes that all VMs of this process share, with their version for [`share`]; version 0 for what nobody has shared.
pub(super) fn shared(key: &str) -> Result<(Vec<u8>, u32), Failed> {
    let mut version = 0;
    let value = owned_if_there(|data, size| unsafe {
        proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &raw mut version)
    })?;
    Ok(value.map_or((Vec::new(), 0), |value| (value, version)))
}

/// Shares bytes; an error if another VM has done so since this version.
pub(super) fn share(key: &str, value: &[u8], version: u32) -> Result<(), Failed> {
    done(unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), version) })
}

/// The number under which a metric is counted.
pub(super) fn define_metric(kind: MetricKind, name: &str) -> Option<u32> {
    let mut id = 0;
    let status = unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &raw mut id) };
    done(status).ok().map(|()| id)
}

/// Counts so many more.
pub(super) fn increment(metric: u32, by: i64) {
    // A metric that can't be counted must not decide a request.
    let _ = unsafe { proxy_increment_metric(metric, by) };
}

/// Sets a gauge.
pub(super) fn record(metric: u32, value: u64) {
    let _ = unsafe { proxy_record_metric(metric, value) };
}

/// Enters this module's root context as the host would: the SDK books a call to a provider on the context that it
/// entered last, and the answer to a call that a request's context made is lost when its client leaves. `on_queue_ready`
/// is the one callback that borrows nothing but the root. To be called last in a callback of a request, and never in
/// one of the root.
pub(super) fn enter_root(root: u32) {
    unsafe { proxy_on_queue_ready(root, u32::MAX) }
}

fn done(status: u32) -> Result<(), Failed> {
    if status == OK { Ok(()) } else { Err(Failed) }
}

/// Takes a buffer that the host allocated in this module's memory; none at all stands for an empty one.
fn owned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Vec<u8>, Failed> {
    let (mut data, mut size) = (null_mut(), 0);
    done(call(&raw mut data, &raw mut size))?;
    if data.is_null() {
        return Ok(Vec::new());
    }
    // The host allocated `size` bytes with `proxy_on_memory_allocate`, which hands out a Vec's memory.
    Ok(unsafe { Vec::from_raw_parts(data, size, size) })
}

/// The same of what may not be there: `Ok(None)` then.
fn owned_if_there(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Result<Option<Vec<u8>>, Failed> {
    let mut status = OK;
    let value = owned(|data, size| {
        status = call(data, size);
        status
    });
    if status == NOT_FOUND { Ok(None) } else { value.map(Some) }
}

const OK: u32 = 0;
const NOT_FOUND: u32 = 1;
const LOG_CRITICAL: u32 = 5;
const NO_GRPC_STATUS: i32 = -1;

/// 2026-01-01T00:00:00Z.
const EARLIEST: Timestamp = Timestamp::from_unix_seconds(1_767_225_600);
