//! A response that should list nothing, looked through while it goes on.
//!
//! Services that find the stream of an answer by the `id` of its request alone can be brought to confuse two: a client that
//! asks for a list, and at once for something else under the same `id`, gets the list in the other's stream. Such a response
//! can be of any length, so it is not kept: it goes on up to the place where a result begins to list something.
//!
//! The invariant: of a list that a service writes as a result, no entry goes on, wherever the parts of the response are cut.

use super::LISTS;
use crate::json::{self, BYTE_ORDER_MARK, Value};

/// What is known of a response so far.
#[derive(Debug)]
pub(super) enum Watch {
    /// It is one JSON text.
    Text(Text),
    /// It is a stream of events.
    Events(Line, Text),
}

/// Where a line of a stream is (HTML standard, section 9.2.6).
#[derive(Debug, Default)]
pub(super) struct Line {
    begun: Begun,
    /// The line feed that may come next is a part of the last line's end.
    is_after_return: bool,
}

/// What a line has begun with.
#[derive(Debug)]
enum Begun {
    /// Too little to tell what it holds.
    With(Vec<u8>),
    /// Data: all that follows is a part of a message.
    Data,
    /// Something else.
    Other,
}

impl Default for Begun {
    fn default() -> Self {
        Self::With(Vec::new())
    }
}

/// Where in a JSON text a reader is.
#[derive(Debug, Default)]
pub(super) struct Text {
    /// So many objects and arrays are open.
    depth: usize,
    /// The outermost is an array of messages.
    is_batch: bool,
    /// The member that was named last is a message's result.
    is_in_result: bool,
    string: Place,
    /// The last string, as it is written, where a name can stand that tells something.
    name: Vec<u8>,
}

/// Where in a string a reader is.
#[derive(Debug, Default)]
enum Place {
    #[default]
    Outside,
    Inside,
    /// Behind a backslash.
    Escaped,
}

impl Watch {
    /// Of a response that is one JSON text.
    pub(super) fn of_text() -> Self {
        Self::Text(Text::default())
    }

    /// Of a response that is a stream of events.
    pub(super) fn of_events() -> Self {
        Self::Events(Line::default(), Text::default())
    }

    /// Where in the next part of it a list begins.
    pub(super) fn list_in(&mut self, part: &[u8]) -> Option<usize> {
        match self {
            Self::Text(text) => part.iter().position(|byte| text.begins_list(*byte)),
            Self::Events(line, text) => part.iter().position(|byte| line.begins_list(*byte, text)),
        }
    }
}

impl Line {
    fn begins_list(&mut self, byte: u8, text: &mut Text) -> bool {
        let is_rest_of_end = byte == b'\n' && std::mem::take(&mut self.is_after_return);
        if is_rest_of_end {
            return false;
        }
        self.is_after_return = byte == b'\r';
        if matches!(byte, b'\n' | b'\r') {
            // An empty line ends the event.
            if matches!(&self.begun, Begun::With(begun) if begun.is_empty()) {
                *text = Text::default();
            }
            self.begun = Begun::default();
            return false;
        }
        match &mut self.begun {
            Begun::Data => return text.begins_list(byte),
            Begun::Other => {}
            Begun::With(begun) => {
                begun.push(byte);
                let name = begun.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begun);
                if name == DATA {
                    self.begun = Begun::Data;
                } else if !DATA.starts_with(name) && !BYTE_ORDER_MARK.starts_with(begun) {
                    self.begun = Begun::Other;
                }
            }
        }
        false
    }
}

impl Text {
    /// Whether a list begins behind this byte.
    fn begins_list(&mut self, byte: u8) -> bool {
        match (&self.string, byte) {
            (Place::Outside, b'"') => {
                self.string = Place::Inside;
                self.name.clear();
            }
            (Place::Outside, b'{' | b'[') => {
                self.is_batch |= self.depth == 0 && byte == b'[';
                self.depth = self.depth.saturating_add(1);
            }
            (Place::Outside, b'}' | b']') => self.depth = self.depth.saturating_sub(1),
            (Place::Outside, b':') => return self.names_list(),
            (Place::Outside, _) => {}
            (Place::Inside, b'"') => self.string = Place::Outside,
            (Place::Inside, _) => {
                self.keep(byte);
                if byte == b'\\' {
                    self.string = Place::Escaped;
                }
            }
            (Place::Escaped, _) => {
                self.keep(byte);
                self.string = Place::Inside;
            }
        }
        false
    }

    /// How deep the members of a message stand.
    fn depth_of_message(&self) -> usize {
        if self.is_batch { 2 } else { 1 }
    }

    fn keep(&mut self, byte: u8) {
        let tells = self.depth <= self.depth_of_message().saturating_add(1);
        if tells && self.name.len() < MAX_NAME_BYTES {
            self.name.push(byte);
        }
    }

    /// Whether the member whose name has ended makes its message the answer with a list.
    fn names_list(&mut self) -> bool {
        let message = self.depth_of_message();
        if self.depth == message {
            self.is_in_result = self.is_named("result");
        }
        let is_of_result = self.is_in_result && self.depth == message.saturating_add(1);
        is_of_result && LISTS.iter().any(|list| self.is_named(list.member))
    }

    fn is_named(&self, name: &str) -> bool {
        if !self.name.contains(&b'\\') {
            return self.name == name.as_bytes();
        }
        let written = [&b"\""[..], &self.name, b"\""].concat();
        matches!(json::parse(&written), Ok(Value::String(own)) if own == name)
    }
}

/// What a line of data begins with.
const DATA: &[u8] = b"data:";

/// The longest name of a list, with every letter escaped.
const MAX_NAME_BYTES: usize = 128;
