//! The client's certificate (RFC 8705, section 3): what the TLS layer says of it, at Envoy itself or at a proxy before it.
//!
//! The invariant: a [`ClientCertificate`] comes from Envoy's own connection, or from a header that the operator says a proxy before
//! Envoy overwrites. Two answers to which certificate it is are none.

use crate::http::{Request, only};
use crate::jose::confirmation::ProvenCertificate;
use crate::jose::jwk::Thumbprint;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use percent_encoding::percent_decode;

/// The certificate of the client at hand.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ClientCertificate(Thumbprint);

impl ProvenCertificate for ClientCertificate {
    fn thumbprint(&self) -> Thumbprint {
        self.0
    }
}

impl ClientCertificate {
    /// That of the connection, by the digest that Envoy has of it.
    pub fn of_connection(digest: &[u8]) -> Option<Self> {
        Thumbprint::from_hex(digest).map(Self)
    }

    /// That which a proxy before Envoy has put into a header: `x-forwarded-client-cert` as Envoy writes it, `client-cert` as
    /// RFC 9440 has it, or a PEM text under any other name.
    pub fn in_header(request: &Request, name: &str) -> Option<Self> {
        let value = only(request.headers.all(name))?;
        let thumbprint = match name {
            "x-forwarded-client-cert" => forwarded_hash(value)?,
            "client-cert" => {
                let der = value.strip_prefix(b":")?.strip_suffix(b":")?;
                Thumbprint::of(&BASE64.decode(der).ok().filter(|der| !der.is_empty())?)
            }
            _ => Thumbprint::of(&pem(value)?),
        };
        Some(Self(thumbprint))
    }
}

/// `Hash` of Envoy's header. With two elements, two proxies have written: whose client is meant, nobody knows.
fn forwarded_hash(value: &[u8]) -> Option<Thumbprint> {
    let mut hashes = Vec::new();
    let mut is_quoted = false;
    let mut start = 0;
    let mut parts = Vec::new();
    let mut escaped = false;
    for (at, byte) in value.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if is_quoted => escaped = true,
            b'"' => is_quoted = !is_quoted,
            b',' if !is_quoted => return None,
            b';' if !is_quoted => {
                parts.push(value.get(start..at)?);
                start = at.checked_add(1)?;
            }
            _ => {}
        }
    }
    if is_quoted {
        return None;
    }
    parts.push(value.get(start..)?);
    for part in parts {
        let equals = part.iter().position(|byte| *byte == b'=')?;
        let (key, hash) = part.split_at_checked(equals)?;
        if key.trim_ascii().eq_ignore_ascii_case(b"hash") {
            hashes.push(hash.get(1..)?.trim_ascii());
        }
    }
    Thumbprint::from_hex(only(hashes.into_iter())?)
}

/// The DER of the one certificate of a PEM text (RFC 7468), percent-encoded as nginx and HAProxy hand it on, or with spaces or
/// tabs for its line ends.
fn pem(value: &[u8]) -> Option<Vec<u8>> {
    let decoded: Vec<u8> = percent_decode(value).collect();
    let text = std::str::from_utf8(&decoded).ok()?.trim();
    let block = text.strip_prefix(BEGIN)?.strip_suffix(END)?;
    // A second certificate would be a chain of unknown order. It has hyphens, which base64 has not.
    let der = BASE64.decode(block.split_ascii_whitespace().collect::<String>()).ok()?;
    (!der.is_empty()).then_some(der)
}

const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
const END: &str = "-----END CERTIFICATE-----";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    const HEX: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    fn in_header(name: &str, values: &[&str]) -> Option<ClientCertificate> {
        let headers = Headers::from_pairs(values.iter().map(|value| (name, value)));
        ClientCertificate::in_header(&Request { headers, ..Request::default() }, name)
    }

    #[test]
    fn xfcc() {
        let certificate = ClientCertificate::of_connection(HEX.as_bytes());
        assert!(certificate.is_some());
        let xfcc = |value: &str| in_header("x-forwarded-client-cert", &[&value.replace("$H", HEX)]);
        for good in [
            "Hash=$H",
            "By=spiffe://x;Hash=$H;URI=spiffe://y",
            "hash=$H",
            r#"Hash=$H;Subject="CN=a,O=b;c\"d,Hash=00""#,
            "By=a; Hash=$H ",
        ] {
            assert_eq!(xfcc(good), certificate, "{good}");
        }
        for bad in [
            "",
            "$H",
            "Hash=",
            "Hash=$H,Hash=$H",
            "Hash=$H;Hash=$H",
            "By=x;Hash=$H,By=y;Hash=$H",
            "Hash=\"$H\"",
            r#"Subject="Hash=$H""#,
            r#"Subject=";Hash=$H"#,
            r#"Subject="a\";Hash=$H;x=""#,
            "Hash=00$H",
            "xHash=$H",
        ] {
            assert_eq!(xfcc(bad), None, "{bad}");
        }
        assert_eq!(in_header("x-forwarded-client-cert", &[]), None);
        let value = format!("Hash={HEX}");
        assert_eq!(in_header("x-forwarded-client-cert", &[&value, &value]), None);
    }

    #[test]
    fn pem_and_rfc_9440() {
        let der = b"any octets: what is hashed is not parsed";
        let base64 = BASE64.encode(der);
        let expected = Some(ClientCertificate(Thumbprint::of(der)));
        let pem = format!("{BEGIN}\n{}\n{}\n{END}\n", &base64[..20], &base64[20..]);
        let encoded = percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC).to_string();
        assert_eq!(in_header("x-ssl-client-cert", &[&encoded]), expected);
        assert_eq!(in_header("x-ssl-client-cert", &[&pem.replace('\n', " ")]), expected);
        assert_eq!(in_header("x-ssl-client-cert", &[&pem.replace('\n', "\t")]), expected);
        assert_eq!(in_header("client-cert", &[&format!(":{base64}:")]), expected);
        let two = format!("{encoded}{encoded}");
        for bad in ["", "(null)", base64.as_str(), &two, &encoded[..encoded.len() - 6], &format!(":{base64}:")] {
            assert_eq!(in_header("x-ssl-client-cert", &[bad]), None, "{bad}");
        }
        for bad in ["", "::", base64.as_str(), &format!(":{base64}:, :{base64}:"), &format!(":{base64}"), &encoded] {
            assert_eq!(in_header("client-cert", &[bad]), None, "{bad}");
        }
    }
}
