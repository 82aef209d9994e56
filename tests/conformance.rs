//! What the specifications ask of a resource server, clause by clause: `tests/conformance.json`, which
//! `docs/conformance.md` is made of. Nothing is called met without a test that is there.

#[path = "support/evidence.rs"]
#[allow(dead_code, reason = "the table of threats needs the rest")]
mod evidence;

use evidence::{Tests, check_generated};
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write as _;

const SOURCE: &str = include_str!("conformance.json");
const VERDICTS: [&str; 3] = ["met", "not applicable", "deliberately not"];

fn documents() -> Vec<Value> {
    serde_json::from_str(SOURCE).unwrap()
}

fn clauses(document: &Value) -> &[Value] {
    document["clauses"].as_array().unwrap()
}

fn text<'v>(value: &'v Value, member: &str) -> &'v str {
    value[member].as_str().unwrap_or_else(|| panic!("no {member} in {value}"))
}

fn tests_of(clause: &Value) -> Vec<&str> {
    clause
        .get("tests")
        .map(|tests| tests.as_array().unwrap())
        .into_iter()
        .flatten()
        .map(|t| t.as_str().unwrap())
        .collect()
}

/// Everything that the source says, checked. Returns what is wrong.
fn faults(documents: &[Value], tests: &Tests) -> Vec<String> {
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for document in documents {
        for clause in clauses(document) {
            let name = text(document, "document");
            let (section, wording, verdict) =
                (text(clause, "section"), text(clause, "clause"), text(clause, "verdict"));
            let mut fault = |problem: &str| faults.push(format!("{name}, {section}, {wording}: {problem}"));
            let shown_by = tests_of(clause);
            if !VERDICTS.contains(&verdict) {
                fault("no such verdict");
            }
            if verdict == "met" && shown_by.is_empty() {
                fault("met, and no test shows it");
            }
            if verdict != "met" && clause.get("reason").is_none_or(|reason| reason.as_str().unwrap().len() < 10) {
                fault("not met, without a reason");
            }
            for test in &shown_by {
                if tests.files(test).is_empty() {
                    fault(&format!("there is no test {test}"));
                }
            }
            if shown_by.iter().collect::<BTreeSet<_>>().len() < shown_by.len() {
                fault("names a test twice");
            }
            if !seen.insert((name.to_owned(), section.to_owned(), wording.to_owned())) {
                fault("is there twice");
            }
            let known = ["section", "level", "clause", "verdict", "reason", "tests"];
            if !clause.as_object().unwrap().keys().all(|member| known.contains(&member.as_str())) {
                fault("has a member that nobody reads");
            }
        }
    }
    faults
}

#[test]
fn every_verdict_has_its_evidence() {
    assert_eq!(faults(&documents(), &Tests::find()), Vec::<String>::new());
    let count = documents().iter().map(|document| clauses(document).len()).sum::<usize>();
    assert!(count > 120, "only {count} clauses are left");
}

/// The check itself: each of these must be noticed.
#[test]
fn a_row_without_evidence_is_noticed() {
    let tests = Tests::find();
    let row = |change: Value| {
        let mut row = serde_json::json!({"section": "1", "level": "MUST", "clause": "c", "verdict": "met", "tests": ["the_algorithm_none_is_refused"]});
        row.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        row
    };
    let faults_of =
        |rows: Vec<Value>| faults(&[serde_json::json!({"document": "RFC 1", "clauses": rows})], &tests).len();
    assert_eq!(faults_of(vec![row(serde_json::json!({}))]), 0);
    for change in [
        serde_json::json!({"tests": []}),
        serde_json::json!({"tests": ["alg_01_no"]}),
        serde_json::json!({"tests": ["faults"]}),
        serde_json::json!({"tests": ["the_algorithm_none_is_refused", "the_algorithm_none_is_refused"]}),
        serde_json::json!({"verdict": "surely"}),
        serde_json::json!({"verdict": "deliberately not"}),
        serde_json::json!({"verdict": "not applicable", "reason": ""}),
        serde_json::json!({"test": ["the_algorithm_none_is_refused"]}),
    ] {
        assert_ne!(faults_of(vec![row(change.clone())]), 0, "{change}");
    }
    assert_eq!(faults_of(vec![row(serde_json::json!({})), row(serde_json::json!({}))]), 1);
}

#[test]
fn the_document_says_what_the_source_says() {
    check_generated("docs/conformance.md", &rendered(&documents(), &Tests::find()));
}

fn rendered(documents: &[Value], tests: &Tests) -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str("\n| document | met | deliberately not | not applicable |\n|---|---|---|---|\n");
    for document in documents {
        let count =
            |verdict: &str| clauses(document).iter().filter(|clause| text(clause, "verdict") == verdict).count();
        let counts = [count("met"), count("deliberately not"), count("not applicable")].map(|count| count.to_string());
        writeln!(page, "| {} | {} |", heading(document), counts.join(" | ")).unwrap();
    }
    for document in documents {
        writeln!(page, "\n## {}\n\n<{}>\n", heading(document), text(document, "url")).unwrap();
        page.push_str("| section | | what is asked | verdict | why, and what shows it |\n|---|---|---|---|---|\n");
        for clause in clauses(document) {
            let reason = clause.get("reason").map(|reason| reason.as_str().unwrap().to_owned());
            let links = tests_of(clause).into_iter().map(|test| tests.link(test, "../")).collect::<Vec<_>>().join(", ");
            let evidence: Vec<String> =
                reason.into_iter().chain(Some(links).filter(|links| !links.is_empty())).collect();
            let verdict = match text(clause, "verdict") {
                "met" => "met".to_owned(),
                other => format!("**{other}**"),
            };
            let cells = [text(clause, "section"), text(clause, "level"), text(clause, "clause"), &verdict];
            writeln!(page, "| {} | {} |", cells.join(" | "), evidence.join("<br>")).unwrap();
        }
    }
    page
}

fn heading(document: &Value) -> String {
    match text(document, "title") {
        "" => text(document, "document").to_owned(),
        title => format!("{}: {title}", text(document, "document")),
    }
}

const INTRODUCTION: &str = "\
# What the specifications ask, and what the filter does

Each row is something that a specification asks of a resource server, in short and in our own words; the specification's text
is what counts. `met` names the tests that show it. `deliberately not` and `not applicable` say why.

The source is [`tests/conformance.json`](../tests/conformance.json). [`tests/conformance.rs`](../tests/conformance.rs) checks that
every test named there exists, and that this page says the same; `BLESS=1 cargo test --test conformance` writes it.
";
