//! Configurations: one that is taken makes a filter that lets nobody in without a token, and nobody's identity through.

use super::lines;
use crate::scene::{Scene, Seen, compact, get, jwt, key};
use oidc_filter::config::Config;
use oidc_filter::json;
use oidc_filter::protobuf;
use serde_json::json;
use std::rc::Rc;

pub fn run(octets: &[u8]) {
    let environment = |name: &str| (name == "SECRET").then(|| "s3cr3t".to_owned());
    let config = match Config::read(octets, &environment) {
        Ok(config) => Rc::new(config),
        Err(error) => {
            let text = error.to_string();
            assert!(!text.is_empty() && !text.contains("s3cr3t"), "{text}");
            return;
        }
    };
    assert!(!config.providers.is_empty() && !config.sources.is_empty());
    assert!(!format!("{config:?}").contains("s3cr3t"), "a secret is printed");
    let may_pass = config.policies().any(|policy| policy.bypass || policy.allow_missing || !policy.enforce);
    let mut scene = Scene::with(config);
    // The scene checks that no header of the filter's own reaches the upstream.
    let forged = ["x-user", "identity", "x-oidc-metadata-who"].iter();
    let ask = forged.fold(get("/p?who=forged"), |ask, name| ask.header(name, "forged")).header("cookie", "who=forged");
    for ask in [ask.clone(), ask.bearer("worthless")] {
        match scene.send(ask) {
            Seen::Upstream(upstream) => assert!(may_pass && upstream.result != "allowed", "{upstream:?}"),
            Seen::Confirmed(confirmation) => assert!(may_pass && confirmation.result != "allowed", "{confirmation:?}"),
            Seen::Refused(_) | Seen::Waiting => {}
        }
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let full = jwt(
        json!({
            "name": "idp", "cluster": "idp", "clusters": {"keys.example.com": "keys"}, "algorithms": ["EdDSA", "RS256"],
            "clock_skew": "1m30s", "require_expiration": false, "max_lifetime": 3600, "token_type": "at+jwt",
            "timeout": "500ms", "validation": "auto",
            "jwks": {"uri": "https://keys.example.com/k", "inline": {"keys": [key("k1").jwk()]}, "cache": "10m"},
            "introspection": {
                "endpoint": ["https://idp.example.com/a", "https://idp.example.com/b?c"], "method": "GET",
                "client_id": "c", "client_secret": "${SECRET}", "client_auth": "post", "cache": 0,
            },
            "userinfo": {"endpoint": "https://idp.example.com/u", "cache": "1s"},
        }),
        json!({
            "access_token": [{"location": "cookie", "key": "t"}, {"location": "metadata", "key": "t", "metadata_filter": "n"}],
            "enforce": false, "allow_preflight": true, "forward": false, "realm": "r", "response_body": "problem",
            "require": {"scopes": "a", "scopes_any": ["b"], "groups_allowlist": ["*"],
                "claims": {"path": "a.b", "any_of": ["c"], "none_of": "d", "matches": "[a-z]+"}},
            "user_info": {"location": "cookie", "key": "who", "cookie_options": {"max_age": "-1s", "same_site": "Strict"}},
            "claim_headers": {"header": "x-user", "claim": "sub", "transformers": {"matches": "(.)@.*", "replaces": "$1"}},
        }),
    );
    let struct_form = json::parse_object(full.to_string().as_bytes()).unwrap();
    let mut seeds = vec![full.to_string().into_bytes(), protobuf::write_struct(&struct_form)];
    seeds.push(
        compact(json!({"enforce": true, "userInfo": {"location": 0, "key": "Identity"}})).to_string().into_bytes(),
    );
    seeds.push(jwt(json!({}), json!({"allow_missing": true, "enforceResponseCode": 403})).to_string().into_bytes());
    seeds.push(jwt(json!({}), json!({"rules": [
        {"match": {"path": ["/healthz"]}, "bypass": true},
        {"match": {"path_prefix": "/admin", "hosts": "*.example.com"}, "require": {"scopes": "admin"}, "name": "a"},
        {"match": {"path_pattern": "/v[0-9]+", "methods": ["GET"], "route_name": "r", "headers": {"x-a": "b"}},
            "audiences": "other", "user_info": [], "shadow": {"require": {"scopes_any": ["b"]}}},
    ]})).to_string().into_bytes());
    seeds.extend(lines(&[
        r#"{"providers":[],"provider":null,"x":"${NOBODY}"}"#,
        r#"{"provider":"https://\u00fcX.example"}"#,
        r#"{"provider":"https://%C3%BCX.example"}"#,
        r#"{"provider":"https:///%C3%BCX.example"}"#,
    ]));
    seeds
}
