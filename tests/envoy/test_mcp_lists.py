"""What an MCP server lists, through a real Envoy: the client gets it without what its token may not use."""

from __future__ import annotations

import gzip
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
import scene
from clients import request_bytes
from conftest import StartEnvoy
from fake_provider import FakeProvider
from harness import Bootstrap, Envoy
from services import RawService

RESOURCE = "https://mcp.example.com/mcp"
ASK = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/list"}).encode()
JSON = ("Content-Type", "application/json")


class Lister(RawService):
    """A service that says these parts, one after the other, to every request."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.pause = 0.0
        self.heads: list[bytes] = []
        self.asked = ASK
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        got = b""
        while b"\r\n\r\n" not in got or (b"POST" in got and self.asked not in got):
            data = connection.recv(65536)
            if not data:
                return
            got += data
        self.heads.append(got.partition(b"\r\n\r\n")[0].lower())
        for part in self.parts:
            connection.sendall(part)
            time.sleep(self.pause)


@pytest.fixture
def lister() -> Iterator[Lister]:
    lister = Lister()
    yield lister
    lister.close()


def adjust(bootstrap: Bootstrap) -> None:
    """The module is the one that sees bodies of responses, and Envoy takes the trailers of HTTP/1.1."""
    bootstrap.take_module("oidc_filter_lists.wasm")
    (cluster,) = (cluster for cluster in bootstrap.clusters if cluster["name"] == "upstream")
    cluster["typed_extension_protocol_options"] = {
        "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
            "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
            "explicit_http_config": {"http_protocol_options": {"enable_trailers": True}},
        }
    }


def configuration(fake: FakeProvider, **mcp: Any) -> dict[str, Any]:
    tools = [{"name": "delete_*", "scopes": ["files:write"]}, {"name": "debug", "deny": True}, {"name": "*"}]
    provider = {"issuer": fake.issuer, "cluster": "idp", "validation": "jwt"}
    return {"providers": [provider], "mcp": {"resource": RESOURCE, "tools": tools, "filter_lists": True, **mcp}}


@pytest.fixture(params=["head first", "head held"])
def envoy(request: pytest.FixtureRequest, start_envoy: StartEnvoy, fake: FakeProvider, lister: Lister) -> Envoy:
    """Once as Envoy is, once with `allow_on_headers_stop_iteration`."""
    holds = request.param == "head held"
    return start_envoy(
        configuration(fake, max_body_size=8192, hold_head=holds),
        idp=fake.port,
        clusters={"upstream": lister.port},
        wasm={"allow_on_headers_stop_iteration": True} if holds else {},
        adjust=adjust,
    )


def tools(*names: str) -> bytes:
    result = {"tools": [{"name": name, "description": "x" * 100} for name in names]}
    return json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}).encode()


def ask(envoy: Envoy, fake: FakeProvider, scope: str = "") -> Any:
    headers = [JSON, ("Accept", "application/json, text/event-stream"), ("Accept-Encoding", "gzip")]
    return envoy.get("/mcp", headers, fake.token(aud=RESOURCE, scope=scope), "POST", ASK)


def names(message: bytes) -> list[str]:
    return [tool["name"] for tool in json.loads(message)["result"]["tools"]]


def response(body: bytes, *headers: bytes) -> bytes:
    length = b"content-length: %d" % len(body)
    return b"\r\n".join([b"HTTP/1.1 200 OK", b"connection: close", *headers, length, b"", body])


def chunks(*parts: bytes, end: bytes = b"0\r\n\r\n") -> list[bytes]:
    return [*(b"%x\r\n%s\r\n" % (len(part), part) for part in parts), end]


MEDIA = b"content-type: application/json"
CHUNKED = [b"HTTP/1.1 200 OK", b"connection: close", b"transfer-encoding: chunked"]


def test_the_other_module_refuses_what_it_cannot_do(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    with pytest.raises(scene.SceneError, match=r"use oidc_filter_lists\.wasm"):
        start_envoy(configuration(fake), idp=fake.port)


def test_a_text_is_filtered_as_a_whole(envoy: Envoy, fake: FakeProvider, lister: Lister) -> None:
    body = tools("read", "debug", "delete_a")
    lister.parts = [response(body, MEDIA, b'etag: "a"')]
    seen = ask(envoy, fake)
    assert (seen.status, names(seen.body)) == (200, ["read"]), seen
    assert seen.header("content-length") in (None, str(len(seen.body)))
    assert seen.header("etag") is None
    assert names(ask(envoy, fake, "files:write").body) == ["read", "delete_a"]
    assert b"accept-encoding" not in lister.heads[0]
    # In pieces, with trailers, and empty.
    head = b"\r\n".join([*CHUNKED, MEDIA, b"", b""])
    lister.pause = 0.02
    for end in (b"0\r\n\r\n", b"0\r\nx-check: a\r\n\r\n"):
        lister.parts = [head, *chunks(body[:10], body[10:60], body[60:], end=end)]
        assert names(ask(envoy, fake).body) == ["read"], end
    lister.parts = [response(b"", MEDIA)]
    assert ask(envoy, fake).body == b""


def test_each_event_goes_on_when_it_is_whole(envoy: Envoy, fake: FakeProvider, lister: Lister) -> None:
    progress = b'data: {"jsonrpc":"2.0","method":"notifications/progress","params":{}}\n\n'
    listed = b"event: message\nid: 1\ndata: " + tools("debug", "read") + b"\n\n"
    head = b"\r\n".join([*CHUNKED, b"content-type: text/event-stream", b"", b""])
    lister.parts = [head, *chunks(progress, listed[:50], listed[50:])]
    lister.pause = 0.3
    token = fake.token(aud=RESOURCE)
    for method, body in [("POST", ASK), ("GET", b"")]:
        with socket.create_connection(("127.0.0.1", envoy.port), 10) as client:
            client.sendall(request_bytes("/mcp", [JSON, ("Authorization", f"Bearer {token}")], method, body))
            first = b""
            while b"notifications/progress" not in first:
                data = client.recv(65536)
                assert data
                first += data
            assert b"read" not in first, "it was held until the end"
            rest = b""
            while b"read" not in rest:
                data = client.recv(65536)
                assert data
                rest += data
        assert b"debug" not in rest, rest
        assert b"id: 1" in rest


def test_a_get_with_a_body_opens_no_other_stream(
    start_envoy: StartEnvoy, fake: FakeProvider, lister: Lister
) -> None:
    """The service answers the head; the body comes late, or never."""
    envoy = start_envoy(configuration(fake), idp=fake.port, clusters={"upstream": lister.port}, adjust=adjust)
    head = b"\r\n".join([*CHUNKED, b"content-type: text/event-stream", b"", b""])
    lister.parts = [head, *chunks(b"data: " + tools("debug", "read") + b"\n\n")]
    headers = [("Authorization", f"Bearer {fake.token(aud=RESOURCE)}"), ("Transfer-Encoding", "chunked")]
    for body in (b"", b"0\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", envoy.port), 10) as client:
            client.sendall(request_bytes("/mcp", headers, "GET", body))
            seen = b""
            while b"read" not in seen:
                data = client.recv(65536)
                assert data, seen
                seen += data
        assert b"debug" not in seen, seen


def test_an_answer_to_another_request_lists_nothing(envoy: Envoy, fake: FakeProvider, lister: Lister) -> None:
    """What it says goes on as it comes, of any length; a list is as many spaces, and the connection lives."""
    lister.asked = json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "read"}}).encode()
    headers = [JSON, ("Authorization", f"Bearer {fake.token(aud=RESOURCE)}")]
    result = {"content": [{"type": "text", "text": "x" * 100_000}], "structuredContent": {"result": {"tools": ["read"]}}}
    answer = json.dumps({"jsonrpc": "2.0", "id": 7, "result": result}).encode()
    listed = tools("read", "debug")
    with envoy.http1() as client:
        for before, end, media in [(b"", b"", b"application/json"), (b"id: 1\r\ndata: ", b"\r\n\r\n", b"text/event-stream")]:
            for body in (answer, listed):
                lister.parts = [response(before + body + end, b"content-type: " + media, b'etag: "a"')]
                client.send(request_bytes("/mcp", headers, "POST", lister.asked))
                seen = client.receive()
                passed = body + end if body is answer else listed.partition(b": [")[0]
                assert (seen.status, seen.body.rstrip(b" "), seen.header("etag")) == (200, before + passed, '"a"')
                assert len(seen.body) == len(before + body + end)


def test_what_cannot_be_read_is_withheld(envoy: Envoy, fake: FakeProvider, lister: Lister) -> None:
    secret = tools("debug")
    for sent in [
        response(gzip.compress(secret), MEDIA, b"content-encoding: gzip"),
        response(secret, b"content-type: text/plain"),
        response(secret + b"x", MEDIA),
        response(tools(*["debug"] * 100), MEDIA),
    ]:
        lister.parts = [sent]
        seen = ask(envoy, fake)
        assert (seen.status, seen.json()["id"], seen.json()["error"]["code"]) == (200, 7, -32603), sent
        assert b"debug" not in seen.body
        assert seen.header("content-encoding") is None
    # Longer than is read, and in pieces.
    parts = [b'{"jsonrpc":"2.0","id":7,"result":{"tools":[', *[b'{"name":"debug"},' * 100] * 20, b"]}}"]
    lister.parts = [b"\r\n".join([*CHUNKED, MEDIA, b"", b""]), *chunks(*parts)]
    lister.pause = 0.005
    seen = ask(envoy, fake)
    assert seen.json()["error"]["code"] == -32603
    # What is no success lists nothing.
    lister.parts = [b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 4\r\n\r\nnone"]
    seen = ask(envoy, fake)
    assert (seen.status, seen.body) == (404, b"none")
