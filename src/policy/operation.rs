//! Which operation of the Model Context Protocol a request asks for, and what that needs.
//!
//! The protocol's versions of 2025 say it in the body, a JSON-RPC message, alone; that of 2026-07-28 says it in the headers
//! `Mcp-Method` and `Mcp-Name`, too (Streamable HTTP, "Request Metadata"). [`head`] reads the headers, [`message`] the body,
//! [`uri`] the name of a resource, and [`lists`] what the server answers to those who ask what there is.
//!
//! The invariant: what is read here is what every reader behind would read. A message that two readers could take for two
//! operations is refused, and so is one whose headers and body differ.

pub mod fault;
pub mod head;
mod likeness;
pub mod lists;
pub mod message;
mod method;
pub mod uri;
mod watch;

use crate::config::{Mcp, NamePattern, Needed, OperationSource, Permission, ScopeImplications};
use crate::jose::jwt::AccessToken;
use crate::policy::requirement::Unmet;
use crate::time::Timestamp;
use likeness::{Extent, is_like_no_other};
use uri::Readings;

/// What one message asks for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Message {
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
    /// A prompt is meant that only an unread body names.
    SomePrompt,
    /// Resources are meant that only an unread body names.
    SomeResource,
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
            Self::SomePrompt | Self::SomeResource | Self::Unknown => None,
        }
    }
}

impl Mcp {
    /// Checks what a message asks for. Without a token, only what needs none passes.
    pub fn permits(
        &self,
        asked: &Message,
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
    pub fn scopes_for<'m>(&'m self, asked: &Message) -> impl Iterator<Item = &'m str> {
        let needed = asked.operations.iter().flat_map(|operation| self.needed(operation));
        needed.flat_map(|needed| match needed {
            Needed::Token(requirement) => requirement.all_scopes().collect(),
            Needed::Deny => Vec::new(),
        })
    }

    /// What an operation needs beside what every request needs: in each reading of its name, the first that fits.
    fn needed(&self, operation: &Operation) -> Vec<&Needed> {
        let (operations, default) = (&self.operations, self.operations.default.as_ref());
        match operation {
            Operation::Tool(name) => {
                let named = needed_by_name(&operations.tools, default, name);
                named.chain(needed_by_identity(&operations.tools, default, name)).collect()
            }
            Operation::Prompt(name) => needed_by_name(&operations.prompts, default, name).collect(),
            Operation::Resource(name) => needed_for_resource(&operations.resources, default, name),
            Operation::SomePrompt => needed_for_any(&operations.prompts, default).collect(),
            Operation::SomeResource => needed_for_any(&operations.resources, default).collect(),
            Operation::Unknown => default.into_iter().collect(),
        }
    }

    /// Whether an operation is taken from the headers, and the body is left to whoever stands behind.
    pub fn leaves_body_unread(&self) -> bool {
        matches!(self.source, OperationSource::Headers | OperationSource::Metadata)
    }
}

impl NamePattern {
    /// Whether a service could have made one of these of a name, or the name of one.
    fn is_sanitized(&self, name: &str) -> bool {
        let (listed, extent) = self.listed();
        likeness::is_sanitized(name, listed, extent)
    }

    /// Whether some reader could take a name for one of these, or for the folder that they are in, without the slash at its end.
    fn is_like(&self, name: &str) -> bool {
        let (listed, extent) = self.listed();
        let folder = listed.strip_suffix('/');
        likeness::is_like(name, listed, extent)
            || folder.is_some_and(|folder| likeness::is_like(name, folder, Extent::Whole))
    }

    fn listed(&self) -> (&str, Extent) {
        match self {
            Self::Exact(name) => (name, Extent::Whole),
            Self::Prefix(beginning) => (beginning, Extent::Beginning),
        }
    }
}

/// The first that fits, and its place.
fn first_fitting<'p>(permissions: &'p [Permission], name: &str) -> Option<(usize, &'p Permission)> {
    permissions.iter().enumerate().find(|(_, permission)| permission.name.matches(name))
}

/// What is listed before `place`, where an entry fits to the letter.
fn listed_before(list: &[Permission], place: Option<usize>) -> &[Permission] {
    place.map_or(list, |place| list.get(..place).unwrap_or_default())
}

/// What those need for which some reader could take a name, to the first that fits it to the letter.
fn needed_alike<'p>(list: &'p [Permission], name: &str) -> impl Iterator<Item = &'p Needed> {
    let known = first_fitting(list, name);
    let others = listed_before(list, known.map(|(place, _)| place)).iter();
    let alike = others.filter(move |permission| permission.name.is_like(name)).chain(known.map(|(_, known)| known));
    alike.map(|permission| &permission.needed)
}

/// What a tool or a prompt needs: what its name does, and what is listed before that for which a service takes the same name.
fn needed_by_name<'p>(
    list: &'p [Permission],
    default: Option<&'p Needed>,
    name: &str,
) -> impl Iterator<Item = &'p Needed> {
    let written = first_fitting(list, name);
    let before = listed_before(list, written.map(|(place, _)| place)).iter();
    let (local, has_other_forms) = (likeness::name_in_app(name), !is_like_no_other(name));
    let alike = before.filter(move |permission| {
        let listed = &permission.name;
        listed.is_sanitized(name)
            || local.is_some_and(|local| listed.is_sanitized(local))
            || has_other_forms && listed.is_like(name)
    });
    let written = written.map(|(_, permission)| &permission.needed).or(default);
    written.into_iter().chain(alike.map(|permission| &permission.needed))
}

/// What a tool needs that is called by what only its service can tell: any could be meant, unless the operator has listed this.
fn needed_by_identity<'p>(
    list: &'p [Permission],
    default: Option<&'p Needed>,
    name: &str,
) -> impl Iterator<Item = &'p Needed> {
    let is_meant = |(_, permission): (_, &Permission)| match &permission.name {
        NamePattern::Exact(_) => true,
        NamePattern::Prefix(listed) => listed.starts_with(likeness::IDENTITY_MARK),
    };
    let could_be_any = likeness::is_identity(name) && !first_fitting(list, name).is_some_and(is_meant);
    needed_for_any(list, default).filter(move |_| could_be_any)
}

/// What a resource needs in every reading of its URI. One that is listed as it is written is what the operator means.
fn needed_for_resource<'p>(list: &'p [Permission], default: Option<&'p Needed>, name: &str) -> Vec<&'p Needed> {
    // Where none is told apart from another, all readings need the same.
    if list.is_empty() {
        return default.into_iter().collect();
    }
    let written = first_fitting(list, name);
    if let Some((_, Permission { name: NamePattern::Exact(_), needed })) = written {
        return vec![needed];
    }
    let Some(Readings { strict, loose }) = Readings::of(name) else { return vec![&Needed::Deny] };
    let before = listed_before(list, written.map(|(place, _)| place));
    let of = |found: Option<(usize, &'p Permission)>| found.map(|(_, permission)| &permission.needed);
    let respelled = |reading: &str| uri::spellings(reading).find_map(|spelling| first_fitting(list, &spelling));
    let listed = |reading: &str| first_fitting(list, reading).or_else(|| respelled(reading));
    let alike = [name].into_iter().chain(strict.iter().chain(&loose).map(String::as_str));
    let alike = alike.flat_map(|reading| needed_alike(before, reading));
    let strict = strict.iter().filter_map(|reading| of(listed(reading)).or(default));
    of(written).or(default).into_iter().chain(strict).chain(alike).collect()
}

/// What is needed whichever of a list is meant.
fn needed_for_any<'p>(list: &'p [Permission], default: Option<&'p Needed>) -> impl Iterator<Item = &'p Needed> {
    let fits_all = list.iter().any(|permission| permission.name == NamePattern::Prefix(String::new()));
    list.iter().map(|permission| &permission.needed).chain(default.filter(|_| !fits_all))
}

/// A member of a result that lists something.
struct List {
    member: &'static str,
    /// The member of an entry that tells what it is about.
    named_by: &'static str,
    operation: fn(Box<str>) -> Operation,
}

const LISTS: &[List] = &[
    List { member: "tools", named_by: "name", operation: Operation::Tool },
    List { member: "prompts", named_by: "name", operation: Operation::Prompt },
    List { member: "resources", named_by: "uri", operation: Operation::Resource },
    List { member: "skills", named_by: "uri", operation: Operation::Resource },
    // As a completion names it.
    List { member: "resourceTemplates", named_by: "uriTemplate", operation: Operation::Resource },
];
