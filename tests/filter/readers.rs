//! What services find in a request that has left the filter: each reads cookies and queries in a way of its own, and some
//! search where others parse (ATK-01, ATK-02, ATK-11, ATK-13, ATK-14, ATK-16).

use crate::scene::*;
use crate::support::with;
use serde_json::{Value, json};

const FORGED: &str = "%7B%22sub%22%3A%22root%22%7D";

/// A policy under which a request goes on, with what makes it do so.
type Way = (&'static str, Scene, fn(Ask) -> Ask);

fn ways_on(base: &Value) -> Vec<Way> {
    let preflight = |ask: Ask| {
        ask.set(":method", Some("OPTIONS"))
            .header("origin", "https://web.example")
            .header("access-control-request-method", "POST")
    };
    let scene = |policy: Value| Scene::of(jwt(json!({}), with(base.clone(), policy)));
    let bypass = json!({"rules": [{"match": {"path_prefix": "/d"}, "bypass": true}]});
    let shadow = json!({"allow_missing": true, "shadow": {"enforce": false}});
    vec![
        ("allowed", scene(json!({})), |ask| ask.bearer(&good())),
        ("bypassed", scene(bypass), |ask| ask),
        ("missing", scene(json!({"allow_missing": true})), |ask| ask),
        ("stripped", scene(json!({"enforce": false})), |ask| ask.bearer("bad")),
        ("preflight", scene(json!({"allow_preflight": true})), preflight),
        ("shadow", scene(shadow), |ask| ask),
    ]
}

// ---------------------------------------------------------------------------------------------- cookies

/// The same without preflights, which have none.
fn ways_on_with_cookies(base: &Value) -> impl Iterator<Item = Way> {
    ways_on(base).into_iter().filter(|(way, ..)| *way != "preflight")
}

/// Cookies that some reader takes for `identity`. WebOb 1.8.11 searches with an expression: a name begins behind any sign that no
/// name has, and behind a value, which a quote or a date ends.
const HIDDEN_IDENTITIES: [&str; 44] = [
    "a\"identity=@",
    "a[identity=@",
    "a]identity=@",
    "a\\identity=@",
    "a,identity=@",
    "a identity=@",
    "a\tidentity=@",
    "a{\"identity=@",
    "a\u{e9}identity=@",
    "a\u{a0}identity=@",
    "x=a,identity=@",
    "x=a identity=@",
    "x=a, identity =@",
    "x=[identity=@",
    "x=]identity=@",
    "x=identity=@",
    "x==identity=@",
    "=identity=@",
    "=identity",
    "x=\"identity=@\"",
    "x=\"a\"identity=@",
    "x=\"a\" identity=@",
    "x=\\\"identity=@",
    "x=a\\, identity=@",
    "x=\"a,identity=@\"",
    "x=a&%69dentity=@",
    "a=Wed, 01-Jan-2025 00:00:00 GMTidentity=@",
    "a=Wed, 01-Jan-2025 00:00:00 GMTidentity = @",
    "\"identity\"=@",
    "a\"IDENTITY=@",
    "a\"%69dentity=@",
    "a\"%u0069dentity=@",
    "a\"%2569dentity=@",
    "$Version=1,identity=@",
    "$identity=@",
    "$$Identity=@",
    // Decoded as a whole before it is parted: `decodeURIComponent(cookie).split(';')`.
    "x=a%3Bidentity=@",
    "x=a%3Bidentity%3D@",
    "x=%3b%20IDENTITY%3d@",
    "x=a%253B%20identity%253D@",
    "x%3Bidentity=@",
    "identity%3D@=",
    "identity%3D=@",
    "x=a%u003bidentity%u003d@",
];

/// What nobody takes for it.
const OTHER_COOKIES: [&str; 18] = [
    "theme=identity-blue",
    "theme=identity",
    "theme=\"identity\"",
    "identity-theme=blue",
    "my_identity=5",
    "myidentity=5",
    "identity.sig=5",
    "identities=5",
    "x=a:identity:b",
    "x=%7B%22identity%22%3A%22blue%22%7D",
    "next=https%3A%2F%2Fa.example%2F%3Fidentity%3D5",
    "prefs={\"theme\":\"dark\"}",
    "x=a=b==",
    "$Version=1",
    "$my_identity=1",
    "x=a%3Bmy_identity%3D5",
    "x=a%3Bb%3Didentity",
    "note=see%20my%20identity%3B%20it%20is%3D5",
];

/// ATK-01.
#[test]
fn no_reader_finds_another_identity_in_a_cookie() {
    let output = json!({"user_info": {"location": "cookie", "key": "identity", "claims": "sub"}});
    for (way, mut scene, ask) in ways_on_with_cookies(&output) {
        let mut left = |cookies: &[&str]| {
            let ask = cookies.iter().fold(ask(get("/d")), |ask, cookie| ask.header("cookie", cookie));
            let upstream = scene.send(ask).upstream();
            let written = upstream.cookie().map(str::to_owned);
            // Ours is the first, and the rest is what is left of the client's.
            match way {
                "allowed" => {
                    let written = written.unwrap();
                    let rest = written.strip_prefix("identity=%7B%22sub%22:%22ann%22%7D").unwrap();
                    Some(rest.trim_start_matches("; ").to_owned()).filter(|rest| !rest.is_empty())
                }
                _ => written,
            }
        };
        for hidden in HIDDEN_IDENTITIES {
            let hidden = hidden.replace('@', FORGED);
            assert_eq!(left(&[&hidden]), None, "{way}: {hidden}");
            assert_eq!(left(&[&format!("a=1; {hidden}; b=2")]).as_deref(), Some("a=1; b=2"), "{way}: {hidden}");
            assert_eq!(left(&["a=1", &hidden]).as_deref(), Some("a=1"), "{way}: {hidden}");
        }
        for other in OTHER_COOKIES {
            assert_eq!(left(&[other]).as_deref(), Some(other), "{way}");
            assert_eq!(left(&["identity=x", other]).as_deref(), Some(other), "{way}");
        }
    }
}

/// ATK-01, ATK-02: a quoted value goes on over semicolons, to some readers. Where it ends must not depend on a quote
/// that was taken away: here `admin=1` would come into sight.
#[test]
fn no_cookie_comes_into_sight_when_another_is_removed() {
    let output = json!({"user_info": {"location": "cookie", "key": "identity"}, "allow_missing": true});
    let mut scene = Scene::of(jwt(json!({}), output));
    for (sent, left) in [
        ("a=\"; identity=\"; b=\"; admin=1; c=\"", Some("admin=1")),
        ("a=\"x; identity=\"; d=1", Some("d=1")),
        ("a=\"x; identity=root\"", None),
        ("a=\"\\\"; identity=\"x\"; d=1", Some("d=1")),
        // No quote is removed: all others stay where they are.
        ("a=\"x; identity=root; b\"; d=1", Some("a=\"x; b\"; d=1")),
        ("a=\"x\"; identity=\"root\"; p={\"b\":1}", Some("a=\"x\"; p={\"b\":1}")),
    ] {
        assert_eq!(scene.send(bare().header("cookie", sent)).upstream().cookie(), left, "{sent}");
    }
}

/// ATK-11.
#[test]
fn unit_escapes_in_the_names_of_cookies() {
    let output = json!({"user_info": {"location": "cookie", "key": "identity"}});
    for (way, mut scene, ask) in ways_on_with_cookies(&output) {
        for name in
            ["%u0069dentity", "%U0069dent%69ty", "identit%u0079", "%25u0069dentity", "%2569dentity", "%u0049dentity"]
        {
            let ask = ask(get("/d")).header("cookie", format!("a=1; {name}=root"));
            let cookie = scene.send(ask).upstream().cookie().map(str::to_owned).unwrap();
            assert!(!cookie.contains("root") && cookie.ends_with("a=1"), "{way}: {cookie}");
        }
    }
}

// ---------------------------------------------------------------------------------------------- queries

fn in_the_query() -> Value {
    let sources = json!([{"key": "authorization"}, {"location": "query_string", "key": "access_token"}]);
    json!({"access_token": sources, "user_info": {"location": "query_string", "key": "who", "claims": "sub"}})
}

/// What stands inside somebody else's parameter can't be taken out without making another of it.
const MIXED_QUERIES: [&str; 31] = [
    "admin=1;access_token=x",
    "preview=1;access_token=",
    "admin=1;access_token",
    "access_token=x;admin=1",
    "access_token;admin=1",
    ";access_token=x",
    "a=1;b;Access_Token=x;c",
    "a=1;%61ccess_token=x",
    "a=1;access%u005Ftoken=x",
    "a=1;access%255Ftoken=x",
    "a=1;[access_token]=x",
    "a=1;who=root",
    "who=root;a=1",
    "b=2&a=1;who[sub]=root&c",
    "b=2&a=1;who.sub=root&c",
    "a=1&amp;who=root",
    "a=1 who=root",
    "a=1\nwho=root",
    "a=1\\who=root",
    "a=1\"who=root",
    "a=\"who\"=root",
    "a={who=root}",
    "a\\who=root",
    "a[who=root",
    "a]who=root",
    "a%26who=root",
    "a%0Awho=root",
    "a\u{e9}=1|who=root",
    "=who=root",
    "a=1&==access_token=x",
    "=a;who=root",
];

const OTHER_QUERIES: [&str; 20] = [
    "=",
    "=a=who",
    "$filter=who%20eq%201",
    "redirect=https%3A%2F%2Fx%2F%3Fwho%3D1%26access_token%3D2",
    "a=1;b=2",
    "a=1;whom=2",
    "q=who",
    "q=who;x",
    "next=/a?who=1",
    "next=%2Fa%3Bwho%3D1%26access_token%3D2",
    "filter[who]=1",
    "filter[who][]=1&filter[a][who]=2",
    "whom=1&who_else=2&x-who=3&awho=4",
    "$who=1",
    "x.who=1",
    "q={\"a\":1}",
    "q=a b;c",
    "a=[who]",
    "&&a&",
    "",
];

/// ATK-02, HDR-18.
#[test]
fn a_name_of_ours_inside_another_parameter_is_refused_under_every_rule() {
    for (way, mut scene, ask) in ways_on(&in_the_query()) {
        for query in MIXED_QUERIES {
            let refusal = scene.send(ask(get(format!("/d?{query}")))).refused(400, "invalid_request");
            assert!(refusal.body.contains("query"), "{way}: {query}: {}", refusal.body);
        }
        for fragment in ["/d#?who=x", "/d?a#&who=x", "/d?a=1#b&access_token=x", "/d#?b;access_token=x"] {
            scene.send(ask(get(fragment))).refused(400, "invalid_request");
        }
        // Fastify 4 begins the query at the first semicolon, and so finds nothing behind the filter's own mark; Netty at
        // the mark of a fragment.
        for path in
            ["/d;who=x", "/d;a=1&who=x", "/d;a=1&who=x&b=", "/d;access_token=x/e", "/a;b/d;%77ho=x?c=1", "/d#who=x"]
        {
            scene.send(ask(get(path))).refused(400, "invalid_request");
        }
        for path in ["/d;whom=x", "/who;a=1", "/d;v=1/who"] {
            let seen = scene.send(ask(get(path)));
            assert!(way == "bypassed" || matches!(seen, Seen::Upstream(_)), "{way}: {path}: {seen:?}");
        }
        for query in OTHER_QUERIES {
            let upstream = scene.send(ask(get(format!("/d?{query}")))).upstream();
            let path = upstream.path().strip_suffix("who=%7B%22sub%22:%22ann%22%7D").unwrap_or(upstream.path());
            let path = if way == "allowed" { path.trim_end_matches('&') } else { path };
            let sent = if way == "allowed" { query.trim_end_matches('&') } else { query };
            assert_eq!(path, format!("/d?{sent}"), "{way}");
        }
    }
}

/// ATK-02: who asks about a request is told no, too.
#[test]
fn a_question_about_such_a_request_is_refused() {
    let told = json!({"method_header": "x-method", "uri_header": "x-uri", "host_header": "x-host"});
    for top in [json!({"enforce": false}), json!({"rules": [{"match": {"path_prefix": "/d"}, "bypass": true}]})] {
        let base = with(with(in_the_query(), json!({"verify_path": "/verify"})), top);
        let mut behind = Scene::of(jwt(json!({}), base.clone()));
        let mut in_headers = Scene::of(jwt(json!({}), with(base, json!({"verify_request": told.clone()}))));
        let headers = |uri: String| get("/verify").header("x-method", "GET").header("x-host", "h").header("x-uri", uri);
        for query in MIXED_QUERIES {
            behind.send(get(format!("/verify/d?{query}"))).refused(401, "invalid_request");
            in_headers.send(headers(format!("/d?{query}"))).refused(401, "invalid_request");
        }
        behind.send(get("/verify/d?a=1;b=2")).confirmed();
        in_headers.send(headers("/d?a=1;b=2".to_owned())).confirmed();
    }
}

/// ATK-02: what is removed is removed whole, and what is left is what it was.
#[test]
fn nothing_that_is_removed_gives_a_new_meaning_to_what_is_left() {
    let config = with(in_the_query(), json!({"allow_missing": true}));
    let mut scene = Scene::of(jwt(json!({}), config));
    for (sent, left) in [
        ("/d?who=root&a=1", "/d?a=1"),
        ("/d?a=1&who.sub=root", "/d?a=1"),
        ("/d?a=1&who%2Esub=root&who[sub]=x&[who]=y&?who=z", "/d?a=1"),
        ("/d?a=1&w%2568o=root&%u0077ho=x&%2577ho=y&WHO=z", "/d?a=1"),
        ("/d?who=root?admin=1", "/d"),
        // To an Envoy that knows no fragments, this would be a query.
        ("/d?who=root#?admin=1", "/d?#?admin=1"),
        ("/d?a=1#b", "/d?a=1#b"),
    ] {
        assert_eq!(scene.send(get(sent)).upstream().path(), left, "{sent}");
    }
}

// ---------------------------------------------------------------------------------------------- second tokens

fn everywhere() -> Value {
    json!({"access_token": [
        {"key": "authorization"}, {"key": "x-token"}, {"location": "cookie", "key": "session"},
        {"location": "query_string", "key": "access_token"},
    ]})
}

/// A request with this under another spelling of a token's place.
fn misspelled() -> Vec<(String, Ask)> {
    let query = |sent: &str| (sent.to_owned(), get(format!("/d?a=1&{sent}&b=2")));
    let cookie = |sent: &str| (sent.to_owned(), get("/d?a=1&b=2").header("cookie", format!("a=1; {sent}; b=2")));
    let header = |sent: &str| (sent.to_owned(), get("/d?a=1&b=2").header(sent, "x"));
    let queries = [
        "Access_Token=x",
        "ACCESS_TOKEN=x",
        "access-token=x",
        "access.token=x",
        "access%20token=x",
        "access+token=x",
        "access%u005Ftoken=x",
        "access%255Ftoken=x",
        "access_token[]=x",
        "access_token%5B0%5D=x",
        "[access_token]=x",
        "access_token.x=x",
        "access_token%00=x",
        "+access_token=x",
        "?access_token=x",
        "Access_Token",
    ];
    let cookies = [
        "SESSION=x",
        "Session=x",
        "session[]=x",
        "%73ession=x",
        "%u0073ession=x",
        "%2573ession=x",
        "+session=x",
        "$session=x",
        "SESSION",
    ];
    let headers = ["x_token", "x.token"];
    let queries = queries.into_iter().map(query);
    queries.chain(cookies.into_iter().map(cookie)).chain(headers.into_iter().map(header)).collect()
}

/// ATK-13.
#[test]
fn a_token_under_another_spelling_is_a_second_one() {
    let mut scene = Scene::of(jwt(json!({}), everywhere()));
    for (sent, ask) in misspelled() {
        for second in [
            ask.clone().bearer(&good()),
            ask.clone().header("x-token", good()),
            ask.clone().header("cookie", format!("session={}", good())),
        ] {
            let refusal = scene.send(second).refused(400, "invalid_request");
            assert!(refusal.body.contains("more than one"), "{sent}: {}", refusal.body);
        }
        // Alone, it is none.
        scene.send(ask).refused(401, "missing_token");
    }
}

/// ATK-13.
#[test]
fn without_a_good_one_it_is_removed() {
    for (way, policy) in [
        ("missing", json!({"allow_missing": true})),
        ("bypassed", json!({"rules": [{"match": {"path_prefix": "/d"}, "bypass": true}]})),
        ("stripped", json!({"enforce": false})),
    ] {
        let mut scene = Scene::of(jwt(json!({}), with(everywhere(), policy)));
        for (sent, ask) in misspelled() {
            let upstream = scene.send(ask).upstream();
            assert_eq!(upstream.path(), "/d?a=1&b=2", "{way}: {sent}");
            assert!(upstream.cookie().is_none_or(|cookie| cookie == "a=1; b=2"), "{way}: {sent}");
            assert!(upstream.headers.iter().all(|(name, _)| name != "x_token" && name != "x.token"), "{way}: {sent}");
        }
    }
    // Beside a good one, too, where what is not valid is stripped.
    let mut scene = Scene::of(jwt(json!({}), with(everywhere(), json!({"enforce": false}))));
    for (sent, ask) in misspelled() {
        let upstream = scene.send(ask.bearer(&good())).stripped("invalid_request");
        assert_eq!((upstream.path(), upstream.header("authorization")), ("/d?a=1&b=2", None), "{sent}");
    }
}

/// ATK-13: Places that the operator named are no misspellings of each other.
#[test]
fn two_places_may_differ_in_their_case_only() {
    let sources = json!([
        {"location": "cookie", "key": "session"}, {"location": "cookie", "key": "Session"},
        {"location": "query_string", "key": "token"}, {"location": "query_string", "key": "Token"},
        {"location": "query_string", "key": "token[]"}, {"key": "x-token"}, {"key": "x_token"},
    ]);
    let mut scene = Scene::of(jwt(json!({}), json!({"access_token": sources})));
    let token = good();
    for cookie in [format!("session={token}"), format!("Session={token}")] {
        let upstream = scene.send(bare().header("cookie", &cookie)).allowed();
        assert_eq!(upstream.cookie(), Some(&*cookie));
    }
    for path in [format!("/p?token={token}"), format!("/p?Token={token}"), format!("/p?token[]={token}")] {
        assert_eq!(scene.send(get(&path)).allowed().path(), path);
    }
    for header in ["x-token", "x_token"] {
        assert_eq!(scene.send(bare().header(header, &token)).allowed().header(header), Some(&*token));
    }
    scene.send(bare().header("cookie", format!("session={token}; Session={token}"))).refused(400, "invalid_request");
    scene.send(bare().header("cookie", format!("session={token}; SESSION={token}"))).refused(400, "invalid_request");
    scene.send(get(format!("/p?token={token}&TOKEN=x"))).refused(400, "invalid_request");
    scene.send(bare().header("x-token", &token).header("x_token", &token)).refused(400, "invalid_request");
}

/// ATK-13: a name that stands somewhere in a cookie is no token, but no reader must take it for one.
#[test]
fn a_cookie_that_mentions_a_place_is_no_second_token() {
    let mut scene = Scene::of(jwt(json!({}), everywhere()));
    for (cookie, left) in [
        ("theme=session-dark", Some("theme=session-dark")),
        ("session.sig=x", Some("session.sig=x")),
        ("my_session=x", Some("my_session=x")),
        ("p={\"session\":1}", None),
        ("x=a,session=y", None),
        ("x=session=y", None),
    ] {
        assert_eq!(scene.send(bearer(&good()).header("cookie", cookie)).allowed().cookie(), left, "{cookie}");
    }
}

// ---------------------------------------------------------------------------------------------- logs

/// ATK-14: what an access log can have of a request that was refused.
#[test]
fn no_token_is_left_on_a_request_that_is_refused() {
    let forward = json!({"forward": false});
    let bad = token(json!({"exp": NOW - 3600}));
    let everywhere_at_once = || {
        get(format!("/d?a=1&access_token={bad}&Access_Token={bad}&b=2"))
            .header("cookie", format!("a=1; session={bad}"))
            .header("x-token", &bad)
            .bearer(&bad)
            .header("x-envoy-original-path", format!("/old?access_token={bad}&c"))
    };
    let mut scene = Scene::of(jwt(json!({}), with(everywhere(), forward.clone())));
    let logged = scene.send(everywhere_at_once()).refused(400, "invalid_request").logged;
    assert_eq!((logged.path(), logged.header("x-envoy-original-path")), ("/d?a=1&b=2", Some("/old?c")));
    let others = (logged.header("cookie"), logged.header("x-token"), logged.header("authorization"));
    assert_eq!(others, (Some("a=1"), None, None));
    for (policy, ask, status, reason) in [
        (json!({}), get(format!("/d?access_token={bad}&a")), 401, "expired"),
        (json!({}), get(format!("/d?access_token={}&a;access_token=x&a", good())), 400, "invalid_request"),
        (json!({"require": {"scopes": "x"}}), get(format!("/d?access_token={}&a", good())), 403, "insufficient_scope"),
        // Under which policy it fell is not known.
        (
            json!({"forward": true, "rules": [
                {"match": {"path_prefix": "/d"}, "forward": false}, {"match": {"path": "/x"}, "bypass": true},
            ]}),
            get(format!("/d/..%2fx?access_token={}&a", good())),
            400,
            "invalid_request",
        ),
    ] {
        let mut scene = Scene::of(jwt(json!({}), with(with(everywhere(), forward.clone()), policy)));
        let logged = scene.send(ask).refused(status, reason).logged;
        assert!(logged.path().ends_with("?a"), "{}", logged.path());
    }
    let mut down = Scene::cold(jwt(json!({}), with(everywhere(), forward)));
    down.provider.at("/jwks", Answer::Refuses);
    let logged = down.send(get(format!("/d?access_token={}", good()))).refused(503, "provider_unavailable").logged;
    assert_eq!(logged.path(), "/d");
    // A token that may go on may be logged.
    let mut scene = Scene::of(jwt(json!({}), everywhere()));
    let sent = format!("/d?access_token={bad}");
    assert_eq!(scene.send(get(&sent)).refused(401, "expired").logged.path(), sent);
}

/// ATK-14: a browser asks with the target that the page wants to ask for, and the answer is the filter's own.
#[test]
fn no_token_is_left_on_a_preflight_that_is_answered() {
    let cors = json!({"cors": {"allow_origins": "https://web.example", "allow_headers": "authorization"}});
    let asks = |path: &str| {
        let ask = get(path).set(":method", Some("OPTIONS")).header("origin", "https://web.example");
        ask.header("access-control-request-method", "PUT").header("x-envoy-original-path", path)
    };
    let sent = "/d?a=1&access_token=x&Access_Token=y&b";
    for (policy, left) in [
        (json!({"forward": false}), "/d?a=1&b"),
        (json!({"rules": [{"match": {"path": "/other"}, "forward": false}]}), "/d?a=1&b"),
        // Its place's name in another spelling is none of the service's.
        (json!({}), "/d?a=1&access_token=x&b"),
    ] {
        let mut scene = Scene::of(jwt(json!({}), with(with(everywhere(), cors.clone()), policy)));
        let logged = scene.send(asks(sent)).logged_preflight();
        assert_eq!((logged.path(), logged.header("x-envoy-original-path")), (left, Some(left)));
    }
}

/// HDR-19: nobody stands in a log under a name that the filter has not written.
#[test]
fn no_forgery_is_left_on_a_request_that_is_answered() {
    let outputs = json!({
        "claim_headers": {"header": "x-user", "claim": "sub"},
        "user_info": [
            {"location": "cookie", "key": "who"}, {"location": "query_string", "key": "who"}, {"location": "metadata", "key": "who"},
        ],
        "rules": [{"match": {"path": "/strict"}, "require": {"scopes": "x"}}],
    });
    let forged = |ask: Ask| {
        let ask = ask.header("x-user", "root").header("X_User", "root").header("cookie", "a=1; who=root");
        ask.header("x-oidc-metadata-who", "root").header("x-envoy-original-path", "/old?who=root&c")
    };
    let is_clear = |logged: &Logged, path: &str| {
        assert_eq!((logged.path(), logged.header("cookie")), (path, Some("a=1")));
        assert_eq!(logged.header("x-envoy-original-path"), Some("/old?c"));
        for name in ["x-user", "x_user", "x-oidc-metadata-who"] {
            assert_eq!(logged.header(name), None, "{name}");
        }
    };
    let mut scene = Scene::of(jwt(json!({}), outputs.clone()));
    for (path, ask, status, reason) in [
        ("/d", get("/d?who=root&a"), 401, "missing_token"),
        ("/d", get("/d?who=root&a").bearer(&token(json!({"exp": NOW - 3600}))), 401, "expired"),
        ("/strict", get("/strict?who=root&a").bearer(&good()), 403, "insufficient_scope"),
    ] {
        let logged = scene.send(forged(ask)).refused(status, reason).logged;
        is_clear(&logged, &format!("{path}?a"));
    }
    // The token itself may go on.
    let logged = scene.send(forged(get("/strict?a").bearer(&good()))).refused(403, "insufficient_scope").logged;
    assert_eq!(logged.header("authorization"), Some(&*format!("Bearer {}", good())));
    let cors = json!({"cors": {"allow_origins": "https://web.example", "allow_headers": "authorization"}});
    let mut scene = Scene::of(jwt(json!({}), with(outputs.clone(), cors)));
    // A browser sends no cookie with it.
    let preflight = get("/d?who=root&a").set(":method", Some("OPTIONS")).header("origin", "https://web.example");
    let preflight = preflight.header("access-control-request-method", "PUT").header("x-user", "root");
    let logged = scene.send(preflight).logged_preflight();
    assert_eq!((logged.path(), logged.header("x-user")), ("/d?a", None));
    let mut scene = Scene::of(jwt(json!({}), with(outputs, json!({"verify_path": "/verify"}))));
    let logged = scene.send(forged(get("/verify/d?who=root&a").bearer(&good()))).confirmed().logged;
    is_clear(&logged, "/verify/d?a");
}

/// ATK-14.
#[test]
fn a_bypass_takes_the_token_off_too() {
    let rules = json!([{"match": {"path_prefix": "/d"}, "bypass": true}]);
    let mut scene = Scene::of(jwt(json!({}), with(everywhere(), json!({"forward": false, "rules": rules}))));
    let sent = |ask: Ask| ask.header("cookie", "a=1; session=x").header("x-token", "x");
    let upstream = scene.send(sent(get("/d?access_token=x&a=1")).bearer("x")).bypassed();
    assert_eq!((upstream.path(), upstream.cookie(), upstream.header("x-token")), ("/d?a=1", Some("a=1"), None));
    assert_eq!(upstream.header("authorization"), None);
    // Credentials of another scheme are somebody else's.
    for (other, left) in [
        ("Basic dTpw", Some("Basic dTpw")),
        ("BearerX y", Some("BearerX y")),
        ("bearer x", None),
        ("Basic dTpw, Bearer x", None),
        ("Bearer", None),
    ] {
        let upstream = scene.send(get("/d").header("authorization", other)).bypassed();
        assert_eq!(upstream.header("authorization"), left, "{other}");
    }
    let mut scene = Scene::of(jwt(
        json!({}),
        with(everywhere(), json!({"rules": [{"match": {"path_prefix": "/d"}, "bypass": true}]})),
    ));
    assert_eq!(scene.send(get("/d?access_token=x&a=1")).bypassed().path(), "/d?access_token=x&a=1");
}

/// ATK-14: an Envoy that answers questions has an access log of its own.
#[test]
fn no_token_is_left_on_a_question() {
    let told = json!({"method_header": "x-method", "uri_header": "x-uri"});
    let base = with(everywhere(), json!({"forward": false, "verify_path": "/verify"}));
    let mut behind = Scene::of(jwt(json!({}), base.clone()));
    let mut in_headers = Scene::of(jwt(json!({}), with(base, json!({"verify_request": told}))));
    for (token, is_good) in [(good(), true), ("bad".to_owned(), false)] {
        let uri = format!("/d?access_token={token}&a=1");
        for (scene, ask, name, left) in [
            (&mut behind, get(format!("/verify{uri}")), ":path", "/verify/d?a=1"),
            (&mut in_headers, get("/verify").header("x-method", "GET").header("x-uri", &uri), "x-uri", "/d?a=1"),
        ] {
            let logged = match scene.send(ask) {
                Seen::Confirmed(confirmation) if is_good => confirmation.logged,
                Seen::Refused(refusal) if !is_good => refusal.logged,
                other => panic!("{other:?}"),
            };
            assert_eq!(logged.header(name), Some(left));
            assert!(logged.path().starts_with("/verify"), "{}", logged.path());
        }
    }
}

// ---------------------------------------------------------------------------------------------- other clothes

/// ATK-16: where nothing is valid, nothing is left that a service could take for a token that a proxy has proved. Who
/// a proxy says the user is stays: it is no token, and may be the word of a proxy before this one.
#[test]
fn other_tokens_are_stripped() {
    let tokens = [
        "proxy-authorization",
        "x-forwarded-access-token",
        "X_Forwarded_Access_Token",
        "x-forwarded-id-token",
        "x-access-token",
        "x-id-token",
        "oidc-access-token",
        "OIDC_id_token",
        "x-auth-request-access-token",
        "x-forwarded-authorization",
        "x-original-authorization",
        "x-refresh-token",
        "OIDC_refresh_token",
        "x-auth-request-id-token",
        "x-amzn-oidc-accesstoken",
        "x-ms-token-aad-id-token",
        "x_ms_token_aad_access_token",
    ];
    let sent =
        |ask: Ask| tokens.iter().fold(ask, |ask, name| ask.header(name, "Bearer x")).header("x-forwarded-user", "u");
    let mut scene = Scene::of(jwt(json!({}), json!({"enforce": false})));
    for ask in [sent(bare()), sent(bearer("bad"))] {
        let upstream = scene.send(ask).upstream();
        let others = ["authorization", "Authorization"].into_iter().chain(tokens);
        assert!(others.into_iter().all(|name| upstream.header(name).is_none()), "{:?}", upstream.headers);
        assert_eq!((upstream.result, upstream.header("x-forwarded-user")), ("stripped", Some("u")));
    }
    assert_eq!(scene.send(sent(bearer(&good()))).allowed().header("proxy-authorization"), Some("Bearer x"));
    assert!(tokens.iter().all(|name| scene.filter.is_own_trailer(name.as_bytes())));
    // Who asks is told to take them off.
    let mut scene = Scene::of(jwt(json!({}), json!({"enforce": false, "verify_path": "/verify"})));
    let removed = scene.send(sent(get("/verify"))).confirmed().removed;
    assert!(tokens.iter().all(|name| removed.iter().any(|removed| removed == name)), "{removed:?}");
}

/// ATK-16: PHP decodes a `+` in a cookie to a space.
#[test]
fn a_plus_in_an_identity_stays_one_to_every_reader() {
    let outputs = json!({"user_info": [
        {"location": "cookie", "key": "who", "claims": "sub"}, {"location": "query_string", "key": "who", "claims": "sub"},
    ]});
    let mut scene = Scene::of(jwt(json!({}), outputs));
    let upstream = scene.send(bearer(&token(json!({"sub": "ann+mail@x"})))).allowed();
    let written = "who=%7B%22sub%22:%22ann%2Bmail@x%22%7D";
    assert_eq!((upstream.cookie(), upstream.path()), (Some(written), &*format!("/things?{written}")));
    assert!(upstream.response_cookies[0].starts_with(written));
}

/// ATK-16: qs (`allowDots`) and picoquery make an object of it.
#[test]
fn members_of_an_identity_are_forgeries() {
    let output = json!({"user_info": {"location": "query_string", "key": "who", "claims": "sub"}});
    for (way, mut scene, ask) in ways_on(&output) {
        for query in [
            "who.x=root",
            "who%2Ex=root",
            "who.=root",
            "who..x=root",
            "who.sub[x]=root",
            "WHO.sub=root",
            "who[x].y=root",
        ] {
            let upstream = scene.send(ask(get(format!("/d?a=1&{query}")))).upstream();
            assert!(!upstream.path().contains("root") && upstream.path().contains("a=1"), "{way}: {}", upstream.path());
        }
    }
}

/// ATK-16: picoquery passes over what all objects inherit, and query-string can be told that a colon ends a name.
#[test]
fn names_behind_what_is_passed_over() {
    let output = json!({"user_info": {"location": "query_string", "key": "who", "claims": "sub"}});
    for (way, mut scene, ask) in ways_on(&output) {
        for query in [
            "__proto__.who=root",
            "__proto__[who]=root",
            "prototype.who=root",
            "[prototype[who=root",
            "constructor[prototype].who=root",
            "__proto__%2Ewho.x=root",
            "who:list=root",
            "!who=root",
            "%21who=root",
            "!who.sub=root",
        ] {
            let upstream = scene.send(ask(get(format!("/d?a=1&{query}")))).upstream();
            assert!(!upstream.path().contains("root") && upstream.path().contains("a=1"), "{way}: {}", upstream.path());
        }
        for query in ["__proto__.whom=x", "constructor=who", "a:who=x", "prototypewho=x"] {
            let upstream = scene.send(ask(get(format!("/d?{query}")))).upstream();
            assert!(upstream.path().starts_with(&format!("/d?{query}")), "{way}: {}", upstream.path());
        }
    }
}

/// ATK-13, ATK-16: to a service that ignores case by Unicode's rules, these letters are ASCII.
#[test]
fn letters_that_fold_to_ascii_are_no_names_of_ours() {
    let sources = json!([{"key": "authorization"}, {"location": "query_string", "key": "access_token"}]);
    let outputs = json!([{"location": "cookie", "key": "identity"}, {"location": "query_string", "key": "sink"}]);
    for (way, mut scene, ask) in ways_on_with_cookies(&json!({"access_token": sources, "user_info": outputs})) {
        for name in ["ıdentity", "İdentıty", "%C4%B1dentity", "%u0131dentity"] {
            let upstream = scene.send(ask(get("/d").header("cookie", format!("a=1; {name}=root")))).upstream();
            assert!(!upstream.cookie().unwrap().contains("root"), "{way}: {:?}", upstream.cookie());
        }
        for name in ["ſink", "sin\u{212a}", "%C5%BFink", "sin%E2%84%AA", "sin%u212A", "SİN\u{212a}"] {
            let upstream = scene.send(ask(get(format!("/d?a=1&{name}=root")))).upstream();
            assert!(!upstream.path().contains("root"), "{way}: {}", upstream.path());
        }
    }
    let mut scene = Scene::of(jwt(json!({}), json!({"access_token": sources})));
    for name in ["acceſſ_token", "access_to%E2%84%AAen", "access_to\u{212a}en", "acceß_token", "ACCE%E1%BA%9E_TOKEN"]
    {
        scene.send(get(format!("/d?{name}=x")).bearer(&good())).refused(400, "invalid_request");
    }
}

/// ATK-13, ATK-16: JavaScript and Python make two letters or three of one when they ignore case.
#[test]
fn letters_that_fold_to_several_of_ascii_are_no_names_of_ours() {
    let own = ["session", "office", "file", "staff", "first", "flow"];
    let spelled = ["seßion", "ofﬁce", "ﬁle", "sta%EF%AC%80", "ﬂow", "oﬃce", "SE\u{1e9e}ION", "ﬁrﬅ", "%EF%AC%81rst"];
    let outputs = |location: &str| -> Value {
        own.iter().map(|name| json!({"location": location, "key": name, "claims": "sub"})).collect()
    };
    for (way, mut scene, ask) in ways_on(&json!({"user_info": outputs("query_string")})) {
        for name in spelled.iter() {
            let upstream = scene.send(ask(get(format!("/d?a=1&{name}=root")))).upstream();
            assert!(!upstream.path().contains("root"), "{way}: {}", upstream.path());
        }
        let upstream = scene.send(ask(get("/d?straße=1&ﬁt=2"))).upstream();
        assert!(upstream.path().starts_with("/d?straße=1&ﬁt=2"), "{way}: {}", upstream.path());
    }
    for (way, mut scene, ask) in ways_on_with_cookies(&json!({"user_info": outputs("cookie")})) {
        for name in spelled.iter() {
            let upstream = scene.send(ask(get("/d").header("cookie", format!("a=1; {name}=root")))).upstream();
            assert!(!upstream.cookie().unwrap().contains("root"), "{way}: {:?}", upstream.cookie());
        }
    }
}

/// ATK-02, ATK-16: where nothing is left of a parameter's name, qs 4 makes one of its value.
#[test]
fn a_name_of_ours_as_the_value_of_a_name_that_comes_to_nothing() {
    let output = json!({"user_info": {"location": "query_string", "key": "who", "claims": "sub"}});
    for (way, mut scene, ask) in ways_on(&output) {
        for query in [
            "]=who",
            "[=who",
            "a=1&%5Bx=who",
            "[__proto__]=%57ho",
            "[x=WHO,b",
            "]x=+who[]",
            "[a=1[who]=root",
            "]=a=[WHO][b]=root",
        ] {
            let seen = scene.send(ask(get(format!("/d?{query}"))));
            assert!(matches!(&seen, Seen::Refused(refusal) if refusal.status == 400), "{way}: {query}: {seen:?}");
        }
        for query in ["a[]=who", "]=whom", "[x]=a,whom", "x]=who", "a=[who"] {
            let upstream = scene.send(ask(get(format!("/d?{query}")))).upstream();
            assert!(upstream.path().starts_with(&format!("/d?{query}")), "{way}: {}", upstream.path());
        }
        // No query is too long to be read.
        let long = "[=".repeat(20_000);
        scene.send(ask(get(format!("/d?{long}who"))));
    }
}

/// ATK-02: qs can be told that commas part parameters: `delimiter: /[&;,]/`.
#[test]
fn a_name_of_ours_behind_a_comma() {
    let output = json!({"user_info": {"location": "query_string", "key": "who", "claims": "sub"}});
    for (way, mut scene, ask) in ways_on(&output) {
        for query in ["a=1,who=root", "who,a=root", "a,who=root", "a,who", "a=1;b=2,who=root", "a=,[who]=root"] {
            let seen = scene.send(ask(get(format!("/d?{query}"))));
            assert!(matches!(&seen, Seen::Refused(refusal) if refusal.status == 400), "{way}: {query}: {seen:?}");
        }
        // A list of words is everybody's.
        for query in ["fields=id,who", "a,b=whom", "a=1,b=who"] {
            let upstream = scene.send(ask(get(format!("/d?{query}")))).upstream();
            assert!(upstream.path().starts_with(&format!("/d?{query}")), "{way}: {}", upstream.path());
        }
    }
}

/// ATK-02, ATK-16: a parameter's name may have signs that mean something to some readers: brackets and dots an
/// element, semicolons and commas an end.
#[test]
fn forgeries_of_names_with_signs_in_them() {
    let forgeries: [(&str, &[&str]); 7] = [
        ("x[y]", &["x[y]", "x.y", "x[y", "x]y", "X%5BY%5D", "x_y_", "x[y][z]", "x.y.z", "x[y].z"]),
        ("a[b][c]", &["a[b][c]", "a.b.c", "a[b].c", "a.b[c]", "a[b][c][d]"]),
        ("a.b.c", &["a.b.c", "a[b][c]", "a[b].c", "a.b[c]", "a_b_c", "a.b.c.d"]),
        ("who[]", &["who[]", "who", "who[0]", "who.0", "WHO[x]", "[who]"]),
        ("[who]", &["[who]", "who", "who[x]", "%5Bwho%5D"]),
        ("user.info", &["user.info", "user[info]", "user[info", "user_info", "user info", "user:info", "user.info.x"]),
        ("a;b", &["a;b", "a%3Bb", "A;B", "a;b[x]", "a_b"]),
    ];
    for (key, forgeries) in forgeries {
        let output = json!({"user_info": {"location": "query_string", "key": key}, "allow_missing": true});
        let mut scene = Scene::of(jwt(json!({}), output));
        for name in forgeries {
            // What has a semicolon is several parameters to some, and can't be taken out.
            match scene.send(get(format!("/d?z=1&{name}=root&y=2"))) {
                Seen::Refused(refusal) if name.contains(';') => assert_eq!(refusal.status, 400, "{key}: {name}"),
                seen => assert_eq!(seen.upstream().path(), "/d?z=1&y=2", "{key}: {name}"),
            }
        }
        for other in ["q=a;c", "x=1", "a=1&b=2", "a[x]=1", "whom[]=1", "user=1&info=2", "a.x.c=1"] {
            assert_eq!(scene.send(get(format!("/d?{other}"))).upstream().path(), format!("/d?{other}"), "{key}");
        }
    }
    // A place of tokens is read in its own spelling only, and is another one's forgery in none.
    let sources = json!([{"key": "authorization"}, {"location": "query_string", "key": "t[x]"}]);
    let mut scene = Scene::of(jwt(json!({}), json!({"access_token": sources})));
    let path = format!("/d?t[x]={}", good());
    assert_eq!(scene.send(get(&path)).allowed().path(), path);
    for second in ["t.x", "t[x", "T[x]", "t[x][]"] {
        scene.send(get(format!("/d?{second}=y")).bearer(&good())).refused(400, "invalid_request");
    }
}

/// ATK-01, ATK-02: what browsers, frameworks and analytics send every day is nobody's forgery.
#[test]
fn what_is_sent_every_day_goes_on() {
    for key in ["identity", "u", "id", "user.info", "__Host-id", "session_token"] {
        let outputs = json!([{"location": "cookie", "key": key}, {"location": "query_string", "key": key}]);
        let mut scene = Scene::of(jwt(json!({}), json!({"user_info": outputs, "allow_missing": true})));
        for cookie in [
            "_ga=GA1.2.3.4",
            "_ga_ABC=GS2.1.s1700000000$o1$g1$t1700000000$j60$l0$h0",
            "theme=identity-blue",
            "prefs={\"theme\":\"dark\",\"size\":1}",
            "s=YWJjZA==",
            "c=\"quoted value\"",
            "__cf_bm=abc.def-1700-1.0.1.1-xyz_u",
            "SSESS0123456789abcdef=abc%2Cdef",
            ".AspNetCore.Antiforgery.x=CfDJ8u-id",
            "ASP.NET_SessionId=abc",
            "__utmz=1.2.3.4.utmcsr=(direct)|utmccn=(direct)|utmcmd=(none)",
            "JSESSIONID=0.u",
            "name=M\u{fc}ller",
            "d=Mon, 01 Jan",
            "connect.sid=s%3Aabc.def%2Bu",
            "wp-settings-1=editor%3Dtinymce%26u%3D1",
        ] {
            assert_eq!(scene.send(get("/d").header("cookie", cookie)).upstream().cookie(), Some(cookie), "{key}");
        }
        for query in [
            "q=a;b",
            "filter[who]=1",
            "redirect=https%3A%2F%2Fx%2F%3Fu%3D1%26id%3D2",
            "$filter=id%20eq%201&$select=id,u",
            "q={a}|[b]",
            "fields=id,u,identity",
            "sort=id:asc",
            "q=u=1",
            "bbox=1,2,3,4",
            "q=caf%C3%A9",
            "q=100%",
            "a[u]=1&a[0][id]=5",
        ] {
            assert_eq!(scene.send(get(format!("/d?{query}"))).upstream().path(), format!("/d?{query}"), "{key}");
        }
    }
}
