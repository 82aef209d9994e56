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
        // One walk in place of a search for each name: most tokens say nothing.
        if !claims.keys().any(|name| matches!(name.as_str(), "cnf" | "token_type" | "typ" | "x5t#S256")) {
            return Ok(None);
        }
        let mut confirmation = Self { key: None, certificate: certificate_beside(claims)? };
        match claims.get("cnf") {
            // RFC 9449, section 5: such a type promises a binding. Where it is not told, it can't be checked.
            None if confirmation.certificate.is_none() => {
                return if says_kind(claims, &["DPoP", "PoP", "MAC"]) { Err(Unreadable) } else { Ok(None) };
            }
            None => {}
            Some(Value::Object(methods)) if !methods.is_empty() => confirmation.add(methods)?,
            Some(_) => return Err(Unreadable),
        }
        let lacks_key = confirmation.key.is_none() && says_kind(claims, &["DPoP"]);
        if lacks_key { Err(Unreadable) } else { Ok(Some(confirmation)) }
    }

    /// Adds what the members of `cnf` say.
    fn add(&mut self, methods: &Object) -> Result<(), Unreadable> {
        for (method, value) in methods {
            let thumbprint = value.as_str().and_then(Thumbprint::parse).ok_or(Unreadable)?;
            match method.as_str() {
                "jkt" => self.key = Some(thumbprint),
                "x5t#S256" if self.certificate.is_none_or(|beside| beside == thumbprint) => {
                    self.certificate = Some(thumbprint);
                }
                _ => return Err(Unreadable),
            }
        }
        Ok(())
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

/// What Gluu and Janssen write into their JWTs beside `cnf`, or in its place: to which certificate a token is bound, or nothing.
fn certificate_beside(claims: &Object) -> Result<Option<Thumbprint>, Unreadable> {
    match claims.get("x5t#S256") {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(value) => value.as_str().and_then(Thumbprint::parse).map(Some).ok_or(Unreadable),
    }
}

/// Whether a token says that it is of one of these kinds, in `token_type` (RFC 6749, section 5.1; RFC 7662, section 2.2; RFC 9200,
/// section 8.3, for `PoP`) or, as Keycloak does, in `typ`; or in a list of words there.
fn says_kind(claims: &Object, kinds: &[&str]) -> bool {
    let said = ["token_type", "typ"].into_iter().filter_map(|name| claims.get(name));
    let words = said.flat_map(|said| said.as_array().map_or(std::slice::from_ref(said), Vec::as_slice));
    words.filter_map(Value::as_str).any(|word| kinds.iter().any(|kind| kind.eq_ignore_ascii_case(word.trim())))
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

    /// Janssen's `AuthorizationGrant.fillPayloadOfAccessTokenJwt`.
    #[test]
    fn a_certificate_beside_the_confirmation_binds_as_much() {
        let certificate = |text: &str| of(text).unwrap().and_then(|bound| bound.certificate());
        for nothing in [r#"{"x5t#S256":""}"#, r#"{"x5t#S256":null}"#] {
            assert_eq!(of(nothing), Ok(None), "{nothing}");
        }
        assert_eq!(certificate(r#"{"x5t#S256":"$A"}"#), Thumbprint::parse(A));
        assert_eq!(certificate(r#"{"x5t#S256":"$A","cnf":{"x5t#S256":"$A"}}"#), Thumbprint::parse(A));
        assert_eq!(certificate(r#"{"x5t#S256":"$A","token_type":"PoP"}"#), Thumbprint::parse(A));
        let both = of(r#"{"x5t#S256":"$A","token_type":"DPoP","cnf":{"jkt":"$A"}}"#).unwrap().unwrap();
        assert_eq!((both.key(), both.certificate()), (Thumbprint::parse(A), Thumbprint::parse(A)));
        for odd in [
            r#"{"x5t#S256":"x"}"#,
            r#"{"x5t#S256":"$A="}"#,
            r#"{"x5t#S256":["$A"]}"#,
            r#"{"x5t#S256":{}}"#,
            r#"{"x5t#S256":false}"#,
            r#"{"x5t#S256":"$A","cnf":{}}"#,
            r#"{"x5t#S256":"$A","cnf":null}"#,
            r#"{"x5t#S256":"$A","cnf":{"kid":"1"}}"#,
            r#"{"x5t#S256":"$A","cnf":{"x5t#S256":"NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"}}"#,
            r#"{"x5t#S256":"$A","token_type":"DPoP"}"#,
        ] {
            assert_eq!(of(odd), Err(Unreadable), "{odd}");
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
        for list in [r#"["DPoP"]"#, r#"["Bearer","dpop"]"#, r#"" DPoP""#] {
            assert_eq!(of(&format!(r#"{{"token_type":{list}}}"#)), Err(Unreadable), "{list}");
            assert_eq!(of(&format!(r#"{{"typ":{list},"cnf":{{"x5t#S256":"$A"}}}}"#)), Err(Unreadable), "{list}");
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
