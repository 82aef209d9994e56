//! What the operator writes, turned into checked values or into an error that names the field.
//!
//! Reading is a pure function of the bytes and of the VM's environment variables, so that every worker comes to the
//! same result: a configuration that one worker refused and another took would be a filter that Envoy leaves out.

mod assertion;
mod audience;
mod authorization;
mod binding;
mod calls;
mod check;
mod claim_mapping;
mod client;
mod clusters;
mod cors;
mod coverage;
mod enrichment;
mod exchange;
mod failover;
mod fields;
mod introspection;
mod issuer;
mod keys;
mod mcp;
mod output;
mod policy;
mod provider;
mod provider_names;
mod publishing;
mod refusal_log;
mod removal;
mod requirement;
mod resource;
mod rule;
mod signing_keys;
mod source;
mod strictness;
mod userinfo;
mod verify;
mod warning;
mod warnings;

pub use assertion::{Assertion, AssertionClaim, AssertionSource, ClaimShape};
pub use authorization::ExternalAuthorization;
pub use binding::{BindingMode, CertificateBound, Dpop, DpopStore, NonceMode, WhenFull};
pub use client::{ClientAuthentication, ClientAuthenticationMethod, Secret};
pub use clusters::{Clusters, Endpoints, UnreachableUrl};
pub use cors::{Cors, OriginPattern};
pub use enrichment::{Enrichment, EnrichmentService, EnrichmentSource};
pub use exchange::TokenExchange;
pub use failover::Failover;
pub use fields::{Environment, FieldKind, path_of, snake_case};
pub use introspection::{ABOUT_THE_MOMENT, Activity, Introspection};
pub use keys::KeySource;
pub use mcp::{Mcp, NamePattern, Needed, OperationSource, Operations, Permission};
pub use output::{Attribute, ClaimHeader, ClaimSource, CookieOptions, Encoding, SameSite, Transformer, UserInfoOutput};
pub use policy::{Policy, ResponseBody};
pub use provider::{ProviderConfig, Validation, travels_in_the_open};
pub use publishing::{IssuerMetadata, Publishing};
pub use refusal_log::RefusalLog;
pub use removal::Removal;
pub use requirement::{ClaimRequirement, Requirement, ScopeImplications, StepUp};
pub use resource::{AUTHORIZATION_SERVER, OFFLINE_ACCESS, Resource, WELL_KNOWN};
pub use rule::{HeaderMatch, HeaderValue, PathMatch, PathPattern, Rule, RuleMatch};
pub use signing_keys::{AssertionKeys, PublishedKey};
pub use source::{TokenLocation, TokenSource};
pub use userinfo::Userinfo;
pub use verify::{VerifiedRequest, Verify};
pub use warning::{Warning, listed};

use crate::http::is_token_byte;
use crate::http::names::{Placement, ReservedNames};
use crate::jose::claims::Lookup;
use crate::jose::jws::MAX_TOKEN_BYTES;
use crate::jose::verifier::Verifier;
use crate::{json, protobuf};
use fields::Fields;
use regex_lite::Regex;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// Who may issue tokens; never empty.
    pub providers: Vec<Rc<ProviderConfig>>,
    /// Where tokens are looked for; never empty.
    pub sources: Vec<Rc<TokenSource>>,
    /// The longest token that is looked at, in bytes.
    pub max_token_size: usize,
    /// What a request must fulfil that no rule is for.
    pub policy: Rc<Policy>,
    /// Requests that are treated otherwise, in order.
    pub rules: Vec<Rule>,
    /// What never goes on, although the filter neither reads nor writes it.
    pub removal: Removal,
    /// What browsers are told of the filter's own answers.
    pub cors: Option<Cors>,
    /// Where other proxies ask about their requests.
    pub verify: Option<Verify>,
    /// How DPoP proofs are remembered, and what nonces are made with.
    pub dpop_store: DpopStore,
    /// Where services find what they check assertions by.
    pub publishing: Option<Publishing>,
    /// Whether the verdict about a request is told in filter state.
    pub marks: bool,
    /// How refusals are told in the log.
    pub refusal_log: RefusalLog,
    /// What is allowed but deserves a line in the log.
    pub warnings: Vec<Warning>,
}

/// Why a configuration is refused: the path of a field and what is wrong with it. Never holds a field's value.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Error(Box<Refused>);

/// What an [`Error`] says, in one place of its own: every function here may give one.
#[derive(Clone, Debug, Eq, PartialEq)]
struct Refused {
    path: String,
    problem: String,
}

impl Error {
    fn at(path: &str, problem: impl Into<String>) -> Self {
        Self(Box::new(Refused { path: path.to_owned(), problem: problem.into() }))
    }

    /// The field that it is about; empty if that is the whole.
    pub fn path(&self) -> &str {
        &self.0.path
    }

    /// What is wrong with it, and what to do.
    pub fn problem(&self) -> &str {
        &self.0.problem
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Refused { path, problem } = &*self.0;
        if path.is_empty() { write!(f, "{problem}") } else { write!(f, "{path}: {problem}") }
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
        let top = json::parse_object(bytes)
            .or_else(|error| protobuf::read_struct(bytes).ok_or_else(|| not_an_object(bytes, error)))?;
        Self::from_fields(Fields::of(json::Value::Object(top), "", environment)?)
    }

    fn from_fields(mut top: Fields) -> Result<Self, Error> {
        top.allow_only(&[TOP_FIELDS, Policy::FIELDS].concat())?;
        let compact = top.has("provider");
        if compact && top.has("providers") {
            return Err(top.error("provider", "not beside `providers`: it stands for one provider"));
        }
        let providers = if compact {
            vec![ProviderConfig::compact(&mut top)?]
        } else {
            let resource = audience::of_resource(&top)?;
            ProviderConfig::list(&mut top, resource.as_ref())?
        };
        let sources = TokenSource::list(&mut top, &providers)?;
        let max_token_size = top.size("max_token_size", MIN_MAX_TOKEN_SIZE..=MAX_TOKEN_BYTES)?;
        let max_token_size = max_token_size.unwrap_or(DEFAULT_MAX_TOKEN_SIZE);
        let (dpop, dpop_store) = Dpop::top(&mut top)?;
        let policy = Policy::top(&mut top, compact, dpop, &providers)?;
        let rules = Rule::list(&mut top, &policy, &providers)?;
        let removal = Removal::from_fields(&mut top)?;
        let mut policies = std::iter::once(&policy).chain(rules.iter().map(|rule| rule.policy.as_ref()));
        let further = cors::ClientHeaders {
            has_mcp: policies.clone().any(|policy| policy.mcp.is_some()),
            takes_dpop: policies.any(Policy::takes_dpop),
        };
        let cors = Cors::from_fields(&mut top, &sources, further)?;
        let verify = Verify::from_fields(&mut top)?;
        let publishing = publishing::PublishingFields::from_fields(&mut top)?;
        let marks = top.boolean("marks")?.unwrap_or(true);
        let refusal_log = RefusalLog::from_fields(&mut top)?;
        top.finish()?;
        let warnings = warnings::about_providers(&providers);
        let providers = providers.into_iter().map(Rc::new).collect();
        let mut config = Self {
            providers,
            sources,
            max_token_size,
            policy: Rc::new(policy),
            rules,
            removal,
            cors,
            verify,
            dpop_store,
            publishing: None,
            marks,
            refusal_log,
            warnings,
        };
        audience::keep_apart(&mut config);
        config.check()?;
        config.publishing = publishing.publish(&config)?;
        config.warn();
        Ok(config)
    }

    /// Checks what no part of a configuration can see by itself.
    fn check(&self) -> Result<(), Error> {
        check::check_collisions(self)?;
        check::check_headers(self)?;
        check::check_enrichments(self)?;
        check::check_published(self)?;
        verify::check_host(self)?;
        publishing::check(self)
    }

    /// Adds warnings of what no part of a configuration can see by itself.
    fn warn(&mut self) {
        let about_verify = self.verify.as_ref().map(|verify| verify.warnings(self.policies())).unwrap_or_default();
        let found = [
            rule::warnings(self),
            audience::warnings(self),
            warnings::about_unreachable_rules(self),
            warnings::about_dotted_claims(self),
            about_verify,
            publishing::warnings(self),
        ];
        self.warnings.extend(found.into_iter().flatten());
    }

    /// Refuses keys, for `private_key_jwt` and for assertions, that neither this module nor the host signs with. Which keys a host
    /// signs with is the same on each of its workers.
    pub fn check_signers(&self, verifier: &Verifier) -> Result<(), Error> {
        publishing::check_signers(self, verifier)?;
        let unusable = self.providers.iter().find(|provider| !provider.can_sign(verifier));
        unusable.map_or(Ok(()), |provider| {
            Err(Error::at(&format!("providers ({}): introspection.client_key", provider.name), NOBODY_SIGNS))
        })
    }

    /// Every policy that a request can fall under: that of the top level, then those of the rules, candidates left out.
    pub fn policies(&self) -> impl Iterator<Item = &Policy> {
        let mut policies: Vec<&Policy> = vec![&self.policy];
        policies.extend(self.rules.iter().map(|rule| &*rule.policy));
        policies.into_iter()
    }

    /// Every policy that requests are judged by: the same, each with its candidate.
    pub fn judged_policies(&self) -> impl Iterator<Item = &Policy> {
        let mut policies = Vec::new();
        for policy in self.policies() {
            policies.push(policy);
            policies.extend(policy.shadow.as_deref());
        }
        policies.into_iter()
    }

    /// Every policy that a request can fall under, with the beginning of its fields' paths: nothing at the top level, `rules[0].` in a
    /// rule.
    pub fn policies_with_paths(&self) -> impl Iterator<Item = (String, &Policy)> {
        let policies = self.policies().enumerate();
        policies.map(|(number, policy)| {
            (number.checked_sub(1).map(|index| format!("rules[{index}].")).unwrap_or_default(), policy)
        })
    }

    /// The same, with each candidate behind its own policy, under `shadow.` or `rules[0].shadow.`.
    fn judged_policies_with_paths(&self) -> impl Iterator<Item = (String, &Policy)> {
        self.policies_with_paths().flat_map(|(base, policy)| {
            let shadow = policy.shadow.as_deref().map(|shadow| (format!("{base}shadow."), shadow));
            std::iter::once((base, policy)).chain(shadow)
        })
    }

    /// The names of all outputs of all policies, and of all places of tokens.
    pub fn own_names(&self) -> ReservedNames {
        let written = self.policies().flat_map(|policy| {
            let objects = policy.user_info.iter().map(|output| (output.placement, &*output.key));
            let claims = policy.claim_headers.iter().map(|output| &output.header);
            let headers = claims.chain(policy.assertions.iter().map(|assertion| &assertion.header));
            let headers = headers.chain(policy.token_exchange.as_ref().map(|exchange| &exchange.header));
            objects.chain(headers.map(|header| (Placement::Header, &**header)))
        });
        ReservedNames::new(written, self.sources.iter().filter_map(|source| source.location.in_request()))
    }
}

/// Why bytes are no configuration: where the mistake is, and of a field that is there twice, which one.
fn not_an_object(bytes: &[u8], error: json::Error) -> Error {
    match json::find_fault(bytes) {
        Some(fault) if fault.error == json::Error::DuplicateMember => {
            let (line, column) = (fault.line, fault.column);
            Error::at(&fields::path_of(&fault.path), format!("given twice, again in line {line}, column {column}"))
        }
        Some(fault) => Error::at("", format!("neither a JSON object nor a google.protobuf.Struct: {fault}")),
        None => Error::at("", format!("neither a JSON object nor a google.protobuf.Struct: {error}")),
    }
}

/// Where a value may be: a claim's name, several to try in order, or an object with `claim`, `path` or `claims`.
fn lookups(fields: &mut Fields, field: &'static str) -> Result<Option<Vec<Lookup>>, Error> {
    let lookups: Vec<Lookup> = if fields.is_object(field) {
        match fields.object(field)? {
            None => return Ok(None),
            Some(mut inner) => {
                inner.allow_only(&["claim", "path", "claims"])?;
                let lookups = Lookup::list(&mut inner)?;
                inner.finish()?;
                lookups
            }
        }
    } else {
        match fields.strings(field)? {
            None => return Ok(None),
            Some(names) => names.into_iter().map(Lookup::Claim).collect(),
        }
    };
    if lookups.is_empty() || lookups.contains(&Lookup::Claim(String::new())) {
        Err(fields.error(field, "must name a claim"))
    } else {
        Ok(Some(lookups))
    }
}

/// A list that, where it is given, has elements: an empty list of demands would demand nothing.
fn non_empty_list(fields: &mut Fields, field: &'static str) -> Result<Vec<String>, Error> {
    let list =
        fields.filled_strings(field, "must not be empty or hold an empty string; leave it out to demand nothing")?;
    Ok(list.unwrap_or_default())
}

fn regex(fields: &Fields, field: &str, compiled: Result<Regex, regex_lite::Error>) -> Result<Regex, Error> {
    compiled.map_err(|error| fields.error(field, format!("is no regular expression: {error}")))
}

/// A regular expression for a whole value.
fn whole_regex(pattern: &str) -> Result<Regex, regex_lite::Error> {
    // By itself first: a parenthesis that closes ours would let go of the anchors.
    Regex::new(pattern).and_then(|_| Regex::new(&format!("^(?:{pattern})$")))
}

/// `timeout`: when a call is given up.
fn timeout(fields: &mut Fields) -> Result<Option<Duration>, Error> {
    match fields.duration("timeout")? {
        Some(timeout) if timeout < Duration::from_millis(1) || timeout > MAX_TIMEOUT => {
            Err(fields.error("timeout", "must be from 1ms to 60s"))
        }
        timeout => Ok(timeout),
    }
}

/// What may be said at the top level only.
const TOP_FIELDS: &[&str] = &[
    "providers",
    "provider",
    "access_token",
    "max_token_size",
    "rules",
    "remove",
    "cors",
    "verify_path",
    "verify_request",
    "verify_response_code",
    "marks",
    "assertion_jwks_path",
    "assertion_discovery",
    "refusal_log",
];

/// What is wrong with a key whose trial signature fails.
const NOBODY_SIGNS: &str = "an RSA key is for the host to sign with, and this one has no `sign` that does (Envoy has, from 1.37 on); use \
                            a key of EC with P-256, or of OKP with Ed25519";

/// Real tokens rarely pass 8 KiB.
pub const DEFAULT_MAX_TOKEN_SIZE: usize = 16 * 1024;

/// Less would refuse every JWT that is signed with RSA.
const MIN_MAX_TOKEN_SIZE: usize = 1024;

/// When a call is given up where nothing is said.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(5);

/// A client waits this long at most for one call; a service that needs more is down.
const MAX_TIMEOUT: Duration = Duration::from_secs(60);

/// RFC 6750, section 3: what `realm`, `scope` and `error_description` are made of.
fn is_quotable(byte: u8) -> bool {
    matches!(byte, 0x20..=0x7e) && byte != b'"' && byte != b'\\'
}
