"""Rules on a real Envoy: routes that choose the policy, paths as they arrive, and services that
ask or are asked."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from clients import Response, request_bytes
from conftest import StartEnvoy
from envoy_filters import http_filter, lua
from fake_provider import FakeProvider, Reply
from harness import Bootstrap, Envoy, Provider, config, provider_entry, validate_config
from tokens import Key

USER = {"header": "x-user", "claim": "sub"}


@pytest.fixture(scope="module")
def fake() -> Any:
    with FakeProvider(Key.make()) as running:
        yield running


def route(prefix: str, name: str | None = None, rule: Any = None, **match: Any) -> dict[str, Any]:
    entry: dict[str, Any] = {"match": {"prefix": prefix, **match}, "route": {"cluster": "upstream"}}
    if name:
        entry["name"] = name
    if rule is not None:
        entry["metadata"] = {"filter_metadata": {"oidc": {"rule": rule}}}
    return entry


def when(header: str, value: str) -> dict[str, Any]:
    return {"headers": [{"name": header, "string_match": {"exact": value}}]}


@pytest.fixture(scope="module")
def routed(start_shared_envoy: StartEnvoy, fake: FakeProvider) -> Envoy:
    rules = [
        {"match": {"route_name": "admin"}, "require": {"scopes": ["admin"]}},
        {"name": "open", "bypass": True},
        {"name": "strict", "require": {"scopes": ["strict"]}},
    ]
    return start_shared_envoy(
        config(fake, rules=rules, claim_headers=[USER]),
        idp=fake.port,
        routes=[
            route("/named", "admin"),
            route("/open", rule="open"),
            route("/strict", rule="strict"),
            route("/unknown", rule="nobody"),
            route("/number", rule=7),
            route("/null", rule=None) | {"metadata": {"filter_metadata": {"oidc": {"rule": None}}}},
            route("/"),
        ],
    )


def get(envoy: Any, path: str, token: str | None = None, **more: str) -> Response:
    headers = [(name.replace("_", "-"), value) for name, value in more.items()]
    if token:
        headers.append(("authorization", f"Bearer {token}"))
    return envoy.get(path, headers)


@pytest.mark.parametrize("protocol", ["http1", "http2"])
def test_the_route_chooses_the_policy(routed: Envoy, fake: FakeProvider, protocol: str) -> None:
    plain, admin = fake.token(), fake.token(scope="admin")

    def status(path: str, token: str | None) -> int:
        headers = [("authorization", f"Bearer {token}")] if token else []
        if protocol == "http1":
            return routed.get(path, headers).status
        with routed.http2() as connection:
            return connection.request(path, headers).status

    assert status("/named", plain) == 403
    assert status("/named", admin) == 200
    assert status("/elsewhere", plain) == 200
    assert status("/open", None) == 200
    assert status("/strict", admin) == 403
    assert status("/strict", fake.token(scope="strict")) == 200


def test_a_rule_that_is_not_there_is_no_policy(routed: Envoy, fake: FakeProvider) -> None:
    """PTH-15."""
    for path in ("/unknown", "/number", "/null"):
        for token in (None, fake.token(scope="admin strict")):
            assert get(routed, path, token).status == 503, path
    assert routed.access_log(details="oidc_denied{misconfigured}", count=6)
    # What a client sends is no metadata.
    assert get(routed, "/x", None, x_rule="open", rule="open", x_envoy_original_path="/open").status == 401


def test_what_is_taken_out_of_a_query_leads_to_no_other_route(
    start_envoy: StartEnvoy, fake: FakeProvider
) -> None:
    """ATK-02."""
    def parameter(name: str) -> dict[str, Any]:
        return {"query_parameters": [{"name": name, "string_match": {"exact": "1"}}]}

    sources = [{"key": "authorization"}, {"location": "query_string", "key": "access_token"}]
    rules = [
        {"match": {"route_name": "admin"}, "require": {"scopes": ["admin"]}},
        {"name": "open", "bypass": True},
    ]
    envoy = start_envoy(
        config(fake, access_token=sources, rules=rules, forward=False),
        idp=fake.port,
        routes=[
            route("/d", "admin", **parameter("admin")),
            route("/d", rule="open", **parameter("preview")),
            route("/"),
        ],
    )
    plain = fake.token()
    for query in ("admin=1;access_token=x", "access_token=x;admin=1", "a&admin=1;%61ccess_token="):
        assert get(envoy, f"/d?{query}", plain).status == 400
        assert get(envoy, f"/d?{query}").status == 400
    assert get(envoy, "/d?preview=1;access_token=").status == 400
    assert get(envoy, "/d?preview=1&access_token=").seen.path == "/d?preview=1"
    # Nobody else notices.
    assert get(envoy, "/d?admin=1", plain).status == 403
    assert get(envoy, f"/d?access_token={plain}&a=1").seen.path == "/d?a=1"
    assert get(envoy, "/d?a=1;b=2", plain).seen.path == "/d?a=1;b=2"


def test_an_open_route_that_was_found_by_an_ambiguous_path(routed: Envoy) -> None:
    for path in ("/open/..%2fadmin", "/open/..;/admin", "/open/%252e%252e/admin", "/open/a%5c..%5cb"):
        response = routed.raw(request_bytes(path))
        # 307: Envoy itself unescapes slashes first.
        assert response.status in (307, 400, 401), f"{path}: {response}"


def test_writing_a_header_can_choose_another_route(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """HDR-15: Envoy chooses the route anew, and tells which only when it is taken: the client
    then gets nothing of the response. For everybody else, nothing is different."""
    rules = [
        {"match": {"route_name": "admin"}, "require": {"scopes": ["admin"]}},
        {"match": {"path": "/unwritten"}, "claim_headers": []},
    ]
    envoy = start_envoy(
        config(fake, rules=rules, claim_headers=[USER]),
        idp=fake.port,
        log_fields={"route": "%ROUTE_NAME%"},
        routes=[
            route("/tenant", "admin", **when("x-user", "root")),
            route("/tenant", "tenant"),
            route("/same", "one", **when("x-user", "root")),
            route("/same", "two"),
            route("/"),
        ],
    )
    root, ann = fake.token(sub="root", scope="x"), fake.token(sub="ann", scope="x")
    # To another route under the same policy the identity may lead.
    assert get(envoy, "/same", root).seen.header("x-user") == "root"
    assert envoy.access_log()[-1]["route"] == "one"
    assert get(envoy, "/tenant", ann).seen.header("x-user") == "ann"
    # A client's own copy of it is gone before.
    assert get(envoy, "/tenant", None, x_user="root").status == 401
    response = get(envoy, "/tenant", root)
    assert (response.status, response.body) == (503, b"")
    assert envoy.access_log(4)[-1]["route"] == "admin"
    assert "its response is withheld" in envoy.log()
    for path in ("/tenant", "/same", "/", "/unwritten"):
        assert get(envoy, path, ann).status == 200
    assert get(envoy, "/tenant", root).status == 503
    assert get(envoy, "/same", root).status == 200


@pytest.mark.parametrize("outputs", [[USER], []], ids=["written", "unwritten"])
@pytest.mark.parametrize("by", ["name", "metadata"])
def test_no_client_throws_a_switch_for_others(
    start_envoy: StartEnvoy, fake: FakeProvider, by: str, outputs: list[Any]
) -> None:
    """ATK-03: a filter behind makes Envoy choose another route whenever a client says so."""
    rule = {"match": {"route_name": "admin"}} if by == "name" else {"name": "admin"}
    script = """
        function envoy_on_request(handle)
          if handle:headers():get("x-trigger") then handle:headers():add("x-chosen", "admin"); handle:clearRouteCache() end
        end
    """
    marked = "admin" if by == "metadata" else None
    envoy = start_envoy(
        config(fake, rules=[rule | {"require": {"scopes": ["admin"]}}], claim_headers=outputs),
        idp=fake.port,
        after=[lua(script)],
        routes=[route("/", "admin", marked, **when("x-chosen", "admin")), route("/", "rest")],
    )
    ann, admin = fake.token(sub="ann", scope="x"), fake.token(scope="admin")
    for _ in range(20):
        response = get(envoy, "/", ann, x_trigger="1")
        assert (response.status, response.body) == (503, b"")
        assert get(envoy, "/", ann).status == 200
        assert get(envoy, "/", admin).status == 200
    log = envoy.log()
    assert 1 <= log.count("its response is withheld") <= 20
    assert log.count("put the RBAC of envoy/routes.yaml behind") >= 1


@pytest.mark.parametrize("by", ["name", "metadata"])
def test_a_filter_behind_holds_requests_to_the_route(start_envoy: StartEnvoy, fake: FakeProvider, by: str) -> None:
    """HDR-15: the RBAC of envoy/routes.yaml makes Envoy choose the route anew, and compares:
    not even the first request reaches a route that was not decided on."""
    rules = [
        {"name": "admin", "match": {"route_name": "admin"}, "require": {"scopes": ["admin"]}},
        {"match": {"path_prefix": "/open"}, "bypass": True},
    ]
    if by == "metadata":
        del rules[0]["match"]
    rule = "admin" if by == "metadata" else None
    envoy = start_envoy(
        config(fake, rules=rules, claim_headers=[USER]),
        idp=fake.port,
        log_fields={"route": "%ROUTE_NAME%", "upstream": "%UPSTREAM_HOST%"},
        after=[route_check()],
        routes=[
            route("/tenant", "admin", rule, **when("x-user", "root")),
            route("/tenant", "tenant"),
            route("/admin", "admin", rule),
            route("/open", "forged", rule, **when("x-user", "root")),
            route("/open", "open"),
            route("/nameless"),
            route("/", "other"),
        ],
    )
    root, ann = fake.token(sub="root", scope="x"), fake.token(sub="ann", scope="x")
    for _ in range(3):
        assert get(envoy, "/tenant", root).status == 403
    told = [entry for entry in envoy.access_log(3) if entry["route"] == "admin" and entry["upstream"] is None]
    assert len(told) == 3, "a request has reached the upstream"
    # Nothing else is the worse for it.
    for path, token, status in (
        ("/tenant", ann, 200), ("/", root, 200), ("/admin", ann, 403), ("/nameless", ann, 200),
        ("/admin", fake.token(scope="admin"), 200), ("/open", None, 200), ("/", None, 401),
    ):  # fmt: skip
        assert get(envoy, path, token).status == status, path
    # A client's copy of the header chooses a route. Then it is removed, and with it the route.
    assert get(envoy, "/open", None, x_user="root").status == (403 if by == "name" else 401)
    assert "rests on routes" not in envoy.log()


def route_check() -> dict[str, Any]:
    """The filter of that name in envoy/routes.yaml."""
    return next(found for found in Bootstrap("routes").http_filters if found["name"] == "route-check")


def test_paths_as_they_arrive(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """PTH-01, PTH-02, PTH-03, PTH-04, PTH-14: whether or not Envoy normalises paths before."""
    rules = [
        {"match": {"path_prefix": "/public"}, "bypass": True},
        {"match": {"path_prefix": "/admin"}, "require": {"scopes": ["admin"]}},
    ]
    raw = {"normalize_path": False, "merge_slashes": False, "path_with_escaped_slashes_action": "KEEP_UNCHANGED"}
    for hcm in ({}, raw):
        envoy = start_envoy(config(fake, rules=rules), idp=fake.port, hcm=hcm)
        assert get(envoy, "/public/a").status == 200
        for path in (
            "/public/../admin", "/public/..%2fadmin", "/public/%2e%2e/admin", "/public/..;/admin", "//public/../admin",
            "/public//../admin", "//admin", "/%61dmin", "/public/%252e%252e/admin", "/public\\..\\admin", "/public/%00",
            "/admin;x=%2F..", "/x/../admin/..%5c", "/x/../admin/..;/", "//x/admin", "/x/%2e%2e/admin//..",
            "/public%2f..%2fadmin", "/admin?/public", "/admin%3f/public", "/public/%c0%ae%c0%ae/admin", "/Public/a", "/publicx",
        ):  # fmt: skip
            response = envoy.raw(request_bytes(path))
            if response.status == 200:  # Envoy found its way back into /public
                assert response.seen.path.startswith("/public/"), f"{path} {hcm}: {response}"
            else:
                assert response.status in (307, 400, 401), f"{path} {hcm}: {response}"
            bearer = [("authorization", f"Bearer {fake.token()}")]
            response = envoy.raw(request_bytes(path, bearer))
            if "admin" in path and response.status == 200:
                # Envoy has normalised it; else it would be in /admin in one order of reading or another.
                assert response.seen.path in ("/public/admin", "/x/admin", "/"), f"{path} {hcm}: {response}"
        for data in (
            b"OPTIONS * HTTP/1.1\r\nhost: h\r\n\r\n",
            b"GET http://h/public/../admin HTTP/1.1\r\nhost: h\r\n\r\n",
            b"CONNECT h:80 HTTP/1.1\r\nhost: h:80\r\n\r\n",
        ):
            assert envoy.raw(data).status in (400, 401, 403, 404), data


def test_a_redirect_within_envoy_is_judged_anew(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """PTH-13, HDR-17, HDR-18: Envoy follows the service's redirect itself: the new path has its own rule, and no forgery comes by it."""
    rules = [{"match": {"path_prefix": "/public"}, "bypass": True}, {"match": {"path_prefix": "/admin"}, "require": {"scopes": ["admin"]}}]
    entry = route("/")
    entry["route"]["internal_redirect_policy"] = {}
    who = {"location": "query_string", "key": "who", "claims": ["sub"]}
    settings = config(fake, rules=rules, claim_headers=[USER], user_info=[who])
    envoy = start_envoy(settings, idp=fake.port, routes=[entry])
    redirect = [
        ("x-upstream-status", "302"),
        ("x-upstream-header", "location: http://test.example/admin"),
        ("X-User", "root"),
        ("Grpc-Metadata-X-User", "root"),
    ]
    assert envoy.get("/public", redirect).status == 401
    assert envoy.get("/public", redirect, fake.token()).status == 403
    # Envoy follows one redirect, and hands the next one on.
    seen = envoy.get("/public", redirect, fake.token(scope="admin")).seen
    assert (seen.path, seen.header("x-user")) == ("/admin?who=%7B%22sub%22:%22alice%22%7D", "alice")
    assert seen.header("grpc-metadata-x-user") is None
    for path in ("/x;who=root&y=", "/public;who=root"):
        assert envoy.get(path, token=fake.token()).status == 400, path
    assert envoy.get("/(S(x))/admin", token=fake.token()).status == 403


def test_a_method_in_lower_case(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """PTH-07: HTTP/2 knows no list of methods, and some services read them in upper case."""
    rules = [{"match": {"path": "/a", "methods": ["DELETE"]}, "require": {"scopes": ["admin"]}}]
    envoy = start_envoy(config(fake, rules=rules), idp=fake.port, http2_upstream=True)
    bearer = [("authorization", f"Bearer {fake.token(scope='x')}")]
    with envoy.http2() as connection:
        assert connection.request("/a", bearer, method="DELETE").status == 403
        assert connection.request("/a", bearer, method="delete").status == 400
        assert connection.request("/b", bearer, method="delete").status == 200


def test_five_thousand_rules(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    rules = [
        {"match": {"path_prefix": f"/tenants/{number}", "methods": ["GET"]}, "require": {"scopes": [f"t{number}"]}}
        for number in range(5000)
    ]
    envoy = start_envoy(config(fake, rules=rules), idp=fake.port)
    token = fake.token(scope="t4999 t7")
    assert get(envoy, "/tenants/4999/x", token).status == 200
    assert get(envoy, "/tenants/7", token).status == 200
    response = get(envoy, "/tenants/8/x", token)
    assert response.status == 403
    assert 'scope="t8"' in (response.header("www-authenticate") or "")
    assert get(envoy, "/tenants/70000", token).status == 200


def test_a_shadow_is_counted_and_told(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    shadow = {"enforce": True, "require": {"scopes": ["admin"]}}
    fields = {"shadow": "%FILTER_STATE(wasm.oidc.shadow_result:PLAIN)% %FILTER_STATE(wasm.oidc.shadow_reason:PLAIN)%"}
    envoy = start_envoy(config(fake, enforce=False, shadow=shadow), idp=fake.port, log_fields=fields)
    assert get(envoy, "/").status == 200
    assert get(envoy, "/", fake.token(scope="x")).status == 200
    assert get(envoy, "/", fake.token(scope="admin")).status == 200
    told = [entry["shadow"] for entry in envoy.access_log(3)]
    assert told == ["denied missing_token", "denied insufficient_scope", "allowed none"]
    name = "oidc_shadow_requests_total"
    assert envoy.metric(name, result="denied", reason="missing_token", provider="none") == 1
    assert envoy.metric(name, result="denied", reason="insufficient_scope", provider="127.0.0.1") == 1
    assert envoy.metric(name, result="allowed", reason="none", provider="127.0.0.1") == 1


def test_the_authorizer_has_the_last_word(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """AR-82."""
    fake.routes["/decide"] = Reply(204)
    authorization = {"uri": f"{fake.issuer}/decide", "cluster": "idp"}
    envoy = start_envoy(config(fake, external_authorization=authorization, claim_headers=[USER]), idp=fake.port)
    token = fake.token(groups=["a"])
    assert get(envoy, "/p?q=1", token).seen.header("x-user")
    (asked,) = [request for request in fake.requests if request.path == "/decide"]
    body = json.loads(asked.body)
    assert (body["request"]["path"], body["request"]["method"], body["user"]["groups"]) == ("/p?q=1", "GET", ["a"])
    fake.routes["/decide"] = Reply(403, body=b"closed on\r\nsundays")
    response = get(envoy, "/p", token)
    assert (response.status, response.json()["error_description"]) == (403, "insufficient_claims: closed on sundays")
    for reply in (Reply(500), Reply(302, [("location", "/")])):
        fake.routes["/decide"] = reply
        assert get(envoy, "/p", token).status == 503
    assert envoy.metric("oidc_fetches_total", kind="authorization", result="failed", provider="127.0.0.1") == 2


def test_other_proxies_can_ask_the_verify_endpoint(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """AR-50."""
    rules = [
        {"match": {"path_prefix": "/open", "methods": ["GET"]}, "bypass": True},
        {"match": {"path_prefix": "/admin"}, "require": {"scopes": ["admin"]}},
    ]
    told = {"method_header": "x-original-method", "uri_header": "x-original-uri"}
    common = {"rules": rules, "claim_headers": [USER], "verify_path": "/verify"}
    envoy = start_envoy(config(fake, **common), idp=fake.port, listeners={"told": config(fake, **common, verify_request=told)})
    token = fake.token(sub="ann")
    response = get(envoy, "/verify/things", token)
    assert (response.status, response.header("x-user"), response.body) == (204, "ann", b"")
    assert get(envoy, "/verify/things").status == 401
    assert get(envoy, "/verify/open/x").status == 204
    assert get(envoy, "/verify/admin/x", token).status == 403
    assert get(envoy, "/verify", None, x_original_uri="/open", x_original_method="GET").status == 401
    assert get(envoy, "/other", token).seen.header("x-user") == "ann"
    door = envoy.door("told")
    assert get(door, "/verify", None, x_original_uri="/open", x_original_method="GET").status == 204
    assert get(door, "/verify", None, x_original_uri="/open", x_original_method="POST").status == 401
    assert get(door, "/verify/open").status == 401
    # AR-51: no method makes an unauthenticated question a success.
    for method in (b"POST", b"PUT", b"OPTIONS", b"HEAD", b"TRACE"):
        data = method + b" /verify/x HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n\r\n"
        assert envoy.raw(data, head=method == b"HEAD").status in (401, 405)


def test_two_providers_and_three_hosts(start_envoy: StartEnvoy, tmp_path: Path) -> None:
    """Two real providers. During the run one rotates its keys and the other stops."""
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(Provider(directory)) for directory in (tmp_path / "a", tmp_path / "b")
        )
        entries = [
            provider_entry(first, name="first", cluster="first"),
            provider_entry(second, name="second", cluster="second"),
        ]
        for entry in entries:
            entry["jwks"] = {"cooldown": "1s"}
        rules = [
            {"match": {"hosts": ["first.example"]}, "providers": ["first"]},
            {"match": {"hosts": ["second.example"]}, "providers": ["second"]},
        ]
        clusters = {"first": first.port, "second": second.port}
        envoy = start_envoy({"providers": entries, "rules": rules}, clusters=clusters, workers=2)

        def statuses(token: str) -> list[int]:
            hosts = ("first.example", "second.example", "both.example")
            bearer = ("authorization", f"Bearer {token}")
            asks = (request_bytes("/", [("host", host), bearer]) for host in hosts)
            return [envoy.raw(ask).status for ask in asks]

        of_first, of_second = first.token("es256"), second.token("es256")
        for _ in range(10):  # more connections than workers
            assert statuses(of_first) == [200, 401, 200]
            assert statuses(of_second) == [401, 200, 200]
        late = second.token("es256")
        second.process.stop()
        first.rotate()
        rotated = first.token("es256")
        until = time.monotonic() + 20
        # Each worker finds the new key by itself.
        while not all(statuses(rotated) == [200, 401, 200] for _ in range(10)):
            assert time.monotonic() < until, "the new key is not found"
            time.sleep(0.5)
        for token in (of_second, late):
            assert statuses(token) == [401, 200, 200], "keys at hand serve on"
        assert statuses(first.token("rs256")) == [200, 401, 200]


def test_a_rule_that_is_wrong_is_refused_at_load(fake: FakeProvider) -> None:
    result = validate_config(config(fake, rules=[{"match": {"path": "/a/../b"}}]))
    assert result.returncode != 0
    assert "rules[0].match.path" in result.stdout


@pytest.mark.parametrize("by", ["name", "metadata"])
def test_an_answer_of_a_filter_behind_is_no_other_route(start_envoy: StartEnvoy, fake: FakeProvider, by: str) -> None:
    """Who answers before the router has asked for the route has taken none: that any client can
    bring about, and it must not end the trust in routes."""
    rule = {"match": {"route_name": "admin"}} if by == "name" else {"name": "admin"}
    script = """
        function envoy_on_request(handle)
          if handle:headers():get("x-stop") then handle:respond({[":status"] = "429"}, "later") end
        end
    """
    envoy = start_envoy(
        config(fake, rules=[rule | {"require": {"scopes": ["admin"]}}], claim_headers=[USER]),
        idp=fake.port,
        after=[lua(script)],
        routes=[route("/admin", "admin", rule="admin" if by == "metadata" else None), route("/")],
    )
    admin = fake.token(scope="admin")
    assert get(envoy, "/admin", admin).status == 200
    assert get(envoy, "/admin", admin, x_stop="1").status == 429
    assert get(envoy, "/admin", admin).status == 200
    assert get(envoy, "/admin", fake.token(scope="x")).status == 403


@pytest.mark.parametrize("by", ["name", "metadata"])
def test_a_route_that_was_forgotten_is_no_route_without_a_rule(start_envoy: StartEnvoy, fake: FakeProvider, by: str) -> None:
    """A filter before this one may have made Envoy forget the route that it has chosen."""
    rule = {"match": {"route_name": "admin"}} if by == "name" else {"name": "admin"}
    script = "function envoy_on_request(handle) handle:clearRouteCache() end"
    for outputs in ([], [USER]):
        envoy = start_envoy(
            config(fake, rules=[rule | {"require": {"scopes": ["admin"]}}], claim_headers=outputs),
            idp=fake.port,
            before=[lua(script)],
            routes=[route("/admin", "admin", rule="admin" if by == "metadata" else None), route("/")],
        )
        assert get(envoy, "/admin", fake.token(scope="x")).status in (403, 503)


@pytest.mark.parametrize("between", ["", "cors.v3.Cors", "rbac.v3.RBAC"])
def test_a_route_that_was_chosen_anew_is_told_when_somebody_asks(
    start_envoy: StartEnvoy, fake: FakeProvider, between: str
) -> None:
    """What docs/configuration.md says of filters before this one."""
    script = "function envoy_on_request(handle) handle:headers():replace('x-to', 'b') handle:clearRouteCache() end"
    envoy = start_envoy(
        config(fake, rules=[{"match": {"route_name": "admin"}, "require": {"scopes": ["admin"]}}]),
        idp=fake.port,
        before=[lua(script), *([http_filter("between", between)] if between else [])],
        routes=[route("/", "admin", **when("x-to", "b")), route("/", "other")],
    )
    statuses = [get(envoy, "/", fake.token(scope=scope)).status for scope in ("x", "admin")]
    assert statuses == ([403, 200] if between else [503, 503])


def test_no_tunnel_leads_past_the_rules(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """HTP-04: in a tunnel, a client speaks to the service itself: under any path, and with any identity."""
    tunnel = {"upgrade_type": "CONNECT", "connect_config": {}}
    through = {"match": {"connect_matcher": {}}, "route": {"cluster": "upstream", "upgrade_configs": [tunnel]}}
    ways = {
        "host": {"rules": [{"match": {"hosts": ["open.example"]}, "bypass": True}]},
        "missing": {"allow_missing": True},
        "strip": {"enforce": False},
        "named": {"rules": [{"match": {"methods": ["CONNECT"]}, "bypass": True}]},
    }
    policies = {way: config(fake, claim_headers=[USER], **policy) for way, policy in ways.items()}
    envoy = start_envoy(
        policies["host"],
        idp=fake.port,
        listeners=policies,
        routes=[through, route("/")],
        hcm={"upgrade_configs": [{"upgrade_type": "CONNECT"}]},
    )
    statuses = {}
    for way in ways:
        with envoy.door(way).http1() as client:
            client.send(b"CONNECT open.example:443 HTTP/1.1\r\nhost: open.example:443\r\n\r\n")
            # What follows a 200 is the tunnel's.
            statuses[way] = client.receive(head=True).status
            if statuses[way] == 200:
                client.send(request_bytes("/admin", [("x-user", "root")]))
                assert client.receive().json()["path"] == "/admin"
    assert statuses == {"host": 401, "missing": 401, "strip": 401, "named": 200}


def test_no_tunnel_for_datagrams_leads_past_the_rules(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """HTP-04: CONNECT-UDP (RFC 9298), of which Envoy makes a GET, and a host of what the client has named."""
    tunnel = {"upgrade_type": "CONNECT-UDP", "connect_config": {}}
    ways = {
        "host": {"rules": [{"match": {"hosts": ["open.example"]}, "bypass": True}]},
        "missing": {"allow_missing": True},
        "strip": {"enforce": False},
        "named": {"rules": [{"match": {"headers": {"upgrade": "connect-udp"}}, "bypass": True}]},
    }
    policies = {way: config(fake, claim_headers=[USER], **policy) for way, policy in ways.items()}
    with contextlib.closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as service:
        service.bind(("127.0.0.1", 0))
        service.settimeout(10)
        envoy = start_envoy(
            policies["host"],
            idp=fake.port,
            listeners=policies,
            clusters={"service": service.getsockname()[1]},
            routes=[{"match": {"connect_matcher": {}}, "route": {"cluster": "service", "upgrade_configs": [tunnel]}}],
            hcm={"upgrade_configs": [{"upgrade_type": "CONNECT-UDP"}], "http2_protocol_options": {"allow_connect": True}},
        )
        target = "/.well-known/masque/udp/open.example/443/"
        upgrade = [("connection", "upgrade"), ("upgrade", "connect-udp"), ("capsule-protocol", "?1")]
        extended = [(":method", "CONNECT"), (":protocol", "connect-udp"), ("capsule-protocol", "?1")]
        statuses = {}
        for way in ways:
            with envoy.door(way).http1() as client, envoy.door(way).http2() as other:
                client.send(request_bytes(target, upgrade))
                statuses[way] = client.receive(head=True).status, other.head(other.start(target, extended, end=False)).status
                if way == "named":
                    client.send(b"\x00\x06\x00hello")
                    assert service.recv(1000) == b"hello"
    assert statuses == {"host": (401, 401), "missing": (401, 401), "strip": (401, 401), "named": (200, 200)}


def test_a_post_that_is_a_tunnel_cannot_be_told(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """What docs/configuration.md says of `allow_post`, and `oidc-filter lint` warns of."""
    tunnel = {"upgrade_type": "CONNECT", "connect_config": {"allow_post": True}}
    through = route("/") | {"route": {"cluster": "upstream", "upgrade_configs": [tunnel]}}
    envoy = start_envoy(
        config(fake, claim_headers=[USER], rules=[{"match": {"path": "/open"}, "bypass": True}]),
        idp=fake.port,
        routes=[through],
        hcm={"upgrade_configs": [{"upgrade_type": "CONNECT"}]},
    )
    with envoy.http1() as client:
        client.send(request_bytes("/open", method="POST", body=request_bytes("/admin", [("x-user", "root")])))
        assert b'"path":"/admin"' in client.receive().body
    assert envoy.get("/admin", [("x-user", "root")]).status == 401
