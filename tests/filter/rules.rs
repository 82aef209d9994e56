//! Rules: which request falls under which policy, and what each policy can say otherwise.

use crate::listener::heard;
use crate::scene::*;
use crate::security_limits::in_linear_time;
use crate::support::with;
use oidc_filter::config::Config;
use oidc_filter::decision::Shadow;
use oidc_filter::http::Route;
use serde_json::{Value, json};
use std::time::Duration;

/// A provider that proves JWTs, a header for the subject, and these rules.
fn ruled(rules: Value) -> Scene {
    ruled_with(rules, json!({}))
}

fn ruled_with(rules: Value, top: Value) -> Scene {
    let base = json!({"rules": rules, "claim_headers": {"header": "x-user", "claim": "sub"}});
    Scene::of(jwt(json!({}), with(base, top)))
}

fn bypass(matching: Value) -> Value {
    json!({"match": matching, "bypass": true})
}

/// A rule that a request shows by its realm.
fn marked(realm: &str, matching: Value) -> Value {
    json!({"match": matching, "realm": realm})
}

/// The realm of the policy that a request without a token falls under.
#[track_caller]
fn realm(scene: &mut Scene, ask: Ask) -> String {
    scene.send(ask).refused(401, "missing_token").challenge().unwrap().remove("realm").unwrap()
}

#[track_caller]
fn protected(scene: &mut Scene, path: &str) {
    match scene.send(get(path)) {
        Seen::Refused(refusal) => assert!(matches!(refusal.status, 400 | 401), "{path}: {refusal:?}"),
        other => panic!("{path}: {other:?}"),
    }
}

/// AR-01, HDR-01, HDR-03: what a bypass lets through has no identity, and no forged one.
#[test]
fn a_bypass_removes_identities() {
    let mut scene = ruled(json!([bypass(json!({"path_prefix": "/my_app/"}))]));
    let upstream = scene.send(get("/my_app/x").header("x-user", "admin").header("X_USER", "admin")).bypassed();
    assert_eq!(upstream.header("x-user"), None);
    // A token is not looked at: a bad one does no harm, a good one makes no identity.
    for token in ["garbage", &good()] {
        let upstream = scene.send(get("/my_app").bearer(token)).bypassed();
        assert_eq!(upstream.header("x-user"), None);
        assert_eq!(upstream.header("authorization"), Some(&*format!("Bearer {token}")));
    }
    protected(&mut scene, "/other");
    assert_eq!(scene.send(get("/other").bearer(&good())).allowed().header("x-user"), Some("ann"));
}

/// AR-04: what needs no token needs no provider either.
#[test]
fn a_bypass_before_the_provider_is_there() {
    let mut scene = Scene::cold(jwt(json!({}), json!({"rules": [bypass(json!({"path": "/healthz"}))]})));
    scene.provider.at("/.well-known/openid-configuration", status(503));
    scene.tick();
    scene.send(get("/healthz")).bypassed();
    scene.send(bearer(&good())).refused(503, "provider_unavailable");
}

/// AR-02, PTH-05, PTH-06.
#[test]
fn prefixes_are_whole_segments() {
    let mut scene =
        ruled(json!([bypass(json!({"path_prefix": ["/my_app", "/a/b/"]})), bypass(json!({"path": "/health"}))]));
    for open in
        ["/my_app", "/my_app/", "/my_app/x?y=/z", "/my_app?x", "/a/b", "/a/b/", "/a/b/c", "/health", "/health?x=../y"]
    {
        scene.send(get(open)).bypassed();
    }
    for closed in [
        "/my_app_secret",
        "/my_appx/",
        "/my",
        "/",
        "/MY_APP",
        "/My_app/x",
        "/a",
        "/a/bc",
        "/x/my_app",
        "/health/",
        "/healthz",
        "/health.evil",
        "/admin/health",
        "/health%20",
        "/x?/my_app",
        "/x#/my_app",
        "/my_app;x=1",
        "/my_app./x",
    ] {
        match closed {
            // The whole segment is there; the dot belongs to another one.
            "/my_app./x" => protected(&mut scene, closed),
            _ => protected(&mut scene, closed),
        }
    }
}

/// AR-03, PTH-01, PTH-02, PTH-03, PTH-04.
#[test]
fn ambiguous_paths_never_match_a_bypass() {
    let mut scene =
        ruled(json!([bypass(json!({"path_prefix": "/public"})), bypass(json!({"path_pattern": "/open/.*"}))]));
    scene.send(get("/public/a")).bypassed();
    scene.send(get("/public/caf%C3%A9/a%20b")).bypassed();
    scene.send(get("/open/a")).bypassed();
    for path in [
        "/public/../admin",
        "/public/..%2fadmin",
        "/public/%2e%2e/admin",
        "/public/.%2e/admin",
        "/public/..;/admin",
        "/public\\..\\admin",
        "//public/../admin",
        "/public//../admin",
        "//admin",
        "///admin",
        "//public/a",
        "/public%2fa",
        "/public/a%2Fb",
        "/public/a%5Cb",
        "/public/a%5c..%5c..%5cadmin",
        "/public/%252e%252e/admin",
        "/public/%252e%252e%252fadmin",
        "/public/%c0%ae%c0%ae/admin",
        "/public/%00",
        "/public/a%00",
        "/public/./a",
        "/%70ublic/a",
        "/public/a%zz",
        "/public/%",
        "/public/a;b=c",
        "/admin?/public",
        "/admin?x=/public/health",
        "/admin#/public",
        "/public#/../admin",
        "/public?../admin#x",
        "/admin%3f/public",
        "/public%3f",
        "/public%23/a",
        "/open/../admin",
        "/open/%2e%2e/admin",
        "/open//a",
        "/open/a%0Ab",
        "public/a",
        "*",
        "",
        "/public/\u{7f}",
        "/public/é",
        "https://api.example.com/public/a",
        "/public/ a",
    ] {
        protected(&mut scene, path);
    }
    protected(&mut scene, std::str::from_utf8(&[b'/', b'p', 0x7f]).unwrap());
    let long = format!("/public/{}%2f..", "a/".repeat(8000));
    protected(&mut scene, &long);
    // With a token they are requests like any other.
    for path in ["/public/../admin", "/public/a%2Fb", "//admin"] {
        scene.send(get(path).bearer(&good())).allowed();
    }
    // PTH-11, PTH-12: no path at all, and bytes that are no text.
    let ask = bare().set(":path", None);
    scene.send(ask.clone()).refused(401, "missing_token");
    scene.send(ask.header(":path", b"/public/\xff")).refused(401, "missing_token");
}

/// PTH-03: a rule that demands more must not be walked around either: what two readers would find under two rules is
/// refused.
#[test]
fn a_path_under_two_rules_is_refused() {
    let mut scene = ruled(json!([{"match": {"path_prefix": "/admin"}, "require": {"scopes": "admin"}}]));
    let ask = |path: &str| get(path).bearer(&good());
    scene.send(ask("/things")).allowed();
    scene.send(ask("/admin/x")).refused(403, "insufficient_scope");
    for path in ["/%61dmin", "/admin/%2e/x", "/admin/..;x", "/admin//x", "/admin/%c0%ae", "/admin/a%2Fb"] {
        // Whoever reads it, it is below /admin.
        match scene.send(ask(path)) {
            Seen::Refused(refusal) => assert!(matches!(refusal.status, 400 | 403), "{path}: {refusal:?}"),
            other => panic!("{path}: {other:?}"),
        }
    }
    for path in [
        "//admin",
        "/x/../admin",
        "/x/..%2fadmin",
        "/x%2f..%2fadmin",
        "/x/%252e%252e/admin",
        "\\admin",
        "/admin;a=b",
        "/x\\..\\admin",
        "/.//admin",
        "/admin%3fx",
        "/admin%2fx",
        "/admin%5cx",
        "/x/..;/admin",
    ] {
        let refusal = scene.send(ask(path)).refused(400, "invalid_request");
        let said = &refusal.challenge().unwrap()["error_description"];
        assert!(said.contains("path, method or host") && refusal.body.contains(said.as_str()), "{}", refusal.body);
        assert_eq!(refusal.error().as_deref(), Some("invalid_request"), "{path}");
    }
    // Also where what is invalid is stripped: nobody knows under which rule.
    let rules = json!([{"match": {"path_prefix": "/admin"}, "enforce": true}]);
    let mut scene = ruled_with(rules, json!({"enforce": false}));
    scene.send(get("/things")).stripped("missing_token");
    scene.send(get("/admin")).refused(401, "missing_token");
    scene.send(get("//admin")).refused(400, "invalid_request");
}

/// PTH-01, PTH-03: Readers do the same things to a path in different orders. Whatever one of them makes of it counts.
#[test]
fn no_reader_s_order_leads_around_a_rule() {
    let rules = json!([
        {"match": {"path_prefix": "/admin"}, "require": {"scopes": "admin"}},
        {"match": {"path": "/reports/"}, "require": {"scopes": "admin"}},
        {"match": {"path_pattern": "/files/.*"}, "require": {"scopes": "admin"}},
        {"match": {"path_prefix": "/public"}, "allow_missing": true},
    ]);
    let mut scene = ruled(rules);
    for path in [
        "/admin;x=%2F..",
        "/admin;x=%2f../users",
        "/x/../admin/..\\",
        "/x/../admin/..%5c",
        "/x/../admin/..;/",
        "/x/%2e%2e/admin/..%2f",
        "/x/../admin//..",
        "//x/admin",
        "///x/admin/users",
        "/\\x/admin",
        "https://x/admin",
        "/x#/../admin",
        "/x/../admin%00/../..",
        "/reports/.",
        "/reports/x/..",
        "/reports/;x",
        "/reports\\",
        "/x/%c0%ae%c0%ae/admin",
        "/x/../files/.",
        "/x/../files/y/..",
    ] {
        scene.send(get(path).bearer(&good())).refused(400, "invalid_request");
    }
    scene.send(get("/public/a")).upstream();
    for path in [
        "/public/../admin/..\\..\\public",
        "/public/../admin/..%5c..%5cpublic",
        "/public/../admin/..;/..;/public",
        "/public/x;y=%2f..%2f..%2f../admin",
    ] {
        protected(&mut scene, path);
    }
    // Nobody can say what so many steps lead to. Where no rule looks at the path, nobody needs to.
    let strange = format!("/%{}41", "25".repeat(100));
    scene.send(get(&strange).bearer(&good())).refused(400, "invalid_request");
    let mut scene = ruled(json!([{"match": {"methods": "POST"}, "require": {"scopes": "admin"}}]));
    scene.send(get(&strange).bearer(&good())).allowed();
}

/// PTH-07.
#[test]
fn methods_are_exact() {
    let mut scene = ruled(json!([bypass(json!({"path": "/a", "methods": ["GET", "OPTIONS"]}))]));
    scene.send(get("/a")).bypassed();
    scene.send(get("/a").set(":method", Some("OPTIONS"))).bypassed();
    for method in ["HEAD", "POST", "get", "Get", "FOO", "GETX"] {
        scene.send(get("/a").set(":method", Some(method))).refused(401, "missing_token");
    }
    let ask = get("/a").set(":method", Some("POST"));
    for (name, value) in [("x-http-method-override", "GET"), ("x-method-override", "GET")] {
        scene.send(ask.clone().header(name, value)).refused(401, "missing_token");
    }
    scene.send(get("/a?_method=GET").set(":method", Some("POST"))).refused(401, "missing_token");
}

/// PTH-07: Envoy lets a method in lower case through over HTTP/2, and Django, Symfony and others read it in upper
/// case.
#[test]
fn a_method_in_lower_case_leads_around_no_rule() {
    let mut scene = ruled(json!([{"match": {"path": "/a", "methods": "DELETE"}, "require": {"scopes": "admin"}}]));
    let ask = |path: &str, method: &str| get(path).set(":method", Some(method)).bearer(&good());
    scene.send(ask("/a", "DELETE")).refused(403, "insufficient_scope");
    for method in ["delete", "Delete"] {
        scene.send(ask("/a", method)).refused(400, "invalid_request");
        scene.send(ask("/b", method)).allowed();
    }
    scene.send(ask("/a", "get")).allowed();
    // Where no rule looks at the method, it may be any.
    ruled(json!([bypass(json!({"path": "/a"}))])).send(get("/a").set(":method", Some("get"))).bypassed();
}

/// PTH-08.
#[test]
fn only_the_path_itself_counts() {
    let mut scene = ruled(json!([bypass(json!({"path_prefix": "/public"}))]));
    for name in [
        "x-original-url",
        "x-rewrite-url",
        "x-forwarded-uri",
        "x-forwarded-prefix",
        "x-envoy-original-path",
        "x-original-uri",
    ] {
        scene.send(get("/admin").header(name, "/public")).refused(401, "missing_token");
    }
}

/// HTP-04: RFC 9110, section 9.3.6: in a tunnel, a client writes what it likes, for any host and path. It opens to nobody by a rule that
/// was not meant for it.
#[test]
fn a_tunnel_is_under_no_rule_that_asks_for_less() {
    let tunnel = |token: &str| {
        let ask = get("").set(":path", None).set(":method", Some("CONNECT"));
        let ask = ask.set(":authority", Some("open.example.com:443"));
        if token.is_empty() { ask } else { ask.bearer(token) }
    };
    let host = json!({"hosts": ["open.example.com"]});
    let named = json!({"methods": ["CONNECT"], "hosts": ["open.example.com"]});
    let admin = json!({"match": {"path_prefix": "/admin"}, "require": {"scopes": ["admin"]}});
    // Without a rule that means it, a tunnel needs what everything needs.
    let mut scene = ruled(json!([bypass(host.clone())]));
    scene.send(tunnel("")).refused(401, "missing_token");
    scene.send(tunnel(&good())).allowed();
    let with_header = bypass(json!({"headers": {"x-open": "yes"}}));
    ruled(json!([with_header])).send(tunnel("").header("x-open", "yes")).refused(401, "missing_token");
    for rules in [
        json!([bypass(host.clone()), admin]),
        json!([bypass(host.clone()), {"match": {"methods": ["POST"]}, "require": {"scopes": ["admin"]}}]),
        json!([bypass(host.clone()), {"match": {"hosts": ["admin.example.com"]}, "require": {"scopes": ["admin"]}}]),
        json!([bypass(host), {"match": {"headers": {"x-tenant": "a"}}, "require": {"scopes": ["admin"]}}]),
    ] {
        let mut scene = ruled(rules);
        for token in [String::new(), good()] {
            scene.send(tunnel(&token)).refused(400, "invalid_request");
        }
    }
    for open in [json!({"allow_missing": true}), json!({"enforce": false})] {
        for others in [json!([]), json!([{"match": {"methods": ["POST"]}}])] {
            let mut scene = ruled_with(others, open.clone());
            scene.send(tunnel("")).refused(401, "missing_token");
            scene.send(tunnel("a.b.c")).refused(401, "malformed_token");
            scene.send(tunnel(&good())).allowed();
        }
        ruled_with(json!([{"match": named.clone()}]), open).send(tunnel("")).upstream();
    }
    // One that means it counts, wherever it stands, and for what it says.
    let mut scene = ruled(json!([admin, bypass(named)]));
    scene.send(tunnel("")).bypassed();
    scene.send(tunnel("").set(":authority", Some("api.example.com:443"))).refused(400, "invalid_request");
    // What has a path is one all the same (RFC 8441, and what Envoy makes of `:protocol: bytestream`).
    let mut scene = ruled(json!([bypass(json!({"path_prefix": "/public"}))]));
    scene.send(get("/public").set(":method", Some("CONNECT"))).refused(401, "missing_token");
}

/// HTP-04: RFC 9110, section 7.8; RFC 9298: an upgrade to whatever is not WebSocket is a tunnel, too. Envoy makes a `GET` of
/// `:protocol: connect-udp`, and a host of what its path names.
#[test]
fn an_upgrade_is_a_tunnel() {
    let upgrade = |protocol: &str| {
        let ask = get("/.well-known/masque/udp/open.example.com/443/").set(":authority", Some("open.example.com:443"));
        ask.header("upgrade", protocol).header("connection", "upgrade")
    };
    let host = json!({"hosts": ["open.example.com"]});
    let admin = json!({"match": {"path_prefix": "/admin"}, "require": {"scopes": ["admin"]}});
    for protocol in ["connect-udp", "CONNECT-IP", "connect-tcp", "TLS/1.0", "h2c", "SPDY/3.1", "websocket, h2c", ""] {
        let mut scene = ruled(json!([bypass(host.clone())]));
        scene.send(upgrade(protocol)).refused(401, "missing_token");
        scene.send(upgrade(protocol).bearer(&good())).allowed();
        ruled(json!([bypass(host.clone()), admin])).send(upgrade(protocol)).refused(400, "invalid_request");
        for open in [json!({"allow_missing": true}), json!({"enforce": false})] {
            ruled_with(json!([]), open).send(upgrade(protocol)).refused(401, "missing_token");
        }
    }
    for protocol in ["websocket", "WebSocket"] {
        ruled(json!([bypass(host.clone()), admin])).send(upgrade(protocol)).bypassed();
    }
    // A rule that names the protocol means it; one for WebSocket means no other.
    let named = |protocol: &str| ruled(json!([admin, bypass(json!({"headers": {"upgrade": protocol}}))]));
    named("SPDY/3.1").send(upgrade("SPDY/3.1")).bypassed();
    named("SPDY/3.1").send(upgrade("connect-udp")).refused(400, "invalid_request");
    let both = upgrade("websocket").set(":method", Some("CONNECT"));
    named("websocket").send(both).refused(400, "invalid_request");
}

/// PTH-09.
#[test]
fn hosts_are_compared_without_case_and_port() {
    let mut scene = ruled(json!([bypass(json!({"hosts": ["open.example.com", "*.any.example", "[::1]"]}))]));
    let ask = |host: &str| get("/a").set(":authority", Some(host));
    for host in [
        "open.example.com",
        "OPEN.example.COM",
        "open.example.com:8443",
        "a.any.example",
        "a.b.any.example:1",
        "[::1]:80",
        "[::1]",
    ] {
        scene.send(ask(host)).bypassed();
    }
    for host in [
        "api.example.com",
        "xopen.example.com",
        "open.example.com.evil.example",
        "any.example",
        "xany.example",
        "open.example.com.",
        ".any.example",
        "[::2]",
    ] {
        scene.send(ask(host)).refused(401, "missing_token");
        scene.send(ask(host).header("x-forwarded-host", "open.example.com")).refused(401, "missing_token");
    }
    for host in [
        "",
        "open.example.com, evil.example",
        "open.example.com evil.example",
        "open.example.com@evil.example",
        "a..any.example..",
    ] {
        scene.send(ask(host)).refused(400, "invalid_request");
    }
    scene.send(get("/a").set(":authority", None)).refused(400, "invalid_request");
    // Where no rule looks at the host, it may be any.
    let mut scene = ruled(json!([bypass(json!({"path": "/a"}))]));
    scene.send(get("/a").set(":authority", Some("x, y"))).bypassed();
}

#[test]
fn headers_of_a_rule() {
    let mut scene = ruled(json!([
        marked("exact", json!({"headers": {"X-Env": "prod"}})),
        marked("prefix", json!({"headers": {"name": "x-env", "prefix": "pre"}})),
        marked(
            "pattern",
            json!({"headers": [{"name": "x-env", "pattern": "[a-c]+"}, {"name": "x-other", "present": false}]})
        ),
        marked("present", json!({"headers": {"x-env": {"present": true}}})),
        marked("two", json!({"headers": {"x-a": "1", "x-b": {"exact": ""}}})),
    ]));
    let ask = |name: &str, value: &str| get("/a").header(name, value);
    for (value, expected) in [
        ("prod", "exact"),
        ("PROD", "present"),
        ("prod2", "present"),
        ("pre", "prefix"),
        ("prefix", "prefix"),
        ("abc", "pattern"),
        ("abcd", "present"),
        ("", "present"),
    ] {
        assert_eq!(realm(&mut scene, ask("x-env", value)), expected, "{value}");
    }
    assert_eq!(realm(&mut scene, ask("x-env", "abc").header("x-other", "")), "present");
    assert_eq!(realm(&mut scene, ask("x-env", "prod").header("x-env", "prod")), "present");
    assert_eq!(realm(&mut scene, ask("x-a", "1").header("x-b", "")), "two");
    for other in [ask("x-a", "1"), ask("x-b", ""), ask("x-a", "2").header("x-b", ""), bare()] {
        assert_eq!(realm(&mut scene, other), "oidc");
    }
}

#[test]
fn the_first_rule_that_matches_holds() {
    let mut scene = ruled(json!([
        marked("post", json!({"path_prefix": "/a", "methods": "POST"})),
        marked("deep", json!({"path_prefix": "/a/b/c"})),
        marked("exact", json!({"path": ["/a/b", "/x y", "/café"]})),
        marked("host", json!({"path_prefix": "/a", "hosts": "*.example.com"})),
        marked("pattern", json!({"path_pattern": ["/v[0-9]+/.*", "(/p|/q)/?", "/ab?/c"]})),
        marked("a", json!({"path_prefix": "/a"})),
        marked("all", json!({"path_prefix": "/"})),
        marked("never", json!({"path_prefix": "/z"})),
    ]));
    let at = |path: &str| get(path).set(":authority", Some("other.example"));
    for (ask, expected) in [
        (at("/a"), "a"),
        (at("/a/"), "a"),
        (at("/a/b"), "exact"),
        (at("/a/b/"), "a"),
        (at("/a/b/c"), "deep"),
        (at("/a/b/c/d"), "deep"),
        (at("/a/b/c").set(":method", Some("POST")), "post"),
        (get("/a/b"), "exact"),
        (get("/a/x"), "host"),
        (get("/a/b/c"), "deep"),
        (at("/v1/x"), "pattern"),
        (at("/v12/"), "pattern"),
        (at("/v1"), "all"),
        (at("/p"), "pattern"),
        (at("/q/"), "pattern"),
        (at("/pq"), "all"),
        (at("/a/c"), "pattern"),
        (at("/ab/c"), "pattern"),
        (at("/z"), "all"),
        (at("/"), "all"),
        (at("/x%20y"), "exact"),
        (at("/caf%c3%a9"), "exact"),
    ] {
        assert_eq!(realm(&mut scene, ask.clone()), expected);
    }
}

/// PTH-06: for services that read paths more loosely than the filter: the pattern of `docs/configuration.md`.
#[test]
fn a_pattern_for_services_that_forgive() {
    let mut scene = ruled(json!([marked("admin", json!({"path_pattern": "(?i)/admin([/.].*)?"}))]));
    for path in ["/admin", "/Admin", "/ADMIN/", "/admin.json", "/aDmin/x"] {
        assert_eq!(realm(&mut scene, get(path)), "admin", "{path}");
    }
    for path in ["/administrator", "/x/admin", "/"] {
        assert_eq!(realm(&mut scene, get(path)), "oidc", "{path}");
    }
}

/// Every rule of some thousands is found, and each by its own condition only.
#[test]
fn thousands_of_rules() {
    let count = 5000;
    let matching = |number: usize| match number % 6 {
        0 => json!({"path": format!("/exact/{number}")}),
        1 => json!({"path_prefix": format!("/prefix/{number}")}),
        2 => json!({"hosts": format!("h{number}.example")}),
        3 => json!({"headers": {"x-tenant": format!("t{number}")}}),
        4 => json!({"route_name": format!("r{number}")}),
        _ => json!({"path_pattern": format!("/pattern/{number}/[a-z]+")}),
    };
    let rules: Vec<Value> = (0..count).map(|number| marked(&format!("r{number}"), matching(number))).collect();
    let mut scene = ruled(json!(rules));
    for number in (0..count).step_by(7).chain([count - 1]) {
        let ask = match number % 6 {
            0 => get(format!("/exact/{number}")),
            1 => get(format!("/prefix/{number}/x")),
            2 => bare().set(":authority", Some(&format!("h{number}.example"))),
            3 => bare().header("x-tenant", format!("t{number}")),
            4 => bare().route(&format!("r{number}")),
            _ => get(format!("/pattern/{number}/abc")),
        };
        assert_eq!(realm(&mut scene, ask), format!("r{number}"));
    }
    for other in
        [get("/exact/1"), get("/prefix/x"), bare().header("x-tenant", "t0"), bare().route("r0"), get("/pattern/5/A")]
    {
        assert_eq!(realm(&mut scene, other), "oidc");
    }
}

/// Whatever an expression is made of, the folder that it is found by leaves out no path that it matches.
#[test]
fn a_pattern_is_found_by_its_folder() {
    let patterns = [
        "/a/b",
        "/a/b/",
        "/a/b?",
        "/a/b*",
        "/a/b+",
        "/a/b{0,1}",
        "/a/?",
        "/a/*",
        "/a/{0}",
        "/a/b.c",
        "/a/b\\.c",
        "/a/(b/)?c",
        "/a/b|/c",
        "(/a)?/b",
        "/a/[/b]*",
        "/a/b-c",
        "/a//b",
        "/a/.*",
        "/a.*",
        "(?i)/A/B",
        "/a(?i)/B",
        "/a/(?x) b / c",
        "/?",
        "(/a|/b)/c",
        "/a/b\\/c",
        "/a/b(?:/.*)?",
        "/a~/b_/?",
        "/é/b",
        "/a b/c",
    ];
    let paths = [
        "/",
        "/a",
        "/a/",
        "/a/b",
        "/a/b/",
        "/a/b/c",
        "/a/c",
        "/a/bb",
        "/a/b.c",
        "/b",
        "/b/c",
        "/c",
        "/A/B",
        "/a/B",
        "/a/b-c",
        "/ab",
        "/a~/b_",
        "/a~/b_/",
        "/%C3%A9/b",
        "/a%20b/c",
    ];
    for pattern in patterns {
        let regex = regex_lite::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        let mut scene = ruled(json!([marked("found", json!({"path_pattern": pattern}))]));
        for path in paths {
            let decoded = path.replace("%C3%A9", "é").replace("%20", " ");
            let expected = if regex.is_match(&decoded) { "found" } else { "oidc" };
            assert_eq!(realm(&mut scene, get(path)), expected, "{pattern} {path}");
        }
    }
}

/// A path of thousands of segments is looked at once, not once for each of them.
#[test]
fn long_paths_and_hosts_cost_no_more_than_their_length() {
    let mut scene = ruled(json!([
        marked("prefix", json!({"path_prefix": "/a/b"})),
        marked("host", json!({"hosts": "*.x.example"})),
    ]));
    let path = "/a".repeat(30_000);
    let host = format!("{}x.example", "a.".repeat(30_000));
    in_linear_time("thousands of segments", || {
        assert_eq!(realm(&mut scene, get(&path)), "oidc");
        assert_eq!(realm(&mut scene, get("/a").set(":authority", Some(&host))), "host");
    });
}

/// An expression is tried on each byte of a path, and a client chooses how many these are. None is left out for that.
#[test]
fn a_path_too_long_for_patterns_is_refused() {
    let mut scene = ruled(json!([marked("admin", json!({"path_pattern": "/.*/admin/.*"}))]));
    let path = |length: usize| format!("{}/admin/x", "/a".repeat(length / 2));
    assert_eq!(realm(&mut scene, get(path(2_000))), "admin");
    for length in [2_048, 60_000] {
        scene.send(get(path(length)).bearer(&good())).refused(400, "invalid_request");
    }
    let mut scene = ruled(json!([marked("admin", json!({"path_prefix": "/admin"}))]));
    assert_eq!(realm(&mut scene, get(path(60_000))), "oidc");
}

/// What is kept of a request until its response comes is what rules are found by, and no more.
#[test]
fn a_case_that_is_kept_is_small() {
    let rules = json!([{"match": {"route_name": "r1", "headers": {"name": "x-tag", "present": true}}, "realm": "x"}]);
    let mut scene = ruled_with(rules, json!({"allow_missing": true}));
    let ask = get("/p").route("r1").header("x-oidc-metadata-a", "1").header("x-tag", "t");
    let case = scene.send(ask.header("x-fill", "a".repeat(50_000))).upstream().case.unwrap();
    assert!(case.request.headers.size() < 1_000, "{}", case.request.headers.size());
    assert_eq!(case.request.headers.first("x-tag"), Some(&b"t"[..]));
    let taken = |name: &str| Route { name: Some(name.into()), rule: None };
    assert!(scene.filter.holds(&case, taken("r1")));
    assert!(!scene.filter.holds(&case, taken("r2")));
}

/// Nor is one tried on a long header; and each once for a request, however many ways there are to read its path.
#[test]
fn expressions_for_headers_have_bounds() {
    let by_header = |path: &str| json!({"path_prefix": path, "headers": {"name": "x-tag", "pattern": "a*b"}});
    let mut scene = ruled(json!([marked("tagged", by_header("/admin"))]));
    let tagged = |length: usize| get("/admin").header("x-tag", format!("{}b", "a".repeat(length - 1)));
    assert_eq!(realm(&mut scene, tagged(2_048)), "tagged");
    for length in [2_049, 59_000] {
        scene.send(tagged(length).bearer(&good())).refused(400, "invalid_request");
    }
    let twice = || get("/admin").header("x-tag", "a".repeat(1_500)).header("x-tag", "a".repeat(1_500));
    scene.send(twice().bearer(&good())).refused(400, "invalid_request");
    let many = "/x;p/%252e%252e/%2f/a%5cb/%u0061";
    let mut scene = ruled(json!([marked("one", by_header("/y")), marked("two", by_header("/"))]));
    in_linear_time("expressions for headers", || {
        for _ in 0..100 {
            assert_eq!(realm(&mut scene, get(many).header("x-tag", format!("{}b", "a".repeat(2_000)))), "two");
        }
    });
    let rules: Vec<_> = (0..65).map(|number| marked("one", by_header(&format!("/{number}")))).collect();
    let error =
        Config::read(jwt(json!({}), json!({"rules": rules})).to_string().as_bytes(), &|_: &str| None).unwrap_err();
    assert!(error.to_string().starts_with("rules[64].match.headers[0].pattern: at most 64"), "{error}");
}

/// The index must find what reading the rules one after the other would find.
#[test]
fn the_index_agrees_with_a_plain_reading() {
    let mut seed = 1_u64;
    let mut next = |bound: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % bound as u64).unwrap()
    };
    let paths = ["/", "/a", "/a/", "/a/b", "/a/b/c", "/ab", "/b/a"];
    let (methods, hosts, names) = (["GET", "POST"], ["x.test", "y.x.test", "z.test"], ["one", "two"]);
    for _ in 0..30 {
        let mut conditions = Vec::new();
        for _ in 0..next(150) + 1 {
            let path = paths[next(paths.len())];
            let mut matching = match next(4) {
                0 => json!({"path": path}),
                1 => json!({"path_prefix": path}),
                2 => json!({"path_pattern": format!("{path}.*")}),
                _ => json!({"methods": methods[next(2)]}),
            };
            for (field, value) in [
                ("methods", json!(methods[next(2)])),
                ("route_name", json!(names[next(2)])),
                ("headers", json!({"x-h": names[next(2)]})),
                ("hosts", json!(["*.x.test", hosts[next(3)]])),
            ] {
                if next(3) == 0 {
                    matching[field] = value;
                }
            }
            conditions.push(matching);
        }
        let rules: Vec<Value> =
            conditions.iter().enumerate().map(|(number, m)| marked(&format!("r{number}"), m.clone())).collect();
        let mut scene = ruled(json!(rules));
        for _ in 0..60 {
            let (path, method, host) = (paths[next(paths.len())], methods[next(2)], hosts[next(3)]);
            let (route, header) = (names[next(2)], names[next(2)]);
            let is_met = |m: &Value| {
                let says = |field: &str, found: &dyn Fn(&str) -> bool| {
                    m[field].is_null() || m[field].as_str().is_some_and(found)
                };
                says("path", &|p| p == path)
                    && says("path_prefix", &|p| {
                        p == "/"
                            || path == p.trim_end_matches('/')
                            || path.starts_with(&format!("{}/", p.trim_end_matches('/')))
                    })
                    && says("path_pattern", &|p| path.starts_with(p.trim_end_matches(".*")))
                    && says("methods", &|m| m == method)
                    && says("route_name", &|r| r == route)
                    && (m["headers"].is_null() || m["headers"]["x-h"] == header)
                    && (m["hosts"].is_null() || m["hosts"][1] == host || host.ends_with(".x.test"))
            };
            let expected = conditions.iter().position(is_met).map_or("oidc".to_owned(), |number| format!("r{number}"));
            let ask =
                get(path).set(":method", Some(method)).set(":authority", Some(host)).header("x-h", header).route(route);
            assert_eq!(realm(&mut scene, ask), expected, "{path} {method} {host} {route} {header} {conditions:#?}");
        }
    }
}

#[test]
fn every_field_can_be_said_otherwise() {
    let at = |rule: Value| json!([with(json!({"match": {"path": "/x"}}), rule)]);
    let ask = || get("/x").bearer(&good());
    // Not enforcing, missing, preflight.
    let mut scene = ruled(at(json!({"enforce": false})));
    scene.send(get("/x")).stripped("missing_token");
    scene.send(get("/x").bearer("garbage.a.b")).stripped("malformed_token");
    scene.send(get("/y")).refused(401, "missing_token");
    let mut scene = ruled(at(json!({"allow_missing": true})));
    assert_eq!(scene.send(get("/x")).upstream().result, "bypassed");
    let preflight = get("/x")
        .set(":method", Some("OPTIONS"))
        .header("origin", "https://a")
        .header("access-control-request-method", "GET");
    let mut scene = ruled(at(json!({"allow_preflight": true})));
    assert_eq!(scene.send(preflight.clone()).upstream().result, "bypassed");
    scene.send(preflight.set(":path", Some("/y"))).refused(401, "missing_token");
    // What the client gets.
    let mut scene = ruled(at(json!({"enforce_response_code": 404, "response_body": "text", "realm": "r"})));
    assert_eq!(scene.send(get("/x")).refused(404, "missing_token").body, "missing_token: no access token was sent\n");
    scene.send(get("/y")).refused(401, "missing_token");
    let mut scene = ruled_with(at(json!({"enforce_response_code": 401})), json!({"enforce_response_code": 403}));
    scene.send(get("/x")).refused(401, "missing_token");
    scene.send(get("/y")).refused(403, "missing_token");
    // The token, and what it must have.
    let mut scene = ruled(at(json!({"forward": false})));
    assert_eq!(scene.send(ask()).allowed().header("authorization"), None);
    let mut scene = ruled_with(at(json!({"require": {"scopes": "read"}})), json!({"require": {"scopes": "nobody"}}));
    scene.send(ask()).allowed();
    scene.send(bearer(&good())).refused(403, "insufficient_scope");
    let mut scene = ruled_with(at(json!({"require": {}})), json!({"require": {"scopes": "nobody"}}));
    scene.send(ask()).allowed();
    let mut scene = ruled_with(at(json!({"implied_scopes": {"write": "all"}})), json!({"require": {"scopes": "all"}}));
    scene.send(ask()).allowed();
    scene.send(bearer(&good())).refused(403, "insufficient_scope");
    // What is written. Names of every policy are removed under every policy.
    let mut scene = ruled(at(
        json!({"claim_headers": {"header": "x-sub", "claim": "sub"}, "user_info": {"key": "x-info", "claims": "sub"}}),
    ));
    let forged =
        |path: &str| get(path).bearer(&good()).header("x-user", "f").header("x-sub", "f").header("x-info", "f");
    let upstream = scene.send(forged("/x")).allowed();
    assert_eq!((upstream.header("x-user"), upstream.header("x-sub")), (None, Some("ann")));
    assert_eq!(upstream.header("x-info"), Some("%7B%22sub%22:%22ann%22%7D"));
    let upstream = scene.send(forged("/y")).allowed();
    assert_eq!(
        (upstream.header("x-user"), upstream.header("x-sub"), upstream.header("x-info")),
        (Some("ann"), None, None)
    );
    let mut scene = ruled(at(json!({"claim_headers": []})));
    assert_eq!(scene.send(ask().header("x-user", "forged")).allowed().header("x-user"), None);
}

/// The same issuer with different audiences: a token for the one is none for the other, also when it is known.
#[test]
fn audiences_of_a_rule() {
    let mut scene = ruled(json!([{"match": {"path_prefix": "/b"}, "audiences": ["b", "c"]}]));
    let (ours, theirs) = (good(), token(json!({"aud": ["x", "b"]})));
    for _ in 0..2 {
        scene.send(get("/a").bearer(&ours)).allowed();
        scene.send(get("/b").bearer(&ours)).refused(401, "wrong_audience");
        scene.send(get("/b").bearer(&theirs)).allowed();
        scene.send(get("/a").bearer(&theirs)).refused(401, "wrong_audience");
    }
    // Userinfo proves no audience. A rule that asks for one gets none.
    let rules = json!({"rules": {"match": {"path": "/b"}, "audiences": "b"}});
    let mut scene = Scene::of(userinfo(json!({}), rules));
    scene.provider.users.insert("opaque".to_owned(), json!({"sub": "ann"}));
    scene.send(get("/a").bearer("opaque")).allowed();
    scene.send(get("/b").bearer("opaque")).refused(401, "wrong_audience");
}

/// The policy can follow the route that Envoy has chosen: by its name, or by what its metadata say.
#[test]
fn rules_by_route() {
    let mut scene = ruled(json!([
        marked("by-name", json!({"route_name": ["r1", "r2"]})),
        {"name": "named", "realm": "by-metadata"},
        {"name": "open", "bypass": true},
        {"name": "both", "match": {"path": "/both"}, "realm": "both"},
    ]));
    assert_eq!(realm(&mut scene, bare().route("r2")), "by-name");
    assert_eq!(realm(&mut scene, bare().route("r3")), "oidc");
    assert_eq!(realm(&mut scene, bare().route("r1").rule("named")), "by-metadata");
    assert_eq!(realm(&mut scene, get("/both")), "both");
    assert_eq!(realm(&mut scene, bare().rule("both")), "both");
    scene.send(bare().rule("open")).bypassed();
    // PTH-15: a rule that isn't there is no policy.
    for unknown in ["", "Open", "open ", "nobody", "\0"] {
        scene.send(bare().rule(unknown)).refused(503, "misconfigured");
        scene.send(bearer(&good()).rule(unknown)).refused(503, "misconfigured");
    }
    // Envoy chose the route of the bypass by a path that the service may read otherwise.
    for path in ["/public/..%2fadmin", "/public/../admin", "/public/a;b", "/public#x", "*"] {
        scene.send(get(path).rule("open")).refused(401, "missing_token");
    }
}

/// HDR-15, ATK-03: Writing a header makes Envoy choose the route anew, and nobody knows which before it is taken. If
/// that has another policy, this request gets nothing; the next one is judged by what it is itself.
#[test]
fn the_policy_is_that_of_the_route_that_is_taken() {
    let route = |name: Option<&str>, rule: Option<&str>| Route {
        name: name.map(|name| name.as_bytes().to_vec()),
        rule: rule.map(|rule| rule.as_bytes().to_vec()),
    };
    let rules = || json!([marked("one", json!({"route_name": "r1"})), {"name": "n", "realm": "two"}, bypass(json!({"path": "/open"}))]);
    for other in
        [route(Some("r2"), None), route(None, None), route(Some("r1"), Some("n")), route(Some("r1"), Some("?"))]
    {
        let mut scene = ruled(rules());
        let case = scene.send(bearer(&good()).route("r1")).allowed().case.expect("a header was written");
        assert!(scene.filter.holds(&case, route(Some("r1"), None)));
        assert!(!scene.filter.holds(&case, other));
        heard();
        for _ in 0..3 {
            scene.filter.complain_of_route(scene.now());
            scene.send(bearer(&good()).route("r1")).allowed();
            scene.send(bearer(&good()).rule("n")).allowed();
            scene.send(get("/open")).bypassed();
        }
    }
    // Clients may have it in their hands how often that happens: the log doesn't grow by it.
    let scene = ruled(rules());
    heard();
    (0..1000).for_each(|_| scene.filter.complain_of_route(scene.now()));
    scene.filter.complain_of_route(scene.now().saturating_add(Duration::from_secs(1)));
    let lines = heard();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("the RBAC of envoy/routes.yaml"), "{lines:?}");
    let mut scene = ruled(rules());
    let case = scene.send(bearer(&good()).route("r5")).allowed().case.unwrap();
    assert!(scene.filter.holds(&case, route(Some("r6"), None)), "another route, the same policy");
    // Where nothing is written here, a filter behind may write; or nothing rests on the route.
    let mut scene = ruled_with(rules(), json!({"claim_headers": []}));
    let case = scene.send(bearer(&good()).route("r1")).allowed().case.expect("rules look at routes");
    assert!(scene.filter.holds(&case, route(Some("r1"), None)));
    assert!(!scene.filter.holds(&case, route(Some("r2"), None)));
    let by_path = ruled(json!([marked("one", json!({"path": "/a"}))])).send(bearer(&good())).allowed();
    assert!(by_path.case.is_none());
    // A request that waited is no different.
    let one = json!({"rules": [marked("one", json!({"route_name": "r1"}))], "claim_headers": {"header": "x-user", "claim": "sub"}});
    let mut scene = Scene::of(introspection(json!({}), one));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    assert!(scene.send(bearer("opaque").route("r1")).allowed().case.is_some());
}

/// HDR-15: a filter behind this one can compare: what rests on the route always says which one was decided on, also
/// where nothing was written, for the filters between may write.
#[test]
fn the_route_is_told_that_was_decided_on() {
    for rules in [json!([marked("one", json!({"route_name": "r1"}))]), json!([{"name": "n"}])] {
        for (told, ask) in [("r1", bearer(&good()).route("r1")), ("", bearer(&good()))] {
            for claim_headers in [json!({"header": "x-user", "claim": "sub"}), json!([])] {
                let mut scene = ruled_with(rules.clone(), json!({"claim_headers": claim_headers}));
                assert_eq!(scene.send(ask.clone()).allowed().route.as_deref(), Some(told));
            }
        }
    }
    let mut scene = ruled(json!([marked("one", json!({"route_name": "r1"})), bypass(json!({"path": "/open"}))]));
    assert_eq!(scene.send(get("/open").route("r2")).bypassed().route.as_deref(), Some("r2"));
    let mut scene = ruled(json!([marked("one", json!({"path": "/a"}))]));
    assert_eq!(scene.send(bearer(&good()).route("r1")).allowed().route, None);
}

// ---------------------------------------------------------------------------------------------- shadows

fn shadow(seen: Seen) -> (&'static str, Option<&'static str>, &'static str) {
    let (result, shadow) = match seen {
        Seen::Upstream(upstream) => (upstream.result, upstream.shadow),
        Seen::Refused(refusal) => ("denied", refusal.shadow),
        other => panic!("{other:?}"),
    };
    let shadow: Shadow = shadow.expect("a candidate");
    (shadow.as_str(), shadow.reason().map(|reason| reason.as_str()), result)
}

/// A candidate policy is judged, and changes nothing.
#[test]
fn a_shadow_says_what_would_be() {
    let mut scene = Scene::of(jwt(
        json!({}),
        json!({"enforce": false, "shadow": {"enforce": true, "require": {"scopes": "admin"}}}),
    ));
    assert_eq!(shadow(scene.send(bare())), ("denied", Some("missing_token"), "stripped"));
    assert_eq!(shadow(scene.send(bearer("garbage"))), ("denied", Some("malformed_token"), "stripped"));
    assert_eq!(shadow(scene.send(bearer(&good()))), ("denied", Some("insufficient_scope"), "allowed"));
    assert_eq!(shadow(scene.send(bearer(&token(json!({"scope": "admin"}))))), ("allowed", None, "allowed"));
    // Beside a stricter policy, a looser candidate.
    let mut scene = Scene::of(jwt(json!({}), json!({"shadow": {"enforce": false}})));
    assert_eq!(shadow(scene.send(bare())), ("stripped", Some("missing_token"), "denied"));
    let mut scene = Scene::of(jwt(json!({}), json!({"shadow": {"bypass": true}})));
    assert_eq!(shadow(scene.send(bare())), ("bypassed", None, "denied"));
    // What else is counted is that of the policy in force.
    let upstream = scene.send(bearer(&good())).allowed();
    assert!(upstream.verified && upstream.cached == Some(false));
    let rules =
        json!([{"match": {"path": "/x"}, "require": {"scopes": "admin"}, "shadow": {"require": {"scopes": "read"}}}]);
    let mut scene = ruled_with(rules, json!({"shadow": {"enforce": false}}));
    assert_eq!(shadow(scene.send(get("/x").bearer(&good()))), ("allowed", None, "denied"));
    assert_eq!(shadow(scene.send(bare())), ("stripped", Some("missing_token"), "denied"));
    // A rule has no candidate but its own.
    let mut scene =
        ruled_with(json!([{"match": {"path": "/x"}, "forward": false}]), json!({"shadow": {"enforce": false}}));
    assert!(scene.send(get("/x").bearer(&good())).allowed().shadow.is_none());
}

/// No request waits for what only a candidate wants to know; the next one finds it.
#[test]
fn a_shadow_never_keeps_anybody_waiting() {
    let rules = json!({"rules": [{"match": {"path": "/open"}, "bypass": true, "shadow": {"bypass": false}}]});
    let mut scene = Scene::of(introspection(json!({}), rules));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    assert_eq!(shadow(scene.send(get("/open").bearer("opaque"))), ("undecided", None, "bypassed"));
    assert_eq!(shadow(scene.send(get("/open").bearer("opaque"))), ("allowed", None, "bypassed"));
    assert_eq!(shadow(scene.send(get("/open").bearer("unknown"))), ("undecided", None, "bypassed"));
    assert_eq!(shadow(scene.send(get("/open").bearer("unknown"))), ("denied", Some("inactive"), "bypassed"));
    assert_eq!(scene.count("/introspect"), 2);
}

/// What one provider says of a token doesn't make the filter forget what another said: neither a candidate nor a rule makes
/// those wait again whose policy asks somebody else.
#[test]
fn answers_of_several_providers_are_kept() {
    let provider = |issuer: &str, name: &str| {
        let base = json!({"issuer": issuer, "name": name, "audiences": AUDIENCE, "validation": "introspection"});
        with(base, json!({"introspection": {"cache": "60s"}}))
    };
    let both = json!([provider(ISSUER, "one"), provider("https://other.example", "two")]);
    let of = |name: &str| json!({"match": {"path_prefix": format!("/{name}")}, "providers": [name]});
    let shadowed = with(of("one"), json!({"shadow": {"providers": ["two"]}}));
    let mut scene = Scene::cold(json!({"providers": both, "rules": [shadowed, of("two")]}));
    scene.provider.add_issuer("https://other.example", &[]);
    scene.tick();
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"iss": null})));
    for _ in 0..3 {
        assert_eq!(scene.send(get("/one").bearer("opaque")).allowed().provider.as_deref(), Some("one"));
        assert_eq!(scene.send(get("/two").bearer("opaque")).allowed().provider.as_deref(), Some("two"));
        assert_eq!(scene.count("/introspect"), 2);
    }
}

/// However much a candidate wants to know, there is room for the questions of those who wait.
#[test]
fn a_shadow_leaves_room() {
    let rules = json!({"rules": [{"match": {"path": "/open"}, "bypass": true, "shadow": {"bypass": false}}]});
    let mut scene = Scene::of(introspection(json!({}), rules));
    for number in 0..2000 {
        scene.begin(get("/open").bearer(&format!("t{number}")));
    }
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene.send(bearer("opaque")).allowed();
}

/// Keys that only a candidate lacks are fetched no more often than others.
#[test]
fn a_shadow_keeps_the_cooldown() {
    let rules = json!([{"match": {"path": "/open"}, "bypass": true, "shadow": {"bypass": false}}]);
    let mut scene = ruled(rules);
    let before = scene.count("/jwks");
    for kid in ["x1", "x2", "x3", "x4", "x5"] {
        scene.send(get("/open").bearer(&key("k1").token_with(json!({"kid": kid}), json!({})))).bypassed();
    }
    assert_eq!(scene.count("/jwks"), before + 1);
}

/// PTH-03, PTH-06: `$` of a regular expression matches before a line break; many readers trim; not all decoders
/// refuse overlong UTF-8.
#[test]
fn what_some_readers_trim_or_shorten() {
    let rules = json!({"rules": [
        {"match": {"path": ["/admin", "/admin/"]}, "require": {"scopes": "admin"}},
        {"match": {"path_prefix": "/public"}, "bypass": true},
    ]});
    let mut scene = Scene::of(jwt(json!({}), rules));
    for path in [
        "/admin%20",
        "/%20admin",
        "/admin%09",
        "/admin%0a",
        "/admin/%0a",
        "/admin%0d%0a",
        "/admin%7f",
        "/x/%e0%80%ae%e0%80%ae/admin",
        "/x/..%f0%80%80%afadmin",
        "/%e0%81%a1dmin",
    ] {
        scene.send(get(path).bearer(&good())).refused(400, "invalid_request");
    }
    scene.send(get("/public/a%20b")).bypassed();
    // What falls under no rule needs a token, but not the scope that /admin needs.
    for path in ["/public/a%20", "/public/%e0%80%ae%e0%80%ae/x"] {
        scene.send(get(path)).refused(400, "invalid_request");
    }
}

/// ATK-04: Python's `urlsplit` and WHATWG's URL parser drop tabs and line breaks wherever they stand. Nobody can say
/// which path that is, so that no rule for paths holds for it, whatever the token.
#[test]
fn controls_in_a_path_are_refused() {
    let rules = json!([
        {"match": {"path_prefix": "/admin"}, "require": {"scopes": "admin"}},
        {"match": {"path_prefix": "/public"}, "allow_missing": true},
    ]);
    let mut scene = ruled(rules);
    let admin = token(json!({"scope": "admin"}));
    for path in
        ["/ad%09min", "/x/.%09./admin", "/public/.%09./admin", "/public/%2509", "/public/%u000d", "/x/%c0%8a", "/%7f"]
    {
        scene.send(get(path)).refused(400, "invalid_request");
        scene.send(get(path).bearer(&admin)).refused(400, "invalid_request");
    }
    for byte in (0..0x20).chain([0x7f]) {
        scene.send(get(format!("/public/a%{byte:02x}"))).refused(400, "invalid_request");
        scene.send(get(format!("/admin/a%{byte:02X}")).bearer(&admin)).refused(400, "invalid_request");
    }
    scene.send(get("/public/a?x=%09%00")).upstream();
    // Where Envoy's routes look at the path, under each rule but the strictest.
    let rules = json!([
        {"name": "admin", "require": {"scopes": "admin"}},
        {"match": {"route_name": "open"}, "allow_missing": true},
    ]);
    let mut scene = ruled(rules);
    for ask in [get("/ad%09min").route("open"), get("/ad%09min").route("other").bearer(&admin)] {
        scene.send(ask).refused(400, "invalid_request");
    }
    scene.send(get("/ad%09min").rule("admin").bearer(&admin)).allowed();
}

/// ATK-04: Somebody may read a path in a way that nobody has thought of. So what can be read in two ways is judged by
/// the strictest of the rules that it could fall under, or by none.
#[test]
fn an_ambiguous_path_falls_under_no_weaker_rule() {
    let admin = || json!({"match": {"path_prefix": "/admin"}, "require": {"scopes": "admin"}});
    let public = |policy: Value| with(json!({"match": {"path_prefix": "/public"}}), policy);
    let odd = [
        "/public/a;b",
        "/public//a",
        "/public/a%2Fb",
        "/public/./a",
        "/public/a%5Cb",
        "/public/%61",
        "/public/a%3Fb",
        "/public/a%20",
        "/public/%ff",
        "/public/a#b",
        "/public/%EF%BC%8E",
    ];
    for (policy, top) in [
        (json!({"bypass": true}), json!({})),
        (json!({"allow_missing": true}), json!({})),
        (json!({"enforce": false}), json!({})),
        (json!({"allow_preflight": true}), json!({})),
        (json!({}), json!({})),
        (json!({"require": {}}), json!({"require": {"scopes": "x"}})),
        (json!({"require": {"scopes": "y"}}), json!({})),
        (json!({"require": {"scopes_any": ["admin", "y"]}}), json!({})),
        (json!({"require": {"scopes": "admin"}, "implied_scopes": {"y": "admin"}}), json!({})),
        (json!({"require": {"scopes": "admin"}, "audiences": "b"}), json!({})),
        (json!({"require": {"claims": {"claim": "a"}}}), json!({"require": {"claims": {"claim": "b"}}})),
        (
            json!({"require": {"scopes": "admin", "groups_allowlist": "*"}}),
            json!({"require": {"groups_allowlist": "g"}}),
        ),
        (json!({}), json!({"external_authorization": {"uri": "https://z.example/"}})),
    ] {
        let mut scene = ruled_with(json!([admin(), public(policy.clone())]), top.clone());
        for path in odd {
            for ask in [
                get(path),
                get(path).bearer(&token(
                    json!({"scope": "admin x y", "a": 1, "b": 1, "groups": ["g"], "aud": ["b", AUDIENCE]}),
                )),
            ] {
                scene.send(ask).refused(400, "invalid_request");
            }
        }
    }
    // The strictest one judges it, also if it is the top level.
    for (policy, top) in [
        (json!({"require": {"scopes": ["admin", "x"]}}), json!({})),
        (
            json!({"require": {"scopes": "admin", "claims": {"claim": "sub"}}, "allow_missing": false}),
            json!({"allow_missing": true}),
        ),
        (json!({"require": {"scopes": "admin"}, "enforce": true}), json!({"enforce": false})),
    ] {
        let mut scene = ruled_with(json!([admin(), public(policy)]), top);
        for path in odd.into_iter().filter(|path| !path.contains(['#', ';', '?']) && !path.contains("%3F")) {
            scene.send(get(path)).refused(401, "missing_token");
            scene.send(get(path).bearer(&token(json!({"scope": "admin x"})))).allowed();
        }
    }
    let mut scene = ruled_with(json!([public(json!({"allow_missing": true}))]), json!({"require": {"scopes": "x"}}));
    scene.send(get("/public/a;b")).refused(400, "invalid_request");
    scene.send(get("/a;b").bearer(&token(json!({"scope": "x"})))).allowed();
    // Also where only an operation needs what one scope stands for.
    let implied = json!({"implied_scopes": {"y": "admin"}});
    for (tools, is_weaker) in
        [(json!({"name": "a", "scopes": "admin"}), true), (json!({"name": "a", "claims": {"claim": "b"}}), false)]
    {
        let top = json!({"mcp": {"resource": "https://api.example.com", "tools": tools}});
        let mut scene = ruled_with(json!([public(implied.clone())]), top);
        let seen = scene.send(get("/public/a;b").bearer(&good()));
        if is_weaker { drop(seen.refused(400, "invalid_request")) } else { drop(seen.allowed()) }
    }
}

/// ATK-04: only what the request could fall under counts: another host or another method is not in doubt.
#[test]
fn a_stricter_rule_that_could_not_hold_is_no_reason() {
    let admin = |matching: Value| json!([{"match": matching, "require": {"scopes": "admin"}}]);
    for matching in [
        json!({"path_prefix": "/admin", "methods": "POST"}),
        json!({"path_prefix": "/admin", "hosts": "admin.example"}),
        json!({"path_prefix": "/admin", "headers": {"x-a": "1"}}),
        json!({"path_prefix": "/admin", "headers": {"name": "x-a", "prefix": "1"}}),
    ] {
        ruled(admin(matching)).send(get("/a;b").bearer(&good())).allowed();
    }
    // A host with a last dot, and a method in lower case, are in doubt themselves.
    let mut scene = ruled(admin(json!({"hosts": "admin.example"})));
    let ask = |host: &str| get("/a").set(":authority", Some(host)).bearer(&good());
    scene.send(ask("api.example.com")).allowed();
    scene.send(ask("api.example.com.")).refused(400, "invalid_request");
    let mut scene = ruled(json!([{"name": "admin", "require": {"scopes": "admin"}}, {"name": "open", "bypass": true}]));
    for ask in
        [ask("api.example.com."), get("/a").set(":method", Some("delete")).bearer(&good()), get("/a;b").bearer(&good())]
    {
        scene.send(ask.clone()).refused(400, "invalid_request");
        scene.send(ask.clone().rule("open")).refused(400, "invalid_request");
        scene.send(ask.rule("admin").bearer(&token(json!({"scope": "admin"})))).refused(400, "invalid_request");
    }
    scene.send(get("/a").rule("open")).bypassed();
}

/// ATK-04: a rule that says nothing of paths holds for each, however it is read: what stands behind it could not
/// hold.
#[test]
fn a_rule_without_a_word_on_paths_holds_for_odd_ones() {
    let odd = ["/a%2Fb", "/a//b", "/a;v=1", "/x/..%2fadmin", "/%41", "/admin%CD%BE"];
    let admin = || json!({"match": {"path_prefix": "/admin"}, "require": {"scopes": "admin"}});
    let at = |host: &str, path: &str| get(path).set(":authority", Some(host));
    let weak = |host: &str, policy: Value| with(json!({"match": {"hosts": host}}), policy);
    let hosts = || {
        [weak("open.example", json!({"bypass": true})), weak("weak.example", json!({"allow_missing": true}))].to_vec()
    };
    let mut scene = ruled(Value::from([hosts(), vec![admin()]].concat()));
    for path in odd {
        scene.send(at("open.example", path)).bypassed();
        assert_eq!(scene.send(at("weak.example", path)).upstream().path(), path);
        // The host is in doubt, and so is the path.
        scene.send(at("open.example.", path)).refused(400, "invalid_request");
        scene.send(at("other.example", path)).refused(400, "invalid_request");
    }
    // An earlier rule could hold.
    let mut scene = ruled(Value::from([vec![admin()], hosts()].concat()));
    for path in odd {
        scene.send(at("open.example", path)).refused(400, "invalid_request");
        scene.send(at("weak.example", path)).refused(400, "invalid_request");
    }
    // So could any route's, if Envoy had read the path otherwise.
    let named = json!({"name": "admin", "require": {"scopes": "admin"}});
    let mut scene = ruled(Value::from([hosts(), vec![named]].concat()));
    for path in odd {
        scene.send(at("weak.example", path)).refused(400, "invalid_request");
    }
    let by_route = json!({"match": {"route_name": "open"}, "allow_missing": true});
    let mut scene = ruled(json!([by_route]));
    scene.send(get("/a").route("open")).upstream();
    scene.send(get("/a%2Fb").route("open")).refused(400, "invalid_request");
}

/// ATK-04: More kinds of policies than are compared: then no rule is known to be the strictest.
#[test]
fn policies_beyond_number_are_compared_with_none() {
    let rules: Vec<Value> = (0..200)
        .map(|number| json!({"match": {"path_prefix": format!("/{number}")}, "require": {"scopes": format!("s{number}")}}))
        .collect();
    let mut scene = ruled(json!(rules));
    let all = (0..200).map(|number| format!("s{number}")).collect::<Vec<_>>().join(" ");
    let bearer = token(json!({"scope": all}));
    for path in ["/1", "/100", "/199", "/a"] {
        scene.send(get(path).bearer(&bearer)).allowed();
        scene.send(get(format!("{path}/b;c")).bearer(&bearer)).refused(400, "invalid_request");
    }
}

/// ATK-05: Letters that are letters of ASCII in another case (Python's `re`, Java, .NET) or another width (NFKC).
#[test]
fn letters_that_fold_to_ascii_lead_around_no_rule() {
    let admin = |matching: Value| json!([{"match": matching, "require": {"scopes": "admin"}}]);
    let mut by_pattern = ruled(admin(json!({"path_pattern": "(?i)/admin([/.].*)?"})));
    let mut by_prefix = ruled(admin(json!({"path_prefix": "/admin"})));
    for path in [
        "/adm\u{131}n",
        "/adm\u{130}n/users",
        "/ADM\u{130}N",
        "/admi\u{307}n",
        "/\u{ff21}\u{ff44}min",
        "/adm\u{131}n.json",
    ] {
        let path = percent_encoding::percent_encode(path.as_bytes(), percent_encoding::CONTROLS).to_string();
        scene_refuses(&mut by_pattern, &path, 403);
        if path.starts_with("/adm") && !path.contains('.') {
            scene_refuses(&mut by_prefix, &path, 403);
        }
    }
    // What one such letter is worth depends on the rule; it is no reason to refuse what is honest.
    let mut scene = ruled(json!([
        {"match": {"path_prefix": "/class"}, "require": {"scopes": "admin"}},
        {"match": {"path": ["/stra\u{df}e", "/kullan\u{131}c\u{131}"]}, "bypass": true},
        {"match": {"path_prefix": "/public/staff"}, "require": {"scopes": "admin"}},
        {"match": {"path_prefix": "/public"}, "bypass": true},
    ]));
    for open in ["/stra%C3%9Fe", "/kullan%C4%B1c%C4%B1", "/public/kullan%C4%B1c%C4%B1"] {
        scene.send(get(open)).bypassed();
    }
    scene.send(get("/gro%C3%9F/%C4%B1").bearer(&good())).allowed();
    scene_refuses(&mut scene, "/cla%C3%9F/x", 403);
    scene_refuses(&mut scene, "/public/%C5%BFtaff", 403);
    scene.send(get("/public/%EF%AC%86aff")).refused(400, "invalid_request");
}

#[track_caller]
fn scene_refuses(scene: &mut Scene, path: &str, status: u16) {
    match scene.send(get(path).bearer(&good())) {
        Seen::Refused(refusal) => assert_eq!(refusal.status, status, "{path}: {refusal:?}"),
        other => panic!("{path}: {other:?}"),
    }
}

/// ATK-18: Signs that compatibility forms (NFKC) or Windows' code pages make `/`, `.`, `;` or `?` of, white space
/// beyond ASCII, and what nobody sees.
#[test]
fn look_alikes_and_odd_spellings_are_ambiguous() {
    let rules = |path: &str| json!([{"match": {"path_prefix": path}, "require": {"scopes": "admin"}}, bypass(json!({"path_prefix": "/public"}))]);
    let mut scene = ruled(rules("/admin"));
    let encoded = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    for odd in [
        "\u{37e}",
        "\u{fe14}",
        "\u{fe30}",
        "\u{ff05}",
        "\u{ff1f}",
        "\u{ff03}",
        "\u{ff1a}",
        "\u{85}",
        "\u{a0}",
        "\u{ad}",
        "\u{1680}",
        "\u{2000}",
        "\u{200a}",
        "\u{2028}",
        "\u{2029}",
        "\u{202f}",
        "\u{205f}",
        "\u{3000}",
        "\u{200b}",
        "\u{200c}",
        "\u{200d}",
        "\u{2060}",
        "\u{feff}",
        "\u{2024}",
        "\u{2044}",
        "\u{a5}",
        "\u{2026}",
        "\u{202e}",
        "\u{e0041}",
        "\u{fe0f}",
    ] {
        for path in [
            format!("/admin{}", encoded(odd)),
            format!("/{}admin", encoded(odd)),
            format!("/ad{}min", encoded(odd)),
            format!("/admin{}x", encoded(odd)),
            format!("/public/a{}", encoded(odd)),
        ] {
            scene.send(get(&path).bearer(&good())).refused(400, "invalid_request");
            scene.send(get(&path)).refused(400, "invalid_request");
        }
    }
    scene.send(get("/caf%C3%A9/%E2%9D%A4%EF%B8%8F/cafe%CC%81").bearer(&good())).allowed();
    // Where a rule has a path beyond ASCII, other spellings of such letters count.
    let mut scene = ruled(rules("/caf\u{e9}"));
    for path in ["/caf%E9", "/cafe%CC%81", "/caf%u00e9", "/cafe%CC%81/x"] {
        scene.send(get(path).bearer(&good())).refused(400, "invalid_request");
    }
    scene_refuses(&mut scene, "/caf%C3%A9", 403);
    scene_refuses(&mut scene, "/caf%c3%a9/x", 403);
    scene.send(get("/na%C3%AFve").bearer(&good())).allowed();
    let mut scene = ruled(json!([{"match": {"path_pattern": "/caf[\u{e9}].*"}, "require": {"scopes": "admin"}}]));
    scene.send(get("/cafe%CC%81").bearer(&good())).refused(400, "invalid_request");
}

/// ATK-18: AIP-136, OData: what follows a resource in its own segment is done to that resource. A rule for the
/// resource holds for it, unless an earlier rule names it; but nothing is opened by that.
#[test]
fn a_colon_verb_belongs_to_its_resource() {
    let mut scene = ruled(json!([
        {"match": {"path": "/v1/users:search"}, "allow_missing": true},
        {"match": {"path_prefix": "/v1/users"}, "require": {"scopes": "admin"}, "realm": "users"},
        {"match": {"path": "/v1/things/urn:x:7"}, "require": {"scopes": "admin"}},
        {"match": {"path_pattern": "/v2/[a-z]+"}, "require": {"scopes": "admin"}},
    ]));
    for path in [
        "/v1/users:batchDelete",
        "/v1/users%3AbatchDelete",
        "/v1/users:a/",
        "/v1/users:",
        "/v1/users(7)/orders",
        "/v1/users:a:b",
        "/v1/users:searchAll",
        "/v1/things/urn:x:7:undelete",
        "/v2/users:x",
        "/v1/u\u{17f}ers:x",
    ] {
        let path = percent_encoding::percent_encode(path.as_bytes(), percent_encoding::CONTROLS).to_string();
        scene_refuses(&mut scene, &path, 403);
        scene.send(get(&path).bearer(&token(json!({"scope": "admin"})))).allowed();
    }
    scene.send(get("/v1/users:search")).upstream();
    for path in ["/v1/user:x", "/v1/usersx:y", "/v1/things/urn:x:8", "/a:b"] {
        scene.send(get(path).bearer(&good())).allowed();
    }
    let mut scene = ruled(json!([
        bypass(json!({"path": "/v1/users"})),
        bypass(json!({"path_prefix": "/v1/open"})),
        {"match": {"path_prefix": "/v1/one"}, "require": {"scopes": "one"}},
        {"match": {"path_prefix": "/v1"}, "require": {"scopes": "two"}},
    ]));
    for path in ["/v1/users:batchDelete", "/v1/open:x", "/v1/open(1)"] {
        scene.send(get(path)).refused(401, "missing_token");
    }
    scene.send(get("/v1/open/x:y")).bypassed();
    // Each asks for something that the other doesn't.
    scene.send(get("/v1/one:x").bearer(&token(json!({"scope": "one two"})))).refused(400, "invalid_request");
}

/// ATK-21: ASP.NET takes `/(S(x))` off a path wherever that stands. Whichever of the two rules asks for more holds, also a later one.
#[test]
fn a_session_in_the_path_hides_no_rule() {
    let mut scene = ruled(json!([
        bypass(json!({"path_prefix": ["/ad", "/_next/static"]})),
        {"match": {"path_prefix": "/admin"}, "require": {"scopes": "admin"}},
        {"match": {"path_prefix": "/one"}, "require": {"scopes": "one"}},
        {"match": {"path": "/one/x"}, "require": {"scopes": "two"}},
    ]));
    for path in [
        "/(S(lit3py55t21z5v55vlm25s55))/admin",
        "/%28S%28x%29%29/admin/users",
        "/(A(x)S(y)F(z))/admin",
        "/(S(x))/(S(y))/admin",
        "/ad/(S(x))min",
        "/(S(x))/adm/(S(x))in",
        "/admin/(S(x))",
        "/(S(x))/admin:x",
    ] {
        scene_refuses(&mut scene, path, 403);
        scene.send(get(path).bearer(&token(json!({"scope": "admin"})))).allowed();
    }
    scene.send(get("/one/(S(x))/x").bearer(&token(json!({"scope": "one"})))).allowed();
    scene.send(get("/(S(x))/one/x").bearer(&good())).refused(403, "insufficient_scope");
    for path in ["/_next/static/chunks/app/(main)/page.js", "/ad/(x", "/ad/x(S(x))"] {
        scene.send(get(path)).bypassed();
    }
}

// ---------------------------------------------------------------------------------------------- configurations

#[test]
fn rules_that_are_refused() {
    let refused = |rules: Value, path: &str| {
        let config = jwt(json!({}), json!({"rules": rules, "claim_headers": {"header": "x-user", "claim": "sub"}}));
        let error = oidc_filter::config::Config::read(config.to_string().as_bytes(), &|_: &str| None).expect_err(path);
        assert!(error.to_string().starts_with(&format!("{path}: ")), "{path}: {error}");
        error.to_string()
    };
    let at = |matching: Value| json!([{"match": matching}]);
    refused(json!([{"bypass": true}]), "rules[0].match");
    refused(at(json!({})), "rules[0].match");
    refused(at(json!({"methods": []})), "rules[0].match.methods");
    refused(at(json!({"methods": "get"})), "rules[0].match.methods");
    refused(at(json!({"hosts": "https://a"})), "rules[0].match.hosts");
    refused(at(json!({"hosts": "a:80"})), "rules[0].match.hosts");
    refused(at(json!({"hosts": "*"})), "rules[0].match.hosts");
    refused(at(json!({"hosts": "a*.example"})), "rules[0].match.hosts");
    refused(at(json!({"path": "/a", "path_prefix": "/b"})), "rules[0].match.path_prefix");
    for path in ["a", "", "/a//b", "/a/../b", "/a%2Fb", "/a?b", "/a;b", "/a\\b"] {
        refused(at(json!({"path": path})), "rules[0].match.path");
        refused(at(json!({"path_prefix": ["/x", path]})), "rules[0].match.path_prefix");
    }
    // What is a wildcard elsewhere would be a rule for no path.
    for path in ["/admin/*", "/admin*", "/*", "/admin/**", "/*/users"] {
        for field in ["path", "path_prefix"] {
            let error = refused(at(json!({field: ["/x", path]})), &format!("rules[0].match.{field}"));
            assert!(error.contains("no wildcard"), "{error}");
        }
    }
    for (pattern, remedy) in [("^/admin$", "leave ^ and $ out"), ("/a(?=b)", "no look-around")] {
        let error = refused(at(json!({"path_pattern": pattern})), "rules[0].match.path_pattern");
        assert!(error.contains(remedy), "{error}");
    }
    // With an escape, it would be for no path.
    for (pattern, is_good) in [
        ("(?i)/café", false),
        ("(?i)/caf\\u00e9", false),
        ("/(?si:é)", false),
        ("/caf[éÉ]", true),
        ("(?i)/a(?-i:b)", true),
    ] {
        let config = jwt(json!({}), json!({"rules": at(json!({"path_pattern": pattern}))})).to_string();
        assert_eq!(Config::read(config.as_bytes(), &|_: &str| None).is_ok(), is_good, "{pattern}");
    }
    for pattern in ["a", "/(", "", ".*", "/a)|(.*", "/caf%C3%A9/.*", "/a%20b", "/a%2fb", "/[^/]+/%61dmin"] {
        refused(at(json!({"path_pattern": pattern})), "rules[0].match.path_pattern");
    }
    refused(at(json!({"headers": {}})), "rules[0].match.headers");
    refused(at(json!({"headers": []})), "rules[0].match.headers");
    refused(at(json!({"headers": {"name": "x"}})), "rules[0].match.headers.exact");
    refused(at(json!({"headers": {"x": {"exact": "a", "prefix": "b"}}})), "rules[0].match.headers.x.exact");
    refused(at(json!({"headers": {"x y": "a"}})), "rules[0].match.headers.x y");
    // No request has this header behind Envoy: the rule would never hold.
    refused(at(json!({"headers": {"Host": "admin.example"}})), "rules[0].match.headers.Host");
    refused(at(json!({"headers": {"name": "host", "prefix": "admin."}})), "rules[0].match.headers.name");
    // A client's own copy of an identity must not choose its rule.
    refused(at(json!({"headers": {"X_User": "admin"}})), "rules[0].match.headers");
    refused(json!([{"name": "a"}, {"name": "a"}]), "rules[1].name");
    refused(json!([{"name": ""}]), "rules[0].name");
    refused(json!([{"match": {"path": "/a"}, "bypass": true, "require": {"scopes": "a"}}]), "rules[0].require");
    refused(json!([{"match": {"path": "/a"}, "providers": "nobody"}]), "rules[0].providers");
    refused(json!([{"match": {"path": "/a"}, "providers": []}]), "rules[0].providers");
    refused(json!([{"match": {"path": "/a"}, "audiences": []}]), "rules[0].audiences");
    refused(json!([{"match": {"path": "/a"}, "shadow": {}}]), "rules[0].shadow");
    refused(json!([{"match": {"path": "/a"}, "shadow": {"shadow": {}}}]), "rules[0].shadow.shadow");
    refused(json!([{"match": {"path": "/a"}, "access_token": {"key": "x"}}]), "rules[0].access_token");
    refused(
        json!([{"match": {"path": "/a"}, "claim_headers": {"header": "authorization", "claim": "a"}}]),
        "rules[0].claim_headers.header",
    );
    let patterns: Vec<Value> =
        (0..65).map(|number| json!({"match": {"path_pattern": format!("/api/[a-z]+/{number}")}})).collect();
    refused(json!(patterns), "rules[64].match.path_pattern");
    let rules: Vec<Value> = (0..10_001).map(|number| json!({"match": {"path": format!("/{number}")}})).collect();
    refused(json!(rules), "rules");
    let outputs: Vec<Value> = (0..130).map(|number| json!({"match": {"path": format!("/{number}")}, "claim_headers": {"header": format!("x-h-{number}"), "claim": "sub"}})).collect();
    refused(json!(outputs), "rules[127]");
}

/// What is allowed, and may not be what somebody means, is said when the configuration is read.
#[test]
fn warnings_about_rules() {
    let warnings = |top: Value| {
        let config = jwt(json!({}), top).to_string();
        let config = oidc_filter::config::Config::read(config.as_bytes(), &|_: &str| None).unwrap();
        config.warnings.into_iter().filter(|warning| warning.starts_with("rules[")).collect::<Vec<_>>()
    };
    let admin = json!([{"match": {"path": "/a"}, "require": {"scopes": "admin"}}]);
    for (top, expected) in [
        (json!({"rules": admin}), ""),
        (json!({"rules": admin, "enforce": false}), "rules[0]: what it asks"),
        (json!({"rules": admin, "allow_missing": true}), "rules[0]: what it asks"),
        (json!({"rules": [bypass(json!({"headers": {"x-probe": "1"}}))]}), "rules[0]: whoever sends"),
        (json!({"rules": [bypass(json!({"headers": {"x-probe": "1"}, "path": "/a"}))]}), ""),
        (json!({"rules": [marked("a", json!({"methods": "POST"}))], "verify_path": "/v"}), "rules[0]: a question"),
        (json!({"rules": [marked("a", json!({"methods": "POST"}))]}), ""),
    ] {
        let found = warnings(top.clone());
        match expected {
            "" => assert!(found.is_empty(), "{top}: {found:?}"),
            expected => assert!(found.len() == 1 && found[0].starts_with(expected), "{top}: {found:?}"),
        }
    }
}
