//! How the introspection endpoint is asked about a token (RFC 7662), and how its answer says whether the token is active.

use super::Error;
use super::client::{ClientAuthentication, ClientAuthenticationMethod};
use super::clusters::{Clusters, Endpoints};
use super::fields::Fields;
use crate::jose::jwt::Audiences;
use std::time::Duration;

/// How the introspection endpoint is called.
#[derive(Debug)]
pub struct Introspection {
    /// Where.
    pub endpoints: Endpoints,
    /// `POST` or `GET`.
    pub method: &'static str,
    /// The parameter that holds the token.
    pub parameter: String,
    /// Whether the question says that it is about an access token.
    pub token_type_hint: bool,
    /// How the answer says whether the token is active.
    pub activity: Activity,
    /// Who we are.
    pub client: Option<ClientAuthentication>,
    /// How long an active token is believed, at most to its `exp`.
    pub cache: Duration,
    /// How long an inactive one is.
    pub negative_cache: Duration,
}

/// How an answer says whether a token is active.
#[derive(Debug, Default)]
pub struct Activity {
    /// By its status: 200 is a yes where there is no `active`. Google's tokeninfo does so.
    pub by_status: bool,
    /// These statuses say that the token is not active. Any other error says nothing about it.
    pub inactive_statuses: Vec<u16>,
}

impl Introspection {
    /// What is asked where nothing is said.
    pub(super) fn standard() -> Self {
        Self {
            endpoints: Endpoints::Discovered,
            method: "POST",
            parameter: DEFAULT_PARAMETER.to_owned(),
            token_type_hint: true,
            activity: Activity::default(),
            client: None,
            cache: Duration::from_secs(60),
            negative_cache: Duration::from_secs(5),
        }
    }

    /// The fields of `introspection`, for tokens with these audiences.
    pub(super) fn read(&mut self, mut fields: Fields, clusters: &Clusters, audiences: &Audiences) -> Result<(), Error> {
        fields.allow_only(&INTROSPECTION_FIELDS)?;
        if let Some(urls) = fields.strings("endpoint")? {
            self.endpoints = Endpoints::configured(clusters, &fields, "endpoint", &urls)?;
        }
        self.method = match fields.string("method")?.as_deref() {
            None | Some("POST" | "post") => "POST",
            Some("GET" | "get") => "GET",
            Some(_) => return Err(fields.error("method", "expected POST or GET")),
        };
        if let Some(name) = fields.string("param_name")? {
            let is_plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
            if name.is_empty() || !is_plain {
                return Err(fields.error("param_name", "must be made of letters, digits and - _ . ~"));
            }
            self.parameter = name;
        }
        // What takes the token under a name of its own knows no other parameter of RFC 7662, and may mind one: Google's APIs
        // answer 400 to those that they don't know.
        let is_by_the_book = self.method == "POST" || self.parameter == DEFAULT_PARAMETER;
        self.token_type_hint = fields.boolean("token_type_hint")?.unwrap_or(is_by_the_book);
        self.activity = Activity::from_fields(&mut fields)?;
        if self.activity.by_status && *audiences == Audiences::Any {
            let problem = "status needs `audiences`: a 200 says that somebody's token is good, and no more";
            return Err(fields.error("active", problem));
        }
        self.client = ClientAuthentication::from_fields(&mut fields)?;
        let method = self.client.as_ref().map(|client| &client.method);
        if self.method == "GET" && !matches!(method, None | Some(ClientAuthenticationMethod::Basic(_))) {
            return Err(fields.error("client_auth", "needs a body, which GET has not; use basic, or POST"));
        }
        if let Some(cache) = fields.duration("cache")? {
            self.cache = cache;
        }
        if let Some(cache) = fields.duration("negative_cache")? {
            self.negative_cache = cache;
        }
        fields.finish()
    }
}

impl Activity {
    fn from_fields(fields: &mut Fields) -> Result<Self, Error> {
        let by_status = match fields.string("active")?.as_deref() {
            None | Some("claim") => false,
            Some("status") => true,
            Some(_) => return Err(fields.error("active", "expected claim or status")),
        };
        let inactive_statuses = fields.integers("inactive_statuses")?.unwrap_or_default().into_iter().map(|status| {
            let status = u16::try_from(status).ok().filter(|status| (400..500).contains(status));
            status.filter(|status| !ABOUT_THE_MOMENT.contains(status))
        });
        let inactive_statuses = inactive_statuses.collect::<Option<_>>().ok_or_else(|| {
            let problem =
                "each must be from 400 to 499, and none of 407, 408, 425 and 429, which say nothing about a token";
            fields.error("inactive_statuses", problem)
        })?;
        Ok(Self { by_status, inactive_statuses })
    }
}

const INTROSPECTION_FIELDS: [&str; 13] = [
    "endpoint",
    "method",
    "param_name",
    "token_type_hint",
    "active",
    "inactive_statuses",
    "client_auth",
    "client_id",
    "client_secret",
    "client_key",
    "client_key_id",
    "cache",
    "negative_cache",
];

/// Where RFC 7662, section 2.1, has the token.
const DEFAULT_PARAMETER: &str = "token";

/// Statuses from 400 to 499 that are about a proxy, or about the moment, and never about what was asked.
pub const ABOUT_THE_MOMENT: [u16; 4] = [407, 408, 425, 429];
