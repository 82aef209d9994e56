//! Where the signs of a text stand that is quoted or folded: what is escaped moves those behind it, and lines are joined.
//!
//! All of that changes white space alone, or writes one sign as several. So the signs that are no white space stand in the file in the
//! order in which they stand in the text.

use super::Place;
use saphyr_parser::ScalarStyle;
use std::iter::{Peekable, once};

/// The place of each sign of a text that is no white space. The text begins at this place of the file, with its quote or its `>`.
pub fn places(lines: &[&str], at: Place, style: ScalarStyle, text: &str) -> Vec<Place> {
    let count = text.chars().filter(|sign| !sign.is_whitespace()).count();
    let here = lines.get(at.line.saturating_sub(1)).copied().unwrap_or_default();
    let is_header = style == ScalarStyle::Folded && here.chars().nth(at.column.saturating_sub(1)) == Some('>');
    let is_quoted = matches!(style, ScalarStyle::SingleQuoted | ScalarStyle::DoubleQuoted);
    let first = at.line.saturating_sub(1).saturating_add(usize::from(is_header));
    let skipped = if is_header { 0 } else { at.column.saturating_sub(1).saturating_add(usize::from(is_quoted)) };
    let signs = lines.iter().enumerate().skip(first).flat_map(|(index, line)| {
        let skipped = if index == first { skipped } else { 0 };
        let signs = line.chars().enumerate().skip(skipped);
        signs.map(move |(column, sign)| (place(index, column), sign)).chain(once((place(index, 0), '\n')))
    });
    let mut signs = signs.peekable();
    let mut found = Vec::with_capacity(count);
    while found.len() < count {
        let Some((place, sign)) = signs.next() else { break };
        let sign = match (style, sign) {
            (ScalarStyle::SingleQuoted, '\'') => {
                signs.next();
                Some(sign)
            }
            (ScalarStyle::DoubleQuoted, '\\') => escaped(&mut signs),
            _ => Some(sign),
        };
        found.extend(sign.filter(|sign| !sign.is_whitespace()).map(|_| place));
    }
    found
}

/// A place by its line and column, both from 0.
fn place(line: usize, column: usize) -> Place {
    Place { line: line.saturating_add(1), column: column.saturating_add(1) }
}

/// What stands for something behind a backslash (YAML 1.2, section 5.7); nothing for the end of a line.
fn escaped(signs: &mut Peekable<impl Iterator<Item = (Place, char)>>) -> Option<char> {
    let (_, letter) = signs.next()?;
    let length = match letter {
        'x' => 2,
        'u' => 4,
        'U' => 8,
        '\n' => return None,
        't' | 'n' | 'v' | 'f' | 'r' | 'N' | '_' | 'L' | 'P' => return Some(' '),
        letter => return Some(letter),
    };
    let digits: String = (0..length).filter_map(|_| signs.next()).map(|(_, digit)| digit).collect();
    u32::from_str_radix(&digits, 16).ok().and_then(char::from_u32)
}
