//! What an operator may write: two forms, two spellings, and errors that name the field (CFG, WSM-05, GM-17, TB-60).

use crate::scene::*;
use crate::support::with;
use oidc_filter::config::Config;
use oidc_filter::protobuf;
use serde_json::{Value, json};

fn read(bytes: &[u8]) -> Result<Config, String> {
    let environment = |name: &str| match name {
        "SECRET" => Some("s3cr3t".to_owned()),
        "EMPTY" => Some(String::new()),
        "ISSUER" => Some(ISSUER.to_owned()),
        "KEYS" => Some(json!({"keys": [key("k1").jwk()]}).to_string()),
        _ => None,
    };
    Config::read(bytes, &environment).map_err(|error| error.to_string())
}

#[track_caller]
fn accepts(configuration: &Value) -> Config {
    read(configuration.to_string().as_bytes()).unwrap_or_else(|error| panic!("{error}\n{configuration}"))
}

/// The error must begin with the path of the field, and say something behind it.
#[track_caller]
fn refuses(configuration: &Value, path: &str) -> String {
    match read(configuration.to_string().as_bytes()) {
        Ok(_) => panic!("accepted, {path} expected: {configuration}"),
        Err(error) => {
            assert!(error.starts_with(&format!("{path}: ")), "{path} expected: {error}\n{configuration}");
            assert!(!error.contains("s3cr3t") && !error.contains('\n'), "{error}");
            error
        }
    }
}

/// RFC 6749, appendix A.1 and A.2. No server knows a secret with the line break of the file that it was in.
#[test]
fn a_secret_with_the_line_break_of_its_file() {
    for (odd, word) in [
        ("s3cr3t\n", "line break"),
        ("s3cr3t\r\n", "line break"),
        ("\ns3cr3t", "line break"),
        ("s3c\nr3t", "line break"),
        ("s3cr3t\t", "printable ASCII"),
        ("s3cr3t\0", "printable ASCII"),
        ("s3cr3t\u{7f}", "printable ASCII"),
        ("s3cr3t\u{e9}", "printable ASCII"),
        ("\u{feff}s3cr3t", "printable ASCII"),
    ] {
        for auth in ["basic", "post"] {
            let client = json!({"client_id": "me", "client_secret": odd, "client_auth": auth});
            let error = refuses(
                &introspection(json!({"introspection": client}), json!({})),
                "providers[0].introspection.client_secret",
            );
            assert!(error.contains(word), "{error}");
            let client = json!({"client_id": odd, "client_secret": "x", "client_auth": auth});
            refuses(
                &introspection(json!({"introspection": client}), json!({})),
                "providers[0].introspection.client_id",
            );
        }
        // From a variable, too.
        let client = json!({"client_id": "me", "client_secret": "${ODD}"});
        let configuration = introspection(json!({"introspection": client}), json!({})).to_string();
        let environment = |name: &str| (name == "ODD").then(|| odd.to_owned());
        let error = Config::read(configuration.as_bytes(), &environment).unwrap_err().to_string();
        assert!(error.starts_with("providers[0].introspection.client_secret: ") && error.contains(word), "{error}");
    }
    let client = json!({"client_id": "a b", "client_secret": " s3cr3t~ "});
    let configuration = introspection(json!({"introspection": client}), json!({}));
    Config::read(configuration.to_string().as_bytes(), &|_: &str| None).unwrap();
}

/// A sound configuration with everything in it, in canonical spelling.
fn everything() -> Value {
    json!({
        "providers": [
            {
                "name": "main", "issuer": ISSUER, "cluster": "idp", "clusters": {"Keys.Example.com": "keys", "login.example:8443": "l"},
                "audiences": [AUDIENCE, "other"], "validation": "auto",
                "jwks": {"uri": "https://keys.example.com/k", "cache": "5m", "max_stale": "1h", "cooldown": "10s"},
                "introspection": {
                    "endpoint": ["https://idp.example.com/i", "https://login.example:8443/i"], "method": "POST",
                    "param_name": "token", "client_id": "me", "client_secret": "${SECRET}", "client_auth": "post",
                    "cache": "30s", "negative_cache": "1s", "token_type_hint": false, "active": "status",
                    "inactive_statuses": [400, 404],
                },
                "userinfo": {"endpoint": "https://idp.example.com/u", "subject": "login", "cache": 30},
                "audience_separator": " ", "scope_separator": ",", "refuse_id_tokens": true,
                "algorithms": ["RS256", "ES256", "EdDSA"], "clock_skew": "30s", "require_expiration": true,
                "max_lifetime": "24h", "token_type": ["at+jwt"], "timeout": "2500ms",
            },
            {"issuer": "https://second.example/tenant", "any_audience": true, "validation": "jwt",
                "jwks": {"inline": {"keys": [key("k1").jwk()]}}},
        ],
        "access_token": [
            {"location": "header", "key": "Authorization", "scheme": "Bearer", "provider": "main"},
            {"location": "cookie", "key": "token"}, {"location": "query_string", "key": "access_token"},
            {"location": "metadata", "key": "token", "metadata_filter": "earlier"},
        ],
        "max_token_size": 32768, "forward": false, "enforce": true, "allow_missing": false, "allow_preflight": true, "enforce_response_code": 401,
        "require": {
            "scopes": ["a"], "scopes_any": ["b", "c"], "groups_allowlist": ["g"],
            "claims": [
                {"claim": "x", "any_of": ["1"], "all_of": ["1"], "none_of": ["2"]}, {"path": "a.b", "matches": "^x.*"},
                {"claim": "nonce", "absent": true},
            ],
        },
        "user_info": [
            {"location": "header", "key": "Identity", "claims": ["sub"], "encoding": "base64url"},
            {"location": "cookie", "key": "who", "cookie_options": {"path": "/", "http_only": true, "secure": true,
                "same_site": "Lax", "domain": "example.com", "max_age": "1h"}},
            {"location": "query_string", "key": "who"},
            {"location": "metadata", "key": "who", "metadata_namespace": "ns"},
        ],
        "claim_headers": [
            {"header": "x-user", "claim": "sub", "claims": ["upn"], "prefix": "u:", "separator": ";", "required": true,
                "transformers": [{"matches": "@.*", "replaces": ""}]},
            {"header": "x-deep", "path": ["a", "b"]},
        ],
        "response_body": "problem", "realm": "things",
    })
}

fn camel_case(value: Value) -> Value {
    let renamed = |name: String| {
        let mut parts = name.split('_');
        let first = parts.next().unwrap().to_owned();
        parts.fold(first, |name, part| name + &part[..1].to_uppercase() + &part[1..])
    };
    match value {
        Value::Object(object) => object.into_iter().map(|(name, value)| (renamed(name), camel_case(value))).collect(),
        Value::Array(list) => list.into_iter().map(camel_case).collect(),
        other => other,
    }
}

/// As YAML has it: every number is a double.
fn with_doubles(value: Value) -> Value {
    match value {
        Value::Number(number) => json!(number.as_f64().unwrap()),
        Value::Object(object) => object.into_iter().map(|(name, value)| (name, with_doubles(value))).collect(),
        Value::Array(list) => list.into_iter().map(with_doubles).collect(),
        other => other,
    }
}

#[test]
fn both_spellings_and_both_forms_say_the_same() {
    let canonical = format!("{:?}", accepts(&everything()));
    assert!(!canonical.contains("s3cr3t"));
    let camel = camel_case(everything());
    assert!(camel.to_string().contains("metadataFilter"));
    assert_eq!(format!("{:?}", accepts(&camel)), canonical);
    for form in [everything(), camel] {
        let structure = protobuf::write_struct(form.as_object().unwrap());
        assert_eq!(format!("{:?}", read(&structure).unwrap()), canonical);
        assert_eq!(format!("{:?}", accepts(&with_doubles(form))), canonical);
    }
    let spaced = format!("\n\t {} \r\n", serde_json::to_string_pretty(&everything()).unwrap());
    assert_eq!(format!("{:?}", read(spaced.as_bytes()).unwrap()), canonical);
}

/// Whatever its length, a Struct is told from JSON: one of its first bytes is a length, which can be that of `{`.
#[test]
fn a_struct_of_any_length() {
    for length in 0..300 {
        let configuration = jwt(json!({"audiences": "a".repeat(length + 1)}), json!({}));
        let structure = protobuf::write_struct(configuration.as_object().unwrap());
        assert_eq!(format!("{:?}", read(&structure).unwrap()), format!("{:?}", accepts(&configuration)), "{length}");
    }
}

#[test]
fn one_element_stands_for_a_list() {
    let one = |many: bool| {
        let list = |value: Value| if many { json!([value]) } else { value };
        json!({
            "providers": list(json!({
                "issuer": ISSUER, "audiences": list(json!("a")), "algorithms": list(json!("RS256")), "token_type": list(json!("JWT")),
                "introspection": {"endpoint": list(json!("https://idp.example.com/i"))},
                "userinfo": {"endpoint": list(json!("https://idp.example.com/u"))},
            })),
            "access_token": list(json!({"key": "x-token"})),
            "require": {"scopes": list(json!("a")), "scopes_any": list(json!("a")), "groups_allowlist": list(json!("g")),
                "claims": list(json!({"claim": "c", "any_of": list(json!("1")), "all_of": list(json!("1")), "none_of": list(json!("2"))}))},
            "user_info": list(json!({"key": "i", "claims": list(json!("sub"))})),
            "claim_headers": list(json!({"header": "h", "claims": list(json!("sub")),
                "transformers": list(json!({"matches": "a", "replaces": "b"}))})),
        })
    };
    assert_eq!(format!("{:?}", accepts(&one(true))), format!("{:?}", accepts(&one(false))));
}

#[test]
fn the_compact_form_of_the_contract() {
    let config = accepts(&json!({
        "provider": "https://idp.example.com", "enforce": true, "enforceResponseCode": 403,
        "accessToken": {"location": "header", "key": "Authorization"},
        "userInfo": {"location": "header", "key": "Identity", "claims": ["sub", "name", "email"]},
    }));
    assert!(config.policy.enforce);
    assert_eq!(config.policy.enforce_response_code, Some(403));
    // All that is optional left out, and numbers as some write them.
    let config = accepts(&json!({"provider": ISSUER, "accessToken": {"location": 1.0, "key": "access_token"}}));
    assert!(!config.policy.enforce && config.policy.forward);
    assert_eq!(config.policy.enforce_response_code, Some(403));
    let config = accepts(&jwt(json!({}), json!({"enforceResponseCode": 404.0})));
    assert!(config.policy.enforce);
    assert_eq!(config.policy.enforce_response_code, Some(404));
}

/// greymatter's generator writes the empty value of each field that is not set.
#[test]
fn empty_cookie_options_are_unset() {
    let options = json!({"httpOnly": false, "secure": false, "domain": "", "path": "", "maxAge": ""});
    accepts(&json!({
        "provider": ISSUER, "accessToken": {"location": "cookie", "key": "access_token"},
        "userInfo": {"location": "cookie", "key": "Identity", "cookieOptions": options},
    }));
}

#[test]
fn variables() {
    let config = jwt(json!({"issuer": "${ISSUER}", "audiences": ["a${EMPTY}b", "$${SECRET}", "$1", "{x}"]}), json!({}));
    let config = accepts(&config);
    assert_eq!(config.providers[0].issuer, ISSUER);
    assert!(format!("{:?}", config.providers[0].audiences).contains(r#"["ab", "${SECRET}", "$1", "{x}"]"#));
    // In any string, those of nested documents and paths among them.
    let config =
        jwt(json!({"jwks": {"inline": "${KEYS}"}}), json!({"claim_headers": {"header": "h", "path": "a.${SECRET}"}}));
    let config = accepts(&config);
    assert_eq!(config.providers[0].jwks[0].inline.as_ref().map(|keys| keys.len()), Some(1));
    assert!(format!("{:?}", config.policy.claim_headers).contains(r#"["a", "s3cr3t"]"#));
    accepts(&jwt(json!({"clusters": {"other.example": "${SECRET}"}, "timeout": "1${EMPTY}s"}), json!({})));
    for unset in ["${UNSET}", "a${UNSET}", "${}", "${SECRET", "$${SECRET}${UNSET}"] {
        refuses(&jwt(json!({"audiences": ["a", unset]}), json!({})), "providers[0].audiences[1]");
    }
    let secret = json!({"introspection": {"client_id": "me", "client_secret": "${UNSET}"}});
    let error = refuses(&introspection(secret, json!({})), "providers[0].introspection.client_secret");
    assert!(error.contains("UNSET"), "{error}");
}

/// The contract's example.
#[test]
fn an_unknown_field_names_those_that_are_known() {
    let error =
        refuses(&jwt(json!({"jwks": {"url": "https://idp.example.com/jwks"}}), json!({})), "providers[0].jwks.url");
    assert_eq!(error, "providers[0].jwks.url: unknown field, expected one of inline, uri, cache, max_stale, cooldown");
}

#[test]
fn an_unknown_field_is_shown_as_it_was_written() {
    refuses(&compact(json!({"TLSConfig": {"useTLS": true}})), "TLSConfig");
}

/// The objects of a configuration, as JSON pointers, but for those whose names are the operator's.
fn objects_of(base: &Value) -> Vec<String> {
    fn objects(value: &Value, pointer: &str, found: &mut Vec<String>) {
        match value {
            Value::Object(object) => {
                found.push(pointer.to_owned());
                object.iter().for_each(|(name, value)| objects(value, &format!("{pointer}/{name}"), found));
            }
            Value::Array(list) => {
                list.iter().enumerate().for_each(|(at, value)| objects(value, &format!("{pointer}/{at}"), found));
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    objects(base, "", &mut found);
    found.retain(|pointer| !pointer.contains("/clusters") && !pointer.contains("/inline"));
    found
}

/// `/providers/0/jwks` as `providers[0].jwks`.
fn path_of(pointer: &str) -> String {
    pointer.split('/').skip(1).fold(String::new(), |path, part| match part.parse::<usize>() {
        Ok(index) => format!("{path}[{index}]"),
        Err(_) if path.is_empty() => part.to_owned(),
        Err(_) => format!("{path}.{part}"),
    })
}

/// Required or not, whatever else is then wrong: what is misspelled is named, with what was meant.
#[test]
fn a_misspelled_field_is_named_before_what_is_missing() {
    let base = everything();
    for pointer in objects_of(&base) {
        for name in base.pointer(&pointer).unwrap().as_object().unwrap().keys() {
            let misspelled = format!("{}{}", &name[..1], &name[2..]);
            let mut changed = base.clone();
            let object = changed.pointer_mut(&pointer).unwrap().as_object_mut().unwrap();
            let value = object.remove(name).unwrap();
            object.insert(misspelled.clone(), value);
            let error = refuses(&changed, &path_of(&format!("{pointer}/{misspelled}")));
            assert!(error.contains("unknown field, "), "{error}");
            let meant = format!("did you mean `{name}`?");
            assert!(name.len() < 5 || error.contains(&meant), "{meant} {error}");
        }
    }
    let error = refuses(&json!({"providers": [{"isuer": ISSUER, "audiences": "a"}]}), "providers[0].isuer");
    assert!(error.starts_with("providers[0].isuer: unknown field, did you mean `issuer`?"), "{error}");
    // Names of providers are misspelled, too.
    let main = json!({"name": "main-login"});
    for (top, path) in [
        (json!({"access_token": {"key": "x-token", "provider": "main-logn"}}), "access_token.provider"),
        (json!({"rules": [{"match": {"path": "/"}, "providers": ["main-logn"]}]}), "rules[0].providers"),
    ] {
        let error = refuses(&jwt(main.clone(), top), path);
        assert!(error.contains("there is main-login"), "{error}");
    }
}

/// Whoever mends a collision has to know both sides of it.
#[test]
fn a_collision_names_both_parties() {
    let metadata =
        |namespace: &str, key: &str| json!({"location": "metadata", "key": key, "metadata_namespace": namespace});
    let output = json!({"key": "x-a"});
    let beside = |location: &str, output: &str, token: &str| {
        let place = |key: &str| json!({"location": location, "key": key});
        json!({"access_token": [place(token)], "user_info": [place(output)]})
    };
    for (top, path, other) in [
        (json!({"access_token": [{"key": "x"}, {"key": "y"}, {"key": "Y"}]}), "access_token[2]", "access_token[1]"),
        (
            json!({"access_token": [{"key": "x"}, {"key": "x-a"}], "user_info": [output]}),
            "user_info[0].key",
            "a token already is, by access_token[1]",
        ),
        (
            json!({"user_info": [{"key": "b"}, output], "claim_headers": [{"header": "X_A", "claim": "c"}]}),
            "claim_headers[0].header",
            "another output already is, by user_info[1].key",
        ),
        (
            json!({"rules": [{"match": {"path": "/"}, "user_info": [output, output]}]}),
            "rules[0].user_info[1].key",
            "by rules[0].user_info[0].key",
        ),
        // What some reader takes for the other, or for a part of it.
        (beside("query_string", "x.y", "x[y]"), "user_info[0].key", "by access_token[0]"),
        (beside("query_string", "x[y]", "x.y"), "user_info[0].key", "by access_token[0]"),
        (beside("query_string", "x", "x[y]"), "user_info[0].key", "by access_token[0]"),
        (beside("query_string", "x.y", "x"), "user_info[0].key", "by access_token[0]"),
        (beside("query_string", "x", "x[]"), "user_info[0].key", "by access_token[0]"),
        (beside("query_string", "x:y", "x"), "user_info[0].key", "by access_token[0]"),
        (beside("query_string", "straße", "strasse"), "user_info[0].key", "by access_token[0]"),
        (beside("cookie", "Session", "session"), "user_info[0].key", "by access_token[0]"),
        (beside("cookie", ".session", "session"), "user_info[0].key", "by access_token[0]"),
        (
            json!({"user_info": [{"location": "query_string", "key": "x"}, {"location": "query_string", "key": "x.y"}]}),
            "user_info[1].key",
            "by user_info[0].key",
        ),
        (
            json!({"verify_path": "/v", "verify_request": {"method_header": "x-a", "uri_header": "X_A"}}),
            "verify_request.uri_header",
            "`method_header`",
        ),
        (
            json!({"verify_path": "/v", "verify_request": {"method_header": "x-a", "uri_header": "x-b", "host_header": "x-a"}}),
            "verify_request.host_header",
            "`method_header`",
        ),
        (json!({"user_info": [metadata("a.b", "c"), metadata("a", "b.c")]}), "user_info[1].key", "as user_info[0]"),
        (json!({"rules": [{"name": "a"}, {"name": "b"}, {"name": "a"}]}), "rules[2].name", "rules[0]"),
        (
            json!({"claim_headers": [{"header": "x-b", "claim": "c"}, {"header": "x-c", "claim": "c"}],
                "rules": [{"match": {"headers": {"x_c": "1"}}}]}),
            "rules[0].match.headers",
            "by claim_headers[1].header",
        ),
        (
            json!({"access_token": [{"key": "x-t"}], "rules": [{"match": {"headers": {"x_t": "1"}}}]}),
            "rules[0].match.headers",
            "by access_token",
        ),
    ] {
        let error = refuses(&jwt(json!({}), top), path);
        assert!(error.contains(other), "{other}: {error}");
    }
    let provider = |name: &str, issuer: &str| json!({"name": name, "issuer": issuer, "audiences": "a"});
    for (second, path) in
        [(provider("x", "https://b"), "providers[2].issuer"), (provider("b", "https://x"), "providers[2].name")]
    {
        let list = json!([provider("a", "https://a"), provider("b", "https://b"), second]);
        let error = refuses(&json!({"providers": list}), path);
        assert!(error.contains("providers[1]"), "{error}");
    }
}

/// WSM-05: where the mistake is, for configurations of more than one screen.
#[test]
fn what_is_no_json_says_where() {
    let said = |text: &str| read(text.as_bytes()).unwrap_err();
    for (text, place) in [
        ("{\n  \"provider\": \"https://a\",\n}", "line 3, column 1"),
        ("{\n  \"provider\": 'https://a'\n}", "line 2, column 15"),
        ("{\"a\": 1", "line 1, column 7"),
        ("\u{feff}{}", "line 1, column 1: it begins with a byte order mark"),
        ("provider: https://a", "line 1, column 1"),
    ] {
        let error = said(text);
        assert!(error.starts_with("neither a JSON object nor") && error.contains(place), "{place}: {error}");
    }
    for (text, error) in [
        ("{\n\"enforce\":true,\n\"enforce\":false}", "enforce: given twice, again in line 3, column 9"),
        (
            r#"{"providers":[{"issuer":"https://a","jwks":{"uri":"https://a","uri":"https://b"}}]}"#,
            "providers[0].jwks.uri: given twice, again in line 1, column ",
        ),
    ] {
        assert!(said(text).starts_with(error), "{}", said(text));
    }
    let keys = r#"{"keys":[{"kty":"EC","kty":"EC"}]}"#;
    let error = refuses(&jwt(json!({"jwks": {"inline": keys}}), json!({})), "providers[0].jwks.inline");
    assert!(error.contains("keys[0].kty: two members of one JSON object have the same name (line 1, "), "{error}");
    let error = refuses(&jwt(json!({"jwks": {"inline": "{\n1}"}}), json!({})), "providers[0].jwks.inline");
    assert!(error.contains("line 2, column 1"), "{error}");
    let key = json!({"client_id": "me", "client_auth": "private_key_jwt", "client_key": "{\n\"kty\": s3cr3t}"});
    let error =
        refuses(&introspection(json!({"introspection": key}), json!({})), "providers[0].introspection.client_key");
    assert!(error.contains("line 2, column "), "{error}");
}

/// WSM-05: every field of every object: unknown ones beside it, both spellings at once, a wrong type.
#[test]
fn every_object_refuses_what_it_does_not_know() {
    let base = everything();
    let found = objects_of(&base);
    assert!(found.len() > 20);
    for pointer in &found {
        let at = |field: &str| path_of(&format!("{pointer}/{field}"));
        let change = |change: Value| {
            let mut changed = base.clone();
            let object = changed.pointer_mut(pointer).unwrap();
            *object = with(object.take(), change);
            changed
        };
        for unknown in ["audiances", "x-y", "rules2", "scopes_all"] {
            refuses(&change(json!({unknown: 1})), &at(unknown));
        }
        for (name, value) in base.pointer(pointer).unwrap().as_object().unwrap() {
            let twice = camel_case(json!({name: 0})).as_object().unwrap().keys().next().unwrap().clone();
            if twice != *name {
                let error = refuses(&change(json!({twice: value})), &at(name));
                assert!(error.contains("given twice"), "{error}");
            }
            let wrong = match value {
                Value::Bool(_) => vec![json!("true"), json!(1), json!([true])],
                Value::Number(_) => vec![json!(true), json!([]), json!({})],
                Value::String(_) => vec![json!(true), json!({"a": 1})],
                Value::Object(_) => vec![json!(7), json!("x"), json!([1])],
                _ => vec![json!(true), json!([true]), json!([null])],
            };
            for wrong in wrong {
                let error = read(change(json!({name: wrong})).to_string().as_bytes()).unwrap_err();
                assert!(error.starts_with(&at(name)), "{} with {wrong}: {error}", at(name));
            }
        }
    }
}

/// CFG-01 to CFG-06, CLM-10, JWK-10: each configuration with the path that its error must name.
#[test]
fn bad_configurations_are_refused_by_the_path_of_their_fault() {
    let p = |provider: Value| jwt(provider, json!({}));
    let t = |top: Value| jwt(json!({}), top);
    let ui = |output: Value| t(json!({"user_info": [output]}));
    let ch = |output: Value| t(json!({"claim_headers": [with(json!({"header": "h", "claim": "c"}), output)]}));
    let at = |source: Value| t(json!({"access_token": [source]}));
    let int = |settings: Value| introspection(json!({"introspection": settings}), json!({}));
    let cookie = |options: Value| ui(json!({"location": "cookie", "key": "c", "cookie_options": options}));
    let two = |second: Value| {
        let first = json!({"issuer": ISSUER, "audiences": "a"});
        json!({"providers": [first, with(json!({"issuer": "https://second.example", "audiences": "a"}), second)]})
    };
    let keys = || json!({"uri": "https://keys.example.com/k"});
    for (configuration, path) in [
        // CFG-01: providers
        (json!({}), "providers"),
        (json!({"providers": []}), "providers"),
        (json!({"providers": null}), "providers"),
        (json!({"providers": ISSUER}), "providers"),
        (json!({"providers": [7]}), "providers[0]"),
        (json!({"providers": [{}]}), "providers[0].issuer"),
        (json!({"provider": ISSUER, "providers": [{"issuer": ISSUER, "audiences": "a"}]}), "provider"),
        (json!({"provider": ""}), "provider"),
        (json!({"provider": "idp"}), "provider"),
        (json!({"provider": {"issuer": ISSUER}}), "provider"),
        (two(json!({"issuer": ISSUER, "name": "x"})), "providers[1].issuer"),
        (two(json!({"name": "idp.example.com"})), "providers[1].name"),
        // CFG-02: issuers
        (p(json!({"issuer": ""})), "providers[0].issuer"),
        (p(json!({"issuer": "idp.example.com"})), "providers[0].issuer"),
        (p(json!({"issuer": "ftp://idp.example.com"})), "providers[0].issuer"),
        (p(json!({"issuer": "https://"})), "providers[0].issuer"),
        (p(json!({"issuer": "https://idp.example.com?x=1"})), "providers[0].issuer"),
        (p(json!({"issuer": "https://idp.example.com#x"})), "providers[0].issuer"),
        (p(json!({"issuer": "https://u:p@idp.example.com"})), "providers[0].issuer"),
        (p(json!({"issuer": "https:/idp.example.com"})), "providers[0].issuer"),
        (p(json!({"issuer": "https:///idp.example.com"})), "providers[0].issuer"),
        (p(json!({"issuer": "http:idp.X%BB.example/https://idp.example.com"})), "providers[0].issuer"),
        (p(json!({"issuer": "https:\\\\idp.example.com"})), "providers[0].issuer"),
        (p(json!({"issuer": "https://idp.ex\tample.com"})), "providers[0].issuer"),
        (p(json!({"issuer": "https://\u{fc}X.example.com"})), "providers[0].issuer"),
        (p(json!({"issuer": "https://%C3%BCX.example.com"})), "providers[0].issuer"),
        (p(json!({"issuer": "accounts.google.com", "jwks": {"cache": 60}})), "providers[0].issuer"),
        (p(json!({"issuer": "accounts.google.com", "validation": "auto", "jwks": keys()})), "providers[0].issuer"),
        (p(json!({"issuer": "https:/idp.example.com", "jwks": keys()})), "providers[0].issuer"),
        (p(json!({"issuer": "HTTP:idp.example.com", "jwks": keys()})), "providers[0].issuer"),
        (p(json!({"issuer": "ftp://idp.example.com", "jwks": keys()})), "providers[0].issuer"),
        (p(json!({"issuer": "idp example", "jwks": keys()})), "providers[0].issuer"),
        (p(json!({"issuer": "", "jwks": keys()})), "providers[0].issuer"),
        (p(json!({"issuer": "idp,example", "jwks": keys()})), "providers[0].name"),
        (p(json!({"name": ""})), "providers[0].name"),
        (p(json!({"name": "a b"})), "providers[0].name"),
        (p(json!({"name": "a;b"})), "providers[0].name"),
        (p(json!({"cluster": ""})), "providers[0].cluster"),
        (p(json!({"clusters": {"a.example": 7}})), "providers[0].clusters.a.example"),
        (p(json!({"clusters": {"a.example": ""}})), "providers[0].clusters.a.example"),
        (p(json!({"clusters": {"https://a.example": "a"}})), "providers[0].clusters.https://a.example"),
        (p(json!({"clusters": {"a.example/": "a"}})), "providers[0].clusters.a.example/"),
        // CLM-10: audiences
        (p(json!({"audiences": null})), "providers[0].audiences"),
        (p(json!({"audiences": []})), "providers[0].audiences"),
        (p(json!({"audiences": ""})), "providers[0].audiences"),
        (p(json!({"audiences": ["a", ""]})), "providers[0].audiences"),
        (p(json!({"any_audience": true})), "providers[0].any_audience"),
        (p(json!({"audiences": null, "any_audience": false})), "providers[0].audiences"),
        (introspection(json!({"audiences": null}), json!({})), "providers[0].audiences"),
        (auto(json!({"audiences": null}), json!({})), "providers[0].audiences"),
        // CFG-03: validation and algorithms
        (p(json!({"validation": "JWT"})), "providers[0].validation"),
        (p(json!({"algorithms": []})), "providers[0].algorithms"),
        (p(json!({"algorithms": ["RS256", "none"]})), "providers[0].algorithms[1]"),
        (p(json!({"algorithms": "rs256"})), "providers[0].algorithms[0]"),
        (p(json!({"algorithms": ["HS256"]})), "providers[0].algorithms[0]"),
        (p(json!({"algorithms": ["ES256K"]})), "providers[0].algorithms[0]"),
        (
            p(json!({"algorithms": ["HS256"], "jwks": [{"uri": "https://idp.example.com/k"}, {}]})),
            "providers[0].algorithms[0]",
        ),
        (p(json!({"token_type": ""})), "providers[0].token_type"),
        // CFG-04: times
        (p(json!({"clock_skew": "6m"})), "providers[0].clock_skew"),
        (p(json!({"clock_skew": -1})), "providers[0].clock_skew"),
        (p(json!({"clock_skew": "1 m"})), "providers[0].clock_skew"),
        (p(json!({"clock_skew": "soon"})), "providers[0].clock_skew"),
        (p(json!({"clock_skew": "1e400"})), "providers[0].clock_skew"),
        (p(json!({"timeout": 0})), "providers[0].timeout"),
        (p(json!({"timeout": "61s"})), "providers[0].timeout"),
        (p(json!({"max_lifetime": "-1h"})), "providers[0].max_lifetime"),
        (p(json!({"jwks": {"cache": 0}})), "providers[0].jwks.cache"),
        (p(json!({"jwks": {"cooldown": "999ms"}})), "providers[0].jwks.cooldown"),
        (p(json!({"jwks": {"max_stale": "-1s"}})), "providers[0].jwks.max_stale"),
        // keys
        (p(json!({"jwks": {"uri": "/jwks"}})), "providers[0].jwks.uri"),
        (p(json!({"jwks": {"uri": ""}})), "providers[0].jwks.uri"),
        (p(json!({"jwks": {"uri": "https://u@idp.example.com/k"}})), "providers[0].jwks.uri"),
        (p(json!({"jwks": {"inline": {}}})), "providers[0].jwks.inline"),
        (p(json!({"jwks": {"inline": {"keys": []}}})), "providers[0].jwks.inline"),
        (p(json!({"jwks": {"inline": "not json"}})), "providers[0].jwks.inline"),
        (p(json!({"jwks": {"inline": {"keys": [{"kty": "oct", "k": "c2hvcnQ"}]}}})), "providers[0].jwks.inline"), // JWK-10
        // CFG-06: introspection and userinfo
        (int(json!({"endpoint": []})), "providers[0].introspection.endpoint"),
        (int(json!({"endpoint": "introspect"})), "providers[0].introspection.endpoint"),
        (int(json!({"endpoint": ["https://a.example", "x"]})), "providers[0].introspection.endpoint"),
        (int(json!({"method": "PUT"})), "providers[0].introspection.method"),
        (int(json!({"param_name": ""})), "providers[0].introspection.param_name"),
        (int(json!({"param_name": "a b"})), "providers[0].introspection.param_name"),
        (int(json!({"client_id": "me"})), "providers[0].introspection.client_secret"), // TB-45
        (int(json!({"client_secret": "${SECRET}"})), "providers[0].introspection.client_id"),
        (int(json!({"client_id": "", "client_secret": "x"})), "providers[0].introspection.client_id"),
        (int(json!({"client_id": "me", "client_secret": ""})), "providers[0].introspection.client_secret"),
        (int(json!({"client_id": "me", "client_secret": "${EMPTY}"})), "providers[0].introspection.client_secret"),
        (int(json!({"client_auth": "basic"})), "providers[0].introspection.client_id"),
        (
            int(json!({"client_id": "me", "client_secret": "x", "client_auth": "none"})),
            "providers[0].introspection.client_auth",
        ),
        (
            int(json!({"client_id": "me", "client_secret": "x", "client_auth": "post", "method": "GET"})),
            "providers[0].introspection.client_auth",
        ),
        (int(json!({"client_id": "me", "client_auth": "private_key_jwt"})), "providers[0].introspection.client_key"),
        (
            int(json!({"client_id": "me", "client_auth": "private_key_jwt", "client_key": "{}"})),
            "providers[0].introspection.client_key",
        ),
        (int(json!({"active": "yes"})), "providers[0].introspection.active"),
        (int(json!({"active": true})), "providers[0].introspection.active"),
        (
            introspection(
                json!({"audiences": null, "any_audience": true, "introspection": {"active": "status"}}),
                json!({}),
            ),
            "providers[0].introspection.active",
        ),
        (int(json!({"inactive_statuses": [400, 200]})), "providers[0].introspection.inactive_statuses"),
        (int(json!({"inactive_statuses": 500})), "providers[0].introspection.inactive_statuses"),
        (int(json!({"inactive_statuses": 429})), "providers[0].introspection.inactive_statuses"),
        (int(json!({"inactive_statuses": 65_936})), "providers[0].introspection.inactive_statuses"),
        (int(json!({"inactive_statuses": ["400"]})), "providers[0].introspection.inactive_statuses[0]"),
        (int(json!({"token_type_hint": "access_token"})), "providers[0].introspection.token_type_hint"),
        (p(json!({"audience_separator": ""})), "providers[0].audience_separator"),
        (p(json!({"audience_separator": ", "})), "providers[0].audience_separator"),
        (p(json!({"scope_separator": "a"})), "providers[0].scope_separator"),
        (p(json!({"scope_separator": "\t"})), "providers[0].scope_separator"),
        (p(json!({"refuse_id_tokens": "yes"})), "providers[0].refuse_id_tokens"),
        (userinfo(json!({"userinfo": {"subject": ""}}), json!({})), "providers[0].userinfo.subject"),
        (userinfo(json!({"userinfo": {"subject": {}}}), json!({})), "providers[0].userinfo.subject"),
        (userinfo(json!({"userinfo": {"subject": {"path": ""}}}), json!({})), "providers[0].userinfo.subject.path"),
        (userinfo(json!({"userinfo": {"subject": {"claims": ["a"]}}}), json!({})), "providers[0].userinfo.subject"),
        (userinfo(json!({"userinfo": {"subject": ["a", "b"]}}), json!({})), "providers[0].userinfo.subject"),
        (t(json!({"max_token_size": 1023})), "max_token_size"),
        (t(json!({"max_token_size": 61_441})), "max_token_size"),
        (t(json!({"max_token_size": -1})), "max_token_size"),
        (t(json!({"max_token_size": "16k"})), "max_token_size"),
        (t(json!({"require": {"claims": {"claim": "a", "absent": true, "any_of": "b"}}})), "require.claims.absent"),
        (t(json!({"require": {"claims": {"claim": "a", "absent": true, "matches": "b"}}})), "require.claims.absent"),
        (int(json!({"cache": "-1s"})), "providers[0].introspection.cache"),
        (int(json!({"negative_cache": "x"})), "providers[0].introspection.negative_cache"),
        // TB-60 to TB-64: settings of introspection for a provider that never introspects.
        (p(json!({"introspection": {"endpoint": "https://idp.example.com/i"}})), "providers[0].introspection"),
        (p(json!({"introspection": {"method": "POST"}})), "providers[0].introspection"),
        (p(json!({"introspection": {"param_name": "token"}})), "providers[0].introspection"),
        (userinfo(json!({"introspection": {}}), json!({})), "providers[0].introspection"),
        (p(json!({"userinfo": {"cache": 1}})), "providers[0].userinfo"),
        (introspection(json!({"userinfo": {}}), json!({})), "providers[0].userinfo"),
        (userinfo(json!({"userinfo": {"endpoint": "u"}}), json!({})), "providers[0].userinfo.endpoint"),
        // where tokens are
        (t(json!({"access_token": []})), "access_token"),
        (t(json!({"access_token": "Authorization"})), "access_token"),
        (at(json!({"location": "body", "key": "t"})), "access_token[0].location"),
        (at(json!({"location": 4, "key": "t"})), "access_token[0].location"),
        (at(json!({"location": 0.5, "key": "t"})), "access_token[0].location"),
        (at(json!({"location": "cookie"})), "access_token[0].key"),
        (at(json!({"key": ""})), "access_token[0].key"),
        (at(json!({"key": "a b"})), "access_token[0].key"),
        (at(json!({"key": ":path"})), "access_token[0].key"), // HDR-12
        (at(json!({"location": "cookie", "key": "a;b"})), "access_token[0].key"),
        (at(json!({"location": "cookie", "key": "t", "scheme": "Bearer"})), "access_token[0].scheme"),
        (at(json!({"scheme": "Bearer "})), "access_token[0].scheme"),
        (at(json!({"location": "metadata", "key": "t"})), "access_token[0].metadata_filter"), // GM-17
        (at(json!({"location": 3, "key": "t", "metadataFilter": ""})), "access_token[0].metadata_filter"),
        (at(json!({"key": "t", "metadata_filter": "n"})), "access_token[0].metadata_filter"),
        (at(json!({"key": "t", "provider": "nobody"})), "access_token[0].provider"),
        (t(json!({"access_token": [{"key": "x"}, {"key": "X"}]})), "access_token[1]"),
        // what a refusal is
        (t(json!({"enforce_response_code": 200})), "enforce_response_code"),
        (t(json!({"enforce_response_code": 299})), "enforce_response_code"),
        (t(json!({"enforce_response_code": 600})), "enforce_response_code"),
        (t(json!({"enforce_response_code": -1})), "enforce_response_code"),
        (t(json!({"enforce_response_code": 403.5})), "enforce_response_code"),
        (t(json!({"response_body": "html"})), "response_body"),
        (t(json!({"realm": "a\"b"})), "realm"),
        (t(json!({"realm": "a\r\nb"})), "realm"),
        // requirements
        (t(json!({"require": {"scopes": []}})), "require.scopes"),
        (t(json!({"require": {"scopes": ["a b"]}})), "require.scopes"),
        (t(json!({"require": {"scopes": ["a\"b"]}})), "require.scopes"),
        (t(json!({"require": {"scopes_any": [""]}})), "require.scopes_any"),
        (t(json!({"require": {"groups_allowlist": []}})), "require.groups_allowlist"), // AR-80
        (t(json!({"require": {"claims": [{}]}})), "require.claims[0].claim"),
        (t(json!({"require": {"claims": [{"claim": ""}]}})), "require.claims[0].claim"),
        (t(json!({"require": {"claims": [{"claim": "a", "path": "b"}]}})), "require.claims[0].path"),
        (t(json!({"require": {"claims": [{"path": "a..b"}]}})), "require.claims[0].path"),
        (t(json!({"require": {"claims": [{"path": []}]}})), "require.claims[0].path"),
        (t(json!({"require": {"claims": [{"claim": "a", "any_of": []}]}})), "require.claims[0].any_of"),
        (t(json!({"require": {"claims": [{"claim": "a", "matches": "("}]}})), "require.claims[0].matches"),
        // CFG-05, HDR-12: outputs
        (ui(json!({})), "user_info[0].key"),
        (ui(json!({"key": ""})), "user_info[0].key"),
        (ui(json!({"key": "a b"})), "user_info[0].key"),
        (ui(json!({"key": ":authority"})), "user_info[0].key"),
        (ui(json!({"key": "Host"})), "user_info[0].key"),
        (ui(json!({"key": "Content_Length"})), "user_info[0].key"),
        (ui(json!({"key": "x-envoy-original-path"})), "user_info[0].key"),
        (ui(json!({"key": "x-oidc-metadata-x"})), "user_info[0].key"),
        (ui(json!({"location": "cookie", "key": "a=b"})), "user_info[0].key"),
        (ui(json!({"location": "metadata", "key": "a b"})), "user_info[0].key"),
        // Where the filter tells its decision.
        (ui(json!({"location": "metadata", "key": "result"})), "user_info[0].key"),
        (ui(json!({"location": "metadata", "key": "reason"})), "user_info[0].key"),
        (ui(json!({"location": "metadata", "key": "route"})), "user_info[0].key"),
        (ui(json!({"location": "metadata", "key": "mcp"})), "user_info[0].key"),
        (ui(json!({"location": "metadata", "key": "shadow_result"})), "user_info[0].key"),
        (ui(json!({"location": "metadata", "key": "shadow_reason", "metadata_namespace": "oidc"})), "user_info[0].key"),
        // Any namespace may be the name of a filter in the chain, and that may hold dots.
        (ui(json!({"location": "metadata", "key": "result", "metadata_namespace": "users"})), "user_info[0].key"),
        (ui(json!({"location": "metadata", "key": "b.route", "metadata_namespace": "a"})), "user_info[0].key"),
        (ui(json!({"location": "metadata", "key": "a", "metadata_namespace": ""})), "user_info[0].metadata_namespace"),
        (ui(json!({"location": "header", "key": "x-a", "claims": ["sub", ""]})), "user_info[0].claims"),
        (ui(json!({"location": "nowhere", "key": "a"})), "user_info[0].location"),
        (ui(json!({"key": "a", "encoding": "base64"})), "user_info[0].encoding"),
        (ui(json!({"location": "cookie", "key": "a", "encoding": "json"})), "user_info[0].encoding"),
        (ui(json!({"location": "query_string", "key": "a", "encoding": "json"})), "user_info[0].encoding"),
        (ui(json!({"key": "a", "metadata_namespace": "n"})), "user_info[0].metadata_namespace"),
        (ui(json!({"key": "a", "cookie_options": {}})), "user_info[0].cookie_options"),
        (cookie(json!({"same_site": "Never"})), "user_info[0].cookie_options.same_site"),
        (cookie(json!({"same_site": "None", "secure": false})), "user_info[0].cookie_options.same_site"),
        (cookie(json!({"path": "/;x"})), "user_info[0].cookie_options.path"),
        (cookie(json!({"domain": "a\nb"})), "user_info[0].cookie_options.domain"),
        (cookie(json!({"max_age": "x"})), "user_info[0].cookie_options.max_age"),
        (ch(json!({"header": ""})), "claim_headers[0].header"),
        (ch(json!({"header": "a:b"})), "claim_headers[0].header"),
        (ch(json!({"header": "Transfer-Encoding"})), "claim_headers[0].header"),
        (ch(json!({"header": "x-forwarded-for"})), "claim_headers[0].header"),
        (ch(json!({"claim": null})), "claim_headers[0].claim"),
        (ch(json!({"path": "a"})), "claim_headers[0].path"),
        (ch(json!({"separator": ""})), "claim_headers[0].separator"),
        (ch(json!({"separator": "%"})), "claim_headers[0].separator"),
        (ch(json!({"separator": "\n"})), "claim_headers[0].separator"),
        (ch(json!({"prefix": "\n"})), "claim_headers[0].prefix"),
        (ch(json!({"prefix": " x"})), "claim_headers[0].prefix"),
        (ch(json!({"transformers": [{"matches": "(", "replaces": ""}]})), "claim_headers[0].transformers[0].matches"),
        (ch(json!({"transformers": [{"matches": "a"}]})), "claim_headers[0].transformers[0].replaces"),
        (ch(json!({"transformers": {"replaces": "a"}})), "claim_headers[0].transformers.matches"),
        // two in one place
        (ui(json!({"key": "authorization"})), "user_info[0].key"),
        (t(json!({"user_info": [{"key": "x-a"}, {"key": "X_A"}]})), "user_info[1].key"),
        (
            t(json!({"user_info": {"key": "x-a"}, "claim_headers": {"header": "x.a", "claim": "c"}})),
            "claim_headers[0].header",
        ),
        (t(json!({"access_token": {"key": "x-a"}, "user_info": {"key": "X-A"}})), "user_info[0].key"),
        (
            t(
                json!({"access_token": {"location": "cookie", "key": "c"}, "user_info": {"location": "cookie", "key": "C"}}),
            ),
            "user_info[0].key",
        ),
        (
            t(json!({"user_info": [{"location": "metadata", "key": "m"}, {"location": "metadata", "key": "M"}]})),
            "user_info[1].key",
        ),
    ] {
        refuses(&configuration, path);
    }
}

/// WSM-05: what is no configuration at all.
#[test]
fn neither_json_nor_a_struct() {
    let good = jwt(json!({}), json!({})).to_string();
    for text in [
        "",
        " ",
        "null",
        "[]",
        "7",
        "{",
        "provider: https://idp.example.com",
        &good[1..],
        &format!("{good}{good}"),
        &format!("\u{feff}{good}"),
        &good.replace(':', "="),
        &good.replacen('{', r#"{"enforce":true,"enforce":false,"#, 1),
        &"{\"providers\":".repeat(10_000),
    ] {
        assert!(read(text.as_bytes()).is_err(), "{text:.100}");
    }
    let structure = protobuf::write_struct(jwt(json!({}), json!({})).as_object().unwrap());
    for length in 0..structure.len() {
        assert!(read(&structure[..length]).is_err(), "{length}");
    }
    for byte in 0..=255 {
        assert!(read(&[byte]).is_err());
        assert!(read(&[byte; 40]).is_err());
    }
}

/// CFG-02, UIF-04: what is sound but deserves a word.
#[test]
fn unwise_configurations_are_warned_of() {
    let warned = |configuration: Value, word: &str| {
        let config = accepts(&configuration);
        assert!(config.warnings.iter().any(|warning| warning.contains(word)), "{word}: {:?}", config.warnings);
    };
    warned(jwt(json!({"audiences": null, "any_audience": true}), json!({})), "any_audience");
    warned(jwt(json!({"issuer": "http://idp.example.com"}), json!({})), "https");
    warned(userinfo(json!({}), json!({})), "userinfo");
    let endpoint = json!({"introspection": {"endpoint": "https://idp.example.com/i"}});
    warned(introspection(endpoint, json!({})), "client_id");
    for (field, value) in [
        ("algorithms", json!("RS256")),
        ("jwks", json!({"uri": "https://idp.example.com/j"})),
        ("max_lifetime", json!("1h")),
        ("require_expiration", json!(true)),
        ("token_type", json!("at+jwt")),
    ] {
        let unused = format!("{field}: of no effect");
        warned(introspection(json!({field: value}), json!({})), &unused);
        warned(userinfo(json!({field: value}), json!({})), &unused);
    }
    let required = json!({"scopes": "admin"});
    warned(jwt(json!({}), json!({"require": required, "enforce": false})), "others pass");
    warned(jwt(json!({}), json!({"require": required, "allow_missing": true})), "others pass");
    warned(jwt(json!({}), json!({"verify_path": "/verify"})), "leave paths as they are");
    let in_cookie = json!({"location": "cookie", "key": "id", "claims": "sub"});
    warned(jwt(json!({}), json!({"verify_path": "/verify", "user_info": in_cookie})), "writes headers only");
    let told = json!({"method_header": "x-method", "uri_header": "x-uri"});
    for sound in [
        json!({"require": required}),
        json!({"require": {}, "enforce": false}),
        json!({"verify_path": "/verify", "verify_request": told, "user_info": {"key": "x-id", "claims": "sub"}}),
    ] {
        assert_eq!(accepts(&jwt(json!({}), sound)).warnings, []);
    }
    assert_eq!(accepts(&jwt(json!({}), json!({}))).warnings, []);
}

/// An error tells what to write in place of what was found.
#[test]
fn errors_have_a_remedy() {
    const BROKEN: &str = "-----BEGIN PRIVATE KEY-----\nMIG\n-----END PRIVATE KEY-----\n";
    let client = json!({"client_id": "me", "client_auth": "private_key_jwt", "client_key": BROKEN});
    let assertion = json!({"assertion": {"issuer": "https://edge.example", "audience": "a", "keys": BROKEN}});
    for (config, path, remedy) in [
        (jwt(json!({"audiences": 17}), json!({})), "providers[0].audiences", "a number; write it in quotes"),
        (jwt(json!({"name": true}), json!({})), "providers[0].name", "a boolean; write it in quotes"),
        (json!({"providers": [{"issuer": null}]}), "providers[0].issuer", "write a value, or leave the field out"),
        (jwt(json!({}), json!({"claim_headers": {"claim": "sub"}})), "claim_headers.header", "required: a string"),
        (jwt(json!({"jwks": {"inline": BROKEN}}), json!({})), "providers[0].jwks.inline", "is no usable JWK Set"),
        (introspection(json!({"introspection": client}), json!({})), "providers[0].introspection.client_key", "in PEM"),
        (jwt(json!({}), assertion), "assertion.keys", "no JSON object, such as a JWK"),
    ] {
        let error = refuses(&config, path);
        assert!(error.contains(remedy) && !error.contains("line 1"), "{error}");
    }
}

/// Which Envoy cluster is called for which host.
#[test]
fn clusters() {
    let called = |provider: Value, metadata: Value| {
        let mut scene = Scene::cold(jwt(provider, json!({})));
        scene.provider.metadata(metadata);
        scene.provider.serve("https://keys.example/k", says_json(json!({"keys": [key("k1").jwk()]})));
        scene.provider.serve("https://idp.example.com:8443/k", says_json(json!({"keys": [key("k1").jwk()]})));
        scene.tick();
        let clusters: Vec<String> = scene.calls.iter().map(|call| call.cluster.clone()).collect();
        clusters.join(" ")
    };
    assert_eq!(called(json!({}), json!({})), "idp.example.com idp.example.com");
    assert_eq!(called(json!({"cluster": "idp"}), json!({})), "idp idp");
    let elsewhere = || json!({"jwks_uri": "https://keys.example/k"});
    assert_eq!(called(json!({"clusters": {"keys.example": "keys"}}), elsewhere()), "idp.example.com keys");
    assert_eq!(called(json!({"clusters": {"KEYS.Example": "keys"}}), elsewhere()), "idp.example.com keys");
    assert_eq!(called(json!({"clusters": {"keys.example:443": "keys"}}), elsewhere()), "idp.example.com keys");
    assert_eq!(called(json!({"clusters": {"keys.example:80": "keys"}}), elsewhere()), "idp.example.com");
    assert_eq!(called(json!({}), elsewhere()), "idp.example.com");
    assert_eq!(called(json!({"clusters": {"example": "keys"}}), elsewhere()), "idp.example.com");
    let port = || json!({"jwks_uri": "https://idp.example.com:8443/k"});
    assert_eq!(called(json!({"cluster": "idp", "clusters": {"idp.example.com:8443": "k"}}), port()), "idp k");
    assert_eq!(called(json!({"cluster": "idp"}), port()), "idp");
    // What the operator writes out needs no map.
    let configured = json!({"jwks": {"uri": "https://keys.example/k"}});
    assert_eq!(called(configured.clone(), json!({})), "keys.example");
    assert_eq!(called(with(configured, json!({"cluster": "idp"})), json!({})), "idp");
}
