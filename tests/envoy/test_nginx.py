"""The nginx configuration of docs/verify-endpoint.md, as it stands there, before a real Envoy with the filter."""

from __future__ import annotations

import http.client
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest import StartEnvoy
from fake_provider import FakeProvider
from harness import ROOT, Upstream, config
from services import free_port, server
from tokens import Key

NGINX = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed (Debian: nginx-light)")


def locations() -> str:
    (block,) = (ROOT / "docs/verify-endpoint.md").read_text().split("```nginx\n")[1:]
    return block.split("```")[0]


def told_by_nginx() -> str:
    """The filter's configuration, which stands before nginx's."""
    before, _ = (ROOT / "docs/verify-endpoint.md").read_text().split("```nginx\n")
    return before.rpartition("```json\n")[2].split("```")[0]


@pytest.fixture
def nginx(start_envoy: StartEnvoy, upstream: Upstream, tmp_path: Path) -> Iterator[Any]:
    rules = [
        {"match": {"path_prefix": "/open", "methods": ["GET"]}, "bypass": True},
        {"match": {"path_prefix": "/admin"}, "require": {"scopes": ["admin"]}},
        {"match": {"hosts": ["admin.example.com"]}, "require": {"scopes": ["admin"]}},
    ]
    told = json.loads(told_by_nginx())["verify_request"]
    with FakeProvider(Key.make()) as fake:
        settings = config(
            fake,
            rules=rules,
            claim_headers=[{"header": "x-user", "claim": "sub"}],
            verify_path="/verify",
            verify_request=told,
        )
        envoy = start_envoy(settings, idp=fake.port)
        port = free_port()
        text = locations().replace("envoy:10000", f"127.0.0.1:{envoy.port}")
        text = text.replace("http://service", f"http://127.0.0.1:{upstream.port}")
        # All else is what a server needs to run in a folder of its own.
        text = f"server {{ listen 127.0.0.1:{port};\n{text}}}"
        temporary = "".join(
            f"{kind}_temp_path {tmp_path}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        file = tmp_path / "nginx.conf"
        file.write_text(
            f"daemon off; master_process off; pid {tmp_path}/pid; error_log stderr;\n"
            f"events {{}}\nhttp {{ access_log off;\n{temporary}{text} }}\n"
        )
        with server([str(NGINX), "-p", str(tmp_path), "-e", "stderr", "-c", str(file)], port):
            yield port, fake


def test_nginx_asks_the_filter(nginx: Any) -> None:
    """AR-50."""
    port, fake = nginx

    def ask(path: str, token: str | None = None, method: str = "GET", **headers: str) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        # Names in lower case are Python's.
        sent = {name.replace("_", "-") if name.islower() else name: value for name, value in headers.items()}
        if token:
            sent["authorization"] = f"Bearer {token}"
        connection.request(method, path, headers=sent)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body.decode()

    ann = fake.token(sub="ann", scope="x")
    answer, body = ask("/things?a=b", ann, x_user="forged")
    assert answer.status == 200
    assert '["x-user","ann"]' in body and "forged" not in body
    answer, _ = ask("/things")
    assert answer.status == 401
    assert (answer.getheader("www-authenticate") or "").startswith("Bearer ")
    assert ask("/admin/x", ann)[0].status == 403
    assert ask("/admin/x", fake.token(scope="admin"))[0].status == 200
    # The rule is that of the client's own method and path, whatever it says about them.
    assert ask("/open/x")[0].status == 200
    assert ask("/open/x", method="POST")[0].status == 401
    told = {"x_original_uri": "/open", "x_original_method": "GET", "x_forwarded_uri": "/open"}
    assert ask("/things", None, **told)[0].status == 401
    _, body = ask("/open/x", None, x_user="forged")
    assert "forged" not in body, "without an identity, nginx clears the header"
    # Nor does nginx let other spellings of the header through.
    _, body = ask("/things", ann, **{"X_User": "forged", "x.user": "forged", "X~User": "forged"})
    assert '["x-user","ann"]' in body and "forged" not in body
    for path in ("/open/..%2fadmin", "/open/%2e%2e/admin", "//admin", "/verify", "/auth"):
        assert ask(path)[0].status in (401, 404), path


def test_a_rule_for_hosts_is_for_the_client_s_host(nginx: Any) -> None:
    """ATK-10: nginx asks with a `Host` of its own, and says the client's in a header."""
    port, fake = nginx

    def status(host: str, scope: str) -> int:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.putrequest("GET", "/things", skip_host=True)
        connection.putheader("host", host)
        connection.putheader("authorization", f"Bearer {fake.token(scope=scope)}")
        connection.putheader("x-original-host", "other.example.com")
        connection.endheaders()
        answer = connection.getresponse()
        connection.close()
        return answer.status

    for host in ("admin.example.com", "Admin.Example.COM:80", "admin.example.com."):
        assert (status(host, "x"), status(host, "admin")) == (403, 200), host
    assert status("other.example.com", "x") == 200
