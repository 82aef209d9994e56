//! The pages of `docs/` are copied from: each configuration of ours in them is sound, and shows what the text says. Every
//! link leads somewhere, and every page is in the list of pages.

use oidc_filter::config::{Config, Validation};
use oidc_filter::jose::claims::Lookup;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What `${NAME}` stands for in the pages.
fn environment(name: &str) -> Option<String> {
    name.starts_with("INTROSPECTION_CLIENT_").then(|| "from the environment".to_owned())
}

fn configurations(page: &Path) -> Vec<Config> {
    let text = std::fs::read_to_string(page).unwrap();
    let blocks = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks
        .map(|block| {
            Config::read(block.as_bytes(), &environment)
                .unwrap_or_else(|error| panic!("{}: {error}\n{block}", page.display()))
        })
        .collect()
}

fn page(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(path)
}

/// How many each page has: one that is lost, or written in another language, would not be read.
#[test]
fn every_configuration_is_sound() {
    for (path, count) in [
        ("migrate/greymatter.md", 3),
        ("migrate/mcp-toolbox.md", 3),
        ("migrate/authservice.md", 3),
        ("migrate/envoy-jwt-authn.md", 2),
        ("migrate/istio.md", 2),
        ("bound-tokens.md", 5),
        ("migrate/oauth2-proxy.md", 1),
        ("kubernetes.md", 2),
        ("mcp.md", 1),
        ("opaque-tokens.md", 2),
        ("providers.md", 10),
    ] {
        assert_eq!(configurations(&page(path)).len(), count, "{path}");
    }
}

#[test]
fn every_page_is_listed() {
    let index = std::fs::read_to_string(page("migrate/README.md")).unwrap();
    let pages =
        std::fs::read_dir(page("migrate")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let others: Vec<String> = pages.filter(|name| name != "README.md").collect();
    assert_eq!(others.len(), 6, "{others:?}");
    for name in others {
        assert!(index.contains(&format!("({name})")), "{name}");
    }
}

/// What no audience protects is only what the page says: greymatter and AuthService's opaque tokens.
#[test]
fn only_userinfo_has_no_audience() {
    for path in ["greymatter", "mcp-toolbox", "authservice", "envoy-jwt-authn", "istio"] {
        for config in configurations(&page(&format!("migrate/{path}.md"))) {
            for provider in &config.providers {
                let is_any = provider.audiences == oidc_filter::jose::jwt::Audiences::Any;
                assert_eq!(is_any, provider.validation == Validation::Userinfo, "{path}");
            }
        }
    }
}

/// The compact form and the one that is written out are the same policy.
#[test]
fn greymatters_two_forms_are_one() {
    let configs = configurations(&page("migrate/greymatter.md"));
    let [compact, full, _] = configs.as_slice() else { panic!("three") };
    assert_eq!(format!("{:?}", compact.policy), format!("{:?}", full.policy));
    assert_eq!(format!("{:?}", compact.sources), format!("{:?}", full.sources));
    let facts = |config: &Config| {
        let provider = config.providers.first().unwrap();
        (provider.issuer.clone(), provider.validation, provider.audiences.clone(), format!("{:?}", provider.userinfo))
    };
    assert_eq!(facts(compact), facts(full));
}

/// The native scenario of a service account's token (`tests/filter/identities.rs`) has these paths; names with dots are
/// one step.
#[test]
fn claims_of_kubernetes_lie_below_a_name_with_a_dot() {
    let configs = configurations(&page("kubernetes.md"));
    let mapping = &configs.first().unwrap().providers.first().unwrap().claim_mapping.0;
    let path = |steps: &[&str]| vec![Lookup::Path(steps.iter().map(|step| (*step).to_owned()).collect())];
    for (name, steps) in [
        ("namespace", ["kubernetes.io", "namespace"].as_slice()),
        ("service_account", &["kubernetes.io", "serviceaccount", "name"]),
        ("pod", &["kubernetes.io", "pod", "name"]),
    ] {
        assert!(mapping.contains(&(name.to_owned(), path(steps))), "{name}");
    }
}

/// What CONTRIBUTING.md tells to run, and where it says that things are.
#[test]
fn contributors_find_what_they_are_told_of() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(root.join("CONTRIBUTING.md")).unwrap();
    let makefile = std::fs::read_to_string(root.join("Makefile")).unwrap();
    let (mut paths, mut targets) = (0, 0);
    for quoted in text.split('`').skip(1).step_by(2) {
        if let Some(target) = quoted.strip_prefix("make ") {
            assert!(makefile.contains(&format!("\n{target}: ")), "no target {target}");
            targets += 1;
        } else if quoted.contains('/') && !quoted.contains([' ', '!']) {
            assert!(root.join(quoted).exists(), "{quoted} is not there");
            paths += 1;
        }
    }
    assert!(paths > 20 && targets > 4, "{paths} paths, {targets} targets");
}

/// The documents of this repository, as paths from its root, with their texts.
fn documents() -> BTreeMap<PathBuf, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = BTreeMap::new();
    let mut folders = vec![PathBuf::from("docs")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(root.join(&folder)).unwrap() {
            let path = folder.join(entry.unwrap().file_name());
            if root.join(&path).is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "md") {
                found.insert(path.clone(), std::fs::read_to_string(root.join(&path)).unwrap());
            }
        }
    }
    for path in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md", ".github/SECURITY.md"] {
        found.insert(PathBuf::from(path), std::fs::read_to_string(root.join(path)).unwrap());
    }
    found
}

/// The text outside of blocks of code.
fn prose(text: &str) -> String {
    text.split("\n```").step_by(2).collect::<Vec<_>>().join("\n")
}

/// The anchors that a forge makes of the headings of a page.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    headings.map(anchor).collect()
}

fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// What a page links to, without other hosts.
fn links(text: &str) -> Vec<&str> {
    let after = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    after.filter(|link| !link.contains("://") && !link.contains(' ')).collect()
}

/// A path without `..` in it.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        if part.as_os_str() == ".." {
            assert!(plain.pop(), "{} leads out of the repository", path.display());
        } else {
            plain.push(part);
        }
    }
    plain
}

#[test]
fn every_link_leads_somewhere() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let documents = documents();
    let (mut faults, mut seen) = (Vec::new(), 0);
    for (page, text) in &documents {
        let text = prose(text);
        for link in links(&text) {
            seen += 1;
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = match path {
                "" => page.clone(),
                path => plain(&page.parent().unwrap_or(Path::new("")).join(path)),
            };
            let is_there = root.join(&target).exists();
            let has_anchor = anchor.is_empty()
                || documents.get(&target).is_some_and(|text| anchors(&prose(text)).contains(&anchor.to_owned()));
            if !is_there || !has_anchor {
                faults.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    assert!(seen > 300, "only {seen} links were found");
}

/// Whoever comes to `docs/` finds all of it.
#[test]
fn every_page_is_in_the_list_of_pages() {
    let documents = documents();
    let index = &documents[Path::new("docs/README.md")];
    let linked: Vec<PathBuf> = links(index).into_iter().map(|link| plain(&Path::new("docs").join(link))).collect();
    for page in documents.keys().filter(|page| page.starts_with("docs") && *page != Path::new("docs/README.md")) {
        let is_of_migration = page.starts_with("docs/migrate") && linked.contains(&"docs/migrate/README.md".into());
        assert!(linked.contains(page) || is_of_migration, "{}", page.display());
    }
}

/// On the site, each page has one place; `make docs` says which has none.
#[test]
fn the_site_names_each_page_once() {
    let nav = include_str!("../docs/site/mkdocs.yaml").split("\nnav:\n").nth(1).unwrap();
    let mut pages: Vec<&str> = nav.lines().filter_map(|line| line.rsplit([' ']).next()).collect();
    pages.retain(|page| page.ends_with(".md"));
    let count = pages.len();
    assert!(count >= 35, "{pages:?}");
    pages.sort_unstable();
    pages.dedup();
    assert_eq!(pages.len(), count, "a page is there twice: {nav}");
    for page in pages {
        let path = page.replace("github/", ".github/");
        assert!(Path::new(env!("CARGO_MANIFEST_DIR")).join(&path).exists(), "{path}");
    }
}

/// What the pages tell to run: targets of the Makefile, or lines that a test takes from the page and runs.
#[test]
fn every_command_is_run_by_a_test() {
    let run = [
        ("docs/cli.md", "tests/cli/main.rs"),
        ("docs/install.md", "tests/envoy/test_scene.py"),
        ("docs/operating.md", "tests/envoy/test_refusals.py"),
        ("docs/assertions.md", "tests/envoy/test_assertion.py"),
        ("docs/migrate/authservice.md", "tests/cli/migrate.rs"),
    ];
    let makefile = include_str!("../Makefile");
    let mut seen = 0;
    for (page, text) in documents() {
        let page = page.display().to_string();
        if let Some((_, test)) = run.iter().find(|(name, _)| *name == page) {
            let name = page.rsplit('/').next().unwrap();
            assert!(std::fs::read_to_string(test).unwrap().contains(name), "{test} says nothing of {page}");
            continue;
        }
        for block in text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
            for line in block.lines() {
                let words: Vec<&str> = line.split(' ').skip_while(|word| word.contains('=')).collect();
                let ["make", targets @ ..] = words.as_slice() else {
                    panic!("{page}: `{line}` is run by no test");
                };
                for target in targets {
                    assert!(makefile.contains(&format!("\n{target}: ")), "{page}: no target {target}");
                }
                seen += 1;
            }
        }
    }
    assert!(seen >= 9, "{seen}");
}
