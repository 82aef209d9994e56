//! The part of the configuration that says for which token of a service the client's is exchanged: `token_exchange` (RFC 8693).

use super::client::ClientAuthentication;
use super::clusters::own_endpoint;
use super::fields::Fields;
use super::output::header_with_scheme;
use super::provider::ProviderConfig;
use super::provider_names::{named, no_provider};
use super::requirement::is_scope;
use super::{DEFAULT_TIMEOUT, Error, timeout};
use crate::http::Endpoint;
use std::rc::Rc;
use std::time::Duration;

/// A token that the provider makes for the service behind.
#[derive(Debug)]
pub struct TokenExchange {
    /// The provider that makes it, by its number; `None` for the token's own.
    pub provider: Option<usize>,
    /// The token endpoint; `None` for the one that the provider's metadata name.
    pub endpoint: Option<Endpoint>,
    /// When the call is given up.
    pub timeout: Duration,
    /// Who we are.
    pub client: Option<ClientAuthentication>,
    /// `audience`.
    pub audience: Vec<String>,
    /// `resource`.
    pub resource: Vec<String>,
    /// `scope`, separated by spaces.
    pub scope: Option<String>,
    /// `requested_token_type`.
    pub requested_token_type: Option<String>,
    /// Where it is written.
    pub header: Rc<str>,
    /// Written before it, with a space.
    pub scheme: Option<String>,
    /// The longest time that one is kept.
    pub cache: Duration,
}

impl TokenExchange {
    pub(super) fn from_fields(mut fields: Fields, providers: &[ProviderConfig]) -> Result<Self, Error> {
        fields.allow_only(&FIELDS)?;
        let provider = match fields.string("provider")? {
            None => None,
            Some(name) => {
                let group = named(providers, &name);
                let group = group.ok_or_else(|| fields.error("provider", no_provider(providers)))?;
                match group.len() {
                    1 => Some(group.start),
                    _ => return Err(fields.error("provider", "has tenants: which of them is meant can't be said here")),
                }
            }
        };
        let endpoint = match fields.string("endpoint")? {
            None if fields.has("cluster") => return Err(fields.error("cluster", "only with `endpoint`")),
            None => None,
            Some(url) => Some(own_endpoint(&mut fields, "endpoint", &url)?),
        };
        let client = ClientAuthentication::from_fields(&mut fields)?;
        let audience = fields.strings("audience")?.unwrap_or_default();
        let resource = fields.strings("resource")?.unwrap_or_default();
        if resource.iter().any(|resource| url::Url::parse(resource).is_err() || resource.contains('#')) {
            return Err(fields.error("resource", "must be absolute URIs without a fragment (RFC 8693, section 2.1)"));
        }
        if audience.is_empty() && resource.is_empty() {
            return Err(fields.error("audience", "required, or `resource`: the service that the token is for"));
        }
        if audience.iter().chain(&resource).any(String::is_empty)
            || audience.len().saturating_add(resource.len()) > MAX_TARGETS
        {
            return Err(fields.error("audience", "must be 1 to 8 values with those of `resource`, none of them empty"));
        }
        let scopes = fields.strings("scopes")?;
        // RFC 6749, section 3.3.
        if !scopes.iter().flatten().all(|scope| is_scope(scope)) {
            return Err(fields.error("scopes", "must be scopes, one in each string (RFC 6749, section 3.3)"));
        }
        let (header, scheme) = header_with_scheme(&mut fields, "authorization")?;
        let requested_token_type = fields.string("requested_token_type")?;
        if !requested_token_type.iter().all(|kind| TOKEN_TYPES.contains(&kind.as_str())) {
            return Err(
                fields.error("requested_token_type", "expected urn:ietf:params:oauth:token-type:access_token or …:jwt")
            );
        }
        let exchange = Self {
            provider,
            endpoint,
            timeout: timeout(&mut fields)?.unwrap_or(DEFAULT_TIMEOUT),
            client,
            audience,
            resource,
            scope: scopes.filter(|scopes| !scopes.is_empty()).map(|scopes| scopes.join(" ")),
            requested_token_type,
            header,
            scheme,
            cache: fields.duration("cache")?.unwrap_or(DEFAULT_CACHE),
        };
        fields.finish()?;
        Ok(exchange)
    }
}

const FIELDS: [&str; 16] = [
    "provider",
    "endpoint",
    "cluster",
    "timeout",
    "client_auth",
    "client_id",
    "client_secret",
    "client_key",
    "client_key_id",
    "audience",
    "resource",
    "scopes",
    "requested_token_type",
    "header",
    "scheme",
    "cache",
];

/// RFC 8693, section 3: what a service can be handed in a header.
const TOKEN_TYPES: [&str; 2] =
    ["urn:ietf:params:oauth:token-type:access_token", "urn:ietf:params:oauth:token-type:jwt"];

const MAX_TARGETS: usize = 8;
const DEFAULT_CACHE: Duration = Duration::from_secs(300);
