//! The assertions that were signed before. What was signed for one token and place is never written for another.

use super::Basis;
use crate::config::Assertion;
use crate::jose::verifier::Backend;
use crate::time::Timestamp;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The assertions that were signed for one token, kept with what vouched for it.
#[derive(Default)]
pub struct KeptAssertions {
    pub(super) assertions: RefCell<Vec<KeptAssertion>>,
    /// How many bytes it is counted for, where its token is kept: the most that it ever had.
    pub(super) counted: Cell<usize>,
}

pub(super) struct KeptAssertion {
    pub(super) of: Rc<Assertion>,
    pub(super) location: &'static str,
    pub(super) basis: Basis,
    /// As it is written to the header.
    pub(super) value: Box<[u8]>,
    pub(super) backend: Backend,
    pub(super) issued: Timestamp,
    /// As long as this, it is written again.
    pub(super) until: Timestamp,
}

impl KeptAssertion {
    pub(super) fn size(&self) -> usize {
        self.value.len().saturating_add(size_of::<Self>())
    }
}

impl KeptAssertions {
    pub(super) fn get<T>(
        &self,
        of: &Rc<Assertion>,
        (location, basis): (&str, Basis),
        now: Timestamp,
        read: impl Fn(&KeptAssertion) -> T,
    ) -> Option<T> {
        let kept = self.assertions.try_borrow().ok()?;
        kept.iter()
            .find(|kept| Rc::ptr_eq(&kept.of, of) && kept.location == location && kept.basis == basis)
            .filter(|kept| kept.issued <= now && now < kept.until)
            .map(read)
    }

    /// Keeps an assertion if there is room; one that it takes the place of goes. By how many bytes this is more than ever before.
    pub(super) fn put(&self, new: KeptAssertion, now: Timestamp) -> usize {
        let Ok(mut kept) = self.assertions.try_borrow_mut() else { return 0 };
        kept.retain(|kept| now < kept.until && !(Rc::ptr_eq(&kept.of, &new.of) && kept.location == new.location));
        if size_of_all(&kept).saturating_add(new.size()) <= MAX_KEPT_BYTES {
            kept.push(new);
        }
        let (size, counted) = (size_of_all(&kept), self.counted.get());
        self.counted.set(counted.max(size));
        size.saturating_sub(counted)
    }
}

fn size_of_all(kept: &[KeptAssertion]) -> usize {
    kept.iter().map(KeptAssertion::size).fold(0, usize::saturating_add)
}

impl std::fmt::Debug for KeptAssertions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeptAssertions")
    }
}

/// What is kept of one token, in bytes.
pub(super) const MAX_KEPT_BYTES: usize = 8 * 1024;
