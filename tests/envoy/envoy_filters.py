"""Envoy's own filters as the tests put them before and behind ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

TYPE = "type.googleapis.com/envoy.extensions.filters.http"

# A client that sends x_user where the filter writes x-user: Envoy must let it come that far.
UNDERSCORES = {"common_http_protocol_options": {"headers_with_underscores_action": "ALLOW"}}


def http_filter(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{TYPE}.{kind}", **fields}}


def header_to_metadata(
    header: str,
    namespace: str,
    key: str,
    kind: str = "STRING",
    encode: str = "NONE",
    name: str = "to-metadata",
) -> dict[str, Any]:
    """Moves a header into dynamic metadata, as the hand-off of the filter needs it."""
    to = {"metadata_namespace": namespace, "key": key, "type": kind, "encode": encode}
    rule = {"header": header, "on_header_present": to, "remove": True}
    return http_filter(name, "header_to_metadata.v3.Config", request_rules=[rule])


def hand_off(key: str, namespace: str = "oidc") -> dict[str, Any]:
    """What stands next to the filter and makes metadata of what it hands over."""
    header = f"x-oidc-metadata-{key}"
    return header_to_metadata(header, namespace, key, "PROTOBUF_VALUE", "BASE64", f"hand-off-{key}")


def lua(code: str) -> dict[str, Any]:
    return http_filter("lua", "lua.v3.Lua", default_source_code={"inline_string": code})


def rbac(**policies: Mapping[str, Any]) -> dict[str, Any]:
    """Lets pass what one of the policies names, and nothing else."""
    return http_filter("rbac", "rbac.v3.RBAC", rules={"action": "ALLOW", "policies": policies})


def metadata_principal(namespace: str, *path: str, **value: Any) -> dict[str, Any]:
    """For `rbac`: who has this in dynamic metadata, e.g. `exact="admin"`; any value without one."""
    match = {"string_match": value} if value else {"present_match": True}
    steps = [{"key": step} for step in path]
    matcher = {"filter": namespace, "path": steps, "value": match}
    return {"sourced_metadata": {"metadata_matcher": matcher}}
