//! A public key that a signature brings with it (RFC 7515, section 4.1.3), and its thumbprint (RFC 7638).
//!
//! The invariant: a [`PublicJwk`] has nothing private beside it, and its parameters stand in the only spelling that RFC 7518
//! knows for them: two texts are never one key under one thumbprint.

use super::certificate::Certificate;
use super::{Jwk, KeySetOrigin, Thumbprint};
use crate::json::{Object, Value};
use std::fmt;

/// A public key in its only spelling.
#[derive(Clone, Debug)]
pub struct PublicJwk {
    key: Jwk,
    thumbprint: Thumbprint,
}

impl PublicJwk {
    /// Reads a JWK that is meant to be public. Of a key set one is lenient; whoever makes a proof makes its key, and can
    /// write it as it should be.
    pub fn parse(jwk: &Value) -> Result<Self, NotPublic> {
        let Value::Object(object) = jwk else { return Err(NotPublic) };
        if PRIVATE.iter().any(|name| object.contains_key(*name)) || !is_described_by_the_book(object) {
            return Err(NotPublic);
        }
        let key = Jwk::parse(jwk, KeySetOrigin::Remote).map_err(|_| NotPublic)?;
        let members = key.public_members().ok_or(NotPublic)?;
        if members.iter().any(|(name, value)| object.get(name) != Some(value)) {
            return Err(NotPublic);
        }
        let thumbprint = key.thumbprint().ok_or(NotPublic)?;
        Ok(Self { key, thumbprint })
    }

    /// The key.
    pub fn key(&self) -> &Jwk {
        &self.key
    }

    /// The SHA-256 of its required members.
    pub fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }
}

/// Whether what a key says of itself is said as RFC 7517, section 4, has it. In key sets, `null` and empty members are as good as
/// none, and what can't be read of a certificate is left aside.
fn is_described_by_the_book(jwk: &Object) -> bool {
    jwk.iter().all(|(name, value)| match name.as_str() {
        "use" => value == "sig",
        "alg" | "kid" | "x5t" | "x5t#S256" | "x5u" => is_text(value),
        "key_ops" => value.as_array().is_some_and(|operations| {
            let mut known: Vec<&Value> = Vec::new();
            !operations.is_empty()
                && operations.iter().all(|one| {
                    let is_new = is_text(one) && !known.contains(&one);
                    known.push(one);
                    is_new
                })
        }),
        "x5c" => Certificate::of_jwk(jwk).is_some(),
        _ => true,
    })
}

fn is_text(value: &Value) -> bool {
    value.as_str().is_some_and(|text| !text.is_empty())
}

/// What was to be a public key is none, holds a private one, or stands in a spelling of its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotPublic;

impl fmt::Display for NotPublic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the key is no public key in the spelling of RFC 7518")
    }
}

impl std::error::Error for NotPublic {}

/// RFC 7518, sections 6.2.2, 6.3.2 and 6.4.1; RFC 8037, section 2. Empty ones, too: somebody meant to write a secret.
const PRIVATE: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json;
    use base64::Engine as _;
    use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64URL;

    fn parse(text: &str) -> Result<PublicJwk, NotPublic> {
        PublicJwk::parse(&json::parse(text.as_bytes()).unwrap())
    }

    const P256: &str = r#""kty":"EC","crv":"P-256","x":"l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs","y":"9VE4jf_Ok_o64zbTTlcuNJajHmt6v9TDVrU0CdvGRDA""#;
    const ED25519: &str = r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#;
    const RSA_N: &str = "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw";

    #[test]
    fn thumbprints_of_the_specifications() {
        let of = |text: &str| parse(text).unwrap().thumbprint().to_string();
        // RFC 9449, figures 1 and 5; RFC 8037, appendix A.3; RFC 7638, section 3.1.
        assert_eq!(of(&format!("{{{P256}}}")), "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I");
        assert_eq!(of(&format!("{{{ED25519}}}")), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
        let rsa = format!(r#"{{"kty":"RSA","e":"AQAB","n":"{RSA_N}"}}"#);
        assert_eq!(of(&rsa), "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs");
    }

    #[test]
    fn other_members_and_their_order_change_nothing() {
        let thumbprint = parse(&format!("{{{P256}}}")).unwrap().thumbprint();
        for members in [
            format!(r#"{{"alg":"ES256","kid":"1","use":"sig","key_ops":["verify"],"ext":true,{P256}}}"#),
            format!(r#"{{{P256},"x-other":{{"d":1}}}}"#),
            format!("{{{}}}", P256.split(',').rev().collect::<Vec<_>>().join(",")),
        ] {
            assert_eq!(parse(&members).unwrap().thumbprint(), thumbprint, "{members}");
        }
    }

    #[test]
    fn keys_that_are_not_public_or_not_canonical() {
        let ed25519_x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
        let x = "l8tFrhx-34tV3hRICRDY9zCkDlpBhF42UQUfWVAWBFs";
        let zero_x = BASE64URL.encode([&[0], &BASE64URL.decode(x).unwrap()[..]].concat());
        let zero_n = BASE64URL.encode([&[0], &BASE64URL.decode(RSA_N).unwrap()[..]].concat());
        let mut bad = vec![
            "{}".to_owned(),
            "null".to_owned(),
            r#""text""#.to_owned(),
            format!("[{{{P256}}}]"),
            format!("{{{}}}", P256.replace(x, &format!("{x}="))),
            format!("{{{}}}", P256.replace(x, &zero_x)),
            format!("{{{}}}", P256.replace("9VE4", "9VE5")),
            format!("{{{}}}", P256.replace("P-256", "P-384")),
            format!("{{{}}}", P256.replace("P-256", "secp256k1")),
            format!("{{{}}}", P256.replace("\"EC\"", "\"ec\"")),
            format!("{{{}}}", P256.replace("\"EC\"", "\"OKP\"")),
            format!(r#"{{"use":"enc",{P256}}}"#),
            format!(r#"{{"alg":"ES384",{P256}}}"#),
            format!(r#"{{"alg":"HS256",{P256}}}"#),
            format!("{{{}}}", ED25519.replace(ed25519_x, &format!("{ed25519_x}="))),
            format!("{{{}}}", ED25519.replace("Ed25519", "Ed448")),
            format!("{{{}}}", ED25519.replace("Ed25519", "X25519")),
            r#"{"kty":"OKP","crv":"Ed25519","x":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}"#.to_owned(),
            format!(r#"{{"kty":"RSA","e":"AQAB","n":"{zero_n}"}}"#),
            format!(r#"{{"kty":"RSA","e":"AAEAAQ","n":"{RSA_N}"}}"#),
            format!(r#"{{"kty":"RSA","e":"AQ","n":"{RSA_N}"}}"#),
            format!(r#"{{"kty":"RSA","e":"AQAB","n":"{}"}}"#, &RSA_N[..172]),
            r#"{"kty":"oct","k":"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T"}"#.to_owned(),
        ];
        for (name, value) in [
            ("use", "''"),
            ("use", "null"),
            ("use", "[]"),
            ("use", "'jwt-svid'"),
            ("alg", "''"),
            ("alg", "null"),
            ("alg", "[]"),
            ("kid", "1"),
            ("kid", "[]"),
            ("key_ops", "[]"),
            ("key_ops", "null"),
            ("key_ops", "'verify'"),
            ("key_ops", "['sign']"),
            ("key_ops", "['verify',1]"),
            ("key_ops", "['verify','verify']"),
            ("x5c", "[]"),
            ("x5c", "['AAAA']"),
            ("x5c", "'AAAA'"),
            ("x5t", "1"),
            ("x5t#S256", "null"),
            ("x5u", "{}"),
        ] {
            bad.push(format!("{{{P256},\"{name}\":{}}}", value.replace('\'', "\"")));
        }
        for name in PRIVATE {
            bad.push(format!(r#"{{{P256},"{name}":"AQAB"}}"#));
            bad.push(format!(r#"{{{P256},"{name}":null}}"#));
        }
        for jwk in bad {
            assert_eq!(parse(&jwk).err(), Some(NotPublic), "{jwk}");
        }
    }
}
