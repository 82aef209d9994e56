//! Tokens that are bound to the certificate of their client: RFC 8705, section 3.

use crate::scene::*;
use crate::support::with;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD as BASE64, BASE64_URL_SAFE as PADDED, BASE64_URL_SAFE_NO_PAD as BASE64URL};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

const DER: &[u8] = b"\x30 what stands for a certificate in DER";

fn digest(der: &[u8]) -> Vec<u8> {
    Sha256::digest(der).to_vec()
}

/// As Envoy tells it.
fn hex(der: &[u8]) -> String {
    digest(der).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn thumbprint(der: &[u8]) -> String {
    BASE64URL.encode(digest(der))
}

fn bound() -> String {
    token(json!({"cnf": {"x5t#S256": thumbprint(DER)}}))
}

fn scene(bound: Value) -> Scene {
    Scene::of(jwt(json!({}), json!({"certificate_bound": bound})))
}

/// TLS-01, TLS-02, TLS-04: only the certificate of the connection makes a token good that is bound to it.
#[test]
fn the_certificate_of_the_connection() {
    let mut scene = scene(json!({}));
    scene.send(bearer(&bound()).certificate(hex(DER))).allowed();
    scene.send(bearer(&bound())).refused(401, "not_bound");
    scene.send(bearer(&bound()).certificate(hex(b"another"))).refused(401, "not_bound");
    for garbage in [String::new(), hex(DER)[1..].to_owned(), thumbprint(DER), format!("{}00", hex(DER)), "x".to_owned()]
    {
        scene.send(bearer(&bound()).certificate(garbage)).refused(401, "not_bound");
    }
    // CCH-05: the token is known by now.
    scene.send(bearer(&bound())).refused(401, "not_bound");
    assert_eq!(scene.send(bearer(&bound()).certificate(hex(DER))).allowed().cached, Some(true));
    scene.send(bearer(&good())).allowed();
    scene.send(bearer(&good()).certificate(hex(DER))).allowed();
    // TLS-04: what the token says is base64url without padding, and nothing else.
    let octets = digest(DER);
    for text in
        [hex(DER), PADDED.encode(&octets), BASE64.encode(&octets), format!(" {}", thumbprint(DER)), String::new()]
    {
        let token = token(json!({"cnf": {"x5t#S256": text}}));
        scene.send(bearer(&token).certificate(hex(DER))).refused(401, "not_bound");
    }
}

/// TLS-01: where nobody checks, bound tokens are refused; where it is required, the others are.
#[test]
fn modes_of_certificate_binding() {
    for top in [json!({}), json!({"certificate_bound": {"mode": "off"}})] {
        let mut scene = Scene::of(jwt(json!({}), top));
        scene.send(bearer(&bound()).certificate(hex(DER))).refused(401, "not_bound");
        scene.send(bearer(&good())).allowed();
    }
    let mut scene = scene(json!({"mode": "required"}));
    scene.send(bearer(&bound()).certificate(hex(DER))).allowed();
    scene.send(bearer(&good()).certificate(hex(DER))).refused(401, "not_bound");
    let rules = json!([{"match": {"path_prefix": "/bank"}, "certificate_bound": {"mode": "required"}}]);
    let mut scene = Scene::of(jwt(json!({}), json!({"rules": rules})));
    scene.send(bearer(&good())).allowed();
    let bank = |ask: Ask| ask.set(":path", Some("/bank"));
    scene.send(bank(bearer(&good()).certificate(hex(DER)))).refused(401, "not_bound");
    scene.send(bank(bearer(&bound()).certificate(hex(DER)))).allowed();
    scene.send(bearer(&bound()).certificate(hex(DER))).refused(401, "not_bound");
}

/// TLS-03: a header counts where it is configured, and then nothing else does.
#[test]
fn a_header_of_a_trusted_proxy() {
    let xfcc = format!("By=spiffe://a;Hash={};Subject=\"CN=ann,O=x;Hash=00\"", hex(DER));
    let mut plain = scene(json!({}));
    plain.send(bearer(&bound()).header("x-forwarded-client-cert", &xfcc)).refused(401, "not_bound");
    let mut trusting = scene(json!({"header": "X-Forwarded-Client-Cert"}));
    trusting.send(bearer(&bound()).header("x-forwarded-client-cert", &xfcc)).allowed();
    trusting.send(bearer(&bound())).refused(401, "not_bound");
    // The connection is that of the proxy.
    trusting.send(bearer(&bound()).certificate(hex(DER))).refused(401, "not_bound");
    let other = format!("Hash={}", hex(b"another"));
    for value in [other.as_str(), &format!("{xfcc},{other}"), &format!("{other},{xfcc}"), "Hash=", ""] {
        trusting.send(bearer(&bound()).header("x-forwarded-client-cert", value)).refused(401, "not_bound");
    }
    let twice = bearer(&bound()).header("x-forwarded-client-cert", &xfcc).header("x-forwarded-client-cert", &xfcc);
    trusting.send(twice).refused(401, "not_bound");
    let pem = format!("-----BEGIN%20CERTIFICATE-----%0A{}%0A-----END%20CERTIFICATE-----%0A", BASE64.encode(DER));
    let mut nginx = scene(json!({"header": "x-ssl-client-cert"}));
    nginx.send(bearer(&bound()).header("x-ssl-client-cert", pem.replace('+', "%2B"))).allowed();
    for alone in [BASE64.encode(DER), format!(":{}:", BASE64.encode(DER)), format!("\"{}\"", BASE64.encode(DER))] {
        let mut others = scene(json!({"header": "x-forwarded-tls-client-cert"}));
        others.send(bearer(&bound()).header("x-forwarded-tls-client-cert", &alone)).allowed();
        let chain = format!("{alone},{alone}");
        others.send(bearer(&bound()).header("x-forwarded-tls-client-cert", chain)).refused(401, "not_bound");
    }
    let mut standard = scene(json!({"header": "client-cert"}));
    standard.send(bearer(&bound()).header("client-cert", format!(":{}:", BASE64.encode(DER)))).allowed();
}

/// TLS-07: a token that is bound to a key and a certificate needs both.
#[test]
fn both_bindings_at_once() {
    let both = json!({"cnf": {"x5t#S256": thumbprint(DER), "jkt": thumbprint(b"a key")}});
    let top = json!({"certificate_bound": {}, "dpop": {"origins": ["https://api.example.com"]}});
    let mut scene = Scene::of(jwt(json!({}), top));
    scene.send(bearer(&token(both.clone())).certificate(hex(DER))).refused(401, "not_bound");
    let dpop = bare().header("authorization", format!("DPoP {}", token(both))).certificate(hex(DER));
    scene.send(dpop).refused(401, "invalid_dpop_proof");
}

/// TLS-01: Gluu and Janssen write the certificate beside `cnf`, or in its place, into their JWTs, and an empty text into those that are
/// bound to none.
#[test]
fn a_certificate_beside_the_confirmation() {
    let beside = |value: &str| token(json!({"x5t#S256": value, "token_type": "Bearer"}));
    let mut unchecked = Scene::of(jwt(json!({}), json!({})));
    unchecked.send(bearer(&beside(""))).allowed();
    unchecked.send(bearer(&beside(&thumbprint(DER))).certificate(hex(DER))).refused(401, "not_bound");
    let mut checked = scene(json!({"mode": "opportunistic"}));
    checked.send(bearer(&beside(""))).allowed();
    checked.send(bearer(&beside(&thumbprint(DER))).certificate(hex(DER))).allowed();
    checked.send(bearer(&beside(&thumbprint(DER)))).refused(401, "not_bound");
    checked.send(bearer(&beside(&thumbprint(DER))).certificate(hex(b"another"))).refused(401, "not_bound");
    checked.send(bearer(&beside("x")).certificate(hex(DER))).refused(401, "not_bound");
    // Nor does its provider's silence set it free.
    let jwt = beside(&thumbprint(DER));
    let padded = jwt.replacen('.', "==.", 1);
    let elsewhere = json!({"access_token": {"location": "header", "key": "x-token"}});
    let mut asked = Scene::of(introspection(json!({}), elsewhere));
    for token in [jwt, padded] {
        asked.provider.tokens.insert(token.clone(), active(json!({})));
        let Seen::Refused(refusal) = asked.send(bare().header("x-token", &token)) else { panic!("{token}") };
        assert_eq!((refusal.status, asked.count("/introspect")), (401, 0), "{token}");
    }
}

/// TLS-08, INT-08: an answer about a token binds it, too.
#[test]
fn opaque_certificate_bound_tokens() {
    let mut scene = Scene::of(introspection(json!({}), json!({"certificate_bound": {}})));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"cnf": {"x5t#S256": thumbprint(DER)}})));
    scene.send(bearer("opaque").certificate(hex(DER))).allowed();
    scene.send(bearer("opaque")).refused(401, "not_bound");
    scene.send(bearer("opaque").certificate(hex(b"another"))).refused(401, "not_bound");
    let jwt = bound();
    scene.provider.tokens.insert(jwt.clone(), active(json!({"cnf": {"x5t#S256": thumbprint(b"another")}})));
    scene.send(bearer(&jwt).certificate(hex(DER))).refused(401, "not_bound");
}

/// TLS-03: the connection of a proxy that asks is the proxy's, not its client's.
#[test]
fn a_proxy_that_asks_shows_no_certificate_of_its_clients() {
    let verify = json!({"verify_path": "/verify", "certificate_bound": {}});
    let mut scene = Scene::of(jwt(json!({}), verify.clone()));
    let ask = || bearer(&bound()).set(":path", Some("/verify/things"));
    scene.send(ask().certificate(hex(DER))).refused(401, "not_bound");
    let header = json!({"certificate_bound": {"header": "x-forwarded-client-cert"}});
    let mut scene = Scene::of(jwt(json!({}), with(verify, header)));
    scene.send(ask().header("x-forwarded-client-cert", format!("Hash={}", hex(DER)))).confirmed();
}
