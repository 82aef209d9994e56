//! `schema`: the JSON Schema of the configuration, which `tests/schema` holds to what the readers take.

/// The document.
pub const TEXT: &str = include_str!("../../../docs/schema/oidc-filter.schema.json");
