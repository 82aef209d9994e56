//! `explain`: what the filter does with a request, and why. That it says what a real Envoy does is for `tests/envoy/test_explain.py`.

use crate::support::{Signing, sign};
use crate::{here, printed, root, run};
use base64::Engine as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::PathBuf;

/// When all of this happens.
const NOW: u64 = 1_800_000_000;

fn key() -> Signing {
    Signing::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[7; 32]))
}

fn token(header: Value, claims: Value) -> String {
    let mut base = json!({
        "iss": "https://idp.example.com", "aud": "api", "sub": "ann", "iat": NOW - 60, "exp": NOW + 3600, "scope": "read",
    });
    base.as_object_mut().unwrap().extend(claims.as_object().unwrap().clone());
    let mut head = json!({"alg": "EdDSA", "kid": "k1", "typ": "at+jwt"});
    head.as_object_mut().unwrap().extend(header.as_object().unwrap().clone());
    sign(&key(), "EdDSA", head.to_string(), base.to_string())
}

/// A file of this test's own.
fn file(name: &str, text: &str) -> String {
    let folder: PathBuf = root().join("target/tmp/explain");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    // Tests run side by side: nobody reads half of one.
    let half = folder.join(format!("{name}.{:?}", std::thread::current().id()));
    fs::write(&half, text).unwrap();
    fs::rename(&half, &path).unwrap();
    path.display().to_string()
}

const CONFIGURATION: &str = "providers:
  - { name: main, issuer: https://idp.example.com, cluster: idp, audiences: [api], validation: jwt }
forward: false
claim_headers: [{ header: x-user, claim: sub }]
rules:
  - { name: admin, match: { path_prefix: /admin }, require: { scopes: [admin] } }
  - { match: { path_prefix: /open }, bypass: true }
";

/// The output for a request with a token, and how it ended.
fn explained(token: &str, arguments: &[&str]) -> (i32, String) {
    let configuration = file("configuration.yaml", CONFIGURATION);
    let keys = file("keys.json", &json!({"keys": [key().jwk("k1")]}).to_string());
    let at = NOW.to_string();
    let base = ["explain", &configuration, "--keys", &keys, "--at", &at, "--token", "-"];
    let ended = run(&[&base, arguments].concat(), token);
    assert!(!ended.out.contains(token) && !ended.err.contains(token), "the token itself: {}", ended.out);
    assert!(ended.code < 2, "{}", ended.err);
    (ended.code, ended.out)
}

fn json_of(token: &str, arguments: &[&str]) -> Value {
    let (code, out) = explained(token, &[arguments, &["--json"]].concat());
    assert_eq!(code, 0, "{out}");
    serde_json::from_str(&out).unwrap()
}

#[test]
fn an_allowed_request_is_told_to_its_end() {
    let (code, out) = explained(&token(json!({}), json!({})), &["/orders?secret=1", "-H", "X-User: forged"]);
    assert_eq!(code, 0);
    for line in [
        "GET /orders  no rule: the policy of the top level\n",
        "  ✓ credentials   a token is in the header authorization, scheme Bearer\n",
        "  ✓ validation    a good signature, EdDSA\n",
        "GET https://idp.example.com/.well-known/openid-configuration for metadata of main, cluster idp: 200\n",
        "GET https://idp.example.com/jwks for jwks of main, cluster idp: 200\n",
        "  ✓ requirements  ",
        "\nallowed\n",
        "  exp        2027-01-15T09:00:00Z, in an hour\n",
        "  iat        2027-01-15T07:59:00Z, a minute ago\n",
        "  x-user         ann\n",
        "  authorization  (removed)\n",
        "  status  the service's\n",
    ] {
        assert!(out.contains(line), "{line}:\n{out}");
    }
    assert!(!out.contains("secret=1") && !out.contains("forged"), "{out}");
    assert!(!out.contains('\x1b'), "colours are for terminals");
}

/// Each refusal says what the token has beside what is asked for.
#[test]
fn a_refusal_says_what_is_asked_for_and_what_is_there() {
    let other = "https://other.example.com";
    for (header, claims, path, reason, said) in [
        (
            json!({}),
            json!({"exp": NOW - 7200}),
            "/",
            "expired",
            "it ended at 2027-01-15T06:00:00Z, 2 hours ago, and a clock may differ by a minute",
        ),
        (json!({}), json!({"nbf": NOW + 7200}), "/", "not_yet_valid", "its `nbf` is 2027-01-15T10:00:00Z, in 2 hours"),
        (
            json!({}),
            json!({"aud": "b"}),
            "/",
            "wrong_audience",
            "its `aud` is \"b\", and tokens are taken here for api",
        ),
        (
            json!({}),
            json!({"iss": other}),
            "/",
            "unknown_issuer",
            "its `iss` is \"https://other.example.com\", and tokens are taken here of https://idp.example.com",
        ),
        (
            json!({"kid": "k2"}),
            json!({}),
            "/",
            "unknown_key",
            "no key of its issuer has the name \"k2\" and fits EdDSA",
        ),
        (
            json!({"typ": "logout+jwt"}),
            json!({}),
            "/",
            "wrong_type",
            "its `typ` is \"logout+jwt\", where at+jwt, JWT or none is taken",
        ),
        (json!({}), json!({}), "/admin", "insufficient_scope", "rules[0].require.scopes is not fulfilled"),
    ] {
        let token = token(header, claims);
        let (_, out) = explained(&token, &[path]);
        assert!(out.contains(said), "{reason}: {said}:\n{out}");
        assert!(out.contains(&format!(": {reason}\n")) && out.contains("  What to do: "), "{out}");
        let story = json_of(&token, &[path]);
        assert_eq!((&story["result"], &story["reason"]), (&"denied".into(), &reason.into()));
        assert!(
            story["why"].as_str().into_iter().chain(story["detail"].as_str()).any(|text| text.contains(said)),
            "{story:#}"
        );
        assert_eq!(story["steps"].as_array().unwrap().last().unwrap()["passed"], false, "{story:#}");
    }
}

#[test]
fn no_token_and_no_need_of_one() {
    let configuration = file("configuration.yaml", CONFIGURATION);
    let out = printed(&["explain", &configuration], "");
    assert!(
        out.contains("denied with 401: missing_token\n  no token is in the header authorization, scheme Bearer\n"),
        "{out}"
    );
    assert!(out.contains("  www-authenticate  Bearer realm="), "{out}");
    let out = printed(&["explain", &configuration, "/open"], "");
    assert!(out.contains("GET /open  rules[1]\n") && out.contains("\nbypassed\n"), "{out}");
}

/// A call that nothing answers is told, and the exit code says that the end is not the real one.
#[test]
fn a_call_without_an_answer_is_told() {
    let configuration = file("configuration.yaml", CONFIGURATION);
    let ended = run(&["explain", &configuration, "--token", "-"], &token(json!({}), json!({})));
    assert_eq!(ended.code, 1);
    for line in [
        "GET https://idp.example.com/.well-known/openid-configuration for metadata of main, cluster idp: no answer is given for it",
        "denied with 503: provider_unavailable\n",
    ] {
        assert!(ended.out.contains(line), "{line}: {}", ended.out);
    }
    let answer = "https://idp.example.com/.well-known/openid-configuration=500";
    let ended = run(&["explain", &configuration, "--token", "-", "--answer", answer], &token(json!({}), json!({})));
    assert!(ended.out.contains("cluster idp: 500\n"), "{}", ended.out);
    assert!(
        ended.out.contains("  ! main: metadata: GET https://idp.example.com/.well-known/openid-configuration"),
        "{}",
        ended.out
    );
}

/// What a token is, and nothing else: without a configuration.
#[test]
fn a_token_alone() {
    let jwt = token(json!({}), json!({"note": "a\u{1b}[31mb"}));
    let out = run(&["explain", "--token", "-", "--at", &NOW.to_string()], &jwt).out;
    for line in [
        "  form       JWT, alg EdDSA, kid k1, typ at+jwt\n",
        "  proved by  nothing",
        "in an hour\n",
        "  sub        ann\n",
    ] {
        assert!(out.contains(line), "{line}:\n{out}");
    }
    assert!(!out.contains(&jwt) && !out.contains('\x1b'), "{out}");
    let told: Value = serde_json::from_str(&printed(&["explain", "--json", "--token", "opaque"], "")).unwrap();
    assert_eq!((&told["form"], &told["claims"]), (&"opaque".into(), &json!({})));
    let encrypted = "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkExMjhHQ00ifQ.a.b.c.d";
    assert!(printed(&["explain", "--token", encrypted], "").contains("encrypted JWT"));
    assert_eq!(run(&["explain"], "").code, 2);
}

#[test]
fn colours_are_for_those_who_want_them() {
    let configuration = file("configuration.yaml", CONFIGURATION);
    let out = printed(&["explain", &configuration, "--color", "always"], "");
    assert!(out.contains("\x1b[31mdenied\x1b[0m"), "{out}");
}

/// A request from a file, as HTTP writes it; one of several filters, by its name.
#[test]
fn a_request_from_a_file_and_a_filter_by_its_name() {
    let request =
        file("request.http", "DELETE /admin/x HTTP/1.1\r\nHost: shop.example.com\r\nAuthorization: Basic YTpi\r\n\r\n");
    let configuration = file("configuration.yaml", CONFIGURATION);
    let out = printed(&["explain", &configuration, "--request", &request, "--json"], "");
    let story: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&story["reason"], &story["rule"]), (&"unsupported_token".into(), &"rules[0] admin".into()));
    let base = here("base/envoy.yaml");
    let base = base.to_str().unwrap();
    assert!(printed(&["explain", base, "/"], "").contains("denied"));
    let ended = run(&["explain", base, "/", "--filter", "nobody"], "");
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("holds no configuration of a filter called nobody, but of"), "{}", ended.err);
    let ended = run(&["explain", root().join("envoy/outputs.yaml").to_str().unwrap(), "/"], "");
    assert!(ended.code == 2 && ended.err.contains("oidc, oidc-strip: choose one by `--filter`"), "{}", ended.err);
    // What lint tells of a file that can't be read, the other commands tell, too, and where.
    for (text, explain, render) in [
        ("providers:\n\t- issuer: a\n", "-:2:2: ", "write spaces in its place"),
        ("providers:\n  {{- range .x }}\n  - a\n", "-:2:", "`helm template`"),
        ("provider: 1\n", "-:1:1: provider: ", "-:1:1: provider: "),
        ("a: b\n", "nor a Wasm filter", "expected a configuration"),
    ] {
        for (command, said) in [(&["explain", "-", "/"][..], explain), (&["render", "envoy", "-"], render)] {
            let ended = run(command, text);
            assert!(ended.code == 2 && ended.err.contains(said), "{command:?} {text}: {}", ended.err);
        }
    }
    for (arguments, said) in [
        (&["/", "-H", "nothing"][..], "expected `Name: value`"),
        (&["orders"], "neither a path"),
        (&["/", "--at", "soon"], "is no time"),
        (&["/", "--answer", "x"], "--answer: expected URL=FILE"),
        (&["/", "--answer", "https://idp.example.com/x=999"], "from 200 to 599"),
        (&["/", "--keys", &format!("mian={configuration}")], "no provider is called `mian`; there is main"),
        (&["/", "--metadata", "x"], "expected `namespace:key=value`"),
        (&["/", "--keys", "no/such/file"], "no/such/file"),
    ] {
        let ended = run(&[&["explain", &configuration], arguments].concat(), "");
        assert_eq!(ended.code, 2, "{arguments:?}");
        assert!(ended.err.contains(said), "{arguments:?}: {}", ended.err);
    }
}

/// What may be asked for in other places than headers.
#[test]
fn tokens_are_put_where_the_configuration_looks() {
    for (source, place) in [
        ("{ location: cookie, key: session }", "the cookie session"),
        ("{ location: query_string, key: t }", "the parameter t of the query"),
        ("{ location: metadata, key: t, metadata_filter: front }", "the dynamic metadata front:t"),
        ("{ location: header, key: x-token }", "the header x-token"),
        ("{ location: websocket_protocol, key: bearer }", "the WebSocket protocol behind bearer"),
    ] {
        let text = format!("{CONFIGURATION}access_token: {source}\n");
        let name = format!("source-{}.yaml", place.len());
        let configuration = file(&name, &text);
        let keys = file("keys.json", &json!({"keys": [key().jwk("k1")]}).to_string());
        let arguments = ["explain", &configuration, "--keys", &keys, "--at", "1800000000", "--token", "-", "--json"];
        let ended = run(&arguments, &token(json!({}), json!({})));
        let story: Value = serde_json::from_str(&ended.out).unwrap_or_else(|_| panic!("{}", ended.err));
        assert_eq!((&story["result"], &story["place"]), (&"allowed".into(), &place.into()), "{story:#}");
    }
}

/// The page about the command shows what its second line prints.
#[test]
fn the_page_shows_what_is_printed() {
    let page = fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let section = page.split("\n## explain\n").nth(1).unwrap();
    let line = section.lines().filter_map(|line| line.strip_prefix("oidc-filter explain ")).nth(1).unwrap();
    let arguments: Vec<&str> = std::iter::once("explain").chain(line.split(' ')).collect();
    let shown = section.split("```text\n").nth(1).unwrap().split("```").next().unwrap();
    let out = printed(&arguments, "");
    assert_eq!(out.trim_end(), shown.trim_end());
}

/// A server that is there until the test ends: its origin. What it answers depends on that, on the path, and on the whole request.
fn serve(answers: impl Fn(&str, &str, &str) -> String + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let origin = format!("http://{}", listener.local_addr().unwrap());
    let own = origin.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = String::new();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            while reader.read_line(&mut request).is_ok_and(|length| length > 2) {}
            let length = request.to_ascii_lowercase();
            let length = length.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next());
            let mut body = vec![0; length.map_or(0, |length| length.parse().unwrap())];
            reader.read_exact(&mut body).unwrap();
            request.push_str(&String::from_utf8(body).unwrap());
            let path = request.split(' ').nth(1).unwrap().to_owned();
            // Whoever hangs up early has heard enough.
            let _ = stream.write_all(answers(&own, &path, &request).as_bytes());
        }
    });
    origin
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{body}")
}

/// What becomes of a token of the provider at this origin, which is asked.
fn live(origin: &str, token: &str, fields: &str) -> (i32, String) {
    let text = format!("providers:\n  - {{ issuer: \"{origin}\", cluster: idp, audiences: [api]{fields} }}\n");
    let configuration = file(&format!("live-{}.yaml", origin.rsplit(':').next().unwrap()), &text);
    let ended = run(&["explain", &configuration, "--live", "--token", "-", "--at", &NOW.to_string()], token);
    (ended.code, ended.out.replace(origin, "ORIGIN") + &ended.err)
}

fn metadata(origin: &str) -> String {
    ok(&json!({"issuer": origin, "jwks_uri": format!("{origin}/k"), "introspection_endpoint": format!("{origin}/i")})
        .to_string())
}

/// Metadata and keys come from the provider itself, and so does its word about an opaque token; that goes to nobody else.
#[test]
fn providers_are_asked_where_somebody_says_so() {
    let origin = serve(|origin, path, _| match path {
        "/.well-known/openid-configuration" => metadata(origin),
        "/k" => ok(&json!({"keys": [key().jwk("k1")]}).to_string()),
        _ => panic!("{path}"),
    });
    let (code, out) = live(&origin, &token(json!({}), json!({"iss": origin})), ", validation: jwt");
    assert!(code == 0 && out.contains("\nallowed\n"), "{out}");
    assert!(out.contains("GET ORIGIN/k for jwks of 127.0.0.1, cluster idp: 200\n"), "{out}");
    let origin = serve(|origin, path, request| match path {
        "/.well-known/openid-configuration" => metadata(origin),
        "/i" if request.contains("token=opaque-1") => {
            // RFC 6749, section 2.3.1: `gw` and the secret, each as in a form.
            let credentials = base64::prelude::BASE64_STANDARD.encode("gw:a%22b%5Cc");
            assert!(request.starts_with("POST /i ") && request.contains(&format!("Basic {credentials}")), "{request}");
            ok(r#"{"active": true, "aud": "api", "sub": "ann"}"#)
        }
        _ => panic!("{request}"),
    });
    let secret = r#", validation: introspection, introspection: { client_id: gw, client_secret: "a\"b\\c" }"#;
    let (code, out) = live(&origin, "opaque-1", secret);
    assert!(
        code == 0 && out.contains("\nallowed\n") && out.contains("introspection of 127.0.0.1, cluster idp: 200"),
        "{out}"
    );
    assert!(!out.contains("opaque-1"), "{out}");
}

/// What is too long, leads elsewhere or breaks off is no answer, and says why.
#[test]
fn a_provider_that_answers_badly_is_told() {
    let (code, out) = live(&serve(|_, _, _| ok(&" ".repeat((1 << 20) + 9))), "opaque-1", "");
    assert!(code == 1 && (out.contains("longer than 1048576 bytes") || out.contains("curl: (63)")), "{out}");
    let origin = serve(|origin, path, _| match path {
        "/elsewhere" => metadata(origin),
        _ => format!("HTTP/1.1 302 Found\r\nlocation: {origin}/elsewhere\r\nconnection: close\r\n\r\n"),
    });
    let (code, out) = live(&origin, "opaque-1", "");
    assert!(code == 0 && out.contains("cluster idp: 302\n"), "{out}");
    let (code, out) = live(&serve(|_, _, _| String::new()), "opaque-1", "");
    assert!(code == 1 && out.contains("curl: (52)") && out.contains("provider_unavailable"), "{out}");
}

/// A proof is judged as the filter judges it; the token then goes under the scheme DPoP.
#[test]
fn a_bound_token_with_its_proof() {
    let own = Signing::Ed25519(ed25519_dalek::SigningKey::from_bytes(&[8; 32]));
    let jwk = {
        let all = own.jwk("own");
        json!({"crv": all["crv"], "kty": all["kty"], "x": all["x"]})
    };
    let base64 = |octets: &[u8]| base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(octets);
    let thumbprint = base64(&Sha256::digest(jwk.to_string()));
    let bound = token(json!({}), json!({"cnf": {"jkt": thumbprint}}));
    let proof = |method: &str| {
        let claims = json!({
            "jti": "1", "htm": method, "htu": "https://api.example.com/orders", "iat": NOW - 1, "ath": base64(&Sha256::digest(&bound)),
        });
        let header = json!({"alg": "EdDSA", "typ": "dpop+jwt", "jwk": jwk});
        sign(&own, "EdDSA", header.to_string(), claims.to_string())
    };
    let text = format!("{CONFIGURATION}dpop: {{ origins: [\"https://api.example.com\"] }}\ncertificate_bound: {{}}\n");
    let configuration = file("bound.yaml", &text);
    let keys = file("keys.json", &json!({"keys": [key().jwk("k1")]}).to_string());
    let at = NOW.to_string();
    let base = ["explain", &configuration, "/orders", "--keys", &keys, "--at", &at, "--token", "-"];
    let good = file("proof", &proof("GET"));
    let good = format!("@{good}");
    let ended = run(&[&base[..], &["--dpop", &good]].concat(), &bound);
    assert!(ended.out.contains("scheme DPoP\n") && ended.out.contains("\nallowed\n"), "{}", ended.out);
    let ended = run(&[&base[..], &["-H", &format!("DPoP: {}", proof("POST"))]].concat(), &bound);
    assert!(ended.out.contains("the DPoP proof: htm is not the method of the request\n"), "{}", ended.out);
    let ended = run(&base, &bound);
    assert!(ended.out.contains("not_bound\n  it is bound to a key (`cnf` has `jkt`)"), "{}", ended.out);
    assert!(ended.out.contains("bound tokens (docs/bound-tokens.md)\n"), "no link of a page: {}", ended.out);
    for unknown in [json!({"jwk": {}}), json!({}), json!({"jkt": "x"})] {
        let ended = run(&base, &token(json!({}), json!({"cnf": unknown})));
        assert!(ended.out.contains("not_bound\n  what it says of its binding"), "{}", ended.out);
    }
    let ended = run(&base, &token(json!({"crit": ["x"], "x": 1}), json!({})));
    assert!(ended.out.contains("unsupported_token\n  its header has `crit`, which is not taken\n"), "{}", ended.out);
    // AT Protocol's services sign by ES256K, and Firebase's emulator not at all: what such a token says is shown all the same.
    for (alg, issuer) in [("ES256K", "https://idp.example.com"), ("none", "did:plc:eltvde2sib374aqmrare5rnq")] {
        let ended = run(&base, &token(json!({"alg": alg}), json!({"iss": issuer})));
        let why = match alg {
            "none" => format!("unknown_issuer\n  its `iss` is \"{issuer}\", and tokens are taken here of https://idp."),
            _ => format!("unsupported_token\n  its `alg` is {alg:?}, and taken are EdDSA, ES256"),
        };
        let form = format!("  form       JWT, alg {alg}, kid k1, typ at+jwt\n");
        assert!(ended.out.contains(&why) && ended.out.contains(&form), "{why}\n{}", ended.out);
    }
    let ended = run(&base, &token(json!({}), json!({"iss": 1})));
    assert!(ended.out.contains("invalid_claims\n  the claim iss is not what it must be\n"), "{}", ended.out);
    // A certificate is named by its digest, or by itself.
    let pem = "-----BEGIN CERTIFICATE-----\nbm90IGEg\nY2VydGlmaWNhdGU=\n-----END CERTIFICATE-----\n";
    let digest = Sha256::digest("not a certificate");
    let bound = token(json!({}), json!({"cnf": {"x5t#S256": base64(&digest)}}));
    let named: String = digest.iter().map(|octet| format!("{octet:02X}:")).collect();
    for certificate in [named.trim_end_matches(':'), &format!("@{}", file("client.pem", pem))] {
        let ended = run(&[&base[..], &["--certificate", certificate]].concat(), &bound);
        assert!(ended.out.contains("\nallowed\n"), "{}", ended.out);
    }
    let other = "0".repeat(64);
    for (arguments, said) in [(&[][..], "shows none (--certificate)"), (&["--certificate", &other], "shows another")] {
        let ended = run(&[&base[..], arguments].concat(), &bound);
        assert!(ended.out.contains(said), "{}", ended.out);
    }
    // What nobody looks at is bound in vain; and in whose header to look is the configuration's to say.
    let plain = file("configuration.yaml", CONFIGURATION);
    let elsewhere =
        file("header.yaml", &text.replace("certificate_bound: {}", "certificate_bound: { header: client-cert }"));
    for (configuration, said) in
        [(&plain, "without `certificate_bound`"), (&elsewhere, "client-cert shows none, or another")]
    {
        let mut arguments = base;
        arguments[1] = configuration;
        let ended = run(&arguments, &bound);
        assert!(ended.out.contains(said), "{}", ended.out);
    }
    let ended = run(&[&base[..], &["--certificate", "abc"]].concat(), &bound);
    assert!(ended.code == 2 && ended.err.contains("64 hexadecimal digits"), "{}", ended.err);
}

/// Nobody counts in tens of thousands of days.
#[test]
fn times_far_away_are_told_in_years() {
    // {"alg":"ES256"}, and {"exp":4000000000}.
    let token = "eyJhbGciOiJFUzI1NiJ9.eyJleHAiOjQwMDAwMDAwMDB9.AAAA";
    let told = printed(&["explain", "--token", token, "--at", "2027-01-15T08:00:00Z"], "");
    assert!(told.contains("2096-10-02T07:06:40Z, in 69 years"), "{told}");
    let told = printed(&["explain", "--token", token, "--at", "2095-12-01T00:00:00Z"], "");
    assert!(told.contains("in 306 days"), "{told}");
}

/// What no client can send is no request.
#[test]
fn a_request_that_nobody_can_send_is_refused() {
    let good = here("good/minimal.json");
    let good = good.to_str().unwrap();
    for (arguments, says) in [
        (&["-X", "G T", "/"][..], "is no method"),
        (&["-X", "", "/"], "is no method"),
        (&["-H", "x: a\r\nx-user: root", "/"], "has an end of a line"),
        (&["-H", "nothing", "/"], "not what begins with \"nothing\""),
        (&["ftp://api.example.com/"], "expected http or https"),
    ] {
        let ended = run(&[&["explain", good], arguments].concat(), "");
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{arguments:?}");
        assert!(ended.err.contains(says), "{arguments:?}: {}", ended.err);
    }
}

/// Signs that move a cursor, clear a screen, end a line, or turn the direction of what follows.
const ACTIVE: &str = "\u{1b}[2J\u{9b}31m\u{7}\r\nallowed\u{85}\u{2028}\u{202e}\u{2066}\u{7f}";

/// Whoever has made a token can't make the terminal show what isn't so.
#[test]
fn no_sign_of_a_token_is_active() {
    let claims = json!({
        "sub": ACTIVE, "aud": [ACTIVE], "iss": ACTIVE, "scope": ACTIVE, ACTIVE: {ACTIVE: [ACTIVE]}, "client_id": ACTIVE,
    });
    let token = token(json!({"typ": ACTIVE, "kid": ACTIVE}), claims.clone());
    let configuration = file(
        "asking.yaml",
        &CONFIGURATION.replace("jwt }", "introspection, introspection: { client_id: a, client_secret: b } }"),
    );
    let answer = file(
        "active.json",
        &json!({"active": true, "sub": ACTIVE, "aud": ["api", ACTIVE], ACTIVE: [ACTIVE]}).to_string(),
    );
    let metadata = "https://idp.example.com/.well-known/openid-configuration=404";
    let answers = ["--answer", metadata, "--answer", &format!("https://idp.example.com/introspect={answer}")];
    let outputs = [
        explained(&token, &["/"]).1,
        explained(&token, &["/", "--json"]).1,
        explained(&token, &["/open/\u{9b}31m\u{202e}", "-H", "x: \u{9b}31m\u{202e}"]).1,
        printed(&["explain", "--token", "-"], &token),
        printed(&["explain", "--token", "-", "--json"], &token),
        run(&[&["explain", &configuration, "--token", "opaque"], &answers[..]].concat(), "").out,
        run(&["explain", "--token", "-", "--at", ACTIVE], &token).err,
        run(&["explain", ACTIVE], "").err,
    ];
    for output in outputs {
        assert!(!output.is_empty());
        let active = output.chars().find(|sign| ACTIVE.contains(*sign) && !sign.is_ascii_graphic() && *sign != '\n');
        assert_eq!(active, None, "{output:?}");
        assert!(!output.lines().any(|line| line.starts_with("allowed\\")), "{output}");
    }
    let read: Value = serde_json::from_str(&printed(&["explain", "--token", "-", "--json"], &token)).unwrap();
    assert_eq!(read["claims"][ACTIVE], claims[ACTIVE], "JSON says the same");
}
