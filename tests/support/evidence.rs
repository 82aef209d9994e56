//! What a document may refer to: the tests that there are, and the names that the sources define.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Where the project is.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every test by its name, with the files that have one of this name, as paths from the root.
pub struct Tests(BTreeMap<String, Vec<String>>);

impl Tests {
    pub fn find() -> Self {
        let mut tests: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for file in files() {
            let source = fs::read_to_string(root().join(&file)).unwrap();
            let names = if file.ends_with(".rs") { rust_tests(&source) } else { python_tests(&source) };
            for name in names {
                tests.entry(name).or_default().push(file.clone());
            }
        }
        assert!(tests.len() > 300, "only {} tests were found", tests.len());
        Self(tests)
    }

    /// The files that have a test of this name; none if there is no such test.
    pub fn files(&self, name: &str) -> &[String] {
        self.0.get(name).map(Vec::as_slice).unwrap_or_default()
    }

    /// The test as a document in `folder` of the root links to it: by the first of its files.
    pub fn link(&self, name: &str, up: &str) -> String {
        format!("[`{name}`]({up}{})", self.files(name).first().unwrap())
    }
}

/// Whether `path::to::name`, which begins with a file, is something that this file defines: `src/jose/jwk.rs: Algorithm::ALL`.
pub fn defines(place: &str) -> bool {
    let Some((file, names)) = place.split_once(": ") else { return root().join(place).is_file() };
    let Ok(source) = fs::read_to_string(root().join(file)) else { return false };
    let keywords = ["fn ", "struct ", "enum ", "const ", "static ", "trait ", "type ", "mod ", "def ", "class "];
    names.split("::").all(|name| {
        let ends = |rest: &str| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_');
        let is_defined = keywords.iter().any(|keyword| {
            let definition = format!("{keyword}{name}");
            source.match_indices(&definition).any(|(at, _)| ends(&source[at + definition.len()..]))
        });
        // A variant of an enum, or a field.
        let begins_line = source.lines().any(|line| {
            let line = line.trim_start().trim_start_matches("pub ").trim_start_matches("pub(super) ");
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with([',', '(', ':', ' ']))
        });
        is_defined || begins_line
    })
}

/// The sources that hold tests.
fn files() -> Vec<String> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::from("src"), PathBuf::from("tests")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(root().join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let path = folder.join(entry.file_name());
            let name = path.to_str().unwrap().replace('\\', "/");
            if entry.file_type().unwrap().is_dir() {
                folders.push(path);
            } else if name.ends_with(".rs") || name.starts_with("tests/envoy/test_") {
                files.push(name);
            }
        }
    }
    files.retain(|name| name.ends_with(".rs") || name.ends_with(".py"));
    files.sort();
    files
}

/// Functions below `#[test]`, with whatever attributes between.
fn rust_tests(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim_start) {
        match line.strip_prefix("fn ").and_then(|rest| rest.split('(').next()) {
            Some(name) if is_test => names.push(name.to_owned()),
            _ => {}
        }
        is_test = line == "#[test]" || is_test && line.starts_with("#[");
    }
    names
}

fn python_tests(source: &str) -> Vec<String> {
    let functions = source.lines().filter_map(|line| line.strip_prefix("def test_")?.split('(').next());
    functions.map(|name| format!("test_{name}")).collect()
}

/// Compares a document with what it is generated from, or writes it: `BLESS=1`.
pub fn check_generated(document: &str, text: &str) {
    let path = root().join(document);
    if std::env::var_os("BLESS").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let difference = written.lines().zip(text.lines()).position(|(written, text)| written != text);
    let line = difference.unwrap_or_else(|| written.lines().count().min(text.lines().count())) + 1;
    assert!(written == text, "{document} is not what its source says, from line {line} on; BLESS=1 writes it anew");
}
