"""The Caddy configuration of docs/verify-endpoint.md, as it stands there, before envoy/verify.yaml."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import scene
from clients import Response, exchange, request_bytes
from fake_provider import FakeProvider
from harness import ROOT, Bootstrap, Upstream, config
from services import free_port, server

CADDY = shutil.which("caddy")

pytestmark = pytest.mark.skipif(CADDY is None, reason="Caddy is not installed (Debian: caddy)")


def block(language: str) -> str:
    (text,) = (ROOT / "docs/verify-endpoint.md").read_text().split(f"```{language}\n")[1:]
    return text.split("```")[0]


@pytest.fixture
def caddy(upstream: Upstream, tmp_path: Path) -> Iterator[Any]:
    told = {"method_header": "x-forwarded-method", "uri_header": "x-forwarded-uri", "host_header": "x-forwarded-host"}
    rules = [
        {"match": {"path_prefix": "/open", "methods": ["GET"]}, "bypass": True},
        {"match": {"hosts": ["admin.example.com"]}, "require": {"scopes": ["admin"]}},
    ]
    with FakeProvider() as fake:
        user = {"header": "x-user", "claim": "sub"}
        settings = config(fake, rules=rules, claim_headers=[user], verify_path="/verify", verify_request=told)
        bootstrap = Bootstrap("verify")
        bootstrap.configure(settings, struct=True)
        bootstrap.cluster("idp", fake.port)
        with scene.EnvoyProcess(bootstrap.text(), tmp_path / "door") as envoy:
            port = free_port()
            text = block("caddyfile").replace("envoy:10000", f"127.0.0.1:{envoy.ports()['verify']}")
            text = text.replace("reverse_proxy service", f"reverse_proxy 127.0.0.1:{upstream.port}")
            file = tmp_path / "Caddyfile"
            file.write_text(f"{{\n admin off\n auto_https off\n}}\nhttp://:{port} {{\n{text}}}\n")
            command = [str(CADDY), "run", "--config", str(file), "--adapter", "caddyfile"]
            homes = {name: str(tmp_path) for name in ("HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME")}
            with server(command, port, env=os.environ | homes, stderr=subprocess.DEVNULL):
                yield port, fake


def test_caddy_asks_the_filter(caddy: Any) -> None:
    """AR-50."""
    port, fake = caddy

    def ask(path: str, token: str | None = None, *headers: tuple[str, str], method: str = "GET") -> Response:
        credentials = [("authorization", f"Bearer {token}")] if token else []
        return exchange(port, request_bytes(path, [*headers, *credentials], method))

    ann = fake.token(sub="ann", scope="x")
    forged = [(name, "root") for name in ("X-User", "X_User", "x.user")]

    def identities(response: Response) -> list[str]:
        """What the service has got, and tells."""
        assert response.status == 200
        return [value for _, value in response.json()["headers"] if value in ("ann", "root")]

    assert identities(ask("/things?a=b", ann, *forged)) == ["ann"]
    assert ask("/things").status == 401
    # Without an identity in the answer, Caddy would keep the client's own.
    assert identities(ask("/open/x", None, *forged)) == []
    # The rule is that of the client's own request.
    assert ask("/open/x", None, method="POST").status == 401
    assert ask("/things", None, ("x-forwarded-uri", "/open"), ("x-forwarded-method", "GET")).status == 401
    admin = ("host", "admin.example.com")
    assert ask("/things", ann, admin).status == 403
    assert ask("/things", fake.token(scope="admin"), admin).status == 200


@pytest.mark.parametrize("token", [True, False])
def test_a_websocket_is_asked_about(caddy: Any, token: bool) -> None:
    """Caddy asks with the headers of the WebSocket."""
    port, fake = caddy
    upgrade = [
        ("connection", "Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "MTIzNDU2Nzg5MDEyMzQ1Ng=="),
    ]
    credentials = [("authorization", f"Bearer {fake.token()}")] if token else []
    status = exchange(port, request_bytes("/chat", [*upgrade, *credentials], "GET")).status
    assert status == (101 if token else 401)
