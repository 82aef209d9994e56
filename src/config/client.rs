//! How the filter says who it is where it asks (RFC 6749, section 2.3.1; OpenID Connect Core, section 9). A secret is never printed.

use super::Error;
use super::fields::{Fields, placed};
use crate::jose::signing::SigningKey;
use crate::jose::verifier::Verifier;
use std::fmt;

/// How the filter authenticates itself (RFC 6749, section 2.3.1).
#[derive(Debug)]
pub struct ClientAuthentication {
    /// `client_id`.
    pub id: String,
    /// How it is proved.
    pub method: ClientAuthenticationMethod,
}

/// How a client proves who it is: the methods of OpenID Connect Core, section 9.
#[derive(Debug)]
pub enum ClientAuthenticationMethod {
    /// `client_secret_basic`: by a secret in the Authorization header.
    Basic(Secret),
    /// `client_secret_post`: by a secret in the body.
    Post(Secret),
    /// `private_key_jwt`: by an assertion in the body.
    PrivateKeyJwt(Box<SigningKey>),
}

/// A text that is never printed.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    pub(super) fn new(text: String) -> Self {
        Self(text)
    }

    /// The text, for the one call that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl ClientAuthentication {
    /// Whether somebody can sign what is to prove who we are.
    pub(super) fn can_sign(&self, verifier: &Verifier) -> bool {
        self.key().is_none_or(|key| key.can_sign(verifier))
    }

    /// The key by which it is proved, if it is by one.
    pub(super) fn key(&self) -> Option<&SigningKey> {
        match &self.method {
            ClientAuthenticationMethod::PrivateKeyJwt(key) => Some(key),
            ClientAuthenticationMethod::Basic(_) | ClientAuthenticationMethod::Post(_) => None,
        }
    }

    /// What says who we are, if anything does.
    pub(super) fn from_fields(fields: &mut Fields) -> Result<Option<Self>, Error> {
        let method = fields.string("client_auth")?;
        let id = visible(fields, "client_id")?;
        let secret = visible(fields, "client_secret")?.map(Secret);
        let key = fields.json_text("client_key")?;
        let key_id = fields.string("client_key_id")?;
        if key_id.is_some() && key.is_none() {
            return Err(fields.error("client_key_id", "is the name of `client_key`, which is not there"));
        }
        let Some(id) = id.filter(|id| !id.is_empty()) else {
            return if method.is_some() || secret.is_some() || key.is_some() {
                Err(fields.error("client_id", "required with client_auth, client_secret or client_key, and not empty"))
            } else {
                Ok(None)
            };
        };
        let method = match method.as_deref() {
            None | Some("basic" | "post") => {
                if key.is_some() {
                    return Err(fields.error("client_key", "is for client_auth private_key_jwt only"));
                }
                let secret = secret.filter(|secret| !secret.0.is_empty());
                let secret =
                    secret.ok_or_else(|| fields.error("client_secret", "required with client_id, and not empty"))?;
                match method.as_deref() {
                    Some("post") => ClientAuthenticationMethod::Post(secret),
                    _ => ClientAuthenticationMethod::Basic(secret),
                }
            }
            Some("private_key_jwt") if secret.is_some() => {
                return Err(fields.error("client_secret", "not beside client_auth private_key_jwt"));
            }
            Some("private_key_jwt") => {
                let jwk = key
                    .as_deref()
                    .ok_or_else(|| fields.error("client_key", "required: a private key, as a JWK or in PEM"))?;
                let key = SigningKey::parse(jwk.as_bytes());
                let key = key.map_err(|error| fields.error("client_key", placed(error, jwk)))?;
                let key = match key_id {
                    None => key,
                    Some(id) => key
                        .named(&id)
                        .ok_or_else(|| fields.error("client_key_id", "not beside a key that has a name of its own"))?,
                };
                ClientAuthenticationMethod::PrivateKeyJwt(Box::new(key))
            }
            Some(_) => return Err(fields.error("client_auth", "expected basic, post or private_key_jwt")),
        };
        Ok(Some(ClientAuthentication { id, method }))
    }
}

/// What a client is called, and its secret: RFC 6749, appendix A.1 and A.2. Files that an editor or `echo` has written end in a
/// line break, and no server would know such a secret.
fn visible(fields: &mut Fields, field: &'static str) -> Result<Option<String>, Error> {
    let text = fields.string(field)?;
    let Some(strange) = text.as_ref().and_then(|text| text.bytes().find(|byte| !matches!(byte, b' '..=b'~'))) else {
        return Ok(text);
    };
    let problem = match strange {
        b'\n' | b'\r' => {
            "holds a line break, which no server takes for a part of it: write its file without (`printf %s`, not `echo`)"
        }
        _ => "holds a character that is not printable ASCII (RFC 6749, appendix A)",
    };
    Err(fields.error(field, problem))
}
