//! The memory of proofs that were seen (RFC 9449, section 11.1), which all workers of a process share.
//!
//! It is a fixed number of slots. Each holds the digests of proofs and when they were made, and is changed by compare-and-swap, so
//! that of two workers with one proof one wins. A digest is kept until its proof is refused for its age, whichever rule it falls
//! under.
//!
//! The invariant: no proof is taken twice within one process. Whatever is not younger than a digest that was forgotten is refused
//! from then on, so that no rule and no later configuration with more patience takes it again. Where there is no room left, a
//! proof is refused, or the oldest digest makes room: the window shrinks, it never opens.

use crate::config::WhenFull;
use crate::jose::jwk::Thumbprint;
use crate::ports::SharedMemory;
use crate::time::Timestamp;
use std::time::Duration;

/// What a proof is known by: its key and its `jti`. Two proofs of one key with one `jti` are one, whatever they are for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ProofId([u8; 32]);

impl ProofId {
    /// That of a proof with this `jti`, made with this key. With the key in it, nobody spends the proofs of others.
    pub fn of(key: Thumbprint, jti: &str) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.update(key.as_bytes()).update(jti.as_bytes());
        Self(hasher.finalize().into())
    }
}

/// The memory of proofs that were seen: how it is laid out, and the secret that spreads proofs over it.
#[derive(Clone, Debug)]
pub struct ReplayMemory {
    /// Begins the key of each slot.
    prefix: String,
    /// With it, no client can choose the slot that a proof falls into.
    secret: [u8; 32],
    entries_per_slot: usize,
    when_full: WhenFull,
    /// How old the oldest proof may be that any rule takes.
    window: Duration,
}

/// What became of a proof.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Spent {
    /// It was not seen before, and is noted.
    First,
    /// The same, and an older one was forgotten for it: the window has shrunk.
    FirstOfTooMany,
    /// It was seen before.
    Again,
    /// It may have been seen before: it is not younger than what was forgotten.
    TooOld,
    /// There is no room for it.
    NoRoom,
    /// The host keeps nothing, or too many others were faster.
    Unknown,
}

impl Spent {
    /// The word for it in metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::FirstOfTooMany => "window_shrunk",
            Self::Again => "replayed",
            Self::TooOld => "beyond_window",
            Self::NoRoom => "full",
            Self::Unknown => "unknown",
        }
    }

    /// What the operator is to mend, if anything.
    pub const fn problem(self) -> Option<&'static str> {
        match self {
            Self::First | Self::Again => None,
            Self::FirstOfTooMany | Self::TooOld => Some(
                "more DPoP proofs come than can be remembered: older ones are refused before their time; raise \
                 `dpop.replay.capacity`, or lower `dpop.proof_lifetime`",
            ),
            Self::NoRoom => Some(
                "more DPoP proofs come than can be remembered: requests are refused; raise `dpop.replay.capacity`, or lower \
                 `dpop.proof_lifetime`",
            ),
            Self::Unknown => Some("the host could not keep a DPoP proof in its shared data: the request is refused"),
        }
    }

    /// What the log says of a proof that is refused for it.
    pub const fn why(self) -> &'static str {
        match self {
            Self::First | Self::FirstOfTooMany => "it was not seen before",
            Self::Again => "it was used before (jti)",
            Self::TooOld => "it is not younger than proofs that had to be forgotten",
            Self::NoRoom => "there is no room to remember it",
            Self::Unknown => "it could not be remembered",
        }
    }
}

impl ReplayMemory {
    /// With room for so many proofs at a time, each of which is remembered for this long.
    pub fn new(prefix: &str, secret: &[u8; 32], capacity: usize, when_full: WhenFull, window: Duration) -> Self {
        let secret = blake3::derive_key(CONTEXT, secret);
        let entries_per_slot = capacity.div_ceil(SLOTS as usize).clamp(1, MAX_ENTRIES_PER_SLOT);
        Self { prefix: prefix.to_owned(), secret, entries_per_slot, when_full, window }
    }

    /// Notes a proof that was made then. Of all who do so with one proof, one is told that it is the first.
    pub fn spend(&self, shared: &dyn SharedMemory, id: ProofId, made: Timestamp, now: Timestamp) -> Spent {
        let hash = blake3::keyed_hash(&self.secret, &id.0);
        // Four octets choose the slot, and as many as a digest has stand for the proof there.
        let [a, b, c, d, digest @ .., _, _, _, _, _, _, _, _, _, _, _, _] = hash.as_bytes();
        let key = format!("{}{}", self.prefix, u32::from_be_bytes([*a, *b, *c, *d]) % SLOTS);
        // Rounded alike: of a proof that some rule takes, the first is never before the second.
        let (made, oldest) = (seconds(made), seconds(now.saturating_sub(self.window)));
        for _ in 0..MAX_ATTEMPTS {
            let Some(stored) = shared.read(&key) else { return Spent::Unknown };
            let mut slot = Slot::read(&stored.value);
            let spent = slot.take(*digest, made, oldest, self.entries_per_slot, self.when_full);
            if !matches!(spent, Spent::First | Spent::FirstOfTooMany) {
                return spent;
            }
            // Whoever was faster may have noted the same proof: look again.
            if shared.replace(&key, &slot.written(), stored.version).is_ok() {
                return spent;
            }
        }
        Spent::Unknown
    }
}

/// One slot, read.
#[derive(Default)]
struct Slot {
    /// When the last proof was made that was forgotten.
    floor: u64,
    /// When each was made, in seconds, and its digest.
    entries: Vec<(u64, [u8; DIGEST_BYTES])>,
}

impl Slot {
    /// Nobody but us writes here, in one process and one release; what can't be read is from another one.
    fn read(bytes: &[u8]) -> Self {
        let Some((floor, entries)) = bytes.split_first_chunk::<8>() else { return Self::default() };
        let entries = entries.chunks_exact(ENTRY_BYTES).filter_map(|entry| {
            let (made, digest) = entry.split_first_chunk::<8>()?;
            Some((u64::from_be_bytes(*made), digest.try_into().ok()?))
        });
        Self { floor: u64::from_be_bytes(*floor), entries: entries.collect() }
    }

    fn written(&self) -> Vec<u8> {
        let mut bytes = self.floor.to_be_bytes().to_vec();
        bytes.reserve(self.entries.len().saturating_mul(ENTRY_BYTES));
        for (made, digest) in &self.entries {
            bytes.extend(made.to_be_bytes());
            bytes.extend(digest);
        }
        bytes
    }

    fn take(&mut self, digest: [u8; DIGEST_BYTES], made: u64, oldest: u64, room: usize, when_full: WhenFull) -> Spent {
        if self.entries.iter().any(|(_, other)| *other == digest) {
            return Spent::Again;
        }
        let mut floor = self.floor;
        self.entries.retain(|(made, _)| {
            if *made < oldest {
                floor = floor.max(*made);
            }
            *made >= oldest
        });
        self.floor = floor;
        if made <= self.floor {
            return Spent::TooOld;
        }
        let mut spent = Spent::First;
        while self.entries.len() >= room {
            if when_full == WhenFull::Refuse {
                return Spent::NoRoom;
            }
            let oldest = self.entries.iter().enumerate().min_by_key(|(_, (made, _))| *made);
            let Some((index, oldest)) = oldest.map(|(index, (made, _))| (index, *made)) else { break };
            if made <= oldest {
                // It is itself the oldest: to note it would be to forget it.
                return Spent::TooOld;
            }
            self.floor = self.floor.max(oldest);
            self.entries.swap_remove(index);
            spent = Spent::FirstOfTooMany;
        }
        self.entries.push((made, digest));
        spent
    }
}

fn seconds(time: Timestamp) -> u64 {
    time.unix_nanos() / NANOS
}

const NANOS: u64 = 1_000_000_000;

/// What tells a secret's use for this from every other (BLAKE3, `derive_key`).
const CONTEXT: &str = "oidc-filter 2026 DPoP replay slots v1";

/// A host never gives keys back, so their number is fixed, whatever the configuration says.
pub const SLOTS: u32 = 4096;

/// A slot is copied in and out of the host for each proof: 8 KiB take some microseconds.
const MAX_ENTRIES_PER_SLOT: usize = 340;

/// The most proofs that can be remembered.
pub const MAX_CAPACITY: usize = MAX_ENTRIES_PER_SLOT * SLOTS as usize;

/// 128 bits under a secret: that two proofs share them is not to be met, and would refuse one of them.
const DIGEST_BYTES: usize = 16;

const ENTRY_BYTES: usize = 8 + DIGEST_BYTES;

/// How often others may be faster. Each time, one of them has won.
const MAX_ATTEMPTS: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::{Conflict, Shared, Version};
    use std::cell::{Cell, RefCell};
    use std::collections::{BTreeMap, HashSet};
    use std::time::Duration;

    const NOW: Timestamp = Timestamp::from_unix_seconds(1_800_000_000);

    /// A host whose other workers get in between as often as they are told.
    #[derive(Default)]
    struct Host {
        slots: RefCell<BTreeMap<String, (Vec<u8>, u32)>>,
        rivals: RefCell<Vec<Vec<u8>>>,
        conflicts: Cell<usize>,
        is_down: Cell<bool>,
    }

    impl SharedMemory for Host {
        fn read(&self, key: &str) -> Option<Shared> {
            if self.is_down.get() {
                return None;
            }
            let slots = self.slots.borrow();
            Some(match slots.get(key) {
                None => Shared { value: Vec::new(), version: Version::Absent },
                Some((value, version)) => Shared { value: value.clone(), version: Version::Number(*version) },
            })
        }

        fn replace(&self, key: &str, value: &[u8], version: Version) -> Result<(), Conflict> {
            let mut slots = self.slots.borrow_mut();
            if let Some(rival) = self.rivals.borrow_mut().pop() {
                let version = slots.get(key).map_or(1, |(_, version)| version + 1);
                slots.insert(key.to_owned(), (rival, version));
            }
            let current = slots.get(key).map_or(Version::Absent, |(_, version)| Version::Number(*version));
            if current != version {
                self.conflicts.set(self.conflicts.get() + 1);
                return Err(Conflict);
            }
            let next = slots.get(key).map_or(1, |(_, version)| version + 1);
            slots.insert(key.to_owned(), (value.to_vec(), next));
            Ok(())
        }
    }

    const WINDOW: Duration = Duration::from_secs(70);

    fn memory(per_slot: usize, when_full: WhenFull) -> ReplayMemory {
        ReplayMemory::new("test.", &[1; 32], per_slot * SLOTS as usize, when_full, WINDOW)
    }

    fn id(jti: &str) -> ProofId {
        ProofId::of(Thumbprint::of(b"a key"), jti)
    }

    fn later(seconds: u64) -> Timestamp {
        NOW.saturating_add(Duration::from_secs(seconds))
    }

    /// When a proof was made that is taken until then.
    fn ending(seconds: u64) -> Timestamp {
        later(seconds).saturating_sub(WINDOW)
    }

    /// Proofs that fall into one slot.
    fn of_one_slot(memory: &ReplayMemory, count: usize) -> Vec<ProofId> {
        let host = Host::default();
        let mut ids = Vec::new();
        for number in 0.. {
            let id = id(&number.to_string());
            host.slots.borrow_mut().clear();
            memory.spend(&host, id, ending(70), NOW);
            if host.slots.borrow().contains_key("test.7") {
                ids.push(id);
            }
            if ids.len() == count {
                return ids;
            }
        }
        unreachable!()
    }

    /// DPP-13: one proof is taken once, in whatever order.
    #[test]
    fn a_proof_is_spent_once() {
        let (host, memory) = (Host::default(), memory(64, WhenFull::Shrink));
        assert_eq!(memory.spend(&host, id("a"), ending(70), NOW), Spent::First);
        for at in [0, 1, 70] {
            assert_eq!(memory.spend(&host, id("a"), ending(70), later(at)), Spent::Again, "{at}");
        }
        assert_eq!(memory.spend(&host, id("b"), ending(70), NOW), Spent::First);
        // DPP-15: another key's proof is another proof.
        let other = ProofId::of(Thumbprint::of(b"another key"), "a");
        assert_eq!(memory.spend(&host, other, ending(70), NOW), Spent::First);
        // Another worker, made of the same secret.
        let worker = ReplayMemory::new("test.", &[1; 32], 1, WhenFull::Refuse, WINDOW);
        assert_eq!(worker.spend(&host, id("a"), ending(70), NOW), Spent::Again);
    }

    /// DPP-13: of two workers with one proof, the one whose change the host takes wins.
    #[test]
    fn of_two_workers_one_wins() {
        let memory = memory(64, WhenFull::Shrink);
        let rival = Host::default();
        memory.spend(&rival, id("a"), ending(70), NOW);
        let slot = rival.slots.borrow().values().next().unwrap().0.clone();
        let host = Host::default();
        host.rivals.borrow_mut().push(slot);
        assert_eq!(memory.spend(&host, id("a"), ending(70), NOW), Spent::Again);
        assert_eq!(host.conflicts.get(), 1);
        // Others who were faster with other proofs cost another try; too many of them cost the request.
        let others = |count: usize| (0..count).map(|_| vec![0; 8]).collect::<Vec<_>>();
        host.rivals.borrow_mut().extend(others(MAX_ATTEMPTS - 1));
        assert_eq!(memory.spend(&host, id("b"), ending(70), NOW), Spent::First);
        host.rivals.borrow_mut().extend(others(MAX_ATTEMPTS));
        assert_eq!(memory.spend(&host, id("c"), ending(70), NOW), Spent::Unknown);
        host.is_down.set(true);
        assert_eq!(memory.spend(&host, id("d"), ending(70), NOW), Spent::Unknown);
    }

    /// DPP-14: a million proofs take as much memory as there was room for, and no more keys.
    #[test]
    fn the_memory_is_bounded() {
        let (host, memory) = (Host::default(), memory(4, WhenFull::Shrink));
        let mut taken = 0;
        for number in 0..100_000u64 {
            let at = later(number / 1000);
            let spent = memory.spend(&host, id(&number.to_string()), at, at);
            taken += usize::from(matches!(spent, Spent::First | Spent::FirstOfTooMany));
        }
        let slots = host.slots.borrow();
        assert!(slots.len() <= SLOTS as usize);
        assert!(slots.values().all(|(value, _)| value.len() <= 8 + 4 * ENTRY_BYTES));
        // The newest always find room: the window shrinks for the others.
        assert!(taken > 90_000, "{taken}");
    }

    /// DPP-14: what had to be forgotten is never taken again.
    #[test]
    fn a_full_slot_shrinks_the_window_or_refuses() {
        let shrinking = memory(2, WhenFull::Shrink);
        let ids = of_one_slot(&shrinking, 4);
        let host = Host::default();
        assert_eq!(shrinking.spend(&host, ids[0], ending(10), NOW), Spent::First);
        assert_eq!(shrinking.spend(&host, ids[1], ending(20), NOW), Spent::First);
        assert_eq!(shrinking.spend(&host, ids[2], ending(30), NOW), Spent::FirstOfTooMany);
        assert_eq!(shrinking.spend(&host, ids[0], ending(10), NOW), Spent::TooOld);
        assert_eq!(shrinking.spend(&host, ids[3], ending(10), NOW), Spent::TooOld);
        assert_eq!(shrinking.spend(&host, ids[3], ending(15), NOW), Spent::TooOld);
        assert_eq!(shrinking.spend(&host, ids[3], ending(20), NOW), Spent::TooOld);
        assert_eq!(shrinking.spend(&host, ids[3], ending(21), NOW), Spent::FirstOfTooMany);
        for id in &ids[..3] {
            assert_ne!(shrinking.spend(&host, *id, ending(30), NOW), Spent::First);
        }
        let refusing = memory(2, WhenFull::Refuse);
        let host = Host::default();
        for id in &ids[..2] {
            assert_eq!(refusing.spend(&host, *id, ending(10), NOW), Spent::First);
        }
        assert_eq!(refusing.spend(&host, ids[2], ending(10), NOW), Spent::NoRoom);
        // Those that have ended make room.
        assert_eq!(refusing.spend(&host, ids[2], ending(30), later(11)), Spent::First);
    }

    /// A proof that one configuration has forgotten for its age is too old for the next one, however patient that is.
    #[test]
    fn more_patience_takes_nothing_again() {
        let hasty = memory(4, WhenFull::Refuse);
        let patient = ReplayMemory { window: Duration::from_secs(600), ..hasty.clone() };
        let ids = of_one_slot(&hasty, 4);
        let host = Host::default();
        assert_eq!(hasty.spend(&host, ids[0], NOW, NOW), Spent::First);
        assert_eq!(hasty.spend(&host, ids[1], later(100), later(100)), Spent::First);
        assert_eq!(patient.spend(&host, ids[0], NOW, later(101)), Spent::TooOld);
        assert_eq!(patient.spend(&host, ids[1], later(100), later(101)), Spent::Again);
        assert_eq!(patient.spend(&host, ids[2], later(1), later(101)), Spent::First);
        assert_eq!(patient.spend(&host, ids[3], NOW, later(101)), Spent::TooOld);
    }

    /// Whatever else is done in between, no proof is first twice before it ends.
    #[test]
    fn no_order_of_proofs_takes_one_twice() {
        let mut random = 1u64;
        let mut next = move |below: u64| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (random >> 33) % below
        };
        for when_full in [WhenFull::Shrink, WhenFull::Refuse] {
            let (host, memory) = (Host::default(), memory(2, when_full));
            let ids = of_one_slot(&memory, 12);
            let ends: Vec<u64> = ids.iter().map(|_| 20 + next(40)).collect();
            let mut taken = HashSet::new();
            for _ in 0..5_000 {
                let (which, now) = (next(12) as usize, next(20));
                let spent = memory.spend(&host, ids[which], ending(ends[which]), later(now));
                if matches!(spent, Spent::First | Spent::FirstOfTooMany) {
                    assert!(taken.insert(which), "{which}");
                }
            }
            assert!(!taken.is_empty());
        }
    }

    #[test]
    fn what_no_release_of_ours_wrote_is_no_entry() {
        for bytes in [&b""[..], b"x", &[0; 7], &[0; 8 + ENTRY_BYTES - 1]] {
            assert!(Slot::read(bytes).entries.is_empty());
        }
        let slot = Slot { floor: 7, entries: vec![(9, [3; DIGEST_BYTES])] };
        let read = Slot::read(&slot.written());
        assert_eq!((read.floor, read.entries), (7, vec![(9, [3; DIGEST_BYTES])]));
    }
}
