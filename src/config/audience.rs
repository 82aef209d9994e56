//! Whom tokens for an MCP server must be meant for (RFC 8707; MCP, "Token Audience Binding and Validation").
//!
//! The invariant: of the resources of one configuration, a token for one is none for another.

use super::fields::Fields;
use super::mcp::Mcp;
use super::policy::Policy;
use super::provider::ProviderConfig;
use super::resource::{OFFLINE_ACCESS, Resource};
use super::source::TokenLocation;
use super::warning::Warning;
use super::{Config, Error};
use crate::jose::jwt::Audiences;
use crate::ordered;
use std::rc::Rc;

/// The audiences of the resource that the top level names, for providers of which nothing is said.
pub(super) fn of_resource(top: &Fields) -> Result<Option<Audiences>, Error> {
    let mcp = Mcp::from_fields(&mut top.clone())?.flatten();
    Ok(mcp.map(|mcp| Audiences::AnyOf(mcp.resource.audiences())))
}

/// Keeps the resources of one configuration apart: a token that is meant for another of them is none for this one, although its
/// provider names the audiences of both.
pub(super) fn keep_apart(config: &mut Config) {
    let resources: Vec<Resource> =
        config.policies().filter_map(|policy| Some(policy.mcp.as_ref()?.resource.clone())).collect();
    let all = ordered::set(resources.iter().flat_map(Resource::audiences));
    let providers = config.providers.clone();
    let policies = std::iter::once(&mut config.policy).chain(config.rules.iter_mut().map(|rule| &mut rule.policy));
    for policy in policies {
        let audiences = apart(policy, &providers, &all);
        let candidate = policy.shadow.clone().and_then(|mut candidate| {
            Rc::make_mut(&mut candidate).audiences = Some(apart(&candidate, &providers, &all)?);
            Some(candidate)
        });
        if audiences.is_some() || candidate.is_some() {
            let policy = Rc::make_mut(policy);
            policy.audiences = audiences.or(policy.audiences.take());
            policy.shadow = candidate.or(policy.shadow.take());
        }
    }
}

/// The audiences of a policy without those of other resources; `None` if it takes none of them.
fn apart(policy: &Policy, providers: &[Rc<ProviderConfig>], all: &[String]) -> Option<Rc<Audiences>> {
    let mcp = policy.mcp.as_ref().filter(|_| policy.audiences.is_none())?;
    let own = mcp.resource.audiences();
    let good: Vec<&ProviderConfig> = policy.trusted_of(providers).collect();
    let (foreign, rest): (Vec<&String>, Vec<&String>) = good
        .iter()
        .flat_map(|provider| listed(provider))
        .partition(|audience| all.contains(*audience) && !own.contains(audience));
    if foreign.is_empty() {
        return None;
    }
    let rest: Vec<String> = if good.len() == 1 { rest.into_iter().cloned().collect() } else { Vec::new() };
    Some(Rc::new(Audiences::AnyOf(if rest.is_empty() { own } else { rest })))
}

/// What is allowed, and may not be what somebody means.
pub(super) fn warnings(config: &Config) -> Vec<Warning> {
    let mut found: Vec<(&'static str, String, &str)> = Vec::new();
    for (at, policy) in config.policies_with_paths() {
        let Some(mcp) = &policy.mcp else { continue };
        let own = mcp.resource.audiences();
        let is_for_others = match &policy.audiences {
            Some(audiences) => !have_one_of(audiences, &own),
            None => policy.trusted_of(&config.providers).any(|provider| !have_one_of(&provider.audiences, &own)),
        };
        if is_for_others {
            let text = "tokens for it need not name the resource in `aud`, since `audiences` say otherwise; leave those out \
                        where the provider knows resource indicators (RFC 8707)";
            found.push(("mcp_audience", format!("{at}mcp.resource"), text));
        }
        if mcp.scopes_supported.iter().flatten().any(|scope| scope == OFFLINE_ACCESS) {
            let text = "offline_access is between a client and its provider; the metadata leave it out";
            found.push(("mcp_offline_access", format!("{at}mcp.scopes_supported"), text));
        }
        if config.sources.iter().any(|source| matches!(source.location, TokenLocation::Query { .. })) {
            let text = "a token in the query is refused here (MCP, \"Token Requirements\")";
            found.push(("mcp_query_token", format!("{at}mcp"), text));
        }
    }
    // Each is told once, where it is first.
    let mut warnings: Vec<Warning> = Vec::new();
    for (code, path, text) in found {
        if !warnings.iter().any(|warning| warning.code == code) {
            warnings.push(Warning::new(code, path.as_str(), format!("{path}: {text}")));
        }
    }
    warnings
}

fn have_one_of(audiences: &Audiences, own: &[String]) -> bool {
    match audiences {
        Audiences::Any => false,
        Audiences::AnyOf(list) => list.iter().any(|audience| own.contains(audience)),
    }
}

fn listed(provider: &ProviderConfig) -> &[String] {
    match &provider.audiences {
        Audiences::Any => &[],
        Audiences::AnyOf(list) => list,
    }
}
