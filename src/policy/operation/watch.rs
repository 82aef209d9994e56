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
            Self::Text(text) => text.list_in(part),
            Self::Events(line, text) => line.list_in(part, text),
        }
    }
}

impl Line {
    fn list_in(&mut self, part: &[u8], text: &mut Text) -> Option<usize> {
        let mut read: usize = 0;
        while let Some(rest) = part.get(read..).filter(|rest| !rest.is_empty()) {
            let length = rest.iter().position(|byte| is_line_end(*byte)).unwrap_or(rest.len());
            let (line, behind) = rest.split_at_checked(length)?;
            if let Some(found) = self.list_in_line(line, text) {
                return Some(read.saturating_add(found));
            }
            if let Some(end) = behind.first() {
                self.end(*end, text);
            }
            read = read.saturating_add(length).saturating_add(1);
        }
        None
    }

    /// The same for a part that ends no line.
    fn list_in_line(&mut self, part: &[u8], text: &mut Text) -> Option<usize> {
        let mut begin = 0;
        while let Begun::With(begun) = &mut self.begun {
            begun.push(*part.get(begin)?);
            begin = begin.saturating_add(1);
            self.is_after_return = false;
            let name = begun.strip_prefix(BYTE_ORDER_MARK).unwrap_or(begun);
            if name == DATA {
                self.begun = Begun::Data;
            } else if !DATA.starts_with(name) && !BYTE_ORDER_MARK.starts_with(begun) {
                self.begun = Begun::Other;
            }
        }
        let data = part.get(begin..).filter(|_| matches!(self.begun, Begun::Data))?;
        text.list_in(data).map(|found| found.saturating_add(begin))
    }

    fn end(&mut self, byte: u8, text: &mut Text) {
        let is_rest_of_end = byte == b'\n' && self.is_after_return;
        self.is_after_return = byte == b'\r';
        if is_rest_of_end {
            return;
        }
        // An empty line ends the event.
        if matches!(&self.begun, Begun::With(begun) if begun.is_empty()) {
            *text = Text::default();
        }
        self.begun = Begun::default();
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

impl Text {
    fn list_in(&mut self, part: &[u8]) -> Option<usize> {
        let mut read: usize = 0;
        while let Some(rest) = part.get(read..) {
            // Most of a long answer is text that tells nothing.
            let is_mute = matches!(self.string, Place::Inside) && !self.is_at_name();
            let ends_text = |byte: &u8| matches!(byte, b'"' | b'\\');
            let mute = if is_mute { rest.iter().position(ends_text).unwrap_or(rest.len()) } else { 0 };
            let byte = *rest.get(mute)?;
            read = read.saturating_add(mute);
            if self.begins_list(byte) {
                return Some(read);
            }
            read = read.saturating_add(1);
        }
        None
    }

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

    /// Whether a string that stands here can be a name that tells something.
    fn is_at_name(&self) -> bool {
        self.depth <= self.depth_of_message().saturating_add(1)
    }

    fn keep(&mut self, byte: u8) {
        if self.is_at_name() && self.name.len() < MAX_NAME_BYTES {
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
