//! Reading one JSON object of the configuration, field by field, so that every error names its path.
//!
//! A field may be spelled in `snake_case` or in `camelCase` (protobuf's JSON rule), but not in both at once, and
//! a field that nobody asked for is an error: a typing mistake in a policy must not become an open door.

mod duration;
mod environment;

use super::Error;
use crate::json::{self, Object, Step, Value};
use crate::ordered;
use duration::{MAX_SECONDS, duration, seconds};
pub use environment::{Environment, FieldKind};
use environment::{expand, expanded};
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The fields of one object that have not been read yet.
#[derive(Clone)]
pub(super) struct Fields<'e> {
    path: String,
    rest: Object,
    /// Names as they were written, where that isn't `snake_case`.
    spelled: Vec<(String, String)>,
    known: Vec<&'static str>,
    environment: &'e dyn Environment,
}

impl<'e> Fields<'e> {
    /// The fields of `value`, which stands at `path` (empty at the top).
    pub(super) fn of(value: Value, path: &str, environment: &'e dyn Environment) -> Result<Self, Error> {
        let Value::Object(object) = value else {
            return Err(wrong_type(path, &value, "an object"));
        };
        let mut rest = Object::new();
        let mut spelled = Vec::new();
        for (name, value) in object {
            let canonical = snake_case(&name);
            if rest.contains_key(&canonical) {
                let spelled = format!("given twice, as {canonical} and in camelCase; remove one of them");
                return Err(Error::at(&join(path, &canonical), spelled));
            }
            if canonical != name {
                spelled.push((canonical.clone(), name));
            }
            rest.insert(canonical, value);
        }
        Ok(Self { path: path.to_owned(), rest, spelled, known: Vec::new(), environment })
    }

    /// Refuses a field that is none of these, before any is read: a required one that is missing is mostly one that is
    /// misspelled, and so is many a value that looks wrong for want of another.
    pub(super) fn allow_only(&self, known: &[&str]) -> Result<(), Error> {
        known.iter().for_each(|field| self.tell(field, FieldKind::Known));
        let unknown = self.rest.keys().find(|field| !known.contains(&field.as_str()));
        unknown.map_or(Ok(()), |field| Err(self.unknown(field, known)))
    }

    fn unknown(&self, field: &str, known: &[&str]) -> Error {
        let spelled = self.spelled.iter().find(|(canonical, _)| canonical == field);
        let written = spelled.map_or(field, |(_, name)| name);
        let remedy = match nearest(field, known) {
            Some(meant) => format!("did you mean `{meant}`? Expected"),
            None => "expected".to_owned(),
        };
        self.error(&printable(written), format!("unknown field, {remedy} one of {}", known.join(", ")))
    }

    fn tell(&self, _field: &str, _kind: FieldKind) {
        #[cfg(not(target_family = "wasm"))]
        self.environment.asked(&self.path, _field, _kind);
    }

    /// The path of a field of this object.
    pub(super) fn path(&self, field: &str) -> String {
        join(&self.path, field)
    }

    /// An error about a field of this object.
    pub(super) fn error(&self, field: &str, problem: impl Into<String>) -> Error {
        Error::at(&self.path(field), problem)
    }

    /// Whether the field is there.
    pub(super) fn has(&self, field: &str) -> bool {
        self.rest.contains_key(field)
    }

    /// Whether there is no field at all.
    pub(super) fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The raw value of a field. A `null`, which is what an empty line in YAML says, is a value of the wrong type: a
    /// demand that somebody meant to write must not be taken for none.
    pub(super) fn take(&mut self, field: &'static str) -> Option<Value> {
        self.take_as(field, FieldKind::Any)
    }

    fn take_as(&mut self, field: &'static str, kind: FieldKind) -> Option<Value> {
        self.tell(field, kind);
        self.known.push(field);
        self.rest.remove(field)
    }

    /// A string with its `${NAME}` replaced.
    pub(super) fn string(&mut self, field: &'static str) -> Result<Option<String>, Error> {
        let path = self.path(field);
        self.take_as(field, FieldKind::String).map(|value| string(value, &path, self.environment)).transpose()
    }

    /// A string that must be there and not be empty.
    pub(super) fn required_string(&mut self, field: &'static str) -> Result<String, Error> {
        self.tell(field, FieldKind::RequiredString);
        let text = self.string(field)?.ok_or_else(|| self.error(field, "required: a string"))?;
        if text.is_empty() { Err(self.error(field, "must not be empty")) } else { Ok(text) }
    }

    /// A boolean.
    pub(super) fn boolean(&mut self, field: &'static str) -> Result<Option<bool>, Error> {
        let path = self.path(field);
        self.take_as(field, FieldKind::Boolean)
            .map(|value| value.as_bool().ok_or_else(|| wrong_type(&path, &value, "true or false")))
            .transpose()
    }

    /// A whole number, also written `60.0`.
    pub(super) fn integer(&mut self, field: &'static str) -> Result<Option<i64>, Error> {
        let path = self.path(field);
        self.take_as(field, FieldKind::Integer)
            .map(|value| integer(&value).ok_or_else(|| wrong_type(&path, &value, "a whole number")))
            .transpose()
    }

    /// A size in bytes, within these bounds.
    pub(super) fn size(&mut self, field: &'static str, bounds: RangeInclusive<usize>) -> Result<Option<usize>, Error> {
        let Some(size) = self.integer(field)? else { return Ok(None) };
        let size = usize::try_from(size).ok().filter(|size| bounds.contains(size));
        size.map(Some)
            .ok_or_else(|| self.error(field, format!("must be from {} to {}, in bytes", bounds.start(), bounds.end())))
    }

    /// A list of whole numbers; one number stands for a list of one.
    pub(super) fn integers(&mut self, field: &'static str) -> Result<Option<Vec<i64>>, Error> {
        self.each(field, FieldKind::Integers, |value, path| {
            integer(&value).ok_or_else(|| wrong_type(path, &value, "a whole number"))
        })
    }

    /// A duration: `"10m"`, `"1h30m"`, `"500ms"`, or a number of seconds; not negative.
    pub(super) fn duration(&mut self, field: &'static str) -> Result<Option<Duration>, Error> {
        self.tell(field, FieldKind::Duration);
        let Some((negative, duration)) = self.signed_duration(field)? else { return Ok(None) };
        if negative { Err(self.error(field, "must not be negative")) } else { Ok(Some(duration)) }
    }

    /// The same with a sign: whether it is negative, and its size.
    pub(super) fn signed_duration(&mut self, field: &'static str) -> Result<Option<(bool, Duration)>, Error> {
        let Some(value) = self.take_as(field, FieldKind::SignedDuration) else { return Ok(None) };
        let path = self.path(field);
        let duration = match &value {
            Value::Number(number) => seconds(number.as_f64()),
            Value::String(_) => duration(&string(value.clone(), &path, self.environment)?),
            _ => None,
        };
        duration.map(Some).ok_or_else(|| wrong_type(&path, &value, r#"a duration like "10m", "60s" or "500ms""#))
    }

    /// The same, where an empty string stands for none.
    pub(super) fn signed_duration_or_empty(&mut self, field: &'static str) -> Result<Option<(bool, Duration)>, Error> {
        match self.rest.get(field).and_then(Value::as_str) {
            Some("") => Ok(self.take(field).and(None)),
            _ => self.signed_duration(field),
        }
    }

    /// A list of strings; one string stands for a list of one.
    pub(super) fn strings(&mut self, field: &'static str) -> Result<Option<Vec<String>>, Error> {
        let environment = self.environment;
        self.each(field, FieldKind::Strings, |value, path| string(value, path, environment))
    }

    /// The same, where a list that is given has elements, and none of them is empty.
    pub(super) fn filled_strings(&mut self, field: &'static str, problem: &str) -> Result<Option<Vec<String>>, Error> {
        match self.strings(field)? {
            Some(list) if list.is_empty() || list.iter().any(String::is_empty) => Err(self.error(field, problem)),
            list => Ok(list),
        }
    }

    /// A list of objects; one object stands for a list of one.
    pub(super) fn objects<T>(
        &mut self,
        field: &'static str,
        read: impl Fn(Fields<'e>) -> Result<T, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        let environment = self.environment;
        self.each(field, FieldKind::Objects, |value, path| read(Fields::of(value, path, environment)?))
    }

    /// One object.
    pub(super) fn object(&mut self, field: &'static str) -> Result<Option<Fields<'e>>, Error> {
        let path = self.path(field);
        self.take_as(field, FieldKind::Object).map(|value| Fields::of(value, &path, self.environment)).transpose()
    }

    /// An object with string values, under names that the operator chose.
    pub(super) fn string_map(&mut self, field: &'static str) -> Result<Vec<(String, String)>, Error> {
        let path = self.path(field);
        let entries = match self.take_as(field, FieldKind::StringMap) {
            None => return Ok(Vec::new()),
            Some(Value::Object(entries)) => entries,
            Some(other) => return Err(wrong_type(&path, &other, "an object with a string for each name")),
        };
        let texts = entries.into_iter().map(|(name, value)| {
            let text = string(value, &join(&path, &printable(&name)), self.environment)?;
            Ok((name, text))
        });
        texts.collect()
    }

    /// An object with a list of strings, or one string, under names that the operator chose.
    pub(super) fn string_lists(
        &mut self,
        field: &'static str,
    ) -> Result<Option<ordered::Map<String, Vec<String>>>, Error> {
        let path = self.path(field);
        let entries = match self.take_as(field, FieldKind::StringLists) {
            None => return Ok(None),
            Some(Value::Object(entries)) => entries,
            Some(other) => return Err(wrong_type(&path, &other, "an object with a list of strings for each name")),
        };
        let lists = entries.into_iter().map(|(name, value)| {
            let path = join(&path, &printable(&name));
            let values = match value {
                Value::Array(values) => values,
                value => vec![value],
            };
            let texts = values.into_iter().map(|value| string(value, &path, self.environment));
            Ok((name, texts.collect::<Result<_, _>>()?))
        });
        Ok(Some(ordered::map(lists.collect::<Result<Vec<_>, Error>>()?)))
    }

    /// Whether the field is an object under whose names, which the operator chose, something stands: not one object of
    /// a list, which would have a `name`.
    pub(super) fn is_map(&self, field: &str) -> bool {
        self.tell(field, FieldKind::Members);
        self.rest.get(field).and_then(Value::as_object).is_some_and(|object| !object.contains_key("name"))
    }

    /// The members of such an object, each with its text, or with its fields if it is an object.
    pub(super) fn each_member<T>(
        &mut self,
        field: &'static str,
        read: impl Fn(&str, Option<String>, Fields<'e>) -> Result<T, Error>,
    ) -> Result<Vec<T>, Error> {
        let path = self.path(field);
        let environment = self.environment;
        let entries = match self.take_as(field, FieldKind::Members) {
            Some(Value::Object(entries)) if !entries.is_empty() => entries,
            Some(Value::Object(_)) => return Err(Error::at(&path, "must not be empty; leave it out")),
            Some(other) => return Err(wrong_type(&path, &other, "an object")),
            None => return Ok(Vec::new()),
        };
        let members = entries.into_iter().map(|(name, value)| {
            let path = join(&path, &printable(&name));
            match value {
                Value::Object(_) => read(&name, None, Fields::of(value, &path, environment)?),
                value => {
                    let text = string(value, &path, environment)?;
                    read(&name, Some(text), Fields::of(Value::Object(Object::new()), &path, environment)?)
                }
            }
        });
        members.collect()
    }

    /// A JSON document, written out or as a string that holds it.
    pub(super) fn json_text(&mut self, field: &'static str) -> Result<Option<String>, Error> {
        self.tell(field, FieldKind::JsonText);
        if self.is_string(field) { self.string(field) } else { Ok(self.take(field).map(|value| value.to_string())) }
    }

    /// A JSON value as it stands, with `${NAME}` replaced in its strings.
    pub(super) fn json(&mut self, field: &'static str) -> Result<Option<Value>, Error> {
        let path = self.path(field);
        self.take_as(field, FieldKind::Json).map(|value| expanded(value, &path, self.environment)).transpose()
    }

    /// A list of JSON objects, or one; each written out, or as a string that holds it. No error tells what is in it.
    pub(super) fn json_objects(&mut self, field: &'static str) -> Result<Option<Vec<Object>>, Error> {
        let environment = self.environment;
        self.each(field, FieldKind::JsonObjects, |value, path| {
            let value = match value {
                Value::String(_) => {
                    let text = string(value, path, environment)?;
                    json::parse(text.as_bytes()).map_err(|error| {
                        Error::at(
                            path,
                            format!("is a text that holds no JSON object, such as a JWK: {}", placed(error, &text)),
                        )
                    })?
                }
                written => expanded(written, path, environment)?,
            };
            match value {
                Value::Object(object) => Ok(object),
                other => Err(wrong_type(path, &other, "an object, or a text that holds one")),
            }
        })
    }

    /// A list of strings and objects, or one of these.
    pub(super) fn entries<T>(
        &mut self,
        field: &'static str,
        from_text: impl Fn(String, &str) -> Result<T, Error>,
        from_fields: impl Fn(Fields<'e>) -> Result<T, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        let environment = self.environment;
        self.each(field, FieldKind::Entries, |value, path| match value {
            Value::String(_) => from_text(string(value, path, environment)?, path),
            Value::Object(_) => from_fields(Fields::of(value, path, environment)?),
            other => Err(wrong_type(path, &other, "a string or an object")),
        })
    }

    /// Whether the field is a string.
    pub(super) fn is_string(&self, field: &str) -> bool {
        self.tell(field, FieldKind::String);
        self.rest.get(field).is_some_and(Value::is_string)
    }

    /// Whether the field is `false`.
    pub(super) fn is_false(&self, field: &str) -> bool {
        self.rest.get(field) == Some(&Value::Bool(false))
    }

    /// Whether the field holds one of these words, as they stand.
    pub(super) fn is_one_of(&self, field: &str, words: &[&str]) -> bool {
        matches!(self.rest.get(field), Some(Value::String(word)) if words.contains(&word.as_str()))
    }

    /// Whether the field is an object.
    pub(super) fn is_object(&self, field: &str) -> bool {
        self.tell(field, FieldKind::Object);
        self.rest.get(field).is_some_and(Value::is_object)
    }

    /// Ends the reading: a field that is still there is unknown.
    pub(super) fn finish(self) -> Result<(), Error> {
        match self.rest.keys().next() {
            None => Ok(()),
            Some(unknown) => Err(self.unknown(unknown, &self.known)),
        }
    }

    fn each<T>(
        &mut self,
        field: &'static str,
        kind: FieldKind,
        read: impl Fn(Value, &str) -> Result<T, Error>,
    ) -> Result<Option<Vec<T>>, Error> {
        let path = self.path(field);
        match self.take_as(field, kind) {
            None => Ok(None),
            Some(Value::Array(values)) => {
                let each = values.into_iter().enumerate();
                each.map(|(index, value)| read(value, &format!("{path}[{index}]"))).collect::<Result<_, _>>().map(Some)
            }
            Some(value) => Ok(Some(vec![read(value, &path)?])),
        }
    }
}

/// The one of these words that was probably meant: few letters differ, or two have changed places.
pub(super) fn nearest<'k>(word: &str, known: &[&'k str]) -> Option<&'k str> {
    let word: String = word.chars().take(MAX_SHOWN).collect();
    let distances = known.iter().map(|known| (strsim::osa_distance(&word, known), *known));
    let (distance, nearest) = distances.min_by_key(|(distance, _)| *distance)?;
    (distance > 0 && distance <= nearest.len() / 4).then_some(nearest)
}

/// What kind of value stands where another was expected. The value itself may be a secret and is not told.
fn wrong_type(path: &str, value: &Value, expected: &str) -> Error {
    const UNQUOTED: &str = "; write it without quotes";
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) if expected == "a whole number" => "another number",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    let remedy = match value {
        Value::Null => ", as of an empty line; write a value, or leave the field out",
        Value::Bool(_) | Value::Number(_) if expected == "a string" => "; write it in quotes",
        Value::String(text) if expected == "true or false" && ["true", "false"].contains(&&**text) => UNQUOTED,
        Value::String(text) if expected == "a whole number" && text.parse::<u64>().is_ok() => UNQUOTED,
        _ => "",
    };
    Error::at(path, format!("expected {expected}, found {kind}{remedy}"))
}

fn string(value: Value, path: &str, environment: &dyn Environment) -> Result<String, Error> {
    match value {
        Value::String(text) => expand(&text, path, environment),
        other => Err(wrong_type(path, &other, "a string")),
    }
}

/// A whole number that is exactly one, in whichever way it is written.
fn integer(value: &Value) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        let whole = float.fract() == 0.0 && float.abs() <= MAX_SECONDS;
        #[expect(clippy::cast_possible_truncation, reason = "a whole number below 2^53 is exact in both types")]
        whole.then_some(float as i64)
    })
}

/// `metadataFilter` is `metadata_filter`.
pub fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len());
    for character in name.chars() {
        if character.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(character.to_ascii_lowercase());
    }
    snake
}

fn join(path: &str, field: &str) -> String {
    match (path.is_empty(), field.is_empty()) {
        (true, _) => field.to_owned(),
        (_, true) => path.to_owned(),
        (false, false) => format!("{path}.{field}"),
    }
}

/// The way to a value in JSON, as errors write it.
pub fn path_of(steps: &[Step]) -> String {
    steps.iter().fold(String::new(), |path, step| match step {
        Step::Member(name) => join(&path, &printable(name)),
        Step::Element(index) => format!("{path}[{index}]"),
    })
}

/// What is wrong with a JSON text within the configuration, and where if it is the syntax. PEM is none, wherever it is broken.
pub(super) fn placed(error: impl fmt::Display, document: &str) -> String {
    match json::find_fault(document.as_bytes()) {
        None => error.to_string(),
        Some(_) if document.trim_start().starts_with("-----BEGIN") => error.to_string(),
        Some(fault) if fault.path.is_empty() => fault.to_string(),
        Some(fault) => format!("{}: {fault}", path_of(&fault.path)),
    }
}

/// A name from outside for an error text: short, one line.
pub(super) fn printable(name: &str) -> String {
    name.chars().take(MAX_SHOWN).flat_map(char::escape_default).collect()
}

/// Characters of a name from outside that an error shows.
const MAX_SHOWN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn fields(text: &str) -> Result<Fields<'static>, Error> {
        let environment: &dyn Environment = &|name: &str| (name == "SET").then(|| "value".to_owned());
        Fields::of(json::parse(text.as_bytes()).unwrap(), "top", environment)
    }

    #[test]
    fn durations_as_people_write_them() {
        let read = |text: &str| fields(&format!(r#"{{"d":{text}}}"#)).unwrap().signed_duration("d");
        let seconds = |s| Some((false, Duration::from_secs_f64(s)));
        assert_eq!(read(r#""10m""#).unwrap(), seconds(600.0));
        assert_eq!(read(r#""2h45m""#).unwrap(), seconds(9900.0));
        assert_eq!(read(r#""1.5s""#).unwrap(), seconds(1.5));
        assert_eq!(read(r#""500ms""#).unwrap(), seconds(0.5));
        assert_eq!(read(r#""60""#).unwrap(), seconds(60.0));
        assert_eq!(read("60.0").unwrap(), seconds(60.0));
        assert_eq!(read(r#""-1m""#).unwrap(), Some((true, Duration::from_secs(60))));
        for wrong in ["\"10 m\"", "\"m\"", "\"10x\"", "\"\"", "\"-\"", "\"inf\"", "1e300", "true", "\"1.2.3s\""] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn both_spellings_are_one_field_but_not_at_once() {
        assert_eq!(
            fields(r#"{"metadataFilter":"x"}"#).unwrap().string("metadata_filter").unwrap().as_deref(),
            Some("x")
        );
        let both = fields(r#"{"metadataFilter":"x","metadata_filter":"x"}"#).err().unwrap();
        assert!(both.to_string().starts_with("top.metadata_filter: given twice"), "{both}");
    }

    #[test]
    fn environment_variables_in_strings() {
        let read = |text: &str| fields(&format!(r#"{{"s":"{text}"}}"#)).unwrap().string("s");
        assert_eq!(read("a${SET}b").unwrap().as_deref(), Some("avalueb"));
        assert_eq!(read("$${SET} $1").unwrap().as_deref(), Some("${SET} $1"));
        assert!(
            read("${UNSET}").unwrap_err().to_string().starts_with("top.s: the environment variable UNSET is not set")
        );
        assert!(read("${SET").is_err());
    }

    #[test]
    fn an_unknown_field_is_named_with_what_was_expected() {
        let mut read = fields(r#"{"audiance":1}"#).unwrap();
        read.string("audience").unwrap();
        let error = read.finish().unwrap_err().to_string();
        assert_eq!(error, "top.audiance: unknown field, did you mean `audience`? Expected one of audience");
    }

    #[test]
    fn a_misspelled_field_is_named_with_what_was_meant() {
        let refused = |text: &str| {
            fields(text).unwrap().allow_only(&["issuer", "audiences", "uri"]).map_err(|error| error.to_string())
        };
        for (written, meant) in
            [("isuer", "issuer"), ("issure", "issuer"), ("Issuer", "issuer"), ("audience", "audiences")]
        {
            let expected = format!("top.{written}: unknown field, did you mean `{meant}`? Expected one of");
            let error = refused(&format!(r#"{{"{written}":1}}"#)).unwrap_err();
            assert!(error.starts_with(&expected), "{error}");
        }
        // A short word is near to too many.
        let error = refused(r#"{"url":1}"#).unwrap_err();
        assert_eq!(error, "top.url: unknown field, expected one of issuer, audiences, uri");
        assert_eq!(refused(r#"{"issuer":1,"uri":2}"#), Ok(()));
        assert!(refused(&format!(r#"{{"{}":1}}"#, "é".repeat(100_000))).is_err());
    }

    #[test]
    fn a_value_of_another_kind_is_told_with_what_to_do() {
        for (value, problem) in [
            (r#""8192""#, "a whole number, found a string; write it without quotes"),
            (r#""8k""#, "a whole number, found a string"),
            ("1.5", "a whole number, found another number"),
            ("true", "a whole number, found a boolean"),
        ] {
            let error = fields(&format!(r#"{{"n":{value}}}"#)).unwrap().integer("n").unwrap_err();
            assert_eq!(error.to_string(), format!("top.n: expected {problem}"));
        }
        for (value, remedy) in [("true", "; write it without quotes"), ("yes", "")] {
            let error = fields(&format!(r#"{{"b":"{value}"}}"#)).unwrap().boolean("b").unwrap_err();
            assert_eq!(error.to_string(), format!("top.b: expected true or false, found a string{remedy}"));
        }
    }

    #[test]
    fn one_element_stands_for_a_list() {
        assert_eq!(fields(r#"{"l":"a"}"#).unwrap().strings("l").unwrap(), Some(vec!["a".to_owned()]));
        let wrong = fields(r#"{"l":["a",1]}"#).unwrap().strings("l").unwrap_err();
        assert_eq!(wrong.to_string(), "top.l[1]: expected a string, found a number; write it in quotes");
    }
}
