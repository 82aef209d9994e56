//! Why a token was refused: what it says, beside what the configuration asks for.

use super::{Token, lacking, place};
use crate::words;
use oidc_filter::config::{Config, Policy, ProviderConfig};
use oidc_filter::jose::confirmation::Confirmation;
use oidc_filter::jose::jwk::Algorithm;
use oidc_filter::jose::jwt::Audiences;
use oidc_filter::time::Timestamp;
use serde_json::Value;
use std::rc::Rc;

/// A sentence, where there is one that says more than the word.
pub fn why(reason: &str, token: Option<&Token>, config: &Config, policy: &Policy, now: Timestamp) -> Option<String> {
    let Some(token) = token else {
        return (reason == "unsupported_token")
            .then(|| "the credentials are of a scheme that is not taken here".to_owned());
    };
    let provider = provider(token, config);
    Some(match reason {
        "unknown_issuer" => {
            let issuers: Vec<&str> =
                policy.trusted_of(&config.providers).map(|provider| provider.issuer.as_str()).collect();
            format!("its `iss` is {}, and tokens are taken here of {}", token.said("iss"), issuers.join(", "))
        }
        "expired" => {
            let skew = words::span(provider?.clock_skew);
            format!("it ended at {}, and a clock may differ by {skew}", words::when(token.time("exp")?, now))
        }
        "not_yet_valid" => {
            let ahead = ["nbf", "iat"].into_iter().filter_map(|claim| Some((claim, token.time(claim)?)));
            let (claim, time) = ahead.max_by_key(|(_, time)| *time)?;
            format!(
                "its `{claim}` is {}, and a clock may differ by {}",
                words::when(time, now),
                words::span(provider?.clock_skew)
            )
        }
        "wrong_audience" => match policy.audiences.as_deref().unwrap_or(&provider?.audiences) {
            Audiences::AnyOf(audiences) => {
                format!("its `aud` is {}, and tokens are taken here for {}", token.said("aud"), audiences.join(", "))
            }
            Audiences::Any => return None,
        },
        "unknown_key" => format!(
            "no key of its issuer has the name {} and fits {}",
            token.key_id.as_ref().map_or_else(|| "(none)".to_owned(), |kid| format!("{kid:?}")),
            token.algorithm.as_ref()?
        ),
        "wrong_type" => {
            let types = &provider?.token_types;
            let expected = if types.is_empty() { "at+jwt, JWT or none".to_owned() } else { types.join(", ") };
            let found = token.token_type.as_ref().map_or_else(|| "(none)".to_owned(), |name| format!("{name:?}"));
            format!("its `typ` is {found}, where {expected} is taken; or its claims are those of another kind of token")
        }
        "unsupported_token" => return unsupported(token, provider?),
        "malformed_token" => return lacking::of_form(token, provider),
        _ => return None,
    })
}

/// What of a token is not taken, whoever signed it.
fn unsupported(token: &Token, provider: &ProviderConfig) -> Option<String> {
    let taken: Vec<&str> = provider.algorithms.iter().map(|algorithm| algorithm.name()).collect();
    let taken = taken.join(", ");
    let Some(name) = &token.algorithm else {
        return Some(match token.form {
            "opaque" => "its provider has no answer for us about opaque tokens".to_owned(),
            form => format!("it is an {form}, and taken are JWTs that are signed, by {taken}"),
        });
    };
    if !token.changes.is_empty() {
        return Some(format!("its header has `{}`, which is not taken", token.changes.join("`, `")));
    }
    match Algorithm::from_name(name) {
        Some(algorithm) if provider.algorithms.contains(&algorithm) => None,
        Some(algorithm) if !algorithm.is_symmetric() => Some(format!(
            "its `alg` is {name:?}, and taken are {taken}; if its provider signs so, `algorithms` may name it"
        )),
        None if name.trim().eq_ignore_ascii_case("none") => Some(format!(
            "it is not signed (its `alg` is {name:?}), and taken are {taken}, and nothing without a signature"
        )),
        _ => Some(format!("its `alg` is {name:?}, and taken are {taken}")),
    }
}

/// Where a token was looked for.
pub fn without_token(config: &Config) -> String {
    let places: Vec<String> = config.sources.iter().map(|source| place(&source.location)).collect();
    format!("no token is in {}", places.join(", or in "))
}

/// What a token is bound to, and what of it a request has not shown, or nobody looks at.
pub fn not_bound(token: &Token, policy: &Policy, has_certificate: bool) -> String {
    let Ok(bound) = Confirmation::of(&token.claims) else {
        return "what it says of its binding (`cnf`, `token_type`, `typ`) is malformed, or of a kind that is not known"
            .to_owned();
    };
    if bound.and_then(|bound| bound.key()).is_some() {
        let rest = if policy.takes_dpop() {
            "it comes under the scheme DPoP, with a proof (--dpop)"
        } else {
            "nothing here checks that, without `dpop`"
        };
        return format!("it is bound to a key (`cnf` has `jkt`): {rest}");
    }
    if bound.is_none() {
        return "it is bound to nothing (it has no `cnf`), and what comes under DPoP, or here at all, must be"
            .to_owned();
    }
    let header = policy.certificate_bound.as_ref().and_then(|bound| bound.header.as_deref());
    let rest = match (policy.takes_certificates(), header) {
        (false, _) => "nothing here checks that, without `certificate_bound`".to_owned(),
        (true, Some(header)) => format!("{header} shows none, or another"),
        (true, None) if has_certificate => "the request shows another".to_owned(),
        (true, None) => "the request shows none (--certificate)".to_owned(),
    };
    format!("it is bound to a certificate (`x5t#S256`), and {rest}")
}

/// What to do about a reason, as `docs/reasons.md` says it. A link is for pages: here it is the page's name.
pub fn remedy(reason: &str) -> Option<String> {
    let row = PAGE.lines().find_map(|line| line.strip_prefix("| `")?.strip_prefix(reason)?.strip_prefix("` | "))?;
    let mut rest = row.trim_end_matches(" |").rsplit(" | ").next()?;
    let mut text = String::new();
    while let Some((before, label, page, behind)) = link(rest) {
        text.push_str(&format!("{before}{label} (docs/{page})"));
        rest = behind;
    }
    Some(text + rest)
}

/// The first link in a text: what stands before it, its label, its target, what stands behind it.
fn link(text: &str) -> Option<(&str, &str, &str, &str)> {
    let (before, rest) = text.split_once('[')?;
    let (label, rest) = rest.split_once("](")?;
    let (page, behind) = rest.split_once(')')?;
    Some((before, label, page, behind))
}

const PAGE: &str = include_str!("../../../../docs/reasons.md");

/// Whose token it says that it is; where it does not say, whose it can only be.
fn provider<'c>(token: &Token, config: &'c Config) -> Option<&'c ProviderConfig> {
    let issuer = token.claims.get("iss").and_then(Value::as_str);
    let named = config.providers.iter().find(|provider| Some(provider.issuer.as_str()) == issuer);
    let only = config.providers.first().filter(|_| config.providers.len() == 1);
    named.or(only).map(Rc::as_ref)
}
