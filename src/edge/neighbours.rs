//! The filters of one VM. Envoy has a root for each configuration in force, and keeps an old one for as long as it drains connections:
//! ten minutes, unless it is told otherwise. All take their memory from one VM, which ends when there is none left.
//!
//! The invariant: those that requests come to keep no more together than one alone may keep, and neither do the others, as long as
//! there are no more than [`MOST_PARTS`].

use crate::ordered;
use crate::time::Timestamp;
use std::cell::RefCell;
use std::time::Duration;

thread_local! {
    /// When a request came last to the filter of each root.
    static FILTERS: RefCell<ordered::Map<u32, Timestamp>> = const { RefCell::new(ordered::Map::new_vec()) };
}

/// The filter of this root begins, or a request came to it.
pub(super) fn asked(root: u32, now: Timestamp) {
    FILTERS.with_borrow_mut(|filters| filters.insert(root, now));
}

/// The filter of this root is no more.
pub(super) fn gone(root: u32) {
    FILTERS.with_borrow_mut(|filters| filters.remove(&root));
}

/// How many parts the room for what is remembered has, of which the filter of this root may take one.
pub(super) fn parts(root: u32, now: Timestamp) -> usize {
    FILTERS.with_borrow(|filters| {
        let is_busy = |asked: &Timestamp| now.saturating_since(*asked) < BUSY_FOR;
        let busy = filters.values().filter(|asked| is_busy(asked)).count();
        let parts = if filters.get(&root).is_some_and(is_busy) { busy } else { filters.len() };
        parts.clamp(1, MOST_PARTS)
    })
}

/// For so long after a request, a filter is one that requests come to.
const BUSY_FOR: Duration = Duration::from_secs(60);

/// A smaller part would not hold the largest answer.
const MOST_PARTS: usize = 16;
