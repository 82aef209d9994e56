//! The part of the configuration that says where services find what they check assertions by: `assertion_jwks_path` and
//! `assertion_discovery`; and what the keys, issuers and headers of assertions must not be, given all the rest.

use super::client::ClientAuthentication;
use super::fields::Fields;
use super::rule::PathMatch;
use super::signing_keys::{self, AssertionKeys};
use super::warning::Warning;
use super::{AUTHORIZATION_SERVER, Assertion, Config, Error, Policy, WELL_KNOWN};
use crate::http::path;
use crate::jose::jwk::{Fingerprint, Jwk};
use crate::jose::jwt::Audiences;
use crate::jose::signing::SigningKey;
use crate::jose::verifier::Verifier;
use crate::ordered;
use std::rc::Rc;
use url::Url;

/// Where the documents are.
#[derive(Debug)]
pub struct Publishing {
    /// The key set's path, as [`path::Path`] reads it.
    pub path: Box<[u8]>,
    /// The metadata of each issuer; empty without `assertion_discovery`.
    pub metadata: Vec<IssuerMetadata>,
}

/// Where one issuer's metadata are, and what they say.
#[derive(Debug)]
pub struct IssuerMetadata {
    /// The path.
    pub path: Box<[u8]>,
    /// `issuer`.
    pub issuer: String,
    /// `jwks_uri`.
    pub jwks_uri: String,
}

/// What is written, before the rest of the configuration is known.
pub(super) struct PublishingFields {
    path: Option<(String, Box<[u8]>)>,
    discovery: bool,
}

impl PublishingFields {
    /// `assertion_jwks_path` and `assertion_discovery`.
    pub(super) fn from_fields(top: &mut Fields) -> Result<Self, Error> {
        let written = top.string("assertion_jwks_path")?;
        let discovery = top.boolean("assertion_discovery")?.unwrap_or(false);
        let Some(written) = written else {
            return if discovery {
                Err(top.error("assertion_discovery", "only with `assertion_jwks_path`, which it leads to"))
            } else {
                Ok(Self { path: None, discovery })
            };
        };
        match path::canonical(&written).filter(|path| path.len() > 1 && !path.contains(&b'*') && path.is_ascii()) {
            Some(path) if !path.ends_with(b"/") => {
                Ok(Self { path: Some((written, path.into_boxed_slice())), discovery })
            }
            _ => Err(top.error(
                "assertion_jwks_path",
                "must be a path in normal form, such as /.well-known/oidc-filter/jwks.json",
            )),
        }
    }

    /// What is published, given all else.
    pub(super) fn publish(self, config: &Config) -> Result<Option<Publishing>, Error> {
        let Some((written, path)) = self.path else { return Ok(None) };
        let mut keys = all_keys(config).peekable();
        if keys.peek().is_none() {
            return Err(Error::at("assertion_jwks_path", "there is no `assertion`, and so no key to publish"));
        }
        if keys.all(|keys| keys.published().is_empty()) {
            return Err(Error::at(
                "assertion_jwks_path",
                "all keys are shared secrets (oct), which are never published",
            ));
        }
        check_place(config, &path, "assertion_jwks_path")?;
        let mut metadata: ordered::Map<Box<[u8]>, IssuerMetadata> = ordered::Map::new_vec();
        for assertion in config.policies().flat_map(|policy| policy.assertions.iter()).filter(|_| self.discovery) {
            let (url, place) = metadata_place(&assertion.issuer).ok_or_else(|| {
                Error::at("assertion_discovery", "needs an `issuer` that is an https URL without query and fragment")
            })?;
            check_place(config, &place, "assertion_discovery")?;
            if place == path {
                let problem = "is where `assertion_discovery` has the metadata of an issuer";
                return Err(Error::at("assertion_jwks_path", problem));
            }
            let jwks_uri = format!("{}{written}", url.origin().ascii_serialization());
            let issuer = assertion.issuer.clone();
            let entry = IssuerMetadata { path: place.clone(), issuer, jwks_uri };
            if metadata.get(&place).is_some_and(|other| other.issuer != entry.issuer) {
                let problem = "two issuers would have their metadata at one path, on every host";
                return Err(Error::at("assertion_discovery", problem));
            }
            metadata.insert(place, entry);
        }
        Ok(Some(Publishing { path, metadata: metadata.into_iter().map(|(_, entry)| entry).collect() }))
    }
}

/// An issuer as a URL, and the path of its metadata (OpenID Connect Discovery, section 4). `None` if it can have none.
fn metadata_place(issuer: &str) -> Option<(Url, Box<[u8]>)> {
    let url = Url::parse(issuer).ok()?;
    if url.scheme() != "https" || url.query().is_some() || url.fragment().is_some() {
        return None;
    }
    let place = format!("{}/.well-known/openid-configuration", url.path().trim_end_matches('/'));
    let place = path::canonical(&place)?.into_boxed_slice();
    Some((url, place))
}

/// A place of a document must be nobody else's.
fn check_place(config: &Config, place: &[u8], field: &str) -> Result<(), Error> {
    if config.verify.as_ref().is_some_and(|verify| is_below(place, &verify.path)) {
        return Err(Error::at(field, "is at or below `verify_path`, where another proxy's questions are answered"));
    }
    let is_described = [WELL_KNOWN, AUTHORIZATION_SERVER].iter().any(|folder| is_below(place, folder.as_bytes()));
    if is_described && config.policies().any(|policy| policy.mcp.is_some()) {
        let problem = "is where clients of an MCP server find its metadata (RFC 9728, section 3), or those of its provider (RFC 8414)";
        return Err(Error::at(field, problem));
    }
    let bypassed = config.rules.iter().position(|rule| {
        let path = rule.matching.as_ref().and_then(|matching| matching.path.as_ref());
        rule.policy.bypass && path.is_some_and(|path| is_for(path, place))
    });
    match bypassed {
        Some(index) => Err(Error::at(field, format!("is a path that rules[{index}] lets through to the service"))),
        None => Ok(()),
    }
}

fn is_below(place: &[u8], folder: &[u8]) -> bool {
    place.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Whether a rule with these paths is meant for this one. What is for all paths is for none of them.
fn is_for(matching: &PathMatch, place: &[u8]) -> bool {
    match matching {
        PathMatch::Exact(paths) => paths.iter().any(|path| **path == *place),
        PathMatch::Prefix(folders) => folders.iter().any(|folder| !folder.is_empty() && is_below(place, folder)),
        PathMatch::Pattern(patterns) => {
            std::str::from_utf8(place).is_ok_and(|place| patterns.iter().any(|pattern| pattern.regex.is_match(place)))
        }
    }
}

/// Every assertion of every policy, candidates' too, each once for each policy. What a candidate would sign with is published before
/// it signs.
fn all(config: &Config) -> impl Iterator<Item = &Rc<Assertion>> {
    config.judged_policies().flat_map(|policy| policy.assertions.iter())
}

fn all_keys(config: &Config) -> impl Iterator<Item = &AssertionKeys> {
    all(config).map(|assertion| &*assertion.keys)
}

/// What no assertion can see by itself.
pub(super) fn check(config: &Config) -> Result<(), Error> {
    signing_keys::check_names(all_keys(config))?;
    for (base, policy) in config.judged_policies_with_paths() {
        if policy.forward && policy.token_exchange.as_ref().is_some_and(|exchange| &*exchange.header == "authorization")
        {
            let path = format!("{base}token_exchange.header");
            return Err(Error::at(
                &path,
                "authorization needs `forward: false` here: the client's token must not stay",
            ));
        }
        for (index, assertion) in policy.assertions.iter().enumerate() {
            if config.providers.iter().any(|provider| provider.issuer == assertion.issuer) {
                let problem = "is the issuer of a provider: the filter would take its own word for a token of that";
                return Err(Error::at(&format!("{base}assertion[{index}].issuer"), problem));
            }
            if &*assertion.header == "authorization" && policy.forward {
                let problem = "authorization needs `forward: false` here: the token that came there must not stay";
                return Err(Error::at(&format!("{base}assertion[{index}].header"), problem));
            }
        }
    }
    // What the filter writes under one policy, no client's own goes on as under another.
    if config.policies().any(writes_authorization)
        && let Some((base, _)) = config.judged_policies_with_paths().find(|(_, policy)| policy.forward)
    {
        let problem = "must be false: `authorization` is a header that the filter writes under another policy, and so a client's own \
                       never goes on";
        return Err(Error::at(&format!("{base}forward"), problem));
    }
    let used = used_keys(config);
    for (path, key) in all_keys(config).flat_map(AssertionKeys::private) {
        if let Some((_, user)) = used.iter().find(|(other, _)| *other == key.verifying().fingerprint()) {
            return Err(Error::at(&path, format!("is the key of {user}, too; each use needs a key of its own")));
        }
    }
    Ok(())
}

fn writes_authorization(policy: &Policy) -> bool {
    let exchange = policy.token_exchange.iter().map(|exchange| &exchange.header);
    policy
        .assertions
        .iter()
        .map(|assertion| &assertion.header)
        .chain(exchange)
        .any(|header| &**header == "authorization")
}

/// Keys that prove something else, and the fields that hold them.
fn used_keys(config: &Config) -> Vec<(Fingerprint, String)> {
    let mut used = Vec::new();
    for provider in &config.providers {
        let name = &provider.name;
        if let Some(key) = provider.introspection.client.as_ref().and_then(ClientAuthentication::key) {
            used.push((key.verifying().fingerprint(), format!("`client_key` of the provider {name}")));
        }
        let inline = provider.jwks.iter().filter_map(|source| source.inline.as_ref()).flat_map(|set| set.iter());
        used.extend(inline.map(Jwk::fingerprint).map(|key| (key, format!("`jwks.inline` of the provider {name}"))));
    }
    used.extend(exchange_keys(config).map(|(path, key)| (key.verifying().fingerprint(), format!("`{path}`"))));
    used
}

/// The keys by which the filter says who it is where it exchanges tokens, each with the path of its field.
fn exchange_keys(config: &Config) -> impl Iterator<Item = (String, &SigningKey)> {
    config.judged_policies_with_paths().filter_map(|(base, policy)| {
        let key = policy.token_exchange.as_ref()?.client.as_ref()?.key()?;
        Some((format!("{base}token_exchange.client_key"), key))
    })
}

/// Refuses keys that nobody signs with, as a trial shows.
pub(super) fn check_signers(config: &Config, verifier: &Verifier) -> Result<(), Error> {
    let mut tried: Vec<Fingerprint> = Vec::new();
    for (path, key) in exchange_keys(config).chain(all_keys(config).flat_map(AssertionKeys::private)) {
        let fingerprint = key.verifying().fingerprint();
        if tried.contains(&fingerprint) {
            continue;
        }
        tried.push(fingerprint);
        if !key.can_sign(verifier) {
            return Err(Error::at(&path, super::NOBODY_SIGNS));
        }
    }
    Ok(())
}

/// What is allowed, and may not be what somebody means.
pub(super) fn warnings(config: &Config) -> Vec<Warning> {
    let mut warnings: Vec<Warning> = Vec::new();
    for (base, policy) in config.judged_policies_with_paths() {
        for (index, assertion) in policy.assertions.iter().enumerate() {
            let path = format!("{base}assertion[{index}].audience");
            let sharing = config.providers.iter().find(|provider| {
                assertion
                    .audience
                    .iter()
                    .any(|audience| matches!(&provider.audiences, Audiences::AnyOf(own) if own.contains(audience)))
            });
            if let Some(provider) = sharing
                && warnings.iter().all(|warning| warning.path != path)
            {
                let name = &provider.name;
                let text = format!(
                    "{path}: is an audience of the provider {name}, too: a service that takes both takes a token for an assertion \
                     unless it looks at the issuer"
                );
                warnings.push(Warning::new("assertion_audience", path, text));
            }
        }
    }
    warnings
}
