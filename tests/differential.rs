//! Two verifiers, one truth: every token of the published vectors is shown to `jwt-compact`, too, with cryptography of its own. What one
//! takes and the other refuses is listed by name, each with its reason.
//!
//! The reasons are why it signs what this filter says, and verifies nothing that comes.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use jwt_compact::alg::{Ed25519, Es256, Hs256, Hs256Key, Hs384, Hs384Key, Hs512, Hs512Key, Rsa, RsaPublicKey};
use jwt_compact::jwk::JsonWebKey;
use jwt_compact::{Algorithm, AlgorithmExt as _, AlgorithmSignature as _, Empty, TimeOptions, UntrustedToken};
use oidc_filter::jose::jwk::{JwkSet, KeySetOrigin};
use oidc_filter::jose::jws::CompactJws;
use oidc_filter::jose::jwt::Claims;
use oidc_filter::jose::verifier::Verifier;
use oidc_filter::json;
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn cases(path: &str) -> Vec<Value> {
    let path = format!("{}/tests/vectors/{path}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).expect(&path)).expect(&path)
}

/// All tokens with the keys that they are to be verified by.
fn all() -> Vec<(String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut all = Vec::new();
    for case in cases("wycheproof/jws.json") {
        all.push((text(&case["id"]), text(&case["jws"]), case["keys"].clone()));
    }
    for case in cases("jwt_verify_lib/verify.json") {
        let Ok(set) = serde_json::from_str::<Value>(case["jwks"].as_str().unwrap()) else { continue };
        all.push((text(&case["id"]), text(&case["jwt"]), set["keys"].clone()));
    }
    for case in cases("rfc/tokens.json") {
        all.push((text(&case["id"]), text(&case["token"]), json!([case["jwk"]])));
    }
    for case in cases("cookbook/tokens.json") {
        if let Some(token) = case["output"]["compact"].as_str() {
            all.push((text(&case["id"]), token.to_owned(), json!([case["key"]])));
        }
    }
    all
}

/// Whether this crate takes a token.
fn ours(token: &str, keys: &Value) -> bool {
    let is_secret = keys.as_array().unwrap().iter().all(|key| key["kty"] == "oct");
    let origin = if is_secret { KeySetOrigin::Inline } else { KeySetOrigin::Remote };
    let Ok(set) = JwkSet::parse(json!({ "keys": keys }).to_string().as_bytes(), origin) else { return false };
    CompactJws::parse(token).is_ok_and(|jws| {
        let candidates = set.candidates(jws.key_id(), jws.algorithm());
        jws.verify(candidates, &Verifier::default()).is_ok()
    })
}

/// Whether jwt-compact takes it, by any of the keys with the `kid` of the token, as its documentation has it.
fn theirs(token: &str, keys: &Value) -> bool {
    let Ok(untrusted) = UntrustedToken::new(token) else { return false };
    let kid = untrusted.header().key_id.as_deref();
    let is_named = |key: &&Value| kid.is_none() || key.get("kid").is_none() || key["kid"].as_str() == kid;
    keys.as_array().unwrap().iter().filter(is_named).any(|key| {
        let Ok(jwk) = serde_json::from_value::<JsonWebKey>(key.clone()) else { return false };
        match untrusted.algorithm() {
            "HS256" => Hs256Key::try_from(&jwk).is_ok_and(|key| takes(&Hs256, &key, token)),
            "HS384" => Hs384Key::try_from(&jwk).is_ok_and(|key| takes(&Hs384, &key, token)),
            "HS512" => Hs512Key::try_from(&jwk).is_ok_and(|key| takes(&Hs512, &key, token)),
            "ES256" => p256_key(&jwk).is_some_and(|key| takes(&Es256, &key, token)),
            "EdDSA" => ed25519_key(&jwk).is_some_and(|key| takes(&Ed25519, &key, token)),
            name => rsa(name).zip(RsaPublicKey::try_from(&jwk).ok()).is_some_and(|(rsa, key)| takes(&rsa, &key, token)),
        }
    })
}

fn p256_key(jwk: &JsonWebKey) -> Option<<Es256 as Algorithm>::VerifyingKey> {
    jwk.try_into().ok()
}

fn ed25519_key(jwk: &JsonWebKey) -> Option<<Ed25519 as Algorithm>::VerifyingKey> {
    jwk.try_into().ok()
}

/// Its validator wants claims, and these vectors sign anything: the signature is asked about by itself.
fn takes<A: Algorithm>(algorithm: &A, key: &A::VerifyingKey, token: &str) -> bool {
    let (signed, signature) = token.rsplit_once('.').unwrap();
    let Ok(octets) = BASE64URL.decode(signature) else { return false };
    let is_long_enough = A::Signature::LENGTH.is_none_or(|length| length.get() == octets.len());
    is_long_enough
        && A::Signature::try_from_slice(&octets)
            .is_ok_and(|signature| algorithm.verify_signature(&signature, key, signed.as_bytes()))
}

fn rsa(name: &str) -> Option<Rsa> {
    ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"].contains(&name).then(|| Rsa::with_name(name))
}

#[test]
fn what_one_takes_and_the_other_refuses() {
    let mut found: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut both, mut neither) = (0, 0);
    for (id, token, keys) in all() {
        match (ours(&token, &keys), theirs(&token, &keys)) {
            (true, true) => both += 1,
            (false, false) => neither += 1,
            (true, false) => found.entry("only ours").or_default().push(id),
            (false, true) => found.entry("only theirs").or_default().push(id),
        }
    }
    let names = |listed: &[(&str, &str)]| listed.iter().map(|(id, _)| (*id).to_owned()).collect::<Vec<_>>();
    assert_eq!(found.remove("only ours").unwrap_or_default(), names(&ONLY_OURS));
    assert_eq!(found.remove("only theirs").unwrap_or_default(), names(&ONLY_THEIRS));
    // It would prove little if all went one way.
    assert_eq!((both, neither), (78, 421));
}

const NO_CURVE: &str = "it knows no curve but P-256 and Ed25519";

const ONLY_OURS: [(&str, &str); 4] = [
    ("jvl-verify-verify_jwk_ec_test-JwtES384Text", NO_CURVE),
    ("jvl-verify-verify_jwk_ec_test-JwtES512Text", NO_CURVE),
    ("rfc7515-A.4-ES512", NO_CURVE),
    ("jws/4_3.ecdsa_signature", NO_CURVE),
];

const OTHER_ALGORITHM: &str = "the key's `alg` is another (RFC 8725, section 3.1), which it doesn't look at";
const OTHER_USE: &str =
    "the key's `use` or `key_ops` is another (RFC 7517, sections 4.2 and 4.3), which it doesn't look at";
const SHORT_KEY: &str = "a key shorter than the hash (RFC 7518, section 3.2), or than 2048 bits (section 3.3)";
const MIXED_SET: &str = "a secret in a set that is published (RFC 8725, section 3.5)";
const ONE_KID: &str = "two keys with one `kid`: which of them is meant depends on their order";

const ONLY_THEIRS: [(&str, &str); 27] = [
    ("wy-signature-332", OTHER_ALGORITHM),
    ("wy-signature-334", OTHER_ALGORITHM),
    ("wy-signature-336", OTHER_ALGORITHM),
    ("wy-signature-338", OTHER_ALGORITHM),
    ("wy-signature-340", OTHER_ALGORITHM),
    ("wy-signature-346", OTHER_ALGORITHM),
    ("wy-signature-350", OTHER_ALGORITHM),
    ("wy-signature-353", OTHER_USE),
    ("wy-signature-354", OTHER_USE),
    ("wy-signature-355", OTHER_USE),
    ("wy-signature-356", OTHER_USE),
    ("wy-key-1", MIXED_SET),
    ("wy-key-4", ONE_KID),
    ("wy-key-6", OTHER_USE),
    ("wy-key-8", SHORT_KEY),
    ("wy-key-10", SHORT_KEY),
    ("wy-key-11", SHORT_KEY),
    ("wy-key-12", SHORT_KEY),
    ("wy-key-16", SHORT_KEY),
    ("wy-key-17", SHORT_KEY),
    ("wy-key-18", SHORT_KEY),
    ("wy-key-19", OTHER_ALGORITHM),
    ("wy-key-20", OTHER_ALGORITHM),
    ("wy-key-21", OTHER_USE),
    ("wy-key-25", OTHER_ALGORITHM),
    ("wy-key-26", OTHER_ALGORITHM),
    ("wy-crypto-47", MIXED_SET),
];

// ---------------------------------------------------------------------------------------------- why it verifies nothing here

const SECRET: [u8; 32] = [7; 32];

/// A token of this header and this payload, whose tag is right.
fn signed(header: &str, payload: &str) -> String {
    let input = format!("{}.{}", BASE64URL.encode(header), BASE64URL.encode(payload));
    let tag = Hs256.sign(&Hs256Key::new(SECRET), input.as_bytes());
    format!("{input}.{}", BASE64URL.encode(tag.as_bytes()))
}

/// What each makes of it: of its signature and its form alone.
fn both(token: &str) -> (bool, bool) {
    let keys = json!([{"kty": "oct", "k": BASE64URL.encode(SECRET)}]);
    let untrusted = UntrustedToken::new(token);
    let theirs = untrusted.is_ok_and(|token| {
        Hs256.validator::<serde_json::Map<String, Value>>(&Hs256Key::new(SECRET)).validate(&token).is_ok()
    });
    let ours = ours(token, &keys)
        && CompactJws::parse(token).is_ok_and(|jws| json::parse_object(jws.unverified_payload()).is_ok());
    (ours, theirs)
}

#[test]
fn what_else_it_takes() {
    assert_eq!(both(&signed(r#"{"alg":"HS256"}"#, r#"{"sub":"ann"}"#)), (true, true));
    for (header, payload, why) in [
        (
            r#"{"alg":"HS256","crit":["exp"],"exp":1}"#,
            "{}",
            "RFC 7515, section 4.1.11: what is critical is not understood",
        ),
        (r#"{"alg":"HS256","crit":[]}"#, "{}", "the same: `crit` is never empty"),
        (r#"{"alg":"HS256","b64":false,"crit":["b64"]}"#, "{}", "RFC 7797: the payload is no base64url"),
        (
            r#"{"alg":"HS256"}"#,
            r#"{"sub":"ann","sub":"bob"}"#,
            "RFC 7519, section 4: the last of two members of one name",
        ),
        (r#"{"alg":"HS256","x":1,"x":2}"#, "{}", "RFC 7515, section 4: the same in the header"),
    ] {
        assert_eq!(both(&signed(header, payload)), (false, true), "{why}");
    }
}

/// A token that anybody whose provider lets him choose a time could have, and a worker would be gone.
#[test]
fn an_extreme_time_makes_it_panic() {
    let token = signed(
        r#"{"alg":"HS256"}"#,
        &format!(r#"{{"sub":"ann","nbf":{}}}"#, chrono::DateTime::<chrono::Utc>::MIN_UTC.timestamp()),
    );
    let untrusted = UntrustedToken::new(&token).unwrap();
    let validated = Hs256.validator::<Empty>(&Hs256Key::new(SECRET)).validate(&untrusted).unwrap();
    let now = chrono::DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let options = TimeOptions::new(chrono::Duration::seconds(60), || now);
    std::panic::set_hook(Box::new(|_| {}));
    let judged = std::panic::catch_unwind(|| validated.claims().validate_maturity(&options).is_ok());
    drop(std::panic::take_hook());
    assert!(judged.is_err(), "it is mended: say so beside the dependency");
    // Here it is a time like any other, or none.
    let jws = CompactJws::parse(&token).unwrap();
    let claims = json::parse_object(jws.unverified_payload()).ok().and_then(|claims| Claims::from_answer(claims).ok());
    assert!(claims.is_none_or(|claims| claims.object().contains_key("nbf")));
}
