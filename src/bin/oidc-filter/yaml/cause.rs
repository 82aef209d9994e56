//! What may lie behind a fault of YAML.

use super::{Fault, Place};

/// A fault, with what most probably brought it about: a tab that looks like the spaces that would have been right, or a template.
pub fn fault(text: &str, place: Place, problem: &str) -> Fault {
    let line = text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
    // A scalar that a tab ends may have begun lines before.
    let behind =
        text.lines().enumerate().skip(place.line).find_map(|(index, line)| Some((index, line.find('\t')?, line)));
    if let Some((index, at, line)) = behind.filter(|_| problem.contains("found a tab") && !line.contains('\t')) {
        let column = line.get(..at).map_or(1, |before| before.chars().count().saturating_add(1));
        let place = Place { line: index.saturating_add(1), column };
        return Fault { place, problem: "a tab stands in this line: write spaces in its place".to_owned() };
    }
    let cause = match (line.contains('\t'), line.contains("{{")) {
        (true, _) => "; a tab stands in this line: write spaces in its place",
        _ if problem.contains("indentation in quoted") => {
            "; some readers take this all the same: indent the lines of the text further than its name, or write it behind `|`"
        }
        (_, true) => "; it looks like a template: give what `helm template` makes of it",
        _ => "",
    };
    Fault { place, problem: format!("{problem}{cause}") }
}
