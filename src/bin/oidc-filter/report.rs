//! What a command found, as text, as JSON, or as SARIF 2.1.0 for those who show findings beside code.

use crate::words::{plain, plain_json};
use crate::yaml::Place;
use clap::ValueEnum;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use serde_json::{Value, json};
use std::fmt;

/// Something that was found.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Finding {
    pub file: String,
    pub place: Place,
    pub level: Level,
    /// One word for its kind.
    pub code: String,
    /// The way to the value, from the top of the configuration or of the document.
    pub path: String,
    /// What is wrong, and what to do.
    pub text: String,
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Level {
    /// The filter, or Envoy, refuses it.
    Error,
    /// It is legal, and may not be what somebody means.
    Warning,
    /// It could be better.
    Note,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub enum Format {
    /// A line for each, as compilers write them
    #[default]
    Text,
    /// One JSON object
    Json,
    /// SARIF 2.1.0
    Sarif,
}

impl Level {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, place, level, code, path, text } = self;
        write!(f, "{}:{place}: {}: ", plain(file), level.as_str())?;
        // Warnings of the filter name their place themselves.
        if !path.is_empty() && !text.starts_with(path.as_str()) {
            write!(f, "{}: ", plain(path))?;
        }
        write!(f, "{} [{code}]", plain(text))
    }
}

/// The whole report, with a line break at its end unless it is empty.
pub fn written(findings: &[Finding], format: Format) -> String {
    match format {
        Format::Text => findings.iter().map(|finding| format!("{finding}\n")).collect(),
        Format::Json => pretty(&json!({"findings": findings.iter().map(object).collect::<Vec<_>>()})),
        Format::Sarif => pretty(&sarif(findings)),
    }
}

pub fn pretty(value: &Value) -> String {
    plain_json(&format!("{value:#}\n"))
}

fn object(finding: &Finding) -> Value {
    let Finding { file, place, level, code, path, text } = finding;
    json!({
        "file": file, "line": place.line, "column": place.column, "level": level.as_str(), "code": code, "path": path,
        "text": text,
    })
}

fn sarif_result(finding: &Finding) -> Value {
    let Finding { file, place, level, code, path, text } = finding;
    let text = if path.is_empty() { text.clone() } else { format!("{path}: {text}") };
    json!({
        "ruleId": code,
        "level": level.as_str(),
        "message": {"text": text},
        "locations": [{"physicalLocation": {
            "artifactLocation": {"uri": uri(file)},
            "region": {"startLine": place.line, "startColumn": place.column},
        }}],
    })
}

fn sarif(findings: &[Finding]) -> Value {
    let mut codes: Vec<&str> = findings.iter().map(|finding| finding.code.as_str()).collect();
    codes.sort_unstable();
    codes.dedup();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "oidc-filter",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": codes.iter().map(|code| json!({"id": code})).collect::<Vec<_>>(),
            }},
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(sarif_result).collect::<Vec<_>>(),
        }],
    })
}

/// A path as a reference to a URI (RFC 3986, section 4.2), which SARIF asks for.
fn uri(path: &str) -> String {
    let escaped = utf8_percent_encode(path, PATH).to_string();
    // What begins with `name:` would be a scheme.
    let is_ambiguous = escaped.split('/').next().is_some_and(|first| first.contains(':'));
    if is_ambiguous { format!("./{escaped}") } else { escaped }
}

/// All that stands for something else in a path.
const PATH: &AsciiSet = &CONTROLS
    .add(b' ')
    .add(b'"')
    .add(b'#')
    .add(b'%')
    .add(b'<')
    .add(b'>')
    .add(b'?')
    .add(b'[')
    .add(b'\\')
    .add(b']')
    .add(b'^')
    .add(b'`')
    .add(b'{')
    .add(b'|')
    .add(b'}');
