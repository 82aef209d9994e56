//! One request, from the first callback to the last.
//!
//! The invariant: every callback of a request says Pause until a decision about it was carried out in full.

use super::abi::{self, Buffer, Failed, HeaderMap};
use super::instance::Instance;
use super::lists::Listing;
use super::outgoing::{carry_out, edit_response, refuse_misconfigured, send, set_status};
use super::{Progress, Worker, body, incoming, wire};
use crate::decision::{Answered, Case, Decision};
use crate::filter::StreamId;
use crate::http::Request;
use std::cell::RefCell;
use std::rc::Rc;

/// One request.
pub(super) struct Stream {
    id: StreamId,
    root: u32,
    shared: Rc<RefCell<Worker>>,
    progress: Rc<RefCell<Progress>>,
}

impl Stream {
    /// A request of which nothing is known yet.
    pub(super) fn new(id: StreamId, root: u32, shared: Rc<RefCell<Worker>>) -> Self {
        Self { id, root, shared, progress: Rc::default() }
    }

    /// Its headers have come, and if nothing follows, that is all of it.
    pub(super) fn on_request_headers(&mut self, end_of_stream: bool) -> bool {
        let Some(needs_root) = self.decide(!end_of_stream) else {
            self.refuse_misconfigured();
            return false;
        };
        let goes_on = self.goes_on();
        if needs_root {
            abi::enter_root(self.root);
        }
        goes_on
    }

    /// A part of its body has come, with which so many bytes are there.
    pub(super) fn on_request_body(&mut self, size: usize, end_of_stream: bool) -> bool {
        self.on_part(size, end_of_stream)
    }

    /// Its trailers have come, so many.
    pub(super) fn on_request_trailers(&mut self, count: usize) -> bool {
        // At once, even while a decision is pending: this is the only call for them.
        if self.scrub_trailers(count).is_err() {
            log::error!("the trailers of a request could not be read or changed; it is refused");
            self.abandon();
            return false;
        }
        // They end the body.
        let most = match self.progress.try_borrow().as_deref() {
            Ok(Progress::Forwarded { body: Some(held), .. }) => held.max_size(),
            _ => 0,
        };
        let size = if most == 0 { 0 } else { abi::buffer_size(Buffer::RequestBody, most.saturating_add(1)) };
        self.on_part(size, true)
    }

    fn on_part(&self, size: usize, is_end: bool) -> bool {
        let Ok(mut shared) = self.shared.try_borrow_mut() else { return false };
        let Worker { filter, instance, .. } = &mut *shared;
        body::on_part(&self.progress, filter.as_ref(), instance, size, is_end)
    }

    /// The headers of its response have come: the upstream's, or those of an answer.
    pub(super) fn on_response_headers(&mut self, end_of_stream: bool) -> bool {
        let Ok(mut progress) = self.progress.try_borrow_mut() else { return false };
        match &mut *progress {
            Progress::Forwarded { response_edits, case, body: _, listing } => {
                if let Some(case) = case.take()
                    && !self.stays_true(&case)
                {
                    self.refuse_misconfigured();
                    return false;
                }
                if edit_response(std::mem::take(response_edits)).is_err() {
                    log::error!("a header could not be set on a response");
                }
                if listing.on_headers(end_of_stream).and_then(edit_response).is_err() {
                    log::error!(
                        "a response that may list what its client may not use could not be read or changed; it is withheld"
                    );
                    self.refuse_misconfigured();
                    return false;
                }
            }
            Progress::Answered { status: None } => {}
            // The operator's `local_reply_config` may have put another status in its place, but no success where there was none.
            Progress::Answered { status: Some(status) } if !incoming::is_success() || set_status(*status).is_ok() => {}
            Progress::Held { .. } if !incoming::is_success() || set_status(503).is_ok() => {}
            _ => {
                log::error!("the status of an answer could not be set; it is withheld");
                return false;
            }
        }
        true
    }

    /// A part of its response's body has come, with which so many bytes are there.
    pub(super) fn on_response_body(&mut self, size: usize, end_of_stream: bool) -> bool {
        self.on_listing(|listing| listing.on_body(size, end_of_stream))
    }

    /// The trailers of its response have come.
    pub(super) fn on_response_trailers(&mut self) -> bool {
        self.on_listing(|listing| listing.on_trailers().map(|()| true))
    }

    /// What happens to a response that lists something. It is held for good where that fails: its head has gone on, and no other
    /// answer can be given.
    fn on_listing(&self, event: impl FnOnce(&mut Listing) -> Result<bool, Failed>) -> bool {
        let Ok(mut progress) = self.progress.try_borrow_mut() else { return false };
        let Progress::Forwarded { listing, .. } = &mut *progress else { return true };
        event(listing).unwrap_or_else(|Failed| {
            log::error!("a list in a response could not be read or changed; it is withheld");
            false
        })
    }

    /// Hands the request to the filter. Whether the root has something to do now; `None` if there is no filter, or
    /// no clock to judge by.
    fn decide(&self, has_body: bool) -> Option<bool> {
        let mut shared = self.shared.try_borrow_mut().ok()?;
        let Worker { filter, metadata_sources, instance, waiting, was_asked } = &mut *shared;
        let filter = filter.as_mut()?;
        *was_asked = true;
        let headers = wire::headers(abi::pairs(HeaderMap::RequestHeaders)?).unwrap_or_default();
        let metadata = metadata_sources.iter().map(|(namespace, key)| incoming::metadata(namespace, key)).collect();
        let mcp = if filter.reads_mcp_metadata() { incoming::mcp() } else { None };
        let certificate = if filter.reads_certificates() { incoming::certificate() } else { None };
        let request = Request { headers, metadata, certificate, route: incoming::route(filter), has_body, mcp };
        match filter.on_request(self.id, request, abi::now()?) {
            Decision::Wait => {
                waiting.insert(self.id, Rc::clone(&self.progress));
            }
            decision => carry_out(decision, &self.progress, instance),
        }
        Some(filter.has_effects())
    }

    /// Whether it goes on. Until then, every callback says no.
    fn goes_on(&self) -> bool {
        match self.progress.try_borrow().as_deref() {
            Ok(progress @ Progress::Forwarded { .. }) => !body::holds_head(progress),
            _ => false,
        }
    }

    /// A trailer can be read as a header by an upstream that merges them (RFC 9110, section 6.5.1).
    fn scrub_trailers(&self, count: usize) -> Result<(), Failed> {
        if count == 0 {
            return Ok(());
        }
        let shared = self.shared.try_borrow().map_err(|_| Failed)?;
        let filter = shared.filter.as_ref().ok_or(Failed)?;
        let trailers = abi::pairs(HeaderMap::RequestTrailers).and_then(wire::headers).ok_or(Failed)?;
        if trailers.iter().count() < count {
            return Err(Failed);
        }
        let mut own = trailers.iter().map(|(name, _)| name).filter(|name| filter.is_own_trailer(name));
        own.try_for_each(|name| abi::remove(HeaderMap::RequestTrailers, name))
    }

    /// Whether the route that was taken has the policy that was decided on. Every change of a header makes Envoy choose the
    /// route anew, but it tells nobody which before somebody native has asked for it: the router, or an RBAC, which may have
    /// refused the request for that very reason.
    fn stays_true(&self, case: &Case) -> bool {
        let Ok(shared) = self.shared.try_borrow() else { return false };
        let Some(filter) = &shared.filter else { return false };
        let holds = filter.holds(case, incoming::route(filter)) || incoming::is_refused_by_rbac();
        if !holds {
            filter.complain_of_route(abi::now().unwrap_or_default());
        }
        holds
    }

    /// Answers a request that waits or has gone on. One that is answered already stays so.
    fn abandon(&self) {
        let progress = self.progress.try_borrow_mut().map(|mut progress| std::mem::take(&mut *progress));
        let had_gone_on = matches!(progress, Ok(Progress::Forwarded { .. }));
        if self.close() || had_gone_on {
            self.refuse_misconfigured();
        }
    }

    fn refuse_misconfigured(&self) {
        match self.shared.try_borrow_mut() {
            Ok(mut shared) => refuse_misconfigured(&mut shared.instance),
            Err(_) => send(&Answered::misconfigured(), &Instance::default()),
        }
    }

    /// Ends the wait; whether there was one.
    fn close(&self) -> bool {
        let Ok(mut shared) = self.shared.try_borrow_mut() else { return false };
        let waited = shared.waiting.remove(&self.id).is_some();
        if let Some(filter) = shared.filter.as_mut().filter(|_| waited) {
            filter.on_closed(self.id);
        }
        waited
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}
