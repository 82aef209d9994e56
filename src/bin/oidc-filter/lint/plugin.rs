//! How a host is told to run the module: what it does after a crash, and when bodies may pass.

use super::Report;
use crate::report::Level;
use crate::site::{Site, SiteKind};
use crate::yaml::Node;

pub fn check(site: &Site<'_>, report: &mut Report<'_>) {
    waits_in_vain(site, report);
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
        && node.text() == Some("FAIL_OPEN")
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
    if let Some((key, node)) = plugin.entry("allow_on_headers_stop_iteration") {
        let is_on = node.is_true() || node.get("value").is_some_and(Node::is_true);
        if is_on && !holds_heads(site) {
            let text = "with it, a body can reach the service before the verdict; leave it out: nothing in this configuration \
                        holds the head for a body (`mcp.hold_head`)";
            report.add(key.place, Level::Warning, "stop_iteration", "config.allow_on_headers_stop_iteration", text);
        }
    }
    if let Some((key, node)) = plugin.entry("configuration")
        && let Some(name) = node.word("@type")
        && !["google.protobuf.Struct", "google.protobuf.StringValue", "google.protobuf.BytesValue"]
            .iter()
            .any(|known| name.ends_with(&format!("/{known}")))
    {
        let text = format!(
            "{name} reaches the filter as bytes that it can't read; write type.googleapis.com/google.protobuf.Struct with \
             the configuration in `value`, or google.protobuf.StringValue with it as JSON text"
        );
        report.add(key.place, Level::Error, "configuration_type", "config.configuration", text);
    }
}

/// Whether heads wait for their bodies, under any policy.
fn holds_heads(site: &Site<'_>) -> bool {
    let mut holds = false;
    if let Some(written) = site.value("") {
        written.walk(&mut |node| holds |= node.get("hold_head").is_some_and(Node::is_true));
    }
    holds
}

/// A head that waits for a body that Envoy does not show: no request with one is ever decided.
fn waits_in_vain(site: &Site<'_>, report: &mut Report<'_>) {
    let switch = site.plugin.get("allow_on_headers_stop_iteration");
    let is_on = switch.is_some_and(|node| node.is_true() || node.get("value").is_some_and(Node::is_true));
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

const FAIL_OPEN: &str =
    "after a crash of the module everybody would be let in, with identities of their own making; write {}";
