//! How a host is told to run the module: what it does after a crash, and when bodies may pass.

use super::Report;
use crate::report::Level;
use crate::site::{Site, SiteKind};
use crate::yaml::Node;
use oidc_filter::config::Config;

pub fn check(site: &Site<'_>, report: &mut Report<'_>) {
    waits_in_vain(site, report);
    written_as_text(site, report);
    match site.kind {
        SiteKind::Envoy => envoy(site, report),
        SiteKind::WasmPlugin | SiteKind::TrafficExtension => istio(site, report),
        SiteKind::EnvoyExtensionPolicy => {
            if let Some((key, _)) = site.plugin.entry("failOpen").filter(|(_, node)| node.is_true()) {
                report.add(key.place, Level::Warning, "fail_open", "failOpen", FAIL_OPEN.replace("{}", "false"));
            }
        }
        SiteKind::Bare => {}
    }
}

fn envoy(site: &Site<'_>, report: &mut Report<'_>) {
    let plugin = site.plugin;
    if let Some((key, node)) = plugin.entry("failure_policy")
        && node.is_value("FAIL_OPEN", 3)
    {
        report.add(
            key.place,
            Level::Warning,
            "fail_open",
            "config.failure_policy",
            FAIL_OPEN.replace("{}", "FAIL_RELOAD"),
        );
    }
    if let Some((key, _)) = plugin.entry("fail_open").filter(|(_, node)| node.is_true()) {
        let text = FAIL_OPEN.replace("{}", "failure_policy: FAIL_RELOAD");
        report.add(key.place, Level::Warning, "fail_open", "config.fail_open", text);
    }
    if let Some((key, node)) = plugin.entry("allow_on_headers_stop_iteration")
        && node.is_true()
        && !holds_heads(site)
    {
        let text = "with it, a body can reach the service before the verdict; leave it out: nothing in this configuration holds the head for \
                    a body (`mcp.hold_head`)";
        report.add(key.place, Level::Warning, "stop_iteration", "config.allow_on_headers_stop_iteration", text);
    }
    if let Some((key, node)) = plugin.entry("configuration") {
        let known = ["google.protobuf.Struct", "google.protobuf.StringValue", "google.protobuf.BytesValue"];
        let text = match node.word("@type") {
            Some(name) if known.iter().any(|known| name.ends_with(&format!("/{known}"))) => {
                let is_of_text = !name.ends_with("Struct");
                match node.get("value") {
                    Some(value) if name.ends_with("/google.protobuf.BytesValue") && !is_base64(value) => {
                        format!("Envoy refuses it: `value` of {name} is a text in base64; {TYPES}")
                    }
                    Some(value) if value.text().is_some() != is_of_text => {
                        let what = if is_of_text { "a text" } else { "an object" };
                        format!("Envoy refuses it: `value` of {name} is {what}; {TYPES}")
                    }
                    _ => return,
                }
            }
            Some(name) => format!("{name} reaches the filter as bytes that it can't read; {TYPES}"),
            None => format!("Envoy refuses it without `\"@type\"`; {TYPES}"),
        };
        report.add(key.place, Level::Error, "configuration_type", "config.configuration", text);
    }
}

fn is_base64(node: &Node) -> bool {
    let is_sign = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
    node.text().is_some_and(|text| text.bytes().all(is_sign))
}

/// Manifests hold the configuration as an object: a text, even of the right JSON, is refused by Kubernetes, or reaches the filter in quotes.
fn written_as_text(site: &Site<'_>, report: &mut Report<'_>) {
    let field = match site.kind {
        SiteKind::WasmPlugin | SiteKind::TrafficExtension => "plugin_config",
        SiteKind::EnvoyExtensionPolicy => "config",
        SiteKind::Envoy | SiteKind::Bare => return,
    };
    if let Some((key, _)) = site.plugin.entry(field).filter(|(_, node)| node.text().is_some()) {
        let text =
            format!("`{}` is a text here: write the configuration itself, without `|` and quotes around it", key.name);
        report.add(key.place, Level::Error, "configuration_type", &key.name, text);
    }
}

/// Whether heads wait for their bodies, under any policy.
fn holds_heads(site: &Site<'_>) -> bool {
    site.value("").is_some_and(|written| written.any(|node| node.get("hold_head").is_some_and(Node::is_true)))
}

/// A head that waits for a body that Envoy does not show: no request with one is ever decided.
fn waits_in_vain(site: &Site<'_>, report: &mut Report<'_>) {
    let switch = site.plugin.get("allow_on_headers_stop_iteration");
    let is_on = switch.is_some_and(Node::is_true);
    if site.kind != SiteKind::Bare && holds_heads(site) && !is_on {
        let text = "with `hold_head` the head waits for a body that Envoy shows only with `allow_on_headers_stop_iteration: true`: \
                    requests wait until they time out";
        report.add(site.place("mcp.hold_head"), Level::Warning, "holds_in_vain", "mcp.hold_head", text);
    }
}

fn istio(site: &Site<'_>, report: &mut Report<'_>) {
    if let Some((key, node)) = site.plugin.entry("failStrategy")
        && node.text() == Some("FAIL_OPEN")
    {
        report.add(
            key.place,
            Level::Warning,
            "fail_open",
            "failStrategy",
            FAIL_OPEN.replace("{}", "FAIL_RELOAD or FAIL_CLOSE"),
        );
    }
    // The phase of a TrafficExtension stands beside `wasm`.
    let spec = site.resource.get("spec").unwrap_or(site.resource);
    let phase = spec.entry("phase");
    if phase.and_then(|(_, node)| node.text()) != Some("AUTHN") {
        let place = phase.map_or(spec.place, |(key, _)| key.place);
        let text = "without `phase: AUTHN` the filter stands behind Istio's own authentication and authorization, which then \
                    see what the client has sent, also under the names that this filter writes";
        report.add(place, Level::Warning, "phase", "spec.phase", text);
    }
    if let Some((key, node)) = site.plugin.entry("type")
        && node.text() == Some("NETWORK")
    {
        let text = "the filter is one for HTTP: leave `type` out, or write HTTP";
        report.add(key.place, Level::Error, "plugin_type", "type", text);
    }
}

/// Lists are filtered by a module of their own, since only that one looks at bodies of responses. Which of the two it is, its name says.
pub fn lists(site: &Site<'_>, config: &Config, report: &mut Report<'_>) {
    let Some((module, name)) = module(site) else { return };
    let is_asked = config.policies().any(|policy| policy.mcp.as_ref().is_some_and(|mcp| mcp.filter_lists));
    let rules = (0..config.rules.len()).map(|index| format!("rules[{index}].mcp.filter_lists"));
    let mut paths = std::iter::once("mcp.filter_lists".to_owned()).chain(rules);
    match paths.find(|path| is_asked && site.value(path).is_some_and(Node::is_true)) {
        Some(path) if PLAIN_MODULES.contains(&name) => {
            let text = format!(
                "{name} sees no bodies of responses, and refuses this configuration: name oidc_filter_lists.wasm, which `make \
                 wasm-lists` builds, or an image of it"
            );
            report.add(site.place(&path), Level::Warning, "lists_module", &path, text);
        }
        None if !is_asked && name == LISTS_MODULE => {
            let text = format!(
                "{LISTS_MODULE} is called for every part of every response, for `mcp.filter_lists`, which nothing here asks for: name \
                 oidc_filter.wasm, which is the same in all else"
            );
            report.add(module.place, Level::Warning, "lists_module", "code", text);
        }
        _ => {}
    }
}

/// What the module is fetched from, and the last part of its name there, without tag and digest.
fn module<'n>(site: &Site<'n>) -> Option<(&'n Node, &'n str)> {
    let places: &[&[&str]] = match site.kind {
        SiteKind::Envoy => {
            &[&["vm_config", "code", "local", "filename"], &["vm_config", "code", "remote", "http_uri", "uri"]]
        }
        SiteKind::WasmPlugin | SiteKind::TrafficExtension => &[&["url"]],
        SiteKind::EnvoyExtensionPolicy => &[&["code", "image", "url"], &["code", "http", "url"]],
        SiteKind::Bare => &[],
    };
    let node = places.iter().find_map(|steps| site.plugin.at(steps))?;
    let name = node.text()?.rsplit('/').next()?;
    Some((node, name.split(['@', ':', '?']).next()?))
}

/// As `make wasm` and `make image` call them.
const PLAIN_MODULES: [&str; 2] = ["oidc_filter.wasm", "oidc-filter"];

/// As `make wasm-lists` calls it.
const LISTS_MODULE: &str = "oidc_filter_lists.wasm";

const TYPES: &str = "write type.googleapis.com/google.protobuf.Struct with the configuration in `value`, or \
                     google.protobuf.StringValue with it as JSON text";

const FAIL_OPEN: &str =
    "after a crash of the module everybody would be let in, with identities of their own making; write {}";
