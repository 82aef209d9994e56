//! Whether a value is what a schema of ours says, by JSON Schema's draft 7: as much of it as these schemas use.

use regex_lite::Regex;
use serde_json::Value;

/// What is wrong, with its path, or nothing.
pub fn fault(root: &Value, schema: &Value, value: &Value, path: &str) -> Option<String> {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => root.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}")),
        None => schema,
    };
    let object = schema.as_object().unwrap();
    for (keyword, wanted) in object {
        let problem = match keyword.as_str() {
            "type" => (!types(wanted).any(|name| is_type(name, value))).then(|| format!("is no {wanted}")),
            "enum" => (!wanted.as_array().unwrap().contains(value)).then(|| format!("is none of {wanted}")),
            "pattern" => value
                .as_str()
                .filter(|text| !Regex::new(wanted.as_str().unwrap()).unwrap().is_match(text))
                .map(|_| format!("does not match {wanted}")),
            "minimum" => value.as_f64().filter(|n| *n < wanted.as_f64().unwrap()).map(|_| format!("below {wanted}")),
            "maximum" => value.as_f64().filter(|n| *n > wanted.as_f64().unwrap()).map(|_| format!("above {wanted}")),
            "minLength" => value.as_str().filter(|text| text.is_empty()).map(|_| "is empty".to_owned()),
            "minItems" => value.as_array().filter(|list| list.is_empty()).map(|_| "is empty".to_owned()),
            "minProperties" => value.as_object().filter(|members| members.is_empty()).map(|_| "is empty".to_owned()),
            "required" => value.as_object().and_then(|members| {
                let mut missing =
                    wanted.as_array().unwrap().iter().filter(|name| !members.contains_key(name.as_str().unwrap()));
                missing.next().map(|name| format!("lacks {name}"))
            }),
            "anyOf" | "oneOf" => {
                let faults: Vec<_> =
                    wanted.as_array().unwrap().iter().map(|one| fault(root, one, value, path)).collect();
                let fitting = faults.iter().filter(|fault| fault.is_none()).count();
                let fits = if keyword == "anyOf" { fitting > 0 } else { fitting == 1 };
                (!fits).then(|| format!("none of: {}", faults.into_iter().flatten().collect::<Vec<_>>().join(" / ")))
            }
            "allOf" => wanted.as_array().unwrap().iter().find_map(|one| fault(root, one, value, path)),
            "items" => value.as_array().and_then(|list| {
                list.iter().enumerate().find_map(|(index, item)| fault(root, wanted, item, &format!("{path}[{index}]")))
            }),
            "properties" => value.as_object().and_then(|members| {
                members
                    .iter()
                    .find_map(|(name, member)| fault(root, wanted.get(name)?, member, &format!("{path}.{name}")))
            }),
            "additionalProperties" => value.as_object().and_then(|members| {
                let known = object.get("properties");
                let mut others = members.iter().filter(|(name, _)| known.is_none_or(|known| known.get(name).is_none()));
                match wanted {
                    Value::Bool(false) => others.next().map(|(name, _)| format!("{name}: unknown")),
                    wanted => others.find_map(|(name, member)| fault(root, wanted, member, &format!("{path}.{name}"))),
                }
            }),
            "$schema" | "title" | "description" | "default" | "doNotSuggest" | "definitions" => None,
            other => panic!("{other} is not known here"),
        };
        if let Some(problem) = problem {
            return Some(format!("{path}: {problem}"));
        }
    }
    None
}

fn types(wanted: &Value) -> impl Iterator<Item = &str> {
    let one = wanted.as_str();
    one.into_iter().chain(wanted.as_array().into_iter().flatten().filter_map(Value::as_str))
}

fn is_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.as_f64().is_some_and(|number| number.fract() == 0.0),
        other => panic!("{other}"),
    }
}
