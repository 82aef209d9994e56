//! The catalogue of attacks: `security/cases.json` lists them, the tests say which of them they cover.
//!
//! A test bears the ids of its cases where its documentation begins: `/// ENC-05 to ENC-07, TB-12: a token has three parts.`
//! in Rust, the same in a docstring in Python. Its name then says what is true. `docs/security/cases.md` is made of both, and
//! is checked here: `make security-cases` writes it anew.
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
        if path.is_dir() { files(&path, found) } else { found.push(path) }
    }
}

/// A test: its name, and the first line of its documentation.
#[derive(Debug, PartialEq)]
struct Test {
    name: String,
    first_line: String,
}

/// The tests of a file.
fn tests_in(path: &Path) -> Vec<Test> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("rs") => rust_tests(&fs::read_to_string(path).unwrap()),
        Some("py") if name.starts_with("test_") => python_tests(&fs::read_to_string(path).unwrap()),
        _ => Vec::new(),
    }
}

/// The functions that `#[test]` stands before, with whatever attributes between; but one that is ignored tests nothing.
fn rust_tests(source: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut is_test = false;
    let mut first_line: Option<&str> = None;
    for line in source.lines().map(str::trim) {
        if let Some(documentation) = line.strip_prefix("///") {
            first_line.get_or_insert(documentation.trim());
            continue;
        }
        if let Some((name, _)) = line.strip_prefix("fn ").and_then(|rest| rest.split_once('(')) {
            let first_line = first_line.unwrap_or_default().to_owned();
            tests.extend(is_test.then(|| Test { name: name.to_owned(), first_line }));
        }
        is_test = line == "#[test]" || (is_test && line.starts_with("#[") && !line.starts_with("#[ignore"));
        if !line.starts_with("#[") {
            first_line = None;
        }
    }
    tests
}

/// The functions that pytest collects and runs. A docstring stands below the line that ends the signature.
fn python_tests(source: &str) -> Vec<Test> {
    let mut tests = Vec::new();
    let mut is_skipped = false;
    let mut lines = source.lines();
    while let Some(line) = lines.next() {
        is_skipped |= ["@pytest.mark.skip", "@pytest.mark.xfail"].iter().any(|mark| line.starts_with(mark));
        let Some((name, _)) = line.strip_prefix("def ").and_then(|rest| rest.split_once('(')) else { continue };
        if name.starts_with("test_") && !is_skipped {
            if !line.ends_with(':') {
                lines.by_ref().find(|line| line.starts_with(')'));
            }
            let below = lines.clone().next().unwrap_or_default().trim_start();
            let documentation = below.trim_start_matches('r').strip_prefix("\"\"\"").unwrap_or_default();
            tests.push(Test { name: name.to_owned(), first_line: documentation.replace("\"\"\"", "") });
        }
        is_skipped = false;
    }
    tests
}

/// The cases that the first line of a test's documentation names, up to its colon or its full stop.
fn ids(first_line: &str, areas: &BTreeSet<String>) -> Result<Vec<String>, String> {
    let is_id = |word: &str| areas.iter().any(|area| word.strip_prefix(area.as_str()).is_some_and(is_number));
    if !first_line.split(|c: char| !c.is_alphanumeric() && c != '-').next().is_some_and(is_any_id) {
        return Ok(Vec::new());
    }
    let list = first_line.split([':', '.']).next().unwrap_or_default();
    if list.len() == first_line.len() {
        return Err(format!("\"{first_line}\": a colon or a full stop must follow the ids, in the same line"));
    }
    let mut ids = Vec::new();
    for item in list.split(", ") {
        let (first, last) = item.split_once(" to ").unwrap_or((item, item));
        let range = (area_and_number(first), area_and_number(last));
        let (Some((area, first)), Some((same, last))) = range else {
            return Err(format!("\"{item}\" is no id, as ENC-05, and no range, as ENC-05 to ENC-07"));
        };
        if area != same || first > last {
            return Err(format!("\"{item}\" is no range"));
        }
        ids.extend((first..=last).map(|number| format!("{area}-{number:02}")).filter(|id| is_id(id)));
    }
    Ok(ids)
}

/// Whether this is what follows the area in an id.
fn is_number(text: &str) -> bool {
    text.strip_prefix('-').is_some_and(|digits| digits.len() == 2 && digits.bytes().all(|digit| digit.is_ascii_digit()))
}

/// Whether this is an id, also one of a list that is not kept here (`TB-12`).
fn is_any_id(word: &str) -> bool {
    area_and_number(word).is_some()
}

fn area_and_number(id: &str) -> Option<(&str, u8)> {
    let (area, number) = id.split_once('-')?;
    let is_area = (2..=3).contains(&area.len()) && area.bytes().all(|letter| letter.is_ascii_uppercase());
    let number = Some(number).filter(|number| number.len() == 2).and_then(|number| number.parse().ok())?;
    is_area.then_some((area, number))
}

/// A name in the form of old, with an id in it: `enc_05_parts`.
fn bears_an_id(name: &str, areas: &BTreeSet<String>) -> bool {
    let words: Vec<&str> = name.split('_').collect();
    words.windows(2).any(|pair| is_number(&format!("-{}", pair[1])) && areas.contains(&pair[0].to_uppercase()))
}

fn tests(areas: &BTreeSet<String>, faults: &mut Vec<String>) -> Tests {
    let mut found = Vec::new();
    files(&root().join("tests"), &mut found);
    files(&root().join("src"), &mut found);
    let mut tests = Tests::new();
    for path in found {
        let shown = path.strip_prefix(root()).unwrap().display().to_string();
        for Test { name, first_line } in tests_in(&path) {
            if bears_an_id(&name, areas) {
                faults.push(format!(
                    "{shown}: {name}: ids belong to where the test's documentation begins (`/// ENC-05: …`)"
                ));
            }
            let ids = ids(&first_line, areas).unwrap_or_else(|fault| {
                faults.push(format!("{shown}: {name}: {fault}"));
                Vec::new()
            });
            for id in ids {
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
    text.push_str("\n| priority | cases | with a test | wait for a feature | don't apply | without a test |\n|---|--:|--:|--:|--:|--:|\n");
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

Made by `make security-cases` from the cases (`tests/security/cases.json`) and the tests, whose documentation begins with the ids
of their cases; `tests/catalogue.rs` checks that it is up to date. A case of priority P0 to P2 has a test, or a reason why not.

P0: a bypass, a crash, or a door that stays open on a failure. P1: serious. P2: hardening. P3: minor.
";

// ---------------------------------------------------------------------------------------------- the checks

#[test]
fn every_attack_has_a_test_or_a_reason() {
    let areas = areas();
    let cases: Vec<&Case> = areas.iter().flat_map(|(_, cases)| cases).collect();
    let known: BTreeSet<&str> = cases.iter().map(|case| case.id.as_str()).collect();
    assert_eq!((cases.len(), known.len()), (347, 347), "an id is lost, or given twice");
    let prefixes = known.iter().map(|id| id.split_once('-').unwrap().0.to_owned()).collect();
    let mut faults = Vec::new();
    let tests = tests(&prefixes, &mut faults);

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
fn documentation_is_read_as_it_is_meant() {
    let areas = ["HDR", "ENC", "INT", "WSM", "CCH"].map(str::to_owned).into();
    let read = |line: &str| ids(line, &areas).map(|ids| ids.join(" "));
    for (line, expected) in [
        ("HDR-06, HDR-07, HDR-10: header text.", "HDR-06 HDR-07 HDR-10"),
        ("ENC-05 to ENC-07.", "ENC-05 ENC-06 ENC-07"),
        ("ENC-08: as INT-01 has it.", "ENC-08"),
        ("TB-37, TB-38, INT-01: only true.", "INT-01"),
        ("Nobody reads ENC-05: it is not first.", ""),
        ("RFC 6750, section 2: one place.", ""),
        ("ENC, not INT-01: a word.", ""),
        ("", ""),
    ] {
        assert_eq!(read(line).as_deref(), Ok(expected), "{line}");
    }
    for line in
        ["ENC-05, 06: two.", "ENC-05 and ENC-06: two.", "ENC-05", "ENC-07 to ENC-05: back.", "ENC-05 to INT-07: two."]
    {
        assert!(read(line).is_err(), "{line}");
    }
    for (name, bears) in [("enc_05_parts", true), ("an_int_of_16_bits", false), ("a_hdr_01", true), ("rfc_6750", false)]
    {
        assert_eq!(bears_an_id(name, &areas), bears, "{name}");
    }
}

#[test]
fn tests_are_found_with_the_first_line_of_their_documentation() {
    let found = |tests: Vec<Test>| -> Vec<String> {
        tests.into_iter().map(|test| format!("{}: {}", test.name, test.first_line)).collect()
    };
    let rust = "/// One.\n/// Two.\n#[test]\nfn a() {\n    /// Not a test.\n    fn helper() {}\n}\n// fn b() {\n#[test]\n\
                #[should_panic]\n    fn c() {\nfn d() {\n#[test]\n#[ignore = \"slow\"]\nfn e() {\n#[test]\nfn f() {";
    assert_eq!(found(rust_tests(rust)), ["a: One.", "c: ", "f: "]);
    let python = "def test_a(x) -> None:\n    \"\"\"One.\"\"\"\n    def test_b():\ndef helper():\n# def test_c():\ndef test_d(\n    x\n) -> \
                  None:\n    r\"\"\"Two.\n    Three.\"\"\"\n@pytest.mark.skipif(\n    True\n)\ndef test_e():\ndef test_f():\n    pass";
    assert_eq!(found(python_tests(python)), ["test_a: One.", "test_d: Two.", "test_f: "]);
}
