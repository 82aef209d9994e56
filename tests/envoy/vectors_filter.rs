//! A filter for tests: the answer to a request is what the published vectors in its body come to, verified twice in one
//! Envoy. Once as the filter verifies, with Envoy's BoringSSL where that is trusted; once by the module's own code.
//!
//! The body is a list of cases. A case has either a `jwks` (text) and a `token`, or a `key`, the names of algorithms
//! in `algs`, a message and a signature (`msg` and `sig`, hexadecimal); `inline` says where its keys come from. For each
//! case the answer says whether it was proved by either backend, and whether Envoy was asked and gave an answer.

use oidc_filter::edge::BoringSsl;
use oidc_filter::jose::jwk::{Algorithm, Jwk, JwkSet, KeySetOrigin};
use oidc_filter::jose::jws::CompactJws;
use oidc_filter::jose::verifier::Verifier;
use oidc_filter::ports::Cryptography;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, ContextType};
use serde_json::{Value, json};
use std::cell::Cell;
use std::rc::Rc;

/// Called by Envoy after `_initialize`, which is that of the filter in the library: this takes the filter's place.
#[unsafe(no_mangle)]
pub extern "C" fn main(_: i32, _: i32) -> i32 {
    proxy_wasm::set_root_context(|_| Box::new(Root(Rc::new(Backends::new()))));
    0
}

struct Root(Rc<Backends>);

impl Context for Root {}

impl RootContext for Root {
    fn create_http_context(&self, _: u32) -> Option<Box<dyn HttpContext>> {
        Some(Box::new(Examiner(Rc::clone(&self.0))))
    }

    fn get_type(&self) -> Option<ContextType> {
        Some(ContextType::HttpContext)
    }
}

struct Examiner(Rc<Backends>);

impl Context for Examiner {}

#[allow(clippy::disallowed_methods, reason = "if one of these panics, the test fails as it should")]
impl HttpContext for Examiner {
    fn on_http_request_body(&mut self, size: usize, is_all: bool) -> Action {
        if is_all {
            let body = self.get_http_request_body(0, size).unwrap();
            let cases: Vec<Value> = serde_json::from_slice(&body).unwrap();
            let verdicts: Vec<Value> = cases.iter().map(|case| self.0.examine(case)).collect();
            let trusted: Vec<&str> = self.0.host.trusted().iter().map(|algorithm| algorithm.name()).collect();
            let answer = json!({"trusted": trusted, "verdicts": verdicts}).to_string();
            self.send_http_response(200, vec![("content-type", "application/json")], Some(answer.as_bytes()));
        }
        Action::Pause
    }
}

struct Backends {
    host: Verifier,
    wasm: Verifier,
    answers: Rc<Cell<usize>>,
}

impl Backends {
    fn new() -> Self {
        let answers = Rc::default();
        let host = Verifier::with_host(Box::new(Watched(Rc::clone(&answers))));
        Self { host, wasm: Verifier::default(), answers }
    }

    fn examine(&self, case: &Value) -> Value {
        let answers_before = self.answers.get();
        let host = proves(&self.host, case);
        json!({"host": host, "wasm": proves(&self.wasm, case), "asked": self.answers.get() > answers_before})
    }
}

/// Envoy's BoringSSL, whose answers are counted.
struct Watched(Rc<Cell<usize>>);

impl Cryptography for Watched {
    fn verify(&self, hash: &str, spki: &[u8], message: &[u8], signature: &[u8]) -> Option<bool> {
        let answer = BoringSsl.verify(hash, spki, message, signature)?;
        self.0.update(|answers| answers + 1);
        Some(answer)
    }
}

fn proves(verifier: &Verifier, case: &Value) -> bool {
    let origin = if case["inline"] == true { KeySetOrigin::Inline } else { KeySetOrigin::Remote };
    if let Some(token) = case["token"].as_str() {
        let set = JwkSet::parse(case["jwks"].as_str().unwrap().as_bytes(), origin);
        let jws = CompactJws::parse(token);
        let (Ok(set), Ok(jws)) = (set, jws) else { return false };
        return jws.verify(set.candidates(jws.key_id(), jws.algorithm()), verifier).is_ok();
    }
    let Ok(key) = Jwk::parse(&case["key"], origin) else { return false };
    let (message, signature) = (octets(&case["msg"]), octets(&case["sig"]));
    let algorithms = case["algs"].as_array().unwrap().iter().map(|name| Algorithm::from_name(name.as_str().unwrap()));
    algorithms.flatten().any(|algorithm| verifier.verify(&key, algorithm, &message, &signature).is_ok())
}

fn octets(hexadecimal: &Value) -> Vec<u8> {
    let digit = |digit: &u8| char::from(*digit).to_digit(16).unwrap() as u8;
    hexadecimal.as_str().unwrap().as_bytes().chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}
