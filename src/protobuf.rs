//! `google.protobuf.Struct` on the wire: the form in which Envoy hands over a configuration that is written inline
//! in its YAML, and in which its filters read structured metadata.
//!
//! Only what these two need is here: the three messages of `google/protobuf/struct.proto`, read strictly and written
//! in canonical order.

use crate::json::{Number, Object, Value};

/// Reads a serialised `google.protobuf.Struct`. `None` if it isn't one, has a duplicate member or nests too deep.
pub fn read_struct(bytes: &[u8]) -> Option<Object> {
    read_struct_at(bytes, 0)
}

/// Writes a `google.protobuf.Struct`.
///
/// Members that are `null` are left out: Envoy can't hand a struct that holds one to another filter. A whole number
/// that a double can't hold exactly becomes a string, so that no two identities are rounded into one.
pub fn write_struct(object: &Object) -> Vec<u8> {
    let mut message = Vec::new();
    for (name, value) in object.iter().filter(|(_, value)| !value.is_null()) {
        let mut entry = Vec::new();
        write_bytes(&mut entry, 1, name.as_bytes());
        write_bytes(&mut entry, 2, &write_value(value));
        write_bytes(&mut message, 1, &entry);
    }
    message
}

/// Writes a `google.protobuf.Value` that holds a struct.
pub fn write_struct_value(object: &Object) -> Vec<u8> {
    let mut message = Vec::new();
    write_bytes(&mut message, 5, &write_struct(object));
    message
}

/// Whether every reader of protobuf takes the [`write_struct_value`] of this: most end at a hundred messages within each other.
pub fn is_shallow(object: &Object) -> bool {
    let fields = object.values().map(depth).max().unwrap_or_default();
    fields.saturating_add(3) <= MAX_MESSAGES
}

/// How many messages a value is within each other. The depth of a parsed document bounds the recursion.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(values) => values.iter().map(depth).max().unwrap_or_default().saturating_add(2),
        Value::Object(object) => object.values().map(depth).max().unwrap_or_default().saturating_add(3),
        _ => 1,
    }
}

/// The recursion limit of protobuf's own readers, Envoy's among them.
const MAX_MESSAGES: usize = 100;

/// The length-delimited field of this number in a message.
pub fn read_bytes(message: &[u8], field: u64) -> Option<&[u8]> {
    let fields: Vec<(u64, Data)> = Wire(message).collect::<Option<_>>()?;
    fields.into_iter().find_map(|(number, data)| match data {
        Data::Bytes(bytes) if number == field => Some(bytes),
        _ => None,
    })
}

/// Appends a length-delimited field.
pub fn write_bytes(message: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    write_varint(message, field << 3 | LENGTH_DELIMITED);
    write_varint(message, bytes.len() as u64);
    message.extend_from_slice(bytes);
}

/// Appends a varint field.
pub fn write_unsigned(message: &mut Vec<u8>, field: u64, value: u64) {
    write_varint(message, field << 3);
    write_varint(message, value);
}

fn write_value(value: &Value) -> Vec<u8> {
    let mut message = Vec::new();
    match value {
        Value::Null => write_unsigned(&mut message, 1, 0),
        Value::Number(number) => match exact_double(number) {
            Some(double) => {
                write_varint(&mut message, 2 << 3 | FIXED_64);
                message.extend(double.to_le_bytes());
            }
            None => write_bytes(&mut message, 3, number.to_string().as_bytes()),
        },
        Value::String(text) => write_bytes(&mut message, 3, text.as_bytes()),
        Value::Bool(flag) => write_unsigned(&mut message, 4, u64::from(*flag)),
        Value::Object(object) => write_bytes(&mut message, 5, &write_struct(object)),
        Value::Array(values) => {
            let mut list = Vec::new();
            for value in values.iter().filter(|value| !value.is_null()) {
                write_bytes(&mut list, 1, &write_value(value));
            }
            write_bytes(&mut message, 6, &list);
        }
    }
    message
}

fn write_varint(message: &mut Vec<u8>, mut value: u64) {
    while value > 0x7f {
        message.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    message.push(value as u8);
}

/// The double that says the same as the number's text; `None` for a whole number beyond 2^53 - 1.
fn exact_double(number: &Number) -> Option<f64> {
    let double = number.as_f64().filter(|double| double.is_finite())?;
    let exact = double.abs() <= MAX_EXACT || number.to_string().contains(['.', 'e', 'E']);
    exact.then_some(double)
}

fn read_struct_at(bytes: &[u8], depth: usize) -> Option<Object> {
    let mut object = Object::new();
    for field in Wire(bytes) {
        let (1, Data::Bytes(entry)) = field? else { return None };
        let mut name = None;
        let mut value = Value::Null;
        for field in Wire(entry) {
            match field? {
                (1, Data::Bytes(bytes)) => name = Some(std::str::from_utf8(bytes).ok()?),
                (2, Data::Bytes(bytes)) => value = read_value(bytes, depth.checked_add(1)?)?,
                _ => return None,
            }
        }
        if object.insert(name.unwrap_or_default().to_owned(), value).is_some() {
            return None;
        }
    }
    Some(object)
}

fn read_value(bytes: &[u8], depth: usize) -> Option<Value> {
    if depth > MAX_DEPTH {
        return None;
    }
    let mut value = Value::Null;
    for field in Wire(bytes) {
        value = match field? {
            (1, Data::Varint(_)) => Value::Null,
            (2, Data::Fixed64(bits)) => Value::Number(number(f64::from_le_bytes(bits))?),
            (3, Data::Bytes(text)) => Value::String(std::str::from_utf8(text).ok()?.to_owned()),
            (4, Data::Varint(flag)) => Value::Bool(flag != 0),
            (5, Data::Bytes(bytes)) => Value::Object(read_struct_at(bytes, depth)?),
            (6, Data::Bytes(bytes)) => Value::Array(read_list(bytes, depth)?),
            _ => return None,
        };
    }
    Some(value)
}

fn read_list(bytes: &[u8], depth: usize) -> Option<Vec<Value>> {
    let values = Wire(bytes).map(|field| match field? {
        (1, Data::Bytes(bytes)) => read_value(bytes, depth.checked_add(1)?),
        _ => None,
    });
    values.collect()
}

/// A whole double is a whole number: `60.0` in the wire form was `60` in the YAML.
fn number(double: f64) -> Option<Number> {
    if double.fract() == 0.0 && double.abs() <= MAX_EXACT {
        #[expect(clippy::cast_possible_truncation, reason = "whole and below 2^53: exact in both types")]
        return Some(Number::from(double as i64));
    }
    Number::from_f64(double)
}

/// The fields of one message: their numbers and data. `None` as an item where the bytes are broken.
struct Wire<'m>(&'m [u8]);

enum Data<'m> {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(&'m [u8]),
}

impl<'m> Iterator for Wire<'m> {
    type Item = Option<(u64, Data<'m>)>;

    fn next(&mut self) -> Option<Self::Item> {
        (!self.0.is_empty()).then(|| {
            let field = self.field();
            if field.is_none() {
                self.0 = &[];
            }
            field
        })
    }
}

impl<'m> Wire<'m> {
    fn field(&mut self) -> Option<(u64, Data<'m>)> {
        let tag = self.varint()?;
        let data = match tag & 7 {
            0 => Data::Varint(self.varint()?),
            FIXED_64 => Data::Fixed64(self.take(8)?.try_into().ok()?),
            LENGTH_DELIMITED => {
                let length = usize::try_from(self.varint()?).ok()?;
                Data::Bytes(self.take(length)?)
            }
            _ => return None,
        };
        Some((tag >> 3, data))
    }

    fn varint(&mut self) -> Option<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let [byte] = *self.take(1)? else { return None };
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }

    fn take(&mut self, count: usize) -> Option<&'m [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }
}

const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;

/// Deeper than any configuration, far less than the stack of a wasm module holds.
const MAX_DEPTH: usize = 32;

/// 2^53 - 1: up to it a double holds every whole number (RFC 8259, section 6).
const MAX_EXACT: f64 = 9_007_199_254_740_991.0;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    fn object(text: &str) -> Object {
        json::parse_object(text.as_bytes()).unwrap()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let original = object(r#"{"a":[1,"x",{"b":true}],"c":{"d":-0.5},"e":"ö"}"#);
        let read = read_struct(&write_struct(&original)).unwrap();
        assert_eq!(json::Value::Object(read).to_string(), r#"{"a":[1,"x",{"b":true}],"c":{"d":-0.5},"e":"ö"}"#);
    }

    #[test]
    fn nulls_are_left_out_and_large_numbers_are_text() {
        let read = read_struct(&write_struct(&object(r#"{"n":null,"big":9007199254740993,"l":[null,1]}"#))).unwrap();
        assert_eq!(json::Value::Object(read).to_string(), r#"{"big":"9007199254740993","l":[1]}"#);
    }

    #[test]
    fn broken_bytes_are_no_struct() {
        let whole = write_struct(&object(r#"{"a":[1,"x",{"b":true}]}"#));
        for length in 1..whole.len() {
            assert!(read_struct(&whole[..length]).is_none(), "{length}");
        }
        let twice = [whole.clone(), whole].concat();
        assert!(read_struct(&twice).is_none(), "a member given twice");
    }

    #[test]
    fn nesting_is_bounded() {
        let mut value = write_value(&Value::Bool(true));
        for _ in 0..MAX_DEPTH + 1 {
            let mut list = Vec::new();
            write_bytes(&mut list, 1, &value);
            value = Vec::new();
            write_bytes(&mut value, 6, &list);
        }
        let mut entry = Vec::new();
        write_bytes(&mut entry, 1, b"a");
        write_bytes(&mut entry, 2, &value);
        let mut message = Vec::new();
        write_bytes(&mut message, 1, &entry);
        assert!(read_struct(&message).is_none());
    }
}
