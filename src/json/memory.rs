//! What values take of memory, as far as it can be told: for whoever keeps them within bounds.

use super::{Object, Value};

/// How much memory an object takes, in bytes, rounded up: far more than its text where it is made of small parts.
pub fn memory_size(object: &Object) -> usize {
    // A B-tree keeps five members or more in each node, but for a single one.
    let nodes = object.len().div_ceil(5).saturating_mul(NODE_BYTES);
    let members = object.iter().map(|(name, value)| name.len().saturating_add(memory_size_below(value)));
    members.fold(nodes, usize::saturating_add)
}

/// What a value takes beyond the place that it stands in. The depth is that of a parsed document.
fn memory_size_below(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) => 0,
        Value::Number(number) => number.as_str().len().saturating_add(ALLOCATION_BYTES),
        Value::String(text) => text.len().saturating_add(ALLOCATION_BYTES),
        // A Vec that grew has room for four, and then for up to twice as many as there are.
        Value::Array(elements) => {
            let places = elements.len().saturating_mul(2).max(4);
            let places = places.saturating_mul(ELEMENT_BYTES).saturating_add(ALLOCATION_BYTES);
            elements.iter().map(memory_size_below).fold(places, usize::saturating_add)
        }
        Value::Object(object) => memory_size(object),
    }
}

/// A node of a B-tree of eleven names and values, with what an allocator adds.
const NODE_BYTES: usize = if cfg!(target_pointer_width = "32") { 352 } else { 704 };

/// A value in an array.
const ELEMENT_BYTES: usize = size_of::<Value>();

/// What an allocator adds to a small piece of memory.
const ALLOCATION_BYTES: usize = 16;
