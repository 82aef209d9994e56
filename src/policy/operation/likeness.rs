//! Names that some reader could take for others. For one of the protocol's: readers mind neither case (Go's `encoding/json`, .NET,
//! Jackson) nor punctuation, or end a name at a NUL. For one that is listed: templates of resources are regular expressions to SDKs,
//! and texts are equal to Swift when Unicode says so.

use crate::http::path::are_composed;
use percent_encoding::percent_decode_str;

/// How much of a name is listed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Extent {
    /// All of it.
    Whole,
    /// How it begins.
    Beginning,
}

impl Extent {
    /// Whether a name of this length can be what is listed.
    fn fits(self, name: usize, listed: usize) -> bool {
        name == listed || self == Self::Beginning && name > listed
    }
}

/// Whether a name is none of these, but could be taken for one; or makes members of its value be those of the object, where
/// somebody copies it in JavaScript.
pub(super) fn is_variant<'k>(name: &str, known: impl Iterator<Item = &'k str> + Clone) -> bool {
    let is_known = known.clone().any(|known| known == name);
    !is_known && (name == "__proto__" || known.map(letters).any(|known| letters(name).eq(known)))
}

/// Whether a name, or how it begins, could be taken for what is listed. To the SDK for C#, case counts for nothing in a
/// resource that a template names; to the first one for Python, a dot in a template is any sign.
pub(super) fn is_like(name: &str, listed: &str, extent: Extent) -> bool {
    let is_escaped = listed.contains('%');
    if name.is_ascii() && listed.is_ascii() && !is_escaped {
        return is_like_in_ascii(name.as_bytes(), listed.as_bytes(), extent);
    }
    if differ_early(name.as_bytes(), listed.as_bytes()) {
        return false;
    }
    if is_escaped {
        return is_like_decoded(name, &percent_decode_str(listed).decode_utf8_lossy(), extent);
    }
    is_like_decoded(name, listed, extent)
}

fn is_like_in_ascii(name: &[u8], listed: &[u8], extent: Extent) -> bool {
    extent.fits(name.len(), listed.len()) && listed.iter().zip(name).all(|(sign, other)| is_sign(*other, *sign))
}

/// Whether two names differ before anything in either that has another form. A message can name hundreds of resources, each with
/// dozens of readings, and a list can have a thousand entries: nearly all of them end here.
fn differ_early(name: &[u8], listed: &[u8]) -> bool {
    // A mark belongs to the letter before it.
    let begin = plain_beginning(name).min(plain_beginning(listed)).saturating_sub(1);
    listed.iter().zip(name).take(begin).any(|(sign, other)| !is_sign(*other, *sign))
}

/// How much of a name is ASCII without escapes.
fn plain_beginning(name: &[u8]) -> usize {
    name.iter().position(|byte| !byte.is_ascii() || *byte == b'%').unwrap_or(name.len())
}

/// Whether a byte of ASCII could be taken for a listed one.
fn is_sign(byte: u8, listed: u8) -> bool {
    listed == b'.' || listed.eq_ignore_ascii_case(&byte)
}

fn is_like_decoded(name: &str, listed: &str, extent: Extent) -> bool {
    let keeps_all = are_composed(name) && are_composed(listed);
    let mut rest = signs(name, keeps_all);
    let begins = signs(listed, keeps_all).all(|sign| rest.next().is_some_and(|other| sign == '.' || sign == other));
    begins && (extent == Extent::Beginning || rest.next().is_none())
}

/// Whether a tool's name, or how it begins, is a listed one to a service that makes an underscore of other signs: arcade-mcp-server runs
/// `Files_Delete` as `Files.Delete`, too.
pub(super) fn is_sanitized(name: &str, listed: &str, extent: Extent) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_punctuation() && byte != b'-' || byte == b' ';
    extent.fits(name.len(), listed.len())
        && listed.bytes().zip(name.bytes()).all(|(own, other)| own == other || is_sign(own) && is_sign(other))
}

/// The name that a tool has within its app, where a call names both: `Shop___wipe`, to FastMCP before 3.3.
pub(super) fn name_in_app(name: &str) -> Option<&str> {
    name.split_once("___").map(|(_, local)| local)
}

/// Whether FastMCP (3.3 and newer) finds a tool of an app by this, in whatever name it is listed: a part of a digest, and the name within
/// the app, as `__d0e437040717_wipe`. Clients can compute that.
pub(super) fn is_identity(name: &str) -> bool {
    let name = name.strip_prefix(IDENTITY_MARK).unwrap_or(name);
    let digest = name.split_once('_').map_or("", |(digest, _)| digest);
    digest.len() == 12 && digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Whether a name equals no other in Unicode's canonical forms, by which Swift compares.
pub(super) fn is_like_no_other(name: &str) -> bool {
    are_composed(name)
}

/// What is left of a text where case counts for nothing; and, unless all is kept, without what another canonical form could have
/// otherwise: all beyond ASCII, and the letters that a mark stands on.
fn signs(text: &str, keeps_all: bool) -> impl Iterator<Item = char> + '_ {
    let following = text.chars().skip(1).chain(['/']);
    text.chars().zip(following).filter_map(move |(sign, next)| match sign {
        '\u{212a}' => Some('k'),
        '\u{37e}' => Some(';'),
        '\u{1fef}' => Some('`'),
        _ if keeps_all || sign.is_ascii() && !is_mark(next) => sign.to_lowercase().next(),
        _ => None,
    })
}

/// What stands on letters of ASCII in a decomposed text.
fn is_mark(sign: char) -> bool {
    matches!(sign, '\u{300}'..='\u{36f}')
}

/// Letters and digits, without case: what is left of a name where a reader minds neither case nor punctuation.
fn letters(name: &str) -> impl Iterator<Item = char> + '_ {
    let lower = name.chars().flat_map(char::to_lowercase);
    let folded = lower.map(|letter| match letter {
        // Unicode's simple case folding, which Go follows, makes these of `s` and `i`.
        'ſ' => 's',
        'ı' => 'i',
        other => other,
    });
    folded.filter(char::is_ascii_alphanumeric)
}

/// What FastMCP begins an identity with, from 4.2 on.
pub(super) const IDENTITY_MARK: &str = "__";

#[cfg(test)]
mod tests {
    use super::*;

    /// All pairs of short names that are made of what has another form, or lies beside it.
    #[test]
    fn what_differs_early_is_not_alike() {
        let signs = ["a", "A", "b", ".", "/", "%61", "%CC%81", "%", "\u{301}", "\u{e9}", "e", "E"];
        let pairs: Vec<String> =
            signs.iter().flat_map(|first| signs.map(|second| format!("{first}{second}"))).collect();
        let names: Vec<String> = pairs.iter().flat_map(|pair| ["", "a"].map(|end| format!("{pair}{end}"))).collect();
        let mut alike = 0;
        for (name, listed) in names.iter().flat_map(|name| names.iter().map(move |listed| (name, listed))) {
            let decoded = percent_decode_str(listed).decode_utf8_lossy();
            for extent in [Extent::Whole, Extent::Beginning] {
                let expected = is_like_decoded(name, &decoded, extent);
                assert_eq!(is_like(name, listed, extent), expected, "{name} {listed} {extent:?}");
                alike += usize::from(expected);
            }
        }
        assert!(alike > names.len());
    }
}
