//! Where a value is in the claims of a token, or of an answer about one, and what it is as text.

use crate::json::{Object, Value};
use std::borrow::Cow;

/// A claim by its name, or by the path to it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Lookup {
    /// A member of the claims, whatever characters its name has.
    Claim(String),
    /// A member of a member …
    Path(Vec<String>),
}

/// Names for claims: where the value of each is in a token of this provider.
#[derive(Debug, Default)]
pub struct ClaimMapping(pub Vec<(String, Vec<Lookup>)>);

/// The value that a claim, or a path to one, leads to; `null` is as good as absent.
pub fn look_up<'c>(claims: &'c Object, lookup: &Lookup) -> Option<&'c Value> {
    let value = match lookup {
        Lookup::Claim(name) => claims.get(name),
        Lookup::Path(names) => {
            let (last, parents) = names.split_last()?;
            let parent = parents.iter().try_fold(claims, |object, name| object.get(name)?.as_object())?;
            parent.get(last)
        }
    };
    value.filter(|value| !value.is_null())
}

/// The value that the first of these leads to, of those that lead to one.
pub fn look_up_first<'c>(claims: &'c Object, lookups: &[Lookup]) -> Option<&'c Value> {
    lookups.iter().find_map(|lookup| look_up(claims, lookup))
}

/// A user's name, or number. A number has one spelling only if it is whole: `1e1` and `10.0` would be other users than `10`.
pub fn subject(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => {
            let digits = number.to_string();
            digits.bytes().all(|byte| byte.is_ascii_digit()).then_some(digits)
        }
        _ => None,
    }
}

/// A claim's value as text: a string as it is, everything else as compact JSON.
pub fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => Cow::Borrowed(text),
        other => Cow::Owned(other.to_string()),
    }
}

/// Claims about claims: what they are about, and what they are called (OpenID Connect Core, section 5.1; Entra, of the domain of an
/// address). Who tells one of the first kind tells what is to be thought of it, and nobody else does.
pub const VERDICTS: [(&str, &str); 3] =
    [("email", "email_verified"), ("email", "xms_edov"), ("phone_number", "phone_number_verified")];
