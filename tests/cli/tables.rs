//! `test`: tables of requests with the verdicts that are expected. `tests/envoy/test_explain.py` plays the same tables on a real Envoy.

use crate::{here, printed, root, run};
use regex_lite::Regex;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;

/// A small table with this one test in it.
fn table(test: &str) -> String {
    format!(
        "configuration:\n  providers: [{{ issuer: https://idp.example.com, audiences: [api], validation: jwt }}]\n  \
         claim_headers: [{{ header: x-user, claim: sub }}]\ntests:\n  - {test}\n"
    )
}

#[test]
fn every_table_is_as_expected() {
    let mut count = 0;
    let mut files: Vec<String> =
        fs::read_dir(here("tables")).unwrap().map(|entry| entry.unwrap().path().display().to_string()).collect();
    files.sort();
    let arguments: Vec<&str> = ["test", "--json"].into_iter().chain(files.iter().map(String::as_str)).collect();
    let outcome: Value = serde_json::from_str(&printed(&arguments, "")).unwrap();
    for test in outcome["tests"].as_array().unwrap() {
        assert_eq!(test["passed"], true, "{test:#}");
        count += 1;
    }
    assert!(count >= 60, "{count}");
}

/// What came otherwise is told with its line, what was expected, what came, and why.
#[test]
fn what_is_not_as_expected_is_told() {
    let ended = run(
        &["test", "-"],
        &table(
            "{ name: an old one, request: GET /, claims: { exp: 1700000000 }, expect: { result: allowed, service: { x-user: ann } } }",
        ),
    );
    assert_eq!(ended.code, 1, "{}", ended.err);
    for line in [
        "-:5:5: an old one\n",
        "  - result: allowed\n  + result: denied\n",
        "  - service.x-user: ann\n  + service.x-user: none\n",
        "it ended at 2023-11-14T22:13:20Z, ",
        "0 as expected, 1 not\n",
    ] {
        assert!(ended.out.contains(line), "{line}: {}", ended.out);
    }
}

/// A token that is bound to a key comes with a proof for its request, good or bad.
#[test]
fn bound_tokens_come_with_their_proofs() {
    let text = "configuration:
  providers:
    - { name: main, issuer: https://idp.example.com, audiences: [api], validation: jwt }
    - { name: asked, issuer: https://asked.example.com, audiences: [api], validation: introspection, token_prefixes: [t_] }
  claim_headers: [{ header: x-user, claim: sub }]
  dpop: { origins: [\"https://api.example.com\"] }
  rules: [{ match: { path_prefix: /pay }, dpop: { mode: required, nonce: required } }]
tests:
  - { request: GET https://api.example.com/orders?a=1, provider: main, claims: { sub: ann }, dpop: true, expect: { result: allowed, service: { x-user: ann, dpop: null } } }
  - { request: GET https://api.example.com/orders, provider: asked, claims: { sub: ann }, dpop: true, expect: { result: allowed, service: { x-user: ann } } }
  - { request: GET https://api.example.com/orders, provider: main, claims: { sub: ann }, dpop: { htm: POST }, expect: invalid_dpop_proof }
  - { request: GET https://api.example.com/orders, provider: main, claims: { sub: ann }, dpop: { ath: null }, expect: invalid_dpop_proof }
  - { request: GET https://api.example.com/orders, provider: main, claims: { cnf: { jkt: bTMJ-KLDGrA5trdaZSXn6A8p6KEGvlfNjN1dQu3CwrU } }, dpop: true, expect: invalid_dpop_proof }
  - { request: GET /orders, provider: main, claims: { sub: ann }, dpop: true, expect: invalid_dpop_proof }
  - { request: GET https://api.example.com/pay, provider: main, claims: { sub: ann }, dpop: true, expect: use_dpop_nonce }
  - { request: GET https://api.example.com/pay, provider: main, claims: { sub: ann }, expect: not_bound }
";
    let out = printed(&["test", "-"], text);
    assert_eq!(out, "8 as expected\n");
    let last = |test: &str| run(&["test", "-"], &table(test)).err;
    let problem = last("{ request: GET /, dpop: true, expect: allowed }");
    assert!(problem.contains("-:5:5: `dpop` needs `claims`"), "{problem}");
    let problem = last("{ request: GET /, claims: {}, dpop: 1, expect: allowed }");
    assert!(problem.contains("`dpop` is true, or an object"), "{problem}");
}

/// Each part of an expectation can fail.
#[test]
fn no_expectation_holds_whatever_comes() {
    for (expected, found) in [
        ("denied", "result: allowed"),
        ("expired", "reason: allowed"),
        ("401", "status: none"),
        ("{ reason: expired }", "reason: allowed"),
        ("{ result: allowed, reason: missing_token }", "reason: none"),
        ("{ rule: admin }", "rule: none"),
        ("{ provider: other }", "provider: idp.example.com"),
        ("{ candidate: denied }", "candidate: none"),
        ("{ service: { x-user: null } }", "service.x-user: ann"),
        ("{ service: { x-user: [ann, bob] } }", "service.x-user: ann"),
        ("{ client: { location: /login } }", "client.location: none"),
    ] {
        let test = format!("{{ request: GET /, claims: {{ sub: ann }}, expect: {expected} }}");
        let ended = run(&["test", "-"], &table(&test));
        assert_eq!(ended.code, 1, "{expected}: {}{}", ended.out, ended.err);
        assert!(ended.out.contains(&format!("  + {found}\n")), "{expected}: {}", ended.out);
    }
    printed(
        &["test", "-"],
        &table(
            "{ request: GET /, claims: { sub: ann }, expect: { result: allowed, reason: none, status: none, rule: none, candidate: none, provider: idp.example.com, service: { x-user: ann } } }",
        ),
    );
}

/// A table that can't be read is no test that passes.
#[test]
fn mistakes_in_a_table_are_told_with_their_line() {
    for (test, said) in [
        ("{ request: GET /, expect: alowed }", "`expect` must be"),
        ("{ request: GET /, expect: { result: alowed } }", "`result` has no such word"),
        ("{ request: GET /, expect: { reason: expird } }", "`reason` has no such word"),
        (
            "{ request: GET /, expect: { reslt: allowed } }",
            "`reslt`: unknown field, did you mean `result`? Expected one of",
        ),
        ("{ request: GET /, expct: allowed }", "`expct`: unknown field, did you mean `expect`?"),
        ("{ request: GET /, expect: 999 }", "`expect` must be"),
        ("{ request: GET /, claims: [sub], expect: denied }", "`claims` must be an object, not a list"),
        ("{ request: { path: / }, expect: denied }", "`request` must be a text, not an object"),
        ("{ request: GET /, headers: [x-a], expect: denied }", "`headers` must be an object"),
        ("{ request: GET /, headers: { x a: b }, expect: denied }", "is no name of a header"),
        (
            "{ request: GET /, answers: { \"https://idp.example.com\": { status: 99 } }, expect: denied }",
            "from 200 to 599",
        ),
        ("{ request: \"https:///\", expect: denied }", "names no host"),
        ("{ request: GET /, expect: { status: soon } }", "`status` has no such word"),
        (
            "{ request: GET /, claim: {}, expect: allowed }",
            "`claim`: unknown field, did you mean `claims`? Expected one of",
        ),
        ("{ request: GET /, claims: {}, token: a, expect: allowed }", "`token` and `claims`: one of the two"),
        ("{ request: GET /, claims: {}, provider: other, expect: allowed }", "whose token is made: idp.example.com"),
        ("{ request: orders, expect: allowed }", "neither a path, which begins with a slash, nor a URL"),
        ("{ request: GET / HTTP/1.1, expect: allowed }", "is no request"),
        ("{ expect: allowed }", "`request` is missing"),
        ("{ request: GET / }", "`expect` is missing"),
        ("{ request: GET /, token_file: no/such, expect: allowed }", "no/such: there is no such file"),
        ("{ request: GET /, keys: no/such, expect: allowed }", "no/such: there is no such file"),
        ("{ request: GET /, keys: no=such, expect: allowed }", "no=such: there is no such file"),
        (
            "{ request: GET /, answers: { \"https://idp.example.com\": no/such }, expect: denied }",
            "no/such: there is no such file",
        ),
        ("{ request: GET /, certificate: abc, expect: allowed }", "64 hexadecimal digits"),
    ] {
        let ended = run(&["test", "-"], &table(test));
        assert_eq!(ended.code, 2, "{test}: {}{}", ended.out, ended.err);
        assert!(ended.err.contains(said), "{test}: {}", ended.err);
        assert!(ended.err.contains("-:5:"), "{test}: {}", ended.err);
    }
    let configuration = "configuration: { provider: 1 }\ntests: [{ request: /, expect: allowed }]\n";
    assert!(run(&["test", "-"], configuration).err.contains("-:1:16: provider: "));
    assert!(run(&["test", "-"], "tests: []\n").err.contains("`configuration` is missing"));
    assert!(
        run(&["test", "-"], "tests: []\nconfiguration: { provider: https://a }\n").err.contains("`tests` is empty")
    );
    let named = run(&["test", "-"], "tests: [{ request: /, expect: allowed }]\nconfiguration: no/such\n").err;
    assert!(named.contains("-:2:16: no/such: there is no such file"), "{named}");
    let late = run(&["test", "-"], "configuration: { provider: https://a }\ntests: []\nnow: soon\n").err;
    assert!(late.contains("-:3:6: "), "{late}");
    assert!(run(&["test", "-"], "configuration: { provider: https://a }\n").err.contains("`tests` is missing"));
}

/// The same table for another configuration; and one that stands in a manifest.
#[test]
fn the_configuration_may_be_elsewhere() {
    let folder = root().join("target/tmp/tables");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("shop.yaml");
    let base = here("base/envoy.yaml");
    let tests = "tests:\n  - { request: GET /api/things, expect: missing_token }\n";
    fs::write(&path, format!("configuration: {}\n{tests}", base.display())).unwrap();
    let path = path.to_str().unwrap();
    assert_eq!(printed(&["test", path], ""), "1 as expected\n");
    let open = folder.join("open.json");
    fs::write(&open, r#"{"provider": "https://idp.example.com", "enforce": true, "allow_missing": true}"#).unwrap();
    let ended = run(&["test", path, "--configuration", open.to_str().unwrap()], "");
    assert_eq!(ended.code, 0, "{}", ended.out);
    fs::write(
        &open,
        r#"{"provider": "https://idp.example.com", "rules": {"match": {"path": "/api/things"}, "bypass": true}}"#,
    )
    .unwrap();
    let ended = run(&["test", path, "--configuration", open.to_str().unwrap()], "");
    assert_eq!(ended.code, 1, "{}", ended.out);
    assert!(ended.out.contains("  - reason: missing_token\n  + reason: bypassed\n"), "{}", ended.out);
}

/// A call that has no answer is one to a provider that does not answer, and is told.
#[test]
fn a_lacking_answer_is_told() {
    let ended = run(
        &["test", "-"],
        &table(
            "{ request: GET /, token: eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJodHRwczovL2lkcC5leGFtcGxlLmNvbSJ9.AAAA, expect: allowed }",
        ),
    );
    assert_eq!(ended.code, 1);
    assert!(
        ended.out.contains("no answer is given for GET https://idp.example.com/.well-known/openid-configuration\n"),
        "{}",
        ended.out
    );
}

/// Tokens can be made for every algorithm that a provider may ask for but those of secrets.
#[test]
fn tokens_are_made_for_every_algorithm() {
    for algorithm in ["EdDSA", "ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] {
        let text = table("{ request: GET /, claims: {}, expect: allowed }");
        let text = text.replace("validation: jwt", &format!("validation: jwt, algorithms: [{algorithm}]"));
        assert_eq!(printed(&["test", "-"], &text), "1 as expected\n", "{algorithm}");
    }
    let secret = "validation: jwt, algorithms: [HS256], jwks: { inline: { keys: [{ kty: oct, k: AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA }] } }";
    let text = table("{ request: GET /, claims: {}, expect: allowed }").replace("validation: jwt", secret);
    let ended = run(&["test", "-"], &text);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("give `token` in place of `claims`"), "{}", ended.err);
}

/// The table of the page about the command.
#[test]
fn the_table_of_the_page_is_one() {
    let page = fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let (_, rest) = page.split_once("```yaml\nconfiguration: envoy.yaml").unwrap();
    let text = rest.split("```").next().unwrap();
    let text = format!("configuration: {}{text}", here("good/keycloak.yaml").display());
    assert_eq!(printed(&["test", "-"], &text), "3 as expected\n");
    // It names every field that is read.
    let section = page.split("\n## test\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let field = Regex::new(r#"fields\.(?:object|take|texts?|word)\("(\w+)""#).unwrap();
    let mut names = BTreeSet::new();
    for file in ["read", "expect"] {
        let code = fs::read_to_string(root().join(format!("src/bin/oidc-filter/table/{file}.rs"))).unwrap();
        names.extend(field.captures_iter(&code).map(|found| found[1].to_owned()));
    }
    assert!(names.len() >= 25, "{names:?}");
    for name in names {
        assert!(section.contains(&format!("`{name}`")) || section.contains(&format!("{name}:")), "{name}");
    }
}

/// The table of the page about MCP, with the configuration of that page.
#[test]
fn the_table_of_the_page_about_mcp_is_one() {
    let page = fs::read_to_string(root().join("docs/mcp.md")).unwrap();
    let block = |start: &str| page.split_once(start).and_then(|(_, rest)| rest.split("```").next()).unwrap();
    let text = format!("configuration: {}{}", block("```json\n").trim(), block("```yaml\nconfiguration: mcp.json"));
    assert_eq!(printed(&["test", "-"], &text), "2 as expected\n");
}
