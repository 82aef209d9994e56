//! What a request asks of an MCP server: the second procedure, on a request whose token is good.
//!
//! What the head says of the operation is judged with the head. What only the body says is judged when that is there: the head
//! has gone on by then, and the body has not, so that a refusal can still answer the client, but change nothing of the head.
//!
//! The invariant: of a body that is judged, no byte goes on before every message in it was found to be permitted.

use super::Filter;
use super::authorize::Run;
use super::ends::{Grant, Halt, Refusal};
use super::operator_log::Detail;
use crate::config::{Mcp, OFFLINE_ACCESS, Policy};
use crate::decision::{Answered, Case, Decision, HeldBody, Outcome, PassedBody, Tally};
use crate::http::path::Path;
use crate::http::query::Target;
use crate::http::{Edit, Request, only};
use crate::jose::jwt::AccessToken;
use crate::json::{self, Object};
use crate::policy::operation::fault::{FaultKind, MessageFault};
use crate::policy::operation::head::Head;
use crate::policy::operation::lists::Lists;
use crate::policy::operation::{Message, Refused, message};
use crate::policy::requirement::Unmet;
use crate::protobuf;
use crate::reply::{BadMessage, Denial};
use crate::time::Timestamp;
use std::rc::Rc;

/// The body of a request that has gone on.
pub enum Body<'b> {
    /// All of it.
    Whole(&'b [u8]),
    /// It is longer than is read.
    TooLong,
}

/// What the head of a request leaves for its body to say.
pub(super) struct Unread {
    mcp: Rc<Mcp>,
    head: Head,
}

/// The MCP server that a request is a message to.
pub(super) fn server<'p>(policy: &'p Policy, request: &Request) -> Option<&'p Rc<Mcp>> {
    let mcp = policy.mcp.as_ref().filter(|_| !policy.bypass)?;
    let is_there = mcp.path.as_deref().is_none_or(|path| may_be_at(request, path));
    is_there.then_some(mcp)
}

/// Whether some reader finds the endpoint in a request's path: in any case, with a slash or a suffix behind it, with a session before
/// it. Frameworks route all of these alike.
fn may_be_at(request: &Request, endpoint: &[u8]) -> bool {
    let Some(target) = request.path() else { return true };
    let path = Path::read(Target::parse(target).path);
    let mut close = path.sessionless().into_iter().chain(path.neighbours());
    path.readings().is_none_or(|mut readings| readings.any(|reading| is_at(reading, endpoint)))
        || close.any(|reading| is_at(&reading, endpoint))
}

fn is_at(reading: &[u8], endpoint: &[u8]) -> bool {
    let (start, rest) = reading.split_at_checked(endpoint.len()).unwrap_or((reading, b"-"));
    let goes_on = rest.first().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    start.eq_ignore_ascii_case(endpoint) && !goes_on
}

impl Run<'_> {
    /// What is refused whatever token there is: a page of an origin that may not ask (MCP, "Security Warning"), and a token in the
    /// query (MCP, "Token Requirements").
    pub(super) fn check_page(&self) -> Result<(), Halt> {
        let Some(mcp) = server(self.policy, self.request) else { return Ok(()) };
        let token = self.facts.token_parameter.as_ref();
        if self.request.path().is_some_and(|target| token.is_none_or(|token| token.are_in(target))) {
            return Err(Denial::InvalidRequest.into());
        }
        // A preflight is for the service to answer.
        let mut origins = self.request.headers.all("origin");
        if origins.all(|origin| self.may_ask(mcp, origin)) || self.request.is_cors_preflight() {
            return Ok(());
        }
        Err(bad_message(FaultKind::Origin, self.request).into())
    }

    /// Whether pages of this origin may send requests: those of the server's own, and of the origins that the operator names.
    fn may_ask(&self, mcp: &Mcp, origin: &[u8]) -> bool {
        let Ok(origin) = std::str::from_utf8(origin) else { return false };
        let cors = self.facts.config.cors.as_ref().map(|cors| cors.origins.as_slice()).unwrap_or_default();
        origin == mcp.resource.origin() || mcp.origins.iter().chain(cors).any(|allowed| allowed.matches(origin))
    }

    /// What a client without a token is told to ask for: where the head says the operation, all that it needs.
    pub(super) fn missing_token(&self) -> Denial {
        match self.scopes() {
            None => Denial::MissingToken,
            Some(scopes) => Denial::MissingTokenFor(scopes),
        }
    }

    /// What is lacking for a request, and not only for its token: a client that asks for less comes back once for each scope.
    pub(super) fn all_scopes(&self, unmet: Unmet) -> Unmet {
        let Unmet::Scopes(missing, field) = unmet else { return unmet };
        Unmet::Scopes(self.scopes().unwrap_or(missing), field)
    }

    /// The scopes that this request needs, as far as its head tells; `None` if it is for no MCP server.
    fn scopes(&self) -> Option<String> {
        let mcp = server(self.policy, self.request)?;
        let head = Head::read(mcp, self.request, true).ok();
        let asked = head.and_then(|head| head.asked(mcp, self.request.mcp.as_ref()).ok()).flatten();
        let nothing = Message { id: None, method: None, operations: Vec::new() };
        Some(scopes(mcp, self.policy, std::slice::from_ref(asked.as_ref().unwrap_or(&nothing))))
    }
}

impl Filter {
    /// What the head alone asks for, and whether it may, with the token or without one. `None` is left if the body says nothing more.
    pub(super) fn judge_head(
        &self,
        case: &Case,
        grant: Option<&Grant>,
        now: Timestamp,
    ) -> (Option<Message>, Result<Option<Unread>, Refusal>) {
        let Case { request, policy, is_check } = case;
        let Some(mcp) = server(policy, request) else { return (None, Ok(None)) };
        let (token, label) = match grant {
            Some(Grant::Token(granted)) => (Some(&granted.token), Some(Rc::clone(&granted.label))),
            _ => (None, None),
        };
        let refuse =
            |denial: Denial| Refusal { detail: Some(Detail::Operation), ..Refusal::new(denial, label.clone()) };
        let refuse_fault = |fault: MessageFault| {
            // A proxy that asks understands 401 and 403 only.
            refuse(if *is_check { Denial::InsufficientClaims } else { bad_message(fault.kind, request) })
        };
        // A proxy that asks may have left the body out of its question.
        let is_bare = matches!(request.method(), Some(b"GET" | b"HEAD" | b"OPTIONS" | b"DELETE"));
        let has_body = request.has_body || *is_check && !is_bare;
        let head = match Head::read(mcp, request, has_body) {
            Ok(head) if has_body => head,
            Ok(_) => return (None, Ok(None)),
            Err(fault) => return (None, Err(refuse_fault(fault))),
        };
        let asked = match head.asked(mcp, request.mcp.as_ref()) {
            Ok(asked) => asked,
            Err(fault) => return (None, Err(refuse_fault(fault))),
        };
        let judged = match &asked {
            Some(asked) => {
                judge(mcp, policy, std::slice::from_ref(asked), token, now).map_err(|(_, denial)| refuse(denial))
            }
            None if *is_check && !mcp.operations.are_all_open() => Err(refuse(Denial::InsufficientClaims)),
            None => Ok(()),
        };
        let is_read = !is_check && !mcp.leaves_body_unread();
        (asked, judged.map(|()| is_read.then(|| Unread { mcp: Rc::clone(mcp), head })))
    }

    /// The body of a request that goes on has come, or more of it than is read: it goes on, too, or the request is refused.
    pub fn on_body(&self, held: HeldBody, body: Body, now: Timestamp) -> Result<PassedBody, Box<Answered>> {
        let HeldBody { case, mcp, head, token, outcome, tally } = held;
        let read = match body {
            Body::Whole(b"") if !head.is_post => Ok(Vec::new()),
            Body::Whole(_) if !head.is_json => Err(FaultKind::MediaType.into()),
            Body::Whole(body) if body.len() <= mcp.max_body_size => message::read(&head, body),
            Body::Whole(_) | Body::TooLong => Err(FaultKind::TooLarge.into()),
        };
        let messages = match read {
            Ok(messages) => messages,
            Err(fault) => {
                let denial = bad_message(fault.kind, &case.request);
                let refused = self.refused(&case, &denial, outcome.provider, fault.id.as_deref(), now);
                return Err(self.refuse_message(&case, refused, None, None, tally, token.as_ref()));
            }
        };
        if let Err((asked, denial)) = judge(&mcp, &case.policy, &messages, token.as_ref(), now) {
            // A list of messages has no one answer.
            let id = asked.id.as_deref().filter(|_| messages.len() == 1);
            let refused = self.refused(&case, &denial, outcome.provider, id, now);
            let detail = Some(&Detail::Operation);
            return Err(self.refuse_message(&case, refused, detail, Some(asked), tally, token.as_ref()));
        }
        self.tell(&case, &outcome, None, None, tally);
        let filter_state = self.audit(&messages, &outcome, token.as_ref());
        let lists = lists(&case, &messages, token.as_ref());
        Ok(PassedBody { filter_state, outcome, tally, lists })
    }

    fn refuse_message(
        &self,
        case: &Case,
        refused: Answered,
        detail: Option<&Detail>,
        asked: Option<&Message>,
        tally: Tally,
        token: Option<&AccessToken>,
    ) -> Box<Answered> {
        self.tell(case, &refused.outcome, Some(refused.answer.status), detail, tally);
        let asked: Vec<Message> = asked.into_iter().cloned().collect();
        let filter_state = self.audit(&asked, &refused.outcome, token);
        // The head has gone on: its log has nothing to hide any more.
        Box::new(Answered { tally, filter_state, edits: Vec::new(), ..refused })
    }

    /// A decision with the audit line of what its head alone asks for.
    pub(super) fn audited(
        &self,
        case: &Case,
        asked: Option<Message>,
        token: Option<&AccessToken>,
        mut decision: Decision,
    ) -> Decision {
        let Some(asked) = asked.filter(|_| !case.is_check) else { return decision };
        match &mut decision {
            Decision::Forward(forward) => forward.filter_state.extend(self.audit(&[asked], &forward.outcome, token)),
            Decision::Answer(answered) => answered.filter_state = self.audit(&[asked], &answered.outcome, token),
            Decision::Wait => {}
        }
        decision
    }

    /// The key of filter state that holds the audit line.
    pub(super) fn audit_key(&self) -> String {
        format!("{}.mcp", self.name)
    }

    /// The audit line of an operation, as filter state: the method, what it was about, who asked, and what was decided. Never its
    /// arguments.
    pub(super) fn audit(
        &self,
        messages: &[Message],
        outcome: &Outcome,
        token: Option<&AccessToken>,
    ) -> Vec<(String, Vec<u8>)> {
        if !self.config.marks {
            return Vec::new();
        }
        let mut line = Object::new();
        let first = messages.first();
        let method = first.and_then(|asked| asked.method.as_deref());
        let name = first.and_then(|asked| asked.operations.first()).and_then(|operation| operation.name());
        let subject = token.and_then(|token| json::text_of(token.claims().object(), "sub"));
        let reason = outcome.reason.map(|reason| reason.as_str());
        let told = [
            ("method", method),
            ("name", name),
            ("subject", subject),
            ("decision", Some(outcome.result.as_str())),
            ("reason", reason),
        ];
        for (member, text) in told {
            let text = text.map(|text| text.chars().take(MAX_TOLD).collect::<String>());
            line.extend(text.map(|text| (member.to_owned(), text.into())));
        }
        if messages.len() > 1 {
            line.insert("messages".to_owned(), messages.len().into());
        }
        vec![(self.audit_key(), protobuf::write_struct(&line))]
    }
}

/// A decision by which the head goes on, and its body is held until it was judged. The response may come before that.
pub(super) fn hold_body(
    case: &Case,
    asked: Option<&Message>,
    unread: Unread,
    token: Option<AccessToken>,
    decision: Decision,
) -> Decision {
    let Decision::Forward(mut forward) = decision else { return decision };
    let Unread { mcp, head } = unread;
    forward.lists = lists(case, asked.map(std::slice::from_ref).unwrap_or_default(), token.as_ref());
    if mcp.filter_lists {
        forward.edits.extend(without_form());
    }
    let request = case.request.with_headers(|name| TOLD_HEADERS.iter().any(|told| told.as_bytes() == name));
    let case = Case { request, policy: Rc::clone(&case.policy), is_check: false };
    let (outcome, tally) = (forward.outcome.clone(), forward.tally);
    forward.body = Some(Box::new(HeldBody { case, mcp, head, token, outcome, tally }));
    Decision::Forward(forward)
}

/// A decision about a request whose body, if it has one, says nothing more: what its response may list is filtered.
pub(super) fn with_lists(
    case: &Case,
    asked: Option<&Message>,
    token: Option<&AccessToken>,
    decision: Decision,
) -> Decision {
    let Decision::Forward(mut forward) = decision else { return decision };
    if server(&case.policy, &case.request).is_some() {
        forward.lists = lists(case, asked.map(std::slice::from_ref).unwrap_or_default(), token);
    }
    if forward.lists.is_some() {
        forward.edits.extend(without_form());
    }
    Decision::Forward(forward)
}

/// What the response to a request to an MCP server may list.
fn lists(case: &Case, messages: &[Message], token: Option<&AccessToken>) -> Option<Lists> {
    Lists::in_response(messages, case.request.method() == Some(b"GET"), &case.policy, token)
}

/// What is to be filtered must be readable, and whole.
fn without_form() -> impl Iterator<Item = Edit> {
    ["accept-encoding", "range"].into_iter().map(|name| Edit::Remove(name.as_bytes().to_vec()))
}

/// Whether a token may ask for all of this; or else what it may not ask for, and why.
fn judge<'m>(
    mcp: &Mcp,
    policy: &Policy,
    messages: &'m [Message],
    token: Option<&AccessToken>,
    now: Timestamp,
) -> Result<(), (&'m Message, Denial)> {
    let refused = |asked: &'m Message| Some((asked, mcp.permits(asked, token, &policy.implied_scopes, now).err()?));
    // The first that nobody may ask for, or else the first of all: no better token helps against that.
    let first = messages.iter().filter_map(refused).min_by_key(|(_, refused)| *refused != Refused::Denied);
    let Some((asked, refused)) = first else { return Ok(()) };
    let denial = match refused {
        Refused::Denied | Refused::Unmet(Unmet::Claims(_)) => Denial::InsufficientClaims,
        Refused::Unmet(Unmet::Authentication(step_up, _)) => Denial::InsufficientAuthentication(step_up),
        Refused::NoToken => Denial::MissingTokenFor(scopes(mcp, policy, messages)),
        Refused::Unmet(Unmet::Scopes(..)) => Denial::InsufficientScope(scopes(mcp, policy, messages)),
    };
    Err((asked, denial))
}

/// All scopes that a request and its operations need, each once.
fn scopes(mcp: &Mcp, policy: &Policy, messages: &[Message]) -> String {
    let mut scopes: Vec<&str> = Vec::new();
    for scope in policy.require.all_scopes().chain(messages.iter().flat_map(|asked| mcp.scopes_for(asked))) {
        if !scopes.contains(&scope) && scope != OFFLINE_ACCESS {
            scopes.push(scope);
        }
    }
    scopes.join(" ")
}

fn bad_message(kind: FaultKind, request: &Request) -> Denial {
    let (status, code) = kind.codes();
    let requested = only(request.headers.all("mcp-protocol-version")).filter(|_| kind == FaultKind::Version);
    let requested = requested.map(|version| String::from_utf8_lossy(version).chars().take(MAX_TOLD).collect());
    Denial::BadMessage(BadMessage { status, code, sentence: kind.sentence(), requested })
}

/// What is needed of a request when its body has come: to answer a page, and to tell which request it was.
const TOLD_HEADERS: &[&str] = &[":method", ":path", "origin", "mcp-protocol-version", "x-request-id"];

/// How much of a text that a client chose is told.
const MAX_TOLD: usize = 256;
