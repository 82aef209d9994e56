"""Answers of providers that speak HTTP/2 (RFC 9113), as that has them, and as it forbids them."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import h2.config
import h2.connection
import h2.events
import h2.exceptions
import pytest
from clients import together
from conftest import StartEnvoy
from harness import Bootstrap, no_crash, provider_entry
from tokens import Key, claims

OK = [(":status", "200"), ("content-type", "application/json")]
DATA_THAT_ENDS = b"\x00\x01"  # the type of a frame, and its flags


class Answering:
    """One stream of a connection, and what the answer on it should say."""

    def __init__(self, connection: h2.connection.H2Connection, peer: socket.socket, stream: int, body: bytes) -> None:
        self.connection, self.peer, self.stream, self.body = connection, peer, stream, body

    def head(self, headers: list[tuple[str, str]] = OK, end: bool = False) -> None:
        self.connection.send_headers(self.stream, headers, end_stream=end)

    def data(self, body: bytes, end: bool = True) -> None:
        self.connection.send_data(self.stream, body, end_stream=end)

    def raw(self, frame: bytes) -> None:
        """Behind what was said so far; h2 would refuse to send it."""
        self.flush()
        self.peer.sendall(frame)

    def flush(self) -> None:
        self.peer.sendall(self.connection.data_to_send())
        time.sleep(0.05)


def whole(to: Answering, headers: list[tuple[str, str]] = OK) -> None:
    to.head(headers)
    to.data(to.body)


def with_trailers(to: Answering) -> None:
    to.head()
    to.data(to.body, end=False)
    to.head([("grpc-status", "13")], end=True)


def one_by_one(to: Answering) -> None:
    to.head()
    for octet in to.body:
        to.data(bytes([octet]), end=False)
    to.data(b"")


def behind_hints(to: Answering) -> None:
    to.head([(":status", "103"), ("link", "</x>")])
    whole(to)


def reset_amid(to: Answering) -> None:
    to.head()
    to.data(to.body, end=False)
    to.flush()
    to.connection.reset_stream(to.stream, 0)


def goaway_amid(to: Answering) -> None:
    to.head()
    to.data(to.body, end=False)
    to.connection.close_connection(last_stream_id=0)
    to.flush()
    to.peer.close()


def another_length(to: Answering, more: int) -> None:
    to.head([*OK, ("content-length", str(len(to.body) + more))])
    to.raw(len(to.body).to_bytes(3) + DATA_THAT_ENDS + to.stream.to_bytes(4) + to.body)


def with_status(to: Answering, status: str) -> None:
    whole(to, [(":status", status), *OK[1:]])


Form = Callable[[Answering], None]
FINE: dict[str, Form] = {
    "whole": whole,
    "with trailers": with_trailers,
    "in frames of one octet": one_by_one,
    "behind early hints": behind_hints,
    "with its length": lambda to: whole(to, [*OK, ("content-length", str(len(to.body)))]),
}
BROKEN: dict[str, Form] = {
    "refused": lambda to: to.connection.reset_stream(to.stream, 7),
    "a reset amid it": reset_amid,
    "GOAWAY amid it": goaway_amid,
    "less than its length": lambda to: another_length(to, 5),
    "more than its length": lambda to: another_length(to, -5),
    "too many headers": lambda to: whole(to, [*OK, *((f"x-{number}", "y") for number in range(200))]),
    "trailers only": lambda to: to.head([*OK, ("grpc-status", "0")], end=True),
    "two statuses": lambda to: whole(to, [(":status", "200"), *OK]),
    "no status": lambda to: whole(to, OK[1:]),
    "a 204 with a body": lambda to: with_status(to, "204"),
    "a 304 with a body": lambda to: with_status(to, "304"),
    "a redirect": lambda to: with_status(to, "302"),
    "101": lambda to: with_status(to, "101"),
    "0200": lambda to: with_status(to, "0200"),
    "no HTTP/2": lambda to: to.raw(b"\xff" * 3000),
}


class Http2Provider:
    """Answers everything in one form, but what is asked below /honest."""

    def __init__(self, form: Form, stack: contextlib.ExitStack) -> None:
        self.form, self.key = form, Key.make()
        self._listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        self._peers: list[socket.socket] = []
        stack.callback(self._stop)
        self.port: int = self._listener.getsockname()[1]
        self.issuer = f"http://127.0.0.1:{self.port}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        for peer in self._peers:
            peer.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._peers.append(peer)
                threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        settings = {"validate_outbound_headers": False, "normalize_outbound_headers": False}
        connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, **settings))
        connection.initiate_connection()
        paths: dict[int, str] = {}
        with contextlib.suppress(OSError, h2.exceptions.ProtocolError), peer:
            peer.sendall(connection.data_to_send())
            while data := peer.recv(1 << 16):
                for event in connection.receive_data(data):
                    match event:
                        case h2.events.RequestReceived(stream_id=stream, headers=headers):
                            paths[stream] = dict(headers)[b":path"].decode()
                        case h2.events.StreamEnded(stream_id=stream):
                            body = json.dumps(self._document(paths[stream])).encode()
                            form = whole if paths[stream].startswith("/honest") else self.form
                            form(Answering(connection, peer, stream, body))
                peer.sendall(connection.data_to_send())

    def _document(self, path: str) -> dict[str, Any]:
        if path.endswith("/introspect"):
            return {"active": True, "aud": "urn:api:test", "sub": "ann"}
        if path == "/jwks":
            return {"keys": [self.key.jwk()]}
        return {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/jwks"}


def in_http2(bootstrap: Bootstrap) -> None:
    options = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
    spoken = {"@type": f"type.googleapis.com/{options}", "explicit_http_config": {"http2_protocol_options": {}}}
    for cluster in bootstrap.clusters:
        if cluster["name"].startswith("p"):
            cluster["typed_extension_protocol_options"] = {options: spoken}


@pytest.mark.parametrize("what", ["keys", "answers", "lists"])
def test_answers_over_http2_in_every_form(start_envoy: StartEnvoy, what: str) -> None:
    """OUT-06, ATK-22: what HTTP/2 allows is read, what it doesn't is no answer, and nothing of it harms Envoy: not even where
    another call follows at once, as to the next endpoint of a list."""
    forms = FINE | BROKEN
    with contextlib.ExitStack() as stack:
        providers = [Http2Provider(form, stack) for form in forms.values()]
        entries = []
        for number, provider in enumerate(providers):
            endpoint = [f"{provider.issuer}/introspect", f"{provider.issuer}/honest/introspect"]
            endpoint = endpoint[: 1 if what == "answers" else 2]
            asking = {"introspection": {"endpoint": endpoint}, "validation": "introspection", "token_prefixes": f"{number}_"}
            kind = {"validation": "jwt", "introspection": None} if what == "keys" else asking
            entries.append(provider_entry(provider, name=f"p{number}", cluster=f"p{number}", timeout="3s", **kind))
        clusters = {f"p{number}": provider.port for number, provider in enumerate(providers)}
        envoy = start_envoy({"providers": entries}, clusters=clusters, adjust=in_http2, log_levels="wasm:info")

        def status(number: int) -> int:
            issuer = providers[number].issuer
            token = providers[number].key.token(claims(issuer)) if what == "keys" else f"{number}_opaque"
            return envoy.get("/", token=token).status

        statuses = dict(zip(forms, together(len(forms), status), strict=True))
        otherwise = 200 if what == "lists" else 503
        assert statuses == dict.fromkeys(FINE, 200) | dict.fromkeys(BROKEN, otherwise)
        assert no_crash(envoy)
