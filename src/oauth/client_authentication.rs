//! How the filter says to a provider who it is: RFC 6749, section 2.3; the methods of OpenID Connect Core, section 9.

use crate::config::{ClientAuthentication, ClientAuthenticationMethod};
use crate::jose::verifier::Verifier;
use crate::oauth::client_assertion::{self, client_assertion};
use crate::time::Timestamp;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded::{self, Serializer};

/// Puts into a request's form what proves to `issuer` that it is from this client. `about` is a token that the request is about.
/// `None` if nobody can sign for us.
pub fn in_form(
    client: Option<&ClientAuthentication>,
    issuer: &str,
    about: &str,
    form: &mut Serializer<String>,
    now: Timestamp,
    verifier: &Verifier,
) -> Option<()> {
    match client.map(|client| (client.id.as_str(), &client.method)) {
        Some((id, ClientAuthenticationMethod::Post(secret))) => {
            form.append_pair("client_id", id).append_pair("client_secret", secret.expose());
        }
        Some((id, ClientAuthenticationMethod::PrivateKeyJwt(key))) => {
            // Not used before: this token at this nanosecond.
            let jti = URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{now:?} {about}")));
            form.append_pair("client_id", id)
                .append_pair("client_assertion_type", client_assertion::TYPE)
                .append_pair("client_assertion", &client_assertion(key, id, issuer, &jti, now, verifier)?);
        }
        Some((_, ClientAuthenticationMethod::Basic(_))) | None => {}
    }
    Some(())
}

/// The value of the `Authorization` header by which a client proves itself, if it does so there.
pub fn in_header(client: Option<&ClientAuthentication>) -> Option<String> {
    match client.map(|client| (client.id.as_str(), &client.method)) {
        Some((id, ClientAuthenticationMethod::Basic(secret))) => Some(basic(id, secret.expose())),
        _ => None,
    }
}

/// RFC 6749, section 2.3.1: both are form-encoded before they are joined.
fn basic(id: &str, secret: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{}:{}", form_encoded(id), form_encoded(secret))))
}

fn form_encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
