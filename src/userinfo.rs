//! The userinfo endpoint as a proof of a token: OpenID Connect Core 1.0, section 5.3.
//!
//! It proves that the provider knows the token, and whose it is; not for whom it was made.

use crate::credentials::Token;
use crate::http::{Endpoint, Fetch, Response};
use crate::introspection::{Answer, json_object};
use crate::json::Value;
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

/// Reads an answer. An error of RFC 6750 is a no; an answer without the `sub` that section 5.3.2 demands is one too;
/// `None` for everything that says nothing about the token.
pub fn answer(response: &Response) -> Option<Answer> {
    if matches!(response.status, 401 | 403) {
        return Some(Answer::Inactive);
    }
    let Answer::Active(object) = json_object(response)? else { return Some(Answer::Inactive) };
    // Salesforce: a user who was frozen.
    if object.get("active") == Some(&Value::Bool(false)) {
        return Some(Answer::Inactive);
    }
    match object.get("sub") {
        Some(Value::String(subject)) if !subject.is_empty() => Some(Answer::Active(object)),
        _ => Some(Answer::Inactive),
    }
}
