//! The userinfo endpoint as a proof of a token: OpenID Connect Core 1.0, section 5.3.
//!
//! It proves that the provider knows the token, and whose it is; not for whom it was made.

use crate::http::{Endpoint, Fetch, Response};
use crate::jose::claims::{self, Lookup, look_up};
use crate::json::{Object, Value};
use crate::oauth::credentials::Token;
use crate::oauth::introspection::{
    Answer, Unfit, denies, error, is_challenge_about_token, is_error, is_word_for_no_token, json_object,
};
use std::time::Duration;

/// The call that presents `token` (section 5.3.1).
pub fn request(endpoint: Endpoint, token: &Token, timeout: Duration) -> Fetch {
    let headers = vec![
        ("accept", "application/json".to_owned()),
        ("accept-encoding", "identity".to_owned()),
        ("authorization", format!("Bearer {}", token.as_str())),
    ];
    Fetch { endpoint, method: "GET", headers, body: Vec::new(), timeout }
}

/// Reads an answer. An error of RFC 6750 is a no; an answer without the `sub` that section 5.3.2 demands is one too, unless
/// another claim stands for it; `None` for everything that says nothing about the token.
pub fn answer(response: &Response, subject: Option<&Lookup>) -> Option<Answer> {
    // RFC 6750, section 3.1, says 401 of a token that is none. Amazon, Facebook and oidc-provider-mock say 400, and why.
    if matches!(response.status, 401 | 403) || response.status == 400 && is_about_token(response) {
        return Some(Answer::Inactive);
    }
    let mut object = match json_object(response)? {
        Answer::Active(object) => object,
        other => return Some(other),
    };
    if is_error(&object) || denies(&object) {
        return Some(Answer::Inactive);
    }
    if let Some(lookup) = subject.filter(|lookup| lacks_subject(&object, lookup)) {
        let Some(subject) = look_up(&object, lookup).and_then(claims::subject) else {
            return Some(Answer::Unfit(Unfit::OddSubject));
        };
        object.insert("sub".to_owned(), subject.into());
    }
    Some(match object.get("sub") {
        Some(Value::String(subject)) if !subject.is_empty() => Answer::Active(object),
        _ => Answer::Unfit(if subject.is_some() { Unfit::OddSubject } else { Unfit::NoSubject }),
    })
}

/// Whether a refusal says why it refuses the token. A question has nothing else in it that could be denied or be a grant.
fn is_about_token(refusal: &Response) -> bool {
    let says_so = |error: String| is_word_for_no_token(&error) || REFUSED.contains(&error.as_str());
    error(refusal).is_some_and(says_so) || is_challenge_about_token(refusal)
}

/// Words of RFC 6749 (sections 4.1.2.1 and 5.2) and RFC 6750 (section 3.1) for that, with another status than these say.
const REFUSED: [&str; 3] = ["access_denied", "invalid_grant", "insufficient_scope"];

/// Whether another claim is to stand for `sub`: there is none, or it is itself the one that is named, and a number.
fn lacks_subject(object: &Object, lookup: &Lookup) -> bool {
    match object.get("sub") {
        None | Some(Value::Null) => true,
        Some(Value::Number(_)) => matches!(lookup, Lookup::Claim(name) if name == "sub"),
        Some(_) => false,
    }
}
