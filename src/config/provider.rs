//! The part of the configuration that says who may issue tokens, and how they are proved.

use super::clusters::{Clusters, Endpoints, authority};
use super::failover::Failover;
use super::fields::{Fields, printable};
use super::introspection::Introspection;
use super::issuer::{discovery, is_name, issuer_url};
use super::keys::KeySource;
use super::provider_names::check_names;
use super::resource::is_loopback;
use super::userinfo::Userinfo;
use super::warning::Warning;
use super::{DEFAULT_TIMEOUT, Error, is_quotable, timeout};
use crate::http::Endpoint;
use crate::jose::claims::ClaimMapping;
use crate::jose::jwk::{Algorithm, Jwk};
use crate::jose::jwt::Audiences;
use crate::jose::verifier::Verifier;
use crate::ordered;
use std::time::Duration;
use url::Url;

/// One issuer of tokens.
#[derive(Debug)]
pub struct ProviderConfig {
    /// Label in logs and metrics.
    pub name: String,
    /// The exact value of `iss`.
    pub issuer: String,
    /// Where the issuer's metadata may be, in the order in which they are tried.
    pub discovery: Vec<Endpoint>,
    /// How tokens are proved.
    pub validation: Validation,
    /// Whom a token must be meant for.
    pub audiences: Audiences,
    /// The algorithms that a signature may have.
    pub algorithms: Vec<Algorithm>,
    /// How far clocks may differ.
    pub clock_skew: Duration,
    /// A JWT without `exp` is refused.
    pub require_expiration: bool,
    /// The longest time from `iat` to `exp`.
    pub max_lifetime: Option<Duration>,
    /// The values that `typ` may have; empty for those of any access token.
    pub token_types: Vec<String>,
    /// When a call is given up.
    pub timeout: Duration,
    /// Where keys come from: one source, or several whose keys are good together.
    pub jwks: Vec<KeySource>,
    /// RFC 7662.
    pub introspection: Introspection,
    /// OpenID Connect Core, section 5.3.
    pub userinfo: Userinfo,
    /// How opaque tokens of this provider begin; empty if that can't be told.
    pub token_prefixes: Vec<String>,
    /// What its claims are called here.
    pub claim_mapping: ClaimMapping,
    /// What stands between the audiences of a token that has several in one string.
    pub audience_separator: Option<char>,
    /// What stands between scopes, if it is not the space.
    pub scope_separator: Option<char>,
    /// A token is refused that has what only ID tokens have, or says that it is one.
    pub refuse_id_tokens: bool,
    /// When one of several endpoints is given up, and when it is taken again.
    pub failover: Failover,
    /// Nothing is fetched before a token of this provider has come: one of many tenants.
    pub on_demand: bool,
    /// Its place in `providers`; `None` for `provider`.
    entry: Option<usize>,
    /// What is written and is not looked at.
    unused: Vec<&'static str>,
    /// Where calls go.
    pub clusters: Clusters,
}

/// How tokens are proved.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Validation {
    /// A JWT by its signature; anything else by introspection, or by userinfo where there is none.
    Auto,
    /// By its signature, always.
    Jwt,
    /// By introspection, always.
    Introspection,
    /// By a call of the userinfo endpoint, always.
    Userinfo,
}

impl ProviderConfig {
    /// `provider: URL`.
    pub(super) fn compact(top: &mut Fields) -> Result<Self, Error> {
        let issuer = top.required_string("provider")?;
        let url = issuer_url(&issuer).map_err(|problem| top.error("provider", problem))?;
        Ok(Self::standard(issuer, Some(&url)))
    }

    /// `providers: [...]`, in order; an issuer with tenants is one provider for each.
    ///
    /// Where nothing is said of them, `resource` has the audiences.
    pub(super) fn list(top: &mut Fields, resource: Option<&Audiences>) -> Result<Vec<Self>, Error> {
        let problem = "required: at least one provider, or `provider` with an issuer's URL";
        let read = top.objects("providers", |fields| Self::all_from_fields(fields, resource))?;
        let providers = read.unwrap_or_default();
        if providers.is_empty() {
            Err(top.error("providers", problem))
        } else {
            check_names(&providers)?;
            let placed = providers.into_iter().enumerate().flat_map(|(index, entry)| {
                entry.into_iter().map(move |provider| Self { entry: Some(index), ..provider })
            });
            Ok(placed.collect())
        }
    }

    /// A provider whose userinfo endpoint proves tokens: the compact form, and the defaults.
    fn standard(issuer: String, url: Option<&Url>) -> Self {
        let host = url.and_then(Url::host_str).unwrap_or_default().to_owned();
        let clusters = Clusters {
            issuer_authority: url.map(authority).unwrap_or_default(),
            issuer_cluster: host.clone(),
            named: false,
            others: Vec::new(),
        };
        let discovery = url.map(|url| discovery(url, &clusters)).unwrap_or_default();
        Self {
            name: if url.is_some() { host } else { issuer.clone() },
            issuer,
            discovery,
            validation: Validation::Userinfo,
            audiences: Audiences::Any,
            algorithms: Algorithm::ASYMMETRIC.to_vec(),
            clock_skew: Duration::from_secs(60),
            require_expiration: true,
            max_lifetime: None,
            token_types: Vec::new(),
            timeout: DEFAULT_TIMEOUT,
            jwks: vec![KeySource::discovered()],
            introspection: Introspection::standard(),
            userinfo: Userinfo::standard(),
            token_prefixes: Vec::new(),
            claim_mapping: ClaimMapping::default(),
            audience_separator: None,
            scope_separator: None,
            refuse_id_tokens: false,
            failover: Failover::standard(),
            on_demand: false,
            entry: None,
            unused: Vec::new(),
            clusters,
        }
    }

    fn all_from_fields(mut fields: Fields, resource: Option<&Audiences>) -> Result<Vec<Self>, Error> {
        fields.allow_only(&PROVIDER_FIELDS)?;
        let issuer = fields.required_string("issuer")?;
        let tenants = fields.strings("tenants")?;
        let Some((before, after)) = issuer.split_once('{') else {
            return match tenants {
                Some(_) => Err(fields.error("tenants", "only for an issuer with a place for them, such as {tenant}")),
                None => Self::from_fields(fields, issuer, resource).map(|provider| vec![provider]),
            };
        };
        let after = after.split_once('}').map(|(_, after)| after).filter(|after| !after.contains(['{', '}']));
        let after = after.ok_or_else(|| fields.error("issuer", "may have one place for a tenant, such as {tenant}"))?;
        let tenants = tenants.unwrap_or_default();
        if tenants.is_empty() || tenants.len() > MAX_TENANTS || !tenants.iter().all(|tenant| is_plain(tenant)) {
            let problem =
                "required with an issuer that has a place for them: 1 to 1000 names of letters, digits and - _ . ~";
            return Err(fields.error("tenants", problem));
        }
        if ordered::set(&tenants).len() < tenants.len() {
            return Err(fields.error("tenants", "must not hold the same name twice"));
        }
        let read = tenants.iter().map(|tenant| {
            let provider = Self::from_fields(fields.clone(), format!("{before}{tenant}{after}"), resource)?;
            Ok(Self { on_demand: tenants.len() > 1, ..provider })
        });
        read.collect()
    }

    fn from_fields(mut fields: Fields, issuer: String, resource: Option<&Audiences>) -> Result<Self, Error> {
        // Nothing is ever looked for at the address of an issuer with keys of its own.
        let may_be_name = fields.has("jwks") && validation(&mut fields.clone()) == Ok(Validation::Jwt);
        let url = match issuer_url(&issuer) {
            Err(_) if may_be_name && is_name(&issuer) => None,
            url => Some(url.map_err(|problem| fields.error("issuer", problem))?),
        };
        let mut provider = Self::standard(issuer, url.as_ref());
        provider.read_name(&mut fields)?;
        provider.read_clusters(&mut fields)?;
        provider.discovery = url.as_ref().map(|url| discovery(url, &provider.clusters)).unwrap_or_default();
        provider.validation = validation(&mut fields)?;
        if matches!(provider.validation, Validation::Introspection | Validation::Userinfo) {
            provider.unused = FOR_SIGNATURES.iter().copied().filter(|field| fields.has(field)).collect();
        }
        provider.audiences = audiences(&mut fields, provider.validation, resource)?;
        provider.token_types = token_types(&mut fields)?;
        provider.read_times(&mut fields)?;
        if let Some(sources) = KeySource::list(&provider.clusters, &mut fields)? {
            provider.jwks = sources;
        }
        if url.is_none() && provider.jwks.iter().any(KeySource::is_discovered) {
            let problem = "must be an absolute https URL; any other name needs `jwks.uri` or `jwks.inline`";
            return Err(fields.error("issuer", problem));
        }
        provider.read_algorithms(&mut fields)?;
        provider.read_questions(&mut fields)?;
        provider.token_prefixes = token_prefixes(&mut fields)?;
        provider.claim_mapping = ClaimMapping::from_fields(&mut fields)?;
        provider.audience_separator = separator(&mut fields, "audience_separator")?;
        provider.scope_separator = separator(&mut fields, "scope_separator")?;
        provider.refuse_id_tokens = fields.boolean("refuse_id_tokens")?.unwrap_or(false);
        if let Some(failover) = fields.object("failover")? {
            provider.failover.read(failover)?;
        }
        fields.finish()?;
        Ok(provider)
    }

    fn read_name(&mut self, fields: &mut Fields) -> Result<(), Error> {
        if let Some(name) = fields.string("name")? {
            self.name = name;
        }
        if self.name.is_empty() || !self.name.bytes().all(|byte| is_quotable(byte) && !b";=,{} ".contains(&byte)) {
            return Err(fields.error("name", "becomes a label in metrics: printable ASCII without space and ; = , { }"));
        }
        Ok(())
    }

    fn read_clusters(&mut self, fields: &mut Fields) -> Result<(), Error> {
        if let Some(cluster) = fields.string("cluster")? {
            if cluster.is_empty() {
                return Err(fields.error("cluster", "must not be empty"));
            }
            self.clusters.issuer_cluster = cluster;
            self.clusters.named = true;
        }
        self.clusters.others = fields.string_map("clusters")?;
        let is_wrong = |(host, cluster): &&(String, String)| cluster.is_empty() || host.contains('/');
        self.clusters.others.iter().find(is_wrong).map_or(Ok(()), |(host, _)| {
            let problem = "must be a cluster's name, under a host or host:port without scheme and path";
            Err(fields.error(&format!("clusters.{}", printable(host)), problem))
        })
    }

    /// How the provider is asked about tokens: `introspection` and `userinfo`.
    fn read_questions(&mut self, fields: &mut Fields) -> Result<(), Error> {
        if let Some(introspection) = fields.object("introspection")? {
            if !matches!(self.validation, Validation::Auto | Validation::Introspection) {
                let problem = "is not used with this `validation`; use auto or introspection";
                return Err(fields.error("introspection", problem));
            }
            self.introspection.read(introspection, &self.clusters, &self.audiences)?;
        }
        if let Some(userinfo) = fields.object("userinfo")? {
            if !matches!(self.validation, Validation::Auto | Validation::Userinfo) {
                return Err(fields.error("userinfo", "is not used with this `validation`; use auto or userinfo"));
            }
            self.userinfo.read(userinfo, &self.clusters)?;
        }
        Ok(())
    }

    /// Whether somebody can sign what is to prove who we are.
    pub(super) fn can_sign(&self, verifier: &Verifier) -> bool {
        self.introspection.client.as_ref().is_none_or(|client| client.can_sign(verifier))
    }

    /// Whether the provider is called at all. With nothing but inline keys there is nothing to call it for.
    pub fn is_online(&self) -> bool {
        self.jwks.iter().any(|source| source.remote)
            || self.introspection.client.is_some()
            || self.introspection.endpoints != Endpoints::Discovered
            || self.userinfo.endpoints != Endpoints::Discovered
            || !matches!(self.validation, Validation::Auto | Validation::Jwt)
    }

    /// The shortest time between two fetches of all its keys for the sake of unknown ones.
    pub fn cooldown(&self) -> Duration {
        self.jwks.iter().map(|source| source.cooldown).max().unwrap_or_default()
    }

    /// Where it stands in the configuration: `providers[0]`, for all tenants of one entry.
    pub fn path(&self) -> String {
        match self.entry {
            None => "provider".to_owned(),
            Some(index) => format!("providers[{index}]"),
        }
    }

    /// Where one of its fields stands; `provider` has none.
    pub(super) fn path_of(&self, field: &str) -> String {
        if self.entry.is_some() { format!("{}.{field}", self.path()) } else { self.path() }
    }

    /// What the operator should know before the first request, the provider's name left out.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        if self.audiences == Audiences::Any && self.validation != Validation::Userinfo {
            let text = "any_audience accepts tokens that were meant for others (RFC 9700, section 2.3)";
            warnings.push(self.warning("any_audience", "any_audience", text));
        }
        if self.validation == Validation::Userinfo {
            let text =
                "userinfo proves neither audience nor client: every token of this issuer with the scope openid passes";
            warnings.push(self.warning("userinfo_proves_no_audience", "validation", text));
        }
        if let Some(first) = self.unused.first() {
            let unused = self.unused.join(", ");
            let text = format!(
                "{unused}: of no effect, since the provider is asked about every token, and what it answers is believed"
            );
            warnings.push(self.warning("idle_field", first, text));
        }
        if travels_in_the_open(&self.issuer) {
            let text = "the issuer is not https; only a cluster with TLS protects tokens and keys";
            warnings.push(self.warning("http_issuer", "issuer", text));
        }
        for refused in self.jwks.iter().filter_map(|source| source.inline.as_ref()).flat_map(|keys| keys.refused()) {
            warnings.push(self.warning("unusable_key", "jwks", format!("jwks.inline: {refused}")));
        }
        let explicit = matches!(self.introspection.endpoints, Endpoints::Configured(_));
        if explicit && self.introspection.client.is_none() {
            let text = "introspection without client_id; RFC 7662, section 2.1, wants authentication";
            warnings.push(self.warning("anonymous_introspection", "introspection", text));
        }
        warnings
    }

    fn warning(&self, code: &'static str, field: &str, text: impl Into<String>) -> Warning {
        Warning::new(code, self.path_of(field), text)
    }

    fn read_times(&mut self, fields: &mut Fields) -> Result<(), Error> {
        if let Some(skew) = fields.duration("clock_skew")? {
            self.clock_skew = skew;
        }
        if self.clock_skew > MAX_CLOCK_SKEW {
            return Err(fields.error("clock_skew", "at most 5m (RFC 9068, section 4: no more than a few minutes)"));
        }
        self.require_expiration = fields.boolean("require_expiration")?.unwrap_or(self.require_expiration);
        self.max_lifetime = fields.duration("max_lifetime")?;
        self.timeout = timeout(fields)?.unwrap_or(self.timeout);
        Ok(())
    }

    fn read_algorithms(&mut self, fields: &mut Fields) -> Result<(), Error> {
        let Some(names) = fields.strings("algorithms")? else { return Ok(()) };
        if names.is_empty() {
            return Err(fields.error("algorithms", "must not be empty; leave it out for every asymmetric one"));
        }
        let expected = Algorithm::ASYMMETRIC.iter().map(|algorithm| algorithm.name()).collect::<Vec<_>>().join(", ");
        self.algorithms = Vec::with_capacity(names.len());
        for (index, name) in names.iter().enumerate() {
            let path = format!("algorithms[{index}]");
            let algorithm = Algorithm::from_name(name)
                .ok_or_else(|| fields.error(&path, format!("unknown, expected one of {expected}, or HS256/384/512")))?;
            let mut inline = self.jwks.iter().filter_map(|source| source.inline.as_ref());
            if algorithm.is_symmetric() && !inline.any(|keys| keys.iter().any(Jwk::is_symmetric)) {
                return Err(fields.error(&path, "a symmetric algorithm needs its key, of the type oct, in jwks.inline"));
            }
            self.algorithms.push(algorithm);
        }
        Ok(())
    }
}

fn validation(fields: &mut Fields) -> Result<Validation, Error> {
    match fields.string("validation")?.as_deref() {
        None | Some("auto") => Ok(Validation::Auto),
        Some("jwt") => Ok(Validation::Jwt),
        Some("introspection") => Ok(Validation::Introspection),
        Some("userinfo") => Ok(Validation::Userinfo),
        Some(_) => Err(fields.error("validation", "expected auto, jwt, introspection or userinfo")),
    }
}

/// Whether the name of a tenant goes into a URL as it is.
fn is_plain(tenant: &str) -> bool {
    !tenant.is_empty()
        && tenant.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte))
        && !tenant.bytes().all(|byte| byte == b'.')
}

/// Whether what is asked of a URL goes through a network without TLS.
pub fn travels_in_the_open(url: &str) -> bool {
    let url = Url::parse(url).ok().filter(|url| url.scheme() == "http");
    url.as_ref().and_then(Url::host).is_some_and(|host| !is_loopback(&host))
}

fn audiences(fields: &mut Fields, validation: Validation, resource: Option<&Audiences>) -> Result<Audiences, Error> {
    let any = fields.boolean("any_audience")?.unwrap_or(false);
    match audience_list(fields)? {
        Some(_) if any => Err(fields.error("any_audience", "not beside `audiences`")),
        Some(list) => Ok(Audiences::AnyOf(list)),
        None if any || validation == Validation::Userinfo => Ok(Audiences::Any),
        None => resource.cloned().ok_or_else(|| {
            let problem = "required: the value of `aud` that names your service; `any_audience: true` checks none";
            fields.error("audiences", problem)
        }),
    }
}

/// `audiences`.
pub(super) fn audience_list(fields: &mut Fields) -> Result<Option<Vec<String>>, Error> {
    fields.filled_strings("audiences", "must not be empty or hold an empty string")
}

fn token_prefixes(fields: &mut Fields) -> Result<Vec<String>, Error> {
    let prefixes = fields.filled_strings("token_prefixes", "must not be empty or hold an empty string")?;
    Ok(prefixes.unwrap_or_default())
}

fn token_types(fields: &mut Fields) -> Result<Vec<String>, Error> {
    let types =
        fields.filled_strings("token_type", "must not be empty; leave it out for the types of access tokens")?;
    Ok(types.unwrap_or_default())
}

/// One character that is no part of what it separates.
fn separator(fields: &mut Fields, field: &'static str) -> Result<Option<char>, Error> {
    let Some(text) = fields.string(field)? else { return Ok(None) };
    let mut characters = text.chars();
    match (characters.next(), characters.next()) {
        (Some(separator), None) if separator == ' ' || separator.is_ascii_punctuation() => Ok(Some(separator)),
        _ => Err(fields.error(field, "must be one character: a space, or ASCII punctuation such as a comma")),
    }
}

const PROVIDER_FIELDS: [&str; 23] = [
    "issuer",
    "tenants",
    "name",
    "cluster",
    "clusters",
    "validation",
    "audiences",
    "any_audience",
    "token_type",
    "clock_skew",
    "require_expiration",
    "max_lifetime",
    "timeout",
    "jwks",
    "algorithms",
    "introspection",
    "userinfo",
    "token_prefixes",
    "claim_mapping",
    "audience_separator",
    "scope_separator",
    "refuse_id_tokens",
    "failover",
];

/// Each has keys and a schedule of its own.
const MAX_TENANTS: usize = 1000;

/// What is held against a token whose signature is verified, and not against an answer.
const FOR_SIGNATURES: &[&str] = &["algorithms", "jwks", "max_lifetime", "require_expiration", "token_type"];

/// RFC 9068, section 4: a leeway of "no more than a few minutes".
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);
