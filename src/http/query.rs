//! The query of a request target (RFC 3986, section 3.4; application/x-www-form-urlencoded): finding a parameter,
//! and taking parameters out without touching a byte of the others.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode};
use std::borrow::Cow;

/// A request target in three parts: `/path`, `?query` without its mark, and a `#fragment` with its mark that a
/// client should not have sent.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Target<'p> {
    /// What stands before the first `?` (or `#`).
    pub path: &'p [u8],
    /// What stands behind it; `None` if there is no `?`.
    pub query: Option<&'p [u8]>,
    /// From the first `#` on.
    pub fragment: &'p [u8],
}

impl<'p> Target<'p> {
    /// Splits; any bytes are a target.
    pub fn parse(target: &'p [u8]) -> Self {
        let hash = target.iter().position(|byte| *byte == b'#').unwrap_or(target.len());
        let (target, fragment) = target.split_at(hash);
        let mut halves = target.splitn(2, |byte| *byte == b'?');
        Self { path: halves.next().unwrap_or_default(), query: halves.next(), fragment }
    }

    /// The parameters of the query in order, empty ones left out.
    pub fn parameters(&self) -> impl Iterator<Item = Parameter<'p>> + use<'p> {
        self.query.unwrap_or_default().split(|byte| *byte == b'&').filter(|p| !p.is_empty()).map(Parameter::parse)
    }
}

/// One `name=value` of a query, still encoded.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Parameter<'p> {
    name: &'p [u8],
    value: &'p [u8],
}

impl<'p> Parameter<'p> {
    /// Splits at the first `=`.
    pub fn parse(parameter: &'p [u8]) -> Self {
        let mut halves = parameter.splitn(2, |byte| *byte == b'=');
        Self { name: halves.next().unwrap_or_default(), value: halves.next().unwrap_or_default() }
    }

    /// The name as it was sent.
    pub fn raw_name(&self) -> &'p [u8] {
        self.name
    }

    /// The value as it was sent.
    pub fn raw_value(&self) -> &'p [u8] {
        self.value
    }

    /// The decoded name.
    pub fn name(&self) -> Cow<'p, [u8]> {
        decoded(self.name)
    }

    /// The decoded value.
    pub fn value(&self) -> Cow<'p, [u8]> {
        decoded(self.value)
    }
}

/// `query` without the parameters that are `unwanted` as they were sent; `None` if nothing is left.
pub fn without(query: &[u8], unwanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
    let mut kept = Vec::new();
    let mut removed = false;
    for parameter in query.split(|byte| *byte == b'&') {
        if unwanted(parameter) { removed = true } else { kept.push(parameter) }
    }
    if kept.is_empty() && removed { None } else { Some(kept.join(&b'&')) }
}

/// Percent-decoding with `+` for a space.
fn decoded(text: &[u8]) -> Cow<'_, [u8]> {
    if !text.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return Cow::Borrowed(text);
    }
    let spaced: Vec<u8> = text.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    Cow::Owned(percent_decode(&spaced).collect())
}

/// RFC 3986's segment characters as Go's `url.PathEscape` has them: all else is escaped, the comma too, which isn't
/// allowed in a cookie and separates header values.
pub const PATH_SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~')
    .remove(b'$')
    .remove(b'&')
    .remove(b'+')
    .remove(b':')
    .remove(b'=')
    .remove(b'@');

/// The same without what separates parameters or stands for a space.
pub const QUERY_VALUE: &AsciiSet = &PATH_SEGMENT.add(b'+').add(b'&').add(b'=').add(b'#');

#[cfg(test)]
mod tests {
    use super::*;

    fn strip(query: &str) -> Option<String> {
        let is_t = |sent: &[u8]| *Parameter::parse(sent).name() == *b"t";
        without(query.as_bytes(), is_t).map(|kept| String::from_utf8(kept).unwrap())
    }

    #[test]
    fn the_other_parameters_keep_their_bytes() {
        assert_eq!(strip("a=1&t=x&b=2").as_deref(), Some("a=1&b=2"));
        assert_eq!(strip("%74=x&a=%41&&b=+").as_deref(), Some("a=%41&&b=+"));
        assert_eq!(strip("t=x"), None);
        assert_eq!(strip("t=x&t"), None);
        assert_eq!(strip("").as_deref(), Some(""));
        assert_eq!(strip("a=1;t=x;c&d").as_deref(), Some("a=1;t=x;c&d"));
        assert_eq!(strip("t=x;a=1&d").as_deref(), Some("d"));
        assert_eq!(strip("T=x&at=y").as_deref(), Some("T=x&at=y"));
    }

    #[test]
    fn a_target_has_three_parts() {
        let target = Target::parse(b"/p?a=1&b=%20%zz#f?g");
        assert_eq!((target.path, target.fragment), (&b"/p"[..], &b"#f?g"[..]));
        let values: Vec<_> = target.parameters().map(|p| p.value().into_owned()).collect();
        assert_eq!(values, [b"1".to_vec(), b" %zz".to_vec()]);
        assert_eq!(Target::parse(b"").query, None);
        assert_eq!(Target::parse(b"/?").query, Some(&b""[..]));
    }
}
