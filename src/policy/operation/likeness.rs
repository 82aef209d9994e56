//! Names that some reader could take for one of the protocol's: readers mind neither case (Go's `encoding/json`, .NET, Jackson) nor
//! punctuation, or end a name at a NUL.

/// Whether a method could be taken for one that is about something with a name, or lists such, and is none.
pub(super) fn is_odd_method(method: &str) -> bool {
    is_variant(method, GUARDED_METHODS)
}

/// Whether a name is none of these, but could be taken for one; or makes members of its value be those of the object, where
/// somebody copies it in JavaScript.
pub(super) fn is_variant(name: &str, known: &[&str]) -> bool {
    !known.contains(&name) && (name == "__proto__" || known.iter().any(|known| letters(name).eq(letters(known))))
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
