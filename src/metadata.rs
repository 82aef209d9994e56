//! What an issuer says about itself: OpenID Connect Discovery 1.0, section 4, and RFC 8414, section 3.
//!
//! The invariant: a document that names another issuer is not used (section 4.3 there, section 3.3 here).

use crate::json;

/// The members of an issuer's metadata that a resource server needs. The URLs are not checked yet.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Metadata {
    /// `jwks_uri`.
    pub jwks_uri: Option<String>,
    /// `introspection_endpoint`.
    pub introspection_endpoint: Option<String>,
    /// `userinfo_endpoint`.
    pub userinfo_endpoint: Option<String>,
}

/// Why a document is not used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Error {
    /// It is not a strict JSON object with strings where there must be strings.
    Malformed,
    /// It is another issuer's.
    WrongIssuer,
}

impl Metadata {
    /// Reads the document of `issuer`.
    pub fn parse(document: &[u8], issuer: &str) -> Result<Self, Error> {
        let mut document = json::parse_object(document).map_err(|_| Error::Malformed)?;
        let mut text = |name: &str| match document.remove(name) {
            None | Some(json::Value::Null) => Ok(None),
            Some(json::Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(Error::Malformed),
        };
        if text("issuer")?.as_deref() != Some(issuer) {
            return Err(Error::WrongIssuer);
        }
        Ok(Self {
            jwks_uri: text("jwks_uri")?,
            introspection_endpoint: text("introspection_endpoint")?,
            userinfo_endpoint: text("userinfo_endpoint")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_01_the_issuer_is_compared_exactly() {
        let parse = |issuer: &str| Metadata::parse(format!(r#"{{"issuer":{issuer}}}"#).as_bytes(), "https://a");
        assert_eq!(parse(r#""https://a""#), Ok(Metadata::default()));
        for other in [r#""https://a/""#, r#""https://A""#, r#""http://a""#, "null", r#""""#] {
            assert_eq!(parse(other), Err(Error::WrongIssuer), "{other}");
        }
        assert_eq!(Metadata::parse(b"{}", "https://a"), Err(Error::WrongIssuer));
    }

    #[test]
    fn out_09_hostile_documents() {
        for document in [
            "",
            "[]",
            "<html>",
            r#"{"issuer":"https://a","issuer":"https://a"}"#,
            r#"{"issuer":["https://a"]}"#,
            r#"{"issuer":"https://a","jwks_uri":7}"#,
        ] {
            assert_eq!(Metadata::parse(document.as_bytes(), "https://a"), Err(Error::Malformed), "{document}");
        }
    }
}
