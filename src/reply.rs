//! What a refused client gets: the one place where a refusal becomes HTTP. RFC 6750, section 3; RFC 9110, section 11.
//!
//! The invariant: every text in a reply is a constant or comes from the configuration, but for the `id` of a JSON-RPC message and
//! the version of MCP that it asks for. Nothing of a token, and nothing that a provider said, is ever told. The one exception is
//! what the operator's own authorizer has to say to the client.

pub mod cors;

use crate::config::{BindingMode, Mcp, Policy, ResponseBody, StepUp};
use crate::http::{Answer, Grpc};
use crate::json::{self, Value};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use std::rc::Rc;
use std::time::Duration;

/// Why a request is refused.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Denial {
    /// There is no token.
    MissingToken,
    /// There is no token, and the operation needs one with these scopes, separated by spaces.
    MissingTokenFor(String),
    /// There are two tokens, or something that is none.
    InvalidRequest,
    /// The request is none that an MCP server answers.
    BadMessage(BadMessage),
    /// There are credentials of another scheme (RFC 6750, section 3.1: no error code then).
    UnsupportedScheme,
    /// The token is no good, for this reason.
    InvalidToken(Reason),
    /// The proof of a bound token is no good (RFC 9449, section 7.1).
    InvalidDpopProof,
    /// The proof must have a nonce of ours (RFC 9449, section 9).
    UseDpopNonce,
    /// The token is good, but its user must be authenticated anew, or in another way (RFC 9470).
    InsufficientAuthentication(StepUp),
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

/// Why a request is none that an MCP server answers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BadMessage {
    /// The status.
    pub status: u16,
    /// The code of the JSON-RPC error.
    pub code: i32,
    /// A sentence for people.
    pub sentence: &'static str,
    /// The version of the protocol that was asked for and is not known.
    pub requested: Option<Box<str>>,
}

/// What a refusal is about.
#[derive(Clone, Copy)]
pub struct RefusalContext<'r> {
    /// Under which the request falls.
    pub policy: &'r Policy,
    /// The MCP server that it is for.
    pub mcp: Option<&'r Mcp>,
    /// The text of the `id` of the message in its body: a string or a number, of the client's.
    pub id: Option<&'r str>,
    /// It was sent under the scheme DPoP.
    pub uses_dpop: bool,
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
    InsufficientUserAuthentication,
    NotBound,
    InvalidDpopProof,
    UseDpopNonce,
    ProviderUnavailable,
    Overloaded,
    Misconfigured,
}

impl Reason {
    /// The word.
    pub const fn as_str(self) -> &'static str {
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
            Self::InsufficientUserAuthentication => ("insufficient_user_authentication", "the user must log in anew"),
            Self::InvalidDpopProof => ("invalid_dpop_proof", "the DPoP proof is missing or wrong, or was used before"),
            Self::UseDpopNonce => ("use_dpop_nonce", "the DPoP proof must have the nonce of this answer"),
            Self::ProviderUnavailable => ("provider_unavailable", "the access token cannot be verified at the moment"),
            Self::Overloaded => ("overloaded", "too many requests are waiting for verification"),
            Self::Misconfigured => ("misconfigured", "the service is not configured for this request"),
        }
    }
}

impl Denial {
    /// The word for it.
    pub fn reason(&self) -> Reason {
        match self {
            Self::MissingToken | Self::MissingTokenFor(_) => Reason::MissingToken,
            Self::InvalidRequest | Self::BadMessage(_) => Reason::InvalidRequest,
            Self::UnsupportedScheme => Reason::UnsupportedToken,
            Self::InvalidToken(reason) => *reason,
            Self::InvalidDpopProof => Reason::InvalidDpopProof,
            Self::UseDpopNonce => Reason::UseDpopNonce,
            Self::InsufficientAuthentication(_) => Reason::InsufficientUserAuthentication,
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
            Self::BadMessage(bad) => bad.sentence,
            Self::AmbiguousTarget => "the query, path, method or host of the request is ambiguous or too long",
            other => other.reason().texts().1,
        }
    }

    /// Whether a filter that doesn't enforce strips and continues: nothing was proved, but nothing is believed either.
    /// A good token that isn't enough is refused all the same, and so is what the filter itself could not handle.
    pub fn is_strippable(&self) -> bool {
        match self {
            Self::MissingToken | Self::InvalidRequest | Self::UnsupportedScheme | Self::InvalidToken(_) => true,
            Self::InvalidDpopProof | Self::UseDpopNonce | Self::ProviderUnavailable(_) => true,
            // Whether the operation may pass without a token is asked of those that go on.
            Self::MissingTokenFor(_) => true,
            Self::BadMessage(_) => false,
            Self::InsufficientScope(_) | Self::InsufficientClaims | Self::NotAuthorized(_) => false,
            Self::InsufficientAuthentication(_) => false,
            Self::AuthorizerUnavailable | Self::AmbiguousTarget | Self::Overloaded | Self::Misconfigured => false,
        }
    }

    /// The answer to the client under this policy. `code` replaces the status of what the client sent wrongly. An error is told
    /// under the scheme that the client used.
    pub fn answer(&self, about: &RefusalContext, code: Option<u16>) -> Answer {
        let RefusalContext { policy, mcp: _, id, uses_dpop } = *about;
        let reason = self.reason();
        let uses_dpop = uses_dpop || matches!(self, Self::InvalidDpopProof | Self::UseDpopNonce);
        let (status, error) = match self {
            Self::MissingToken | Self::MissingTokenFor(_) | Self::UnsupportedScheme => (code.unwrap_or(401), None),
            Self::BadMessage(bad) => (bad.status, Some("invalid_request")),
            Self::InvalidRequest | Self::AmbiguousTarget => (code.unwrap_or(400), Some("invalid_request")),
            Self::InvalidToken(_) => (code.unwrap_or(401), Some("invalid_token")),
            Self::InvalidDpopProof => (code.unwrap_or(401), Some("invalid_dpop_proof")),
            // RFC 9449, section 9: a client looks for this with a 401, and for nothing else.
            Self::UseDpopNonce => (401, Some("use_dpop_nonce")),
            Self::InsufficientAuthentication(_) => (401, Some("insufficient_user_authentication")),
            Self::InsufficientScope(_) => (403, Some("insufficient_scope")),
            Self::InsufficientClaims | Self::NotAuthorized(_) => (403, None),
            Self::ProviderUnavailable(_) | Self::AuthorizerUnavailable => (503, None),
            Self::Overloaded | Self::Misconfigured => (503, None),
        };
        let mut answer = Answer::unstored(status);
        // Where an authorizer has words of its own, there is no challenge to hold them.
        let description = self.description();
        let is_about_token = match self {
            Self::BadMessage(_) => false,
            other => error.is_some() || other.is_strippable(),
        };
        if is_about_token && matches!(status, 400 | 401 | 403) {
            let parameters = self.parameters(about, error, &description);
            answer.add("www-authenticate", challenges(policy, uses_dpop, &parameters));
        }
        match self {
            Self::ProviderUnavailable(after) => {
                let seconds = after.as_millis().div_ceil(1000).max(1);
                answer.add("retry-after", seconds.to_string());
            }
            Self::Overloaded | Self::AuthorizerUnavailable => answer.add("retry-after", "1"),
            _ => {}
        }
        let error = error.unwrap_or(reason.as_str());
        let (media_type, body) = match policy.response_body {
            ResponseBody::JsonRpc => (Some("application/json"), self.json_rpc(status, &description, id)),
            form => body(form, status, error, self.sentence(), &description),
        };
        if let Some(media_type) = media_type {
            answer.add("content-type", media_type);
        }
        Answer { body: body.into_bytes(), ..answer }
    }

    /// The same answer to a gRPC call: its status goes by what is wrong, whatever code the policy has for HTTP, and its message
    /// is a line for people.
    pub fn grpc_answer(&self, about: &RefusalContext, code: Option<u16>, grpc: Grpc) -> Answer {
        let mut answer = self.answer(about, code);
        answer.headers.retain(|(name, _)| **name != *"content-type");
        let (status, message) = (self.grpc_status(), self.description());
        if grpc == Grpc::Native {
            return Answer { body: message.into_bytes(), grpc_status: Some(status), ..answer };
        }
        // Envoy knows nothing of the other forms. Of these, some clients look for the status in the headers, others in the body;
        // those of browsers do so only with 200.
        let message = utf8_percent_encode(&message, GRPC_MESSAGE).to_string();
        let trailers = format!("grpc-status: {status}\r\ngrpc-message: {message}\r\n");
        let frame =
            [&[TRAILERS_FRAME], &u32::try_from(trailers.len()).unwrap_or(0).to_be_bytes()[..], trailers.as_bytes()];
        let (mut media_type, mut body) = ("application/grpc-web", frame.concat());
        if grpc == Grpc::WebText {
            (media_type, body) = ("application/grpc-web-text", STANDARD.encode(body).into_bytes());
        }
        answer.add("content-type", media_type);
        answer.add("grpc-status", status.to_string());
        answer.add("grpc-message", message);
        Answer { status: 200, body, ..answer }
    }

    /// The status codes of gRPC (`google.rpc.Code`).
    fn grpc_status(&self) -> u8 {
        match self {
            Self::MissingToken | Self::MissingTokenFor(_) | Self::UnsupportedScheme => UNAUTHENTICATED,
            Self::InvalidRequest | Self::InvalidToken(_) => UNAUTHENTICATED,
            Self::InvalidDpopProof | Self::UseDpopNonce | Self::InsufficientAuthentication(_) => UNAUTHENTICATED,
            Self::InsufficientScope(_) | Self::InsufficientClaims | Self::NotAuthorized(_) => PERMISSION_DENIED,
            Self::AmbiguousTarget | Self::BadMessage(_) => INVALID_ARGUMENT,
            Self::ProviderUnavailable(_) | Self::AuthorizerUnavailable => UNAVAILABLE,
            Self::Overloaded | Self::Misconfigured => UNAVAILABLE,
        }
    }

    /// JSON-RPC 2.0, section 5.1. A code of its own is for what the specification of MCP has one for; any other says the status.
    fn json_rpc(&self, status: u16, description: &str, id: Option<&str>) -> String {
        let mut fault = vec![("message", description.into())];
        match self {
            Self::BadMessage(BadMessage { code, requested, .. }) => {
                fault.push(("code", (*code).into()));
                let requested = requested.as_deref().map(|requested| {
                    json::object_value([("supported", Mcp::VERSIONS.to_vec().into()), ("requested", requested.into())])
                });
                fault.extend(requested.map(|data| ("data", data)));
            }
            _ => fault.push(("code", i32::from(status).saturating_neg().into())),
        }
        // Its text was read as a string or a number, and is told as it was written.
        let id = id.and_then(|id| json::parse(id.as_bytes()).ok()).unwrap_or(Value::Null);
        json::object_value([("jsonrpc", "2.0".into()), ("id", id), ("error", json::object_value(fault))]).to_string()
    }

    /// The parameters of a challenge beside its realm: RFC 6750, section 3; RFC 9470, section 3; RFC 9728, section 5.1. Scopes
    /// and values of `acr` were checked when the configuration was read.
    fn parameters(&self, about: &RefusalContext, error: Option<&str>, description: &str) -> String {
        let RefusalContext { policy, mcp, .. } = *about;
        let mut parameters = String::new();
        if let Some(error) = error {
            add(&mut parameters, "error", error);
            add(&mut parameters, "error_description", description);
        }
        let scope = match self {
            Self::MissingToken | Self::UnsupportedScheme => policy.require.scope_hint(),
            Self::InvalidToken(_) if mcp.is_some() => policy.require.scope_hint(),
            Self::InsufficientScope(scopes) | Self::MissingTokenFor(scopes) => {
                Some(scopes.clone()).filter(|scopes| !scopes.is_empty())
            }
            _ => None,
        };
        if let Some(scope) = scope {
            add(&mut parameters, "scope", &scope);
        }
        if let Self::InsufficientAuthentication(StepUp { acr_values, max_age }) = self {
            if !acr_values.is_empty() {
                add(&mut parameters, "acr_values", acr_values);
            }
            if let Some(age) = max_age {
                add(&mut parameters, "max_age", &age.as_secs().to_string());
            }
        }
        if let Some(mcp) = mcp {
            add(&mut parameters, "resource_metadata", &mcp.resource.metadata_url());
        }
        parameters
    }

    /// The word and a sentence, which the operator's authorizer may have its own for.
    fn description(&self) -> String {
        let why = match self {
            Self::NotAuthorized(Some(why)) => why,
            other => other.sentence(),
        };
        format!("{}: {why}", self.reason().as_str())
    }
}

fn add(parameters: &mut String, name: &str, value: &str) {
    parameters.push_str(&format!(", {name}=\"{value}\""));
}

/// The schemes that are taken (RFC 9449, sections 7.1 and 7.2), the client's own or the first with these parameters. Realm and
/// names of algorithms were checked when the configuration was read.
fn challenges(policy: &Policy, uses_dpop: bool, parameters: &str) -> String {
    let realm = &policy.realm;
    let Some(dpop) = policy.dpop.as_deref().filter(|dpop| dpop.mode != BindingMode::Off) else {
        return format!("Bearer realm=\"{realm}\"{parameters}");
    };
    let algorithms = dpop.algorithm_names();
    if uses_dpop || dpop.mode == BindingMode::Required {
        format!("DPoP realm=\"{realm}\", algs=\"{algorithms}\"{parameters}")
    } else {
        format!("Bearer realm=\"{realm}\"{parameters}, DPoP realm=\"{realm}\", algs=\"{algorithms}\"")
    }
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
            let body = json::object_value([("error", error.into()), ("error_description", description.into())]);
            (Some("application/json"), body.to_string())
        }
        ResponseBody::Problem => {
            let members = [
                ("title", title.into()),
                ("status", status.into()),
                ("detail", description.into()),
                ("error", error.into()),
            ];
            (Some("application/problem+json"), json::object_value(members).to_string())
        }
        ResponseBody::Text => (Some("text/plain; charset=utf-8"), format!("{description}\n")),
        ResponseBody::None | ResponseBody::JsonRpc => (None, String::new()),
    }
}

const INVALID_ARGUMENT: u8 = 3;
const PERMISSION_DENIED: u8 = 7;
const UNAVAILABLE: u8 = 14;
const UNAUTHENTICATED: u8 = 16;

/// What begins the trailers in a body of gRPC-Web.
const TRAILERS_FRAME: u8 = 0x80;

/// What a gRPC message percent-encodes in a header (gRPC over HTTP/2, "Status-Message"), beside all that is not ASCII.
const GRPC_MESSAGE: &AsciiSet = &CONTROLS.add(b'%');
