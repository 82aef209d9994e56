//! `docs/schema/oidc-filter.schema.json` is what the readers of the configuration take: it is made by asking them.
//!
//! A new field is in it as soon as a reader asks for it: `BLESS=1 cargo test --test schema` writes the file anew.

mod explore;
mod holds;
mod write;

use explore::Explorer;
use oidc_filter::config::Config;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// It has a table for each object.
const REFERENCE: &str = include_str!("../../docs/configuration.md");

struct Made {
    schema: Value,
    untold: Vec<String>,
    undescribed: Vec<String>,
    sound: Vec<Value>,
}

static MADE: LazyLock<Made> = LazyLock::new(|| {
    let explorer = Explorer::run();
    let mut writer = write::Writer::new(&explorer, REFERENCE);
    let schema = writer.schema();
    let sound = explorer.sound().cloned().collect();
    Made { schema, untold: writer.untold, undescribed: writer.undescribed, sound }
});

fn fault(value: &Value) -> Option<String> {
    holds::fault(&MADE.schema, &MADE.schema, value, "")
}

fn read(configuration: &Value) -> Result<(), String> {
    let environment = |name: &str| name.starts_with("INTROSPECTION_CLIENT_").then(|| "variable".to_owned());
    Config::read(configuration.to_string().as_bytes(), &environment).map(drop).map_err(|error| error.to_string())
}

#[test]
fn the_schema_is_what_the_readers_take() {
    let text = format!("{}\n", serde_json::to_string_pretty(&MADE.schema).unwrap());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/schema/oidc-filter.schema.json");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(written == text, "{} is not what the readers take: BLESS=1 cargo test --test schema", path.display());
}

/// A field whose kind no reader has told is one that no configuration of `tests/schema/explore.rs` leads to: let `mend` find
/// the way to it.
#[test]
fn every_field_has_a_kind() {
    assert_eq!(MADE.untold, Vec::<String>::new());
    let empty: Vec<&String> = MADE.schema["definitions"]
        .as_object()
        .unwrap()
        .iter()
        .filter(|(_, object)| object["properties"] == json!({}))
        .map(|(name, _)| name)
        .collect();
    assert!(empty.is_empty(), "of these nothing was asked: {empty:?}");
    assert!(MADE.sound.len() > 15, "{}", MADE.sound.len());
}

/// The reference says what each is for.
#[test]
fn every_field_is_described() {
    assert_eq!(MADE.undescribed, Vec::<String>::new());
}

fn pages() -> Vec<PathBuf> {
    fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = vec![root.join("README.md")];
    collect(&root.join("docs"), &mut found);
    found
}

/// Every configuration of every page, and all that the readers were led through.
#[test]
fn what_is_sound_fits_the_schema() {
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            let Ok(configuration) = serde_json::from_str::<Value>(block) else { continue };
            if read(&configuration).is_ok() {
                assert_eq!(fault(&configuration), None, "{}:\n{block}", page.display());
                count += 1;
            }
        }
    }
    assert!(count >= 20, "{count}");
    for configuration in &MADE.sound {
        assert_eq!(fault(configuration), None, "{configuration}");
    }
}

/// What editors mark: whatever the readers refuse for the name or the type of a field.
#[test]
fn what_is_misspelled_or_of_another_type_does_not_fit() {
    let base = json!({"providers": {"issuer": "https://idp.example.com", "audiences": "a"}});
    let mut count = 0;
    for (change, place) in [
        (json!({"provders": 1}), ""),
        (json!({"provider": "https://idp.example.com"}), ""),
        (json!({"enforce": "yes"}), ""),
        (json!({"enforce_response_code": 200}), ""),
        (json!({"enforceResponseCode": 700}), ""),
        (json!({"response_body": "xml"}), ""),
        (json!({"max_token_size": 1}), ""),
        (json!({"rules": {"match": {"path": 1}}}), ""),
        (json!({"rules": {"match": {"paths": "/a"}}}), ""),
        (json!({"require": {"claims": {"claim": "a", "anyof": "b"}}}), ""),
        (json!({"access_token": {"location": "body", "key": "a"}}), ""),
        (json!({"user_info": {"location": "cookie"}}), ""),
        (json!({"claim_headers": {"header": "x-a", "claim": "a", "transformers": {"matches": 1, "replaces": ""}}}), ""),
        (json!({"providers": []}), ""),
        (json!({"access_token": []}), ""),
        (json!({"claim_headers": {"header": "", "claim": "a"}}), ""),
        (json!({"audiences": []}), "providers"),
        (json!({"audiences": ["a", ""]}), "providers"),
        (json!({"issuer": null}), "providers"),
        (json!({"validation": "jtw"}), "providers"),
        (json!({"algorithms": ["none"]}), "providers"),
        (json!({"clock_skew": "10 m"}), "providers"),
        (json!({"jwks": {"url": "https://idp.example.com/k"}}), "providers"),
        (json!({"introspection": {"client_auth": "bearer"}}), "providers"),
        (json!({"failover": {"unhealthy_threshold": 0}}), "providers"),
    ] {
        let mut configuration = base.clone();
        let target = if place.is_empty() { &mut configuration } else { &mut configuration[place] };
        target.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        assert!(read(&configuration).is_err(), "{configuration}");
        assert!(fault(&configuration).is_some(), "{configuration}");
        count += 1;
    }
    assert_eq!(count, 25);
}

/// Both spellings, one element in place of a list, numbers for words, variables.
#[test]
fn what_the_readers_forgive_fits() {
    for configuration in [
        json!({"provider": "https://idp.example.com", "enforceResponseCode": 403.0, "accessToken": {"location": 1, "key": "a"}}),
        json!({"providers": [{"issuer": "https://idp.example.com", "audiences": ["a"], "clockSkew": 30, "jwks": [{"uri": "https://idp.example.com/a"}]}]}),
        json!({"provider": "https://idp.example.com", "userInfo": {"location": "queryString", "key": "a"}}),
        json!({"providers": {"issuer": "https://idp.example.com", "audiences": "a", "introspection": {"method": "post"}}}),
    ] {
        assert_eq!(read(&configuration), Ok(()));
        assert_eq!(fault(&configuration), None, "{configuration}");
    }
}
