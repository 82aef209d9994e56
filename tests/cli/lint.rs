//! `lint` finds each fault of a committed table, with its line and its remedy, and nothing in what is sound.

use crate::{here, printed, root, run};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

/// A fault that is planted into a file.
struct Fault(Value);

impl Fault {
    fn text(&self, field: &str) -> &str {
        self.0[field].as_str().unwrap_or_default()
    }

    /// What is changed: in `base`, the first `find` becomes `put`; and what is in `with`.
    fn changes(&self) -> Vec<(&str, &str)> {
        let with = self.0["with"].as_array().into_iter().flatten();
        let with = with.map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
        std::iter::once((self.text("find"), self.text("put"))).chain(with).collect()
    }
}

fn findings(arguments: &[&str], input: &str) -> (i32, Vec<Value>) {
    let ended = run(&[&["lint", "--format", "json"], arguments].concat(), input);
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}", ended.err));
    (ended.code, report["findings"].as_array().unwrap().clone())
}

#[test]
fn every_planted_fault_is_found() {
    let table: Value = serde_json::from_str(&fs::read_to_string(here("faults.json")).unwrap()).unwrap();
    let faults: Vec<Fault> = table.as_array().unwrap().iter().cloned().map(Fault).collect();
    assert!(faults.len() >= 60, "{}", faults.len());
    let mut missed = Vec::new();
    for fault in &faults {
        let mut text = fs::read_to_string(here(fault.text("base"))).unwrap();
        for (find, put) in fault.changes() {
            assert!(text.contains(find), "{}: {find}", fault.text("base"));
            text = text.replacen(find, put, 1);
        }
        // The last place that holds this; of an element of a list, what stands behind its dash.
        let at = fault.text("at");
        let begin = text.rfind(at).unwrap_or_else(|| panic!("{}", fault.0));
        let begin = begin + at.len() - at.trim_start_matches([' ', '-']).len();
        let line = text[..begin].matches('\n').count() + 1;
        let column = text[..begin].chars().rev().take_while(|c| *c != '\n').count() + 1;
        let (code, found) = findings(&["-"], &text);
        let is_it = |finding: &Value| {
            ["code", "level"].iter().all(|field| finding[field] == fault.0[field])
                && finding["line"] == line
                && finding["column"] == column
                && finding["text"].as_str().unwrap().contains(fault.text("says"))
                && (fault.0["path"].is_null() || finding["path"] == fault.0["path"])
        };
        if !found.iter().any(is_it) {
            missed.push(format!("at {line}:{column}: {}\n-> {found:?}", fault.0));
        }
        assert_eq!(code, i32::from(fault.text("level") == "error"), "{}: {found:#?}", fault.0);
    }
    assert!(missed.is_empty(), "{} of {}:\n{}", missed.len(), faults.len(), missed.join("\n\n"));
}

/// What is sound in a way of its own, so that whoever looks for faults too eagerly finds one.
#[test]
fn what_only_looks_like_a_fault_is_left_alone() {
    let names = "              match_typed_subject_alt_names:\n                - san_type: DNS\n                  matcher:\n                    exact: idp.example.com\n";
    let authorities = "              trusted_ca:\n                filename: /etc/ssl/certs/ca-certificates.crt\n";
    let hand_off = "\"@type\": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config\n                      request_rules:\n";
    let state = "              - filter_state:\n                                  key: wasm.oidc.result\n                                  string_match:\n                                    safe_regex:\n                                      regex: \"allowed|bypassed\"\n";
    for (base, changes) in [
        // A limit for requests of another priority.
        (
            "envoy",
            vec![(
                "        thresholds:\n",
                "        thresholds:\n          - { priority: HIGH, max_connections: 5 }\n",
            )],
        ),
        // Names that Envoy checks by what it says in `sni`; those that an older field has; a certificate that is known.
        ("envoy", vec![(names, ""), ("          sni: ", "          auto_sni_san_validation: true\n          sni: ")]),
        ("envoy", vec![(names, "              match_subject_alt_names: [{ exact: idp.example.com }]\n")]),
        (
            "envoy",
            vec![
                (names, ""),
                (
                    authorities,
                    "              verify_certificate_hash: [df6ff72fe9116521268f6f2dd4966f51df479883fe7037b39f75916ac3049d1a]\n",
                ),
            ],
        ),
        // A cache gives nobody what is another's as long as it sees the token.
        (
            "envoy",
            vec![
                ("                              - { location: cookie, key: session }\n", ""),
                (
                    "                  - name: envoy.filters.http.router\n",
                    "                  - name: kept\n                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.cache.v3.CacheConfig\n                  - name: envoy.filters.http.router\n",
                ),
            ],
        ),
        // The name of the host that Envoy says by itself, and none for an address.
        ("envoy", vec![("          sni: idp.example.com\n", "          auto_host_sni: true\n")]),
        (
            "envoy",
            vec![
                ("https://idp.example.com/realms", "https://192.0.2.7/realms"),
                ("address: idp.example.com", "address: 192.0.2.7"),
                ("          sni: idp.example.com\n", ""),
            ],
        ),
        // A port that the URL names.
        (
            "envoy",
            vec![
                ("https://idp.example.com/realms", "https://idp.example.com:80/realms"),
                ("port_value: 443", "port_value: 80"),
            ],
        ),
        // TLS that begins on the way to another port.
        ("istio", vec![("outbound|443|", "outbound|80|"), ("number: 443", "number: 80, targetPort: 443")]),
        // Of several thresholds, the first; and connections, for which calls wait.
        (
            "envoy",
            vec![(
                "max_connections: 2000, max_pending_requests: 2000, max_requests: 2000 }\n",
                "max_pending_requests: 2000, max_requests: 2000 }\n          - { priority: DEFAULT }\n",
            )],
        ),
        // Somebody asks for the route between the one who may change it and the filter.
        (
            "envoy",
            vec![(
                "                  - name: envoy.filters.http.cors\n",
                "                  - name: early\n                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.lua.v3.Lua\n                  - name: envoy.filters.http.cors\n",
            )],
        ),
        // Numbers of enumerations.
        ("envoy", vec![("type: PROTOBUF_VALUE", "type: 2"), ("encode: BASE64", "encode: 1"), ("FAIL_RELOAD", "1")]),
        // Names of the provider that are not the one in its URL.
        ("envoy", vec![("exact: idp.example.com", "suffix: .example.com")]),
        ("envoy", vec![("exact: idp.example.com", "exact: \"*.example.com\"")]),
        (
            "envoy",
            vec![
                ("exact: idp.example.com", "exact: idp2.example.com"),
                ("sni: idp.example.com", "sni: login.internal"),
            ],
        ),
        (
            "envoy",
            vec![
                ("address: idp.example.com", "address: idp.example.com."),
                ("sni: idp.example.com", "sni: IDP.example.com"),
            ],
        ),
        (
            "envoy",
            vec![
                ("https://idp.example.com/realms", "https://i.example.com/realms"),
                ("exact: idp.example.com", "exact: \"*.example.com\""),
            ],
        ),
        // What is asked for beside the mark.
        (
            "envoy",
            vec![(
                state,
                "              - and_ids: { ids: [{ filter_state: { key: wasm.oidc.result, string_match: { safe_regex: { regex: \"allowed|bypassed\" } } } }, { not_id: { header: { name: x-block, present_match: true } } }] }\n",
            )],
        ),
        // One word after the other.
        (
            "envoy",
            vec![(
                state,
                "              - filter_state: { key: wasm.oidc.result, string_match: { exact: allowed } }\n                              - filter_state: { key: wasm.oidc.result, string_match: { prefix: bypass } }\n",
            )],
        ),
        // Whatever has not been let through is denied.
        (
            "envoy",
            vec![
                ("action: ALLOW", "action: DENY"),
                (
                    state,
                    "              - not_id: { filter_state: { key: wasm.oidc.result, string_match: { safe_regex: { regex: \"allowed|bypassed\" } } } }\n",
                ),
            ],
        ),
        // Rules that are only tried out, beside those that hold.
        (
            "envoy",
            vec![(
                "                      rules:\n                        action: ALLOW",
                "                      shadow_rules: { action: DENY }\n                      rules:\n                        action: ALLOW",
            )],
        ),
        // The hand-off as a TypedStruct.
        (
            "envoy",
            vec![(
                hand_off,
                "\"@type\": type.googleapis.com/xds.type.v3.TypedStruct\n                      type_url: type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config\n                      value:\n                       request_rules:\n",
            )],
        ),
        // Headers that are nobody's, and filters that decide nothing, before the filter.
        (
            "envoy",
            vec![(
                "                  - name: oidc\n",
                "                  - name: before\n                    typed_config:\n                      \"@type\": type.googleapis.com/envoy.extensions.filters.http.header_to_metadata.v3.Config\n                      request_rules: [{ header: x-version, on_header_present: { key: version } }]\n                  - name: zip\n                    typed_config: { \"@type\": type.googleapis.com/envoy.extensions.filters.http.compressor.v3.Compressor }\n                  - name: oidc\n",
            )],
        ),
        // A ServiceEntry for all below a name, and TLS for one port.
        (
            "istio",
            vec![
                ("hosts: [idp.example.com]", "hosts: [\"*.example.com\"]"),
                ("  host: idp.example.com", "  host: \"*.example.com\""),
            ],
        ),
        (
            "istio",
            vec![(
                "  trafficPolicy:\n    tls:\n      mode: SIMPLE\n      sni: idp.example.com\n      subjectAltNames: [idp.example.com]\n",
                "  trafficPolicy:\n    portLevelSettings:\n      - { port: { number: 443 }, tls: { mode: SIMPLE, sni: idp.example.com } }\n",
            )],
        ),
        // Envoy Gateway is told in which order filters stand.
        (
            "envoy-gateway",
            vec![
                ("  wasm:\n", "  extProc: [{ backendRefs: [{ name: processor, port: 80 }] }]\n  wasm:\n"),
                (
                    "spec:\n  bootstrap:",
                    "spec:\n  filterOrder: [{ name: envoy.filters.http.wasm, before: envoy.filters.http.ext_proc }]\n  bootstrap:",
                ),
            ],
        ),
        // A policy of another route than the filter's.
        (
            "envoy-gateway",
            vec![
                ("kind: Gateway, name: eg }\n  wasm:", "kind: HTTPRoute, name: shop }\n  wasm:"),
                (
                    "---\n# Needs extensionApis",
                    "---\napiVersion: gateway.envoyproxy.io/v1alpha1\nkind: SecurityPolicy\nmetadata: { name: other }\nspec:\n  targetRefs: [{ group: gateway.networking.k8s.io, kind: HTTPRoute, name: other }]\n  jwt: { providers: [] }\n---\n# Needs extensionApis",
                ),
            ],
        ),
        // Kubernetes knows in which namespace this is, and with that the name of the filter.
        (
            "istio",
            vec![(
                "metadata: { name: oidc, namespace: istio-system }\nspec:\n  selector",
                "metadata: { name: oidc }\nspec:\n  selector",
            )],
        ),
    ] {
        let mut text = fs::read_to_string(here(&format!("base/{base}.yaml"))).unwrap();
        for (find, put) in &changes {
            assert!(text.contains(find), "{base}: {find}");
            text = text.replacen(find, put, 1);
        }
        let (code, found) = findings(&["-"], &text);
        assert!(code == 0 && found.is_empty(), "{base}: {changes:?}: {found:#?}");
    }
    let local = "providers:\n  - issuer: http://localhost:8080/realms/shop\n    audiences: [a]\n    jwks: { uri: \"http://127.0.0.1:8080/keys\" }\n";
    assert_eq!(printed(&["lint", "-"], local), "");
}

/// A file with very many members, merged into many objects: compared each with each, they would take minutes.
#[test]
fn large_files_are_read_in_a_moment() {
    let members: String = (0..40_000).map(|number| format!("  k{number}: 1\n")).collect();
    let merged = ["*data"; 15].join(", ");
    let text = format!("apiVersion: v1\nkind: Secret\ndata: &data\n{members}copies:\n  - {{ <<: [{merged}] }}\n");
    assert_eq!(findings(&["-"], &text).0, 1);
}

/// Paths are references to URIs, and columns are counted in characters.
#[test]
fn sarif_names_odd_files() {
    let folder = std::env::temp_dir().join(format!("oidc filter #{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a b?.yaml");
    fs::write(&path, "providers: []\n").unwrap();
    let report: Value =
        serde_json::from_str(&run(&["lint", "--format", "sarif", path.to_str().unwrap()], "").out).unwrap();
    fs::remove_dir_all(&folder).unwrap();
    assert_eq!(report["runs"][0]["columnKind"], "unicodeCodePoints");
    let place = &report["runs"][0]["results"][0]["locations"][0]["physicalLocation"];
    let uri = place["artifactLocation"]["uri"].as_str().unwrap();
    assert!(uri.contains("oidc%20filter%20%23") && uri.ends_with("/a%20b%3F.yaml"), "{uri}");
}

/// A limit of Envoy's holds for all its workers, each of which asks as much as the filter lets it.
#[test]
fn circuit_breakers_are_for_all_workers() {
    let envoy = fs::read_to_string(here("base/envoy.yaml")).unwrap();
    let two_limits = "max_pending_requests: 2000, max_requests: 2000";
    let limits =
        |number: usize| envoy.replace(two_limits, &format!("max_pending_requests: 9000, max_requests: {number}"));
    let told = |text: &str| -> Vec<String> {
        let (_, found) = findings(&["-"], text);
        found.iter().map(|finding| finding["text"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(told(&limits(1250)), [""; 0]);
    let few = told(&limits(1249)).join("\n");
    assert!(few.contains("Write 1250 or more for each worker (`--concurrency`): 5000 for four"), "{few}");
    for workers in [
        "apiVersion: gateway.envoyproxy.io/v1alpha1\nkind: EnvoyProxy\nspec: { concurrency: 2 }\n",
        "apiVersion: networking.istio.io/v1beta1\nkind: ProxyConfig\nspec: { concurrency: 2 }\n",
        "apiVersion: apps/v1\nkind: Deployment\nspec: { containers: [{ args: [-c, envoy.yaml, --concurrency, \"2\"] }] }\n",
    ] {
        let with = |number| told(&format!("{}---\n{workers}", limits(number)));
        let few = with(2499);
        assert!(few.iter().any(|text| text.contains("Write 2500 or more, for 2 workers")), "{few:?}");
        // There is another one of 2000, which the file has for connections.
        assert!(with(2500).iter().all(|text| text.contains("2000 is less")), "{workers}");
    }
    // One cluster is asked for keys, and another about tokens, for which `render` makes room.
    let manifest = printed(&["render", "envoy", here("good/authorizer.yaml").to_str().unwrap()], "");
    let for_keys = |number: usize| {
        let name = "    - name: idp\n";
        let limits = format!("{name}      circuit_breakers: {{ thresholds: [{{ max_requests: {number} }}] }}\n");
        told(&manifest.replace(name, &limits))
    };
    assert_eq!(for_keys(16), [""; 0]);
    assert!(for_keys(15)[0].contains("Write 16 or more"));
    assert_eq!(manifest.matches("max_requests: 5000").count(), 1);
    let about_tokens = told(&manifest.replace("max_requests: 5000", "max_requests: 16"));
    assert!(about_tokens[0].contains("Write 1250 or more for each worker"));
}

/// Two filters of one chain that share a name.
#[test]
fn each_filter_of_a_chain_has_a_name_of_its_own() {
    let text = fs::read_to_string(here("base/envoy.yaml")).unwrap();
    let begin = text.find("                  - name: oidc\n").unwrap();
    let end = text.find("                  - name: metadata\n").unwrap();
    let (before, behind) = text.split_at(end);
    let with = |another: &str| findings(&["-"], &format!("{before}{another}{behind}")).1;
    let told = with(&text[begin..end]);
    let shared: Vec<&Value> = told.iter().filter(|finding| finding["code"] == "shared_name").collect();
    let [shared] = shared.as_slice() else { panic!("{told:#?}") };
    assert!(shared["line"].as_u64() > Some(100) && shared["text"].as_str().unwrap().contains("a `name` of its own"));
    let other = text[begin..end].replace("name: oidc\n", "name: second\n");
    assert!(with(&other).iter().all(|finding| finding["code"] != "shared_name"));
    // A filter that a patch puts before all others is not one that stands before itself.
    let patch = "apiVersion: networking.istio.io/v1alpha3\nkind: EnvoyFilter\nmetadata: { name: oidc }\nspec:\n  configPatches:\n    - applyTo: HTTP_FILTER\n      patch:\n        operation: INSERT_FIRST\n        value:\n          name: oidc\n          typed_config:\n            \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n            config:\n              name: oidc\n              failure_policy: FAIL_RELOAD\n              configuration: { \"@type\": type.googleapis.com/google.protobuf.Struct, value: { providers: [{ issuer: \"https://idp.example.com\", cluster: \"outbound|443||idp.example.com\", audiences: [a] }] } }\n";
    assert_eq!(findings(&["-"], patch), (0, Vec::new()));
}

/// What can't be read says what to do.
#[test]
fn unreadable_files_are_told_with_a_remedy() {
    let path = std::env::temp_dir().join(format!("oidc-filter-latin-{}.yaml", std::process::id()));
    fs::write(&path, b"providers:\n  - name: caf\xe9\n").unwrap();
    let latin = run(&["lint", path.to_str().unwrap()], "");
    fs::remove_file(&path).unwrap();
    assert_eq!(latin.code, 2);
    assert!(latin.err.contains("line 2 is no text in UTF-8"), "{}", latin.err);
    let folder = run(&["lint", "docs"], "");
    assert_eq!(folder.code, 2);
    assert!(folder.err.contains("docs: is a folder: name the files in it"), "{}", folder.err);
}

/// No name of a file writes a line of its own into the report.
#[test]
fn a_finding_is_one_line() {
    let folder = std::env::temp_dir().join(format!("oidc-filter-names-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a\n\u{1b}[2Jb.yaml:1:1: note.yaml");
    fs::write(&path, "providers: []\n\"\\e[2J\\u2028\": 1\n").unwrap();
    let text = run(&["lint", path.to_str().unwrap()], "").out;
    let missing = run(&["lint", path.with_extension("\u{9b}x").to_str().unwrap()], "").err;
    fs::remove_dir_all(&folder).unwrap();
    let folder = folder.display().to_string();
    assert!(text.lines().all(|line| line.starts_with(&folder)) && text.contains("a\\n\\u{1b}[2Jb"), "{text}");
    assert!(
        !text.contains(['\u{1b}', '\u{2028}']) && !missing.contains('\u{9b}') && missing.lines().count() == 1,
        "{missing}"
    );
}

fn good() -> Vec<PathBuf> {
    let folder = fs::read_dir(here("good")).unwrap();
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

/// Every file below a folder that holds a configuration of the filter.
fn configured(folder: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        let relative = path.strip_prefix(root()).unwrap().to_str().unwrap().to_owned();
        // Grafana has providers, too, which issue nothing.
        let is_ours = |text: String| text.contains("providers") && text.contains("issuer");
        match path.extension().and_then(|extension| extension.to_str()) {
            None if path.is_dir() && !path.ends_with("node_modules") => found.extend(configured(&relative)),
            Some("yaml" | "json") if is_ours(fs::read_to_string(&path).unwrap()) => found.push(path),
            _ => {}
        }
    }
    found.sort();
    found
}

#[test]
fn what_is_sound_is_left_alone() {
    let mut count = 0;
    let bases = fs::read_dir(here("base")).unwrap().map(|entry| entry.unwrap().path());
    for path in good().into_iter().chain(bases) {
        assert_eq!(printed(&["lint", path.to_str().unwrap()], ""), "", "{}", path.display());
        count += 1;
    }
    for path in good() {
        for target in ["envoy", "istio", "traffic-extension", "envoy-gateway"] {
            let manifest = printed(&["render", target, path.to_str().unwrap()], "");
            let ended = run(&["lint", "-"], &manifest);
            assert_eq!((ended.code, ended.out.as_str()), (0, ""), "{target} of {}", path.display());
            count += 1;
        }
    }
    assert!(count >= 40, "{count}");
}

/// What people copy has no error, and no warning but the one that its page is about: Cognito's tokens have no audience.
#[test]
fn every_example_is_linted() {
    let examples = configured("examples");
    assert!(examples.len() >= 14, "{examples:?}");
    for path in examples {
        let (code, found) = findings(&[path.to_str().unwrap()], "");
        let is_known = |finding: &Value| path.ends_with("cognito.json") && finding["code"] == "any_audience";
        assert!(code == 0 && found.iter().all(is_known), "{}: {found:#?}", path.display());
    }
}

/// What `envoy/` shows without a safety net is told so, and nothing else.
#[test]
fn the_files_of_envoy_have_notes_at_most() {
    let files = configured("envoy");
    assert!(files.len() >= 7, "{files:?}");
    for path in files {
        let (code, found) = findings(&[path.to_str().unwrap()], "");
        let is_note = |finding: &Value| finding["code"] == "no_safety_net" && finding["level"] == "note";
        let is_unchecked = |finding: &Value| finding["code"] == "unchecked_variable" && finding["level"] == "note";
        let is_safe = ["safety-net.yaml", "routes.yaml", "verify.yaml"].iter().any(|name| path.ends_with(name));
        // A key stands in a variable, which is told as well.
        let is_note = |finding: &Value| is_note(finding) || path.ends_with("assertion.yaml") && is_unchecked(finding);
        assert!(code == 0 && found.iter().all(is_note), "{}: {found:#?}", path.display());
        assert_eq!(found.is_empty(), is_safe, "{}", path.display());
    }
}

/// 0 without errors, 1 with, 2 if a file can't be read; `--strict` counts warnings.
#[test]
fn exit_codes_are_for_scripts() {
    let good = here("good/minimal.json");
    let good = good.to_str().unwrap();
    let text = fs::read_to_string(good).unwrap();
    assert_eq!(run(&["lint", good], "").code, 0);
    assert_eq!(run(&["lint", "-"], &text.replace("audiences", "audience")).code, 1);
    let warned = text.replace("\"audiences\": [\"https://api.example.com\"]", "\"any_audience\": true");
    assert_eq!(run(&["lint", "-"], &warned).code, 0);
    assert_eq!(run(&["lint", "--strict", "-"], &warned).code, 1);
    let ended = run(&["lint", "no/such/file"], "");
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("no/such/file"), "{}", ended.err);
    assert_eq!(run(&["lint"], "").code, 2);
    assert_eq!(run(&["lint", "Cargo.toml"], "").code, 1);
}

#[test]
fn findings_are_lines_that_editors_follow() {
    let text = fs::read_to_string(here("good/keycloak.yaml")).unwrap().replace("audiences:", "audience:");
    let ended = run(&["lint", "-"], &text);
    assert!(
        ended.out.starts_with("-:6:5: error: providers[0].audience: unknown field, did you mean `audiences`?"),
        "{}",
        ended.out
    );
    assert!(ended.out.ends_with("[configuration]\n"), "{}", ended.out);
}

/// SARIF 2.1.0, sections 3.27 and 3.30: what those who show findings beside code need.
#[test]
fn findings_are_sarif() {
    let text = fs::read_to_string(here("good/keycloak.yaml")).unwrap().replace("audiences:", "audience:");
    let report: Value = serde_json::from_str(&run(&["lint", "--format", "sarif", "-"], &text).out).unwrap();
    assert_eq!(report["version"], "2.1.0");
    let run = &report["runs"][0];
    assert_eq!(run["tool"]["driver"]["name"], "oidc-filter");
    let result = &run["results"][0];
    assert_eq!((&result["ruleId"], &result["level"]), (&"configuration".into(), &"error".into()));
    let region = &result["locations"][0]["physicalLocation"]["region"];
    assert_eq!((&region["startLine"], &region["startColumn"]), (&6.into(), &5.into()));
}

/// A secret is in no finding, whatever is wrong with it.
#[test]
fn secrets_are_not_told() {
    let text = "providers:\n  - issuer: https://idp.example.com\n    audiences: [a]\n    introspection: { client_id: 1, client_secret: [s3cr3t-value] }\n";
    let ended = run(&["lint", "-"], text);
    assert_eq!(ended.code, 1);
    assert!(!ended.out.contains("s3cr3t-value"), "{}", ended.out);
    let text = text.replace("client_id: 1", "client_id: a").replace("[s3cr3t-value]", "\"s3cr3t-value\\n\"");
    let ended = run(&["lint", "-"], &text);
    assert!(ended.out.contains("line break") && !ended.out.contains("s3cr3t-value"), "{}", ended.out);
}

/// Files that belong together: a listener and its clusters.
#[test]
fn clusters_of_one_file_serve_filters_of_another() {
    let (lds, cds) = (here("base/lds.yaml"), here("base/cds.yaml"));
    assert_eq!(printed(&["lint", lds.to_str().unwrap(), cds.to_str().unwrap()], ""), "");
    let text = fs::read_to_string(&lds).unwrap().replace("cluster: keycloak", "cluster: keyclok");
    let (_, found) = findings(&[cds.to_str().unwrap(), "-"], &text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(found[0]["code"], "unknown_cluster");
    // Alone, nobody knows what there is.
    assert_eq!(run(&["lint", "-"], &text).out, "");
}

/// A value that is not known here can't be wrong here.
#[test]
fn variables_that_are_not_set_are_not_guessed() {
    let text = "providers:\n  - issuer: ${ISSUER}\n    audiences: [a]\n    clock_skew: ${SKEW}\n";
    let (code, found) = findings(&["-"], text);
    assert_eq!(code, 0, "{found:#?}");
    assert_eq!(found[0]["code"], "unchecked_variable", "{found:#?}");
    // Nor a key; and where nothing fits, that is no mistake of the configuration.
    for (field, value) in [
        ("jwks", "{ inline: \"${KEYS}\" }"),
        ("introspection", "{ client_id: a, client_auth: private_key_jwt, client_key: \"${KEY}\" }"),
        ("algorithms", "[\"${ALGORITHM}\"]"),
    ] {
        let text = format!("providers:\n  - issuer: https://a\n    audiences: [a]\n    {field}: {value}\n");
        let (code, found) = findings(&["-"], &text);
        assert_eq!(code, 0, "{field}: {found:#?}");
        assert_eq!(found[0]["code"], "unchecked_variable", "{field}: {found:#?}");
    }
}

/// What is no variable's name has no value anywhere.
#[test]
fn variables_without_a_name_are_mistakes() {
    for realm in ["${}", "${a-b}", "${REALM}${a b}", "${REALM}${"] {
        let (code, found) = findings(&["-"], &format!("provider: https://a\nrealm: \"{realm}\"\n"));
        assert_eq!((code, found.len()), (1, 1), "{realm}: {found:#?}");
        assert_eq!(found[0]["code"], "configuration", "{realm}: {found:#?}");
    }
}

/// The line of what stands last at this text.
fn line_of(text: &str, at: &str) -> Value {
    let begin = text.rfind(at).unwrap_or_else(|| panic!("{at}"));
    (text[..begin].matches('\n').count() + 1).into()
}

/// What Envoy discovers belongs where its name stands: what is around it is looked at there, and told there.
#[test]
fn a_filter_that_is_discovered_has_a_chain() {
    let (envoy, ecds) = (here("discovery/envoy.yaml"), here("base/ecds.yaml"));
    let bootstrap = fs::read_to_string(&envoy).unwrap();
    let (envoy, ecds) = (envoy.to_str().unwrap(), ecds.to_str().unwrap());
    assert_eq!(printed(&["lint", envoy, ecds], ""), "");
    let (code, found) = findings(&[envoy], "");
    assert!(code == 0 && found.len() == 1 && found[0]["level"] == "note", "{found:#?}");
    assert_eq!((&found[0]["code"], &found[0]["line"]), (&"discovered".into(), &line_of(&bootstrap, "- name: oidc")));
    for (find, put, code, at) in [
        (
            "- name: oidc\n",
            "- { name: authz, typed_config: { \"@type\": x/envoy.extensions.filters.http.ext_authz.v3.ExtAuthz } }\n                  - name: oidc\n",
            "order",
            "- { name: authz",
        ),
        ("max_requests: 2000", "max_requests: 3", "circuit_breaker", "max_requests"),
        ("trusted_ca", "no_ca", "cluster_without_check", "- name: idp"),
    ] {
        let text = bootstrap.replacen(find, put, 1);
        let (_, found) = findings(&["-", ecds], &text);
        assert_eq!(found.len(), 1, "{found:#?}");
        assert_eq!(
            (&found[0]["code"], &found[0]["file"], &found[0]["line"]),
            (&code.into(), &"-".into(), &line_of(&text, at))
        );
    }
    // What has another name is another filter's place, and what is missing behind is told of the filter.
    let (_, found) = findings(&["-", ecds], &bootstrap.replace("wasm.oidc.result", "wasm.other.result"));
    assert!(
        found.iter().any(|finding| finding["file"] == ecds && finding["code"] == "safety_net_wrong"
            || finding["code"] == "no_safety_net"),
        "{found:#?}"
    );
    let (_, found) = findings(&["-", ecds], &bootstrap.replace("- name: oidc\n", "- name: other\n"));
    assert_eq!(found, [] as [Value; 0]);
}

/// Routes that come by RDS are looked at where they stand.
#[test]
fn routes_of_another_file_are_those_of_the_chain() {
    let lds = fs::read_to_string(here("base/lds.yaml")).unwrap();
    let (before, rest) = lds.split_once("              route_config:\n").unwrap();
    let behind = rest
        .split_once("\n              http_filters:")
        .map_or(String::new(), |(_, rest)| format!("              http_filters:{rest}"));
    let lds =
        format!("{before}              rds: {{ route_config_name: shop, config_source: {{ ads: {{}} }} }}\n{behind}");
    let path = std::env::temp_dir().join(format!("oidc-filter-rds-{}.yaml", std::process::id()));
    let routes = |name: &str| {
        format!(
            "resources:\n  - \"@type\": type.googleapis.com/envoy.config.route.v3.RouteConfiguration\n    name: {name}\n    virtual_hosts:\n      - name: all\n        domains: [\"*\"]\n        typed_per_filter_config:\n          oidc: {{ \"@type\": type.googleapis.com/envoy.config.route.v3.FilterConfig, disabled: true }}\n"
        )
    };
    for (name, codes) in [("shop", vec!["disabled"]), ("other", vec![])] {
        fs::write(&path, routes(name)).unwrap();
        let (code, found) = findings(&["-", path.to_str().unwrap()], &lds);
        let found: Vec<(&str, &Value)> =
            found.iter().map(|finding| (finding["code"].as_str().unwrap(), &finding["line"])).collect();
        let line = Value::from(8);
        let expected: Vec<(&str, &Value)> = codes.into_iter().map(|code| (code, &line)).collect();
        assert_eq!((code, found), (0, expected), "{lds}");
    }
    fs::remove_file(&path).unwrap();
}

/// What is wrong with a cluster is told of the file that it is in.
#[test]
fn a_cluster_is_told_of_its_own_file() {
    let (lds, cds) = (here("base/lds.yaml"), here("base/cds.yaml"));
    let text = fs::read_to_string(&cds).unwrap().replace("trusted_ca", "no_ca");
    let (_, found) = findings(&[lds.to_str().unwrap(), "-"], &text);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!((&found[0]["code"], &found[0]["file"]), (&"cluster_without_check".into(), &"-".into()));
    assert_eq!(
        found[0]["line"],
        line_of(&text, "- \"@type\": type.googleapis.com/envoy.config.cluster.v3.Cluster\n    name: keycloak")
    );
}

/// Beside a configuration, files that hold none may be what belongs around it; alone, they are not what somebody means.
#[test]
fn files_beside_a_configuration() {
    let (lds, cds, istio) = (here("base/lds.yaml"), here("base/cds.yaml"), here("base/istio.yaml"));
    let bootstrap =
        "node: { id: a, cluster: a }\ndynamic_resources:\n  lds_config: { path_config_source: { path: lds.yaml } }\n";
    let gateway = "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: { name: eg }\n";
    for (text, others) in [(bootstrap, [&lds, &cds].as_slice()), (gateway, &[&istio])] {
        let others: Vec<&str> = others.iter().map(|path| path.to_str().unwrap()).collect();
        let ended = run(&[&["lint", "-"], others.as_slice()].concat(), text);
        assert_eq!((ended.code, ended.out.as_str()), (0, ""));
        assert_eq!(findings(&["-"], text).1[0]["code"], "no_configuration");
    }
    let (code, found) = findings(&["-", istio.to_str().unwrap()], "a: 1\n");
    assert!(code == 1 && found[0]["code"] == "no_configuration", "{found:#?}");
}
