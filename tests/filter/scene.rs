//! The stage: a filter, the providers that it calls, a clock, and what a client and an upstream see of it.
//!
//! Whatever a test is about, every decision here is held to what must always be true: see [`Scene::see`].
#![allow(dead_code, reason = "the scenarios and the fuzz targets stand on it, and neither need all of it")]

use crate::listener::{Secrets, check_alphabets};
use crate::process::Process;
use crate::support::{Signing, sign, with};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use oidc_filter::config::Config;
use oidc_filter::decision::{Answered, Case, Decision, Forward, HeldBody, Lists, Meaning, Outcome, PassedBody, Shadow};
use oidc_filter::filter::{Body, CallId, Effect, FetchOutcome, Filter, StreamId};
use oidc_filter::http::{self, Edit, Fetch, Field, Headers, Request, Response, Route};
use oidc_filter::jose::signing::AssertionUses;
use oidc_filter::time::Timestamp;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use url::form_urlencoded;

pub const ISSUER: &str = "https://idp.example.com";
pub const AUDIENCE: &str = "https://api.example.com";
/// When every scene begins.
pub const NOW: u64 = 1_800_000_000;

// ---------------------------------------------------------------------------------------------- tokens

/// A signing key of a provider, made from its name.
pub struct Key {
    pub kid: &'static str,
    pub alg: &'static str,
    pub signing: Signing,
}

/// The Ed25519 key of this name.
pub fn key(kid: &'static str) -> Key {
    let seed: [u8; 32] = Sha256::digest(kid).into();
    Key { kid, alg: "EdDSA", signing: Signing::Ed25519(ed25519_dalek::SigningKey::from_bytes(&seed)) }
}

impl Key {
    pub fn jwk(&self) -> Value {
        with(self.signing.jwk(self.kid), json!({"use": "sig", "alg": self.alg}))
    }

    /// A good access token with these changes of its claims; `null` takes a claim out.
    pub fn token(&self, claims: Value) -> String {
        self.token_with(json!({}), claims)
    }

    /// The same with changes of its header.
    pub fn token_with(&self, header: Value, claims: Value) -> String {
        let header = with(json!({"alg": self.alg, "kid": self.kid, "typ": "at+jwt"}), header);
        sign(&self.signing, self.alg, header.to_string(), with(good_claims(), claims).to_string())
    }
}

pub fn good_claims() -> Value {
    json!({
        "iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "client_id": "client", "jti": "1",
        "iat": NOW - 60, "exp": NOW + 3600, "scope": "read write",
    })
}

/// A good access token of the first provider.
pub fn good() -> String {
    token(json!({}))
}

/// The same with other claims.
pub fn token(claims: Value) -> String {
    key("k1").token(claims)
}

/// What an introspection endpoint says about a good token.
pub fn active(change: Value) -> Value {
    with(json!({"active": true, "iss": ISSUER, "aud": AUDIENCE, "sub": "ann", "exp": NOW + 3600}), change)
}

// ---------------------------------------------------------------------------------------------- configurations

/// One provider that proves JWTs by its keys.
pub fn jwt(provider: Value, top: Value) -> Value {
    configuration(json!({"validation": "jwt"}), provider, top)
}

/// One provider that is always asked.
pub fn introspection(provider: Value, top: Value) -> Value {
    configuration(json!({"validation": "introspection"}), provider, top)
}

/// One provider whose userinfo endpoint proves tokens, in the full form.
pub fn userinfo(provider: Value, top: Value) -> Value {
    configuration(json!({"validation": "userinfo", "audiences": null}), provider, top)
}

/// One provider that proves what it can.
pub fn auto(provider: Value, top: Value) -> Value {
    configuration(json!({}), provider, top)
}

fn configuration(kind: Value, provider: Value, top: Value) -> Value {
    let base = json!({"issuer": ISSUER, "audiences": [AUDIENCE]});
    with(json!({"providers": [with(with(base, kind), provider)]}), top)
}

/// A filter that strips, with a token and an identity in each place where they may be.
pub fn stripping_everywhere() -> Value {
    let sources = json!([
        {"key": "authorization"}, {"location": "cookie", "key": "t"}, {"location": "query_string", "key": "t"},
        {"location": "metadata", "key": "t", "metadata_filter": "n"},
    ]);
    let outputs = json!([
        {"key": "identity"}, {"location": "cookie", "key": "who"}, {"location": "query_string", "key": "who"},
    ]);
    jwt(json!({}), json!({"enforce": false, "access_token": sources, "user_info": outputs}))
}

/// The compact form of greymatter's users.
pub fn compact(top: Value) -> Value {
    with(json!({"provider": ISSUER, "accessToken": {"location": "header", "key": "Authorization"}}), top)
}

// ---------------------------------------------------------------------------------------------- providers

/// What stands at a URL.
#[derive(Clone)]
pub enum Answer {
    /// This answer, always.
    Says(Response),
    /// No answer, at once: the connection is refused, or there is no such cluster.
    Refuses,
    /// No answer before Envoy gives up.
    TimesOut,
    /// Not even Envoy says that there was none.
    IsLost,
    /// An introspection endpoint: what [`Provider::tokens`] says about the token in the parameter of this name.
    Introspects(&'static str),
    /// A userinfo endpoint: what [`Provider::users`] says about the bearer, or 401.
    TellsUser,
}

pub fn says(status: u16, media_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    let headers = Headers::from_pairs([("content-type", media_type)]);
    Answer::Says(Response { status, headers, body: body.into() })
}

pub fn says_json(document: Value) -> Answer {
    says(200, "application/json", document.to_string())
}

/// A key set with a `Cache-Control`.
pub fn says_keys(keys: &[Value], cache_control: &str) -> Answer {
    let headers = Headers::from_pairs([("content-type", "application/jwk-set+json"), ("cache-control", cache_control)]);
    Answer::Says(Response { status: 200, headers, body: json!({"keys": keys}).to_string().into_bytes() })
}

pub fn status(status: u16) -> Answer {
    says(status, "text/plain", "")
}

/// Everything that can be called. One for all issuers: who is called is what a test looks at.
#[derive(Default)]
pub struct Provider {
    answers: BTreeMap<String, Answer>,
    /// What introspection says about tokens; unknown ones are inactive.
    pub tokens: BTreeMap<String, Value>,
    /// What userinfo says about tokens; unknown ones are refused.
    pub users: BTreeMap<String, Value>,
}

impl Provider {
    /// The answer of a URL without its query, from now on.
    pub fn serve(&mut self, url: &str, answer: Answer) {
        self.answers.insert(url.to_owned(), answer);
    }

    /// An issuer with all its endpoints, each under its own path, and one key.
    pub fn add_issuer(&mut self, issuer: &str, keys: &[Value]) {
        self.serve(&format!("{issuer}/.well-known/openid-configuration"), says_json(metadata(issuer)));
        self.serve(&format!("{issuer}/jwks"), says_json(json!({"keys": keys})));
        self.serve(&format!("{issuer}/introspect"), Answer::Introspects("token"));
        self.serve(&format!("{issuer}/userinfo"), Answer::TellsUser);
    }

    /// The answer of the first issuer under this path.
    pub fn at(&mut self, path: &str, answer: Answer) {
        self.serve(&format!("{ISSUER}{path}"), answer);
    }

    /// The first issuer's metadata with these changes.
    pub fn metadata(&mut self, change: Value) {
        self.at("/.well-known/openid-configuration", says_json(with(metadata(ISSUER), change)));
    }

    /// The first issuer's keys.
    pub fn keys(&mut self, keys: &[Value]) {
        self.at("/jwks", says_json(json!({"keys": keys})));
    }

    fn answer(&self, call: &Call) -> Answer {
        match self.answers.get(&call.url).unwrap_or(&status(404)) {
            Answer::Introspects(parameter) => {
                let token = call.form().remove(*parameter).or_else(|| call.query().remove(*parameter));
                let known = token.and_then(|token| self.tokens.get(&token));
                says_json(known.cloned().unwrap_or(json!({"active": false})))
            }
            Answer::TellsUser => {
                let token = call.header("authorization").and_then(|value| value.strip_prefix("Bearer "));
                match token.and_then(|token| self.users.get(token)) {
                    Some(user) => says_json(user.clone()),
                    None => status(401),
                }
            }
            other => other.clone(),
        }
    }
}

pub fn metadata(issuer: &str) -> Value {
    json!({
        "issuer": issuer,
        "jwks_uri": format!("{issuer}/jwks"),
        "introspection_endpoint": format!("{issuer}/introspect"),
        "userinfo_endpoint": format!("{issuer}/userinfo"),
    })
}

/// A call that the filter made.
#[derive(Clone, Debug)]
pub struct Call {
    pub cluster: String,
    pub method: &'static str,
    /// Without its query.
    pub url: String,
    /// The query with its mark, or nothing.
    pub raw_query: String,
    pub headers: Vec<(&'static str, String)>,
    pub body: String,
    pub timeout: Duration,
}

impl Call {
    fn of(fetch: &Fetch) -> Self {
        let endpoint = &fetch.endpoint;
        let (path, query) = endpoint.path.split_at(endpoint.path.find('?').unwrap_or(endpoint.path.len()));
        Self {
            cluster: endpoint.cluster.clone(),
            method: fetch.method,
            url: format!("{}://{}{path}", endpoint.scheme, endpoint.authority),
            raw_query: query.to_owned(),
            headers: fetch.headers.clone(),
            body: String::from_utf8(fetch.body.clone()).unwrap(),
            timeout: fetch.timeout,
        }
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let values: Vec<&str> = self.headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect();
        assert!(values.len() < 2, "{name} twice");
        values.first().copied()
    }

    pub fn form(&self) -> BTreeMap<String, String> {
        form_urlencoded::parse(self.body.as_bytes()).into_owned().collect()
    }

    pub fn query(&self) -> BTreeMap<String, String> {
        form_urlencoded::parse(self.raw_query.trim_start_matches('?').as_bytes()).into_owned().collect()
    }
}

/// Claims by which refresh tokens say what they are.
pub fn marks_of_refresh_tokens() -> Vec<Value> {
    vec![
        json!({"token_type": "refresh_token"}),
        json!({"token_type": "refresh"}),
        json!({"token_type": "refresh-token"}),
        json!({"token_use": "refresh"}),
        json!({"token_use": "refreshToken"}),
        json!({"token_usage": "refresh_token"}),
        json!({"typ": "Refresh"}),
        json!({"typ": "Offline"}),
        json!({"typ": "rt+jwt"}),
        json!({"typ": "application/refresh+jwt"}),
        json!({"orig_resources": ["https://api.example"]}),
        json!({"refresh": true}),
        json!({"https://idp.example/refresh_token": true}),
        json!({"tokenName": "refresh_token", "token_type": "Bearer"}),
        json!({"tokenType": "refresh-token"}),
        json!({"type": "refresh"}),
        json!({"purpose": "refresh_token"}),
        json!({"ati": "2f0c0b6e"}),
        json!({"jti": "2f0c0b6e-r", "granted_scopes": ["read"], "scope": null}),
        json!({"jti": "2f0c0b6e4d1b4c0f8d0c6f5b0a9e8d7c-r"}),
        json!({"drn": "DSR"}),
        json!({"token_type": "urn:ietf:params:oauth:token-type:refresh_token"}),
        json!({"tokenType": ["refresh"]}),
        json!({"tok_type": "RT"}),
        json!({"tok_type": "refresh"}),
        json!({"token_type": "Refresh Token"}),
        json!({"token_use": "rt"}),
        json!({"token_kind": "refresh"}),
        json!({"token_class": "refresh_token"}),
        json!({"ttype": "R"}),
        json!({"jtt": "refresh_token"}),
        json!({"jwtType": "refresh_token"}),
        json!({"kind": "refresh"}),
        json!({"tt": 1, "gnt": 7, "cnt": 2}),
        json!({"kc.isRefreshToken": true, "kc.approvedScopes": ["openid"], "kc.ref": "r", "scope": null}),
        json!({"lg.t": "2", "scp": ["openid"], "lg.r": "r", "lg.i": {"id": "ann"}, "scope": null}),
        json!({"is_refresh_token": true}),
        json!({"https://example.com/isRefresh": true}),
    ]
}

/// What no provider should say, whatever it was asked.
pub const NONSENSE: [&[u8]; 16] = [
    b"",
    b"{}",
    b"[]",
    b"null",
    b"\xff\xfe\0",
    b"<html>",
    b"{\"keys\":[]}",
    b"{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"k1\",\"x\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"}]}",
    b"{\"active\":\"true\"}",
    b"{\"active\":\"true\",\"sub\":\"x\"}",
    b"{\"sub\":\"\"}",
    b"{\"issuer\":\"https://evil.example\",\"jwks_uri\":\"https://evil.example/k\"}",
    b"{\"issuer\":\"https://idp.example.com\",\"jwks_uri\":\"https://other.example/jwks\"}",
    b"{\"active\":true,\"active\":true}",
    b"{\"active\":true,\"active\":true,\"sub\":\"x\"}",
    b"{\"active\":true,\"sub\":\"x\",\"aud\":\"https://api.example.com\",\"exp\":1e300}",
];

// ---------------------------------------------------------------------------------------------- requests

/// A request that a client sends.
#[derive(Clone)]
pub struct Ask {
    headers: Vec<(Vec<u8>, Vec<u8>)>,
    metadata: Vec<Option<Vec<u8>>>,
    certificate: Option<Vec<u8>>,
    route: Route,
    has_body: bool,
}

pub fn get(path: impl AsRef<[u8]>) -> Ask {
    Ask::empty()
        .header(":method", "GET")
        .header(":scheme", "https")
        .header(":authority", "api.example.com")
        .header(":path", path)
        .header("user-agent", "test")
}

/// A request without credentials.
pub fn bare() -> Ask {
    get("/things")
}

/// A request with a token where tokens usually are.
pub fn bearer(token: &str) -> Ask {
    bare().bearer(token)
}

impl Ask {
    /// Without any header, which no host sends.
    pub fn empty() -> Self {
        Self { headers: Vec::new(), metadata: Vec::new(), certificate: None, route: Route::default(), has_body: false }
    }

    pub fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }

    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push((name.as_ref().to_vec(), value.as_ref().to_vec()));
        self
    }

    /// Replaces a header, or takes it out.
    pub fn set(mut self, name: &str, value: Option<&str>) -> Self {
        self.headers.retain(|(n, _)| n != name.as_bytes());
        match value {
            Some(value) => self.header(name, value),
            None => self,
        }
    }

    /// The value of the next metadata source.
    pub fn metadata(mut self, value: Option<&str>) -> Self {
        self.metadata.push(value.map(|value| value.as_bytes().to_vec()));
        self
    }

    /// What Envoy says of the certificate on the connection.
    pub fn certificate(mut self, digest: impl AsRef<[u8]>) -> Self {
        self.certificate = Some(digest.as_ref().to_vec());
        self
    }

    /// The route that Envoy has chosen.
    pub fn route(mut self, name: &str) -> Self {
        self.route.name = Some(name.as_bytes().to_vec());
        self
    }

    /// With something behind the headers.
    pub fn with_body(mut self) -> Self {
        self.has_body = true;
        self
    }

    /// The rule that the route's metadata name.
    pub fn rule(mut self, name: &str) -> Self {
        self.route.rule = Some(name.as_bytes().to_vec());
        self
    }

    pub fn request(&self) -> Request {
        let headers = self.headers.iter().map(|(name, value)| (name, value));
        Request {
            headers: Headers::from_pairs(headers),
            metadata: self.metadata.clone(),
            certificate: self.certificate.clone(),
            route: self.route.clone(),
            has_body: self.has_body,
            mcp: None,
        }
    }
}

// ---------------------------------------------------------------------------------------------- what is seen

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Seen {
    Upstream(Upstream),
    Refused(Refusal),
    /// A browser's preflight is answered with these headers.
    Preflight(Vec<(String, String)>, Logged),
    /// A document that anybody may read, and its header fields.
    Document(Vec<(String, String)>, http::Answer),
    /// Another proxy asked, and gets these headers with its 204.
    Confirmed(Confirmation),
    Waiting,
}

/// What a proxy that asked is told.
#[derive(Clone, Debug)]
pub struct Confirmation {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// What Envoy's `ext_authz` is told to take off the request.
    pub removed: Vec<String>,
    pub result: &'static str,
    pub reason: Option<&'static str>,
    pub provider: Option<String>,
    /// What the candidate policy would have done.
    pub shadow: Option<Shadow>,
    /// The question's headers as an access log can have them.
    pub logged: Logged,
}

impl Confirmation {
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values: Vec<&str> = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        assert!(values.len() < 2, "{name} twice: {values:?}");
        values.first().copied()
    }
}

impl Seen {
    pub fn upstream_or_none(self) -> Option<Upstream> {
        match self {
            Self::Upstream(upstream) => Some(upstream),
            _ => None,
        }
    }

    #[track_caller]
    pub fn upstream(self) -> Upstream {
        match self {
            Self::Upstream(upstream) => upstream,
            other => panic!("not forwarded: {other:?}"),
        }
    }

    #[track_caller]
    pub fn refused(self, status: u16, reason: &str) -> Refusal {
        match self {
            Self::Refused(refusal) => {
                assert_eq!((refusal.status, refusal.reason), (status, reason), "{refusal:?}");
                refusal
            }
            other => panic!("not refused with {status} {reason}: {other:?}"),
        }
    }

    /// The headers of the answer to a preflight, as lines.
    #[track_caller]
    pub fn preflight(self) -> Vec<String> {
        match self {
            Self::Preflight(headers, _) => headers.iter().map(|(name, value)| format!("{name}: {value}")).collect(),
            other => panic!("no answer to a preflight: {other:?}"),
        }
    }

    /// The headers of an answered preflight, as an access log can have them.
    #[track_caller]
    pub fn logged_preflight(self) -> Logged {
        match self {
            Self::Preflight(_, logged) => logged,
            other => panic!("no answer to a preflight: {other:?}"),
        }
    }

    /// Went on without a token being looked at.
    #[track_caller]
    pub fn bypassed(self) -> Upstream {
        let upstream = self.upstream();
        assert_eq!((upstream.result, upstream.reason), ("bypassed", None));
        upstream
    }

    #[track_caller]
    pub fn confirmed(self) -> Confirmation {
        match self {
            Self::Confirmed(confirmation) => confirmation,
            other => panic!("not confirmed: {other:?}"),
        }
    }

    /// Went on with what a valid token says.
    #[track_caller]
    pub fn allowed(self) -> Upstream {
        let upstream = self.upstream();
        assert_eq!((upstream.result, upstream.reason), ("allowed", None));
        upstream
    }

    /// Went on without an identity and without a token.
    #[track_caller]
    pub fn stripped(self, reason: &str) -> Upstream {
        let upstream = self.upstream();
        assert_eq!((upstream.result, upstream.reason), ("stripped", Some(reason)), "{upstream:?}");
        upstream
    }

    /// The answer with a document of the filter's own.
    #[track_caller]
    pub fn document(self) -> http::Answer {
        match self {
            Self::Document(_, answer) => answer,
            other => panic!("no document: {other:?}"),
        }
    }

    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting)
    }
}

/// A request as the upstream gets it.
#[derive(Clone, Debug)]
pub struct Upstream {
    pub headers: Vec<(String, String)>,
    pub edits: usize,
    pub response_cookies: Vec<String>,
    /// What else is written on the response.
    pub response_headers: Vec<(String, String)>,
    /// What the memory of DPoP proofs said.
    pub replay: Option<&'static str>,
    pub filter_state: Vec<(String, Vec<u8>)>,
    pub result: &'static str,
    pub reason: Option<&'static str>,
    pub provider: Option<String>,
    /// Whether the token was known already.
    pub cached: Option<bool>,
    /// Whether a signature was verified for it.
    pub verified: bool,
    /// What the candidate policy would have done.
    pub shadow: Option<Shadow>,
    /// What was signed, or written again.
    pub assertions: AssertionUses,
    /// The name of the route that was decided on, if rules look at routes.
    pub route: Option<String>,
    /// What the decision rests on, if that is the route.
    pub case: Option<Box<Case>>,
    /// The body that is held while the head goes on.
    pub body: Option<Box<HeldBody>>,
    /// What its response may list.
    pub lists: Option<Lists>,
}

impl Upstream {
    /// What a header of the response is set to.
    #[track_caller]
    pub fn response_header(&self, name: &str) -> Option<&str> {
        let values: Vec<&str> =
            self.response_headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        assert!(values.len() < 2, "{name} twice: {values:?}");
        values.first().copied()
    }

    /// The only value of a header.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values: Vec<&str> = self.headers.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        assert!(values.len() < 2, "{name} twice: {values:?}");
        values.first().copied()
    }

    #[track_caller]
    pub fn path(&self) -> &str {
        self.header(":path").unwrap()
    }

    #[track_caller]
    pub fn cookie(&self) -> Option<&str> {
        self.header("cookie")
    }
}

/// The headers of a request that was answered, as an access log can have them.
#[derive(Clone)]
pub struct Logged(Vec<(String, String)>);

impl Logged {
    /// The only value of a header.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values: Vec<&str> = self.0.iter().filter(|(n, _)| n == name).map(|(_, v)| v.as_str()).collect();
        assert!(values.len() < 2, "{name} twice: {values:?}");
        values.first().copied()
    }

    #[track_caller]
    pub fn path(&self) -> &str {
        self.header(":path").unwrap()
    }
}

/// Names only, as everything that is printed.
impl std::fmt::Debug for Logged {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(name, _)| name)).finish()
    }
}

/// An answer as the client gets it.
#[derive(Clone, Debug)]
pub struct Refusal {
    pub status: u16,
    pub reason: &'static str,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// What Envoy makes a gRPC reply with.
    pub grpc_status: Option<u8>,
    pub provider: Option<String>,
    /// What the candidate policy would have done.
    pub shadow: Option<Shadow>,
    pub filter_state: Vec<(String, Vec<u8>)>,
    /// What the memory of DPoP proofs said.
    pub replay: Option<&'static str>,
    /// The request's headers as an access log can have them.
    pub logged: Logged,
}

impl Refusal {
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let values: Vec<&str> = self.headers.iter().filter(|(n, _)| *n == name).map(|(_, v)| v.as_str()).collect();
        assert!(values.len() < 2, "{name} twice: {values:?}");
        values.first().copied()
    }

    /// The parameters of the only challenge, which must be `Bearer`; `None` if there is none.
    #[track_caller]
    pub fn challenge(&self) -> Option<BTreeMap<String, String>> {
        let challenges = challenges(self.header("www-authenticate")?);
        let [(scheme, parameters)] = challenges.as_slice() else { panic!("{challenges:?}") };
        assert_eq!(scheme, "Bearer");
        Some(parameters.clone())
    }

    /// The `error` of the challenge.
    #[track_caller]
    pub fn error(&self) -> Option<String> {
        self.challenge()?.remove("error")
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }
}

/// Takes a `WWW-Authenticate` apart: RFC 9110, section 11.6.1, of which only quoted strings may be values here.
#[track_caller]
pub fn challenges(value: &str) -> Vec<(String, BTreeMap<String, String>)> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
    let mut challenges: Vec<(String, BTreeMap<String, String>)> = Vec::new();
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', ',']);
        if rest.is_empty() {
            break;
        }
        let (name, after) = rest.split_at(rest.find(|c| !is_token(c)).unwrap_or(rest.len()));
        assert!(!name.is_empty(), "a token was expected: {value}");
        let Some(quoted) = after.strip_prefix("=\"") else {
            assert!(after.is_empty() || after.starts_with(' '), "a challenge was expected: {value}");
            challenges.push((name.to_owned(), BTreeMap::new()));
            rest = after;
            continue;
        };
        let (text, after) = quoted.split_once('"').unwrap_or_else(|| panic!("an open quote: {value}"));
        // RFC 6750, section 3, allows neither quotes nor backslashes, so that nothing needs an escape.
        let fits = |c: char| matches!(c, ' '..='~') && c != '"' && c != '\\';
        assert!(text.chars().all(fits), "a character that may not stand there: {value}");
        assert!(after.is_empty() || after.starts_with(','), "a comma was expected: {value}");
        let (_, parameters) = challenges.last_mut().unwrap_or_else(|| panic!("no scheme: {value}"));
        assert!(parameters.insert(name.to_ascii_lowercase(), text.to_owned()).is_none(), "{name} twice: {value}");
        rest = after;
    }
    challenges
}

// ---------------------------------------------------------------------------------------------- the stage

/// So many of a scene's requests are run twice before they are decided: floods would take long.
const REHEARSED: u32 = 20;

/// A call that is on its way.
struct Open {
    id: CallId,
    call: Call,
    gives_up: Timestamp,
}

pub struct Scene {
    pub filter: Filter,
    pub provider: Provider,
    /// Every call that was made, in order.
    pub calls: Vec<Call>,
    /// How calls ended, as metrics count them.
    pub fetched: Vec<FetchOutcome>,
    pub now: Timestamp,
    streams: u32,
    asked: BTreeMap<StreamId, Ask>,
    seen: BTreeMap<StreamId, Seen>,
    open: Vec<Open>,
    unanswered: Vec<Open>,
    ended: Vec<CallId>,
    secrets: Secrets,
    /// What the workers of this process share.
    pub process: Process,
}

impl Scene {
    /// A filter that has had time to fetch what it wants.
    pub fn of(configuration: Value) -> Self {
        let mut scene = Self::cold(configuration);
        scene.tick();
        scene
    }

    /// A filter that has not begun.
    #[track_caller]
    pub fn cold(configuration: Value) -> Self {
        Self::in_process(Process::default(), &configuration)
    }

    /// Another worker of the same process.
    #[track_caller]
    pub fn beside(other: &Self, configuration: Value) -> Self {
        let mut scene = Self::in_process(other.process.clone(), &configuration);
        scene.tick();
        scene
    }

    /// One in a host that lends nothing.
    #[track_caller]
    pub fn without_process(configuration: Value) -> Self {
        let process = Process::default();
        process.is_down.set(true);
        let mut scene = Self::in_process(process, &configuration);
        scene.tick();
        scene
    }

    #[track_caller]
    fn in_process(process: Process, configuration: &Value) -> Self {
        let environment = |name: &str| (name == "SECRET").then(|| "s3cr3t/+ ".to_owned());
        let config = Config::read(configuration.to_string().as_bytes(), &environment);
        let config = config.unwrap_or_else(|error| panic!("{error}\n{configuration}"));
        Self { secrets: Secrets::of(configuration), ..Self::with_process(Rc::new(config), process) }
    }

    /// The same with a configuration that was read.
    pub fn with(config: Rc<Config>) -> Self {
        Self::with_process(config, Process::default())
    }

    fn with_process(config: Rc<Config>, process: Process) -> Self {
        let mut provider = Provider::default();
        provider.add_issuer(ISSUER, &[key("k1").jwk()]);
        Self {
            filter: Filter::new(config, "oidc").with_host(Box::new(process.clone()), Box::new(process.clone())),
            process,
            provider,
            calls: Vec::new(),
            fetched: Vec::new(),
            now: Timestamp::from_unix_seconds(NOW),
            streams: 0,
            asked: BTreeMap::new(),
            seen: BTreeMap::new(),
            open: Vec::new(),
            unanswered: Vec::new(),
            ended: Vec::new(),
            secrets: Secrets::unknown(),
        }
    }

    // ------------------------------------------------------------------ what happens

    /// A request with all that follows from it, up to its end unless somebody doesn't answer.
    pub fn send(&mut self, ask: Ask) -> Seen {
        let stream = self.begin(ask);
        self.settle();
        self.seen(stream)
    }

    /// A request with this body, up to its end: what the service gets of it, or the refusal.
    pub fn send_body(&mut self, ask: Ask, body: impl AsRef<[u8]>) -> Seen {
        let stream = self.begin(ask.with_body());
        self.settle();
        self.bring(stream, Body::Whole(body.as_ref()))
    }

    /// The body of a request that went on.
    pub fn bring(&mut self, stream: StreamId, body: Body) -> Seen {
        let seen = self.seen(stream);
        let Seen::Upstream(upstream) = &seen else { return seen };
        let Some(held) = upstream.body.clone() else { return seen };
        match self.filter.on_body(*held, body, self.now) {
            Ok(PassedBody { filter_state, outcome, lists, .. }) => {
                assert_eq!(outcome.result.as_str(), upstream.result);
                let upstream = Upstream { filter_state, body: None, lists, ..upstream.clone() };
                self.seen.insert(stream, Seen::Upstream(upstream));
            }
            Err(refused) => self.see(stream, Decision::Answer(*refused)),
        }
        self.seen(stream)
    }

    /// A request, and nothing else: calls stay open until [`Scene::settle`].
    pub fn begin(&mut self, ask: Ask) -> StreamId {
        self.streams += 1;
        let stream = StreamId(self.streams);
        let request = ask.request();
        self.secrets.learn_request(&request);
        self.asked.insert(stream, ask);
        if self.streams <= REHEARSED {
            self.rehearse(&request);
        }
        let decision = self.filter.on_request(stream, request, self.now);
        self.see(stream, decision);
        self.perform();
        stream
    }

    /// The client leaves.
    pub fn leave(&mut self, stream: StreamId) {
        self.filter.on_closed(stream);
        self.asked.remove(&stream);
        self.seen.remove(&stream);
        self.perform();
    }

    /// Answers every open call, and those that follow from the answers.
    pub fn settle(&mut self) {
        while !self.open.is_empty() {
            let open = self.open.remove(0);
            match self.provider.answer(&open.call) {
                Answer::Says(response) => self.deliver(open.id, Some(response)),
                Answer::Refuses => self.deliver(open.id, None),
                Answer::TimesOut => self.unanswered.push(open),
                Answer::IsLost => {}
                Answer::Introspects(_) | Answer::TellsUser => unreachable!(),
            }
        }
    }

    /// The same, a millisecond between one answer and the next: what is good for one moment only is over then.
    pub fn settle_slowly(&mut self) {
        while !self.open.is_empty() {
            self.now = self.now.saturating_add(Duration::from_millis(1));
            let response = self.honest_answer(0);
            self.answer(0, response);
        }
    }

    /// Ends one of the open calls with this answer, whatever stands at its URL; may come again later.
    pub fn answer(&mut self, index: usize, response: Option<Response>) {
        let open = self.open.remove(index);
        self.ended.push(open.id);
        self.deliver(open.id, response);
    }

    /// An answer comes for a call that has ended already.
    pub fn answer_again(&mut self, index: usize, response: Option<Response>) {
        self.deliver(self.ended[index], response);
    }

    /// One of the open calls.
    pub fn open_call(&self, index: usize) -> &Call {
        &self.open[index].call
    }

    /// What stands at the URL of an open call, if that is an answer.
    pub fn honest_answer(&self, index: usize) -> Option<Response> {
        match self.provider.answer(&self.open[index].call) {
            Answer::Says(response) => Some(response),
            _ => None,
        }
    }

    /// The number of calls that are open, and of those that have ended by [`Scene::answer`].
    pub fn open_and_ended(&self) -> (usize, usize) {
        (self.open.len(), self.ended.len())
    }

    /// A tick, and nothing else.
    pub fn only_tick(&mut self) {
        self.filter.on_tick(self.now);
        self.perform();
    }

    /// Time goes by, with a tick whenever the filter asked for one.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.saturating_add(time);
        let mut ticks = 0;
        loop {
            let tick = self.now.saturating_add(self.filter.next_tick(self.now));
            let timeout = self.unanswered.iter().map(|open| open.gives_up).min();
            let next = timeout.into_iter().chain([tick, end]).min().unwrap();
            self.now = self.now.max(next);
            let over: Vec<Open> = self.unanswered.extract_if(.., |open| open.gives_up <= next).collect();
            for open in over {
                self.deliver(open.id, None);
            }
            if tick <= next {
                ticks += 1;
                self.tick();
            }
            self.settle();
            if next >= end {
                break;
            }
        }
        // A timer that runs hot is a denial of service by the filter itself.
        assert!(ticks <= 20 + 4 * time.as_secs(), "{ticks} ticks in {time:?}");
    }

    pub fn pass_seconds(&mut self, seconds: u64) {
        self.pass(Duration::from_secs(seconds));
    }

    /// One tick now, and the answers to it.
    pub fn tick(&mut self) {
        self.filter.on_tick(self.now);
        self.perform();
        self.settle();
    }

    /// The wall clock is set.
    pub fn set_clock(&mut self, now: Timestamp) {
        self.now = now;
    }

    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The streams that wait.
    pub fn waiting(&self) -> usize {
        self.seen.values().filter(|seen| seen.is_waiting()).count()
    }

    /// What nothing may tell.
    pub fn secrets(&mut self) -> &mut Secrets {
        &mut self.secrets
    }

    // ------------------------------------------------------------------ what is looked at

    pub fn seen(&self, stream: StreamId) -> Seen {
        self.seen[&stream].clone()
    }

    /// The calls to a path.
    pub fn calls_to(&self, path: &str) -> Vec<&Call> {
        self.calls.iter().filter(|call| call.url.ends_with(path)).collect()
    }

    #[track_caller]
    pub fn the_call_to(&self, path: &str) -> &Call {
        let calls = self.calls_to(path);
        let [call] = calls.as_slice() else { panic!("{calls:?}") };
        call
    }

    pub fn count(&self, path: &str) -> usize {
        self.calls_to(path).len()
    }

    // ------------------------------------------------------------------ within

    /// A decision is a function of the facts, and leaves them as they were: two runs are equal, for this request and for each that
    /// waits.
    fn rehearse(&self, request: &Request) {
        let filter = &self.filter;
        let before = filter.fingerprint_of_facts();
        let run = || (filter.rehearse(request, self.now), filter.rehearse_waiting(self.now));
        assert_eq!(run(), run(), "two runs over the same facts differ");
        assert_eq!(filter.fingerprint_of_facts(), before, "a run has changed the facts");
    }

    fn deliver(&mut self, call: CallId, response: Option<Response>) {
        self.filter.on_fetched(call, response, self.now);
        self.perform();
    }

    fn perform(&mut self) {
        for effect in self.filter.take_effects() {
            match effect {
                Effect::Fetch(id, fetch) => {
                    self.secrets.learn_call(&fetch);
                    self.secrets.are_not_in(&format!("{fetch:?} {fetch:#?} {:?}", fetch.endpoint));
                    let call = Call::of(&fetch);
                    self.calls.push(call.clone());
                    self.open.push(Open { id, gives_up: self.now.saturating_add(fetch.timeout), call });
                }
                Effect::Resolve(stream, decision) => {
                    let waits = self.seen.get(&stream).is_some_and(Seen::is_waiting);
                    assert!(waits, "{stream:?} is resolved twice, or after its end");
                    assert!(decision != Decision::Wait, "{stream:?} is told to wait again");
                    self.see(stream, decision);
                }
                Effect::Fetched(outcome) => self.fetched.push(outcome),
            }
        }
    }

    fn see(&mut self, stream: StreamId, decision: Decision) {
        self.secrets.are_not_in(&format!("{decision:?}"));
        self.secrets.were_not_said();
        let seen = match decision {
            Decision::Wait => Seen::Waiting,
            Decision::Forward(forward) => Seen::Upstream(self.upstream_sees(stream, forward)),
            Decision::Answer(answered) => match answered.meaning {
                Meaning::Denied(_) => Seen::Refused(self.client_sees(stream, answered)),
                Meaning::Confirmed => Seen::Confirmed(self.asker_sees(stream, answered)),
                Meaning::Preflight => {
                    assert_eq!((answered.outcome.result.as_str(), answered.outcome.reason), ("bypassed", None));
                    assert_eq!((answered.answer.status, answered.answer.grpc_status), (204, None));
                    let logged = edited(self.asked[&stream].headers.clone(), &answered.edits);
                    Seen::Preflight(stored_nowhere(answered.answer), Logged(texts(logged)))
                }
                Meaning::Document => Seen::Document(fields(&answered.answer.headers), answered.answer),
            },
        };
        self.seen.insert(stream, seen);
    }

    /// Checks what is true of every confirmation.
    fn asker_sees(&self, stream: StreamId, confirmed: Answered) -> Confirmation {
        let Answered { edits, answer, meaning: _, filter_state, outcome, tally } = confirmed;
        assert!(filter_state.is_empty());
        assert_eq!((answer.body.len(), answer.grpc_status), (0, None));
        let status = answer.status;
        let mut headers = stored_nowhere(answer);
        let (result, reason, provider) = words(&outcome);
        // A name is in the answer, or is said to be none of the answer's.
        let at = headers.iter().position(|(name, _)| name == "x-envoy-auth-headers-to-remove");
        let removed = at.map(|at| headers.remove(at).1).unwrap_or_default();
        let removed: Vec<String> = removed.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        let is_written = |name: &[u8]| headers.iter().any(|(written, _)| written.as_bytes() == name);
        assert!(!removed.iter().any(|name| is_written(name.as_bytes())), "{removed:?}");
        for (sent, _) in &self.asked[&stream].headers {
            let is_forged = self.filter.is_own_header(sent) && !is_written(sent);
            let is_removed = removed.iter().any(|name| name.as_bytes() == sent);
            assert!(!is_forged || is_removed, "a forgery stays: {}", String::from_utf8_lossy(sent));
        }
        assert!(result == "allowed" || headers.is_empty(), "an identity without a token");
        for (name, value) in &headers {
            let is_known = ["set-cookie", "dpop-nonce", "authorization"].contains(&name.as_str());
            assert!(self.filter.is_own_header(name.as_bytes()) || is_known, "{name}");
            assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "not printable: {value:?}");
        }
        let logged = Logged(texts(edited(self.asked[&stream].headers.clone(), &edits)));
        Confirmation { status, headers, removed, result, reason, provider, shadow: tally.shadow, logged }
    }

    /// Applies the edits as Envoy does, and checks what is true of every request that goes on: of all spellings of
    /// a name that the filter writes, the upstream gets what the filter wrote and nothing else.
    fn upstream_sees(&self, stream: StreamId, forward: Forward) -> Upstream {
        let Forward { edits, response_edits, filter_state, outcome, tally, route, case, body, lists } = forward;
        let headers = edited(self.asked[&stream].headers.clone(), &edits);
        let set = |edit: &Edit| match edit {
            Edit::Remove(_) => None,
            Edit::Set(name, _) | Edit::Add(name, _) => Some(name.as_bytes().to_vec()),
        };
        let written: Vec<Vec<u8>> = edits.iter().filter_map(set).collect();
        for (name, value) in &headers {
            if self.filter.is_own_header(name) {
                assert!(written.contains(name), "a forgery went on: {}", String::from_utf8_lossy(name));
                assert!(value.iter().all(|byte| matches!(byte, b' '..=b'~')), "not printable: {value:?}");
                assert_eq!(value.trim_ascii(), value, "white space at an end");
            }
        }
        let (result, reason, provider) = words(&outcome);
        if result != "allowed" {
            let is_identity =
                |(name, value): &&(Vec<u8>, Vec<u8>)| self.filter.is_own_header(name) && !is_about_nobody(value);
            assert!(headers.iter().find(is_identity).is_none(), "an identity without a token");
            // A nonce is nobody's identity.
            let is_nonce =
                |edit: &Edit| matches!(edit, Edit::Set(name, _) if ["dpop-nonce", "cache-control"].contains(&&**name));
            assert!(response_edits.iter().all(is_nonce) && filter_state.is_empty(), "an identity without a token");
        }
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        let (mut response_cookies, mut response_headers) = (Vec::new(), Vec::new());
        for edit in response_edits {
            match edit {
                Edit::Add(name, value) if *name == *"set-cookie" => response_cookies.push(text(value)),
                Edit::Set(name, value) => response_headers.push((name.to_string(), text(value))),
                other => panic!("no cookie, and no header that is set: {other:?}"),
            }
        }
        Upstream {
            headers: texts(headers),
            edits: edits.len(),
            response_cookies,
            response_headers,
            replay: tally.replay,
            filter_state,
            result,
            reason,
            provider,
            cached: tally.cached,
            verified: tally.verification.is_some(),
            shadow: tally.shadow,
            assertions: tally.assertions,
            route: route.map(text),
            case,
            body,
            lists,
        }
    }

    /// Checks what is true of every refusal.
    fn client_sees(&self, stream: StreamId, refused: Answered) -> Refusal {
        let Answered { edits, answer, meaning, filter_state, outcome, tally } = refused;
        check_alphabets(&answer);
        let (result, reason, provider) = words(&outcome);
        let (Some(reason), "denied") = (reason, result) else { panic!("no refusal: {outcome:?}") };
        assert_eq!(meaning.to_string(), format!("oidc_denied{{{reason}}}"));
        let refusal = Refusal {
            status: answer.status,
            reason,
            headers: fields(&answer.headers),
            body: String::from_utf8_lossy(&answer.body).into_owned(),
            grpc_status: answer.grpc_status,
            provider,
            shadow: tally.shadow,
            filter_state,
            replay: tally.replay,
            logged: Logged(texts(edited(self.asked[&stream].headers.clone(), &edits))),
        };
        // gRPC-Web has its own status.
        let is_grpc_web = refusal.status == 200 && refusal.header("grpc-status").is_some();
        assert!(is_grpc_web || (300..=599).contains(&refusal.status));
        assert_eq!(refusal.header("cache-control"), Some("no-store")); // RSP-06
        // RFC 9110, section 15.5.2: a 401 has a challenge.
        let challenged = refusal.header("www-authenticate").map(challenges).unwrap_or_default();
        let is_known = |(scheme, _): &(String, _)| scheme == "Bearer" || scheme == "DPoP";
        assert!(challenged.iter().all(is_known), "{refusal:?}");
        assert!(refusal.status != 401 || !challenged.is_empty(), "{refusal:?}");
        // What passes with time, and nothing else, is worth another try.
        let will_pass = matches!(refusal.reason, "provider_unavailable" | "overloaded");
        assert_eq!(will_pass, refusal.header("retry-after").is_some());
        assert!(!will_pass || is_grpc_web || refusal.status == 503);
        refusal
    }
}

/// Whether a header says of somebody only that he needed no token.
fn is_about_nobody(value: &[u8]) -> bool {
    let text = String::from_utf8_lossy(value);
    let payload = text.split('.').nth(1).and_then(|payload| BASE64_URL_SAFE_NO_PAD.decode(payload).ok());
    let payload = payload.and_then(|payload| serde_json::from_slice::<Value>(&payload).ok());
    payload.is_some_and(|payload| payload["anonymous"] == true && payload.get("sub").is_none())
}

/// A header list after these edits, as Envoy makes them.
fn edited(mut headers: Vec<(Vec<u8>, Vec<u8>)>, edits: &[Edit]) -> Vec<(Vec<u8>, Vec<u8>)> {
    for edit in edits {
        match edit {
            Edit::Remove(name) => headers.retain(|(n, _)| n != name),
            Edit::Add(name, value) => headers.push((name.as_bytes().to_vec(), value.clone())),
            Edit::Set(name, value) => {
                let at = headers.iter().position(|(n, _)| n == name.as_bytes()).unwrap_or(headers.len());
                headers.retain(|(n, _)| n != name.as_bytes());
                headers.insert(at.min(headers.len()), (name.as_bytes().to_vec(), value.clone()));
            }
        }
    }
    headers
}

fn texts(headers: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<(String, String)> {
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    headers.into_iter().map(|(name, value)| (text(name), text(value))).collect()
}

/// Header fields of an answer, as text.
fn fields(fields: &[Field]) -> Vec<(String, String)> {
    let text = |value: &[u8]| String::from_utf8(value.to_vec()).unwrap();
    fields.iter().map(|(name, value)| (name.to_string(), text(value))).collect()
}

/// The header fields of an answer that no cache keeps, without the one that says so.
fn stored_nowhere(answer: http::Answer) -> Vec<(String, String)> {
    let mut headers = fields(&answer.headers);
    let at = headers.iter().position(|(name, value)| name == "cache-control" && value == "no-store");
    headers.remove(at.expect("an answer that no cache keeps"));
    headers
}

fn words(outcome: &Outcome) -> (&'static str, Option<&'static str>, Option<String>) {
    (
        outcome.result.as_str(),
        outcome.reason.map(|reason| reason.as_str()),
        outcome.provider.as_deref().map(str::to_owned),
    )
}
