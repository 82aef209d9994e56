"""Pages of other origins before a real Envoy: what a browser would let them read (Fetch standard, section 3.2)."""

from __future__ import annotations

from typing import Any

import pytest
from clients import Response
from conftest import StartEnvoy
from envoy_filters import TYPE, http_filter
from fake_provider import FakeProvider
from harness import Door, Envoy, config
from tokens import Key

APP = "https://app.example.com"
BELOW = "https://a.b.apps.example.com"
EVIL = "https://evil.example"


@pytest.fixture(scope="module")
def fake() -> Any:
    with FakeProvider(Key.make()) as running:
        yield running


@pytest.fixture(scope="module")
def envoy(start_shared_envoy: StartEnvoy, fake: FakeProvider) -> Envoy:
    """Envoy's own CORS filter stands behind the filter, as in Istio."""
    cors = {"allow_origins": [APP, "https://*.apps.example.com"], "max_age": "10m"}
    policy = {
        "@type": f"{TYPE}.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": APP}],
        "expose_headers": "x-service",
    }
    return start_shared_envoy(
        config(fake, cors=cors, require={"scopes": ["read"]}),
        listeners={
            "without": config(fake),
            "passes": config(fake, cors=cors, allow_preflight=True),
            "cookies": config(
                fake,
                cors=cors | {"allow_credentials": True},
                access_token={"location": "cookie", "key": "session"},
            ),
            "verify": config(fake, cors=cors, verify_path="/verify"),
        },
        idp=fake.port,
        after=[http_filter("cors", "cors.v3.Cors")],
        routes=[
            {
                "match": {"prefix": "/"},
                "route": {"cluster": "upstream"},
                "typed_per_filter_config": {"cors": policy},
            }
        ],
    )


class Browser:
    """A page's `fetch`: preflight, request, and what the page may read of the answer."""

    def __init__(self, door: Door, origin: str, credentials: bool = False) -> None:
        self.door, self.origin, self.credentials = door, origin, credentials

    def may_read(self, response: Response) -> bool:
        allowed = response.all("access-control-allow-origin")
        if self.credentials and response.all("access-control-allow-credentials") != ["true"]:
            return False
        return allowed == [self.origin] or (allowed == ["*"] and not self.credentials)

    def fetch(self, path: str, method: str, headers: dict[str, str]) -> Response | None:
        """None is what a page gets as a `TypeError`: a CORS error."""
        asked = [
            ("Origin", self.origin),
            ("Access-Control-Request-Method", method),
            ("Access-Control-Request-Headers", ",".join(sorted(headers))),
        ]
        preflight = self.door.get(path, asked, method="OPTIONS")
        methods = (preflight.header("access-control-allow-methods") or "").split(", ")
        names = (preflight.header("access-control-allow-headers") or "").split(", ")
        is_ok = 200 <= preflight.status < 300 and self.may_read(preflight)
        if not is_ok or method not in methods or not {*headers} <= {*names}:
            return None
        sent = [("Origin", self.origin), *headers.items()]
        response = self.door.get(path, sent, method=method)
        return response if self.may_read(response) else None

    def read(self, response: Response, name: str) -> str | None:
        exposed = (response.header("access-control-expose-headers") or "").lower().split(", ")
        return response.header(name) if name in exposed else None


@pytest.mark.parametrize("origin", [APP, BELOW])
def test_a_page_can_read_why_it_was_refused(envoy: Envoy, fake: FakeProvider, origin: str) -> None:
    page = Browser(envoy, origin)
    for token, status, reason in (
        ("a.b.c", 401, "inactive"),
        (fake.token(exp=1), 401, "expired"),
        (fake.token(scope="x"), 403, "insufficient_scope"),
    ):
        response = page.fetch("/", "DELETE", {"authorization": f"Bearer {token}"})
        assert response is not None and response.status == status
        assert response.json()["error_description"].startswith(reason)
        assert (page.read(response, "www-authenticate") or "").startswith("Bearer ")
        assert "origin" in response.all("vary")


def test_a_good_request_is_the_services_and_its_cors_filters(envoy: Envoy, fake: FakeProvider) -> None:
    good = {"authorization": f"Bearer {fake.token(scope='read')}"}
    response = Browser(envoy, APP).fetch("/", "PUT", good)
    assert response is not None and response.status == 200 and response.seen.method == "PUT"
    assert response.all("access-control-expose-headers") == ["x-service"], "nothing of ours"


def test_a_preflight_never_gets_to_the_service(envoy: Envoy) -> None:
    asked = [("Origin", BELOW), ("Access-Control-Request-Method", "PATCH")]
    response = envoy.get("/pre", asked, method="OPTIONS")
    assert (response.status, response.body) == (204, b"")
    assert response.header("access-control-max-age") == "600"
    assert envoy.access_log(path="/pre")[0]["details"] == "oidc_preflight"
    with envoy.http2() as connection:
        pairs = [(name.lower(), value) for name, value in asked]
        assert connection.request("/", pairs, method="OPTIONS").status == 204


@pytest.mark.parametrize("origin", [EVIL, f"{APP}.evil.example", "https://apps.example.com", "null"])
def test_no_word_to_an_origin_that_is_not_listed(envoy: Envoy, fake: FakeProvider, origin: str) -> None:
    asked = [("Origin", origin), ("Access-Control-Request-Method", "PUT")]
    response = envoy.get("/", asked, method="OPTIONS")
    assert response.status == 401
    assert not [name for name, _ in response.headers if name.startswith("access-control")]
    assert "origin" in response.all("vary")
    assert Browser(envoy, origin).fetch("/", "PUT", {"authorization": "Bearer a.b.c"}) is None
    # With `allow_preflight`, it is asked of who stands behind.
    assert envoy.door("passes").get("/", asked, method="OPTIONS").seen.method == "OPTIONS"


def test_without_it_a_page_sees_an_error_of_cors(envoy: Envoy) -> None:
    page = Browser(envoy.door("without"), APP)
    assert page.fetch("/", "PUT", {"authorization": "Bearer a.b.c"}) is None


def test_cookies(envoy: Envoy, fake: FakeProvider) -> None:
    page = Browser(envoy.door("cookies"), APP, credentials=True)
    response = page.fetch("/", "PUT", {"content-type": "text/plain"})
    assert response is not None and response.status == 401
    assert Browser(envoy, APP, credentials=True).fetch("/", "PUT", {}) is None


def test_a_proxy_that_asks_takes_no_preflight_for_a_yes(envoy: Envoy) -> None:
    asked = [("Origin", APP), ("Access-Control-Request-Method", "PUT")]
    response = envoy.door("verify").get("/verify/x", asked, method="OPTIONS")
    assert (response.status, response.header("access-control-allow-origin")) == (401, APP)
