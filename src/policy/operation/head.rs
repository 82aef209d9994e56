//! What the head of a request says of the MCP message in its body: the version of the protocol, and from 2026-07-28 on the
//! method and the name that it is about (Streamable HTTP, "Request Metadata").

use super::fault::{FaultKind, MessageFault};
use super::method::Method;
use super::{Message, Operation};
use crate::config::{Mcp, OperationSource};
use crate::http::names::{same_spelling, tells_operation};
use crate::http::{McpMetadata, Request, only};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What the head says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Head {
    /// The version of the protocol.
    pub version: ProtocolVersion,
    /// `Mcp-Method`.
    pub method: Option<Box<str>>,
    /// `Mcp-Name`, decoded.
    pub name: Option<Box<str>>,
    /// Whether the request must have a body that is a message: it is a POST.
    pub is_post: bool,
    /// Whether a body may be a message. Of what is no POST, it may turn out that there is none.
    pub is_json: bool,
}

/// A version of the protocol that is read here.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[allow(missing_docs, reason = "their names are dates")]
pub enum ProtocolVersion {
    V2024_11_05,
    V2025_03_26,
    V2025_06_18,
    V2025_11_25,
    V2026_07_28,
}

impl ProtocolVersion {
    /// The date.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V2024_11_05 => "2024-11-05",
            Self::V2025_03_26 => "2025-03-26",
            Self::V2025_06_18 => "2025-06-18",
            Self::V2025_11_25 => "2025-11-25",
            Self::V2026_07_28 => "2026-07-28",
        }
    }
}

impl Head {
    /// Reads the head of a request, which has a body or none. `Err` if it can't be that of a message.
    pub fn read(mcp: &Mcp, request: &Request, has_body: bool) -> Result<Self, MessageFault> {
        let is_post = request.method() == Some(b"POST");
        // A request that becomes another protocol has no body that ends.
        if request.headers.first("upgrade").is_some() || request.method() == Some(b"CONNECT") {
            return Err(FaultKind::Request.into());
        }
        let mut names = request.headers.iter().map(|(name, _)| name);
        if names.any(|name| tells_operation(name) && !HEADERS.iter().any(|header| header.as_bytes() == name)) {
            return Err(FaultKind::Headers.into());
        }
        let [version, method, name] = HEADERS.map(|name| header(request, name));
        let version = match version? {
            None => ProtocolVersion::V2025_03_26,
            Some(text) => {
                let known = VERSIONS.iter().find(|version| version.as_str() == text);
                *known.ok_or(FaultKind::Version)?
            }
        };
        let name = name?.map(self::name).transpose()?;
        let is_json = is_json(request);
        let head = Self { version, method: method?.map(Into::into), name: name.map(Into::into), is_post, is_json };
        if !has_body {
            return if is_post { Err(FaultKind::Parse.into()) } else { Ok(head) };
        }
        // An empty frame may end what is no POST, without a word on its type.
        let may_be_none = !is_post && !mcp.leaves_body_unread() && request.headers.first("content-type").is_none();
        if !is_json && !may_be_none {
            return Err(FaultKind::MediaType.into());
        }
        let length = only(request.headers.all("content-length")).and_then(|text| std::str::from_utf8(text).ok());
        let length: Option<usize> = length.and_then(|text| text.parse().ok());
        if length.is_some_and(|length| length > mcp.max_body_size) {
            return Err(FaultKind::TooLarge.into());
        }
        Ok(head)
    }

    /// Whether a header names the method.
    pub fn says_method(&self) -> bool {
        self.method.is_some() || self.name.is_some()
    }

    /// What the head alone asks for; `None` if the body has to say.
    pub fn asked(&self, mcp: &Mcp, metadata: Option<&McpMetadata>) -> Result<Option<Message>, MessageFault> {
        let asked = match mcp.source {
            OperationSource::Auto if self.version != ProtocolVersion::V2026_07_28 => Ok(None),
            OperationSource::Auto => match self.method.as_deref().map(|method| self.operations(method)) {
                None => Ok(None),
                Some(Ok(operations)) if operations.iter().any(|operation| operation.name().is_none()) => Ok(None),
                Some(operations) => operations.map(|operations| self.method.clone().zip(Some(operations))),
            },
            OperationSource::Headers => {
                match self.method.as_deref().filter(|_| self.version == ProtocolVersion::V2026_07_28) {
                    None => Err(FaultKind::Headers),
                    Some(method) => self.operations(method).map(|operations| Some((method.into(), operations))),
                }
            }
            OperationSource::Metadata => told(metadata).map(Some),
        };
        Ok(asked?.map(|(method, operations)| Message { id: None, method: Some(method), operations }))
    }

    /// What a method is about by its headers: those behind compare `Mcp-Name` for three methods, and for no other.
    fn operations(&self, method: &str) -> Result<Vec<Operation>, FaultKind> {
        match Method::of(method) {
            Some(Method { about, .. }) if Method::is_named_in_head(method) => {
                let operation = self.name.as_deref().and_then(|name| about.named(name));
                Ok(vec![operation.ok_or(FaultKind::Headers)?])
            }
            Some(Method { about, .. }) => Ok(about.unnamed()),
            None if Method::is_odd(method) => Err(FaultKind::Headers),
            None => Ok(vec![Operation::Unknown]),
        }
    }
}

/// What Envoy's own filter says that the body asks for.
fn told(metadata: Option<&McpMetadata>) -> Result<(Box<str>, Vec<Operation>), FaultKind> {
    let Some(McpMetadata { method: Some(method), name, uri }) = metadata else { return Err(FaultKind::Request) };
    let operations = match Method::of(method) {
        Some(Method { about, .. }) => {
            let name = if about.parameter() == Some("name") { name } else { uri };
            match about.named(name.as_deref().unwrap_or_default()) {
                // Envoy reads no further than it is told to.
                Some(_) if name.as_deref().is_none_or(str::is_empty) => return Err(FaultKind::Parameters),
                Some(operation) => vec![operation],
                None => about.unnamed(),
            }
        }
        None if Method::is_odd(method) => return Err(FaultKind::Request),
        None if **method == *ENVOYS_RESPONSE => Vec::new(),
        None => vec![Operation::Unknown],
    };
    Ok((method.clone(), operations))
}

/// The only value of a header, in visible ASCII with spaces and tabs within (RFC 9110, section 5.5).
fn header<'r>(request: &'r Request, name: &'static str) -> Result<Option<&'r str>, FaultKind> {
    let mut values = request.headers.all(name);
    let Some(value) = values.next() else { return Ok(None) };
    let is_plain = !value.is_empty() && value.iter().all(|byte| matches!(byte, b'\t' | b' '..=b'~'));
    match std::str::from_utf8(value) {
        Ok(text) if is_plain && values.next().is_none() && text.trim() == text => Ok(Some(text)),
        _ => Err(FaultKind::Headers),
    }
}

/// The name that a header's value stands for ("Value Encoding").
fn name(value: &str) -> Result<String, FaultKind> {
    let encoded = value.strip_prefix("=?base64?").and_then(|rest| rest.strip_suffix("?="));
    let Some(encoded) = encoded else { return Ok(value.to_owned()) };
    let decoded = STANDARD.decode(encoded).ok().and_then(|decoded| String::from_utf8(decoded).ok());
    decoded.filter(|name| !name.is_empty() && !name.contains('\0')).ok_or(FaultKind::Headers)
}

/// Whether the body is JSON in UTF-8 and nothing else: a charset or a content coding would make another text of it.
fn is_json(request: &Request) -> bool {
    let codings = request.headers.all("content-encoding").all(|coding| coding.eq_ignore_ascii_case(b"identity"));
    let Some(value) = only(request.headers.all("content-type")) else { return false };
    let mut parts = value.split(|byte| *byte == b';').map(<[u8]>::trim_ascii);
    let is_json = parts.next().is_some_and(|essence| essence.eq_ignore_ascii_case(b"application/json"));
    codings && is_json && parts.all(says_utf8) && !request.headers.iter().any(|(name, _)| tells_form_otherwise(name))
}

/// Whether a header tells the form of the body in another spelling: to CGI and its heirs, `Content_Type: …;charset=utf-7` says it too.
fn tells_form_otherwise(name: &[u8]) -> bool {
    ["content-type", "content-encoding"].iter().any(|known| {
        let known = known.as_bytes();
        known != name && same_spelling(known, name)
    })
}

/// Whether a parameter of a media type says UTF-8. It may be left out behind its semicolon (RFC 9110, section 5.6.6).
fn says_utf8(parameter: &[u8]) -> bool {
    parameter.is_empty()
        || parameter.split_at_checked(CHARSET.len()).is_some_and(|(name, charset)| {
            name.eq_ignore_ascii_case(CHARSET) && UTF_8.iter().any(|known| charset.eq_ignore_ascii_case(known))
        })
}

/// A parameter of a media type. One of JSON has none, and who writes it means nothing by it (RFC 8259, section 11): but what is
/// behind may read another text for it.
const CHARSET: &[u8] = b"charset=";

/// How media types name it: RFC 9110, section 8.3.2, and what many write for it (Encoding standard, section 4.2). Whoever knows
/// a charset by such a name knows this one.
pub(super) const UTF_8: [&[u8]; 4] = [b"utf-8", b"\"utf-8\"", b"utf8", b"\"utf8\""];

/// What tells a message's version, its method, and the name that it is about.
const HEADERS: [&str; 3] = ["mcp-protocol-version", "mcp-method", "mcp-name"];

/// What Envoy's own filter calls the method of an answer.
const ENVOYS_RESPONSE: &str = "__jsonrpc_response";

/// All of them. Without a header, it is 2025-03-26 ("Protocol Version Header").
const VERSIONS: [ProtocolVersion; 5] = [
    ProtocolVersion::V2024_11_05,
    ProtocolVersion::V2025_03_26,
    ProtocolVersion::V2025_06_18,
    ProtocolVersion::V2025_11_25,
    ProtocolVersion::V2026_07_28,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Headers;

    #[test]
    fn names_are_decoded() {
        for (value, expected) in [
            ("get_weather", Some("get_weather")),
            ("=?base64?SGVsbG8sIOS4lueVjA==?=", Some("Hello, 世界")),
            ("=?base64?PT9iYXNlNjQ/bGl0ZXJhbD89?=", Some("=?base64?literal?=")),
            ("=?BASE64?SGVsbG8=?=", Some("=?BASE64?SGVsbG8=?=")),
            ("=?base64?SGVsbG8?=", None),
            ("=?base64??=", None),
            ("=?base64?/w==?=", None),
            ("=?base64?YQBi?=", None),
            ("=?base64?SGVs bG8=?=", None),
        ] {
            assert_eq!(name(value).ok().as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn only_json_in_utf8_is_read() {
        let is = |pairs: &[(&str, &str)]| {
            is_json(&Request { headers: Headers::from_pairs(pairs.iter().copied()), ..Request::default() })
        };
        for media_type in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/json;charset=\"UTF-8\"",
            "application/json;",
            "application/json; ;charset=utf-8",
            "application/json; charset=utf8",
            "application/json;CharSet=\"UTF8\"",
        ] {
            assert!(is(&[("content-type", media_type)]), "{media_type}");
        }
        for charset in ["utf-7", "utf-16", "utf-8x", "utf", "\"\"", "'utf8'", "", "utf-8; charset=utf-16"] {
            assert!(!is(&[("content-type", &format!("application/json; charset={charset}"))]), "{charset}");
        }
        for media_type in ["", "text/plain", "application/jsonp", "application/json, text/plain"] {
            assert!(!is(&[("content-type", media_type)]), "{media_type}");
        }
        assert!(!is(&[]));
        let json = ("content-type", "application/json");
        assert!(!is(&[json, json]));
        assert!(!is(&[json, ("content-encoding", "gzip")]));
        assert!(!is(&[json, ("content-encoding", "identity"), ("content-encoding", "br")]));
        assert!(is(&[json, ("content-encoding", "identity")]));
    }
}
