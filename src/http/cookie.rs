//! The `Cookie` request header (RFC 6265, section 4.2), as pairs to the byte.

use crate::http::{Headers, is_token_byte};

/// One `name=value` of a `Cookie` header, as it stands there without the white space around it.
#[derive(Clone, Copy, Eq, PartialEq)]
pub struct Cookie<'h> {
    /// The whole pair.
    pub pair: &'h [u8],
    /// What stands before the first `=`.
    pub name: &'h [u8],
    /// What stands behind it.
    pub value: &'h [u8],
}

impl Cookie<'_> {
    /// Whether this is a pair of RFC 6265, section 4.1.1, to the byte.
    pub fn is_well_formed(&self) -> bool {
        // Without white space around the `=`, which is in neither part.
        let is_whole = self.pair.len() == self.name.len().saturating_add(self.value.len()).saturating_add(1);
        is_whole
            && !self.name.is_empty()
            && self.name.iter().copied().all(is_token_byte)
            && unquoted(self.value).iter().copied().all(is_cookie_octet)
    }

    /// Whether a reader of quoted values could take the next pairs for a part of this one.
    pub fn may_go_on(&self) -> bool {
        let quotes = self.pair.iter().filter(|byte| **byte == b'"').count();
        !quotes.is_multiple_of(2) || self.pair.windows(2).any(|two| two == b"\\\"")
    }
}

/// Every cookie of the request: HTTP/1.1 may send several `Cookie` fields, HTTP/2 crumbs arrive joined.
pub fn cookies(headers: &Headers) -> impl Iterator<Item = Cookie<'_>> {
    headers.all("cookie").flat_map(|field| field.split(|byte| *byte == b';')).filter_map(|pair| {
        let pair = pair.trim_ascii();
        let mut parts = pair.splitn(2, |byte| *byte == b'=');
        let name = parts.next()?.trim_ascii_end();
        let value = parts.next().unwrap_or_default().trim_ascii_start();
        (!pair.is_empty()).then_some(Cookie { pair, name, value })
    })
}

/// A cookie's value without the quotes that RFC 6265, section 4.1.1, allows around it.
pub fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|rest| rest.strip_suffix(b"\"")).unwrap_or(value)
}

/// RFC 6265, section 4.1.1.
fn is_cookie_octet(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cookies_of_all_fields_in_order() {
        let headers = Headers::from_pairs([("cookie", "a=1; b=\"x\" ;; c"), ("x", "y=z"), ("cookie", "a=2==")]);
        let seen: Vec<_> = cookies(&headers).map(|c| (c.name, c.value)).collect();
        assert_eq!(seen, [(&b"a"[..], &b"1"[..]), (b"b", b"\"x\""), (b"c", b""), (b"a", b"2==")]);
        assert_eq!(unquoted(b"\"x\""), b"x");
        assert_eq!(unquoted(b"\""), b"\"");
    }
}
