//! What a reading of the configuration is done in: the variables that `${NAME}` stands for, and who wants to know which fields are
//! asked for.

use crate::config::Error;
use crate::json::{self, Value};

/// Where `${NAME}` comes from: the VM's environment variables.
pub trait Environment {
    /// The value of a variable, if it is set.
    fn variable(&self, name: &str) -> Option<String>;

    /// Is told of each field that a reader asks an object for, whether it is there or not, and as what: the JSON Schema is made
    /// of that. The module tells nobody.
    fn asked(&self, _object: &str, _field: &str, _kind: FieldKind) {}
}

impl<F: Fn(&str) -> Option<String>> Environment for F {
    fn variable(&self, name: &str) -> Option<String> {
        self(name)
    }
}

/// As what a reader asks for a field.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum FieldKind {
    /// One of the fields that the object may have; what it is, is said when it is read.
    Known,
    /// A value that its reader looks at by itself.
    Any,
    /// A string.
    String,
    /// A string that must be there.
    RequiredString,
    /// `true` or `false`.
    Boolean,
    /// A whole number.
    Integer,
    /// A list of whole numbers, or one.
    Integers,
    /// `"10m"`, or a number of seconds.
    Duration,
    /// The same, with a sign.
    SignedDuration,
    /// A list of strings, or one.
    Strings,
    /// An object.
    Object,
    /// A list of objects, or one.
    Objects,
    /// An object with a string under each name of the operator's.
    StringMap,
    /// An object with a list of strings, or one, under each name of the operator's.
    StringLists,
    /// An object with a string or an object under each name of the operator's.
    Members,
    /// A list of strings and objects, or one of these.
    Entries,
    /// Any JSON value.
    Json,
    /// A JSON document, or a string that holds one.
    JsonText,
    /// A list of JSON objects, or one; each may be a string that holds it.
    JsonObjects,
}

/// The same value with `${NAME}` replaced in its strings, at every depth; that of a parsed document is bounded.
pub(super) fn expanded(value: Value, path: &str, environment: &dyn Environment) -> Result<Value, Error> {
    Ok(match value {
        Value::String(text) => Value::String(expand(&text, path, environment)?),
        Value::Array(values) => {
            let values = values.into_iter().map(|value| expanded(value, path, environment));
            Value::Array(values.collect::<Result<_, _>>()?)
        }
        Value::Object(object) => {
            let members = object.into_iter().map(|(name, value)| Ok((name, expanded(value, path, environment)?)));
            Value::Object(json::object(members.collect::<Result<Vec<_>, Error>>()?))
        }
        other => other,
    })
}

/// Replaces `${NAME}`; `$${` stands for `${`.
pub(super) fn expand(text: &str, path: &str, environment: &dyn Environment) -> Result<String, Error> {
    let mut expanded = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            expanded.push_str(before);
            expanded.push_str("${");
            rest = after;
            continue;
        }
        let (name, after) =
            after.split_once('}').ok_or_else(|| Error::at(path, "${ without its }; write $${ for a literal ${"))?;
        // What is no name may be part of a secret.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            return Err(Error::at(path, "what stands in ${ } is no name of a variable; write $${ for a literal ${"));
        }
        let value = environment.variable(name).ok_or_else(|| {
            let remedy = "list it in vm_config.environment_variables (key_values, or host_env_keys and set it for Envoy), or write $${ for a literal ${";
            Error::at(path, format!("the environment variable {name} is not set: {remedy}"))
        })?;
        expanded.push_str(before);
        expanded.push_str(&value);
        rest = after;
    }
    expanded.push_str(rest);
    Ok(expanded)
}
