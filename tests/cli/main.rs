//! The command, run as people run it: `oidc-filter lint`, `explain`, `test`, `render`, `migrate` and `schema`.

mod explain;
mod lint;
mod manifests;
mod migrate;
mod places;
mod shapes;
#[path = "../support/mod.rs"]
mod support;
mod tables;
mod why;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// How a command ended.
struct Ended {
    code: i32,
    out: String,
    err: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file of this folder.
fn here(path: &str) -> PathBuf {
    root().join("tests/cli").join(path)
}

fn run(arguments: &[&str], input: &str) -> Ended {
    let mut command = Command::new(env!("CARGO_BIN_EXE_oidc-filter"));
    command.args(arguments).current_dir(root()).env_remove("RS_SECRET");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // Who fails early reads nothing.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Runs a command that must succeed, and gives what it prints.
#[track_caller]
fn printed(arguments: &[&str], input: &str) -> String {
    let ended = run(arguments, input);
    assert_eq!(ended.code, 0, "{arguments:?}: {}{}", ended.out, ended.err);
    ended.out
}

#[test]
fn the_schema_is_the_one_under_docs() {
    let written = std::fs::read_to_string(root().join("docs/schema/oidc-filter.schema.json")).unwrap();
    assert_eq!(printed(&["schema"], ""), written);
}

/// What the command needs is no part of the module.
#[test]
fn the_module_has_nothing_of_the_command() {
    let crates = |target: &[&str]| {
        let mut command = Command::new(env!("CARGO"));
        command.args(["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"]).args(target);
        let output = command.current_dir(root()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let (module, command) = (crates(&["--target", "wasm32-wasip1"]), crates(&[]));
    for name in ["clap", "clap_complete", "saphyr-parser", "toml"] {
        let line = format!("\n{name} v");
        assert!(command.contains(&line) && !module.contains(&line), "{name}");
    }
}

#[test]
fn shells_complete_the_command() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = printed(&["completions", shell], "");
        assert!(script.contains("oidc-filter") && script.contains("lint"), "{shell}");
    }
}

#[test]
fn help_names_every_command() {
    let help = printed(&["--help"], "");
    for command in ["lint", "explain", "test", "schema", "render", "migrate", "completions"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
    }
    assert_eq!(run(&["frobnicate"], "").code, 2);
}

/// Every command of the page, as it stands there, from the root of the project.
#[test]
fn the_page_about_the_command_runs() {
    let page = std::fs::read_to_string(root().join("docs/cli.md")).unwrap();
    let mut count = 0;
    for block in page.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.lines().filter_map(|line| line.strip_prefix("oidc-filter ")) {
            let arguments: Vec<&str> = line.split(' ').collect();
            printed(&arguments, "");
            count += 1;
        }
    }
    assert!(count >= 12, "{count}");
    // Every word that the page explains is one that the command can say.
    let source = std::fs::read_dir(root().join("src/bin/oidc-filter/lint")).unwrap();
    let files = source.map(|entry| entry.unwrap().path()).chain(
        ["rule", "verify", "warnings", "provider"].map(|name| root().join("src/config").join(format!("{name}.rs"))),
    );
    let code: String = files.map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let table = page.split("| word | what |").nth(1).unwrap().split("\n\n").next().unwrap();
    let cells = table.lines().filter_map(|line| line.strip_prefix("| `")?.split(" | ").next());
    let words: Vec<&str> = cells.flat_map(|cell| cell.split('`').step_by(2)).filter(|word| !word.is_empty()).collect();
    assert!(words.len() >= 25, "{words:?}");
    for word in words.into_iter().filter(|word| !word.contains([' ', ',', '('])) {
        assert!(code.contains(&format!("\"{word}\"")), "{word}");
    }
}
