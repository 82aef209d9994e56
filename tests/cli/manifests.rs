//! `render`: what it makes of a configuration holds what belongs around the filter. `tests/envoy/test_cli.py` has Envoy and the schemas
//! judge the same manifests.

use crate::{here, printed, root, run};

fn rendered(arguments: &[&str], name: &str) -> String {
    let file = here(name);
    printed(&[&["render"], arguments, &[file.to_str().unwrap()]].concat(), "")
}

#[test]
fn a_bootstrap_has_all_that_belongs_around_the_filter() {
    let text = rendered(&["envoy"], "good/keycloak.yaml");
    for part in [
        "tag_name: reason",
        "failure_policy: FAIL_RELOAD",
        "header: x-oidc-metadata-identity",
        "key: wasm.oidc.result",
        "regex: \"allowed|bypassed\"",
        "sni: idp.example.com",
        "matcher:",
        "trusted_ca:",
        "headers_with_underscores_action: REJECT_REQUEST",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    // Where nothing passes without a token, only `allowed` does.
    assert!(rendered(&["envoy"], "good/minimal.json").contains("exact: allowed"));
}

#[test]
fn variables_are_handed_to_the_module() {
    for (target, part) in [
        ("envoy", "host_env_keys: [RS_SECRET]"),
        ("istio", "{ name: RS_SECRET, valueFrom: HOST }"),
        ("traffic-extension", "{ name: RS_SECRET, valueFrom: HOST }"),
        ("envoy-gateway", "hostKeys: [RS_SECRET]"),
    ] {
        let text = rendered(&[target], "good/opaque.yaml");
        assert!(text.contains(part), "{target}:\n{text}");
        assert!(text.contains("\"${RS_SECRET}\""), "{target}");
    }
}

#[test]
fn istio_gets_its_own_names_of_clusters() {
    let text = rendered(&["istio"], "good/opaque.yaml");
    assert!(text.contains("cluster: \"outbound|443||idp.example.com\""), "{text}");
    assert!(text.contains("idp2.example.com: \"outbound|443||idp2.example.com\""), "{text}");
    assert_eq!(text.matches("kind: ServiceEntry").count(), 2);
    assert_eq!(text.matches("kind: DestinationRule").count(), 2);
    // So does whoever is asked beside the providers.
    let text = rendered(&["istio"], "good/enrichment.yaml");
    for host in ["attributes.example.com", "exchange.example.com"] {
        assert!(text.contains(&format!("cluster: \"outbound|443||{host}\"")), "{text}");
    }
    assert_eq!(text.matches("kind: ServiceEntry").count(), 3);
    let text = rendered(&["istio"], "good/authorizer.yaml");
    assert!(text.contains("cluster: \"outbound|443||authorizer.example.com\""), "{text}");
}

/// The compact form has no place for a cluster, which Istio needs: it is written out, and means the same.
#[test]
fn the_compact_form_is_written_out() {
    let compact = "provider: https://idp.example.com\naccessToken: { location: header, key: Authorization }\n";
    let text = printed(&["render", "istio", "-"], compact);
    for part in
        ["validation: userinfo", "enforce: false", "enforce_response_code: 403", "outbound|443||idp.example.com"]
    {
        assert!(text.contains(part), "{part}:\n{text}");
    }
}

/// A module that filters lists is another one: what is rendered names it, and `lint` agrees.
#[test]
fn who_filters_lists_gets_the_module_that_does() {
    let mcp = "mcp: { resource: https://api.example.com, default: { scopes: [use] }, filter_lists: true }\n";
    let text = std::fs::read_to_string(here("good/keycloak.yaml")).unwrap() + mcp;
    for (target, part) in [
        ("envoy", "filename: /etc/envoy/oidc_filter_lists.wasm"),
        ("istio", "registry.example.com/oidc-filter-lists:"),
        ("traffic-extension", "registry.example.com/oidc-filter-lists:"),
        ("envoy-gateway", "registry.example.com/oidc-filter-lists:"),
    ] {
        let manifest = printed(&["render", target, "-"], &text);
        assert!(manifest.contains(part), "{target}:\n{manifest}");
        let found = run(&["lint", "-"], &manifest).out;
        assert!(!found.contains("lists_module"), "{target}: {found}");
    }
    let own = printed(&["render", "envoy", "-", "--module", "/own/oidc_filter.wasm"], &text);
    assert!(run(&["lint", "-"], &own).out.contains("lists_module"), "{own}");
}

/// The example is what is rendered for Keycloak's: `BLESS=1` writes it anew.
#[test]
fn the_example_of_a_traffic_extension_is_rendered() {
    let made = printed(&["render", "traffic-extension", "examples/providers/keycloak.json"], "");
    let path = root().join("examples/istio-traffic-extension.yaml");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), made);
}

/// An address has no name to ask for, and stands in a certificate as what it is.
#[test]
fn a_provider_may_be_an_address() {
    for (authority, address, port) in [
        ("127.0.0.1:8443", "address: \"127.0.0.1\"", 8443),
        ("[2001:db8::1:2]", "address: \"2001:db8::1:2\"", 443),
        ("[::1]:9443", "address: \"::1\"", 9443),
        ("idp.example.com:8443", "address: idp.example.com", 8443),
    ] {
        let text = format!("providers: {{ issuer: \"https://{authority}\", cluster: idp, audiences: [api] }}\n");
        let manifest = printed(&["render", "envoy", "-"], &text);
        let cluster = manifest.split("- name: idp\n").nth(1).unwrap().split("- name: upstream").next().unwrap();
        let is_named = authority.starts_with("idp");
        assert!(cluster.contains(&format!("{{ {address}, port_value: {port} }}")), "{cluster}");
        assert_eq!(
            cluster.contains("STRICT_DNS") && cluster.contains("sni:") && cluster.contains("san_type: DNS"),
            is_named,
            "{cluster}"
        );
        assert_eq!(cluster.contains("STATIC") && cluster.contains("san_type: IP_ADDRESS"), !is_named, "{cluster}");
    }
}

/// Istio takes no address for a host: it gets a name, and stands in the certificate as what it is. Of one host there is one ServiceEntry, and
/// one DestinationRule, however many ports and clusters lead to it.
#[test]
fn istio_reaches_addresses_and_ports() {
    let text = rendered(&["istio"], "good/addresses.yaml");
    for part in [
        "cluster: \"outbound|8443||ip-192-0-2-7.internal\"",
        "cluster: \"outbound|443||ip-2001-db8-0-0-0-0-0-7.internal\"",
        "hosts: [ip-2001-db8-0-0-0-0-0-7.internal]",
        "resolution: STATIC",
        "address: \"2001:db8::7\"",
        "subjectAltNames: [\"192.0.2.7\"]",
        "name: http-tls-8443",
    ] {
        assert!(text.contains(part), "{part}:\n{text}");
    }
    assert!(!text.contains("sni: \"192"), "{text}");
    assert_eq!((text.matches("kind: ServiceEntry").count(), text.matches("kind: DestinationRule").count()), (3, 3));
    // TLS at one port of a host, and none at another.
    let both = "providers:\n  - { issuer: \"https://idp.example.com\", cluster: a, audiences: [a] }\n  - { issuer: \"http://idp.example.com:8080\", name: b, cluster: b, audiences: [a] }\n";
    let text = printed(&["render", "istio", "-", "--trusted-ca", "/etc/own.pem"], both);
    assert!(text.contains("portLevelSettings") && text.contains("caCertificates: /etc/own.pem"), "{text}");
    assert!(text.contains("outbound|8080||idp") && text.matches("mode: SIMPLE").count() == 1, "{text}");
}

/// Two places behind one cluster: half of the calls would come to the wrong one.
#[test]
fn a_cluster_leads_to_one_place() {
    let text = "providers:\n  - { issuer: \"https://idp.example.com/a\", audiences: [a] }\n  - { issuer: \"https://idp.example.com:8443/b\", name: b, audiences: [a] }\n";
    let ended = run(&["render", "envoy", "-"], text);
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(ended.err.contains("https://idp.example.com:443 and to https://idp.example.com:8443"), "{}", ended.err);
    let named = text.replace("name: b", "name: b, cluster: b");
    let manifest = printed(&["render", "envoy", "-", "--trusted-ca", "/etc/own.pem"], &named);
    assert_eq!(manifest.matches("filename: /etc/own.pem").count(), 2, "{manifest}");
}

#[test]
fn a_digest_pins_what_is_run() {
    let digest = "0".repeat(64);
    let text =
        rendered(&["istio", "--sha256", &digest, "--image", "registry.example.com:5000/f:1.2"], "good/minimal.json");
    assert!(text.contains(&format!("url: \"oci://registry.example.com:5000/f@sha256:{digest}\"")), "{text}");
    let text = rendered(&["envoy-gateway", "--sha256", &digest], "good/minimal.json");
    assert!(text.contains(&format!("sha256: \"{digest}\"")), "{text}");
}

#[test]
fn what_the_filter_refuses_is_not_rendered() {
    let ended = run(&["render", "envoy", "-"], "providers: []\n");
    assert_eq!((ended.code, ended.out.as_str()), (2, ""));
    assert!(ended.err.contains("providers: required"), "{}", ended.err);
    assert_eq!(run(&["render", "envoy", "-"], "a: [").code, 2);
}

/// What would make a manifest that nobody takes is refused where it is written.
#[test]
fn options_that_fit_nowhere_are_refused() {
    for (target, option, value, says) in [
        ("envoy", "--name", "a b", "expected letters, digits"),
        ("envoy", "--name", "", "expected letters, digits"),
        ("istio", "--name", "Shop_Filter", "write it in lower case"),
        ("istio", "--namespace", "a/b", "expected letters, digits"),
        ("envoy", "--port", "0", "1..=65535"),
        ("envoy", "--upstream", "service", "expected host and port"),
        ("envoy", "--upstream", "::1:8080", "expected host and port"),
        ("envoy", "--upstream", "service:0", "expected host and port"),
        ("istio", "--selector", "shop", "expected one label"),
        ("istio", "--selector", "a=b,c=d", "expected one label"),
        ("istio", "--sha256", "abc", "64 hexadecimal digits"),
        ("istio", "--image", "", "expected an image"),
        ("envoy", "--trusted-ca", "", "value"),
    ] {
        let ended = run(&["render", target, here("good/minimal.json").to_str().unwrap(), option, value], "");
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{target} {option} {value}");
        assert!(ended.err.contains(says), "{target} {option} {value}: {}", ended.err);
    }
    for file in ["base/envoy.yaml", "base/ecds.yaml"] {
        let ended = run(&["render", "envoy", here(file).to_str().unwrap()], "");
        assert_eq!((ended.code, ended.out.as_str()), (2, ""), "{file}");
        assert!(ended.err.contains("holds more than the configuration"), "{}", ended.err);
    }
    let text = std::fs::read_to_string(here("good/keycloak.yaml")).unwrap();
    let ended = run(&["render", "envoy", "-"], &text.replace("cluster: keycloak", "cluster: upstream"));
    assert!(ended.code == 2 && ended.err.contains("is that of the service behind"), "{}", ended.err);
}
