//! The pages of `docs/` are copied from: each configuration of ours in them is sound, and shows what the text says.

use oidc_filter::config::{Config, Validation};
use oidc_filter::jose::claims::Lookup;
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
        ("migrate/mcp-toolbox.md", 2),
        ("migrate/authservice.md", 3),
        ("migrate/envoy-jwt-authn.md", 2),
        ("migrate/istio.md", 2),
        ("kubernetes.md", 2),
        ("opaque-tokens.md", 2),
        ("providers.md", 7),
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
    assert_eq!(others.len(), 5, "{others:?}");
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
