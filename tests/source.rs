//! What the sources must say, because no test of what the filter does could show it.

#[path = "support/imports.rs"]
mod imports;

use imports::{Module, circle, imports};
use std::collections::{BTreeMap, BTreeSet};
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
                let tests = ["#[cfg(test)]\nmod tests", "#[cfg(test)]\npub(crate) mod tests"];
                let end = tests.iter().find_map(|tests| text.find(tests)).unwrap_or(text.len());
                found.push((path, text[..end].to_owned()));
            }
        }
    }
    let mut found = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30);
    found
}

/// SIG-10: a comparison that ends at the first difference tells by its time how much of a tag was right.
#[test]
fn tags_are_compared_in_constant_time() {
    for (path, code) in sources() {
        let path = path.display();
        let makes_tags = code.contains("hmac::");
        assert_eq!(makes_tags, path.to_string().ends_with("material.rs"), "{path}: one place makes tags");
        if makes_tags {
            assert_eq!(code.matches(".verify_slice(").count(), 1, "{path}: `verify_slice` compares in constant time");
            assert!(!code.contains("verify_truncated"), "{path}: a part of a tag is no tag");
            let finals = code.matches(".finalize()").count();
            // A tag is taken out where it signs what the filter itself says, and what comes is not compared with it.
            let signs = code.split("fn authenticate(").nth(1).and_then(|rest| rest.split("\n    }\n").next()).unwrap();
            assert!(signs.contains(".finalize()") && !signs.contains("=="), "{path}");
            let digests = code.matches("Sha256::new().chain_update").count();
            assert_eq!(finals, digests + 1, "{path}: no other tag is taken out");
        }
        // Secrets have no `==` of their own, so that nothing compares them by accident.
        if let Some((before, _)) = code.split_once("struct Secret(") {
            let derived = before.rsplit("#[derive(").next().unwrap_or_default();
            assert!(!derived.contains("PartialEq"), "{path}");
        }
    }
}

/// WSM-08: a trap takes a worker down, and an overflow that wraps could let a token live for ever: clippy denies what
/// may do either, and `make lint` runs it. No function is let off.
#[test]
fn what_may_trap_is_denied_everywhere() {
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
    assert!(makefile.contains("cargo clippy --no-default-features --lib --locked -- -D warnings"));
}

/// The wrappers of the SDK panic on a status of the host that they don't expect, and on a value that isn't UTF-8. One file is
/// called by it, and another calls one function of it.
#[test]
fn nothing_of_the_sdk_is_called_that_may_trap() {
    let words = |code: &str, prefix: &str| {
        let rests = code.split(prefix).skip(1);
        let word = |rest: &str| rest.split(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap().to_owned();
        rests.map(word).collect::<Vec<_>>()
    };
    let mut known = BTreeMap::new();
    for (path, code) in sources() {
        let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        let code: String = lines.flat_map(|line| [line, "\n"]).collect();
        if code.contains("proxy_wasm") {
            known.insert(path.file_name().unwrap().to_str().unwrap().to_owned(), code);
        }
    }
    let names: Vec<&str> = known.keys().map(String::as_str).collect();
    assert_eq!(names, ["calls.rs", "sdk.rs"]);
    let (calls, sdk) = (&known["calls.rs"], &known["sdk.rs"]);
    assert_eq!(words(calls, "proxy_wasm::"), ["hostcalls", "types"]);
    assert_eq!(words(calls, "hostcalls::"), ["dispatch_http_call"]);
    assert_eq!(words(sdk, "proxy_wasm::"), ["traits", "types", "main", "set_root_context"]);
    // The contexts have the methods of the SDK's traits; they only pass on.
    assert!(words(sdk, "self.").iter().all(|word| word == "0"), "{:?}", words(sdk, "self."));
}

/// DPP-02, TLS-01: by type, no path leads from checked claims to an access token but through what their binding asks for. That
/// rests on who may say that something was shown.
#[test]
fn only_a_proof_and_a_certificate_show_a_binding() {
    let (mut keys, mut certificates, mut tokens) = (Vec::new(), Vec::new(), Vec::new());
    for (path, code) in sources() {
        let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        let said = |text: &str| vec![name.clone(); code.matches(text).count()];
        keys.extend(said("ProvenKey for "));
        certificates.extend(said("ProvenCertificate for "));
        tokens.extend(said("AccessToken { claims"));
    }
    assert_eq!(
        (keys, certificates),
        (vec!["src/oauth/dpop.rs".to_owned()], vec!["src/oauth/certificate.rs".to_owned()])
    );
    assert_eq!(tokens, ["src/jose/jwt.rs"], "`CheckedClaims::shown_with` makes access tokens");
}

/// The layers of the crate: those modules, and the layers that they may import beside their own. Nothing imports what stands
/// after it. A module that is new takes its place here first.
const LAYERS: &[(&str, &[&str], &[&str])] = &[
    ("ground", &["cache", "json", "ordered", "ports", "protobuf", "table", "time"], &[]),
    // RFC 9110, RFC 3986, RFC 6265: what a request is made of.
    ("http", &["http"], &["ground"]),
    // RFC 7515 to RFC 7519. It knows no request.
    ("jose", &["jose"], &["ground"]),
    ("config", &["config"], &["ground", "http", "jose"]),
    // What is said to a provider, and by it.
    ("oauth", &["oauth"], &["ground", "http", "jose", "config"]),
    ("policy", &["policy"], &["ground", "http", "jose", "config"]),
    // What the service behind gets, and what the client gets instead.
    ("upstream", &["upstream"], &["ground", "http", "jose", "config"]),
    ("reply", &["decision", "reply"], &["ground", "http", "jose", "config", "policy"]),
    ("provider", &["provider"], &["ground", "http", "jose", "config", "oauth"]),
    ("filter", &["filter"], &["ground", "http", "jose", "config", "oauth", "policy", "upstream", "reply", "provider"]),
    // Decisions and effects are all that the edge has to do with.
    ("edge", &["edge"], &["ground", "http", "jose", "config", "reply", "filter"]),
    // The command stands on all of it but the edge: there is no host.
    (
        "bin",
        &["bin"],
        &["ground", "http", "jose", "config", "oauth", "policy", "upstream", "reply", "provider", "filter"],
    ),
];

/// The files of the crate by their modules, the root left out.
fn modules() -> BTreeMap<Module, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let module = |path: &Path| -> Module {
        let names = path.strip_prefix(&root).unwrap().with_extension("");
        names.iter().map(|name| name.to_str().unwrap().to_owned()).collect()
    };
    let file = |(path, code): (PathBuf, String)| match module(&path).as_slice() {
        // A crate of its own: what is the root there is `bin` here, and what is a crate there is the root here.
        [bin, _command, inner @ ..] if bin == "bin" => {
            let inner = inner.iter().filter(|name| *name != "main").cloned();
            let code = code.replace("crate::", "crate::bin::").replace("oidc_filter::", "crate::");
            (std::iter::once(bin.clone()).chain(inner).collect(), code)
        }
        names => (names.to_vec(), code),
    };
    sources().into_iter().map(file).filter(|(module, _)| *module != ["lib"]).collect()
}

/// What imports each other can't be read, tested or moved alone.
#[test]
fn no_file_imports_what_imports_it() {
    let modules = modules();
    let imports = imports(modules.iter().map(|(module, code)| (module.clone(), code.as_str())));
    assert_eq!(circle(&imports), None, "these import each other");
}

#[test]
fn each_layer_imports_only_those_below() {
    let modules = modules();
    let imports = imports(modules.iter().map(|(module, code)| (module.clone(), code.as_str())));
    let layer = |module: &str| LAYERS.iter().position(|(_, modules, _)| modules.contains(&module));
    let mut faults = Vec::new();
    for (module, imported) in &imports {
        let Some((name, _, below)) = layer(&module[0]).map(|layer| LAYERS[layer]) else {
            faults.push(format!("`{}` is in no layer", module[0]));
            continue;
        };
        for other in imported {
            let is_below = |other: usize| LAYERS[other].0 == name || below.contains(&LAYERS[other].0);
            if !layer(&other[0]).is_some_and(is_below) {
                faults.push(format!("`{}`, of the layer {name}, imports `{}`", module.join("::"), other.join("::")));
            }
        }
    }
    assert_eq!(faults, Vec::<String>::new());
    let listed = LAYERS.iter().flat_map(|(_, modules, _)| modules.iter().copied());
    let found: BTreeSet<&str> = imports.keys().map(|module| module[0].as_str()).collect();
    assert_eq!(listed.collect::<BTreeSet<_>>(), found, "a module of the layers is gone");
    for (position, (name, _, below)) in LAYERS.iter().enumerate() {
        let is_above =
            |other: &str| LAYERS.iter().position(|(name, ..)| *name == other).is_none_or(|at| at >= position);
        assert!(!below.iter().any(|other| is_above(other)), "{name} may import what stands after it");
    }
}

/// Whoever reads the tour finds each public module in it, and no other; and each file that the walk of a request leads to is there.
#[test]
fn the_tour_names_every_public_module() {
    let all = sources();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let text = |path: &Path| all.iter().find(|(other, _)| other == path).map(|(_, code)| code.as_str());
    let tour = text(&root.join("lib.rs")).unwrap();
    // A folder holds nothing but other modules.
    fn walk(code: &str, path: &str, root: &Path, text: &dyn Fn(&Path) -> Option<String>, found: &mut BTreeSet<String>) {
        for name in code.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')) {
            let module = if path.is_empty() { name.to_owned() } else { format!("{path}::{name}") };
            let code = text(&root.join(module.replace("::", "/")).with_extension("rs")).unwrap();
            let is_item = |line: &&str| !line.is_empty() && !line.starts_with("//") && !line.starts_with("pub mod ");
            if code.lines().any(|line| is_item(&line)) {
                found.insert(module.clone());
            }
            walk(&code, &module, root, text, found);
        }
    }
    let mut found = BTreeSet::new();
    walk(tour, "", &root, &|path| text(path).map(str::to_owned), &mut found);
    let (table, walk_of_a_request) = tour.split_once("# The walk of a request").unwrap();
    let first = |row: &str| row.strip_prefix("//! | [")?.split('|').next().map(|cell| format!("[{cell}"));
    let rows: String = table.lines().filter_map(first).collect();
    let named = rows.split("[`").skip(1).map(|name| name.split('`').next().unwrap().to_owned());
    assert_eq!(named.collect::<BTreeSet<String>>(), found);
    let files = walk_of_a_request.split('`').filter(|word| word.ends_with(".rs"));
    let missing: Vec<&str> = files.clone().filter(|file| text(&root.join(file)).is_none()).collect();
    assert_eq!(missing, Vec::<&str>::new());
    assert!(files.count() > 8);
}

/// The checks themselves.
#[test]
fn imports_are_found_in_every_form() {
    let files = [
        ("a", "use crate::b::{self, c::D, e::{F, G}};\n// use crate::h;"),
        ("a/i", "use super::{J, k::L};\nfn m() { crate::n::o() }"),
        ("a/k", "pub(crate) fn p() {}"),
        ("b", ""),
        ("b/c", "use self::q;"),
        ("h", "fn h() -> super::b::c::R {}"),
        ("n", "use crate::{a, h::H};"),
    ];
    let module = |path: &str| path.split('/').map(str::to_owned).collect::<Module>();
    let imports = imports(files.iter().map(|(path, code)| (module(path), *code)));
    let of = |path: &str| imports[&module(path)].iter().map(|other| other.join("/")).collect::<Vec<_>>();
    assert_eq!(of("a"), ["a/i", "a/k", "b", "b/c"]);
    assert_eq!(of("a/i"), ["a/k", "n"]);
    assert_eq!((of("a/k"), of("b"), of("b/c")), (vec![], vec!["b/c".to_owned()], vec![]));
    assert_eq!((of("h"), of("n")), (vec!["b/c".to_owned()], vec!["a".to_owned(), "h".to_owned()]));
    let around = circle(&imports).unwrap();
    assert_eq!(around.first(), around.last());
    assert_eq!(around.iter().collect::<BTreeSet<_>>(), [module("a"), module("a/i"), module("n")].iter().collect());
}
