//! LOG-01: nothing that the filter says or prints holds a token, a secret or a key. Every scene of these tests is listened
//! to, at trace level; what a type prints of itself is looked at type by type.

use crate::listener::{LINES, Secrets, check_alphabets, holds};
use crate::scene::*;
use crate::support::with;
use oidc_filter::config::{Config, StepUp};
use oidc_filter::decision::Decision;
use oidc_filter::filter::{Effect, Filter, StreamId};
use oidc_filter::http::{Edit, Headers, Request, Response};
use oidc_filter::jose::signing::SigningKey;
use oidc_filter::oauth::credentials;
use oidc_filter::reply::{Denial, Reason, RefusalContext};
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

// ---------------------------------------------------------------------------------------------- scenes

const SECRET: &str = "hunter2-hunter2-hunter2";
const PRIVATE: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A"; // RFC 8037, appendix A.1
const CLAIM: &str = "a-claim-that-is-private";
const HOSTILE: &str = "evil\"\\\r\n[critical] forged line\u{1b}[31m";

/// All the kinds of tokens and answers, with secrets in each place where one may be, and a host that fails in every way.
#[test]
fn no_scene_says_a_secret_at_any_level() {
    let mut tokens = vec![
        token(json!({"sub": CLAIM, "email": CLAIM})),
        token(json!({"exp": NOW - 3600, "sub": CLAIM})),
        token(json!({"aud": CLAIM})),
        token(json!({"iss": format!("https://{CLAIM}.example")})),
        token(json!({"nbf": CLAIM})),
        token(json!({"cnf": {"jkt": CLAIM}})),
        token(json!({"scope": CLAIM})),
        token(json!({"sub": HOSTILE})),
        token(json!({"groups": vec![CLAIM; 400]})),
        key("k1").token_with(json!({"kid": format!("{CLAIM}{HOSTILE}")}), json!({})),
        key("k1").token_with(json!({"alg": CLAIM}), json!({})),
        key("k1").token_with(json!({"typ": CLAIM}), json!({})),
        key("k1").token_with(json!({"crit": [CLAIM]}), json!({})),
        key("foreign").token_with(json!({"kid": "k1"}), json!({"sub": CLAIM})),
        format!("{}=", good()),
    ];
    let moods = ["active", "inactive", "broken", "garbage", "refused", "silent", "foreign", "bound", "late"];
    tokens.extend(moods.map(|mood| format!("opaque-{mood}-x7Kq9-{mood}")));
    let client = json!({"client_id": "rs", "client_secret": SECRET});
    let introspections = [
        client.clone(),
        with(client.clone(), json!({"client_auth": "post"})),
        with(client.clone(), json!({"method": "GET"})),
        json!({"client_id": "rs", "client_auth": "private_key_jwt", "client_key": {"kty": "OKP", "crv": "Ed25519", "d": PRIVATE}}),
        with(client, json!({"endpoint": "https://elsewhere.example/introspect"})),
    ];
    let outputs = json!({
        "user_info": [{"key": "x-identity"}, {"location": "cookie", "key": "identity"}, {"location": "metadata", "key": "m"}],
        "claim_headers": {"header": "x-user", "claim": "sub"},
        "access_token": [
            {"key": "authorization"}, {"location": "cookie", "key": "t"}, {"location": "query_string", "key": "t"},
        ],
    });
    let as_json = with(outputs.clone(), json!({"refusal_log": "json"}));
    let mut scenes = vec![
        jwt(json!({}), as_json),
        jwt(json!({}), outputs.clone()),
        userinfo(json!({}), outputs.clone()),
        compact(json!({})),
    ];
    for settings in introspections {
        let provider = json!({"introspection": settings});
        scenes.push(introspection(provider.clone(), outputs.clone()));
        scenes.push(auto(provider, with(outputs.clone(), json!({"enforce": false, "forward": false}))));
    }
    let answers = [
        Answer::Refuses,
        status(500),
        says(401, "text/plain", CLAIM),
        says(400, "application/json", json!({"error": CLAIM, "error_description": HOSTILE}).to_string()),
        says(200, "text/html", CLAIM),
        says_json(json!({"active": true, "sub": CLAIM, "aud": CLAIM, "iss": CLAIM})),
        says_json(json!({"active": true, "sub": CLAIM, "aud": AUDIENCE, "email": CLAIM})),
        says_json(json!({"active": true, "sub": CLAIM, "exp": CLAIM})),
        says_json(json!({"issuer": CLAIM, "jwks_uri": CLAIM})),
        says_json(json!({"keys": [{"kty": "oct", "k": CLAIM, "kid": CLAIM}, {"kty": CLAIM}]})),
    ];
    let lines = LINES.get();
    for configuration in scenes {
        let mut scene = Scene::cold(configuration);
        for secret in [SECRET, PRIVATE, CLAIM, "forged line"] {
            scene.secrets().insert(secret);
        }
        for answer in &answers {
            for place in ["/introspect", "/userinfo", "/jwks", "/.well-known/openid-configuration"] {
                scene.provider.at(place, answer.clone());
            }
            for token in &tokens {
                scene.send(bearer(token));
            }
            scene.send(bare().header("cookie", format!("a=b; t={}", tokens[0])));
            scene.send(get(format!("/p?a=b&t={}", tokens[0])));
            scene.send(bearer(&tokens[0]).bearer(&tokens[1]));
            scene.send(bare().header("authorization", format!("Basic {}", tokens[0])));
            scene.pass_seconds(40);
            scene.provider.add_issuer(ISSUER, &[key("k1").jwk()]);
            // Once with metadata and keys that are right, and once with what there is without them.
            for place in ["/introspect", "/userinfo"] {
                scene.provider.at(place, answer.clone());
            }
            tokens.iter().for_each(|token| drop(scene.send(bearer(token))));
            scene.pass_seconds(4000);
        }
    }
    let lines = LINES.get() - lines;
    assert!(lines > 100, "only {lines} lines were heard");
}

/// The ear itself.
#[test]
#[should_panic(expected = "is told")]
fn a_secret_that_is_said_is_heard() {
    let mut secrets = Secrets::of(&json!({}));
    secrets.learn(b"Bearer abcdefghijklmnopqrstuvwxyz");
    log::trace!("it was abcdefghijklmnopqrstuvwxyz");
    secrets.were_not_said();
}

/// LOG-04: Errors of the configuration name a field, and never what stands in it.
#[test]
fn no_error_of_the_configuration_tells_a_secret() {
    let client = |change: Value| {
        let settings = with(json!({"client_id": "rs", "client_secret": SECRET}), change);
        introspection(json!({"introspection": settings}), json!({}))
    };
    let inline = |jwks: Value| jwt(json!({"jwks": {"inline": jwks}}), json!({}));
    for configuration in [
        client(json!({"client_auth": SECRET})),
        client(json!({"client_id": ""})),
        client(json!({"client_id": null})),
        client(json!({"client_secret": [SECRET]})),
        client(json!({"client_secret": {"value": SECRET}})),
        client(json!({"client_secret": format!("${{{SECRET}")})),
        client(json!({"client_auth": "private_key_jwt"})),
        client(json!({"client_key": {"d": PRIVATE}})),
        client(json!({"client_secret": null, "client_auth": "private_key_jwt", "client_key": {"d": PRIVATE}})),
        client(json!({"client_secret": null, "client_auth": "private_key_jwt", "client_key": PRIVATE})),
        client(json!({"method": "GET", "client_auth": "post"})),
        client(json!({"endpoint": format!("https://rs:{SECRET}@idp.example.com/")})),
        client(json!({"endpoint": format!("/?key={SECRET}")})),
        client(json!({"cache": SECRET})),
        inline(json!(SECRET)),
        inline(json!({"keys": [{"kty": "oct", "k": SECRET}]})),
        inline(json!({"keys": [{"kty": "oct", "k": format!("{SECRET}!")}]})),
        inline(json!({"keys": {"k": SECRET}})),
        jwt(json!({"issuer": format!("https://u:{SECRET}@idp.example.com")}), json!({})),
        json!({"provider": ISSUER, "response_body": SECRET}),
        json!([SECRET]),
    ] {
        let error = Config::read(configuration.to_string().as_bytes(), &|_: &str| None).unwrap_err();
        let told = format!("{error} {error:?} {error:#?}");
        assert!(!holds(&told, SECRET) && !holds(&told, PRIVATE), "{told}");
    }
    // Neither does what comes after an error of the text itself.
    let text = format!(r#"{{"provider":"{ISSUER}","x":"{SECRET}" "y":1}}"#);
    let error = Config::read(text.as_bytes(), &|_: &str| None).unwrap_err();
    assert!(!holds(&format!("{error} {error:?}"), SECRET));
}

// ---------------------------------------------------------------------------------------------- what is printed

/// Every public type that may hold a token, a secret, a key or claims, with one in it, as `Debug` prints it.
fn printed() -> Vec<(&'static str, String)> {
    let token = token(json!({"sub": CLAIM}));
    let environment = |_: &str| Some(SECRET.to_owned());
    let settings = json!({"client_id": "rs", "client_secret": "${SECRET}", "method": "GET"});
    let oct = json!({"keys": [{"kty": "oct", "k": PRIVATE}]});
    let top = json!({
        "access_token": [{"key": "authorization"}, {"location": "cookie", "key": "t"}, {"location": "query_string", "key": "q"}],
        "user_info": [{"key": "x-identity", "encoding": "json"}, {"location": "cookie", "key": "i"}, {"location": "metadata", "key": "m"}],
        "claim_headers": {"header": "x-user", "claim": "sub"},
    });
    let provider = json!({"introspection": settings, "jwks": {"inline": oct, "uri": "https://idp.example.com/k"}});
    let config = introspection(provider, top).to_string();
    let config = Rc::new(Config::read(config.as_bytes(), &environment).unwrap());

    let authorization = format!("Bearer {token}");
    let pairs = [(":method", "GET"), (":path", "/p?a=b"), ("authorization", &*authorization)];
    let headers = Headers::from_pairs(pairs);
    let request =
        Request { headers: headers.clone(), metadata: vec![Some(token.clone().into_bytes())], ..Request::default() };
    let own = config.own_names();
    let (sources, max_size) = (&config.sources[..1], config.max_token_size);
    let places = credentials::Places { sources, own: &own, max_size, takes_dpop: false };
    let found = credentials::find(&request, &places).unwrap().unwrap();

    let now = Timestamp::from_unix_seconds(NOW);
    let mut filter = Filter::new(Rc::clone(&config), "oidc");
    assert_eq!(filter.on_request(StreamId(1), request.clone(), now), Decision::Wait);
    let metadata = says_json(with(metadata(ISSUER), json!({"introspection_endpoint": "https://idp.example.com/i"})));
    let mut effects = filter.take_effects();
    let mut fetches = Vec::new();
    let mut decision = None;
    // Metadata, and then the token's own question.
    for answer in [metadata, says_json(active(json!({"sub": CLAIM})))] {
        let Answer::Says(answer) = answer else { unreachable!() };
        fetches.push(format!("{effects:?} {effects:#?}"));
        let Some(Effect::Fetch(call, fetch)) = effects.into_iter().find(|effect| matches!(effect, Effect::Fetch(..)))
        else {
            panic!("no call")
        };
        fetches.push(format!("{fetch:?} {fetch:#?} {:?} {:#?} {answer:?}", fetch.endpoint, fetch.endpoint));
        filter.on_fetched(call, Some(answer), now);
        effects = filter.take_effects();
        for effect in &effects {
            if let Effect::Resolve(_, resolved) = effect {
                decision = Some(format!("{effect:?} {resolved:#?}"));
            }
        }
    }
    let Decision::Forward(forward) = filter.on_request(StreamId(2), request.clone(), now) else { panic!() };
    assert!(!forward.response_edits.is_empty() && !forward.filter_state.is_empty() && forward.edits.len() > 2);

    let key = SigningKey::parse(json!({"kty": "OKP", "crv": "Ed25519", "d": PRIVATE}).to_string().as_bytes()).unwrap();
    let jwk = json!({"kty": "oct", "k": PRIVATE});
    let jwk = oidc_filter::jose::jwk::Jwk::parse(&jwk, oidc_filter::jose::jwk::KeySetOrigin::Inline).unwrap();
    let response = Response { status: 200, headers, body: CLAIM.into() };
    vec![
        ("Config", format!("{config:?} {config:#?}")),
        ("Request", format!("{request:?} {request:#?}")),
        ("Response", format!("{response:?} {response:#?}")),
        ("Token, Credentials", format!("{found:?} {found:#?} {:?}", found.token())),
        ("Effect", fetches.concat()),
        ("Decision", decision.unwrap()),
        ("Forward", format!("{forward:?} {forward:#?}")),
        ("Edit", format!("{:?}", Edit::Set("x-user".into(), CLAIM.into()))),
        ("SigningKey", format!("{key:?} {key:#?}")),
        ("Jwk", format!("{jwk:?} {jwk:#?} {:?}", jwk.fingerprint())),
    ]
}

#[test]
fn nothing_that_is_printed_holds_a_secret() {
    let token = token(json!({"sub": CLAIM}));
    for (name, text) in printed() {
        assert!(!text.is_empty(), "{name}");
        for secret in token.split('.').chain([&*token, SECRET, PRIVATE, CLAIM]) {
            assert!(!holds(&text, secret), "{name} prints {secret}: {text}");
        }
    }
}

// ---------------------------------------------------------------------------------------------- what is answered

#[test]
fn every_word_of_a_refusal_is_in_the_alphabet_of_its_place() {
    use Reason::*;
    let reasons = [
        MissingToken,
        InvalidRequest,
        MalformedToken,
        UnsupportedToken,
        UnknownIssuer,
        UnknownKey,
        BadSignature,
        Expired,
        NotYetValid,
        WrongAudience,
        WrongType,
        InvalidClaims,
        Inactive,
        InsufficientScope,
        InsufficientClaims,
        InsufficientUserAuthentication,
        NotBound,
        InvalidDpopProof,
        UseDpopNonce,
        ProviderUnavailable,
        Overloaded,
        Misconfigured,
    ];
    let mut denials: Vec<Denial> = reasons.into_iter().map(Denial::InvalidToken).collect();
    denials.extend([
        Denial::MissingToken,
        Denial::InvalidRequest,
        Denial::UnsupportedScheme,
        Denial::InvalidDpopProof,
        Denial::UseDpopNonce,
        Denial::InsufficientAuthentication(StepUp { acr_values: "urn:a b".to_owned(), max_age: Some(Duration::MAX) }),
        Denial::InsufficientScope("!#$%&'()*+,-./:;<=>?@[]^_`{|}~ read".to_owned()),
        Denial::InsufficientClaims,
        Denial::NotAuthorized(None),
        Denial::NotAuthorized(Some(Rc::from("ask me tomorrow"))),
        Denial::AuthorizerUnavailable,
        Denial::AmbiguousTarget,
        Denial::ProviderUnavailable(Duration::MAX),
        Denial::Overloaded,
        Denial::Misconfigured,
    ]);
    let mut words = BTreeSet::new();
    for form in ["json", "problem", "jsonrpc", "text", "none"] {
        let top = json!({"response_body": form, "realm": "!#$%&'()*+,-./:;<=>?@[]^_`{|}~ x", "require": {"scopes": ["read", "write"], "acr": "a", "max_age": 5}, "dpop": {"origins": "https://a.example"}});
        let config = Config::read(jwt(json!({}), top).to_string().as_bytes(), &|_: &str| None).unwrap();
        for denial in &denials {
            for code in [None, Some(400), Some(401), Some(403), Some(302), Some(599)] {
                for uses_dpop in [false, true] {
                    let about = RefusalContext { policy: &config.policy, mcp: None, id: None, uses_dpop };
                    check_alphabets(&denial.answer(&about, code));
                }
                let word = denial.reason().as_str();
                words.insert(word);
                assert!(word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{word}");
            }
        }
    }
    // All that there are: the source lists no other.
    let source = include_str!("../../src/reply.rs");
    let listed: BTreeSet<&str> = source
        .lines()
        .filter_map(|line| line.split_once("=> (\"").map(|(_, rest)| rest.split('"').next().unwrap()))
        .collect();
    assert_eq!(words, listed);
}

// ---------------------------------------------------------------------------------------------- time

/// What compares MACs does so in constant time, which no test can measure here; but there is one place where it is done,
/// and a MAC of what came never becomes bytes, which `==` could compare.
#[test]
fn macs_are_compared_in_constant_time() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src"))];
    let mut verified = 0;
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            verified += source.matches(".verify_slice(").count();
            let makes_macs = source.contains("Hmac") || source.contains("hmac::") || source.contains("Mac,");
            assert_eq!(makes_macs, path.ends_with("jwk/material.rs"), "{}", path.display());
            if makes_macs {
                // What the filter itself says is signed in one function, and what comes is not compared with that.
                let (before, signs) = source.split_once("fn authenticate(").unwrap();
                let (signs, behind) = signs.split_once("\n    }\n").unwrap();
                assert!(signs.contains(".finalize().into_bytes()") && !signs.contains("=="));
                let source = [before, behind].concat();
                // The only digest that is made here is the fingerprint of a key.
                let finalized: Vec<&str> = source.lines().filter(|line| line.contains("finalize")).collect();
                assert!(finalized.len() == 1 && finalized[0].contains("Fingerprint("), "{finalized:?}");
                for truncating in ["verify_truncated", "CtOutput", "into_bytes", "verify(tag"] {
                    assert!(!source.contains(truncating), "{truncating}");
                }
            }
        }
    }
    assert_eq!(verified, 1);
}
