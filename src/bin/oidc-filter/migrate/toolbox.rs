//! MCP Toolbox's generic authentication: `docs/migrate/mcp-toolbox.md`.

use super::{Notes, Theirs, bypass, source, texts};
use crate::yaml::Node;

pub fn migrate(documents: &[Node], notes: &Notes) -> Result<Node, String> {
    let own =
        documents.iter().filter(|document| document.word("kind") == Some("authService")).find(|node| is_generic(node));
    // An older form: a map of services by name.
    let listed = documents.iter().filter_map(|document| document.get("authServices")).flat_map(|node| node.members());
    let named = listed.map(|(key, node)| (key.name.as_str(), node)).find(|(_, node)| is_generic(node));
    let (name, node) = match (own, named) {
        (Some(node), _) => (node.word("name").unwrap_or("auth"), node),
        (None, Some((name, node))) => (name, node),
        (None, None) => return Err("expected an authService of the type generic".to_owned()),
    };
    let theirs = Theirs::of(node, "", notes);
    theirs.skip(&["kind", "type", "name"]);
    let is_mcp = theirs.flag("mcpEnabled");
    let mut provider = Node::object::<&str>([]);
    match theirs.word("authorizationServer") {
        Some(issuer) => provider.put("issuer", issuer),
        None => return Err("authorizationServer: required".to_owned()),
    }
    provider.put("cluster", "idp");
    let audiences = theirs.words("audience");
    if audiences.is_empty() {
        notes.add("audience: required here: the value of `aud` that names your service");
    }
    provider.put("audiences", texts(audiences));
    let mut introspection = Node::object::<&str>([]);
    for (field, ours) in [
        ("introspectionEndpoint", "endpoint"),
        ("introspectionMethod", "method"),
        ("introspectionParamName", "param_name"),
    ] {
        if let Some(value) = theirs.word(field) {
            introspection.put(ours, value);
        }
    }
    let forces = theirs.flag("forceIntrospection");
    let mut configuration;
    if is_mcp {
        if forces {
            provider.put("validation", "introspection");
        }
        introspection.put("client_id", "${INTROSPECTION_CLIENT_ID}");
        introspection.put("client_secret", "${INTROSPECTION_CLIENT_SECRET}");
        introspection.put("cache", 0);
        introspection.put("negative_cache", 0);
        provider.put("introspection", introspection);
        provider.put("jwks", Node::object([("cooldown", Node::from("5m"))]));
        configuration = Node::object([("providers", Node::from_iter([provider]))]);
        let scopes = theirs.words("scopesRequired");
        if !scopes.is_empty() {
            configuration.put("require", Node::object([("scopes", texts(scopes))]));
        }
        configuration.put("response_body", "jsonrpc");
        configuration.put("allow_preflight", true);
        let open = [bypass("path", texts(["/", "/healthz"])), bypass("path_prefix", texts(["/.well-known", "/ui"]))];
        configuration.put("rules", Node::from_iter(open));
        for tool in documents.iter().filter(|document| document.word("kind") == Some("tool")) {
            let scopes = tool.elements("scopesRequired").iter().filter_map(Node::text).collect::<Vec<_>>();
            if let Some(name) = tool.word("name").filter(|_| !scopes.is_empty()) {
                let scopes = scopes.join(", ");
                notes.add(format!("tools[{name}].scopesRequired: write it as mcp: {{tools: [{{name: {name}, scopes: [{scopes}]}}]}}: docs/mcp.md"));
            }
        }
    } else {
        provider.put("validation", if forces { "introspection" } else { "jwt" });
        configuration = Node::object([("providers", Node::from_iter([provider]))]);
        configuration.put("access_token", source("header", &format!("{name}_token")));
        configuration.put("enforce", false);
        configuration.put("response_body", "jsonrpc");
        configuration.put("user_info", source("header", "x-toolbox-claims"));
        let private = Node::object([
            ("match", Node::object([("path_prefix", Node::from("/private"))])),
            ("enforce", true.into()),
        ]);
        configuration.put("rules", Node::from_iter([private]));
        notes.add("authRequired: Toolbox has it for a tool, the filter for a path: put the paths that need a token into the rule");
        notes.add(format!("{name}_token: a header with an underscore: Envoy hands it over only with headers_with_underscores_action: ALLOW"));
        theirs.lose("scopesRequired", "write it as require.scopes in the rule");
    }
    notes.add("tools[].parameters[].authServices: no counterpart: it needs the tool's schema; the claims can be written to a header (user_info)");
    theirs.finish();
    Ok(configuration)
}

fn is_generic(node: &Node) -> bool {
    node.word("type").or_else(|| node.word("kind")) == Some("generic")
}
