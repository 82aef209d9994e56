//! The part of the configuration that says who is asked whether a valid token is enough.

use super::clusters::own_endpoint;
use super::fields::Fields;
use super::{DEFAULT_TIMEOUT, Error, lookups, timeout};
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
        let endpoint = own_endpoint(&mut fields, "uri", &uri)?;
        let timeout = timeout(&mut fields)?.unwrap_or(DEFAULT_TIMEOUT);
        let cache = fields.duration("cache")?.unwrap_or_default();
        let authorization = Self {
            endpoint,
            timeout,
            cache,
            user: lookups(&mut fields, "user")?.unwrap_or_else(|| vec![Lookup::Claim("sub".to_owned())]),
            groups: lookups(&mut fields, "groups")?.unwrap_or_else(|| vec![Lookup::Claim("groups".to_owned())]),
        };
        fields.finish()?;
        Ok(authorization)
    }
}
