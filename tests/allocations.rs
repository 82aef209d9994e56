//! How often the pure filter asks for memory on the warm path: a request with a token that it knows.

#[path = "support/process.rs"]
mod process;
mod support;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use oidc_filter::config::Config;
use oidc_filter::decision::Decision;
use oidc_filter::filter::{Filter, StreamId};
use oidc_filter::http::{Headers, Request};
use oidc_filter::time::Timestamp;
use process::Process;
use serde_json::json;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::rc::Rc;
use support::Signing;

struct Counting;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: the system's allocator does all the work; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        COUNT.set(COUNT.get() + 1);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocations of one warm request, from the headers' wire form to the decision.
fn warm(change: serde_json::Value) -> u64 {
    let key = Signing::Hmac(vec![7; 32]);
    let configuration = support::with(
        json!({"providers": {
            "issuer": "https://idp.example.com",
            "audiences": "https://api.example.com",
            "algorithms": "HS256",
            "jwks": {"inline": {"keys": [key.jwk("k")]}},
        }}),
        change,
    );
    let config = Config::read(configuration.to_string().as_bytes(), &|_: &str| None).unwrap();
    let process = Process::default();
    let mut filter = Filter::new(Rc::new(config), "oidc").with_host(Box::new(process.clone()), Box::new(process));
    let claims = json!({"iss": "https://idp.example.com", "aud": "https://api.example.com", "sub": "ann", "exp": 2_000_000_000,
            "scope": "openid orders:read", "groups": ["staff", "sales"], "realm_access": {"roles": ["user", "shop-admin"]}});
    let input = format!("{}.{}", BASE64URL.encode(r#"{"alg":"HS256"}"#), BASE64URL.encode(claims.to_string()));
    let token = format!("{input}.{}", BASE64URL.encode(key.sign("HS256", input.as_bytes())));
    let mut spent = 0;
    for number in 0..3 {
        let authorization = format!("Bearer {token}");
        let pairs = [(":method", "GET"), (":path", "/"), ("authorization", &authorization), ("accept", "*/*")];
        let headers = Headers::from_pairs(pairs);
        let before = COUNT.get();
        let request = Request { headers, ..Request::default() };
        let decision = filter.on_request(StreamId(number), request, Timestamp::from_unix_seconds(1_900_000_000));
        spent = COUNT.get() - before;
        assert!(matches!(decision, Decision::Forward(_)));
    }
    spent
}

#[test]
fn a_warm_request_takes_little_memory() {
    assert_eq!(warm(json!({})), 0);
    let roles = json!({"path": ["realm_access", "roles"], "any_of": ["auditor", "shop-admin"]});
    let required = json!({"scopes": "orders:read", "claims": roles, "groups_allowlist": ["sales"]});
    assert_eq!(warm(json!({"require": required})), 0);
    // For a claim in a header: the value, the list of headers, the list of edits.
    let claim_header = warm(json!({"claim_headers": {"header": "x-user", "claim": "sub"}}));
    assert_eq!(claim_header, 3);
    // An assertion that was signed before: the same.
    let key = json!({"kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"});
    let assertion = json!({"assertion": {"issuer": "https://edge", "audience": "orders", "keys": key}});
    assert_eq!(warm(assertion), claim_header);
}
