//! What readers behind the filter could take for another operation than the one that was judged, and what the protocol permits.

use crate::mcp::*;
use crate::scene::*;
use crate::security_limits::time_of;
use crate::support::with;
use serde_json::{Value, json};

fn read(uri: &str) -> String {
    message("resources/read", json!({"uri": uri}))
}

/// A resource is judged as whoever opens it would find it, whatever that reader follows, decodes or leaves out.
#[test]
fn a_resource_is_found_by_readers_that_open_it() {
    let resources = json!([
        {"name": "file:///secret/*", "scopes": "secrets"},
        {"name": "file:///etc/passwd", "deny": true},
        {"name": "db://host/secret/*", "scopes": "secrets"},
        {"name": "https://intra.example/*", "scopes": "secrets"},
        {"name": "docs:secret/*", "scopes": "secrets"},
        {"name": "*"},
    ]);
    let mut scene = Scene::of(server(json!({"resources": resources}), json!({})));
    let (some, none) = (with_scope("secrets"), with_scope(""));
    for uri in [
        // What opens files finds one folder behind any number of slashes.
        "file:////secret/a",
        "file:///.//secret/a",
        "file:///public//..//..//secret/a",
        // Decoded twice, in any order with the dots.
        "file:///public/..%252fsecret/a",
        "file:///public/%252e%252e/secret/a",
        "file:///%2573ecret/a",
        "file:///public/..%5csecret/a",
        // No special scheme, so that the URL standard leaves more as it is.
        "db://HOST/secret/a",
        "DB://host/secret/a",
        "db://user@host/secret/a",
        "db://host/public/..\\secret\\a",
        "db://host/public/..%2fsecret/a",
        "db://host//secret/a",
        // An opaque path is followed by who joins it to a folder.
        "docs:public/../secret/a",
        "docs:./secret/a",
        "docs:/secret/a",
        "docs:public/%2e%2e/secret/a",
        "DOCS:secret/a",
        "https://user@intra.example/a",
        "https://intra.example:443/a",
        "https://INTRA.example/a",
        "https:intra.example/a",
        "https://intra.example./a",
        // Windows takes dots and spaces off names, and knows streams of a file.
        "file:///secret./a",
        "file:///secret%20/a",
        "file:///secret::$INDEX_ALLOCATION/a",
        // Whoever opens a file looks at the path alone (`urlsplit(uri).path`, `uri.replace("file://", "")`).
        "file://other/secret/a",
        "file://127.0.0.1/public/../secret/a",
        "FILE://user@[::1]:80//secret/a",
        "/secret/a",
        "//other/secret/a",
        // And takes off what stands around it in a text (Java's `URL`, Python's `urlopen`).
        "url:file:///secret/a",
        "URL:https://intra.example/a",
        "<URL:docs:secret/a>",
        // Whoever opens a folder sees what is in it.
        "file:///secret",
        "file:///Secret?a",
        "db://host/secret",
        "docs:secret",
    ] {
        scene.send_body(ask(&none), read(uri)).refused(403, "insufficient_scope");
        scene.send_body(ask(&some), read(uri)).allowed();
    }
    for uri in [
        "file:///etc/passwd",
        "file:///etc/passwd#a",
        "file:///etc/passwd?a=b",
        "file:///etc//passwd",
        "file:///etc/passwd%23",
        "file:///etc/passwd/",
        "file:///etc/passwd.",
        "file:///ETC/passwd::$DATA",
        "file:///etc/passwd%00.txt",
    ] {
        scene.send_body(ask(&some), read(uri)).refused(403, "insufficient_claims");
    }
    for uri in
        ["file:///public/a%20b", "file:///public/?secret", "db://other/secret/a", "docs:public/a", "urn:x:1", "a/b"]
    {
        scene.send_body(ask(&none), read(uri)).allowed();
    }
}

/// Templates of resources are regular expressions to the SDKs: one minds no case, in another a dot is any sign.
#[test]
fn a_resource_is_found_by_templates_that_match_more() {
    let resources = json!([
        {"name": "docs://host/secret/open/*"},
        {"name": "docs://host/secret/*", "scopes": "secrets"},
        {"name": "docs://host/top.secret/*", "scopes": "secrets"},
        {"name": "docs://host/caf%C3%A9/*", "scopes": "secrets"},
        {"name": "docs://host/Key", "deny": true},
        {"name": "docs://host/*"},
    ]);
    let mut scene = Scene::of(server(json!({"resources": resources}), json!({})));
    let (some, none) = (with_scope("secrets"), with_scope(""));
    for uri in [
        "docs://host/SECRET/a",
        "docs://host/Secret/a",
        "docs://HOST/public/../seCret/a",
        "docs://host/%53ecret/a",
        "docs://host/top-secret/a",
        "docs://host/TOP/secret/a",
        "docs://host/caf\u{e9}/a",
        "docs://host/CAF%C3%89/a",
        "docs://host/cafe%CC%81/a",
        "docs://host/cafe\u{301}/a",
    ] {
        scene.send_body(ask(&none), read(uri)).refused(403, "insufficient_scope");
        scene.send_body(ask(&some), read(uri)).allowed();
    }
    for uri in ["docs://host/key", "docs://host/KEY", "docs://host/%E2%84%AAey", "docs://host/\u{212a}ey"] {
        scene.send_body(ask(&some), read(uri)).refused(403, "insufficient_claims");
    }
    for uri in [
        "docs://host/secret/open/a",
        "docs://host/public/../secret/open/a",
        "docs://host/secrets/a",
        "docs://host/topsecret/a",
        "docs://host/cafe/a",
        "docs://host/caf\u{ea}/a",
        "docs://host/keys",
    ] {
        scene.send_body(ask(&none), read(uri)).allowed();
    }
}

/// A client chooses how many URIs a message has, and how many readings each: comparing all with a long list must not stall others.
#[test]
fn a_list_beyond_ascii_is_compared_as_fast_as_another() {
    let uris: Vec<String> = (0..4).map(|index| format!("docs://u@HOST/tenants//archive/z{index}?x#y")).collect();
    let listen = message("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": uris}}));
    let fastest = |sign: &str| {
        let name = |index| format!("docs://host/tenants/archive/{index}/{sign}*");
        let mut resources: Vec<Value> = (0..1023).map(|index| json!({"name": name(index)})).collect();
        resources.push(json!({"name": "*"}));
        let mut scene = Scene::of(server(json!({"resources": resources}), json!({})));
        let mut send = || time_of(|| drop(scene.send_body(ask(&with_scope("")), &listen).allowed()));
        (0..3).map(|_| send()).min().unwrap()
    };
    let (ascii, beyond) = (fastest("e"), fastest("\u{e9}"));
    assert!(beyond < ascii * 6, "{ascii:?} {beyond:?}");
}

/// Texts are equal to Swift whatever Unicode's form they have.
#[test]
fn a_tool_is_found_by_readers_that_compare_canonical_forms() {
    let list =
        json!([{"name": "Kill_*", "scopes": "kill"}, {"name": "supprim\u{e9}", "scopes": "kill"}, {"name": "*"}]);
    let mut scene = Scene::of(server(json!({"tools": list, "prompts": list}), json!({})));
    let (some, none) = (with_scope("kill"), with_scope(""));
    for method in ["tools/call", "prompts/get"] {
        for name in ["Kill_all", "supprim\u{e9}", "\u{212a}ill_all", "supprime\u{301}"] {
            let body = message(method, json!({"name": name}));
            scene.send_body(ask(&none), &body).refused(403, "insufficient_scope");
            scene.send_body(ask(&some), &body).allowed();
        }
        // Case tells names apart to everybody.
        for name in ["kill_all", "SUPPRIM\u{c9}", "supprim\u{ea}", "supprime", "\u{65e5}\u{672c}", "\u{212b}"] {
            scene.send_body(ask(&none), message(method, json!({"name": name}))).allowed();
        }
    }
}

/// Services run a tool by other names than the one that they list: arcade-mcp-server also by that which it has made a listed one of,
/// FastMCP by its app's name before it (3.0 to 3.2), or by a digest that a client can compute (3.3 and newer).
#[test]
fn a_tool_is_found_by_services_that_know_it_by_other_names() {
    let tools = json!([
        {"name": "Files_Delete", "scopes": "kill"},
        {"name": "Data.Drop*", "scopes": "kill"},
        {"name": "wipe", "scopes": "kill"},
        {"name": "*"},
    ]);
    let mut scene = Scene::of(server(json!({"tools": tools}), json!({})));
    let (some, none) = (with_scope("kill"), with_scope(""));
    for name in [
        "Files_Delete",
        "Files.Delete",
        "Files/Delete",
        "Data_DropAll",
        "Shop___wipe",
        "a___Data_Drop",
        "d0e437040717_wipe",
        "__d0e437040717_wipe",
        "__d0e437040717_renamed",
    ] {
        scene.send_body(ask(&none), call(name)).refused(403, "insufficient_scope");
        scene.send_body(ask(&some), call(name)).allowed();
        let asked = newest(ask(&none), "tools/call", name);
        scene.send_body(asked, call(name)).refused(403, "insufficient_scope");
    }
    for name in [
        "Files-Delete",
        "FilesDelete",
        "files.delete",
        "Files_Deleted",
        "Data-Drop",
        "orders___list",
        "wipe___all",
        "__wipe",
        "d0e43704071_wipe",
        "d0e4370407170_wipe",
        "D0E437040717_wipe",
        "d0e437040717wipe",
    ] {
        scene.send_body(ask(&none), call(name)).allowed();
    }
    // What the operator has listed by these names is what he means.
    let tools = json!([
        {"name": "orders___*"},
        {"name": "Files.Delete"},
        {"name": "d0e437040717_open"},
        {"name": "__*"},
        {"name": "Files_Delete", "deny": true},
        {"name": "wipe", "deny": true},
        {"name": "d0*"},
    ]);
    let mut scene = Scene::of(server(json!({"tools": tools, "default": "deny"}), json!({})));
    for name in ["orders___wipe", "Files.Delete", "d0e437040717_open", "__d0e437040717_wipe"] {
        scene.send_body(ask(&none), call(name)).allowed();
    }
    for name in ["Files_Delete", "Files/Delete", "Shop___wipe", "d0e437040717_wipe"] {
        scene.send_body(ask(&none), call(name)).refused(403, "insufficient_claims");
    }
}

/// Skills are resources (SEP-2640); and what a method that nobody here knows is about needs what a known one would need for it.
#[test]
fn what_extensions_are_about_needs_what_it_needs_elsewhere() {
    let lists = json!({
        "tools": [{"name": "wipe", "scopes": "secrets"}, {"name": "*"}],
        "prompts": [{"name": "boss", "scopes": "secrets"}, {"name": "*"}],
        "resources": [{"name": "skill://secret/*", "scopes": "secrets"}, {"name": "*"}],
    });
    let (some, none) = (with_scope("secrets"), with_scope(""));
    let mut scene = Scene::of(server(lists.clone(), json!({})));
    for (method, parameter, guarded, open) in [
        ("resources/directory/read", "uri", "skill://secret", "skill://open"),
        ("skills/get", "uri", "skill://secret/SKILL.md", "skill://open/SKILL.md"),
        ("resources/stat", "uri", "skill://open/../secret/a", "skill://open/a"),
        ("vendor/open", "uri", "SKILL://secret/a", "skill://open/a"),
        ("tools/describe", "name", "wipe", "list"),
        ("prompts/render", "name", "boss", "greet"),
    ] {
        let asked = |name: &str| message(method, json!({parameter: name}));
        scene.send_body(ask(&none), asked(guarded)).refused(403, "insufficient_scope");
        scene.send_body(ask(&some), asked(guarded)).allowed();
        scene.send_body(ask(&none), asked(open)).allowed();
        let newest = newest(ask(&none), method, open);
        scene.send_body(newest, asked(guarded)).refused(403, "insufficient_scope");
    }
    for method in ["resources/directory/read", "skills/get", "Skills/List"] {
        let refusal =
            scene.send_body(ask(&some), message(method, json!({"name": "a"}))).refused(400, "invalid_request");
        assert!(["-32602", "-32600"].contains(&&*error(&refusal).1.to_string()), "{method}");
    }
    // With `default`, what is known stays permitted, and what is not is not.
    let strict = with(lists, json!({"default": "deny"}));
    let mut scene = Scene::of(server(strict.clone(), json!({})));
    scene.send_body(ask(&none), message("skills/list", json!({}))).allowed();
    scene.send_body(ask(&none), message("skills/get", json!({"uri": "skill://open/SKILL.md"}))).allowed();
    scene.send_body(ask(&none), message("resources/stat", json!({"uri": "a:b"}))).refused(403, "insufficient_claims");
    // No header names what it is.
    let mut scene = Scene::of(server(with(strict, json!({"source": "headers"})), json!({})));
    for method in ["resources/directory/read", "skills/get"] {
        let asked = |token| newest(ask(token), method, "skill://open").with_body();
        scene.send(asked(&none)).refused(403, "insufficient_scope");
        scene.send(asked(&some)).allowed();
    }
}

/// What an operator lists as it is written is what he means, and what he lists before holds: no reading of it is held against the rest.
#[test]
fn a_resource_that_is_listed_needs_what_is_said_of_it() {
    let resources = json!([
        {"name": "db://x?table=public"},
        {"name": "file:///a%20b"},
        {"name": "notes://Work/*"},
        {"name": "share://host//a/*"},
        {"name": "file:///public/*"},
        {"name": "file:///caf\u{e9}/*"},
        {"name": "file:///c%20d/*"},
        {"name": "file:///e f/*"},
    ]);
    let mut scene = Scene::of(server(json!({"resources": resources, "default": "deny"}), json!({})));
    let good = with_scope("");
    for uri in [
        "db://x?table=public",
        "file:///a%20b",
        "notes://Work/a",
        "share://host//a/b",
        "file:///public/a%20b?c#d",
        "file:///caf\u{e9}/a%20b",
        "file:///c%20d/e",
        "file:///e f/g",
    ] {
        scene.send_body(ask(&good), read(uri)).allowed();
    }
    for uri in [
        "db://x?table=secret",
        "notes://work/a",
        "file:///public/../a",
        "file:///public/..%2fa",
        "file:///public/%252e%252e/a",
        "file:///public%2fa",
        "file:///caf\u{e9}/../a",
        "file:///c%20d/%2e%2e/a",
    ] {
        scene.send_body(ask(&good), read(uri)).refused(403, "insufficient_claims");
    }
}

/// Where the body is left to others, and no header names a resource or a prompt, it could be any.
#[test]
fn what_no_header_names_needs_what_any_of_it_needs() {
    let mcp = json!({
        "source": "headers",
        "resources": [{"name": "a:*", "scopes": "s1"}, {"name": "b:*", "scopes": "s2"}],
        "prompts": [{"name": "p", "scopes": "s3"}, {"name": "*"}],
        "tools": [{"name": "*", "deny": true}],
        "default": {"scopes": "s4"},
    });
    let mut scene = Scene::of(server(mcp, json!({})));
    for (method, scopes) in [
        ("resources/subscribe", "s1 s2 s4"),
        ("resources/unsubscribe", "s1 s2 s4"),
        ("subscriptions/listen", "s1 s2 s4"),
        ("completion/complete", "s3 s1 s2 s4"),
    ] {
        let lacking = scopes.rsplit_once(' ').unwrap().0;
        let refusal = scene.send(newest(ask(&with_scope(lacking)), method, "a:x").with_body());
        assert_eq!(refusal.refused(403, "insufficient_scope").challenge().unwrap()["scope"], scopes, "{method}");
        scene.send(newest(ask(&with_scope(scopes)), method, "a:x").with_body()).allowed();
    }
    // Where the body is read, it says which.
    let resources = json!([{"name": "a:*", "scopes": "s1"}, {"name": "b:*", "scopes": "s2"}]);
    let mut scene = Scene::of(server(json!({"resources": resources}), json!({})));
    let listen = message("subscriptions/listen", json!({"notifications": {"resourceSubscriptions": ["a:x"]}}));
    let asks = |scope: &str| newest(ask(&with_scope(scope)), "subscriptions/listen", "x").set("mcp-name", None);
    scene.send_body(asks("s1"), &listen).allowed();
    scene.send_body(asks("s2"), &listen).refused(403, "insufficient_scope");
}

/// A header in another spelling is the same one to a service that knows no difference between a dash and an underscore.
#[test]
fn headers_have_one_spelling() {
    for source in ["auto", "headers"] {
        let mut scene = Scene::of(server(tools_of(json!({"source": source})), json!({})));
        let good = with_scope("");
        for name in ["mcp_name", "mcp_method", "mcp_protocol_version", "mcp-protocol_version", "mcpname", "mcp.name"] {
            let twice = newest(ask(&good), "tools/call", "list").header(name, "delete_a");
            assert_eq!(
                error(&scene.send(twice.with_body()).refused(400, "invalid_request")).1,
                json!(-32020),
                "{name}"
            );
        }
        let others =
            [("mcp-param-name", "x"), ("x-mcp-name", "y"), ("x-content-type", "z"), ("content-type-options", "a")];
        let other =
            others.iter().fold(newest(ask(&good), "tools/call", "list"), |ask, (name, value)| ask.header(name, *value));
        let upstream = scene.send_body(other, call("list")).upstream();
        assert_eq!((upstream.header("mcp-param-name"), upstream.header("x-mcp-name")), (Some("x"), Some("y")));
    }
}

/// In UTF-7, `+AGQ-elete_a` is `delete_a`; and a text can be JSON as it stands, and another one when it is inflated.
#[test]
fn the_form_of_a_body_is_told_in_one_spelling() {
    let mut scene = Scene::of(server(tools_of(json!({})), json!({})));
    for (name, value) in [
        ("content_type", "application/json; charset=utf-7"),
        ("content.type", "application/json"),
        ("content_encoding", "deflate"),
        ("content-encoding", "deflate"),
    ] {
        let ask = ask(&with_scope("")).header(name, value);
        scene.send_body(ask, call("list")).refused(415, "invalid_request");
    }
}

/// What the specification permits, and few write.
#[test]
fn what_the_protocol_permits_passes() {
    let mut scene = Scene::of(server(json!({"tools": [{"name": "deny", "deny": true}]}), json!({})));
    let good = with_scope("");
    // 2025-11-25, `JSONRPCErrorResponse`; JSON-RPC 2.0, section 5.
    for answer in [
        json!({"jsonrpc": "2.0", "error": {"code": -32600, "message": "a"}}),
        json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32700, "message": "a"}}),
        json!({"jsonrpc": "2.0", "id": 1.5, "result": {}}),
    ] {
        scene.send_body(ask(&good).header("mcp-protocol-version", "2025-11-25"), answer.to_string()).allowed();
        scene.send_body(newest(ask(&good), "ping", "x"), answer.to_string()).refused(400, "invalid_request");
    }
    // "Value Encoding": a tab may stand in a header.
    scene.send_body(newest(ask(&good), "tools/call", "a\tb"), call("a\tb")).allowed();
    scene.send_body(newest(ask(&good), "tools/call", "=?base64?YQli?="), call("a\tb")).allowed();
    // Over HTTP/2, an empty frame can end what has no body.
    for method in ["GET", "DELETE"] {
        let ask = ask(&good).set(":method", Some(method)).set("content-type", None);
        scene.send_body(ask.clone(), "").allowed();
        scene.send_body(ask.clone(), call("a")).refused(415, "invalid_request");
        scene.send_body(ask.clone(), "a=b").refused(415, "invalid_request");
        scene.send_body(ask.header("content-type", "text/plain"), "").refused(415, "invalid_request");
    }
}

/// MCP-06: the operations of a batch are asked for together, and so are their scopes; what nobody may do is told first.
#[test]
fn a_batch_is_refused_as_a_whole() {
    let tools = json!([{"name": "a", "scopes": "s1"}, {"name": "b", "scopes": "s2"}, {"name": "c", "deny": true}]);
    let mut scene = Scene::of(server(json!({"tools": tools}), json!({})));
    let batch = |names: &[&str]| format!("[{}]", names.iter().map(|name| call(name)).collect::<Vec<_>>().join(","));
    for scope in ["", "s1", "s2"] {
        let refusal = scene.send_body(ask(&with_scope(scope)), batch(&["a", "b"])).refused(403, "insufficient_scope");
        assert_eq!(refusal.challenge().unwrap()["scope"], "s1 s2");
    }
    scene.send_body(ask(&with_scope("s1 s2")), batch(&["a", "b"])).allowed();
    let refusal = scene.send_body(ask(&with_scope("")), batch(&["a", "c"])).refused(403, "insufficient_claims");
    assert_eq!(audit(&refusal.filter_state)["name"], "c");
}

/// MCP-02: the metadata are where the challenge says, whatever the path of the resource consists of, and whatever port is named.
#[test]
fn the_metadata_are_where_the_challenge_says() {
    for path in ["", "/", "/mcp", "/a/b/", "/caf%C3%A9", "/a%20b", "/a:b", "/a(b)", "/a,b+c@d~e"] {
        let resource = format!("https://mcp.example.com{path}");
        let mut scene = Scene::of(server(json!({"resource": resource}), json!({})));
        let refusal = scene.send_body(unauthorized(), call("list")).refused(401, "missing_token");
        let url = refusal.challenge().unwrap()["resource_metadata"].clone();
        let found = document(&mut scene, url.strip_prefix("https://mcp.example.com").unwrap());
        assert_eq!(found["resource"], resource);
    }
    let rule = |path: &str, resource: &str| json!({"match": {"path_prefix": path}, "mcp": {"resource": resource}});
    let rules =
        [rule("/a", "https://a.example/a"), rule("/b", "https://b.example/a"), rule("/c", "https://b.example:8443/a")];
    let mut scene = Scene::of(jwt(json!({}), json!({"rules": rules})));
    for (host, resource) in [
        ("a.example:443", Some("https://a.example/a")),
        ("A.example", Some("https://a.example/a")),
        ("b.example:8443", Some("https://b.example:8443/a")),
        ("b.example:444", None),
    ] {
        let ask = get("/.well-known/oauth-protected-resource/a").set(":authority", Some(host));
        let found = match scene.send(ask) {
            Seen::Document(_, answer) => serde_json::from_slice(&answer.body).unwrap(),
            _ => Value::Null,
        };
        assert_eq!(found["resource"].as_str(), resource, "{host}");
    }
}

/// What docs/mcp.md says of an endpoint in a rule: the expression is for frameworks that take several paths for one.
#[test]
fn a_rule_can_be_for_all_that_a_framework_takes_for_its_endpoint() {
    let mcp = json!({"resource": RESOURCE, "tools": [{"name": "*", "deny": true}]});
    let rules = json!([{"match": {"path_pattern": "(?i)/mcp([/.].*)?"}, "mcp": mcp}]);
    let mut scene = Scene::of(jwt(json!({"audiences": RESOURCE}), json!({"rules": rules})));
    for path in [
        "/mcp",
        "/mcp/",
        "/MCP",
        "/mcp.json",
        "/mcp/x",
        "/mcp:x",
        "/mcp;x",
        "//mcp",
        "/%6dcp",
        "/x/../mcp",
        "/(S(x))/mcp",
        "/m/(S(x))cp",
        "//(S(x))/mcp",
    ] {
        let seen = scene.send_body(ask(&with_scope("")).set(":path", Some(path)), call("list"));
        assert!(matches!(seen, Seen::Refused(_)), "{path}");
    }
    scene.send_body(ask(&with_scope("")).set(":path", Some("/other")), call("list")).allowed();
}

/// A proxy that asks brings no body: whatever method can have one is judged as if it had.
#[test]
fn a_proxy_that_asks_tells_no_body() {
    let mut scene = Scene::of(server(tools_of(json!({})), json!({"verify_path": "/verify"})));
    let good = with_scope("files:delete files:write");
    let asks = |ask: Ask, method: &str| ask.set(":path", Some("/verify/mcp")).set(":method", Some(method));
    for method in ["POST", "PUT", "PATCH", "QUERY", "post"] {
        scene.send(asks(ask(&good), method)).refused(403, "insufficient_claims");
        scene.send(asks(newest(ask(&good), "tools/call", "delete_a"), method)).confirmed();
        scene.send(asks(newest(ask(&good), "tools/call", "delete_root"), method)).refused(403, "insufficient_claims");
    }
    for method in ["GET", "DELETE", "HEAD"] {
        scene.send(asks(ask(&good), method)).confirmed();
    }
}

/// A method in other letters is none that a header may name.
#[test]
fn headers_name_methods_to_the_letter() {
    for source in ["auto", "headers"] {
        let mut scene = Scene::of(server(json!({"source": source}), json!({})));
        for method in ["Tools/Call", "tools.call", "tools/call/", "resources_read", "Tools/List"] {
            let refusal = scene.send(newest(ask(&with_scope("")), method, "a").with_body());
            assert_eq!(error(&refusal.refused(400, "invalid_request")).1, json!(-32020), "{method}");
        }
    }
}
