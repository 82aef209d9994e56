//! Tokens that only their provider can read: RFC 7662. TB-30 to TB-46 of the MCP Toolbox, and attacks (INT).

use crate::listener::heard;
use crate::scene::*;
use crate::support::with;
use oidc_filter::http::{Headers, MAX_ANSWER_BYTES, Response};
use serde_json::{Value, json};
use std::time::Duration;

const ENDPOINT: &str = "https://idp.example.com/introspect";

fn scene() -> Scene {
    scene_with(json!({}))
}

/// One provider with these settings of introspection, that knows the token `opaque`.
fn scene_with(settings: Value) -> Scene {
    let mut scene = Scene::of(introspection(json!({"introspection": settings}), json!({})));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene
}

/// What comes of a token about which the provider says this.
fn told(answer: Value) -> Seen {
    let mut scene = scene();
    scene.provider.tokens.insert("opaque".to_owned(), answer);
    scene.send(bearer("opaque"))
}

/// TB-30, INT-10.
#[test]
fn one_question_in_the_form_of_rfc_7662() {
    let mut scene = scene();
    let upstream = scene.send(bearer("opaque")).allowed();
    assert_eq!(upstream.header("authorization"), Some("Bearer opaque"));
    let call = scene.the_call_to("/introspect");
    assert_eq!((call.method, &*call.url, &*call.raw_query, &*call.cluster), ("POST", ENDPOINT, "", "idp.example.com"));
    assert_eq!(call.body, "token=opaque&token_type_hint=access_token");
    assert_eq!(call.header("content-type"), Some("application/x-www-form-urlencoded"));
    assert_eq!(call.header("accept"), Some("application/json"));
    assert_eq!(call.header("authorization"), None);
    assert_eq!(call.timeout, Duration::from_secs(5));
    assert_eq!(scene.count("/jwks"), 0);
}

/// TB-31, INT-09.
#[test]
fn reserved_characters_of_a_token_are_escaped() {
    let token = "a+b/c~d._-==";
    for method in ["POST", "GET"] {
        let mut scene = scene_with(json!({"method": method}));
        scene.provider.tokens.insert(token.to_owned(), active(json!({})));
        scene.send(bearer(token)).allowed();
    }
    // From a place where a token may have any visible character.
    let token = "a&token_type_hint=x#%00;\"'<>+";
    let source = json!({"access_token": {"location": "query_string", "key": "t"}});
    let mut scene = Scene::of(introspection(json!({}), source));
    scene.provider.tokens.insert(token.to_owned(), active(json!({})));
    let encoded: String = url::form_urlencoded::byte_serialize(token.as_bytes()).collect();
    scene.send(get(format!("/p?t={encoded}"))).allowed();
    let form = scene.the_call_to("/introspect").form();
    assert_eq!(
        form.iter().map(|(n, v)| (&**n, &**v)).collect::<Vec<_>>(),
        [("token", token), ("token_type_hint", "access_token")]
    );
}

/// TB-32, INT-11.
#[test]
fn get_keeps_the_query_of_the_endpoint() {
    let settings = json!({"method": "GET", "param_name": "access_token", "endpoint": format!("{ENDPOINT}?a=b")});
    let mut scene = scene_with(settings);
    scene.provider.at("/introspect", Answer::Introspects("access_token"));
    scene.send(bearer("opaque")).allowed();
    let call = scene.the_call_to("/introspect");
    assert_eq!((call.method, &*call.raw_query, &*call.body), ("GET", "?a=b&access_token=opaque", ""));
    assert_eq!(call.header("content-type"), None);
    // INT-11: with POST, the token is nowhere in the target.
    let mut scene = scene_with(json!({"param_name": "t", "endpoint": format!("{ENDPOINT}?a=b")}));
    scene.provider.at("/introspect", Answer::Introspects("t"));
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.the_call_to("/introspect").raw_query, "?a=b");
}

/// RFC 7662, section 2.1: a server may look for other kinds of tokens if it isn't told. Google's tokeninfo minds parameters
/// that it doesn't know.
#[test]
fn the_hint_is_sent_where_the_provider_does_not_mind() {
    for (settings, query, body) in [
        (json!({"method": "GET"}), "?token=opaque&token_type_hint=access_token", ""),
        (json!({"method": "GET", "token_type_hint": false}), "?token=opaque", ""),
        (json!({"method": "GET", "param_name": "t"}), "?t=opaque", ""),
        (
            json!({"method": "GET", "param_name": "t", "token_type_hint": true}),
            "?t=opaque&token_type_hint=access_token",
            "",
        ),
        (json!({"param_name": "t"}), "", "t=opaque&token_type_hint=access_token"),
        (json!({"token_type_hint": false}), "", "token=opaque"),
    ] {
        let mut scene = scene_with(settings);
        scene.send(bearer("opaque"));
        let call = scene.the_call_to("/introspect");
        assert_eq!((&*call.raw_query, &*call.body), (query, body));
    }
}

/// `https://oauth2.googleapis.com/tokeninfo` as it answers in 2026.
fn tokeninfo(change: Value) -> Value {
    let known = json!({
        "azp": "1234-x.apps.googleusercontent.com", "aud": AUDIENCE, "sub": "110169484474386276334",
        "scope": "openid https://www.googleapis.com/auth/userinfo.email", "exp": (NOW + 3599).to_string(),
        "expires_in": "3599", "email": "ann@example.com", "email_verified": "true", "access_type": "online",
    });
    with(known, change)
}

fn google(settings: Value, top: Value) -> Scene {
    let google = json!({
        "endpoint": "https://oauth2.googleapis.com/tokeninfo", "method": "GET", "param_name": "access_token",
        "active": "status", "inactive_statuses": 400,
    });
    let provider = json!({
        "clusters": {"oauth2.googleapis.com": "google"}, "introspection": with(google, settings),
    });
    let mut scene = Scene::of(introspection(provider, top));
    scene.provider.serve("https://oauth2.googleapis.com/tokeninfo", says_json(tokeninfo(json!({}))));
    scene
}

#[test]
fn googles_tokeninfo() {
    let top = json!({
        "require": {"scopes": ["openid"], "claims": {"claim": "email_verified", "any_of": "true"}},
        "claim_headers": {"header": "x-email", "claim": "email"},
    });
    let mut scene = google(json!({}), top.clone());
    let upstream = scene.send(bearer("ya29.good")).allowed();
    assert_eq!(upstream.header("x-email"), Some("ann@example.com"));
    let call = scene.the_call_to("/tokeninfo");
    assert_eq!((&*call.raw_query, &*call.cluster, call.method), ("?access_token=ya29.good", "google", "GET"));

    let told = |change: Value| {
        let mut scene = google(json!({}), top.clone());
        scene.provider.serve("https://oauth2.googleapis.com/tokeninfo", says_json(tokeninfo(change)));
        scene.send(bearer("ya29.good"))
    };
    told(json!({"aud": "somebody-else"})).refused(401, "wrong_audience");
    told(json!({"aud": null})).refused(401, "wrong_audience");
    told(json!({"exp": (NOW - 61).to_string()})).refused(401, "expired");
    told(json!({"exp": "never"})).refused(401, "invalid_claims");
    told(json!({"email_verified": "false"})).refused(403, "insufficient_claims");
    told(json!({"token_type": "refresh_token"})).refused(401, "wrong_type");
    told(json!({"active": true})).allowed();
    // What says that it is not active is not, whatever the status.
    for active in [json!(false), json!("true"), json!(1)] {
        told(json!({"active": active})).refused(401, "inactive");
    }
    let mut null = tokeninfo(json!({}));
    null["active"] = Value::Null;
    let mut scene = google(json!({}), top.clone());
    scene.provider.serve("https://oauth2.googleapis.com/tokeninfo", says_json(null));
    scene.send(bearer("ya29.good")).refused(401, "inactive");

    // Another status is no yes, whatever the body; and a 400 is a no that is remembered.
    for (answer, status, reason) in [
        (says(201, "application/json", tokeninfo(json!({})).to_string()), 503, "provider_unavailable"),
        (says(404, "application/json", tokeninfo(json!({})).to_string()), 503, "provider_unavailable"),
        (says(200, "text/html", tokeninfo(json!({})).to_string()), 503, "provider_unavailable"),
        (says(400, "application/json", tokeninfo(json!({})).to_string()), 401, "inactive"),
        (says(400, "application/json", r#"{"error":"invalid_token"}"#), 401, "inactive"),
        (says(400, "text/html", "<html>"), 401, "inactive"),
    ] {
        let mut scene = google(json!({}), top.clone());
        scene.provider.serve("https://oauth2.googleapis.com/tokeninfo", answer);
        scene.send(bearer("ya29.bad")).refused(status, reason);
        scene.send(bearer("ya29.bad")).refused(status, reason);
        assert_eq!(scene.count("/tokeninfo"), if status == 401 { 1 } else { 2 });
    }
    // Without the word for it, no status is a yes, nor a no.
    google(json!({"active": "claim"}), top.clone()).send(bearer("ya29.good")).refused(401, "inactive");
    let mut scene = google(json!({"inactive_statuses": null}), top);
    scene.provider.serve("https://oauth2.googleapis.com/tokeninfo", status(400));
    scene.send(bearer("ya29.bad")).refused(503, "provider_unavailable");
}

/// ATK-12: a status that says that a token is not active says nothing about the endpoint, nor about us.
#[test]
fn inactive_statuses_take_no_endpoint_down() {
    let endpoints = json!(["https://idp.example.com/a", "https://idp.example.com/b"]);
    let settings = json!({"endpoint": endpoints, "inactive_statuses": [400, 401, 404], "negative_cache": 0});
    for refusal in [400, 401, 404] {
        let mut scene = scene_with(settings.clone());
        scene.provider.at("/a", status(refusal));
        for number in 0..5 {
            scene.send(bearer(&format!("~garbage{number}"))).refused(401, "inactive");
        }
        assert_eq!((scene.count("/a"), scene.count("/b")), (5, 0));
        assert!(scene.filter.endpoint_facts().all(|(.., is_up)| is_up));
        let mut scene = Scene::of(auto(json!({"introspection": {"inactive_statuses": [400, 401, 404]}}), json!({})));
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
        scene.provider.at("/introspect", status(refusal));
        scene.send(bearer("~garbage")).refused(401, "inactive");
        scene.provider.at("/introspect", Answer::Introspects("token"));
        scene.send(bearer("opaque")).allowed();
    }
}

/// TB-33 to TB-35, INT-05: the Toolbox takes a number in a string; RFC 7662, section 2.2, has an integer.
#[test]
fn the_times_of_an_answer_are_checked() {
    told(active(json!({"exp": null}))).allowed();
    told(active(json!({"exp": NOW - 30}))).allowed();
    told(active(json!({"exp": 2_000_000_000.0, "iat": NOW - 1, "nbf": NOW + 30}))).allowed();
    told(active(json!({"exp": NOW - 61}))).refused(401, "expired");
    told(active(json!({"exp": 1.5}))).refused(401, "expired");
    told(active(json!({"nbf": NOW + 120}))).refused(401, "not_yet_valid");
    // Google's tokeninfo and WSO2 write digits in a string.
    told(active(json!({"exp": "2000000000", "iat": (NOW - 1).to_string(), "nbf": "0"}))).allowed();
    told(active(json!({"exp": (NOW - 61).to_string()}))).refused(401, "expired");
    told(active(json!({"nbf": (NOW + 120).to_string()}))).refused(401, "not_yet_valid");
    let iso = json!("2033-05-18T03:33:20Z");
    for wrong in [
        iso,
        json!(true),
        json!([]),
        json!({}),
        json!(-1),
        json!(1e300),
        json!("-1"),
        json!("+1"),
        json!(" 2000000000"),
        json!("2000000000.5"),
        json!("2e9"),
        json!("\u{0662}000000000"),
        json!("99999999999999999999"),
        json!(""),
    ] {
        for name in ["exp", "iat", "nbf"] {
            is_unfit(json!({name: wrong}), name);
        }
    }
    // "Active", and ended in 1970: some mean by it that it never ends.
    for zero in [json!(0), json!("0"), json!(0.0), json!("000")] {
        is_unfit(json!({"exp": zero}), "exp");
    }
    // In a JWT, a number is a number (RFC 7519, section 2).
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    scene.send(bearer(&token(json!({"exp": "2000000000"})))).refused(401, "invalid_claims");
}

/// RFC 6749, section 5.1; RFC 7662, section 4. LINE, Twitch and Kakao say in how many seconds a token ends, and not when.
#[test]
fn an_answer_is_not_believed_beyond_its_seconds() {
    for seconds in [json!(5), json!("5")] {
        let mut scene = Scene::of(introspection(json!({"require_expiration": true}), json!({})));
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({"exp": null, "expires_in": seconds})));
        scene.send(bearer("opaque")).allowed();
        scene.pass_seconds(4);
        scene.send(bearer("opaque")).allowed();
        assert_eq!(scene.count("/introspect"), 1);
        scene.provider.tokens.clear();
        scene.pass_seconds(2);
        scene.send(bearer("opaque")).refused(401, "inactive");
    }
    // LinkedIn says when, under another name.
    for end in [json!(NOW + 5), json!((NOW + 5).to_string())] {
        let mut scene = Scene::of(introspection(json!({"clock_skew": 0}), json!({})));
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({"exp": null, "expires_at": end})));
        scene.send(bearer("opaque")).allowed();
        scene.pass_seconds(6);
        scene.send(bearer("opaque")).refused(401, "expired");
    }
    told(active(json!({"exp": null, "expires_in": 3600, "expires_at": NOW - 61}))).refused(401, "expired");
    told(active(json!({"exp": null, "expires_in": 3600, "expires_at": "2027-01-15T09:00:00Z"}))).allowed();
    // What ends with a user is not the token.
    let mut scene = Scene::of(userinfo(json!({}), json!({})));
    scene.provider.users.insert("opaque".to_owned(), json!({"sub": "ann", "expires_at": NOW - 3600}));
    scene.send(bearer("opaque")).allowed();
    // Beside `exp`, seconds that end sooner hold: what says that none is left is not kept.
    for (seconds, asked) in [(json!(5), 2), (json!("5"), 2), (json!(3600), 1), (json!(-1), 1)] {
        let mut scene = Scene::of(introspection(json!({}), json!({})));
        scene.provider.tokens.insert("opaque".to_owned(), active(json!({"expires_in": seconds})));
        scene.send(bearer("opaque")).allowed();
        scene.pass_seconds(6);
        scene.send(bearer("opaque")).allowed();
        assert_eq!(scene.count("/introspect"), asked, "{seconds}");
    }
    let mut scene = Scene::of(introspection(json!({"clock_skew": 0}), json!({})));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"expires_in": 0})));
    scene.send(bearer("opaque")).refused(401, "expired");
    // What says when goes before; what is no number of seconds says nothing.
    told(active(json!({"exp": NOW - 61, "expires_in": 3600}))).refused(401, "expired");
    told(active(json!({"expires_at": NOW - 61}))).allowed();
    for odd in [json!(-1), json!(1.5), json!(""), json!("never"), json!(true), json!(1e300), json!(u64::MAX)] {
        told(active(json!({"exp": null, "expires_in": odd}))).allowed();
    }
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    scene.send(bearer(&token(json!({"exp": null, "expires_in": 3600})))).refused(401, "invalid_claims");
}

/// An answer with this claim is refused for it, and the log says so.
#[track_caller]
fn is_unfit(claim: Value, name: &str) {
    heard();
    told(active(claim.clone())).refused(401, "invalid_claims");
    assert!(heard().iter().any(|line| line.contains(&format!("the claim {name} is"))), "{claim}");
}

/// TB-36, INT-06: the Toolbox takes `audience` where `aud` is missing; no RFC knows it.
#[test]
fn audience_and_issuer_of_an_answer_are_checked() {
    told(active(json!({"aud": ["x", AUDIENCE]}))).allowed();
    for wrong in
        [json!({"aud": "x"}), json!({"aud": null}), json!({"aud": []}), json!({"aud": null, "audience": AUDIENCE})]
    {
        told(active(wrong)).refused(401, "wrong_audience");
    }
    for (name, wrong) in [
        ("aud", json!(42)),
        ("aud", json!([42])),
        ("aud", json!([null])),
        ("iss", json!(42)),
        ("sub", json!({})),
        ("sub", json!(7)),
        ("client_id", json!(7)),
        ("azp", json!(7)),
        ("jti", json!(7)),
        ("scope", json!(7)),
        ("scp", json!({})),
        ("email_verified", json!(1)),
        ("token_type", json!(7)),
    ] {
        is_unfit(json!({name: wrong}), name);
    }
    let with_null = |name: &str| {
        let mut answer = active(json!({}));
        answer[name] = Value::Null;
        answer
    };
    // Doorkeeper writes it for a token of no application. What is `null` is not there.
    for name in ["client_id", "sub", "iss", "exp", "nbf", "scope", "cnf"] {
        told(with_null(name)).allowed();
    }
    told(with_null("aud")).refused(401, "wrong_audience");
    for wrong in ["https://other.example", "", "https://idp.example.com/"] {
        told(active(json!({"iss": wrong}))).refused(401, "unknown_issuer");
    }
    // TB-39: the Toolbox wants `iss`; RFC 7662, section 2.2, makes it optional, and the issuer itself has answered.
    told(active(json!({"iss": null}))).allowed();
    let any = introspection(json!({"audiences": null, "any_audience": true}), json!({}));
    let mut scene = Scene::of(any);
    for (token, audience) in [("opaque", json!(null)), ("ory_at_opaque.x", json!([]))] {
        scene.provider.tokens.insert(token.to_owned(), active(json!({"aud": audience})));
        scene.send(bearer(token)).allowed();
    }
}

/// TB-37, TB-38, INT-01.
#[test]
fn only_true_is_active() {
    for answer in [
        json!({"active": false}),
        active(json!({"active": false})),
        json!({"scope": "read"}),
        json!({}),
        active(json!({"active": "true"})),
        active(json!({"active": 1})),
        active(json!({"active": [true]})),
        active(json!({"active": {}})),
        json!({"active": null, "aud": AUDIENCE}),
        json!({"Active": true, "aud": AUDIENCE}),
        active(json!({"error": "invalid_token"})),
        active(json!({"error": {"code": 190}})),
    ] {
        let refusal = told(answer.clone()).refused(401, "inactive");
        assert_eq!(refusal.error().as_deref(), Some("invalid_token"), "{answer}");
    }
    for none in [json!(null), json!(""), json!(false), json!(0), json!([]), json!({})] {
        told(active(json!({"error": none}))).allowed();
    }
}

/// INT-02: an answer that says two things at once vouches for nothing.
#[test]
fn an_answer_with_active_twice_is_refused() {
    for body in [
        r#"{"active":false,"active":true,"aud":"https://api.example.com"}"#,
        r#"{"active":true,"active":false,"aud":"https://api.example.com"}"#,
        r#"{"active":true,"aud":"https://api.example.com","aud":"https://api.example.com"}"#,
        r#"{"active":true,"\u0061ctive":true,"aud":"https://api.example.com"}"#,
    ] {
        let mut scene = scene();
        scene.provider.at("/introspect", says(200, "application/json", body));
        scene.send(bearer("opaque")).refused(401, "inactive");
    }
}

/// TB-40 to TB-42, INT-03, INT-04, INT-12, CCH-07: what is no answer says nothing about the token, and is not
/// remembered.
#[test]
fn no_answer_is_503() {
    let good = active(json!({})).to_string();
    let json = |status| says(status, "application/json", good.clone());
    let mut cases = vec![
        Answer::Refuses,
        Answer::TimesOut,
        says(200, "text/html", "<html>"),
        says(200, "text/html", good.clone()),
        says(200, "application/jwt", good.clone()),
        says(200, "application/token-introspection+jwt", "e30.e30.AA"),
        says(200, "application/json", ""),
        says(200, "application/json", "null"),
        says(200, "application/json", "[]"),
        says(200, "application/json", "<html>"),
        says(200, "application/json", &good[..good.len() - 1]),
        says(200, "application/json", format!("{good}{good}")),
        says(200, "application/json", format!("\u{feff}{good}")),
        says(200, "application/json", "[".repeat(50_000)),
        says(200, "application/json", format!("{good}{}", " ".repeat(MAX_ANSWER_BYTES))),
        says(200, "application/json", b"{\"active\":true,\"x\":\"\xff\"}".to_vec()),
        Answer::Says(Response { status: 0, headers: Headers::default(), body: good.clone().into_bytes() }),
    ];
    cases.extend([201, 204, 206, 301, 302, 400, 401, 403, 404, 429, 500, 502, 503, 504].map(json));
    for (index, answer) in cases.into_iter().enumerate() {
        let mut scene = scene();
        scene.provider.at("/introspect", answer);
        let stream = scene.begin(bearer("opaque"));
        scene.settle();
        scene.pass_seconds(6);
        let refusal = scene.seen(stream).refused(503, "provider_unavailable");
        assert_eq!((refusal.challenge(), refusal.header("retry-after")), (None, Some("1")), "{index}");
        assert_eq!(scene.fetched.last().map(|end| (end.kind, end.result)), Some(("introspection", "failed")));
        scene.provider.at("/introspect", Answer::Introspects("token"));
        scene.send(bearer("opaque")).allowed(); // CCH-07
    }
}

/// INT-12: what a provider says of one token is kept for each: it may say so much, and no more.
#[test]
fn an_answer_beyond_the_limit_is_an_outage() {
    let good = active(json!({})).to_string();
    let padded = |size: usize| format!("{good}{}", " ".repeat(size - good.len()));
    let mut scene = scene();
    scene.provider.at("/introspect", says(200, "application/json", padded((64 << 10) + 1)));
    scene.send(bearer("opaque")).refused(503, "provider_unavailable");
    scene.pass_seconds(6);
    scene.provider.at("/introspect", says(200, "application/json", padded(64 << 10)));
    scene.send(bearer("opaque")).allowed();
}

/// TB-43: the Toolbox guesses `/introspect`. What the provider doesn't name is not called.
#[test]
fn without_an_endpoint_nobody_is_asked() {
    let mut scene = Scene::cold(introspection(json!({}), json!({})));
    scene.provider.metadata(json!({"introspection_endpoint": null}));
    scene.send(bearer("opaque")).refused(503, "misconfigured");
    assert_eq!(scene.count("/introspect"), 0);
}

/// TB-44.
#[test]
fn a_configured_endpoint_needs_no_discovery() {
    let settings = json!({"endpoint": "https://idp.example.com/custom"});
    let mut scene = Scene::of(introspection(json!({"cluster": "idp", "introspection": settings}), json!({})));
    scene.provider.at("/custom", Answer::Introspects("token"));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.calls.len(), 1);
    assert_eq!((&*scene.calls[0].url, &*scene.calls[0].cluster), ("https://idp.example.com/custom", "idp"));
}

/// TB-45, INT-10.
#[test]
fn the_client_authenticates_as_configured() {
    // RFC 6749, section 2.3.1: each half is form-encoded before they are joined.
    let mut basic = scene_with(json!({"client_id": "a:b c", "client_secret": "${SECRET}"}));
    basic.send(bearer("opaque")).allowed();
    let call = basic.the_call_to("/introspect");
    assert_eq!(call.header("authorization"), Some("Basic YSUzQWIrYzpzM2NyM3QlMkYlMkIr")); // a%3Ab+c:s3cr3t%2F%2B+
    assert!(!call.body.contains("client"));

    let mut post = scene_with(json!({"client_id": "a b", "client_secret": "${SECRET}", "client_auth": "post"}));
    post.send(bearer("opaque")).allowed();
    let call = post.the_call_to("/introspect");
    assert_eq!(call.header("authorization"), None);
    let form = call.form();
    assert_eq!((&*form["client_id"], &*form["client_secret"], &*form["token"]), ("a b", "s3cr3t/+ ", "opaque"));

    let mut get = scene_with(json!({"client_id": "a", "client_secret": "b", "method": "GET"}));
    get.send(bearer("opaque")).allowed();
    assert_eq!(get.the_call_to("/introspect").header("authorization"), Some("Basic YTpi"));
}

/// RFC 7523, section 3: the assertion is for this issuer, and never the same again.
#[test]
fn client_authentication_by_a_private_key() {
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "c", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"});
    let settings = json!({"client_id": "me", "client_auth": "private_key_jwt", "client_key": jwk, "cache": 0});
    let mut scene = scene_with(settings);
    scene.send(bearer("opaque")).allowed();
    scene.pass_seconds(1);
    scene.send(bearer("opaque")).allowed();
    let claims = |call: &Call| -> Value {
        let form = call.form();
        assert_eq!(form["client_assertion_type"], "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
        let payload = form["client_assertion"].split('.').nth(1).unwrap().to_owned();
        serde_json::from_slice(&BASE64URL.decode(payload).unwrap()).unwrap()
    };
    let calls = scene.calls_to("/introspect");
    let (first, second) = (claims(calls[0]), claims(calls[1]));
    assert_eq!((&first["iss"], &first["sub"], &first["aud"]), (&json!("me"), &json!("me"), &json!(ISSUER)));
    assert_eq!((&first["iat"], &first["exp"]), (&json!(NOW), &json!(NOW + 60)));
    assert_ne!(first["jti"], second["jti"]);
}

/// TB-46, ISS-06: a JWT of a provider that is always asked is never judged here.
#[test]
fn jwts_are_introspected_where_that_is_wanted() {
    let mut scene = scene();
    let (good, forged) = (good(), key("foreign").token(json!({})));
    for token in [&good, &forged] {
        scene.provider.tokens.insert(token.clone(), active(json!({"sub": "told"})));
        scene.send(bearer(token)).allowed();
    }
    scene.send(bearer(&token(json!({"jti": "unknown to the provider"})))).refused(401, "inactive");
    assert_eq!((scene.count("/introspect"), scene.count("/jwks")), (3, 0));
    // The issuer that it names must be this one all the same.
    scene.send(bearer(&token(json!({"iss": "https://other.example"})))).refused(401, "unknown_issuer");
    // DPP-02: what it says of its binding counts, whatever the provider leaves out.
    scene.send(bearer(&token(json!({"cnf": {"jkt": "x"}})))).refused(401, "not_bound");
    assert_eq!(scene.count("/introspect"), 3);
}

/// INT-15, MV-06: the eight shapes of the Toolbox's test, where a JWT goes to the keys and all else to introspection.
#[test]
fn the_shape_of_a_token_decides_who_is_asked() {
    for (token, is_jwt) in [
        ("eyJhbGciOiJSUzI1NiJ9.p.s", true),
        ("invalid_base64~+.p.s", false),
        ("aGVsbG8.p.s", false),
        ("eyJmb28iOiJiYXIifQ.p.s", false),
        ("opaque-token", false),
        ("a.b.c.d", false),
        ("a.b", false),
    ] {
        let mut scene = Scene::of(auto(json!({}), json!({})));
        scene.provider.tokens.insert(token.to_owned(), active(json!({})));
        if is_jwt {
            scene.send(bearer(token)).refused(401, "malformed_token");
        } else {
            scene.send(bearer(token)).allowed();
        }
        assert_eq!(scene.count("/introspect"), usize::from(!is_jwt), "{token}");
        // Where the operator says how tokens are proved, no shape says otherwise.
        let mut by_keys = Scene::of(jwt(json!({}), json!({})));
        by_keys.provider.tokens.insert(token.to_owned(), active(json!({})));
        by_keys.send(bearer(token)).refused(401, "malformed_token");
        assert_eq!((by_keys.count("/introspect"), by_keys.count("/userinfo")), (0, 0), "{token}");
        let mut asked = scene_with(json!({}));
        asked.provider.tokens.insert(token.to_owned(), active(json!({})));
        asked.send(bearer(token)).allowed();
        assert_eq!((asked.count("/introspect"), asked.count("/jwks")), (1, 0), "{token}");
    }
}

/// INT-07.
#[test]
fn other_kinds_of_tokens() {
    for kind in [
        json!({"token_type": "Bearer"}),
        json!({"token_type": "bearer"}),
        json!({"token_type": "AccessToken"}),
        json!({"token_type": "access-token"}),
        json!({"token_type": "access"}),
        json!({"token_type": "BearerToken"}),
        json!({"token_type": "Access Token"}),
        json!({"token_type": "urn:ietf:params:oauth:token-type:access_token"}),
        json!({"token_use": "access"}),
        json!({"token_type": "Bearer", "token_usage": "access_token"}),
    ] {
        told(active(kind)).allowed();
    }
    let others = [
        json!({"token_use": "id"}),
        json!({"token_usage": "id_token"}),
        json!({"typ": "ID"}),
        json!({"token_type": "N_A"}),
        json!({"typ": "logout+jwt"}),
        json!({"typ": "application/dpop+jwt"}),
        json!({"events": {"http://schemas.openid.net/event/backchannel-logout": {}}}),
    ];
    for kind in marks_of_refresh_tokens().into_iter().chain(others) {
        heard();
        told(active(kind)).refused(401, "wrong_type");
        assert!(heard().iter().any(|line| line.contains("is no access token")));
    }
}

/// RFC 6749, section 1.5. The introspection of Fosite (Authelia's, too) and of CAS says of a refresh token what it says of an access token;
/// the two begin differently.
#[test]
fn an_opaque_refresh_token_is_not_asked_about() {
    for kind in ["introspection", "userinfo", "auto"] {
        let mut scene = Scene::of(auto(json!({"validation": kind}), json!({})));
        let mut sent = |token: &str| {
            scene.provider.tokens.insert(token.to_owned(), active(json!({"client_id": "client", "scope": "read"})));
            scene.provider.users.insert(token.to_owned(), json!({"sub": "ann"}));
            (scene.send(bearer(token)), scene.count("/introspect") + scene.count("/userinfo"))
        };
        let good =
            ["ory_at_x.y", "authelia_at_x.y", "x_ory_rt_", "ORY_RT_x", "AT-1-x", "RT-x-1", "RT-1", "RT--x", "RTX-1-x"];
        for (number, access) in good.into_iter().enumerate() {
            let (seen, asked) = sent(access);
            seen.allowed();
            assert_eq!(asked, number + 1);
        }
        for other in ["ory_rt_x.y", "ory_rt_", "authelia_rt_x.y", "RT-1-x", "RT-102-x-cas01", "OC-7-x"] {
            let (seen, asked) = sent(other);
            seen.refused(401, "wrong_type");
            assert_eq!(asked, good.len());
        }
    }
}

/// INT-08.
#[test]
fn an_answer_about_a_bound_token_is_refused() {
    for bound in [
        json!({"cnf": {"jkt": "x"}}),
        json!({"cnf": {"x5t#S256": "x"}}),
        json!({"cnf": {}}),
        json!({"cnf": 1}),
        // RFC 9449, section 7.2: this promises a binding, and is not the scheme for it.
        json!({"token_type": "DPoP"}),
    ] {
        told(active(bound)).refused(401, "not_bound");
    }
}

#[test]
fn scopes_and_claims_of_an_answer() {
    let mut scene = Scene::of(introspection(json!({}), json!({"require": {"scopes": ["a"]}})));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({"scope": "a b"})));
    scene.provider.tokens.insert("weak".to_owned(), active(json!({"scope": "b"})));
    scene.provider.tokens.insert("list".to_owned(), active(json!({"scope": ["b", "a"]})));
    scene.provider.tokens.insert("odd".to_owned(), active(json!({"scope": ["a b"]})));
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.send(bearer("weak")).refused(403, "insufficient_scope").challenge().unwrap()["scope"], "a");
    scene.send(bearer("list")).allowed();
    scene.send(bearer("odd")).refused(401, "invalid_claims");
    // Whether scopes are required or not.
    told(active(json!({"scope": ["a b"]}))).refused(401, "invalid_claims");
    told(active(json!({"scope": ["a"], "scp": "b"}))).allowed();
}

/// OUT-02, OUT-08: an endpoint on a host that nobody has named a cluster for gets neither token nor secret.
#[test]
fn foreign_endpoints_are_not_called() {
    for url in [
        "https://evil.example/introspect",
        "http://idp.example.com:8080/introspect",
        "https://idp.example.com:8443/introspect",
        "https://idp.example.com@evil.example/introspect",
        "https://idp.example.com.evil.example/introspect",
        "http://169.254.169.254/introspect",
        "https://\u{fc}X.example/introspect",
        "https://%C3%BCX.example/introspect",
        "https:/idp.example.com/introspect",
        "file:///introspect",
        "/introspect",
        "",
    ] {
        let mut scene = Scene::cold(introspection(json!({}), json!({})));
        scene.provider.metadata(json!({"introspection_endpoint": url}));
        scene.send(bearer("opaque")).refused(503, "misconfigured");
        assert!(scene.calls.iter().all(|call| call.url.contains("/.well-known/")), "{url}: {:?}", scene.calls);
    }
    let config = introspection(json!({"clusters": {"auth.example": "auth"}}), json!({}));
    let mut scene = Scene::cold(config);
    scene.provider.metadata(json!({"introspection_endpoint": "https://auth.example/i"}));
    scene.provider.serve("https://auth.example/i", Answer::Introspects("token"));
    scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
    scene.send(bearer("opaque")).allowed();
    assert_eq!(scene.the_call_to("/i").cluster, "auth");
}

/// A refusal with a challenge.
pub fn challenges(status: u16, challenge: &str, body: &str) -> Answer {
    let headers = Headers::from_pairs([("content-type", "application/json"), ("www-authenticate", challenge)]);
    Answer::Says(Response { status, headers, body: body.as_bytes().to_vec() })
}

fn about_us() -> Vec<Answer> {
    vec![
        status(401),
        challenges(401, "Basic realm=\"x\"", ""),
        challenges(403, "Basic realm=\"x\"", ""),
        says(400, "application/json", r#"{"error":"invalid_client"}"#),
        says(401, "application/json", r#"{"error":"invalid_client"}"#),
        says(403, "application/json", r#"{"error":"unauthorized_client"}"#),
    ]
}

/// ATK-12: whatever a provider, or a firewall before it, has against one token, it has nothing against the next one.
#[test]
fn a_bad_token_turns_nobody_elses_away() {
    let about_a_token =
        [400, 402, 403, 404, 405, 406, 410, 413, 414, 415, 418, 422, 423, 429, 431, 451, 500, 501, 502, 503];
    let said = [
        says(400, "application/json", r#"{"error":"invalid_request"}"#),
        says(400, "application/json", r#"{"error":"invalid_token"}"#),
        says(401, "application/json", r#"{"error":"invalid_token"}"#),
        says(403, "text/html", "<html>blocked</html>"),
        challenges(401, "Bearer error=\"invalid_token\"", ""),
        challenges(400, "Basic realm=\"x\"", ""),
        challenges(403, "Bearer realm=\"x\", error=\"INVALID_TOKEN\"", ""),
        says(200, "text/html", "<html>"),
    ];
    for refusal in about_a_token.map(status).into_iter().chain(said) {
        for configuration in [auto(json!({}), json!({})), auto(json!({}), json!({"enforce": false}))] {
            let mut scene = Scene::of(configuration);
            scene.provider.tokens.insert("opaque".to_owned(), active(json!({})));
            for round in 0..3 {
                scene.provider.at("/introspect", refusal.clone());
                let seen = scene.send(bearer(&format!("~garbage{round}")));
                assert!(matches!(seen, Seen::Refused(_) | Seen::Upstream(_)));
                scene.provider.at("/introspect", Answer::Introspects("token"));
                scene.send(bearer("opaque")).allowed();
                scene.pass_seconds(61);
            }
        }
    }
}

/// INT-03.
#[test]
fn a_discovered_endpoint_that_wants_credentials_is_left_alone() {
    for refusal in about_us() {
        let mut scene = Scene::of(auto(json!({}), json!({})));
        scene.provider.at("/introspect", refusal);
        scene.send(bearer("opaque")).refused(401, "unsupported_token");
        scene.send(bearer("another")).refused(401, "unsupported_token");
        assert_eq!(scene.count("/introspect"), 1);
        // Tokens that need no question are as good as ever.
        scene.send(bearer(&good())).allowed();
    }
    // With credentials, it is they that are wrong: an outage, and nothing to do with the token (INT-03).
    let client = json!({"client_id": "rs", "client_secret": "wrong"});
    let mut scene = Scene::of(auto(json!({"introspection": client}), json!({})));
    scene.provider.at("/introspect", status(401));
    scene.send(bearer("opaque")).refused(503, "provider_unavailable");
}

/// A provider that wants to be asked later about a token is asked then, and the client is told so. It says nothing of other
/// tokens: what one client sends must not shut out the others.
#[test]
fn a_question_that_is_put_off() {
    let headers = Headers::from_pairs([("retry-after", "30")]);
    let later = Answer::Says(Response { status: 429, headers, body: Vec::new() });
    for (configuration, place) in
        [(introspection(json!({}), json!({})), "/introspect"), (userinfo(json!({}), json!({})), "/userinfo")]
    {
        let mut scene = Scene::of(configuration);
        scene.provider.tokens.insert("good".to_owned(), active(json!({})));
        scene.provider.users.insert("good".to_owned(), json!({"sub": "ann"}));
        scene.provider.at(place, later.clone());
        for _ in 0..3 {
            let refusal = scene.send(bearer("garbage")).refused(503, "provider_unavailable");
            assert_eq!(refusal.header("retry-after"), Some("30"));
        }
        assert_eq!(scene.count(place), 1);
        scene.provider.add_issuer(ISSUER, &[key("k1").jwk()]);
        scene.send(bearer("good")).allowed();
        scene.pass_seconds(20);
        let refusal = scene.send(bearer("garbage")).refused(503, "provider_unavailable");
        assert_eq!(refusal.header("retry-after"), Some("10"));
        scene.pass_seconds(11);
        scene.send(bearer("garbage")).refused(401, "inactive");
    }
}
