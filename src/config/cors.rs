//! The part of the configuration that says which pages of other origins may read the filter's own answers.

use super::fields::Fields;
use super::output::header_name;
use super::{Error, TokenLocation, TokenSource, is_token_byte};
use crate::ordered;
use std::rc::Rc;

/// What browsers are told (Fetch standard, section 3.2).
#[derive(Debug)]
pub struct Cors {
    /// Whose pages may read.
    pub origins: Vec<OriginPattern>,
    /// Requests may have cookies.
    pub allow_credentials: bool,
    /// The methods that may be asked for, joined; `None` for every one.
    pub allow_methods: Option<String>,
    /// The headers that may be sent, joined.
    pub allow_headers: String,
    /// The headers of an answer that may be read, joined.
    pub expose_headers: String,
    /// How long a browser may remember the answer to a preflight, in seconds.
    pub max_age: Option<u64>,
}

/// An origin, or a kind of origins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OriginPattern {
    /// Every one.
    Any,
    /// This one, to the letter.
    Exact(String),
    /// Every host below a domain: what stands before the labels of the host, and what behind them.
    Below {
        /// `https://`
        scheme: String,
        /// `.example.com:8443`
        domain: String,
    },
}

/// What clients of the services behind send beside tokens.
#[derive(Clone, Copy)]
pub(super) struct ClientHeaders {
    /// Messages of MCP.
    pub(super) has_mcp: bool,
    /// Proofs of keys that tokens are bound to.
    pub(super) takes_dpop: bool,
}

impl Cors {
    /// `cors`.
    pub(super) fn from_fields(
        top: &mut Fields,
        sources: &[Rc<TokenSource>],
        further: ClientHeaders,
    ) -> Result<Option<Self>, Error> {
        let Some(mut fields) = top.object("cors")? else { return Ok(None) };
        fields.allow_only(&[
            "allow_origins",
            "allow_headers",
            "allow_methods",
            "expose_headers",
            "max_age",
            "allow_credentials",
        ])?;
        let origins = origins(&mut fields)?;
        let allow_credentials = fields.boolean("allow_credentials")?.unwrap_or(false);
        if allow_credentials && origins.contains(&OriginPattern::Any) {
            return Err(fields.error(
                "allow_credentials",
                "not with the origin *: every page could read what a user's cookies give",
            ));
        }
        let allow_methods = fields.strings("allow_methods")?;
        if allow_methods.iter().flatten().any(|method| method.is_empty() || !method.bytes().all(is_token_byte)) {
            return Err(fields.error("allow_methods", "must be methods (RFC 9110, section 9.1)"));
        }
        let allow_headers = allow_headers(&mut fields, allow_credentials, sources, further)?;
        let nonce = further.takes_dpop.then_some("dpop-nonce");
        let standard = ["www-authenticate", "retry-after"].into_iter().chain(nonce).map(str::to_owned).collect();
        let expose_headers = [standard, header_names(&mut fields, "expose_headers")?.unwrap_or_default()].concat();
        let max_age = fields.duration("max_age")?.map(|age| age.as_secs());
        fields.finish()?;
        Ok(Some(Self {
            origins,
            allow_credentials,
            allow_methods: allow_methods.map(joined),
            allow_headers: joined(allow_headers),
            expose_headers: joined(expose_headers),
            max_age,
        }))
    }
}

/// `allow_origins`.
fn origins(fields: &mut Fields) -> Result<Vec<OriginPattern>, Error> {
    let origins = fields.strings("allow_origins")?.unwrap_or_default();
    if origins.is_empty() {
        return Err(fields.error("allow_origins", "required: origins such as https://app.example.com, or *"));
    }
    let origins: Option<Vec<OriginPattern>> = origins.iter().map(|origin| OriginPattern::read(origin)).collect();
    let problem = "must be origins as browsers send them: https://app.example.com, in lower case, without a path and without \
                   the scheme's own port; https://*.example.com for every host below; or * for all";
    origins.ok_or_else(|| fields.error("allow_origins", problem))
}

/// `allow_headers`, or what a page needs to send a token and what belongs to it.
fn allow_headers(
    fields: &mut Fields,
    allow_credentials: bool,
    sources: &[Rc<TokenSource>],
    further: ClientHeaders,
) -> Result<Vec<String>, Error> {
    let ClientHeaders { has_mcp, takes_dpop } = further;
    let Some(names) = header_names(fields, "allow_headers")? else {
        let of_mcp = if has_mcp { MCP_HEADERS } else { &[] };
        let of_dpop = if takes_dpop { DPOP_HEADERS } else { &[] };
        let further = ["content-type"].iter().chain(of_mcp).chain(of_dpop).map(|name| (*name).to_owned());
        return Ok([places_of_tokens(sources), further.collect()].concat());
    };
    if names.iter().all(|name| name != "*") {
        return Ok(names);
    }
    if allow_credentials {
        return Err(fields.error("allow_headers", "with allow_credentials, * is a header's name: list the headers"));
    }
    // Browsers don't take `*` for `authorization`.
    Ok([names, places_of_tokens(sources)].concat())
}

impl OriginPattern {
    /// An origin in its only spelling (HTML standard, "serialization of an origin"): what is written otherwise would match none.
    pub(super) fn read(text: &str) -> Option<Self> {
        if text == "*" {
            return Some(Self::Any);
        }
        let (scheme, authority) = text.split_once("://")?;
        if !scheme.starts_with(|first: char| first.is_ascii_lowercase()) || !scheme.bytes().all(is_of_scheme) {
            return None;
        }
        let below = authority.strip_prefix("*.");
        let named = below.unwrap_or(authority);
        let is_default_port =
            matches!((scheme, named.rsplit_once(':')), ("http", Some((_, "80"))) | ("https", Some((_, "443"))));
        let is_authority = named.bytes().all(|byte| is_of_host(byte) || b":[]".contains(&byte));
        if named.is_empty() || named.starts_with(['.', ':']) || is_default_port || !is_authority {
            return None;
        }
        Some(match below {
            None => Self::Exact(text.to_owned()),
            Some(domain) => Self::Below { scheme: format!("{scheme}://"), domain: format!(".{domain}") },
        })
    }

    /// Whether an `Origin` is one of these. What is sent is compared to the letter: browsers know one spelling.
    pub fn matches(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(own) => own == origin,
            Self::Below { scheme, domain } => {
                let labels = origin.strip_prefix(&**scheme).and_then(|rest| rest.strip_suffix(&**domain));
                labels.is_some_and(|labels| {
                    labels.split('.').all(|label| !label.is_empty() && label.bytes().all(is_of_label))
                })
            }
        }
    }
}

fn is_of_scheme(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"+-.".contains(&byte)
}

fn is_of_host(byte: u8) -> bool {
    is_of_label(byte) || byte == b'.'
}

fn is_of_label(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_')
}

/// The headers that tokens are read from: a page that may not send them has no use for the others.
fn places_of_tokens(sources: &[Rc<TokenSource>]) -> Vec<String> {
    let mut names: Vec<String> = Vec::new();
    for source in sources {
        if let TokenLocation::Header { name, .. } = &source.location
            && !names.iter().any(|other| **other == **name)
        {
            names.push(name.to_string());
        }
    }
    names
}

fn header_names(fields: &mut Fields, field: &'static str) -> Result<Option<Vec<String>>, Error> {
    let Some(names) = fields.strings(field)? else { return Ok(None) };
    let names = names.iter().map(|name| header_name(fields, field, name).map(|name| name.to_string()));
    names.collect::<Result<_, _>>().map(Some)
}

/// A list for a header, each member once.
fn joined(mut members: Vec<String>) -> String {
    let mut seen = Vec::new();
    members.retain(|member| ordered::insert(&mut seen, member.clone()));
    members.join(", ")
}

/// RFC 9449, section 4.1.
const DPOP_HEADERS: &[&str] = &["dpop"];

/// What clients of MCP send, of each version (MCP, "Streamable HTTP").
const MCP_HEADERS: &[&str] = &["last-event-id", "mcp-method", "mcp-name", "mcp-protocol-version", "mcp-session-id"];
