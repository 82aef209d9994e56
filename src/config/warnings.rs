//! What is allowed, and may not be what somebody means: a line in the log for each, at the start.

use super::coverage::unreachable;
use super::fields::printable;
use super::output::ClaimSource;
use super::policy::Policy;
use super::warning::{MAX_LISTED, Warning, listed};
use super::{Config, ProviderConfig};
use crate::jose::claims::Lookup;
use crate::ordered;
use std::rc::Rc;

/// What deserves a word about providers: the same of several, or of all tenants of one, is said once.
pub(super) fn about_providers(providers: &[ProviderConfig]) -> Vec<Warning> {
    let mut said: Vec<(Warning, Vec<&str>)> = Vec::new();
    for provider in providers {
        for warning in provider.warnings() {
            match said.iter_mut().find(|(other, _)| other.text == warning.text) {
                Some((_, names)) if names.last() == Some(&provider.name.as_str()) => {}
                Some((_, names)) => names.push(&provider.name),
                None => said.push((warning, vec![&provider.name])),
            }
        }
    }
    let named = said.into_iter().map(|(warning, names)| {
        let text = format!("{}: {}", listed(&names), warning.text);
        Warning { text, ..warning }
    });
    named.collect()
}

/// Rules that an earlier one leaves nothing to.
pub(super) fn about_unreachable_rules(config: &Config) -> Vec<Warning> {
    let found = unreachable(&config.rules);
    let told = found.iter().take(MAX_LISTED).map(|(number, by)| {
        let by_name = config.rules.get(*number).is_some_and(|rule| rule.name.is_some());
        let unless = if by_name { ", unless a route's metadata name it" } else { "" };
        // A bypass is for what all readers read alike: what is left comes to this rule, and is not what it was written for.
        let is_bypass = config.rules.get(*by).is_some_and(|rule| rule.policy.bypass);
        let odd = if is_bypass { "but for paths that can be read in two ways, " } else { "" };
        let text = format!("rules[{number}]: {odd}no request comes to it{unless}: rules[{by}] stands before it, and matches whatever it matches");
        Warning::new("unreachable_rule", format!("rules[{number}]"), text)
    });
    let mut warnings: Vec<Warning> = told.collect();
    if let Some(more) = found.len().checked_sub(MAX_LISTED).filter(|more| *more > 0) {
        let text =
            format!("rules: {more} more to which no request comes, each behind one that matches whatever it matches");
        warnings.push(Warning::new("unreachable_rule", "rules", text));
    }
    warnings
}

/// Claims whose name looks like the way to a nested one.
pub(super) fn about_dotted_claims(config: &Config) -> Vec<Warning> {
    let mappings = config.providers.iter().flat_map(|provider| provider.claim_mapping.0.iter());
    let mapped = ordered::set(mappings.map(|(name, _)| name.as_str()));
    let is_odd = |name: &str| is_dotted(name) && !mapped.contains(&name);
    let mut in_mappings: Vec<(String, String)> = Vec::new();
    for provider in &config.providers {
        let dotted = provider.claim_mapping.0.iter().filter(|(_, lookups)| lookups.iter().any(names_dotted));
        // Tenants share their mapping.
        let new = dotted.map(|(name, _)| {
            let field = format!("claim_mapping.{}", printable(name));
            (format!("{}.{field}", provider.path()), format!("{}: {field}", provider.name))
        });
        in_mappings.extend(new.filter(|place| !in_mappings.contains(place)).collect::<Vec<_>>());
    }
    let mut places: Vec<String> = Vec::new();
    let base: &Policy = &config.policy;
    for (at, policy) in config.policies_with_paths() {
        odd_claims(policy, (!at.is_empty()).then_some(base), &at, &is_odd, &mut places);
        if let Some(shadow) = &policy.shadow {
            odd_claims(shadow, Some(policy), &format!("{at}shadow."), &is_odd, &mut places);
        }
    }
    let places = in_mappings.into_iter().chain(places.into_iter().map(|path| (path.clone(), path)));
    let told = places.take(MAX_LISTED).map(|(path, place)| {
        let text =
            format!("{place}: has a dot in it, and no claim is called so; a claim within another is told by `path`");
        Warning::new("dotted_claim", path, text)
    });
    told.collect()
}

/// Where a policy names such claims, but for what it has from another.
fn odd_claims(
    policy: &Policy,
    base: Option<&Policy>,
    at: &str,
    is_odd: &dyn Fn(&str) -> bool,
    places: &mut Vec<String>,
) {
    let is_odd_claim = |lookup: &Lookup| matches!(lookup, Lookup::Claim(name) if is_odd(name));
    if base.is_none_or(|base| !Rc::ptr_eq(&base.require, &policy.require)) {
        let odd = policy.require.claims.iter().enumerate().filter(|(_, claim)| is_odd_claim(&claim.claim));
        places.extend(odd.map(|(index, _)| format!("{at}require.claims[{index}].claim")));
    }
    if base.is_none_or(|base| !Rc::ptr_eq(&base.claim_headers, &policy.claim_headers)) {
        for (index, output) in policy.claim_headers.iter().enumerate() {
            let ClaimSource::Claims(lookups) = &output.source else { continue };
            if lookups.iter().any(is_odd_claim) {
                // A list of them stands under a name of its own.
                let field = if lookups.len() > 1 { "claims" } else { "claim" };
                places.push(format!("{at}claim_headers[{index}].{field}"));
            }
        }
    }
    if base.is_none_or(|base| !Rc::ptr_eq(&base.user_info, &policy.user_info)) {
        let odd =
            policy.user_info.iter().enumerate().filter(|(_, output)| output.claims.iter().any(|name| is_odd(name)));
        places.extend(odd.map(|(index, _)| format!("{at}user_info[{index}].claims")));
    }
    let Some(authorization) = &policy.authorization else { return };
    if base.and_then(|base| base.authorization.as_ref()).is_none_or(|other| !Rc::ptr_eq(other, authorization)) {
        for (field, lookups) in [("user", &authorization.user), ("groups", &authorization.groups)] {
            if lookups.iter().any(is_odd_claim) {
                places.push(format!("{at}external_authorization.{field}"));
            }
        }
    }
}

fn is_part(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

fn names_dotted(lookup: &Lookup) -> bool {
    matches!(lookup, Lookup::Claim(name) if is_dotted(name))
}

/// Whether a name is names with dots between them, and none that is told apart by a domain (RFC 7519, section 4.2), such as
/// `https://example.com/groups` or `kubernetes.io`.
fn is_dotted(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or_default();
    name.contains('.') && name.split('.').all(is_part) && !["com", "dev", "io", "net", "org"].contains(&last)
}
