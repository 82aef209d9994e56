//! The catalogue of attacks: `security/cases.json` lists them, the names of tests say which of them each test covers.
//!
//! A test bears the ids of its cases in its name: `hdr_06_07_claims_…` is HDR-06 and HDR-07, `enc_05_to_07_parts` is
//! ENC-05 to ENC-07, `tb_36_and_int_06_…` is INT-06. `docs/security/cases.md` is made of both, and is checked here:
//! `make security-cases` writes it anew.
//!
//! The invariant: every case of priority P0, P1 or P2 has a test, or a reason why it has none; never both.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

const CASES: &str = include_str!("security/cases.json");
const DOCUMENT: &str = "docs/security/cases.md";

/// One attack.
struct Case {
    id: String,
    priority: String,
    attack: String,
    expected: String,
    /// Why no test is needed, or what the test has to wait for.
    reason: Option<String>,
}

/// The cases of each area, in order.
fn areas() -> Vec<(String, Vec<Case>)> {
    let areas: Value = serde_json::from_str(CASES).unwrap();
    let text =
        |value: &Value, name: &str| value[name].as_str().unwrap_or_else(|| panic!("{name} of {value}")).to_owned();
    let case = |case: &Value| {
        let said: BTreeSet<&str> = case.as_object().unwrap().keys().map(String::as_str).collect();
        let known = BTreeSet::from(["id", "priority", "attack", "expected", "na", "waits"]);
        assert!(said.is_subset(&known), "{case}");
        let reason = match (case.get("na"), case.get("waits")) {
            (None, None) => None,
            (Some(_), None) => Some(format!("does not apply: {}", text(case, "na"))),
            (None, Some(_)) => Some(format!("waits for {}", text(case, "waits"))),
            (Some(_), Some(_)) => panic!("{case}: one reason is enough"),
        };
        let [id, priority, attack, expected] = ["id", "priority", "attack", "expected"].map(|name| text(case, name));
        Case { id, priority, attack, expected, reason }
    };
    let cases = |area: &Value| area["cases"].as_array().unwrap().iter().map(case).collect();
    areas.as_array().unwrap().iter().map(|area| (text(area, "area"), cases(area))).collect()
}

// ---------------------------------------------------------------------------------------------- tests

/// The tests of each case, as `file: name`.
type Tests = BTreeMap<String, BTreeSet<String>>;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files(&path, found),
            false => found.push(path),
        }
    }
}

/// The names of a file's tests.
fn tests_in(path: &Path) -> Vec<String> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => rust_tests(&fs::read_to_string(path).unwrap()),
        Some("py") if name.starts_with("test_") => python_tests(&fs::read_to_string(path).unwrap()),
        _ => Vec::new(),
    }
}

/// The functions that `#[test]` stands before, with whatever attributes between; but one that is ignored tests nothing.
fn rust_tests(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        match line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
            Some((name, _)) if is_test => names.push(name.to_owned()),
            _ => {}
        }
        is_test = line == "#[test]" || (is_test && line.starts_with("#[") && !line.starts_with("#[ignore"));
    }
    names
}

/// The functions that pytest collects and runs.
fn python_tests(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_skipped = false;
    for line in source.lines() {
        is_skipped |= ["@pytest.mark.skip", "@pytest.mark.xfail"].iter().any(|mark| line.starts_with(mark));
        if let Some((name, _)) = line.strip_prefix("def ").and_then(|rest| rest.split_once('(')) {
            names.extend((name.starts_with("test_") && !is_skipped).then(|| name.to_owned()));
            is_skipped = false;
        }
    }
    names
}

/// The cases that a test's name names.
fn ids(name: &str, areas: &BTreeSet<String>) -> Vec<String> {
    let mut ids = Vec::new();
    let (mut area, mut last, mut to) = (None, 0, false);
    for word in name.split('_') {
        let number = Some(word).filter(|word| word.len() == 2).and_then(|word| word.parse::<u8>().ok());
        match (number, area) {
            (Some(number), Some(area)) => {
                let first = if to { last + 1 } else { number };
                ids.extend((first..=number).map(|number| format!("{area}-{number:02}")));
                (last, to) = (number, false);
            }
            // Only these stand between the numbers of one area.
            (None, Some(_)) if word == "and" || word == "to" => to = word == "to" && last > 0,
            _ => (area, last, to) = (areas.get(&word.to_uppercase()), 0, false),
        }
    }
    ids
}

fn tests(areas: &BTreeSet<String>) -> Tests {
    let mut found = Vec::new();
    files(&root().join("tests"), &mut found);
    files(&root().join("src"), &mut found);
    let mut tests = Tests::new();
    for path in found {
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        for name in tests_in(&path) {
            for id in ids(&name, areas) {
                tests.entry(id).or_default().insert(format!("{shown}: {name}"));
            }
        }
    }
    tests
}

// ---------------------------------------------------------------------------------------------- the document

fn document(areas: &[(String, Vec<Case>)], tests: &Tests) -> String {
    let mut text = String::from(INTRODUCTION);
    let count =
        |wanted: &dyn Fn(&Case) -> bool| areas.iter().flat_map(|(_, cases)| cases).filter(|c| wanted(c)).count();
    let tested = |case: &Case| tests.contains_key(&case.id);
    text.push_str("\n| priority | cases | with a test | wait for a feature | don't apply | without a test |\n|---|---|---|---|---|---|\n");
    for priority in ["P0", "P1", "P2", "P3"] {
        let of = |wanted: &dyn Fn(&Case) -> bool| count(&|case| case.priority == priority && wanted(case));
        let why = |word: &str| of(&|case| case.reason.as_deref().is_some_and(|reason| reason.starts_with(word)));
        let (all, tested) = (of(&|_| true), of(&tested));
        let (waiting, other) = (why("waits"), why("does not"));
        let rest = all - tested - waiting - other;
        writeln!(text, "| {priority} | {all} | {tested} | {waiting} | {other} | {rest} |").unwrap();
    }
    for (area, cases) in areas {
        writeln!(text, "\n## {area}\n\n| id | | attack | expected | tested by |\n|---|---|---|---|---|").unwrap();
        for case in cases {
            let by = match (&case.reason, tests.get(&case.id)) {
                (Some(reason), _) => format!("*{}*", cell(reason)),
                (None, Some(tests)) => tests.iter().map(|test| format!("`{test}`")).collect::<Vec<_>>().join("<br>"),
                (None, None) => "—".to_owned(),
            };
            let Case { id, priority, attack, expected, .. } = case;
            writeln!(text, "| {id} | {priority} | {} | {} | {by} |", cell(attack), cell(expected)).unwrap();
        }
    }
    text
}

/// Text in a cell of a Markdown table.
fn cell(text: &str) -> String {
    let escaped = text.chars().map(|character| match character {
        '|' | '*' | '_' | '<' | '[' | '\\' => format!("\\{character}"),
        character => character.to_string(),
    });
    escaped.collect()
}

const INTRODUCTION: &str = "\
# Attacks, and the tests against them

Made by `make security-cases` from the cases (`tests/security/cases.json`) and the names of the tests; `tests/catalogue.rs`
checks that it is up to date. A case of priority P0 to P2 has a test that bears its id, or a reason why not.

P0: a bypass, a crash, or a door that stays open on a failure. P1: serious. P2: hardening. P3: minor.
";

// ---------------------------------------------------------------------------------------------- the checks

#[test]
fn every_attack_has_a_test_or_a_reason() {
    let areas = areas();
    let cases: Vec<&Case> = areas.iter().flat_map(|(_, cases)| cases).collect();
    let known: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!((cases.len(), known.len()), (300, 300), "an id is lost, or given twice");
    let prefixes = known.iter().map(|id| id.split_once('-').unwrap().0.to_owned()).collect();
    let tests = tests(&prefixes);

    let mut faults = Vec::new();
    for (id, tests) in tests.iter().filter(|(id, _)| !known.contains(id.as_str())) {
        faults.push(format!("{id} is no case: {tests:?}"));
    }
    for case in cases {
        let Case { id, priority, attack, reason, .. } = case;
        assert!(["P0", "P1", "P2", "P3"].contains(&priority.as_str()), "{id}: {priority}");
        match (reason, tests.get(id)) {
            (None, None) if priority != "P3" => faults.push(format!("{id} ({priority}) has no test: {attack}")),
            (Some(reason), Some(tests)) => faults.push(format!("{id} \"{reason}\", but is tested: {tests:?}")),
            _ => {}
        }
    }
    assert!(faults.is_empty(), "{}\n{} faults", faults.join("\n"), faults.len());

    let document = document(&areas, &tests);
    let path = root().join(DOCUMENT);
    if std::env::var_os("BLESS").is_some() {
        fs::write(&path, &document).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(written == document, "{DOCUMENT} is not what the tests say: make security-cases");
}

/// What the check rests on.
#[test]
fn names_are_read_as_they_are_meant() {
    let areas = ["HDR", "ENC", "INT", "WSM", "CCH"].map(str::to_owned).into();
    let read = |name: &str| ids(name, &areas).join(" ");
    assert_eq!(read("hdr_06_07_10_header_text"), "HDR-06 HDR-07 HDR-10");
    assert_eq!(read("enc_05_to_07_parts"), "ENC-05 ENC-06 ENC-07");
    assert_eq!(read("enc_08_and_09_duplicates"), "ENC-08 ENC-09");
    assert_eq!(read("tb_37_and_38_and_int_01_only_true"), "INT-01");
    assert_eq!(read("int_06_tb_36_audience"), "INT-06");
    assert_eq!(read("test_row_09_wsm_11_cch_02_two_filters"), "WSM-11 CCH-02");
    assert_eq!(read("enc_16_200_cold_requests"), "ENC-16");
    assert_eq!(read("an_int_of_16_bits"), "");
    assert_eq!(read("what_comes_01_to_enc"), "");
    let rust =
        "#[test]\nfn a_1() {\n    fn helper() {}\n}\n// fn b() {\n#[test]\n#[should_panic]\n    fn c() {\nfn d() {";
    assert_eq!(rust_tests(rust), ["a_1", "c"]);
    assert_eq!(rust_tests("#[test]\n#[ignore = \"slow\"]\nfn a() {\n#[test]\nfn b() {"), ["b"]);
    let python = "def test_a(x) -> None:\n    def test_b():\ndef helper():\n# def test_c():\ndef test_d(\n";
    assert_eq!(python_tests(python), ["test_a", "test_d"]);
    assert_eq!(python_tests("@pytest.mark.skipif(\n    True\n)\ndef test_a():\ndef test_b():"), ["test_b"]);
}
