//! The part of the configuration that says that a server of the Model Context Protocol stands behind the filter: which
//! protected resource it is, and what a token must have for each of its operations.
//!
//! The invariant: every name in a list can hold, and says which: one that an earlier one leaves nothing to is an error.

use super::cors::OriginPattern;
use super::fields::Fields;
use super::requirement::Requirement;
use super::resource::Resource;
use super::{Error, is_quotable};
use crate::http::path;
use url::Url;

/// An MCP server, as a protected resource.
#[derive(Debug)]
pub struct Mcp {
    /// What it is called.
    pub resource: Resource,
    /// The path to which messages are sent, without a slash at its end, if not every request of the policy is one to it.
    pub path: Option<Box<[u8]>>,
    /// Who issues tokens for it; empty for the providers whose tokens are good.
    pub authorization_servers: Vec<String>,
    /// The scopes that its metadata name, instead of all that the configuration asks for.
    pub scopes_supported: Option<Vec<String>>,
    /// What its metadata say to people.
    pub description: Description,
    /// What its operations need.
    pub operations: Operations,
    /// Where an operation is read from.
    pub source: OperationSource,
    /// The longest body that is read, in bytes.
    pub max_body_size: usize,
    /// Pages of these origins may send requests, and those of the resource's own.
    pub origins: Vec<OriginPattern>,
    /// The head waits for the body's judgement: Envoy hands the body over meanwhile.
    pub hold_head: bool,
    /// What the server lists goes on without what the token may not use.
    pub filter_lists: bool,
    /// The provider's own metadata are served beside those of the resource, for clients that look for them there.
    pub authorization_server_metadata: bool,
}

/// Members of the metadata for people (RFC 9728, section 2): name and value.
pub(super) type Description = Vec<(&'static str, String)>;

/// What operations need. In each list, the first that fits holds.
#[derive(Debug, Default)]
pub struct Operations {
    /// For `tools/call`, by the tool's name.
    pub tools: Vec<Permission>,
    /// For `prompts/get` and for completions, by the prompt's name.
    pub prompts: Vec<Permission>,
    /// For `resources/read`, subscriptions and completions, by URI.
    pub resources: Vec<Permission>,
    /// For an operation that none of these is for; `None` if no more than for every request.
    pub default: Option<Needed>,
}

/// Names, and what the operations of these names need.
#[derive(Debug)]
pub struct Permission {
    /// The names.
    pub name: NamePattern,
    /// What is needed.
    pub needed: Needed,
}

/// Names of tools, prompts or resources.
#[derive(Debug, Eq, PartialEq)]
pub enum NamePattern {
    /// This.
    Exact(String),
    /// All that begin with this.
    Prefix(String),
}

/// What an operation needs.
#[derive(Debug)]
pub enum Needed {
    /// A token that has this, beside what every request needs.
    Token(Requirement),
    /// Nothing is enough.
    Deny,
}

/// Where an operation is read from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum OperationSource {
    /// From the body, and from `Mcp-Method` and `Mcp-Name` before it where the version of the protocol has these.
    Auto,
    /// From these headers alone: whoever stands behind compares them with the body.
    Headers,
    /// From the metadata of Envoy's filter `envoy.filters.http.mcp`, which stands before this one.
    Metadata,
}

impl Mcp {
    /// The versions of the protocol that are read.
    pub const VERSIONS: [&str; 5] = ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"];

    /// `mcp`: `None` if nothing is said, `Some(None)` if there is none.
    pub(super) fn from_fields(fields: &mut Fields) -> Result<Option<Option<Self>>, Error> {
        if fields.is_false("mcp") {
            fields.take("mcp");
            return Ok(Some(None));
        }
        let Some(mut fields) = fields.object("mcp")? else { return Ok(None) };
        fields.allow_only(FIELDS)?;
        let resource = Resource::from_fields(&mut fields)?;
        let mcp = Self {
            path: endpoint_path(&mut fields)?,
            authorization_servers: authorization_servers(&mut fields)?,
            scopes_supported: scopes_supported(&mut fields)?,
            description: description(&mut fields)?,
            operations: Operations::from_fields(&mut fields)?,
            source: source(&mut fields)?,
            max_body_size: fields
                .size("max_body_size", MIN_MAX_BODY_SIZE..=MAX_MAX_BODY_SIZE)?
                .unwrap_or(DEFAULT_MAX_BODY_SIZE),
            origins: origins(&mut fields)?,
            hold_head: fields.boolean("hold_head")?.unwrap_or(false),
            filter_lists: fields.boolean("filter_lists")?.unwrap_or(false),
            authorization_server_metadata: fields.boolean("authorization_server_metadata")?.unwrap_or(false),
            resource,
        };
        if mcp.filter_lists && mcp.operations.are_all_open() {
            return Err(fields.error(
                "filter_lists",
                "has nothing to hold what is listed against without `tools`, `prompts`, `resources` or `default`",
            ));
        }
        fields.finish()?;
        Ok(Some(Some(mcp)))
    }

    /// Every scope that an operation can need.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.operations.requirements().flat_map(|(_, _, requirement)| requirement.all_scopes())
    }
}

impl NamePattern {
    /// Whether a name is one of these.
    pub fn matches(&self, name: &str) -> bool {
        match self {
            Self::Exact(own) => own == name,
            Self::Prefix(prefix) => name.starts_with(&**prefix),
        }
    }

    fn covers(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Exact(own), Self::Exact(other)) => own == other,
            (Self::Exact(_), Self::Prefix(_)) => false,
            (Self::Prefix(prefix), Self::Exact(other) | Self::Prefix(other)) => other.starts_with(&**prefix),
        }
    }
}

impl Operations {
    /// Whether no operation needs more than any other request.
    pub fn are_all_open(&self) -> bool {
        let Self { tools, prompts, resources, default } = self;
        tools.is_empty() && prompts.is_empty() && resources.is_empty() && default.is_none()
    }

    /// What a token can need, each with the field that says so, and with its place there if that is a list.
    pub(super) fn requirements(&self) -> impl Iterator<Item = (&'static str, Option<usize>, &Requirement)> {
        let Self { tools, prompts, resources, default } = self;
        let lists = [("tools", tools), ("prompts", prompts), ("resources", resources)].into_iter();
        let listed = lists.flat_map(|(field, list)| {
            list.iter().enumerate().map(move |(index, permission)| (field, Some(index), &permission.needed))
        });
        let all = listed.chain(default.iter().map(|needed| ("default", None, needed)));
        all.filter_map(|(field, index, needed)| match needed {
            Needed::Token(requirement) => Some((field, index, requirement)),
            Needed::Deny => None,
        })
    }

    fn from_fields(fields: &mut Fields) -> Result<Self, Error> {
        Ok(Self {
            tools: permissions(fields, "tools")?,
            prompts: permissions(fields, "prompts")?,
            resources: permissions(fields, "resources")?,
            default: default(fields)?,
        })
    }
}

fn permissions(fields: &mut Fields, field: &'static str) -> Result<Vec<Permission>, Error> {
    let list = match fields.objects(field, |fields| Permission::from_fields(fields))? {
        None => return Ok(Vec::new()),
        Some(list) if list.is_empty() => {
            return Err(fields.error(field, "must not be empty; leave it out, or use `default`"));
        }
        Some(list) if list.len() > MAX_PERMISSIONS => {
            return Err(fields.error(field, format!("at most {MAX_PERMISSIONS}")));
        }
        Some(list) => list,
    };
    for (index, permission) in list.iter().enumerate() {
        let earlier = list.iter().take(index).position(|earlier| earlier.name.covers(&permission.name));
        if let Some(earlier) = earlier {
            let problem = format!("never holds: {field}[{earlier}] fits all its names, and the first that fits holds");
            return Err(fields.error(&format!("{field}[{index}].name"), problem));
        }
    }
    Ok(list)
}

impl Permission {
    fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&[&["name", "deny"], Requirement::FIELDS].concat())?;
        let written = fields.required_string("name")?;
        let name = match written.strip_suffix('*') {
            Some(prefix) if prefix.contains('*') => return Err(fields.error("name", ONE_STAR)),
            None if written.contains('*') => return Err(fields.error("name", ONE_STAR)),
            Some(prefix) => NamePattern::Prefix(prefix.to_owned()),
            None => NamePattern::Exact(written),
        };
        let deny = fields.boolean("deny")?.unwrap_or(false);
        let requirement = Requirement::read(&mut fields)?;
        if deny && !requirement.is_empty() {
            return Err(fields.error("deny", "not beside what a token must have"));
        }
        let needed = if deny { Needed::Deny } else { Needed::Token(requirement) };
        fields.finish()?;
        Ok(Self { name, needed })
    }
}

/// `default`.
fn default(fields: &mut Fields) -> Result<Option<Needed>, Error> {
    if fields.is_string("default") {
        return match fields.string("default")?.as_deref() {
            Some("deny") => Ok(Some(Needed::Deny)),
            _ => Err(fields.error("default", "must be deny, or an object such as {scopes: [...]}")),
        };
    }
    let Some(mut inner) = fields.object("default")? else { return Ok(None) };
    inner.allow_only(Requirement::FIELDS)?;
    let requirement = Requirement::read(&mut inner)?;
    inner.finish()?;
    if requirement.is_empty() {
        Err(fields.error("default", "must not be empty; leave it out to demand nothing more"))
    } else {
        Ok(Some(Needed::Token(requirement)))
    }
}

/// `path`.
fn endpoint_path(fields: &mut Fields) -> Result<Option<Box<[u8]>>, Error> {
    let Some(written) = fields.string("path")? else { return Ok(None) };
    match path::canonical(&written) {
        Some(path) => Ok(Some(path.strip_suffix(b"/").map(<[u8]>::to_vec).unwrap_or(path).into_boxed_slice())),
        None => Err(fields.error("path", "must be a path in normal form, such as /mcp")),
    }
}

fn is_issuer(server: &str) -> bool {
    Url::parse(server).is_ok_and(|url| matches!(url.scheme(), "http" | "https")) && server.bytes().all(is_quotable)
}

/// `authorization_servers`.
fn authorization_servers(fields: &mut Fields) -> Result<Vec<String>, Error> {
    let Some(servers) = fields.strings("authorization_servers")? else { return Ok(Vec::new()) };
    if !servers.is_empty() && servers.iter().all(|server| is_issuer(server)) {
        Ok(servers)
    } else {
        let problem =
            "must hold issuers, which are https URLs (RFC 8414, section 2); leave it out for those of `providers`";
        Err(fields.error("authorization_servers", problem))
    }
}

/// `scopes_supported`.
fn scopes_supported(fields: &mut Fields) -> Result<Option<Vec<String>>, Error> {
    if !fields.has("scopes_supported") {
        return Ok(None);
    }
    super::requirement::scopes(fields, "scopes_supported").map(Some)
}

/// `resource_name` and the URLs for people.
fn description(fields: &mut Fields) -> Result<Description, Error> {
    let mut description = Vec::new();
    for member in DESCRIPTION {
        let Some(text) = fields.string(member)? else { continue };
        let is_url = Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        let is_name = *member == "resource_name";
        if is_name && text.is_empty() {
            return Err(fields.error(member, "must not be empty"));
        }
        if !is_name && !is_url {
            return Err(fields.error(member, "must be an http or https URL"));
        }
        description.push((*member, text));
    }
    Ok(description)
}

/// `source`.
fn source(fields: &mut Fields) -> Result<OperationSource, Error> {
    match fields.string("source")?.as_deref() {
        None | Some("auto") => Ok(OperationSource::Auto),
        Some("headers") => Ok(OperationSource::Headers),
        Some("metadata") => Ok(OperationSource::Metadata),
        Some(_) => Err(fields.error("source", "expected auto, headers or metadata")),
    }
}

/// `allow_origins`.
fn origins(fields: &mut Fields) -> Result<Vec<OriginPattern>, Error> {
    let written = fields.strings("allow_origins")?.unwrap_or_default();
    let origins: Option<Vec<OriginPattern>> = written.iter().map(|origin| OriginPattern::read(origin)).collect();
    origins.ok_or_else(|| {
        let problem = "must be origins as browsers send them: https://app.example.com; https://*.example.com for every host \
                       below; or * for all";
        fields.error("allow_origins", problem)
    })
}

/// What may be said.
const FIELDS: &[&str] = &[
    "resource",
    "path",
    "authorization_servers",
    "scopes_supported",
    "resource_name",
    "resource_documentation",
    "resource_policy_uri",
    "resource_tos_uri",
    "tools",
    "prompts",
    "resources",
    "default",
    "source",
    "max_body_size",
    "allow_origins",
    "hold_head",
    "filter_lists",
    "authorization_server_metadata",
];

/// Members of the metadata that are written as they are configured.
const DESCRIPTION: &[&str] = &["resource_name", "resource_documentation", "resource_policy_uri", "resource_tos_uri"];

const ONE_STAR: &str = "may hold one *, at its end, for all names that begin so";

/// Each name that is called is compared with each of these.
const MAX_PERMISSIONS: usize = 1024;

/// As much as Envoy keeps of a body where nothing else is configured (`per_connection_buffer_limit_bytes`).
const DEFAULT_MAX_BODY_SIZE: usize = 1 << 20;

/// Less would refuse every call with arguments.
const MIN_MAX_BODY_SIZE: usize = 1024;

/// A body is read as a whole, in the memory of one worker's VM.
const MAX_MAX_BODY_SIZE: usize = 16 << 20;
