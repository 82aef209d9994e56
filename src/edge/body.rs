//! The body of a request that is judged before a byte of it goes on.
//!
//! Envoy keeps what comes while each callback says Pause, up to its own buffer's limit, beyond which it answers 413 itself. The
//! invariant: as long as a body is held, no callback about it says Continue but the one in which it was judged.

use super::abi::{self, Buffer};
use super::instance::Instance;
use super::lists::Listing;
use super::outgoing::{self, refuse_misconfigured};
use super::{Arrived, Progress};
use crate::decision::{Answered, Decision, Forward, HeldBody};
use crate::filter::{Body, Filter, StreamId};
use std::cell::RefCell;

/// A part of a body has come, with which there are so many bytes of it. Whether it may go on.
pub fn on_part(
    stream: StreamId,
    progress: &RefCell<Progress>,
    filter: Option<&mut Filter>,
    instance: &mut Instance,
    size: usize,
    is_end: bool,
) -> bool {
    let held = {
        let Ok(mut progress) = progress.try_borrow_mut() else { return false };
        match &mut *progress {
            Progress::Held { arrived } => {
                *arrived = if is_end { Arrived::All } else { Arrived::Part };
                return false;
            }
            Progress::Forwarded { body, .. } => *body,
            Progress::Answered { .. } => return false,
        }
    };
    match held {
        None => true,
        Some(held) if size <= held.max_size && !is_end => false,
        Some(held) => judge(stream, held, progress, filter, instance, size),
    }
}

/// Whether the head of a request that goes on is to be held until its body was judged.
pub fn holds_head(progress: &Progress) -> bool {
    matches!(progress, Progress::Forwarded { body: Some(HeldBody { hold_head: true, .. }), .. })
}

/// A request that waited has been let go, and so much of its body had come by then. Whether its head may go on now.
pub fn on_resolved(
    stream: StreamId,
    arrived: Arrived,
    progress: &RefCell<Progress>,
    filter: Option<&mut Filter>,
    instance: &mut Instance,
) -> bool {
    let held = match progress.try_borrow().as_deref() {
        Ok(Progress::Forwarded { body, .. }) => *body,
        _ => return false,
    };
    match (held, arrived) {
        (None, _) => true,
        (Some(held), Arrived::Nothing) => !held.hold_head,
        // Resumed, what Envoy has kept would go on without another callback.
        (Some(_), Arrived::Part) => false,
        (Some(held), Arrived::All) => {
            let size = abi::buffer_size(Buffer::RequestBody, held.max_size.saturating_add(1));
            judge(stream, held, progress, filter, instance, size)
        }
    }
}

/// Brings a body to the filter, whole or as one that is too long, and carries out what that says. Whether it goes on.
fn judge(
    stream: StreamId,
    held: HeldBody,
    progress: &RefCell<Progress>,
    filter: Option<&mut Filter>,
    instance: &mut Instance,
    size: usize,
) -> bool {
    let bytes = match size {
        0 => Some(Vec::new()),
        size if size <= held.max_size => abi::buffer(Buffer::RequestBody, size).filter(|bytes| bytes.len() == size),
        _ => Some(Vec::new()),
    };
    let decision = match (filter, &bytes, abi::now()) {
        (Some(filter), Some(_), Some(now)) if size > held.max_size => filter.on_body(stream, Body::TooLong, now),
        (Some(filter), Some(bytes), Some(now)) => filter.on_body(stream, Body::Whole(bytes), now),
        (filter, ..) => {
            log::error!("the body of a request could not be read; it is refused");
            // Nothing else would ever drop what it was to be judged by.
            if let Some(filter) = filter {
                filter.on_closed(stream);
            }
            Decision::Answer(Answered::misconfigured())
        }
    };
    match decision {
        Decision::Forward(Forward { filter_state, outcome, tally, lists, .. }) => {
            outgoing::audit(&filter_state);
            instance.count(&outcome, tally);
            let Ok(mut progress) = progress.try_borrow_mut() else { return false };
            if let Progress::Forwarded { body, listing, .. } = &mut *progress {
                *body = None;
                *listing = lists.map(Listing::Expected).unwrap_or_default();
            }
            true
        }
        Decision::Answer(answered) => {
            outgoing::answer_anyway(&answered, progress, instance);
            false
        }
        Decision::Wait => {
            refuse_misconfigured(instance);
            false
        }
    }
}
