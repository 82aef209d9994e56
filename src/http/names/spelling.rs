//! Which names readers take for one another, and what they find in a text that they decode.

use crate::http::escapes::without_unit_escapes;
use percent_encoding::percent_decode;
use std::borrow::Cow;

/// Whether an upstream could read two names as one: CGI and its heirs upper-case letters and make one sign of
/// everything that is neither letter nor digit (RFC 3875, section 4.1.18).
pub fn same_spelling(one: &[u8], other: &[u8]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(o, n)| o == n || folded(*o) == folded(*n))
}

const fn folded(byte: u8) -> u8 {
    if byte.is_ascii_alphanumeric() { byte.to_ascii_lowercase() } else { b'_' }
}

/// Letters and digits in lower case: CGI and its heirs tell names apart by nothing else (RFC 3875, section 4.1.18).
pub fn letters(name: &[u8]) -> impl Iterator<Item = u8> + '_ {
    name.iter().filter(|byte| byte.is_ascii_alphanumeric()).map(u8::to_ascii_lowercase)
}

/// Whether something holds of a text as it is, or as it is decoded.
pub(super) fn any_reading(text: &[u8], holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    in_some_letters(text, holds) || any_decoding(text, holds)
}

/// Whether something holds of a text decoded once or twice, if that makes a difference: `%uXXXX` is read by Perl's CGI and by IIS.
pub(super) fn any_decoding(text: &[u8], holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    let mut reading = Cow::Borrowed(text);
    for _ in 0..MAX_DECODINGS {
        let Some(decoded) = decoded(&reading) else { break };
        if in_some_letters(&decoded, holds) {
            return true;
        }
        reading = Cow::Owned(decoded);
    }
    false
}

/// The same of a text, also with letters for those that are ASCII to whoever ignores case: to Java, `ı` is an `i`.
fn in_some_letters(text: &[u8], holds: &mut dyn FnMut(&[u8]) -> bool) -> bool {
    holds(text) || with_ascii_letters(text).is_some_and(|letters| holds(&letters))
}

const MAX_DECODINGS: usize = 2;

fn decoded(text: &[u8]) -> Option<Vec<u8>> {
    text.contains(&b'%').then(|| {
        let read = without_unit_escapes(text);
        percent_decode(read.as_deref().unwrap_or(text)).collect()
    })
}

/// A text with the letters of ASCII that some make of others when they ignore case, as Java's `equalsIgnoreCase` does.
fn with_ascii_letters(text: &[u8]) -> Option<Vec<u8>> {
    if text.is_ascii() {
        return None;
    }
    let mut letters = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((byte, after)) = rest.split_first() {
        let folds = FOLDED.iter().find_map(|(from, to)| Some((to.as_bytes(), rest.strip_prefix(from.as_bytes())?)));
        let (folded, behind) = folds.unwrap_or((std::slice::from_ref(byte), after));
        letters.extend_from_slice(folded);
        rest = behind;
    }
    (letters != text).then_some(letters)
}

/// Unicode's `CaseFolding.txt` and `SpecialCasing.txt`, and what upper or lower case makes of a dotless and a dotted i. JavaScript and
/// Python make two letters of one: `"acceß".toUpperCase()` is `"ACCESS"`.
const FOLDED: [(&str, &str); 13] = [
    ("\u{131}", "i"),
    ("\u{130}", "i"),
    ("\u{17f}", "s"),
    ("\u{212a}", "k"),
    ("\u{df}", "ss"),
    ("\u{1e9e}", "ss"),
    ("\u{fb00}", "ff"),
    ("\u{fb01}", "fi"),
    ("\u{fb02}", "fl"),
    ("\u{fb03}", "ffi"),
    ("\u{fb04}", "ffl"),
    ("\u{fb05}", "st"),
    ("\u{fb06}", "st"),
];
