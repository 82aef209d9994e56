//! Tables under keys that no client chooses: what the operator wrote, and the host's own numbers.
//!
//! Nobody can make many of these fall together, so they need no keyed hash, which takes longer for each look.

use rustc_hash::FxBuildHasher;
use std::collections::HashMap;

/// Values under their keys, in no order.
pub type Table<K, V> = HashMap<K, V, FxBuildHasher>;
