//! What a request has in place of what it lacks: a token where nobody looks, a preflight, a role elsewhere in the token.

use super::Token;
use oidc_filter::config::{Policy, ProviderConfig, Validation};
use oidc_filter::http::Request;
use oidc_filter::jose::claims::{Lookup, look_up};
use serde_json::Value;

/// What may be behind a request without a token.
pub fn of_token(request: &Request) -> String {
    let has = |name: &str| request.headers.first(name).is_some();
    let is_options = request.headers.first(":method").is_some_and(|method| method == b"OPTIONS");
    if is_options && has("origin") && has("access-control-request-method") {
        return "; it is a CORS preflight, which browsers send without one: `cors` answers it, and `allow_preflight` lets it pass".to_owned();
    }
    let found = request.headers.iter().find_map(|(name, value)| {
        let (name, value) = (String::from_utf8_lossy(name), String::from_utf8_lossy(value));
        let mut parts = value.split(['?', '&', ';', ',', ' ']);
        let part = parts.find(|part| is_like_jwt(part.rsplit_once('=').map_or(part, |(_, value)| value)))?;
        let key = part.split_once('=').map(|(key, _)| key.to_owned());
        Some(match (name.as_ref(), key) {
            (":path", key) => format!("the parameter {}", key.unwrap_or_default()),
            ("cookie", key) => format!("the cookie {}", key.unwrap_or_default()),
            (header, _) => format!("the header {header}"),
        })
    });
    found.map_or_else(String::new, |place| {
        format!("; what looks like a JWT is in {place}, which `access_token` does not name")
    })
}

/// Whether a text begins as the header of a JWT does, and has its parts.
fn is_like_jwt(text: &str) -> bool {
    text.starts_with("eyJ") && text.split('.').count() == 3
}

/// Why a token is malformed.
pub fn of_form(token: &Token, provider: Option<&ProviderConfig>) -> Option<String> {
    if token.fault.is_some() {
        return token.fault.clone();
    }
    let takes_nothing_else = provider?.validation == Validation::Jwt && token.form == "opaque";
    takes_nothing_else.then(|| {
        "it is no JWT, and `validation: jwt` takes nothing else; `auto`, `introspection` and `userinfo` ask the provider about opaque tokens"
            .to_owned()
    })
}

/// What a token has where a claim is required, and where it has one of the values that are asked for.
pub fn of_claim(token: &Token, policy: &Policy, detail: &str) -> Option<String> {
    let index = detail.split_once("require.claims[")?.1.split_once(']')?.0;
    let required = policy.require.claims.get(index.parse::<usize>().ok()?)?;
    let name = match &required.claim {
        Lookup::Claim(name) => name.clone(),
        Lookup::Path(names) => names.join("."),
    };
    let has = look_up(&token.claims, &required.claim).map_or_else(|| "nothing".to_owned(), Value::to_string);
    let wanted: Vec<&str> = required.any_of.iter().chain(&required.all_of).map(String::as_str).collect();
    let asked = if wanted.is_empty() { String::new() } else { format!(", where {} is asked for", wanted.join(", ")) };
    let mut elsewhere: Vec<String> = Vec::new();
    for (claim, value) in &token.claims {
        places(value, claim, &wanted, &mut elsewhere);
    }
    elsewhere.retain(|place| *place != name);
    let elsewhere = elsewhere.first().map(|place| format!("; it is in {place}")).unwrap_or_default();
    Some(format!("its `{name}` is {has}{asked}{elsewhere}"))
}

/// Where one of these values is.
fn places(value: &Value, path: &str, wanted: &[&str], found: &mut Vec<String>) {
    match value {
        Value::String(text) if wanted.contains(&text.as_str()) => found.push(path.to_owned()),
        Value::Array(values) => values.iter().for_each(|value| places(value, path, wanted, found)),
        Value::Object(members) => {
            members.iter().for_each(|(name, value)| places(value, &format!("{path}.{name}"), wanted, found));
        }
        _ => {}
    }
}
