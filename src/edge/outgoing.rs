//! Decisions and their edits as host calls.
//!
//! The invariant: a request is noted as going on only after all its changes were made. Half a change could be a forged identity.

use super::abi::{self, Failed, HeaderMap};
use super::instance::Instance;
use super::lists::Listing;
use super::{Progress, wire};
use crate::decision::{Answered, Decision, Forward};
use crate::http::{Answer, Edit, caching};
use std::cell::RefCell;

/// Makes a decision true for the request of the effective context.
pub(super) fn carry_out(decision: Decision, progress: &RefCell<Progress>, instance: &mut Instance) {
    match decision {
        Decision::Forward(forward) => match apply(&forward, instance) {
            Ok(()) => {
                // A request whose body is to be judged is counted by what comes of that.
                if forward.body.is_none() {
                    instance.count(&forward.outcome, forward.tally);
                }
                if let Ok(mut progress) = progress.try_borrow_mut() {
                    let Forward { response_edits, case, body, lists, .. } = forward;
                    let listing = lists.map(Listing::Expected).unwrap_or_default();
                    *progress = Progress::Forwarded { response_edits, case, body, listing };
                }
            }
            Err(Failed) => {
                log::error!("a request could not be changed as decided");
                refuse_misconfigured(instance);
            }
        },
        Decision::Answer(answered) => answer_anyway(&answered, progress, instance),
        Decision::Wait => {}
    }
}

/// Answers the request of the effective context, however far it has come.
pub(super) fn answer_anyway(answered: &Answered, progress: &RefCell<Progress>, instance: &mut Instance) {
    let Answer { status, grpc_status, .. } = answered.answer;
    if let Ok(mut progress) = progress.try_borrow_mut() {
        *progress = Progress::Answered { status: Some(status).filter(|_| grpc_status.is_none()) };
    }
    audit(&answered.filter_state);
    answer(answered, instance);
}

/// Tells as filter state what was asked of an MCP server. It is only for those who read logs and metadata: no request is refused for
/// want of it.
pub(super) fn audit(filter_state: &[(String, Vec<u8>)]) {
    if filter_state.iter().any(|(key, value)| abi::set_filter_state(key, value).is_err()) {
        log::warn!("what was asked of an MCP server could not be told as filter state");
    }
}

/// Gives an answer its status back. Envoy makes 200 of every reply to what looks like a gRPC call, and to a proxy that asks
/// at `verify_path` that is a yes: its client needs only say `content-type: application/grpc`.
pub(super) fn set_status(status: u16) -> Result<(), Failed> {
    abi::set(HeaderMap::ResponseHeaders, b":status", status.to_string().as_bytes())
}

fn apply(forward: &Forward, instance: &Instance) -> Result<(), Failed> {
    carry_out_edits(HeaderMap::RequestHeaders, &forward.edits)?;
    for (key, value) in &forward.filter_state {
        abi::set_filter_state(key, value)?;
    }
    instance.mark(&forward.outcome, forward.route.as_deref())
}

/// Changes a response. If a change sets a cookie, or says who may keep the response, no cache may keep it for others: where that
/// can't be had, nothing is changed.
pub(super) fn edit_response(edits: Vec<Edit>) -> Result<(), Failed> {
    if edits.iter().any(is_for_one) {
        let response = abi::pairs(HeaderMap::ResponseHeaders).and_then(wire::headers).ok_or(Failed)?;
        carry_out_edits(HeaderMap::ResponseHeaders, &caching::private(&response))?;
    }
    carry_out_edits(HeaderMap::ResponseHeaders, &edits)
}

/// Whether a response with this edit may be for one client only.
fn is_for_one(edit: &Edit) -> bool {
    match edit {
        Edit::Add(name, _) | Edit::Set(name, _) => matches!(&**name, "set-cookie" | "cache-control"),
        Edit::Remove(_) => false,
    }
}

fn carry_out_edits(map: HeaderMap, edits: &[Edit]) -> Result<(), Failed> {
    edits.iter().try_for_each(|edit| match edit {
        Edit::Remove(name) => abi::remove(map, name),
        Edit::Set(name, value) => abi::set(map, name.as_bytes(), value),
        Edit::Add(name, value) => abi::add(map, name.as_bytes(), value),
    })
}

/// Takes forgeries and tokens off a request that is answered here: it goes nowhere but into logs.
fn clear(edits: &[Edit]) {
    if carry_out_edits(HeaderMap::RequestHeaders, edits).is_err() {
        log::error!(
            "a forged identity or a token could not be taken off a request that is answered; access logs may show it"
        );
    }
}

/// Answers the request of the effective context.
fn answer(answered: &Answered, instance: &mut Instance) {
    instance.count(&answered.outcome, answered.tally);
    clear(&answered.edits);
    send(answered, instance);
}

/// Answers the request of the effective context, and counts nothing.
pub(super) fn send(answered: &Answered, instance: &Instance) {
    if abi::send_reply(&answered.answer, &instance.details(answered.meaning)).is_err() {
        log::error!("a request could not be answered; it stays on hold");
    }
}

/// Refuses the request of the effective context because there is nothing to judge it by.
pub(super) fn refuse_misconfigured(instance: &mut Instance) {
    answer(&Answered::misconfigured(), instance);
}
