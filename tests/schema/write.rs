//! A JSON Schema (draft 7, which editors know) of what the readers ask for, with what the reference says of each field.

use crate::explore::{Asked, Explorer, MEMBER, camel_case, join};
use oidc_filter::config::FieldKind;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// A row of a table of the reference: default and meaning.
type Rows = BTreeMap<String, (String, String)>;

pub struct Writer<'e> {
    explorer: &'e Explorer,
    asked: Asked,
    tables: Vec<Rows>,
    definitions: BTreeMap<String, Value>,
    /// Fields that no reader has said a kind of.
    pub untold: Vec<String>,
    /// Fields that the reference does not describe.
    pub undescribed: Vec<String>,
}

impl<'e> Writer<'e> {
    pub fn new(explorer: &'e Explorer, reference: &str) -> Self {
        let asked = explorer.asked();
        Self {
            explorer,
            asked,
            tables: tables(reference),
            definitions: BTreeMap::new(),
            untold: Vec::new(),
            undescribed: Vec::new(),
        }
    }

    pub fn schema(&mut self) -> Value {
        let top = self.object("");
        for (name, definition) in [
            (
                "duration",
                json!({
                    "description": "\"10m\", \"1h30m\", \"500ms\", or a number of seconds",
                    "anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": DURATION}, {"$ref": "#/definitions/variable"}],
                }),
            ),
            (
                "signed_duration",
                json!({
                    "description": "\"10m\", \"-1s\", or a number of seconds; an empty string says nothing",
                    "anyOf": [{"type": "number"}, {"type": "string", "pattern": SIGNED_DURATION}, {"$ref": "#/definitions/variable"}],
                }),
            ),
            (
                "variable",
                json!({"description": "${NAME}: a variable of the VM's environment", "type": "string", "pattern": "\\$\\{"}),
            ),
        ] {
            self.definitions.insert(name.to_owned(), definition);
        }
        let mut schema = json!({
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Configuration of oidc-filter",
            "description": "Made from the readers of the configuration by tests/schema. In YAML: # yaml-language-server: $schema=<where this file is>",
        });
        let whole = schema.as_object_mut().unwrap();
        whole.extend(top.as_object().unwrap().clone());
        whole.insert("oneOf".to_owned(), json!([{"required": ["providers"]}, {"required": ["provider"]}]));
        whole.insert("definitions".to_owned(), json!(self.definitions));
        schema
    }

    fn object(&mut self, path: &str) -> Value {
        let mut fields = self.asked.get(path).cloned().unwrap_or_default();
        // One reader may serve objects of which some refuse a field that it asks for.
        if fields.values().any(|kinds| kinds.contains(&FieldKind::Known)) {
            fields.retain(|_, kinds| kinds.contains(&FieldKind::Known));
        }
        let rows = self.rows(&fields.keys().map(String::as_str).collect());
        let mut properties = Map::new();
        let mut required = Vec::new();
        for (field, kinds) in &fields {
            let at = join(path, field);
            if kinds.contains(&FieldKind::RequiredString) && at != "provider" {
                required.push(field.clone());
            }
            let mut property = self.property(&at, kinds);
            match rows.get(field) {
                Some((default, meaning)) => {
                    property.insert("description".to_owned(), json!(described(default, meaning)));
                    if let Some(value) = literal(default) {
                        property.insert("default".to_owned(), value);
                    }
                }
                None => self.undescribed.push(at.clone()),
            }
            let camel = camel_case(field);
            if camel != *field {
                let mut other = property.clone();
                other.insert("doNotSuggest".to_owned(), json!(true));
                other.remove("default");
                other.insert("description".to_owned(), json!(format!("the same as `{field}`")));
                properties.insert(camel, Value::Object(other));
            }
            properties.insert(field.clone(), Value::Object(property));
        }
        let mut object = json!({"type": "object", "properties": properties, "additionalProperties": false});
        if !required.is_empty() {
            // Either spelling will do.
            let spelled = |field: &String| match camel_case(field) {
                camel if camel == *field => json!({"required": [field]}),
                camel => json!({"anyOf": [{"required": [field]}, {"required": [camel]}]}),
            };
            object["allOf"] = required.iter().map(spelled).collect();
        }
        object
    }

    fn property(&mut self, path: &str, kinds: &BTreeSet<FieldKind>) -> Map<String, Value> {
        let has = |kind: FieldKind| kinds.contains(&kind);
        let limits = self.explorer.limits(path);
        let mut integer = json!({"type": "integer"});
        if let Some((least, most)) = limits.range {
            integer = json!({"type": "integer", "minimum": least, "maximum": most});
        }
        let mut text = json!({"type": "string"});
        if limits.is_text_filled {
            text["minLength"] = json!(1);
        }
        if !limits.words.is_empty() {
            text = json!({"anyOf": [{"enum": limits.words}, {"$ref": "#/definitions/variable"}]});
        }
        let mut forms: Vec<Value> = Vec::new();
        if has(FieldKind::Boolean) {
            forms.push(json!({"type": "boolean"}));
        }
        if has(FieldKind::Integers) {
            forms.extend(one_or_list(integer.clone()));
        } else if has(FieldKind::Integer) {
            forms.push(integer);
        }
        if has(FieldKind::Duration) {
            forms.push(json!({"$ref": "#/definitions/duration"}));
        } else if has(FieldKind::SignedDuration) {
            forms.push(json!({"$ref": "#/definitions/signed_duration"}));
        }
        if has(FieldKind::Strings) {
            forms.extend(one_or_list(text));
        } else if has(FieldKind::JsonText) {
            forms.push(json!({"type": ["string", "object", "array"]}));
        } else if has(FieldKind::String)
            || has(FieldKind::RequiredString)
            || has(FieldKind::Any) && !limits.words.is_empty()
        {
            forms.push(text);
        }
        if has(FieldKind::Objects) {
            let object = self.definition(path);
            forms.extend(one_or_list(object));
        } else if has(FieldKind::Object) {
            forms.push(self.definition(path));
        }
        if has(FieldKind::Entries) {
            let object = self.definition(path);
            forms.extend(one_or_list(json!({"anyOf": [{"type": "string"}, object]})));
        }
        if has(FieldKind::JsonObjects) {
            forms.extend(one_or_list(json!({"type": ["string", "object"]})));
        }
        if has(FieldKind::Json) {
            forms.push(json!({"type": ["string", "number", "boolean", "object", "array", "null"]}));
        }
        if has(FieldKind::StringMap) {
            forms.push(json!({"type": "object", "additionalProperties": {"type": "string"}}));
        }
        if has(FieldKind::StringLists) {
            let lists = json!({"anyOf": one_or_list(json!({"type": "string"}))});
            forms.push(json!({"type": "object", "additionalProperties": lists}));
        }
        if has(FieldKind::Members) {
            let member = self.definition(&join(path, MEMBER));
            forms.push(json!({"type": "object", "minProperties": 1, "additionalProperties": {"anyOf": [{"type": "string"}, member]}}));
        }
        for list in forms.iter_mut().filter(|form| limits.is_list_filled && form["type"] == "array") {
            list["minItems"] = json!(1);
        }
        if forms.is_empty() {
            self.untold.push(path.to_owned());
        }
        let mut property = Map::new();
        match forms.len() {
            0 => {}
            1 if forms[0].get("$ref").is_none() => property = forms[0].as_object().unwrap().clone(),
            1 => drop(property.insert("allOf".to_owned(), json!(forms))),
            _ => drop(property.insert("anyOf".to_owned(), json!(forms))),
        }
        property
    }

    /// A reference to the definition of an object; what is alike has one.
    fn definition(&mut self, path: &str) -> Value {
        let object = self.object(path);
        let parts: Vec<&str> = path.split('.').filter(|part| *part != MEMBER).collect();
        let mut names = (1..=parts.len()).map(|count| parts[parts.len() - count..].join("."));
        let name = names
            .find(|name| self.definitions.get(name).is_none_or(|other| *other == object))
            .unwrap_or_else(|| path.to_owned());
        let reference = json!({"$ref": format!("#/definitions/{name}")});
        self.definitions.insert(name, object);
        reference
    }

    /// The rows of the table that is about an object with these fields.
    fn rows(&self, fields: &BTreeSet<&str>) -> Rows {
        let is_about = |rows: &&Rows| rows.keys().map(String::as_str).collect::<BTreeSet<_>>() == *fields;
        if let Some(rows) = self.tables.iter().find(is_about) {
            return rows.clone();
        }
        // A candidate has what a rule has; a match within an object has no name of its own.
        let common = |rows: &Rows| fields.iter().filter(|field| rows.contains_key(**field)).count();
        let best = self.tables.iter().filter(|rows| common(rows) == fields.len()).min_by_key(|rows| rows.len());
        best.or_else(|| self.tables.iter().max_by_key(|rows| (common(rows), usize::MAX - rows.len())))
            .cloned()
            .unwrap_or_default()
    }
}

fn one_or_list(one: Value) -> Vec<Value> {
    let list = json!({"type": "array", "items": one});
    match one.get("anyOf").and_then(Value::as_array) {
        Some(forms) => forms.iter().cloned().chain([list]).collect(),
        None => vec![one, list],
    }
}

/// The tables of the reference.
fn tables(reference: &str) -> Vec<Rows> {
    let mut tables: Vec<Rows> = Vec::new();
    let (mut in_table, mut has_default) = (false, true);
    for line in reference.lines() {
        if line.starts_with("| field |") {
            tables.push(Rows::new());
            in_table = true;
            has_default = line.contains("| default |");
        } else if !line.starts_with('|') {
            in_table = false;
        } else if let Some(row) = line.strip_prefix("| `").filter(|_| in_table) {
            // `\|` is no end of a cell.
            let row = row.replace("\\|", "\u{1}");
            let row = if has_default { row } else { row.replacen('|', "||", 1) };
            let mut cells =
                row.splitn(3, '|').map(|cell| cell.trim().trim_end_matches('|').trim().replace('\u{1}', "|"));
            let name = cells.next().unwrap_or_default();
            let (default, meaning) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
            let name = name.trim_end_matches('`').to_owned();
            tables.last_mut().unwrap().insert(name, (default, meaning));
        }
    }
    tables
}

/// What an editor shows: links are no use there.
fn described(default: &str, meaning: &str) -> String {
    let mut text = String::new();
    let mut rest = meaning;
    while let Some((before, after)) = rest.split_once('[') {
        let link = after.split_once("](").and_then(|(label, after)| Some((label, after.split_once(')')?.1)));
        text.push_str(before);
        match link {
            Some((label, after)) => {
                text.push_str(label);
                rest = after;
            }
            None => {
                text.push('[');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    match default {
        "" => text,
        default => format!("{text} (default: {default})"),
    }
}

/// A default that is a value: `true`, `60s`, 16384.
fn literal(default: &str) -> Option<Value> {
    let text = default.strip_prefix('`')?.strip_suffix('`').filter(|text| !text.contains('`'))?;
    let is_word = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_/-,+".contains(&byte));
    serde_json::from_str(text).ok().filter(|value: &Value| !value.is_object()).or(is_word.then(|| json!(text)))
}

const DURATION: &str = "^([0-9]+(\\.[0-9]*)?|\\.[0-9]+)$|^(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|ms|s|m|h|d))+$";
const SIGNED_DURATION: &str =
    "^$|^-?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)$|^-?(([0-9]+(\\.[0-9]*)?|\\.[0-9]+)(ns|us|µs|ms|s|m|h|d))+$";
