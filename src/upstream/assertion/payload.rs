//! What an assertion says: the members that the operator has chosen, and those that the filter itself writes.

use super::{Error, Principal};
use crate::config::{Assertion, AssertionClaim, AssertionSource, ClaimShape};
use crate::jose::claims::{self, look_up_first};
use crate::json::{self, Object, Value};
use crate::time::Timestamp;

pub(super) fn payload(
    assertion: &Assertion,
    principal: Principal,
    id: String,
    issued: Timestamp,
    end: Timestamp,
) -> Result<Object, Error> {
    let mut payload = match principal {
        Principal::Subject(identity, _) => {
            let mut payload = chosen_claims(assertion, identity.claims.object())?;
            if assertion.origin {
                payload.insert("idp".to_owned(), identity.issuer.into());
                payload.insert("auth".to_owned(), identity.location.into());
            }
            payload
        }
        Principal::Anonymous => json::object([("anonymous", true.into())]),
    };
    let audience = match assertion.audience.as_slice() {
        [one] => Value::from(one.as_str()),
        several => Value::from(several.to_vec()),
    };
    payload.insert("iss".to_owned(), assertion.issuer.as_str().into());
    payload.insert("aud".to_owned(), audience);
    payload.insert("iat".to_owned(), issued.unix_seconds().into());
    payload.insert("exp".to_owned(), end.unix_seconds().into());
    payload.insert("jti".to_owned(), id.into());
    if assertion.not_before {
        payload.insert("nbf".to_owned(), issued.unix_seconds().into());
    }
    Ok(payload)
}

/// `sub`, and the members that the operator has chosen.
pub(super) fn chosen_claims(assertion: &Assertion, claims: &Object) -> Result<Object, Error> {
    let mut chosen = Object::new();
    // RFC 7519, section 4.1.2, wants a string. Some providers count their users.
    let subject = look_up_first(claims, &assertion.subject).and_then(claims::subject).filter(|text| !text.is_empty());
    let subject = subject.ok_or_else(|| Error::Missing("sub".to_owned()))?;
    chosen.insert("sub".to_owned(), subject.into());
    for claim in &assertion.claims {
        match value(claim, claims).or_else(|| claim.default.clone()) {
            Some(value) => drop(chosen.insert(claim.name.clone(), value)),
            None if claim.required => return Err(Error::Missing(claim.name.clone())),
            None => {}
        }
    }
    Ok(chosen)
}

fn value(claim: &AssertionClaim, claims: &Object) -> Option<Value> {
    match &claim.source {
        AssertionSource::Value(value) => Some(value.clone()),
        AssertionSource::Claims(lookups) => shaped(look_up_first(claims, lookups)?, &claim.shape),
    }
}

/// A value as it is written; `None` if nothing of it is wanted.
fn shaped(value: &Value, shape: &ClaimShape) -> Option<Value> {
    match value {
        Value::Array(elements) => {
            let wanted = elements.iter().filter(|element| is_wanted(element, shape));
            Some(Value::Array(wanted.map(|element| rewritten(element, shape)).collect()))
        }
        value => is_wanted(value, shape).then(|| rewritten(value, shape)),
    }
}

fn is_wanted(value: &Value, shape: &ClaimShape) -> bool {
    match &shape.any_of {
        None => true,
        Some(wanted) => value.as_str().is_some_and(|text| wanted.iter().any(|other| other == text)),
    }
}

fn rewritten(value: &Value, shape: &ClaimShape) -> Value {
    let Value::String(text) = value else { return value.clone() };
    let transformer = shape.transformers.iter().find(|transformer| transformer.matches.is_match(text));
    let text = match transformer {
        None => text.as_str().into(),
        Some(transformer) => transformer.matches.replace_all(text, transformer.replaces.as_str()),
    };
    Value::String(format!("{}{text}", shape.prefix))
}
