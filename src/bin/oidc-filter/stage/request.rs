//! A request, as people write one.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as BASE64;
use oidc_filter::config::{Config, TokenLocation};
use oidc_filter::http::{Headers, Request, Route, is_token_byte};
use sha2::{Digest as _, Sha256};
use url::form_urlencoded::byte_serialize;

/// A request that a client sends.
#[derive(Clone)]
pub struct Ask {
    pub method: String,
    pub scheme: String,
    pub host: String,
    /// The path, with its query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// A token for the first place where the configuration looks for one.
    pub token: Option<String>,
    /// The SHA-256 of the client's certificate on its connection, in hexadecimal digits.
    pub certificate: Option<String>,
    /// The name of the route that Envoy has chosen.
    pub route: Option<String>,
    /// The rule that the route's metadata name.
    pub rule: Option<String>,
    /// Dynamic metadata: `namespace:key`, and the value.
    pub metadata: Vec<(String, String)>,
}

impl Default for Ask {
    fn default() -> Self {
        Self {
            method: "GET".to_owned(),
            scheme: "https".to_owned(),
            host: "localhost".to_owned(),
            target: "/".to_owned(),
            headers: Vec::new(),
            body: Vec::new(),
            token: None,
            certificate: None,
            route: None,
            rule: None,
            metadata: Vec::new(),
        }
    }
}

impl Ask {
    /// `/orders`, `https://api.example.com/orders`, or one of these behind a method.
    pub fn line(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (method, url) = match words.as_slice() {
            [url] => ("GET", *url),
            [method, url] => (*method, *url),
            _ => {
                return Err(format!(
                    "{text:?} is no request: expected a path or a URL, with or without a method before it"
                ));
            }
        };
        let mut ask = Self::default();
        ask.set_method(method)?;
        ask.target = match url.split_once("://") {
            Some((_, rest)) if rest.is_empty() || rest.starts_with(['/', '?']) => {
                return Err(format!("{url:?} names no host"));
            }
            Some((scheme, _)) if !["http", "https"].contains(&scheme.to_ascii_lowercase().as_str()) => {
                return Err(format!("{url:?} is no URL of a request: expected http or https"));
            }
            Some((scheme, rest)) => {
                let end = rest.find(['/', '?']).unwrap_or(rest.len());
                let (host, target) = rest.split_at(end);
                (ask.scheme, ask.host) = (scheme.to_ascii_lowercase(), host.to_owned());
                if target.starts_with('/') { target.to_owned() } else { format!("/{target}") }
            }
            None if url.starts_with('/') => url.to_owned(),
            None => return Err(format!("{url:?} is neither a path, which begins with a slash, nor a URL")),
        };
        Ok(ask)
    }

    /// A message of HTTP/1.1, as it stands in RFC 9112.
    pub fn message(text: &str) -> Result<Self, String> {
        let text = text.replace("\r\n", "\n");
        let (head, body) = text.split_once("\n\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let line = lines.next().unwrap_or_default();
        let line = line.rsplit_once(" HTTP/").map_or(line, |(line, _)| line);
        let mut ask = Self::line(line)?;
        for line in lines.filter(|line| !line.is_empty()) {
            ask.add_header(line)?;
        }
        ask.body = body.as_bytes().to_vec();
        Ok(ask)
    }

    /// The method, which is one word.
    pub fn set_method(&mut self, method: &str) -> Result<(), String> {
        if method.is_empty() || !method.bytes().all(is_token_byte) {
            return Err(format!("{method:?} is no method (RFC 9110, section 9.1)"));
        }
        self.method = method.to_owned();
        Ok(())
    }

    /// `Name: value`.
    pub fn add_header(&mut self, line: &str) -> Result<(), String> {
        let begin = line.split(' ').next().unwrap_or_default();
        let problem = || format!("expected `Name: value` for a header, not what begins with {begin:?}");
        let (name, value) = line.split_once(':').ok_or_else(problem)?;
        match name.trim().to_ascii_lowercase().as_str() {
            "" => return Err(problem()),
            // No client can send them, and the value may be a token.
            name if value.contains(['\r', '\n', '\0']) => {
                return Err(format!("the header {name:?} has an end of a line in its value (RFC 9110, section 5.5)"));
            }
            name if !name.bytes().all(is_token_byte) => {
                return Err(format!("{name:?} is no name of a header (RFC 9110, section 5.1)"));
            }
            "host" => self.host = value.trim().to_owned(),
            name => self.headers.push((name.to_owned(), value.trim().to_owned())),
        }
        Ok(())
    }

    /// What the filter sees of it under this configuration.
    pub fn request(&self, config: &Config) -> Result<Request, String> {
        let mut ask = self.clone();
        if let (Some(token), Some(source)) = (&self.token, config.sources.first()) {
            let has_proof = self.headers.iter().any(|(name, _)| name == "dpop");
            ask.put_token(token, &source.location, has_proof);
        }
        let line =
            [(":method", &ask.method), (":scheme", &ask.scheme), (":authority", &ask.host), (":path", &ask.target)];
        let line = line.into_iter().map(|(name, value)| (name, value.as_str()));
        let fields = ask.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let hexadecimal = ask.certificate.as_deref().map(digest).transpose()?;
        let metadata = config.sources.iter().filter_map(|source| match &source.location {
            TokenLocation::Metadata { namespace, key } => Some(ask.metadata_at(&format!("{namespace}:{key}"))),
            _ => None,
        });
        Ok(Request {
            headers: Headers::from_pairs(line.chain(fields)),
            metadata: metadata.collect(),
            certificate: hexadecimal.map(String::into_bytes),
            route: Route {
                name: self.route.clone().map(String::into_bytes),
                rule: self.rule.clone().map(String::into_bytes),
            },
            has_body: !ask.body.is_empty(),
            mcp: None,
        })
    }

    fn metadata_at(&self, place: &str) -> Option<Vec<u8>> {
        let (_, value) = self.metadata.iter().find(|(name, _)| name == place)?;
        Some(value.clone().into_bytes())
    }

    fn put_token(&mut self, token: &str, location: &TokenLocation, has_proof: bool) {
        match location {
            TokenLocation::Header { name, scheme } => {
                // With a proof, the place for Bearer is one for DPoP (RFC 9449, section 7.1).
                let scheme = scheme
                    .as_deref()
                    .map(|scheme| if has_proof && scheme.eq_ignore_ascii_case("bearer") { "DPoP" } else { scheme });
                let scheme = scheme.map(|scheme| format!("{scheme} ")).unwrap_or_default();
                self.headers.push((name.to_string(), format!("{scheme}{token}")));
            }
            TokenLocation::Cookie { name } => self.headers.push(("cookie".to_owned(), format!("{name}={token}"))),
            TokenLocation::Query { name } => {
                let mark = if self.target.contains('?') { '&' } else { '?' };
                self.target.push(mark);
                self.target.extend(byte_serialize(name.as_bytes()));
                self.target.push('=');
                self.target.extend(byte_serialize(token.as_bytes()));
            }
            TokenLocation::Metadata { namespace, key } => {
                self.metadata.push((format!("{namespace}:{key}"), token.to_owned()));
            }
            TokenLocation::WebSocketProtocol { marker } => {
                self.headers.push(("sec-websocket-protocol".to_owned(), format!("{marker}, {token}")));
            }
        }
    }
}

/// The SHA-256 of a certificate in lower-case hexadecimal digits, of a PEM or of the digits as others write them.
fn digest(text: &str) -> Result<String, String> {
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let body = text.split_once(begin).and_then(|(_, rest)| rest.split_once(end)).map(|(body, _)| body);
    let digits = match body {
        Some(body) => {
            let body: String = body.split_ascii_whitespace().collect();
            let octets =
                BASE64.decode(body).map_err(|_| "the certificate is no PEM: its base64 is broken".to_owned())?;
            Sha256::digest(octets).iter().map(|octet| format!("{octet:02x}")).collect()
        }
        None => text.trim().replace(':', "").to_ascii_lowercase(),
    };
    if digits.len() == 64 && digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Ok(digits);
    }
    Err("the client's certificate is a file with it as PEM (@FILE), or its SHA-256: 64 hexadecimal digits, as \
         `openssl x509 -noout -fingerprint -sha256` prints them"
        .to_owned())
}
