//! YAML and JSON with the line and the column of each value, read as Envoy and Kubernetes read them.
//!
//! What can't be read one way only is an error: a key that is there twice, two documents where one is meant. Aliases are followed; a
//! document can't grow beyond a million values by them.

mod cause;
mod flow;

use oidc_filter::config::snake_case;
use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};
use serde_json::{Map, Number, Value};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::rc::Rc;

/// A value, and where it is.
#[derive(Clone, Debug)]
pub struct Node {
    pub place: Place,
    pub data: Data,
}

/// Line and column, both from 1.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub struct Place {
    pub line: usize,
    pub column: usize,
}

#[derive(Clone, Debug)]
pub enum Data {
    Null,
    Boolean(bool),
    Number(Number),
    Text(String, Style),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

/// How a text is written, so that a place within it can be told.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Style {
    /// In some other way, of which no place within is asked for.
    Flow,
    /// Quoted or folded, with the place of each sign that is no white space.
    Mapped(Rc<[Place]>),
    /// `|`: line by line, from this line on, behind so many spaces.
    Literal { line: usize, indent: usize },
}

#[derive(Clone, Debug)]
pub struct Key {
    pub name: String,
    pub place: Place,
}

/// Why a text is no YAML.
#[derive(Clone, Debug)]
pub struct Fault {
    pub place: Place,
    pub problem: String,
}

impl Fault {
    /// This, and which file it is in.
    pub fn told(&self, file: &str) -> String {
        self.place.told(file, &self.problem)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

impl Place {
    /// A problem with what stands here in this file.
    pub fn told(self, file: &str, problem: &str) -> String {
        format!("{file}:{self}: {problem}")
    }
}

impl Node {
    /// The member of an object, in either spelling that protobuf's JSON has.
    pub fn get(&self, name: &str) -> Option<&Self> {
        self.entry(name).map(|(_, node)| node)
    }

    /// The same with its key.
    pub fn entry(&self, name: &str) -> Option<(&Key, &Self)> {
        let Data::Map(members) = &self.data else { return None };
        let exact = members.iter().find(|(key, _)| key.name == name);
        let found = exact.or_else(|| members.iter().find(|(key, _)| snake_case(&key.name) == name));
        found.map(|(key, node)| (key, node))
    }

    /// The value at the end of these steps.
    pub fn at(&self, steps: &[&str]) -> Option<&Self> {
        steps.iter().try_fold(self, |node, step| node.get(step))
    }

    pub fn text(&self) -> Option<&str> {
        match &self.data {
            Data::Text(text, _) => Some(text),
            _ => None,
        }
    }

    /// The text of a member.
    pub fn word(&self, name: &str) -> Option<&str> {
        self.get(name).and_then(Self::text)
    }

    pub fn is_true(&self) -> bool {
        self.boolean() == Some(true)
    }

    pub fn is_false(&self) -> bool {
        self.boolean() == Some(false)
    }

    /// A boolean as protobuf's JSON takes it: also in quotes, and in a `BoolValue`.
    fn boolean(&self) -> Option<bool> {
        match &self.data {
            Data::Boolean(value) => Some(*value),
            Data::Text(text, _) => match text.to_ascii_lowercase().as_str() {
                "true" | "t" | "yes" | "y" | "1" => Some(true),
                "false" | "f" | "no" | "n" | "0" => Some(false),
                _ => None,
            },
            Data::Map(_) => self.get("value")?.boolean(),
            _ => None,
        }
    }

    /// A number as protobuf's JSON takes it: also in quotes, and in a `UInt32Value`.
    pub fn number(&self) -> Option<f64> {
        match &self.data {
            Data::Number(number) => number.as_f64(),
            Data::Text(text, _) => text.parse().ok(),
            Data::Map(_) => self.get("value")?.number(),
            _ => None,
        }
    }

    /// Whether this is a value of an enumeration as protobuf's JSON takes it: its name in any case, or its number.
    pub fn is_value(&self, name: &str, number: u8) -> bool {
        self.text().is_some_and(|text| text.eq_ignore_ascii_case(name)) || self.number() == Some(f64::from(number))
    }

    /// The elements of a list; nothing for what is none.
    pub fn list(&self) -> &[Self] {
        match &self.data {
            Data::List(nodes) => nodes,
            _ => &[],
        }
    }

    /// The elements of a member that is a list.
    pub fn elements(&self, name: &str) -> &[Self] {
        self.get(name).map_or(&[], Self::list)
    }

    pub fn members(&self) -> &[(Key, Self)] {
        match &self.data {
            Data::Map(members) => members,
            _ => &[],
        }
    }

    /// This and everything in it.
    pub fn walk<'n>(&'n self, visit: &mut dyn FnMut(&'n Self)) {
        visit(self);
        match &self.data {
            Data::List(nodes) => nodes.iter().for_each(|node| node.walk(visit)),
            Data::Map(members) => members.iter().for_each(|(_, node)| node.walk(visit)),
            _ => {}
        }
    }

    /// Whether this or something in it is so.
    pub fn any(&self, is_so: impl Fn(&Self) -> bool) -> bool {
        let mut found = false;
        self.walk(&mut |node| found |= is_so(node));
        found
    }

    pub fn to_json(&self) -> Value {
        match &self.data {
            Data::Null => Value::Null,
            Data::Boolean(value) => Value::Bool(*value),
            Data::Number(number) => Value::Number(number.clone()),
            Data::Text(text, _) => Value::String(text.clone()),
            Data::List(nodes) => nodes.iter().map(Self::to_json).collect(),
            Data::Map(members) => Value::Object(
                members.iter().map(|(key, node)| (key.name.clone(), node.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }

    /// Moves what was read from a text within a document to where that stands.
    pub fn shift(&mut self, place: &dyn Fn(Place) -> Place) {
        self.place = place(self.place);
        match &mut self.data {
            Data::List(nodes) => nodes.iter_mut().for_each(|node| node.shift(place)),
            Data::Map(members) => {
                for (key, node) in members {
                    key.place = place(key.place);
                    node.shift(place);
                }
            }
            _ => {}
        }
    }
}

/// Where something is in the file that is at this place of a text in it.
pub fn within(text: &Node, inner: Place) -> Place {
    match &text.data {
        Data::Text(_, Style::Literal { line, indent }) => Place {
            line: line.saturating_add(inner.line).saturating_sub(1),
            column: inner.column.saturating_add(*indent),
        },
        Data::Text(written, Style::Mapped(places)) => {
            let lines = written.split('\n').take(inner.line);
            let before = lines.enumerate().map(|(index, line)| {
                let is_last = index.saturating_add(1) == inner.line;
                let width = if is_last { inner.column.saturating_sub(1) } else { usize::MAX };
                line.chars().take(width).filter(|sign| !sign.is_whitespace()).count()
            });
            // Behind the last sign there is nothing but the end.
            places.get(before.sum::<usize>()).or(places.last()).copied().unwrap_or(text.place)
        }
        _ => text.place,
    }
}

/// All documents of a file, and where something was merged into them.
#[derive(Debug)]
pub struct Documents {
    pub nodes: Vec<Node>,
    /// Where `<<` stands.
    pub merges: Vec<Place>,
    /// Where a name without quotes is a word that YAML 1.1 had for a boolean.
    pub words: Vec<Place>,
}

/// All documents of a file.
pub fn read(text: &str) -> Result<Vec<Node>, Fault> {
    documents(text).map(|documents| documents.nodes)
}

/// The same with what is to be known of how they are written.
pub fn documents(text: &str) -> Result<Documents, Fault> {
    let mut reader = Reader {
        lines: text.lines().collect(),
        documents: Documents { nodes: Vec::new(), merges: Vec::new(), words: Vec::new() },
        open: Vec::new(),
        anchors: HashMap::new(),
        count: 0,
    };
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| cause::fault(text, place(error.marker()), error.info()))?;
        reader.take(event, span).map_err(|fault| cause::fault(text, fault.place, &fault.problem))?;
    }
    Ok(reader.documents)
}

struct Reader<'t> {
    lines: Vec<&'t str>,
    documents: Documents,
    open: Vec<Open>,
    anchors: HashMap<usize, Node>,
    count: usize,
}

/// A list or an object that is being read.
struct Open {
    place: Place,
    anchor: usize,
    kind: OpenKind,
    /// What is merged into it, once all of its own members are known.
    merged: Vec<Node>,
}

enum OpenKind {
    List(Vec<Node>),
    /// Its members, the key whose value comes next, and the line of each name: files with very many are read in a moment, too.
    Map(Vec<(Key, Node)>, Option<Key>, HashMap<String, usize>),
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Fault> {
        let at = place(&span.start);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
                let is_name = self.open.last().is_some_and(|open| matches!(open.kind, OpenKind::Map(_, None, _)));
                let data = match style {
                    // Envoy takes names as they are written, such as the `y` of a key on a curve.
                    ScalarStyle::Plain if is_name => {
                        self.documents.words.extend(matches!(plain(&text), Data::Boolean(_)).then_some(at));
                        Data::Text(text.into_owned(), Style::Flow)
                    }
                    ScalarStyle::Plain if !is_text => plain(&text),
                    ScalarStyle::Literal => {
                        let style = self.literal(at, &text);
                        Data::Text(text.into_owned(), style)
                    }
                    _ => {
                        // Only where a text is read as JSON, somebody asks for a place in it.
                        let places =
                            text.trim_start().starts_with('{').then(|| flow::places(&self.lines, at, style, &text));
                        Data::Text(text.into_owned(), places.map_or(Style::Flow, |places| Style::Mapped(places.into())))
                    }
                };
                self.put(Node { place: at, data }, anchor)
            }
            Event::SequenceStart(anchor, _) => self.begin(at, anchor, OpenKind::List(Vec::new())),
            Event::MappingStart(anchor, _) => self.begin(at, anchor, OpenKind::Map(Vec::new(), None, HashMap::new())),
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let data = match open.kind {
                    OpenKind::List(nodes) => Data::List(nodes),
                    OpenKind::Map(mut members, _, lines) => {
                        let mut names = lines.into_keys().collect();
                        open.merged.into_iter().for_each(|node| merge(&mut members, &mut names, node));
                        Data::Map(members)
                    }
                };
                self.put(Node { place: open.place, data }, open.anchor)
            }
            Event::Alias(anchor) => {
                let Some(mut node) = self.anchors.get(&anchor).cloned() else {
                    return Err(Fault {
                        place: at,
                        problem: "an alias of what is not there, or of what it is in".to_owned(),
                    });
                };
                let mut size = 0_usize;
                node.walk(&mut |_| size = size.saturating_add(1));
                self.count = self.count.saturating_add(size);
                node.place = at;
                self.put(node, 0)
            }
            _ => Ok(()),
        }
    }

    fn begin(&mut self, place: Place, anchor: usize, kind: OpenKind) -> Result<(), Fault> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Fault { place, problem: format!("is nested more than {MAX_DEPTH} deep") });
        }
        self.open.push(Open { place, anchor, kind, merged: Vec::new() });
        Ok(())
    }

    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Fault> {
        self.count = self.count.saturating_add(1);
        if self.count > MAX_VALUES {
            return Err(Fault { place: node.place, problem: format!("the file has more than {MAX_VALUES} values") });
        }
        if anchor > 0 {
            self.anchors.insert(anchor, node.clone());
        }
        match self.open.last_mut().map(|open| (&mut open.kind, &mut open.merged)) {
            None => self.documents.nodes.push(node),
            Some((OpenKind::List(nodes), _)) => nodes.push(node),
            Some((OpenKind::Map(members, key, lines), merged)) => match key.take() {
                None => *key = Some(name(node)?),
                Some(key) if key.name == "<<" => {
                    self.documents.merges.push(key.place);
                    merged.push(node);
                }
                Some(key) => {
                    if let Some(earlier) = lines.insert(key.name.clone(), key.place.line) {
                        let problem = format!("`{}` is given twice, first in line {earlier}", key.name);
                        return Err(Fault { place: key.place, problem });
                    }
                    members.push((key, node));
                }
            },
        }
        Ok(())
    }

    /// Where the lines of a block begin: as far before its first line that holds something as in the text, and behind the spaces of that
    /// line, but for those that are the text's own, as a number behind the `|` may say.
    fn literal(&self, at: Place, text: &str) -> Style {
        let here = self.lines.get(at.line.saturating_sub(1)).copied().unwrap_or_default();
        let is_header = here.chars().nth(at.column.saturating_sub(1)) == Some('|');
        let skipped = at.line.saturating_sub(1).saturating_add(usize::from(is_header));
        let behind = self.lines.get(skipped..).unwrap_or_default().iter().copied();
        let (before, first) = first_filled(behind);
        let (own_before, own) = first_filled(text.lines());
        Style::Literal {
            line: skipped.saturating_add(before).saturating_add(1).saturating_sub(own_before),
            indent: indent(first).saturating_sub(indent(own)),
        }
    }
}

/// The first line that holds something, and how many stand before it.
fn first_filled<'l>(lines: impl Iterator<Item = &'l str>) -> (usize, &'l str) {
    lines.enumerate().find(|(_, line)| !line.trim().is_empty()).unwrap_or_default()
}

/// How many spaces a line begins with.
fn indent(line: &str) -> usize {
    line.len().saturating_sub(line.trim_start_matches(' ').len())
}

/// A merge key brings what is not there, wherever it stands.
fn merge(members: &mut Vec<(Key, Node)>, names: &mut HashSet<String>, node: Node) {
    match node.data {
        Data::Map(merged) => {
            for (key, node) in merged {
                if names.insert(key.name.clone()) {
                    members.push((key, node));
                }
            }
        }
        Data::List(nodes) => nodes.into_iter().for_each(|node| merge(members, names, node)),
        _ => {}
    }
}

fn name(node: Node) -> Result<Key, Fault> {
    let place = node.place;
    let name = match node.data {
        Data::Text(name, _) => name,
        // What an alias stands for.
        Data::Number(number) => number.to_string(),
        Data::Boolean(value) => value.to_string(),
        Data::Null => "null".to_owned(),
        Data::List(_) | Data::Map(_) => {
            return Err(Fault { place, problem: "a list or an object can't be a key".to_owned() });
        }
    };
    Ok(Key { name, place })
}

/// What a text without quotes is.
fn plain(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Data::Null,
        // Envoy and Kubernetes take these words for booleans, as YAML 1.1 had them.
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" | "y" | "Y" => {
            return Data::Boolean(true);
        }
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" | "n" | "N" => {
            return Data::Boolean(false);
        }
        _ => {}
    }
    let is_number = text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte));
    let number = is_number.then(|| {
        let integer = text.parse::<i64>().ok().map(Number::from);
        integer.or_else(|| text.parse::<f64>().ok().and_then(Number::from_f64))
    });
    match number.flatten() {
        Some(number) => Data::Number(number),
        None => Data::Text(text.to_owned(), Style::Flow),
    }
}

/// Where a byte of a line is, by its number there from 1, for those who count characters.
pub fn place_of_byte(text: &str, line: usize, column: usize) -> Place {
    let bytes = text.split('\n').nth(line.saturating_sub(1)).unwrap_or_default();
    let before = bytes.char_indices().take_while(|(at, _)| at.saturating_add(1) < column).count();
    Place { line, column: before.saturating_add(1) }
}

fn place(marker: &Marker) -> Place {
    Place { line: marker.line().max(1), column: marker.col().saturating_add(1) }
}

/// The names in `${NAME}`, sorted.
pub fn variables(node: &Node) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    node.walk(&mut |inner| {
        let Some(text) = inner.text() else { return };
        for (at, _) in text.match_indices("${") {
            let is_literal = text.get(..at).is_some_and(|before| before.ends_with('$'));
            let name = text.get(at.saturating_add(2)..).and_then(|rest| rest.split_once('}')).map(|(name, _)| name);
            found.extend(name.filter(|_| !is_literal).map(str::to_owned));
        }
    });
    found.sort();
    found.dedup();
    found
}

const MAX_DEPTH: usize = 200;
const MAX_VALUES: usize = 1_000_000;
