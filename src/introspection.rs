//! Token introspection: RFC 7662.
//!
//! The invariant: only a JSON `true` in `active` makes claims of an answer.

use crate::config::{ClientAuthenticationMethod, Provider};
use crate::credentials::Token;
use crate::http::{Endpoint, Fetch, Response};
use crate::json::{self, Object, Value};
use crate::jwt;
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded;

/// The call that asks about `token` (section 2.1).
pub fn request(provider: &Provider, mut endpoint: Endpoint, token: &Token, now: Timestamp) -> Fetch {
    let settings = &provider.introspection;
    let client = settings.client.as_ref().map(|client| (client.id.as_str(), &client.method));
    let mut headers = vec![("accept", "application/json".to_owned()), ("accept-encoding", "identity".to_owned())];
    let mut body = String::new();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair(&settings.parameter, token.as_str());
    if settings.method == "GET" {
        let separator = if endpoint.path.contains('?') { '&' } else { '?' };
        endpoint.path.push(separator);
        endpoint.path.push_str(&form.finish());
    } else {
        form.append_pair("token_type_hint", "access_token");
        match client {
            Some((id, ClientAuthenticationMethod::Post(secret))) => {
                form.append_pair("client_id", id).append_pair("client_secret", secret.expose());
            }
            Some((id, ClientAuthenticationMethod::PrivateKeyJwt(key))) => {
                // Not used before: this token at this nanosecond.
                let jti = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{now:?} {}", token.as_str())));
                form.append_pair("client_id", id)
                    .append_pair("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")
                    .append_pair("client_assertion", &key.assertion(id, &provider.issuer, &jti, now));
            }
            Some((_, ClientAuthenticationMethod::Basic(_))) | None => {}
        }
        body = form.finish();
        headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
    }
    if let Some((id, ClientAuthenticationMethod::Basic(secret))) = client {
        headers.push(("authorization", basic(id, secret.expose())));
    }
    Fetch { endpoint, method: settings.method, headers, body: body.into_bytes(), timeout: provider.timeout }
}

/// What the provider says about a token.
pub enum Answer {
    /// It is active, and this is what else there is about it.
    Active(Object),
    /// It is not, for whatever reason.
    Inactive,
}

/// Reads an answer (section 2.2). `None` if it says nothing about the token, which may still be good then: another
/// status, another media type, no JSON object.
pub fn answer(response: &Response) -> Option<Answer> {
    let mut object = match json_object(response)? {
        Answer::Active(object) => object,
        Answer::Inactive => return Some(Answer::Inactive),
    };
    match object.remove("active") {
        Some(Value::Bool(true)) if is_access_token(&object) => Some(Answer::Active(object)),
        _ => Some(Answer::Inactive),
    }
}

/// The JSON object of a `200`, as introspection and userinfo answer. One that says two things at once, by a member
/// given twice, vouches for nothing.
pub fn json_object(response: &Response) -> Option<Answer> {
    let media_type = response.media_type();
    let is_json = media_type.is_empty() || media_type == "application/json" || media_type.ends_with("+json");
    if response.status != 200 || !is_json || response.body.len() > MAX_TOKEN_ANSWER_BYTES {
        return None;
    }
    match json::parse_object(&response.body) {
        Ok(object) => Some(Answer::Active(object)),
        Err(json::Error::DuplicateMember) => Some(Answer::Inactive),
        Err(_) => None,
    }
}

/// An active refresh or ID token is none that a resource server may take (RFC 9068, section 5; RFC 6749, section 1.5).
/// Providers say so in `token_type`, `token_use` or (OpenIddict) `token_usage`, in words of their own: known ones pass.
fn is_access_token(object: &Object) -> bool {
    let is_one_of = |name: &str, known: &[&str]| match object.get(name) {
        None | Some(Value::Null) => true,
        Some(Value::String(text)) => known.iter().any(|known| known.eq_ignore_ascii_case(text)),
        Some(_) => false,
    };
    // `typ` is Keycloak's word, and may also be that of the JWT's header: there, the known wrong ones are refused.
    let is_other = |name: &str| ["ID", "Logout"].iter().any(|other| other.eq_ignore_ascii_case(name));
    // A DPoP token is refused: its binding can't be checked (RFC 9449, section 7.2).
    // `JWT` is Oracle's word (IDCS) for its access tokens.
    is_one_of("token_type", &["Bearer", "access_token", "urn:ietf:params:oauth:token-type:access_token", "JWT"])
        && is_one_of("token_use", &["access", "access_token"])
        && is_one_of("token_usage", &["access_token"])
        && !object.get("typ").and_then(Value::as_str).is_some_and(is_other)
        && !jwt::is_of_another_kind(object)
}

/// The largest answer about one token: eight times what fits into the headers of a request that carries its claims.
const MAX_TOKEN_ANSWER_BYTES: usize = 64 * 1024;

/// RFC 6749, section 2.3.1: both halves are form-encoded before they are joined.
fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    format!("Basic {}", STANDARD.encode(format!("{}:{}", encode(id), encode(secret))))
}
