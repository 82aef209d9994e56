//! Settings by name, in whatever form they were handed over: a file of `name = value`, flags, the environment of a container.

use super::Notes;
use crate::yaml::{self, Data, Node};
use std::cell::RefCell;

/// Names in lower case with underscores, each with its values.
pub struct Settings<'n> {
    values: Vec<(String, Vec<String>)>,
    used: RefCell<Vec<String>>,
    notes: &'n Notes,
}

impl<'n> Settings<'n> {
    /// Reads lines, or YAML: an object, a ConfigMap, a list of `name` and `value`, the arguments of a container.
    pub fn read(text: &str, prefix: &str, notes: &'n Notes) -> Self {
        let mut settings = Self { values: Vec::new(), used: RefCell::default(), notes };
        let documents = yaml::read(text).unwrap_or_default();
        let is_yaml = documents.iter().any(|document| matches!(document.data, Data::Map(_) | Data::List(_)));
        if is_yaml && !text.lines().any(|line| line.trim_start().starts_with('[') && line.trim_end().ends_with(']')) {
            documents.iter().for_each(|document| settings.of_node(document, prefix))
        } else {
            settings.of_lines(text, prefix)
        }
        settings
    }

    fn of_lines(&mut self, text: &str, prefix: &str) {
        let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        while let Some(line) = lines.next() {
            let line = line.strip_prefix("export ").unwrap_or(line).trim_end_matches('\\').trim();
            let Some((name, value)) = line.split_once('=') else {
                // A flag by itself.
                let flags = line.split_whitespace().filter(|word| word.starts_with('-'));
                flags.for_each(|flag| self.add(flag, "true", prefix));
                continue;
            };
            let mut value = value.trim().to_owned();
            // A list of TOML may go on.
            while value.starts_with('[') && !value.ends_with(']') {
                let Some(next) = lines.next() else { break };
                value.push_str(next);
            }
            self.add(name.trim(), &value, prefix);
        }
    }

    fn of_node(&mut self, node: &Node, prefix: &str) {
        match &node.data {
            Data::List(nodes) => nodes.iter().for_each(|node| self.of_node(node, prefix)),
            Data::Text(text, _) => self.of_lines(text, prefix),
            Data::Map(members) => {
                if let (Some(name), Some(value)) = (node.word("name"), node.get("value"))
                    && members.len() == 2
                {
                    self.add(name, value.text().unwrap_or_default(), prefix);
                    return;
                }
                for (key, inner) in members {
                    match &inner.data {
                        Data::Map(_) => self.of_node(inner, prefix),
                        Data::List(_) if ["args", "env", "containers", "command"].contains(&key.name.as_str()) => {
                            self.of_node(inner, prefix)
                        }
                        Data::List(nodes) => {
                            let texts = nodes.iter().filter_map(Node::text).map(str::to_owned).collect();
                            self.values.push((canonical(&key.name, prefix), texts));
                        }
                        Data::Text(text, _) if text.contains('\n') => self.of_lines(text, prefix),
                        Data::Text(text, _) => self.add(&key.name, text, prefix),
                        Data::Boolean(value) => self.add(&key.name, &value.to_string(), prefix),
                        Data::Number(number) => self.add(&key.name, &number.to_string(), prefix),
                        Data::Null => {}
                    }
                }
            }
            _ => {}
        }
    }

    fn add(&mut self, name: &str, value: &str, prefix: &str) {
        let name = canonical(name, prefix);
        let value = value.trim();
        let list = value
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
            .filter(|rest| !rest.trim_start().starts_with('{'));
        let mut values: Vec<String> = match list {
            Some(list) => list.split(',').map(unquoted).filter(|value| !value.is_empty()).collect(),
            None => vec![unquoted(value)],
        };
        // A flag may be given more than once.
        match self.values.iter_mut().find(|(other, _)| *other == name) {
            Some((_, earlier)) => earlier.append(&mut values),
            None => self.values.push((name, values)),
        }
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
        self.values.push((name.to_owned(), values));
    }

    /// Leaves out what is read otherwise.
    pub fn forget(&mut self, names: &[&str]) {
        self.values.retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// All values of a name: of one text, what stands between commas.
    pub fn list(&self, name: &str) -> Vec<String> {
        let values = self.all(name);
        values
            .iter()
            .flat_map(|value| value.split(','))
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
            .collect()
    }

    /// All values of a name, each as it is.
    pub fn all(&self, name: &str) -> Vec<String> {
        self.used.borrow_mut().push(name.to_owned());
        let found = self.values.iter().filter(|(other, _)| other == name);
        found.flat_map(|(_, values)| values.clone()).collect()
    }

    pub fn one(&self, name: &str) -> Option<String> {
        self.all(name).pop().filter(|value| !value.is_empty())
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
        for (name, _) in &self.values {
            if names.iter().any(|pattern| fits(name, pattern)) {
                self.used.borrow_mut().push(name.clone());
                self.notes.add(format!("{name}: {remedy}"));
            }
        }
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
    let name = name.trim_start_matches('-').to_ascii_lowercase().replace('-', "_");
    name.strip_prefix(prefix).map(str::to_owned).unwrap_or(name)
}

fn unquoted(text: &str) -> String {
    let text = text.trim();
    let inner = ['"', '\''].iter().find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote));
    inner.unwrap_or(text).to_owned()
}
