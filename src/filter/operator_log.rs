//! What the operator is told: one line for each refusal at info level, as far as its ration lasts; one for each decision at debug
//! level, for those who look for the reason of one; and when a complaint is due. Never with a token or the value of a claim. While
//! nobody listens, a line costs a look at the level.

use super::Filter;
use super::binding_fault::BindingFault;
use super::refusal_log::{self, RefusalLine, RefusalRations};
use crate::config::{Policy, RefusalLog};
use crate::decision::{Case, Disposition, Outcome, Shadow, Tally};
use crate::http::Request;
use crate::oauth::dpop::{self, replay::Spent};
use crate::ordered;
use crate::policy::requirement::RequirementField;
use crate::provider::ProviderId;
use crate::reply::Reason;
use crate::time::Timestamp;
use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

/// What a refusal rests on beyond its reason.
#[derive(Clone, Debug)]
pub(super) enum Detail {
    /// What the token must have is not there.
    RequirementField(RequirementField),
    /// A claim is not what it must be.
    Claim(&'static str),
    /// A header is written from a claim that the token lacks.
    Header(Rc<str>),
    /// An assertion is to have a member from a claim that the token lacks.
    AssertionClaim(Rc<str>),
    /// What is known elsewhere about the token's subject can't be had.
    Enrichment,
    /// The token's own provider tells it nothing.
    Userinfo,
    /// There is no token for the service.
    Exchange,
    /// The external authorizer's word, or its silence.
    Authorizer,
    /// What is asked of the MCP server.
    Operation,
    /// Why the token is not its sender's.
    Binding(BindingFault),
    /// What is wrong with its DPoP proof.
    Proof(dpop::Error),
    /// What became of its DPoP proof.
    Spent(Spent),
}

/// What the operator is told of. Clients decide how often there is cause, and so each is rationed by itself: no noise about one hides
/// another.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(super) enum Topic {
    /// A call of this kind has come to nothing.
    Call(&'static str),
    /// An answer to a call of this kind makes no token good.
    Answer(&'static str),
    /// A call of this kind can't be made.
    Route(&'static str),
    /// A token is too long.
    TokenSize,
    /// Too many keys fit a token.
    Keys,
    /// The memory of spent proofs.
    Proofs,
    /// An identity can't be written.
    Output,
    /// An identity can't be signed.
    Assertion,
    /// A route names a rule that isn't there.
    RuleName,
    /// A request has taken a route with another policy than the one that was decided on.
    Reroute,
}

/// When the operator was last told of what clients can cause again and again.
#[derive(Default)]
pub(super) struct Complaints {
    /// Of each topic, for each provider, by its number.
    told_at: RefCell<ordered::Map<(usize, Topic), Timestamp>>,
    /// Of refused requests.
    pub(super) refusals: RefusalRations,
}

impl Complaints {
    /// Whether something may be told about this provider again; if so, it is noted that it was.
    pub(super) fn is_due(&self, provider: ProviderId, topic: Topic, now: Timestamp) -> bool {
        let Ok(mut told_at) = self.told_at.try_borrow_mut() else { return false };
        let last = told_at.entry((provider.0, topic)).or_default();
        let is_due = now < *last || now.saturating_since(*last) >= COMPLAINT_INTERVAL;
        if is_due {
            *last = now;
        }
        is_due
    }
}

impl Filter {
    /// Tells a decision about a request that falls under a policy.
    pub(super) fn tell(
        &self,
        case: &Case,
        outcome: &Outcome,
        status: Option<u16>,
        detail: Option<&Detail>,
        tally: Tally,
    ) {
        self.note_decision(case, detail);
        let told = Told { case, outcome, status };
        let (ration, wants_debug) = (self.ration(&told), log::log_enabled!(log::Level::Debug));
        if ration.is_some() || wants_debug {
            let rule = self.rule_of(&case.policy);
            let detail = detail.map(|detail| self.place_of(&case.policy, rule, "", detail));
            self.write(&told, ration, rule.map(|index| self.rule_name(index)).as_deref(), detail.as_deref());
        }
        if wants_debug {
            tell_shadow(tally.shadow);
        }
    }

    /// Tells a decision about a request for which there is no policy.
    pub(super) fn tell_without_policy(&self, case: &Case, outcome: &Outcome, status: u16) {
        let told = Told { case, outcome, status: Some(status) };
        self.write(&told, self.ration(&told), None, Some("no rule could be chosen"));
    }

    /// How many refusals were held back before this one; `None` if it is no refusal, or none that is told at info
    /// level.
    fn ration(&self, told: &Told) -> Option<u64> {
        let (reason, _) = told.refusal()?;
        if self.config.refusal_log == RefusalLog::None || !log::log_enabled!(log::Level::Info) {
            return None;
        }
        let request = &told.case.request;
        // An Envoy at the edge says who asks (`use_remote_address`).
        let held_back = match request.headers.first("x-envoy-external-address") {
            Some(client) => self.complaints.refusals.admit(reason, client),
            None => self.complaints.refusals.admit(reason, (request.method(), request.authority(), path_of(request))),
        };
        // At debug level it is told all the same.
        if held_back.is_none() && !log::log_enabled!(log::Level::Debug) {
            self.complaints.refusals.hold_back(reason);
        }
        held_back
    }

    fn write(&self, told: &Told, ration: Option<u64>, rule: Option<&str>, requirement: Option<&str>) {
        let level = if ration.is_some() { log::Level::Info } else { log::Level::Debug };
        if !log::log_enabled!(level) {
            return;
        }
        let held_back = ration.unwrap_or_default();
        let refusal = told.refusal().filter(|_| self.config.refusal_log == RefusalLog::Json);
        let Some((reason, status)) = refusal else {
            let more = match held_back {
                0 => String::new(),
                count => format!("; before it, {count} for the same reason were not told"),
            };
            log::log!(level, "{}{more}", told.line(rule, requirement));
            return;
        };
        let Shown { method, path, id } = Shown::of(&told.case.request);
        let line = RefusalLine {
            request_id: id.as_deref(),
            method: &method,
            path: &path,
            is_check: told.case.is_check,
            status,
            reason,
            provider: told.outcome.provider.as_deref(),
            rule,
            requirement,
            held_back,
        };
        log::log!(level, "{}", line.json());
    }

    /// Tells how many refusals had no line of their own, if no other line has told it.
    pub(super) fn tell_held_back(&self, now: Timestamp) {
        self.complaints.refusals.time_is(now);
        for (reason, count) in self.complaints.refusals.due() {
            log::info!("{}", refusal_log::held_back(self.config.refusal_log, reason, count));
        }
    }

    /// Tells that a document of the filter's own was served.
    pub(super) fn tell_served(&self, case: &Case, outcome: &Outcome, status: u16) {
        let told = Told { case, outcome, status: Some(status) };
        log::debug!("{told} (a document of the filter's own)");
    }

    /// Tells what a candidate policy refuses a request for.
    pub(super) fn tell_unmet_by_shadow(&self, case: &Case, candidate: &Policy, detail: Option<&Detail>) {
        if let Some(detail) = detail.filter(|_| log::log_enabled!(log::Level::Debug)) {
            let rule = self.rule_of(&case.policy);
            log::debug!("the candidate policy: {}", self.place_of(candidate, rule, "shadow.", detail));
        }
    }

    pub(super) fn rule_of(&self, policy: &Rc<Policy>) -> Option<usize> {
        self.config.rules.iter().position(|rule| Rc::ptr_eq(&rule.policy, policy))
    }

    fn rule_name(&self, index: usize) -> String {
        match self.config.rules.get(index).and_then(|rule| rule.name.as_ref()) {
            Some(name) => format!("rules[{index}] {}", name.escape_default()),
            None => format!("rules[{index}]"),
        }
    }

    /// The field of the configuration that a refusal rests on: the rule's own, or that of the top level.
    pub(super) fn place_of(&self, policy: &Policy, rule: Option<usize>, shadow: &str, detail: &Detail) -> String {
        let base = match rule {
            _ if detail.is_of_top(policy, &self.config.policy) => String::new(),
            Some(index) => format!("rules[{index}].{shadow}"),
            None => shadow.to_owned(),
        };
        format!("{base}{}", detail.text(policy))
    }
}

impl Detail {
    /// Whether the field that it is about, if there is one, is that of the top level.
    fn is_of_top(&self, policy: &Policy, top: &Policy) -> bool {
        match self {
            Self::RequirementField(_) => Rc::ptr_eq(&policy.require, &top.require),
            Self::Header(_) => Rc::ptr_eq(&policy.claim_headers, &top.claim_headers),
            Self::AssertionClaim(_) => Rc::ptr_eq(&policy.assertions, &top.assertions),
            Self::Enrichment | Self::Userinfo => Rc::ptr_eq(&policy.enrich, &top.enrich),
            Self::Operation => are_one(&policy.mcp, &top.mcp),
            Self::Exchange => are_one(&policy.token_exchange, &top.token_exchange),
            Self::Authorizer => are_one(&policy.authorization, &top.authorization),
            Self::Binding(_) | Self::Claim(_) | Self::Proof(_) | Self::Spent(_) => true,
        }
    }

    /// The field, and what is wrong.
    fn text(&self, policy: &Policy) -> String {
        match self {
            Self::RequirementField(unmet) => format!("require.{unmet} is not fulfilled"),
            Self::Claim(name) => format!("the claim {name} is not what it must be"),
            Self::Header(header) => {
                let index = policy.claim_headers.iter().position(|output| output.header == *header).unwrap_or_default();
                format!("claim_headers[{index}] ({header}): the token lacks what is required")
            }
            Self::Operation => "mcp does not let the operation pass".to_owned(),
            Self::Binding(fault) => fault.text(policy),
            Self::Proof(error) => format!("the DPoP proof: {error}"),
            Self::Spent(spent) => format!("the DPoP proof: {}", spent.why()),
            Self::AssertionClaim(name) => {
                format!("assertion: the token lacks what {} is made of", name.escape_default())
            }
            Self::Enrichment => "enrich: a source has not answered".to_owned(),
            Self::Userinfo => "enrich: the provider's userinfo refuses the token".to_owned(),
            Self::Exchange => "token_exchange: there is no token for the service".to_owned(),
            Self::Authorizer => "external_authorization does not let it pass".to_owned(),
        }
    }
}

/// Whether two policies share a part.
fn are_one<T>(one: &Option<Rc<T>>, other: &Option<Rc<T>>) -> bool {
    one.as_ref().zip(other.as_ref()).is_some_and(|(one, other)| Rc::ptr_eq(one, other))
}

fn tell_shadow(shadow: Option<Shadow>) {
    if let Some(shadow) = shadow {
        let (result, reason) = shadow.words();
        log::debug!("the candidate policy for the same request: {result} ({reason})");
    }
}

/// A decision that is told: its `Display` is the beginning of the line, with the request and what became of it.
struct Told<'d> {
    case: &'d Case,
    outcome: &'d Outcome,
    status: Option<u16>,
}

impl Told<'_> {
    /// The reason and the status of a refusal; `None` for any other decision.
    fn refusal(&self) -> Option<(Reason, u16)> {
        self.outcome.reason.filter(|_| self.outcome.result == Disposition::Denied).zip(self.status)
    }

    fn line(&self, rule: Option<&str>, requirement: Option<&str>) -> String {
        let (rule, provider) = (rule.unwrap_or("no rule"), provider(self.outcome));
        let more = requirement.map(|requirement| format!(": {requirement}")).unwrap_or_default();
        format!("{self} ({rule}, {provider}){more}")
    }
}

impl fmt::Display for Told<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = if self.case.is_check { "asked about " } else { "" };
        let Shown { method, path, id } = Shown::of(&self.case.request);
        let id = id.as_deref().unwrap_or("none");
        write!(f, "{asked}{method} {path} [x-request-id {id}]: {}", ending(self.outcome, self.status))
    }
}

/// Which request it is: method, path without the query, and the number that Envoy gave it.
struct Shown {
    method: String,
    path: String,
    id: Option<String>,
}

impl Shown {
    fn of(request: &Request) -> Self {
        Self {
            method: shown(request.method(), MAX_SHOWN_WORD),
            path: shown(path_of(request), MAX_SHOWN_PATH),
            id: request.headers.first("x-request-id").map(|id| shown(Some(id), MAX_SHOWN_WORD)),
        }
    }
}

/// The path; what stands behind it may hold a token, to some reader.
fn path_of(request: &Request) -> Option<&[u8]> {
    request.path().and_then(|path| path.split(|byte| b"?#;".contains(byte)).next())
}

/// At most so many bytes of what a client sent, up to what may be a JWT.
fn shown(text: Option<&[u8]>, most: usize) -> String {
    let text = text.unwrap_or_default();
    let most = text.windows(JWT.len()).position(|bytes| bytes == JWT).unwrap_or(text.len()).min(most);
    let more = if text.len() > most { "…" } else { "" };
    format!("{}{more}", text.get(..most).unwrap_or(text).escape_ascii())
}

/// What became of a request, and why.
fn ending(outcome: &Outcome, status: Option<u16>) -> String {
    let result = outcome.result.as_str();
    let reason = outcome.reason.map(|reason| reason.as_str());
    match (status, reason) {
        (Some(status), reason) => format!("{result} with {status}: {}", reason.unwrap_or("none")),
        (None, Some(reason)) => format!("{result}: {reason}"),
        (None, None) => result.to_owned(),
    }
}

fn provider(outcome: &Outcome) -> String {
    outcome.provider.as_ref().map_or_else(|| "no provider".to_owned(), |name| format!("provider {name}"))
}

/// At most how often the same kind of trouble is told of.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

/// How the header of a JWT begins: `{"` in base64url.
const JWT: &[u8] = b"eyJ";

const MAX_SHOWN_WORD: usize = 64;
const MAX_SHOWN_PATH: usize = 200;
