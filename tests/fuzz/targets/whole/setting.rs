//! The configuration that a script chooses, and the laws that the driver reads out of it by itself.

use super::tokens::{FIRST_TENANT, ISSUERS, TEMPLATE, TENANTS, inline_keys};
use crate::scene::AUDIENCE;
use crate::support::with;
use crate::targets::script::Script;
use serde_json::{Value, json};

/// What the filter is configured with.
pub struct Setting {
    pub configuration: Value,
    pub sources: Vec<Value>,
    /// Which of [`ISSUERS`] each provider is.
    pub homes: Vec<usize>,
    pub laws: Laws,
    pub verify: Option<Verify>,
}

/// How other proxies ask.
#[derive(Clone, Copy)]
pub struct Verify {
    /// By these headers; if not, by what stands behind the path.
    pub by_headers: bool,
    pub with_host: bool,
}

impl Setting {
    pub fn new(script: &mut Script) -> Self {
        let tenants = if script.once_in(3) { 1 + script.below(TENANTS.len()) } else { 0 };
        let plain = if tenants > 0 { script.below(FIRST_TENANT) } else { 1 + script.below(FIRST_TENANT) };
        let mut providers: Vec<Value> = Vec::new();
        if tenants > 0 {
            let names: Vec<&str> = TENANTS[..tenants].to_vec();
            providers.push(with(provider(script, None), json!({"issuer": TEMPLATE, "tenants": names})));
        }
        providers.extend((0..plain).map(|index| provider(script, Some(index))));
        let homes: Vec<usize> = (FIRST_TENANT..FIRST_TENANT + tenants).chain(0..plain).collect();
        let names: Vec<&str> = providers.iter().map(|provider| host(provider["issuer"].as_str().unwrap())).collect();
        let sources = match script.below(5) {
            0 | 1 => json!([{"key": "authorization"}]),
            2 => {
                json!([{"key": "authorization"}, {"location": "cookie", "key": "t"}, {"location": "query_string", "key": "t"}])
            }
            3 => json!([{"key": "x-token"}, {"location": "metadata", "key": "t", "metadata_filter": "n"}]),
            _ => json!([
                {"key": "authorization", "provider": names[0]},
                {"location": "cookie", "key": "t", "provider": names[names.len() - 1]},
            ]),
        };
        let mut top = json!({
            "enforce": !script.once_in(3),
            "allow_missing": script.once_in(3),
            "allow_preflight": script.once_in(3),
            "forward": !script.once_in(3),
        });
        if script.once_in(3) {
            top = with(top, json!({"external_authorization": authorizer(script, 0)}));
        }
        if script.once_in(3) {
            let is_consulted = top.get("external_authorization").is_some();
            top = with(top, json!({"shadow": shadow(script, &names, 10, is_consulted)}));
        }
        let rules = rules(script, &names, top.get("external_authorization").is_some());
        let laws = Laws::new(&top, &rules);
        let outputs = json!({
            "claim_headers": [{"header": "x-user", "claim": "sub"}],
            "user_info": [
                {"key": "identity"}, {"location": "cookie", "key": "who", "claims": "sub"},
                {"location": "query_string", "key": "who", "claims": "sub"}, {"location": "metadata", "key": "who"},
            ],
            "providers": providers, "access_token": sources, "rules": rules,
        });
        let is_asked = json!([top, rules]).to_string().contains("external_authorization");
        let with_host = |script: &mut Script| script.once_in(2) || is_asked;
        let verify = script.once_in(2).then(|| Verify { by_headers: script.once_in(2), with_host: with_host(script) });
        let endpoint = match verify {
            None => json!({}),
            Some(Verify { by_headers: false, .. }) => json!({"verify_path": "/verify"}),
            Some(Verify { with_host, .. }) => {
                let host = with_host.then_some("x-original-host");
                let headers =
                    json!({"method_header": "x-original-method", "uri_header": "x-original-uri", "host_header": host});
                json!({"verify_path": "/verify", "verify_request": with(json!({}), headers)})
            }
        };
        Self {
            configuration: with(with(top, outputs), endpoint),
            sources: sources.as_array().unwrap().clone(),
            homes,
            laws,
            verify,
        }
    }
}

fn host(url: &str) -> &str {
    url.split('/').nth(2).unwrap()
}

/// One of [`ISSUERS`], or the one with tenants.
fn provider(script: &mut Script, home: Option<usize>) -> Value {
    let kind = *script.one_of(&["auto", "jwt", "introspection", "userinfo"]);
    let issuer = home.map_or(TEMPLATE, |home| ISSUERS[home]);
    let failover = json!({
        "unhealthy_threshold": 1 + script.below(2), "healthy_threshold": 1 + script.below(2),
        "interval": *script.one_of(&[1, 5, 9]),
    });
    let base = json!({"issuer": issuer, "audiences": AUDIENCE, "validation": kind, "failover": failover});
    let times = [0, 1, 5, 60, 4000];
    let seconds = |script: &mut Script| *script.one_of(&times);
    // What is configured for one tenant is so for all, and could not be told apart here.
    let list = |script: &mut Script, path: &str| {
        let both = json!([format!("{issuer}/first{path}"), format!("{issuer}{path}")]);
        (home.is_some() && script.once_in(3)).then_some(both)
    };
    let more = match kind {
        "introspection" => {
            let introspection = json!({"cache": seconds(script), "negative_cache": seconds(script).min(60)});
            let more = match script.below(4) {
                0 => json!({"client_id": "c", "client_secret": "s"}),
                1 => json!({"method": "GET"}),
                _ => json!({}),
            };
            let endpoint = list(script, "/introspect");
            json!({"introspection": with(with(introspection, more), json!({"endpoint": endpoint}))})
        }
        "userinfo" => {
            let endpoint = list(script, "/userinfo");
            json!({"userinfo": with(json!({"cache": seconds(script)}), json!({"endpoint": endpoint}))})
        }
        _ => {
            let jwks = json!({"cache": seconds(script).max(1), "max_stale": seconds(script), "cooldown": seconds(script).clamp(1, 60)});
            let more = match (script.below(6), home) {
                (0, Some(home)) => json!({"inline": {"keys": inline_keys(home)}}),
                (1, Some(home)) => json!({"inline": {"keys": inline_keys(home)}, "uri": format!("{issuer}/jwks")}),
                _ => json!({"uri": list(script, "/jwks")}),
            };
            json!({"jwks": with(jwks, more)})
        }
    };
    with(base, more)
}

/// An authorizer of its own for each policy, so that it is known for whose sake it is called.
fn authorizer(script: &mut Script, number: usize) -> Value {
    json!({
        "uri": format!("https://authz{number}.example/decide"), "cluster": "authz",
        "cache": *script.one_of(&[0, 1, 60, 4000]), "timeout": 1 + script.below(5),
    })
}

/// Something that a policy may say otherwise.
fn variation(script: &mut Script, names: &[&str], number: usize) -> Value {
    match script.below(8) {
        0 => json!({"bypass": true}),
        1 => json!({"bypass": false, "enforce": true}),
        2 => json!({"enforce": false}),
        3 => json!({"allow_missing": script.once_in(2), "forward": script.once_in(2)}),
        4 => json!({"providers": [script.one_of(names)]}),
        5 => json!({"require": {"scopes": "admin"}}),
        6 => json!({"enforce": true, "allow_preflight": script.once_in(2)}),
        _ => json!({"external_authorization": authorizer(script, number)}),
    }
}

/// A candidate: whatever it says, nothing changes.
fn shadow(script: &mut Script, names: &[&str], number: usize, is_consulted: bool) -> Value {
    let candidate = variation(script, names, number);
    let is_consulted = is_consulted || candidate.get("external_authorization").is_some();
    if candidate["bypass"] == true {
        return candidate;
    }
    let more = match script.below(6) {
        // Its authorizer would hear of tokens that are no good for the policy in force.
        0 if !is_consulted => json!({"audiences": "other"}),
        1 => json!({"claim_headers": [{"header": "x-candidate", "claim": "sub"}], "user_info": []}),
        2 => json!({"bypass": false, "providers": [script.one_of(names)]}),
        3 => json!({"enforce_response_code": 418, "response_body": "none"}),
        _ => json!({}),
    };
    with(candidate, more)
}

fn rules(script: &mut Script, names: &[&str], is_consulted: bool) -> Vec<Value> {
    let mut rules = Vec::new();
    if script.once_in(3) {
        rules.push(with(json!({"match": {"route_name": "r1"}}), variation(script, names, 1)));
    }
    if script.once_in(3) {
        rules.push(with(json!({"name": "named"}), variation(script, names, 2)));
    }
    rules.push(json!({"match": {"path_prefix": "/public"}, "bypass": true}));
    rules.push(json!({"match": {"path_prefix": "/admin"}, "require": {"scopes": "admin"}}));
    for (number, rule) in rules.iter_mut().enumerate() {
        if script.once_in(5) {
            let is_consulted = is_consulted || rule.get("external_authorization").is_some();
            *rule = with(rule.clone(), json!({"shadow": shadow(script, names, 11 + number, is_consulted)}));
        }
    }
    rules
}

/// The policies, in the driver's own reading: no index, no candidates.
pub struct Laws {
    rules: Vec<Value>,
    /// That of the top level, then those of the rules.
    policies: Vec<Value>,
}

/// The route that Envoy has chosen.
#[derive(Clone, Copy, Default)]
pub struct Way {
    pub name: Option<&'static str>,
    pub rule: Option<&'static str>,
}

/// No policy is for a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Lawless;

impl Laws {
    fn new(top: &Value, rules: &[Value]) -> Self {
        let plain = with(top.clone(), json!({"shadow": null, "bypass": false}));
        let others = rules.iter().map(|rule| with(with(plain.clone(), rule.clone()), json!({"shadow": null})));
        Self { policies: std::iter::once(plain.clone()).chain(others).collect(), rules: rules.to_vec() }
    }

    pub fn policy(&self, number: usize) -> &Value {
        &self.policies[number]
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    pub fn has_names(&self) -> bool {
        self.rules.iter().any(|rule| rule.get("name").is_some())
    }

    pub fn reads_routes(&self) -> bool {
        self.has_names() || self.rules.iter().any(|rule| rule["match"].get("route_name").is_some())
    }

    /// Which policy holds. Paths here are plain, but for `*` and for what a damaged token makes of a query: what is not in
    /// normal form never falls under a bypass.
    pub fn find(&self, path: &[u8], way: Way) -> Result<usize, Lawless> {
        let is_normal = path.starts_with(b"/") && !path.contains(&b'#');
        let opens = |number: usize| self.policies[number]["bypass"] == true;
        if let Some(name) = way.rule {
            let named = self.rules.iter().position(|rule| rule["name"] == name).ok_or(Lawless)? + 1;
            return Ok(if opens(named) && !is_normal { 0 } else { named });
        }
        let matches = |rule: &Value| match (rule["match"]["path_prefix"].as_str(), rule["match"]["route_name"].as_str())
        {
            (Some(prefix), _) => path.starts_with(prefix.as_bytes()),
            (None, Some(route)) => way.name == Some(route),
            (None, None) => false,
        };
        let found =
            (1..self.policies.len()).find(|number| matches(&self.rules[number - 1]) && (is_normal || !opens(*number)));
        Ok(found.unwrap_or(0))
    }
}
