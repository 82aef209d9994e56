//! The identifier of a protected resource (RFC 9728, section 1.2; RFC 8707, section 2).
//!
//! The invariant: a [`Resource`] is in canonical form, so that the identifier in the metadata, in the challenge and in the
//! audience of a token is the same text.

use super::fields::Fields;
use super::{Error, is_quotable};
use crate::http::path::Path;
use url::{Host, Url};

/// The identifier of a protected resource: an absolute URL without query and fragment (RFC 9728, section 1.2; RFC 8707,
/// section 2).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resource {
    text: String,
    /// `https://` and host, with the port unless it is the scheme's own.
    origin: String,
}

impl Resource {
    /// The identifier, as tokens and metadata have it.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The origin of its pages (RFC 6454, section 6.2).
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The host, with its port unless it is the scheme's own.
    pub fn authority(&self) -> &str {
        self.origin.split_once("://").map_or(&self.origin, |(_, authority)| authority)
    }

    /// The path; empty for none, or for a slash alone.
    pub fn path(&self) -> &str {
        let path = self.text.get(self.origin.len()..).unwrap_or_default();
        if path == "/" { "" } else { path }
    }

    /// Where its metadata are: the well-known string stands between host and path (RFC 9728, section 3.1).
    pub fn metadata_url(&self) -> String {
        format!("{}{WELL_KNOWN}{}", self.origin, self.path())
    }

    /// The audiences that a token for it can have: the identifier, and where it has no path, the same with a slash or without,
    /// since clients take an URL apart and write it anew.
    pub fn audiences(&self) -> Vec<String> {
        match self.path() {
            "" => vec![self.text.clone(), format!("{}/", self.origin), self.origin.clone()],
            _ => vec![self.text.clone()],
        }
    }

    pub(super) fn from_fields(fields: &mut Fields) -> Result<Self, Error> {
        let text = fields.required_string("resource")?;
        Self::parse(&text).map_err(|problem| fields.error("resource", problem))
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let url = Url::parse(text).map_err(|_| "must be an absolute URL, such as https://mcp.example.com/mcp")?;
        let host = match (url.scheme(), url.host()) {
            ("http" | "https", Some(host)) => host,
            _ => return Err("must be an http or https URL with a host"),
        };
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a user's name or a password");
        }
        if text.contains(['?', '#']) {
            return Err("must have neither query nor fragment (RFC 8707, section 2)");
        }
        if url.scheme() == "http" && !is_loopback(&host) {
            return Err("must be an https URL (RFC 9728, section 1.2); http is for localhost only");
        }
        // What is written otherwise than a client would write it is another identifier to whoever compares octets.
        let canonical = url.as_str();
        let is_canonical = canonical == text || canonical.strip_suffix('/') == Some(text);
        if !is_canonical || !text.bytes().all(is_quotable) {
            return Err(
                "must be in canonical form: scheme and host in lower case, without the scheme's own port, dot segments, \
                        or characters that need an escape",
            );
        }
        // Its metadata are where every reader of a path finds them, or nowhere.
        if !Path::read(url.path().as_bytes()).is_normal() {
            return Err(
                "must have a path in normal form, such as /mcp: without `//`, `;`, and escapes of what needs none",
            );
        }
        let origin = url.origin().ascii_serialization();
        Ok(Self { text: text.to_owned(), origin })
    }
}

/// Where the metadata of protected resources are (RFC 9728, section 3).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Where those of authorization servers are (RFC 8414, section 3).
pub const AUTHORIZATION_SERVER: &str = "/.well-known/oauth-authorization-server";

/// The scope by which a client asks for a refresh token: no resource needs it (MCP, "Scope Selection Strategy").
pub const OFFLINE_ACCESS: &str = "offline_access";

/// Whether a host is this machine, so that what goes there does not travel (RFC 6761, section 6.3).
pub(super) fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => *name == "localhost" || name.ends_with(".localhost"),
        Host::Ipv4(address) => address.is_loopback(),
        Host::Ipv6(address) => address.is_loopback(),
    }
}
