//! A response that lists what there is, on its way to the client: it loses what the client's token may not use.
//!
//! The invariant: once such a response was seen to begin, no byte of it goes on but what
//! [`ListReader::pass_on`] gave back; where the host can't exchange a part of it, the client gets none of it.

use super::abi::{self, Buffer, Failed, HeaderMap};
use super::wire;
use crate::decision::{ListReader, Lists};
use crate::http::Edit;

/// What becomes of a response's body.
#[derive(Default)]
pub(super) enum Listing {
    /// It goes on as it is.
    #[default]
    Nothing,
    /// That depends on its head.
    Expected(Lists),
    /// It is read, and goes on without what its client may not use.
    Read(Box<ListReader>),
}

impl Listing {
    /// What is known when the body of the request was judged. A response that has come before that is read on.
    pub(super) fn expecting(self, lists: Option<Lists>) -> Self {
        match self {
            Self::Read(reading) => Self::Read(reading),
            Self::Nothing | Self::Expected(_) => lists.map(Self::Expected).unwrap_or_default(),
        }
    }

    /// The headers have come: how they are to be changed. If nothing follows them, nothing is listed.
    pub(super) fn on_headers(&mut self, end_of_stream: bool) -> Result<Vec<Edit>, Failed> {
        let Self::Expected(lists) = std::mem::take(self) else { return Ok(Vec::new()) };
        if end_of_stream {
            return Ok(Vec::new());
        }
        let head = abi::pairs(HeaderMap::ResponseHeaders).and_then(wire::headers).ok_or(Failed)?;
        let Some(mut reading) = lists.read(&head) else { return Ok(Vec::new()) };
        let edits = std::mem::take(&mut reading.edits);
        *self = Self::Read(Box::new(reading));
        Ok(edits)
    }

    /// A part of the body has come, with which so many bytes are there. Whether it may go on.
    pub(super) fn on_body(&mut self, size: usize, end_of_stream: bool) -> Result<bool, Failed> {
        let Self::Read(reading) = self else { return Ok(true) };
        if !end_of_stream && reading.waits_at(size) {
            return Ok(false);
        }
        exchange(reading, size, end_of_stream)?;
        Ok(true)
    }

    /// Trailers have come, which end the body.
    pub(super) fn on_trailers(&mut self) -> Result<(), Failed> {
        let Self::Read(reading) = self else { return Ok(()) };
        // What was kept is all that is there, and no more was kept than is read.
        let size = abi::buffer_size(Buffer::ResponseBody, usize::MAX);
        if size == 0 { Ok(()) } else { exchange(reading, size, true) }
    }
}

/// Puts what goes on in the place of what is there.
fn exchange(reading: &mut ListReader, size: usize, is_end: bool) -> Result<(), Failed> {
    // The host has nothing to hand over of nothing.
    let part = if size == 0 { Vec::new() } else { abi::buffer(Buffer::ResponseBody, size).ok_or(Failed)? };
    let now = abi::now().ok_or(Failed)?;
    let passed = reading.pass_on(&part, is_end, now);
    if passed == part { Ok(()) } else { abi::set_buffer(Buffer::ResponseBody, &passed) }
}
