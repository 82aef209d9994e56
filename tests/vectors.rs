//! Published vectors: what others found worth testing. `tests/vectors/README.md` says where each comes from.
//!
//! Every file counts its cases, so that a vector that is skipped by mistake is noticed. An exception to a
//! published result is listed by name with its reason, and must stay one.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use oidc_filter::jose::jwk::{Algorithm, Jwk, JwkSet, KeySetOrigin};
use oidc_filter::jose::jws::{self, CompactJws, Form};
use oidc_filter::jose::jwt::{self, Audiences, Claims, Expected, Issuer};
use oidc_filter::jose::verifier::Verifier;
use oidc_filter::json;
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

fn cases(path: &str) -> Vec<Value> {
    let path = format!("{}/tests/vectors/{path}", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(&path).expect(&path)).expect(&path)
}

fn text<'v>(case: &'v Value, name: &str) -> &'v str {
    case[name].as_str().unwrap_or_else(|| panic!("{name} of {case}"))
}

fn bytes(case: &Value, name: &str) -> Vec<u8> {
    let hex = text(case, name).as_bytes();
    let digit = |digit: &u8| char::from(*digit).to_digit(16).unwrap() as u8;
    hex.chunks(2).map(|pair| digit(&pair[0]) << 4 | digit(&pair[1])).collect()
}

/// Whether the token is proved by one of the keys.
fn verifies(token: &str, keys: &Value) -> bool {
    let set = json!({ "keys": keys }).to_string();
    let Ok(set) = JwkSet::parse(set.as_bytes(), origin(keys)) else {
        return false;
    };
    proves(token, &set)
}

fn proves(token: &str, set: &JwkSet) -> bool {
    CompactJws::parse(token).is_ok_and(|jws| {
        let candidates = set.candidates(jws.key_id(), jws.algorithm());
        jws.verify(candidates, &Verifier::default()).is_ok()
    })
}

/// As an operator would have it: secrets only in a set of their own, in the configuration.
fn origin(keys: &Value) -> KeySetOrigin {
    let keys = keys.as_array().unwrap();
    if keys.iter().all(|key| key["kty"] == "oct") { KeySetOrigin::Inline } else { KeySetOrigin::Remote }
}

/// SIG-05, SIG-06, SIG-08, JWK-02.
#[test]
fn json_web_signatures_are_as_wycheproof_says() {
    let cases = cases("wycheproof/jws.json");
    let mut accepted = 0;
    let mut relabelled = Vec::new();
    for case in &cases {
        let is_valid = verifies(text(case, "jws"), &case["keys"]);
        assert_eq!(is_valid, case["expected"] == "valid", "{}: {}", case["id"], case["why"]);
        accepted += usize::from(is_valid);
        if case["expected"] != case["label"] {
            relabelled.push(text(case, "id"));
        }
    }
    assert_eq!((cases.len(), accepted), (476, 53));
    assert_eq!(
        relabelled,
        [
            "wy-signature-346", // PS384 with a key for PS256
            "wy-signature-347", // ES512 with a key for "ES521"
            "wy-signature-350", // as 346
            "wy-signature-351", // as 347
            "wy-signature-367", // byte-identical to 357, which is valid
            "wy-signature-370", // byte-identical to 357, which is valid
            "wy-signature-372", // "?" in the header
            "wy-signature-373", // "?" in the payload
            "wy-key-7",         // a sound signature by a key with the ROCA fingerprint
            "wy-crypto-46",     // as key-7
        ]
    );
}

/// Every vector of one file of primitives, through [`Jwk::verify`]: how many there were, and how many verified.
fn primitives(file: &str) -> (usize, usize) {
    let (mut run, mut accepted) = (0, 0);
    for group in cases(&format!("wycheproof/{file}.json")) {
        // A group of parameters that JOSE cannot express must verify under none of the algorithms.
        let named = Algorithm::from_name(text(&group, "alg"));
        let algorithms = named.map_or(Algorithm::ASYMMETRIC.to_vec(), |one| vec![one]);
        let prepared = group.get("key").map(|key| Jwk::parse(key, KeySetOrigin::Remote));
        for case in group["tests"].as_array().unwrap() {
            let key = prepared.clone().unwrap_or_else(|| {
                let k = BASE64URL.encode(bytes(case, "key"));
                Jwk::parse(&json!({"kty": "oct", "k": k}), KeySetOrigin::Inline)
            });
            let is_valid = algorithms.iter().any(|algorithm| {
                let (message, signature) = (bytes(case, "msg"), bytes(case, "sig"));
                key.as_ref().is_ok_and(|key| key.verify(*algorithm, &message, &signature).is_ok())
            });
            let expected = match case["comment"].as_str() {
                // Made to be wrong where no salt is expected, which makes it right for PS256.
                Some("s_len changed to 32") if group["sLen"] == 0 => true,
                _ => named.is_some() && case["result"] == "valid" && fits_jose(&group),
            };
            assert_eq!(is_valid, expected, "{file} {}", case["tcId"]);
            run += 1;
            accepted += usize::from(is_valid);
        }
    }
    (run, accepted)
}

/// RFC 7518: a salt as long as the hash, one hash for all, a whole tag, a key no shorter than the tag.
fn fits_jose(group: &Value) -> bool {
    let hash_bits: Option<u64> = text(group, "alg").get(2..).and_then(|bits| bits.parse().ok());
    let is_hash = |name: &str| group[name].as_str().is_none_or(|sha| sha.parse().ok() == hash_bits);
    let at_least = |name: &str| group[name].as_u64().is_none_or(|bits| Some(bits) >= hash_bits);
    let salt_bits = group["sLen"].as_u64().map(|octets| octets * 8);
    is_hash("mgfSha") && at_least("keySize") && at_least("tagSize") && (salt_bits.is_none() || salt_bits == hash_bits)
}

/// SIG-02, SIG-03, SIG-04.
#[test]
fn ecdsa_is_as_wycheproof_says() {
    assert_eq!(primitives("ecdsa_secp256r1_sha256_p1363"), (262, 173));
    assert_eq!(primitives("ecdsa_secp384r1_sha384_p1363"), (280, 193));
    assert_eq!(primitives("ecdsa_secp521r1_sha512_p1363"), (318, 231));
}

/// SIG-07.
#[test]
fn ed25519_is_as_wycheproof_says() {
    assert_eq!(primitives("ed25519"), (151, 88));
}

#[test]
fn wycheproof_hmac() {
    assert_eq!(primitives("hmac_sha256"), (174, 30));
    assert_eq!(primitives("hmac_sha384"), (174, 30));
    assert_eq!(primitives("hmac_sha512"), (174, 30));
}

/// SIG-05.
#[test]
fn rsa_pkcs1_is_as_wycheproof_says() {
    // "Acceptable" are signatures that lack the NULL parameter of the hash: refused.
    assert_eq!(primitives("rsa_signature_2048_sha256"), (259, 9));
    assert_eq!(primitives("rsa_signature_2048_sha384"), (258, 7));
    assert_eq!(primitives("rsa_signature_2048_sha512"), (259, 8));
    assert_eq!(primitives("rsa_signature_3072_sha256"), (259, 8));
    assert_eq!(primitives("rsa_signature_3072_sha384"), (259, 7));
    assert_eq!(primitives("rsa_signature_3072_sha512"), (260, 8));
    assert_eq!(primitives("rsa_signature_4096_sha256"), (258, 7));
    assert_eq!(primitives("rsa_signature_4096_sha384"), (259, 7));
    assert_eq!(primitives("rsa_signature_4096_sha512"), (259, 7));
    assert_eq!(primitives("rsa_signature_8192_sha256"), (258, 7));
}

/// SIG-06.
#[test]
fn rsa_pss_is_as_wycheproof_says() {
    assert_eq!(primitives("rsa_pss_2048_sha256_mgf1_0"), (103, 1));
    assert_eq!(primitives("rsa_pss_2048_sha256_mgf1_32"), (108, 63));
    assert_eq!(primitives("rsa_pss_2048_sha384_mgf1_48"), (141, 95));
    assert_eq!(primitives("rsa_pss_3072_sha256_mgf1_32"), (108, 63));
    assert_eq!(primitives("rsa_pss_4096_sha256_mgf1_32"), (108, 63));
    assert_eq!(primitives("rsa_pss_4096_sha384_mgf1_48"), (141, 95));
    assert_eq!(primitives("rsa_pss_4096_sha512_mgf1_64"), (179, 132));
    // All 150 combinations of two hashes and a salt length, of which JOSE has three.
    assert_eq!(primitives("rsa_pss_misc"), (150, 3));
}

/// Not a signed token, whatever else it may be.
fn is_no_jws(token: &str) {
    assert!(CompactJws::parse(token).is_err(), "{token:.80}");
    assert_ne!(jws::form(token), Form::Jws, "{token:.80}");
}

/// ALG-16.
#[test]
fn an_encrypted_token_is_refused() {
    let mut encrypted = 0;
    let cases = cases("wycheproof/jwe.json");
    for case in &cases {
        // Some are in the JSON serialization.
        let token = case["token"].as_str().map_or(case["token"].to_string(), str::to_owned);
        is_no_jws(&token);
        encrypted += usize::from(jws::form(&token) == Form::Jwe);
    }
    // The others have no header with `enc`, in whatever form.
    assert_eq!((cases.len(), encrypted), (173, 163));
}

/// ALG-15, ALG-16, ENC-07.
#[test]
fn the_cookbook_is_read_as_far_as_it_is_supported() {
    let mut proved = Vec::new();
    let cases = cases("cookbook/tokens.json");
    for case in &cases {
        for serialization in ["json", "json_flat"] {
            is_no_jws(&case["output"][serialization].to_string());
        }
        match case["output"]["compact"].as_str() {
            Some(token) if verifies(token, &json!([case["key"]])) => proved.push(text(case, "id")),
            // A detached payload and an unencoded one.
            Some(token) if matches!(text(case, "id").get(..3), Some("jws" | "rfc")) => {
                assert_eq!(jws::form(token), Form::Jws);
            }
            Some(token) => is_no_jws(token),
            None => {}
        }
    }
    assert_eq!(cases.len(), 25);
    assert_eq!(
        proved,
        [
            "curve25519/jws",
            "jws/4_1.rsa_v15_signature",
            "jws/4_2.rsa-pss_signature",
            "jws/4_3.ecdsa_signature",
            "jws/4_4.hmac-sha2_integrity_protection",
        ]
    );
}

#[test]
fn rfc_tokens() {
    let mut accepted = Vec::new();
    for case in cases("rfc/tokens.json") {
        let (id, token) = (text(&case, "id"), text(&case, "token"));
        let is_proved = verifies(token, &json!([case["jwk"]]));
        assert_eq!(is_proved, case["signature_verifies"] == true, "{id}");
        if case["pinned_clock_expected"] == "accept" {
            let keys = json!({"keys": [case["jwk"]]}).to_string();
            let set = JwkSet::parse(keys.as_bytes(), origin(&json!([case["jwk"]]))).unwrap();
            let check = |now| check(token, &set, "joe", now).map(|_| ());
            // RFC 7515, appendix A.1: issued by joe, ends at 1300819380.
            assert_eq!(check(1_300_819_379), Ok(()), "{id}");
            assert_eq!(check(1_300_819_380), Err(jwt::Error::Expired), "{id}");
            accepted.push(id.to_owned());
        }
    }
    assert_eq!(accepted, ["rfc7515-A.1-HS256", "rfc7515-A.2-RS256", "rfc7515-A.3-ES256", "rfc7519-3.1-HS256"]);
}

fn check(token: &str, set: &JwkSet, issuer: &str, now: u64) -> Result<jwt::AccessToken, jwt::Error> {
    let jws = CompactJws::parse(token).unwrap();
    let payload = jws.verify(set.candidates(jws.key_id(), jws.algorithm()), &Verifier::default()).unwrap();
    let expected = Expected {
        issuer: Issuer::Exactly(issuer),
        audiences: &Audiences::Any,
        token_types: &[],
        refuse_id_tokens: false,
        clock_skew: Duration::ZERO,
        require_expiration: true,
        max_lifetime: None,
    };
    Rc::new(Claims::from_jwt(payload)?).check(&expected, Timestamp::from_unix_seconds(now))?.shown_with(None, None)
}

#[test]
fn jwt_verify_lib_parse() {
    let mut differences = Vec::new();
    let cases = cases("jwt_verify_lib/parse.json");
    for case in &cases {
        let parsed = CompactJws::parse(text(case, "jwt"));
        let is_fine = parsed.is_ok_and(|jws| {
            json::parse_object(jws.unverified_payload()).is_ok_and(|claims| Claims::from_answer(claims).is_ok())
        });
        if is_fine != (case["envoy_status"] == "Ok") {
            differences.push(text(case, "id"));
        }
    }
    // An answer's number may be written as text, which these vectors have; a JWT's may not.
    let names = ["Iat", "Nbf", "Exp"].map(|name| format!("jvl-parse-TestParsePayload{name}NotInteger"));
    assert_eq!((cases.len(), differences), (32, names.iter().map(String::as_str).collect()));
}

#[test]
fn jwt_verify_lib_jwks() {
    let mut differences = Vec::new();
    let cases = cases("jwt_verify_lib/jwks.json");
    for case in &cases {
        let set = JwkSet::parse(text(case, "jwks").as_bytes(), KeySetOrigin::Inline);
        if set.is_ok() != (case["envoy_status"] == "Ok") {
            differences.push(text(case, "id"));
        }
    }
    assert_eq!(cases.len(), 62);
    assert_eq!(
        differences,
        [
            "jvl-jwks-GoodOKP",                      // `x` is not a point of Ed25519
            "jvl-jwks-JwksIgnoreUnsupportedKey",     // as above
            "jvl-jwks-JwksECMissingBothAlgCrvES256", // no `crv`
            "jvl-jwks-JwkECMissingCrv",              // no `crv`
            "jvl-jwks-JwksECUnspecifiedCrv",         // no `crv`
        ]
    );
}

#[test]
fn jwt_verify_lib_verify() {
    let mut differences = Vec::new();
    let cases = cases("jwt_verify_lib/verify.json");
    for case in &cases {
        let set = JwkSet::parse(text(case, "jwks").as_bytes(), KeySetOrigin::Inline);
        let is_proved = set.is_ok_and(|set| proves(text(case, "jwt"), &set));
        if is_proved != (case["envoy_status"] == "Ok") {
            differences.push(text(case, "id"));
        }
    }
    assert_eq!(cases.len(), 28);
    assert_eq!(
        differences,
        [
            // The key set of these has a trailing comma.
            "jvl-verify-verify_jwk_hmac_test-JwtTextNoKid",
            "jvl-verify-verify_jwk_hmac_test-JwtTextNoKidLongExp",
            "jvl-verify-verify_jwk_hmac_test-JwtHS256TextWithCorrectKid",
            "jvl-verify-verify_jwk_hmac_test-JwtHS384TextWithCorrectKid",
            "jvl-verify-verify_jwk_hmac_test-JwtHS512TextWithCorrectKid",
        ]
    );
}

/// WSM-02.
#[test]
fn published_fuzzing_seeds_do_no_harm() {
    let cases = cases("mod_auth_openidc/seeds.json");
    let mut usable_sets = Vec::new();
    for seed in cases.iter().filter(|seed| seed["kind"] == "jwks") {
        if let Ok(set) = JwkSet::parse(text(seed, "text").as_bytes(), KeySetOrigin::Remote) {
            usable_sets.push((text(seed, "name"), set));
        }
    }
    let names: Vec<&str> = usable_sets.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["set-good-then-bad", "set-rsa-ec-oct", "set-x5c-real"]);

    // Two seeds are meant to verify, with keys of those sets; each seed is also tried as every other input.
    let mut proved = Vec::new();
    for seed in &cases {
        let (name, text) = (text(seed, "name"), text(seed, "text"));
        jws::form(text);
        let _ = json::parse(text.as_bytes());
        if usable_sets.iter().any(|(_, set)| proves(text, set)) {
            proved.push(name);
        }
    }
    assert_eq!((cases.len(), proved), (34, vec!["es256-kid-valid", "rs256-x5t-valid"]));
}
