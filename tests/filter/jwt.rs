//! JWTs that a key proves: TB-01 to TB-25 of the MCP Toolbox, AR-10 to AR-26 of AuthService, MV of Maverics.

use crate::scene::*;
use crate::support::{RSA_N, Signing, rsa_key, sign, with};
use serde_json::{Value, json};

/// A filter that wants the scope `read:files`, as the Toolbox's examples do.
fn scene() -> Scene {
    Scene::of(jwt(json!({}), json!({"require": {"scopes": ["read:files"]}})))
}

fn scoped(scope: &str) -> Value {
    json!({"scope": scope})
}

/// TB-01, TB-03.
#[test]
fn a_good_token_reaches_the_upstream_as_it_was_sent() {
    let mut scene = scene();
    let token = token(scoped("read:files"));
    let upstream = scene.send(bearer(&token)).allowed();
    assert_eq!(upstream.header("authorization"), Some(&*format!("Bearer {token}")));
    assert_eq!((upstream.edits, upstream.provider.as_deref()), (0, Some("idp.example.com")));
    for scheme in ["bearer", "BEARER"] {
        scene.send(bare().header("authorization", format!("{scheme} {token}"))).allowed();
    }
    assert_eq!(scene.count("/jwks"), 1);
}

/// TB-02.
#[test]
fn a_request_without_a_token_is_refused() {
    let refusal = scene().send(bare()).refused(401, "missing_token");
    let challenge = refusal.challenge().unwrap();
    assert_eq!(challenge["scope"], "read:files");
    assert!(!challenge.contains_key("error"), "RFC 6750, section 3.1");
    assert_eq!(refusal.provider, None);
}

/// TB-04 to TB-07.
#[test]
fn credentials_as_they_come() {
    let mut scene = scene();
    let token = token(scoped("read:files"));
    // RFC 9110, section 11.4, has `1*SP`, so that two spaces are as good as one.
    scene.send(bare().header("authorization", format!("Bearer  {token}"))).allowed();
    // TB-05, EXT-04: another scheme is no bearer token that is invalid, so there is no error code.
    for other in ["Basic dTpw", "Negotiate abc", "Token abc", &format!("JWT {token}"), &token] {
        let refusal = scene.send(bare().header("authorization", other)).refused(401, "unsupported_token");
        assert_eq!(refusal.error(), None);
    }
    // TB-06, EXT-03, EXT-12
    for malformed in ["Bearer", "Bearer ", "", " ", "Bearer a b", "Bearer a,b", "Bearer a, Bearer b", "Bearer\ta"] {
        let refusal = scene.send(bare().header("authorization", malformed)).refused(400, "invalid_request");
        assert_eq!(refusal.error().as_deref(), Some("invalid_request"), "{malformed:?}");
    }
    // TB-07, EXT-01, EXT-02: two are never a choice, not even between twins.
    for second in [format!("Bearer {token}"), "Bearer x".to_owned(), "Basic dTpw".to_owned(), String::new()] {
        let first = bearer(&token).header("authorization", &second);
        scene.send(first).refused(400, "invalid_request");
        let second = bare().header("authorization", &second).bearer(&token);
        scene.send(second).refused(400, "invalid_request");
    }
    scene.send(bare().header("authorization", format!("Bearer {token}, Bearer x"))).refused(400, "invalid_request");
    // EXT-10, ENC-14: one thing that no token can be is a bad token.
    let long = [b"Bearer ", &[b'a'; 60_000][..]].concat();
    for strange in [&b"Bearer \xff\xfe"[..], b"Bearer \"a\"", b"Bearer a\0", b"Bearer =", &long] {
        let refusal = scene.send(bare().header("authorization", strange)).refused(401, "malformed_token");
        assert_eq!(refusal.error().as_deref(), Some("invalid_token"));
    }
    // EXT-11, EXT-09
    for name in ["authorization_", "x_authorization", "proxy-authorization", "x-forwarded-access-token"] {
        scene.send(bare().header(name, format!("Bearer {token}"))).refused(401, "missing_token");
    }
    assert_eq!(scene.count("/jwks"), 1);
}

/// TB-08 to TB-21, DPP-02, TLS-01: each with its reason; a wrong token is 401 `invalid_token`, whatever is wrong.
#[test]
fn each_wrong_token_is_refused_for_its_reason() {
    let foreign = key("foreign");
    let k1 = || key("k1");
    let cases = [
        ("TB-08, AR-11", token(json!({"exp": NOW - 3600})), "expired"),
        ("TB-09", token(json!({"exp": null})), "invalid_claims"),
        ("TB-10", token(json!({"nbf": NOW + 3600})), "not_yet_valid"),
        ("TB-11, AR-12", foreign.token_with(json!({"kid": "k1"}), json!({})), "bad_signature"),
        ("TB-12", k1().token_with(json!({"alg": "none"}), json!({})), "unsupported_token"),
        ("TB-12", public_key_as_secret(), "unsupported_token"),
        ("TB-16, AR-14", token(json!({"aud": "wrong"})), "wrong_audience"),
        ("TB-18", token(json!({"aud": 42})), "invalid_claims"),
        ("TB-18", token(json!({"aud": null})), "wrong_audience"),
        ("TB-19", token(json!({"iss": null})), "invalid_claims"),
        ("TB-20, AR-13", token(json!({"iss": "https://other.example"})), "unknown_issuer"),
        ("TB-21", token(json!({"iss": format!("{ISSUER}/")})), "unknown_issuer"),
        ("MV-01", token(json!({"iss": "https://IDP.example.com"})), "unknown_issuer"),
        ("TB-25", token(json!({"aud": "wrong", "scope": "wrong"})), "wrong_audience"),
        ("AR-15", "not-a-jwt".to_owned(), "malformed_token"),
        ("AR-24", token(json!({"exp": null, "typ": "ID"})), "wrong_type"),
        ("AR-25", token(json!({"nbf": NOW + 120})), "not_yet_valid"),
        ("ALG-21", k1().token_with(json!({"typ": "JWT"}), json!({"aud": "client"})), "wrong_audience"),
        ("ALG-19", k1().token_with(json!({"typ": "logout+jwt"}), json!({})), "wrong_type"),
        ("DPP-02", token(json!({"cnf": {"jkt": "x"}})), "not_bound"),
        ("TLS-01", token(json!({"cnf": {"x5t#S256": "x"}})), "not_bound"),
        ("ALG-14", k1().token_with(json!({"crit": ["x"], "x": 1}), json!({})), "unsupported_token"),
    ];
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    for (id, token, reason) in cases {
        let refusal = scene.send(bearer(&token)).refused(401, reason);
        assert_eq!(refusal.error().as_deref(), Some("invalid_token"), "{id}");
        assert_eq!(refusal.header("retry-after"), None, "{id}");
    }
    assert_eq!(scene.count("/jwks"), 1, "no wrong token causes a call");
}

/// RSP-05: what is said of a token's claims is said only after its signature was found right.
#[test]
fn the_signature_comes_first() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    for claims in [json!({"exp": NOW - 3600}), json!({"aud": "x"}), json!({"nbf": NOW + 3600}), json!({"sub": 7})] {
        let forged = key("foreign").token_with(json!({"kid": "k1"}), claims);
        scene.send(bearer(&forged)).refused(401, "bad_signature");
    }
}

fn public_key_as_secret() -> String {
    let secret = key("k1").jwk()["x"].as_str().unwrap().as_bytes().to_vec();
    let header = json!({"alg": "HS256", "kid": "k1"}).to_string();
    sign(&Signing::Hmac(secret), "HS256", header, good_claims().to_string())
}

/// TB-09, CLM-01.
#[test]
fn a_token_without_end_where_it_is_allowed() {
    let mut scene = Scene::of(jwt(json!({"require_expiration": false}), json!({})));
    scene.send(bearer(&token(json!({"exp": null})))).allowed();
    scene.send(bearer(&token(json!({"exp": NOW - 3600})))).refused(401, "expired");
    scene.send(bearer(&token(json!({"exp": "never"})))).refused(401, "invalid_claims");
}

/// TB-14.
#[test]
fn no_kid_among_several_keys() {
    let mut scene = Scene::cold(jwt(json!({}), json!({})));
    scene.provider.keys(&[key("k0").jwk(), key("k1").jwk()]);
    scene.send(bearer(&key("k1").token_with(json!({"kid": null}), json!({})))).allowed();
}

/// TB-15, ALG-05, ALG-07.
#[test]
fn the_algorithm_of_the_key_decides_whatever_the_header_says() {
    let signing = Signing::Rsa(Box::new(rsa_key()));
    let jwk = json!({"kid": "rsa", "kty": "RSA", "n": RSA_N, "e": "AQAB"});
    let header = json!({"alg": "RS256", "kid": "rsa"}).to_string();
    let token = sign(&signing, "RS256", header, good_claims().to_string());
    for (alg, good) in [(json!("RS512"), false), (json!("PS256"), false), (json!("RS256"), true), (json!(null), true)] {
        let mut scene = Scene::cold(jwt(json!({}), json!({})));
        scene.provider.keys(&[with(jwk.clone(), json!({"alg": alg}))]);
        if good {
            scene.send(bearer(&token)).allowed();
        } else {
            scene.send(bearer(&token)).refused(401, "unknown_key");
        }
    }
    // ALG-07: what the operator doesn't list is not accepted, although the key would do.
    let mut scene = Scene::cold(jwt(json!({"algorithms": ["ES256", "EdDSA"]}), json!({})));
    scene.provider.keys(&[jwk]);
    scene.send(bearer(&token)).refused(401, "unsupported_token");
}

/// TB-17, CLM-08, CLM-09.
#[test]
fn one_of_the_configured_audiences_is_needed() {
    let mut scene = Scene::of(jwt(json!({"audiences": [AUDIENCE, "urn:other"]}), json!({})));
    for audience in [json!(["x", AUDIENCE]), json!("urn:other"), json!([AUDIENCE])] {
        scene.send(bearer(&token(json!({"aud": audience})))).allowed();
    }
    for audience in [json!([AUDIENCE, 1]), json!({}), json!([[AUDIENCE]])] {
        scene.send(bearer(&token(json!({"aud": audience})))).refused(401, "invalid_claims");
    }
    let others =
        [json!("https://API.example.com"), json!(""), json!("https://api.example.com/"), json!(["x"]), json!([])];
    for audience in others {
        scene.send(bearer(&token(json!({"aud": audience})))).refused(401, "wrong_audience");
    }
    let mut scene = Scene::of(jwt(json!({"audiences": null, "any_audience": true}), json!({})));
    scene.send(bearer(&token(json!({"aud": "x"})))).allowed();
    scene.send(bearer(&token(json!({"aud": null})))).allowed();
    scene.send(bearer(&token(json!({"aud": []})))).allowed();
    scene.send(bearer(&token(json!({"aud": 42})))).refused(401, "invalid_claims");
}

/// TB-22 to TB-24, CLM-13.
#[test]
fn the_required_scopes_are_needed() {
    let mut scene = scene();
    for enough in ["read:files", "read:files  write:files", "x read:files"] {
        scene.send(bearer(&token(scoped(enough)))).allowed();
    }
    scene.send(bearer(&token(json!({"scope": null, "scp": ["read:files"]})))).allowed();
    scene.send(bearer(&token(json!({"scope": null, "scp": "x read:files"})))).allowed();
    scene.send(bearer(&token(json!({"scope": ["x", "read:files"]})))).allowed();
    for lacking in [
        json!("wrong:scope"),
        json!("read:filesX"),
        json!("READ:FILES"),
        json!("read:files,x"),
        json!("x\tread:files"),
        json!("read:files\t"),
        json!("read:files\u{a0}x"),
        json!([]),
        json!(null),
    ] {
        let refusal = scene.send(bearer(&token(json!({"scope": lacking})))).refused(403, "insufficient_scope");
        let challenge = refusal.challenge().unwrap();
        assert_eq!((&*challenge["error"], &*challenge["scope"]), ("insufficient_scope", "read:files"));
    }
    // CLM-13
    let mut demanding_nothing = Scene::of(jwt(json!({}), json!({})));
    let mut mapping = Scene::of(jwt(json!({"claim_mapping": {"scope": {"path": "x.scope"}}}), json!({})));
    for unreadable in [
        json!(["read:files write:files"]),
        json!(["read:files", "a\tb"]),
        json!(["read:files", 7]),
        json!([""]),
        json!({"read:files": 1}),
        json!(7),
        json!(true),
    ] {
        for name in ["scope", "scp"] {
            let token = token(json!({"scope": null, name: unreadable}));
            scene.send(bearer(&token)).refused(401, "invalid_claims");
            demanding_nothing.send(bearer(&token)).refused(401, "invalid_claims");
        }
        mapping.send(bearer(&token(json!({"x": {"scope": unreadable}})))).refused(401, "invalid_claims");
    }
}

/// A challenge names the scopes that the token lacks, and no other.
#[test]
fn scopes_of_which_all_or_any_are_wanted() {
    let mut scene = Scene::of(jwt(json!({}), json!({"require": {"scopes": ["a", "b"], "scopes_any": ["c", "d"]}})));
    for (scope, missing) in
        [("a b c", ""), ("d b a", ""), ("a b", "c d"), ("a c", "b"), ("c d", "a b"), ("", "a b c d"), ("b", "a c d")]
    {
        match (scene.send(bearer(&token(scoped(scope)))), missing) {
            (seen, "") => drop(seen.allowed()),
            (seen, missing) => {
                let challenge = seen.refused(403, "insufficient_scope").challenge().unwrap();
                assert_eq!(challenge["scope"], missing);
            }
        }
    }
}

/// An ID token has what an access token has not: a requirement can say so, and so can the provider.
#[test]
fn what_only_id_tokens_have() {
    let require =
        json!({"require": {"claims": [{"claim": "nonce", "absent": true}, {"path": "x.at_hash", "absent": true}]}});
    let mut by_requirement = Scene::of(jwt(json!({}), require));
    for allowed in [json!({}), json!({"x": {}}), json!({"x": "y"}), json!({"Nonce": "n"})] {
        by_requirement.send(bearer(&token(allowed))).allowed();
    }
    for refused in [json!({"nonce": "n"}), json!({"nonce": ""}), json!({"nonce": false}), json!({"x": {"at_hash": []}})]
    {
        by_requirement.send(bearer(&token(refused))).refused(403, "insufficient_claims");
    }

    let marks = [
        json!({"nonce": "n"}),
        json!({"at_hash": "x"}),
        json!({"c_hash": "x"}),
        json!({"s_hash": "x"}),
        json!({"token_use": "id"}),
        json!({"token_type": "id_token"}),
        json!({"tokenType": "ID-Token"}),
        json!({"token_usage": "id_token"}),
        json!({"tokenName": "id_token"}),
        json!({"token_use": ["id"]}),
        json!({"token_type": "urn:ietf:params:oauth:token-type:id_token"}),
        // Curity's and Oracle's.
        json!({"purpose": "id"}),
        json!({"tok_type": "IT"}),
        json!({"token_kind": "id"}),
        json!({"type": "id_token"}),
        json!({"token_class": "id_token"}),
        json!({"ttype": "I"}),
        // SuperTokens'.
        json!({"stt": 2}),
    ];
    for kind in ["jwt", "introspection", "userinfo", "auto"] {
        let provider = |refuses: bool| json!({"validation": kind, "refuse_id_tokens": refuses});
        let mut strict = Scene::of(auto(provider(true), json!({})));
        let mut usual = Scene::of(auto(provider(false), json!({})));
        for mark in &marks {
            let token = token(mark.clone());
            for scene in [&mut strict, &mut usual] {
                scene.provider.tokens.insert(token.clone(), active(json!({})));
                scene.provider.users.insert(token.clone(), json!({"sub": "ann"}));
            }
            strict.send(bearer(&token)).refused(401, "wrong_type");
            usual.send(bearer(&token)).allowed();
        }
        strict.provider.tokens.insert(good(), active(json!({})));
        strict.provider.users.insert(good(), json!({"sub": "ann"}));
        strict.send(bearer(&good())).allowed();
        // What Keycloak calls its tokens is no matter of taste.
        for typ in ["ID", "id", "Serialized-ID", "Logout", "Refresh", "Offline"] {
            usual.send(bearer(&token(json!({"typ": typ})))).refused(401, "wrong_type");
        }
        // CAS.
        for nothing in [json!({"nonce": ""}), json!({"at_hash": ""}), json!({"stt": 1}), json!({"stt": 0})] {
            let token = token(nothing);
            strict.provider.tokens.insert(token.clone(), active(json!({})));
            strict.provider.users.insert(token.clone(), json!({"sub": "ann"}));
            strict.send(bearer(&token)).allowed();
        }
        if kind == "jwt" {
            for typ in ["Bearer", "JWT", "at+jwt", "access", "Idaho"] {
                strict.send(bearer(&token(json!({"typ": typ})))).allowed();
            }
        }
    }
    // An answer may tell of it, too; and no name for a claim hides it.
    let mapping = json!({"refuse_id_tokens": true, "claim_mapping": {"nonce": "none", "at_hash": "none"}});
    let mut mapped = Scene::of(introspection(mapping.clone(), json!({})));
    mapped.provider.tokens.insert("opaque".to_owned(), active(json!({"nonce": "n"})));
    mapped.send(bearer("opaque")).refused(401, "wrong_type");
    Scene::of(jwt(mapping, json!({}))).send(bearer(&token(json!({"at_hash": "x"})))).refused(401, "wrong_type");
}

/// Lists that are written as one string, by the provider's own rules.
#[test]
fn lists_in_one_string() {
    let separators = json!({"audience_separator": " ", "scope_separator": ","});
    let require = json!({"require": {"scopes": ["a", "b"]}});
    let audience = json!(format!("other  {AUDIENCE}"));
    let good = json!({"aud": audience, "scope": "a, c,b"});
    let mut scene = Scene::of(jwt(separators.clone(), require.clone()));
    scene.send(bearer(&token(good.clone()))).allowed();
    scene.send(bearer(&token(json!({"aud": AUDIENCE, "scope": ["a", "b"]})))).allowed();
    scene.send(bearer(&token(json!({"scope": null, "scp": "a,b"})))).allowed();
    scene.send(bearer(&token(json!({"scope": "a b"})))).refused(403, "insufficient_scope");
    scene.send(bearer(&token(json!({"aud": [audience], "scope": "a,b"})))).refused(401, "wrong_audience");
    scene.send(bearer(&token(json!({"aud": format!("{AUDIENCE}2 x"), "scope": "a,b"})))).refused(401, "wrong_audience");
    scene.send(bearer(&token(json!({"aud": " ", "scope": "a,b"})))).refused(401, "wrong_audience");
    // What a service is told is what was said.
    let told = json!({"claim_headers": {"header": "x-scope", "claim": "scope"}});
    let upstream = Scene::of(jwt(separators.clone(), told)).send(bearer(&token(good.clone()))).allowed();
    assert_eq!(upstream.header("x-scope").map(|value| value.replace("%2C", ",")), Some("a, c,b".to_owned()));
    // Answers are read alike.
    let mut asked = Scene::of(introspection(separators, require.clone()));
    asked.provider.tokens.insert("opaque".to_owned(), active(good.clone()));
    asked.send(bearer("opaque")).allowed();
    // By default, neither.
    let mut usual = Scene::of(jwt(json!({}), require));
    usual.send(bearer(&token(good))).refused(401, "wrong_audience");
    usual.send(bearer(&token(json!({"scope": "a,b"})))).refused(403, "insufficient_scope");
}

/// Not the token is at fault, but whoever it belongs to may not do this: 403 without a challenge.
#[test]
fn required_claims() {
    let require = |claims: Value| jwt(json!({}), json!({"require": {"claims": claims}}));
    let cases = [
        (json!({"claim": "role", "any_of": ["a", "b"]}), json!({"role": "b"}), true),
        (json!({"claim": "role", "any_of": ["a", "b"]}), json!({"role": ["x", "a"]}), true),
        (json!({"claim": "role", "any_of": ["a", "b"]}), json!({"role": "ab"}), false),
        (json!({"claim": "role", "any_of": ["a", "b"]}), json!({}), false),
        (json!({"claim": "role", "all_of": ["a", "b"]}), json!({"role": ["b", "c", "a"]}), true),
        (json!({"claim": "role", "all_of": ["a", "b"]}), json!({"role": ["a"]}), false),
        (json!({"claim": "role", "none_of": ["bad"]}), json!({"role": ["good"]}), true),
        (json!({"claim": "role", "none_of": ["bad"]}), json!({"role": ["good", "bad"]}), false),
        (json!({"claim": "role", "matches": "adm.*"}), json!({"role": "admin"}), true),
        (json!({"claim": "role", "matches": "adm|op"}), json!({"role": "x-adm"}), false),
        (json!({"claim": "role", "matches": "adm|op"}), json!({"role": "op-x"}), false),
        (json!({"claim": "age", "any_of": "18"}), json!({"age": 18}), true),
        (json!({"claim": "ok", "any_of": "true"}), json!({"ok": true}), true),
        (json!({"path": "realm_access.roles", "any_of": "a"}), json!({"realm_access": {"roles": ["a"]}}), true),
        (json!({"path": ["realm_access", "roles"], "any_of": "a"}), json!({"realm_access": {"roles": ["a"]}}), true),
        (json!({"path": "realm_access.roles", "any_of": "a"}), json!({"realm_access.roles": ["a"]}), false),
        (json!({"claim": "realm_access.roles", "any_of": "a"}), json!({"realm_access.roles": ["a"]}), true),
        (json!({"path": "a.b", "any_of": "x"}), json!({"a": ["x"]}), false),
        (json!({"claim": "role"}), json!({"role": "anything"}), true),
        (json!({"claim": "role"}), json!({}), false),
    ];
    for (wanted, claims, enough) in cases {
        let mut scene = Scene::of(require(json!([wanted])));
        let seen = scene.send(bearer(&token(claims.clone())));
        if enough {
            seen.allowed();
        } else {
            assert_eq!(seen.refused(403, "insufficient_claims").challenge(), None, "{wanted} {claims}");
        }
    }
}

/// AR-80.
#[test]
fn a_group_of_the_allow_list_is_needed() {
    let config = |list: Value| jwt(json!({}), json!({"require": {"groups_allowlist": list}}));
    let mut scene = Scene::of(config(json!(["a", "b", "c"])));
    scene.send(bearer(&token(json!({"groups": ["c", "d"]})))).allowed();
    scene.send(bearer(&token(json!({"groups": "a"})))).allowed(); // AR-21
    for groups in [json!(["d", "e"]), json!([]), json!(null), json!("abc"), json!([1, {}, null]), json!({"a": 1})] {
        scene.send(bearer(&token(json!({"groups": groups})))).refused(403, "insufficient_claims"); // AR-22
    }
    let mut scene = Scene::of(config(json!(["x", "*"])));
    scene.send(bearer(&token(json!({})))).allowed();
}

#[test]
fn clocks_differ_and_lifetimes_are_bounded() {
    let mut scene = Scene::of(jwt(json!({"clock_skew": "10s", "max_lifetime": "1h"}), json!({})));
    for (claims, reason) in [
        (json!({"iat": NOW, "exp": NOW + 3600}), None),
        (json!({"iat": NOW, "exp": NOW + 3601}), Some("invalid_claims")),
        (json!({"iat": null}), Some("invalid_claims")),
        (json!({"exp": NOW - 9, "iat": NOW - 60}), None),
        (json!({"exp": NOW - 10, "iat": NOW - 60}), Some("expired")),
        (json!({"nbf": NOW + 10, "exp": NOW + 60}), None),
        (json!({"nbf": NOW + 11, "exp": NOW + 60}), Some("not_yet_valid")),
        (json!({"iat": NOW + 11, "exp": NOW + 60}), Some("not_yet_valid")),
    ] {
        let seen = scene.send(bearer(&token(claims)));
        match reason {
            None => drop(seen.allowed()),
            Some(reason) => drop(seen.refused(401, reason)),
        }
    }
    // AR-25: nobody says how far clocks differ, so it is a minute.
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    scene.send(bearer(&token(json!({"nbf": NOW + 30})))).allowed();
}

/// ALG-19, ALG-20.
#[test]
fn a_required_type_must_be_there() {
    let typed = |typ: Value| key("k1").token_with(json!({"typ": typ}), json!({}));
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    for good in [json!("at+jwt"), json!("AT+JWT"), json!("application/at+jwt"), json!("JWT"), json!(null)] {
        scene.send(bearer(&typed(good))).allowed();
    }
    let mut strict = Scene::of(jwt(json!({"token_type": "at+jwt"}), json!({})));
    for good in ["at+jwt", "AT+JWT", "application/at+jwt"] {
        strict.send(bearer(&typed(json!(good)))).allowed();
    }
    for bad in [json!("JWT"), json!(null), json!("at+jwt ")] {
        strict.send(bearer(&typed(bad))).refused(401, "wrong_type");
    }
    // No configuration makes a proof an access token.
    for never in [
        "client-authentication+jwt",
        "dc+sd-jwt",
        "dpop+jwt",
        "entity-statement+jwt",
        "kb+jwt",
        "logout+jwt",
        "oauth-authz-req+jwt",
        "oauth-client-attestation+jwt",
        "oauth-client-attestation-pop+jwt",
        "oauth-id-jag+jwt",
        "openid4vci-proof+jwt",
        "secevent+jwt",
        "statuslist+jwt",
        "token-introspection+jwt",
        "vc+jwt",
        "application/vp+jwt",
        // Words for other kinds, in the place of a media type and in the form of one.
        "refresh",
        "Refresh+JWT",
        "application/refresh_token+jwt",
        "rt+jwt",
        "ID",
        "id_token+jwt",
        "logout_token",
    ] {
        let mut scene = Scene::of(jwt(json!({"token_type": [never, "at+jwt"]}), json!({})));
        scene.send(bearer(&typed(json!(never)))).refused(401, "wrong_type");
        // And nobody is asked about one.
        let mut asked = Scene::of(introspection(json!({}), json!({})));
        asked.provider.tokens.insert(typed(json!(never)), active(json!({})));
        asked.send(bearer(&typed(json!(never)))).refused(401, "wrong_type");
        assert_eq!(asked.count("/introspect"), 0);
    }
    // Nor an event, whether or not its type says so (RFC 8417, section 2.2; OpenID Connect Back-Channel Logout, section 2.4).
    let logout = || json!({"http://schemas.openid.net/event/backchannel-logout": {}});
    for typ in [json!("JWT"), json!(null), json!("at+jwt")] {
        let event = key("k1").token_with(json!({"typ": typ}), json!({"events": logout(), "sid": "s"}));
        Scene::of(jwt(json!({}), json!({}))).send(bearer(&event)).refused(401, "wrong_type");
        let mapped = json!({"claim_mapping": {"events": "other"}});
        Scene::of(jwt(mapped, json!({}))).send(bearer(&event)).refused(401, "wrong_type");
    }
    // Apple writes them as text.
    let apple = json!({"events": "{\"type\":\"consent-revoked\",\"sub\":\"001\"}"});
    scene.send(bearer(&token(apple))).refused(401, "wrong_type");
    scene.send(bearer(&token(json!({"events": ["concert"]})))).allowed();
    scene.send(bearer(&token(json!({"events": "concert"})))).allowed();
}

/// RFC 9701, section 5: what a provider has said of a token to a resource server is for its audience, and no token, whatever its type.
#[test]
fn an_introspection_response_is_no_access_token() {
    let mut scene = Scene::of(jwt(json!({"token_type": ["JWT", "at+jwt", "token-introspection+jwt"]}), json!({})));
    let response = json!({"token_introspection": {"active": true, "scope": "read", "sub": "ann"}});
    for typ in ["token-introspection+jwt", "JWT", "at+jwt"] {
        let told = key("k1").token_with(json!({"typ": typ}), response.clone());
        scene.send(bearer(&told)).refused(401, "wrong_type");
        let mut asked = Scene::of(introspection(json!({}), json!({})));
        asked.provider.tokens.insert(told.clone(), active(json!({})));
        asked.send(bearer(&told)).refused(401, "wrong_type");
        assert_eq!(asked.count("/introspect"), 0);
    }
    for other in [json!("none"), json!(["none"]), json!(false)] {
        scene.send(bearer(&token(json!({"token_introspection": other})))).allowed();
    }
}

/// JWT Secured Authorization Response Mode for OAuth 2.0, sections 2.1 and 2.3; RFC 8725, section 3.12. It passes through browsers, for the same
/// audience and by the same keys.
#[test]
fn an_authorization_response_is_no_access_token() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    let nobodys = json!({"sub": null, "client_id": null, "jti": null, "scope": null, "state": "S8NJ7uqk5fY4EjNvP"});
    for response in [json!({"code": "PyyFaux2o7Q0YfXBU32j"}), json!({"error": "access_denied"}), json!({"code": ""})] {
        let claims = with(nobodys.clone(), response.clone());
        scene.send(bearer(&key("k1").token_with(json!({"typ": null}), claims))).refused(401, "wrong_type");
        // Janssen's access tokens hold the code that they were had for.
        for whose in ["sub", "client_id", "jti", "scope", "azp", "scp"] {
            let claims = with(with(nobodys.clone(), response.clone()), json!({whose: "x"}));
            scene.send(bearer(&token(claims))).allowed();
        }
    }
    // Section 2.3: the response types with a token say its scope, too.
    for response in [
        json!({"access_token": "2YotnFZFEjr1zCsicMWpAA", "token_type": "Bearer", "expires_in": "3600", "scope": "read"}),
        json!({"code": "PyyFaux2o7Q0YfXBU32j", "access_token": "2YotnFZFEjr1zCsicMWpAA", "scope": "read"}),
        json!({"id_token": "eyJhbGciOiJub25lIn0.e30."}),
    ] {
        let claims = with(nobodys.clone(), response.clone());
        scene.send(bearer(&key("k1").token_with(json!({"typ": null}), claims))).refused(401, "wrong_type");
        scene.send(bearer(&token(with(response, json!({"scope": "read"}))))).allowed();
    }
    for other in [json!({}), json!({"code": 7}), json!({"error": false}), json!({"code": null, "state": "DE"})] {
        scene.send(bearer(&token(with(nobodys.clone(), other)))).allowed();
    }
}

/// RFC 8725, section 3.12: what is signed by the same keys for another end, and need not say so in its `typ`. Verifiable Credentials
/// Data Model 1.1, section 6.3.1; RFC 9901; Token Status List, section 5.1; RFC 7591, section 2.3; codes that are JWTs.
#[test]
fn what_an_issuer_says_to_others_is_no_access_token() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    let software = json!({
        "software_id": "4NRB1-0XZABZI9E6-5SM3R", "client_name": "Shop", "redirect_uris": ["https://shop.example/cb"],
        "sub": null, "client_id": null,
    });
    let others = [
        json!({"vc": {"type": ["VerifiableCredential"], "credentialSubject": {"id": "did:example:ann"}}}),
        json!({"vp": {"type": ["VerifiablePresentation"], "verifiableCredential": []}}),
        json!({"_sd_alg": "sha-256", "_sd": ["CrQe7S5kqBAHt-nMYXgc6bdt2SH5aTY1sU_M-PgkjPI"]}),
        json!({"vct": "https://credentials.example.com/identity_credential"}),
        json!({"status_list": {"bits": 1, "lst": "eNrbuRgAAhcBXQ"}, "ttl": 43200}),
        software.clone(),
        with(software.clone(), json!({"scope": null, "jti": null})),
        json!({"token_type": "authorization_code"}),
        json!({"token_use": "device_code"}),
        json!({"token_class": "authorization_code"}),
        json!({"ttype": "A"}),
        json!({"typ": "logout_token"}),
    ];
    for claims in others {
        for typ in [json!("JWT"), json!(null), json!("at+jwt")] {
            let token = key("k1").token_with(json!({"typ": typ}), claims.clone());
            scene.send(bearer(&token)).refused(401, "wrong_type");
            let mut asked = Scene::of(introspection(json!({}), json!({})));
            asked.provider.tokens.insert(token.clone(), active(json!({})));
            asked.send(bearer(&token)).refused(401, "wrong_type");
            assert_eq!(asked.count("/introspect"), 0);
        }
    }
    for claims in [
        json!({"vc": "x", "vp": ["x"]}),
        json!({"vct": 7, "_sd_alg": [], "status": {"status_list": {"idx": 0, "uri": "https://example.com/1"}}}),
        json!({"status_list": {"idx": 0, "uri": "https://example.com/1"}}),
        // A client of a directory of banks, whose tokens say what software it is.
        with(software.clone(), json!({"client_id": "client"})),
        with(software.clone(), json!({"sub": "client"})),
        with(software, json!({"software_id": 7})),
    ] {
        scene.send(bearer(&token(claims))).allowed();
    }
}

/// RFC 6749, section 1.5; RFC 8725, section 3.12. By the words of Keycloak, Cognito, SimpleJWT, OpenIddict, ForgeRock, Casdoor,
/// Flask, Curity, Spring, Descope, UAA, Gitea, oidcop, Volkswagen, Konnect, LibreGraph Connect and Gravitee; its signature is as good as
/// that of an access token.
#[test]
fn a_refresh_token_is_no_access_token() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    let typed = |claims| key("k1").token_with(json!({"typ": "JWT"}), claims);
    for claims in marks_of_refresh_tokens() {
        scene.send(bearer(&typed(claims.clone()))).refused(401, "wrong_type");
        let mut asked = Scene::of(introspection(json!({}), json!({})));
        let token = typed(claims);
        asked.provider.tokens.insert(token.clone(), active(json!({})));
        asked.send(bearer(&token)).refused(401, "wrong_type");
        assert_eq!(asked.count("/introspect"), 0);
    }
    // Old releases of Gitea don't say whose their tokens are.
    let nobodys = |kind: u64| typed(json!({"iss": null, "aud": null, "sub": null, "tt": kind, "gnt": 7}));
    let mut asked = Scene::of(introspection(json!({}), json!({})));
    for kind in [0, 1] {
        asked.provider.tokens.insert(nobodys(kind), active(json!({"exp": null})));
    }
    asked.send(bearer(&nobodys(0))).allowed();
    asked.send(bearer(&nobodys(1))).refused(401, "invalid_claims");
    for claims in [
        json!({"typ": "Bearer"}),
        json!({"token_type": "access"}),
        json!({"token_use": "access"}),
        json!({"tokenName": "access_token", "token_type": "Bearer"}),
        json!({"tokenType": "access-token"}),
        json!({"type": "access", "purpose": "offline"}),
        json!({"token_type": "urn:ietf:params:oauth:token-type:access_token"}),
        json!({"token_use": ["access"], "type": [["refresh"]]}),
        json!({"drn": "DS"}),
        json!({"tok_type": "AT"}),
        json!({"jti": "2f0c0b6e-r"}),
        json!({"jti": "2f0c0b6e-r", "granted_scopes": ["read"], "scope": "read"}),
        json!({"granted_scopes": ["read"]}),
        json!({"ati": 7, "refresh": "refresh"}),
        // Gitea's access tokens, and other numbers.
        json!({"tt": 0, "gnt": 7}),
        json!({"tt": 1}),
        json!({"tt": "1", "gnt": 7}),
        // How the token was had, what it may do, and what a user calls it.
        json!({"grant_type": "refresh_token", "gty": ["refresh_token"], "scope": "refresh_token"}),
        json!({"token_class": "access_token", "sid": "s"}),
        json!({"ttype": "T"}),
        json!({"jtt": "access_token"}),
        // Access tokens of Konnect and LibreGraph Connect, and what says nothing of the token.
        json!({"orig_resources": "https://api.example"}),
        json!({"kc.isAccessToken": true, "kc.authorizedScopes": ["openid"], "kc.identity": {"kc.i.id": "ann"}}),
        json!({"lg.t": "1", "scp": ["openid"], "lg.i": {"id": "ann"}}),
        json!({"isRefreshToken": false, "refresh_token": "true", "refreshable": true, "refresh": false, "lg.t": 2}),
        json!({"tokenName": "offline", "type": "logout", "kind": "authorization_code", "name": "Refresh"}),
    ] {
        scene.send(bearer(&typed(claims))).allowed();
    }
}

/// AR-26, EXT-03: a header of one's own has no scheme unless it is given one.
#[test]
fn tokens_in_a_header_without_a_scheme() {
    let mut scene = Scene::of(jwt(json!({}), json!({"access_token": {"key": "My-Auth_token"}})));
    let at = |value: &str| bare().header("my-auth_token", value);
    scene.send(at(&good())).allowed(); // TB-50, TB-53
    scene.send(at(&format!("Bearer {}", good()))).refused(400, "invalid_request");
    scene.send(at(&format!("{},{}", good(), good()))).refused(400, "invalid_request");
    scene.send(at("")).refused(400, "invalid_request");
    scene.send(bearer(&good())).refused(401, "missing_token"); // TB-54, the other way round
    let mut scene = Scene::of(jwt(json!({}), json!({"access_token": {"key": "authorization", "scheme": ""}})));
    scene.send(bare().header("authorization", good())).allowed();
    let mut scene = Scene::of(jwt(json!({}), json!({"access_token": {"key": "x-token", "scheme": "Token"}})));
    scene.send(bare().header("x-token", format!("token {}", good()))).allowed();
    scene.send(bare().header("x-token", good())).refused(401, "unsupported_token");
}

/// One header can be two places, by its scheme.
#[test]
fn tokens_under_either_of_two_schemes() {
    let schemes = json!([{"key": "authorization"}, {"key": "authorization", "scheme": "Token"}]);
    let mut scene = Scene::of(jwt(json!({}), json!({"access_token": schemes})));
    for scheme in ["Bearer", "Token", "token"] {
        scene.send(bare().header("authorization", format!("{scheme} {}", good()))).allowed();
    }
    scene.send(bare().header("authorization", format!("Basic {}", good()))).refused(401, "unsupported_token");
    scene.send(bare().header("authorization", good())).refused(401, "unsupported_token");
    let twice = bearer(&good()).header("authorization", format!("Token {}", good()));
    scene.send(twice).refused(400, "invalid_request");
    // A scheme of nobody's counts, however many other places follow.
    for sources in [
        json!([{"key": "authorization"}, {"key": "x-token"}]),
        json!([{"key": "authorization"}, {"key": "x-token", "scheme": "Tok"}, {"key": "x-token"}]),
    ] {
        let mut scene = Scene::of(jwt(json!({}), json!({"access_token": sources})));
        let foreign = bare().header("authorization", "Basic dTpw").header("x-token", good());
        scene.send(foreign).refused(401, "unsupported_token");
    }
}

/// EXT-05, OUT-07: in several places, or twice in one, is once too often.
#[test]
fn two_tokens_are_refused_wherever_they_are() {
    let sources = json!([
        {"key": "authorization"}, {"location": "cookie", "key": "t"}, {"location": "query_string", "key": "access_token"},
        {"location": "metadata", "key": "t", "metadata_filter": "earlier"},
    ]);
    let config = jwt(json!({}), json!({"access_token": sources, "allow_missing": true}));
    let mut scene = Scene::cold(config);
    let token = good();
    let in_cookie = || format!("a=1; t={token}");
    let in_query = || format!("/p?a=1&access_token={token}");
    scene.send(bearer(&token).header("cookie", in_cookie())).refused(400, "invalid_request");
    scene.send(get(in_query()).bearer(&token)).refused(400, "invalid_request");
    scene.send(get(in_query()).header("cookie", in_cookie())).refused(400, "invalid_request");
    scene.send(bearer(&token).metadata(Some(&token))).refused(400, "invalid_request");
    assert!(scene.calls.is_empty(), "a malformed request causes no call");
    scene.send(bare().header("cookie", in_cookie())).allowed();
    scene.send(get(in_query())).allowed();
    scene.send(bare().metadata(Some(&token))).allowed(); // GM-16
    scene.send(bearer(&token).metadata(None)).allowed();
    assert_eq!(scene.send(bare().metadata(None)).upstream().result, "bypassed");
    // A cookie or parameter of nearly that name is another.
    let near = get(format!("/p?Access_Token={token}")).header("cookie", format!("T={token}; tt={token}"));
    assert_eq!(scene.send(near).upstream().result, "bypassed");
}

/// ISS-03, ISS-04, EXT-04, EXT-12: only what is absent is missing.
#[test]
fn allow_missing_allows_nothing_else() {
    let mut scene = Scene::of(jwt(json!({}), json!({"allow_missing": true})));
    let upstream = scene.send(bare()).upstream();
    assert_eq!((upstream.result, upstream.reason, upstream.edits), ("bypassed", Some("missing_token"), 0));
    scene.send(bearer(&token(json!({"iss": "https://other.example"})))).refused(401, "unknown_issuer");
    scene.send(bearer(&token(json!({"exp": NOW - 3600})))).refused(401, "expired");
    scene.send(bearer("opaque")).refused(401, "malformed_token");
    scene.send(bare().header("authorization", "Basic dTpw")).refused(401, "unsupported_token");
    scene.send(bare().header("authorization", "")).refused(400, "invalid_request");
}

/// EXT-06, MCP-04: a token in the query is none unless the operator says so.
#[test]
fn the_query_is_no_place_for_tokens() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    scene.send(get(format!("/p?access_token={}", good()))).refused(401, "missing_token");
}

/// AR-10, AR-16: the whole way, with the identity at its end.
#[test]
fn user_and_groups_go_into_headers() {
    let headers = json!([
        {"header": "kubeflow-userid", "claim": "email", "required": true},
        {"header": "kubeflow-groups", "claim": "groups"},
    ]);
    let mut scene = Scene::of(jwt(json!({}), json!({"claim_headers": headers})));
    let claims = json!({"email": "ann@example.com", "groups": ["a", "b"], "aud": [AUDIENCE]});
    let upstream = scene.send(bearer(&token(claims))).allowed();
    assert_eq!(upstream.header("kubeflow-userid"), Some("ann@example.com"));
    assert_eq!(upstream.header("kubeflow-groups"), Some("a,b"));
    // AR-17: AuthService answers 401; the token is good, its holder only isn't who may come.
    scene.send(bearer(&token(json!({"groups": []})))).refused(403, "insufficient_claims");
    // AR-23, AR-41
    let upstream = scene.send(bearer(&token(json!({"email": "ann@example.com"})))).allowed();
    assert_eq!(upstream.header("kubeflow-groups"), None);
    let upstream = scene.send(bearer(&token(json!({"email": "ann@example.com", "groups": []})))).allowed();
    assert_eq!(upstream.header("kubeflow-groups"), Some(""));
}

/// A request that has no method can't be read, and so not be cleaned: it goes nowhere, whatever the policy.
#[test]
fn what_cannot_be_read_is_refused() {
    let mut scene =
        Scene::of(jwt(json!({}), json!({"enforce": false, "allow_missing": true, "allow_preflight": true})));
    scene.send(bare().set(":method", None)).refused(400, "invalid_request");
    scene.send(bare().header(":method", "POST")).refused(400, "invalid_request");
    // PTH-11: CONNECT has no path.
    let connect = bearer(&good()).set(":method", Some("CONNECT")).set(":path", None);
    scene.send(connect).allowed();
}
