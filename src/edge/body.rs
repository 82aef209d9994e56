//! The body of a request that is judged before a byte of it goes on.
//!
//! Envoy keeps what comes while each callback says Pause, up to its own buffer's limit, beyond which it answers 413 itself. The
//! invariant: as long as a body is held, no callback about it says Continue but the one in which it was judged.

use super::abi::{self, Buffer};
use super::instance::Instance;
use super::outgoing;
use super::{Arrived, Progress};
use crate::decision::{Answered, HeldBody, PassedBody};
use crate::filter::{Body, Filter};
use std::cell::RefCell;

/// A part of a body has come, with which there are so many bytes of it. Whether it may go on.
pub(super) fn on_part(
    progress: &RefCell<Progress>,
    filter: Option<&Filter>,
    instance: &mut Instance,
    size: usize,
    is_end: bool,
) -> bool {
    {
        let Ok(mut progress) = progress.try_borrow_mut() else { return false };
        match &mut *progress {
            Progress::Held { arrived } => {
                *arrived = if is_end { Arrived::All } else { Arrived::Part };
                return false;
            }
            Progress::Forwarded { body: None, .. } => return true,
            Progress::Forwarded { body: Some(held), .. } if size <= held.max_size() && !is_end => return false,
            Progress::Forwarded { body: Some(_), .. } => {}
            Progress::Answered { .. } => return false,
        }
    }
    judge(progress, filter, instance, size)
}

/// Whether the head of a request that goes on is to be held until its body was judged.
pub(super) fn holds_head(progress: &Progress) -> bool {
    matches!(progress, Progress::Forwarded { body: Some(held), .. } if held.holds_head())
}

/// A request that waited may go on, and this much of its body has come. Whether its head may go on now.
pub(super) fn on_resolved(
    arrived: Arrived,
    progress: &RefCell<Progress>,
    filter: Option<&Filter>,
    instance: &mut Instance,
) -> bool {
    let size = match (progress.try_borrow().as_deref(), arrived) {
        (Ok(Progress::Forwarded { body: None, .. }), _) => return true,
        (Ok(Progress::Forwarded { body: Some(held), .. }), Arrived::Nothing) => return !held.holds_head(),
        // Resumed, what Envoy has kept would go on without another callback.
        (Ok(Progress::Forwarded { body: Some(_), .. }), Arrived::Part) => return false,
        (Ok(Progress::Forwarded { body: Some(held), .. }), Arrived::All) => {
            abi::buffer_size(Buffer::RequestBody, held.max_size().saturating_add(1))
        }
        _ => return false,
    };
    judge(progress, filter, instance, size)
}

/// Has a body judged, and carries out what is decided about it. Whether it goes on. Until then, the request is held like one without
/// a decision.
fn judge(progress: &RefCell<Progress>, filter: Option<&Filter>, instance: &mut Instance, size: usize) -> bool {
    let taken = progress.try_borrow_mut().map(|mut progress| std::mem::take(&mut *progress));
    let Ok(Progress::Forwarded { response_edits, case, body: Some(held), listing }) = taken else { return false };
    match judged(*held, filter, size) {
        Ok(PassedBody { filter_state, outcome, tally, lists }) => {
            outgoing::audit(&filter_state);
            instance.count(&outcome, tally);
            let Ok(mut progress) = progress.try_borrow_mut() else { return false };
            let listing = listing.expecting(lists);
            *progress = Progress::Forwarded { response_edits, case, body: None, listing };
            true
        }
        Err(answered) => {
            outgoing::answer_anyway(&answered, progress, instance);
            false
        }
    }
}

/// Brings a body to the filter, whole or as one that is too long.
fn judged(held: HeldBody, filter: Option<&Filter>, size: usize) -> Result<PassedBody, Box<Answered>> {
    let is_too_long = size > held.max_size();
    let bytes = if size == 0 || is_too_long {
        Some(Vec::new())
    } else {
        abi::buffer(Buffer::RequestBody, size).filter(|bytes| bytes.len() == size)
    };
    let (Some(filter), Some(bytes), Some(now)) = (filter, bytes, abi::now()) else {
        log::error!("the body of a request could not be read; it is refused");
        return Err(Box::new(Answered::misconfigured()));
    };
    let body = if is_too_long { Body::TooLong } else { Body::Whole(&bytes) };
    filter.on_body(held, body, now)
}
