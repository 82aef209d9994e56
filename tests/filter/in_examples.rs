//! `examples/providers`: one configuration for each provider, tried with a token of the shape that its documentation shows:
//! `docs/provider-examples.md` says where.

use crate::scene::*;
use oidc_filter::config::Config;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// A provider's example: where its keys are, what its tokens look like, what the service gets, and what is refused.
struct Example {
    name: &'static str,
    keys: &'static str,
    typ: Value,
    /// Changes to the claims of `good_claims`; `null` takes one out.
    claims: Value,
    written: (&'static str, &'static str),
    /// Changes that make it a token of somebody else, and what is said of each.
    others: Vec<(Value, u16, &'static str)>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/providers")
}

fn examples() -> Vec<Example> {
    let example = |name, keys, typ, claims, written, others| Example { name, keys, typ, claims, written, others };
    vec![
        example(
            "keycloak",
            "https://login.example.com/realms/shop/protocol/openid-connect/certs",
            json!("JWT"),
            json!({
                "typ": "Bearer", "aud": ["account", "shop-api"], "azp": "web", "sid": "s", "preferred_username": "ann",
                "realm_access": {"roles": ["offline_access", "shop-admin"]}, "client_id": null, "email_verified": true
            }),
            ("x-user", "ann"),
            vec![
                (json!({"realm_access": {"roles": ["shopper"]}}), 403, "insufficient_claims"),
                (json!({"realm_access": null}), 403, "insufficient_claims"),
                (json!({"aud": "account"}), 401, "wrong_audience"),
                (json!({"typ": "ID"}), 401, "wrong_type"),
                (json!({"typ": "Refresh"}), 401, "wrong_type"),
            ],
        ),
        example(
            "entra-id",
            "https://login.microsoftonline.com/72f988bf-86f1-41af-91ab-2d7cd011db47/discovery/v2.0/keys",
            json!("JWT"),
            json!({
                "aud": "11111111-2222-3333-4444-555555555555", "ver": "2.0", "tid": "72f988bf-86f1-41af-91ab-2d7cd011db47",
                "oid": "0c5a", "scope": null, "scp": "access_as_user profile", "nbf": NOW - 60, "azp": "x", "azpacr": "0"
            }),
            ("x-user", "0c5a"),
            vec![
                (json!({"scp": "profile"}), 403, "insufficient_scope"),
                (json!({"aud": "00000003-0000-0000-c000-000000000000"}), 401, "wrong_audience"),
                (json!({"iss": "https://login.microsoftonline.com/another/v2.0"}), 401, "unknown_issuer"),
            ],
        ),
        example(
            "okta",
            "https://example.okta.com/oauth2/default/v1/keys",
            json!(null),
            json!({"aud": "api://default", "scope": null, "scp": ["openid", "things:read"], "ver": 1, "cid": "c", "uid": "00u1"}),
            ("x-user", "00u1"),
            vec![
                (json!({"scp": ["openid"]}), 403, "insufficient_scope"),
                (json!({"aud": "https://example.okta.com"}), 401, "wrong_audience"),
            ],
        ),
        example(
            "auth0",
            "https://example.eu.auth0.com/.well-known/jwks.json",
            json!("JWT"),
            json!({
                "aud": ["https://api.example.com", "https://example.eu.auth0.com/userinfo"], "azp": "x", "gty": "password",
                "sub": "auth0|123", "permissions": ["read:things", "write:things"]
            }),
            ("x-user", "auth0|123"),
            vec![
                (json!({"permissions": ["write:things"]}), 403, "insufficient_claims"),
                (json!({"aud": "https://example.eu.auth0.com/userinfo"}), 401, "wrong_audience"),
                (json!({"iss": "https://example.eu.auth0.com"}), 401, "unknown_issuer"),
            ],
        ),
        example(
            "google",
            "https://www.googleapis.com/oauth2/v3/certs",
            json!("JWT"),
            json!({
                "aud": "1234-abc.apps.googleusercontent.com", "azp": "x", "scope": null, "hd": "example.com",
                "email": "ann@example.com", "email_verified": true, "at_hash": "x"
            }),
            ("x-email", "ann@example.com"),
            vec![
                (json!({"hd": null}), 403, "insufficient_claims"),
                (json!({"email_verified": false}), 403, "insufficient_claims"),
                (json!({"aud": "9999-xyz.apps.googleusercontent.com"}), 401, "wrong_audience"),
            ],
        ),
        example(
            "cognito",
            "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_a1B2c3D4/.well-known/jwks.json",
            json!(null),
            json!({
                "aud": null, "token_use": "access", "client_id": "3n4b5urk1ft4fl3mg5e62d9ado", "version": 2,
                "cognito:groups": ["staff"], "username": "ann", "origin_jti": "x", "event_id": "y"
            }),
            ("x-user", "ann"),
            vec![
                (json!({"token_use": "id"}), 403, "insufficient_claims"),
                (json!({"client_id": "another"}), 403, "insufficient_claims"),
                (json!({"cognito:groups": null}), 403, "insufficient_claims"),
            ],
        ),
        example(
            "dex",
            "https://dex.example.com/dex/keys",
            json!(null),
            json!({
                "aud": "shop", "scope": null, "email": "ann@example.com", "email_verified": true, "groups": ["acme:staff", "acme:x"],
                "federated_claims": {"connector_id": "github", "user_id": "1"}, "at_hash": "x"
            }),
            ("x-groups", "acme:staff,acme:x"),
            vec![
                (json!({"groups": ["acme:x"]}), 403, "insufficient_claims"),
                (json!({"groups": null}), 403, "insufficient_claims"),
                (json!({"aud": "another"}), 401, "wrong_audience"),
            ],
        ),
        example(
            "zitadel",
            "https://shop.zitadel.cloud/oauth/v2/keys",
            json!("JWT"),
            json!({
                "aud": ["269178215617069060", "1"], "scope": null, "nbf": NOW - 60, "sub": "165505",
                "urn:zitadel:iam:org:project:roles": {"shop-admin": {"269178215617069058": "shop.zitadel.cloud"}}
            }),
            ("x-user", "165505"),
            vec![
                (
                    json!({"urn:zitadel:iam:org:project:roles": {"reader": {"269178215617069058": "shop.zitadel.cloud"}}}),
                    403,
                    "insufficient_claims",
                ),
                (
                    json!({"urn:zitadel:iam:org:project:roles": {"shop-admin": {"1": "evil.zitadel.cloud"}}}),
                    403,
                    "insufficient_claims",
                ),
                (json!({"aud": ["1"]}), 401, "wrong_audience"),
            ],
        ),
        example(
            "supabase",
            "https://abcdefghijklmnop.supabase.co/auth/v1/.well-known/jwks.json",
            json!("JWT"),
            json!({
                "aud": "authenticated", "scope": null, "role": "authenticated", "aal": "aal1", "session_id": "s", "is_anonymous": false,
                "email": "", "phone": "", "app_metadata": {"provider": "email"}, "user_metadata": {}, "amr": [{"method": "password"}]
            }),
            ("x-user", "ann"),
            vec![
                (json!({"role": "service_role"}), 403, "insufficient_claims"),
                (json!({"is_anonymous": true}), 403, "insufficient_claims"),
            ],
        ),
        example(
            "github-actions",
            "https://token.actions.githubusercontent.com/.well-known/jwks",
            json!("JWT"),
            json!({
                "aud": "https://deploy.example.com", "scope": null, "sub": "repo:acme@123456/shop@456789:ref:refs/heads/main", "repository": "acme/shop",
                "ref": "refs/heads/main", "event_name": "push", "repository_id": "456789", "job_workflow_ref": "x", "run_id": "1", "nbf": NOW - 60
            }),
            ("x-repository", "acme/shop"),
            vec![
                (json!({"repository": "evil/shop"}), 403, "insufficient_claims"),
                (json!({"repository": "acme/shop2"}), 403, "insufficient_claims"),
                // Somebody else's, under a name that was given up.
                (json!({"repository_id": "999"}), 403, "insufficient_claims"),
                (json!({"ref": "refs/heads/feature"}), 403, "insufficient_claims"),
                (json!({"event_name": "pull_request_target"}), 403, "insufficient_claims"),
                (json!({"aud": "https://github.com/acme"}), 401, "wrong_audience"),
            ],
        ),
        example(
            "gitlab",
            "https://gitlab.com/oauth/discovery/keys",
            json!("JWT"),
            json!({
                "aud": "https://deploy.example.com", "scope": null, "sub": "project_path:acme/shop:ref_type:branch:ref:main",
                "project_path": "acme/shop", "ref": "main", "ref_type": "branch", "ref_protected": "true", "project_id": "1", "nbf": NOW - 5
            }),
            ("x-project", "acme/shop"),
            vec![
                (json!({"project_path": "evil/shop"}), 403, "insufficient_claims"),
                (json!({"ref_protected": "false"}), 403, "insufficient_claims"),
                (json!({"aud": "https://gitlab.com"}), 401, "wrong_audience"),
            ],
        ),
        example(
            "kubernetes",
            "https://kubernetes.default.svc/openid/v1/jwks",
            json!(null),
            json!({
                "scope": null, "sub": "system:serviceaccount:build:robot", "aud": [AUDIENCE], "nbf": NOW - 60,
                "kubernetes.io": {"namespace": "build", "serviceaccount": {"name": "robot", "uid": "u"}, "pod": {"name": "p", "uid": "u"}}
            }),
            ("x-service-account", "robot"),
            vec![
                (
                    json!({"kubernetes.io": {"namespace": "default", "serviceaccount": {"name": "robot"}}}),
                    403,
                    "insufficient_claims",
                ),
                (json!({"aud": ["https://kubernetes.default.svc"]}), 401, "wrong_audience"),
                (json!({"exp": null}), 401, "invalid_claims"),
            ],
        ),
    ]
}

#[test]
fn tokens_of_each_provider_are_judged_as_its_page_says() {
    for Example { name, keys, typ, claims, written, others } in examples() {
        let text = std::fs::read_to_string(folder().join(format!("{name}.json"))).unwrap();
        let config = Config::read(text.as_bytes(), &|_: &str| None).unwrap_or_else(|error| panic!("{name}: {error}"));
        let issuer = config.providers[0].issuer.clone();
        let mut scene = Scene::with(Rc::new(config));
        let base = issuer.trim_end_matches('/');
        let document = json!({"issuer": issuer, "jwks_uri": keys});
        scene.provider.serve(&format!("{base}/.well-known/openid-configuration"), says_json(document));
        scene.provider.serve(keys, says_json(json!({"keys": [key("k1").jwk()]})));
        scene.tick();
        let token = |change: &Value| {
            // A `null` stays here: it takes one of `good_claims` out.
            let mut all = claims.clone();
            all["iss"] = json!(issuer);
            for (name, value) in change.as_object().unwrap() {
                all[name] = value.clone();
            }
            key("k1").token_with(json!({"typ": typ}), all)
        };
        let (header, value) = written;
        let upstream = scene.send(get("/api/things").bearer(&token(&json!({}))).header(header, "forged")).allowed();
        assert_eq!(upstream.header(header), Some(value), "{name}");
        for (change, status, reason) in others {
            let seen = scene.send(get("/api/things").bearer(&token(&change)));
            let refused = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| seen.refused(status, reason)));
            assert!(refused.is_ok(), "{name}: {change}");
        }
        scene.send(get("/api/things")).refused(401, "missing_token");
    }
}

#[test]
fn each_example_is_tried_and_on_the_page() {
    let page = include_str!("../../docs/provider-examples.md");
    let files = std::fs::read_dir(folder()).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let files: BTreeSet<String> = files.collect();
    let tried: BTreeSet<String> = examples().iter().map(|example| format!("{}.json", example.name)).collect();
    assert_eq!(files, tried);
    assert_eq!(files.len(), 12);
    for file in files {
        let row = page.lines().find(|row| row.contains(&format!("(../examples/providers/{file})")));
        assert!(row.is_some_and(|row| row.contains("](https://")), "{file}: on the page, with a source");
    }
}
