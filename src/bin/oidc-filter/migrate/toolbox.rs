//! MCP Toolbox's authentication, generic and Google's: `docs/migrate/mcp-toolbox.md`.

use super::merging::Merged;
use super::{Notes, Theirs, bypass, push_new, source, texts};
use crate::yaml::Node;

pub fn migrate(documents: &[Node], notes: &Notes) -> Result<Node, String> {
    let services = services(documents);
    if services.is_empty() {
        return Err("expected an authService of the type generic or google".to_owned());
    }
    let (of_mcp, others): (Vec<&Service<'_>>, Vec<&Service<'_>>) =
        services.iter().partition(|service| service.node.get("mcpEnabled").is_some_and(Node::is_true));
    let configuration = match of_mcp.split_first() {
        Some((first, more)) => {
            for service in more.iter().chain(&others) {
                notes.add(format!(
                    "authServices.{}: stands beside one with mcpEnabled, and has no place here: write its paths in a configuration of its own",
                    service.name
                ));
            }
            of_protocol(first, documents, notes)?
        }
        None => of_headers(&others, notes)?,
    };
    notes.add("tools[].parameters[].authServices: no counterpart: it needs the tool's schema; the claims can be written to a header (user_info)");
    Ok(configuration)
}

struct Service<'n> {
    name: &'n str,
    node: &'n Node,
}

/// Services as documents of their own, or by name in a map, which older releases have.
fn services(documents: &[Node]) -> Vec<Service<'_>> {
    let own = documents
        .iter()
        .filter(|document| document.word("kind").is_some_and(|kind| NAMES.contains(&kind)))
        .map(|node| Service { name: node.word("name").unwrap_or("auth"), node });
    let maps = documents.iter().flat_map(|document| NAMES.iter().filter_map(|name| document.get(name)));
    let named = maps.flat_map(Node::members).map(|(key, node)| Service { name: key.name.as_str(), node });
    own.chain(named).filter(|service| kind(service.node).is_some()).collect()
}

const NAMES: [&str; 4] = ["authService", "authServices", "authSource", "authSources"];

/// `generic` or `google`.
fn kind(node: &Node) -> Option<&str> {
    let said = [node.word("type"), node.word("kind")];
    said.into_iter().flatten().find(|kind| ["generic", "google"].contains(kind))
}

/// The provider of a service, with what is to be said about introspection.
fn provider(service: &Service<'_>, theirs: &Theirs<'_>) -> Result<Node, String> {
    theirs.skip(&["kind", "type", "name", "mcpEnabled"]);
    let mut provider = Node::object::<&str>([]);
    let is_google = kind(service.node) == Some("google");
    let issuer = if is_google { Some("https://accounts.google.com") } else { theirs.word("authorizationServer") };
    let issuer = issuer.ok_or_else(|| format!("{}.authorizationServer: is required, and not there", service.name))?;
    provider.put("issuer", issuer);
    provider.put("cluster", "idp");
    let field = if is_google { "clientId" } else { "audience" };
    let audiences = theirs.words(field);
    if audiences.is_empty() {
        theirs.notes.add(format!("{}: required here: the value of `aud` that names your service", theirs.at(field)));
    }
    provider.put("audiences", texts(audiences));
    Ok(provider)
}

/// `Authorization: Bearer`, at the endpoint of the protocol.
fn of_protocol(service: &Service<'_>, documents: &[Node], notes: &Notes) -> Result<Node, String> {
    let theirs = Theirs::of(service.node, "", notes);
    let mut provider = provider(service, &theirs)?;
    if theirs.flag("forceIntrospection") {
        provider.put("validation", "introspection");
    }
    let mut introspection = introspection(&theirs);
    introspection.put("client_id", "${INTROSPECTION_CLIENT_ID}");
    introspection.put("client_secret", "${INTROSPECTION_CLIENT_SECRET}");
    introspection.put("cache", 0);
    introspection.put("negative_cache", 0);
    provider.put("introspection", introspection);
    provider.put("jwks", Node::object([("cooldown", Node::from("5m"))]));
    let mut configuration = Node::object([("providers", Node::from_iter([provider]))]);
    let scopes = theirs.words("scopesRequired");
    if !scopes.is_empty() {
        configuration.put("require", Node::object([("scopes", texts(scopes))]));
    }
    configuration.put("response_body", "jsonrpc");
    configuration.put("allow_preflight", true);
    let open = [bypass("path", texts(["/", "/healthz"])), bypass("path_prefix", texts(["/.well-known", "/ui"]))];
    configuration.put("rules", Node::from_iter(open));
    let listed = documents.iter().filter_map(|document| document.get("tools")).flat_map(Node::members);
    let own = documents.iter().filter(|document| document.word("kind") == Some("tool"));
    let tools = own.filter_map(|tool| Some((tool.word("name")?, tool)));
    for (name, tool) in tools.chain(listed.map(|(key, tool)| (key.name.as_str(), tool))) {
        let scopes = tool.elements("scopesRequired").iter().filter_map(Node::text).collect::<Vec<_>>();
        if !scopes.is_empty() {
            let scopes = scopes.join(", ");
            notes.widen(format!("tools[{name}].scopesRequired: write it as mcp: {{tools: [{{name: {name}, scopes: [{scopes}]}}]}}: docs/mcp.md"));
        }
    }
    theirs.finish();
    Ok(configuration)
}

fn introspection(theirs: &Theirs<'_>) -> Node {
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
    introspection
}

/// A token in a header of each service's own.
fn of_headers(services: &[&Service<'_>], notes: &Notes) -> Result<Node, String> {
    let mut providers = Vec::new();
    let mut places = Vec::new();
    for service in services {
        let path = if services.len() > 1 { format!("authServices.{}", service.name) } else { String::new() };
        let theirs = Theirs::of(service.node, &path, notes);
        let mut provider = provider(service, &theirs)?;
        let forces = theirs.flag("forceIntrospection");
        provider.put("validation", if forces { "introspection" } else { "jwt" });
        let introspection = introspection(&theirs);
        if forces && !introspection.is_empty() {
            provider.put("introspection", introspection);
        }
        if theirs.take("scopesRequired").is_some() {
            notes.widen(format!("{}: write it as require.scopes in the rule", theirs.at("scopesRequired")));
        }
        theirs.finish();
        notes.add(format!("{}_token: a header with an underscore: Envoy hands it over only with headers_with_underscores_action: ALLOW", service.name));
        providers.push(provider);
        push_new(&mut places, source("header", &format!("{}_token", service.name)));
    }
    let merged = Merged::of(providers, notes);
    if services.len() > 1 {
        notes.widen(
            "access_token: each service reads its own header there, and each header is read for the tokens of all here",
        );
    }
    if merged.has_united_audiences() {
        notes.widen("audience: services of one issuer are one provider here: a token for one of them passes as the other's, too; write `audiences` in rules");
    }
    let mut configuration = Node::object([("providers", merged.providers.into_iter().collect::<Node>())]);
    match places.pop() {
        Some(only) if places.is_empty() => configuration.put("access_token", only),
        last => configuration.put("access_token", places.into_iter().chain(last).collect::<Node>()),
    }
    configuration.put("enforce", false);
    configuration.put("response_body", "jsonrpc");
    configuration.put("user_info", source("header", "x-toolbox-claims"));
    let private =
        Node::object([("match", Node::object([("path_prefix", Node::from("/private"))])), ("enforce", true.into())]);
    configuration.put("rules", Node::from_iter([private]));
    notes.widen(
        "authRequired: Toolbox has it for a tool, the filter for a path: put the paths that need a token into the rule",
    );
    Ok(configuration)
}
