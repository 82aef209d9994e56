//! Sets and maps that keep their order, put together one by one.
//!
//! What is collected into one is sorted first, by a sort that is another 2 kB of the module for each kind of element. The sets here
//! are small, or made once for a configuration.

use std::collections::{BTreeMap, BTreeSet};

/// Each of these once, in order.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let mut set = BTreeSet::new();
    set.extend(items);
    set
}

/// These under their keys, in order; of two under one key, the last.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    let mut map = BTreeMap::new();
    map.extend(entries);
    map
}
