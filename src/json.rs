//! Strict JSON, as the JOSE standards want it.
//!
//! RFC 8259, narrowed by RFC 7515 (section 4) and RFC 7519 (section 4): UTF-8 without a byte order mark,
//! and member names that are unique at every depth. Most parsers keep the last of two equal members and
//! some keep the first, so a document that has two means one thing here and another upstream.
//!
//! The invariant: a [`Value`] made here says exactly what its text says, to every reader, and is shallow
//! enough for any recursion over it. Numbers keep their text, so no digit of a 64-bit identifier is lost.
//!
//! A document that is not one statement but many, such as a key set, is opened by [`Members`] and [`elements`]: each of its
//! parts is then read by itself, so that one with a fault takes none of the others with it.

mod check;
mod members;
mod memory;

pub use check::check;
pub use members::{Members, elements};
pub use memory::memory_size;

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
pub use serde_json::{Number, Value};

/// A JSON object whose member names are known to be unique.
pub type Object = serde_json::Map<String, Value>;

/// An object of these members. Put together one by one: what is collected into a map is sorted first, and for each kind of
/// iterator that is another 2 kB of the module.
pub fn object<N: Into<String>>(members: impl IntoIterator<Item = (N, Value)>) -> Object {
    let mut object = Object::new();
    let insert: &mut dyn FnMut(String, Value) = &mut |name, value| drop(object.insert(name, value));
    members.into_iter().for_each(|(name, value)| insert(name.into(), value));
    object
}

/// The same, as a value.
pub fn object_value<N: Into<String>>(members: impl IntoIterator<Item = (N, Value)>) -> Value {
    Value::Object(object(members))
}

/// The text of a member; `None` if there is none, or if it is no text.
pub fn text_of<'o>(object: &'o Object, name: &str) -> Option<&'o str> {
    object.get(name).and_then(Value::as_str)
}

/// Parses one JSON document.
pub fn parse(text: &[u8]) -> Result<Value, Error> {
    let text = std::str::from_utf8(text).map_err(|_| Error::Malformed)?;
    let fault = Cell::new(Error::Malformed);
    read(text, Element { levels_left: MAX_DEPTH, fault: &fault, trail: None }).map_err(|_| fault.get())
}

fn read(text: &str, document: Element) -> Result<Value, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = document.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(value)
}

/// The line and the column behind a text.
fn end_of(text: &[u8]) -> (usize, usize) {
    let lines = text.split(|byte| *byte == b'\n');
    let column = lines.clone().next_back().map_or(0, <[u8]>::len);
    (lines.count(), column.saturating_add(1))
}

/// A fault of the text itself, which is at no value.
fn no_text((line, column): (usize, usize), detail: &str) -> Fault {
    Fault { error: Error::Malformed, line, column, path: Vec::new(), detail: detail.to_owned() }
}

/// Why and where [`parse`] refuses a text that an operator wrote; `None` if it doesn't.
pub fn find_fault(text: &[u8]) -> Option<Fault> {
    if text.starts_with(BYTE_ORDER_MARK) {
        return Some(no_text((1, 1), "it begins with a byte order mark"));
    }
    let text = match std::str::from_utf8(text) {
        Ok(text) => text,
        Err(error) => {
            let valid = text.get(..error.valid_up_to()).unwrap_or_default();
            return Some(no_text(end_of(valid), "this byte is not UTF-8"));
        }
    };
    let (fault, trail) = (Cell::new(Error::Malformed), RefCell::default());
    let error = read(text, Element { levels_left: MAX_DEPTH, fault: &fault, trail: Some(&trail) }).err()?;
    let path = trail.take().into_iter().rev().collect();
    // What serde_json says of syntax quotes nothing of the text.
    let said = error.to_string();
    let detail = said.split(" at line ").next().filter(|_| fault.get() == Error::Malformed).unwrap_or_default();
    Some(Fault { error: fault.get(), line: error.line(), column: error.column(), path, detail: detail.to_owned() })
}

/// Why a text that an operator wrote is refused, and where. It holds names of members, and no value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fault {
    /// Why.
    pub error: Error,
    /// Where the parser stood, counted from 1.
    pub line: usize,
    /// And at which byte of the line.
    pub column: usize,
    /// For a member that is there twice: the way to it, its own name last.
    pub path: Vec<Step>,
    /// What the parser missed.
    detail: String,
}

/// One step on the way to a value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Into an object, by the name of the member.
    Member(String),
    /// Into an array, by the place of the element.
    Element(usize),
}

impl Fault {
    /// What the parser missed, where the text is no JSON.
    pub fn detail(&self) -> Option<&str> {
        Some(self.detail.as_str()).filter(|detail| !detail.is_empty())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, line, column, path: _, detail } = self;
        if detail.is_empty() {
            write!(f, "{error} (line {line}, column {column})")
        } else {
            write!(f, "{error}: line {line}, column {column}: {detail}")
        }
    }
}

/// Parses one JSON document that must be an object.
pub fn parse_object(text: &[u8]) -> Result<Object, Error> {
    match parse(text)? {
        Value::Object(object) => Ok(object),
        _ => Err(Error::NotAnObject),
    }
}

/// Why a text was refused. Says nothing of the text itself, which may be a secret.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// Two members of one object have the same name.
    DuplicateMember,
    /// Not JSON, or not UTF-8.
    Malformed,
    /// A JSON document, but not an array.
    NotAnArray,
    /// A JSON document, but not an object.
    NotAnObject,
    /// Arrays and objects are nested deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DuplicateMember => "two members of one JSON object have the same name",
            Self::Malformed => "not a JSON text",
            Self::NotAnArray => "not a JSON array",
            Self::NotAnObject => "not a JSON object",
            Self::TooDeep => "the JSON text is nested too deeply",
        })
    }
}

impl std::error::Error for Error {}

/// One value of the document, and how many levels may still open below it.
#[derive(Clone, Copy)]
struct Element<'f> {
    levels_left: usize,
    /// serde's errors are prose; this keeps the reason as data beside them.
    fault: &'f Cell<Error>,
    /// Where somebody asks: the way from a member that is there twice out to the top.
    trail: Option<&'f RefCell<Vec<Step>>>,
}

impl Element<'_> {
    fn inner<E: de::Error>(self) -> Result<Self, E> {
        match self.levels_left.checked_sub(1) {
            Some(levels_left) => Ok(Self { levels_left, ..self }),
            None => Err(self.fail(Error::TooDeep)),
        }
    }

    fn fail<E: de::Error>(self, fault: Error) -> E {
        self.fault.set(fault);
        E::custom(fault)
    }

    /// Notes on the way out from a member that is there twice, where that lies.
    #[cold]
    fn note(self, step: impl FnOnce() -> Step) {
        if let Some(trail) = self.trail.filter(|_| self.fault.get() == Error::DuplicateMember) {
            trail.borrow_mut().push(step());
        }
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_> {
    type Value = Value;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Element<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Value, A::Error> {
        let inner = self.inner()?;
        let mut array = Vec::new();
        loop {
            match elements.next_element_seed(inner) {
                Ok(Some(element)) => array.push(element),
                Ok(None) => return Ok(Value::Array(array)),
                Err(error) => {
                    self.note(|| Step::Element(array.len()));
                    return Err(error);
                }
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut name: Option<String> = members.next_key()?;
        if name.as_deref() == Some(NUMBER_KEY) {
            return members.next_value_seed(NumberText).map(Value::Number);
        }
        let inner = self.inner()?;
        let mut object = Object::new();
        while let Some(member) = name {
            if is_private(&member) {
                return Err(self.fail(Error::Malformed));
            }
            let place = match object.entry(member) {
                Entry::Vacant(place) => place,
                Entry::Occupied(taken) => {
                    let error = self.fail(Error::DuplicateMember);
                    self.note(|| Step::Member(taken.key().clone()));
                    return Err(error);
                }
            };
            let value = match members.next_value_seed(inner) {
                Ok(value) => value,
                Err(error) => {
                    self.note(|| Step::Member(place.key().clone()));
                    return Err(error);
                }
            };
            place.insert(value);
            name = members.next_key()?;
        }
        Ok(Value::Object(object))
    }
}

/// The text of a number that does not fit 64 bits.
///
/// serde_json hands it over as an object of one member named [`NUMBER_KEY`], whose value is an owned
/// `String`. Strings of the document itself always come as `&str`: an object that only borrows the name is told
/// apart by that, and refused. It never passes for a number.
struct NumberText;

impl<'de> DeserializeSeed<'de> for NumberText {
    type Value = Number;

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<Number, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for NumberText {
    type Value = Number;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON number")
    }

    fn visit_str<E: de::Error>(self, _: &str) -> Result<Number, E> {
        Err(E::custom(Error::Malformed))
    }

    fn visit_string<E: de::Error>(self, text: String) -> Result<Number, E> {
        text.parse().map_err(E::custom)
    }
}

/// How many arrays and objects may be open at once. Real claims and keys need less than ten; the stack of a
/// WebAssembly VM, which an overflow would kill with all its requests, has room for far more than this.
pub const MAX_DEPTH: usize = 64;

/// U+FEFF in UTF-8.
pub const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Whether a member has one of the names under which serde_json hands numbers and texts from one of its types to another. A
/// document that uses one is refused: a service in Rust could read another value in the place of the object.
fn is_private(name: &str) -> bool {
    matches!(name, NUMBER_KEY | TEXT_KEY)
}

/// serde_json's private name for a number in transit.
const NUMBER_KEY: &str = "$serde_json::private::Number";

/// The same for a JSON text, which is then read in the place of the object around it.
const TEXT_KEY: &str = "$serde_json::private::RawValue";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_the_text_of_numbers() {
        for text in ["18446744073709551616", "0.10", "-0", "123456789012345678901234567890.5"] {
            assert_eq!(parse(text.as_bytes()).unwrap().to_string(), text);
        }
        assert_eq!(parse(b"[1,-1]").unwrap(), serde_json::json!([1, -1]));
        assert!(parse(b"1e400").unwrap().is_number());
    }

    #[test]
    fn refuses_the_private_names_of_serde_json() {
        for text in [
            r#"{"$serde_json::private::RawValue":"{}"}"#,
            r#"{"a":{"\u0024serde_json::private::RawValue":"1"}}"#,
            r#"{"$serde_json::private::Number":"1"}"#,
            r#"{"$serde_json::private::Number":"1","a":2}"#,
            r#"{"\u0024serde_json::private::Number":"\u0031"}"#,
            r#"{"$serde_json::private::Number":1.5}"#,
            r#"{"$serde_json::private::Number":{}}"#,
            r#"{"a":1,"$serde_json::private::Number":"1"}"#,
        ] {
            assert_eq!(parse(text.as_bytes()), Err(Error::Malformed), "{text}");
        }
    }

    #[test]
    fn refuses_duplicate_members_at_every_depth() {
        for text in [r#"{"a":1,"a":1}"#, r#"{"a":1,"\u0061":2}"#, r#"[{"x":{"a":1,"b":2,"a":3}}]"#, r#"{"":1,"":2}"#] {
            assert_eq!(parse(text.as_bytes()), Err(Error::DuplicateMember), "{text}");
        }
    }

    /// What is not read may say anything; what is read says it once.
    #[test]
    fn members_are_read_by_themselves() {
        let text = r#"{"a":{"x":1,"x":2},"b":[1, {"y":1,"y":1}],"b":3,"\u0063":"d","":null}"#;
        let members = Members::parse(text.as_bytes()).unwrap();
        assert_eq!(members.iter().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b", "b", "c", ""]);
        assert_eq!(members.one("a"), Ok(Some(r#"{"x":1,"x":2}"#)));
        assert_eq!(members.one("b"), Err(Error::DuplicateMember));
        assert_eq!(members.one("c"), Ok(Some(r#""d""#)));
        assert_eq!(members.one("d"), Ok(None));
        assert_eq!(elements(r#" [1, {"y":1,"y":1},"x"] "#).unwrap(), ["1", r#"{"y":1,"y":1}"#, r#""x""#]);
        assert_eq!(elements("{}"), Err(Error::NotAnArray));
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(50_000), "]".repeat(50_000));
        assert!(Members::parse(deep.as_bytes()).is_ok_and(|members| members.one("a").is_ok()));
        for text in ["", "{", "{}x", "{\"a\":}", "{\"a\":01}", "{a:1}", "\u{feff}{}", "{\"a\":[1,]}"] {
            assert_eq!(Members::parse(text.as_bytes()).err(), Some(Error::Malformed), "{text}");
        }
        for text in ["[]", "1", "1e999", "null", "\"a\""] {
            assert_eq!(Members::parse(text.as_bytes()).err(), Some(Error::NotAnObject), "{text}");
        }
    }

    #[test]
    fn faults_have_a_place() {
        let told = |text: &str| find_fault(text.as_bytes()).map(|fault| fault.to_string());
        for (text, said) in [
            ("{\n  \"a\": 1,\n}", "not a JSON text: line 3, column 1: trailing comma"),
            ("{\n  \"a\" 1\n}", "not a JSON text: line 2, column 7: expected `:`"),
            ("\u{feff}{}", "not a JSON text: line 1, column 1: it begins with a byte order mark"),
            ("{\"a\":1,\n\"a\":2}", "two members of one JSON object have the same name (line 2, column 3)"),
        ] {
            assert_eq!(told(text).as_deref(), Some(said));
        }
        let broken = find_fault(b"{\n\"\xc3\xa9\xff\"}").unwrap();
        assert_eq!((broken.line, broken.column), (2, 4));
        let (member, element) = (|name: &str| Step::Member(name.to_owned()), Step::Element);
        let twice = find_fault(br#"{"x":[1,{"y":{"a":1,"a":2}}]}"#).unwrap();
        assert_eq!(twice.path, [member("x"), element(1), member("y"), member("a")]);
        assert_eq!(find_fault(b"{}"), None);
        // It refuses what `parse` refuses.
        for text in ["", "[", "01", "{\"$serde_json::private::Number\":\"1\"}", &"[".repeat(50_000), "{} {}"] {
            assert_eq!(
                find_fault(text.as_bytes()).map(|fault| fault.error),
                parse(text.as_bytes()).err(),
                "{text:.40}"
            );
        }
    }

    #[test]
    fn bounds_depth() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        assert!(parse(nested(MAX_DEPTH).as_bytes()).is_ok());
        assert_eq!(parse(nested(MAX_DEPTH + 1).as_bytes()), Err(Error::TooDeep));
        assert_eq!(parse("[".repeat(50_000).as_bytes()), Err(Error::TooDeep));
        assert_eq!(parse("{\"a\":".repeat(50_000).as_bytes()), Err(Error::TooDeep));
    }

    #[test]
    fn refuses_what_is_not_json() {
        let texts: &[&[u8]] = &[
            b"",
            b" ",
            b"{",
            b"{}x",
            b"{} {}",
            b"{'a':1}",
            b"{\"a\":1,}",
            b"[1,]",
            b"[NaN]",
            b"Infinity",
            b"01",
            b"1.",
            b".5",
            b"+1",
            b"/**/{}",
            b"\xef\xbb\xbf{}",
            b"\xff\xfe{\0}\0",
            b"\"\xff\"",
            b"\"\xed\xa0\x80\"",
            b"\"\\ud800\"",
            b"\"\\udc00\\ud800\"",
            b"\"\n\"",
            b"\"\\x\"",
        ];
        for text in texts {
            assert_eq!(parse(text), Err(Error::Malformed), "{text:?}");
        }
        assert_eq!(parse_object(b"[]"), Err(Error::NotAnObject));
    }
}
