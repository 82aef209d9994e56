//! What others know about the subject of a token: a service of the operator's, and the userinfo of the token's own provider.

use crate::scene::*;
use crate::support::with;
use oidc_filter::config::Config;
use serde_json::{Value, json};

const SERVICE: &str = "https://attributes.internal/about";

fn service(change: Value) -> Value {
    with(json!({"uri": SERVICE, "cluster": "attributes", "claims": ["groups", "tier"]}), change)
}

/// A filter that asks these sources, and tells the service behind `groups`, `tier` and `email`.
fn scene(enrich: Value, top: Value) -> Scene {
    let headers = json!([
        {"header": "x-groups", "claim": "groups"}, {"header": "x-tier", "claim": "tier"},
        {"header": "x-email", "claim": "email"}, {"header": "x-sub", "claim": "sub"},
    ]);
    let mut scene = Scene::of(jwt(json!({}), with(json!({"enrich": enrich, "claim_headers": headers}), top)));
    scene.provider.serve(SERVICE, says_json(json!({"groups": ["a", "b"], "tier": 3, "sub": "admin", "scope": "all"})));
    scene
}

fn asked(scene: &Scene, url: &str) -> usize {
    scene.calls.iter().filter(|call| call.url == url).count()
}

#[track_caller]
fn refuses(enrich: Value, path: &str, word: &str) {
    let configuration = jwt(json!({}), json!({"enrich": enrich})).to_string();
    let error = Config::read(configuration.as_bytes(), &|_: &str| None)
        .err()
        .unwrap_or_else(|| panic!("accepted: {configuration}"));
    let error = error.to_string();
    assert!(error.starts_with(&format!("{path}: ")) && error.contains(word), "{path}, {word} expected: {error}");
}

#[test]
fn what_a_source_may_be() {
    refuses(json!("introspection"), "enrich", "expected userinfo");
    refuses(json!({}), "enrich.uri", "required");
    refuses(json!({"uri": "attributes", "claims": "a"}), "enrich.uri", "URL");
    refuses(json!({"uri": SERVICE}), "enrich.claims", "required");
    refuses(service(json!({"claims": []})), "enrich.claims", "1 to 64");
    refuses(service(json!({"cluster": ""})), "enrich.cluster", "empty");
    refuses(service(json!({"timeout": "61s"})), "enrich.timeout", "60s");
    refuses(service(json!({"source": "userinfo"})), "enrich.source", "beside");
    refuses(json!({"source": "ldap"}), "enrich.source", "userinfo");
    refuses(json!({"source": "userinfo", "timeout": "1s"}), "enrich.timeout", "provider's own");
    for fixed in ["iss", "sub", "aud", "exp", "scope", "scp", "cnf", "x5t#S256", "client_id", "jti"] {
        refuses(service(json!({"claims": fixed})), "enrich.claims", "judged");
        refuses(service(json!({"claims": {"name": fixed, "claim": "x"}})), "enrich.claims.name", "judged");
    }
    refuses(service(json!({"claims": {"name": "a"}})), "enrich.claims.claim", "required");
    refuses(json!([service(json!({})), service(json!({"claims": "tier"}))]), "enrich[1].claims", "two sources");
    refuses(json!(vec!["userinfo"; 5]), "enrich", "at most 4");
    let bypass = json!({"rules": {"match": {"path": "/a"}, "bypass": true, "enrich": "userinfo"}});
    let configuration = jwt(json!({}), bypass).to_string();
    let error = Config::read(configuration.as_bytes(), &|_: &str| None).err().unwrap().to_string();
    assert!(error.starts_with("rules.enrich: not beside `bypass`"), "{error}");
}

/// ENR-01: the answer's chosen claims stand beside the token's, for outputs, requirements and assertions; none that the token is judged
/// by.
#[test]
fn a_service_knows_more_than_the_token() {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"});
    let assertion = json!({"issuer": "https://edge", "audience": "b", "keys": key, "claims": ["groups"]});
    let require = json!({"claims": [{"claim": "tier", "any_of": "3"}]});
    let mut scene = scene(service(json!({})), json!({"assertion": assertion, "require": require}));
    let upstream = scene.send(bearer(&good())).allowed();
    assert_eq!(upstream.header("x-groups"), Some("a,b"));
    assert_eq!(upstream.header("x-tier"), Some("3"));
    assert_eq!(upstream.header("x-sub"), Some("ann"));
    assert!(is_asserted(upstream.header("x-oidc-assertion").unwrap(), "groups", json!(["a", "b"])));
    let call = scene.calls.iter().find(|call| call.url == SERVICE).unwrap();
    assert_eq!((call.method, call.cluster.as_str()), ("POST", "attributes"));
    assert_eq!(serde_json::from_str::<Value>(&call.body).unwrap(), json!({"issuer": ISSUER, "subject": "ann"}));
    assert!(!call.body.contains(&good()), "nobody needs the token");
    assert_eq!(call.header("authorization"), None);
    // Of the next minute, the answer is known; of another subject, it is not.
    scene.send(bearer(&token(json!({"jti": "2"})))).allowed();
    assert_eq!(asked(&scene, SERVICE), 1);
    scene.send(bearer(&token(json!({"sub": "bob"})))).allowed();
    assert_eq!(asked(&scene, SERVICE), 2);
    scene.pass_seconds(61);
    scene.provider.serve(SERVICE, says_json(json!({"groups": "c", "tier": 3})));
    let upstream = scene.send(bearer(&good())).allowed();
    assert_eq!(upstream.header("x-groups"), Some("c"));
    // What was signed with the other groups is not written again.
    assert!(is_asserted(upstream.header("x-oidc-assertion").unwrap(), "groups", json!("c")));
    scene.pass_seconds(61);
    scene.provider.serve(SERVICE, says_json(json!({"groups": "c", "tier": 2})));
    scene.send(bearer(&good())).refused(403, "insufficient_claims");
}

fn is_asserted(assertion: &str, name: &str, expected: Value) -> bool {
    use base64::Engine as _;
    let payload = assertion.split('.').nth(1).unwrap();
    let payload = base64::prelude::BASE64_URL_SAFE_NO_PAD.decode(payload).unwrap();
    serde_json::from_slice::<Value>(&payload).unwrap()[name] == expected
}

/// ENR-02: a claim that a source is asked for comes from there or from nowhere.
#[test]
fn the_token_s_own_claim_does_not_stand_in() {
    let own = token(json!({"groups": ["admin"], "tier": 9, "email": "a@b.c"}));
    let mut scene = scene(service(json!({"optional": true})), json!({}));
    let upstream = scene.send(bearer(&own)).allowed();
    assert_eq!((upstream.header("x-groups"), upstream.header("x-email")), (Some("a,b"), Some("a@b.c")));
    for silence in [says_json(json!({})), status(404), status(500), Answer::Refuses, says(200, "text/html", "<html>")] {
        scene.pass_seconds(61);
        scene.provider.serve(SERVICE, silence);
        let upstream = scene.send(bearer(&own)).allowed();
        assert_eq!((upstream.header("x-groups"), upstream.header("x-tier")), (None, None));
        assert_eq!(upstream.header("x-email"), Some("a@b.c"));
    }
}

/// ENR-03: without an answer, nothing goes on, unless that is optional; and who is silent is left alone for a while.
#[test]
fn a_silent_source_closes_the_door() {
    let answers = [
        status(500),
        status(401),
        status(403),
        Answer::Refuses,
        says(200, "text/html", "<html>"),
        says(200, "application/json", "[]"),
        says(200, "application/json", r#"{"groups":1,"groups":2}"#),
        says(200, "application/json", r#"{"error":"the directory is down"}"#),
        says(200, "application/json", r#"{"groups":[],"error":{"code":7}}"#),
        says(200, "application/json", format!(r#"{{"groups":"{}"}}"#, "x".repeat(70_000))),
    ];
    for answer in answers {
        let mut scene = scene(service(json!({})), json!({}));
        scene.provider.serve(SERVICE, answer);
        scene.send(bearer(&good())).refused(503, "provider_unavailable");
        scene.send(bearer(&good())).refused(503, "provider_unavailable");
        assert_eq!(asked(&scene, SERVICE), 1);
        scene.provider.serve(SERVICE, says_json(json!({"groups": "a"})));
        // Of another subject, it is asked all the same.
        scene.send(bearer(&token(json!({"sub": "bob"})))).allowed();
        scene.pass_seconds(6);
        scene.send(bearer(&good())).allowed();
    }
    // What is empty says nothing.
    let mut scene = self::scene(service(json!({})), json!({}));
    scene.provider.serve(SERVICE, says_json(json!({"groups": "a", "error": null})));
    scene.send(bearer(&good())).allowed();
    // It strips nothing: the token is good.
    let mut scene = self::scene(service(json!({})), json!({"enforce": false}));
    scene.provider.serve(SERVICE, status(500));
    scene.send(bearer(&good())).refused(503, "provider_unavailable");
    // Nobody can be asked about nobody.
    let nobody = token(json!({"sub": null}));
    let mut scene = self::scene(service(json!({})), json!({}));
    scene.send(bearer(&nobody)).refused(403, "insufficient_claims");
    let mut scene = self::scene(service(json!({"optional": true})), json!({}));
    scene.send(bearer(&nobody)).allowed();
    assert_eq!(asked(&scene, SERVICE), 0);
}

/// ENR-04: nothing is asked about a token that is no good.
#[test]
fn only_good_tokens_are_asked_about() {
    let mut scene = scene(service(json!({})), json!({}));
    scene.send(bearer(&token(json!({"exp": NOW - 3600})))).refused(401, "expired");
    scene.send(bearer(&token(json!({"aud": "other"})))).refused(401, "wrong_audience");
    scene.send(bearer("a.b.c")).refused(401, "malformed_token");
    scene.send(bare()).refused(401, "missing_token");
    assert_eq!(asked(&scene, SERVICE), 0);
}

/// ENR-05: one call for all who ask the same, also where no answer is kept.
#[test]
fn many_wait_for_one_answer() {
    let mut scene = scene(service(json!({"cache": 0})), json!({}));
    let streams: Vec<_> = (0..20).map(|_| scene.begin(bearer(&good()))).collect();
    scene.settle();
    for stream in streams {
        assert_eq!(scene.seen(stream).allowed().header("x-groups"), Some("a,b"));
    }
    assert_eq!(asked(&scene, SERVICE), 1);
    scene.pass_seconds(1);
    scene.send(bearer(&good())).allowed();
    assert_eq!(asked(&scene, SERVICE), 2);
}

/// ENR-06: a JWT brings what only userinfo has; an answer about somebody else is none.
#[test]
fn userinfo_of_the_token_s_own_provider() {
    for enrich in [json!("userinfo"), json!({"source": "userinfo", "claims": ["email"]})] {
        let mut scene = scene(enrich.clone(), json!({}));
        let about =
            json!({"sub": "ann", "email": "ann@example.com", "groups": "g", "aud": "other", "scope": "all", "exp": 1});
        scene.provider.users.insert(good(), about);
        let upstream = scene.send(bearer(&good())).allowed();
        assert_eq!(upstream.header("x-email"), Some("ann@example.com"));
        assert_eq!(upstream.header("x-groups"), enrich.is_string().then_some("g"));
        scene.send(bearer(&good())).allowed();
        assert_eq!(asked(&scene, &format!("{ISSUER}/userinfo")), 1);
        let other = token(json!({"jti": "other"}));
        scene.provider.users.insert(other.clone(), json!({"sub": "bob", "email": "bob@example.com"}));
        scene.send(bearer(&other)).refused(503, "provider_unavailable");
    }
    // The two are compared as the provider calls its user, and the service is asked as the operator does.
    let mapping = json!({"claim_mapping": {"sub": "oid"}});
    let top = json!({"enrich": ["userinfo", service(json!({"claims": "tier"}))], "claim_headers": [
        {"header": "x-email", "claim": "email"}, {"header": "x-sub", "claim": "sub"}, {"header": "x-tier", "claim": "tier"},
    ]});
    let mut scene = Scene::of(jwt(mapping, top));
    scene.provider.serve(SERVICE, says_json(json!({"tier": 3})));
    let own = token(json!({"sub": "ann", "oid": "7"}));
    scene.provider.users.insert(own.clone(), json!({"sub": "ann", "email": "ann@example.com"}));
    let upstream = scene.send(bearer(&own)).allowed();
    let told = ["x-email", "x-sub", "x-tier"].map(|header| upstream.header(header));
    assert_eq!(told, [Some("ann@example.com"), Some("7"), Some("3")]);
    let call = scene.calls.iter().find(|call| call.url == SERVICE).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&call.body).unwrap(), json!({"issuer": ISSUER, "subject": "7"}));
    let other = token(json!({"sub": "ann", "oid": "bob"}));
    scene.provider.users.insert(other.clone(), json!({"sub": "bob", "email": "bob@example.com"}));
    scene.send(bearer(&other)).refused(503, "provider_unavailable");
    // Without a userinfo endpoint, nobody can be asked.
    let mut scene = Scene::cold(jwt(json!({}), json!({"enrich": "userinfo"})));
    scene.provider.metadata(json!({"userinfo_endpoint": null}));
    scene.tick();
    scene.send(bearer(&good())).refused(503, "misconfigured");
}

/// ENR-15: the token's own provider says that it is none of its good ones: that is a no, also where its claims would not be missed.
#[test]
fn a_token_that_userinfo_calls_invalid() {
    let frozen = says_json(json!({"sub": "ann", "email": "ann@example.com", "active": false}));
    for answer in [status(401), frozen] {
        for enrich in [json!("userinfo"), json!({"source": "userinfo", "claims": "email", "optional": true})] {
            let rules = json!([{"match": {"path": "/plain"}, "enrich": []}]);
            let mut scene = scene(enrich, json!({"rules": rules}));
            scene.provider.users.insert(good(), json!({"sub": "ann", "email": "ann@example.com"}));
            scene.send(bearer(&good())).allowed();
            scene.provider.at("/userinfo", answer.clone());
            let revoked = token(json!({"jti": "revoked"}));
            for _ in 0..2 {
                scene.send(bearer(&revoked)).refused(401, "inactive");
            }
            assert_eq!(asked(&scene, &format!("{ISSUER}/userinfo")), 2, "it is asked once, for some time");
            // What is known of another token stays, and so does the signature.
            scene.send(bearer(&good())).allowed();
            scene.send(get("/plain").bearer(&revoked)).allowed();
            scene.pass_seconds(61);
            scene.send(bearer(&good())).refused(401, "inactive");
            scene.provider.at("/userinfo", Answer::TellsUser);
            scene.pass_seconds(6);
            scene.send(bearer(&good())).allowed();
        }
    }
}

/// ENR-16: a token may be good, and give nobody a right to ask userinfo: that is no reason to try again later.
#[test]
fn a_token_that_is_not_for_userinfo() {
    for (optional, is_allowed) in [(false, false), (true, true)] {
        let mut scene = scene(json!({"source": "userinfo", "claims": "email", "optional": optional}), json!({}));
        scene.provider.at("/userinfo", status(403));
        for _ in 0..2 {
            let seen = scene.send(bearer(&token(json!({"email": "own@example.com"}))));
            if is_allowed {
                assert_eq!(seen.allowed().header("x-email"), None);
            } else {
                seen.refused(403, "insufficient_claims");
            }
        }
        assert_eq!(asked(&scene, &format!("{ISSUER}/userinfo")), 1);
    }
}

/// ENR-07: sources are asked in order, and none twice, although no answer is kept.
#[test]
fn several_sources_in_order() {
    const OTHER: &str = "https://other.internal/about";
    let other = json!({"uri": OTHER, "claims": {"name": "email", "path": "contact.mail"}, "cache": 0});
    let mut scene =
        scene(json!([service(json!({"cache": 0})), other, {"source": "userinfo", "claims": "phone"}]), json!({}));
    scene.provider.serve(OTHER, says_json(json!({"contact": {"mail": "x@y.z"}, "groups": "never"})));
    scene.provider.users.insert(good(), json!({"sub": "ann", "phone": "1"}));
    let stream = scene.begin(bearer(&good()));
    scene.settle_slowly();
    let upstream = scene.seen(stream).allowed();
    assert_eq!((upstream.header("x-groups"), upstream.header("x-email")), (Some("a,b"), Some("x@y.z")));
    let urls: Vec<&str> =
        scene.calls.iter().map(|call| call.url.as_str()).filter(|url| !url.contains("jwks")).collect();
    let userinfo = format!("{ISSUER}/userinfo");
    assert_eq!(urls.iter().rev().take(3).rev().copied().collect::<Vec<_>>(), [SERVICE, OTHER, &userinfo]);
}

/// ENR-08: the claims of an opaque token's answer, which is not kept either, are there when the source has spoken.
#[test]
fn a_source_beside_an_answer_that_is_not_kept() {
    let top =
        json!({"enrich": service(json!({"cache": 0})), "claim_headers": {"header": "x-groups", "claim": "groups"}});
    let mut scene = Scene::of(introspection(json!({"introspection": {"cache": 0}}), top));
    scene.provider.serve(SERVICE, says_json(json!({"groups": "a"})));
    scene.provider.tokens.insert("t".to_owned(), active(json!({})));
    let stream = scene.begin(bearer("t"));
    scene.settle_slowly();
    assert_eq!(scene.seen(stream).allowed().header("x-groups"), Some("a"));
    assert_eq!((asked(&scene, SERVICE), asked(&scene, &format!("{ISSUER}/introspect"))), (1, 1));
}

/// ENR-09: a million subjects take no more room than there is, and one that doesn't answer keeps nobody else waiting for ever.
#[test]
fn a_source_that_never_answers() {
    let mut scene = scene(service(json!({})), json!({}));
    scene.provider.serve(SERVICE, Answer::IsLost);
    let stream = scene.begin(bearer(&good()));
    scene.settle();
    assert!(scene.seen(stream).is_waiting());
    scene.pass_seconds(70);
    scene.tick();
    scene.seen(stream).refused(503, "provider_unavailable");
}

/// ENR-09: what one source has said weighs, too, while another is waited for: 64 MiB for all who wait.
#[test]
fn what_was_said_weighs_while_another_source_is_waited_for() {
    let other = json!({"uri": "https://other.internal/about", "cluster": "attributes", "claims": "email", "cache": 0});
    let mut scene = scene(json!([service(json!({"cache": 0})), other]), json!({}));
    scene.provider.serve(SERVICE, says_json(json!({"groups": vec!["a"; 15_000], "tier": 3})));
    scene.provider.serve("https://other.internal/about", Answer::IsLost);
    let streams: Vec<_> = (0..100)
        .map(|number| {
            let stream = scene.begin(bearer(&token(json!({"sub": format!("user-{number}")}))));
            scene.settle();
            stream
        })
        .collect();
    let waiting = streams.iter().filter(|stream| scene.seen(**stream).is_waiting()).count();
    assert!((60..80).contains(&waiting), "{waiting}");
    scene.seen(streams[99]).refused(503, "overloaded");
}

/// ENR-10: a candidate policy is not what a request waits for.
#[test]
fn a_candidate_s_source() {
    let require = json!({"claims": [{"claim": "tier", "any_of": "3"}]});
    let shadow = json!({"shadow": {"enrich": service(json!({})), "require": require}});
    let mut scene = Scene::of(jwt(json!({}), shadow));
    scene.provider.serve(SERVICE, says_json(json!({"tier": 3})));
    assert_eq!(scene.send(bearer(&good())).allowed().shadow.unwrap().as_str(), "undecided");
    assert_eq!(scene.send(bearer(&good())).allowed().shadow.unwrap().words(), ("allowed", "none"));
}

/// ENR-11: one opaque token that two providers know, with one `sub`: each one's userinfo is for its own subject alone.
#[test]
fn what_one_provider_says_is_not_another_s() {
    const OTHER: &str = "https://other.example";
    let provider = |issuer: &str| json!({"issuer": issuer, "audiences": AUDIENCE, "validation": "introspection"});
    let mut scene = Scene::of(json!({
        "providers": [provider(ISSUER), provider(OTHER)],
        "access_token": [
            {"key": "x-one", "provider": "idp.example.com"}, {"key": "x-two", "provider": "other.example"},
        ],
        "enrich": "userinfo",
        "claim_headers": {"header": "x-groups", "claim": "groups"},
    }));
    scene.provider.add_issuer(OTHER, &[]);
    let says_groups = |groups: &str| says_json(json!({"sub": "ann", "groups": groups}));
    scene.provider.at("/userinfo", says_groups("one"));
    scene.provider.serve(&format!("{OTHER}/userinfo"), says_groups("two"));
    scene.provider.at("/introspect", says_json(active(json!({}))));
    scene.provider.serve(&format!("{OTHER}/introspect"), says_json(active(json!({"iss": OTHER}))));
    scene.pass_seconds(20);
    for (place, groups) in [("x-one", "one"), ("x-two", "two"), ("x-one", "one")] {
        assert_eq!(scene.send(bare().header(place, "t")).allowed().header("x-groups"), Some(groups), "{place}");
    }
}

/// ENR-12: under one rule a source takes a claim away, under another it says nothing of that claim: one token, two identities.
#[test]
fn an_assertion_is_of_the_sources_that_were_asked() {
    let key = json!({"kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"});
    let assertion = json!({"issuer": "https://edge", "audience": "b", "keys": key, "claims": ["groups"]});
    let rules = json!([
        {"match": {"path": "/tier"}, "enrich": service(json!({"claims": "tier", "optional": true}))},
        {"match": {"path": "/groups"}, "enrich": service(json!({"claims": "groups", "optional": true}))},
    ]);
    for answer in [says_json(json!({})), status(404), status(500)] {
        let mut scene = scene(json!([]), json!({"assertion": assertion, "rules": rules}));
        scene.provider.serve(SERVICE, answer);
        let own = token(json!({"groups": ["admin"]}));
        for (path, groups) in [("/tier", json!(["admin"])), ("/groups", Value::Null), ("/", json!(["admin"]))] {
            let upstream = scene.send(get(path).bearer(&own)).allowed();
            assert!(is_asserted(upstream.header("x-oidc-assertion").unwrap(), "groups", groups), "{path}");
        }
    }
}

/// ENR-13: the silence of a source that may be silent is no yes.
#[test]
fn what_must_be_absent_comes_from_who_answers() {
    let read = |enrich: Value, claim: Value, in_rule: bool| {
        let policy = json!({"enrich": enrich, "require": {"claims": [claim]}});
        let top = if in_rule { json!({"rules": [with(policy, json!({"match": {"path": "/a"}}))]}) } else { policy };
        let configuration = jwt(json!({}), top).to_string();
        Config::read(configuration.as_bytes(), &|_: &str| None).map_err(|error| error.to_string())
    };
    let optional = |claims: Value| service(json!({"claims": claims, "optional": true}));
    let absent = |name: &str| json!({"claim": name, "absent": true});
    for (enrich, claim) in [
        (optional(json!("blocked")), absent("blocked")),
        (optional(json!("blocked")), json!({"path": "blocked.since", "absent": true})),
        (json!({"source": "userinfo", "optional": true}), absent("blocked")),
    ] {
        for (in_rule, path) in [(false, "require.claims[0]: "), (true, "rules[0].require.claims[0]: ")] {
            let error = read(enrich.clone(), claim.clone(), in_rule).err().unwrap();
            assert!(error.starts_with(path) && error.contains("optional"), "{error}");
        }
    }
    // What operations need is no different.
    for (list, path) in [
        (json!({"tools": [{"name": "list"}, {"name": "run", "claims": absent("blocked")}]}), "tools[1].claims[0]: "),
        (json!({"prompts": {"name": "*", "claims": [absent("a"), absent("blocked")]}}), "prompts[0].claims[1]: "),
        (json!({"resources": {"name": "*", "claims": absent("blocked")}}), "resources[0].claims[0]: "),
        (json!({"default": {"claims": absent("blocked")}}), "default.claims[0]: "),
    ] {
        let mcp = with(json!({"resource": "https://mcp.example.com/mcp"}), list);
        let in_rule = json!({"match": {"path": "/a"}, "enrich": optional(json!("blocked"))});
        for (top, at) in [
            (json!({"mcp": mcp, "enrich": optional(json!("blocked"))}), "mcp."),
            (json!({"mcp": mcp, "rules": [in_rule]}), "rules[0].mcp."),
            (json!({"mcp": mcp, "shadow": {"enrich": optional(json!("blocked"))}}), "shadow.mcp."),
        ] {
            let error = Config::read(jwt(json!({}), top).to_string().as_bytes(), &|_: &str| None).err().unwrap();
            let error = error.to_string();
            assert!(error.starts_with(&format!("{at}{path}")) && error.contains("optional"), "{error}");
        }
        let certain = json!({"mcp": mcp, "enrich": service(json!({"claims": "blocked"}))});
        Config::read(jwt(json!({}), certain).to_string().as_bytes(), &|_: &str| None).unwrap();
    }
    for (enrich, claim) in [
        (service(json!({"claims": "blocked"})), absent("blocked")),
        (optional(json!("tier")), absent("blocked")),
        // No source can bring it.
        (json!({"source": "userinfo", "optional": true}), absent("act")),
        (optional(json!("blocked")), json!({"claim": "blocked", "none_of": "yes"})),
    ] {
        read(enrich, claim, false).unwrap();
    }
    // `none_of` wants a claim that is there.
    let require = json!({"claims": [{"claim": "tier", "none_of": "9"}]});
    let mut scene = scene(service(json!({"optional": true})), json!({"require": require}));
    scene.provider.serve(SERVICE, status(500));
    scene.send(bearer(&good())).refused(403, "insufficient_claims");
}

/// ENR-14: whether an address is verified is told by whoever tells the address, and by nobody else.
#[test]
fn another_s_address_is_not_the_verified_one() {
    let own = token(json!({
        "email": "ann@example.com", "email_verified": true, "xms_edov": true, "phone_number_verified": true,
    }));
    let verified = |enrich: Value, answer: Value| {
        let headers = json!([
            {"header": "x-email", "claim": "email"}, {"header": "x-verified", "claim": "email_verified"},
            {"header": "x-domain-verified", "claim": "xms_edov"},
        ]);
        let mut scene = Scene::of(jwt(json!({}), json!({"enrich": enrich, "claim_headers": headers})));
        scene.provider.serve(SERVICE, says_json(answer.clone()));
        scene.provider.users.insert(own.clone(), with(json!({"sub": "ann"}), answer));
        let upstream = scene.send(bearer(&own)).allowed();
        let is_own = upstream.header("x-email") == Some("ann@example.com");
        assert_eq!(upstream.header("x-domain-verified"), is_own.then_some("true"), "Entra's");
        (upstream.header("x-email").map(str::to_owned), upstream.header("x-verified").map(str::to_owned))
    };
    let other = || Some("root@example.com".to_owned());
    let text = |text: &str| Some(text.to_owned());
    let email = service(json!({"claims": "email"}));
    for enrich in [email.clone(), json!("userinfo")] {
        assert_eq!(verified(enrich.clone(), json!({"email": "root@example.com"})), (other(), None));
    }
    let both = service(json!({"claims": ["email", "email_verified"]}));
    for enrich in [both, json!("userinfo")] {
        let answer = json!({"email": "root@example.com", "email_verified": false});
        assert_eq!(verified(enrich, answer), (other(), text("false")));
    }
    // Who was asked for the address and has none has taken the token's own away.
    assert_eq!(verified(email, json!({})), (None, None));
    assert_eq!(verified(json!("userinfo"), json!({})), (text("ann@example.com"), text("true")));
    assert_eq!(verified(service(json!({})), json!({"email": "x"})), (text("ann@example.com"), text("true")));
}

/// ENR-14: nor is the token's own address the verified one where a source says so of another's, and only that is asked for.
#[test]
fn what_a_source_has_verified_is_its_own_address() {
    let verified = |own: Value, enrich: Value, answer: Value| {
        let own = token(with(json!({"email": "root@example.com"}), own));
        let headers = json!([
            {"header": "x-email", "claim": "email"}, {"header": "x-verified", "claim": "email_verified"},
            {"header": "x-phone-verified", "claim": "phone_number_verified"},
        ]);
        let mut scene = Scene::of(jwt(json!({}), json!({"enrich": enrich, "claim_headers": headers})));
        scene.provider.serve(SERVICE, says_json(answer.clone()));
        scene.provider.users.insert(own.clone(), with(json!({"sub": "ann"}), answer));
        let upstream = scene.send(bearer(&own)).allowed();
        let names = ["x-email", "x-verified", "x-phone-verified"];
        names.map(|name| upstream.header(name).unwrap_or_default().to_owned())
    };
    let verdicts = json!(["email_verified", "phone_number_verified"]);
    for enrich in [service(json!({"claims": verdicts})), json!({"source": "userinfo", "claims": verdicts})] {
        let told = |own: Value, answer: Value| verified(own, enrich.clone(), answer);
        let both = json!({"email_verified": true, "phone_number_verified": true});
        let others = with(both.clone(), json!({"email": "ann@example.com", "phone_number": "+1"}));
        assert_eq!(told(json!({}), others.clone()), ["root@example.com", "", ""]);
        assert_eq!(told(json!({"email": "ann@example.com"}), others.clone()), ["ann@example.com", "true", ""]);
        assert_eq!(told(json!({"phone_number": "+1"}), others), ["root@example.com", "", "true"]);
        // Who names no address has been asked about the only one that there is.
        assert_eq!(told(json!({}), both), ["root@example.com", "true", "true"]);
    }
    let all = json!({"email": "ann@example.com", "email_verified": true});
    assert_eq!(verified(json!({}), json!("userinfo"), all), ["ann@example.com", "true", ""]);
}
