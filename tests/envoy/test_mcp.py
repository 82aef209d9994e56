"""An MCP server behind a real Envoy: what the service gets of a body before it was judged, and what the client gets."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest
from conftest import StartEnvoy
from fake_provider import FakeProvider
from harness import ROOT, Envoy, envoy_release, validate
from pages import Page
from services import RawService

RESOURCE = "https://mcp.example.com/mcp"
METADATA = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp"
TOOLS = {
    "resource": RESOURCE,
    "tools": [{"name": "delete_*", "scopes": ["files:write"]}, {"name": "list"}],
    "default": "deny",
}
LOG = {"mcp": "%FILTER_STATE(wasm.oidc.mcp:TYPED)%"}
JSON = ("Content-Type", "application/json")


class Spy(RawService):
    """A service that notes every byte, and answers 200 to each request that is whole."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        self.got.append(b"")
        index = len(self.got) - 1
        while True:
            try:
                data = connection.recv(65536)
            except OSError:
                return
            if not data:
                return
            self.got[index] += data
            head, _, rest = self.got[index].partition(b"\r\n\r\n")
            is_chunked = b"transfer-encoding: chunked" in head.lower()
            length = next(
                (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
            )
            if rest.endswith(b"0\r\n\r\n") if is_chunked else len(rest) >= length:
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                return

    def bodies(self) -> list[bytes]:
        return [got.partition(b"\r\n\r\n")[2] for got in self.got]


@pytest.fixture
def spy() -> Iterator[Spy]:
    spy = Spy()
    yield spy
    spy.close()


def configuration(fake: FakeProvider, **mcp: Any) -> dict[str, Any]:
    provider = {"issuer": fake.issuer, "cluster": "idp", "validation": "jwt"}
    return {"providers": [provider], "mcp": TOOLS | mcp}


def token(fake: FakeProvider, scope: str = "") -> str:
    return fake.token(aud=RESOURCE, scope=scope)


def call(tool: str, size: int = 0) -> bytes:
    params = {"name": tool, "arguments": {"padding": "x" * size}}
    return json.dumps({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}).encode()


def audit(entry: dict[str, Any]) -> dict[str, Any]:
    """Envoy writes a Struct as its type and its value."""
    return entry["mcp"].get("value", entry["mcp"])


@pytest.fixture(params=["head first", "head held"])
def envoy(request: pytest.FixtureRequest, start_envoy: StartEnvoy, fake: FakeProvider, spy: Spy) -> Envoy:
    """Once as Envoy is, once with `allow_on_headers_stop_iteration`."""
    holds = request.param == "head held"
    wasm = {"allow_on_headers_stop_iteration": True} if holds else {}
    return start_envoy(
        configuration(fake, hold_head=holds),
        idp=fake.port,
        clusters={"upstream": spy.port},
        wasm=wasm,
        log_fields=LOG,
    )


def test_a_permitted_call_gets_to_the_service(envoy: Envoy, fake: FakeProvider, spy: Spy) -> None:
    body = call("delete_a")
    response = envoy.get("/mcp", [JSON], token(fake, "files:write"), "POST", body)
    assert response.status == 200, response
    assert spy.bodies() == [body]
    assert b"authorization" not in spy.got[0].lower()
    (entry,) = envoy.access_log(path="/mcp")
    assert audit(entry) == {"method": "tools/call", "name": "delete_a", "subject": "alice", "decision": "allowed"}


def test_a_refused_call_reaches_nobody(envoy: Envoy, fake: FakeProvider, spy: Spy) -> None:
    """MCP-06: 403 with the challenge and the id; the service gets no byte of the body."""
    response = envoy.get("/mcp", [JSON], token(fake), "POST", call("delete_a"))
    assert response.status == 403, response
    challenge = response.header("www-authenticate")
    assert challenge
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="files:write"' in challenge
    assert f'resource_metadata="{METADATA}"' in challenge
    assert response.json()["id"] == 7
    assert response.json()["error"]["code"] == -403
    time.sleep(0.2)
    assert all(body in (b"", b"0\r\n\r\n") for body in spy.bodies()), spy.got
    (entry,) = envoy.access_log(path="/mcp")
    assert audit(entry)["decision"] == "denied"
    assert entry["details"] == "oidc_denied{insufficient_scope}"


def test_a_body_in_any_pieces_is_judged_as_one(envoy: Envoy, fake: FakeProvider, spy: Spy) -> None:
    """Chunked at each byte, with trailers behind it: the service gets all of it, or nothing."""
    for tool, status in [("list", 200), ("delete_a", 403)]:
        spy.got.clear()
        head = (
            f"POST /mcp HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
            f"Authorization: Bearer {token(fake)}\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        with envoy.http1() as connection:
            connection.send(head.encode())
            for byte in call(tool):
                connection.send(b"1\r\n" + bytes([byte]) + b"\r\n")
            connection.send(b"0\r\nx-trailer: 1\r\n\r\n")
            response = connection.receive()
        assert response.status == status, (tool, response)
        if status == 403:
            time.sleep(0.2)
            assert all(body in (b"", b"0\r\n\r\n") for body in spy.bodies()), spy.got
        else:
            assert b"tools/call" in b"".join(spy.bodies()[0].split(b"\r\n")) or len(spy.bodies()[0]) > len(call(tool))


def test_a_body_that_is_too_long_is_413(envoy: Envoy, fake: FakeProvider, spy: Spy) -> None:
    """By its length at once; without one, as soon as it is longer than is read."""
    body = call("list", 3 << 20)
    assert envoy.get("/mcp", [JSON], token(fake), "POST", body).status == 413
    chunks = b"".join(b"10000\r\n" + body[at : at + 65536].ljust(65536) + b"\r\n" for at in range(0, len(body), 65536))
    headers = [JSON, ("Transfer-Encoding", "chunked"), ("Authorization", f"Bearer {token(fake)}")]
    head = b"POST /mcp HTTP/1.1\r\nHost: a\r\n" + b"".join(f"{n}: {v}\r\n".encode() for n, v in headers) + b"\r\n"
    with envoy.http1() as connection:
        try:
            connection.send(head + chunks + b"0\r\n\r\n")
        except OSError:
            pass
        assert connection.receive().status == 413
    time.sleep(0.2)
    assert all(got in (b"", b"0\r\n\r\n") for got in spy.bodies()), [len(got) for got in spy.got]


def test_a_request_that_waited_for_keys_is_judged_too(
    start_envoy: StartEnvoy, fake: FakeProvider, spy: Spy
) -> None:
    """Whatever comes first, the keys or the body: with `allow_on_headers_stop_iteration`, the body does."""
    for holds in (False, True):
        for allows in (False, True):
            if holds and not allows:
                continue
            envoy = start_envoy(
                configuration(fake, hold_head=holds),
                idp=fake.port,
                clusters={"upstream": spy.port},
                wasm={"allow_on_headers_stop_iteration": True} if allows else {},
            )
            spy.got.clear()
            for tool, status in [("delete_a", 403), ("list", 200)]:
                unknown = fake.token({"kid": f"k{holds}{allows}"}, aud=RESOURCE)
                assert envoy.get("/mcp", [JSON], unknown, "POST", call(tool)).status == 401
                response = envoy.get("/mcp", [JSON], token(fake), "POST", call(tool))
                assert response.status == status, (holds, allows, tool, response)
            assert [body for body in spy.bodies() if body not in (b"", b"0\r\n\r\n")] == [call("list")]


def test_the_metadata_are_there_for_anybody(envoy: Envoy, fake: FakeProvider) -> None:
    """MCP-02: at both places, for pages of any origin."""
    for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"):
        response = envoy.get(path, [("Origin", "https://any.example")])
        assert response.status == 200
        assert response.header("access-control-allow-origin") == "*"
        assert response.header("content-type") == "application/json"
        assert response.json() == {
            "resource": RESOURCE,
            "authorization_servers": [fake.issuer],
            "scopes_supported": ["files:write"],
            "bearer_methods_supported": ["header"],
        }
    response = envoy.get("/mcp", [JSON], None, "POST", call("list"))
    assert response.status == 401
    assert f'resource_metadata="{METADATA}"' in (response.header("www-authenticate") or "")


@pytest.mark.skipif(envoy_release() < (1, 38), reason="Envoy's own filter for MCP is of use from 1.38 on")
def test_envoys_own_filter_can_say_what_is_asked(start_envoy: StartEnvoy, fake: FakeProvider, spy: Spy) -> None:
    """`source: metadata`: what `envoy.filters.http.mcp` has not read is refused."""
    kind = "type.googleapis.com/envoy.extensions.filters.http.mcp.v3.Mcp"
    mcp = {
        "name": "envoy.filters.http.mcp",
        "typed_config": {"@type": kind, "traffic_mode": "PASS_THROUGH", "reject_duplicate_keys": True},
    }
    envoy = start_envoy(
        configuration(fake, source="metadata"), idp=fake.port, clusters={"upstream": spy.port}, before=[mcp]
    )
    accept = ("Accept", "application/json, text/event-stream")
    good = token(fake, "files:write")
    assert envoy.get("/mcp", [JSON, accept], good, "POST", call("delete_a")).status == 200
    assert envoy.get("/mcp", [JSON, accept], token(fake), "POST", call("delete_a")).status == 403
    assert envoy.get("/mcp", [JSON, accept], good, "POST", b"[" + call("delete_a") + b"]").status == 400
    assert envoy.get("/mcp", [JSON], good, "POST", call("delete_a")).status == 400


def test_the_page_for_toolbox_does_as_it_says(start_envoy: StartEnvoy, fake: FakeProvider, spy: Spy) -> None:
    """TB-70, TB-72, TB-73, TB-74: with the configuration of docs/migrate/mcp-toolbox.md."""
    theirs = Page("migrate/mcp-toolbox.md").json("MCP mode with tools", "Ours", idp=fake.issuer)
    envoy = start_envoy(theirs, idp=fake.port, clusters={"upstream": spy.port})

    def ask(tool: str, scope: str) -> Any:
        bearer = fake.token(aud="https://toolbox.example.com", scope=scope)
        return envoy.get("/mcp", [JSON], bearer, "POST", call(tool))

    metadata = envoy.get("/.well-known/oauth-protected-resource")
    assert metadata.status == 200
    assert metadata.json()["scopes_supported"] == ["read:files", "execute:sql", "write:flights"]
    refused = ask("update_flight_status", "read:files write:flights")
    assert refused.status == 403
    assert 'scope="read:files execute:sql write:flights"' in refused.header("www-authenticate")
    assert refused.json()["id"] == 7
    assert ask("update_flight_status", "execute:sql read:files write:flights").status == 200
    assert ask("search_flights", "read:files").status == 200
    assert ask("search_flights", "execute:sql").status == 403
    preflight = [("Origin", "https://app.example"), ("Access-Control-Request-Method", "POST")]
    assert envoy.get("/mcp", preflight, method="OPTIONS").status == 200
    assert envoy.get("/healthz").status == 200


def test_the_page_about_mcp_does_as_it_says(start_envoy: StartEnvoy, fake: FakeProvider, spy: Spy) -> None:
    """With the configuration of docs/mcp.md."""
    ours = Page("mcp.md").json("MCP servers", idp=fake.issuer)
    ours["providers"][0]["validation"] = "jwt"
    envoy = start_envoy(ours, idp=fake.port, clusters={"upstream": spy.port})

    def status(method: str, params: dict[str, Any], **claims: Any) -> int:
        body = json.dumps({"jsonrpc": "2.0", "id": 7, "method": method, "params": params}).encode()
        claims = {"aud": RESOURCE, "scope": "mcp"} | claims
        return envoy.get("/mcp", [JSON], fake.token(**claims), "POST", body).status

    assert status("tools/call", {"name": "anything"}) == 200
    assert status("tools/call", {"name": "anything"}, scope="other") == 403
    assert status("tools/call", {"name": "delete_a"}) == 403
    assert status("tools/call", {"name": "delete_a"}, scope="mcp files:write") == 200
    assert status("tools/call", {"name": "payroll"}) == 403
    assert status("tools/call", {"name": "payroll"}, team="finance") == 200
    assert status("tools/call", {"name": "debug"}, scope="mcp files:write") == 403
    assert status("resources/read", {"uri": "file:///public/../secret/a"}) == 403
    assert status("resources/read", {"uri": "file:///secret/a"}, scope="mcp secrets") == 200
    assert status("resources/read", {"uri": "file:///a"}) == 200
    assert status("prompts/get", {"name": "a"}) == 403
    assert status("initialize", {}) == 200


def test_the_example_is_sound() -> None:
    checked = validate(ROOT / "envoy/mcp.yaml")
    assert checked.returncode == 0, checked.stderr


def test_a_body_over_http2_is_judged_too(envoy: Envoy, fake: FakeProvider, spy: Spy) -> None:
    """In frames, ended by an empty one; and of a client that leaves in the middle of it, nothing goes on."""
    headers = [("content-type", "application/json"), ("authorization", f"Bearer {token(fake)}")]
    for tool, status in [("list", 200), ("delete_a", 403)]:
        spy.got.clear()
        body = call(tool, 20_000)
        with envoy.http2() as connection:
            stream = connection.start("/mcp", headers, method="POST", end=False)
            for at in range(0, len(body), 7_000):
                connection.send(stream, body[at : at + 7_000])
            connection._h2.end_stream(stream)
            connection._flush()
            assert connection.receive(stream).status == status, tool
            abandoned = connection.start("/mcp", headers, method="POST", end=False)
            connection.send(abandoned, call("list")[:-1])
            connection.reset(abandoned)
            # The connection goes on.
            assert connection.request("/mcp", headers).status == 200
        time.sleep(0.2)
        whole = [got for got in spy.bodies() if len(got) > 20_000]
        assert len(whole) == (status == 200)
        assert all(len(got) < 10 for got in spy.bodies() if got not in whole), spy.got


def test_what_was_done_can_be_logged_in_parts(start_envoy: StartEnvoy, fake: FakeProvider, spy: Spy) -> None:
    """With the access log of docs/mcp.md, for a call that is permitted and one that is not."""
    fields = Page("mcp.md").yaml("Reading what was done")["log_format"]["json_format"]
    envoy = start_envoy(configuration(fake), idp=fake.port, clusters={"upstream": spy.port}, log_fields=fields)
    for tool, status, decision in [("list", 200, "allowed"), ("delete_a", 403, "denied")]:
        assert envoy.get("/mcp", [JSON], token(fake), "POST", call(tool)).status == status
        entry = envoy.access_log(path="/mcp", status=status)[-1]
        assert (entry["tool"], entry["decision"]) == (tool, decision)
        assert audit(entry)["method"] == "tools/call"


class Stream(RawService):
    """A service that begins a stream of events, and says nothing more."""

    def serve(self, connection: socket.socket) -> None:
        got = b""
        while b"\r\n\r\n" not in got:
            data = connection.recv(65536)
            if not data:
                return
            got += data
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        connection.sendall(b"b\r\ndata: one\n\n\r\n")
        connection.recv(1)


def test_a_stream_does_not_outlive_what_the_route_says(start_envoy: StartEnvoy, fake: FakeProvider) -> None:
    """MCP-09: the route of docs/mcp.md bounds a stream, and who comes back needs a good token."""
    route = Page("mcp.md").yaml("Streams and their tokens")["route"]
    route["max_stream_duration"]["max_stream_duration"] = "1.5s"
    stream = Stream()
    envoy = start_envoy(
        configuration(fake),
        idp=fake.port,
        clusters={"upstream": stream.port},
        routes=[{"match": {"prefix": "/"}, "route": route}],
    )
    # The filter gives a minute's leeway to clocks that differ. Six seconds are left, for a machine that has much to do.
    begun = time.monotonic()
    short = fake.token(aud=RESOURCE, exp=int(time.time()) - 54)
    with envoy.http2() as connection:
        response = connection.request("/mcp", [("authorization", f"Bearer {short}")])
    assert (response.status, response.body) == (200, b"data: one\n\n")
    assert response.reset
    assert 1 < time.monotonic() - begun < 10
    time.sleep(max(0.0, 7 - (time.monotonic() - begun)))
    assert envoy.get("/mcp", token=short).status == 401
    stream.close()
