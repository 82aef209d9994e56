"""The official SDK of MCP for Python, client and server, with the filter between them and a real provider: no code of
ours is in either."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import http.server
import json
import shutil
import socket
import subprocess
import threading
import urllib.parse
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
import uvicorn
from clients import request_bytes
from conftest import StartEnvoy
from fake_provider import FakeProvider
from harness import ROOT, Bootstrap, Envoy, Provider
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.session import ClientSession
from mcp.client.streamable_http import streamable_http_client
from mcp.server.mcpserver import MCPServer
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientMetadata
from mcp.types import jsonrpc_message_adapter
from services import free_port

LOG = {"version": "%REQ(MCP-PROTOCOL-VERSION)%"}
CALLBACK = "http://127.0.0.1:9999/callback"


class Server:
    """An MCP server of the SDK, in a thread; what was called is noted."""

    def __init__(self, **options: Any) -> None:
        self.called: list[str] = []
        server = MCPServer("files", log_level="ERROR")

        @server.tool()
        def list_files() -> str:
            """Lists."""
            self.called.append("list_files")
            return "a b"

        @server.tool()
        def delete_file(name: str) -> str:
            """Deletes."""
            self.called.append("delete_file")
            return f"{name} is gone"

        app = server.streamable_http_app(transport_security=None, host="0.0.0.0", **options)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.socket.getsockname()[1]
        self._uvicorn = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        self._thread = threading.Thread(target=self._uvicorn.run, args=([self.socket],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._uvicorn.should_exit = True
        self._thread.join(5)


def start(
    start_envoy: StartEnvoy, provider: Any, upstream: int, mcp: dict[str, Any] | None = None, **options: Any
) -> tuple[Envoy, str]:
    """Envoy at a port that is known before: the resource names it."""
    port = free_port()
    resource = f"http://127.0.0.1:{port}/mcp"

    def adjust(bootstrap: Bootstrap) -> None:
        bootstrap.listener["address"]["socket_address"]["port_value"] = port
        if mcp and mcp.get("filter_lists"):
            bootstrap.take_module("oidc_filter_lists.wasm")

    tools = [{"name": "delete_*", "scopes": ["files:write"]}, {"name": "list_files"}]
    configuration = {
        "providers": [{"issuer": provider.issuer, "cluster": "idp", "validation": "jwt"}],
        "require": {"scopes": ["mcp"]},
        "mcp": {"resource": resource, "tools": tools, "default": "deny", "scopes_supported": ["mcp"], **(mcp or {})},
    }
    return start_envoy(configuration, clusters={"upstream": upstream}, adjust=adjust, log_fields=LOG, **options), resource


class Storage:
    """What the SDK's client keeps."""

    tokens: Any = None
    info: Any = None

    async def get_tokens(self) -> Any:
        return self.tokens

    async def set_tokens(self, tokens: Any) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> Any:
        return self.info

    async def set_client_info(self, info: Any) -> None:
        self.info = info


@pytest.mark.parametrize(
    "options", [{"stateless_http": True, "json_response": True}, {"stateless_http": True}, {}], ids=["json", "sse", "stateful"]
)
def test_the_sdk_finds_its_way(
    start_envoy: StartEnvoy, provider: Provider, options: dict[str, Any]
) -> None:
    """MCP-01, MCP-02, MCP-06: discovery from a 401, registration, token, call; 403, step-up, call."""
    server = Server(**options)
    _, resource = start(start_envoy, provider, server.port)
    asked: list[str] = []
    landed: list[str] = []

    async def redirect(url: str) -> None:
        asked.append(urllib.parse.parse_qs(urllib.parse.urlsplit(url).query)["scope"][0])
        parts = urllib.parse.urlsplit(url)
        target = f"{parts.path}?{parts.query}"
        landed.append(await asyncio.to_thread(provider._log_in, target, "alice", CALLBACK))

    async def callback() -> AuthorizationCodeResult:
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(landed[-1]).query)
        assert "code" in query, query
        return AuthorizationCodeResult(code=query["code"][0], state=query["state"][0], iss=query.get("iss", [None])[0])

    metadata = OAuthClientMetadata(client_name="agent", redirect_uris=[CALLBACK], grant_types=["authorization_code"])
    storage = Storage()
    auth = OAuthClientProvider(resource, metadata, storage, redirect, callback)

    async def run() -> tuple[str, str]:
        async with (
            httpx2.AsyncClient(auth=auth, timeout=20) as client,
            streamable_http_client(resource, http_client=client) as streams,
            ClientSession(streams[0], streams[1]) as session,
        ):
            await session.initialize()
            listed = await session.list_tools()
            assert {tool.name for tool in listed.tools} == {"list_files", "delete_file"}
            first = await session.call_tool("list_files", {})
            assert server.called == ["list_files"]
            second = await session.call_tool("delete_file", {"name": "a"})
            return first.content[0].text, second.content[0].text

    try:
        assert asyncio.run(asyncio.wait_for(run(), 60)) == ("a b", "a is gone")
    finally:
        server.stop()
    assert asked[0].split() == ["mcp"]
    assert set(asked[-1].split()) == {"mcp", "files:write"}
    assert len(asked) == 2
    assert storage.info.client_id


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
def test_both_ages_of_the_protocol_pass(start_envoy: StartEnvoy, fake: FakeProvider, mode: str) -> None:
    """With the headers of 2026-07-28, and with what was before, as the SDK's client writes them."""
    server = Server(stateless_http=True)
    envoy, resource = start(start_envoy, fake, server.port, idp=fake.port)

    async def run(scope: str, tool: str) -> Any:
        headers = {"authorization": f"Bearer {fake.token(aud=resource, scope=scope)}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=20) as client,
            Client(streamable_http_client(resource, http_client=client), mode=mode) as session,
        ):
            assert {tool.name for tool in (await session.list_tools()).tools} == {"list_files", "delete_file"}
            return await session.call_tool(tool, {"name": "a"} if tool == "delete_file" else {})

    try:
        for scope, tool in [("mcp", "list_files"), ("mcp files:write", "delete_file")]:
            assert not asyncio.run(asyncio.wait_for(run(scope, tool), 30)).is_error
        with pytest.raises(BaseException):  # noqa: B017, PT011  (an ExceptionGroup of anyio's)
            asyncio.run(asyncio.wait_for(run("mcp", "delete_file"), 30))
    finally:
        server.stop()
    assert server.called == ["list_files", "delete_file"]
    entries = envoy.access_log(count=3, path="/mcp")
    versions = {entry["version"] for entry in entries}
    assert ("2026-07-28" in versions) == (mode == "2026-07-28"), versions
    assert [entry["status"] for entry in entries].count(403) == 1


@pytest.mark.parametrize("mode", ["legacy", "2026-07-28"])
@pytest.mark.parametrize("as_json", [True, False], ids=["json", "sse"])
def test_the_sdk_sees_what_its_token_may_call(
    start_envoy: StartEnvoy, fake: FakeProvider, mode: str, as_json: bool
) -> None:
    """What a token may not call is not listed to its client."""
    server = Server(stateless_http=True, json_response=as_json)
    _, resource = start(start_envoy, fake, server.port, {"filter_lists": True}, idp=fake.port)

    async def listed(scope: str) -> set[str]:
        headers = {"authorization": f"Bearer {fake.token(aud=resource, scope=scope)}"}
        async with (
            httpx2.AsyncClient(headers=headers, timeout=20) as client,
            Client(streamable_http_client(resource, http_client=client), mode=mode) as session,
        ):
            return {tool.name for tool in (await session.list_tools()).tools}

    try:
        assert asyncio.run(asyncio.wait_for(listed("mcp"), 30)) == {"list_files"}
        assert asyncio.run(asyncio.wait_for(listed("mcp files:write"), 30)) == {"list_files", "delete_file"}
    finally:
        server.stop()


@pytest.mark.parametrize("kind", ["stateless", "stateful"])
def test_the_sdk_for_typescript_finds_its_way(start_envoy: StartEnvoy, provider: Provider, kind: str) -> None:
    """MCP-01, MCP-06: the same with the SDK of the other language, client and server."""
    peer = [shutil.which("node") or "node", str(ROOT / "envoy/provider/mcp-peer.mjs")]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([*peer, "server", kind], **pipes) as server:
        try:
            _, resource = start(start_envoy, provider, json.loads(server.stdout.readline())["port"])
            with subprocess.Popen([*peer, "client", resource], **pipes) as client:
                said = []
                for line in client.stdout:
                    said.append(json.loads(line))
                    if url := said[-1].get("authorize"):
                        parts = urllib.parse.urlsplit(url)
                        landed = provider._log_in(f"{parts.path}?{parts.query}", "alice", CALLBACK)
                        client.stdin.write(f"{landed}\n")
                        client.stdin.flush()
            assert client.returncode == 0, said
        finally:
            server.kill()
        called = [json.loads(line)["called"] for line in server.stdout]
    scopes = [
        set(urllib.parse.parse_qs(urllib.parse.urlsplit(line["authorize"]).query)["scope"][0].split())
        for line in said
        if "authorize" in line
    ]
    assert scopes[0] == {"mcp"}
    assert "files:write" in scopes[-1]
    assert len(scopes) == 2
    assert [line["result"] for line in said if "result" in line] == ["list_files is done", "delete_file is done"]
    assert called == ["list_files", "delete_file"]


# ------------------------------------------------------------------------------- bodies, and who reads them


class Sink:
    """A service that keeps every body that gets to it."""

    def __init__(self) -> None:
        bodies: list[bytes] = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                if "chunked" in (self.headers.get("transfer-encoding") or ""):
                    body = b""
                    while size := int(self.rfile.readline(), 16):
                        body += self.rfile.read(size)
                        self.rfile.readline()
                    self.rfile.readline()
                else:
                    body = self.rfile.read(int(self.headers.get("content-length") or 0))
                bodies.append(body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def handle(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    super().handle()

            def log_message(self, *_: object) -> None:
                pass

        self.bodies = bodies
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Noise:
    """The same numbers on each run."""

    def __init__(self, seed: int) -> None:
        self.state = seed

    def below(self, bound: int) -> int:
        self.state ^= (self.state << 13) & (2**64 - 1)
        self.state ^= self.state >> 7
        self.state ^= (self.state << 17) & (2**64 - 1)
        return self.state % bound


CALL = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"delete_file","arguments":{"a":[1,null]}}}'
LIST = '{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"list_files","arguments":{"a":{"name":"x"}}}}'
PING = '{"jsonrpc":"2.0","id":1,"method":"ping"}'
LETTERS = b'{}[]",:\\u0019.e- tfnTC_'
#: Pieces that a body is made of anew.
PIECES = [
    '"method":"tools/call"', '"Method":"tools/call"', '"METHOD":"tools/call"', '"m\\u0065thod":"tools\\/call"',
    '"method":"tools/c\\u0061ll"', '"method":"ping"', '"method\\u0000":"tools/call"', '"params":{"name":"delete_file"}',
    '"Params":{"name":"delete_file"}', '"param\u017f":{"name":"delete_file"}', '"params":{"Name":"delete_file"}',
    '"params":{"name":"list_files","name":"delete_file"}', '"params":{"name":"delete_file","name":"list_files"}',
    '"params":{"name":"list_files"}', '"params":{"params":{"name":"delete_file"}}', '"params":["delete_file"]',
    '"result":{}', '"id":2', '"ID":2', '"id":null', '"jsonrpc":"2.0"', '"jsonrpc":"1.0"',
    '"__proto__":{"method":"tools/call","params":{"name":"delete_file"}}', '"x":1e999', '"x":NaN', '"x":"\\ud800"',
]  # fmt: skip


def bodies(count: int) -> Iterator[bytes]:
    noise = Noise(0x9E3779B97F4A7C15)
    wholes = [CALL, LIST, PING, f"[{CALL}]", f"[{LIST},{CALL}]", CALL + CALL, LIST + CALL, LIST + "\n" + CALL, f"{LIST} //{CALL}"]
    for text in wholes:
        yield from (text.encode(), b"\xef\xbb\xbf" + text.encode())
        yield from (text.encode(code) for code in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7"))
    for _ in range(count):
        kind = noise.below(3)
        if kind == 0:
            # A whole message with one more member somewhere, or with white space and escapes that mean nothing.
            text = [CALL, LIST, PING][noise.below(3)]
            piece = [*PIECES, '"y":{}', '"_meta":{"a":"b"}', '"z":[]'][noise.below(len(PIECES) + 3)]
            text = [text[0] + piece + "," + text[1:], text[:-1] + "," + piece + "}", text.replace(":", " :\t")][noise.below(3)]
            yield text.replace("i", "\\u0069", noise.below(2)).encode("utf-8", "surrogatepass")
            continue
        if kind == 1:
            pieces = [PIECES[noise.below(len(PIECES))] for _ in range(2 + noise.below(5))]
            text = "{" + ",".join(['"jsonrpc":"2.0"', '"id":1'][noise.below(3) :] + pieces) + "}"
            if not noise.below(8):
                text = f"[{text},{PING}]"
            yield text.encode("utf-8", "surrogatepass")
            continue
        damaged = bytearray(wholes[noise.below(len(wholes))].encode())
        for _ in range(1 + noise.below(2)):
            at, kind = noise.below(len(damaged)), noise.below(6)
            if kind == 0:
                damaged[at] = LETTERS[noise.below(len(LETTERS))]
            elif kind == 1:
                damaged[at] = noise.below(256)
            elif kind == 2:
                damaged.insert(at, LETTERS[noise.below(len(LETTERS))])
            elif kind == 3:
                del damaged[at]
            elif kind == 4:
                damaged[at:at] = damaged[: noise.below(40)]
            else:
                damaged[at] ^= 0x20
            if not damaged:
                damaged = bytearray(b"x")
        yield bytes(damaged)


def folded(value: Any) -> Any:
    """As Go's encoding/json finds members: in any case."""
    if isinstance(value, dict):
        return {name.casefold(): folded(member) for name, member in value.items()}
    return [folded(member) for member in value] if isinstance(value, list) else value


def first_of_two(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return dict(reversed(pairs))


def called(message: Any) -> set[str]:
    if isinstance(message, list):
        return set().union(*map(called, message)) if message else set()
    if not isinstance(message, dict) or message.get("method") != "tools/call":
        return set()
    params = message.get("params")
    name = params.get("name") if isinstance(params, dict) else None
    return {name} if isinstance(name, str) else set()


def found_by_python(body: bytes) -> set[str]:
    found: set[str] = set()
    for hook in (dict, first_of_two):
        with contextlib.suppress(ValueError, RecursionError):
            value = json.loads(body, object_pairs_hook=hook)
            found |= called(value) | called(folded(value))
    with contextlib.suppress(ValueError, RecursionError):
        value, _ = json.JSONDecoder().raw_decode(body.decode("utf-8", "replace").lstrip("\ufeff"))
        found |= called(value)
    with contextlib.suppress(ValueError):
        found |= called(jsonrpc_message_adapter.validate_json(body).model_dump())
    return found


NODE = """
let text = '';
process.stdin.on('data', (chunk) => { text += chunk; });
process.stdin.on('end', () => {
  const called = (m) => Array.isArray(m) ? m.flatMap(called)
    : m && m.method === 'tools/call' && m.params && typeof m.params.name === 'string' ? [m.params.name] : [];
  for (const line of text.split('\\n').filter(Boolean)) {
    let found = [];
    try { found = called(JSON.parse(Buffer.from(line, 'base64').toString('utf8').replace(/^\\ufeff/, ''))); } catch {}
    console.log(JSON.stringify(found));
  }
});
"""


def test_no_reader_finds_a_call_that_was_not_permitted(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """ENC-10, MCP-06: of 10,000 bodies, what gets to the service is a call of a forbidden tool to no reader: Python's json in each
    of its moods, the SDK's own, one that minds no case, and Node's."""
    resource = "https://mcp.example.com/mcp"
    sink = Sink()
    tools = [{"name": "delete_*", "scopes": ["files:write"]}]
    configuration = {
        "providers": [{"issuer": fake.issuer, "cluster": "idp", "validation": "jwt"}],
        "mcp": {"resource": resource, "tools": tools},
    }
    envoy = start_envoy(
        configuration, idp=fake.port, clusters={"upstream": sink.port}, log_levels="wasm:warning"
    )
    headers = [("Content-Type", "application/json"), ("Authorization", f"Bearer {fake.token(aud=resource, scope='')}")]
    all_bodies = list(bodies(10_000))
    statuses: dict[int, int] = {}

    def send(some: list[bytes]) -> None:
        waiting = list(reversed(some))
        while waiting:
            with envoy.http1() as connection:
                is_open = True
                while waiting and is_open:
                    connection.send(request_bytes("/mcp", headers, "POST", waiting.pop()))
                    response = connection.receive()
                    statuses[response.status] = statuses.get(response.status, 0) + 1
                    is_open = response.header("connection") != "close"

    threads = [threading.Thread(target=send, args=(all_bodies[at::2],)) for at in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sink.server.shutdown()
    sink.server.server_close()
    assert sum(statuses.values()) == len(all_bodies), statuses
    assert set(statuses) == {200, 400, 403}, statuses
    assert statuses[200] > 300, statuses
    assert statuses[403] > 300, statuses
    # A refused call is a request that is cut off before its body.
    arrived = [body for body in sink.bodies if body]
    assert len(arrived) == statuses[200]
    lines = "\n".join(base64.b64encode(body).decode() for body in arrived)
    node = subprocess.run(["node", "-e", NODE], input=lines, capture_output=True, text=True, check=True)
    for body, line in zip(arrived, node.stdout.splitlines(), strict=True):
        found = found_by_python(body) | set(json.loads(line))
        assert not any(name.startswith("delete_") for name in found), body
    # The readers do find calls.
    assert found_by_python(CALL.encode()) == {"delete_file"}
