//! What is unwise in the configuration itself, beyond what the filter warns of when it starts.

use super::Report;
use crate::report::Level;
use crate::site::Site;
use oidc_filter::config::{Config, Policy};
use oidc_filter::http::names::Placement;
use std::rc::Rc;

pub fn check(site: &Site<'_>, config: &Config, report: &mut Report<'_>) {
    symmetric_keys(site, config, report);
    for (base, policy) in super::policies(config) {
        let is_top = base.is_empty();
        // What a rule does not say itself is told once, where it stands.
        if is_top || !Rc::ptr_eq(&policy.user_info, &config.policy.user_info) {
            objects(site, policy, &base, report);
        }
        if is_top || !Rc::ptr_eq(&policy.claim_headers, &config.policy.claim_headers) {
            claim_headers(site, policy, &base, report);
        }
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

/// Names of objects that frameworks fold into others. The filter removes all spellings that it knows of; whoever reads by yet another
/// finds nothing there, or something else.
fn objects(site: &Site<'_>, policy: &Policy, base: &str, report: &mut Report<'_>) {
    for (index, output) in policy.user_info.iter().enumerate() {
        let problem = match output.placement {
            Placement::Header => problem_of_header(&output.key),
            Placement::Cookie | Placement::QueryString if output.key.contains(['.', '[', ']', ' ', '+']) => Some(
                "PHP and others read dots, brackets and spaces in the name of a cookie or a parameter as something else; \
                 use letters, digits, - and _",
            ),
            _ => None,
        };
        warn(site, format!("{base}user_info[{index}].key"), &output.key, problem, report);
    }
}

/// The same for claims in headers.
fn claim_headers(site: &Site<'_>, policy: &Policy, base: &str, report: &mut Report<'_>) {
    for (index, output) in policy.claim_headers.iter().enumerate() {
        let path = format!("{base}claim_headers[{index}].header");
        warn(site, path, &output.header, problem_of_header(&output.header), report);
    }
}

fn problem_of_header(name: &str) -> Option<&'static str> {
    name.contains('_').then_some(
        "many servers drop a header with an underscore, others read it as with a hyphen; write it with hyphens",
    )
}

fn warn(site: &Site<'_>, path: String, name: &str, problem: Option<&str>, report: &mut Report<'_>) {
    if let Some(problem) = problem {
        let text = format!("{name}: {problem}");
        report.add(site.place(&path), Level::Warning, "ambiguous_name", &path, text);
    }
}
