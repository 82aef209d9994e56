//! Configurations: one that is taken makes a filter that lets nobody in without a token, and nobody's identity through.

use super::lines;
use crate::scene::{Scene, Seen, compact, get, jwt, key};
use crate::support::Signing;
use oidc_filter::config::Config;
use oidc_filter::json;
use oidc_filter::protobuf;
use serde_json::{Value, json};
use std::rc::Rc;

/// The client's secret.
const SECRET: &str = "s3cr3t";

pub fn run(octets: &[u8]) {
    let environment = |name: &str| (name == "SECRET").then(|| SECRET.to_owned());
    let is_told = |text: &str| text.contains(SECRET) && is_kept(octets);
    let config = match Config::read(octets, &environment) {
        Ok(config) => Rc::new(config),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !is_told(&text), "{text}");
            return;
        }
    };
    assert!(!config.providers.is_empty() && !config.sources.is_empty());
    assert!(!is_told(&format!("{config:?}")), "a secret is printed");
    let may_pass = config.policies().any(|policy| policy.bypass || policy.allow_missing || !policy.enforce);
    let mut scene = Scene::with(config);
    // The scene checks that no header of the filter's own reaches the upstream.
    let forged = ["x-user", "identity", "x-oidc-metadata-who"].iter();
    let ask = forged.fold(get("/p?who=forged"), |ask, name| ask.header(name, "forged")).header("cookie", "who=forged");
    for ask in [ask.clone(), ask.bearer("worthless")] {
        match scene.send(ask) {
            Seen::Upstream(upstream) => assert!(may_pass && upstream.result != "allowed", "{upstream:?}"),
            Seen::Confirmed(confirmation) => assert!(may_pass && confirmation.result != "allowed", "{confirmation:?}"),
            Seen::Refused(_) | Seen::Waiting | Seen::Document(..) => {}
            Seen::Preflight(headers, _) => unreachable!("{headers:?}"),
        }
    }
}

/// Whether the secret stands nowhere but where secrets do. Anywhere else it is a word as any other, and may be printed.
fn is_kept(octets: &[u8]) -> bool {
    let read = json::parse_object(octets).ok().or_else(|| protobuf::read_struct(octets));
    let Some(mut top) = read.map(Value::Object) else { return false };
    for provider in top["providers"].as_array_mut().into_iter().flatten() {
        if let Some(client) = provider.get_mut("introspection").and_then(Value::as_object_mut) {
            client.remove("client_secret");
        }
    }
    let rest = top.to_string();
    !rest.contains("SECRET") && !rest.contains(SECRET)
}

pub fn seeds() -> Vec<Vec<u8>> {
    let taken = [
        full(),
        rest(),
        compact(json!({"enforce": true, "userInfo": {"location": 0, "key": "Identity"}})),
        jwt(json!({}), json!({"allow_missing": true, "enforceResponseCode": 403})),
        rules(),
        jwt(
            json!({"algorithms": "HS256", "jwks": {"inline": {"keys": [Signing::Hmac(vec![7; 64]).jwk("h")]}}}),
            json!({}),
        ),
    ];
    // One that is refused by mistake leads nowhere.
    let checked = |config: &Value| {
        let text = config.to_string();
        let refused = Config::read(text.as_bytes(), &|_: &str| Some(SECRET.to_owned())).err();
        assert!(refused.is_none(), "{refused:?}: {text}");
        text.into_bytes()
    };
    let mut seeds: Vec<_> = taken.iter().map(checked).collect();
    seeds.extend(taken[..2].iter().map(|config| protobuf::write_struct(config.as_object().unwrap())));
    seeds.extend(lines(&[
        r#"{"providers":[],"provider":null,"x":"${NOBODY}"}"#,
        r#"{"provider":"https://\u00fcX.example"}"#,
        r#"{"provider":"https://%C3%BCX.example"}"#,
        r#"{"provider":"https:///%C3%BCX.example"}"#,
    ]));
    seeds
}

/// What one provider and the top level may say, and then what else they may.
fn full() -> Value {
    jwt(
        json!({
            "name": "idp", "cluster": "idp", "clusters": {"keys.example.com": "keys"}, "algorithms": ["EdDSA", "RS256"],
            "clock_skew": "1m30s", "require_expiration": false, "max_lifetime": 3600, "token_type": "at+jwt",
            "timeout": "500ms", "validation": "auto",
            "jwks": {"uri": "https://keys.example.com/k", "inline": {"keys": [key("k1").jwk()]},
                "cache": "10m", "max_stale": "1d", "cooldown": "5s"},
            "introspection": {
                "endpoint": ["https://idp.example.com/a", "https://idp.example.com/b?c"], "method": "GET",
                "client_id": "c", "client_secret": "${SECRET}", "client_auth": "basic", "cache": 0,
            },
            "userinfo": {"endpoint": "https://idp.example.com/u", "cache": "1s"},
        }),
        json!({
            "access_token": [{"location": "cookie", "key": "t"}, {"location": "metadata", "key": "t", "metadata_filter": "n"}],
            "cors": {"allow_origins": ["https://a.example", "https://*.b.example:8443"], "allow_headers": "*", "allow_methods": "PUT",
                "expose_headers": ["x-a"], "max_age": "1h", "allow_credentials": false},
            "enforce": false, "allow_preflight": true, "forward": false, "realm": "r", "response_body": "problem",
            "require": {"scopes": "a", "scopes_any": ["b"], "groups_allowlist": ["*"],
                "claims": {"path": "a.b", "any_of": ["c"], "none_of": "d", "matches": "[a-z]+"}},
            "user_info": {"location": "cookie", "key": "who", "cookie_options": {"max_age": "-1s", "same_site": "Strict"}},
            "claim_headers": {"header": "x-user", "claim": "sub", "transformers": {"matches": "(.)@.*", "replaces": "$1"}},
        }),
    )
}

fn rest() -> Value {
    let private = json!({"kty": "EC", "crv": "P-256", "d": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc"});
    jwt(
        json!({
            "name": "idp", "issuer": "https://idp.example.com/{tenant}", "tenants": ["a", "b"], "validation": "introspection",
            "introspection": {"client_id": "c", "client_auth": "private_key_jwt", "client_key": private,
                "param_name": "t", "negative_cache": "5s"},
            "failover": {"unhealthy_threshold": 3, "healthy_threshold": 1, "interval": "10s"},
            "claim_mapping": {"sub": "uid", "groups": {"path": "realm_access.roles", "claims": ["g"]}},
            "token_prefixes": ["x_"],
        }),
        json!({
            "access_token": [{"key": "x-token", "scheme": ""}, {"location": "query_string", "key": "t", "provider": "idp"}],
            "verify_path": "/verify",
            "verify_request": {"method_header": "x-method", "uri_header": "x-uri", "host_header": "x-host"},
            "implied_scopes": {"a": ["b"], "b": "c"},
            "external_authorization": {"uri": "https://authz.example.com/x", "cluster": "authz", "timeout": "1s",
                "cache": "1m", "user": ["email", "sub"], "groups": {"path": "a.b"}},
            "shadow": {"providers": "idp", "audiences": "other", "require": {"claims": [{"claim": "a", "all_of": ["b"]}]}},
            "user_info": [{"location": "metadata", "key": "who", "metadata_namespace": "n"},
                {"location": "cookie", "key": "c", "cookie_options": {"path": "/", "domain": "example.com",
                    "http_only": false, "secure": true, "same_site": "none", "max_age": "1h"}}],
            "claim_headers": [
                {"header": "x-a", "attribute": "provider"}, {"header": "x-b", "attribute": "location"},
                {"header": "x-c", "path": ["a", "b"], "required": true}, {"header": "x-d", "claim": "d", "default": "-"},
            ],
        }),
    )
}

fn rules() -> Value {
    jwt(
        json!({}),
        json!({"rules": [
            {"match": {"path": ["/healthz"]}, "bypass": true},
            {"match": {"path_prefix": "/admin", "hosts": "*.example.com"}, "require": {"scopes": "admin"}, "name": "a"},
            {"match": {"path_pattern": "/v[0-9]+", "methods": ["GET"], "route_name": "r", "headers": {"x-a": "b"}},
                "audiences": "other", "user_info": [], "shadow": {"require": {"scopes_any": ["b"]}}},
            {"match": {"headers": [{"name": "x-b", "prefix": "c"}, {"name": "x-c", "pattern": "d+"}]}, "response_body": "text"},
            {"match": {"headers": {"x-d": {"present": true}, "x-e": {"exact": "f"}}}, "response_body": "jsonrpc"},
            {"name": "named", "response_body": "none"},
        ]}),
    )
}
