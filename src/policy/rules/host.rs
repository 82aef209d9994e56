//! The host that a request is for, as rules see it: RFC 9110, section 7.2.

use std::borrow::Cow;

/// A host, read from an authority.
pub(super) struct Host<'r> {
    /// In lower case, without the port and a final dot. `None` if it is no host.
    pub(super) text: Option<Cow<'r, [u8]>>,
    /// Whether it has no final dot, which some readers leave out.
    pub(super) is_normal: bool,
}

impl<'r> Host<'r> {
    pub(super) fn read(authority: &'r [u8]) -> Self {
        let host = without_port(authority);
        let dotless = host.strip_suffix(b".").unwrap_or(host);
        let is_name = dotless.iter().all(is_of_name) && !dotless.ends_with(b".");
        if !(is_name || is_literal(host)) || dotless.is_empty() {
            return Self { text: None, is_normal: false };
        }
        let text = if dotless.iter().any(u8::is_ascii_uppercase) {
            Cow::Owned(dotless.to_ascii_lowercase())
        } else {
            Cow::Borrowed(dotless)
        };
        Self { text: Some(text), is_normal: dotless.len() == host.len() }
    }
}

/// The host of an authority: in lower case, without its port and a final dot. `None` if it is no host.
pub fn host(authority: &[u8]) -> Option<Cow<'_, [u8]>> {
    Host::read(authority).text
}

/// Each end of a host that begins with a dot, the longest first.
pub(super) fn suffixes(host: &[u8]) -> impl Iterator<Item = &[u8]> {
    let dots = host.iter().enumerate().filter(|(_, byte)| **byte == b'.').map(|(dot, _)| dot);
    dots.filter(|dot| *dot > 0).filter_map(|dot| host.get(dot..))
}

fn without_port(authority: &[u8]) -> &[u8] {
    let port = authority.iter().rposition(|byte| *byte == b':').filter(|colon| {
        let digits = authority.get(colon.saturating_add(1)..).unwrap_or_default();
        digits.iter().all(u8::is_ascii_digit) && !authority.ends_with(b"]")
    });
    port.and_then(|colon| authority.get(..colon)).unwrap_or(authority)
}

fn is_of_name(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// Whether this is an address of IPv6 in its brackets.
fn is_literal(host: &[u8]) -> bool {
    let inner = host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]"));
    inner.is_some_and(|inner| inner.iter().all(|byte| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.')))
}
