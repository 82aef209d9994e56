"""What is measured: listeners of one Envoy that differ in one HTTP filter, and nothing else.

The connection manager is that of envoy/minimal.yaml. The route answers 200 by itself, so that no
service behind Envoy is measured along with it; but for messages to an MCP server, which have to be
read by somebody: see `second`.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import scene
import yaml
from mint import AUDIENCE, ISSUER, Mint, TokenFile

FILTERS = "type.googleapis.com/envoy.extensions.filters.http"
EXAMPLES = scene.ROOT / "target/wasm32-wasip1/release/examples"
EMPTY_FILTER = EXAMPLES / "empty_filter.wasm"
CALLS_FILTER = EXAMPLES / "calls_filter.wasm"
LISTS_MODULE = scene.MODULE.with_name("oidc_filter_lists.wasm")

RULES = (1, 10, 100, 1000, 5000)

ORIGIN = "https://api.bench.invalid"

# As patient as can be, with room for all proofs of a run: they are made before it.
DPOP = {
    "origins": [ORIGIN],
    "proof_lifetime": "10m",
    "clock_skew": "5m",
    "nonce": "off",
    "replay": {"capacity": 1_392_640, "when_full": "refuse"},
}

# RFC 7515, appendix A.3.1: no secret.
P256 = {"kty": "EC", "crv": "P-256", "kid": "k", "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}

ENDPOINT = "/mcp"

# A call of a tool, 2 kB long, and what says the same in a head of 2026-07-28.
TOOL = "search_orders"
CALL = json.dumps(
    {
        "jsonrpc": "2.0",
        "id": 7,
        "method": "tools/call",
        "params": {"name": TOOL, "arguments": {f"field_{n}": f"value {n:>30}" for n in range(38)}},
    }
)
BY_BODY = (("Content-Type", "application/json"), ("MCP-Protocol-Version", "2025-11-25"))
BY_HEAD = (
    ("Content-Type", "application/json"),
    ("MCP-Protocol-Version", "2026-07-28"),
    ("Mcp-Method", "tools/call"),
    ("Mcp-Name", TOOL),
)

NONE, NATIVE, OURS = "none", "native", "ours"  # whose filter it is


@dataclasses.dataclass
class Scenario:
    """One line of the report: requests with these tokens to this listener."""

    key: str
    title: str
    listener: str
    kind: str
    token: str | None = None
    file: TokenFile | None = None
    bound: str | None = None  # the token that all of the file's lines are proofs for
    protected: bool = True
    headers: tuple[tuple[str, str], ...] = ()  # beside those that each request has
    filters: int = 1  # of ours, in the chain
    is_call: bool = False  # it POSTs CALL to a service that reads it


def scenarios(mint: Mint, opaque: str, proofs: TokenFile) -> list[Scenario]:
    jwt, files = mint.sample, mint.files
    found = [
        Scenario("none", "no filter", "none", NONE, jwt, protected=False),
        Scenario("empty", "empty Wasm filter", "empty", NONE, jwt, protected=False),
        Scenario("calls", "Wasm filter, host calls only", "calls", NONE, jwt, protected=False),
        Scenario("native", "jwt_authn, no cache", "jwt_authn", NATIVE, jwt),
        Scenario("native-cache", "jwt_authn, its cache", "jwt_authn_cache", NATIVE, jwt),
        Scenario("ext-authz", "ext_authz over HTTP", "ext_authz", NATIVE, jwt),
        Scenario("jwt", "oidc-filter, JWT, warm", "oidc", OURS, jwt),
        Scenario("opaque", "oidc-filter, opaque token, warm", "oidc_opaque", OURS, opaque),
        Scenario("header", "oidc-filter, JWT, warm, claims to headers", "oidc_header", OURS, jwt),
        Scenario(
            "metadata", "oidc-filter, JWT, warm, claims to metadata", "oidc_metadata", OURS, jwt
        ),
        Scenario("three", "oidc-filter, JWT, warm, three claim headers", "oidc_three", OURS, jwt),
        Scenario("cookie", "oidc-filter, JWT, warm, claims to a cookie", "oidc_cookie", OURS, jwt),
        Scenario("taken-off", "oidc-filter, JWT, warm, forward: false", "oidc_taken_off", OURS, jwt),
        Scenario(
            "rules-outputs",
            "oidc-filter, JWT, warm, 100 rules, three claim headers",
            "oidc_rules_outputs",
            OURS,
            jwt,
        ),
        Scenario("chain", "two oidc-filters, JWT, warm", "oidc_chain", OURS, jwt, filters=2),
        Scenario("none-50", "no filter, 50 headers", "none", NONE, jwt, protected=False, headers=FIFTY),
        Scenario("empty-50", "empty Wasm filter, 50 headers", "empty", NONE, jwt, protected=False, headers=FIFTY),
        Scenario("jwt-50", "oidc-filter, JWT, warm, 50 headers", "oidc", OURS, jwt, headers=FIFTY),
    ]
    found += [
        Scenario("claim", "oidc-filter, JWT, warm, one claim header", "oidc_claim", OURS, jwt),
        Scenario("assertion", "oidc-filter, JWT, warm, an assertion", "oidc_assertion", OURS, jwt),
    ]
    found += [
        Scenario("post-none", "POST of 2 kB, no filter", "none", NONE, jwt, protected=False, headers=BY_BODY, is_call=True),
        Scenario("post", "POST of 2 kB, oidc-filter without mcp", "oidc", OURS, jwt, headers=BY_BODY, is_call=True),
    ]
    for name, title, headers in [
        ("header", "by its headers alone", BY_HEAD),
        ("body", "by its body", BY_BODY),
        ("both", "by headers and body, compared", BY_HEAD),
        ("lists", "by its body, filter_lists", BY_BODY),
    ]:
        title = f"POST of 2 kB, a tools/call judged {title}"
        found.append(Scenario(f"mcp-{name}", title, f"oidc_mcp_{name}", OURS, jwt, headers=headers, is_call=True))
    for count in RULES:
        title = f"oidc-filter, JWT, warm, {count:,} rule{'s' if count > 1 else ''}"
        found.append(Scenario(f"rules-{count}", title, f"oidc_rules_{count}", OURS, jwt))
    for name, file in files.items():
        # The same tokens for both, but each goes through all of them in turn.
        native, ours = dataclasses.replace(file), dataclasses.replace(file)
        title = f"jwt_authn, no cache, {name}, every token new"
        found.append(Scenario(f"native-{name}", title, "jwt_authn", NATIVE, file=native))
        title = f"oidc-filter, {name}, every token new"
        found.append(Scenario(f"cold-{name}", title, "oidc_cold", OURS, file=ours))
    title = "oidc-filter, bound token, warm, every ES256 proof new"
    found.append(Scenario("bound", title, "oidc_bound", OURS, file=proofs, bound=mint.bound))
    title = "oidc-filter, RS256, every token new, an ES256 assertion for each"
    again = dataclasses.replace(files["RS256"])
    found.append(Scenario("cold-assertion", title, "oidc_cold_assertion", OURS, file=again))
    return found


def listeners(mint: Mint) -> dict[str, list[dict[str, Any]]]:
    """The HTTP filters of each listener, without the router."""
    jwt = {"providers": [provider(mint)]}
    identity = {"key": "identity", "claims": ["sub", "client_id", "scope", "groups"]}
    to_headers = {
        "claim_headers": [
            {"header": "x-user", "claim": "sub"},
            {"header": "x-groups", "claim": "groups"},
        ],
        "user_info": [{**identity, "location": "header", "key": "x-identity"}],
    }
    to_metadata = {"user_info": [{**identity, "location": "metadata"}]}
    one_claim = {"claim_headers": {"header": "x-user", "claim": "sub"}}
    assertion = {
        "assertion": {"issuer": "https://edge.example.com", "audience": "bench", "keys": P256}
    }
    to_three = {
        "claim_headers": [
            {"header": "x-user", "claim": "sub"},
            {"header": "x-client", "claim": "client_id"},
            {"header": "x-groups", "claim": "groups"},
        ]
    }
    to_cookie = {"user_info": [{**identity, "location": "cookie"}]}
    return {
        "none": [],
        "empty": [wasm("empty", EMPTY_FILTER, "")],
        "calls": [wasm("calls", CALLS_FILTER, "")],
        "jwt_authn": [jwt_authn(mint, cached=False)],
        "jwt_authn_cache": [jwt_authn(mint, cached=True)],
        "ext_authz": [ext_authz()],
        "oidc": [oidc("oidc", jwt)],
        "oidc_cold": [oidc("oidc_cold", jwt)],
        "oidc_bound": [oidc("oidc_bound", jwt | {"dpop": DPOP})],
        "oidc_opaque": [oidc("oidc_opaque", {"providers": [opaque_provider()]})],
        "oidc_header": [oidc("oidc_header", jwt | to_headers)],
        "oidc_metadata": [oidc("oidc_metadata", jwt | to_metadata), header_to_metadata()],
        "oidc_claim": [oidc("oidc_claim", jwt | one_claim)],
        "oidc_assertion": [oidc("oidc_assertion", jwt | assertion)],
        "oidc_cold_assertion": [oidc("oidc_cold_assertion", jwt | assertion)],
        "oidc_three": [oidc("oidc_three", jwt | to_three)],
        "oidc_cookie": [oidc("oidc_cookie", jwt | to_cookie)],
        "oidc_taken_off": [oidc("oidc_taken_off", jwt | {"forward": False})],
        "oidc_rules_outputs": [oidc("oidc_rules_outputs", jwt | to_three | {"rules": rules(100)})],
        "oidc_mcp_header": [oidc("oidc_mcp_header", jwt | mcp(source="headers"))],
        "oidc_mcp_body": [oidc("oidc_mcp_body", jwt | mcp())],
        "oidc_mcp_both": [oidc("oidc_mcp_both", jwt | mcp())],
        "oidc_mcp_lists": [wasm("oidc_mcp_lists", LISTS_MODULE, json.dumps(jwt | mcp(filter_lists=True)))],
        "oidc_chain": [oidc("oidc_chain", jwt), oidc("oidc_behind", jwt, "behind")],
        **{
            f"oidc_rules_{count}": [oidc(f"oidc_rules_{count}", jwt | {"rules": rules(count)})]
            for count in RULES
        },
    }


# What browsers and proxies send along, and what applications add: with those that every request of
# these runs has, fifty.
FIFTY = (
    ("Accept-Language", "en-GB,en;q=0.9,de;q=0.8"),
    ("Accept-Encoding", "gzip, deflate, br, zstd"),
    ("Cache-Control", "no-cache"),
    ("Pragma", "no-cache"),
    ("Referer", "https://app.bench.invalid/orders?page=2"),
    ("Origin", "https://app.bench.invalid"),
    ("Sec-Ch-Ua", '"Chromium";v="150", "Not A(Brand";v="24"'),
    ("Sec-Ch-Ua-Mobile", "?0"),
    ("Sec-Ch-Ua-Platform", '"Linux"'),
    ("Sec-Fetch-Dest", "empty"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-Fetch-Site", "same-site"),
    ("Dnt", "1"),
    ("Priority", "u=1, i"),
    ("Cookie", "theme=dark; _ga=GA1.1.123456789.1700000000; session=0a1b2c3d4e5f6071; lang=en"),
    ("If-None-Match", '"5f3e-61a2b3c4"'),
    ("X-Requested-With", "XMLHttpRequest"),
    ("Traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
    *((f"X-App-Setting-{number}", f"the value of setting {number}") for number in range(23)),
)


def rules(count: int) -> list[dict[str, Any]]:
    """Rules of which the last is for every path."""
    others = [
        {"match": {"path_prefix": f"/tenants/{number}", "methods": ["GET", "POST"]}, "realm": "x"}
        for number in range(1, count)
    ]
    return [*others, {"match": {"path_prefix": "/", "methods": ["GET"]}, "realm": "y"}]


def mcp(**more: Any) -> dict[str, Any]:
    """An MCP server of three kinds of tools; it gets the token, by which the other Envoy knows that one is there."""
    tools = [
        {"name": "delete_*", "scopes": ["orders:write"]},
        {"name": "payroll", "deny": True},
        {"name": "search_*", "scopes": ["orders:read"]},
    ]
    server = {"resource": f"https://mcp.bench.invalid{ENDPOINT}", "tools": tools, "default": "deny"}
    return {"mcp": server | more, "forward": True}


def provider(mint: Mint) -> dict[str, Any]:
    """JWTs by keys that are at hand, as jwt_authn has them."""
    keys = {"inline": json.loads(mint.jwks)}
    return {
        "issuer": ISSUER,
        "name": "bench",
        "audiences": [AUDIENCE],
        "validation": "jwt",
        "jwks": keys,
    }


def opaque_provider() -> dict[str, Any]:
    introspection = {
        "endpoint": f"{ISSUER}/introspect",
        "client_id": "rs",
        "client_secret": "rs-secret",
        "cache": "1h",
    }
    return {
        "issuer": ISSUER,
        "name": "bench",
        "cluster": "idp",
        "audiences": [AUDIENCE],
        "validation": "introspection",
        "introspection": introspection,
    }


def oidc(name: str, configuration: Mapping[str, Any], told: str = "oidc") -> dict[str, Any]:
    return wasm(name, scene.MODULE, json.dumps(configuration), told)


def wasm(name: str, module: Any, configuration: str, told: str = "oidc") -> dict[str, Any]:
    """A filter in a virtual machine of its own, and the name that it is told."""
    config = {
        "name": told,
        "failure_policy": "FAIL_RELOAD",
        "vm_config": {
            "vm_id": f"bench-{name}",
            "runtime": "envoy.wasm.runtime.v8",
            "code": {"local": {"filename": str(module)}},
        },
        "configuration": {
            "@type": "type.googleapis.com/google.protobuf.StringValue",
            "value": configuration,
        },
    }
    return {"name": name, "typed_config": {"@type": f"{FILTERS}.wasm.v3.Wasm", "config": config}}


def jwt_authn(mint: Mint, cached: bool) -> dict[str, Any]:
    """As near to the filter's behaviour as can be: audience checked, token left on the request."""
    entry: dict[str, Any] = {
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": {"inline_string": mint.jwks},
        "forward": True,
    }
    if cached:
        entry["jwt_cache_config"] = {"jwt_cache_size": 100_000}
    config = {
        "@type": f"{FILTERS}.jwt_authn.v3.JwtAuthentication",
        "providers": {"bench": entry},
        "rules": [{"match": {"prefix": "/"}, "requires": {"provider_name": "bench"}}],
    }
    return {"name": "jwt_authn", "typed_config": config}


def ext_authz() -> dict[str, Any]:
    server = {"uri": "http://authorizer", "cluster": "authorizer", "timeout": "1s"}
    kind = f"{FILTERS}.ext_authz.v3.ExtAuthz"
    config = {"@type": kind, "http_service": {"server_uri": server}}
    return {"name": "ext_authz", "typed_config": config}


def header_to_metadata() -> dict[str, Any]:
    """What takes the claims over from the filter: see envoy/outputs.yaml."""
    present = {"metadata_namespace": "oidc", "key": "identity"}
    present |= {"type": "PROTOBUF_VALUE", "encode": "BASE64"}
    rule = {"header": "x-oidc-metadata-identity", "on_header_present": present, "remove": True}
    kind = f"{FILTERS}.header_to_metadata.v3.Config"
    return {"name": "metadata", "typed_config": {"@type": kind, "request_rules": [rule]}}


def bootstrap(
    http_filters: Mapping[str, list[dict[str, Any]]],
    clusters: Mapping[str, int],
    routes: list[dict[str, Any]] | None = None,
) -> str:
    """envoy/minimal.yaml with these listeners, on ports that the system chooses, and clusters."""
    value = yaml.safe_load((scene.ROOT / "envoy/minimal.yaml").read_text())
    value["admin"]["address"]["socket_address"]["port_value"] = 0
    resources = value["static_resources"]
    (first,) = resources["listeners"]
    first["address"]["socket_address"] |= {"address": "127.0.0.1", "port_value": 0}
    manager = first["filter_chains"][0]["filters"][0]["typed_config"]
    (router,) = [found for found in manager["http_filters"] if found["name"].endswith(".router")]
    if routes is None:
        routes = [{"match": {"prefix": "/"}, "direct_response": answer(200)}]
        if "service" in clusters:
            routes.insert(0, {"match": {"path": ENDPOINT}, "route": {"cluster": "service"}})
    manager["route_config"]["virtual_hosts"][0]["routes"] = routes
    resources["listeners"] = []
    for name, filters in http_filters.items():
        manager["http_filters"] = [*filters, router]
        resources["listeners"].append(copy.deepcopy(first) | {"name": name})
    resources["clusters"] = [cluster(name, port) for name, port in clusters.items()]
    return json.dumps(value)


def answer(status: int) -> dict[str, Any]:
    return {"status": status, "body": {"inline_string": "done\n"}}


def second() -> str:
    """The leanest authorizer that tells a request with a token from one without: another Envoy. And a
    service that answers in the same way, once it has got all of a request."""
    bearer = {"name": "authorization", "string_match": {"prefix": "Bearer "}}
    routes = [
        {"match": {"prefix": "/", "headers": [bearer]}, "direct_response": answer(200)},
        {"match": {"prefix": "/"}, "direct_response": answer(401)},
    ]
    reads = {"@type": f"{FILTERS}.buffer.v3.Buffer", "max_request_bytes": 65_536}
    service = [{"name": "buffer", "typed_config": reads}]
    return bootstrap({"authorizer": [], "service": service}, {}, routes)


def cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {
        "name": name,
        "type": "STATIC",
        "connect_timeout": "5s",
        "load_assignment": {"cluster_name": name, "endpoints": endpoints},
    }
