//! YAML as people write it: blocks for what is long, one line for what is short, quotes where they are needed.

use crate::words::plain_json;
use crate::yaml::{Data, Key, Node, Place, Style};
use serde_json::Number;

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::made(Data::Text(text.to_owned(), Style::Flow))
    }
}

impl From<String> for Node {
    fn from(text: String) -> Self {
        Self::made(Data::Text(text, Style::Flow))
    }
}

impl From<bool> for Node {
    fn from(value: bool) -> Self {
        Self::made(Data::Boolean(value))
    }
}

impl From<i64> for Node {
    fn from(number: i64) -> Self {
        Self::made(Data::Number(Number::from(number)))
    }
}

impl FromIterator<Node> for Node {
    fn from_iter<I: IntoIterator<Item = Self>>(nodes: I) -> Self {
        Self::made(Data::List(nodes.into_iter().collect()))
    }
}

impl Node {
    fn made(data: Data) -> Self {
        Self { place: Place::default(), data }
    }

    /// An object of these members, in this order.
    pub fn object<K: Into<String>>(members: impl IntoIterator<Item = (K, Self)>) -> Self {
        let members = members.into_iter();
        Self::made(Data::Map(members.map(|(name, node)| (Key::made(name), node)).collect()))
    }

    /// Puts a member at the end of an object, or in the place of one of its name.
    pub fn put(&mut self, name: &str, node: impl Into<Self>) {
        let Data::Map(members) = &mut self.data else { return };
        let node = node.into();
        match members.iter_mut().find(|(key, _)| key.name == name) {
            Some((_, old)) => *old = node,
            None => members.push((Key::made(name), node)),
        }
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Self> {
        let Data::Map(members) = &mut self.data else { return None };
        members.iter_mut().find(|(key, _)| key.name == name).map(|(_, node)| node)
    }

    pub fn is_empty(&self) -> bool {
        match &self.data {
            Data::Null => true,
            Data::List(nodes) => nodes.is_empty(),
            Data::Map(members) => members.is_empty(),
            _ => false,
        }
    }
}

impl Key {
    fn made(name: impl Into<String>) -> Self {
        Self { name: name.into(), place: Place::default() }
    }
}

/// The lines of an object or a list, each behind so many spaces.
pub fn block(node: &Node, indent: usize) -> String {
    let mut text = String::new();
    write_block(node, indent, &mut text);
    text
}

fn write_block(node: &Node, indent: usize, text: &mut String) {
    let spaces = " ".repeat(indent);
    match &node.data {
        Data::Map(members) if !members.is_empty() => {
            for (key, node) in members {
                text.push_str(&spaces);
                write_member(key, node, indent, text);
            }
        }
        Data::List(nodes) if !nodes.is_empty() => {
            for node in nodes {
                text.push_str(&spaces);
                write_element(node, indent, text);
            }
        }
        _ => text.push_str(&format!("{spaces}{}\n", line(node))),
    }
}

fn write_member(key: &Key, node: &Node, indent: usize, text: &mut String) {
    text.push_str(&scalar(&key.name));
    if is_short(node, indent.saturating_add(key.name.len())) {
        text.push_str(&format!(": {}\n", line(node)));
    } else {
        text.push_str(":\n");
        write_block(node, indent.saturating_add(2), text);
    }
}

fn write_element(node: &Node, indent: usize, text: &mut String) {
    text.push_str("- ");
    let inner = indent.saturating_add(2);
    match &node.data {
        Data::Map(members) if !is_short(node, inner) => {
            for (index, (key, node)) in members.iter().enumerate() {
                if index > 0 {
                    text.push_str(&" ".repeat(inner));
                }
                write_member(key, node, inner, text);
            }
        }
        _ => text.push_str(&format!("{}\n", line(node))),
    }
}

/// Whether a value stands on one line: a simple one does, and of the others one that is short and not nested deep.
fn is_short(node: &Node, indent: usize) -> bool {
    match &node.data {
        Data::List(_) => is_flat(node) && indent.saturating_add(line(node).len()) <= WIDTH,
        Data::Map(members) => {
            let is_plain = members.len() < 2 && members.iter().all(|(_, node)| is_flat(node)) || is_flat(node);
            members.is_empty() || is_plain && members.len() > 1 && indent.saturating_add(line(node).len()) <= WIDTH
        }
        _ => true,
    }
}

/// Whether nothing stands within a value.
fn is_leaf(node: &Node) -> bool {
    match &node.data {
        Data::List(nodes) => nodes.is_empty(),
        Data::Map(members) => members.is_empty(),
        _ => true,
    }
}

/// Whether a value is simple, or a list or a small object of what is.
fn is_flat(node: &Node) -> bool {
    match &node.data {
        Data::List(nodes) => nodes.iter().all(is_leaf),
        Data::Map(members) => members.len() < 4 && members.iter().all(|(_, node)| is_leaf(node)),
        _ => true,
    }
}

/// A value on one line.
pub fn line(node: &Node) -> String {
    match &node.data {
        Data::Null => "null".to_owned(),
        Data::Boolean(value) => value.to_string(),
        Data::Number(number) => number.to_string(),
        Data::Text(text, _) => scalar(text),
        Data::List(nodes) => format!("[{}]", nodes.iter().map(line).collect::<Vec<_>>().join(", ")),
        Data::Map(members) if members.is_empty() => "{}".to_owned(),
        Data::Map(members) => {
            let members = members.iter().map(|(key, node)| format!("{}: {}", scalar(&key.name), line(node)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

/// A text, in quotes unless everybody reads it as one without them.
pub fn scalar(text: &str) -> String {
    let is_plain = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_' || c == '/')
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_./:-".contains(&byte))
        && !text.ends_with(':')
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    // YAML knows the escapes of JSON. Some signs need one: readers of YAML 1.1 end a line there.
    if is_plain { text.to_owned() } else { plain_json(&serde_json::Value::from(text).to_string()) }
}

/// What somebody reads as something else than a text.
const WORDS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"];

const WIDTH: usize = 110;
