//! How the filter proves to a provider who it is with a private key: RFC 7523, section 2.2 (`private_key_jwt` of OpenID
//! Connect Core, section 9).

use crate::jose::signing::SigningKey;
use crate::jose::verifier::Verifier;
use crate::json::Object;
use crate::time::Timestamp;

/// The value of `client_assertion_type`.
pub const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// An assertion of `client` for `audience`, good for a minute (section 3). `jti` must not have been used before. `None` if nobody
/// can sign it.
pub fn client_assertion(
    key: &SigningKey,
    client: &str,
    audience: &str,
    jti: &str,
    now: Timestamp,
    verifier: &Verifier,
) -> Option<String> {
    let issued = now.unix_millis().div_euclid(1000);
    let mut claims = Object::new();
    claims.insert("iss".to_owned(), client.into());
    claims.insert("sub".to_owned(), client.into());
    claims.insert("aud".to_owned(), audience.into());
    claims.insert("jti".to_owned(), jti.into());
    claims.insert("iat".to_owned(), issued.into());
    claims.insert("exp".to_owned(), issued.saturating_add(LIFETIME_SECONDS).into());
    key.jwt("JWT", &claims, verifier).map(|signed| signed.jwt)
}

/// Long enough for clocks that differ a little, short enough to be worthless when it is found.
const LIFETIME_SECONDS: i64 = 60;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jose::jwk::{JwkSet, KeySetOrigin};
    use crate::jose::jws::CompactJws;

    /// RFC 7515, appendix A.3.1, and RFC 8037, appendix A.1: the private keys and their public halves.
    const KEYS: [(&str, &str); 2] = [
        (
            r#""kty":"EC","crv":"P-256","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU","y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0""#,
            r#""d":"jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI""#,
        ),
        (
            r#""kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo""#,
            r#""d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A""#,
        ),
    ];

    #[test]
    fn an_assertion_verifies_with_the_public_half() {
        for (public, private) in KEYS {
            let key = SigningKey::parse(format!("{{{public},{private},\"kid\":\"k\"}}").as_bytes()).unwrap();
            let now = Timestamp::from_unix_seconds(1_000_000);
            let assertion = client_assertion(&key, "me", "https://op", "once", now, &Verifier::default()).unwrap();
            let set =
                JwkSet::parse(format!("{{\"keys\":[{{{public},\"kid\":\"k\"}}]}}").as_bytes(), KeySetOrigin::Remote)
                    .unwrap();
            let jws = CompactJws::parse(&assertion).unwrap();
            let payload = jws.verify(set.candidates(Some("k"), jws.algorithm()), &Verifier::default()).unwrap();
            let expected = r#"{"aud":"https://op","exp":1000060,"iat":1000000,"iss":"me","jti":"once","sub":"me"}"#;
            assert_eq!(std::str::from_utf8(payload.octets()), Ok(expected));
        }
    }
}
