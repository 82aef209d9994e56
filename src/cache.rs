//! A bounded map whose entries expire. The clock is handed in; the least recently used entries make room.
//!
//! Reading changes nothing: who has used an entry says so.

use crate::time::Timestamp;
use lru::LruCache;
use rustc_hash::FxBuildHasher;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::ops::Deref;
use std::rc::Rc;
use std::time::Duration;

/// At most so many entries that weigh at most so much together, each until its time.
pub struct Cache<K, V, S = RandomState> {
    /// How large it may become where it has all the room to itself.
    whole: Bounds,
    bounds: Bounds,
    entries: LruCache<K, Entry<V>, S>,
    bytes: usize,
}

/// One whose keys hold a digest that nobody can foresee: no client can choose many that fall together, whatever spreads them.
pub type DigestCache<K, V> = Cache<K, V, FxBuildHasher>;

/// How large a cache may become.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Number of entries.
    pub entries: usize,
    /// Sum of the entries' weights, in bytes.
    pub bytes: usize,
}

/// A part of a key that is shared. It equals its own clones, and nothing that only looks like it: two parts of a configuration may
/// read alike.
pub struct Identical<T>(Rc<T>);

struct Entry<V> {
    value: V,
    weight: usize,
    stored: Timestamp,
    expires: Timestamp,
}

impl<K: Hash + Eq, V, S: BuildHasher + Default> Cache<K, V, S> {
    /// An empty cache, which takes no memory before entries come.
    pub fn new(bounds: Bounds) -> Self {
        Self { whole: bounds, bounds, entries: LruCache::unbounded_with_hasher(S::default()), bytes: 0 }
    }

    /// From now on it is one of so many that share its room.
    pub fn share(&mut self, among: usize) {
        let part = |whole: usize| whole.checked_div(among).unwrap_or(whole);
        self.bounds = Bounds { entries: part(self.whole.entries), bytes: part(self.whole.bytes) };
        self.make_room();
    }

    /// The value, if there is one and its time is not over. A clock that went back ends it too.
    pub fn get(&self, key: &K, now: Timestamp) -> Option<&V> {
        let entry = self.entries.peek(key)?;
        (entry.stored <= now && now <= entry.expires).then_some(&entry.value)
    }

    /// The value of an entry, be its time over or not.
    pub fn last(&self, key: &K) -> Option<&V> {
        self.entries.peek(key).map(|entry| &entry.value)
    }

    /// Notes that an entry was of use: it stays longer than those that were not.
    pub fn touch(&mut self, key: &K) {
        self.entries.promote(key);
    }

    /// Keeps `value` for `lifetime`; an entry with no lifetime serves those who ask at this very moment.
    pub fn insert(&mut self, key: K, value: V, weight: usize, lifetime: Duration, now: Timestamp) {
        let entry = Entry { value, weight, stored: now, expires: now.saturating_add(lifetime) };
        let replaced = self.entries.put(key, entry).map_or(0, |entry| entry.weight);
        self.bytes = self.bytes.saturating_sub(replaced).saturating_add(weight);
        self.make_room();
    }

    /// Notes that an entry has become larger.
    pub fn grow(&mut self, key: &K, weight: usize) {
        if let Some(entry) = self.entries.peek_mut(key) {
            entry.weight = entry.weight.saturating_add(weight);
            self.bytes = self.bytes.saturating_add(weight);
            self.make_room();
        }
    }

    fn make_room(&mut self) {
        while self.entries.len() > self.bounds.entries || self.bytes > self.bounds.bytes {
            let Some((_, oldest)) = self.entries.pop_lru() else { break };
            self.bytes = self.bytes.saturating_sub(oldest.weight);
        }
    }

    /// Forgets an entry for good: one that is merely over is back when the clock goes back.
    pub fn forget(&mut self, key: &K) {
        let weight = self.entries.pop(key).map_or(0, |entry| entry.weight);
        self.bytes = self.bytes.saturating_sub(weight);
    }

    /// The entries, the one that was used last before the others.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.entries.iter().map(|(key, entry)| (key, &entry.value))
    }
}

impl<T> From<&Rc<T>> for Identical<T> {
    fn from(shared: &Rc<T>) -> Self {
        Self(Rc::clone(shared))
    }
}

impl<T> Deref for Identical<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> Clone for Identical<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T> PartialEq for Identical<T> {
    fn eq(&self, other: &Self) -> bool {
        Rc::ptr_eq(&self.0, &other.0)
    }
}

impl<T> Eq for Identical<T> {}

impl<T> Hash for Identical<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        Rc::as_ptr(&self.0).hash(state);
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
        let mut cache = cache();
        cache.insert(1, 10, 1, MINUTE, START);
        assert_eq!(cache.get(&1, START.saturating_add(MINUTE)), Some(&10));
        assert_eq!(cache.get(&1, START.saturating_add(MINUTE + Duration::from_nanos(1))), None);
    }

    /// WSM-06.
    #[test]
    fn an_entry_from_the_future_is_none() {
        let mut cache = cache();
        cache.insert(1, 10, 1, MINUTE, START);
        assert_eq!(cache.get(&1, START.saturating_sub(MINUTE)), None);
    }

    /// A decision that is run twice leaves what a cache drops next as it was.
    #[test]
    fn reading_keeps_nothing_for_longer() {
        let mut cache = cache();
        cache.insert(1, 10, 1, MINUTE, START);
        cache.insert(2, 20, 1, MINUTE, START);
        assert_eq!(cache.get(&1, START), Some(&10));
        cache.insert(3, 30, 1, MINUTE, START);
        assert_eq!((cache.get(&1, START), cache.get(&2, START)), (None, Some(&20)));
        cache.touch(&2);
        cache.touch(&1);
        cache.insert(4, 40, 1, MINUTE, START);
        let kept: Vec<_> = cache.iter().map(|(key, value)| (*key, *value)).collect();
        assert_eq!(kept, [(4, 40), (2, 20)]);
    }

    /// CCH-08.
    #[test]
    fn a_cache_never_exceeds_its_bounds() {
        let mut cache = cache();
        for key in 0..100 {
            cache.insert(key, key, 1, MINUTE, START);
        }
        let seen = |cache: &Cache<u32, u32>, key| cache.get(&key, START).copied();
        assert_eq!((seen(&cache, 99), seen(&cache, 98), seen(&cache, 97)), (Some(99), Some(98), None));
        cache.insert(1, 1, 60, MINUTE, START);
        cache.insert(2, 2, 60, MINUTE, START);
        assert_eq!((seen(&cache, 1), seen(&cache, 2)), (None, Some(2)));
        cache.insert(2, 3, 1, MINUTE, START);
        cache.insert(1, 1, 60, MINUTE, START);
        assert_eq!((seen(&cache, 1), seen(&cache, 2)), (Some(1), Some(3)), "a replaced entry's weight is gone");
        cache.forget(&1);
        cache.insert(3, 3, 60, MINUTE, START);
        assert_eq!(
            (seen(&cache, 1), seen(&cache, 2), seen(&cache, 3)),
            (None, Some(3), Some(3)),
            "a forgotten entry's weight is gone"
        );
    }

    /// CCH-08.
    #[test]
    fn caches_that_share_their_room_keep_less() {
        let mut cache = Cache::<u32, u32>::new(Bounds { entries: 8, bytes: 100 });
        let keys = |cache: &Cache<u32, u32>| cache.iter().map(|(key, _)| *key).collect::<Vec<_>>();
        (0..8).for_each(|key| cache.insert(key, key, 10, MINUTE, START));
        cache.share(2);
        assert_eq!(keys(&cache), [7, 6, 5, 4]);
        cache.insert(8, 8, 30, MINUTE, START);
        assert_eq!(keys(&cache), [8, 7, 6]);
        cache.share(1);
        cache.insert(9, 9, 50, MINUTE, START);
        assert_eq!(keys(&cache), [9, 8, 7, 6]);
    }

    /// CCH-08.
    #[test]
    fn an_entry_that_grows_takes_the_room_of_others() {
        let mut cache = cache();
        cache.insert(1, 10, 40, MINUTE, START);
        cache.insert(2, 20, 40, MINUTE, START);
        cache.grow(&2, 20);
        assert_eq!((cache.get(&1, START), cache.get(&2, START)), (Some(&10), Some(&20)));
        cache.grow(&2, 1);
        assert_eq!((cache.get(&1, START), cache.get(&2, START)), (None, Some(&20)));
        cache.grow(&1, 100);
        assert_eq!((cache.bytes, cache.get(&2, START)), (61, Some(&20)), "what is not there takes no room");
        cache.grow(&2, usize::MAX);
        assert_eq!((cache.bytes, cache.entries.len()), (0, 0));
    }

    /// CCH-08: as many tokens as anybody can make up: no more room than there is, and what is used stays.
    #[test]
    fn a_million_entries_stay_within_the_bounds() {
        let bounds = Bounds { entries: 1_000, bytes: 50_000 };
        let mut cache: Cache<u32, u32> = Cache::new(bounds);
        cache.insert(u32::MAX, 0, 100, MINUTE, START);
        for key in 0..1_000_000 {
            cache.insert(key, key, 100, MINUTE, START);
            if key % 100 == 0 {
                assert_eq!(cache.get(&u32::MAX, START), Some(&0));
                cache.touch(&u32::MAX);
            }
        }
        assert_eq!((cache.entries.len(), cache.bytes), (500, bounds.bytes));
    }
}
