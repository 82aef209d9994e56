//! The client's certificate (RFC 8705, section 3): what the TLS layer says of it, at Envoy itself or at a proxy before it.
//!
//! The invariant: a [`ClientCertificate`] comes from Envoy's own connection, or from a header that the operator says a proxy before
//! Envoy overwrites. Two answers to which certificate it is are none.

use crate::http::{Request, only};
use crate::jose::confirmation::ProvenCertificate;
use crate::jose::jwk::Thumbprint;
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
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

    /// That which a proxy before Envoy has put into a header: `client-cert` as RFC 9440 has it; under any other name that form, a PEM
    /// text, or what a PEM text has between its first line and its last; and `x-forwarded-client-cert` as Envoy writes it, too.
    pub fn in_header(request: &Request, name: &str) -> Option<Self> {
        let value = only(request.headers.all(name))?;
        let thumbprint = match name {
            // No text is both: what Envoy writes has a sign of equality within.
            "x-forwarded-client-cert" => forwarded_hash(value).or_else(|| whole(value))?,
            "client-cert" => Thumbprint::of(&byte_sequence(value)?),
            _ => whole(value)?,
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

/// Of a certificate that is all there.
fn whole(value: &[u8]) -> Option<Thumbprint> {
    byte_sequence(value).or_else(|| pem(unquoted(value))).map(|der| Thumbprint::of(&der))
}

/// HAProxy's ingress, and OpenShift's, have quotes around it (`%{+Q}[ssl_c_der,base64]`).
fn unquoted(value: &[u8]) -> &[u8] {
    value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value)
}

/// The DER between two colons (RFC 9440, section 2.1; RFC 8941, section 3.3.5), as Google's load balancers write it under a name of
/// the operator's.
fn byte_sequence(value: &[u8]) -> Option<Vec<u8>> {
    base64(value.strip_prefix(b":")?.strip_suffix(b":")?)
}

/// The DER of the one certificate of a PEM text (RFC 7468), percent-encoded as nginx and HAProxy hand it on, or with spaces or
/// tabs for its line ends; or without its first line and its last, as Traefik, Caddy and Azure's App Service do.
fn pem(value: &[u8]) -> Option<Vec<u8>> {
    let decoded: Vec<u8> = percent_decode(value).collect();
    let text = std::str::from_utf8(&decoded).ok()?.trim();
    let block = match text.strip_prefix(BEGIN) {
        Some(begun) => begun.strip_suffix(END)?,
        None => text,
    };
    // A second certificate would be a chain of unknown order. It has hyphens or a comma, which base64 has not.
    let der = base64(block.split_ascii_whitespace().collect::<String>().as_bytes());
    // The digits of a fingerprint are base64, too.
    der.filter(|der| der.first() == Some(&SEQUENCE))
}

fn base64(text: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(text).ok().filter(|der| !der.is_empty())
}

/// How a certificate begins in DER (ITU-T X.690, section 8.9.1).
const SEQUENCE: u8 = 0x30;

/// RFC 8941, section 4.2.7: who reads SHOULD NOT fail for want of padding, nor for bits that mean nothing.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

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
        let der = b"\x30any octets: what is hashed is not parsed";
        let base64 = BASE64.encode(der);
        let expected = Some(ClientCertificate(Thumbprint::of(der)));
        let pem = format!("{BEGIN}\n{}\n{}\n{END}\n", &base64[..20], &base64[20..]);
        let encoded = percent_encoding::utf8_percent_encode(&pem, percent_encoding::NON_ALPHANUMERIC).to_string();
        assert_eq!(in_header("x-ssl-client-cert", &[&encoded]), expected);
        assert_eq!(in_header("x-ssl-client-cert", &[&pem.replace('\n', " ")]), expected);
        assert_eq!(in_header("x-ssl-client-cert", &[&pem.replace('\n', "\t")]), expected);
        let two = format!("{encoded}{encoded}");
        for bad in ["", "(null)", "-", &two, &encoded[..encoded.len() - 6], &format!("{pem}{pem}").replace('\n', " ")] {
            assert_eq!(in_header("x-ssl-client-cert", &[bad]), None, "{bad}");
        }
    }

    #[test]
    fn a_certificate_between_colons_or_alone() {
        let der = b"\x30\x0f\xbe\xff\xff\xff: any octets, also those of + and /";
        let base64 = BASE64.encode(der);
        let unpadded = base64.trim_end_matches('=');
        assert!(base64.contains('+') && base64.contains('/') && unpadded.len() < base64.len());
        let expected = Some(ClientCertificate(Thumbprint::of(der)));
        for name in ["client-cert", "x-client-cert-leaf"] {
            assert_eq!(in_header(name, &[&format!(":{base64}:")]), expected, "{name}");
            assert_eq!(in_header(name, &[&format!(":{unpadded}:")]), expected, "{name}");
        }
        let escaped = base64.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        for alone in [&base64, unpadded, &escaped, &format!("\"{base64}\"")] {
            assert_eq!(in_header("x-forwarded-tls-client-cert", &[alone]), expected, "{alone}");
            assert_eq!(in_header("x-forwarded-client-cert", &[alone]), expected, "{alone}");
            assert_eq!(in_header("client-cert", &[alone]), None, "{alone}");
        }
        let quotes = ["\"$", "$\"", "\"\"$\"\"", "\":$:\""].map(|text| text.replace('$', &base64));
        let colons = [":$", "$:", "::$::"].map(|text| text.replace('$', &base64));
        let empty = ["", ":", "::", ":=:", "==", "\"", "\"\""].map(str::to_owned);
        for bad in quotes.iter().chain(&colons).chain(&empty) {
            for name in ["client-cert", "x-client-cert", "x-forwarded-client-cert"] {
                assert_eq!(in_header(name, &[bad]), None, "{name} {bad}");
            }
        }
        // Two are a choice.
        for two in ["$,$", ":$:, :$:", "$$", "Hash=$H,$", "$,Hash=$H", "Hash=$H;Hash=$H"] {
            let two = two.replace("$H", HEX).replace('$', &base64);
            for name in ["client-cert", "x-client-cert", "x-forwarded-client-cert"] {
                assert_eq!(in_header(name, &[&two]), None, "{name} {two}");
            }
        }
    }
}
