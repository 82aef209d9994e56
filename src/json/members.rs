//! Documents that are not one statement but many: each part is read by itself, so that one with a fault takes none of the others
//! with it.

use super::Error;
use serde::de::{self, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// The members of an object, in their order, each with the text of its value. They are not read before somebody asks: what
/// nobody asks for may be anything that is JSON.
pub struct Members<'t>(Vec<(String, &'t str)>);

impl<'t> Members<'t> {
    /// Opens a JSON document that must be an object.
    pub fn parse(text: &'t [u8]) -> Result<Self, Error> {
        let text = std::str::from_utf8(text).map_err(|_| Error::Malformed)?;
        let mut deserializer = serde_json::Deserializer::from_str(text);
        let members = de::Deserializer::deserialize_map(&mut deserializer, Opened).map_err(|error| whole(&error))?;
        deserializer.end().map_err(|_| Error::Malformed)?;
        Ok(Self(members))
    }

    /// The text of the member of this name; an error if there are two.
    pub fn one(&self, name: &str) -> Result<Option<&'t str>, Error> {
        let mut of_the_name = self.iter().filter(|(other, _)| *other == name).map(|(_, text)| text);
        let first = of_the_name.next();
        match of_the_name.next() {
            None => Ok(first),
            Some(_) => Err(Error::DuplicateMember),
        }
    }

    /// All names and texts. Names may come twice.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'t str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), *text))
    }
}

/// The texts of an array's elements.
pub fn elements(text: &str) -> Result<Vec<&str>, Error> {
    let elements = serde_json::from_str::<Vec<&RawValue>>(text)
        .map_err(|error| if error.is_data() { Error::NotAnArray } else { Error::Malformed })?;
    Ok(elements.into_iter().map(RawValue::get).collect())
}

/// What is wrong with a document that was to be opened.
fn whole(error: &serde_json::Error) -> Error {
    if error.is_data() { Error::NotAnObject } else { Error::Malformed }
}

struct Opened;

impl<'de> Visitor<'de> for Opened {
    type Value = Vec<(String, &'de str)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut opened = Vec::new();
        while let Some((name, text)) = members.next_entry::<String, &'de RawValue>()? {
            opened.push((name, text.get()));
        }
        Ok(opened)
    }
}
