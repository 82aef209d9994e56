//! Which files of the crate import which, read from their texts.

use std::collections::{BTreeMap, BTreeSet};

/// The modules from the crate's root to one of them: `["config", "policy"]`; none for the root itself.
pub type Module = Vec<String>;

/// Of each file its module, and the modules of the files that it imports. What it takes from the modules that it is in is left
/// out: a file and those in its folder are one.
pub fn imports<'t>(files: impl IntoIterator<Item = (Module, &'t str)>) -> BTreeMap<Module, BTreeSet<Module>> {
    let files: BTreeMap<Module, &str> = files.into_iter().collect();
    let imported = |module: &Module, code: &str| {
        let paths = paths(code).into_iter().map(|path| absolute(module, &path)).map(|path| owner(&files, path));
        let children = files.keys().filter(|other| other.split_last().is_some_and(|(_, parent)| parent == module));
        let is_around = |other: &Module| module.starts_with(other);
        paths.chain(children.filter(|_| !module.is_empty()).cloned()).filter(|other| !is_around(other)).collect()
    };
    files.iter().map(|(module, code)| (module.clone(), imported(module, code))).collect()
}

/// The files of a circle, if there is one.
pub fn circle(imports: &BTreeMap<Module, BTreeSet<Module>>) -> Option<Vec<Module>> {
    let mut rest: BTreeSet<&Module> = imports.keys().collect();
    // Those that import nothing of the rest are on no circle.
    loop {
        let is_free = |module: &&&Module| !imports[**module].iter().any(|other| rest.contains(other));
        match rest.iter().find(is_free).copied() {
            Some(free) => rest.remove(free),
            None => break,
        };
    }
    let mut walked = vec![*rest.first()?];
    loop {
        let next = imports[*walked.last()?].iter().find(|other| rest.contains(other))?;
        let before = walked.iter().position(|module| *module == next);
        walked.push(next);
        if let Some(before) = before {
            return Some(walked[before..].iter().copied().cloned().collect());
        }
    }
}

/// Every path in the code that begins with `crate`, `super` or `self`.
fn paths(code: &str) -> Vec<Module> {
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let mut found = Vec::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let is_inside = |before: char| before.is_alphanumeric() || matches!(before, '_' | ':');
            if !code[..at].ends_with(is_inside) {
                expand(Vec::new(), &code[at..], &mut found);
            }
        }
    }
    found
}

/// Reads one path; where braces are, one for each that is in them.
fn expand(mut path: Module, text: &str, found: &mut Vec<Module>) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        return members(group).into_iter().for_each(|member| expand(path.clone(), member, found));
    }
    let end = text.find(|next: char| !next.is_alphanumeric() && next != '_').unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if !name.is_empty() {
        path.push(name.to_owned());
    }
    match rest.strip_prefix("::").filter(|_| !name.is_empty()) {
        Some(rest) => expand(path, rest, found),
        None => found.push(path),
    }
}

/// What stands between commas, up to the brace that closes.
fn members(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut members) = (0_usize, 0, Vec::new());
    for (at, character) in group.char_indices() {
        match character {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                members.push(&group[start..at]);
                start = at + 1;
                if character == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    members.retain(|member| !member.trim().is_empty());
    members
}

/// A path that is written in a module, from the root on.
fn absolute(module: &[String], path: &[String]) -> Module {
    let mut absolute = if path.first().is_some_and(|first| first == "crate") { Vec::new() } else { module.to_vec() };
    for name in path {
        match name.as_str() {
            "crate" | "self" => {}
            "super" => drop(absolute.pop()),
            name => absolute.push(name.to_owned()),
        }
    }
    absolute
}

/// The file that a path leads into.
fn owner(files: &BTreeMap<Module, &str>, mut path: Module) -> Module {
    while !path.is_empty() && !files.contains_key(&path) {
        path.pop();
    }
    path
}
