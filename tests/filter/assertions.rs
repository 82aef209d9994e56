//! Signed identities: what the service gets, in whatever way the client proved who it is; and what an operator may write.

use crate::listener::heard;
use crate::scene::*;
use crate::support::with;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
use oidc_filter::config::Config;
use oidc_filter::filter::Filter;
use oidc_filter::jose::verifier::Backend;
use serde_json::{Value, json};
use std::rc::Rc;
use std::time::Duration;

/// RFC 7515, appendix A.3.1; RFC 8037, appendix A.1.
const P256_D: &str = "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI";
const P256_X: &str = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
const P256_Y: &str = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
const ED25519_D: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
const ED25519_X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
const SHARED: &str = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";

fn p256(change: Value) -> Value {
    with(json!({"kty": "EC", "crv": "P-256", "d": P256_D, "kid": "p256"}), change)
}

fn ed25519(change: Value) -> Value {
    with(json!({"kty": "OKP", "crv": "Ed25519", "d": ED25519_D, "kid": "ed"}), change)
}

fn rsa(change: Value) -> Value {
    let key: Value = serde_json::from_str(include_str!("../keys/rsa.jwk.json")).unwrap();
    with(key, change)
}

/// An assertion for the service `orders`, with these changes.
fn assertion(change: Value) -> Value {
    with(
        json!({"issuer": "https://edge.example.com", "audience": "https://orders.internal", "keys": ed25519(json!({}))}),
        change,
    )
}

fn configuration(assertions: Value, top: Value) -> Value {
    jwt(json!({}), with(json!({"assertion": assertions}), top))
}

fn read(configuration: &Value) -> Result<Config, String> {
    let environment = |name: &str| match name {
        "KEY" => Some(p256(json!({})).to_string()),
        "NOT_JSON" => Some(format!("{{\"d\":\"{P256_D}\"")),
        "NOT_A_KEY" => Some(format!("[\"{P256_D}\"]")),
        "D" => Some(P256_D.to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    };
    Config::read(configuration.to_string().as_bytes(), &environment).map_err(|error| error.to_string())
}

#[track_caller]
fn refuses(configuration: &Value, path: &str, word: &str) {
    match read(configuration) {
        Ok(_) => panic!("accepted, {path} expected: {configuration}"),
        Err(error) => {
            assert!(
                error.starts_with(&format!("{path}: ")) && error.contains(word),
                "{path}, {word} expected: {error}"
            );
            for secret in [P256_D, ED25519_D, SHARED] {
                assert!(!error.contains(secret), "{error}");
            }
        }
    }
}

#[track_caller]
fn accepts(configuration: &Value) -> Config {
    read(configuration).unwrap_or_else(|error| panic!("{error}: {configuration}"))
}

// ---------------------------------------------------------------------------------------------- what may be written

#[test]
fn which_keys_sign() {
    let keys = |keys: Value| configuration(assertion(json!({"keys": keys})), json!({}));
    let public = json!({"kty": "EC", "crv": "P-256", "x": P256_X, "y": P256_Y});
    let octets = |count: usize| BASE64URL.encode(vec![7; count]);
    for good in [
        p256(json!({})),
        p256(json!({"x": P256_X, "y": P256_Y, "use": "sig", "alg": "ES256", "key_ops": ["sign"]})),
        p256(json!({"kid": null})),
        ed25519(json!({"x": ED25519_X})),
        rsa(json!({})),
        json!({"kty": "oct", "k": SHARED}),
        json!({"kty": "oct", "k": octets(32), "alg": "HS256"}),
        json!([ed25519(json!({})), public]),
        json!([ed25519(json!({})), with(public.clone(), json!({"kid": "old"})), rsa(json!({}))]),
        json!("${KEY}"),
        json!([p256(json!({"d": "${D}"}))]),
        json!(p256(json!({})).to_string()),
    ] {
        accepts(&keys(good));
    }
    for (bad, place, word) in [
        (json!([]), "keys", "1 to 8"),
        (json!(vec![ed25519(json!({})); 9]), "keys", "1 to 8"),
        (json!(7), "keys[0]", "an object"),
        (json!([[]]), "keys[0]", "an object"),
        (json!({}), "keys[0]", "expected a private JWK"),
        (json!({"kty": "EC", "crv": "P-384", "d": octets(48)}), "keys[0]", "expected a private JWK"),
        (json!({"kty": "EC", "crv": "P-521", "d": octets(66)}), "keys[0]", "expected a private JWK"),
        (json!({"kty": "OKP", "crv": "X25519", "d": octets(32)}), "keys[0]", "expected a private JWK"),
        (p256(json!({"d": octets(48)})), "keys[0]", "expected a private JWK"),
        (p256(json!({"d": BASE64URL.encode([0; 32])})), "keys[0]", "expected a private JWK"),
        (p256(json!({"d": BASE64URL.encode([0xff; 32])})), "keys[0]", "expected a private JWK"),
        (p256(json!({"d": format!("{P256_D}=")})), "keys[0]", "expected a private JWK"),
        (p256(json!({"x": P256_Y, "y": P256_X})), "keys[0]", "public half"),
        (ed25519(json!({"x": P256_X})), "keys[0]", "public half"),
        (p256(json!({"use": "enc"})), "keys[0]", "`use`"),
        (p256(json!({"key_ops": ["verify"]})), "keys[0]", "`key_ops`"),
        (p256(json!({"alg": "ES384"})), "keys[0]", "`alg`"),
        (rsa(json!({"alg": "PS256"})), "keys[0]", "`alg`"),
        (p256(json!({"kid": 7})), "keys[0]", "`kid`"),
        (public.clone(), "keys[0]", "public"),
        (json!([public, ed25519(json!({}))]), "keys[0]", "public"),
        (json!([ed25519(json!({})), p256(json!({"kid": "ed"}))]), "keys[1]", "`kid` of another"),
        (json!([ed25519(json!({})), with(public.clone(), json!({"x": P256_Y}))]), "keys[1]", "no usable public key"),
        (json!([ed25519(json!({})), {"kty": "EC", "crv": "P-384", "x": octets(48), "y": octets(48)}]), "keys[1]", ""),
        (json!({"kty": "oct", "k": octets(31)}), "keys[0]", "too small"),
        (rsa(json!({"e": "Aw"})), "keys[0]", "65537"),
        (rsa(json!({"n": octets(128)})), "keys[0]", "too small"),
        (rsa(json!({"n": BASE64URL.encode([0xff; 640])})), "keys[0]", "4096"),
        (rsa(json!({"p": null})), "keys[0]", "expected a private JWK"),
        (json!("${UNSET}"), "keys[0]", "UNSET"),
        (json!("${EMPTY}"), "keys[0]", "no JSON object"),
        (json!("${NOT_JSON}"), "keys[0]", "no JSON object"),
        (json!("${NOT_A_KEY}"), "keys[0]", "an object"),
    ] {
        let bad = if bad.is_array() { bad } else { json!([bad]) };
        refuses(&keys(bad), &format!("assertion.{place}"), word);
    }
}

#[test]
fn what_an_assertion_may_say() {
    let with_members = |change: Value| configuration(assertion(change), json!({}));
    for good in [
        json!({"header": "X-Who", "scheme": "Assertion", "lifetime": "10m", "claims": "email"}),
        json!({"claims": ["email", {"name": "roles", "path": "realm_access.roles"}, {"claim": "x"}, {"name": "v", "value": {"a": [1]}}]}),
        json!({"subject": {"path": "a.b"}, "token_type": "identity+jwt", "audience": ["a", "b"]}),
        json!({"subject": ["a", "b"], "origin": false, "anonymous": true, "not_before": true}),
        json!({"lifetime": 5}),
        json!({"issuer": "edge"}),
    ] {
        accepts(&with_members(good));
    }
    let claims = |claim: Value| json!({"claims": claim});
    for (bad, path, word) in [
        (json!({"header": "x y"}), "header", "header name"),
        (json!({"header": "cookie"}), "header", "steers"),
        (json!({"header": "x-envoy-who"}), "header", "steers"),
        (json!({"header": "x-oidc-metadata-who"}), "header", "steers"),
        (json!({"scheme": "a b"}), "scheme", "scheme"),
        (json!({"scheme": ""}), "scheme", "scheme"),
        (json!({"issuer": null}), "issuer", "required"),
        (json!({"issuer": ""}), "issuer", "empty"),
        (json!({"issuer": "x".repeat(256)}), "issuer", "255"),
        (json!({"issuer": "a b"}), "issuer", "255"),
        (json!({"issuer": ISSUER}), "[0].issuer", "issuer of a provider"),
        (json!({"audience": null}), "audience", "required"),
        (json!({"audience": []}), "audience", "1 to 4"),
        (json!({"audience": ["a", ""]}), "audience", "1 to 4"),
        (json!({"audience": ["a", "b", "c", "d", "e"]}), "audience", "1 to 4"),
        (json!({"keys": null}), "keys", "required"),
        (json!({"lifetime": "4s"}), "lifetime", "5s"),
        (json!({"lifetime": "61m"}), "lifetime", "1h"),
        (json!({"lifetime": "5500ms"}), "lifetime", "whole"),
        (json!({"token_type": "at+jwt"}), "token_type", "something else"),
        (json!({"token_type": "application/at+jwt"}), "token_type", "something else"),
        (json!({"token_type": "Logout+JWT"}), "token_type", "something else"),
        (json!({"token_type": "dpop+jwt"}), "token_type", "something else"),
        (json!({"token_type": ""}), "token_type", "something else"),
        (json!({"subject": ""}), "subject", "name a claim"),
        (json!({"issuers": "x"}), "issuers", "did you mean `issuer`"),
        (claims(json!("sub")), "claims", "itself writes"),
        (claims(json!(["a", "cnf"])), "claims[1]", "itself writes"),
        (claims(json!({"name": "exp", "claim": "x"})), "claims.name", "itself writes"),
        (claims(json!({"claim": "iss"})), "claims.name", "itself writes"),
        (claims(json!({"name": "x"})), "claims.claim", "required"),
        (claims(json!({"path": "a.b"})), "claims.name", "required"),
        (claims(json!({"name": "x", "claim": "y", "value": 1})), "claims.value", "beside"),
        (claims(json!({"name": "x", "value": "y".repeat(1100)})), "claims.value", "1 KB"),
        (claims(json!({"name": "x", "value": 1, "required": true})), "claims.required", "always the same"),
        (claims(json!({"claim": "x", "required": true, "default": 1})), "claims.default", "beside"),
        (claims(json!(["a", {"name": "a", "claim": "b"}])), "claims[1]", "another"),
        (claims(json!((0..65).map(|n| n.to_string()).collect::<Vec<_>>())), "claims", "64"),
        (claims(json!([7])), "claims[0]", "a string or an object"),
    ] {
        let path = if path.starts_with('[') { format!("assertion{path}") } else { format!("assertion.{path}") };
        refuses(&with_members(bad), &path, word);
    }
    refuses(&configuration(json!(vec![assertion(json!({})); 5]), json!({})), "assertion", "at most 4");
}

#[test]
fn what_goes_with_the_rest() {
    let one = || assertion(json!({}));
    let top = |change: Value| configuration(one(), change);
    // Keys of the top level serve rules and other assertions.
    let unkeyed = |audience: &str| assertion(json!({"keys": null, "audience": audience, "header": "x-other"}));
    let config = accepts(&top(
        json!({"rules": [{"match": {"path": "/b"}, "assertion": unkeyed("b")}, {"match": {"path": "/c"}, "assertion": []}]}),
    ));
    assert_eq!(config.rules[0].policy.assertions[0].keys.published()[0].kid, "ed");
    assert!(config.rules[1].policy.assertions.is_empty());
    accepts(&configuration(json!([one(), unkeyed("b")]), json!({})));
    let rule = json!({"rules": [{"match": {"path": "/b"}, "assertion": unkeyed("b")}]});
    refuses(&jwt(json!({}), rule), "rules[0].assertion.keys", "required");
    // Headers.
    refuses(&configuration(json!([one(), one()]), json!({})), "assertion[1].header", "another output");
    refuses(
        &top(json!({"claim_headers": {"header": "X_Oidc_Assertion", "claim": "sub"}})),
        "assertion[0].header",
        "another output",
    );
    refuses(&top(json!({"user_info": {"key": "x-oidc-assertion"}})), "assertion[0].header", "another output");
    refuses(&top(json!({"access_token": [{"key": "x-oidc-assertion"}]})), "assertion[0].header", "a token");
    let in_rule = json!({"match": {"headers": {"x-oidc-assertion": "x"}}, "bypass": true});
    refuses(&top(json!({"rules": [in_rule]})), "rules[0].match.headers", "writes or takes away");
    let as_token = || assertion(json!({"header": "Authorization"}));
    accepts(&configuration(as_token(), json!({"forward": false})));
    refuses(&configuration(as_token(), json!({})), "assertion[0].header", "forward: false");
    let forwards = json!({"forward": false, "rules": [{"match": {"path": "/b"}, "forward": true}]});
    refuses(&configuration(as_token(), forwards), "rules[0].assertion[0].header", "forward: false");
    let elsewhere = json!({"rules": [{"match": {"path": "/b"}, "assertion": as_token(), "forward": false}]});
    refuses(&jwt(json!({}), elsewhere), "forward", "another policy");
    let not_here = json!({"forward": false, "rules": [{"match": {"path": "/b"}, "assertion": [], "forward": true}]});
    refuses(&configuration(as_token(), not_here), "rules[0].forward", "another policy");
    // Issuers of tenants, and of rules.
    let tenants = json!({"issuer": "https://idp.example.com/{tenant}", "tenants": ["a", "b"]});
    let of_tenant = assertion(json!({"issuer": "https://idp.example.com/b"}));
    refuses(&jwt(tenants, json!({"assertion": of_tenant})), "assertion[0].issuer", "issuer of a provider");
    let rule = json!({"rules": [{"match": {"path": "/b"}, "assertion": assertion(json!({"issuer": ISSUER}))}]});
    refuses(&top(rule), "rules[0].assertion[0].issuer", "issuer of a provider");
    let shadow = json!({"shadow": {"assertion": assertion(json!({"issuer": ISSUER}))}});
    refuses(&top(shadow), "shadow.assertion[0].issuer", "issuer of a provider");
    // One key, one use.
    let client =
        json!({"client_id": "me", "client_auth": "private_key_jwt", "client_key": ed25519(json!({"kid": "x"}))});
    let provider = json!({"introspection": client});
    refuses(&introspection(provider, json!({"assertion": one()})), "assertion.keys[0]", "client_key");
    let inline = json!({"jwks": {"inline": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": ED25519_X}]}}});
    refuses(&jwt(inline, json!({"assertion": one()})), "assertion.keys[0]", "jwks.inline");
    let second = assertion(json!({"keys": [p256(json!({})), ed25519(json!({}))]}));
    let inline = json!({"jwks": {"inline": {"keys": [{"kty": "OKP", "crv": "Ed25519", "x": ED25519_X}]}}});
    refuses(&jwt(inline, json!({"assertion": second})), "assertion.keys[1]", "jwks.inline");
    let candidate = json!({"shadow": {"assertion": one()}});
    let client =
        json!({"client_id": "me", "client_auth": "private_key_jwt", "client_key": ed25519(json!({"kid": "x"}))});
    let client = introspection(json!({"introspection": client}), candidate);
    refuses(&client, "shadow.assertion.keys[0]", "client_key");
    // Two keys under one name.
    let other = assertion(json!({"header": "x-other", "keys": p256(json!({"kid": "ed"}))}));
    refuses(&configuration(json!([one(), other]), json!({})), "assertion[1].keys[0]", "`kid` of another");
    // A bypass looks at no token.
    let bypass =
        |change: Value| json!({"rules": [{"match": {"path": "/b"}, "bypass": true, "assertion": assertion(change)}]});
    accepts(&top(bypass(json!({"anonymous": true}))));
    refuses(&top(bypass(json!({}))), "rules[0].assertion", "anonymous: true");
    // What is allowed, and may not be meant.
    let config = accepts(&configuration(assertion(json!({"audience": ["x", AUDIENCE]})), json!({})));
    assert_eq!(config.warnings.iter().filter(|warning| warning.code == "assertion_audience").count(), 1);
    assert!(accepts(&top(json!({}))).warnings.is_empty());
}

#[test]
fn where_keys_are_published() {
    let published =
        |assertions: Value, top: Value| configuration(assertions, with(json!({"assertion_jwks_path": "/keys"}), top));
    let one = || assertion(json!({}));
    accepts(&published(one(), json!({})));
    accepts(&published(one(), json!({"assertion_discovery": true})));
    for bad in
        ["", "/", "keys", "/keys/", "/a/../keys", "/a//b", "/a%2fb", "/keys?", "/keys;a", "/k*", "/caf\u{e9}", "/a\\b"]
    {
        refuses(&published(one(), json!({"assertion_jwks_path": bad})), "assertion_jwks_path", "normal form");
    }
    refuses(&jwt(json!({}), json!({"assertion_jwks_path": "/keys"})), "assertion_jwks_path", "no `assertion`");
    let shared = assertion(json!({"keys": {"kty": "oct", "k": SHARED}}));
    refuses(&published(shared.clone(), json!({})), "assertion_jwks_path", "shared secrets");
    accepts(&configuration(shared, json!({})));
    refuses(&configuration(one(), json!({"assertion_discovery": true})), "assertion_discovery", "assertion_jwks_path");
    for issuer in ["edge", "http://edge.example.com", "https://edge.example.com?a", "https://edge.example.com#a"] {
        let odd = assertion(json!({"issuer": issuer}));
        refuses(&published(odd, json!({"assertion_discovery": true})), "assertion_discovery", "https URL");
    }
    let other = assertion(json!({"issuer": "https://other.example.com", "header": "x-other"}));
    refuses(
        &published(json!([one(), other.clone()]), json!({"assertion_discovery": true})),
        "assertion_discovery",
        "one path",
    );
    let below = with(other, json!({"issuer": "https://other.example.com/a"}));
    accepts(&published(json!([one(), below]), json!({"assertion_discovery": true})));
    refuses(&published(one(), json!({"verify_path": "/keys"})), "assertion_jwks_path", "verify_path");
    refuses(
        &published(one(), json!({"verify_path": "/keys", "assertion_jwks_path": "/keys/a"})),
        "assertion_jwks_path",
        "verify_path",
    );
    for matching in [json!({"path": "/keys"}), json!({"path_prefix": "/keys"}), json!({"path_pattern": "/k.*"})] {
        let rules = json!({"rules": [{"match": {"path": "/a"}}, {"match": matching, "bypass": true}]});
        refuses(&published(one(), rules), "assertion_jwks_path", "rules[1]");
    }
    let rules = json!({"rules": [{"match": {"path": "/.well-known/openid-configuration"}, "bypass": true}]});
    refuses(&published(one(), with(rules, json!({"assertion_discovery": true}))), "assertion_discovery", "rules[0]");
    let at_metadata = json!({"assertion_jwks_path": "/.well-known/openid-configuration", "assertion_discovery": true});
    refuses(&published(one(), at_metadata), "assertion_jwks_path", "metadata of an issuer");
    for path in [
        "/.well-known/oauth-protected-resource",
        "/.well-known/oauth-protected-resource/mcp",
        "/.well-known/oauth-authorization-server",
        "/.well-known/oauth-authorization-server/mcp",
    ] {
        let mcp = json!({"mcp": {"resource": "https://a.example/mcp"}, "assertion_jwks_path": path});
        refuses(&published(one(), mcp), "assertion_jwks_path", "MCP");
        accepts(&published(one(), json!({"assertion_jwks_path": path})));
    }
}

/// An RSA key is for the host to sign with.
#[test]
fn a_host_that_signs() {
    use oidc_filter::jose::verifier::Verifier;
    let config = accepts(&configuration(assertion(json!({"keys": [p256(json!({})), rsa(json!({}))]})), json!({})));
    let error = config.check_signers(&Verifier::default()).unwrap_err().to_string();
    assert!(error.starts_with("assertion.keys[1]: ") && error.contains("1.37"), "{error}");
    let config = accepts(&configuration(assertion(json!({"keys": [p256(json!({})), ed25519(json!({}))]})), json!({})));
    assert_eq!(config.check_signers(&Verifier::default()), Ok(()));
}

// ---------------------------------------------------------------------------------------------- what the service gets

/// Reads an assertion as a service does: by the published keys alone.
struct Service {
    keys: Vec<Value>,
}

impl Service {
    fn of(scene: &mut Scene) -> Self {
        let answer = scene.send(get("/keys")).document();
        let set: Value = serde_json::from_slice(&answer.body).unwrap();
        Self { keys: set["keys"].as_array().unwrap().clone() }
    }

    /// Header and payload of an assertion whose signature is right.
    #[track_caller]
    fn read(&self, assertion: &str) -> (Value, Value) {
        use oidc_filter::jose::jwk::{JwkSet, KeySetOrigin};
        use oidc_filter::jose::jws::CompactJws;
        use oidc_filter::jose::verifier::Verifier;
        let header = BASE64URL.decode(assertion.split('.').next().unwrap()).unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        let set = JwkSet::parse(json!({"keys": self.keys}).to_string().as_bytes(), KeySetOrigin::Remote).unwrap();
        let jws = CompactJws::parse(assertion).unwrap();
        let kid = header["kid"].as_str();
        assert!(kid.is_some(), "{header}");
        let payload = jws.verify(set.candidates(kid, jws.algorithm()), &Verifier::default()).unwrap();
        (header.clone(), serde_json::from_slice(payload.octets()).unwrap())
    }
}

const HEADER: &str = "x-oidc-assertion";

/// A filter that publishes its keys at `/keys`.
fn published(assertions: Value, top: Value) -> Scene {
    Scene::of(configuration(assertions, with(json!({"assertion_jwks_path": "/keys"}), top)))
}

/// The payload that the service finds for this request.
#[track_caller]
fn told(scene: &mut Scene, ask: Ask) -> Value {
    let service = Service::of(scene);
    let upstream = scene.send(ask).allowed();
    service.read(upstream.header(HEADER).unwrap()).1
}

/// AST-01: one issuer and one audience, whoever vouched for the token, and wherever it was.
#[test]
fn one_identity_whatever_came_in() {
    let opaque = json!({"issuer": "https://other.example.com", "audiences": [AUDIENCE], "validation": "introspection", "name": "other"});
    let first = json!({"issuer": ISSUER, "audiences": [AUDIENCE], "validation": "jwt", "token_prefixes": ["ey"]});
    let sources =
        json!([{"key": "authorization"}, {"location": "cookie", "key": "t"}, {"location": "query_string", "key": "t"}]);
    for key in [p256(json!({})), ed25519(json!({}))] {
        let top = json!({"providers": [first, opaque], "access_token": sources});
        let top = with(top, json!({"assertion": assertion(json!({"keys": key})), "assertion_jwks_path": "/keys"}));
        let mut scene = Scene::cold(top);
        scene.provider.add_issuer("https://other.example.com", &[]);
        scene.tick();
        let about = json!({"active": true, "sub": "bob", "aud": AUDIENCE, "exp": NOW + 3600});
        scene.provider.tokens.insert("opaque".to_owned(), about);
        let of_jwt = told(&mut scene, bearer(&good()));
        assert_eq!(
            (&of_jwt["sub"], &of_jwt["idp"], &of_jwt["auth"]),
            (&json!("ann"), &json!(ISSUER), &json!("header"))
        );
        let of_opaque = told(&mut scene, bare().header("cookie", "t=opaque"));
        let expected = (&json!("bob"), &json!("https://other.example.com"), &json!("cookie"));
        assert_eq!((&of_opaque["sub"], &of_opaque["idp"], &of_opaque["auth"]), expected);
        let of_query = told(&mut scene, get("/?t=opaque"));
        assert_eq!(of_query["auth"], "query_string");
        for told in [of_jwt, of_opaque, of_query] {
            assert_eq!(
                (&told["iss"], &told["aud"]),
                (&json!("https://edge.example.com"), &json!("https://orders.internal"))
            );
            assert_eq!((&told["iat"], &told["exp"]), (&json!(NOW), &json!(NOW + 60)));
            assert_eq!(told["jti"].as_str().unwrap().len(), 16);
            assert_eq!(told.as_object().unwrap().len(), 8, "nothing else: {told}");
        }
    }
}

/// AST-02: a client's own never reaches the service, on whatever path.
#[test]
fn a_client_s_own_assertion_never_goes_on() {
    let rules = json!([
        {"match": {"path": "/open"}, "bypass": true},
        {"match": {"path": "/none"}, "assertion": []},
        {"match": {"path": "/strip"}, "enforce": false},
        {"match": {"path": "/missing"}, "allow_missing": true},
    ]);
    let mut scene = published(assertion(json!({})), json!({"rules": rules}));
    let forged = |path: &str| {
        get(path)
            .header("x-oidc-assertion", "forged")
            .header("x-oidc-assertion", "forged")
            .header("x_oidc_assertion", "forged")
            .header("x-oidc_assertion", "forged")
            .header("x.oidc.assertion", "forged")
    };
    let service = Service::of(&mut scene);
    for (path, token, has_one) in [
        ("/", true, true),
        ("/open", true, false),
        ("/none", true, false),
        ("/strip", false, false),
        ("/missing", false, false),
    ] {
        let ask = forged(path);
        let ask = if token { ask.bearer(&good()) } else { ask };
        let upstream = scene.send(ask).upstream();
        for (name, value) in &upstream.headers {
            assert!(!value.contains("forged"), "{path}: {name}: {value}");
        }
        assert_eq!(upstream.header(HEADER).is_some(), has_one, "{path}");
        if let Some(own) = upstream.header(HEADER) {
            service.read(own);
        }
    }
    for name in ["x-oidc-assertion", "x_oidc_assertion", "x.oidc-assertion"] {
        assert!(scene.filter.is_own_trailer(name.as_bytes()), "{name}");
    }
}

/// AST-03: it ends with its token.
#[test]
fn an_assertion_ends_with_its_token() {
    let mut scene = published(assertion(json!({})), json!({}));
    let short = told(&mut scene, bearer(&token(json!({"exp": NOW + 20}))));
    assert_eq!(short["exp"], NOW + 20);
    let mut scene = Scene::of(configuration(
        assertion(json!({})),
        json!({"assertion_jwks_path": "/keys", "providers": {"issuer": ISSUER, "audiences": [AUDIENCE], "require_expiration": false}}),
    ));
    assert_eq!(told(&mut scene, bearer(&token(json!({"exp": null}))))["exp"], NOW + 60);
}

/// AST-04, AST-05: one signature for one token and audience, until a quarter of its life is left.
#[test]
fn a_token_is_signed_for_once_in_a_while() {
    let rules = json!([{"match": {"path": "/b"}, "assertion": assertion(json!({"audience": "b", "keys": null}))}]);
    let mut scene = published(assertion(json!({})), json!({"rules": rules}));
    let service = Service::of(&mut scene);
    let mut first = None;
    for _ in 0..100 {
        let upstream = scene.send(bearer(&good())).allowed();
        let assertion = upstream.header(HEADER).unwrap().to_owned();
        let result = upstream.assertions[0].unwrap().result.as_str();
        assert_eq!(result, if first.is_some() { "reused" } else { "signed" });
        assert_eq!(*first.get_or_insert_with(|| assertion.clone()), assertion);
        scene.pass(Duration::from_millis(100));
    }
    let first = service.read(&first.unwrap()).1;
    let other = scene.send(get("/b").bearer(&good())).allowed();
    assert_eq!(service.read(other.header(HEADER).unwrap()).1["aud"], "b");
    scene.pass_seconds(36);
    let upstream = scene.send(bearer(&good())).allowed();
    assert_eq!(upstream.assertions[0].unwrap().result.as_str(), "signed");
    let second = service.read(upstream.header(HEADER).unwrap()).1;
    assert!(
        second["iat"].as_u64() > first["iat"].as_u64()
            && second["jti"] != first["jti"]
            && second["aud"] == first["aud"]
    );
}

/// AST-06, AST-07: what a provider no longer says is not asserted.
#[test]
fn an_answer_that_changes_is_another_assertion() {
    let about = |name: &str| active(json!({"name": name}));
    let mut scene = Scene::of(introspection(
        json!({"introspection": {"cache": 0}}),
        json!({"assertion": assertion(json!({"claims": "name"})), "assertion_jwks_path": "/keys"}),
    ));
    for name in ["one", "two", "three"] {
        scene.provider.tokens.insert("t".to_owned(), about(name));
        let upstream = scene.send(bearer("t")).allowed();
        assert_eq!(upstream.assertions[0].unwrap().result.as_str(), "signed");
        let service = Service::of(&mut scene);
        assert_eq!(service.read(upstream.header(HEADER).unwrap()).1["name"], name);
        scene.pass_seconds(1);
    }
    scene.provider.tokens.clear();
    scene.send(bearer("t")).refused(401, "inactive");
}

/// AST-08: a claim that is missing.
#[test]
fn what_a_token_lacks() {
    let claims = json!([{"name": "a", "claim": "nope", "default": {"x": 1}}, {"claim": "absent"}, {"name": "s", "claim": "scope"}]);
    let mut scene = published(assertion(json!({"claims": claims})), json!({}));
    let told = told(&mut scene, bearer(&good()));
    assert_eq!((&told["a"], told.get("absent"), &told["s"]), (&json!({"x": 1}), None, &json!("read write")));
    let mut scene = published(assertion(json!({"claims": {"claim": "email", "required": true}})), json!({}));
    scene.send(bearer(&good())).refused(403, "insufficient_claims");
    scene.send(bearer(&token(json!({"email": "a@b.c"})))).allowed();
    let mut scene = published(assertion(json!({"subject": "user_id"})), json!({}));
    scene.send(bearer(&good())).refused(403, "insufficient_claims");
}

/// AST-10: whatever a claim holds, two parsers read the same.
#[test]
fn odd_claims_stay_what_they_are() {
    let odd = json!({
        "text": "\"\\\u{0}\u{1f}\u{7f}\u{2028}\u{2029}é😀</script>", "big": 9_223_372_036_854_775_808_u64, "deep": [[[[[[{"a": [[[]]]}]]]]]],
        "": "nameless", "na\"me": [null, true, 1.5],
    });
    let names: Vec<&String> = odd.as_object().unwrap().keys().filter(|name| !name.is_empty()).collect();
    let mut scene = published(assertion(json!({"claims": names})), json!({}));
    let told = told(&mut scene, bearer(&token(odd.clone())));
    for name in names {
        assert_eq!(told[name], odd[name], "{name}");
    }
}

/// AST-11: nothing is cut.
#[test]
fn what_is_too_long_is_refused() {
    let groups: Vec<String> = (0..600).map(|number| format!("{number:040}")).collect();
    let top = json!({"max_token_size": 61440});
    let mut scene = published(assertion(json!({"claims": "groups"})), top);
    let refused = scene.send(bearer(&token(json!({"groups": groups})))).refused(503, "misconfigured");
    assert_eq!(refused.provider.as_deref(), Some("idp.example.com"));
    scene.send(bearer(&token(json!({"groups": ["a"]})))).allowed();
}

/// AST-15: what is published is public.
#[test]
fn the_key_set() {
    let old = json!({"kty": "EC", "crv": "P-256", "x": P256_X, "y": P256_Y, "kid": "old"});
    let keys = json!([ed25519(json!({"kid": null})), old, {"kty": "oct", "k": SHARED}, rsa(json!({}))]);
    let mut scene = published(assertion(json!({"keys": keys})), json!({"assertion_discovery": true}));
    let answer = scene.send(get("/keys")).document();
    assert_eq!(answer.header("content-type"), Some(&b"application/jwk-set+json"[..]));
    assert_eq!(answer.header("cache-control"), Some(&b"public, max-age=300"[..]));
    let body = String::from_utf8(answer.body.clone()).unwrap();
    let set: Value = serde_json::from_str(&body).unwrap();
    let keys = set["keys"].as_array().unwrap();
    let names: Vec<&str> = keys.iter().map(|key| key["kid"].as_str().unwrap()).collect();
    // RFC 8037, appendix A.3: the thumbprint of a key without a name.
    assert!(names.contains(&"kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k") && names.contains(&"old"), "{names:?}");
    assert_eq!(keys.len(), 3);
    for key in keys {
        for private in ["d", "p", "q", "dp", "dq", "qi", "k", "oth", "key_ops"] {
            assert!(key.get(private).is_none(), "{private}");
        }
        assert_eq!(key["use"], "sig");
        assert!(["EdDSA", "ES256", "RS256"].contains(&key["alg"].as_str().unwrap()));
    }
    let rsa = rsa(json!({}));
    for secret in [ED25519_D, P256_D, SHARED, rsa["d"].as_str().unwrap(), rsa["p"].as_str().unwrap()] {
        assert!(!body.contains(secret));
    }
    let tag = answer.header("etag").unwrap().to_owned();
    assert_eq!(scene.send(get("/keys").header("if-none-match", &tag)).document().status, 304);
    assert_eq!(scene.send(get("/keys?x=1")).document().status, 200);
    assert_eq!(scene.send(get("/keys").set(":method", Some("POST"))).document().status, 405);
    assert_eq!(scene.send(get("/keys").set(":method", Some("HEAD"))).document().status, 200);
    for path in ["//keys", "/keys/", "/%6beys/..", "/x/../keys", "/keys;a", "/KEYS"] {
        scene.send(get(path)).refused(401, "missing_token");
    }
    let metadata: Value =
        serde_json::from_slice(&scene.send(get("/.well-known/openid-configuration")).document().body).unwrap();
    assert_eq!(metadata["issuer"], "https://edge.example.com");
    assert_eq!(metadata["jwks_uri"], "https://edge.example.com/keys");
    assert_eq!(metadata["id_token_signing_alg_values_supported"], json!(["ES256", "EdDSA", "RS256"]));
}

/// What a candidate would sign with is known to services before it signs.
#[test]
fn the_key_of_a_candidate() {
    let shadow = json!({"shadow": {"assertion": assertion(json!({"keys": p256(json!({}))}))}});
    let mut scene = published(assertion(json!({})), shadow);
    let set: Value = serde_json::from_slice(&scene.send(get("/keys")).document().body).unwrap();
    let names: Vec<&str> = set["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(names, ["ed", "p256"]);
}

/// AST-18: the token makes room for it.
#[test]
fn an_assertion_in_the_place_of_the_token() {
    let mut scene = published(assertion(json!({"header": "authorization"})), json!({"forward": false}));
    let service = Service::of(&mut scene);
    let upstream = scene.send(bearer(&good())).allowed();
    let value = upstream.header("authorization").unwrap().strip_prefix("Bearer ").unwrap();
    assert_eq!(service.read(value).1["sub"], "ann");
    assert!(!upstream.headers.iter().any(|(_, value)| value.contains(&good())));
}

/// AST-19: who needs no token has no subject.
#[test]
fn nobody_in_particular() {
    let rules = json!([
        {"match": {"path": "/open"}, "bypass": true},
        {"match": {"path": "/missing"}, "allow_missing": true},
        {"match": {"path": "/strip"}, "enforce": false},
        {"match": {"path": "/preflight"}, "allow_preflight": true},
    ]);
    let mut scene = published(assertion(json!({"anonymous": true})), json!({"rules": rules}));
    let service = Service::of(&mut scene);
    for path in ["/open", "/missing", "/strip"] {
        let upstream = scene.send(get(path)).upstream();
        let payload = service.read(upstream.header(HEADER).unwrap()).1;
        assert_eq!(payload["anonymous"], true, "{path}");
        let members: Vec<&String> = payload.as_object().unwrap().keys().collect();
        assert_eq!(members, ["anonymous", "aud", "exp", "iat", "iss", "jti"]);
    }
    let reused = scene.send(get("/open")).upstream();
    assert_eq!(reused.assertions[0].unwrap().result.as_str(), "reused");
    let preflight = get("/preflight")
        .set(":method", Some("OPTIONS"))
        .header("origin", "https://a")
        .header("access-control-request-method", "GET");
    assert_eq!(scene.send(preflight).bypassed().header(HEADER), None);
    let somebody = scene.send(get("/missing").bearer(&good())).allowed();
    assert_eq!(service.read(somebody.header(HEADER).unwrap()).1["sub"], "ann");
}

/// AST-20: what is only tried is not signed.
#[test]
fn a_candidate_signs_nothing() {
    let shadow = json!({"shadow": {"assertion": assertion(json!({"claims": {"claim": "email", "required": true}}))}});
    let mut scene = Scene::of(jwt(json!({}), shadow));
    let upstream = scene.send(bearer(&good())).allowed();
    assert_eq!(upstream.header(HEADER), None);
    assert!(upstream.assertions.iter().all(Option::is_none));
    assert_eq!(upstream.shadow.unwrap().words(), ("denied", "insufficient_claims"));
    let upstream = scene.send(bearer(&token(json!({"email": "a@b.c"})))).allowed();
    assert_eq!(upstream.shadow.unwrap().words(), ("allowed", "none"));
    assert_eq!(upstream.header(HEADER), None);
}

/// AST-21: another proxy is told.
#[test]
fn at_the_verify_endpoint() {
    let rules = json!([{"match": {"path": "/none"}, "assertion": []}]);
    let mut scene = published(assertion(json!({})), json!({"verify_path": "/verify", "rules": rules}));
    let service = Service::of(&mut scene);
    let confirmed = scene.send(get("/verify/x").bearer(&good())).confirmed();
    service.read(confirmed.header(HEADER).unwrap());
    assert!(!confirmed.removed.iter().any(|name| name == HEADER));
    let confirmed = scene.send(get("/verify/none").bearer(&good()).header("x_oidc_assertion", "forged")).confirmed();
    assert_eq!(confirmed.header(HEADER), None);
    assert!(confirmed.removed.iter().any(|name| name == HEADER), "{:?}", confirmed.removed);
    assert!(confirmed.removed.iter().any(|name| name == "x_oidc_assertion"), "{:?}", confirmed.removed);
}

/// A host that has stopped signing: with P-256 the module does, with RSA nobody.
#[test]
fn a_host_that_stops_to_sign() {
    let mut scene = published(assertion(json!({"keys": rsa(json!({}))})), json!({}));
    heard();
    scene.send(bearer(&good())).refused(503, "misconfigured");
    assert!(heard().iter().any(|line| line.contains("put an EC P-256 or Ed25519 key first in `assertion.keys`")));
    let mut scene = published(assertion(json!({"keys": p256(json!({}))})), json!({}));
    let upstream = scene.send(bearer(&good())).allowed();
    let used = upstream.assertions[0].unwrap();
    assert_eq!((used.algorithm.name(), used.backend, used.result.as_str()), ("ES256", Backend::Own, "signed"));
}

/// AST-26: without randomness, an assertion has no name that nobody can foretell, and isn't signed.
#[test]
fn a_host_without_randomness() {
    let configuration =
        configuration(assertion(json!({})), json!({"rules": [{"match": {"path": "/none"}, "assertion": []}]}));
    let mut scene = Scene::cold(configuration.clone());
    scene.filter = Filter::new(Rc::new(accepts(&configuration)), "oidc");
    scene.tick();
    scene.send(bearer(&good())).refused(503, "misconfigured");
    scene.send(get("/none").bearer(&good())).allowed();
}

/// AST-24: nobody prints a key.
#[test]
fn no_private_key_is_printed() {
    let rsa = rsa(json!({}));
    let keys = json!([p256(json!({})), ed25519(json!({})), {"kty": "oct", "k": SHARED}, rsa]);
    let config = accepts(&configuration(assertion(json!({"keys": keys})), json!({"assertion_jwks_path": "/keys"})));
    let printed = format!("{config:?} {config:#?}");
    assert!(printed.contains("\"p256\""));
    for secret in [P256_D, ED25519_D, SHARED, rsa["d"].as_str().unwrap(), rsa["p"].as_str().unwrap()] {
        assert!(!printed.contains(secret));
        let octets = BASE64URL.decode(secret).unwrap();
        assert!(!printed.contains(&format!("{octets:?}")));
    }
}

/// Two identities at once, each for its own service.
#[test]
fn several_assertions() {
    let second = assertion(json!({"header": "x-second", "audience": "second", "keys": p256(json!({}))}));
    let mut scene = published(json!([assertion(json!({})), second]), json!({}));
    let service = Service::of(&mut scene);
    let upstream = scene.send(bearer(&good())).allowed();
    assert_eq!(service.read(upstream.header(HEADER).unwrap()).1["aud"], "https://orders.internal");
    assert_eq!(service.read(upstream.header("x-second").unwrap()).1["aud"], "second");
    let used = upstream.assertions.iter().flatten().map(|used| used.algorithm.name());
    assert_eq!(used.collect::<Vec<_>>(), ["EdDSA", "ES256"]);
}
