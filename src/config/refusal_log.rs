//! `refusal_log`: whether refusals are told in Envoy's log, and in which form.

use super::Error;
use super::fields::Fields;

/// How each refusal is told at info level.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum RefusalLog {
    /// A line for people.
    #[default]
    Text,
    /// A JSON object.
    Json,
    /// Not at all; at debug level there is a line for every decision all the same.
    None,
}

impl RefusalLog {
    pub(super) fn from_fields(top: &mut Fields) -> Result<Self, Error> {
        match top.string("refusal_log")?.as_deref() {
            None => Ok(Self::default()),
            Some("text") => Ok(Self::Text),
            Some("json") => Ok(Self::Json),
            Some("none") => Ok(Self::None),
            Some(_) => Err(top.error("refusal_log", "expected text, json or none")),
        }
    }
}
