//! `test`: tables of requests with the verdicts that are expected, run against a configuration.
//!
//! Each request meets a filter that knows nothing yet, so that none depends on another, nor on their order.

mod expect;
mod fields;
mod read;

use crate::explain::{Story, Verdict};
use crate::report;
use crate::stage::{Answers, Ask, Signer, Stage};
use crate::words::Paint;
use crate::yaml::Place;
use expect::{Difference, Expectation};
use oidc_filter::config::Config;
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::Path;
use std::rc::Rc;

/// A table that was read.
pub struct Table {
    file: String,
    config: Rc<Config>,
    /// What the filter is called.
    name: String,
    now: Timestamp,
    cases: Vec<Case>,
}

/// A request, and what is expected of it.
struct Case {
    place: Place,
    name: String,
    ask: Ask,
    answers: Answers,
    made: Option<Made>,
    expected: Expectation,
}

/// A token that is to be made for a request.
struct Made {
    /// Whose it is, by its number.
    provider: usize,
    header: Value,
    claims: Value,
    /// Of one that is bound to a key: changes to the claims of the proof that comes with it.
    proof: Option<Value>,
}

/// What came of a case.
struct Outcome<'t> {
    table: &'t Table,
    case: &'t Case,
    verdict: Verdict,
    differences: Vec<Difference>,
    /// Why it is as it is, for those who expected something else.
    notes: Vec<String>,
}

/// What came of all cases.
pub struct Outcomes<'t>(Vec<Outcome<'t>>);

impl Table {
    /// Reads a table; `configuration` stands in the place of the one that it names.
    pub fn read(path: &Path, configuration: Option<&Path>, now: Timestamp) -> Result<Self, String> {
        read::table(path, configuration, now)
    }

    fn run<'t>(&'t self, case: &'t Case) -> Result<Outcome<'t>, String> {
        let mut ask = case.ask.clone();
        let signer = case.made.as_ref().and_then(|made| {
            let provider = self.config.providers.get(made.provider)?;
            Some(match &made.proof {
                Some(proof) => Signer::bound(provider, &made.header, &made.claims, (&case.ask, proof), self.now),
                None => Signer::new(provider, &made.header, &made.claims, self.now),
            })
        });
        let signer = signer.transpose().map_err(|problem| case.place.told(&self.file, &problem))?;
        ask.token = signer.as_ref().map(|signer| signer.token.clone()).or(ask.token);
        let proof = signer.as_ref().and_then(|signer| signer.proof.clone());
        ask.headers.extend(proof.map(|proof| ("dpop".to_owned(), proof)));
        let (answers, signer) = (&case.answers, signer.as_ref());
        let stage = Stage { config: &self.config, name: &self.name, answers, signer, now: self.now, is_live: false };
        let played = stage.play(&ask).map_err(|problem| case.place.told(&self.file, &problem))?;
        let differences = case.expected.compare(&Verdict::of(&self.config, &played), &played);
        let story = Story::new(Rc::clone(&self.config), played, self.now);
        let unanswered =
            story.played.unanswered().map(|call| format!("no answer is given for {} {}", call.method, call.url));
        let notes: Vec<String> =
            [story.verdict.detail.clone(), story.why()].into_iter().flatten().chain(unanswered).collect();
        let verdict = story.verdict;
        Ok(Outcome { table: self, case, verdict, differences, notes })
    }
}

/// Runs all cases of all tables.
pub fn run(tables: &[Table]) -> Result<Outcomes<'_>, String> {
    let cases = tables.iter().flat_map(|table| table.cases.iter().map(move |case| (table, case)));
    cases.map(|(table, case)| table.run(case)).collect::<Result<_, _>>().map(Outcomes)
}

impl Outcomes<'_> {
    pub fn are_as_expected(&self) -> bool {
        self.0.iter().all(|outcome| outcome.differences.is_empty())
    }

    /// A line for each case that came out otherwise, with what is different and why; then how many there are.
    pub fn written(&self, paint: Paint) -> String {
        let mut text = String::new();
        let unexpected = || self.0.iter().filter(|outcome| !outcome.differences.is_empty());
        for outcome in unexpected() {
            let Outcome { table, case, differences, notes, .. } = outcome;
            let line = format!("{}:{}: {}", table.file, case.place, case.name);
            // Writing to a text can't fail.
            let _ = writeln!(text, "{}", paint.head(&line));
            for Difference { field, expected, found } in differences {
                let _ = writeln!(text, "  {}", paint.bad(&format!("- {field}: {expected}")));
                let _ = writeln!(text, "  {}", paint.good(&format!("+ {field}: {found}")));
            }
            for note in notes {
                let _ = writeln!(text, "    {}", paint.faint(note));
            }
        }
        let failed = unexpected().count();
        let passed = self.0.len().saturating_sub(failed);
        let _ = match failed {
            0 => writeln!(text, "{}", paint.good(&format!("{passed} as expected"))),
            _ => writeln!(text, "{}", paint.bad(&format!("{passed} as expected, {failed} not"))),
        };
        text
    }

    pub fn to_json(&self) -> String {
        let tests = self.0.iter().map(|outcome| {
            let Outcome { table, case, verdict, differences, notes } = outcome;
            let differences = differences.iter().map(
                |Difference { field, expected, found }| json!({"field": field, "expected": expected, "found": found}),
            );
            json!({
                "file": table.file, "line": case.place.line, "name": case.name, "passed": differences.len() == 0,
                "result": verdict.result, "reason": verdict.reason, "status": verdict.status, "rule": verdict.rule,
                "provider": verdict.provider, "differences": differences.collect::<Value>(), "notes": notes,
            })
        });
        report::pretty(&json!({"passed": self.are_as_expected(), "tests": tests.collect::<Value>()}))
    }
}
