//! Which of two policies asks for more, held to what they let pass. The policies and the tokens are random and the same on every run.

use crate::mcp::call;
use crate::scene::*;
use crate::support::{Noise, with};
use oidc_filter::config::Config;
use serde_json::{Value, json};

/// What a rule can ask for, each field with what it may be.
fn fields() -> Value {
    let origins = "https://api.example.com";
    json!({
        "allow_missing": [true, false],
        "audiences": [AUDIENCE, [AUDIENCE, "other"], "other", "*"],
        "certificate_bound": [{"mode": "required"}, {"mode": "opportunistic"}],
        "claim_headers": [[], [x_header(true)], [x_header(false)]],
        "dpop": [{"mode": "required", "origins": origins}, {"mode": "opportunistic", "origins": origins}, {"mode": "off"}],
        "enforce": [true, false],
        "implied_scopes": [{"c": "a"}, {"c": ["a", "b"]}, {"b": "a"}],
        "providers": [["idp.example.com"], ["idp.example.com", "two"], ["two"]],
    })
}

fn x_header(required: bool) -> Value {
    json!({"header": "x-x", "claim": "x", "required": required})
}

fn requirements() -> Value {
    json!({
        "acr": [["1"], ["1", "2"]],
        "claims": [
            [{"claim": "x"}],
            [{"claim": "x", "any_of": ["1"]}],
            [{"claim": "x", "absent": true}],
            [{"claim": "x", "none_of": ["1"]}],
            [{"claim": "x", "matches": "1"}],
            [{"claim": "x"}, {"claim": "y"}],
        ],
        "groups_allowlist": [["g"], ["g", "h"], "*", ["g", "*"]],
        "max_age": ["60s", "600s", "0s"],
        "scopes": ["a", ["a", "b"]],
        "scopes_any": ["a", ["a", "b"], ["b", "c"]],
    })
}

fn claims() -> Value {
    json!({
        "acr": ["1", "2"],
        "aud": ["other", [AUDIENCE, "other"], "none"],
        "auth_time": [NOW - 30, NOW - 300],
        "cnf": [{"jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}],
        "groups": [["g"], "h", ["h", "g"]],
        "scope": ["a", "a b", "b", "c"],
        "x": ["1", 1, "2", ["1", "2"], [], "", null, [""], {"a": 1}],
        "y": ["1"],
    })
}

/// Some of these members, each with one of its values: one in so many.
fn some(noise: &mut Noise, members: &Value, odds: usize) -> Value {
    let mut chosen = json!({});
    for (name, values) in members.as_object().unwrap() {
        if noise.below(odds) == 0 {
            let values = values.as_array().unwrap();
            chosen[name] = values[noise.below(values.len())].clone();
        }
    }
    chosen
}

fn policy(noise: &mut Noise) -> Value {
    let policy = some(noise, &fields(), 6);
    if noise.below(3) > 0 { policy } else { with(policy, json!({"require": some(noise, &requirements(), 4)})) }
}

/// Three rules and the top level, and where tools need scopes.
fn configuration(noise: &mut Noise) -> Value {
    let rules = ["/0", "/1", "/2"].map(|path| with(policy(noise), json!({"match": {"path": path}})));
    let mut top = with(policy(noise), json!({"rules": rules, "audiences": null, "providers": null}));
    if noise.below(2) == 0 {
        top["mcp"] = json!({"resource": AUDIENCE, "tools": {"name": "t", "scopes": "a"}});
    }
    let one = jwt(json!({}), top);
    let two = json!({"name": "two", "issuer": "https://two.example", "audiences": AUDIENCE, "validation": "jwt"});
    with(one.clone(), json!({"providers": [one["providers"][0], two]}))
}

/// Whether somebody gets through: no, as nobody, or as who he is.
fn passes(seen: Seen) -> u8 {
    match seen {
        Seen::Upstream(upstream) if upstream.result == "allowed" && upstream.provider.is_some() => 2,
        Seen::Upstream(_) => 1,
        Seen::Refused(_) => 0,
        other => panic!("{other:?}"),
    }
}

/// ATK-04: of two policies, the one that asks for no less lets nobody pass whom the other doesn't.
#[test]
fn who_asks_for_no_less_lets_no_more_pass() {
    let noise = &mut Noise(88_172_645_463_325_252);
    let tokens: Vec<String> = (0..24).map(|_| token(some(noise, &claims(), 2))).collect();
    let mut compared = 0;
    for _ in 0..60 {
        let configuration = configuration(noise);
        let config = Config::read(configuration.to_string().as_bytes(), &|_: &str| None)
            .unwrap_or_else(|error| panic!("{error}: {configuration}"));
        let policies: Vec<_> = config.rules.iter().map(|rule| &*rule.policy).chain([&*config.policy]).collect();
        let mut scene = Scene::of(configuration.clone());
        let of_path: Vec<Vec<u8>> = ["/0", "/1", "/2", "/3"]
            .iter()
            .map(|path| {
                let ask = || get(path).set(":method", Some("POST")).header("content-type", "application/json");
                let asks = std::iter::once(ask()).chain(tokens.iter().map(|token| ask().bearer(token)));
                asks.map(|ask| passes(scene.send_body(ask, call("t")))).collect()
            })
            .collect();
        for (strict, lets) in policies.iter().zip(&of_path) {
            for (other, lets_by_other) in
                policies.iter().zip(&of_path).filter(|(other, _)| strict.asks_no_less_than(other))
            {
                compared += usize::from(!std::ptr::eq(*strict, *other));
                for (number, (one, two)) in lets.iter().zip(lets_by_other).enumerate() {
                    // A token that is good for nothing is left out, where it may be.
                    let as_nobody = lets_by_other[0];
                    assert!(one <= two || *one <= as_nobody, "{strict:?} {other:?} {number} {configuration}");
                }
            }
        }
    }
    assert!(compared > 100, "{compared}");
}
