//! What may lie behind a fault of YAML.

use super::{Fault, Place};

/// A fault, with what most probably brought it about: a tab that looks like the spaces that would have been right, or a template.
pub fn fault(text: &str, place: Place, problem: &str) -> Fault {
    let line = text.lines().nth(place.line.saturating_sub(1)).unwrap_or_default();
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
