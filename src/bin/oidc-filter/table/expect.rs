//! What is expected of a request, and how it differs from what came.

use super::fields::{Fields, Texts, text_of};
use crate::explain::{Verdict, remedy};
use crate::stage::{Played, is_status};
use crate::yaml::{Data, Node};

/// What is expected. What nothing is said of may be anything.
#[derive(Default)]
pub struct Expectation {
    result: Option<String>,
    reason: Option<String>,
    status: Option<String>,
    rule: Option<String>,
    provider: Option<String>,
    candidate: Option<String>,
    /// Headers that the service gets: all values of each; `None` for one that it does not get.
    service: Texts,
    /// Headers that the filter writes for the client.
    client: Texts,
}

/// Something that is not as expected.
pub struct Difference {
    pub field: String,
    pub expected: String,
    pub found: String,
}

impl Expectation {
    /// One word, which is a result or a reason; a status; or an object.
    pub fn read(file: &str, node: &Node) -> Result<Self, String> {
        match &node.data {
            Data::Text(word, _) if is_result(word) => Ok(Self { result: Some(word.clone()), ..Self::default() }),
            Data::Text(word, _) if is_reason(word) => Ok(Self { reason: Some(word.clone()), ..Self::default() }),
            Data::Number(_) if text_of(node).is_some_and(|text| text.parse().is_ok_and(is_status)) => {
                Ok(Self { status: text_of(node), ..Self::default() })
            }
            Data::Map(_) => Self::from_fields(Fields::of(file, node)?),
            _ => {
                let results = RESULTS.join(", ");
                let problem =
                    format!("`expect` must be {results}, a reason such as expired, a status, or an object of these");
                Err(node.place.told(file, &problem))
            }
        }
    }

    fn from_fields(mut fields: Fields<'_>) -> Result<Self, String> {
        let expected = Self {
            result: fields.word("result", is_result)?,
            reason: fields.word("reason", |word| word == NONE || is_reason(word))?,
            status: fields.word("status", |word| word == NONE || word.parse().is_ok_and(is_status))?,
            rule: fields.text("rule")?,
            provider: fields.text("provider")?,
            candidate: fields.word("candidate", |word| ["undecided", NONE].contains(&word) || is_result(word))?,
            service: fields.texts("service")?,
            client: fields.texts("client")?,
        };
        fields.finish()?;
        Ok(expected)
    }

    /// What is not as expected.
    pub fn compare(&self, verdict: &Verdict, played: &Played) -> Vec<Difference> {
        let mut differences = Vec::new();
        let mut compare = |field: &str, expected: Option<&str>, found: Option<&str>| {
            let found = found.unwrap_or(NONE);
            if let Some(expected) = expected.filter(|expected| *expected != found) {
                let (expected, found) = (expected.to_owned(), found.to_owned());
                differences.push(Difference { field: field.to_owned(), expected, found });
            }
        };
        compare("result", self.result.as_deref(), Some(&verdict.result));
        // Where nothing but a reason is expected, the result tells what came instead.
        let instead =
            (self.result.is_none() && self.reason.as_deref() != Some(NONE)).then_some(verdict.result.as_str());
        compare("reason", self.reason.as_deref(), verdict.reason.as_deref().or(instead));
        compare("status", self.status.as_deref(), verdict.status.map(|status| status.to_string()).as_deref());
        let candidate = verdict.candidate.as_ref().map(|(result, _)| result.as_str());
        compare("candidate", self.candidate.as_deref(), candidate);
        compare("provider", self.provider.as_deref(), verdict.provider.as_deref());
        let rule = verdict.rule.as_deref();
        compare("rule", self.rule.as_deref().filter(|expected| !is_rule(expected, rule)), rule);
        differences.extend(headers("service", &self.service, &played.service().unwrap_or_default()));
        differences.extend(headers("client", &self.client, &played.client().1));
        differences
    }
}

fn headers(whose: &str, expected: &[(String, Option<Vec<String>>)], found: &[(String, String)]) -> Vec<Difference> {
    let differences = expected.iter().filter_map(|(name, expected)| {
        let found = found.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name));
        let found: Vec<String> = found.map(|(_, value)| value.clone()).collect();
        let expected = expected.clone().unwrap_or_default();
        let field = format!("{whose}.{name}");
        (expected != found).then(|| Difference { field, expected: written(&expected), found: written(&found) })
    });
    differences.collect()
}

/// Values of a header in one text.
fn written(values: &[String]) -> String {
    if values.is_empty() { NONE.to_owned() } else { values.join(", ") }
}

/// Whether this is the rule that was found, by its place, its name, or both.
fn is_rule(expected: &str, found: Option<&str>) -> bool {
    let Some(found) = found else { return expected == NONE };
    let (place, name) = found.split_once(' ').unwrap_or((found, ""));
    [found, place, name].contains(&expected)
}

fn is_result(word: &str) -> bool {
    RESULTS.contains(&word)
}

fn is_reason(word: &str) -> bool {
    remedy(word).is_some()
}

const RESULTS: [&str; 4] = ["allowed", "bypassed", "denied", "stripped"];

/// What stands for nothing.
const NONE: &str = "none";
