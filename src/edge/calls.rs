//! Calls to providers: the one host call that the SDK must know of, or it loses the answer.

use crate::http::Fetch;
use proxy_wasm::hostcalls;
use proxy_wasm::types::Status;

/// Sends a call, which the SDK books on the context that was entered last: the root. An error says why it could not be sent.
///
/// A server that ends a kept connection just as a call goes out on it has not answered, and would cost a request its answer: Envoy
/// sends such a call once more. Each asks a question, or for a token, so that twice is as good as once.
pub(super) fn dispatch(fetch: &Fetch) -> Result<u32, &'static str> {
    let Fetch { endpoint, method, headers, body, timeout } = fetch;
    let mut all = vec![
        (":method", *method),
        (":scheme", endpoint.scheme),
        (":authority", &endpoint.authority),
        (":path", &endpoint.path),
        // Envoy keeps these to itself.
        ("x-envoy-retry-on", "reset"),
        ("x-envoy-max-retries", "1"),
    ];
    all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
    let body = Some(body.as_slice()).filter(|body| !body.is_empty());
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
