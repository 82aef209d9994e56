//! What never gets through: identities that a client made up, in every spelling, on every path; and tokens where the
//! operator wants none upstream (HDR-01 to HDR-05, AR-40, EXT-13, HTP-01).

use crate::scene::*;
use crate::support::with;
use serde_json::{Value, json};

fn outputs() -> Value {
    json!({
        "claim_headers": [{"header": "X-Auth-Sub", "claim": "sub"}, {"header": "x-mail", "claim": "mail"}],
        "user_info": [
            {"key": "Identity", "claims": "sub"}, {"location": "cookie", "key": "who", "claims": "sub"},
            {"location": "query_string", "key": "user_info", "claims": "sub"},
            {"location": "metadata", "key": "Claims", "claims": "sub"},
        ],
    })
}

/// Everything that an upstream could read as ours, among things that it can't.
fn forged(ask: Ask) -> Ask {
    let ask = ask.set(":path", Some(FORGED_PATH));
    let names = [
        "x-auth-sub",
        "X-Auth-Sub",
        "x_auth_sub",
        "X_AUTH_SUB",
        "x-auth_sub",
        "x.auth.sub",
        "x auth sub",
        "x-mail",
        "identity",
        "IDENTITY",
        "x-oidc-metadata-claims",
        "x_oidc_metadata_claims",
        "X-Oidc-Metadata-Claims",
    ];
    let ask = names.iter().fold(ask, |ask, name| ask.header(name, "forged").header(name, "again"));
    let cookies = ["a=1; who=forged", "WHO=forged; b=2;who=again", "%77ho=forged; who[0]=forged; who", "whoever=c"];
    let ask = cookies.iter().fold(ask, |ask, cookie| ask.header("cookie", cookie));
    ask.header("x-auth-subject", "kept").header("xauthsub", "kept").header("identity2", "kept")
}

const FORGED_PATH: &str = "/p?a=%41&user_info=forged&USER_INFO=x&user-info=x&user.info=x&user%5Finfo=x&%75ser_info=x\
    &user_info[]=x&user_info%5B0%5D=x&+user_info=x&user_info%00=x&user_info&user_info.sub=x&b;c&user_information=d&&e";

const CLEAN_PATH: &str = "/p?a=%41&b;c&user_information=d&&e";

#[track_caller]
fn is_clean(upstream: &Upstream) {
    let values = || upstream.headers.iter().map(|(_, value)| value);
    assert!(values().all(|value| !value.contains("forged") && !value.contains("again")), "{:?}", upstream.headers);
    assert_eq!(values().filter(|value| *value == "kept").count(), 3);
}

/// HDR-01 to HDR-04, AR-01, AR-40, GM-30.
#[test]
fn forgeries_go_on_every_path() {
    for (id, policy, ask, result) in [
        ("allowed", json!({}), bearer(&good()), "allowed"),
        ("stripped", json!({"enforce": false}), bearer("bad"), "stripped"),
        ("stripped, nothing there", json!({"enforce": false}), bare(), "stripped"),
        ("stripped, two tokens", json!({"enforce": false}), bearer("a").bearer("b"), "stripped"),
        ("missing is allowed", json!({"allow_missing": true}), bare(), "bypassed"),
    ] {
        let mut scene = Scene::of(jwt(json!({}), with(outputs(), policy)));
        let upstream = scene.send(forged(ask)).upstream();
        assert_eq!(upstream.result, result, "{id}");
        is_clean(&upstream);
        if result == "allowed" {
            let who = "%7B%22sub%22:%22ann%22%7D";
            assert_eq!((upstream.header("x-auth-sub"), upstream.header("identity")), (Some("ann"), Some(who)));
            assert_eq!(upstream.cookie(), Some(&*format!("who={who}; a=1; b=2; whoever=c")));
            assert!(upstream.path().starts_with(CLEAN_PATH), "{}", upstream.path());
        } else {
            assert_eq!((upstream.header("x-auth-sub"), upstream.header("identity")), (None, None), "{id}");
            assert_eq!((upstream.cookie(), upstream.path()), (Some("a=1; b=2; whoever=c"), CLEAN_PATH), "{id}");
            assert_eq!(upstream.header("x-oidc-metadata-claims"), None, "{id}");
        }
        if result != "allowed" {
            assert_eq!(upstream.header("authorization"), None, "{id}: nobody has looked at it");
        }
        // HDR-02: the token has no such claim.
        assert_eq!(upstream.header("x-mail"), None, "{id}");
    }
    let mut scene = Scene::of(jwt(json!({}), with(outputs(), json!({"allow_preflight": true}))));
    let preflight = bare().set(":method", Some("OPTIONS")).header("origin", "https://web.example");
    let preflight = preflight.header("access-control-request-method", "POST");
    // With a cookie, it would be none.
    let upstream = scene.send(forged(preflight).set("cookie", None)).bypassed();
    is_clean(&upstream);
    assert_eq!((upstream.header("x-auth-sub"), upstream.path()), (None, CLEAN_PATH));
}

/// HDR-01: Waiting changes nothing about it.
#[test]
fn forgeries_go_after_a_wait_too() {
    for (token, enforce) in [("good", true), ("bad", false)] {
        let mut scene = Scene::cold(introspection(json!({}), with(outputs(), json!({"enforce": enforce}))));
        scene.provider.tokens.insert("good".to_owned(), active(json!({})));
        let stream = scene.begin(forged(bearer(token)));
        assert!(scene.seen(stream).is_waiting());
        scene.settle();
        is_clean(&scene.seen(stream).upstream());
    }
}

/// HDR-05: a client can't have an identity taken off by calling it hop-by-hop.
#[test]
fn what_a_connection_nominates() {
    for (sent, left) in [
        ("x-auth-sub", None),
        ("keep-alive, X_Auth_Sub , upgrade", Some("keep-alive, upgrade")),
        ("Identity,x-oidc-metadata-claims", None),
        ("keep-alive,  x", Some("keep-alive,  x")),
    ] {
        let mut scene = Scene::of(jwt(json!({}), outputs()));
        let upstream = scene.send(bearer(&good()).header("connection", sent)).allowed();
        assert_eq!((upstream.header("connection"), upstream.header("x-auth-sub")), (left, Some("ann")), "{sent}");
    }
}

/// EXT-14: trailers can be merged into headers by an upstream: the host asks about each of their names.
#[test]
fn own_names_are_known_among_trailers() {
    let scene = Scene::of(jwt(json!({}), outputs()));
    for own in ["x-auth-sub", "X_Auth.Sub", "identity", "x-oidc-metadata-claims", "x-mail", "authorization", "cookie"] {
        assert!(scene.filter.is_own_trailer(own.as_bytes()), "{own}");
    }
    for other in ["x-auth-subs", "xauthsub", "", "who", "grpc-status", "grpc-message"] {
        assert!(!scene.filter.is_own_trailer(other.as_bytes()), "{other}");
    }
    assert!(!scene.filter.is_own_trailer(b"\xff\xfe"));
}

/// HTP-01, HTP-02, AR-83: only a true preflight is one.
#[test]
fn what_is_no_preflight() {
    let options = || bare().set(":method", Some("OPTIONS"));
    let origin = |ask: Ask| ask.header("origin", "https://web.example");
    let wanted = |ask: Ask| ask.header("access-control-request-method", "POST");
    let mut scene = Scene::of(jwt(json!({}), json!({"allow_preflight": true})));
    scene.send(wanted(origin(options()))).upstream();
    for ask in [
        options(),
        origin(options()),
        wanted(options()),
        origin(options()).header("access-control-request-method", ""),
        wanted(options()).header("origin", ""),
        wanted(origin(bare())),
        wanted(origin(bare().set(":method", Some("options")))),
        wanted(origin(bare().set(":method", Some("POST")))).header("x-http-method-override", "OPTIONS"),
        wanted(wanted(origin(options()))),
        origin(wanted(origin(options()))),
    ] {
        scene.send(ask).refused(401, "missing_token");
    }
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    scene.send(wanted(origin(options()))).refused(401, "missing_token");
}

/// ATK-15: a browser sends neither credentials nor a body with a preflight, and no header of the page's own (Fetch
/// standard, section 4.8). What has one of these is a request like any other, and proxies on the way may add what
/// they like.
#[test]
fn what_no_browser_s_preflight_has() {
    let preflight = |path: &str| {
        let ask = get(path).set(":method", Some("OPTIONS")).header("origin", "https://web.example");
        ask.header("access-control-request-method", "PUT")
    };
    let sources = json!([{"key": "authorization"}, {"key": "x-token"}, {"location": "query_string", "key": "t"}]);
    let mut scene = Scene::of(jwt(json!({}), json!({"allow_preflight": true, "access_token": sources})));
    for (name, value) in [
        ("access-control-request-headers", "authorization,content-type,x-http-method-override"),
        ("access-control-request-private-network", "true"),
        ("sec-fetch-mode", "cors"),
        ("content-length", "0"),
        ("referer", "https://web.example/"),
        ("x-forwarded-method", "OPTIONS"),
        ("x-original-method", "OPTIONS"),
        ("via", "1.1 proxy"),
        ("traceparent", "00-1-2-03"),
    ] {
        let query = "payment_method=card&methods=1&method=transfer&verb=to_put&a=put&override=1&method=&method";
        scene.send(preflight(&format!("/a?{query}")).header(name, value)).bypassed();
    }
    for (name, value) in [
        ("cookie", "a=1"),
        ("cookie", ""),
        ("cookie2", "$Version=1"),
        ("authorization", "Basic dTpw"),
        ("proxy-authorization", "Basic dTpw"),
        ("x-http-method-override", "DELETE"),
        ("X_HTTP_Method_Override", "DELETE"),
        ("x-http-method", "DELETE"),
        ("x-method-override", "DELETE"),
        ("x.method.override", "DELETE"),
        ("x-override-method", "DELETE"),
        ("x-original-method", "DELETE"),
        ("x-forwarded-method", "DELETE"),
        ("x-http-verb", "DELETE"),
        ("x-verb", "DELETE"),
        ("x-http-override", "DELETE"),
        ("x-api-key", "1"),
        ("apikey", "1"),
        ("x-auth-token", "1"),
        ("x-forwarded-authorization", "Basic dTpw"),
        ("x-forwarded-access-token", "1"),
        ("x-forwarded-cookie", "a=1"),
        ("content-type", "text/plain"),
        ("content-length", "1"),
        ("content-length", "00"),
        ("content-encoding", "gzip"),
        ("transfer-encoding", "chunked"),
        ("expect", "100-continue"),
        ("upgrade", "websocket"),
        ("sec-fetch-mode", "navigate"),
        ("sec-fetch-mode", ""),
    ] {
        match scene.send(preflight("/a").header(name, value)) {
            Seen::Refused(refusal) => assert_eq!(refusal.status, 401, "{name}: {value}"),
            other => panic!("{name}: {value}: {other:?}"),
        }
    }
    for query in [
        "_method=DELETE",
        "a=1&_METHOD=delete",
        "a;_method=PUT",
        "%5fmethod=PUT",
        "%255fm%2565thod",
        "%u005fmethod=PUT",
        "a[_method]=PUT",
        ".method=PUT",
        "+method=PUT",
        "x-http-method-override=PUT",
        "X%2DHTTP%2DMethod=PUT",
        "methodOverride=PUT",
        "method=DELETE",
        "a=1&METHOD=delete",
        "metho%64=%44ELETE",
        "method%3DPUT",
        "a=1,method=PUT",
        "method[]=PUT",
        "req.method=PUT",
        "requestMethod=PATCH",
        "verb=DELETE",
        "_verb=delete",
        "override=PUT",
        "method=+put+",
    ] {
        scene.send(preflight(&format!("/a?{query}"))).refused(401, "missing_token");
        scene.send(preflight(&format!("/a#{query}"))).refused(401, "missing_token");
    }
    scene.send(preflight("/a").with_body()).refused(401, "missing_token");
    // A token is judged like every other one, wherever it is.
    scene.send(preflight("/a").bearer("garbage")).refused(401, "malformed_token");
    scene.send(preflight("/a").header("x-token", "garbage")).refused(401, "malformed_token");
    scene.send(preflight("/a?t=garbage")).refused(401, "malformed_token");
    scene.send(preflight(&format!("/a?t={}", good()))).allowed();
    for (name, value) in
        [("origin", "https://a https://b"), ("origin", "a,b"), ("access-control-request-method", "A B")]
    {
        scene.send(preflight("/a").set(name, Some(value))).refused(401, "missing_token");
    }
}

/// EXT-13, MCP-07: a token that has done its work.
#[test]
fn tokens_that_do_not_go_on() {
    let sources = json!([
        {"key": "authorization"}, {"key": "x-token"}, {"location": "cookie", "key": "t"},
        {"location": "query_string", "key": "t"}, {"location": "metadata", "key": "t", "metadata_filter": "n"},
    ]);
    let mut scene = Scene::of(jwt(json!({}), json!({"forward": false, "access_token": sources})));
    let token = good();
    let upstream = scene.send(bearer(&token)).allowed();
    assert_eq!((upstream.header("authorization"), upstream.edits), (None, 1));
    let upstream = scene.send(bare().header("x-token", &token).header("x", "y")).allowed();
    assert_eq!((upstream.header("x-token"), upstream.header("x")), (None, Some("y")));
    let upstream = scene.send(bare().header("cookie", format!("a=1; t={token}; b=2"))).allowed();
    assert_eq!(upstream.cookie(), Some("a=1; b=2"));
    let upstream = scene.send(get(format!("/p?a=1&t={token}&b"))).allowed();
    assert_eq!(upstream.path(), "/p?a=1&b");
    let upstream = scene.send(bare().metadata(Some(&token))).allowed();
    assert_eq!(upstream.edits, 0);
    // What isn't ours to read stays where it is.
    let mut scene = Scene::of(jwt(json!({}), json!({"forward": false, "access_token": {"key": "x-token"}})));
    let upstream = scene.send(bare().header("x-token", &token).header("authorization", "Basic dTpw")).allowed();
    assert_eq!((upstream.header("x-token"), upstream.header("authorization")), (None, Some("Basic dTpw")));
}

/// ISS-04: not enforcing is no reason to believe anything: whatever is not valid is taken off, from every place.
#[test]
fn whatever_is_not_valid_is_stripped_from_every_place() {
    let sources = json!([
        {"key": "authorization"}, {"location": "cookie", "key": "t"}, {"location": "query_string", "key": "t"},
    ]);
    let config = jwt(json!({}), json!({"enforce": false, "access_token": sources}));
    let mut scene = Scene::of(config);
    let expired = token(json!({"exp": NOW - 3600}));
    for (ask, reason) in [
        (bearer(&expired), "expired"),
        (bearer("opaque"), "malformed_token"),
        (bearer(&token(json!({"iss": "https://other.example"}))), "unknown_issuer"),
        (bare().header("authorization", "Basic dTpw"), "unsupported_token"),
        (bare().header("authorization", "Bearer"), "invalid_request"),
        (bearer("a").bearer("b"), "invalid_request"),
        (get(format!("/p?t={expired}&a")).header("cookie", "a=1; t=x").bearer(&good()), "invalid_request"),
    ] {
        let upstream = scene.send(ask).stripped(reason);
        assert_eq!(upstream.header("authorization"), None, "{reason}");
        let rest = upstream.headers.iter().all(|(_, value)| !value.contains("t=") && !value.contains(&expired));
        assert!(rest, "{:?}", upstream.headers);
    }
    scene.send(bearer(&good())).allowed();
    // A good token that isn't enough is refused all the same (RFC 6750, section 3.1).
    let config = jwt(json!({}), json!({"enforce": false, "require": {"scopes": "admin"}}));
    Scene::of(config).send(bearer(&good())).refused(403, "insufficient_scope");
}

/// What can't be verified is taken off, too.
#[test]
fn an_outage_without_enforcement() {
    let mut scene = Scene::cold(jwt(json!({}), with(outputs(), json!({"enforce": false}))));
    scene.provider.at("/jwks", Answer::Refuses);
    let upstream = scene.send(forged(bearer(&good()))).stripped("provider_unavailable");
    is_clean(&upstream);
    assert_eq!((upstream.header("authorization"), upstream.provider.as_deref()), (None, Some("idp.example.com")));
}

/// EXT-13: what somebody before the filter has put on the request, such as Envoy's `oauth2`, is not the service's.
#[test]
fn listed_names_go_on_every_path() {
    let top = json!({
        "remove": {"cookie": ["BearerToken", "IdToken", "OauthHMAC"], "header": "X-Forwarded-Access-Token", "query_string": "id_token"},
        "access_token": [{"key": "authorization"}, {"location": "cookie", "key": "BearerToken"}],
        "rules": [{"match": {"path_prefix": "/open"}, "bypass": true}, {"match": {"path_prefix": "/free"}, "allow_missing": true}],
        "allow_preflight": true,
    });
    let carried = |path: &str, bearer: &str| {
        get(format!("{path}?a=1&id_token=x&id%5Ftoken=y&b=2"))
            .header(
                "cookie",
                format!("theme=dark; BearerToken={bearer}; IdToken=x.y.z; idtoken=q; OauthHMAC=m=; lang=en"),
            )
            .header("x-forwarded-access-token", "x")
            .header("x_forwarded_access_token", "y")
    };
    let is_clean = |upstream: &Upstream, path: &str| {
        assert_eq!((upstream.path(), upstream.cookie()), (&*format!("{path}?a=1&b=2"), Some("theme=dark; lang=en")));
        let names: Vec<&str> = upstream.headers.iter().map(|(name, _)| name.as_str()).collect();
        assert!(!names.iter().any(|name| name.contains("access")), "{names:?}");
    };
    for forward in [true, false] {
        let mut scene = Scene::of(jwt(json!({}), with(top.clone(), json!({"forward": forward}))));
        is_clean(&scene.send(carried("/things", &good())).allowed(), "/things");
        is_clean(&scene.send(carried("/open/a", &good())).bypassed(), "/open/a");
        let preflight = carried("/things", "x").set(":method", Some("OPTIONS")).set("cookie", None);
        let preflight = preflight.set("x-forwarded-access-token", None).set("x_forwarded_access_token", None);
        let preflight = preflight.header("origin", "https://a").header("access-control-request-method", "PUT");
        assert_eq!(scene.send(preflight).bypassed().path(), "/things?a=1&b=2");
        scene.send(carried("/things", "no.good.token")).refused(401, "malformed_token");
    }
    let mut strips = Scene::of(jwt(json!({}), with(top, json!({"enforce": false}))));
    is_clean(&strips.send(carried("/things", "no.good.token")).stripped("malformed_token"), "/things");
}

#[test]
fn names_that_can_not_be_removed() {
    use oidc_filter::config::Config;
    let refused = |remove: Value| {
        let configuration = jwt(json!({}), json!({"remove": remove})).to_string();
        Config::read(configuration.as_bytes(), &|_: &str| None).unwrap_err().to_string()
    };
    for name in ["host", "Content-Length", "transfer-encoding", ":path", "", "a b"] {
        assert!(refused(json!({"header": name})).starts_with("remove.header: "), "{name}");
    }
    assert!(refused(json!({"cookie": "a;b"})).starts_with("remove.cookie: "));
    assert!(refused(json!({"query_string": ""})).starts_with("remove.query_string: "));
    assert!(refused(json!({"cookies": "a"})).starts_with("remove.cookies: "));
    assert!(refused(json!({})).starts_with("remove: "));
    let many: Vec<String> = (0..65).map(|number| format!("c{number}")).collect();
    assert!(refused(json!({"cookie": many})).starts_with("remove: "));
}
