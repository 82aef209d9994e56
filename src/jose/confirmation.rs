//! Confirmations: to whose key a token is bound. RFC 7800 (`cnf`), RFC 9449 (section 6: `jkt`), RFC 8705 (section 3.1:
//! `x5t#S256`).
//!
//! The invariant: a token that says anything of a binding is bound, or refused. A method that is not known can't be checked,
//! and one that is malformed may mean anything: neither is left out in favour of what else stands there.

use super::jwk::Thumbprint;
use crate::json::{Object, Value};
use std::fmt;

/// What whoever sends a token must show. At least one of the two is there, and all that is there must be shown.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Confirmation {
    key: Option<Thumbprint>,
    certificate: Option<Thumbprint>,
}

impl Confirmation {
    /// That of a token with these claims; `None` if it is bound to nothing.
    pub fn of(claims: &Object) -> Result<Option<Self>, Unreadable> {
        let Some(confirmation) = claims.get("cnf") else {
            // RFC 9449, section 5: such a type promises a binding. Where it is not told, it can't be checked.
            return if says_kind(claims, &["DPoP", "PoP", "MAC"]) { Err(Unreadable) } else { Ok(None) };
        };
        let Value::Object(methods) = confirmation else { return Err(Unreadable) };
        let mut confirmation = Self { key: None, certificate: None };
        for (method, value) in methods {
            let thumbprint = value.as_str().and_then(Thumbprint::parse).ok_or(Unreadable)?;
            match method.as_str() {
                "jkt" => confirmation.key = Some(thumbprint),
                "x5t#S256" => confirmation.certificate = Some(thumbprint),
                _ => return Err(Unreadable),
            }
        }
        match confirmation {
            Self { key: None, certificate: None } => Err(Unreadable),
            Self { key: None, .. } if says_kind(claims, &["DPoP"]) => Err(Unreadable),
            confirmation => Ok(Some(confirmation)),
        }
    }

    /// The key that must have signed a proof (`jkt`).
    pub fn key(&self) -> Option<Thumbprint> {
        self.key
    }

    /// The certificate that must be the client's (`x5t#S256`).
    pub fn certificate(&self) -> Option<Thumbprint> {
        self.certificate
    }
}

/// `cnf` is there, and does not say what can be checked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Unreadable;

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the confirmation of the token is malformed, or of a kind that is not known")
    }
}

impl std::error::Error for Unreadable {}

/// A client's key that is proved to be at hand. Only a DPoP proof that was verified for the request is one.
pub trait ProvenKey {
    /// The thumbprint of the key.
    fn thumbprint(&self) -> Thumbprint;
}

/// A client's certificate, whose key was at hand when its connection was made. Only what the TLS layer tells is one.
pub trait ProvenCertificate {
    /// The SHA-256 of the certificate.
    fn thumbprint(&self) -> Thumbprint;
}

/// Whether a token says that it is of one of these kinds, in `token_type` (RFC 6749, section 5.1; RFC 7662, section 2.2; RFC 9200,
/// section 8.3, for `PoP`) or, as Keycloak does, in `typ`.
fn says_kind(claims: &Object, kinds: &[&str]) -> bool {
    let mut said = ["token_type", "typ"].into_iter().filter_map(|name| claims.get(name).and_then(Value::as_str));
    said.any(|said| kinds.iter().any(|kind| kind.eq_ignore_ascii_case(said)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;

    const A: &str = "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU";

    fn of(claims: &str) -> Result<Option<Confirmation>, Unreadable> {
        Confirmation::of(&json::parse_object(claims.replace("$A", A).as_bytes()).unwrap())
    }

    #[test]
    fn what_is_said_of_a_binding_is_understood_or_refused() {
        assert_eq!(of("{}"), Ok(None));
        let key = of(r#"{"cnf":{"jkt":"$A"}}"#).unwrap().unwrap();
        assert_eq!((key.key(), key.certificate()), (Thumbprint::parse(A), None));
        let both = of(r#"{"cnf":{"jkt":"$A","x5t#S256":"$A"}}"#).unwrap().unwrap();
        assert_eq!((both.key(), both.certificate()), (Thumbprint::parse(A), Thumbprint::parse(A)));
        for malformed in [
            r#"{"cnf":null}"#,
            r#"{"cnf":{}}"#,
            r#"{"cnf":[]}"#,
            r#"{"cnf":"$A"}"#,
            r#"{"cnf":1}"#,
            r#"{"cnf":true}"#,
            r#"{"cnf":{"jkt":null}}"#,
            r#"{"cnf":{"jkt":["$A"]}}"#,
            r#"{"cnf":{"jkt":"$A="}}"#,
            r#"{"cnf":{"jkt":""}}"#,
            r#"{"cnf":{"JKT":"$A"}}"#,
            r#"{"cnf":{"x5t#s256":"$A"}}"#,
            r#"{"cnf":{"x5t":"$A"}}"#,
            r#"{"cnf":{"kid":"$A"}}"#,
            r#"{"cnf":{"jwk":{"kty":"oct"}}}"#,
            r#"{"cnf":{"jkt":"$A","kid":"1"}}"#,
            r#"{"cnf":{"jkt":"$A","x5t#S256":"no"}}"#,
            r#"{"cnf":{"jkt":"$A","other":"$A"}}"#,
        ] {
            assert_eq!(of(malformed), Err(Unreadable), "{malformed}");
        }
    }

    #[test]
    fn a_type_that_promises_a_binding_has_one() {
        assert_eq!(of(r#"{"token_type":"DPoP"}"#), Err(Unreadable));
        assert_eq!(of(r#"{"token_type":"dpop"}"#), Err(Unreadable));
        assert_eq!(of(r#"{"token_type":"DPoP","cnf":{"x5t#S256":"$A"}}"#), Err(Unreadable));
        assert!(of(r#"{"token_type":"DPoP","cnf":{"jkt":"$A"}}"#).unwrap().is_some());
        for kind in ["PoP", "pop", "mac", "MAC"] {
            assert_eq!(of(&format!(r#"{{"token_type":"{kind}"}}"#)), Err(Unreadable), "{kind}");
            let bound = of(&format!(r#"{{"token_type":"{kind}","cnf":{{"x5t#S256":"$A"}}}}"#));
            assert!(bound.unwrap().is_some(), "{kind}");
        }
        // Keycloak's way to say it.
        assert_eq!(of(r#"{"typ":"DPoP"}"#), Err(Unreadable));
        assert_eq!(of(r#"{"typ":"DPoP","cnf":{"x5t#S256":"$A"}}"#), Err(Unreadable));
        assert!(of(r#"{"typ":"DPoP","cnf":{"jkt":"$A"}}"#).unwrap().is_some());
        assert_eq!(of(r#"{"typ":"Bearer"}"#), Ok(None));
        assert_eq!(of(r#"{"token_type":"Bearer"}"#), Ok(None));
        assert!(of(r#"{"token_type":"Bearer","cnf":{"jkt":"$A"}}"#).unwrap().is_some());
    }
}
