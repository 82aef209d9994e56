"""The verify endpoint, as another Envoy asks it with `ext_authz`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import scene
from clients import Response, exchange, request_bytes
from envoy_filters import http_filter
from fake_provider import FakeProvider
from harness import Bootstrap, Upstream, config

MANAGER = "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"
USER = {"header": "x-user", "claim": "sub"}
TEAM = {"header": "x-team", "claim": "team"}
OPEN = {"match": {"path_prefix": "/open"}, "bypass": True}

Ask = Callable[..., Response]


def cluster(name: str, port: int) -> dict[str, Any]:
    address = {"socket_address": {"address": "127.0.0.1", "port_value": port}}
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": address}}]}]
    return {"name": name, "type": "STATIC", "load_assignment": {"cluster_name": name, "endpoints": endpoints}}


def asking_envoy(door: int, upstream: int) -> str:
    """An Envoy without the filter, which asks one that has it."""
    written = {"patterns": [{"exact": "x-user"}, {"exact": "x-team"}]}
    service = {
        "server_uri": {"uri": "http://door", "cluster": "door", "timeout": "5s"},
        "path_prefix": "/verify",
        "authorization_response": {"allowed_upstream_headers": written},
    }
    # As envoy/verify.yaml says: what is not in the question can't be in the answer.
    every_spelling = {"patterns": [{"exact": "authorization"}, {"safe_regex": {"regex": "x[^a-z0-9](user|team)"}}]}
    filters = [
        http_filter("ext_authz", "ext_authz.v3.ExtAuthz", http_service=service, allowed_headers=every_spelling),
        http_filter("router", "router.v3.Router"),
    ]
    routes = [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}]
    manager = {
        "@type": MANAGER,
        "stat_prefix": "asking",
        "http_filters": filters,
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": routes}]},
    }
    listener = {
        "name": "asking",
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}},
        "filter_chains": [{"filters": [{"name": "manager", "typed_config": manager}]}],
    }
    resources = {"listeners": [listener], "clusters": [cluster("door", door), cluster("upstream", upstream)]}
    admin = {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 0}}}
    return json.dumps({"admin": admin, "static_resources": resources})


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeProvider]:
    with FakeProvider() as running:
        yield running


@pytest.fixture(scope="module")
def door(fake: FakeProvider, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of envoy/verify.yaml, with a rule and a header more."""
    settings = config(fake, rules=[OPEN], claim_headers=[USER, TEAM], verify_path="/verify", verify_response_code=200)
    bootstrap = Bootstrap("verify")
    bootstrap.configure(settings, struct=True)
    bootstrap.cluster("idp", fake.port)
    with scene.EnvoyProcess(bootstrap.text(), tmp_path_factory.mktemp("door")) as envoy:
        yield envoy.ports()["verify"]


@pytest.fixture(scope="module")
def ask(door: int, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    """By way of an Envoy that asks at the door."""
    with scene.EnvoyProcess(asking_envoy(door, upstream.port), tmp_path_factory.mktemp("asking")) as asking:
        port = asking.ports()["asking"]

        def ask(path: str, token: str | None = None, *headers: tuple[str, str]) -> Response:
            credentials = [("authorization", f"Bearer {token}")] if token else []
            return exchange(port, request_bytes(path, [*headers, *credentials], "GET"))

        yield ask


def test_an_envoy_that_asks(ask: Ask, fake: FakeProvider) -> None:
    """AR-50."""
    response = ask("/things", fake.token(team="red"))
    assert response.status == 200
    assert (response.seen.all("x-user"), response.seen.all("x-team")) == (["alice"], ["red"])
    assert ask("/things").status == 401
    assert ask("/things", fake.token(aud="somebody else")).status == 401


def test_an_envoy_that_asks_lets_no_forgery_through(ask: Ask, fake: FakeProvider) -> None:
    """HDR-01: `ext_authz` keeps what the answer doesn't mention, unless it is told otherwise."""
    forged = [("x-user", "admin"), ("x-team", "admin")]
    bypassed = ask("/open", None, *forged)
    assert bypassed.status == 200
    assert (bypassed.seen.all("x-user"), bypassed.seen.all("x-team")) == ([], [])
    without_team = ask("/things", fake.token(), *forged)
    assert (without_team.seen.all("x-user"), without_team.seen.all("x-team")) == (["alice"], [])


@pytest.mark.parametrize("path", ["/things", "/open"])
def test_an_envoy_that_asks_lets_no_spelling_through(ask: Ask, fake: FakeProvider, path: str) -> None:
    """ATK-06."""
    spellings = ["X_User", "x.user", "x~user", "X-USER", "x_team", "X.Team", "x!team"]
    forged = [(name, "root") for name in spellings * 2]
    seen = ask(path, fake.token(), *forged, ("x-other", "mine"), ("x_other", "mine")).seen
    named = [(name, value) for name, value in seen.headers if name.lower().startswith("x") and value in ("root", "alice")]
    assert named == ([("x-user", "alice")] if path == "/things" else [])
    assert (seen.all("x-other"), seen.all("x_other")) == (["mine"], ["mine"])


def test_refusals_name_them_too(door: int) -> None:
    """ATK-06: for a proxy that is told to go on all the same."""
    response = exchange(door, request_bytes("/verify/things", [("x_user", "root"), ("x-other", "mine")], "GET"))
    assert response.status == 401
    names = (response.header("x-envoy-auth-headers-to-remove") or "").split(",")
    assert sorted(names) == ["x-team", "x-user", "x_user"]


UPGRADES = ["websocket", "WebSocket", "h2c", "TLS/1.2", "something/7, websocket", ""]


@pytest.mark.parametrize("upgrade", UPGRADES)
def test_a_question_about_an_upgrade_is_answered(door: int, fake: FakeProvider, upgrade: str) -> None:
    """As Caddy's `forward_auth` asks about a WebSocket. Envoy by itself knows no such upgrade, and would answer 403."""
    told = f"upgrade: {upgrade}\r\n" if upgrade else ""
    more = f"connection: Upgrade\r\n{told}sec-websocket-version: 13\r\nsec-websocket-key: MTIzNDU2Nzg5MDEyMzQ1Ng==\r\n"
    for path, token, status in [("/verify/chat", fake.token(), 200), ("/verify/chat", "bad", 401), ("/verify/open", None, 200)]:
        credentials = f"authorization: Bearer {token}\r\n" if token else ""
        data = f"GET {path} HTTP/1.1\r\nhost: h\r\n{credentials}{more}\r\n".encode()
        assert exchange(door, data).status == status, path
    # It is an answer, never a connection to somewhere.
    for path in ("/chat", "/x/../verify/chat"):
        data = f"GET {path} HTTP/1.1\r\nhost: h\r\nauthorization: Bearer {fake.token()}\r\n{more}\r\n".encode()
        assert exchange(door, data).status in (401, 403), path


def test_a_question_stays_one(ask: Ask, fake: FakeProvider) -> None:
    """PTH-01: whatever the client's path does to the path of the question, it is asked about
    what is served."""
    forged = [("x-user", "admin")]
    for path in ("/../things", "/../open/things", "/open/../things", "/open//../things", "/%2e%2e/open/things"):
        assert ask(path, None, *forged).status == 401, path
        response = ask(path, fake.token(), *forged)
        assert (response.status, response.seen.all("x-user")) == (200, ["alice"]), path


def test_what_is_no_question_goes_nowhere(door: int, fake: FakeProvider) -> None:
    good = [("authorization", f"Bearer {fake.token()}")]
    for path in ("/things", "/open", "/verify2/things", "//verify/things", "/x/../verify/things"):
        assert exchange(door, request_bytes(path, good, "GET")).status in (401, 403), path
        assert exchange(door, request_bytes(path, [], "GET")).status in (401, 403), path
    assert exchange(door, request_bytes("/verify/things", good, "GET")).status == 200
