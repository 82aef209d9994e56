//! The part of the configuration that says who is asked whether a valid token is enough.

use super::clusters::{endpoint, parse_url};
use super::fields::Fields;
use super::{Error, lookups, timeout};
use crate::http::Endpoint;
use crate::jose::claims::Lookup;
use std::time::Duration;

/// A service that decides by verified claims and the request line.
#[derive(Debug)]
pub struct ExternalAuthorization {
    /// Where it is.
    pub endpoint: Endpoint,
    /// When the call is given up.
    pub timeout: Duration,
    /// How long a decision about one token and one request line is believed.
    pub cache: Duration,
    /// The user's name; the first that the token has counts.
    pub user: Vec<Lookup>,
    /// The user's groups.
    pub groups: Vec<Lookup>,
}

impl ExternalAuthorization {
    pub(super) fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&["uri", "cluster", "timeout", "cache", "user", "groups"])?;
        let uri = fields.required_string("uri")?;
        let url = parse_url(&uri).ok_or_else(|| fields.error("uri", "must be an absolute http or https URL"))?;
        let cluster = fields.string("cluster")?.unwrap_or_else(|| url.host_str().unwrap_or_default().to_owned());
        if cluster.is_empty() {
            return Err(fields.error("cluster", "must not be empty"));
        }
        let timeout = timeout(&mut fields)?.unwrap_or(Duration::from_secs(5));
        let cache = fields.duration("cache")?.unwrap_or_default();
        let authorization = Self {
            endpoint: endpoint(&url, &cluster),
            timeout,
            cache,
            user: lookups(&mut fields, "user")?.unwrap_or_else(|| vec![Lookup::Claim("sub".to_owned())]),
            groups: lookups(&mut fields, "groups")?.unwrap_or_else(|| vec![Lookup::Claim("groups".to_owned())]),
        };
        fields.finish()?;
        Ok(authorization)
    }
}
