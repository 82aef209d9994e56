"""envoy/ext-authz.yaml and its authorizer: what Envoy's own ext_authz makes of the filter's metadata."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import scene
from clients import Response, exchange, request_bytes
from fake_provider import FakeProvider, Reply
from harness import ROOT, Bootstrap, Provider, Upstream, envoy_release

Ask = Callable[..., Response]


def start_authorizer(log: Path) -> scene.NodeServer:
    return scene.NodeServer("authorizer", ROOT / "envoy/authorizer.mjs", log, {"PORT": "0"})


@contextmanager
def running(
    directory: Path, provider: Provider, upstream: Upstream, authorizer: int, with_filter: bool = True
) -> Iterator[Ask]:
    """The configuration as it is in envoy/, with the ports of this run."""
    bootstrap = Bootstrap("ext-authz")
    bootstrap.cluster("idp", provider.port)
    bootstrap.cluster("upstream", upstream.port)
    bootstrap.cluster("authorizer", authorizer)
    if not with_filter:
        del bootstrap.http_filters[0]
    text = bootstrap.text().replace("http://127.0.0.1:9000", provider.issuer)  # the scene's
    with scene.EnvoyProcess(text, directory) as envoy:
        port = envoy.ports()["enforce"]

        def ask(path: str, token: str | None, method: str = "GET", **more: str) -> Response:
            headers = [(name.replace("_", "-"), value) for name, value in more.items()]
            if token:
                headers.append(("Authorization", f"Bearer {token}"))
            return exchange(port, request_bytes(path, headers, method))

        yield ask


@pytest.fixture(scope="module")
def ask(provider: Provider, upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ask]:
    directory = tmp_path_factory.mktemp("ext-authz")
    with ExitStack() as stack:
        authorizer = stack.enter_context(start_authorizer(directory / "authorizer.log"))
        yield stack.enter_context(running(directory, provider, upstream, authorizer.facts["port"]))


def message(field: int, data: bytes) -> bytes:
    """A field of a protobuf message that is a string or a message of less than 128 bytes."""
    return bytes([field << 3 | 2, len(data)]) + data


def forged_struct(**claims: str) -> str:
    """What the filter hands over, made by somebody else: a google.protobuf.Value with a struct of strings."""
    entries = [message(1, message(1, name.encode()) + message(2, message(3, text.encode()))) for name, text in claims.items()]
    return base64.b64encode(message(5, b"".join(entries))).decode()


# ext_authz of Envoy 1.37.0 heeds no `status_on_error`, and hands on no header of a denial.
IS_CURT = envoy_release() == (1, 37)

FORGED = forged_struct(client_id="eve", scope="api:write")


def test_the_authorizer_has_the_last_word(ask: Ask, provider: Provider) -> None:
    reader, writer = provider.token(scope="api:read"), provider.token(scope="api:read api:write")
    assert ask("/things", reader).seen.header("x-authz-client") == "svc"
    assert ask("/things", writer, "POST").status == 200
    denied = ask("/things?a=b", reader, "POST")
    assert (denied.status, denied.body) == (403, b"writing to /things needs the scope api:write\n")
    assert denied.header("content-type") == ("text/plain" if IS_CURT else "text/plain; charset=utf-8")


def test_the_filter_comes_first(ask: Ask, provider: Provider) -> None:
    for token in (None, provider.token() + "A", provider.token(ttl=-3600)):
        response = ask("/things", token)
        assert (response.status, (response.header("www-authenticate") or "")[:6]) == (401, "Bearer")


def test_nobody_makes_claims_of_his_own(ask: Ask, provider: Provider) -> None:
    forged = {
        "x_authz_user": '{"client_id":"eve","scope":"api:write"}',
        "x_authz_result": "allowed",
        "x_authz_client": "eve",
        "x_oidc_metadata_identity": FORGED,
    }
    assert ask("/things", provider.token(scope="api:read"), "POST", **forged).status == 403
    assert ask("/things", provider.token(scope="api:read"), **forged).seen.header("x-authz-client") == "svc"


def test_what_the_authorizer_is_told(provider: Provider, upstream: Upstream, tmp_path: Path) -> None:
    with FakeProvider() as authorizer:
        authorizer.routes["/authz/p"] = Reply(200)
        with running(tmp_path, provider, upstream, authorizer.port) as ask:
            token = provider.token()
            assert ask("/p?q=1", token, "DELETE", x_secret="s", cookie="a=b").status == 200
            (asked,) = authorizer.requests
            assert (asked.method, asked.target, asked.body) == ("DELETE", "/authz/p?q=1", b"")
            told = json.loads(asked.header("x-authz-user") or "")
            assert told == {"sub": "svc", "client_id": "svc", "scope": "api:read", "tenant": "machines"}
            assert asked.header("x-authz-result") == "allowed"
            assert [asked.header(name) for name in ("authorization", "x-secret", "cookie")] == [None] * 3
            assert token not in str(asked.headers)
            # Where it does not answer, or answers with an error: 503.
            on_error = 403 if IS_CURT else 503
            authorizer.routes["/authz/p"] = Reply(500)
            assert ask("/p", token).status == on_error
            authorizer.routes["/authz/p"] = Reply(raw=b"")
            assert ask("/p", token).status == on_error
        assert len(authorizer.requests) == 3


@pytest.mark.parametrize("forged", [{}, {"x_oidc_metadata_identity": FORGED}], ids=["none", "forged"])
def test_without_the_filter_nobody_passes(
    forged: dict[str, Any], provider: Provider, upstream: Upstream, tmp_path: Path
) -> None:
    with start_authorizer(tmp_path / "authorizer.log") as authorizer:
        port = authorizer.facts["port"]
        with running(tmp_path, provider, upstream, port, with_filter=False) as ask:
            assert ask("/things", provider.token(), **forged).status == 403


def test_metadata_alone_are_no_proof(provider: Provider, upstream: Upstream, tmp_path: Path) -> None:
    """Why the authorizer wants the filter's decision beside them: were the filter not there, they could be a client's."""
    with FakeProvider() as authorizer:
        with running(tmp_path, provider, upstream, authorizer.port, with_filter=False) as ask:
            ask("/p", None, x_oidc_metadata_identity=FORGED, x_authz_result="allowed")
        (asked,) = authorizer.requests
    assert json.loads(asked.header("x-authz-user") or "") == {"client_id": "eve", "scope": "api:write"}
    assert asked.header("x-authz-result") is None
