//! How others have failed, and what stops it here: `tests/threats.json`, which `docs/security/threats.md` is made of. Every
//! name in it exists.

#[path = "support/evidence.rs"]
mod evidence;

use evidence::{Tests, check_generated, defines};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const SOURCE: &str = include_str!("threats.json");

fn groups() -> Vec<Value> {
    serde_json::from_str(SOURCE).unwrap()
}

fn texts<'v>(value: &'v Value, member: &str) -> Vec<&'v str> {
    value[member].as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn threats(group: &Value) -> &[Value] {
    group["threats"].as_array().unwrap()
}

#[test]
fn every_name_exists() {
    let tests = Tests::find();
    let groups = groups();
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for threat in groups.iter().flat_map(threats) {
        let failure = threat["failure"].as_str().unwrap();
        let mut fault = |problem: String| faults.push(format!("{failure}: {problem}"));
        let (places, shown_by) = (texts(threat, "places"), texts(threat, "tests"));
        if places.is_empty() || shown_by.is_empty() || threat["design"].as_str().unwrap().is_empty() {
            fault("nothing says what stops it".to_owned());
        }
        places.iter().filter(|place| !defines(place)).for_each(|place| fault(format!("there is no {place}")));
        shown_by
            .iter()
            .filter(|t| tests.files(t).is_empty())
            .for_each(|test| fault(format!("there is no test {test}")));
        if !seen.insert(failure) {
            fault("is there twice".to_owned());
        }
    }
    assert_eq!(faults, Vec::<String>::new());
    assert!(seen.len() > 40, "only {} threats are left", seen.len());
}

/// The check itself.
#[test]
fn a_name_that_is_not_there_is_noticed() {
    for place in [
        "src/jose/jwk.rs",
        "src/jose/jwk/algorithm.rs: Algorithm",
        "src/jose/jwk/set.rs: JwkSet::holds",
        "src/oauth/credentials.rs: UnsupportedScheme",
    ] {
        assert!(defines(place), "{place}");
    }
    for place in [
        "src/jwx.rs",
        "src/jose/jwk/algorithm.rs: Algorith",
        "src/jose/jwk/set.rs: JwkSet::hold",
        "src/jwx.rs: Algorithm",
        "src",
    ] {
        assert!(!defines(place), "{place}");
    }
}

#[test]
fn the_document_says_what_the_source_says() {
    let tests = Tests::find();
    let mut page = String::from(INTRODUCTION);
    for group in groups() {
        writeln!(page, "\n## {}\n", group["field"].as_str().unwrap()).unwrap();
        page.push_str("| what failed | known as | what stops it here | where | shown by |\n|---|---|---|---|---|\n");
        for threat in threats(&group) {
            let places: Vec<String> = texts(threat, "places").into_iter().map(linked).collect();
            let tests: Vec<String> =
                texts(threat, "tests").into_iter().map(|test| tests.link(test, "../../")).collect();
            let cells = [
                threat["failure"].as_str().unwrap().to_owned(),
                texts(threat, "known").join(", "),
                threat["design"].as_str().unwrap().to_owned(),
                places.join(", "),
                tests.join(", "),
            ];
            writeln!(page, "| {} |", cells.join(" | ")).unwrap();
        }
    }
    check_generated("docs/security/threats.md", &page);
}

fn linked(place: &str) -> String {
    let (file, name) = place.split_once(": ").unwrap_or((place, place));
    format!("[`{name}`](../../{file})")
}

const INTRODUCTION: &str = "\
# How others have failed, and what stops it here

Each row is a class of failures that proxies, libraries and modules of this field have had, with some of the advisories, and with
the choice in the design that stops it here: not a check that was added, where a type or a bound could rule it out. The identifiers
are for looking further; of some, only the title was read.

The source is [`tests/threats.json`](../../tests/threats.json). [`tests/threats.rs`](../../tests/threats.rs) checks that every file,
every name and every test in it exists, and that this page says the same; `BLESS=1 cargo test --test threats` writes it.
";
