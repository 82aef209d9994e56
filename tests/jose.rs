//! Tokens minted with one fault each, and their neighbours that must be accepted.
//!
//! The ids (`ALG-01`, `CLM-09`, …) name the attack or the interoperability case: ALG algorithms and key choice, ENC
//! structure and encoding, SIG signatures, JWK keys and sets, CLM claims and time.

mod support;

use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use ed25519_dalek::Signer as _;
use oidc_filter::jose::jwk::{
    Algorithm, BadSignature, Jwk, JwkSet, KeyError, KeySetOrigin, Keys, MAX_CANDIDATES, SetError,
};
use oidc_filter::jose::jws::{self, CompactJws, Form};
use oidc_filter::jose::jwt::{self, AccessToken, Audiences, Claims, Expected, Issuer};
use oidc_filter::jose::verifier::Verifier;
use oidc_filter::json;
use oidc_filter::time::Timestamp;
use rsa::Pkcs1v15Sign;
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::EncodePublicKey as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256, Sha512};
use support::{Noise, RSA_D, RSA_N, Signing, certificate, p521_key, pem, rsa_key, sign, with};

const ISSUER: &str = "https://idp.example.com";
const AUDIENCE: &str = "https://api.example.com";
const NOW: u64 = 1_800_000_000;

// ---------------------------------------------------------------------------------------------- the provider

/// The keys of the provider, by `kid`, which is also the algorithm that each is used for.
static KEYS: LazyLock<Vec<(&str, Signing)>> = LazyLock::new(|| {
    vec![
        ("RS256", Signing::Rsa(Box::new(rsa_key()))),
        ("ES256", Signing::P256(p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap())),
        ("ES384", Signing::P384(p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap())),
        ("ES512", Signing::P521(p521_key())),
        ("EdDSA", Signing::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[7; 32]))),
    ]
});

fn key(kid: &str) -> &'static Signing {
    &KEYS.iter().find(|(name, _)| *name == kid).unwrap().1
}

fn public(kid: &str) -> Value {
    key(kid).jwk(kid)
}

fn set_of(keys: &[Value]) -> Result<JwkSet, SetError> {
    JwkSet::parse(json!({"keys": keys}).to_string().as_bytes(), KeySetOrigin::Remote)
}

fn errors(set: &JwkSet) -> Vec<KeyError> {
    set.refused().iter().map(|refused| refused.error).collect()
}

fn has_no_usable_key(set: Result<JwkSet, SetError>) -> bool {
    matches!(set, Err(SetError::NoUsableKey(_)))
}

/// The published set: no key says its `alg`.
static SET: LazyLock<JwkSet> = LazyLock::new(|| {
    let keys: Vec<Value> = KEYS.iter().map(|(kid, _)| public(kid)).collect();
    set_of(&keys).unwrap()
});

// ---------------------------------------------------------------------------------------------- tokens

fn header() -> Value {
    json!({"alg": "EdDSA", "kid": "EdDSA", "typ": "at+jwt"})
}

fn claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "user", "client_id": "client", "jti": "1",
        "iat": NOW - 60, "exp": NOW + 600, "scope": "read write",
    })
}

fn good_token() -> String {
    with_header(json!({}))
}

fn with_header(change: Value) -> String {
    raw_header(with(header(), change).to_string())
}

fn raw_header(header: impl AsRef<[u8]>) -> String {
    sign(key("EdDSA"), "EdDSA", header, claims().to_string())
}

fn with_claims(change: Value) -> String {
    raw_claims(with(claims(), change).to_string())
}

fn raw_claims(claims: impl AsRef<[u8]>) -> String {
    sign(key("EdDSA"), "EdDSA", header().to_string(), claims)
}

/// The claims as text, in which the value of one is replaced by any text.
fn claim_text(name: &str, text: &str) -> String {
    let claims = with(claims(), json!({name: "@"})).to_string();
    raw_claims(claims.replace("\"@\"", text))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Refusal {
    Jws(jws::Error),
    Jwt(jwt::Error),
    Signature,
}

impl From<jws::Error> for Refusal {
    fn from(error: jws::Error) -> Self {
        Self::Jws(error)
    }
}

impl From<jwt::Error> for Refusal {
    fn from(error: jwt::Error) -> Self {
        Self::Jwt(error)
    }
}

impl From<BadSignature> for Refusal {
    fn from(_: BadSignature) -> Self {
        Self::Signature
    }
}

const MALFORMED: Refusal = Refusal::Jws(jws::Error::Malformed);
const UNSUPPORTED: Refusal = Refusal::Jws(jws::Error::Unsupported);
const NOT_CLAIMS: Refusal = Refusal::Jwt(jwt::Error::Malformed);

fn invalid(claim: &'static str) -> Refusal {
    Refusal::Jwt(jwt::Error::InvalidClaims(claim))
}

static AUDIENCES: LazyLock<Audiences> = LazyLock::new(|| Audiences::AnyOf(vec![AUDIENCE.to_owned()]));

fn expected() -> Expected<'static> {
    Expected {
        issuer: Issuer::Exactly(ISSUER),
        audiences: &AUDIENCES,
        token_types: &[],
        refuse_id_tokens: false,
        clock_skew: Duration::from_secs(60),
        require_expiration: true,
        max_lifetime: None,
    }
}

/// The whole way of a token, in the order in which a filter must go it.
fn prove(token: &str, set: &JwkSet, expected: &Expected<'_>, now: u64) -> Result<AccessToken, Refusal> {
    let jws = CompactJws::parse(token)?;
    jwt::Unverified::read(&jws)?;
    let payload = jws.verify(Keys::of([set]).candidates(&jws.key_hint(), jws.algorithm()), &Verifier::default())?;
    let claims = Rc::new(Claims::from_jwt(payload)?);
    Ok(claims.check(expected, Timestamp::from_unix_seconds(now))?.shown_with(None, None)?)
}

fn outcome(token: &str) -> Result<(), Refusal> {
    prove(token, &SET, &expected(), NOW).map(drop)
}

#[track_caller]
fn accepts(id: &str, token: &str) {
    assert_eq!(outcome(token), Ok(()), "{id} {token:.300}");
}

#[track_caller]
fn refuses(id: &str, token: &str, refusal: Refusal) {
    assert_eq!(outcome(token), Err(refusal), "{id} {token:.300}");
}

// ---------------------------------------------------------------------------------------------- algorithms

/// ALG-09.
#[test]
fn every_algorithm_verifies() {
    accepts("", &good_token());
    for (kid, algorithm) in [
        ("RS256", "RS256"),
        ("RS256", "RS384"),
        ("RS256", "RS512"),
        ("RS256", "PS256"),
        ("RS256", "PS384"),
        ("RS256", "PS512"),
        ("ES256", "ES256"),
        ("ES384", "ES384"),
        ("ES512", "ES512"),
        ("EdDSA", "EdDSA"),
        ("EdDSA", "Ed25519"), // ALG-09
    ] {
        let header = json!({"alg": algorithm, "kid": kid}).to_string();
        accepts(algorithm, &sign(key(kid), algorithm, header, claims().to_string()));
    }
}

/// ALG-01.
#[test]
fn the_algorithm_none_is_refused() {
    for name in ["none", "None", "NONE", "nOnE", "none ", "nonE\0", ""] {
        for kid in [json!("EdDSA"), json!(null)] {
            let token = with_header(json!({"alg": name, "kid": kid}));
            refuses("ALG-01", &token, UNSUPPORTED);
            let (unsigned, _) = token.rsplit_once('.').unwrap();
            refuses("ALG-01", &format!("{unsigned}."), UNSUPPORTED);
            refuses("ALG-01", unsigned, MALFORMED);
        }
    }
    refuses("ALG-01", &raw_header(r#"{"alg":null}"#), MALFORMED);
}

/// ALG-02.
#[test]
fn a_token_without_an_algorithm_is_refused() {
    refuses("ALG-02", &with_header(json!({"alg": null})), MALFORMED);
    for value in [json!(1), json!(["EdDSA"]), json!({"EdDSA": 1}), json!(true)] {
        refuses("ALG-02", &with_header(json!({"alg": value})), MALFORMED);
    }
    for name in [
        "eddsa",
        "EDDSA",
        " EdDSA",
        "EdDSA ",
        "EdDSA\0",
        "\u{415}dDSA",
        "Ed448",
        "ES256K",
        "RS1",
        "SHA256withECDSA",
        "dir",
    ] {
        refuses("ALG-02", &with_header(json!({"alg": name})), UNSUPPORTED);
    }
}

/// ALG-03.
#[test]
fn a_public_key_is_never_a_secret() {
    let n = BASE64URL.decode(RSA_N).unwrap();
    let Signing::P256(ec) = key("ES256") else { unreachable!() };
    let point = ec.verifying_key().to_sec1_point(false).as_bytes().to_vec();
    let spki_prefix =
        b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\0";
    let der = [&spki_prefix[..], &point].concat();
    let ec_pem = pem("PUBLIC KEY", &der);
    let rsa = rsa_key().to_public_key();
    let (pkcs1, spki) = (rsa.to_pkcs1_der().unwrap().into_vec(), rsa.to_public_key_der().unwrap().into_vec());
    let (pkcs1_pem, spki_pem) = (pem("RSA PUBLIC KEY", &pkcs1), pem("PUBLIC KEY", &spki));
    let Signing::Ed25519(ed25519) = key("EdDSA") else { unreachable!() };
    let ed25519 = ed25519.verifying_key().to_bytes();
    let secrets: [&[u8]; 18] = [
        &n,
        RSA_N.as_bytes(),
        &pkcs1,
        pkcs1_pem.as_bytes(),
        pkcs1_pem.trim_end().as_bytes(),
        &spki,
        spki_pem.as_bytes(),
        spki_pem.trim_end().as_bytes(),
        &point,
        &point[1..],
        &der,
        ec_pem.as_bytes(),
        ec_pem.trim_end().as_bytes(),
        &ed25519,
        public("RS256").to_string().leak().as_bytes(),
        public("EdDSA").to_string().leak().as_bytes(),
        &[],
        &[0; 64],
    ];
    for secret in secrets {
        for algorithm in ["HS256", "HS384", "HS512"] {
            for kid in ["RS256", "ES256", "EdDSA", ""] {
                let header = match kid {
                    "" => json!({"alg": algorithm}),
                    kid => json!({"alg": algorithm, "kid": kid}),
                };
                let key = Signing::Hmac(secret.to_vec());
                let token = sign(&key, algorithm, header.to_string(), claims().to_string());
                refuses("ALG-03", &token, Refusal::Signature);
            }
        }
    }
}

/// ALG-04, ALG-06: a key verifies with what fits its type and its curve, whatever a header says.
#[test]
fn keys_permit_what_fits_them() {
    use Algorithm::*;
    for (kid, fitting) in [
        ("RS256", &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512][..]),
        ("ES256", &[Es256]),
        ("ES384", &[Es384]),
        ("ES512", &[Es512]),
        ("EdDSA", &[EdDsa]),
    ] {
        let jwk = Jwk::parse(&public(kid), KeySetOrigin::Remote).unwrap();
        for algorithm in Algorithm::ASYMMETRIC.iter().chain(&[Hs256, Hs384, Hs512]) {
            assert_eq!(jwk.permits(*algorithm), fitting.contains(algorithm), "{kid} {algorithm:?}");
            // The right signature, under the wrong name.
            let signature = key(kid).sign(kid, b"message");
            let is_verified = jwk.verify(*algorithm, b"message", &signature).is_ok();
            assert_eq!(is_verified, algorithm.name() == kid, "{kid} {algorithm:?}");
            let header = json!({"alg": algorithm.name(), "kid": kid}).to_string();
            let token = sign(key(kid), kid, header, claims().to_string());
            assert_eq!(outcome(&token).is_ok(), algorithm.name() == kid, "{kid} {algorithm:?}");
        }
    }
    // The other curve of 256 bits, by name only.
    let token = sign(key("ES256"), "ES256", r#"{"alg":"ES256K","kid":"ES256"}"#, claims().to_string());
    refuses("ALG-06", &token, UNSUPPORTED);
}

/// ALG-05.
#[test]
fn the_algorithm_of_the_key_decides() {
    let set = |alg: &str| set_of(&[with(public("RS256"), json!({"alg": alg}))]).unwrap();
    let token = |algorithm: &str| {
        let header = json!({"alg": algorithm, "kid": "RS256"}).to_string();
        sign(key("RS256"), algorithm, header, claims().to_string())
    };
    let outcome = |token: &str, set: &JwkSet| prove(token, set, &expected(), NOW).map(drop);
    assert_eq!(outcome(&token("RS256"), &set("RS256")), Ok(()));
    for other in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        assert_eq!(outcome(&token("RS256"), &set(other)), Err(Refusal::Signature), "{other}");
        assert_eq!(outcome(&token(other), &set(other)), Ok(()), "{other}");
        assert_eq!(outcome(&token(other), &set("RS256")), Err(Refusal::Signature), "{other}");
    }
}

/// ALG-07, JWK-08.
#[test]
fn published_secrets_are_no_keys() {
    let secret = [7; 64];
    let oct = json!({"kid": "s", "kty": "oct", "alg": "HS256", "k": BASE64URL.encode(secret)});
    let set = set_of(&[oct.clone(), public("EdDSA")]).unwrap();
    assert_eq!((set.len(), errors(&set)), (1, vec![KeyError::PublishedSecret])); // JWK-08
    let header = json!({"alg": "HS256", "kid": "s"}).to_string();
    let token = sign(&Signing::Hmac(secret.to_vec()), "HS256", header, claims().to_string());
    let outcome = |set: &JwkSet, token: &str| prove(token, set, &expected(), NOW).map(drop);
    assert_eq!(outcome(&set, &token), Err(Refusal::Signature));
    assert_eq!(outcome(&set, &good_token()), Ok(()));
    assert!(has_no_usable_key(set_of(std::slice::from_ref(&oct))));

    let inline = json!({"keys": [oct]}).to_string();
    let inline = JwkSet::parse(inline.as_bytes(), KeySetOrigin::Inline).unwrap();
    assert_eq!(outcome(&inline, &token), Ok(()));
    assert!(!format!("{inline:?}").contains("7, 7, 7, 7"));
}

/// ALG-10 to ALG-13.
#[test]
fn keys_in_the_token() {
    let attacker = Signing::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[9; 32]));
    let Signing::Ed25519(attacker_key) = &attacker else { unreachable!() };
    let x = BASE64URL.encode(attacker_key.verifying_key().as_bytes());
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": "EdDSA", "alg": "EdDSA"});
    for (id, change) in [
        ("ALG-10", json!({"jwk": jwk})),
        ("ALG-10", json!({"jwk": jwk, "kid": null})),
        ("ALG-10", json!({"jwk": jwk, "kid": "attacker"})),
        ("ALG-10", json!({"jwk": {"kty": "oct", "k": BASE64URL.encode([9; 32])}})),
        ("ALG-11", json!({"jku": "https://evil.example/jwks"})),
        ("ALG-11", json!({"x5u": "http://127.0.0.1/"})),
        ("ALG-12", json!({"x5c": ["AA=="], "x5t": "AA", "x5t#S256": "AA"})),
    ] {
        let forged = with(header(), change.clone()).to_string();
        refuses(id, &sign(&attacker, "EdDSA", forged, claims().to_string()), Refusal::Signature);
        if change.get("kid").is_none() {
            accepts("ALG-13", &with_header(change));
        }
    }
    // A secret that the token itself publishes.
    let secret = Signing::Hmac(vec![9; 32]);
    for kid in [json!("EdDSA"), json!("s"), json!(null)] {
        let jwk = with(secret.jwk("s"), json!({"alg": "HS256"}));
        let header = with(header(), json!({"alg": "HS256", "kid": kid, "jwk": jwk})).to_string();
        refuses("ALG-10", &sign(&secret, "HS256", header, claims().to_string()), Refusal::Signature);
    }
}

/// ALG-14 to ALG-18.
#[test]
fn unsupported_header_parameters_are_refused() {
    for crit in [
        json!(["x"]),
        json!([]),
        json!("x"),
        json!([1]),
        json!(["x", "x"]),
        json!(["alg"]),
        json!(["typ"]),
        json!(["exp"]),
        json!(["b64"]),
        json!({}),
        json!(true),
    ] {
        refuses("ALG-14", &with_header(json!({"crit": crit, "x": 1})), UNSUPPORTED);
        refuses("ALG-14", &with_header(json!({"crit": crit})), UNSUPPORTED);
    }
    refuses("ALG-14", &raw_header(r#"{"alg":"EdDSA","crit":null}"#), UNSUPPORTED);
    for b64 in [json!(false), json!(true), json!("false")] {
        refuses("ALG-15", &with_header(json!({"b64": b64})), UNSUPPORTED);
    }
    // RFC 7797, section 4: the payload as it is, and what is signed is that text.
    for header in [r#"{"alg":"EdDSA","b64":false,"crit":["b64"]}"#, r#"{"alg":"EdDSA","b64":false}"#] {
        for payload in ["e30", "{}", "$.02", "payload"] {
            refuses("ALG-15", &signed_as_is(&BASE64URL.encode(header), payload), UNSUPPORTED);
        }
    }
    for zip in [json!("DEF"), json!("none"), json!("GZIP"), json!(""), json!(false), json!(["NONE"])] {
        refuses("ALG-18", &with_header(json!({"zip": zip})), UNSUPPORTED);
    }
    refuses("ALG-18", &raw_header(r#"{"alg":"EdDSA","zip":null}"#), UNSUPPORTED);
    accepts("ALG-18", &with_header(json!({"typ": "JWT", "zip": "NONE"})));
    // One stored block (RFC 1951, section 3.2.4): deflated, and as readable as before.
    let stored = claims().to_string();
    let length = u16::try_from(stored.len()).unwrap();
    let deflated = [&[1][..], &length.to_le_bytes(), &(!length).to_le_bytes(), stored.as_bytes()].concat();
    refuses("ALG-18", &raw_claims(&deflated), NOT_CLAIMS);
    let header = with(header(), json!({"zip": "DEF"})).to_string();
    refuses("ALG-18", &sign(key("EdDSA"), "EdDSA", header, deflated), UNSUPPORTED);
    refuses("ALG-16", &with_header(json!({"enc": "A128GCM"})), UNSUPPORTED);
    for cty in ["JWT", "jwt", "application/JWT", "at+jwt"] {
        refuses("ALG-17", &with_header(json!({"cty": cty})), UNSUPPORTED);
    }
    refuses("ALG-17", &raw_claims(good_token()), NOT_CLAIMS);
    refuses("ALG-17", &raw_claims(format!("\"{}\"", good_token())), NOT_CLAIMS);
    let unsigned = format!("{}.{}.", BASE64URL.encode(r#"{"alg":"none"}"#), BASE64URL.encode(claims().to_string()));
    refuses("ALG-17", &raw_claims(&unsigned), NOT_CLAIMS);
    let nesting = with(self::header(), json!({"cty": "JWT"})).to_string();
    refuses("ALG-17", &sign(key("EdDSA"), "EdDSA", nesting, unsigned), UNSUPPORTED);
    accepts("ENC-15", &with_header(json!({"cty": "json"})));
    let good = good_token();
    let mut parts = good.split('.');
    let (header, signature) = (parts.next().unwrap(), parts.nth(1).unwrap());
    refuses("ALG-15", &format!("{header}..{signature}"), NOT_CLAIMS);
}

/// ALG-19, ALG-20.
#[test]
fn only_types_of_access_tokens_are_taken() {
    let wrong_type = Refusal::Jwt(jwt::Error::WrongType);
    for typ in [
        "at+jwt",
        "at+JWT",
        "AT+JWT",
        "application/at+jwt",
        "Application/AT+jwt",
        "JWT",
        "jwt",
        "application/jwt",
        "okta-internal-at+jwt",
    ] {
        accepts("ALG-20", &with_header(json!({"typ": typ})));
    }
    accepts("ALG-20", &with_header(json!({"typ": null})));
    for typ in [
        "dpop+jwt",
        "logout+jwt",
        "secevent+jwt",
        "token-introspection+jwt",
        "application/dpop+jwt",
        "DPoP+JWT",
        "",
        "JOSE",
        "JOSE+JSON",
        "entity-statement+jwt",
        "at+jwt;x=y",
        "at+jwt ",
        "text/at+jwt",
        "application/application/at+jwt",
        "at",
    ] {
        refuses("ALG-19", &with_header(json!({"typ": typ})), wrong_type);
    }
    for typ in ["1", "null", "[]", "[\"at+jwt\"]"] {
        refuses("ALG-19", &raw_header(format!(r#"{{"alg":"EdDSA","typ":{typ}}}"#)), MALFORMED);
    }

    let only = ["at+jwt".to_owned(), "dpop+jwt".to_owned()];
    let strict = Expected { token_types: &only, ..expected() };
    for (typ, outcome) in [
        (json!("at+JWT"), Ok(())),
        (json!("application/at+jwt"), Ok(())),
        (json!("JWT"), Err(wrong_type)),
        (json!(null), Err(wrong_type)),
        (json!("dpop+jwt"), Err(wrong_type)), // named, and still never an access token
    ] {
        let token = with_header(json!({"typ": typ}));
        assert_eq!(prove(&token, &SET, &strict, NOW).map(drop), outcome, "ALG-19 {typ}");
    }
    let prefixed = ["application/X+jwt".to_owned()];
    let strict = Expected { token_types: &prefixed, ..expected() };
    assert!(prove(&with_header(json!({"typ": "x+JWT"})), &SET, &strict, NOW).is_ok());
}

/// ALG-21.
#[test]
fn an_id_token_is_no_access_token() {
    let change = json!({"aud": "client", "nonce": "n", "at_hash": "h", "azp": "client"});
    refuses("ALG-21", &with_claims(change), Refusal::Jwt(jwt::Error::WrongAudience));
}

// ---------------------------------------------------------------------------------------------- encoding

/// The good token with one of its parts replaced, and signed again over what it then is.
fn signed_as_is(header: &str, payload: &str) -> String {
    let message = format!("{header}.{payload}");
    let signature = key("EdDSA").sign("EdDSA", message.as_bytes());
    format!("{message}.{}", BASE64URL.encode(signature))
}

/// ENC-01 to ENC-04.
#[test]
fn only_canonical_base64url_is_read() {
    let header = BASE64URL.encode(header().to_string());
    let payload = BASE64URL.encode(claims().to_string());
    accepts("", &signed_as_is(&header, &payload));
    for stray in
        ["=", "==", " ", "\n", "\r\n", "\t", "%20", "\u{2010}", "+", "/", "?", "\0", "A", ",", "\u{ff}", "-----"]
    {
        for at in [0, 1, header.len() / 2, header.len()] {
            let mut damaged = header.clone();
            damaged.insert_str(at, stray);
            assert!(outcome(&signed_as_is(&damaged, &payload)).is_err(), "ENC-02 header {stray:?}");
        }
        for at in [0, 1, payload.len() / 2, payload.len()] {
            let mut damaged = payload.clone();
            damaged.insert_str(at, stray);
            assert!(outcome(&signed_as_is(&header, &damaged)).is_err(), "ENC-02 payload {stray:?}");
        }
        assert!(outcome(&format!("{}{stray}", good_token())).is_err(), "ENC-01 {stray:?}");
        assert!(outcome(&format!("{stray}{}", good_token())).is_err(), "ENC-02 {stray:?}");
    }
    let good = good_token();
    let signature = good.rfind('.').unwrap() + 1;
    for stray in [" ", "\n", "\t", "%20", "%2E", "\u{2010}", "\u{a0}"] {
        for at in [signature, signature + 20] {
            let mut damaged = good.clone();
            damaged.insert_str(at, stray);
            refuses("ENC-02", &damaged, MALFORMED);
        }
    }
    // ENC-03: the same octets in the other alphabet, signed as they are written.
    let standard = |part: &str| part.replace('-', "+").replace('_', "/");
    let header = BASE64URL.encode(with(self::header(), json!({"x": "?~?~?>?>"})).to_string());
    let payload = BASE64URL.encode(with(claims(), json!({"x": "?~?~?>?>"})).to_string());
    assert!(standard(&header) != header && standard(&payload) != payload);
    accepts("ENC-03", &signed_as_is(&header, &payload));
    refuses("ENC-03", &signed_as_is(&standard(&header), &payload), MALFORMED);
    refuses("ENC-03", &signed_as_is(&header, &standard(&payload)), MALFORMED);
    let (message, signature) = (1..50)
        .map(|number| with_claims(json!({"jti": number.to_string()})))
        .find_map(|token| {
            token.rsplit_once('.').map(|(m, s)| (m.to_owned(), s.to_owned())).filter(|(_, s)| standard(s) != *s)
        })
        .unwrap();
    accepts("ENC-03", &format!("{message}.{signature}"));
    refuses("ENC-03", &format!("{message}.{}", standard(&signature)), MALFORMED);
    // ENC-04: the same octets once more, with bits set that mean nothing.
    let payload = (0..3).map(|spaces| BASE64URL.encode(format!("{}{}", claims(), " ".repeat(spaces))));
    let payload = payload.into_iter().find(|payload| payload.len() % 4 == 3).unwrap();
    let (start, last) = payload.split_at(payload.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    accepts("ENC-04", &signed_as_is(&header, &payload));
    refuses("ENC-04", &signed_as_is(&header, &format!("{start}{next}")), MALFORMED);
    // 64 octets leave four bits unused in the last character, which must be zero: A, Q, g or w.
    let good = good_token();
    let (start, last) = good.split_at(good.len() - 1);
    let next = char::from(last.as_bytes()[0] + 1);
    refuses("ENC-04", &format!("{start}{next}"), MALFORMED);
    // So with one octet, of two characters.
    refuses("ENC-04", "e31.e30.AA", MALFORMED);
}

/// ENC-05 to ENC-07.
#[test]
fn a_token_has_three_parts() {
    let good = good_token();
    let parts: Vec<&str> = good.split('.').collect();
    let [header, payload, signature] = parts[..] else { unreachable!() };
    for damaged in [
        String::new(),
        ".".to_owned(),
        "..".to_owned(),
        "...".to_owned(),
        header.to_owned(),
        format!("{header}.{payload}"),
        format!("{header}.{payload}."),
        format!(".{payload}.{signature}"),
        format!(".{good}"),
        format!("{good}."),
        format!("{good}.{signature}"),
        format!("{header}.{payload}.{signature}.{signature}.{signature}"),
        format!("{header}.{payload}..{signature}"),
        ".".repeat(8_000),
        ".".repeat(60_000),
        format!("{good}{}", ".".repeat(8_000)),
        json!({"payload": payload, "protected": header, "signature": signature}).to_string(),
        json!({"payload": payload, "signatures": [{"protected": header, "signature": signature}]}).to_string(),
        format!(r#"{{"protected":"{good}"}}"#),
    ] {
        refuses("ENC-05", &damaged, MALFORMED);
    }
    refuses("ENC-05", &format!("{header}..{signature}"), NOT_CLAIMS);
}

/// ENC-08, ENC-09.
#[test]
fn duplicate_members_are_refused() {
    for header in [
        r#"{"alg":"none","alg":"EdDSA","kid":"EdDSA"}"#,
        r#"{"alg":"EdDSA","alg":"EdDSA","kid":"EdDSA"}"#,
        r#"{"alg":"EdDSA","\u0061lg":"none"}"#,
        r#"{"alg":"EdDSA","kid":"a","kid":"EdDSA"}"#,
        r#"{"alg":"EdDSA","x":{"y":1,"y":1}}"#,
    ] {
        refuses("ENC-08", &raw_header(header), MALFORMED);
        assert_eq!(jws::form(&raw_header(header)), Form::Jws);
    }
    let claims = claims().to_string();
    let start = claims.strip_suffix('}').unwrap();
    for duplicate in [
        r#""sub":"admin""#,
        r#""exp":4102444800"#,
        r#""aud":"https://api.example.com""#,
        r#""iss":"https://idp.example.com""#,
        r#""scope":"admin""#,
        r#""s\u0075b":"admin""#,
        r#""cnf":{},"cnf":{}"#,
        r#""realm_access":{"roles":[],"roles":["admin"]}"#,
    ] {
        refuses("ENC-09", &raw_claims(format!("{start},{duplicate}}}")), NOT_CLAIMS);
    }
}

/// ENC-10.
#[test]
fn case_variants_are_other_members() {
    accepts("ENC-10", &with_claims(json!({"Sub": 1, "EXP": "never", "Iss": []})));
    refuses("ENC-10", &with_claims(json!({"exp": null, "Exp": NOW + 600})), invalid("exp"));
    refuses("ENC-10", &raw_header(r#"{"Alg":"EdDSA"}"#), MALFORMED);
}

/// ENC-11 to ENC-13.
#[test]
fn what_is_not_json_is_refused() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let utf16: Vec<u8> = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let texts: Vec<Vec<u8>> = [
        "",
        " ",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{",
        "{}}",
        "{}{}",
        "{\"a\":1,}",
        "{'a':1}",
        "/**/{}",
        "{a:1}",
        "{\"a\":NaN}",
        "{\"a\":-Infinity}",
        "{\"a\":01}",
        "{\"a\":1}x",
        "\u{feff}{}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\n\"}",
        "{\"$serde_json::private::Number\":\"1\"}",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into_iter()
    .chain([utf16, b"{\"a\":\"\xff\"}".to_vec(), b"{\"a\":\"\xc0\xaf\"}".to_vec()])
    .chain([format!("{{\"a\":{}}}", deep(64)).into_bytes(), deep(5_000).into_bytes()])
    .collect();
    for text in &texts {
        refuses("ENC-11", &raw_header(text), MALFORMED);
        refuses("ENC-11", &raw_claims(text), NOT_CLAIMS);
    }
    // A text that would be right, but for one thing.
    let good = header().to_string();
    let member = |text: &str| good.replacen('{', &format!("{{{text},"), 1);
    accepts("ENC-15", &raw_header(member(r#""x":[1]"#)));
    for damaged in [
        format!("\u{feff}{good}"),
        format!("{good}\0"),
        format!("{good}{{}}"),
        format!("{good}x"),
        format!("[{good}]"),
        format!("/**/{good}"),
        good.replace('}', ",}"),
        good.replace('"', "'"),
        good[..good.len() - 1].to_owned(),
        member("\"x\":NaN"),
        member("\"x\":-Infinity"),
        member("\"x\":01"),
        member("x:1"),
        member(r#""x":"\ud800""#),
        member("\"x\":\"\n\""),
        member(&format!("\"x\":{}", deep(64))),
        member(&format!("\"x\":{}", deep(5_000))),
    ] {
        refuses("ENC-11", &raw_header(damaged), MALFORMED);
    }
    let wide: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    refuses("ENC-12", &raw_header(wide), MALFORMED);
    refuses(
        "ENC-12",
        &raw_header([&good.as_bytes()[..1], b"\"x\":\"\xff\",", &good.as_bytes()[1..]].concat()),
        MALFORMED,
    );
    let claims = claims().to_string();
    for damaged in [
        format!("\u{feff}{claims}"),
        format!("{claims}\0"),
        format!("{claims},"),
        format!("[{claims}]"),
        claims.replace("}", ",}"),
    ] {
        refuses("ENC-11", &raw_claims(damaged), NOT_CLAIMS);
    }
    accepts("ENC-13", &claim_text("x", &deep(63)));
    refuses("ENC-13", &claim_text("x", &deep(64)), NOT_CLAIMS);
    refuses("ENC-13", &raw_header("[".repeat(50_000)), MALFORMED);
}

/// ENC-14.
#[test]
fn a_token_beyond_the_limit_is_refused() {
    refuses("ENC-14", &with_claims(json!({"x": "x".repeat(1_000_000)})), MALFORMED);
    refuses("ENC-14", &with_header(json!({"x": "x".repeat(70_000)})), MALFORMED);
    accepts("ENC-14", &with_claims(json!({"x": "x".repeat(11_000)})));
}

/// ENC-15.
#[test]
fn whatever_json_allows_is_read() {
    let spaced = |value: Value| serde_json::to_string_pretty(&value).unwrap().replace('\n', "\r\n\t");
    let (header, claims) = (spaced(header()), spaced(claims()));
    accepts("ENC-15", &sign(key("EdDSA"), "EdDSA", header, format!(" {claims}\n")));
    accepts("ENC-15", &with_header(json!({"unknown": {"a": [1]}, "x5t": "AA", "nonce": "n"})));
    accepts("ENC-15", &with_claims(json!({"unknown": {"a": [1.5e300, null, "\u{1f600}"]}})));
    accepts("ENC-15", &claim_text("sub", r#""\u0075ser \ud83d\ude00""#));
}

// ---------------------------------------------------------------------------------------------- signatures

/// SIG-01, SIG-02, SIG-03, SIG-08.
#[test]
fn damaged_signatures_are_refused() {
    let by_its_name = KEYS.iter().map(|(kid, signer)| (*kid, *kid, signer));
    for (kid, algorithm, signer) in by_its_name.chain([("RS256", "PS256", key("RS256"))]) {
        let header = json!({"alg": algorithm, "kid": kid}).to_string();
        let token = sign(signer, algorithm, &header, claims().to_string());
        accepts(algorithm, &token);
        let (message, signature) = token.rsplit_once('.').unwrap();
        let signature = BASE64URL.decode(signature).unwrap();
        let length = signature.len();
        let half = length / 2;
        let other = sign(signer, algorithm, &header, "{}");
        let other = BASE64URL.decode(other.rsplit_once('.').unwrap().1).unwrap();
        let flipped = |at: usize| {
            let mut flipped = signature.clone();
            flipped[at] ^= 1;
            flipped
        };
        let leading_zero = [&[0][..], &signature].concat();
        for damaged in [
            vec![0; length],                                                   // SIG-01
            vec![0; 64],                                                       // SIG-01
            [vec![0; half - 1], vec![1], vec![0; half - 1], vec![1]].concat(), // SIG-02
            [&signature[half..], &signature[..half]].concat(),                 // SIG-02
            [&signature[..half], &vec![0; half][..]].concat(),                 // SIG-02
            [&vec![0; half][..], &signature[half..]].concat(),                 // SIG-02
            signature[1..].to_vec(),                                           // SIG-03
            signature[..length - 1].to_vec(),                                  // SIG-03
            leading_zero,                                                      // SIG-03
            [&signature[..], &[0]].concat(),                                   // SIG-03
            [&signature[..], &signature].concat(),                             // SIG-03
            other,                                                             // SIG-08
            flipped(0),                                                        // SIG-08
            flipped(length - 1),                                               // SIG-08
            flipped(half),                                                     // SIG-08
            vec![0xff; length],                                                // SIG-08
            vec![0],                                                           // SIG-08
        ] {
            let token = format!("{message}.{}", BASE64URL.encode(&damaged));
            refuses(algorithm, &token, Refusal::Signature);
        }
        refuses("SIG-08", &format!("{message}."), MALFORMED);
    }
}

/// SIG-02 to SIG-04.
#[test]
fn ecdsa_signatures_have_one_form() {
    let Signing::P256(signer) = key("ES256") else { unreachable!() };
    let jwk = Jwk::parse(&public("ES256"), KeySetOrigin::Remote).unwrap();
    let verify = |signature: &[u8]| jwk.verify(Algorithm::Es256, b"message", signature).is_ok();
    let signature: p256::ecdsa::Signature = signer.sign(b"message");
    let (r, s) = signature.split_scalars();
    let other = p256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    // SIG-04: n - s is as good as s.
    assert!(verify(&signature.to_bytes()) && verify(&other.to_bytes()));
    // SIG-03: DER.
    let der = [&[0x30, 0x44, 0x02, 0x20][..], &r.to_bytes(), &[0x02, 0x20], &s.to_bytes()].concat();
    assert!(!verify(&der) && !verify(&der[..64]));
    // SIG-02: (n, s), (r, n), (n, n), (n, 0), (0, n).
    let n = BASE64URL.decode("_____wAAAAD__________7zm-q2nF56E87nKwvxjJVE").unwrap();
    assert!(!verify(&[&n[..], &s.to_bytes()].concat()) && !verify(&[&r.to_bytes()[..], &n].concat()));
    assert!(![[&n[..], &n], [&n, &[0; 32]], [&[0; 32], &n]].iter().any(|pair| verify(&pair.concat())));
}

/// SIG-05.
#[test]
fn pkcs1_with_another_digest_is_refused() {
    let Signing::Rsa(signer) = key("RS256") else { unreachable!() };
    let jwk = Jwk::parse(&public("RS256"), KeySetOrigin::Remote).unwrap();
    let digest = Sha256::digest(b"message");
    let unprefixed = signer.sign(Pkcs1v15Sign::new_unprefixed(), &digest).unwrap();
    let sha512 = signer.sign(Pkcs1v15Sign::new::<Sha512>(), &Sha512::digest(b"message")).unwrap();
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        assert!(jwk.verify(algorithm, b"message", &unprefixed).is_err());
        assert!(jwk.verify(algorithm, b"message", &sha512).is_err());
    }
    assert!(jwk.verify(Algorithm::Rs512, b"message", &sha512).is_ok());
}

/// SIG-07.
#[test]
fn a_malleable_ed25519_signature_is_refused() {
    let jwk = Jwk::parse(&public("EdDSA"), KeySetOrigin::Remote).unwrap();
    let signature = key("EdDSA").sign("EdDSA", b"message");
    assert!(jwk.verify(Algorithm::EdDsa, b"message", &signature).is_ok());
    // S + L, which a lax verifier takes for S.
    let order = BASE64URL.decode("7dP1XBpjEljWnPei3vneFAAAAAAAAAAAAAAAAAAAABA").unwrap();
    let mut malleated = signature.clone();
    let mut carry = 0;
    for (octet, addend) in malleated[32..].iter_mut().zip(order) {
        let sum = u16::from(*octet) + u16::from(addend) + carry;
        (*octet, carry) = (sum as u8, sum >> 8);
    }
    assert!(jwk.verify(Algorithm::EdDsa, b"message", &malleated).is_err());
    // R of small order, which says nothing of its signer's secret number: S = H(R, A, M) a, and R = 0.
    let Signing::Ed25519(signer) = key("EdDSA") else { unreachable!() };
    let mut identity = [0; 32];
    identity[0] = 1;
    let hash = Sha512::new().chain_update(identity).chain_update(signer.verifying_key()).chain_update(b"message");
    let a = signer.to_scalar();
    let bits = hash.finalize().into_iter().rev().flat_map(|octet| (0..8).rev().map(move |bit| octet >> bit & 1));
    let s = bits.fold(a - a, |s, bit| if bit == 1 { s + s + a } else { s + s });
    let without_nonce = [identity, s.to_bytes()].concat();
    let lax = ed25519_dalek::Signature::from_slice(&without_nonce).unwrap();
    assert!(ed25519_dalek::Verifier::verify(&signer.verifying_key(), b"message", &lax).is_ok());
    assert!(jwk.verify(Algorithm::EdDsa, b"message", &without_nonce).is_err());

    // The points of order 1, 2, 4 and 8, with either sign; and all that can be written in two ways, written in the
    // wrong one: the values from the prime, 2^255 - 19, to 2^255 - 1.
    let mut order_2 = [0xff; 32];
    (order_2[0], order_2[31]) = (0xec, 0x7f);
    let order_4 = [0; 32];
    let order_8 = BASE64URL.decode("JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU").unwrap();
    let mut weak = vec![identity, order_2, order_4, order_8.try_into().unwrap()];
    for first in 0xed..=0xff {
        (order_2[0], order_2[31]) = (first, 0x7f);
        weak.push(order_2);
    }
    let negative = weak.clone().into_iter().map(|mut x| {
        x[31] |= 0x80;
        x
    });
    weak.extend(negative);
    for x in weak {
        let key = with(public("EdDSA"), json!({"x": BASE64URL.encode(x)}));
        assert_eq!(Jwk::parse(&key, KeySetOrigin::Remote).unwrap_err(), KeyError::Material, "{x:?}");
    }
}

// ---------------------------------------------------------------------------------------------- keys

/// JWK-01, JWK-02, JWK-03, JWK-04, JWK-06, JWK-07, JWK-18.
#[test]
fn unusable_keys_are_skipped() {
    let (rsa, ec, okp) = (public("RS256"), public("ES256"), public("EdDSA"));
    let big = |octets: usize| {
        let mut n = vec![0xff; octets];
        n[0] = 0x80;
        BASE64URL.encode(n)
    };
    let zeros = BASE64URL.encode([0; 32]);
    let (x, y) = (ec["x"].as_str().unwrap(), ec["y"].as_str().unwrap());
    let short = |text: &str| BASE64URL.encode(&BASE64URL.decode(text).unwrap()[1..]);
    // The right point, cut in the wrong place.
    let point = [BASE64URL.decode(x).unwrap(), BASE64URL.decode(y).unwrap()].concat();
    let shifted = json!({"x": BASE64URL.encode(&point[..31]), "y": BASE64URL.encode(&point[31..])});
    use KeyError::*;
    let rows = [
        ("JWK-01", json!(1), NotAnObject),
        ("JWK-01", json!({"kty": "PQC"}), UnsupportedType),
        ("JWK-01", json!({"kid": "x"}), Material),
        ("JWK-01", with(ec.clone(), json!({"kty": "ec"})), UnsupportedType),
        ("JWK-01", with(ec.clone(), json!({"crv": "secp256k1"})), UnsupportedType),
        ("JWK-01", with(okp.clone(), json!({"crv": "X25519"})), UnsupportedType),
        ("JWK-01", with(okp.clone(), json!({"crv": "Ed448"})), UnsupportedType),
        ("JWK-02", with(ec.clone(), json!({"use": "enc"})), NotForVerifying),
        ("JWK-02", with(ec.clone(), json!({"use": ["sig"]})), NotForVerifying),
        ("JWK-02", with(ec.clone(), json!({"key_ops": ["sign"]})), NotForVerifying),
        ("JWK-02", with(ec.clone(), json!({"key_ops": ["deriveKey"]})), NotForVerifying),
        ("JWK-02", with(ec.clone(), json!({"key_ops": "verify"})), NotForVerifying),
        (
            "JWK-14",
            with(ec.clone(), json!({"revoked": {"revoked_at": 1_800_000_000, "reason": "compromised"}})),
            Revoked,
        ),
        ("JWK-02", with(ec.clone(), json!({"revoked": true})), Revoked),
        ("JWK-02", with(rsa.clone(), json!({"alg": "RSA-OAEP"})), UnsupportedAlgorithm),
        ("JWK-02", with(rsa.clone(), json!({"alg": "none"})), UnsupportedAlgorithm),
        ("JWK-02", with(rsa.clone(), json!({"alg": 1})), UnsupportedAlgorithm),
        ("ALG-04", with(rsa.clone(), json!({"alg": "ES256"})), WrongAlgorithm),
        ("ALG-06", with(ec.clone(), json!({"alg": "ES384"})), WrongAlgorithm),
        ("ALG-04", with(rsa.clone(), json!({"alg": "HS256"})), WrongAlgorithm),
        ("JWK-03", with(rsa.clone(), json!({"e": "AQ"})), Material),
        ("JWK-03", with(rsa.clone(), json!({"e": "Ag"})), Material),
        ("JWK-03", with(rsa.clone(), json!({"e": "AA"})), Material),
        ("JWK-03", with(rsa.clone(), json!({"e": ""})), Material),
        ("JWK-03", with(rsa.clone(), json!({"e": "AQAA"})), Material),
        ("JWK-03", with(rsa.clone(), json!({"e": "AgAAAAE"})), Material),
        ("JWK-03", with(rsa.clone(), json!({"e": "AQAAAAAAAAAB"})), UnsuitableSize),
        ("JWK-03", with(rsa.clone(), json!({"e": RSA_N})), UnsuitableSize),
        ("JWK-03", with(rsa.clone(), json!({"e": 65537})), Material),
        ("JWK-04", with(rsa.clone(), json!({"n": ""})), UnsuitableSize),
        ("JWK-04", with(rsa.clone(), json!({"n": BASE64URL.encode([0; 256])})), UnsuitableSize),
        ("JWK-04", with(rsa.clone(), json!({"n": big(128)})), UnsuitableSize),
        ("JWK-04", with(rsa.clone(), json!({"n": big(255)})), UnsuitableSize),
        ("JWK-04", with(rsa.clone(), json!({"n": big(1025)})), UnsuitableSize),
        ("JWK-04", with(rsa.clone(), json!({"n": big(2_048)})), UnsuitableSize),
        ("JWK-04", with(rsa.clone(), json!({"n": big(16_384)})), UnsuitableSize),
        ("JWK-04", with(rsa.clone(), json!({"n": BASE64URL.encode([0xfe; 256])})), Material),
        ("JWK-04", with(rsa.clone(), json!({"n": format!("{RSA_N}==")})), Encoding),
        ("JWK-04", with(rsa.clone(), json!({"n": RSA_N.replace('-', "+").replace('_', "/")})), Encoding),
        ("JWK-04", with(rsa.clone(), json!({"n": format!("{RSA_N}\n")})), Encoding),
        ("JWK-06", with(ec.clone(), json!({"x": y, "y": x})), Material),
        ("JWK-06", with(ec.clone(), json!({"x": zeros, "y": zeros})), Material),
        ("JWK-06", with(ec.clone(), json!({"x": BASE64URL.encode([0xff; 32])})), Material),
        ("JWK-06", with(ec.clone(), json!({"crv": "P-384"})), Material),
        ("JWK-06", with(ec.clone(), json!({"y": null})), Material),
        ("JWK-01", with(rsa.clone(), json!({"oth": [{"r": "AQAB", "d": "AQAB", "t": "AQAB"}]})), UnsupportedType),
        ("JWK-07", with(ec.clone(), json!({"x": short(x)})), Material),
        ("JWK-07", with(ec.clone(), json!({"y": short(y)})), Material),
        ("JWK-07", with(ec.clone(), json!({"x": format!("AQ{x}")})), Encoding),
        ("JWK-07", with(ec.clone(), json!({"x": BASE64URL.encode([&[1][..], &point[..32]].concat())})), Material),
        ("JWK-07", with(ec.clone(), json!({"x": ""})), Material),
        ("JWK-07", with(ec.clone(), shifted), Material),
        ("SIG-07", with(okp.clone(), json!({"x": short(okp["x"].as_str().unwrap())})), Material),
        ("SIG-07", with(okp.clone(), json!({"x": zeros})), Material),
        ("JWK-18", with(ec.clone(), json!({"kid": 1})), KeyId),
        ("JWK-18", with(ec.clone(), json!({"kid": "k".repeat(1025)})), KeyId),
    ];
    for (id, bad, error) in rows {
        // A bad neighbour, before and after, does no harm.
        for keys in [[bad.clone(), public("ES384")], [public("ES384"), bad.clone()]] {
            let set = set_of(&keys).unwrap();
            assert_eq!((set.len(), errors(&set)), (1, vec![error]), "{id} {bad:.200}");
            assert_eq!(set.candidates(Some("ES384"), Algorithm::Es384).count(), 1);
        }
        assert!(has_no_usable_key(set_of(&[bad])));
    }
}

/// JWK-04.
#[test]
fn sizes_of_rsa_keys() {
    for (octets, is_usable) in [(255, false), (256, true), (1024, true), (1025, false)] {
        let n = BASE64URL.encode(vec![0xff; octets]);
        let key = Jwk::parse(&with(public("RS256"), json!({"n": n})), KeySetOrigin::Remote);
        assert_eq!(key.is_ok(), is_usable, "{octets}");
    }
    // Leading zeros do not change the number.
    let n = [&[0][..], &BASE64URL.decode(RSA_N).unwrap()].concat();
    let key = with(public("RS256"), json!({"n": BASE64URL.encode(n), "e": "AAEAAQ"}));
    let key = Jwk::parse(&key, KeySetOrigin::Remote).unwrap();
    assert!(key.verify(Algorithm::Rs256, b"m", &self::key("RS256").sign("RS256", b"m")).is_ok());
}

/// JWK-04: a modulus need not fill its last octet, and PSS is one octet shorter where it begins a new one.
#[test]
fn odd_sizes_do_no_harm() {
    for bits in (2048..=2080).chain([4095, 4097, 8185, 8191, 8192]) {
        let octets = usize::div_ceil(bits, 8);
        let mut n = vec![0xff; octets];
        n[0] >>= octets * 8 - bits;
        let key = with(public("RS256"), json!({"n": BASE64URL.encode(&n)}));
        let key = Jwk::parse(&key, KeySetOrigin::Remote).unwrap();
        let number = |last: u8| [&vec![0; octets - 1][..], &[last]].concat();
        for signature in [number(0), number(1), number(0xbc), vec![0x7f; octets], n.clone(), n[1..].to_vec()] {
            for algorithm in Algorithm::ASYMMETRIC {
                assert!(key.verify(*algorithm, b"message", &signature).is_err(), "{bits} {algorithm:?}");
            }
        }
    }
}

/// JWK-09.
#[test]
fn one_kid_for_two_keys() {
    let second = Signing::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[9; 32]));
    let Signing::Ed25519(second) = &second else { unreachable!() };
    let x = BASE64URL.encode(second.verifying_key().as_bytes());
    let rival = with(public("EdDSA"), json!({"x": x}));
    for pair in [[public("EdDSA"), rival.clone()], [rival.clone(), public("EdDSA")]] {
        let set = set_of(&[&pair[..], &[public("ES256")]].concat()).unwrap();
        assert_eq!(errors(&set), [KeyError::AmbiguousKeyId; 2]);
        assert_eq!(set.candidates(Some("EdDSA"), Algorithm::EdDsa).count(), 0);
        assert_eq!(prove(&good_token(), &set, &expected(), NOW).unwrap_err(), Refusal::Signature);
    }

    // The same key twice, or keys for different algorithms, leave no doubt.
    let set = set_of(&[public("EdDSA"), public("EdDSA"), with(public("ES256"), json!({"kid": "EdDSA"}))]).unwrap();
    assert!(set.refused().is_empty());
    assert!(prove(&good_token(), &set, &expected(), NOW).is_ok());
    // Without a kid, there is nothing to be ambiguous.
    let nameless = json!({"kid": null});
    assert_eq!(set_of(&[with(public("EdDSA"), nameless.clone()), with(rival, nameless)]).unwrap().len(), 2);
}

/// JWK-10.
#[test]
fn short_secrets_are_refused() {
    let permitted = |octets: usize| {
        let key = json!({"kty": "oct", "k": BASE64URL.encode(vec![7; octets])});
        let key = Jwk::parse(&key, KeySetOrigin::Inline)?;
        let all = [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
        Ok(all.iter().filter(|algorithm| key.permits(**algorithm)).count())
    };
    assert_eq!([31, 6, 0].map(permitted), [Err(KeyError::UnsuitableSize); 3]);
    assert_eq!([32, 48, 64].map(permitted), [Ok(1), Ok(2), Ok(3)]);
    let key = json!({"kty": "oct", "alg": "HS512", "k": BASE64URL.encode([7; 32])});
    assert_eq!(Jwk::parse(&key, KeySetOrigin::Inline).unwrap_err(), KeyError::WrongAlgorithm);
}

/// JWK-11.
#[test]
fn what_is_no_key_set_is_refused() {
    let parse = |text: &str| JwkSet::parse(text.as_bytes(), KeySetOrigin::Remote).unwrap_err();
    for text in
        ["", "<html>", "[]", "null", "{", "{\"keys\":[],}", "\u{feff}{\"keys\":[]}", "{\"keys\":[],\"keys\":[]}"]
    {
        assert!(matches!(parse(text), SetError::Json(_)), "{text}");
    }
    for text in ["{}", "{\"keys\":null}", "{\"keys\":{}}", "{\"keys\":\"x\"}", "{\"Keys\":[]}"] {
        assert_eq!(parse(text), SetError::NoKeysMember, "{text}");
    }
    assert_eq!(parse("{\"keys\":[]}"), SetError::NoUsableKey(Vec::new()));
    assert_eq!(parse(&format!("{{\"keys\":{}", "[".repeat(50_000))), SetError::Json(json::Error::Malformed));
    let deep = parse(&format!("{{\"keys\":[{}{}]}}", "[".repeat(50_000), "]".repeat(50_000)));
    assert!(matches!(&deep, SetError::NoUsableKey(keys) if keys[0].error == KeyError::Json(json::Error::TooDeep)));
    assert_eq!(set_of(&vec![public("EdDSA"); 3_000]).unwrap_err(), SetError::TooManyMembers);
    assert_eq!(parse(&" ".repeat(3_000_000)), SetError::TooLarge);
    let mut crowd = vec![json!({"kty": "unknown", "kid": "x"}); 511];
    crowd.push(public("EdDSA"));
    assert_eq!(set_of(&crowd).unwrap().refused().len(), 511);
}

/// JWK-18 to JWK-20, DOS-02.
#[test]
fn keys_are_chosen_by_kid_and_few_are_tried() {
    for kid in ["../../etc/passwd", "' OR 1=1 --", "\0", "\r\n", "\u{e9}", "$(id)", "", "eddsa"] {
        refuses("JWK-18", &with_header(json!({"kid": kid})), Refusal::Signature);
    }
    refuses("JWK-18", &with_header(json!({"kid": "k".repeat(8_192)})), Refusal::Signature);
    for kid in [json!(1), json!(["EdDSA"]), json!({})] {
        refuses("JWK-18", &with_header(json!({"kid": kid})), MALFORMED);
    }
    refuses("JWK-18", &raw_header(r#"{"alg":"EdDSA","kid":null}"#), MALFORMED);

    // JWK-19: without a kid, the keys of the right type are tried, but not many.
    accepts("JWK-19", &with_header(json!({"kid": null})));
    let many: Vec<Value> = (1..=20).map(|number| ed25519_jwk([number; 32])).collect();
    let set = set_of(&many).unwrap();
    assert_eq!(set.candidates(None, Algorithm::EdDsa).count(), MAX_CANDIDATES);
    // DOS-02: however many there are.
    let crowd: Vec<Value> =
        (0..512_u16).map(|number| ed25519_jwk([number.to_be_bytes(); 16].concat().try_into().unwrap())).collect();
    assert_eq!(set_of(&crowd).unwrap().candidates(None, Algorithm::EdDsa).count(), MAX_CANDIDATES);
    assert_eq!(set.candidates(None, Algorithm::Es256).count(), 0);
    let seventh = with_header(json!({"kid": null}));
    assert!(prove(&seventh, &set, &expected(), NOW).is_ok());
    let twentieth = Signing::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[20; 32]));
    let header = json!({"alg": "EdDSA"}).to_string();
    let token = sign(&twentieth, "EdDSA", header, claims().to_string());
    assert_eq!(prove(&token, &set, &expected(), NOW).unwrap_err(), Refusal::Signature);
    // The budget holds even for a caller that has none.
    let keys: Vec<Jwk> = many.iter().map(|key| Jwk::parse(key, KeySetOrigin::Remote).unwrap()).collect();
    assert!(CompactJws::parse(&token).unwrap().verify(keys.iter(), &Verifier::default()).is_err());

    // JWK-20: a kid that no key has falls back to keys without one, and to them only.
    let nameless = set_of(&[with(public("EdDSA"), json!({"kid": null})), public("ES256")]).unwrap();
    assert!(prove(&good_token(), &nameless, &expected(), NOW).is_ok());
    let named = set_of(&[with(public("EdDSA"), json!({"kid": "other"}))]).unwrap();
    assert_eq!(prove(&good_token(), &named, &expected(), NOW).unwrap_err(), Refusal::Signature);
}

/// JWK-07: RFC 7518, section 6.2.1.2, wants coordinates of full length; who takes them for numbers loses a zero octet
/// at the front of one key in 128, or adds one for the sign.
#[test]
fn coordinates_with_more_or_fewer_zeros() {
    let p256 = |seed: u16| {
        let seed: [u8; 32] = Sha256::digest(seed.to_be_bytes()).into();
        Signing::P256(p256::ecdsa::SigningKey::from_slice(&seed).unwrap())
    };
    let p384 = |seed: u16| {
        let seed = Sha512::digest(seed.to_be_bytes());
        Signing::P384(p384::ecdsa::SigningKey::from_slice(&seed[..48]).unwrap())
    };
    // The first octet of P-521 has one bit.
    let p521 = |seed: u16| {
        let seed = [&[0; 2][..], &Sha512::digest(seed.to_be_bytes())].concat();
        Signing::P521(p521::ecdsa::SigningKey::from_slice(&seed).unwrap())
    };
    // The first ones with a zero octet where it is wanted.
    for (coordinate, keys) in [("x", [p256(18), p384(288), p521(1)]), ("y", [p256(266), p384(674), p521(1)])] {
        for (alg, key) in ["ES256", "ES384", "ES512"].into_iter().zip(keys) {
            let jwk = key.jwk("k");
            let algorithm = Algorithm::from_name(alg).unwrap();
            let full = Jwk::parse(&jwk, KeySetOrigin::Remote).unwrap();
            let octets = BASE64URL.decode(jwk[coordinate].as_str().unwrap()).unwrap();
            assert_eq!(octets[0], 0, "{alg} {coordinate}");
            let significant = &octets[octets.iter().position(|octet| *octet != 0).unwrap()..];
            for written in [&octets[1..], significant, &[&[0][..], &octets].concat(), &[&[0; 40][..], &octets].concat()]
            {
                let odd = with(jwk.clone(), json!({coordinate: BASE64URL.encode(written)}));
                let odd = Jwk::parse(&odd, KeySetOrigin::Remote).unwrap();
                assert!(odd.verify(algorithm, b"m", &key.sign(alg, b"m")).is_ok(), "{alg} {written:?}");
                // It is the same key to everybody: to the host, in a cache, beside its other spelling.
                assert_eq!((odd.spki(), odd.fingerprint() == full.fingerprint()), (full.spki(), true));
                let pair = [jwk.clone(), with(jwk.clone(), json!({coordinate: BASE64URL.encode(written)}))];
                assert_eq!(set_of(&pair).unwrap().len(), 2);
            }
            for wrong in [&octets[2.max(octets.len() - significant.len() + 1)..], &[&[1][..], &octets].concat(), &[]] {
                let wrong = with(jwk.clone(), json!({coordinate: BASE64URL.encode(wrong)}));
                assert_eq!(Jwk::parse(&wrong, KeySetOrigin::Remote).unwrap_err(), KeyError::Material, "{alg}");
            }
        }
    }
}

/// JWK-02: .NET writes every member that a key may have, as `null` or empty where there is none.
#[test]
fn null_and_empty_members_are_absent() {
    let mut netted = json!({
        "use": null, "key_ops": [], "alg": null, "x5c": [], "x5t": null, "x5t#S256": "", "x5u": null, "oth": [],
        "additionalData": {}, "keyId": null, "d": null, "p": null, "k": null, "hasPrivateKey": false, "keySize": 2048,
    });
    for (name, value) in public("RS256").as_object().unwrap() {
        netted[name] = value.clone();
    }
    assert!(Jwk::parse(&netted, KeySetOrigin::Remote).unwrap().permits(Algorithm::Ps512));
    for name in ["use", "key_ops", "alg", "kid", "x5c", "oth", "x5t"] {
        for nothing in [json!(null), json!(""), json!([])] {
            for kid in ["RS256", "ES256", "EdDSA"] {
                let mut key = public(kid);
                key[name] = nothing.clone();
                let key = Jwk::parse(&key, KeySetOrigin::Remote).unwrap();
                assert_eq!(key.kid(), (name != "kid").then_some(kid), "{name} {nothing}");
            }
        }
    }
    // What a key is made of can't be absent.
    for (kid, name) in
        [("RS256", "n"), ("RS256", "e"), ("ES256", "x"), ("ES256", "kty"), ("ES256", "crv"), ("EdDSA", "x")]
    {
        for nothing in [json!(null), json!(""), json!([])] {
            let mut key = public(kid);
            key[name] = nothing;
            assert!(Jwk::parse(&key, KeySetOrigin::Remote).is_err(), "{name}");
        }
    }
}

/// ENC-09: one key that can't be read without doubt takes none of the others with it.
#[test]
fn a_key_with_a_member_twice_spoils_no_set() {
    let (good, text) = (public("ES384"), public("EdDSA").to_string());
    for (bad, error) in [
        (text.replacen('{', r#"{"kty":"OKP","#, 1), json::Error::DuplicateMember),
        (text.replacen('{', r#"{"extra":{"a":1,"a":1},"#, 1), json::Error::DuplicateMember),
        (text.replacen('{', r#"{"\u006bty":"RSA","#, 1), json::Error::DuplicateMember),
        (text.replacen('{', &format!(r#"{{"extra":{}{},"#, "[".repeat(100), "]".repeat(100)), 1), json::Error::TooDeep),
        (text.replacen('{', r#"{"extra":"\ud800","#, 1), json::Error::Malformed),
    ] {
        for keys in [format!("{bad},{good}"), format!("{good},{bad}")] {
            let set = JwkSet::parse(format!(r#"{{"keys":[{keys}]}}"#).as_bytes(), KeySetOrigin::Remote).unwrap();
            assert_eq!((set.len(), errors(&set)), (1, vec![KeyError::Json(error)]), "{keys:.200}");
            assert_eq!(set.refused()[0].kid.as_deref(), Some("EdDSA"));
            assert_eq!(set.candidates(Some("ES384"), Algorithm::Es384).count(), 1);
            assert_eq!(set.candidates(Some("EdDSA"), Algorithm::EdDsa).count(), 0);
        }
        assert!(has_no_usable_key(JwkSet::parse(format!(r#"{{"keys":[{bad}]}}"#).as_bytes(), KeySetOrigin::Remote)));
    }
    // Beside the keys, what is said twice is of no concern; the keys themselves are.
    let parse = |text: String| JwkSet::parse(text.as_bytes(), KeySetOrigin::Remote);
    assert_eq!(parse(format!(r#"{{"a":1,"keys":[{good}],"a":{{"b":1,"b":2}}}}"#)).unwrap().len(), 1);
    for twice in ["keys", "\\u006beys"] {
        let twice = parse(format!(r#"{{"keys":[{good}],"{twice}":[{good}]}}"#));
        assert_eq!(twice.unwrap_err(), SetError::Json(json::Error::DuplicateMember));
    }
}

/// JWK-21: RFC 7517, section 4.7: `x5c` holds the key. No chain is checked, nor any date.
#[test]
fn a_key_is_read_from_its_certificate() {
    let long_ago = "20010101000000Z";
    for (kid, _) in KEYS.iter() {
        let kty = public(kid)["kty"].clone();
        let spki = spki_of(kid);
        let base64 = base64::prelude::BASE64_STANDARD.encode(certificate(&spki, "20491231235959Z"));
        let ended = base64::prelude::BASE64_STANDARD.encode(certificate(&spki, long_ago));
        let broken = base64.as_bytes().chunks(64).map(|line| format!("{}\n", String::from_utf8_lossy(line)));
        let broken: String = broken.collect();
        for jwk in [
            json!({"kid": kid, "kty": kty, "x5c": [base64]}),
            json!({"kid": kid, "kty": kty, "x5c": [base64, "AA=="], "use": "sig", "n": null, "x": ""}),
            json!({"kid": kid, "kty": kty, "x5c": [broken]}),
            json!({"kid": kid, "kty": kty, "x5c": [base64.replace('+', "-").replace('/', "_").trim_end_matches('=')]}),
            json!({"kid": kid, "kty": kty, "x5c": [format!("-----BEGIN CERTIFICATE-----\n{broken}\n-----END CERTIFICATE-----\n")]}),
            json!({"kid": kid, "kty": kty, "x5c": [ended]}),
            json!({"kid": kid, "x5c": [base64]}),
            with(public(kid), json!({"x5c": [base64]})),
        ] {
            let key = Jwk::parse(&jwk, KeySetOrigin::Remote).unwrap_or_else(|error| panic!("{error} {jwk:.200}"));
            assert!(key.verify(Algorithm::from_name(kid).unwrap(), b"m", &self::key(kid).sign(kid, b"m")).is_ok());
            assert!(key.fingerprint() == Jwk::parse(&public(kid), KeySetOrigin::Remote).unwrap().fingerprint());
            assert_eq!(
                key.certificate_end().is_some(),
                jwk.get("x5c").is_some() && jwk != with(public(kid), json!({"x5c": [base64]}))
            );
        }
        for (wrong, error) in [
            // Not that of the parameters, whichever is right.
            (with(public("ES256"), json!({"x5c": [base64]})), KeyError::CertificateOfAnother),
            (json!({"kty": "oct", "x5c": [base64]}), KeyError::Material),
            (json!({"kty": kty, "crv": "P-999", "x5c": [base64]}), KeyError::Material),
            (json!({"kty": kty, "x5c": ["?", base64]}), KeyError::Certificate),
            (json!({"kty": kty, "x5c": [&base64[..base64.len() - 8]]}), KeyError::Certificate),
            (json!({"kty": kty, "x5c": base64}), KeyError::Certificate),
            (json!({"kty": kty, "x5c": [base64], "alg": "HS256"}), KeyError::WrongAlgorithm),
        ] {
            let is_itself = *kid == "ES256" && error == KeyError::CertificateOfAnother;
            let is_of_rsa = *kid == "RS256" && wrong.get("crv").is_some() && error == KeyError::Material;
            assert!(
                is_itself || is_of_rsa || Jwk::parse(&wrong, KeySetOrigin::Inline).unwrap_err() == error,
                "{wrong:.100}"
            );
        }
    }
    // The demands on a key are the same.
    let weak = certificate(&spki_of_rsa(&BASE64URL.encode([0xff; 128])), long_ago);
    let weak = json!({"kty": "RSA", "x5c": [base64::prelude::BASE64_STANDARD.encode(weak)]});
    assert_eq!(Jwk::parse(&weak, KeySetOrigin::Remote).unwrap_err(), KeyError::Certificate);
}

/// Google publishes a map: each `kid` with a certificate in PEM (Firebase), or with a public key (its Identity-Aware Proxy).
#[test]
fn a_map_of_certificates() {
    let parse = |document: Value| JwkSet::parse(document.to_string().as_bytes(), KeySetOrigin::Remote);
    let certified = |kid: &str| pem("CERTIFICATE", &certificate(&spki_of(kid), "20010101000000Z"));
    let set = parse(json!({
        "RS256": certified("RS256"), "EdDSA": certified("EdDSA"), "ES256": pem("PUBLIC KEY", &spki_of("ES256")),
        "chain": certified("ES512") + &certified("ES384"), "broken": "-----BEGIN CERTIFICATE-----\nAA\n", "note": "text",
    }))
    .unwrap();
    assert_eq!((set.len(), errors(&set)), (4, vec![KeyError::Certificate]));
    assert!(prove(&good_token(), &set, &expected(), NOW).is_ok());
    for (kid, algorithm) in [("RS256", Algorithm::Rs256), ("ES256", Algorithm::Es256), ("chain", Algorithm::Es512)] {
        assert_eq!(set.candidates(Some(kid), algorithm).count(), 1, "{kid}");
    }
    let twice = format!(r#"{{"a":{},"a":{}}}"#, json!(certified("ES256")), json!(certified("EdDSA")));
    assert_eq!(JwkSet::parse(twice.as_bytes(), KeySetOrigin::Remote).unwrap().len(), 2, "two algorithms");
    let rivals = format!(r#"{{"a":{},"a":{}}}"#, json!(certified("ES256")), json!(pem("PUBLIC KEY", &other_spki())));
    assert!(has_no_usable_key(JwkSet::parse(rivals.as_bytes(), KeySetOrigin::Remote)));
    for none in [json!({}), json!({"error": "not found"}), json!({"a": 1}), json!({"a": [certified("ES256")]})] {
        assert_eq!(parse(none).unwrap_err(), SetError::NoKeysMember);
    }
}

/// JWK-19: RFC 7515, sections 4.1.7 and 4.1.8: a token may name its key by its certificate.
#[test]
fn keys_by_their_certificates() {
    let certified = |seed: u8| {
        let der = certificate(&ed25519_spki([seed; 32]), "20491231235959Z");
        (der.clone(), with(ed25519_jwk([seed; 32]), json!({"x5c": [base64::prelude::BASE64_STANDARD.encode(der)]})))
    };
    let mut many: Vec<Value> = (100..140).map(|seed| certified(seed).1).collect();
    let (der, last) = certified(7);
    many.push(last);
    let set = set_of(&many).unwrap();
    let sha1 = BASE64URL.encode(sha1::Sha1::digest(&der));
    let sha256 = BASE64URL.encode(Sha256::digest(&der));
    let outcome =
        |change: Value| prove(&with_header(with(json!({"kid": null}), change)), &set, &expected(), NOW).map(drop);
    assert_eq!(outcome(json!({})), Err(Refusal::Signature), "too many to try");
    assert_eq!(outcome(json!({"x5t": sha1})), Ok(()));
    assert_eq!(outcome(json!({"x5t#S256": sha256})), Ok(()));
    assert_eq!(outcome(json!({"x5t#S256": sha1, "x5t": sha256})), Err(Refusal::Signature));
    assert_eq!(outcome(json!({"x5t": [sha1], "x5t#S256": 7})), Err(Refusal::Signature), "no text, no hint");
    // As the JWK itself says, whatever that is.
    let named = set_of(&[with(public("EdDSA"), json!({"kid": "a", "x5t": "odd"}))]).unwrap();
    let token = |change: Value| with_header(with(json!({"kid": null}), change));
    assert!(prove(&token(json!({"x5t": "odd"})), &named, &expected(), NOW).is_ok());
    // One that no key has is no reason not to try.
    assert!(prove(&token(json!({"x5t": "other"})), &named, &expected(), NOW).is_ok());
    // A `kid` has the last word: on a key of another name, and on one that isn't there.
    assert!(prove(&token(json!({"kid": "b", "x5t": "odd"})), &named, &expected(), NOW).is_err());
    let pair =
        [with(public("EdDSA"), json!({"kid": "a", "x5t": "odd"})), with(ed25519_jwk([9; 32]), json!({"kid": "b"}))];
    let pair = set_of(&pair).unwrap();
    assert!(prove(&token(json!({"kid": "b", "x5t": "odd"})), &pair, &expected(), NOW).is_err());
    assert!(prove(&token(json!({"kid": "a", "x5t": "odd"})), &pair, &expected(), NOW).is_ok());
}

fn spki_of(kid: &str) -> Vec<u8> {
    match key(kid) {
        Signing::Ed25519(key) => ed25519_spki(key.to_bytes()),
        _ => Jwk::parse(&public(kid), KeySetOrigin::Remote).unwrap().spki().to_vec(),
    }
}

fn spki_of_rsa(n: &str) -> Vec<u8> {
    let n = rsa::BoxedUint::from_be_slice_vartime(&BASE64URL.decode(n).unwrap());
    let key = rsa::RsaPublicKey::new_unchecked(n, rsa::BoxedUint::from(65537_u64));
    key.to_public_key_der().unwrap().as_bytes().to_vec()
}

fn other_spki() -> Vec<u8> {
    let key = p256::ecdsa::SigningKey::from_slice(&[9; 32]).unwrap();
    key.verifying_key().to_public_key_der().unwrap().as_bytes().to_vec()
}

/// RFC 8410, section 4.
fn ed25519_spki(seed: [u8; 32]) -> Vec<u8> {
    let key = ed25519_dalek::SigningKey::from_bytes(&seed).verifying_key();
    [&[0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00][..], key.as_bytes()].concat()
}

fn ed25519_jwk(seed: [u8; 32]) -> Value {
    let key = ed25519_dalek::SigningKey::from_bytes(&seed);
    json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64URL.encode(key.verifying_key().as_bytes())})
}

/// JWK-21.
#[test]
fn extra_members_are_ignored() {
    let extra =
        json!({"d": RSA_D, "p": 1, "x5c": ["?"], "x5t": 1, "use": "sig", "key_ops": ["sign", "verify"], "y": {}});
    let set = set_of(&[with(public("EdDSA"), extra)]).unwrap();
    assert!(prove(&good_token(), &set, &expected(), NOW).is_ok());
}

// ---------------------------------------------------------------------------------------------- claims

/// CLM-01.
#[test]
fn exp_is_required() {
    refuses("CLM-01", &with_claims(json!({"exp": null})), invalid("exp"));
    let lax = Expected { require_expiration: false, ..expected() };
    assert!(prove(&with_claims(json!({"exp": null})), &SET, &lax, NOW).is_ok());
}

/// CLM-02, CLM-03.
#[test]
fn times_that_are_none() {
    for name in ["exp", "nbf", "iat"] {
        for text in [
            "\"4102444800\"",
            "null",
            "true",
            "[4102444800]",
            "{}",
            "\"\"",
            "-1",
            "-0.5",
            "1e300",
            "9223372036854775807",
            "18446744073709551615",
            "18446744073709551616",
            "253402300800",
            "253402300799.5",
            "-9223372036854775808",
        ] {
            refuses("CLM-02", &claim_text(name, text), invalid(name));
        }
        let huge = format!("1{}", "0".repeat(400));
        refuses("CLM-03", &claim_text(name, &huge), invalid(name));
        refuses("CLM-03", &claim_text(name, "1e999999999999"), invalid(name));
    }
    for text in ["0", "-0", "1e-400", "0.0"] {
        refuses("CLM-03", &claim_text("exp", text), Refusal::Jwt(jwt::Error::Expired));
        accepts("CLM-03", &claim_text("nbf", text));
    }
    // The largest skew and the largest times do not overflow.
    let patient = Expected { clock_skew: Duration::MAX, max_lifetime: Some(Duration::MAX), ..expected() };
    for now in [0, NOW, u64::MAX] {
        let token = with_claims(json!({"exp": 253_402_300_799u64, "nbf": 253_402_300_799u64, "iat": 0}));
        assert_eq!(prove(&token, &SET, &patient, now).map(drop), Ok(()), "{now}");
    }
}

/// CLM-04.
#[test]
fn times_with_fractions_and_exponents_are_read() {
    for text in ["1800000600.5", "1.8000006e9", "1.8000006E+9", "18000006e2", "253402300799", "253402300799.0"] {
        accepts("CLM-04", &claim_text("exp", text));
    }
    let token = claim_text("exp", "1800000000.25");
    let token = prove(&token, &SET, &expected(), NOW).unwrap();
    let expires_at = token.claims().expires_at().unwrap();
    assert_eq!(expires_at.unix_millis(), 1_800_000_000_250);
}

/// CLM-05, CLM-06.
#[test]
fn times_are_checked_to_the_second() {
    let outcome = |change: Value, skew: u64, max_lifetime: Option<u64>| {
        let expected = Expected {
            clock_skew: Duration::from_secs(skew),
            max_lifetime: max_lifetime.map(Duration::from_secs),
            ..expected()
        };
        match prove(&with_claims(change), &SET, &expected, NOW) {
            Ok(_) => Ok(()),
            Err(Refusal::Jwt(error)) => Err(error),
            Err(other) => panic!("{other:?}"),
        }
    };
    let (expired, early) = (Err(jwt::Error::Expired), Err(jwt::Error::NotYetValid));
    // CLM-05
    assert_eq!(outcome(json!({"exp": NOW + 1}), 0, None), Ok(()));
    assert_eq!(outcome(json!({"exp": NOW}), 0, None), expired);
    assert_eq!(outcome(json!({"exp": NOW}), 60, None), Ok(()));
    assert_eq!(outcome(json!({"exp": NOW - 59}), 60, None), Ok(()));
    assert_eq!(outcome(json!({"exp": NOW - 60}), 60, None), expired);
    // CLM-06
    for name in ["nbf", "iat"] {
        assert_eq!(outcome(json!({name: NOW}), 0, None), Ok(()));
        assert_eq!(outcome(json!({name: NOW + 1}), 0, None), early);
        assert_eq!(outcome(json!({name: NOW + 60}), 60, None), Ok(()));
        assert_eq!(outcome(json!({name: NOW + 61}), 60, None), early);
    }
    assert_eq!(outcome(json!({}), 60, Some(660)), Ok(()));
    assert_eq!(outcome(json!({}), 60, Some(659)), Err(jwt::Error::InvalidClaims("exp")));
    assert_eq!(outcome(json!({"iat": null}), 60, Some(660)), Err(jwt::Error::InvalidClaims("iat")));
    assert_eq!(outcome(json!({"iat": null}), 60, None), Ok(()));
    // Ended before it was issued: only a token that is over can say so, beyond the skew.
    assert_eq!(outcome(json!({"iat": NOW, "exp": NOW - 1}), 0, None), expired);
    assert_eq!(outcome(json!({"iat": NOW + 2, "exp": NOW + 1}), 0, None), early);
}

/// CLM-07.
#[test]
fn iss_is_compared_exactly() {
    for value in [json!(null), json!([ISSUER]), json!(1), json!({}), json!(true)] {
        refuses("CLM-07", &with_claims(json!({"iss": value})), invalid("iss"));
    }
    refuses("CLM-07", &claim_text("iss", "null"), invalid("iss"));
    for issuer in [
        "",
        "https://idp.example.com/",
        "https://IDP.example.com",
        "HTTPS://idp.example.com",
        "http://idp.example.com",
        "https://idp.example.com:443",
        "https://idp.example.com.evil.example",
        "https://idp.example.co",
        "idp.example.com",
        "https://user@idp.example.com",
        "https://idp.example.com\0",
        "https://idp.example.com ",
        " https://idp.example.com",
        "https://idp.example.com/.",
        "https://idpXexample.com",
    ] {
        refuses("CLM-07", &with_claims(json!({"iss": issuer})), Refusal::Jwt(jwt::Error::WrongIssuer));
    }
}

/// CLM-08, CLM-09.
#[test]
fn the_audience_is_one_of_those_listed() {
    for value in [
        json!({}),
        json!(1),
        json!(true),
        json!([1]),
        json!([[AUDIENCE]]),
        json!([AUDIENCE, 1]),
        json!([AUDIENCE, null]),
    ] {
        refuses("CLM-08", &with_claims(json!({"aud": value})), invalid("aud"));
    }
    refuses("CLM-08", &claim_text("aud", "null"), invalid("aud"));
    for value in [
        json!(null),
        json!(""),
        json!([]),
        json!([""]),
        json!("https://api.example.co"),
        json!("https://api.example.com/"),
        json!("https://API.example.com"),
        json!("https://api.example.com other"),
        json!("https://api.example.com,other"),
        json!("api.example.com"),
        json!("*"),
        json!(["other", "https://api.example.com.evil.example"]),
    ] {
        refuses("CLM-08", &with_claims(json!({"aud": value})), Refusal::Jwt(jwt::Error::WrongAudience));
    }
    accepts("CLM-09", &with_claims(json!({"aud": ["other", AUDIENCE]})));
    let nobody = Audiences::AnyOf(Vec::new());
    let anyone = Audiences::Any;
    let outcome = |audiences: &Audiences, change| {
        let expected = Expected { audiences, ..expected() };
        prove(&with_claims(change), &SET, &expected, NOW).map(drop)
    };
    assert_eq!(outcome(&nobody, json!({})), Err(Refusal::Jwt(jwt::Error::WrongAudience))); // CLM-10
    assert_eq!(outcome(&anyone, json!({"aud": null})), Ok(()));
    assert_eq!(outcome(&anyone, json!({"aud": []})), Ok(()));
    assert_eq!(outcome(&anyone, json!({"aud": 1})), Err(invalid("aud")));
}

/// CLM-11, CLM-12.
#[test]
fn claims_of_another_type_are_refused() {
    for name in ["sub", "jti", "client_id", "azp"] {
        for text in ["null", "1", "[]", "{}", "true"] {
            refuses("CLM-11", &claim_text(name, text), invalid(name));
        }
        accepts("CLM-11", &with_claims(json!({name: null})));
    }
}

/// CLM-13.
#[test]
fn scopes_are_read_from_scope_and_scp() {
    let scopes = |change: Value| {
        let token = prove(&with_claims(change), &SET, &expected(), NOW)?;
        Ok(token.claims().scopes().map(str::to_owned).collect::<Vec<_>>())
    };
    let of = |text: &str| scopes(json!({"scope": text})).unwrap();
    assert_eq!(of("read write"), ["read", "write"]);
    assert_eq!(of("  read  write  "), ["read", "write"]);
    assert_eq!(of("read\twrite \t"), ["read\twrite", "\t"]);
    assert_eq!(scopes(json!({"scope": ["read", "write"]})).unwrap(), ["read", "write"]);
    assert_eq!(scopes(json!({"scope": []})).unwrap(), [""; 0]);
    assert_eq!(of("read,write"), ["read,write"]);
    assert_eq!(of("read\u{a0}write"), ["read\u{a0}write"]);
    assert_eq!(of("read\nwrite"), ["read\nwrite"]);
    assert_eq!(of(""), [""; 0]);
    assert_eq!(scopes(json!({"scope": null, "scp": ["a", "b"]})).unwrap(), ["a", "b"]);
    assert_eq!(scopes(json!({"scope": "a", "scp": "b c"})).unwrap(), ["a", "b", "c"]);
    for value in [
        json!({"read": true}),
        json!(1),
        json!(true),
        json!(["read", 1]),
        json!(["read", null]),
        json!([["read"]]),
        json!(["read write"]),
        json!(["read\twrite"]),
        json!(["read\u{a0}"]),
        json!([""]),
    ] {
        for name in ["scope", "scp"] {
            assert_eq!(scopes(json!({name: value})), Err(Refusal::Jwt(jwt::Error::InvalidClaims(name))), "{value}");
        }
    }
    refuses("CLM-13", &claim_text("scope", "null"), Refusal::Jwt(jwt::Error::InvalidClaims("scope")));
}

/// TLS-07.
#[test]
fn bound_tokens_are_refused() {
    let both = r#"{"jkt":"x","x5t#S256":"x"}"#;
    let by_key = r#"{"jwk":{"kty":"OKP","crv":"Ed25519","x":"AA"}}"#;
    let unknown = r#"{"later":"x"}"#;
    for text in ["{}", "null", "\"x\"", "[]", "1", r#"{"jkt":"x"}"#, r#"{"x5t#S256":"x"}"#, both, by_key, unknown] {
        refuses("cnf", &claim_text("cnf", text), Refusal::Jwt(jwt::Error::NotBound));
    }
}

/// RSP-05.
#[test]
fn checks_come_in_order() {
    let mut claims = with(claims(), json!({"cnf": {}, "iss": "x", "aud": "x", "exp": 1}));
    let mut header = with(header(), json!({"typ": "x"}));
    let refusal = |header: &Value, claims: &Value| {
        let token = sign(key("EdDSA"), "EdDSA", header.to_string(), claims.to_string());
        prove(&token, &SET, &expected(), NOW).unwrap_err()
    };
    assert_eq!(refusal(&header, &claims), Refusal::Jwt(jwt::Error::WrongType));
    header["typ"] = json!("JWT");
    assert_eq!(refusal(&header, &claims), Refusal::Jwt(jwt::Error::WrongIssuer));
    claims["iss"] = json!(ISSUER);
    assert_eq!(refusal(&header, &claims), Refusal::Jwt(jwt::Error::NotBound));
    claims.as_object_mut().unwrap().remove("cnf");
    assert_eq!(refusal(&header, &claims), Refusal::Jwt(jwt::Error::WrongAudience));
    claims["aud"] = json!(AUDIENCE);
    assert_eq!(refusal(&header, &claims), Refusal::Jwt(jwt::Error::Expired));
    // Nothing is said of a token that is not proved.
    let forged = sign(&Signing::Hmac(vec![1; 64]), "", header.to_string(), claims.to_string());
    refuses("", &forged, Refusal::Signature);
}

/// INT-05, INT-06, INT-08.
#[test]
fn answers_pass_the_same_checks() {
    let outcome = |change: Value| {
        let Value::Object(object) = with(claims(), change) else { unreachable!() };
        let expected = Expected { issuer: Issuer::IfPresent(ISSUER), require_expiration: false, ..expected() };
        let claims = Rc::new(Claims::from_answer(object)?);
        claims.check(&expected, Timestamp::from_unix_seconds(NOW))?.shown_with(None, None).map(drop)
    };
    use jwt::Error::*;
    assert_eq!(outcome(json!({})), Ok(()));
    assert_eq!(outcome(json!({"iss": null, "exp": null, "iat": null})), Ok(()));
    assert_eq!(outcome(json!({"iss": "other"})), Err(WrongIssuer));
    assert_eq!(outcome(json!({"iss": 1})), Err(InvalidClaims("iss")));
    assert_eq!(outcome(json!({"aud": null})), Err(WrongAudience));
    assert_eq!(outcome(json!({"exp": "4102444800"})), Ok(()));
    assert_eq!(outcome(json!({"exp": "soon"})), Err(InvalidClaims("exp")));
    assert_eq!(outcome(json!({"exp": 1})), Err(Expired));
    assert_eq!(outcome(json!({"nbf": NOW + 61})), Err(NotYetValid));
    assert_eq!(outcome(json!({"cnf": {"jkt": "x"}})), Err(NotBound));

    // An issuer that must be named is not taken for granted.
    let claims = Rc::new(Claims::from_answer(json::Object::new()).unwrap());
    assert_eq!(claims.check(&expected(), Timestamp::from_unix_seconds(NOW)).unwrap_err(), WrongIssuer);
}

// ---------------------------------------------------------------------------------------------- robustness

/// WSM-02.
#[test]
fn damaged_tokens_are_never_accepted() {
    let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
    let good = good_token();
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.=";
    for _ in 0..4_000 {
        let damaged = noise.damage(good.as_bytes(), alphabet);
        if damaged == good.as_bytes() {
            continue;
        }
        let damaged = String::from_utf8_lossy(&damaged);
        jws::form(&damaged);
        assert!(outcome(&damaged).is_err(), "{damaged}");
    }
}

/// WSM-02: Texts that were signed by the provider all the same: whatever comes of it, it is no panic.
#[test]
fn damaged_headers_and_claims_do_no_harm() {
    let mut noise = Noise(1);
    let (header, claims) = (header().to_string(), claims().to_string());
    for _ in 0..2_000 {
        let header = noise.damage(header.as_bytes(), b"{}[]\",:\\u0019.eE+- ");
        let _ = outcome(&raw_header(header));
        let claims = noise.damage(claims.as_bytes(), b"{}[]\",:\\u0019.eE+- ");
        if let Ok(token) = prove(&raw_claims(claims), &SET, &expected(), NOW) {
            assert_eq!(token.claims().issuer(), Some(ISSUER));
            assert!(token.claims().audience().contains(&AUDIENCE.to_owned()));
            let _ = token.claims().scopes().count();
        }
    }
}

/// WSM-02.
#[test]
fn damaged_key_sets_do_no_harm() {
    let mut noise = Noise(2);
    let keys: Vec<Value> = KEYS.iter().map(|(kid, _)| public(kid)).collect();
    let document = json!({"keys": keys}).to_string();
    let forged = sign(
        &Signing::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[9; 32])),
        "EdDSA",
        header().to_string(),
        claims().to_string(),
    );
    for _ in 0..300 {
        let damaged = noise.damage(document.as_bytes(), b"{}[]\",:AQz019-_=");
        if let Ok(set) = JwkSet::parse(&damaged, KeySetOrigin::Remote) {
            assert!(set.len() + set.refused().len() <= keys.len() + 1);
            assert!(prove(&forged, &set, &expected(), NOW).is_err());
        }
    }
}

/// What is accepted is what serde_json reads, to the letter; what it reads and we refuse is repeated, or deep, or its own.
#[test]
fn damaged_json_agrees_with_serde_json() {
    let mut noise = Noise(3);
    let text =
        br#"{"a":[1,-2.5e3,true,false,null,"\u00e9\n"],"b":{"c":{"a":"x","d":[]}},"$serde_json::private::Number":"1"}"#;
    let mut agreed = 0;
    for _ in 0..50_000 {
        let damaged = noise.damage(text, b"{}[]\",:\\u0019.eE+-abcd ");
        match (json::parse(&damaged), serde_json::from_slice::<Value>(&damaged)) {
            (Ok(ours), theirs) => {
                assert_eq!(Some(ours), theirs.ok());
                agreed += 1;
            }
            (Err(json::Error::Malformed), Ok(_)) => {
                assert!(damaged.windows(7).any(|window| window == b"private"));
            }
            _ => {}
        }
    }
    assert!(agreed > 500, "{agreed}");
}
