//! What Envoy lends to the filter, from this process: memory that workers share, randomness, and a log that is heard.

use oidc_filter::ports::{Conflict, Randomness, Shared, SharedMemory, Version};
use std::cell::RefCell;
use std::collections::HashMap;

/// Memory that nobody else shares.
#[derive(Default)]
pub struct Memory(RefCell<HashMap<String, (Vec<u8>, u32)>>);

impl SharedMemory for Memory {
    fn read(&self, key: &str) -> Option<Shared> {
        let values = self.0.borrow();
        Some(match values.get(key) {
            Some((value, version)) => Shared { value: value.clone(), version: Version::Number(*version) },
            None => Shared { value: Vec::new(), version: Version::Absent },
        })
    }

    fn replace(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict> {
        let mut values = self.0.borrow_mut();
        let current = values.get(key).map_or(Version::Absent, |(_, version)| Version::Number(*version));
        if current != version {
            return Err(Conflict);
        }
        let next = values.get(key).map_or(1, |(_, version)| version.saturating_add(1));
        values.insert(key.to_owned(), (value.to_vec(), next));
        Ok(())
    }
}

/// That of the system.
pub struct Random;

impl Randomness for Random {
    fn octets(&self) -> Option<[u8; 32]> {
        let mut octets = [0; 32];
        getrandom::fill(&mut octets).ok().map(|()| octets)
    }
}

thread_local! {
    static HEARD: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

struct Ear;

impl log::Log for Ear {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.level() <= log::Level::Warn
    }

    fn log(&self, record: &log::Record<'_>) {
        if self.enabled(record.metadata()) {
            HEARD.with_borrow_mut(|heard| heard.push(record.args().to_string()));
        }
    }

    fn flush(&self) {}
}

/// Begins to listen to what the filter warns of.
pub fn hear() {
    // Whoever listens already goes on.
    let _ = log::set_logger(&Ear);
    log::set_max_level(log::LevelFilter::Warn);
    HEARD.take();
}

/// What was heard.
pub fn heard() -> Vec<String> {
    HEARD.take()
}
