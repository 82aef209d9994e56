//! The types of registered claims. One that is there and ill-typed is an error, never taken for absent.

use super::Error;
use crate::json::{Object, Value};
use crate::time::Timestamp;
use std::time::Duration;

/// OpenID Connect Core, section 5.1: a boolean. Some providers write a word, and .NET's is `True`.
pub(super) fn is_boolean(value: &Value) -> bool {
    match value {
        Value::Bool(_) => true,
        Value::String(text) => ["true", "false"].iter().any(|word| word.eq_ignore_ascii_case(text)),
        _ => false,
    }
}

/// `aud`: one string or an array of them (RFC 7519, section 4.1.3). An empty array is for nobody; Ory Hydra writes one where
/// no audience was asked for.
pub(super) fn audience(claims: &Object) -> Result<Vec<String>, Error> {
    let error = Error::InvalidClaims("aud");
    match claims.get("aud") {
        None => Ok(Vec::new()),
        Some(Value::String(audience)) => Ok(vec![audience.clone()]),
        Some(Value::Array(list)) => {
            list.iter().map(|audience| audience.as_str().map(str::to_owned).ok_or(error)).collect()
        }
        Some(_) => Err(error),
    }
}

/// The elements of a list that is written as one string.
pub(super) fn elements(text: &str, separator: char) -> impl Iterator<Item = &str> {
    text.split(separator).map(|element| element.trim_matches(' ')).filter(|element| !element.is_empty())
}

/// Whether the claims of RFC 7519 that are no dates, where they are, have their types.
pub fn check_types(claims: &Object) -> Result<(), Error> {
    check_strings(claims)?;
    audience(claims).map(drop)
}

/// One walk over what is no string, in place of a search for each name.
pub(super) fn check_strings(claims: &Object) -> Result<(), Error> {
    let mut others = claims.iter().filter(|(_, value)| !value.is_string());
    let odd = others.find_map(|(other, _)| STRINGS.iter().find(|name| other == **name));
    odd.map_or(Ok(()), |name| Err(Error::InvalidClaims(name)))
}

/// Whether `scope` and `scp`, where they are, are strings, or lists of strings with one scope in each.
pub(super) fn check_scopes(claims: &Object) -> Result<(), Error> {
    for name in SCOPES {
        let is_readable = match claims.get(name) {
            None | Some(Value::String(_)) => true,
            Some(Value::Array(list)) => list.iter().all(|element| element.as_str().is_some_and(is_one_scope)),
            Some(_) => false,
        };
        if !is_readable {
            return Err(Error::InvalidClaims(name));
        }
    }
    Ok(())
}

/// RFC 6749, section 3.3: a scope has no white space within.
fn is_one_scope(text: &str) -> bool {
    !text.is_empty() && !text.contains(|character: char| character.is_whitespace() || character.is_control())
}

/// A number of seconds that is written as text.
pub(super) fn seconds_in_digits(text: &str) -> Option<u64> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|_| is_number)
}

/// A NumericDate: a JSON number of seconds, with or without a fraction or an exponent (RFC 7519, section 2); `None` if there is none.
pub fn numeric_date(claims: &Object, name: &'static str) -> Result<Option<Timestamp>, Error> {
    let Some(value) = claims.get(name) else {
        return Ok(None);
    };
    let since_epoch = match value.as_u64() {
        Some(seconds) => Some(Duration::from_secs(seconds)),
        None => value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()),
    };
    match since_epoch {
        Some(since_epoch) if since_epoch <= MAX_NUMERIC_DATE => {
            Ok(Some(Timestamp::default().saturating_add(since_epoch)))
        }
        _ => Err(Error::InvalidClaims(name)),
    }
}

/// The end of year 9999, RFC 3339's last. A later date is a mistake (milliseconds, mostly) or an attack on arithmetic.
pub(super) const MAX_NUMERIC_DATE: Duration = Duration::from_secs(253_402_300_799);

/// Where the scopes of a token are.
pub(super) const SCOPES: [&str; 2] = ["scope", "scp"];

/// Claims that are strings where they are present (RFC 7519, section 4.1; RFC 8693, section 4.3; OpenID Connect
/// Core 1.0, section 2).
const STRINGS: &[&str] = &["azp", "client_id", "iss", "jti", "sub"];
