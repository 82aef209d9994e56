//! What is unwise in the configuration itself, beyond what the filter warns of when it starts.

use super::Report;
use crate::report::Level;
use crate::site::Site;
use crate::yaml::Node;
use oidc_filter::config::{Config, Policy, travels_in_the_open};
use oidc_filter::http::names::Placement;
use std::rc::Rc;

pub fn check(site: &Site<'_>, config: &Config, report: &mut Report<'_>) {
    symmetric_keys(site, config, report);
    open_endpoints(site, config, report);
    wildcards(site, config, report);
    for (base, policy) in config.policies_with_paths() {
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
    for provider in &config.providers {
        if provider.algorithms.iter().any(|algorithm| algorithm.is_symmetric()) {
            let path = format!("{}.algorithms", provider.path());
            let text = "whoever has the key of HS256, HS384 or HS512 to verify can sign with it: every place that holds this \
                        configuration can make tokens; let the provider sign with ES256, EdDSA or RS256";
            report.add(site.place(&path), Level::Warning, "symmetric_algorithm", &path, text);
        }
    }
}

/// A star, where nothing but a star fits it.
fn wildcards(site: &Site<'_>, config: &Config, report: &mut Report<'_>) {
    let audiences =
        config.providers.iter().map(|provider| (format!("{}.audiences", provider.path()), "any_audience: true"));
    let methods = (0..config.rules.len()).map(|index| (format!("rules[{index}].match.methods"), "no `methods`"));
    for (path, instead) in audiences.chain(methods) {
        let is_star = |node: &Node| node.text() == Some("*");
        if site.value(&path).is_some_and(|node| is_star(node) || node.list().iter().any(is_star)) {
            let text = format!(
                "`*` is no wildcard here, and only `*` itself fits it: write {instead} for all of them, or name them"
            );
            report.add(site.place(&path), Level::Warning, "wildcard", &path, text);
        }
    }
}

/// Endpoints without https of a provider whose issuer has it. What the filter itself warns of is the issuer alone.
fn open_endpoints(site: &Site<'_>, config: &Config, report: &mut Report<'_>) {
    for provider in config.providers.iter().filter(|provider| provider.issuer.starts_with("https:")) {
        for (field, what) in [
            ("jwks.uri", "whoever stands between can sign tokens"),
            ("introspection.endpoint", "tokens and the client's secret travel in the open"),
            ("userinfo.endpoint", "tokens travel in the open"),
        ] {
            let path = format!("{}.{field}", provider.path());
            let is_open = |node: &Node| node.text().is_some_and(travels_in_the_open);
            if site.value(&path).is_some_and(|node| is_open(node) || node.list().iter().any(is_open)) {
                let text = format!("is not https, although the issuer is: {what}");
                report.add(site.place(&path), Level::Warning, "http_endpoint", &path, text);
            }
        }
    }
}

/// Names of objects that frameworks fold into others. The filter removes all spellings that it knows of; whoever reads by yet another
/// finds nothing there, or something else.
fn objects(site: &Site<'_>, policy: &Policy, base: &str, report: &mut Report<'_>) {
    for (index, output) in policy.user_info.iter().enumerate() {
        let problem = match output.placement {
            Placement::Header => problem_of_header(&output.key),
            Placement::Cookie | Placement::QueryString => problem_of_parameter(&output.key),
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

/// Why a service may read a header under another name.
fn problem_of_header(name: &str) -> Option<&'static str> {
    if name.contains('_') {
        return Some(
            "many servers drop a header with an underscore, others read it as with a hyphen; write it with hyphens",
        );
    }
    (!name.chars().all(is_plain)).then_some(
        "servers that make variables of headers (CGI, WSGI, PHP) read this sign as they read a hyphen; use letters, digits and hyphens",
    )
}

/// The same for a cookie or a parameter.
fn problem_of_parameter(name: &str) -> Option<&'static str> {
    (!name.chars().all(|sign| is_plain(sign) || sign == '_')).then_some(
        "PHP and others read dots, brackets, spaces and their like in the name of a cookie or a parameter as something else; use \
         letters, digits, - and _",
    )
}

fn warn(site: &Site<'_>, path: String, name: &str, problem: Option<&str>, report: &mut Report<'_>) {
    if let Some(problem) = problem {
        let text = format!("{name}: {problem}");
        report.add(site.place(&path), Level::Warning, "ambiguous_name", &path, text);
    }
}

fn is_plain(sign: char) -> bool {
    sign.is_ascii_alphanumeric() || sign == '-'
}
