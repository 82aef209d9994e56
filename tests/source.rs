//! What the sources must say, because no test of what the filter does could show it.

use std::fs;
use std::path::{Path, PathBuf};

/// The sources of the filter with their texts, without the tests at their ends.
fn sources() -> Vec<(PathBuf, String)> {
    fn collect(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else {
                let text = fs::read_to_string(&path).unwrap();
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                found.push((path, code));
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30);
    found
}

/// A comparison that ends at the first difference tells by its time how much of a tag was right.
#[test]
fn sig_10_tags_are_compared_in_constant_time() {
    for (path, code) in sources() {
        let path = path.display();
        let makes_tags = code.contains("hmac::");
        assert_eq!(makes_tags, path.to_string().ends_with("material.rs"), "{path}: one place makes tags");
        if makes_tags {
            assert_eq!(code.matches(".verify_slice(").count(), 1, "{path}: `verify_slice` compares in constant time");
            assert!(!code.contains("verify_truncated"), "{path}: a part of a tag is no tag");
            let finals = code.matches(".finalize()").count();
            assert_eq!(finals, code.matches("Sha256::new().chain_update").count(), "{path}: no tag is taken out");
        }
        // Secrets have no `==` of their own, so that nothing compares them by accident.
        if let Some((before, _)) = code.split_once("struct Secret(") {
            let derived = before.rsplit("#[derive(").next().unwrap_or_default();
            assert!(!derived.contains("PartialEq"), "{path}");
        }
    }
}

/// A trap takes a worker down, and an overflow that wraps could let a token live for ever: clippy denies what may do
/// either, and `make lint` runs it. No function is let off.
#[test]
fn wsm_08_what_may_trap_is_denied_everywhere() {
    let lints = [
        "clippy::arithmetic_side_effects",
        "clippy::expect_used",
        "clippy::indexing_slicing",
        "clippy::panic",
        "clippy::unwrap_used",
    ];
    let all = sources();
    let (_, root) = all.iter().find(|(path, _)| path.ends_with("src/lib.rs")).unwrap();
    let denied = root.split("#![deny(").nth(1).unwrap().split(")]").next().unwrap();
    for lint in lints {
        assert!(denied.contains(lint), "{lint}");
    }
    for (path, code) in &all {
        let is_root = path.ends_with("src/lib.rs");
        for (number, line) in code.lines().enumerate().filter(|_| !is_root) {
            let waives = ["allow(", "expect("].iter().any(|word| line.contains(word));
            let waived = waives && lints.iter().any(|lint| line.contains(lint));
            // Indexes a table while the crate is compiled: it can't trap later.
            let is_constant = line.contains("\"a table of 256 has a place for each byte\"");
            assert!(!waived || is_constant, "{}:{}", path.display(), number + 1);
        }
    }
    let makefile = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Makefile")).unwrap();
    assert!(makefile.contains("cargo clippy --all-targets --locked -- -D warnings"));
}
