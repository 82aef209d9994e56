//! The README and the reference say what the code does: their configurations are sound, and the tables of
//! `docs/configuration.md` name the fields that there are.

use oidc_filter::config::Config;
use std::collections::BTreeSet;

const README: &str = include_str!("../README.md");
const REFERENCE: &str = include_str!("../docs/configuration.md");

fn read(configuration: &str) -> Result<Config, String> {
    let environment = |name: &str| (name == "INTROSPECTION_CLIENT_SECRET").then(|| "secret".to_owned());
    Config::read(configuration.as_bytes(), &environment).map_err(|error| error.to_string())
}

#[test]
fn every_configuration_is_sound() {
    for (name, page, count) in [("README.md", README, 4), ("docs/configuration.md", REFERENCE, 4)] {
        let blocks: Vec<&str> = page.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next()).collect();
        assert_eq!(blocks.len(), count, "{name} has lost its configurations");
        for block in blocks {
            read(block).unwrap_or_else(|error| panic!("{name}: {error}\n{block}"));
        }
    }
}

/// One page: who looks for more follows its links.
#[test]
fn the_readme_is_one_page() {
    let lines = README.lines().count();
    assert!((150..=220).contains(&lines), "{lines} lines");
}

/// What the README tells to run is what CI runs, and what there is.
#[test]
fn the_commands_of_the_readme_are_those_of_ci() {
    let makefile = include_str!("../Makefile");
    let ci = include_str!("../.ci/run");
    for block in README.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next()) {
        for line in block.lines() {
            let target = line.strip_prefix("make ").unwrap_or_else(|| panic!("{line}"));
            assert!(makefile.contains(&format!("\n{target}: ")), "no target {target}");
        }
    }
    let develop = README.split("## Develop\n\n```sh\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    assert_eq!(develop, "make lint\nmake test\n");
    assert!(ci.ends_with(&format!("\n{develop}")), "CI runs something else");
}

/// Each object of the configuration: the heading of its table, and a configuration that has an unknown field in it.
const OBJECTS: [(&str, &str); 30] = [
    ("Top level", r#"{"provider":"https://a","?":1}"#),
    ("Source", r#"{"provider":"https://a","access_token":{"?":1}}"#),
    ("Remove", r#"{"provider":"https://a","remove":{"?":1}}"#),
    ("CORS", r#"{"provider":"https://a","cors":{"?":1}}"#),
    ("Provider", r#"{"providers":{"issuer":"https://a","audiences":"a","?":1}}"#),
    ("JWKS", r#"{"providers":{"issuer":"https://a","audiences":"a","jwks":{"?":1}}}"#),
    ("Introspection", r#"{"providers":{"issuer":"https://a","audiences":"a","introspection":{"?":1}}}"#),
    ("Userinfo", r#"{"providers":{"issuer":"https://a","audiences":"a","userinfo":{"?":1}}}"#),
    ("Failover", r#"{"providers":{"issuer":"https://a","audiences":"a","failover":{"?":1}}}"#),
    ("Rule", r#"{"provider":"https://a","rules":{"name":"a","?":1}}"#),
    ("Match", r#"{"provider":"https://a","rules":{"match":{"?":1}}}"#),
    ("Header match", r#"{"provider":"https://a","rules":{"match":{"headers":{"name":"a","exact":"b","?":1}}}}"#),
    ("External authorization", r#"{"provider":"https://a","external_authorization":{"uri":"https://a","?":1}}"#),
    (
        "Verify request",
        r#"{"provider":"https://a","verify_path":"/v","verify_request":{"method_header":"a","uri_header":"b","?":1}}"#,
    ),
    ("MCP", r#"{"provider":"https://a","mcp":{"resource":"https://b","?":1}}"#),
    ("MCP permission", r#"{"provider":"https://a","mcp":{"resource":"https://b","tools":{"name":"a","?":1}}}"#),
    ("DPoP", r#"{"provider":"https://a","dpop":{"?":1}}"#),
    ("DPoP nonce", r#"{"provider":"https://a","dpop":{"origins":"https://b","nonce":{"?":1}}}"#),
    ("DPoP replay", r#"{"provider":"https://a","dpop":{"replay":{"?":1}}}"#),
    ("Certificate bound", r#"{"provider":"https://a","certificate_bound":{"?":1}}"#),
    ("Requirement", r#"{"provider":"https://a","require":{"?":1}}"#),
    ("Claim requirement", r#"{"provider":"https://a","require":{"claims":{"claim":"a","?":1}}}"#),
    ("User info", r#"{"provider":"https://a","user_info":{"key":"a","?":1}}"#),
    (
        "Cookie options",
        r#"{"provider":"https://a","user_info":{"location":"cookie","key":"a","cookie_options":{"?":1}}}"#,
    ),
    ("Enrichment", r#"{"provider":"https://a","enrich":{"?":1}}"#),
    ("Token exchange", r#"{"provider":"https://a","token_exchange":{"?":1}}"#),
    ("Assertion", r#"{"provider":"https://a","assertion":{"?":1}}"#),
    (
        "Assertion claim",
        r#"{"provider":"https://a","assertion":{"issuer":"b","audience":"c","keys":{"kty":"oct","k":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"},"claims":{"?":1}}}"#,
    ),
    ("Claim header", r#"{"provider":"https://a","claim_headers":{"header":"a","claim":"a","?":1}}"#),
    (
        "Transformer",
        r#"{"provider":"https://a","claim_headers":{"header":"a","claim":"a","transformers":{"matches":"a","replaces":"b","?":1}}}"#,
    ),
];

#[test]
fn every_table_names_the_fields_that_there_are() {
    for (heading, configuration) in OBJECTS {
        let error = read(configuration).expect_err(heading);
        let known = error.split("expected one of ").nth(1).unwrap_or_else(|| panic!("{heading}: {error}"));
        let mut known: BTreeSet<&str> = known.split(", ").collect();
        // The top level has two forms, each of which knows its own.
        known.extend((heading == "Top level").then_some(["provider", "providers"]).into_iter().flatten());
        let section =
            REFERENCE.split(&format!("\n## {heading}\n")).nth(1).unwrap_or_else(|| panic!("no table {heading}"));
        let table = section.split("\n## ").next().unwrap_or_default().split("\n### ").next().unwrap_or_default();
        let named: BTreeSet<&str> =
            table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
        assert_eq!(named, known, "{heading}");
    }
}

/// The words of `src/reply.rs`, in its order.
fn reasons() -> Vec<&'static str> {
    let source = include_str!("../src/reply.rs");
    let words = source.lines().filter_map(|line| line.split_once("=> (\"")?.1.split('"').next());
    let words: Vec<&str> = words.collect();
    assert!(words.len() >= 19, "{words:?}");
    words
}

/// What each means, what to look at, what to do: a row for each word that there is, and for no other.
#[test]
fn every_reason_has_a_remedy() {
    let page = include_str!("../docs/reasons.md");
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    let cells: Vec<Vec<&str>> = rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect()).collect();
    let words: Vec<&str> = cells.iter().map(|row| row[0].trim_matches('`')).collect();
    assert_eq!(words, reasons());
    for row in cells {
        assert!(row.len() == 4 && row.iter().all(|cell| !cell.is_empty()), "{row:?}");
    }
}
