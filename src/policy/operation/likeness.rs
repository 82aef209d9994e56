//! Names that some reader could take for others. For one of the protocol's: readers mind neither case (Go's `encoding/json`, .NET,
//! Jackson) nor punctuation, or end a name at a NUL. For one that is listed: templates of resources are regular expressions to SDKs,
//! and texts are equal to Swift when Unicode says so.

use crate::http::path::are_composed;
use percent_encoding::percent_decode_str;

/// Whether a method could be taken for one that is about something with a name, or lists such, and is none.
pub(super) fn is_odd_method(method: &str) -> bool {
    is_variant(method, GUARDED_METHODS)
}

/// Whether a name is none of these, but could be taken for one; or makes members of its value be those of the object, where
/// somebody copies it in JavaScript.
pub(super) fn is_variant(name: &str, known: &[&str]) -> bool {
    !known.contains(&name) && (name == "__proto__" || known.iter().any(|known| letters(name).eq(letters(known))))
}

/// Whether a name could be taken for what is listed, or else for one that begins so. To the SDK for C#, case counts for nothing in a
/// resource that a template names; to the first one for Python, a dot in a template is any sign.
pub(super) fn is_like(name: &str, listed: &str, is_beginning: bool) -> bool {
    if listed.contains('%') {
        return is_like_decoded(name, &percent_decode_str(listed).decode_utf8_lossy(), is_beginning);
    }
    is_like_decoded(name, listed, is_beginning)
}

fn is_like_decoded(name: &str, listed: &str, is_beginning: bool) -> bool {
    // A message can name hundreds of resources, each with dozens of readings, and a list can have a thousand entries.
    if name.is_ascii() && listed.is_ascii() {
        let (name, listed) = (name.as_bytes(), listed.as_bytes());
        let is_long_enough = name.len() == listed.len() || is_beginning && name.len() > listed.len();
        let mut pairs = listed.iter().zip(name);
        return is_long_enough && pairs.all(|(sign, other)| *sign == b'.' || sign.eq_ignore_ascii_case(other));
    }
    let keeps_all = are_composed(name) && are_composed(listed);
    let mut rest = signs(name, keeps_all);
    let begins = signs(listed, keeps_all).all(|sign| rest.next().is_some_and(|other| sign == '.' || sign == other));
    begins && (is_beginning || rest.next().is_none())
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

/// Methods that are about something with a name, or list what has one.
const GUARDED_METHODS: &[&str] = &[
    "tools/call",
    "prompts/get",
    "resources/read",
    "resources/subscribe",
    "resources/unsubscribe",
    "completion/complete",
    "subscriptions/listen",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
];
