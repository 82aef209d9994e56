//! The calls that there are to a provider, why one can't be made, and why one was of no use.

use crate::config::{ABOUT_THE_MOMENT, UnreachableUrl};
use crate::http::{MAX_ANSWER_BYTES, Response};
use crate::oauth::credentials::Token;
use crate::oauth::diagnosis;
use std::fmt;

/// The calls that may go to one of several configured endpoints.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CallKind {
    /// RFC 7517, of the source at this place.
    Keys(usize),
    /// RFC 7662.
    Introspection,
    /// OpenID Connect Core, section 5.3.
    Userinfo,
}

impl CallKind {
    /// The word for it in metrics and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Keys(_) => "jwks",
            Self::Introspection => "introspection",
            Self::Userinfo => "userinfo",
        }
    }

    pub(super) fn call(self, token: &Token) -> Call<'_> {
        match self {
            Self::Keys(source) => Call::Keys(source),
            Self::Introspection => Call::Introspection(token),
            Self::Userinfo => Call::Userinfo(token),
        }
    }
}

/// What a provider is asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Call<'t> {
    /// Its metadata.
    Metadata,
    /// Its keys, from the source at this place.
    Keys(usize),
    /// Whether a token is active.
    Introspection(&'t Token),
    /// Whose a token is.
    Userinfo(&'t Token),
}

impl Call<'_> {
    pub(super) fn kind(self) -> Option<CallKind> {
        match self {
            Self::Metadata => None,
            Self::Keys(source) => Some(CallKind::Keys(source)),
            Self::Introspection(_) => Some(CallKind::Introspection),
            Self::Userinfo(_) => Some(CallKind::Userinfo),
        }
    }
}

/// Why a call can't be made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum NoRoute {
    /// The metadata that name the endpoint are not there yet.
    NoMetadata,
    /// The metadata name no such endpoint.
    NoEndpoint,
    /// The metadata name one that the filter doesn't call.
    Refused(UnreachableUrl),
    /// Every endpoint was tried.
    Exhausted,
    /// The host did not sign what tells the provider who asks.
    CannotSign,
}

impl fmt::Display for NoRoute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMetadata => f.write_str("the provider's metadata are not at hand"),
            Self::NoEndpoint => f.write_str("the provider's metadata name no such endpoint; configure it"),
            Self::Refused(UnreachableUrl::NotAUrl) => {
                f.write_str("the provider's metadata name something that is no URL")
            }
            Self::Refused(UnreachableUrl::NoCluster(host)) => {
                write!(f, "no cluster for the host {host:?}; if you trust it, add it to `clusters`")
            }
            Self::Exhausted => f.write_str("every endpoint was tried"),
            Self::CannotSign => f.write_str(
                "the host does not sign with the RSA key of `client_key`; an EC P-256 or Ed25519 key needs no host",
            ),
        }
    }
}

/// Why a fetched document is not used. Shown to the operator.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum FetchError {
    /// There was no answer: refused, reset, timed out, or no such cluster.
    NoAnswer,
    /// The answer's status is not 200.
    Status(u16),
    /// The endpoint doesn't answer us, or not about this token.
    Refused(u16),
    /// The answer is larger than the filter reads.
    TooLarge,
    /// The answer is Envoy's own, for this reason.
    Local(String),
    /// The answer is a page for people.
    Html,
    /// The document is not what it should be.
    Unusable(String),
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer => f.write_str("no answer (no such cluster or no host in it, reset, or timed out)"),
            Self::Status(504) => f.write_str("status 504 (or Envoy's own: the call timed out)"),
            Self::Status(503) => f.write_str("status 503 (or Envoy's own: no connection)"),
            Self::Status(status @ (301 | 302 | 303 | 307 | 308)) => {
                write!(f, "status {status}: redirects are not followed; configure the final URL")
            }
            Self::Status(status) => write!(f, "status {status}"),
            Self::Refused(status) => {
                write!(
                    f,
                    "status {status}: client_id, client_secret or client_auth are not accepted, or this token is not"
                )
            }
            Self::TooLarge => write!(f, "the answer is larger than {MAX_ANSWER_BYTES} bytes"),
            Self::Local(why) => write!(f, "Envoy could not call it: {why}"),
            Self::Html => f.write_str("the answer is an HTML page, not JSON"),
            Self::Unusable(problem) => f.write_str(problem),
        }
    }
}

impl FetchError {
    /// Whether the endpoint is there, and may have been of no use just for the token that it was asked about.
    pub(super) fn may_be_about_token(&self) -> bool {
        match self {
            Self::Refused(_) => true,
            Self::Status(status) => (400..500).contains(status) && !ABOUT_THE_MOMENT.contains(status),
            // What is said of a user may be more than is read, or no JSON.
            Self::TooLarge | Self::Unusable(_) => true,
            Self::NoAnswer | Self::Local(_) | Self::Html => false,
        }
    }

    /// For an answer whose status is the fault.
    pub fn of_status(response: &Response) -> Self {
        match (response.status, diagnosis::of_envoys_answer(response)) {
            (0, _) => Self::NoAnswer,
            (_, Some(why)) => Self::Local(why),
            (status, None) => Self::Status(status),
        }
    }
}

/// The body of an answer that may hold a JSON document.
pub(super) fn document(response: Option<&Response>) -> Result<&[u8], FetchError> {
    let response = response.ok_or(FetchError::NoAnswer)?;
    match response.status {
        200 if response.body.len() > MAX_ANSWER_BYTES => Err(FetchError::TooLarge),
        // Key sets come under many media types, an error page of some portal under this one.
        200 if response.headers.media_type() == "text/html" => Err(match response.body.trim_ascii_start().first() {
            Some(b'{') => FetchError::Unusable(
                "the answer is JSON, but its `content-type` is text/html, that of an error page; the provider should say \
                 application/json"
                    .to_owned(),
            ),
            _ => FetchError::Html,
        }),
        200 => Ok(&response.body),
        _ => Err(FetchError::of_status(response)),
    }
}

/// What is wrong with a document, and what it is instead.
pub(super) fn unusable(problem: &str, response: Option<&Response>) -> String {
    match response.and_then(diagnosis::of_body) {
        Some(what) => format!("{problem}: {what}"),
        None => problem.to_owned(),
    }
}
