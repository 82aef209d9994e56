//! Tokens that are bound to a key of their sender: RFC 9449, the resource server's side; MV-20 to MV-33 of Maverics.

use crate::process::Process;
use crate::scene::*;
use crate::support::{Signing, p521_key, rsa_key, sign, with};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD as BASE64, BASE64_URL_SAFE as PADDED, BASE64_URL_SAFE_NO_PAD as BASE64URL};
use oidc_filter::config::WhenFull;
use oidc_filter::jose::jwk::{Jwk, KeySetOrigin, Thumbprint};
use oidc_filter::json;
use oidc_filter::oauth::dpop::replay::{ProofId, ReplayMemory};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

const ORIGIN: &str = "https://api.example.com";

/// The owner of a key.
struct Holder {
    signing: Signing,
    alg: &'static str,
}

fn holder(name: &'static str) -> Holder {
    Holder { signing: key(name).signing, alg: "EdDSA" }
}

impl Holder {
    fn jwk(&self) -> Value {
        with(self.signing.jwk(""), json!({"kid": null}))
    }

    fn jkt(&self) -> String {
        let jwk = json::parse(self.jwk().to_string().as_bytes()).unwrap();
        Jwk::parse(&jwk, KeySetOrigin::Remote).unwrap().thumbprint().unwrap().to_string()
    }

    /// A token that is bound to this key.
    fn token(&self) -> String {
        token(self.cnf())
    }

    fn cnf(&self) -> Value {
        json!({"cnf": {"jkt": self.jkt()}})
    }

    /// A good proof for a GET of `/things`, with changes of its header and its claims.
    fn proof_with(&self, token: &str, header: Value, claims: Value) -> String {
        let header = with(json!({"typ": "dpop+jwt", "alg": self.alg, "jwk": self.jwk()}), header);
        let claims = with(good_proof(token), claims);
        sign(&self.signing, self.alg, header.to_string(), claims.to_string())
    }

    fn proof(&self, token: &str, claims: Value) -> String {
        self.proof_with(token, json!({}), claims)
    }

    /// A request with a token of this holder and a new proof.
    fn ask(&self) -> Ask {
        let token = self.token();
        dpop(&token, &self.proof(&token, json!({})))
    }
}

/// The claims of a proof. Each has a `jti` of its own.
fn good_proof(token: &str) -> Value {
    thread_local!(static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
    COUNT.set(COUNT.get() + 1);
    let ath = Thumbprint::of(token.as_bytes()).to_string();
    json!({"jti": format!("jti-{}", COUNT.get()), "htm": "GET", "htu": format!("{ORIGIN}/things"), "iat": NOW, "ath": ath})
}

fn dpop(token: &str, proof: &str) -> Ask {
    bare().header("authorization", format!("DPoP {token}")).header("dpop", proof)
}

/// Top level settings with `dpop`, which has these changes.
fn settings(dpop: Value) -> Value {
    json!({"dpop": with(json!({"origins": [ORIGIN]}), dpop)})
}

fn scene(dpop: Value) -> Scene {
    Scene::of(jwt(json!({}), settings(dpop)))
}

/// The parameters of the challenge with this scheme.
#[track_caller]
fn challenge(refusal: &Refusal, scheme: &str) -> Option<std::collections::BTreeMap<String, String>> {
    let all = challenges(refusal.header("www-authenticate").unwrap_or_default());
    let names: Vec<&str> = all.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names.len(), names.iter().collect::<BTreeSet<_>>().len(), "{names:?}");
    all.into_iter().find(|(name, _)| name == scheme).map(|(_, parameters)| parameters)
}

#[track_caller]
fn invalid_proof(seen: Seen) -> Refusal {
    let refusal = seen.refused(401, "invalid_dpop_proof");
    assert_eq!(challenge(&refusal, "DPoP").unwrap()["error"], "invalid_dpop_proof");
    assert_eq!(refusal.header("cache-control"), Some("no-store"));
    refusal
}

// ---------------------------------------------------------------------------------------------- what passes

/// DPP-01, MV-20, MV-29: spellings of one request, and what a proof may have beside what it needs.
#[test]
fn the_owner_of_the_key_passes() {
    let mut scene = scene(json!({}));
    let ann = holder("ann");
    let token = ann.token();
    let upstream = scene.send(ann.ask()).allowed();
    // DPP-19: neither header goes on, but for the token.
    assert_eq!(upstream.header("dpop"), None);
    assert_eq!(upstream.header("authorization"), Some(format!("DPoP {token}").as_str()));
    for scheme in ["dpop", "DPOP", "DPoP"] {
        let proof = ann.proof(&token, json!({}));
        scene.send(bare().header("authorization", format!("{scheme} {token}")).header("dpop", proof)).allowed();
    }
    for htu in [
        "https://api.example.com/things?query",
        "https://api.example.com/things?a=b&c=%2F#d",
        "https://api.example.com/things#fragment",
        "https://API.Example.com/things",
        "HTTPS://api.example.com/things",
        "https://api.example.com:443/things",
        "https://api.example.com/%74hings",
    ] {
        scene.send(dpop(&token, &ann.proof(&token, json!({"htu": htu})))).allowed();
    }
    for path in ["/things?x=1", "/%74hings", "/things?x=../..#y"] {
        scene.send(dpop(&token, &ann.proof(&token, json!({}))).set(":path", Some(path))).allowed();
    }
    for iat in [json!(NOW - 60), json!(NOW + 5), json!(NOW as f64 - 0.5), json!(NOW - 70), json!(NOW + 10)] {
        scene.send(dpop(&token, &ann.proof(&token, json!({"iat": iat})))).allowed();
    }
    for more in [
        json!({"exp": NOW + 60}),
        json!({"nbf": NOW}),
        json!({"iss": "x", "sub": "", "aud": ["x"], "extra": {"a": [1]}}),
    ] {
        scene.send(dpop(&token, &ann.proof(&token, more))).allowed();
    }
    let jwk = with(ann.jwk(), json!({"kid": "1", "use": "sig", "alg": "EdDSA", "key_ops": ["verify"], "ext": true}));
    scene.send(dpop(&token, &ann.proof_with(&token, json!({"jwk": jwk}), json!({})))).allowed();
    scene.send(dpop(&token, &ann.proof_with(&token, json!({"kid": "1"}), json!({})))).allowed();
    scene.send(dpop(&token, &ann.proof(&token, json!({"jti": "a".repeat(256)})))).allowed();
}

/// DPP-01: each kind of key that a proof may be signed with.
#[test]
fn every_asymmetric_algorithm_signs_proofs() {
    let mut scene = scene(json!({}));
    let p256 = || Signing::P256(p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap());
    let p384 = || Signing::P384(p384::ecdsa::SigningKey::from_slice(&[7; 48]).unwrap());
    let rsa = || Signing::Rsa(Box::new(rsa_key()));
    for (signing, alg) in [
        (p256(), "ES256"),
        (p384(), "ES384"),
        (Signing::P521(p521_key()), "ES512"),
        (rsa(), "RS256"),
        (rsa(), "RS384"),
        (rsa(), "RS512"),
        (rsa(), "PS256"),
        (rsa(), "PS384"),
        (rsa(), "PS512"),
    ] {
        let holder = Holder { signing, alg };
        scene.send(holder.ask()).allowed();
    }
    let mut scene = scene_with_only(json!(["ES256"]));
    scene.send(Holder { signing: p256(), alg: "ES256" }.ask()).allowed();
    let refusal = invalid_proof(scene.send(holder("ann").ask()));
    assert_eq!(challenge(&refusal, "DPoP").unwrap()["algs"], "ES256");
}

fn scene_with_only(algorithms: Value) -> Scene {
    scene(json!({"algorithms": algorithms}))
}

// ---------------------------------------------------------------------------------------------- schemes and bindings

/// DPP-02, DPP-03, MV-25, MV-26, MV-27: RFC 9449, section 7.2: scheme and binding agree both ways.
#[test]
fn the_scheme_and_the_binding_agree() {
    let ann = holder("ann");
    let (bound, free) = (ann.token(), good());
    for (mode, free_passes) in [("opportunistic", true), ("required", false)] {
        let mut scene = scene(json!({"mode": mode}));
        let refusal = scene.send(bearer(&bound)).refused(401, "not_bound");
        assert!(challenge(&refusal, "DPoP").unwrap().contains_key("algs"));
        scene.send(bearer(&bound).header("dpop", ann.proof(&bound, json!({})))).refused(401, "not_bound");
        // MV-26.
        let refusal = scene.send(dpop(&free, &ann.proof(&free, json!({})))).refused(401, "not_bound");
        assert_eq!(challenge(&refusal, "DPoP").unwrap()["error"], "invalid_token");
        scene.send(bare().header("authorization", format!("DPoP {free}"))).refused(401, "not_bound");
        if free_passes {
            scene.send(bearer(&free)).allowed();
        } else {
            let refusal = scene.send(bearer(&free)).refused(401, "not_bound");
            assert_eq!(challenge(&refusal, "DPoP").unwrap()["error"], "invalid_token");
            assert_eq!(challenge(&refusal, "Bearer"), None);
        }
    }
    for top in [json!({}), json!({"dpop": {"mode": "off"}})] {
        let mut scene = Scene::of(jwt(json!({}), top));
        scene.send(bearer(&bound)).refused(401, "not_bound");
        scene.send(dpop(&bound, &ann.proof(&bound, json!({})))).refused(401, "unsupported_token");
        scene.send(bearer(&free)).allowed();
    }
}

/// DPP-02: a token in a place without a scheme needs its proof as much.
#[test]
fn a_bound_token_elsewhere_needs_its_proof() {
    let places = json!({"access_token": [{"key": "x-token"}, {"location": "cookie", "key": "t"}]});
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), places)));
    let ann = holder("ann");
    let token = ann.token();
    let placed = || [bare().header("x-token", &token), bare().header("cookie", format!("t={token}"))];
    for ask in placed() {
        invalid_proof(scene.send(ask));
    }
    for ask in placed() {
        scene.send(ask.header("dpop", ann.proof(&token, json!({})))).allowed();
    }
}

/// DPP-02, DPP-03: a place of its own for the scheme DPoP takes what comes under it, and lets nothing unbound in.
#[test]
fn a_place_for_the_scheme_dpop() {
    let places = json!({"access_token": [
        {"key": "Authorization", "scheme": "Bearer"},
        {"key": "Authorization", "scheme": "DPoP"},
        {"key": "x-token", "scheme": "DPoP"},
    ]});
    let ann = holder("ann");
    let token = ann.token();
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), places.clone())));
    scene.send(ann.ask()).allowed();
    scene.send(bearer(&good())).allowed();
    scene.send(bearer(&token)).refused(401, "not_bound");
    scene.send(bare().header("authorization", format!("DPoP {}", good()))).refused(401, "not_bound");
    invalid_proof(scene.send(bare().header("x-token", format!("DPoP {token}"))));
    scene
        .send(bare().header("x-token", format!("DPoP {token}")).header("dpop", ann.proof(&token, json!({}))))
        .allowed();
    let mut off = Scene::of(jwt(json!({}), places));
    off.send(ann.ask()).refused(401, "not_bound");
    off.send(bare().header("x-token", format!("DPoP {}", good()))).refused(401, "not_bound");
    off.send(bearer(&token)).refused(401, "not_bound");
}

/// TLS-07: what a token says of its binding is understood, or it is refused.
#[test]
fn confirmations_that_are_not_understood() {
    let ann = holder("ann");
    let mut scene = scene(json!({}));
    let jkt = ann.jkt();
    for cnf in [
        json!({}),
        json!([]),
        json!("x"),
        json!(1),
        json!({"jkt": "x"}),
        json!({"jkt": [jkt]}),
        json!({"jkt": format!("{jkt}=")}),
        json!({"jkt": jkt, "kid": "1"}),
        json!({"jkt": jkt, "x5t#S256": jkt}),
        json!({"jwk": ann.jwk()}),
        json!({"kid": "1"}),
    ] {
        let token = token(json!({"cnf": cnf}));
        scene.send(dpop(&token, &ann.proof(&token, json!({})))).refused(401, "not_bound");
        scene.send(bearer(&token)).refused(401, "not_bound");
    }
}

/// DPP-18: two credentials are no choice.
#[test]
fn two_schemes_at_once() {
    let mut scene = scene(json!({}));
    let ann = holder("ann");
    scene.send(ann.ask().bearer(&good())).refused(400, "invalid_request");
    scene
        .send(bearer(&good()).header("authorization", format!("DPoP {}", ann.token())))
        .refused(400, "invalid_request");
    let joined = format!("Bearer {},DPoP {}", good(), ann.token());
    scene.send(bare().header("authorization", joined)).refused(400, "invalid_request");
}

// ---------------------------------------------------------------------------------------------- faults

/// DPP-04: exactly one header, with one proof.
#[test]
fn one_proof_in_one_header() {
    let mut scene = scene(json!({}));
    let ann = holder("ann");
    let token = ann.token();
    let proof = || ann.proof(&token, json!({}));
    let bare_dpop = || bare().header("authorization", format!("DPoP {token}"));
    invalid_proof(scene.send(bare_dpop()));
    let same = proof();
    invalid_proof(scene.send(bare_dpop().header("dpop", &same).header("dpop", &same)));
    invalid_proof(scene.send(bare_dpop().header("dpop", proof()).header("dpop", proof())));
    invalid_proof(scene.send(bare_dpop().header("dpop", proof()).header("dpop", "")));
    let whole = proof();
    for text in [
        String::new(),
        " ".to_owned(),
        "garbage".to_owned(),
        "a.b.c".to_owned(),
        "..".to_owned(),
        format!("{},{}", proof(), proof()),
        format!("{}, {}", proof(), proof()),
        format!("{} {}", proof(), proof()),
        format!("{},", proof()),
        format!("DPoP {}", proof()),
        format!("\"{}\"", proof()),
        format!("{}.", proof()),
        format!("{}=", proof()),
        format!(".{}", proof()),
        format!("{}.x", proof()),
        whole[..whole.len() - 1].to_owned(),
        whole.rsplit_once('.').unwrap().0.to_owned(),
        format!("{}.", whole.rsplit_once('.').unwrap().0),
        whole.replace('.', ".."),
        whole.replacen('.', "=.", 1),
        ann.proof(&token, json!({"x": "y".repeat(9000)})),
    ] {
        invalid_proof(scene.send(bare_dpop().header("dpop", &text)));
    }
    invalid_proof(scene.send(bare_dpop().header("dpop", [whole.as_bytes(), b"\xff"].concat())));
    // What was refused was not spent.
    scene.send(bare_dpop().header("dpop", &whole)).allowed();
}

/// DPP-05, DPP-06, DPP-07: the header of a proof.
#[test]
fn headers_of_proofs() {
    let mut scene = scene(json!({}));
    let (ann, eve) = (holder("ann"), holder("eve"));
    let token = ann.token();
    let private = json!({"d": BASE64URL.encode([1; 32])});
    let x = ann.jwk()["x"].as_str().unwrap().to_owned();
    for header in [
        json!({"typ": null}),
        json!({"typ": "JWT"}),
        json!({"typ": "at+jwt"}),
        json!({"typ": "DPoP+JWT"}),
        json!({"typ": "dpop+jwt "}),
        json!({"typ": "application/dpop+jwt"}),
        json!({"typ": ["dpop+jwt"]}),
        json!({"typ": ""}),
        json!({"alg": null}),
        json!({"alg": "none"}),
        json!({"alg": "None"}),
        json!({"alg": ""}),
        json!({"alg": "HS256"}),
        json!({"alg": "ES256"}),
        json!({"alg": "eddsa"}),
        json!({"alg": ["EdDSA"]}),
        json!({"jwk": null}),
        json!({"jwk": "x"}),
        json!({"jwk": []}),
        json!({"jwk": [ann.jwk()]}),
        json!({"jwk": {}}),
        json!({"jwk": ann.jwk().to_string()}),
        json!({"jwk": with(ann.jwk(), private.clone())}),
        json!({"jwk": with(ann.jwk(), json!({"d": ""}))}),
        json!({"jwk": with(ann.jwk(), json!({"k": "AA"}))}),
        json!({"jwk": eve.jwk()}),
        json!({"jwk": with(ann.jwk(), json!({"x": format!("{x}=")}))}),
        json!({"jwk": with(ann.jwk(), json!({"x": format!("AA{x}")}))}),
        json!({"jwk": with(ann.jwk(), json!({"crv": "X25519"}))}),
        json!({"jwk": with(ann.jwk(), json!({"crv": "Ed448"}))}),
        json!({"jwk": with(ann.jwk(), json!({"kty": "okp"}))}),
        json!({"jwk": with(ann.jwk(), json!({"use": "enc"}))}),
        json!({"jwk": with(ann.jwk(), json!({"alg": "ES256"}))}),
        json!({"jwk": {"kty": "oct", "k": BASE64URL.encode([1; 32])}}),
        json!({"jwk": null, "kid": "1"}),
        json!({"jwk": null, "jku": "https://eve.example/jwks"}),
        json!({"jwk": null, "x5c": [BASE64.encode(b"x")]}),
        json!({"jku": "https://eve.example/jwks"}),
        json!({"x5u": "https://eve.example/cert"}),
        json!({"x5c": [BASE64.encode(b"x")]}),
        json!({"crit": ["jwk"]}),
        json!({"crit": []}),
        json!({"crit": ["x"], "x": 1}),
        json!({"b64": true}),
        json!({"b64": false}),
        json!({"zip": "DEF"}),
        json!({"cty": "JWT"}),
        json!({"enc": "A128GCM"}),
    ] {
        let proof = ann.proof_with(&token, header.clone(), json!({}));
        let refusal = scene.send(dpop(&token, &proof)).refused(401, "invalid_dpop_proof");
        assert!(refusal.header("www-authenticate").is_some(), "{header}");
    }
    // The same members twice: two readers could read two proofs.
    let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": ann.jwk()}).to_string();
    let claims = good_proof(&token).to_string();
    for (header, claims) in [
        (header.replacen('{', r#"{"typ":"dpop+jwt","#, 1), claims.clone()),
        (header.replacen('{', r#"{"jwk":{},"#, 1), claims.clone()),
        (header.replace(r#""kty""#, r#""kty":"OKP","kty""#), claims.clone()),
        (header.clone(), claims.replacen('{', r#"{"htm":"GET","#, 1)),
        (header.clone(), claims.replacen('{', r#"{"jti":"other","#, 1)),
        (header.clone(), claims.replacen('{', r#"{"\u006ati":"other","#, 1)),
        (header.clone(), format!("[{claims}]")),
        (header.clone(), format!("{claims} {{}}")),
        (header.clone(), String::new()),
    ] {
        invalid_proof(scene.send(dpop(&token, &sign(&ann.signing, "EdDSA", header, claims))));
    }
    assert!(scene.calls.iter().all(|call| !call.url.contains("eve")), "no address in a proof is called");
}

/// DPP-05: keys of other kinds.
#[test]
fn keys_that_verify_nothing_soundly() {
    let mut scene = scene(json!({}));
    let ec = Holder { signing: Signing::P256(p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap()), alg: "ES256" };
    let token = ec.token();
    scene.send(dpop(&token, &ec.proof(&token, json!({})))).allowed();
    let (x, y) = (ec.jwk()["x"].as_str().unwrap().to_owned(), ec.jwk()["y"].as_str().unwrap().to_owned());
    let zeros = BASE64URL.encode([&[0], &BASE64URL.decode(&x).unwrap()[..]].concat());
    for jwk in [
        json!({"y": x}),
        json!({"x": zeros}),
        json!({"x": PADDED.encode(BASE64URL.decode(&x).unwrap())}),
        json!({"x": BASE64.encode(BASE64URL.decode(&x).unwrap())}),
        json!({"crv": "P-384"}),
        json!({"crv": "secp256k1"}),
        json!({"y": null}),
        json!({"x": y, "y": x}),
        json!({"x": BASE64URL.encode([0; 32]), "y": BASE64URL.encode([0; 32])}),
    ] {
        let proof = ec.proof_with(&token, json!({"jwk": with(ec.jwk(), jwk)}), json!({}));
        invalid_proof(scene.send(dpop(&token, &proof)));
    }
    // DPP-07: a coordinate that begins with a zero has it, or the key is written in a way of its own.
    let (short, member) = (1..=u8::MAX)
        .flat_map(|seed| (1..=u8::MAX).map(move |more| [[seed; 31].as_slice(), &[more]].concat()))
        .find_map(|secret| {
            let signing = Signing::P256(p256::ecdsa::SigningKey::from_slice(&secret).ok()?);
            let short = Holder { signing, alg: "ES256" };
            let begins = |name: &str| BASE64URL.decode(short.jwk()[name].as_str().unwrap()).unwrap()[0] == 0;
            let member = ["x", "y"].into_iter().find(|name| begins(name))?;
            Some((short, member))
        })
        .unwrap();
    scene.send(short.ask()).allowed();
    let stripped = BASE64URL.encode(&BASE64URL.decode(short.jwk()[member].as_str().unwrap()).unwrap()[1..]);
    let bound = short.token();
    let jwk = with(short.jwk(), json!({member: stripped}));
    invalid_proof(scene.send(dpop(&bound, &short.proof_with(&bound, json!({"jwk": jwk}), json!({})))));
    // A key too small to be safe, also where the token names it.
    let small = json!({"kty": "RSA", "e": "AQAB", "n": BASE64URL.encode([0xc5; 128])});
    let proof = ec.proof_with(&token, json!({"alg": "RS256", "jwk": small}), json!({}));
    invalid_proof(scene.send(dpop(&token, &proof)));
}

/// DPP-06: signatures.
#[test]
fn signatures_of_proofs() {
    let mut scene = scene(json!({}));
    let (ann, eve) = (holder("ann"), holder("eve"));
    let token = ann.token();
    // The thief's key under the owner's, the thief's own, and none.
    let stolen = Holder { signing: holder("eve").signing, alg: "EdDSA" };
    let proof = stolen.proof_with(&token, json!({"jwk": ann.jwk()}), json!({}));
    invalid_proof(scene.send(dpop(&token, &proof)));
    invalid_proof(scene.send(dpop(&token, &eve.proof(&token, json!({})))));
    let good = ann.proof(&token, json!({}));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let octets = BASE64URL.decode(signature).unwrap();
    let mut damaged = octets.clone();
    damaged[5] ^= 1;
    for wrong in [vec![0; 64], octets[..63].to_vec(), [&octets[..], &[0]].concat(), damaged, vec![1]] {
        invalid_proof(scene.send(dpop(&token, &format!("{signed}.{}", BASE64URL.encode(wrong)))));
    }
    let other = ann.proof(&token, json!({}));
    let (other, _) = other.rsplit_once('.').unwrap();
    invalid_proof(scene.send(dpop(&token, &format!("{other}.{signature}"))));
    // The same octets in another text, and the same numbers in another form.
    invalid_proof(scene.send(dpop(&token, &format!("{signed}.{}", PADDED.encode(&octets)))));
    let ec = Holder { signing: Signing::P256(p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap()), alg: "ES256" };
    let bound = ec.token();
    let proof = ec.proof(&bound, json!({}));
    let (signed, signature) = proof.rsplit_once('.').unwrap();
    let parsed = p256::ecdsa::Signature::from_slice(&BASE64URL.decode(signature).unwrap()).unwrap();
    let der = BASE64URL.encode(parsed.to_der().as_bytes());
    invalid_proof(scene.send(dpop(&bound, &format!("{signed}.{der}"))));
    scene.send(dpop(&bound, &proof)).allowed();
    // The other of the two signatures that ECDSA has for one message is the same proof: it was seen.
    let (r, s) = parsed.split_scalars();
    let mirrored = p256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    let mirrored = format!("{signed}.{}", BASE64URL.encode(mirrored.to_bytes()));
    invalid_proof(scene.send(dpop(&bound, &mirrored)));
}

/// DPP-08, DPP-09, DPP-11, DPP-12, DPP-14, MV-28: the claims of a proof.
#[test]
fn claims_of_proofs() {
    let mut scene = scene(json!({}));
    let ann = holder("ann");
    let token = ann.token();
    let digest = BASE64URL.decode(Thumbprint::of(token.as_bytes()).to_string()).unwrap();
    let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut faults = vec![
        ("ath", json!(null)),
        ("ath", json!("")),
        ("ath", json!(Thumbprint::of(good().as_bytes()).to_string())),
        ("ath", json!(hex)),
        ("ath", json!(PADDED.encode(&digest))),
        ("ath", json!(BASE64.encode(&digest))),
        ("ath", json!(BASE64URL.encode(&digest[..16]))),
        ("ath", json!([Thumbprint::of(token.as_bytes()).to_string()])),
        ("ath", json!(Thumbprint::of(format!("DPoP {token}").as_bytes()).to_string())),
        ("jti", json!(null)),
        ("jti", json!("")),
        ("jti", json!(1)),
        ("jti", json!(["x"])),
        ("jti", json!({})),
        ("jti", json!(true)),
        ("jti", json!("a".repeat(257))),
        ("jti", json!("a".repeat(5000))),
        ("nonce", json!(1)),
        ("nonce", json!(["x"])),
        // Nobody asks for these, and they have their types all the same.
        ("iss", json!(1)),
        ("iss", json!(["x"])),
        ("sub", json!({})),
        ("aud", json!(1)),
        ("aud", json!({})),
        ("aud", json!([1])),
    ];
    for htm in ["", "get", "Get", "POST", "HEAD", "GET ", " GET", "GET,POST", "*", "PATCH"] {
        faults.push(("htm", json!(htm)));
    }
    for htm in [json!(null), json!(["GET"]), json!(1)] {
        faults.push(("htm", htm));
    }
    for htu in [
        "",
        "/things",
        "things",
        "//api.example.com/things",
        "http://api.example.com/things",
        "https://api.example.com:8443/things",
        "https://api.example.com:80/things",
        "https://evil.example/things",
        "https://api.example.com.evil.example/things",
        "https://api.example.com./things",
        "https://evil.example/?https://api.example.com/things",
        "https://user@api.example.com/things",
        "https://api.example.com@evil.example/things",
        "https://api%2Eexample.com/things",
        "https://api.example.com",
        "https://api.example.com/",
        "https://api.example.com/things/",
        "https://api.example.com/thing",
        "https://api.example.com/things/1",
        "https://api.example.com/Things",
        "https://api.example.com//things",
        "https://api.example.com/./things",
        "https://api.example.com/x/../things",
        "https://api.example.com/things%2F",
        "https://api.example.com/%2Fthings",
        "https://api.example.com%2Fthings",
        "https://api.example.com/things%3Fx",
        "https://api.example.com/things;x",
        "https://api.example.com/things ",
        " https://api.example.com/things",
        "https:\\\\api.example.com\\things",
        "https://api.example.com\\things",
        "wss://api.example.com/things",
    ] {
        faults.push(("htu", json!(htu)));
    }
    let url = format!("{ORIGIN}/things");
    for htu in [json!(null), json!([url]), json!({"a": url}), json!(1)] {
        faults.push(("htu", htu));
    }
    for iat in [
        json!(null),
        json!(NOW - 71),
        json!(NOW - 600),
        json!(NOW + 11),
        json!(NOW + 600),
        json!(0),
        json!(-1),
        json!(-(NOW as i64)),
        json!(NOW.to_string()),
        json!(true),
        json!([NOW]),
        json!(1e300),
        json!(u64::MAX),
        json!(NOW * 1000),
        json!(9_223_372_036_854_775_808_u64),
    ] {
        faults.push(("iat", iat));
    }
    faults.extend([("exp", json!(NOW - 60)), ("exp", json!("x")), ("nbf", json!(NOW + 60)), ("nbf", json!("x"))]);
    for (claim, value) in faults {
        let proof = ann.proof(&token, json!({claim: value}));
        let seen = scene.send(dpop(&token, &proof));
        assert!(
            matches!(&seen, Seen::Refused(refusal) if refusal.reason == "invalid_dpop_proof"),
            "{claim} {value}: {seen:?}"
        );
        invalid_proof(seen);
    }
    // Numbers that no JSON has.
    for iat in ["NaN", "Infinity", "01", "1e", "0x10"] {
        let claims = good_proof(&token).to_string().replace(&format!("\"iat\":{NOW}"), &format!("\"iat\":{iat}"));
        let header = json!({"typ": "dpop+jwt", "alg": "EdDSA", "jwk": ann.jwk()}).to_string();
        invalid_proof(scene.send(dpop(&token, &sign(&ann.signing, "EdDSA", header, claims))));
    }
}

/// DPP-08: only the method of the request line counts.
#[test]
fn other_methods() {
    let mut scene = scene(json!({}));
    let ann = holder("ann");
    let token = ann.token();
    for (method, htm, passes) in [
        ("POST", "POST", true),
        ("POST", "GET", false),
        ("GET", "POST", false),
        ("PURGE", "PURGE", true),
        ("purge", "PURGE", false),
        ("OPTIONS", "OPTIONS", true),
    ] {
        let ask = dpop(&token, &ann.proof(&token, json!({"htm": htm}))).set(":method", Some(method));
        if passes {
            scene.send(ask).allowed();
        } else {
            invalid_proof(scene.send(ask));
        }
    }
    let ask = dpop(&token, &ann.proof(&token, json!({"htm": "DELETE"}))).header("x-http-method-override", "DELETE");
    invalid_proof(scene.send(ask));
}

/// DPP-10, DPP-20, MV-30: nothing that a client can write says under which name it knows the service.
#[test]
fn the_origin_is_the_operators_word() {
    let mut scene = scene(json!({}));
    let ann = holder("ann");
    let token = ann.token();
    for (name, value) in [
        (":authority", "evil.example"),
        (":scheme", "http"),
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-port", "8443"),
        ("forwarded", "host=evil.example;proto=http"),
        ("x-original-host", "evil.example"),
        ("x-envoy-original-path", "/other"),
        ("x-original-url", "/other"),
        ("x-rewrite-url", "/other"),
    ] {
        // MV-30: what a proxy before us has changed does no harm to the owner,
        scene.send(dpop(&token, &ann.proof(&token, json!({}))).set(name, Some(value))).allowed();
        // and is of no use to whoever has a proof for elsewhere.
        for htu in ["https://evil.example/things", "http://api.example.com/things", "https://api.example.com/other"] {
            let proof = ann.proof(&token, json!({"htu": htu}));
            invalid_proof(scene.send(dpop(&token, &proof).set(name, Some(value))));
        }
    }
    // Of several origins, the host chooses, and only among them.
    let two = json!({"origins": ["https://a.example", "https://b.example:8443"]});
    let mut scene = self::scene(two);
    let ask = |authority: &str, htu: &str| {
        let proof = ann.proof(&token, json!({"htu": htu}));
        dpop(&token, &proof).set(":authority", Some(authority))
    };
    for (authority, htu) in [
        ("a.example", "https://a.example/things"),
        ("A.example:443", "https://a.example/things"),
        ("b.example:8443", "https://b.example:8443/things"),
    ] {
        scene.send(ask(authority, htu)).allowed();
    }
    // DPP-10: one host under two schemes.
    let mut both = self::scene(json!({"origins": ["http://a.example", "https://a.example"]}));
    for htu in ["http://a.example/things", "https://a.example/things"] {
        both.send(ask("a.example", htu)).allowed();
    }
    both.send(ask("a.example:443", "https://a.example/things")).allowed();
    invalid_proof(both.send(ask("a.example:443", "http://a.example/things")));
    invalid_proof(both.send(ask("a.example:80", "https://a.example/things")));
    for (authority, htu) in [
        ("a.example", "https://b.example:8443/things"),
        ("b.example:8443", "https://a.example/things"),
        ("b.example", "https://b.example:8443/things"),
        ("c.example", "https://a.example/things"),
        ("c.example", "https://c.example/things"),
        ("a.example.", "https://a.example/things"),
    ] {
        invalid_proof(scene.send(ask(authority, htu)));
    }
}

/// DPP-17: a proof is no token, and a token no proof.
#[test]
fn a_proof_is_no_token_and_a_token_no_proof() {
    let mut scene = scene(json!({}));
    let ann = holder("ann");
    let token = ann.token();
    let proof = ann.proof(&token, json!({}));
    invalid_proof(scene.send(dpop(&token, &token)));
    invalid_proof(scene.send(dpop(&token, &good())));
    scene.send(dpop(&proof, &proof)).refused(401, "invalid_claims");
    // One that the provider's own key signed, with the claims of a token.
    let crossed = key("k1").token_with(json!({"typ": "dpop+jwt", "jwk": key("k1").jwk()}), ann.cnf());
    scene.send(dpop(&crossed, &ann.proof(&crossed, json!({})))).refused(401, "wrong_type");
}

// ---------------------------------------------------------------------------------------------- memory

/// DPP-13, DPP-15, MV-31, CCH-05: neither the token's entry in a cache nor another worker makes a proof good again.
#[test]
fn a_proof_is_taken_once() {
    let mut scene = scene(json!({}));
    let ann = holder("ann");
    let token = ann.token();
    let proof = ann.proof(&token, json!({}));
    scene.send(dpop(&token, &proof)).allowed();
    let refusal = invalid_proof(scene.send(dpop(&token, &proof)));
    assert!(refusal.json()["error_description"].as_str().unwrap().starts_with("invalid_dpop_proof: "));
    // CCH-05: the token is known by now, and proves nothing by itself.
    scene.send(bearer(&token)).refused(401, "not_bound");
    invalid_proof(scene.send(bare().header("authorization", format!("DPoP {token}"))));
    invalid_proof(scene.send(dpop(&token, &holder("eve").proof(&token, json!({})))));
    assert_eq!(scene.send(ann.ask()).allowed().cached, Some(true));
    // DPP-15: one `jti` of one key is one proof, whatever it is for.
    let first = ann.proof(&token, json!({"jti": "same"}));
    let second = ann.proof(&token, json!({"jti": "same", "htu": format!("{ORIGIN}/other")}));
    scene.send(dpop(&token, &first)).allowed();
    invalid_proof(scene.send(dpop(&token, &second).set(":path", Some("/other"))));
    let bob = holder("bob");
    let bobs = bob.token();
    scene.send(dpop(&bobs, &bob.proof(&bobs, json!({"jti": "same"})))).allowed();
}

/// DPP-13: workers of one process share what they have seen; a filter that is made anew finds it there.
#[test]
fn workers_share_what_they_have_seen() {
    let configuration = jwt(json!({}), settings(json!({})));
    let mut first = Scene::of(configuration.clone());
    let mut second = Scene::beside(&first, configuration.clone());
    let ann = holder("ann");
    let token = ann.token();
    let proof = ann.proof(&token, json!({}));
    first.send(dpop(&token, &proof)).allowed();
    invalid_proof(second.send(dpop(&token, &proof)));
    let proof = ann.proof(&token, json!({}));
    second.send(dpop(&token, &proof)).allowed();
    invalid_proof(first.send(dpop(&token, &proof)));
    let mut again = Scene::beside(&first, configuration);
    invalid_proof(again.send(dpop(&token, &proof)));
}

/// DPP-13: a proof that a rule with little patience has seen is none for a rule with more, whoever chooses among them.
#[test]
fn a_proof_is_taken_once_under_all_rules() {
    let hasty = json!({"match": {"path": "/things", "headers": [{"name": "x-hasty", "present": true}]},
        "dpop": {"proof_lifetime": "5s", "clock_skew": "0s"}});
    let top = with(settings(json!({"proof_lifetime": "10m"})), json!({"rules": [hasty]}));
    let mut scene = Scene::of(jwt(json!({}), top));
    let ann = holder("ann");
    let token = ann.token();
    let proof = ann.proof(&token, json!({"jti": "first"}));
    scene.send(dpop(&token, &proof).header("x-hasty", "1")).allowed();
    scene.pass_seconds(30);
    // Another proof of the same slot, under the hasty rule, makes it forget what that rule can.
    let slot = |jti: &str| {
        let process = Process::default();
        let memory = ReplayMemory::new("", &[1; 32], 4096, WhenFull::Shrink, Duration::from_secs(1));
        memory.spend(&process, ProofId::of(Thumbprint::parse(&ann.jkt()).unwrap(), jti), scene.now, scene.now);
        process.keys()
    };
    let neighbour = (0..).map(|number| number.to_string()).find(|jti| slot(jti) == slot("first")).unwrap();
    let neighbour = ann.proof(&token, json!({"jti": neighbour, "iat": NOW + 30}));
    scene.send(dpop(&token, &neighbour).header("x-hasty", "1")).allowed();
    assert_eq!(scene.process.keys().len(), 2, "the secret, and one slot");
    invalid_proof(scene.send(dpop(&token, &proof)));
    invalid_proof(scene.send(dpop(&token, &neighbour)));
}

/// DPP-14: a proof that can't be remembered is refused, or others are refused for it; never is one forgotten in silence.
#[test]
fn a_memory_that_is_full_is_never_silent() {
    let ann = holder("ann");
    let token = ann.token();
    for (when_full, refused_as) in [("refuse", "overloaded"), ("shrink", "invalid_dpop_proof")] {
        let mut scene = scene(json!({"replay": {"capacity": 4096, "when_full": when_full}}));
        let (mut allowed, mut refused, mut words) = (0, 0, BTreeSet::new());
        let (mut proofs, mut is_told) = (Vec::new(), false);
        for number in 0..400_u64 {
            // The later half is for requests of the same age.
            let iat = if number % 2 == 0 { NOW } else { NOW - 30 };
            let proof = ann.proof(&token, json!({"iat": iat}));
            let seen = scene.send(dpop(&token, &proof));
            is_told |= heard_any("remembered");
            match seen {
                Seen::Upstream(upstream) => {
                    allowed += 1;
                    words.extend(upstream.replay);
                    proofs.push(proof);
                }
                Seen::Refused(refusal) => {
                    assert_eq!(refusal.reason, refused_as);
                    refused += 1;
                    words.extend(refusal.replay);
                }
                other => panic!("{other:?}"),
            }
        }
        assert!(allowed > 0 && refused > 0, "{allowed} {refused}");
        let full = if when_full == "refuse" { "full" } else { "window_shrunk" };
        assert!(words.contains(full) && words.contains("first"), "{words:?}");
        for proof in proofs {
            assert!(scene.send(dpop(&token, &proof)).upstream_or_none().is_none());
        }
        assert!(is_told, "the operator is told");
    }
}

fn heard_any(text: &str) -> bool {
    crate::listener::heard().iter().any(|line| line.contains(text))
}

/// DPP-13: where nothing can be remembered, nothing that needs it passes.
#[test]
fn a_host_without_shared_data_lets_no_bound_token_pass() {
    let mut scene = scene(json!({}));
    scene.process.is_down.set(true);
    scene.send(holder("ann").ask()).refused(503, "overloaded");
    scene.send(bearer(&good())).allowed();
    scene.process.is_down.set(false);
    scene.send(holder("ann").ask()).allowed();
    let mut scene = Scene::without_process(jwt(json!({}), settings(json!({}))));
    scene.send(holder("ann").ask()).refused(503, "misconfigured");
    scene.send(bearer(&good())).allowed();
}

/// A proof is spent by the request that passes, not by one that is refused.
#[test]
fn what_is_refused_spends_nothing() {
    let rules = json!([{"match": {"path": "/things", "headers": [{"name": "x-admin", "present": true}]}, "require": {"scopes": "admin"}}]);
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), json!({"rules": rules}))));
    let ann = holder("ann");
    let token = ann.token();
    let proof = ann.proof(&token, json!({}));
    scene.send(dpop(&token, &proof).header("x-admin", "1")).refused(403, "insufficient_scope");
    scene.send(dpop(&token, &proof)).allowed();
}

// ---------------------------------------------------------------------------------------------- nonces

/// DPP-16, MV-21, MV-22, MV-24: a nonce is required, given, and good for a while, on every worker.
#[test]
fn a_required_nonce() {
    let configuration = jwt(json!({}), settings(json!({"nonce": "required"})));
    let mut scene = Scene::of(configuration.clone());
    let ann = holder("ann");
    let token = ann.token();
    let use_nonce = |seen: Seen| {
        let refusal = seen.refused(401, "use_dpop_nonce");
        assert_eq!(challenge(&refusal, "DPoP").unwrap()["error"], "use_dpop_nonce");
        assert_eq!(refusal.header("cache-control"), Some("no-store"));
        refusal.header("dpop-nonce").unwrap().to_owned()
    };
    let with_nonce = |nonce: &str, iat: u64| ann.proof(&token, json!({"nonce": nonce, "iat": iat}));
    let nonce = use_nonce(scene.send(ann.ask()));
    // Refused for want of a nonce, the proof is not spent, and still not good.
    let upstream = scene.send(dpop(&token, &with_nonce(&nonce, NOW))).allowed();
    assert_eq!(upstream.response_header("dpop-nonce"), None, "MV-20: only when it changes");
    for wrong in ["", "x", &nonce[1..], &format!("{nonce}="), &"A".repeat(nonce.len())] {
        assert_ne!(use_nonce(scene.send(dpop(&token, &with_nonce(wrong, NOW)))), nonce);
    }
    // MV-24: another worker.
    let mut other = Scene::beside(&scene, configuration);
    other.send(dpop(&token, &with_nonce(&nonce, NOW))).allowed();
    // DPP-16: a nonce of another server.
    let mut foreign =
        Scene::of(jwt(json!({}), settings(json!({"nonce": {"mode": "required", "secrets": ["b".repeat(32)]}}))));
    let theirs = use_nonce(foreign.send(ann.ask()));
    use_nonce(scene.send(dpop(&token, &with_nonce(&theirs, NOW))));
    // MV-22.
    scene.pass(Duration::from_secs(200));
    let upstream = scene.send(dpop(&token, &with_nonce(&nonce, NOW + 200))).allowed();
    let newer = upstream.response_header("dpop-nonce").unwrap().to_owned();
    assert_eq!(upstream.response_header("cache-control"), Some("no-store"));
    scene.pass(Duration::from_secs(101));
    use_nonce(scene.send(dpop(&token, &with_nonce(&nonce, NOW + 301))));
    scene.send(dpop(&token, &with_nonce(&newer, NOW + 301))).allowed();
    // MV-21: a browser that speaks gRPC gets it with 200.
    for kind in ["application/grpc", "application/grpc-web", "application/grpc-web-text"] {
        let ask = ann.ask().set(":method", Some("POST")).header("content-type", kind);
        let proof = ann.proof(&token, json!({"htm": "POST", "iat": NOW + 301}));
        let Seen::Refused(refusal) = scene.send(ask.set("dpop", Some(&proof))) else { panic!("{kind} passed") };
        assert_eq!(refusal.reason, "use_dpop_nonce");
        assert!(refusal.header("dpop-nonce").is_some(), "{kind}");
    }
    // Who has no token yet is told a nonce as well.
    let refusal = scene.send(bare()).refused(401, "missing_token");
    assert!(refusal.header("dpop-nonce").is_some());
}

/// DPP-16: where nobody is refused, a client gets the nonce that it lacks all the same; visitors without a proof get none.
#[test]
fn a_nonce_where_nothing_is_enforced() {
    let top = with(settings(json!({"nonce": "required"})), json!({"enforce": false}));
    let mut scene = Scene::of(jwt(json!({}), top));
    let ann = holder("ann");
    let token = ann.token();
    let upstream = scene.send(ann.ask()).stripped("use_dpop_nonce");
    assert_eq!((upstream.header("authorization"), upstream.header("dpop")), (None, None));
    assert_eq!(upstream.response_header("cache-control"), Some("no-store"));
    let nonce = upstream.response_header("dpop-nonce").unwrap().to_owned();
    scene.send(dpop(&token, &ann.proof(&token, json!({"nonce": nonce})))).allowed();
    assert!(scene.send(dpop(&token, "x")).stripped("invalid_dpop_proof").response_header("dpop-nonce").is_some());
    for (ask, reason) in [(bare(), "missing_token"), (bearer("x"), "malformed_token"), (bearer(&token), "not_bound")] {
        assert_eq!(scene.send(ask).stripped(reason).response_header("dpop-nonce"), None, "{reason}");
    }
    let top = with(settings(json!({"nonce": "off"})), json!({"enforce": false}));
    let upstream = Scene::of(jwt(json!({}), top)).send(dpop(&token, "x")).stripped("invalid_dpop_proof");
    assert_eq!(upstream.response_header("dpop-nonce"), None);
}

/// DPP-16, MV-23: an optional nonce is offered, and held to where it is sent; with `off`, nothing is offered or looked at.
#[test]
fn optional_nonces_and_none() {
    let ann = holder("ann");
    let token = ann.token();
    let mut scene = scene(json!({}));
    let upstream = scene.send(ann.ask()).allowed();
    let nonce = upstream.response_header("dpop-nonce").unwrap().to_owned();
    scene.send(dpop(&token, &ann.proof(&token, json!({"nonce": nonce})))).allowed();
    let refusal = scene.send(dpop(&token, &ann.proof(&token, json!({"nonce": "x"})))).refused(401, "use_dpop_nonce");
    assert!(refusal.header("dpop-nonce").is_some());
    let mut scene = self::scene(json!({"nonce": "off"}));
    let upstream = scene.send(dpop(&token, &ann.proof(&token, json!({"nonce": "x"})))).allowed();
    assert_eq!(upstream.response_header("dpop-nonce"), None);
    let refusal = invalid_proof(scene.send(dpop(&token, "x")));
    assert_eq!(refusal.header("dpop-nonce"), None);
}

/// DPP-16: nonces outlive the rotation of a configured secret.
#[test]
fn nonces_over_a_rotation() {
    let of = |secrets: Value| jwt(json!({}), settings(json!({"nonce": {"mode": "required", "secrets": secrets}})));
    let (old, new) = ("o".repeat(32), "n".repeat(32));
    let ann = holder("ann");
    let token = ann.token();
    let mut before = Scene::of(of(json!([old])));
    let nonce = before.send(ann.ask()).refused(401, "use_dpop_nonce").header("dpop-nonce").unwrap().to_owned();
    let with_nonce = || dpop(&token, &ann.proof(&token, json!({"nonce": nonce})));
    Scene::of(of(json!([new, old]))).send(with_nonce()).allowed();
    Scene::of(of(json!([new]))).send(with_nonce()).refused(401, "use_dpop_nonce");
}

/// WSM-12: no two nonces are the same, whichever worker made them.
#[test]
fn nonces_of_two_workers_differ() {
    let configuration = jwt(json!({}), settings(json!({"nonce": "required"})));
    let mut first = Scene::of(configuration.clone());
    let mut second = Scene::beside(&first, configuration);
    let mut seen = BTreeSet::new();
    for _ in 0..50 {
        for scene in [&mut first, &mut second] {
            let refusal = scene.send(holder("ann").ask()).refused(401, "use_dpop_nonce");
            assert!(seen.insert(refusal.header("dpop-nonce").unwrap().to_owned()));
        }
    }
}

// ---------------------------------------------------------------------------------------------- answers about tokens

/// MV-32, INT-08: an opaque token is bound by what its provider says of it.
#[test]
fn opaque_bound_tokens() {
    let mut scene = Scene::of(introspection(json!({}), settings(json!({}))));
    let ann = holder("ann");
    for (token, more) in [("one", json!({})), ("two", json!({"token_type": "DPoP"}))] {
        scene.provider.tokens.insert(token.to_owned(), active(with(ann.cnf(), more)));
        for _ in 0..2 {
            scene.send(dpop(token, &ann.proof(token, json!({})))).allowed();
            scene.send(bearer(token)).refused(401, "not_bound");
            invalid_proof(scene.send(dpop(token, &holder("eve").proof(token, json!({})))));
        }
        // DPP-19: the provider is told of the token only.
        let call = scene.calls.iter().rfind(|call| call.url.ends_with("/introspect")).unwrap();
        assert!(call.headers.iter().all(|(name, _)| !name.eq_ignore_ascii_case("dpop")), "{call:?}");
    }
    scene.provider.tokens.insert("promised".to_owned(), active(json!({"token_type": "DPoP"})));
    scene.send(bearer("promised")).refused(401, "not_bound");
    scene.send(dpop("promised", &ann.proof("promised", json!({})))).refused(401, "not_bound");
}

/// TLS-08: a JWT and the answer about it, which say two things of its binding.
#[test]
fn a_jwt_and_the_answer_about_it_agree() {
    let mut scene = Scene::of(introspection(json!({}), settings(json!({}))));
    let (ann, eve) = (holder("ann"), holder("eve"));
    let token = ann.token();
    let told = |scene: &mut Scene, answer: Value, by: &Holder| {
        scene.pass(Duration::from_secs(61));
        let now = NOW + scene.now.saturating_since(oidc_filter::time::Timestamp::from_unix_seconds(NOW)).as_secs();
        scene.provider.tokens.insert(token.clone(), active(answer));
        scene.send(dpop(&token, &by.proof(&token, json!({"iat": now}))))
    };
    told(&mut scene, ann.cnf(), &ann).allowed();
    // An answer need not repeat it.
    told(&mut scene, json!({}), &ann).allowed();
    invalid_proof(told(&mut scene, json!({}), &eve));
    told(&mut scene, eve.cnf(), &eve).refused(401, "not_bound");
    told(&mut scene, eve.cnf(), &ann).refused(401, "not_bound");
    told(&mut scene, json!({"cnf": {"x5t#S256": ann.jkt()}}), &ann).refused(401, "not_bound");
    scene.send(bearer(&token)).refused(401, "not_bound");
    let unreadable = crate::scene::token(json!({"cnf": {"kid": "1"}}));
    scene.provider.tokens.insert(unreadable.clone(), active(ann.cnf()));
    scene.send(dpop(&unreadable, &ann.proof(&unreadable, json!({})))).refused(401, "not_bound");
}

// ---------------------------------------------------------------------------------------------- what goes on

/// DPP-19, MV-33: what the service gets of a proof and a bound token.
#[test]
fn what_the_service_gets() {
    let ann = holder("ann");
    let token = ann.token();
    let ask = || dpop(&token, &ann.proof(&token, json!({}))).header("dpop-nonce", "x");
    let sent = |top: Value| {
        let upstream = Scene::of(jwt(json!({}), top)).send(ask()).allowed();
        let header = |name: &str| upstream.header(name).map(str::to_owned);
        (header("authorization"), header("dpop").is_some(), header("dpop-nonce"))
    };
    let as_dpop = Some(format!("DPoP {token}"));
    assert_eq!(sent(settings(json!({}))), (as_dpop.clone(), false, None));
    assert_eq!(sent(settings(json!({"forward_proof": true}))), (as_dpop, true, Some("x".to_owned())));
    assert_eq!(sent(settings(json!({"forward_as": "bearer"}))), (Some(format!("Bearer {token}")), false, None));
    assert_eq!(sent(with(settings(json!({})), json!({"forward": false}))), (None, false, None));
    let both = with(settings(json!({"forward_as": "bearer"})), json!({"forward": false}));
    assert_eq!(sent(both), (None, false, None));
    // Neither do requests without a bound token hand one on, nor those whose token is taken off.
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), json!({"allow_missing": true}))));
    assert_eq!(scene.send(bare().header("dpop", "x")).upstream().header("dpop"), None);
    assert_eq!(scene.send(bearer(&good()).header("dpop", "x")).allowed().header("dpop"), None);
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), json!({"enforce": false}))));
    let stripped = scene.send(dpop(&token, "x")).stripped("invalid_dpop_proof");
    assert_eq!((stripped.header("dpop"), stripped.header("authorization")), (None, None));
}

/// A token under the scheme DPoP is taken off where tokens are, also where none is looked at.
#[test]
fn a_bypass_that_forwards_no_token_forwards_no_dpop_token() {
    let rules = json!([{"match": {"path": "/things"}, "bypass": true}]);
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), json!({"forward": false, "rules": rules}))));
    let upstream = scene.send(holder("ann").ask()).bypassed();
    assert_eq!((upstream.header("authorization"), upstream.header("dpop")), (None, None));
    // Where the token goes on unseen, its proof does: it may be for a service that looks at both.
    let top = with(settings(json!({})), json!({"rules": rules}));
    let upstream = Scene::of(jwt(json!({}), top)).send(holder("ann").ask()).bypassed();
    assert!(upstream.header("authorization").is_some() && upstream.header("dpop").is_some());
}

/// ENR-15: userinfo must refuse a bound token that comes as a bearer token, so that its no says nothing here.
#[test]
fn userinfo_does_not_judge_bound_tokens() {
    for optional in [true, false] {
        let enrich = json!({"enrich": {"source": "userinfo", "optional": optional}});
        let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), enrich)));
        scene.provider.at("/userinfo", status(401));
        let seen = scene.send(holder("ann").ask());
        if optional {
            seen.allowed();
        } else {
            seen.refused(503, "provider_unavailable");
        }
    }
}

/// DPP-21: gRPC is a POST to the full name of the method; a WebSocket begins with a GET; a tunnel has no resource.
#[test]
fn grpc_websocket_and_connect() {
    let mut scene = scene(json!({}));
    let ann = holder("ann");
    let token = ann.token();
    let grpc = |htu: &str| {
        let proof = ann.proof(&token, json!({"htm": "POST", "htu": format!("{ORIGIN}{htu}")}));
        dpop(&token, &proof)
            .set(":method", Some("POST"))
            .set(":path", Some("/shop.v1.Orders/List"))
            .header("content-type", "application/grpc")
    };
    scene.send(grpc("/shop.v1.Orders/List")).allowed();
    for other in ["/shop.v1.Orders", "/shop.v1.Orders/Get", "/shop.v1.orders/List"] {
        let refusal = scene.send(grpc(other)).refused(401, "invalid_dpop_proof");
        assert_eq!(refusal.grpc_status, Some(16));
    }
    let upgrade = |ask: Ask| {
        ask.header("connection", "upgrade").header("upgrade", "websocket").header("sec-websocket-version", "13")
    };
    scene.send(upgrade(dpop(&token, &ann.proof(&token, json!({}))))).allowed();
    invalid_proof(scene.send(upgrade(dpop(&token, &ann.proof(&token, json!({"htm": "CONNECT"}))))));
    invalid_proof(
        scene.send(upgrade(dpop(&token, &ann.proof(&token, json!({"htu": "wss://api.example.com/things"}))))),
    );
    for (htu, path) in
        [(ORIGIN, None), ("https://db.example:5432", None), (&format!("{ORIGIN}/things"), Some("/things"))]
    {
        let proof = ann.proof(&token, json!({"htm": "CONNECT", "htu": htu}));
        let ask = dpop(&token, &proof).set(":method", Some("CONNECT")).set(":path", path);
        invalid_proof(scene.send(ask));
    }
}

/// The verify endpoint judges a proof for the request that is asked about, by headers of the proxy only.
#[test]
fn a_proxy_that_asks_has_proofs_judged() {
    let verify =
        json!({"verify_path": "/verify", "verify_request": {"method_header": "x-method", "uri_header": "x-uri"}});
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), verify)));
    let ann = holder("ann");
    let token = ann.token();
    let question = |claims: Value, method: &str, uri: &str| {
        dpop(&token, &ann.proof(&token, claims))
            .set(":path", Some("/verify"))
            .header("x-method", method)
            .header("x-uri", uri)
    };
    let confirmed = scene.send(question(json!({}), "GET", "/things?x")).confirmed();
    assert!(confirmed.removed.contains(&"dpop".to_owned()), "{:?}", confirmed.removed);
    assert!(confirmed.header("dpop-nonce").is_some());
    let spent = question(json!({}), "GET", "/things");
    scene.send(spent.clone()).confirmed();
    scene.send(spent).refused(401, "invalid_dpop_proof");
    scene.send(question(json!({}), "POST", "/things")).refused(401, "invalid_dpop_proof");
    scene.send(question(json!({}), "GET", "/other")).refused(401, "invalid_dpop_proof");
    let own = json!({"htu": format!("{ORIGIN}/verify")});
    scene.send(question(own, "GET", "/things")).refused(401, "invalid_dpop_proof");
}

// ---------------------------------------------------------------------------------------------- challenges

/// RFC 9449, sections 7.1 and 7.2: what is asked for, and under which scheme an error is told.
#[test]
fn challenges_name_what_is_taken() {
    let ann = holder("ann");
    let mut scene = scene(json!({"algorithms": ["ES256", "EdDSA"]}));
    let refusal = scene.send(bare()).refused(401, "missing_token");
    assert_eq!(challenge(&refusal, "DPoP").unwrap()["algs"], "ES256 EdDSA");
    assert_eq!(challenge(&refusal, "DPoP").unwrap().get("error"), None);
    assert_eq!(challenge(&refusal, "Bearer").unwrap().get("error"), None);
    let expired = token(with(ann.cnf(), json!({"exp": NOW - 3600})));
    let refusal = scene.send(dpop(&expired, &ann.proof(&expired, json!({})))).refused(401, "expired");
    assert_eq!(challenge(&refusal, "DPoP").unwrap()["error"], "invalid_token");
    assert_eq!(challenge(&refusal, "Bearer"), None);
    let refusal = scene.send(bearer(&token(json!({"exp": NOW - 3600})))).refused(401, "expired");
    assert_eq!(challenge(&refusal, "Bearer").unwrap()["error"], "invalid_token");
    assert_eq!(challenge(&refusal, "DPoP").unwrap().get("error"), None);
    let mut scene = self::scene(json!({"mode": "required"}));
    let refusal = scene.send(bare()).refused(401, "missing_token");
    assert_eq!((challenge(&refusal, "Bearer"), challenge(&refusal, "DPoP").is_some()), (None, true));
}

/// RSP-07: a page of another origin sees what it needs for the next try.
#[test]
fn a_page_reads_challenges_and_nonces() {
    let cors = json!({"cors": {"allow_origins": ["https://app.example"]}});
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({"nonce": "required"})), cors)));
    let refusal =
        scene.send(holder("ann").ask().header("origin", "https://app.example")).refused(401, "use_dpop_nonce");
    let exposed = refusal.header("access-control-expose-headers").unwrap();
    assert!(exposed.contains("www-authenticate") && exposed.contains("dpop-nonce"), "{exposed}");
    let preflight = scene.send(
        bare()
            .set(":method", Some("OPTIONS"))
            .header("origin", "https://app.example")
            .header("access-control-request-method", "GET"),
    );
    let allowed = preflight.preflight();
    assert!(allowed.iter().any(|line| line.starts_with("access-control-allow-headers") && line.contains("dpop")));
}

// ---------------------------------------------------------------------------------------------- policies

/// A rule says for itself what it asks of bindings, and inherits the rest.
#[test]
fn rules_have_their_own_modes() {
    let rules = json!([
        {"match": {"path_prefix": "/bank"}, "dpop": {"mode": "required"}},
        {"match": {"path_prefix": "/old"}, "dpop": {"mode": "off"}},
        {"match": {"path_prefix": "/other"}, "dpop": {"origins": ["https://other.example"], "nonce": "off"}},
    ]);
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), json!({"rules": rules}))));
    let ann = holder("ann");
    let token = ann.token();
    let to = |path: &str, origin: &str| {
        let proof = ann.proof(&token, json!({"htu": format!("{origin}{path}")}));
        dpop(&token, &proof).set(":path", Some(path))
    };
    let free = |path: &str| bearer(&good()).set(":path", Some(path));
    scene.send(to("/bank", ORIGIN)).allowed();
    scene.send(free("/bank")).refused(401, "not_bound");
    scene.send(to("/old", ORIGIN)).refused(401, "unsupported_token");
    scene.send(free("/old")).allowed();
    scene.send(to("/other", "https://other.example")).allowed();
    invalid_proof(scene.send(to("/other", ORIGIN)));
    scene.send(free("/things")).allowed();
}

/// A candidate policy looks at the same proof, and spends nothing.
#[test]
fn a_candidate_spends_nothing() {
    let shadow = json!({"shadow": {"dpop": {"mode": "required"}}});
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), shadow)));
    let upstream = scene.send(holder("ann").ask()).allowed();
    assert_eq!(upstream.shadow.unwrap().words(), ("allowed", "none"));
    let upstream = scene.send(bearer(&good())).allowed();
    assert_eq!(upstream.shadow.unwrap().words(), ("denied", "not_bound"));
}

/// DPP-13: of requests that wait with one proof, one passes; and a proof may grow too old while its request waits.
#[test]
fn proofs_of_requests_that_wait() {
    let mut scene = Scene::cold(jwt(json!({}), settings(json!({}))));
    let ann = holder("ann");
    let token = ann.token();
    let (old, proof) = (ann.proof(&token, json!({"iat": NOW - 69})), ann.proof(&token, json!({})));
    // The keys are not there yet.
    let streams = [&proof, &old, &proof, &proof].map(|proof| scene.begin(dpop(&token, proof)));
    assert_eq!(scene.waiting(), 4);
    scene.now = scene.now.saturating_add(Duration::from_secs(2));
    scene.settle();
    scene.pass(Duration::from_secs(1));
    let seen = streams.map(|stream| scene.seen(stream));
    invalid_proof(seen[1].clone());
    let passed = seen.into_iter().filter_map(Seen::upstream_or_none).count();
    assert_eq!(passed, 1);
}

/// DPP-11: a proof that says when it ends is held to that when its request has waited, too.
#[test]
fn a_proof_may_end_while_its_request_waits() {
    let authorizer = json!({"external_authorization": {"uri": "https://authz.example/check", "cluster": "authz"}});
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), authorizer)));
    scene.provider.serve("https://authz.example/check", status(200));
    let ann = holder("ann");
    let token = ann.token();
    // Ten seconds are for clocks that differ, and at its end a proof is over.
    for (end, is_good) in [(json!(NOW - 8), false), (json!(NOW - 7), true), (json!(null), true)] {
        scene.now = oidc_filter::time::Timestamp::from_unix_seconds(NOW);
        let stream = scene.begin(dpop(&token, &ann.proof(&token, json!({"exp": end}))));
        scene.now = scene.now.saturating_add(Duration::from_secs(2));
        scene.settle();
        match scene.seen(stream) {
            seen if is_good => drop(seen.allowed()),
            seen => drop(invalid_proof(seen)),
        }
    }
}

/// A proof is checked once for a request that waits for an authorizer, and is spent when that has said yes.
#[test]
fn an_authorizer_that_says_no_spends_no_proof() {
    let authorizer = json!({"external_authorization": {"uri": "https://authz.example/check", "cluster": "authz"}});
    let mut scene = Scene::of(jwt(json!({}), with(settings(json!({})), authorizer)));
    let ann = holder("ann");
    let token = ann.token();
    let proof = ann.proof(&token, json!({}));
    scene.provider.serve("https://authz.example/check", status(403));
    scene.send(dpop(&token, &proof)).refused(403, "insufficient_claims");
    scene.provider.serve("https://authz.example/check", status(200));
    scene.pass_seconds(1);
    scene.send(dpop(&token, &proof)).allowed();
    scene.pass_seconds(1);
    let proof = ann.proof(&token, json!({"iat": NOW - 67}));
    let stream = scene.begin(dpop(&token, &proof));
    scene.now = scene.now.saturating_add(Duration::from_secs(2));
    scene.settle();
    invalid_proof(scene.seen(stream));
}

// ---------------------------------------------------------------------------------------------- step-up

/// CLM-19: a token is good (RFC 9470), and its user must be authenticated anew, or in another way.
#[test]
fn step_up_authentication() {
    let require = json!({"require": {"acr": ["urn:gold", "urn:silver"], "max_age": "5m"}});
    let mut scene = Scene::of(jwt(json!({}), require));
    let claims = |acr: Value, auth_time: Value| json!({"acr": acr, "auth_time": auth_time});
    scene.send(bearer(&token(claims(json!("urn:gold"), json!(NOW - 300))))).allowed();
    scene.send(bearer(&token(claims(json!("urn:silver"), json!(NOW))))).allowed();
    for (acr, auth_time) in [
        (json!("urn:bronze"), json!(NOW)),
        (json!(null), json!(NOW)),
        (json!(["urn:gold"]), json!(NOW)),
        (json!("urn:gold"), json!(NOW - 301)),
        (json!("urn:gold"), json!(null)),
        (json!("urn:gold"), json!("x")),
        (json!("urn:gold"), json!(-1)),
        (json!("urn:gold"), json!(NOW + 61)),
        (json!("urn:gold"), json!(NOW + 1_000_000_000)),
        (json!("urn:gold"), json!(1e300)),
    ] {
        let refusal =
            scene.send(bearer(&token(claims(acr, auth_time)))).refused(401, "insufficient_user_authentication");
        let challenge = challenge(&refusal, "Bearer").unwrap();
        assert_eq!(challenge["error"], "insufficient_user_authentication");
        assert_eq!((&*challenge["acr_values"], &*challenge["max_age"]), ("urn:gold urn:silver", "300"));
    }
}

/// RFC 9470, section 6.2: an answer tells as much, also where its provider writes times as text; a JWT has numbers.
#[test]
fn step_up_by_an_answer() {
    let mut scene = Scene::of(introspection(json!({}), json!({"require": {"max_age": "5m"}})));
    for (token, auth_time, passes) in [
        ("number", json!(NOW - 300), true),
        ("text", json!((NOW - 300).to_string()), true),
        ("old", json!((NOW - 301).to_string()), false),
        ("words", json!("yesterday"), false),
        ("silent", json!(null), false),
    ] {
        scene.provider.tokens.insert(token.to_owned(), active(json!({"auth_time": auth_time})));
        if passes {
            scene.send(bearer(token)).allowed();
        } else {
            scene.send(bearer(token)).refused(401, "insufficient_user_authentication");
        }
    }
    let mut scene = Scene::of(jwt(json!({}), json!({"require": {"max_age": "5m"}})));
    let text = token(json!({"auth_time": NOW.to_string()}));
    scene.send(bearer(&text)).refused(401, "insufficient_user_authentication");
}
