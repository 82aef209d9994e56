//! Tokens that the userinfo endpoint proves: greymatter's filter (GM) and AuthService (AR-18 to AR-20), and attacks (UIF).

use crate::listener::heard;
use crate::scene::*;
use crate::support::with;
use oidc_filter::http::{Headers, MAX_ANSWER_BYTES, Response};
use serde_json::{Value, json};

fn ann() -> Value {
    json!({"sub": "1", "name": "Ann Lee", "email": "a@b.c"})
}

const ENCODED: &str = "%7B%22email%22:%22a@b.c%22%2C%22name%22:%22Ann%20Lee%22%2C%22sub%22:%221%22%7D";

/// greymatter's filter with a token at one of the four places, written as given.
fn scene_at(location: &Value, key: &str, top: Value) -> Scene {
    let mut source = json!({"location": location, "key": key});
    if [json!("metadata"), json!(3)].contains(location) {
        source["metadataFilter"] = json!("gm.ensure_variables");
    }
    let mut config = json!({
        "provider": ISSUER, "accessToken": source, "userInfo": {"location": "header", "key": "Identity"},
    });
    for (name, value) in top.as_object().unwrap() {
        config[name] = value.clone();
    }
    let mut scene = Scene::of(config);
    scene.provider.users.insert("good".to_owned(), ann());
    scene
}

/// A request with a token at one of the four places, among others.
fn at(location: &str, token: &str) -> Ask {
    let ask = match location {
        "query_string" | "queryString" => get(format!("/p?a=1&t={token}&b=2")),
        _ => get("/p?a=1"),
    };
    match location {
        "header" => ask.header("t", token),
        "cookie" => ask.header("cookie", format!("a=1; t={token}; b=2")),
        "metadata" => ask.metadata(Some(token)),
        _ => ask,
    }
}

fn places() -> [(Value, &'static str); 9] {
    [
        (json!("header"), "header"),
        (json!("cookie"), "cookie"),
        (json!("queryString"), "query_string"),
        (json!("query_string"), "query_string"),
        (json!("metadata"), "metadata"),
        (json!(0), "header"),
        (json!(1), "cookie"),
        (json!(2), "query_string"),
        (json!(3), "metadata"),
    ]
}

/// GM-01 to GM-04, GM-18: proved, told, and otherwise as it was.
#[test]
fn a_good_token_at_each_place() {
    for (location, place) in places() {
        let mut scene = scene_at(&location, "t", json!({}));
        let sent = at(place, "good");
        let upstream = scene.send(sent.clone()).allowed();
        assert_eq!(upstream.header("identity"), Some(ENCODED), "{location}");
        assert_eq!(upstream.edits, 1, "{location}: the token stays");
        let call = scene.the_call_to("/userinfo");
        assert_eq!((call.method, call.header("authorization"), &*call.body), ("GET", Some("Bearer good"), ""));
        assert!(call.raw_query.is_empty());
    }
}

/// GM-05 to GM-08, GM-14, GM-15: taken off, with everything else to the byte.
#[test]
fn a_bad_token_is_taken_off() {
    for (location, place) in places() {
        let mut scene = scene_at(&location, "t", json!({}));
        let sent = at(place, "bad").header("identity", "forged").header("x", "y");
        let upstream = scene.send(sent).stripped("inactive");
        assert_eq!(upstream.header("identity"), None);
        assert_eq!(upstream.header("t"), None);
        assert_eq!(upstream.header("x"), Some("y"));
        assert_eq!(upstream.cookie(), (place == "cookie").then_some("a=1; b=2"));
        assert_eq!(upstream.path(), if place == "query_string" { "/p?a=1&b=2" } else { "/p?a=1" });
        let names: Vec<&str> = upstream.headers.iter().map(|(name, _)| &**name).collect();
        let rest = [":method", ":scheme", ":authority", ":path", "user-agent"];
        assert_eq!(names[..5], rest);
    }
}

/// GM-09 to GM-12.
#[test]
fn a_bad_token_is_refused_where_that_is_wanted() {
    for (location, place) in places() {
        let mut scene = scene_at(&location, "t", json!({"enforce": true}));
        let refusal = scene.send(at(place, "bad")).refused(403, "inactive");
        assert_eq!(refusal.error().as_deref(), Some("invalid_token"));
        let mut scene = scene_at(&location, "t", json!({"enforce": true, "enforceResponseCode": 404}));
        assert_eq!(scene.send(at(place, "bad")).refused(404, "inactive").challenge(), None);
        scene.send(at(place, "good")).allowed();
    }
}

/// GM-13: `Bearer` is for `Authorization`, raw tokens for other headers; a raw one there says so by `scheme`.
#[test]
fn with_a_scheme_and_without() {
    let mut scene = Scene::of(compact(json!({"enforce": true})));
    scene.provider.users.insert("x".to_owned(), ann());
    scene.send(bare().header("authorization", "Bearer x")).allowed();
    scene.send(bare().header("authorization", "x")).refused(403, "unsupported_token");
    let raw = json!({"location": "header", "key": "Authorization", "scheme": ""});
    let mut scene = Scene::of(compact(json!({"enforce": true, "accessToken": raw})));
    scene.provider.users.insert("x".to_owned(), ann());
    scene.send(bare().header("authorization", "x")).allowed();
    assert_eq!(scene.the_call_to("/userinfo").header("authorization"), Some("Bearer x"));
}

/// GM-14.
#[test]
fn a_cookie_carries_a_token() {
    let mut scene = scene_at(&json!("cookie"), "t", json!({}));
    let mut cookies = |sent: &[&str]| {
        let ask = sent.iter().fold(bare(), |ask, cookie| ask.header("cookie", cookie));
        scene.send(ask).upstream().cookie().map(str::to_owned)
    };
    assert_eq!(cookies(&["t=bad"]), None);
    assert_eq!(cookies(&["t=bad; a=1; b=\"x y\""]).as_deref(), Some("a=1; b=\"x y\""));
    assert_eq!(cookies(&["a=1; t=bad"]).as_deref(), Some("a=1"));
    assert_eq!(cookies(&["t=bad; a=1; t=bad"]).as_deref(), Some("a=1"));
    assert_eq!(cookies(&["a=1; t=bad", "t=worse; b=2"]).as_deref(), Some("a=1; b=2"));
    assert_eq!(cookies(&["t=\"bad\"; tt=1; T=2; =t"]).as_deref(), Some("tt=1"));
    assert_eq!(cookies(&["t=good; a=1;b"]).as_deref(), Some("t=good; a=1;b"));
    assert_eq!(scene.count("/userinfo"), 2, "two are never a choice");
}

/// GM-15.
#[test]
fn a_query_parameter_carries_a_token() {
    let mut scene = scene_at(&json!("queryString"), "access_token", json!({}));
    for (sent, left) in [
        ("/p?a=1&access_token=bad&b=2", "/p?a=1&b=2"),
        ("/p?access_token=bad", "/p"),
        ("/p?access%5Ftoken=b%61d&a=%41&&b=+", "/p?a=%41&&b=+"),
        ("/p?access_token=bad&access_token=bad&b", "/p?b"),
        ("/p?access_token=bad&q=#f?access_token=x", "/p?q=#f?access_token=x"),
        ("/p?access_token&b", "/p?b"),
        ("/p/access_token=bad?b=access_token=bad", "/p/access_token=bad?b=access_token=bad"),
        ("/p?Access_Token=bad", "/p"),
        ("?access_token=bad", ""),
        ("*", "*"),
    ] {
        assert_eq!(scene.send(get(sent)).upstream().path(), left, "{sent}");
    }
    scene.provider.users.insert("g+/=od".to_owned(), ann());
    let sent = "/p?access%5ftoken=g%2B%2f%3dod&b=%20";
    let upstream = scene.send(get(sent)).allowed();
    assert_eq!((upstream.path(), upstream.header("identity")), (sent, Some(ENCODED)));
}

/// GM-16.
#[test]
fn metadata_carry_a_token() {
    let mut scene = scene_at(&json!("metadata"), "t", json!({"enforce": true}));
    scene.send(bare().metadata(None)).refused(403, "missing_token");
    scene.send(bare().metadata(Some(""))).refused(403, "invalid_request");
    scene.send(bare().metadata(Some("a b"))).refused(403, "invalid_request");
    scene.send(bare()).refused(403, "missing_token");
    scene.send(bare().metadata(Some("good"))).allowed();
}

/// GM-30: a client never says who it is.
#[test]
fn forged_identities_are_removed() {
    let mut scene = scene_at(&json!("header"), "t", json!({}));
    let forged = |ask: Ask| ask.header("identity", "forged").header("identity", "twice");
    assert_eq!(scene.send(forged(at("header", "good"))).allowed().header("identity"), Some(ENCODED));
    assert_eq!(scene.send(forged(at("header", "bad"))).stripped("inactive").header("identity"), None);
    assert_eq!(scene.send(forged(bare())).stripped("missing_token").header("identity"), None);
}

/// GM-31, GM-32.
#[test]
fn a_request_without_a_token_goes_on_or_is_refused() {
    let mut scene = scene_at(&json!("header"), "t", json!({}));
    let calls = scene.calls.len();
    assert_eq!(scene.send(bare()).stripped("missing_token").edits, 0);
    let mut enforcing = scene_at(&json!("header"), "t", json!({"enforce": true}));
    let refusal = enforcing.send(bare()).refused(403, "missing_token");
    assert_eq!(refusal.error(), None);
    let mut lenient = scene_at(&json!("header"), "t", json!({"enforce": true, "allowMissing": true}));
    assert_eq!(lenient.send(bare()).upstream().result, "bypassed");
    lenient.send(at("header", "bad")).refused(403, "inactive");
    assert_eq!(scene.calls.len(), calls);
}

/// GM-40 to GM-43, UIF-03, UIF-05: nobody vouches for the token, and nobody says that it is bad.
#[test]
fn without_an_answer_of_userinfo_nobody_is_known() {
    let good = ann().to_string();
    for (index, answer) in [
        Answer::Refuses,
        Answer::TimesOut,
        status(500),
        status(502),
        says(302, "application/json", good.clone()),
        says(204, "application/json", good.clone()),
        says(201, "application/json", good.clone()),
        says(404, "application/json", good.clone()),
        says(200, "application/json", "[]"),
        says(200, "application/json", "\"good\""),
        says(200, "application/json", &good[1..]),
        says(200, "text/html", "<html>"),
        says(200, "application/jwt", key("k1").token(json!({}))),
        says(200, "application/json", format!("{good}{}", " ".repeat(2 * MAX_ANSWER_BYTES))),
    ]
    .into_iter()
    .enumerate()
    {
        for enforce in [false, true] {
            let mut scene = scene_at(&json!("header"), "t", json!({"enforce": enforce}));
            scene.provider.at("/userinfo", answer.clone());
            let stream = scene.begin(at("header", "good"));
            scene.settle();
            scene.pass_seconds(6);
            if enforce {
                assert_eq!(scene.seen(stream).refused(503, "provider_unavailable").challenge(), None);
            } else {
                let upstream = scene.seen(stream).stripped("provider_unavailable");
                assert_eq!((upstream.header("t"), upstream.header("identity")), (None, None), "{index}");
            }
            scene.provider.at("/userinfo", Answer::TellsUser);
            scene.send(at("header", "good")).allowed();
        }
    }
}

/// UIF-01: OpenID Connect Core, section 5.3.2, demands `sub`.
#[test]
fn an_answer_without_a_subject_vouches_for_nobody() {
    let twice = r#"{"sub":"1","sub":"2"}"#;
    let mut scene = scene_at(&json!("header"), "t", json!({"enforce": true}));
    scene.provider.at("/userinfo", says(200, "application/json", twice));
    scene.send(at("header", "good")).refused(403, "inactive");
    let bodies = [
        json!({}).to_string(),
        json!({"name": "x"}).to_string(),
        json!({"sub": 1}).to_string(),
        json!({"sub": ""}).to_string(),
        json!({"sub": null}).to_string(),
        json!({"Sub": "1"}).to_string(),
        json!({"sub": ["1"]}).to_string(),
    ];
    for body in bodies {
        let mut scene = scene_at(&json!("header"), "t", json!({"enforce": true}));
        scene.provider.at("/userinfo", says(200, "application/json", body));
        heard();
        scene.send(at("header", "good")).refused(403, "invalid_claims");
        assert!(heard().iter().any(|line| line.contains("`userinfo.subject` names one")));
    }
    for refused in [401, 403] {
        let mut scene = scene_at(&json!("header"), "t", json!({"enforce": true}));
        scene.provider.at("/userinfo", says(refused, "application/json", ann().to_string()));
        scene.send(at("header", "good")).refused(403, "inactive");
    }
}

/// GitHub has `id` and `login`, Discord `id`.
#[test]
fn another_claim_stands_for_the_subject() {
    let identity = json!({"claim_headers": {"header": "x-user", "claim": "sub"}, "user_info": {"key": "identity"}});
    let seen = |subject: Value, user: Value| {
        let mut scene = Scene::of(userinfo(json!({"userinfo": {"subject": subject}}), identity.clone()));
        scene.provider.users.insert("good".to_owned(), user);
        scene.send(bearer("good"))
    };
    let github = json!({"login": "octocat", "id": 583_231, "name": "The Octocat"});
    let path = json!({"path": "data.user.id"});
    for (subject, user, expected) in [
        (json!("id"), github.clone(), "583231"),
        (json!("login"), github.clone(), "octocat"),
        (json!({"claim": "id"}), json!({"id": "80351110224678912"}), "80351110224678912"),
        (path.clone(), json!({"data": {"user": {"id": 7}}}), "7"),
        (json!({"path": ["data", "user", "id"]}), json!({"data": {"user": {"id": "7"}}}), "7"),
        (json!("id"), json!({"id": 18_446_744_073_709_551_615_u64}), "18446744073709551615"),
        (json!("id"), json!({"sub": null, "id": 1}), "1"),
        // Who names `sub` itself says that it may be a number.
        (json!("sub"), json!({"sub": 7}), "7"),
        (json!("sub"), json!({"sub": "7"}), "7"),
        // It stands for `sub` only where there is none.
        (json!("id"), json!({"sub": "ann", "id": 1}), "ann"),
    ] {
        let upstream = seen(subject, user).allowed();
        assert_eq!(upstream.header("x-user"), Some(expected));
        assert!(upstream.header("identity").unwrap().contains(&format!("%22sub%22:%22{expected}%22")));
    }
    for user in [
        json!({}),
        json!({"id": ""}),
        json!({"id": null}),
        json!({"id": [1]}),
        json!({"id": {"x": 1}}),
        json!({"id": true}),
        json!({"id": 1.5}),
        json!({"id": -1}),
        json!({"sub": 1, "id": "1"}),
        json!({"sub": "", "id": "1"}),
    ] {
        heard();
        seen(json!("id"), user.clone()).refused(401, "invalid_claims");
        assert!(heard().iter().any(|line| line.contains("`userinfo.subject`")), "{user}");
    }
    for sub in [json!(1.5), json!(-1), json!([7]), json!(true), json!(""), json!(null)] {
        seen(json!("sub"), json!({"sub": sub})).refused(401, "invalid_claims");
    }
    // One user is one text, however the number is written.
    let mut scene = Scene::of(userinfo(json!({"userinfo": {"subject": "id"}}), identity));
    for number in ["1e1", "10.0", "1E1", "-0"] {
        scene.provider.at("/userinfo", says(200, "application/json", format!("{{\"id\":{number}}}")));
        scene.send(bearer(&format!("t{}", number.replace('.', "_")))).refused(401, "invalid_claims");
    }
}

/// UIF-06: what a claim points to is not fetched.
#[test]
fn claims_that_are_elsewhere_are_not_fetched() {
    let mut scene = scene_at(&json!("header"), "t", json!({"userInfo": {"key": "Identity", "claims": "sub"}}));
    let source = json!({"s": {"endpoint": "https://evil.example/claims", "access_token": "x"}});
    scene.provider.users.insert("good".to_owned(), json!({"sub": "1", "_claim_sources": source}));
    scene.send(at("header", "good")).allowed();
    assert!(scene.calls.iter().all(|call| call.url.starts_with(ISSUER)));
}

/// AR-18, UIF-07, AR-19, AR-30.
#[test]
fn one_question_per_token_and_minute() {
    let mut scene = Scene::of(userinfo(json!({}), json!({})));
    scene.provider.users.insert("good".to_owned(), ann());
    scene.send(bearer("good")).allowed();
    scene.send(bearer("good")).allowed();
    assert_eq!(scene.the_call_to("/userinfo").header("authorization"), Some("Bearer good"));
    scene.pass_seconds(61);
    scene.provider.users.clear();
    scene.send(bearer("good")).refused(401, "inactive");
    let mut scene = Scene::of(userinfo(json!({"userinfo": {"cache": "10m"}}), json!({})));
    scene.provider.users.insert("good".to_owned(), ann());
    scene.send(bearer("good")).allowed();
    scene.pass_seconds(599);
    scene.send(bearer("good")).allowed();
    assert_eq!(scene.count("/userinfo"), 1);
}

/// A JWT that the provider vouches for says itself when it ends, where the answer doesn't (fastapi-users).
#[test]
fn no_answer_is_believed_beyond_the_end_of_its_token() {
    let short = token(json!({"exp": NOW + 10}));
    for config in [userinfo(json!({}), json!({})), introspection(json!({}), json!({}))] {
        let mut scene = Scene::of(config);
        scene.provider.users.insert(short.clone(), ann());
        scene.provider.tokens.insert(short.clone(), active(json!({"exp": null})));
        scene.send(bearer(&short)).allowed();
        scene.pass_seconds(5);
        scene.send(bearer(&short)).allowed();
        assert_eq!(scene.count("/userinfo") + scene.count("/introspect"), 1);
        scene.pass_seconds(6);
        scene.provider.users.clear();
        scene.provider.tokens.clear();
        scene.send(bearer(&short)).refused(401, "inactive");
    }
}

/// What .NET makes of it is no reason to refuse every token; nor is it `true` for who asks for that.
#[test]
fn email_verified_in_the_words_of_dotnet() {
    let require = json!({"require": {"claims": {"claim": "email_verified", "any_of": "true"}}});
    for value in [json!("True"), json!("False"), json!("TRUE")] {
        let token = token(json!({"email_verified": value}));
        Scene::of(jwt(json!({}), json!({}))).send(bearer(&token)).allowed();
        Scene::of(jwt(json!({}), require.clone())).send(bearer(&token)).refused(403, "insufficient_claims");
        let mut scene = Scene::of(introspection(json!({}), json!({})));
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({"email_verified": value})));
        scene.send(bearer("opaque")).allowed();
    }
}

/// AR-20: `email_verified` is a boolean, also in quotes; what is neither is no answer about anybody. A policy can ask
/// for it.
#[test]
fn only_a_verified_address_passes() {
    let require = json!({"require": {"claims": {"claim": "email_verified", "any_of": "true"}}});
    for (value, verified) in [
        (json!(true), true),
        (json!("true"), true),
        (json!(false), false),
        (json!("false"), false),
        (json!(null), false),
    ] {
        let user = json!({"sub": "1", "email_verified": value});
        let mut scene = Scene::of(userinfo(json!({}), json!({})));
        scene.provider.users.insert("good".to_owned(), user.clone());
        scene.send(bearer("good")).allowed();
        let mut scene = Scene::of(userinfo(json!({}), require.clone()));
        scene.provider.users.insert("good".to_owned(), user);
        if verified {
            scene.send(bearer("good")).allowed();
        } else {
            scene.send(bearer("good")).refused(403, "insufficient_claims");
        }
    }
}

/// RFC 6750, section 3.1, has 401 for it. Login with Amazon, Facebook and servers of the AT Protocol answer 400 about a token that is
/// none, and say so.
#[test]
fn a_400_about_the_token_is_a_no() {
    let challenge = |challenge: &str| {
        let headers = Headers::from_pairs([("content-type", "application/json"), ("www-authenticate", challenge)]);
        Answer::Says(Response { status: 400, headers, body: br#"{"error":{"code":190}}"#.to_vec() })
    };
    for (answer, status, reason) in [
        (says(400, "application/json", r#"{"error":"invalid_token","error_description":"expired"}"#), 401, "inactive"),
        (challenge(r#"OAuth "Facebook Platform" "invalid_token" "Error validating access token""#), 401, "inactive"),
        (says(400, "application/json", r#"{"error":"InvalidToken","message":"Invalid token type"}"#), 401, "inactive"),
        (says(400, "application/json; charset=utf-8", r#"{"error":"ExpiredToken"}"#), 401, "inactive"),
        (says(400, "application/json", r#"{"error":"access_denied"}"#), 401, "inactive"),
        (says(400, "application/json", r#"{"error":"invalid_grant"}"#), 401, "inactive"),
        (says(400, "application/json", r#"{"error":"insufficient_scope"}"#), 401, "inactive"),
        (says(400, "application/json", r#"{"error":"temporarily_unavailable"}"#), 503, "provider_unavailable"),
        (says(500, "application/json", r#"{"error":"access_denied"}"#), 503, "provider_unavailable"),
        (says(400, "application/json", r#"{"error":"token_expired"}"#), 401, "inactive"),
        (challenge(r#"Bearer error="invalid_request""#), 503, "provider_unavailable"),
        (says(400, "application/json", r#"{"error":"invalid_request"}"#), 503, "provider_unavailable"),
        (says(400, "application/json", r#"{"error":"InvalidRequest"}"#), 503, "provider_unavailable"),
        (says(400, "application/json", r#"{"error":["invalid_token"]}"#), 503, "provider_unavailable"),
        (says(500, "application/json", r#"{"error":"invalid_token"}"#), 503, "provider_unavailable"),
        (says(200, "application/json", r#"{"error":"invalid_token"}"#), 401, "inactive"),
        (says(200, "application/json", r#"{"sub":"1","error":{"code":190}}"#), 401, "inactive"),
        (says(200, "application/json", r#"{"sub":"1","success":false}"#), 401, "inactive"),
    ] {
        let mut scene = Scene::of(userinfo(json!({}), json!({})));
        scene.provider.at("/userinfo", answer);
        scene.send(bearer("opaque")).refused(status, reason);
    }
}

/// Salesforce says `active` of users who were frozen, Django `is_active`, Dropbox `disabled`, Reddit `is_suspended`, and Slack `ok` of
/// whatever is wrong.
#[test]
fn a_user_who_is_not_active() {
    let mut scene = Scene::of(userinfo(json!({}), json!({})));
    for (token, active) in [("good", true), ("frozen", false)] {
        scene.provider.users.insert(token.to_owned(), json!({"sub": "1", "active": active}));
    }
    scene.provider.users.insert("not_authed".to_owned(), json!({"ok": false, "sub": "U0", "error": "not_authed"}));
    scene.provider.users.insert("slack".to_owned(), json!({"ok": true, "sub": "U0R7JM"}));
    scene.send(bearer("good")).allowed();
    scene.send(bearer("slack")).allowed();
    scene.send(bearer("frozen")).refused(401, "inactive");
    scene.send(bearer("not_authed")).refused(401, "inactive");
    for (number, no) in [json!("false"), json!("False"), json!(0), json!("0"), json!(0.0)].into_iter().enumerate() {
        let token = format!("t{number}");
        scene.provider.users.insert(token.clone(), json!({"sub": "1", "active": no}));
        scene.send(bearer(&token)).refused(401, "inactive");
    }
    let told = [
        (json!({"is_active": false}), false),
        (json!({"isActive": "False"}), false),
        (json!({"enabled": false}), false),
        (json!({"Success": 0}), false),
        (json!({"valid": false}), false),
        (json!({"disabled": true}), false),
        (json!({"suspended": true}), false),
        (json!({"is_suspended": true}), false),
        (json!({"isEnabled": "false"}), false),
        (json!({"deleted": true}), false),
        (json!({"Inactive": true}), false),
        (json!({"deactivated": "True"}), false),
        (json!({"revoked": 1}), false),
        (json!({"isRevoked": "1"}), false),
        (json!({"disabled": "yes"}), false),
        (json!({"enabled": "N"}), false),
        (json!({"blocked": true}), false),
        (json!({"is_banned": 1}), false),
        (json!({"expired": true}), false),
        // GitLab, VK, and GitHub.
        (json!({"state": "blocked"}), false),
        (json!({"account_status": "SUSPENDED"}), false),
        (json!({"status": "revoked"}), false),
        (json!({"deactivated": "deleted"}), false),
        (json!({"suspended_at": "2026-11-30T12:00:00Z"}), false),
        (json!({"revokedAt": 1_796_000_000}), false),
        (json!({"suspended": "2026-11-30T12:00:00Z"}), false),
        (json!({"isRevoked": "1796000000"}), false),
        // Microsoft Graph, Spring's `UserDetails` and `Authentication`, and whoever says of what it is that they tell.
        (json!({"accountEnabled": false}), false),
        (json!({"accountNonLocked": false}), false),
        (json!({"account_non_expired": false}), false),
        (json!({"authenticated": false}), false),
        (json!({"token_active": "false"}), false),
        (json!({"user_is_active": false, "userSuspended": false}), false),
        (json!({"is_user_blocked": 1}), false),
        (json!({"is-account-disabled": "yes"}), false),
        (json!({"token_revoked_at": 1_796_000_000}), false),
        (json!({"userState": "Deleted"}), false),
        (json!({"tokenExpired": false, "token_expired_at": 1_900_000_000, "user_verified": false}), true),
        (json!({"accountEnabled": true, "accountNonLocked": true, "account_locked": true, "user_ok_at": 0}), true),
        (json!({"account": false, "user_": 0, "token": "disabled", "useractivity": 0, "tokens_valid_for": 0}), true),
        (json!({"deleted": "0000-00-00", "expired": "2030-01-01", "blocked": "by nobody", "disabled": ""}), true),
        (json!({"suspended_at": null, "deleted_at": "", "revoked_at": 0, "disabledAt": false}), true),
        (json!({"deleted_at": "0001-01-01T00:00:00Z", "blocked_at": "0000-00-00 00:00:00"}), true),
        (json!({"deleted_at": -62_135_596_800_i64, "revokedAt": -1.5, "suspended_at": "1970-01-01T00:00:00Z"}), true),
        (json!({"expired_at": 1_900_000_000, "expires_at": "2030-01-01T00:00:00Z"}), true),
        (json!({"status": "active", "state": "NY", "status_text": "disabled", "reason": "revoked"}), true),
        (json!({"disabled": false, "suspended": null, "enabled": true, "is_active": 1, "locked": true}), true),
        (json!({"disabled": "no", "suspended": 0, "is_deleted": "0", "revoked": [true], "issuspend": true}), true),
        (json!({"email_verified": false, "bot": false, "settings": {"enabled": false}}), true),
    ];
    for (number, (answer, is_good)) in told.into_iter().enumerate() {
        let token = format!("w{number}");
        scene.provider.users.insert(token.clone(), with(json!({"sub": "1"}), answer.clone()));
        let seen = scene.send(bearer(&token));
        if is_good {
            seen.allowed();
        } else {
            seen.refused(401, "inactive");
        }
        let mut asked = Scene::of(introspection(json!({}), json!({})));
        asked.provider.tokens.insert(token.clone(), active(answer));
        let seen = asked.send(bearer(&token));
        if is_good {
            seen.allowed();
        } else {
            seen.refused(401, "inactive");
        }
    }
    for (number, other) in [json!("true"), json!(1), json!("since 2019"), json!(null)].into_iter().enumerate() {
        let token = format!("u{number}");
        scene.provider.users.insert(token.clone(), json!({"sub": "1", "active": other}));
        scene.send(bearer(&token)).allowed();
    }
}

/// `docs/providers.md`: Doorkeeper tells of access tokens alone, and names the user by a number.
#[test]
fn the_token_info_of_doorkeeper() {
    let settings =
        json!({"userinfo": {"endpoint": format!("{ISSUER}/oauth/token/info"), "subject": "resource_owner_id"}});
    let require = json!({"scopes": ["api"], "claims": [{"path": "application.uid", "any_of": ["shop"]}]});
    let more = json!({"require": require, "claim_headers": {"header": "x-user", "claim": "sub"}});
    let mut scene = Scene::of(userinfo(settings, more));
    let info = |user: Value, scope: Value, client: &str| {
        json!({
            "resource_owner_id": user, "scope": scope, "expires_in": 7197, "application": {"uid": client}, "created_at": NOW,
        })
    };
    let mut ask = |token: &str, status: u16, answer: Value| {
        scene.provider.at("/oauth/token/info", says(status, "application/json", answer.to_string()));
        scene.send(bearer(token))
    };
    let upstream = ask("good", 200, info(json!(1), json!(["openid", "api"]), "shop")).allowed();
    assert_eq!(upstream.header("x-user"), Some("1"));
    ask("scopeless", 200, info(json!(1), json!(["openid"]), "shop")).refused(403, "insufficient_scope");
    ask("other", 200, info(json!(1), json!(["api"]), "other")).refused(403, "insufficient_claims");
    ask("nobodys", 200, info(json!(null), json!(["api"]), "shop")).refused(401, "invalid_claims");
    ask("refresh", 401, json!({"error": "invalid_token"})).refused(401, "inactive");
}

/// TikTok answers `error` always, and says in it whether there is one.
#[test]
fn an_error_that_is_none() {
    let subject = json!({"userinfo": {"subject": {"path": "data.user.open_id"}}});
    let mut scene = Scene::of(userinfo(subject, json!({})));
    let tiktok = |code: &str| json!({"data": {"user": {"open_id": "o"}}, "error": {"code": code, "message": "", "log_id": "20220829194722"}});
    for (code, is_error) in [("ok", false), ("access_token_invalid", true), ("", true)] {
        scene.provider.users.insert(code.to_owned() + "t", tiktok(code));
        let seen = scene.send(bearer(&(code.to_owned() + "t")));
        if is_error {
            seen.refused(401, "inactive");
        } else {
            seen.allowed();
        }
    }
}

/// UIF-04: userinfo says nothing about the audience; where it does, it is held to it. A JWT must name this issuer.
#[test]
fn what_userinfo_does_not_prove() {
    let mut scene = Scene::of(userinfo(json!({"audiences": AUDIENCE}), json!({})));
    scene.provider.users.insert("good".to_owned(), ann());
    scene.provider.users.insert("other".to_owned(), json!({"sub": "1", "aud": "other"}));
    scene.provider.users.insert("nobodys".to_owned(), json!({"sub": "1", "aud": []}));
    scene.provider.users.insert("ours".to_owned(), json!({"sub": "1", "aud": [AUDIENCE], "iss": ISSUER}));
    scene.provider.users.insert("theirs".to_owned(), json!({"sub": "1", "iss": "https://other.example"}));
    scene.send(bearer("good")).allowed();
    scene.send(bearer("ours")).allowed();
    scene.send(bearer("other")).refused(401, "wrong_audience");
    scene.send(bearer("nobodys")).refused(401, "wrong_audience");
    scene.send(bearer("theirs")).refused(401, "unknown_issuer");
    let foreign = token(json!({"iss": "https://other.example"}));
    scene.provider.users.insert(foreign.clone(), ann());
    scene.send(bearer(&foreign)).refused(401, "unknown_issuer");
    let own = good();
    scene.provider.users.insert(own.clone(), ann());
    scene.send(bearer(&own)).allowed();
    assert_eq!(scene.count("/jwks"), 0);
}

/// A JWT goes to the keys, all else to introspection, or to userinfo where there is none.
#[test]
fn auto_asks_whom_there_is() {
    let asked = |change: Value| {
        let mut scene = Scene::cold(auto(json!({}), json!({})));
        scene.provider.metadata(change);
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
        scene.provider.users.insert("opaque".to_owned(), ann());
        let seen = scene.send(bearer("opaque"));
        scene.send(bearer(&good())).allowed();
        (seen, scene.count("/introspect"), scene.count("/userinfo"))
    };
    let (seen, introspected, told) = asked(json!({}));
    assert_eq!((introspected, told), (1, 0));
    seen.allowed();
    let (seen, introspected, told) = asked(json!({"introspection_endpoint": null}));
    assert_eq!((introspected, told), (0, 1));
    seen.allowed();
    let (seen, introspected, told) = asked(json!({"introspection_endpoint": null, "userinfo_endpoint": null}));
    assert_eq!((introspected, told), (0, 0));
    seen.refused(401, "unsupported_token");
}

/// An introspection endpoint that is down is no reason to ask userinfo, which proves less.
#[test]
fn auto_does_not_fall_back_in_an_outage() {
    let mut scene = Scene::of(auto(json!({}), json!({})));
    scene.provider.users.insert("opaque".to_owned(), ann());
    scene.provider.at("/introspect", status(503));
    scene.send(bearer("opaque")).refused(503, "provider_unavailable");
    scene.provider.at("/introspect", Answer::Introspects("token"));
    scene.send(bearer("opaque")).refused(401, "inactive");
    assert_eq!(scene.count("/userinfo"), 0);
}

/// Before the metadata are there, nobody knows whom to ask.
#[test]
fn auto_without_metadata() {
    let asked = |oidc: Answer, oauth: Answer| {
        let mut scene = Scene::cold(auto(json!({}), json!({})));
        scene.provider.at("/.well-known/openid-configuration", oidc);
        scene.provider.at("/.well-known/oauth-authorization-server", oauth);
        scene.provider.users.insert("opaque".to_owned(), ann());
        let seen = scene.send(bearer("opaque"));
        assert_eq!((scene.count("/introspect"), scene.count("/userinfo")), (0, 0));
        seen
    };
    asked(Answer::Refuses, Answer::Refuses).refused(503, "provider_unavailable");
    asked(status(404), status(503)).refused(503, "provider_unavailable");
    // One that says that it has none will not read an opaque token either.
    asked(status(404), status(404)).refused(401, "unsupported_token");
    for wrong in [json!(42), json!("fals"), json!([]), json!([42]), json!([["true"]]), json!({})] {
        let mut scene = Scene::of(userinfo(json!({}), json!({})));
        scene.provider.users.insert("good".to_owned(), json!({"sub": "1", "email_verified": wrong}));
        scene.send(bearer("good")).refused(401, "invalid_claims");
        Scene::of(jwt(json!({}), json!({})))
            .send(bearer(&token(json!({"email_verified": wrong}))))
            .refused(401, "invalid_claims");
    }
}

/// Most providers have one document only: that the other is not there says nothing while the first can't be had.
#[test]
fn auto_without_metadata_in_an_outage() {
    let mut scene = Scene::cold(auto(json!({}), json!({})));
    scene.provider.at("/.well-known/openid-configuration", status(503));
    scene.provider.at("/.well-known/oauth-authorization-server", status(404));
    scene.send(bearer("opaque")).refused(503, "provider_unavailable");
}

#[test]
fn a_configured_userinfo_endpoint() {
    let settings = json!({"userinfo": {"endpoint": ["https://idp.example.com/a", "https://idp.example.com/b"]}});
    let mut scene = Scene::of(userinfo(settings, json!({})));
    scene.provider.users.insert("good".to_owned(), ann());
    scene.provider.at("/a", status(500));
    scene.provider.at("/b", Answer::TellsUser);
    scene.send(bearer("good")).allowed();
    scene.send(bearer("bad")).refused(401, "inactive");
    assert_eq!((scene.calls.len(), scene.count("/a"), scene.count("/b")), (4, 2, 2));
}
