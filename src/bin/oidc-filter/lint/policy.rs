//! What is unwise in the configuration itself, beyond what the filter warns of when it starts.

use super::Report;
use crate::report::Level;
use crate::site::Site;
use oidc_filter::config::{Config, Policy};
use oidc_filter::http::names::Placement;
use std::rc::Rc;

pub fn check(site: &Site<'_>, config: &Config, report: &mut Report<'_>) {
    symmetric_keys(site, config, report);
    let mut policies = vec![(String::new(), &config.policy)];
    policies.extend(config.rules.iter().enumerate().map(|(index, rule)| (format!("rules[{index}]."), &rule.policy)));
    for (base, policy) in policies {
        let is_own = base.is_empty() || !Rc::ptr_eq(&policy.user_info, &config.policy.user_info);
        let is_own_header = base.is_empty() || !Rc::ptr_eq(&policy.claim_headers, &config.policy.claim_headers);
        names(site, policy, &base, (is_own, is_own_header), report);
    }
}

/// Whoever verifies with a symmetric key can sign with it.
fn symmetric_keys(site: &Site<'_>, config: &Config, report: &mut Report<'_>) {
    for (index, provider) in config.providers.iter().enumerate() {
        if provider.algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            let path = format!("providers[{index}].algorithms");
            let text = "whoever has the key of HS256, HS384 or HS512 to verify can sign with it: every place that holds this \
                        configuration can make tokens; let the provider sign with ES256, EdDSA or RS256";
            report.add(site.place(&path), Level::Warning, "symmetric_algorithm", &path, text);
        }
    }
}

/// Names that frameworks fold into others. The filter removes all spellings that it knows of; whoever reads by yet another finds
/// nothing there, or something else.
fn names(site: &Site<'_>, policy: &Policy, base: &str, own: (bool, bool), report: &mut Report<'_>) {
    let mut warn = |path: String, name: &str, text: &str| {
        report.add(site.place(&path), Level::Warning, "ambiguous_name", &path, format!("{name}: {text}"));
    };
    let header = |name: &str| {
        name.contains('_').then_some(
            "many servers drop a header with an underscore, others read it as with a hyphen; write it with hyphens",
        )
    };
    for (index, output) in policy.user_info.iter().enumerate().filter(|_| own.0) {
        let odd = match output.placement {
            Placement::Header => header(&output.key),
            Placement::Cookie | Placement::QueryString if output.key.contains(['.', '[', ']', ' ', '+']) => Some(
                "PHP and others read dots, brackets and spaces in the name of a cookie or a parameter as something else; \
                 use letters, digits, - and _",
            ),
            _ => None,
        };
        if let Some(text) = odd {
            warn(format!("{base}user_info[{index}].key"), &output.key, text);
        }
    }
    for (index, output) in policy.claim_headers.iter().enumerate().filter(|_| own.1) {
        if let Some(text) = header(&output.header) {
            warn(format!("{base}claim_headers[{index}].header"), &output.header, text);
        }
    }
}
