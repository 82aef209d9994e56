//! What an issuer says about itself: OpenID Connect Discovery 1.0, section 4, and RFC 8414, section 3.
//!
//! The invariant: a document that names another issuer is not used (section 4.3 there, section 3.3 here), nor one that says
//! twice what is read here. Of its other members nothing is wanted but that they are JSON.

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
    /// `token_endpoint`.
    pub token_endpoint: Option<String>,
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
        let document = json::Members::parse(document).map_err(|_| Error::Malformed)?;
        if text(&document, "issuer")?.as_deref() != Some(issuer) {
            return Err(Error::WrongIssuer);
        }
        Ok(Self {
            jwks_uri: text(&document, "jwks_uri")?,
            introspection_endpoint: text(&document, "introspection_endpoint")?,
            userinfo_endpoint: text(&document, "userinfo_endpoint")?,
            token_endpoint: text(&document, "token_endpoint")?,
        })
    }
}

/// The text of a member. As in key sets, what is empty says nothing.
fn text(document: &json::Members, name: &str) -> Result<Option<String>, Error> {
    let written = document.one(name).map_err(|_| Error::Malformed)?;
    match written.map(|text| json::parse(text.as_bytes())) {
        None | Some(Ok(json::Value::Null)) => Ok(None),
        Some(Ok(json::Value::String(text))) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(_) => Err(Error::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// OUT-01.
    #[test]
    fn the_issuer_is_compared_exactly() {
        let parse = |issuer: &str| Metadata::parse(format!(r#"{{"issuer":{issuer}}}"#).as_bytes(), "https://a");
        assert_eq!(parse(r#""https://a""#), Ok(Metadata::default()));
        for other in [r#""https://a/""#, r#""https://A""#, r#""http://a""#, "null", r#""""#] {
            assert_eq!(parse(other), Err(Error::WrongIssuer), "{other}");
        }
        assert_eq!(Metadata::parse(b"{}", "https://a"), Err(Error::WrongIssuer));
    }

    #[test]
    fn what_is_not_read_may_be_said_twice() {
        for other in [
            r#""claims_supported":["a"],"claims_supported":["b"]"#,
            r#""mtls_endpoint_aliases":{"a":1,"a":2},"x":"\ud800","#.trim_end_matches(','),
            &format!(r#""x":{}{}"#, "[".repeat(1000), "]".repeat(1000)),
        ] {
            let document = format!(r#"{{{other},"issuer":"https://a","jwks_uri":"https://a/k"}}"#);
            let found = Metadata::parse(document.as_bytes(), "https://a").unwrap();
            assert_eq!(found.jwks_uri.as_deref(), Some("https://a/k"), "{document:.80}");
        }
    }

    #[test]
    fn an_endpoint_that_is_empty_is_none() {
        for nothing in ["null", r#""""#] {
            let document = format!(
                r#"{{"issuer":"https://a","jwks_uri":"https://a/k","introspection_endpoint":{nothing},"userinfo_endpoint":{nothing}}}"#
            );
            let expected = Metadata { jwks_uri: Some("https://a/k".to_owned()), ..Metadata::default() };
            assert_eq!(Metadata::parse(document.as_bytes(), "https://a"), Ok(expected), "{nothing}");
        }
    }

    /// OUT-09.
    #[test]
    fn hostile_metadata_are_refused() {
        for document in [
            "",
            "[]",
            "<html>",
            r#"{"issuer":"https://a","issuer":"https://a"}"#,
            r#"{"issuer":"https://a","\u0069ssuer":"https://b"}"#,
            r#"{"issuer":"https://a","jwks_uri":"https://a/k","jwks_uri":"https://a/k"}"#,
            r#"{"issuer":"https://a","userinfo_endpoint":null,"userinfo_endpoint":"https://a/u"}"#,
            r#"{"issuer":"https://a","jwks_uri":"\ud800"}"#,
            r#"{"issuer":["https://a"]}"#,
            r#"{"issuer":"https://a","jwks_uri":7}"#,
        ] {
            assert_eq!(Metadata::parse(document.as_bytes(), "https://a"), Err(Error::Malformed), "{document}");
        }
    }
}
