//! The part of the configuration that says which claims are written where.

use super::fields::Fields;
use super::{Error, is_token_byte, regex};
use crate::http::names::{HANDOFF_PREFIX, Placement, same_spelling};
use crate::jose::claims::Lookup;
use crate::json::Value;
use regex_lite::Regex;
use std::rc::Rc;

/// An object of claims to write.
#[derive(Debug)]
pub struct UserInfoOutput {
    /// Where it is written.
    pub placement: Placement,
    /// The name of the header, cookie, parameter or metadata key.
    pub key: Rc<str>,
    /// The names of the claims; empty for all.
    pub claims: Vec<String>,
    /// How the object becomes text.
    pub encoding: Encoding,
    /// The namespace of metadata; `None` for the filter's own name.
    pub metadata_namespace: Option<String>,
    /// Attributes of the cookie.
    pub cookie_options: CookieOptions,
}

/// How an object of claims becomes text.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Encoding {
    /// Percent-encoded compact JSON.
    Uri,
    /// base64url without padding (RFC 4648, section 5).
    Base64Url,
    /// Compact JSON, in ASCII.
    Json,
}

/// Attributes of a cookie (RFC 6265, section 4.1.2).
#[derive(Debug)]
pub struct CookieOptions {
    /// `Path`.
    pub path: String,
    /// `HttpOnly`.
    pub http_only: bool,
    /// `Secure`.
    pub secure: bool,
    /// `SameSite`.
    pub same_site: SameSite,
    /// `Domain`.
    pub domain: Option<String>,
    /// `Max-Age` in seconds; zero or less deletes the cookie, `None` makes it end with the browser's session.
    pub max_age: Option<i64>,
}

/// `SameSite` (RFC 6265bis, section 5.6.7).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SameSite {
    /// Sent when the user comes from another site by a link.
    Lax,
    /// Never sent from another site.
    Strict,
    /// Always sent; browsers demand `Secure` with it.
    None,
}

/// One claim to write to one header.
#[derive(Debug)]
pub struct ClaimHeader {
    /// The header, in lower case.
    pub header: Rc<str>,
    /// Where the value comes from.
    pub source: ClaimSource,
    /// Written before the value.
    pub prefix: String,
    /// The first that matches rewrites the value.
    pub transformers: Vec<Transformer>,
    /// Between the elements of a list.
    pub separator: String,
    /// A string is text by nature: it is written as it is, separators and all.
    pub text: bool,
    /// A token without the claim is not enough.
    pub required: bool,
    /// What is written if the token lacks the claim.
    pub default: Option<String>,
}

/// Where the value of a header comes from.
#[derive(Debug, Eq, PartialEq)]
pub enum ClaimSource {
    /// From the token; the first that it has counts.
    Claims(Vec<Lookup>),
    /// From what the filter knows beside.
    Attribute(Attribute),
}

/// What the filter knows about a valid token beside its claims.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Attribute {
    /// Where it was: `header`, `cookie`, `query_string`, `metadata` or `websocket_protocol`.
    Location,
    /// The name of its provider.
    Provider,
}

/// A rewriting of a value.
#[derive(Debug)]
pub struct Transformer {
    /// What is replaced, wherever it occurs.
    pub matches: Regex,
    /// By what; `$1` is the first group.
    pub replaces: String,
}

impl Placement {
    /// By its name, or by the number that protobuf gives it.
    pub(super) fn read(written: &Value) -> Option<Self> {
        match written {
            Value::String(name) => match name.as_str() {
                "header" => Some(Self::Header),
                "cookie" => Some(Self::Cookie),
                "query_string" | "queryString" => Some(Self::QueryString),
                "metadata" => Some(Self::Metadata),
                _ => None,
            },
            Value::Number(number) => match number.as_f64() {
                Some(0.0) => Some(Self::Header),
                Some(1.0) => Some(Self::Cookie),
                Some(2.0) => Some(Self::QueryString),
                Some(3.0) => Some(Self::Metadata),
                _ => None,
            },
            _ => None,
        }
    }
}

impl UserInfoOutput {
    pub(super) fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&["location", "key", "metadata_namespace", "encoding", "cookie_options", "claims"])?;
        let placement = placement(&mut fields)?.unwrap_or(Placement::Header);
        let key = fields.required_string("key")?;
        let key = match placement {
            Placement::Header => output_header(&fields, "key", &key)?,
            Placement::Cookie if !key.bytes().all(is_token_byte) => {
                return Err(fields.error("key", "is no cookie name (RFC 6265, section 4.1.1)"));
            }
            Placement::Metadata if !key.bytes().all(is_token_byte) => {
                return Err(fields.error(
                    "key",
                    "is part of a header's name on its way into metadata: use letters, digits, - and _",
                ));
            }
            Placement::Cookie | Placement::QueryString | Placement::Metadata => Rc::from(key),
        };
        let namespace = fields.string("metadata_namespace")?;
        if namespace.is_some() && placement != Placement::Metadata {
            return Err(fields.error("metadata_namespace", "only for the location metadata"));
        }
        if namespace.as_deref() == Some("") {
            return Err(fields.error("metadata_namespace", "must not be empty; leave it out for the filter's name"));
        }
        if placement == Placement::Metadata && key.rsplit('.').next().is_some_and(|last| MARKS.contains(&last)) {
            return Err(fields.error("key", "is where filters tell their decisions, in filter state; choose another"));
        }
        let encoding = encoding(&mut fields, placement)?;
        let cookie_options = match fields.object("cookie_options")? {
            Some(_) if placement != Placement::Cookie => {
                return Err(fields.error("cookie_options", "only for the location cookie"));
            }
            Some(options) => CookieOptions::from_fields(options)?,
            None => CookieOptions::standard(),
        };
        let claims = claim_names(&mut fields)?;
        fields.finish()?;
        Ok(Self { placement, key, claims, encoding, metadata_namespace: namespace, cookie_options })
    }

    /// The header that hands this object over to Envoy's `header_to_metadata` filter.
    pub fn handoff_header(&self) -> String {
        format!("{HANDOFF_PREFIX}{}", self.key.to_ascii_lowercase())
    }

    /// The key under which this object stands in filter state. `filter_name` is the default namespace.
    pub fn filter_state_key(&self, filter_name: &str) -> String {
        format!("{}.{}", self.metadata_namespace.as_deref().unwrap_or(filter_name), self.key)
    }
}

impl ClaimHeader {
    pub(super) fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&CLAIM_HEADER_FIELDS)?;
        let header = fields.required_string("header")?;
        let header = output_header(&fields, "header", &header)?;
        let lookups = Lookup::list(&mut fields)?;
        let source = match (fields.string("attribute")?.as_deref(), lookups.is_empty()) {
            (None, false) => ClaimSource::Claims(lookups),
            (Some("location"), true) => ClaimSource::Attribute(Attribute::Location),
            (Some("provider"), true) => ClaimSource::Attribute(Attribute::Provider),
            (Some(_), false) => return Err(fields.error("attribute", "not beside a claim")),
            (Some(_), true) => return Err(fields.error("attribute", "expected location or provider")),
            (None, true) => {
                return Err(fields.error("claim", "required: the name of a claim, or `path` for a nested one"));
            }
        };
        let prefix = fields.string("prefix")?.unwrap_or_default();
        let separator = fields.string("separator")?.unwrap_or_else(|| ",".to_owned());
        let separates = separator.bytes().all(|byte| byte == b' ' || byte.is_ascii_punctuation() && byte != b'%');
        if separator.is_empty() || !separates {
            return Err(fields.error("separator", "must be made of ASCII punctuation or spaces, without %"));
        }
        let text = fields.boolean("text")?.unwrap_or(false);
        if !prefix.bytes().all(is_visible_or_space) || prefix.starts_with(' ') {
            return Err(fields.error("prefix", "must be printable ASCII and not begin with a space"));
        }
        let transformers = fields.objects("transformers", Transformer::from_fields)?.unwrap_or_default();
        let required = fields.boolean("required")?.unwrap_or(false);
        let default = fields.string("default")?;
        if required && default.is_some() {
            return Err(fields.error("default", "not beside `required`"));
        }
        if !default.iter().all(|default| default.bytes().all(is_visible_or_space)) {
            return Err(fields.error("default", "must be printable ASCII"));
        }
        fields.finish()?;
        Ok(Self { header, source, prefix, transformers, separator, text, required, default })
    }
}

impl Transformer {
    pub(super) fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&["matches", "replaces"])?;
        let pattern = fields.required_string("matches")?;
        let matches = regex(&fields, "matches", Regex::new(&pattern))?;
        let replaces = fields.string("replaces")?;
        let replaces = replaces.ok_or_else(|| fields.error("replaces", "required; may be empty"))?;
        fields.finish()?;
        Ok(Self { matches, replaces })
    }
}

/// `claims`, none of them without a name.
fn claim_names(fields: &mut Fields) -> Result<Vec<String>, Error> {
    let names = fields.strings("claims")?.unwrap_or_default();
    if names.iter().any(String::is_empty) {
        Err(fields.error("claims", "must not hold an empty string"))
    } else {
        Ok(names)
    }
}

impl Lookup {
    /// `claim` or `path`, and then `claims`.
    pub(super) fn list(fields: &mut Fields) -> Result<Vec<Self>, Error> {
        let mut lookups: Vec<Self> = Self::from_fields(fields)?.into_iter().collect();
        lookups.extend(claim_names(fields)?.into_iter().map(Self::Claim));
        Ok(lookups)
    }

    /// `claim`, or `path` as a list of names or as names with dots between them.
    pub(super) fn from_fields(fields: &mut Fields) -> Result<Option<Self>, Error> {
        let claim = fields.string("claim")?;
        if claim.as_deref() == Some("") {
            return Err(fields.error("claim", "must not be empty"));
        }
        let path = if fields.is_string("path") {
            fields.string("path")?.map(|dotted| dotted.split('.').map(str::to_owned).collect::<Vec<_>>())
        } else {
            fields.strings("path")?
        };
        match (claim, path) {
            (Some(_), Some(_)) => Err(fields.error("path", "not beside `claim`")),
            (_, Some(path)) if path.is_empty() || path.iter().any(String::is_empty) => {
                Err(fields.error("path", r#"expected "realm_access.roles" or ["realm_access","roles"]"#))
            }
            (claim, path) => Ok(claim.map(Self::Claim).or(path.map(Self::Path))),
        }
    }
}

impl CookieOptions {
    fn standard() -> Self {
        Self {
            path: "/".to_owned(),
            http_only: true,
            secure: true,
            same_site: SameSite::Lax,
            domain: None,
            max_age: None,
        }
    }

    fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        fields.allow_only(&["max_age", "path", "http_only", "secure", "same_site", "domain"])?;
        let standard = Self::standard();
        // Empty strings are greymatter's way of leaving these out.
        let max_age = match fields.signed_duration_or_empty("max_age")? {
            None => None,
            Some((true, _)) => Some(-1),
            Some((false, age)) => Some(age.as_secs_f64().round() as i64),
        };
        let options = Self {
            path: attribute(&mut fields, "path")?.filter(|path| !path.is_empty()).unwrap_or(standard.path),
            http_only: fields.boolean("http_only")?.unwrap_or(standard.http_only),
            secure: fields.boolean("secure")?.unwrap_or(standard.secure),
            same_site: same_site(&mut fields)?.unwrap_or(standard.same_site),
            domain: attribute(&mut fields, "domain")?.filter(|domain| !domain.is_empty()),
            max_age,
        };
        if options.same_site == SameSite::None && !options.secure {
            return Err(fields.error("same_site", "browsers drop a cookie with SameSite=None that is not Secure"));
        }
        fields.finish()?;
        Ok(options)
    }
}

/// Where something stands.
fn placement(fields: &mut Fields) -> Result<Option<Placement>, Error> {
    let Some(written) = fields.take("location") else { return Ok(None) };
    let problem = "expected header, cookie, query_string or metadata";
    Placement::read(&written).map(Some).ok_or_else(|| fields.error("location", problem))
}

/// A header's name in lower case.
pub(super) fn header_name(fields: &Fields, field: &str, name: &str) -> Result<Rc<str>, Error> {
    if !name.is_empty() && name.bytes().all(is_token_byte) {
        Ok(Rc::from(name.to_ascii_lowercase()))
    } else {
        Err(fields.error(field, "is no header name (RFC 9110, section 5.1)"))
    }
}

/// A header that claims may be written to: one that doesn't steer the message or Envoy itself.
pub(super) fn output_header(fields: &Fields, field: &str, name: &str) -> Result<Rc<str>, Error> {
    let name = header_name(fields, field, name)?;
    let steers = STEERING_HEADERS.iter().any(|steering| same_spelling(steering.as_bytes(), name.as_bytes()));
    if steers || name.starts_with("x-envoy-") || name.starts_with(HANDOFF_PREFIX) {
        Err(fields.error(field, "is a header that steers the message or Envoy itself; choose another"))
    } else {
        Ok(name)
    }
}

/// `header` and `scheme`: where a token of our own is written, and what stands before it.
pub(super) fn header_with_scheme(fields: &mut Fields, standard: &str) -> Result<(Rc<str>, Option<String>), Error> {
    let written = fields.string("header")?.unwrap_or_else(|| standard.to_owned());
    let is_authorization = written.eq_ignore_ascii_case("authorization");
    let header = if is_authorization {
        header_name(fields, "header", &written)?
    } else {
        output_header(fields, "header", &written)?
    };
    let scheme = fields.string("scheme")?.or_else(|| is_authorization.then(|| "Bearer".to_owned()));
    if scheme.as_ref().is_none_or(|scheme| !scheme.is_empty() && scheme.bytes().all(is_token_byte)) {
        Ok((header, scheme))
    } else {
        Err(fields.error("scheme", "is no authentication scheme (RFC 9110, section 11.1)"))
    }
}

fn encoding(fields: &mut Fields, placement: Placement) -> Result<Encoding, Error> {
    let encoding = match fields.string("encoding")?.as_deref() {
        None | Some("uri") => Encoding::Uri,
        Some("base64url") => Encoding::Base64Url,
        Some("json") => Encoding::Json,
        Some(_) => return Err(fields.error("encoding", "expected uri, base64url or json")),
    };
    match (encoding, placement) {
        (Encoding::Json, Placement::Cookie | Placement::QueryString) => {
            Err(fields
                .error("encoding", "plain JSON stands only in a header: a cookie or a query can't hold its quotes"))
        }
        _ => Ok(encoding),
    }
}

fn same_site(fields: &mut Fields) -> Result<Option<SameSite>, Error> {
    let Some(name) = fields.string("same_site")? else { return Ok(None) };
    match name.to_ascii_lowercase().as_str() {
        "lax" => Ok(Some(SameSite::Lax)),
        "strict" => Ok(Some(SameSite::Strict)),
        "none" => Ok(Some(SameSite::None)),
        _ => Err(fields.error("same_site", "expected Lax, Strict or None")),
    }
}

/// A cookie attribute's value (RFC 6265, section 4.1.1): no control character, no `;`.
fn attribute(fields: &mut Fields, field: &'static str) -> Result<Option<String>, Error> {
    let value = fields.string(field)?;
    if value.as_ref().is_none_or(|value| value.bytes().all(|byte| byte != b';' && is_visible_or_space(byte))) {
        Ok(value)
    } else {
        Err(fields.error(field, "must be printable ASCII without a semicolon"))
    }
}

pub(super) fn is_visible_or_space(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e)
}

const CLAIM_HEADER_FIELDS: [&str; 11] = [
    "header",
    "claim",
    "path",
    "claims",
    "attribute",
    "prefix",
    "separator",
    "text",
    "transformers",
    "required",
    "default",
];

/// What filter state `wasm.<a filter's name>.` ends with, where filters tell their decisions, and auditors of them. Any namespace
/// may be the name of one, and a name may hold dots.
const MARKS: [&str; 6] = ["result", "reason", "route", "shadow_result", "shadow_reason", "mcp"];

/// Headers that frame or route the message (RFC 9110, sections 7.6 and 10.1; RFC 9112, section 6), carry credentials,
/// or are believed by proxies.
const STEERING_HEADERS: [&str; 20] = [
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
];
