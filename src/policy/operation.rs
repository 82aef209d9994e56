//! Which operation of the Model Context Protocol a request asks for, and what that needs.
//!
//! The protocol's versions of 2025 say it in the body, a JSON-RPC message, alone; that of 2026-07-28 says it in the headers
//! `Mcp-Method` and `Mcp-Name`, too (Streamable HTTP, "Request Metadata"). [`head`] reads the headers, [`message`] the body, and
//! [`lists`] what the server answers to those who ask what there is.
//!
//! The invariant: what is read here is what every reader behind would read. A message that two readers could take for two
//! operations is refused, and so is one whose headers and body differ.

pub mod fault;
pub mod head;
pub mod lists;
pub mod message;

use crate::config::{Mcp, Needed, OperationSource, Permission, ScopeImplications};
use crate::jose::jwt::AccessToken;
use crate::policy::requirement::Unmet;
use crate::time::Timestamp;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;
use url::Url;

/// What one message asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Asked {
    /// The text of its `id`, a string or a number; `None` if it wants no answer, or is one.
    pub id: Option<Box<str>>,
    /// Its method; `None` for an answer of the client's.
    pub method: Option<Box<str>>,
    /// The operations. None: it needs what every request needs.
    pub operations: Vec<Operation>,
}

/// An operation that a permission can be for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Operation {
    /// The tool of this name is called.
    Tool(Box<str>),
    /// The prompt of this name is filled in, or a value for one of its arguments is looked for.
    Prompt(Box<str>),
    /// The resource of this URI is read or watched, or a value in its template is looked for.
    Resource(Box<str>),
    /// A method that the protocol doesn't know.
    Unknown,
}

/// Why an operation is not for a token, or for nobody.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Refused {
    /// Nobody may do this.
    Denied,
    /// There is no token, and one is needed.
    NoToken,
    /// The token lacks something.
    Unmet(Unmet),
}

impl Operation {
    /// The name of what it is about.
    pub fn name(&self) -> Option<&str> {
        match self {
            Self::Tool(name) | Self::Prompt(name) | Self::Resource(name) => Some(name),
            Self::Unknown => None,
        }
    }

    /// What it is about.
    fn of_method(method: &str, name: &str) -> Option<Self> {
        match method {
            "tools/call" => Some(Self::Tool(name.into())),
            "prompts/get" => Some(Self::Prompt(name.into())),
            "resources/read" | "resources/subscribe" | "resources/unsubscribe" => Some(Self::Resource(name.into())),
            _ => None,
        }
    }

    /// All that the name can be to a service that takes a URI apart and writes it anew, as the SDKs do, or decodes it (URL
    /// standard, "URL parsing"). `None` if there are more than can be told.
    fn readings<'n>(&self, name: &'n str) -> Option<Vec<Cow<'n, str>>> {
        let mut readings = vec![Cow::Borrowed(name)];
        let Self::Resource(_) = self else { return Some(readings) };
        let normalized = Url::parse(name).ok().map(String::from);
        // A host beyond ASCII is another in every version of Unicode.
        if normalized.is_none() && !name.is_ascii() {
            return None;
        }
        let decoded = normalized.as_deref().map(decoded);
        let resolved = decoded.as_deref().and_then(|text| Url::parse(text).ok()).map(String::from);
        for reading in [normalized, decoded, resolved].into_iter().flatten().map(Cow::Owned) {
            if !readings.contains(&reading) {
                readings.push(reading);
            }
        }
        Some(readings)
    }
}

fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

impl Mcp {
    /// Checks what a message asks for. Without a token, only what needs none passes.
    pub fn permits(
        &self,
        asked: &Asked,
        token: Option<&AccessToken>,
        implied: &ScopeImplications,
        now: Timestamp,
    ) -> Result<(), Refused> {
        asked.operations.iter().try_for_each(|operation| self.permits_operation(operation, token, implied, now))
    }

    /// Checks one operation, in every reading of its name.
    pub fn permits_operation(
        &self,
        operation: &Operation,
        token: Option<&AccessToken>,
        implied: &ScopeImplications,
        now: Timestamp,
    ) -> Result<(), Refused> {
        self.needed(operation).into_iter().try_for_each(|needed| match (needed, token) {
            (Needed::Deny, _) => Err(Refused::Denied),
            (Needed::Token(requirement), Some(token)) => requirement.check(token, implied, now).map_err(Refused::Unmet),
            (Needed::Token(requirement), None) if requirement.is_empty() => Ok(()),
            (Needed::Token(_), None) => Err(Refused::NoToken),
        })
    }

    /// The scopes that the operations of a message need: a client asks for all of them at once (MCP, "Runtime Insufficient Scope
    /// Errors"). One that several need is there for each.
    pub fn scopes_for<'m>(&'m self, asked: &Asked) -> impl Iterator<Item = &'m str> {
        let needed = asked.operations.iter().flat_map(|operation| self.needed(operation));
        needed.flat_map(|needed| match needed {
            Needed::Token(requirement) => requirement.all_scopes().collect(),
            Needed::Deny => Vec::new(),
        })
    }

    /// What an operation needs beside what every request needs: in each reading of its name, the first that fits.
    fn needed(&self, operation: &Operation) -> Vec<&Needed> {
        let (operations, default) = (&self.operations, self.operations.default.as_ref());
        let (list, name) = match operation {
            Operation::Tool(name) => (&operations.tools, name),
            Operation::Prompt(name) => (&operations.prompts, name),
            Operation::Resource(name) => (&operations.resources, name),
            Operation::Unknown => return default.into_iter().collect(),
        };
        // Where no name is told apart from another, all its readings need the same.
        if list.is_empty() {
            return default.into_iter().collect();
        }
        match operation.readings(name) {
            Some(readings) => readings.iter().filter_map(|reading| fitting(list, reading).or(default)).collect(),
            None => vec![&Needed::Deny],
        }
    }

    /// Whether an operation is taken from the headers, and the body is left to whoever stands behind.
    pub fn leaves_body_unread(&self) -> bool {
        matches!(self.source, OperationSource::Headers | OperationSource::Metadata)
    }
}

/// The first that fits.
fn fitting<'p>(permissions: &'p [Permission], name: &str) -> Option<&'p Needed> {
    permissions.iter().find(|permission| permission.name.matches(name)).map(|permission| &permission.needed)
}

/// Methods that no permission is for: they need what every request needs.
fn is_harmless(method: &str) -> bool {
    HARMLESS_METHODS.contains(&method)
}

/// Methods of the specification, of the versions from 2025-03-26 on, that are about nothing with a name. Tasks belong to whoever
/// began them: their identifiers are the server's to guard.
const HARMLESS_METHODS: &[&str] = &[
    "initialize",
    "ping",
    "server/discover",
    "logging/setLevel",
    "tools/list",
    "prompts/list",
    "resources/list",
    "resources/templates/list",
    "tasks/get",
    "tasks/list",
    "tasks/result",
    "tasks/cancel",
    "tasks/update",
    "notifications/initialized",
    "notifications/cancelled",
    "notifications/progress",
    "notifications/message",
    "notifications/roots/list_changed",
    "notifications/tasks/status",
    "notifications/elicitation/complete",
];
