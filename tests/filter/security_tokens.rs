//! Attacks with tokens that are signed, or vouched for, and yet none to accept: see `docs/security/cases.md`.

use crate::scene::*;
use crate::support::{RSA_N, Signing, sign, with};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use oidc_filter::config::Config;
use oidc_filter::config::DEFAULT_MAX_TOKEN_SIZE;
use oidc_filter::decision::Decision;
use oidc_filter::filter::StreamId;
use oidc_filter::jose::jws::{Form, form};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

const OTHER: &str = "https://other.example";

fn provider(issuer: &str, change: Value) -> Value {
    with(json!({"issuer": issuer, "audiences": AUDIENCE}), change)
}

// ---------------------------------------------------------------------------------------------- keys

/// ALG-10 to ALG-12: what a token says leads to no call, and no key in it is used. An unknown name may be that of a
/// new key: then the provider's own set is fetched, from where it always is.
#[test]
fn nothing_in_a_token_is_called_or_used() {
    let attacker = key("attacker");
    let x5c = BASE64URL.encode([0x30; 64]);
    for header in [
        json!({"jku": "https://evil.example/jwks"}),
        json!({"jku": "http://127.0.0.1:8080/jwks"}),
        json!({"jku": "http://169.254.169.254/latest/meta-data/"}),
        json!({"jku": "https://idp.example.com@evil.example/jwks"}),
        json!({"jku": "https://idp.example.com/other"}),
        json!({"x5u": "https://evil.example/cert.pem"}),
        json!({"x5u": "http://[::1]/cert.pem"}),
        json!({"x5c": [x5c], "x5t": "AA", "x5t#S256": "AA"}),
        json!({"jwk": attacker.jwk()}),
    ] {
        for (kid, reason, fetches) in [
            (json!("k1"), "bad_signature", 0),
            (json!("attacker"), "unknown_key", 1),
            (json!(null), "bad_signature", 1),
        ] {
            let mut scene = Scene::of(jwt(json!({}), json!({})));
            let (calls, fetched) = (scene.calls.len(), scene.count("/jwks"));
            scene.pass_seconds(60);
            let mut header = header.clone();
            header["kid"] = kid.clone();
            for _ in 0..3 {
                let token = attacker.token_with(header.clone(), json!({}));
                scene.send(bearer(&token)).refused(401, reason);
            }
            let own = scene.calls_to(&format!("{ISSUER}/jwks")).len() - fetched;
            assert_eq!((scene.calls.len() - calls, own), (fetches, fetches), "{header} {kid}");
        }
    }
}

/// ALG-16: RFC 7516: what is encrypted is for somebody who has a key. Nobody here has, and nobody else is asked.
#[test]
fn an_encrypted_token_is_shown_to_nobody() {
    let path = format!("{}/tests/vectors/wycheproof/jwe.json", env!("CARGO_MANIFEST_DIR"));
    let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let mut scene = Scene::of(auto(json!({}), json!({})));
    let mut sent = 0;
    for token in cases.iter().filter_map(|case| case["token"].as_str()).filter(|token| form(token) == Form::Jwe) {
        scene.provider.tokens.insert(token.to_owned(), active(json!({})));
        let Seen::Refused(refusal) = scene.send(bearer(token)) else { panic!("{token:.100}") };
        assert!(refusal.status == 401 || token.contains('='), "{token:.100}");
        sent += 1;
    }
    assert_eq!((scene.count("/introspect"), sent > 150), (0, true));
    // Unless the operator wants every token to be asked about.
    let token = cases.iter().filter_map(|case| case["token"].as_str()).find(|token| form(token) == Form::Jwe).unwrap();
    let mut scene = Scene::of(introspection(json!({}), json!({})));
    scene.provider.tokens.insert(token.to_owned(), active(json!({})));
    scene.send(bearer(token)).allowed();
}

/// JWK-03: with the exponent 1 a signature is the padded hash itself, which anybody can write down.
#[test]
fn a_signature_by_nobody() {
    let message = format!(
        "{}.{}",
        BASE64URL.encode(json!({"alg": "RS256", "kid": "one"}).to_string()),
        BASE64URL.encode(good_claims().to_string())
    );
    // RFC 8017, section 9.2.
    let prefix = b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";
    let digest = [&prefix[..], &Sha256::digest(&message)].concat();
    let padded = [&[0, 1][..], &vec![0xff; 256 - 3 - digest.len()], &[0], &digest].concat();
    let forged = format!("{message}.{}", BASE64URL.encode(&padded));
    for exponent in ["AQ", "AAAB", "Aw", "AQAB"] {
        let mut scene = Scene::cold(jwt(json!({}), json!({})));
        let weak = json!({"kid": "one", "kty": "RSA", "n": RSA_N, "e": exponent});
        scene.provider.keys(&[weak, key("k1").jwk()]);
        let Seen::Refused(refusal) = scene.send(bearer(&forged)) else { panic!("{exponent}") };
        assert_eq!(refusal.status, 401, "{exponent}");
        scene.send(bearer(&good())).allowed();
    }
}

/// JWK-15: Ten thousand names of keys that nobody has: one fetch for each cooldown, and good tokens as ever.
#[test]
fn ten_thousand_made_up_keys() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    scene.pass_seconds(60);
    let (fetched, good) = (scene.count("/jwks"), good());
    let [payload, signature] = [1, 2].map(|part| good.split('.').nth(part).unwrap());
    // The first is answered by a fetch; the others come past the scene, which looks for secrets at every step.
    let made_up = |number: u32| {
        let header = json!({"alg": "EdDSA", "kid": format!("random-{number}")}).to_string();
        bearer(&format!("{}.{payload}.{signature}", BASE64URL.encode(header)))
    };
    scene.send(made_up(0)).refused(401, "unknown_key");
    assert_eq!(scene.count("/jwks"), fetched + 1);
    let now = scene.now();
    for number in 1..10_000 {
        match scene.filter.on_request(StreamId(1_000_000 + number), made_up(number).request(), now) {
            Decision::Answer(refused) => assert_eq!(refused.meaning.to_string(), "oidc_denied{unknown_key}"),
            other => panic!("{other:?}"),
        }
        assert!(!scene.filter.has_effects(), "nobody is called, and nobody is kept waiting");
    }
    scene.send(bearer(&good)).allowed();
    assert_eq!(scene.count("/jwks"), fetched + 1);
}

// ---------------------------------------------------------------------------------------------- claims

/// CLM-14.
#[test]
fn which_clients_may_come() {
    for name in ["azp", "client_id"] {
        let require = json!({"require": {"claims": {"claim": name, "any_of": ["web", "app"]}}});
        let mut scene = Scene::of(jwt(json!({}), require));
        scene.send(bearer(&token(json!({name: "app"})))).allowed();
        for other in [json!(null), json!("WEB"), json!("web2"), json!("web app"), json!("")] {
            scene.send(bearer(&token(json!({name: other})))).refused(403, "insufficient_claims");
        }
        for strange in [json!(["web"]), json!({"web": 1}), json!(1), json!(true)] {
            scene.send(bearer(&token(json!({name: strange})))).refused(401, "invalid_claims");
        }
    }
}

/// CLM-15: RFC 9068, section 5: a client may have registered itself under the name of a user.
#[test]
fn a_machine_is_no_user() {
    let machine = token(json!({"sub": "ann", "client_id": "ann", "azp": "ann"}));
    let header = |required: bool| json!({"header": "x-user", "claim": "preferred_username", "required": required});
    let mut scene = Scene::of(jwt(json!({}), json!({"claim_headers": header(true)})));
    scene.send(bearer(&machine)).refused(403, "insufficient_claims");
    scene.send(bearer(&token(json!({"preferred_username": "ann"})))).allowed();
    let mut scene = Scene::of(jwt(json!({}), json!({"claim_headers": header(false)})));
    let upstream = scene.send(bearer(&machine).header("x-user", "ann")).allowed();
    assert_eq!(upstream.header("x-user"), None, "no claim stands in for another");
}

/// CLM-16.
#[test]
fn addresses_that_only_look_like_ours() {
    let claims = json!([
        {"claim": "email", "matches": "[^@]+@corp\\.example"}, {"claim": "email_verified", "any_of": "true"},
    ]);
    let mut scene = Scene::of(jwt(json!({}), json!({"require": {"claims": claims}})));
    let user = |email: &str| token(json!({"email": email, "email_verified": true}));
    scene.send(bearer(&user("ann@corp.example"))).allowed();
    for email in [
        "a@b@corp.example",
        "ann@corp.example@evil.example",
        "\"x@corp.example\"@evil.example",
        "ann@corp.example.",
        "ann@corp.example\n",
        "x\n@evil.example\nann@corp.example@",
        "ann@corp.example.evil.example",
        "ann@corpXexample",
        "ann@c\u{f6}rp.example",
        "ann@corp\u{ff0e}example",
        "@corp.example",
        "",
    ] {
        scene.send(bearer(&user(email))).refused(403, "insufficient_claims");
    }
    let verified = |value: Value| token(json!({"email": "ann@corp.example", "email_verified": value}));
    for unverified in [json!(false), json!(null), json!("false")] {
        scene.send(bearer(&verified(unverified))).refused(403, "insufficient_claims");
    }
    for strange in [json!(0), json!([]), json!(1), json!([true]), json!({})] {
        scene.send(bearer(&verified(strange))).refused(401, "invalid_claims");
    }
}

/// CLM-17: Among thousands of others.
#[test]
fn a_path_among_many_claims() {
    let output = json!({"claim_headers": [{"header": "x-c", "path": "a.b.c"}, {"header": "x-d", "claim": "a.b.c"}]});
    let mut user: Value = (0..5_000).map(|number| (format!("k{number}"), json!(number))).collect();
    user["sub"] = json!("ann");
    user["a"] = json!({"b": {"c": "deep"}});
    let mut scene = Scene::of(userinfo(json!({}), output));
    scene.provider.users.insert("good".to_owned(), user);
    let upstream = scene.send(bearer("good").header("x-d", "forged")).allowed();
    assert_eq!((upstream.header("x-c"), upstream.header("x-d")), (Some("deep"), None));
}

// ---------------------------------------------------------------------------------------------- issuers

/// ISS-05: a tenant of the same provider is another issuer.
#[test]
fn tenants_are_strangers_to_each_other() {
    let issuer = "https://login.example.com/tenant-a/v2.0";
    for validation in ["jwt", "introspection"] {
        let mut scene = Scene::cold(jwt(json!({"issuer": issuer, "validation": validation}), json!({})));
        scene.provider.add_issuer(issuer, &[key("k1").jwk()]);
        scene.tick();
        let calls = scene.calls.len();
        for other in [
            "https://login.example.com/tenant-b/v2.0",
            "https://login.example.com/tenant-b/../tenant-a/v2.0",
            "https://login.example.com/tenant-a/v2.0/",
            "https://login.example.com//tenant-a/v2.0",
            "https://login.example.com/tenant%2da/v2.0",
            "https://login.example.com/TENANT-A/v2.0",
            "https://login.example.com/{tenantid}/v2.0",
            "https://login.example.com/*/v2.0",
            "https://login.example.com/tenant-a/v2.0?x",
            "https://login.example.com/tenant-a",
        ] {
            scene.send(bearer(&token(json!({"iss": other})))).refused(401, "unknown_issuer");
        }
        assert_eq!(scene.calls.len(), calls);
    }
    // A place for any tenant is none: the trusted ones must be named.
    for tenants in [json!(null), json!([]), json!("*"), json!("{tenant}"), json!("a/../b")] {
        let template = json!({"issuer": "https://login.example.com/{tenant}/v2.0", "tenants": tenants});
        let error = Config::read(jwt(template, json!({})).to_string().as_bytes(), &|_: &str| None).unwrap_err();
        assert!(error.to_string().starts_with("providers[0].tenants"), "{tenants}: {error}");
    }
}

/// ISS-06: Whose tokens are to be asked about, only that provider can vouch for: no key of another, and not its own
/// either.
#[test]
fn a_signature_is_no_answer() {
    let asked = json!({"validation": "introspection"});
    let by_keys = json!({"validation": "jwt"});
    let mut scene = Scene::cold(json!({"providers": [provider(ISSUER, asked), provider(OTHER, by_keys)]}));
    let theirs = Key { kid: "k1", ..key("other") };
    scene.provider.add_issuer(OTHER, &[theirs.jwk(), key("k1").jwk()]);
    scene.tick();
    for token in [theirs.token(json!({})), good()] {
        scene.send(bearer(&token)).refused(401, "inactive");
    }
    assert!(scene.calls_to("/introspect").iter().all(|call| call.url == format!("{ISSUER}/introspect")));
    assert_eq!(scene.count("/introspect"), 2);
    assert!(scene.calls.iter().all(|call| call.url != format!("{ISSUER}/jwks")));
    // What fails there fails, though a key of the other would verify it.
    scene.provider.at("/introspect", status(503));
    let token = theirs.token(json!({"jti": "2"}));
    scene.send(bearer(&token)).refused(503, "provider_unavailable");
}

// ---------------------------------------------------------------------------------------------- answers

/// INT-05.
#[test]
fn an_answer_without_an_end_is_believed_for_a_minute() {
    let mut scene = Scene::of(introspection(json!({}), json!({})));
    let mut endless = active(json!({"exp": null}));
    scene.provider.tokens.insert("opaque".to_owned(), endless.clone());
    scene.send(bearer("opaque")).allowed();
    scene.pass_seconds(60);
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.count("/introspect"), 1);
    scene.pass(Duration::from_millis(1));
    scene.provider.tokens.clear();
    scene.send(bearer("opaque")).refused(401, "inactive");
    // Some servers write `null` for what they have nothing to say about.
    endless["exp"] = Value::Null;
    scene.provider.tokens.insert("null".to_owned(), endless);
    scene.send(bearer("null")).allowed();
    scene.pass(Duration::from_millis(60_001));
    scene.provider.tokens.clear();
    scene.send(bearer("null")).refused(401, "inactive");
}

/// INT-09.
#[test]
fn what_a_token_may_be_to_be_asked_about() {
    let source = json!([{"location": "query_string", "key": "t"}, {"key": "x-token"}]);
    let mut scene = Scene::of(introspection(json!({}), json!({"access_token": source})));
    let longest = "%".repeat(DEFAULT_MAX_TOKEN_SIZE);
    for token in ["+ / = & %".replace(' ', ""), "%00".to_owned(), "t&client_id=x".to_owned(), longest.clone()] {
        scene.provider.tokens.insert(token.clone(), active(json!({})));
        scene.send(bare().header("x-token", &token)).allowed();
        let call = scene.calls.last().unwrap();
        assert_eq!((call.form().len(), &call.form()["token"], &*call.raw_query), (2, &token, ""));
    }
    let calls = scene.calls.len();
    for strange in ["%C3%A9", "%00", "a%00", "%80"] {
        scene.send(get(format!("/p?t={strange}"))).refused(401, "malformed_token");
    }
    for several in ["a+b", "a%20b", "a%0Ab", "a,b"] {
        scene.send(get(format!("/p?t={several}"))).refused(400, "invalid_request");
    }
    scene.send(bare().header("x-token", format!("{longest}%"))).refused(401, "malformed_token");
    assert_eq!(scene.calls.len(), calls, "what can't be a token is shown to nobody");
}

/// UIF-02: OpenID Connect Core, section 5.3.2: what userinfo says is about its own `sub`, and nobody else's.
#[test]
fn claims_of_two_sources_are_never_joined() {
    let output = json!({"claim_headers": [
        {"header": "x-user", "claim": "sub"}, {"header": "x-mail", "claim": "email"},
    ]});
    let mut scene = Scene::of(userinfo(json!({}), output));
    let token = token(json!({"sub": "ann", "email": "ann@example.com"}));
    scene.provider.users.insert(token.clone(), json!({"sub": "bob"}));
    let upstream = scene.send(bearer(&token)).allowed();
    assert_eq!((upstream.header("x-user"), upstream.header("x-mail")), (Some("bob"), None));
    // One that was told to somebody else: the first is not remembered for the second.
    scene.provider.users.insert("second".to_owned(), json!({"sub": "eve", "email": "eve@example.com"}));
    let upstream = scene.send(bearer("second")).allowed();
    assert_eq!((upstream.header("x-user"), upstream.header("x-mail")), (Some("eve"), Some("eve@example.com")));
    let upstream = scene.send(bearer(&token)).allowed();
    assert_eq!((upstream.header("x-user"), upstream.header("x-mail")), (Some("bob"), None));
}

// ---------------------------------------------------------------------------------------------- bound tokens

/// DPP-02: RFC 9449, section 7.2: a bound token is not for the scheme Bearer, whatever comes with it.
#[test]
fn a_bound_token_is_no_bearer_token() {
    let proof = key("holder").token_with(json!({"typ": "dpop+jwt", "jwk": key("holder").jwk()}), json!({"htm": "GET"}));
    let bound = json!({"cnf": {"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}});
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    for _ in 0..2 {
        scene.send(bearer(&token(bound.clone()))).refused(401, "not_bound");
        scene.send(bearer(&token(bound.clone())).header("dpop", &proof)).refused(401, "not_bound");
    }
    scene.send(bearer(&proof)).refused(401, "unknown_key");
    let mut scene = Scene::of(introspection(json!({}), json!({})));
    scene.provider.tokens.insert("opaque".to_owned(), active(bound));
    for _ in 0..2 {
        scene.send(bearer("opaque")).refused(401, "not_bound");
        scene.send(bearer("opaque").header("dpop", &proof)).refused(401, "not_bound");
    }
}

/// DPP-03, DPP-18: the scheme says that there is a proof to look at. A token without a binding can't have one.
#[test]
fn the_scheme_dpop_is_no_bearer() {
    for top in [json!({}), json!({"allow_missing": true})] {
        let mut scene = Scene::of(jwt(json!({}), top));
        let dpop = format!("DPoP {}", good());
        let seen = scene.send(bare().header("authorization", &dpop).header("dpop", good()));
        seen.refused(401, "unsupported_token");
        scene.send(bare().header("authorization", &dpop)).refused(401, "unsupported_token");
        scene.send(bearer(&good()).header("authorization", &dpop)).refused(400, "invalid_request");
        scene.send(bare().header("authorization", &dpop).bearer(&good())).refused(400, "invalid_request");
    }
}

/// TLS-03: whoever can write a header can write these.
#[test]
fn a_certificate_in_a_header_proves_nothing() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    let thumbprint = "A4DtL2JmUMhAsvJj5tKyn64SqzmuXbMrJa0n761y5v0"; // RFC 8705, appendix A
    let hex = "0380ed2f626650c840b2f263e6d2b29fae12ab39ae5db32b25ad27efad72e6fd";
    let bound = token(json!({"cnf": {"x5t#S256": thumbprint}}));
    for (name, value) in [
        ("x-forwarded-client-cert", format!("By=spiffe://a;Hash={hex};Subject=\"CN=ann\"")),
        ("x-forwarded-client-cert", format!("Hash={thumbprint}")),
        ("client-cert", ":MIIB:".to_owned()),
        ("x-ssl-client-cert", "MIIB".to_owned()),
        ("x-ssl-client-sha256", hex.to_owned()),
        ("x-client-cert-thumbprint", thumbprint.to_owned()),
    ] {
        scene.send(bearer(&bound).header(name, value)).refused(401, "not_bound");
    }
}

// ---------------------------------------------------------------------------------------------- MCP servers

/// MCP-03: the authorization specification of MCP: a server takes only what was issued for it.
#[test]
fn a_token_for_another_server() {
    let mut scene = Scene::of(jwt(json!({"audiences": "https://mcp.example.com/mcp"}), json!({})));
    scene.send(bearer(&token(json!({"aud": "https://mcp.example.com/mcp"})))).allowed();
    for other in [
        json!("https://other.example.com/mcp"),
        json!("https://mcp.example.com"),
        json!("https://mcp.example.com/mcp/"),
        json!("https://mcp.example.com/mcp2"),
        json!(ISSUER),
        json!([ISSUER, "https://other.example.com/mcp"]),
        json!(null),
    ] {
        scene.send(bearer(&token(json!({"aud": other})))).refused(401, "wrong_audience");
    }
}

/// MCP-05: a session is no authorization, however it began.
#[test]
fn a_session_is_no_token() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    let session = |ask: Ask| ask.header("mcp-session-id", "1868a90c").header("mcp-protocol-version", "2025-06-18");
    scene.send(session(bearer(&good()))).allowed();
    for method in ["GET", "POST", "DELETE"] {
        scene.send(session(bare().set(":method", Some(method)))).refused(401, "missing_token");
    }
    scene.send(session(bearer(&token(json!({"exp": NOW - 3600}))))).refused(401, "expired");
}

// ---------------------------------------------------------------------------------------------- a second reading

/// CCH-11: the same message, signed in the other way that ECDSA allows: another token, proved for itself.
#[test]
fn both_signatures_of_one_message() {
    let private = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    let jwk = Signing::P256(private.clone()).jwk("p256");
    let header = json!({"alg": "ES256", "kid": "p256"}).to_string();
    let one = sign(&Signing::P256(private), "ES256", header, good_claims().to_string());
    let (message, signature) = one.rsplit_once('.').unwrap();
    let signature = p256::ecdsa::Signature::from_slice(&BASE64URL.decode(signature).unwrap()).unwrap();
    let (r, s) = signature.split_scalars();
    let twin = p256::ecdsa::Signature::from_scalars(r.to_bytes(), (-*s).to_bytes()).unwrap();
    let twin = format!("{message}.{}", BASE64URL.encode(twin.to_bytes()));
    assert_ne!(one, twin);
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    scene.provider.keys(&[jwk]);
    for token in [&one, &twin] {
        let first = scene.send(bearer(token)).allowed();
        assert_eq!((first.cached, first.verified), (Some(false), true));
        assert_eq!(scene.send(bearer(token)).allowed().cached, Some(true));
    }
}

/// Nor shown to anybody.
#[test]
fn what_is_never_an_access_token_is_not_asked_about() {
    for config in [introspection(json!({}), json!({})), userinfo(json!({}), json!({}))] {
        let mut scene = Scene::of(config);
        for (typ, claims) in [
            ("dpop+jwt", json!({})),
            ("application/logout+jwt", json!({})),
            ("secevent+jwt", json!({})),
            ("token-introspection+jwt", json!({})),
            ("JWT", json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}})),
        ] {
            let token = key("k1").token_with(json!({"typ": typ}), claims);
            scene.provider.tokens.insert(token.clone(), active(json!({})));
            scene.provider.users.insert(token.clone(), json!({"sub": "ann"}));
            scene.send(bearer(&token)).refused(401, "wrong_type");
        }
        assert_eq!((scene.count("/introspect"), scene.count("/userinfo")), (0, 0));
    }
}

/// A JWT that fails here is never taken for something else: a provider may read more forgivingly.
#[test]
fn a_damaged_header_makes_no_opaque_token() {
    let good = r#"{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}"#;
    for header in [
        format!("\u{feff}{good}").into_bytes(),
        format!("{good}x").into_bytes(),
        format!("{good}{good}").into_bytes(),
        good.replace('}', ",}").into_bytes(),
        good.replace('"', "'").into_bytes(),
        good.replace('{', "{/**/").into_bytes(),
        good.replace("\"k1\"", "NaN").into_bytes(),
        good.replace("k1", "\\ud800").into_bytes(),
        [&good.as_bytes()[..good.len() - 2], b"\xff\"}"].concat(),
        good.as_bytes()[..good.len() - 1].to_vec(),
        good.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    ] {
        let token = crate::support::sign(&key("k1").signing, "EdDSA", &header, good_claims().to_string());
        for validation in ["auto", "introspection"] {
            let mut scene = Scene::of(auto(json!({"validation": validation}), json!({})));
            scene.provider.tokens.insert(token.clone(), active(json!({})));
            scene.send(bearer(&token)).refused(401, "malformed_token");
            assert_eq!(scene.count("/introspect"), 0);
        }
    }
}

/// A header that is read only with its padding says all the same that its token is a proof.
#[test]
fn padding_hides_no_type() {
    for typ in ["dpop+jwt", "logout+jwt", "application/secevent+jwt", "token-introspection+jwt"] {
        let token = key("k1").token_with(json!({"typ": typ}), json!({}));
        let padded = token.replacen('.', "==.", 1);
        // Behind a scheme, no token has these characters before its end.
        let elsewhere = json!({"access_token": {"location": "header", "key": "x-token"}});
        let mut scene = Scene::of(introspection(json!({}), elsewhere));
        scene.provider.tokens.insert(padded.clone(), active(json!({})));
        scene.send(get("/").header("x-token", &padded)).refused(401, "malformed_token");
        assert_eq!(scene.count("/introspect"), 0, "{typ}");
    }
}

/// Python, PHP and Node.js pass over what is of no alphabet of base64, and some readers mind no case in names.
#[test]
fn foreign_letters_hide_no_type() {
    let refresh = json!({"typ": "Refresh"});
    let token = key("k1").token_with(json!({"typ": "JWT"}), refresh.clone());
    let other = json!({"alg": null, "Alg": "EdDSA", "typ": "JWT"});
    let (header, rest) = token.split_once('.').unwrap();
    for hidden in [
        format!("{}~{}.{rest}", &header[..5], &header[5..]),
        format!("~{header}.{rest}"),
        format!("{header}~~.{rest}"),
        format!("{header}~.~{rest}"),
        key("k1").token_with(other, refresh),
    ] {
        for validation in ["auto", "introspection"] {
            let mut scene = Scene::of(auto(json!({"validation": validation}), json!({})));
            scene.provider.tokens.insert(hidden.clone(), active(json!({})));
            scene.send(bearer(&hidden)).refused(401, "malformed_token");
            assert_eq!(scene.count("/introspect"), 0, "{hidden}");
        }
    }
}

/// Nor does a payload that some read and others don't hide what would be refused if all could read it: whose answer leaves out the
/// binding may be one of those who read it.
#[test]
fn a_damaged_payload_hides_no_binding() {
    let bound = crate::support::with(good_claims(), json!({"cnf": {"jkt": "x"}})).to_string();
    let header = r#"{"alg":"EdDSA","kid":"k1","typ":"at+jwt"}"#;
    let sent = |payload: &[u8]| {
        let token = crate::support::sign(&key("k1").signing, "EdDSA", header, payload);
        let mut scene = Scene::of(introspection(json!({}), json!({})));
        scene.provider.tokens.insert(token.clone(), active(json!({})));
        let seen = scene.send(bearer(&token));
        (seen, scene.count("/introspect"))
    };
    for payload in [
        format!("\u{feff}{bound}").into_bytes(),
        bound.replace("\"}", "\",}").into_bytes(),
        bound.replace('"', "'").into_bytes(),
        bound.replace("\"cnf\"", "\"cnf\":null,\"cnf\"").into_bytes(),
        bound.replace("ann", "\\ud800").into_bytes(),
        bound.encode_utf16().flat_map(u16::to_le_bytes).collect(),
    ] {
        let (seen, asked) = sent(&payload);
        seen.refused(401, "malformed_token");
        assert_eq!(asked, 0, "{}", String::from_utf8_lossy(&payload));
    }
    // What is no object to anybody may be the provider's own way: it is compressed, or a JWT within.
    for payload in [&b"eyJhbGciOiJub25lIn0.e30."[..], b"\x78\x9c\xab\x56", b"\xa1\x01\x02"] {
        let (seen, asked) = sent(payload);
        seen.allowed();
        assert_eq!(asked, 1);
    }
}
