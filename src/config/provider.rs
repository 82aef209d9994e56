//! The part of the configuration that says who may issue tokens, and how they are proved.

use super::clusters::{Clusters, Endpoints, authority, parse_url};
use super::fields::{Fields, placed};
use super::keys::KeySource;
use super::warning::Warning;
use super::{Error, is_quotable, listed, timeout};
use crate::http::Endpoint;
use crate::jose::claims::{ClaimMapping, Lookup};
use crate::jose::client_assertion::AssertionKey;
use crate::jose::jwk::{Algorithm, Jwk};
use crate::jose::jwt::Audiences;
use crate::jose::verifier::Verifier;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::ops::Range;
use std::time::Duration;
use url::Url;

/// One issuer of tokens.
#[derive(Debug)]
pub struct Provider {
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

/// When an endpoint of several is given up, and when it is taken again.
#[derive(Clone, Copy, Debug)]
pub struct Failover {
    /// So many failures in a row.
    pub unhealthy_threshold: u32,
    /// So many successes in a row.
    pub healthy_threshold: u32,
    /// How often one that was given up is tried.
    pub interval: Duration,
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

/// How the introspection endpoint is called.
#[derive(Debug)]
pub struct Introspection {
    /// Where.
    pub endpoints: Endpoints,
    /// `POST` or `GET`.
    pub method: &'static str,
    /// The parameter that holds the token.
    pub parameter: String,
    /// Whether the question says that it is about an access token.
    pub token_type_hint: bool,
    /// How the answer says whether the token is active.
    pub activity: Activity,
    /// Who we are.
    pub client: Option<ClientAuthentication>,
    /// How long an active token is believed, at most to its `exp`.
    pub cache: Duration,
    /// How long an inactive one is.
    pub negative_cache: Duration,
}

/// How an answer says whether a token is active.
#[derive(Debug, Default)]
pub struct Activity {
    /// By its status: 200 is a yes where there is no `active`. Google's tokeninfo does so.
    pub by_status: bool,
    /// These statuses say that the token is not active. Any other error says nothing about it.
    pub inactive_statuses: Vec<u16>,
}

/// How the filter authenticates itself (RFC 6749, section 2.3.1).
#[derive(Debug)]
pub struct ClientAuthentication {
    /// `client_id`.
    pub id: String,
    /// How it is proved.
    pub method: ClientAuthenticationMethod,
}

/// How a client proves who it is: the methods of OpenID Connect Core, section 9.
#[derive(Debug)]
pub enum ClientAuthenticationMethod {
    /// `client_secret_basic`: by a secret in the Authorization header.
    Basic(Secret),
    /// `client_secret_post`: by a secret in the body.
    Post(Secret),
    /// `private_key_jwt`: by an assertion in the body.
    PrivateKeyJwt(Box<AssertionKey>),
}

/// How the userinfo endpoint is called.
#[derive(Debug)]
pub struct Userinfo {
    /// Where.
    pub endpoints: Endpoints,
    /// The claim that stands for `sub` where there is none.
    pub subject: Option<Lookup>,
    /// How long its answer is believed.
    pub cache: Duration,
}

/// A text that is never printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// The text, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Provider {
    /// `provider: URL`.
    pub(super) fn compact(top: &mut Fields) -> Result<Self, Error> {
        let issuer = top.required_string("provider")?;
        let url = issuer_url(&issuer).map_err(|problem| top.error("provider", problem))?;
        Ok(Self::standard(issuer, Some(&url)))
    }

    /// `providers: [...]`, in order; an issuer with tenants is one provider for each.
    pub(super) fn list(top: &mut Fields) -> Result<Vec<Self>, Error> {
        let problem = "required: at least one provider, or `provider` with an issuer's URL";
        let providers = top.objects("providers", Self::all_from_fields)?.unwrap_or_default();
        match providers.is_empty() {
            true => Err(top.error("providers", problem)),
            false => {
                check_names(&providers)?;
                let placed = |(index, entry): (usize, Vec<Self>)| {
                    entry.into_iter().map(move |provider| Self { entry: Some(index), ..provider })
                };
                Ok(providers.into_iter().enumerate().flat_map(placed).collect())
            }
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
            timeout: Duration::from_secs(5),
            jwks: vec![KeySource::discovered()],
            introspection: Introspection {
                endpoints: Endpoints::Discovered,
                method: "POST",
                parameter: DEFAULT_PARAMETER.to_owned(),
                token_type_hint: true,
                activity: Activity::default(),
                client: None,
                cache: Duration::from_secs(60),
                negative_cache: Duration::from_secs(5),
            },
            userinfo: Userinfo { endpoints: Endpoints::Discovered, subject: None, cache: Duration::from_secs(60) },
            token_prefixes: Vec::new(),
            claim_mapping: ClaimMapping::default(),
            audience_separator: None,
            scope_separator: None,
            refuse_id_tokens: false,
            failover: Failover { unhealthy_threshold: 2, healthy_threshold: 2, interval: Duration::from_secs(30) },
            on_demand: false,
            entry: None,
            unused: Vec::new(),
            clusters,
        }
    }

    fn all_from_fields(mut fields: Fields) -> Result<Vec<Self>, Error> {
        fields.allow_only(&PROVIDER_FIELDS)?;
        let issuer = fields.required_string("issuer")?;
        let tenants = fields.strings("tenants")?;
        let Some((before, after)) = issuer.split_once('{') else {
            return match tenants {
                Some(_) => Err(fields.error("tenants", "only for an issuer with a place for them, such as {tenant}")),
                None => Self::from_fields(fields, issuer).map(|provider| vec![provider]),
            };
        };
        let after = after.split_once('}').map(|(_, after)| after).filter(|after| !after.contains(['{', '}']));
        let after = after.ok_or_else(|| fields.error("issuer", "may have one place for a tenant, such as {tenant}"))?;
        let tenants = tenants.unwrap_or_default();
        let is_plain = |tenant: &String| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            !tenant.is_empty() && tenant.bytes().all(plain) && !tenant.bytes().all(|byte| byte == b'.')
        };
        if tenants.is_empty() || tenants.len() > MAX_TENANTS || !tenants.iter().all(is_plain) {
            let problem =
                "required with an issuer that has a place for them: 1 to 1000 names of letters, digits and - _ . ~";
            return Err(fields.error("tenants", problem));
        }
        let distinct: BTreeSet<&String> = tenants.iter().collect();
        if distinct.len() < tenants.len() {
            return Err(fields.error("tenants", "must not hold the same name twice"));
        }
        let read = |tenant: &String| {
            let provider = Self::from_fields(fields.clone(), format!("{before}{tenant}{after}"))?;
            Ok(Self { on_demand: tenants.len() > 1, ..provider })
        };
        tenants.iter().map(read).collect()
    }

    fn from_fields(mut fields: Fields, issuer: String) -> Result<Self, Error> {
        // Nothing is ever looked for at the address of an issuer with keys of its own.
        let may_be_name = fields.has("jwks") && validation(&mut fields.clone()) == Ok(Validation::Jwt);
        let url = match issuer_url(&issuer) {
            Err(_) if may_be_name && is_name(&issuer) => None,
            url => Some(url.map_err(|problem| fields.error("issuer", problem))?),
        };
        let mut provider = Self::standard(issuer, url.as_ref());
        if let Some(name) = fields.string("name")? {
            provider.name = name;
        }
        if provider.name.is_empty()
            || !provider.name.bytes().all(|byte| is_quotable(byte) && !b";=,{} ".contains(&byte))
        {
            return Err(fields.error("name", "becomes a label in metrics: printable ASCII without space and ; = , { }"));
        }
        if let Some(cluster) = fields.string("cluster")? {
            if cluster.is_empty() {
                return Err(fields.error("cluster", "must not be empty"));
            }
            provider.clusters.issuer_cluster = cluster;
            provider.clusters.named = true;
        }
        provider.clusters.others = fields.string_map("clusters")?;
        provider.discovery = url.as_ref().map(|url| discovery(url, &provider.clusters)).unwrap_or_default();
        provider.validation = validation(&mut fields)?;
        if matches!(provider.validation, Validation::Introspection | Validation::Userinfo) {
            provider.unused = FOR_SIGNATURES.iter().copied().filter(|field| fields.has(field)).collect();
        }
        provider.audiences = audiences(&mut fields, provider.validation)?;
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
        provider.read_introspection(&mut fields)?;
        provider.read_userinfo(&mut fields)?;
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

    /// Whether somebody can sign what is to prove who we are.
    pub(super) fn can_sign(&self, verifier: &Verifier) -> bool {
        match &self.introspection.client {
            Some(ClientAuthentication { method: ClientAuthenticationMethod::PrivateKeyJwt(key), .. }) => {
                key.can_sign(verifier)
            }
            _ => true,
        }
    }

    /// Whether the provider is called at all. With nothing but inline keys there is nothing to call it for.
    pub fn is_online(&self) -> bool {
        let configured = |endpoints: &Endpoints| *endpoints != Endpoints::Discovered;
        self.jwks.iter().any(|source| source.remote)
            || self.introspection.client.is_some()
            || configured(&self.introspection.endpoints)
            || configured(&self.userinfo.endpoints)
            || !matches!(self.validation, Validation::Auto | Validation::Jwt)
    }

    /// The shortest time between two fetches of all its keys for the sake of unknown ones.
    pub fn cooldown(&self) -> Duration {
        self.jwks.iter().map(|source| source.cooldown).max().unwrap_or_default()
    }

    /// Where it stands in the configuration.
    pub(super) fn path(&self) -> String {
        match self.entry {
            None => "provider".to_owned(),
            Some(index) => format!("providers[{index}]"),
        }
    }

    /// What the operator should know before the first request, the provider's name left out.
    pub(super) fn warnings(&self) -> Vec<Warning> {
        let mut warnings = Vec::new();
        let mut warn = |code, field: &str, text: String| {
            let path = if self.entry.is_some() { format!("{}.{field}", self.path()) } else { self.path() };
            warnings.push(Warning::new(code, path, text));
        };
        if self.audiences == Audiences::Any && self.validation != Validation::Userinfo {
            let text = "any_audience accepts tokens that were meant for others (RFC 9700, section 2.3)";
            warn("any_audience", "any_audience", text.to_owned());
        }
        if self.validation == Validation::Userinfo {
            let text =
                "userinfo proves neither audience nor client: every token of this issuer with the scope openid passes";
            warn("userinfo_proves_no_audience", "validation", text.to_owned());
        }
        if let Some(first) = self.unused.first() {
            let unused = self.unused.join(", ");
            let text = format!(
                "{unused}: of no effect, since the provider is asked about every token, and what it answers is believed"
            );
            warn("idle_field", first, text);
        }
        let loopback = |host: &str| host == "localhost" || host.starts_with("127.") || host.starts_with("[::1]");
        if self.issuer.starts_with("http://") && !loopback(&self.clusters.issuer_authority) {
            let text = "the issuer is not https; only a cluster with TLS protects tokens and keys";
            warn("http_issuer", "issuer", text.to_owned());
        }
        for refused in self.jwks.iter().filter_map(|source| source.inline.as_ref()).flat_map(|keys| keys.refused()) {
            warn("unusable_key", "jwks", format!("jwks.inline: {refused}"));
        }
        let explicit = matches!(self.introspection.endpoints, Endpoints::Configured(_));
        if explicit && self.introspection.client.is_none() {
            let text = "introspection without client_id; RFC 7662, section 2.1, wants authentication";
            warn("anonymous_introspection", "introspection", text.to_owned());
        }
        warnings
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

    fn read_introspection(&mut self, fields: &mut Fields) -> Result<(), Error> {
        let Some(mut introspection) = fields.object("introspection")? else { return Ok(()) };
        if !matches!(self.validation, Validation::Auto | Validation::Introspection) {
            return Err(fields.error("introspection", "is not used with this `validation`; use auto or introspection"));
        }
        introspection.allow_only(&INTROSPECTION_FIELDS)?;
        if let Some(urls) = introspection.strings("endpoint")? {
            self.introspection.endpoints = Endpoints::configured(&self.clusters, &introspection, "endpoint", &urls)?;
        }
        self.introspection.method = match introspection.string("method")?.as_deref() {
            None | Some("POST" | "post") => "POST",
            Some("GET" | "get") => "GET",
            Some(_) => return Err(introspection.error("method", "expected POST or GET")),
        };
        if let Some(name) = introspection.string("param_name")? {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            if name.is_empty() || !name.bytes().all(plain) {
                return Err(introspection.error("param_name", "must be made of letters, digits and - _ . ~"));
            }
            self.introspection.parameter = name;
        }
        // What takes the token under a name of its own knows no other parameter of RFC 7662, and may mind one: Google's APIs
        // answer 400 to those that they don't know.
        let is_by_the_book = self.introspection.method == "POST" || self.introspection.parameter == DEFAULT_PARAMETER;
        self.introspection.token_type_hint = introspection.boolean("token_type_hint")?.unwrap_or(is_by_the_book);
        self.introspection.activity = Activity::from_fields(&mut introspection)?;
        if self.introspection.activity.by_status && self.audiences == Audiences::Any {
            let problem = "status needs `audiences`: a 200 says that somebody's token is good, and no more";
            return Err(introspection.error("active", problem));
        }
        self.introspection.client = client(&mut introspection)?;
        let basic = |client: &ClientAuthentication| matches!(client.method, ClientAuthenticationMethod::Basic(_));
        if self.introspection.method == "GET" && !self.introspection.client.as_ref().is_none_or(basic) {
            return Err(introspection.error("client_auth", "needs a body, which GET has not; use basic, or POST"));
        }
        if let Some(cache) = introspection.duration("cache")? {
            self.introspection.cache = cache;
        }
        if let Some(cache) = introspection.duration("negative_cache")? {
            self.introspection.negative_cache = cache;
        }
        introspection.finish()
    }

    fn read_userinfo(&mut self, fields: &mut Fields) -> Result<(), Error> {
        let Some(mut userinfo) = fields.object("userinfo")? else { return Ok(()) };
        if !matches!(self.validation, Validation::Auto | Validation::Userinfo) {
            return Err(fields.error("userinfo", "is not used with this `validation`; use auto or userinfo"));
        }
        userinfo.allow_only(&["endpoint", "subject", "cache"])?;
        if let Some(urls) = userinfo.strings("endpoint")? {
            self.userinfo.endpoints = Endpoints::configured(&self.clusters, &userinfo, "endpoint", &urls)?;
        }
        self.userinfo.subject = subject(&mut userinfo)?;
        if let Some(cache) = userinfo.duration("cache")? {
            self.userinfo.cache = cache;
        }
        userinfo.finish()
    }
}

impl Activity {
    fn from_fields(fields: &mut Fields) -> Result<Self, Error> {
        let by_status = match fields.string("active")?.as_deref() {
            None | Some("claim") => false,
            Some("status") => true,
            Some(_) => return Err(fields.error("active", "expected claim or status")),
        };
        let inactive_statuses = fields.integers("inactive_statuses")?.unwrap_or_default().into_iter().map(|status| {
            let status = u16::try_from(status).ok().filter(|status| (400..500).contains(status));
            status.filter(|status| !ABOUT_THE_MOMENT.contains(status))
        });
        let inactive_statuses = inactive_statuses.collect::<Option<_>>().ok_or_else(|| {
            let problem =
                "each must be from 400 to 499, and none of 407, 408, 425 and 429, which say nothing about a token";
            fields.error("inactive_statuses", problem)
        })?;
        Ok(Self { by_status, inactive_statuses })
    }
}

impl ClaimMapping {
    fn from_fields(fields: &mut Fields) -> Result<Self, Error> {
        let mapping = fields.each_member("claim_mapping", |name, value, mut inner| {
            if FIXED_CLAIMS.contains(&name) {
                return Err(inner.error("", "is a claim by which the token itself is judged; it can't be mapped"));
            }
            inner.allow_only(&["claim", "path", "claims"])?;
            let lookups = match value {
                Some(claim) => vec![Lookup::Claim(claim)],
                None => Lookup::list(&mut inner)?,
            };
            if lookups.is_empty() || lookups.contains(&Lookup::Claim(String::new())) {
                return Err(inner.error("", "must name a claim, by its name, or by `claim`, `path` or `claims`"));
            }
            inner.finish()?;
            Ok((name.to_owned(), lookups))
        })?;
        Ok(Self(mapping))
    }
}

impl Failover {
    fn read(&mut self, mut fields: Fields) -> Result<(), Error> {
        fields.allow_only(&["unhealthy_threshold", "healthy_threshold", "interval"])?;
        for (field, threshold) in
            [("unhealthy_threshold", &mut self.unhealthy_threshold), ("healthy_threshold", &mut self.healthy_threshold)]
        {
            if let Some(count) = fields.integer(field)? {
                let count = u32::try_from(count).ok().filter(|count| (1..=1000).contains(count));
                *threshold = count.ok_or_else(|| fields.error(field, "must be from 1 to 1000"))?;
            }
        }
        if let Some(interval) = fields.duration("interval")? {
            self.interval = interval;
        }
        if self.interval < Duration::from_secs(1) {
            return Err(fields.error("interval", "must be at least 1s"));
        }
        fields.finish()
    }
}

/// The indices of a provider by its name: several for one with tenants.
pub(super) fn named(providers: &[Provider], name: &str) -> Option<Range<usize>> {
    let first = providers.iter().position(|provider| provider.name == name)?;
    let count = providers.iter().skip(first).take_while(|provider| provider.name == name).count();
    Some(first..first.saturating_add(count))
}

/// What is said where a name is that of no provider.
pub(super) fn no_provider(providers: &[Provider]) -> String {
    let known: BTreeSet<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
    let known: Vec<&str> = known.into_iter().collect();
    format!("names no provider of `providers`; there is {}", listed(&known))
}

/// Two providers with one name could not be told apart in metrics; two with one issuer, not by their tokens.
fn check_names(entries: &[Vec<Provider>]) -> Result<(), Error> {
    let mut issuers = HashMap::new();
    let mut names = HashMap::new();
    for (index, providers) in entries.iter().enumerate() {
        for provider in providers {
            if let Some(earlier) = issuers.insert(&provider.issuer, index) {
                let problem = format!("is the issuer of providers[{earlier}], too");
                return Err(Error::at(&format!("providers[{index}].issuer"), problem));
            }
        }
        // Tenants share their name, unless that is their host.
        let own: BTreeSet<&String> = providers.iter().map(|provider| &provider.name).collect();
        for name in own {
            if let Some(earlier) = names.insert(name, index) {
                let problem = format!("{name} is the name of providers[{earlier}], too; set `name`");
                return Err(Error::at(&format!("providers[{index}].name"), problem));
            }
        }
    }
    Ok(())
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

fn audiences(fields: &mut Fields, validation: Validation) -> Result<Audiences, Error> {
    let any = fields.boolean("any_audience")?.unwrap_or(false);
    match audience_list(fields)? {
        Some(_) if any => Err(fields.error("any_audience", "not beside `audiences`")),
        Some(list) => Ok(Audiences::AnyOf(list)),
        None if any || validation == Validation::Userinfo => Ok(Audiences::Any),
        None => Err(fields.error(
            "audiences",
            "required: the value of `aud` that names your service; `any_audience: true` checks none",
        )),
    }
}

/// `audiences`.
pub(super) fn audience_list(fields: &mut Fields) -> Result<Option<Vec<String>>, Error> {
    match fields.strings("audiences")? {
        Some(list) if list.is_empty() || list.iter().any(String::is_empty) => {
            Err(fields.error("audiences", "must not be empty or hold an empty string"))
        }
        list => Ok(list),
    }
}

fn token_prefixes(fields: &mut Fields) -> Result<Vec<String>, Error> {
    match fields.strings("token_prefixes")? {
        Some(list) if list.is_empty() || list.iter().any(String::is_empty) => {
            Err(fields.error("token_prefixes", "must not be empty or hold an empty string"))
        }
        list => Ok(list.unwrap_or_default()),
    }
}

fn token_types(fields: &mut Fields) -> Result<Vec<String>, Error> {
    match fields.strings("token_type")? {
        Some(types) if types.is_empty() || types.iter().any(String::is_empty) => {
            Err(fields.error("token_type", "must not be empty; leave it out for the types of access tokens"))
        }
        types => Ok(types.unwrap_or_default()),
    }
}

/// The claim that stands for `sub`: its name, or an object with `claim` or `path`.
fn subject(fields: &mut Fields) -> Result<Option<Lookup>, Error> {
    if !fields.is_object("subject") {
        return match fields.string("subject")? {
            Some(name) if name.is_empty() => Err(fields.error("subject", "must name a claim")),
            name => Ok(name.map(Lookup::Claim)),
        };
    }
    let Some(mut inner) = fields.object("subject")? else { return Ok(None) };
    let lookup = Lookup::from_fields(&mut inner)?;
    let lookup = lookup.ok_or_else(|| fields.error("subject", "must name a claim, by `claim` or `path`"))?;
    inner.finish()?;
    Ok(Some(lookup))
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

/// What a client is called, and its secret: RFC 6749, appendix A.1 and A.2. Files that an editor or `echo` has written end in a
/// line break, and no server would know such a secret.
fn visible(fields: &mut Fields, field: &'static str) -> Result<Option<String>, Error> {
    let text = fields.string(field)?;
    let is_visible = |byte: u8| matches!(byte, b' '..=b'~');
    let Some(strange) = text.as_ref().and_then(|text| text.bytes().find(|byte| !is_visible(*byte))) else {
        return Ok(text);
    };
    let problem = match strange {
        b'\n' | b'\r' => {
            "holds a line break, which no server takes for a part of it: write its file without (`printf %s`, not `echo`)"
        }
        _ => "holds a character that is not printable ASCII (RFC 6749, appendix A)",
    };
    Err(fields.error(field, problem))
}

fn client(fields: &mut Fields) -> Result<Option<ClientAuthentication>, Error> {
    let method = fields.string("client_auth")?;
    let id = visible(fields, "client_id")?;
    let secret = visible(fields, "client_secret")?.map(Secret);
    let key = fields.json_text("client_key")?;
    let key_id = fields.string("client_key_id")?;
    if key_id.is_some() && key.is_none() {
        return Err(fields.error("client_key_id", "is the name of `client_key`, which is not there"));
    }
    let Some(id) = id.filter(|id| !id.is_empty()) else {
        return match method.is_some() || secret.is_some() || key.is_some() {
            true => {
                Err(fields.error("client_id", "required with client_auth, client_secret or client_key, and not empty"))
            }
            false => Ok(None),
        };
    };
    let by_secret = |method: fn(Secret) -> ClientAuthenticationMethod| match (&key, &secret) {
        (Some(_), _) => Err(fields.error("client_key", "is for client_auth private_key_jwt only")),
        (None, Some(secret)) if !secret.0.is_empty() => Ok(method(secret.clone())),
        (None, _) => Err(fields.error("client_secret", "required with client_id, and not empty")),
    };
    let method = match method.as_deref() {
        None | Some("basic") => by_secret(ClientAuthenticationMethod::Basic)?,
        Some("post") => by_secret(ClientAuthenticationMethod::Post)?,
        Some("private_key_jwt") if secret.is_some() => {
            return Err(fields.error("client_secret", "not beside client_auth private_key_jwt"));
        }
        Some("private_key_jwt") => {
            let jwk = key
                .as_deref()
                .ok_or_else(|| fields.error("client_key", "required: a private key, as a JWK or in PEM"))?;
            let key = AssertionKey::parse(jwk.as_bytes());
            let key = key.map_err(|error| fields.error("client_key", placed(error, jwk)))?;
            let key = match key_id {
                None => key,
                Some(id) => key
                    .named(&id)
                    .ok_or_else(|| fields.error("client_key_id", "not beside a key that has a name of its own"))?,
            };
            ClientAuthenticationMethod::PrivateKeyJwt(Box::new(key))
        }
        Some(_) => return Err(fields.error("client_auth", "expected basic, post or private_key_jwt")),
    };
    Ok(Some(ClientAuthentication { id, method }))
}

/// RFC 8414, section 2: no query and no fragment. `http` is allowed, since TLS is the cluster's business.
fn issuer_url(issuer: &str) -> Result<Url, &'static str> {
    let url = parse_url(issuer).ok_or("must be an absolute https URL without user name and password")?;
    match url.query().is_some() || url.fragment().is_some() {
        true => Err("must not have a query or a fragment (RFC 8414, section 2)"),
        false => Ok(url),
    }
}

/// Whether this may be an issuer that has no address, such as `accounts.google.com` or the mail address of a service account
/// (RFC 7519, section 4.1.1). What looks like a URL is none: it has a mistake in it.
fn is_name(issuer: &str) -> bool {
    let scheme = issuer.split(':').next().unwrap_or_default();
    let is_url = ["https", "http"].iter().any(|url| scheme.eq_ignore_ascii_case(url)) || issuer.contains("://");
    !issuer.is_empty() && !is_url && issuer.bytes().all(|byte| byte.is_ascii_graphic())
}

/// OpenID Connect Discovery, section 4; then RFC 8414, section 3.1, for servers that know only OAuth.
fn discovery(issuer: &Url, clusters: &Clusters) -> Vec<Endpoint> {
    let base = clusters.configured(issuer);
    let path = issuer.path().trim_end_matches('/');
    let at = |path: String| Endpoint { path, ..base.clone() };
    vec![
        at(format!("{path}/.well-known/openid-configuration")),
        at(format!("/.well-known/oauth-authorization-server{path}")),
    ]
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

const INTROSPECTION_FIELDS: [&str; 13] = [
    "endpoint",
    "method",
    "param_name",
    "token_type_hint",
    "active",
    "inactive_statuses",
    "client_auth",
    "client_id",
    "client_secret",
    "client_key",
    "client_key_id",
    "cache",
    "negative_cache",
];

/// What decides about the token itself: a mapping would make one claim pass for another there.
const FIXED_CLAIMS: [&str; 8] = ["iss", "aud", "exp", "nbf", "iat", "jti", "cnf", "active"];

/// Where RFC 7662, section 2.1, has the token.
const DEFAULT_PARAMETER: &str = "token";

/// Statuses from 400 to 499 that are about a proxy, or about the moment, and never about what was asked.
pub const ABOUT_THE_MOMENT: [u16; 4] = [407, 408, 425, 429];

/// Each has keys and a schedule of its own.
const MAX_TENANTS: usize = 1000;

/// What is held against a token whose signature is verified, and not against an answer.
const FOR_SIGNATURES: &[&str] = &["algorithms", "jwks", "max_lifetime", "require_expiration", "token_type"];

/// RFC 9068, section 4: a leeway of "no more than a few minutes".
const MAX_CLOCK_SKEW: Duration = Duration::from_secs(300);
