//! What the upstream learns of a token: every encoding to the letter, at every place (GM-20 to GM-28, AR-40 to AR-43, HDR).

use crate::scene::*;
use crate::support::with;
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use oidc_filter::protobuf;
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// A filter that asks userinfo, which says this about the token `good`.
fn scene(user: Value, top: Value) -> Scene {
    let mut scene = Scene::of(userinfo(json!({}), top));
    scene.provider.users.insert("good".to_owned(), with(json!({"sub": "1"}), user));
    scene
}

/// What the upstream sees of a token: made for the first request, kept at the second, written again for the third, and each time
/// the same.
fn each_time(scene: &mut Scene, ask: impl Fn() -> Ask) -> Upstream {
    let [first, rest @ ..] = std::array::from_fn::<_, 3, _>(|_| scene.send(ask()).allowed());
    for later in rest {
        assert_eq!(
            (&later.headers, &later.response_cookies, &later.filter_state),
            (&first.headers, &first.response_cookies, &first.filter_state)
        );
    }
    first
}

/// What the upstream sees of these claims with one output.
fn told(user: Value, output: Value) -> Upstream {
    each_time(&mut scene(user, json!({"user_info": output})), || get("/p?a=1").bearer("good"))
}

/// The header `h` that one claim header writes.
fn header(claims: Value, output: Value) -> Option<String> {
    let output = with(json!({"header": "h"}), output);
    let upstream = each_time(&mut scene(claims, json!({"claim_headers": output})), || bearer("good"));
    upstream.header("h").map(str::to_owned)
}

fn ann() -> Value {
    json!({"name": "Ann Lee", "email": "a@b.c"})
}

const ANN: &str = "%7B%22email%22:%22a@b.c%22%2C%22name%22:%22Ann%20Lee%22%7D";

fn ann_at(location: &str, more: Value) -> Upstream {
    told(ann(), with(json!({"location": location, "key": "Identity", "claims": ["name", "email"]}), more))
}

// ---------------------------------------------------------------------------------------------- objects of claims

/// GM-20: the contract's example.
#[test]
fn the_encoding_to_the_letter() {
    assert_eq!(ann_at("header", json!({})).header("identity"), Some(ANN));
    let name = told(ann(), json!({"key": "Identity", "claims": "name"}));
    assert_eq!(name.header("identity"), Some("%7B%22name%22:%22Ann%20Lee%22%7D"));
    assert_eq!(ann_at("header", json!({"encoding": "uri"})).header("identity"), Some(ANN));
    let json = r#"{"email":"a@b.c","name":"Ann Lee"}"#;
    assert_eq!(ann_at("header", json!({"encoding": "json"})).header("identity"), Some(json));
    let base64 = BASE64_URL_SAFE_NO_PAD.encode(json);
    assert_eq!(ann_at("header", json!({"encoding": "base64url"})).header("identity"), Some(&*base64));
}

/// GM-21, GM-22.
#[test]
fn only_the_listed_claims_go_out() {
    let all = "%7B%22email%22:%22a@b.c%22%2C%22name%22:%22Ann%20Lee%22%2C%22sub%22:%221%22%7D";
    assert_eq!(told(ann(), json!({"key": "i"})).header("i"), Some(all));
    assert_eq!(told(ann(), json!({"key": "i", "claims": []})).header("i"), Some(all));
    let some = told(ann(), json!({"key": "i", "claims": ["name", "nope"]}));
    assert_eq!(some.header("i"), Some("%7B%22name%22:%22Ann%20Lee%22%7D"));
    assert_eq!(told(ann(), json!({"key": "i", "claims": "nope"})).header("i"), Some("%7B%7D"));
}

/// GM-28.
#[test]
fn nothing_where_nothing_is_wanted() {
    let upstream = scene(ann(), json!({})).send(bearer("good")).allowed();
    assert_eq!((upstream.edits, upstream.response_cookies.len(), upstream.filter_state.len()), (0, 0, 0));
}

/// GM-23, GM-24, HDR-06 to HDR-11: whatever a claim holds, it stands in one value, and decodes to itself.
#[test]
fn every_claim_survives_every_encoding() {
    let hard = json!({
        "sub": "1", "text": "\"\\%,;=&+#? \r\n\t\u{0}\u{7f}é😀\u{a0}", "list": [1, -2.5, true, null, ["x"]], "deep": {"a": {"b": []}},
        "big": 9_007_199_254_740_993_u64, "": "nameless", "na\"me": " ends ", "no": false, "empty": "",
    });
    let decoded = |text: &str| -> Value {
        let bytes: Vec<u8> = percent_decode_str(text).collect();
        serde_json::from_slice(&bytes).unwrap()
    };
    let at = |location: &str, encoding: &str| {
        told(hard.clone(), json!({"location": location, "key": "i", "encoding": encoding}))
    };
    assert_eq!(decoded(at("header", "uri").header("i").unwrap()), hard);
    let cookies = at("cookie", "uri");
    let octets = |c: char| c.is_ascii_graphic() && !"\",;\\".contains(c); // RFC 6265, section 4.1.1
    let value = cookies.cookie().unwrap().strip_prefix("i=").unwrap();
    assert!(value.chars().all(octets));
    assert_eq!(decoded(value), hard);
    let query = at("query_string", "uri");
    let parameters: Vec<(String, String)> =
        url::form_urlencoded::parse(query.path().split_once('?').unwrap().1.as_bytes()).into_owned().collect();
    assert_eq!(parameters[0], ("a".to_owned(), "1".to_owned()));
    assert_eq!(serde_json::from_str::<Value>(&parameters[1].1).unwrap(), hard);
    for location in ["header", "cookie", "query_string"] {
        let upstream = at(location, "base64url");
        let text = match location {
            "header" => upstream.header("i").unwrap(),
            "cookie" => upstream.cookie().unwrap().strip_prefix("i=").unwrap(),
            _ => upstream.path().strip_prefix("/p?a=1&i=").unwrap(),
        };
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(text).unwrap();
        assert_eq!(serde_json::from_slice::<Value>(&bytes).unwrap(), hard);
    }
    let json = at("header", "json");
    assert_eq!(serde_json::from_str::<Value>(json.header("i").unwrap()).unwrap(), hard);
    assert!(json.header("i").unwrap().is_ascii());
}

/// In a query, what separates parameters or stands for a space is escaped, too.
#[test]
fn encoding_in_a_query() {
    let claims = json!({"c": "&+=#:@$?/"});
    let output = json!({"location": "query_string", "key": "i", "claims": "c"});
    assert_eq!(told(claims.clone(), output).path(), "/p?a=1&i=%7B%22c%22:%22%26%2B%3D%23:@$%3F%2F%22%7D");
    let output = json!({"key": "i", "claims": "c"});
    assert_eq!(told(claims, output).header("i"), Some("%7B%22c%22:%22&+=%23:@$%3F%2F%22%7D"));
}

/// GM-25.
#[test]
fn a_cookie_on_the_request_and_on_the_response() {
    for (options, attributes) in [
        (json!({}), "; Path=/; HttpOnly; Secure; SameSite=Lax"),
        (
            json!({"httpOnly": false, "secure": false, "domain": "example.com", "path": "/app", "maxAge": "2h45m"}),
            "; Path=/app; Domain=example.com; Max-Age=9900; SameSite=Lax",
        ),
        (
            json!({"http_only": true, "same_site": "Strict", "max_age": "1.5s"}),
            "; Path=/; Max-Age=2; HttpOnly; Secure; SameSite=Strict",
        ),
        (json!({"same_site": "none", "max_age": 60}), "; Path=/; Max-Age=60; HttpOnly; Secure; SameSite=None"),
        (json!({"max_age": "-1.5h"}), "; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"),
        (json!({"max_age": "300ms"}), "; Path=/; Max-Age=0; HttpOnly; Secure; SameSite=Lax"),
        (json!({"domain": "", "path": "", "maxAge": ""}), "; Path=/; HttpOnly; Secure; SameSite=Lax"),
    ] {
        let upstream = ann_at("cookie", json!({"cookie_options": options}));
        assert_eq!(upstream.response_cookies, [format!("Identity={ANN}{attributes}")]);
        assert_eq!(upstream.cookie(), Some(&*format!("Identity={ANN}")));
    }
    let output = json!({"user_info": {"location": "cookie", "key": "Identity", "claims": "name"}});
    let mut scene = scene(ann(), output);
    let sent = bearer("good").header("cookie", "a=1; Identity=forged").header("cookie", "b=2");
    let upstream = scene.send(sent).allowed();
    assert_eq!(upstream.cookie(), Some("Identity=%7B%22name%22:%22Ann%20Lee%22%7D; a=1; b=2"));
    let upstream = scene.send(bare().header("cookie", "Identity=forged").bearer("good")).allowed();
    assert_eq!(upstream.cookie(), Some("Identity=%7B%22name%22:%22Ann%20Lee%22%7D"));
}

/// GM-26.
#[test]
fn a_parameter_of_the_query() {
    let written = "who=%7B%22name%22:%22Ann%20Lee%22%7D";
    let output = json!({"user_info": {"location": "queryString", "key": "who", "claims": "name"}});
    let mut scene = scene(ann(), output);
    for (sent, seen) in [
        ("/p", format!("/p?{written}")),
        ("/p?", format!("/p?{written}")),
        ("/p?a=1&b=%20", format!("/p?a=1&b=%20&{written}")),
        ("/p?who=me&a=1", format!("/p?a=1&{written}")),
        ("/p?who=me", format!("/p?{written}")),
        ("/p?a=1#f", format!("/p?a=1&{written}#f")),
    ] {
        assert_eq!(scene.send(get(sent).bearer("good")).allowed().path(), seen);
    }
}

/// GM-26: RFC 3986, section 2.3: unreserved characters are not escaped, so that those who match names by text find
/// them.
#[test]
fn the_name_of_a_parameter() {
    let output = json!({"location": "query_string", "key": "user_info-1.0~x", "claims": "nope"});
    assert_eq!(told(ann(), output).path(), "/p?a=1&user_info-1.0~x=%7B%7D");
}

/// GM-27: what `header_to_metadata` reads is a `google.protobuf.Value`, and filter state holds the same struct.
#[test]
fn an_identity_goes_out_as_metadata() {
    let claims = json!({"name": "Ann", "n": 7, "big": 9_007_199_254_740_993_u64, "ok": true, "l": ["a", {"b": -0.5}], "nil": null});
    let output = json!({"location": "metadata", "key": "Claims", "claims": ["name", "n", "big", "ok", "l", "nil"]});
    let upstream = told(claims, output.clone());
    let value = BASE64_STANDARD.decode(upstream.header("x-oidc-metadata-claims").unwrap()).unwrap();
    let (key, state) = &upstream.filter_state[0];
    assert_eq!((&**key, upstream.filter_state.len()), ("oidc.Claims", 1));
    // Field 5 of a Value is its struct_value.
    let mut expected = Vec::new();
    protobuf::write_bytes(&mut expected, 5, state);
    assert_eq!(value, expected);
    let read = Value::Object(protobuf::read_struct(state).unwrap());
    // What a double can't hold is text, so that no two become one (HDR-11).
    let big = "9007199254740993";
    assert_eq!(read, json!({"name": "Ann", "n": 7, "big": big, "ok": true, "l": ["a", {"b": -0.5}]}));
    let named = told(ann(), with(output, json!({"metadata_namespace": "gm.oidc-validation"})));
    assert_eq!(named.filter_state[0].0, "gm.oidc-validation.Claims");
    assert!(named.header("x-oidc-metadata-claims").is_some());
}

/// HDR-09: Over 8 KiB Envoy would lose it in silence; a client would drop the cookie.
#[test]
fn what_does_not_fit_is_refused() {
    let long = |length: usize| json!({"c": "x".repeat(length)});
    for (location, most) in [("header", 8_000), ("query_string", 8_000), ("cookie", 3_700), ("metadata", 6_000)] {
        let output = json!({"user_info": {"location": location, "key": "i", "claims": "c"}});
        scene(long(most), output.clone()).send(bearer("good")).allowed();
        let refusal = scene(long(8_200), output).send(bearer("good")).refused(503, "misconfigured");
        assert_eq!(refusal.challenge(), None);
    }
    let output = json!({"claim_headers": {"header": "h", "claim": "c"}});
    scene(long(8_000), output.clone()).send(bearer("good")).allowed();
    scene(long(8_200), output).send(bearer("good")).refused(503, "misconfigured");
}

#[test]
fn several_outputs_at_once() {
    let outputs = json!({
        "user_info": [
            {"key": "x-one", "claims": "name"}, {"key": "x-two", "claims": "email", "encoding": "json"},
            {"location": "cookie", "key": "c", "claims": "nope"}, {"location": "query_string", "key": "q", "claims": "nope"},
            {"location": "metadata", "key": "m"}, {"location": "metadata", "key": "n", "claims": "name"},
        ],
        "claim_headers": [{"header": "x-name", "claim": "name"}, {"header": "x-sub", "claim": "sub"}],
    });
    let upstream = scene(ann(), outputs).send(bearer("good")).allowed();
    assert_eq!(upstream.header("x-one"), Some("%7B%22name%22:%22Ann%20Lee%22%7D"));
    assert_eq!(upstream.header("x-two"), Some(r#"{"email":"a@b.c"}"#));
    assert_eq!((upstream.cookie(), upstream.path()), (Some("c=%7B%7D"), "/things?q=%7B%7D"));
    assert_eq!(upstream.filter_state.iter().map(|(key, _)| &**key).collect::<Vec<_>>(), ["oidc.m", "oidc.n"]);
    assert_eq!((upstream.header("x-name"), upstream.header("x-sub")), (Some("Ann Lee"), Some("1")));
}

// ---------------------------------------------------------------------------------------------- single claims

/// HDR-11.
#[test]
fn claims_of_each_type_have_one_text() {
    for (value, written) in [
        (json!("plain text; a=\"b\""), Some("plain text; a=\"b\"")),
        (json!(42), Some("42")),
        (json!(-1.50), Some("-1.5")),
        (json!(9_007_199_254_740_993_u64), Some("9007199254740993")),
        (json!(true), Some("true")),
        (json!({"b": 1, "a": [2]}), Some(r#"{"a":[2]%2C"b":1}"#)),
        (json!(["a", "b"]), Some("a,b")),
        (json!(["a", 1, true, {"x": 1}]), Some(r#"a,1,true,{"x":1}"#)),
        (json!([]), Some("")), // AR-41
        (json!(""), Some("")),
        (json!(null), None),
    ] {
        assert_eq!(header(json!({"c": value}), json!({"claim": "c"})).as_deref(), written, "{value}");
    }
    assert_eq!(header(json!({}), json!({"claim": "c"})), None);
}

/// HDR-06, HDR-07, HDR-10, AR-43: what can't stand in a header is escaped, so that decoding gives the claim back.
#[test]
fn claims_that_are_no_header_text() {
    for (value, written) in [
        ("a\r\nx-admin: 1", "a%0D%0Ax-admin: 1"),
        ("Zoë", "Zo%C3%AB"),
        ("日本", "%E6%97%A5%E6%9C%AC"),
        ("100%", "100%25"),
        ("%0d%0a", "%250d%250a"),
        (" admin ", "%20admin%20"),
        ("a\0b\u{7f}\t", "a%00b%7F%09"),
        ("admin\u{a0}", "admin%C2%A0"),
        ("   ", "%20%20%20"),
    ] {
        assert_eq!(header(json!({"c": value}), json!({"claim": "c"})).as_deref(), Some(written));
        let decoded: Vec<u8> = percent_decode_str(written).collect();
        assert_eq!(decoded, value.as_bytes());
    }
}

/// HDR-08: one group is never two, and two are never others.
#[test]
fn lists_are_joined_without_doubt() {
    let joined = |list: Value, separator: &str| {
        let output = json!({"claim": "c", "separator": separator});
        header(json!({"c": list}), output).unwrap()
    };
    assert_eq!(joined(json!(["a,admin", "b"]), ","), "a%2Cadmin,b");
    assert_eq!(joined(json!(["a, admin"]), ","), "a%2C admin");
    assert_eq!(joined(json!(["a,b"]), ";"), "a,b");
    assert_eq!(joined(json!(["a;b", "c"]), ";"), "a%3Bb;c");
    assert_eq!(joined(json!(["a b", "c"]), " "), "a%20b c");
    assert_eq!(joined(json!(["a | b", "c"]), " | "), "a %7C b | c");
    assert_eq!(joined(json!(["a%2Cb"]), ","), "a%252Cb");
    assert_eq!(joined(json!([" a", "b "]), ","), "%20a,b%20");
    assert_eq!(joined(json!(["", ""]), ","), ",");
    // No header may begin or end with white space (RFC 9110, section 5.5): what comes before and after an empty element.
    assert_eq!(joined(json!(["a b", ""]), " "), "a%20b");
    assert_eq!(joined(json!(["", "a", "", "b"]), " "), "a  b");
    assert_eq!(joined(json!(["a", ""]), ", "), "a,");
    let list = json!([["x", "y"], {"a": 1, "b": 2}]);
    assert_eq!(joined(list, ","), r#"["x"%2C"y"],{"a":1%2C"b":2}"#);
}

/// HDR-08: HDR-08, with a separator that may overlap with what stands before it.
#[test]
fn separators_of_several_characters() {
    let joined = |list: Value, separator: &str| {
        let output = json!({"claim": "c", "separator": separator});
        header(json!({"c": list}), output).unwrap()
    };
    assert_ne!(joined(json!(["a,", "b"]), ",,"), joined(json!(["a", ",b"]), ",,"));
    assert_ne!(joined(json!(["a-", "-b"]), "--"), joined(json!(["a", "", "b"]), "--"));
}

/// What a service reads that splits at the separator: its spaces are of no account, unless it has nothing else.
fn elements(written: &str, separator: &str) -> Vec<String> {
    let mark = if separator.trim().is_empty() { separator } else { separator.trim() };
    let decoded = |part: &str| percent_decode_str(part.trim()).decode_utf8().unwrap().into_owned();
    written.split(mark).map(decoded).collect()
}

/// What somebody can make of a string, so that it is taken for a list, or for another string.
const HARD: [&str; 18] = [
    "x,admin",
    "x, admin",
    "a;b",
    "a|b",
    "a||b",
    "|a|",
    "a b",
    " a , b ",
    "a - b",
    "-1.5",
    "%2C",
    "100%",
    "é,ü",
    "a\r\n,b",
    "\"a,b\"",
    "[\"a\",\"b\"]",
    "{\"a\":\"x,admin,y\"}",
    "c",
];

const SEPARATORS: [&str; 12] = [",", ", ", ";", "|", "||", " | ", " ", "  ", ",,", "-", ".", "\""];

/// ATK-08.
#[test]
fn a_header_gives_back_what_was_claimed() {
    for separator in SEPARATORS {
        let output = json!({"header": "h", "claim": "c", "separator": separator});
        let mut scene = scene(json!({}), json!({"claim_headers": output}));
        let mut written = |claim: &Value| {
            let token = format!("a-token-for-claim-{}", scene.provider.users.len());
            scene.provider.users.insert(token.clone(), json!({"sub": "1", "c": claim}));
            each_time(&mut scene, || bearer(&token)).header("h").unwrap().to_owned()
        };
        for string in HARD {
            // The same bytes for those who split and those who don't.
            let one = written(&json!(string));
            assert_eq!(elements(&one, separator), [string], "{separator:?} {one}");
            assert_eq!(percent_decode_str(&one).decode_utf8().unwrap(), string);
            assert_eq!(one, written(&json!([string])));
            for other in HARD {
                let both = written(&json!([string, other]));
                assert_eq!(elements(&both, separator), [string, other], "{separator:?} {both}");
            }
        }
        // Whatever is no string stands as its JSON.
        for claim in [json!({"b": "x,admin,y", "a": [1, "2 | ;"]}), json!(-1.5), json!(true)] {
            let one = written(&claim);
            assert_eq!(elements(&one, separator), [claim.to_string()], "{separator:?} {one}");
        }
    }
}

/// ATK-08.
#[test]
fn wherever_the_string_comes_from() {
    let claims = json!({"g": "x,admin", "deep": {"g": "x,admin"}, "l": ["x,admin"]});
    for output in [
        json!({"claim": "g"}),
        json!({"path": "deep.g"}),
        json!({"claims": ["nope", "g"]}),
        json!({"claim": "g", "default": "a,b"}),
        json!({"claim": "g", "required": true}),
        json!({"claim": "l"}),
        json!({"claim": "l", "text": true}),
    ] {
        assert_eq!(header(claims.clone(), output.clone()).as_deref(), Some("x%2Cadmin"), "{output}");
    }
    let prefixed = json!({"claim": "g", "prefix": "groups: "});
    assert_eq!(header(claims.clone(), prefixed).as_deref(), Some("groups: x%2Cadmin"));
    let transformed = json!({"claim": "g", "transformers": {"matches": "x", "replaces": "y,z"}});
    assert_eq!(header(claims.clone(), transformed).as_deref(), Some("y%2Cz%2Cadmin"));
    // The operator's own words stay.
    assert_eq!(header(json!({}), json!({"claim": "g", "default": "a,b"})).as_deref(), Some("a,b"));
}

/// ATK-08: a name with commas is one name, for a service that reads the header whole.
#[test]
fn a_claim_that_is_text_by_nature() {
    let named =
        |claim: Value, more: Value| header(json!({"c": claim}), with(json!({"claim": "c", "text": true}), more));
    assert_eq!(named(json!("Lee, Ann, PhD"), json!({})).as_deref(), Some("Lee, Ann, PhD"));
    assert_eq!(named(json!("read write"), json!({"separator": " "})).as_deref(), Some("read write"));
    // What is no header text is escaped as ever.
    assert_eq!(named(json!("Zoë,\r\n100% "), json!({})).as_deref(), Some("Zo%C3%AB,%0D%0A100%25%20"));
    // It is about strings: a list is a list, an object has no commas of its own.
    assert_eq!(named(json!(["a,b", "c"]), json!({})).as_deref(), Some("a%2Cb,c"));
    assert_eq!(named(json!({"a": 1, "b": 2}), json!({})).as_deref(), Some(r#"{"a":1%2C"b":2}"#));
}

/// MV-40, CLM-17.
#[test]
fn a_claim_is_found_by_its_path_or_a_fallback() {
    let claims =
        json!({"a": {"b": {"c": "deep"}}, "a.b": "dotted", "mail": "m", "upn": "u", "nil": null, "list": [{"b": 1}]});
    for (output, written) in [
        (json!({"path": "a.b.c"}), Some("deep")),
        (json!({"path": ["a", "b", "c"]}), Some("deep")),
        (json!({"path": ["a.b"]}), Some("dotted")),
        (json!({"claim": "a.b"}), Some("dotted")),
        (json!({"path": "a.b"}), Some(r#"{"c":"deep"}"#)),
        (json!({"path": "a.x.c"}), None),
        (json!({"path": "mail.x"}), None),
        (json!({"path": "list.0.b"}), None),
        (json!({"path": "__proto__.x"}), None),
        (json!({"claim": "email", "claims": ["mail", "upn"]}), Some("m")),
        (json!({"claims": ["nil", "upn"]}), Some("u")),
        (json!({"claims": "upn"}), Some("u")),
        (json!({"path": "no.where", "claims": ["nope"]}), None),
    ] {
        assert_eq!(header(claims.clone(), output.clone()).as_deref(), written, "{output}");
    }
}

/// AR-42: the three examples of AuthService; the first that matches is applied, wherever it matches.
#[test]
fn transformers_and_prefixes_are_applied() {
    let transformers = json!([
        {"matches": "user@domain\\.com", "replaces": "transformed"}, {"matches": "@domain\\.com", "replaces": ""},
    ]);
    let output = |more: Value| with(json!({"claim": "email", "transformers": transformers}), more);
    let mail = |mail: &str, more: Value| header(json!({"email": mail}), output(more)).unwrap();
    assert_eq!(mail("user@domain.com", json!({})), "transformed");
    assert_eq!(mail("x@domain.com", json!({})), "x");
    assert_eq!(mail("x@other.com", json!({})), "x@other.com");
    assert_eq!(mail("x@domain.com", json!({"prefix": "u:"})), "u:x");
    let groups =
        json!({"transformers": {"matches": "^/?(.*)-(.*)$", "replaces": "$2.$1"}, "claim": "g", "prefix": "g:"});
    assert_eq!(header(json!({"g": ["/a-b", "c-d-e", "f"]}), groups).unwrap(), "g:b.a,e.c-d,f");
    // What a transformer makes is escaped like any other text.
    let injected = json!({"transformers": {"matches": "-", "replaces": "\r\n"}});
    assert_eq!(mail("a-b", injected), "a%0D%0Ab");
}

#[test]
fn a_claim_that_must_be_there() {
    let output = json!({"claim_headers": {"header": "h", "claim": "c", "required": true}});
    scene(json!({"c": false}), output.clone()).send(bearer("good")).allowed();
    for lacking in [json!({}), json!({"c": null}), json!({"C": "x"}), json!({"c": ""}), json!({"c": []})] {
        let refusal = scene(lacking, output.clone()).send(bearer("good")).refused(403, "insufficient_claims");
        assert_eq!(refusal.challenge(), None);
    }
    // A good token that isn't enough is refused even where bad ones are only stripped.
    let lenient = with(output, json!({"enforce": false}));
    scene(json!({}), lenient).send(bearer("good")).refused(403, "insufficient_claims");
}

/// ENC-10, CLM-17: only the very name counts.
#[test]
fn claims_of_nearly_that_name() {
    let claims = json!({"Email": "forged", "EMAIL": "forged", "email ": "forged"});
    assert_eq!(header(claims, json!({"claim": "email"})), None);
}

/// Envoy's protobuf reads a hundred messages within each other, and drops what has more without a word.
#[test]
fn metadata_that_envoy_would_drop() {
    let nested = |levels: usize, object: bool| {
        (0..levels).fold(json!("bottom"), |inner, _| if object { json!({"a": inner}) } else { json!([inner]) })
    };
    let metadata = json!({"user_info": {"location": "metadata", "key": "identity"}});
    let mut scene = Scene::of(jwt(json!({}), metadata));
    for (levels, object, fits) in [(48, false, true), (49, false, false), (32, true, true), (33, true, false)] {
        let seen = scene.send(bearer(&token(json!({"deep": nested(levels, object)}))));
        if fits {
            seen.allowed();
        } else {
            seen.refused(503, "misconfigured");
        }
    }
}

// ---------------------------------------------------------------------------------------------- what is kept

/// CCH-03: what is kept of a token under one policy is not written under another.
#[test]
fn each_policy_writes_its_own() {
    let rule = |path: &str, more: Value| with(json!({"match": {"path_prefix": path}}), more);
    let to = |header: &str, claim: &str| json!({"claim_headers": {"header": header, "claim": claim}});
    let mut scene = Scene::of(jwt(
        json!({}),
        with(
            to("x-a", "sub"),
            json!({"rules": [
                rule("/b", to("x-b", "sub")),
                rule("/c", json!({"claim_headers": [], "user_info": {"key": "x-c", "claims": "client_id"}})),
                rule("/d", json!({"claim_headers": {"header": "x-a", "claim": "client_id"}})),
                rule("/e", json!({"realm": "as above"})),
                rule("/f", json!({"claim_headers": []})),
            ]}),
        ),
    ));
    let token = token(json!({"sub": "ann", "client_id": "shop"}));
    for _ in 0..3 {
        for (path, wanted) in [
            ("/", [Some("ann"), None, None]),
            ("/b", [None, Some("ann"), None]),
            ("/c", [None, None, Some("%7B%22client_id%22:%22shop%22%7D")]),
            ("/d", [Some("shop"), None, None]),
            ("/e", [Some("ann"), None, None]),
            ("/f", [None; 3]),
        ] {
            let upstream = scene.send(get(path).bearer(&token)).allowed();
            assert_eq!(["x-a", "x-b", "x-c"].map(|name| upstream.header(name)), wanted, "{path}");
        }
    }
}

/// CCH-03: nor is what is kept for one place of the token.
#[test]
fn the_place_of_the_token_is_that_of_this_request() {
    let places = json!([{"key": "authorization"}, {"location": "cookie", "key": "t"}, {"key": "x-token"}]);
    let output = json!({"header": "x-place", "attribute": "location"});
    let mut scene = Scene::of(jwt(json!({}), json!({"access_token": places, "claim_headers": output})));
    let token = good();
    for _ in 0..3 {
        for (ask, place) in [
            (bearer(&token), "header"),
            (bare().header("cookie", format!("t={token}")), "cookie"),
            (bare().header("x-token", &token), "header"),
        ] {
            assert_eq!(scene.send(ask).allowed().header("x-place"), Some(place));
        }
    }
}

/// CCH-03: nor what is kept of another token, nor of an answer that is over.
#[test]
fn the_claims_are_those_of_this_token_and_of_its_last_answer() {
    let mut scene = scene(json!({"name": "Ann"}), json!({"claim_headers": {"header": "h", "claim": "name"}}));
    scene.provider.users.insert("other".to_owned(), json!({"sub": "2", "name": "Bob"}));
    for _ in 0..3 {
        assert_eq!(scene.send(bearer("good")).allowed().header("h"), Some("Ann"));
        assert_eq!(scene.send(bearer("other")).allowed().header("h"), Some("Bob"));
    }
    scene.provider.users.insert("good".to_owned(), json!({"sub": "1", "name": "Anna"}));
    scene.pass_seconds(61);
    for _ in 0..3 {
        assert_eq!(scene.send(bearer("good")).allowed().header("h"), Some("Anna"));
    }
}

/// HDR-04: what is written again replaces what this request has sent.
#[test]
fn a_forgery_goes_from_each_request() {
    let outputs =
        json!([{"key": "x-me"}, {"location": "cookie", "key": "who"}, {"location": "query_string", "key": "me"}]);
    let mut scene = scene(ann(), json!({"user_info": outputs}));
    let honest = each_time(&mut scene, || get("/p?a=1").header("cookie", "b=2").bearer("good"));
    let forged = get("/p?me=root&a=1&ME=root").header("x-me", "root").header("x_me", "root").header("x-me", "root");
    let forged = scene.send(forged.header("cookie", "who=root; b=2; WHO=root").bearer("good")).allowed();
    for name in ["x-me", ":path", "cookie", "x_me"] {
        assert_eq!(forged.header(name), honest.header(name), "{name}");
    }
}

/// CCH-08: what is long is not kept, but made each time.
#[test]
fn long_outputs_stay_the_same() {
    let long = json!({"name": "x".repeat(3_000)});
    let mut scene = scene(long, json!({"user_info": [{"key": "x-a"}, {"key": "x-b", "claims": "name"}]}));
    let upstream = each_time(&mut scene, || bearer("good"));
    assert!(upstream.header("x-a").is_some_and(|value| value.len() > 3_000));
}
