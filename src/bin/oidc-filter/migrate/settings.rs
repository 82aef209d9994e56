//! Settings by name, in whatever form they were handed over.

mod carriers;

use super::Notes;
use crate::file::File;
use crate::yaml::{Data, Node};
use std::cell::RefCell;

/// Names in lower case with underscores, each with its values.
pub struct Settings<'n> {
    values: Vec<(String, Vec<String>)>,
    /// Documents in the newer form of oauth2-proxy.
    alpha: Vec<Node>,
    used: RefCell<Vec<String>>,
    /// What names may begin with: that of the program.
    prefix: &'n str,
    notes: &'n Notes,
}

impl<'n> Settings<'n> {
    /// Reads files that belong together.
    pub fn read(files: &[File], prefix: &'n str, notes: &'n Notes) -> Result<Self, String> {
        let mut settings = Self { values: Vec::new(), alpha: Vec::new(), used: RefCell::default(), prefix, notes };
        for file in files {
            settings.read_text(file)?;
        }
        Ok(settings)
    }

    /// Adds values that were found as they are.
    fn add(&mut self, name: &str, values: Vec<String>) {
        let name = canonical(name, self.prefix);
        let mut values: Vec<String> = values.into_iter().map(|value| self.with_variables(&name, &value)).collect();
        // A flag may be given more than once.
        match self.values.iter_mut().find(|(other, _)| *other == name) {
            Some((_, earlier)) => earlier.append(&mut values),
            None => self.values.push((name, values)),
        }
    }

    /// Adds what a line, an environment or a flag says: a text that may be quoted, or a list in brackets.
    fn add_text(&mut self, name: &str, value: &str) {
        let value = without_comment(value.trim());
        let list = value
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .filter(|rest| !rest.trim_start().starts_with('{'));
        let values = match list {
            Some(list) => list.split(',').map(unquoted).filter(|value| !value.is_empty()).collect(),
            None => vec![unquoted(value)],
        };
        self.add(name, values);
    }

    /// A variable of a shell, of compose or of Kubernetes is one of Envoy's here.
    fn with_variables(&self, name: &str, value: &str) -> String {
        let mut made = String::new();
        let mut rest = value;
        while let Some(at) = rest.find('$') {
            let (before, behind) = rest.split_at(at);
            made.push_str(before);
            let inner = behind.get(1..).unwrap_or_default();
            let braced = inner.strip_prefix('{').and_then(|inner| inner.split_once('}'));
            let round = inner.strip_prefix('(').and_then(|inner| inner.split_once(')'));
            let Some((variable, after)) = braced.or(round) else {
                made.push('$');
                rest = inner;
                continue;
            };
            // Kubernetes has no defaults, and names with dashes.
            let variable = if braced.is_none() { variable.replace(['-', '.'], "_") } else { variable.to_owned() };
            let end = variable
                .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
                .unwrap_or(variable.len());
            let (bare, default) = variable.split_at(end);
            if bare.is_empty() || !default.is_empty() && !default.starts_with([':', '-', '?', '+']) {
                made.push('$');
                rest = inner;
                continue;
            }
            if !default.is_empty() {
                self.notes.add(format!(
                    "{name}: what stands there where {bare} is not set does not carry over: set it where Envoy runs"
                ));
            }
            made.push_str(&format!("${{{bare}}}"));
            rest = after;
        }
        made + rest
    }

    /// Takes the values of a node in under another name.
    pub fn put(&mut self, name: &str, node: &Node) {
        let texts = node.list().iter().chain([node]);
        let values: Vec<String> = texts
            .filter_map(|node| match &node.data {
                Data::Text(text, _) => Some(text.clone()),
                Data::Boolean(value) => Some(value.to_string()),
                Data::Number(number) => Some(number.to_string()),
                _ => None,
            })
            .collect();
        self.add(name, values);
    }

    /// Documents in the newer form of oauth2-proxy.
    pub fn take_alpha(&mut self) -> Vec<Node> {
        std::mem::take(&mut self.alpha)
    }

    /// All values of a name: of one text, what stands between commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        self.split(name, &[','])
    }

    /// The same where white space is between them, too.
    pub fn words(&self, name: &str) -> Vec<String> {
        self.split(name, &[',', ' '])
    }

    fn split(&self, name: &str, at: &[char]) -> Vec<String> {
        let values = self.all(name);
        let parts = values.iter().flat_map(|value| value.split(at));
        parts.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty()).collect()
    }

    /// All values of a name, each as it is.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.used.borrow_mut().push(name.to_owned());
        let found = self.values.iter().filter(|(other, _)| other == name);
        found.flat_map(|(_, values)| values.clone()).collect()
    }

    /// The value of a name, of which the last counts.
    pub fn one(&self, name: &str) -> Option<String> {
        let mut values = self.all(name);
        let last = values.pop();
        if values.iter().any(|value| Some(value) != last.as_ref()) {
            self.notes
                .add(format!("{name}: is given more than once, and not always the same: the last one counts here"));
        }
        last.filter(|value| !value.is_empty())
    }

    /// The same, or what it is where nothing is said.
    pub fn one_or(&self, name: &str, standard: &str) -> String {
        self.one(name).unwrap_or_else(|| standard.to_owned())
    }

    pub fn flag(&self, name: &str) -> bool {
        self.one(name).is_some_and(|value| value.eq_ignore_ascii_case("true") || value == "1")
    }

    /// What has no counterpart, and what to do instead. A name may end in `*`.
    pub fn lose(&self, names: &[&str], remedy: &str) {
        if let Some(found) = self.found(names) {
            self.notes.add(format!("{found}: {remedy}"));
        }
    }

    /// The same for what keeps somebody out there.
    pub fn lose_limit(&self, names: &[&str], remedy: &str) {
        if let Some(found) = self.found(names) {
            self.notes.widen(format!("{found}: {remedy}"));
        }
    }

    /// Those of these names that say something.
    fn found(&self, names: &[&str]) -> Option<String> {
        let is_said = |values: &[String]| values.iter().any(|value| !value.is_empty());
        let found: Vec<&str> = self
            .values
            .iter()
            .filter(|(name, values)| names.iter().any(|pattern| fits(name, pattern)) && is_said(values))
            .map(|(name, _)| name.as_str())
            .collect();
        let silent = self.values.iter().filter(|(name, _)| names.iter().any(|pattern| fits(name, pattern)));
        self.used.borrow_mut().extend(silent.map(|(name, _)| name.clone()));
        (!found.is_empty()).then(|| found.join(", "))
    }

    pub fn finish(self) {
        for (name, _) in &self.values {
            if !self.used.borrow().contains(name) {
                self.notes.add(format!("{name}: has no counterpart here"));
            }
        }
    }
}

/// Whether a name is this one, or begins like one that ends in `*`.
fn fits(name: &str, pattern: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |begin| name.starts_with(begin))
}

fn canonical(name: &str, prefix: &str) -> String {
    let name = name.trim().trim_start_matches('-').to_ascii_lowercase().replace('-', "_");
    name.strip_prefix(prefix).map(str::to_owned).unwrap_or(name)
}

/// A value without what stands behind ` #`; behind the end of its quotes, too.
fn without_comment(value: &str) -> &str {
    let quote = value.chars().next().filter(|first| ['"', '\''].contains(first));
    let begin = quote.and_then(|quote| value.get(1..)?.find(quote)).map_or(0, |end| end.saturating_add(2));
    let behind = value.get(begin..).unwrap_or_default();
    match behind.find(" #") {
        Some(at) => value.get(..begin.saturating_add(at)).unwrap_or(value).trim_end(),
        None => value,
    }
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    inner.unwrap_or(text).to_owned()
}
