//! What DPoP needs of the host: one secret for all workers of a process, the memory of proofs that were seen, and randomness for
//! nonces.
//!
//! The invariant: all workers have the same secret, or none. While there is none, no bound token passes.

use crate::config::{Config, Dpop, DpopStore};
use crate::oauth::dpop::Proof;
use crate::oauth::dpop::nonce::Nonces;
use crate::oauth::dpop::replay::{ReplayMemory, Spent};
use crate::ports::{Randomness, SharedMemory};
use crate::time::Timestamp;
use std::cell::OnceCell;
use std::time::Duration;

/// What DPoP needs of the host.
pub(super) struct Proofs {
    host: Option<(Box<dyn SharedMemory>, Box<dyn Randomness>)>,
    prefix: String,
    store: DpopStore,
    /// How old the oldest proof may be that any policy takes.
    window: Duration,
    ready: OnceCell<Ready>,
}

/// What is made with the secret.
pub(super) struct Ready {
    pub(super) nonces: Nonces,
    memory: ReplayMemory,
}

impl Proofs {
    /// Those of the filter with this name: others in the same chain see the same proofs, and have memories of their own.
    pub(super) fn new(filter_name: &str, config: &Config) -> Self {
        let settings = config.policies().filter_map(|policy| policy.dpop.as_deref());
        let window = settings.map(Dpop::window).max().unwrap_or_default();
        let (prefix, store) = (format!("oidc_filter.dpop.{filter_name}."), config.dpop_store.clone());
        Self { host: None, prefix, store, window, ready: OnceCell::new() }
    }

    /// Takes what a host lends.
    pub(super) fn lend(&mut self, shared: Box<dyn SharedMemory>, randomness: Box<dyn Randomness>) {
        self.host = Some((shared, randomness));
    }

    /// Sees to it that there is a secret, and says whether there is.
    pub(super) fn prepare(&self) -> bool {
        if self.ready.get().is_some() {
            return true;
        }
        let Some(secret) = self.process_secret() else { return false };
        let configured = self.store.nonce_secrets.iter().map(|secret| secret.expose().as_bytes());
        let drawn = self.store.nonce_secrets.is_empty().then_some(&secret[..]);
        let Some(nonces) = Nonces::new(configured.chain(drawn), self.store.nonce_lifetime) else { return false };
        let memory = ReplayMemory::new(&self.prefix, &secret, self.store.capacity, self.store.when_full, self.window);
        self.ready.set(Ready { nonces, memory }).is_ok()
    }

    /// What is made with the secret, if there is one.
    pub(super) fn ready(&self) -> Option<&Ready> {
        self.ready.get()
    }

    /// A nonce for a client.
    pub(super) fn nonce(&self, now: Timestamp) -> Option<String> {
        let (_, randomness) = self.host.as_ref()?;
        Some(self.ready.get()?.nonces.make(randomness.octets()?, now))
    }

    /// Notes that a proof is spent.
    pub(super) fn spend(&self, proof: &Proof, now: Timestamp) -> Spent {
        match (&self.host, self.ready.get()) {
            (Some((shared, _)), Some(ready)) => ready.memory.spend(shared.as_ref(), proof.id(), proof.issued_at(), now),
            _ => Spent::Unknown,
        }
    }

    /// The secret of this process: that which the first worker has drawn.
    fn process_secret(&self) -> Option<[u8; 32]> {
        let (shared, randomness) = self.host.as_ref()?;
        let key = format!("{}secret", self.prefix);
        for _ in 0..MAX_ATTEMPTS {
            let stored = shared.read(&key)?;
            if let Ok(secret) = <[u8; 32]>::try_from(stored.value.as_slice()) {
                return Some(secret);
            }
            let drawn = randomness.octets()?;
            if shared.replace(&key, &drawn, stored.version).is_ok() {
                return Some(drawn);
            }
        }
        None
    }
}

/// Whoever was faster has put a secret there.
const MAX_ATTEMPTS: usize = 4;
