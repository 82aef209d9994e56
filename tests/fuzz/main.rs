//! Fuzzing with the same inputs on every run: every target with its seeds, damaged in many ways, and the whole filter
//! with hundreds of scripts. `make fuzz` lets coverage look for more.
//!
//! An input that once broke something becomes a seed of its target, or a scenario of `tests/filter`.

#[path = "../filter/listener.rs"]
mod listener;
#[path = "../support/process.rs"]
mod process;
#[path = "../filter/scene.rs"]
mod scene;
#[path = "../support/mod.rs"]
mod support;
mod targets;

use scene::{Scene, active, bearer, introspection};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::panic;
use support::Noise;
use targets::memory::held;
use targets::{TARGETS, Target, whole};

/// Runs one input, and says which it was if it breaks something.
fn run(target: &Target, octets: &[u8]) {
    if let Err(cause) = panic::catch_unwind(|| (target.run)(octets)) {
        eprintln!("{}: {}", target.name, octets.escape_ascii());
        panic::resume_unwind(cause);
    }
}

fn damage_seeds(target: &Target) {
    let noise = &mut Noise(0x9e37_79b9_7f4a_7c15);
    let seeds = (target.seeds)();
    for seed in &seeds {
        run(target, seed);
        for _ in 0..1500 / seeds.len() {
            run(target, &noise.damage(seed, target.alphabet));
        }
    }
}

#[test]
fn every_target_with_damaged_seeds() {
    std::thread::scope(|scope| {
        for target in TARGETS.iter().filter(|target| target.name != "whole") {
            scope.spawn(|| damage_seeds(target));
        }
    });
}

/// WSM-02.
#[test]
fn no_input_breaks_the_whole_filter() {
    let target = TARGETS.iter().find(|target| target.name == "whole").unwrap();
    (target.seeds)().iter().for_each(|seed| run(target, seed));
    let mut ends = whole::Ends::default();
    for seed in 1000..1300 {
        let script = whole::scribbled(seed);
        match panic::catch_unwind(|| whole::play(&script)) {
            Ok(more) => ends += more,
            Err(cause) => {
                eprintln!("whole: the script of seed {seed}");
                panic::resume_unwind(cause);
            }
        }
    }
    // It would prove little if all went one way.
    let whole::Ends { allowed, bypassed, stripped, refused, healed, confirmed, authorized, forbidden, distrusted } =
        ends;
    assert!(allowed > 100 && bypassed > 100 && stripped > 100 && refused > 1000 && healed > 300, "{ends:?}");
    assert!(confirmed > 100 && authorized > 15 && forbidden > 15 && distrusted > 20, "{ends:?}");
}

/// CCH-08: as much as the bounds say, and not more, whatever the answers about tokens are made of.
#[test]
fn what_is_kept_is_bounded() {
    let shapes = [
        json!({"a": "x".repeat(40_000)}),
        json!({"a": vec![json!({}); 15_000]}),
        json!({"a": vec![json!([1]); 8_000]}),
        Value::Object((0..4_000).map(|number| (number.to_string(), json!(number))).collect()),
    ];
    let mut scene = Scene::of(introspection(json!({"introspection": {"cache": "1h"}}), json!({})));
    let before = held();
    for number in 0..200 {
        let token = format!("opaque{number}");
        scene.provider.tokens.insert(token.clone(), active(shapes[number % shapes.len()].clone()));
        scene.send(bearer(&token)).allowed();
        scene.provider.tokens.clear();
    }
    let held = held() - before;
    assert!((60 << 20..104 << 20).contains(&held), "{} MiB", held >> 20);
}

/// `make fuzz` has a lock file of its own, and builds nothing that isn't in it. It fuzzes what is shipped: the crates of the
/// filter, in the versions of the filter.
#[test]
fn what_is_fuzzed_is_what_is_locked() {
    let (ours, fuzzed) = (packages(include_str!("../../Cargo.lock")), packages(include_str!("libfuzzer/Cargo.lock")));
    let only_fuzzed: BTreeSet<&str> = fuzzed.difference(&ours).map(|(name, _)| *name).collect();
    assert_eq!(only_fuzzed, BTreeSet::from(["arbitrary", "jobserver", "libfuzzer-sys", "oidc-filter-fuzz"]));
    let names: BTreeSet<&str> = fuzzed.iter().map(|(name, _)| *name).collect();
    let tables = include_str!("../../Cargo.toml").split("\n[");
    let dependencies = tables.filter(|table| table.starts_with("dependencies]") || table.starts_with("target."));
    let lines = dependencies.flat_map(|table| table.lines().skip(1));
    let wanted: Vec<&str> = lines.filter_map(|line| Some(line.split_once(" = ")?.0)).collect();
    assert!(wanted.len() > 20, "{wanted:?}");
    for name in wanted.into_iter().filter(|name| !name.starts_with('#')) {
        assert!(names.contains(name), "{name}: bring tests/fuzz/libfuzzer/Cargo.lock up to date");
    }
}

/// The packages of a lock file, with their versions.
fn packages(lock: &str) -> BTreeSet<(&str, &str)> {
    let blocks = lock.split("[[package]]\n").skip(1);
    blocks.map(|package| (field(package, "name"), field(package, "version"))).collect()
}

fn field<'p>(package: &'p str, name: &str) -> &'p str {
    let value = package.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(" = "));
    value.unwrap().trim_matches('"')
}
