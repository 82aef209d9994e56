//! What the operator writes, turned into checked values or into an error that names the field.
//!
//! Reading is a pure function of the bytes and of the VM's environment variables, so that every worker comes to the
//! same result: a configuration that one worker refused and another took would be a filter that Envoy leaves out.

mod clusters;
mod fields;
mod output;
mod provider;

pub use clusters::{Clusters, UnreachableUrl};
pub use fields::Environment;
pub use output::{ClaimHeader, CookieOptions, Encoding, Lookup, Placement, SameSite, Transformer, UserInfo};
pub use provider::{
    ClientAuthentication, ClientAuthenticationMethod, Endpoints, Introspection, Jwks, Provider, Secret, Userinfo,
    Validation,
};

use crate::{json, protobuf};
use fields::Fields;
use regex_lite::Regex;
use std::fmt;
use std::rc::Rc;

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// Who may issue tokens; never empty.
    pub providers: Vec<Rc<Provider>>,
    /// Where tokens are looked for; never empty.
    pub sources: Vec<Source>,
    /// What every request must fulfil.
    pub policy: Policy,
    /// What a refusal's body looks like.
    pub response_body: ResponseBody,
    /// The `realm` of the challenges (RFC 9110, section 11.5).
    pub realm: String,
    /// What is allowed but deserves a line in the log.
    pub warnings: Vec<String>,
}

/// What a request must fulfil, and what is done to it.
#[derive(Debug)]
pub struct Policy {
    /// Refuse what is invalid; otherwise strip it and continue.
    pub enforce: bool,
    /// With `enforce`: a request without any token passes.
    pub allow_missing: bool,
    /// A true CORS preflight passes.
    pub allow_preflight: bool,
    /// One status for a missing, malformed or invalid token.
    pub enforce_response_code: Option<u16>,
    /// A valid token stays on the request.
    pub forward: bool,
    /// What a valid token must have.
    pub require: Requirement,
    /// Objects of claims to write.
    pub user_info: Vec<UserInfo>,
    /// Single claims to write.
    pub claim_headers: Vec<ClaimHeader>,
}

/// What a valid token must also have.
#[derive(Debug, Default)]
pub struct Requirement {
    /// Each of these scopes.
    pub scopes: Vec<String>,
    /// At least one of these scopes, unless empty.
    pub scopes_any: Vec<String>,
    /// Each of these claims.
    pub claims: Vec<ClaimRequirement>,
    /// At least one of these in the claim `groups`, unless empty; `*` stands for any, or none.
    pub groups_allowlist: Vec<String>,
}

/// What one claim must hold. A list fulfils `any_of` if one of its elements does.
#[derive(Debug)]
pub struct ClaimRequirement {
    /// The claim.
    pub claim: Lookup,
    /// One of these.
    pub any_of: Vec<String>,
    /// All of these.
    pub all_of: Vec<String>,
    /// None of these.
    pub none_of: Vec<String>,
    /// A value that matches as a whole.
    pub matches: Option<Regex>,
}

/// A place where a token may be.
#[derive(Debug)]
pub struct Source {
    /// The place.
    pub location: SourceLocation,
    /// The provider (its index) that every token from here belongs to.
    pub provider: Option<usize>,
}

/// Where a token may be.
#[derive(Debug, Eq, PartialEq)]
pub enum SourceLocation {
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
}

/// The form of a refusal's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseBody {
    /// `{"error","error_description"}`, the members of RFC 6749, section 5.2.
    Json,
    /// RFC 9457.
    Problem,
    /// JSON-RPC 2.0, section 5.1.
    JsonRpc,
    /// One line.
    Text,
    /// Nothing.
    None,
}

/// Why a configuration is refused: the path of a field and what is wrong with it. Never holds a field's value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error {
    path: String,
    problem: String,
}

impl Error {
    fn at(path: &str, problem: impl Into<String>) -> Self {
        Self { path: path.to_owned(), problem: problem.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.is_empty() {
            true => write!(f, "{}", self.problem),
            false => write!(f, "{}: {}", self.path, self.problem),
        }
    }
}

impl std::error::Error for Error {}

impl Config {
    /// Reads JSON text, or a serialised `google.protobuf.Struct`.
    pub fn read(bytes: &[u8], environment: &dyn Environment) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(Error::at("", "the configuration is empty; it needs `providers`, or `provider`"));
        }
        // No text is both: a JSON object's brace can't begin a protobuf message.
        let top = json::parse_object(bytes).or_else(|error| {
            let problem = || Error::at("", format!("neither a JSON object nor a google.protobuf.Struct: {error}"));
            protobuf::read_struct(bytes).ok_or_else(problem)
        })?;
        Self::from_fields(Fields::of(json::Value::Object(top), "", environment)?)
    }

    fn from_fields(mut top: Fields) -> Result<Self, Error> {
        let mut warnings = Vec::new();
        let compact = top.has("provider");
        if compact && top.has("providers") {
            return Err(top.error("provider", "not beside `providers`: it stands for one provider"));
        }
        let providers = match compact {
            true => vec![Provider::compact(&mut top)?],
            false => Provider::list(&mut top)?,
        };
        provider::check_names(&providers)?;
        for provider in &providers {
            warnings.extend(provider.warnings());
        }
        let sources = Source::list(&mut top, &providers)?;
        let policy = Policy::from_fields(&mut top, compact)?;
        let response_body = response_body(&mut top)?;
        let realm = top.string("realm")?.unwrap_or_else(|| "oidc".to_owned());
        if !realm.bytes().all(is_quotable) {
            return Err(
                top.error("realm", "must be printable ASCII without quotes and backslashes (RFC 6750, section 3)")
            );
        }
        output::check_collisions(&policy, &sources)?;
        top.finish()?;
        let providers = providers.into_iter().map(Rc::new).collect();
        Ok(Self { providers, sources, policy, response_body, realm, warnings })
    }
}

impl Policy {
    fn from_fields(fields: &mut Fields, compact: bool) -> Result<Self, Error> {
        Ok(Self {
            enforce: fields.boolean("enforce")?.unwrap_or(!compact),
            allow_missing: fields.boolean("allow_missing")?.unwrap_or(false),
            allow_preflight: fields.boolean("allow_preflight")?.unwrap_or(false),
            enforce_response_code: status(fields)?.or(compact.then_some(403)),
            forward: fields.boolean("forward")?.unwrap_or(true),
            require: fields.object("require")?.map(Requirement::from_fields).transpose()?.unwrap_or_default(),
            user_info: fields.objects("user_info", UserInfo::from_fields)?.unwrap_or_default(),
            claim_headers: fields.objects("claim_headers", ClaimHeader::from_fields)?.unwrap_or_default(),
        })
    }
}

impl Requirement {
    fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        let requirement = Self {
            scopes: scopes(&mut fields, "scopes")?,
            scopes_any: scopes(&mut fields, "scopes_any")?,
            claims: claim_requirements(&mut fields)?,
            groups_allowlist: non_empty_list(&mut fields, "groups_allowlist")?,
        };
        fields.finish()?;
        Ok(requirement)
    }
}

impl ClaimRequirement {
    fn from_fields(mut fields: Fields) -> Result<Self, Error> {
        let claim = Lookup::from_fields(&mut fields)?
            .ok_or_else(|| fields.error("claim", "required: the name of a claim, or `path` for a nested one"))?;
        let matches = match fields.string("matches")? {
            Some(pattern) => {
                // By itself first: a parenthesis that closes ours would let go of the anchors.
                regex(&fields, "matches", &pattern)?;
                Some(regex(&fields, "matches", &format!("^(?:{pattern})$"))?)
            }
            None => None,
        };
        let requirement = Self {
            claim,
            any_of: non_empty_list(&mut fields, "any_of")?,
            all_of: non_empty_list(&mut fields, "all_of")?,
            none_of: non_empty_list(&mut fields, "none_of")?,
            matches,
        };
        fields.finish()?;
        Ok(requirement)
    }
}

impl Source {
    fn list(top: &mut Fields, providers: &[Provider]) -> Result<Vec<Self>, Error> {
        let sources = top.objects("access_token", |fields| Self::from_fields(fields, providers))?;
        let standard = || {
            let location =
                SourceLocation::Header { name: Rc::from("authorization"), scheme: Some("Bearer".to_owned()) };
            vec![Self { location, provider: None }]
        };
        let sources = sources.unwrap_or_else(standard);
        if sources.is_empty() {
            return Err(top.error("access_token", "must not be empty; leave it out for `Authorization: Bearer`"));
        }
        for (index, source) in sources.iter().enumerate() {
            if sources.iter().take(index).any(|earlier| earlier.location == source.location) {
                return Err(Error::at(&format!("access_token[{index}]"), "is the same place as an earlier one"));
            }
        }
        Ok(sources)
    }

    fn from_fields(mut fields: Fields, providers: &[Provider]) -> Result<Self, Error> {
        let placement = output::placement(&mut fields)?.unwrap_or(Placement::Header);
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
                let standard = || (&*name == "authorization").then(|| "Bearer".to_owned());
                let scheme = match scheme {
                    Some(scheme) if !scheme.bytes().all(is_token_byte) => {
                        return Err(
                            fields.error("scheme", "must be a token (RFC 9110, section 11.1), or empty for none")
                        );
                    }
                    Some(scheme) => Some(scheme).filter(|scheme| !scheme.is_empty()),
                    None => standard(),
                };
                SourceLocation::Header { name, scheme }
            }
            Placement::Cookie if !key.bytes().all(is_token_byte) => {
                return Err(fields.error("key", "is no cookie name (RFC 6265, section 4.1.1)"));
            }
            Placement::Cookie => SourceLocation::Cookie { name: key },
            Placement::QueryString => SourceLocation::Query { name: key },
            Placement::Metadata => {
                let namespace = namespace.filter(|namespace| !namespace.is_empty());
                let namespace = namespace.ok_or_else(|| {
                    fields
                        .error("metadata_filter", "required for metadata: the namespace that an earlier filter writes")
                })?;
                SourceLocation::Metadata { namespace, key }
            }
        };
        let provider = match fields.string("provider")? {
            None => None,
            Some(name) => {
                let index = providers.iter().position(|provider| provider.name == name);
                Some(index.ok_or_else(|| fields.error("provider", "names no provider of `providers`"))?)
            }
        };
        fields.finish()?;
        Ok(Self { location, provider })
    }
}

fn response_body(top: &mut Fields) -> Result<ResponseBody, Error> {
    match top.string("response_body")?.as_deref() {
        None | Some("json") => Ok(ResponseBody::Json),
        Some("problem") => Ok(ResponseBody::Problem),
        Some("jsonrpc") => Ok(ResponseBody::JsonRpc),
        Some("text") => Ok(ResponseBody::Text),
        Some("none") => Ok(ResponseBody::None),
        Some(_) => Err(top.error("response_body", "expected json, problem, jsonrpc, text or none")),
    }
}

/// A status that a refusal may have. A 2xx would tell the client, and every proxy that asks us, that all is well.
fn status(fields: &mut Fields) -> Result<Option<u16>, Error> {
    let Some(code) = fields.integer("enforce_response_code")? else { return Ok(None) };
    let status = u16::try_from(code).ok().filter(|status| (300..=599).contains(status));
    let problem = "must be a status from 300 to 599: a refusal must not look like success";
    status.map(Some).ok_or_else(|| fields.error("enforce_response_code", problem))
}

/// Scopes are written into challenges: RFC 6749, section 3.3, says of what they are made.
fn scopes(fields: &mut Fields, field: &'static str) -> Result<Vec<String>, Error> {
    let scopes = non_empty_list(fields, field)?;
    match scopes.iter().all(|scope| scope.bytes().all(|byte| byte != b' ' && is_quotable(byte))) {
        true => Ok(scopes),
        false => Err(fields.error(field, "a scope is printable ASCII without space, quote and backslash")),
    }
}

fn claim_requirements(fields: &mut Fields) -> Result<Vec<ClaimRequirement>, Error> {
    match fields.objects("claims", ClaimRequirement::from_fields)? {
        Some(list) if list.is_empty() => {
            Err(fields.error("claims", "must not be empty; leave it out to demand nothing"))
        }
        list => Ok(list.unwrap_or_default()),
    }
}

/// A list that, where it is given, has elements: an empty list of demands would demand nothing.
fn non_empty_list(fields: &mut Fields, field: &'static str) -> Result<Vec<String>, Error> {
    match fields.strings(field)? {
        None => Ok(Vec::new()),
        Some(list) if list.is_empty() || list.iter().any(String::is_empty) => {
            Err(fields.error(field, "must not be empty or hold an empty string; leave it out to demand nothing"))
        }
        Some(list) => Ok(list),
    }
}

fn regex(fields: &Fields, field: &str, pattern: &str) -> Result<Regex, Error> {
    Regex::new(pattern).map_err(|error| fields.error(field, format!("is no regular expression: {error}")))
}

/// RFC 6750, section 3: what `realm`, `scope` and `error_description` are made of.
fn is_quotable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}

/// RFC 9110, section 5.6.2.
fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}
