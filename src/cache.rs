//! A bounded map whose entries expire. The clock is handed in; the least recently used entries make room.

use crate::time::Timestamp;
use lru::LruCache;
use std::cell::RefCell;
use std::hash::Hash;
use std::time::Duration;

/// At most so many entries that weigh at most so much together, each until its time.
pub struct Cache<K: Hash + Eq, V> {
    bounds: Bounds,
    contents: RefCell<Contents<K, V>>,
}

/// How large a cache may become.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Number of entries.
    pub entries: usize,
    /// Sum of the entries' weights, in bytes.
    pub bytes: usize,
}

struct Contents<K: Hash + Eq, V> {
    entries: LruCache<K, Entry<V>>,
    bytes: usize,
}

struct Entry<V> {
    value: V,
    weight: usize,
    stored: Timestamp,
    expires: Timestamp,
}

impl<K: Hash + Eq, V: Clone> Cache<K, V> {
    /// An empty cache, which takes no memory before entries come.
    pub fn new(bounds: Bounds) -> Self {
        Self { bounds, contents: RefCell::new(Contents { entries: LruCache::unbounded(), bytes: 0 }) }
    }

    /// The value, if there is one and its time is not over. A clock that went back ends it too.
    pub fn get(&self, key: &K, now: Timestamp) -> Option<V> {
        let mut contents = self.contents.borrow_mut();
        let entry = contents.entries.get(key)?;
        (entry.stored <= now && now <= entry.expires).then(|| entry.value.clone())
    }

    /// Keeps `value` for `lifetime`; an entry with no lifetime serves those who ask at this very moment.
    pub fn insert(&self, key: K, value: V, weight: usize, lifetime: Duration, now: Timestamp) {
        let mut contents = self.contents.borrow_mut();
        let contents = &mut *contents;
        let entry = Entry { value, weight, stored: now, expires: now.saturating_add(lifetime) };
        let replaced = contents.entries.put(key, entry).map_or(0, |entry| entry.weight);
        contents.bytes = contents.bytes.saturating_sub(replaced).saturating_add(weight);
        while contents.entries.len() > self.bounds.entries || contents.bytes > self.bounds.bytes {
            let Some((_, oldest)) = contents.entries.pop_lru() else { break };
            contents.bytes = contents.bytes.saturating_sub(oldest.weight);
        }
    }

    /// Forgets an entry, if it is `unwanted`, for good: one that is merely over is back when the clock goes back.
    pub fn forget(&self, key: &K, unwanted: impl FnOnce(&V) -> bool) {
        let mut contents = self.contents.borrow_mut();
        if contents.entries.peek(key).is_some_and(|entry| unwanted(&entry.value)) {
            let weight = contents.entries.pop(key).map_or(0, |entry| entry.weight);
            contents.bytes = contents.bytes.saturating_sub(weight);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_unix_seconds(1000);
    const MINUTE: Duration = Duration::from_secs(60);

    fn cache() -> Cache<u32, u32> {
        Cache::new(Bounds { entries: 2, bytes: 100 })
    }

    #[test]
    fn an_entry_ends_with_its_time() {
        let cache = cache();
        cache.insert(1, 10, 1, MINUTE, START);
        assert_eq!(cache.get(&1, START.saturating_add(MINUTE)), Some(10));
        assert_eq!(cache.get(&1, START.saturating_add(MINUTE + Duration::from_nanos(1))), None);
    }

    /// WSM-06.
    #[test]
    fn an_entry_from_the_future_is_none() {
        let cache = cache();
        cache.insert(1, 10, 1, MINUTE, START);
        assert_eq!(cache.get(&1, START.saturating_sub(MINUTE)), None);
    }

    /// CCH-08.
    #[test]
    fn a_cache_never_exceeds_its_bounds() {
        let cache = cache();
        for key in 0..100 {
            cache.insert(key, key, 1, MINUTE, START);
        }
        let seen = |key| cache.get(&key, START);
        assert_eq!((seen(99), seen(98), seen(97)), (Some(99), Some(98), None));
        cache.insert(1, 1, 60, MINUTE, START);
        cache.insert(2, 2, 60, MINUTE, START);
        assert_eq!((seen(1), seen(2)), (None, Some(2)));
        cache.insert(2, 3, 1, MINUTE, START);
        cache.insert(1, 1, 60, MINUTE, START);
        assert_eq!((seen(1), seen(2)), (Some(1), Some(3)), "a replaced entry's weight is gone");
        cache.forget(&1, |value| *value == 1);
        cache.forget(&2, |value| *value == 2);
        cache.insert(3, 3, 60, MINUTE, START);
        assert_eq!((seen(1), seen(2), seen(3)), (None, Some(3), Some(3)), "a forgotten entry's weight is gone");
    }
    /// CCH-08: as many tokens as anybody can make up: no more room than there is, and what is used stays.
    #[test]
    fn a_million_entries_stay_within_the_bounds() {
        let bounds = Bounds { entries: 1_000, bytes: 50_000 };
        let cache = Cache::new(bounds);
        cache.insert(u32::MAX, 0, 100, MINUTE, START);
        for key in 0..1_000_000 {
            cache.insert(key, key, 100, MINUTE, START);
            if key % 100 == 0 {
                assert_eq!(cache.get(&u32::MAX, START), Some(0));
            }
        }
        let contents = cache.contents.borrow();
        assert_eq!((contents.entries.len(), contents.bytes), (500, bounds.bytes));
    }
}
