//! Many providers under one set of names: claims that are called otherwise, tenants, prefixes of opaque tokens, and rules
//! that trust some providers only (MV-40 to MV-42 and MV-50 of Maverics; AuthService's headers).

use crate::scene::*;
use crate::support::with;
use serde_json::{Value, json};

const OTHER: &str = "https://other.example";

fn providers(first: Value, second: Value, top: Value) -> Scene {
    let provider = |issuer: &str, change: Value| with(json!({"issuer": issuer, "audiences": AUDIENCE}), change);
    let providers = json!([provider(ISSUER, first), provider(OTHER, second)]);
    let mut scene = Scene::cold(with(json!({"providers": providers}), top));
    scene.provider.add_issuer(OTHER, &[key("o1").jwk()]);
    scene.tick();
    scene
}

fn theirs(claims: Value) -> String {
    key("o1").token(with(json!({"iss": OTHER}), claims))
}

/// MV-40, MV-41: the first claim that is there counts. MV-41: none at all leaves no header, the client's own neither.
#[test]
fn the_first_claim_that_is_there() {
    let headers = json!({"claim_headers": {"header": "email", "claims": ["email", "upn"]}});
    let mut scene = Scene::of(jwt(json!({}), headers));
    for (claims, expected) in [
        (json!({"email": "a@b", "upn": "c@d"}), Some("a@b")),
        (json!({"upn": "c@d"}), Some("c@d")),
        (json!({"email": null, "upn": "c@d"}), Some("c@d")),
        (json!({}), None),
    ] {
        let upstream =
            scene.send(bearer(&token(claims)).header("email", "forged@x").header("Email", "forged@x")).allowed();
        assert_eq!(upstream.header("email"), expected);
    }
}

/// MV-42: two providers call the same thing by different names; upstream, and in every requirement, it has one.
#[test]
fn one_set_of_names() {
    let first =
        json!({"claim_mapping": {"email": {"claims": ["upn", "mail"]}, "roles": {"path": "realm_access.roles"}}});
    let second = json!({"claim_mapping": {"email": {"claims": ["upn", "mail"]}, "roles": {"claim": "https://other.example/roles"}, "scp": "permissions"}});
    let top = json!({
        "claim_headers": [{"header": "x-email", "claim": "email"}, {"header": "x-roles", "claim": "roles"}, {"header": "x-from", "attribute": "provider"}],
        "user_info": {"key": "x-info", "claims": ["email"]},
        "require": {"claims": {"claim": "roles", "any_of": "admin"}},
        "rules": [{"match": {"path": "/scoped"}, "require": {"scopes": "read:things"}}],
    });
    let mut scene = providers(first, second, top);
    let ours = token(
        json!({"upn": "ann@a", "email": "forged@a", "roles": ["forged"], "realm_access": {"roles": ["admin", "x"]}}),
    );
    let upstream = scene.send(bearer(&ours)).allowed();
    assert_eq!((upstream.header("x-email"), upstream.header("x-roles")), (Some("ann@a"), Some("admin,x")));
    assert_eq!(
        (upstream.header("x-info"), upstream.header("x-from")),
        (Some("%7B%22email%22:%22ann@a%22%7D"), Some("idp.example.com"))
    );
    let token_of_other =
        theirs(json!({"mail": "bob@b", "https://other.example/roles": "admin", "permissions": ["read:things"]}));
    let upstream = scene.send(bearer(&token_of_other)).allowed();
    assert_eq!(
        (upstream.header("x-email"), upstream.header("x-roles"), upstream.header("x-from")),
        (Some("bob@b"), Some("admin"), Some("other.example"))
    );
    scene.send(get("/scoped").bearer(&token_of_other)).allowed();
    // What is not mapped from the right place is not there, whatever the token calls so itself.
    for unmapped in [json!({"roles": ["admin"]}), json!({"realm_access": "admin"}), json!({})] {
        scene.send(bearer(&token(unmapped))).refused(403, "insufficient_claims");
    }
    let nameless = token(json!({"email": "forged@a", "realm_access": {"roles": "admin"}}));
    assert_eq!(scene.send(bearer(&nameless)).allowed().header("x-email"), None);
    // Known tokens are no different.
    assert_eq!(scene.send(bearer(&nameless)).allowed().header("x-email"), None);
}

/// Answers are mapped like tokens. What the token is judged by can't be mapped.
#[test]
fn mapped_answers_and_fixed_claims() {
    let mut scene = Scene::of(introspection(
        json!({"claim_mapping": {"sub": "username"}}),
        json!({"claim_headers": {"header": "x-user", "claim": "sub"}}),
    ));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"username": "bob"})));
    for _ in 0..2 {
        assert_eq!(scene.send(bearer("opaque")).allowed().header("x-user"), Some("bob"));
    }
    for fixed in ["iss", "aud", "exp", "nbf", "iat", "jti", "cnf", "x5t#S256", "active"] {
        let config = jwt(json!({"claim_mapping": {fixed: "other"}}), json!({}));
        let error = oidc_filter::config::Config::read(config.to_string().as_bytes(), &|_: &str| None).expect_err(fixed);
        assert!(error.to_string().starts_with(&format!("providers[0].claim_mapping.{fixed}: ")), "{error}");
    }
    for wrong in [json!({}), json!({"a": ""}), json!({"a": {}}), json!({"a": {"b": 1}}), json!({"a": 1}), json!("a")] {
        let config = jwt(json!({"claim_mapping": wrong}), json!({}));
        assert!(oidc_filter::config::Config::read(config.to_string().as_bytes(), &|_: &str| None).is_err(), "{wrong}");
    }
}

/// An address under a name that was not its own is another one, of which the token's own word says nothing.
#[test]
fn a_mapped_address_is_not_the_verified_one() {
    let headers = json!([{"header": "x-email", "claim": "email"}, {"header": "x-verified", "claim": "email_verified"}]);
    let seen = |mapping: Value, claims: Value| {
        let mut scene = Scene::of(jwt(json!({"claim_mapping": mapping}), json!({"claim_headers": headers.clone()})));
        let claims = with(json!({"email": "ann@example.com", "email_verified": true, "ok": false}), claims);
        let upstream = scene.send(bearer(&token(claims))).allowed();
        ["x-email", "x-verified"].map(|name| upstream.header(name).unwrap_or_default().to_owned())
    };
    let upn = || json!({"email": {"claims": ["upn", "email"]}});
    assert_eq!(seen(upn(), json!({"upn": "root@example.com"})), ["root@example.com", ""]);
    assert_eq!(seen(upn(), json!({"upn": "ann@example.com"})), ["ann@example.com", "true"]);
    assert_eq!(seen(upn(), json!({})), ["ann@example.com", "true"]);
    assert_eq!(seen(json!({"email": "upn"}), json!({})), ["", ""]);
    assert_eq!(seen(json!({"roles": "upn"}), json!({})), ["ann@example.com", "true"]);
    let both = json!({"email": "upn", "email_verified": "ok"});
    assert_eq!(seen(both, json!({"upn": "root@example.com"})), ["root@example.com", "false"]);
}

/// AR-10, AR-23, AR-41: AuthService's three headers, of which none is ever left out.
#[test]
fn the_headers_of_authservice() {
    let headers = json!([
        {"header": "kubeflow-userid", "claim": "email", "prefix": "u:", "required": true},
        {"header": "kubeflow-groups", "claim": "groups", "default": ""},
        {"header": "Auth-Method", "attribute": "location"},
    ]);
    let sources = json!([{"key": "authorization"}, {"location": "cookie", "key": "token"}, {"location": "query_string", "key": "t"}, {"location": "metadata", "metadata_filter": "f", "key": "k"}]);
    let mut scene = Scene::of(jwt(json!({}), json!({"claim_headers": headers, "access_token": sources})));
    let with_groups = token(json!({"email": "ann@a", "groups": ["a", "b"]}));
    let without = token(json!({"email": "ann@a"}));
    let upstream = scene.send(bearer(&with_groups)).allowed();
    assert_eq!(
        (upstream.header("kubeflow-userid"), upstream.header("kubeflow-groups"), upstream.header("auth-method")),
        (Some("u:ann@a"), Some("a,b"), Some("header"))
    );
    let upstream =
        scene.send(bare().header("cookie", format!("token={without}")).header("auth-method", "header")).allowed();
    assert_eq!((upstream.header("kubeflow-groups"), upstream.header("auth-method")), (Some(""), Some("cookie")));
    let upstream = scene.send(get(format!("/?t={without}"))).allowed();
    assert_eq!(upstream.header("auth-method"), Some("query_string"));
    let upstream = scene.send(bare().metadata(Some(&without))).allowed();
    assert_eq!(upstream.header("auth-method"), Some("metadata"));
    // AR-17
    for nobody in [good(), token(json!({"email": ""})), token(json!({"email": []}))] {
        scene.send(bearer(&nobody)).refused(403, "insufficient_claims");
    }
    for (wrong, path) in [
        (json!({"header": "a", "attribute": "color"}), "claim_headers.attribute"),
        (json!({"header": "a", "attribute": "location", "claim": "b"}), "claim_headers.attribute"),
        (json!({"header": "a", "claim": "b", "required": true, "default": ""}), "claim_headers.default"),
        (json!({"header": "a", "claim": "b", "default": "\r\n"}), "claim_headers.default"),
    ] {
        let config = jwt(json!({}), json!({"claim_headers": wrong}));
        let error = oidc_filter::config::Config::read(config.to_string().as_bytes(), &|_: &str| None).expect_err(path);
        assert!(error.to_string().starts_with(path), "{error}");
    }
}

/// AR-27: two credentials are no choice. AuthService takes the cookie where the bearer is not its own; two readers
/// would differ.
#[test]
fn a_bearer_and_a_cookie() {
    let sources = json!([{"key": "authorization"}, {"location": "cookie", "key": "authservice_session"}]);
    let mut scene = Scene::of(jwt(json!({}), json!({"access_token": sources})));
    for bearer_token in ["foreign", &good()] {
        let ask = bearer(bearer_token).header("cookie", format!("authservice_session={}", good()));
        scene.send(ask).refused(400, "invalid_request");
    }
    scene.send(bare().header("cookie", format!("authservice_session={}", good()))).allowed();
}

/// AR-33: a question of another proxy fills the same cache as a request.
#[test]
fn the_verify_endpoint_shares_the_cache() {
    let mut scene = Scene::of(introspection(json!({}), json!({"verify_path": "/verify"})));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene.send(get("/verify").bearer("opaque")).confirmed();
    scene.send(bearer("opaque")).allowed();
    scene.send(get("/verify").bearer("opaque")).confirmed();
    assert_eq!(scene.count("/introspect"), 1);
}

/// AR-81, AR-80: a 403 names neither the user nor the groups, so that nothing of a token can be run by a browser.
#[test]
fn a_refusal_names_nobody() {
    let mut scene = Scene::of(jwt(json!({}), json!({"require": {"groups_allowlist": ["a", "b", "c"]}})));
    scene.send(bearer(&token(json!({"groups": ["c", "d"]})))).allowed();
    let hostile = token(json!({"groups": ["<script>d</script>"], "sub": "<b>ann</b>"}));
    let refusal = scene.send(bearer(&hostile)).refused(403, "insufficient_claims");
    assert!(!format!("{refusal:?}").contains('<'), "{refusal:?}");
}

/// `scope` and `scp` are one claim in two spellings: where the one is mapped, the token's own other one says nothing.
#[test]
fn scopes_that_are_mapped_are_nowhere_else() {
    for name in ["scope", "scp"] {
        let provider = json!({"claim_mapping": {name: "granted"}});
        let mut scene = Scene::of(jwt(provider, json!({"require": {"scopes": "admin"}})));
        scene.send(bearer(&token(json!({"granted": "admin"})))).allowed();
        for own in ["scope", "scp"] {
            scene.send(bearer(&token(json!({own: "admin", "granted": "x"})))).refused(403, "insufficient_scope");
            scene.send(bearer(&token(json!({own: "admin"})))).refused(403, "insufficient_scope");
        }
    }
}

// ---------------------------------------------------------------------------------------------- tenants

fn tenant(name: &str) -> String {
    format!("https://login.example/{name}/v2.0")
}

fn tenants(names: Value, top: Value) -> Scene {
    let provider = json!({"name": "login", "issuer": "https://login.example/{tenant}/v2.0", "tenants": names, "audiences": AUDIENCE});
    let mut scene = Scene::cold(with(json!({"providers": [provider, {"issuer": ISSUER, "audiences": AUDIENCE}]}), top));
    for name in ["one", "two", "three"] {
        scene
            .provider
            .add_issuer(&tenant(name), &[Key { kid: "k", ..key(if name == "one" { "t-one" } else { "t-two" }) }.jwk()]);
    }
    scene.tick();
    scene
}

fn of_tenant(name: &str, signer: &'static str) -> String {
    Key { kid: "k", ..key(signer) }.token(json!({"iss": tenant(name)}))
}

/// ISS-05: only the tenants of the list are trusted, each by its own keys, and nothing is fetched for those without
/// users.
#[test]
fn an_issuer_with_tenants() {
    let mut scene =
        tenants(json!(["one", "two"]), json!({"claim_headers": {"header": "x-from", "attribute": "provider"}}));
    let to_login =
        |scene: &Scene| scene.calls.iter().filter(|call| call.url.starts_with("https://login.example/")).count();
    assert_eq!(to_login(&scene), 0);
    let upstream = scene.send(bearer(&of_tenant("one", "t-one"))).allowed();
    assert_eq!((upstream.provider.as_deref(), upstream.header("x-from")), (Some("login"), Some("login")));
    assert_eq!(to_login(&scene), 2);
    scene.send(bearer(&of_tenant("two", "t-two"))).allowed();
    assert_eq!(to_login(&scene), 4);
    let facts: Vec<_> = scene.filter.key_facts(scene.now()).into_iter().map(|(name, (keys, _))| (name, keys)).collect();
    assert_eq!(facts, [("idp.example.com", 1), ("login", 2)], "one label, all keys");
    // Not the keys of another tenant, and no tenant but those of the list.
    scene.send(bearer(&of_tenant("one", "t-two"))).refused(401, "bad_signature");
    scene.send(bearer(&of_tenant("three", "t-two"))).refused(401, "unknown_issuer");
    for strange in ["", "{tenant}", "one/../two", "ONE", "one%2f", "common", "*"] {
        scene.send(bearer(&of_tenant(strange, "t-one"))).refused(401, "unknown_issuer");
    }
    scene.send(bearer(&good())).allowed();
    // Once wanted, keys are kept fresh like any others.
    scene.pass_seconds(700);
    assert!(to_login(&scene) >= 6, "{}", to_login(&scene));
}

/// ATK-17: Anybody can write the name of a tenant into a token. What is looked up for such tokens is bounded for all
/// tenants together, and belongs to nobody afterwards.
#[test]
fn made_up_tokens_fetch_for_few_tenants_and_refresh_for_none() {
    let names: Vec<String> = (0..500).map(|number| format!("t{number}")).collect();
    let provider = json!({"name": "login", "issuer": "https://login.example/{tenant}/v2.0", "tenants": names, "audiences": AUDIENCE});
    let mut scene = Scene::cold(json!({"providers": [provider]}));
    let forged: Vec<String> = names.iter().map(|name| of_tenant(name, "forger")).collect();
    names.iter().for_each(|name| scene.provider.add_issuer(&tenant(name), &[Key { kid: "k", ..key("t-one") }.jwk()]));
    scene.tick();
    let flood = |scene: &mut Scene| {
        for token in &forged {
            let refusal = match scene.send(bearer(token)) {
                Seen::Refused(refusal) => refusal,
                other => panic!("{other:?}"),
            };
            match refusal.status {
                401 => assert_eq!(refusal.reason, "bad_signature"),
                _ => assert!((1..=30).contains(&refusal.header("retry-after").unwrap().parse::<u64>().unwrap())),
            }
        }
    };
    flood(&mut scene);
    assert_eq!(scene.calls.len(), 4 * 2, "four tenants at once, metadata and keys");
    for _ in 0..4 {
        scene.pass_seconds(30);
        flood(&mut scene);
    }
    assert_eq!(scene.calls.len(), (4 + 4 * 4) * 2, "then four a second");
    // What was fetched for nobody ends with its time, and is not fetched anew.
    let calls = scene.calls.len();
    scene.pass_seconds(2 * 3600);
    assert_eq!(scene.calls.len(), calls);
    let by = |name: &str| {
        let key = Key { kid: "k", ..key("t-one") };
        bearer(&key.token(json!({"iss": tenant(name), "exp": NOW + 86_400})))
    };
    // Who has a good token gives the place back: a start with many tenants takes no time at all.
    for name in &names[..50] {
        scene.send(by(name)).allowed();
    }
    assert_eq!(scene.calls.len(), calls + 50 * 2);
    scene.pass_seconds(600);
    assert_eq!(scene.calls.len(), calls + 50 * 3, "and theirs are kept fresh");
    // The flood goes on, and troubles none of them.
    flood(&mut scene);
    names[..50].iter().for_each(|name| drop(scene.send(by(name)).allowed()));
}

/// ATK-17: whoever makes them up without a pause keeps no tenant's first good token out, and has the keys of others looked for
/// again as rarely as before.
#[test]
fn made_up_tokens_take_no_tenants_turn() {
    let names: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    let provider = json!({"name": "login", "issuer": "https://login.example/{tenant}/v2.0", "tenants": names, "audiences": AUDIENCE});
    let mut scene = Scene::cold(json!({"providers": [provider]}));
    names.iter().for_each(|name| scene.provider.add_issuer(&tenant(name), &[Key { kid: "k", ..key("t-one") }.jwk()]));
    scene.tick();
    let unknown = |name: &String| Key { kid: "unknown", ..key("forger") }.token(json!({"iss": tenant(name)}));
    let forged: Vec<String> = names[1..].iter().map(unknown).collect();
    let flood = |scene: &mut Scene| {
        for token in &forged {
            assert!(matches!(scene.send(bearer(token)), Seen::Refused(_)));
        }
    };
    let good = bearer(&of_tenant("t0", "t-one"));
    let comes_in = (0..60).position(|_| {
        scene.pass_seconds(1);
        flood(&mut scene);
        matches!(scene.send(good.clone()), Seen::Upstream(_))
    });
    assert!(comes_in.is_some_and(|seconds| seconds <= 30), "{comes_in:?}");
    let calls = |scene: &mut Scene, seconds| {
        for _ in 0..seconds {
            scene.pass_seconds(1);
            flood(scene);
        }
        scene.calls.len()
    };
    let before = calls(&mut scene, 30);
    let after = calls(&mut scene, 300);
    assert!((10..=14).contains(&(after - before)), "{}: one in a cooldown", after - before);
}

/// Nor do many who come at the same moment keep one another out: they are let in as others turn out to be good.
#[test]
fn a_start_with_many_tenants() {
    let names: Vec<String> = (0..20).map(|number| format!("t{number}")).collect();
    let provider = json!({"name": "login", "issuer": "https://login.example/{tenant}/v2.0", "tenants": names, "audiences": AUDIENCE});
    let mut scene = Scene::cold(json!({"providers": [provider]}));
    names.iter().for_each(|name| scene.provider.add_issuer(&tenant(name), &[Key { kid: "k", ..key("t-one") }.jwk()]));
    for round in 1..=5 {
        let streams: Vec<_> = names.iter().map(|name| scene.begin(bearer(&of_tenant(name, "t-one")))).collect();
        scene.settle();
        let allowed = streams.iter().filter(|stream| matches!(scene.seen(**stream), Seen::Upstream(_))).count();
        assert_eq!(allowed, 4 * round);
    }
    // What serves a proved token serves through an outage, though it was fetched for nobody in particular.
    for name in &names {
        scene.provider.serve(&format!("{}/jwks", tenant(name)), Answer::Refuses);
    }
    scene.pass_seconds(2 * 3600);
    let late = Key { kid: "k", ..key("t-one") }.token(json!({"iss": tenant("t0"), "exp": NOW + 86_400}));
    scene.send(bearer(&late)).allowed();
}

/// A template may be named by a rule and by a source: that means all its tenants.
#[test]
fn tenants_have_one_name() {
    let top = json!({
        "access_token": [{"key": "authorization"}, {"key": "x-login", "provider": "login"}],
        "rules": [{"match": {"path": "/login"}, "providers": "login"}, {"match": {"path": "/idp"}, "providers": ["idp.example.com"]}],
    });
    let mut scene = tenants(json!(["one", "two"]), top);
    for (name, signer) in [("one", "t-one"), ("two", "t-two")] {
        scene.send(get("/login").bearer(&of_tenant(name, signer))).allowed();
        scene.send(bare().header("x-login", of_tenant(name, signer))).allowed();
        scene.send(get("/idp").bearer(&of_tenant(name, signer))).refused(401, "unknown_issuer");
    }
    scene.send(bare().header("x-login", good())).refused(401, "unknown_issuer");
    scene.send(get("/login").bearer(&good())).refused(401, "unknown_issuer");
    scene.send(get("/idp").bearer(&good())).allowed();
    for (change, path) in [
        (json!({"tenants": null}), "providers[0].tenants"),
        (json!({"tenants": []}), "providers[0].tenants"),
        (json!({"tenants": ["a", "a"]}), "providers[0].tenants"),
        (json!({"tenants": ["a/b"]}), "providers[0].tenants"),
        (json!({"tenants": [".."]}), "providers[0].tenants"),
        (json!({"tenants": ["*"]}), "providers[0].tenants"),
        (json!({"issuer": "https://a/{x}/{y}"}), "providers[0].issuer"),
        (json!({"issuer": "https://a/{x"}), "providers[0].issuer"),
        (json!({"issuer": "https://a"}), "providers[0].tenants"),
    ] {
        let config =
            jwt(with(json!({"issuer": "https://login.example/{tenant}", "tenants": ["a", "b"]}), change), json!({}));
        let error = oidc_filter::config::Config::read(config.to_string().as_bytes(), &|_: &str| None).expect_err(path);
        assert!(error.to_string().starts_with(&format!("{path}: ")), "{error}");
    }
}

/// A tenant whose name is its host is not named by another provider: a rule for the one would trust the other.
#[test]
fn a_tenant_s_name_is_nobody_else_s() {
    let tenants = json!({"issuer": "https://{t}.example", "tenants": ["one", "two"], "audiences": AUDIENCE});
    let other = json!({"issuer": "https://two.example/other", "audiences": AUDIENCE});
    for order in [[&tenants, &other], [&other, &tenants]] {
        let config = json!({"providers": order});
        let error =
            oidc_filter::config::Config::read(config.to_string().as_bytes(), &|_: &str| None).expect_err("name");
        assert!(error.to_string().starts_with("providers[1].name: "), "{error}");
    }
}

// ---------------------------------------------------------------------------------------------- who gets opaque tokens

/// INT-10: an opaque token is shown to one provider: the one it was made for.
#[test]
fn opaque_tokens_by_prefix_source_and_rule() {
    let asked = |prefix: Value| json!({"validation": "introspection", "token_prefixes": prefix});
    let mut scene = providers(asked(json!(["a_", "ab_"])), asked(json!("b_")), json!({}));
    for token in ["a_1", "ab_1", "b_1", "c_1"] {
        scene.provider.tokens.insert(token.to_owned(), json!({"active": true, "aud": AUDIENCE, "sub": "ann"}));
    }
    let counts = |scene: &Scene| {
        let to = |issuer: &str| scene.calls.iter().filter(|call| call.url == format!("{issuer}/introspect")).count();
        (to(ISSUER), to(OTHER))
    };
    scene.send(bearer("a_1")).allowed();
    scene.send(bearer("ab_1")).allowed();
    scene.send(bearer("b_1")).allowed();
    assert_eq!(counts(&scene), (2, 1));
    for nobodys in ["c_1", "A_1", "xa_1", "a"] {
        scene.send(bearer(nobodys)).refused(401, "unknown_issuer");
    }
    assert_eq!(counts(&scene), (2, 1));

    // A provider without prefixes takes what no other one does.
    let mut scene = providers(asked(json!("a_")), json!({"validation": "introspection"}), json!({}));
    for token in ["a_1", "c_1"] {
        scene.provider.tokens.insert(token.to_owned(), json!({"active": true, "aud": AUDIENCE, "sub": "ann"}));
        scene.send(bearer(token)).allowed();
    }
    assert_eq!(counts(&scene), (1, 1));

    // A rule says which, and what it doesn't trust isn't asked, prefix or not.
    let rules = json!({"rules": [{"match": {"path": "/a"}, "providers": "idp.example.com"}, {"match": {"path": "/b"}, "providers": "other.example"}]});
    let mut scene =
        providers(json!({"validation": "introspection"}), json!({"validation": "introspection"}), rules.clone());
    scene.provider.tokens.insert("opaque".to_owned(), json!({"active": true, "aud": AUDIENCE, "sub": "ann"}));
    scene.send(get("/a").bearer("opaque")).allowed();
    scene.send(get("/b").bearer("opaque")).allowed();
    scene.send(get("/c").bearer("opaque")).refused(401, "unknown_issuer");
    assert_eq!(counts(&scene), (1, 1));
    let mut scene = providers(asked(json!("a_")), json!({"validation": "introspection"}), rules);
    scene.provider.tokens.insert("a_1".to_owned(), json!({"active": true, "aud": AUDIENCE, "sub": "ann"}));
    scene.send(get("/b").bearer("a_1")).refused(401, "unknown_issuer");
    scene.send(get("/a").bearer("a_1")).allowed();
    // Known at one provider is not known under a rule that doesn't trust it.
    scene.send(get("/b").bearer("a_1")).refused(401, "unknown_issuer");
    assert_eq!(counts(&scene), (1, 0));
}

/// INT-10: two providers whose tokens begin alike: neither is shown the other's.
#[test]
fn tokens_that_begin_alike() {
    let asked = || json!({"validation": "introspection", "token_prefixes": ["a_", "ab_"]});
    let rules = json!({"rules": [{"match": {"path": "/a"}, "providers": "idp.example.com"}]});
    let mut scene = providers(asked(), asked(), rules);
    for token in ["a_1", "ab_1"] {
        scene.provider.tokens.insert(token.to_owned(), json!({"active": true, "aud": AUDIENCE, "sub": "ann"}));
        scene.send(bearer(token)).refused(401, "unknown_issuer");
        scene.send(get("/a").bearer(token)).allowed();
    }
    assert_eq!(scene.calls.iter().filter(|call| call.url.ends_with("/introspect")).count(), 2);

    let tenant = json!({"name": "login", "issuer": "https://login.example/{t}", "tenants": ["one", "two"], "audiences": AUDIENCE,
        "validation": "introspection", "token_prefixes": "t_"});
    let mut scene = Scene::cold(json!({"providers": tenant}));
    for name in ["one", "two"] {
        scene.provider.add_issuer(&format!("https://login.example/{name}"), &[]);
    }
    scene.send(bearer("t_1")).refused(401, "unknown_issuer");
    assert!(scene.calls.is_empty(), "{:?}", scene.calls);
}

/// MV-50: a rule that trusts one provider doesn't trust a token of the other, known or not.
#[test]
fn providers_of_a_rule() {
    let rules = json!({"rules": [{"match": {"path": "/ours"}, "providers": ["idp.example.com"]}]});
    let mut scene = providers(json!({}), json!({"name": "partner"}), rules);
    for _ in 0..2 {
        scene.send(get("/ours").bearer(&good())).allowed();
        scene.send(get("/ours").bearer(&theirs(json!({})))).refused(401, "unknown_issuer");
        scene.send(get("/all").bearer(&theirs(json!({})))).allowed();
    }
}

/// A token that Kubernetes made for a service account: no `typ`, nested claims with dots in their names.
#[test]
fn a_service_account_of_kubernetes() {
    let cluster = "https://kubernetes.default.svc.cluster.local";
    let provider = json!({
        "name": "kubernetes", "issuer": cluster, "audiences": ["https://api.example.com"], "validation": "jwt",
        "jwks": {"uri": "https://kubernetes.default.svc/openid/v1/jwks"}, "clusters": {"kubernetes.default.svc": "kubernetes"},
        "claim_mapping": {"namespace": {"path": ["kubernetes.io", "namespace"]}, "service_account": {"path": ["kubernetes.io", "serviceaccount", "name"]}},
    });
    let top = json!({
        "providers": [provider],
        "claim_headers": [{"header": "x-namespace", "claim": "namespace"}, {"header": "x-account", "claim": "service_account"}],
        "require": {"claims": {"claim": "namespace", "any_of": ["build"]}},
    });
    let mut scene = Scene::cold(top);
    scene
        .provider
        .serve("https://kubernetes.default.svc/openid/v1/jwks", says_json(json!({"keys": [key("k8s").jwk()]})));
    scene.tick();
    let account = |namespace: &str| {
        key("k8s").token_with(json!({"typ": null}), json!({
            "iss": cluster, "aud": ["https://api.example.com"], "sub": format!("system:serviceaccount:{namespace}:runner"), "nbf": NOW - 60,
            "client_id": null, "scope": null,
            "kubernetes.io": {"namespace": namespace, "pod": {"name": "runner-1", "uid": "u1"}, "serviceaccount": {"name": "runner", "uid": "u2"}, "warnafter": NOW + 3000},
        }))
    };
    let upstream = scene.send(bearer(&account("build"))).allowed();
    assert_eq!((upstream.header("x-namespace"), upstream.header("x-account")), (Some("build"), Some("runner")));
    scene.send(bearer(&account("other"))).refused(403, "insufficient_claims");
    assert_eq!(scene.the_call_to("/jwks").cluster, "kubernetes");
}

/// Whoever has a scope has those that it stands for, and those that these stand for.
#[test]
fn implied_scopes() {
    let implied = json!({"admin": ["write"], "write": "read", "loop": ["pool"], "pool": ["loop", "read"]});
    let mut scene = Scene::of(jwt(
        json!({}),
        json!({"implied_scopes": implied, "require": {"scopes": ["read"], "scopes_any": ["write", "loop"]}}),
    ));
    for (scope, missing) in [
        ("admin", ""),
        ("write", ""),
        ("loop", ""),
        ("pool", ""),
        ("read write", ""),
        ("read", "write loop"),
        ("admi", "read write loop"),
        ("", "read write loop"),
    ] {
        let seen = scene.send(bearer(&token(json!({"scope": scope}))));
        match missing {
            "" => drop(seen.allowed()),
            missing => assert_eq!(seen.refused(403, "insufficient_scope").challenge().unwrap()["scope"], missing),
        }
    }
    for wrong in
        [json!({"a b": "c"}), json!({"a": []}), json!({"a": "b c"}), json!({"a": 1}), json!(["a"]), json!({"": "a"})]
    {
        let config = jwt(json!({}), json!({"implied_scopes": wrong}));
        let error =
            oidc_filter::config::Config::read(config.to_string().as_bytes(), &|_: &str| None).expect_err("implied");
        assert!(error.to_string().starts_with("implied_scopes"), "{error}");
    }
}
