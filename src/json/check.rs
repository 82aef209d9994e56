//! What [`parse`](super::parse) refuses is refused here too, without a value in memory: for texts that are only passed on.

use super::{Element, Error, MAX_DEPTH, NUMBER_KEY, NumberText, is_private};
use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};
use std::cell::Cell;
use std::collections::HashSet;
use std::fmt;

/// Whether a text is one JSON document whose member names are unique at every depth, and that is nested no deeper than
/// [`MAX_DEPTH`].
pub fn check(text: &[u8]) -> Result<(), Error> {
    let text = std::str::from_utf8(text).map_err(|_| Error::Malformed)?;
    let fault = Cell::new(Error::Malformed);
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let document = Element { levels_left: MAX_DEPTH, fault: &fault, trail: None };
    let checked = Checked(document).deserialize(&mut deserializer);
    checked.and_then(|()| deserializer.end()).map_err(|_| fault.get())
}

/// One value of the document, of which nothing is kept.
#[derive(Clone, Copy)]
struct Checked<'f>(Element<'f>);

impl<'de> DeserializeSeed<'de> for Checked<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Checked<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<(), A::Error> {
        let inner = Self(self.0.inner()?);
        while elements.next_element_seed(inner)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let mut name: Option<String> = members.next_key()?;
        if name.as_deref() == Some(NUMBER_KEY) {
            return members.next_value_seed(NumberText).map(drop);
        }
        let inner = Self(self.0.inner()?);
        let mut names = HashSet::new();
        while let Some(member) = name {
            if is_private(&member) {
                return Err(self.0.fail(Error::Malformed));
            }
            if !names.insert(member) {
                return Err(self.0.fail(Error::DuplicateMember));
            }
            members.next_value_seed(inner)?;
            name = members.next_key()?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    #[test]
    fn refuses_what_parsing_refuses() {
        let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        let texts = [
            "{}",
            "[1, -2.50, 1e999, \"a\", null, true, {\"a\": {\"b\": []}}]",
            "{\"a\":1,\"a\":2}",
            "[{\"x\":{\"a\":1,\"\\u0061\":2}}]",
            "{\"$serde_json::private::Number\":\"1\"}",
            "{\"a\":{\"$serde_json::private::Number\":\"1\"}}",
            "{\"b\":1,\"$serde_json::private::Number\":\"1\"}",
            "{\"$serde_json::private::RawValue\":\"1\"}",
            "{\"b\":1,\"$serde_json::private::RawValue\":\"1\"}",
            "\"\\ud800\"",
            "{} {}",
            "{}x",
            "",
            "[1,]",
            "NaN",
            &deep(MAX_DEPTH),
            &deep(MAX_DEPTH + 1),
            &"[".repeat(50_000),
            "\u{feff}{}",
        ];
        for text in texts {
            assert_eq!(check(text.as_bytes()), parse(text.as_bytes()).map(drop), "{text:.60}");
        }
        assert_eq!(check(b"\"\xff\""), Err(Error::Malformed));
    }
}
