//! Where `lint` says that something is, in files as people write them: manifests of meshes, answers of xDS, several documents, anchors,
//! tabs, line ends of Windows, byte order marks, JSON with comments.

use crate::{here, root, run};
use base64::Engine as _;
use serde_json::Value;
use std::fs;

/// Stands in a text before what a finding must point at, and is taken out of it.
const MARK: char = '▸';

/// The text without its mark, and the line and column of what stood behind it.
fn unmarked(text: &str) -> (String, Value) {
    let (before, after) = text.split_once(MARK).unwrap_or_else(|| panic!("no {MARK} in {text}"));
    let line = before.split('\n').next_back().unwrap();
    let column = line.trim_start_matches('\u{feff}').chars().count() + 1;
    (format!("{before}{after}"), serde_json::json!([before.split('\n').count(), column]))
}

/// The code, text, line and column of each finding but notes in a file of this name.
fn findings(name: &str, text: &str) -> Vec<(String, String, Value)> {
    let folder = root().join("target/tmp/places");
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join(name);
    fs::write(&path, text).unwrap();
    let ended = run(&["lint", "--format", "json", path.to_str().unwrap()], "");
    let report: Value = serde_json::from_str(&ended.out).unwrap_or_else(|error| panic!("{error}: {}", ended.err));
    let found = report["findings"].as_array().unwrap().iter().filter(|finding| finding["level"] != "note");
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    found
        .map(|finding| {
            let place = serde_json::json!([finding["line"], finding["column"]]);
            (word(&finding["code"]), word(&finding["text"]), place)
        })
        .collect()
}

/// There is one finding, of this kind, at the mark.
#[track_caller]
fn points(name: &str, marked: &str, code: &str, says: &str) {
    let (text, place) = unmarked(marked);
    let found = findings(name, &text);
    let [(kind, said, at)] = found.as_slice() else { panic!("{name}: {found:#?}") };
    assert!(kind == code && said.contains(says) && *at == place, "{name}, at {place}: {found:#?}");
}

/// The first `find` of a sound file becomes `put`, which has the mark.
fn planted(base: &str, find: &str, put: &str) -> String {
    let text = fs::read_to_string(here(base)).unwrap();
    assert!(text.contains(find), "{base}: {find}");
    text.replacen(find, put, 1)
}

const BARE: &str = "providers:
  - issuer: https://idp.example.com
    cluster: idp
    audiences: [https://api.example.com]
    ▸clock_skw: 30s
claim_headers:
  - { header: x-user, claim: sub }
";

const MISSPELT: &str = "did you mean `clock_skew`?";

#[test]
fn line_ends_of_windows() {
    let windows = |text: &str| text.replace('\n', "\r\n");
    points("windows.yaml", &windows(BARE), "configuration", MISSPELT);
    // Within a text in a text, too.
    let ecds =
        planted("base/ecds.yaml", "\"audiences\": [", "\"clock_skew\": \"1s\",\n                  ▸\"audience\": [");
    points("windows-ecds.yaml", &windows(&ecds), "configuration", "did you mean `audiences`?");
    let json =
        "{\n  \"providers\": [\n    { \"issuer\": \"https://idp.example.com\", ▸\"audience\": [\"api\"] }\n  ]\n}\n";
    points("windows.json", &windows(json), "configuration", "did you mean `audiences`?");
}

#[test]
fn byte_order_marks() {
    points("bom.yaml", &format!("\u{feff}{BARE}"), "configuration", MISSPELT);
    points(
        "bom-first.yaml",
        "\u{feff}▸providrs: []\nclaim_headers: []\n",
        "configuration",
        "did you mean `providers`?",
    );
    // No reader of JSON takes one: Envoy doesn't.
    points("bom.json", "▸\u{feff}{\"providers\": []}\n", "syntax", "byte order mark");
}

#[test]
fn tabs() {
    points("tab.yaml", "providers:\n\t▸- issuer: https://a\n", "syntax", "a tab stands in this line");
    points(
        "tab-behind.yaml",
        &BARE.replace("▸clock_skw: 30s", "clock_skew:\t▸30s"),
        "syntax",
        "a tab stands in this line",
    );
    // The value before it begins in another line.
    points(
        "tab-before-a-name.yaml",
        &BARE.replace("▸clock_skw: 30s", "clock_skew: 30s").replace("    audiences", "▸\taudiences"),
        "syntax",
        "a tab stands in this line",
    );
    // Between values, and before comments, nobody minds one.
    points(
        "tab-comment.yaml",
        &BARE.replace("cluster: idp\n", "cluster: idp\t# a comment\n"),
        "configuration",
        MISSPELT,
    );
    points(
        "tab.json",
        "{\n\t\"providers\": [\n\t\t{ \"issuer\": \"https://a\",\t▸\"audience\": [\"api\"] }\n\t]\n}\n",
        "configuration",
        "`audiences`",
    );
}

/// Columns count characters, as editors do.
#[test]
fn letters_beyond_ascii() {
    let text = "providers:\n  - { issuer: https://a, audiences: [\"ä→😀\"], ▸clock_skw: 30s }\n";
    points("wide.yaml", text, "configuration", MISSPELT);
    points("wide.json", "{ \"provider\": \"https://ä→😀\" ▸\"enforce\": true }\n", "syntax", "not a JSON text");
    let ecds = planted("base/ecds.yaml", "\"cluster\": \"idp\",", "\"name\": \"ä→😀\" ▸\"cluster\": \"idp\",");
    points("wide-ecds.yaml", &ecds, "configuration", "not a JSON text");
}

#[test]
fn json_with_comments() {
    let provider = "\"providers\": [{ \"issuer\": \"https://idp.example.com\", \"audiences\": [\"api\"] }]";
    for (name, text) in [
        ("line", format!("{{\n  ▸// who signs\n  {provider}\n}}\n")),
        ("block", format!("{{\n  ▸/* who signs */ {provider}\n}}\n")),
        ("hash", format!("{{\n  {provider}, ▸# who signs\n  \"enforce\": true\n}}\n")),
        ("comma", format!("{{\n  {provider}▸,\n}}\n")),
    ] {
        // Where the parser stood is the comment, or just behind the comma that nothing follows.
        if name == "comma" {
            let found = findings("comma.json", &text.replace(MARK, ""));
            assert!(found.len() == 1 && found[0].0 == "syntax" && found[0].1.contains("trailing comma"), "{found:#?}");
            continue;
        }
        points(&format!("{name}.json"), &text, "syntax", "not a JSON text");
        // YAML has comments, of its own kind.
        let found = findings(&format!("{name}.yaml"), &text.replace(MARK, ""));
        assert_eq!(found.is_empty(), name == "hash", "{name}: {found:#?}");
        assert!(found.iter().all(|(code, ..)| code == "syntax"), "{name}: {found:#?}");
    }
    // YAML in braces is none of JSON, and its faults are those of YAML.
    let text =
        "{ providers: [\n  { issuer: https://a, audiences: [api] },\n  { issuer: https://b, audiences: [api] ▸]\n}\n";
    points("flow.yaml", text, "syntax", "flow mapping");
}

#[test]
fn a_name_that_is_there_twice() {
    points(
        "twice.yaml",
        &BARE.replace("▸clock_skw: 30s", "▸cluster: other"),
        "syntax",
        "`cluster` is given twice, first in line 3",
    );
    points(
        "twice.json",
        "{ \"enforce\": true,\n  \"provider\": \"https://a\", ▸\"enforce\": false }\n",
        "syntax",
        "first in line 1",
    );
    let ecds = planted(
        "base/ecds.yaml",
        "\"cluster\": \"idp\",",
        "\"cluster\": \"idp\",\n                  ▸\"cluster\": \"other\",",
    );
    points("twice-ecds.yaml", &ecds, "configuration", "given twice");
}

#[test]
fn several_documents() {
    let behind = format!(
        "# nothing but a comment\n---\n---\nkind: ConfigMap\napiVersion: v1\ndata: {{ clock_skw: 1 }}\n---\n{BARE}...\n"
    );
    points("documents.yaml", &behind, "configuration", MISSPELT);
    let istio = planted("base/istio.yaml", "failStrategy: FAIL_RELOAD", "▸failStrategy: FAIL_OPEN");
    points(
        "behind-a-service.yaml",
        &format!("apiVersion: v1\nkind: Service\nmetadata: {{ name: a }}\n---\n{istio}"),
        "fail_open",
        "FAIL_RELOAD",
    );
}

#[test]
fn manifests_of_meshes() {
    for (base, find, put, code, says) in [
        ("istio.yaml", "audiences: [", "▸audience: [", "configuration", "did you mean `audiences`?"),
        (
            "istio.yaml",
            "cluster: \"outbound|443||idp.example.com\"",
            "▸cluster: idp",
            "unknown_cluster",
            "outbound|443||",
        ),
        ("istio.yaml", "phase: AUTHN", "▸phase: STATS", "phase", "AUTHN"),
        ("traffic-extension.yaml", "claim: sub }", "claim: sub, ▸prefx: a }", "configuration", "unknown field"),
        ("traffic-extension.yaml", "failStrategy: FAIL_RELOAD", "▸failStrategy: FAIL_OPEN", "fail_open", "FAIL_RELOAD"),
        (
            "envoy-gateway.yaml",
            "any_of: [shop-admin]",
            "▸any_off: [shop-admin]",
            "configuration",
            "did you mean `any_of`?",
        ),
        ("envoy-gateway.yaml", "failOpen: false", "▸failOpen: true", "fail_open", "false"),
        ("envoy-gateway.yaml", "hostKeys: [RS_SECRET]", "hostKeys: [OTHER]", "configuration", "RS_SECRET"),
    ] {
        let text = planted(&format!("base/{base}"), find, put);
        // Of a variable that is not handed on, the field that uses it is the place.
        let text = if put.contains(MARK) { text } else { text.replacen("client_secret:", "▸client_secret:", 1) };
        points(&format!("mesh-{base}"), &text, code, says);
    }
}

/// An error in what an alias stands for is where that is written.
#[test]
fn anchors() {
    let sound =
        "providers:\n  - { issuer: https://a, audiences: &api [api] }\n  - { issuer: https://b, audiences: *api }\n";
    assert_eq!(findings("aliases.yaml", sound), []);
    let wrong = "providers:\n  - { issuer: https://a, audiences: [api], jwks: &jwks { ▸cooldwn: 5m } }\n";
    points("anchor.yaml", wrong, "configuration", "did you mean `cooldown`?");
    let bootstrap = planted(
        "base/envoy.yaml",
        "issuer: https://idp.example.com/realms/shop",
        "issuer: &issuer ftp://idp.example.com",
    );
    points(
        "anchor-envoy.yaml",
        &bootstrap.replacen("issuer: &issuer", "▸issuer: &issuer", 1),
        "configuration",
        "https",
    );
}

/// Kubernetes merges, Envoy does not; what is an object's own holds, wherever the merge stands.
#[test]
fn merge_keys() {
    let members = "name: &idp { audiences: [api], validation: jwt }";
    let manifest = |provider: &str| {
        planted(
            "base/traffic-extension.yaml",
            "metadata: { name: oidc,",
            &format!("metadata: {{ annotations: {{ {members} }}, name: oidc,"),
        )
        .replacen(
            "        - name: keycloak\n",
            &format!("        - name: keycloak\n          {provider}\n"),
            1,
        )
    };
    for provider in ["<<: *idp", "<<: [*idp, { clock_skew: 1s }]"] {
        let found = findings("merge.yaml", &manifest(provider));
        // The provider has audiences of its own, and is asked by introspection.
        assert!(found.iter().all(|(code, ..)| code == "idle_field"), "{provider}: {found:#?}");
    }
    points("merge-wrong.yaml", &manifest("<<: { ▸clock_skw: 1s }"), "configuration", MISSPELT);
    let clusters = planted(
        "base/envoy.yaml",
        "\n  clusters:\n    - name: keycloak",
        "\n  clusters:\n    - ▸<<: { alt_stat_name: a }\n      name: keycloak",
    );
    points("merge-envoy.yaml", &clusters, "merge_key", "Envoy knows no merge keys");
}

/// Kubernetes reads some names as booleans, and others the filter gets as they are written.
#[test]
fn names_that_are_words() {
    let key = "jwks: { inline: { keys: [{ kty: EC, crv: P-256, kid: a, x: f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU, y: x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0 }] } }";
    let bare = BARE.replace("▸clock_skw: 30s", key);
    assert_eq!(findings("names.yaml", &bare), []);
    let manifest = |key: &str| {
        let config = BARE.replace("▸clock_skw: 30s", key).replace("idp\n", "\"outbound|443||idp.example.com\"\n");
        let config = indented(&config, 4);
        format!(
            "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: {{ name: oidc }}\nspec:\n  phase: AUTHN\n  url: oci://a/oidc-filter\n  pluginConfig:\n{config}"
        )
    };
    points("names-of-istio.yaml", &manifest(&key.replace("y: x_", "▸y: x_")), "boolean_name", "write it in quotes");
    assert_eq!(findings("names-in-quotes.yaml", &manifest(&key.replace("y: x_", "\"y\": x_"))), []);
}

/// What is no configuration of the filter is told so, at its begin.
#[test]
fn nothing_that_is_known() {
    for (name, text) in [
        ("empty.yaml", "▸"),
        ("comments.yaml", "▸# nothing\n"),
        ("other.json", "▸{ \"a\": 1 }\n"),
        ("list.yaml", "▸- a\n"),
    ] {
        points(name, text, "no_configuration", "holds no configuration of the filter");
    }
}

/// Lists need the module that looks at responses; whoever names the other has an Envoy that refuses its configuration.
#[test]
fn the_module_that_filters_lists() {
    let mcp =
        "mcp: { resource: https://api.example.com, tools: [{ name: \"*\", scopes: [use] }], ▸filter_lists: true }";
    for (base, find, plain, lists) in [
        ("envoy.yaml", "                            claim_headers:", "oidc_filter.wasm", "oidc_filter_lists.wasm"),
        ("istio.yaml", "    claim_headers:", "oidc-filter:0.1.0", "oidc-filter-lists:0.1.0"),
        ("traffic-extension.yaml", "      claim_headers:", "oidc-filter:0.1.0", "oidc-filter@sha256:0"),
        ("envoy-gateway.yaml", "        claim_headers:", "oidc-filter:0.1.0", "own:1"),
    ] {
        let indent = " ".repeat(find.len() - find.trim_start().len());
        let asking = planted(&format!("base/{base}"), find, &format!("{indent}{mcp}\n{find}"));
        points(&format!("lists-{base}"), &asking, "lists_module", "make wasm-lists");
        let found = findings(&format!("lists-{base}"), &asking.replace(MARK, "").replace(plain, lists));
        assert_eq!(found.is_empty(), !lists.contains('@'), "{base}: {found:#?}");
    }
    let idle = planted(
        "base/envoy.yaml",
        "filename: target/wasm32-wasip1/release/oidc_filter.wasm",
        "filename: ▸/etc/envoy/oidc_filter_lists.wasm",
    );
    points("lists-idle.yaml", &idle, "lists_module", "which nothing here asks for");
}

/// The base for ECDS with its JSON text written in another way, which has the mark in it.
fn text_as(write: impl Fn(&str) -> String) -> String {
    let base = fs::read_to_string(here("base/ecds.yaml")).unwrap();
    let (before, text) = base.split_once("value: |\n").unwrap();
    let text: String = text.lines().map(|line| format!("{}\n", line.strip_prefix("            ").unwrap())).collect();
    format!("{before}value: {}", write(&text.replace("\"audiences\"", "▸\"audience\"")))
}

fn indented(text: &str, spaces: usize) -> String {
    text.lines().map(|line| format!("{}{line}\n", " ".repeat(spaces))).collect()
}

/// However a text is written in YAML, what is wrong in it is found where it stands.
#[test]
fn texts_in_texts() {
    let one_line = |text: &str| text.lines().map(str::trim).collect::<Vec<_>>().join(" ");
    let escaped = |text: &str| one_line(text).replace('"', "\\\"");
    for (name, text) in [
        ("literal", text_as(|text| format!("|\n{}", indented(text, 12)))),
        ("comment", text_as(|text| format!("| # the configuration\n{}", indented(text, 12)))),
        ("keep", text_as(|text| format!("|+\n\n{}\n\n", indented(text, 14)))),
        ("number", text_as(|text| format!("|2\n{}", indented(text, 15)))),
        ("folded", text_as(|text| format!(">-\n{}", indented(text, 12)))),
        ("single", text_as(|text| format!("'{}'\n", one_line(&text.replace("api.", "it''s.api."))))),
        ("lines", text_as(|text| format!("'{}'\n", text.trim_end().replace('\n', "\n              ")))),
        ("double", text_as(|text| format!("\"\\u007b{}\"\n", escaped(text).trim_start_matches('{')))),
        (
            "broken",
            text_as(|text| {
                format!(
                    "\"{}\"\n",
                    escaped(text).replace("cluster", "clu\\\n              \\x73ter\\n").replace("\\n\\\"", "\\\"")
                )
            }),
        ),
    ] {
        points(&format!("text-{name}.yaml"), &text, "configuration", "did you mean `audiences`?");
    }
    // So is what is no JSON.
    let text = text_as(|text| format!("'{}'\n", one_line(text)));
    let text = text.replace("\"cluster\": \"idp\", ▸\"audience\"", "\"cluster\": \"idp\" ▸\"audience\"");
    points("text-syntax.yaml", &text, "configuration", "not a JSON text");
}

/// Who writes comments into JSON is told so, and not to write YAML.
#[test]
fn texts_with_comments() {
    for comment in ["// ours", "/* ours */", "# ours"] {
        let text = text_as(|text| format!("|\n{}", indented(&format!("▸{comment}\n{}", text.replace(MARK, "")), 12)));
        points("comments.yaml", &text, "configuration", "JSON has no comments");
    }
}

/// Octets stand in base64, within which nobody looks for a column.
#[test]
fn texts_as_octets() {
    let octets = |text: &str| {
        let encoded = base64::prelude::BASE64_STANDARD.encode(text.replace(MARK, ""));
        format!("▸{encoded}\n")
    };
    let wrong = text_as(octets).replace("StringValue", "BytesValue");
    points("octets.yaml", &wrong, "configuration", "did you mean `audiences`?");
    // Protobuf takes the other alphabet, too, and no padding.
    let others = wrong.replace('+', "-").replace('/', "_").replace("type.googleapis.com_", "type.googleapis.com/");
    points("octets-of-urls.yaml", &others.replace('=', ""), "configuration", "did you mean `audiences`?");
    let sound = text_as(|text| octets(&text.replace("audience\"", "audiences\""))).replace("StringValue", "BytesValue");
    assert_eq!(findings("octets-sound.yaml", &sound.replace(MARK, "")), []);
}

/// Other filters are for OpenID Connect, too, and called so: what is not this one's is not held to its fields.
#[test]
fn filters_of_others_with_a_name_like_this_one() {
    let envoy = |configuration: &str| {
        format!(
            "http_filters:\n- name: envoy.filters.http.wasm\n  typed_config:\n    \"@type\": type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm\n    config:\n      name: oidc\n      configuration:\n        \"@type\": type.googleapis.com/google.protobuf.StringValue\n        value: {configuration}\n"
        )
    };
    let codes = |text: &str| findings("another.yaml", text).into_iter().map(|(code, ..)| code).collect::<Vec<_>>();
    for theirs in
        ["'{\"auth_host\": \"idp\", \"client_id\": \"a\"}'", "|\n          config_path: /a\n          client_id: b"]
    {
        assert_eq!(codes(&envoy(theirs)), ["no_configuration"], "{theirs}");
    }
    let plugin = "apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPlugin\nmetadata: { name: oidc }\nspec: { url: oci://example.com/oidc, pluginConfig: { redirect_uri: a, client_id: b } }\n";
    assert_eq!(codes(plugin), ["no_configuration"]);
    // One with a misspelt field is this one.
    for ours in ["'{\"provders\": []}'", "'{}'"] {
        assert!(codes(&envoy(ours)).contains(&"configuration".to_owned()), "{ours}");
    }
}

/// What the API of Kubernetes answers for all resources of a kind, and what Envoy's admin interface tells of itself.
#[test]
fn answers_of_servers() {
    let istio = fs::read_to_string(here("base/istio.yaml")).unwrap();
    let plugin = istio.split("---\n").next().unwrap().replace("failStrategy: FAIL_RELOAD", "▸failStrategy: FAIL_OPEN");
    let plugin: String =
        plugin.lines().filter(|line| !line.starts_with('#')).map(|line| format!("    {line}\n")).collect();
    let list = format!("apiVersion: extensions.istio.io/v1alpha1\nkind: WasmPluginList\nitems:\n  -\n{plugin}");
    let (text, place) = unmarked(&list);
    let found = findings("list-of-plugins.yaml", &text);
    assert!(found.iter().any(|(code, _, at)| code == "fail_open" && *at == place), "{found:#?}");
    let envoy = fs::read_to_string(here("base/envoy.yaml")).unwrap();
    let (head, fixed) = envoy.split_once("static_resources:\n").unwrap();
    assert!(!head.is_empty());
    let (listeners, clusters) = fixed.split_once("  clusters:\n").unwrap();
    let clusters = clusters.replace("    - name: ", "    - cluster:\n      name: ").replace("\n      ", "\n        ");
    let dump = format!("configs:\n  - dynamic_listeners:\n{}    static_clusters:\n{clusters}", indented(listeners, 6));
    assert_eq!(findings("dump.yaml", &dump), []);
    let missing = dump.replacen("cluster: keycloak\n", "▸cluster: keycloack\n", 1);
    points("dump-of-another.yaml", &missing, "unknown_cluster", "did you mean `keycloak`?");
}

/// What `kubectl get` prints, a ConfigMap with Envoy's bootstrap, and a template that nobody has rendered.
#[test]
fn documents_in_documents() {
    let istio = planted("base/istio.yaml", "failStrategy: FAIL_RELOAD", "▸failStrategy: FAIL_OPEN");
    let items: Vec<String> = istio.split("---\n").map(|item| format!("- # an item\n{}", indented(item, 2))).collect();
    points("list.yaml", &format!("kind: List\napiVersion: v1\nitems:\n{}", items.concat()), "fail_open", "FAIL_RELOAD");
    let map = |file: &str| {
        format!(
            "kind: ConfigMap\napiVersion: v1\ndata:\n  other.yaml: \"providers: nobody's\"\n  envoy.yaml: |\n{}",
            indented(file, 4)
        )
    };
    let wrong = planted("base/envoy.yaml", "audiences: [", "▸audience: [");
    points("configmap.yaml", &map(&wrong), "configuration", "did you mean `audiences`?");
    assert_eq!(findings("configmap-sound.yaml", &map(&wrong.replace("▸audience", "audiences"))), []);
    let template = planted("base/istio.yaml", "namespace: istio-system", "namespace: {▸{ .Release.Namespace }}");
    let found = findings("template.yaml", &template.replace(MARK, ""));
    assert!(found.len() == 1 && found[0].1.contains("helm template"), "{found:#?}");
}
