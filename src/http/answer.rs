//! An answer that the filter gives itself, whatever it says: a refusal, a confirmation, a document of its own.
//!
//! The invariant: its header fields are those that it was made with. Whoever sends it adds none.

use super::Edit;
use std::fmt;
use std::ops::Deref;
use std::rc::Rc;

/// A whole answer to the client.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Header fields.
    pub headers: Vec<Field>,
    /// The body; may be empty.
    pub body: Vec<u8>,
    /// The status of a gRPC call, of which Envoy makes a reply with the body as its message; `None` for one in plain HTTP.
    pub grpc_status: Option<u8>,
}

impl Answer {
    /// An answer without a body, which no cache may keep.
    pub fn unstored(status: u16) -> Self {
        Self { status, headers: vec![("cache-control".into(), b"no-store".to_vec())], ..Self::default() }
    }

    /// The value of the first field called `name` (lower case).
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers.iter().find(|(written, _)| **written == *name).map(|(_, value)| value.as_slice())
    }

    /// Adds a field.
    pub fn add(&mut self, name: impl Into<FieldName>, value: impl Into<Vec<u8>>) {
        self.headers.push((name.into(), value.into()));
    }

    /// Makes changes that belong on every response to a request.
    pub fn edit(&mut self, edits: Vec<Edit>) {
        for edit in edits {
            match edit {
                Edit::Add(name, value) => self.headers.push((name, value)),
                Edit::Remove(name) => self.headers.retain(|(written, _)| written.as_bytes() != name),
                Edit::Set(name, value) => {
                    self.headers.retain(|(written, _)| *written != name);
                    self.headers.push((name, value));
                }
            }
        }
    }
}

/// Neither body nor values: a confirmation's are claims.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| &**name).collect();
        let mut answer = f.debug_struct("Answer");
        answer.field("status", &self.status).field("headers", &names).field("grpc_status", &self.grpc_status);
        answer.finish_non_exhaustive()
    }
}

/// A header field that the filter writes.
pub type Field = (FieldName, Vec<u8>);

/// The name of a header that the filter writes, in lower case: its own, or one of the configuration.
#[derive(Clone)]
pub enum FieldName {
    /// One that the code knows.
    Known(&'static str),
    /// One that the operator has chosen.
    Configured(Rc<str>),
}

impl Deref for FieldName {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Known(name) => name,
            Self::Configured(name) => name,
        }
    }
}

impl AsRef<[u8]> for FieldName {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for FieldName {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for FieldName {}

impl fmt::Debug for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&**self, f)
    }
}

impl fmt::Display for FieldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl From<&'static str> for FieldName {
    fn from(name: &'static str) -> Self {
        Self::Known(name)
    }
}

impl From<Rc<str>> for FieldName {
    fn from(name: Rc<str>) -> Self {
        Self::Configured(name)
    }
}

impl From<&Rc<str>> for FieldName {
    fn from(name: &Rc<str>) -> Self {
        Self::Configured(Rc::clone(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits_add_replace_and_remove_fields() {
        let mut answer = Answer::unstored(204);
        answer.add("x-a", "1");
        answer.edit(vec![
            Edit::Add("set-cookie".into(), b"a=1".to_vec()),
            Edit::Add("set-cookie".into(), b"b=2".to_vec()),
            Edit::Set(Rc::<str>::from("x-a").into(), b"2".to_vec()),
            Edit::Remove(b"cache-control".to_vec()),
        ]);
        let fields: Vec<(&str, &[u8])> = answer.headers.iter().map(|(name, value)| (&**name, &value[..])).collect();
        assert_eq!(fields, [("set-cookie", &b"a=1"[..]), ("set-cookie", b"b=2"), ("x-a", b"2")]);
        assert_eq!((answer.header("x-a"), answer.header("cache-control")), (Some(&b"2"[..]), None));
        assert_eq!(format!("{answer:?}").matches("=1").count(), 0, "no value is shown");
    }
}
