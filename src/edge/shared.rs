//! What Envoy lends beside events: memory that all VMs of one `vm_id` share, and randomness.

use super::abi;
use crate::ports::{Conflict, Randomness, Shared, SharedMemory, Version};

/// The memory that all workers of this process share.
pub(super) struct ProcessMemory;

impl SharedMemory for ProcessMemory {
    fn read(&self, key: &str) -> Option<Shared> {
        let (value, version) = abi::shared(key).ok()?;
        let version = if version == 0 { Version::Absent } else { Version::Number(version) };
        Some(Shared { value, version })
    }

    fn replace(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict> {
        let version = match version {
            Version::Absent => NEVER_GIVEN,
            Version::Number(number) => number,
        };
        abi::share(key, value, version).map_err(|abi::Failed| Conflict)
    }
}

/// WASI's `random_get`, which Envoy answers from BoringSSL.
pub(super) struct HostRandomness;

impl Randomness for HostRandomness {
    fn octets(&self) -> Option<[u8; 32]> {
        let mut octets = [0; 32];
        getrandom::fill(&mut octets).ok().map(|()| octets)
    }
}

/// With version 0 the host puts a value whatever is there. With any other it puts one where there is none, and where there is
/// one only over that version: so with one that it gives last of all, four thousand million changes from now, only the first
/// of two succeeds.
const NEVER_GIVEN: u32 = u32::MAX;
