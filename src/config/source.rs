//! The part of the configuration that says where tokens are looked for.

use super::fields::Fields;
use super::output;
use super::provider::ProviderConfig;
use super::provider_names;
use super::{Error, is_token_byte};
use crate::http::names::Placement;
use crate::http::websocket;
use std::ops::Range;
use std::rc::Rc;

/// A place where a token may be.
#[derive(Debug, Eq, PartialEq)]
pub struct TokenSource {
    /// Its number in `access_token`.
    pub index: usize,
    /// The place.
    pub location: TokenLocation,
    /// The providers (their indices) that every token from here belongs to: one, or one for each of its tenants.
    pub providers: Option<Range<usize>>,
}

/// Where a token may be.
#[derive(Debug, Eq, PartialEq)]
pub enum TokenLocation {
    /// A request header.
    Header {
        /// In lower case.
        name: Rc<str>,
        /// The authentication scheme before the token (RFC 9110, section 11.1).
        scheme: Option<String>,
    },
    /// A cookie.
    Cookie {
        /// To the letter.
        name: String,
    },
    /// A parameter of the query.
    Query {
        /// Decoded, to the letter.
        name: String,
    },
    /// A string in Envoy's dynamic metadata.
    Metadata {
        /// The filter that wrote it.
        namespace: String,
        /// The key in its namespace.
        key: String,
    },
    /// A protocol that a WebSocket handshake offers.
    WebSocketProtocol {
        /// The protocol before the token.
        marker: String,
    },
}

impl TokenLocation {
    /// The word for it, as in the configuration.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Header { .. } => "header",
            Self::Cookie { .. } => "cookie",
            Self::Query { .. } => "query_string",
            Self::Metadata { .. } => "metadata",
            Self::WebSocketProtocol { .. } => "websocket_protocol",
        }
    }

    /// Where in a request it is, under which name; `None` if it is not in the request.
    pub fn in_request(&self) -> Option<(Placement, &str)> {
        match self {
            Self::Header { name, .. } => Some((Placement::Header, name)),
            Self::Cookie { name } => Some((Placement::Cookie, name)),
            Self::Query { name } => Some((Placement::QueryString, name)),
            Self::WebSocketProtocol { .. } => Some((Placement::Header, websocket::HEADER)),
            Self::Metadata { .. } => None,
        }
    }
}

impl TokenSource {
    /// `Authorization: Bearer`.
    fn standard() -> Self {
        let location = TokenLocation::Header { name: Rc::from("authorization"), scheme: Some("Bearer".to_owned()) };
        Self { index: 0, location, providers: None }
    }

    pub(super) fn list(top: &mut Fields, providers: &[ProviderConfig]) -> Result<Vec<Rc<Self>>, Error> {
        let sources = top.objects("access_token", |fields| Self::from_fields(fields, providers))?;
        let sources = sources.unwrap_or_else(|| vec![Self::standard()]);
        if sources.is_empty() {
            return Err(top.error("access_token", "must not be empty; leave it out for `Authorization: Bearer`"));
        }
        for (index, source) in sources.iter().enumerate() {
            if let Some(earlier) = sources.iter().take(index).position(|earlier| earlier.is_at(source)) {
                let problem = format!("is the same place as access_token[{earlier}]");
                return Err(Error::at(&format!("access_token[{index}]"), problem));
            }
        }
        Ok(sources.into_iter().enumerate().map(|(index, source)| Rc::new(Self { index, ..source })).collect())
    }

    fn from_fields(mut fields: Fields, providers: &[ProviderConfig]) -> Result<Self, Error> {
        fields.allow_only(&["location", "key", "scheme", "metadata_filter", "provider"])?;
        if let Some(source) = Self::websocket_protocol(&mut fields, providers)? {
            fields.finish()?;
            return Ok(source);
        }
        let placement = match fields.take("location") {
            None => Placement::Header,
            Some(written) => Placement::read(&written).ok_or_else(|| {
                fields.error("location", "expected header, cookie, query_string, metadata or websocket_protocol")
            })?,
        };
        let key = fields.string("key")?;
        let scheme = fields.string("scheme")?;
        let namespace = fields.string("metadata_filter")?;
        if scheme.is_some() && placement != Placement::Header {
            return Err(fields.error("scheme", "only a header has an authentication scheme"));
        }
        if namespace.is_some() && placement != Placement::Metadata {
            return Err(fields.error("metadata_filter", "only for the location metadata"));
        }
        let key = match (key, placement) {
            (Some(key), _) if key.is_empty() => return Err(fields.error("key", "must not be empty")),
            (Some(key), _) => key,
            (None, Placement::Header) => "authorization".to_owned(),
            (None, _) => return Err(fields.error("key", "required: the name of the cookie, parameter or metadata key")),
        };
        let location = match placement {
            Placement::Header => {
                let name = output::header_name(&fields, "key", &key)?;
                let scheme = match scheme {
                    Some(scheme) if !scheme.bytes().all(is_token_byte) => {
                        return Err(
                            fields.error("scheme", "must be a token (RFC 9110, section 11.1), or empty for none")
                        );
                    }
                    Some(scheme) => Some(scheme).filter(|scheme| !scheme.is_empty()),
                    None => (&*name == "authorization").then(|| "Bearer".to_owned()),
                };
                TokenLocation::Header { name, scheme }
            }
            Placement::Cookie if !key.bytes().all(is_token_byte) => {
                return Err(fields.error("key", "is no cookie name (RFC 6265, section 4.1.1)"));
            }
            Placement::Cookie => TokenLocation::Cookie { name: key },
            Placement::QueryString => TokenLocation::Query { name: key },
            Placement::Metadata => {
                let namespace = namespace.filter(|namespace| !namespace.is_empty());
                let namespace = namespace.ok_or_else(|| {
                    fields
                        .error("metadata_filter", "required for metadata: the namespace that an earlier filter writes")
                })?;
                TokenLocation::Metadata { namespace, key }
            }
        };
        let providers = Self::of_provider(&mut fields, providers)?;
        fields.finish()?;
        Ok(Self { index: 0, location, providers })
    }

    /// The place that is no placement of an output; `None` if it is another.
    fn websocket_protocol(fields: &mut Fields, providers: &[ProviderConfig]) -> Result<Option<Self>, Error> {
        if !fields.is_one_of("location", &["websocket_protocol", "websocketProtocol"]) {
            return Ok(None);
        }
        fields.take("location");
        for field in ["scheme", "metadata_filter"] {
            if fields.has(field) {
                return Err(fields.error(field, "not for the location websocket_protocol"));
            }
        }
        let marker = fields.string("key")?.unwrap_or_else(|| "bearer".to_owned());
        if marker.is_empty() || !marker.bytes().all(is_token_byte) {
            return Err(fields.error("key", "is no name of a protocol (RFC 6455, section 4.1)"));
        }
        let location = TokenLocation::WebSocketProtocol { marker };
        Ok(Some(Self { index: 0, location, providers: Self::of_provider(fields, providers)? }))
    }

    fn of_provider(fields: &mut Fields, providers: &[ProviderConfig]) -> Result<Option<Range<usize>>, Error> {
        let Some(name) = fields.string("provider")? else { return Ok(None) };
        let group = provider_names::named(providers, &name);
        group.map(Some).ok_or_else(|| fields.error("provider", provider_names::no_provider(providers)))
    }

    /// Whether two places are read from the same text. One marker more would make two tokens of Kubernetes' form.
    fn is_at(&self, other: &Self) -> bool {
        use TokenLocation::WebSocketProtocol;
        match (&self.location, &other.location) {
            (WebSocketProtocol { .. }, WebSocketProtocol { .. }) => true,
            (one, other) => one == other,
        }
    }
}
