"""Beside Envoy's other filters: what docs/beside.md, docs/kubernetes.md and docs/providers.md say of them, run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import scene
from clients import request_bytes
from conftest import StartEnvoy
from envoy_filters import http_filter, lua, rbac
from fake_provider import FakeProvider, Reply, Request
from harness import IDENTITY, Bootstrap, Door, Envoy, Provider, config, no_crash, provider_entry
from pages import Page
from xds import Xds

ROUTE = {"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}
FORGED = [("x-user", "root")]


def saw(name: str) -> dict[str, Any]:
    """A filter that copies what it sees of x-user."""
    return lua(
        f"function envoy_on_request(handle) handle:headers():replace('{name}', handle:headers():get('x-user') or 'none') end"
    ) | {"name": name}


def test_a_filter_before_ours_sees_what_the_client_wrote(start_envoy: StartEnvoy, provider: Provider) -> None:
    envoy = start_envoy(config(provider, **IDENTITY), before=[saw("x-before")], after=[saw("x-after")])
    seen = envoy.get("/", FORGED, token=provider.token()).seen
    assert (seen.header("x-before"), seen.header("x-after")) == ("root", "svc")


def test_disabled_on_a_route_is_no_filter_at_all(start_envoy: StartEnvoy, provider: Provider) -> None:
    """Where a rule with `bypass` still takes forged identities off."""
    disabled = {"@type": "type.googleapis.com/envoy.config.route.v3.FilterConfig", "disabled": True}
    off = {"match": {"prefix": "/off"}, "route": {"cluster": "upstream"}, "typed_per_filter_config": {"oidc": disabled}}
    rules = [{"match": {"path_prefix": "/open"}, "bypass": True}]
    envoy = start_envoy(config(provider, rules=rules, **IDENTITY), routes=[off, ROUTE])
    assert envoy.get("/").status == 401
    assert envoy.get("/off", FORGED).seen.all("x-user") == ["root"]
    assert envoy.get("/open", FORGED).seen.all("x-user") == []


def test_a_matcher_around_the_filter_leaves_it_out(start_envoy: StartEnvoy, provider: Provider) -> None:
    skip = {"name": "skip", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.common.matcher.action.v3.SkipFilter"}}
    header = {"@type": "type.googleapis.com/envoy.type.matcher.v3.HttpRequestHeaderMatchInput", "header_name": "x-inside"}
    matcher = {"matcher_tree": {"input": {"name": "header", "typed_config": header}, "exact_match_map": {"map": {"1": {"action": skip}}}}}

    def wrap(bootstrap: Bootstrap) -> None:
        kind = "type.googleapis.com/envoy.extensions.common.matching.v3.ExtensionWithMatcher"
        ours = bootstrap.http_filters[0]
        bootstrap.http_filters[0] = {"name": "oidc", "typed_config": {"@type": kind, "extension_config": ours, "xds_matcher": matcher}}

    envoy = start_envoy(config(provider, **IDENTITY), adjust=wrap)
    assert envoy.get("/", FORGED).status == 401
    assert envoy.get("/", [*FORGED, ("x-inside", "1")]).seen.all("x-user") == ["root"]


@pytest.mark.parametrize("forward", [True, False])
def test_an_internal_redirect_is_decided_anew(start_envoy: StartEnvoy, provider: Provider, forward: bool) -> None:
    policy = {"max_internal_redirects": 1}
    route = {"match": {"prefix": "/"}, "route": {"cluster": "service", "internal_redirect_policy": policy}}
    rules = [{"match": {"path_prefix": "/admin"}, "require": {"scopes": ["admin"]}}]
    with FakeProvider() as service:

        def to(path: str) -> Reply:
            return Reply(302, headers=[("location", f"http://service.example{path}")])

        service.routes |= {"/to-admin": to("/admin"), "/to-page": to("/page"), "/admin": Reply(200), "/page": Reply(200)}
        envoy = start_envoy(
            config(provider, rules=rules, forward=forward, **IDENTITY),
            clusters={"service": service.port},
            routes=[route],
        )
        host = [("Host", "service.example")]
        statuses = [envoy.get(path, host, token=provider.token()).status for path in ("/to-page", "/to-admin")]
        reached = [request.path for request in service.requests]
    # Without the token, which the first pass took off, the second has nothing to go by.
    assert statuses == ([200, 403] if forward else [401, 401])
    assert "/admin" not in reached


def test_cors_before_ours_answers_preflights_and_lets_browsers_read_refusals(
    start_envoy: StartEnvoy, provider: Provider
) -> None:
    policy = {
        "@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": "https://app.example"}],
        "allow_methods": "GET, PUT",
        "allow_headers": "authorization",
    }
    cors = {"name": "cors", "typed_config": {"@type": "type.googleapis.com/envoy.extensions.filters.http.cors.v3.Cors"}}
    envoy = start_envoy(
        config(provider), before=[cors], routes=[ROUTE | {"typed_per_filter_config": {"cors": policy}}]
    )
    origin = [("Origin", "https://app.example")]
    preflight = envoy.get("/", [*origin, ("Access-Control-Request-Method", "PUT")], method="OPTIONS")
    assert (preflight.status, preflight.header("access-control-allow-origin")) == (200, "https://app.example")
    refusal = envoy.get("/", origin)
    assert (refusal.status, refusal.header("access-control-allow-origin")) == (401, "https://app.example")


def test_local_reply_config_rewrites_refusals(start_envoy: StartEnvoy, provider: Provider) -> None:
    status = {"comparison": {"op": "EQ", "value": {"default_value": 401, "runtime_key": "none"}}}
    mapper = {
        "filter": {"status_code_filter": status},
        "body": {"inline_string": "log in first\n"},
        "headers_to_add": [{"header": {"key": "x-why", "value": "%RESPONSE_CODE_DETAILS%"}}],
    }

    def envoy_with(**more: Any) -> Envoy:
        return start_envoy(
            config(provider, verify_path="/verify"), hcm={"local_reply_config": {"mappers": [mapper | more]}}
        )

    envoy = envoy_with(status_code=404)
    assert [envoy.get(path).status for path in ("/", "/verify")] == [404, 404]
    envoy = envoy_with(status_code=200)
    assert [envoy.get(path).status for path in ("/", "/verify")] == [401, 401], "no success is made of a refusal"
    envoy = envoy_with()
    refusal = envoy.get("/")
    assert (refusal.status, refusal.body) == (401, b"log in first\n")
    assert refusal.header("x-why") == "oidc_denied{missing_token}"
    assert (refusal.header("www-authenticate") or "").startswith("Bearer realm=")


def custom_response(kind: str, **policy: Any) -> dict[str, Any]:
    """Envoy's filter that answers each 401 by this policy."""
    kind = f"type.googleapis.com/envoy.extensions.http.custom_response.{kind}"
    action = {"name": "page", "typed_config": {"@type": kind, **policy}}
    match_input = {
        "name": "status",
        "typed_config": {"@type": "type.googleapis.com/envoy.type.matcher.v3.HttpResponseStatusCodeMatchInput"},
    }
    predicate = {"single_predicate": {"input": match_input, "value_match": {"exact": "401"}}}
    matcher = {"matcher_list": {"matchers": [{"predicate": predicate, "on_match": {"action": action}}]}}
    return http_filter("custom_response", "custom_response.v3.CustomResponse", custom_response_matcher=matcher)


def test_custom_response_rewrites_refusals(start_envoy: StartEnvoy, provider: Provider) -> None:
    body = {"inline_string": "no entry"}
    custom = custom_response("local_response_policy.v3.LocalResponsePolicy", status_code=403, body=body)
    envoy = start_envoy(config(provider), before=[custom])
    refusal = envoy.get("/")
    assert (refusal.status, refusal.body) == (403, b"no entry")
    assert envoy.get("/", token=provider.token()).status == 200
    assert not envoy.access_log(status=403)[0]["details"], "the word is lost on the way"
    assert envoy.metric("oidc_requests_total", reason="missing_token") == 1


def test_a_custom_response_that_is_fetched_comes_through_the_filter(start_envoy: StartEnvoy, provider: Provider) -> None:
    uri = "http://test.example/page"
    custom = custom_response("redirect_policy.v3.RedirectPolicy", uri=uri, status_code=401)
    rules = [{"match": {"path": "/page"}, "bypass": True}]
    without = config(provider, **IDENTITY)
    envoy = start_envoy(config(provider, rules=rules, **IDENTITY), before=[custom], listeners={"without": without})
    page = envoy.get("/", FORGED)
    assert (page.status, page.seen.path, page.seen.all("x-user")) == (401, "/page", [])
    assert envoy.door("without").get("/", FORGED).json()["error"] == "missing_token"


def test_filters_of_an_upgrade_take_the_place_of_the_chain(start_envoy: StartEnvoy, provider: Provider) -> None:
    router = http_filter("router", "router.v3.Router")
    websocket = {"upgrade_type": "websocket"}
    handshake = [*FORGED, ("connection", "upgrade"), ("upgrade", "websocket"), ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")]
    statuses = []
    for upgrade in (websocket, websocket | {"filters": [router]}):
        envoy = start_envoy(config(provider, **IDENTITY), hcm={"upgrade_configs": [upgrade]}, log_fields={"user": "%REQ(x-user)%"})
        with envoy.http1() as client:
            client.send(request_bytes("/", handshake))
            statuses.append(client.receive().status)
    assert statuses == [401, 101]
    assert envoy.access_log(status=101)[0]["user"] == "root"


@pytest.mark.parametrize("version", ["", "_v2"])
def test_a_cache_is_the_end_of_the_chain(start_envoy: StartEnvoy, provider: Provider, version: str) -> None:
    name = f"{version[1:].upper()}Config"
    store = f"type.googleapis.com/envoy.extensions.http.cache{version}.simple_http_cache.v3.SimpleHttpCache{name}"
    cache = http_filter("cache", f"cache{version}.v3.Cache{name}", typed_config={"@type": store})
    kept = [*FORGED, ("x-upstream-header", "cache-control: max-age=100")]
    tokens = provider.token(), provider.user_token(kind="rs256")
    before = start_envoy(config(provider, **IDENTITY), before=[cache])
    assert before.get("/forged", kept).seen.all("x-user") == ["root"], "the filter is not asked"
    cookie = [{"location": "cookie", "key": "token"}]
    places = {"cookie": config(provider, access_token=cookie, **IDENTITY), "taken": config(provider, forward=False, **IDENTITY)}
    behind = start_envoy(config(provider, **IDENTITY), after=[cache], listeners=places)

    def users(door: Door, path: str, **cookies: Any) -> list[list[str]]:
        asked = [[*kept, ("cookie", f"token={token}")] if cookies else [*kept, ("authorization", f"Bearer {token}")] for token in tokens]
        seen = [door.get(path, headers).json()["headers"] for headers in asked]
        return [[value for key, value in headers if key == "x-user"] for headers in seen]

    assert users(behind, "/sees") == [["svc"], ["alice"]]
    assert users(behind.door("taken"), "/taken") == [["svc"], ["svc"]]
    assert users(behind.door("cookie"), "/cookie", cookies=True) == [["svc"], ["svc"]]
    assert behind.get("/taken", kept).status == 401


def test_a_reverse_bridge_for_grpc_belongs_behind(start_envoy: StartEnvoy, provider: Provider) -> None:
    bridge = http_filter("bridge", "grpc_http1_reverse_bridge.v3.FilterConfig", content_type="application/grpc+proto", withhold_grpc_frames=True)
    grpc = [("content-type", "application/grpc")]

    def refused(place: str, path: str) -> tuple[int, str | None]:
        envoy = start_envoy(config(provider, verify_path="/verify"), **{place: [bridge]})
        answer = envoy.get(path, grpc, method="POST", body=b"\0\0\0\0\0")
        return answer.status, answer.header("grpc-status")

    assert refused("after", "/a.B/C") == (200, "16")
    assert refused("after", "/verify")[0] == 401
    assert {refused("before", path) for path in ("/a.B/C", "/verify")} == {(200, "2")}


def test_rbac_behind_ours_reads_the_identity(start_envoy: StartEnvoy, provider: Provider) -> None:
    user = {"header": {"name": "x-user", "string_match": {"exact": "svc"}}}
    behind = rbac(users={"permissions": [{"any": True}], "principals": [user]})
    rules = [{"match": {"path_prefix": "/open"}, "bypass": True}]
    envoy = start_envoy(config(provider, rules=rules, **IDENTITY), after=[behind])
    assert envoy.get("/", token=provider.token()).status == 200
    assert envoy.get("/open", [("x-user", "svc")]).status == 403


# ------------------------------------------------------------------------------ upstream filters


def test_as_an_upstream_filter_it_still_refuses_but_routes_are_chosen_before(
    start_envoy: StartEnvoy, provider: Provider
) -> None:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"

    def adjust(bootstrap: Bootstrap) -> None:
        ours = bootstrap.http_filters.pop(1)
        codec = {
            "name": "codec",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.filters.http.upstream_codec.v3.UpstreamCodec"
            },
        }
        (cluster,) = [cluster for cluster in bootstrap.clusters if cluster["name"] == "upstream"]
        cluster["typed_extension_protocol_options"] = {
            options: {
                "@type": f"type.googleapis.com/{options}",
                "explicit_http_config": {"http_protocol_options": {}},
                "http_filters": [ours, codec],
            }
        }

    envoy = start_envoy(config(provider, **IDENTITY), before=[saw("x-before")], adjust=adjust)
    assert envoy.get("/").status == 401
    seen = envoy.get("/", FORGED, token=provider.token()).seen
    assert (seen.header("x-user"), seen.header("x-before")) == ("svc", "root")


@pytest.mark.parametrize("what", ["jwks", "introspection"])
def test_a_credential_injector_in_the_providers_cluster(
    start_envoy: StartEnvoy, fake: FakeProvider, tmp_path: Path, what: str
) -> None:
    """docs/kubernetes.md: keys and introspection behind a bearer token that Envoy reads from a file, and reads again."""
    page = Page("kubernetes.md")
    options = page.yaml("The cluster, and who may read the keys", index=1)
    secret = page.yaml("The cluster, and who may read the keys", index=2)
    file = tmp_path / "kubernetes-token.yaml"

    def write(token: str) -> None:
        new = file.with_suffix(".new")
        new.write_text(json.dumps(secret).replace("<token>", token))
        new.rename(file)

    write("first")
    text = json.dumps(options).replace("/etc/envoy/kubernetes-token.yaml", str(file))

    def adjust(bootstrap: Bootstrap) -> None:
        bootstrap.value["node"] = {"id": "test", "cluster": "test"}
        (cluster,) = [cluster for cluster in bootstrap.clusters if cluster["name"] == "idp"]
        cluster |= json.loads(text)

    wanted = {"Bearer first"}
    inner = dict(fake.routes)

    def guarded(path: str) -> Any:
        def answer(request: Request) -> Reply:
            if request.header("authorization") not in wanted:
                return Reply(401)
            return inner[path](request)

        return answer

    fake.routes |= {path: guarded(path) for path in ("/jwks", "/introspect", "/.well-known/openid-configuration")}
    fake.active = {token: {"aud": "urn:api:test", "sub": "alice"} for token in ("opaque1", "opaque2")}
    entry = provider_entry(
        fake,
        validation="jwt" if what == "jwks" else "introspection",
        introspection=None if what == "jwks" else {"endpoint": f"{fake.issuer}/introspect", "cache": "0s"},
    )
    envoy = start_envoy({"providers": [entry]}, idp=fake.port, adjust=adjust)
    tokens = [fake.token(aud="urn:api:test")] * 2 if what == "jwks" else ["opaque1", "opaque2"]
    assert envoy.get("/", token=tokens[0]).status == 200
    # The kubelet renews the token.
    wanted.clear()
    wanted.add("Bearer second")
    write("second")
    if what == "introspection":
        scene.poll(lambda: envoy.get("/", token=tokens[1]).status == 200, "the new credential", 10)
    assert {request.header("authorization") for request in fake.requests} <= {"Bearer first", "Bearer second"}


# -------------------------------------------------------------------------------- what the log says


def test_an_overflow_of_the_cluster_is_told(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    def adjust(bootstrap: Bootstrap) -> None:
        (cluster,) = [cluster for cluster in bootstrap.clusters if cluster["name"] == "idp"]
        cluster["circuit_breakers"] = {"thresholds": [{"max_requests": 0, "max_pending_requests": 0}]}

    envoy = start_envoy(config(fake), idp=fake.port, adjust=adjust)
    assert envoy.get("/", token=fake.token()).status == 503
    assert "circuit_breakers` let no more through (overflow)" in envoy.log()


def test_a_start_is_one_line_and_a_warning_is_one(start_envoy: StartEnvoy, provider: Provider) -> None:
    odd = {"require": {"claims": {"claim": "realm_access.roles"}}, "allow_missing": True}
    envoy = start_envoy(config(provider, **odd), workers=2)
    scene.poll(lambda: "ready: providers, 1: " in envoy.log(), "the line", 20)
    assert envoy.log().count("told by `path`") == 1
    assert envoy.log().count("ready: providers, 1: ") == 1


def test_a_debug_line_tells_the_request_by_envoys_id(start_envoy: StartEnvoy, provider: Provider) -> None:
    rules = [{"match": {"path_prefix": "/admin"}, "require": {"claims": {"claim": "dept", "any_of": "it"}}}]
    envoy = start_envoy(config(provider, rules=rules), log_fields={"id": "%REQ(x-request-id)%"})
    assert envoy.get("/admin?a=b", token=provider.token()).status == 403
    (entry,) = envoy.access_log(status=403)
    (line,) = re.findall(r"GET /admin \[x-request-id (\S+)\]: denied with 403: insufficient_claims \((.*)", envoy.log())
    assert line[0] == entry["id"] and "rules[0].require.claims[0] is not fulfilled" in line[1]
    assert no_crash(envoy)


def test_gauges_of_a_provider_that_is_gone_become_zero(
    start_envoy: StartEnvoy, provider: Provider, xds: Xds
) -> None:
    def named(name: str) -> dict[str, Any]:
        return {"providers": [provider_entry(provider, name=name)]}

    envoy: Envoy = start_envoy(named("old"), adjust=xds.take_over)
    scene.poll(lambda: envoy.metric("oidc_jwks_keys", provider="old") > 0, "the keys", 20)
    xds.publish(named("new"))
    scene.poll(lambda: envoy.metric("oidc_jwks_keys", provider="new") > 0, "the new keys", 20)
    scene.poll(lambda: envoy.metric("oidc_jwks_keys", provider="old") == 0, "the end of the old ones", 30)
