//! What a refused client gets: the one place where a refusal becomes HTTP. RFC 6750, section 3; RFC 9110, section 11.
//!
//! The invariant: every text in a reply is a constant or comes from the configuration. Nothing of a token, and nothing
//! that a provider said, is ever told. The one exception is what the operator's own authorizer has to say to the client.

use crate::config::{Policy, ResponseBody};
use crate::json::Value;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denial {
    /// There is no token.
    MissingToken,
    /// There are two tokens, or something that is none.
    InvalidRequest,
    /// There are credentials of another scheme (RFC 6750, section 3.1: no error code then).
    UnsupportedScheme,
    /// The token is no good, for this reason.
    InvalidToken(Reason),
    /// The token is good, but lacks scopes: these are wanted, separated by spaces.
    InsufficientScope(String),
    /// The token is good, but lacks what claims must say.
    InsufficientClaims,
    /// The token is good, but the external authorizer says no, with this reason for the client.
    NotAuthorized(Option<Rc<str>>),
    /// The token is good, but the external authorizer does not answer.
    AuthorizerUnavailable,
    /// Two readers of the path, host or method would find two different rules for it, or two readers of the query one of the
    /// filter's own names or none.
    AmbiguousTarget,
    /// Nobody can say whether the token is good; worth another try after this time.
    ProviderUnavailable(Duration),
    /// The filter has too much to do.
    Overloaded,
    /// The operator has to mend something.
    Misconfigured,
}

/// The closed list of reasons: the same word in the reply, the log, the metric and `%RESPONSE_CODE_DETAILS%`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
#[allow(missing_docs, reason = "each is explained by its sentence below")]
pub enum Reason {
    MissingToken,
    InvalidRequest,
    MalformedToken,
    UnsupportedToken,
    UnknownIssuer,
    UnknownKey,
    BadSignature,
    Expired,
    NotYetValid,
    WrongAudience,
    WrongType,
    InvalidClaims,
    Inactive,
    InsufficientScope,
    InsufficientClaims,
    NotBound,
    ProviderUnavailable,
    Overloaded,
    Misconfigured,
}

impl Reason {
    /// The word.
    pub const fn word(self) -> &'static str {
        self.texts().0
    }

    /// The word and a sentence for people, both in the alphabet of RFC 6750, section 3, and without the word's
    /// underlines in the sentence.
    const fn texts(self) -> (&'static str, &'static str) {
        match self {
            Self::MissingToken => ("missing_token", "no access token was sent"),
            Self::InvalidRequest => ("invalid_request", "the credentials are malformed, or there are more than one"),
            Self::MalformedToken => ("malformed_token", "the access token is malformed"),
            Self::UnsupportedToken => ("unsupported_token", "access tokens of this kind are not accepted"),
            Self::UnknownIssuer => ("unknown_issuer", "the issuer of the access token is not trusted"),
            Self::UnknownKey => ("unknown_key", "the access token is signed with an unknown key"),
            Self::BadSignature => ("bad_signature", "the signature of the access token is wrong"),
            Self::Expired => ("expired", "the access token has expired"),
            Self::NotYetValid => ("not_yet_valid", "the access token is not valid yet"),
            Self::WrongAudience => ("wrong_audience", "the access token is meant for another service"),
            Self::WrongType => ("wrong_type", "the token is not an access token"),
            Self::InvalidClaims => ("invalid_claims", "the claims of the access token are invalid"),
            Self::Inactive => ("inactive", "the access token is not active"),
            Self::InsufficientScope => ("insufficient_scope", "the access token lacks a scope"),
            Self::InsufficientClaims => ("insufficient_claims", "the access token does not permit this request"),
            Self::NotBound => ("not_bound", "the access token is bound to a key that was not proved"),
            Self::ProviderUnavailable => ("provider_unavailable", "the access token cannot be verified at the moment"),
            Self::Overloaded => ("overloaded", "too many requests are waiting for verification"),
            Self::Misconfigured => ("misconfigured", "the service is not configured for this request"),
        }
    }
}

/// A whole answer to the client.
#[derive(Clone, Eq, PartialEq)]
pub struct Reply {
    /// Status code.
    pub status: u16,
    /// Why.
    pub reason: Reason,
    /// Header fields.
    pub headers: Vec<(&'static str, String)>,
    /// The body; may be empty.
    pub body: String,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?} {}", self.status, self.reason.word(), self.headers, self.body)
    }
}

impl Denial {
    /// The word for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::MissingToken => Reason::MissingToken,
            Self::InvalidRequest => Reason::InvalidRequest,
            Self::UnsupportedScheme => Reason::UnsupportedToken,
            Self::InvalidToken(reason) => *reason,
            Self::InsufficientScope(_) => Reason::InsufficientScope,
            Self::InsufficientClaims | Self::NotAuthorized(_) => Reason::InsufficientClaims,
            Self::AmbiguousTarget => Reason::InvalidRequest,
            Self::ProviderUnavailable(_) | Self::AuthorizerUnavailable => Reason::ProviderUnavailable,
            Self::Overloaded => Reason::Overloaded,
            Self::Misconfigured => Reason::Misconfigured,
        }
    }

    /// A sentence for people.
    fn sentence(&self) -> &'static str {
        match self {
            Self::AmbiguousTarget => "the query, path, method or host of the request is ambiguous or too long",
            other => other.reason().texts().1,
        }
    }

    /// Whether a filter that doesn't enforce strips and continues: nothing was proved, but nothing is believed either.
    /// A good token that isn't enough is refused all the same, and so is what the filter itself could not handle.
    pub fn is_strippable(&self) -> bool {
        match self {
            Self::MissingToken | Self::InvalidRequest | Self::UnsupportedScheme | Self::InvalidToken(_) => true,
            Self::ProviderUnavailable(_) => true,
            Self::InsufficientScope(_) | Self::InsufficientClaims | Self::NotAuthorized(_) => false,
            Self::AuthorizerUnavailable | Self::AmbiguousTarget | Self::Overloaded | Self::Misconfigured => false,
        }
    }

    /// The answer to the client under this policy. `code` replaces the status of what the client sent wrongly.
    pub fn reply(&self, policy: &Policy, code: Option<u16>) -> Reply {
        let reason = self.reason();
        let (status, error) = match self {
            Self::MissingToken | Self::UnsupportedScheme => (code.unwrap_or(401), None),
            Self::InvalidRequest | Self::AmbiguousTarget => (code.unwrap_or(400), Some("invalid_request")),
            Self::InvalidToken(_) => (code.unwrap_or(401), Some("invalid_token")),
            Self::InsufficientScope(_) => (403, Some("insufficient_scope")),
            Self::InsufficientClaims | Self::NotAuthorized(_) => (403, None),
            Self::ProviderUnavailable(_) | Self::AuthorizerUnavailable => (503, None),
            Self::Overloaded | Self::Misconfigured => (503, None),
        };
        let mut headers = vec![("cache-control", "no-store".to_owned())];
        let scope = match self {
            Self::MissingToken | Self::UnsupportedScheme => policy.require.scope_hint(),
            Self::InsufficientScope(scopes) => Some(scopes.clone()),
            _ => None,
        };
        let description = format!("{}: {}", reason.word(), self.sentence());
        let is_challenge = matches!(status, 400 | 401 | 403) && (error.is_some() || self.is_strippable());
        if is_challenge {
            headers.push(("www-authenticate", challenge(&policy.realm, error, &description, scope)));
        }
        match self {
            Self::ProviderUnavailable(after) => {
                let seconds = after.as_millis().div_ceil(1000).max(1);
                headers.push(("retry-after", seconds.to_string()));
            }
            Self::Overloaded | Self::AuthorizerUnavailable => headers.push(("retry-after", "1".to_owned())),
            _ => {}
        }
        let description = match self {
            Self::NotAuthorized(Some(why)) => format!("{}: {why}", reason.word()),
            _ => description,
        };
        let error = error.unwrap_or(reason.word());
        let (media_type, body) = body(policy.response_body, status, error, self.sentence(), &description);
        if let Some(media_type) = media_type {
            headers.push(("content-type", media_type.to_owned()));
        }
        Reply { status, reason, headers, body }
    }
}

/// RFC 6750, section 3. Scopes and realm were checked when the configuration was read.
fn challenge(realm: &str, error: Option<&str>, description: &str, scope: Option<String>) -> String {
    let mut challenge = format!("Bearer realm=\"{realm}\"");
    if let Some(error) = error {
        challenge.push_str(&format!(", error=\"{error}\", error_description=\"{description}\""));
    }
    if let Some(scope) = scope {
        challenge.push_str(&format!(", scope=\"{scope}\""));
    }
    challenge
}

fn body(
    form: ResponseBody,
    status: u16,
    error: &str,
    title: &'static str,
    description: &str,
) -> (Option<&'static str>, String) {
    match form {
        ResponseBody::Json => {
            let body = object([("error", error.into()), ("error_description", description.into())]);
            (Some("application/json"), body.to_string())
        }
        ResponseBody::Problem => {
            let members = [
                ("title", title.into()),
                ("status", status.into()),
                ("detail", description.into()),
                ("error", error.into()),
            ];
            (Some("application/problem+json"), object(members).to_string())
        }
        ResponseBody::JsonRpc => {
            let fault = object([("code", i32::from(status).saturating_neg().into()), ("message", description.into())]);
            let body = object([("jsonrpc", "2.0".into()), ("id", Value::Null), ("error", fault)]);
            (Some("application/json"), body.to_string())
        }
        ResponseBody::Text => (Some("text/plain; charset=utf-8"), format!("{description}\n")),
        ResponseBody::None => (None, String::new()),
    }
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Value {
    Value::Object(members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
}
