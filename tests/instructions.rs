//! How much work the pure filter has with one request, in machine instructions: a figure that doesn't depend on the
//! machine's mood. Valgrind's callgrind counts; the figures in force stand in `tests/instructions.json`, and a path that
//! takes a tenth more than its figure fails.
//!
//! The test runs itself under callgrind, once with few requests and once with more: the difference is the requests'.
//! Without valgrind it says so and counts nothing.

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
use serde_json::{Value, json};
use std::collections::HashMap;
use std::process::Command;
use std::rc::Rc;
use support::Signing;

const NOW: u64 = 1_800_000_000;
const FEW: u32 = 20;
const MANY: u32 = 220;
/// Reading thousands of rules takes a little more or less each time, since hash tables are seeded by chance: more requests
/// make less of that.
const MANY_UNDER_RULES: u32 = 1_020;

/// The paths that are counted. The signature is an HMAC, so that the filter's own work isn't lost in the arithmetic.
const PATHS: [&str; 15] = [
    "refused",
    "cold",
    "warm",
    "warm_with_claim",
    "warm_with_assertion",
    "warm_with_outputs",
    "warm_three_headers",
    "warm_metadata",
    "warm_cookie",
    "warm_taken_off",
    "warm_fifty_headers",
    "warm_two_filters",
    "warm_one_rule",
    "warm_5000_rules",
    "warm_100_rules_three_headers",
];

#[test]
fn requests_take_no_more_than_they_did() {
    if let Ok(path) = std::env::var("OIDC_FILTER_PATH") {
        let count = std::env::var("OIDC_FILTER_REQUESTS").unwrap().parse().unwrap();
        return run(&path, count);
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("valgrind is not installed: NO INSTRUCTIONS WERE COUNTED");
        return;
    }
    let limits: Value = serde_json::from_str(include_str!("instructions.json")).unwrap();
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let mut found = HashMap::new();
    for (path, spent) in count_all() {
        let limit = limits[profile][path].as_u64().unwrap_or_else(|| panic!("no figure for {path}: it takes {spent}"));
        println!("{path}: {spent} instructions, {limit} in force");
        assert!(spent <= limit + limit / 10, "{path} takes {spent} instructions, {limit} are in force");
        found.insert(path, spent);
    }
    let (claim, assertion) = (found["warm_with_claim"], found["warm_with_assertion"]);
    assert!(assertion * 10 <= claim * 11, "an assertion takes {assertion} instructions, a claim {claim}");
    let (one, thousands) = (found["warm_one_rule"], found["warm_5000_rules"]);
    // Without optimisation, going through the index's words takes many times what it takes otherwise.
    let tenths = if cfg!(debug_assertions) { 14 } else { 12 };
    assert!(thousands * 10 <= one * tenths, "5000 rules take {thousands} instructions, one takes {one}");
}

/// What one request takes on each path. Valgrind keeps one processor busy: every other path is counted beside the rest.
fn count_all() -> Vec<(&'static str, u64)> {
    std::thread::scope(|scope| {
        let others = scope.spawn(|| count_from(1));
        [count_from(0), others.join().unwrap()].concat()
    })
}

fn count_from(first: usize) -> Vec<(&'static str, u64)> {
    PATHS.iter().skip(first).step_by(2).map(|path| (*path, count_one(path))).collect()
}

fn count_one(path: &str) -> u64 {
    let many = if path.contains("rule") { MANY_UNDER_RULES } else { MANY };
    (counted(path, many) - counted(path, FEW)) / u64::from(many - FEW)
}

fn counted(path: &str, requests: u32) -> u64 {
    let output = std::env::temp_dir().join(format!("oidc-filter-{}-{path}-{requests}", std::process::id()));
    let ran = Command::new("valgrind")
        .args(["--tool=callgrind", "--quiet", &format!("--callgrind-out-file={}", output.display())])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "requests_take_no_more_than_they_did", "--nocapture", "--test-threads=1"])
        .env("OIDC_FILTER_PATH", path)
        .env("OIDC_FILTER_REQUESTS", requests.to_string())
        .output()
        .unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    let profile = std::fs::read_to_string(&output).unwrap();
    std::fs::remove_file(&output).unwrap();
    let total = profile.lines().find_map(|line| line.strip_prefix("totals: ").or(line.strip_prefix("summary: ")));
    total.unwrap().trim().parse().unwrap()
}

fn run(path: &str, count: u32) {
    let key = Signing::Hmac(vec![7; 32]);
    let mut configuration = json!({
        "providers": {
            "issuer": "https://idp.example.com",
            "audiences": "https://api.example.com",
            "algorithms": "HS256",
            "jwks": {"inline": {"keys": [key.jwk("k")]}},
        },
        "require": {"scopes": "api:read"},
    });
    let claim_headers = |claims: &[&str]| -> Value {
        claims.iter().map(|claim| json!({"header": format!("x-{claim}"), "claim": claim})).collect()
    };
    let identity =
        |location: &str| json!({"location": location, "key": "x-identity", "claims": ["sub", "name", "email"]});
    match path {
        "warm_with_outputs" => {
            configuration["claim_headers"] = claim_headers(&["sub", "email"]);
            configuration["user_info"] = identity("header");
        }
        "warm_three_headers" | "warm_100_rules_three_headers" => {
            configuration["claim_headers"] = claim_headers(&["sub", "email", "groups"]);
        }
        "warm_metadata" => configuration["user_info"] = identity("metadata"),
        "warm_cookie" => configuration["user_info"] = identity("cookie"),
        "warm_taken_off" => configuration["forward"] = json!(false),
        "warm_with_claim" => configuration["claim_headers"] = claim_headers(&["sub"]),
        "warm_with_assertion" => {
            let key = json!({"kty": "oct", "k": BASE64URL.encode([8; 32])});
            configuration["assertion"] =
                json!({"issuer": "https://edge.example.com", "audience": "orders", "keys": key});
        }
        _ => {}
    }
    // What is asked for falls under the last rule.
    let rules = |count: u32| {
        let others = (1..count)
            .map(|number| json!({"match": {"path_prefix": format!("/tenants/{number}"), "methods": ["GET", "POST"]}}));
        others.chain([json!({"match": {"path_prefix": "/orders", "methods": "GET"}})]).collect::<Value>()
    };
    match path {
        "warm_one_rule" => configuration["rules"] = rules(1),
        "warm_100_rules_three_headers" => configuration["rules"] = rules(100),
        "warm_5000_rules" => configuration["rules"] = rules(5000),
        _ => {}
    }
    let config = Config::read(configuration.to_string().as_bytes(), &|_: &str| None).unwrap();
    let config = Rc::new(config);
    let filter = |name: &str| {
        let process = Process::default();
        Filter::new(Rc::clone(&config), name).with_host(Box::new(process.clone()), Box::new(process))
    };
    let mut behind = (path == "warm_two_filters").then(|| filter("behind"));
    let mut filter = filter("oidc");
    let token = |number: u32| {
        let audience = if path == "refused" { "https://other.example.com" } else { "https://api.example.com" };
        let claims = json!({
            "iss": "https://idp.example.com", "aud": audience, "sub": "0a1b2c3d-4e5f-6789-abcd-ef0123456789",
            "exp": NOW + 3600, "iat": NOW, "jti": format!("jti-{number}"), "client_id": "a-client", "scope": "api:read api:write",
            "name": "Ann Lee", "email": "ann.lee@example.com", "groups": ["one", "two", "three"],
        });
        let header = json!({"alg": "HS256", "kid": "k", "typ": "at+jwt"});
        let input = format!("{}.{}", BASE64URL.encode(header.to_string()), BASE64URL.encode(claims.to_string()));
        format!("{input}.{}", BASE64URL.encode(key.sign("HS256", input.as_bytes())))
    };
    // Tokens are made beforehand, the same number whatever the count, so that their making cancels out.
    let tokens: Vec<String> = (0..MANY).map(token).collect();
    // With those that every request here has, fifty.
    let count_of_more = if path == "warm_fifty_headers" { 41 } else { 0 };
    let more: Vec<(String, String)> =
        (0..count_of_more).map(|number| (format!("x-app-setting-{number}"), format!("setting {number}"))).collect();
    for number in 0..count {
        let token = if path == "cold" { &tokens[number as usize] } else { &tokens[0] };
        let headers = Headers::from_pairs(more.iter().map(|(name, value)| (&**name, &**value)).chain([
            (":method", "GET"),
            (":path", "/orders/42?view=full"),
            (":authority", "api.example.com"),
            (":scheme", "https"),
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/150.0 Safari/537.36",
            ),
            ("accept", "application/json"),
            ("authorization", &format!("Bearer {token}")),
            ("x-forwarded-for", "192.0.2.1"),
            ("x-request-id", "0d9e3f4e-1e2b-4f6a-9c3d-5b6a7c8d9e0f"),
        ]));
        let request = Request { headers, ..Request::default() };
        if let Some(behind) = &mut behind {
            let decision = behind.on_request(StreamId(number), request.clone(), Timestamp::from_unix_seconds(NOW));
            assert!(matches!(decision, Decision::Forward(_)));
        }
        let decision = filter.on_request(StreamId(number), request, Timestamp::from_unix_seconds(NOW));
        assert_eq!(matches!(decision, Decision::Forward(_)), path != "refused");
    }
}
