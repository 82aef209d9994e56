//! What the workers of one process share, from memory: a host's shared data, and randomness that is none.
#![allow(dead_code, reason = "no binary needs all of it")]

use oidc_filter::ports::{Conflict, Randomness, Shared, SharedMemory, Version};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

/// One process. A copy of it is another worker's view.
#[derive(Clone, Default)]
pub struct Process {
    values: Rc<RefCell<Values>>,
    drawn: Rc<Cell<u8>>,
    /// It keeps nothing, and says so.
    pub is_down: Rc<Cell<bool>>,
}

/// Each with its version.
type Values = BTreeMap<String, (Vec<u8>, u32)>;

impl Process {
    /// The keys.
    pub fn keys(&self) -> Vec<String> {
        self.values.borrow().keys().cloned().collect()
    }

    /// How many keys there are, and how many bytes under them.
    pub fn size(&self) -> (usize, usize) {
        let values = self.values.borrow();
        (values.len(), values.values().map(|(value, _)| value.len()).sum())
    }
}

impl SharedMemory for Process {
    fn read(&self, key: &str) -> Option<Shared> {
        if self.is_down.get() {
            return None;
        }
        let values = self.values.borrow();
        Some(values.get(key).map_or(Shared { value: Vec::new(), version: Version::Absent }, |(value, version)| {
            Shared { value: value.clone(), version: Version::Number(*version) }
        }))
    }

    fn replace(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict> {
        let mut values = self.values.borrow_mut();
        let current = values.get(key).map_or(Version::Absent, |(_, version)| Version::Number(*version));
        if self.is_down.get() || current != version {
            return Err(Conflict);
        }
        let next = values.get(key).map_or(1, |(_, version)| version + 1);
        values.insert(key.to_owned(), (value.to_vec(), next));
        Ok(())
    }
}

impl Randomness for Process {
    fn octets(&self) -> Option<[u8; 32]> {
        self.drawn.set(self.drawn.get().wrapping_add(1));
        Some([self.drawn.get(); 32])
    }
}
