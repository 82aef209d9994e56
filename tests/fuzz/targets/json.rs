//! JSON and the protobuf form of it: what is read says one thing, and every reader agrees on it.

use super::lines;
use super::memory::held;
use oidc_filter::json::{self, Error, MAX_DEPTH};
use oidc_filter::protobuf;
use serde_json::Value;

pub fn run(octets: &[u8]) {
    read_json(octets);
    read_struct(octets);
}

fn read_json(octets: &[u8]) {
    let lenient: Result<Value, _> = serde_json::from_slice(octets);
    match json::parse(octets) {
        Ok(value) => {
            assert_eq!(lenient.ok().as_ref(), Some(&value), "another reader reads something else");
            assert!(depth(&value) <= MAX_DEPTH);
            let written = value.to_string();
            assert_eq!(json::parse(written.as_bytes()).as_ref(), Ok(&value), "{written}");
            let before = held();
            let object = json::parse_object(octets);
            assert_eq!(object.is_ok(), value.is_object());
            if let Ok(object) = &object {
                let (weight, held) = (json::memory_size(object), held().wrapping_sub(before));
                assert!(held <= weight, "{held} octets are held, {weight} are reckoned: {written}");
            }
        }
        // What others read and this one doesn't says two things, or is too deep; serde's own limit is the higher one.
        Err(Error::DuplicateMember | Error::TooDeep) => {}
        Err(error) => assert!(lenient.is_err(), "{error}"),
    }
}

fn read_struct(octets: &[u8]) {
    let Some(object) = protobuf::read_struct(octets) else { return };
    assert!(depth(&Value::Object(object.clone())) <= MAX_DEPTH);
    let again = protobuf::read_struct(&protobuf::write_struct(&object)).expect("what was written can be read");
    let named = |object: &json::Object| object.iter().filter(|(_, v)| !v.is_null()).map(|(n, _)| n.clone()).collect();
    let (names, names_again): (Vec<String>, Vec<String>) = (named(&object), named(&again));
    assert_eq!(names, names_again);
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(elements) => 1 + elements.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

pub fn seeds() -> Vec<Vec<u8>> {
    let mut seeds = lines(&[
        r#"{"a":[1,-2.5e3,true,false,null,"\u00e9\ud83d\ude00\n"],"b":{"c":{}}}"#,
        r#"{"a":1,"a":2}"#,
        r#"{"a":{"b":1,"\u0062":2}}"#,
        r#"[18446744073709551615,0.1,1E400]"#,
        r#"{"a":[[[1]]],"b":"text"}"#,
        r#"{"a":[[],[],[[1]]],"b":[{},{"":""}],"c":{"d":{"e":{"f":0}}},"g":"","h":"\u0000"}"#,
        "\u{feff}{}",
    ]);
    seeds.push([[b'['; 70], [b']'; 70]].concat());
    for text in [r#"{"a":[1,2.5,true,null,"x"],"b":{"c":{"d":"e"}}}"#, r#"{"n":9007199254740993}"#] {
        seeds.push(protobuf::write_struct(&json::parse_object(text.as_bytes()).unwrap()));
    }
    seeds
}
