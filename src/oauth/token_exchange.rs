//! Token exchange: RFC 8693. The provider makes, of the client's token, one for the service behind.
//!
//! The invariant: what goes on to the service is a bearer token that a provider issued for this request's own token, in the letters
//! of RFC 6750, section 2.1; nothing else of an answer does.

use crate::config::TokenExchange;
use crate::http::{Endpoint, Fetch, Response};
use crate::jose::jws::CompactJws;
use crate::jose::jwt::numeric_date;
use crate::jose::verifier::Verifier;
use crate::json::{Object, Value, text_of};
use crate::oauth::client_authentication;
use crate::oauth::credentials::Token;
use crate::oauth::introspection;
use crate::time::Timestamp;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;
use url::form_urlencoded;

/// The call that exchanges `token` (section 2.1). `None` if nobody can sign for us.
pub fn request(
    exchange: &TokenExchange,
    issuer: &str,
    endpoint: Endpoint,
    token: &Token,
    now: Timestamp,
    verifier: &Verifier,
) -> Option<Fetch> {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange");
    form.append_pair("subject_token", token.as_str()).append_pair("subject_token_type", ACCESS_TOKEN);
    if let Some(kind) = &exchange.requested_token_type {
        form.append_pair("requested_token_type", kind);
    }
    for audience in &exchange.audience {
        form.append_pair("audience", audience);
    }
    for resource in &exchange.resource {
        form.append_pair("resource", resource);
    }
    if let Some(scope) = &exchange.scope {
        form.append_pair("scope", scope);
    }
    let client = exchange.client.as_ref();
    client_authentication::in_form(client, issuer, token.as_str(), &mut form, now, verifier)?;
    let mut headers = vec![
        ("accept", "application/json".to_owned()),
        ("accept-encoding", "identity".to_owned()),
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
    ];
    headers.extend(client_authentication::in_header(client).map(|value| ("authorization", value)));
    Some(Fetch { endpoint, method: "POST", headers, body: form.finish().into_bytes(), timeout: exchange.timeout })
}

/// What the provider says.
#[derive(Clone, Eq, PartialEq)]
pub enum Answer {
    /// This token, for so long.
    Token(Rc<str>, Option<Duration>),
    /// Not for this token, or not for that service (section 2.2.2; RFC 6749, section 5.2).
    Refused,
}

/// Without the token.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(_, lifetime) => f.debug_tuple("Token").field(lifetime).finish(),
            Self::Refused => f.write_str("Refused"),
        }
    }
}

/// Reads an answer (section 2.2); `None` if it is neither a token that can be handed on, nor a no about this one.
pub fn answer(response: &Response, requested: Option<&str>, now: Timestamp) -> Option<Answer> {
    if matches!(response.status, 400 | 401 | 403) {
        let object = crate::json::parse_object(&response.body).ok()?;
        let error = text_of(&object, "error")?;
        // Keycloak says `invalid_token` of a subject token that has ended.
        return matches!(error, "invalid_grant" | "invalid_target" | "invalid_token").then_some(Answer::Refused);
    }
    let introspection::Answer::Active(object) = introspection::json_object(response)? else { return None };
    if introspection::is_error(&object) {
        return None;
    }
    // Section 2.2.1: both are REQUIRED. A token that is bound to a key of ours would be of no use to the service.
    let is_bearer = text_of(&object, "token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer"));
    let is_wanted = match (text_of(&object, "issued_token_type")?, requested) {
        (issued, Some(requested)) => issued == requested || issued == JWT && requested == ACCESS_TOKEN,
        (issued, None) => matches!(issued, ACCESS_TOKEN | JWT),
    };
    let token = text_of(&object, "access_token").filter(|token| is_token(token))?;
    let lifetime = [lifetime(&object), rest_of_jwt(token, now)].into_iter().flatten().min();
    (is_bearer && is_wanted).then(|| Answer::Token(Rc::from(token), lifetime))
}

/// RFC 6750, section 2.1: b64token.
fn is_token(token: &str) -> bool {
    let signs = token.trim_end_matches('=');
    !signs.is_empty()
        && token.len() <= MAX_TOKEN_BYTES
        && signs.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(&byte))
}

/// `expires_in`: whole seconds, which some write as text. What is odd says that it ends, and not when: then it is for those who
/// have asked.
fn lifetime(answer: &Object) -> Option<Duration> {
    let seconds = match answer.get("expires_in")? {
        Value::Null => return None,
        Value::Number(number) => number.as_u64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    };
    Some(Duration::from_secs(seconds.unwrap_or_default()))
}

/// How long a token still lives that says so itself. That is good for keeping it no longer, and for nothing else: nobody has looked at
/// its signature.
fn rest_of_jwt(token: &str, now: Timestamp) -> Option<Duration> {
    let jws = CompactJws::parse(token).ok()?;
    let end = jws.with_unverified_claims(|claims| numeric_date(claims, "exp")).ok()?.ok()??;
    Some(end.saturating_since(now))
}

/// Section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";

/// With its scheme it must fit into a header that upstreams take: see `upstream::identity`.
const MAX_TOKEN_BYTES: usize = 8 * 1024 - 128;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    fn read(status: u16, body: &str) -> Option<Answer> {
        let headers = Headers::from_pairs([("content-type", "application/json")]);
        let now = Timestamp::from_unix_seconds(1_800_000_000);
        answer(&Response { status, headers, body: body.as_bytes().to_vec() }, None, now)
    }

    #[test]
    fn what_an_answer_must_be() {
        let good = format!(
            r#"{{"access_token":"a.b-c","issued_token_type":"{ACCESS_TOKEN}","token_type":"Bearer","expires_in":60}}"#
        );
        assert_eq!(read(200, &good), Some(Answer::Token(Rc::from("a.b-c"), Some(Duration::from_secs(60)))));
        for (from, to) in [
            ("a.b-c", "a b"),
            ("a.b-c", "a\\r\\nb"),
            ("a.b-c", ""),
            ("a.b-c", "=="),
            ("a.b-c", "é"),
            (r#""access_token""#, r#""id_token""#),
            ("Bearer", "DPoP"),
            ("Bearer", "N_A"),
            (r#","token_type":"Bearer""#, ""),
            (ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:id_token"),
            (ACCESS_TOKEN, "urn:ietf:params:oauth:token-type:refresh_token"),
            (r#""issued_token_type""#, r#""issued""#),
            (r#"{"#, r#"{"access_token":"other","#),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_eq!(read(200, &bad), None, "{bad}");
        }
        assert_eq!(read(201, &good), None);
        for error in ["invalid_grant", "invalid_target"] {
            assert_eq!(read(400, &format!(r#"{{"error":"{error}"}}"#)), Some(Answer::Refused));
        }
        for (status, body) in [
            (400, r#"{"error":"invalid_client"}"#),
            (401, r#"{"error":"invalid_client"}"#),
            (400, r#"{"error":"invalid_request"}"#),
            (400, "<html>"),
            (500, r#"{"error":"invalid_grant"}"#),
            (503, ""),
        ] {
            assert_eq!(read(status, body), None, "{status} {body}");
        }
        assert!(!format!("{:?}", read(200, &good)).contains("a.b-c"));
    }
}
