"""Which octets Envoy lets through to a filter, in cookies, queries and names of headers: `tests/readers` sends no others.

What Envoy refuses, no filter sees and no service behind it. `tests/readers/octets.json` says what remains, over HTTP/1.1 or HTTP/2.
"""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from clients import Http2, request_bytes, together
from conftest import StartEnvoy
from harness import Bootstrap, Envoy, Provider, config
from services import RawService

LISTED = Path(__file__).parents[1] / "readers/octets.json"
PLACES = ("cookie", "query", "name")


class Recorder(RawService):
    """A service that answers everything, and keeps the heads of all requests as they came."""

    def __init__(self) -> None:
        self.heads: list[bytes] = []
        super().__init__()

    def serve(self, connection: socket.socket) -> None:
        kept = b""
        while data := connection.recv(1 << 16):
            kept += data
            if kept.endswith(b"\r\n\r\n"):
                self.heads.append(kept)
                kept = b""
                connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    running = Recorder()
    yield running
    running.close()


def without_filter(bootstrap: Bootstrap) -> None:
    del bootstrap.http_filters[0]
    bootstrap.hcm["common_http_protocol_options"]["headers_with_underscores_action"] = "ALLOW"
    bootstrap.hcm["request_headers_timeout"] = "1s"


def request(place: str, octet: int) -> tuple[bytes, tuple[bytes, bytes], bytes]:
    """The path, a header, and what of them the service should see."""
    value = b"a%cb=%s.%d" % (octet, place.encode(), octet)
    match place:
        case "cookie":
            return b"/", (b"cookie", value), b"\r\ncookie: %s\r\n" % value
        case "query":
            return b"/?" + value, (b"x", b"y"), b" /?%s HTTP/1.1\r\n" % value
        case _:
            return b"/", (b"a%cb" % octet, value), b"\r\na%cb: %s\r\n" % (octet, value)


def octets(ranges: str) -> list[int]:
    """Those that `09 20-7e` means, and the like."""
    spans = [[int(end, 16) for end in span.split("-")] for span in ranges.split()]
    return [octet for span in spans for octet in range(span[0], span[-1] + 1)]


def send(envoy: Envoy, place: str, octet: int) -> None:
    path, header, _ = request(place, octet)
    with contextlib.suppress(ConnectionError, ValueError, IndexError):
        envoy.raw(request_bytes(path, [header]))
    with contextlib.suppress(ConnectionError, ValueError), Http2(envoy.port) as connection:
        connection.request(path, [header])


def test_the_octets_that_reach_a_filter(start_envoy: StartEnvoy, provider: Provider, recorder: Recorder) -> None:
    envoy = start_envoy(config(provider), clusters={"upstream": recorder.port}, adjust=without_filter)
    pairs = [(place, octet) for place in PLACES for octet in range(256)]
    for start in range(0, len(pairs), 64):
        some = pairs[start : start + 64]
        together(len(some), lambda index: send(envoy, *some[index]))
    seen = b"".join(recorder.heads)
    passed = {place: [octet for octet in range(256) if request(place, octet)[2] in seen] for place in PLACES}
    assert passed == {place: octets(ranges) for place, ranges in json.loads(LISTED.read_text()).items()}
