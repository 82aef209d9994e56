//! A search for names in a text, in every spelling, and wherever a reader could find one.

use super::spelling::{any_decoding, any_reading, same_spelling};
use crate::http::cookie::Cookie;
use crate::http::query::Parameter;
use std::ops::Range;
use std::rc::Rc;

/// The names of one kind of place.
#[derive(Debug)]
pub(super) struct Names {
    pub(super) all: Vec<Name>,
    /// Of each byte, whether a spelling of one of them can begin with it.
    firsts: Vec<bool>,
    /// Of each length below 64, whether one of them has it; the last bit is for all others.
    lengths: u64,
    /// What ends the name of a list or an object of which one element is named.
    indices: &'static [u8],
}

/// A name, and whether the filter writes it; if not, it is a token's place, and its exact spelling is good.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct Name {
    pub(super) text: Rc<str>,
    pub(super) is_written: bool,
    /// Whether this is how another reader writes the name: `x.y` for `x[y]`, and `list` for `list[]`.
    is_alias: bool,
}

impl Name {
    /// One that the filter writes.
    pub(super) fn written(text: &str) -> Self {
        Self { text: Rc::from(text), is_written: true, is_alias: false }
    }

    /// That of a place that tokens are read from.
    pub(super) fn of_place(text: &str) -> Self {
        Self { is_written: false, ..Self::written(text) }
    }

    /// Whether it can be spelled otherwise: Envoy hands over names in lower case.
    pub(super) fn has_spellings(&self) -> bool {
        self.text.bytes().any(|byte| !byte.is_ascii_alphanumeric())
    }

    /// Where it ends in a text, in some spelling, if it begins there.
    fn span_from(&self, start: usize, text: &[u8]) -> Option<Range<usize>> {
        let span = start..start.checked_add(self.text.len())?;
        same_spelling(self.text.as_bytes(), text.get(span.clone())?).then_some(span)
    }
}

impl Names {
    pub(super) fn new(indices: &'static [u8]) -> Self {
        Self { all: Vec::new(), firsts: vec![false; 256], lengths: 0, indices }
    }

    /// Adds a name that is not there yet: many policies write under the same ones.
    pub(super) fn add(&mut self, name: Name) {
        let dotted = self.dotted(name.text.as_bytes()).and_then(|dotted| String::from_utf8(dotted).ok());
        let alias = dotted.as_deref().map(|dotted| dotted.trim_matches('.')).filter(|dotted| !dotted.is_empty());
        if let Some(alias) = alias {
            self.insert(Name { text: Rc::from(alias), is_alias: true, ..name });
        }
        self.insert(name);
    }

    fn insert(&mut self, name: Name) {
        if self.all.contains(&name) {
            return;
        }
        let first = name.text.as_bytes().get(..1);
        for (can_begin, byte) in self.firsts.iter_mut().zip(0..=u8::MAX) {
            *can_begin |= first.is_some_and(|first| same_spelling(first, &[byte]));
        }
        self.lengths |= bit_of_length(name.text.as_bytes());
        self.all.push(name);
    }

    /// Those that a text could be a spelling of: none, for nearly all texts.
    pub(super) fn like(&self, text: &[u8]) -> impl Iterator<Item = &Name> {
        let could_be = self.lengths & bit_of_length(text) != 0 && text.first().is_none_or(|byte| self.can_begin(*byte));
        let all = if could_be { self.all.as_slice() } else { &[] };
        all.iter().filter(move |own| same_spelling(own.text.as_bytes(), text))
    }

    fn can_begin(&self, byte: u8) -> bool {
        self.firsts.get(usize::from(byte)).copied().unwrap_or_default()
    }

    pub(super) fn is_place(&self, name: &[u8]) -> bool {
        self.all.iter().any(|own| !own.is_written && !own.is_alias && own.text.as_bytes() == name)
    }

    /// A name with brackets as a reader has it to whom dots mean the same: qs with `allowDots` makes one object of `x[y]` and
    /// `x.y`.
    fn dotted(&self, name: &[u8]) -> Option<Vec<u8>> {
        (self.indices.contains(&b'.') && name.iter().any(is_bracket)).then(|| {
            let opening = name.iter().filter(|byte| **byte != b']');
            opening.map(|byte| if *byte == b'[' { b'.' } else { *byte }).collect()
        })
    }

    pub(super) fn reads(&self) -> bool {
        self.all.iter().any(|own| !own.is_written)
    }

    /// Whether a text must be read with care.
    pub(super) fn may_be_in(&self, text: &[u8]) -> bool {
        text.contains(&b'%')
            || !text.is_ascii()
            || self.are_in(text)
            || self.dotted(text).is_some_and(|text| self.are_in(&text))
    }

    fn are_in(&self, text: &[u8]) -> bool {
        self.found_in(text).next().is_some()
    }

    /// Wherever one of them stands in a text, in some spelling.
    fn found_in<'t>(&'t self, text: &'t [u8]) -> impl Iterator<Item = (&'t Name, Range<usize>)> {
        let starts = text.iter().enumerate().filter(|(_, byte)| self.can_begin(**byte)).map(|(start, _)| start);
        starts.flat_map(move |start| self.all.iter().filter_map(move |own| Some((own, own.span_from(start, text)?))))
    }

    /// Whether an upstream could read a whole name as one of those that are `meant`, or as an element of it. Python and
    /// JavaScript trim what Unicode calls white space, also where it is one byte of Latin-1; PHP passes over spaces before a name;
    /// PHP 7 decodes `+` in a cookie's; Rack and qs take brackets around a name for nothing, `URLSearchParams` passes over a
    /// second `?`, and qs over a dot if told to read dots. Spring binds `!name` where there is no `name`. ASP.NET takes upper case for
    /// lower case.
    pub(super) fn are_alike(&self, text: &[u8], meant: &dyn Fn(&Name) -> bool) -> bool {
        let is_alike = |text: &[u8]| {
            let mut begin = behind_edge(text, 0);
            while let Some(end) = self.end_of_inherited(text, begin) {
                begin = behind_edge(text, end);
            }
            let last = text.iter().rposition(|byte| !is_edge(byte)).unwrap_or_default();
            self.found_in(text).any(|(own, span)| {
                meant(own) && span.start <= begin && (span.end > last || self.begins_index(text, span.end))
            })
        };
        any_reading(text, &mut |text| is_alike(text) || self.dotted(text).is_some_and(|dotted| is_alike(&dotted)))
    }

    /// The same of a cookie's name. Netty's first reader of cookies passes over the sign that marks attributes (RFC 2965, section 3.3.4).
    pub(super) fn are_alike_in_cookie(&self, cookie: &Cookie, meant: &dyn Fn(&Name) -> bool) -> bool {
        let signs = cookie.name.iter().position(|byte| *byte != b'$').unwrap_or_default();
        self.are_alike(cookie.name, meant)
            || signs > 0 && self.are_alike(cookie.name.get(signs..).unwrap_or_default(), meant)
    }

    /// Where the index behind a name begins that all of JavaScript's objects have: picoquery passes over it, and makes a
    /// parameter of its own of what is named behind it.
    fn end_of_inherited(&self, text: &[u8], start: usize) -> Option<usize> {
        let behind = text.get(start..)?;
        let inherited = INHERITED.iter().find(|inherited| behind.starts_with(inherited.as_bytes()))?;
        let end = start.checked_add(inherited.len())?;
        self.begins_index(text, end).then_some(end)
    }

    /// Whether the name of a list or an object ends here.
    fn begins_index(&self, text: &[u8], at: usize) -> bool {
        text.get(at).is_some_and(|byte| self.indices.contains(byte))
    }

    /// Whether one of them stands in a text as a word, or where a reader that has just ended a value begins a name. To WebOb,
    /// a date is a value that can end within a word: `a=Thu, 01-Jan-2026 00:00:00 GMTidentity=x`.
    pub(super) fn are_held_by(&self, text: &[u8]) -> bool {
        any_reading(text, &mut |text| {
            self.found_in(text).any(|(_, span)| {
                let behind = text.get(span.end..).unwrap_or_default();
                !behind.first().is_some_and(is_of_word)
                    && (begins_word(text, span.start) || behind.trim_ascii_start().starts_with(b"="))
            })
        })
    }

    /// Whether one of them names a pair of a cookie whose escapes are decoded before it is parted, and the first pair one that is
    /// `meant`: the way of a script that many have copied, `decodeURIComponent(cookie).split(';')`.
    pub(super) fn are_behind_encoded_semicolons(&self, cookie: &Cookie, meant: &dyn Fn(&Name) -> bool) -> bool {
        any_decoding(cookie.pair, &mut |decoded| {
            let pairs = decoded.split(|byte| *byte == b';');
            let mut names = pairs.map(|pair| Parameter::parse(pair.trim_ascii()).raw_name());
            names.next().is_some_and(|first| self.are_alike(first, meant))
                || names.any(|name| self.are_alike(name, &|_| true))
        })
    }

    /// Whether one of them stands before a `=` in a value.
    pub(super) fn names_a_part_of(&self, value: &[u8]) -> bool {
        let mut parts = value.split(|byte| *byte == b'=');
        let behind_last = parts.next_back();
        behind_last.is_some() && parts.any(|part| self.are_at_the_end_of(part))
    }

    /// Whether the last word of a text is one of them.
    fn are_at_the_end_of(&self, text: &[u8]) -> bool {
        any_reading(text, &mut |text| {
            let last = text.iter().rposition(is_of_word).unwrap_or_default();
            self.found_in(text).any(|(_, span)| span.end > last && begins_word(text, span.start))
        })
    }
}

/// What every object of JavaScript inherits.
const INHERITED: [&str; 3] = ["__proto__", "prototype", "constructor"];

fn bit_of_length(text: &[u8]) -> u64 {
    1_u64.wrapping_shl(u32::try_from(text.len()).unwrap_or(u32::MAX).min(63))
}

/// Where a name can begin that stands from here on: behind what some pass over.
fn behind_edge(text: &[u8], start: usize) -> usize {
    let behind = text.get(start..).unwrap_or_default();
    behind.iter().position(|byte| !is_edge(byte)).map_or(text.len(), |at| at.saturating_add(start))
}

fn is_edge(byte: &u8) -> bool {
    !byte.is_ascii_graphic() || matches!(byte, b'[' | b']' | b'+' | b'?' | b'.' | b'!')
}

fn begins_word(text: &[u8], start: usize) -> bool {
    !start.checked_sub(1).and_then(|before| text.get(before)).is_some_and(is_of_word)
}

fn is_of_word(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || *byte == b'_'
}

pub(super) fn is_bracket(byte: &u8) -> bool {
    matches!(byte, b'[' | b']')
}
