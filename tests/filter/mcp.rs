//! An MCP server behind the filter: its metadata, the challenges, and what its operations need.

use crate::scene::*;
use crate::support::with;
use oidc_filter::config::Config;
use oidc_filter::filter::Body;
use oidc_filter::protobuf;
use serde_json::{Value, json};

pub const RESOURCE: &str = "https://mcp.example.com/mcp";
const METADATA: &str = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";

/// The provider of a scene says nothing of audiences.
pub fn server(mcp: Value, top: Value) -> Value {
    let mcp = with(json!({"resource": RESOURCE}), mcp);
    jwt(json!({"audiences": null}), with(json!({"mcp": mcp}), top))
}

/// Tools of three kinds.
fn tools() -> Value {
    json!({
        "tools": [
            {"name": "delete_root", "deny": true},
            {"name": "delete_*", "scopes": ["files:delete", "files:write"]},
            {"name": "list", "scopes": []},
            {"name": "count", "claims": [{"claim": "team", "any_of": "a"}]},
        ],
        "resources": [{"name": "file:///secret/*", "scopes": "secrets"}, {"name": "*"}],
        "default": "deny",
    })
}

pub fn tools_of(mcp: Value) -> Value {
    let mut mcp = with(tools(), mcp);
    mcp["tools"][2] = json!({"name": "list"});
    mcp
}

pub fn with_scope(scope: &str) -> String {
    token(json!({"aud": RESOURCE, "scope": scope}))
}

pub fn ask(token: &str) -> Ask {
    unauthorized().bearer(token)
}

pub fn unauthorized() -> Ask {
    get("/mcp").set(":method", Some("POST")).header("content-type", "application/json")
}

pub fn call(tool: &str) -> String {
    message("tools/call", json!({"name": tool, "arguments": {"path": "/etc"}}))
}

pub fn message(method: &str, params: Value) -> String {
    json!({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).to_string()
}

pub fn newest(ask: Ask, method: &str, name: &str) -> Ask {
    let ask = ask.header("mcp-protocol-version", "2026-07-28").header("mcp-method", method);
    ask.header("mcp-name", name)
}

pub fn audit(filter_state: &[(String, Vec<u8>)]) -> Value {
    let line = filter_state.iter().find(|(key, _)| key == "oidc.mcp").map(|(_, line)| line);
    line.map_or(Value::Null, |line| Value::Object(protobuf::read_struct(line).unwrap()))
}

pub fn error(refusal: &Refusal) -> (Value, Value) {
    let body: Value = serde_json::from_str(&refusal.body).unwrap();
    assert_eq!((body["jsonrpc"].as_str(), refusal.header("content-type")), (Some("2.0"), Some("application/json")));
    (body["id"].clone(), body["error"]["code"].clone())
}

pub fn document(scene: &mut Scene, path: &str) -> Value {
    match scene.send(get(path)) {
        Seen::Document(_, answer) if answer.status == 200 => serde_json::from_slice(&answer.body).unwrap(),
        other => panic!("{path}: {other:?}"),
    }
}

/// MCP-01, TB-02: a client without a token learns where to get one, and which scopes to ask for.
#[test]
fn a_client_without_a_token_is_told_where_to_get_one() {
    let mut scene = Scene::of(server(tools_of(json!({})), json!({"require": {"scopes": "mcp"}})));
    let refusal = scene.send_body(unauthorized(), call("list")).refused(401, "missing_token");
    let expected = format!(r#"Bearer realm="oidc", scope="mcp", resource_metadata="{METADATA}""#);
    assert_eq!(refusal.header("www-authenticate"), Some(&*expected));
    assert_eq!(error(&refusal), (Value::Null, json!(-401)));
    // Where the head says what is asked for, all that this needs is named.
    let refusal = scene.send_body(newest(unauthorized(), "tools/call", "delete_a"), call("delete_a"));
    let expected =
        format!(r#"Bearer realm="oidc", scope="mcp files:delete files:write", resource_metadata="{METADATA}""#);
    assert_eq!(refusal.refused(401, "missing_token").header("www-authenticate"), Some(&*expected));
    // A bad token, too.
    let refusal = scene.send_body(ask("rubbish"), call("list"));
    let challenge = refusal.refused(401, "malformed_token").challenge().unwrap();
    assert_eq!((challenge["error"].as_str(), challenge["resource_metadata"].as_str()), ("invalid_token", METADATA));
    assert_eq!(challenge["scope"], "mcp");
}

/// MCP-02, MV-20: and how tokens may be bound, or must be (RFC 9728, section 2).
#[test]
fn the_metadata_tell_how_tokens_are_bound() {
    let members = [
        "dpop_signing_alg_values_supported",
        "dpop_bound_access_tokens_required",
        "tls_client_certificate_bound_access_tokens",
    ];
    let dpop =
        |more: Value| with(json!({"origins": ["https://mcp.example.com"], "algorithms": ["ES256", "EdDSA"]}), more);
    let admin = |dpop: Value| json!([{"match": {"path": "/mcp/admin"}, "dpop": dpop}]);
    for (top, expected) in [
        (json!({}), json!([null, null, null])),
        (json!({"dpop": {"mode": "off"}, "certificate_bound": {"mode": "off"}}), json!([null, null, null])),
        (json!({"dpop": dpop(json!({}))}), json!([["ES256", "EdDSA"], null, null])),
        (json!({"dpop": dpop(json!({"mode": "required"}))}), json!([["ES256", "EdDSA"], true, null])),
        (json!({"certificate_bound": {}}), json!([null, null, true])),
        // What one part of the resource does not ask for, or does not take, is not said of the whole.
        (
            json!({"dpop": dpop(json!({})), "rules": admin(json!({"mode": "required", "algorithms": ["EdDSA"]}))}),
            json!([["EdDSA"], null, null]),
        ),
        (
            json!({"dpop": dpop(json!({"mode": "required"})), "rules": admin(json!({"mode": "off"}))}),
            json!([["ES256", "EdDSA"], null, null]),
        ),
        (
            json!({"dpop": dpop(json!({"mode": "required"})), "rules": [{"match": {"path": "/mcp/x"}, "bypass": true}]}),
            json!([["ES256", "EdDSA"], true, null]),
        ),
    ] {
        let found = document(&mut Scene::of(server(json!({}), top.clone())), "/.well-known/oauth-protected-resource");
        let told: Vec<Value> = members.iter().map(|name| found.get(name).cloned().unwrap_or_default()).collect();
        assert_eq!(Value::from(told), expected, "{top}");
    }
}

/// MCP-02, TB-70: the metadata say what the configuration asks for, to anybody.
#[test]
fn the_metadata_are_derived_from_the_policy() {
    let top = json!({
        "require": {"scopes": ["mcp", "offline_access"]},
        "rules": [{"match": {"path": "/mcp/admin"}, "require": {"scopes_any": ["admin", "mcp"]}}],
    });
    let mut scene = Scene::of(server(with(tools_of(json!({})), json!({"resource_name": "Files"})), top));
    let expected = json!({
        "resource": RESOURCE,
        "authorization_servers": [ISSUER],
        "scopes_supported": ["mcp", "files:delete", "files:write", "secrets", "admin"],
        "bearer_methods_supported": ["header"],
        "resource_name": "Files",
    });
    for path in ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"] {
        let found = document(&mut scene, path);
        let scopes = |document: &Value| {
            let mut scopes: Vec<String> = serde_json::from_value(document["scopes_supported"].clone()).unwrap();
            scopes.sort();
            scopes
        };
        assert_eq!(scopes(&found), scopes(&expected));
        assert_eq!(
            with(found, json!({"scopes_supported": null})),
            with(expected.clone(), json!({"scopes_supported": null}))
        );
    }
    for path in ["/.well-known/oauth-protected-resource/other", "/.well-known/oauth-protected-resourc"] {
        scene.send(get(path)).refused(401, "missing_token");
    }
    // TB-71: without scopes, the member is left out.
    let found = document(&mut Scene::of(server(json!({}), json!({}))), "/.well-known/oauth-protected-resource");
    assert_eq!(
        found.as_object().unwrap().keys().collect::<Vec<_>>(),
        ["authorization_servers", "bearer_methods_supported", "resource"]
    );
    let said = json!({"scopes_supported": ["a", "offline_access"], "authorization_servers": "https://other.example"});
    let found = document(
        &mut Scene::of(server(with(tools_of(json!({})), said), json!({}))),
        "/.well-known/oauth-protected-resource/mcp",
    );
    assert_eq!(found["scopes_supported"], json!(["a"]));
    assert_eq!(found["authorization_servers"], json!(["https://other.example"]));
}

/// MCP-02: each resource has its own metadata; the root is for the only one of a host.
#[test]
fn several_resources_have_a_document_each() {
    let rule = |path: &str, resource: &str| json!({"match": {"path_prefix": path}, "mcp": {"resource": resource}});
    let rules =
        [rule("/a", "https://a.example/a"), rule("/b", "https://a.example/b"), rule("/c", "https://b.example/a")];
    let mut scene = Scene::of(jwt(json!({}), json!({"rules": rules})));
    let mut at = |host: &str, path: &str| {
        let ask = get(format!("/.well-known/oauth-protected-resource{path}")).set(":authority", Some(host));
        match scene.send(ask) {
            Seen::Document(_, answer) => {
                serde_json::from_slice::<Value>(&answer.body).unwrap()["resource"].as_str().map(str::to_owned)
            }
            _ => None,
        }
    };
    assert_eq!(at("a.example", "/a").as_deref(), Some("https://a.example/a"));
    assert_eq!(at("a.example", "/b").as_deref(), Some("https://a.example/b"));
    assert_eq!(at("b.example", "/a").as_deref(), Some("https://b.example/a"));
    assert_eq!(at("inner", "/b").as_deref(), Some("https://a.example/b"), "a proxy before may change the host");
    assert_eq!(at("inner", "/a"), None, "two could be meant");
    assert_eq!(at("a.example", ""), None);
    assert_eq!(at("b.example", "").as_deref(), Some("https://b.example/a"));
}

/// MCP-03: a token for another service is none for this one, nor is one for nobody.
#[test]
fn a_token_is_for_the_resource() {
    let mut scene = Scene::of(server(json!({}), json!({})));
    scene.send_body(ask(&with_scope("")), call("list")).allowed();
    for audience in [
        json!("https://mcp.example.com/other"),
        json!("https://mcp.example.com"),
        json!(ISSUER),
        json!([]),
        Value::Null,
    ] {
        let token = token(json!({"aud": audience}));
        scene.send_body(ask(&token), call("list")).refused(401, "wrong_audience");
    }
    // What the operator says of audiences holds instead, but for those of the other resources.
    let rules = json!([
        {"match": {"path_prefix": "/a"}, "mcp": {"resource": "https://a.example/a"}},
        {"match": {"path_prefix": "/b"}, "mcp": {"resource": "https://a.example/b"}},
    ]);
    let provider = json!({"audiences": ["https://a.example/a", "https://a.example/b", "legacy"]});
    let mut scene = Scene::of(jwt(provider.clone(), json!({"rules": rules.clone()})));
    for (path, audience, is_good) in [
        ("/a", "https://a.example/a", true),
        ("/a", "https://a.example/b", false),
        ("/b", "https://a.example/b", true),
        ("/b", "legacy", true),
        ("/b", "other", false),
    ] {
        let ask = ask(&token(json!({"aud": audience}))).set(":path", Some(path));
        let seen = scene.send_body(ask, call("list"));
        if is_good { drop(seen.allowed()) } else { drop(seen.refused(401, "wrong_audience")) }
    }
    // A candidate is for the same resource.
    let mut rules = rules;
    rules[0] = with(rules[0].take(), json!({"enforce": false, "shadow": {"enforce": true}}));
    let mut scene = Scene::of(jwt(provider, json!({"rules": rules})));
    for (audience, words) in
        [("https://a.example/a", ("allowed", "none")), ("https://a.example/b", ("denied", "wrong_audience"))]
    {
        let ask = ask(&token(json!({"aud": audience}))).set(":path", Some("/a"));
        assert_eq!(scene.send_body(ask, call("list")).upstream().shadow.unwrap().words(), words);
    }
    // A client writes an URL without a path with a slash.
    let mut scene = Scene::of(server(json!({"resource": "https://mcp.example.com"}), json!({})));
    for audience in ["https://mcp.example.com", "https://mcp.example.com/"] {
        scene.send_body(ask(&token(json!({"aud": audience}))), call("list")).allowed();
    }
}

/// MCP-04: a token in the query is refused, whatever else is configured.
#[test]
fn no_token_is_taken_from_the_query() {
    let sources = json!([{"key": "authorization"}, {"location": "query_string", "key": "access_token"}]);
    for top in [json!({}), json!({"access_token": sources})] {
        let mut scene = Scene::of(server(json!({}), top));
        let good = with_scope("");
        for sent in [
            &format!("?access_token={good}"),
            "?Access_Token=x",
            "?accessToken=x",
            "?a=b&access%5Ftoken=",
            "?access_token[0]=x",
            "?access_token%5B%5D=x",
            "?[access_token]=x",
            "?access%255Ftoken=x",
            "?a=b;access_token=x",
            "?a=b#c&access_token=x",
            ";access_token=x",
            "#access_token=x",
        ] {
            let path = format!("/mcp{sent}");
            let ask = unauthorized().set(":path", Some(&path));
            scene.send_body(ask.clone(), call("list")).refused(400, "invalid_request");
            scene.send_body(ask.bearer(&good), call("list")).refused(400, "invalid_request");
        }
        for sent in
            ["?a=access_token", "?a=access_token%3Dx", "?fields=id,access_token", "?my_access_token=x", "?a=b;c=d"]
        {
            let path = format!("/mcp{sent}");
            scene.send_body(ask(&good).set(":path", Some(&path)), call("list")).allowed();
        }
    }
}

/// MCP-05: a session is no credential: GET, DELETE and POST alike need a token.
#[test]
fn every_method_needs_a_token() {
    let mut scene = Scene::of(server(tools_of(json!({})), json!({})));
    for method in ["GET", "DELETE", "POST", "HEAD", "PUT"] {
        let ask = unauthorized().set(":method", Some(method)).header("mcp-session-id", "s1");
        let refusal = scene.send(ask).refused(401, "missing_token");
        assert_eq!(refusal.challenge().unwrap()["resource_metadata"], METADATA);
    }
    for method in ["GET", "DELETE"] {
        scene.send(ask(&with_scope("")).set(":method", Some(method)).header("mcp-session-id", "s1")).allowed();
    }
}

/// MCP-06, TB-72: the challenge of a refusal names all that the operation needs, and the error has the id of the request.
#[test]
fn a_refusal_names_all_scopes_of_the_operation() {
    let top = json!({"require": {"scopes": "mcp"}, "implied_scopes": {"admin": ["files:write", "files:delete"]}});
    let mut scene = Scene::of(server(tools_of(json!({})), top));
    let expected = format!(
        "Bearer realm=\"oidc\", error=\"insufficient_scope\", error_description=\"insufficient_scope: the access token lacks a scope\", \
         scope=\"mcp files:delete files:write\", resource_metadata=\"{METADATA}\""
    );
    for scope in ["mcp", "mcp files:write", "mcp files:deleteX files:write"] {
        let refusal = scene.send_body(ask(&with_scope(scope)), call("delete_a")).refused(403, "insufficient_scope");
        assert_eq!(refusal.header("www-authenticate"), Some(&*expected));
        assert_eq!(error(&refusal), (json!(7), json!(-403)));
        let line = json!({
            "method": "tools/call", "name": "delete_a", "subject": "ann", "decision": "denied", "reason": "insufficient_scope"
        });
        assert_eq!(audit(&refusal.filter_state), line);
    }
    for scope in ["files:delete mcp files:write", "admin mcp"] {
        let upstream = scene.send_body(ask(&with_scope(scope)), call("delete_a")).allowed();
        let line = json!({"method": "tools/call", "name": "delete_a", "subject": "ann", "decision": "allowed"});
        assert_eq!(audit(&upstream.filter_state), line);
    }
    // By the head alone, no body is read.
    let refusal = scene.send(newest(ask(&with_scope("mcp")), "tools/call", "delete_a").with_body());
    let refusal = refusal.refused(403, "insufficient_scope");
    assert_eq!(refusal.header("www-authenticate"), Some(&*expected));
    assert_eq!(audit(&refusal.filter_state)["name"], "delete_a");
    // TB-73: a tool that needs nothing needs what the service needs.
    scene.send_body(ask(&with_scope("mcp")), call("list")).allowed();
    let refusal = scene.send_body(ask(&with_scope("files:write")), call("list")).refused(403, "insufficient_scope");
    assert_eq!(refusal.challenge().unwrap()["scope"], "mcp");
}

/// MCP-06: what nobody may do is refused without a challenge, which could not help.
#[test]
fn the_first_permission_that_fits_holds() {
    let mut scene = Scene::of(server(tools_of(json!({})), json!({})));
    let all = with_scope("files:delete files:write secrets");
    let with_team = token(json!({"aud": RESOURCE, "scope": "", "team": ["a", "b"]}));
    let mut send = |token: &str, body: String| scene.send_body(ask(token), body);
    send(&all, call("delete_rootkit")).allowed();
    for tool in ["delete_root", "unknown", "List", "list "] {
        let refusal = send(&all, call(tool)).refused(403, "insufficient_claims");
        assert_eq!((refusal.header("www-authenticate"), error(&refusal).0), (None, json!(7)), "{tool}");
    }
    send(&all, call("count")).refused(403, "insufficient_claims");
    send(&with_team, call("count")).allowed();
    send(&all, message("prompts/get", json!({"name": "any"}))).refused(403, "insufficient_claims");
    send(&all, message("vendor/anything", json!({}))).refused(403, "insufficient_claims");
    for method in ["initialize", "ping", "tools/list", "notifications/initialized", "logging/setLevel"] {
        send(&with_scope(""), message(method, json!({}))).allowed();
    }
}

/// A URI is judged in every way in which a service could read it.
#[test]
fn a_resource_is_judged_in_every_spelling() {
    let mut scene = Scene::of(server(tools_of(json!({})), json!({})));
    let read = |uri: &str| message("resources/read", json!({"uri": uri}));
    let (some, none) = (with_scope("secrets"), with_scope(""));
    scene.send_body(ask(&none), read("file:///public/a%20b")).allowed();
    for uri in [
        "file:///secret/a",
        "FILE:///secret/a",
        "file:///public/../secret/a",
        "file:///public/%2e%2E/secret/a",
        "file:///public/..%2fsecret/a",
        "file:///%73ecret/a",
        "fi\tle:///secret/a",
        " file:///secret/a",
        "file:\\\\\\secret\\a",
        "file://localhost/secret/a",
    ] {
        scene.send_body(ask(&none), read(uri)).refused(403, "insufficient_scope");
        scene.send_body(ask(&some), read(uri)).allowed();
    }
}

/// The headers of 2026-07-28 are read, checked, and compared with the body.
#[test]
fn headers_and_body_say_the_same() {
    let mut scene = Scene::of(server(tools_of(json!({})), json!({})));
    let good = with_scope("files:delete files:write");
    scene.send_body(newest(ask(&good), "tools/call", "delete_a"), call("delete_a")).allowed();
    scene.send_body(newest(ask(&good), "tools/call", "=?base64?ZGVsZXRlX2E=?="), call("delete_a")).allowed();
    for (method, name, body) in [
        ("tools/call", "list", call("delete_a")),
        ("tools/list", "delete_a", call("delete_a")),
        ("tools/call", "=?base64?bGlzdA==?=", call("delete_a")),
        ("tools/call", "delete_a", message("tools/list", json!({}))),
    ] {
        let refusal = scene.send_body(newest(ask(&good), method, name), body).refused(400, "invalid_request");
        assert_eq!(error(&refusal), (json!(7), json!(-32020)), "{method} {name}");
    }
    for (name, value) in
        [("mcp-name", "=?base64?!?="), ("mcp-name", "d\u{e9}"), ("mcp-method", ""), ("mcp-protocol-version", "a b")]
    {
        let ask = newest(ask(&good), "tools/call", "delete_a").set(name, Some(value));
        let refusal = scene.send_body(ask, call("delete_a")).refused(400, "invalid_request");
        let code = if value == "a b" { -32022 } else { -32020 };
        assert_eq!(error(&refusal), (Value::Null, json!(code)), "{name}: {value}");
    }
    for name in ["mcp-name", "mcp-method", "mcp-protocol-version"] {
        let twice = newest(ask(&good), "tools/call", "delete_a").header(name, "list");
        assert_eq!(error(&scene.send_body(twice, call("delete_a")).refused(400, "invalid_request")).1, json!(-32020));
        let missing = newest(ask(&good), "tools/call", "delete_a").set(name, None);
        let seen = scene.send_body(missing, call("delete_a"));
        match name {
            "mcp-protocol-version" => drop(seen.allowed()),
            _ => assert_eq!(error(&seen.refused(400, "invalid_request")).1, json!(-32020), "{name}"),
        }
    }
    let future = scene.send_body(ask(&good).header("mcp-protocol-version", "2027-01-01"), call("list"));
    let refusal = future.refused(400, "invalid_request");
    let body: Value = serde_json::from_str(&refusal.body).unwrap();
    assert_eq!(body["error"]["data"]["requested"], "2027-01-01");
    assert!(body["error"]["data"]["supported"].as_array().unwrap().contains(&json!("2026-07-28")));
}

/// ENC-10: what two readers could read differently reaches nobody.
#[test]
fn odd_bodies_are_refused_with_their_error() {
    let mut scene = Scene::of(server(tools_of(json!({})), json!({})));
    let good = with_scope("files:delete files:write");
    for (body, status, id, code) in [
        (call("list").repeat(2), 400, Value::Null, -32700),
        (call("list").replace("\"id\":7", "\"id\":7,\"Method\":\"x\""), 400, json!(7), -32600),
        (call("list").replace("\"name\"", "\"Name\":\"delete_root\",\"name\""), 400, json!(7), -32602),
        (call("list").replace("\"id\":7", "\"id\":\"a\\\"<b\",\"jsonrpc \":1"), 400, json!("a\"<b"), -32600),
        (format!("[{}]", call("list")), 0, Value::Null, 0),
        (format!("[{},{}]", call("list"), call("delete_root")), 403, Value::Null, -403),
        (String::new(), 400, Value::Null, -32700),
    ] {
        let seen = scene.send_body(ask(&good), &body);
        let Seen::Refused(refusal) = seen else {
            assert_eq!(status, 0, "{body}");
            continue;
        };
        assert_eq!((refusal.status, error(&refusal)), (status, (id, json!(code))), "{body}");
    }
    let later = ask(&good).header("mcp-protocol-version", "2025-06-18");
    scene.send_body(later, format!("[{}]", call("list"))).refused(400, "invalid_request");
    for (name, value, status) in [
        ("content-type", "text/plain", 415),
        ("content-type", "application/json; charset=utf-16", 415),
        ("content-encoding", "gzip", 415),
        ("content-length", "1048577", 413),
        ("upgrade", "websocket", 400),
    ] {
        scene.send_body(ask(&good).set(name, Some(value)), call("list")).refused(status, "invalid_request");
    }
    let stream = scene.begin(ask(&good).with_body());
    scene.bring(stream, Body::TooLong).refused(413, "invalid_request");
    // What others send with a body is a message, too: a service may be told in a header that it is a POST.
    let ask = ask(&good).set(":method", Some("GET")).header("x-http-method-override", "POST");
    scene.send_body(ask.clone(), call("delete_root")).refused(403, "insufficient_claims");
    scene.send_body(ask, "").allowed();
}

/// MCP-07: no token goes on to the service, unless somebody says so.
#[test]
fn no_token_goes_on() {
    let good = with_scope("");
    for (top, stays) in [(json!({}), false), (json!({"forward": true}), true)] {
        let mut scene = Scene::of(server(json!({}), top));
        let upstream = scene.send_body(ask(&good), call("list")).allowed();
        assert_eq!(upstream.headers.iter().any(|(name, _)| name == "authorization"), stays);
    }
    let rules = json!([{"match": {"path": "/mcp"}, "mcp": {"resource": RESOURCE}, "audiences": RESOURCE}]);
    let mut scene = Scene::of(jwt(json!({}), json!({"forward": true, "rules": rules})));
    let upstream = scene.send_body(ask(&good), call("list")).allowed();
    assert!(upstream.headers.iter().all(|(name, _)| name != "authorization"), "a rule that begins MCP says it anew");
}

/// MCP-08: a page of another origin may not ask; TB-74: a preflight is not challenged.
#[test]
fn the_origin_of_a_page_is_checked() {
    let mut scene = Scene::of(server(json!({"allow_origins": "https://*.app.example"}), json!({})));
    let good = with_scope("");
    for origin in ["https://mcp.example.com", "https://a.app.example"] {
        scene.send_body(ask(&good).header("origin", origin), call("list")).allowed();
    }
    for origin in ["https://evil.example", "null", "http://mcp.example.com", "https://mcp.example.com.evil.example", ""]
    {
        for ask in [ask(&good), unauthorized()] {
            let refusal = scene.send_body(ask.header("origin", origin), call("list")).refused(403, "invalid_request");
            assert_eq!((error(&refusal).0, refusal.header("www-authenticate")), (Value::Null, None));
        }
    }
    let twice = ask(&good).header("origin", "https://mcp.example.com").header("origin", "https://evil.example");
    scene.send_body(twice, call("list")).refused(403, "invalid_request");
    let preflight = get("/mcp").set(":method", Some("OPTIONS")).header("origin", "https://any.example");
    scene.send(preflight.header("access-control-request-method", "POST")).bypassed();
}

/// A page that may ask may send what clients of MCP send, and read the challenge.
#[test]
fn a_listed_page_may_send_the_headers_of_the_protocol() {
    let top = json!({"cors": {"allow_origins": "https://app.example"}});
    let mut scene = Scene::of(server(json!({}), top));
    let page = |ask: Ask| ask.header("origin", "https://app.example");
    let preflight = page(get("/mcp").set(":method", Some("OPTIONS"))).header("access-control-request-method", "POST");
    let answer = scene.send(preflight).preflight();
    let allowed = answer.iter().find(|line| line.starts_with("access-control-allow-headers: ")).unwrap();
    for name in ["authorization", "content-type", "mcp-protocol-version", "mcp-session-id", "mcp-method", "mcp-name"] {
        assert!(allowed.contains(name), "{allowed}");
    }
    scene.send_body(page(ask(&with_scope(""))), call("list")).allowed();
    let refusal = scene.send_body(page(unauthorized()), call("list")).refused(401, "missing_token");
    assert!(refusal.header("access-control-expose-headers").unwrap().contains("www-authenticate"));
}

/// Where the endpoint is one of several paths, what some reader could take for it is judged as a message.
#[test]
fn other_paths_are_not_messages() {
    let mut scene = Scene::of(server(tools_of(json!({"path": "/mcp"})), json!({})));
    let mut send = |path: &str| {
        let ask = ask(&with_scope(""))
            .set(":path", Some(path))
            .set("content-type", Some("application/x-www-form-urlencoded"));
        scene.send_body(ask, "a=b")
    };
    for path in ["/other", "/mcpx", "/mcp-admin", "/"] {
        send(path).allowed();
    }
    for path in [
        "/mcp",
        "/MCP",
        "/mcp/",
        "/mcp/x",
        "/mcp;x",
        "//mcp",
        "/x/../mcp",
        "/%6dcp",
        "/mcp.json",
        "/x%2f..%2fmcp",
        "/(S(x))/mcp",
        "/m/(S(x))cp",
        "//(S(x))/mcp",
    ] {
        send(path).refused(415, "invalid_request");
    }
}

/// A policy that lets requests pass without a token asks for one where an operation needs it.
#[test]
fn without_a_token_only_what_needs_none_passes() {
    for top in [json!({"allow_missing": true}), json!({"enforce": false})] {
        let mut scene = Scene::of(server(tools_of(json!({})), top));
        scene.send_body(unauthorized(), call("list")).upstream();
        let refusal = scene.send_body(unauthorized(), call("delete_a")).refused(401, "missing_token");
        assert_eq!(refusal.challenge().unwrap()["scope"], "files:delete files:write");
        assert_eq!(error(&refusal).0, json!(7));
        let refusal = scene.send(newest(unauthorized(), "tools/call", "delete_a").with_body());
        refusal.refused(401, "missing_token");
        scene.send_body(unauthorized(), call("delete_root")).refused(403, "insufficient_claims");
        scene.send_body(unauthorized(), "not JSON").refused(400, "invalid_request");
    }
}

/// `source: headers` leaves the body to the service, and takes nothing that no service compares.
#[test]
fn headers_alone_can_say_it() {
    let mut scene = Scene::of(server(tools_of(json!({"source": "headers"})), json!({})));
    let good = with_scope("files:delete files:write");
    let upstream = scene.send(newest(ask(&good), "tools/call", "delete_a").with_body()).allowed();
    assert_eq!(upstream.body, None);
    assert_eq!(audit(&upstream.filter_state)["decision"], "allowed");
    scene.send(newest(ask(&good), "tools/call", "delete_root").with_body()).refused(403, "insufficient_claims");
    scene.send(ask(&good).with_body()).refused(400, "invalid_request");
    scene
        .send(newest(ask(&good), "tools/call", "list").set("mcp-name", None).with_body())
        .refused(400, "invalid_request");
    scene.send(newest(ask(&good), "resources/subscribe", "file:///a").with_body()).refused(403, "insufficient_scope");
    scene.send(newest(ask(&good), "tools/list", "x").set("mcp-name", None).with_body()).allowed();
}

/// Whoever asks at the verify endpoint brings no body: what only that says is refused.
#[test]
fn a_proxy_that_asks_gets_no_for_what_a_body_would_say() {
    let top = json!({"verify_path": "/verify"});
    let mut scene = Scene::of(server(tools_of(json!({})), top));
    let good = with_scope("files:delete files:write");
    let asks = |ask: Ask| ask.set(":path", Some("/verify/mcp"));
    scene.send(asks(ask(&good).set(":method", Some("GET")))).confirmed();
    scene.send(asks(newest(ask(&good), "tools/call", "delete_a"))).confirmed();
    scene.send(asks(newest(ask(&good), "tools/call", "delete_root"))).refused(403, "insufficient_claims");
    scene.send(asks(ask(&good))).refused(403, "insufficient_claims");
}

/// Each mistake is told with its field, and what to do.
#[test]
fn mistakes_are_told() {
    let told = |mcp: Value| {
        let text = server(mcp, json!({})).to_string();
        Config::read(text.as_bytes(), &|_: &str| None).err().map(|error| error.to_string()).unwrap_or_default()
    };
    for (mcp, field) in [
        (json!({"resource": null}), "mcp.resource: required"),
        (json!({"resource": "mcp.example.com"}), "mcp.resource: must be an absolute URL"),
        (json!({"resource": "http://mcp.example.com/"}), "mcp.resource: must be an https URL"),
        (json!({"resource": "https://mcp.example.com/#a"}), "mcp.resource: must have neither query nor fragment"),
        (json!({"resource": "https://mcp.example.com/?a"}), "mcp.resource: must have neither query nor fragment"),
        (json!({"resource": "https://a@mcp.example.com/"}), "mcp.resource: must not hold a user's name"),
        (json!({"resource": "https://MCP.example.com/"}), "mcp.resource: must be in canonical form"),
        (json!({"resource": "https://mcp.example.com:443/"}), "mcp.resource: must be in canonical form"),
        (json!({"resource": "https://mcp.example.com/a/../b"}), "mcp.resource: must be in canonical form"),
        (json!({"resource": "https://mcp.example.com/%41"}), "mcp.resource: must have a path in normal form"),
        (json!({"resource": "https://mcp.example.com/a//b"}), "mcp.resource: must have a path in normal form"),
        (json!({"path": "mcp"}), "mcp.path: must be a path"),
        (json!({"tools": []}), "mcp.tools: must not be empty"),
        (json!({"tools": {"scopes": "a"}}), "mcp.tools.name: required"),
        (json!({"tools": [{"name": "a*b"}]}), "mcp.tools[0].name: may hold one *"),
        (json!({"tools": [{"name": "a*"}, {"name": "ab"}]}), "mcp.tools[1].name: never holds: tools[0]"),
        (json!({"tools": [{"name": "a", "deny": true, "scopes": "b"}]}), "mcp.tools[0].deny: not beside"),
        (json!({"tools": [{"name": "a", "scope": "b"}]}), "mcp.tools[0].scope: unknown field, did you mean `scopes`?"),
        (json!({"default": "allow"}), "mcp.default: must be deny"),
        (json!({"default": {}}), "mcp.default: must not be empty"),
        (json!({"source": "body"}), "mcp.source: expected auto, headers or metadata"),
        (json!({"max_body_size": 10}), "mcp.max_body_size: must be from 1024"),
        (json!({"allow_origins": "app.example.com"}), "mcp.allow_origins: must be origins"),
        (json!({"authorization_servers": ["x"]}), "mcp.authorization_servers: must hold issuers"),
        (json!({"resource_documentation": "x"}), "mcp.resource_documentation: must be an http or https URL"),
    ] {
        let error = told(mcp);
        assert!(error.starts_with(field), "{field}\n{error}");
    }
    let rule = json!([{"match": {"path": "/a"}, "bypass": true, "mcp": {"resource": RESOURCE}}]);
    let text = jwt(json!({}), json!({"rules": rule})).to_string();
    let error = Config::read(text.as_bytes(), &|_: &str| None).unwrap_err().to_string();
    assert!(error.starts_with("rules[0].mcp: not beside `bypass`"), "{error}");
    assert_eq!(told(json!({"resource": "http://localhost:8080/mcp"})), "");
}

/// As agentgateway does, for clients that look for their provider at the resource.
#[test]
fn the_providers_own_metadata_are_found_beside_those_of_the_resource() {
    let mut scene = Scene::of(server(json!({"path": "/mcp/v1", "authorization_server_metadata": true}), json!({})));
    for path in ["", "/", "/mcp", "/mcp/v1", "/mcp?a=b"] {
        let found = document(&mut scene, &format!("/.well-known/oauth-authorization-server{path}"));
        assert_eq!(found["issuer"], ISSUER, "{path}");
        assert!(found["jwks_uri"].is_string());
    }
    for path in ["/mcp2", "/mcp/", "x", "/.well-known/openid-configuration"] {
        let asked = scene.send(get(format!("/.well-known/oauth-authorization-server{path}")));
        assert_eq!(matches!(asked, Seen::Document(..)), path == "/mcp/", "{path}");
    }
    // Nobody asks for what is not configured.
    let mut scene = Scene::of(server(json!({}), json!({})));
    scene.send(get("/.well-known/oauth-authorization-server")).refused(401, "missing_token");
    // Before it is there.
    let mut scene = Scene::cold(server(json!({"authorization_server_metadata": true}), json!({})));
    scene.send(get("/.well-known/oauth-authorization-server")).refused(503, "provider_unavailable");
}

#[test]
fn it_must_be_clear_whose_metadata_are_served() {
    let mcp = json!({"mcp": {"resource": RESOURCE, "authorization_server_metadata": true}});
    let provider = |issuer: &str| json!({"issuer": issuer, "audiences": RESOURCE});
    let two = [provider("https://a.example.com"), provider("https://b.example.com")];
    for (config, is_clear) in [
        (json!({"providers": two}), false),
        (json!({"providers": [provider("https://a.example.com")]}), true),
        (
            json!({"providers": two, "rules": [{"match": {"path_prefix": "/"}, "providers": ["b.example.com"], "mcp": mcp["mcp"]}]}),
            true,
        ),
    ] {
        let top = if config.get("rules").is_some() { config } else { with(config, mcp.clone()) };
        let read = Config::read(top.to_string().as_bytes(), &|_: &str| None);
        assert_eq!(read.is_ok(), is_clear, "{top}: {:?}", read.err());
    }
}
