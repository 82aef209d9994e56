//! One run of the decision: a function of the facts, which says how far it came and what it noticed.
//!
//! Every scene of these tests, and every script of the fuzzer, runs its first decisions twice and looks at the facts in between
//! ([`Scene::begin`]). Here, each way through the decision is walked once, so that none is left out.

use crate::listener::heard;
use crate::scene::*;
use crate::support::with;
use serde_json::{Value, json};
use std::time::Duration;

const AUTHORIZER: &str = "https://authz.example/decide";

/// What a run about this request ends with and notices. It is run three times, and the facts are looked at: two runs are equal,
/// nothing is written, and nothing is said.
#[track_caller]
fn run(scene: &Scene, ask: &Ask) -> String {
    heard();
    let (before, request) = (scene.filter.fingerprint_of_facts(), ask.request());
    let run = || scene.filter.rehearse(&request, scene.now).remove(0);
    let told = run();
    assert_eq!([run(), run()], [told.clone(), told.clone()]);
    assert_eq!(scene.filter.fingerprint_of_facts(), before, "{told}");
    assert_eq!(heard(), Vec::<String>::new(), "{told}");
    told
}

#[track_caller]
fn says(told: &str, expected: &[&str]) {
    for part in expected {
        assert!(told.contains(part), "{part} is not in {told}");
    }
}

fn authorized(provider: Value) -> Scene {
    let authorization = json!({"uri": AUTHORIZER, "cluster": "authz"});
    let mut scene = Scene::of(auto(provider, json!({"external_authorization": authorization})));
    scene.provider.serve(AUTHORIZER, status(200));
    scene
}

#[test]
fn a_token_that_a_signature_proves() {
    let mut scene = Scene::of(jwt(json!({}), json!({"require": {"scopes": "read"}})));
    let cold = ["Ok(Token", "cached: Some(false)", "verification: Some((", "(Requirements, true)", "proved: Some("];
    says(&run(&scene, &bearer(&good())), &cold);
    says(&run(&scene, &bearer(&good())), &["used: None", "kept: Some(ValidatedToken"]);
    scene.send(bearer(&good())).allowed();
    let warm = ["Ok(Token", "cached: Some(true)", "verification: None", "used: Some(Signature)", "kept: None"];
    says(&run(&scene, &bearer(&good())), &warm);
    // One that lacks something is kept all the same.
    let weak = bearer(&token(json!({"scope": "write"})));
    let refused = ["Err(Deny(", "InsufficientScope", "(Requirements, false)", "kept: Some(ValidatedToken"];
    says(&run(&scene, &weak), &refused);
    scene.send(weak.clone()).refused(403, "insufficient_scope");
    says(&run(&scene, &weak), &["used: Some(Signature)", "(Requirements, false)", "kept: None"]);
}

#[test]
fn tokens_that_are_none() {
    let mut scene = Scene::of(jwt(json!({}), json!({})));
    for (ask, expected) in [
        (bare(), ["MissingToken", "[(Credentials, false)]", "kept: None"]),
        (
            bearer(&good()).header("authorization", "Bearer x"),
            ["InvalidRequest", "[(Credentials, false)]", "kept: None"],
        ),
        (bearer(&"a".repeat(70_000)), ["MalformedToken", "[(Credentials, false)]", "complaint: Some(TokenTooLong"]),
        (bearer("a.b.c"), ["MalformedToken", "(Validation, false)", "verification: None"]),
        (bearer("opaque"), ["MalformedToken", "(Validation, false)", "verification: None"]),
        (bearer(&token(json!({"exp": NOW - 3600}))), ["Expired", "(Claims, false)", "kept: None"]),
        (bearer(&token(json!({"aud": "other"}))), ["WrongAudience", "(Claims, false)", "kept: None"]),
        (bearer(&token(json!({"nbf": "x"}))), ["InvalidClaims", "(Validation, false)", "proved: Some("]),
        (bearer(&token(json!({"iss": "https://other"}))), ["UnknownIssuer", "(Validation, false)", "proved: None"]),
        (
            bearer(&key("foreign").token_with(json!({"kid": "k1"}), json!({}))),
            ["BadSignature", "(Validation, false)", "proved: None"],
        ),
    ] {
        says(&run(&scene, &ask), &expected);
        scene.send(ask.clone());
        // The facts are others now, the end is the same.
        says(&run(&scene, &ask), &expected[..2]);
    }
}

#[test]
fn a_token_whose_key_is_not_at_hand() {
    let mut scene = Scene::of(jwt(json!({"jwks": {"cooldown": "1s"}}), json!({})));
    scene.pass_seconds(2);
    let stranger = bearer(&key("new").token_with(json!({"kid": "new"}), json!({})));
    says(&run(&scene, &stranger), &["Err(Need(Keys(ProviderId(0), 0)))", "(Validation, false)", "complaint: None"]);
    scene.begin(stranger.clone());
    // Whoever comes while the keys are being fetched waits for the same fetch.
    says(&run(&scene, &stranger), &["Err(Need(Keys(ProviderId(0), 0)))"]);
    let waiting = scene.filter.rehearse_waiting(scene.now);
    // The one that waits has asked for them: were it decided now, it would be refused.
    says(&waiting.join("\n"), &["UnknownKey"]);
    scene.settle();
    says(&run(&scene, &stranger), &["UnknownKey"]);
}

#[test]
fn a_token_that_an_answer_proves() {
    let mut scene = Scene::of(introspection(json!({"introspection": {"negative_cache": "5s"}}), json!({})));
    scene.provider.tokens.insert("yes".to_owned(), active(json!({})));
    let (yes, no) = (bearer("yes"), bearer("no"));
    says(&run(&scene, &yes), &["Err(Need(Introspection(ProviderId(0), Token)))", "cached: Some(false)"]);
    scene.send(yes.clone()).allowed();
    let warm = ["Ok(Token", "cached: Some(true)", "used: Some(Answer(ProviderId(0)))", "kept: None"];
    says(&run(&scene, &yes), &warm);
    scene.send(no.clone()).refused(401, "inactive");
    says(&run(&scene, &no), &["Inactive", "used: Some(Inactive(ProviderId(0)))", "(Validation, false)"]);
    scene.pass_seconds(90);
    says(&run(&scene, &yes), &["Err(Need(Introspection"]);
}

#[test]
fn an_authorizer_has_the_last_word() {
    let mut scene = authorized(json!({"introspection": {"cache": "0s"}}));
    scene.provider.tokens.insert("yes".to_owned(), active(json!({})));
    let (jwt, opaque) = (bearer(&good()), bearer("yes"));
    let lacking = [
        "Err(Need(Authorization(",
        "(Requirements, true), (Authorization, false)",
        "kept: Some(",
        "lessons: Lessons { validated: Some(",
    ];
    says(&run(&scene, &jwt), &lacking);
    scene.send(jwt.clone()).allowed();
    says(
        &run(&scene, &jwt),
        &["Ok(Token", "(Authorization, true)", "used: Some(Signature)", "authorized: Some((AuthorizationQuestion"],
    );
    // An answer that no cache may keep is remembered for the request that it was given to.
    let stream = scene.begin(opaque.clone());
    let answer = scene.honest_answer(0);
    scene.answer(0, answer);
    scene.set_clock(scene.now().saturating_add(Duration::from_secs(1)));
    let waiting = scene.filter.rehearse_waiting(scene.now).join("\n");
    says(&waiting, &["AuthorizerUnavailable", "cached: Some(true)", "used: None"]);
    scene.settle();
    scene.seen(stream).allowed();
    says(&run(&scene, &opaque), &["Err(Need(Introspection"]);
}

#[test]
fn a_request_that_needs_no_token() {
    let rules =
        json!([{"match": {"path": "/open"}, "bypass": true}, {"match": {"path": "/both"}, "allow_missing": true}]);
    let scene = Scene::of(jwt(json!({}), json!({"rules": rules})));
    says(&run(&scene, &get("/open").bearer(&good())), &["Ok(Exempt(Bypass))", "checks: []", "source: None"]);
    says(&run(&scene, &get("/both")), &["Ok(Exempt(Missing))", "checks: [(Credentials, true)]"]);
}

/// A candidate policy keeps what it proves, and changes nothing else.
#[test]
fn a_candidate_is_run_like_any_policy() {
    let shadow = json!({"require": {"scopes": "admin"}});
    let mut scene = Scene::of(jwt(json!({}), with(json!({}), json!({"shadow": shadow}))));
    let told = scene.filter.rehearse(&bearer(&good()).request(), scene.now);
    says(&told[0], &["Ok(Token"]);
    says(&told[1], &["InsufficientScope", "verification: Some("]);
    scene.send(bearer(&good())).allowed();
    let told = scene.filter.rehearse(&bearer(&good()).request(), scene.now);
    says(&told[1], &["InsufficientScope", "verification: None", "used: Some(Signature)"]);
}
