//! The targets of `tests/fuzz` under libFuzzer: `FUZZ_TARGET` names one, and the first argument is the folder of its
//! corpus, into which its seeds are written first. `make fuzz` sets both.

#![no_main]

#[path = "../../filter/listener.rs"]
mod listener;
#[path = "../../support/process.rs"]
mod process;
#[path = "../../filter/scene.rs"]
mod scene;
#[path = "../../support/mod.rs"]
mod support;
#[path = "../targets/mod.rs"]
#[allow(dead_code, reason = "libFuzzer has dictionaries of its own")]
mod targets;

use std::path::Path;
use std::sync::LazyLock;
use targets::{TARGETS, Target};

static TARGET: LazyLock<&Target> = LazyLock::new(|| {
    let name = std::env::var("FUZZ_TARGET").unwrap_or_default();
    TARGETS.iter().find(|target| target.name == name).unwrap_or_else(|| panic!("FUZZ_TARGET: {name:?} is none"))
});

libfuzzer_sys::fuzz_target!(
    init: {
        let corpus = std::env::args().skip(1).find(|argument| Path::new(argument).is_dir());
        for (number, seed) in (TARGET.seeds)().iter().enumerate().filter(|_| corpus.is_some()) {
            let file = Path::new(corpus.as_deref().unwrap_or_default()).join(format!("seed-{number}"));
            std::fs::write(file, seed).unwrap();
        }
    },
    |octets: &[u8]| {
        (TARGET.run)(octets);
    }
);
