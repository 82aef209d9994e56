//! The part of the configuration that says what becomes of a request: at the top level for every one, in a rule for
//! those that it matches.

use super::assertion::Assertion;
use super::authorization::ExternalAuthorization;
use super::binding::{BindingMode, CertificateBound, Dpop};
use super::enrichment::Enrichment;
use super::exchange::TokenExchange;
use super::fields::Fields;
use super::mcp::{Mcp, OperationSource};
use super::output::{ClaimHeader, UserInfoOutput};
use super::provider::{ProviderConfig, audience_list};
use super::provider_names;
use super::requirement::{Requirement, ScopeImplications};
use super::{Error, is_quotable};
use crate::http::names::Placement;
use crate::http::{Request, only};
use crate::jose::jwt::Audiences;
use std::rc::Rc;

/// What a request must fulfil, and what is done to it. What a rule doesn't say is as at the top level.
#[derive(Clone, Debug)]
pub struct Policy {
    /// No token is needed, and none is looked at.
    pub bypass: bool,
    /// Refuse what is invalid; otherwise strip it and continue.
    pub enforce: bool,
    /// With `enforce`: a request without any token passes.
    pub allow_missing: bool,
    /// It is for requests that open tunnels, and says so.
    pub means_tunnels: bool,
    /// A true CORS preflight passes.
    pub allow_preflight: bool,
    /// One status for a missing, malformed or invalid token.
    pub enforce_response_code: Option<u16>,
    /// What a refusal's body looks like.
    pub response_body: ResponseBody,
    /// The `realm` of the challenges (RFC 9110, section 11.5).
    pub realm: Rc<str>,
    /// A valid token stays on the request.
    pub forward: bool,
    /// The providers (their indices) whose tokens are good; `None` for all.
    pub providers: Option<Rc<[usize]>>,
    /// Whom a token must be meant for, instead of what its provider says.
    pub audiences: Option<Rc<Audiences>>,
    /// What a valid token must have.
    pub require: Rc<Requirement>,
    /// Scopes that stand for others.
    pub implied_scopes: Rc<ScopeImplications>,
    /// How tokens that are bound to keys are proved; `None`: they are refused.
    pub dpop: Option<Rc<Dpop>>,
    /// How tokens that are bound to certificates are proved; `None`: they are refused.
    pub certificate_bound: Option<Rc<CertificateBound>>,
    /// Who decides beyond what the claims say.
    pub authorization: Option<Rc<ExternalAuthorization>>,
    /// Objects of claims to write.
    pub user_info: Rc<[UserInfoOutput]>,
    /// Single claims to write.
    pub claim_headers: Rc<[ClaimHeader]>,
    /// What stands behind is an MCP server.
    pub mcp: Option<Rc<Mcp>>,
    /// Who knows more about the subject of a token.
    pub enrich: Rc<[Rc<Enrichment>]>,
    /// The token that the service gets in the place of the client's.
    pub token_exchange: Option<Rc<TokenExchange>>,
    /// Signed identities to write.
    pub assertions: Rc<[Rc<Assertion>]>,
    /// A candidate that is judged beside this one and changes nothing. It has none itself.
    pub shadow: Option<Rc<Policy>>,
}

/// The form of a refusal's body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseBody {
    /// `{"error","error_description"}`, the members of RFC 6749, section 5.2.
    Json,
    /// RFC 9457.
    Problem,
    /// JSON-RPC 2.0, section 5.1.
    JsonRpc,
    /// One line.
    Text,
    /// Nothing.
    None,
}

impl Policy {
    /// The keys under which its objects of claims stand in filter state.
    pub fn filter_state_keys(&self, filter_name: &str) -> impl Iterator<Item = String> {
        let outputs = self.user_info.iter().filter(|output| output.placement == Placement::Metadata);
        outputs.map(move |output| output.filter_state_key(filter_name))
    }

    /// The providers whose tokens are good, of all that there are.
    pub fn trusted_of<'p>(&self, providers: &'p [Rc<ProviderConfig>]) -> impl Iterator<Item = &'p ProviderConfig> {
        let indexed = providers.iter().enumerate();
        let trusted = indexed.filter(|(index, _)| self.providers.as_ref().is_none_or(|good| good.contains(index)));
        trusted.map(|(_, provider)| &**provider)
    }

    /// The provider, by its place among so many, whose metadata are served beside those of the MCP server.
    pub fn published_provider(&self, count: usize) -> Option<usize> {
        self.mcp.as_ref().filter(|mcp| mcp.authorization_server_metadata)?;
        match &self.providers {
            Some(trusted) => only(trusted.iter().copied()),
            None => only(0..count),
        }
    }

    /// Whether a request without any token passes. No tunnel does, unless the policy means tunnels: somebody without a token would
    /// write any identity there.
    pub fn lets_missing_pass(&self, request: &Request) -> bool {
        self.allow_missing && self.may_open(request)
    }

    /// Whether a request passes without what is invalid in it. The same holds for tunnels.
    pub fn strips(&self, request: &Request) -> bool {
        !self.enforce && self.may_open(request)
    }

    fn may_open(&self, request: &Request) -> bool {
        self.means_tunnels || !request.opens_tunnel()
    }

    /// Whether operations are taken from the metadata of Envoy's own filter for MCP.
    pub fn reads_mcp_metadata(&self) -> bool {
        self.mcp.as_ref().is_some_and(|mcp| mcp.source == OperationSource::Metadata)
    }

    /// Whether tokens are taken that are bound to keys.
    pub fn takes_dpop(&self) -> bool {
        self.dpop.as_ref().is_some_and(|dpop| dpop.mode != BindingMode::Off)
    }

    /// Whether no other tokens are taken.
    pub fn needs_dpop(&self) -> bool {
        self.dpop.as_ref().is_some_and(|dpop| dpop.mode == BindingMode::Required)
    }

    /// Whether tokens are taken that are bound to certificates.
    pub fn takes_certificates(&self) -> bool {
        self.certificate_bound.as_ref().is_some_and(|bound| bound.mode != BindingMode::Off)
    }

    /// Whether the certificate of Envoy's own connection is looked at.
    pub fn reads_certificates(&self) -> bool {
        let bound = self.certificate_bound.as_deref();
        bound.is_some_and(|bound| bound.mode != BindingMode::Off && bound.header.is_none())
    }

    /// What may be said at the top level and in a rule.
    pub(super) const FIELDS: &[&str] = &[
        "enforce",
        "allow_missing",
        "allow_preflight",
        "enforce_response_code",
        "response_body",
        "realm",
        "forward",
        "require",
        "implied_scopes",
        "dpop",
        "certificate_bound",
        "external_authorization",
        "user_info",
        "claim_headers",
        "mcp",
        "assertion",
        "enrich",
        "token_exchange",
        "shadow",
    ];

    /// What only a rule or a candidate may say.
    pub(super) const NARROWING_FIELDS: &[&str] = &["bypass", "providers", "audiences"];

    /// What holds where nothing is said.
    fn standard(compact: bool) -> Self {
        Self {
            bypass: false,
            enforce: !compact,
            allow_missing: false,
            means_tunnels: false,
            allow_preflight: false,
            enforce_response_code: compact.then_some(403),
            response_body: ResponseBody::Json,
            realm: Rc::from("oidc"),
            forward: true,
            providers: None,
            audiences: None,
            require: Rc::default(),
            implied_scopes: Rc::default(),
            dpop: None,
            certificate_bound: None,
            authorization: None,
            user_info: Rc::default(),
            claim_headers: Rc::default(),
            mcp: None,
            enrich: Rc::default(),
            token_exchange: None,
            assertions: Rc::default(),
            shadow: None,
        }
    }

    /// The policy of the top level.
    pub(super) fn top(
        fields: &mut Fields,
        compact: bool,
        dpop: Option<Rc<Dpop>>,
        providers: &[ProviderConfig],
    ) -> Result<Self, Error> {
        let policy = Self { dpop, ..Self::standard(compact) }.overridden(fields, providers)?;
        policy.with_shadow(fields, providers)
    }

    /// This policy with what a rule says otherwise.
    pub(super) fn of_rule(
        &self,
        means_tunnels: bool,
        fields: &mut Fields,
        providers: &[ProviderConfig],
    ) -> Result<Self, Error> {
        // A candidate belongs to the policy that it was written beside.
        let base = Self { means_tunnels, shadow: None, ..self.clone() };
        base.narrowed(fields, providers)?.with_shadow(fields, providers)
    }

    fn with_shadow(self, fields: &mut Fields, providers: &[ProviderConfig]) -> Result<Self, Error> {
        let Some(mut shadow) = fields.object("shadow")? else { return Ok(self) };
        if shadow.is_empty() {
            return Err(fields.error("shadow", "must not be empty: it says what would be otherwise"));
        }
        // A candidate is judged by the head alone.
        let without_shadow = Self::FIELDS.iter().filter(|field| !matches!(**field, "shadow" | "mcp"));
        shadow.allow_only(&Self::NARROWING_FIELDS.iter().chain(without_shadow).copied().collect::<Vec<_>>())?;
        let candidate = self.narrowed(&mut shadow, providers)?;
        shadow.finish()?;
        Ok(Self { shadow: Some(Rc::new(candidate)), ..self })
    }

    /// With what only a rule or a candidate may say.
    fn narrowed(&self, fields: &mut Fields, providers: &[ProviderConfig]) -> Result<Self, Error> {
        let bypass = fields.boolean("bypass")?;
        if bypass == Some(true)
            && let Some(idle) = NEEDS_A_TOKEN.iter().find(|field| fields.has(field))
        {
            return Err(fields.error(idle, "not beside `bypass`, which looks at no token"));
        }
        let has_assertions = bypass == Some(true) && fields.has("assertion");
        let bypass = bypass.unwrap_or(self.bypass);
        let named = match fields.strings("providers")? {
            None => self.providers.clone(),
            Some(names) if names.is_empty() => {
                return Err(fields.error("providers", "must not be empty; leave it out for all"));
            }
            Some(names) => {
                let mut indices = Vec::new();
                for name in &names {
                    let group = provider_names::named(providers, name)
                        .ok_or_else(|| fields.error("providers", provider_names::no_provider(providers)))?;
                    indices.extend(group);
                }
                Some(Rc::from(indices))
            }
        };
        let audiences = audience_list(fields)?.map(Audiences::AnyOf).map(Rc::new).or(self.audiences.clone());
        let policy = Self { bypass, providers: named, audiences, ..self.clone() }.overridden(fields, providers)?;
        if has_assertions && !policy.assertions.iter().all(|assertion| assertion.anonymous) {
            Err(fields.error("assertion", "not beside `bypass`, which looks at no token, but with `anonymous: true`"))
        } else {
            Ok(policy)
        }
    }

    /// With what may be said at the top level, too.
    fn overridden(self, fields: &mut Fields, providers: &[ProviderConfig]) -> Result<Self, Error> {
        let mcp = Mcp::from_fields(fields)?;
        let base = if mcp.as_ref().is_some_and(Option::is_some) { self.before_mcp() } else { self };
        base.overridden_but_for_mcp(fields, providers, mcp)
    }

    /// The defaults for an MCP server: no token goes on to it (MCP, "Token Passthrough"), a browser may ask whether it may ask, and
    /// a refusal is a JSON-RPC error.
    fn before_mcp(self) -> Self {
        Self { forward: false, allow_preflight: true, response_body: ResponseBody::JsonRpc, ..self }
    }

    fn overridden_but_for_mcp(
        self,
        fields: &mut Fields,
        providers: &[ProviderConfig],
        mcp: Option<Option<Mcp>>,
    ) -> Result<Self, Error> {
        Ok(Self {
            mcp: mcp.map_or(self.mcp, |mcp| mcp.map(Rc::new)),
            enforce: fields.boolean("enforce")?.unwrap_or(self.enforce),
            allow_missing: fields.boolean("allow_missing")?.unwrap_or(self.allow_missing),
            allow_preflight: fields.boolean("allow_preflight")?.unwrap_or(self.allow_preflight),
            enforce_response_code: status(fields)?.or(self.enforce_response_code),
            response_body: response_body(fields)?.unwrap_or(self.response_body),
            realm: realm(fields)?.unwrap_or(self.realm),
            forward: fields.boolean("forward")?.unwrap_or(self.forward),
            require: fields.object("require")?.map(Requirement::from_fields).transpose()?.unwrap_or(self.require),
            implied_scopes: ScopeImplications::from_fields(fields)?.map(Rc::new).unwrap_or(self.implied_scopes),
            dpop: Dpop::overridden(fields, self.dpop.as_ref())?,
            certificate_bound: CertificateBound::overridden(fields, self.certificate_bound.as_ref())?,
            authorization: match fields.object("external_authorization")? {
                Some(fields) => Some(Rc::new(ExternalAuthorization::from_fields(fields)?)),
                None => self.authorization,
            },
            user_info: fields.objects("user_info", UserInfoOutput::from_fields)?.map_or(self.user_info, Rc::from),
            claim_headers: fields
                .objects("claim_headers", ClaimHeader::from_fields)?
                .map_or(self.claim_headers, Rc::from),
            enrich: Enrichment::list(fields)?.unwrap_or(self.enrich),
            token_exchange: match fields.object("token_exchange")? {
                Some(fields) => Some(Rc::new(TokenExchange::from_fields(fields, providers)?)),
                None => self.token_exchange,
            },
            assertions: Assertion::list(fields, &self.assertions)?.unwrap_or(self.assertions),
            ..self
        })
    }
}

fn response_body(fields: &mut Fields) -> Result<Option<ResponseBody>, Error> {
    match fields.string("response_body")?.as_deref() {
        None => Ok(None),
        Some("json") => Ok(Some(ResponseBody::Json)),
        Some("problem") => Ok(Some(ResponseBody::Problem)),
        Some("jsonrpc") => Ok(Some(ResponseBody::JsonRpc)),
        Some("text") => Ok(Some(ResponseBody::Text)),
        Some("none") => Ok(Some(ResponseBody::None)),
        Some(_) => Err(fields.error("response_body", "expected json, problem, jsonrpc, text or none")),
    }
}

fn realm(fields: &mut Fields) -> Result<Option<Rc<str>>, Error> {
    let realm = fields.string("realm")?;
    if realm.as_ref().is_none_or(|realm| realm.bytes().all(is_quotable)) {
        Ok(realm.map(Rc::from))
    } else {
        Err(fields.error("realm", "must be printable ASCII without quotes and backslashes (RFC 6750, section 3)"))
    }
}

/// A status that a refusal may have. A 2xx would tell the client, and every proxy that asks us, that all is well.
fn status(fields: &mut Fields) -> Result<Option<u16>, Error> {
    let Some(code) = fields.integer("enforce_response_code")? else { return Ok(None) };
    let status = u16::try_from(code).ok().filter(|status| (300..=599).contains(status));
    let problem = "must be a status from 300 to 599: a refusal must not look like success";
    status.map(Some).ok_or_else(|| fields.error("enforce_response_code", problem))
}

/// What means nothing where no token is looked at. Someone who writes it beside `bypass` means something else.
const NEEDS_A_TOKEN: [&str; 18] = [
    "allow_missing",
    "allow_preflight",
    "audiences",
    "certificate_bound",
    "claim_headers",
    "dpop",
    "enforce",
    "enforce_response_code",
    "enrich",
    "external_authorization",
    "forward",
    "implied_scopes",
    "mcp",
    "providers",
    "realm",
    "require",
    "token_exchange",
    "user_info",
];
