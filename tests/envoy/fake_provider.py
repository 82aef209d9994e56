"""A provider that misbehaves in ways in which no real one can be made to.

It speaks HTTP on a bare socket, so that an answer may be anything: 33 MB long, cut off by a reset
in the middle, full of huge headers, or not HTTP at all. Out of the box it behaves: discovery, a key
set, introspection and userinfo, so that a test replaces only the part that it is about.
"""

from __future__ import annotations

import dataclasses
import json
import socket
import socketserver
import struct
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from tokens import Key, claims

RESET_ON_CLOSE = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST


@dataclasses.dataclass
class Request:
    """One request that came in."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def form(self) -> dict[str, str]:
        return dict(urllib.parse.parse_qsl(self.body.decode(), keep_blank_values=True))


@dataclasses.dataclass
class Reply:
    """One answer. `cut`: so many bytes of the body, then a reset. `raw`: these bytes, no HTTP."""

    status: int = 200
    body: bytes = b""
    headers: Sequence[tuple[str, str]] = (("content-type", "application/json"),)
    delay: float = 0.0
    cut: int | None = None
    raw: bytes | None = None

    @classmethod
    def json(cls, value: Any, **more: Any) -> Reply:
        return cls(body=json.dumps(value).encode(), **more)

    def encode(self) -> bytes:
        if self.raw is not None:
            return self.raw
        lines = [f"HTTP/1.1 {self.status} Answer", "connection: close"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        names = {name.lower() for name, _ in self.headers}
        if not names & {"content-length", "transfer-encoding"}:
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + self.body[: self.cut]


Route = Reply | Callable[[Request], Reply]


class FakeProvider:
    """`routes` by path, may be changed while it runs; `requests` is all that came, in order."""

    def __init__(self, *keys: Key) -> None:
        self.keys = list(keys) or [Key.make()]
        self.requests: list[Request] = []
        self._stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.provider = self
        self.port: int = self._server.server_address[1]
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.active: dict[str, dict[str, Any]] = {}  # opaque tokens and what is known of them
        self.routes: dict[str, Route] = {
            "/.well-known/openid-configuration": lambda _: Reply.json(self.metadata()),
            "/jwks": lambda _: Reply.json({"keys": [key.jwk() for key in self.keys]}),
            "/introspect": self._introspect,
            "/userinfo": self._userinfo,
        }
        serve = self._server.serve_forever  # its poll interval is how long it takes to stop
        threading.Thread(target=serve, args=(0.02,), daemon=True).start()

    def metadata(self, **changes: Any) -> dict[str, Any]:
        """The discovery document; a change to None takes a member out."""
        document = {
            "issuer": self.issuer,
            "jwks_uri": f"{self.issuer}/jwks",
            "introspection_endpoint": f"{self.issuer}/introspect",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
        } | changes
        return {name: value for name, value in document.items() if value is not None}

    def token(self, header: dict[str, Any] | None = None, **changes: Any) -> str:
        """A JWT by the first key; `changes` to its claims as in `tokens.claims`."""
        return self.keys[0].token(claims(self.issuer, **changes), header)

    def count(self, path: str) -> int:
        return sum(request.path == path for request in self.requests)

    def __enter__(self) -> FakeProvider:
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._server.shutdown()
        self._server.server_close()

    def _introspect(self, request: Request) -> Reply:
        known = self.active.get(request.form.get("token", ""))
        return Reply.json({"active": True, **known} if known else {"active": False})

    def _userinfo(self, request: Request) -> Reply:
        known = self.active.get((request.header("authorization") or "").removeprefix("Bearer "))
        return Reply.json(known) if known else Reply(401)

    def answer(self, request: Request, connection: socket.socket) -> None:
        self.requests.append(request)
        route = self.routes.get(request.path, Reply(404))
        reply = route(request) if callable(route) else route
        if reply.delay and self._stopping.wait(reply.delay):
            return  # the test is over: nobody waits for this any more
        connection.sendall(reply.encode())
        if reply.cut is not None:
            time.sleep(0.05)  # or the reset overtakes what was sent
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET_ON_CLOSE)


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    block_on_close = False
    allow_reuse_address = True
    request_queue_size = 512  # connections that come all at once must not wait for a retry of TCP
    provider: FakeProvider

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that go away in the middle are expected here."""

    def shutdown_request(self, request: Any) -> None:
        """Without the `shutdown` of the base class, which would turn a reset into a FIN."""
        request.close()


class _Handler(socketserver.StreamRequestHandler):
    server: _Server

    def handle(self) -> None:
        method, target, _ = self.rfile.readline().decode("latin-1").split(" ", 2)
        headers = []
        while line := self.rfile.readline().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            headers.append((name, value.strip()))
        request = Request(method, target, headers, b"")
        if length := request.header("content-length"):
            request.body = self.rfile.read(int(length))
        self.server.provider.answer(request, self.connection)
