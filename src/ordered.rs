//! Sets and maps that keep their order, as sorted lists.
//!
//! Each kind of entry in a tree of the standard library is 5 to 11 kB more of the module, and in a list 1 kB. What comes into a list
//! moves all that stands behind its place: what is kept here is small, made once for a configuration, or comes in order, as the
//! numbers of calls and of requests do.

/// Values under their keys, in order of these.
pub type Map<K, V> = litemap::LiteMap<K, V>;

/// Each of these once, in order.
pub fn set<T: Ord>(items: impl IntoIterator<Item = T>) -> Vec<T> {
    let mut set = Vec::new();
    items.into_iter().for_each(|item| {
        insert(&mut set, item);
    });
    set
}

/// Puts one into such a set; whether it was not there.
pub fn insert<T: Ord>(set: &mut Vec<T>, item: T) -> bool {
    let place = set.binary_search(&item);
    if let Err(place) = place {
        set.insert(place, item);
    }
    place.is_err()
}

/// Takes one out of such a set.
pub fn remove<T: Ord>(set: &mut Vec<T>, item: &T) {
    if let Ok(place) = set.binary_search(item) {
        set.remove(place);
    }
}

/// These under their keys; of two under one key, the last.
pub fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> Map<K, V> {
    let mut map = Map::new_vec();
    for (key, value) in entries {
        map.insert(key, value);
    }
    map
}
