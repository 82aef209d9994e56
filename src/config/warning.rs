//! A line about what is allowed, and may not be what somebody means: with a word and a path, so that tools can tell it too.

use std::fmt;
use std::ops::Deref;

/// What is allowed, and may not be what somebody means.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Warning {
    /// One word for its kind, for tools.
    pub code: &'static str,
    /// The field that it is about, as errors write it.
    pub path: String,
    /// What it says, in a line.
    pub text: String,
}

impl Warning {
    pub(super) fn new(code: &'static str, path: impl Into<String>, text: impl Into<String>) -> Self {
        Self { code, path: path.into(), text: text.into() }
    }
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Its text.
impl Deref for Warning {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// The first of these, and how many more there are.
pub fn listed(names: &[impl AsRef<str>]) -> String {
    let shown: Vec<&str> = names.iter().take(MAX_LISTED).map(AsRef::as_ref).collect();
    match names.len().saturating_sub(shown.len()) {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// How many of a kind are told one by one.
pub(super) const MAX_LISTED: usize = 8;
