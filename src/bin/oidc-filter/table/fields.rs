//! The members of an object, each asked for by its name: one that nobody asks for is an error, which names it and its line.

use crate::words::nearest;
use crate::yaml::{Data, Node, Place};
use std::collections::BTreeSet;

/// Names with the texts of each; `None` for one that is to be absent.
pub type Texts = Vec<(String, Option<Vec<String>>)>;

/// An object that is being read.
pub struct Fields<'n> {
    file: &'n str,
    node: &'n Node,
    asked: BTreeSet<&'static str>,
}

impl<'n> Fields<'n> {
    pub fn of(file: &'n str, node: &'n Node) -> Result<Self, String> {
        match &node.data {
            Data::Map(_) => Ok(Self { file, node, asked: BTreeSet::new() }),
            _ => Err(node.place.told(file, "expected an object")),
        }
    }

    pub fn place(&self) -> Place {
        self.node.place
    }

    /// Whether a member is there.
    pub fn has(&self, name: &str) -> bool {
        self.node.members().iter().any(|(key, _)| key.name == name)
    }

    /// A member; what is `null` is there.
    pub fn take(&mut self, name: &'static str) -> Option<&'n Node> {
        self.asked.insert(name);
        self.node.members().iter().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    /// A member that is one of these words.
    pub fn word(&mut self, name: &'static str, is_known: impl Fn(&str) -> bool) -> Result<Option<String>, String> {
        let Some(node) = self.take(name) else { return Ok(None) };
        let word = text_of(node).filter(|word| is_known(word));
        word.map(Some).ok_or_else(|| self.error(node, &format!("`{name}` has no such word")))
    }

    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, String> {
        let Some(node) = self.take(name) else { return Ok(None) };
        text_of(node)
            .map(Some)
            .ok_or_else(|| self.error(node, &format!("`{name}` must be a text, not {}", kind_of(node))))
    }

    /// An object within.
    pub fn object(&mut self, name: &'static str) -> Result<Option<&'n Node>, String> {
        match self.take(name) {
            Some(node) if !matches!(node.data, Data::Map(_)) => {
                Err(self.error(node, &format!("`{name}` must be an object, not {}", kind_of(node))))
            }
            object => Ok(object),
        }
    }

    /// The members of an object within, each a text, several, or `null`.
    pub fn texts(&mut self, name: &'static str) -> Result<Texts, String> {
        let Some(node) = self.object(name)? else { return Ok(Vec::new()) };
        let members = node.members().iter().map(|(key, node)| {
            let texts = match &node.data {
                Data::Null => Some(None),
                Data::List(nodes) => nodes.iter().map(text_of).collect::<Option<Vec<_>>>().map(Some),
                _ => text_of(node).map(|text| Some(vec![text])),
            };
            let texts = texts.ok_or_else(|| self.error(node, "expected a text, or a list of texts"))?;
            Ok((key.name.clone(), texts))
        });
        members.collect()
    }

    /// Refuses what was not asked for.
    pub fn finish(self) -> Result<(), String> {
        let known: Vec<&str> = self.asked.iter().copied().collect();
        self.only(&known)
    }

    /// Refuses what is none of these, before something that is missing under its right name is told.
    pub fn only(&self, known: &[&str]) -> Result<(), String> {
        let Some((key, _)) = self.node.members().iter().find(|(key, _)| !known.contains(&key.name.as_str())) else {
            return Ok(());
        };
        let meant = nearest(&key.name, known).map(|meant| format!("did you mean `{meant}`? Expected"));
        let expected = meant.as_deref().unwrap_or("expected");
        let problem = format!("`{}`: unknown field, {expected} one of {}", key.name, known.join(", "));
        Err(key.place.told(self.file, &problem))
    }

    pub fn error(&self, node: &Node, problem: &str) -> String {
        node.place.told(self.file, problem)
    }
}

fn kind_of(node: &Node) -> &'static str {
    match node.data {
        Data::Null => "null",
        Data::Boolean(_) => "a boolean",
        Data::Number(_) => "a number",
        Data::Text(..) => "a text",
        Data::List(_) => "a list",
        Data::Map(_) => "an object",
    }
}

/// A text, or what YAML takes for something else and means the same.
pub fn text_of(node: &Node) -> Option<String> {
    match &node.data {
        Data::Text(text, _) => Some(text.clone()),
        Data::Number(number) => Some(number.to_string()),
        Data::Boolean(value) => Some(value.to_string()),
        _ => None,
    }
}
