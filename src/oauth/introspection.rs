//! Token introspection: RFC 7662.
//!
//! The invariant: only a JSON `true` in `active` makes claims of an answer, unless the operator says that a provider has
//! no such member, and tells by the status.

use crate::config::{Activity, ProviderConfig};
use crate::http::{Endpoint, Fetch, Response};
use crate::jose::jwt;
use crate::jose::verifier::Verifier;
use crate::json::{self, Object, Value, text_of};
use crate::oauth::client_authentication;
use crate::oauth::credentials::Token;
use crate::time::Timestamp;
use std::fmt;
use url::form_urlencoded;

/// The call that asks about `token` (section 2.1). `None` if nobody can sign for us.
pub fn request(
    provider: &ProviderConfig,
    mut endpoint: Endpoint,
    token: &Token,
    now: Timestamp,
    verifier: &Verifier,
) -> Option<Fetch> {
    let settings = &provider.introspection;
    let client = settings.client.as_ref();
    let mut headers = vec![("accept", "application/json".to_owned()), ("accept-encoding", "identity".to_owned())];
    let mut body = String::new();
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair(&settings.parameter, token.as_str());
    if settings.token_type_hint {
        // A refresh token is none that a resource server takes: some servers look for no other kind then (section 2.1).
        form.append_pair("token_type_hint", "access_token");
    }
    if settings.method == "GET" {
        let separator = if endpoint.path.contains('?') { '&' } else { '?' };
        endpoint.path.push(separator);
        endpoint.path.push_str(&form.finish());
    } else {
        client_authentication::in_form(client, &provider.issuer, token.as_str(), &mut form, now, verifier)?;
        body = form.finish();
        headers.push(("content-type", "application/x-www-form-urlencoded".to_owned()));
    }
    headers.extend(client_authentication::in_header(client).map(|value| ("authorization", value)));
    Some(Fetch { endpoint, method: settings.method, headers, body: body.into_bytes(), timeout: provider.timeout })
}

/// What the provider says about a token.
pub enum Answer {
    /// It is active, and this is what else there is about it.
    Active(Object),
    /// It is not, for whatever reason.
    Inactive,
    /// It is no active access token by this answer, for a reason that the operator may have to mend.
    Unfit(Unfit),
}

/// Why an answer makes no access token of what it says is active.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfit {
    /// `active` is there, and no boolean.
    ActiveIsNoBoolean,
    /// A member is there twice: the answer says two things at once.
    DuplicateMember,
    /// It is about a token of another kind: by the member named here, or by several.
    AnotherKind(&'static str),
    /// A claim is not what it should be.
    Claims(jwt::Error),
    /// A userinfo answer names nobody.
    NoSubject,
    /// The claim of `userinfo.subject` can't stand for `sub`.
    OddSubject,
}

impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ActiveIsNoBoolean => f.write_str("`active` is no boolean"),
            Self::DuplicateMember => f.write_str("a member is there twice"),
            Self::AnotherKind(name) => write!(f, "by its {name}, the token is no access token"),
            Self::Claims(error) => error.fmt(f),
            Self::NoSubject => {
                f.write_str("the claim sub is missing or no text; `userinfo.subject` names one that stands for it")
            }
            Self::OddSubject => {
                f.write_str("the claim of `userinfo.subject` is missing, or neither a text nor a whole number")
            }
        }
    }
}

/// Reads an answer (section 2.2). `None` if it says nothing about the token, which may still be good then: another
/// status, another media type, no JSON object.
pub fn answer(response: &Response, activity: &Activity) -> Option<Answer> {
    if activity.inactive_statuses.contains(&response.status) {
        return Some(Answer::Inactive);
    }
    let mut object = match json_object(response)? {
        Answer::Active(object) => object,
        other => return Some(other),
    };
    Some(match object.remove("active") {
        _ if is_error(&object) || denies(&object) => Answer::Inactive,
        Some(Value::Bool(false)) => Answer::Inactive,
        Some(Value::Bool(true)) => checked(object),
        None if activity.by_status => checked(object),
        None => Answer::Inactive,
        Some(_) => Answer::Unfit(Unfit::ActiveIsNoBoolean),
    })
}

/// Whether an answer is one that went wrong (RFC 6749, section 5.2), whatever its status and whatever else it says. What is empty
/// says nothing, and TikTok's `{"code": "ok"}` that all is well.
pub fn is_error(object: &Object) -> bool {
    object.get("error").is_some_and(|error| match error {
        Value::Null => false,
        Value::Bool(yes) => *yes,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(elements) => !elements.is_empty(),
        Value::Object(members) => !members.is_empty() && text_of(members, "code") != Some("ok"),
    })
}

/// Whether an answer says of a token or its user that they are good no more, whatever else it says.
pub fn denies(object: &Object) -> bool {
    object.iter().any(|(name, value)| match truth(value) {
        Some(false) => is_said_by(name, &GOOD),
        // Go's time for none is negative in seconds.
        Some(true) => {
            let may_be_time = value.as_f64().is_none_or(|seconds| seconds > 0.0);
            is_said_by(name, &GOOD_NO_MORE) || may_be_time && is_when_it_ended(name, false)
        }
        None => value.as_str().is_some_and(|text| {
            let is_word_for_it = GOOD_NO_MORE.iter().any(|word| jwt::is_word(text, word));
            is_word_for_it && (is_said_by(name, &STATUS) || is_said_by(name, &GOOD_NO_MORE))
                || !is_no_time(text) && is_when_it_ended(name, text.starts_with(|first: char| first.is_ascii_digit()))
        }),
    })
}

/// Whether a name is that of the time since which somebody is good no more: `suspended_at`, or `suspended` itself where what it says
/// is a time. `expired_at` may be yet to come.
fn is_when_it_ended(name: &str, is_time: bool) -> bool {
    let event = name.strip_suffix("_at").or_else(|| name.strip_suffix("At")).or(Some(name).filter(|_| is_time));
    event.is_some_and(|event| !is_said_by(event, &["expired"]) && is_said_by(event, &GOOD_NO_MORE))
}

/// What Go and MySQL write for want of a time, and others who have 0 for it, and what says nothing.
fn is_no_time(text: &str) -> bool {
    text.is_empty() || text.starts_with("000") || text.starts_with("1970-01-01")
}

/// A boolean, also as those write it who have none.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::Number(number) => Some(number.as_f64() != Some(0.0)),
        Value::String(text) => {
            let is = |words: [&str; 4]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
            is(["true", "1", "yes", "y"]).then_some(true).or_else(|| is(["false", "0", "no", "n"]).then_some(false))
        }
        _ => None,
    }
}

/// Whether a name is one of these words, alone or behind an `is` and what it is said of: `isActive`, `account_enabled`.
fn is_said_by(name: &str, words: &[&str]) -> bool {
    let word_of_it = ["is", "user", "account", "token", "is"].into_iter().fold(name, behind);
    words.iter().any(|word| jwt::is_word(word_of_it, word))
}

/// A name without this word where it begins with it.
fn behind<'n>(name: &'n str, word: &str) -> &'n str {
    let name = name.trim_start_matches(['-', '_', ' ']);
    let parts = name.split_at_checked(word.len()).filter(|(first, _)| first.eq_ignore_ascii_case(word));
    parts.map_or(name, |(_, rest)| rest)
}

fn checked(object: Object) -> Answer {
    match kind(&object) {
        Ok(()) => Answer::Active(object),
        Err(unfit) => Answer::Unfit(unfit),
    }
}

/// Whether a refusal says that it is us whom the endpoint doesn't answer (RFC 6749, section 5.2; RFC 7235, section 3.1), and
/// nothing about a token that we asked about. A firewall that doesn't like a token says 403 without a challenge.
pub fn is_about_us(refusal: &Response) -> bool {
    let is_challenge = refusal.headers.all("www-authenticate").next().is_some();
    match (refusal.status, error(refusal).as_deref()) {
        (400 | 401 | 403, Some("invalid_client" | "unauthorized_client")) => true,
        (401 | 403, Some(error)) if is_word_for_no_token(error) => false,
        (401, _) => !is_challenge_about_token(refusal),
        (403, _) => is_challenge && !is_challenge_about_token(refusal),
        _ => false,
    }
}

/// RFC 6750's `invalid_token`, and what it stands for; AT Protocol's servers say `InvalidToken` and `ExpiredToken`.
pub fn is_word_for_no_token(error: &str) -> bool {
    NO_TOKEN.iter().any(|word| jwt::is_word(error, word))
}

/// Whether a challenge says that the token is none (RFC 6750, section 3.1).
pub fn is_challenge_about_token(refusal: &Response) -> bool {
    let challenges = refusal.headers.all("www-authenticate");
    let mut parts = challenges.flat_map(|challenge| challenge.windows(ABOUT_TOKEN.len()));
    parts.any(|part| part.eq_ignore_ascii_case(ABOUT_TOKEN))
}

/// The word for what is wrong (RFC 6749, section 5.2).
pub fn error(refusal: &Response) -> Option<String> {
    let body = Some(&refusal.body).filter(|body| body.len() <= MAX_TOKEN_ANSWER_BYTES)?;
    match json::parse_object(body).ok()?.remove("error") {
        Some(Value::String(error)) => Some(error),
        _ => None,
    }
}

/// What an error says of a token that is none, in either order.
const NO_TOKEN: [&str; 6] =
    ["invalidtoken", "expiredtoken", "revokedtoken", "tokeninvalid", "tokenexpired", "tokenrevoked"];

/// What a challenge says of a token (RFC 6750, section 3.1).
const ABOUT_TOKEN: &[u8] = b"invalid_token";

/// The JSON object of a `200`, as introspection and userinfo answer. One that says two things at once, by a member
/// given twice, vouches for nothing.
pub fn json_object(response: &Response) -> Option<Answer> {
    let media_type = response.headers.media_type();
    let is_json = media_type.is_empty() || media_type == "application/json" || media_type.ends_with("+json");
    if response.status != 200 || !is_json || response.body.len() > MAX_TOKEN_ANSWER_BYTES {
        return None;
    }
    match json::parse_object(&response.body) {
        Ok(object) => Some(Answer::Active(object)),
        Err(json::Error::DuplicateMember) => Some(Answer::Unfit(Unfit::DuplicateMember)),
        Err(_) => None,
    }
}

/// An active refresh or ID token is none that a resource server may take (RFC 9068, section 5; RFC 6749, section 1.5).
/// Providers say so in `token_type`, `token_use` or (OpenIddict) `token_usage`, in words of their own: known ones pass.
/// Keycloak says so in `typ`, which may also be that of the JWT's header: there, the known wrong ones are refused.
fn kind(object: &Object) -> Result<(), Unfit> {
    for (name, known) in KINDS {
        match object.get(name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) if known.iter().any(|known| jwt::is_word(text, known)) => {}
            Some(Value::String(_)) => return Err(Unfit::AnotherKind(name)),
            Some(_) => return Err(Unfit::Claims(jwt::Error::InvalidClaims(name))),
        }
    }
    if jwt::is_called_another_kind(object) { Err(Unfit::AnotherKind("claims")) } else { Ok(()) }
}

/// The members that tell the kind of a token, each with the words for an access token as [`jwt::is_word`] compares them.
///
/// A DPoP token is bound, and refused where its binding isn't checked (RFC 9449, section 7.2). `JWT` is Oracle's word (IDCS)
/// for its access tokens, `access` that of SimpleJWT, `BearerToken` that of Apigee.
const KINDS: [(&str, &[&str]); 3] = [
    ("token_type", &["bearer", "bearertoken", "dpop", "access", "accesstoken", ACCESS_TOKEN_URN, "jwt"]),
    ("token_use", &["access", "accesstoken"]),
    ("token_usage", &["accesstoken"]),
];

/// What is said of a user who wasn't frozen (Salesforce), deactivated (Django, Spring), or of an answer that went well (Slack), as
/// [`jwt::is_word`] compares it. Spring's `UserDetails` say `accountNonLocked`, and its `Authentication` the last.
const GOOD: [&str; 8] = ["active", "enabled", "valid", "ok", "success", "nonexpired", "nonlocked", "authenticated"];

/// What is said of those who were (Auth0, Dropbox, Mastodon, Reddit, Slack, Synapse), and of tokens.
const GOOD_NO_MORE: [&str; 9] =
    ["banned", "blocked", "deactivated", "deleted", "disabled", "expired", "inactive", "revoked", "suspended"];

/// Where GitLab and others say it in one of these words. VK says in `deactivated` how it came.
const STATUS: [&str; 2] = ["status", "state"];

/// RFC 8693, section 3, as [`jwt::is_word`] compares it.
const ACCESS_TOKEN_URN: &str = "urn:ietf:params:oauth:tokentype:accesstoken";

/// The largest answer about one token: eight times what fits into the headers of a request that carries its claims.
const MAX_TOKEN_ANSWER_BYTES: usize = 64 * 1024;
